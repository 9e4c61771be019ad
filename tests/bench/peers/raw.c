/*
 * The raw limit: what is left of a workload if there is no library, only what no library can do without. It cancels,
 * joins and reports nothing.
 *
 *     spawn, fail-one, fail-all, nested-groups    a context made, run, left (osier's own inlined switch)
 *     spawn-yield                                 the same, and a switch there and back
 *     yield, queue, lock, semaphore               one switch between two contexts
 *     sleepers                                    a page of a fresh region touched, and a guard below it
 *     timeout, timeout-yield, nested-timeouts     the clock read (and a switch there and back)
 *     wake                                        CPU time and lateness of epoll_wait with one sorted list of moments
 *     offload                                     an eventfd there and back between two threads
 *     echo                                        an epoll loop, level-triggered, one read and one write each
 */
#include "peer.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "1_stack/context.h"

#ifndef MADV_GUARD_INSTALL /* Linux 6.13 */
#define MADV_GUARD_INSTALL 102
#endif

/* ---- Contexts ---- */

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

static void make_batch(long n)
{
    while (n-- > 0) {
        osri_context_make(&there, stack, stack + sizeof(stack), return_at_once);
        osri_context_switch(&here, &there);
    }
}

static void make_and_yield_batch(long n)
{
    while (n-- > 0) {
        osri_context_make(&there, stack, stack + sizeof(stack), return_always);
        osri_context_switch(&here, &there);
        osri_context_switch(&here, &there);
    }
}

static void switch_batch(long n)
{
    osri_context_make(&there, stack, stack + sizeof(stack), return_always);
    for (n = 0; n < PEER_YIELDS / 2; n++)
        osri_context_switch(&here, &there);
}

static void make(long n) { peer_repeat(make_batch, n, n); }
static void make_and_yield(long n) { peer_repeat(make_and_yield_batch, n, n); }
static void switches(long n) { peer_repeat(switch_batch, n, PEER_YIELDS); }

/* ---- Pages ---- */

enum { REGION = 1 << 16 };

static int guard(char *page, size_t size)
{
    return madvise(page, size, MADV_GUARD_INSTALL) == 0 ? 0 : mprotect(page, size, PROT_NONE);
}

static void pages(long n)
{
    size_t size = (size_t)n * REGION, page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct peer_parts parts = peer_begin();
    long i;

    peer_need(memory != MAP_FAILED, "no memory");
    (void)madvise(memory, size, MADV_NOHUGEPAGE);
    for (i = 0; i < n; i++) {
        peer_need(guard(memory + i * REGION, page) == 0, "no guard: vm.max_map_count is reached");
        *(volatile char *)(memory + (i + 1) * REGION - 1) = 1;
    }
    peer_asleep(&parts, n);
    peer_say("ns", (double)(parts.middle - parts.start) / (double)n);
}

/* ---- Clock ---- */

static volatile int64_t seen;

static void clock_batch(long n)
{
    for (n = 0; n < PEER_TIMEOUTS; n++)
        seen = peer_clock();
}

static void clock_yield_batch(long n)
{
    osri_context_make(&there, stack, stack + sizeof(stack), return_always);
    for (n = 0; n < PEER_TIMEOUTS; n++) {
        seen = peer_clock();
        osri_context_switch(&here, &there);
    }
}

static void clock_reading(long n) { peer_repeat(clock_batch, n, PEER_TIMEOUTS); }
static void clock_yield(long n) { peer_repeat(clock_yield_batch, n, PEER_TIMEOUTS); }

/* ---- Moments ---- */

static int earlier(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;

    return (first > second) - (first < second);
}

static void wake(long n)
{
    int64_t start = peer_clock(), cpu = peer_cpu(), *moments = malloc((size_t)n * sizeof(*moments));
    int epoll = epoll_create1(0);
    struct epoll_event event;
    long i;

    peer_need(moments && epoll >= 0, "no memory");
    for (i = 0; i < n; i++)
        moments[i] = start + peer_delay(i);
    qsort(moments, (size_t)n, sizeof(*moments), earlier);
    for (i = 0; i < n;) {
        int64_t left = moments[i] - peer_clock();

        if (left <= 0)
            i++;
        else
            (void)epoll_wait(epoll, &event, 1, (int)((left + 999999) / 1000000));
    }
    free(moments);
    peer_woken(start, cpu);
}

/* ---- Threads ---- */

struct ends {
    int there, back;
};

static struct ends ends;

static bool wait_for(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof(count)) == sizeof(count);
}

static bool ring(int fd)
{
    static const uint64_t one = 1;

    return write(fd, &one, sizeof(one)) == sizeof(one);
}

static void *answer(void *unused)
{
    while (wait_for(ends.there) && ring(ends.back))
        ;
    return unused;
}

static void round_trip_batch(long n)
{
    for (n = 0; n < PEER_JOBS; n++)
        peer_need(ring(ends.there) && wait_for(ends.back), "no round trip");
}

static void round_trips(long n)
{
    pthread_t thread;

    ends = (struct ends){eventfd(0, 0), eventfd(0, 0)};
    peer_need(pthread_create(&thread, NULL, answer, NULL) == 0, "no thread");
    peer_repeat(round_trip_batch, n, PEER_JOBS); /* the thread ends with the program */
}

/* ---- Echo ---- */

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    peer_need(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "no watch");
}

static void serve(int fd)
{
    char buffer[1024];
    ssize_t size = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    if (size <= 0 || send(fd, buffer, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) != size)
        close(fd);
}

static void echo(long n)
{
    int listener = peer_listen(SOCK_NONBLOCK), epoll = epoll_create1(0);
    struct epoll_event events[64];

    watch(epoll, listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, 64, -1), i, fd;

        for (i = 0; i < ready; i++)
            if (events[i].data.fd != listener)
                serve(events[i].data.fd);
            else if ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
                watch(epoll, fd);
    }
    (void)n;
}

static const struct peer_workload workloads[] = {
    {"spawn", make},
    {"spawn-yield", make_and_yield},
    {"yield", switches},
    {"sleepers", pages},
    {"wake", wake},
    {"timeout", clock_reading},
    {"timeout-yield", clock_yield},
    {"nested-groups", make},
    {"nested-timeouts", clock_reading},
    {"fail-one", make},
    {"fail-all", make},
    {"queue", switches},
    {"lock", switches},
    {"semaphore", switches},
    {"offload", round_trips},
    {"echo", echo},
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    peer_need(count == 3, "usage: raw WORKLOAD N");
    peer_run(workloads, arguments[1], atol(arguments[2]));
    return 0;
}
