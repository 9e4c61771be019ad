/* Futures: results that callbacks bring and tasks wait for. */
#include "harness.h"

#include <pthread.h>

struct waiter {
    const char *name;
    struct osr_future *future;
    struct osr_task task;
    void *value;
    int rc;
    bool returned;
};

OSR_TASK(waiter, struct waiter, w)
{
    w->rc = osr_future_wait(w->future, &w->value);
    w->returned = true;
    if (w->name)
        tell("%s: %s", w->name, osr_strcode(w->rc));
    return w->rc == -ECANCELED ? w->rc : 0;
}

static void bring(struct osr_group *group, struct waiter *waiters, int count, struct osr_future *future)
{
    static const char *const names[] = {"first", "second", "third"};
    int i;

    for (i = 0; i < count; i++) {
        waiters[i] = (struct waiter){.name = names[i], .future = future};
        osr_spawn(group, waiter, &waiters[i], .handle = &waiters[i].task);
    }
    osr_yield();
}

static void work_cancelled(void *arg) { tell("the work is cancelled: %s", (const char *)arg); }

static char thing[] = "a thing";

/* ---- Completing ---------------------------------------------------------------------------------------- */

TOLD_TEST(a_value_reaches_all_who_wait_and_all_who_come_later, "first: 0\nsecond: 0\n")
{
    struct waiter waiters[2];
    struct osr_future future;
    struct osr_group group;
    void *value = NULL;

    osr_future_init(&future, NULL, NULL);
    check(!osr_future_done(&future));
    check_int(osr_future_result(&future, &value), -EINPROGRESS);
    osr_group_open(&group);
    bring(&group, waiters, 2, &future);
    check_int(osr_future_complete(&future, thing), 0);
    check(osr_future_done(&future));
    check_int(osr_group_close(&group, 0), 0);
    check(waiters[0].value == thing && waiters[1].value == thing);
    check_int(osr_future_wait(&future, &value), 0);
    check(value == thing);
    check_int(osr_future_wait(&future, NULL), 0);
    value = NULL;
    check_int(osr_future_result(&future, &value), 0);
    check(value == thing);
    check_int(osr_future_result(&future, NULL), 0);
    return osr_future_destroy(&future);
}

TOLD_TEST(an_error_reaches_all_who_wait_as_that_very_error, "first: EPROTO\nsecond: EPROTO\n")
{
    struct waiter waiters[2];
    struct osr_future future;
    struct osr_group group;
    struct osr_error *error;
    void *value = thing;

    osr_future_init(&future, NULL, NULL);
    osr_group_open(&group);
    bring(&group, waiters, 2, &future);
    check_int(osr_future_fail(&future, -EPROTO, "line %d is no header", 7), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_future_wait(&future, &value), -EPROTO);
    check(value == thing);
    error = osr_error_last();
    check_text(osr_error_message(error), "line 7 is no header");
    check_int(osr_future_result(&future, NULL), -EPROTO);
    check(osr_error_last() == error);
    return osr_future_destroy(&future);
}

OSR_TASK(pass_the_error_on, struct osr_future, future) { return osr_future_wait(future, NULL); }

SIMULATED_TEST(an_error_that_two_tasks_pass_on_comes_out_of_their_group)
{
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, NULL, NULL);
    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, pass_the_error_on, &future);
    osr_spawn(&group, pass_the_error_on, &future);
    osr_yield();
    osr_future_fail(&future, -EPROTO, "no header");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), -EPROTO) != NULL);
    check_text(osr_error_message(osr_error_find(osr_error_last(), -EPROTO)), "no header");
    check_int(osr_future_destroy(&future), 0);
    check_text(osr_error_message(osr_error_find(osr_error_last(), -EPROTO)), "no header");
    return 0;
}

SIMULATED_TEST(codes_that_are_no_failures_become_one)
{
    static const int codes[] = {0, 5, -ECANCELED};
    struct osr_future future;
    int i;

    for (i = 0; i < 3; i++) {
        osr_future_init(&future, NULL, NULL);
        check_int(osr_future_fail(&future, codes[i], "what is %d", codes[i]), 0);
        check_int(osr_future_wait(&future, NULL), -EINVAL);
        check_int(osr_future_destroy(&future), 0);
    }
    return 0;
}

SIMULATED_TEST(a_future_is_completed_once)
{
    struct osr_future future;
    int how;

    for (how = 0; how < 3; how++) {
        int rc = how == 0 ? 0 : how == 1 ? -EPROTO : -OSR_EFUTURECANCELED;

        osr_future_init(&future, NULL, NULL);
        check_int(how == 0   ? osr_future_complete(&future, thing)
                  : how == 1 ? osr_future_fail(&future, -EPROTO, "no")
                             : osr_future_cancel(&future),
                  0);
        check_int(osr_future_complete(&future, NULL), -EALREADY);
        check_int(osr_future_fail(&future, -EIO, "again"), -EALREADY);
        check_int(osr_future_cancel(&future), -EALREADY);
        check_int(osr_future_wait(&future, NULL), rc);
        check_int(osr_future_destroy(&future), 0);
    }
    return 0;
}

/* Fails futures and keeps their errors, until there is no memory for one: code and place are there all the same. */
OSR_TASK(fail_without_memory, void, unused)
{
    struct osr_error *held[4096];
    struct osr_future future;
    const char *where = NULL;
    size_t count = 0;

    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    do {
        osr_future_init(&future, NULL, NULL);
        where = OSR_HERE, osr_future_fail(&future, -EPROTO, "no header");
    } while ((held[count++] = future.error_) != NULL && count < 4096);
    check(count < 4096);
    check_int(osr_future_wait(&future, NULL), -EPROTO);
    counting.fail_at = 0;
    check_int(osr_error_code(osr_error_last()), -EPROTO);
    check_text(osr_error_where(osr_error_last()), where);
    while (count-- > 0)
        osr_error_release(held[count]);
    return osr_future_destroy(&future);
}

static void without_memory_an_error_keeps_its_code_and_place(void **state)
{
    (void)state;
    assert_int_equal(osr_run(fail_without_memory, NULL, .clock = OSR_CLOCK_SIMULATED, .allocator = &counting_allocator),
                     0);
    assert_checked();
}

/* ---- Cancelling ---------------------------------------------------------------------------------------- */

TOLD_TEST(cancelling_a_future_cancels_its_work_and_tells_who_waits,
          "the work is cancelled: a thing\nfirst: OSR_EFUTURECANCELED\nsecond: OSR_EFUTURECANCELED\n")
{
    struct waiter waiters[2];
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, waiters, 2, &future);
    check_int(osr_future_cancel(&future), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_future_result(&future, NULL), -OSR_EFUTURECANCELED);
    return osr_future_destroy(&future);
}

static struct waiter *looked_at;

static void look_at_who_waits(void *future)
{
    check(osr_future_done(future));
    check_int(osr_task_state(looked_at->task), OSR_TASK_READY);
}

TOLD_TEST(who_waits_is_woken_before_the_work_is_cancelled, "first: OSR_EFUTURECANCELED\n")
{
    struct osr_future future;
    struct osr_group group;
    struct waiter one;

    looked_at = &one;
    osr_future_init(&future, look_at_who_waits, &future);
    osr_group_open(&group);
    bring(&group, &one, 1, &future);
    check_int(osr_task_state(one.task), OSR_TASK_WAITING);
    check_int(osr_future_cancel(&future), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_future_destroy(&future);
}

TOLD_TEST(when_the_last_who_waits_is_cancelled_so_is_the_work_and_a_result_is_kept_all_the_same,
          "first: ECANCELED\n--\nthe work is cancelled: a thing\nsecond: ECANCELED\n")
{
    struct waiter waiters[2];
    struct osr_future future;
    struct osr_group group;
    void *value = NULL;

    osr_future_init(&future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, waiters, 2, &future);
    osr_task_cancel(waiters[0].task, NULL);
    osr_sleep(1);
    tell("--");
    osr_task_cancel(waiters[1].task, NULL);
    osr_sleep(1);
    check(!osr_future_done(&future));
    check_int(osr_future_complete(&future, thing), 0);
    check_int(osr_future_wait(&future, &value), 0);
    check(value == thing);
    check_int(osr_group_close(&group, 0), 0);
    return osr_future_destroy(&future);
}

TOLD_TEST(the_work_is_cancelled_once_though_all_who_wait_are_cancelled_at_once,
          "the work is cancelled: a thing\nfirst: ECANCELED\nsecond: ECANCELED\nfirst: ECANCELED\n")
{
    struct waiter waiters[2];
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, waiters, 2, &future);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    osr_group_open(&group);
    bring(&group, waiters, 1, &future);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_future_cancel(&future), 0);
    return osr_future_destroy(&future);
}

TOLD_TEST(who_comes_before_the_cancelled_one_runs_keeps_the_work_going, "first: ECANCELED\nsecond: 0\n")
{
    struct waiter waiters[2];
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, waiters, 1, &future);
    waiters[1] = (struct waiter){.name = "second", .future = &future};
    osr_spawn(&group, waiter, &waiters[1]);
    osr_task_cancel(waiters[0].task, NULL);
    osr_yield(); /* the second one first */
    osr_sleep(1);
    osr_future_complete(&future, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_future_destroy(&future);
}

/* 38: eio 806. */
TOLD_TEST(who_has_a_value_and_then_is_cancelled_has_the_value, "first: 0\n")
{
    struct waiter one;
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, &one, 1, &future);
    osr_future_complete(&future, thing);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check(one.value == thing);
    return osr_future_destroy(&future);
}

TOLD_TEST(a_value_that_comes_before_the_cancelled_one_runs_is_kept_and_its_work_let_be, "first: ECANCELED\n")
{
    struct waiter one;
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, &one, 1, &future);
    osr_group_cancel(&group, NULL);
    osr_future_complete(&future, thing);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_future_result(&future, NULL), 0);
    return osr_future_destroy(&future);
}

static void wait_all_the_same(void *future)
{
    check_int(osr_future_wait(future, NULL), -EPERM);
    check_int(osr_sleep(1), -EPERM);
    check_int(osr_future_destroy(future), -EBUSY);
    check_int(osr_future_complete(future, thing), 0);
}

TOLD_TEST(what_cancels_the_work_may_not_wait_but_may_complete, "first: ECANCELED\n")
{
    struct waiter one;
    struct osr_future future;
    struct osr_group group;

    osr_future_init(&future, wait_all_the_same, &future);
    osr_group_open(&group);
    bring(&group, &one, 1, &future);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_future_result(&future, NULL), 0);
    return osr_future_destroy(&future);
}

/* ---- Destroying ---------------------------------------------------------------------------------------- */

TOLD_TEST(a_future_is_not_destroyed_under_those_who_wait_or_have_not_returned_yet,
          "first: 0\nthe work is cancelled: a thing\nfirst: ECANCELED\n")
{
    struct waiter one;
    struct osr_future *future = malloc(sizeof(*future));
    struct osr_group group;

    osr_future_init(future, work_cancelled, thing);
    osr_group_open(&group);
    bring(&group, &one, 1, future);
    check_int(osr_future_destroy(future), -EBUSY);
    osr_future_complete(future, thing);
    check_int(osr_future_destroy(future), -EBUSY);
    osr_sleep(1);
    check_int(osr_future_destroy(future), 0);
    osr_future_init(future, work_cancelled, thing);
    bring(&group, &one, 1, future);
    osr_task_cancel(one.task, NULL);
    check(osr_waiters_empty(&future->waiters_));
    check_int(osr_future_destroy(future), -EBUSY);
    osr_sleep(1);
    check_int(osr_future_destroy(future), 0);
    free(future);
    return osr_group_close(&group, 0);
}

static void tell_done(void *arg) { tell("done: %s", (const char *)arg); }

TOLD_TEST(calls_for_when_it_is_done_come_once_it_is_and_not_if_it_is_destroyed, "--\ndone: a\ndone: b\ndone: late\n")
{
    struct osr_future future;
    struct osr_call a = {.record_ = NULL}, b = a, c = a, late = a;

    osr_future_init(&future, NULL, NULL);
    check_int(osr_future_on_done(&future, &a, tell_done, (char[]){"a"}), 0);
    check_int(osr_future_on_done(&future, &b, tell_done, (char[]){"b"}), 0);
    check_int(osr_future_on_done(&future, &c, tell_done, (char[]){"c"}), 0);
    check_int(osr_future_on_done(&future, &a, tell_done, (char[]){"a"}), -EBUSY);
    check_int(osr_call_cancel(&c), 0);
    osr_future_complete(&future, NULL);
    check(osr_call_pending(&a));
    tell("--");
    osr_yield();
    check(!osr_call_pending(&a) && !osr_call_pending(&b));
    check_int(osr_future_on_done(&future, &late, tell_done, (char[]){"late"}), 0);
    osr_yield();
    check_int(osr_future_destroy(&future), 0);
    osr_future_init(&future, NULL, NULL);
    check_int(osr_future_on_done(&future, &a, tell_done, (char[]){"never"}), 0);
    check_int(osr_future_on_done(&future, &b, tell_done, (char[]){"never"}), 0);
    check_int(osr_future_destroy(&future), 0);
    check(!osr_call_pending(&a) && !osr_call_pending(&b));
    check_int(osr_call_cancel(&a), -ESTALE);
    osr_yield();
    return 0;
}

static void *destroy_elsewhere(void *future)
{
    return (void *)(intptr_t)osr_future_destroy(future);
}

TOLD_TEST(a_future_with_calls_to_come_is_not_destroyed_outside_its_run, "")
{
    struct osr_future future;
    struct osr_call call = {.record_ = NULL};
    pthread_t thread;
    void *gave;

    osr_future_init(&future, NULL, NULL);
    check_int(osr_future_on_done(&future, &call, tell_done, NULL), 0);
    check_int(pthread_create(&thread, NULL, destroy_elsewhere, &future), 0);
    check_int(pthread_join(thread, &gave), 0);
    check_int((intptr_t)gave, -EPERM);
    check(osr_call_pending(&call));
    return osr_future_destroy(&future);
}

static void tell_called(void *arg)
{
    tell("%s", (const char *)arg);
}

OSR_TASK(end_it_from_another_run, struct osr_future, future)
{
    check_int(osr_future_complete(future, NULL), -EPERM);
    check_int(osr_future_cancel(future), -EPERM);
    check_int(osr_future_destroy(future), -EPERM);
    return 0;
}

OSR_JOB(end_it_elsewhere, struct osr_future, future) { return run_simulated(end_it_from_another_run, future); }

TOLD_TEST(a_future_that_calls_of_another_run_wait_for_is_that_runs, "called\n")
{
    struct osr_future future;
    struct osr_call call = {0};

    osr_future_init(&future, NULL, NULL);
    check_int(osr_future_on_done(&future, &call, tell_called, (void *)"called"), 0);
    check_int(osr_offload(end_it_elsewhere, &future), 0);
    check_int(osr_future_complete(&future, NULL), 0);
    check_int(osr_yield(), 0);
    return osr_future_destroy(&future);
}

/* ---- On the loop, and nowhere -------------------------------------------------------------------------- */

static void complete_on_the_loop(void *future)
{
    check_int(osr_future_wait(future, NULL), -EPERM);
    check_int(osr_future_result(future, NULL), -EINPROGRESS);
    check_int(osr_future_complete(future, thing), 0);
}

static void fail_on_the_loop(void *future)
{
    check_int(osr_future_fail(future, -EPROTO, "no header"), 0);
    check_int(osr_future_result(future, NULL), -EPROTO);
}

TOLD_TEST(a_callback_completes_futures, "first: 0\nfirst: EPROTO\n")
{
    struct waiter one;
    struct osr_future future;
    struct osr_group group;
    struct osr_call call = {.record_ = NULL};

    osr_group_open(&group);
    osr_future_init(&future, NULL, NULL);
    bring(&group, &one, 1, &future);
    osr_call_later(&call, osr_ms(5), complete_on_the_loop, &future);
    osr_sleep(osr_ms(6));
    check_int(osr_future_destroy(&future), 0);
    osr_future_init(&future, NULL, NULL);
    bring(&group, &one, 1, &future);
    osr_call_soon(&call, fail_on_the_loop, &future);
    check_int(osr_group_close(&group, 0), 0);
    return osr_future_destroy(&future);
}

SIMULATED_TEST(a_task_whose_futures_are_done_lets_others_run)
{
    struct waiter other;
    struct osr_future done, failed, wanted;
    struct osr_group group;
    int i;

    osr_future_init(&done, NULL, NULL);
    osr_future_init(&failed, NULL, NULL);
    osr_future_init(&wanted, NULL, NULL);
    osr_future_complete(&done, NULL);
    osr_future_complete(&wanted, NULL);
    osr_future_fail(&failed, -EIO, "failed");
    osr_group_open(&group);
    other = (struct waiter){.future = &wanted};
    osr_spawn(&group, waiter, &other);
    for (i = 0; i < 300 && !other.returned; i++)
        check_int(osr_future_wait(i % 2 ? &done : &failed, NULL), i % 2 ? 0 : -EIO);
    check(other.returned);
    check_int(osr_group_close(&group, 0), 0);
    return osr_future_destroy(&failed);
}

SIMULATED_TEST(nothing_is_answered_with_a_code)
{
    struct osr_future future;
    struct osr_call call = {.record_ = NULL};

    osr_future_init(NULL, NULL, NULL);
    osr_future_init(&future, NULL, NULL);
    check_int(osr_future_destroy(NULL), -EINVAL);
    check_int(osr_future_complete(NULL, thing), -EINVAL);
    check_int(osr_future_fail(NULL, -EIO, "no"), -EINVAL);
    check_int(osr_future_cancel(NULL), -EINVAL);
    check_int(osr_future_wait(NULL, NULL), -EINVAL);
    check_int(osr_future_result(NULL, NULL), -EINVAL);
    check_int(osr_future_on_done(NULL, &call, tell_done, NULL), -EINVAL);
    check_int(osr_future_on_done(&future, NULL, tell_done, NULL), -EINVAL);
    check_int(osr_future_on_done(&future, &call, NULL, NULL), -EINVAL);
    check(!osr_future_done(NULL));
    return osr_future_destroy(&future);
}

OSR_TASK(leave_one_behind, struct osr_future, future)
{
    osr_future_init(future, NULL, NULL);
    return osr_future_fail(future, -EPROTO, "no header");
}

static void outside_a_run_a_future_can_be_made_and_given_up_and_nothing_else(void **state)
{
    struct osr_future future;
    struct osr_call call = {.record_ = NULL};

    (void)state;
    osr_future_init(&future, NULL, NULL);
    assert_int_equal(osr_future_complete(&future, thing), -EPERM);
    assert_int_equal(osr_future_fail(&future, -EIO, "no"), -EPERM);
    assert_int_equal(osr_future_cancel(&future), -EPERM);
    assert_int_equal(osr_future_wait(&future, NULL), -EPERM);
    assert_int_equal(osr_future_result(&future, NULL), -EPERM);
    assert_int_equal(osr_future_on_done(&future, &call, tell_done, NULL), -EPERM);
    assert_int_equal(osr_future_destroy(&future), 0);
    assert_int_equal(run_simulated(leave_one_behind, &future, .allocator = &counting_allocator), 0);
    assert_int_equal(osr_future_destroy(&future), 0);
    assert_int_equal(counting.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_value_reaches_all_who_wait_and_all_who_come_later),
        story_test(an_error_reaches_all_who_wait_as_that_very_error),
        story_test(an_error_that_two_tasks_pass_on_comes_out_of_their_group),
        story_test(codes_that_are_no_failures_become_one),
        story_test(a_future_is_completed_once),
        story_test(without_memory_an_error_keeps_its_code_and_place),
        story_test(cancelling_a_future_cancels_its_work_and_tells_who_waits),
        story_test(who_waits_is_woken_before_the_work_is_cancelled),
        story_test(when_the_last_who_waits_is_cancelled_so_is_the_work_and_a_result_is_kept_all_the_same),
        story_test(the_work_is_cancelled_once_though_all_who_wait_are_cancelled_at_once),
        story_test(who_comes_before_the_cancelled_one_runs_keeps_the_work_going),
        story_test(who_has_a_value_and_then_is_cancelled_has_the_value),
        story_test(a_value_that_comes_before_the_cancelled_one_runs_is_kept_and_its_work_let_be),
        story_test(what_cancels_the_work_may_not_wait_but_may_complete),
        story_test(a_future_is_not_destroyed_under_those_who_wait_or_have_not_returned_yet),
        story_test(calls_for_when_it_is_done_come_once_it_is_and_not_if_it_is_destroyed),
        story_test(a_future_with_calls_to_come_is_not_destroyed_outside_its_run),
        story_test(a_future_that_calls_of_another_run_wait_for_is_that_runs),
        story_test(a_callback_completes_futures),
        story_test(a_task_whose_futures_are_done_lets_others_run),
        story_test(nothing_is_answered_with_a_code),
        story_test(outside_a_run_a_future_can_be_made_and_given_up_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
