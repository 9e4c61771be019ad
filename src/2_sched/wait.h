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

#include <assert.h>

#include <osier/wait.h>

#include "2_sched/sched.h"

static inline void waiter_init(struct osr_waiter_ *waiter, struct osr_wait *wait, void *item, int number)
{
    list_init(&waiter->node_);
    waiter->also_ = NULL;
    waiter->wait_ = wait;
    waiter->item_ = item;
    waiter->number_ = number;
}

/* A wait at the end of the list, which may still have more lists and a timer. */
static inline void wait_begin(struct osr_wait *wait, struct task *task, struct osr_list_ *list, void *item,
                              const char *call, const char *where)
{
    wait->task_ = task;
    wait->timer_ = NULL;
    wait->result_ = 0;
    wait->linked_ = true;
    wait->uncut_ = false;
    wait->was_cut_ = false;
    list_append(list, &wait->waiter_.node_);
    wait->waiter_.also_ = NULL;
    wait->waiter_.wait_ = wait;
    wait->waiter_.item_ = item;
    wait->where_ = where;
    wait->ticket_ = 0;
    wait->call = call;
    wait->on_cancel = NULL;
}

/* The same in no list yet. */
static inline void wait_init(struct osr_wait *wait, struct task *task, const char *call, const char *where)
{
    struct osr_list_ nowhere;

    list_init(&nowhere);
    wait_begin(wait, task, &nowhere, NULL, call, where);
    list_init(&wait->waiter_.node_);
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

/* Whether somebody waits for the watch who has not been woken yet. */
static inline bool watch_is_awaited(const struct watch *watch)
{
    return watch->wait && watch->wait->linked_;
}

/* What a wait that was cut gives: runs its hook. */
int osri_was_cut(struct sched *sched, struct osr_wait *wait);

/* Parks the calling task until the wait is woken or cut, and gives its result, for a call whose result may still win
 * when its wait is cut: the cut, which is in wait->was_cut_, is not noted yet. Whoever gives -ECANCELED after all says
 * osri_refused(). A wait that was woken before it was parked returns at once. */
static inline __attribute__((always_inline)) int osri_wait_quietly(struct sched *sched, struct osr_wait *wait)
{
    struct task *task = sched->current;

    assert(task == wait->task_ && !task->wait);
    if (likely(wait->linked_)) {
        task->wait = wait;
        task->budget = BUDGET;
        osri_observe(sched, OSR_TRACE_WAIT, task, wait->call, wait->where_, 0);
        osri_leave(sched);
    }
    return wait->result_;
}

/* The same for all others: a failure is noted, and for a cut the hook runs. */
static inline __attribute__((always_inline)) int osri_wait(struct sched *sched, struct osr_wait *wait)
{
    int result = osri_wait_quietly(sched, wait);

    if (unlikely(result < 0))
        return wait->was_cut_ ? osri_was_cut(sched, wait) : osri_task_failed(wait->task_, result, wait->where_);
    return result;
}

/* The usual way to park, after the entry check: in one list, and nothing is left to do after it. */
int osri_park(struct sched *sched, struct osr_waiters *waiters, void *item, const char *call, const char *where);

void osri_unlink_more(struct sched *sched, struct osr_wait *wait);

/* Ends a linked wait: hands `result` over, takes it out of everything, and queues its task. */
static inline void osri_wake(struct sched *sched, struct osr_wait *wait, int result)
{
    struct task *task = wait->task_;
    struct osr_list_ *node = &wait->waiter_.node_;

    assert(wait->linked_);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    if (unlikely(wait->waiter_.also_ || wait->timer_))
        osri_unlink_more(sched, wait);
    wait->linked_ = false;
    wait->result_ = result;
    if (unlikely(!task || task->wait != wait)) {
        if (!task)
            wait->on_cancel(wait);
        return; /* else it is not parked yet */
    }
    task->wait = NULL;
    osri_observe(sched, OSR_TRACE_WAKE, task, wait->call, wait->where_, result);
    osri_ready(sched, task);
}

/* Cuts the task's wait if it is parked in one that can be cut; says whether it did. */
bool osri_cut(struct sched *sched, struct task *task);

/* The first in a list, NULL if it is empty. */
static inline struct osr_waiter_ *osri_first(const struct osr_waiters *waiters)
{
    struct osr_list_ *node = waiters->list_.next;

    return node == &waiters->list_ ? NULL : waiter_of(node);
}

/* Whether it waits in this run. */
static inline bool osri_is_here(const struct sched *sched, const struct osr_waiter_ *waiter)
{
    return likely(((const struct task *)waiter->wait_->task_)->sched == sched);
}

/* Whether the caller may wake those who wait there: 0, or -EPERM outside their run. */
static inline int osri_may_wake(const struct sched *sched, const struct osr_waiters *waiters)
{
    const struct osr_waiter_ *first = osri_first(waiters);

    if (unlikely(!osri_is_inside(sched)))
        return -EPERM;
    return !first || osri_is_here(sched, first) ? 0 : -EPERM;
}

#endif
