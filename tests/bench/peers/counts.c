/*
 * Instructions of the common paths, for `make bench-check`: under callgrind each path is repeated, after a warm-up,
 * and what was counted meanwhile is dumped under its name and the number of repetitions. Alone it does nothing useful.
 */
#include "peer.h"

#include <ev.h>
#include <gnu/libc-version.h>
#include <osier.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <valgrind/callgrind.h>

enum { REPEATS = 2000, TASKS = 100, SHALLOW = 250, DEEP = 4000 };

static void must(int rc)
{
    peer_need(rc >= 0, osr_strerror(rc));
}

/* `path` does something `times` times, in tasks of its own where it needs some. */
static void count(const char *name, void (*path)(long times), long times)
{
    char text[64];

    path(times); /* stacks, tables and the processor's own memory of the addresses of functions are warm then */
    CALLGRIND_ZERO_STATS;
    path(times);
    snprintf(text, sizeof(text), "%s %ld", name, times);
    CALLGRIND_DUMP_STATS_AT(text);
}

/* ---- Tasks and groups ---- */

OSR_TASK(nothing, void, unused) { return 0; }
OSR_TASK(sleeper, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_TASK(fails, void, unused) { return -EIO; }

OSR_TASK(yields, long, times)
{
    int rc = 0;
    long i;

    for (i = 0; i < *times && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

static void spawn_join(long times)
{
    struct osr_group group;
    int rc = 0;

    osr_group_open(&group);
    while (times-- > 0 && rc == 0)
        rc = osr_spawn(&group, nothing, NULL);
    must(osr_group_close(&group, rc));
}

static void spawn_eagerly(long times)
{
    struct osr_group group;
    int rc = 0;

    osr_group_open(&group);
    while (times-- > 0 && rc == 0)
        rc = osr_spawn(&group, nothing, NULL, .eager = true);
    must(osr_group_close(&group, rc));
}

static void empty_groups(long times)
{
    struct osr_group group;

    while (times-- > 0) {
        osr_group_open(&group);
        must(osr_group_close(&group, 0));
    }
}

static void yield(long times)
{
    long half = times / 2;
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, yields, &half);
    if (rc == 0)
        rc = osr_spawn(&group, yields, &half);
    must(osr_group_close(&group, rc));
}

static void yield_alone(long times)
{
    while (times-- > 0)
        must(osr_yield());
}

static void cancel_join(long times)
{
    struct osr_group group;
    long i;
    int rc = 0;

    for (; times > 0; times -= TASKS) {
        osr_group_open(&group);
        for (i = 0; i < TASKS && rc == 0; i++)
            rc = osr_spawn(&group, sleeper, NULL);
        if (rc == 0)
            rc = osr_yield();
        osr_group_cancel(&group, "enough");
        must(osr_group_close(&group, rc));
    }
}

static void fail_all(long times)
{
    struct osr_group group;
    long i;
    int rc = 0;

    for (; times > 0; times -= TASKS) {
        osr_group_open(&group);
        for (i = 0; i < TASKS && rc == 0; i++)
            rc = osr_spawn(&group, fails, NULL);
        peer_need(osr_group_close(&group, rc) == -OSR_EGROUP, "the group has not failed");
        osr_error_clear();
    }
}

/* ---- Scopes ---- */

static void scope(long times)
{
    struct osr_scope inner;

    while (times-- > 0) {
        osr_scope_open(&inner);
        must(osr_scope_close(&inner, 0));
    }
}

static void timeout(long times)
{
    struct osr_scope limit;

    while (times-- > 0) {
        osr_timeout_open(&limit, osr_s(1000));
        must(osr_scope_close(&limit, 0));
    }
}

static void timeout_yield(long times)
{
    struct osr_scope limit;

    while (times-- > 0) {
        osr_timeout_open(&limit, osr_s(1000));
        must(osr_scope_close(&limit, osr_yield()));
    }
}

static void cancelled_scope(long times)
{
    struct osr_scope inner;

    while (times-- > 0) {
        osr_move_on_open(&inner, OSR_NEVER);
        osr_scope_cancel(&inner, "enough");
        must(osr_scope_close(&inner, osr_yield()));
    }
}

/* ---- Nests, cancelled from outside: `times` deep, to see that a level costs the same at any depth ---- */

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

static void nested_groups(long times)
{
    struct nest nest = {.left = times};
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

static struct osr_scope limits[DEEP];

OSR_TASK(nested_limits, long, times)
{
    long i;
    int rc;

    for (i = 0; i < *times; i++)
        osr_timeout_open(&limits[i], osr_s(1000));
    rc = osr_sleep(OSR_NEVER);
    while (i-- > 0)
        rc = osr_scope_close(&limits[i], rc);
    return rc;
}

static void nested_timeouts(long times)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, nested_limits, &times);
    if (rc == 0)
        rc = osr_yield();
    osr_group_cancel(&group, "from outside");
    must(osr_group_close(&group, rc));
}

/* ---- Waiting and waking ---- */

struct turns {
    struct osr_event mine, yours;
    long times;
};

OSR_TASK(answer, struct turns, turns)
{
    long i;
    int rc = 0;

    for (i = 0; i < turns->times && rc == 0; i++) {
        rc = osr_event_wait(&turns->yours);
        osr_event_clear(&turns->yours);
        osr_event_set(&turns->mine);
    }
    return rc;
}

/* A wait that parks, and the set that wakes it: two of each for a turn there and back. */
static void wait_wake(long times)
{
    struct turns turns = {.times = times / 2};
    struct osr_group group;
    long i;
    int rc;

    osr_event_init(&turns.mine);
    osr_event_init(&turns.yours);
    osr_group_open(&group);
    rc = osr_spawn(&group, answer, &turns);
    for (i = 0; i < turns.times && rc == 0; i++) {
        osr_event_set(&turns.yours);
        rc = osr_event_wait(&turns.mine);
        osr_event_clear(&turns.mine);
    }
    must(osr_group_close(&group, rc));
}

static void lock(long times)
{
    struct osr_lock lock;

    osr_lock_init(&lock);
    while (times-- > 0) {
        must(osr_lock_acquire(&lock));
        must(osr_lock_release(&lock));
    }
}

static void semaphore(long times)
{
    struct osr_semaphore semaphore;

    osr_semaphore_init(&semaphore, 1);
    while (times-- > 0) {
        must(osr_semaphore_acquire(&semaphore));
        must(osr_semaphore_release(&semaphore));
    }
}

struct stream {
    struct osr_queue queue;
    long times;
};

OSR_TASK(produce, struct stream, stream)
{
    uint64_t item;
    int rc = 0;

    for (item = 0; item < (uint64_t)stream->times && rc == 0; item++)
        rc = osr_queue_put(&stream->queue, &item);
    return rc;
}

OSR_TASK(consume, struct stream, stream)
{
    uint64_t item;
    int rc = 0;
    long i;

    for (i = 0; i < stream->times && rc == 0; i++)
        rc = osr_queue_get(&stream->queue, &item);
    return rc;
}

static void pass_items(long times, size_t capacity)
{
    struct stream stream = {.times = times};
    struct osr_group group;
    int rc = osr_queue_init(&stream.queue, sizeof(uint64_t), capacity);

    osr_group_open(&group);
    if (rc == 0)
        rc = osr_spawn(&group, produce, &stream);
    if (rc == 0)
        rc = osr_spawn(&group, consume, &stream);
    must(osr_group_close(&group, rc));
    osr_queue_destroy(&stream.queue);
}

static void queue_64(long times) { pass_items(times, 64); }
static void queue_0(long times) { pass_items(times, 0); }

/* ---- Descriptors ---- */

static int ends[2];

/* What is there already is read without a wait. */
static void write_read(long times)
{
    char bytes[64] = {0};

    while (times-- > 0) {
        must(osr_write(ends[0], bytes, sizeof(bytes)));
        must(osr_read(ends[1], bytes, sizeof(bytes)));
    }
}

OSR_TASK(echo, long, times)
{
    char bytes[65];
    int rc = 0;
    long i;

    for (i = 0; i < *times && rc >= 0; i++) {
        rc = osr_read(ends[1], bytes, sizeof(bytes));
        if (rc > 0)
            rc = osr_write(ends[1], bytes, (size_t)rc);
    }
    return rc < 0 ? rc : 0;
}

/* A request and its answer between two tasks: four system calls, two waits, and the loop's looks. */
static void round_trip(long times)
{
    struct osr_group group;
    char bytes[65] = {0};
    int rc;
    long i;

    osr_group_open(&group);
    rc = osr_spawn(&group, echo, &times);
    for (i = 0; i < times && rc >= 0; i++) {
        rc = osr_write(ends[0], bytes, 64);
        if (rc > 0)
            rc = osr_read(ends[0], bytes, sizeof(bytes));
    }
    must(osr_group_close(&group, rc));
}

/* ---- */

OSR_TASK(program, void, unused)
{
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    count("spawn+join", spawn_join, REPEATS);
    count("spawn+join,eager", spawn_eagerly, REPEATS);
    count("group-open+close", empty_groups, REPEATS);
    count("yield", yield, REPEATS);
    count("yield,alone", yield_alone, REPEATS);
    count("spawn+cancel+join", cancel_join, REPEATS);
    count("spawn+fail+join", fail_all, REPEATS);
    count("scope-open+close", scope, REPEATS);
    count("timeout", timeout, REPEATS);
    count("timeout+yield", timeout_yield, REPEATS);
    count("scope-cancel+refused+close", cancelled_scope, REPEATS);
    count("nested-group,of-250", nested_groups, SHALLOW);
    count("nested-group,of-4,000", nested_groups, DEEP);
    count("nested-timeout,of-250", nested_timeouts, SHALLOW);
    count("nested-timeout,of-4,000", nested_timeouts, DEEP);
    count("wait+wake", wait_wake, REPEATS);
    count("lock+release", lock, REPEATS);
    count("semaphore+release", semaphore, REPEATS);
    count("queue-64", queue_64, REPEATS);
    count("queue-0", queue_0, REPEATS);
    count("write+read", write_read, REPEATS);
    count("round-trip", round_trip, REPEATS);
    return 0;
}

/* What the counts depend on beside osier. */
int main(int argc, char **arguments)
{
    if (argc > 1 && strcmp(arguments[1], "--built-with") == 0)
        return printf("%s %s, glibc %s, libev %d.%d\n",
#if defined(__clang__)
                      "clang", __clang_version__,
#else
                      "gcc", __VERSION__,
#endif
                      gnu_get_libc_version(), ev_version_major(), ev_version_minor()) < 0;
    return osr_run(program, NULL) < 0;
}
