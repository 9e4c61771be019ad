/* Many tasks that sleep: what it costs to make, cancel, join, keep and wake them. Cold is the first time in a run, when
 * every task needs a stack that nobody has used; warm is the second time. */
#include "bench.h"

#include <malloc.h>
#include <stdio.h>

enum { MANY = 100000 };

OSR_TASK(sleeper, void, unused)
{
    return osr_sleep(osr_s(1000));
}

/* Spawns sleepers into the group and lets all of them fall asleep. */
static int fill(struct osr_group *group, long count)
{
    int rc = 0;
    long i;

    for (i = 0; i < count && rc == 0; i++)
        rc = osr_spawn(group, sleeper, NULL);
    return rc == 0 ? osr_yield() : rc;
}

/* ---- Cancelling ---- */

struct times {
    long count;
    double whole, end; /* for each task: all of it, and cancelling and joining alone */
};

static int fill_and_cancel(struct times *times)
{
    int64_t start = bench_clock(), middle;
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = fill(&group, times->count);
    middle = bench_clock();
    osr_group_cancel(&group, "enough");
    rc = osr_group_close(&group, rc);
    times->whole = bench_each(start, times->count);
    times->end = bench_each(middle, times->count);
    return rc;
}

OSR_TASK(twice, struct times, times)
{
    int rc = fill_and_cancel(&times[0]);

    return rc < 0 ? rc : fill_and_cancel(&times[1]);
}

static int cancel_sleepers(long count, double *results)
{
    struct times times[2] = {{.count = count}, {.count = count}};
    int64_t start = bench_clock();
    int rc = osr_run(twice, times);

    results[2] = bench_each(start, count) - times[1].whole;
    results[0] = times[0].whole;
    results[1] = times[0].end;
    results[3] = times[1].whole;
    results[4] = times[1].end;
    return rc;
}

static int cancel_10000(double *results)
{
    return cancel_sleepers(10000, results);
}

static int cancel_100000(double *results)
{
    return cancel_sleepers(100000, results);
}

/* ---- Memory ---- */

struct memory_use {
    long resident, tables; /* in KiB */
};

static struct memory_use memory_use(void)
{
    struct memory_use use = {0};
    FILE *file = fopen("/proc/self/status", "re");

    if (!file)
        return use;
    for (char line[256]; fgets(line, sizeof(line), file);) {
        (void)sscanf(line, "VmRSS: %ld", &use.resident);
        (void)sscanf(line, "VmPTE: %ld", &use.tables);
    }
    fclose(file);
    return use;
}

struct footprint {
    long count;
    struct memory_use before, during;
};

OSR_TASK(keep_asleep, struct footprint, footprint)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = fill(&group, footprint->count);
    footprint->during = memory_use();
    osr_group_cancel(&group, "measured");
    return osr_group_close(&group, rc);
}

static int measure_memory(long count, double *results)
{
    struct footprint footprint = {.count = count};
    int rc;

    malloc_trim(0); /* or what earlier workloads left hides a part of what this one takes */
    footprint.before = memory_use();
    rc = osr_run(keep_asleep, &footprint);
    results[0] = 1024. * (double)(footprint.during.resident - footprint.before.resident) / (double)count;
    results[1] = 1024. * (double)(footprint.during.tables - footprint.before.tables) / (double)count;
    return rc;
}

static int memory_100000(double *results)
{
    return measure_memory(100000, results);
}

static int memory_200000(double *results)
{
    return measure_memory(200000, results);
}

/* ---- Waking ---- */

struct delays {
    int64_t start; /* all count from here; 0: each from when it falls asleep */
    int64_t after[MANY];
};

static struct delays delays;

OSR_TASK(nap, int64_t, after)
{
    return delays.start ? osr_sleep_until(delays.start + *after) : osr_sleep(*after);
}

static void draw_delays(void)
{
    uint64_t state = 88172645463325252u;
    long i;

    for (i = 0; i < MANY; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        delays.after[i] = (int64_t)(state % 100000000);
    }
}

/* Fills in the milliseconds beyond those that the longest sleeps, and those of the processor. */
static int wake_all(bool from_one_start, double results[2])
{
    int64_t start = bench_clock(), used = bench_clock_of(CLOCK_PROCESS_CPUTIME_ID);
    struct osr_group group;
    int rc = 0;
    long i;

    delays.start = from_one_start ? osr_now() : 0;
    osr_group_open(&group);
    for (i = 0; i < MANY && rc == 0; i++)
        rc = osr_spawn(&group, nap, &delays.after[i]);
    rc = osr_group_close(&group, rc);
    results[0] = (double)(bench_clock() - start) * 1e-6 - 100;
    results[1] = (double)(bench_clock_of(CLOCK_PROCESS_CPUTIME_ID) - used) * 1e-6;
    return rc;
}

BENCH_TASK(wake, results)
{
    int rc;

    draw_delays();
    rc = wake_all(false, &results[0]);
    return rc == 0 ? wake_all(false, &results[2]) : rc;
}

BENCH_TASK(wake_from_one_start, results)
{
    int rc;

    draw_delays();
    rc = wake_all(true, &results[0]);
    return rc == 0 ? wake_all(true, &results[2]) : rc;
}

const struct workload bench_sleepers[] = {
    {cancel_10000,
     {{"10,000 sleepers, spawn + cancel + join, cold", "ns/task", "2300"},
      {"  cancel + join alone, cold", "ns/task", "260"},
      {"  cold, with the run begun and ended", "ns/task", NULL},
      {"10,000 sleepers, spawn + cancel + join, warm", "ns/task", "290"},
      {"  cancel + join alone, warm", "ns/task", "150"}}},
    {cancel_100000,
     {{"100,000 sleepers, spawn + cancel + join, cold", "ns/task", "2600"},
      {"  cancel + join alone, cold", "ns/task", "400"},
      {"  cold, with the run begun and ended", "ns/task", NULL},
      {"100,000 sleepers, spawn + cancel + join, warm", "ns/task", NULL},
      {"  cancel + join alone, warm", "ns/task", NULL}}},
    {memory_100000,
     {{"memory of a sleeper, of 100,000", "bytes", "4400"}, {"  page tables beside", "bytes", NULL}}},
    {memory_200000,
     {{"memory of a sleeper, of 200,000", "bytes", "4400"}, {"  page tables beside", "bytes", NULL}}},
    {wake_from_one_start,
     {{"100,000 sleepers, random 0 to 100 ms, cold: beyond 100", "ms", "150"},
      {"  CPU, cold", "ms", "250"},
      {"100,000 sleepers, random 0 to 100 ms, warm: beyond 100", "ms", "5"},
      {"  CPU, warm", "ms", "90"}}},
    {wake,
     {{"  each counted from its own start, cold: beyond 100", "ms", NULL},
      {"  each counted from its own start, cold: CPU", "ms", NULL},
      {"  each counted from its own start, warm: beyond 100", "ms", NULL},
      {"  each counted from its own start, warm: CPU", "ms", NULL}}},
    {0},
};
