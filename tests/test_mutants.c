/* What the mutants of fuzz/mutants had to be found out by: each test is what one of them did wrong. */
#include "harness.h"

#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <osier/process.h>
#include <osier/signal.h>
#include <osier/thread.h>

/* ---- Time ---------------------------------------------------------------------------------------------- */

/* As many timers as the first room for them holds, less the one that a clean-up keeps for its grace. */
enum { ROOM_FOR_TIMERS = 64 };

static int64_t limit_of_the_cleanup;

static int note_the_limit(void *unused)
{
    (void)unused;
    limit_of_the_cleanup = osr_deadline();
    return 0;
}

OSR_TASK(fill_the_room_for_timers, void, unused)
{
    struct osr_scope scopes[ROOM_FOR_TIMERS];
    struct osr_cleanup cleanup;
    int i, rc;

    check_int(osr_defer(&cleanup, note_the_limit, NULL, osr_s(1)), 0);
    for (i = 0; i < ROOM_FOR_TIMERS - 1; i++)
        check_int(osr_timeout_open(&scopes[i], osr_s(60)), 0);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    rc = osr_timeout_open(&scopes[i], osr_s(60));
    check_int(rc, -ENOMEM);
    check_int(osr_scope_close(&scopes[i], 0), rc);
    while (i-- > 0)
        check_int(osr_scope_close(&scopes[i], 0), 0);
    return 0;
}

static void the_timer_that_a_clean_up_keeps_is_given_to_nobody_else(void **state)
{
    (void)state;
    limit_of_the_cleanup = 0;
    assert_int_equal(run_simulated(fill_the_room_for_timers, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_true(limit_of_the_cleanup == osr_s(1));
}

OSR_TASK(put_one, struct osr_queue, queue)
{
    int item = 1;

    return osr_queue_put(queue, &item);
}

SIMULATED_TEST(a_select_whose_moment_has_come_lets_nobody_run_first)
{
    struct osr_group group;
    struct osr_queue queue;
    int item = 0;
    struct osr_case cases[] = {OSR_GET(&queue, &item)};

    osr_queue_init(&queue, sizeof(int), 1);
    osr_group_open(&group);
    osr_spawn(&group, put_one, &queue);
    check_int(osr_select(cases, 1, osr_now()), -ETIMEDOUT);
    check_int(item, 0);
    check_int(osr_group_close(&group, 0), 0);
    osr_queue_destroy(&queue);
    return 0;
}

/* ---- Scopes and groups --------------------------------------------------------------------------------- */

SIMULATED_TEST(a_scope_of_a_form_that_there_is_not_is_refused)
{
    struct osr_scope scope;

    check_int(osr_scope_open_here(&scope, OSR_SCOPE_SHIELD + 1, OSR_NEVER, OSR_HERE), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    return 0;
}

static int told_of_runaways;

static void count_runaways(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)text;
    told_of_runaways += kind == OSR_DIAGNOSIS_RUNAWAY;
}

OSR_TASK(call_on_with_a_shield_between, void, unused)
{
    struct osr_scope scope, shield;
    int i;

    osr_move_on_open(&scope, OSR_NEVER);
    osr_scope_cancel(&scope, NULL);
    for (i = 0; i < 6000; i++)
        check_int(osr_check(), -ECANCELED);
    osr_shield_open(&shield, osr_s(1));
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    for (i = 0; i < 6000; i++)
        check_int(osr_check(), -ECANCELED);
    return osr_scope_close(&scope, -ECANCELED);
}

static void only_calls_refused_in_a_row_are_a_runaways(void **state)
{
    (void)state;
    told_of_runaways = 0;
    assert_int_equal(run_simulated(call_on_with_a_shield_between, NULL, .diagnose = count_runaways), 0);
    assert_checked();
    assert_int_equal(told_of_runaways, 0);
}

OSR_TASK(end_at_once, void, unused)
{
    (void)unused;
    return 0;
}

OSR_TASK(wait_to_be_cut, char, name)
{
    int rc = osr_sleep(OSR_NEVER);

    tell("%s: %s", name, osr_strcode(rc));
    return rc;
}

/* The second begins on the stack that the first has left, and takes its place among the scopes of the group. */
TOLD_TEST(who_begins_where_another_has_ended_is_cancelled_in_the_order_of_spawning, "second: ECANCELED\nthird: ECANCELED\n")
{
    char second[] = "second", third[] = "third";
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, end_at_once, NULL), 0);
    check_int(osr_spawn(&group, wait_to_be_cut, second), 0);
    check_int(osr_spawn(&group, wait_to_be_cut, third), 0);
    osr_yield();
    osr_scope_cancel(&group.scope, NULL);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_cancellation_that_is_invented_under_a_shield_has_cut_nothing_outside)
{
    struct osr_scope limit, shield;

    osr_timeout_open(&limit, osr_s(1));
    osr_shield_open(&shield, osr_s(60));
    check_int(osr_sleep(osr_s(2)), 0); /* now the limit has passed, and nobody here could see it */
    check_int(osr_scope_close(&shield, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&limit, 0), 0); /* late is fine */
    return 0;
}

OSR_TASK(fail_when_cancelled, void, unused)
{
    check_int(osr_sleep(osr_s(60)), -ECANCELED);
    return osr_fail(-EIO, "after all");
}

OSR_TASK(cancelled_from_outside_first, void, unused)
{
    struct osr_scope scope;
    struct osr_group group;
    int rc;

    osr_scope_open(&scope);
    osr_group_open(&group);
    osr_spawn(&group, fail_when_cancelled, NULL);
    check_int(osr_yield(), 0);
    osr_scope_cancel(&scope, "from outside");
    rc = osr_group_close(&group, 0);
    check(strstr(osr_error_message(osr_error_last()), "from outside") != NULL);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_scope_close(&scope, 0), -OSR_ESCOPECANCELED);
    return 0;
}

OSR_TASK(fail_now, void, unused)
{
    return osr_fail(-EIO, "at once");
}

OSR_TASK(sleep_long, void, unused)
{
    return osr_sleep(osr_s(60));
}

OSR_TASK(linger_when_cancelled, void, unused)
{
    struct osr_scope shield;

    check_int(osr_sleep(osr_s(60)), -ECANCELED);
    osr_shield_open(&shield, osr_s(60));
    check_int(osr_sleep(osr_s(2)), 0);
    osr_scope_close(&shield, 0);
    return -ECANCELED;
}

OSR_TASK(cancelled_from_outside_later, void, unused)
{
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, linger_when_cancelled, NULL);
    osr_spawn(&group, fail_now, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP); /* two seconds later */
    check(strstr(osr_error_message(osr_error_last()), "fail_now") != NULL);
    check(strstr(osr_error_message(osr_error_last()), "deadline") == NULL);
    osr_error_clear();
    (void)osr_scope_close(&limit, 0);
    return 0;
}

static void a_group_of_errors_names_who_cancelled_first(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(cancelled_from_outside_first, NULL), 0);
    assert_int_equal(run_simulated(cancelled_from_outside_later, NULL), 0);
    assert_checked();
}

OSR_TASK(raise_it, struct osr_error, error)
{
    return osr_raise(error);
}

/* The tree of the second group lies where that of the first one lay. */
SIMULATED_TEST(a_leaf_that_has_outlived_its_group_is_an_error_like_others)
{
    struct osr_error *early, *leaf;
    struct osr_group group;

    (void)osr_fail(-EDOM, "early");
    early = osr_error_take();
    osr_group_open(&group);
    osr_spawn(&group, fail_now, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    leaf = osr_error_retain((struct osr_error *)osr_error_find(osr_error_last(), EIO));
    osr_error_clear();
    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, raise_it, early);
    osr_spawn(&group, raise_it, leaf);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int((int)osr_error_count(osr_error_last()), 2);
    osr_error_clear();
    return 0;
}

SIMULATED_TEST(the_tree_says_nothing_of_deadlines_of_what_is_cancelled)
{
    struct osr_scope scope;
    char text[2048];

    osr_move_on_open(&scope, osr_s(1));
    osr_scope_cancel(&scope, "enough");
    check(osr_tree_format(text, sizeof(text)) < sizeof(text));
    check(strstr(text, "enough") && !strstr(text, "due"));
    return osr_scope_close(&scope, 0);
}

/* ---- From outside -------------------------------------------------------------------------------------- */

OSR_TASK(close_it_barely, void, unused)
{
    char byte = 1;
    int fds[2];

    check_int(pipe(fds), 0);
    check_int(osr_write(fds[1], &byte, 1), 1);
    check_int(osr_fd_readable(fds[0]), 0);
    close(fds[0]);
    check_int(osr_fd_readable(fds[0]), -EBADF);
    osr_fd_close(fds[1]);
    return 0;
}

/* In a debug run it would be noticed before. */
static void a_descriptor_that_was_closed_by_a_bare_close_is_not_readable(void **state)
{
    (void)state;
    assert_int_equal(osr_run(close_it_barely, NULL), 0);
    assert_checked();
}

static void nothing_posted(void *arg, unsigned count)
{
    (void)arg, (void)count;
}

/* The number of a source is the lower half of a reference to it. */
REAL_TEST(what_a_post_stood_on_is_used_again_though_it_was_rung_and_not_heard)
{
    uint32_t first = 0, most = 0;
    struct osr_post post;
    int i;

    for (i = 0; i < 1000; i++) {
        check_int(osr_post_open(&post, nothing_posted, NULL), 0);
        first = i ? first : (uint32_t)post.id_;
        most = (uint32_t)post.id_ > most ? (uint32_t)post.id_ : most;
        check_int(osr_post_fire(post), 0);
        check_int(osr_post_close(&post), 0);
        check_int(osr_sleep(1), 0);
    }
    check(most < first + 128);
    return 0;
}

SIMULATED_TEST(an_abstract_address_is_as_long_as_its_name)
{
    struct osr_address address;

    check_int(osr_address_unix(&address, "@ab"), 0);
    check_int(address.size, (int)offsetof(struct sockaddr_un, sun_path) + 3);
    check_int(osr_address_unix(&address, "ab"), 0);
    check_int(address.size, (int)offsetof(struct sockaddr_un, sun_path) + 3);
    return 0;
}

/* ---- Threads ------------------------------------------------------------------------------------------- */

OSR_JOB(say_number, int, number)
{
    tell("%d", *number);
    return 0;
}

OSR_JOB(take_a_while, int, unused)
{
    (void)unused;
    usleep(50000);
    return 0;
}

OSR_TASK(offload_number, int, number)
{
    return *number ? osr_offload(say_number, number) : osr_offload(take_a_while, number);
}

REAL_TEST(jobs_begin_in_the_order_of_offloading)
{
    int numbers[] = {0, 1, 2, 3}, i;
    struct osr_group group;
    unsigned size = osr_pool_size();

    osr_pool_set_size(1);
    osr_group_open(&group);
    for (i = 0; i < 4; i++)
        osr_spawn(&group, offload_number, &numbers[i]);
    check_int(osr_group_close(&group, 0), 0);
    osr_pool_set_size(size);
    return 0;
}

static void jobs_begin_in_order(void **state)
{
    jobs_begin_in_the_order_of_offloading(state);
    assert_story("1\n2\n3\n");
}

OSR_TASK(withdraw_and_wait_for_ever, void, unused)
{
    struct osr_group group;
    struct osr_event event;
    int number = 1;

    osr_event_init(&event);
    osr_group_open(&group);
    osr_spawn(&group, offload_number, &number, .eager = true);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_event_wait(&event);
}

static void a_job_that_was_withdrawn_keeps_no_run_from_being_stuck(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(withdraw_and_wait_for_ever, NULL), -OSR_EDEADLOCK);
    osr_error_clear();
    assert_checked();
    assert_story("");
}

/* ---- Signals ------------------------------------------------------------------------------------------- */

OSR_TASK(wait_for_a_signal, struct osr_signals, signals)
{
    check_int(osr_signal_wait(signals, NULL), SIGUSR1);
    return 0;
}

REAL_TEST(a_signal_goes_to_who_has_waited_before_it_came)
{
    struct osr_signals signals;
    struct osr_group group;
    struct osr_scope limit;

    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    osr_group_open(&group);
    osr_spawn(&group, wait_for_a_signal, &signals, .eager = true);
    raise(SIGUSR1);
    osr_move_on_open(&limit, osr_ms(50));
    check_int(osr_signal_wait(&signals, NULL), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

/* A child that shares the memory, until it is another program. */
static __attribute__((noinline)) pid_t borrow_memory_and_signal(void)
{
    pid_t pid = vfork();

    if (pid == 0) {
        kill(getpid(), SIGUSR1);
        _exit(0);
    }
    return pid;
}

REAL_TEST(a_signal_of_a_child_that_borrows_the_memory_is_not_ours)
{
    struct osr_signals signals;
    struct osr_scope limit;
    int status;

    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    check(waitpid(borrow_memory_and_signal(), &status, 0) > 0);
    osr_move_on_open(&limit, osr_ms(50));
    check_int(osr_signal_wait(&signals, NULL), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    check_int(osr_signals_close(&signals), 0);
    return 0;
}

/* ---- Workers ------------------------------------------------------------------------------------------- */

OSR_TASK(count_descriptors, void, unused)
{
    return open_descriptors();
}

OSR_TASK(sleep_as_a_worker, void, unused)
{
    usleep(1000000);
    return 0;
}

OSR_TASK(have_a_worker_sleep, void, unused)
{
    return osr_worker(sleep_as_a_worker, NULL);
}

REAL_TEST(a_worker_has_nothing_of_the_others)
{
    int alone = osr_worker(count_descriptors, NULL), beside;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, have_a_worker_sleep, NULL, .eager = true);
    beside = osr_worker(count_descriptors, NULL);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check(alone > 0);
    check_int(beside, alone);
    return 0;
}

REAL_TEST(a_worker_that_was_cut_and_ignored_is_a_timeout)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_ms(20));
    check_int(osr_worker(sleep_as_a_worker, NULL), -ECANCELED);
    check_int(osr_scope_close(&limit, 0), -ETIMEDOUT);
    return 0;
}

enum { LARGE = 8 << 20 };

/* It comes many times, but not for ever: on a slow machine it leaves no time for anything else. */
static void interrupt(int number)
{
    const struct itimerval never = {{0, 0}, {0, 0}};
    static int times;

    (void)number;
    if (++times == 200)
        setitimer(ITIMER_REAL, &never, NULL);
}

OSR_TASK(give_much_while_interrupted, void, unused)
{
    const struct itimerval often = {{0, sized(200, 5000)}, {0, sized(200, 5000)}};
    struct sigaction action = {.sa_handler = interrupt}; /* calls are not made again */
    char *much = malloc(LARGE);
    int i, rc;

    for (i = 0; i < LARGE; i++)
        much[i] = (char)(i / 4096);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    rc = osr_worker_give(much, LARGE);
    free(much);
    return rc;
}

/* Keeps the loop from reading, so that the worker has to wait. */
OSR_TASK(keep_the_thread, void, unused)
{
    int i, rc = 0;

    for (i = 0; i < 10 && rc == 0; i++) {
        usleep(5000);
        rc = osr_sleep(osr_us(100));
    }
    return rc;
}

REAL_TEST(a_worker_that_is_interrupted_gives_all_the_same)
{
    char *much = calloc(1, LARGE);
    struct osr_group group;
    size_t got = 0;
    int i, wrong = 0;

    osr_group_open(&group);
    osr_spawn(&group, keep_the_thread, NULL);
    check_int(osr_worker(give_much_while_interrupted, NULL, .result = much, .room = LARGE, .got = &got), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(got, LARGE);
    for (i = 0; i < LARGE; i++)
        wrong += much[i] != (char)(i / 4096);
    check_int(wrong, 0);
    free(much);
    return 0;
}

OSR_TASK(fail_alike_twice, void, unused)
{
    return osr_wrap(osr_fail(-EIO, "the cause"), "the error");
}

OSR_TASK(lose_one_error_after_the_other, void, unused)
{
    int i;

    for (i = 1; i < 20; i++) {
        counting.fail_at = counting.made + i;
        if (osr_worker(fail_alike_twice, NULL) == -EIO)
            check(strcmp(osr_error_message(osr_error_last()), "the cause") != 0);
        counting.fail_at = 0;
        osr_error_clear();
    }
    return 0;
}

static void the_cause_of_a_workers_error_that_was_lost_does_not_stand_for_it(void **state)
{
    (void)state;
    assert_int_equal(osr_run(lose_one_error_after_the_other, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

static int *exit_handlers_ran;

static void at_the_end(void)
{
    ++*exit_handlers_ran;
}

OSR_TASK(do_nothing, void, unused)
{
    return 0;
}

REAL_TEST(a_worker_runs_none_of_the_programs_exit_handlers)
{
    exit_handlers_ran = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check_int(atexit(at_the_end), 0);
    check_int(osr_worker(do_nothing, NULL), 0);
    check_int(*exit_handlers_ran, 0);
    return 0;
}

OSR_TASK(fire_when_it_is_too_late, uint32_t, number)
{
    struct osr_post post;

    check_int(osr_post_open(&post, nothing_posted, NULL), 0);
    *number = (uint32_t)post.id_;
    return osr_post_fire(post);
}

static void what_a_post_stood_on_is_used_again_though_it_was_rung_as_its_run_ended(void **state)
{
    uint32_t number, first = 0, most = 0;
    int i;

    (void)state;
    for (i = 0; i < 1000; i++) {
        assert_int_equal(osr_run(fire_when_it_is_too_late, &number), 0);
        first = i ? first : number;
        most = number > most ? number : most;
    }
    assert_checked();
    assert_true(most < first + 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(the_timer_that_a_clean_up_keeps_is_given_to_nobody_else),
        story_test(a_select_whose_moment_has_come_lets_nobody_run_first),
        story_test(a_scope_of_a_form_that_there_is_not_is_refused),
        story_test(only_calls_refused_in_a_row_are_a_runaways),
        story_test(who_begins_where_another_has_ended_is_cancelled_in_the_order_of_spawning),
        story_test(a_cancellation_that_is_invented_under_a_shield_has_cut_nothing_outside),
        story_test(a_group_of_errors_names_who_cancelled_first),
        story_test(a_leaf_that_has_outlived_its_group_is_an_error_like_others),
        story_test(the_tree_says_nothing_of_deadlines_of_what_is_cancelled),
        story_test(a_descriptor_that_was_closed_by_a_bare_close_is_not_readable),
        story_test(what_a_post_stood_on_is_used_again_though_it_was_rung_and_not_heard),
        story_test(an_abstract_address_is_as_long_as_its_name),
        story_test(jobs_begin_in_order),
        story_test(a_job_that_was_withdrawn_keeps_no_run_from_being_stuck),
        story_test(a_signal_goes_to_who_has_waited_before_it_came),
        story_test(a_signal_of_a_child_that_borrows_the_memory_is_not_ours),
        story_test(a_worker_has_nothing_of_the_others),
        story_test(a_worker_that_was_cut_and_ignored_is_a_timeout),
        story_test(a_worker_that_is_interrupted_gives_all_the_same),
        story_test(the_cause_of_a_workers_error_that_was_lost_does_not_stand_for_it),
        story_test(a_worker_runs_none_of_the_programs_exit_handlers),
        story_test(what_a_post_stood_on_is_used_again_though_it_was_rung_as_its_run_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
