/*
 * The pool: threads of the process that run jobs, shared by all runs. It knows nothing of tasks; offload.c waits for
 * the jobs.
 */
#ifndef OSIER_READY_POOL_H
#define OSIER_READY_POOL_H

#include <stdatomic.h>

#include <osier/thread.h>

#include "2_sched/wait.h"
#include "6_ready/inbox.h"

enum job_state {
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_LEFT, /* it runs, and its caller does not wait for it: the job belongs to itself */
    JOB_DONE
};

struct job {
    struct osr_list_ node; /* among those that are queued, or that run; like the next three, under the pool's lock */
    enum job_state state;
    uint64_t number; /* in the order of beginning */
    int64_t begun;

    const struct osr_routine *routine;
    void *arg;
    void (*abandon)(void *arg, int rc); /* or NULL */
    const char *name, *where, *who;     /* who: the task that waits for it */
    const struct osr_scope *scope;      /* of the caller */
    atomic_bool cancelled;

    /* What it came to, for the loop. */
    int rc;
    struct slot slot;
    struct inbox *inbox; /* NULL: it runs on the loop's own thread */
    struct parcel parcel;
    struct osr_wait wait;
    bool delivered;
};

/* A job that may be left behind, with memory and texts of its own. */
struct loose_job {
    struct job job;
    char name[OSR_NAME_SIZE], who[OSR_NAME_SIZE];
};

/* The job that the calling thread runs, or NULL. */
extern _Thread_local struct job *osri_job;

/* Queues it; the parcel goes into its inbox when it is done. 0; -EAGAIN if there is no thread to run it. */
int osri_pool_add(struct job *job);

/* The caller no longer wants it: takes it out of the queue if it has not begun, leaves it behind if it may be. Gives the
 * state in which it was: if that is JOB_QUEUED, or JOB_RUNNING for a loose job, the caller need not wait. */
enum job_state osri_pool_leave(struct job *job);

/* Under the lock no job is left behind. */
void osri_pool_lock(void);
void osri_pool_unlock(void);

/* Runs the job's function on the calling thread, outside runs, and notes what it came to. */
void osri_job_run(struct job *job);

/* Ends a job that was left behind, and frees it. */
void osri_job_abandon(struct job *job);

#endif
