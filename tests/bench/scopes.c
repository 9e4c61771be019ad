/* Scopes and groups: limits that are never reached, and trees that are cancelled from outside. */
#include "bench.h"

#include <stdlib.h>

/* ---- Timeouts that do not fire ---- */

enum { TIMEOUTS = 100000, WARM_UP = 1000 };

/* `at` is a moment, or 0 for a duration that counts from each opening. */
static int open_and_close(int64_t at, bool yields, double *result)
{
    struct osr_scope scope;
    int64_t start = 0;
    int rc = 0;
    long i;

    for (i = 0; i < WARM_UP + TIMEOUTS && rc == 0; i++) {
        if (i == WARM_UP)
            start = bench_clock();
        if (at)
            osr_timeout_open_at(&scope, at);
        else
            osr_timeout_open(&scope, osr_s(1000));
        rc = osr_scope_close(&scope, yields ? osr_yield() : 0);
    }
    *result = bench_each(start, TIMEOUTS);
    return rc;
}

BENCH_TASK(timeouts, results)
{
    int64_t at = osr_now() + osr_s(1000);
    int rc = open_and_close(0, false, &results[0]);

    if (rc == 0)
        rc = open_and_close(0, true, &results[1]);
    if (rc == 0)
        rc = open_and_close(at, false, &results[2]);
    return rc == 0 ? open_and_close(at, true, &results[3]) : rc;
}

/* ---- Trees ---- */

/* The time of many repetitions, each in two parts. */
struct parts {
    int64_t build, cancel;
};

struct nest {
    long left;                 /* levels still to be made */
    struct osr_group *builders; /* cancelled when the last one is */
};

OSR_TASK(sleeper, void, unused)
{
    return osr_sleep(OSR_NEVER);
}

/* Opens a group with the next level inside; the last one says that the nest is complete. */
OSR_TASK(level, struct nest, nest)
{
    struct osr_group group;
    int rc;

    if (--nest->left == 0) {
        osr_group_cancel(nest->builders, "the nest is complete");
        return osr_sleep(OSR_NEVER);
    }
    osr_group_open(&group);
    rc = osr_spawn(&group, level, nest);
    return osr_group_close(&group, rc);
}

/* The second group is how the outermost task learns that the innermost has begun, without looking again and again. */
static int nest_groups(long depth, struct parts *parts)
{
    struct osr_group outer, builders;
    struct nest nest = {depth, &builders};
    int64_t start = bench_clock(), middle;
    int rc;

    osr_group_open(&outer);
    osr_group_open(&builders);
    rc = osr_spawn(&builders, sleeper, NULL);
    if (rc == 0)
        rc = osr_spawn(&outer, level, &nest);
    rc = osr_group_close(&builders, rc);
    middle = bench_clock();
    osr_group_cancel(&outer, "from outside");
    rc = osr_group_close(&outer, rc);
    parts->build += middle - start;
    parts->cancel += bench_clock() - middle;
    return rc;
}

struct timeouts {
    long depth;
    struct osr_scope *scopes;
};

OSR_TASK(nested_timeouts, struct timeouts, timeouts)
{
    long i;
    int rc;

    for (i = 0; i < timeouts->depth; i++)
        osr_timeout_open(&timeouts->scopes[i], osr_s(1000));
    rc = osr_sleep(OSR_NEVER);
    while (i-- > 0)
        rc = osr_scope_close(&timeouts->scopes[i], rc);
    return rc;
}

static int nest_timeouts(long depth, struct parts *parts)
{
    struct timeouts timeouts = {depth, malloc((size_t)depth * sizeof(*timeouts.scopes))};
    struct osr_group group;
    int64_t start, middle;
    int rc;

    if (!timeouts.scopes)
        return -ENOMEM;
    start = bench_clock();
    osr_group_open(&group);
    rc = osr_spawn(&group, nested_timeouts, &timeouts);
    if (rc == 0)
        rc = osr_yield();
    middle = bench_clock();
    osr_group_cancel(&group, "from outside");
    rc = osr_group_close(&group, rc);
    parts->build += middle - start;
    parts->cancel += bench_clock() - middle;
    free(timeouts.scopes);
    return rc;
}

/* Repeats what makes and cancels a nest until some thousands of levels have been counted. Fills in nanoseconds for
 * each level: those of the cancelling and all. */
static int repeat(int (*once)(long depth, struct parts *parts), long depth, double results[2])
{
    long repeats = 16000 / depth, i;
    struct parts parts = {0};
    int rc = once(depth, &parts);

    parts = (struct parts){0}; /* the first time was the warm-up */
    for (i = 0; i < repeats && rc == 0; i++)
        rc = once(depth, &parts);
    results[0] = (double)parts.cancel / (double)(repeats * depth);
    results[1] = (double)(parts.build + parts.cancel) / (double)(repeats * depth);
    return rc;
}

/* Microseconds for 1,000, then nanoseconds for each of 250 and of 4,000. */
static int three_depths(int (*once)(long depth, struct parts *parts), double *results)
{
    int rc = repeat(once, 1000, &results[0]);

    if (rc == 0)
        rc = repeat(once, 250, &results[2]);
    return rc == 0 ? repeat(once, 4000, &results[4]) : rc;
}

BENCH_TASK(groups, results)
{
    return three_depths(nest_groups, results);
}

BENCH_TASK(timeouts_in_timeouts, results)
{
    return three_depths(nest_timeouts, results);
}

const struct workload bench_scopes[] = {
    {timeouts,
     {{"timeout that does not fire", "ns", "45"},
      {"  with a yield inside", "ns", "60"},
      {"timeout at a known moment that does not fire", "ns", "20"},
      {"  with a yield inside", "ns", "30"}}},
    {groups,
     {{"1,000 nested groups, cancelled from outside", "us", "60"},
      {"  with making them", "us", NULL},
      {"250 nested groups, cancelled from outside", "ns/level", NULL},
      {"  with making them", "ns/level", NULL},
      {"4,000 nested groups, cancelled from outside", "ns/level", NULL},
      {"  with making them", "ns/level", NULL}}},
    {timeouts_in_timeouts,
     {{"1,000 nested timeouts in a task, cancelled from outside", "us", "50"},
      {"  with opening them", "us", NULL},
      {"250 nested timeouts in a task, cancelled from outside", "ns/level", NULL},
      {"  with opening them", "ns/level", NULL},
      {"4,000 nested timeouts in a task, cancelled from outside", "ns/level", NULL},
      {"  with opening them", "ns/level", NULL}}},
    {0},
};
