/*
 * Queues: items pass from task to task, by value (asyncio.Queue, LifoQueue, PriorityQueue; Go's channels).
 *
 *     struct osr_queue jobs;
 *     struct job job;
 *
 *     osr_queue_init(&jobs, sizeof(struct job), 64);
 *     rc = osr_queue_put(&jobs, &job);            // waits while there are 64
 *     rc = osr_queue_get(&jobs, &job);            // waits while there are none
 *
 * An item is in exactly one place at any time: a get that was cancelled leaves it in the queue, a put that was
 * cancelled leaves it with its caller, and what was handed over has arrived.
 */
#ifndef OSIER_QUEUE_H
#define OSIER_QUEUE_H

#include <osier/run.h>
#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A capacity without bound: only memory limits it. */
#define OSR_UNBOUNDED SIZE_MAX

/* In which order items come out. */
enum osr_queue_order {
    OSR_QUEUE_FIFO,    /* in the order in which they were put in */
    OSR_QUEUE_LIFO,    /* the last first */
    OSR_QUEUE_PRIORITY /* the smallest first, and equal ones in the order in which they were put in */
};

/* In memory of the caller's; the fields are private. It serves the tasks and callbacks of one run. */
struct osr_queue {
    size_t item_size_, capacity_;
    size_t room_, head_, count_; /* of the buffer */
    char *items_;
    uint64_t *turns_, turn_; /* of the items of a priority queue: in which order they came */
    struct osr_waiters getters_, putters_, joiners_;
    uint64_t unfinished_;
    int (*compare_)(const void *a, const void *b);
    void (*dispose_)(void *item);
    struct osr_allocator allocator_;
    unsigned char order_, shut_, owned_, dropping_;
    uint64_t reserved_[2];
};

struct osr_queue_options {
    size_t size;                                   /* of this struct; the macro sets it */
    enum osr_queue_order order;                    /* FIFO if left out */
    int (*compare)(const void *a, const void *b);  /* of two items, as for qsort(); for a priority queue, and no other */
    void (*dispose)(void *item);                   /* called for items that nobody will get; may not wait */
    void *buffer; /* memory for `capacity` items of the caller's, instead of allocated; not for priority or unbounded */
};

/*
 * Makes a queue of items of `item_size` bytes with room for `capacity` of them: 0 hands each item over from a put to a
 * get that wait for each other, OSR_UNBOUNDED lets no put wait. osr_queue_init(&queue, sizeof(item), 64, .order =
 * OSR_QUEUE_LIFO). Memory for a bounded one is taken now, from the run's allocator (outside a run with malloc()): with
 * `.buffer`, and for a capacity of 0, none is. May be called from anywhere.
 *
 * 0; -EINVAL for items of no size, a priority queue without `.compare` or another with one, or a buffer where there can be
 * none; -EOVERFLOW if the capacity in bytes has no number; -ENOMEM. A queue that could not be made answers every call with
 * -EINVAL.
 */
#define osr_queue_init(...) OSR_QUEUE_INIT_(__VA_ARGS__, .size = sizeof(struct osr_queue_options))
#define OSR_QUEUE_INIT_(queue, item_size, capacity, ...) \
    osr_queue_init_with((queue), (item_size), (capacity), &(const struct osr_queue_options){__VA_ARGS__})
OSR_API int osr_queue_init_with(struct osr_queue *queue, size_t item_size, size_t capacity,
                                const struct osr_queue_options *options);

/* Frees the memory, and disposes of the items that are still there. Nobody may wait for it, nor may it be disposing of
 * items: then -EBUSY, and nothing changes. May be called from anywhere. 0; -EBUSY; -EINVAL. */
OSR_API int osr_queue_destroy(struct osr_queue *queue);

/* ---- Putting and getting ------------------------------------------------------------------------------- */

/*
 * Puts a copy of `*item` in, waiting while there is no room. A cancellation point; cancelled, the item was not put in.
 * Those who wait are served in the order in which they came. 0; -ECANCELED; -ESHUTDOWN if the queue is shut down, also
 * meanwhile; -ENOMEM for an unbounded one; -EINVAL; -EPERM.
 */
#define osr_queue_put(queue, item) osr_queue_put_here((queue), (item), OSR_HERE)
OSR_API int osr_queue_put_here(struct osr_queue *queue, const void *item, const char *where);

/*
 * Takes an item out, into `*item`, waiting while there is none. A cancellation point; cancelled, none was taken. In the
 * order in which they came. 0; -ECANCELED; -ESHUTDOWN if it is shut down and empty; -EINVAL; -EPERM.
 */
#define osr_queue_get(queue, item) osr_queue_get_here((queue), (item), OSR_HERE)
OSR_API int osr_queue_get_here(struct osr_queue *queue, void *item, const char *where);

/* The same if it can be done at once; no cancellation points, never wait. By tasks and callbacks of the run. 0; -EAGAIN;
 * -ESHUTDOWN, -ENOMEM, -EINVAL, -EPERM as above. */
OSR_API int osr_queue_try_put(struct osr_queue *queue, const void *item);
OSR_API int osr_queue_try_get(struct osr_queue *queue, void *item);

/* How many items are in the buffer; how many fit. */
static inline size_t osr_queue_count(const struct osr_queue *queue)
{
    return queue ? queue->count_ : 0;
}
static inline size_t osr_queue_capacity(const struct osr_queue *queue)
{
    return queue ? queue->capacity_ : 0;
}

/* ---- Work that is finished ----------------------------------------------------------------------------- */

/* To be said once for each item that was got, when what it asked for is done. Never waits. By tasks and callbacks of the
 * run. 0; -EINVAL if it is said more often than items were got; -EPERM. */
OSR_API int osr_queue_task_done(struct osr_queue *queue);

/* Waits until osr_queue_task_done() has been said for every item that was put in. A cancellation point. 0; -ECANCELED;
 * -EINVAL; -EPERM. */
#define osr_queue_join(queue) osr_queue_join_here((queue), OSR_HERE)
OSR_API int osr_queue_join_here(struct osr_queue *queue, const char *where);

/* ---- Shutting down ------------------------------------------------------------------------------------- */

/*
 * No more items: puts give -ESHUTDOWN, those that wait too. Gets go on until the queue is empty, then give -ESHUTDOWN.
 * With `at_once`, what is in the queue is disposed of now, and counts as done. Never waits. By tasks and callbacks of
 * the run. 0; -EALREADY if it was shut down so before (a draining one can still be shut down at once); -EINVAL; -EPERM.
 */
OSR_API int osr_queue_shutdown(struct osr_queue *queue, bool at_once);

/* ---- Select -------------------------------------------------------------------------------------------- */

/* One of several things to do, made by OSR_PUT() or OSR_GET(), in C++ too. */
struct osr_case {
    struct osr_queue *queue;
    void *item;
    bool put;
    int rc; /* out, for the case that was done: 0 or -ESHUTDOWN */
    struct osr_waiter_ waiter_;
};

#ifndef __cplusplus
#define OSR_PUT(queue_, item_) {.queue = (queue_), .item = (item_), .put = true}
#define OSR_GET(queue_, item_) {.queue = (queue_), .item = (item_)}
#else
#define OSR_PUT(queue_, item_) osr_case_((queue_), (item_), true)
#define OSR_GET(queue_, item_) osr_case_((queue_), (item_), false)
static inline struct osr_case osr_case_(struct osr_queue *queue, void *item, bool put)
{
    struct osr_case made = osr_case();

    made.queue = queue, made.item = item, made.put = put;
    return made;
}
#endif

/*
 * Does the first of several puts and gets that can be done, and none of the others (Go's select):
 *
 *     struct osr_case cases[] = {OSR_GET(&jobs, &job), OSR_GET(&orders, &order)};
 *
 *     switch (osr_select(cases, 2, OSR_NEVER)) {
 *     case 0: …
 *
 * If several can be done at once, it is the first in the array. Waits, at most until the moment `until` (OSR_NEVER:
 * without a limit). A cancellation point; cancelled, none was done.
 *
 * The index of the case that was done, whose `rc` says how: 0, or -ESHUTDOWN if its queue is shut down; -ETIMEDOUT if
 * the moment came first; -ECANCELED; -EINVAL for no cases or bad ones; -ENOMEM; -EPERM.
 */
#define osr_select(cases, count, until) osr_select_here((cases), (count), (until), OSR_HERE)
OSR_API int osr_select_here(struct osr_case *cases, size_t count, int64_t until, const char *where);

/* The same if one can be done at once; no cancellation point, never waits. By tasks and callbacks of the run. The index;
 * -EAGAIN; -EINVAL; -ENOMEM; -EPERM. */
OSR_API int osr_try_select(struct osr_case *cases, size_t count);

#ifdef __cplusplus
}
#endif

#endif
