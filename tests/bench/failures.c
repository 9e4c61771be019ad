/* Groups whose tasks fail. What they gather is released within the time that is counted. */
#include "bench.h"

enum { TASKS = 1000, BATCHES = 50, WARM_UP = 5 };

static int sleep_long(void *unused)
{
    (void)unused;
    return osr_sleep(osr_s(1000));
}

static int fail(void *unused)
{
    (void)unused;
    return -EIO;
}

static int fail_in_words(void *unused)
{
    (void)unused;
    return osr_fail(-EIO, "reading block %d", 17);
}

static const struct osr_routine sleeper = {sleep_long, "sleeper", OSR_HERE};
static const struct osr_routine failing = {fail, "failing", OSR_HERE};
static const struct osr_routine explaining = {fail_in_words, "explaining", OSR_HERE};

/* Fails with `others` beside it, which are asleep by then or fail as well. Gives 0 if the group gave its errors. */
static int failing_group(const struct osr_routine *others, const struct osr_routine *last)
{
    const struct osr_spawn_options options = {.size = sizeof(options), .where = OSR_HERE};
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 1; i < TASKS && rc == 0; i++)
        rc = osr_spawn_with(&group, others, NULL, &options);
    if (rc == 0)
        rc = osr_spawn_with(&group, last, NULL, &options);
    rc = osr_group_close(&group, rc);
    osr_error_clear();
    return rc == -OSR_EGROUP ? 0 : -EINVAL;
}

static int many_groups(const struct osr_routine *others, const struct osr_routine *last, double *result)
{
    int64_t start = 0;
    int rc = 0, i;

    for (i = 0; i < WARM_UP + BATCHES && rc == 0; i++) {
        if (i == WARM_UP)
            start = bench_clock();
        rc = failing_group(others, last);
    }
    *result = bench_each(start, (long)BATCHES * TASKS);
    return rc;
}

BENCH_TASK(one_fails, results)
{
    return many_groups(&sleeper, &failing, &results[0]);
}

BENCH_TASK(all_fail, results)
{
    int rc = many_groups(&failing, &failing, &results[0]);

    return rc < 0 ? rc : many_groups(&explaining, &explaining, &results[1]);
}

const struct workload bench_failures[] = {
    {one_fails, {{"1,000 tasks, one fails, the rest are cancelled", "ns/task", "90"}}},
    {all_fail,
     {{"1,000 tasks, all fail, all errors are kept", "ns/task", "150"},
      {"  each with a message", "ns/task", NULL}}},
    {0},
};
