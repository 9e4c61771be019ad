#include "6_ready/pool.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "0_base/text.h"
#include "3_scope/slot.h"

enum { MOST_BY_DEFAULT = 32, MORE_THAN_PROCESSORS = 4, ON_THEIR_WAY = 1000000000 };

struct worker {
    pthread_t thread;
    sem_t woken;
    struct osr_list_ node, idle; /* among all or those that have ended; among those that have nothing to do */
};

/* All under the lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t gone;             /* a thread has ended */
    struct osr_list_ queue, running; /* jobs */
    struct osr_list_ workers, ended; /* threads; those that have ended are to be joined */
    struct osr_list_ idle;           /* the one that was last at work first: it is still warm */
    unsigned threads, busy;
    unsigned size; /* 0: as many as usual */
    unsigned usual;
    unsigned closers; /* those who wait for all threads to end */
    atomic_bool prepared;
    uint64_t begun;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Thread_local struct job *osri_job;

void osri_pool_lock(void)
{
    pthread_mutex_lock(&pool.lock);
}

void osri_pool_unlock(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* ---- Beginnings, and forked children ---- */

static void reset(void)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool.gone, &monotonic);
    pthread_condattr_destroy(&monotonic);
    list_init(&pool.queue);
    list_init(&pool.running);
    list_init(&pool.workers);
    list_init(&pool.ended);
    list_init(&pool.idle);
    pool.threads = pool.busy = pool.closers = 0;
}

static void forget(struct osr_list_ *workers)
{
    struct osr_list_ *node;

    while ((node = list_pop(workers)) != NULL)
        free(container_of(node, struct worker, node));
}

/* It has the calling thread only, and none of the jobs is its own. */
static void in_child(void)
{
    osri_job = NULL;
    osri_lender = NULL;
    osri_thread_who = "";
    forget(&pool.workers);
    forget(&pool.ended);
    reset();
    osri_pool_unlock();
}

static unsigned usual_size(void)
{
    long size = sysconf(_SC_NPROCESSORS_ONLN);

    size = (size < 1 ? 1 : size) + MORE_THAN_PROCESSORS;
    return size < MOST_BY_DEFAULT ? (unsigned)size : MOST_BY_DEFAULT;
}

static void prepare(void)
{
    reset();
    pool.usual = usual_size();
    pool.prepared = true;
    (void)pthread_atfork(osri_pool_lock, osri_pool_unlock, in_child);
}

static void be_prepared(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, prepare);
}

static void lock_prepared(void)
{
    be_prepared();
    osri_pool_lock();
}

static unsigned size_now(void)
{
    return pool.size > 0 ? pool.size : pool.usual;
}

/* ---- Running a job ---- */

/* What the job has called is back. In a forked child it is nobody's job, and nothing of the pool's is there. */
static void die_in_child(const struct job *job)
{
    if (osri_job != job)
        osri_die(NULL, "osier: job \"%s\", offloaded at %s, returned in a forked child, where its run does not go on\n",
                 job->name, place_or_unknown(job->where));
}

void osri_job_run(struct job *job)
{
    struct job *outer = osri_job;
    const char *who = osri_thread_who;

    be_prepared(); /* on the loop's own thread too: the job may fork */
    osri_job = job;
    osri_thread_who = job->who;
    job->rc = job->routine->run(job->arg);
    die_in_child(job);
    job->slot = osri_thread_slot;
    osri_thread_slot = (struct slot){0};
    osri_job = outer;
    osri_thread_who = who;
}

/* The lock is held. */
static void no_longer_runs(struct job *job)
{
    job->state = JOB_DONE;
    list_remove(&job->node);
    pool.busy--;
}

void osri_job_abandon(struct job *job)
{
    struct job *outer = osri_job;

    osri_job = job;
    job->abandon(job->arg, job->rc);
    die_in_child(job);
    osri_job = outer;
    if (job->inbox) {
        osri_pool_lock();
        no_longer_runs(job);
        osri_pool_unlock();
    }
    osri_slot_clear(&osri_thread_slot);
    osri_slot_clear(&job->slot);
    free(container_of(job, struct loose_job, job));
}

/* ---- Threads ---- */

/* Takes a thread out of those that are idle, for somebody to wake; NULL if there is none. The lock is held. */
static struct worker *pop_idle(void)
{
    struct osr_list_ *node = list_pop(&pool.idle);

    return node ? container_of(node, struct worker, idle) : NULL;
}

/* Idle threads see whether they are to end. The lock is held. */
static void wake_all(void)
{
    struct worker *worker;

    while ((worker = pop_idle()) != NULL)
        sem_post(&worker->woken);
}

/* Whether there is nothing to do for a thread, and it is not to end. From here on it counts as idle then, and has to wait
 * until it is woken. The lock is held. */
static bool becomes_idle(struct worker *worker)
{
    if (!list_empty(&pool.queue) || pool.closers > 0 || pool.threads > size_now())
        return false;
    list_append(pool.idle.next, &worker->idle);
    return true;
}

/* Waits without the lock, so that waking costs no more than it has to. Takes the lock again. */
static void wait_until_woken(struct worker *worker)
{
    while (sem_wait(&worker->woken) < 0)
        continue;
    osri_pool_lock();
}

/* The job is done: tells its caller, if that still waits. Who is told may have the next job at once, and it is this thread
 * that is at hand then. The lock is held before and after. */
static void end_job(struct worker *worker, struct job *job)
{
    bool left = job->state == JOB_LEFT, idle;

    if (!left)
        no_longer_runs(job);
    idle = !left && becomes_idle(worker);
    osri_pool_unlock();
    if (left)
        osri_job_abandon(job);
    else
        osri_inbox_put(job->inbox, &job->parcel);
    if (idle)
        wait_until_woken(worker);
    else
        osri_pool_lock();
}

/* The next job, waited for; NULL if the thread is to end. The lock is held. */
static struct job *next_job(struct worker *worker)
{
    struct job *job;

    while (becomes_idle(worker)) {
        osri_pool_unlock();
        wait_until_woken(worker);
    }
    if (list_empty(&pool.queue) || pool.threads > size_now()) /* of whom there are too many, the others take the job */
        return NULL;
    job = container_of(list_pop(&pool.queue), struct job, node);
    job->state = JOB_RUNNING;
    job->number = ++pool.begun;
    job->begun = osri_sys_clock();
    list_append(&pool.running, &job->node);
    pool.busy++;
    return job;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct job *job;

    (void)pthread_setname_np(pthread_self(), "osier-pool");
    osri_pool_lock();
    while ((job = next_job(worker)) != NULL) {
        osri_pool_unlock();
        osri_job_run(job);
        osri_pool_lock();
        end_job(worker, job);
    }
    pool.threads--;
    list_remove(&worker->node);
    list_append(&pool.ended, &worker->node);
    pthread_cond_broadcast(&pool.gone);
    osri_pool_unlock();
    return NULL;
}

static void discard(struct worker *worker)
{
    sem_destroy(&worker->woken);
    free(worker);
}

/* Joins the threads that are gone. Others that have ended may still be at what the program has them do at their end, which
 * may take long, or need a run's loop or the lock. The lock is held. */
static void join_gone(void)
{
    struct osr_list_ *node, *next;

    for (node = pool.ended.next; node != &pool.ended; node = next) {
        struct worker *worker = container_of(node, struct worker, node);

        next = node->next;
        if (pthread_tryjoin_np(worker->thread, NULL) != 0)
            continue;
        list_remove(node);
        discard(worker);
    }
}

/* By asking again, since ThreadSanitizer does not know pthread_clockjoin_np(). */
static int join_until(const struct worker *worker, int64_t until)
{
    const struct timespec nap = {0, 100000};
    int rc;

    if (until == OSR_NEVER)
        return pthread_join(worker->thread, NULL);
    while ((rc = pthread_tryjoin_np(worker->thread, NULL)) != 0 && osri_sys_clock() < until)
        (void)nanosleep(&nap, NULL);
    return rc;
}

/* Joins all threads that have ended, until that moment on the real clock. The lock is held, but not meanwhile. Whether all
 * are gone. */
static bool join_ended(int64_t until)
{
    struct osr_list_ *node;

    while ((node = list_pop(&pool.ended)) != NULL) {
        struct worker *worker = container_of(node, struct worker, node);
        int rc;

        osri_pool_unlock();
        rc = join_until(worker, until);
        osri_pool_lock();
        if (rc != 0) {
            list_append(&pool.ended, node);
            return false;
        }
        discard(worker);
    }
    return true;
}

/* Signals are for the program's own threads. The lock is held. 0 or -EAGAIN. */
static int start_thread(void)
{
    struct worker *worker = malloc(sizeof(*worker));
    sigset_t all, kept;
    int rc;

    join_gone();
    if (!worker)
        return -EAGAIN;
    sem_init(&worker->woken, 0, 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    rc = pthread_create(&worker->thread, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (rc != 0) {
        free(worker);
        return -EAGAIN;
    }
    list_append(&pool.workers, &worker->node); /* before it has the lock */
    pool.threads++;
    return 0;
}

/* ---- Queueing ---- */

/* A thread that can take one more job; NULL if all are busy, which they may be as long as there are any: then one of
 * them takes it later. The lock is held. 0 or -EAGAIN. */
static int find_thread(struct worker **idle)
{
    *idle = pop_idle();
    if (*idle || pool.threads >= size_now() || start_thread() == 0)
        return 0;
    return pool.threads > 0 ? 0 : -EAGAIN;
}

int osri_pool_add(struct job *job)
{
    struct worker *idle;
    int rc;

    lock_prepared();
    rc = find_thread(&idle);
    if (rc == 0) {
        job->state = JOB_QUEUED;
        list_append(&pool.queue, &job->node);
    }
    osri_pool_unlock();
    if (idle)
        sem_post(&idle->woken);
    return rc;
}

enum job_state osri_pool_leave(struct job *job)
{
    enum job_state state;

    osri_pool_lock();
    state = job->state;
    if (state == JOB_QUEUED) {
        list_remove(&job->node);
    } else {
        atomic_store(&job->cancelled, true);
        if (state == JOB_RUNNING && job->abandon)
            job->state = JOB_LEFT;
    }
    osri_pool_unlock();
    return state;
}

/* ---- For the program ---- */

int osr_pool_set_size(unsigned size)
{
    if (size == 0)
        return osri_failed(-EINVAL, NULL);
    osri_touch_all();
    lock_prepared();
    pool.size = size;
    wake_all();
    osri_pool_unlock();
    return 0;
}

unsigned osr_pool_size(void)
{
    unsigned size;

    osri_touch_all();
    lock_prepared();
    size = size_now();
    osri_pool_unlock();
    return size;
}

/* Says of the running job after the `last` one, which is not later than `until`, what it is: its number, 0 if there is
 * none. */
static uint64_t describe_next(uint64_t last, uint64_t until, char *line, size_t size)
{
    struct osr_list_ *node;
    uint64_t number = 0;

    osri_pool_lock();
    for (node = pool.running.next; node != &pool.running && number == 0; node = node->next) {
        const struct job *job = container_of(node, struct job, node);
        int64_t ran = osri_sys_clock() - job->begun;

        if (job->number <= last || job->number > until)
            continue;
        number = job->number;
        snprintf(line, size, "osier: job \"%s\", offloaded at %s, is stuck: it has run for %lld.%03lld s\n", job->name,
                 place_or_unknown(job->where), (long long)(ran / 1000000000), (long long)(ran / 1000000 % 1000));
    }
    osri_pool_unlock();
    return number;
}

/* Outside the lock, since `diagnose` is the program's. */
static void name_running(void (*diagnose)(void *arg, const char *text), void *arg)
{
    char line[512];
    uint64_t last = 0, until;

    osri_pool_lock();
    until = pool.begun;
    osri_pool_unlock();
    while ((last = describe_next(last, until, line, sizeof(line))) != 0)
        if (diagnose)
            diagnose(arg, line);
        else
            osri_diagnose(NULL, OSR_DIAGNOSIS_LEAK, "%s", line);
}

/* A second from now at the earliest. */
static int64_t at_least_a_moment(int64_t until)
{
    int64_t moment = osri_sys_clock() + ON_THEIR_WAY;

    return until > moment ? until : moment;
}

/* Waits for the next thread to end, until the moment `until` on the real clock; a second more for those that have
 * nothing to do, since they are on their way out. The lock is held. Whether it was in time. */
static bool wait_for_end(int64_t until)
{
    struct timespec at;

    if (pool.threads > pool.busy)
        until = at_least_a_moment(until);
    if (until == OSR_NEVER)
        return pthread_cond_wait(&pool.gone, &pool.lock) == 0;
    at = (struct timespec){until / 1000000000, until % 1000000000};
    return pthread_cond_timedwait(&pool.gone, &pool.lock, &at) == 0;
}

/* Has all threads end that have nothing to do, and waits for them until that moment, also for those that are busy. Says
 * whether all are gone. */
static bool end_threads(int64_t until, bool also_busy)
{
    bool gone;

    osri_pool_lock();
    pool.closers++;
    wake_all();
    while (pool.threads > (also_busy ? 0 : pool.busy) && wait_for_end(until))
        continue;
    gone = pool.threads == 0;
    pool.closers--;
    gone &= join_ended(at_least_a_moment(until));
    osri_pool_unlock();
    return gone;
}

int osr_pool_shutdown(int64_t grace, void (*diagnose)(void *arg, const char *text), void *arg)
{
    if (osri_sched || osri_job)
        return osri_failed(-EPERM, NULL);
    if (grace == OSR_TIME_INVALID)
        return osri_failed(-EINVAL, NULL);
    if (!pool.prepared || end_threads(osr_time_add(osri_sys_clock(), grace > 0 ? grace : 0), true))
        return 0;
    name_running(diagnose, arg);
    return osri_failed(-ETIMEDOUT, NULL);
}

/* Idle threads end with the program, so that nothing of them is found left behind. */
__attribute__((destructor)) static void end_at_exit(void)
{
    if (pool.prepared)
        (void)end_threads(0, false);
}
