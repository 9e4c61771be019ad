/*
 * Offloading: what blocks or computes for long runs in a thread of a pool, while the tasks go on (asyncio.to_thread,
 * ThreadPoolExecutor). There is one pool a process, shared by all runs; its threads are started when they are needed.
 *
 *     OSR_JOB(hash_file, struct hash, h) { … blocking reads … return 0; }
 *
 *     rc = osr_offload(hash_file, &h);
 *
 * The caller waits for the job; its result, and the error that it made with osr_fail() or osr_wrap(), come back into
 * the calling task. Under the simulated clock jobs are run on the loop's own thread, one after the other, and take no
 * simulated time, so that tests are repeatable.
 */
#ifndef OSIER_THREAD_H
#define OSIER_THREAD_H

#include <osier/base.h>
#include <osier/group.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Defines a function that can be offloaded, with the type of its argument: OSR_TASK under another name. It must return,
 * not leave its thread. Signals are blocked in the threads of the pool. */
#define OSR_JOB(name, type, arg) OSR_TASK(name, type, arg)

struct osr_offload_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* for trees and reports of stuck jobs; copied, cut at 63 bytes; else the job's own */
    /* Not NULL: a caller who is cancelled leaves a running job behind. The job's argument then belongs to the job, and
     * this is called with it and with what the job gave, in the job's thread, when the job has ended. */
    void (*abandon)(void *arg, int rc);
    /* NULL, or receives whether the job was left behind, whatever the outcome: -ECANCELED alone does not tell, since a job
     * may also have been withdrawn or have given up, and then the argument is still the caller's. */
    bool *left;
};

/*
 * Runs the job in a thread and waits for it: osr_offload(hash_file, &h, .name = "hash"). Jobs begin in the order of
 * offloading.
 *
 * A cancellation point until the job has begun: it is withdrawn then, and never runs. A job that runs is waited for,
 * uncancelled, and its result wins; it may look whether its caller is cancelled (osr_job_check()) and give
 * -ECANCELED, which is genuine then. With `.abandon` the wait for a running job is cut too.
 *
 * What the job returned, with its error in the slot; -ECANCELED; -OSR_ESPURIOUS for a job that gave -ECANCELED though
 * its caller is not cancelled; -EAGAIN if no thread could be started; -EMFILE and -ENFILE (the first job of a run takes a
 * descriptor); -EINVAL; -ENOMEM; -EPERM.
 */
#define osr_offload(...) OSR_OFFLOAD_(__VA_ARGS__, .size = sizeof(struct osr_offload_options))
#define OSR_OFFLOAD_(job, arg, ...)                                   \
    osr_offload_with(&(job).routine_, (1 ? (arg) : (job).arg_),       \
                     &(const struct osr_offload_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_offload_with(const struct osr_routine *job, void *arg, const struct osr_offload_options *options);

/* ---- Inside a job -------------------------------------------------------------------------------------- */

/*
 * Whether the caller is cancelled: 0; -ECANCELED, also if it has left the job behind; -EPERM outside a job. The values
 * of the caller's scopes are seen in the job (osr_value()); those of a job that was left behind are gone.
 */
OSR_API int osr_job_check(void);

/* ---- Many ---------------------------------------------------------------------------------------------- */

struct osr_map_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* of the group that it makes */
    int *results;      /* NULL, or `count` places for what the jobs give, in the order of the items */
    int limit;         /* how many may run at once; 0: as many as the pool has threads, or 8 in a simulated run */
};

/*
 * Offloads the job once for each of `count` items of the array at `items`, and waits for all (Executor.map): the
 * items are also where a job leaves what it found. The first error withdraws the jobs that have not begun, and cancels
 * the others as a group does. A cancellation point until they have begun, as osr_offload() is. What a job that never
 * began would have given is -ECANCELED.
 *
 * 0; -OSR_EGROUP with all errors, that of a job that could not be offloaded among them; -ECANCELED; -EINVAL, also for a
 * negative limit; -ENOMEM; -EPERM.
 */
#define osr_map(...) OSR_MAP_(__VA_ARGS__, .size = sizeof(struct osr_map_options))
#define OSR_MAP_(job, items, count, ...)                                                    \
    osr_map_with(&(job).routine_, (1 ? (items) : (job).arg_), (count), sizeof(*(items)),    \
                 &(const struct osr_map_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_map_with(const struct osr_routine *job, void *items, size_t count, size_t stride,
                         const struct osr_map_options *options);

/* ---- The pool ------------------------------------------------------------------------------------------ */

/* How many threads the pool may have, at least 1. The default is the number of processors and 4 more, at most 32, as
 * in Python. Threads that are too many end when they are idle. May be called from anywhere. 0; -EINVAL. */
OSR_API int osr_pool_set_size(unsigned size);
OSR_API unsigned osr_pool_size(void);

/*
 * Ends all threads of the pool and waits for them, for at most `grace` nanoseconds (OSR_NEVER: for as long as it takes), and
 * a moment longer for threads that have nothing to do, up to a second; jobs that have not begun are waited for too. Jobs
 * that still run then are named through `diagnose` (NULL: standard error), each with its name, place and how long it has
 * run, and go on. To be called outside runs, at the end of a program; threads are started again when they are needed. It
 * blocks the calling thread, which may be any. 0; -ETIMEDOUT if jobs are stuck, or what the program has threads do at their end
 * (pthread_key_create()); -EINVAL; -EPERM inside a run or a job.
 */
OSR_API int osr_pool_shutdown(int64_t grace, void (*diagnose)(void *arg, const char *text), void *arg);

#ifdef __cplusplus
}
#endif

#endif
