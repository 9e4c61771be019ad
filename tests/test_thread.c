/* Offloading: jobs in threads, their races with cancellation, the pool. */
#include "harness.h"

#include <osier/wait.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "0_base/tools.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static int end_thread_test(void **state)
{
    bool shut_down = osr_pool_shutdown(osr_s(10), NULL, NULL) == 0 && osr_pool_set_size(4) == 0;

    return end_with_descriptors(state) < 0 || !shut_down ? -1 : 0;
}

#define thread_test(function) cmocka_unit_test_setup_teardown(function, begin_with_descriptors, end_thread_test)

/* A job that is held: it says when it has begun, and ends when it is let go. Jobs must not use check(). */
struct held {
    sem_t begun, go, ended;
    int gives;
    int checks[2]; /* osr_job_check() at the beginning and at the end */
    atomic_bool ran;
};

static void held_init(struct held *held, int gives)
{
    sem_init(&held->begun, 0, 0);
    sem_init(&held->go, 0, 0);
    sem_init(&held->ended, 0, 0);
    held->gives = gives;
    held->checks[0] = held->checks[1] = 1;
    atomic_init(&held->ran, false);
}

static void take(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        continue;
}

OSR_JOB(hold, struct held, held)
{
    atomic_store(&held->ran, true);
    held->checks[0] = osr_job_check();
    sem_post(&held->begun);
    take(&held->go);
    held->checks[1] = osr_job_check();
    if (held->gives == -EIO)
        return osr_fail(-EIO, "the disk is on fire");
    return held->gives;
}

/* A task that offloads it, and keeps what it gave. */
struct offloading {
    struct held *held;
    void (*abandon)(void *arg, int rc);
    bool left;
    int gave, next;
};

OSR_TASK(offload_it, struct offloading, o)
{
    o->gave = osr_offload(hold, o->held, .name = "held", .abandon = o->abandon, .left = &o->left);
    o->next = osr_check();
    return o->gave == -ECANCELED || o->next == -ECANCELED ? -ECANCELED : o->gave;
}

/* Waits without waiting in a task's way: lets other tasks run until the job has begun. */
static void until_begun(struct held *held)
{
    while (sem_trywait(&held->begun) < 0)
        check_int(osr_sleep(osr_us(20)), 0);
}

OSR_TASK(sleep_for_ever, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_JOB(give_seven, void, unused) { return 7; }

/* ---- Settling ------------------------------------------------------------------------------------------ */

OSR_JOB(count_a_run, int, runs)
{
    ++*runs;
    return 0;
}

static void count_a_destruction(void *arg, int rc)
{
    check_int(rc, 0);
    *(int *)arg += 100;
}

OSR_TASK(leave_a_job_behind, int, runs)
{
    return osr_offload(count_a_run, runs, .abandon = count_a_destruction);
}

/* The jobs have begun, for all that their callers know. */
static unsigned choose_begun(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_JOB && strcmp(what, "begun") == 0;
}

OSR_TASK(settle_with_jobs_left_behind, void, unused)
{
    struct osr_group group;
    int runs = 0, i;

    osr_jobs_allow(0);
    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        check_int(osr_spawn(&group, leave_a_job_behind, &runs), 0);
    osr_yield();
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_settle(), 0);
    check_int(runs, 0);
    osr_jobs_allow(3);
    check_int(osr_settle(), 0);
    check_int(runs, 303);
    return 0;
}

TEST(nothing_is_settled_while_a_job_may_run_that_was_left_behind)
{
    assert_int_equal(run_simulated(settle_with_jobs_left_behind, NULL, .choose = choose_begun), 0);
    assert_checked();
}

/* ---- Running ------------------------------------------------------------------------------------------- */

struct seen {
    pthread_t thread;
    char name[32];
    bool usr1_blocked;
    int sleep, spawn, shutdown;
};

OSR_JOB(look_around, struct seen, seen)
{
    struct osr_group group;
    sigset_t blocked;

    seen->thread = pthread_self();
    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    seen->usr1_blocked = sigismember(&blocked, SIGUSR1) == 1;
    seen->sleep = osr_sleep(1);
    osr_group_open(&group);
    seen->spawn = osr_spawn(&group, sleep_for_ever, NULL);
    seen->shutdown = osr_pool_shutdown(0, NULL, NULL);
    return 7;
}

REAL_TEST(a_job_runs_in_a_thread_of_the_pool_and_gives_its_result)
{
    struct seen seen = {0};

    check_int(osr_offload(look_around, &seen), 7);
    check(!pthread_equal(seen.thread, pthread_self()));
    check_text(seen.name, "osier-pool");
    check(seen.usr1_blocked);
    check_int(seen.sleep, -EPERM);
    check_int(seen.spawn, -EPERM);
    check_int(seen.shutdown, -EPERM);
    check(osr_error_last() == NULL);
    return 0;
}

REAL_TEST(while_a_job_runs_the_other_tasks_go_on)
{
    struct offloading offloading = {.next = 1};
    struct osr_group group;
    struct held held;

    held_init(&held, 5);
    offloading.held = &held;
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading);
    until_begun(&held);
    check_int(osr_sleep(osr_us(100)), 0);
    sem_post(&held.go);
    check_int(osr_group_close(&group, 0), 0);
    check_int(offloading.gave, 5);
    check_int(held.checks[0], 0);
    check_int(held.checks[1], 0);
    return 0;
}

/* Only a running job is left that could ever wake anybody. */
REAL_TEST(a_running_job_keeps_a_run_from_being_taken_for_stuck)
{
    struct held held;

    held_init(&held, 3);
    sem_post(&held.go);
    check_int(osr_offload(hold, &held), 3);
    return 0;
}

OSR_TASK(wait_for_ever_afterwards, void, unused)
{
    check_int(osr_offload(give_seven, NULL), 7);
    return osr_sleep(OSR_NEVER);
}

TEST(after_the_last_job_a_run_may_be_stuck_again)
{
    assert_int_equal(osr_run(wait_for_ever_afterwards, NULL), -OSR_EDEADLOCK);
    assert_int_equal(osr_run(wait_for_ever_afterwards, NULL, .clock = OSR_CLOCK_SIMULATED), -OSR_EDEADLOCK);
    assert_checked();
}

SIMULATED_TEST(what_makes_no_sense_is_refused)
{
    const struct osr_offload_options odd = {.size = 1};
    const struct osr_map_options map_odd = {.size = 1}, negative = {.size = sizeof(negative), .limit = -1};
    const struct osr_routine none = {NULL, "none", NULL};
    int items[2];

    check_int(osr_offload_with(NULL, NULL, NULL), -EINVAL);
    check_int(osr_offload_with(&none, NULL, NULL), -EINVAL);
    check_int(osr_offload_with(&give_seven.routine_, NULL, &odd), -EINVAL);
    check_int(osr_offload_with(&give_seven.routine_, NULL, NULL), 7);
    check_int(osr_map_with(NULL, items, 2, sizeof(int), NULL), -EINVAL);
    check_int(osr_map_with(&none, items, 2, sizeof(int), NULL), -EINVAL);
    check_int(osr_map_with(&give_seven.routine_, NULL, 2, sizeof(int), NULL), -EINVAL);
    check_int(osr_map_with(&give_seven.routine_, items, SIZE_MAX, sizeof(int), NULL), -EINVAL);
    check_int(osr_map_with(&give_seven.routine_, items, 2, sizeof(int), &map_odd), -EINVAL);
    check_int(osr_map_with(&give_seven.routine_, items, 2, sizeof(int), &negative), -EINVAL);
    check_int(osr_map_with(&give_seven.routine_, NULL, 0, sizeof(int), NULL), 0);
    check_int(osr_map_with(&give_seven.routine_, items, 2, sizeof(int), NULL), 0);
    check_int(osr_map_with(&give_seven.routine_, items, 2, 0, NULL), 0); /* the same item for all */
    check_int(osr_job_check(), -EPERM);
    check_int(osr_pool_set_size(0), -EINVAL);
    check_int(osr_pool_shutdown(0, NULL, NULL), -EPERM);
    return 0;
}

TEST(outside_a_task_there_is_no_offloading)
{
    int items[2];

    assert_int_equal(osr_offload(give_seven, NULL), -EPERM);
    assert_int_equal(osr_map(give_seven, items, 2), -EPERM);
    assert_int_equal(osr_job_check(), -EPERM);
    assert_null(osr_value(items));
    assert_int_equal(osr_pool_shutdown(OSR_TIME_INVALID, NULL, NULL), -EINVAL);
}

/* ---- Errors -------------------------------------------------------------------------------------------- */

struct failing {
    int fails, gives;
    bool wraps;
};

OSR_JOB(fail_in_it, struct failing, f)
{
    if (f->fails)
        (void)osr_fail(f->fails, "while working");
    return f->wraps ? osr_wrap(f->gives, "and around it") : f->gives;
}

static struct osr_error *error_of(int fails, int gives, bool wraps, int gave)
{
    struct failing failing = {fails, gives, wraps};

    osr_error_clear();
    check_int(osr_offload(fail_in_it, &failing, .name = "fails"), gave);
    return osr_error_last();
}

static void errors_come_back(void)
{
    struct osr_error *error = error_of(-EIO, -EIO, false, -EIO);

    check_int(osr_error_code(error), -EIO);
    check_text(osr_error_message(error), "while working");
    check_text(osr_error_task(error), "root");
    check(strstr(osr_error_where(error), "test_thread.c:") != NULL);

    error = error_of(-EIO, -EIO, true, -EIO);
    check_text(osr_error_message(error), "and around it");
    check_text(osr_error_message(osr_error_cause(error)), "while working");

    error = error_of(-EIO, -EPROTO, false, -EPROTO);
    check_int(osr_error_code(error), -EPROTO);
    check_int(osr_error_code(osr_error_cause(error)), -EIO);

    error = error_of(0, -EPROTO, false, -EPROTO);
    check_int(osr_error_code(error), -EPROTO);
    check(osr_error_cause(error) == NULL);

    check(error_of(-EIO, 4, false, 4) == NULL);
}

REAL_TEST(the_error_of_a_job_comes_back_into_the_task)
{
    errors_come_back();
    osr_error_clear();
    return 0;
}

SIMULATED_TEST(and_so_it_does_under_the_simulated_clock)
{
    errors_come_back();
    osr_error_clear();
    return 0;
}

OSR_TASK(offload_a_failure, void, unused)
{
    struct failing failing = {-EIO, -EIO, false};

    return osr_offload(fail_in_it, &failing);
}

REAL_TEST(the_error_of_a_job_stands_in_the_tree_of_the_group)
{
    struct osr_group group;
    const struct osr_error *leaf;

    osr_group_open(&group);
    osr_spawn(&group, offload_a_failure, NULL, .name = "reader");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    leaf = osr_error_find(osr_error_last(), -EIO);
    check_text(osr_error_task(leaf), "reader");
    check_text(osr_error_message(leaf), "while working");
    osr_error_clear();
    return 0;
}

/* ---- Cancelling ---------------------------------------------------------------------------------------- */

REAL_TEST(in_a_cancelled_scope_nothing_is_offloaded)
{
    struct osr_scope scope;
    struct held held;

    held_init(&held, 0);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_offload(hold, &held), -ECANCELED);
    check(!atomic_load(&held.ran));
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    osr_timeout_open(&scope, 0);
    check_int(osr_offload(hold, &held), -ECANCELED);
    check(!atomic_load(&held.ran));
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

static atomic_int abandoned;

static void note_abandoned(void *arg, int rc)
{
    struct held *held = arg;

    held->gives = rc;
    atomic_fetch_add(&abandoned, osr_job_check() == -ECANCELED);
    sem_post(&held->ended);
}

OSR_TASK(offload_in_a_cancelled_scope, void, unused)
{
    struct osr_scope scope;
    struct held held;
    bool left = true;

    held_init(&held, 1);
    osr_move_on_open(&scope, 0);
    check_int(osr_offload(hold, &held, .left = &left), -ECANCELED);
    check(!left);
    return osr_scope_close(&scope, -ECANCELED);
}

TEST(a_job_that_was_refused_was_not_left_behind)
{
    assert_int_equal(osr_run(offload_in_a_cancelled_scope, NULL), 0);
    assert_checked();
}

static void withdraw(void (*abandon)(void *arg, int rc))
{
    struct offloading first = {.gave = 1}, second = {.gave = 1, .abandon = abandon, .left = true};
    struct held busy, waiting;
    struct osr_group group;
    struct osr_task handle;

    check_int(osr_pool_set_size(1), 0);
    held_init(&busy, 1);
    held_init(&waiting, 2);
    first.held = &busy;
    second.held = &waiting;
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &first);
    until_begun(&busy);
    osr_spawn(&group, offload_it, &second, .handle = &handle);
    check_int(osr_yield(), 0);
    check_int(osr_task_cancel(handle, NULL), 0);
    check_int(osr_task_join(handle), -OSR_ETASKCANCELED);
    check_int(second.gave, -ECANCELED);
    check(!second.left);
    sem_post(&busy.go);
    check_int(osr_group_close(&group, 0), 0);
    check_int(first.gave, 1);
    check(!atomic_load(&waiting.ran));
}

REAL_TEST(a_job_that_has_not_begun_is_withdrawn)
{
    atomic_store(&abandoned, 0);
    withdraw(NULL);
    withdraw(note_abandoned);
    check_int(atomic_load(&abandoned), 0);
    return 0;
}

/* Cancels the task that waits for a running job, and lets the job give something then. */
static void cancel_running(int gives, struct offloading *o, struct held *held, int joined)
{
    struct osr_group group;
    struct osr_task handle;

    held_init(held, gives);
    o->held = held;
    o->gave = o->next = 1;
    osr_group_open(&group);
    osr_spawn(&group, offload_it, o, .handle = &handle);
    until_begun(held);
    check_int(osr_task_cancel(handle, NULL), 0);
    check_int(osr_sleep(osr_us(100)), 0);
    check_int(o->gave, 1);
    sem_post(&held->go);
    check_int(osr_task_join(handle), joined);
    check_int(held->checks[0], 0);
    check_int(held->checks[1], -ECANCELED);
    check_int(osr_group_close(&group, 0), joined == -EIO ? -OSR_EGROUP : 0);
    osr_error_clear();
}

REAL_TEST(a_running_job_is_waited_for_and_its_result_wins)
{
    struct offloading offloading = {0};
    struct held held;

    cancel_running(42, &offloading, &held, -OSR_ETASKCANCELED);
    check_int(offloading.gave, 42);
    check_int(offloading.next, -ECANCELED); /* the next cancellation point says it */
    return 0;
}

/* 36: anyio 1113. A thread acknowledges the cancellation, and the scope that was cancelled takes it up. */
REAL_TEST(a_job_that_gives_up_when_its_caller_is_cancelled_counts_as_cancelled)
{
    struct offloading offloading = {0};
    struct held held;

    cancel_running(-ECANCELED, &offloading, &held, -OSR_ETASKCANCELED);
    check_int(offloading.gave, -ECANCELED);
    return 0;
}

OSR_JOB(poll_until_cancelled, struct held, held)
{
    sem_post(&held->begun);
    while (osr_job_check() == 0)
        usleep(100);
    return held->gives;
}

struct limit {
    struct osr_scope *scope;
    struct held *held;
};

/* Its deadline is set when the job runs, and has passed then. */
OSR_TASK(let_it_pass, struct limit, limit)
{
    until_begun(limit->held);
    return osr_scope_set_deadline(limit->scope, osr_now());
}

/* Offloads inside a scope whose deadline passes while the job runs. */
static int offload_beyond_the_limit(struct osr_scope *scope, int gives, int offloaded)
{
    struct held held;
    struct limit limit = {scope, &held};
    struct osr_group group;
    int rc;

    held_init(&held, gives);
    osr_group_open(&group);
    osr_timeout_open(scope, OSR_NEVER);
    osr_spawn(&group, let_it_pass, &limit);
    rc = osr_offload(poll_until_cancelled, &held);
    check_int(rc, offloaded);
    check(osr_scope_cancelled(scope));
    rc = osr_scope_close(scope, rc);
    check_int(osr_group_close(&group, 0), 0);
    return rc;
}

REAL_TEST(a_thread_that_acknowledges_a_deadline_is_absorbed_by_its_scope)
{
    struct osr_scope scope;

    check_int(offload_beyond_the_limit(&scope, -ECANCELED, -ECANCELED), -ETIMEDOUT);
    check(osr_scope_caught(&scope));
    check_int(osr_check(), 0);
    return 0;
}

/* It has cut nothing, and being late is a success (R22). */
REAL_TEST(a_limit_that_passes_while_a_job_runs_has_cut_nothing)
{
    struct osr_scope scope;

    check_int(offload_beyond_the_limit(&scope, 4, 4), 4);
    check(!osr_scope_caught(&scope));
    return 0;
}

REAL_TEST(a_cancellation_that_a_job_invents_is_spurious)
{
    struct failing failing = {0, -ECANCELED, false};

    check_int(osr_offload(fail_in_it, &failing), -OSR_ESPURIOUS);
    check_int(osr_error_code(osr_error_last()), -OSR_ESPURIOUS);
    osr_error_clear();
    return 0;
}

/* The job is done before the cancellation, and its parcel is on its way. */
REAL_TEST(what_was_done_before_the_cancellation_stays_done)
{
    long i, rounds = sized(200, 20);

    for (i = 0; i < rounds; i++) {
        struct offloading offloading = {.gave = 1, .next = 1, .abandon = i % 2 ? note_abandoned : NULL};
        struct osr_group group;
        struct osr_task handle;
        struct held held;

        held_init(&held, 11);
        offloading.held = &held;
        osr_group_open(&group);
        osr_spawn(&group, offload_it, &offloading, .handle = &handle);
        sem_post(&held.go);
        check_int(osr_yield(), 0);
        take(&held.begun); /* blocks the loop: nothing can be delivered meanwhile */
        usleep(200);       /* it is done with by now, or as good as */
        check_int(osr_task_cancel(handle, NULL), 0);
        check_int(osr_task_join(handle), -OSR_ETASKCANCELED);
        if (offloading.gave == -ECANCELED && offloading.abandon)
            take(&held.ended); /* it was not, on a busy machine */
        else
            check_int(offloading.gave, 11);
        check_int(osr_group_close(&group, 0), 0);
    }
    return 0;
}

OSR_TASK(sleep_an_hour, void, unused) { return osr_sleep(osr_s(3600)); }

SIMULATED_TEST(the_simulated_clock_does_not_jump_over_a_job)
{
    struct osr_group group;
    int64_t before = osr_now();

    osr_group_open(&group);
    osr_spawn(&group, sleep_an_hour, NULL);
    check_int(osr_yield(), 0);
    check_int(osr_offload(give_seven, NULL), 7);
    check_int(osr_now(), before);
    return osr_group_close(&group, 0);
}

/* On a task's stack there is no room for a job: an entry check that looks at the world leaves jobs alone. */
SIMULATED_TEST(a_simulated_job_does_not_run_on_a_tasks_stack)
{
    struct offloading offloading = {.gave = 1};
    struct osr_scope scope;
    struct osr_group group;
    struct held held;

    held_init(&held, 0);
    sem_post(&held.go);
    offloading.held = &held;
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading);
    check_int(osr_yield(), 0);
    osr_timeout_open_at(&scope, osr_now());
    check_int(osr_check(), -ECANCELED);
    check(!atomic_load(&held.ran));
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    check_int(osr_group_close(&group, 0), 0);
    check(atomic_load(&held.ran));
    return 0;
}

/* Cancels the caller of a simulated job after so many steps. Says whether the job ran all the same. */
static bool ran_though_cancelled(int steps)
{
    struct offloading offloading = {.gave = 1};
    struct osr_group group;
    struct osr_task handle;
    struct held held;
    int i;

    held_init(&held, 3);
    sem_post(&held.go);
    offloading.held = &held;
    for (i = 0; i < steps; i++)
        check_int(osr_yield(), 0);
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading, .handle = &handle);
    check_int(osr_yield(), 0);
    osr_task_cancel(handle, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(offloading.gave, atomic_load(&held.ran) ? 3 : -ECANCELED);
    return atomic_load(&held.ran) && held.checks[0] == -ECANCELED;
}

/* If the loop looks between the cancellation and the caller's turn, the job has begun by then. */
SIMULATED_TEST(a_simulated_job_may_begin_just_before_its_caller_hears_of_the_cancellation)
{
    int steps, ran = 0;

    for (steps = 0; steps < 300; steps++)
        ran += ran_though_cancelled(steps);
    check(ran > 0);
    return 0;
}

struct limited {
    struct osr_scope scope;
    int gave, next, closed;
};

OSR_TASK(offload_under_a_limit, struct limited, l)
{
    osr_timeout_open(&l->scope, OSR_NEVER);
    l->gave = osr_offload(give_seven, NULL);
    l->next = osr_check();
    l->closed = osr_scope_close(&l->scope, l->gave);
    return 0;
}

/* At one look of the loop the job is done first, and then the scope is cancelled that is due. */
SIMULATED_TEST(what_is_done_at_the_moment_of_the_deadline_is_done)
{
    struct limited limited = {.gave = 1};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, offload_under_a_limit, &limited);
    check_int(osr_yield(), 0);
    check_int(osr_scope_set_deadline(&limited.scope, osr_now()), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(limited.gave, 7);
    check_int(limited.next, -ECANCELED);
    check_int(limited.closed, -ETIMEDOUT);
    return 0;
}

OSR_JOB(count_run, atomic_int, count)
{
    atomic_fetch_add(count, 1);
    return 1;
}

struct counted {
    atomic_int *ran;
    int gave;
};

OSR_TASK(offload_counted, struct counted, c)
{
    c->gave = osr_offload(count_run, c->ran);
    return c->gave;
}

REAL_TEST(cancelling_at_any_moment_runs_a_job_once_or_not_at_all)
{
    long i, rounds = sized(2000, 200);

    check_int(osr_pool_set_size(2), 0);
    for (i = 0; i < rounds; i++) {
        atomic_int ran[3] = {0};
        struct counted counted[3];
        struct osr_group group;
        int j;

        osr_group_open(&group);
        for (j = 0; j < 3; j++) {
            counted[j] = (struct counted){&ran[j], 1000};
            osr_spawn(&group, offload_counted, &counted[j]);
        }
        for (j = 0; j < i % 4; j++)
            check_int(osr_yield(), 0);
        osr_group_cancel(&group, NULL);
        check_int(osr_group_close(&group, 0), 0);
        for (j = 0; j < 3; j++)
            check_int(counted[j].gave == 1 ? 1 : 0, atomic_load(&ran[j]));
    }
    return 0;
}

/* ---- Leaving jobs behind ------------------------------------------------------------------------------- */

REAL_TEST(a_job_may_be_left_behind_and_what_it_gives_goes_to_its_destructor)
{
    struct offloading offloading = {.gave = 1, .abandon = note_abandoned};
    struct osr_group group;
    struct osr_task handle;
    struct held held;

    atomic_store(&abandoned, 0);
    held_init(&held, -EIO);
    offloading.held = &held;
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading, .handle = &handle);
    until_begun(&held);
    check_int(osr_task_cancel(handle, NULL), 0);
    check_int(osr_task_join(handle), -OSR_ETASKCANCELED);
    check_int(offloading.gave, -ECANCELED);
    check(offloading.left); /* so the argument is no longer ours */
    check_int(osr_group_close(&group, 0), 0);
    check_int(atomic_load(&abandoned), 0);
    sem_post(&held.go);
    take(&held.ended);
    check_int(held.checks[1], -ECANCELED);
    check_int(held.gives, -EIO);
    check_int(atomic_load(&abandoned), 1);
    return 0;
}

REAL_TEST(a_job_that_is_not_left_behind_does_not_need_its_destructor)
{
    struct held held;

    atomic_store(&abandoned, 0);
    held_init(&held, 6);
    sem_post(&held.go);
    check_int(osr_offload(hold, &held, .abandon = note_abandoned), 6);
    check_int(atomic_load(&abandoned), 0);
    return 0;
}

OSR_TASK(leave_it_behind, struct held, held)
{
    struct offloading offloading = {.gave = 1, .abandon = note_abandoned, .held = held};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading);
    until_begun(held);
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

TEST(a_job_that_was_left_behind_may_outlive_its_run)
{
    struct held held;

    atomic_store(&abandoned, 0);
    held_init(&held, 8);
    assert_int_equal(osr_run(leave_it_behind, &held, .debug = true), 0);
    assert_checked();
    sem_post(&held.go);
    take(&held.ended);
    assert_int_equal(held.gives, 8);
    assert_int_equal(atomic_load(&abandoned), 1);
}

OSR_TASK(leave_it_behind_and_wait_for_nothing, struct held, held)
{
    int rc = leave_it_behind_body_(held);

    return rc < 0 ? rc : osr_sleep(OSR_NEVER);
}

TEST(a_job_that_was_left_behind_keeps_no_run_from_being_stuck)
{
    struct held held;

    held_init(&held, 8);
    assert_int_equal(osr_run(leave_it_behind_and_wait_for_nothing, &held, .debug = true), -OSR_EDEADLOCK);
    assert_checked();
    sem_post(&held.go);
    take(&held.ended);
}

/* ---- Values -------------------------------------------------------------------------------------------- */

static const char request_key, other_key;

struct reading {
    struct held held;
    const char *at_first, *other, *at_last, *other_at_last;
};

OSR_JOB(read_values, struct reading, r)
{
    r->at_first = osr_value(&request_key);
    r->other = osr_value(&other_key);
    sem_post(&r->held.begun);
    take(&r->held.go);
    r->at_last = osr_value(&request_key);
    r->other_at_last = osr_value(&other_key);
    return 0;
}

static void forget_values(void *arg, int rc)
{
    struct reading *reading = arg;

    (void)rc;
    if (osr_value(&request_key))
        reading->at_last = "seen in the destructor";
    sem_post(&reading->held.ended);
}

static char request[] = "GET /";

OSR_TASK(offload_reading, struct reading, reading)
{
    struct osr_binding binding;

    check_int(osr_bind(&binding, &request_key, request), 0);
    check_text(osr_value(&request_key), request);
    return osr_offload(read_values, reading, .abandon = forget_values);
}

REAL_TEST(a_job_sees_the_values_of_its_callers_scopes)
{
    struct reading reading = {.other = request};

    held_init(&reading.held, 0);
    sem_post(&reading.held.go);
    check_int(offload_reading_body_(&reading), 0);
    check_text(reading.at_first, request);
    check_text(reading.at_last, request);
    check(reading.other == NULL);
    return 0;
}

REAL_TEST(a_job_that_was_left_behind_sees_them_no_more)
{
    struct reading reading = {.at_last = request, .other_at_last = request};
    struct osr_binding binding;
    struct osr_group group;

    held_init(&reading.held, 0);
    check_int(osr_bind(&binding, &other_key, request), 0); /* which stays, further out than the task that is gone */
    osr_group_open(&group);
    osr_spawn(&group, offload_reading, &reading);
    until_begun(&reading.held);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    sem_post(&reading.held.go);
    take(&reading.held.ended);
    check_text(reading.at_first, request);
    check_text(reading.other, request);
    check(reading.at_last == NULL);
    check(reading.other_at_last == NULL);
    return 0;
}

/* ---- Many ---------------------------------------------------------------------------------------------- */

struct number {
    int in, out;
    atomic_int *at_once, *most;
};

OSR_JOB(square, struct number, n)
{
    if (n->at_once) {
        int now = atomic_fetch_add(n->at_once, 1) + 1, most = atomic_load(n->most);

        while (now > most && !atomic_compare_exchange_weak(n->most, &most, now))
            continue;
        usleep(200);
        atomic_fetch_sub(n->at_once, 1);
    }
    if (n->in < 0)
        return osr_fail(-EDOM, "%d has no root", n->in);
    n->out = n->in * n->in;
    return n->in;
}

REAL_TEST(a_map_does_all_items_under_its_limit_and_keeps_their_order)
{
    atomic_int at_once = 0, most = 0;
    struct number numbers[40];
    int results[40], i;

    for (i = 0; i < 40; i++)
        numbers[i] = (struct number){i, 0, &at_once, &most};
    check_int(osr_map(square, numbers, 40, .results = results, .limit = 3, .name = "squares"), 0);
    for (i = 0; i < 40; i++) {
        check_int(numbers[i].out, i * i);
        check_int(results[i], i);
    }
    check(atomic_load(&most) <= 3);
    check(atomic_load(&most) >= 1);
    check_int(osr_map(square, numbers, 40), 0);
    return 0;
}

SIMULATED_TEST(the_first_error_of_a_map_withdraws_the_jobs_that_have_not_begun)
{
    struct number numbers[20] = {{0}};
    int results[20], i, done = 0;

    numbers[1].in = -1;
    for (i = 0; i < 20; i++)
        results[i] = 1;
    check_int(osr_map(square, numbers, 20, .results = results), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), -EDOM) != NULL);
    check_int(results[0], 0);
    check_int(results[1], -EDOM);
    for (i = 2; i < 20; i++) {
        check(results[i] == 0 || results[i] == -ECANCELED);
        done += results[i] == 0;
    }
    check(done < 18);
    osr_error_clear();
    return 0;
}

SIMULATED_TEST(a_map_in_a_cancelled_scope_is_refused)
{
    struct number numbers[3] = {{0}};
    struct osr_scope scope;
    int results[3] = {1, 1, 1}, i;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_map(square, numbers, 3, .results = results), -ECANCELED);
    for (i = 0; i < 3; i++) /* who reads them cannot tell a refusal from a cut */
        check_int(results[i], -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

struct mapping {
    struct held held[3];
    int results[3], gave;
};

OSR_TASK(map_held, struct mapping, m)
{
    m->gave = osr_map(hold, m->held, 3, .results = m->results, .limit = 2);
    return m->gave;
}

REAL_TEST(a_map_that_is_cancelled_waits_for_those_that_run_and_withdraws_the_others)
{
    struct osr_group group;
    struct mapping m;
    int i;

    for (i = 0; i < 3; i++)
        held_init(&m.held[i], 10 + i);
    osr_group_open(&group);
    osr_spawn(&group, map_held, &m);
    until_begun(&m.held[0]);
    until_begun(&m.held[1]);
    osr_group_cancel(&group, NULL);
    sem_post(&m.held[0].go);
    sem_post(&m.held[1].go);
    check_int(osr_group_close(&group, 0), 0);
    check_int(m.gave, -ECANCELED);
    check_int(m.results[0], 10);
    check_int(m.results[1], 11);
    check_int(m.results[2], -ECANCELED);
    return 0;
}

/* ---- The pool ------------------------------------------------------------------------------------------ */

REAL_TEST(no_more_jobs_run_at_once_than_the_pool_has_threads)
{
    atomic_int at_once = 0, most = 0;
    struct number numbers[30];
    int i;

    check_int(osr_pool_set_size(2), 0);
    check_int(osr_pool_size(), 2);
    for (i = 0; i < 30; i++)
        numbers[i] = (struct number){i, 0, &at_once, &most};
    check_int(osr_map(square, numbers, 30, .limit = 30), 0);
    check_int(atomic_load(&most), 2);
    return 0;
}

static int threads_now(void)
{
    char line[128];
    int threads = -1;
    FILE *status = fopen("/proc/self/status", "r");

    while (status && fgets(line, sizeof(line), status))
        if (sscanf(line, "Threads: %d", &threads) == 1)
            break;
    if (status)
        fclose(status);
    return threads;
}

/* Threads end a moment after they have said so. */
static int threads_at_last(int wanted)
{
    int tries = 2000;

    while (threads_now() != wanted && --tries > 0)
        usleep(1000);
    return threads_now();
}

OSR_JOB(do_nothing, void, unused) { return 0; }

REAL_TEST(jobs_one_after_the_other_need_one_thread)
{
    int before, i;

    check_int(osr_offload(do_nothing, NULL), 0);
    before = threads_now();
    for (i = 0; i < 3000; i++) /* whether there would be a second one hangs on who is faster */
        check_int(osr_offload(do_nothing, NULL), 0);
    check_int(threads_now(), before);
    return 0;
}

OSR_TASK(use_four_threads, void, unused)
{
    struct mapping m;
    struct held more;
    struct offloading offloading = {.held = &more};
    struct osr_group group;
    int i;

    for (i = 0; i < 3; i++)
        held_init(&m.held[i], 0);
    held_init(&more, 0);
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading);
    until_begun(&more);
    for (i = 0; i < 3; i++)
        sem_post(&m.held[i].go);
    check_int(osr_map(hold, m.held, 3), 0);
    sem_post(&more.go);
    return osr_group_close(&group, 0);
}

TEST(threads_that_are_too_many_end_when_they_are_idle_and_all_at_a_shutdown)
{
    int before = threads_now();

    assert_int_equal(osr_run(use_four_threads, NULL), 0);
    assert_checked();
    assert_true(threads_now() > before + 1);
    assert_int_equal(osr_pool_set_size(1), 0);
    assert_int_equal(threads_at_last(before + 1), before + 1);
    assert_int_equal(osr_pool_shutdown(0, NULL, NULL), 0);
    assert_int_equal(threads_at_last(before), before);
    assert_int_equal(osr_pool_set_size(4), 0);
    assert_int_equal(osr_run(use_four_threads, NULL), 0); /* they are started again */
    assert_checked();
    assert_int_equal(osr_pool_shutdown(OSR_NEVER, NULL, NULL), 0);
    assert_int_equal(threads_at_last(before), before);
}

static void tell_stuck(void *arg, const char *text)
{
    (void)arg;
    assert_non_null(strstr(text, "osier: job \"held\", offloaded at tests/test_thread.c:"));
    assert_non_null(strstr(text, "is stuck: it has run for 0."));
    tell("stuck");
}

TEST(a_shutdown_names_the_jobs_that_are_stuck_and_does_not_wait_for_ever)
{
    struct held held;

    held_init(&held, 8);
    assert_int_equal(osr_run(leave_it_behind, &held), 0);
    assert_int_equal(osr_pool_shutdown(osr_ms(2), tell_stuck, NULL), -ETIMEDOUT);
    assert_story("stuck\n");
    assert_int_equal(osr_pool_shutdown(0, tell_stuck, NULL), -ETIMEDOUT);
    assert_story("stuck\n");
    sem_post(&held.go);
    take(&held.ended);
    assert_int_equal(osr_pool_shutdown(osr_s(10), tell_stuck, NULL), 0);
    assert_checked();
}

/* In a forked child ThreadSanitizer starts no threads; Valgrind takes what threads have for lost there. */
static void skip_where_tools_know_no_forked_threads(void)
{
    if ((osri_tools() & TOOL_TSAN) || RUNNING_ON_VALGRIND)
        skip();
}

static void be_stuck(void)
{
    struct held held;

    held_init(&held, 8);
    (void)osr_run(leave_it_behind, &held);
    (void)osr_pool_shutdown(0, NULL, NULL);
    die_of(SIGTERM);
}

TEST(by_default_they_are_named_on_standard_error)
{
    skip_where_tools_know_no_forked_threads();
    assert_dies(be_stuck, SIGTERM, "osier: job \"held\", offloaded at tests/test_thread.c:");
}

static void offload_and_exit(void)
{
    if (osr_run(use_four_threads, NULL) != 0)
        _exit(9);
    exit(0);
}

/* Those that are idle end with the program. */
TEST(a_program_may_end_without_a_shutdown)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        offload_and_exit();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- Forked children ----------------------------------------------------------------------------------- */

OSR_TASK(offload_seven, void, unused) { return osr_offload(give_seven, NULL); }

static void offload_in_child(void)
{
    check_int(osr_job_check(), -EPERM);
    check(osr_value(&request_key) == NULL);
    check_int(osr_pool_shutdown(0, NULL, NULL), 0);
    check_int(osr_run(offload_seven, NULL), 7);
    check_int(osr_pool_shutdown(OSR_NEVER, NULL, NULL), 0);
}

OSR_JOB(fork_in_job, int, status)
{
    pid_t pid = fork();

    if (pid == 0) {
        alarm(30);
        _exit(osr_job_check() == -EPERM && osr_run(offload_seven, NULL) == 7 ? 3 : 4);
    }
    return waitpid(pid, status, 0) == pid ? 0 : -EIO;
}

OSR_TASK(fork_in_run_and_job, void, unused)
{
    struct offloading offloading = {.gave = 1};
    struct osr_group group;
    struct held held;
    int status = 0;

    held_init(&held, 0);
    offloading.held = &held;
    osr_group_open(&group);
    osr_spawn(&group, offload_it, &offloading);
    until_begun(&held);
    assert_child_succeeds(offload_in_child);
    check_int(osr_offload(fork_in_job, &status), 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    sem_post(&held.go);
    return osr_group_close(&group, 0);
}

TEST(a_forked_child_has_an_empty_pool_of_its_own)
{
    skip_where_tools_know_no_forked_threads();
    assert_int_equal(osr_run(fork_in_run_and_job, NULL, .debug = true), 0);
    assert_checked();
}

OSR_JOB(return_in_child, int, status)
{
    pid_t pid = fork();

    if (pid == 0) {
        alarm(30);
        return 0;
    }
    return waitpid(pid, status, 0) == pid ? 0 : -EIO;
}

OSR_TASK(offload_a_fork, void, unused)
{
    int status;

    return osr_offload(return_in_child, &status);
}

static void let_a_job_return_in_a_child(void)
{
    (void)osr_run(offload_a_fork, NULL);
    die_of(SIGTERM);
}

static void let_an_inline_job_return_in_a_child(void)
{
    (void)run_simulated(offload_a_fork, NULL);
    die_of(SIGTERM);
}

static atomic_int ended_of_forked;

static void fork_and_return_from_abandon(void *arg, int rc)
{
    int status = 0, tries;
    pid_t pid = fork();

    (void)arg, (void)rc;
    if (pid == 0)
        return;
    for (tries = 0; tries < 5000 && waitpid(pid, &status, WNOHANG) == 0; tries++)
        usleep(1000);
    if (status == 0 && kill(pid, SIGKILL) == 0)
        waitpid(pid, NULL, 0); /* it goes on as a thread of a pool that is not there */
    atomic_store(&ended_of_forked, status != 0 ? 1 : 2);
}

OSR_JOB(nap_a_while, void, unused)
{
    usleep(20000);
    return 0;
}

OSR_TASK(leave_one_that_forks_behind, void, unused)
{
    struct osr_scope limit;

    osr_move_on_open(&limit, osr_ms(5));
    (void)osr_offload(nap_a_while, NULL, .abandon = fork_and_return_from_abandon);
    (void)osr_scope_close(&limit, -ECANCELED);
    while (atomic_load(&ended_of_forked) == 0)
        (void)osr_sleep(osr_ms(1));
    return 0;
}

static void let_an_abandoned_job_return_in_a_child(void)
{
    (void)osr_run(leave_one_that_forks_behind, NULL);
    if (atomic_load(&ended_of_forked) == 1)
        die_of(SIGTERM);
}

TEST(who_takes_what_a_left_job_gives_may_not_return_in_a_forked_child_either)
{
    skip_where_tools_know_no_forked_threads();
    assert_dies(let_an_abandoned_job_return_in_a_child, SIGTERM,
                "returned in a forked child, where its run does not go on");
}

/* The first of all tests: no thread has been started yet. */
TEST(so_does_one_on_the_loops_own_thread_in_a_process_without_a_pool)
{
    assert_dies(let_an_inline_job_return_in_a_child, SIGTERM, "returned in a forked child, where its run does not go on");
}

TEST(a_job_that_returns_in_a_forked_child_stops_that_child)
{
    skip_where_tools_know_no_forked_threads();
    assert_dies(let_a_job_return_in_a_child, SIGTERM, "returned in a forked child, where its run does not go on");
}

/* ---- Under the simulated clock ------------------------------------------------------------------------- */

struct inside {
    pthread_t thread;
    struct osr_portal portal;
    int64_t now;
    int sleep, spawn, call, check, shutdown, run;
    struct osr_group *group;
    const char *value;
};

OSR_TASK(yield_once, void, unused) { return osr_yield(); }

OSR_JOB(look_inside, struct inside, inside)
{
    inside->thread = pthread_self();
    inside->now = osr_now();
    inside->sleep = osr_sleep(1);
    inside->spawn = osr_spawn(inside->group, sleep_for_ever, NULL);
    inside->call = osr_portal_call(inside->portal, sleep_for_ever, NULL);
    inside->check = osr_job_check();
    inside->shutdown = osr_pool_shutdown(0, NULL, NULL);
    inside->run = osr_run(yield_once, NULL);
    inside->value = osr_value(&request_key);
    return 5;
}

SIMULATED_TEST(in_simulated_time_jobs_run_on_the_loops_thread_but_see_what_a_thread_would)
{
    struct inside inside = {.check = 1};
    struct osr_binding binding;
    struct osr_group group;
    int before = threads_now();

    check_int(osr_sleep(osr_s(5)), 0);
    osr_bind(&binding, &request_key, request);
    osr_group_open(&group);
    inside.group = &group;
    osr_portal_open(&inside.portal, &group);
    check_int(osr_offload(look_inside, &inside), 5);
    check_int(osr_group_close(&group, 0), 0);
    check(pthread_equal(inside.thread, pthread_self()));
    check_int(inside.now, osr_s(5));
    check_int(osr_now(), osr_s(5));
    check_int(inside.sleep, -EPERM);
    check_int(inside.spawn, -EPERM);
    check_int(inside.call, -EDEADLK);
    check_int(inside.check, 0);
    check_int(inside.shutdown, -EPERM);
    check_int(inside.run, 0);
    check_text(inside.value, request);
    check(threads_now() <= before); /* those of another test may have been on their way out */
    return 0;
}

OSR_JOB(say_it, const char *, text)
{
    tell("%s%s", *text, osr_job_check() == 0 ? "" : ", cancelled");
    return 0;
}

static void destroy_it(void *arg, int rc)
{
    tell("destroys %s, %d", *(const char **)arg, rc);
}

OSR_TASK(offload_saying, const char *, text)
{
    int rc = osr_offload(say_it, text);

    tell("%s gave %d", *text, rc);
    return rc;
}

OSR_TASK(offload_loosely, const char *, text)
{
    int rc = osr_offload(say_it, text, .abandon = destroy_it);

    tell("%s gave %d", *text, rc);
    return rc;
}

static const char *letters[] = {"a", "b", "c"};

OSR_TASK(offload_three, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, offload_saying, &letters[i]);
    return osr_group_close(&group, 0);
}

struct answers {
    const char *what;
    unsigned with;
};

static unsigned answer(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    const struct answers *answers = arg;

    (void)n;
    return kind == OSR_CHOICE_JOB && strcmp(what, answers->what) == 0 ? answers->with : 0;
}

static void offload_with_answers(const char *what, unsigned with, const struct osr_routine *routine)
{
    struct answers answers = {what, with};
    const struct osr_run_options options = {.size = sizeof(options),
                                            .clock = OSR_CLOCK_SIMULATED,
                                            .debug = true,
                                            .choose = answer,
                                            .choose_arg = &answers};

    assert_int_equal(osr_run_with(routine, NULL, &options), 0);
}

TEST(the_door_says_which_job_is_run_next)
{
    offload_with_answers("job", 0, &offload_three.routine_);
    assert_story("a\na gave 0\nb\nb gave 0\nc\nc gave 0\n");
    offload_with_answers("job", 1, &offload_three.routine_);
    assert_story("b\nb gave 0\nc\nc gave 0\na\na gave 0\n");
}

OSR_TASK(offload_and_cancel, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, offload_saying, &letters[0]);
    osr_spawn(&group, offload_loosely, &letters[1]);
    osr_yield();
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

TEST(a_simulated_job_whose_caller_is_cancelled_has_begun_if_the_door_says_so)
{
    offload_with_answers("begun", 0, &offload_and_cancel.routine_);
    assert_story("a gave -125\nb gave -125\n");
    offload_with_answers("begun", 1, &offload_and_cancel.routine_);
    assert_story("b gave -125\na, cancelled\na gave 0\nb, cancelled\ndestroys b, 0\n");
}

/* Cancelled between two looks of the loop, while other tasks keep it busy. */
static void tell_event(void *arg, const struct osr_trace_event *event)
{
    FILE *stream = arg;

    fprintf(stream, "%d %lld %llu %s %s %d\n", event->kind, (long long)event->at, (unsigned long long)event->task,
            event->name, event->call ? event->call : "-", event->code);
}

OSR_TASK(map_many, void, unused)
{
    struct number numbers[20] = {{0}};

    return osr_map(square, numbers, 20);
}

static void trace_into(char **text)
{
    size_t size;
    FILE *stream = open_memstream(text, &size);

    assert_int_equal(osr_run(offload_and_cancel, NULL, .clock = OSR_CLOCK_SIMULATED, .observe = tell_event,
                             .observe_arg = stream),
                     0);
    assert_int_equal(osr_run(offload_three, NULL, .clock = OSR_CLOCK_SIMULATED, .observe = tell_event,
                             .observe_arg = stream),
                     0);
    assert_int_equal(osr_run(map_many, NULL, .clock = OSR_CLOCK_SIMULATED, .observe = tell_event,
                             .observe_arg = stream),
                     0);
    fclose(stream);
}

TEST(the_same_program_leaves_the_same_trace)
{
    char *first, *second;

    trace_into(&first);
    osr_pool_set_size(1);
    trace_into(&second);
    assert_true(strlen(first) > 100);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

/* ---- What can fail ------------------------------------------------------------------------------------- */

struct fault {
    const char *what;
    unsigned pick, after;
};

static unsigned fail_that(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct fault *fault = arg;

    (void)n;
    if (kind != OSR_CHOICE_FAULT || strcmp(what, fault->what) != 0)
        return 0;
    if (fault->after > 0) {
        fault->after--;
        return 0;
    }
    return fault->pick;
}

OSR_TASK(offload_both_ways, void, unused)
{
    struct held held;
    int rc = osr_offload(give_seven, NULL);

    if (rc != 7)
        return rc;
    held_init(&held, 6);
    sem_post(&held.go);
    rc = osr_offload(hold, &held, .abandon = note_abandoned);
    return rc == 6 ? 0 : rc;
}

static void fail_at(const char *what, unsigned pick, unsigned after, enum osr_clock clock, int code)
{
    struct fault fault = {what, pick, after};

    assert_int_equal(osr_run(offload_both_ways, NULL, .choose = fail_that, .choose_arg = &fault, .clock = clock), code);
    assert_int_equal(osr_run(offload_both_ways, NULL, .clock = clock), 0);
}

TEST(where_there_is_no_thread_or_descriptor_there_is_a_code)
{
    fail_at("pthread_create", 1, 0, OSR_CLOCK_REAL, -EAGAIN);
    fail_at("pthread_create", 1, 1, OSR_CLOCK_REAL, -EAGAIN);
    fail_at("pthread_create", 1, 0, OSR_CLOCK_SIMULATED, -EAGAIN);
    fail_at("eventfd", 1, 0, OSR_CLOCK_REAL, -EMFILE);
    fail_at("eventfd", 2, 0, OSR_CLOCK_REAL, -ENFILE);
    fail_at("eventfd", 3, 0, OSR_CLOCK_REAL, -ENOMEM);
}

/* Each allocation fails once, and each from there on. */
static void without_memory(enum osr_clock clock)
{
    unsigned after, done = 0;

    for (after = 0; done == 0; after++) {
        struct fault fault = {"memory", 1, after};
        int rc = osr_run(offload_both_ways, NULL, .choose = fail_that, .choose_arg = &fault, .clock = clock,
                         .allocator = &counting_allocator);

        osr_error_clear();
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_int_equal(counting.live, 0);
        done = fault.after > 0;
    }
    assert_true(after > 3);
}

TEST(without_memory_there_is_a_code_and_nothing_is_left)
{
    without_memory(OSR_CLOCK_REAL);
    without_memory(OSR_CLOCK_SIMULATED);
}

/* ---- Values, while tasks move -------------------------------------------------------------------------- */

static atomic_bool has_moved;

OSR_JOB(look_for_the_value, const char *, key)
{
    const char *seen = osr_value(key);

    while (!atomic_load(&has_moved) && seen == (char *)key)
        seen = osr_value(key);
    return seen == (char *)key && osr_value(key) == key ? 0 : -EINVAL;
}

OSR_TASK(look_in_a_thread, const char *, key) { return osr_offload(look_for_the_value, key); }

OSR_TASK(start_while_a_job_looks, const char *, key)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, look_in_a_thread, key);
    if (rc == 0)
        rc = osr_sleep(osr_ms(5));
    check_int(osr_started(), 0);
    check_int(osr_sleep(osr_ms(5)), 0); /* whoever has started this one is gone */
    atomic_store(&has_moved, true);
    return osr_group_close(&group, rc);
}

REAL_TEST(a_job_sees_values_while_a_task_around_it_moves_into_its_group) /* which ThreadSanitizer judges */
{
    static const char *key;
    struct osr_binding binding;
    struct osr_group group;

    atomic_store(&has_moved, false);
    check_int(osr_bind(&binding, &key, (void *)&key), 0);
    osr_group_open(&group);
    return osr_group_close(&group, osr_start(&group, start_while_a_job_looks, &key));
}

/* ---- Runs inside jobs ---------------------------------------------------------------------------------- */

static struct osr_portal outermost;

OSR_TASK(do_nothing_at_all, void, unused) { return 0; }

OSR_JOB(ask_for_the_outermost, int, deeper)
{
    check_int(osr_portal_call(outermost, do_nothing_at_all, NULL), -EDEADLK);
    return *deeper;
}

OSR_TASK(offload_in_a_job, void, unused)
{
    int answer = 5;

    return osr_offload(ask_for_the_outermost, &answer);
}

OSR_JOB(have_a_run, void, unused)
{
    check_int(osr_now(), osr_s(7));
    check_int(osr_run(offload_in_a_job, NULL, .clock = OSR_CLOCK_SIMULATED), 5);
    check_int(osr_now(), osr_s(7));
    check_int(osr_portal_call(outermost, do_nothing_at_all, NULL), -EDEADLK);
    return 0;
}

OSR_TASK(offload_a_run, void, unused)
{
    struct osr_group group;
    int rc = osr_sleep(osr_s(7));

    osr_group_open(&group);
    check_int(osr_portal_open(&outermost, &group), 0);
    if (rc == 0)
        rc = osr_offload(have_a_run, NULL);
    return osr_group_close(&group, rc);
}

TEST(a_simulated_run_keeps_its_thread_though_a_job_has_runs_of_its_own)
{
    assert_int_equal(run_simulated(offload_a_run, NULL), 0);
    assert_checked();
}

OSR_TASK(leave_one_behind_and_wait_for_ever, void, unused)
{
    struct osr_group group;

    check_int(osr_jobs_allow(0), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, offload_loosely, &letters[1]), 0);
    check_int(osr_yield(), 0);
    check_int(osr_group_cancel(&group, NULL), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_sleep(OSR_NEVER);
}

TEST(a_job_that_was_left_behind_while_jobs_are_held_is_waited_for_by_nobody)
{
    struct answers answers = {"begun", 1};

    assert_int_equal(osr_run(leave_one_behind_and_wait_for_ever, NULL, .clock = OSR_CLOCK_SIMULATED, .debug = true,
                             .choose = answer, .choose_arg = &answers),
                     -OSR_EDEADLOCK);
    assert_checked();
}

/* ---- What threads of the pool do at their end ---------------------------------------------------------- */

/* They wait there until they are let go, or for three seconds, and then nobody has let them. */
static struct {
    sem_t begun, go;
    atomic_int waited_in_vain;
} farewell;

static void wait_at_the_end(void *unused)
{
    struct timespec until;

    (void)unused;
    sem_post(&farewell.begun);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 3;
    if (sem_timedwait(&farewell.go, &until) < 0)
        atomic_fetch_add(&farewell.waited_in_vain, 1);
}

static pthread_key_t at_the_end;

static void make_key(void)
{
    pthread_key_create(&at_the_end, wait_at_the_end);
}

static void prepare_farewell(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_key);
    sem_init(&farewell.begun, 0, 0);
    sem_init(&farewell.go, 0, 0);
    atomic_store(&farewell.waited_in_vain, 0);
}

OSR_JOB(hold_before_a_farewell, struct held, held)
{
    int rc = pthread_setspecific(at_the_end, &farewell);

    sem_post(&held->begun);
    take(&held->go);
    return -rc;
}

OSR_TASK(offload_before_a_farewell, struct held, held) { return osr_offload(hold_before_a_farewell, held); }

/* So many at once. */
static void use_threads(const struct osr_routine *routine, int count)
{
    struct osr_group group;
    struct held held[2];
    int i;

    osr_group_open(&group);
    for (i = 0; i < count; i++) {
        held_init(&held[i], 0);
        check_int(osr_spawn_with(&group, routine, &held[i], NULL), 0);
    }
    for (i = 0; i < count; i++)
        until_begun(&held[i]);
    for (i = 0; i < count; i++)
        sem_post(&held[i].go);
    check_int(osr_group_close(&group, 0), 0);
}

/* One of two threads is too many, and is still at its end when it has to be replaced. */
REAL_TEST(a_thread_that_takes_long_to_end_holds_up_no_run)
{
    prepare_farewell();
    use_threads(&offload_before_a_farewell.routine_, 2);
    check_int(osr_pool_set_size(1), 0);
    take(&farewell.begun);
    check_int(osr_pool_set_size(2), 0);
    use_threads(&offload_before_a_farewell.routine_, 2);
    check_int(atomic_load(&farewell.waited_in_vain), 0);
    sem_post(&farewell.go);
    sem_post(&farewell.go); /* and the others, at the end of the test */
    sem_post(&farewell.go);
    return 0;
}

/* Of this process: threads, or address space in KiB. */
static long status_of(const char *what)
{
    FILE *file = fopen("/proc/self/status", "re");
    long value = 0;

    for (char line[256]; file && fgets(line, sizeof(line), file);)
        if (strncmp(line, what, strlen(what)) == 0)
            value = strtol(line + strlen(what), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

OSR_TASK(hold_one, struct held, held) { return osr_offload(hold, held); }

/* One that has ended and is not joined keeps its stack, of 8 MiB in most systems; the C library keeps some of the others. */
REAL_TEST(threads_that_come_and_go_leave_no_stacks_behind)
{
    long before, threads;
    int i, tries;

    check_int(osr_pool_set_size(2), 0);
    use_threads(&hold_one.routine_, 2);
    before = status_of("VmSize:");
    for (i = 0; i < 40; i++) {
        threads = status_of("Threads:");
        check_int(osr_pool_set_size(1), 0);
        for (tries = 0; tries < 1000 && status_of("Threads:") == threads; tries++)
            osr_sleep(osr_ms(1));
        check_int(osr_pool_set_size(2), 0);
        use_threads(&hold_one.routine_, 2);
    }
    check(status_of("VmSize:") < before + 40 * 8192 / 2);
    return 0;
}

OSR_TASK(use_one_thread, void, unused)
{
    use_threads(&offload_before_a_farewell.routine_, 1);
    return 0;
}

TEST(a_shutdown_waits_for_a_thread_that_takes_long_to_end_no_longer_than_it_may)
{
    prepare_farewell();
    assert_int_equal(osr_run(use_one_thread, NULL), 0);
    assert_checked();
    assert_int_equal(osr_pool_shutdown(0, NULL, NULL), -ETIMEDOUT);
    assert_int_equal(atomic_load(&farewell.waited_in_vain), 0);
    sem_post(&farewell.go);
    assert_int_equal(osr_pool_shutdown(OSR_NEVER, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        thread_test(so_does_one_on_the_loops_own_thread_in_a_process_without_a_pool),
        thread_test(a_shutdown_names_the_jobs_that_are_stuck_and_does_not_wait_for_ever), /* the very first job of the program */
        thread_test(a_job_runs_in_a_thread_of_the_pool_and_gives_its_result),
        thread_test(nothing_is_settled_while_a_job_may_run_that_was_left_behind),
        thread_test(while_a_job_runs_the_other_tasks_go_on),
        thread_test(a_running_job_keeps_a_run_from_being_taken_for_stuck),
        thread_test(after_the_last_job_a_run_may_be_stuck_again),
        thread_test(what_makes_no_sense_is_refused),
        thread_test(outside_a_task_there_is_no_offloading),
        thread_test(the_error_of_a_job_comes_back_into_the_task),
        thread_test(and_so_it_does_under_the_simulated_clock),
        thread_test(the_error_of_a_job_stands_in_the_tree_of_the_group),
        thread_test(in_a_cancelled_scope_nothing_is_offloaded),
        thread_test(a_job_that_was_refused_was_not_left_behind),
        thread_test(a_job_that_has_not_begun_is_withdrawn),
        thread_test(a_running_job_is_waited_for_and_its_result_wins),
        thread_test(a_job_that_gives_up_when_its_caller_is_cancelled_counts_as_cancelled),
        thread_test(a_thread_that_acknowledges_a_deadline_is_absorbed_by_its_scope),
        thread_test(a_limit_that_passes_while_a_job_runs_has_cut_nothing),
        thread_test(a_cancellation_that_a_job_invents_is_spurious),
        thread_test(what_was_done_before_the_cancellation_stays_done),
        thread_test(the_simulated_clock_does_not_jump_over_a_job),
        thread_test(a_simulated_job_does_not_run_on_a_tasks_stack),
        thread_test(a_simulated_job_may_begin_just_before_its_caller_hears_of_the_cancellation),
        thread_test(what_is_done_at_the_moment_of_the_deadline_is_done),
        thread_test(cancelling_at_any_moment_runs_a_job_once_or_not_at_all),
        thread_test(a_job_may_be_left_behind_and_what_it_gives_goes_to_its_destructor),
        thread_test(a_job_that_is_not_left_behind_does_not_need_its_destructor),
        thread_test(a_job_that_was_left_behind_may_outlive_its_run),
        thread_test(a_job_that_was_left_behind_keeps_no_run_from_being_stuck),
        thread_test(a_job_sees_the_values_of_its_callers_scopes),
        thread_test(a_job_that_was_left_behind_sees_them_no_more),
        thread_test(a_job_sees_values_while_a_task_around_it_moves_into_its_group),
        thread_test(a_simulated_run_keeps_its_thread_though_a_job_has_runs_of_its_own),
        thread_test(a_map_does_all_items_under_its_limit_and_keeps_their_order),
        thread_test(the_first_error_of_a_map_withdraws_the_jobs_that_have_not_begun),
        thread_test(a_map_in_a_cancelled_scope_is_refused),
        thread_test(a_map_that_is_cancelled_waits_for_those_that_run_and_withdraws_the_others),
        thread_test(no_more_jobs_run_at_once_than_the_pool_has_threads),
        thread_test(jobs_one_after_the_other_need_one_thread),
        thread_test(threads_that_are_too_many_end_when_they_are_idle_and_all_at_a_shutdown),
        thread_test(by_default_they_are_named_on_standard_error),
        thread_test(a_program_may_end_without_a_shutdown),
        thread_test(a_forked_child_has_an_empty_pool_of_its_own),
        thread_test(a_job_that_returns_in_a_forked_child_stops_that_child),
        thread_test(who_takes_what_a_left_job_gives_may_not_return_in_a_forked_child_either),
        thread_test(in_simulated_time_jobs_run_on_the_loops_thread_but_see_what_a_thread_would),
        thread_test(the_door_says_which_job_is_run_next),
        thread_test(a_simulated_job_whose_caller_is_cancelled_has_begun_if_the_door_says_so),
        thread_test(the_same_program_leaves_the_same_trace),
        thread_test(where_there_is_no_thread_or_descriptor_there_is_a_code),
        thread_test(without_memory_there_is_a_code_and_nothing_is_left),
        thread_test(a_job_that_was_left_behind_while_jobs_are_held_is_waited_for_by_nobody),
        thread_test(a_thread_that_takes_long_to_end_holds_up_no_run),
        thread_test(threads_that_come_and_go_leave_no_stacks_behind),
        thread_test(a_shutdown_waits_for_a_thread_that_takes_long_to_end_no_longer_than_it_may),
    };

    return cmocka_run_group_tests_name("thread", tests, NULL, NULL) != 0;
}
