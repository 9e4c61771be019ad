/*
 * The run queue: tasks that are ready, the one that has been so for the longest first.
 *
 * A ring of pointers and not a list through the tasks, so that those who come next are known before their own lines are in
 * the cache. There is room for every task that has a stack, kept as stacks are made: to queue a task cannot fail.
 */
#ifndef OSIER_SCHED_RUN_QUEUE_H
#define OSIER_SCHED_RUN_QUEUE_H

#include "0_base/memory.h"

struct task;

enum { FEW_TASKS = 16 }; /* for which no memory is taken */

struct run_queue {
    struct task *head; /* the first one, if there is one, as in the ring: one step less on the way to it */
    struct task **ring;
    unsigned mask;        /* one less than its size, a power of two */
    unsigned first, next; /* counted on and on: who is first, and where the next one comes */
    struct task **few;    /* the ring of who needs no larger one */
};

static inline bool run_queue_is_empty(const struct run_queue *queue)
{
    return queue->first == queue->next;
}

static inline unsigned run_queue_length(const struct run_queue *queue)
{
    return queue->next - queue->first;
}

/* The one that comes after `ahead` others, of which there must be as many. */
static inline struct task *run_queue_peek(const struct run_queue *queue, unsigned ahead)
{
    return queue->ring[(queue->first + ahead) & queue->mask];
}

/* There must be room (osri_run_queue_reserve()). */
static inline void run_queue_append(struct run_queue *queue, struct task *task)
{
    if (run_queue_is_empty(queue))
        queue->head = task;
    queue->ring[queue->next++ & queue->mask] = task;
}

/* Takes the first one out; there must be one. */
static inline struct task *run_queue_pop(struct run_queue *queue)
{
    struct task *task = queue->head;

    queue->head = queue->ring[++queue->first & queue->mask];
    return task;
}

/* `few` has FEW_TASKS places. */
void osri_run_queue_open(struct run_queue *queue, struct task **few);
void osri_run_queue_close(struct run_queue *queue, const struct memory *memory);

int osri_run_queue_grow(struct run_queue *queue, const struct memory *memory);

/* Makes room for one more than there are in all: 0 or -ENOMEM, and then all is as it was. */
static inline int osri_run_queue_reserve(struct run_queue *queue, size_t tasks, const struct memory *memory)
{
    return likely(tasks <= queue->mask) ? 0 : osri_run_queue_grow(queue, memory);
}

/* Takes out the one that comes after `ahead` others; the rest stays in its order. */
struct task *osri_run_queue_take(struct run_queue *queue, unsigned ahead);

#endif
