/*
 * workers: a queue of 20 jobs and 3 workers who share them.
 *
 *     make examples && build/gcc/examples/workers [--simulated]
 *     cc workers.c $(pkg-config --cflags --libs osier)
 *
 * Each job is a sleep. The program waits until the queue says that all jobs are done, cancels the workers, who would
 * wait for more, and compares what was slept with the time that passed.
 */
#include "example.h"

enum { JOBS = 20, WORKERS = 3 };

struct office {
    struct osr_queue jobs; /* of int64_t: how long to sleep */
    int64_t slept;         /* by all; plain, since nothing else runs between two waits */
};

OSR_TASK(work, struct office, office)
{
    int jobs = 0, rc;
    int64_t job;

    while ((rc = osr_queue_get(&office->jobs, &job)) == 0) { /* an item is copied out, and now ours */
        rc = osr_sleep(job);
        if (rc < 0)
            break;
        office->slept += job;
        jobs++;
        osr_queue_task_done(&office->jobs);
    }
    say("%s: %d jobs, then %s", osr_task_name(osr_self()), jobs, osr_strcode(rc));
    return rc;
}

static int put_jobs(struct osr_queue *queue)
{
    int rc = 0;

    for (int i = 0; i < JOBS && rc == 0; i++) {
        int64_t job = osr_ms(50 + i * 370 % 950); /* between 0.05 and 1 second */

        rc = osr_queue_put(queue, &job);
    }
    return rc;
}

static int run_office(struct office *office)
{
    static const char *const names[WORKERS] = {"Ann", "Ben", "Cid"};
    struct osr_group workers;
    int rc = 0;

    osr_group_open(&workers, .name = "workers");
    for (int i = 0; i < WORKERS && rc == 0; i++)
        rc = osr_spawn(&workers, work, office, .name = names[i]);
    if (rc == 0)
        rc = osr_queue_join(&office->jobs); /* until task_done was said for each job */
    if (rc == 0)
        osr_group_cancel(&workers, "there is nothing left to do");
    return osr_group_close(&workers, rc);
}

static int program(void)
{
    struct office office = {.slept = 0};
    int64_t began = osr_now();
    int rc = osr_queue_init(&office.jobs, sizeof(int64_t), OSR_UNBOUNDED);

    if (rc == 0)
        rc = put_jobs(&office.jobs);
    if (rc == 0)
        rc = run_office(&office);
    osr_queue_destroy(&office.jobs);
    if (rc == 0)
        say("%d workers slept %.1f seconds in %.1f", WORKERS, (double)office.slept / 1e9,
            (double)(osr_now() - began) / 1e9);
    return rc;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
