/* Tasks and handles to them: outcomes, joining, cancelling, states, fairness. */
#include "harness.h"

#include <pthread.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

OSR_TASK(give, int, result) { return *result; }
OSR_TASK(end_at_once, void, unused) { return 0; }
OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_TASK(fail, void, unused) { return osr_fail(-EIO, "the disk is on fire"); }

struct sleeper {
    int64_t duration;
    int result;
};

OSR_TASK(sleep_then_give, struct sleeper, s)
{
    int rc = osr_sleep(s->duration);

    return rc < 0 ? rc : s->result;
}

static bool is_nothing(struct osr_task task)
{
    const struct osr_task nothing = {0};

    return memcmp(&task, &nothing, sizeof(task)) == 0;
}

/* Every call that takes a handle says that this one is stale. */
static void check_stale(struct osr_task task)
{
    struct osr_task_wait wait;
    struct osr_task copy = task;
    int rc;

    check_int(osr_task_state(task), -ESTALE);
    check_int(osr_task_result(task, &rc), -ESTALE);
    check_int(osr_task_join(task), -ESTALE);
    check_int(osr_task_cancel(task, "stale"), -ESTALE);
    check_int(osr_task_where(task, &wait), -ESTALE);
    check_int(osr_task_release(&copy), -ESTALE);
    check(osr_task_name(task) == NULL);
    check(osr_task_error(task) == NULL);
}

/* ---- How long a handle is good ------------------------------------------------------------------------- */

OSR_TASK(use_no_handle, void, unused)
{
    check_stale((struct osr_task){0});
    return 0;
}

TEST(a_handle_of_zeros_is_a_handle_to_nothing)
{
    assert_int_equal(run_simulated(use_no_handle, NULL), 0);
    assert_checked();
}

OSR_TASK(release_a_finished_task, void, unused)
{
    struct osr_group group;
    struct osr_task handle, copy;
    int seven = 7;

    osr_group_open(&group);
    osr_spawn(&group, give, &seven, .handle = &handle);
    check_int(osr_task_join(handle), 7);
    copy = handle;
    check_int(osr_task_release(&handle), 0);
    check(is_nothing(handle));
    check_stale(copy);
    check_stale(handle);
    return osr_group_close(&group, 0);
}

TEST(a_released_handle_is_stale_and_so_is_every_copy)
{
    assert_int_equal(run_simulated(release_a_finished_task, NULL), 0);
    assert_checked();
}

OSR_TASK(release_a_running_task, void, unused)
{
    struct sleeper sleeper = {osr_ms(5), 0};
    struct osr_group group;
    struct osr_task handle, copy;

    osr_group_open(&group);
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &handle);
    osr_yield();
    copy = handle;
    check_int(osr_task_release(&handle), 0);
    check_stale(copy);
    check_int(osr_group_running(&group), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(5));
    return 0;
}

TEST(a_task_whose_handle_was_released_goes_on)
{
    assert_int_equal(run_simulated(release_a_running_task, NULL), 0);
    assert_checked();
}

OSR_TASK(close_with_handles, void, unused)
{
    struct osr_group group;
    struct osr_task good, bad;
    int seven = 7;

    osr_group_open(&group);
    osr_spawn(&group, give, &seven, .handle = &good);
    osr_spawn(&group, fail, NULL, .handle = &bad);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_stale(good);
    check_stale(bad);
    return 0;
}

TEST(handles_are_stale_once_their_group_is_closed)
{
    assert_int_equal(run_simulated(close_with_handles, NULL), 0);
    assert_checked();
}

static struct osr_task told_self;

OSR_TASK(tell_self, int, result)
{
    told_self = osr_self();
    check_int(osr_task_state(told_self), OSR_TASK_RUNNING);
    osr_sleep(osr_ms(1));
    return *result;
}

OSR_TASK(use_anothers_self, void, unused)
{
    struct osr_group group;
    int seven = 7;

    osr_group_open(&group);
    osr_spawn(&group, tell_self, &seven);
    osr_yield();
    check_int(osr_task_state(told_self), OSR_TASK_WAITING);
    check_int(osr_task_join(told_self), 7);
    check_stale(told_self);
    return osr_group_close(&group, 0);
}

TEST(a_tasks_own_handle_keeps_no_outcome)
{
    assert_int_equal(run_simulated(use_anothers_self, NULL), 0);
    assert_checked();
}

enum { many = 2000 };

OSR_TASK(spawn_many_after_release, void, unused)
{
    static struct osr_task old[many];
    struct osr_task handle;
    struct osr_group group;
    int i, j, stale = 0, same = 0;

    osr_group_open(&group);
    for (i = 0; i < many; i++) {
        osr_spawn(&group, end_at_once, NULL, .handle = &handle);
        osr_task_join(handle);
        old[i] = handle;
        osr_task_release(&handle);
    }
    for (i = 0; i < many; i++) {
        osr_spawn(&group, end_at_once, NULL, .handle = &handle);
        for (j = 0; j < many; j += 97)
            same += memcmp(&old[j], &handle, sizeof(handle)) == 0;
        osr_task_join(handle);
        osr_task_release(&handle);
    }
    for (i = 0; i < many; i++)
        stale += osr_task_state(old[i]) == -ESTALE;
    check_int(stale, many);
    check_int(same, 0);
    return osr_group_close(&group, 0);
}

TEST(a_handle_is_never_given_again)
{
    assert_int_equal(run_simulated(spawn_many_after_release, NULL), 0);
    assert_checked();
}

OSR_TASK(hold_many_handles, void, unused)
{
    static struct osr_task handles[many];
    static int results[many];
    struct osr_group group;
    int i, wrong = 0;

    osr_group_open(&group);
    for (i = 0; i < many; i++) {
        results[i] = i;
        osr_spawn(&group, give, &results[i], .handle = &handles[i]);
    }
    for (i = many - 1; i >= 0; i--)
        wrong += osr_task_join(handles[i]) != i;
    check_int(wrong, 0);
    return osr_group_close(&group, 0);
}

TEST(many_outcomes_can_be_kept_at_once)
{
    assert_int_equal(run_simulated(hold_many_handles, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

OSR_TASK(leave_handle_behind, struct osr_task, handle)
{
    *handle = osr_self();
    return 0;
}

OSR_TASK(use_old_handle, struct osr_task, handle)
{
    check_stale(*handle);
    return 0;
}

TEST(a_handle_from_an_earlier_run_is_stale)
{
    struct osr_task handle;

    assert_int_equal(run_simulated(leave_handle_behind, &handle), 0);
    assert_int_equal(run_simulated(use_old_handle, &handle), 0);
    assert_checked();
}

struct elsewhere {
    struct osr_task task;
    struct osr_scope *scope;
    struct osr_group *group;
};

OSR_TASK(meddle, struct elsewhere, there)
{
    struct osr_task_wait wait;
    struct osr_task copy = there->task;
    int rc;

    check_int(osr_task_state(there->task), -EPERM);
    check_int(osr_task_result(there->task, &rc), -EPERM);
    check_int(osr_task_join(there->task), -EPERM);
    check_int(osr_task_cancel(there->task, "meddling"), -EPERM);
    check_int(osr_task_where(there->task, &wait), -EPERM);
    check_int(osr_task_release(&copy), -EPERM);
    check_int(osr_scope_cancel(there->scope, "meddling"), -EPERM);
    check_int(osr_group_cancel(there->group, "meddling"), -EPERM);
    check_int(osr_spawn(there->group, end_at_once, NULL), -EPERM);
    return 0;
}

static void *run_elsewhere(void *arg)
{
    check_int(osr_run(meddle, (struct elsewhere *)arg), 0);
    return NULL;
}

OSR_TASK(let_another_runtime_meddle, void, unused)
{
    struct osr_group group;
    struct osr_scope scope;
    struct elsewhere there = {{0}, &scope, &group};
    pthread_t thread;
    int seven = 7, rc;

    osr_group_open(&group);
    osr_scope_open(&scope);
    osr_spawn(&group, give, &seven, .handle = &there.task);
    rc = pthread_create(&thread, NULL, run_elsewhere, &there);
    pthread_join(thread, NULL);
    check_int(rc, 0);
    check_int(osr_check(), 0);
    check_int(osr_task_join(there.task), 7);
    osr_scope_close(&scope, 0);
    return osr_group_close(&group, 0);
}

TEST(tasks_scopes_and_groups_of_another_runtime_are_out_of_reach)
{
    assert_int_equal(osr_run(let_another_runtime_meddle, NULL), 0);
    assert_checked();
}

/* ---- Joining ------------------------------------------------------------------------------------------- */

OSR_TASK(join_repeatedly, void, unused)
{
    struct sleeper sleeper = {osr_ms(1), 42};
    struct osr_group group;
    struct osr_task handle;
    int rc = 0;

    osr_group_open(&group);
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &handle);
    check_int(osr_task_join(handle), 42);
    check_int(osr_now(), osr_ms(1));
    check_int(osr_task_join(handle), 42);
    check_int(osr_task_join(handle), 42);
    check_int(osr_task_result(handle, &rc), 0);
    check_int(rc, 42);
    check_int(osr_now(), osr_ms(1));
    return osr_group_close(&group, 0);
}

TEST(a_task_can_be_joined_again_and_again)
{
    assert_int_equal(run_simulated(join_repeatedly, NULL), 0);
    assert_checked();
}

OSR_TASK(join_it, struct osr_task, target)
{
    return osr_task_join(*target);
}

OSR_TASK(join_from_several, void, unused)
{
    struct sleeper sleeper = {osr_ms(1), 42};
    struct osr_group group;
    struct osr_task target, joiners[5];
    int i;

    osr_group_open(&group);
    for (i = 0; i < 5; i++)
        osr_spawn(&group, join_it, &target, .handle = &joiners[i]);
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &target);
    for (i = 0; i < 5; i++)
        check_int(osr_task_join(joiners[i]), 42);
    return osr_group_close(&group, 0);
}

TEST(several_tasks_can_join_one)
{
    assert_int_equal(run_simulated(join_from_several, NULL), 0);
    assert_checked();
}

OSR_TASK(join_a_failure, void, unused)
{
    struct osr_group group;
    struct osr_scope shield;
    struct osr_task handle;
    struct osr_error *error;

    osr_group_open(&group);
    osr_spawn(&group, fail, NULL, .name = "culprit", .handle = &handle);
    osr_shield_open(&shield, osr_s(1));
    check_int(osr_task_join(handle), -EIO);
    error = osr_error_last();
    check(error != NULL && error == osr_task_error(handle));
    check_text(osr_error_message(error), "the disk is on fire");
    check_text(osr_error_task(error), "culprit");
    check_int(osr_task_join(handle), -EIO);
    check(osr_error_last() == error);
    osr_scope_close(&shield, 0);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check(osr_error_find(osr_error_last(), EIO) == error);
    return 0;
}

TEST(joining_a_task_that_failed_gives_its_very_error)
{
    assert_int_equal(run_simulated(join_a_failure, NULL), 0);
    assert_checked();
}

OSR_TASK(pass_one_error_on, void, unused)
{
    struct osr_group group;
    struct osr_task handle;
    int rc;

    osr_group_open(&group);
    osr_spawn(&group, join_it, &handle);
    osr_spawn(&group, join_it, &handle);
    osr_spawn(&group, fail, NULL, .handle = &handle);
    rc = osr_task_join(handle);
    check_int(rc, -EIO);
    check_int(osr_group_close(&group, rc), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check_text(osr_error_task(osr_error_find(osr_error_last(), EIO)), "fail");
    return 0;
}

TEST(an_error_passed_on_by_those_who_joined_is_counted_once)
{
    assert_int_equal(run_simulated(pass_one_error_on, NULL), 0);
    assert_checked();
}

OSR_TASK(pass_one_error_on_unwrapped, void, unused)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group, .unwrap = true);
    osr_spawn(&group, join_it, &handle);
    osr_spawn(&group, fail, NULL, .handle = &handle);
    return osr_group_close(&group, osr_task_join(handle));
}

TEST(an_error_passed_on_by_those_who_joined_is_still_a_lone_one)
{
    assert_int_equal(run_simulated(pass_one_error_on_unwrapped, NULL), -EIO);
    assert_string_equal(osr_error_message(osr_error_last()), "the disk is on fire");
    osr_error_clear();
}

OSR_TASK(join_the_cancelled, void, unused)
{
    struct osr_group group;
    struct osr_task handle;
    int rc = 0;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL, .handle = &handle);
    osr_yield();
    check_int(osr_task_cancel(handle, "not needed"), 0);
    check_int(osr_task_join(handle), -OSR_ETASKCANCELED);
    check_int(osr_task_result(handle, &rc), 0);
    check_int(rc, -OSR_ETASKCANCELED);
    check_int(osr_task_state(handle), OSR_TASK_CANCELED);
    check(osr_task_error(handle) == NULL);
    check_int(osr_check(), 0);
    check_int(osr_group_close(&group, 5), 5);
    return 0;
}

TEST(joining_a_cancelled_task_says_so_and_cancels_nobody_else)
{
    assert_int_equal(run_simulated(join_the_cancelled, NULL), 0);
    assert_checked();
}

OSR_TASK(fail_by_joining_the_cancelled, void, unused)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL, .handle = &handle);
    osr_spawn(&group, join_it, &handle, .name = "joiner");
    osr_yield();
    osr_task_cancel(handle, "not needed");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check_text(osr_error_task(osr_error_find(osr_error_last(), OSR_ETASKCANCELED)), "joiner");
    return 0;
}

TEST(passing_on_that_another_task_was_cancelled_is_an_error)
{
    assert_int_equal(run_simulated(fail_by_joining_the_cancelled, NULL), 0);
    assert_checked();
}

OSR_TASK(cancel_the_joiner, void, unused)
{
    struct sleeper sleeper = {osr_ms(5), 42};
    struct osr_group group;
    struct osr_scope limit;
    struct osr_task handle;

    osr_group_open(&group);
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &handle);
    osr_timeout_open(&limit, osr_ms(1));
    check_int(osr_task_join(handle), -ECANCELED);
    check_int(osr_task_join(handle), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(osr_now(), osr_ms(1));
    check_int(osr_task_state(handle), OSR_TASK_WAITING);
    check_int(osr_task_join(handle), 42);
    check_int(osr_now(), osr_ms(5));
    return osr_group_close(&group, 0);
}

TEST(cancelling_the_joiner_leaves_the_target_alone)
{
    assert_int_equal(run_simulated(cancel_the_joiner, NULL), 0);
    assert_checked();
}

OSR_TASK(join_done_task_in_cancelled_scope, void, unused)
{
    struct osr_group group;
    struct osr_scope scope;
    struct osr_task handle;
    int seven = 7;

    osr_group_open(&group);
    osr_spawn(&group, give, &seven, .handle = &handle);
    osr_yield();
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_task_join(handle), -ECANCELED);
    osr_scope_close(&scope, -ECANCELED);
    check_int(osr_task_join(handle), 7);
    return osr_group_close(&group, 0);
}

TEST(a_join_checks_for_cancellation_before_it_looks_at_the_target)
{
    assert_int_equal(run_simulated(join_done_task_in_cancelled_scope, NULL), 0);
    assert_checked();
}

struct race {
    bool cancel_first;
    struct osr_task target, joiner;
    int join_gave, check_gave;
};

OSR_TASK(join_in_race, struct race, race)
{
    race->join_gave = osr_task_join(race->target);
    race->check_gave = osr_check();
    return race->check_gave;
}

OSR_TASK(cancel_joiner_at_five, struct race, race)
{
    int rc = osr_sleep(osr_ms(5));

    osr_task_cancel(race->joiner, "in the same instant");
    return rc;
}

OSR_TASK(race_end_against_cancel, struct race, race)
{
    struct sleeper sleeper = {osr_ms(5), 42};
    struct osr_group group;

    osr_group_open(&group);
    if (race->cancel_first)
        osr_spawn(&group, cancel_joiner_at_five, race);
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &race->target);
    if (!race->cancel_first)
        osr_spawn(&group, cancel_joiner_at_five, race);
    osr_spawn(&group, join_in_race, race, .handle = &race->joiner);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

TEST(a_target_that_ended_before_the_joiner_was_cancelled_is_reported)
{
    struct race race = {.cancel_first = false};

    assert_int_equal(run_simulated(race_end_against_cancel, &race), 0);
    assert_checked();
    assert_int_equal(race.join_gave, 42);
    assert_int_equal(race.check_gave, -ECANCELED);
}

TEST(a_joiner_cancelled_before_the_target_ended_is_cut)
{
    struct race race = {.cancel_first = true};

    assert_int_equal(run_simulated(race_end_against_cancel, &race), 0);
    assert_checked();
    assert_int_equal(race.join_gave, -ECANCELED);
}

struct family {
    struct osr_task root, parent;
};

OSR_TASK(join_upwards, struct family, family)
{
    check_int(osr_task_join(osr_self()), -EDEADLK);
    check_int(osr_task_join(family->parent), -EDEADLK);
    check_int(osr_task_join(family->root), -EDEADLK);
    return 0;
}

OSR_TASK(be_a_parent, struct family, family)
{
    struct osr_group group;

    struct osr_scope outer, inner;

    family->parent = osr_self();
    check_int(osr_task_join(family->root), -EDEADLK);
    osr_scope_open(&outer);
    osr_scope_open(&inner);
    osr_group_open(&group);
    osr_spawn(&group, join_upwards, family);
    return osr_scope_close(&outer, osr_scope_close(&inner, osr_group_close(&group, 0)));
}

OSR_TASK(be_a_grandparent, void, unused)
{
    struct family family = {.root = osr_self()};
    struct osr_group group;

    check_int(osr_task_join(osr_self()), -EDEADLK);
    osr_group_open(&group);
    osr_spawn(&group, be_a_parent, &family);
    return osr_group_close(&group, 0);
}

TEST(joining_oneself_or_an_ancestor_is_a_deadlock)
{
    assert_int_equal(run_simulated(be_a_grandparent, NULL), 0);
    assert_checked();
}

struct spawning {
    struct osr_group *group;
    struct osr_task spawner;
};

OSR_TASK(join_ones_spawner, struct spawning, s) { return osr_task_join(s->spawner); }

OSR_TASK(spawn_elsewhere, struct spawning, s)
{
    s->spawner = osr_self();
    check_int(osr_spawn(s->group, join_ones_spawner, s), 0);
    return osr_sleep(osr_ms(1));
}

OSR_TASK(let_a_stranger_spawn_its_joiner, void, unused)
{
    struct osr_group outer, inner;
    struct spawning spawning = {.group = &inner};

    osr_group_open(&outer);
    osr_group_open(&inner);
    osr_spawn(&outer, spawn_elsewhere, &spawning);
    check_int(osr_sleep(osr_us(1)), 0);
    check_int(osr_group_close(&inner, 0), 0);
    check_int(osr_now(), osr_ms(1));
    return osr_group_close(&outer, 0);
}

TEST(joining_ones_spawner_is_no_deadlock_where_it_owns_another_group)
{
    assert_int_equal(run_simulated(let_a_stranger_spawn_its_joiner, NULL), 0);
    assert_checked();
}

OSR_TASK(release_under_a_joiner, void, unused)
{
    struct sleeper sleeper = {osr_ms(5), 42};
    struct osr_group group;
    struct osr_task target, joiner;
    int rc;

    osr_group_open(&group);
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &target);
    osr_spawn(&group, join_it, &target, .handle = &joiner);
    osr_yield();
    check_int(osr_task_release(&target), 0);
    rc = osr_task_join(joiner);
    check(rc == 42 || rc == -ESTALE);
    (void)osr_group_close(&group, 0);
    return 0;
}

TEST(releasing_a_handle_that_another_task_joins_by_harms_nobody)
{
    assert_int_equal(run_simulated(release_under_a_joiner, NULL), 0);
    assert_checked();
}

/* ---- Asking -------------------------------------------------------------------------------------------- */

OSR_TASK(ask_for_states, void, unused)
{
    struct sleeper sleeper = {osr_ms(1), 7};
    struct osr_group group;
    struct osr_scope shield;
    struct osr_task done, failed, cancelled;
    int rc = 99;

    check_int(osr_task_state(osr_self()), OSR_TASK_RUNNING);
    osr_group_open(&group);
    osr_shield_open(&shield, osr_s(1));
    osr_spawn(&group, sleep_then_give, &sleeper, .handle = &done);
    osr_spawn(&group, sleep_forever, NULL, .handle = &cancelled);
    check_int(osr_task_state(done), OSR_TASK_READY);
    check_int(osr_task_result(done, &rc), -EINPROGRESS);
    osr_yield();
    check_int(osr_task_state(done), OSR_TASK_WAITING);
    check_int(osr_task_result(done, &rc), -EINPROGRESS);
    check_int(rc, 99);
    osr_task_join(done);
    check_int(osr_task_state(done), OSR_TASK_DONE);
    check_int(osr_task_cancel(done, "too late"), 0);
    check_int(osr_task_state(done), OSR_TASK_DONE);
    check_int(osr_task_join(done), 7);
    osr_spawn(&group, fail, NULL, .handle = &failed);
    osr_yield();
    check_int(osr_task_state(failed), OSR_TASK_FAILED);
    check_int(osr_task_result(failed, &rc), 0);
    check_int(rc, -EIO);
    check_int(osr_task_join(cancelled), -OSR_ETASKCANCELED);
    check_int(osr_task_state(cancelled), OSR_TASK_CANCELED);
    osr_scope_close(&shield, 0);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

OSR_TASK(look_at_itself, int, state)
{
    *state = osr_task_state(osr_self());
    return 0;
}

SIMULATED_TEST(a_task_that_asks_about_itself_runs_however_it_was_begun)
{
    struct osr_group group;
    int eager = 0, usual = 0;

    osr_group_open(&group);
    check_int(osr_spawn(&group, look_at_itself, &eager, .eager = true), 0);
    check_int(eager, OSR_TASK_RUNNING);
    check_int(osr_spawn(&group, look_at_itself, &usual), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(usual, OSR_TASK_RUNNING);
    return 0;
}

TEST(a_handle_tells_the_state_and_the_result)
{
    assert_int_equal(run_simulated(ask_for_states, NULL), 0);
    assert_checked();
}

static const char *sleeps_at, *joins_at, *closes_at;

OSR_TASK(sleep_somewhere, void, unused)
{
    sleeps_at = OSR_HERE; return osr_sleep(osr_ms(5));
}

OSR_TASK(join_somewhere, struct osr_task, target)
{
    joins_at = OSR_HERE; return osr_task_join(*target);
}

OSR_TASK(close_somewhere, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_somewhere, NULL);
    closes_at = OSR_HERE; return osr_group_close(&group, 0);
}

OSR_TASK(ask_where, void, unused)
{
    struct osr_group group;
    struct osr_task sleeper, joiner, closer;
    struct osr_task_wait wait = {"", ""};

    osr_group_open(&group);
    osr_spawn(&group, sleep_somewhere, NULL, .handle = &sleeper);
    osr_spawn(&group, join_somewhere, &sleeper, .handle = &joiner);
    osr_spawn(&group, close_somewhere, NULL, .handle = &closer);
    check_int(osr_task_where(sleeper, &wait), 0);
    check(wait.call == NULL && wait.where == NULL);
    osr_yield();
    check_int(osr_task_where(sleeper, &wait), 0);
    check_text(wait.call, "osr_sleep");
    check_text(wait.where, sleeps_at);
    check_int(osr_task_where(joiner, &wait), 0);
    check_text(wait.call, "osr_task_join");
    check_text(wait.where, joins_at);
    check_int(osr_task_where(closer, &wait), 0);
    check_text(wait.call, "osr_group_close");
    check_text(wait.where, closes_at);
    check_int(osr_task_where(osr_self(), &wait), 0);
    check(wait.call == NULL && wait.where == NULL);
    osr_task_join(closer);
    check_int(osr_task_where(sleeper, &wait), 0);
    check(wait.call == NULL && wait.where == NULL);
    return osr_group_close(&group, 0);
}

TEST(a_handle_tells_where_a_parked_task_waits)
{
    assert_int_equal(run_simulated(ask_where, NULL), 0);
    assert_checked();
}

OSR_TASK(ask_names, void, unused)
{
    struct osr_group group;
    struct osr_task named, unnamed, long_named;
    char name[100];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    check_text(osr_task_name(osr_self()), "ask_names");
    osr_group_open(&group);
    osr_spawn(&group, end_at_once, NULL, .name = "primary", .handle = &named);
    osr_spawn(&group, end_at_once, NULL, .handle = &unnamed);
    osr_spawn(&group, end_at_once, NULL, .name = name, .handle = &long_named);
    check_text(osr_task_name(named), "primary");
    check_text(osr_task_name(unnamed), "end_at_once");
    check_int(strlen(osr_task_name(long_named)), 63);
    return osr_group_close(&group, 0);
}

TEST(a_task_is_called_as_its_spawner_says_or_else_like_its_function)
{
    assert_int_equal(run_simulated(ask_names, NULL), 0);
    assert_checked();
}

TEST(the_root_may_be_named)
{
    struct osr_task handle;

    assert_int_equal(run_simulated(leave_handle_behind, &handle, .name = "main"), 0);
    assert_true(is_nothing(osr_self()));
}

OSR_TASK(keep_an_error, struct osr_error *, kept)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group);
    osr_spawn(&group, fail, NULL, .handle = &handle);
    check(osr_task_error(handle) == NULL);
    osr_yield();
    *kept = osr_error_retain(osr_task_error(handle));
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

TEST(a_tasks_error_can_be_kept_beyond_its_handle)
{
    struct osr_error *kept = NULL;

    assert_int_equal(run_simulated(keep_an_error, &kept, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_clear();
    assert_string_equal(osr_error_message(kept), "the disk is on fire");
    osr_error_release(kept);
    assert_int_equal(counting.live, 0);
}

/* ---- Cancelling a task --------------------------------------------------------------------------------- */

OSR_TASK(start_although_cancelled, void, unused)
{
    tell("started");
    check(osr_cancelled());
    check_int(osr_check(), -ECANCELED);
    check_int(osr_sleep(0), -ECANCELED);
    return -ECANCELED;
}

OSR_TASK(cancel_before_the_first_run, void, unused)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group);
    osr_spawn(&group, start_although_cancelled, NULL, .handle = &handle);
    check_int(osr_task_cancel(handle, "changed my mind"), 0);
    check_int(osr_task_state(handle), OSR_TASK_READY);
    tell("cancelled");
    check_int(osr_task_join(handle), -OSR_ETASKCANCELED);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

TEST(a_task_cancelled_before_it_begins_still_starts)
{
    assert_int_equal(run_simulated(cancel_before_the_first_run, NULL), 0);
    assert_checked();
    assert_story("cancelled\nstarted\n");
}

OSR_TASK(cancel_itself_then_give_42, void, unused)
{
    check_int(osr_task_cancel(osr_self(), "by itself"), 0);
    check(osr_cancelled());
    return 42;
}

OSR_TASK(watch_it_cancel_itself, void, unused)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group);
    osr_spawn(&group, cancel_itself_then_give_42, NULL, .handle = &handle);
    check_int(osr_task_join(handle), 42);
    check_int(osr_task_state(handle), OSR_TASK_DONE);
    return osr_group_close(&group, 0);
}

TEST(a_task_that_cancels_itself_and_never_waits_keeps_its_result)
{
    assert_int_equal(run_simulated(watch_it_cancel_itself, NULL), 0);
    assert_int_equal(run_simulated(cancel_itself_then_give_42, NULL), 42);
    assert_checked();
}

OSR_TASK(cancel_itself_and_obey, void, unused)
{
    osr_task_cancel(osr_self(), "by itself");
    return osr_check();
}

OSR_TASK(watch_it_obey, void, unused)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group);
    osr_spawn(&group, cancel_itself_and_obey, NULL, .handle = &handle);
    check_int(osr_task_join(handle), -OSR_ETASKCANCELED);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_group_close(&group, 3), 3);
    return 0;
}

TEST(a_cancelled_task_absorbs_its_own_cancellation)
{
    assert_int_equal(run_simulated(watch_it_obey, NULL), 0);
    assert_checked();
}

TEST(a_cancelled_root_makes_the_run_say_so)
{
    assert_int_equal(run_simulated(cancel_itself_and_obey, NULL), -OSR_ETASKCANCELED);
    osr_error_clear();
}

OSR_TASK(own_a_group_until_cancelled, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, sleep_forever, NULL);
    return osr_group_close(&group, osr_sleep(OSR_NEVER));
}

OSR_TASK(cancel_a_subtree, void, unused)
{
    struct sleeper sibling = {osr_ms(2), 9};
    struct osr_group group;
    struct osr_task parent, other;

    osr_group_open(&group);
    osr_spawn(&group, own_a_group_until_cancelled, NULL, .handle = &parent);
    osr_spawn(&group, sleep_then_give, &sibling, .handle = &other);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_task_cancel(parent, "the whole branch");
    check_int(osr_task_join(parent), -OSR_ETASKCANCELED);
    check_int(osr_now(), osr_ms(1));
    check_int(osr_task_join(other), 9);
    return osr_group_close(&group, 0);
}

TEST(cancelling_a_task_cancels_what_it_owns_and_not_its_siblings)
{
    assert_int_equal(run_simulated(cancel_a_subtree, NULL), 0);
    assert_checked();
}

/* ---- Memory -------------------------------------------------------------------------------------------- */

struct memory {
    long rounds, live_before, live_after;
};

OSR_TASK(spawn_without_handles, struct memory, m)
{
    struct osr_group group;
    long i;

    osr_group_open(&group);
    for (i = 0; i < m->rounds + 100; i++) {
        if (i == 100)
            m->live_before = counting.live;
        check_int(osr_spawn(&group, end_at_once, NULL, .name = "one of very many"), 0);
        osr_yield();
    }
    m->live_after = counting.live;
    return osr_group_close(&group, 0);
}

TEST(a_servers_group_does_not_grow)
{
    struct memory m = {.rounds = sized(100000, 5000)};

    assert_int_equal(run_simulated(spawn_without_handles, &m, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(m.live_after, m.live_before);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(spawn_and_release, struct memory, m)
{
    struct osr_group group;
    struct osr_task handle;
    long i;

    osr_group_open(&group);
    for (i = 0; i < m->rounds + 100; i++) {
        if (i == 100)
            m->live_before = counting.live;
        osr_spawn(&group, end_at_once, NULL, .handle = &handle);
        osr_task_join(handle);
        check_int(osr_task_release(&handle), 0);
    }
    m->live_after = counting.live;
    return osr_group_close(&group, 0);
}

TEST(released_outcomes_take_no_memory)
{
    struct memory m = {.rounds = sized(20000, 2000)};

    assert_int_equal(run_simulated(spawn_and_release, &m, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(m.live_after, m.live_before);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(keep_outcomes_until_the_close, struct memory, m)
{
    struct osr_task handle;
    struct osr_group group;
    long i, round;

    for (round = 0; round < 3; round++) {
        osr_group_open(&group);
        for (i = 0; i < m->rounds; i++)
            osr_spawn(&group, end_at_once, NULL, .handle = &handle);
        osr_group_close(&group, 0);
        *(round == 0 ? &m->live_before : &m->live_after) = counting.live;
    }
    return 0;
}

TEST(kept_outcomes_go_when_the_group_closes)
{
    struct memory m = {.rounds = 1000};

    assert_int_equal(run_simulated(keep_outcomes_until_the_close, &m, .allocator = &counting_allocator), 0);
    assert_true(m.live_after <= m.live_before);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(sleep_a_little, void, unused)
{
    return osr_sleep(osr_ms(1));
}

OSR_TASK(wait_for_event, struct osr_event, event)
{
    return osr_event_wait(event);
}

/* What programs do all the time: spawning, switching, waiting and being woken, opening and closing. */
static void do_what_is_common(void)
{
    struct osr_event event;
    struct osr_scope scope;
    struct osr_group group;
    int i;

    osr_event_init(&event);
    osr_timeout_open(&scope, osr_s(1));
    osr_group_open(&group);
    for (i = 0; i < 100; i++) {
        check_int(i % 2 ? osr_spawn(&group, sleep_a_little, NULL) : osr_spawn(&group, end_at_once, NULL), 0);
        check_int(osr_spawn(&group, wait_for_event, &event), 0);
    }
    check_int(osr_yield(), 0);
    check_int(osr_sleep(osr_ms(2)), 0);
    osr_event_set(&event);
    check_int(osr_group_close(&group, 0), 0);
    osr_group_open(&group);
    for (i = 0; i < 100; i++)
        check_int(osr_spawn(&group, sleep_a_little, NULL), 0);
    check_int(osr_yield(), 0);
    osr_group_cancel(&group, "enough");
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_scope_close(&scope, 0), 0);
}

OSR_TASK(count_allocations_of_what_is_common, void, unused)
{
    long made;

    do_what_is_common(); /* stacks, and room for timers and errors */
    made = counting.made;
    do_what_is_common();
    check_int(counting.made - made, 0);
    return 0;
}

TEST(what_is_common_allocates_nothing)
{
    assert_int_equal(run_simulated(count_allocations_of_what_is_common, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(osr_run(count_allocations_of_what_is_common, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

/* ---- Fairness ------------------------------------------------------------------------------------------ */

struct spinning {
    int (*call)(void);
    bool stop;
};

static int just_check(void) { return osr_check(); }
static int just_yield(void) { return osr_yield(); }
static int just_sleep(void) { return osr_sleep(0); }

OSR_TASK(spin_until_stopped, struct spinning, s)
{
    long i;

    for (i = 0; i < 1000000 && !s->stop; i++)
        if (s->call() < 0)
            break;
    check(s->stop);
    return 0;
}

OSR_TASK(stop_spinning, struct spinning, s)
{
    s->stop = true;
    return 0;
}

OSR_TASK(spin_beside_another, struct spinning, s)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, spin_until_stopped, s);
    osr_spawn(&group, stop_spinning, s);
    return osr_group_close(&group, 0);
}

TEST(a_task_that_only_checks_yields_or_sleeps_for_nothing_lets_others_run)
{
    struct spinning checks = {just_check, false}, yields = {just_yield, false}, sleeps = {just_sleep, false};

    assert_int_equal(run_simulated(spin_beside_another, &checks), 0);
    assert_int_equal(run_simulated(spin_beside_another, &yields), 0);
    assert_int_equal(run_simulated(spin_beside_another, &sleeps), 0);
    assert_checked();
}

OSR_TASK(spin_for_five_seconds, bool, stop)
{
    int64_t end = osr_time_add(osr_now(), osr_s(5));

    while (!*stop && osr_now() < end)
        osr_check();
    check(*stop);
    return 0;
}

OSR_TASK(stop_after_a_moment, bool, stop)
{
    int rc = osr_sleep(osr_ms(2));

    *stop = true;
    return rc;
}

OSR_TASK(spin_beside_a_timer, void, unused)
{
    struct osr_group group;
    bool stop = false;

    osr_group_open(&group);
    osr_spawn(&group, spin_for_five_seconds, &stop);
    osr_spawn(&group, stop_after_a_moment, &stop);
    return osr_group_close(&group, 0);
}

TEST(timers_are_looked_at_although_a_task_is_always_ready)
{
    assert_int_equal(osr_run(spin_beside_a_timer, NULL), 0);
    assert_checked();
}

OSR_TASK(take_turns, const char *, name)
{
    int i;

    for (i = 0; i < 3; i++) {
        tell("%s %d", *name, i);
        osr_yield();
    }
    return 0;
}

OSR_TASK(take_turns_in_threes, void, unused)
{
    static const char *const names[] = {"a", "b", "c"};
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, take_turns, (const char **)&names[i]);
    return osr_group_close(&group, 0);
}

TEST(ready_tasks_run_in_the_order_in_which_they_became_ready)
{
    assert_int_equal(run_simulated(take_turns_in_threes, NULL), 0);
    assert_story("a 0\nb 0\nc 0\na 1\nb 1\nc 1\na 2\nb 2\nc 2\n");
}

OSR_TASK(use_made_up_handles, void, unused)
{
    static const uint64_t ids[] = {UINT64_MAX, (uint64_t)1 << 32 | UINT32_MAX, (uint64_t)1 << 32 | 1 << 30, 1};
    size_t i;

    for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        check_stale((struct osr_task){ids[i]});
    return 0;
}

TEST(a_handle_that_was_never_given_is_stale)
{
    assert_int_equal(run_simulated(use_made_up_handles, NULL), 0);
    assert_checked();
}

TEST(runs_give_their_records_back)
{
    struct osr_task first, handle;
    int i;

    for (i = 0; i < 500; i++) {
        assert_int_equal(run_simulated(leave_handle_behind, &handle), 0);
        if (i == 0)
            first = handle;
    }
    assert_true((uint32_t)handle.id_ < (uint32_t)first.id_ + 1000);
}

static struct osr_task ended;
static int just_join(void) { return osr_task_join(ended); }

OSR_TASK(join_again_and_again_beside_another, struct spinning, s)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, end_at_once, NULL, .handle = &ended);
    check_int(osr_task_join(ended), 0);
    osr_spawn(&group, spin_until_stopped, s);
    osr_spawn(&group, stop_spinning, s);
    return osr_group_close(&group, 0);
}

TEST(a_task_that_only_joins_what_has_ended_lets_others_run)
{
    struct spinning joins = {just_join, false};

    assert_int_equal(run_simulated(join_again_and_again_beside_another, &joins), 0);
    assert_checked();
}

/* ---- Handles in a bad hour ----------------------------------------------------------------------------- */

OSR_TASK(forge_handles, void, unused)
{
    const uint32_t indices[] = {0, 128 * 32767, 128 * 32767 + 127, 128u * 32768, UINT32_MAX};
    size_t i;

    for (i = 0; i < sizeof(indices) / sizeof(indices[0]); i++)
        check_stale((struct osr_task){(uint64_t)0xffffffff << 32 | indices[i]});
    return 0;
}

TEST(a_forged_handle_is_stale)
{
    assert_int_equal(run_simulated(forge_handles, NULL), 0);
    assert_checked();
}

OSR_TASK(ask_for_itself_without_memory, void, unused)
{
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    check(is_nothing(osr_self()));
    counting.fail_at = 0;
    check(!is_nothing(osr_self()));
    check_int(osr_task_state(osr_self()), OSR_TASK_RUNNING);
    return 0;
}

TEST(without_memory_a_task_has_no_handle_to_itself_until_there_is_some)
{
    assert_int_equal(run_simulated(ask_for_itself_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(ask_for_the_name_of_what_has_ended, void, unused)
{
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group);
    osr_spawn(&group, end_at_once, NULL, .name = "the late one", .handle = &task);
    check_text(osr_task_name(task), "the late one");
    check_int(osr_task_join(task), 0);
    check_text(osr_task_name(task), "the late one");
    return osr_group_close(&group, 0);
}

TEST(a_task_that_has_ended_keeps_its_name_for_its_handle)
{
    assert_int_equal(run_simulated(ask_for_the_name_of_what_has_ended, NULL), 0);
    assert_checked();
}

static unsigned refuse_mappings(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)n;
    return *(bool *)arg && kind == OSR_CHOICE_FAULT && strcmp(what, "mmap") == 0;
}

/* Those who have ended leave their stacks to the next, but need their places in the table of handles. */
OSR_TASK(keep_handles_until_the_table_is_full, bool, refused)
{
    struct osr_group group;
    struct osr_task task;
    int rc = 0, kept = 0;

    osr_group_open(&group);
    check_int(osr_spawn(&group, end_at_once, NULL), 0);
    *refused = true;
    while (rc == 0 && kept < 1000000) {
        rc = osr_spawn(&group, end_at_once, NULL, .handle = &task);
        kept += rc == 0;
        osr_yield();
    }
    check_int(rc, -ENOMEM);
    check_int(osr_group_running(&group), 0);
    *refused = false;
    check_int(osr_spawn(&group, end_at_once, NULL, .handle = &task), 0);
    check_int(osr_task_join(task), 0);
    return osr_group_close(&group, 0);
}

TEST(a_spawn_for_whose_handle_there_is_no_room_is_refused)
{
    bool refused = false;

    assert_int_equal(run_simulated(keep_handles_until_the_table_is_full, &refused, .choose = refuse_mappings,
                                   .choose_arg = &refused),
                     0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_handle_of_zeros_is_a_handle_to_nothing),
        story_test(a_released_handle_is_stale_and_so_is_every_copy),
        story_test(a_task_whose_handle_was_released_goes_on),
        story_test(handles_are_stale_once_their_group_is_closed),
        story_test(a_tasks_own_handle_keeps_no_outcome),
        story_test(a_handle_is_never_given_again),
        story_test(many_outcomes_can_be_kept_at_once),
        story_test(a_handle_from_an_earlier_run_is_stale),
        story_test(tasks_scopes_and_groups_of_another_runtime_are_out_of_reach),
        story_test(a_task_can_be_joined_again_and_again),
        story_test(several_tasks_can_join_one),
        story_test(joining_a_task_that_failed_gives_its_very_error),
        story_test(an_error_passed_on_by_those_who_joined_is_counted_once),
        story_test(an_error_passed_on_by_those_who_joined_is_still_a_lone_one),
        story_test(joining_a_cancelled_task_says_so_and_cancels_nobody_else),
        story_test(passing_on_that_another_task_was_cancelled_is_an_error),
        story_test(cancelling_the_joiner_leaves_the_target_alone),
        story_test(a_join_checks_for_cancellation_before_it_looks_at_the_target),
        story_test(a_target_that_ended_before_the_joiner_was_cancelled_is_reported),
        story_test(a_joiner_cancelled_before_the_target_ended_is_cut),
        story_test(joining_oneself_or_an_ancestor_is_a_deadlock),
        story_test(joining_ones_spawner_is_no_deadlock_where_it_owns_another_group),
        story_test(releasing_a_handle_that_another_task_joins_by_harms_nobody),
        story_test(a_handle_tells_the_state_and_the_result),
        story_test(a_task_that_asks_about_itself_runs_however_it_was_begun),
        story_test(a_handle_tells_where_a_parked_task_waits),
        story_test(a_task_is_called_as_its_spawner_says_or_else_like_its_function),
        story_test(the_root_may_be_named),
        story_test(a_tasks_error_can_be_kept_beyond_its_handle),
        story_test(a_task_cancelled_before_it_begins_still_starts),
        story_test(a_task_that_cancels_itself_and_never_waits_keeps_its_result),
        story_test(a_cancelled_task_absorbs_its_own_cancellation),
        story_test(a_cancelled_root_makes_the_run_say_so),
        story_test(cancelling_a_task_cancels_what_it_owns_and_not_its_siblings),
        story_test(a_servers_group_does_not_grow),
        story_test(released_outcomes_take_no_memory),
        story_test(what_is_common_allocates_nothing),
        story_test(kept_outcomes_go_when_the_group_closes),
        story_test(a_task_that_only_checks_yields_or_sleeps_for_nothing_lets_others_run),
        story_test(timers_are_looked_at_although_a_task_is_always_ready),
        story_test(ready_tasks_run_in_the_order_in_which_they_became_ready),
        story_test(a_handle_that_was_never_given_is_stale),
        story_test(runs_give_their_records_back),
        story_test(a_task_that_only_joins_what_has_ended_lets_others_run),
        story_test(a_forged_handle_is_stale),
        story_test(without_memory_a_task_has_no_handle_to_itself_until_there_is_some),
        story_test(a_task_that_has_ended_keeps_its_name_for_its_handle),
        story_test(a_spawn_for_whose_handle_there_is_no_room_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
