/* Groups' policies, daemons, outcomes, completion order, gathering. */
#include "harness.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- The children of these stories --------------------------------------------------------------------- */

/* Sleeps, and ends with `rc`: an error with the message "<name> failed", or a result. Cut, it cleans up for `after`, and
 * ends with `then`, or cancelled if that is 0. */
struct child {
    const char *name;
    int64_t sleep;
    int rc;
    int64_t after;
    int then;
};

#define ENDS(name, sleep, rc) {(name), (sleep), (rc), 0, 0}

static int fail_or_give(const struct child *c, int rc)
{
    return rc < 0 ? osr_fail(rc, "%s failed", c->name) : rc;
}

static int clean_up(const struct child *c)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    check(osr_sleep(c->after) == 0 || counting.fail_at > 0);
    check_int(osr_scope_close(&shield, 0), 0);
    return c->then ? fail_or_give(c, c->then) : -ECANCELED;
}

OSR_TASK(act, struct child, c)
{
    if (osr_sleep(c->sleep) < 0) {
        tell("%s is cut", c->name);
        return clean_up(c);
    }
    tell("%s ends", c->name);
    return fail_or_give(c, c->rc);
}

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }

/* Tells the tree of an error, with its places taken out. */
static void tell_error(const struct osr_error *error)
{
    char text[2048], *from, *to = text;
    bool inside = false;

    osr_error_format(error, text, sizeof(text));
    for (from = text; *from; from++) {
        inside = inside ? *from != ' ' && *from != ']' && *from != ':' : strncmp(from, "tests/", 6) == 0;
        if (!inside)
            *to++ = *from;
        else if (strncmp(from, ".c:", 3) == 0)
            from += strspn(from + 3, "0123456789") + 2;
    }
    *to = '\0';
    if (to > text && to[-1] == '\n')
        to[-1] = '\0';
    tell("%s", text);
}

/* ---- Collecting ---------------------------------------------------------------------------------------- */

SIMULATED_TEST(a_collecting_group_lets_no_error_cancel_and_gives_all_in_the_end)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 7), c = ENDS("c", osr_ms(3), -EPROTO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_COLLECT, .name = "all");
    osr_spawn(&group, act, &a, .name = "a");
    osr_spawn(&group, act, &b, .name = "b");
    osr_spawn(&group, act, &c, .name = "c");
    check_int(osr_group_close(&group, osr_fail(-EBADF, "the body failed")), -OSR_EGROUP);
    check_int(osr_now(), osr_ms(3));
    check(!osr_scope_cancelled(&group.scope));
    check_int(osr_group_winner(&group), -ENOENT);
    check(osr_group_losses(&group) == NULL);
    tell_error(osr_error_last());
    return 0;
}

TEST(the_tree_of_a_collecting_group_is_printed_whole)
{
    a_collecting_group_lets_no_error_cancel_and_gives_all_in_the_end(state);
    assert_story("a ends\nb ends\nc ends\n"
                 "OSR_EGROUP: 3 errors  [group \"all\" of task \"root\", ]\n"
                 "+- EBADF: the body failed  [task \"root\", ]\n"
                 "+- EIO: a failed  [task \"a\", ]\n"
                 "+- EPROTO: c failed  [task \"c\", ]\n");
}

SIMULATED_TEST(an_error_among_tasks_that_a_deadline_has_cancelled_is_printed_without_a_name)
{
    struct child a = ENDS("a", osr_ms(1), -EIO);
    struct osr_group group;
    struct osr_scope limit;
    char expected[128];

    osr_timeout_open(&limit, osr_ms(2));
    snprintf(expected, sizeof(expected), "1 error, 1 cancelled at %s: the deadline passed", limit.where_);
    osr_group_open(&group, .policy = OSR_COLLECT, .unwrap = false);
    osr_spawn(&group, act, &a, .name = "a");
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_last()), expected);
    check_int(osr_scope_close(&limit, -OSR_EGROUP), -OSR_EGROUP);
    return 0;
}

SIMULATED_TEST(an_error_among_cancelled_tasks_of_a_group_that_was_not_cancelled_is_printed_with_their_number)
{
    struct child a = ENDS("a", osr_ms(1), -EIO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_COLLECT, .unwrap = false);
    osr_spawn(&group, act, &a, .name = "a");
    osr_spawn(&group, sleep_forever, NULL, .daemon = true);
    osr_spawn(&group, sleep_forever, NULL, .daemon = true);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_last()), "1 error, 2 cancelled");
    check_int(osr_error_cancelled(osr_error_last()), 2);
    return 0;
}

SIMULATED_TEST(a_lone_error_of_a_collecting_group_comes_out_as_itself_where_asked_for)
{
    struct child a = ENDS("a", osr_ms(1), -EIO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_COLLECT, .unwrap = true);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 0), -EIO);
    check_text(osr_error_message(osr_error_last()), "a failed");
    return 0;
}

OSR_TASK(fail_fatally, void, unused) { return osr_fail_fatal(-EINTR, "stop"); }

OSR_TASK(collect_a_fatal_error, void, unused)
{
    struct child a = ENDS("a", 0, -EIO), b = ENDS("b", OSR_NEVER, 0);
    struct osr_group group;
    int rc;

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    osr_spawn(&group, fail_fatally, NULL);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 2);
    return rc;
}

TEST(a_fatal_error_passes_a_collecting_group_and_keeps_its_siblings_beside_it)
{
    assert_int_equal(run_simulated(collect_a_fatal_error, NULL), -EINTR);
    assert_non_null(osr_error_find(osr_error_last(), EIO));
    assert_non_null(osr_error_find(osr_error_last(), EINTR));
    osr_error_clear();
    assert_checked();
    assert_story("a ends\nb is cut\n");
}

/* ---- The first to end ---------------------------------------------------------------------------------- */

SIMULATED_TEST(the_first_child_to_end_well_cancels_the_others)
{
    struct child a = ENDS("a", osr_ms(3), 0), b = ENDS("b", osr_ms(1), 5), c = ENDS("c", osr_ms(2), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b, .name = "b");
    osr_spawn(&group, act, &c);
    check_int(osr_group_winner(&group), -ENOENT);
    check_int(osr_group_close(&group, 9), 9);
    check_int(osr_now(), osr_ms(1));
    check_int(osr_group_winner(&group), 1);
    check(osr_group_losses(&group) == NULL);
    check_text(osr_scope_reason(&group.scope)->who, "b");
    check_text(osr_scope_reason(&group.scope)->text, "it was the first");
    check(osr_scope_caught(&group.scope));
    return 0;
}

SIMULATED_TEST(the_first_child_to_end_badly_cancels_the_others_and_fails_the_group)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, act, &b);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_group_winner(&group), 1);
    check_int(osr_scope_reason(&group.scope)->code, -EIO);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

SIMULATED_TEST(the_first_to_end_may_have_ended_with_an_error_that_is_a_result)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0);
    struct osr_outcome outcome;
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, act, &a, .outcome = &outcome);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 0);
    check_int(outcome.rc, -EIO);
    osr_error_release(outcome.error);
    return 0;
}

SIMULATED_TEST(an_error_of_the_body_cancels_a_group_that_waits_for_the_first_and_wins_nothing)
{
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_group_close(&group, -EIO), -OSR_EGROUP);
    check_int(osr_group_winner(&group), -ENOENT);
    return 0;
}

SIMULATED_TEST(who_is_cut_together_with_the_group_is_not_the_first_to_end)
{
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, sleep_forever, NULL);
    osr_scope_set_deadline(&group.scope, osr_ms(5));
    check_int(osr_group_close(&group, 0), 0);
    check(osr_scope_caught(&group.scope));
    check_int(osr_group_winner(&group), -ENOENT);
    return 0;
}

SIMULATED_TEST(a_child_that_was_cancelled_alone_may_be_the_first_to_end)
{
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, sleep_forever, NULL, .handle = &task);
    osr_task_cancel(task, "you");
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 1);
    return 0;
}

SIMULATED_TEST(with_two_that_end_at_one_moment_the_first_to_run_wins_and_the_second_counts_as_it_ended)
{
    struct child a = ENDS("a", osr_ms(1), 0), b = ENDS("b", osr_ms(1), -EIO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_group_winner(&group), 0);
    return 0;
}

/* ---- The first success --------------------------------------------------------------------------------- */

SIMULATED_TEST(errors_before_the_first_success_are_kept_and_do_not_fail_the_group)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), -EPROTO), c = ENDS("c", osr_ms(3), 4),
                 d = ENDS("d", osr_ms(9), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS, .name = "any");
    osr_spawn(&group, act, &a, .name = "a");
    osr_spawn(&group, act, &b, .name = "b");
    osr_spawn(&group, act, &c, .name = "c");
    osr_spawn(&group, act, &d, .name = "d");
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(3));
    check_int(osr_group_winner(&group), 2);
    check(osr_error_last() == NULL);
    tell_error(osr_group_losses(&group));
    return 0;
}

TEST(the_losses_before_the_first_success_are_a_tree_that_can_be_read)
{
    errors_before_the_first_success_are_kept_and_do_not_fail_the_group(state);
    assert_story("a ends\nb ends\nc ends\nd is cut\n"
                 "OSR_EGROUP: 2 errors before the first success  [group \"any\" of task \"root\", ]\n"
                 "+- EIO: a failed  [task \"a\", ]\n"
                 "+- EPROTO: b failed  [task \"b\", ]\n");
}

SIMULATED_TEST(losses_can_be_read_while_the_group_is_still_open)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_sleep(osr_ms(1)), 0);
    check(osr_group_losses(&group) == NULL); /* nobody has won yet */
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_text(osr_error_message(osr_group_losses(&group)), "1 error before the first success");
    check_int(osr_group_close(&group, -ECANCELED), 0);
    check_int(osr_error_count(osr_group_losses(&group)), 1);
    return 0;
}

SIMULATED_TEST(losses_are_counted_and_kept_however_many_there_are)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0);
    struct osr_group group;
    int i;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    for (i = 0; i < 50; i++)
        osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_text(osr_error_message(osr_group_losses(&group)), "50 errors before the first success");
    check_int(osr_error_count(osr_group_losses(&group)), 50);
    check_int(osr_group_close(&group, -ECANCELED), 0);
    return 0;
}

SIMULATED_TEST(if_none_succeeds_all_errors_are_raised)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), -EPROTO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, -EBADF), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 3);
    check_int(osr_group_winner(&group), -ENOENT);
    check(osr_group_losses(&group) == NULL);
    return 0;
}

SIMULATED_TEST(a_lone_loss_comes_out_as_itself_where_asked_for)
{
    struct child a = ENDS("a", osr_ms(1), -EIO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS, .unwrap = true);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 0), -EIO);
    return 0;
}

SIMULATED_TEST(an_error_of_the_body_before_the_first_success_is_a_loss)
{
    struct child a = ENDS("a", osr_ms(1), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, osr_fail(-EIO, "the body failed")), 0);
    check_int(osr_group_winner(&group), 0);
    check_text(osr_error_message(osr_error_find(osr_group_losses(&group), EIO)), "the body failed");
    return 0;
}

SIMULATED_TEST(a_success_of_the_body_wins_nothing)
{
    struct child a = ENDS("a", osr_ms(1), -EIO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 3), -OSR_EGROUP);
    return 0;
}

SIMULATED_TEST(an_error_after_the_first_success_fails_the_group_beside_the_losses)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0),
                 c = {.name = "c", .sleep = OSR_NEVER, .after = osr_ms(5), .then = -EPROTO};
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b, .name = "b");
    osr_spawn(&group, act, &c);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_group_winner(&group), 1);
    check_int(osr_error_count(osr_error_last()), 1);
    check(osr_error_find(osr_error_last(), EPROTO) != NULL);
    check(strstr(osr_error_message(osr_error_last()), "1 error, 0 cancelled by task \"b\"") != NULL);
    check_int(osr_error_count(osr_group_losses(&group)), 1);
    return 0;
}

SIMULATED_TEST(an_error_after_the_first_success_fails_the_group_where_there_are_no_losses)
{
    struct child b = ENDS("b", osr_ms(2), 0),
                 c = {.name = "c", .sleep = OSR_NEVER, .after = osr_ms(5), .then = -EPROTO};
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &b);
    osr_spawn(&group, act, &c);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check(osr_group_losses(&group) == NULL);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

SIMULATED_TEST(of_a_winner_and_a_loser_at_one_moment_the_order_decides)
{
    struct child good = ENDS("good", osr_ms(1), 0), bad = ENDS("bad", osr_ms(1), -EIO);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &bad);
    osr_spawn(&group, act, &good);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_error_count(osr_group_losses(&group)), 1);

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &good);
    osr_spawn(&group, act, &bad);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check(osr_group_losses(&group) == NULL);
    return 0;
}

SIMULATED_TEST(a_second_success_does_not_win)
{
    struct child a = ENDS("a", osr_ms(1), 0), b = ENDS("b", osr_ms(1), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 0);
    return 0;
}

SIMULATED_TEST(an_error_that_is_a_result_is_neither_a_loss_nor_a_success)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0);
    struct osr_outcome outcome;
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a, .outcome = &outcome);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 1);
    check(osr_group_losses(&group) == NULL);
    osr_error_release(outcome.error);
    return 0;
}

/* 38: eio 806 */
SIMULATED_TEST(a_winner_is_not_lost_to_a_cancellation_from_outside)
{
    struct child a = ENDS("a", osr_ms(1), 0), b = {.name = "b", .sleep = OSR_NEVER, .after = osr_ms(5)};
    struct osr_scope outside;
    struct osr_group group;

    osr_timeout_open(&outside, osr_ms(3));
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, 2), 2);
    check_int(osr_group_winner(&group), 0);
    check_int(osr_check(), -ECANCELED); /* the next call reports it */
    check_int(osr_scope_close(&outside, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(a_winner_at_the_moment_of_a_cancellation_from_outside_is_not_lost)
{
    struct child a = ENDS("a", osr_ms(1), 0);
    struct osr_scope outside;
    struct osr_group group;

    osr_timeout_open(&outside, osr_ms(1));
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_group_close(&group, 2), 2);
    check_int(osr_group_winner(&group), 0);
    check_int(osr_scope_close(&outside, 0), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(a_body_that_was_cut_passes_it_on_although_there_is_a_winner)
{
    struct child a = ENDS("a", osr_ms(1), 0), b = {.name = "b", .sleep = OSR_NEVER, .after = osr_ms(5)};
    struct osr_scope outside;
    struct osr_group group;

    osr_timeout_open(&outside, osr_ms(3));
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_group_close(&group, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outside, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(without_a_winner_a_cancellation_from_outside_goes_on)
{
    struct osr_scope outside;
    struct osr_group group;

    osr_timeout_open(&outside, osr_ms(1));
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_group_close(&group, 2), -ECANCELED);
    check_int(osr_group_winner(&group), -ENOENT);
    check_int(osr_scope_close(&outside, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(an_error_beside_a_winner_still_lets_a_cancellation_from_outside_ride)
{
    struct child a = ENDS("a", osr_ms(1), 0), b = {.name = "b", .sleep = OSR_NEVER, .after = osr_ms(5)},
                 c = {.name = "c", .sleep = OSR_NEVER, .after = osr_ms(5), .then = -EIO};
    struct osr_scope outside;
    struct osr_group group;
    int rc;

    osr_timeout_open(&outside, osr_ms(3));
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &b);
    osr_spawn(&group, act, &c);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_scope_close(&outside, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outside));
    return 0;
}

struct joining {
    struct osr_task task;
    int64_t wait;
};

OSR_TASK(join_and_pass_on, struct joining, j)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(j->wait), 0);
    rc = osr_task_join(j->task);
    return osr_scope_close(&shield, rc);
}

SIMULATED_TEST(a_loss_that_is_joined_after_the_first_success_is_not_counted_again)
{
    struct child a = ENDS("a", osr_ms(1), -EIO), b = ENDS("b", osr_ms(2), 0);
    struct joining late = {.wait = osr_ms(5)}, early = {.wait = 0};
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, act, &a, .handle = &late.task);
    early.task = late.task;
    osr_spawn(&group, join_and_pass_on, &early);
    osr_spawn(&group, join_and_pass_on, &late);
    osr_spawn(&group, act, &b);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_error_count(osr_group_losses(&group)), 1);
    return 0;
}

OSR_TASK(end_well_although_cancelled, void, unused)
{
    osr_yield();
    return 0;
}

OSR_TASK(succeed_after_a_fatal_error, void, unused)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, fail_fatally, NULL);
    osr_spawn(&group, end_well_although_cancelled, NULL);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_group_winner(&group), 1);
    check(osr_group_losses(&group) == NULL);
    return rc;
}

TEST(a_fatal_error_is_no_loss_that_a_success_excuses)
{
    assert_int_equal(run_simulated(succeed_after_a_fatal_error, NULL), -EINTR);
    osr_error_clear();
    assert_checked();
}

OSR_TASK(lose_in_a_loop, void, unused)
{
    struct child a = ENDS("a", 0, -EIO), b = ENDS("b", osr_ms(1), 0);
    struct osr_error *first = NULL;
    struct osr_group group;
    int i;

    for (i = 0; i < 1000; i++) {
        osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
        osr_spawn(&group, act, &a);
        osr_spawn(&group, act, &b);
        check_int(osr_group_close(&group, 0), 0);
        if (i == 0)
            first = osr_error_retain(osr_group_losses(&group));
    }
    check_int(osr_leaks_report(), 2); /* the latest tree, and the one retained */
    check_int(osr_error_count(first), 1);
    osr_error_release(first);
    return 0;
}

static void say_nothing(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    (void)kind;
    (void)text;
}

TEST(losses_do_not_gather_where_groups_close_in_a_loop)
{
    assert_int_equal(run_simulated(lose_in_a_loop, NULL, .diagnose = say_nothing), 0);
    assert_checked();
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(policies_that_do_not_exist_and_groups_that_do_not_are_refused)
{
    struct osr_group group;

    check_int(osr_group_open(&group, .policy = (enum osr_policy)(OSR_FIRST_SUCCESS + 1)), -EINVAL);
    check_int(osr_group_winner(&group), -ENOENT);
    check(osr_group_losses(&group) == NULL);
    check_int(osr_group_close(&group, 0), -EINVAL);
    check_int(osr_group_open(&group, .policy = (enum osr_policy)-1), -EINVAL);
    check_int(osr_group_close(&group, 0), -EINVAL);
    check_int(osr_group_winner(NULL), -EINVAL);
    check(osr_group_losses(NULL) == NULL);
    return 0;
}

SIMULATED_TEST(asking_for_the_winner_leaves_the_error_of_the_close_alone)
{
    struct child a = ENDS("a", 0, -EIO);
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_group_winner(&group), -ENOENT);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

/* ---- Daemons ------------------------------------------------------------------------------------------- */

SIMULATED_TEST(daemons_are_cancelled_when_only_daemons_are_left)
{
    struct child a = ENDS("a", osr_ms(3), 0), d = ENDS("d", OSR_NEVER, 0), e = ENDS("e", osr_ms(1), 0);
    struct osr_task task;
    struct osr_group group;
    int result = 1;

    osr_group_open(&group);
    osr_spawn(&group, act, &d, .daemon = true, .handle = &task, .result = &result, .name = "d");
    osr_spawn(&group, act, &e, .daemon = true); /* may end by itself */
    osr_spawn(&group, act, &a);
    check_int(osr_sleep(osr_ms(5)), 0); /* as long as the body runs, nobody is cancelled */
    check_int(osr_task_state(task), OSR_TASK_WAITING);
    check_int(osr_group_close(&group, 6), 6);
    check_int(osr_now(), osr_ms(5));
    check_int(result, -OSR_ETASKCANCELED);
    check(!osr_scope_cancelled(&group.scope));
    return 0;
}

SIMULATED_TEST(daemons_are_cancelled_when_the_last_other_child_ends_during_the_close)
{
    struct child a = ENDS("a", osr_ms(3), 0), d = ENDS("d", OSR_NEVER, 0);
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &d, .daemon = true);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(3));
    return 0;
}

SIMULATED_TEST(a_daemon_that_is_busy_with_cleaning_up_is_waited_for_and_its_error_counts)
{
    struct child d = {.name = "d", .sleep = OSR_NEVER, .after = osr_ms(7), .then = -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &d, .daemon = true);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_now(), osr_ms(7));
    return 0;
}

SIMULATED_TEST(an_error_of_a_daemon_cancels_the_others)
{
    struct child d = ENDS("d", osr_ms(1), -EIO), a = ENDS("a", OSR_NEVER, 0);
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, act, &d, .daemon = true);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

SIMULATED_TEST(a_daemon_wins_nothing)
{
    struct child d = ENDS("d", osr_ms(1), 0), a = ENDS("a", osr_ms(2), 0);
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, act, &d, .daemon = true);
    osr_spawn(&group, act, &a);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 1);
    return 0;
}

OSR_TASK(spawn_when_cancelled, struct osr_group, group)
{
    static struct child helper = ENDS("helper", 4 * 1000 * 1000, 0), other = ENDS("another daemon", OSR_NEVER, 0);
    int rc = osr_sleep(OSR_NEVER);

    check_int(osr_spawn(group, act, &helper), 0);
    check_int(osr_spawn(group, act, &other, .daemon = true), 0);
    return rc;
}

SIMULATED_TEST(a_daemon_may_spawn_when_it_is_cancelled_and_daemons_that_come_late_are_cancelled_too)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, spawn_when_cancelled, &group, .daemon = true);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(4));
    return 0;
}

OSR_TASK(spawn_a_daemon_when_cancelled, struct osr_group, group)
{
    static struct child other = ENDS("another daemon", OSR_NEVER, 0);
    int rc = osr_sleep(OSR_NEVER);

    check_int(osr_spawn(group, act, &other, .daemon = true), 0);
    return rc;
}

SIMULATED_TEST(a_daemon_that_a_daemon_spawns_when_only_daemons_are_left_is_cancelled)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, spawn_a_daemon_when_cancelled, &group, .daemon = true);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

struct spawning {
    struct osr_group *group;
    struct child *child;
    bool daemon;
};

OSR_TASK(spawn_it, struct spawning, s)
{
    check_int(osr_spawn(s->group, act, s->child, .daemon = s->daemon), 0);
    tell("%s is spawned", s->child->name);
    return 0;
}

SIMULATED_TEST(a_daemon_under_a_limit_gives_its_place_to_a_spawner_that_waits_for_it)
{
    struct child d = ENDS("d", OSR_NEVER, 0), a = ENDS("a", osr_ms(2), 0);
    struct osr_group outer, group;
    struct spawning s = {&group, &a, false};

    osr_group_open(&outer);
    osr_group_open(&group, .limit = 1);
    osr_spawn(&group, act, &d, .daemon = true);
    osr_spawn(&outer, spawn_it, &s);
    osr_yield();
    osr_yield();
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_running(&group), 0);
    check_int(osr_now(), osr_ms(2));
    return osr_group_close(&outer, 0);
}

TEST(a_spawner_that_waits_keeps_the_group_open_until_it_has_spawned)
{
    a_daemon_under_a_limit_gives_its_place_to_a_spawner_that_waits_for_it(state);
    assert_story("d is cut\na is spawned\na ends\n");
}

SIMULATED_TEST(a_daemon_spawned_for_a_place_that_was_waited_for_is_cancelled)
{
    struct child d = ENDS("d", OSR_NEVER, 0), a = ENDS("a", osr_ms(2), 0), e = ENDS("e", OSR_NEVER, 0);
    struct osr_group outer, group;
    struct spawning s = {&group, &e, true};

    osr_group_open(&outer);
    osr_group_open(&group, .limit = 2);
    osr_spawn(&group, act, &d, .daemon = true);
    osr_spawn(&group, act, &a);
    osr_spawn(&outer, spawn_it, &s);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(2));
    return osr_group_close(&outer, 0);
}

OSR_TASK(ignore_cancellation, void, unused)
{
    int i;

    for (i = 0; i < 5; i++)
        (void)osr_sleep(osr_ms(1));
    return 3;
}

SIMULATED_TEST(a_daemon_that_ignores_its_cancellation_ends_as_it_says)
{
    struct osr_group group;
    int result = -1;

    osr_group_open(&group);
    osr_spawn(&group, ignore_cancellation, NULL, .daemon = true, .result = &result);
    check_int(osr_group_close(&group, 1), 1);
    check_int(result, 3);
    return 0;
}

/* ---- Results and outcomes ------------------------------------------------------------------------------ */

SIMULATED_TEST(a_result_is_what_the_task_gave)
{
    struct child good = ENDS("good", 0, 42), bad = ENDS("bad", osr_ms(1), -EIO);
    struct osr_group group;
    int results[3] = {99, 99, 99};

    osr_group_open(&group);
    osr_spawn(&group, act, &good, .result = &results[0]);
    osr_spawn(&group, act, &bad, .result = &results[1]);
    osr_spawn(&group, sleep_forever, NULL, .result = &results[2]);
    check_int(results[0], 99);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(results[0], 42);
    check_int(results[1], -EIO);
    check_int(results[2], -OSR_ETASKCANCELED);
    return 0;
}

SIMULATED_TEST(an_error_in_an_outcome_is_a_result_that_fails_nobody)
{
    struct child good = ENDS("good", osr_ms(5), 42), bad = ENDS("bad", osr_ms(1), -EIO);
    struct osr_outcome outcomes[3] = {{99, NULL}, {99, NULL}, {99, NULL}};
    struct osr_group group;
    struct osr_task task;
    int result = 0;

    osr_group_open(&group);
    osr_spawn(&group, act, &good, .outcome = &outcomes[0]);
    osr_spawn(&group, act, &bad, .outcome = &outcomes[1], .result = &result, .handle = &task, .name = "bad");
    osr_spawn(&group, sleep_forever, NULL, .outcome = &outcomes[2], .daemon = true);
    check_int(osr_task_join(task), -EIO);
    check(osr_error_last() == outcomes[1].error);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(5));
    check(!osr_scope_cancelled(&group.scope));
    check_int(outcomes[0].rc, 42);
    check(outcomes[0].error == NULL);
    check_int(outcomes[1].rc, -EIO);
    check_int(result, -EIO);
    check_text(osr_error_message(outcomes[1].error), "bad failed");
    check_text(osr_error_task(outcomes[1].error), "bad");
    check_int(outcomes[2].rc, -OSR_ETASKCANCELED);
    check(outcomes[2].error == NULL);
    osr_error_release(outcomes[1].error);
    check_int(osr_leaks_report(), 0);
    return 0;
}

/* Two inside: one fails when it is cut, the other passes the cancellation on beside it. */
OSR_TASK(fail_and_pass_on, void, unused)
{
    struct child a = {.name = "a", .sleep = OSR_NEVER, .then = -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &a);
    osr_spawn(&group, sleep_forever, NULL);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_cancellation_that_rides_beside_an_outcome_goes_on)
{
    struct osr_outcome outcome;
    struct osr_scope outside;
    struct osr_group group;

    osr_timeout_open(&outside, osr_ms(1));
    osr_group_open(&group);
    osr_spawn(&group, fail_and_pass_on, NULL, .outcome = &outcome);
    check_int(osr_group_close(&group, 0), -ECANCELED);
    check_int(outcome.rc, -OSR_EGROUP);
    check_int(osr_error_count(outcome.error), 1);
    osr_error_release(outcome.error);
    check_int(osr_scope_close(&outside, -ECANCELED), -ETIMEDOUT);
    return 0;
}

static struct osr_outcome outcome_of_a_run;

OSR_TASK(keep_an_outcome, void, unused)
{
    struct child a = ENDS("a", 0, -EIO);
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &a, .outcome = &outcome_of_a_run);
    return osr_group_close(&group, 0);
}

TEST(the_error_of_an_outcome_may_outlive_its_run)
{
    assert_int_equal(run_simulated(keep_an_outcome, NULL, .allocator = &counting_allocator), 0);
    assert_true(counting.live > 0);
    assert_string_equal(osr_error_message(outcome_of_a_run.error), "a failed");
    osr_error_release(outcome_of_a_run.error);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(collect_a_fatal_outcome, void, unused)
{
    struct osr_outcome outcome;
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    osr_spawn(&group, fail_fatally, NULL, .outcome = &outcome);
    rc = osr_group_close(&group, 0);
    check_int(outcome.rc, -EINTR);
    check(osr_error_is_fatal(outcome.error));
    osr_error_release(outcome.error);
    check_int(rc, -OSR_EGROUP);
    return rc;
}

TEST(a_fatal_error_passes_an_outcome)
{
    assert_int_equal(run_simulated(collect_a_fatal_outcome, NULL), -EINTR);
    osr_error_clear();
    assert_checked();
}

/* ---- In the order of completion ------------------------------------------------------------------------ */

static void tell_next(struct osr_group *group)
{
    struct osr_task task;
    int rc = osr_group_next(group, &task), result = 0;

    if (rc != 1) {
        tell("next gives %d, and %s", rc, task.id_ ? "something" : "nothing");
        return;
    }
    check_int(osr_task_result(task, &result), 0);
    tell("next is %s with %d", osr_task_name(task), result);
}

SIMULATED_TEST(children_with_a_handle_are_told_in_the_order_in_which_they_end)
{
    struct child a = ENDS("a", osr_ms(3), 0), b = ENDS("b", osr_ms(1), 5), c = ENDS("c", osr_ms(2), -EIO);
    struct osr_group group;
    struct osr_task tasks[3];

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, act, &a, .name = "a", .handle = &tasks[0]);
    osr_spawn(&group, act, &b, .name = "b", .handle = &tasks[1]);
    osr_spawn(&group, act, &c, .name = "c", .handle = &tasks[2]);
    osr_spawn(&group, act, &c, .name = "without a handle");
    tell_next(&group);
    check_int(osr_sleep(osr_ms(1)), 0); /* c ends unasked */
    tell_next(&group);
    tell_next(&group);
    tell_next(&group);
    check_int(osr_task_join(tasks[1]), 5); /* what was told can still be asked for */
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

TEST(each_is_told_once_and_then_there_is_none_left)
{
    children_with_a_handle_are_told_in_the_order_in_which_they_end(state);
    assert_story("b ends\nnext is b with 5\nc ends\nc ends\nnext is c with -5\na ends\nnext is a with 0\n"
                 "next gives 0, and nothing\n");
}

struct asker {
    struct osr_group *group;
    int number;
};

OSR_TASK(ask_next, struct asker, a)
{
    struct osr_task task;
    int rc = osr_group_next(a->group, &task);

    tell("asker %d gets %s", a->number, rc == 1 ? osr_task_name(task) : "nobody");
    return 0;
}

SIMULATED_TEST(several_who_wait_for_the_next_are_served_in_their_order_and_the_rest_dismissed)
{
    struct child a = ENDS("a", osr_ms(2), 0), b = ENDS("b", osr_ms(1), 0);
    struct osr_group outer, group;
    struct osr_task handle;
    int i;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, act, &a, .name = "a", .handle = &handle);
    osr_spawn(&group, act, &b, .name = "b", .handle = &handle);
    for (i = 0; i < 4; i++)
        osr_spawn_copy(&outer, ask_next, (&(struct asker){&group, i}));
    osr_yield();
    check_int(osr_group_close(&group, 0), 0); /* while they wait */
    return osr_group_close(&outer, 0);
}

TEST(who_waits_for_the_next_is_told_also_while_the_group_closes)
{
    several_who_wait_for_the_next_are_served_in_their_order_and_the_rest_dismissed(state);
    assert_story("b ends\nasker 0 gets b\na ends\nasker 1 gets a\nasker 2 gets nobody\nasker 3 gets nobody\n");
}

OSR_TASK(take_long_to_go, void, unused)
{
    struct osr_scope shield;
    int rc = osr_sleep(OSR_NEVER);

    osr_shield_open(&shield, osr_s(1));
    check_int(osr_scope_close(&shield, osr_sleep(osr_ms(2))), 0);
    return rc;
}

OSR_TASK(hear_of_all, struct osr_group, group)
{
    struct osr_task task;
    int rc;

    while ((rc = osr_group_next(group, &task)) == 1)
        tell("%s at %d", osr_task_name(task), (int)(osr_now() / osr_ms(1)));
    tell("%d at %d", rc, (int)(osr_now() / osr_ms(1)));
    return 0;
}

SIMULATED_TEST(the_losers_are_told_after_the_winner)
{
    struct child a = ENDS("a", osr_ms(1), 0);
    struct osr_group outer, group;
    struct osr_task handles[3];

    osr_group_open(&outer);
    osr_group_open(&group, .policy = OSR_FIRST_DONE);
    osr_spawn(&group, act, &a, .name = "winner", .handle = &handles[0]);
    osr_spawn(&group, take_long_to_go, NULL, .name = "first loser", .handle = &handles[1]);
    osr_spawn(&group, take_long_to_go, NULL, .name = "second loser", .handle = &handles[2]);
    osr_spawn(&outer, hear_of_all, &group);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

TEST(who_waits_for_the_next_is_told_of_losers_too)
{
    the_losers_are_told_after_the_winner(state);
    assert_story("a ends\nwinner at 1\nfirst loser at 3\nsecond loser at 3\n0 at 3\n");
}

OSR_TASK(join_it, struct osr_task, task)
{
    int rc = osr_task_join(*task);

    tell("joined with %d at %d", rc, (int)(osr_now() / osr_ms(1)));
    return 0;
}

SIMULATED_TEST(the_last_handle_is_given_up_while_it_is_joined)
{
    struct child a = ENDS("a", osr_ms(2), 8);
    struct osr_group outer, group;
    struct osr_task handle;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, act, &a, .name = "a", .handle = &handle);
    osr_spawn(&outer, join_it, &handle, .copy = sizeof(handle));
    osr_spawn(&outer, hear_of_all, &group);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_task_release(&handle), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

TEST(nobody_waits_for_a_child_whose_handle_was_given_up_although_it_is_joined)
{
    the_last_handle_is_given_up_while_it_is_joined(state);
    assert_story("0 at 1\na ends\njoined with 8 at 2\n");
}

SIMULATED_TEST(who_is_cut_while_waiting_for_the_next_leaves_the_child_for_the_next_time)
{
    struct child a = ENDS("a", osr_ms(5), 8);
    struct osr_task handle, task = {1};
    struct osr_group group;
    struct osr_scope limit;

    osr_group_open(&group);
    osr_spawn(&group, act, &a, .name = "a", .handle = &handle);
    osr_timeout_open(&limit, osr_ms(2));
    check_int(osr_group_next(&group, &task), -ECANCELED);
    check(task.id_ == 0);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    osr_timeout_open(&limit, 0);
    check_int(osr_group_next(&group, &task), -ECANCELED); /* refused */
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    tell_next(&group);
    tell_next(&group);
    return osr_group_close(&group, 0);
}

TEST(a_cut_wait_for_the_next_has_taken_nothing)
{
    who_is_cut_while_waiting_for_the_next_leaves_the_child_for_the_next_time(state);
    assert_story("a ends\nnext is a with 8\nnext gives 0, and nothing\n");
}

struct releasing {
    struct osr_task task;
};

OSR_TASK(release_it, struct releasing, r)
{
    check_int(osr_sleep(osr_ms(1)), 0);
    return osr_task_release(&r->task);
}

SIMULATED_TEST(a_handle_that_is_released_while_its_task_is_waited_for_is_not_told)
{
    struct child a = ENDS("a", osr_ms(5), 0);
    struct osr_group outer, group;
    struct releasing r;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, act, &a, .handle = &r.task);
    osr_spawn(&outer, release_it, &r);
    tell_next(&group); /* nobody is left who could be told */
    check_int(osr_now(), osr_ms(1));
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

SIMULATED_TEST(handles_released_before_and_after_the_end_are_not_told_and_others_are)
{
    struct child a = ENDS("a", osr_ms(1), 0);
    struct osr_task tasks[3], task;
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, act, &a, .handle = &tasks[i]);
    check_int(osr_task_release(&tasks[0]), 0);
    check_int(osr_sleep(osr_ms(2)), 0);
    check_int(osr_task_release(&tasks[1]), 0);
    check_int(osr_group_next(&group, &task), 1);
    check_int(task.id_, tasks[2].id_);
    check_int(osr_task_release(&task), 0); /* told and given up */
    check_int(osr_group_next(&group, &task), 0);
    check_int(osr_group_running(&group), 0);
    return osr_group_close(&group, 0);
}

struct asking {
    struct osr_group *group;
    struct osr_task self;
};

OSR_TASK(ask_next_and_tell, struct asking, a)
{
    struct osr_task task;
    int rc = osr_group_next(a->group, &task);

    tell("it gives %d, and then %s", rc, osr_check() == -ECANCELED ? "is cancelled" : "goes on");
    return osr_cancelled() ? -ECANCELED : 0;
}

OSR_TASK(end_and_cancel_who_asks, struct asking, a)
{
    check_int(osr_sleep(osr_ms(1)), 0);
    return osr_task_cancel(a->self, "too late");
}

SIMULATED_TEST(what_was_handed_over_is_told_though_the_waiter_is_cancelled_before_it_runs)
{
    struct child first = ENDS("first", osr_ms(1), 0);
    struct osr_group outer, group;
    struct asking asking = {.group = &group};
    struct osr_task handle;

    osr_group_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, act, &first, .handle = &handle);
    osr_spawn(&outer, ask_next_and_tell, &asking, .handle = &asking.self);
    osr_spawn(&outer, end_and_cancel_who_asks, &asking);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

TEST(the_next_that_was_handed_over_wins_over_a_cancellation)
{
    what_was_handed_over_is_told_though_the_waiter_is_cancelled_before_it_runs(state);
    assert_story("first ends\nit gives 1, and then is cancelled\n");
}

SIMULATED_TEST(an_eager_child_that_has_ended_is_the_next)
{
    struct child a = ENDS("a", 0, 0);
    struct osr_task handle, task;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, end_well_although_cancelled, NULL, .handle = &handle, .eager = true);
    osr_spawn(&group, act, &a, .handle = &handle);
    check_int(osr_group_next(&group, &task), 1);
    check_int(osr_group_next(&group, &task), 1);
    check_int(osr_group_next(&group, &task), 0);
    return osr_group_close(&group, 0);
}

static int ask_next_in_clean_up(void *group)
{
    struct osr_task task;

    check_int(osr_group_next(group, &task), 1);
    check_int(osr_task_state(task), OSR_TASK_DONE);
    check_int(osr_group_next(group, &task), 0);
    return 0;
}

SIMULATED_TEST(the_next_can_still_be_asked_for_when_all_have_ended_and_not_after_the_close)
{
    struct child a = ENDS("a", 0, 0);
    struct osr_task handle, task;
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group);
    osr_defer_unlimited(&cleanup, ask_next_in_clean_up, &group);
    osr_spawn(&group, act, &a, .handle = &handle);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_next(&group, &task), -OSR_ECLOSED);
    check_int(osr_task_state(handle), -ESTALE);
    return 0;
}

OSR_TASK(give_itself_up_twice, void, unused)
{
    struct osr_task self = osr_self();

    check_int(osr_task_release(&self), 0);
    self = osr_self();
    check_int(osr_task_release(&self), 0);
    return 0;
}

SIMULATED_TEST(who_gives_its_own_handle_up_is_no_longer_waited_for_and_is_not_counted_twice)
{
    struct child a = ENDS("a", osr_ms(1), 0);
    struct osr_task handle, task;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, act, &a, .handle = &handle);
    osr_spawn(&group, give_itself_up_twice, NULL, .handle = &handle);
    check_int(osr_yield(), 0);
    check_int(osr_group_next(&group, &task), 1);
    check_text(osr_task_name(task), "act");
    check_int(osr_group_next(&group, &task), 0);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(asking_for_the_next_of_nothing_is_refused)
{
    struct osr_group group, never = {.running_ = 0};
    struct osr_task task;

    osr_group_open(&group);
    check_int(osr_group_next(NULL, &task), -EINVAL);
    check_int(osr_group_next(&group, NULL), -EINVAL);
    task = osr_self();
    check_int(osr_group_next(&never, &task), -EINVAL);
    check(task.id_ == 0);
    check_int(osr_group_next(&group, &task), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_open(&group, .limit = -1), -EINVAL);
    check_int(osr_group_next(&group, &task), -EINVAL);
    check_int(osr_group_close(&group, 0), -EINVAL);
    return 0;
}

TEST(outside_a_run_groups_can_be_asked_for_nothing)
{
    struct osr_group group = {.running_ = 0};
    struct osr_task task;

    assert_int_equal(osr_group_next(&group, &task), -EPERM);
    assert_int_equal(osr_started(), -EPERM);
    assert_int_equal(osr_start(&group, sleep_forever, NULL), -EPERM);
    assert_int_equal(osr_gather(sleep_forever, (void **)NULL, 0), -EPERM);
    osr_error_clear();
}

/* ---- Gathering ----------------------------------------------------------------------------------------- */

SIMULATED_TEST(gathering_runs_a_task_for_each_argument_side_by_side)
{
    struct child all[3] = {ENDS("a", osr_ms(3), 1), ENDS("b", osr_ms(1), 2), ENDS("c", osr_ms(2), 3)};
    int results[3] = {9, 9, 9};

    check_int(osr_gather(act, all, 3), 0);
    check_int(osr_now(), osr_ms(3));
    check_int(osr_gather(act, all, 3, .limit = 1, .results = results), 0);
    check_int(osr_now(), osr_ms(9));
    check_int(results[0], 1);
    check_int(results[1], 2);
    check_int(results[2], 3);
    check_int(osr_gather(act, all, 0), 0);
    check_int(osr_gather(act, (struct child *)NULL, 0), 0);
    return 0;
}

OSR_TASK(give_ones_number, int, number) { return *number; }

SIMULATED_TEST(any_number_of_tasks_is_gathered)
{
    static int numbers[1000], results[1000];
    int i;

    for (i = 0; i < 1000; i++)
        numbers[i] = i;
    check_int(osr_gather(give_ones_number, numbers, 1000, .results = results), 0);
    check(memcmp(numbers, results, sizeof(numbers)) == 0);
    memset(results, 0, sizeof(results));
    check_int(osr_gather(give_ones_number, numbers, 1000, .results = results, .limit = 3), 0);
    check(memcmp(numbers, results, sizeof(numbers)) == 0);
    return 0;
}

SIMULATED_TEST(the_first_error_cancels_what_is_gathered_and_comes_out)
{
    struct child all[3] = {ENDS("a", osr_ms(3), 1), ENDS("b", osr_ms(1), -EIO), ENDS("c", osr_ms(2), 3)};
    int results[3] = {9, 9, 9};

    check_int(osr_gather(act, all, 3, .results = results, .name = "all"), -OSR_EGROUP);
    check_text(osr_error_group(osr_error_last()), "all");
    check_int(results[0], -OSR_ETASKCANCELED);
    check_int(results[1], -EIO);
    check_int(results[2], -OSR_ETASKCANCELED);
    return 0;
}

SIMULATED_TEST(errors_may_be_results_of_what_is_gathered)
{
    struct child all[2] = {ENDS("a", osr_ms(3), 1), ENDS("b", osr_ms(1), -EIO)};
    struct osr_outcome outcomes[2];

    check_int(osr_gather(act, all, 2, .outcomes = outcomes), 0);
    check_int(outcomes[0].rc, 1);
    check(outcomes[0].error == NULL);
    check_int(outcomes[1].rc, -EIO);
    check_text(osr_error_message(outcomes[1].error), "b failed");
    osr_error_release(outcomes[1].error);
    return 0;
}

SIMULATED_TEST(places_of_tasks_that_were_never_spawned_say_cancelled)
{
    struct child all[3] = {ENDS("a", osr_ms(1), -EIO), ENDS("b", osr_ms(1), 5), ENDS("c", osr_ms(1), 5)};
    int results[3] = {9, 9, 9};

    check_int(osr_gather(act, all, 3, .limit = 1, .results = results), -OSR_EGROUP);
    check_int(results[0], -EIO);
    check_int(results[1], -OSR_ETASKCANCELED);
    check_int(results[2], -OSR_ETASKCANCELED);
    return 0;
}

SIMULATED_TEST(the_first_success_of_what_is_gathered_is_enough)
{
    struct child all[3] = {ENDS("a", osr_ms(1), -EIO), ENDS("b", osr_ms(2), 5), ENDS("c", osr_ms(9), 5)};
    int results[3] = {9, 9, 9};

    check_int(osr_gather(act, all, 3, .policy = OSR_FIRST_SUCCESS, .results = results, .limit = 2), 0);
    check_int(results[0], -EIO);
    check_int(results[1], 5);
    check_int(results[2], -OSR_ETASKCANCELED);
    return 0;
}

SIMULATED_TEST(gathering_nothing_sensible_is_refused)
{
    const struct osr_routine empty = {NULL, "empty", NULL};
    struct osr_gather_options options = {.size = 3};
    struct child all[1] = {ENDS("a", 0, 0)};
    int results[1] = {9};

    check_int(osr_gather_with(NULL, all, 1, sizeof(all[0]), NULL), -EINVAL);
    check_int(osr_gather_with(&empty, all, 0, sizeof(all[0]), NULL), -EINVAL);
    check_int(osr_gather_with(&act.routine_, all, SIZE_MAX, sizeof(all[0]), NULL), -EINVAL);
    check_int(osr_gather(act, (struct child *)NULL, 1), -EINVAL);
    check_int(osr_gather_with(&act.routine_, all, 1, sizeof(all[0]), &options), -EINVAL);
    check_int(osr_gather_with(&act.routine_, all, 1, sizeof(all[0]), NULL), 0);
    check_int(osr_gather(act, all, 1, .limit = -1, .results = results), -EINVAL);
    check_int(results[0], -OSR_ETASKCANCELED);
    return 0;
}

OSR_TASK(gather_more_than_there_is_memory_for, void, unused)
{
    enum { MANY = 100 };
    static struct child all[MANY];
    int results[MANY], i;

    for (i = 0; i < MANY; i++)
        all[i] = (struct child)ENDS("one of many", osr_ms(1), 0);
    counting.fail_at = counting.made + 1; /* once: what comes after it could be spawned */
    check_int(osr_gather(act, all, MANY, .results = results), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), ENOMEM) != NULL);
    check_int(results[0], -OSR_ETASKCANCELED);
    check_int(results[MANY - 1], -OSR_ETASKCANCELED);
    return 0;
}

TEST(a_task_that_cannot_be_spawned_fails_what_is_gathered)
{
    assert_int_equal(run_simulated(gather_more_than_there_is_memory_for, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

/* ---- From calls ---------------------------------------------------------------------------------------- */

struct calling {
    struct osr_group *group;
    struct child *child;
    struct osr_task task;
    struct osr_scope *scope;
};

static void spawn_from_a_call(void *arg)
{
    struct calling *c = arg;

    check_int(osr_spawn(c->group, act, c->child, .eager = true), 0); /* which has no effect here */
    check_int(osr_spawn(c->group, act, c->child), -EAGAIN);          /* it would have to wait for a place */
    check_int(osr_spawn(NULL, act, c->child), -EINVAL);
    check_int(osr_start(c->group, act, c->child), -EPERM);
    check_int(osr_started(), -EPERM);
}

SIMULATED_TEST(a_call_may_spawn_but_not_wait_for_a_place)
{
    struct child a = ENDS("a", osr_ms(1), 0);
    struct osr_call call = {.record_ = NULL};
    struct osr_group group;
    struct calling c = {.group = &group, .child = &a};

    osr_group_open(&group, .limit = 1);
    check_int(osr_call_soon(&call, spawn_from_a_call, &c), 0);
    check_int(osr_yield(), 0);
    check_int(osr_group_running(&group), 1);
    return osr_group_close(&group, 0);
}

static void ask_from_a_call(void *arg)
{
    struct calling *c = arg;
    int rc = 0;

    check_int(osr_task_result(c->task, &rc), 0);
    tell("done with %d", rc);
    check_int(osr_task_state(c->task), rc < 0 ? OSR_TASK_FAILED : OSR_TASK_DONE);
    check_text(osr_task_name(c->task), "a");
    check_int(osr_task_join(c->task), -EPERM);
    check_int(osr_scope_cancel(c->scope, "the child is done"), 0);
}

SIMULATED_TEST(a_call_comes_when_a_task_is_done_and_may_ask_how_and_cancel)
{
    struct child a = ENDS("a", osr_ms(3), 7);
    struct osr_call call = {.record_ = NULL}, again = {.record_ = NULL}, released = {.record_ = NULL};
    struct osr_scope limit;
    struct osr_group group;
    struct calling c = {.child = &a, .scope = &limit};
    struct osr_task gone;

    osr_group_open(&group);
    osr_spawn(&group, act, &a, .name = "a", .handle = &c.task);
    osr_scope_open(&limit);
    check_int(osr_task_on_done(c.task, &call, ask_from_a_call, &c), 0);
    check_int(osr_task_on_done(c.task, &call, ask_from_a_call, &c), -EBUSY);
    check(osr_call_pending(&call));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(3));
    check(!osr_call_pending(&call));
    check_int(osr_scope_close(&limit, -ECANCELED), -OSR_ESCOPECANCELED);

    osr_scope_open(&limit);
    check_int(osr_task_on_done(c.task, &again, ask_from_a_call, &c), 0); /* it is: at once soon */
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -OSR_ESCOPECANCELED);

    check_int(osr_task_on_done(c.task, NULL, ask_from_a_call, &c), -EINVAL);
    check_int(osr_task_on_done(c.task, &released, NULL, &c), -EINVAL);
    gone = c.task;
    check_int(osr_task_release(&c.task), 0);
    check_int(osr_task_on_done(gone, &released, ask_from_a_call, &c), -ESTALE);
    return osr_group_close(&group, 0);
}

TEST(a_call_for_the_end_of_a_task_comes_once_for_each_time_that_it_is_asked_for)
{
    a_call_comes_when_a_task_is_done_and_may_ask_how_and_cancel(state);
    assert_story("a ends\ndone with 7\ndone with 7\n");
    assert_int_equal(osr_task_on_done((struct osr_task){1}, NULL, NULL, NULL), -EPERM);
    osr_error_clear();
}

static void tell_call(void *arg) { tell("%s", (const char *)arg); }

SIMULATED_TEST(a_call_for_the_end_of_a_task_comes_though_the_handle_was_released_and_not_when_its_scope_has_closed)
{
    struct child a = ENDS("a", osr_ms(3), 0);
    struct osr_call first = {.record_ = NULL}, second = {.record_ = NULL}, third = {.record_ = NULL};
    struct osr_scope scope;
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group);
    osr_spawn(&group, act, &a, .handle = &task);
    check_int(osr_task_on_done(task, &first, tell_call, (void *)"first"), 0);
    check_int(osr_task_on_done(task, &third, tell_call, (void *)"third"), 0);
    osr_scope_open(&scope);
    check_int(osr_task_on_done(task, &second, tell_call, (void *)"second"), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    check(!osr_call_pending(&second));
    check_int(osr_call_cancel(&third), 0);
    check_int(osr_task_release(&task), 0);
    check_int(osr_sleep(osr_ms(5)), 0);
    return osr_group_close(&group, 0);
}

TEST(only_the_call_that_is_still_bound_comes)
{
    a_call_for_the_end_of_a_task_comes_though_the_handle_was_released_and_not_when_its_scope_has_closed(state);
    assert_story("a ends\nfirst\n");
}

static void fail_in_a_call(void *arg)
{
    (void)arg;
    (void)osr_fail(-EIO, "in a call");
}

OSR_TASK(make_a_failing_call, void, unused)
{
    struct osr_call call = {.record_ = NULL};

    check_int(osr_call_soon(&call, fail_in_a_call, NULL), 0);
    return osr_yield();
}

TEST(an_error_of_a_call_is_not_taken_for_one_of_the_run)
{
    assert_int_equal(run_simulated(make_a_failing_call, NULL), 0);
    assert_null(osr_error_last());
    assert_checked();
}

/* ---- Without memory ------------------------------------------------------------------------------------ */

OSR_TASK(ask_for_all, struct osr_group, group)
{
    struct osr_task task;
    int rc;

    while ((rc = osr_group_next(group, &task)) == 1)
        ;
    return rc;
}

/* All that groups can do, with whatever there is memory for. */
OSR_TASK(use_policies, void, unused)
{
    struct child a = ENDS("a", 0, -EIO), b = ENDS("b", osr_ms(1), -EPROTO), c = ENDS("c", osr_ms(2), 0),
                 d = {.name = "d", .sleep = OSR_NEVER, .after = osr_ms(1), .then = -EBADF}, all[2] = {a, c};
    struct osr_outcome outcomes[2] = {{0, NULL}, {0, NULL}}, outcome = {0, NULL};
    struct osr_call call = {.record_ = NULL};
    struct osr_group group, asking;
    struct osr_task task;
    int rc, i;

    osr_group_open(&asking);
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&asking, ask_for_all, &group);
    for (i = 0; i < 3; i++) {
        if (osr_spawn(&group, act, &a, .handle = &task) == 0)
            (void)osr_task_on_done(task, &call, tell_call, (void *)"done");
        osr_spawn(&group, act, &b, .outcome = i ? NULL : &outcome);
        osr_spawn(&group, act, &d, .daemon = true);
    }
    osr_spawn(&group, act, &c);
    rc = osr_group_close(&group, osr_fail(-EBADF, "the body failed"));
    check(rc == 0 || rc == -OSR_EGROUP || rc == -ENOMEM || rc == -EBADF);
    osr_error_release(outcome.error);
    (void)osr_group_close(&asking, 0);
    rc = osr_gather(act, all, 2, .outcomes = outcomes);
    check(rc == 0 || rc == -OSR_EGROUP || rc == -ENOMEM);
    osr_error_release(outcomes[0].error);
    osr_error_release(outcomes[1].error);
    return 0;
}

TEST(groups_lose_nothing_whichever_allocation_fails) { assert_survives(use_policies, false, 5); }

TEST(groups_lose_nothing_when_memory_runs_out) { assert_survives(use_policies, true, 5); }

/* Errors are not lost though no memory can be had once everything is open. */
OSR_TASK(fail_without_memory, void, unused)
{
    enum { MANY = 40 };
    struct child a = ENDS("a", 0, -EIO), b = ENDS("b", osr_ms(1), 0), d = {.name = "d", .sleep = OSR_NEVER, .then = -EPROTO};
    struct osr_group group;
    int i;

    check_int(osr_group_open(&group, .policy = OSR_FIRST_SUCCESS), 0);
    for (i = 0; i < MANY; i++) {
        check_int(osr_spawn(&group, act, &a), 0);
        check_int(osr_spawn(&group, act, &d), 0);
    }
    check_int(osr_spawn(&group, act, &b), 0);
    check_int(osr_sleep(0), 0);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    check_int(osr_group_close(&group, -EBADF), -OSR_EGROUP);
    check_int(osr_error_count(osr_group_losses(&group)), MANY + 1);
    check_int(osr_error_count(osr_error_last()), MANY);
    counting.fail_at = 0;
    return 0;
}

TEST(without_memory_no_loss_and_no_error_is_lost)
{
    assert_int_equal(run_simulated(fail_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_int_equal(counting.live, 0);
    assert_checked();
}

/* ---- At random ----------------------------------------------------------------------------------------- */

enum { MOST = 6 };

static uint64_t randomness;

static unsigned draw(unsigned n)
{
    randomness ^= randomness << 13;
    randomness ^= randomness >> 7;
    randomness ^= randomness << 17;
    return (unsigned)(randomness >> 33) % n;
}

static unsigned choose_at_random(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg;
    (void)what;
    return kind == OSR_CHOICE_FAULT ? 0 : draw(n);
}

struct random_child {
    bool daemon, tells;
    int64_t sleep, after;
    int rc, then;
    int number, result;
    int64_t cut_at; /* -1: never */
    struct osr_outcome outcome;
    struct trial *trial;
};

/* One group with its children, and what happened in it, in its order. */
struct trial {
    enum osr_policy policy;
    struct random_child children[MOST];
    int count, body_rc;
    int64_t body_sleep, outer_limit, own_limit, began;
    struct { int who, rc; int64_t at; } ends[MOST + 1]; /* who: -1 is the body */
    int ended;
    int rc, winner; /* what the group gave */
    int errors[MOST + 1], losses[MOST + 1], errors_count, losses_count;
    unsigned cancelled;
    int64_t closed_at;
};

static int note_end(struct trial *t, int who, int rc)
{
    t->ends[t->ended].who = who;
    t->ends[t->ended].rc = rc;
    t->ends[t->ended++].at = osr_now() - t->began;
    return rc;
}

OSR_TASK(act_at_random, struct random_child, c)
{
    struct osr_scope shield;

    if (osr_sleep(c->sleep) == 0)
        return note_end(c->trial, c->number, c->rc);
    c->cut_at = osr_now() - c->trial->began;
    osr_shield_open_unlimited(&shield);
    (void)osr_sleep(c->after);
    (void)osr_scope_close(&shield, 0);
    return note_end(c->trial, c->number, c->then);
}

static int codes_of(const struct osr_error *tree, int codes[MOST + 1])
{
    const struct osr_error *leaf;
    struct osr_leaves walk;
    int count = 0;

    osr_leaves_init(&walk, tree);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        codes[count++] = osr_error_code(leaf);
    return count;
}

static void draw_trial(struct trial *t)
{
    static const int codes[] = {-EIO, -EPROTO, -EBADF, 0, 0, 3};
    int i;

    *t = (struct trial){.policy = (enum osr_policy)draw(4), .count = 1 + (int)draw(MOST), .began = osr_now()};
    t->body_sleep = osr_ms(draw(6));
    t->body_rc = codes[draw(6)];
    t->outer_limit = draw(3) ? OSR_NEVER : osr_ms(1 + draw(6));
    t->own_limit = draw(4) ? OSR_NEVER : osr_ms(1 + draw(6));
    for (i = 0; i < t->count; i++)
        t->children[i] = (struct random_child){
            .daemon = draw(4) == 0,
            .tells = draw(4) == 0,
            .sleep = draw(5) ? osr_ms(draw(6)) : osr_s(1),
            .after = osr_ms(draw(4)),
            .rc = codes[draw(6)],
            .then = draw(3) ? -ECANCELED : codes[draw(6)],
            .number = i,
            .result = 99,
            .cut_at = -1,
            .trial = t,
        };
}

static void run_trial(struct trial *t)
{
    struct osr_scope outer;
    struct osr_group group;
    int rc = t->body_rc, i;

    osr_timeout_open(&outer, t->outer_limit);
    osr_group_open(&group, .policy = t->policy);
    if (t->own_limit != OSR_NEVER)
        osr_scope_set_deadline(&group.scope, t->began + t->own_limit);
    for (i = 0; i < t->count; i++) {
        struct random_child *c = &t->children[i];

        osr_spawn(&group, act_at_random, c, .daemon = c->daemon, .result = &c->result,
                  .outcome = c->tells ? &c->outcome : NULL);
    }
    if (osr_sleep(t->body_sleep) < 0)
        rc = -ECANCELED;
    note_end(t, -1, rc);
    t->rc = osr_group_close(&group, rc);
    t->closed_at = osr_now() - t->began;
    t->winner = osr_group_winner(&group);
    t->losses_count = codes_of(osr_group_losses(&group), t->losses);
    if (t->rc == -OSR_EGROUP) {
        t->errors_count = codes_of(osr_error_last(), t->errors);
        t->cancelled = osr_error_cancelled(osr_error_last());
    }
    rc = osr_scope_close(&outer, t->rc);
    check_int(rc == -ETIMEDOUT, t->rc == -ECANCELED || (t->rc >= 0 && rc < 0));
    for (i = 0; i < t->count; i++)
        osr_error_release(t->children[i].outcome.error);
}

/* What the rules say of a trial, from the order in which its tasks ended. */
struct model {
    bool body_ended, passed_on, body_passed_on;
    int winner, others_left, errors[MOST + 1], losses[MOST + 1], errors_count, losses_count;
    unsigned cancelled;
    int64_t group_at, daemons_at; /* when they were cancelled */
};

static void model_cancel(struct model *m, int64_t at)
{
    if (at < m->group_at)
        m->group_at = at;
}

static void model_end(struct model *m, const struct trial *t, int who, int rc, int64_t at)
{
    const struct random_child *c = who < 0 ? NULL : &t->children[who];
    bool cancelled = rc == -ECANCELED, error = rc < 0 && !cancelled;
    bool passed = cancelled && (at >= m->group_at || at >= t->outer_limit), won = false;

    if (c && !c->daemon && m->winner < 0)
        won = (t->policy == OSR_FIRST_DONE && !passed) || (t->policy == OSR_FIRST_SUCCESS && rc >= 0);
    if (won) {
        m->winner = who;
        if (t->policy == OSR_FIRST_SUCCESS) {
            memcpy(m->losses, m->errors, sizeof(m->losses));
            m->losses_count = m->errors_count;
            m->errors_count = 0;
        }
    }
    if (error && !(c && c->tells)) {
        m->errors[m->errors_count++] = rc;
        if (t->policy == OSR_FAIL_FAST || t->policy == OSR_FIRST_DONE)
            model_cancel(m, at);
    }
    if (won)
        model_cancel(m, at);
    m->cancelled += cancelled;
    m->passed_on |= passed;
    m->body_passed_on |= passed && !c;
    m->body_ended |= !c;
    m->others_left -= c && !c->daemon;
    if (m->body_ended && m->others_left == 0 && at < m->daemons_at)
        m->daemons_at = at;
}

static void check_trial(const struct trial *t)
{
    struct model m = {.winner = -1, .group_at = t->own_limit, .daemons_at = OSR_NEVER};
    int rc, i;

    for (i = 0; i < t->count; i++)
        m.others_left += !t->children[i].daemon;
    check_int(t->ended, t->count + 1);
    for (i = 0; i < t->ended; i++)
        model_end(&m, t, t->ends[i].who, t->ends[i].rc, t->ends[i].at);
    rc = m.errors_count > 0 ? -OSR_EGROUP : t->ends[0].rc;
    for (i = 0; i < t->ended && m.errors_count == 0; i++)
        if (t->ends[i].who < 0)
            rc = t->ends[i].rc > 0 ? t->ends[i].rc : 0;
    if (m.errors_count == 0 && m.passed_on && t->closed_at >= t->outer_limit && (m.body_passed_on || m.winner < 0))
        rc = -ECANCELED;
    check_int(t->rc, rc);
    check_int(t->winner, m.winner < 0 ? -ENOENT : m.winner);
    check_int(t->errors_count, m.errors_count);
    check_int(t->losses_count, m.losses_count);
    check(memcmp(t->errors, m.errors, (size_t)m.errors_count * sizeof(int)) == 0);
    check(memcmp(t->losses, m.losses, (size_t)m.losses_count * sizeof(int)) == 0);
    if (m.errors_count > 0)
        check_int(t->cancelled, m.cancelled);
    check_int(t->closed_at, t->ends[t->ended - 1].at);
    for (i = 0; i < t->count; i++) {
        const struct random_child *c = &t->children[i];
        int64_t cancelled_at = t->outer_limit < m.group_at ? t->outer_limit : m.group_at;
        int gave = c->cut_at < 0 ? c->rc : c->then;

        if (c->daemon && m.daemons_at < cancelled_at)
            cancelled_at = m.daemons_at;
        if (c->cut_at >= 0)
            check_int(c->cut_at, cancelled_at);
        check(c->cut_at >= 0 ? c->sleep >= cancelled_at : c->sleep <= cancelled_at);
        check_int(c->result, gave == -ECANCELED ? -OSR_ETASKCANCELED : gave);
        check_int(c->tells ? c->outcome.rc : c->result, c->result);
    }
}

OSR_TASK(try_at_random, void, unused)
{
    struct trial t;
    long i;

    for (i = 0; i < sized(20000, 1000); i++) {
        draw_trial(&t);
        run_trial(&t);
        check_trial(&t);
    }
    return 0;
}

TEST(groups_of_all_policies_do_what_the_rules_say_in_any_order_of_events)
{
    randomness = 88172645463325252u;
    assert_int_equal(run_simulated(try_at_random, NULL, .choose = choose_at_random), 0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(the_tree_of_a_collecting_group_is_printed_whole),
        story_test(an_error_among_tasks_that_a_deadline_has_cancelled_is_printed_without_a_name),
        story_test(an_error_among_cancelled_tasks_of_a_group_that_was_not_cancelled_is_printed_with_their_number),
        story_test(a_lone_error_of_a_collecting_group_comes_out_as_itself_where_asked_for),
        story_test(a_fatal_error_passes_a_collecting_group_and_keeps_its_siblings_beside_it),
        story_test(the_first_child_to_end_well_cancels_the_others),
        story_test(the_first_child_to_end_badly_cancels_the_others_and_fails_the_group),
        story_test(the_first_to_end_may_have_ended_with_an_error_that_is_a_result),
        story_test(an_error_of_the_body_cancels_a_group_that_waits_for_the_first_and_wins_nothing),
        story_test(who_is_cut_together_with_the_group_is_not_the_first_to_end),
        story_test(a_child_that_was_cancelled_alone_may_be_the_first_to_end),
        story_test(with_two_that_end_at_one_moment_the_first_to_run_wins_and_the_second_counts_as_it_ended),
        story_test(the_losses_before_the_first_success_are_a_tree_that_can_be_read),
        story_test(losses_can_be_read_while_the_group_is_still_open),
        story_test(if_none_succeeds_all_errors_are_raised),
        story_test(a_lone_loss_comes_out_as_itself_where_asked_for),
        story_test(an_error_of_the_body_before_the_first_success_is_a_loss),
        story_test(a_success_of_the_body_wins_nothing),
        story_test(an_error_after_the_first_success_fails_the_group_beside_the_losses),
        story_test(an_error_after_the_first_success_fails_the_group_where_there_are_no_losses),
        story_test(of_a_winner_and_a_loser_at_one_moment_the_order_decides),
        story_test(a_second_success_does_not_win),
        story_test(an_error_that_is_a_result_is_neither_a_loss_nor_a_success),
        story_test(a_winner_is_not_lost_to_a_cancellation_from_outside),
        story_test(a_winner_at_the_moment_of_a_cancellation_from_outside_is_not_lost),
        story_test(a_body_that_was_cut_passes_it_on_although_there_is_a_winner),
        story_test(without_a_winner_a_cancellation_from_outside_goes_on),
        story_test(an_error_beside_a_winner_still_lets_a_cancellation_from_outside_ride),
        story_test(a_loss_that_is_joined_after_the_first_success_is_not_counted_again),
        story_test(a_fatal_error_is_no_loss_that_a_success_excuses),
        story_test(losses_do_not_gather_where_groups_close_in_a_loop),
        story_test(losses_are_counted_and_kept_however_many_there_are),
        story_test(policies_that_do_not_exist_and_groups_that_do_not_are_refused),
        story_test(asking_for_the_winner_leaves_the_error_of_the_close_alone),
        story_test(daemons_are_cancelled_when_only_daemons_are_left),
        story_test(daemons_are_cancelled_when_the_last_other_child_ends_during_the_close),
        story_test(a_daemon_that_is_busy_with_cleaning_up_is_waited_for_and_its_error_counts),
        story_test(an_error_of_a_daemon_cancels_the_others),
        story_test(a_daemon_wins_nothing),
        story_test(a_daemon_may_spawn_when_it_is_cancelled_and_daemons_that_come_late_are_cancelled_too),
        story_test(a_daemon_that_a_daemon_spawns_when_only_daemons_are_left_is_cancelled),
        story_test(a_spawner_that_waits_keeps_the_group_open_until_it_has_spawned),
        story_test(a_daemon_spawned_for_a_place_that_was_waited_for_is_cancelled),
        story_test(a_daemon_that_ignores_its_cancellation_ends_as_it_says),
        story_test(a_result_is_what_the_task_gave),
        story_test(an_error_in_an_outcome_is_a_result_that_fails_nobody),
        story_test(a_cancellation_that_rides_beside_an_outcome_goes_on),
        story_test(the_error_of_an_outcome_may_outlive_its_run),
        story_test(a_fatal_error_passes_an_outcome),
        story_test(each_is_told_once_and_then_there_is_none_left),
        story_test(who_waits_for_the_next_is_told_also_while_the_group_closes),
        story_test(who_waits_for_the_next_is_told_of_losers_too),
        story_test(nobody_waits_for_a_child_whose_handle_was_given_up_although_it_is_joined),
        story_test(a_cut_wait_for_the_next_has_taken_nothing),
        story_test(a_handle_that_is_released_while_its_task_is_waited_for_is_not_told),
        story_test(handles_released_before_and_after_the_end_are_not_told_and_others_are),
        story_test(the_next_that_was_handed_over_wins_over_a_cancellation),
        story_test(an_eager_child_that_has_ended_is_the_next),
        story_test(the_next_can_still_be_asked_for_when_all_have_ended_and_not_after_the_close),
        story_test(who_gives_its_own_handle_up_is_no_longer_waited_for_and_is_not_counted_twice),
        story_test(asking_for_the_next_of_nothing_is_refused),
        story_test(outside_a_run_groups_can_be_asked_for_nothing),
        story_test(gathering_runs_a_task_for_each_argument_side_by_side),
        story_test(any_number_of_tasks_is_gathered),
        story_test(the_first_error_cancels_what_is_gathered_and_comes_out),
        story_test(errors_may_be_results_of_what_is_gathered),
        story_test(places_of_tasks_that_were_never_spawned_say_cancelled),
        story_test(the_first_success_of_what_is_gathered_is_enough),
        story_test(gathering_nothing_sensible_is_refused),
        story_test(a_task_that_cannot_be_spawned_fails_what_is_gathered),
        story_test(a_call_may_spawn_but_not_wait_for_a_place),
        story_test(a_call_for_the_end_of_a_task_comes_once_for_each_time_that_it_is_asked_for),
        story_test(only_the_call_that_is_still_bound_comes),
        story_test(an_error_of_a_call_is_not_taken_for_one_of_the_run),
        story_test(groups_lose_nothing_whichever_allocation_fails),
        story_test(groups_lose_nothing_when_memory_runs_out),
        story_test(without_memory_no_loss_and_no_error_is_lost),
        story_test(groups_of_all_policies_do_what_the_rules_say_in_any_order_of_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
