/* Parking, as programs use it for primitives of their own: waiting, waking, hooks, references. */
#include "harness.h"

#include <pthread.h>
#include <sys/mman.h>

/* ---- The gate of the header ---------------------------------------------------------------------------- */

struct gate {
    bool open;
    struct osr_waiters waiters;
};

static int gate_pass(struct gate *gate)
{
    struct osr_wait wait = {.call = "gate_pass"};
    int rc = osr_enter();

    if (rc < 0)
        return rc;
    if (gate->open)
        return osr_pass();
    return osr_park(&gate->waiters, &wait);
}

static void gate_open(struct gate *gate)
{
    gate->open = true;
    while (osr_unpark(&gate->waiters, 0) == 1)
        continue;
}

/* ---- Tasks that park ----------------------------------------------------------------------------------- */

struct parker {
    const char *name;
    struct osr_waiters *waiters;
    struct osr_wait wait;
    struct osr_wait_ref ref;
    bool refers, uncut;
    struct osr_task task;
    int rc;
    bool returned;
};

OSR_TASK(parker, struct parker, p)
{
    if (p->refers)
        p->ref = osr_wait_refer(&p->wait);
    p->rc = p->uncut ? osr_park_uncut(p->waiters, &p->wait) : osr_park(p->waiters, &p->wait);
    p->returned = true;
    tell("%s: %d", p->name, p->rc);
    return p->rc == -ECANCELED ? p->rc : 0;
}

static void bring(struct osr_group *group, struct parker *parkers, int count, struct osr_waiters *waiters)
{
    static const char *const names[] = {"first", "second", "third"};
    int i;

    for (i = 0; i < count; i++) {
        parkers[i].name = names[i];
        parkers[i].waiters = waiters;
        osr_spawn(group, parker, &parkers[i], .handle = &parkers[i].task);
    }
    osr_yield();
}

OSR_TASK(pass_the_gate, struct gate, gate)
{
    tell("passed: %d", gate_pass(gate));
    return 0;
}

TOLD_TEST(the_gate_of_the_header_lets_pass_who_waited_and_who_comes, "--\npassed: 0\npassed: 0\npassed: 0\n")
{
    struct osr_task_wait where;
    struct osr_group group;
    struct osr_task task;
    struct gate gate = {.open = false};

    osr_waiters_init(&gate.waiters);
    osr_group_open(&group);
    osr_spawn(&group, pass_the_gate, &gate, .handle = &task);
    osr_spawn(&group, pass_the_gate, &gate);
    osr_yield();
    check_int(osr_task_where(task, &where), 0);
    check_text(where.call, "gate_pass");
    tell("--");
    gate_open(&gate);
    osr_spawn(&group, pass_the_gate, &gate);
    check_int(osr_group_close(&group, 0), 0);
    return gate_pass(&gate);
}

/* ---- Waking -------------------------------------------------------------------------------------------- */

TOLD_TEST(each_is_woken_with_its_result_in_the_order_of_coming, "first: 5\nsecond: 0\nthird: -5\n")
{
    struct osr_waiters waiters;
    struct parker parkers[3] = {{.name = NULL}};
    struct osr_group group;

    osr_waiters_init(&waiters);
    check(osr_waiters_empty(&waiters) && osr_waiters_first(&waiters) == NULL);
    check_int(osr_unpark(&waiters, 1), 0);
    osr_group_open(&group);
    bring(&group, parkers, 3, &waiters);
    check_int((long)osr_waiters_count(&waiters), 3);
    check(osr_waiters_first(&waiters) == &parkers[0].wait);
    check_int(osr_unpark(&waiters, 5), 1);
    check(osr_waiters_first(&waiters) == &parkers[1].wait);
    check_int(osr_unpark(&waiters, 0), 1);
    check_int(osr_unpark(&waiters, -EIO), 1);
    check_int(osr_unpark(&waiters, 0), 0);
    return osr_group_close(&group, 0);
}

TOLD_TEST(one_of_several_can_be_woken_wherever_it_stands, "second: 7\nfirst: 1\nthird: 1\n")
{
    struct osr_waiters waiters;
    struct parker parkers[3] = {{.name = NULL}};
    struct osr_group group;

    osr_waiters_init(&waiters);
    check_int(osr_unpark_one(&parkers[1].wait, 7), -ESTALE); /* it does not wait yet */
    osr_group_open(&group);
    bring(&group, parkers, 3, &waiters);
    check_int(osr_unpark_one(&parkers[1].wait, 7), 0);
    check_int(osr_unpark_one(&parkers[1].wait, 8), -ESTALE);
    osr_sleep(1);
    check_int(osr_unpark_one(&parkers[1].wait, 8), -ESTALE);
    while (osr_unpark(&waiters, 1) == 1)
        continue;
    return osr_group_close(&group, 0);
}

OSR_TASK(take_a_number, struct osr_waiters, waiters)
{
    int number = 0;
    struct osr_wait wait = {.call = "take_a_number", .item = &number};

    check_int(osr_park(waiters, &wait), 0);
    tell("number %d", number);
    return 0;
}

TOLD_TEST(the_waker_reaches_the_item_of_who_waits, "number 42\n")
{
    struct osr_waiters waiters;
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    osr_spawn(&group, take_a_number, &waiters);
    osr_yield();
    *(int *)osr_waiters_first(&waiters)->item = 42;
    osr_unpark(&waiters, 0);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(what_a_waker_says_is_behind_the_code)
{
    struct osr_waiters waiters;
    struct parker one = {.name = "one", .waiters = &waiters};
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    osr_spawn(&group, parker, &one);
    osr_yield();
    osr_unpark(&waiters, -EPROTO);
    check_int(osr_group_close(&group, 0), 0);
    check_int(one.rc, -EPROTO);
    return 0;
}

static void wake_on_the_loop(void *arg)
{
    struct osr_waiters *waiters = arg;
    struct osr_wait wait = {.call = "never"};

    check_int(osr_enter(), -EPERM);
    check_int(osr_pass(), -EPERM);
    check_int(osr_park(waiters, &wait), -EPERM);
    check_int(osr_park_uncut(waiters, &wait), -EPERM);
    check_int((long)osr_wait_refer(&wait).ticket_, 0);
    check_int(osr_unpark(waiters, 1), 1);
    check_int(osr_unpark_one(osr_waiters_first(waiters), 2), 0);
}

TOLD_TEST(a_callback_wakes_who_is_parked_and_parks_not_itself, "first: 1\nsecond: 2\n")
{
    struct osr_waiters waiters;
    struct parker parkers[2] = {{.name = NULL}};
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, parkers, 2, &waiters);
    call_on_the_loop(wake_on_the_loop, &waiters);
    return osr_group_close(&group, 0);
}

/* ---- Being cut ----------------------------------------------------------------------------------------- */

static struct osr_waiters hooked_waiters;

static void hook(struct osr_wait *wait)
{
    struct osr_wait other = {.call = "in a hook"};
    struct osr_group inside;

    check(osr_waiters_empty(&hooked_waiters));
    check_int(osr_park(&hooked_waiters, &other), -EPERM);
    check_int(osr_park_uncut(&hooked_waiters, &other), -EPERM);
    check_int(osr_unpark_one(wait, 1), -ESTALE);
    check_int(osr_group_open(&inside), -EPERM);
    check_int(osr_group_close(&inside, 0), -EPERM);
    tell("hook of %s", (const char *)wait->item);
}

static struct osr_group *around_the_hook;

static void close_what_is_around(struct osr_wait *wait)
{
    (void)wait;
    check_int(osr_group_close(around_the_hook, 0), -EPERM);
}

OSR_TASK(park_in_a_group, struct osr_waiters, waiters)
{
    struct osr_wait wait = {.on_cancel = close_what_is_around};
    struct osr_group group;

    osr_group_open(&group);
    around_the_hook = &group;
    check_int(osr_park(waiters, &wait), -ECANCELED);
    return osr_group_close(&group, -ECANCELED);
}

OSR_TASK(come_in_between, bool, ran)
{
    *ran = true;
    return 0;
}

static bool hook_is_over, came_in_between;

static void go_on_for_long(struct osr_wait *wait)
{
    int i;

    (void)wait;
    osr_spawn(around_the_hook, come_in_between, &came_in_between);
    for (i = 0; i < 1000; i++)
        check_int(osr_pass(), -EPERM);
    hook_is_over = !came_in_between;
}

OSR_TASK(park_with_a_long_hook, struct osr_waiters, waiters)
{
    struct osr_wait wait = {.on_cancel = go_on_for_long};

    return osr_park(waiters, &wait);
}

SIMULATED_TEST(nobody_comes_in_between_while_a_hook_runs)
{
    struct osr_waiters waiters;
    struct osr_group group;

    hook_is_over = came_in_between = false;
    osr_waiters_init(&waiters);
    osr_group_open(&group);
    around_the_hook = &group;
    osr_spawn(&group, park_with_a_long_hook, &waiters);
    osr_yield();
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check(hook_is_over);
    check(came_in_between);
    return 0;
}

TOLD_TEST(a_hook_closes_no_group, "")
{
    struct osr_waiters waiters;
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    osr_spawn(&group, park_in_a_group, &waiters);
    osr_yield();
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

TOLD_TEST(the_hook_runs_for_who_is_cut_and_for_nobody_else, "hook of first\nfirst: -125\nsecond: 3\nthird: -125\n")
{
    static char names[3][8] = {"first", "second", "third"};
    struct parker parkers[3] = {{.name = NULL}};
    struct osr_group group;
    int i;

    osr_waiters_init(&hooked_waiters);
    for (i = 0; i < 3; i++)
        parkers[i].wait = (struct osr_wait){.on_cancel = hook, .item = names[i]};
    osr_group_open(&group);
    bring(&group, parkers, 1, &hooked_waiters);
    osr_task_cancel(parkers[0].task, NULL);
    osr_sleep(1);
    parkers[1].name = "second", parkers[1].waiters = &hooked_waiters;
    osr_spawn(&group, parker, &parkers[1], .handle = &parkers[1].task);
    osr_yield();
    check_int(osr_unpark(&hooked_waiters, 3), 1);
    osr_task_cancel(parkers[1].task, NULL);
    osr_sleep(1);
    parkers[2].name = "third", parkers[2].waiters = &hooked_waiters;
    osr_spawn(&group, parker, &parkers[2], .handle = &parkers[2].task);
    osr_task_cancel(parkers[2].task, NULL); /* refused */
    return osr_group_close(&group, 0);
}

TOLD_TEST(an_uncut_wait_goes_on_through_a_cancellation, "first: 1\n")
{
    struct osr_waiters waiters;
    struct parker one = {.uncut = true};
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    osr_task_cancel(one.task, NULL);
    osr_sleep(osr_s(1));
    check(!one.returned);
    check_int(osr_unpark(&waiters, 1), 1);
    return osr_group_close(&group, 0);
}

OSR_TASK(park_uncut_in_a_cancelled_scope, struct osr_waiters, waiters)
{
    struct osr_wait wait = {.call = NULL};
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_enter(), -ECANCELED);
    check_int(osr_pass(), 0);
    check_int(osr_park(waiters, &wait), -ECANCELED);
    check(osr_waiters_empty(waiters));
    check_int(osr_park_uncut(waiters, &wait), 4);
    check_int(osr_scope_close(&scope, 0), -OSR_ESCOPECANCELED);
    return 0;
}

SIMULATED_TEST(an_uncut_wait_is_not_refused_either)
{
    struct osr_task_wait where;
    struct osr_waiters waiters;
    struct osr_group group;
    struct osr_task task;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    osr_spawn(&group, park_uncut_in_a_cancelled_scope, &waiters, .handle = &task);
    osr_sleep(1);
    check_int(osr_task_where(task, &where), 0);
    check_text(where.call, "osr_park");
    check_int(osr_unpark(&waiters, 4), 1);
    return osr_group_close(&group, 0);
}

OSR_TASK(note_that_it_ran, bool, ran)
{
    *ran = true;
    return 0;
}

SIMULATED_TEST(who_never_has_to_wait_lets_others_run_all_the_same)
{
    struct gate gate = {.open = true};
    struct osr_group group;
    bool ran = false;
    int i;

    osr_group_open(&group);
    osr_spawn(&group, note_that_it_ran, &ran);
    for (i = 0; i < 300 && !ran; i++)
        check_int(gate_pass(&gate), 0);
    check(ran);
    return osr_group_close(&group, 0);
}

/* ---- References ---------------------------------------------------------------------------------------- */

static void wake_by_reference(void *ref) { check_int(osr_unpark_ref(*(struct osr_wait_ref *)ref, 6), 0); }

TOLD_TEST(a_wait_is_woken_by_reference_once, "first: 5\nfirst: 6\n")
{
    struct osr_waiters waiters;
    struct parker one = {.refers = true};
    struct osr_wait_ref old;
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    check_int(osr_unpark_ref(one.ref, 5), 0);
    check_int(osr_unpark_ref(one.ref, 5), -ESTALE);
    osr_sleep(1);
    check_int(osr_unpark_ref(one.ref, 5), -ESTALE); /* its task is gone */
    old = one.ref;
    bring(&group, &one, 1, &waiters);
    check_int(osr_unpark_ref(old, 5), -ESTALE);
    call_on_the_loop(wake_by_reference, &one.ref);
    return osr_group_close(&group, 0);
}

TOLD_TEST(a_reference_to_a_wait_that_was_cut_is_stale, "first: -125\n")
{
    struct osr_waiters waiters;
    struct parker one = {.refers = true};
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    osr_task_cancel(one.task, NULL);
    check_int(osr_unpark_ref(one.ref, 5), -ESTALE);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_unpark_ref(one.ref, 5), -ESTALE);
    return 0;
}

struct twice {
    struct osr_waiters waiters;
    struct osr_wait wait;
    struct osr_wait_ref ref;
    int first, second;
};

/* The same memory for two waits, the second without a reference. */
OSR_TASK(park_twice, struct twice, twice)
{
    twice->ref = osr_wait_refer(&twice->wait);
    check(twice->ref.ticket_ == osr_wait_refer(&twice->wait).ticket_);
    twice->first = osr_park(&twice->waiters, &twice->wait);
    twice->second = osr_park(&twice->waiters, &twice->wait);
    return 0;
}

SIMULATED_TEST(a_reference_is_to_one_wait_and_not_to_the_next_one_in_its_memory)
{
    struct twice twice = {.first = 0};
    struct osr_group group;

    osr_waiters_init(&twice.waiters);
    osr_group_open(&group);
    osr_spawn(&group, park_twice, &twice);
    osr_yield();
    check_int(osr_unpark(&twice.waiters, 1), 1);
    osr_sleep(1);
    check_int(osr_unpark_ref(twice.ref, 2), -ESTALE);
    check_int(osr_unpark(&twice.waiters, 3), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(twice.first, 1);
    check_int(twice.second, 3);
    return 0;
}

/* The wait that it was for has ended before it began. */
OSR_TASK(park_again_after_a_refusal, struct twice, twice)
{
    struct osr_scope shield;

    twice->ref = osr_wait_refer(&twice->wait);
    twice->first = osr_park(&twice->waiters, &twice->wait);
    osr_shield_open_unlimited(&shield);
    twice->second = osr_park(&twice->waiters, &twice->wait);
    return osr_scope_close(&shield, twice->first);
}

SIMULATED_TEST(a_reference_to_a_wait_that_was_refused_is_stale)
{
    struct twice twice = {.first = 0};
    struct osr_group group;

    osr_waiters_init(&twice.waiters);
    osr_group_open(&group);
    osr_group_cancel(&group, NULL);
    osr_spawn(&group, park_again_after_a_refusal, &twice);
    linger(1);
    check_int(osr_unpark_ref(twice.ref, 2), -ESTALE);
    check_int(osr_unpark(&twice.waiters, 3), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(twice.first, -ECANCELED);
    check_int(twice.second, 3);
    return 0;
}

SIMULATED_TEST(a_reference_is_stale_until_its_wait_begins)
{
    struct osr_wait wait = {.call = "not yet"};
    struct osr_wait_ref ref = osr_wait_refer(&wait), none = {{0}, 0};

    check(ref.ticket_ != 0);
    check_int(osr_unpark_ref(ref, 1), -ESTALE);
    check_int(osr_unpark_ref(none, 1), -ESTALE);
    check_int((long)osr_wait_refer(NULL).ticket_, 0);
    return 0;
}

/* One that says whose task it is and not which wait. */
TOLD_TEST(half_a_reference_wakes_nobody, "first: 1\n")
{
    struct osr_waiters waiters;
    struct parker one = {.refers = true};
    struct osr_wait_ref half;
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    half = (struct osr_wait_ref){.task_ = one.ref.task_};
    check_int(osr_unpark_ref(half, 5), -ESTALE);
    half.ticket_ = one.ref.ticket_ + 1;
    check_int(osr_unpark_ref(half, 5), -ESTALE);
    check_int(osr_unpark_ref(one.ref, 1), 0);
    return osr_group_close(&group, 0);
}

/* Whoever spawned the task may have lost interest in its outcome. */
TOLD_TEST(a_reference_to_a_wait_outlives_the_handle_of_its_task, "first: 5\n")
{
    struct osr_waiters waiters;
    struct parker one = {.refers = true};
    struct osr_wait_ref old;
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    old = one.ref;
    check_int(osr_task_release(&one.task), 0);
    check_int(osr_task_cancel(old.task_, NULL), -ESTALE); /* that was another copy of the handle */
    check_int(osr_unpark_ref(one.ref, 5), 0);
    check_int(osr_unpark_ref(one.ref, 5), -ESTALE);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_unpark_ref(old, 5), -ESTALE);
    return 0;
}

/* ---- What is no longer there --------------------------------------------------------------------------- */

static struct osr_wait old_wait;
static struct osr_wait_ref old_ref;

OSR_TASK(leave_a_wait_behind, void, unused)
{
    struct osr_waiters waiters;
    struct osr_scope limit;

    osr_waiters_init(&waiters);
    old_wait = (struct osr_wait){.call = "old"};
    old_ref = osr_wait_refer(&old_wait);
    osr_move_on_open(&limit, osr_ms(1));
    return osr_scope_close(&limit, osr_park(&waiters, &old_wait));
}

OSR_TASK(wake_the_old_wait, void, unused)
{
    check_int(osr_unpark_one(&old_wait, 1), -ESTALE);
    check_int(osr_unpark_ref(old_ref, 1), -ESTALE);
    return 0;
}

/* Its task is gone, with its stack, where nothing can be read any more. */
static void a_wait_of_a_run_that_has_ended_is_stale(void **state)
{
    char *page;

    (void)state;
    assert_int_equal(run_simulated(leave_a_wait_behind, NULL), 0);
    page = (char *)((uintptr_t)old_wait.task_ & ~(uintptr_t)4095);
    assert_ptr_equal(mmap(page, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), page);
    assert_int_equal(run_simulated(wake_the_old_wait, NULL), 0);
    assert_checked();
    munmap(page, 4096);
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

TOLD_TEST(a_wait_that_is_in_use_is_refused, "first: 1\n")
{
    struct osr_waiters waiters;
    struct parker one = {.uncut = false};
    struct osr_group group;

    osr_waiters_init(&waiters);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    check_int(osr_park(&waiters, &one.wait), -EINVAL);
    check_int(osr_park_uncut(&waiters, &one.wait), -EINVAL);
    check_int((long)osr_waiters_count(&waiters), 1);
    osr_unpark(&waiters, 1);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(nothing_is_answered_with_a_code)
{
    struct osr_waiters waiters;
    struct osr_wait wait = {.call = "never"};

    osr_waiters_init(NULL);
    osr_waiters_init(&waiters);
    check(osr_waiters_empty(NULL) && osr_waiters_first(NULL) == NULL);
    check_int((long)osr_waiters_count(NULL), 0);
    check_int(osr_park(NULL, &wait), -EINVAL);
    check_int(osr_park(&waiters, NULL), -EINVAL);
    check_int(osr_park_uncut(NULL, &wait), -EINVAL);
    check_int(osr_park_uncut(&waiters, NULL), -EINVAL);
    check_int(osr_unpark(NULL, 0), -EINVAL);
    check_int(osr_unpark_one(NULL, 0), -EINVAL);
    return 0;
}

static void outside_a_run_nobody_parks_and_wakes(void **state)
{
    struct osr_waiters waiters;
    struct osr_wait wait = {.call = "never"};

    (void)state;
    osr_waiters_init(&waiters);
    assert_int_equal(osr_enter(), -EPERM);
    assert_int_equal(osr_pass(), -EPERM);
    assert_int_equal(osr_park(&waiters, &wait), -EPERM);
    assert_int_equal(osr_park_uncut(&waiters, &wait), -EPERM);
    assert_int_equal(osr_unpark(&waiters, 0), -EPERM);
    assert_int_equal(osr_unpark_one(&wait, 0), -EPERM);
    assert_int_equal(osr_wait_refer(&wait).ticket_, 0);
    assert_int_equal(osr_unpark_ref(old_ref, 0), -EPERM);
    assert_true(osr_waiters_empty(&waiters));
}

/* Two runs: one is stopped in the middle of a task, which waits for the thread of the other. */
struct foreign {
    struct osr_waiters *waiters;
    struct parker *parker;
    struct osr_event *event;
    struct osr_semaphore *semaphore;
    struct osr_barrier *barrier;
    struct osr_queue *queue;
    struct osr_limiter *limiter;
    struct osr_permit *permit;
    struct osr_future *future;
    int rc;
};

OSR_TASK(wake_others_tasks, struct foreign, f)
{
    struct osr_wait wait = {.call = "never"};
    long item = 1;
    const int codes[] = {osr_unpark(f->waiters, 1), osr_unpark_one(&f->parker->wait, 1),
                         osr_unpark_ref(f->parker->ref, 1), osr_park(f->waiters, &wait),
                         osr_park_uncut(f->waiters, &wait), osr_event_set(f->event),
                         osr_semaphore_release(f->semaphore), osr_barrier_reset(f->barrier),
                         osr_barrier_abort(f->barrier), osr_queue_try_put(f->queue, &item),
                         osr_queue_shutdown(f->queue, true), osr_limiter_set_total(f->limiter, 9),
                         osr_limiter_release(f->limiter, f->permit), osr_future_complete(f->future, f)};
    size_t i;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i] != -EPERM)
            f->rc = (int)i + 1;
    return 0;
}

static void *run_another(void *foreign)
{
    (void)run_simulated(wake_others_tasks, foreign);
    return NULL;
}

static int for_event(struct foreign *f) { return osr_event_wait(f->event); }
static int for_permit(struct foreign *f) { return osr_semaphore_acquire(f->semaphore); }
static int for_others(struct foreign *f) { return osr_barrier_wait(f->barrier); }
static int for_future(struct foreign *f) { return osr_future_wait(f->future, NULL); }

static int for_item(struct foreign *f)
{
    long item;

    return osr_queue_get(f->queue, &item);
}

static int for_loan(struct foreign *f)
{
    struct osr_permit permit = {0};

    return osr_limiter_acquire(f->limiter, &permit);
}

struct waiting {
    int (*wait)(struct foreign *f);
    struct foreign *f;
};

OSR_TASK(wait_at, struct waiting, w) { return w->wait(w->f); }

TOLD_TEST(tasks_of_another_run_are_let_be, "first: -125\n")
{
    struct osr_waiters waiters;
    struct parker one = {.refers = true};
    struct osr_event event;
    struct osr_semaphore semaphore;
    struct osr_barrier barrier;
    struct osr_queue queue;
    struct osr_limiter limiter;
    struct osr_permit permit = {0};
    struct osr_future future;
    struct foreign f = {&waiters, &one, &event, &semaphore, &barrier, &queue, &limiter, &permit, &future, 0};
    struct waiting all[] = {{for_event, &f}, {for_permit, &f}, {for_others, &f},
                            {for_item, &f},  {for_loan, &f},   {for_future, &f}};
    struct osr_group group;
    pthread_t thread;
    int i;

    osr_waiters_init(&waiters);
    osr_event_init(&event);
    osr_semaphore_init(&semaphore, 0);
    osr_barrier_init(&barrier, 2);
    osr_queue_init(&queue, sizeof(long), 1);
    osr_limiter_init(&limiter, 1);
    osr_limiter_acquire(&limiter, &permit);
    osr_future_init(&future, NULL, NULL);
    osr_group_open(&group);
    bring(&group, &one, 1, &waiters);
    for (i = 0; i < 6; i++)
        osr_spawn(&group, wait_at, &all[i]);
    osr_yield();
    check_int(pthread_create(&thread, NULL, run_another, &f), 0);
    check_int(pthread_join(thread, NULL), 0);
    check_int(f.rc, 0);
    check(!osr_event_is_set(&event) && !osr_barrier_broken(&barrier) && !osr_future_done(&future));
    check_int((long)osr_waiters_count(&waiters), 1);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(the_gate_of_the_header_lets_pass_who_waited_and_who_comes),
        story_test(each_is_woken_with_its_result_in_the_order_of_coming),
        story_test(one_of_several_can_be_woken_wherever_it_stands),
        story_test(the_waker_reaches_the_item_of_who_waits),
        story_test(what_a_waker_says_is_behind_the_code),
        story_test(a_callback_wakes_who_is_parked_and_parks_not_itself),
        story_test(the_hook_runs_for_who_is_cut_and_for_nobody_else),
        story_test(nobody_comes_in_between_while_a_hook_runs),
        story_test(a_hook_closes_no_group),
        story_test(an_uncut_wait_goes_on_through_a_cancellation),
        story_test(an_uncut_wait_is_not_refused_either),
        story_test(who_never_has_to_wait_lets_others_run_all_the_same),
        story_test(a_wait_is_woken_by_reference_once),
        story_test(a_reference_to_a_wait_that_was_cut_is_stale),
        story_test(a_reference_is_to_one_wait_and_not_to_the_next_one_in_its_memory),
        story_test(a_reference_to_a_wait_that_was_refused_is_stale),
        story_test(a_reference_is_stale_until_its_wait_begins),
        story_test(half_a_reference_wakes_nobody),
        story_test(a_reference_to_a_wait_outlives_the_handle_of_its_task),
        story_test(a_wait_of_a_run_that_has_ended_is_stale),
        story_test(a_wait_that_is_in_use_is_refused),
        story_test(nothing_is_answered_with_a_code),
        story_test(outside_a_run_nobody_parks_and_wakes),
        story_test(tasks_of_another_run_are_let_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
