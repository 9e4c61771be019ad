/* The test kit (osier/test.h): each of its means finds a fault that was put there for it, and passes what is sound. */
#include "told.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <osier/test.h>

/* ---- What is tested with it ---------------------------------------------------------------------------- */

/* What all of these programs work on; `fault` says which one is in. */
struct world {
    const char *fault;
    int counter, seen, runs;
    void *memory;
    struct osr_lock lock;
    char text[32];
    size_t length;
};

static struct world world;

static bool has(const char *fault)
{
    return world.fault && strcmp(world.fault, fault) == 0;
}

static void begin(void *arg)
{
    (void)arg;
    world.counter = world.seen = 0;
    world.length = 0;
    world.runs++;
    osr_lock_init(&world.lock);
}

/* A call of the kit, for a program with a fault, or with none. */
static int with(const char *fault)
{
    world = (struct world){.fault = fault};
    told[0] = '\0';
    return 0;
}

#define KIT_TEST(name, task, ...) OSR_TEST(name, task, &world, .begin = begin, .tell = note __VA_OPT__(,) __VA_ARGS__)

static void nothing_wrong(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
}

/* ---- Runs, checks -------------------------------------------------------------------------------------- */

OSR_TASK(sleeps_long, struct world, w)
{
    w->seen++;
    return osr_sleep(osr_s(1000));
}

OSR_TASK(checks, struct world, w)
{
    struct osr_group group;

    osr_group_open(&group);
    (void)osr_spawn(&group, sleeps_long, w);
    (void)osr_yield();
    osr_test_check(!has("check"));
    w->counter++; /* the task goes on */
    return osr_group_close(&group, 0);
}

static void checks_after_the_run(void *arg, const struct osr_test_result *result)
{
    const struct world *w = arg;

    osr_test_check(w->counter == 1 && w->seen == 1);
    osr_test_check(result->rc == 0 || has("check"));
    if (has("invariant"))
        osr_test_fail("the %s is broken", "invariant");
    if (has("check") && result->now >= osr_s(1000))
        osr_test_fail("nobody was cancelled");
}

static void a_check_that_fails_cancels_all_and_is_told(void **state)
{
    const struct osr_test test = KIT_TEST("checks", checks, .check = checks_after_the_run);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    assert_told("\"checks\": run: 1 run: all well");
    assert_string_equal(osr_test_token(), "");
    with("check");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("a check failed");
    assert_told("not so: !has(\"check\")");
    assert_told("waits in osr_sleep at tests/test_kit.c:");
    with("invariant");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("the invariant does not hold");
    assert_told("the invariant is broken");
    assert_string_equal(osr_test_story(), told);
}

static void a_test_that_makes_no_sense_is_refused(void **state)
{
    struct osr_test test = KIT_TEST("two words", checks);

    (void)state;
    told[0] = '\0';
    assert_int_equal(osr_test_run(&test), -EINVAL);
    assert_told("osier-test: \"two words\": not run: a name is one word of letters");
    test.name = "good";
    test.size--;
    assert_int_equal(osr_test_sweep(&test), -EINVAL);
    assert_int_equal(osr_test_explore(NULL), -EINVAL);
    assert_int_equal(osr_test_random(NULL, 1, 1), -EINVAL);
    assert_int_equal(osr_test_replay(NULL, "x"), -EINVAL);
    test.size++;
    assert_int_equal(osr_test_replay(&test, NULL), -EINVAL);
}

/* ---- The sweep ----------------------------------------------------------------------------------------- */

OSR_TASK(holds_a_lock, struct world, w)
{
    int rc = osr_lock_acquire(&w->lock);

    if (rc < 0)
        return rc;
    rc = osr_sleep(osr_ms(1));
    if (rc < 0 && has("forgets"))
        return rc;
    osr_lock_release(&w->lock);
    return rc;
}

OSR_TASK(two_holders, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, holds_a_lock, w, .name = "one");
    if (rc == 0)
        rc = osr_spawn(&group, holds_a_lock, w, .name = "other");
    return osr_group_close(&group, rc);
}

static void lock_is_free(void *arg, const struct osr_test_result *result)
{
    (void)result;
    osr_test_check(!osr_lock_held(&((struct world *)arg)->lock));
}

static void the_sweep_cancels_everywhere(void **state)
{
    const struct osr_test test = KIT_TEST("locks", two_holders, .check = lock_is_free, .pairs = 50);
    char token[256];

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_told("4 cancellation points");
    with("forgets");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("a cancellation: at tests/test_kit.c:");
    assert_told("task \"other\", spawned at tests/test_kit.c:");
    assert_true(strncmp(osr_test_token(), "osr1:locks:C", 12) == 0);
    snprintf(token, sizeof(token), "%s", osr_test_token());
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, token), 1); /* the same again */
    assert_told("a replay");
    assert_string_equal(osr_test_token(), token);
    with(NULL);
    assert_int_equal(osr_test_replay(&test, token), 0);
}

OSR_TASK(uses_memory, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    char *one = allocator->resize(allocator->arg, NULL, 10), *other;
    int rc = one ? 0 : -ENOMEM;

    if (rc == 0) {
        other = allocator->resize(allocator->arg, NULL, 10);
        rc = other ? 0 : -ENOMEM;
        if (rc < 0 && has("leaks memory")) {
            static void *volatile leaked[64] OSR_MAYBE_UNUSED_; /* so that nobody but the kit calls it a leak */
            static size_t count;

            leaked[count++ % 64] = one;
            return rc;
        }
        allocator->resize(allocator->arg, other, 0);
        allocator->resize(allocator->arg, one, 0);
    }
    if (rc == 0)
        rc = osr_test_fault("printer", -ENODEV);
    w->counter += rc == 0;
    return rc;
}

static void counter_says_so(void *arg, const struct osr_test_result *result)
{
    const struct world *w = arg;

    osr_test_check((result->rc == 0) == (w->counter == 1));
    osr_test_check(result->faults > 0 || result->rc == 0 || result->cancels > 0);
    if (has("no printer"))
        osr_test_check(result->rc != -ENODEV);
}

static void the_sweep_lets_allocations_and_points_fail(void **state)
{
    const struct osr_test test = KIT_TEST("memory", uses_memory, .check = counter_says_so);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("leaks memory");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("memory is left");
    assert_told("\"allocation\" fails");
    with("no printer");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("\"printer\" fails");
}

OSR_TASK(opens, struct world, w)
{
    int fd = open("/dev/null", O_RDONLY), rc;

    (void)w;
    rc = osr_yield();
    if (rc < 0 && has("leaks a descriptor"))
        return rc;
    close(fd);
    return rc;
}

static void the_sweep_finds_descriptors_that_are_left(void **state)
{
    const struct osr_test test = KIT_TEST("opens", opens);
    int before = open_descriptors(), lowest = dup(0);

    (void)state;
    close(lowest);
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_int_equal(open_descriptors(), before);
    with("leaks a descriptor");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("a descriptor is left");
    while (open_descriptors() > before)
        close(lowest++);
}

OSR_TASK(keeps_an_error, struct world, w)
{
    struct osr_error *error;

    (void)osr_fail(-EPROTO, "something");
    error = osr_error_take();
    if (has("keeps an error"))
        w->memory = error;
    else
        osr_error_release(error);
    return 0;
}

static void release_kept(void *arg)
{
    struct world *w = arg;

    osr_error_release(w->memory);
    w->memory = NULL;
}

static void errors_that_are_left_are_named(void **state)
{
    const struct osr_test test = KIT_TEST("errors", keeps_an_error, .end = release_kept);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("keeps an error");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("EPROTO");
    assert_told("something is left");
}

OSR_TASK(goes_on, struct world, w)
{
    int i, rc = 0;

    for (i = 0; i < 3; i++) {
        rc = osr_sleep(osr_ms(1));
        while (rc < 0 && has("runaway") && w->seen++ < 20000)
            rc = osr_sleep(osr_ms(1));
    }
    return rc;
}

static void who_goes_on_when_cancelled_is_found(void **state)
{
    const struct osr_test test = KIT_TEST("runaway", goes_on);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("runaway");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("a task does not stop when it is cancelled");
}

OSR_TASK(never_ends, struct world, w)
{
    int rc = 0;

    while (rc == 0 || (has("never ends") && w->counter >= 0))
        rc = osr_yield();
    return rc;
}

static void a_run_that_does_not_end_is_cancelled(void **state)
{
    const struct osr_test test = KIT_TEST("endless", never_ends, .steps = 1000);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("the run has not ended after 1000 steps of tasks; now it is cancelled\n");
    if (strstr(told, "a cancellation"))
        fail_msg("nobody but the kit has cancelled:\n%s", told);
    if (strstr(strstr(told, "at 0.000000 s:\n") + 1, "at 0.000000 s:\n"))
        fail_msg("who is where stands there twice:\n%s", told);
}

static void run_endless(void)
{
    static const struct osr_test test = OSR_TEST("endless", never_ends, &world, .begin = begin, .steps = 1000);

    with("never ends");
    osr_test_run(&test);
}

static void one_that_cannot_be_cancelled_stops_the_program(void **state)
{
    (void)state;
    assert_dies(run_endless, SIGABRT, "the run did not end when it was cancelled either");
}

OSR_TASK(crashes, struct world, w)
{
    int rc = osr_yield();

    (void)w;
    if (rc < 0)
        raise(SIGSEGV);
    return rc;
}

static void run_crash(void)
{
    static const struct osr_test test = OSR_TEST("crash", crashes, &world, .begin = begin);

    with(NULL);
    osr_test_sweep(&test);
}

static void a_crash_tells_its_token(void **state)
{
    (void)state;
    assert_dies(run_crash, SIGSEGV, "again: OSR_REPLAY='osr1:crash:C1=1;");
    assert_dies(run_crash, SIGSEGV, "(one task is cancelled); 1 step, ");
    assert_dies(run_crash, SIGSEGV, "  C1, a cancellation: task 1 \"crashes\" is cancelled before its call at tests/test_kit.c:");
}

/* ---- Orders -------------------------------------------------------------------------------------------- */

OSR_TASK(increments, struct world, w)
{
    w->counter++;
    return 0;
}

OSR_TASK(three_increments, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, increments, w);
    return osr_group_close(&group, rc);
}

/* Two tasks that write in one order only if nobody chooses otherwise. */
OSR_TASK(writes_a, struct world, w)
{
    w->text[w->length++] = 'a';
    return 0;
}

OSR_TASK(writes_b, struct world, w)
{
    w->text[w->length++] = 'b';
    return 0;
}

OSR_TASK(writes, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, writes_a, w);
    if (rc == 0)
        rc = osr_spawn(&group, writes_b, w);
    return osr_group_close(&group, rc);
}

static void order_is_right(void *arg, const struct osr_test_result *result)
{
    const struct world *w = arg;

    (void)result;
    if (has("order"))
        osr_test_check(w->length < 4 || w->text[0] != 'b');
}

static void exploring_finds_every_order(void **state)
{
    struct osr_test test = KIT_TEST("orders", writes, .check = order_is_right);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("24 runs: all well: all orders"); /* 4! */
    test.runs = 10;
    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("10 runs: all well: no more were allowed, so not all orders");
    test.runs = 0;
    test.depth = 1;
    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("4 runs: all well: all orders of the first choices");
    test.depth = 0;
    with("order");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(osr_test_explore(&test), 1);
    assert_true(strncmp(osr_test_token(), "osr1:orders:R1=3/4;", 19) == 0);
    assert_told(" \"writes_b\" runs before task 2 \"writes_a\", task 3 \"writes_a\" and task 4 \"writes_a\", which were ready first\n");
}

static void random_runs_find_the_order_and_are_shrunk(void **state)
{
    const struct osr_test test = KIT_TEST("orders", writes, .check = order_is_right);
    char token[256];

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_random(&test, 200, 3), 0);
    with("order");
    assert_int_equal(osr_test_random(&test, 200, 3), 1);
    assert_true(strncmp(osr_test_token(), "osr1:orders:R1=3/4;", 19) == 0);
    snprintf(token, sizeof(token), "%s", osr_test_token());
    with("order");
    assert_int_equal(osr_test_random(&test, 200, 3), 1);
    assert_string_equal(osr_test_token(), token);
    with("order");
    assert_int_equal(osr_test_random(&test, 200, 4), 1);
}

OSR_TASK(chooses, struct world, w)
{
    unsigned size = osr_test_choose(20, "size");

    (void)w;
    osr_test_check(size < 20);
    if (has("seven"))
        osr_test_check(size < 7);
    return 0;
}

static void a_choice_of_the_tests_own_is_explored_and_lowered(void **state)
{
    const struct osr_test test = KIT_TEST("chooses", chooses);

    (void)state;
    assert_int_equal(osr_test_choose(20, "outside"), 0);
    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("20 runs");
    with("seven");
    assert_int_equal(osr_test_random(&test, 100, 1), 1);
    assert_true(strncmp(osr_test_token(), "osr1:chooses:T1=7/20.", 21) == 0); /* the smallest */
}

/* ---- Tokens -------------------------------------------------------------------------------------------- */

static void assert_refused(const struct osr_test *test, const char *token, const char *why)
{
    told[0] = '\0';
    assert_int_equal(osr_test_replay(test, token), -EINVAL);
    assert_told(why);
}

static void tokens_that_are_not_whole_are_refused(void **state)
{
    const struct osr_test test = KIT_TEST("orders", writes, .check = order_is_right);
    char token[256], longer[300];

    (void)state;
    with("order");
    assert_int_equal(osr_test_explore(&test), 1);
    snprintf(token, sizeof(token), "%s", osr_test_token());
    assert_int_equal(osr_test_replay(&test, token), 1);
    assert_refused(&test, "", "this is no token");
    assert_refused(&test, "hello", "this is no token, at character 1");
    /* With the right sum, but by no kit. */
    assert_refused(&test, "osr1:orders:;;faa7", "something stands behind the end, at character");
    assert_refused(&test, "osr1:orders:R1=1,;c5cd", "a choice is missing, at character");
    assert_refused(&test, "osr9:orders:R1=3/4;0000", "of version 9, another version than 1, at character 1");
    assert_refused(&test, "osr10:orders:R1=3/4;0000", "of version 10, another");
    assert_refused(&test, "osr123456789012345678901234:x", "of version 12345678901234567890, another");
    assert_refused(&test, "osr:orders:R1=3/4;0000", "this is no token");
    assert_refused(&test, "osr1", "this is no token");
    snprintf(longer, sizeof(longer), "%s ;x", token);
    assert_refused(&test, longer, "something stands behind the token, at character 24, before \" ;x\"");
    snprintf(longer, sizeof(longer), "%s'", token);
    assert_refused(&test, longer, "something stands behind the token, at character 24, before \"'\"");
    snprintf(longer, sizeof(longer), "%s \r\n\t", token);
    assert_int_equal(osr_test_replay(&test, longer), 1); /* as it was copied */
    token[strlen(token) - 1] ^= 1;
    assert_refused(&test, token, "damaged");
    token[strlen(token) - 1] = '\0';
    assert_refused(&test, token, "cut short");
    token[14] = '9';
    assert_refused(&test, token, "cut short");
}

static void is_wrong(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    osr_test_fail("as always");
}

static void a_token_of_another_program_says_where_it_parts(void **state)
{
    const struct osr_test long_one = KIT_TEST("changing", writes, .check = order_is_right);
    const struct osr_test short_one = KIT_TEST("changing", three_increments);
    const struct osr_test wrong_one = KIT_TEST("changing", three_increments, .check = is_wrong);
    char token[256];

    (void)state;
    with("order");
    assert_int_equal(osr_test_explore(&long_one), 1);
    snprintf(token, sizeof(token), "%s", osr_test_token());
    with(NULL);
    assert_int_equal(osr_test_replay(&short_one, token), 0);
    assert_told("has parted from the token at R1: the program now offers 3 alternatives");
    assert_told("the token has the answer 3 of 1 to 3 there");
    assert_told("nothing wrong, but this was not the token's run; it gave 0");
    if (strstr(told, "all well"))
        fail_msg("all well:\n%s", told);
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&wrong_one, token), 1);
    assert_told("in a replay, not of the token's run; ");
}

static void the_environment_asks_for_a_replay(void **state)
{
    const struct osr_test test = KIT_TEST("orders", writes, .check = order_is_right);
    const struct osr_test another = KIT_TEST("chooses", chooses);

    (void)state;
    with("order");
    assert_int_equal(osr_test_explore(&test), 1);
    setenv("OSR_REPLAY", osr_test_token(), 1);
    with("order");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("a replay");
    assert_int_equal(world.runs, 2); /* twice, to compare */
    told[0] = '\0';
    assert_int_equal(osr_test_explore(&test), 1); /* it is known by now */
    assert_string_equal(told, "");
    assert_int_equal(osr_test_explore(&another), 0); /* the token is not for this one */
    assert_told("\"chooses\": skipped: the token in OSR_REPLAY is for test \"orders\"\n");
    assert_string_equal(osr_test_story(), "");
    told[0] = '\0';
    assert_int_equal(osr_test_random(&another, 10, 1), 0);
    assert_string_equal(told, ""); /* once is enough */
    assert_int_equal(world.runs, 2);
    unsetenv("OSR_REPLAY");
}

/* ---- Fuzzing ------------------------------------------------------------------------------------------- */

static const uint8_t seven[] = {7};

static void fuzz_into_the_fault(void)
{
    static const struct osr_test test = OSR_TEST("chooses", chooses, &world, .begin = begin);

    with("seven");
    osr_test_fuzz(&test, seven, 1);
}

static void the_fuzz_target_dies_of_a_violation_only(void **state)
{
    static const struct osr_test test = OSR_TEST("chooses", chooses, &world, .begin = begin);
    static const struct osr_test orders = OSR_TEST("orders", writes, &world, .begin = begin, .cancels = true, .faults = true);
    uint8_t data[64];
    unsigned i, round;

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_fuzz(&test, seven, 1), 0);
    assert_int_equal(osr_test_fuzz(&test, NULL, 0), 0);
    for (round = 0; round < 500; round++) {
        for (i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)(round * 131 + i * 197 + (round >> 3) * i);
        assert_int_equal(osr_test_fuzz(&orders, data, sizeof(data)), 0);
    }
    assert_dies(fuzz_into_the_fault, SIGABRT, "again: this program with the file that holds the input; or, "
                                                     "with a program that calls osr_test_sweep() or the like for "
                                                     "\"chooses\", OSR_REPLAY='osr1:chooses:T1=7/20.");
}

/* ---- What tests call ----------------------------------------------------------------------------------- */

OSR_TASK(passes_points, struct world, w)
{
    struct osr_scope scope;
    int rc = osr_test_point(osr_sleep(osr_ms(1)));

    if (rc == 0)
        rc = osr_test_point(osr_lock_acquire(&w->lock));
    if (rc < 0)
        return rc;
    rc = osr_test_no_point(osr_lock_release(&w->lock));
    if (has("no point"))
        (void)osr_test_point(osr_lock_try_acquire(&w->lock));
    if (has("a point"))
        (void)osr_test_no_point(osr_yield());
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "done");
    (void)osr_test_point(osr_yield()); /* refused: nothing can be seen */
    (void)osr_scope_close(&scope, rc);
    return rc;
}

static void calls_are_cancellation_points_or_not(void **state)
{
    const struct osr_test test = KIT_TEST("points", passes_points);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("no point");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("osr_lock_try_acquire(&w->lock) is no cancellation point");
    with("a point");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("osr_yield() is a cancellation point");
}

OSR_TASK(ticks, struct world, w)
{
    int rc = 0;

    while (rc == 0) {
        rc = osr_sleep(osr_s(1));
        if (rc == 0)
            w->counter++;
    }
    return rc;
}

OSR_TASK(yields, struct world, w)
{
    int i, rc = 0;

    for (i = 0; i < 300 && rc == 0; i++) {
        rc = osr_yield();
        w->seen++;
    }
    return rc;
}

OSR_TASK(watches_the_clock, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    (void)osr_spawn(&group, ticks, w, .daemon = true);
    (void)osr_spawn(&group, yields, w);
    rc = osr_settle();
    osr_test_check(rc < 0 || (w->seen == 300 && osr_now() == 0 && w->counter == 0));
    if (rc == 0)
        rc = osr_test_advance(osr_s(3) + osr_ms(1));
    osr_test_check(rc < 0 || w->counter == (has("tick") ? 2 : 3));
    return osr_group_close(&group, rc);
}

static void time_is_moved_and_settles(void **state)
{
    const struct osr_test test = KIT_TEST("clock", watches_the_clock);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(osr_test_random(&test, 100, 1), 0);
    with("tick");
    assert_int_equal(osr_test_run(&test), 1);
    assert_int_equal(osr_test_advance(1), -EPERM);
}

struct pair {
    struct world *w;
    int fds[2];
};

OSR_TASK(sends, struct pair, pair)
{
    int rc = osr_write_all(pair->fds[0], "hello, world", 12, NULL);

    osr_fd_close(pair->fds[0]);
    return rc;
}

OSR_TASK(talks, struct world, w)
{
    struct pair pair = {w, {-1, -1}};
    struct osr_group group;
    int rc = osr_test_streams(pair.fds);

    if (rc < 0)
        return rc;
    osr_group_open(&group);
    rc = osr_spawn(&group, sends, &pair);
    if (rc < 0)
        osr_fd_close(pair.fds[0]);
    while (rc == 0 && w->length < sizeof(w->text)) {
        rc = osr_read(pair.fds[1], w->text + w->length, sizeof(w->text) - w->length);
        if (rc <= 0)
            break;
        w->length += (size_t)rc;
        rc = 0;
        if (has("whole"))
            break; /* as if one read gave all */
    }
    rc = osr_group_close(&group, rc);
    osr_fd_close(pair.fds[1]);
    return rc;
}

static void all_was_heard(void *arg, const struct osr_test_result *result)
{
    const struct world *w = arg;

    if (result->rc == 0 && result->faults == 0 && result->cancels == 0)
        osr_test_check(w->length == 12 && memcmp(w->text, "hello, world", 12) == 0);
}

static void streams_are_short_at_times(void **state)
{
    const struct osr_test test = KIT_TEST("streams", talks, .check = all_was_heard);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_int_equal(osr_test_random(&test, 300, 1), 0);
    with("whole");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(", a short transfer: in task 1 \"talks\", in osr_read at tests/test_kit.c:");
    assert_told(", \"read\" moves one byte only\n");
}

OSR_JOB(work, struct world, w)
{
    w->counter++;
    return 0;
}

OSR_TASK(offloads, struct world, w)
{
    return osr_offload(work, w);
}

OSR_TASK(holds_jobs, struct world, w)
{
    struct osr_group group;
    int rc = osr_test_hold_jobs();

    osr_group_open(&group);
    if (rc == 0)
        rc = osr_spawn(&group, offloads, w);
    if (rc == 0)
        rc = osr_spawn(&group, offloads, w);
    if (rc == 0)
        rc = osr_settle();
    osr_test_check(rc < 0 || w->counter == 0);
    if (rc == 0)
        rc = osr_test_release_jobs(1);
    if (rc == 0)
        rc = osr_test_advance(osr_ms(1));
    osr_test_check(rc < 0 || w->counter == 1);
    if (!has("held"))
        osr_test_release_jobs(OSR_TEST_ALL_JOBS);
    return osr_group_close(&group, rc);
}

static void jobs_are_held_and_released(void **state)
{
    const struct osr_test test = KIT_TEST("jobs", holds_jobs, .check = nothing_wrong);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    with("held");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("nothing could run any more");
}

OSR_TASK(orders_a_fault, struct world, w)
{
    int fds[2], rc;

    if (has("ordered"))
        osr_test_check(osr_test_order_fault("printer", 1, 1) == 0);
    osr_test_check(osr_test_order_fault("never", 0, 0) == -EINVAL);
    w->counter = osr_test_fault("printer", -ENODEV) == 0;
    rc = osr_test_fault("printer", -ENODEV);
    if (rc == 0 && osr_test_order_fault("recv", 0, 2) == 0 && osr_test_streams(fds) == 0) {
        (void)osr_write(fds[0], "x", 1);
        w->seen = osr_read(fds[1], w->text, 1);
        osr_fd_close(fds[0]);
        osr_fd_close(fds[1]);
    }
    return rc;
}

static void orders_were_followed(void *arg, const struct osr_test_result *result)
{
    const struct world *w = arg;

    osr_test_check(w->counter == 1);
    osr_test_check(result->rc == (has("ordered") ? -ENODEV : 0));
    osr_test_check(w->seen == (has("ordered") ? 0 : -ETIMEDOUT));
    osr_test_check(result->faults == 1);
}

static void a_fault_can_be_ordered(void **state)
{
    const struct osr_test test = KIT_TEST("ordered", orders_a_fault, .check = orders_were_followed);

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    with("ordered");
    assert_int_equal(osr_test_run(&test), 0);
}

/* ---- Programs that are not the same twice -------------------------------------------------------------- */

OSR_TASK(depends_on_something, struct world, w)
{
    int rc = osr_sleep(osr_ms(has("clock") ? w->runs : 1));

    if (rc == 0 && has("questions") && w->runs % 2)
        (void)osr_test_choose(2, "now and then");
    return rc;
}

static void a_program_that_is_not_the_same_twice_is_named(void **state)
{
    const struct osr_test test = KIT_TEST("twice", depends_on_something);
    char token[256];

    (void)state;
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    with("clock");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("not determined by its choices");
    assert_told("again, with the same choices, at 0.002000000 s task 1 \"depends_on_something\"");
    snprintf(token, sizeof(token), "%s", osr_test_token());
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, token), 1);
    assert_told("not determined by its choices");
    assert_told("in a replay; ");
    with("questions");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("T1 of 2 (now and then) is asked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_that_fails_cancels_all_and_is_told),
        cmocka_unit_test(a_test_that_makes_no_sense_is_refused),
        cmocka_unit_test(the_sweep_cancels_everywhere),
        cmocka_unit_test(the_sweep_lets_allocations_and_points_fail),
        cmocka_unit_test(the_sweep_finds_descriptors_that_are_left),
        cmocka_unit_test(errors_that_are_left_are_named),
        cmocka_unit_test(who_goes_on_when_cancelled_is_found),
        cmocka_unit_test(a_run_that_does_not_end_is_cancelled),
        cmocka_unit_test(one_that_cannot_be_cancelled_stops_the_program),
        cmocka_unit_test(a_crash_tells_its_token),
        cmocka_unit_test(exploring_finds_every_order),
        cmocka_unit_test(random_runs_find_the_order_and_are_shrunk),
        cmocka_unit_test(a_choice_of_the_tests_own_is_explored_and_lowered),
        cmocka_unit_test(tokens_that_are_not_whole_are_refused),
        cmocka_unit_test(a_token_of_another_program_says_where_it_parts),
        cmocka_unit_test(the_environment_asks_for_a_replay),
        cmocka_unit_test(the_fuzz_target_dies_of_a_violation_only),
        cmocka_unit_test(calls_are_cancellation_points_or_not),
        cmocka_unit_test(time_is_moved_and_settles),
        cmocka_unit_test(streams_are_short_at_times),
        cmocka_unit_test(jobs_are_held_and_released),
        cmocka_unit_test(a_fault_can_be_ordered),
        cmocka_unit_test(a_program_that_is_not_the_same_twice_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
