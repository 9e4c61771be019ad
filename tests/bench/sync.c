/* Tasks that wait for each other: queues, locks, semaphores, events. */
#include "bench.h"

enum { ITEMS = 400000, WAITERS = 1000, EVENTS = 200, TURNS = 2000000 };

struct stream {
    struct osr_queue queue;
    uint64_t sum;
};

OSR_TASK(produce, struct stream, stream)
{
    uint64_t item;
    int rc = 0;

    for (item = 0; item < ITEMS && rc == 0; item++)
        rc = osr_queue_put(&stream->queue, &item);
    return rc;
}

OSR_TASK(consume, struct stream, stream)
{
    uint64_t item;
    int rc = 0, i;

    for (i = 0; i < ITEMS && rc == 0; i++) {
        rc = osr_queue_get(&stream->queue, &item);
        stream->sum += item;
    }
    return rc;
}

static int pass_items(size_t capacity, double *result)
{
    struct stream stream = {.sum = 0};
    struct osr_group group;
    int64_t start;
    int rc = osr_queue_init(&stream.queue, sizeof(uint64_t), capacity);

    if (rc < 0)
        return rc;
    osr_group_open(&group);
    start = bench_clock();
    rc = osr_spawn(&group, produce, &stream);
    if (rc == 0)
        rc = osr_spawn(&group, consume, &stream);
    rc = osr_group_close(&group, rc);
    *result = bench_each(start, ITEMS);
    osr_queue_destroy(&stream.queue);
    return rc == 0 && stream.sum != (uint64_t)ITEMS * (ITEMS - 1) / 2 ? -EIO : rc;
}

BENCH_TASK(buffered, results)
{
    return pass_items(64, &results[0]);
}

BENCH_TASK(handed_over, results)
{
    return pass_items(0, &results[0]);
}

BENCH_TASK(lock, results)
{
    struct osr_lock lock;
    int64_t start = bench_clock();
    int rc = 0, i;

    osr_lock_init(&lock);
    for (i = 0; i < TURNS && rc == 0; i++) {
        rc = osr_lock_acquire(&lock);
        if (rc == 0)
            rc = osr_lock_release(&lock);
    }
    results[0] = bench_each(start, TURNS);
    return rc;
}

BENCH_TASK(semaphore, results)
{
    struct osr_semaphore semaphore;
    int64_t start = bench_clock();
    int rc = 0, i;

    osr_semaphore_init(&semaphore, 1);
    for (i = 0; i < TURNS && rc == 0; i++) {
        rc = osr_semaphore_acquire(&semaphore);
        if (rc == 0)
            rc = osr_semaphore_release(&semaphore);
    }
    results[0] = bench_each(start, TURNS);
    return rc;
}

struct contended {
    struct osr_lock lock;
    int turns;
};

OSR_TASK(contend, struct contended, contended)
{
    int rc = 0, i;

    for (i = 0; i < contended->turns && rc == 0; i++) {
        rc = osr_lock_acquire(&contended->lock);
        if (rc < 0)
            return rc;
        rc = osr_yield(); /* so that the others come and wait */
        osr_lock_release(&contended->lock);
    }
    return rc;
}

BENCH_TASK(contended_lock, results)
{
    struct contended contended = {.turns = 20000};
    struct osr_group group;
    int64_t start;
    int rc = 0, i;

    osr_lock_init(&contended.lock);
    osr_group_open(&group);
    start = bench_clock();
    for (i = 0; i < 10 && rc == 0; i++)
        rc = osr_spawn(&group, contend, &contended);
    rc = osr_group_close(&group, rc);
    results[0] = bench_each(start, 10L * contended.turns);
    return rc;
}

OSR_TASK(await, struct osr_event, event)
{
    int rc = 0, i;

    for (i = 0; i < EVENTS && rc == 0; i++)
        rc = osr_event_wait(&event[i]);
    return rc;
}

/* Wakes a thousand waiters again and again: what waiting, waking and switching cost for each of them. */
BENCH_TASK(events, results)
{
    struct osr_event events[EVENTS];
    struct osr_group group;
    int64_t start = 0, setting = 0, before;
    int rc = 0, i;

    for (i = 0; i < EVENTS; i++)
        osr_event_init(&events[i]);
    osr_group_open(&group);
    for (i = 0; i < WAITERS && rc == 0; i++)
        rc = osr_spawn(&group, await, events);
    for (i = 0; i < EVENTS && rc == 0; i++) {
        rc = osr_yield(); /* until all of them wait for the next one */
        if (i == 1)
            start = bench_clock();
        before = bench_clock();
        osr_event_set(&events[i]);
        setting += i > 0 ? bench_clock() - before : 0;
    }
    rc = osr_group_close(&group, rc);
    results[0] = (double)setting / (double)((long)(EVENTS - 1) * WAITERS);
    results[1] = bench_each(start, (long)(EVENTS - 1) * WAITERS);
    return rc;
}

const struct workload bench_sync[] = {
    {buffered, {{"a queue of 64, from task to task", "ns/item", "8"}}},
    {handed_over, {{"a queue that hands over, from task to task", "ns/item", "15"}}},
    {lock, {{"a lock taken and released", "ns", "5"}}},
    {semaphore, {{"a semaphore taken and released", "ns", "5"}}},
    {contended_lock, {{"a lock that ten tasks hold over a yield", "ns/turn", NULL}}},
    {events,
     {{"an event with 1,000 waiters: set", "ns/waiter", "15"}, {"  wait, set, and run", "ns/waiter", NULL}}},
    {0},
};
