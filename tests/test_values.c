/* Values bound to scopes: who sees which. */
#include "harness.h"

#include "3_scope/scope.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- Looking ------------------------------------------------------------------------------------------- */

static const char colour, size;

/* What the calling task sees. */
static const char *seen(const void *key)
{
    const char *value = osri_value_from(osri_current()->scope, key);

    return value ? value : "nothing";
}

static int bind_text(struct osr_binding *binding, const void *key, const char *value)
{
    return osr_bind(binding, key, (void *)value);
}

OSR_TASK(tell_colour, void, unused)
{
    tell("a child sees %s", seen(&colour));
    return 0;
}

/* ---- Binding ------------------------------------------------------------------------------------------- */

SIMULATED_TEST(a_value_is_seen_until_its_scope_closes_and_inner_ones_hide_outer_ones)
{
    struct osr_binding red, blue, large, none;
    struct osr_scope outer, inner;

    check_text(seen(&colour), "nothing");
    osr_scope_open(&outer);
    check_int(bind_text(&red, &colour, "red"), 0);
    check_int(bind_text(&large, &size, "large"), 0);
    check_text(seen(&colour), "red");
    osr_scope_open(&inner);
    check_text(seen(&colour), "red");
    check_int(bind_text(&blue, &colour, "blue"), 0);
    check_text(seen(&colour), "blue");
    check_text(seen(&size), "large");
    check_int(bind_text(&none, &colour, NULL), 0);
    check_text(seen(&colour), "nothing");
    check_int(osr_scope_close(&inner, 0), 0);
    check_text(seen(&colour), "red");
    check_int(osr_scope_close(&outer, 0), 0);
    check_text(seen(&colour), "nothing");
    check_text(seen(&size), "nothing");
    return 0;
}

SIMULATED_TEST(the_later_of_two_in_one_scope_is_seen)
{
    struct osr_binding red, blue;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(bind_text(&red, &colour, "red"), 0);
    check_int(bind_text(&blue, &colour, "blue"), 0);
    check_text(seen(&colour), "blue");
    return osr_scope_close(&scope, 0);
}

OSR_TASK(bind_for_itself, void, unused)
{
    struct osr_binding green;

    check_int(bind_text(&green, &colour, "green"), 0);
    osr_yield();
    check_text(seen(&colour), "green");
    return 0;
}

SIMULATED_TEST(children_see_the_values_of_their_group_also_those_bound_later_and_not_each_others)
{
    struct osr_binding red, blue;
    struct osr_group group;

    check_int(bind_text(&red, &colour, "red"), 0);
    osr_group_open(&group);
    osr_spawn(&group, bind_for_itself, NULL);
    osr_spawn(&group, tell_colour, NULL);
    osr_yield();
    check_int(bind_text(&blue, &colour, "blue"), 0);
    osr_spawn(&group, tell_colour, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_text(seen(&colour), "red");
    return 0;
}

TEST(children_see_what_is_bound_in_the_scopes_around_their_group)
{
    children_see_the_values_of_their_group_also_those_bound_later_and_not_each_others(state);
    assert_story("a child sees red\na child sees blue\n");
}

OSR_TASK(spawn_into, struct osr_group, group)
{
    struct osr_binding mine;

    check_int(bind_text(&mine, &colour, "the spawner's"), 0);
    return osr_spawn(group, tell_colour, NULL);
}

SIMULATED_TEST(a_child_sees_the_values_of_its_group_whoever_spawns_it)
{
    struct osr_group outer, group;
    struct osr_binding red;

    osr_group_open(&outer);
    osr_group_open(&group);
    check_int(bind_text(&red, &colour, "the group's"), 0);
    osr_spawn(&outer, spawn_into, &group, .eager = true);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

TEST(values_come_from_the_group_and_not_from_the_spawner)
{
    a_child_sees_the_values_of_its_group_whoever_spawns_it(state);
    assert_story("a child sees the group's\n");
}

OSR_TASK(tell_before_and_after, void, unused)
{
    tell("before: %s", seen(&colour));
    check_int(osr_started(), 0);
    tell("after: %s", seen(&colour));
    return 0;
}

OSR_TASK(start_into, struct osr_group, group)
{
    struct osr_binding mine;

    check_int(bind_text(&mine, &colour, "the caller's"), 0);
    return osr_start(group, tell_before_and_after, NULL);
}

SIMULATED_TEST(a_child_that_is_being_started_sees_the_values_of_the_group_that_it_will_move_into)
{
    struct osr_group outer, group;
    struct osr_binding red;

    osr_group_open(&outer);
    osr_group_open(&group);
    check_int(bind_text(&red, &colour, "the group's"), 0);
    osr_spawn(&outer, start_into, &group, .eager = true);
    check_int(osr_group_close(&group, 0), 0);
    return osr_group_close(&outer, 0);
}

TEST(values_do_not_change_when_a_child_has_started)
{
    a_child_that_is_being_started_sees_the_values_of_the_group_that_it_will_move_into(state);
    assert_story("before: the group's\nafter: the group's\n");
}

static int tell_in_clean_up(void *arg)
{
    (void)arg;
    tell("clean-up sees %s", seen(&colour));
    return 0;
}

SIMULATED_TEST(clean_ups_still_see_what_is_bound_to_their_scope)
{
    struct osr_cleanup cleanup;
    struct osr_binding red;
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_defer(&cleanup, tell_in_clean_up, NULL, osr_s(1));
    check_int(bind_text(&red, &colour, "red"), 0);
    return osr_scope_close(&scope, 0);
}

TEST(values_outlive_the_clean_ups_of_their_scope)
{
    clean_ups_still_see_what_is_bound_to_their_scope(state);
    assert_story("clean-up sees red\n");
}

/* ---- Misuse, no memory --------------------------------------------------------------------------------- */

SIMULATED_TEST(what_cannot_be_bound_is_refused)
{
    struct osr_binding red, blue;
    struct osr_scope scope, inner;

    osr_scope_open(&scope);
    check_int(bind_text(NULL, &colour, "red"), -EINVAL);
    check_int(bind_text(&red, NULL, "red"), -EINVAL);
    check_int(bind_text(&red, &colour, "red"), 0);
    check_int(bind_text(&red, &colour, "green"), -EBUSY);
    check_int(bind_text(&blue, &colour, "blue"), 0);
    osr_scope_open(&inner);
    check_int(bind_text(&red, &size, "large"), -EBUSY);
    check_int(osr_scope_close(&inner, 0), 0);
    check_text(seen(&colour), "blue");
    check_text(seen(&size), "nothing");
    check_int(osr_scope_close(&scope, 0), 0);
    check_int(bind_text(&red, &colour, "again"), 0);
    return 0;
}

OSR_TASK(bind_without_memory, void, unused)
{
    struct osr_binding bindings[100];
    int i;

    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    for (i = 0; i < 100; i++)
        check_int(bind_text(&bindings[i], &colour, "red"), 0);
    check_text(seen(&colour), "red");
    return 0;
}

TEST(binding_takes_no_memory)
{
    assert_int_equal(run_simulated(bind_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

TEST(outside_tasks_nothing_is_bound)
{
    struct osr_binding red;

    assert_int_equal(bind_text(&red, &colour, "red"), -EPERM);
    osr_error_clear();
}

static const char shade;

static void see_it(void *arg)
{
    *(const char **)arg = osr_value(&shade);
}

SIMULATED_TEST(calls_see_the_values_of_the_scope_that_they_are_bound_to)
{
    struct osr_binding binding;
    struct osr_call call = {.record_ = NULL};
    struct osr_scope scope;
    const char *seen = NULL;

    osr_scope_open(&scope);
    check_int(osr_bind(&binding, &shade, (char[]){"dark"}), 0);
    check_int(osr_call_soon(&call, see_it, &seen), 0);
    check_int(osr_yield(), 0);
    check_text(seen, "dark");
    return osr_scope_close(&scope, 0);
}

OSR_TASK(see_it_in_a_worker, void, unused)
{
    const char *seen = osr_value(&shade);

    return seen && strcmp(seen, "dark") == 0 ? 0 : -EINVAL;
}

REAL_TEST(workers_see_the_values_of_the_task_that_waits)
{
    struct osr_binding binding;
    struct osr_scope scope;

    osr_scope_open(&scope);
    check_int(osr_bind(&binding, &shade, (char[]){"dark"}), 0);
    check_int(osr_worker(see_it_in_a_worker, NULL), 0);
    return osr_scope_close(&scope, 0);
}

static const char *seen_at_the_end;

static int look_at_the_end(void *arg)
{
    (void)arg;
    seen_at_the_end = seen(&colour);
    return 0;
}

/* Which here is not in the frame of the function, so that what is seen does not hang on what became of that. */
OSR_TASK(bind_for_the_task_itself, void, unused)
{
    static struct osr_binding red;

    check_int(osr_defer(NULL, look_at_the_end, NULL, osr_s(1)), 0);
    check_int(bind_text(&red, &colour, "red"), 0);
    check_text(seen(&colour), "red");
    return 0;
}

SIMULATED_TEST(clean_ups_of_a_task_see_nothing_that_its_function_has_bound_for_all_of_it)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, bind_for_the_task_itself, NULL), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_text(seen_at_the_end, "nothing");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_value_is_seen_until_its_scope_closes_and_inner_ones_hide_outer_ones),
        story_test(the_later_of_two_in_one_scope_is_seen),
        story_test(children_see_what_is_bound_in_the_scopes_around_their_group),
        story_test(values_come_from_the_group_and_not_from_the_spawner),
        story_test(values_do_not_change_when_a_child_has_started),
        story_test(values_outlive_the_clean_ups_of_their_scope),
        story_test(clean_ups_of_a_task_see_nothing_that_its_function_has_bound_for_all_of_it),
        story_test(what_cannot_be_bound_is_refused),
        story_test(binding_takes_no_memory),
        story_test(outside_tasks_nothing_is_bound),
        story_test(calls_see_the_values_of_the_scope_that_they_are_bound_to),
        story_test(workers_see_the_values_of_the_task_that_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
