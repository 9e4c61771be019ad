/*
 * Benchmarks: workloads that are measured in rounds, all of them in every round, so that what disturbs the machine
 * for a while disturbs them alike. They report times and never judge them.
 */
#ifndef OSIER_BENCH_H
#define OSIER_BENCH_H

#include <osier.h>

#include <time.h>

enum { MOST_ROWS = 6 };

/* A line of the table. */
struct row {
    const char *name, *unit;
    const char *target; /* what it shall reach on the machine where that was set, or NULL; in brackets: what it took */
};

struct workload {
    /* One round: fills in one result for each row. 0, or the negative code for which it could not be done. */
    int (*round)(double *results);
    struct row rows[MOST_ROWS]; /* those in use have names */
};

/* Each ends with a workload without a function. */
extern const struct workload bench_raw[], bench_tasks[], bench_sleepers[], bench_scopes[], bench_failures[], bench_sync[],
    bench_threads[], bench_kit[];

/* Defines the round of a workload that is the root task of a run of its own. */
#define BENCH_TASK(name, results)                                                \
    static int name##_measure(double *results);                                  \
    OSR_TASK(name##_task, double, results_) { return name##_measure(results_); } \
    static int name(double *results_) { return osr_run(name##_task, results_); } \
    static int name##_measure(double *results)

static inline int64_t bench_clock_of(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t bench_clock(void)
{
    return bench_clock_of(CLOCK_MONOTONIC);
}

/* Nanoseconds for each of `count`, since `start`. */
static inline double bench_each(int64_t start, long count)
{
    return (double)(bench_clock() - start) / (double)count;
}

#endif
