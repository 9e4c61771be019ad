/*
 * The parked wait, on which every wait of every floor stands: who ends it, what it gives, what is left behind. A
 * small primitive of the test's own stands on it, as those of higher floors do.
 */
#include "harness.h"

#include <unistd.h>

#include "2_sched/wait.h"

/* ---- A primitive: a box that hands items to those who wait, first come first served -------------------- */

struct box {
    struct osr_list_ takers;
    int items, returned;
};

struct taking {
    struct osr_wait wait;
    struct box *box;
};

static void box_init(struct box *box)
{
    list_init(&box->takers);
    box->items = box->returned = 0;
}

static int box_take(struct box *box, const char *where)
{
    struct sched *sched = osri_sched;
    struct osr_wait wait;
    int rc = osri_enter(sched, where);

    if (rc < 0)
        return rc;
    if (box->items > 0) {
        box->items--;
        osri_at_once(sched);
        return 1;
    }
    wait_init(&wait, sched->current, "box_take", where);
    list_append(&box->takers, &wait.waiter_.node_);
    return osri_wait(sched, &wait);
}

static void box_put(struct box *box)
{
    if (list_empty(&box->takers))
        box->items++;
    else
        osri_wake(osri_sched, wait_of(box->takers.next), 1);
}

struct taker {
    struct box *box;
    const char *name;
};

OSR_TASK(taker, struct taker, t)
{
    int rc = box_take(t->box, OSR_HERE);

    tell("%s: %d", t->name, rc);
    return rc == 1 ? 0 : rc;
}

/* ---- Waking and cutting -------------------------------------------------------------------------------- */

OSR_TASK(hand_out_in_order, void, unused)
{
    struct box box;
    struct taker takers[3] = {{&box, "first"}, {&box, "second"}, {&box, "third"}};
    struct osr_group group;
    int i;

    box_init(&box);
    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, taker, &takers[i]);
    osr_yield();
    for (i = 0; i < 3; i++)
        box_put(&box);
    tell("put");
    check(list_empty(&box.takers));
    return osr_group_close(&group, 0);
}

static void waiters_are_served_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(hand_out_in_order, NULL), 0);
    assert_checked();
    assert_story("put\nfirst: 1\nsecond: 1\nthird: 1\n");
}

OSR_TASK(cancel_the_first_of_two, void, unused)
{
    struct box box;
    struct taker takers[2] = {{&box, "first"}, {&box, "second"}};
    struct osr_task first;
    struct osr_group group;

    box_init(&box);
    osr_group_open(&group);
    osr_spawn(&group, taker, &takers[0], .handle = &first);
    osr_spawn(&group, taker, &takers[1]);
    osr_yield();
    osr_task_cancel(first, NULL);
    box_put(&box);
    return osr_group_close(&group, 0);
}

static void what_a_cut_waiter_would_have_got_goes_to_the_next(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(cancel_the_first_of_two, NULL), 0);
    assert_story("first: -125\nsecond: 1\n");
}

OSR_TASK(put_then_cancel, void, unused)
{
    struct box box;
    struct taker takers[1] = {{&box, "first"}};
    struct osr_group group;

    box_init(&box);
    osr_group_open(&group);
    osr_spawn(&group, taker, &takers[0]);
    osr_yield();
    box_put(&box);
    osr_group_cancel(&group, NULL);
    check_int(box.items, 0);
    return osr_group_close(&group, 0);
}

static void what_was_handed_over_stays_handed_over(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(put_then_cancel, NULL), 0);
    assert_checked();
    assert_story("first: 1\n");
}

/* ---- The cancel hook ----------------------------------------------------------------------------------- */

static void hook(struct osr_wait *wait)
{
    struct taking *taking = container_of(wait, struct taking, wait);

    taking->box->returned++;
    check(osri_current() == wait->task_);
    check_int(osr_sleep(1), -EPERM); /* it may not wait */
    check_int(osr_yield(), -EPERM);
    check_int(osr_check(), -EPERM);
}

OSR_TASK(take_with_a_hook, struct box, box)
{
    struct taking taking = {.box = box};
    int rc;

    wait_init(&taking.wait, osri_current(), "box_take", OSR_HERE);
    taking.wait.on_cancel = hook;
    list_append(&box->takers, &taking.wait.waiter_.node_);
    rc = osri_wait(osri_sched, &taking.wait);
    tell("returns %d after %d", rc, box->returned);
    check_int(osr_check(), rc < 0 ? -ECANCELED : 0);
    return rc < 0 ? rc : 0;
}

OSR_TASK(cut_one_with_a_hook, struct box, box)
{
    struct osr_group group;

    box_init(box);
    osr_group_open(&group);
    osr_spawn(&group, take_with_a_hook, box);
    osr_yield();
    osr_group_cancel(&group, NULL);
    check_int(box->returned, 0); /* cancelling runs no code of the waiter */
    return osr_group_close(&group, 0);
}

static void the_hook_runs_on_the_waiting_task_before_its_call_returns(void **state)
{
    struct box box;

    (void)state;
    assert_int_equal(run_simulated(cut_one_with_a_hook, &box), 0);
    assert_checked();
    assert_story("returns -125 after 1\n");
}

OSR_TASK(wake_one_with_a_hook, struct box, box)
{
    struct osr_group group;

    box_init(box);
    osr_group_open(&group);
    osr_spawn(&group, take_with_a_hook, box);
    osr_yield();
    box_put(box);
    return osr_group_close(&group, 0);
}

static void the_hook_of_a_wait_that_was_woken_does_not_run(void **state)
{
    struct box box;

    (void)state;
    assert_int_equal(run_simulated(wake_one_with_a_hook, &box), 0);
    assert_checked();
    assert_int_equal(box.returned, 0);
    assert_story("returns 1 after 0\n");
}

/* ---- Waiting for several things ------------------------------------------------------------------------ */

struct both {
    struct box left, right;
};

OSR_TASK(take_from_either, struct both, both)
{
    struct osr_waiter_ second;
    struct osr_wait wait;
    int rc;

    wait_init(&wait, osri_current(), "either", OSR_HERE);
    waiter_init(&second, &wait, NULL, 1);
    wait.waiter_.also_ = &second;
    list_append(&both->left.takers, &wait.waiter_.node_);
    list_append(&both->right.takers, &second.node_);
    rc = osri_wait(osri_sched, &wait);
    check(list_empty(&both->left.takers) && list_empty(&both->right.takers));
    tell("either: %d", rc);
    return rc < 0 ? rc : 0;
}

OSR_TASK(put_into_the_second, struct both, both)
{
    struct osr_group group;

    box_init(&both->left);
    box_init(&both->right);
    osr_group_open(&group);
    osr_spawn(&group, take_from_either, both);
    osr_yield();
    box_put(&both->right);
    box_put(&both->left);
    check_int(both->left.items, 1);
    osr_group_close(&group, 0);
    osr_group_open(&group);
    osr_spawn(&group, take_from_either, both);
    osr_yield();
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

static void a_wait_for_several_things_leaves_all_of_them_at_once(void **state)
{
    struct both both;

    (void)state;
    assert_int_equal(run_simulated(put_into_the_second, &both), 0);
    assert_checked();
    assert_story("either: 1\neither: -125\n");
}

/* ---- Odd orders ---------------------------------------------------------------------------------------- */

OSR_TASK(wake_before_parking, void, unused)
{
    struct box box;
    struct osr_wait wait;

    box_init(&box);
    wait_init(&wait, osri_current(), "box_take", OSR_HERE);
    list_append(&box.takers, &wait.waiter_.node_);
    box_put(&box);
    check_int(osri_wait(osri_sched, &wait), 1);
    return 0;
}

static void a_wait_that_was_woken_before_it_was_parked_returns_at_once(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(wake_before_parking, NULL), 0);
    assert_checked();
}

OSR_TASK(wait_uncut, struct box, box)
{
    struct osr_wait wait;

    wait_init(&wait, osri_current(), "uncut", OSR_HERE);
    wait.uncut_ = true;
    list_append(&box->takers, &wait.waiter_.node_);
    check_int(osri_wait(osri_sched, &wait), 1);
    check_int(osr_check(), -ECANCELED);
    return 0;
}

OSR_TASK(cancel_an_uncut_wait, struct box, box)
{
    struct osr_scope shield;
    struct osr_group group;

    box_init(box);
    osr_group_open(&group);
    osr_spawn(&group, wait_uncut, box);
    osr_yield();
    osr_group_cancel(&group, NULL);
    osr_shield_open(&shield, osr_s(1));
    check_int(osr_sleep(osr_ms(5)), 0);
    check(!list_empty(&box->takers));
    box_put(box);
    osr_scope_close(&shield, 0);
    return osr_group_close(&group, 0);
}

static void a_wait_that_cannot_be_cut_goes_on_until_it_is_woken(void **state)
{
    struct box box;

    (void)state;
    assert_int_equal(run_simulated(cancel_an_uncut_wait, &box), 0);
    assert_checked();
}

/* ---- Many ---------------------------------------------------------------------------------------------- */

struct crowd {
    struct box box;
    struct osr_task *handles;
    long count, got, cut;
};

OSR_TASK(one_of_many, struct crowd, crowd)
{
    int rc = box_take(&crowd->box, OSR_HERE);

    crowd->got += rc == 1;
    crowd->cut += rc == -ECANCELED;
    return rc < 0 ? rc : 0;
}

/* Cancels every other waiter, from both ends inwards, and hands an item to each of the rest. */
OSR_TASK(serve_a_crowd, struct crowd, crowd)
{
    struct osr_group group;
    long i;

    osr_group_open(&group);
    for (i = 0; i < crowd->count; i++)
        osr_spawn(&group, one_of_many, crowd, .handle = &crowd->handles[i]);
    osr_yield();
    for (i = 0; i < crowd->count / 2; i += 2)
        osr_task_cancel(crowd->handles[i], NULL), osr_task_cancel(crowd->handles[crowd->count - 1 - i], NULL);
    for (i = 0; i < crowd->count; i++)
        box_put(&crowd->box);
    return osr_group_close(&group, 0);
}

static void no_item_is_lost_among_many_waiters_of_which_half_are_cancelled(void **state)
{
    struct crowd crowd = {.count = sized(100000, 1000)};

    (void)state;
    crowd.handles = calloc((size_t)crowd.count, sizeof(*crowd.handles));
    box_init(&crowd.box);
    assert_int_equal(osr_run(serve_a_crowd, &crowd, .clock = OSR_CLOCK_SIMULATED), 0);
    free(crowd.handles);
    assert_int_equal(crowd.got + crowd.cut, crowd.count);
    assert_int_equal(crowd.cut, crowd.count / 2);
    assert_int_equal(crowd.box.items, crowd.count - crowd.got);
    assert_true(list_empty(&crowd.box.takers));
}

/* ---- What a hook may not do ---------------------------------------------------------------------------- */

static struct osr_group full_group;

/* Not cut itself, as it stands behind a shield. */
static void wait_in_the_hook(struct osr_wait *wait OSR_MAYBE_UNUSED_)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(osr_ms(1)), -EPERM);
    check_int(osr_yield(), -EPERM);
    check_int(osr_spawn(&full_group, taker, NULL), -EPERM);
    check_int(osr_scope_close(&shield, 0), 0);
    tell("hook");
}

OSR_TASK(take_with_a_hook_that_waits, struct box, box)
{
    struct osr_wait wait;
    int rc;

    wait_init(&wait, osri_current(), "box_take", OSR_HERE);
    wait.on_cancel = wait_in_the_hook;
    list_append(&box->takers, &wait.waiter_.node_);
    rc = osri_wait(osri_sched, &wait);
    tell("%d", rc);
    return rc;
}

OSR_TASK(cut_one_with_a_hook_that_waits, struct box, box)
{
    struct taker last = {box, "last"};

    box_init(box);
    osr_group_open(&full_group, .limit = 2);
    osr_spawn(&full_group, take_with_a_hook_that_waits, box);
    osr_spawn(&full_group, taker, &last);
    osr_yield();
    osr_group_cancel(&full_group, NULL);
    return osr_group_close(&full_group, 0);
}

static void a_hook_may_not_wait_not_even_behind_a_shield(void **state)
{
    struct box box;

    (void)state;
    assert_int_equal(run_simulated(cut_one_with_a_hook_that_waits, &box), 0);
    assert_checked();
    assert_story("hook\n-125\nlast: -125\n");
}

/* ---- Watching ------------------------------------------------------------------------------------------ */

static void told_of_a_watch(struct watch *watch OSR_MAYBE_UNUSED_) { tell("ready"); }

OSR_TASK(watch_twice, int, fd)
{
    struct sched *sched = osri_sched;
    struct watch watch;

    watch_init(&watch, *fd, WATCH_READ, told_of_a_watch);
    osri_watch_arm(sched, &watch);
    osri_watch_arm(sched, &watch);
    osri_watch_fired(sched, &watch);
    osri_watch_fired(sched, &watch);
    check_int(osr_sleep(osr_us(1)), 0);
    osri_watch_disarm(sched, &watch);
    osri_watch_disarm(sched, &watch);
    osri_watch_fired(sched, &watch);
    osri_watch_disarm(sched, &watch);
    check_int(osr_sleep(osr_us(1)), 0);
    check(!watch.armed);
    return 0;
}

static void what_is_watched_or_ready_twice_is_told_once(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(osr_run(watch_twice, &ends[0]), 0);
    assert_story("ready\n");
    assert_int_equal(run_simulated(watch_twice, &ends[0]), 0);
    assert_story("ready\n");
    assert_checked();
    close(ends[0]), close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(waiters_are_served_in_the_order_in_which_they_came),
        story_test(what_a_cut_waiter_would_have_got_goes_to_the_next),
        story_test(what_was_handed_over_stays_handed_over),
        story_test(the_hook_runs_on_the_waiting_task_before_its_call_returns),
        story_test(the_hook_of_a_wait_that_was_woken_does_not_run),
        story_test(a_wait_for_several_things_leaves_all_of_them_at_once),
        story_test(a_wait_that_was_woken_before_it_was_parked_returns_at_once),
        story_test(a_wait_that_cannot_be_cut_goes_on_until_it_is_woken),
        story_test(no_item_is_lost_among_many_waiters_of_which_half_are_cancelled),
        story_test(a_hook_may_not_wait_not_even_behind_a_shield),
        story_test(what_is_watched_or_ready_twice_is_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
