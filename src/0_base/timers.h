/*
 * Timers: sleeps and deadlines, in the order of their times and, at one time, in the order in which they were
 * set. A timer that is set and cleared before any of the new ones is due, or the loop waits, costs two links and never
 * reaches the heap, which is what nearly all timeouts do.
 */
#ifndef OSIER_BASE_TIMERS_H
#define OSIER_BASE_TIMERS_H

#include "0_base/memory.h"

enum timer_state {
    TIMER_IDLE,
    TIMER_LISTED, /* in a list: new, not yet in the heap, or due and about to fire */
    TIMER_HEAPED
};

struct timer_slot {
    int64_t at;
    uint64_t order;
    struct osr_timer_ *timer;
};

struct timers {
    struct osr_list_ fresh; /* not in the heap yet */
    int64_t fresh_at;       /* none of them is due before; one that was may have been cleared */
    struct timer_slot *heap;
    uint32_t heaped, capacity;
    uint32_t count;    /* of all that are set: never more than the capacity, so that setting again cannot fail */
    uint32_t reserved; /* places kept free besides */
    uint64_t order;
    const struct memory *memory;
};

void osri_timers_open(struct timers *timers, const struct memory *memory);
void osri_timers_close(struct timers *timers);

static inline void osri_timer_init(struct osr_timer_ *timer, void (*fire)(struct osr_timer_ *), bool late)
{
    timer->at = OSR_NEVER;
    timer->state = TIMER_IDLE;
    timer->fire = fire;
    timer->late = late;
}

void osri_timer_clear_heaped(struct timers *timers, struct osr_timer_ *timer);

/* Takes the timer out, if it is set. Its time can still be read. */
static inline void osri_timer_clear(struct timers *timers, struct osr_timer_ *timer)
{
    if (timer->state == TIMER_IDLE)
        return;
    if (unlikely(timer->state == TIMER_HEAPED)) {
        osri_timer_clear_heaped(timers, timer);
        return;
    }
    list_unlink(&timer->node);
    timer->state = TIMER_IDLE;
    timers->count--;
}

/* More room: 0 or -ENOMEM. */
int osri_timers_grow(struct timers *timers);

/* Sets the timer, or moves it: 0 or -ENOMEM, which cannot happen to one that is set. */
static inline int osri_timer_set(struct timers *timers, struct osr_timer_ *timer, int64_t at)
{
    osri_timer_clear(timers, timer);
    if (unlikely(timers->count + timers->reserved >= timers->capacity) && osri_timers_grow(timers) < 0)
        return -ENOMEM;
    timers->count++;
    timer->at = at;
    timer->state = TIMER_LISTED;
    if (at < timers->fresh_at)
        timers->fresh_at = at;
    list_append(&timers->fresh, &timer->node);
    return 0;
}

/* Keeps a place free: 0 or -ENOMEM. After osri_timers_unreserve() the next timer can be set for certain. */
int osri_timers_reserve(struct timers *timers);

static inline void osri_timers_unreserve(struct timers *timers)
{
    timers->reserved--;
}

/* When the first timer is due; OSR_NEVER if there is none. Takes the fresh ones into the heap. */
int64_t osri_timers_next(struct timers *timers);

/* Whether any is due at `now`. */
bool osri_timers_due(struct timers *timers, int64_t now);

/* Takes all that are due at `now` out, and fires them: those that are late after the others. */
void osri_timers_fire(struct timers *timers, const struct door *door, int64_t now);

#endif
