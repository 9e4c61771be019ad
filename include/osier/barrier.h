/* Barriers: so many tasks wait for each other (asyncio.Barrier). */
#ifndef OSIER_BARRIER_H
#define OSIER_BARRIER_H

#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In memory of the caller's; the fields are private. Nothing has to be undone when it is no longer needed. It serves
 * one run, again and again. */
struct osr_barrier {
    unsigned parties_, arrived_;
    bool broken_;
    struct osr_waiters waiters_;
};

/* Makes a barrier for so many tasks. May be called from anywhere. 0; -EINVAL for 0 of them, and then it is none. */
OSR_API int osr_barrier_init(struct osr_barrier *barrier, unsigned parties);

/*
 * Waits until as many tasks as the barrier is for wait here; then all go on, and the next to come wait for the next
 * time. A cancellation point; who is cancelled before the barrier trips leaves it, and the others go on waiting.
 *
 * The caller's place, 0 for the one who came first of those that tripped it; -OSR_EBROKEN if the barrier is broken or
 * is reset meanwhile; -ECANCELED; -EINVAL; -EPERM.
 */
#define osr_barrier_wait(barrier) osr_barrier_wait_here((barrier), OSR_HERE)
OSR_API int osr_barrier_wait_here(struct osr_barrier *barrier, const char *where);

/* Makes the barrier whole and empty: who waits gets -OSR_EBROKEN. Never waits. By tasks and callbacks of the run.
 * 0; -EINVAL; -EPERM. */
OSR_API int osr_barrier_reset(struct osr_barrier *barrier);

/* Breaks the barrier: who waits, and who comes until it is reset, gets -OSR_EBROKEN. Otherwise the same. */
OSR_API int osr_barrier_abort(struct osr_barrier *barrier);

/* How many it is for; how many wait now, which is counted one by one; whether it is broken. */
static inline unsigned osr_barrier_parties(const struct osr_barrier *barrier)
{
    return barrier ? barrier->parties_ : 0;
}
OSR_API unsigned osr_barrier_waiting(const struct osr_barrier *barrier);
static inline bool osr_barrier_broken(const struct osr_barrier *barrier)
{
    return barrier && barrier->broken_;
}

#ifdef __cplusplus
}
#endif

#endif
