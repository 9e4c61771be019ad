/* Scopes: opening and closing, cancelling and its reasons, shields, and what misuse gives. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* ---- Who else takes part ------------------------------------------------------------------------------- */

/* Cancels a scope after a while. */
struct cancel {
    struct osr_scope *scope;
    int64_t after;
    const char *text;
};

OSR_TASK(canceller, struct cancel, c)
{
    int rc = osr_sleep(c->after);

    return rc < 0 ? rc : osr_scope_cancel(c->scope, c->text);
}

/* Waits, and notes how that ended and when. */
struct wait {
    int64_t duration;
    int rc;
    int64_t ended;
};

OSR_TASK(waiter, struct wait, w)
{
    w->rc = osr_sleep(w->duration);
    w->ended = osr_now();
    return w->rc;
}

/* Waits, then ends with a result of its own. */
struct ending {
    int64_t after;
    int result;
};

OSR_TASK(ends_with, struct ending, e)
{
    int rc = osr_sleep(e->after);

    return rc < 0 ? rc : e->result;
}

OSR_TASK(sets_flag, bool, flag)
{
    *flag = true;
    return 0;
}

OSR_TASK(returns_canceled, void, unused) { return -ECANCELED; }

OSR_TASK(fails, void, unused) { return osr_fail_here("failed.c:3", -EIO, "the disk is gone"); }

#define check_reason(scope, code, who, where, text) check_reason_is((scope), (code), (who), (where), (text), OSR_HERE)

static void check_reason_is(const struct osr_scope *scope, int code, const char *who, const char *where,
                            const char *text, const char *here)
{
    const struct osr_reason *reason = osr_scope_reason(scope);

    check_that(reason != NULL, "there is a reason", here);
    if (!reason)
        return;
    check_equal(reason->code, code, "the reason's code", here);
    check_same_text(reason->who, who, "who cancelled", here);
    if (where)
        check_same_text(reason->where, where, "where it was cancelled", here);
    if (text)
        check_same_text(reason->text, text, "the reason's text", here);
    check_that(reason->text != NULL, "the reason has a text", here);
}

/* The slot holds an exception group with this one leaf. */
#define check_lone_leaf(code, task) check_lone_leaf_is((code), (task), OSR_HERE)

static void check_lone_leaf_is(int code, const char *task, const char *here)
{
    const struct osr_error *tree = osr_error_last(), *leaf = osr_error_find(tree, code);

    check_that(osr_error_is_group(tree), "the slot holds an exception group", here);
    check_equal((long long)osr_error_count(tree), 1, "the number of leaves", here);
    check_that(leaf != NULL, "the leaf has the expected code", here);
    if (leaf)
        check_same_text(osr_error_task(leaf), task, "the leaf's task", here);
}

/* ---- Opening and closing ------------------------------------------------------------------------------- */

SIMULATED_TEST(test_a_scope_that_is_not_cancelled_passes_its_result_on)
{
    static const int forms[] = {OSR_SCOPE_TIMEOUT, OSR_SCOPE_MOVE_ON, OSR_SCOPE_SHIELD};
    static const int results[] = {0, 7, -EIO, -ECANCELED, -OSR_EGROUP};
    struct osr_scope scope;
    size_t form, result;

    for (form = 0; form < 3; form++) {
        for (result = 0; result < 5; result++) {
            check_int(osr_scope_open_here(&scope, forms[form], OSR_NEVER, OSR_HERE), 0);
            check_int(osr_check(), 0);
            check_int(osr_scope_close(&scope, results[result]), results[result]);
            check(!osr_scope_cancelled(&scope));
            check(!osr_scope_caught(&scope));
            check(osr_scope_reason(&scope) == NULL);
        }
    }
    return 0;
}

SIMULATED_TEST(test_a_scope_can_be_opened_again_once_it_is_closed)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "the first time");
    check_int(osr_scope_close(&scope, osr_check()), -OSR_ESCOPECANCELED);

    check_int(osr_scope_open(&scope), 0);
    check(!osr_scope_cancelled(&scope));
    check(!osr_scope_caught(&scope));
    check(osr_scope_reason(&scope) == NULL);
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

/* ---- Cancelling ---------------------------------------------------------------------------------------- */

SIMULATED_TEST(test_every_call_in_a_cancelled_scope_is_refused_until_the_scope_is_closed)
{
    struct osr_scope scope;
    int i;

    osr_scope_open(&scope);
    check_int(osr_check(), 0);
    check(!osr_cancelled());
    check_int(osr_scope_cancel(&scope, "enough"), 0);
    check(osr_cancelled());
    for (i = 0; i < 3; i++) {
        check_int(osr_check(), -ECANCELED);
        check_int(osr_yield(), -ECANCELED);
        check_int(osr_sleep(0), -ECANCELED);
        check_int(osr_sleep(osr_ms(1)), -ECANCELED);
        check_int(osr_sleep(OSR_NEVER), -ECANCELED);
        check_int(osr_sleep_until(osr_ms(1)), -ECANCELED);
    }
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);

    check(!osr_cancelled());
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_now(), osr_ms(1));
    return 0;
}

SIMULATED_TEST(test_scopes_opened_in_a_cancelled_scope_are_cut_from_the_start)
{
    struct osr_scope outer, inner;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_timeout_open(&inner, osr_s(1)), 0);
    check_int(osr_check(), -ECANCELED);
    check(!osr_scope_cancelled(&inner)); /* it is the one outside that is cancelled */
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check(!osr_scope_caught(&inner));
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    check(osr_scope_caught(&outer));
    return 0;
}

OSR_TASK(runs_a_group, struct wait, w)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, waiter, w);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(test_cancelling_reaches_every_task_below_and_nobody_else)
{
    struct osr_group helpers, group;
    struct osr_scope scope;
    struct cancel cancel = {&scope, osr_ms(5), "enough"};
    struct wait outside = {osr_ms(20), 1, 0}, child = {osr_ms(20), 1, 0}, grandchild = {osr_ms(20), 1, 0};

    osr_group_open(&helpers);
    osr_spawn(&helpers, waiter, &outside);
    osr_spawn(&helpers, canceller, &cancel);
    osr_scope_open(&scope);
    osr_group_open(&group);
    osr_spawn(&group, waiter, &child);
    osr_spawn(&group, runs_a_group, &grandchild);

    check_int(osr_group_close(&group, 0), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_group_close(&helpers, 0), 0);

    check_int(child.rc, -ECANCELED);
    check_int(child.ended, osr_ms(5));
    check_int(grandchild.rc, -ECANCELED);
    check_int(grandchild.ended, osr_ms(5));
    check_int(outside.rc, 0);
    check_int(outside.ended, osr_ms(20));
    return 0;
}

SIMULATED_TEST(test_an_inner_scope_that_is_cancelled_leaves_the_outer_one_alone)
{
    struct osr_scope outer, inner;

    osr_scope_open(&outer);
    osr_scope_open(&inner);
    osr_scope_cancel(&inner, NULL);
    check_int(osr_scope_close(&inner, osr_check()), -OSR_ESCOPECANCELED);
    check_int(osr_check(), 0);
    check(!osr_scope_cancelled(&outer));
    check_int(osr_scope_close(&outer, 0), 0);
    return 0;
}

SIMULATED_TEST(test_cancelling_again_changes_nothing_and_the_first_reason_stays)
{
    struct osr_group helpers;
    struct osr_scope scope;
    struct cancel first = {&scope, osr_ms(1), "the first"}, second = {&scope, osr_ms(2), "the second"};

    osr_group_open(&helpers);
    osr_spawn(&helpers, canceller, &first, .name = "early");
    osr_spawn(&helpers, canceller, &second, .name = "late");
    osr_timeout_open(&scope, osr_ms(3));

    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(1));
    check_reason(&scope, -ECANCELED, "early", NULL, "the first");
    linger(osr_ms(9)); /* past the second cancel and the deadline */
    check_reason(&scope, -ECANCELED, "early", NULL, "the first");
    check_int(osr_scope_cancel(&scope, "the third"), 0);
    check_reason(&scope, -ECANCELED, "early", NULL, "the first");

    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&helpers, 0);
}

SIMULATED_TEST(test_what_the_first_to_cancel_left_unsaid_nobody_says_later)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(3));
    check_int(osr_scope_cancel(&scope, NULL), 0);
    check_int(osr_scope_cancel(&scope, "the second"), 0);
    linger(osr_ms(9));
    check_reason(&scope, -ECANCELED, "root", NULL, "");
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

SIMULATED_TEST(test_a_deadline_that_came_first_stays_the_reason)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_cancel(&scope, "too late"), 0);
    check_reason(&scope, -ETIMEDOUT, "", NULL, NULL);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_a_reason_says_who_cancelled_where_and_why)
{
    struct osr_scope scope;
    const char *place;

    osr_scope_open(&scope);
    osr_scope_cancel_here(&scope, "the user left", "session.c:88");
    check_reason(&scope, -ECANCELED, "root", "session.c:88", "the user left");
    osr_scope_close(&scope, osr_check());
    check_reason(&scope, -ECANCELED, "root", "session.c:88", "the user left"); /* it outlives the close */

    osr_scope_open(&scope);
    place = OSR_HERE, osr_scope_cancel(&scope, NULL);
    check_reason(&scope, -ECANCELED, "root", place, NULL);
    osr_scope_close(&scope, osr_check());
    return 0;
}

SIMULATED_TEST(test_a_deadlines_reason_names_the_place_of_the_scope)
{
    struct osr_scope scope;

    osr_scope_open_here(&scope, OSR_SCOPE_TIMEOUT, osr_ms(1), "request.c:12");
    check(osr_scope_reason(&scope) == NULL);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_reason(&scope, -ETIMEDOUT, "", "request.c:12", NULL);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_an_errors_reason_names_the_error_its_task_and_its_place)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fails, NULL, .name = "culprit");
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check(osr_scope_cancelled(&group.scope));
    check_reason(&group.scope, -EIO, "culprit", "failed.c:3", NULL);
    check_int(osr_group_close(&group, -ECANCELED), -OSR_EGROUP);
    check_lone_leaf(-EIO, "culprit");
    check(osr_scope_caught(&group.scope));
    return 0;
}

OSR_TASK(self_canceller, struct osr_scope, scope)
{
    osr_scope_cancel(scope, "by a long name");
    return 0;
}

SIMULATED_TEST(test_a_long_name_is_cut_in_the_reason)
{
    struct osr_group group;
    char name[201] = "", kept[OSR_NAME_SIZE] = "";

    memset(name, 'n', sizeof(name) - 1);
    memset(kept, 'n', sizeof(kept) - 1);
    osr_group_open(&group);
    osr_spawn(&group, self_canceller, &group.scope, .name = name);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_reason(&group.scope, -ECANCELED, kept, NULL, "by a long name");
    check_int(osr_group_close(&group, -ECANCELED), 0);
    return 0;
}

SIMULATED_TEST(test_a_scope_has_caught_only_what_reached_its_close)
{
    struct osr_scope scope;

    osr_move_on_open(&scope, OSR_NEVER);
    osr_scope_cancel(&scope, NULL);
    check(!osr_scope_caught(&scope)); /* not before the close */
    check_int(osr_scope_close(&scope, osr_check()), 0);
    check(osr_scope_caught(&scope));

    osr_move_on_open(&scope, OSR_NEVER);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_scope_close(&scope, 5), 5); /* nothing inside was cut */
    check(osr_scope_cancelled(&scope));
    check(!osr_scope_caught(&scope));
    return 0;
}

SIMULATED_TEST(test_cancelling_switches_to_nobody)
{
    struct osr_group group;
    struct wait waits[3] = {{OSR_NEVER, 1, 0}, {OSR_NEVER, 1, 0}, {OSR_NEVER, 1, 0}};
    bool ran = false;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, waiter, &waits[i]);
    osr_sleep(osr_ms(1));
    osr_spawn(&group, sets_flag, &ran);
    osr_group_cancel(&group, NULL);
    check(!ran);
    for (i = 0; i < 3; i++)
        check_int(waits[i].rc, 1);
    check_int(osr_group_running(&group), 4);
    check_int(osr_group_close(&group, 0), 0);
    check(ran); /* a task that was spawned always starts */
    for (i = 0; i < 3; i++)
        check_int(waits[i].rc, -ECANCELED);
    return 0;
}

static void count_wakes(void *arg, const struct osr_trace_event *event)
{
    int *wakes = arg;

    if (event->kind == OSR_TRACE_WAKE && strcmp(event->name, "parked") == 0) {
        check_int(event->code, -ECANCELED);
        wakes[0]++;
    }
}

OSR_TASK(cancels_parked_tasks_in_every_way, void, unused)
{
    struct osr_scope outer, inner;
    struct osr_group group;
    struct wait waits[100];
    int i;

    osr_scope_open(&outer);
    osr_scope_open(&inner);
    osr_group_open(&group);
    for (i = 0; i < 100; i++) {
        waits[i] = (struct wait){OSR_NEVER, 1, 0};
        osr_spawn(&group, waiter, &waits[i], .name = "parked");
    }
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_group_cancel(&group, NULL);
    osr_scope_cancel(&inner, NULL);
    osr_scope_cancel(&outer, NULL);
    osr_scope_cancel(&outer, NULL);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), -ECANCELED);
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

static void test_a_parked_task_is_woken_once_however_often_it_is_cancelled(void **state)
{
    int wakes = 0;

    (void)state;
    assert_int_equal(run_simulated(cancels_parked_tasks_in_every_way, NULL, .observe = count_wakes,
                                   .observe_arg = &wakes), 0);
    assert_checked();
    assert_int_equal(wakes, 100);
}

/* ---- Before any side effect ---------------------------------------------------------------------------- */

SIMULATED_TEST(test_a_refused_sleep_takes_no_time)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_sleep(osr_s(10)), -ECANCELED);
    check_int(osr_now(), 0);
    osr_scope_close(&scope, -ECANCELED);
    return 0;
}

SIMULATED_TEST(test_a_refused_join_leaves_the_outcome_for_the_next_one)
{
    struct osr_group group;
    struct osr_scope scope;
    struct osr_task child;
    struct ending ending = {osr_ms(1), 42};

    osr_group_open(&group);
    osr_spawn(&group, ends_with, &ending, .handle = &child);
    osr_sleep(osr_ms(2));
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_task_join(child), -ECANCELED);
    osr_scope_close(&scope, -ECANCELED);
    check_int(osr_task_join(child), 42);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(test_a_refused_spawn_under_a_limit_spawns_nothing)
{
    struct osr_group group;
    struct osr_scope scope;
    struct wait first = {osr_ms(10), 1, 0}, second = {osr_ms(10), 1, 0};

    osr_group_open(&group, .limit = 1);
    check_int(osr_spawn(&group, waiter, &first), 0);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_spawn(&group, waiter, &second), -ECANCELED);
    check_int(osr_group_running(&group), 1);
    osr_scope_close(&scope, -ECANCELED);
    check_int(osr_group_close(&group, 0), 0);
    check_int(first.rc, 0);
    check_int(second.rc, 1);
    return 0;
}

OSR_TASK(uses_a_pipe_in_a_cancelled_scope, int, ends)
{
    struct osr_scope scope;
    size_t written = 99;
    char buffer[16] = "";

    osr_timeout_open(&scope, 0);
    check_int(osr_read(ends[0], buffer, sizeof(buffer)), -ECANCELED);
    check_int(osr_fd_readable(ends[0]), -ECANCELED);
    check_int(osr_fd_writable(ends[1]), -ECANCELED);
    check_int(osr_write(ends[1], "yz", 2), -ECANCELED);
    check_int(osr_write_all(ends[1], "yz", 2, &written), -ECANCELED);
    check_int(written, 0);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);

    check_int(osr_read(ends[0], buffer, sizeof(buffer)), 1);
    check_text(buffer, "x");
    check_int(osr_fd_close(ends[0]), 0);
    check_int(osr_fd_close(ends[1]), 0);
    return 0;
}

static void test_a_refused_read_or_write_moves_no_byte(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(osr_run(uses_a_pipe_in_a_cancelled_scope, ends, .debug = true), 0);
    assert_checked();
}

SIMULATED_TEST(test_a_task_that_never_waits_lets_others_run_after_a_number_of_calls)
{
    struct osr_group group;
    bool ran = false;
    long calls = 0;

    osr_group_open(&group);
    osr_spawn(&group, sets_flag, &ran);
    while (!ran && calls++ < 1000000)
        check_int(osr_check(), 0);
    check(ran);
    return osr_group_close(&group, 0);
}

/* ---- The result wins ----------------------------------------------------------------------------------- */

SIMULATED_TEST(test_a_sleep_that_ended_before_the_cancel_is_reported_as_done)
{
    struct osr_group helpers;
    struct osr_scope scope;
    struct cancel cancel = {&scope, osr_ms(10), NULL};

    osr_group_open(&helpers);
    osr_scope_open(&scope);
    osr_spawn(&helpers, canceller, &cancel);
    osr_yield(); /* the canceller sleeps first, so it runs first */
    check_int(osr_sleep(osr_ms(10)), 0);
    check(osr_scope_cancelled(&scope));
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&helpers, 0);
}

SIMULATED_TEST(test_a_join_that_completed_before_the_cancel_gives_the_result)
{
    struct osr_group helpers;
    struct osr_scope scope;
    struct osr_task child;
    struct ending ending = {osr_ms(10), 42};
    struct cancel cancel = {&scope, osr_ms(10), NULL};

    osr_group_open(&helpers);
    osr_scope_open(&scope);
    osr_spawn(&helpers, ends_with, &ending, .handle = &child);
    osr_spawn(&helpers, canceller, &cancel); /* runs after the child's end and before the join goes on */
    check_int(osr_task_join(child), 42);
    check(osr_scope_cancelled(&scope));
    check_int(osr_task_join(child), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&helpers, 0);
}

SIMULATED_TEST(test_a_cancel_that_came_before_the_result_wins_over_it)
{
    struct osr_group helpers;
    struct osr_scope scope;
    struct osr_task child;
    struct ending ending = {osr_ms(10), 42};
    struct cancel cancel = {&scope, osr_ms(10), NULL};

    osr_group_open(&helpers);
    osr_scope_open(&scope);
    osr_spawn(&helpers, canceller, &cancel); /* this time it runs before the child's end */
    osr_spawn(&helpers, ends_with, &ending, .handle = &child);
    check_int(osr_task_join(child), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_task_join(child), 42);
    return osr_group_close(&helpers, 0);
}

/* ---- Cancelling tasks ---------------------------------------------------------------------------------- */

SIMULATED_TEST(test_cancelling_a_task_cuts_it_alone)
{
    struct osr_group group;
    struct osr_task first, second;
    struct wait waits[2] = {{osr_ms(20), 1, 0}, {osr_ms(20), 1, 0}};

    osr_group_open(&group);
    osr_spawn(&group, waiter, &waits[0], .handle = &first);
    osr_spawn(&group, waiter, &waits[1], .handle = &second);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_task_cancel(first, "not needed"), 0);
    check_int(osr_task_join(first), -OSR_ETASKCANCELED);
    check_int(osr_task_state(first), OSR_TASK_CANCELED);
    check_int(osr_now(), osr_ms(1));
    check_int(osr_task_join(second), 0);
    check_int(osr_now(), osr_ms(20));
    check_int(osr_group_close(&group, 0), 0);
    check(!osr_scope_cancelled(&group.scope));
    return 0;
}

struct late_learner {
    bool started;
    int rc;
};

OSR_TASK(learns_late, struct late_learner, l)
{
    l->started = true;
    l->rc = osr_check();
    return l->rc;
}

SIMULATED_TEST(test_a_task_cancelled_before_it_begins_still_starts)
{
    struct osr_group group;
    struct osr_task child;
    struct late_learner one = {false, 1}, other = {false, 1};

    osr_group_open(&group);
    osr_spawn(&group, learns_late, &one, .handle = &child);
    osr_task_cancel(child, NULL);
    check_int(osr_task_join(child), -OSR_ETASKCANCELED);
    check(one.started);
    check_int(one.rc, -ECANCELED);

    osr_group_cancel(&group, NULL);
    check_int(osr_spawn(&group, learns_late, &other), 0); /* also in a group that is cancelled */
    check_int(osr_group_close(&group, 0), 0);
    check(other.started);
    check_int(other.rc, -ECANCELED);
    return 0;
}

OSR_TASK(ignores_its_cancellation, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    return 5;
}

SIMULATED_TEST(test_a_task_that_ignores_its_cancellation_ends_with_its_own_result)
{
    struct osr_group group;
    struct osr_task child;

    osr_group_open(&group);
    osr_spawn(&group, ignores_its_cancellation, NULL, .handle = &child);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_task_cancel(child, NULL);
    check_int(osr_task_join(child), 5);
    check_int(osr_task_state(child), OSR_TASK_DONE);
    return osr_group_close(&group, 0);
}

OSR_TASK(cancels_itself, void, unused)
{
    check_int(osr_task_cancel(osr_self(), "had enough"), 0);
    check_int(osr_check(), -ECANCELED);
    return -ECANCELED;
}

static void test_a_root_that_is_cancelled_ends_the_run_as_cancelled(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(cancels_itself, NULL), -OSR_ETASKCANCELED);
    assert_checked();
}

/* ---- Cancellations that are none ----------------------------------------------------------------------- */

SIMULATED_TEST(test_a_task_that_gives_ECANCELED_uncancelled_has_failed)
{
    struct osr_group group;
    struct wait sibling = {OSR_NEVER, 1, 0};

    osr_group_open(&group);
    osr_spawn(&group, waiter, &sibling);
    osr_spawn(&group, returns_canceled, NULL, .name = "liar");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_lone_leaf(-OSR_ESPURIOUS, "liar");
    check_int(sibling.rc, -ECANCELED);
    return 0;
}

SIMULATED_TEST(test_a_body_that_gives_ECANCELED_uncancelled_has_failed)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_group_close(&group, -ECANCELED), -OSR_EGROUP);
    check_lone_leaf(-OSR_ESPURIOUS, "root");
    return 0;
}

OSR_TASK(passes_on_what_was_absorbed, void, unused)
{
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    rc = osr_check();
    osr_scope_close(&scope, rc);
    return rc;
}

SIMULATED_TEST(test_a_task_cut_by_a_scope_of_its_own_must_not_give_ECANCELED)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, passes_on_what_was_absorbed, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_lone_leaf(-OSR_ESPURIOUS, "passes_on_what_was_absorbed");

    osr_group_open(&group);
    check_int(osr_group_close(&group, passes_on_what_was_absorbed.routine_.run(NULL)), -OSR_EGROUP);
    check_lone_leaf(-OSR_ESPURIOUS, "root");
    return 0;
}

SIMULATED_TEST(test_ECANCELED_is_genuine_where_a_cancelled_scope_is_in_sight)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_group_cancel(&group, NULL);
    osr_spawn(&group, returns_canceled, NULL); /* without a single call */
    check_int(osr_group_close(&group, -ECANCELED), 0);
    check(osr_scope_caught(&group.scope));
    return 0;
}

SIMULATED_TEST(test_ECANCELED_is_spurious_where_a_shield_hides_the_cancelled_scope)
{
    struct osr_scope outer, shield;
    struct osr_group group;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    osr_spawn(&group, returns_canceled, NULL, .name = "liar");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_lone_leaf(-OSR_ESPURIOUS, "liar");
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_scope_close(&outer, 0), 0);
    return 0;
}

static void test_a_root_that_gives_ECANCELED_uncancelled_has_failed(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(returns_canceled, NULL), -OSR_ESPURIOUS);
}

/* ---- Runaways ------------------------------------------------------------------------------------------ */

struct heard {
    int runaways;
    char text[1024];
};

static void hear(void *arg, enum osr_diagnosis kind, const char *text)
{
    struct heard *heard = arg;

    if (kind != OSR_DIAGNOSIS_RUNAWAY)
        return;
    heard->runaways++;
    snprintf(heard->text, sizeof(heard->text), "%s", text);
}

struct spin {
    long calls;
    const char *place;
};

/* Makes so many calls in a cancelled scope. */
OSR_TASK(spinner, struct spin, spin)
{
    struct osr_scope scope;
    long i;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    for (i = 0; i < spin->calls; i++)
        spin->place = OSR_HERE, check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

static void test_a_task_that_ignores_its_cancellation_is_named(void **state)
{
    struct heard heard = {0};
    struct spin spin = {10000, NULL};

    (void)state;
    assert_int_equal(run_simulated(spinner, &spin, .name = "deaf", .diagnose = hear, .diagnose_arg = &heard), 0);
    assert_checked();
    assert_int_equal(heard.runaways, 1);
    assert_non_null(strstr(heard.text, "deaf"));
    assert_non_null(strstr(heard.text, spin.place));
}

OSR_TASK(spins_twice, struct spin, spin)
{
    spinner.routine_.run(spin);
    check_int(osr_yield(), 0);
    spinner.routine_.run(spin);
    return 0;
}

static void test_refused_calls_count_only_in_a_row(void **state)
{
    struct heard heard = {0};
    struct spin spin = {9000, NULL};

    (void)state;
    assert_int_equal(run_simulated(spins_twice, &spin, .diagnose = hear, .diagnose_arg = &heard), 0);
    assert_checked();
    assert_int_equal(heard.runaways, 0);
}

OSR_TASK(spins_until_others_ran, void, unused)
{
    struct osr_group group;
    struct osr_scope scope;
    bool ran = false;
    long calls = 0;

    osr_group_open(&group);
    osr_spawn(&group, sets_flag, &ran);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    while (!ran && calls++ < 1000000)
        check_int(osr_check(), -ECANCELED);
    check(ran);
    osr_scope_close(&scope, -ECANCELED);
    return osr_group_close(&group, 0);
}

static void test_a_task_that_ignores_its_cancellation_cannot_stop_others(void **state)
{
    struct heard heard = {0};

    (void)state;
    assert_int_equal(run_simulated(spins_until_others_ran, NULL, .diagnose = hear, .diagnose_arg = &heard), 0);
    assert_checked();
}

/* ---- Shields ------------------------------------------------------------------------------------------- */

SIMULATED_TEST(test_a_shield_hides_a_cancelled_scope_until_it_is_closed)
{
    struct osr_scope outer, shield, inner;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open(&shield, osr_s(1));
    osr_timeout_open(&inner, osr_s(1));
    check(!osr_cancelled());
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(osr_scope_close(&inner, 3), 3);
    check_int(osr_scope_close(&shield, 4), 4);
    check(osr_cancelled());
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    check(!osr_scope_caught(&shield));
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_a_shield_hides_a_deadline_that_passes_outside)
{
    struct osr_scope outer, shield;

    osr_timeout_open(&outer, osr_ms(10));
    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(osr_ms(50)), 0);
    check(osr_scope_cancelled(&outer));
    check(!osr_scope_cancelled(&shield));
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_a_shield_never_hides_its_own_cancellation)
{
    struct osr_group helpers;
    struct osr_scope outer, shield;
    struct cancel cancel = {&shield, osr_ms(5), "enough"};

    osr_group_open(&helpers);
    osr_spawn(&helpers, canceller, &cancel);
    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(osr_scope_close(&shield, -ECANCELED), -OSR_ESCOPECANCELED);
    check(osr_scope_caught(&shield));
    check_int(osr_scope_close(&outer, 0), 0); /* it cut nothing */
    check(!osr_scope_caught(&outer));
    return osr_group_close(&helpers, 0);
}

SIMULATED_TEST(test_a_shields_grace_cuts_what_takes_too_long)
{
    struct osr_scope outer, shield;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open(&shield, osr_ms(10));
    check_int(osr_sleep(osr_ms(6)), 0);
    check_int(osr_sleep(osr_ms(6)), -ECANCELED);
    check_int(osr_now(), osr_ms(10));
    check_int(osr_scope_close(&shield, -ECANCELED), -ETIMEDOUT);
    check(osr_scope_caught(&shield));
    check_int(osr_scope_close(&outer, 0), 0);
    return 0;
}

OSR_TASK(waits_in_a_shield, struct wait, w)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    w->rc = osr_sleep(w->duration);
    w->ended = osr_now();
    return osr_scope_close(&shield, w->rc);
}

SIMULATED_TEST(test_a_shield_covers_its_own_task_not_its_siblings)
{
    struct osr_group group;
    struct wait shielded = {osr_ms(20), 1, 0}, bare = {osr_ms(20), 1, 0};

    osr_group_open(&group);
    osr_spawn(&group, waits_in_a_shield, &shielded);
    osr_spawn(&group, waiter, &bare);
    check_int(osr_sleep(osr_ms(5)), 0);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(20));
    check_int(shielded.rc, 0);
    check_int(bare.rc, -ECANCELED);
    check_int(bare.ended, osr_ms(5));
    return 0;
}

SIMULATED_TEST(test_a_shield_covers_the_tasks_of_groups_inside)
{
    struct osr_group helpers, group;
    struct osr_scope outer, shield;
    struct cancel cancel = {&outer, osr_ms(5), NULL};
    struct wait child = {osr_ms(20), 1, 0}, grandchild = {osr_ms(30), 1, 0};

    osr_group_open(&helpers);
    osr_spawn(&helpers, canceller, &cancel);
    osr_scope_open(&outer);
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    osr_spawn(&group, waiter, &child);
    osr_spawn(&group, runs_a_group, &grandchild);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(30));
    check_int(child.rc, 0);
    check_int(grandchild.rc, 0);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_scope_close(&outer, osr_check()), -OSR_ESCOPECANCELED);
    return osr_group_close(&helpers, 0);
}

struct lift {
    struct osr_scope *shield;
    int64_t after;
};

OSR_TASK(lifter, struct lift, l)
{
    int rc = osr_sleep(l->after);

    return rc < 0 ? rc : osr_scope_unshield(l->shield);
}

SIMULATED_TEST(test_lifting_a_shield_delivers_at_once)
{
    struct osr_group helpers;
    struct osr_scope outer, shield;
    struct lift lift = {&shield, osr_ms(5)};

    osr_group_open(&helpers);
    osr_spawn(&helpers, lifter, &lift);
    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&shield, -ECANCELED), -ECANCELED); /* it hides nothing any more */
    check(!osr_scope_caught(&shield));
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&helpers, 0);
}

SIMULATED_TEST(test_a_lifted_shield_lets_later_cancels_and_deadlines_through)
{
    struct osr_scope outer, shield;

    osr_timeout_open(&outer, osr_ms(10));
    osr_shield_open_unlimited(&shield);
    check_int(osr_deadline(), OSR_NEVER);
    check_int(osr_scope_unshield(&shield), 0);
    check_int(osr_deadline(), osr_ms(10));
    check_int(osr_check(), 0);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(10));
    check_int(osr_scope_close(&shield, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_lifting_one_of_two_shields_changes_nothing_yet)
{
    struct osr_scope outer, first, second;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open_unlimited(&first);
    osr_shield_open_unlimited(&second);
    check_int(osr_scope_unshield(&second), 0);
    check_int(osr_check(), 0);
    check_int(osr_scope_unshield(&first), 0);
    check_int(osr_check(), -ECANCELED);
    osr_scope_close(&second, -ECANCELED);
    osr_scope_close(&first, -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

enum { DEEPEST = 9 };

/* The shield is the innermost scope, and the cancelled one the outermost. */
SIMULATED_TEST(test_a_lifted_shield_delivers_from_however_far_outside)
{
    struct osr_scope scopes[DEEPEST], shield;
    int depth, i;

    for (depth = 1; depth <= DEEPEST; depth++) {
        for (i = 0; i < depth; i++)
            osr_scope_open(&scopes[i]);
        osr_shield_open_unlimited(&shield);
        osr_scope_cancel(&scopes[0], NULL);
        check_int(osr_check(), 0);
        check_int(osr_scope_unshield(&shield), 0);
        check_int(osr_check(), -ECANCELED);
        check_int(osr_scope_close(&shield, -ECANCELED), -ECANCELED);
        while (i-- > 1)
            check_int(osr_scope_close(&scopes[i], -ECANCELED), -ECANCELED);
        check_int(osr_scope_close(&scopes[0], -ECANCELED), -OSR_ESCOPECANCELED);
    }
    return 0;
}

SIMULATED_TEST(test_a_cancelled_shield_that_is_lifted_leaves_it_to_the_scope_outside)
{
    struct osr_scope outer, shield;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open_unlimited(&shield);
    osr_scope_cancel(&shield, NULL);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_unshield(&shield), 0);
    check_int(osr_scope_close(&shield, -ECANCELED), -ECANCELED);
    check(!osr_scope_caught(&shield));
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_lifting_no_shield_is_no_error)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_scope_unshield(&scope), 0);
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(test_a_scope_whose_limit_is_no_time_refuses_and_gives_its_code_at_the_close)
{
    struct osr_scope scope, inner;

    check_int(osr_timeout_open(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_timeout_open(&inner, osr_s(1)), 0);
    check_int(osr_scope_close(&inner, 5), 5);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_check(), 0);

    check_int(osr_move_on_open(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_close(&scope, 7), -EINVAL);

    check_int(osr_shield_open(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_close(&scope, osr_fail(-EIO, "the body failed itself")), -EIO);
    check_int(osr_error_code(osr_error_last()), -EIO);

    osr_timeout_open(&scope, OSR_TIME_INVALID);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_check(), 0); /* nothing of it is left */
    return 0;
}

SIMULATED_TEST(test_a_null_scope_is_refused)
{
    check_int(osr_scope_open((struct osr_scope *)NULL), -EINVAL);
    check_int(osr_scope_close((struct osr_scope *)NULL, 0), -EINVAL);
    check_int(osr_scope_cancel((struct osr_scope *)NULL, NULL), -EINVAL);
    check_int(osr_scope_set_deadline(NULL, 0), -EINVAL);
    check_int(osr_scope_unshield(NULL), -EINVAL);
    check(!osr_scope_cancelled(NULL));
    check(!osr_scope_caught(NULL));
    check(osr_scope_reason(NULL) == NULL);
    check_int(osr_group_cancel((struct osr_group *)NULL, NULL), -EINVAL);
    check_int(osr_check(), 0);
    return 0;
}

SIMULATED_TEST(test_a_closed_scope_refuses_what_would_change_it)
{
    struct osr_scope scope;
    struct osr_group group;

    osr_timeout_open(&scope, osr_ms(5));
    check_int(osr_scope_close(&scope, 0), 0);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_scope_cancel(&scope, NULL), -OSR_ECLOSED);
    check_int(osr_scope_set_deadline(&scope, osr_ms(9)), -OSR_ECLOSED);
    check_int(osr_scope_unshield(&scope), -OSR_ECLOSED);
    check(!osr_scope_cancelled(&scope));
    check(osr_scope_reason(&scope) == NULL);
    check_int(osr_scope_deadline(&scope), osr_ms(5));
    check_int(osr_sleep(osr_ms(10)), 0); /* and its deadline is gone */

    osr_group_open(&group);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_cancel(&group, NULL), -OSR_ECLOSED);
    check_int(osr_scope_cancel(&group.scope, NULL), -OSR_ECLOSED);
    return 0;
}

SIMULATED_TEST(test_a_scope_that_was_never_opened_cannot_be_closed)
{
    struct osr_scope scope;

    memset(&scope, 0, sizeof(scope));
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_text(osr_error_message(osr_error_last()), "Invalid argument");
    osr_scope_open(&scope);
    osr_scope_close(&scope, 0);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_text(osr_error_message(osr_error_last()), "the scope is closed already");
    check_int(osr_check(), 0);
    return 0;
}

SIMULATED_TEST(test_an_unknown_form_is_refused)
{
    struct osr_scope scope;

    check_int(osr_scope_open_here(&scope, 0, OSR_NEVER, OSR_HERE), -EINVAL);
    check_int(osr_scope_cancel(&scope, "refused"), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_scope_open_here(&scope, OSR_SCOPE_FORM_, OSR_NEVER, OSR_HERE), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_check(), 0);
    return 0;
}

OSR_TASK(meddler, struct osr_scope, scope)
{
    check_int(osr_scope_close(scope, 0), -EPERM);
    check_int(osr_scope_close(scope, -EIO), -EPERM);
    return 0;
}

SIMULATED_TEST(test_closing_the_scope_of_another_task_changes_nothing)
{
    struct osr_group helpers;
    struct osr_scope scope;

    osr_group_open(&helpers);
    osr_timeout_open(&scope, osr_ms(5));
    osr_spawn(&helpers, meddler, &scope);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_deadline(), osr_ms(5));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return osr_group_close(&helpers, 0);
}

static void test_calls_outside_a_task_are_refused(void **state)
{
    struct osr_scope scope;
    struct osr_group group;
    struct osr_task nobody = {0};

    (void)state;
    assert_int_equal(osr_scope_open(&scope), -EPERM);
    assert_int_equal(osr_scope_cancel(&scope, NULL), -EPERM);
    assert_int_equal(osr_scope_set_deadline(&scope, 0), -EPERM);
    assert_int_equal(osr_scope_unshield(&scope), -EPERM);
    assert_int_equal(osr_scope_close(&scope, 0), -EPERM);
    assert_int_equal(osr_timeout_open(&scope, osr_ms(1)), -EPERM);
    assert_int_equal(osr_scope_close(&scope, 0), -EPERM);
    assert_int_equal(osr_group_open(&group), -EPERM);
    assert_int_equal(osr_spawn(&group, fails, NULL), -EPERM);
    assert_int_equal(osr_group_cancel(&group, NULL), -EPERM);
    assert_int_equal(osr_group_close(&group, 0), -EPERM);
    assert_int_equal(osr_yield(), -EPERM);
    assert_int_equal(osr_check(), -EPERM);
    assert_int_equal(osr_sleep(osr_ms(1)), -EPERM);
    assert_int_equal(osr_sleep_until(0), -EPERM);
    assert_int_equal(osr_task_join(nobody), -EPERM);
    assert_int_equal(osr_task_cancel(nobody, NULL), -EPERM);
    assert_int_equal(osr_self().id_, 0);
    assert_true(osr_deadline() == OSR_NEVER);
    assert_false(osr_cancelled());
}

/* What a foreign thread was given: check() is for tasks. */
struct meddling {
    struct osr_scope scope;
    int cancel, set_deadline, unshield, close, yield;
    atomic_bool done;
};

static void *meddles_from_outside(void *arg)
{
    struct meddling *m = arg;

    m->cancel = osr_scope_cancel(&m->scope, "from a thread");
    m->set_deadline = osr_scope_set_deadline(&m->scope, 0);
    m->unshield = osr_scope_unshield(&m->scope);
    m->close = osr_scope_close(&m->scope, 0);
    m->yield = osr_yield();
    atomic_store(&m->done, true);
    return NULL;
}

SIMULATED_TEST(test_calls_from_a_foreign_thread_are_refused_and_change_nothing)
{
    struct meddling m = {.done = false};
    pthread_t thread;

    osr_shield_open(&m.scope, osr_ms(5));
    check_int(pthread_create(&thread, NULL, meddles_from_outside, &m), 0);
    check_int(pthread_join(thread, NULL), 0);
    check(atomic_load(&m.done));
    check_int(m.cancel, -EPERM);
    check_int(m.set_deadline, -EPERM);
    check_int(m.unshield, -EPERM);
    check_int(m.close, -EPERM);
    check_int(m.yield, -EPERM);
    check(!osr_scope_cancelled(&m.scope));
    check_int(osr_deadline(), osr_ms(5));
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_scope_close(&m.scope, 0), 0);
    return 0;
}

OSR_TASK(makes_refused_calls, int, calls)
{
    struct osr_scope scope;
    int i;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    for (i = 0; i < *calls; i++)
        check_int(osr_check(), -ECANCELED);
    osr_scope_close(&scope, -ECANCELED);
    return 0;
}

OSR_TASK(is_followed_by_another_on_its_stack, void, unused)
{
    int many = 9999, one = 1;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, makes_refused_calls, &many);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_spawn(&group, makes_refused_calls, &one);
    return osr_group_close(&group, 0);
}

static void test_the_refused_calls_of_one_task_are_not_counted_for_the_next(void **state)
{
    struct heard heard = {0};

    (void)state;
    assert_int_equal(run_simulated(is_followed_by_another_on_its_stack, NULL, .diagnose = hear, .diagnose_arg = &heard),
                     0);
    assert_checked();
    assert_int_equal(heard.runaways, 0);
}

/* A form of scope, opened without memory for its timer. */
static int open_without_memory(struct osr_scope *scope, int form)
{
    int rc;

    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    rc = osr_scope_open_here(scope, form, osr_ms(1), OSR_HERE);
    counting.fail_at = 0;
    return rc;
}

OSR_TASK(opens_limits_without_memory, void, unused)
{
    static const int forms[] = {OSR_SCOPE_TIMEOUT, OSR_SCOPE_MOVE_ON, OSR_SCOPE_SHIELD, OSR_SCOPE_TIMEOUT | OSR_SCOPE_AT};
    struct osr_scope limit, outer;
    unsigned i;

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        int64_t began = osr_now();

        check_int(open_without_memory(&limit, forms[i]), -ENOMEM);
        check_int(osr_cancel_reason()->code, -ENOMEM);
        check_int(osr_sleep(osr_ms(5)), -ECANCELED);
        check_int(osr_now(), began);
        check_int(osr_scope_close(&limit, -ECANCELED), -ENOMEM);
        check(osr_scope_caught(&limit));
        check_int(osr_sleep(0), 0);

        check_int(open_without_memory(&limit, forms[i]), -ENOMEM); /* nothing is refused, or that is ignored */
        check_int(osr_scope_close(&limit, 7), -ENOMEM);
        check(!osr_scope_caught(&limit));
        check_int(open_without_memory(&limit, forms[i]), -ENOMEM);
        check_int(osr_yield(), -ECANCELED);
        check_int(osr_scope_close(&limit, 7), -ENOMEM);

        check_int(open_without_memory(&limit, forms[i]), -ENOMEM); /* another error goes first, and tells of it */
        check_int(osr_yield(), -ECANCELED);
        check_int(osr_scope_close(&limit, osr_fail(-EIO, "%s", "")), -EIO);
        check_int(osr_error_code(osr_error_cause(osr_error_last())), -ENOMEM);

        osr_move_on_open(&outer, OSR_NEVER); /* one further out is cancelled as well */
        check_int(open_without_memory(&limit, forms[i]), -ENOMEM);
        osr_scope_cancel(&outer, "outer");
        check_int(osr_scope_close(&limit, 7), -ENOMEM);
        check_int(osr_scope_close(&outer, 0), 0);
    }
    return 0;
}

static void test_where_a_limit_could_not_be_set_all_is_refused(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(opens_limits_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_clear();
}

SIMULATED_TEST(test_a_groups_scope_is_closed_with_the_group_only)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_scope_close(&group.scope, 0), -EINVAL);
    check_int(osr_group_close(&group, 4), 4);
    return 0;
}

OSR_TASK(spins_twice_without_a_call_between, struct spin, spin)
{
    spinner.routine_.run(spin);
    spinner.routine_.run(spin);
    return 0;
}

static void test_refused_calls_count_only_until_the_cancelled_scope_is_closed(void **state)
{
    struct heard heard = {0};
    struct spin spin = {9000, NULL};

    (void)state;
    assert_int_equal(
        run_simulated(spins_twice_without_a_call_between, &spin, .diagnose = hear, .diagnose_arg = &heard), 0);
    assert_checked();
    assert_int_equal(heard.runaways, 0);
}

static void test_a_task_that_goes_on_is_named_ever_more_seldom(void **state)
{
    struct heard heard = {0};
    struct spin spin = {120000, NULL};

    (void)state;
    assert_int_equal(run_simulated(spinner, &spin, .diagnose = hear, .diagnose_arg = &heard), 0);
    assert_checked();
    assert_int_equal(heard.runaways, 2);
    assert_non_null(strstr(heard.text, " 100000 calls"));
}

OSR_TASK(ask_why, struct osr_scope, outer)
{
    struct osr_scope inner;

    check(osr_cancel_reason() == NULL);
    osr_scope_open(&inner);
    osr_scope_cancel(&inner, "inside");
    check_text(osr_cancel_reason()->text, "inside");
    check(osr_cancel_reason() == osr_scope_reason(&inner));
    osr_scope_cancel(outer, "outside");
    check_text(osr_cancel_reason()->text, "outside"); /* which takes it up */
    check_text(osr_cancel_reason()->who, "ask_why");
    return osr_scope_close(&inner, osr_check());
}

SIMULATED_TEST(a_task_that_is_cancelled_can_ask_why)
{
    struct osr_task first = {0}, second = {0};
    struct osr_scope scope;
    struct osr_group group;

    osr_move_on_open(&scope, OSR_NEVER);
    osr_group_open(&group);
    osr_spawn(&group, ask_why, &scope, .handle = &first);
    second = first;
    check(osr_task_same(first, second) && !osr_task_same(first, osr_self()));
    check_int(osr_group_close(&group, 0), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), 0);
    check(osr_cancel_reason() == NULL);
    return 0;
}

/* At the very count of cancellations at which it was lifted. */
SIMULATED_TEST(a_call_that_is_refused_as_soon_as_a_shield_is_lifted_counts_outside)
{
    struct osr_scope outer, shield;

    osr_scope_open(&outer);
    osr_shield_open_unlimited(&shield);
    check_int(osr_scope_cancel(&outer, "enough"), 0);
    check_int(osr_check(), 0);
    check_int(osr_scope_unshield(&shield), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_scope_close(&outer, 0), -OSR_ESCOPECANCELED);
    return 0;
}

SIMULATED_TEST(a_scope_that_could_not_be_opened_keeps_the_error_of_its_body)
{
    struct osr_scope scope;

    check_int(osr_scope_open_here(&scope, 77, OSR_NEVER, OSR_HERE), -EINVAL);
    check_int(osr_scope_close(&scope, osr_fail(-EIO, "the body failed")), -EIO);
    check_text(osr_error_message(osr_error_last()), "the body failed");
    return 0;
}

/* A guard that was refused leaves its code, if nothing worse has happened. */
SIMULATED_TEST(a_guard_that_was_refused_does_not_take_the_place_of_the_bodys_error)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    {
        OSR_GUARD_GROUP(group, .limit = -1);
    }
    check_int(osr_scope_close(&scope, osr_fail(-EIO, "the body failed")), -EIO);
    osr_scope_open(&scope);
    {
        OSR_GUARD_GROUP(group, .limit = -1);
    }
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        story_test(test_a_scope_that_is_not_cancelled_passes_its_result_on),
        story_test(test_a_scope_can_be_opened_again_once_it_is_closed),
        story_test(test_every_call_in_a_cancelled_scope_is_refused_until_the_scope_is_closed),
        story_test(test_scopes_opened_in_a_cancelled_scope_are_cut_from_the_start),
        story_test(test_cancelling_reaches_every_task_below_and_nobody_else),
        story_test(test_an_inner_scope_that_is_cancelled_leaves_the_outer_one_alone),
        story_test(test_cancelling_again_changes_nothing_and_the_first_reason_stays),
        story_test(test_what_the_first_to_cancel_left_unsaid_nobody_says_later),
        story_test(test_a_deadline_that_came_first_stays_the_reason),
        story_test(test_a_reason_says_who_cancelled_where_and_why),
        story_test(test_a_deadlines_reason_names_the_place_of_the_scope),
        story_test(test_an_errors_reason_names_the_error_its_task_and_its_place),
        story_test(test_a_long_name_is_cut_in_the_reason),
        story_test(test_a_scope_has_caught_only_what_reached_its_close),
        story_test(test_cancelling_switches_to_nobody),
        story_test(test_a_parked_task_is_woken_once_however_often_it_is_cancelled),
        story_test(test_a_refused_sleep_takes_no_time),
        story_test(test_a_refused_join_leaves_the_outcome_for_the_next_one),
        story_test(test_a_refused_spawn_under_a_limit_spawns_nothing),
        story_test(test_a_refused_read_or_write_moves_no_byte),
        story_test(test_a_task_that_never_waits_lets_others_run_after_a_number_of_calls),
        story_test(test_a_sleep_that_ended_before_the_cancel_is_reported_as_done),
        story_test(test_a_join_that_completed_before_the_cancel_gives_the_result),
        story_test(test_a_cancel_that_came_before_the_result_wins_over_it),
        story_test(test_cancelling_a_task_cuts_it_alone),
        story_test(test_a_task_cancelled_before_it_begins_still_starts),
        story_test(test_a_task_that_ignores_its_cancellation_ends_with_its_own_result),
        story_test(test_a_root_that_is_cancelled_ends_the_run_as_cancelled),
        story_test(test_a_task_that_gives_ECANCELED_uncancelled_has_failed),
        story_test(test_a_body_that_gives_ECANCELED_uncancelled_has_failed),
        story_test(test_a_task_cut_by_a_scope_of_its_own_must_not_give_ECANCELED),
        story_test(test_ECANCELED_is_genuine_where_a_cancelled_scope_is_in_sight),
        story_test(test_ECANCELED_is_spurious_where_a_shield_hides_the_cancelled_scope),
        story_test(test_a_root_that_gives_ECANCELED_uncancelled_has_failed),
        story_test(test_a_task_that_ignores_its_cancellation_is_named),
        story_test(test_refused_calls_count_only_in_a_row),
        story_test(test_a_task_that_ignores_its_cancellation_cannot_stop_others),
        story_test(test_a_shield_hides_a_cancelled_scope_until_it_is_closed),
        story_test(test_a_shield_hides_a_deadline_that_passes_outside),
        story_test(test_a_shield_never_hides_its_own_cancellation),
        story_test(test_a_shields_grace_cuts_what_takes_too_long),
        story_test(test_a_shield_covers_its_own_task_not_its_siblings),
        story_test(test_a_shield_covers_the_tasks_of_groups_inside),
        story_test(test_lifting_a_shield_delivers_at_once),
        story_test(test_a_lifted_shield_lets_later_cancels_and_deadlines_through),
        story_test(test_lifting_one_of_two_shields_changes_nothing_yet),
        story_test(test_a_lifted_shield_delivers_from_however_far_outside),
        story_test(test_a_cancelled_shield_that_is_lifted_leaves_it_to_the_scope_outside),
        story_test(test_lifting_no_shield_is_no_error),
        story_test(test_a_scope_whose_limit_is_no_time_refuses_and_gives_its_code_at_the_close),
        story_test(test_a_null_scope_is_refused),
        story_test(test_a_closed_scope_refuses_what_would_change_it),
        story_test(test_a_scope_that_was_never_opened_cannot_be_closed),
        story_test(test_an_unknown_form_is_refused),
        story_test(test_closing_the_scope_of_another_task_changes_nothing),
        story_test(test_calls_outside_a_task_are_refused),
        story_test(test_calls_from_a_foreign_thread_are_refused_and_change_nothing),
        story_test(test_the_refused_calls_of_one_task_are_not_counted_for_the_next),
        story_test(test_where_a_limit_could_not_be_set_all_is_refused),
        story_test(test_a_groups_scope_is_closed_with_the_group_only),
        story_test(test_refused_calls_count_only_until_the_cancelled_scope_is_closed),
        story_test(a_task_that_is_cancelled_can_ask_why),
        story_test(a_call_that_is_refused_as_soon_as_a_shield_is_lifted_counts_outside),
        story_test(a_scope_that_could_not_be_opened_keeps_the_error_of_its_body),
        story_test(test_a_task_that_goes_on_is_named_ever_more_seldom),
        story_test(a_guard_that_was_refused_does_not_take_the_place_of_the_bodys_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
