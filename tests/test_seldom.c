/* What happens seldom: calls that make no sense, or where they may not be made; names that are missing; texts that are too
 * long; no memory at the wrong moment. Floor by floor, from the top. */
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

OSR_TASK(does_nothing, void, unused) { return 0; }

/* ---- Runs ---------------------------------------------------------------------------------------------- */

TEST(a_run_needs_something_to_run_and_an_allocator_that_allocates)
{
    static const struct osr_routine empty = {.name = "empty"};
    static const struct osr_allocator nothing;

    assert_int_equal(osr_run_with(NULL, NULL, NULL), -EINVAL);
    assert_int_equal(osr_run_with(&empty, NULL, NULL), -EINVAL);
    assert_int_equal(osr_run(does_nothing, NULL, .allocator = &nothing), -EINVAL);
    assert_string_equal(osr_error_message(osr_error_last()), "osr_run() with options that make no sense");
    assert_int_equal(osr_run(does_nothing, NULL), 0);
}

OSR_TASK(cancels_itself, void, unused)
{
    struct osr_task me = osr_self();

    osr_task_cancel(me, NULL);
    return osr_yield();
}

TEST(a_root_that_is_cancelled_without_a_word_says_so)
{
    assert_int_equal(run_simulated(cancels_itself, NULL), -OSR_ETASKCANCELED);
    assert_non_null(osr_error_last());
}

/* A fault outside of tasks is none of a task's stack. */
static void fault(void *unused)
{
    volatile int *volatile nowhere = (volatile int *)8;

    (void)unused;
    *nowhere = 1;
}

OSR_TASK(faults_in_a_callback, void, unused)
{
    struct osr_call call = {0};

    osr_call_soon(&call, fault, NULL);
    return osr_sleep(osr_s(1));
}

OSR_JOB(faults_in_a_job, void, unused)
{
    fault(NULL);
    return 0;
}

OSR_TASK(offloads_a_fault, void, unused) { return osr_offload(faults_in_a_job, NULL); }

static void *fault_on_a_thread(void *unused)
{
    fault(unused);
    return NULL;
}

OSR_TASK(sleeps_while_a_thread_faults, void, unused)
{
    pthread_t thread;

    pthread_create(&thread, NULL, fault_on_a_thread, NULL);
    return osr_sleep(osr_s(5));
}

static void fault_beside_a_run(void)
{
    osr_run(sleeps_while_a_thread_faults, NULL);
}

static void fault_in_a_callback(void)
{
    osr_run(faults_in_a_callback, NULL);
}

static void fault_in_a_job(void)
{
    osr_run(offloads_a_fault, NULL);
}

TEST(a_fault_outside_tasks_ends_the_program_as_ever)
{
    assert_dies(fault_in_a_callback, SIGSEGV, "");
    assert_dies(fault_in_a_job, SIGSEGV, "");
    assert_dies(fault_beside_a_run, SIGSEGV, "");
}

OSR_TASK(waits_for_ever_whatever_comes, void, unused)
{
    static struct osr_event never;
    struct osr_scope shield;

    osr_event_init(&never);
    osr_shield_open_unlimited(&shield);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    return osr_scope_close(&shield, osr_event_wait(&never));
}

static void be_stuck_without_memory(void)
{
    (void)osr_run(waits_for_ever_whatever_comes, NULL, .clock = OSR_CLOCK_SIMULATED, .allocator = &counting_allocator);
}

TEST(who_is_stuck_in_a_shield_is_told_also_without_memory)
{
    assert_dies(be_stuck_without_memory, SIGABRT, "nothing can ever run again, and cancelling has not helped");
}

OSR_TASK(asks_for_its_tree_without_memory, void, unused)
{
    int i, rc = 0;

    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    raise(SIGUSR1);
    for (i = 0; i < 1000 && rc == 0; i++)
        rc = osr_yield(); /* the loop is looked at meanwhile */
    counting.fail_at = 0;
    counting.all_after = false;
    return rc;
}

static void tell_diagnosis(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    tell("%d: %s", (int)kind, text);
}

/* From within the handler, which is told first, nothing may be told here. */
static void count_nothing_but_the_tree(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_TREE)
        tell("%s", text);
}

TEST(a_tree_for_which_there_is_no_memory_is_missed)
{
    assert_int_equal(osr_run(asks_for_its_tree_without_memory, NULL, .dump_signal = SIGUSR1, .name = "root",
                             .diagnose = count_nothing_but_the_tree, .allocator = &counting_allocator), 0);
    assert_story("osier: no memory for the tree\n\n");
}

/* For the second thing that ends the run no error was set aside: the first one counts. */
OSR_TASK(fails_fatally_and_is_interrupted, void, unused)
{
    struct osr_scope shield;
    int i;

    osr_shield_open(&shield, osr_s(10));
    hoard_errors();
    check_int(osr_fail_fatal(-EIO, "the end"), -EIO);
    raise(SIGINT);
    for (i = 0; i < 1000; i++)
        (void)osr_yield();
    release_hoard();
    (void)osr_scope_close(&shield, 0);
    return 0;
}

OSR_TASK(fails_fatally_and_is_stuck, void, unused)
{
    struct osr_event never;
    struct osr_scope shield;

    osr_event_init(&never);
    osr_shield_open_unlimited(&shield);
    hoard_errors();
    (void)osr_fail_fatal(-EIO, "the end");
    return osr_scope_close(&shield, osr_event_wait(&never));
}

static void be_stuck_after_a_fatal_error(void)
{
    (void)osr_run(fails_fatally_and_is_stuck, NULL, .clock = OSR_CLOCK_SIMULATED, .allocator = &counting_allocator);
}

TEST(after_a_fatal_error_no_other_needs_memory)
{
    assert_int_equal(osr_run(fails_fatally_and_is_interrupted, NULL, .interrupts = true, .allocator = &counting_allocator),
                     -EIO);
    assert_checked();
    osr_error_clear();
    assert_dies(be_stuck_after_a_fatal_error, SIGABRT, "nothing can ever run again, and cancelling has not helped");
}

/* ---- Errors outside runs ------------------------------------------------------------------------------- */

OSR_TASK(fails_when_cut, void, unused)
{
    int rc = osr_sleep(osr_s(100));

    return rc == -ECANCELED ? osr_fail(-EIO, "clean-up failed") : rc;
}

OSR_TASK(sleeps_until_cut, void, unused) { return osr_sleep(osr_s(100)); }

/* The error that it leaves has a cancellation beside it, which the scope takes up. */
OSR_TASK(keeps_an_error_that_was_cut, struct osr_error *, kept)
{
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, fails_when_cut, NULL);
    osr_spawn(&group, sleeps_until_cut, NULL);
    (void)osr_group_close(&group, 0);
    *kept = osr_error_take();
    (void)osr_scope_close(&limit, 0);
    return 0;
}

TEST(an_error_outlives_its_run_and_can_be_raised_without_one)
{
    struct osr_error *kept = NULL;

    assert_int_equal(osr_run(keeps_an_error_that_was_cut, &kept, .clock = OSR_CLOCK_SIMULATED), 0);
    assert_non_null(kept);
    assert_int_equal(osr_raise(kept), -OSR_EGROUP); /* nobody is here to be cancelled */
    osr_error_clear();
    assert_int_equal(osr_fail_here(NULL, -EIO, "from nowhere"), -EIO);
    assert_non_null(osr_error_where(osr_error_last()));
    assert_int_equal(osr_job_check(), -EPERM);
    assert_int_equal(osr_error_code(osr_error_last()), -EPERM);
    osr_error_clear();
}

/* ---- Trees and timelines ------------------------------------------------------------------------------- */

enum { DEEP = 60 };

OSR_TASK(goes_deep, char, tree)
{
    struct osr_scope scopes[DEEP];
    int i, rc = 0;

    for (i = 0; i < DEEP; i++)
        osr_scope_open(&scopes[i]);
    osr_tree_format(tree, 1 << 16);
    for (i = DEEP; i-- > 0;)
        rc = osr_scope_close(&scopes[i], rc);
    return rc;
}

TEST(a_tree_that_is_deep_is_not_indented_for_ever)
{
    static char tree[1 << 16], most[2 * 40 + 1];
    const char *at;
    int lines = 0;

    memset(most, ' ', sizeof(most) - 1);
    assert_int_equal(run_simulated(goes_deep, tree), 0);
    for (at = tree; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_true(lines > DEEP);
    at = strstr(tree, most);
    assert_non_null(at);
    assert_null(strstr(tree, "                                                                                  scope")); /* 82 */
}

OSR_TASK(is_long_overdue, char, tree)
{
    struct osr_scope scope;
    int rc = osr_sleep(osr_s(1));

    osr_timeout_open_at(&scope, -OSR_NEVER);
    osr_tree_format(tree, 1 << 12);
    (void)osr_scope_close(&scope, rc);
    return 0;
}

TEST(a_deadline_further_back_than_can_be_told_is_overdue)
{
    static char tree[1 << 12];

    assert_int_equal(run_simulated(is_long_overdue, tree), 0);
    assert_non_null(strstr(tree, ", overdue"));
}

OSR_TASK(prints_into_a_full_file, void, unused)
{
    FILE *full = fopen("/dev/full", "w");
    int rc;

    setbuf(full, NULL);
    rc = osr_tree_print(full);
    fclose(full);
    return rc;
}

TEST(a_tree_that_cannot_be_printed_is_an_error)
{
    assert_int_equal(run_simulated(prints_into_a_full_file, NULL), -EIO);
}

static void trace_into_a_name_that_is_too_long(void)
{
    static char name[PATH_MAX + 100];

    memset(name, 'x', sizeof(name) - 1);
    setenv("OSR_TRACE", name, 1);
    check_int(osr_run(does_nothing, NULL, .diagnose = tell_diagnosis), 0);
    check_that(open(name, O_RDONLY) < 0, "there is no such file", OSR_HERE);
}

static void trace_and_tell(void)
{
    trace_into_a_name_that_is_too_long();
    leave_child(0);
}

TEST(a_timeline_with_a_name_that_is_too_long_is_not_written)
{
    assert_child_succeeds(trace_into_a_name_that_is_too_long);
    assert_child_succeeds(trace_and_tell);
}

OSR_TASK(yields_late, void, unused)
{
    usleep(3000);
    return osr_yield();
}

static void tell_slow(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_SLOW)
        tell("%s", strstr(text, "until it let others run") ? "let others run" : text);
}

TEST(a_slow_step_that_yields_is_named_also_where_no_stack_is_idle)
{
    assert_int_equal(osr_run(yields_late, NULL, .slow_step = osr_ms(1), .diagnose = tell_slow), 0);
    assert_story("let others run\n");
}

/* ---- Signals ------------------------------------------------------------------------------------------- */

static void leave_alone(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
}

OSR_TASK(interrupts_itself, void, unused)
{
    raise(SIGINT);
    return osr_sleep(osr_s(1));
}

TEST(a_programs_own_handler_of_interrupts_does_not_keep_them_from_the_run)
{
    struct sigaction action = {.sa_sigaction = leave_alone, .sa_flags = SA_SIGINFO}, before, now;

    sigaction(SIGINT, &action, &before);
    assert_int_equal(osr_run(interrupts_itself, NULL, .interrupts = true), -EINTR);
    sigaction(SIGINT, &before, &now);
    assert_ptr_equal(now.sa_sigaction, leave_alone); /* and it is back */
}

OSR_TASK(takes_the_signal_over, void, unused)
{
    struct sigaction action = {.sa_sigaction = leave_alone, .sa_flags = SA_SIGINFO};

    return sigaction(SIGINT, &action, NULL);
}

TEST(a_handler_that_the_program_has_set_meanwhile_stays)
{
    struct sigaction before, now;

    sigaction(SIGINT, NULL, &before);
    assert_int_equal(osr_run(takes_the_signal_over, NULL, .interrupts = true), 0);
    sigaction(SIGINT, &before, &now);
    assert_ptr_equal(now.sa_sigaction, leave_alone);
}

OSR_TASK(waits_while_the_alarm_rings, void, unused)
{
    const struct itimerval soon = {.it_value = {.tv_usec = 20000}};

    setitimer(ITIMER_REAL, &soon, NULL);
    return osr_sleep(osr_ms(200));
}

static atomic_int trees, runnings;

static void count_trees(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)text;
    trees += kind == OSR_DIAGNOSIS_TREE;
    runnings += kind == OSR_DIAGNOSIS_RUNNING;
}

TEST(a_dump_while_the_loop_waits_names_nobody_who_runs)
{
    trees = runnings = 0;
    assert_int_equal(osr_run(waits_while_the_alarm_rings, NULL, .dump_signal = SIGALRM, .diagnose = count_trees), 0);
    assert_int_equal(trees, 1);
    assert_int_equal(runnings, 0);
}

static char running[2048];

static void keep_running(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_RUNNING)
        snprintf(running, sizeof(running), "%s", text);
}

OSR_TASK(raises_the_dump, void, unused)
{
    raise(SIGUSR1);
    return osr_yield();
}

TEST(a_name_that_is_too_long_to_be_told_from_a_handler_is_cut)
{
    static char where[1000];
    const struct osr_run_options options = {
        .size = sizeof(options), .where = where, .dump_signal = SIGUSR1, .diagnose = keep_running};

    memset(where, 'w', sizeof(where) - 1);
    assert_int_equal(osr_run_with(&raises_the_dump.routine_, NULL, &options), 0);
    assert_int_equal(strlen(running), 511);
    assert_int_equal(running[510], '\n');
    assert_non_null(strstr(running, "osier: task \"raises_the_dump\", spawned at www"));
}

/* Two runs that both want the signal: what one passes on to the other comes no further. */
static pthread_barrier_t both;

OSR_TASK(waits_for_a_dump, void, unused)
{
    pthread_barrier_wait(&both);
    return osr_sleep(osr_ms(100));
}

static void *run_on_a_thread(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)osr_run(waits_for_a_dump, NULL, .dump_signal = SIGUSR1, .diagnose = count_trees);
}

TEST(every_run_shows_its_tree_once)
{
    pthread_t threads[3];
    void *rc;
    int i;

    trees = 0;
    pthread_barrier_init(&both, NULL, 4);
    for (i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, run_on_a_thread, NULL);
    pthread_barrier_wait(&both);
    kill(getpid(), SIGUSR1);
    for (i = 0; i < 3; i++) {
        pthread_join(threads[i], &rc);
        assert_null(rc);
    }
    pthread_barrier_destroy(&both);
    assert_int_equal(trees, 3);
}

static unsigned faults_left;

/* The `faults_left`-th thing that can fail does. */
static unsigned fail_one(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n, (void)what;
    return kind == OSR_CHOICE_FAULT && faults_left > 0 && --faults_left == 0;
}

TEST(a_run_whose_dump_signal_cannot_be_had_does_not_begin)
{
    unsigned at, failed = 0;
    int rc = -1;

    for (at = 1; rc != 0 || faults_left == 0; at++) {
        faults_left = at;
        rc = osr_run(does_nothing, NULL, .dump_signal = SIGUSR1, .choose = fail_one);
        failed += rc < 0;
    }
    assert_true(failed > 3);
}

OSR_TASK(waits_for_signals, void, unused)
{
    struct osr_signals signals;
    int rc = osr_signals_open(&signals, SIGTERM, SIGCHLD, SIGHUP);

    return rc < 0 ? rc : osr_signal_wait(&signals, NULL);
}

OSR_TASK(looks_at_its_handlers, void, unused)
{
    struct sigaction now[3];

    sigaction(SIGTERM, NULL, &now[0]);
    sigaction(SIGCHLD, NULL, &now[1]);
    sigaction(SIGHUP, NULL, &now[2]);
    return (now[0].sa_handler == SIG_DFL) + 2 * (now[1].sa_handler == SIG_DFL) + 4 * (now[2].sa_handler == SIG_IGN);
}

OSR_TASK(has_a_worker_while_others_wait_for_signals, void, unused)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, waits_for_signals, NULL, .daemon = true);
    if (rc == 0)
        rc = osr_yield();
    if (rc == 0)
        check_int(osr_worker(looks_at_its_handlers, NULL), 1 + 2 + 4);
    return osr_group_close(&group, rc);
}

TEST(a_worker_ignores_what_the_run_watches_but_can_be_ended)
{
    assert_int_equal(osr_run(has_a_worker_while_others_wait_for_signals, NULL), 0);
    assert_checked();
}

/* ---- Outside tasks ------------------------------------------------------------------------------------- */

static int outside[8];

static void call_from_a_callback(void *event)
{
    struct osr_address address;
    struct osr_portal portal;
    struct osr_post post;

    osr_address_ip(&address, "127.0.0.1", 0);
    outside[0] = osr_fd_close(0);
    outside[1] = osr_listen(&address, 1);
    outside[2] = osr_portal_open(&portal, NULL);
    outside[3] = osr_post_open_cancel(&post, NULL, "x");
    outside[4] = osr_cancel_reason() == NULL;
    outside[5] = osr_value(event) == NULL;
    osr_event_set(event);
}

OSR_TASK(is_called_back, void, unused)
{
    struct osr_event event;
    struct osr_call call = {0};

    osr_event_init(&event);
    osr_call_soon(&call, call_from_a_callback, &event);
    return osr_event_wait(&event);
}

static void assert_refused_outside(void)
{
    int i;

    for (i = 0; i < 4; i++)
        assert_int_equal(outside[i], -EPERM);
    assert_true(outside[4] && outside[5]);
}

TEST(what_needs_a_task_is_refused_in_callbacks_and_outside_runs)
{
    struct osr_event event;

    assert_int_equal(osr_run(is_called_back, NULL), 0);
    assert_refused_outside();
    memset(outside, 0, sizeof(outside));
    osr_event_init(&event);
    call_from_a_callback(&event);
    assert_refused_outside();
    assert_int_equal(osr_raise(NULL), -EINVAL);
}

/* ---- Streams and sockets ------------------------------------------------------------------------------- */

OSR_TASK(calls_without_sense, void, unused)
{
    struct osr_address address = {.size = sizeof(address.storage) + 1};
    struct osr_portal portal = {0};
    static const struct osr_routine empty;
    size_t written = 9;

    check_int(osr_listen(NULL, 1), -EINVAL);
    check_int(osr_listen(&address, 1), -EINVAL);
    check_int(osr_connect(&address), -EINVAL);
    check_int(osr_connect(NULL), -EINVAL);
    address.size = 0;
    check_int(osr_connect(&address), -EINVAL);
    check_int(osr_socket_address(0, NULL), -EINVAL);
    check_int(osr_address_ip(&address, "127.0.0.1", 0), 0);
    check_int(osr_listen(&address, -1), -EINVAL);
    check_int(osr_read(0, NULL, 5), -EINVAL);
    check_int(osr_read(0, NULL, 0), 0);
    check_int(osr_write(1, &address, (size_t)INT_MAX + 1), -EINVAL);
    check_int(osr_write_all(1, NULL, 5, &written), -EINVAL);
    check_int((int)written, 0);
    check_int(osr_write_all(1, NULL, 0, NULL), 0);
    check_int(osr_portal_call_with(portal, NULL, NULL, OSR_HERE), -EINVAL);
    check_int(osr_portal_call_with(portal, &empty, NULL, OSR_HERE), -EINVAL);
    return 0;
}

TEST(calls_that_make_no_sense_are_refused)
{
    assert_int_equal(osr_run(calls_without_sense, NULL), 0);
    assert_checked();
}

TEST(a_socket_may_be_asked_for_its_address_outside_runs)
{
    struct osr_address address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(osr_socket_address(fd, &address), 0);
    assert_int_equal(osr_socket_address(-1, &address), -EBADF);
    close(fd);
}

OSR_TASK(reads_a_byte, int, fd)
{
    char byte;

    return osr_read(*fd, &byte, 1);
}

OSR_TASK(settles_while_a_byte_is_there, void, unused)
{
    int ends[2], result = 0, rc;
    struct osr_group group;

    check_int(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    osr_group_open(&group);
    rc = osr_spawn(&group, reads_a_byte, &ends[0], .result = &result);
    if (rc == 0)
        rc = osr_yield();
    check_int((int)write(ends[1], "x", 1), 1); /* past the run */
    check_int(osr_settle(), 0);
    check_int(result, 1);
    rc = osr_group_close(&group, rc);
    osr_fd_close(ends[0]);
    osr_fd_close(ends[1]);
    return rc;
}

TEST(nothing_is_settled_while_a_descriptor_is_ready)
{
    assert_int_equal(run_simulated(settles_while_a_byte_is_there, NULL), 0);
    assert_checked();
}

/* More descriptors than a turn has steps are ready, and a call is due, which comes first. */
enum { READERS = 300, ROUNDS = 4 }; /* in the first ones libev makes room to hear of all at once */
static int reads_before_call, readings;

static void count_reads(void *unused)
{
    (void)unused;
    reads_before_call = readings;
}

OSR_TASK(counts_a_read, int, fd)
{
    uint64_t count;
    int rc = 0, i;

    for (i = 0; i < ROUNDS && rc >= 0; i++) {
        rc = osr_read(*fd, &count, sizeof(count));
        readings++;
    }
    return rc < 0 ? rc : 0;
}

OSR_TASK(has_many_readers, void, unused)
{
    static int fds[READERS];
    struct osr_group group;
    struct osr_scope limit;
    struct osr_call call = {0};
    uint64_t one = 1;
    int i, round, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < READERS && rc == 0; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        rc = osr_spawn(&group, counts_a_read, &fds[i]);
    }
    for (round = 0; round < ROUNDS; round++) {
        do /* what is written to one of them twice is read once */
            rc = rc == 0 ? osr_sleep(osr_ms(10)) : rc;
        while (rc == 0 && readings < round * READERS);
        for (i = 0; i < READERS; i++)
            check_int((int)write(fds[i], &one, sizeof(one)), sizeof(one));
    }
    osr_call_soon(&call, count_reads, NULL);
    osr_timeout_open(&limit, osr_ms(1));
    usleep(3000);
    check_int(osr_check(), -ECANCELED); /* which looks at the world first */
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    rc = osr_group_close(&group, rc);
    for (i = 0; i < READERS; i++)
        osr_fd_close(fds[i]);
    return rc;
}

TEST(a_call_that_is_due_does_not_wait_for_all_that_are_ready)
{
    readings = 0;
    reads_before_call = -1;
    assert_int_equal(osr_run(has_many_readers, NULL), 0);
    assert_checked();
    assert_int_equal(readings, ROUNDS * READERS);
    assert_true(reads_before_call >= 0 && reads_before_call < ROUNDS * READERS);
}

/* ---- Workers and jobs ---------------------------------------------------------------------------------- */

static void left_behind(void *arg, int rc)
{
    (void)arg, (void)rc;
}

OSR_JOB(gives_five, void, unused) { return 5; }

OSR_TASK(starts_what_has_no_name, void, unused)
{
    const struct osr_routine nameless = {.run = gives_five.routine_.run};
    const struct osr_worker_options options = {.size = sizeof(options), .where = OSR_HERE};
    struct osr_group group;
    int rc, result = 0;

    check_int(osr_worker_with(&nameless, NULL, &options), 5);
    check_int(osr_worker(gives_five, NULL, .grace = OSR_NEVER), 5);
    check_int(osr_offload_with(&nameless, NULL, NULL), 5);
    osr_group_open(&group);
    rc = osr_spawn_with(&group, &nameless, NULL,
                        &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options), .result = &result});
    rc = osr_group_close(&group, rc);
    check_int(result, 5);
    return rc;
}

TEST(what_has_no_name_runs_all_the_same)
{
    assert_int_equal(osr_run(starts_what_has_no_name, NULL), 0);
    assert_checked();
}

OSR_TASK(sleeps_for_months, void, unused) { return osr_sleep(osr_s(100 * 86400)); }

OSR_TASK(has_a_worker_for_months, void, unused)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleeps_for_months, NULL);
    if (rc == 0)
        rc = osr_yield();
    check_int(osr_worker(gives_five, NULL), 5);
    check_int(osr_now() < osr_s(1), 1);
    return osr_group_close(&group, rc);
}

TEST(a_worker_takes_no_simulated_time_however_far_the_next_deadline_is)
{
    assert_int_equal(run_simulated(has_a_worker_for_months, NULL), 0);
    assert_checked();
}

/* Without a pidfd for the first worker, the second one still leaves all that is the first one's alone. */
static unsigned without_pidfds(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_FAULT && strcmp(what, "pidfd_open") == 0;
}

OSR_JOB(gives_after_a_while, int, result)
{
    usleep(50000);
    return *result;
}

OSR_TASK(works, int, result) { return osr_worker(gives_after_a_while, result); }

OSR_TASK(has_two_workers, void, unused)
{
    int given[2] = {3, 4}, got[2] = {0};
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, works, &given[0], .result = &got[0]);
    if (rc == 0)
        rc = osr_spawn(&group, works, &given[1], .result = &got[1]);
    rc = osr_group_close(&group, rc);
    check_int(got[0], 3);
    check_int(got[1], 4);
    return rc;
}

TEST(workers_beside_each_other_need_no_pidfds)
{
    assert_int_equal(osr_run(has_two_workers, NULL, .choose = without_pidfds), 0);
    assert_checked();
}

OSR_TASK(maps_in_a_large_pool, void, unused)
{
    int items[3] = {1, 2, 3}, results[3] = {0};
    int rc = osr_map(gives_after_a_while, items, 3, .results = results);

    check_int(results[0] + results[1] + results[2], 6);
    return rc;
}

static void map_in_a_large_pool(void)
{
    check_int(osr_pool_set_size(UINT_MAX), 0);
    check_int(osr_run(maps_in_a_large_pool, NULL), 0);
    check_int(osr_pool_shutdown(osr_s(10), NULL, NULL), 0);
}

TEST(a_pool_may_be_larger_than_a_group)
{
    if (under_tools())
        skip(); /* ThreadSanitizer lets no child have threads whose parent had some */
    assert_child_succeeds(map_in_a_large_pool);
}

OSR_JOB(takes_long, void, unused)
{
    sleep(20);
    return 0;
}

OSR_TASK(offloads_long, void, unused) { return osr_offload(takes_long, NULL, .abandon = left_behind); }

OSR_TASK(leaves_three_behind, void, unused)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, offloads_long, NULL);
    if (rc == 0)
        rc = osr_sleep(osr_ms(100));
    osr_group_cancel(&group, "enough");
    (void)osr_group_close(&group, rc);
    return 0;
}

/* Each of them has begun when it is left. */
static unsigned say_begun(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_JOB && strcmp(what, "begun") == 0;
}

static int ended_alone;

static void note_end(void *arg, int rc)
{
    (void)arg;
    ended_alone += rc == 5;
}

OSR_TASK(offloads_five, void, unused) { return osr_offload(gives_five, NULL, .abandon = note_end); }

OSR_TASK(settles_while_jobs_are_left, void, unused)
{
    struct osr_group group;
    int i, rc = osr_jobs_allow(0);

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, offloads_five, NULL);
    if (rc == 0)
        rc = osr_yield();
    osr_group_cancel(&group, "leave them");
    (void)osr_group_close(&group, rc);
    check_int(ended_alone, 0);
    check_int(osr_jobs_allow(UINT32_MAX), 0);
    rc = osr_settle();
    check_int(ended_alone, 3);
    return rc;
}

TEST(nothing_is_settled_before_jobs_that_were_left_have_run)
{
    ended_alone = 0;
    assert_int_equal(run_simulated(settles_while_jobs_are_left, NULL, .choose = say_begun), 0);
    assert_checked();
}

static int stuck_jobs;

static void count_stuck(void *arg, const char *text)
{
    (void)arg;
    stuck_jobs += strstr(text, "job \"takes_long\"") != NULL;
}

static void shut_down_with_jobs_that_are_stuck(void)
{
    check_int(osr_pool_set_size(8), 0);
    check_int(osr_run(leaves_three_behind, NULL), 0);
    check_int(osr_pool_shutdown(osr_ms(10), count_stuck, NULL), -ETIMEDOUT);
    check_int(stuck_jobs, 3);
}

TEST(each_job_that_is_stuck_is_named_once)
{
    if (under_tools())
        skip(); /* they miss the memory of threads that are still there */
    assert_child_succeeds(shut_down_with_jobs_that_are_stuck);
}

static int key;
static void *seen[2];

static void *look_up(void)
{
    return osr_value(&key);
}

OSR_JOB(looks_a_value_up, void *, place)
{
    *place = look_up();
    return 0;
}

OSR_TASK(offloads_with_values, void, unused)
{
    struct osr_binding binding;
    int rc = osr_bind(&binding, &key, &key);

    if (rc == 0)
        rc = osr_offload(looks_a_value_up, &seen[0]);
    if (rc == 0)
        rc = osr_offload(looks_a_value_up, &seen[1], .abandon = left_behind);
    return rc;
}

TEST(jobs_see_the_values_of_their_caller_on_any_clock)
{
    memset(seen, 0, sizeof(seen));
    assert_int_equal(run_simulated(offloads_with_values, NULL), 0);
    assert_true(seen[0] == &key && seen[1] == &key);
    memset(seen, 0, sizeof(seen));
    assert_int_equal(osr_run(offloads_with_values, NULL), 0);
    assert_true(seen[0] == &key && seen[1] == &key);
}

OSR_TASK(offloads_a_look, void *, place) { return osr_offload(looks_a_value_up, place, .abandon = left_behind); }

OSR_TASK(leaves_a_job_that_looks_a_value_up, void, unused)
{
    struct osr_binding binding;
    struct osr_group group;
    int rc = osr_jobs_allow(0);

    (void)osr_bind(&binding, &key, &key);
    osr_group_open(&group);
    if (rc == 0)
        rc = osr_spawn(&group, offloads_a_look, &seen[0]);
    if (rc == 0)
        rc = osr_yield();
    osr_group_cancel(&group, "leave it");
    (void)osr_group_close(&group, rc);
    check_int(osr_jobs_allow(UINT32_MAX), 0);
    return osr_settle();
}

TEST(a_job_that_was_left_sees_no_values)
{
    seen[0] = &seen;
    assert_int_equal(run_simulated(leaves_a_job_that_looks_a_value_up, NULL, .choose = say_begun), 0);
    assert_checked();
    assert_null(seen[0]); /* its caller's scopes may be gone */
}

/* ---- Queues -------------------------------------------------------------------------------------------- */

static int disposed;

static void dispose(void *item)
{
    disposed += *(int *)item;
}

static struct osr_queue left_queue;

OSR_TASK(fills_a_queue, void, unused)
{
    int item = 7;

    check_int(osr_queue_init(&left_queue, sizeof(int), 2, .dispose = dispose), 0);
    check_int(osr_queue_put(&left_queue, &item), 0);
    return osr_queue_put(&left_queue, &item);
}

TEST(a_queue_that_outlives_its_run_disposes_of_what_is_left_in_it)
{
    disposed = 0;
    assert_int_equal(run_simulated(fills_a_queue, NULL), 0);
    assert_int_equal(osr_queue_destroy(&left_queue), 0);
    assert_int_equal(disposed, 14);
}

/* A run that knows a descriptor which another has closed meanwhile has nothing to complain of in the end. */
OSR_TASK(closes_anothers, int, fd) { return osr_fd_close(*fd); }

static void *close_elsewhere(void *fd)
{
    osr_run(closes_anothers, fd);
    return NULL;
}

OSR_TASK(knows_what_another_closes, void, unused)
{
    int fds[2];
    pthread_t thread;

    check_int(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    check_int(osr_write(fds[1], "x", 1), 1);
    pthread_create(&thread, NULL, close_elsewhere, &fds[1]);
    pthread_join(thread, NULL);
    check_int(fcntl(fds[1], F_GETFD), -1);
    return osr_fd_close(fds[0]);
}

TEST(what_another_run_has_closed_is_no_descriptor_closed_behind_ones_back)
{
    assert_int_equal(osr_run(knows_what_another_closes, NULL, .debug = true, .diagnose = tell_diagnosis), 0);
    assert_checked();
    assert_story("");
}

static struct osr_queue full_queue;
static int taken_elsewhere;

OSR_TASK(takes_at_once, void, unused)
{
    int item;

    taken_elsewhere = osr_queue_try_get(&full_queue, &item);
    return 0;
}

static void *run_another(void *unused)
{
    (void)unused;
    osr_run(takes_at_once, NULL);
    return NULL;
}

OSR_TASK(puts_one_more, void, unused)
{
    int item = 1;

    return osr_queue_put(&full_queue, &item);
}

OSR_TASK(waits_to_put_while_another_run_gets, void, unused)
{
    struct osr_group group;
    pthread_t thread;
    int item = 1, rc;

    check_int(osr_queue_init(&full_queue, sizeof(int), 1), 0);
    check_int(osr_queue_put(&full_queue, &item), 0);
    osr_group_open(&group);
    rc = osr_spawn(&group, puts_one_more, NULL);
    if (rc == 0)
        rc = osr_yield();
    pthread_create(&thread, NULL, run_another, NULL);
    pthread_join(thread, NULL);
    check_int(taken_elsewhere, -EPERM);
    check_int(osr_queue_get(&full_queue, &item), 0);
    rc = osr_group_close(&group, rc);
    check_int(osr_queue_get(&full_queue, &item), 0);
    osr_queue_destroy(&full_queue);
    return rc;
}

TEST(a_queue_that_a_task_of_another_run_waits_to_put_into_gives_nothing)
{
    assert_int_equal(osr_run(waits_to_put_while_another_run_gets, NULL), 0);
    assert_checked();
}

/* ---- Portals ------------------------------------------------------------------------------------------- */

OSR_TASK(ends_the_run, void, unused) { return osr_fail_fatal(-EPROTO, "this is the end"); }

static int called;

static void *call_through(void *portal)
{
    called = osr_portal_call(*(struct osr_portal *)portal, ends_the_run, NULL);
    return NULL;
}

OSR_TASK(has_a_portal, void, unused)
{
    struct osr_portal portal;
    struct osr_group group;
    pthread_t thread;
    int rc;

    osr_group_open(&group);
    osr_portal_open(&portal, &group);
    pthread_create(&thread, NULL, call_through, &portal);
    rc = osr_sleep(osr_s(5));
    rc = osr_group_close(&group, rc);
    pthread_join(thread, NULL);
    return rc;
}

TEST(a_call_that_ends_the_run_has_its_code)
{
    assert_int_equal(osr_run(has_a_portal, NULL), -EPROTO);
    assert_int_equal(called, -EPROTO);
}

/* A call whose task fails while it is cut: the caller has the error, and the group the cancellation that it asked for. */
OSR_TASK(fails_while_it_is_cut, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fails_when_cut, NULL);
    osr_spawn(&group, sleeps_until_cut, NULL);
    return osr_group_close(&group, 0);
}

static char call_said[256];

static void *call_what_fails(void *portal)
{
    called = osr_portal_call(*(struct osr_portal *)portal, fails_while_it_is_cut, NULL);
    snprintf(call_said, sizeof(call_said), "%s", osr_error_message(osr_error_last()));
    osr_error_clear();
    return NULL;
}

OSR_TASK(cancels_what_is_called, void, unused)
{
    struct osr_portal portal;
    struct osr_group group;
    pthread_t thread;
    int rc;

    osr_group_open(&group);
    osr_portal_open(&portal, &group);
    pthread_create(&thread, NULL, call_what_fails, &portal);
    rc = osr_sleep(osr_ms(50));
    osr_group_cancel(&group, "enough");
    rc = osr_group_close(&group, rc);
    pthread_join(thread, NULL);
    return rc;
}

TEST(a_call_that_fails_while_it_is_cut_has_its_error_and_the_group_its_cancellation)
{
    assert_int_equal(osr_run(cancels_what_is_called, NULL), 0);
    assert_int_equal(called, -OSR_EGROUP);
    assert_non_null(strstr(call_said, "clean-up failed"));
}

/* ---- Who is told what steps touch ---------------------------------------------------------------------- */

static unsigned long touches;

static void count_touches(void *arg, enum osr_touch how, const void *object, uint64_t task)
{
    (void)arg, (void)how, (void)object, (void)task;
    touches++;
}

OSR_TASK(spawns_into_another, struct osr_group, group) { return osr_spawn(group, does_nothing, NULL); }

static struct osr_group *siblings;

static void spawn_from_a_callback(void *unused)
{
    (void)unused;
    osr_spawn(siblings, does_nothing, NULL);
}

OSR_TASK(has_a_group, void, unused)
{
    struct osr_group group;
    struct osr_call call = {0};
    int rc;

    osr_group_open(&group);
    siblings = &group;
    osr_call_soon(&call, spawn_from_a_callback, NULL);
    rc = osr_sleep(osr_ms(1));
    return osr_group_close(&group, rc);
}

OSR_TASK(spawns_into_a_siblings, void, unused) { return osr_spawn(siblings, does_nothing, NULL); }

OSR_TASK(touches_things, void, unused)
{
    struct osr_group group, others;
    struct osr_outcome outcome;
    struct osr_scope scope;
    struct osr_task handle;
    int rc, result;

    osr_scope_open(&scope);
    check_that(!osr_scope_cancelled(&scope), "it is not cancelled", OSR_HERE);
    rc = osr_scope_close(&scope, 0);
    check_that(!osr_scope_cancelled(&scope), "nor is it now", OSR_HERE);
    osr_group_open(&group);
    rc = rc == 0 ? osr_spawn(&group, spawns_into_another, &group, .daemon = true) : rc;
    rc = rc == 0 ? osr_spawn(&group, does_nothing, NULL) : rc;
    rc = osr_group_close(&group, rc);
    check_int(osr_spawn((struct osr_group *)NULL, does_nothing, NULL), -EINVAL);
    osr_group_open(&group, .policy = OSR_COLLECT);
    rc = rc == 0 ? osr_spawn(&group, does_nothing, NULL) : rc;
    rc = osr_group_close(&group, rc);
    osr_group_open(&group);
    rc = rc == 0 ? osr_spawn(&group, has_a_group, NULL) : rc;
    rc = rc == 0 ? osr_spawn(&group, spawns_into_a_siblings, NULL) : rc;
    rc = osr_group_close(&group, rc);
    osr_group_open(&others);
    osr_group_open(&group);
    rc = rc == 0 ? osr_spawn(&group, spawns_into_another, &others) : rc;
    rc = rc == 0 ? osr_spawn(&group, does_nothing, NULL, .outcome = &outcome) : rc;
    rc = osr_group_close(&group, rc);
    rc = osr_group_close(&others, rc);
    osr_group_open(&group, .limit = 2);
    rc = rc == 0 ? osr_spawn(&group, does_nothing, NULL, .handle = &handle) : rc;
    rc = rc == 0 ? osr_spawn(&group, does_nothing, NULL, .daemon = true) : rc;
    rc = rc == 0 ? osr_spawn(&group, does_nothing, NULL, .result = &result) : rc;
    return osr_group_close(&group, rc);
}

TEST(what_steps_touch_can_be_told_without_anybody_who_observes)
{
    touches = 0;
    assert_int_equal(osr_run(touches_things, NULL, .clock = OSR_CLOCK_SIMULATED, .touched = count_touches), 0);
    assert_checked();
    assert_true(touches > 10);
}

static unsigned choose_first(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)kind, (void)n, (void)what;
    return 0;
}

TEST(to_inject_takes_somebody_who_chooses)
{
    assert_int_equal(osr_run(does_nothing, NULL, .inject = true), 0);
    assert_int_equal(osr_run(does_nothing, NULL, .inject = true, .choose = choose_first), 0);
    assert_int_equal(osr_run(does_nothing, NULL, .inject = true, .choose = choose_first, .touched = count_touches), 0);
}

/* ---- Calls that do nothing ----------------------------------------------------------------------------- */

static struct idle {
    struct osr_signals signals, closed;
    int fd;
    char byte;
    bool ran;
    int (*call)(void);
} idle;

OSR_JOB(does_a_job, char, byte) { return *byte; }

static int read_nothing(void) { return osr_read(idle.fd, &idle.byte, 0); }
static int write_nothing(void) { return osr_write(idle.fd, &idle.byte, 0); }
static int write_all_of_nothing(void) { return osr_write_all(idle.fd, &idle.byte, 0, NULL); }
static int read_from_nowhere(void) { return osr_read(-1, &idle.byte, 1); }
static int map_nothing(void) { return osr_map(does_a_job, &idle.byte, 0); }
static int wait_for_no_signal(void) { return osr_signal_wait(&idle.closed, NULL); }

static int wait_for_a_signal(void)
{
    raise(SIGUSR2);
    return osr_signal_wait(&idle.signals, NULL);
}

/* There are no such sockets. */
static int connect_nowhere(void)
{
    struct osr_address address = {.size = sizeof(sa_family_t)};

    address.storage.ss_family = AF_MAX;
    return osr_connect(&address);
}

OSR_TASK(calls_again_and_again, int, calls)
{
    for (*calls = 0; *calls < 1000 && !idle.ran; ++*calls)
        (void)idle.call();
    return 0;
}

OSR_TASK(says_that_it_ran, void, unused)
{
    idle.ran = true;
    return 0;
}

OSR_TASK(lets_others_run, void, unused)
{
    static int (*const calls[])(void) = {read_nothing, write_nothing, write_all_of_nothing, read_from_nowhere, map_nothing,
                                         wait_for_no_signal, wait_for_a_signal, connect_nowhere};
    int ends[2], made;
    size_t i;

    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    check_int(osr_signals_open(&idle.signals, SIGUSR2), 0);
    idle.fd = ends[0];
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct osr_group group;

        idle.call = calls[i];
        idle.ran = false;
        osr_group_open(&group);
        osr_spawn(&group, calls_again_and_again, &made);
        osr_spawn(&group, says_that_it_ran, NULL);
        check_int(osr_group_close(&group, 0), 0);
        check_int(made, 128);
    }
    check_int(osr_fd_close(ends[0]), 0);
    return close(ends[1]);
}

TEST(a_task_whose_calls_have_nothing_to_do_lets_others_run)
{
    assert_int_equal(osr_run(lets_others_run, NULL), 0);
    assert_checked();
}

/* ---- What can be asked of things, and what macros fill in -------------------------------------------------- */

struct five {
    char bytes[5];
};

OSR_TASK(gets_five_bytes, struct five, five)
{
    check(memcmp(five->bytes, "12345", sizeof(five->bytes)) == 0);
    return 0;
}

OSR_TASK(comes_to_a_barrier, struct osr_barrier, barrier)
{
    check_int(osr_barrier_wait(barrier), -OSR_EBROKEN);
    return 0;
}

static int sleep_long(void *arg)
{
    (void)arg;
    return osr_sleep(osr_s(100));
}

SIMULATED_TEST(things_say_what_they_are)
{
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_permit permits[2] = {{0}};
    struct osr_barrier barrier;
    struct osr_queue queue;
    struct osr_scope scope;
    struct osr_group group;
    struct osr_lock lock;
    struct five five;

    osr_lock_init(&lock);
    check_int(osr_lock_acquire(&lock), 0);
    check(osr_lock_held(&lock));
    check_int(osr_lock_release(&lock), 0);
    check(!osr_lock_held(&lock));
    osr_semaphore_init_bounded(&semaphore, 2);
    check_int(osr_semaphore_value(&semaphore), 2);
    osr_limiter_init(&limiter, 2);
    check_int(osr_limiter_acquire(&limiter, &permits[0]), 0);
    check_int(osr_limiter_acquire(&limiter, &permits[1]), 0);
    check_int(osr_limiter_total(&limiter), 2);
    check_int(osr_limiter_set_total(&limiter, 1), 0);
    check_int(osr_limiter_borrowed(&limiter), 2);
    check_int(osr_queue_init(&queue, 1, OSR_UNBOUNDED), 0);
    check(osr_queue_capacity(&queue) == OSR_UNBOUNDED);
    check_int(osr_queue_destroy(&queue), 0);
    check_int(osr_us(-(OSR_NEVER / 1000)), -(OSR_NEVER / 1000) * 1000);
    check_int(osr_barrier_init(&barrier, 3), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, comes_to_a_barrier, &barrier), 0);
    memcpy(five.bytes, "12345", sizeof(five.bytes));
    check_int(osr_spawn_copy(&group, gets_five_bytes, &five), 0);
    memset(&five, 0, sizeof(five));
    check_int(osr_yield(), 0);
    check_int(osr_barrier_parties(&barrier), 3);
    check_int(osr_barrier_abort(&barrier), 0);
    check(osr_barrier_broken(&barrier));
    check_int(osr_group_close(&group, 0), 0);
    osr_scope_open(&scope);
    check_int(osr_defer_unlimited(NULL, sleep_long, NULL), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_run_needs_something_to_run_and_an_allocator_that_allocates),
        story_test(a_root_that_is_cancelled_without_a_word_says_so),
        story_test(a_fault_outside_tasks_ends_the_program_as_ever),
        story_test(who_is_stuck_in_a_shield_is_told_also_without_memory),
        story_test(a_tree_for_which_there_is_no_memory_is_missed),
        story_test(after_a_fatal_error_no_other_needs_memory),
        story_test(an_error_outlives_its_run_and_can_be_raised_without_one),
        story_test(a_tree_that_is_deep_is_not_indented_for_ever),
        story_test(a_deadline_further_back_than_can_be_told_is_overdue),
        story_test(a_tree_that_cannot_be_printed_is_an_error),
        story_test(a_timeline_with_a_name_that_is_too_long_is_not_written),
        story_test(a_slow_step_that_yields_is_named_also_where_no_stack_is_idle),
        story_test(a_programs_own_handler_of_interrupts_does_not_keep_them_from_the_run),
        story_test(a_handler_that_the_program_has_set_meanwhile_stays),
        story_test(a_dump_while_the_loop_waits_names_nobody_who_runs),
        story_test(a_name_that_is_too_long_to_be_told_from_a_handler_is_cut),
        story_test(every_run_shows_its_tree_once),
        story_test(a_run_whose_dump_signal_cannot_be_had_does_not_begin),
        story_test(a_worker_ignores_what_the_run_watches_but_can_be_ended),
        story_test(what_needs_a_task_is_refused_in_callbacks_and_outside_runs),
        story_test(calls_that_make_no_sense_are_refused),
        story_test(a_socket_may_be_asked_for_its_address_outside_runs),
        story_test(nothing_is_settled_while_a_descriptor_is_ready),
        story_test(a_call_that_is_due_does_not_wait_for_all_that_are_ready),
        story_test(what_has_no_name_runs_all_the_same),
        story_test(a_worker_takes_no_simulated_time_however_far_the_next_deadline_is),
        story_test(workers_beside_each_other_need_no_pidfds),
        story_test(a_pool_may_be_larger_than_a_group),
        story_test(nothing_is_settled_before_jobs_that_were_left_have_run),
        story_test(each_job_that_is_stuck_is_named_once),
        story_test(jobs_see_the_values_of_their_caller_on_any_clock),
        story_test(a_job_that_was_left_sees_no_values),
        story_test(a_queue_that_outlives_its_run_disposes_of_what_is_left_in_it),
        story_test(what_another_run_has_closed_is_no_descriptor_closed_behind_ones_back),
        story_test(a_queue_that_a_task_of_another_run_waits_to_put_into_gives_nothing),
        story_test(a_call_that_ends_the_run_has_its_code),
        story_test(a_call_that_fails_while_it_is_cut_has_its_error_and_the_group_its_cancellation),
        story_test(what_steps_touch_can_be_told_without_anybody_who_observes),
        story_test(to_inject_takes_somebody_who_chooses),
        story_test(a_task_whose_calls_have_nothing_to_do_lets_others_run),
        story_test(things_say_what_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
