/* Tasks that start, take turns and end. */
#include "bench.h"

enum { TASKS = 1000, BATCHES = 300, WARM_UP = 20, TURNS = 200000 };

OSR_TASK(nothing, void, unused)
{
    return 0;
}

OSR_TASK(one_yield, void, unused)
{
    return osr_yield();
}

OSR_TASK(many_yields, void, unused)
{
    int rc = 0, i;

    for (i = 0; i < TURNS && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

static int spawn_and_join(bool yields)
{
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < TASKS && rc == 0; i++)
        rc = yields ? osr_spawn(&group, one_yield, NULL) : osr_spawn(&group, nothing, NULL);
    return osr_group_close(&group, rc);
}

static int many_batches(bool yields, double *result)
{
    int64_t start = 0;
    int rc = 0, i;

    for (i = 0; i < WARM_UP + BATCHES && rc == 0; i++) {
        if (i == WARM_UP)
            start = bench_clock();
        rc = spawn_and_join(yields);
    }
    *result = bench_each(start, (long)BATCHES * TASKS);
    return rc;
}

BENCH_TASK(spawn, results)
{
    return many_batches(false, &results[0]);
}

BENCH_TASK(spawn_and_yield, results)
{
    return many_batches(true, &results[0]);
}

BENCH_TASK(yield, results)
{
    struct osr_group group;
    int64_t start;
    int rc;

    osr_group_open(&group);
    start = bench_clock();
    rc = osr_spawn(&group, many_yields, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, many_yields, NULL);
    rc = osr_group_close(&group, rc);
    results[0] = bench_each(start, 2L * TURNS);
    return rc;
}

OSR_TASK(a_thousandth_of_the_yields, void, unused)
{
    int rc = 0, i;

    for (i = 0; i < TURNS / TASKS && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

BENCH_TASK(yield_of_many, results)
{
    struct osr_group group;
    int64_t start;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < TASKS && rc == 0; i++)
        rc = osr_spawn(&group, a_thousandth_of_the_yields, NULL);
    if (rc == 0)
        rc = osr_yield(); /* so that all of them have begun */
    start = bench_clock();
    rc = osr_group_close(&group, rc);
    results[0] = bench_each(start, (long)TURNS - TASKS);
    return rc;
}

const struct workload bench_tasks[] = {
    {spawn, {{"spawn + join, 1,000 at a time", "ns/task", "25"}}},
    {spawn_and_yield, {{"the same with one yield in each", "ns/task", "36"}}},
    {yield, {{"yield between two tasks", "ns/switch", "6"}}},
    {yield_of_many, {{"yield among 1,000 tasks", "ns/switch", NULL}}},
    {0},
};
