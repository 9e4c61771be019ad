/*
 * How other threads and signal handlers tell a loop that something has come for it. A loop that does not wait looks for
 * itself before it does, so that telling it takes no system call.
 */
#ifndef OSIER_SCHED_WAKER_H
#define OSIER_SCHED_WAKER_H

#include <stdatomic.h>

#include "2_sched/driver.h"

enum waker_state {
    WAKER_LOUD,    /* nobody says when the loop waits: each ring is written to the descriptor */
    WAKER_AWAKE,   /* it looks for itself before it waits */
    WAKER_RUNG,    /* something has come that it has not heard of */
    WAKER_POLLING, /* it waits for the descriptor, among others */
    WAKER_PARKED   /* it waits for nothing else */
};

struct waker {
    atomic_uint state;
    struct watch watch; /* of the descriptor, an eventfd */
    bool unwritten;     /* the watch has been found ready without its being written to */
};

/* From any thread: what has come can be seen already. Gives how the loop has to be told, for which it asks once:
 * WAKER_LOUD or WAKER_POLLING by the descriptor, WAKER_PARKED by osri_sys_wake(). */
static inline enum waker_state osri_waker_ring(struct waker *waker)
{
    unsigned state = atomic_load(&waker->state);

    while (state != WAKER_LOUD && !atomic_compare_exchange_weak(&waker->state, &state, WAKER_RUNG))
        continue;
    return state;
}

/* The loop is about to wait in this way. Whether it may: nothing has come. */
static inline bool osri_waker_waits(struct waker *waker, enum waker_state how)
{
    unsigned awake = WAKER_AWAKE;

    return atomic_compare_exchange_strong(&waker->state, &awake, how);
}

/* The loop is awake from here on. Gives the state until now: if that is WAKER_RUNG something has come, if it is WAKER_LOUD
 * something may have. */
static inline enum waker_state osri_waker_rouse(struct waker *waker)
{
    unsigned state = atomic_load(&waker->state);

    return state == WAKER_AWAKE ? WAKER_AWAKE : atomic_exchange(&waker->state, WAKER_AWAKE);
}

/* From here on nobody says when the loop waits. Whether something has come before. */
static inline bool osri_waker_be_loud(struct waker *waker)
{
    return atomic_exchange(&waker->state, WAKER_LOUD) == WAKER_RUNG;
}

#endif
