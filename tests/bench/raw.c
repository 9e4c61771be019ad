/* What the machine, the kernel, the C library and libev charge by themselves: the limits of all other rows. */
#include "bench.h"

#include <ev.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "1_stack/context.h"
#include "1_stack/stack.h"

#ifndef MADV_GUARD_INSTALL /* Linux 6.13 */
#define MADV_GUARD_INSTALL 102
#endif

/* ---- Contexts ---- */

enum { SWITCHES = 500000 };

static char stack[1 << 16] __attribute__((aligned(64)));
static struct context here, there;

static void return_at_once(void *arg)
{
    (void)arg;
    osri_context_switch(&there, &here);
}

static void return_always(void *arg)
{
    (void)arg;
    for (;;)
        osri_context_switch(&there, &here);
}

static int contexts(double *results)
{
    int64_t start = bench_clock();
    long i;

    osri_context_make(&there, stack, stack + sizeof(stack), return_always);
    for (i = 0; i < SWITCHES; i++)
        osri_context_switch(&here, &there);
    results[0] = bench_each(start, 2 * SWITCHES);

    start = bench_clock();
    for (i = 0; i < SWITCHES; i++) {
        osri_context_make(&there, stack, stack + sizeof(stack), return_at_once);
        osri_context_switch(&here, &there);
    }
    results[1] = bench_each(start, SWITCHES);
    return 0;
}

/* ---- The kernel, and the C library ---- */

enum { READINGS = 200000, BLOCKS = 500000, REGIONS = 2000, REGION = 1 << 16 };

static int clock_reading(double *results)
{
    int64_t start = bench_clock();
    struct timespec now;
    long i;

    for (i = 0; i < READINGS; i++)
        clock_gettime(CLOCK_MONOTONIC, &now);
    results[0] = bench_each(start, READINGS);
    return 0;
}

/* Where the kernel has no cheap guards, what the library does then. */
static int guard(char *page, size_t size)
{
    return madvise(page, size, MADV_GUARD_INSTALL) == 0 ? 0 : mprotect(page, size, PROT_NONE);
}

/* Touches one page in each of many regions, as many new stacks do; with `guarded`, each gets its guard before. */
static int touch_pages(bool guarded, double *result)
{
    size_t size = (size_t)REGIONS * REGION, page = (size_t)sysconf(_SC_PAGESIZE), i;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int64_t start;
    int rc = 0;

    if (memory == MAP_FAILED)
        return -ENOMEM;
    (void)madvise(memory, size, MADV_NOHUGEPAGE);
    start = bench_clock();
    for (i = 0; i < REGIONS && rc == 0; i++) {
        if (guarded)
            rc = guard(memory + i * REGION, page);
        *(volatile char *)(memory + (i + 1) * REGION - 1) = 1;
    }
    *result = bench_each(start, REGIONS);
    munmap(memory, size);
    return rc < 0 ? -ENOMEM : 0;
}

static int page_faults(double *results)
{
    int rc = touch_pages(false, &results[0]);

    return rc < 0 ? rc : touch_pages(true, &results[1]);
}

static int blocks(double *results)
{
    int64_t start = bench_clock();
    long i;

    for (i = 0; i < BLOCKS; i++) {
        void *volatile block = malloc(64); /* or the compiler removes both */

        free(block);
    }
    results[0] = bench_each(start, BLOCKS);
    return 0;
}

/* ---- libev ---- */

enum { ITERATIONS = 20000, TIMERS = 200000 };

static void ignore(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

static int libev(double *results)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    int64_t start;
    ev_timer timer;
    long i;

    if (!loop)
        return -EMFILE;
    start = bench_clock();
    for (i = 0; i < ITERATIONS; i++)
        ev_run(loop, EVRUN_NOWAIT);
    results[0] = bench_each(start, ITERATIONS);

    ev_init(&timer, ignore);
    start = bench_clock();
    for (i = 0; i < TIMERS; i++) {
        ev_timer_set(&timer, 1., 0.);
        ev_timer_start(loop, &timer);
        ev_timer_stop(loop, &timer);
    }
    results[1] = bench_each(start, TIMERS);
    ev_loop_destroy(loop);
    return 0;
}

const struct workload bench_raw[] = {
    {contexts,
     {{"raw: switch between two contexts", "ns/switch", "(2.5)"},
      {"raw: make a context, run it, return", "ns", "(5)"}}},
    {clock_reading, {{"raw: clock_gettime", "ns", "(28)"}}},
    {page_faults,
     {{"raw: page fault, in a fresh region each", "ns", "(1800)"},
      {"raw: page fault and guard, in a fresh region each", "ns", "(2222)"}}},
    {blocks, {{"raw: malloc + free of 64 bytes", "ns", "(9)"}}},
    {libev,
     {{"raw: libev, an iteration with an empty epoll_wait", "ns", "(217)"},
      {"raw: libev, a timer started and stopped", "ns", "(11)"}}},
    {0},
};
