/* Faults that the fuzzer of fuzz/ has found, each as a test of what must happen instead. */
#include "harness.h"

static int run_story(const struct osr_routine *routine)
{
    const struct osr_run_options options = {.size = sizeof(options), .clock = OSR_CLOCK_SIMULATED, .debug = true};

    return osr_run_with(routine, NULL, &options);
}

/* ---- Places -------------------------------------------------------------------------------------------- */

OSR_TASK(fail_where_no_place_is_recorded, void, unused)
{
    struct osr_semaphore none;

    osr_semaphore_init(&none, 0);
    return osr_semaphore_try_acquire(&none); /* the call does not say where it stands */
}

OSR_TASK(spawn_what_fails_without_a_place, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_where_no_place_is_recorded, NULL);
    return osr_group_close(&group, 0);
}

static void an_error_without_a_place_has_that_of_the_spawn(void **state)
{
    (void)state;
    assert_int_equal(run_story(&spawn_what_fails_without_a_place.routine_), -OSR_EGROUP);
    assert_non_null(strstr(osr_error_where(osr_error_find(osr_error_last(), -EAGAIN)), "test_fuzzed.c:"));
}

OSR_TASK(look_at_an_error_without_a_place, void, unused)
{
    struct osr_semaphore none;

    osr_semaphore_init(&none, 0);
    check_int(osr_semaphore_try_acquire(&none), -EAGAIN);
    check_that(strstr(osr_error_where(osr_error_last()), "test_fuzzed.c:"), "it has a place", OSR_HERE);
    return 0;
}

OSR_TASK(spawn_who_looks_at_an_error_without_a_place, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, look_at_an_error_without_a_place, NULL);
    return osr_group_close(&group, 0);
}

static void an_error_without_a_place_that_is_looked_at_has_that_of_the_spawn(void **state)
{
    (void)state;
    assert_int_equal(run_story(&spawn_who_looks_at_an_error_without_a_place.routine_), 0);
    assert_checked();
}

/* ---- Daemons that come late ---------------------------------------------------------------------------- */

OSR_TASK(sleep_as_a_late_daemon, void, unused)
{
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    return -ECANCELED;
}

OSR_TASK(bring_a_daemon_and_stay_on, struct osr_group, group)
{
    struct osr_scope shield;

    check_int(osr_sleep(osr_s(1)), -ECANCELED); /* only daemons are left, and this is one */
    check_int(osr_spawn(group, sleep_as_a_late_daemon, NULL, .daemon = true), 0);
    osr_shield_open(&shield, osr_s(60));
    check_int(osr_sleep(osr_s(5)), 0);
    check_int(osr_now() == osr_s(5) && osr_group_running(group) == 1, 1); /* the other has long ended */
    osr_scope_close(&shield, 0);
    return -ECANCELED;
}

OSR_TASK(leave_daemons_alone, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, bring_a_daemon_and_stay_on, &group, .daemon = true);
    return osr_group_close(&group, 0);
}

static void a_daemon_that_comes_when_only_daemons_are_left_is_cancelled(void **state)
{
    (void)state;
    assert_int_equal(run_story(&leave_daemons_alone.routine_), 0);
    assert_checked();
}

OSR_TASK(start_late_as_a_daemon, void, unused)
{
    check_int(osr_sleep(osr_s(1)), 0);
    check_int(osr_started(), 0);
    check_int(osr_sleep(osr_s(3600)), -ECANCELED);
    return -ECANCELED;
}

OSR_TASK(start_a_daemon_elsewhere, struct osr_group, group)
{
    return osr_start(group, start_late_as_a_daemon, NULL, .daemon = true);
}

OSR_TASK(close_while_a_daemon_is_started, void, unused)
{
    struct osr_group outer, group;
    int rc;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&outer, start_a_daemon_elsewhere, &group);
    check_int(osr_yield(), 0);
    rc = osr_group_close(&group, 0);
    check_int(osr_now() == osr_s(1), 1);
    return osr_group_close(&outer, rc);
}

static void a_daemon_that_starts_when_only_daemons_are_left_is_cancelled(void **state)
{
    (void)state;
    assert_int_equal(run_story(&close_while_a_daemon_is_started.routine_), 0);
    assert_checked();
}

/* ---- What the child of a start has had cut --------------------------------------------------------------- */

OSR_TASK(ignore_the_cut_and_fail, void, unused)
{
    check_int(osr_sleep(osr_s(5)), -ECANCELED);
    return osr_fail(-EPROTO, "something else");
}

OSR_TASK(start_within_a_limit, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    int rc;

    osr_group_open(&group);
    osr_timeout_open(&limit, osr_s(1));
    rc = osr_scope_close(&limit, osr_start(&group, ignore_the_cut_and_fail, NULL));
    check_int(rc, -EPROTO);
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ETIMEDOUT);
    return osr_group_close(&group, 0);
}

static void a_limit_that_cut_the_child_of_a_start_is_named_behind_its_error(void **state)
{
    (void)state;
    assert_int_equal(run_story(&start_within_a_limit.routine_), 0);
    assert_checked();
}

/* ---- One error, several trees ---------------------------------------------------------------------------- */

OSR_TASK(fail_once, void, unused)
{
    return osr_fail(-EPROTO, "the only error there is");
}

OSR_TASK(pass_on_what_is_joined, struct osr_task, task)
{
    return osr_task_join(*task);
}

OSR_TASK(join_from_another_group, void, unused)
{
    struct osr_group outer, group;
    struct osr_task task;
    int rc;

    osr_group_open(&outer, .policy = OSR_COLLECT);
    osr_group_open(&group, .unwrap = true);
    osr_spawn(&group, fail_once, NULL, .handle = &task);
    osr_spawn(&outer, pass_on_what_is_joined, &task);
    rc = osr_group_close(&group, 0);
    check_int(rc, -EPROTO);
    rc = osr_group_close(&outer, rc);
    check_int(osr_error_count(osr_error_last()) == 1, 1);
    return rc;
}

static void an_error_that_comes_into_a_group_by_two_ways_counts_once(void **state)
{
    (void)state;
    assert_int_equal(run_story(&join_from_another_group.routine_), -OSR_EGROUP);
    assert_checked();
    assert_int_equal(osr_error_count(osr_error_last()), 1);
}

/* ---- The leak that was none ------------------------------------------------------------------------------ */

static char diagnoses[512];

static void hear(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)kind;
    snprintf(diagnoses, sizeof(diagnoses), "%s", text);
}

OSR_TASK(fail_as_a_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    return osr_group_close(&group, osr_fail(-EPROTO, "in a group"));
}

OSR_TASK(pass_on_in_a_group_what_is_joined, struct osr_task, task)
{
    struct osr_group group;

    osr_group_open(&group);
    return osr_group_close(&group, osr_task_join(*task));
}

OSR_TASK(join_a_group_of_errors, void, unused)
{
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, fail_as_a_group, NULL, .handle = &task);
    osr_spawn(&group, pass_on_in_a_group_what_is_joined, &task);
    return osr_group_close(&group, 0);
}

static void a_group_of_errors_in_two_trees_is_no_leak(void **state)
{
    (void)state;
    diagnoses[0] = '\0';
    assert_int_equal(osr_run(join_a_group_of_errors, NULL, .clock = OSR_CLOCK_SIMULATED, .debug = true,
                             .diagnose = hear),
                     -OSR_EGROUP);
    assert_string_equal(diagnoses, "");
}

/* ---- Handles that keep nothing --------------------------------------------------------------------------- */

static struct osr_task met;

OSR_TASK(show_oneself, void, unused)
{
    met = osr_self();
    return osr_yield();
}

OSR_TASK(join_whom_one_met, void, unused)
{
    return osr_task_join(met);
}

OSR_TASK(ask_about_whom_one_met, void, unused)
{
    check_int(osr_yield(), 0);
    check_int(osr_task_state(met), -ESTALE); /* although the joiner has still to read what it gave */
    return 0;
}

OSR_TASK(meet, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, show_oneself, NULL);
    osr_spawn(&group, join_whom_one_met, NULL);
    osr_spawn(&group, ask_about_whom_one_met, NULL);
    return osr_group_close(&group, 0);
}

static void a_handle_that_keeps_nothing_is_stale_at_once(void **state)
{
    (void)state;
    assert_int_equal(run_story(&meet.routine_), 0);
    assert_checked();
}

/* ---- What is cancelled while a lock is taken again ------------------------------------------------------- */

struct meeting {
    struct osr_lock lock;
    struct osr_condition condition;
};

OSR_TASK(hold_the_lock_for_long, struct meeting, meeting)
{
    check_int(osr_lock_acquire(&meeting->lock), 0);
    check_int(osr_sleep(osr_s(5)), 0);
    return osr_lock_release(&meeting->lock);
}

OSR_TASK(wait_within_two_limits, struct meeting, meeting)
{
    struct osr_scope outer;
    struct osr_group inner;

    osr_lock_init(&meeting->lock);
    osr_condition_init(&meeting->condition, &meeting->lock);
    check_int(osr_lock_acquire(&meeting->lock), 0);
    osr_timeout_open(&outer, osr_s(3));
    osr_group_open(&inner);
    osr_scope_set_deadline(&inner.scope, osr_s(1));
    check_int(osr_condition_wait(&meeting->condition), -ECANCELED); /* it comes back at 5 s */
    check_int(osr_group_close(&inner, 0), 0);
    check_int(osr_scope_close(&outer, 0), -ETIMEDOUT);
    check_int(osr_now() == osr_s(5), 1);
    return osr_lock_release(&meeting->lock);
}

OSR_TASK(meet_over_a_lock, void, unused)
{
    struct meeting meeting;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, wait_within_two_limits, &meeting);
    osr_spawn(&group, hold_the_lock_for_long, &meeting);
    return osr_group_close(&group, 0);
}

static void a_limit_that_passes_while_a_lock_is_taken_again_has_cut_the_wait(void **state)
{
    (void)state;
    assert_int_equal(run_story(&meet_over_a_lock.routine_), 0);
    assert_checked();
}

/* ---- Looks at the clock after a deadlock ----------------------------------------------------------------- */

struct late {
    int steps_before;
    struct osr_event never;
    struct osr_scope limit;
    bool cut;
};

OSR_TASK(wait_to_be_cut, struct late, late)
{
    osr_scope_open(&late->limit);
    check_int(osr_event_wait(&late->never), -ECANCELED);
    late->cut = true;
    check_int(osr_scope_close(&late->limit, 0), -ETIMEDOUT);
    return 0;
}

OSR_TASK(be_busy_after_a_deadlock, struct late, late)
{
    struct osr_scope shield;
    struct osr_group group;
    int i;

    osr_event_init(&late->never);
    for (i = 0; i < late->steps_before; i++)
        osr_yield();
    check_int(osr_event_wait(&late->never), -ECANCELED); /* nothing could run any more */
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    osr_spawn(&group, wait_to_be_cut, late);
    osr_yield();
    osr_scope_set_deadline(&late->limit, osr_now()); /* passed: for the next look to notice */
    for (i = 0; !late->cut && i < 1000; i++)
        osr_yield();
    check_int(i <= 257, 1);
    osr_scope_cancel(&late->limit, NULL);
    osr_group_close(&group, 0);
    return osr_scope_close(&shield, 0);
}

static void the_clock_is_looked_at_again_after_a_deadlock(void **state)
{
    (void)state;
    for (int steps = 240; steps < 270; steps++) {
        struct late late = {.steps_before = steps};

        assert_int_equal(osr_run(be_busy_after_a_deadlock, &late, .clock = OSR_CLOCK_SIMULATED), -OSR_EDEADLOCK);
        assert_checked();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_error_without_a_place_has_that_of_the_spawn, begin_test),
        cmocka_unit_test_setup(an_error_without_a_place_that_is_looked_at_has_that_of_the_spawn, begin_test),
        cmocka_unit_test_setup(a_daemon_that_comes_when_only_daemons_are_left_is_cancelled, begin_test),
        cmocka_unit_test_setup(a_daemon_that_starts_when_only_daemons_are_left_is_cancelled, begin_test),
        cmocka_unit_test_setup(a_limit_that_cut_the_child_of_a_start_is_named_behind_its_error, begin_test),
        cmocka_unit_test_setup(an_error_that_comes_into_a_group_by_two_ways_counts_once, begin_test),
        cmocka_unit_test_setup(a_group_of_errors_in_two_trees_is_no_leak, begin_test),
        cmocka_unit_test_setup(a_limit_that_passes_while_a_lock_is_taken_again_has_cut_the_wait, begin_test),
        cmocka_unit_test_setup(the_clock_is_looked_at_again_after_a_deadlock, begin_test),
        cmocka_unit_test_setup(a_handle_that_keeps_nothing_is_stale_at_once, begin_test),
    };

    return cmocka_run_group_tests_name("fuzzed", tests, NULL, NULL) != 0;
}
