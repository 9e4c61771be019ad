/* Threads: a job and back, against what the system itself takes; posts. */
#include "bench.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WARM_UP = 100, JOBS = 4000, POSTS = 20000 };

/* ---- Offloading ---- */

OSR_JOB(nothing, void, unused) { return 0; }

static int offload_many(double *result)
{
    int64_t start = 0;
    int rc = 0, i;

    for (i = 0; i < WARM_UP + JOBS && rc == 0; i++) {
        if (i == WARM_UP)
            start = bench_clock();
        rc = osr_offload(nothing, NULL);
    }
    *result = bench_each(start, JOBS);
    return rc;
}

struct ends {
    int there, back;
};

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

static void *echo(void *arg)
{
    const struct ends *ends = arg;
    int i;

    for (i = 0; i < WARM_UP + JOBS; i++)
        if (!wait_for(ends->there) || !ring(ends->back))
            break;
    return NULL;
}

static int go_there_and_back(const struct ends *ends, double *result)
{
    int64_t start = 0;
    int i;

    for (i = 0; i < WARM_UP + JOBS; i++) {
        if (i == WARM_UP)
            start = bench_clock();
        if (!ring(ends->there) || !wait_for(ends->back))
            return -EIO;
    }
    *result = bench_each(start, JOBS);
    return 0;
}

static int bare_round_trips(double *result)
{
    struct ends ends = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
    pthread_t thread;
    int rc = -EAGAIN;

    if (pthread_create(&thread, NULL, echo, &ends) == 0) {
        rc = go_there_and_back(&ends, result);
        pthread_join(thread, NULL);
    }
    close(ends.there);
    close(ends.back);
    return rc;
}

BENCH_TASK(offloading, results)
{
    int rc = offload_many(&results[0]);

    if (rc == 0)
        rc = bare_round_trips(&results[1]);
    results[2] = results[0] / results[1];
    return rc;
}

/* ---- Posts ---- */

static void count(void *arg, unsigned times)
{
    *(unsigned long *)arg += times;
}

BENCH_TASK(posting, results)
{
    unsigned long told = 0;
    struct osr_post post;
    int64_t start;
    int rc = osr_post_open(&post, count, &told), i;

    if (rc < 0)
        return rc;
    start = bench_clock();
    for (i = 0; i < POSTS; i++)
        rc = osr_post_fire(post);
    results[0] = bench_each(start, POSTS);
    start = bench_clock();
    for (i = 0; i < JOBS && rc == 0; i++) {
        (void)osr_post_fire(post);
        rc = osr_sleep(1);
    }
    results[1] = bench_each(start, JOBS);
    return rc == 0 && told == POSTS + JOBS ? 0 : -EIO;
}

const struct workload bench_threads[] = {
    {offloading,
     {{"a job offloaded and back", "ns", NULL},
      {"  a bare eventfd round trip between two threads", "ns", NULL},
      {"  the one in terms of the other", "times", "1.3"}}},
    {posting,
     {{"a post fired that is not told yet", "ns", NULL}, {"a post fired, and a look of the loop that tells it", "ns", NULL}}},
    {0},
};
