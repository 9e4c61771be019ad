/* The test kit: what a run costs when a small program is explored, all orders of it or those that differ. */
#include "bench.h"

#include <osier/test.h>

enum { TASKS = 4, MOST_RUNS = 60000 };

static struct {
    struct osr_lock first, second;
    int turns;
} table;

/* Whoever has the first lets others run before it takes the second. */
OSR_TASK(take_both, void, unused)
{
    int rc = osr_lock_acquire(&table.first);

    if (rc < 0)
        return rc;
    rc = osr_yield();
    if (rc == 0)
        rc = osr_lock_acquire(&table.second);
    if (rc == 0) {
        table.turns++;
        rc = osr_yield();
        osr_lock_release(&table.second);
    }
    osr_lock_release(&table.first);
    return rc;
}

OSR_TASK(cancel, struct osr_group, group) { return osr_group_cancel(group, "enough"); }

OSR_TASK(dinner, void, unused)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < TASKS && rc == 0; i++)
        rc = osr_spawn(&group, take_both, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, cancel, &group);
    return osr_group_close(&group, rc);
}

static unsigned long runs;

static void lay(void *unused)
{
    (void)unused;
    osr_lock_init(&table.first);
    osr_lock_init(&table.second);
    table.turns = 0;
}

static void count(void *unused, const struct osr_test_result *result)
{
    (void)unused, (void)result;
    runs++;
}

static int explore(bool reduce, double *result)
{
    struct osr_test test = OSR_TEST("dinner", dinner, NULL, .begin = lay, .check = count, .runs = MOST_RUNS, .quiet = true);
    int64_t start = bench_clock();
    int rc;

    test.reduce = reduce;
    runs = 0;
    rc = osr_test_explore(&test);
    *result = bench_each(start, (long)runs);
    return rc < 0 ? rc : 0;
}

static int all_orders(double *results) { return explore(false, results); }

static int orders_that_differ(double *results)
{
    int rc = explore(true, results);

    results[1] = (double)runs;
    return rc;
}

const struct workload bench_kit[] = {
    {all_orders, {{"the test kit: an order of four tasks and two locks", "ns/run", "3333"}}},
    {orders_that_differ,
     {{"the test kit: the same, only orders that differ", "ns/run", "3333"}, {"  how many there are", "runs", NULL}}},
    {NULL, {{NULL, NULL, NULL}}},
};
