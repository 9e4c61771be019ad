/* Clean-ups bound to scopes, groups and tasks: when they run, in which order, and what becomes of their errors. */
#include "harness.h"

#include <signal.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- The clean-ups of these stories -------------------------------------------------------------------- */

struct cleaning {
    const char *name;
    int64_t sleep;
    int rc;
};

/* Sleeps, tells, and gives `rc`; cut, it says so and passes that on. */
static int clean(void *arg)
{
    const struct cleaning *c = arg;

    if (c->sleep > 0 && osr_sleep(c->sleep) < 0) {
        tell("%s is cut", c->name);
        return -ECANCELED;
    }
    tell("%s", c->name);
    return c->rc < 0 && c->rc != -ECANCELED ? osr_fail(c->rc, "%s failed", c->name) : c->rc;
}

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }

OSR_TASK(sleep_an_hour, void, unused) { return osr_sleep(osr_s(3600)); }

OSR_TASK(fail_soon, void, unused)
{
    check_int(osr_sleep(osr_ms(1)), 0);
    return osr_fail(-EPROTO, "the child failed");
}

static void tell_leaves(const struct osr_error *error)
{
    struct osr_leaves walk;
    const struct osr_error *leaf;

    osr_leaves_init(&walk, error);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        tell("%s: %s", osr_strcode(osr_error_code(leaf)), osr_error_message(leaf));
}

/* ---- When they run ------------------------------------------------------------------------------------- */

SIMULATED_TEST(clean_ups_run_when_the_scope_closes_the_last_deferred_first)
{
    struct cleaning a = {"a", 0, 0}, b = {"b", 0, 7}, c = {"c", osr_ms(1), 0};
    struct osr_cleanup cleanups[3];
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_defer(&cleanups[0], clean, &a, osr_s(1)), 0);
    check_int(osr_defer(&cleanups[1], clean, &b, osr_s(1)), 0);
    check_int(osr_defer_unlimited(&cleanups[2], clean, &c), 0);
    tell("the body");
    check_int(osr_scope_close(&scope, 5), 5);
    check_int(osr_now(), osr_ms(1));
    tell("closed");
    return 0;
}

TEST(nothing_runs_before_and_nothing_after_the_close)
{
    clean_ups_run_when_the_scope_closes_the_last_deferred_first(state);
    assert_story("the body\nc\nb\na\nclosed\n");
}

OSR_TASK(tell_end, void, unused)
{
    check_int(osr_sleep(osr_ms(1)), 0);
    tell("the child ends");
    return 0;
}

SIMULATED_TEST(clean_ups_of_a_group_run_when_its_children_have_been_joined)
{
    struct cleaning a = {"a", 0, 0};
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_defer(&cleanup, clean, &a, osr_s(1)), 0);
    osr_spawn(&group, tell_end, NULL);
    check_int(osr_group_close(&group, 3), 3);
    return 0;
}

TEST(children_end_before_what_they_use_is_cleaned_up)
{
    clean_ups_of_a_group_run_when_its_children_have_been_joined(state);
    assert_story("the child ends\na\n");
}

OSR_TASK(defer_in_a_task, struct cleaning, c)
{
    static struct osr_cleanup cleanup;

    check_int(osr_defer(&cleanup, clean, c, osr_s(1)), 0);
    tell("the task returns");
    return 4;
}

SIMULATED_TEST(clean_ups_of_a_task_run_when_it_returns_and_are_waited_for)
{
    struct cleaning a = {"a", osr_ms(2), 0};
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group);
    osr_spawn(&group, defer_in_a_task, &a, .handle = &task);
    check_int(osr_task_join(task), 4);
    check_int(osr_now(), osr_ms(2));
    tell("joined");
    return osr_group_close(&group, 0);
}

TEST(a_task_ends_after_its_clean_ups)
{
    clean_ups_of_a_task_run_when_it_returns_and_are_waited_for(state);
    assert_story("the task returns\na\njoined\n");
}

OSR_TASK(defer_in_the_root, struct cleaning, c)
{
    static struct osr_cleanup cleanup;

    check_int(osr_defer(&cleanup, clean, c, osr_s(1)), 0);
    return 6;
}

TEST(clean_ups_of_the_root_run_and_fail_the_run)
{
    struct cleaning a = {"a", osr_ms(2), 0}, b = {"b", 0, -EIO};

    assert_int_equal(run_simulated(defer_in_the_root, &a), 6);
    assert_int_equal(run_simulated(defer_in_the_root, &b), -OSR_EGROUP);
    assert_int_equal(osr_error_count(osr_error_last()), 1);
    osr_error_clear();
    assert_story("a\nb\n");
}

static int leave_guarded_block(struct cleaning *c, struct osr_cleanup *cleanup)
{
    OSR_GUARD_TIMEOUT(guard, osr_s(1));
    check_int(osr_defer(cleanup, clean, c, osr_s(1)), 0);
    tell("the block is left");
    return 0;
}

static int leave_guarded_group(struct cleaning *c, struct osr_cleanup *cleanup)
{
    OSR_GUARD_GROUP(guard);
    check_int(osr_defer(cleanup, clean, c, osr_s(1)), 0);
    check_int(osr_spawn(&guard, sleep_forever, NULL), 0);
    tell("the block is left");
    return 0;
}

SIMULATED_TEST(clean_ups_run_when_a_guarded_block_is_left_and_their_errors_stay_pending)
{
    struct cleaning a = {"a", 0, 0}, b = {"b", 0, -EIO};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(leave_guarded_block(&a, &cleanup), 0);
    check_int(leave_guarded_group(&a, &cleanup), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    osr_scope_open(&scope);
    check_int(leave_guarded_block(&b, &cleanup), 0);
    check_int(leave_guarded_group(&b, &cleanup), 0);
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 2);
    return 0;
}

/* ---- Shield and grace ---------------------------------------------------------------------------------- */

SIMULATED_TEST(clean_ups_of_a_cancelled_scope_are_shielded)
{
    struct cleaning a = {"a", osr_ms(5), 0};
    struct osr_cleanup cleanup;
    struct osr_scope outer, scope;

    osr_move_on_open(&outer, osr_ms(1));
    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ECANCELED);
    check_int(osr_now(), osr_ms(6));
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), 0);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(an_expired_grace_is_a_timeout_among_the_errors)
{
    struct cleaning a = {"a", osr_ms(5), 0};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_ms(2));
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check_int(osr_now(), osr_ms(2));
    tell_leaves(osr_error_last());
    check_text(osr_error_message(osr_error_last()), "clean-up failed");
    return 0;
}

SIMULATED_TEST(an_expired_grace_fails_a_group_too)
{
    struct cleaning a = {"a", osr_ms(5), 0};
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group);
    osr_defer(&cleanup, clean, &a, osr_ms(2));
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    check_text(osr_error_message(osr_error_last()), "1 error");
    return 0;
}

static int note_the_deadline(void *arg)
{
    *(int64_t *)arg = osr_deadline();
    return 0;
}

/* Whatever limits the scope has, and those around it, and whether it is cancelled. */
SIMULATED_TEST(a_clean_up_has_its_own_grace_and_no_other_limit)
{
    static const int64_t graces[] = {1, 1000000000, OSR_NEVER};
    static const int64_t limits[] = {0, 2, 5000000000, OSR_NEVER};
    struct osr_scope outer, scope;
    struct osr_cleanup cleanup;
    int64_t deadline;
    unsigned i, j, k;

    for (i = 0; i < 3; i++)
        for (j = 0; j < 4; j++)
            for (k = 0; k < 2; k++) {
                osr_move_on_open(&outer, k ? OSR_NEVER : osr_s(3));
                osr_move_on_open(&scope, limits[j]);
                deadline = 0;
                check_int(osr_defer(&cleanup, note_the_deadline, &deadline, graces[i]), 0);
                (void)osr_check();
                check_int(osr_scope_close(&scope, 0), 0);
                check_int(deadline, osr_time_add(osr_now(), graces[i]));
                check_int(osr_scope_close(&outer, 0), 0);
            }
    return 0;
}

TEST(an_expired_grace_cuts_what_the_clean_up_calls)
{
    an_expired_grace_is_a_timeout_among_the_errors(state);
    assert_story("a is cut\nETIMEDOUT: the time limit passed\n");
}

TEST(an_expired_grace_is_a_leaf_of_the_group)
{
    an_expired_grace_fails_a_group_too(state);
    assert_story("a is cut\nETIMEDOUT: the time limit passed\n");
}

static int ignore_the_cut(void *arg)
{
    (void)arg;
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    return 0;
}

static int fail_when_cut(void *arg)
{
    (void)arg;
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    return osr_fail(-EIO, "cut");
}

static int work_without_waiting(void *arg)
{
    (void)arg;
    return 0;
}

SIMULATED_TEST(a_clean_up_that_ignores_its_expired_grace_has_failed_and_one_that_waits_for_nothing_has_not)
{
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanup, ignore_the_cut, NULL, osr_ms(1));
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), ETIMEDOUT) != NULL);
    osr_scope_open(&scope);
    osr_defer(&cleanup, fail_when_cut, NULL, 0);
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check_int(osr_error_code(osr_error_cause(osr_error_find(osr_error_last(), EIO))), -ETIMEDOUT);
    osr_scope_open(&scope);
    osr_defer(&cleanup, work_without_waiting, NULL, -5);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

/* ---- Errors -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(the_error_of_the_body_comes_first_and_then_those_of_the_clean_ups_in_their_order)
{
    struct cleaning a = {"a", 0, -EIO}, b = {"b", 0, 0}, c = {"c", 0, -EBADF};
    struct osr_cleanup cleanups[3];
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    osr_defer(&cleanups[0], clean, &a, osr_s(1));
    osr_defer(&cleanups[1], clean, &b, osr_s(1));
    osr_defer(&cleanups[2], clean, &c, osr_s(1));
    rc = osr_fail(-EPROTO, "the body failed");
    check_int(osr_scope_close(&scope, rc), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_last()), "clean-up failed too");
    tell_leaves(osr_error_last());
    return 0;
}

TEST(errors_of_body_and_clean_ups_stand_in_the_order_in_which_they_happened)
{
    the_error_of_the_body_comes_first_and_then_those_of_the_clean_ups_in_their_order(state);
    assert_story("c\nb\na\nEPROTO: the body failed\nEBADF: c failed\nEIO: a failed\n");
}

SIMULATED_TEST(a_group_adds_the_errors_of_its_clean_ups_to_its_own)
{
    struct cleaning a = {"a", 0, -EIO}, b = {"b", 0, -EBADF};
    struct osr_cleanup cleanups[2];
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_defer(&cleanups[0], clean, &a, osr_s(1));
    osr_defer(&cleanups[1], clean, &b, osr_s(1));
    osr_spawn(&group, fail_soon, NULL);
    check_int(osr_group_close(&group, osr_fail(-EINVAL, "the body failed")), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_last()), "4 errors");
    check_int(osr_error_count(osr_error_last()), 4);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(a_groups_errors_stand_before_those_of_its_clean_ups)
{
    a_group_adds_the_errors_of_its_clean_ups_to_its_own(state);
    assert_story("b\na\nEINVAL: the body failed\nEPROTO: the child failed\nEBADF: b failed\nEIO: a failed\n");
}

SIMULATED_TEST(a_lone_error_of_a_groups_clean_up_comes_out_as_itself_where_asked_for)
{
    struct cleaning a = {"a", 0, -EIO};
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group, .unwrap = true);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_group_close(&group, 0), -EIO);
    return 0;
}

SIMULATED_TEST(a_failing_clean_up_fails_a_group_that_has_its_winner)
{
    struct cleaning a = {"a", 0, -EIO};
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    osr_spawn(&group, tell_end, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_group_winner(&group), 0);
    return 0;
}

SIMULATED_TEST(clean_ups_that_succeed_leave_the_error_of_the_body_as_it_is)
{
    struct cleaning a = {"a", osr_ms(1), 0};
    struct osr_cleanup cleanup;
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    rc = osr_fail(-EPROTO, "the body failed");
    check_int(osr_scope_close(&scope, rc), -EPROTO);
    check_text(osr_error_message(osr_error_last()), "the body failed");
    return 0;
}

SIMULATED_TEST(a_clean_up_that_invents_a_cancellation_has_failed)
{
    struct cleaning a = {"a", 0, -ECANCELED};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), OSR_ESPURIOUS) != NULL);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "also in a cancelled scope");
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), OSR_ESPURIOUS) != NULL);
    return 0;
}

SIMULATED_TEST(a_cancellation_that_the_body_invents_is_an_error_beside_that_of_a_clean_up)
{
    struct cleaning a = {"a", 0, -EIO};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 2);
    check(osr_error_find(osr_error_last(), OSR_ESPURIOUS) != NULL);
    return 0;
}

/* The usual form: what follows a cut is done under a shield, which is closed with the code of the cut. */
SIMULATED_TEST(a_cancellation_that_is_passed_through_a_shield_goes_on_beside_the_error_of_a_clean_up)
{
    struct cleaning a = {"a", 0, -EIO};
    struct osr_scope limit, shield, inner;
    int rc;

    osr_timeout_open(&limit, osr_ms(1));
    rc = osr_sleep(osr_s(1));
    osr_shield_open(&shield, osr_s(1));
    osr_scope_open(&inner);
    osr_defer(NULL, clean, &a, osr_s(1));
    rc = osr_scope_close(&inner, rc);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    rc = osr_scope_close(&limit, osr_scope_close(&shield, rc));
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ETIMEDOUT);
    check(osr_scope_caught(&limit));
    return 0;
}

OSR_TASK(fail_at_once, void, unused) { return -EPROTO; }

static void leave_an_error_pending(void)
{
    OSR_GUARD_GROUP(guarded);

    osr_spawn(&guarded, fail_at_once, NULL);
}

SIMULATED_TEST(a_cancellation_that_is_passed_through_a_shield_goes_on_beside_what_a_guard_has_left)
{
    struct osr_scope limit, shield;
    int rc;

    osr_move_on_open(&limit, osr_ms(1));
    rc = osr_sleep(osr_s(1));
    osr_shield_open(&shield, osr_s(1));
    leave_an_error_pending();
    rc = osr_scope_close(&shield, rc);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_scope_close(&limit, rc), -OSR_EGROUP);
    check(osr_scope_caught(&limit));
    return 0;
}

/* ---- What stands there already ---- */

static struct osr_error *raised;

static int raise_it(void *arg)
{
    (void)arg;
    return osr_raise(osr_error_retain(raised));
}

SIMULATED_TEST(an_error_that_clean_ups_raise_again_is_not_counted_twice)
{
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    rc = osr_fail(-EIO, "the body failed");
    raised = osr_error_retain(osr_error_last());
    osr_defer(NULL, raise_it, NULL, osr_s(1));
    osr_defer(NULL, raise_it, NULL, osr_s(1));
    check_int(osr_scope_close(&scope, rc), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    osr_error_release(raised);
    return 0;
}

static int join_under_a_guard(void)
{
    OSR_GUARD_GROUP(guarded);
    struct osr_task task;

    osr_spawn(&guarded, fail_at_once, NULL, .handle = &task);
    return osr_task_join(task);
}

SIMULATED_TEST(an_error_that_was_joined_is_not_counted_twice_where_a_guard_leaves_it_too)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_scope_close(&scope, join_under_a_guard()), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    osr_scope_open(&scope);
    leave_an_error_pending();
    check_int(osr_scope_close(&scope, join_under_a_guard()), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 2);
    return 0;
}

static int be_cut_by_a_guard(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_ms(1));

    return osr_sleep(osr_s(1));
}

/* The function gives the code of the call that was cut; what came of that, the guard has left. */
SIMULATED_TEST(a_cancellation_that_a_guard_has_taken_up_is_neither_invented_nor_goes_on)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_scope_close(&scope, be_cut_by_a_guard()), -ETIMEDOUT);
    check_int(osr_error_count(osr_error_last()), 1);
    check(!osr_scope_caught(&scope));
    return 0;
}

static struct osr_task joined;

static int join_it(void *arg)
{
    (void)arg;
    return osr_task_join(joined);
}

SIMULATED_TEST(a_clean_up_that_passes_on_what_its_group_has_recorded_is_not_counted_again)
{
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group);
    osr_defer(&cleanup, join_it, NULL, osr_s(1));
    osr_spawn(&group, fail_soon, NULL, .handle = &joined);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

static int fail_fatally(void *arg)
{
    (void)arg;
    check_int(osr_fail_fatal(-EINTR, "stop"), -EINTR);
    check_int(osr_sleep(osr_ms(1)), 0); /* shielded all the same */
    return osr_fail_fatal(-EINTR, "stop");
}

OSR_TASK(clean_up_fatally, void, unused)
{
    struct osr_cleanup cleanup;
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    osr_defer(&cleanup, fail_fatally, NULL, osr_s(1));
    rc = osr_scope_close(&scope, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_check(), -ECANCELED);
    return rc;
}

TEST(a_fatal_error_in_a_clean_up_ends_the_run)
{
    assert_int_equal(run_simulated(clean_up_fatally, NULL), -EINTR);
    osr_error_clear();
    assert_checked();
}

OSR_TASK(fail_with_clean_up, struct cleaning, c)
{
    static struct osr_cleanup cleanup;

    check_int(osr_defer(&cleanup, clean, c, osr_s(1)), 0);
    return osr_fail(-EPROTO, "the task failed");
}

SIMULATED_TEST(a_failing_task_and_its_failing_clean_up_are_a_group)
{
    struct cleaning a = {"a", 0, -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_with_clean_up, &a);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(a_tasks_error_stands_before_that_of_its_clean_up)
{
    a_failing_task_and_its_failing_clean_up_are_a_group(state);
    assert_story("a\nEPROTO: the task failed\nEIO: a failed\n");
}

static void leave_a_failing_guard(struct cleaning *c, struct osr_cleanup *cleanup)
{
    OSR_GUARD_TIMEOUT(guard, OSR_NEVER);
    osr_defer(cleanup, clean, c, osr_s(1));
}

OSR_TASK(return_with_a_pending_error, struct cleaning, all)
{
    struct osr_cleanup inner;
    static struct osr_cleanup outer;

    check_int(osr_defer(&outer, clean, &all[0], osr_s(1)), 0);
    leave_a_failing_guard(&all[1], &inner);
    return osr_fail(-EPROTO, "the task failed");
}

SIMULATED_TEST(what_a_guard_left_pending_stands_before_the_errors_of_the_tasks_clean_ups)
{
    struct cleaning all[2] = {{"late", 0, -EIO}, {"early", 0, -EBADF}};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, return_with_a_pending_error, all);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(pending_errors_keep_their_place_before_clean_up)
{
    what_a_guard_left_pending_stands_before_the_errors_of_the_tasks_clean_ups(state);
    assert_story("early\nlate\nEBADF: early failed\nEPROTO: the task failed\nEIO: late failed\n");
}

/* ---- Who absorbs --------------------------------------------------------------------------------------- */

TOLD_TEST(in_a_scope_too_what_a_guard_left_pending_comes_first_then_the_bodys_error_then_clean_ups,
          "early\nlate\nEBADF: early failed\nEPROTO: the body failed\nEIO: late failed\n")
{
    struct cleaning all[2] = {{"late", 0, -EIO}, {"early", 0, -EBADF}};
    struct osr_cleanup inner, outer;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&outer, clean, &all[0], osr_s(1));
    leave_a_failing_guard(&all[1], &inner);
    check_int(osr_scope_close(&scope, osr_fail(-EPROTO, "the body failed")), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    return 0;
}

SIMULATED_TEST(a_deadline_that_passes_during_clean_up_has_cut_nothing)
{
    struct cleaning a = {"a", osr_ms(9), 0};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(5));
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_scope_close(&scope, 3), 3);
    check(osr_scope_cancelled(&scope));
    check(!osr_scope_caught(&scope));
    return 0;
}

SIMULATED_TEST(a_timeout_that_cut_its_body_is_one_after_clean_up_too)
{
    struct cleaning a = {"a", osr_ms(9), 0};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(5));
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    check(osr_scope_caught(&scope));
    osr_timeout_open(&scope, osr_ms(5));
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&scope, 0), -ETIMEDOUT); /* ignored */
    return 0;
}

SIMULATED_TEST(a_failing_clean_up_beats_the_timeout_which_becomes_a_cause_and_is_caught)
{
    struct cleaning a = {"a", osr_ms(9), -EIO};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(5));
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_EGROUP);
    check(osr_scope_caught(&scope));
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(a_cancellation_of_the_body_rides_beside_a_failing_clean_up_to_the_scope_that_absorbs)
{
    struct cleaning a = {"a", osr_ms(9), -EIO};
    struct osr_scope outer, scope;
    struct osr_cleanup cleanup;
    int rc;

    osr_move_on_open(&outer, osr_ms(5));
    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    rc = osr_scope_close(&scope, -ECANCELED);
    check_int(rc, -OSR_EGROUP);
    check(!osr_scope_caught(&scope));
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

OSR_TASK(fail_when_it_is_cut, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    return -EBADF;
}

SIMULATED_TEST(a_cancellation_that_rides_beside_the_bodys_error_rides_on_over_a_failing_clean_up)
{
    struct cleaning a = {"a", 0, -EIO};
    struct osr_scope outer, scope;
    struct osr_cleanup cleanup;
    struct osr_group group;
    int rc;

    osr_move_on_open(&outer, osr_ms(5));
    osr_scope_open(&scope);
    osr_defer(&cleanup, clean, &a, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, fail_when_it_is_cut, NULL);
    osr_spawn(&group, sleep_forever, NULL);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    rc = osr_scope_close(&scope, rc);
    check_int(osr_error_count(osr_error_last()), 2);
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(a_cancellation_outside_that_comes_during_clean_up_takes_the_bodys_up)
{
    struct cleaning a = {"a", osr_ms(9), 0};
    struct osr_scope outer, scope;
    struct osr_cleanup cleanup;

    osr_timeout_open(&outer, osr_ms(7));
    osr_timeout_open(&scope, osr_ms(5));
    osr_defer(&cleanup, clean, &a, osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ECANCELED); /* decided after the clean-up */
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(a_group_whose_deadline_passes_during_clean_up_gives_what_it_came_to)
{
    struct cleaning a = {"a", osr_ms(9), 0};
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group);
    osr_scope_set_deadline(&group.scope, osr_ms(5));
    osr_defer(&cleanup, clean, &a, osr_s(1));
    osr_spawn(&group, tell_end, NULL);
    check_int(osr_group_close(&group, 3), 3);
    check(!osr_scope_caught(&group.scope));
    return 0;
}

OSR_TASK(clean_up_when_cancelled, struct cleaning, c)
{
    static struct osr_cleanup cleanup;

    osr_defer(&cleanup, clean, c, osr_s(1));
    return osr_sleep(OSR_NEVER);
}

SIMULATED_TEST(a_cancelled_task_cleans_up_and_counts_as_cancelled_or_failed_after_that)
{
    struct cleaning a = {"a", osr_ms(9), 0}, b = {"b", osr_ms(9), -EIO};
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, clean_up_when_cancelled, &a, .handle = &task);
    osr_yield();
    osr_task_cancel(task, "you");
    check_int(osr_task_join(task), -OSR_ETASKCANCELED);
    check_int(osr_now(), osr_ms(9));
    osr_spawn(&group, clean_up_when_cancelled, &b, .handle = &task);
    osr_yield();
    osr_task_cancel(task, "you");
    check_int(osr_task_join(task), -OSR_EGROUP);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

/* ---- What a clean-up may do ---------------------------------------------------------------------------- */

static int defer_more(void *arg)
{
    static struct cleaning more = {"more", 0, 0};
    static struct osr_cleanup cleanup;

    check_int(osr_defer(&cleanup, clean, &more, osr_s(1)), 0);
    tell("%s", (const char *)arg);
    return 0;
}

static int use_a_group(void *arg)
{
    struct osr_group group;

    (void)arg;
    check_int(osr_group_open(&group), 0);
    check_int(osr_spawn(&group, fail_soon, NULL), 0);
    return osr_group_close(&group, 0);
}

static int spawn_into_it(void *group)
{
    check_int(osr_spawn(group, sleep_forever, NULL), -OSR_ECLOSED);
    check_int(osr_start(group, sleep_forever, NULL), -OSR_ECLOSED);
    check_int(osr_group_cancel(group, "too late"), -OSR_ECLOSED);
    return 0;
}

SIMULATED_TEST(a_clean_up_may_defer_and_what_it_defers_runs_when_it_returns)
{
    struct cleaning a = {"a", 0, 0};
    struct osr_cleanup cleanups[2];
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanups[0], clean, &a, osr_s(1));
    osr_defer(&cleanups[1], defer_more, (void *)"it defers", osr_s(1));
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

TEST(clean_ups_nest)
{
    a_clean_up_may_defer_and_what_it_defers_runs_when_it_returns(state);
    assert_story("it defers\nmore\na\n");
}

SIMULATED_TEST(a_clean_up_may_open_groups_but_not_spawn_into_the_one_that_closes)
{
    struct osr_cleanup cleanups[2];
    struct osr_group group;

    osr_group_open(&group);
    osr_defer(&cleanups[0], spawn_into_it, &group, osr_s(1));
    osr_defer(&cleanups[1], use_a_group, NULL, osr_s(1));
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check(osr_error_find(osr_error_last(), EPROTO) != NULL);
    return 0;
}

static int leave_it_open(void *arg)
{
    static struct osr_scope scope;

    (void)arg;
    osr_scope_open(&scope);
    return 0;
}

OSR_TASK(leave_a_scope_open_in_a_clean_up, void, unused)
{
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanup, leave_it_open, NULL, osr_s(1));
    return osr_scope_close(&scope, 0);
}

static void run_leaving_it_open(void) { (void)run_simulated(leave_a_scope_open_in_a_clean_up, NULL); }

TEST(a_clean_up_that_leaves_a_scope_open_stops_the_program)
{
    assert_dies(run_leaving_it_open, SIGABRT, "still open");
}

/* ---- Taking back, misuse ------------------------------------------------------------------------------- */

struct taking_back {
    struct osr_cleanup *cleanup;
};

OSR_TASK(take_back_from_elsewhere, struct taking_back, t)
{
    check_int(osr_defer_cancel(t->cleanup), -EPERM);
    return 0;
}

static int take_itself_back(void *cleanup)
{
    check_int(osr_defer_cancel(cleanup), -ESTALE);
    return 0;
}

SIMULATED_TEST(a_clean_up_that_was_taken_back_does_not_run)
{
    struct cleaning a = {"a", 0, 0}, b = {"b", 0, 0}, c = {"c", 0, 0};
    struct osr_cleanup cleanups[3] = {{.record_ = NULL}}, never = {.record_ = NULL};
    struct taking_back t = {&cleanups[1]};
    struct osr_scope scope, inner;
    struct osr_group group;

    osr_scope_open(&scope);
    osr_defer(&cleanups[0], clean, &a, osr_s(1));
    osr_defer(&cleanups[1], clean, &b, osr_s(1));
    osr_defer(&cleanups[2], clean, &c, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, take_back_from_elsewhere, &t);
    check_int(osr_group_close(&group, 0), 0);
    osr_scope_open(&inner);
    check_int(osr_defer_cancel(&cleanups[1]), 0); /* from further inside */
    check_int(osr_scope_close(&inner, 0), 0);
    check_int(osr_defer_cancel(&cleanups[1]), -ESTALE);
    check_int(osr_defer(&cleanups[1], clean, &b, osr_s(1)), 0);
    check_int(osr_defer_cancel(&cleanups[0]), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    check_int(osr_defer_cancel(&cleanups[2]), -ESTALE);
    check_int(osr_defer_cancel(&never), -ESTALE);
    check_int(osr_defer_cancel(NULL), -EINVAL);
    osr_scope_open(&scope);
    osr_defer(&cleanups[0], take_itself_back, &cleanups[0], osr_s(1));
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

TEST(only_what_is_still_deferred_runs)
{
    a_clean_up_that_was_taken_back_does_not_run(state);
    assert_story("b\nc\n");
}

SIMULATED_TEST(what_cannot_be_deferred_is_refused)
{
    struct cleaning a = {"a", 0, 0};
    struct osr_cleanup cleanup, stays;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_defer(&cleanup, clean, &a, osr_s(1)), 0);
    stays = cleanup;
    check_int(osr_defer(&cleanup, NULL, &a, osr_s(1)), -EINVAL);
    check_int(osr_defer_cancel(&cleanup), -ESTALE); /* it is no handle to what was deferred before */
    cleanup = stays;
    check_int(osr_defer(&cleanup, clean, &a, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_defer_cancel(&cleanup), -ESTALE);
    check_int(osr_defer_cancel(&stays), 0);
    check_int(osr_defer(NULL, clean, &a, osr_s(1)), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

OSR_TASK(defer_what_will_be_gone, struct cleaning, given)
{
    struct cleaning local = *given;
    struct osr_scope scope;

    if (!under_tools()) { /* AddressSanitizer has locals in places of its own */
        check_int(osr_defer(NULL, clean, &local, osr_s(1)), -EINVAL);
        check(strstr(osr_error_message(osr_error_last()), "open a scope") != NULL);
    }
    check_int(osr_defer(NULL, clean, given, osr_s(1)), 0); /* a copy on its own stack, which stays */
    osr_scope_open(&scope);
    check_int(osr_defer(NULL, clean, &local, osr_s(1)), 0);
    return osr_scope_close(&scope, 0);
}

SIMULATED_TEST(for_the_task_itself_nothing_is_deferred_that_lies_in_its_frame)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn_copy(&group, defer_what_will_be_gone, (&(struct cleaning){"a", 0, 0})), 0);
    return osr_group_close(&group, 0);
}

TEST(what_would_be_gone_does_not_run)
{
    for_the_task_itself_nothing_is_deferred_that_lies_in_its_frame(state);
    assert_story("a\na\n");
}

/* Writes over the stack that others have left. */
static int use_the_stack(int depth)
{
    volatile char bytes[256];

    memset((void *)bytes, 0xa5, sizeof(bytes));
    return depth > 0 ? use_the_stack(depth - 1) + bytes[0] : 0;
}

static int clean_on_used_stack(void *arg)
{
    (void)use_the_stack(20);
    return clean(arg);
}

static void defer_two_for_the_task(struct cleaning *c)
{
    struct osr_cleanup first, second;
    struct osr_binding binding;
    static char key;

    check_int(osr_bind(&binding, &key, NULL), 0);
    check_int(osr_defer(&first, clean_on_used_stack, &c[0], osr_s(1)), 0);
    check_int(osr_defer(&second, clean_on_used_stack, &c[1], osr_s(1)), 0);
}

OSR_TASK(return_with_clean_ups, struct cleaning, c)
{
    defer_two_for_the_task(c);
    return 0;
}

SIMULATED_TEST(a_handle_may_be_gone_before_its_clean_up_runs)
{
    struct cleaning c[2] = {{"first", 0, 0}, {"second", 0, 0}};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, return_with_clean_ups, c), 0);
    return osr_group_close(&group, 0);
}

TEST(what_was_deferred_for_the_task_runs_when_its_function_has_returned)
{
    a_handle_may_be_gone_before_its_clean_up_runs(state);
    assert_story("second\nfirst\n");
}

TEST(what_is_refused_does_not_run)
{
    what_cannot_be_deferred_is_refused(state);
    assert_story("a\n");
}

TEST(outside_tasks_nothing_is_deferred)
{
    struct osr_cleanup cleanup;

    assert_int_equal(osr_defer(&cleanup, clean, NULL, 0), -EPERM);
    assert_int_equal(osr_defer_cancel(&cleanup), -EPERM);
    osr_error_clear();
}

/* ---- Without memory ------------------------------------------------------------------------------------ */

static int fail_bare(void *arg)
{
    (void)arg;
    (void)osr_check();
    return -EIO;
}

static struct osr_error *recorded;

/* Gives an error that stands in another tree already, with a code of its own behind it. */
static int raise_recorded(void *arg)
{
    (void)arg;
    return osr_raise(osr_error_retain(recorded));
}

static int sleep_too_long(void *arg)
{
    (void)arg;
    (void)osr_sleep(osr_s(9));
    return -EBADF;
}

OSR_TASK(fail_it, void, unused) { return -EPROTO; }

static int hoard(void *arg)
{
    (void)arg;
    hoard_errors();
    return 0;
}

OSR_TASK(clean_up_without_memory, void, unused)
{
    struct osr_cleanup cleanups[6];
    struct osr_group tree, group;
    struct osr_scope scope;
    int rc;

    osr_group_open(&tree);
    osr_spawn(&tree, fail_it, NULL);
    check_int(osr_group_close(&tree, 0), -OSR_EGROUP);
    tree.tree_ = osr_error_take();
    recorded = osr_error_retain((struct osr_error *)osr_error_find(tree.tree_, EPROTO));

    osr_scope_open(&scope);
    check_int(osr_defer(&cleanups[0], fail_bare, NULL, osr_s(1)), 0);
    check_int(osr_defer(&cleanups[1], raise_recorded, NULL, osr_s(1)), 0);
    check_int(osr_defer(&cleanups[2], sleep_too_long, NULL, osr_ms(1)), 0);
    check_int(osr_defer(&cleanups[3], hoard, NULL, OSR_NEVER), 0);
    rc = osr_scope_close(&scope, osr_raise(osr_error_retain(recorded)));
    check_int(rc, -OSR_EGROUP);
    tell_leaves(osr_error_last());
    release_hoard();

    osr_group_open(&group);
    check_int(osr_defer(&cleanups[0], fail_bare, NULL, osr_s(1)), 0);
    check_int(osr_defer(&cleanups[1], raise_recorded, NULL, osr_s(1)), 0);
    check_int(osr_defer(&cleanups[2], sleep_too_long, NULL, osr_ms(1)), 0);
    check_int(osr_defer(&cleanups[3], hoard, NULL, OSR_NEVER), 0);
    check_int(osr_group_close(&group, -EINVAL), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    release_hoard();
    osr_error_clear();
    osr_error_release(recorded);
    osr_error_release(tree.tree_);
    return 0;
}

TEST(clean_ups_that_are_registered_run_and_keep_their_errors_without_memory)
{
    assert_int_equal(run_simulated(clean_up_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_int_equal(counting.live, 0);
    assert_checked();
    assert_story("EPROTO: Protocol error\nEBADF: Bad file descriptor\nEIO: Input/output error\n"
                 "EINVAL: Invalid argument\nEBADF: Bad file descriptor\nEPROTO: Protocol error\n"
                 "EIO: Input/output error\n");
}

static int check_grace(void *arg)
{
    (void)arg;
    check_int(osr_deadline(), osr_now() + osr_s(1));
    return osr_check();
}

/* With all places for timers taken, but for the one that is kept free for the grace. */
OSR_TASK(clean_up_when_all_timers_are_taken, void, unused)
{
    struct osr_cleanup cleanup;
    struct osr_group group;
    struct osr_scope scope;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 64; i++)
        osr_spawn(&group, sleep_an_hour, NULL);
    osr_yield();
    osr_scope_open(&scope);
    check_int(osr_defer(&cleanup, check_grace, NULL, osr_s(1)), 0);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    while (osr_spawn(&group, sleep_an_hour, NULL, .eager = true) == 0 && osr_group_running(&group) < 300)
        ;
    osr_scope_cancel(&scope, "so that the shield is needed");
    check_int(osr_scope_close(&scope, 0), 0);
    counting.fail_at = 0;
    osr_group_cancel(&group, "enough");
    (void)osr_group_close(&group, 0);
    return 0;
}

TEST(a_clean_up_has_the_timer_for_its_grace)
{
    assert_int_equal(run_simulated(clean_up_when_all_timers_are_taken, NULL, .allocator = &counting_allocator), 0);
    assert_int_equal(counting.live, 0);
    assert_checked();
}

static void leave_a_guard_without_memory(struct osr_cleanup *cleanups)
{
    OSR_GUARD_TIMEOUT(guard, OSR_NEVER);
    check_int(osr_defer(&cleanups[0], fail_bare, NULL, osr_s(1)), 0);
    check_int(osr_defer(&cleanups[1], hoard, NULL, osr_s(1)), 0);
}

OSR_TASK(leave_guards_without_memory, void, unused)
{
    struct osr_cleanup cleanups[2];
    struct osr_scope scope;

    osr_scope_open(&scope);
    leave_a_guard_without_memory(cleanups);
    check_int(osr_scope_close(&scope, -EPROTO), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    release_hoard();
    return 0;
}

TEST(a_guard_has_the_memory_for_what_it_leaves_pending_also_after_its_clean_ups)
{
    assert_int_equal(run_simulated(leave_guards_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_int_equal(counting.live, 0);
    assert_checked();
    assert_story("EIO: Input/output error\nEPROTO: Protocol error\n");
}

static const char *leave_a_group_in_vain(void)
{
    const char *where = OSR_HERE; OSR_GUARD_GROUP(group); /* on one line */
    check_int(osr_group_running(&group), 0);
    return where;
}

static const char *leave_a_timeout_in_vain(void)
{
    const char *where = OSR_HERE; OSR_GUARD_TIMEOUT(limit, osr_s(1)); /* on one line */
    check_int(osr_check(), -ECANCELED);
    return where;
}

/* The scope around gives the code of the guard, from where that stands, as the error of the task. */
static void check_left(struct osr_scope *scope, const char *where)
{
    check_int(osr_scope_close(scope, 0), -ENOMEM);
    release_hoard();
    check_int(osr_error_code(osr_error_last()), -ENOMEM);
    check_text(osr_error_where(osr_error_last()), where);
    check_text(osr_error_task(osr_error_last()), "leave_guards_in_vain");
}

OSR_TASK(leave_guards_in_vain, void, unused)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    hoard_errors();
    check_left(&scope, leave_a_group_in_vain());
    osr_scope_open(&scope);
    hoard_errors();
    check_left(&scope, leave_a_timeout_in_vain());
    return 0;
}

TEST(a_guard_without_memory_leaves_its_code_and_its_place)
{
    assert_int_equal(run_simulated(leave_guards_in_vain, NULL, .allocator = &counting_allocator), 0);
    assert_int_equal(counting.live, 0);
    assert_checked();
}

/* All sorts of clean-ups, with whatever there is memory for: what was deferred runs. */
static int count_it(void *counter)
{
    ++*(int *)counter;
    return *(int *)counter % 2 ? -EIO : 0;
}

OSR_TASK(clean_up_with_whatever_memory, void, unused)
{
    enum { MANY = 70 }; /* more than the timers and the errors that there are at first */
    static struct osr_cleanup cleanups[MANY];
    int i, rc, ran = 0, deferred = 0;
    struct osr_group group;

    rc = osr_group_open(&group);
    if (rc < 0)
        return osr_group_close(&group, rc);
    for (i = 0; i < MANY; i++) {
        rc = osr_defer(&cleanups[i], count_it, &ran, osr_s(1));
        check(rc == 0 || rc == -ENOMEM);
        deferred += rc == 0;
        if (rc < 0)
            check_int(osr_defer_cancel(&cleanups[i]), -ESTALE);
    }
    (void)osr_group_close(&group, 0);
    check_int(ran, deferred);
    return 0;
}

TEST(what_was_deferred_runs_and_what_was_not_does_not_whichever_allocation_fails) { assert_survives(clean_up_with_whatever_memory, false, 5); }

TEST(what_was_deferred_runs_when_memory_runs_out) { assert_survives(clean_up_with_whatever_memory, true, 5); }

/* ---- In which order, and in which words ----------------------------------------------------------------- */

SIMULATED_TEST(what_guards_have_left_joins_the_body_before_the_clean_ups_do)
{
    struct cleaning c = {"c", 0, -EPROTO};
    const struct osr_error *error;
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_defer(&cleanup, clean, &c, osr_s(1)), 0);
    {
        OSR_GUARD_TIMEOUT(limit, osr_ms(1));
        check_int(osr_sleep(osr_s(1)), -ECANCELED);
    }
    check_int(osr_scope_close(&scope, osr_fail(-EIO, "the body failed")), -OSR_EGROUP);
    error = osr_error_last();
    check_text(osr_error_message(error), "clean-up failed too");
    check_int(osr_error_count(error), 3);
    return 0;
}

SIMULATED_TEST(a_clean_up_that_fails_in_a_cancelled_scope_fails_alone)
{
    struct cleaning c = {"c", 0, -EPROTO};
    struct osr_cleanup cleanup;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_defer(&cleanup, clean, &c, osr_s(1)), 0);
    check_int(osr_scope_cancel(&scope, "enough"), 0);
    check_int(osr_scope_close(&scope, osr_check()), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_last()), "clean-up failed");
    return 0;
}

/* ---- Handles of earlier runs ----------------------------------------------------------------------------- */

/* Gives the same memory in each run. */
static struct {
    _Alignas(64) char memory[1 << 20];
    size_t used;
} arena;

static void *arena_resize(void *arg, void *memory, size_t size)
{
    size_t *block;

    (void)arg;
    if (size == 0 || sizeof(arena.memory) - arena.used < size + 128)
        return NULL;
    block = (size_t *)(void *)(arena.memory + arena.used);
    arena.used += (size + 127) & ~(size_t)63;
    block[7] = size;
    if (memory)
        memcpy(block + 8, memory, ((size_t *)memory)[-1] < size ? ((size_t *)memory)[-1] : size);
    return block + 8;
}

static const struct osr_allocator arena_allocator = {arena_resize, NULL};

struct two_runs {
    struct osr_cleanup first;
    bool again;
};

OSR_TASK(defer_in_each_run, struct two_runs, runs)
{
    struct cleaning c = {runs->again ? "second" : "first", 0, 0};
    struct osr_cleanup second;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_defer(runs->again ? &second : &runs->first, clean, &c, osr_s(1)), 0);
    if (runs->again)
        check_int(osr_defer_cancel(&runs->first), -ESTALE);
    return osr_scope_close(&scope, 0);
}

TEST(a_clean_up_of_an_earlier_run_is_stale_though_its_memory_is_used_again)
{
    static struct two_runs runs;

    arena.used = 0;
    assert_int_equal(run_simulated(defer_in_each_run, &runs, .allocator = &arena_allocator), 0);
    arena.used = 0;
    runs.again = true;
    assert_int_equal(run_simulated(defer_in_each_run, &runs, .allocator = &arena_allocator), 0);
    assert_checked();
    assert_story("first\nsecond\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(nothing_runs_before_and_nothing_after_the_close),
        story_test(children_end_before_what_they_use_is_cleaned_up),
        story_test(a_task_ends_after_its_clean_ups),
        story_test(clean_ups_of_the_root_run_and_fail_the_run),
        story_test(clean_ups_run_when_a_guarded_block_is_left_and_their_errors_stay_pending),
        story_test(clean_ups_of_a_cancelled_scope_are_shielded),
        story_test(a_clean_up_has_its_own_grace_and_no_other_limit),
        story_test(an_expired_grace_cuts_what_the_clean_up_calls),
        story_test(an_expired_grace_is_a_leaf_of_the_group),
        story_test(a_clean_up_that_ignores_its_expired_grace_has_failed_and_one_that_waits_for_nothing_has_not),
        story_test(errors_of_body_and_clean_ups_stand_in_the_order_in_which_they_happened),
        story_test(a_groups_errors_stand_before_those_of_its_clean_ups),
        story_test(a_lone_error_of_a_groups_clean_up_comes_out_as_itself_where_asked_for),
        story_test(a_failing_clean_up_fails_a_group_that_has_its_winner),
        story_test(clean_ups_that_succeed_leave_the_error_of_the_body_as_it_is),
        story_test(a_clean_up_that_invents_a_cancellation_has_failed),
        story_test(a_cancellation_that_the_body_invents_is_an_error_beside_that_of_a_clean_up),
        story_test(a_cancellation_that_is_passed_through_a_shield_goes_on_beside_the_error_of_a_clean_up),
        story_test(a_cancellation_that_is_passed_through_a_shield_goes_on_beside_what_a_guard_has_left),
        story_test(a_cancellation_that_a_guard_has_taken_up_is_neither_invented_nor_goes_on),
        story_test(an_error_that_clean_ups_raise_again_is_not_counted_twice),
        story_test(an_error_that_was_joined_is_not_counted_twice_where_a_guard_leaves_it_too),
        story_test(a_clean_up_that_passes_on_what_its_group_has_recorded_is_not_counted_again),
        story_test(a_fatal_error_in_a_clean_up_ends_the_run),
        story_test(a_tasks_error_stands_before_that_of_its_clean_up),
        story_test(pending_errors_keep_their_place_before_clean_up),
        story_test(in_a_scope_too_what_a_guard_left_pending_comes_first_then_the_bodys_error_then_clean_ups),
        story_test(a_deadline_that_passes_during_clean_up_has_cut_nothing),
        story_test(a_timeout_that_cut_its_body_is_one_after_clean_up_too),
        story_test(a_failing_clean_up_beats_the_timeout_which_becomes_a_cause_and_is_caught),
        story_test(a_cancellation_of_the_body_rides_beside_a_failing_clean_up_to_the_scope_that_absorbs),
        story_test(a_cancellation_that_rides_beside_the_bodys_error_rides_on_over_a_failing_clean_up),
        story_test(a_cancellation_outside_that_comes_during_clean_up_takes_the_bodys_up),
        story_test(a_group_whose_deadline_passes_during_clean_up_gives_what_it_came_to),
        story_test(a_cancelled_task_cleans_up_and_counts_as_cancelled_or_failed_after_that),
        story_test(clean_ups_nest),
        story_test(a_clean_up_may_open_groups_but_not_spawn_into_the_one_that_closes),
        story_test(a_clean_up_that_leaves_a_scope_open_stops_the_program),
        story_test(only_what_is_still_deferred_runs),
        story_test(what_is_refused_does_not_run),
        story_test(what_would_be_gone_does_not_run),
        story_test(what_was_deferred_for_the_task_runs_when_its_function_has_returned),
        story_test(outside_tasks_nothing_is_deferred),
        story_test(clean_ups_that_are_registered_run_and_keep_their_errors_without_memory),
        story_test(a_clean_up_has_the_timer_for_its_grace),
        story_test(a_guard_has_the_memory_for_what_it_leaves_pending_also_after_its_clean_ups),
        story_test(a_guard_without_memory_leaves_its_code_and_its_place),
        story_test(what_was_deferred_runs_and_what_was_not_does_not_whichever_allocation_fails),
        story_test(what_was_deferred_runs_when_memory_runs_out),
        story_test(what_guards_have_left_joins_the_body_before_the_clean_ups_do),
        story_test(a_clean_up_that_fails_in_a_cancelled_scope_fails_alone),
        story_test(a_clean_up_of_an_earlier_run_is_stale_though_its_memory_is_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
