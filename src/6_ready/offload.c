#include "6_ready/offload.h"

#include <stdlib.h>

#include "3_scope/scope.h"

/* ---- Jobs of a simulated run, on the loop's own thread ---- */

static bool is_simulated(const struct sched *sched)
{
    return sched->driver == &osri_driver_sim;
}

static struct job *job_at(struct osr_list_ *node)
{
    return container_of(node, struct job, node);
}

static void deliver(struct job *job)
{
    job->delivered = true;
    if (job->wait.linked_)
        osri_wake(osri_sched, &job->wait, 0); /* else its caller has been cut, and finds it so */
}

/* Takes it out of those that wait for the loop. */
static void take(struct sched *sched, struct job *job)
{
    list_remove(&job->node);
    sched->queued_jobs -= job->state != JOB_LEFT;
}

/* As in a thread of the pool, which has no run. */
static void run_inline(struct sched *sched, struct job *job)
{
    struct slot kept = osri_thread_slot;
    const struct task *task = job->wait.task_;

    take(sched, job);
    if (job->state != JOB_LEFT && task->refusal)
        atomic_store(&job->cancelled, true);
    osri_thread_slot = (struct slot){0};
    sched->lender = osri_lender;
    osri_lender = sched;
    osri_sched = NULL;
    osri_job_run(job);
    if (job->state == JOB_LEFT)
        osri_job_abandon(job);
    else
        job->state = JOB_DONE;
    osri_sched = sched;
    osri_lender = sched->lender;
    osri_thread_slot = kept;
}

static void run_one(struct sched *sched)
{
    struct osr_list_ *node;
    struct job *job;
    unsigned n = 0, pick;
    bool left;

    for (node = sched->jobs.next; node != &sched->jobs; node = node->next)
        n++;
    node = sched->jobs.next;
    for (pick = osri_choose(&sched->door, OSR_CHOICE_JOB, n, "job"); pick > 0; pick--)
        node = node->next;
    job = job_at(node);
    left = job->state == JOB_LEFT;
    if (sched->allowed != ALL_JOBS)
        sched->allowed--;
    run_inline(sched, job);
    if (!left)
        deliver(job);
}

int osri_jobs_open(struct sched *sched)
{
    sched->run_job = run_one;
    return 0;
}

void osri_jobs_close(struct sched *sched)
{
    while (!list_empty(&sched->jobs))
        run_inline(sched, job_at(sched->jobs.next)); /* those that were left behind */
}

/* In a thread it might have begun, or not. */
static enum job_state leave_inline(struct sched *sched, struct job *job)
{
    enum job_state state = job->state;

    if (state == JOB_QUEUED && osri_choose(&sched->door, OSR_CHOICE_JOB, 2, "begun"))
        state = job->state = JOB_RUNNING;
    if (state == JOB_QUEUED)
        take(sched, job);
    else if (job->abandon) {
        job->state = JOB_LEFT;
        sched->queued_jobs--;
    }
    atomic_store(&job->cancelled, true);
    return state;
}

/* ---- Offloading ---- */

static void parcel_opened(struct parcel *parcel)
{
    deliver(container_of(parcel, struct job, parcel));
}

/* 0 or a code. */
static int add(struct sched *sched, struct job *job)
{
    int rc;

    if (osri_choose(&sched->door, OSR_CHOICE_FAULT, 2, "pthread_create\0EAGAIN"))
        return -EAGAIN; /* asked for each, so that runs do not depend on which threads there are */
    if (is_simulated(sched)) {
        list_append(&sched->jobs, &job->node);
        sched->queued_jobs++;
        return 0;
    }
    job->inbox = osri_inbox(sched, &rc);
    return job->inbox ? osri_pool_add(job) : rc;
}

/* The caller is cancelled: whether it need not wait for the job. */
static bool leave(struct sched *sched, struct job *job, struct loose_job *loose, bool *left)
{
    enum job_state state = job->inbox ? osri_pool_leave(job) : leave_inline(sched, job);
    bool behind = state == JOB_RUNNING && loose;

    if (left)
        *left = behind;
    if (state == JOB_QUEUED)
        free(loose); /* NULL if it is in the caller's frame */
    return state == JOB_QUEUED || behind;
}

/* What the job gave, with the error that it made, is now the caller's. */
static int take_result(struct sched *sched, struct task *task, struct job *job, const char *where)
{
    int rc = job->rc;

    if (rc >= 0 || rc == -ECANCELED) {
        osri_slot_clear(&job->slot);
        if (rc >= 0)
            return rc;
        return task->refusal ? osri_refused(sched, task, where) : osri_task_failed(task, -OSR_ESPURIOUS, where);
    }
    osri_slot_clear(&task->slot);
    task->slot = job->slot;
    if (task->slot.code == 0)
        return osri_task_failed(task, rc, where);
    if (task->slot.code != rc)
        (void)osri_slot_own(&task->slot, rc, where);
    return rc;
}

/* Queues the job and waits for it. The job is gone when it has been left. */
static int offload(struct sched *sched, struct job *job, struct loose_job *loose,
                   const struct osr_offload_options *options)
{
    struct task *task = sched->current;
    const char *where = options->where;
    int rc;

    wait_init(&job->wait, task, "osr_offload", where);
    rc = add(sched, job);
    if (rc == 0) {
        sched->outside++;
        (void)osri_wait_quietly(sched, &job->wait);
        if (!job->delivered) {
            if (leave(sched, job, loose, options->left)) {
                sched->outside--;
                return osri_refused(sched, task, where);
            }
            wait_init(&job->wait, task, "osr_offload", where);
            job->wait.uncut_ = true;
            (void)osri_wait_quietly(sched, &job->wait);
        }
        sched->outside--;
        rc = take_result(sched, task, job, where);
    } else {
        osri_task_failed(task, rc, where);
    }
    free(loose);
    return rc;
}

static struct job job_of(const struct osr_routine *routine, void *arg, const struct osr_offload_options *options)
{
    const struct task *task = osri_current();
    const char *name = options->name ? options->name : routine->name;

    return (struct job){
        .routine = routine,
        .arg = arg,
        .abandon = options->abandon,
        .name = name ? name : "",
        .where = options->where,
        .who = task->name,
        .scope = task->scope,
        .parcel.open = parcel_opened,
    };
}

static int offload_loosely(struct sched *sched, const struct osr_routine *routine, void *arg,
                           const struct osr_offload_options *options)
{
    const struct memory memory = {osri_malloc_allocator, &sched->door};
    struct loose_job *loose = osri_alloc(&memory, sizeof(*loose));

    if (!loose)
        return osri_task_failed(sched->current, -ENOMEM, options->where);
    loose->job = job_of(routine, arg, options);
    osri_name_copy(loose->name, loose->job.name);
    osri_name_copy(loose->who, loose->job.who);
    loose->job.name = loose->name;
    loose->job.who = loose->who;
    return offload(sched, &loose->job, loose, options);
}

int osr_offload_with(const struct osr_routine *routine, void *arg, const struct osr_offload_options *options)
{
    static const struct osr_offload_options none = {.size = sizeof(none)};
    struct sched *sched = osri_sched;
    struct job job;
    int rc;

    if (!options)
        options = &none;
    if (options->size == sizeof(*options) && options->left)
        *options->left = false;
    rc = osri_enter(sched, options->where);
    if (rc < 0)
        return rc;
    if (!routine || !routine->run || options->size != sizeof(*options))
        return osri_task_failed(sched->current, -EINVAL, options->where);
    if (options->abandon)
        return offload_loosely(sched, routine, arg, options);
    job = job_of(routine, arg, options);
    return offload(sched, &job, NULL, options);
}

/* ---- Inside a job ---- */

int osr_job_check(void)
{
    struct job *job = osri_job;

    if (!job)
        return osri_failed(-EPERM, NULL);
    return atomic_load(&job->cancelled) ? osri_failed(-ECANCELED, NULL) : 0;
}

/* While a job runs that cannot be left behind, the scopes of its caller stay open. */
static void *value_in_job(struct job *job, const void *key)
{
    void *value = NULL;

    if (!job->abandon || !job->inbox)
        return job->state == JOB_LEFT ? NULL : osri_value_from(job->scope, key);
    osri_pool_lock();
    if (job->state != JOB_LEFT)
        value = osri_value_from(job->scope, key);
    osri_pool_unlock();
    return value;
}

/* In a worker process: the scope of the task that it works for, whose memory it has a copy of. */
static const struct osr_scope *scope_of_worker;

void osri_values_of_worker(const struct osr_scope *scope)
{
    scope_of_worker = scope;
}

void *osr_value(const void *key)
{
    struct sched *sched = osri_sched;

    osri_touch_all();
    if (sched && sched->current)
        return osri_value_from(sched->current->scope, key);
    if (sched && sched->calling_back)
        return osri_value_from(sched->calling, key);
    return osri_job ? value_in_job(osri_job, key) : osri_value_from(scope_of_worker, key);
}
