/*
 * The parked wait: the one mechanism on which every wait of every floor stands.
 *
 * A wait lives in the frame of the call that waits. What can end it holds its waiter in a list, or holds its
 * timer, or both. Whoever ends it wakes it: it is taken out of everything at once, and carries the result. A
 * cancellation acts only on a wait that is still linked, so what was completed stays completed, and what was cut
 * has not happened:
 *
 *     struct osr_wait wait;
 *
 *     rc = osri_enter(sched, where);                   (the entry check, before any side effect)
 *     if (rc < 0)
 *         return rc;
 *     wait_init(&wait, sched->current, "osr_event_wait", where);
 *     list_append(&event->waiters, &wait.waiter_.node_);
 *     return osri_wait(sched, &wait);                   (0 or more as woken, or -ECANCELED)
 *
 * and on the other side, osri_wake(sched, wait_of(list_first), 0), which takes the wait out of the list.
 */
#ifndef OSIER_SCHED_WAIT_H
#define OSIER_SCHED_WAIT_H

#include <osier/wait.h>

#include "2_sched/sched.h"

static inline void waiter_init(struct osr_waiter_ *waiter, struct osr_wait *wait, void *item, int number)
{
    list_init(&waiter->node_);
    waiter->wait_ = wait;
    waiter->also_ = NULL;
    waiter->item_ = item;
    waiter->number_ = number;
}

static inline void wait_init(struct osr_wait *wait, struct task *task, const char *call, const char *where)
{
    wait->call = call;
    wait->on_cancel = NULL;
    wait->task_ = task;
    waiter_init(&wait->waiter_, wait, NULL, 0);
    wait->timer_ = NULL;
    wait->where_ = where;
    wait->ticket_ = 0;
    wait->linked_ = true;
    wait->uncut_ = false;
    wait->was_cut_ = false;
}

/* A wait without a task, in lists of the library's own: it is not parked, and calls woken(wait) when it is woken. */
static inline void wait_init_call(struct osr_wait *wait, void (*woken)(struct osr_wait *wait))
{
    wait_init(wait, NULL, NULL, NULL);
    wait->on_cancel = woken;
}

/* Takes a linked wait without a task out of its list, unwoken. */
static inline void wait_drop(struct osr_wait *wait)
{
    list_remove(&wait->waiter_.node_);
    wait->linked_ = false;
}

/* The waiter that a list holds at `node`, and its wait. */
static inline struct osr_waiter_ *waiter_of(struct osr_list_ *node)
{
    return container_of(node, struct osr_waiter_, node_);
}

static inline struct osr_wait *wait_of(struct osr_list_ *node)
{
    return waiter_of(node)->wait_;
}

/* Parks the calling task until the wait is woken or cut, and gives its result. A wait that was woken before it
 * was parked returns at once. */
int osri_wait(struct sched *sched, struct osr_wait *wait);

/* The same for a call whose result may still win when its wait is cut: the cut, which is in wait->was_cut_, is not noted
 * yet. Whoever gives -ECANCELED after all says osri_refused(). */
int osri_wait_quietly(struct sched *sched, struct osr_wait *wait);

/* The usual way to park: in one list, after the entry check. */
static inline int osri_park(struct sched *sched, struct osr_waiters *waiters, struct osr_wait *wait, const char *call,
                            const char *where)
{
    wait_init(wait, sched->current, call, where);
    list_append(&waiters->list_, &wait->waiter_.node_);
    return osri_wait(sched, wait);
}

/* Ends a linked wait: hands `result` over, takes it out of everything, and queues its task. */
void osri_wake(struct sched *sched, struct osr_wait *wait, int result);

/* Cuts the task's wait if it is parked in one that can be cut; says whether it did. */
bool osri_cut(struct sched *sched, struct task *task);

/* The first in a list, NULL if it is empty. */
static inline struct osr_waiter_ *osri_first(const struct osr_waiters *waiters)
{
    struct osr_list_ *node = waiters->list_.next;

    return node == &waiters->list_ ? NULL : waiter_of(node);
}

/* Whether the caller may wake those who wait there: 0, or -EPERM outside their run. */
static inline int osri_may_wake(const struct sched *sched, const struct osr_waiters *waiters)
{
    const struct osr_waiter_ *first = osri_first(waiters);

    if (unlikely(!sched))
        return -EPERM;
    return likely(!first || ((const struct task *)first->wait_->task_)->sched == sched) ? 0 : -EPERM;
}

#endif
