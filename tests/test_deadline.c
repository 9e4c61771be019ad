/* Deadlines and sleeps: which one is in effect, when it is noticed, and what comes first at one instant. */
#include "harness.h"

#include <math.h>
#include <time.h>
#include <unistd.h>

static int64_t monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Uses the processor up, without a call to the library. */
static void compute(int64_t duration)
{
    int64_t end = monotonic() + duration;

    while (monotonic() < end)
        ;
}

/* ---- Reckoning with times ------------------------------------------------------------------------------ */

static void test_seconds_with_a_fraction_saturate(void **state)
{
    (void)state;
    assert_true(osr_seconds(0) == 0);
    assert_true(osr_seconds(1.5) == 1500000000);
    assert_true(osr_seconds(-0.25) == -250000000);
    assert_true(osr_seconds(1e300) == OSR_NEVER);
    assert_true(osr_seconds(-1e300) == -OSR_NEVER);
    assert_true(osr_seconds((double)INFINITY) == OSR_NEVER);
    assert_true(osr_seconds((double)-INFINITY) == -OSR_NEVER);
    assert_true(osr_seconds((double)NAN) == OSR_TIME_INVALID);
    assert_true(osr_seconds(9223372036.854775807) == OSR_NEVER); /* the double next to it is 2^63 nanoseconds */
    assert_true(osr_seconds(9e9) == 9000000000000000000);
}

static void test_durations_saturate(void **state)
{
    (void)state;
    assert_true(osr_us(1) == 1000);
    assert_true(osr_ms(-3) == -3000000);
    assert_true(osr_s(2) == 2000000000);
    assert_true(osr_s(9223372036) == 9223372036000000000);
    assert_true(osr_s(9223372037) == OSR_NEVER);
    assert_true(osr_s(INT64_MAX) == OSR_NEVER);
    assert_true(osr_s(INT64_MIN) == -OSR_NEVER);
    assert_true(osr_ms(INT64_MIN) == -OSR_NEVER);
    assert_true(osr_us(INT64_MAX) == OSR_NEVER);
}

static void test_moments_saturate(void **state)
{
    (void)state;
    assert_true(osr_time_add(1, 2) == 3);
    assert_true(osr_time_add(5, -7) == -2);
    assert_true(osr_time_add(OSR_NEVER, -1) == OSR_NEVER);
    assert_true(osr_time_add(OSR_NEVER, 1) == OSR_NEVER);
    assert_true(osr_time_add(OSR_NEVER - 1, 1) == OSR_NEVER);
    assert_true(osr_time_add(OSR_NEVER - 1, 100) == OSR_NEVER);
    assert_true(osr_time_add(100, OSR_NEVER) == OSR_NEVER);
    assert_true(osr_time_add(-100, OSR_NEVER) == OSR_NEVER);
    assert_true(osr_time_add(-OSR_NEVER, -1) == -OSR_NEVER);
    assert_true(osr_time_add(-OSR_NEVER, -OSR_NEVER) == -OSR_NEVER);
    assert_true(osr_time_add(OSR_TIME_INVALID, 1) == OSR_TIME_INVALID);
    assert_true(osr_time_add(1, OSR_TIME_INVALID) == OSR_TIME_INVALID);
}

SIMULATED_TEST(test_a_time_that_is_no_number_is_refused)
{
    int64_t no_number = osr_seconds((double)NAN);
    struct osr_scope scope;

    check_int(osr_sleep(no_number), -EINVAL);
    check_int(osr_sleep(OSR_TIME_INVALID), -EINVAL);
    check_int(osr_sleep_until(OSR_TIME_INVALID), -EINVAL);
    check_int(osr_timeout_open(&scope, no_number), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_timeout_open_at(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_move_on_open(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_move_on_open_at(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_shield_open(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_close(&scope, 0), -EINVAL);

    osr_timeout_open(&scope, osr_ms(5));
    check_int(osr_scope_set_deadline(&scope, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_scope_deadline(&scope), osr_ms(5));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

/* ---- Which deadline is in effect ----------------------------------------------------------------------- */

SIMULATED_TEST(test_the_deadline_in_effect_is_the_smallest_up_to_the_nearest_shield)
{
    struct osr_scope wide, narrow, wider, shield, inside;

    check_int(osr_deadline(), OSR_NEVER);
    osr_timeout_open(&wide, osr_ms(100));
    check_int(osr_deadline(), osr_ms(100));
    osr_move_on_open(&narrow, osr_ms(50));
    check_int(osr_deadline(), osr_ms(50));
    osr_timeout_open(&wider, osr_ms(200));
    check_int(osr_deadline(), osr_ms(50));
    check_int(osr_scope_deadline(&wider), osr_ms(200)); /* its own */

    osr_shield_open_unlimited(&shield);
    check_int(osr_deadline(), OSR_NEVER);
    check_int(osr_scope_deadline(&shield), OSR_NEVER);
    osr_timeout_open(&inside, osr_ms(300));
    check_int(osr_deadline(), osr_ms(300));
    osr_scope_close(&inside, 0);
    osr_scope_close(&shield, 0);

    osr_shield_open(&shield, osr_ms(70));
    check_int(osr_deadline(), osr_ms(70));
    osr_scope_close(&shield, 0);
    check_int(osr_deadline(), osr_ms(50));
    osr_scope_close(&wider, 0);
    osr_scope_close(&narrow, 0);
    check_int(osr_deadline(), osr_ms(100));
    osr_scope_close(&wide, 0);
    check_int(osr_deadline(), OSR_NEVER);
    return 0;
}

OSR_TASK(sees_deadline, int64_t, expected)
{
    check_int(osr_deadline(), *expected);
    return 0;
}

SIMULATED_TEST(test_a_task_is_under_the_deadlines_around_its_group)
{
    struct osr_scope outer, inner;
    struct osr_group group;
    int64_t expected = osr_ms(100);

    osr_timeout_open(&outer, osr_ms(100));
    osr_group_open(&group);
    osr_timeout_open(&inner, osr_ms(50)); /* inside the group, so not its children's */
    osr_spawn(&group, sees_deadline, &expected);
    check_int(osr_yield(), 0);
    check_int(osr_deadline(), osr_ms(50));
    osr_scope_close(&inner, 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_scope_close(&outer, 0);
}

SIMULATED_TEST(test_a_groups_own_scope_can_have_a_deadline)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_scope_set_deadline(&group.scope, osr_ms(5)), 0);
    check_int(osr_deadline(), osr_ms(5));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(osr_scope_reason(&group.scope)->code, -ETIMEDOUT);
    check_int(osr_group_close(&group, -ECANCELED), 0);
    check(osr_scope_caught(&group.scope));
    return 0;
}

SIMULATED_TEST(test_a_limit_counts_from_the_opening)
{
    struct osr_scope scope;

    osr_sleep(osr_ms(10));
    osr_timeout_open(&scope, osr_ms(5));
    check_int(osr_scope_deadline(&scope), osr_ms(15));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(15));
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);

    osr_timeout_open_at(&scope, osr_ms(40));
    check_int(osr_scope_deadline(&scope), osr_ms(40));
    check_int(osr_scope_close(&scope, osr_sleep(OSR_NEVER)), -ETIMEDOUT);
    check_int(osr_now(), osr_ms(40));

    osr_move_on_open_at(&scope, osr_ms(45));
    check_int(osr_scope_close(&scope, osr_sleep(OSR_NEVER)), 0);
    check_int(osr_now(), osr_ms(45));
    return 0;
}

SIMULATED_TEST(test_limits_saturate)
{
    struct osr_scope scope, inner;

    osr_sleep(osr_ms(10));
    osr_timeout_open(&scope, OSR_NEVER - 1);
    check_int(osr_scope_deadline(&scope), OSR_NEVER);
    osr_timeout_open(&inner, osr_seconds(1e300));
    check_int(osr_deadline(), OSR_NEVER);
    check_int(osr_sleep(osr_s(1000000000)), 0);
    check_int(osr_scope_close(&inner, 0), 0);
    check_int(osr_scope_close(&scope, 0), 0);

    osr_timeout_open(&scope, -OSR_NEVER);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

REAL_TEST(test_a_limit_counts_from_the_opening_also_after_a_long_computation)
{
    struct osr_scope scope;
    int64_t opened;

    compute(osr_ms(30)); /* the loop has not looked at the clock meanwhile */
    opened = monotonic();
    osr_timeout_open(&scope, osr_ms(10000));
    check(osr_scope_deadline(&scope) >= opened + osr_ms(10000));
    check(osr_scope_deadline(&scope) <= monotonic() + osr_ms(10000));
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

/* ---- Moving a deadline --------------------------------------------------------------------------------- */

SIMULATED_TEST(test_a_deadline_can_be_moved_until_it_fires)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(10));
    check_int(osr_scope_set_deadline(&scope, osr_ms(30)), 0);
    check_int(osr_scope_deadline(&scope), osr_ms(30));
    check_int(osr_deadline(), osr_ms(30));
    check_int(osr_sleep(osr_ms(20)), 0);
    check_int(osr_scope_set_deadline(&scope, osr_ms(25)), 0);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(25));
    check_int(osr_scope_set_deadline(&scope, osr_ms(60)), -EALREADY);
    check_int(osr_scope_set_deadline(&scope, OSR_NEVER), -EALREADY);
    check_int(osr_scope_deadline(&scope), osr_ms(25));
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_a_deadline_that_nobody_has_noticed_yet_can_be_moved)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, 0);
    check_int(osr_scope_set_deadline(&scope, osr_ms(10)), 0);
    check_int(osr_check(), 0);
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    check(!osr_scope_cancelled(&scope));
    return 0;
}

SIMULATED_TEST(test_a_deadline_can_be_taken_away)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(10));
    check_int(osr_scope_set_deadline(&scope, OSR_NEVER), 0);
    check_int(osr_deadline(), OSR_NEVER);
    check_int(osr_sleep(osr_ms(20)), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return 0;
}

SIMULATED_TEST(test_a_scope_cancelled_by_hand_has_no_deadline_to_move)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(10));
    osr_scope_cancel(&scope, NULL);
    check_int(osr_scope_set_deadline(&scope, osr_ms(20)), -EALREADY);
    check_int(osr_scope_close(&scope, osr_check()), -OSR_ESCOPECANCELED);
    return 0;
}

SIMULATED_TEST(test_a_deadline_moved_into_the_past_refuses_the_next_call)
{
    struct osr_scope scope;

    osr_sleep(osr_ms(10));
    osr_timeout_open(&scope, osr_ms(10));
    check_int(osr_check(), 0);
    check_int(osr_scope_set_deadline(&scope, osr_ms(5)), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_now(), osr_ms(10));
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

struct move {
    struct osr_scope *scope;
    int64_t when, to;
};

OSR_TASK(mover, struct move, m)
{
    int rc = osr_sleep_until(m->when);

    return rc < 0 ? rc : osr_scope_set_deadline(m->scope, m->to);
}

/* How long a wait under a limit of 20 ms lasts if the limit is moved meanwhile, after 10 ms. */
static int64_t wait_moved(int64_t to, int result)
{
    struct osr_group helpers;
    struct osr_scope scope, inner;
    int64_t start = osr_now();
    struct move move = {&scope, start + osr_ms(10), to == OSR_NEVER ? to : start + to};

    osr_group_open(&helpers);
    osr_spawn(&helpers, mover, &move);
    osr_timeout_open(&scope, osr_ms(20));
    osr_scope_open(&inner); /* it is felt in all that is inside */
    check_int(osr_sleep(osr_ms(100)), result);
    check_int(osr_scope_close(&inner, result), result);
    check_int(osr_scope_close(&scope, result), result ? -ETIMEDOUT : 0);
    check_int(osr_group_close(&helpers, 0), 0);
    return osr_now() - start;
}

SIMULATED_TEST(test_a_parked_task_feels_that_its_deadline_was_moved)
{
    check_int(wait_moved(osr_ms(15), -ECANCELED), osr_ms(15));
    check_int(wait_moved(osr_ms(50), -ECANCELED), osr_ms(50));
    check_int(wait_moved(osr_ms(5), -ECANCELED), osr_ms(10));
    check_int(wait_moved(osr_ms(10), -ECANCELED), osr_ms(10));
    check_int(wait_moved(OSR_NEVER, 0), osr_ms(100));
    return 0;
}

/* Who closes a group inside is not cut, but what is due is the same afterwards as if it had been told. */
static void close_while_moved(int64_t to, int64_t due)
{
    struct osr_group group;
    struct osr_scope scope;
    int64_t start = osr_now();
    struct move move = {&scope, start + osr_ms(10), to == OSR_NEVER ? to : start + to};

    osr_timeout_open(&scope, osr_ms(20));
    osr_group_open(&group);
    osr_spawn(&group, mover, &move);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_deadline(), due == OSR_NEVER ? due : start + due);
    check_int(osr_sleep(osr_ms(15)), due == OSR_NEVER ? 0 : -ECANCELED);
    check_int(osr_now(), start + (due == OSR_NEVER ? osr_ms(25) : due));
    check_int(osr_scope_close(&scope, 0), due == OSR_NEVER ? 0 : -ETIMEDOUT);
}

SIMULATED_TEST(test_who_has_closed_a_group_feels_that_its_deadline_was_moved_meanwhile)
{
    close_while_moved(osr_ms(15), osr_ms(15));
    close_while_moved(osr_ms(24), osr_ms(24));
    close_while_moved(OSR_NEVER, OSR_NEVER);
    return 0;
}

/* ---- Sleeping ------------------------------------------------------------------------------------------ */

OSR_TASK(sets_flag, bool, flag)
{
    *flag = true;
    return 0;
}

/* Whether a sleep lets others run, and takes no time. */
static bool lets_others_run(int64_t at, bool absolute)
{
    struct osr_group group;
    bool ran = false, ran_before_the_end;
    int64_t start = osr_now();

    osr_group_open(&group);
    osr_spawn(&group, sets_flag, &ran);
    check_int(absolute ? osr_sleep_until(at) : osr_sleep(at), 0);
    ran_before_the_end = ran && osr_now() == start;
    osr_group_close(&group, 0);
    return ran_before_the_end;
}

SIMULATED_TEST(test_a_sleep_without_a_duration_lets_others_run_once)
{
    check_int(osr_sleep(osr_ms(10)), 0);
    check(lets_others_run(0, false));
    check(lets_others_run(-1, false));
    check(lets_others_run(-OSR_NEVER, false));
    check(lets_others_run(0, true));
    check(lets_others_run(osr_ms(10), true));
    check(lets_others_run(-OSR_NEVER, true));
    return 0;
}

SIMULATED_TEST(test_simulated_time_stands_still_while_tasks_can_run)
{
    int i;

    for (i = 0; i < 1000; i++)
        check_int(osr_yield(), 0);
    check_int(osr_now(), 0);
    check_int(osr_sleep(1), 0);
    check_int(osr_now(), 1);
    check_int(osr_sleep_until(osr_s(3600)), 0);
    check_int(osr_now(), osr_s(3600));
    return 0;
}

REAL_TEST(test_a_sleep_is_never_early)
{
    static const int64_t durations[] = {1, 999, 50000, 1000000, 1000001, 3141592, 20000000};
    int64_t start;
    size_t i;

    for (i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        start = monotonic();
        check_int(osr_sleep(durations[i]), 0);
        check(monotonic() - start >= durations[i]);
        start = monotonic();
        check_int(osr_sleep_until(start + durations[i]), 0);
        check(monotonic() >= start + durations[i]);
    }
    return 0;
}

REAL_TEST(test_a_deadline_is_never_early)
{
    struct osr_scope scope;
    int i;

    for (i = 0; i < 5; i++) {
        osr_timeout_open(&scope, osr_us(1700));
        check_int(osr_sleep(OSR_NEVER), -ECANCELED);
        check(monotonic() >= osr_scope_deadline(&scope));
        check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    }
    return 0;
}

/* ---- When a deadline is noticed ------------------------------------------------------------------------ */

SIMULATED_TEST(test_a_deadline_in_the_past_refuses_the_very_first_call)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    osr_timeout_open(&scope, -osr_ms(5));
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_now(), 0);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    osr_move_on_open_at(&scope, 0);
    check_int(osr_yield(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), 0);
    check(osr_scope_caught(&scope));
    return 0;
}

SIMULATED_TEST(test_an_expired_scope_without_a_cancellation_point_succeeds)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, -1);
    check(!osr_cancelled()); /* asking reads no clock */
    check_int(osr_scope_close(&scope, 5), 5);
    check(!osr_scope_cancelled(&scope)); /* nor does a close */
    check(!osr_scope_caught(&scope));
    check(osr_scope_reason(&scope) == NULL);
    return 0;
}

SIMULATED_TEST(test_an_expired_scope_that_is_cancelled_by_hand_first_was_cancelled_by_hand)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, 0);
    osr_scope_cancel(&scope, "a cancel reads no clock");
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

SIMULATED_TEST(test_one_reading_of_the_clock_notices_every_deadline_that_has_passed)
{
    struct osr_scope outer, middle, inner;

    osr_timeout_open(&outer, 0);
    osr_timeout_open(&middle, osr_s(1));
    osr_timeout_open(&inner, 0);
    check_int(osr_check(), -ECANCELED);
    check(osr_scope_cancelled(&outer));
    check(!osr_scope_cancelled(&middle));
    check(osr_scope_cancelled(&inner));
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&middle, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);

    osr_timeout_open(&outer, 0);
    osr_timeout_open(&inner, -1); /* the smaller one is inside */
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

REAL_TEST(test_an_entry_check_reads_the_clock_afresh)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(5));
    check_int(osr_check(), 0);
    compute(osr_ms(10));
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

OSR_TASK(sleep_under_a_limit, struct osr_scope, limit)
{
    osr_move_on_open(limit, osr_ms(1));
    return osr_scope_close(limit, osr_sleep(OSR_NEVER));
}

REAL_TEST(test_an_entry_check_whose_own_deadline_has_not_passed_notices_nobody_elses)
{
    struct osr_scope mine, other;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_under_a_limit, &other);
    osr_yield();
    osr_timeout_open(&mine, osr_s(3600));
    compute(osr_ms(5));
    check_int(osr_check(), 0);
    check(!osr_scope_cancelled(&other));
    check_int(osr_scope_close(&mine, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    check(osr_scope_caught(&other));
    return 0;
}

REAL_TEST(test_a_call_that_is_refused_from_further_out_reads_no_clock)
{
    struct osr_scope outer, inner;

    osr_scope_open(&outer);
    osr_timeout_open(&inner, osr_ms(1));
    osr_scope_cancel(&outer, NULL);
    compute(osr_ms(5));
    check_int(osr_check(), -ECANCELED);
    check(!osr_scope_cancelled(&inner));
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

REAL_TEST(test_a_task_that_only_yields_is_cut_by_its_deadline)
{
    struct osr_scope scope;
    int64_t start = monotonic();
    int rc;

    osr_timeout_open(&scope, osr_ms(20));
    while ((rc = osr_yield()) == 0 && monotonic() < start + osr_s(5))
        ;
    check_int(rc, -ECANCELED);
    check(monotonic() >= start + osr_ms(20));
    check_int(osr_scope_close(&scope, rc), -ETIMEDOUT);
    return 0;
}

struct limited {
    int64_t deadline;
    int rc;
    bool done;
};

OSR_TASK(waits_under_a_limit, struct limited, l)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(20));
    l->deadline = osr_scope_deadline(&scope);
    l->rc = osr_sleep(OSR_NEVER);
    l->done = true;
    osr_scope_close(&scope, l->rc);
    return 0;
}

REAL_TEST(test_the_loop_notices_a_deadline_within_256_steps_of_a_task_that_only_yields)
{
    struct osr_group group;
    struct limited limited = {0, 1, false};
    int64_t start = monotonic();
    int late = 0;

    osr_group_open(&group);
    osr_spawn(&group, waits_under_a_limit, &limited);
    osr_yield();
    while (!limited.done && monotonic() < start + osr_s(5)) {
        late += osr_now() >= limited.deadline;
        osr_yield(); /* no deadline is in effect here */
    }
    check_int(limited.rc, -ECANCELED);
    check(late <= 256 + 1); /* the loop looks, then the task's turn comes */
    return osr_group_close(&group, 0);
}

struct alarm {
    int64_t after;
    bool rang;
};

OSR_TASK(rings, struct alarm, alarm)
{
    check_int(osr_sleep(alarm->after), 0);
    alarm->rang = true;
    return 0;
}

REAL_TEST(test_a_sleeper_is_woken_although_another_task_only_yields)
{
    struct osr_group group;
    struct alarm alarm = {osr_ms(10), false};
    int64_t start = monotonic();

    osr_group_open(&group);
    osr_spawn(&group, rings, &alarm);
    while (!alarm.rang && monotonic() < start + osr_s(5))
        check_int(osr_yield(), 0);
    check(alarm.rang);
    check(monotonic() >= start + osr_ms(10));
    return osr_group_close(&group, 0);
}

/* ---- What comes first at one instant ------------------------------------------------------------------- */

SIMULATED_TEST(test_a_sleep_that_ends_with_its_limit_succeeds_and_the_next_call_is_cut)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(10));
    check_int(osr_sleep(osr_ms(10)), 0);
    check(osr_scope_cancelled(&scope)); /* it was cancelled before the task ran on */
    check(osr_cancelled());
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);

    osr_timeout_open(&scope, osr_ms(10));
    check_int(osr_sleep(osr_ms(10)), 0);
    check_int(osr_scope_close(&scope, 0), 0); /* nothing was cut */
    check(!osr_scope_caught(&scope));
    return 0;
}

/* Reads under a limit of 10 ms, and then makes another call. */
struct reader {
    int ends[2];
    int read, next;
};

OSR_TASK(reads_under_a_limit, struct reader, r)
{
    struct osr_scope scope;
    char byte;

    osr_timeout_open(&scope, osr_ms(10));
    r->read = osr_read(r->ends[0], &byte, 1);
    r->next = osr_check();
    check_int(osr_scope_close(&scope, r->next), r->next < 0 ? -ETIMEDOUT : 0);
    return 0;
}

/* Sleeps for as long as its limit, likewise. */
OSR_TASK(sleeps_to_its_limit, struct reader, r)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(10));
    r->read = osr_sleep(osr_ms(10));
    r->next = osr_check();
    check_int(osr_scope_close(&scope, r->next), r->next < 0 ? -ETIMEDOUT : 0);
    return 0;
}

REAL_TEST(test_what_is_there_when_the_loop_looks_is_delivered_before_the_limit_cuts)
{
    struct osr_group group;
    struct reader reader = {{-1, -1}, 99, 99}, sleeper = {{-1, -1}, 99, 99};

    check_int(pipe(reader.ends), 0);
    osr_group_open(&group);
    osr_spawn(&group, reads_under_a_limit, &reader);
    osr_spawn(&group, sleeps_to_its_limit, &sleeper);
    osr_yield();
    check_int(write(reader.ends[1], "x", 1), 1);
    compute(osr_ms(20)); /* then the byte, the sleep's end and the limits are found together */
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.read, 1);
    check_int(reader.next, -ECANCELED);
    check_int(sleeper.read, 0);
    check_int(sleeper.next, -ECANCELED);
    osr_fd_close(reader.ends[0]);
    osr_fd_close(reader.ends[1]);
    return 0;
}

REAL_TEST(test_what_is_there_when_a_call_looks_is_delivered_before_the_limit_cuts)
{
    struct osr_group group;
    struct osr_scope scope;
    struct reader reader = {{-1, -1}, 99, 99}, sleeper = {{-1, -1}, 99, 99};

    check_int(pipe(reader.ends), 0);
    osr_group_open(&group);
    osr_spawn(&group, reads_under_a_limit, &reader);
    osr_spawn(&group, sleeps_to_its_limit, &sleeper);
    osr_yield();
    osr_timeout_open(&scope, osr_ms(10));
    check_int(write(reader.ends[1], "x", 1), 1);
    compute(osr_ms(20));
    check_int(osr_check(), -ECANCELED); /* notices its own limit, and with it everybody's */
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.read, 1);
    check_int(reader.next, -ECANCELED);
    check_int(sleeper.read, 0);
    check_int(sleeper.next, -ECANCELED);
    osr_fd_close(reader.ends[0]);
    osr_fd_close(reader.ends[1]);
    return 0;
}

struct limited_wait {
    int64_t limit;
    struct osr_scope *other; /* of the other task */
    struct osr_scope scope;
    bool first;
};

static int limited_waits_ended;

OSR_TASK(waits_and_looks_at_the_other, struct limited_wait, w)
{
    osr_timeout_open(&w->scope, w->limit);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    w->first = limited_waits_ended++ == 0;
    check(osr_scope_cancelled(w->other));
    linger(osr_ms(1)); /* both scopes stay open until both have looked */
    check_int(osr_scope_close(&w->scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_every_scope_that_is_due_is_cancelled_before_any_task_runs)
{
    struct osr_group group;
    static struct limited_wait one, other;

    limited_waits_ended = 0;
    one = (struct limited_wait){.limit = osr_ms(10), .other = &other.scope};
    other = (struct limited_wait){.limit = osr_ms(10), .other = &one.scope};
    osr_group_open(&group);
    osr_spawn(&group, waits_and_looks_at_the_other, &one);
    osr_spawn(&group, waits_and_looks_at_the_other, &other);
    check_int(osr_group_close(&group, 0), 0);
    check(one.first);
    check(!other.first);
    return 0;
}

struct sleeper {
    const char *name;
    int64_t before, duration;
};

OSR_TASK(sleeps_and_tells, struct sleeper, s)
{
    check_int(osr_sleep(s->before), 0);
    check_int(osr_sleep(s->duration), 0);
    tell("%s at %lld", s->name, (long long)(osr_now() / osr_ms(1)));
    return 0;
}

OSR_TASK(ties_among_sleepers, void, unused)
{
    static struct sleeper sleepers[] = {
        {"from 4", 4000000, 6000000}, {"from 0", 0, 10000000}, {"from 7", 7000000, 3000000},
        {"early", 1000000, 1000000},  {"from 9", 9000000, 1000000}, {"from 0 too", 0, 10000000},
    };
    struct osr_group group;
    size_t i;

    osr_group_open(&group);
    for (i = 0; i < sizeof(sleepers) / sizeof(sleepers[0]); i++)
        osr_spawn(&group, sleeps_and_tells, &sleepers[i]);
    return osr_group_close(&group, 0);
}

static void test_sleepers_due_at_one_instant_wake_in_the_order_in_which_they_lay_down(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(ties_among_sleepers, NULL), 0);
    assert_checked();
    assert_story("early at 2\n"
                 "from 0 at 10\n"
                 "from 0 too at 10\n"
                 "from 4 at 10\n"
                 "from 7 at 10\n"
                 "from 9 at 10\n");
}

struct bound {
    const char *name;
    struct osr_scope scope;
};

/* Waits under a limit that ends at 10 ms, and tells when it is cut. */
OSR_TASK(bound, struct bound, b)
{
    osr_timeout_open_at(&b->scope, osr_ms(10));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    tell("%s at %lld", b->name, (long long)(osr_now() / osr_ms(1)));
    check_int(osr_scope_close(&b->scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

static struct sleeper asleep = {"asleep", 5000000, 5000000};

OSR_TASK(ties_among_deadlines, void, unused)
{
    static struct bound a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, bound, &a);
    osr_spawn(&group, bound, &b);
    osr_spawn(&group, bound, &c);
    osr_spawn(&group, sleeps_and_tells, &asleep);
    check_int(osr_sleep(osr_ms(7)), 0);
    check_int(osr_scope_set_deadline(&a.scope, osr_ms(20)), 0);
    check_int(osr_scope_set_deadline(&a.scope, osr_ms(10)), 0); /* set last, so it comes last */
    return osr_group_close(&group, 0);
}

static void test_deadlines_of_one_instant_fire_in_the_order_in_which_they_were_set_after_the_sleeps(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(ties_among_deadlines, NULL), 0);
    assert_checked();
    assert_story("asleep at 10\n"
                 "b at 10\n"
                 "c at 10\n"
                 "a at 10\n");
}

static struct bound second = {.name = "second"};

/* Sets its deadline first, but waits last. */
OSR_TASK(sets_first_and_waits_last, struct osr_group, group)
{
    struct osr_scope scope;

    osr_timeout_open_at(&scope, osr_ms(10));
    osr_spawn(group, bound, &second, .eager = true);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    tell("first");
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

OSR_TASK(set_and_wait, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sets_first_and_waits_last, &group);
    return osr_group_close(&group, 0);
}

static void test_what_counts_is_when_a_deadline_was_set_not_when_its_task_first_waited(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(set_and_wait, NULL), 0);
    assert_checked();
    assert_story("first\nsecond at 10\n");
}

/* ---- Against a model: a sorted list -------------------------------------------------------------------- */

enum { SLEEPERS = 1000, NAPS = 8 };

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

struct waking {
    int64_t at;
    long order; /* of setting */
    int who;
};

static int by_time_then_order(const void *a, const void *b)
{
    const struct waking *one = a, *other = b;

    if (one->at != other->at)
        return one->at < other->at ? -1 : 1;
    return one->order < other->order ? -1 : one->order > other->order;
}

static struct waking seen[SLEEPERS * NAPS], foreseen[SLEEPERS * NAPS];
static long seen_count;

static void see(int who)
{
    seen[seen_count++] = (struct waking){osr_now(), 0, who};
}

static void assert_seen_as_foreseen(long count)
{
    long i;

    assert_int_equal(seen_count, count);
    for (i = 0; i < count; i++) {
        assert_int_equal(seen[i].who, foreseen[i].who);
        assert_true(seen[i].at == foreseen[i].at);
    }
}

struct napper {
    int number;
    int64_t naps[NAPS];
};

static struct napper nappers[SLEEPERS];

OSR_TASK(sleeps_once, struct napper, n)
{
    check_int(osr_sleep(n->naps[0]), 0);
    see(n->number);
    return 0;
}

OSR_TASK(thousand_sleepers, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < SLEEPERS; i++)
        check_int(osr_spawn(&group, sleeps_once, &nappers[i]), 0);
    return osr_group_close(&group, 0);
}

/* Durations of which many are equal, some are tiny and some are huge. */
static int64_t random_duration(void)
{
    uint64_t kind = next_random() % 4, value = next_random();

    if (kind == 0)
        return 1 + (int64_t)(value % 10);
    if (kind == 1)
        return osr_ms(1 + (int64_t)(value % 50));
    return 1 + (int64_t)(value % (kind == 2 ? 1000000000u : UINT64_C(1) << 60));
}

static void test_a_thousand_sleepers_wake_in_the_order_of_a_sorted_list(void **state)
{
    int i, round;

    (void)state;
    for (round = 1; round <= 5; round++) {
        random_state = 0x9e3779b97f4a7c15u * (unsigned)round;
        seen_count = 0;
        for (i = 0; i < SLEEPERS; i++) {
            nappers[i] = (struct napper){.number = i, .naps = {random_duration()}};
            foreseen[i] = (struct waking){nappers[i].naps[0], i, i};
        }
        qsort(foreseen, SLEEPERS, sizeof(foreseen[0]), by_time_then_order);
        assert_int_equal(run_simulated(thousand_sleepers, NULL), 0);
        assert_checked();
        assert_seen_as_foreseen(SLEEPERS);
    }
}

OSR_TASK(naps, struct napper, n)
{
    int i;

    for (i = 0; i < NAPS; i++) {
        check_int(osr_sleep(n->naps[i]), 0);
        see(n->number);
    }
    return 0;
}

enum { NAPPERS = 200 };

OSR_TASK(nap_again_and_again, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < NAPPERS; i++)
        check_int(osr_spawn(&group, naps, &nappers[i]), 0);
    return osr_group_close(&group, 0);
}

/* The slowest of all timer queues: each task's next waking, searched from end to end. */
static long foresee_naps(void)
{
    struct waking next[NAPPERS];
    int taken[NAPPERS] = {0}, i, best;
    long count = 0, order = 0;

    for (i = 0; i < NAPPERS; i++)
        next[i] = (struct waking){nappers[i].naps[0], order++, i};
    while (count < NAPPERS * NAPS) {
        for (best = -1, i = 0; i < NAPPERS; i++)
            if (taken[i] < NAPS && (best < 0 || by_time_then_order(&next[i], &next[best]) < 0))
                best = i;
        foreseen[count++] = next[best];
        if (++taken[best] < NAPS)
            next[best] = (struct waking){next[best].at + nappers[best].naps[taken[best]], order++, best};
    }
    return count;
}

static void test_sleepers_that_lie_down_again_and_again_wake_in_order(void **state)
{
    int i, nap;

    (void)state;
    random_state = 0x2545f4914f6cdd1du;
    seen_count = 0;
    for (i = 0; i < NAPPERS; i++) {
        nappers[i].number = i;
        for (nap = 0; nap < NAPS; nap++)
            nappers[i].naps[nap] = 1 + (int64_t)(next_random() % 20); /* nearly every instant is a tie */
    }
    foresee_naps();
    assert_int_equal(run_simulated(nap_again_and_again, NULL), 0);
    assert_checked();
    assert_seen_as_foreseen(NAPPERS * NAPS);
}

enum { LIMITS = 300, MOVES = 2000 };

static struct limit {
    int number;
    struct osr_scope scope;
} limits[LIMITS];

OSR_TASK(waits_for_its_limit, struct limit, l)
{
    osr_move_on_open(&l->scope, OSR_NEVER);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    see(l->number);
    check_int(osr_scope_close(&l->scope, -ECANCELED), 0);
    return 0;
}

OSR_TASK(moves_limits_about, void, unused)
{
    struct osr_group group;
    long order;
    int i;

    osr_group_open(&group);
    for (i = 0; i < LIMITS; i++) {
        limits[i].number = i;
        check_int(osr_spawn(&group, waits_for_its_limit, &limits[i]), 0);
    }
    check_int(osr_sleep(1), 0);
    for (order = 0; order < LIMITS + MOVES; order++) {
        i = order < LIMITS ? (int)order : (int)(next_random() % LIMITS);
        foreseen[i] = (struct waking){osr_ms(1 + (int64_t)(next_random() % 40)), order, i};
        check_int(osr_scope_set_deadline(&limits[i].scope, foreseen[i].at), 0);
    }
    return osr_group_close(&group, 0);
}

static void test_limits_moved_about_fire_in_the_order_of_a_sorted_list(void **state)
{
    (void)state;
    random_state = 0x9e3779b97f4a7c15u;
    seen_count = 0;
    assert_int_equal(run_simulated(moves_limits_about, NULL), 0);
    assert_checked();
    qsort(foreseen, LIMITS, sizeof(foreseen[0]), by_time_then_order);
    assert_seen_as_foreseen(LIMITS);
}

SIMULATED_TEST(test_moving_a_deadline_moves_that_of_all_that_is_inside)
{
    struct osr_scope outer, middle, inner;

    osr_timeout_open(&outer, osr_ms(100));
    osr_move_on_open(&middle, osr_ms(60));
    osr_scope_open(&inner);
    check_int(osr_deadline(), osr_ms(60));
    check_int(osr_scope_set_deadline(&outer, osr_ms(20)), 0);
    check_int(osr_deadline(), osr_ms(20));
    check_int(osr_scope_set_deadline(&outer, OSR_NEVER), 0);
    check_int(osr_deadline(), osr_ms(60));
    check_int(osr_scope_set_deadline(&outer, 0), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&middle, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

/* Sleepers that are woken long before their time leave holes all over the heap. */
enum { LIGHT_SLEEPERS = 600 };

struct light_sleeper {
    int64_t at, woke;
    struct osr_task handle;
};

OSR_TASK(sleeps_lightly, struct light_sleeper, sleeper)
{
    int rc = osr_sleep_until(sleeper->at);

    sleeper->woke = osr_now();
    return rc;
}

SIMULATED_TEST(test_sleepers_keep_their_order_when_others_among_them_are_cancelled)
{
    static struct light_sleeper sleepers[LIGHT_SLEEPERS];
    struct osr_group group;
    int i, round, wrong = 0;
    unsigned random = 1;

    for (round = 0; round < 5; round++) {
        int64_t begin = osr_now();

        osr_group_open(&group);
        for (i = 0; i < LIGHT_SLEEPERS; i++) {
            random = random * 1103515245 + 12345;
            sleepers[i].at = begin + osr_ms(10 + (random >> 16) % 1000);
            osr_spawn(&group, sleeps_lightly, &sleepers[i], .handle = &sleepers[i].handle);
        }
        check_int(osr_sleep(osr_ms(1)), 0);
        for (i = 0; i < LIGHT_SLEEPERS; i += 2) {
            random = random * 1103515245 + 12345;
            osr_task_cancel(sleepers[(random >> 16) % LIGHT_SLEEPERS].handle, NULL);
        }
        check_int(osr_sleep(osr_s(2)), 0);
        for (i = 0; i < LIGHT_SLEEPERS; i++)
            wrong += sleepers[i].woke != sleepers[i].at && sleepers[i].woke != begin + osr_ms(1);
        check_int(osr_group_close(&group, 0), 0);
    }
    check_int(wrong, 0);
    return 0;
}

/* ---- Without memory ------------------------------------------------------------------------------------ */

OSR_TASK(set_a_deadline_without_memory, void, unused)
{
    static struct osr_scope inner[500];
    struct osr_scope outer;
    int rc = 0, open = 1;

    osr_scope_open(&outer);
    osr_timeout_open(&inner[0], osr_s(2));
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    while (rc == 0 && open < 500) {
        rc = osr_timeout_open(&inner[open], osr_s(2));
        open += rc == 0;
    }
    check_int(rc, -ENOMEM);
    check_int(osr_scope_close(&inner[open], 0), -ENOMEM);
    check_int(osr_scope_set_deadline(&outer, osr_s(1)), -ENOMEM);
    check_int(osr_scope_deadline(&outer), OSR_NEVER);
    check_int(osr_deadline(), osr_s(2));
    check_int(osr_scope_set_deadline(&inner[0], osr_s(3)), 0); /* it has a place already */
    counting.fail_at = 0;
    check_int(osr_scope_set_deadline(&outer, osr_s(1)), 0);
    check_int(osr_deadline(), osr_s(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_s(1));
    while (open > 0)
        check_int(osr_scope_close(&inner[--open], -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

static void test_a_deadline_for_which_there_is_no_memory_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(set_a_deadline_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        story_test(test_seconds_with_a_fraction_saturate),
        story_test(test_durations_saturate),
        story_test(test_moments_saturate),
        story_test(test_a_time_that_is_no_number_is_refused),
        story_test(test_the_deadline_in_effect_is_the_smallest_up_to_the_nearest_shield),
        story_test(test_a_task_is_under_the_deadlines_around_its_group),
        story_test(test_a_groups_own_scope_can_have_a_deadline),
        story_test(test_a_limit_counts_from_the_opening),
        story_test(test_limits_saturate),
        story_test(test_a_limit_counts_from_the_opening_also_after_a_long_computation),
        story_test(test_a_deadline_can_be_moved_until_it_fires),
        story_test(test_a_deadline_that_nobody_has_noticed_yet_can_be_moved),
        story_test(test_a_deadline_can_be_taken_away),
        story_test(test_a_scope_cancelled_by_hand_has_no_deadline_to_move),
        story_test(test_a_deadline_moved_into_the_past_refuses_the_next_call),
        story_test(test_a_parked_task_feels_that_its_deadline_was_moved),
        story_test(test_who_has_closed_a_group_feels_that_its_deadline_was_moved_meanwhile),
        story_test(test_a_sleep_without_a_duration_lets_others_run_once),
        story_test(test_simulated_time_stands_still_while_tasks_can_run),
        story_test(test_a_sleep_is_never_early),
        story_test(test_a_deadline_is_never_early),
        story_test(test_a_deadline_in_the_past_refuses_the_very_first_call),
        story_test(test_an_expired_scope_without_a_cancellation_point_succeeds),
        story_test(test_an_expired_scope_that_is_cancelled_by_hand_first_was_cancelled_by_hand),
        story_test(test_one_reading_of_the_clock_notices_every_deadline_that_has_passed),
        story_test(test_an_entry_check_reads_the_clock_afresh),
        story_test(test_an_entry_check_whose_own_deadline_has_not_passed_notices_nobody_elses),
        story_test(test_a_call_that_is_refused_from_further_out_reads_no_clock),
        story_test(test_a_task_that_only_yields_is_cut_by_its_deadline),
        story_test(test_the_loop_notices_a_deadline_within_256_steps_of_a_task_that_only_yields),
        story_test(test_a_sleeper_is_woken_although_another_task_only_yields),
        story_test(test_a_sleep_that_ends_with_its_limit_succeeds_and_the_next_call_is_cut),
        story_test(test_what_is_there_when_the_loop_looks_is_delivered_before_the_limit_cuts),
        story_test(test_what_is_there_when_a_call_looks_is_delivered_before_the_limit_cuts),
        story_test(test_every_scope_that_is_due_is_cancelled_before_any_task_runs),
        story_test(test_sleepers_due_at_one_instant_wake_in_the_order_in_which_they_lay_down),
        story_test(test_deadlines_of_one_instant_fire_in_the_order_in_which_they_were_set_after_the_sleeps),
        story_test(test_what_counts_is_when_a_deadline_was_set_not_when_its_task_first_waited),
        story_test(test_a_thousand_sleepers_wake_in_the_order_of_a_sorted_list),
        story_test(test_sleepers_that_lie_down_again_and_again_wake_in_order),
        story_test(test_limits_moved_about_fire_in_the_order_of_a_sorted_list),
        story_test(test_moving_a_deadline_moves_that_of_all_that_is_inside),
        story_test(test_sleepers_keep_their_order_when_others_among_them_are_cancelled),
        story_test(test_a_deadline_for_which_there_is_no_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
