/*
 * The parked wait: the one mechanism on which every wait of every floor stands.
 *
 * A wait lives in the frame of the call that waits. What can end it holds its waiter in a list, or holds its
 * timer, or both. Whoever ends it wakes it: it is taken out of everything at once, and carries the result. A
 * cancellation acts only on a wait that is still linked, so what was completed stays completed, and what was cut
 * has not happened:
 *
 *     struct wait wait;
 *
 *     rc = osri_enter(sched, where);                   (the entry check, before any side effect)
 *     if (rc < 0)
 *         return rc;
 *     wait_init(&wait, sched->current, "osr_event_wait", where);
 *     list_append(&event->waiters, &wait.waiter.node);
 *     return osri_wait(sched, &wait);                   (0 or more as woken, or -ECANCELED)
 *
 * and on the other side, osri_wake(sched, wait_of(list_first), 0), which takes the wait out of the list.
 */
#ifndef OSIER_SCHED_WAIT_H
#define OSIER_SCHED_WAIT_H

#include "2_sched/sched.h"

struct waiter {
    struct osr_list_ node; /* in the list of what is waited for */
    struct wait *wait;
    struct waiter *also; /* the next waiter of the same wait, for one that waits for several things */
};

struct wait {
    struct task *task;
    struct waiter waiter;
    struct osr_timer_ *timer; /* or NULL; taken out of the timers together with the waiters */
    /* Or NULL; runs on the waiting task, after it was cut and before its call returns; may not wait. */
    void (*on_cancel)(struct wait *wait);
    const char *call, *where;
    int result;
    bool linked;     /* still to be woken or cut */
    bool uncut;      /* cannot be cut: closing a group, taking a lock again */
    bool cut;
};

static inline void wait_init(struct wait *wait, struct task *task, const char *call, const char *where)
{
    wait->task = task;
    wait->waiter.wait = wait;
    wait->waiter.also = NULL;
    list_init(&wait->waiter.node);
    wait->timer = NULL;
    wait->on_cancel = NULL;
    wait->call = call;
    wait->where = where;
    wait->linked = true;
    wait->uncut = false;
    wait->cut = false;
}

/* The wait whose first waiter a list holds at `node`. */
static inline struct wait *wait_of(struct osr_list_ *node)
{
    return container_of(node, struct waiter, node)->wait;
}

/* Parks the calling task until the wait is woken or cut, and gives its result. A wait that was woken before it
 * was parked returns at once. */
int osri_wait(struct sched *sched, struct wait *wait);

/* Ends a linked wait: hands `result` over, takes it out of everything, and queues its task. */
void osri_wake(struct sched *sched, struct wait *wait, int result);

/* Cuts the task's wait if it is parked in one that can be cut; says whether it did. */
bool osri_cut(struct sched *sched, struct task *task);

#endif
