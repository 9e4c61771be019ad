/* Starting: osr_start() and osr_started(), in every order of start, cancellation and end. */
#include "harness.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- The children of these stories --------------------------------------------------------------------- */

/* Prepares, says that it is ready if it is to, serves, and ends with `rc`. */
struct server {
    int64_t prepare, serve;
    int rc;
    bool mute, shielded; /* says nothing; prepares and says it under a shield */
    int said;            /* what osr_started() gave; 1: it was not called */
};

static int give(int rc) { return rc < 0 && rc != -ECANCELED ? osr_fail(rc, "the server failed") : rc; }

static int prepare(struct server *s)
{
    struct osr_scope shield;
    int rc;

    if (s->shielded)
        osr_shield_open_unlimited(&shield);
    rc = osr_sleep(s->prepare);
    if (rc == 0 && !s->mute)
        s->said = rc = osr_started();
    if (s->shielded)
        (void)osr_scope_close(&shield, 0);
    return rc;
}

OSR_TASK(serve, struct server, s)
{
    int rc;

    s->said = 1;
    rc = prepare(s);
    if (rc < 0) {
        tell("the server is cut while it prepares");
        return s->rc < 0 ? give(s->rc) : rc;
    }
    rc = osr_sleep(s->serve);
    tell("the server %s", rc < 0 ? "is cut" : "ends");
    return s->rc < 0 || rc == 0 ? give(s->rc) : rc;
}

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }

/* ---- Well started -------------------------------------------------------------------------------------- */

SIMULATED_TEST(a_start_returns_when_the_child_says_that_it_is_ready)
{
    struct server s = {.prepare = osr_ms(2), .serve = osr_ms(5)};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_now(), osr_ms(2));
    check_int(s.said, 0);
    check_int(osr_group_running(&group), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(7));
    return 0;
}

SIMULATED_TEST(from_then_on_it_is_a_child_of_the_group_whose_errors_fail_the_group)
{
    struct server s = {.prepare = osr_ms(2), .serve = osr_ms(5), .rc = -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    return 0;
}

SIMULATED_TEST(a_child_may_say_it_and_end_at_once)
{
    struct server s = {.rc = 4};
    struct osr_group group;
    int result = 0;

    osr_group_open(&group);
    check_int(osr_start(&group, serve, &s, .result = &result), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(result, 4);
    return 0;
}

OSR_TASK(fail_at_once, void, unused)
{
    check_int(osr_started(), 0);
    return osr_fail(-EIO, "too bad");
}

SIMULATED_TEST(an_error_right_after_it_has_started_fails_the_group_and_not_the_start)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, fail_at_once, NULL), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

OSR_TASK(say_it_twice, void, unused)
{
    check_int(osr_started(), 0);
    check_int(osr_started(), -EALREADY);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_started(), -EALREADY);
    return 0;
}

OSR_TASK(say_it_unasked, void, unused)
{
    check_int(osr_started(), -EINVAL);
    return 0;
}

SIMULATED_TEST(saying_it_twice_or_unasked_is_refused)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, say_it_twice, NULL), 0);
    check_int(osr_spawn(&group, say_it_unasked, NULL), 0);
    check_int(osr_spawn(&group, say_it_unasked, NULL, .daemon = true), 0);
    check_int(osr_started(), -EINVAL);
    return osr_group_close(&group, 0);
}

struct copied {
    int number;
};

OSR_TASK(check_copy, struct copied, c)
{
    check_int(osr_started(), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(c->number, 7);
    return 0;
}

SIMULATED_TEST(a_child_may_be_started_with_a_copy_a_name_and_a_handle)
{
    struct copied c = {7};
    struct osr_task task, next;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, check_copy, &c, .copy = sizeof(c), .name = "copy", .handle = &task), 0);
    c.number = 8;
    check_text(osr_task_name(task), "copy");
    check_int(osr_group_next(&group, &next), 1);
    check_int(next.id_, task.id_);
    check_int(osr_task_join(task), 0);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_daemon_that_was_started_is_told_in_the_order_of_completion_like_others)
{
    struct server d = {.prepare = osr_ms(1), .serve = osr_ms(1)}, s = {.prepare = osr_ms(1), .serve = osr_ms(3)};
    struct osr_task daemon, other, next;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, serve, &d, .daemon = true, .handle = &daemon), 0);
    check_int(osr_start(&group, serve, &s, .handle = &other), 0);
    check_int(osr_group_next(&group, &next), 1);
    check_int(next.id_, daemon.id_);
    check_int(osr_group_next(&group, &next), 1);
    check_int(next.id_, other.id_);
    check_int(osr_group_next(&group, &next), 0);
    return osr_group_close(&group, 0);
}

/* ---- Not started --------------------------------------------------------------------------------------- */

SIMULATED_TEST(an_error_before_it_has_started_comes_out_of_the_start_and_leaves_the_group_alone)
{
    struct server s = {.prepare = osr_ms(2), .rc = -EIO, .mute = true};
    struct osr_task task = {1}, early;
    struct osr_group group;
    int result = 0;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    check_int(osr_start(&group, serve, &s, .name = "server", .handle = &task, .result = &result), -EIO);
    check_text(osr_error_message(osr_error_last()), "the server failed");
    check_text(osr_error_task(osr_error_last()), "server");
    check_int(result, -EIO);
    check(task.id_ == 0);
    check_int(osr_group_running(&group), 0);
    check_int(osr_check(), 0);
    check_int(osr_group_winner(&group), -ENOENT);
    check_int(osr_group_next(&group, &early), 0);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

SIMULATED_TEST(who_passes_the_error_of_a_start_on_fails_with_that_very_error)
{
    struct server s = {.rc = -EIO, .mute = true};
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_start(&group, serve, &s, .name = "server");
    check_int(osr_group_close(&group, rc), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check_text(osr_error_task(osr_error_find(osr_error_last(), EIO)), "server");
    return 0;
}

SIMULATED_TEST(a_child_that_ends_well_without_a_word_was_not_started)
{
    struct server s = {.prepare = osr_ms(1), .rc = 5, .mute = true};
    struct osr_group group;
    int result = 0;

    osr_group_open(&group);
    check_int(osr_start(&group, serve, &s, .result = &result), -OSR_ENOTSTARTED);
    check_int(osr_error_code(osr_error_last()), -OSR_ENOTSTARTED);
    check_int(result, 5);
    return osr_group_close(&group, 0);
}

struct canceling {
    struct osr_task *task;
    struct osr_scope *scope;
    struct osr_group *group;
    int64_t after;
};

OSR_TASK(cancel_it, struct canceling, c)
{
    check_int(osr_sleep(c->after), 0);
    if (c->task)
        check_int(osr_task_cancel(*c->task, "by handle"), 0);
    if (c->scope)
        check_int(osr_scope_cancel(c->scope, "by hand"), 0);
    if (c->group)
        check_int(osr_group_cancel(c->group, "the group"), 0);
    return 0;
}

SIMULATED_TEST(a_child_that_somebody_cancels_before_it_has_started_was_cancelled)
{
    struct server s = {.prepare = osr_ms(5)};
    struct osr_group outer, group;
    struct osr_task task;
    struct canceling c = {.task = &task, .after = osr_ms(1)};

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&outer, cancel_it, &c);
    check_int(osr_start(&group, serve, &s, .handle = &task), -OSR_ETASKCANCELED);
    check_int(osr_check(), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

OSR_TASK(say_it_though_cancelled, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_started(), 0); /* nobody cancelled who starts it */
    check_int(osr_check(), -ECANCELED);
    return -ECANCELED;
}

SIMULATED_TEST(a_child_that_is_cancelled_alone_may_still_start)
{
    struct osr_group outer, group;
    struct osr_task task;
    struct canceling c = {.task = &task, .after = osr_ms(1)};

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&outer, cancel_it, &c);
    check_int(osr_start(&group, say_it_though_cancelled, NULL, .handle = &task), 0);
    check_int(osr_task_join(task), -OSR_ETASKCANCELED);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

/* ---- The caller is cancelled --------------------------------------------------------------------------- */

/* 28: anyio 710 */
SIMULATED_TEST(a_timeout_around_a_start_cancels_that_child_only)
{
    struct server s = {.prepare = osr_s(1)};
    struct osr_group group;
    struct osr_scope limit;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL, .daemon = true);
    osr_timeout_open(&limit, osr_ms(3));
    check_int(osr_start(&group, serve, &s), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(s.said, 1);
    check_int(osr_group_running(&group), 1);
    check_int(osr_check(), 0);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_cut_start_that_the_body_ignores_is_still_a_timeout)
{
    struct server s = {.prepare = osr_s(1)}, fails = {.prepare = osr_s(1), .rc = -EIO};
    struct osr_group group;
    struct osr_scope limit;

    osr_group_open(&group);
    osr_timeout_open(&limit, osr_ms(3));
    (void)osr_start(&group, serve, &s);
    check_int(osr_scope_close(&limit, 0), -ETIMEDOUT);

    osr_timeout_open(&limit, osr_ms(3)); /* the child was cut, and failed of it */
    check_int(osr_start(&group, serve, &fails), -EIO);
    check_int(osr_scope_close(&limit, 0), -ETIMEDOUT);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(who_starts_is_refused_in_a_cancelled_scope_before_anything_happens)
{
    struct server s = {.said = 5};
    struct osr_group group;
    struct osr_scope limit;

    osr_group_open(&group);
    osr_timeout_open(&limit, 0);
    check_int(osr_start(&group, serve, &s), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(s.said, 5);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_child_that_cleans_up_is_waited_for_and_its_saying_is_refused)
{
    struct server s = {.prepare = osr_ms(9), .shielded = true};
    struct osr_group group;
    struct osr_scope limit;

    osr_group_open(&group);
    osr_timeout_open(&limit, osr_ms(3));
    check_int(osr_start(&group, serve, &s), -ECANCELED);
    check_int(osr_now(), osr_ms(9));
    check_int(s.said, -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    return osr_group_close(&group, 0);
}

OSR_TASK(ask_after_the_cut, int, said)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    *said = osr_started();
    check_int(osr_started(), -ECANCELED);
    return -ECANCELED;
}

SIMULATED_TEST(saying_it_after_the_cut_is_refused_as_often_as_it_is_tried)
{
    struct osr_group group;
    struct osr_scope limit;
    int said = 0;

    osr_group_open(&group);
    osr_timeout_open(&limit, osr_ms(3));
    check_int(osr_start(&group, ask_after_the_cut, &said), -ECANCELED);
    check_int(said, -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_real_error_of_a_child_that_was_cut_beats_the_cancellation)
{
    struct server s = {.prepare = osr_s(1), .rc = -EIO};
    struct osr_group group;
    struct osr_scope limit;
    int rc;

    osr_group_open(&group);
    osr_timeout_open(&limit, osr_ms(3));
    rc = osr_start(&group, serve, &s);
    check_int(rc, -EIO);
    check_int(osr_scope_close(&limit, rc), -EIO);
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ETIMEDOUT);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

/* Inside, one fails of being cut and another passes the cancellation on. */
OSR_TASK(fail_beside_a_cancellation, void, unused)
{
    struct server fails = {.prepare = osr_s(1), .rc = -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, serve, &fails);
    osr_spawn(&group, sleep_forever, NULL);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_cancellation_rides_beside_the_error_of_a_start)
{
    struct osr_group group;
    struct osr_scope limit;
    int rc;

    osr_group_open(&group);
    osr_move_on_open(&limit, osr_ms(3));
    rc = osr_start(&group, fail_beside_a_cancellation, NULL);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_scope_close(&limit, rc), -OSR_EGROUP);
    check(osr_scope_caught(&limit));
    return osr_group_close(&group, 0);
}

/* The child ends or starts, and in the same tick, before its caller runs again, the caller is cancelled. */
struct at_once {
    struct osr_scope *scope;
    bool starts;
};

OSR_TASK(end_and_cancel, struct at_once, a)
{
    if (a->starts)
        check_int(osr_started(), 0);
    check_int(osr_scope_cancel(a->scope, "too late"), 0);
    if (a->starts)
        check_int(osr_started(), -EALREADY);
    return 0;
}

SIMULATED_TEST(a_start_that_has_succeeded_wins_over_the_cancellation_that_follows)
{
    struct osr_group group;
    struct osr_scope scope;
    struct at_once a = {&scope, true};

    osr_group_open(&group);
    osr_scope_open(&scope);
    check_int(osr_start(&group, end_and_cancel, &a), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_cancellation_before_the_child_ends_without_a_word_wins)
{
    struct osr_group group;
    struct osr_scope scope;
    struct at_once a = {&scope, false};

    osr_group_open(&group);
    osr_scope_open(&scope);
    check_int(osr_start(&group, end_and_cancel, &a), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&group, 0);
}

OSR_TASK(say_nothing, void, unused) { return 0; }

OSR_TASK(start_the_mute, struct osr_group, group)
{
    struct osr_group inner;
    int rc;

    osr_group_open(&inner);
    rc = osr_start(&inner, say_nothing, NULL);
    tell("the start gives %s", osr_strcode(rc));
    check_int(osr_check(), -ECANCELED);
    (void)group;
    return osr_group_close(&inner, -ECANCELED);
}

OSR_TASK(cancel_the_caller, struct canceling, c)
{
    return osr_task_cancel(*c->task, "just after the end");
}

SIMULATED_TEST(a_cancellation_after_the_child_has_ended_without_a_word_is_too_late)
{
    struct osr_group group;
    struct osr_task caller;
    struct canceling c = {.task = &caller};

    osr_group_open(&group);
    osr_spawn(&group, start_the_mute, &group, .handle = &caller, .eager = true); /* the child is queued */
    osr_spawn(&group, cancel_the_caller, &c);                                  /* runs between its end and its caller */
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

TEST(what_the_child_came_to_is_decided_when_it_ends)
{
    a_cancellation_after_the_child_has_ended_without_a_word_is_too_late(state);
    assert_story("the start gives OSR_ENOTSTARTED\n");
}

SIMULATED_TEST(a_caller_under_a_shield_starts_in_a_cancelled_scope)
{
    struct server s = {.prepare = osr_ms(2)};
    struct osr_scope scope, shield;
    struct osr_group group;

    osr_scope_open(&scope);
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    osr_scope_cancel(&scope, "outside");
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

/* ---- The group is cancelled ---------------------------------------------------------------------------- */

struct observing {
    struct osr_group *group;
    int before, said, after, inner;
};

/* Starts with scopes of its own open. */
OSR_TASK(start_amid_scopes, struct observing, o)
{
    struct osr_scope outer, shield, inner;

    osr_timeout_open(&outer, OSR_NEVER);
    o->before = osr_check();
    osr_shield_open_unlimited(&shield);
    osr_timeout_open(&inner, OSR_NEVER);
    o->said = osr_started();
    o->inner = osr_check();
    (void)osr_scope_close(&inner, 0);
    (void)osr_scope_close(&shield, 0);
    o->after = osr_check();
    return osr_scope_close(&outer, o->after);
}

SIMULATED_TEST(a_child_started_into_a_cancelled_group_feels_that_from_then_on_but_not_under_its_shields)
{
    struct observing o = {.before = 1};
    struct osr_group outer, group;
    struct osr_scope shield;

    osr_group_open(&outer);
    osr_group_open(&group);
    o.group = &group;
    osr_group_cancel(&group, "before");
    osr_shield_open_unlimited(&shield);
    check_int(osr_start(&group, start_amid_scopes, &o), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(o.before, 0);
    check_int(o.said, 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(o.inner, 0);
    check_int(o.after, -ECANCELED);
    return osr_group_close(&outer, 0);
}

OSR_TASK(start_into, struct observing, o)
{
    check_int(osr_start(o->group, start_amid_scopes, o), 0);
    return 0;
}

SIMULATED_TEST(an_outsider_may_start_a_child_into_a_group_that_is_cancelled_and_closing)
{
    struct osr_group outer, group;
    struct observing o = {.group = &group};

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&outer, start_into, &o, .eager = true);
    osr_group_cancel(&group, "early");
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_close(&outer, 0), 0);
    check_int(o.said, 0);
    check_int(o.after, -ECANCELED);
    return 0;
}

/* Parks in a group of its own, below which somebody sleeps, when it starts. */
OSR_TASK(start_with_children, int64_t, woken)
{
    struct osr_group inner;
    int rc;

    osr_group_open(&inner);
    osr_spawn(&inner, sleep_forever, NULL);
    osr_yield();
    check_int(osr_started(), 0);
    rc = osr_group_close(&inner, 0);
    *woken = osr_now();
    return rc;
}

SIMULATED_TEST(the_deadline_of_the_group_holds_for_the_child_and_all_below_it_once_it_has_moved)
{
    struct osr_scope limit;
    struct osr_group group;
    int64_t woken = 0;

    osr_group_open(&group);
    osr_scope_set_deadline(&group.scope, osr_ms(9));
    osr_shield_open(&limit, osr_ms(5));
    check_int(osr_start(&group, start_with_children, &woken), 0);
    check_int(osr_scope_close(&limit, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(woken, osr_ms(9)); /* and not at 5 */
    return 0;
}

SIMULATED_TEST(children_of_the_child_are_cut_when_it_moves_into_a_cancelled_group)
{
    struct osr_scope shield;
    struct osr_group group;
    int64_t woken = -1;

    osr_group_open(&group);
    osr_group_cancel(&group, "early");
    osr_shield_open_unlimited(&shield);
    check_int(osr_start(&group, start_with_children, &woken), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(woken, 0);
    return 0;
}

OSR_TASK(tell_deadlines, int64_t, deadlines)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(70));
    deadlines[0] = osr_deadline();
    check_int(osr_started(), 0);
    deadlines[1] = osr_deadline();
    check_int(osr_scope_close(&scope, 0), 0);
    deadlines[2] = osr_deadline();
    return 0;
}

SIMULATED_TEST(the_deadline_in_effect_is_the_callers_first_and_then_the_groups)
{
    int64_t deadlines[3] = {0, 0, 0};
    struct osr_group outer, group;
    struct osr_scope limit;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_timeout_open(&limit, osr_ms(20));
    check_int(osr_start(&outer, tell_deadlines, deadlines), 0);
    check_int(deadlines[0], osr_ms(20));
    check_int(deadlines[1], osr_ms(70));
    check_int(deadlines[2], OSR_NEVER);
    check_int(osr_scope_close(&limit, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

/* A call of the child was cut on its own account before it moved: the scopes that it moved under have cut nothing. */
OSR_TASK(be_cut_alone_then_start, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_started(), 0);
    return 0;
}

OSR_TASK(start_it_into, struct canceling, c)
{
    check_int(osr_start(c->group, be_cut_alone_then_start, NULL, .handle = c->task), 0);
    return 0;
}

SIMULATED_TEST(what_was_cut_before_the_move_is_not_blamed_on_the_scopes_around_the_group)
{
    struct osr_group outer, group;
    struct osr_scope limit;
    struct osr_task task;
    struct canceling start = {.group = &group, .task = &task}, cancel = {.task = &task, .after = osr_ms(6)};

    osr_group_open(&outer);
    osr_timeout_open(&limit, osr_ms(3));
    osr_group_open(&group);
    osr_spawn(&outer, start_it_into, &start, .eager = true);
    osr_spawn(&outer, cancel_it, &cancel);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(6));
    check_int(osr_scope_close(&limit, 0), 0); /* late, and has cut nothing */
    return osr_group_close(&outer, 0);
}

/* ---- Where and by whom --------------------------------------------------------------------------------- */

OSR_TASK(start_from_inside, struct osr_group, group)
{
    struct server s = {.prepare = osr_ms(2), .serve = osr_ms(2)};

    check_int(osr_start(group, serve, &s, .copy = sizeof(s)), 0);
    tell("started");
    return 0;
}

SIMULATED_TEST(a_child_of_the_group_may_start_another_while_the_owner_waits_in_the_close)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, start_from_inside, &group);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(4));
    return 0;
}

OSR_TASK(start_from_outside, struct osr_group, group)
{
    struct server s = {.prepare = osr_ms(6), .serve = osr_ms(2)};

    check_int(osr_start(group, serve, &s, .copy = sizeof(s)), 0);
    return 0;
}

SIMULATED_TEST(a_group_does_not_close_as_long_as_one_is_being_started)
{
    struct osr_group outer, group;
    struct server s = {.prepare = osr_ms(1)};

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&outer, start_from_outside, &group);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(8));
    return osr_group_close(&outer, 0);
}

OSR_TASK(fail_to_start_from_outside, struct osr_group, group)
{
    struct server s = {.prepare = osr_ms(6), .rc = -EIO, .mute = true};

    check_int(osr_start(group, serve, &s, .copy = sizeof(s)), -EIO);
    return 0;
}

SIMULATED_TEST(a_start_that_fails_lets_the_waiting_group_close)
{
    struct osr_group outer, group;
    struct server s = {.prepare = osr_ms(1)};

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&outer, fail_to_start_from_outside, &group);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(6));
    return osr_group_close(&outer, 0);
}

/* While it is being started itself, it starts another. */
OSR_TASK(start_another_first, struct osr_group, group)
{
    struct server inner = {.prepare = osr_ms(2), .serve = osr_ms(9)};

    check_int(osr_start(group, serve, &inner, .copy = sizeof(inner), .name = "inner"), 0);
    tell("the inner one has started");
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_started(), 0);
    return 0;
}

OSR_TASK(start_and_look, int, seen)
{
    int rc = osr_started();

    *seen = osr_check();
    return rc == 0 ? *seen : rc;
}

enum { DEEPEST = 9 };

/* Who starts it is behind a shield, so nothing keeps the child from starting. */
SIMULATED_TEST(who_has_started_sees_a_cancellation_from_however_far_outside_the_group)
{
    struct osr_scope scopes[DEEPEST], shield;
    struct osr_group group;
    int depth, i, seen;

    for (depth = 1; depth <= DEEPEST; depth++) {
        for (i = 0; i < depth; i++)
            osr_scope_open(&scopes[i]);
        osr_group_open(&group);
        osr_shield_open_unlimited(&shield);
        osr_scope_cancel(&scopes[0], NULL);
        seen = 1;
        check_int(osr_start(&group, start_and_look, &seen), 0);
        check_int(osr_scope_close(&shield, 0), 0);
        check_int(osr_group_close(&group, 0), -ECANCELED);
        check_int(seen, -ECANCELED);
        while (i-- > 1)
            check_int(osr_scope_close(&scopes[i], -ECANCELED), -ECANCELED);
        check_int(osr_scope_close(&scopes[0], -ECANCELED), -OSR_ESCOPECANCELED);
    }
    return 0;
}

SIMULATED_TEST(starts_can_be_nested)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, start_another_first, &group), 0);
    check_int(osr_now(), osr_ms(3));
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(11));
    return 0;
}

OSR_TASK(start_and_pass_on, struct osr_group, group)
{
    struct server inner = {.prepare = osr_s(1)};

    return osr_start(group, serve, &inner, .copy = sizeof(inner));
}

SIMULATED_TEST(a_cancellation_reaches_through_nested_starts)
{
    struct osr_group outer, group;
    struct osr_scope limit;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_timeout_open(&limit, osr_ms(1));
    check_int(osr_start(&group, start_and_pass_on, &outer), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(osr_group_running(&outer), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

OSR_TASK(join_its_starter, struct osr_task, starter)
{
    check_int(osr_task_join(*starter), -EDEADLK);
    check_int(osr_started(), 0);
    return 0;
}

SIMULATED_TEST(a_child_that_is_started_cannot_join_who_waits_for_it)
{
    struct osr_task self = osr_self();
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, join_its_starter, &self), 0);
    return osr_group_close(&group, 0);
}

/* ---- Limits, daemons ----------------------------------------------------------------------------------- */

SIMULATED_TEST(a_start_waits_for_a_place_and_a_cut_one_has_started_nothing)
{
    struct server first = {.serve = osr_ms(4)}, second = {.said = 5};
    struct osr_group group;
    struct osr_scope limit;

    osr_group_open(&group, .limit = 1);
    check_int(osr_start(&group, serve, &first), 0);
    osr_timeout_open(&limit, osr_ms(2));
    check_int(osr_start(&group, serve, &second), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(second.said, 5);
    check_int(osr_start(&group, serve, &second), 0);
    check_int(osr_now(), osr_ms(4));
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_start_that_fails_gives_its_place_to_the_next)
{
    struct server fails = {.prepare = osr_ms(3), .mute = true}, good = {.prepare = osr_ms(1)};
    struct osr_group outer, group;
    struct osr_task task;

    osr_group_open(&outer);
    osr_group_open(&group, .limit = 1);
    osr_spawn(&outer, start_from_inside, &group, .handle = &task, .eager = true);
    check_int(osr_start(&group, serve, &fails), -OSR_ENOTSTARTED);
    check_int(osr_start(&group, serve, &good), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

SIMULATED_TEST(a_daemon_can_be_started_and_is_cancelled_when_only_daemons_are_left)
{
    struct server d = {.prepare = osr_ms(2), .serve = OSR_NEVER};
    struct osr_group group;
    int result = 0;

    osr_group_open(&group);
    check_int(osr_start(&group, serve, &d, .daemon = true, .result = &result), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(2));
    check_int(result, -OSR_ETASKCANCELED);
    return 0;
}

OSR_TASK(start_a_daemon_into, struct osr_group, group)
{
    struct server d = {.prepare = osr_ms(2), .serve = OSR_NEVER};

    check_int(osr_start(group, serve, &d, .copy = sizeof(d), .daemon = true), 0);
    return 0;
}

SIMULATED_TEST(a_daemon_that_starts_when_only_daemons_are_left_is_cancelled)
{
    struct osr_group outer, group;
    struct server s = {.prepare = osr_ms(1)};

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&outer, start_a_daemon_into, &group);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(2));
    return osr_group_close(&outer, 0);
}

SIMULATED_TEST(a_daemon_that_does_not_start_is_counted_out)
{
    struct server d = {.prepare = osr_ms(2), .mute = true}, s = {.serve = osr_ms(5)};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, serve, &d, .daemon = true), -OSR_ENOTSTARTED);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(7)); /* the other one was no daemon */
    return 0;
}

SIMULATED_TEST(a_child_that_has_started_may_win)
{
    struct server s = {.serve = osr_ms(1)};
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_start(&group, serve, &s), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 1);
    return 0;
}

struct coming {
    struct osr_group *group;
    const char *name;
};

OSR_TASK(come_and_be_cut, struct coming, c)
{
    int rc = osr_sleep(osr_ms(2));

    if (rc == 0)
        rc = osr_started();
    if (rc == 0 || rc == -EINVAL) /* nobody waits for that */
        rc = osr_sleep(OSR_NEVER);
    tell("%s is cut", c->name);
    return rc;
}

OSR_TASK(start_one, struct coming, c) { return osr_start(c->group, come_and_be_cut, c); }

TOLD_TEST(who_has_come_in_last_by_starting_is_cut_last, "the spawned one is cut\nthe started one is cut\n")
{
    struct coming started = {.name = "the started one"}, spawned = {.name = "the spawned one"};
    struct osr_group outer, group;

    osr_group_open(&outer);
    osr_group_open(&group);
    started.group = &group;
    osr_spawn(&outer, start_one, &started);
    osr_yield(); /* it is the first that was made */
    osr_spawn(&group, come_and_be_cut, &spawned);
    osr_sleep(osr_ms(3));
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

/* ---- Handles ------------------------------------------------------------------------------------------- */

OSR_TASK(release_it_then_start, struct osr_task, self)
{
    check_int(osr_task_release(self), 0);
    check_int(osr_started(), 0);
    return 0;
}

SIMULATED_TEST(a_handle_may_be_given_up_before_the_child_has_started)
{
    struct osr_group group;
    struct osr_task task, next;

    osr_group_open(&group);
    check_int(osr_start(&group, release_it_then_start, &task, .handle = &task), 0);
    check_int(osr_group_next(&group, &next), 0);
    return osr_group_close(&group, 0);
}

OSR_TASK(release_it_and_end, struct osr_task, self)
{
    return osr_task_release(self);
}

struct sharing {
    struct osr_task task;
    int joined;
};

OSR_TASK(join_it, struct sharing, s)
{
    s->joined = osr_task_join(s->task);
    return 0;
}

SIMULATED_TEST(the_handle_of_a_start_that_failed_is_stale_but_who_joined_has_heard)
{
    struct server s = {.prepare = osr_ms(2), .rc = 6, .mute = true};
    struct osr_group outer, group;
    struct osr_task task, copy;
    struct sharing sharing = {.joined = 1};

    osr_group_open(&outer);
    osr_group_open(&group);
    check_int(osr_start(&group, release_it_and_end, &task, .handle = &task), -OSR_ENOTSTARTED);
    osr_spawn(&outer, join_it, &sharing);
    check_int(osr_start(&group, serve, &s, .handle = &sharing.task), -OSR_ENOTSTARTED);
    copy = sharing.task;
    check(copy.id_ == 0);
    check_int(osr_task_state(copy), -ESTALE);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_close(&outer, 0), 0);
    check_int(sharing.joined, 6);
    return 0;
}

SIMULATED_TEST(a_start_that_fails_before_there_is_a_child_leaves_no_handle_either)
{
    struct osr_task task = osr_self();
    struct osr_group group, closed;
    struct osr_scope scope;

    osr_group_open(&closed);
    osr_group_close(&closed, 0);
    check_int(osr_start(&closed, serve, NULL, .handle = &task), -OSR_ECLOSED);
    check(task.id_ == 0);
    osr_group_open(&group);
    task = osr_self();
    check_int(osr_start(&group, serve, NULL, .handle = &task, .eager = true), -EINVAL);
    check(task.id_ == 0);
    task = osr_self();
    check_int(osr_start(&group, serve, (struct server *)NULL, .handle = &task, .copy = SIZE_MAX / 2), -EINVAL);
    check(task.id_ == 0);
    osr_move_on_open(&scope, 0);
    task = osr_self();
    check_int(osr_start(&group, serve, NULL, .handle = &task), -ECANCELED);
    check(task.id_ == 0);
    osr_scope_close(&scope, 0);
    return osr_group_close(&group, 0);
}

OSR_TASK(fail_many_starts, void, unused)
{
    struct osr_group group;
    struct osr_task task;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 500; i++)
        check_int(osr_start(&group, say_nothing, NULL, .handle = &task), -OSR_ENOTSTARTED);
    osr_error_clear();
    check_int(osr_leaks_report(), 0);
    return osr_group_close(&group, 0);
}

TEST(starts_that_fail_leave_nothing_with_the_group)
{
    assert_int_equal(run_simulated(fail_many_starts, NULL), 0);
    assert_checked();
}

/* ---- Seeing, misuse, no memory ------------------------------------------------------------------------- */

OSR_TASK(look_at_the_tree, void, unused)
{
    char tree[2048];

    osr_tree_format(tree, sizeof(tree));
    check(strstr(tree, "waits in osr_start at ") != NULL);
    check(strstr(tree, "to be started at ") != NULL);
    check_int(osr_started(), 0);
    osr_tree_format(tree, sizeof(tree));
    check(strstr(tree, "to be started at ") != NULL); /* until its caller runs */
    osr_yield();
    osr_tree_format(tree, sizeof(tree));
    check(strstr(tree, "to be started at ") == NULL);
    return 0;
}

SIMULATED_TEST(a_child_that_is_being_started_stands_below_its_caller_in_the_tree)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(&group, look_at_the_tree, NULL), 0);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_start_that_makes_no_sense_is_refused)
{
    struct osr_spawn_options small = {.size = 3};
    struct server s = {.said = 5};
    struct osr_outcome outcome;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_start(NULL, serve, &s), -EINVAL);
    check_int(osr_start_with(&group, NULL, &s, NULL), -EINVAL);
    check_int(osr_start_with(&group, &serve.routine_, &s, &small), -EINVAL);
    check_int(osr_start(&group, serve, &s, .eager = true), -EINVAL);
    check_int(osr_start(&group, serve, &s, .outcome = &outcome), -EINVAL);
    check_int(osr_start(&group, serve, &s, .copy = SIZE_MAX), -E2BIG);
    check_int(s.said, 5);
    check_int(osr_group_running(&group), 0);
    check_int(osr_start_with(&group, &serve.routine_, &s, NULL), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_start(&group, serve, &s), -OSR_ECLOSED);
    return 0;
}

OSR_TASK(start_with_whatever_memory, void, unused)
{
    struct server good = {.prepare = osr_ms(1)}, bad = {.prepare = osr_ms(1), .rc = -EIO, .mute = true};
    struct osr_group group;
    struct osr_task task;
    int rc;

    osr_group_open(&group);
    rc = osr_start(&group, serve, &good, .handle = &task);
    check(rc == 0 || rc == -ENOMEM);
    rc = osr_start(&group, serve, &bad, .handle = &task);
    check(rc == -EIO || rc == -ENOMEM);
    rc = osr_group_close(&group, 0);
    check(rc == 0 || rc == -ENOMEM || rc == -OSR_EGROUP);
    return 0;
}

TEST(starting_loses_nothing_whichever_allocation_fails) { assert_survives(start_with_whatever_memory, false, 3); }

TEST(starting_loses_nothing_when_memory_runs_out) { assert_survives(start_with_whatever_memory, true, 3); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_start_returns_when_the_child_says_that_it_is_ready),
        story_test(from_then_on_it_is_a_child_of_the_group_whose_errors_fail_the_group),
        story_test(a_child_may_say_it_and_end_at_once),
        story_test(an_error_right_after_it_has_started_fails_the_group_and_not_the_start),
        story_test(saying_it_twice_or_unasked_is_refused),
        story_test(a_child_may_be_started_with_a_copy_a_name_and_a_handle),
        story_test(a_daemon_that_was_started_is_told_in_the_order_of_completion_like_others),
        story_test(an_error_before_it_has_started_comes_out_of_the_start_and_leaves_the_group_alone),
        story_test(who_passes_the_error_of_a_start_on_fails_with_that_very_error),
        story_test(a_child_that_ends_well_without_a_word_was_not_started),
        story_test(a_child_that_somebody_cancels_before_it_has_started_was_cancelled),
        story_test(a_child_that_is_cancelled_alone_may_still_start),
        story_test(a_timeout_around_a_start_cancels_that_child_only),
        story_test(a_cut_start_that_the_body_ignores_is_still_a_timeout),
        story_test(who_starts_is_refused_in_a_cancelled_scope_before_anything_happens),
        story_test(a_child_that_cleans_up_is_waited_for_and_its_saying_is_refused),
        story_test(saying_it_after_the_cut_is_refused_as_often_as_it_is_tried),
        story_test(a_real_error_of_a_child_that_was_cut_beats_the_cancellation),
        story_test(a_cancellation_rides_beside_the_error_of_a_start),
        story_test(a_start_that_has_succeeded_wins_over_the_cancellation_that_follows),
        story_test(a_cancellation_before_the_child_ends_without_a_word_wins),
        story_test(what_the_child_came_to_is_decided_when_it_ends),
        story_test(a_caller_under_a_shield_starts_in_a_cancelled_scope),
        story_test(a_child_started_into_a_cancelled_group_feels_that_from_then_on_but_not_under_its_shields),
        story_test(an_outsider_may_start_a_child_into_a_group_that_is_cancelled_and_closing),
        story_test(the_deadline_of_the_group_holds_for_the_child_and_all_below_it_once_it_has_moved),
        story_test(children_of_the_child_are_cut_when_it_moves_into_a_cancelled_group),
        story_test(the_deadline_in_effect_is_the_callers_first_and_then_the_groups),
        story_test(what_was_cut_before_the_move_is_not_blamed_on_the_scopes_around_the_group),
        story_test(a_child_of_the_group_may_start_another_while_the_owner_waits_in_the_close),
        story_test(a_group_does_not_close_as_long_as_one_is_being_started),
        story_test(a_start_that_fails_lets_the_waiting_group_close),
        story_test(who_has_started_sees_a_cancellation_from_however_far_outside_the_group),
        story_test(starts_can_be_nested),
        story_test(a_cancellation_reaches_through_nested_starts),
        story_test(a_child_that_is_started_cannot_join_who_waits_for_it),
        story_test(a_start_waits_for_a_place_and_a_cut_one_has_started_nothing),
        story_test(a_start_that_fails_gives_its_place_to_the_next),
        story_test(a_daemon_can_be_started_and_is_cancelled_when_only_daemons_are_left),
        story_test(a_daemon_that_starts_when_only_daemons_are_left_is_cancelled),
        story_test(a_daemon_that_does_not_start_is_counted_out),
        story_test(a_child_that_has_started_may_win),
        story_test(a_handle_may_be_given_up_before_the_child_has_started),
        story_test(the_handle_of_a_start_that_failed_is_stale_but_who_joined_has_heard),
        story_test(who_has_come_in_last_by_starting_is_cut_last),
        story_test(a_start_that_fails_before_there_is_a_child_leaves_no_handle_either),
        story_test(starts_that_fail_leave_nothing_with_the_group),
        story_test(a_child_that_is_being_started_stands_below_its_caller_in_the_tree),
        story_test(a_start_that_makes_no_sense_is_refused),
        story_test(starting_loses_nothing_whichever_allocation_fails),
        story_test(starting_loses_nothing_when_memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
