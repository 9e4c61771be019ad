/* Signals as events, and those of a run's options. No test leaves a handler or a descriptor behind. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static const int used[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
enum { USED = sizeof(used) / sizeof(used[0]) };

static char said[8192]; /* by the diagnostic hook */

static int descriptors_before;

static int begin_signal_test(void **state)
{
    descriptors_before = open_descriptors();
    alarm(60);
    return begin_test(state);
}

static bool is_default(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

static int end_signal_test(void **state)
{
    int after = open_descriptors(), i, bad = after != descriptors_before;

    (void)state;
    alarm(0);
    osr_error_clear();
    for (i = 0; i < USED; i++)
        if (!is_default(used[i])) {
            print_error("there is still a handler for signal %d\n", used[i]);
            signal(used[i], SIG_DFL);
            bad = 1;
        }
    if (waitpid(-1, NULL, WNOHANG) != -1)
        bad = 1;
    if (bad)
        print_error("%d descriptors before the test, %d after it\n", descriptors_before, after);
    return bad ? -1 : 0;
}

#define signal_test(function) cmocka_unit_test_setup_teardown(function, begin_signal_test, end_signal_test)

static void raise_times(int number, int times)
{
    while (times-- > 0)
        raise(number);
}

/* ---- Waiting ------------------------------------------------------------------------------------------- */

REAL_TEST(a_signal_that_came_before_is_told_with_how_often)
{
    struct osr_signals signals;
    unsigned count = 0;

    check_int(osr_signals_open(&signals, SIGHUP, SIGTERM), 0);
    raise_times(SIGHUP, 3);
    check_int(osr_signal_wait(&signals, &count), SIGHUP);
    check_int(count, 3);
    raise(SIGHUP);
    check_int(osr_signal_wait(&signals, &count), SIGHUP);
    check_int(count, 1);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

REAL_TEST(several_signals_are_told_one_by_one_the_smallest_first)
{
    struct osr_signals signals;
    unsigned count;

    check_int(osr_signals_open(&signals, SIGTERM, SIGHUP, SIGUSR1, SIGHUP), 0);
    raise_times(SIGTERM, 2);
    raise_times(SIGUSR1, 1);
    raise_times(SIGHUP, 4);
    check_int(osr_signal_wait(&signals, NULL), SIGHUP);
    check_int(osr_signal_wait(&signals, &count), SIGUSR1);
    check_int(count, 1);
    check_int(osr_signal_wait(&signals, &count), SIGTERM);
    check_int(count, 2);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

OSR_TASK(raise_soon, int, number)
{
    int rc = osr_sleep(osr_ms(2));

    raise(*number);
    return rc;
}

static int wait_for_one(void)
{
    struct osr_signals signals;
    struct osr_group group;
    int number = SIGUSR1;
    unsigned count = 0;

    osr_group_open(&group);
    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    check_int(osr_spawn(&group, raise_soon, &number), 0);
    check_int(osr_signal_wait(&signals, &count), SIGUSR1);
    check_int(count, 1);
    check_int(osr_signals_close(&signals), 0);
    return osr_group_close(&group, 0);
}

REAL_TEST(a_task_that_waits_is_woken) { return wait_for_one(); }
SIMULATED_TEST(a_task_that_waits_is_woken_in_simulated_time) { return wait_for_one(); }

REAL_TEST(a_signal_from_another_process_wakes_the_loop)
{
    struct osr_signals signals;
    pid_t child;

    check_int(osr_signals_open(&signals, SIGTERM), 0);
    child = fork();
    if (child == 0) {
        usleep(5000);
        kill(getppid(), SIGTERM);
        _exit(0);
    }
    check_int(osr_signal_wait(&signals, NULL), SIGTERM); /* not taken for stuck */
    check_int(osr_signals_close(&signals), 0);
    while (waitpid(child, NULL, 0) < 0)
        continue;
    return 0;
}

struct listener {
    struct osr_signals *signals;
    int number, rc;
    unsigned count;
};

OSR_TASK(listen_once, struct listener, listener)
{
    listener->rc = osr_signal_wait(listener->signals, &listener->count);
    tell("listener %d: %s", listener->number, listener->rc < 0 ? osr_strcode(listener->rc) : "a signal");
    return 0;
}

static void each_signal_goes_to_one_of_those_who_wait_told(struct listener *listeners)
{
    struct osr_signals signals;
    struct osr_group group;
    int i;

    osr_group_open(&group);
    check_int(osr_signals_open(&signals, SIGUSR1, SIGUSR2), 0);
    for (i = 0; i < 3; i++) {
        listeners[i] = (struct listener){.signals = &signals, .number = i};
        check_int(osr_spawn(&group, listen_once, &listeners[i]), 0);
    }
    check_int(osr_yield(), 0);
    raise_times(SIGUSR2, 5);
    raise(SIGUSR1);
    check_int(osr_sleep(osr_ms(2)), 0);
    check_int(osr_signals_close(&signals), 0);
    check_int(osr_group_close(&group, 0), 0);
}

OSR_TASK(let_three_listen, struct listener, listeners)
{
    each_signal_goes_to_one_of_those_who_wait_told(listeners);
    return 0;
}

TEST(each_signal_goes_to_one_of_those_who_wait)
{
    struct listener listeners[3];

    assert_int_equal(osr_run(let_three_listen, listeners, .debug = true), 0);
    assert_checked();
    assert_story("listener 0: a signal\nlistener 1: a signal\nlistener 2: OSR_ECLOSED\n");
    assert_int_equal(listeners[0].rc, SIGUSR1);
    assert_int_equal(listeners[1].rc, SIGUSR2);
    assert_int_equal(listeners[1].count, 5);
}

REAL_TEST(every_watcher_is_told_of_all)
{
    struct osr_signals one, two, three;
    unsigned count = 0;

    check_int(osr_signals_open(&one, SIGUSR1), 0);
    check_int(osr_signals_open(&two, SIGUSR1, SIGUSR2), 0);
    check_int(osr_signals_open(&three, SIGUSR2), 0);
    raise_times(SIGUSR1, 2);
    check_int(osr_signal_wait(&one, &count), SIGUSR1);
    check_int(count, 2);
    check_int(osr_signals_close(&one), 0);
    raise(SIGUSR1); /* the other still watches */
    check_int(osr_signal_wait(&two, &count), SIGUSR1);
    check_int(count, 3);
    raise(SIGUSR2);
    check_int(osr_signal_wait(&three, NULL), SIGUSR2);
    check_int(osr_signal_wait(&two, NULL), SIGUSR2);
    check_int(osr_signals_close(&two), 0);
    check_int(osr_signals_close(&three), 0);
    return 0;
}

/* ---- Cancelling ---------------------------------------------------------------------------------------- */

REAL_TEST(a_cancelled_wait_leaves_the_signal_for_the_next)
{
    struct osr_signals signals;
    struct osr_scope scope, limit;

    check_int(osr_signals_open(&signals, SIGHUP), 0);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "not now");
    raise(SIGHUP);
    check_int(osr_signal_wait(&signals, NULL), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_signal_wait(&signals, NULL), SIGHUP);
    osr_timeout_open(&limit, osr_ms(3));
    check_int(osr_scope_close(&limit, osr_signal_wait(&signals, NULL)), -ETIMEDOUT);
    raise(SIGHUP);
    check_int(osr_signal_wait(&signals, NULL), SIGHUP);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

struct cut_later {
    struct osr_signals signals;
    struct osr_scope scope;
};

OSR_TASK(wait_and_cut, struct cut_later, cut)
{
    check_int(osr_signal_wait(&cut->signals, NULL), SIGUSR1);
    osr_scope_cancel(&cut->scope, "too late");
    return 0;
}

OSR_TASK(raise_both, void, unused)
{
    int rc = osr_sleep(osr_ms(2));

    raise(SIGUSR1);
    raise(SIGUSR2);
    return rc;
}

REAL_TEST(a_signal_that_was_handed_over_wins)
{
    struct cut_later cut;
    struct osr_group group;

    check_int(osr_signals_open(&cut.signals, SIGUSR1, SIGUSR2), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, wait_and_cut, &cut, .eager = true), 0);
    check_int(osr_spawn(&group, raise_both, NULL), 0);
    osr_scope_open(&cut.scope);
    check_int(osr_signal_wait(&cut.signals, NULL), SIGUSR2); /* the loop hears of both at the same time */
    check(osr_scope_cancelled(&cut.scope));
    check_int(osr_scope_close(&cut.scope, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_signals_close(&cut.signals), 0);
    return 0;
}

/* ---- Opening and closing ------------------------------------------------------------------------------- */

static volatile sig_atomic_t handled_before;
static void handle_before(int number) { handled_before = number; }
static void handle_instead(int number) { handled_before = -number; }

REAL_TEST(the_handler_of_the_program_is_put_back)
{
    struct sigaction before = {.sa_handler = handle_before, .sa_flags = SA_NODEFER}, after;
    struct osr_signals signals, again;

    sigaction(SIGUSR1, &before, NULL);
    check_int(osr_signals_open(&signals, SIGUSR1, SIGUSR2), 0);
    check_int(osr_signals_open(&again, SIGUSR1), 0);
    handled_before = 0;
    raise(SIGUSR1);
    check_int(handled_before, 0);
    check_int(osr_signals_close(&signals), 0);
    check(is_default(SIGUSR2));
    raise(SIGUSR1);
    check_int(handled_before, 0);
    check_int(osr_signals_close(&again), 0);
    raise(SIGUSR1);
    check_int(handled_before, SIGUSR1);
    sigaction(SIGUSR1, NULL, &after);
    check_int(after.sa_flags & SA_NODEFER, SA_NODEFER);
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

REAL_TEST(a_handler_that_somebody_has_put_in_since_stays)
{
    struct osr_signals signals;

    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    signal(SIGUSR1, handle_instead);
    check_int(osr_signals_close(&signals), 0);
    raise(SIGUSR1);
    check_int(handled_before, -SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

REAL_TEST(they_are_closed_with_the_scope_that_they_were_opened_in)
{
    struct osr_signals signals;
    struct listener listener = {.signals = &signals};
    struct osr_group group;
    struct osr_scope scope;

    osr_group_open(&group);
    osr_scope_open(&scope);
    check_int(osr_signals_open(&signals, SIGHUP), 0);
    check_int(osr_spawn(&group, listen_once, &listener), 0);
    check_int(osr_yield(), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    check(is_default(SIGHUP));
    check_int(osr_group_close(&group, 0), 0);
    check_int(listener.rc, -OSR_ECLOSED);
    check_int(osr_signal_wait(&signals, NULL), -OSR_ECLOSED);
    check_int(osr_error_code(osr_error_last()), -OSR_ECLOSED);
    check_int(osr_signals_close(&signals), -OSR_ECLOSED);
    return 0;
}

REAL_TEST(what_makes_no_sense_is_refused)
{
    static const int bad[] = {0, -1, 65, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 32};
    struct osr_signals signals, copy;
    size_t i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_int(osr_signals_open(&signals, SIGHUP, bad[i]), -EINVAL);
        check_int(osr_signal_wait(&signals, NULL), -OSR_ECLOSED);
        check(is_default(SIGHUP));
    }
    check_int(osr_signals_open_with(&signals, NULL, 1, OSR_HERE), -EINVAL);
    check_int(osr_signals_open_with(&signals, bad, 0, OSR_HERE), -EINVAL);
    check_int(osr_signals_open(NULL, SIGHUP), -EINVAL);
    check_int(osr_signal_wait(NULL, NULL), -EINVAL);
    check_int(osr_signals_close(NULL), -EINVAL);
    check_int(osr_signals_close(&signals), -OSR_ECLOSED);
    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    copy = signals;
    raise(SIGUSR1);
    check_int(osr_signals_open(&copy, SIGKILL), -EINVAL);
    check_int(osr_signal_wait(&copy, NULL), -OSR_ECLOSED);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

TEST(outside_a_run_nothing_is_watched)
{
    struct osr_signals signals;

    assert_int_equal(osr_signals_open(&signals, SIGHUP), -EPERM);
    assert_int_equal(osr_signal_wait(&signals, NULL), -EPERM);
    assert_true(osr_signals_close(&signals) < 0);
    assert_true(is_default(SIGHUP));
}

/* ---- Storms, threads, processes ------------------------------------------------------------------------- */

enum { SENDERS = 3 };

/* Sends real-time signals, which the system counts, to its parent; until there is room for them in its queue. */
static void send_many(int number, int times)
{
    while (times > 0) {
        if (sigqueue(getppid(), number, (union sigval){0}) == 0)
            times--;
        else
            usleep(200);
    }
    _exit(0);
}

/* ThreadSanitizer keeps signals back, forgets how many of one kind there were, and in a forked child of several threads
 * or fibers hides the handlers that it has put in the place of the program's. */
static bool signals_are_as_usual(void)
{
    return !under_thread_sanitizer();
}

/* All that can be watched, one after the other and all of them at once. */
REAL_TEST(every_signal_is_told_by_its_own_number)
{
    struct osr_signals each, all;
    int numbers[64], count = 0, number, i;
    unsigned times;

    for (number = 1; number <= 64; number++)
        if (number != SIGKILL && number != SIGSTOP && (number <= SIGSYS || number >= SIGRTMIN) &&
            osr_signals_open(&each, number) == 0) {
            numbers[count++] = number;
            raise(number);
            check_int(osr_signal_wait(&each, &times), number);
            check_int(times, 1);
            check_int(osr_signals_close(&each), 0);
        }
    check(count > 40);
    check_int(osr_signals_open_with(&all, numbers, (size_t)count, OSR_HERE), 0);
    for (i = count; i-- > 0;)
        raise(numbers[i]);
    for (i = 0; i < count; i++)
        check_int(osr_signal_wait(&all, &times), numbers[i]);
    check_int(osr_signals_close(&all), 0);
    return 0;
}

REAL_TEST(in_a_storm_every_signal_is_counted)
{
    const int times = (int)sized(5000, 1000);
    unsigned count, counts[2] = {0, 0};
    struct osr_signals signals;
    pid_t children[SENDERS];
    int i, rc = 0;

    check_int(osr_signals_open(&signals, SIGRTMIN + 1, SIGRTMIN + 2), 0);
    if (!signals_are_as_usual())
        return 0;
    for (i = 0; i < SENDERS; i++) {
        children[i] = fork();
        if (children[i] == 0)
            send_many(SIGRTMIN + 1 + i % 2, times);
    }
    while (rc >= 0 && counts[0] + counts[1] < (unsigned)(SENDERS * times)) {
        rc = osr_signal_wait(&signals, &count);
        if (rc >= 0)
            counts[rc - SIGRTMIN - 1] += count;
    }
    check_int(counts[0], 2 * times);
    check_int(counts[1], times);
    for (i = 0; i < SENDERS; i++)
        while (waitpid(children[i], NULL, 0) < 0)
            continue;
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

enum { RUNS = 4, SHOTS = 200 };

static pthread_barrier_t all_open;
static int heard[RUNS];

OSR_TASK(hear_all_shots, int, heard_here)
{
    struct osr_signals signals;
    unsigned count;
    int rc = osr_signals_open(&signals, SIGRTMIN + 3);

    pthread_barrier_wait(&all_open);
    while (rc >= 0 && *heard_here < SHOTS) {
        rc = osr_signal_wait(&signals, &count);
        *heard_here += rc >= 0 ? (int)count : 0;
    }
    return rc < 0 ? rc : osr_signals_close(&signals);
}

static void *run_in_thread(void *arg)
{
    int *rc = malloc(sizeof(*rc));

    *rc = osr_run(hear_all_shots, arg);
    return rc;
}

TEST(several_runs_in_several_threads_are_each_told_of_all)
{
    pthread_t threads[RUNS];
    void *rc;
    int i;

    memset(heard, 0, sizeof(heard));
    if (!signals_are_as_usual())
        skip();
    pthread_barrier_init(&all_open, NULL, RUNS + 1);
    for (i = 0; i < RUNS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, &heard[i]), 0);
    pthread_barrier_wait(&all_open);
    for (i = 0; i < SHOTS; i++)
        while (sigqueue(getpid(), SIGRTMIN + 3, (union sigval){0}) < 0)
            usleep(100);
    for (i = 0; i < RUNS; i++) {
        assert_int_equal(pthread_join(threads[i], &rc), 0);
        assert_int_equal(*(int *)rc, 0);
        free(rc);
        assert_int_equal(heard[i], SHOTS);
    }
    pthread_barrier_destroy(&all_open);
}

static atomic_bool shooting;

OSR_TASK(open_and_close_often, void, unused)
{
    struct osr_signals signals;
    int i, rc = 0;

    for (i = 0; i < 300 && rc == 0; i++) {
        rc = osr_signals_open(&signals, SIGUSR1, SIGRTMIN + 3);
        if (rc == 0 && i % 3 == 0)
            rc = osr_yield();
        if (rc == 0)
            rc = osr_signals_close(&signals);
    }
    return rc;
}

OSR_TASK(keep_open, void, unused)
{
    struct osr_signals signals;
    int rc = osr_signals_open(&signals, SIGUSR1, SIGRTMIN + 3);

    while (rc >= 0 && atomic_load(&shooting))
        rc = osr_sleep(osr_ms(1));
    return rc < 0 ? rc : osr_signals_close(&signals);
}

static void *run_keeper(void *arg)
{
    return osr_run(keep_open, NULL) == 0 ? arg : NULL;
}

static void *run_opener(void *arg)
{
    return osr_run(open_and_close_often, NULL) == 0 ? arg : NULL;
}

TEST(signals_that_come_while_others_open_and_close_harm_nobody)
{
    pthread_t keeper, opener[2];
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    void *fine;
    int i;

    sigaction(SIGUSR1, &ignore, NULL);
    sigaction(SIGRTMIN + 3, &ignore, NULL);
    atomic_store(&shooting, true);
    assert_int_equal(pthread_create(&keeper, NULL, run_keeper, said), 0);
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&opener[i], NULL, run_opener, said), 0);
    for (i = 0; i < 2000; i++)
        kill(getpid(), i % 2 ? SIGUSR1 : SIGRTMIN + 3);
    for (i = 0; i < 2; i++) {
        pthread_join(opener[i], &fine);
        assert_non_null(fine);
    }
    atomic_store(&shooting, false);
    pthread_join(keeper, &fine);
    assert_non_null(fine);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGRTMIN + 3, SIG_DFL);
}

REAL_TEST(a_forked_child_has_the_programs_handlers_and_tells_its_parent_nothing)
{
    struct osr_signals signals;
    struct osr_scope limit;
    int status;
    pid_t child;

    if (!signals_are_as_usual()) {
        check(true);
        return 0;
    }
    signal(SIGUSR1, handle_before);
    check_int(osr_signals_open(&signals, SIGUSR1, SIGUSR2), 0);
    handled_before = 0;
    child = fork();
    if (child == 0) {
        raise(SIGUSR1);
        _exit(handled_before == SIGUSR1 && is_default(SIGUSR2) ? 3 : 4);
    }
    while (waitpid(child, &status, 0) < 0)
        continue;
    check_int(WEXITSTATUS(status), 3);
    osr_move_on_open(&limit, osr_ms(5));
    check_int(osr_scope_close(&limit, osr_signal_wait(&signals, NULL)), 0);
    check_int(handled_before, 0);
    raise(SIGUSR1); /* and the parent goes on watching */
    check_int(osr_signal_wait(&signals, NULL), SIGUSR1);
    check_int(osr_signals_close(&signals), 0);
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

OSR_TASK(watch_in_the_child, void, unused) { return wait_for_one(); }

static bool blocked_in_child;

/* Comes before what the library does in a child, as it has been there for longer. */
static void look_at_the_mask(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    blocked_in_child = sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGHUP) == 1;
}

static bool nothing_is_blocked(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, SIGUSR1) == 0 && sigismember(&mask, SIGHUP) == 0;
}

REAL_TEST(no_signal_comes_in_a_forked_child_before_it_has_its_own_handlers)
{
    struct osr_signals signals;
    int status;
    pid_t child;

    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    child = fork();
    if (child == 0)
        _exit(blocked_in_child && nothing_is_blocked() ? 3 : 4);
    while (waitpid(child, &status, 0) < 0)
        continue;
    check_int(WEXITSTATUS(status), 3);
    check(nothing_is_blocked());
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

REAL_TEST(a_forked_child_may_watch_signals_in_a_run_of_its_own)
{
    struct osr_signals signals;
    int status;
    pid_t child;

    if (!signals_are_as_usual()) {
        check(true);
        return 0;
    }
    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    child = fork();
    if (child == 0)
        _exit(osr_run(watch_in_the_child, NULL) == 0 && is_default(SIGUSR1) ? 3 : 4);
    while (waitpid(child, &status, 0) < 0)
        continue;
    check_int(WEXITSTATUS(status), 3);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

OSR_TASK(sleep_on, void, unused)
{
    for (;;)
        pause();
    return 0;
}

REAL_TEST(a_watched_sigterm_still_ends_a_worker)
{
    struct osr_signals signals;
    struct osr_scope limit;
    int64_t began = osr_now();

    check_int(osr_signals_open(&signals, SIGTERM), 0);
    osr_timeout_open(&limit, osr_ms(5));
    check_int(osr_scope_close(&limit, osr_worker(sleep_on, NULL, .grace = osr_s(50))), -ETIMEDOUT);
    check(osr_now() - began < osr_s(40));
    osr_move_on_open(&limit, osr_ms(5));
    check_int(osr_scope_close(&limit, osr_signal_wait(&signals, NULL)), 0);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

/* ---- Interrupts ---------------------------------------------------------------------------------------- */

OSR_TASK(interrupt_oneself, void, unused)
{
    raise(SIGINT);
    return osr_sleep(OSR_NEVER);
}

TEST(sigint_cancels_the_root_and_the_run_gives_eintr)
{
    enum osr_clock clocks[] = {OSR_CLOCK_REAL, OSR_CLOCK_SIMULATED};
    int i;

    for (i = 0; i < 2; i++) {
        assert_int_equal(osr_run(interrupt_oneself, NULL, .interrupts = true, .debug = true, .clock = clocks[i]), -EINTR);
        assert_string_equal(osr_error_message(osr_error_last()), "interrupted by SIGINT");
        assert_true(osr_error_is_fatal(osr_error_last()));
        assert_true(is_default(SIGINT));
    }
}

OSR_TASK(interrupt_from_a_child, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    const struct osr_reason *reason;
    int rc;

    osr_timeout_open(&limit, osr_s(50));
    osr_group_open(&group);
    check_int(osr_spawn(&group, interrupt_oneself, NULL), 0);
    rc = osr_group_close(&group, 0);
    check_int(rc, -ECANCELED);
    reason = osr_scope_reason(&group.scope);
    check(reason == NULL);
    check_int(osr_scope_close(&limit, rc), -ECANCELED);
    return 7; /* it tries to go on */
}

TEST(an_interrupt_is_given_even_if_nobody_passed_it_on)
{
    assert_int_equal(osr_run(interrupt_from_a_child, NULL, .interrupts = true, .debug = true), -EINTR);
    assert_checked();
    assert_string_equal(osr_error_message(osr_error_last()), "interrupted by SIGINT");
}

OSR_TASK(interrupt_in_a_shield, int, outcome)
{
    struct osr_scope shield;

    raise(SIGINT);
    osr_shield_open(&shield, osr_s(30));
    *outcome = osr_scope_close(&shield, osr_sleep(osr_ms(20)));
    return osr_sleep(OSR_NEVER);
}

TEST(an_interrupt_waits_for_a_shield)
{
    int outcome = 1;

    assert_int_equal(osr_run(interrupt_in_a_shield, &outcome, .interrupts = true, .debug = true), -EINTR);
    assert_int_equal(outcome, 0);
}

OSR_TASK(fail_when_interrupted, void, unused)
{
    raise(SIGINT);
    return osr_sleep(OSR_NEVER) == -ECANCELED ? osr_fail(-EIO, "while tidying up") : 0;
}

TEST(errors_stay_beside_an_interrupt)
{
    assert_int_equal(osr_run(fail_when_interrupted, NULL, .interrupts = true, .debug = true), -EINTR);
    assert_non_null(osr_error_find(osr_error_last(), EIO));
    assert_non_null(osr_error_find(osr_error_last(), EINTR));
}

OSR_TASK(interrupt_and_return, void, unused)
{
    raise(SIGINT);
    return 5;
}

TEST(an_interrupt_that_comes_last_is_not_lost)
{
    assert_int_equal(osr_run(interrupt_and_return, NULL, .interrupts = true, .debug = true), -EINTR);
    assert_string_equal(osr_error_message(osr_error_last()), "interrupted by SIGINT");
}

OSR_TASK(yield_for_ever, void, unused)
{
    int rc = 0;

    raise(SIGINT);
    while (rc == 0)
        rc = osr_yield();
    return rc;
}

TEST(an_interrupt_reaches_a_run_that_is_always_busy)
{
    assert_int_equal(osr_run(yield_for_ever, NULL, .interrupts = true), -EINTR);
}

OSR_TASK(do_nothing, void, unused) { return 3; }

TEST(without_an_interrupt_nothing_changes)
{
    assert_int_equal(osr_run(do_nothing, NULL, .interrupts = true, .dump_signal = SIGUSR1, .debug = true), 3);
    assert_true(is_default(SIGINT));
    assert_true(is_default(SIGUSR1));
}

OSR_TASK(interrupt_twice, void, unused)
{
    raise(SIGINT);
    raise(SIGINT);
    return 0;
}

static void be_interrupted_twice(void)
{
    (void)osr_run(interrupt_twice, NULL, .interrupts = true);
}

OSR_TASK(ignore_interrupts, void, unused)
{
    struct osr_scope shield;

    raise(SIGINT);
    osr_shield_open_unlimited(&shield);
    (void)osr_sleep(osr_ms(5));
    raise(SIGINT);
    (void)osr_sleep(OSR_NEVER);
    return osr_scope_close(&shield, 0);
}

static void be_interrupted_in_a_shield(void)
{
    (void)osr_run(ignore_interrupts, NULL, .interrupts = true);
}

TEST(the_second_sigint_ends_the_program)
{
    assert_dies(be_interrupted_twice, SIGINT, "");
    assert_dies(be_interrupted_in_a_shield, SIGINT, "");
}

TEST(each_run_has_a_first_interrupt_of_its_own)
{
    int i;

    for (i = 0; i < 3; i++)
        assert_int_equal(osr_run(interrupt_oneself, NULL, .interrupts = true), -EINTR);
}

OSR_TASK(watch_sigint_too, void, unused)
{
    struct osr_signals signals;
    struct osr_scope shield;

    check_int(osr_signals_open(&signals, SIGINT), 0);
    raise(SIGINT);
    osr_shield_open(&shield, osr_s(30));
    check_int(osr_signal_wait(&signals, NULL), SIGINT);
    check_int(osr_scope_close(&shield, 0), 0);
    return osr_sleep(OSR_NEVER);
}

TEST(who_watches_sigint_hears_of_an_interrupt_too)
{
    assert_int_equal(osr_run(watch_sigint_too, NULL, .interrupts = true, .debug = true), -EINTR);
    assert_checked();
}

OSR_TASK(sleep_for_ever, void, unused) { return osr_sleep(OSR_NEVER); }

TEST(a_run_that_only_a_signal_of_its_options_could_end_is_stuck)
{
    assert_int_equal(osr_run(sleep_for_ever, NULL, .interrupts = true, .dump_signal = SIGUSR1), -OSR_EDEADLOCK);
}

/* ---- The tree ------------------------------------------------------------------------------------------ */



static void note_what_is_said(void *arg, enum osr_diagnosis kind, const char *text)
{
    size_t length = strlen(said);

    (void)arg;
    snprintf(said + length, sizeof(said) - length, "%s%s", kind == OSR_DIAGNOSIS_RUNNING ? "running: " :
             kind == OSR_DIAGNOSIS_TREE ? "tree: " : "else: ", text);
}

OSR_TASK(compute_and_wait, void, unused)
{
    const char *found;

    raise(SIGUSR1);
    found = strstr(said, "running: osier: task \"busy\", spawned at ");
    check(found && strstr(found, "test_signal.c:") && strstr(found, ", runs at this moment\n"));
    check(strstr(said, "tree: ") == NULL);
    return osr_sleep(osr_ms(5));
}

OSR_TASK(have_one_compute, void, unused)
{
    struct osr_group group;

    osr_group_open(&group, .name = "all");
    check_int(osr_spawn(&group, compute_and_wait, NULL, .name = "busy"), 0);
    return osr_group_close(&group, 0);
}

TEST(a_dump_names_the_task_that_computes_and_then_shows_the_tree)
{
    said[0] = '\0';
    assert_int_equal(osr_run(have_one_compute, NULL, .name = "root", .dump_signal = SIGUSR1, .debug = true,
                             .diagnose = note_what_is_said), 0);
    assert_checked();
    assert_non_null(strstr(said, "tree: task \"root\""));
    assert_non_null(strstr(said, "group \"all\""));
    assert_non_null(strstr(said, "task \"busy\", spawned at "));
}

static void *signal_this_thread(void *arg)
{
    pthread_kill(pthread_self(), SIGUSR1);
    return arg;
}

OSR_TASK(compute_while_others_signal, void, unused)
{
    struct osr_signals signals;
    pthread_t thread;
    unsigned count = 0;
    int i;

    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    check_int(pthread_create(&thread, NULL, signal_this_thread, NULL), 0);
    pthread_join(thread, NULL);
    for (i = 0; i < 2000 && !strstr(said, "running: "); i++)
        usleep(1000);
    check(strstr(said, "running: osier: task \"root\"") != NULL);
    check_int(osr_signal_wait(&signals, &count), SIGUSR1);
    check_int(count, 1); /* it was passed on, and is told once */
    check_int(osr_signals_close(&signals), 0);
    return osr_sleep(osr_ms(2));
}

TEST(a_dump_that_another_thread_was_asked_for_is_passed_on)
{
    if (!signals_are_as_usual())
        skip();
    said[0] = '\0';
    assert_int_equal(osr_run(compute_while_others_signal, NULL, .name = "root", .dump_signal = SIGUSR1,
                             .diagnose = note_what_is_said), 0);
    assert_checked();
    assert_non_null(strstr(said, "tree: task \"root\""));
    assert_null(strstr(strstr(said, "running: ") + 1, "running: ")); /* once */
}

/* What one of two runs said, each on a thread of its own. */
struct dumped {
    atomic_int named, shown;
    atomic_bool runs;
    struct dumped *other;
};

static void count_what_is_said(void *arg, enum osr_diagnosis kind, const char *text)
{
    struct dumped *d = arg;

    (void)text;
    atomic_fetch_add(kind == OSR_DIAGNOSIS_RUNNING ? &d->named : &d->shown, 1);
}

static void wait_until_named(struct dumped *d)
{
    int tries;

    for (tries = 0; tries < 20000 && (!atomic_load(&d->named) || !atomic_load(&d->other->named)); tries++)
        usleep(100);
}

OSR_TASK(compute_in_one_of_two_runs, struct dumped, d)
{
    atomic_store(&d->runs, true);
    while (!atomic_load(&d->other->runs))
        usleep(100);
    if (d < d->other)
        pthread_kill(pthread_self(), SIGRTMIN + 1);
    wait_until_named(d);
    usleep(5000); /* for what should not come */
    return osr_sleep(osr_ms(2));
}

static void *run_and_compute(void *arg)
{
    long rc = osr_run(compute_in_one_of_two_runs, arg, .dump_signal = SIGRTMIN + 1, .diagnose = count_what_is_said,
                      .diagnose_arg = arg);

    return (void *)rc;
}

/* One for real time, of which none is lost. */
TEST(a_dump_is_passed_on_once_and_not_passed_back)
{
    static struct dumped d[2];
    pthread_t thread;
    void *other;
    int i;

    if (!signals_are_as_usual())
        skip();
    d[0].other = &d[1];
    d[1].other = &d[0];
    assert_int_equal(pthread_create(&thread, NULL, run_and_compute, &d[1]), 0);
    assert_null(run_and_compute(&d[0]));
    pthread_join(thread, &other);
    assert_null(other);
    for (i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&d[i].named), 1);
        assert_int_equal(atomic_load(&d[i].shown), 1);
    }
}

OSR_TASK(dump_and_die, void, unused)
{
    raise(SIGUSR2);
    (void)osr_sleep(osr_ms(50));
    raise(SIGKILL);
    return 0;
}

static void dump_to_standard_error(void)
{
    (void)osr_run(dump_and_die, NULL, .name = "the last", .dump_signal = SIGUSR2);
}

TEST(a_dump_goes_to_standard_error)
{
    assert_dies(dump_to_standard_error, SIGKILL, "osier: task \"the last\", spawned at ");
    assert_dies(dump_to_standard_error, SIGKILL, "waits in osr_sleep");
}

TEST(a_signal_that_cannot_be_handled_is_no_dump_signal)
{
    assert_int_equal(osr_run(do_nothing, NULL, .dump_signal = SIGKILL), -EINVAL);
    assert_int_equal(osr_run(do_nothing, NULL, .dump_signal = -1), -EINVAL);
    assert_int_equal(osr_run(do_nothing, NULL, .dump_signal = SIGSEGV), -EINVAL);
}

/* ---- Faults -------------------------------------------------------------------------------------------- */

static struct {
    const char *call;
    unsigned at, seen;
} fault;

static unsigned choose_fault(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_FAULT && strcmp(what, fault.call) == 0 && ++fault.seen == fault.at;
}

OSR_TASK(watch_two, void, unused)
{
    struct osr_signals signals;
    int rc = osr_signals_open(&signals, SIGUSR1, SIGUSR2);

    if (rc < 0)
        return rc;
    raise(SIGUSR2);
    rc = osr_signal_wait(&signals, NULL);
    return rc == SIGUSR2 ? osr_signals_close(&signals) : rc;
}

TEST(each_system_call_may_fail)
{
    static const char *const calls[] = {"sigaction", "eventfd", "mmap", "memory"};
    size_t i;
    int rc;

    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        fault.call = calls[i];
        fault.at = 0;
        do {
            fault.at++;
            fault.seen = 0;
            rc = osr_run(watch_two, NULL, .interrupts = true, .dump_signal = SIGHUP, .choose = choose_fault,
                         .debug = true);
            if (fault.seen >= fault.at && strcmp(calls[i], "memory") != 0)
                assert_true(rc == -EINVAL || rc == -EMFILE || rc == -ENOMEM);
            assert_true(is_default(SIGUSR1) && is_default(SIGUSR2) && is_default(SIGINT) && is_default(SIGHUP));
            assert_int_equal(open_descriptors(), descriptors_before);
        } while (fault.seen >= fault.at);
        assert_int_equal(rc, 0);
    }
}

TEST(every_allocation_may_fail)
{
    long at;

    for (at = 1; at < 60; at++) {
        int rc;

        counting = (struct counting){.fail_at = at};
        rc = osr_run(watch_two, NULL, .interrupts = true, .dump_signal = SIGHUP, .allocator = &counting_allocator);
        osr_error_clear();
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_int_equal(counting.live, 0);
        if (counting.made < at)
            break;
    }
    assert_true(at < 60);
}

OSR_TASK(raise_it_and_see, void, unused)
{
    raise(SIGINT);
    return osr_sleep(osr_ms(1));
}

TEST(a_sigint_that_the_program_ignores_stays_ignored)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before, after;

    sigaction(SIGINT, &ignore, &before);
    assert_int_equal(osr_run(raise_it_and_see, NULL, .interrupts = true), 0);
    sigaction(SIGINT, &before, &after);
    assert_true(after.sa_handler == SIG_IGN);
}

OSR_TASK(be_interrupted_at_work, void, unused)
{
    raise(SIGINT);
    raise(SIGUSR1);
    raise(SIGHUP);
    return 7;
}

OSR_TASK(let_work_what_a_terminal_interrupts, void, unused)
{
    struct osr_signals signals;
    int rc = osr_signals_open(&signals, SIGHUP);

    if (rc == 0)
        rc = osr_worker(be_interrupted_at_work, NULL);
    osr_signals_close(&signals);
    return rc;
}

/* Which sends its signals to all processes of the program. */
TEST(a_worker_ignores_the_signals_that_its_run_is_told_of)
{
    assert_int_equal(osr_run(let_work_what_a_terminal_interrupts, NULL, .interrupts = true, .dump_signal = SIGUSR1), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        signal_test(a_signal_that_came_before_is_told_with_how_often),
        signal_test(several_signals_are_told_one_by_one_the_smallest_first),
        signal_test(every_signal_is_told_by_its_own_number),
        signal_test(a_task_that_waits_is_woken),
        signal_test(a_task_that_waits_is_woken_in_simulated_time),
        signal_test(a_signal_from_another_process_wakes_the_loop),
        signal_test(each_signal_goes_to_one_of_those_who_wait),
        signal_test(every_watcher_is_told_of_all),
        signal_test(a_cancelled_wait_leaves_the_signal_for_the_next),
        signal_test(a_signal_that_was_handed_over_wins),
        signal_test(the_handler_of_the_program_is_put_back),
        signal_test(a_handler_that_somebody_has_put_in_since_stays),
        signal_test(they_are_closed_with_the_scope_that_they_were_opened_in),
        signal_test(what_makes_no_sense_is_refused),
        signal_test(outside_a_run_nothing_is_watched),
        signal_test(in_a_storm_every_signal_is_counted),
        signal_test(a_forked_child_has_the_programs_handlers_and_tells_its_parent_nothing),
        signal_test(no_signal_comes_in_a_forked_child_before_it_has_its_own_handlers),
        signal_test(a_forked_child_may_watch_signals_in_a_run_of_its_own),
        signal_test(a_watched_sigterm_still_ends_a_worker),
        signal_test(sigint_cancels_the_root_and_the_run_gives_eintr),
        signal_test(an_interrupt_is_given_even_if_nobody_passed_it_on),
        signal_test(an_interrupt_waits_for_a_shield),
        signal_test(errors_stay_beside_an_interrupt),
        signal_test(an_interrupt_that_comes_last_is_not_lost),
        signal_test(an_interrupt_reaches_a_run_that_is_always_busy),
        signal_test(without_an_interrupt_nothing_changes),
        signal_test(the_second_sigint_ends_the_program),
        signal_test(each_run_has_a_first_interrupt_of_its_own),
        signal_test(who_watches_sigint_hears_of_an_interrupt_too),
        signal_test(a_run_that_only_a_signal_of_its_options_could_end_is_stuck),
        signal_test(a_dump_names_the_task_that_computes_and_then_shows_the_tree),
        signal_test(a_dump_that_another_thread_was_asked_for_is_passed_on),
        signal_test(a_dump_is_passed_on_once_and_not_passed_back),
        signal_test(a_dump_goes_to_standard_error),
        signal_test(a_signal_that_cannot_be_handled_is_no_dump_signal),
        signal_test(each_system_call_may_fail),
        signal_test(every_allocation_may_fail),
        /* last, since Valgrind takes what the C library keeps of threads for lost in processes forked after them */
        signal_test(several_runs_in_several_threads_are_each_told_of_all),
        signal_test(signals_that_come_while_others_open_and_close_harm_nobody),
        signal_test(a_sigint_that_the_program_ignores_stays_ignored),
        signal_test(a_worker_ignores_the_signals_that_its_run_is_told_of),
    };

    pthread_atfork(NULL, NULL, look_at_the_mask);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
