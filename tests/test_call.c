/* Calls: soon, later, at a moment, when a task is done; what they are bound to, and what they may do. */
#include "harness.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell_it(void *arg) { tell("%s", (const char *)arg); }

static void tell_when(void *arg) { tell("%s at %d ms", (const char *)arg, (int)(osr_now() / osr_ms(1))); }

/* Text that may be written to, as an argument. */
#define TEXT(text) ((char[]){text})

OSR_TASK(tell_turn, char, name)
{
    tell("%s", name);
    return 0;
}

/* ---- Soon ---------------------------------------------------------------------------------------------- */

TOLD_TEST(a_call_comes_as_soon_as_the_running_task_leaves, "still here\ncall\nanother call\nother task\nback\n")
{
    struct osr_call call = {.record_ = NULL}, another = call;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, tell_turn, TEXT("other task"));
    check(!osr_call_pending(&call));
    check_int(osr_call_soon(&call, tell_it, TEXT("call")), 0);
    check_int(osr_call_soon(&another, tell_it, TEXT("another call")), 0);
    check(osr_call_pending(&call));
    tell("still here");
    osr_yield();
    tell("back");
    check(!osr_call_pending(&call));
    return osr_group_close(&group, 0);
}

/* The check finds its deadline passed, and looks at the loop. */
TOLD_TEST(a_call_comes_as_soon_as_the_task_leaves_though_it_has_looked_at_the_loop, "call\nother task\n")
{
    struct osr_call call = {.record_ = NULL};
    struct osr_scope limit;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, tell_turn, TEXT("other task"));
    osr_call_soon(&call, tell_it, TEXT("call"));
    osr_move_on_open(&limit, 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&limit, 0), 0);
    osr_yield();
    return osr_group_close(&group, 0);
}

static int let_calls_come(void *unused)
{
    (void)unused;
    tell("cleaning up");
    return osr_yield();
}

TOLD_TEST(what_is_bound_to_a_scope_is_left_the_last_first_calls_and_clean_ups_alike, "cleaning up\nearly call\n")
{
    struct osr_call early = {.record_ = NULL}, late = early;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_call_soon(&early, tell_it, TEXT("early call")), 0);
    check_int(osr_defer(NULL, let_calls_come, NULL, osr_s(1)), 0);
    check_int(osr_call_soon(&late, tell_it, TEXT("late call")), 0);
    return osr_scope_close(&scope, 0);
}

struct chain {
    struct osr_call call;
    long left, steps_between;
};

static void call_again(void *arg)
{
    struct chain *chain = arg;

    if (chain->left-- > 0)
        check_int(osr_call_soon(&chain->call, call_again, chain), 0);
}

SIMULATED_TEST(calls_that_make_calls_without_end_let_tasks_run_and_time_pass)
{
    struct chain chain = {.left = 1000000};
    struct osr_call timer = {.record_ = NULL};
    int i;

    osr_call_soon(&chain.call, call_again, &chain);
    for (i = 0; i < 100; i++)
        check_int(osr_yield(), 0);
    check(chain.left > 1000000 - 200 && chain.left < 1000000 - 50);
    check_int(osr_call_at(&timer, osr_now(), tell_it, TEXT("due")), 0);
    osr_yield(), osr_yield();
    check(!osr_call_pending(&timer));
    return osr_call_cancel(&chain.call);
}

/* As long as a call is to come soon, nothing has to wait for time to pass. */
TOLD_TEST(time_does_not_pass_before_a_call_that_is_due, "soon at 0 ms\nlater at 5 ms\n")
{
    struct osr_call soon = {.record_ = NULL}, later = soon;

    osr_call_later(&later, osr_ms(5), tell_when, TEXT("later"));
    osr_call_soon(&soon, tell_when, TEXT("soon"));
    check_int(osr_sleep(osr_ms(10)), 0);
    return 0;
}

/* ---- Later --------------------------------------------------------------------------------------------- */

TOLD_TEST(calls_come_at_their_moments_and_those_of_one_moment_in_the_order_of_making,
          "past at 0 ms\nat once at 0 ms\na at 5 ms\nb at 5 ms\nc at 5 ms\nd at 7 ms\n")
{
    struct osr_call calls[6] = {{.record_ = NULL}}, never = calls[0], invalid = never;

    check_int(osr_call_at(&calls[0], osr_ms(7), tell_when, TEXT("d")), 0);
    check_int(osr_call_later(&calls[1], osr_ms(5), tell_when, TEXT("a")), 0);
    check_int(osr_call_at(&calls[2], osr_ms(5), tell_when, TEXT("b")), 0);
    check_int(osr_call_later(&calls[3], osr_ms(5), tell_when, TEXT("c")), 0);
    check_int(osr_call_later(&calls[4], -osr_ms(5), tell_when, TEXT("past")), 0);
    check_int(osr_call_later(&calls[5], 0, tell_when, TEXT("at once")), 0);
    check_int(osr_call_later(&never, OSR_NEVER, tell_when, TEXT("never")), 0);
    check_int(osr_call_later(&invalid, OSR_TIME_INVALID, tell_when, NULL), -EINVAL);
    check_int(osr_call_at(&invalid, OSR_TIME_INVALID, tell_when, NULL), -EINVAL);
    check(!osr_call_pending(&invalid));
    osr_sleep(osr_s(3600));
    check(osr_call_pending(&never));
    check_int(osr_call_cancel(&never), 0);
    check_int(osr_call_at(&never, OSR_NEVER, tell_when, TEXT("never")), 0);
    return 0;
}

OSR_TASK(wait_for_nothing, void, unused)
{
    struct osr_call call = {.record_ = NULL};
    struct osr_event event;

    osr_event_init(&event);
    check_int(osr_call_at(&call, OSR_NEVER, tell_it, NULL), 0);
    return osr_event_wait(&event);
}

static void a_call_that_never_comes_does_not_keep_a_run_alive(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(wait_for_nothing, NULL), -OSR_EDEADLOCK);
    osr_error_clear();
    assert_checked();
}

/* Without memory for the calls themselves, or, if there were as many before, for their timers. */
OSR_TASK(set_without_memory, bool, had_some)
{
    struct osr_call calls[200] = {{.record_ = NULL}};
    int i, rc = 0;

    for (i = 0; i < 200 && *had_some; i++)
        check_int(osr_call_at(&calls[i], OSR_NEVER, tell_it, TEXT("call")), 0);
    while (i-- > 0)
        check_int(osr_call_cancel(&calls[i]), 0);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    for (i = 0; i < 200 && rc == 0; i++)
        rc = osr_call_later(&calls[i], osr_ms(1), tell_it, TEXT("call"));
    counting.fail_at = 0;
    check_int(rc, -ENOMEM);
    check(!osr_call_pending(&calls[i - 1]));
    check_int(osr_call_later(&calls[i - 1], osr_ms(1), tell_it, TEXT("call")), 0);
    while (i-- > 0)
        check_int(osr_call_cancel(&calls[i]), 0);
    return 0;
}

static void without_memory_a_call_is_refused_and_can_be_made_again(void **state)
{
    bool had_some;
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        had_some = i;
        assert_int_equal(run_simulated(set_without_memory, &had_some, .allocator = &counting_allocator), 0);
        assert_checked();
        assert_int_equal(counting.live, 0);
        counting = (struct counting){0};
    }
}

/* ---- Taking back --------------------------------------------------------------------------------------- */

static void take_back(void *call) { check_int(osr_call_cancel(call), 0); }

static void take_itself_back(void *call)
{
    check(!osr_call_pending(call));
    check_int(osr_call_cancel(call), -ESTALE);
}

TOLD_TEST(a_call_that_is_taken_back_does_not_come, "c\n")
{
    struct osr_call a = {.record_ = NULL}, b = a, c = a, d = a;

    osr_call_soon(&a, tell_it, TEXT("a"));
    check_int(osr_call_soon(&a, tell_it, TEXT("a")), -EBUSY);
    check_int(osr_call_later(&a, 5, tell_it, TEXT("a")), -EBUSY);
    check_int(osr_call_cancel(&a), 0);
    check(!osr_call_pending(&a));
    check_int(osr_call_cancel(&a), -ESTALE);
    osr_call_later(&b, osr_ms(1), tell_it, TEXT("b"));
    check_int(osr_call_cancel(&b), 0);
    osr_call_soon(&a, take_back, &b); /* one call takes the next one back */
    osr_call_soon(&b, tell_it, TEXT("b"));
    osr_call_soon(&c, tell_it, TEXT("c"));
    osr_call_soon(&d, take_itself_back, &d);
    osr_sleep(osr_ms(5));
    check_int(osr_call_cancel(&c), -ESTALE);
    return 0;
}

/* ---- Scopes -------------------------------------------------------------------------------------------- */

OSR_TASK(leave_calls_behind, struct osr_task, target)
{
    struct osr_call soon = {.record_ = NULL}, later = soon, done = soon;

    check_int(osr_call_later(&later, osr_ms(1), tell_it, TEXT("later")), 0);
    check_int(osr_task_on_done(*target, &done, tell_it, TEXT("done")), 0);
    check_int(osr_call_soon(&soon, tell_it, TEXT("soon")), 0);
    return 0;
}

OSR_TASK(nap, void, unused) { return osr_sleep(osr_ms(2)); }

/* The frame of a task's function is gone before the task's own scope closes. */
TOLD_TEST(calls_are_gone_with_the_scope_that_they_are_bound_to, "outer\n")
{
    struct osr_call inner = {.record_ = NULL}, outer = inner;
    struct osr_scope scope;
    struct osr_group group;
    struct osr_task target;

    osr_group_open(&group);
    osr_spawn(&group, nap, NULL, .handle = &target);
    osr_spawn(&group, leave_calls_behind, &target); /* their frame is gone with them */
    osr_call_later(&outer, osr_ms(1), tell_it, TEXT("outer"));
    osr_scope_open(&scope);
    osr_call_later(&inner, osr_ms(1), tell_it, TEXT("inner"));
    osr_scope_close(&scope, 0);
    check(!osr_call_pending(&inner));
    return osr_group_close(&group, 0);
}

static struct osr_call made_in_a_call;

static void make_another(void *arg)
{
    check_int(osr_call_later(&made_in_a_call, osr_ms(1), tell_it, arg), 0);
}

TOLD_TEST(a_call_made_in_a_call_is_bound_to_the_same_scope, "first\n")
{
    struct osr_call call = {.record_ = NULL};
    struct osr_scope scope;

    made_in_a_call = call;
    osr_scope_open(&scope);
    osr_call_soon(&call, make_another, TEXT("first"));
    osr_sleep(osr_ms(2));
    osr_call_soon(&call, make_another, TEXT("second"));
    osr_yield();
    check(osr_call_pending(&made_in_a_call));
    osr_scope_close(&scope, 0);
    check(!osr_call_pending(&made_in_a_call));
    return osr_sleep(osr_ms(5));
}

static struct osr_call left_over;

OSR_TASK(end_with_a_call_to_come, void, unused)
{
    check_int(osr_call_soon(&left_over, tell_it, TEXT("too late")), 0);
    return 0;
}

static void a_call_that_is_due_when_the_run_ends_does_not_come(void **state)
{
    (void)state;
    left_over = (struct osr_call){.record_ = NULL};
    assert_int_equal(run_simulated(end_with_a_call_to_come, NULL), 0);
    assert_false(osr_call_pending(&left_over));
    assert_checked();
    assert_story("");
}

/* ---- When a task is done ------------------------------------------------------------------------------- */

OSR_TASK(fail_after_a_nap, void, unused)
{
    osr_sleep(osr_ms(1));
    return osr_fail(-EIO, "failed");
}

TOLD_TEST(a_call_comes_when_its_task_has_ended_however_it_ends,
          "failed at 1 ms\ncancelled at 1 ms\nwell at 2 ms\nat once at 2 ms\n")
{
    struct osr_call calls[4] = {{.record_ = NULL}}, late = calls[0];
    struct osr_group group;
    struct osr_task well, fails, cancelled;

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, nap, NULL, .handle = &well);
    osr_spawn(&group, fail_after_a_nap, NULL, .handle = &fails);
    osr_spawn(&group, nap, NULL, .handle = &cancelled);
    check_int(osr_task_on_done(well, &calls[0], tell_when, TEXT("well")), 0);
    check_int(osr_task_on_done(fails, &calls[1], tell_when, TEXT("failed")), 0);
    check_int(osr_task_on_done(cancelled, &calls[2], tell_when, TEXT("cancelled")), 0);
    check_int(osr_task_on_done(well, &calls[0], tell_when, TEXT("again")), -EBUSY);
    osr_sleep(osr_ms(1));
    osr_task_cancel(cancelled, NULL);
    osr_sleep(osr_ms(2) - osr_now());
    osr_yield();
    check_int(osr_task_on_done(well, &calls[3], tell_when, TEXT("at once")), 0);
    osr_yield();
    check_int(osr_task_release(&well), 0);
    check_int(osr_task_on_done(well, &late, tell_when, TEXT("never")), -ESTALE);
    check_int(osr_task_on_done(fails, NULL, tell_when, NULL), -EINVAL);
    check_int(osr_task_on_done(fails, &late, NULL, NULL), -EINVAL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_task_on_done(fails, &late, tell_when, TEXT("never")), -ESTALE);
    check(!osr_call_pending(&late));
    return 0;
}

TOLD_TEST(of_several_calls_for_one_task_each_comes_and_one_can_be_taken_back, "a\nc\n")
{
    struct osr_call a = {.record_ = NULL}, b = a, c = a;
    struct osr_group group;
    struct osr_task task;

    osr_group_open(&group);
    osr_spawn(&group, nap, NULL, .handle = &task);
    osr_task_on_done(task, &a, tell_it, TEXT("a"));
    osr_task_on_done(task, &b, tell_it, TEXT("b"));
    osr_task_on_done(task, &c, tell_it, TEXT("c"));
    check_int(osr_call_cancel(&b), 0);
    osr_sleep(osr_ms(5));
    check(!osr_call_pending(&a) && !osr_call_pending(&c));
    return osr_group_close(&group, 0);
}

/* ---- What calls may do --------------------------------------------------------------------------------- */

static void try_to_wait(void *arg)
{
    struct osr_group *group = arg;
    struct osr_scope scope;
    struct osr_task next;

    check_int(osr_sleep(1), -EPERM);
    check_int(osr_yield(), -EPERM);
    check_int(osr_check(), -EPERM);
    check_int(osr_scope_open(&scope), -EPERM);
    check_int(osr_group_next(group, &next), -EPERM);
    check_int(osr_group_close(group, 0), -EPERM);
}

SIMULATED_TEST(what_waits_is_refused_in_a_call)
{
    struct osr_call call = {.record_ = NULL};
    struct osr_group group;

    osr_group_open(&group);
    osr_call_soon(&call, try_to_wait, &group);
    osr_yield();
    check(!osr_call_pending(&call));
    return osr_group_close(&group, 0);
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(nothing_is_answered_with_a_code)
{
    struct osr_call call = {.record_ = NULL};
    struct osr_task none = {0};

    check_int(osr_call_soon(NULL, tell_it, NULL), -EINVAL);
    check_int(osr_call_soon(&call, NULL, NULL), -EINVAL);
    check_int(osr_call_later(NULL, 1, tell_it, NULL), -EINVAL);
    check_int(osr_call_later(&call, 1, NULL, NULL), -EINVAL);
    check_int(osr_call_at(NULL, 1, tell_it, NULL), -EINVAL);
    check_int(osr_call_at(&call, 1, NULL, NULL), -EINVAL);
    check_int(osr_call_cancel(NULL), -EINVAL);
    check_int(osr_call_cancel(&call), -ESTALE);
    check_int(osr_task_on_done(none, &call, tell_it, NULL), -ESTALE);
    check(!osr_call_pending(NULL) && !osr_call_pending(&call));
    return 0;
}

static void outside_a_run_no_calls_are_made(void **state)
{
    struct osr_call call = {.record_ = NULL};
    struct osr_task none = {0};

    (void)state;
    assert_int_equal(osr_call_soon(&call, tell_it, NULL), -EPERM);
    assert_int_equal(osr_call_later(&call, 1, tell_it, NULL), -EPERM);
    assert_int_equal(osr_call_at(&call, 1, tell_it, NULL), -EPERM);
    assert_int_equal(osr_call_cancel(&call), -EPERM);
    assert_int_equal(osr_task_on_done(none, &call, tell_it, NULL), -EPERM);
    assert_false(osr_call_pending(&call));
}

static struct osr_call made_after;
static bool it_came;

static void note_that_it_came(void *unused)
{
    (void)unused;
    it_came = true;
}

static void make_a_call(void *unused, unsigned count)
{
    (void)unused, (void)count;
    check_int(osr_call_later(&made_after, osr_ms(1), note_that_it_came, NULL), 0);
}

SIMULATED_TEST(a_call_made_on_no_task_is_bound_to_the_run_whatever_call_came_before)
{
    struct osr_scope scope;
    struct osr_call call = {0};
    struct osr_post post;

    it_came = false;
    check_int(osr_post_open(&post, make_a_call, NULL), 0);
    osr_timeout_open(&scope, OSR_NEVER);
    check_int(osr_call_soon(&call, tell_it, TEXT("bound to the scope")), 0);
    check_int(osr_yield(), 0);
    check_int(osr_post_fire(post), 0);
    check_int(osr_yield(), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    check_int(osr_sleep(osr_ms(5)), 0);
    check(it_came);
    return osr_post_close(&post);
}

/* ---- In a forked child --------------------------------------------------------------------------------- */

static void return_in_child(void *arg)
{
    pid_t pid = fork();

    (void)arg;
    if (pid == 0)
        alarm(30);
    else
        waitpid(pid, NULL, 0);
}

static void post_returns_in_child(void *arg, unsigned count)
{
    (void)count;
    return_in_child(arg);
}

OSR_TASK(sleep_beside_a_call, void, unused)
{
    struct osr_call call = {0};

    check_int(osr_call_later(&call, 1, return_in_child, NULL), 0);
    return osr_sleep(2);
}

OSR_TASK(sleep_beside_a_post, void, unused)
{
    struct osr_post post;

    check_int(osr_post_open(&post, post_returns_in_child, NULL), 0);
    check_int(osr_post_fire(post), 0);
    return osr_sleep(2);
}

OSR_TASK(sleep_beside_a_portal, void, unused)
{
    struct osr_portal portal;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_portal_open(&portal, &group), 0);
    check_int(osr_portal_post(portal, return_in_child, NULL), 0);
    check_int(osr_portal_post(portal, tell_it, TEXT("once")), 0);
    return osr_group_close(&group, osr_sleep(2));
}

static void let_a_call_return_in_a_child(void)
{
    (void)run_simulated(sleep_beside_a_call, NULL);
    die_of(SIGTERM);
}

static void let_a_post_return_in_a_child(void)
{
    (void)run_simulated(sleep_beside_a_post, NULL);
    die_of(SIGTERM);
}

static void let_a_portal_return_in_a_child(void)
{
    (void)run_simulated(sleep_beside_a_portal, NULL);
    die_of(SIGTERM);
}

static void a_call_that_returns_in_a_forked_child_stops_that_child(void **state)
{
    static const char says[] = "a callback returned in a forked child, where its run does not go on";

    (void)state;
    assert_dies(let_a_call_return_in_a_child, SIGTERM, says);
    assert_dies(let_a_post_return_in_a_child, SIGTERM, says);
    assert_dies(let_a_portal_return_in_a_child, SIGTERM, says);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_call_comes_as_soon_as_the_running_task_leaves),
        story_test(a_call_comes_as_soon_as_the_task_leaves_though_it_has_looked_at_the_loop),
        story_test(what_is_bound_to_a_scope_is_left_the_last_first_calls_and_clean_ups_alike),
        story_test(calls_that_make_calls_without_end_let_tasks_run_and_time_pass),
        story_test(time_does_not_pass_before_a_call_that_is_due),
        story_test(calls_come_at_their_moments_and_those_of_one_moment_in_the_order_of_making),
        story_test(a_call_that_never_comes_does_not_keep_a_run_alive),
        story_test(without_memory_a_call_is_refused_and_can_be_made_again),
        story_test(a_call_that_is_taken_back_does_not_come),
        story_test(calls_are_gone_with_the_scope_that_they_are_bound_to),
        story_test(a_call_made_in_a_call_is_bound_to_the_same_scope),
        story_test(a_call_that_is_due_when_the_run_ends_does_not_come),
        story_test(a_call_comes_when_its_task_has_ended_however_it_ends),
        story_test(of_several_calls_for_one_task_each_comes_and_one_can_be_taken_back),
        story_test(a_call_made_on_no_task_is_bound_to_the_run_whatever_call_came_before),
        story_test(what_waits_is_refused_in_a_call),
        story_test(nothing_is_answered_with_a_code),
        story_test(outside_a_run_no_calls_are_made),
        story_test(a_call_that_returns_in_a_forked_child_stops_that_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
