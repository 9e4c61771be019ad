/* The test kit at its edges: tokens by hand, programs that differ from run to run in one thing, what is left when there is
 * no memory or nobody to tell. test_kit.c has what it is there for. */
#include "told.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <osier/test.h>

#include "9_test/kit.h"

/* ---- What is tested with it ---------------------------------------------------------------------------- */

static struct world {
    const char *fault; /* which one is in */
    int runs;          /* that have begun */
    int seen;
    struct osr_test *test;
    struct osr_lock lock;
    struct osr_event event;
} world;

static bool has(const char *fault)
{
    return world.fault && strcmp(world.fault, fault) == 0;
}

static void begin(void *arg)
{
    (void)arg;
    world.runs++;
    world.seen = 0;
    osr_lock_init(&world.lock);
    osr_event_init(&world.event);
}

static void with(const char *fault)
{
    world = (struct world){.fault = fault};
    told[0] = '\0';
}

#define KIT_TEST(name, task, ...) OSR_TEST(name, task, &world, .begin = begin, .tell = note __VA_OPT__(,) __VA_ARGS__)
#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* Odd runs are the first of each two: a run is compared with its repetition. */
static bool is_odd(void)
{
    return world.runs % 2 == 1;
}

OSR_TASK(does_nothing, struct world, w)
{
    (void)w;
    return 0;
}

/* ---- Tests that make no sense -------------------------------------------------------------------------- */

TEST(a_test_needs_a_name_and_something_to_run)
{
    const char *const bad[] = {NULL, "", "a b", "a_name_that_is_longer_than_any_task_may_have_and_so_is_refused_as_that_would_not_fit"};
    static const struct osr_routine empty;
    struct osr_test test = KIT_TEST("good", does_nothing);
    unsigned i;

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        test.name = bad[i];
        told[0] = '\0';
        assert_int_equal(osr_test_run(&test), -EINVAL);
        assert_told(bad[i] ? "\": not run: a name is one word of" : "osier-test: a test is not run: it has no name\n");
    }
    test.name = "good";
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, NULL), -EINVAL);
    assert_told("\"good\": there is no token: it is NULL\n");
    test.routine = NULL;
    assert_int_equal(osr_test_random(&test, 1, 1), -EINVAL);
    assert_told("\"good\": not run: there is no task to run\n");
    test.routine = &empty;
    assert_int_equal(osr_test_explore(&test), -EINVAL);
    assert_int_equal(osr_test_replay(&test, "osr1:good:;0000"), -EINVAL);
    assert_int_equal(world.runs, 2); /* the first call's, and its repetition */
}

static struct osr_test zeroed;
static const struct osr_test *senseless;

static void run_senseless(void)
{
    check_int(osr_test_sweep(senseless), -EINVAL);
    abort(); /* what is told before that is looked at */
}

TEST(a_test_that_cannot_say_where_to_tell_is_refused_on_standard_error)
{
    assert_dies(run_senseless, SIGABRT, "osier-test: a test is not run: there is no test: it is NULL\n");
    senseless = &zeroed;
    assert_dies(run_senseless, SIGABRT, "osier-test: a test is not run: its size is not that of struct osr_test");
}

static int inner[6];
static const struct osr_test fuzzed;

static void run_inside(void *arg)
{
    static const struct osr_test test = OSR_TEST("inner", does_nothing, &world);

    (void)arg;
    inner[0] = osr_test_run(&test);
    inner[1] = osr_test_sweep(&test);
    inner[2] = osr_test_explore(&test);
    inner[3] = osr_test_random(&test, 1, 1);
    inner[4] = osr_test_replay(&test, "osr1:inner:;0000");
    inner[5] = osr_test_fuzz(&test, NULL, 0);
}

TEST(no_test_is_run_inside_another_one)
{
    const struct osr_test test = OSR_TEST("outer", does_nothing, &world, .begin = run_inside, .quiet = true);
    unsigned i;

    assert_int_equal(osr_test_run(&test), 0);
    for (i = 0; i < 5; i++)
        assert_int_equal(inner[i], -EBUSY);
    assert_int_equal(inner[5], 0); /* fuzzers know nothing else */
}

OSR_TASK(run_tests_in_a_task, void, unused)
{
    run_inside(NULL);
    return 0;
}

/* One that is no test's. */
TEST(no_test_is_run_inside_a_run)
{
    unsigned i;

    assert_int_equal(run_simulated(run_tests_in_a_task, NULL), 0);
    for (i = 0; i < 5; i++)
        assert_int_equal(inner[i], -EBUSY);
    assert_int_equal(inner[5], 0);
    assert_string_equal(osr_test_story(), "");
}

static int inputs;

static void fuzz_inside(void *arg)
{
    (void)arg;
    if (++inputs < 3)
        (void)osr_test_fuzz(&fuzzed, NULL, 0);
}

static const struct osr_test fuzzed = OSR_TEST("fuzzed", does_nothing, &world, .begin = fuzz_inside, .quiet = true);

TEST(no_input_is_tried_inside_another_one)
{
    inputs = 0;
    assert_int_equal(osr_test_fuzz(&fuzzed, NULL, 0), 0);
    assert_int_equal(inputs, 1);
}

TEST(a_fuzz_target_that_makes_no_sense_runs_nothing)
{
    struct osr_test test = KIT_TEST("two words", does_nothing);

    with(NULL);
    assert_int_equal(osr_test_fuzz(&test, NULL, 0), 0);
    assert_told("not run: a name is one word");
    told[0] = '\0';
    assert_int_equal(osr_test_fuzz(&test, NULL, 0), 0);
    assert_string_equal(told, ""); /* not for each input */
    inputs = 0;
    assert_int_equal(osr_test_fuzz(&fuzzed, NULL, 0), 0);
    assert_int_equal(inputs, 1); /* which concerns that test only */
    test.name = "two_words";
    assert_int_equal(osr_test_fuzz(&test, NULL, 0), 0);
    assert_int_equal(world.runs, 1);
    world.runs = 0;
    test.name = "two words";
    assert_int_equal(osr_test_fuzz(&test, NULL, 0), 0);
    assert_int_equal(world.runs, 0);
}

/* ---- Outside tests ------------------------------------------------------------------------------------- */

TEST(what_tests_call_does_nothing_outside_of_them)
{
    osr_test_fail("nobody %s", "hears");
    assert_false(osr_test_check(1 == 2));
    assert_int_equal(osr_test_choose(9, "size"), 0);
    assert_int_equal(osr_test_fault("printer", -ENODEV), 0);
    assert_int_equal(osr_test_order_fault("printer", 0, 1), 0);
    assert_int_equal(osr_test_point(osr_cancelled()), 0);
    osr_test_touches(&world);
    osri_kit_tell_death("nobody plays");
    assert_string_equal(osr_test_story(), "");
}

OSR_TASK(asks_for_streams, struct world, w)
{
    struct rlimit before, none;
    int fds[2];

    (void)w;
    check_int(osr_test_streams(NULL), -EINVAL);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    check_int(osr_test_streams(fds), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &before);
    return 0;
}

TEST(streams_that_cannot_be_had_are_errors)
{
    if (under_tools())
        skip(); /* Valgrind has descriptors of its own, and keeps room for them */
    assert_int_equal(run_simulated(asks_for_streams, &world), 0);
    assert_checked();
}

/* ---- Saying -------------------------------------------------------------------------------------------- */

TEST(a_quiet_test_says_only_what_went_wrong)
{
    const struct osr_test test = KIT_TEST("quiet", does_nothing, .quiet = true);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_string_equal(told, "");
}

OSR_TASK(fails_a_check, struct world, w)
{
    osr_test_check(w->seen == 1);
    return 0;
}

static void run_without_anybody_to_tell(void)
{
    static const struct osr_test test = OSR_TEST("unheard", fails_a_check, &world, .begin = begin);
    int full = open("/dev/full", O_WRONLY), before = dup(STDERR_FILENO);

    dup2(full, STDERR_FILENO);
    check_int(osr_test_run(&test), 1); /* it comes back, and knows */
    dup2(before, STDERR_FILENO);
    check_that(strstr(osr_test_story(), "not so: w->seen == 1") != NULL, "the story is kept", OSR_HERE);
}

TEST(a_story_that_cannot_be_written_is_kept)
{
    assert_child_succeeds(run_without_anybody_to_tell);
}

OSR_TASK(chooses, struct world, w)
{
    unsigned size = osr_test_choose(20, "size");

    osr_test_check(!has("seven") || size < 7);
    w->seen = (int)size;
    return osr_yield();
}

TEST(the_questions_of_a_run_are_shown_where_the_environment_asks_for_them)
{
    const struct osr_test test = KIT_TEST("chooses", chooses);

    with(NULL);
    setenv("OSR_TEST_QUESTIONS", "1", 1);
    assert_int_equal(osr_test_run(&test), 0);
    assert_told("T1=0/20 size\n");
    assert_told("C1=0/3 tests/test_kit_corners.c:");
    unsetenv("OSR_TEST_QUESTIONS");
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    assert_not_told("T1=0/20");
}

/* ---- Tokens -------------------------------------------------------------------------------------------- */

/* The token with these lines, with its check sum, as osr_test_replay() wants it. */
/* All faults at "printer", of the test with this name. */
static const char *with_printer_failing(const char *name)
{
    char lines[64];

    snprintf(lines, sizeof(lines), "%s:F1+=1.%04x", name, osri_kit_hash("printer"));
    return whole(lines);
}

TEST(a_token_by_hand_is_refused_where_it_is_wrong)
{
    static const struct {
        const char *lines, *why;
    } wrong[] = {
        {"chooses:T=1", "a number is missing, at character 15, before \"=1;"},
        {"chooses:T1234567890=1", "a number is too large"},
        {"chooses:T0=1", "a number is too small"},
        {"chooses:T1=0", "a number is too small"},
        {"chooses:T1=4294967296", "a number is too large"},
        {"chooses:T3-2=1", "a number is too small"},
        {"chooses:T1=3/3", "a number is too small"},
        {"chooses:T1=1/", "a number is missing"},
        {"chooses:T1-=1", "a number is missing"},
        {"chooses:T1=1.12", "four digits are missing"},
        {"chooses:X1=1", "there is no such kind of choice"},
        {"chooses:T1+1", "'=' is missing"},
        {"chooses:T2=1,T2=1", "choices are out of order"},
        {"chooses:T1-4=1,T4=1", "choices are out of order"},
        {"chooses:T1=1T2=1", "',' is missing"},
        {"chooses:T1=1,,", "there is no such kind of choice"},
    };
    const struct osr_test test = KIT_TEST("chooses", chooses);
    unsigned i;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        with(NULL);
        assert_int_equal(osr_test_replay(&test, whole(wrong[i].lines)), -EINVAL);
        assert_told(wrong[i].why);
        assert_int_equal(world.runs, 0);
    }
}

TEST(a_token_without_its_end_or_of_a_longer_name_is_refused)
{
    const struct osr_test test = KIT_TEST("chooses", chooses);

    with(NULL);
    assert_int_equal(osr_test_replay(&test, "osr1:chooses:T1=1"), -EINVAL);
    assert_told("cut short");
    assert_int_equal(osr_test_replay(&test, "osr1:chooses:T1=1;12"), -EINVAL);
    assert_int_equal(osr_test_replay(&test, whole("chooses_more:T1=1")), -EINVAL);
    assert_told("of another test than \"chooses\"");
    assert_int_equal(osr_test_replay(&test, whole("other:T1=1")), -EINVAL);
    assert_int_equal(world.runs, 0);
}

TEST(a_token_by_hand_answers_what_it_says)
{
    const struct osr_test test = KIT_TEST("chooses", chooses);
    char later[64];

    with(NULL);
    assert_int_equal(osr_test_replay(&test, whole("chooses:")), 0);
    assert_int_equal(world.seen, 0);
    assert_int_equal(osr_test_replay(&test, whole("chooses:T1=3")), 0);
    assert_int_equal(world.seen, 3);
    assert_int_equal(osr_test_replay(&test, whole("chooses:T1-5=4/20")), 0);
    assert_int_equal(world.seen, 4);
    assert_told("has parted from the token at T1: the program asks no more than 1 question of this kind");
    assert_told("the token has the answer 4 of 1 to 19 there; the rest");
    assert_int_equal(osr_test_replay(&test, whole("chooses:T1+=6")), 0);
    assert_int_equal(world.seen, 6);
    assert_int_equal(osr_test_replay(&test, whole("chooses:T1+=25")), 0);
    assert_int_equal(world.seen, 0); /* there is no such alternative, from there on */
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("chooses:T5+=6")), 0);
    assert_told("replay: 1 run: all well"); /* from there on is never */
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("chooses:T1=20")), 0);
    assert_int_equal(world.seen, 0);
    assert_told("at T1: the program now offers no more than 20 alternatives (size)");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("chooses:T1=2/20.0001,C1=3")), 0);
    assert_told("at T1: the program now asks about \"size\", which is something else"); /* where it parted first */
    assert_told("the token has the answer 2 of 1 to 19 there, to something that this run does not ask; the rest");
    assert_not_told("at C1");
    assert_not_told("all well");
    assert_told("replay: 1 run: nothing wrong, but this was not the token's run; it gave 0\n");
    snprintf(later, sizeof(later), "chooses:T2=2/20.%04x", osri_kit_hash("size"));
    assert_int_equal(osr_test_replay(&test, whole(later)), 0);
    assert_told("has the answer 2 of 1 to 19 there, to what is now asked at T1 (size); the rest");
}

TEST(a_token_that_does_not_fit_says_how_long_it_is)
{
    struct line lines[] = {{.kind = KIND_TEST, .first = 1, .last = 1, .answer = 2},
                           {.kind = KIND_TEST, .first = 2, .last = 2, .answer = 2},
                           {.kind = OSR_CHOICE_FAULT, .first = 3, .last = 3, .answer = 2, .onwards = true},
                           {.kind = OSR_CHOICE_FAULT, .first = 4, .last = 4, .answer = 2},
                           {.kind = OSR_CHOICE_FAULT, .first = 6, .last = 6, .answer = 2},
                           {.kind = OSR_CHOICE_FAULT, .first = 7, .last = 7, .answer = 1, .n = 3, .what = 0xabcd},
                           {.kind = OSR_CHOICE_FAULT, .first = 8, .last = 8, .answer = 1, .onwards = true}};
    const struct script script = {lines, sizeof(lines) / sizeof(lines[0]), sizeof(lines) / sizeof(lines[0])};
    const char *expected = "osr1:name:T1-2=2,F3+=2,F4=2,F6=2,F7=1/3.abcd,F8+=1;";
    char whole_one[128], text[128];
    size_t length = osri_kit_token_format("name", &script, whole_one, sizeof(whole_one)), size;

    assert_int_equal(length, strlen(expected) + 4);
    assert_memory_equal(whole_one, expected, strlen(expected));
    for (size = 1; size < length; size++) {
        memset(text, '#', sizeof(text));
        assert_int_equal(osri_kit_token_format("name", &script, text, size), length);
        assert_int_equal(strlen(text), size - 1); /* cut, ended, and nothing behind it */
        assert_int_equal(text[size], '#');
    }
}

TEST(nothing_that_is_asked_about_has_the_hash_of_the_unknown)
{
    char what[16];
    uint32_t sum;
    unsigned i, zeros = 0;
    const char *at;

    for (i = 0; zeros < 1; i++) {
        snprintf(what, sizeof(what), "n%u", i);
        for (sum = 2166136261u, at = what; *at; at++)
            sum = (sum ^ (unsigned char)*at) * 16777619u;
        zeros += ((sum ^ sum >> 16) & 0xffff) == 0;
        assert_int_not_equal(osri_kit_hash(what), 0);
    }
}

TEST(the_environment_replays_whatever_is_called)
{
    static struct world other;
    const struct osr_test test = KIT_TEST("chooses", chooses);
    const struct osr_test namesake = KIT_TEST("chooses", does_nothing), another = KIT_TEST("another", chooses);
    const struct osr_test elsewhere = OSR_TEST("chooses", does_nothing, &other, .tell = note);
    struct osr_test nonsense = KIT_TEST("chooses", chooses);

    nonsense.size--;
    with(NULL);
    setenv("OSR_REPLAY", whole("chooses:T1=3"), 1);
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(world.seen, 3);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_int_equal(osr_test_random(&test, 100, 1), 0);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_int_equal(world.runs, 2); /* the first of these calls, twice */
    assert_int_equal(osr_test_run(&nonsense), -EINVAL);
    told[0] = '\0';
    assert_int_equal(osr_test_run(&namesake), 0);
    assert_told("\"chooses\": replay: 1 run: ");
    assert_int_equal(world.runs, 4);
    told[0] = '\0';
    assert_int_equal(osr_test_run(&elsewhere), 0); /* the same task, but on something else */
    assert_told("\"chooses\": replay: 1 run: ");
    world.runs = 4;
    setenv("OSR_REPLAY", "osr1:chooses:T1=3;beef", 1);
    told[0] = '\0';
    assert_int_equal(osr_test_run(&test), -EINVAL);
    assert_told("\"chooses\": this token is damaged");
    told[0] = '\0';
    assert_int_equal(osr_test_sweep(&test), -EINVAL);
    assert_int_equal(osr_test_run(&another), -EINVAL);
    assert_string_equal(told, ""); /* once is enough */
    assert_int_equal(world.runs, 4);
    setenv("OSR_REPLAY", "", 1);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_true(world.runs > 20);
    unsetenv("OSR_REPLAY");
}

/* ---- Programs that are not the same twice -------------------------------------------------------------- */

OSR_TASK(ends_with, struct world, w)
{
    (void)w;
    return has("code") && is_odd() ? 1 : 0;
}

OSR_TASK(sleeps_as_said, struct world, w)
{
    return osr_sleep(osr_ms(++w->seen == (is_odd() ? 1 : 2) ? 1 : 2));
}

static int sleep_here_or_there(void)
{
    if (is_odd())
        return osr_sleep(osr_ms(1));
    return osr_sleep(osr_ms(1));
}

static const char one_place[] = "a place", same_place[] = "a place";

OSR_TASK(differs, struct world, w)
{
    struct osr_group group;
    int rc = 0;

    osr_group_open(&group);
    if (has("code"))
        rc = osr_spawn(&group, ends_with, w);
    if (has("task")) {
        rc = osr_spawn(&group, sleeps_as_said, w);
        rc = rc == 0 ? osr_spawn(&group, sleeps_as_said, w) : rc;
    }
    if (has("kind of event") && is_odd())
        rc = osr_yield();
    rc = osr_group_close(&group, rc);
    if (rc == 0 && has("call"))
        rc = is_odd() ? osr_sleep(osr_ms(1)) : osr_sleep_until(osr_ms(1));
    if (rc == 0 && has("where"))
        rc = sleep_here_or_there();
    if (rc == 0 && has("place unknown"))
        rc = osr_sleep_here(osr_ms(1), is_odd() ? NULL : "somewhere");
    if (rc == 0 && has("place known"))
        rc = osr_sleep_here(osr_ms(1), is_odd() ? "somewhere" : NULL);
    if (rc == 0 && has("same words"))
        rc = osr_sleep_here(osr_ms(1), is_odd() ? one_place : same_place);
    if (has("asked or not"))
        rc = is_odd() ? (int)osr_test_choose(3, "size") : osr_lock_acquire(&w->lock);
    if (has("more asked") && !is_odd())
        (void)osr_test_choose(3, "late");
    if (has("alternatives"))
        (void)osr_test_choose(is_odd() ? 3 : 2, "how many");
    if (has("what"))
        (void)osr_test_choose(2, is_odd() ? "one thing" : "another");
    if (has("kind of question"))
        (void)(is_odd() ? (int)osr_test_choose(2, "size") : osr_cancelled());
    return rc;
}

static void fails_now_and_then(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    if (has("violation") && is_odd())
        osr_test_fail("this run is odd");
    if (has("other violation") && !is_odd())
        osr_test_fail("this run is even");
}

TEST(programs_are_compared_in_all_that_happens)
{
    static const char *const faults[] = {"code", "task", "kind of event", "call", "where", "alternatives", "what",
                                         "kind of question", "violation", "place unknown", "place known", "asked or not",
                                         "more asked"};
    static const char *const says[] = {
        "task 2 \"ends_with\" ends with 1; again,",       "task 2 \"sleeps_as_said\" is woken in osr_sleep at",
        "task 1 \"differs\" runs; again",          "waits in osr_sleep_until at",
        "again, with the same choices, at 0.",   "first T1 of 3 (how many) is asked; again, with the same answers, T1 of 2",
        "again, with the same answers, T1 of 2 (another) is asked",
        "again, with the same answers, nothing more is asked",
        "first it gave 0, and this run is odd; again, with the same choices, 0",
        "waits in osr_sleep; again, with the same choices,",
        "waits in osr_sleep at somewhere; again, with the same choices,",
        "first T1 of 3 (size) is asked; again, with the same answers, C1 of 3",
        "first nothing more is asked; again, with the same answers, T1 of 3 (late) is asked",
    };
    const struct osr_test test = KIT_TEST("differs", differs, .check = fails_now_and_then);
    unsigned i;

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        with(faults[i]);
        assert_int_equal(osr_test_run(&test), 1);
        assert_told("the program is not determined by its choices");
        assert_told(says[i]);
    }
    with("same words");
    assert_int_equal(osr_test_run(&test), 0);
    with("other violation");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("first it gave 0; again, with the same choices, 0, and this run is even");
}

static void begin_with_another_stack(void *arg)
{
    begin(arg);
    if (has("no run") || has("no other run"))
        world.test->stack_size = is_odd() == has("no run") ? SIZE_MAX : 0; /* no run comes about with the first */
    if (has("never a run"))
        world.test->stack_size = is_odd() ? SIZE_MAX : (size_t)1 << 50;
}

TEST(runs_that_do_not_come_about_are_compared_too)
{
    struct osr_test test = OSR_TEST("stacks", does_nothing, &world, .begin = begin_with_another_stack, .tell = note);

    with("no run");
    world.test = &test;
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("first nothing more happens; again, with the same choices, at 0.000000000 s task 1 \"does_nothing\"");
    with("no other run");
    world.test = &test;
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("again, with the same choices, nothing more happens");
    if (under_tools())
        return; /* which stop the program when it asks for so much */
    with("never a run");
    world.test = &test;
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("first it gave EINVAL");
}

TEST(a_run_that_does_not_come_about_has_nothing_to_vary)
{
    struct osr_test test = KIT_TEST("stacks", does_nothing, .stack_size = SIZE_MAX, .pairs = 5);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_told("0 cancellation points, 0 calls that can fail, 0 reads and writes that can be short");
    assert_told("; the root failed in 1 of them (EINVAL) with no cancellation and no fault injected, and there is no "
                "check() to object\n");
    assert_int_equal(osr_test_explore(&test), 0); /* nor is there a runner */
    assert_told("all orders");
}

static void fails_at_first(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    if (world.runs <= 2)
        osr_test_fail("this run is early");
}

TEST(what_is_wrong_once_and_not_again_is_named)
{
    const struct osr_test test = KIT_TEST("early", does_nothing, .check = fails_at_first);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("the program is not determined by its choices");
    assert_told("once it was so, and once not: this run is early");
}

TEST(of_many_runs_some_are_compared_still)
{
    const struct osr_test test = KIT_TEST("many", does_nothing);

    with(NULL);
    assert_int_equal(osr_test_random(&test, 3100, 1), 0);
    /* 1, 2, 4, … 2048 and 3072 */
    assert_int_equal(world.runs, 3100 + 12 + 1);
}

/* ---- Memory and descriptors ---------------------------------------------------------------------------- */

static void limit_memory(rlim_t size)
{
    struct rlimit limit = {size, RLIM_INFINITY};

    setrlimit(RLIMIT_AS, &limit);
}

/* What ends a process may need some. */
static void die_with_memory(int number)
{
    limit_memory(RLIM_INFINITY);
    die_of(number);
}

static void use_up_memory(void)
{
    void *volatile taken;
    size_t size;

    signal(SIGABRT, die_with_memory);
    limit_memory(64 << 20);
    for (size = 1 << 20; size > 0; size -= size > 4096 ? size / 2 : 16)
        do
            taken = malloc(size);
        while (taken);
}

static void take_what_there_is_not(void)
{
    use_up_memory();
    (void)osri_kit_resize(NULL, 1 << 20);
}

static void begin_without_memory(void)
{
    static const struct osr_test test = OSR_TEST("nothing", does_nothing, &world);

    use_up_memory();
    check_int(osr_test_run(&test), -ENOMEM);
    limit_memory(RLIM_INFINITY);
}

static void explore_without_memory(void)
{
    const struct orders_options options = {.reduce = true};

    use_up_memory();
    (void)osri_kit_orders_new(&options);
}

TEST(without_memory_the_kit_says_so)
{
    if (under_tools())
        skip(); /* they need more than there would be */
    assert_child_succeeds(begin_without_memory);
    assert_dies(take_what_there_is_not, SIGABRT, "osier-test: no memory for the test kit");
    assert_dies(explore_without_memory, SIGABRT, "osier-test: no memory left to explore with");
}

OSR_TASK(grows_memory, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    char *memory = allocator->resize(allocator->arg, NULL, 10), *grown;

    (void)w;
    if (!memory)
        return -ENOMEM;
    grown = allocator->resize(allocator->arg, memory, 100);
    allocator->resize(allocator->arg, grown ? grown : memory, 0);
    allocator->resize(allocator->arg, NULL, 0);
    return grown ? 0 : -ENOMEM;
}

TEST(memory_that_grows_is_one_block)
{
    const struct osr_test test = KIT_TEST("grows", grows_memory);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
}

OSR_TASK(asks_for_too_much, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    void *volatile memory = allocator->resize(allocator->arg, NULL, SIZE_MAX / 2);

    (void)w;
    osr_test_check(!memory);
    return 0;
}

TEST(memory_that_was_not_given_is_not_counted)
{
    const struct osr_test test = KIT_TEST("much", asks_for_too_much);

    if (under_tools())
        skip(); /* they stop the program */
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
}

OSR_TASK(keeps_memory, struct world, w)
{
    static void *volatile kept;
    const struct osr_allocator *allocator = osr_test_allocator();

    if (!kept || w->seen)
        kept = allocator->resize(allocator->arg, NULL, 10);
    return 0;
}

OSR_TASK(keeps_an_error, struct world, w)
{
    (void)w;
    return osr_fail(-EPROTO, "something");
}

static struct osr_error *kept;

OSR_TASK(keeps_an_error_for_itself, struct world, w)
{
    (void)w;
    (void)osr_fail(-EPROTO, "something");
    osr_error_release(kept);
    kept = osr_error_take();
    return 0;
}

static void keep_error(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    if (!kept && result->error)
        kept = osr_error_retain(result->error);
}

TEST(a_program_may_keep_memory_if_it_says_so)
{
    const struct osr_test memory = KIT_TEST("keeps", keeps_memory, .keeps_memory = true);
    const struct osr_test error = KIT_TEST("errors", keeps_an_error, .check = keep_error, .keeps_memory = true);
    const struct osr_test own = KIT_TEST("own", keeps_an_error_for_itself, .keeps_memory = true);

    with(NULL);
    assert_int_equal(osr_test_run(&memory), 0);
    assert_int_equal(osr_test_run(&error), 0);
    assert_int_equal(osr_test_run(&own), 0);
    osr_error_release(kept);
    kept = NULL;
}

static void *volatile left[2];

OSR_TASK(leaves_memory, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();

    left[w->seen++] = allocator->resize(allocator->arg, NULL, 10);
    if (has("two"))
        left[w->seen++] = allocator->resize(allocator->arg, NULL, 10);
    return 0;
}

/* Behind the kit's back. */
static void free_left(void *arg)
{
    (void)arg;
    free(left[0]);
    free(left[1]);
    left[0] = left[1] = NULL;
}

TEST(blocks_that_are_left_are_counted)
{
    const struct osr_test test = KIT_TEST("leaves", leaves_memory, .end = free_left);

    with("one");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("  1 block of memory is left: 10 bytes, made in task 1 \"leaves_memory\"\n");
    with("two");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("  2 blocks of memory are left: 10 bytes, made in task 1 \"leaves_memory\"; 10 bytes, made in task 1 "
                "\"leaves_memory\"\n");
}

TEST(a_timeline_that_cannot_be_written_is_no_violation)
{
    const struct osr_test test = KIT_TEST("traced", does_nothing);

    with(NULL);
    setenv("OSR_TRACE", "/nowhere/at/all", 1);
    assert_int_equal(osr_test_run(&test), 0);
    unsetenv("OSR_TRACE");
}

static void run_without_descriptors(void)
{
    static const struct osr_test test = OSR_TEST("bare", chooses, &world, .begin = begin, .quiet = true);
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    check_int(osr_test_run(&test), 0);
    check_int(world.runs, 2);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

TEST(a_test_needs_no_descriptor)
{
    with(NULL);
    assert_child_succeeds(run_without_descriptors);
}

/* ---- Orders -------------------------------------------------------------------------------------------- */

enum { CROWD = 300 };

OSR_TASK(adds_one, struct world, w)
{
    w->seen++;
    return 0;
}

OSR_TASK(looks_whether_first, struct world, w)
{
    osr_test_check(!has("first") || w->seen > 0);
    w->seen++;
    return 0;
}

OSR_TASK(spawns_a_crowd, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < CROWD && rc == 0; i++)
        rc = osr_spawn(&group, adds_one, w);
    if (rc == 0)
        rc = osr_spawn(&group, looks_whether_first, w);
    rc = osr_group_close(&group, rc);
    osr_test_check(rc < 0 || w->seen == CROWD + 1);
    return rc;
}

OSR_TASK(adds_one_later, struct world, w)
{
    int rc = osr_yield();

    w->seen++;
    return rc;
}

OSR_TASK(spawns_a_patient_crowd, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < CROWD && rc == 0; i++)
        rc = osr_spawn(&group, adds_one_later, w);
    rc = osr_group_close(&group, rc);
    osr_test_check(rc < 0 || w->seen == CROWD);
    return rc;
}

TEST(more_tasks_than_the_kit_keeps_in_mind_run_all_the_same)
{
    const struct osr_test patient = KIT_TEST("patient", spawns_a_patient_crowd);
    const struct osr_test test = KIT_TEST("crowd", spawns_a_crowd);

    with(NULL);
    assert_int_equal(osr_test_random(&test, 40, 1), 0);
    assert_int_equal(osr_test_random(&patient, 20, 1), 0);
    with("first");
    assert_int_equal(osr_test_replay(&test, whole("crowd:R1=300")), 1);
    assert_told("R1, a ready task: the one behind 300 others goes first");
}

OSR_TASK(yields_once, struct world, w)
{
    int rc = osr_yield();

    w->seen++;
    return rc;
}

OSR_TASK(spawns_eagerly, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 2 && rc == 0; i++)
        rc = osr_spawn(&group, yields_once, w, .eager = true);
    rc = osr_group_close(&group, rc);
    osr_test_check(rc < 0 || (w->seen == 2 && !has("eager")));
    return rc;
}

TEST(who_is_spawned_eagerly_goes_first_and_the_story_knows_who_else_is_ready)
{
    const struct osr_test test = KIT_TEST("eager", spawns_eagerly);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_int_equal(osr_test_random(&test, 100, 1), 0);
    with("eager");
    assert_int_equal(osr_test_replay(&test, whole("eager:R1=1")), 1);
    assert_told("runs before task 2 \"yields_once\", which was ready first\n");
}

OSR_TASK(sleeps_equally, struct world, w)
{
    int rc = osr_sleep(osr_ms(1));

    w->seen = w->seen * 10 + 1;
    return rc;
}

OSR_TASK(sleeps_equally_too, struct world, w)
{
    int rc = osr_sleep(osr_ms(1));

    osr_test_check(!has("due") || w->seen > 0);
    w->seen = w->seen * 10 + 2;
    return rc;
}

OSR_TASK(two_sleepers, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleeps_equally, w);
    rc = rc == 0 ? osr_spawn(&group, sleeps_equally_too, w) : rc;
    return osr_group_close(&group, rc);
}

TEST(equal_times_come_in_any_order_at_random)
{
    const struct osr_test test = KIT_TEST("due", two_sleepers);

    with(NULL);
    assert_int_equal(osr_test_random(&test, 50, 1), 0);
    with("due");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(osr_test_random(&test, 50, 1), 1);
}

OSR_TASK(yields_often, struct world, w)
{
    int i, rc = 0;

    for (i = 0; i < 300 && rc == 0; i++)
        rc = osr_yield();
    w->seen++;
    return rc;
}

OSR_TASK(two_that_yield, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, yields_often, w);
    rc = rc == 0 ? osr_spawn(&group, yields_often, w) : rc;
    return osr_group_close(&group, rc);
}

TEST(random_runs_cancel_and_fail_only_what_the_test_allows)
{
    struct osr_test test = KIT_TEST("yielding", two_that_yield);

    with(NULL);
    assert_int_equal(osr_test_random(&test, 20, 1), 0);
    test.cancels = test.faults = true;
    assert_int_equal(osr_test_random(&test, 100, 1), 0);
}

/* ---- Steps --------------------------------------------------------------------------------------------- */

OSR_TASK(never_ends, struct world, w)
{
    int rc = 0;

    while (rc == 0 || (has("never") && w->seen >= 0))
        rc = osr_yield();
    return rc;
}

TEST(a_run_without_a_limit_of_its_own_has_one)
{
    const struct osr_test test = KIT_TEST("endless", never_ends);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("the run has not ended after 100000 steps");
}

static void run_for_ever(void)
{
    static const struct osr_test test = OSR_TEST("endless", never_ends, &world, .begin = begin);

    with("never");
    osr_test_run(&test);
}

TEST(one_without_a_limit_that_cannot_be_cancelled_stops_the_program)
{
    assert_dies(run_for_ever, SIGABRT, "the run did not end when it was cancelled either");
}

/* ---- Faults -------------------------------------------------------------------------------------------- */

OSR_TASK(prints, struct world, w)
{
    int rc, again;

    if (has("ordered"))
        osr_test_check(osr_test_order_fault("printer", 1, 1) == 0);
    if (has("too high"))
        osr_test_check(osr_test_order_fault("printer", 0, 9) == 0);
    rc = osr_test_fault("printer", -ENODEV);
    again = osr_test_fault("printer", -ENODEV);
    w->seen = (rc != 0) + 2 * (again != 0);
    osr_test_check(!has("wrong") || !w->seen);
    return 0;
}

OSR_TASK(orders_too_many, struct world, w)
{
    static const char *const points[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    unsigned i;

    (void)w;
    osr_test_check(osr_test_order_fault(NULL, 0, 1) == -EINVAL);
    for (i = 0; i < ORDERS; i++)
        osr_test_check(osr_test_order_fault(points[i], 0, 1) == 0);
    osr_test_check(osr_test_order_fault(points[3], 0, 1) == -EINVAL); /* one at a time */
    osr_test_check(osr_test_order_fault(points[i], 0, 1) == -ENOSPC);
    osr_test_check(osr_test_fault(points[3], -EIO) == -EIO);
    osr_test_check(osr_test_order_fault(points[i], 0, 1) == 0); /* there is a place again */
    return 0;
}

TEST(faults_are_ordered_one_at_a_time_for_a_point_and_eight_in_all)
{
    const struct osr_test test = KIT_TEST("orders", orders_too_many);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
}

static void order_from_outside(void *arg)
{
    begin(arg);
    if (has("wrong, ordered"))
        assert_int_equal(osr_test_order_fault("printer", 1, 1), 0);
}

/* That a sweep has told of. */
static int calls_that_can_fail(void)
{
    const char *at = strstr(told, " cancellation points, ");

    assert_non_null(at);
    return (int)strtol(at + strlen(" cancellation points, "), NULL, 10);
}

TEST(an_ordered_fault_comes_whatever_else_is_varied)
{
    static struct osr_test test = KIT_TEST("prints", prints);
    int ordered;

    with("ordered");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(world.seen, 2);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_int_equal(world.seen, 2);
    assert_int_equal(osr_test_random(&test, 20, 1), 0);
    assert_int_equal(osr_test_fuzz(&test, (const uint8_t *)"\377\377\377\377", 4), 0);
    assert_int_equal(world.seen, 2);
    told[0] = '\0';
    assert_int_equal(osr_test_sweep(&test), 0);
    ordered = calls_that_can_fail();
    test.pairs = 100;
    assert_int_equal(osr_test_sweep(&test), 0);
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_int_equal(ordered, calls_that_can_fail() - 1); /* it is not varied itself */
    assert_int_equal(osr_test_replay(&test, whole("prints:F1=1")), 0);
    with("too high");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(world.seen, 0); /* there is no ninth error */
}

OSR_TASK(prints_once_more, struct world, w)
{
    w->seen = osr_test_fault("printer", -ENODEV);
    w->seen = osr_test_fault("printer", -ENODEV);
    osr_test_check(w->seen == 0);
    return 0;
}

TEST(a_story_says_of_a_fault_whether_it_was_ordered_or_goes_on)
{
    const struct osr_test ordered = OSR_TEST("prints", prints_once_more, &world, .begin = order_from_outside, .tell = note);

    with("wrong, ordered");
    assert_int_equal(osr_test_run(&ordered), 1);
    assert_told("\"printer\" fails with ENODEV, error 1 of 1, as the test ordered");
    with(NULL);
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&ordered, with_printer_failing("prints")), 1);
    assert_told("\"printer\" fails with ENODEV, error 1 of 1, as from now on always");
}

OSR_TASK(only_pairs, struct world, w)
{
    int one = osr_test_fault("printer", -ENODEV), other = osr_test_fault("scanner", -ENODEV);

    (void)w;
    osr_test_check(!has("pair") || one == 0 || other == 0);
    return 0;
}

TEST(the_sweep_tries_two_at_a_time)
{
    const struct osr_test test = KIT_TEST("pairs", only_pairs, .pairs = 2000);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("pair");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("two injections");
}

OSR_TASK(chooses_often, struct world, w)
{
    int i;

    for (i = 0; i < 5000; i++)
        w->seen += (int)osr_test_choose(2, "bit");
    return (int)osr_test_choose(1, "no choice at all");
}

TEST(where_hardly_anything_can_be_injected_pairs_are_left_out)
{
    const struct osr_test test = KIT_TEST("chatty", chooses_often, .pairs = 20);
    struct osr_test first = KIT_TEST("fails", fails_a_check);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_int_equal(osr_test_sweep(&first), 1); /* nothing injected, and wrong at once */
    assert_told("nothing is injected");
}

OSR_TASK(reads_and_writes, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds);
    char text[4];

    if (rc < 0)
        return rc;
    rc = osr_write(fds[0], "abcd", 4);
    osr_test_check(!has("short write") || rc < 0 || rc == 4);
    if (rc > 0)
        rc = osr_read(fds[1], text, sizeof(text));
    osr_test_check(!has("very short read") || rc != 1);
    osr_test_check(!has("not so short read") || rc == 1 || rc == 4 || rc < 0);
    w->seen = rc;
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(the_sweep_shortens_each_transfer)
{
    struct osr_test test = KIT_TEST("transfers", reads_and_writes);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_told("2 reads and writes that can be short\n");
    assert_not_told("the root failed");
    with("short write");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("S1, a short transfer: in task 1 \"reads_and_writes\", at tests/test_kit_corners.c:");
    assert_told(", \"write\" moves one byte only\n");
    with("very short read");
    assert_int_equal(osr_test_sweep(&test), 1);
    with("not so short read");
    assert_int_equal(osr_test_sweep(&test), 1);
    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("explore: 1 run: all well");
    test.faults = true;
    test.cancels = true;
    test.reduce = true;
    assert_int_equal(osr_test_explore(&test), 0); /* these are not explored, but faults are */
    assert_told("all orders that differ");
}

/* Errors that a listener was refused with, as a set, and whether two parts of the world failed both. */
OSR_TASK(listens, struct world, w)
{
    static const int codes[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    struct osr_address address;
    int fd, i;

    (void)osr_address_unix(&address, "@osier-test-listener");
    fd = osr_listen(&address, 1);
    for (i = 0; i < 4; i++)
        w->seen |= fd == -codes[i] ? 1 << i : 0;
    return fd < 0 ? fd : osr_fd_close(fd);
}

static int refusals; /* of all runs */

static void gather_refusals(void *arg, const struct osr_test_result *result)
{
    (void)result;
    refusals |= ((struct world *)arg)->seen;
}

TEST(the_sweep_lets_a_call_fail_with_each_of_its_errors)
{
    const struct osr_test test = KIT_TEST("errors", listens, .check = gather_refusals);

    with(NULL);
    refusals = 0;
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_true((refusals & 3) == 3);
}

OSR_TASK(prints_twice, struct world, w)
{
    int first = osr_test_fault("printer", -EIO), second = osr_test_fault("printer", -EIO);

    (void)w;
    osr_test_check(first == 0 || second == 0);
    return 0;
}

TEST(the_sweep_lets_calls_fail_from_one_on)
{
    const struct osr_test test = KIT_TEST("printer", prints_twice);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("as from now on always");
}

static int failed_tasks; /* a bit for each that the fault has met, in whichever run */

OSR_TASK(prints_first, struct world, w)
{
    (void)w;
    failed_tasks |= osr_test_fault("printer", -EIO) < 0 ? 1 : 0;
    return 0;
}

OSR_TASK(prints_second, struct world, w)
{
    (void)w;
    failed_tasks |= osr_test_fault("printer", -EIO) < 0 ? 2 : 0;
    return 0;
}

OSR_TASK(two_print, struct world, w)
{
    struct osr_group group;
    int rc;

    (void)osr_test_order_fault("printer", 1, 1);
    osr_group_open(&group);
    rc = osr_spawn(&group, prints_first, w);
    rc = rc == 0 ? osr_spawn(&group, prints_second, w) : rc;
    return osr_group_close(&group, rc);
}

/* Who asks as the second depends on the order, though nothing else is shared. */
TEST(points_of_a_test_are_somebodys_when_orders_are_reduced)
{
    const struct osr_test test = KIT_TEST("printers", two_print, .reduce = true);

    with(NULL);
    failed_tasks = 0;
    assert_int_equal(osr_test_explore(&test), 0);
    assert_int_equal(failed_tasks, 3);
}

OSR_TASK(reaches_points, struct world, w)
{
    int rc = osr_yield();

    (void)w;
    return rc == 0 ? osr_yield() : rc;
}

/* The close waits while others reach cancellation points, and is none. */
OSR_TASK(closes_under_watch, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, reaches_points, w);
    return osr_test_no_point(osr_group_close(&group, rc));
}

TEST(points_of_others_are_not_counted_to_a_call)
{
    const struct osr_test test = KIT_TEST("watched", closes_under_watch);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
}

OSR_TASK(sleeps_short, struct world, w)
{
    (void)w;
    return osr_test_point(osr_sleep(osr_ms(1)));
}

OSR_TASK(sleeps_longer, struct world, w)
{
    int rc = osr_test_point(osr_sleep(osr_ms(2)));

    return rc < 0 ? rc : osr_test_no_point(osr_cancelled() ? 1 : 0);
}

OSR_TASK(two_that_are_watched, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleeps_short, w);
    rc = rc == 0 ? osr_spawn(&group, sleeps_longer, w) : rc;
    return osr_group_close(&group, rc);
}

static void root_was_not_cancelled(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    osr_test_check(!has("root cancelled") || result->rc != -OSR_ETASKCANCELED);
}

OSR_TASK(writes_thrice, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds), first = 4, second = 4, third = 4;

    (void)w;
    if (rc < 0)
        return rc;
    first = osr_write(fds[0], "abcd", 4);
    second = osr_write(fds[0], "efgh", 4);
    third = osr_write(fds[0], "ijkl", 4);
    osr_test_check(!has("second") || second < 0 || second == 4);
    osr_test_check(!has("two") || (first == 4) + (second == 4) + (third == 4) >= 2 || first < 0);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return 0;
}

OSR_TASK(writes_and_reads, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds), i;
    char bytes[2];

    (void)w;
    for (i = 0; rc >= 0 && i < 10; i++) {
        rc = osr_write(fds[0], "ab", 2);
        if (rc >= 0)
            rc = osr_read(fds[1], bytes, 2);
    }
    osr_test_fail("look around");
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(transfers_that_are_all_short_are_told_once)
{
    const struct osr_test test = KIT_TEST("both", writes_and_reads);

    with(NULL);
    assert_int_equal(osr_test_replay(&test, whole("both:S1+=1")), 1);
    assert_told(" moves one byte only, as from now on always\n  … and ");
    assert_not_told("S2,");
}

TEST(of_transfers_that_are_all_short_the_one_that_matters_is_told)
{
    const struct osr_test test = KIT_TEST("thrice", writes_thrice);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("second");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("(all transfers are short), then shrunk");
    assert_told("S2, a short transfer: in task 1 \"writes_thrice\", at tests/test_kit_corners.c:");
    assert_told(", \"write\" moves one byte only\n");
    assert_told("again: OSR_REPLAY='osr1:thrice:S2=1/3.");
    assert_not_told("as from now on always");
    assert_int_equal(osr_test_replay(&test, whole("thrice:S1+=1,S2=2")), 1); /* where it stands does not matter */
    with("two");
    assert_int_equal(osr_test_sweep(&test), 1); /* no one alone does it */
    assert_told("S1, a short transfer: in task 1 \"writes_thrice\", at tests/test_kit_corners.c:");
    assert_told(", \"write\" moves one byte only, as from now on always\n");
    assert_told("again: OSR_REPLAY='osr1:thrice:S1+=1");
}

OSR_TASK(writes_once, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds);

    (void)w;
    if (rc < 0)
        return rc;
    rc = osr_write(fds[0], "abcd", 4);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(one_of_a_thing_is_told_as_one)
{
    const struct osr_test test = KIT_TEST("once", writes_once);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_told("1 cancellation point, ");
    assert_told(", 1 read or write that can be short\n");
}

OSR_TASK(fails_by_itself, struct world, w)
{
    const unsigned size = osr_test_choose(4, "size");

    (void)w;
    (void)osr_cancelled();
    return size == 0 ? 0 : size == 3 ? -ERANGE : -EPROTO;
}

TEST(roots_that_fail_without_a_check_that_objects_are_counted)
{
    const struct osr_test test = KIT_TEST("failing", fails_by_itself);
    const struct osr_test other = KIT_TEST("sound", sleeps_equally, .cancels = true, .faults = true);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("4 runs: all well: all orders; the root failed in 3 of them (EPROTO) with no cancellation and no fault "
                "injected, and there is no check() to object\n");
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_not_told("the root failed");
    with(NULL);
    assert_int_equal(osr_test_sweep(&other), 0); /* it is cancelled, and gives that */
    assert_told("all well: 1 cancellation point, ");
    assert_not_told("the root failed");
}

OSR_TASK(fails_twice_at_once, struct world, w)
{
    int rc = osr_test_order_fault("printer", 0, 1);

    (void)w;
    rc = rc == 0 ? osr_test_fault("printer", -ENODEV) : rc;
    (void)osr_test_point(rc); /* no call at all */
    return 0;
}

TEST(who_is_where_is_told_once_at_one_moment)
{
    const struct osr_test test = KIT_TEST("moment", fails_twice_at_once);
    const char *at;

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("\"printer\" fails with ENODEV, error 1 of 1, as the test ordered\n");
    at = strstr(told, "      at 0.000000 s:\n");
    assert_non_null(at);
    assert_null(strstr(at + 20, "at 0.000000 s:\n"));
}

TEST(points_are_told_apart_where_several_tasks_are_at_one)
{
    const struct osr_test test = KIT_TEST("points", two_that_are_watched, .check = root_was_not_cancelled);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_told("2 cancellation points");
    with("root cancelled");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("the root is cancelled");
}

TEST(the_bytes_of_a_fuzzer_cancel_now_and_then)
{
    static const struct osr_test both = OSR_TEST("fuzzed", two_that_are_watched, &world, .begin = begin, .cancels = true);
    static const struct osr_test none = OSR_TEST("fuzzed", two_that_are_watched, &world, .begin = begin);
    static const uint8_t always[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    with(NULL);
    assert_int_equal(osr_test_fuzz(&both, always, sizeof(always)), 0);
    assert_int_equal(osr_test_fuzz(&both, always, 1), 0);
    assert_int_equal(osr_test_fuzz(&none, always, sizeof(always)), 0);
}

/* What the test chooses comes from the front, all else from the back. */
OSR_TASK(takes_a_byte, struct world, w)
{
    w->seen = (int)osr_test_choose(10, "digit");
    return osr_yield();
}

static unsigned most_cancels;

static void note_cancels(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    most_cancels = result->cancels > most_cancels ? result->cancels : most_cancels;
}

TEST(the_bytes_of_a_fuzzer_are_for_the_test_from_the_front)
{
    static const struct osr_test calm = OSR_TEST("byte", takes_a_byte, &world, .begin = begin, .check = note_cancels);
    static const struct osr_test cut = OSR_TEST("cut", takes_a_byte, &world, .begin = begin, .check = note_cancels,
                                                .cancels = true);
    static const uint8_t bytes[] = {3, 0xf1, 0xf1, 0xf1};

    with(NULL);
    most_cancels = 0;
    assert_int_equal(osr_test_fuzz(&calm, bytes, sizeof(bytes)), 0);
    assert_int_equal(world.seen, 3);
    assert_int_equal(most_cancels, 0);
    assert_int_equal(osr_test_fuzz(&cut, bytes, sizeof(bytes)), 0);
    assert_int_equal(world.seen, 3);
    assert_true(most_cancels > 0);
}

OSR_TASK(fails_in_two_ways, struct world, w)
{
    unsigned first = osr_test_choose(4, "first"), second = first > 1 ? osr_test_choose(4, "second") : 0;

    (void)w;
    if (first == 1 && second == 0)
        osr_test_fail("another thing");
    osr_test_check(first < 2 || second < 2);
    return 0;
}

/* ---- Beginnings and ends ------------------------------------------------------------------------------- */

static int checked, ended; /* runs */

static void count_check(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    checked++;
}

static void count_end(void *arg)
{
    (void)arg;
    ended += ended == checked - 1; /* after its check */
}

TEST(each_run_has_an_end_after_its_check)
{
    const struct osr_test test = KIT_TEST("ends", does_nothing, .check = count_check, .end = count_end);

    with(NULL);
    checked = ended = 0;
    assert_int_equal(osr_test_random(&test, 10, 1), 0);
    assert_true(world.runs >= 10);
    assert_int_equal(checked, world.runs);
    assert_int_equal(ended, world.runs);
}

OSR_TASK(goes_on_after_a_check, struct world, w)
{
    osr_test_check(w == NULL);
    w->seen = osr_yield();
    return w->seen;
}

TEST(a_check_that_fails_in_a_task_cancels_the_run)
{
    const struct osr_test test = KIT_TEST("goes.on", goes_on_after_a_check);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_int_equal(world.seen, -ECANCELED);
}

TEST(another_token_in_the_environment_is_another_replay)
{
    const struct osr_test test = KIT_TEST("ways", fails_in_two_ways);

    with(NULL);
    setenv("OSR_REPLAY", whole("ways:T1=1"), 1);
    assert_int_equal(osr_test_run(&test), 1);
    setenv("OSR_REPLAY", whole("ways:T1=3,T2=1"), 1);
    assert_int_equal(osr_test_run(&test), 0);
    unsetenv("OSR_REPLAY");
}

OSR_TASK(works_for_a_while, struct world, w)
{
    int rc = osr_sleep(osr_ms(5)), i;

    for (i = 0; i < 5 && rc == 0; i++)
        rc = osr_yield();
    w->seen = i;
    return rc;
}

OSR_TASK(advances_beside_another, struct world, w)
{
    struct osr_group group;
    int fds[2], rc, i;

    osr_group_open(&group);
    rc = osr_spawn(&group, works_for_a_while, w);
    rc = rc == 0 ? osr_test_advance(osr_ms(5)) : rc;
    osr_test_check(w->seen == 5);
    rc = osr_group_close(&group, rc);
    rc = rc == 0 ? osr_test_streams(fds) : rc;
    for (i = 0; i < 2 && rc == 0; i++) {
        osr_test_check(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        osr_test_check(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        osr_fd_close(fds[i]);
    }
    return rc;
}

TEST(what_falls_due_has_settled_when_time_was_moved)
{
    const struct osr_test test = KIT_TEST("advances", advances_beside_another);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
}

/* ---- Shrinking ----------------------------------------------------------------------------------------- */

OSR_TASK(chooses_much, struct world, w)
{
    unsigned first = osr_test_choose(100000, "size");

    (void)w;
    (void)osr_test_choose(2, "of no account");
    (void)osr_test_choose(2, "of no account either");
    osr_test_check(!has("high") || first < 50000);
    return 0;
}

TEST(shrinking_comes_to_an_end)
{
    const struct osr_test test = KIT_TEST("much", chooses_much);
    unsigned long lowered;

    with("high");
    assert_int_equal(osr_test_random(&test, 100, 1), 1);
    assert_true(strncmp(osr_test_token(), "osr1:much:T1=", 13) == 0);
    lowered = strtoul(osr_test_token() + 13, NULL, 10);
    assert_true(lowered >= 50000); /* it fails still, though it is not the least */
    assert_true(world.runs < 6000);
}

TEST(what_fails_elsewhere_is_not_taken_for_the_same)
{
    const struct osr_test test = KIT_TEST("ways", fails_in_two_ways);
    int seed, others = 0;

    with(NULL);
    assert_int_equal(osr_test_replay(&test, whole("ways:T1=1")), 1);
    assert_told("another thing");
    for (seed = 1; seed <= 20; seed++) {
        told[0] = '\0';
        assert_int_equal(osr_test_random(&test, 200, (uint64_t)seed), 1);
        others += strstr(told, "another thing") != NULL;
        assert_told(strstr(told, "another thing") ? "T1=1/4" : "T1-2=2;"); /* not T1=1, which fails in the other way */
    }
    assert_in_range(others, 1, 19);
}

static void *left_memory;

static void begin_without_it(void *arg)
{
    begin(arg);
    free(left_memory);
    left_memory = NULL;
}

/* Of what has no place, the kind tells it apart. */
OSR_TASK(is_stuck_or_leaves_memory, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    unsigned size = osr_test_choose(3, "size");
    void *memory = size > 0 ? allocator->resize(allocator->arg, NULL, 16) : NULL;
    int rc = size == 2 ? osr_event_wait(&w->event) : 0;

    if (size == 2)
        allocator->resize(allocator->arg, memory, 0);
    else
        left_memory = memory;
    return rc;
}

TEST(what_fails_in_another_way_is_not_taken_for_the_same)
{
    const struct osr_test test = OSR_TEST("kinds", is_stuck_or_leaves_memory, &world, .begin = begin_without_it, .tell = note);
    int seed, stuck = 0;

    for (seed = 1; seed <= 20; seed++) {
        with(NULL);
        assert_int_equal(osr_test_random(&test, 200, (uint64_t)seed), 1);
        stuck += strstr(told, "a deadlock") != NULL;
        assert_told(strstr(told, "a deadlock") ? "T1=2" : "T1=1");
    }
    begin_without_it(&world);
    assert_in_range(stuck, 1, 19);
}

/* ---- Exploring ----------------------------------------------------------------------------------------- */

OSR_TASK(asks_now_and_then, struct world, w)
{
    int i;

    for (i = 0; i < 2; i++)
        (void)osr_test_choose(2, "first");
    if (w->runs > 5)
        (void)osr_test_choose(w->runs > 6 ? 3 : 2, "later");
    return 0;
}

TEST(exploring_notices_a_program_that_asks_otherwise)
{
    const struct osr_test test = KIT_TEST("asks", asks_now_and_then);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 1);
    assert_told("the program is not determined by its choices");
}

OSR_TASK(asks_otherwise_later, struct world, w)
{
    (void)osr_test_choose(w->runs < 5 ? 2 : 3, "first");
    (void)osr_test_choose(2, "second");
    (void)osr_test_choose(2, "third");
    return 0;
}

OSR_TASK(yields_then, struct world, w)
{
    osr_test_touches(w);
    return osr_yield();
}

OSR_TASK(has_others_later, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    if (has("a choice") && w->runs >= 5)
        (void)osr_test_choose(2, "late");
    osr_group_open(&group);
    for (i = 0; i < (has("one more") && w->runs >= 5 ? 4 : 3) && rc == 0; i++)
        rc = osr_spawn(&group, yields_then, w);
    return osr_group_close(&group, rc);
}

TEST(exploring_notices_another_question_in_the_place_of_one_before)
{
    const struct osr_test test = KIT_TEST("otherwise", asks_otherwise_later);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 1);
    assert_told("after the same choices T1 of 3 (first) is asked, and something else was before");
}

TEST(exploring_notices_other_tasks_in_the_place_of_those_before)
{
    static const char *const faults[] = {"a choice", "one more"};
    struct osr_test test = KIT_TEST("others", has_others_later);
    unsigned i;

    for (i = 0; i < 2; i++) {
        test.reduce = i > 0;
        with(faults[i]);
        assert_int_equal(osr_test_explore(&test), 1);
        assert_told("the program is not determined by its choices");
        test.reduce = !test.reduce;
        with(faults[i]);
        assert_int_equal(osr_test_explore(&test), 1);
    }
}

enum { OBJECTS = 40, TOUCHERS = 12 };
static char objects[TOUCHERS][OBJECTS];

struct toucher {
    char *own;
};

OSR_TASK(touches_its_own, struct toucher, toucher)
{
    int i, round;

    for (round = 0; round < 2; round++)
        for (i = 0; i < OBJECTS; i++)
            osr_test_touches(&toucher->own[i]);
    return 0;
}

OSR_TASK(many_that_have_nothing_in_common, struct world, w)
{
    struct toucher touchers[TOUCHERS];
    struct osr_group group;
    int i, rc = 0;

    (void)w;
    osr_group_open(&group);
    for (i = 0; i < TOUCHERS && rc == 0; i++) {
        touchers[i].own = objects[i];
        rc = osr_spawn(&group, touches_its_own, &touchers[i]);
    }
    return osr_group_close(&group, rc);
}

static void touch_afterwards(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    osr_test_touches(objects); /* there is no step that it would belong to */
}

TEST(tasks_that_touch_much_but_nothing_in_common_run_in_one_order)
{
    const struct osr_test test = KIT_TEST("apart", many_that_have_nothing_in_common, .check = touch_afterwards, .reduce = true);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("1 run: all well: all orders that differ");
}

TEST(what_is_explored_to_a_depth_is_not_reduced)
{
    const struct osr_test test = KIT_TEST("apart", many_that_have_nothing_in_common, .reduce = true, .depth = 1);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("12 runs: all well: all orders of the first choices");
}

TEST(faults_of_memory_are_nobodys_when_orders_are_reduced)
{
    const struct osr_test test = KIT_TEST("grows", grows_memory, .reduce = true, .faults = true);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("all orders that differ");
}

/* ---- Stories of death ---------------------------------------------------------------------------------- */

static void begin_and_die(void *arg)
{
    begin(arg);
    raise(SIGSEGV);
}

static void die_before_anything(void)
{
    static const struct osr_test test = OSR_TEST("dies", does_nothing, &world, .begin = begin_and_die);

    osr_test_run(&test);
}

OSR_TASK(dies_of_faults, struct world, w)
{
    (void)w;
    if (osr_test_fault("printer", -ENODEV) < 0 && osr_test_fault("printer", -ENODEV) < 0) {
        osr_test_check(osr_test_order_fault("scanner", 0, 1) == 0);
        (void)osr_test_fault("scanner", -ENODEV);
        abort();
    }
    return 0;
}

static void die_of_faults(void)
{
    static const struct osr_test test = OSR_TEST("dies", dies_of_faults, &world, .begin = begin);

    osr_test_replay(&test, with_printer_failing("dies"));
}

OSR_TASK(stays_in_an_inner_scope, struct world, w)
{
    static struct osr_scope scope;

    (void)w;
    osr_scope_open(&scope);
    return 0; /* its scope is still open: the library stops the program */
}

OSR_TASK(chooses_and_dies, struct world, w)
{
    int i;

    for (i = 0; i < 600; i++)
        w->seen += (int)osr_test_choose(2, "bit");
    if (w->seen == 600)
        abort();
    return 0;
}

static void die_after_much(void)
{
    static const struct osr_test test = OSR_TEST("much", chooses_and_dies, &world, .begin = begin);

    osr_test_replay(&test, whole("much:T1-600=1"));
}

static char many_lines[1 << 14];

static void die_after_many_lines(void)
{
    static const struct osr_test test = OSR_TEST("much", chooses_and_dies, &world, .begin = begin);

    osr_test_replay(&test, whole(many_lines));
}

static void fuzz_with_nothing(void)
{
    static const struct osr_test test = OSR_TEST("fails", fails_a_check, &world, .begin = begin);

    osr_test_fuzz(&test, NULL, 0);
}

static void misuse(void)
{
    static const struct osr_test test = OSR_TEST("misuse", stays_in_an_inner_scope, &world, .begin = begin);

    osr_test_run(&test);
}

TEST(a_program_that_dies_tells_how_to_come_there_again)
{
    int i, length = snprintf(many_lines, sizeof(many_lines), "much:T1+=1");

    for (i = 2; i <= 600; i++)
        length += snprintf(many_lines + length, sizeof(many_lines) - (size_t)length, ",T%d+=1", i);
    assert_dies(die_after_many_lines, SIGABRT, ",T600+=1;");
    assert_dies(die_before_anything, SIGSEGV, "the program is stopped");
    assert_dies(die_of_faults, SIGABRT, "again: OSR_REPLAY='osr1:dies:F1+=1.");
    assert_dies(die_after_much, SIGABRT, "again: OSR_REPLAY='osr1:much:T1-600=1;");
    assert_dies(fuzz_with_nothing, SIGABRT, "for \"fails\", OSR_REPLAY='osr1:fails:;");
    assert_dies(misuse, SIGABRT, "again: OSR_REPLAY='osr1:misuse:;");
}

OSR_TASK(waits_for_the_lock, struct world, w)
{
    int rc = osr_lock_acquire(&w->lock);

    if (rc == 0)
        rc = osr_lock_release(&w->lock);
    return rc;
}

OSR_TASK(yields_at_the_event, struct world, w)
{
    int rc = osr_event_wait(&w->event);

    return rc < 0 ? rc : osr_yield();
}

OSR_TASK(sleeps_nowhere, struct world, w)
{
    (void)w;
    return osr_sleep_here(osr_s(1), NULL);
}

OSR_TASK(wakes_and_fails, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_lock_acquire(&w->lock);
    if (rc == 0)
        rc = osr_spawn(&group, waits_for_the_lock, w, .name = "waiter");
    if (rc == 0)
        rc = osr_yield();
    if (rc == 0)
        rc = osr_spawn(&group, yields_at_the_event, w, .name = "yielder");
    if (rc == 0)
        rc = osr_spawn(&group, sleeps_nowhere, w, .name = "sleeper");
    if (rc == 0)
        rc = osr_yield();
    osr_event_set(&w->event);
    if (rc == 0)
        rc = osr_yield(); /* who waited for the event runs, and yields */
    (void)osr_lock_release(&w->lock);
    if (rc == 0)
        rc = osr_spawn(&group, does_nothing, w, .name = "newcomer");
    osr_test_fail("look around");
    return osr_group_close(&group, rc);
}

TEST(a_story_says_what_everybody_is_doing)
{
    const struct osr_test test = KIT_TEST("around", wakes_and_fails);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("task 1 \"wakes_and_fails\" runs");
    assert_told("task 2 \"waiter\" was woken in osr_lock_acquire at");
    assert_told("task 5 \"newcomer\", spawned at");
    assert_told("task 3 \"yielder\" is ready");
    assert_told("task 4 \"sleeper\" waits in osr_sleep at ?");
}

OSR_TASK(prints_much, struct world, w)
{
    unsigned i;

    (void)w;
    for (i = 0; i < 391; i++)
        (void)osr_test_fault(has("other") && i % 2 ? "scanner" : "printer", -ENODEV);
    osr_test_fail("look around");
    return 0;
}

TEST(a_story_tells_like_lines_once_and_what_it_leaves_out)
{
    const struct osr_test test = KIT_TEST("prints", prints_much);

    with(NULL);
    assert_int_equal(osr_test_replay(&test, whole("prints:F100+=1")), 1);
    assert_told("  F100, a fault: in task 1 \"prints_much\", \"printer\" fails with ENODEV, error 1 of 1, as from now on "
                "always\n  … and ");
    assert_told(" more, up to F");
    assert_not_told("F101");
    assert_told(" runs\n  the run gave");
    assert_not_told("no room");
    with("other");
    assert_int_equal(osr_test_replay(&test, whole("prints:F100+=1")), 1);
    assert_told("F101, a fault: in task 1 \"prints_much\", \"");
    assert_told(" as from now on always\n  … and more, which there is no room for\n      when the check failed, at 0.000000 s:\n"
                "        task 1 \"prints_much\" runs\n  the run gave");
}

OSR_TASK(uses, struct world, w)
{
    int rc = osr_sleep(osr_s(1));

    (void)w;
    osr_test_check(rc == 0);
    return rc;
}

OSR_TASK(has_two_users, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, uses, w, .name = "user");
    if (rc == 0)
        rc = osr_spawn(&group, uses, w, .name = "user");
    return osr_group_close(&group, rc);
}

TEST(a_story_tells_tasks_of_one_name_apart_and_which_call_is_cut)
{
    const struct osr_test test = KIT_TEST("users", has_two_users, .cancels = true);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 1);
    assert_told("\"user\" is about to call osr_sleep, and it is cancelled\n");
    assert_told("        task 2 \"user\" ");
    assert_told("        task 3 \"user\" ");
    assert_ptr_equal(strstr(strstr(told, "\"user\" runs") + 1, "\"user\" runs"), NULL); /* nothing has changed since */
}

static int handled;

static void handle(int number)
{
    handled = number;
}

TEST(handlers_that_the_program_has_set_meanwhile_are_left_alone)
{
    static const struct osr_test one = OSR_TEST("one", does_nothing, &world, .quiet = true);
    static const struct osr_test other = OSR_TEST("other", does_nothing, &world, .quiet = true);
    struct sigaction action = {.sa_handler = handle}, before, now;

    assert_int_equal(osr_test_fuzz(&one, NULL, 0), 0);
    sigaction(SIGFPE, &action, &before);
    assert_int_equal(osr_test_fuzz(&other, NULL, 0), 0); /* the campaign of the first one ends */
    raise(SIGFPE); /* nothing is told between runs */
    assert_int_equal(handled, SIGFPE);
    sigaction(SIGFPE, &before, &now);
    assert_ptr_equal(now.sa_handler, handle);
}

static void wants_the_root_to_run(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    osr_test_check(result->faults == 0 || result->steps > 0);
}

TEST(the_sweep_begins_with_the_first_call_that_can_fail)
{
    const struct osr_test test = KIT_TEST("from-the-first", does_nothing, .check = wants_the_root_to_run);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("from-the-first:F1=1");
}

static unsigned long pairs_run;

static void count_run(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    pairs_run++;
}

static unsigned long runs_with_pairs(unsigned pairs)
{
    const struct osr_test test = KIT_TEST("pairs", does_nothing, .check = count_run, .pairs = pairs);

    pairs_run = 0;
    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    return pairs_run;
}

/* Some of the runs are made twice, to be compared. */
TEST(as_many_pairs_are_tried_as_are_asked_for)
{
    const unsigned long none = runs_with_pairs(0);

    assert_in_range(runs_with_pairs(1), none + 1, none + 2);
    assert_in_range(runs_with_pairs(20), runs_with_pairs(19) + 1, runs_with_pairs(19) + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_test_needs_a_name_and_something_to_run),
        story_test(a_test_that_cannot_say_where_to_tell_is_refused_on_standard_error),
        story_test(no_test_is_run_inside_another_one),
        story_test(no_test_is_run_inside_a_run),
        story_test(no_input_is_tried_inside_another_one),
        story_test(a_fuzz_target_that_makes_no_sense_runs_nothing),
        story_test(what_tests_call_does_nothing_outside_of_them),
        story_test(streams_that_cannot_be_had_are_errors),
        story_test(a_quiet_test_says_only_what_went_wrong),
        story_test(a_story_that_cannot_be_written_is_kept),
        story_test(the_questions_of_a_run_are_shown_where_the_environment_asks_for_them),
        story_test(a_token_by_hand_is_refused_where_it_is_wrong),
        story_test(a_token_without_its_end_or_of_a_longer_name_is_refused),
        story_test(a_token_by_hand_answers_what_it_says),
        story_test(a_token_that_does_not_fit_says_how_long_it_is),
        story_test(nothing_that_is_asked_about_has_the_hash_of_the_unknown),
        story_test(the_environment_replays_whatever_is_called),
        story_test(programs_are_compared_in_all_that_happens),
        story_test(runs_that_do_not_come_about_are_compared_too),
        story_test(a_run_that_does_not_come_about_has_nothing_to_vary),
        story_test(what_is_wrong_once_and_not_again_is_named),
        story_test(of_many_runs_some_are_compared_still),
        story_test(without_memory_the_kit_says_so),
        story_test(memory_that_grows_is_one_block),
        story_test(memory_that_was_not_given_is_not_counted),
        story_test(a_program_may_keep_memory_if_it_says_so),
        story_test(blocks_that_are_left_are_counted),
        story_test(a_timeline_that_cannot_be_written_is_no_violation),
        story_test(a_test_needs_no_descriptor),
        story_test(more_tasks_than_the_kit_keeps_in_mind_run_all_the_same),
        story_test(who_is_spawned_eagerly_goes_first_and_the_story_knows_who_else_is_ready),
        story_test(equal_times_come_in_any_order_at_random),
        story_test(random_runs_cancel_and_fail_only_what_the_test_allows),
        story_test(a_run_without_a_limit_of_its_own_has_one),
        story_test(one_without_a_limit_that_cannot_be_cancelled_stops_the_program),
        story_test(faults_are_ordered_one_at_a_time_for_a_point_and_eight_in_all),
        story_test(an_ordered_fault_comes_whatever_else_is_varied),
        story_test(a_story_says_of_a_fault_whether_it_was_ordered_or_goes_on),
        story_test(the_sweep_tries_two_at_a_time),
        story_test(where_hardly_anything_can_be_injected_pairs_are_left_out),
        story_test(the_sweep_shortens_each_transfer),
        story_test(the_sweep_lets_a_call_fail_with_each_of_its_errors),
        story_test(the_sweep_lets_calls_fail_from_one_on),
        story_test(points_of_a_test_are_somebodys_when_orders_are_reduced),
        story_test(points_of_others_are_not_counted_to_a_call),
        story_test(transfers_that_are_all_short_are_told_once),
        story_test(of_transfers_that_are_all_short_the_one_that_matters_is_told),
        story_test(one_of_a_thing_is_told_as_one),
        story_test(roots_that_fail_without_a_check_that_objects_are_counted),
        story_test(who_is_where_is_told_once_at_one_moment),
        story_test(points_are_told_apart_where_several_tasks_are_at_one),
        story_test(the_bytes_of_a_fuzzer_cancel_now_and_then),
        story_test(the_bytes_of_a_fuzzer_are_for_the_test_from_the_front),
        story_test(each_run_has_an_end_after_its_check),
        story_test(a_check_that_fails_in_a_task_cancels_the_run),
        story_test(another_token_in_the_environment_is_another_replay),
        story_test(what_falls_due_has_settled_when_time_was_moved),
        story_test(shrinking_comes_to_an_end),
        story_test(what_fails_elsewhere_is_not_taken_for_the_same),
        story_test(what_fails_in_another_way_is_not_taken_for_the_same),
        story_test(exploring_notices_a_program_that_asks_otherwise),
        story_test(exploring_notices_another_question_in_the_place_of_one_before),
        story_test(exploring_notices_other_tasks_in_the_place_of_those_before),
        story_test(tasks_that_touch_much_but_nothing_in_common_run_in_one_order),
        story_test(what_is_explored_to_a_depth_is_not_reduced),
        story_test(faults_of_memory_are_nobodys_when_orders_are_reduced),
        story_test(a_program_that_dies_tells_how_to_come_there_again),
        story_test(a_story_says_what_everybody_is_doing),
        story_test(a_story_tells_like_lines_once_and_what_it_leaves_out),
        story_test(a_story_tells_tasks_of_one_name_apart_and_which_call_is_cut),
        story_test(handlers_that_the_program_has_set_meanwhile_are_left_alone),
        story_test(the_sweep_begins_with_the_first_call_that_can_fail),
        story_test(as_many_pairs_are_tried_as_are_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
