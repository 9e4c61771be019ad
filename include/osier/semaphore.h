/*
 * Semaphores (asyncio.Semaphore, asyncio.BoundedSemaphore) and capacity limiters (Trio's CapacityLimiter): at most so
 * many at once.
 */
#ifndef OSIER_SEMAPHORE_H
#define OSIER_SEMAPHORE_H

#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Semaphores ---------------------------------------------------------------------------------------- */

/* A number of permits that belong to nobody: who releases need not be who acquired. In memory of the caller's; the
 * fields are private. Nothing has to be undone when it is no longer needed. It serves one run. */
struct osr_semaphore {
    unsigned value_, bound_;
    struct osr_waiters waiters_;
};

/* Makes a semaphore with so many permits, which may be 0; a bounded one never has more than it began with. May be called
 * from anywhere. */
OSR_API void osr_semaphore_init(struct osr_semaphore *semaphore, unsigned permits);
OSR_API void osr_semaphore_init_bounded(struct osr_semaphore *semaphore, unsigned permits);

/*
 * Takes a permit, waiting until there is one. A cancellation point; cancelled, none was taken. Permits are handed over
 * in the order in which tasks came: nobody barges past one who waits. 0; -ECANCELED; -EINVAL; -EPERM.
 */
#define osr_semaphore_acquire(semaphore) osr_semaphore_acquire_here((semaphore), OSR_HERE)
OSR_API int osr_semaphore_acquire_here(struct osr_semaphore *semaphore, const char *where);

/* Takes a permit if there is one; no cancellation point, never waits. By tasks and callbacks of the run. 0; -EAGAIN;
 * -EINVAL; -EPERM. */
OSR_API int osr_semaphore_try_acquire(struct osr_semaphore *semaphore);

/* Gives a permit, to the task that has waited longest if there is one. Never waits. By tasks and callbacks of the run.
 * 0; -EOVERFLOW if a bounded one has all of its permits, or the number would overflow; -EINVAL; -EPERM. */
OSR_API int osr_semaphore_release(struct osr_semaphore *semaphore);

/* How many permits can be taken at once. */
static inline unsigned osr_semaphore_value(const struct osr_semaphore *semaphore)
{
    return semaphore ? semaphore->value_ : 0;
}

/* ---- Limiters ------------------------------------------------------------------------------------------ */

/* Lends out at most `total` permits, which are things: each is lent to somebody, and known. In memory of the caller's;
 * the fields are private. It serves one run. */
struct osr_limiter {
    unsigned total_, borrowed_;
    struct osr_waiters waiters_;
};

/* A permit, in the frame of whoever borrows it, all zeros before. It may be given back by any task. */
struct osr_permit {
    struct osr_limiter *limiter_;
    bool awaited_;
};

/* Makes a limiter. May be called from anywhere. */
OSR_API void osr_limiter_init(struct osr_limiter *limiter, unsigned total);

/*
 * Borrows a permit, waiting until there is one. A cancellation point; cancelled, `*permit` is as it was. In the order
 * in which tasks came. 0; -ECANCELED; -EALREADY if `*permit` is borrowed already, or waited for; -EINVAL; -EPERM.
 */
#define osr_limiter_acquire(limiter, permit) osr_limiter_acquire_here((limiter), (permit), OSR_HERE)
OSR_API int osr_limiter_acquire_here(struct osr_limiter *limiter, struct osr_permit *permit, const char *where);

/* Borrows one if there is one; no cancellation point, never waits. By tasks and callbacks of the run. 0; -EAGAIN; -EALREADY;
 * -EINVAL; -EPERM. */
OSR_API int osr_limiter_try_acquire(struct osr_limiter *limiter, struct osr_permit *permit);

/* Gives the permit back. Never waits. By tasks and callbacks of the run. 0; -EPERM if it is not borrowed from this
 * limiter, or outside a run; -EINVAL. */
OSR_API int osr_limiter_release(struct osr_limiter *limiter, struct osr_permit *permit);

/* Changes how many there are; if they become fewer than are lent out, those stay lent. Never waits. By tasks and
 * callbacks of the run. 0; -EINVAL; -EPERM. */
OSR_API int osr_limiter_set_total(struct osr_limiter *limiter, unsigned total);

/* How many there are, how many are lent out. */
static inline unsigned osr_limiter_total(const struct osr_limiter *limiter)
{
    return limiter ? limiter->total_ : 0;
}
static inline unsigned osr_limiter_borrowed(const struct osr_limiter *limiter)
{
    return limiter ? limiter->borrowed_ : 0;
}

#ifdef __cplusplus
}
#endif

#endif
