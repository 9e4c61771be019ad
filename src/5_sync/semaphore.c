#include <osier/semaphore.h>

#include <limits.h>

#include "2_sched/wait.h"

/* ---- Semaphores ---- */

static void init(struct osr_semaphore *semaphore, unsigned permits, unsigned bound)
{
    if (!semaphore)
        return;
    *semaphore = (struct osr_semaphore){.value_ = permits, .bound_ = bound};
    osr_waiters_init(&semaphore->waiters_);
}

void osr_semaphore_init(struct osr_semaphore *semaphore, unsigned permits)
{
    init(semaphore, permits, UINT_MAX);
}

void osr_semaphore_init_bounded(struct osr_semaphore *semaphore, unsigned permits)
{
    init(semaphore, permits, permits);
}

int osr_semaphore_acquire_here(struct osr_semaphore *semaphore, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, semaphore, where);

    if (rc < 0)
        return rc;
    if (unlikely(!semaphore))
        return osri_task_failed(sched->current, -EINVAL, where);
    if (likely(semaphore->value_ > 0)) {
        semaphore->value_--;
        osri_at_once(sched);
        return 0;
    }
    return osri_park(sched, &semaphore->waiters_, NULL, "osr_semaphore_acquire", where);
}

int osr_semaphore_try_acquire(struct osr_semaphore *semaphore)
{
    if (!semaphore || !osri_is_inside(osri_sched))
        return osri_failed(semaphore ? -EPERM : -EINVAL, NULL);
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, semaphore);
    if (semaphore->value_ == 0)
        return osri_failed(-EAGAIN, NULL);
    semaphore->value_--;
    return 0;
}

static inline int release(struct sched *sched, struct osr_semaphore *semaphore)
{
    struct osr_waiter_ *first;

    if (unlikely(semaphore->value_ == semaphore->bound_))
        return osri_failed(-EOVERFLOW, NULL);
    first = osri_first(&semaphore->waiters_);
    if (first)
        osri_wake(sched, first->wait_, 0);
    else
        semaphore->value_++;
    return 0;
}

static __attribute__((noinline)) int release_told(struct sched *sched, struct osr_semaphore *semaphore)
{
    osri_touch(&sched->door, OSR_TOUCH_WRITE, semaphore);
    return release(sched, semaphore);
}

int osr_semaphore_release(struct osr_semaphore *semaphore)
{
    struct sched *sched = osri_sched;
    int rc = semaphore ? osri_may_wake(sched, &semaphore->waiters_) : -EINVAL;

    if (unlikely(rc < 0))
        return osri_failed(rc, NULL);
    return unlikely(sched->door.touched != NULL) ? release_told(sched, semaphore) : release(sched, semaphore);
}

/* ---- Limiters ---- */

void osr_limiter_init(struct osr_limiter *limiter, unsigned total)
{
    if (!limiter)
        return;
    *limiter = (struct osr_limiter){.total_ = total};
    osr_waiters_init(&limiter->waiters_);
}

static void lend(struct osr_limiter *limiter, struct osr_permit *permit)
{
    permit->limiter_ = limiter;
    limiter->borrowed_++;
}

/* Borrows at once: 0; -EAGAIN; -EALREADY; -EINVAL. */
static int borrow_now(struct osr_limiter *limiter, struct osr_permit *permit)
{
    if (!limiter || !permit)
        return -EINVAL;
    if (permit->limiter_ || permit->awaited_)
        return -EALREADY;
    if (limiter->borrowed_ >= limiter->total_)
        return -EAGAIN;
    lend(limiter, permit);
    return 0;
}

int osr_limiter_acquire_here(struct osr_limiter *limiter, struct osr_permit *permit, const char *where)
{
    struct sched *sched = osri_sched;
    struct osr_wait wait;
    int rc = osri_enter_for(sched, limiter, where);

    if (rc < 0)
        return rc;
    rc = borrow_now(limiter, permit);
    if (rc == 0) {
        osri_at_once(sched);
        return 0;
    }
    if (rc != -EAGAIN)
        return osri_task_failed(sched->current, rc, where);
    permit->awaited_ = true;
    wait_begin(&wait, sched->current, &limiter->waiters_.list_, permit, "osr_limiter_acquire", where);
    rc = osri_wait(sched, &wait);
    permit->awaited_ = false;
    return rc;
}

int osr_limiter_try_acquire(struct osr_limiter *limiter, struct osr_permit *permit)
{
    int rc = osri_is_inside(osri_sched) ? 0 : -EPERM;

    if (rc == 0) {
        osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, limiter);
        rc = borrow_now(limiter, permit);
    }
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

/* Lends what there is to those who wait. */
static void lend_on(struct sched *sched, struct osr_limiter *limiter)
{
    struct osr_waiter_ *first;

    while (limiter->borrowed_ < limiter->total_ && (first = osri_first(&limiter->waiters_)) != NULL) {
        lend(limiter, first->item_);
        osri_wake(sched, first->wait_, 0);
    }
}

int osr_limiter_release(struct osr_limiter *limiter, struct osr_permit *permit)
{
    int rc = limiter && permit ? osri_may_wake(osri_sched, &limiter->waiters_) : -EINVAL;

    if (rc == 0 && permit->limiter_ != limiter)
        rc = -EPERM;
    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, limiter);
    permit->limiter_ = NULL;
    limiter->borrowed_--;
    lend_on(osri_sched, limiter);
    return 0;
}

int osr_limiter_set_total(struct osr_limiter *limiter, unsigned total)
{
    int rc = limiter ? osri_may_wake(osri_sched, &limiter->waiters_) : -EINVAL;

    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, limiter);
    limiter->total_ = total;
    lend_on(osri_sched, limiter);
    return 0;
}
