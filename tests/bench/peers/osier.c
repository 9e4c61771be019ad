/* osier: a group for what is spawned, scopes for timeouts, everything as a program would have it. */
#include "peer.h"

#include <osier.h>
#include <stdbool.h>

static void must(int rc)
{
    peer_need(rc >= 0, osr_strerror(rc));
}

/* ---- Tasks ---- */

OSR_TASK(nothing, void, unused) { return 0; }
OSR_TASK(one_yield, void, unused) { return osr_yield(); }

OSR_TASK(many_yields, long, count)
{
    int rc = 0;
    long i;

    for (i = 0; i < *count && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

static void spawn_batch(long n)
{
    struct osr_group group;
    int rc = 0;

    osr_group_open(&group);
    while (n-- > 0 && rc == 0)
        rc = osr_spawn(&group, nothing, NULL);
    must(osr_group_close(&group, rc));
}

static void spawn_yield_batch(long n)
{
    struct osr_group group;
    int rc = 0;

    osr_group_open(&group);
    while (n-- > 0 && rc == 0)
        rc = osr_spawn(&group, one_yield, NULL);
    must(osr_group_close(&group, rc));
}

static void yield_batch(long n)
{
    long count = PEER_YIELDS / n, i;
    struct osr_group group;
    int rc = 0;

    osr_group_open(&group);
    for (i = 0; i < n && rc == 0; i++)
        rc = osr_spawn(&group, many_yields, &count);
    must(osr_group_close(&group, rc));
}

static void spawn(long n) { peer_repeat(spawn_batch, n, n); }
static void spawn_yield(long n) { peer_repeat(spawn_yield_batch, n, n); }
static void yield(long n) { peer_repeat(yield_batch, n, PEER_YIELDS); }

/* ---- Sleepers ---- */

OSR_TASK(sleeper, void, unused) { return osr_sleep(osr_s(1000)); }
OSR_TASK(nap, long, number) { return osr_sleep(peer_delay(*number)); }

static int spawn_sleepers(struct osr_group *group, long n)
{
    int rc = 0;

    while (n-- > 0 && rc == 0)
        rc = osr_spawn(group, sleeper, NULL);
    return rc == 0 ? osr_yield() : rc;
}

static void sleepers(long n)
{
    struct peer_parts parts = peer_begin();
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = spawn_sleepers(&group, n);
    peer_asleep(&parts, n);
    osr_group_cancel(&group, "enough");
    must(osr_group_close(&group, rc));
    peer_end(&parts, n);
}

static void wake(long n)
{
    int64_t start = peer_clock(), cpu = peer_cpu();
    struct osr_group group;
    int rc = 0;
    long i;

    osr_group_open(&group);
    for (i = 0; i < n && rc == 0; i++)
        rc = osr_spawn_copy(&group, nap, &i);
    must(osr_group_close(&group, rc));
    peer_woken(start, cpu);
}

/* ---- Timeouts that do not fire ---- */

static void timeout_batch(long yields)
{
    struct osr_scope limit;
    int i;

    for (i = 0; i < PEER_TIMEOUTS; i++) {
        osr_timeout_open(&limit, osr_s(1000));
        must(osr_scope_close(&limit, yields ? osr_yield() : 0));
    }
}

static void timeouts_beside(long others, bool yields)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = spawn_sleepers(&group, others);
    peer_repeat(timeout_batch, yields, PEER_TIMEOUTS);
    osr_group_cancel(&group, "enough");
    must(osr_group_close(&group, rc));
}

static void timeout(long others) { timeouts_beside(others, false); }
static void timeout_yield(long others) { timeouts_beside(others, true); }

/* ---- Nests ---- */

struct nest {
    long left;
    struct osr_event complete;
};

OSR_TASK(level, struct nest, nest)
{
    struct osr_group group;
    int rc;

    if (--nest->left == 0) {
        osr_event_set(&nest->complete);
        return osr_sleep(OSR_NEVER);
    }
    osr_group_open(&group);
    rc = osr_spawn(&group, level, nest);
    return osr_group_close(&group, rc);
}

static void nested_groups_batch(long depth)
{
    struct nest nest = {.left = depth};
    struct osr_group outer;
    int rc;

    osr_event_init(&nest.complete);
    osr_group_open(&outer);
    rc = osr_spawn(&outer, level, &nest);
    if (rc == 0)
        rc = osr_event_wait(&nest.complete);
    osr_group_cancel(&outer, "from outside");
    must(osr_group_close(&outer, rc));
}

static struct osr_scope *limits;

OSR_TASK(nested_limits, long, depth)
{
    long i;
    int rc;

    for (i = 0; i < *depth; i++)
        osr_timeout_open(&limits[i], osr_s(1000));
    rc = osr_sleep(OSR_NEVER);
    while (i-- > 0)
        rc = osr_scope_close(&limits[i], rc);
    return rc;
}

static void nested_timeouts_batch(long depth)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, nested_limits, &depth);
    if (rc == 0)
        rc = osr_yield();
    osr_group_cancel(&group, "from outside");
    must(osr_group_close(&group, rc));
}

static void nested_groups(long depth) { peer_repeat(nested_groups_batch, depth, depth); }

static void nested_timeouts(long depth)
{
    limits = malloc((size_t)depth * sizeof(*limits));
    peer_need(limits != NULL, "no memory");
    peer_repeat(nested_timeouts_batch, depth, depth);
    free(limits);
}

/* ---- Failing ---- */

OSR_TASK(fails, void, unused) { return -EIO; }

static void fail_batch(long n, bool all)
{
    struct osr_group group;
    int rc = 0;
    long i;

    osr_group_open(&group);
    for (i = 1; i < n && rc == 0; i++)
        rc = all ? osr_spawn(&group, fails, NULL) : osr_spawn(&group, sleeper, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, fails, NULL);
    peer_need(osr_group_close(&group, rc) == -OSR_EGROUP, "the group has not failed");
    osr_error_clear();
}

static void fail_one_batch(long n) { fail_batch(n, false); }
static void fail_all_batch(long n) { fail_batch(n, true); }
static void fail_one(long n) { peer_repeat(fail_one_batch, n, n); }
static void fail_all(long n) { peer_repeat(fail_all_batch, n, n); }

/* ---- Queues ---- */

OSR_TASK(produce, struct osr_queue, queue)
{
    uint64_t item;
    int rc = 0;

    for (item = 0; item < PEER_ITEMS && rc == 0; item++)
        rc = osr_queue_put(queue, &item);
    return rc;
}

OSR_TASK(consume, struct osr_queue, queue)
{
    uint64_t item, sum = 0;
    int rc = 0, i;

    for (i = 0; i < PEER_ITEMS && rc == 0; i++) {
        rc = osr_queue_get(queue, &item);
        sum += item;
    }
    peer_need(sum == (uint64_t)PEER_ITEMS * (PEER_ITEMS - 1) / 2, "items were lost");
    return rc;
}

static void queue_batch(long capacity)
{
    struct osr_queue queue;
    struct osr_group group;
    int rc = osr_queue_init(&queue, sizeof(uint64_t), (size_t)capacity);

    osr_group_open(&group);
    if (rc == 0)
        rc = osr_spawn(&group, produce, &queue);
    if (rc == 0)
        rc = osr_spawn(&group, consume, &queue);
    must(osr_group_close(&group, rc));
    osr_queue_destroy(&queue);
}

static void queue(long capacity) { peer_repeat(queue_batch, capacity, PEER_ITEMS); }

/* ---- Locks and semaphores ---- */

OSR_TASK(take_lock, struct osr_lock, lock)
{
    int rc = 0, i;

    for (i = 0; i < PEER_TURNS && rc == 0; i++) {
        rc = osr_lock_acquire(lock);
        if (rc < 0)
            return rc;
        rc = osr_yield();
        osr_lock_release(lock);
    }
    return rc;
}

OSR_TASK(take_permit, struct osr_semaphore, semaphore)
{
    int rc = 0, i;

    for (i = 0; i < PEER_TURNS && rc == 0; i++) {
        rc = osr_semaphore_acquire(semaphore);
        if (rc < 0)
            return rc;
        rc = osr_yield();
        osr_semaphore_release(semaphore);
    }
    return rc;
}

static void lock_batch(long n)
{
    struct osr_group group;
    struct osr_lock lock;
    int rc = 0;

    osr_lock_init(&lock);
    osr_group_open(&group);
    while (n-- > 0 && rc == 0)
        rc = osr_spawn(&group, take_lock, &lock);
    must(osr_group_close(&group, rc));
}

static void semaphore_batch(long n)
{
    struct osr_semaphore semaphore;
    struct osr_group group;
    int rc = 0;

    osr_semaphore_init(&semaphore, 3);
    osr_group_open(&group);
    while (n-- > 0 && rc == 0)
        rc = osr_spawn(&group, take_permit, &semaphore);
    must(osr_group_close(&group, rc));
}

static void lock(long n) { peer_repeat(lock_batch, n, n * PEER_TURNS); }
static void semaphore(long n) { peer_repeat(semaphore_batch, n, n * PEER_TURNS); }

/* ---- Threads ---- */

OSR_JOB(no_job, void, unused) { return 0; }

static void offload_batch(long n)
{
    (void)n;
    for (int i = 0; i < PEER_JOBS; i++)
        must(osr_offload(no_job, NULL));
}

static void offload(long n) { peer_repeat(offload_batch, n, PEER_JOBS); }

/* ---- Echo ---- */

OSR_TASK(serve, int, fd)
{
    char buffer[1024];
    int n, rc = 0;

    while (rc == 0 && (n = osr_read(*fd, buffer, sizeof(buffer))) > 0)
        rc = osr_write_all(*fd, buffer, (size_t)n, NULL);
    return osr_fd_close(*fd);
}

static void echo(long n)
{
    int listener = peer_listen(SOCK_NONBLOCK), fd, rc = 0;
    struct osr_group clients;

    (void)n;
    osr_group_open(&clients);
    while (rc == 0 && (fd = rc = osr_accept(listener, NULL)) >= 0)
        rc = osr_spawn_copy(&clients, serve, &fd);
    must(osr_group_close(&clients, rc));
}

/* ---- */

static const struct peer_workload workloads[] = {
    {"spawn", spawn},
    {"spawn-yield", spawn_yield},
    {"yield", yield},
    {"sleepers", sleepers},
    {"wake", wake},
    {"timeout", timeout},
    {"timeout-yield", timeout_yield},
    {"nested-groups", nested_groups},
    {"nested-timeouts", nested_timeouts},
    {"fail-one", fail_one},
    {"fail-all", fail_all},
    {"queue", queue},
    {"lock", lock},
    {"semaphore", semaphore},
    {"offload", offload},
    {"echo", echo},
    {NULL, NULL},
};

OSR_TASK(program, char *, arguments)
{
    peer_run(workloads, arguments[1], atol(arguments[2]));
    return 0;
}

int main(int count, char **arguments)
{
    peer_need(count == 3, "usage: osier WORKLOAD N");
    return osr_run(program, arguments) < 0;
}
