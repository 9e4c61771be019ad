#include <osier/lock.h>

#include "2_sched/wait.h"

/* ---- Locks ---- */

void osr_lock_init(struct osr_lock *lock)
{
    if (!lock)
        return;
    lock->owner_ = 0;
    osr_waiters_init(&lock->waiters_);
}

/* Takes the lock for the task if it can be had at once: 0; -EAGAIN; -EDEADLK; -EINVAL. */
static inline int take_now(struct osr_lock *lock, const struct task *task)
{
    if (unlikely(!lock))
        return -EINVAL;
    if (likely(lock->owner_ == 0)) {
        lock->owner_ = task->number;
        return 0;
    }
    return lock->owner_ == task->number ? -EDEADLK : -EAGAIN;
}

int osr_lock_acquire_here(struct osr_lock *lock, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, lock, where);

    if (rc < 0)
        return rc;
    rc = take_now(lock, sched->current);
    if (likely(rc == 0)) {
        osri_at_once(sched);
        return 0;
    }
    if (rc != -EAGAIN)
        return osri_task_failed(sched->current, rc, where);
    return osri_park(sched, &lock->waiters_, NULL, "osr_lock_acquire", where);
}

int osr_lock_try_acquire(struct osr_lock *lock)
{
    struct task *task = osri_current();
    int rc;

    if (task)
        osri_touch(&task->sched->door, OSR_TOUCH_WRITE, lock);
    rc = task ? take_now(lock, task) : -EPERM;
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

/* The lock goes to whoever has waited longest: 0; -EPERM if that is in another run, where the lock's owner is then, whose
 * number the caller happens to have. */
static __attribute__((noinline)) int hand_over(struct sched *sched, struct osr_lock *lock)
{
    struct osr_waiter_ *first;

    osri_touch(&sched->door, OSR_TOUCH_WRITE, lock);
    first = osri_first(&lock->waiters_);
    if (first && !osri_is_here(sched, first))
        return -EPERM;
    lock->owner_ = first ? ((struct task *)first->wait_->task_)->number : 0;
    if (first)
        osri_wake(sched, first->wait_, 0);
    return 0;
}

/* Whether the calling task holds the lock: 0 or a code. */
static inline int must_be_mine(const struct osr_lock *lock)
{
    struct task *task = osri_current();

    if (unlikely(!lock))
        return -EINVAL;
    return likely(task && lock->owner_ == task->number) ? 0 : -EPERM;
}

int osr_lock_release(struct osr_lock *lock)
{
    int rc = must_be_mine(lock);

    if (unlikely(rc < 0))
        return osri_failed(rc, NULL);
    if (unlikely(osri_first(&lock->waiters_) || osri_sched->door.touched)) {
        rc = hand_over(osri_sched, lock);
        return rc < 0 ? osri_failed(rc, NULL) : 0;
    }
    lock->owner_ = 0;
    return 0;
}

bool osr_lock_is_mine(const struct osr_lock *lock)
{
    return must_be_mine(lock) == 0;
}

/* ---- Conditions ---- */

void osr_condition_init(struct osr_condition *condition, struct osr_lock *lock)
{
    if (!condition)
        return;
    condition->lock_ = lock;
    osr_waiters_init(&condition->waiters_);
}

static int must_hold(const struct osr_condition *condition)
{
    return condition ? must_be_mine(condition->lock_) : -EINVAL;
}

/* Takes the lock again after a wait that was cut: not to be cut once more. */
static void take_again(struct sched *sched, struct osr_lock *lock, const char *where)
{
    struct osr_wait wait;

    osri_touch(&sched->door, OSR_TOUCH_WRITE, lock);
    if (take_now(lock, sched->current) == 0)
        return;
    wait_begin(&wait, sched->current, &lock->waiters_.list_, NULL, "osr_condition_wait", where);
    wait.uncut_ = true;
    (void)osri_wait(sched, &wait);
}

int osr_condition_wait_here(struct osr_condition *condition, const char *where)
{
    struct sched *sched = osri_sched;
    struct osr_lock *lock;
    int rc = osri_enter_for(sched, condition, where);

    if (rc < 0)
        return rc;
    rc = must_hold(condition);
    if (rc < 0)
        return osri_task_failed(sched->current, rc, where);
    lock = condition->lock_;
    rc = hand_over(sched, lock);
    if (rc < 0)
        return osri_task_failed(sched->current, rc, where);
    rc = osri_park(sched, &condition->waiters_, NULL, "osr_condition_wait", where);
    if (rc == 0)
        return 0;
    take_again(sched, lock, where);
    return osri_refused(sched, sched->current, where); /* also by those that were cancelled meanwhile */
}

/* Who is notified waits for the lock from now on, which the caller holds, and can no longer be cut. */
static unsigned notify(struct osr_condition *condition, unsigned count)
{
    struct osr_waiter_ *first;
    unsigned notified = 0;

    while (notified < count && (first = osri_first(&condition->waiters_)) != NULL) {
        list_remove(&first->node_);
        first->wait_->uncut_ = true;
        list_append(&condition->lock_->waiters_.list_, &first->node_);
        notified++;
    }
    return notified;
}

int osr_condition_notify(struct osr_condition *condition, unsigned count)
{
    int rc = must_hold(condition);

    if (rc == 0)
        rc = osri_may_wake(osri_sched, &condition->waiters_);
    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, condition);
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, condition->lock_);
    return (int)notify(condition, count < INT32_MAX ? count : INT32_MAX);
}

int osr_condition_notify_all(struct osr_condition *condition)
{
    return osr_condition_notify(condition, INT32_MAX);
}
