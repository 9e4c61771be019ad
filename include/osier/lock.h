/*
 * Locks and conditions (asyncio.Lock, asyncio.Condition). Tasks take turns only where they wait, so plain data needs no
 * lock; these are for what must stay whole over a wait.
 */
#ifndef OSIER_LOCK_H
#define OSIER_LOCK_H

#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Locks --------------------------------------------------------------------------------------------- */

/* In memory of the caller's; the fields are private. Nothing has to be undone when it is no longer needed. It serves
 * the tasks of one run, and is held by one of them or by none. A task that ends without giving it up leaves it held for
 * good: who then waits for it can only be cancelled. */
struct osr_lock {
    uint64_t owner_; /* the number of the task; 0 if it is free */
    struct osr_waiters waiters_;
};

/* Makes a free lock. May be called from anywhere. */
OSR_API void osr_lock_init(struct osr_lock *lock);

/*
 * Takes the lock, waiting until it is free. A cancellation point; cancelled, the caller does not hold it. It is handed
 * from task to task in the order in which they came: nobody barges past one who waits.
 *
 * 0; -ECANCELED; -EDEADLK if the caller holds it already; -EINVAL; -EPERM.
 */
#define osr_lock_acquire(lock) osr_lock_acquire_here((lock), OSR_HERE)
OSR_API int osr_lock_acquire_here(struct osr_lock *lock, const char *where);

/* Takes the lock if it is free; no cancellation point, never waits. 0; -EAGAIN; -EDEADLK, -EINVAL, -EPERM as above. */
OSR_API int osr_lock_try_acquire(struct osr_lock *lock);

/* Gives the lock up: the task that has waited longest now holds it. Never waits. 0; -EPERM if the caller does not hold
 * it, or is no task; -EINVAL. */
OSR_API int osr_lock_release(struct osr_lock *lock);

/* Whether anybody holds it; whether the calling task does, which no other caller is. */
static inline bool osr_lock_held(const struct osr_lock *lock)
{
    return lock && lock->owner_ != 0;
}
OSR_API bool osr_lock_is_mine(const struct osr_lock *lock);

/* ---- Conditions ---------------------------------------------------------------------------------------- */

/* In memory of the caller's, like its lock; the fields are private. */
struct osr_condition {
    struct osr_lock *lock_;
    struct osr_waiters waiters_;
};

/* Makes a condition on what `lock` protects. May be called from anywhere. With NULL for a lock, its calls give -EINVAL. */
OSR_API void osr_condition_init(struct osr_condition *condition, struct osr_lock *lock);

/*
 * Gives the lock up, waits until notified, and takes the lock again; to be called in a loop, as what was notified may
 * have been taken by somebody else since:
 *
 *     while (rc == 0 && !ready)
 *         rc = osr_condition_wait(&condition);
 *
 * A cancellation point until notified; refused on entry, it has not given the lock up. It ALWAYS returns holding the lock if
 * the caller held it, also with -ECANCELED: taking it again is not cut, and who was notified is past cancellation.
 *
 * 0; -ECANCELED; -EPERM if the caller does not hold the lock; -EINVAL.
 */
#define osr_condition_wait(condition) osr_condition_wait_here((condition), OSR_HERE)
OSR_API int osr_condition_wait_here(struct osr_condition *condition, const char *where);

/*
 * Notifies at most `count` of those who wait, in the order in which they came, or all: they go on one after the other,
 * as each gets the lock. Never waits. The number notified; -EPERM if the caller does not hold the lock; -EINVAL.
 */
OSR_API int osr_condition_notify(struct osr_condition *condition, unsigned count);
OSR_API int osr_condition_notify_all(struct osr_condition *condition);

#ifdef __cplusplus
}
#endif

#endif
