/*
 * Bugs that users of other libraries of structured concurrency met, each as a test of what must happen instead.
 * Above each stand its number among all of these, the project, and its number there. 7 to 19 are in test_sync.c and
 * test_queue.c, 28 is in test_start.c, 36 in test_thread.c, 38 in test_future.c and test_policy.c.
 */
#include "harness.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

/* ---- Who takes part ------------------------------------------------------------------------------------ */

/* Ends after a while: with `result`, or cut. */
struct ending {
    int64_t after;
    int result;
    int rc;
};

OSR_TASK(ends_with, struct ending, e)
{
    e->rc = osr_sleep(e->after);
    return e->rc < 0 ? e->rc : e->result;
}

OSR_TASK(fails_with, struct ending, e)
{
    e->rc = osr_sleep(e->after);
    return e->rc < 0 ? e->rc : osr_fail(e->result, "as it was told to");
}

OSR_TASK(fails_at_once, void, unused) { return osr_fail(-EIO, "at once"); }

OSR_TASK(waits, int, rc)
{
    *rc = osr_sleep(OSR_NEVER);
    return *rc;
}

struct cancel {
    struct osr_scope *scope;
    int64_t after;
};

OSR_TASK(canceller, struct cancel, c)
{
    int rc = osr_sleep(c->after);

    return rc < 0 ? rc : osr_scope_cancel(c->scope, "by the test");
}

/* Waits although everything around is cancelled: a clean-up. */
static int clean_up(int64_t duration)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    return osr_scope_close(&shield, osr_sleep(duration));
}

static double processor_time(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

static void count_steps(void *arg, const struct osr_trace_event *event)
{
    *(int *)arg += event->kind == OSR_TRACE_STEP;
}

/* ---- Errors and cancellation in nested groups ----------------------------------------------------------- */

/* 1: cpython 116720 */
SIMULATED_TEST(test_an_outer_group_still_cancels_after_an_inner_groups_error_was_handled)
{
    struct osr_group outer, inner;
    struct ending outer_child = {osr_ms(10), -EIO, 1}, inner_child = {osr_ms(10), -EPROTO, 1};

    osr_group_open(&outer);
    osr_spawn(&outer, fails_with, &outer_child);
    osr_group_open(&inner);
    osr_spawn(&inner, fails_with, &inner_child);
    check_int(osr_group_close(&inner, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), EPROTO) != NULL);
    check_int(osr_error_count(osr_error_last()), 1);
    osr_error_clear(); /* handled */

    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_group_close(&outer, -ECANCELED), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), EIO) != NULL);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

/* 2: cpython 95289 */
SIMULATED_TEST(test_a_body_that_fails_to_clean_up_adds_its_error_and_leaves_no_trace)
{
    struct osr_group group;
    struct osr_leaves walk;
    const struct osr_error *tree;

    osr_group_open(&group);
    osr_spawn(&group, fails_at_once, NULL);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_group_close(&group, osr_fail(-EPROTO, "could not clean up")), -OSR_EGROUP);

    tree = osr_error_last();
    check_int(osr_error_count(tree), 2);
    osr_leaves_init(&walk, tree);
    check_int(osr_error_code(osr_leaves_next(&walk)), -EIO);
    check_int(osr_error_code(osr_leaves_next(&walk)), -EPROTO);
    check(osr_leaves_next(&walk) == NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_now(), osr_ms(1));
    return 0;
}

/* 3: cpython 86296 */
SIMULATED_TEST(test_a_result_that_was_there_before_the_cancel_is_kept)
{
    struct osr_group others;
    struct osr_scope scope;
    struct osr_task child;
    struct ending ending = {osr_ms(10), 42, 1};
    struct cancel cancel = {&scope, osr_ms(10)};

    osr_group_open(&others);
    osr_spawn(&others, ends_with, &ending, .handle = &child);
    osr_spawn(&others, canceller, &cancel);
    osr_scope_open(&scope);
    check_int(osr_task_join(child), 42);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return osr_group_close(&others, 0);
}

OSR_TASK(cancels_itself_and_succeeds, void, unused)
{
    osr_task_cancel(osr_self(), "for nothing");
    return 42;
}

/* 4: cpython 74234 */
SIMULATED_TEST(test_a_task_that_cancels_itself_and_never_waits_keeps_its_result)
{
    struct osr_group group;
    struct osr_task child;
    int result = 0;

    osr_group_open(&group);
    osr_spawn(&group, cancels_itself_and_succeeds, NULL, .handle = &child);
    check_int(osr_task_join(child), 42);
    check_int(osr_task_state(child), OSR_TASK_DONE);
    check_int(osr_task_result(child, &result), 0);
    check_int(result, 42);
    return osr_group_close(&group, 0);
}

/* 25: trio 1457 */
SIMULATED_TEST(test_a_body_that_fails_in_a_cancelled_scope_is_the_only_error)
{
    struct osr_scope outer;
    struct osr_group group;
    int rc = 1;

    osr_scope_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, waits, &rc);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_group_close(&group, osr_fail(-EIO, "the body")), -OSR_EGROUP);
    check_int(rc, -ECANCELED);
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    check(osr_error_find(osr_error_last(), EIO) != NULL);
    check_int(osr_scope_close(&outer, -OSR_EGROUP), -OSR_EGROUP);
    return 0;
}

/* 26: anyio 155 */
SIMULATED_TEST(test_a_child_that_fails_before_it_waits_cancels_its_sleeping_sibling)
{
    struct osr_group group;
    int before = 1, after = 1;

    osr_group_open(&group);
    osr_spawn(&group, waits, &before);
    osr_spawn(&group, fails_at_once, NULL);
    osr_spawn(&group, waits, &after);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(before, -ECANCELED);
    check_int(after, -ECANCELED);
    check_int(osr_error_count(osr_error_last()), 1);

    osr_group_open(&group);
    osr_spawn(&group, waits, &before, .eager = true);
    osr_spawn(&group, fails_at_once, NULL, .eager = true);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_group_close(&group, -ECANCELED), -OSR_EGROUP);
    return 0;
}

OSR_TASK(cancels_its_group_and_blocks, struct osr_group, group)
{
    int rc;

    osr_group_cancel(group, "first of all");
    rc = osr_sleep(OSR_NEVER);
    check_int(rc, -ECANCELED);
    return rc;
}

/* 27: cpython 155418 */
SIMULATED_TEST(test_a_child_that_cancels_its_group_and_then_blocks_ends)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, cancels_its_group_and_blocks, &group);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), 0);
    check(osr_scope_caught(&group.scope));
    return 0;
}

OSR_TASK(cleans_up_undisturbed, int, rc)
{
    int cut = osr_sleep(OSR_NEVER);

    *rc = clean_up(osr_ms(20));
    return cut;
}

OSR_TASK(fails_to_clean_up, void, unused)
{
    osr_sleep(OSR_NEVER);
    clean_up(osr_ms(5));
    return osr_fail(-EIO, "could not clean up");
}

struct counts {
    int cancels, wakes;
};

static void count_cancels_and_wakes(void *arg, const struct osr_trace_event *event)
{
    struct counts *counts = arg;

    counts->cancels += event->kind == OSR_TRACE_CANCEL;
    counts->wakes += event->kind == OSR_TRACE_WAKE && strcmp(event->name, "sibling") == 0;
}

OSR_TASK(fails_while_cancelling, void, unused)
{
    struct osr_group group;
    int rc = 1;

    osr_group_open(&group);
    osr_spawn(&group, cleans_up_undisturbed, &rc, .name = "sibling");
    osr_spawn(&group, fails_to_clean_up, NULL);
    check_int(osr_sleep(osr_ms(5)), 0);
    osr_group_cancel(&group, "by hand");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_now(), osr_ms(25));
    check_int(rc, 0);
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    check_int(osr_scope_reason(&group.scope)->code, -ECANCELED);
    check_text(osr_scope_reason(&group.scope)->text, "by hand");
    return 0;
}

/* 29: corral 2137857 */
static void test_an_error_in_a_group_that_is_being_cancelled_comes_out_and_cancels_nobody_again(void **state)
{
    struct counts counts = {0};

    (void)state;
    assert_int_equal(run_simulated(fails_while_cancelling, NULL, .observe = count_cancels_and_wakes,
                                   .observe_arg = &counts), 0);
    assert_checked();
    assert_int_equal(counts.cancels, 1);
    assert_int_equal(counts.wakes, 2); /* the cut, and the end of the clean-up */
}

/* ---- Timeouts ------------------------------------------------------------------------------------------ */

/* 6: async-timeout 229 */
SIMULATED_TEST(test_an_outer_cancel_before_the_close_turns_a_timeout_into_a_cancellation)
{
    struct osr_scope outer, limit;

    osr_scope_open(&outer);
    osr_timeout_open(&limit, osr_ms(5));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_reason(&limit)->code, -ETIMEDOUT);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_scope_close(&limit, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

/* 20: trio 860, anyio 698 */
SIMULATED_TEST(test_an_outer_cancel_during_the_unwinding_of_an_inner_one_takes_it_over)
{
    struct osr_group others;
    struct osr_scope outer, inner;
    struct cancel first = {&inner, osr_ms(5)}, then = {&outer, osr_ms(7)};

    osr_group_open(&others);
    osr_spawn(&others, canceller, &first);
    osr_spawn(&others, canceller, &then);
    osr_move_on_open(&outer, OSR_NEVER);
    osr_move_on_open(&inner, OSR_NEVER);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(clean_up(osr_ms(5)), 0);
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check(!osr_scope_caught(&inner));
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), 0);
    check(osr_scope_caught(&outer));
    return osr_group_close(&others, 0);
}

/* 30: trio 698 */
SIMULATED_TEST(test_a_timeout_cancelled_by_hand_has_not_timed_out)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_ms(5));
    osr_scope_cancel(&limit, "no longer needed");
    check_int(osr_sleep(osr_ms(10)), -ECANCELED);
    check_int(clean_up(osr_ms(10)), 0); /* the deadline passes meanwhile */
    check_int(osr_scope_close(&limit, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_scope_reason(&limit)->code, -ECANCELED);
    return 0;
}

struct limits {
    int64_t connect, transfer;
};

/* 31: trio 2512 */
SIMULATED_TEST(test_a_limit_prepared_long_before_its_scope_keeps_its_full_duration)
{
    struct limits limits = {osr_ms(20), osr_seconds(0.01)};
    struct osr_scope connect, transfer;

    check_int(osr_sleep(osr_ms(500)), 0);
    osr_timeout_open(&connect, limits.connect);
    osr_move_on_open(&transfer, limits.transfer);
    check_int(osr_deadline() - osr_now(), osr_ms(10));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(510));
    check_int(osr_scope_close(&transfer, -ECANCELED), 0);
    check_int(osr_scope_close(&connect, 0), 0);
    return 0;
}

/* 32: trio 320 */
SIMULATED_TEST(test_in_an_expired_scope_the_first_call_fails)
{
    struct osr_scope limit;

    check_int(osr_sleep(osr_ms(10)), 0);
    osr_timeout_open_at(&limit, osr_ms(5));
    check_int(osr_sleep(0), -ECANCELED);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_now(), osr_ms(10));
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    return 0;
}

/* ---- Shields ------------------------------------------------------------------------------------------- */

/* 21: anyio 642 */
SIMULATED_TEST(test_the_children_of_a_shielded_host_are_left_alone)
{
    struct osr_scope outer, shield;
    struct osr_group group;
    struct ending before = {osr_ms(10), 1, 1}, after = {osr_ms(20), 2, 1};

    osr_scope_open(&outer);
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    osr_spawn(&group, ends_with, &before);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_scope_cancel(&outer, NULL);
    osr_spawn(&group, ends_with, &after);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(before.rc, 0);
    check_int(after.rc, 0);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

OSR_TASK(cleans_up_for_long, int64_t, duration)
{
    check_int(clean_up(*duration), 0);
    return 0;
}

OSR_TASK(closes_a_group_in_a_cancelled_scope, int64_t, duration)
{
    struct osr_scope outer;
    struct osr_group group;
    double used = processor_time();

    osr_move_on_open(&outer, OSR_NEVER);
    osr_group_open(&group);
    osr_spawn(&group, cleans_up_for_long, duration);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check(processor_time() - used < 0.1);
    check(osr_now() >= *duration);
    check_int(osr_scope_close(&outer, 0), 0);
    return 0;
}

/* 22: anyio 695 */
static void test_closing_a_group_in_a_cancelled_scope_waits_without_spinning(void **state)
{
    int64_t simulated = osr_s(1), real = osr_ms(300);
    int steps = 0;

    (void)state;
    assert_int_equal(run_simulated(closes_a_group_in_a_cancelled_scope, &simulated, .observe = count_steps,
                                   .observe_arg = &steps), 0);
    assert_checked();
    assert_in_range(steps, 1, 6);

    steps = 0;
    assert_int_equal(osr_run(closes_a_group_in_a_cancelled_scope, &real, .observe = count_steps,
                             .observe_arg = &steps), 0);
    assert_checked();
    assert_in_range(steps, 1, 6);
}

static void count_closers_wakes(void *arg, const struct osr_trace_event *event)
{
    *(int *)arg += event->kind == OSR_TRACE_WAKE && strcmp(event->name, "closer") == 0;
}

struct closing {
    struct osr_scope scope;
    int64_t duration;
};

OSR_TASK(closes_a_group, struct closing, c)
{
    struct osr_group group;

    osr_move_on_open(&c->scope, OSR_NEVER);
    osr_group_open(&group);
    osr_spawn(&group, cleans_up_for_long, &c->duration);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_scope_close(&c->scope, 0), 0);
    return 0;
}

OSR_TASK(cancels_a_closer_repeatedly, void, unused)
{
    static struct closing closing;
    struct osr_group group;
    int i;

    closing = (struct closing){.duration = osr_ms(100)};
    osr_group_open(&group);
    osr_spawn(&group, closes_a_group, &closing, .name = "closer");
    for (i = 0; i < 10; i++) {
        check_int(osr_sleep(osr_ms(5)), 0);
        check_int(osr_scope_cancel(&closing.scope, NULL), 0);
    }
    return osr_group_close(&group, 0);
}

/* 23: anyio 1257 */
static void test_a_wait_that_cannot_be_cancelled_is_not_woken_in_a_cancelled_scope(void **state)
{
    int wakes = 0;

    (void)state;
    assert_int_equal(run_simulated(cancels_a_closer_repeatedly, NULL, .observe = count_closers_wakes,
                                   .observe_arg = &wakes), 0);
    assert_checked();
    assert_int_equal(wakes, 1); /* when the last child has ended */
}

/* ---- Descriptors --------------------------------------------------------------------------------------- */

/* A listening socket on the loopback interface, and its address. */
static int listen_somewhere(struct osr_address *address)
{
    int listener;

    check_int(osr_address_ip(address, "127.0.0.1", 0), 0);
    listener = osr_listen(address, 0);
    check(listener >= 0);
    check_int(osr_socket_address(listener, address), 0);
    return listener;
}

/* 5: cpython 81839 */
REAL_TEST(test_a_connect_that_meets_its_timeout_leaks_no_descriptor)
{
    struct osr_address address;
    struct osr_scope limit;
    int listener = listen_somewhere(&address), before = open_descriptors(), connected = 0, cut = 0, i, fd;

    for (i = 0; i < 60; i++) {
        osr_timeout_open(&limit, osr_us(i * 2));
        fd = osr_connect(&address);
        check(fd >= 0 || fd == -ECANCELED);
        if (fd >= 0)
            check_int(osr_fd_close(fd), 0);
        connected += fd >= 0;
        cut += fd < 0;
        osr_scope_close(&limit, fd < 0 ? fd : 0);
    }
    check_int(connected + cut, 60);
    check(cut > 0); /* the first, at least: its limit has passed */
    check_int(open_descriptors(), before);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

/* 24: eio 574 */
REAL_TEST(test_a_descriptor_that_nobody_waits_for_any_more_costs_nothing)
{
    struct osr_scope limit;
    char buffer[4] = "";
    double used;
    int ends[2];

    check_int(pipe(ends), 0);
    osr_timeout_open(&limit, osr_ms(5));
    check_int(osr_read(ends[0], buffer, sizeof(buffer)), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(write(ends[1], "x", 1), 1); /* readable from now on */
    used = processor_time();
    check_int(osr_sleep(osr_ms(300)), 0);
    check(processor_time() - used < 0.1);
    check_int(osr_read(ends[0], buffer, sizeof(buffer)), 1);
    check_text(buffer, "x");
    osr_fd_close(ends[0]);
    osr_fd_close(ends[1]);
    return 0;
}

struct accepting {
    int listener;
    struct osr_scope scope;
    int rc;
};

OSR_TASK(accepts_under_a_scope, struct accepting, a)
{
    osr_move_on_open(&a->scope, OSR_NEVER);
    a->rc = osr_accept(a->listener, NULL);
    osr_scope_close(&a->scope, a->rc < 0 ? a->rc : 0);
    return 0;
}

/* 34: cpython 153761 */
REAL_TEST(test_a_cancelled_accept_leaves_the_connection_to_the_next_one)
{
    static struct accepting accepting;
    struct osr_address address;
    struct osr_scope scope;
    struct osr_group group;
    int client, server;

    accepting = (struct accepting){.listener = listen_somewhere(&address)};
    client = osr_connect(&address); /* it waits in the backlog */
    check(client >= 0);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_accept(accepting.listener, NULL), -ECANCELED);
    osr_scope_close(&scope, -ECANCELED);
    server = osr_accept(accepting.listener, NULL);
    check(server >= 0);
    osr_fd_close(server);
    osr_fd_close(client);

    osr_group_open(&group); /* now with one that waits already */
    osr_spawn(&group, accepts_under_a_scope, &accepting);
    check_int(osr_sleep(osr_ms(5)), 0);
    client = osr_connect(&address);
    osr_scope_cancel(&accepting.scope, NULL);
    check_int(osr_group_close(&group, 0), 0);
    server = accepting.rc >= 0 ? accepting.rc : osr_accept(accepting.listener, NULL);
    check(server >= 0);
    osr_fd_close(server);
    osr_fd_close(client);
    osr_fd_close(accepting.listener);
    return 0;
}

/* ---- Left open ----------------------------------------------------------------------------------------- */

static void open_group_at(struct osr_group *group, const char *where)
{
    struct osr_group_options options = {.size = sizeof(options), .where = where};

    osr_group_open_with(group, &options);
}

OSR_TASK(returns_with_an_open_scope, void, unused)
{
    struct osr_scope scope;

    return osr_scope_open_here(&scope, OSR_SCOPE_TIMEOUT, osr_s(1), "opened.c:11");
}

OSR_TASK(returns_with_an_open_group, void, unused)
{
    struct osr_group group;

    open_group_at(&group, "opened.c:11");
    return 0;
}

OSR_TASK(closes_the_outer_scope_first, void, unused)
{
    struct osr_scope outer, inner;

    osr_scope_open(&outer);
    osr_scope_open_here(&inner, OSR_SCOPE_MOVE_ON, OSR_NEVER, "opened.c:11");
    osr_scope_close_here(&outer, 0, "closed.c:22");
    return 0;
}

OSR_TASK(closes_a_scope_round_an_open_group, void, unused)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_scope_open(&outer);
    open_group_at(&group, "opened.c:11");
    osr_scope_close_here(&outer, 0, "closed.c:22");
    return 0;
}

OSR_TASK(closes_a_group_round_an_open_scope, void, unused)
{
    struct osr_group group;
    struct osr_scope inner;

    osr_group_open(&group);
    osr_scope_open_here(&inner, OSR_SCOPE_TIMEOUT, OSR_NEVER, "opened.c:11");
    osr_group_close_here(&group, 0, "closed.c:22");
    return 0;
}

static void leaves_a_scope_open(void) { run_simulated(returns_with_an_open_scope, NULL); }
static void leaves_a_group_open(void) { run_simulated(returns_with_an_open_group, NULL); }
static void closes_in_the_wrong_order(void) { run_simulated(closes_the_outer_scope_first, NULL); }
static void closes_round_a_group(void) { run_simulated(closes_a_scope_round_an_open_group, NULL); }
static void closes_round_a_scope(void) { run_simulated(closes_a_group_round_an_open_scope, NULL); }

/* 33: trio 3298, trio 3329 */
static void test_a_task_that_returns_with_something_open_stops_the_program(void **state)
{
    (void)state;
    assert_dies(leaves_a_scope_open, SIGABRT, "opened.c:11");
    assert_dies(leaves_a_group_open, SIGABRT, "opened.c:11");
}

/* 33: trio 3298, trio 3329 */
static void test_closing_round_something_open_stops_the_program_and_names_both_places(void **state)
{
    static void (*const bodies[])(void) = {closes_in_the_wrong_order, closes_round_a_group, closes_round_a_scope};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        assert_dies(bodies[i], SIGABRT, "opened.c:11");
        assert_dies(bodies[i], SIGABRT, "closed.c:22");
    }
}

struct open {
    struct osr_scope scope;
    struct osr_group group;
};

OSR_TASK(closes_what_is_not_its_own, struct open, open)
{
    check_int(osr_group_close(&open->group, 0), -EPERM);
    check_int(osr_scope_close(&open->scope, -EIO), -EPERM);
    return 0;
}

OSR_TASK(lets_another_close, void, unused)
{
    struct osr_group others;
    struct open open;
    int rc = 1;

    osr_group_open(&others);
    osr_timeout_open(&open.scope, osr_ms(5));
    osr_group_open(&open.group);
    osr_spawn(&open.group, waits, &rc);
    osr_spawn(&others, closes_what_is_not_its_own, &open);
    check_int(osr_group_close(&open.group, 0), -ECANCELED);
    check_int(osr_now(), osr_ms(5));
    check_int(rc, -ECANCELED);
    check_int(osr_scope_close(&open.scope, -ECANCELED), -ETIMEDOUT);
    return osr_group_close(&others, 0);
}

/* 33: trio 3298, trio 3329 */
static void test_what_another_task_tries_to_close_stays_as_it_was(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(lets_another_close, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        story_test(test_an_outer_group_still_cancels_after_an_inner_groups_error_was_handled),
        story_test(test_a_body_that_fails_to_clean_up_adds_its_error_and_leaves_no_trace),
        story_test(test_a_result_that_was_there_before_the_cancel_is_kept),
        story_test(test_a_task_that_cancels_itself_and_never_waits_keeps_its_result),
        story_test(test_a_body_that_fails_in_a_cancelled_scope_is_the_only_error),
        story_test(test_a_child_that_fails_before_it_waits_cancels_its_sleeping_sibling),
        story_test(test_a_child_that_cancels_its_group_and_then_blocks_ends),
        story_test(test_an_error_in_a_group_that_is_being_cancelled_comes_out_and_cancels_nobody_again),
        story_test(test_an_outer_cancel_before_the_close_turns_a_timeout_into_a_cancellation),
        story_test(test_an_outer_cancel_during_the_unwinding_of_an_inner_one_takes_it_over),
        story_test(test_a_timeout_cancelled_by_hand_has_not_timed_out),
        story_test(test_a_limit_prepared_long_before_its_scope_keeps_its_full_duration),
        story_test(test_in_an_expired_scope_the_first_call_fails),
        story_test(test_the_children_of_a_shielded_host_are_left_alone),
        story_test(test_closing_a_group_in_a_cancelled_scope_waits_without_spinning),
        story_test(test_a_wait_that_cannot_be_cancelled_is_not_woken_in_a_cancelled_scope),
        story_test(test_a_connect_that_meets_its_timeout_leaks_no_descriptor),
        story_test(test_a_descriptor_that_nobody_waits_for_any_more_costs_nothing),
        story_test(test_a_cancelled_accept_leaves_the_connection_to_the_next_one),
        story_test(test_a_task_that_returns_with_something_open_stops_the_program),
        story_test(test_closing_round_something_open_stops_the_program_and_names_both_places),
        story_test(test_what_another_task_tries_to_close_stays_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
