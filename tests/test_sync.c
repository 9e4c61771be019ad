/* Events, locks, conditions, semaphores, limiters, barriers: their contracts, their misuse, and what broke others. */
#include "harness.h"

#include <limits.h>
#include <time.h>

/* ---- Tasks that wait ----------------------------------------------------------------------------------- */

struct waiter {
    const char *name;
    int (*wait)(struct waiter *waiter);
    void *thing;
    struct osr_permit permit;
    struct osr_task task;
    int rc, next;
    bool returned;
};

OSR_TASK(waiter, struct waiter, w)
{
    w->rc = w->wait(w);
    w->returned = true;
    w->next = osr_check();
    if (w->name)
        tell("%s: %s", w->name, w->rc < 0 ? osr_strcode(w->rc) : w->next < 0 ? "got it, then cancelled" : "got it");
    return w->rc == -ECANCELED || w->next < 0 ? -ECANCELED : 0;
}

static int wait_event(struct waiter *w) { return osr_event_wait(w->thing); }
static int wait_lock(struct waiter *w) { return osr_lock_acquire(w->thing); }
static int wait_semaphore(struct waiter *w) { return osr_semaphore_acquire(w->thing); }
static int wait_limiter(struct waiter *w) { return osr_limiter_acquire(w->thing, &w->permit); }
static int wait_barrier(struct waiter *w) { return osr_barrier_wait(w->thing); }

/* With the lock of its own condition, and gives it up at the end. */
static int wait_condition(struct waiter *w)
{
    struct osr_condition *condition = w->thing;
    int rc = osr_lock_acquire(condition->lock_);

    if (rc < 0)
        return rc;
    rc = osr_condition_wait(condition);
    check(osr_lock_is_mine(condition->lock_));
    check_int(osr_lock_release(condition->lock_), 0);
    return rc;
}

/* Takes the lock and gives it up again. */
static int pass_lock(struct waiter *w)
{
    int rc = wait_lock(w);

    if (rc == 0)
        check_int(osr_lock_release(w->thing), 0);
    return rc;
}

/* Spawns so many, which have come when it returns. */
static void bring(struct osr_group *group, struct waiter *waiters, int count, int (*wait)(struct waiter *), void *thing)
{
    static const char *const names[] = {"first", "second", "third", "fourth"};
    int i;

    for (i = 0; i < count; i++) {
        waiters[i] = (struct waiter){.name = names[i], .wait = wait, .thing = thing};
        osr_spawn(group, waiter, &waiters[i], .handle = &waiters[i].task);
    }
    osr_yield();
}

/* ---- Events -------------------------------------------------------------------------------------------- */

TOLD_TEST(an_event_wakes_all_who_wait_in_the_order_in_which_they_came, "first: got it\nsecond: got it\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_event event;
    struct osr_group group;

    osr_event_init(&event);
    check(!osr_event_is_set(&event));
    osr_group_open(&group);
    bring(&group, waiters, 3, wait_event, &event);
    check_int(osr_event_set(&event), 0);
    check(osr_event_is_set(&event));
    check(osr_waiters_empty(&event.waiters_));
    return osr_group_close(&group, 0);
}

TOLD_TEST(who_was_woken_by_an_event_stays_woken_though_it_is_cleared_at_once, "first: got it\nsecond: got it\n")
{
    struct waiter waiters[2], late;
    struct osr_event event;
    struct osr_group group;

    osr_event_init(&event);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_event, &event);
    check_int(osr_event_set(&event), 0);
    check_int(osr_event_clear(&event), 0);
    check(!osr_event_is_set(&event));
    late = (struct waiter){.wait = wait_event, .thing = &event};
    osr_spawn(&group, waiter, &late);
    osr_sleep(1);
    check(waiters[0].returned && waiters[1].returned && !late.returned);
    check_int(osr_event_set(&event), 0);
    check_int(osr_event_set(&event), 0);
    osr_sleep(1);
    check(late.returned && late.rc == 0);
    check_int(osr_event_wait(&event), 0);
    return osr_group_close(&group, 0);
}

static void set_it(void *event) { check_int(osr_event_set(event), 0); }
static void clear_it(void *event) { check_int(osr_event_clear(event), 0); }

TOLD_TEST(a_callback_sets_and_clears_events, "first: got it\n")
{
    struct waiter one;
    struct osr_event event;
    struct osr_group group;

    osr_event_init(&event);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_event, &event);
    call_on_the_loop(set_it, &event);
    call_on_the_loop(clear_it, &event);
    check(!osr_event_is_set(&event));
    return osr_group_close(&group, 0);
}

/* ---- Locks --------------------------------------------------------------------------------------------- */

TOLD_TEST(a_lock_is_handed_over_in_the_order_in_which_tasks_came, "first: got it\nsecond: got it\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_lock lock;
    struct osr_group group;

    osr_lock_init(&lock);
    check(!osr_lock_held(&lock) && !osr_lock_is_mine(&lock));
    check_int(osr_lock_acquire(&lock), 0);
    check(osr_lock_held(&lock) && osr_lock_is_mine(&lock));
    osr_group_open(&group);
    bring(&group, waiters, 3, pass_lock, &lock);
    check_int(osr_lock_release(&lock), 0);
    check_int(osr_group_close(&group, 0), 0);
    check(!osr_lock_held(&lock));
    return 0;
}

/* 11: anyio 1170, for a lock. */
TOLD_TEST(nobody_barges_past_who_was_handed_the_lock, "first: got it\n")
{
    struct waiter one;
    struct osr_lock lock;
    struct osr_group group;

    osr_lock_init(&lock);
    osr_lock_acquire(&lock);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_lock, &lock);
    check_int(osr_lock_release(&lock), 0);
    check(osr_lock_held(&lock) && !osr_lock_is_mine(&lock));
    check_int(osr_lock_try_acquire(&lock), -EAGAIN);
    return osr_group_close(&group, 0);
}

OSR_TASK(meddle_with_a_lock, struct osr_lock, lock)
{
    check_int(osr_lock_release(lock), -EPERM);
    check_int(osr_lock_try_acquire(lock), -EAGAIN);
    check(!osr_lock_is_mine(lock));
    return 0;
}

static void meddle_from_the_loop(void *lock)
{
    check_int(osr_lock_try_acquire(lock), -EPERM);
    check_int(osr_lock_acquire(lock), -EPERM);
    check_int(osr_lock_release(lock), -EPERM);
    check(!osr_lock_is_mine(lock));
}

SIMULATED_TEST(a_lock_belongs_to_the_task_that_took_it)
{
    struct osr_lock lock;
    struct osr_group group;

    osr_lock_init(&lock);
    check_int(osr_lock_release(&lock), -EPERM);
    check_int(osr_lock_try_acquire(&lock), 0);
    check_int(osr_lock_try_acquire(&lock), -EDEADLK);
    check_int(osr_lock_acquire(&lock), -EDEADLK);
    osr_group_open(&group);
    osr_spawn(&group, meddle_with_a_lock, &lock);
    check_int(osr_group_close(&group, 0), 0);
    call_on_the_loop(meddle_from_the_loop, &lock);
    check_int(osr_lock_release(&lock), 0);
    check_int(osr_lock_release(&lock), -EPERM);
    return 0;
}

/* 7: bpo27585. B has been handed the lock when it is cancelled: it holds it, and passes it on. */
TOLD_TEST(who_is_handed_the_lock_and_then_cancelled_passes_it_on,
          "first: got it, then cancelled\nsecond: got it\n")
{
    struct waiter waiters[2];
    struct osr_lock lock;
    struct osr_group group;

    osr_lock_init(&lock);
    osr_lock_acquire(&lock);
    osr_group_open(&group);
    bring(&group, waiters, 2, pass_lock, &lock);
    check_int(osr_lock_release(&lock), 0);
    osr_task_cancel(waiters[0].task, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check(!osr_lock_held(&lock));
    return 0;
}

/* 8: bpo32734, the other order. */
TOLD_TEST(who_is_cancelled_before_the_lock_is_free_never_holds_it, "first: ECANCELED\nsecond: got it\n")
{
    struct waiter waiters[2];
    struct osr_lock lock;
    struct osr_group group;

    osr_lock_init(&lock);
    osr_lock_acquire(&lock);
    osr_group_open(&group);
    bring(&group, waiters, 2, pass_lock, &lock);
    osr_task_cancel(waiters[0].task, NULL);
    check_int(osr_lock_release(&lock), 0);
    check_int(osr_group_close(&group, 0), 0);
    check(!osr_lock_held(&lock));
    return 0;
}

/* ---- Conditions ---------------------------------------------------------------------------------------- */

struct shop {
    struct osr_lock lock;
    struct osr_condition condition;
};

static void open_shop(struct shop *shop)
{
    osr_lock_init(&shop->lock);
    osr_condition_init(&shop->condition, &shop->lock);
}

static int notify(struct shop *shop, unsigned count)
{
    int notified;

    check_int(osr_lock_acquire(&shop->lock), 0);
    notified = osr_condition_notify(&shop->condition, count);
    check_int(osr_lock_release(&shop->lock), 0);
    return notified;
}

TOLD_TEST(as_many_are_notified_as_asked_for_in_the_order_in_which_they_came,
          "first: got it\nsecond: got it\n--\nthird: got it\nfourth: got it\n")
{
    struct waiter waiters[4];
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    check_int(notify(&shop, 1), 0);
    osr_group_open(&group);
    bring(&group, waiters, 4, wait_condition, &shop.condition);
    check_int(notify(&shop, 0), 0);
    check_int(notify(&shop, 2), 2);
    osr_sleep(1);
    tell("--");
    check_int(osr_lock_acquire(&shop.lock), 0);
    check_int(osr_condition_notify_all(&shop.condition), 2);
    check_int(osr_condition_notify_all(&shop.condition), 0);
    check_int(osr_lock_release(&shop.lock), 0);
    return osr_group_close(&group, 0);
}

TOLD_TEST(more_than_there_are_can_be_notified, "first: got it\nsecond: got it\n")
{
    struct waiter waiters[2];
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_condition, &shop.condition);
    check_int(notify(&shop, UINT_MAX), 2);
    return osr_group_close(&group, 0);
}

static int hold_for_a_while(struct waiter *w)
{
    struct osr_condition *condition = w->thing;
    int rc = osr_lock_acquire(condition->lock_);

    if (rc == 0)
        rc = osr_condition_wait(condition);
    tell("%s has it at %d ms: %d", w->name, (int)(osr_now() / osr_ms(1)), rc);
    if (rc == 0)
        rc = osr_sleep(osr_ms(2));
    check_int(osr_lock_release(condition->lock_), 0);
    return rc;
}

TOLD_TEST(those_who_are_notified_go_on_one_after_the_other_as_each_gets_the_lock,
          "first has it at 0 ms: 0\nfirst: got it\nsecond has it at 2 ms: 0\nsecond: got it\n"
          "third has it at 4 ms: 0\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    osr_group_open(&group);
    bring(&group, waiters, 3, hold_for_a_while, &shop.condition);
    check_int(notify(&shop, 3), 3);
    return osr_group_close(&group, 0);
}

/* 16: asyncio 346, and 15: cpython 112202: who was notified is past cancellation, so no notice is lost. */
TOLD_TEST(who_is_notified_and_then_cancelled_returns_holding_the_lock_and_has_been_notified,
          "first: got it, then cancelled\n--\nsecond: got it\n")
{
    struct waiter waiters[2];
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_condition, &shop.condition);
    check_int(osr_lock_acquire(&shop.lock), 0);
    check_int(osr_condition_notify(&shop.condition, 1), 1);
    osr_task_cancel(waiters[0].task, NULL);
    osr_sleep(osr_ms(1));
    check(!waiters[0].returned);
    check_int(osr_lock_release(&shop.lock), 0);
    osr_sleep(1);
    tell("--");
    check(!waiters[1].returned);
    check_int(notify(&shop, 1), 1);
    return osr_group_close(&group, 0);
}

/* 15, the other order: a notice goes to one who still waits. */
TOLD_TEST(a_notice_that_comes_after_a_cancellation_goes_to_the_next, "second: got it\nfirst: ECANCELED\n")
{
    struct waiter waiters[2];
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_condition, &shop.condition);
    osr_task_cancel(waiters[0].task, NULL);
    check_int(notify(&shop, 1), 1);
    return osr_group_close(&group, 0);
}

TOLD_TEST(who_is_cancelled_at_a_condition_waits_for_the_lock_all_the_same, "first: ECANCELED\n")
{
    struct waiter one;
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_condition, &shop.condition);
    check_int(osr_lock_acquire(&shop.lock), 0);
    osr_task_cancel(one.task, NULL);
    osr_sleep(osr_s(1));
    check(!one.returned);
    check_int(osr_condition_notify(&shop.condition, 1), 0);
    check_int(osr_lock_release(&shop.lock), 0);
    osr_sleep(1);
    check(one.returned && !osr_lock_held(&shop.lock));
    return osr_group_close(&group, 0);
}

/* Cut by one limit at 1 ms, it has the lock again at 3 ms, when the other one has passed too. */
static int wait_under_limits(struct waiter *w, int outer_ms, int inner_ms)
{
    struct osr_condition *condition = w->thing;
    struct osr_scope outer, inner;
    int rc = osr_lock_acquire(condition->lock_);

    osr_timeout_open(&outer, osr_ms(outer_ms));
    osr_timeout_open(&inner, osr_ms(inner_ms));
    rc = osr_condition_wait(condition);
    check_int(rc, -ECANCELED);
    check_int(osr_now(), osr_ms(3));
    osr_lock_release(condition->lock_);
    check_int(osr_scope_close(&inner, 0), -ECANCELED);
    check_int(osr_scope_close(&outer, 0), -ETIMEDOUT);
    return 0;
}

static int wait_cut_by_the_inner(struct waiter *w) { return wait_under_limits(w, 2, 1); }
static int wait_cut_by_the_outer(struct waiter *w) { return wait_under_limits(w, 1, 2); }

static int hold_the_lock_meanwhile(int (*wait)(struct waiter *w))
{
    struct waiter one;
    struct osr_group group;
    struct shop shop;

    open_shop(&shop);
    osr_group_open(&group);
    bring(&group, &one, 1, wait, &shop.condition);
    check_int(osr_lock_acquire(&shop.lock), 0);
    osr_sleep(osr_ms(3));
    check_int(osr_lock_release(&shop.lock), 0);
    return osr_group_close(&group, 0);
}

TOLD_TEST(limits_that_pass_until_a_cut_wait_has_its_lock_again_have_cut_it_too_the_outer, "first: got it\n")
{
    return hold_the_lock_meanwhile(wait_cut_by_the_inner);
}

TOLD_TEST(limits_that_pass_until_a_cut_wait_has_its_lock_again_have_cut_it_too_the_inner, "first: got it\n")
{
    return hold_the_lock_meanwhile(wait_cut_by_the_outer);
}

SIMULATED_TEST(who_waits_at_a_condition_or_notifies_must_hold_its_lock)
{
    struct osr_condition without;
    struct shop shop;

    open_shop(&shop);
    osr_condition_init(&without, NULL);
    check_int(osr_condition_wait(&shop.condition), -EPERM);
    check_int(osr_condition_notify(&shop.condition, 1), -EPERM);
    check_int(osr_condition_notify_all(&shop.condition), -EPERM);
    check_int(osr_condition_wait(&without), -EINVAL);
    check_int(osr_condition_notify(&without, 1), -EINVAL);
    check(!osr_lock_held(&shop.lock));
    return 0;
}

/* Its root has the number of the other run's. */
OSR_TASK(meddle_as_another_runs_root, struct shop, s)
{
    check_int(osr_lock_release(&s->lock), -EPERM);
    check_int(osr_condition_wait(&s->condition), -EPERM);
    check_int(osr_condition_notify_all(&s->condition), -EPERM);
    return 0;
}

OSR_JOB(run_another, struct shop, s) { return run_simulated(meddle_as_another_runs_root, s); }

OSR_TASK(wait_at_the_condition, struct shop, s)
{
    check_int(osr_lock_acquire(&s->lock), 0);
    check_int(osr_condition_wait(&s->condition), 0);
    return osr_lock_release(&s->lock);
}

OSR_TASK(wait_for_the_lock, struct shop, s)
{
    check_int(osr_lock_acquire(&s->lock), 0);
    return osr_lock_release(&s->lock);
}

SIMULATED_TEST(a_lock_that_tasks_of_another_run_wait_for_is_that_runs)
{
    struct shop shop;
    struct osr_group group;

    open_shop(&shop);
    osr_group_open(&group);
    osr_spawn(&group, wait_at_the_condition, &shop);
    check_int(osr_yield(), 0);
    check_int(osr_lock_acquire(&shop.lock), 0);
    osr_spawn(&group, wait_for_the_lock, &shop);
    check_int(osr_offload(run_another, &shop), 0);
    check_int(osr_condition_notify_all(&shop.condition), 1);
    check_int(osr_lock_release(&shop.lock), 0);
    return osr_group_close(&group, 0);
}

/* ---- Semaphores ---------------------------------------------------------------------------------------- */

/* 13: corral 39dca62. */
TOLD_TEST(of_two_who_want_the_only_permit_one_waits, "first: got it\n--\nsecond: got it\n")
{
    struct waiter waiters[2];
    struct osr_semaphore semaphore;
    struct osr_group group;

    osr_semaphore_init(&semaphore, 1);
    check_int(osr_semaphore_value(&semaphore), 1);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_semaphore, &semaphore);
    check_int(osr_semaphore_value(&semaphore), 0);
    osr_sleep(osr_ms(1));
    tell("--");
    check_int(osr_semaphore_release(&semaphore), 0);
    return osr_group_close(&group, 0);
}

/* 9: cpython 90155. */
TOLD_TEST(a_permit_that_was_handed_to_a_cancelled_task_is_its_own,
          "first: got it, then cancelled\n--\nsecond: got it\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_semaphore semaphore;
    struct osr_group group;

    osr_semaphore_init(&semaphore, 0);
    osr_group_open(&group);
    bring(&group, waiters, 3, wait_semaphore, &semaphore);
    osr_semaphore_release(&semaphore);
    osr_task_cancel(waiters[0].task, NULL);
    osr_sleep(1);
    tell("--");
    osr_semaphore_release(&semaphore);
    osr_semaphore_release(&semaphore);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_semaphore_value(&semaphore), 0);
    return 0;
}

/* 10: anyio 1145. */
TOLD_TEST(a_permit_passes_over_those_who_were_cancelled, "first: ECANCELED\nsecond: ECANCELED\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_semaphore semaphore;
    struct osr_group group;

    osr_semaphore_init(&semaphore, 0);
    osr_group_open(&group);
    bring(&group, waiters, 3, wait_semaphore, &semaphore);
    osr_task_cancel(waiters[0].task, NULL);
    osr_task_cancel(waiters[1].task, NULL);
    osr_semaphore_release(&semaphore);
    check_int(osr_semaphore_value(&semaphore), 0);
    return osr_group_close(&group, 0);
}

/* 11: anyio 1170. */
TOLD_TEST(nobody_barges_past_who_was_handed_a_permit, "first: got it\n")
{
    struct waiter one;
    struct osr_semaphore semaphore;
    struct osr_group group;

    osr_semaphore_init(&semaphore, 1);
    check_int(osr_semaphore_try_acquire(&semaphore), 0);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_semaphore, &semaphore);
    check_int(osr_semaphore_release(&semaphore), 0);
    check_int(osr_semaphore_try_acquire(&semaphore), -EAGAIN);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_semaphore_never_has_more_permits_than_it_can_count)
{
    struct osr_semaphore semaphore;

    osr_semaphore_init_bounded(&semaphore, 2);
    check_int(osr_semaphore_release(&semaphore), -EOVERFLOW);
    check_int(osr_semaphore_acquire(&semaphore), 0);
    check_int(osr_semaphore_release(&semaphore), 0);
    check_int(osr_semaphore_release(&semaphore), -EOVERFLOW);
    check_int(osr_semaphore_value(&semaphore), 2);
    osr_semaphore_init(&semaphore, UINT_MAX - 1);
    check_int(osr_semaphore_release(&semaphore), 0);
    check_int(osr_semaphore_release(&semaphore), -EOVERFLOW);
    check_int(osr_semaphore_value(&semaphore), UINT_MAX);
    return 0;
}

TOLD_TEST(a_bounded_semaphore_without_permits_has_none_to_give, "first: ECANCELED\n")
{
    struct waiter one;
    struct osr_semaphore semaphore;
    struct osr_group group;

    osr_semaphore_init_bounded(&semaphore, 0);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_semaphore, &semaphore);
    check_int(osr_semaphore_release(&semaphore), -EOVERFLOW);
    osr_sleep(1);
    check(!one.returned);
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

static void pass_a_permit_on_the_loop(void *semaphore)
{
    check_int(osr_semaphore_try_acquire(semaphore), 0);
    check_int(osr_semaphore_try_acquire(semaphore), -EAGAIN);
    check_int(osr_semaphore_acquire(semaphore), -EPERM);
    check_int(osr_semaphore_release(semaphore), 0);
}

SIMULATED_TEST(a_callback_takes_and_gives_permits_without_waiting)
{
    struct osr_semaphore semaphore;

    osr_semaphore_init(&semaphore, 1);
    call_on_the_loop(pass_a_permit_on_the_loop, &semaphore);
    check_int(osr_semaphore_value(&semaphore), 1);
    return 0;
}

/* ---- Limiters ------------------------------------------------------------------------------------------ */

TOLD_TEST(a_limiter_lends_in_the_order_in_which_tasks_came, "first: got it\nsecond: got it\n--\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_limiter limiter;
    struct osr_group group;

    osr_limiter_init(&limiter, 2);
    osr_group_open(&group);
    bring(&group, waiters, 3, wait_limiter, &limiter);
    check_int(osr_limiter_total(&limiter), 2);
    check_int(osr_limiter_borrowed(&limiter), 2);
    osr_sleep(1);
    tell("--");
    check_int(osr_limiter_release(&limiter, &waiters[1].permit), 0); /* any task may give it back */
    check_int(osr_limiter_borrowed(&limiter), 2);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_permit_is_lent_once_and_given_back_once)
{
    struct osr_limiter limiter, other;
    struct osr_permit permit = {0}, second = {0};

    osr_limiter_init(&limiter, 1);
    osr_limiter_init(&other, 1);
    check_int(osr_limiter_release(&limiter, &permit), -EPERM);
    check_int(osr_limiter_acquire(&limiter, &permit), 0);
    check_int(osr_limiter_acquire(&limiter, &permit), -EALREADY);
    check_int(osr_limiter_try_acquire(&other, &permit), -EALREADY);
    check_int(osr_limiter_try_acquire(&limiter, &second), -EAGAIN);
    check_int(osr_limiter_release(&other, &permit), -EPERM);
    check_int(osr_limiter_release(&limiter, &permit), 0);
    check_int(osr_limiter_release(&limiter, &permit), -EPERM);
    check_int(osr_limiter_borrowed(&limiter), 0);
    check_int(osr_limiter_try_acquire(&limiter, &second), 0);
    return 0;
}

TOLD_TEST(a_permit_that_is_waited_for_can_not_be_borrowed_a_second_time, "first: ECANCELED\n")
{
    struct waiter one;
    struct osr_limiter limiter, other;
    struct osr_group group;

    osr_limiter_init(&limiter, 0);
    osr_limiter_init(&other, 1);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_limiter, &limiter);
    check_int(osr_limiter_try_acquire(&other, &one.permit), -EALREADY);
    check_int(osr_limiter_acquire(&other, &one.permit), -EALREADY);
    check_int(osr_limiter_release(&limiter, &one.permit), -EPERM);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_limiter_try_acquire(&other, &one.permit), 0);
    return 0;
}

TOLD_TEST(a_limiter_lends_more_at_once_when_it_has_more,
          "first: got it\n--\nsecond: got it\nthird: got it\n--\nfourth: got it\n")
{
    struct waiter waiters[4];
    struct osr_limiter limiter;
    struct osr_group group;

    osr_limiter_init(&limiter, 1);
    osr_group_open(&group);
    bring(&group, waiters, 4, wait_limiter, &limiter);
    tell("--");
    check_int(osr_limiter_set_total(&limiter, 3), 0);
    check_int(osr_limiter_borrowed(&limiter), 3);
    osr_sleep(1);
    tell("--");
    check_int(osr_limiter_set_total(&limiter, 1), 0); /* what is lent stays lent */
    check_int(osr_limiter_borrowed(&limiter), 3);
    osr_limiter_release(&limiter, &waiters[0].permit);
    osr_limiter_release(&limiter, &waiters[1].permit);
    osr_sleep(1);
    check(!waiters[3].returned);
    osr_limiter_release(&limiter, &waiters[2].permit);
    return osr_group_close(&group, 0);
}

/* 12: trio 548. */
OSR_TASK(give_up_waiting_again_and_again, void, unused)
{
    struct osr_limiter limiter;
    struct osr_permit permit = {0};
    struct osr_scope limit;
    long i, live = 0, count = sized(100000, 2000);

    osr_limiter_init(&limiter, 0);
    for (i = 0; i < count; i++) {
        osr_move_on_open(&limit, 1);
        if (osr_scope_close(&limit, osr_limiter_acquire(&limiter, &permit)) != 0 || !osr_scope_caught(&limit))
            check(!"a limiter without permits lends none");
        if (i == 0)
            live = counting.live;
    }
    check_int(counting.live, live);
    check(osr_waiters_empty(&limiter.waiters_));
    check_int(osr_limiter_borrowed(&limiter), 0);
    return 0;
}

static void waits_that_are_given_up_leave_nothing_behind(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(give_up_waiting_again_and_again, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

/* ---- Barriers ------------------------------------------------------------------------------------------ */

SIMULATED_TEST(a_barrier_gives_places_in_the_order_of_coming_time_after_time)
{
    struct waiter waiters[2];
    struct osr_barrier barrier;
    struct osr_group group;
    int round;

    check_int(osr_barrier_init(&barrier, 3), 0);
    check_int(osr_barrier_parties(&barrier), 3);
    for (round = 0; round < 3; round++) {
        osr_group_open(&group);
        bring(&group, waiters, 2, wait_barrier, &barrier);
        check_int(osr_barrier_waiting(&barrier), 2);
        check_int(osr_barrier_wait(&barrier), 2);
        check_int(osr_barrier_waiting(&barrier), 0);
        check_int(osr_group_close(&group, 0), 0);
        check_int(waiters[0].rc, 0);
        check_int(waiters[1].rc, 1);
    }
    return 0;
}

SIMULATED_TEST(a_barrier_for_one_never_waits)
{
    struct osr_barrier barrier;

    check_int(osr_barrier_init(&barrier, 1), 0);
    check_int(osr_barrier_wait(&barrier), 0);
    check_int(osr_barrier_wait(&barrier), 0);
    return 0;
}

TOLD_TEST(who_is_cancelled_leaves_the_barrier_and_the_others_go_on_waiting,
          "second: ECANCELED\n--\nfirst: got it\nthird: got it\n")
{
    struct waiter waiters[3];
    struct osr_barrier barrier;
    struct osr_group group;

    osr_barrier_init(&barrier, 4);
    osr_group_open(&group);
    bring(&group, waiters, 3, wait_barrier, &barrier);
    osr_task_cancel(waiters[1].task, NULL);
    osr_sleep(1);
    tell("--");
    check_int(osr_barrier_waiting(&barrier), 2);
    waiters[1] = (struct waiter){.wait = wait_barrier, .thing = &barrier};
    osr_spawn(&group, waiter, &waiters[1]);
    osr_sleep(1);
    check_int(osr_barrier_waiting(&barrier), 3);
    check_int(osr_barrier_wait(&barrier), 3);
    check_int(osr_group_close(&group, 0), 0);
    check_int(waiters[2].rc, 1);
    check_int(waiters[1].rc, 2);
    return 0;
}

TOLD_TEST(an_aborted_barrier_is_broken_until_it_is_reset, "first: OSR_EBROKEN\nsecond: OSR_EBROKEN\nfirst: got it\n")
{
    struct waiter waiters[2];
    struct osr_barrier barrier;
    struct osr_group group;

    osr_barrier_init(&barrier, 3);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_barrier, &barrier);
    check_int(osr_barrier_abort(&barrier), 0);
    check(osr_barrier_broken(&barrier));
    check_int(osr_barrier_wait(&barrier), -OSR_EBROKEN);
    check_int(osr_barrier_abort(&barrier), 0);
    check_int(osr_barrier_reset(&barrier), 0);
    check(!osr_barrier_broken(&barrier));
    osr_sleep(1);
    osr_barrier_init(&barrier, 2);
    bring(&group, waiters, 1, wait_barrier, &barrier);
    check_int(osr_barrier_wait(&barrier), 1);
    return osr_group_close(&group, 0);
}

TOLD_TEST(a_barrier_that_is_reset_sends_away_who_waits_and_begins_anew,
          "first: OSR_EBROKEN\nsecond: OSR_EBROKEN\n--\n")
{
    struct waiter waiters[2];
    struct osr_barrier barrier;
    struct osr_group group;

    osr_barrier_init(&barrier, 3);
    osr_group_open(&group);
    bring(&group, waiters, 2, wait_barrier, &barrier);
    check_int(osr_barrier_reset(&barrier), 0);
    check(!osr_barrier_broken(&barrier));
    osr_sleep(1);
    tell("--");
    waiters[0] = waiters[1] = (struct waiter){.wait = wait_barrier, .thing = &barrier};
    osr_spawn(&group, waiter, &waiters[0]);
    osr_spawn(&group, waiter, &waiters[1]);
    osr_sleep(1);
    check(!waiters[0].returned && !waiters[1].returned);
    check_int(osr_barrier_wait(&barrier), 2);
    return osr_group_close(&group, 0);
}

OSR_TASK(note_that_it_ran, bool, ran)
{
    *ran = true;
    return 0;
}

SIMULATED_TEST(who_goes_on_coming_to_a_broken_barrier_lets_others_run)
{
    struct osr_barrier barrier;
    struct osr_group group;
    bool ran = false;
    int i;

    osr_barrier_init(&barrier, 2);
    osr_barrier_abort(&barrier);
    osr_group_open(&group);
    osr_spawn(&group, note_that_it_ran, &ran);
    for (i = 0; i < 1000 && !ran; i++)
        check_int(osr_barrier_wait(&barrier), -OSR_EBROKEN);
    check(ran);
    return osr_group_close(&group, 0);
}

static void abort_and_reset(void *barrier)
{
    check_int(osr_barrier_wait(barrier), -EPERM);
    check_int(osr_barrier_abort(barrier), 0);
    check_int(osr_barrier_reset(barrier), 0);
}

TOLD_TEST(a_callback_sends_away_who_waits_at_a_barrier, "first: OSR_EBROKEN\n")
{
    struct waiter one;
    struct osr_barrier barrier;
    struct osr_group group;

    osr_barrier_init(&barrier, 2);
    osr_group_open(&group);
    bring(&group, &one, 1, wait_barrier, &barrier);
    call_on_the_loop(abort_and_reset, &barrier);
    return osr_group_close(&group, 0);
}

OSR_TASK(come_last_from_another_run, struct osr_barrier, barrier)
{
    check_int(osr_barrier_wait(barrier), -EPERM);
    check_int(osr_barrier_reset(barrier), -EPERM);
    return 0;
}

OSR_JOB(come_last, struct osr_barrier, barrier) { return run_simulated(come_last_from_another_run, barrier); }

OSR_TASK(come_first, struct osr_barrier, barrier)
{
    check_int(osr_barrier_wait(barrier), 0);
    return 0;
}

SIMULATED_TEST(tasks_of_another_run_do_not_count_at_a_barrier)
{
    struct osr_barrier barrier;
    struct osr_group group;

    osr_barrier_init(&barrier, 2);
    osr_group_open(&group);
    osr_spawn(&group, come_first, &barrier);
    check_int(osr_yield(), 0);
    check_int(osr_offload(come_last, &barrier), 0);
    check_int(osr_barrier_wait(&barrier), 1);
    return osr_group_close(&group, 0);
}

/* ---- Never keeping the thread -------------------------------------------------------------------------- */

struct eager {
    struct osr_event event;
    struct osr_lock lock;
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_permit permit;
    struct osr_barrier barrier;
};

static void go_through(struct eager *e, int which)
{
    switch (which) {
    case 0:
        check_int(osr_event_wait(&e->event), 0);
        break;
    case 1:
        check_int(osr_lock_acquire(&e->lock), 0);
        osr_lock_release(&e->lock);
        break;
    case 2:
        check_int(osr_semaphore_acquire(&e->semaphore), 0);
        osr_semaphore_release(&e->semaphore);
        break;
    case 3:
        check_int(osr_limiter_acquire(&e->limiter, &e->permit), 0);
        osr_limiter_release(&e->limiter, &e->permit);
        break;
    default:
        check_int(osr_barrier_wait(&e->barrier), 0);
    }
}

SIMULATED_TEST(a_task_that_never_has_to_wait_lets_others_run_all_the_same)
{
    struct eager eager = {.permit = {0}};
    int which, i;

    osr_event_init(&eager.event);
    osr_event_set(&eager.event);
    osr_lock_init(&eager.lock);
    osr_semaphore_init(&eager.semaphore, 1);
    osr_limiter_init(&eager.limiter, 1);
    osr_barrier_init(&eager.barrier, 1);
    for (which = 0; which < 5; which++) {
        struct osr_group group;
        bool ran = false;

        osr_group_open(&group);
        osr_spawn(&group, note_that_it_ran, &ran);
        for (i = 0; i < 1000 && !ran; i++)
            go_through(&eager, which);
        check(ran);
        osr_group_close(&group, 0);
    }
    return 0;
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(nothing_is_answered_with_a_code)
{
    struct osr_permit permit = {0};
    struct osr_limiter limiter;

    osr_event_init(NULL);
    osr_lock_init(NULL);
    osr_condition_init(NULL, NULL);
    osr_semaphore_init(NULL, 1);
    osr_semaphore_init_bounded(NULL, 1);
    osr_limiter_init(NULL, 1);
    osr_limiter_init(&limiter, 1);
    check_int(osr_event_set(NULL), -EINVAL);
    check_int(osr_event_clear(NULL), -EINVAL);
    check_int(osr_event_wait(NULL), -EINVAL);
    check(!osr_event_is_set(NULL));
    check_int(osr_lock_acquire(NULL), -EINVAL);
    check_int(osr_lock_try_acquire(NULL), -EINVAL);
    check_int(osr_lock_release(NULL), -EINVAL);
    check(!osr_lock_held(NULL) && !osr_lock_is_mine(NULL));
    check_int(osr_condition_wait(NULL), -EINVAL);
    check_int(osr_condition_notify(NULL, 1), -EINVAL);
    check_int(osr_condition_notify_all(NULL), -EINVAL);
    check_int(osr_semaphore_acquire(NULL), -EINVAL);
    check_int(osr_semaphore_try_acquire(NULL), -EINVAL);
    check_int(osr_semaphore_release(NULL), -EINVAL);
    check_int(osr_semaphore_value(NULL), 0);
    check_int(osr_limiter_acquire(NULL, &permit), -EINVAL);
    check_int(osr_limiter_acquire(&limiter, NULL), -EINVAL);
    check_int(osr_limiter_try_acquire(NULL, &permit), -EINVAL);
    check_int(osr_limiter_release(NULL, &permit), -EINVAL);
    check_int(osr_limiter_release(&limiter, NULL), -EINVAL);
    check_int(osr_limiter_set_total(NULL, 1), -EINVAL);
    check_int(osr_limiter_total(NULL), 0);
    check_int(osr_limiter_borrowed(NULL), 0);
    check_int(osr_barrier_init(NULL, 1), -EINVAL);
    check_int(osr_barrier_wait(NULL), -EINVAL);
    check_int(osr_barrier_reset(NULL), -EINVAL);
    check_int(osr_barrier_abort(NULL), -EINVAL);
    check_int(osr_barrier_waiting(NULL), 0);
    check_int(osr_barrier_parties(NULL), 0);
    check(!osr_barrier_broken(NULL));
    return 0;
}

SIMULATED_TEST(a_barrier_for_nobody_is_refused)
{
    struct osr_barrier barrier;

    check_int(osr_barrier_init(&barrier, 0), -EINVAL);
    return 0;
}

static void outside_a_run_things_can_be_made_and_not_used(void **state)
{
    struct osr_event event;
    struct osr_lock lock;
    struct osr_condition condition;
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_permit permit = {0};
    struct osr_barrier barrier;

    (void)state;
    osr_event_init(&event);
    osr_lock_init(&lock);
    osr_condition_init(&condition, &lock);
    osr_semaphore_init(&semaphore, 1);
    osr_limiter_init(&limiter, 1);
    assert_int_equal(osr_barrier_init(&barrier, 1), 0);
    assert_int_equal(osr_event_set(&event), -EPERM);
    assert_int_equal(osr_event_clear(&event), -EPERM);
    assert_int_equal(osr_event_wait(&event), -EPERM);
    assert_int_equal(osr_lock_acquire(&lock), -EPERM);
    assert_int_equal(osr_lock_try_acquire(&lock), -EPERM);
    assert_int_equal(osr_lock_release(&lock), -EPERM);
    assert_int_equal(osr_condition_wait(&condition), -EPERM);
    assert_int_equal(osr_condition_notify(&condition, 1), -EPERM);
    assert_int_equal(osr_semaphore_acquire(&semaphore), -EPERM);
    assert_int_equal(osr_semaphore_try_acquire(&semaphore), -EPERM);
    assert_int_equal(osr_semaphore_release(&semaphore), -EPERM);
    assert_int_equal(osr_limiter_acquire(&limiter, &permit), -EPERM);
    assert_int_equal(osr_limiter_try_acquire(&limiter, &permit), -EPERM);
    assert_int_equal(osr_limiter_release(&limiter, &permit), -EPERM);
    assert_int_equal(osr_limiter_set_total(&limiter, 2), -EPERM);
    assert_int_equal(osr_barrier_wait(&barrier), -EPERM);
    assert_int_equal(osr_barrier_reset(&barrier), -EPERM);
    assert_int_equal(osr_barrier_abort(&barrier), -EPERM);
    assert_int_equal(osr_semaphore_value(&semaphore), 1);
    assert_false(osr_event_is_set(&event));
}

/* ---- Crowds -------------------------------------------------------------------------------------------- */

struct crowd {
    long count, got, cut;
    int (*wait)(struct waiter *waiter);
    void *thing;
    const struct osr_waiters *waiters;
    struct waiter *all;
    long *order;
};

OSR_TASK(one_of_many, struct waiter, w)
{
    w->rc = w->wait(w);
    return w->rc == -ECANCELED ? -ECANCELED : 0;
}

/* All come, and all are cancelled, in random order. */
OSR_TASK(come_and_be_cancelled, struct crowd, crowd)
{
    struct osr_group group;
    long i;

    osr_group_open(&group);
    for (i = 0; i < crowd->count; i++) {
        crowd->all[i] = (struct waiter){.wait = crowd->wait, .thing = crowd->thing};
        osr_spawn(&group, one_of_many, &crowd->all[i], .handle = &crowd->all[i].task);
    }
    osr_sleep(1);
    for (i = 0; i < crowd->count; i++)
        osr_task_cancel(crowd->all[crowd->order[i]].task, NULL);
    check(osr_waiters_empty(crowd->waiters));
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < crowd->count; i++)
        crowd->cut += crowd->all[i].rc == -ECANCELED;
    return 0;
}

static double processor_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double time_crowd(struct crowd crowd, long count)
{
    double began;

    crowd.count = count;
    crowd.all = calloc((size_t)count, sizeof(*crowd.all));
    crowd.order = calloc((size_t)count, sizeof(*crowd.order));
    shuffle(crowd.order, count);
    began = processor_time();
    assert_int_equal(osr_run(come_and_be_cancelled, &crowd, .clock = OSR_CLOCK_SIMULATED, .stack_size = 1 << 14), 0);
    began = processor_time() - began;
    assert_int_equal(crowd.cut, count);
    free(crowd.all);
    free(crowd.order);
    return began;
}

/* Ten times as many take not much more than ten times as long: were it quadratic, it would be a hundred times. */
static void assert_linear(int (*wait)(struct waiter *), void *thing, const struct osr_waiters *waiters)
{
    struct crowd crowd = {.wait = wait, .thing = thing, .waiters = waiters};
    double few = time_crowd(crowd, sized(10000, 100)), many = time_crowd(crowd, sized(100000, 1000));

    assert_checked();
    if (!under_tools() && many > 40 * few + 0.1)
        fail_msg("%.3f s for 10,000 and %.3f s for 100,000", few, many);
}

static void a_hundred_thousand_waiters_are_cancelled_in_linear_time(void **state)
{
    struct osr_event event;
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_barrier barrier;
    struct shop shop;

    (void)state;
    osr_event_init(&event);
    assert_linear(wait_event, &event, &event.waiters_);
    osr_semaphore_init(&semaphore, 0);
    assert_linear(wait_semaphore, &semaphore, &semaphore.waiters_);
    osr_limiter_init(&limiter, 0);
    assert_linear(wait_limiter, &limiter, &limiter.waiters_);
    assert_int_equal(osr_barrier_init(&barrier, 200000), 0);
    assert_linear(wait_barrier, &barrier, &barrier.waiters_);
    open_shop(&shop);
    assert_linear(wait_condition, &shop.condition, &shop.condition.waiters_);
    osr_lock_init(&shop.lock);
    shop.lock.owner_ = UINT64_MAX; /* somebody who never gives it up */
    assert_linear(wait_lock, &shop.lock, &shop.lock.waiters_);
}

/* Every other one is cancelled, in random order, between the permits: each permit reaches one who still waits. */
OSR_TASK(serve_between_cancellations, struct crowd, crowd)
{
    struct osr_semaphore *semaphore = crowd->thing;
    struct osr_group group;
    long i, given = 0;

    osr_group_open(&group);
    for (i = 0; i < crowd->count; i++) {
        crowd->all[i] = (struct waiter){.wait = crowd->wait, .thing = crowd->thing};
        osr_spawn(&group, one_of_many, &crowd->all[i], .handle = &crowd->all[i].task);
    }
    osr_sleep(1);
    for (i = 0; i < crowd->count; i++) {
        if (i % 2 == 0)
            osr_task_cancel(crowd->all[crowd->order[i]].task, NULL);
        else if (!osr_waiters_empty(crowd->waiters))
            given += osr_semaphore_release(semaphore) == 0;
    }
    while (!osr_waiters_empty(crowd->waiters))
        given += osr_semaphore_release(semaphore) == 0;
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < crowd->count; i++) {
        crowd->got += crowd->all[i].rc == 0;
        crowd->cut += crowd->all[i].rc == -ECANCELED;
    }
    check_int(crowd->got, given);
    check_int(crowd->got + crowd->cut, crowd->count);
    check_int(osr_semaphore_value(semaphore), 0);
    return 0;
}

static void no_permit_is_lost_in_a_crowd_of_which_half_are_cancelled(void **state)
{
    struct osr_semaphore semaphore;
    struct crowd crowd = {.count = sized(100000, 1000), .wait = wait_semaphore, .thing = &semaphore,
                          .waiters = &semaphore.waiters_};

    (void)state;
    osr_semaphore_init(&semaphore, 0);
    crowd.all = calloc((size_t)crowd.count, sizeof(*crowd.all));
    crowd.order = calloc((size_t)crowd.count, sizeof(*crowd.order));
    shuffle(crowd.order, crowd.count);
    assert_int_equal(osr_run(serve_between_cancellations, &crowd, .clock = OSR_CLOCK_SIMULATED, .stack_size = 1 << 14),
                     0);
    assert_checked();
    free(crowd.all);
    free(crowd.order);
}

/* ---- Random courses ------------------------------------------------------------------------------------ */

enum { ACTORS = 8 };

/* Several tasks use one thing of each kind at random, are cut at random, and run in a random order. */
struct play {
    uint64_t dice;
    long acts, critical, holding, borrowed, produced, consumed, wanted, rounds;
    struct osr_lock lock;
    struct shop shop;
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_event event;
    struct osr_barrier barrier;
    const char *broken;
};

static unsigned roll(struct play *play, unsigned n)
{
    play->dice ^= play->dice << 13, play->dice ^= play->dice >> 7, play->dice ^= play->dice << 17;
    return (unsigned)(play->dice >> 33) % n;
}

static unsigned choose_any(void *play, enum osr_choice kind, unsigned n, const char *what)
{
    (void)what;
    return kind == OSR_CHOICE_FAULT ? 0 : roll(play, n);
}

static void must(struct play *play, bool holds, const char *what)
{
    if (!holds && !play->broken)
        play->broken = what;
}

/* What holds between any two steps. */
static void look_between_steps(void *arg, const struct osr_trace_event *event)
{
    struct play *play = arg;

    if (event->kind != OSR_TRACE_STEP)
        return;
    must(play, osr_lock_held(&play->lock) || osr_waiters_empty(&play->lock.waiters_), "a free lock is waited for");
    must(play, osr_lock_held(&play->shop.lock) || osr_waiters_empty(&play->shop.lock.waiters_),
         "the free lock of a condition is waited for");
    must(play, osr_semaphore_value(&play->semaphore) == 0 || osr_waiters_empty(&play->semaphore.waiters_),
         "a free permit is waited for");
    must(play, play->limiter.borrowed_ >= play->limiter.total_ || osr_waiters_empty(&play->limiter.waiters_),
         "what could be lent is waited for");
    must(play, !osr_event_is_set(&play->event) || osr_waiters_empty(&play->event.waiters_),
         "a set event is waited for");
    must(play, osr_barrier_waiting(&play->barrier) < osr_barrier_parties(&play->barrier),
         "a full barrier has not tripped");
    must(play, play->critical <= 1, "two are in the critical section");
    must(play, play->holding <= 2, "more than two hold permits");
}

/* A pause that is not cut, in the middle of something. */
static void pause_uncut(struct play *play)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    osr_scope_close(&shield, osr_sleep(roll(play, 4)));
}

static int use_lock(struct play *play)
{
    int rc = osr_lock_acquire(&play->lock);

    if (rc < 0)
        return rc;
    play->critical++;
    pause_uncut(play);
    play->critical--;
    must(play, osr_lock_release(&play->lock) == 0, "the lock cannot be given up");
    return 0;
}

static int use_semaphore(struct play *play)
{
    int rc = osr_semaphore_acquire(&play->semaphore);

    if (rc < 0)
        return rc;
    play->holding++;
    pause_uncut(play);
    play->holding--;
    must(play, osr_semaphore_release(&play->semaphore) == 0, "the permit cannot be given back");
    return 0;
}

static int use_limiter(struct play *play)
{
    struct osr_permit permit = {0};
    int rc = osr_limiter_acquire(&play->limiter, &permit);

    if (rc < 0)
        return rc;
    play->borrowed++;
    pause_uncut(play);
    osr_limiter_set_total(&play->limiter, 1 + roll(play, 3));
    play->borrowed--;
    must(play, osr_limiter_release(&play->limiter, &permit) == 0, "the loan cannot be given back");
    return 0;
}

static int produce(struct play *play)
{
    int rc = osr_lock_acquire(&play->shop.lock);

    if (rc < 0)
        return rc;
    play->produced++;
    must(play, osr_condition_notify(&play->shop.condition, 1) <= 1, "more were notified than asked for");
    pause_uncut(play);
    must(play, osr_lock_release(&play->shop.lock) == 0, "the producer lost its lock");
    return 0;
}

static int consume(struct play *play)
{
    int rc = osr_lock_acquire(&play->shop.lock);

    if (rc < 0)
        return rc;
    while (rc == 0 && play->produced == play->consumed)
        rc = osr_condition_wait(&play->shop.condition);
    must(play, osr_lock_is_mine(&play->shop.lock), "a condition returned without its lock");
    if (rc == 0)
        play->consumed++;
    else if (play->produced > play->consumed)
        osr_condition_notify(&play->shop.condition, 1);
    must(play, osr_lock_release(&play->shop.lock) == 0, "the consumer lost its lock");
    return rc;
}

static int use_event(struct play *play)
{
    if (roll(play, 2))
        return osr_event_wait(&play->event);
    osr_event_set(&play->event);
    if (roll(play, 2))
        osr_event_clear(&play->event);
    return osr_sleep(roll(play, 3));
}

static int use_barrier(struct play *play)
{
    int rc = osr_barrier_wait(&play->barrier);

    must(play, rc < 3 && (rc >= 0 || rc == -ECANCELED || rc == -OSR_EBROKEN), "a barrier gave what it cannot give");
    play->rounds += rc == 2;
    if (roll(play, 20) == 0)
        osr_barrier_abort(&play->barrier);
    if (roll(play, 4) == 0)
        osr_barrier_reset(&play->barrier);
    return rc == -OSR_EBROKEN || rc > 0 ? 0 : rc;
}

static int act(struct play *play)
{
    static int (*const acts[])(struct play *) = {use_lock, use_semaphore, use_limiter, produce,
                                                 consume,  use_event,     use_barrier};

    return acts[roll(play, 7)](play);
}

OSR_TASK(actor, struct play, play)
{
    long i;

    for (i = 0; i < play->acts; i++) {
        struct osr_scope limit;

        osr_move_on_open(&limit, (int64_t)roll(play, 6));
        if (osr_scope_close(&limit, act(play)) != 0)
            must(play, false, "an act failed");
    }
    return 0;
}

OSR_TASK(stage, struct play, play)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < ACTORS; i++)
        osr_spawn(&group, actor, play);
    return osr_group_close(&group, 0);
}

static void set_the_stage(struct play *play)
{
    osr_lock_init(&play->lock);
    open_shop(&play->shop);
    osr_semaphore_init_bounded(&play->semaphore, 2);
    osr_limiter_init(&play->limiter, 2);
    osr_event_init(&play->event);
    assert_int_equal(osr_barrier_init(&play->barrier, 3), 0);
}

/* 7 to 16, in every order that the dice can think of. */
static void in_random_courses_nothing_is_lost_and_nobody_is_stuck(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= (uint64_t)sized(40, 3); seed++) {
        struct play play = {.dice = seed * 0x9e3779b97f4a7c15u, .acts = sized(300, 60)};

        set_the_stage(&play);
        assert_int_equal(run_simulated(stage, &play, .choose = choose_any, .choose_arg = &play,
                                       .observe = look_between_steps, .observe_arg = &play),
                         0);
        if (play.broken)
            fail_msg("seed %d: %s", (int)seed, play.broken);
        assert_false(osr_lock_held(&play.lock) || osr_lock_held(&play.shop.lock));
        assert_int_equal(osr_semaphore_value(&play.semaphore), 2);
        assert_int_equal(osr_limiter_borrowed(&play.limiter), 0);
        assert_int_equal(play.critical + play.holding + play.borrowed, 0);
        assert_true(play.consumed <= play.produced && play.consumed > 0 && play.rounds > 0);
        assert_true(osr_waiters_empty(&play.shop.condition.waiters_));
    }
}

/* 14: kotlinx.coroutines 2380. */
OSR_TASK(race_for_the_lock, struct play, play)
{
    long i;

    for (i = 0; i < play->acts; i++) {
        struct osr_scope limit;
        int rc;

        osr_move_on_open(&limit, 1);
        rc = osr_lock_acquire(&play->lock);
        if (rc == 0) {
            rc = osr_sleep(1); /* which ends when the limits of those that wait do */
            osr_lock_release(&play->lock);
        }
        osr_scope_close(&limit, rc);
    }
    return 0;
}

OSR_TASK(races_for_the_lock, struct play, play)
{
    struct osr_group group;
    int i;

    osr_lock_init(&play->lock);
    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, race_for_the_lock, play);
    check_int(osr_group_close(&group, 0), 0);
    check(!osr_lock_held(&play->lock) && osr_waiters_empty(&play->lock.waiters_));
    return 0;
}

static void a_lock_that_is_given_up_as_its_waiters_give_up_never_sticks(void **state)
{
    struct play play = {.acts = sized(100000, 500)};

    (void)state;
    assert_int_equal(osr_run(races_for_the_lock, &play, .clock = OSR_CLOCK_SIMULATED), 0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(an_event_wakes_all_who_wait_in_the_order_in_which_they_came),
        story_test(who_was_woken_by_an_event_stays_woken_though_it_is_cleared_at_once),
        story_test(a_callback_sets_and_clears_events),
        story_test(a_lock_is_handed_over_in_the_order_in_which_tasks_came),
        story_test(nobody_barges_past_who_was_handed_the_lock),
        story_test(a_lock_belongs_to_the_task_that_took_it),
        story_test(who_is_handed_the_lock_and_then_cancelled_passes_it_on),
        story_test(who_is_cancelled_before_the_lock_is_free_never_holds_it),
        story_test(as_many_are_notified_as_asked_for_in_the_order_in_which_they_came),
        story_test(more_than_there_are_can_be_notified),
        story_test(those_who_are_notified_go_on_one_after_the_other_as_each_gets_the_lock),
        story_test(who_is_notified_and_then_cancelled_returns_holding_the_lock_and_has_been_notified),
        story_test(a_notice_that_comes_after_a_cancellation_goes_to_the_next),
        story_test(who_is_cancelled_at_a_condition_waits_for_the_lock_all_the_same),
        story_test(limits_that_pass_until_a_cut_wait_has_its_lock_again_have_cut_it_too_the_outer),
        story_test(limits_that_pass_until_a_cut_wait_has_its_lock_again_have_cut_it_too_the_inner),
        story_test(who_waits_at_a_condition_or_notifies_must_hold_its_lock),
        story_test(a_lock_that_tasks_of_another_run_wait_for_is_that_runs),
        story_test(tasks_of_another_run_do_not_count_at_a_barrier),
        story_test(of_two_who_want_the_only_permit_one_waits),
        story_test(a_permit_that_was_handed_to_a_cancelled_task_is_its_own),
        story_test(a_permit_passes_over_those_who_were_cancelled),
        story_test(nobody_barges_past_who_was_handed_a_permit),
        story_test(a_semaphore_never_has_more_permits_than_it_can_count),
        story_test(a_bounded_semaphore_without_permits_has_none_to_give),
        story_test(a_callback_takes_and_gives_permits_without_waiting),
        story_test(a_limiter_lends_in_the_order_in_which_tasks_came),
        story_test(a_permit_is_lent_once_and_given_back_once),
        story_test(a_permit_that_is_waited_for_can_not_be_borrowed_a_second_time),
        story_test(a_limiter_lends_more_at_once_when_it_has_more),
        story_test(waits_that_are_given_up_leave_nothing_behind),
        story_test(a_barrier_gives_places_in_the_order_of_coming_time_after_time),
        story_test(a_barrier_for_one_never_waits),
        story_test(who_is_cancelled_leaves_the_barrier_and_the_others_go_on_waiting),
        story_test(an_aborted_barrier_is_broken_until_it_is_reset),
        story_test(a_barrier_that_is_reset_sends_away_who_waits_and_begins_anew),
        story_test(who_goes_on_coming_to_a_broken_barrier_lets_others_run),
        story_test(a_callback_sends_away_who_waits_at_a_barrier),
        story_test(a_task_that_never_has_to_wait_lets_others_run_all_the_same),
        story_test(nothing_is_answered_with_a_code),
        story_test(a_barrier_for_nobody_is_refused),
        story_test(outside_a_run_things_can_be_made_and_not_used),
        story_test(a_hundred_thousand_waiters_are_cancelled_in_linear_time),
        story_test(no_permit_is_lost_in_a_crowd_of_which_half_are_cancelled),
        story_test(in_random_courses_nothing_is_lost_and_nobody_is_stuck),
        story_test(a_lock_that_is_given_up_as_its_waiters_give_up_never_sticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
