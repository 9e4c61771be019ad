/* Exploring with .reduce (osier/test.h): fewer orders, the same outcomes; and what is wrong in one order is found. */
#include "harness.h"

#include <osier/test.h>

/* ---- Outcomes ------------------------------------------------------------------------------------------ */

enum { TASKS = 4, OUTCOMES = 4096 };

/* What the programs work on, and what their tasks saw. */
static struct world {
    unsigned tasks, steps;
    struct osr_event event;
    struct osr_lock a, b;
    struct osr_condition condition;
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_barrier barrier;
    struct osr_queue queue, other;
    struct osr_future future;
    struct osr_group *group;
    struct osr_task handles[TASKS];
    int seen[TASKS + 1][4]; /* by each task, the root's last */
    int counter;
} world;

static struct outcome {
    struct world world;
    int rc;
    int64_t now;
} outcomes[OUTCOMES];
static unsigned outcome_count;
static unsigned long runs;

static bool is_same(const struct outcome *one, int rc, int64_t now)
{
    return one->rc == rc && one->now == now && one->world.counter == world.counter &&
           memcmp(one->world.seen, world.seen, sizeof(world.seen)) == 0;
}

static void add_outcome(void *arg, const struct osr_test_result *result)
{
    unsigned i;

    (void)arg;
    for (i = 0; i < outcome_count; i++)
        if (is_same(&outcomes[i], result->rc, result->now))
            return;
    if (outcome_count < OUTCOMES)
        outcomes[outcome_count++] = (struct outcome){world, result->rc, result->now};
}

static void begin(void *arg)
{
    (void)arg;
    memset(world.seen, 0, sizeof(world.seen));
    memset(world.handles, 0, sizeof(world.handles));
    world.counter = 0;
    world.group = NULL;
    osr_event_init(&world.event);
    osr_lock_init(&world.a);
    osr_lock_init(&world.b);
    osr_condition_init(&world.condition, &world.a);
    osr_semaphore_init(&world.semaphore, 1);
    osr_limiter_init(&world.limiter, 1);
    osr_barrier_init(&world.barrier, 2);
    osr_future_init(&world.future, NULL, NULL);
}

static void note_runs(void *arg, const char *text)
{
    const char *at = strstr(text, "explore: ");

    (void)arg;
    if (at)
        runs = strtoul(at + strlen("explore: "), NULL, 10);
}

#define EXPLORED(task, ...) \
    OSR_TEST(#task, task, &world, .begin = begin, .check = add_outcome, .tell = note_runs,                 \
             .runs = 2000000 __VA_OPT__(,) __VA_ARGS__)

/* How many runs it takes; the outcomes are in `outcomes`. */
static unsigned long explore(struct osr_test test, bool reduce)
{
    outcome_count = 0;
    test.reduce = reduce;
    assert_int_equal(osr_test_explore(&test), 0);
    assert_true(outcome_count < OUTCOMES);
    return runs;
}

/* All outcomes that there are without the reduction are there with it; gives how many. */
static unsigned assert_reduced(struct osr_test test, unsigned long from, unsigned long to)
{
    static struct outcome all[OUTCOMES];
    unsigned long plain, reduced;
    unsigned count, i;

    plain = explore(test, false);
    memcpy(all, outcomes, sizeof(all));
    count = outcome_count;
    reduced = explore(test, true);
    if (plain != from || reduced != to || outcome_count != count)
        fail_msg("\"%s\": %lu runs with %u outcomes become %lu with %u; expected were %lu and %lu", test.name, plain, count,
                 reduced, outcome_count, from, to);
    for (i = 0; i < count; i++) {
        world = all[i].world;
        add_outcome(NULL, &(const struct osr_test_result){.rc = all[i].rc, .now = all[i].now});
    }
    assert_int_equal(outcome_count, count);
    return count;
}

/* A task of a program has a number; what it does is its program's. */
struct part {
    unsigned number;
};
static struct part parts[TASKS] = {{0}, {1}, {2}, {3}};

static int spawn_all(struct osr_group *group, const struct osr_routine *const *routines, unsigned count)
{
    unsigned i;
    int rc = 0;

    for (i = 0; i < count && rc == 0; i++)
        rc = osr_spawn_with(group, routines[i], &parts[i],
                            &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options), .where = OSR_HERE});
    return rc;
}

/* A root that spawns these and closes its group; what that gives is its outcome. */
#define ROOT(name, ...)                                                              \
    OSR_TASK(name, struct world, w)                                                  \
    {                                                                                \
        static const struct osr_routine *const routines[] = {__VA_ARGS__};           \
        struct osr_group group;                                                      \
        int rc;                                                                      \
                                                                                     \
        osr_group_open(&group);                                                      \
        w->group = &group;                                                           \
        rc = spawn_all(&group, routines, sizeof(routines) / sizeof(routines[0]));    \
        rc = osr_group_close(&group, rc);                                            \
        w->seen[TASKS][0] = rc;                                                      \
        return rc == -ECANCELED ? rc : 0;                                            \
    }

/* ---- Counts -------------------------------------------------------------------------------------------- */

OSR_TASK(does_steps, struct part, part)
{
    unsigned i;
    int rc = 0;

    (void)part;
    for (i = 1; i < world.steps && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

OSR_TASK(independent, struct world, w)
{
    struct osr_group group;
    unsigned i;
    int rc = 0;

    osr_group_open(&group);
    for (i = 0; i < w->tasks && rc == 0; i++)
        rc = osr_spawn(&group, does_steps, &parts[i]);
    return osr_group_close(&group, rc);
}

/* (tasks * steps)! / (steps!)^tasks */
static unsigned long multinomial(unsigned tasks, unsigned steps)
{
    unsigned long count = 1;
    unsigned i, k;

    for (i = 0; i < tasks; i++)
        for (k = 1; k <= steps; k++)
            count = count * (i * steps + k) / k;
    return count;
}

static void steps_that_have_nothing_in_common_are_run_once(void **state)
{
    const struct osr_test test = EXPLORED(independent);

    (void)state;
    for (world.tasks = 1; world.tasks <= 3; world.tasks++)
        for (world.steps = 1; world.steps <= 3; world.steps++)
            assert_int_equal(assert_reduced(test, multinomial(world.tasks, world.steps), 1), 1);
    world.tasks = 4;
    world.steps = 2;
    assert_int_equal(assert_reduced(test, 2520, 1), 1);
}

/* ---- Programs ------------------------------------------------------------------------------------------ */

OSR_TASK(takes_a_lock, struct part, part)
{
    int rc = osr_lock_acquire(&world.a);

    if (rc < 0)
        return rc;
    world.seen[part->number][0] = ++world.counter; /* under the lock */
    return osr_lock_release(&world.a);
}

ROOT(in_order_of_a_lock, &takes_a_lock.routine_, &takes_a_lock.routine_, &takes_a_lock.routine_)

/* One lock, taken and given in one step: as many orders as there are of the tasks. */
static void steps_that_meet_are_run_in_each_order(void **state)
{
    const struct osr_test test = EXPLORED(in_order_of_a_lock);

    (void)state;
    assert_int_equal(assert_reduced(test, 6, 6), 6);
}

static int take_two(struct part *part, struct osr_lock *first, struct osr_lock *second)
{
    int rc = osr_lock_acquire(first), *seen = world.seen[part->number];

    if (rc == 0) {
        seen[0] = ++world.counter;
        rc = osr_yield();
        if (rc == 0)
            rc = osr_lock_acquire(second);
        if (rc == 0)
            osr_lock_release(second);
        osr_lock_release(first);
    }
    seen[1] = rc;
    return rc;
}

OSR_TASK(takes_both, struct part, part)
{
    return take_two(part, &world.a, &world.b);
}

OSR_TASK(cancels_all, struct part, part)
{
    int rc = osr_yield();

    (void)part;
    osr_group_cancel(world.group, "enough");
    return rc;
}

ROOT(two_locks_and_a_cancel, &takes_both.routine_, &takes_both.routine_, &cancels_all.routine_)
ROOT(three_with_locks_and_a_cancel, &takes_both.routine_, &takes_both.routine_, &takes_both.routine_, &cancels_all.routine_)

static int count_in_queue(struct osr_queue *queue)
{
    osr_test_touches(queue);
    return (int)osr_queue_count(queue);
}

OSR_TASK(puts_one, struct part, part)
{
    struct osr_scope scope;
    int item = (int)part->number + 1;

    osr_timeout_open(&scope, osr_s(1));
    world.seen[part->number][0] = osr_queue_put(&world.queue, &item);
    world.seen[part->number][1] = count_in_queue(&world.queue);
    world.seen[part->number][2] = osr_scope_close(&scope, 0);
    return 0;
}

OSR_TASK(gets_one, struct part, part)
{
    struct osr_scope scope;
    int item = 0;

    osr_timeout_open(&scope, osr_s(1));
    world.seen[part->number][0] = osr_queue_get(&world.queue, &item);
    world.seen[part->number][1] = item;
    world.seen[part->number][2] = osr_scope_close(&scope, 0);
    return 0;
}

static int with_queues(struct world *w, size_t capacity, int (*run)(struct world *w))
{
    int rc;

    osr_queue_init(&w->queue, sizeof(int), capacity);
    osr_queue_init(&w->other, sizeof(int), 1);
    rc = run(w);
    osr_queue_destroy(&w->queue);
    osr_queue_destroy(&w->other);
    return rc;
}

static int spawn_putters_and_getters(struct world *w)
{
    static const struct osr_routine *const routines[] = {&puts_one.routine_, &gets_one.routine_, &puts_one.routine_};
    struct osr_group group;

    (void)w;
    osr_group_open(&group);
    return osr_group_close(&group, spawn_all(&group, routines, 3));
}

OSR_TASK(handed_over, struct world, w)
{
    return with_queues(w, 0, spawn_putters_and_getters);
}

OSR_TASK(buffered, struct world, w)
{
    return with_queues(w, 1, spawn_putters_and_getters);
}

OSR_TASK(selects, struct part, part)
{
    int one = 0, two = 0;
    struct osr_case cases[] = {OSR_GET(&world.queue, &one), OSR_GET(&world.other, &two)};

    world.seen[part->number][0] = osr_select(cases, 2, osr_s(1));
    world.seen[part->number][1] = one * 10 + two;
    return 0;
}

OSR_TASK(puts_elsewhere, struct part, part)
{
    int item = (int)part->number + 1;

    world.seen[part->number][0] = osr_queue_try_put(&world.other, &item);
    return 0;
}

static int spawn_selecting(struct world *w)
{
    static const struct osr_routine *const routines[] = {&selects.routine_, &puts_one.routine_, &puts_elsewhere.routine_,
                                                         &cancels_all.routine_};
    struct osr_group group;

    osr_group_open(&group);
    w->group = &group;
    return osr_group_close(&group, spawn_all(&group, routines, 4));
}

OSR_TASK(selected, struct world, w)
{
    int rc = with_queues(w, 1, spawn_selecting);

    return rc == -OSR_ESCOPECANCELED ? 0 : rc;
}

OSR_TASK(takes_a_permit, struct part, part)
{
    world.seen[part->number][0] = osr_semaphore_acquire(&world.semaphore);
    if (world.seen[part->number][0] < 0)
        return -ECANCELED;
    world.seen[part->number][1] = osr_yield();
    world.seen[part->number][2] = osr_semaphore_release(&world.semaphore);
    return 0;
}

OSR_TASK(tries_a_permit, struct part, part)
{
    world.seen[part->number][0] = osr_semaphore_try_acquire(&world.semaphore);
    return 0;
}

/* A cancel cuts a wait: what was waited for is not handed to it. */
ROOT(permits, &takes_a_permit.routine_, &takes_a_permit.routine_, &tries_a_permit.routine_, &cancels_all.routine_)

OSR_TASK(borrows, struct part, part)
{
    struct osr_permit permit = {0};
    int rc = osr_limiter_acquire(&world.limiter, &permit);

    world.seen[part->number][0] = rc;
    if (rc == 0)
        rc = osr_yield();
    if (world.seen[part->number][0] == 0)
        osr_limiter_release(&world.limiter, &permit);
    return rc;
}

ROOT(borrowing, &borrows.routine_, &borrows.routine_, &cancels_all.routine_)

OSR_TASK(meets, struct part, part)
{
    world.seen[part->number][0] = osr_barrier_wait(&world.barrier);
    return world.seen[part->number][0] == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(breaks, struct part, part)
{
    world.seen[part->number][0] = osr_yield();
    osr_barrier_abort(&world.barrier);
    return 0;
}

ROOT(meeting, &meets.routine_, &meets.routine_, &meets.routine_, &breaks.routine_)

OSR_TASK(waits_for_the_event, struct part, part)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_s(1));
    world.seen[part->number][0] = osr_event_wait(&world.event);
    return world.seen[part->number][1] = osr_scope_close(&scope, 0);
}

OSR_TASK(sets_and_clears, struct part, part)
{
    osr_event_set(&world.event);
    world.seen[part->number][0] = osr_yield();
    osr_event_clear(&world.event);
    return 0;
}

ROOT(events, &waits_for_the_event.routine_, &sets_and_clears.routine_, &cancels_all.routine_)

OSR_TASK(awaits_the_condition, struct part, part)
{
    int *seen = world.seen[part->number];

    seen[0] = osr_lock_acquire(&world.a);
    if (seen[0] < 0)
        return seen[0];
    seen[1] = osr_condition_wait(&world.condition);
    osr_lock_release(&world.a);
    return seen[1];
}

OSR_TASK(notifies, struct part, part)
{
    int *seen = world.seen[part->number];

    seen[0] = osr_lock_acquire(&world.a);
    if (seen[0] < 0)
        return seen[0];
    seen[1] = osr_condition_notify(&world.condition, 1);
    osr_lock_release(&world.a);
    seen[2] = osr_sleep(osr_s(1));
    osr_group_cancel(world.group, "nobody is left to notify");
    return 0;
}

ROOT(conditions, &awaits_the_condition.routine_, &awaits_the_condition.routine_, &notifies.routine_)

OSR_TASK(completes, struct part, part)
{
    world.seen[part->number][0] = osr_future_complete(&world.future, &world);
    return 0;
}

OSR_TASK(fails_the_future, struct part, part)
{
    world.seen[part->number][0] = osr_future_fail(&world.future, -EIO, "no");
    return 0;
}

OSR_TASK(waits_for_the_future, struct part, part)
{
    world.seen[part->number][0] = osr_future_wait(&world.future, NULL);
    return world.seen[part->number][0] == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(futures, struct world, w)
{
    static const struct osr_routine *const routines[] = {&waits_for_the_future.routine_, &completes.routine_,
                                                         &fails_the_future.routine_, &cancels_all.routine_};
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    w->group = &group;
    rc = osr_group_close(&group, spawn_all(&group, routines, 4));
    w->seen[TASKS][0] = rc;
    osr_future_destroy(&w->future);
    osr_error_clear();
    return 0;
}

OSR_TASK(yields_and_fails, struct part, part)
{
    int rc = osr_yield();

    world.seen[part->number][0] = rc;
    return rc < 0 ? rc : osr_fail(-EIO - (int)part->number, "task %u", part->number);
}

/* Whose error comes first, and how many there are. */
OSR_TASK(failures, struct world, w)
{
    static const struct osr_routine *const routines[] = {&yields_and_fails.routine_, &yields_and_fails.routine_,
                                                         &does_steps.routine_};
    struct osr_group group;
    int rc;

    w->steps = 2;
    osr_group_open(&group);
    rc = osr_group_close(&group, spawn_all(&group, routines, 3));
    w->seen[TASKS][0] = rc;
    w->seen[TASKS][1] = (int)osr_error_count(osr_error_last());
    w->seen[TASKS][2] = (int)osr_error_cancelled(osr_error_last());
    osr_error_clear();
    return 0;
}

static int race(struct world *w, enum osr_policy policy, int limit)
{
    static const struct osr_routine *const routines[] = {&yields_and_fails.routine_, &does_steps.routine_,
                                                         &does_steps.routine_};
    struct osr_group group;
    int rc;

    w->steps = 2;
    osr_group_open(&group, .policy = policy, .limit = limit);
    rc = osr_group_close(&group, spawn_all(&group, routines, 3));
    w->seen[TASKS][0] = rc;
    w->seen[TASKS][1] = osr_group_winner(&group);
    osr_error_clear();
    return 0;
}

OSR_TASK(first_done, struct world, w)
{
    return race(w, OSR_FIRST_DONE, 0);
}

OSR_TASK(first_success, struct world, w)
{
    return race(w, OSR_FIRST_SUCCESS, 0);
}

OSR_TASK(two_at_a_time, struct world, w)
{
    return race(w, OSR_FAIL_FAST, 2);
}

OSR_TASK(joins, struct part, part)
{
    int *seen = world.seen[part->number];

    seen[0] = osr_task_join(world.handles[0]);
    if (seen[0] == -ECANCELED)
        return -ECANCELED;
    seen[1] = osr_task_state(world.handles[0]);
    return 0;
}

OSR_TASK(cancels_a_task, struct part, part)
{
    int *seen = world.seen[part->number];

    seen[0] = osr_task_state(world.handles[0]);
    seen[1] = osr_task_cancel(world.handles[0], "by hand");
    return 0;
}

OSR_TASK(handles, struct world, w)
{
    static const struct osr_routine *const routines[] = {&joins.routine_, &cancels_a_task.routine_};
    struct osr_group group;
    struct osr_task task;
    int rc;

    w->steps = 3;
    osr_group_open(&group, .policy = OSR_COLLECT);
    rc = osr_spawn(&group, does_steps, &parts[2], .handle = &w->handles[0]);
    if (rc == 0)
        rc = spawn_all(&group, routines, 2);
    w->seen[TASKS][0] = osr_group_next(&group, &task);
    w->seen[TASKS][1] = (int)osr_group_running(&group);
    return osr_group_close(&group, rc);
}

OSR_TASK(gives_seven, struct part, part)
{
    (void)part;
    return 7;
}

OSR_TASK(reads_the_result, struct part, part)
{
    world.seen[part->number][0] = world.counter;
    return 0;
}

/* That a task ends which is to tell its result is no mere counting. */
OSR_TASK(results, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, gives_seven, &parts[0], .result = &w->counter);
    if (rc == 0)
        rc = osr_spawn(&group, reads_the_result, &parts[1]);
    return osr_group_close(&group, rc);
}

OSR_TASK(spawns_for_a_result, struct part, part)
{
    (void)part;
    world.counter = -1;
    return osr_spawn(world.group, gives_seven, &parts[2], .result = &world.counter);
}

/* Neither is that one is spawned, before which the place is made empty. */
ROOT(emptied_results, &spawns_for_a_result.routine_, &reads_the_result.routine_)

/* Who spawns into a group that it does not live in may come before its end, and after that of its last child. */
static struct osr_group elsewhere;

OSR_TASK(spawns_elsewhere, struct part, part)
{
    int rc = osr_yield();

    world.seen[part->number][0] = osr_spawn(&elsewhere, does_steps, &parts[2]);
    return rc;
}

OSR_TASK(spawned_elsewhere, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, spawns_elsewhere, &parts[0]);
    osr_group_open(&elsewhere);
    if (rc == 0)
        rc = osr_spawn(&elsewhere, does_steps, &parts[1]);
    w->seen[TASKS][0] = osr_group_close(&elsewhere, rc);
    return osr_group_close(&group, rc);
}

OSR_TASK(acquires_one, struct part, part)
{
    world.seen[part->number][0] = osr_semaphore_acquire(&world.semaphore);
    return world.seen[part->number][0];
}

OSR_TASK(releases_one, struct part, part)
{
    world.seen[part->number][0] = osr_semaphore_release(&world.semaphore);
    return 0;
}

/* The two have nothing in common but who waits there: a cut takes it away from what it waits for. */
OSR_TASK(cut_or_handed_over, struct world, w)
{
    static const struct osr_routine *const routines[] = {&cancels_a_task.routine_, &releases_one.routine_};
    struct osr_group group;
    int rc;

    w->seen[TASKS][0] = osr_semaphore_try_acquire(&w->semaphore);
    osr_group_open(&group);
    rc = osr_spawn(&group, acquires_one, &parts[2], .handle = &w->handles[0]);
    if (rc == 0)
        rc = osr_yield();
    if (rc == 0)
        rc = spawn_all(&group, routines, 2);
    return osr_group_close(&group, rc);
}

OSR_TASK(has_a_deadline, struct part, part)
{
    struct osr_scope outer, inner;
    int *seen = world.seen[part->number];

    osr_timeout_open(&outer, osr_s(1));
    osr_shield_open(&inner, osr_s(2));
    seen[0] = osr_sleep(osr_s(1));
    seen[1] = osr_scope_close(&inner, 0);
    seen[2] = osr_yield();
    return seen[3] = osr_scope_close(&outer, 0);
}

OSR_TASK(sleeps_and_cancels, struct part, part)
{
    world.seen[part->number][0] = osr_sleep(osr_s(1));
    osr_group_cancel(world.group, "in time");
    return 0;
}

OSR_TASK(sleeps_long, struct part, part)
{
    world.seen[part->number][0] = osr_sleep(osr_s(2));
    return world.seen[part->number][0];
}

OSR_TASK(wakes_a_sleeper, struct part, part)
{
    world.seen[part->number + 2][0] = osr_task_cancel(world.handles[part->number], "by hand");
    return 0;
}

/* Who sleeps takes nothing from others where it is cut. */
OSR_TASK(sleepers, struct world, w)
{
    static const struct osr_routine *const routines[] = {&wakes_a_sleeper.routine_, &wakes_a_sleeper.routine_};
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 2 && rc == 0; i++)
        rc = osr_spawn(&group, sleeps_long, &parts[i], .handle = &w->handles[i]);
    if (rc == 0)
        rc = osr_sleep(osr_s(1));
    if (rc == 0)
        rc = spawn_all(&group, routines, 2);
    return osr_group_close(&group, rc);
}

OSR_TASK(sizes_the_pool, struct part, part)
{
    osr_pool_set_size((unsigned)part->number + 3);
    osr_yield();
    world.seen[part->number][0] = (int)osr_pool_size();
    return 0;
}

/* How many threads there may be is the process's, and not only a run's. */
ROOT(sizes, &sizes_the_pool.routine_, &sizes_the_pool.routine_)

static bool allocates(void)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    void *memory = allocator->resize(allocator->arg, NULL, 1);

    if (memory)
        allocator->resize(allocator->arg, memory, 0);
    return memory != NULL;
}

OSR_TASK(takes_memory, struct part, part)
{
    world.seen[part->number][0] = allocates();
    return 0;
}

OSR_TASK(orders_a_fault, struct part, part)
{
    (void)part;
    return osr_test_order_fault("allocation", 0, 1);
}

/* Whose memory it is that fails hangs on who comes first, and on who comes after the order. */
ROOT(ordered_before, &orders_a_fault.routine_, &takes_memory.routine_, &takes_memory.routine_)
ROOT(ordered_meanwhile, &takes_memory.routine_, &orders_a_fault.routine_)

ROOT(deadlines, &has_a_deadline.routine_, &sleeps_and_cancels.routine_, &takes_a_lock.routine_)

static void the_outcomes_are_the_same_with_fewer_runs(void **state)
{
    static const struct {
        struct osr_test test;
        unsigned long from, to;
        unsigned outcomes;
    } programs[] = {
        {EXPLORED(two_locks_and_a_cancel), 76, 22, 9},
        {EXPLORED(three_with_locks_and_a_cancel), 1656, 228, 31},
        {EXPLORED(handed_over), 10, 8, 2},
        {EXPLORED(buffered), 8, 6, 4},
        {EXPLORED(selected), 102, 19, 6},
        {EXPLORED(permits), 458, 104, 11},
        {EXPLORED(borrowing), 76, 22, 4},
        {EXPLORED(meeting), 210, 24, 7},
        {EXPLORED(events), 48, 14, 3},
        {EXPLORED(conditions), 10, 10, 3},
        {EXPLORED(futures), 102, 38, 4},
        {EXPLORED(failures), 74, 17, 6},
        {EXPLORED(first_done), 66, 24, 5},
        {EXPLORED(first_success), 74, 21, 6},
        {EXPLORED(two_at_a_time), 24, 8, 1},
        {EXPLORED(handles), 48, 30, 7},
        {EXPLORED(results), 2, 2, 2},
        {EXPLORED(emptied_results), 3, 3, 3},
        {EXPLORED(spawned_elsewhere), 61, 3, 2},
        {EXPLORED(cut_or_handed_over), 12, 7, 4},
        {EXPLORED(sleepers), 12, 6, 1},
        {EXPLORED(sizes), 6, 6, 3},
        {EXPLORED(ordered_before), 6, 5, 3},
        {EXPLORED(ordered_meanwhile), 2, 2, 2},
        {EXPLORED(deadlines), 72, 12, 2},
        {EXPLORED(events, .cancels = true), 136, 114, 8},
        {EXPLORED(failures, .cancels = true), 168, 147, 7},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
        assert_int_equal(assert_reduced(programs[i].test, programs[i].from, programs[i].to), programs[i].outcomes);
}

/* ---- Faults -------------------------------------------------------------------------------------------- */

/* A lock of the program's own that loses a wake: between looking and parking it lets others run. */
static struct {
    bool is_held;
    struct osr_waiters waiters;
} own;

static void begin_own(void *arg)
{
    begin(arg);
    own.is_held = false;
    osr_waiters_init(&own.waiters);
}

static int acquire_own(bool is_wrong)
{
    struct osr_wait wait = {.call = "acquire_own"};
    int rc = osr_enter();

    if (rc < 0)
        return rc;
    if (!own.is_held) {
        own.is_held = true;
        return osr_pass();
    }
    if (is_wrong && world.seen[TASKS][1]++ == 1)
        rc = osr_yield();
    return rc < 0 ? rc : osr_park(&own.waiters, &wait);
}

static void release_own(void)
{
    own.is_held = osr_unpark(&own.waiters, 0) == 1; /* handed over */
}

static int use_own(bool is_wrong)
{
    int rc = acquire_own(is_wrong);

    if (rc < 0)
        return rc;
    rc = osr_yield();
    release_own();
    return rc;
}

OSR_TASK(uses_own, struct part, part)
{
    (void)part;
    return use_own(false);
}

OSR_TASK(uses_own_wrongly, struct part, part)
{
    (void)part;
    return use_own(true);
}

ROOT(locks_of_its_own, &uses_own.routine_, &uses_own.routine_, &uses_own.routine_)
ROOT(locks_that_lose_a_wake, &uses_own_wrongly.routine_, &uses_own_wrongly.routine_, &uses_own_wrongly.routine_)

static char story[1 << 14];

static void keep_story(void *arg, const char *text)
{
    (void)arg;
    strncat(story, text, sizeof(story) - strlen(story) - 1);
}

static void a_wake_that_is_lost_in_some_orders_is_found(void **state)
{
    struct osr_test test = OSR_TEST("own", locks_of_its_own, &world, .begin = begin_own, .tell = keep_story);

    (void)state;
    for (test.reduce = false;; test.reduce = true) {
        test.routine = &locks_of_its_own.routine_;
        assert_int_equal(osr_test_explore(&test), 0);
        test.routine = &locks_that_lose_a_wake.routine_;
        assert_int_equal(osr_test_run(&test), 0); /* first come, first served, all is well */
        story[0] = '\0';
        assert_int_equal(osr_test_explore(&test), 1);
        assert_non_null(strstr(story, "deadlock"));
        assert_non_null(strstr(story, "acquire_own"));
        if (test.reduce)
            break;
    }
}

static bool says_so; /* that the counter is shared */

/* Two of them lose an update if the other one's comes between reading and writing. */
OSR_TASK(counts, struct part, part)
{
    int before, rc;

    (void)part;
    if (says_so)
        osr_test_touches(&world.counter);
    before = world.counter;
    rc = osr_yield();
    if (rc < 0)
        return rc;
    if (says_so)
        osr_test_touches(&world.counter);
    world.counter = before + 1;
    return 0;
}

OSR_TASK(counts_once, struct part, part)
{
    (void)part;
    if (says_so)
        osr_test_touches(&world.counter);
    world.counter += 10;
    return 0;
}

ROOT(two_count, &counts.routine_, &counts_once.routine_)

static void all_is_counted(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    osr_test_check(world.counter == 11);
}

static void memory_that_is_shared_is_to_be_named(void **state)
{
    struct osr_test test = OSR_TEST("counting", two_count, &world, .begin = begin, .check = all_is_counted, .tell = keep_story);

    (void)state;
    says_so = false;
    assert_int_equal(osr_test_explore(&test), 1);
    test.reduce = true;
    says_so = true;
    assert_int_equal(osr_test_explore(&test), 1);
    test.check = add_outcome;
    test.tell = note_runs;
    assert_int_equal(assert_reduced(test, 3, 3), 2);
    osr_test_touches(&world); /* outside a test it does nothing */
}

/* An event in memory that lies somewhere else in each run. */
static struct osr_event *anywhere;

OSR_TASK(waits_anywhere, struct part, part)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_s(1));
    world.seen[part->number][0] = osr_event_wait(anywhere);
    return osr_scope_close(&scope, 0) == -ETIMEDOUT ? 0 : -ECANCELED;
}

OSR_TASK(sets_anywhere, struct part, part)
{
    world.seen[part->number][0] = osr_event_set(anywhere);
    world.seen[part->number][1] = osr_yield();
    return osr_event_clear(anywhere);
}

ROOT(events_anywhere, &waits_anywhere.routine_, &sets_anywhere.routine_, &sets_anywhere.routine_)

static void begin_anywhere(void *arg)
{
    static unsigned turn;

    begin(arg);
    anywhere = malloc(sizeof(*anywhere) * (1 + turn++ % 50));
    osr_event_init(anywhere);
}

static void end_anywhere(void *arg)
{
    (void)arg;
    free(anywhere);
}

static void addresses_may_change_from_run_to_run(void **state)
{
    struct osr_test test = EXPLORED(events_anywhere, .end = end_anywhere);

    (void)state;
    test.begin = begin_anywhere;
    assert_int_equal(assert_reduced(test, 46, 46), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_that_have_nothing_in_common_are_run_once),
        cmocka_unit_test(steps_that_meet_are_run_in_each_order),
        cmocka_unit_test(the_outcomes_are_the_same_with_fewer_runs),
        cmocka_unit_test(a_wake_that_is_lost_in_some_orders_is_found),
        cmocka_unit_test(memory_that_is_shared_is_to_be_named),
        cmocka_unit_test(addresses_may_change_from_run_to_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
