/* Groups: spawning, closing, what a close gives, the limit on running children. */
#include "harness.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- The children of these stories --------------------------------------------------------------------- */

struct child {
    const char *name;
    int64_t sleep;
    int rc; /* what it ends with: an error with the message "<name> failed", or a result */
};

static int outcome(const struct child *c)
{
    return c->rc < 0 ? osr_fail(c->rc, "%s failed", c->name) : c->rc;
}

OSR_TASK(say, struct child, c)
{
    tell("%s", c->name);
    return outcome(c);
}

OSR_TASK(sleep_then_end, struct child, c)
{
    int rc;

    tell("%s begins", c->name);
    rc = osr_sleep(c->sleep);
    tell("%s %s", c->name, rc < 0 ? "is cut" : "ends");
    return rc < 0 ? rc : outcome(c);
}

/* Waits to be cancelled, cleans up for `sleep`, and ends with `rc`. */
OSR_TASK(clean_up_then_end, struct child, c)
{
    struct osr_scope shield;
    int rc = osr_sleep(OSR_NEVER);

    osr_shield_open(&shield, osr_s(60));
    check_int(osr_sleep(c->sleep), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    return c->rc < 0 ? outcome(c) : rc;
}

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_TASK(end_at_once, void, unused) { return 0; }

/* Tells every leaf of `error`: its code, its task, its message. */
static void tell_leaves(const struct osr_error *error)
{
    struct osr_leaves walk;
    const struct osr_error *leaf;

    osr_leaves_init(&walk, error);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        tell("%s in %s: %s", osr_strcode(osr_error_code(leaf)), osr_error_task(leaf), osr_error_message(leaf));
}

/* ---- Spawning ------------------------------------------------------------------------------------------ */

OSR_TASK(spawn_three, void, unused)
{
    struct child a = {.name = "a"}, b = {.name = "b"}, c = {.name = "c"};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, say, &a), 0);
    check_int(osr_spawn(&group, say, &b), 0);
    check_int(osr_spawn(&group, say, &c), 0);
    tell("all spawned");
    return osr_group_close(&group, 0);
}

TEST(spawning_queues_the_child_and_never_switches)
{
    assert_int_equal(run_simulated(spawn_three, NULL), 0);
    assert_checked();
    assert_story("all spawned\na\nb\nc\n");
}

OSR_TASK(spawn_eagerly, void, unused)
{
    struct child queued = {.name = "queued"}, eager = {"eager", osr_ms(1), 0};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, say, &queued), 0);
    check_int(osr_spawn(&group, sleep_then_end, &eager, .eager = true), 0);
    tell("spawned");
    return osr_group_close(&group, 0);
}

TEST(an_eager_child_runs_to_its_first_wait_before_the_spawn_returns)
{
    assert_int_equal(run_simulated(spawn_eagerly, NULL), 0);
    assert_checked();
    assert_story("eager begins\nspawned\nqueued\neager ends\n");
}

OSR_TASK(spawn_eager_child_that_ends, void, unused)
{
    struct child eager = {.name = "eager", .rc = 7};
    struct osr_group group;
    struct osr_task handle;
    int rc = -1;

    osr_group_open(&group);
    check_int(osr_spawn(&group, say, &eager, .eager = true, .handle = &handle), 0);
    check_int(osr_task_state(handle), OSR_TASK_DONE);
    check_int(osr_task_result(handle, &rc), 0);
    check_int(rc, 7);
    check_int(osr_group_running(&group), 0);
    return osr_group_close(&group, 0);
}

TEST(an_eager_child_may_have_ended_when_the_spawn_returns)
{
    assert_int_equal(run_simulated(spawn_eager_child_that_ends, NULL), 0);
    assert_checked();
}

OSR_TASK(spawn_eager_child_that_fails, void, unused)
{
    struct child eager = {.name = "eager", .rc = -EIO};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, say, &eager, .eager = true), 0);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_group_close(&group, -ECANCELED), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(an_eager_child_that_fails_at_once_fails_the_group_and_not_the_spawn)
{
    assert_int_equal(run_simulated(spawn_eager_child_that_fails, NULL), 0);
    assert_checked();
    assert_story("eager\nEIO in say: eager failed\n");
}

OSR_TASK(spawn_eagerly_from_an_eager_child, struct osr_group, group)
{
    struct child inner = {"inner", osr_ms(2), 0};

    tell("outer begins");
    check_int(osr_spawn_copy(group, sleep_then_end, &inner, .eager = true), 0);
    tell("outer goes on");
    return osr_sleep(osr_ms(1));
}

OSR_TASK(nest_eager_children, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, spawn_eagerly_from_an_eager_child, &group, .eager = true), 0);
    tell("root goes on");
    return osr_group_close(&group, 0);
}

TEST(an_eager_child_may_spawn_eagerly_itself)
{
    assert_int_equal(run_simulated(nest_eager_children, NULL), 0);
    assert_checked();
    assert_story("outer begins\ninner begins\nouter goes on\nroot goes on\ninner ends\n");
}

OSR_TASK(start_in_cancelled_group, void, unused)
{
    tell("started");
    check_int(osr_check(), -ECANCELED);
    return -ECANCELED;
}

OSR_TASK(spawn_into_cancelled_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_group_cancel(&group, "no more");
    check_int(osr_spawn(&group, start_in_cancelled_group, NULL), 0);
    check_int(osr_spawn(&group, start_in_cancelled_group, NULL, .eager = true), 0);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

TEST(a_child_spawned_into_a_cancelled_group_starts_and_learns_of_it)
{
    assert_int_equal(run_simulated(spawn_into_cancelled_group, NULL), 0);
    assert_checked();
    assert_story("started\nstarted\n");
}

OSR_TASK(add_its_number, int, number)
{
    osr_yield();
    tell("%d", *number);
    *number = -1;
    return 0;
}

OSR_TASK(spawn_copies_in_a_loop, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 1; i <= 4; i++)
        check_int(osr_spawn_copy(&group, add_its_number, &i), 0);
    i = 99;
    check_int(osr_group_close(&group, 0), 0);
    check_int(i, 99);
    return 0;
}

TEST(copies_of_one_loop_variable_are_the_childrens_own)
{
    assert_int_equal(run_simulated(spawn_copies_in_a_loop, NULL), 0);
    assert_checked();
    assert_story("1\n2\n3\n4\n");
}

struct aligned {
    char first;
    max_align_t second;
};

OSR_TASK(check_alignment, struct aligned, copied)
{
    check_int((uintptr_t)copied % _Alignof(struct aligned), 0);
    check_int(copied->first, 'x');
    return 0;
}

OSR_TASK(spawn_aligned_copies, void, unused)
{
    struct aligned argument = {.first = 'x'};
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 40; i++)
        check_int(osr_spawn_copy(&group, check_alignment, &argument), 0);
    return osr_group_close(&group, 0);
}

TEST(copies_are_aligned_for_any_type)
{
    assert_int_equal(run_simulated(spawn_aligned_copies, NULL), 0);
    assert_checked();
}

OSR_TASK(sum_bytes, unsigned char, bytes)
{
    int i, sum = 0;

    osr_yield();
    for (i = 0; i < 12000; i++)
        sum += bytes[i];
    return sum;
}

OSR_TASK(spawn_copies_of_all_sizes, unsigned char, bytes)
{
    struct osr_group group;
    struct osr_task handle;

    osr_group_open(&group);
    check_int(osr_spawn(&group, sum_bytes, bytes, .copy = 12000, .handle = &handle), 0);
    check_int(osr_spawn(&group, sum_bytes, bytes, .copy = 65536 / 4 + 1), -E2BIG);
    check_int(osr_spawn(&group, sum_bytes, bytes, .copy = SIZE_MAX), -E2BIG);
    check_int(osr_group_running(&group), 1);
    memset(bytes, 0, 12000);
    check_int(osr_task_join(handle), 12000);
    return osr_group_close(&group, 0);
}

TEST(a_copy_larger_than_a_quarter_of_the_stack_is_refused)
{
    unsigned char *bytes = malloc(65536);

    memset(bytes, 1, 65536);
    assert_int_equal(run_simulated(spawn_copies_of_all_sizes, bytes), 0);
    free(bytes);
    assert_checked();
}

/* ---- Closing ------------------------------------------------------------------------------------------- */

OSR_TASK(close_waits, void, unused)
{
    struct child a = {"a", osr_ms(3), 5}, b = {"b", osr_ms(1), 0}, c = {"c", osr_ms(2), 0};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_then_end, &a);
    osr_spawn(&group, sleep_then_end, &b);
    osr_spawn(&group, sleep_then_end, &c);
    check_int(osr_group_running(&group), 3);
    check_int(osr_group_close(&group, 42), 42);
    check_int(osr_now(), osr_ms(3));
    check_int(osr_group_running(&group), 0);
    return 0;
}

TEST(a_close_waits_for_every_child_and_gives_the_bodys_result)
{
    assert_int_equal(run_simulated(close_waits, NULL), 0);
    assert_checked();
    assert_story("a begins\nb begins\nc begins\nb ends\nc ends\na ends\n");
}

OSR_TASK(close_an_empty_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_group_close(&group, 3), 3);
    check(osr_error_last() == NULL);
    check(!osr_scope_cancelled(&group.scope));
    return 0;
}

TEST(an_empty_group_gives_the_bodys_result)
{
    assert_int_equal(run_simulated(close_an_empty_group, NULL), 0);
    assert_checked();
}

OSR_TASK(cancel_a_closing_owner, void, unused)
{
    struct child cleaner = {"cleaner", osr_ms(50), 0};
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, clean_up_then_end, &cleaner);
    check_int(osr_group_close(&group, 0), -ECANCELED);
    check_int(osr_now(), osr_ms(60));
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    return 0;
}

TEST(a_cancellation_during_the_close_reaches_the_children_and_the_close_still_waits)
{
    assert_int_equal(run_simulated(cancel_a_closing_owner, NULL), 0);
    assert_checked();
}

static void count_steps(void *arg, const struct osr_trace_event *event)
{
    *(int *)arg += event->kind == OSR_TRACE_STEP;
}

TEST(waiting_for_a_shielded_child_in_a_cancelled_scope_does_not_spin)
{
    int steps = 0;

    assert_int_equal(run_simulated(cancel_a_closing_owner, NULL, .observe = count_steps, .observe_arg = &steps), 0);
    assert_checked();
    assert_true(steps > 0 && steps < 20);
}

/* What a close gives: one child, the body, and who was cancelled, in all combinations that matter. */
struct closing {
    bool cancel_outside, cancel_group;
    const struct osr_routine *child;
    struct child argument;
    int body, gives;
};

OSR_TASK(close_as_told, struct closing, c)
{
    struct osr_scope outside;
    struct osr_group group;
    int rc;

    osr_scope_open(&outside);
    osr_group_open(&group);
    if (c->child)
        osr_spawn_with(&group, c->child, &c->argument,
                       &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options), .where = OSR_HERE});
    osr_yield();
    if (c->cancel_group)
        osr_group_cancel(&group, "inside");
    if (c->cancel_outside)
        osr_scope_cancel(&outside, "outside");
    rc = osr_group_close(&group, c->body < 0 && c->body != -ECANCELED ? osr_fail(c->body, "body") : c->body);
    (void)osr_scope_close(&outside, rc);
    return rc == c->gives ? 0 : osr_fail(-EPROTO, "gave %s", osr_strcode(rc));
}

TEST(a_close_gives_errors_before_cancellations_before_the_bodys_result)
{
    const struct osr_routine *sleeper = &sleep_then_end.routine_, *cleaner = &clean_up_then_end.routine_;
    struct child forever = {"child", OSR_NEVER, 0}, brief = {"child", 0, 0}, fails = {"child", 0, -EIO};
    struct closing table[] = {
        /* a real error wins, whatever was cancelled beside */
        {false, false, sleeper, fails, 0, -OSR_EGROUP},
        {false, false, sleeper, fails, 5, -OSR_EGROUP},
        {true, false, cleaner, fails, 0, -OSR_EGROUP},
        {true, false, cleaner, fails, -ECANCELED, -OSR_EGROUP},
        {false, true, cleaner, fails, -ECANCELED, -OSR_EGROUP},
        {false, false, sleeper, forever, -EIO, -OSR_EGROUP},
        {true, false, sleeper, forever, -EIO, -OSR_EGROUP},
        {false, false, NULL, brief, -EIO, -OSR_EGROUP},
        /* then a cancellation that was passed on, if a scope outside is cancelled */
        {true, false, sleeper, forever, 0, -ECANCELED},
        {true, false, sleeper, forever, 5, -ECANCELED},
        {true, false, sleeper, forever, -ECANCELED, -ECANCELED},
        {true, true, sleeper, forever, 5, -ECANCELED},
        {true, false, NULL, brief, -ECANCELED, -ECANCELED},
        {true, false, sleeper, brief, -ECANCELED, -ECANCELED},
        /* then the body's result, also where the group took its own cancellation up */
        {false, false, sleeper, brief, 5, 5},
        {false, true, sleeper, forever, 5, 5},
        {true, false, NULL, brief, 5, 5},
        /* else 0 */
        {false, true, sleeper, forever, -ECANCELED, 0},
        {false, true, NULL, brief, -ECANCELED, 0},
    };
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int rc = run_simulated(close_as_told, &table[i]);

        if (rc != 0)
            fail_msg("case %zu: %s instead of %s", i, osr_error_message(osr_error_last()), osr_strcode(table[i].gives));
    }
}

OSR_TASK(absorb_behind_a_shield, void, unused)
{
    struct osr_scope outside, shield;
    struct osr_group group;

    osr_scope_open(&outside);
    osr_shield_open(&shield, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_scope_cancel(&outside, "outside");
    osr_group_cancel(&group, "inside");
    check_int(osr_group_close(&group, 5), 5);
    check(osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&shield, 5), 5);
    check_int(osr_scope_close(&outside, 5), 5);
    return 0;
}

TEST(a_group_takes_its_own_cancellation_up_where_a_shield_hides_the_one_outside)
{
    assert_int_equal(run_simulated(absorb_behind_a_shield, NULL), 0);
    assert_checked();
}

OSR_TASK(fail_on_many_sides, void, unused)
{
    struct child a = {"a", osr_ms(1), -EIO}, b = {"b", osr_ms(5), -EPROTO}, c = {"c", osr_ms(20), -EBADMSG};
    struct osr_scope shield;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, clean_up_then_end, &c, .name = "c");
    osr_spawn(&group, clean_up_then_end, &b, .name = "b");
    osr_spawn(&group, sleep_then_end, &a, .name = "a");
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_now(), osr_ms(1));
    osr_shield_open(&shield, osr_s(1));
    check_int(osr_sleep(osr_ms(10)), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    check_int(osr_group_close(&group, osr_fail(-ENOSPC, "body failed")), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(errors_stand_in_the_order_in_which_they_happened_the_bodys_at_the_close)
{
    assert_int_equal(run_simulated(fail_on_many_sides, NULL, .name = "root"), 0);
    assert_checked();
    assert_story("a begins\na ends\n"
                 "EIO in a: a failed\nEPROTO in b: b failed\nENOSPC in root: body failed\nEBADMSG in c: c failed\n");
}

OSR_TASK(fail_without_waiting, void, unused)
{
    struct child fails = {.name = "child", .rc = -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, say, &fails);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_now(), 0);
    check_int(osr_error_count(osr_error_last()), 1);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    return 0;
}

TEST(a_child_that_fails_without_ever_waiting_cancels_its_siblings)
{
    assert_int_equal(run_simulated(fail_without_waiting, NULL), 0);
    assert_checked();
}

OSR_TASK(count_the_cancelled, void, unused)
{
    struct child fails = {"fails", osr_ms(1), -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, end_at_once, NULL);
    osr_spawn(&group, sleep_then_end, &fails);
    check_int(osr_group_close(&group, osr_sleep(OSR_NEVER)), -OSR_EGROUP);
    check_int(osr_error_cancelled(osr_error_last()), 3);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

TEST(cancelled_children_and_a_cancelled_body_are_counted_and_are_no_leaves)
{
    assert_int_equal(run_simulated(count_the_cancelled, NULL), 0);
    assert_checked();
}

OSR_TASK(fail_while_being_cancelled, void, unused)
{
    struct child late = {"late", osr_ms(1), -EIO};
    struct osr_group group;
    const struct osr_reason *reason;

    osr_group_open(&group);
    osr_spawn(&group, clean_up_then_end, &late);
    osr_spawn(&group, sleep_forever, NULL);
    osr_yield();
    osr_group_cancel(&group, "by hand");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    reason = osr_scope_reason(&group.scope);
    check_int(reason->code, -ECANCELED);
    check_text(reason->text, "by hand");
    return 0;
}

TEST(an_error_in_a_cancelled_group_comes_out_and_leaves_the_first_reason)
{
    assert_int_equal(run_simulated(fail_while_being_cancelled, NULL), 0);
    assert_checked();
}

OSR_TASK(read_the_reason, void, unused)
{
    struct child culprit = {"culprit", 0, -EIO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, say, &culprit, .name = "culprit");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check(osr_scope_cancelled(&group.scope));
    check_int(osr_scope_reason(&group.scope)->code, -EIO);
    check_text(osr_scope_reason(&group.scope)->who, "culprit");
    return 0;
}

TEST(the_first_error_is_the_reason_for_which_a_group_was_cancelled)
{
    assert_int_equal(run_simulated(read_the_reason, NULL), 0);
    assert_checked();
}

OSR_TASK(cancel_own_group_then_block, struct osr_group, group)
{
    osr_group_cancel(group, "first thing");
    return osr_sleep(OSR_NEVER);
}

OSR_TASK(let_a_child_cancel_the_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, cancel_own_group_then_block, &group);
    return osr_group_close(&group, 0);
}

TEST(a_child_that_cancels_its_group_and_then_blocks_ends)
{
    assert_int_equal(run_simulated(let_a_child_cancel_the_group, NULL), 0);
}

OSR_TASK(fail_body_in_cancelled_scope, void, unused)
{
    struct osr_scope outside;
    struct osr_group group;

    osr_scope_open(&outside);
    osr_scope_cancel(&outside, "outside");
    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_group_close(&group, osr_fail(-EIO, "body failed")), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    check_int(osr_scope_close(&outside, -OSR_EGROUP), -OSR_EGROUP);
    check(osr_scope_caught(&outside));
    return 0;
}

TEST(a_body_that_fails_in_a_cancelled_scope_leaves_a_group_of_that_error_alone)
{
    assert_int_equal(run_simulated(fail_body_in_cancelled_scope, NULL, .name = "root"), 0);
    assert_checked();
    assert_story("EIO in root: body failed\n");
}

OSR_TASK(unwrap_one, void, unused)
{
    struct child fails = {"a", 0, -EIO};
    struct osr_group group;

    osr_group_open(&group, .unwrap = true);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, say, &fails, .name = "a");
    check_int(osr_group_close(&group, 0), -EIO);
    check(!osr_error_is_group(osr_error_last()));
    check_int(osr_error_code(osr_error_last()), -EIO);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(a_lone_error_comes_out_as_itself_where_that_was_asked_for)
{
    assert_int_equal(run_simulated(unwrap_one, NULL), 0);
    assert_checked();
    assert_story("a\nEIO in a: a failed\n");
}

OSR_TASK(unwrap_two, void, unused)
{
    struct child fails = {"a", 0, -EIO};
    struct osr_group group;

    osr_group_open(&group, .unwrap = true);
    osr_spawn(&group, say, &fails, .name = "a");
    check_int(osr_group_close(&group, osr_fail(-EPROTO, "body failed")), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 2);
    return 0;
}

TEST(two_errors_come_out_as_a_group_also_where_a_lone_one_would_not)
{
    assert_int_equal(run_simulated(unwrap_two, NULL), 0);
    assert_checked();
}

OSR_TASK(unwrap_nested, void, unused)
{
    struct child fails = {"a", 0, -EIO};
    struct osr_group outer, inner;
    int rc;

    osr_group_open(&outer, .unwrap = true, .name = "outer");
    osr_group_open(&inner, .name = "inner");
    osr_spawn(&inner, say, &fails);
    rc = osr_group_close(&inner, 0);
    check_int(osr_group_close(&outer, rc), -OSR_EGROUP);
    check_text(osr_error_group(osr_error_last()), "inner");
    return 0;
}

TEST(unwrapping_takes_off_one_group_and_not_those_inside)
{
    assert_int_equal(run_simulated(unwrap_nested, NULL), 0);
    assert_checked();
}

OSR_TASK(nest_groups, void, unused)
{
    struct child a = {"a", 0, -EIO}, b = {"b", 0, -EPROTO};
    struct osr_group outer, inner;
    const struct osr_error *error;
    int rc;

    osr_group_open(&outer, .name = "outer");
    osr_spawn(&outer, clean_up_then_end, &b, .name = "b");
    osr_yield();
    osr_group_open(&inner, .name = "inner");
    osr_spawn(&inner, say, &a, .name = "a");
    rc = osr_group_close(&inner, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_group_close(&outer, rc), -OSR_EGROUP);
    error = osr_error_last();
    check_text(osr_error_group(error), "outer");
    check_int(osr_error_count(error), 2);
    check_text(osr_error_group(osr_error_find(error, -EIO)), "");
    tell_leaves(error);
    return 0;
}

TEST(the_errors_of_an_inner_group_stand_in_a_group_of_their_own)
{
    assert_int_equal(run_simulated(nest_groups, NULL), 0);
    assert_checked();
    assert_story("a\nEIO in a: a failed\nEPROTO in b: b failed\n");
}

OSR_TASK(handle_inner_error, void, unused)
{
    struct child a = {"a", osr_ms(1), -EIO}, b = {"b", osr_ms(1), -EPROTO};
    struct osr_group outer, inner;

    osr_group_open(&outer);
    osr_spawn(&outer, sleep_then_end, &b, .name = "b");
    osr_group_open(&inner);
    osr_spawn(&inner, sleep_then_end, &a, .name = "a");
    check_int(osr_group_close(&inner, 0), -OSR_EGROUP);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_group_close(&outer, -ECANCELED), -OSR_EGROUP);
    tell_leaves(osr_error_last());
    return 0;
}

TEST(an_inner_error_handled_in_the_instant_of_an_outer_one_hides_nothing)
{
    assert_int_equal(run_simulated(handle_inner_error, NULL), 0);
    assert_checked();
    assert_story("b begins\na begins\nb ends\na ends\nEPROTO in b: b failed\n");
}

/* Nests `depth` groups, each owned by a child of the one before, the last of which fails. */
OSR_TASK(nest_deeper, int, depth)
{
    struct osr_group group;
    int next = *depth - 1;

    if (*depth == 0)
        return osr_fail(-EIO, "the deepest failed");
    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, nest_deeper, &next);
    return osr_group_close(&group, 0);
}

TEST(an_error_comes_up_through_many_levels_of_groups)
{
    int depth = (int)sized(1000, 100);
    const struct osr_error *leaf;

    assert_int_equal(run_simulated(nest_deeper, &depth), -OSR_EGROUP);
    assert_int_equal(osr_error_count(osr_error_last()), 1);
    leaf = osr_error_find(osr_error_last(), -EIO);
    assert_string_equal(osr_error_message(leaf), "the deepest failed");
    osr_error_clear();
}

OSR_TASK(cancel_deep_nesting, int, depth)
{
    struct osr_scope limit;
    struct osr_group group;

    if (*depth == 0)
        return osr_sleep(OSR_NEVER);
    osr_timeout_open(&limit, OSR_NEVER);
    osr_group_open(&group);
    osr_spawn_copy(&group, cancel_deep_nesting, &(int){*depth - 1});
    return osr_scope_close(&limit, osr_group_close(&group, 0));
}

OSR_TASK(time_out_deep_nesting, int, depth)
{
    struct osr_scope limit;
    struct osr_group group;

    osr_move_on_open(&limit, osr_ms(1));
    osr_group_open(&group);
    osr_spawn(&group, cancel_deep_nesting, depth);
    return osr_scope_close(&limit, osr_group_close(&group, 0));
}

TEST(a_cancellation_goes_down_through_many_levels_of_groups)
{
    int depth = (int)sized(1000, 100);

    assert_int_equal(run_simulated(time_out_deep_nesting, &depth), 0);
}

OSR_TASK(fail_in_a_scope_around_a_group, void, unused)
{
    struct child good = {"good", osr_ms(1), 0}, bad = {"bad", osr_ms(1), -EIO};
    struct osr_group first, second;

    osr_group_open(&first);
    osr_spawn(&first, sleep_then_end, &bad);
    check_int(osr_group_close(&first, 0), -OSR_EGROUP);
    osr_group_open(&second);
    check_int(osr_spawn(&second, sleep_then_end, &good), 0);
    check_int(osr_group_close(&second, 0), 0);
    check(osr_error_last() == NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    return 0;
}

TEST(after_a_failed_group_later_calls_work)
{
    assert_int_equal(run_simulated(fail_in_a_scope_around_a_group, NULL), 0);
    assert_checked();
}

/* ---- Refusals ------------------------------------------------------------------------------------------ */

OSR_TASK(use_refused_group, void, unused)
{
    struct child never = {.name = "never"};
    struct osr_group group;

    osr_group_open(&group, .limit = -1);
    check_int(osr_spawn(&group, say, &never), -EINVAL);
    check_int(osr_group_close(&group, 0), -EINVAL);
    check_int(osr_group_open(&group, .limit = -1), -EINVAL);
    check_int(osr_group_close(&group, osr_fail(-EIO, "body failed")) < 0, true);
    return 0;
}

TEST(a_group_that_could_not_be_opened_says_so_again_at_every_call)
{
    assert_int_equal(run_simulated(use_refused_group, NULL), 0);
    assert_checked();
    assert_story("");
}

OSR_TASK(ignore_failed_spawns, void, unused)
{
    struct child good = {"good", osr_ms(1), 0};
    struct osr_group group;

    osr_group_open(&group);
    (void)osr_spawn(&group, say, &good, .copy = SIZE_MAX / 2);
    (void)osr_spawn(&group, sleep_then_end, &good);
    (void)osr_spawn(&group, say, &good, .copy = SIZE_MAX / 2);
    check_int(osr_group_close(&group, 5), 5);
    check_int(osr_now(), osr_ms(1));
    return 0;
}

TEST(a_failed_spawn_leaves_the_group_as_it_was)
{
    assert_int_equal(run_simulated(ignore_failed_spawns, NULL), 0);
    assert_checked();
    assert_story("good begins\ngood ends\n");
}

OSR_TASK(spawn_after_close, void, unused)
{
    struct child never = {.name = "never"};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, end_at_once, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_spawn(&group, say, &never), -OSR_ECLOSED);
    check_int(osr_spawn(&group, say, &never, .eager = true), -OSR_ECLOSED);
    check_int(osr_group_cancel(&group, "late"), -OSR_ECLOSED);
    check_int(osr_group_close(&group, 0), -EINVAL);
    check_text(osr_error_message(osr_error_last()), "the group is closed already");
    return 0;
}

TEST(a_closed_group_takes_no_more_children)
{
    assert_int_equal(run_simulated(spawn_after_close, NULL), 0);
    assert_checked();
    assert_story("");
}

OSR_TASK(close_anothers_group, struct osr_group, group)
{
    check_int(osr_group_close(group, 0), -EPERM);
    check_int(osr_group_running(group), 1);
    return osr_check();
}

OSR_TASK(let_a_child_close_the_group, void, unused)
{
    struct child after = {.name = "after"};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, close_anothers_group, &group);
    osr_yield();
    check_int(osr_spawn(&group, say, &after), 0);
    check_int(osr_group_close(&group, 6), 6);
    return 0;
}

TEST(only_its_owner_closes_a_group)
{
    assert_int_equal(run_simulated(let_a_child_close_the_group, NULL), 0);
    assert_checked();
    assert_story("after\n");
}

/* ---- Who may spawn, and when --------------------------------------------------------------------------- */

OSR_TASK(spawn_a_sibling, struct osr_group, group)
{
    struct child sibling = {"sibling", osr_ms(5), 0};
    int rc;

    rc = osr_sleep(osr_ms(1));
    check_int(osr_spawn_copy(group, sleep_then_end, &sibling), 0);
    return rc;
}

OSR_TASK(spawn_while_closing, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, spawn_a_sibling, &group);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(6));
    return 0;
}

TEST(a_child_may_spawn_while_the_owner_waits_in_the_close)
{
    assert_int_equal(run_simulated(spawn_while_closing, NULL), 0);
    assert_checked();
    assert_story("sibling begins\nsibling ends\n");
}

OSR_TASK(spawn_a_helper_when_cancelled, struct osr_group, group)
{
    struct child helper = {.name = "helper"};
    int rc = osr_sleep(OSR_NEVER);

    check_int(osr_spawn_copy(group, say, &helper), 0);
    return rc;
}

OSR_TASK(clean_up_with_helpers, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, spawn_a_helper_when_cancelled, &group);
    osr_yield();
    osr_group_cancel(&group, "enough");
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

TEST(spawning_is_legal_while_the_group_is_being_cancelled)
{
    assert_int_equal(run_simulated(clean_up_with_helpers, NULL), 0);
    assert_checked();
    assert_story("helper\n");
}

struct stranger {
    struct osr_group *group;
    int64_t sleep;
    int gives;
};

OSR_TASK(tell_deadline, void, unused)
{
    tell(osr_deadline() == OSR_NEVER ? "no deadline" : "deadline %lld ms", (long long)(osr_deadline() / osr_ms(1)));
    return osr_fail(-EIO, "of the stranger's");
}

OSR_TASK(spawn_as_a_stranger, struct stranger, s)
{
    struct osr_scope limit;
    int rc;

    osr_timeout_open(&limit, osr_ms(900));
    rc = osr_sleep(s->sleep);
    check_int(osr_spawn(s->group, tell_deadline, NULL), s->gives);
    return osr_scope_close(&limit, rc);
}

OSR_TASK(let_a_stranger_spawn, int64_t, limit_inside)
{
    struct osr_group outer, inner;
    struct stranger stranger = {&inner, osr_ms(1), 0};
    struct osr_scope limit;
    int rc;

    osr_group_open(&outer);
    osr_spawn(&outer, spawn_as_a_stranger, &stranger);
    osr_timeout_open(&limit, *limit_inside);
    osr_group_open(&inner);
    rc = osr_group_close(&inner, osr_sleep(osr_ms(2)));
    check_int(rc, -OSR_EGROUP);
    (void)osr_scope_close(&limit, 0);
    check_int(osr_group_close(&outer, 0), 0);
    return 0;
}

TEST(a_child_lives_in_its_group_whoever_spawned_it)
{
    int64_t never = OSR_NEVER, soon = osr_ms(500);

    assert_int_equal(run_simulated(let_a_stranger_spawn, &never), 0);
    assert_int_equal(run_simulated(let_a_stranger_spawn, &soon), 0);
    assert_checked();
    assert_story("no deadline\ndeadline 500 ms\n");
}

OSR_TASK(let_a_stranger_come_late, void, unused)
{
    struct osr_group outer, inner;
    struct stranger stranger = {&inner, osr_ms(1), -OSR_ECLOSED};

    osr_group_open(&outer);
    osr_spawn(&outer, spawn_as_a_stranger, &stranger);
    osr_group_open(&inner);
    check_int(osr_group_close(&inner, 0), 0);
    check_int(osr_group_close(&outer, 0), 0);
    return 0;
}

TEST(a_stranger_that_comes_after_the_close_is_refused)
{
    assert_int_equal(run_simulated(let_a_stranger_come_late, NULL), 0);
    assert_checked();
    assert_story("");
}

/* ---- The limit on running children --------------------------------------------------------------------- */

static struct {
    int running, most;
} census;

OSR_TASK(count_itself, int64_t, duration)
{
    int rc;

    census.running++;
    if (census.running > census.most)
        census.most = census.running;
    rc = osr_sleep(*duration);
    census.running--;
    return rc;
}

OSR_TASK(spawn_twenty_under_a_limit, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group, .limit = 3);
    for (i = 0; i < 20; i++) {
        check_int(osr_spawn_copy(&group, count_itself, &(int64_t){osr_ms(1 + i % 4)}), 0);
        check(osr_group_running(&group) <= 3);
    }
    return osr_group_close(&group, 0);
}

TEST(never_more_children_run_than_the_limit_allows)
{
    census.running = census.most = 0;
    assert_int_equal(run_simulated(spawn_twenty_under_a_limit, NULL), 0);
    assert_checked();
    assert_int_equal(census.most, 3);
    assert_int_equal(census.running, 0);
}

struct spawner {
    struct osr_group *group;
    const char *name;
    int64_t before; /* when it comes */
    struct osr_task handle;
};

static const char *root_name = "root";

OSR_TASK(say_and_hold, const char *, name)
{
    tell("child of %s", *name);
    return osr_sleep(osr_ms(10));
}

OSR_TASK(spawn_one, struct spawner, s)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open(&shield, OSR_NEVER);
    rc = osr_scope_close(&shield, osr_sleep(s->before));
    if (rc == 0)
        rc = osr_spawn(s->group, say_and_hold, &s->name);
    tell("%s: %s at %lld", s->name, osr_strcode(rc), (long long)(osr_now() / osr_ms(1)));
    return rc;
}

OSR_TASK(spawn_from_many_tasks, void, unused)
{
    struct osr_group limited, others;
    struct spawner spawners[] = {{&limited, "a", 0, {0}}, {&limited, "b", 0, {0}}, {&limited, "c", 0, {0}}};
    int i;

    osr_group_open(&limited, .limit = 1);
    osr_group_open(&others);
    for (i = 0; i < 3; i++)
        osr_spawn(&others, spawn_one, &spawners[i]);
    check_int(osr_group_close(&others, 0), 0);
    check_int(osr_group_close(&limited, 0), 0);
    return 0;
}

TEST(spawners_are_served_in_the_order_in_which_they_came)
{
    assert_int_equal(run_simulated(spawn_from_many_tasks, NULL), 0);
    assert_checked();
    assert_story("a: 0 at 0\nchild of a\nb: 0 at 10\nchild of b\nc: 0 at 20\nchild of c\n");
}

/*
 * One child holds the only place until 10 ms, a and b wait for it, a first, and at `when` a is cancelled by a
 * task that was set up before the holder or after it, so that in one instant it comes first or last.
 */
struct contest {
    int64_t when;
    bool canceller_first;
};

struct canceller {
    struct osr_task *victim;
    int64_t when;
};

OSR_TASK(cancel_at, struct canceller, c)
{
    int rc = osr_sleep(c->when);

    check_int(osr_task_cancel(*c->victim, "go away"), 0);
    return rc;
}

OSR_TASK(contend_for_a_place, struct contest, contest)
{
    struct osr_group limited, others;
    struct spawner a = {&limited, "a", osr_ms(1), {0}}, b = {&limited, "b", osr_ms(2), {0}};
    struct canceller canceller = {&a.handle, contest->when};

    osr_group_open(&limited, .limit = 1);
    osr_group_open(&others);
    if (contest->canceller_first)
        osr_spawn(&others, cancel_at, &canceller);
    osr_spawn(&limited, say_and_hold, &root_name);
    if (!contest->canceller_first)
        osr_spawn(&others, cancel_at, &canceller);
    osr_spawn(&others, spawn_one, &a, .handle = &a.handle);
    osr_spawn(&others, spawn_one, &b, .handle = &b.handle);
    check_int(osr_group_close(&others, 0), 0);
    check_int(osr_group_close(&limited, 0), 0);
    return 0;
}

TEST(a_spawner_cancelled_while_it_waits_spawned_nothing_and_the_next_gets_the_place)
{
    struct contest contest = {osr_ms(5), false};

    assert_int_equal(run_simulated(contend_for_a_place, &contest), 0);
    assert_checked();
    assert_story("child of root\na: ECANCELED at 5\nb: 0 at 10\nchild of b\n");
}

TEST(a_spawner_cancelled_just_before_the_place_is_free_leaves_it_to_the_next)
{
    struct contest contest = {osr_ms(10), true};

    assert_int_equal(run_simulated(contend_for_a_place, &contest), 0);
    assert_checked();
    assert_story("child of root\na: ECANCELED at 10\nb: 0 at 10\nchild of b\n");
}

TEST(a_spawner_cancelled_after_the_place_was_handed_to_it_spawns_all_the_same)
{
    struct contest contest = {osr_ms(10), false};

    assert_int_equal(run_simulated(contend_for_a_place, &contest), 0);
    assert_checked();
    assert_story("child of root\na: 0 at 10\nchild of a\nb: 0 at 20\nchild of b\n");
}

OSR_TASK(spawn_cancelled_under_a_limit, void, unused)
{
    struct child first = {.name = "first"}, never = {.name = "never"};
    struct osr_group limited;
    struct osr_scope scope;

    osr_group_open(&limited, .limit = 1);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "before the spawn");
    check_int(osr_spawn(&limited, say, &first), 0);
    check_int(osr_spawn(&limited, say, &never), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_group_running(&limited), 1);
    check_int(osr_group_close(&limited, 0), 0);
    return 0;
}

TEST(a_spawn_that_need_not_wait_for_a_place_is_no_cancellation_point)
{
    assert_int_equal(run_simulated(spawn_cancelled_under_a_limit, NULL), 0);
    assert_checked();
    assert_story("first\n");
}

TEST(a_cancelled_task_spawns_nothing_under_a_limit_that_is_reached)
{
    struct contest contest = {osr_ms(0), true};

    assert_int_equal(run_simulated(contend_for_a_place, &contest), 0);
    assert_checked();
    assert_story("child of root\na: ECANCELED at 1\nb: 0 at 10\nchild of b\n");
}

OSR_TASK(close_while_a_spawner_waits, void, unused)
{
    struct osr_group others, limited;
    struct spawner a = {&limited, "a", osr_ms(1), {0}};

    osr_group_open(&others);
    osr_spawn(&others, spawn_one, &a);
    osr_group_open(&limited, .limit = 1);
    osr_spawn(&limited, say_and_hold, &root_name);
    check_int(osr_group_close(&limited, 0), 0);
    check_int(osr_now(), osr_ms(20));
    check_int(osr_group_close(&others, 0), 0);
    return 0;
}

TEST(a_place_handed_to_a_spawner_keeps_the_group_open)
{
    assert_int_equal(run_simulated(close_while_a_spawner_waits, NULL), 0);
    assert_checked();
    assert_story("child of root\na: 0 at 10\nchild of a\n");
}

static bool out_of_memory;

static unsigned fail_while_out_of_memory(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n, (void)what;
    return kind == OSR_CHOICE_FAULT && out_of_memory;
}

static void run_out_of_memory(bool now)
{
    out_of_memory = now;
    counting.made = 0;
    counting.fail_at = now;
    counting.all_after = now;
}

/* Uses up what the library keeps in store for spawning, so that the next spawn needs memory, and gets none. */
OSR_TASK(use_memory_up_at_ten, struct osr_group, group)
{
    struct osr_task handle;
    int rc, i;

    check_int(osr_sleep(osr_ms(10)), 0);
    run_out_of_memory(true);
    for (i = 0, rc = 0; i < 5000 && rc == 0; i++)
        rc = osr_spawn(group, end_at_once, NULL, .handle = &handle);
    check_int(rc, -ENOMEM);
    return 0;
}

OSR_TASK(spawn_one_without_memory, struct spawner, s)
{
    struct osr_task handle;
    int rc;

    osr_sleep(s->before);
    rc = osr_spawn(s->group, say_and_hold, &s->name, .handle = &handle);
    run_out_of_memory(false);
    tell("%s: %s", s->name, osr_strcode(rc));
    return 0;
}

OSR_TASK(fail_with_the_place_in_hand, void, unused)
{
    struct osr_group limited, others;
    struct spawner a = {&limited, "a", osr_ms(1), {0}}, b = {&limited, "b", osr_ms(2), {0}};

    osr_group_open(&limited, .limit = 1);
    osr_group_open(&others);
    osr_spawn(&limited, say_and_hold, &root_name);
    osr_spawn(&others, use_memory_up_at_ten, &others);
    osr_spawn(&others, spawn_one_without_memory, &a);
    osr_spawn(&others, spawn_one, &b);
    check_int(osr_group_close(&others, 0), 0);
    check_int(osr_group_close(&limited, 0), 0);
    return 0;
}

TEST(a_spawn_that_fails_with_the_place_in_hand_passes_it_on)
{
    assert_int_equal(run_simulated(fail_with_the_place_in_hand, NULL, .allocator = &counting_allocator,
                                   .choose = fail_while_out_of_memory),
                     0);
    assert_checked();
    assert_story("child of root\na: ENOMEM\nb: 0 at 10\nchild of b\n");
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(limit_of_one_among_many, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group, .limit = 1);
    for (i = 0; i < 500; i++)
        check_int(osr_spawn_copy(&group, count_itself, &(int64_t){i % 3}), 0);
    return osr_group_close(&group, 0);
}

TEST(places_are_conserved_over_many_spawns)
{
    census.running = census.most = 0;
    assert_int_equal(run_simulated(limit_of_one_among_many, NULL), 0);
    assert_checked();
    assert_int_equal(census.most, 1);
}

/* ---- Names --------------------------------------------------------------------------------------------- */

struct naming {
    const char *given;
    char group[256], task[256];
};

OSR_TASK(fail_by_name, void, unused) { return osr_fail(-EIO, "failed"); }

OSR_TASK(name_group_and_child, struct naming, naming)
{
    struct osr_group group;
    const struct osr_error *error;

    osr_group_open(&group, .name = naming->given);
    osr_spawn(&group, fail_by_name, NULL, .name = naming->given);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    error = osr_error_last();
    snprintf(naming->group, sizeof(naming->group), "%s", osr_error_group(error));
    snprintf(naming->task, sizeof(naming->task), "%s", osr_error_task(osr_error_find(error, EIO)));
    check(osr_error_format(error, NULL, 0) > 0);
    check(osr_tree_format(NULL, 0) > 0);
    return 0;
}

static void assert_named(const char *given, const char *kept)
{
    struct naming naming = {.given = given};

    assert_int_equal(run_simulated(name_group_and_child, &naming), 0);
    assert_checked();
    assert_string_equal(naming.group, kept);
    assert_string_equal(naming.task, kept);
}

TEST(names_are_kept_as_they_are)
{
    assert_named("primary", "primary");
    assert_named("100 % of %s and %n", "100 % of %s and %n");
    assert_named("a name of just 63 bytes ........................................", 
                 "a name of just 63 bytes .......................................");
}

TEST(long_names_are_cut_at_63_bytes)
{
    char *name = malloc(10 << 20), kept[64];

    memset(name, 'n', (10 << 20) - 1);
    name[(10 << 20) - 1] = '\0';
    memset(kept, 'n', 63);
    kept[63] = '\0';
    assert_named(name, kept);
    free(name);
}

OSR_TASK(forget_names, void, unused)
{
    struct osr_group group;
    char name[16] = "first";

    osr_group_open(&group, .name = name);
    osr_spawn(&group, fail_by_name, NULL, .name = name);
    strcpy(name, "second");
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_text(osr_error_group(osr_error_last()), "first");
    check_text(osr_error_task(osr_error_find(osr_error_last(), EIO)), "first");
    return 0;
}

TEST(names_are_copied)
{
    assert_int_equal(run_simulated(forget_names, NULL), 0);
    assert_checked();
}

/* ---- The moment between the last child's end and the end of the close ---------------------------------- */

OSR_TASK(spawn_and_cancel_too_late, struct osr_group, group)
{
    tell("spawn: %s", osr_strcode(osr_spawn(group, end_at_once, NULL)));
    tell("cancel: %s", osr_strcode(osr_group_cancel(group, "too late")));
    return 0;
}

OSR_TASK(close_beside_a_stranger, void, unused)
{
    struct osr_group inner, others;

    osr_group_open(&others);
    osr_group_open(&inner);
    osr_spawn(&inner, end_at_once, NULL);
    osr_spawn(&others, spawn_and_cancel_too_late, &inner);
    check_int(osr_group_close(&inner, 3), 3);
    tell("closed");
    check(!osr_scope_cancelled(&inner.scope));
    return osr_group_close(&others, 0);
}

TEST(once_the_last_child_has_ended_a_closing_group_takes_no_more)
{
    assert_int_equal(run_simulated(close_beside_a_stranger, NULL), 0);
    assert_checked();
    assert_story("spawn: OSR_ECLOSED\ncancel: OSR_ECLOSED\nclosed\n");
}

static struct osr_group never_opened;

OSR_TASK(use_a_group_that_was_opened_outside, void, unused)
{
    check_int(osr_spawn(&never_opened, end_at_once, NULL), -EPERM);
    check_int(osr_group_close(&never_opened, 0), -EPERM);
    return 0;
}

TEST(a_group_that_could_not_be_opened_answers_with_that_very_code)
{
    assert_int_equal(osr_group_open(&never_opened), -EPERM);
    assert_int_equal(run_simulated(use_a_group_that_was_opened_outside, NULL), 0);
    assert_checked();
    osr_error_clear();
}

/* ---- Nobody barges ------------------------------------------------------------------------------------- */

OSR_TASK(hold_for_a_turn, const char *, name)
{
    tell("child of %s", *name);
    return osr_yield();
}

OSR_TASK(spawn_when_ready, struct spawner, s)
{
    check_int(osr_sleep(s->before), 0);
    check_int(osr_spawn(s->group, hold_for_a_turn, &s->name), 0);
    return 0;
}

OSR_TASK(end_at_ten, void, unused) { return osr_sleep(osr_ms(10)); }

/* At 10 ms the place becomes free, and is handed to "patient"; "late" wakes at the same moment, and runs before it. */
OSR_TASK(try_to_barge, void, unused)
{
    struct osr_group limited, others;
    struct spawner patient = {&limited, "patient", osr_ms(1), {0}}, late = {&limited, "late", osr_ms(10), {0}};

    osr_group_open(&limited, .limit = 1);
    osr_group_open(&others);
    osr_spawn(&limited, end_at_ten, NULL);
    osr_spawn(&others, spawn_when_ready, &late);
    osr_spawn(&others, spawn_when_ready, &patient);
    check_int(osr_group_close(&others, 0), 0);
    return osr_group_close(&limited, 0);
}

TEST(nobody_takes_a_place_that_was_handed_to_another)
{
    assert_int_equal(run_simulated(try_to_barge, NULL), 0);
    assert_checked();
    assert_story("child of patient\nchild of late\n");
}

/* ---- What memory lacked for leaves nothing behind ------------------------------------------------------ */

OSR_TASK(spawn_for_a_handle_without_memory, void, unused)
{
    struct osr_group group;
    struct osr_task handle;
    char text[2048];

    osr_group_open(&group);
    check_int(osr_spawn(&group, end_at_once, NULL), 0);
    check_int(osr_sleep(1), 0);
    run_out_of_memory(true);
    check_int(osr_spawn(&group, end_at_once, NULL, .name = "ghost", .handle = &handle), -ENOMEM);
    run_out_of_memory(false);
    osr_tree_format(text, sizeof(text));
    check(strstr(text, "ghost") == NULL);
    check_int(osr_group_running(&group), 0);
    return osr_group_close(&group, 0);
}

TEST(a_spawn_that_failed_leaves_no_task_in_the_tree)
{
    assert_int_equal(run_simulated(spawn_for_a_handle_without_memory, NULL, .allocator = &counting_allocator,
                                   .choose = fail_while_out_of_memory),
                     0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(spawning_queues_the_child_and_never_switches),
        story_test(an_eager_child_runs_to_its_first_wait_before_the_spawn_returns),
        story_test(an_eager_child_may_have_ended_when_the_spawn_returns),
        story_test(an_eager_child_that_fails_at_once_fails_the_group_and_not_the_spawn),
        story_test(an_eager_child_may_spawn_eagerly_itself),
        story_test(a_child_spawned_into_a_cancelled_group_starts_and_learns_of_it),
        story_test(copies_of_one_loop_variable_are_the_childrens_own),
        story_test(copies_are_aligned_for_any_type),
        story_test(a_copy_larger_than_a_quarter_of_the_stack_is_refused),
        story_test(a_close_waits_for_every_child_and_gives_the_bodys_result),
        story_test(an_empty_group_gives_the_bodys_result),
        story_test(a_cancellation_during_the_close_reaches_the_children_and_the_close_still_waits),
        story_test(waiting_for_a_shielded_child_in_a_cancelled_scope_does_not_spin),
        story_test(a_close_gives_errors_before_cancellations_before_the_bodys_result),
        story_test(a_group_takes_its_own_cancellation_up_where_a_shield_hides_the_one_outside),
        story_test(errors_stand_in_the_order_in_which_they_happened_the_bodys_at_the_close),
        story_test(a_child_that_fails_without_ever_waiting_cancels_its_siblings),
        story_test(cancelled_children_and_a_cancelled_body_are_counted_and_are_no_leaves),
        story_test(an_error_in_a_cancelled_group_comes_out_and_leaves_the_first_reason),
        story_test(the_first_error_is_the_reason_for_which_a_group_was_cancelled),
        story_test(a_child_that_cancels_its_group_and_then_blocks_ends),
        story_test(a_body_that_fails_in_a_cancelled_scope_leaves_a_group_of_that_error_alone),
        story_test(a_lone_error_comes_out_as_itself_where_that_was_asked_for),
        story_test(two_errors_come_out_as_a_group_also_where_a_lone_one_would_not),
        story_test(unwrapping_takes_off_one_group_and_not_those_inside),
        story_test(the_errors_of_an_inner_group_stand_in_a_group_of_their_own),
        story_test(an_inner_error_handled_in_the_instant_of_an_outer_one_hides_nothing),
        story_test(an_error_comes_up_through_many_levels_of_groups),
        story_test(a_cancellation_goes_down_through_many_levels_of_groups),
        story_test(after_a_failed_group_later_calls_work),
        story_test(a_group_that_could_not_be_opened_says_so_again_at_every_call),
        story_test(a_failed_spawn_leaves_the_group_as_it_was),
        story_test(a_closed_group_takes_no_more_children),
        story_test(only_its_owner_closes_a_group),
        story_test(a_child_may_spawn_while_the_owner_waits_in_the_close),
        story_test(spawning_is_legal_while_the_group_is_being_cancelled),
        story_test(a_child_lives_in_its_group_whoever_spawned_it),
        story_test(a_stranger_that_comes_after_the_close_is_refused),
        story_test(never_more_children_run_than_the_limit_allows),
        story_test(spawners_are_served_in_the_order_in_which_they_came),
        story_test(a_spawner_cancelled_while_it_waits_spawned_nothing_and_the_next_gets_the_place),
        story_test(a_spawner_cancelled_just_before_the_place_is_free_leaves_it_to_the_next),
        story_test(a_spawner_cancelled_after_the_place_was_handed_to_it_spawns_all_the_same),
        story_test(a_spawn_that_need_not_wait_for_a_place_is_no_cancellation_point),
        story_test(a_cancelled_task_spawns_nothing_under_a_limit_that_is_reached),
        story_test(a_place_handed_to_a_spawner_keeps_the_group_open),
        story_test(a_spawn_that_fails_with_the_place_in_hand_passes_it_on),
        story_test(places_are_conserved_over_many_spawns),
        story_test(names_are_kept_as_they_are),
        story_test(long_names_are_cut_at_63_bytes),
        story_test(names_are_copied),
        story_test(once_the_last_child_has_ended_a_closing_group_takes_no_more),
        story_test(a_group_that_could_not_be_opened_answers_with_that_very_code),
        story_test(nobody_takes_a_place_that_was_handed_to_another),
        story_test(a_spawn_that_failed_leaves_no_task_in_the_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
