/* What the test kit says of a run (osier/test.h): as short as it gets, with the right numbers and names, and no more than
 * is so. test_kit_corners.c has the edges of what it does. */
#include "told.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <osier/test.h>

#include "9_test/kit.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static struct world {
    const char *fault; /* which one is in */
    int runs;          /* that have begun */
    int seen;
} world;
static struct osr_test_result result_of_last;

static bool has(const char *fault)
{
    return world.fault && strcmp(world.fault, fault) == 0;
}

static void begin(void *arg)
{
    (void)arg;
    world.runs++;
    world.seen = 0;
}

static void keep_result(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    result_of_last = *result;
    if (has("invariant"))
        osr_test_fail("look around");
}

static void with(const char *fault)
{
    world = (struct world){.fault = fault};
    told[0] = '\0';
}

#define KIT_TEST(name, task, ...) \
    OSR_TEST(name, task, &world, .begin = begin, .check = keep_result, .tell = note __VA_OPT__(,) __VA_ARGS__)

/* ---- Shrinking ----------------------------------------------------------------------------------------- */

enum { BITS = 16 };

/* Each program fails at some of its choices, of which random runs make many more. */
OSR_TASK(chooses, struct world, w)
{
    bool bits[BITS + 1];
    unsigned i, size;

    if (has("of many")) {
        size = osr_test_choose(3000, "size");
        osr_test_check(size < 1500);
    }
    if (has("the smallest")) {
        size = osr_test_choose(20, "size");
        osr_test_check(size == 0);
    }
    if (has("another question")) {
        size = osr_test_choose(2, "first");
        osr_test_check(osr_test_choose(2, size ? "one thing" : "another") == 0);
    }
    if (has("lowered, then dropped")) {
        size = osr_test_choose(3, "size");
        osr_test_check(osr_test_choose(2, "bit") ? size == 0 : size != 1);
        return 0; /* nothing else is dropped, by which it would be tried once more */
    }
    for (i = 1; i <= BITS; i++)
        bits[i] = osr_test_choose(2, "bit") > 0;
    if (has("three of many"))
        osr_test_check(!bits[3] || !bits[6] || !bits[11]);
    if (has("two together"))
        osr_test_check(bits[1] != bits[2] || !bits[3] || !bits[4]);
    if (has("one after the other"))
        osr_test_check((bits[2] && !bits[1]) || !bits[3]);
    if (has("none"))
        osr_test_fail("whatever was chosen");
    w->seen++;
    return 0;
}

TEST(what_is_told_is_as_short_as_it_gets)
{
    static const struct {
        const char *fault, *lines;
        unsigned count;
    } shortest[] = {
        {"of many", "osr1:shrunk:T1=1500/3000.", 1},  {"the smallest", "osr1:shrunk:T1=1/20.", 1},
        {"three of many", "osr1:shrunk:T3=1/2.", 3},  {"two together", "osr1:shrunk:T3-4=1;", 1},
        {"one after the other", "osr1:shrunk:T3=1/2.", 1}, {"none", "osr1:shrunk:;", 0},
        {"another question", "osr1:shrunk:T2=1/2.", 1},    {"lowered, then dropped", "osr1:shrunk:T1=1/3.", 1},
    };
    const struct osr_test test = KIT_TEST("shrunk", chooses);
    unsigned i, equals;
    uint64_t seed;
    const char *at;

    for (i = 0; i < sizeof(shortest) / sizeof(shortest[0]); i++)
        for (seed = 1; seed <= 20; seed++) {
            with(shortest[i].fault);
            assert_int_equal(osr_test_random(&test, 1000, seed), 1);
            for (equals = 0, at = osr_test_token(); *at; at++)
                equals += *at == '=';
            if (strncmp(osr_test_token(), shortest[i].lines, strlen(shortest[i].lines)) != 0 || equals != shortest[i].count)
                fail_msg("\"%s\", with seed %d, has become %s", shortest[i].fault, (int)seed, osr_test_token());
        }
}

/* ---- Results and counts -------------------------------------------------------------------------------- */

OSR_TASK(takes_steps, struct world, w)
{
    int rc = osr_sleep(osr_ms(3)); /* one step before it, and one behind each of these */

    rc = rc == 0 ? osr_yield() : rc;
    if (has("fails"))
        rc = osr_fail(-EPROTO, "for a reason");
    if (has("fails strangely"))
        rc = -7000;
    if (has("gives a number"))
        rc = 4;
    return rc;
}

TEST(a_check_is_given_what_the_run_came_to)
{
    struct osr_test test = KIT_TEST("steps", takes_steps);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(result_of_last.rc, 0);
    assert_null(result_of_last.error);
    assert_int_equal(result_of_last.now, osr_ms(3));
    assert_int_equal(result_of_last.steps, 3);
    assert_int_equal(result_of_last.cancels, 0);
    assert_int_equal(result_of_last.faults, 0);
    with("fails");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(result_of_last.rc, -EPROTO);
    assert_non_null(result_of_last.error);
    assert_told("run: 1 run: all well; the root failed in 1 of them (EPROTO) with no cancellation and no fault injected, which "
                "check() let pass\n");
    with("fails strangely");
    assert_int_equal(osr_test_run(&test), 0);
    assert_told("the root failed in 1 of them (-7000) with no cancellation and no fault injected");
    with("gives a number");
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(result_of_last.rc, 4);
    assert_not_told("the root failed");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("steps:")), 0);
    assert_told("replay: 1 run: all well; it gave 4\n");
    test.steps = 4; /* which it does not need */
    assert_int_equal(osr_test_run(&test), 0);
    test.steps = 3;
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("the run has not ended after 3 steps of tasks");
}

TEST(the_longest_name_is_that_of_a_task)
{
    char name[OSR_NAME_SIZE + 1];
    struct osr_test test = KIT_TEST("good", takes_steps);

    with(NULL);
    memset(name, 'n', sizeof(name));
    name[OSR_NAME_SIZE] = '\0';
    test.name = name;
    assert_int_equal(osr_test_run(&test), -EINVAL);
    name[OSR_NAME_SIZE - 1] = '\0';
    assert_int_equal(osr_test_run(&test), 0);
    test.size++;
    assert_int_equal(osr_test_run(&test), -EINVAL);
}

OSR_TASK(has_many_orders, struct world, w)
{
    int i;

    for (i = 0; i < 14; i++)
        w->seen = w->seen * 2 + (int)osr_test_choose(2, "bit");
    return 0;
}

TEST(exploring_stops_by_itself_only_after_very_many_runs)
{
    const struct osr_test test = KIT_TEST("many", has_many_orders);

    if (under_thread_sanitizer())
        skip(); /* clang's faults by itself after so many switches */
    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("explore: 16384 runs: all well: all orders\n");
}

/* Two descriptors that one poll finds ready: who begins to wait, who is told first, who goes first. */
OSR_TASK(reads_one, int, fd)
{
    char byte;
    int rc = osr_read(*fd, &byte, 1);

    return rc < 0 ? rc : 0;
}

OSR_TASK(two_readers, struct world, w)
{
    struct osr_group group;
    int one[2], other[2], i, rc = osr_test_streams(one);

    (void)w;
    rc = rc == 0 ? osr_test_streams(other) : rc;
    osr_group_open(&group);
    rc = rc == 0 ? osr_spawn(&group, reads_one, &one[0]) : rc;
    rc = rc == 0 ? osr_spawn(&group, reads_one, &other[0]) : rc;
    rc = rc == 0 ? osr_settle() : rc;
    rc = rc == 0 ? osr_write(one[1], "x", 1) : rc;
    rc = rc == 1 ? osr_write(other[1], "x", 1) : rc;
    rc = osr_group_close(&group, rc < 0 ? rc : 0);
    for (i = 0; i < 2; i++) {
        osr_fd_close(one[i]);
        osr_fd_close(other[i]);
    }
    return rc;
}

TEST(exploring_takes_ready_descriptors_in_any_order)
{
    const struct osr_test test = KIT_TEST("readers", two_readers);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 0);
    assert_told("explore: 8 runs: all well: all orders\n");
}

/* ---- What is left -------------------------------------------------------------------------------------- */

OSR_TASK(uses_a_queue, struct world, w)
{
    static struct osr_queue queues[8]; /* what is left in them is still known */
    struct osr_queue *queue = &queues[w->runs % 8];
    int item = 1, rc = osr_queue_init(queue, sizeof(int), 4);

    if (rc < 0)
        return rc;
    rc = osr_queue_put(queue, &item);
    if (!has("forgets"))
        osr_queue_destroy(queue);
    return rc;
}

OSR_TASK(frees_what_it_did_not_take, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();

    (void)w;
    allocator->resize(allocator->arg, malloc(1), 0);
    return 0;
}

OSR_TASK(closes_behind_the_back, struct world, w)
{
    int fds[4], rc = osr_test_streams(fds);
    char byte;

    (void)w;
    if (rc < 0)
        return rc;
    rc = osr_write(fds[0], "x", 1);
    rc = rc < 0 ? rc : osr_read(fds[1], &byte, 1);
    if (has("close")) {
        close(fds[0]);
        (void)osr_test_streams(fds + 2); /* of which one has the number now */
        rc = rc < 0 ? rc : osr_write(fds[0], "x", 1);
        osr_fd_close(fds[3]);
    }
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(what_is_left_of_the_librarys_and_what_is_given_back_twice_is_found)
{
    const struct osr_test queue = KIT_TEST("queue", uses_a_queue), frees = KIT_TEST("frees", frees_what_it_did_not_take);
    const struct osr_test closes = KIT_TEST("closes", closes_behind_the_back);

    with(NULL);
    assert_int_equal(osr_test_sweep(&queue), 0);
    assert_int_equal(osr_test_run(&closes), 0);
    assert_int_equal(osr_test_run(&frees), 1);
    assert_told("\"frees\": memory is left\n");
    with("forgets");
    assert_int_equal(osr_test_run(&queue), 1);
    assert_told("\"queue\": memory is left\n");
    with("close");
    assert_int_equal(osr_test_run(&closes), 1);
    assert_told("was closed by a bare close()");
}

/* ---- Watches, choices, faults, jobs -------------------------------------------------------------------- */

static int yield_twice(void)
{
    int rc = osr_test_point(osr_yield());

    return rc < 0 ? rc : osr_test_point(osr_yield());
}

OSR_TASK(watches_in_watches, struct world, w)
{
    int rc = osr_test_point(yield_twice());

    if (rc == 0 && has("wrong"))
        rc = osr_test_no_point(yield_twice());
    w->seen = rc;
    return rc;
}

TEST(a_call_that_has_several_points_in_it_is_one)
{
    const struct osr_test test = KIT_TEST("nested", watches_in_watches);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 0);
    with("wrong");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("yield_twice() is a cancellation point");
}

OSR_TASK(has_no_choice_at_first, struct world, w)
{
    (void)osr_test_choose(1, "no choice");
    w->seen = (int)osr_test_choose(8, "digit");
    osr_test_check(!has("wrong") || w->seen < 3);
    return 0;
}

TEST(where_there_is_nothing_to_choose_nothing_is_asked)
{
    const struct osr_test test = KIT_TEST("digit", has_no_choice_at_first);

    with(NULL);
    setenv("OSR_TEST_QUESTIONS", "1", 1);
    assert_int_equal(osr_test_replay(&test, whole("digit:T1=5")), 0);
    unsetenv("OSR_TEST_QUESTIONS");
    assert_told("T1=5/8 digit\n");
    assert_int_equal(world.seen, 5);
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("digit:T1=5,T123456789=1")), 0); /* the largest number that is read */
    assert_told("has parted from the token at T123456789: the program asks no more than 1 question of this kind; the token "
                "has the answer 1 there; the rest");
}

OSR_TASK(orders_two, struct world, w)
{
    osr_test_check(osr_test_order_fault("first", 0, 1) == 0);
    osr_test_check(osr_test_order_fault("second", 1, 1) == 0);
    osr_test_check(osr_test_fault("first", -EIO) == -EIO);
    osr_test_check(osr_test_fault("second", -EIO) == 0);
    osr_test_check(osr_test_fault("second", -EIO) == -EIO);
    osr_test_check(osr_test_fault("second", -EIO) == 0);
    w->seen++;
    return 0;
}

TEST(ordered_faults_come_in_each_run_of_many)
{
    const struct osr_test test = KIT_TEST("two", orders_two);

    with(NULL);
    assert_int_equal(osr_test_random(&test, 10, 1), 0);
    assert_int_equal(result_of_last.faults, 2);
}

OSR_JOB(works, struct world, w)
{
    w->seen++;
    return 0;
}

OSR_TASK(offloads, struct world, w)
{
    return osr_offload(works, w);
}

OSR_TASK(releases_some, struct world, w)
{
    static const unsigned counts[] = {2, 0, 1, OSR_TEST_ALL_JOBS};
    static const int done[] = {2, 2, 3, 5};
    struct osr_group group;
    int i, rc = osr_test_hold_jobs();

    osr_group_open(&group);
    for (i = 0; i < 5 && rc == 0; i++)
        rc = osr_spawn(&group, offloads, w);
    for (i = 0; i < 4 && rc == 0; i++) {
        rc = osr_test_release_jobs(counts[i]);
        rc = rc == 0 ? osr_test_advance(osr_ms(1)) : rc;
        osr_test_check(rc < 0 || w->seen == done[i]);
    }
    return osr_group_close(&group, rc);
}

TEST(as_many_jobs_run_as_are_released)
{
    const struct osr_test test = KIT_TEST("releases", releases_some);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
}

OSR_TASK(writes_once, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds);

    (void)w;
    if (rc < 0)
        return rc;
    rc = osr_write(fds[0], "abcdefgh", 8);
    osr_test_check(rc != 4);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(a_transfer_of_half_is_told_as_that)
{
    const struct osr_test test = KIT_TEST("halves", writes_once);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(", a short transfer: in task 1 \"writes_once\", at tests/test_kit_told.c:");
    assert_told(", \"write\" moves no more than half of it\n");
}

OSR_TASK(reads_what_is_there, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds), written = 0, i;
    char bytes[8];

    if (rc < 0)
        return rc;
    written = osr_write(fds[0], "abcdefgh", 8);
    for (i = 0; i < 3 && written > 1 + i; i++)
        rc = osr_read(fds[1], bytes, 1); /* one byte: nothing is to be chosen */
    rc = osr_write(fds[0], "abcdefgh", 8);
    rc = rc < 0 ? rc : osr_read(fds[1], bytes, sizeof(bytes));
    w->seen = (written == 1) + 2 * (rc == 1);
    osr_test_check(!has("both") || w->seen != 3);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(all_transfers_are_short_whatever_their_name)
{
    const struct osr_test test = KIT_TEST("both", reads_what_is_there);

    with("both");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("(all transfers are short)");
}

/* ---- Stories ------------------------------------------------------------------------------------------- */

OSR_TASK(fails_at_a_digit, struct world, w)
{
    (void)w;
    osr_test_check(osr_test_choose(20, "size") < 7);
    return 0;
}

TEST(a_story_gives_the_place_the_choice_and_what_the_run_gave)
{
    const struct osr_test test = KIT_TEST("digit", fails_at_a_digit), sound = KIT_TEST("sound", takes_steps);
    char place[128];

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 1);
    snprintf(place, sizeof(place), "osier-test: \"digit\": a check failed\n  tests/test_kit_told.c:%d: not so: ", __LINE__ - 11);
    assert_told(place);
    assert_told("  in explore, run 8 (one of all orders), then shrunk; 1 step, ");
    assert_told("  T1, the test's choice: size: 7 of 0 to 19\n");
    assert_told("        task 1 \"fails_at_a_digit\" runs\n");
    assert_string_equal(osr_test_story(), told);
    assert_int_equal(osr_test_run(&sound), 0);
    assert_string_equal(osr_test_token(), ""); /* of the last call */
    assert_string_equal(osr_test_story(), "");
    with("invariant");
    assert_int_equal(osr_test_run(&sound), 1);
    assert_told("  in run, run 1 (the only one); 3 steps, ");
    assert_told(" choices, 0.003000 s of simulated time\n  nothing was injected, and all was first come, first served\n"
                "  the run gave 0\n  again: OSR_REPLAY='osr1:sound:;");
    with("fails");
    assert_int_equal(osr_test_explore(&test), 1);
    assert_not_told("nothing was injected");
}

static void note_where(void *arg, const char *text)
{
    *(int *)arg += 1;
    note(NULL, text);
}

TEST(who_is_told_is_given_what_it_asked_for)
{
    int lines = 0;
    const struct osr_test test = OSR_TEST("lines", takes_steps, &world, .tell = note_where, .tell_arg = &lines);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    assert_int_equal(lines, 1);
}

OSR_TASK(prints_at_times, struct world, w)
{
    int rc = 0, i;

    (void)w;
    for (i = 0; i < 4 && rc == 0; i++) {
        (void)osr_test_fault("printer", -ENODEV);
        rc = osr_sleep(osr_ms(1));
    }
    osr_test_fail("look around");
    return rc;
}

/* A fault at each time, and who was where then. */
TEST(a_story_shows_who_was_where_at_each_fault)
{
    const struct osr_test test = KIT_TEST("times", prints_at_times);
    char lines[128] = "times:", expected[128];
    unsigned long ordinals[4];
    const char *at = told;
    int i;

    with(NULL);
    setenv("OSR_TEST_QUESTIONS", "1", 1);
    assert_int_equal(osr_test_replay(&test, whole(lines)), 1);
    unsetenv("OSR_TEST_QUESTIONS");
    for (i = 0; i < 4; i++, at++) {
        at = strstr(at, "=0/2 printer");
        assert_non_null(at);
        while (*at != 'F')
            at--;
        ordinals[i] = strtoul(at + 1, NULL, 10);
        at = strstr(at, "printer");
        snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%sF%lu=1", i ? "," : "", ordinals[i]);
    }
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole(lines)), 1);
    for (i = 0; i < 4; i++) {
        snprintf(expected, sizeof(expected), "  F%lu, a fault: in task 1 \"prints_at_times\", %s", ordinals[i],
                 i ? "last seen at tests/test_kit_told.c:" : "\"printer\"");
        assert_told(expected);
        snprintf(expected, sizeof(expected),
                 ", \"printer\" fails with ENODEV, error 1 of 1\n      at 0.00%d000 s:\n        task 1 ", i);
        assert_told(expected);
    }
    assert_told("      when the check failed, at 0.004000 s:\n");
    assert_int_equal(result_of_last.faults, 4);
}

OSR_TASK(prints_twenty, struct world, w)
{
    int i;

    (void)w;
    for (i = 0; i < 20; i++)
        (void)osr_test_fault("printer", -ENODEV);
    return 0;
}

OSR_TASK(writes_twenty, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds), i;

    (void)w;
    for (i = 0; i < 20 && rc >= 0; i++)
        rc = osr_write(fds[0], "ab", 2);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

/* Where nobody is who could be told of, the row ends with the story. */
TEST(a_row_of_like_choices_is_counted_to_its_end)
{
    const struct osr_test prints = KIT_TEST("prints", prints_twenty), writes = KIT_TEST("writes", writes_twenty);
    char lines[64];

    with("invariant");
    snprintf(lines, sizeof(lines), "prints:F1+=1.%04x", osri_kit_hash("printer"));
    assert_int_equal(osr_test_replay(&prints, whole(lines)), 1);
    assert_told(", as from now on always\n  … and 19 more, up to F");
    assert_told("\n  the run gave 0\n");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&writes, whole("writes:S1+=1")), 1);
    assert_told("  S1, a short transfer: in task 1 \"writes_twenty\", at tests/test_kit_told.c:");
    assert_told(", \"write\" moves one byte only, as from now on always\n  … and 19 more, up to S20\n"
                "  the run gave 0\n");
}

OSR_TASK(listens, struct world, w)
{
    struct osr_address address;
    int fd;

    (void)w;
    (void)osr_address_unix(&address, "@osier-test-told");
    fd = osr_listen(&address, 1);
    osr_test_check(fd != -ENFILE);
    return fd < 0 ? fd : osr_fd_close(fd);
}

TEST(a_story_says_which_of_its_errors_a_call_gave)
{
    const struct osr_test test = KIT_TEST("listens", listens);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(", a fault: in task 1 \"listens\", \"socket\" fails with ENFILE, error 2 of ");
}

OSR_TASK(differs_after_a_choice, struct world, w)
{
    unsigned size = osr_test_choose(3, "size");

    return osr_sleep(size == 2 && w->runs % 2 ? 1 : 2);
}

OSR_TASK(prints_now_and_then, struct world, w)
{
    if (w->runs % 2)
        (void)osr_test_fault("printer", -ENODEV);
    return 0;
}

TEST(a_run_that_differs_is_told_with_what_was_chosen)
{
    const struct osr_test test = KIT_TEST("differs", differs_after_a_choice), prints = KIT_TEST("prints", prints_now_and_then);
    char lines[64];

    with(NULL);
    assert_int_equal(osr_test_replay(&test, whole("differs:T1=2")), 1);
    assert_told("not determined by its choices");
    assert_told("  T1, the test's choice: size: 2 of 0 to 2\n");
    assert_told("again: OSR_REPLAY='osr1:differs:T1=2/3.");
    with(NULL);
    assert_int_equal(osr_test_random(&test, 100, 1), 1);
    assert_told("not determined by its choices");
    assert_told("  T1, the test's choice: size: 2 of 0 to 2\n");
    with(NULL);
    snprintf(lines, sizeof(lines), "prints:F1+=1.%04x", osri_kit_hash("printer"));
    assert_int_equal(osr_test_replay(&prints, whole(lines)), 1);
    assert_told("not determined by its choices");
}

OSR_TASK(prints_and_scans, struct world, w)
{
    (void)w;
    osr_test_check(osr_test_fault("printer", -EIO) == 0 || osr_test_fault("scanner", -EIO) == 0);
    return 0;
}

TEST(a_token_of_two_that_go_on_is_the_same_again)
{
    const struct osr_test test = KIT_TEST("two", prints_and_scans);
    char lines[64];

    with(NULL);
    snprintf(lines, sizeof(lines), "two:F1+=1.%04x,F2+=1.%04x", osri_kit_hash("printer"), osri_kit_hash("scanner"));
    assert_int_equal(osr_test_replay(&test, whole(lines)), 1);
    assert_told("\"two\": a check failed\n");
    assert_string_equal(osr_test_token(), whole(lines));
}

OSR_TASK(never_begins, struct world, w)
{
    (void)w;
    return 0;
}

OSR_TASK(cancels_who_has_not_begun, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, never_begins, w, .name = "late");
    osr_group_cancel(&group, "no more");
    osr_test_fail("look around");
    (void)osr_group_close(&group, rc);
    return 0;
}

TEST(who_is_cancelled_is_where_it_was)
{
    const struct osr_test test = KIT_TEST("cancels", cancels_who_has_not_begun);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("task 2 \"late\", spawned at tests/test_kit_told.c:");
}

OSR_TASK(never_ends, struct world, w)
{
    int rc = 0;

    (void)w;
    while (rc == 0)
        rc = osr_yield();
    return rc;
}

OSR_TASK(many_that_never_end, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 20 && rc == 0; i++)
        rc = osr_spawn(&group, never_ends, w);
    return osr_group_close(&group, rc);
}

TEST(a_run_that_does_not_end_has_time_to_end_when_it_is_cancelled)
{
    const struct osr_test test = KIT_TEST("endless", many_that_never_end, .steps = 100);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("the run has not ended after 100 steps of tasks; now it is cancelled\n");
    assert_told("the run gave OSR_ETASKCANCELED\n");
}

/* ---- Deaths -------------------------------------------------------------------------------------------- */

static const char *death;

OSR_TASK(dies, struct world, w)
{
    (void)w;
    (void)osr_test_choose(2, "bit");
    if (strcmp(death, "raise") == 0)
        raise(SIGABRT);
    if (strcmp(death, "again") == 0 && world.runs == 2)
        raise(SIGSEGV);
    if (strcmp(death, "third") == 0 && world.runs == 5) /* two of them were played again */
        raise(SIGSEGV);
    if (strcmp(death, "shrunk") == 0)
        osr_test_fail("always");
    if (strcmp(death, "shrunk") == 0 && world.runs == 3) /* the first one, the same again, and one without its choice */
        raise(SIGSEGV);
    return 0;
}

static void die(void)
{
    static const struct osr_test test = OSR_TEST("dies", dies, &world, .begin = begin, .quiet = true);

    with(NULL);
    osr_test_random(&test, 10, 1);
    _exit(0);
}

TEST(a_death_says_in_which_run_it_came)
{
    death = "raise";
    assert_dies(die, SIGABRT, "\"dies\": the program is stopped\n  signal 6 (Aborted)\n  in random, run 1 (all at random, seed 1);");
    death = "again";
    assert_dies(die, SIGSEGV, "  in random, run 1 (all at random, seed 1), the same again;");
    death = "third";
    assert_dies(die, SIGSEGV, "  in random, run 3 (first come, first served, with delays, seed 1);");
    assert_dies(die, SIGSEGV, "\n        task 1 \"dies\" runs\n  again: OSR_REPLAY='osr1:dies:");
    death = "shrunk";
    assert_dies(die, SIGSEGV, "  in random, run 1 (all at random, seed 1), being shrunk;");
}

static void run_endless(void)
{
    static const struct osr_test test = OSR_TEST("endless", many_that_never_end, &world, .begin = begin, .steps = 5);

    with(NULL);
    osr_test_run(&test); /* twenty need more than five steps to end */
}

TEST(the_cancellation_of_the_kit_is_no_choice_in_a_story)
{
    assert_dies(run_endless, SIGABRT, " of simulated time\n      when it was stopped, at 0.000000 s:\n");
}

/* ---- Stacks that are used up --------------------------------------------------------------------------- */

static int __attribute__((noinline)) go_down(volatile int depth)
{
    volatile char room[512];

    room[0] = (char)depth;
    room[511] = room[0];
    return depth > 100000000 ? room[511] : go_down(depth + 1) + room[511];
}

OSR_TASK(bottomless, struct world, w)
{
    (void)w;
    return go_down(0);
}

enum { DUG_AT = __LINE__ + 11 };

OSR_TASK(digs, struct world, w)
{
    struct osr_group group;
    unsigned place = osr_test_choose(2, "place");
    int rc;

    if (place == 0 && !has("anywhere"))
        return 0;
    osr_group_open(&group);
    rc = osr_spawn(&group, bottomless, w, .name = "well");
    return osr_group_close(&group, rc);
}

static const struct osr_test digging = OSR_TEST("deep", digs, &world, .begin = begin, .quiet = true);

static void run_into_the_depth(void)
{
    with("anywhere");
    osr_test_run(&digging);
}

static void sweep_into_the_depth(void)
{
    with("anywhere");
    osr_test_sweep(&digging);
}

static void explore_into_the_depth(void)
{
    with(NULL);
    osr_test_explore(&digging);
}

static void fall_at_random(void)
{
    with(NULL);
    osr_test_random(&digging, 100, 1);
}

static void replay_into_the_depth(void)
{
    with(NULL);
    osr_test_replay(&digging, whole("deep:T1=1"));
}

static void fuzz_into_the_depth(void)
{
    with(NULL);
    osr_test_fuzz(&digging, (const uint8_t *)"", 1); /* of which nothing comes */
    osr_test_fuzz(&digging, (const uint8_t *)"\1", 1);
}

/* Who it was, where he came from, and how to come there again; the program still dies of its fault. */
TEST(a_stack_that_is_used_up_is_told)
{
    static const struct {
        void (*body)(void);
        const char *how, *again;
    } ways[] = {
        {run_into_the_depth, "  in run, run 1 (the only one); ", "  again: OSR_REPLAY='osr1:deep:;"},
        {sweep_into_the_depth, "  in sweep, run 1 (", "  again: OSR_REPLAY='osr1:deep:;"},
        {explore_into_the_depth, "  in explore, run 2 (", "  again: OSR_REPLAY='osr1:deep:T1=1;"},
        {fall_at_random, "  in random, run ", "  again: OSR_REPLAY='osr1:deep:T1=1;"},
        {replay_into_the_depth, "  in a replay; ", "  again: OSR_REPLAY='osr1:deep:T1=1;"},
        {fuzz_into_the_depth, "  in fuzz, run 1 (along the fuzzer's bytes); ", "\"deep\", OSR_REPLAY='osr1:deep:T1=1;"},
    };
    char expected[512];
    unsigned i;

    snprintf(expected, sizeof(expected), "\"deep\": the program is stopped\n  osier: stack overflow in task \"well\", "
                                         "spawned at tests/test_kit_told.c:%d: its stack of 65536 bytes is used up; ", DUG_AT);
    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        assert_dies(ways[i].body, SIGSEGV, expected);
        assert_dies(ways[i].body, SIGSEGV, ways[i].how);
        assert_dies(ways[i].body, SIGSEGV, "task 2 \"well\" runs\n");
        assert_dies(ways[i].body, SIGSEGV, ways[i].again);
    }
}

/* ---- The program's own handlers ------------------------------------------------------------------------ */

static void say_own_words(int number)
{
    static const char words[] = "\nthe program's own handler\n";

    if (write(STDERR_FILENO, words, sizeof(words) - 1) > 0)
        die_of(number);
}

static void handle_faults(void)
{
    const struct sigaction action = {.sa_handler = say_own_words, .sa_flags = SA_ONSTACK};

    sigaction(SIGSEGV, &action, NULL);
}

static void fall_with_a_handler(void)
{
    handle_faults();
    explore_into_the_depth();
}

static void fuzz_with_a_handler(void)
{
    handle_faults();
    fuzz_into_the_depth();
}

static void explore_between_inputs(void)
{
    static const struct osr_test quick = OSR_TEST("quick", takes_steps, &world, .quiet = true);

    handle_faults();
    osr_test_fuzz(&quick, NULL, 0);
    explore_into_the_depth();
}

static void fuzz_after_exploring(void)
{
    static const struct osr_test quick = OSR_TEST("quick", takes_steps, &world, .quiet = true);

    handle_faults();
    osr_test_fuzz(&digging, NULL, 0);
    osr_test_explore(&quick);
    fuzz_into_the_depth();
}

TEST(a_handler_that_the_program_had_comes_behind_the_story)
{
    static void (*const ways[])(void) = {fall_with_a_handler, fuzz_with_a_handler, explore_between_inputs, fuzz_after_exploring};
    char expected[128];
    unsigned i;

    snprintf(expected, sizeof(expected), "OSR_REPLAY='%s'\n\nthe program's own handler\n", whole("deep:T1=1"));
    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        assert_dies(ways[i], SIGSEGV, expected);
}

/* One that goes on to whoever was there when it came: the kit's, which has come in between. */
static struct sigaction before_mine;

static void say_own_words_and_go_on(int number, siginfo_t *info, void *context)
{
    static const char words[] = "\nthe program's own handler\n";

    if (write(STDERR_FILENO, words, sizeof(words) - 1) > 0)
        before_mine.sa_sigaction(number, info, context);
}

static void fuzz_with_a_handler_in_between(void)
{
    const struct sigaction action = {.sa_sigaction = say_own_words_and_go_on, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    static const struct osr_test quick = OSR_TEST("quick", takes_steps, &world, .quiet = true);

    osr_test_fuzz(&quick, NULL, 0);
    sigaction(SIGSEGV, &action, &before_mine);
    fuzz_into_the_depth();
}

TEST(handlers_that_hand_on_to_each_other_end)
{
    assert_dies(fuzz_with_a_handler_in_between, SIGSEGV, "'\n\nthe program's own handler\n");
}

TEST(a_call_leaves_all_handlers_as_they_were)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    const struct sigaction action = {.sa_handler = say_own_words};
    const struct osr_test test = KIT_TEST("steps", takes_steps);
    struct sigaction before, after;
    unsigned i;

    with(NULL);
    for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, &before);
        assert_int_equal(osr_test_run(&test), 0);
        sigaction(signals[i], &before, &after);
        assert_ptr_equal(after.sa_handler, say_own_words);
    }
}

/* ---- Other faults -------------------------------------------------------------------------------------- */

static void *fall_in_a_thread(void *spare)
{
    const stack_t stack = {.ss_sp = spare, .ss_size = 1 << 16};

    sigaltstack(&stack, NULL);
    return go_down(0) ? spare : NULL;
}

OSR_TASK(falls_elsewhere, struct world, w)
{
    static char spare[1 << 16];
    volatile int *volatile nowhere = (volatile int *)8;
    pthread_t thread;

    (void)w;
    if (has("astray"))
        return *nowhere;
    if (has("thread") && pthread_create(&thread, NULL, fall_in_a_thread, spare) == 0)
        pthread_join(thread, NULL);
    return 0;
}

static void check_without_end(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    if (result->rc == 0 && has("check"))
        (void)go_down(0);
}

static const char *elsewhere;

static void fall_elsewhere(void)
{
    static const struct osr_test test = OSR_TEST("deep", falls_elsewhere, &world, .begin = begin, .check = check_without_end);
    const struct rlimit little = {1 << 20, 1 << 20};

    setrlimit(RLIMIT_STACK, &little);
    with(elsewhere);
    osr_test_explore(&test);
}

/* Neither is the stack of a task. */
TEST(another_fault_is_told_as_the_signal_that_it_is)
{
    static const char *const places[] = {"astray", "thread", "check"};
    unsigned i;

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        elsewhere = places[i];
        assert_dies(fall_elsewhere, SIGSEGV,
                    "\"deep\": the program is stopped\n  signal 11 (Segmentation fault)\n  in explore, run 1 (");
    }
}

/* ---- More of deaths ------------------------------------------------------------------------------------ */

OSR_TASK(leaves_a_scope_open, struct world, w)
{
    static struct osr_scope scope;

    (void)w;
    osr_scope_open(&scope);
    return 0;
}

static void misuse(void)
{
    static const struct osr_test test = OSR_TEST("misuse", leaves_a_scope_open, &world, .begin = begin);

    osr_test_run(&test);
}

TEST(misuse_is_told_in_one_line)
{
    assert_dies(misuse, SIGABRT, "\"misuse\": the program is stopped\n  osier: task \"leaves_a_scope_open\" closes the scope opened at ");
    assert_dies(misuse, SIGABRT, " is still open\n  in run, run 1 (the only one); 1 step, ");
}

OSR_TASK(dies_of_faults, struct world, w)
{
    (void)w;
    (void)osr_test_fault("printer", -ENODEV);
    (void)osr_test_order_fault("scanner", 0, 1);
    (void)osr_test_fault("scanner", -ENODEV);
    abort();
}

static char faults[64];

static void die_of_faults(void)
{
    static const struct osr_test test = OSR_TEST("dies", dies_of_faults, &world, .begin = begin);

    osr_test_replay(&test, faults);
}

TEST(the_token_of_a_death_has_what_was_chosen_and_no_more)
{
    char lines[128];

    snprintf(lines, sizeof(lines), "dies:F1+=1.%04x", osri_kit_hash("printer"));
    snprintf(faults, sizeof(faults), "%s", whole(lines));
    snprintf(lines, sizeof(lines), "again: OSR_REPLAY='%s'\n", faults);
    assert_dies(die_of_faults, SIGABRT, lines);
}

enum { LONG = 5000, TOO_LONG = 20000, ROOM = (1 << 17) - 1 };

static char long_token[1 << 18];

/* Of one choice after the other, none of which is like the one before. */
static size_t make_long_token(unsigned choices)
{
    struct token_writer writer;
    unsigned i;

    osri_kit_token_begin(&writer, "long", long_token, sizeof(long_token));
    for (i = 1; i <= choices; i++)
        osri_kit_token_add(&writer, &(const struct line){.kind = KIND_TEST, .first = i, .last = i, .answer = 1 + i % 2});
    return osri_kit_token_end(&writer);
}

OSR_TASK(chooses_much, struct world, w)
{
    unsigned i, answer, right = 0, choices = death ? LONG : TOO_LONG;

    for (i = 1; i <= choices; i++) {
        answer = osr_test_choose(3, "digit");
        right += answer == 1 + i % 2;
    }
    w->seen = (int)right;
    if (death && right == choices)
        abort();
    osr_test_check(right < choices);
    if (world.fault)
        abort();
    return 0;
}

static void die_after_much(void)
{
    static const struct osr_test test = OSR_TEST("long", chooses_much, &world, .begin = begin);

    osr_test_replay(&test, long_token);
}

TEST(a_long_token_is_told_whole)
{
    char *end;

    death = "abort";
    with(NULL);
    assert_true(make_long_token(LONG) < ROOM);
    end = strrchr(long_token, 'T');
    assert_memory_equal(end, "T5000=1;", 8);
    assert_dies(die_after_much, SIGABRT, "T4999=2,T5000=1;");
    assert_dies(die_after_much, SIGABRT, end); /* with its check sum */
}

TEST(a_token_that_is_too_long_says_so)
{
    const struct osr_test test = KIT_TEST("long", chooses_much);
    char expected[128];
    size_t length;

    death = NULL;
    with(NULL);
    length = make_long_token(TOO_LONG);
    assert_true(length > ROOM && length < sizeof(long_token));
    assert_int_equal(osr_test_replay(&test, long_token), 1);
    assert_int_equal(strlen(osr_test_token()), ROOM);
    assert_non_null(strstr(osr_test_story(), "'\n  that token is cut, and no good: the whole has "));
    with("dies");
    snprintf(expected, sizeof(expected), "'\n  that token is cut, and no good: the whole has %zu characters, and there is room for %d\n",
             length, ROOM);
    assert_dies(die_after_much, SIGABRT, expected);
    with(NULL);
    assert_int_equal(osr_test_replay(&test, osr_test_token()), -EINVAL);
}

TEST(the_stack_for_signals_is_the_programs_again)
{
    static char own[1 << 15];
    const stack_t mine = {.ss_sp = own, .ss_size = sizeof(own)};
    const struct osr_test test = KIT_TEST("steps", takes_steps);
    stack_t before, after;

    sigaltstack(&mine, &before);
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    sigaltstack(&before, &after);
    assert_ptr_equal(after.ss_sp, own);
}

/* ---- Where it was --------------------------------------------------------------------------------------- */

OSR_TASK(sleeps_long, struct world, w)
{
    (void)w;
    return osr_sleep(osr_s(9));
}

OSR_TASK(does_nothing_here, struct world, w)
{
    (void)w;
    return 0;
}

OSR_TASK(spawns_then_prints, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    struct osr_group group;
    void *memory = NULL;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleeps_long, w, .name = "sleeper");
    if (rc == 0 && has("behind a sleep"))
        rc = osr_sleep(osr_ms(1));
    if (rc == 0)
        memory = allocator->resize(allocator->arg, NULL, 24);
    osr_test_check(rc < 0 || memory);
    allocator->resize(allocator->arg, memory, 0);
    osr_group_cancel(&group, "no more");
    (void)osr_group_close(&group, 0);
    return 0;
}

TEST(a_call_that_fails_is_told_with_the_task_and_the_last_place_that_is_known)
{
    const struct osr_test test = KIT_TEST("prints", spawns_then_prints);

    with("behind a spawn");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(", a fault: in task 1 \"spawns_then_prints\", last seen at tests/test_kit_told.c:");
    assert_told(", and no further than in osr_group_close at tests/test_kit_told.c:");
    assert_told(", \"allocation\" fails with ENOMEM, error 1 of 1\n");
    assert_told("\n        task 1 \"spawns_then_prints\" runs, last seen at tests/test_kit_told.c:");
    with("behind a sleep");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(", a fault: in task 1 \"spawns_then_prints\", last seen in osr_sleep at tests/test_kit_told.c:");
    assert_told("\n        task 1 \"spawns_then_prints\" runs, last seen in osr_sleep at tests/test_kit_told.c:");
    assert_told("\n        task 2 \"sleeper\" waits in osr_sleep at tests/test_kit_told.c:");
}

OSR_TASK(spawns_at_once, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, does_nothing_here, w);
    osr_test_check(rc == 0);
    (void)osr_group_close(&group, 0);
    return 0;
}

OSR_TASK(closes_late, int, fd)
{
    int rc = osr_sleep(osr_ms(1));

    osr_fd_close(*fd);
    return rc;
}

OSR_TASK(reads_until_the_end, struct world, w)
{
    struct osr_group group;
    char byte;
    int fds[2], rc = osr_test_streams(fds);

    (void)w;
    if (rc < 0)
        return rc;
    osr_group_open(&group);
    rc = osr_spawn(&group, closes_late, &fds[1]);
    if (rc == 0) {
        rc = osr_read(fds[0], &byte, 1);
        osr_test_check(rc != -ECONNRESET);
    } else {
        osr_fd_close(fds[1]);
    }
    (void)osr_group_close(&group, 0);
    osr_fd_close(fds[0]);
    return 0;
}

/* By a run without the fault. */
TEST(a_call_that_fails_is_told_with_where_its_task_would_have_gone)
{
    const struct osr_test spawns = KIT_TEST("spawns", spawns_at_once), reads = KIT_TEST("reads", reads_until_the_end);

    with(NULL);
    assert_int_equal(osr_test_sweep(&spawns), 1);
    assert_told(", a fault: in task 1 \"spawns_at_once\", no further than at tests/test_kit_told.c:");
    with(NULL);
    assert_int_equal(osr_test_sweep(&reads), 1);
    assert_told(", a fault: in task 1 \"reads_until_the_end\", in osr_read at tests/test_kit_told.c:");
    assert_told(", \"recv\" fails with ECONNRESET, error 1 of 3\n");
}

OSR_TASK(does_little, struct world, w)
{
    w->seen++;
    return 0;
}

static void must_have_begun(void *arg, const struct osr_test_result *result)
{
    struct world *w = arg;

    (void)result;
    if (has("after the run"))
        (void)osr_test_fault("printer", -ENODEV);
    if (w->seen == 0 || has("after the run"))
        osr_test_fail("look around");
}

TEST(a_fault_outside_the_program_is_told_as_that)
{
    const struct osr_test test =
        OSR_TEST("little", does_little, &world, .begin = begin, .check = must_have_begun, .tell = note);
    char lines[64];

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(", a fault: before the program has begun, \"memory\" fails with ENOMEM, error 1 of 1\n");
    assert_told("\n  the run gave ENOMEM; the program had not begun\n");
    with("after the run");
    snprintf(lines, sizeof(lines), "little:F1+=1.%04x", osri_kit_hash("printer"));
    assert_int_equal(osr_test_replay(&test, whole(lines)), 1);
    assert_told(", a fault: after the run, \"printer\" fails with ENODEV, ");
    assert_not_told("had not begun");
}

OSR_TASK(writes_to_a_reader, struct world, w)
{
    struct osr_group group;
    int fds[2], rc = osr_test_streams(fds);

    (void)w;
    if (rc < 0)
        return rc;
    osr_group_open(&group);
    rc = osr_spawn(&group, sleeps_long, w);
    (void)osr_settle();
    rc = rc < 0 ? rc : osr_write(fds[0], "abcd", 4);
    osr_test_check(rc < 0 || rc == 4);
    osr_group_cancel(&group, "no more");
    (void)osr_group_close(&group, 0);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return 0;
}

TEST(a_short_transfer_is_told_with_those_who_were_where)
{
    const struct osr_test test = KIT_TEST("shorts", writes_to_a_reader);
    const char *at;

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    at = strstr(told, "\"write\" moves one byte only\n      at 0.000000 s:\n        task 1 ");
    assert_non_null(at);
    assert_non_null(strstr(at, "\n        task 2 \"sleeps_long\" waits in osr_sleep at "));
}

OSR_TASK(fails_with_its_number, struct world, w)
{
    (void)w;
    return osr_fail(-EPROTO, "for a reason");
}

OSR_TASK(has_many_that_fail, struct world, w)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group, .policy = OSR_COLLECT);
    for (i = 0; i < (has("many") ? 30 : 2) && rc == 0; i++)
        rc = osr_spawn(&group, fails_with_its_number, w);
    return osr_group_close(&group, rc);
}

static void must_succeed(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    osr_test_check(result->rc == 0);
}

TEST(what_the_run_gave_is_told_with_the_errors_behind_it)
{
    const struct osr_test test = OSR_TEST("failing", has_many_that_fail, &world, .check = must_succeed, .tell = note);

    with("two");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("\n  the run gave OSR_EGROUP\n      OSR_EGROUP: 2 errors");
    assert_told("\n      +- EPROTO: for a reason  [task \"fails_with_its_number\", tests/test_kit_told.c:");
    assert_not_told("more errors");
    with("many");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("\n      … and more errors\n  again: ");
}

static void *kept[5];

OSR_TASK(leaves_blocks, struct world, w)
{
    const struct osr_allocator *allocator = osr_test_allocator();
    int i, rc = osr_sleep(osr_ms(1));

    (void)w;
    for (i = 0; i < 5 && (i == 0 || has("five")); i++)
        kept[i] = allocator->resize(allocator->arg, NULL, 8);
    kept[0] = allocator->resize(allocator->arg, kept[0], 24);
    return rc;
}

/* Behind the kit's back. */
static void free_kept(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 5; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
}

TEST(memory_that_is_left_is_told_with_its_size_and_who_has_made_it)
{
    const struct osr_test test = KIT_TEST("blocks", leaves_blocks, .end = free_kept);

    with("one");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("  1 block of memory is left: 24 bytes, made in task 1 \"leaves_blocks\", last seen in osr_sleep at tests/");
    with("five");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("  5 blocks of memory are left: 24 bytes, made in task 1 ");
    assert_told("; 8 bytes, made in task 1 ");
    assert_told("; and 2 more\n");
}

/* ---- Sanitizers ----------------------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESSES_ARE_CHECKED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESSES_ARE_CHECKED true
#endif
#endif
#ifndef ADDRESSES_ARE_CHECKED
#define ADDRESSES_ARE_CHECKED false
#endif

OSR_TASK(looks_at_what_is_gone, struct world, w)
{
    char *volatile memory = malloc(16);

    (void)w;
    memory[0] = 'x';
    if (osr_sleep(osr_ms(1)) < 0)
        free(memory);
    putchar(memory[0]);
    free(memory);
    return 0;
}

static int sweep_over_what_is_gone(void)
{
    static const struct osr_test test = OSR_TEST("gone", looks_at_what_is_gone, &world, .begin = begin, .quiet = true);

    return osr_test_sweep(&test);
}

/* As a program of its own, which reads its options when it begins. */
static void assert_sanitizer_is_told(const char *options)
{
    static char said[1 << 16];
    char command[256];
    size_t length;
    FILE *stream;

    snprintf(command, sizeof(command), "ASAN_OPTIONS=%s exec %s --gone 2>&1", options, program_invocation_name);
    stream = popen(command, "r");
    assert_non_null(stream);
    length = fread(said, 1, sizeof(said) - 1, stream);
    said[length] = '\0';
    assert_int_not_equal(pclose(stream), 0);
    note(NULL, said);
    assert_told("heap-use-after-free");
    assert_told("\"gone\": the program is stopped\n  a sanitizer stops the program; what it has found it tells itself\n");
    assert_told("again: OSR_REPLAY='osr1:gone:C1=1;");
    assert_null(strstr(strstr(said, "again: ") + 1, "again: "));
}

TEST(what_a_sanitizer_stops_is_told_once)
{
    if (!ADDRESSES_ARE_CHECKED)
        skip();
    with(NULL);
    assert_sanitizer_is_told("abort_on_error=0");
    with(NULL);
    assert_sanitizer_is_told("abort_on_error=1:disable_coredump=1");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        story_test(what_is_told_is_as_short_as_it_gets),
        story_test(a_check_is_given_what_the_run_came_to),
        story_test(the_longest_name_is_that_of_a_task),
        story_test(exploring_stops_by_itself_only_after_very_many_runs),
        story_test(exploring_takes_ready_descriptors_in_any_order),
        story_test(what_is_left_of_the_librarys_and_what_is_given_back_twice_is_found),
        story_test(a_call_that_has_several_points_in_it_is_one),
        story_test(where_there_is_nothing_to_choose_nothing_is_asked),
        story_test(ordered_faults_come_in_each_run_of_many),
        story_test(as_many_jobs_run_as_are_released),
        story_test(a_transfer_of_half_is_told_as_that),
        story_test(all_transfers_are_short_whatever_their_name),
        story_test(a_story_gives_the_place_the_choice_and_what_the_run_gave),
        story_test(who_is_told_is_given_what_it_asked_for),
        story_test(a_story_shows_who_was_where_at_each_fault),
        story_test(a_row_of_like_choices_is_counted_to_its_end),
        story_test(a_story_says_which_of_its_errors_a_call_gave),
        story_test(a_run_that_differs_is_told_with_what_was_chosen),
        story_test(a_token_of_two_that_go_on_is_the_same_again),
        story_test(who_is_cancelled_is_where_it_was),
        story_test(a_run_that_does_not_end_has_time_to_end_when_it_is_cancelled),
        story_test(a_death_says_in_which_run_it_came),
        story_test(the_cancellation_of_the_kit_is_no_choice_in_a_story),
        story_test(a_stack_that_is_used_up_is_told),
        story_test(a_handler_that_the_program_had_comes_behind_the_story),
        story_test(handlers_that_hand_on_to_each_other_end),
        story_test(a_call_leaves_all_handlers_as_they_were),
        story_test(another_fault_is_told_as_the_signal_that_it_is),
        story_test(misuse_is_told_in_one_line),
        story_test(the_token_of_a_death_has_what_was_chosen_and_no_more),
        story_test(a_long_token_is_told_whole),
        story_test(a_token_that_is_too_long_says_so),
        story_test(the_stack_for_signals_is_the_programs_again),
        story_test(a_call_that_fails_is_told_with_the_task_and_the_last_place_that_is_known),
        story_test(a_call_that_fails_is_told_with_where_its_task_would_have_gone),
        story_test(a_fault_outside_the_program_is_told_as_that),
        story_test(a_short_transfer_is_told_with_those_who_were_where),
        story_test(what_the_run_gave_is_told_with_the_errors_behind_it),
        story_test(memory_that_is_left_is_told_with_its_size_and_who_has_made_it),
        story_test(what_a_sanitizer_stops_is_told_once),
    };

    if (argc > 1 && strcmp(argv[1], "--gone") == 0)
        return sweep_over_what_is_gone();
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
