/* Tasks that begin on the stack of one that has just ended, or have not begun at all: nothing of others is to be seen. */
#include "harness.h"

#include <osier/debug.h>

/* ---- What the one before has left ----------------------------------------------------------------------- */

enum { NEARLY_A_RUNAWAY = 9999 };

static int told;

static void count_runaways(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)text;
    told += kind == OSR_DIAGNOSIS_RUNAWAY;
}

OSR_TASK(refused_often, void, unused)
{
    int i, rc = 0;

    for (i = 0; i < NEARLY_A_RUNAWAY; i++)
        rc = osr_sleep(0);
    return rc;
}

OSR_TASK(two_after_another_refused_often, void, unused)
{
    struct osr_group group;

    int i, rc = 0;

    for (i = 0; i < 2 && rc == 0; i++) { /* the second one has the stack that the first one has left */
        osr_group_open(&group);
        osr_group_cancel(&group, "for the test");
        osr_spawn(&group, refused_often, NULL);
        rc = osr_group_close(&group, 0);
    }
    return rc;
}

static void calls_refused_to_the_task_before_are_not_counted(void **state)
{
    (void)state;
    told = 0;
    assert_int_equal(run_simulated(two_after_another_refused_often, NULL, .diagnose = count_runaways), 0);
    assert_int_equal(told, 0);
}

OSR_TASK(recover_from_a_failure, void, unused)
{
    check_int(osr_task_cancel((struct osr_task){0}, "nobody"), -ESTALE);
    return 0;
}

OSR_TASK(return_that_code, void, unused)
{
    return -ESTALE;
}

SIMULATED_TEST(a_bare_code_has_nothing_of_the_failure_of_the_task_before)
{
    struct osr_group group;
    struct osr_leaves walk;
    const struct osr_error *leaf;
    const char *spawned;

    osr_group_open(&group);
    osr_spawn(&group, recover_from_a_failure, NULL);
    osr_spawn(&group, return_that_code, NULL), spawned = OSR_HERE;
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    osr_leaves_init(&walk, osr_error_last());
    leaf = osr_leaves_next(&walk);
    check_int(osr_error_code(leaf), -ESTALE);
    check_text(osr_error_where(leaf), spawned);
    check_text(osr_error_task(leaf), "return_that_code");
    return 0;
}

static struct osr_task selves[3];

OSR_TASK(say_who_it_is, int, which)
{
    selves[*which] = osr_self();
    check_int(osr_task_state(selves[*which]), OSR_TASK_RUNNING);
    return 0;
}

SIMULATED_TEST(each_task_has_a_handle_of_its_own)
{
    static int which[] = {0, 1, 2};
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, say_who_it_is, &which[i]);
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < 3; i++)
        check_int(osr_task_state(selves[i]), -ESTALE);
    check(selves[0].id_ != selves[1].id_ && selves[1].id_ != selves[2].id_);
    return 0;
}

OSR_TASK(look_at_an_error_and_succeed, void, unused)
{
    check_int(osr_task_cancel((struct osr_task){0}, "nobody"), -ESTALE);
    check(osr_error_last() != NULL);
    return 0;
}

OSR_TASK(many_look_at_an_error, void, unused)
{
    struct osr_group group;
    long before = 0;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 10000; i++) {
        check_int(osr_spawn(&group, look_at_an_error_and_succeed, NULL), 0);
        check_int(osr_yield(), 0);
        before = i == 100 ? counting.made : before;
    }
    check_int(counting.made, before);
    return osr_group_close(&group, 0);
}

static void an_error_that_was_looked_at_goes_with_its_task(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(many_look_at_an_error, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

struct copied {
    char bytes[60000];
};

OSR_TASK(have_a_copy, struct copied, copy)
{
    return copy->bytes[0];
}

static int __attribute__((noinline)) fill_much_of_the_stack(void)
{
    volatile char frame[220000];
    size_t i;

    for (i = 0; i < sizeof(frame); i += 64)
        frame[i] = 1;
    return frame[0];
}

OSR_TASK(use_much_of_the_stack, void, unused)
{
    return fill_much_of_the_stack() - 1;
}

OSR_TASK(use_much_of_the_stack_after_a_copy, void, unused)
{
    static struct copied copied;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn_copy(&group, have_a_copy, &copied);
    osr_spawn(&group, use_much_of_the_stack, NULL);
    return osr_group_close(&group, 1);
}

static void the_copy_of_an_argument_takes_nothing_from_the_stack_of_the_next_task(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(use_much_of_the_stack_after_a_copy, NULL, .stack_size = 1 << 18), 1);
}

static int spawn_some(const struct osr_routine *routine, void *arg, size_t copy)
{
    const struct osr_spawn_options options = {.size = sizeof(options), .where = OSR_HERE, .copy = copy};
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 5; i++)
        check_int(osr_spawn_with(&group, routine, arg, &options), 0);
    return osr_group_close(&group, 0);
}

OSR_TASK(copy_arguments_to_stacks_that_were_in_use, void, unused)
{
    static struct copied copied;

    check_int(spawn_some(&use_much_of_the_stack.routine_, NULL, 0), 0);
    return spawn_some(&have_a_copy.routine_, &copied, 3000);
}

/* What was below a frame that is gone is out of bounds for Valgrind, until it is told. */
static void an_argument_is_copied_where_the_task_before_had_its_frames(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(copy_arguments_to_stacks_that_were_in_use, NULL, .stack_size = 1 << 18), 0);
    assert_checked();
}

/* ---- Before it has begun -------------------------------------------------------------------------------- */

OSR_TASK(sleep_for_ever, void, unused)
{
    return osr_sleep(OSR_NEVER);
}

SIMULATED_TEST(a_task_that_has_not_begun_is_not_shown_as_the_one_before)
{
    struct osr_group group;
    struct osr_task task;
    char tree[1024];

    osr_group_open(&group);
    osr_spawn(&group, sleep_for_ever, NULL, .handle = &task);
    check_int(osr_yield(), 0);
    osr_task_cancel(task, "it has slept enough");
    check_int(osr_task_join(task), -OSR_ETASKCANCELED);
    osr_spawn(&group, sleep_for_ever, NULL);
    osr_tree_format(tree, sizeof(tree));
    check(strstr(tree, "\"sleep_for_ever\", spawned at ") != NULL);
    check(strstr(tree, "cancelled") == NULL);
    osr_group_cancel(&group, "enough");
    return osr_group_close(&group, 0);
}

OSR_TASK(note_that_it_is_cancelled, int, seen)
{
    *seen += osr_cancelled() && osr_sleep(0) == -ECANCELED;
    return 0;
}

SIMULATED_TEST(who_is_cancelled_before_it_begins_sees_it_when_it_begins)
{
    struct osr_group group;
    int seen = 0, i;

    osr_group_open(&group);
    for (i = 0; i < 5; i++)
        osr_spawn(&group, note_that_it_is_cancelled, &seen);
    osr_group_cancel(&group, "before they begin");
    for (i = 0; i < 5; i++)
        osr_spawn(&group, note_that_it_is_cancelled, &seen);
    check_int(osr_group_close(&group, 0), 0);
    check_int(seen, 10);
    return 0;
}

OSR_TASK(read_the_deadline, int64_t, deadline)
{
    *deadline = osr_deadline();
    return 0;
}

SIMULATED_TEST(a_deadline_that_is_set_before_it_begins_is_in_effect_when_it_begins)
{
    struct osr_group with, without;
    int64_t one = 0, other = 0;

    osr_group_open(&with);
    osr_spawn(&with, read_the_deadline, &one);
    check_int(osr_scope_set_deadline(&with.scope, osr_s(1000000)), 0);
    check_int(osr_group_close(&with, 0), 0);
    check(one == osr_s(1000000));
    osr_group_open(&without);
    osr_spawn(&without, read_the_deadline, &other);
    check_int(osr_group_close(&without, 0), 0);
    check(other == OSR_NEVER);
    return 0;
}

/* ---- A cancellation that is passed on ------------------------------------------------------------------- */

OSR_TASK(sleep_and_fail, int64_t, until)
{
    return osr_sleep(*until) < 0 ? 0 : -EIO;
}

/* The error's own task has had nothing cut; the other one has, and the body takes no notice of either. */
SIMULATED_TEST(what_a_child_has_had_cut_makes_a_timeout_though_its_group_failed)
{
    struct osr_scope limit;
    struct osr_group group;
    int64_t until = osr_ms(10);

    osr_timeout_open(&limit, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, sleep_for_ever, NULL);
    osr_spawn(&group, sleep_and_fail, &until);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    check_int(osr_scope_close(&limit, 0), -ETIMEDOUT);
    return 0;
}

/* ---- Who is next ---------------------------------------------------------------------------------------- */

enum { MOST_IN_TURN = 70 };

static int turns[2 * MOST_IN_TURN], taken;

OSR_TASK(take_two_turns, int, which)
{
    int rc;

    turns[taken++] = *which;
    rc = osr_yield();
    turns[taken++] = *which;
    return rc;
}

/* Who asks for a turn first has it first, however many there are, and whatever becomes of those who run meanwhile. */
OSR_TASK(have_turns_taken, int, count)
{
    static int which[MOST_IN_TURN];
    struct osr_group group;
    int i;

    taken = 0;
    osr_group_open(&group);
    for (i = 0; i < *count; i++) {
        which[i] = i;
        check_int(osr_spawn(&group, take_two_turns, &which[i]), 0);
    }
    check_int(osr_yield(), 0);
    check_int(taken, *count);
    check_int(osr_group_close(&group, 0), 0);
    check_int(taken, 2 * *count);
    for (i = 0; i < taken; i++)
        check_int(turns[i], i % *count);
    return 0;
}

static unsigned always_the_first(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)kind, (void)n, (void)what;
    return 0;
}

static void each_number_of_tasks_has_its_turns_in_order(void **state)
{
    int count;

    (void)state;
    for (count = 1; count <= MOST_IN_TURN; count++) {
        assert_int_equal(run_simulated(have_turns_taken, &count), 0);
        assert_int_equal(run_simulated(have_turns_taken, &count, .choose = always_the_first), 0);
    }
    assert_checked();
}

OSR_TASK(spawn_while_others_wait_their_turn, void, unused)
{
    static int which[MOST_IN_TURN];
    struct osr_group group;
    int i;

    taken = 0;
    osr_group_open(&group);
    for (i = 0; i < MOST_IN_TURN; i++) {
        which[i] = i;
        check_int(osr_spawn(&group, take_two_turns, &which[i]), 0);
        if (i == 4)
            check_int(osr_yield(), 0); /* so that the queue does not begin where its memory does */
    }
    check_int(osr_group_close(&group, 0), 0);
    check_int(taken, 2 * MOST_IN_TURN);
    for (i = 0; i < taken; i++)
        check_int(turns[i], i < 10 ? i % 5 : i < 75 ? i - 5 : i - 70);
    return 0;
}

static void those_who_wait_keep_their_order_when_more_come(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(spawn_while_others_wait_their_turn, NULL), 0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(calls_refused_to_the_task_before_are_not_counted),
        story_test(a_bare_code_has_nothing_of_the_failure_of_the_task_before),
        story_test(each_task_has_a_handle_of_its_own),
        story_test(each_number_of_tasks_has_its_turns_in_order),
        story_test(those_who_wait_keep_their_order_when_more_come),
        story_test(an_error_that_was_looked_at_goes_with_its_task),
        story_test(the_copy_of_an_argument_takes_nothing_from_the_stack_of_the_next_task),
        story_test(an_argument_is_copied_where_the_task_before_had_its_frames),
        story_test(a_task_that_has_not_begun_is_not_shown_as_the_one_before),
        story_test(who_is_cancelled_before_it_begins_sees_it_when_it_begins),
        story_test(a_deadline_that_is_set_before_it_begins_is_in_effect_when_it_begins),
        story_test(what_a_child_has_had_cut_makes_a_timeout_though_its_group_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
