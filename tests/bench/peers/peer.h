/*
 * What the peers in C and C++ share. Each is a program `PEER WORKLOAD N` that does one workload and prints what it
 * measured as lines `NAME VALUE`; README.md beside it says what the workloads are. BENCH_SECONDS in the environment
 * says for how long a workload that can be repeated is repeated.
 */
#ifndef OSIER_BENCH_PEER_H
#define OSIER_BENCH_PEER_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How much is done in one batch, the same by every peer. */
enum { PEER_YIELDS = 40000, PEER_TIMEOUTS = 2000, PEER_ITEMS = 10000, PEER_TURNS = 1000, PEER_JOBS = 200, PEER_MESSAGE = 64 };

static inline int64_t peer_clock_of(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t peer_clock(void)
{
    return peer_clock_of(CLOCK_MONOTONIC);
}

static inline int64_t peer_cpu(void)
{
    return peer_clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void peer_say(const char *name, double value)
{
    printf("%s %.3f\n", name, value);
    fflush(stdout);
}

static inline void peer_give_up(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static inline void peer_need(int fine, const char *what)
{
    if (!fine)
        peer_give_up(what);
}

/* Bytes of memory in use, page tables included. */
static inline double peer_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    long resident = 0, tables = 0;
    char line[256];

    while (file && fgets(line, sizeof(line), file)) {
        (void)!sscanf(line, "VmRSS: %ld", &resident);
        (void)!sscanf(line, "VmPTE: %ld", &tables);
    }
    if (file)
        fclose(file);
    return 1024. * (double)(resident + tables);
}

/* Does a batch of `operations` once to warm up, and then for the time given; says nanoseconds for each operation. */
static inline void peer_repeat(void (*batch)(long n), long n, long operations)
{
    const char *seconds = getenv("BENCH_SECONDS");
    int64_t budget = (int64_t)(1e9 * (seconds ? atof(seconds) : 0.1)), start, now;
    long batches = 0;

    batch(n);
    start = peer_clock();
    do {
        batch(n);
        batches++;
        now = peer_clock();
    } while (now - start < budget);
    peer_say("ns", (double)(now - start) / ((double)batches * (double)operations));
}

/* The nth of the delays between 0 and 100 ms, in nanoseconds: Knuth's multiplicative hash, the same in every language. */
static inline int64_t peer_delay(long i)
{
    return (int64_t)((uint32_t)((uint64_t)i * 2654435761u) % 100000u) * 1000;
}

/* ---- What is measured of many sleepers, and of trees: in two parts ---- */

struct peer_parts {
    double before;
    int64_t start, middle;
};

static inline struct peer_parts peer_begin(void)
{
    struct peer_parts parts = {peer_memory(), peer_clock(), 0};

    return parts;
}

/* All are asleep. */
static inline void peer_asleep(struct peer_parts *parts, long n)
{
    int64_t now = peer_clock();

    peer_say("bytes", (peer_memory() - parts->before) / (double)n);
    parts->middle = peer_clock();
    parts->start += parts->middle - now;
}

/* All have been cancelled and joined. */
static inline void peer_end(const struct peer_parts *parts, long n)
{
    int64_t now = peer_clock();

    peer_say("ns", (double)(now - parts->start) / (double)n);
    peer_say("cancel-ns", (double)(now - parts->middle) / (double)n);
}

/* ---- 100,000 that wake within 100 ms ---- */

static inline void peer_woken(int64_t start, int64_t cpu)
{
    peer_say("beyond-ms", (double)(peer_clock() - start) * 1e-6 - 100);
    peer_say("cpu-ms", (double)(peer_cpu() - cpu) * 1e-6);
}

/* ---- Echo ---- */

/* A listening socket on loopback, its port said; with `flags` for socket(). */
static inline int peer_listen(int flags)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0), yes = 1;

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer_need(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
                  bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 4096) == 0 &&
                  getsockname(fd, (struct sockaddr *)&address, &size) == 0,
              "cannot listen");
    peer_say("port", ntohs(address.sin_port));
    return fd;
}

/* ---- Choosing ---- */

struct peer_workload {
    const char *name;
    void (*run)(long n);
};

/* 77: this peer has no such thing. */
static inline void peer_run(const struct peer_workload *workloads, const char *name, long n)
{
    for (; workloads->name; workloads++)
        if (strcmp(workloads->name, name) == 0) {
            workloads->run(n);
            return;
        }
    exit(77);
}

#endif
