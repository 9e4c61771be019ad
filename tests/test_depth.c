/*
 * Great depths and great numbers. All of these run on task stacks of the usual size, so what walks a tree of
 * scopes, groups or errors by recursion overflows here, and what costs more than its size does not end.
 */
#include "harness.h"

#include <time.h>

/* The library's own checks are left out: they walk everything at every step. */
#define run_big(...) osr_run(__VA_ARGS__, .clock = OSR_CLOCK_SIMULATED)

/* What is linear takes some milliseconds here; what is quadratic, with so many, takes many seconds. */
static void assert_linear(void (*run)(long), long size)
{
    clock_t before = clock();

    run(size);
    if (!under_tools() && clock() - before > 2 * CLOCKS_PER_SEC)
        fail_msg("%ld took %ld ms", size, (long)((clock() - before) / (CLOCKS_PER_SEC / 1000)));
}

struct cancel {
    struct osr_scope *scope;
    int64_t after;
};

OSR_TASK(canceller, struct cancel, c)
{
    int rc = osr_sleep(c->after);

    return rc < 0 ? rc : osr_scope_cancel(c->scope, "from outside");
}

/* ---- Nested scopes ------------------------------------------------------------------------------------- */

struct nest {
    long depth, cancelled; /* how many scopes, and which one is cancelled: 0 is the outermost */
};

static void open_all(struct osr_scope *scopes, long depth)
{
    long i;

    for (i = 0; i < depth; i++)
        if (osr_scope_open(&scopes[i]) != 0)
            check(!"a scope could not be opened");
}

/* Closes them innermost first; gives how many did other than a scope there must. */
static long close_all(struct osr_scope *scopes, const struct nest *nest, int rc)
{
    long i, wrong = 0;

    for (i = nest->depth - 1; i >= 0; i--) {
        rc = osr_scope_close(&scopes[i], rc);
        if (i > nest->cancelled)
            wrong += rc != -ECANCELED || osr_scope_caught(&scopes[i]);
        else if (i == nest->cancelled)
            wrong += rc != -OSR_ESCOPECANCELED || !osr_scope_caught(&scopes[i]);
        else
            wrong += rc != 0 || osr_scope_caught(&scopes[i]);
        if (i == nest->cancelled)
            rc = 0;
    }
    return wrong;
}

OSR_TASK(nested_scopes, struct nest, nest)
{
    struct osr_scope *scopes = calloc((size_t)nest->depth, sizeof(*scopes));
    struct osr_group others;
    struct cancel cancel = {scopes ? &scopes[nest->cancelled] : NULL, osr_ms(1)};

    if (!scopes)
        return osr_fail(-ENOMEM, "no memory for the scopes");
    osr_group_open(&others);
    osr_spawn(&others, canceller, &cancel);
    open_all(scopes, nest->depth);
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    check_int(osr_now(), osr_ms(1));
    check_int(close_all(scopes, nest, -ECANCELED), 0);
    check_int(osr_check(), 0);
    free(scopes);
    return osr_group_close(&others, 0);
}

static void run_nested_scopes(long depth, long cancelled)
{
    struct nest nest = {depth, cancelled};

    assert_int_equal(run_big(nested_scopes, &nest), 0);
    assert_checked();
}

static void test_a_hundred_thousand_nested_scopes_are_cancelled_from_the_outermost(void **state)
{
    (void)state;
    run_nested_scopes(sized(100000, 2000), 0);
}

static void test_a_hundred_thousand_nested_scopes_are_cancelled_from_the_middle(void **state)
{
    (void)state;
    run_nested_scopes(sized(100000, 2000), sized(50000, 1000));
}

static void test_a_hundred_thousand_nested_scopes_are_cancelled_from_the_innermost(void **state)
{
    (void)state;
    run_nested_scopes(sized(100000, 2000), sized(100000, 2000) - 1);
}

static void run_outermost(long depth)
{
    run_nested_scopes(depth, 0);
}

static void test_nested_scopes_cost_no_more_than_their_number(void **state)
{
    (void)state;
    assert_linear(run_outermost, sized(200000, 2000));
}

OSR_TASK(nested_timeouts, long, depth)
{
    struct osr_scope *scopes = calloc((size_t)*depth, sizeof(*scopes));
    long i, wrong = 0;
    int rc;

    if (!scopes)
        return osr_fail(-ENOMEM, "no memory for the scopes");
    for (i = 0; i < *depth; i++)
        osr_timeout_open(&scopes[i], osr_s(1) + i); /* the outermost is the first */
    check_int(osr_deadline(), osr_s(1));
    rc = osr_sleep(OSR_NEVER);
    check_int(rc, -ECANCELED);
    check_int(osr_now(), osr_s(1));
    for (i = *depth - 1; i > 0; i--)
        wrong += (rc = osr_scope_close(&scopes[i], rc)) != -ECANCELED;
    check_int(wrong, 0);
    check_int(osr_scope_close(&scopes[0], rc), -ETIMEDOUT);
    free(scopes);
    return 0;
}

static void test_nested_timeouts_end_with_the_outermost(void **state)
{
    long depth = sized(100000, 2000);

    (void)state;
    assert_int_equal(run_big(nested_timeouts, &depth), 0);
    assert_checked();
}

/* ---- Nested groups ------------------------------------------------------------------------------------- */

/* One level: a task that opens a group, and spawns the next level in it. */
struct level {
    long below;
    int (*bottom)(void);
};

static long levels_begun, levels_ended, levels_cancelled;

OSR_TASK(level, struct level, l)
{
    struct level next = {l->below - 1, l->bottom};
    struct osr_group group;
    int rc;

    levels_begun++;
    if (l->below == 0) {
        rc = l->bottom();
    } else {
        osr_group_open(&group, .name = "level");
        osr_spawn(&group, level, &next);
        rc = osr_group_close(&group, 0);
    }
    levels_ended++;
    levels_cancelled += rc == -ECANCELED;
    return rc;
}

static int sleeps_for_ever(void)
{
    return osr_sleep(OSR_NEVER);
}

OSR_TASK(nested_groups, long, depth)
{
    struct level top = {*depth, sleeps_for_ever};
    struct osr_scope scope;
    struct osr_group others, group;
    struct cancel cancel = {&scope, osr_ms(1)};
    int rc;

    osr_group_open(&others);
    osr_spawn(&others, canceller, &cancel);
    osr_scope_open(&scope);
    osr_group_open(&group);
    osr_spawn(&group, level, &top);
    rc = osr_group_close(&group, 0);
    check_int(rc, -ECANCELED);
    check_int(osr_scope_close(&scope, rc), -OSR_ESCOPECANCELED);
    check_int(osr_now(), osr_ms(1));
    return osr_group_close(&others, 0);
}

static void run_nested_groups(long depth)
{
    levels_begun = levels_ended = levels_cancelled = 0;
    assert_int_equal(run_big(nested_groups, &depth), 0);
    assert_checked();
    assert_int_equal(levels_begun, depth + 1);
    assert_int_equal(levels_ended, depth + 1);
    assert_int_equal(levels_cancelled, depth + 1);
}

static void test_ten_thousand_nested_groups_all_end_when_cancelled_from_outside(void **state)
{
    (void)state;
    run_nested_groups(sized(10000, 500));
}

static void test_nested_groups_cost_no_more_than_their_number(void **state)
{
    (void)state;
    assert_linear(run_nested_groups, sized(30000, 500));
}

/* ---- A deep tree of errors ----------------------------------------------------------------------------- */

static int fails(void)
{
    return osr_fail(-EIO, "deep down");
}

static bool is_anything(const struct osr_error *leaf, void *unused)
{
    (void)unused;
    return leaf != NULL;
}

/* The tree's text, which may be long: indented, it grows with the square of the depth. */
static void check_text_of(const struct osr_error *tree)
{
    static char beginning[4096];
    size_t length = osr_error_format(tree, NULL, 0);
    char *text;

    check(length > 0);
    check_int(osr_error_format(tree, beginning, sizeof(beginning)), length);
    check_int(strlen(beginning), length < sizeof(beginning) ? length : sizeof(beginning) - 1);
    text = malloc(length + 1);
    check(text != NULL);
    if (!text)
        return;
    check_int(osr_error_format(tree, text, length + 1), length);
    check_int(strlen(text), length);
    check(strncmp(text, beginning, strlen(beginning)) == 0);
    check(strstr(text, "deep down") != NULL);
    free(text);
}

static void check_split(const struct osr_error *tree)
{
    struct osr_error *matching, *rest;
    int code = EIO, other = EPROTO;

    check_int(osr_error_split(tree, osr_error_has_code, &code, &matching, &rest), 0);
    check_int(osr_error_count(matching), 1);
    check(osr_error_is_group(matching));
    check(rest == NULL);
    osr_error_release(matching);

    check_int(osr_error_split(tree, osr_error_has_code, &other, &matching, &rest), 0);
    check(matching == NULL);
    check_int(osr_error_count(rest), 1);
    osr_error_release(rest);

    matching = osr_error_subgroup(tree, is_anything, NULL);
    check_int(osr_error_count(matching), 1);
    osr_error_release(matching);
}

OSR_TASK(looks_at_a_deep_error, long, depth)
{
    struct level top = {*depth, fails};
    struct osr_group group;
    struct osr_error *tree;
    const struct osr_error *leaf;

    osr_group_open(&group);
    osr_spawn(&group, level, &top);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    tree = osr_error_take();
    check(osr_error_is_group(tree));
    check_int(osr_error_count(tree), 1);
    leaf = osr_error_find(tree, EIO);
    check(leaf != NULL);
    check_text(osr_error_message(leaf), "deep down");
    check_text_of(tree);
    check_split(tree);
    osr_error_release(tree);
    return 0;
}

static void test_an_error_below_ten_thousand_groups_can_be_read_and_released(void **state)
{
    long depth = sized(10000, 500), live;

    (void)state;
    levels_ended = 0;
    assert_int_equal(run_big(looks_at_a_deep_error, &depth, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(levels_ended, depth + 1);
    live = counting.live;
    assert_int_equal(live, 0);
}

OSR_TASK(passes_a_deep_error_on, long, depth)
{
    struct level top = {*depth, fails};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, level, &top);
    return osr_group_close(&group, 0);
}

static void test_a_deep_error_outlives_its_run(void **state)
{
    long depth = sized(10000, 500);

    (void)state;
    assert_int_equal(run_big(passes_a_deep_error_on, &depth), -OSR_EGROUP);
    assert_int_equal(osr_error_count(osr_error_last()), 1);
    osr_error_clear();
}

OSR_TASK(wraps_again_and_again, long, depth)
{
    const struct osr_error *error;
    int rc = osr_fail(-EIO, "the first cause");
    long i;

    for (i = 0; i < *depth; i++)
        rc = osr_wrap(rc, "step %ld", i);
    error = osr_error_last();
    for (i = 0; osr_error_cause(error); i++)
        error = osr_error_cause(error);
    check_int(i, *depth);
    check_text(osr_error_message(error), "the first cause");
    check(osr_error_format(osr_error_last(), NULL, 0) > 0);
    osr_error_clear();
    return 0;
}

static void test_a_long_chain_of_causes_can_be_read_and_released(void **state)
{
    long depth = sized(10000, 500);

    (void)state;
    assert_int_equal(run_big(wraps_again_and_again, &depth, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

/* ---- Many tasks ---------------------------------------------------------------------------------------- */

struct crowd {
    long size, awake, cut;
};

static struct crowd crowd;

OSR_TASK(sleeps, void, unused)
{
    int rc;

    crowd.awake++;
    rc = osr_sleep(osr_s(1) + crowd.awake); /* each has a time of its own */
    crowd.cut += rc == -ECANCELED;
    return rc;
}

OSR_TASK(many_sleepers, void, unused)
{
    struct osr_group group;
    long i, spawned = 0;

    osr_group_open(&group);
    for (i = 0; i < crowd.size; i++)
        spawned += osr_spawn(&group, sleeps, NULL) == 0;
    check_int(spawned, crowd.size);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(crowd.awake, crowd.size);
    check_int(osr_group_running(&group), crowd.size);
    check_int(osr_group_cancel(&group, "enough"), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(1));
    check_int(crowd.cut, crowd.size);
    check(osr_scope_caught(&group.scope));
    return 0;
}

static void test_two_hundred_thousand_sleeping_tasks_are_cancelled_and_joined(void **state)
{
    (void)state;
    crowd = (struct crowd){.size = sized(200000, 2000)};
    assert_int_equal(run_big(many_sleepers, NULL), 0);
    assert_checked();
}

OSR_TASK(sleeps_to_the_end, void, unused)
{
    int rc = osr_sleep(osr_s(1) + ++crowd.awake % 1000);

    crowd.cut += rc == -ECANCELED;
    return rc;
}

OSR_TASK(many_sleep_to_the_end, void, unused)
{
    struct osr_group group;
    long i;

    osr_group_open(&group);
    for (i = 0; i < crowd.size; i++)
        osr_spawn(&group, sleeps_to_the_end, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_s(1) + 999);
    check_int(crowd.awake, crowd.size);
    check_int(crowd.cut, 0);
    return 0;
}

static void test_two_hundred_thousand_sleeping_tasks_wake_by_themselves(void **state)
{
    (void)state;
    crowd = (struct crowd){.size = sized(200000, 2000)};
    assert_int_equal(run_big(many_sleep_to_the_end, NULL), 0);
    assert_checked();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        story_test(test_a_hundred_thousand_nested_scopes_are_cancelled_from_the_outermost),
        story_test(test_a_hundred_thousand_nested_scopes_are_cancelled_from_the_middle),
        story_test(test_a_hundred_thousand_nested_scopes_are_cancelled_from_the_innermost),
        story_test(test_nested_scopes_cost_no_more_than_their_number),
        story_test(test_nested_timeouts_end_with_the_outermost),
        story_test(test_ten_thousand_nested_groups_all_end_when_cancelled_from_outside),
        story_test(test_nested_groups_cost_no_more_than_their_number),
        story_test(test_an_error_below_ten_thousand_groups_can_be_read_and_released),
        story_test(test_a_deep_error_outlives_its_run),
        story_test(test_a_long_chain_of_causes_can_be_read_and_released),
        story_test(test_two_hundred_thousand_sleeping_tasks_are_cancelled_and_joined),
        story_test(test_two_hundred_thousand_sleeping_tasks_wake_by_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
