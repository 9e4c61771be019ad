/*
 * Runners: several runs on one loop, each as good as new.
 */
#include "harness.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "3_scope/scope.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static struct osr_runner *runner;

#define make_runner(...) assert_int_equal(osr_runner_new(&runner, __VA_ARGS__), 0)
#define make_simulated(...) make_runner(.clock = OSR_CLOCK_SIMULATED, .debug = true, ##__VA_ARGS__)

static void free_runner(void)
{
    assert_int_equal(osr_runner_free(runner), 0);
    runner = NULL;
}

OSR_TASK(give, int, number) { return *number; }
OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_TASK(fail_with_words, char, words) { return osr_fail(-EIO, "%s", words); }
OSR_TASK(nap, int, ms) { return osr_sleep(osr_ms(*ms)); }

static int run_giving(int number)
{
    return osr_runner_run(runner, give, &number);
}

/* ---- Results ------------------------------------------------------------------------------------------- */

OSR_TASK(cancel_itself, void, unused)
{
    check_int(osr_task_cancel(osr_self(), "enough"), 0);
    return osr_sleep(1);
}

TEST(each_run_ends_as_osr_run_ends)
{
    static char words[] = "lost";

    make_simulated();
    assert_int_equal(run_giving(7), 7);
    assert_null(osr_error_last());
    assert_int_equal(osr_runner_run(runner, fail_with_words, words), -EIO);
    assert_string_equal(osr_error_message(osr_error_last()), "lost");
    assert_string_equal(osr_error_task(osr_error_last()), "fail_with_words");
    assert_int_equal(osr_runner_run(runner, cancel_itself, NULL), -OSR_ETASKCANCELED);
    assert_int_equal(osr_error_code(osr_error_last()), -OSR_ETASKCANCELED);
    assert_int_equal(run_giving(0), 0);
    assert_null(osr_error_last());
    free_runner();
    assert_checked();
}

OSR_TASK(say_who_runs, void, unused)
{
    tell("%s", osr_task_name(osr_self()));
    return -EDOM;
}

TEST(the_root_has_the_name_of_the_options_and_the_place_of_its_run)
{
    char name[] = "brief", here[64];

    make_simulated(.name = name);
    memset(name, '?', sizeof(name) - 1);
    snprintf(here, sizeof(here), "tests/test_runner.c:%d", __LINE__ + 1);
    assert_int_equal(osr_runner_run(runner, say_who_runs, NULL), -EDOM);
    assert_string_equal(osr_error_where(osr_error_last()), here);
    free_runner();
    make_simulated();
    assert_int_equal(osr_runner_run(runner, say_who_runs, NULL), -EDOM);
    free_runner();
    assert_story("brief\nsay_who_runs\n");
}

TEST(errors_taken_from_a_run_stay_valid)
{
    static char words[] = "kept";
    struct osr_error *first, *second;

    make_simulated();
    assert_int_equal(osr_runner_run(runner, fail_with_words, words), -EIO);
    first = osr_error_take();
    assert_int_equal(osr_runner_run(runner, fail_with_words, words), -EIO);
    second = osr_error_take();
    assert_int_equal(run_giving(1), 1);
    assert_string_equal(osr_error_message(first), "kept");
    osr_error_release(first);
    free_runner();
    assert_string_equal(osr_error_message(second), "kept");
    osr_error_release(second);
}

OSR_TASK(fail_fatally, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    (void)osr_fail_fatal(-EINTR, "the end");
    return osr_group_close(&group, 0);
}

TEST(a_run_that_could_not_go_on_leaves_the_runner_as_good_as_new)
{
    int i;

    make_simulated();
    for (i = 0; i < 3; i++) {
        assert_int_equal(osr_runner_run(runner, sleep_forever, NULL), -OSR_EDEADLOCK);
        assert_non_null(strstr(osr_error_message(osr_error_last()), "sleep_forever"));
        assert_int_equal(run_giving(i), i);
        assert_int_equal(osr_runner_run(runner, fail_fatally, NULL), -EINTR);
        assert_int_equal(run_giving(i), i);
    }
    free_runner();
}

/* ---- What a run sees of those before it ----------------------------------------------------------------- */

static struct osr_task old_root, old_child;

OSR_TASK(leave_handles, void, unused)
{
    struct osr_group group;
    static int number = 5;

    old_root = osr_self();
    osr_group_open(&group);
    osr_spawn(&group, give, &number, .handle = &old_child);
    check_int(osr_task_join(old_child), 5);
    return osr_group_close(&group, 0);
}

OSR_TASK(try_old_handles, void, unused)
{
    struct osr_task now = osr_self();

    check(now.id_ != old_root.id_);
    check_int(osr_task_join(old_child), -ESTALE);
    check_int(osr_task_cancel(old_root, "late"), -ESTALE);
    check_int(osr_task_state(old_root), -ESTALE);
    check(!osr_cancelled());
    return 0;
}

static int nothing_to_do(void *unused) { return unused != NULL; }

OSR_TASK(hold_jobs_back, void, unused) { return osr_jobs_allow(0); }
OSR_TASK(offload_one, void, unused)
{
    static const struct osr_routine job = {nothing_to_do, "job", OSR_HERE};

    return osr_offload_with(&job, NULL, NULL);
}

TEST(jobs_that_one_run_has_held_back_are_not_held_back_in_the_next)
{
    make_simulated();
    assert_int_equal(osr_runner_run(runner, hold_jobs_back, NULL), 0);
    assert_int_equal(osr_runner_run(runner, offload_one, NULL), 0);
    free_runner();
}

TEST(handles_of_an_earlier_run_are_stale)
{
    make_simulated();
    assert_int_equal(osr_runner_run(runner, leave_handles, NULL), 0);
    assert_int_equal(osr_runner_run(runner, try_old_handles, NULL), 0);
    assert_int_equal(osr_runner_run(runner, leave_handles, NULL), 0);
    free_runner();
    assert_checked();
}

static struct osr_call later, soon;

static void called(void *arg) { tell("called: %s", (const char *)arg); }

static int key;

OSR_TASK(leave_calls_and_values, void, unused)
{
    struct osr_binding binding;

    check_int(osr_bind(&binding, &key, &key), 0);
    check(osri_value_from(osri_current()->scope, &key) == &key);
    check_int(osr_call_later(&later, osr_ms(1), called, (void *)"later"), 0);
    check_int(osr_call_soon(&soon, called, (void *)"soon"), 0);
    return 0;
}

OSR_TASK(wait_for_leftovers, void, unused)
{
    check(!osr_call_pending(&later) && !osr_call_pending(&soon));
    check(osri_value_from(osri_current()->scope, &key) == NULL);
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(osr_call_later(&later, osr_ms(1), called, (void *)"anew"), 0);
    return osr_sleep(osr_ms(5));
}

TEST(calls_timers_and_values_of_an_earlier_run_are_gone)
{
    make_simulated();
    assert_int_equal(osr_runner_run(runner, leave_calls_and_values, NULL), 0);
    assert_int_equal(osr_runner_run(runner, wait_for_leftovers, NULL), 0);
    free_runner();
    assert_checked();
    assert_story("called: anew\n");
}

OSR_TASK(read_for_a_while, int, fd)
{
    struct osr_scope limit;
    char byte;

    osr_move_on_open(&limit, osr_ms(2));
    check_int(osr_read(*fd, &byte, 1), -ECANCELED);
    return osr_scope_close(&limit, -ECANCELED);
}

OSR_TASK(read_one, int, fd)
{
    char byte;

    return osr_read(*fd, &byte, 1);
}

static void reads_what_comes_by_the_same_number(void)
{
    int first[2], second[2];

    assert_return_code(pipe(first), errno);
    assert_int_equal(osr_runner_run(runner, read_for_a_while, &first[0]), 0);
    close(first[0]);
    assert_return_code(pipe(second), errno); /* which has the number of the one that was watched */
    assert_int_equal(second[0], first[0]);
    assert_int_equal(write(second[1], "x", 1), 1);
    assert_int_equal(osr_runner_run(runner, read_one, &second[0]), 1);
    close(first[1]), close(second[0]), close(second[1]);
}

TEST(descriptors_may_be_closed_and_used_again_between_runs)
{
    make_simulated();
    reads_what_comes_by_the_same_number();
    free_runner();
    make_runner(.debug = true);
    reads_what_comes_by_the_same_number();
    free_runner();
    assert_checked();
}

OSR_TASK(see_the_clock, int64_t, seen)
{
    *seen = osr_now();
    return osr_sleep(osr_ms(5));
}

TEST(the_clock_goes_on_from_run_to_run)
{
    int64_t seen[3];
    int i;

    make_simulated();
    for (i = 0; i < 3; i++)
        assert_int_equal(osr_runner_run(runner, see_the_clock, &seen[i]), 0);
    free_runner();
    for (i = 0; i < 3; i++)
        assert_int_equal(seen[i], osr_ms(5 * i));
}

static void note_number(void *arg, const struct osr_trace_event *event)
{
    (void)arg;
    tell("%d %llu %s", event->kind, (unsigned long long)event->task, event->name);
}

TEST(tasks_are_numbered_anew_in_each_run)
{
    make_simulated(.observe = note_number);
    run_giving(0);
    run_giving(0);
    free_runner();
    assert_story("1 1 give\n2 1 give\n6 1 give\n1 1 give\n2 1 give\n6 1 give\n");
}

/* ---- What is kept, and what is reported ----------------------------------------------------------------- */

static unsigned count_guards(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    unsigned *guards = arg;

    (void)n;
    *guards += kind == OSR_CHOICE_FAULT && strcmp(what, "madvise") == 0;
    return 0;
}

OSR_TASK(spawn_many, void, unused)
{
    static int ms = 1;
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < 50 && rc == 0; i++)
        rc = osr_spawn(&group, nap, &ms);
    return osr_group_close(&group, rc);
}

TEST(stacks_and_the_loop_are_kept)
{
    unsigned guards = 0, first;
    int descriptors;

    make_runner(.choose = count_guards, .choose_arg = &guards);
    descriptors = open_descriptors();
    assert_int_equal(osr_runner_run(runner, spawn_many, NULL), 0);
    first = guards;
    assert_true(first > 50);
    assert_int_equal(osr_runner_run(runner, spawn_many, NULL), 0);
    assert_int_equal(guards, first);
    assert_int_equal(open_descriptors(), descriptors);
    free_runner();
}

TEST(any_number_of_runs_leaves_nothing_behind)
{
    int descriptors = open_descriptors(), i;
    long live;

    make_runner(.allocator = &counting_allocator);
    assert_int_equal(osr_runner_run(runner, spawn_many, NULL), 0);
    live = counting.live;
    for (i = 0; i < 20; i++)
        assert_int_equal(osr_runner_run(runner, spawn_many, NULL), 0);
    assert_int_equal(counting.live, live);
    free_runner();
    assert_int_equal(counting.live, 0);
    assert_int_equal(open_descriptors(), descriptors);
}

static void note_leak(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    tell("%d %.17s", kind, text);
}

static int left_open;

OSR_TASK(leave_a_socket, void, unused)
{
    struct osr_address address;

    check_int(osr_address_ip(&address, "127.0.0.1", 0), 0);
    left_open = osr_listen(&address, 5);
    check(left_open >= 0);
    return 0;
}

TEST(leaks_are_reported_for_the_run_that_has_left_them)
{
    make_simulated(.diagnose = note_leak);
    run_giving(0);
    assert_story("");
    assert_int_equal(osr_runner_run(runner, leave_a_socket, NULL), 0);
    assert_story("4 osier: descriptor\n");
    run_giving(0);
    assert_story("");
    close(left_open);
    free_runner();
    assert_story("");
    assert_checked();
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

OSR_TASK(nest, void, unused)
{
    struct osr_runner *other;
    int number = 1;

    check_int(osr_runner_run(runner, give, &number), -EBUSY);
    check(osr_error_last() != NULL && strstr(osr_error_message(osr_error_last()), "inside a run"));
    check(strstr(osr_error_where(osr_error_last()), "test_runner.c:") != NULL);
    check_int(osr_runner_free(runner), -EBUSY);
    check_int(osr_run(give, &number), -EBUSY);
    check(strstr(osr_error_where(osr_error_last()), "test_runner.c:") != NULL);
    check_int(osr_runner_new(&other, .debug = true), 0);
    check_int(osr_runner_run(other, give, &number), -EBUSY);
    check_int(osr_runner_free(other), 0);
    return osr_sleep(1);
}

TEST(runs_do_not_nest)
{
    make_simulated();
    assert_int_equal(osr_runner_run(runner, nest, NULL), 0);
    assert_int_equal(run_giving(3), 3);
    free_runner();
    assert_checked();
}

/* On the thread of the run, which the simulated clock has lent it. */
OSR_JOB(use_the_runner_that_waits, void, unused)
{
    int number = 2;

    check_int(osr_runner_run(runner, give, &number), -EBUSY);
    check_int(osr_runner_free(runner), -EBUSY);
    check_int(osr_run(give, &number), 2);
    return 0;
}

OSR_TASK(use_it_further_in, void, unused)
{
    check_int(osr_runner_free(runner), -EBUSY);
    return osr_offload(use_the_runner_that_waits, NULL);
}

OSR_JOB(run_within, void, unused) { return osr_run(use_it_further_in, NULL, .clock = OSR_CLOCK_SIMULATED); }

OSR_TASK(lend_the_thread, void, unused)
{
    int rc = osr_offload(use_the_runner_that_waits, NULL);

    return rc < 0 ? rc : osr_offload(run_within, NULL);
}

TEST(a_run_that_has_lent_its_thread_to_a_job_goes_on)
{
    make_simulated();
    assert_int_equal(osr_runner_run(runner, lend_the_thread, NULL), 0);
    free_runner();
    assert_checked();
}

TEST(two_runners_of_one_thread_take_turns)
{
    struct osr_runner *first, *second;
    int i;

    assert_int_equal(osr_runner_new(&first, .debug = true), 0);
    assert_int_equal(osr_runner_new(&second, .clock = OSR_CLOCK_SIMULATED), 0);
    for (i = 1; i < 4; i++) {
        assert_int_equal(osr_runner_run(first, nap, &i), 0);
        assert_int_equal(osr_runner_run(second, nap, &i), 0);
        assert_int_equal(osr_run(give, &i), i);
    }
    assert_int_equal(osr_runner_free(first), 0);
    assert_int_equal(osr_runner_run(second, nap, &i), 0);
    assert_int_equal(osr_runner_free(second), 0);
}

static void *use_from_elsewhere(void *arg)
{
    int number = 1;

    check_int(osr_runner_run(arg, give, &number), -EPERM);
    check_int(osr_runner_free(arg), -EPERM);
    check_int(osr_run(give, &number), 1);
    return NULL;
}

TEST(a_runner_belongs_to_its_thread)
{
    pthread_t thread;

    make_simulated();
    pthread_create(&thread, NULL, use_from_elsewhere, runner);
    pthread_join(thread, NULL);
    assert_int_equal(run_giving(2), 2);
    free_runner();
    assert_checked();
}

static void use_in_child(void)
{
    use_from_elsewhere(runner);
}

TEST(a_runner_is_of_no_use_in_a_forked_child)
{
    make_runner(.debug = true);
    assert_child_succeeds(use_in_child);
    assert_int_equal(run_giving(2), 2);
    free_runner();
}

TEST(what_makes_no_sense_is_refused)
{
    const struct osr_run_options older = {.size = 8};
    const struct osr_routine nothing = {0};
    int number = 1;

    assert_int_equal(osr_runner_new_with(NULL, NULL), -EINVAL);
    runner = (struct osr_runner *)&number;
    assert_int_equal(osr_runner_new_with(&runner, &older), -EINVAL);
    assert_null(runner);
    assert_int_equal(osr_runner_new(&runner, .clock = (enum osr_clock)5), -EINVAL);
    assert_int_equal(osr_runner_run(runner, give, &number), -EINVAL);
    assert_int_equal(osr_runner_free(NULL), 0);
    assert_int_equal(osr_runner_new_with(&runner, NULL), 0);
    assert_int_equal(osr_runner_run_here(runner, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(osr_runner_run_here(runner, &nothing, NULL, NULL), -EINVAL);
    assert_int_equal(run_giving(4), 4);
    free_runner();
}

/* ---- Faults -------------------------------------------------------------------------------------------- */

struct fault {
    unsigned asked, at, errors;
};

static unsigned fail_once(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct fault *fault = arg;

    (void)n, (void)what;
    return kind == OSR_CHOICE_FAULT && ++fault->asked == fault->at;
}

/* One runner, two runs: gives whether anything has failed. */
static bool fails_somewhere(const struct osr_run_options *options)
{
    int made = osr_runner_new_with(&runner, options), first = 0, second = 0;

    if (made == 0) {
        first = osr_runner_run(runner, spawn_many, NULL);
        counting.fail_at = 0;
        second = run_giving(9);
        free_runner();
    } else {
        assert_null(runner);
    }
    assert_true(made == 0 || made == -ENOMEM || made == -EMFILE);
    assert_true(first == 0 || first == -ENOMEM || first == -OSR_EGROUP || first == -EIO || first == -EAGAIN);
    assert_true(made < 0 || second == 9 || first == 0);
    osr_error_clear();
    return made < 0 || first < 0 || second != 9;
}

TEST(each_step_of_opening_may_fail)
{
    int descriptors = open_descriptors(), failed = 0;
    struct fault fault = {0};
    struct osr_run_options options = {.size = sizeof(options), .allocator = &counting_allocator};

    do {
        fault.at++;
        counting = (struct counting){.fail_at = fault.at};
        failed += fails_somewhere(&options);
        assert_int_equal(counting.live, 0);
        assert_int_equal(open_descriptors(), descriptors);
    } while (counting.made >= fault.at);
    assert_true(failed > 5);
    options.choose = fail_once;
    options.choose_arg = &fault;
    fault.at = 0;
    do {
        fault.at++;
        fault.asked = 0;
        counting = (struct counting){0};
        failed += fails_somewhere(&options);
        assert_int_equal(counting.live, 0);
        assert_int_equal(open_descriptors(), descriptors);
    } while (fault.asked >= fault.at);
    assert_true(failed > 12);
}

static unsigned always_the_first(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)kind, (void)n, (void)what;
    return 0;
}

OSR_TASK(tell_the_time, int64_t, now)
{
    *now = osr_now();
    return 0;
}

TEST(the_simulated_clock_alone_begins_anew_for_a_test_kit)
{
    int64_t first = -1, second = -1;

    make_runner(.choose = always_the_first, .inject = true);
    assert_int_equal(osr_runner_run(runner, tell_the_time, &first), 0);
    assert_int_equal(osr_runner_run(runner, tell_the_time, &second), 0);
    assert_true(first > 0 && second >= first);
    assert_int_equal(osr_runner_free(runner), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(each_run_ends_as_osr_run_ends),
        story_test(the_root_has_the_name_of_the_options_and_the_place_of_its_run),
        story_test(errors_taken_from_a_run_stay_valid),
        story_test(a_run_that_could_not_go_on_leaves_the_runner_as_good_as_new),
        story_test(jobs_that_one_run_has_held_back_are_not_held_back_in_the_next),
        story_test(handles_of_an_earlier_run_are_stale),
        story_test(calls_timers_and_values_of_an_earlier_run_are_gone),
        story_test(descriptors_may_be_closed_and_used_again_between_runs),
        story_test(the_clock_goes_on_from_run_to_run),
        story_test(the_simulated_clock_alone_begins_anew_for_a_test_kit),
        story_test(tasks_are_numbered_anew_in_each_run),
        story_test(stacks_and_the_loop_are_kept),
        story_test(any_number_of_runs_leaves_nothing_behind),
        story_test(leaks_are_reported_for_the_run_that_has_left_them),
        story_test(runs_do_not_nest),
        story_test(a_run_that_has_lent_its_thread_to_a_job_goes_on),
        story_test(two_runners_of_one_thread_take_turns),
        story_test(a_runner_belongs_to_its_thread),
        story_test(a_runner_is_of_no_use_in_a_forked_child),
        story_test(what_makes_no_sense_is_refused),
        story_test(each_step_of_opening_may_fail),
    };

    return cmocka_run_group_tests_name("runners", tests, NULL, NULL);
}
