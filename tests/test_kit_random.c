/* What the test kit draws (osier/test.h): the orders that its strategies reach at random, what is injected among them, the
 * pairs of a sweep, and what becomes of a fuzzer's bytes. Seeds are fixed, and margins are wide: another generator of
 * numbers would do as well. */
#include "told.h"

#include <osier/test.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- Runs at random, and what is seen of them ---------------------------------------------------------- */

enum { UNIFORM, PRIORITIES, DELAYS, STICKY, STRATEGIES }; /* in turns */
enum { RUNS = 2000, EACH = RUNS / STRATEGIES, PAIRS = 8000, SEEN = PAIRS + 100, TEXT = 128 };

static struct world {
    unsigned tasks, steps; /* of walkers */
    char text[TEXT];       /* what the tasks of this run have written */
    size_t length;
    int failed, cut; /* a bit for each of the program's points that failed, or was cut */
    int other;
    unsigned chosen;
    int moved[6]; /* by transfers */
    struct osr_call calls[3];
} world;

/* One run; those that the kit plays again, to compare, are not counted twice. */
static struct seen {
    struct world world;
    int rc;
    unsigned cancels, faults;
} seen[SEEN], last;
static unsigned long run_count, fails_from;
static bool again;

static void begin(void *arg)
{
    const unsigned tasks = world.tasks, steps = world.steps;

    (void)arg;
    again = !again && run_count > 0 && ((run_count & (run_count - 1)) == 0 || run_count % 1024 == 0);
    run_count += !again;
    world = (struct world){.tasks = tasks, .steps = steps};
}

static void see(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    if (fails_from > 0 && run_count >= fails_from)
        osr_test_fail("this far and no further");
    last = (struct seen){world, result->rc, result->cancels, result->faults};
    if (!again && run_count <= SEEN)
        seen[run_count - 1] = last;
}

#define KIT_TEST(name, task, ...) OSR_TEST(name, task, &world, .begin = begin, .check = see, .tell = note __VA_OPT__(,) __VA_ARGS__)

static void start(void)
{
    run_count = 0;
    again = false;
    told[0] = '\0';
    memset(seen, 0, sizeof(seen));
}

static void run_at_random(const struct osr_test *test, uint64_t seed)
{
    start();
    assert_int_equal(osr_test_random(test, RUNS, seed), 0);
    assert_int_equal(run_count, RUNS);
}

/* The `i`-th run of a strategy. */
static const struct seen *run_of(unsigned strategy, unsigned i)
{
    return &seen[i * STRATEGIES + strategy];
}

static void write_letter(struct world *w, char letter)
{
    w->text[w->length++] = letter;
}

/* ---- Orders -------------------------------------------------------------------------------------------- */

struct walker {
    struct world *world;
    char letter;
};

/* Writes its letter once a step. */
OSR_TASK(walks, struct walker, walker)
{
    struct world *w = walker->world;
    unsigned i;
    int rc = 0;

    write_letter(w, walker->letter);
    for (i = 1; i < w->steps && rc == 0; i++) {
        rc = osr_yield();
        write_letter(w, walker->letter);
    }
    return rc;
}

OSR_TASK(walkers, struct world, w)
{
    struct walker walking[26];
    struct osr_group group;
    unsigned i;
    int rc = 0;

    osr_group_open(&group);
    for (i = 0; i < w->tasks && rc == 0; i++) {
        walking[i] = (struct walker){w, (char)('a' + i)};
        rc = osr_spawn(&group, walks, &walking[i]);
    }
    return osr_group_close(&group, rc);
}

static void walk_at_random(unsigned tasks, unsigned steps, uint64_t seed)
{
    const struct osr_test test = KIT_TEST("walkers", walkers);

    world.tasks = tasks;
    world.steps = steps;
    run_at_random(&test, seed);
}

/* Of how many places the letter before is another one, and one more: how often somebody's turn began. */
static unsigned blocks_of(const char *text)
{
    unsigned count = 1;

    while (*++text)
        count += text[0] != text[-1];
    return count;
}

/* Without repetitions: "abcab" of "aaabbcab". */
static void outline(const char *text, char *line)
{
    *line++ = *text;
    while (*++text)
        if (text[0] != text[-1])
            *line++ = *text;
    *line = '\0';
}

/* How many were passed over at each step, if they had stood in a queue. */
static void passed_over(const struct world *w, unsigned over[TEXT])
{
    char queue[26];
    unsigned taken[26] = {0}, waiting, k;
    size_t i;

    for (waiting = 0; waiting < w->tasks; waiting++)
        queue[waiting] = (char)('a' + waiting);
    for (i = 0; i < w->length; i++) {
        for (k = 0; queue[k] != w->text[i]; k++)
            continue;
        over[i] = k;
        memmove(&queue[k], &queue[k + 1], waiting - k - 1);
        if (++taken[w->text[i] - 'a'] == w->steps)
            waiting--;
        else
            queue[waiting - 1] = w->text[i];
    }
}

/* How many different texts the strategy has written; each at least `least` times. */
static unsigned texts_of(unsigned strategy, unsigned least)
{
    static const char *texts[EACH];
    unsigned times[EACH] = {0}, count = 0, i, k;

    for (i = 0; i < EACH; i++) {
        const char *text = run_of(strategy, i)->world.text;

        for (k = 0; k < count && strcmp(texts[k], text) != 0; k++)
            continue;
        texts[k] = text;
        times[k]++;
        count += k == count;
    }
    for (k = 0; k < count; k++)
        assert_true(times[k] >= least);
    return count;
}

TEST(each_strategy_reaches_all_orders_of_few_steps)
{
    walk_at_random(2, 1, 7);
    assert_int_equal(texts_of(UNIFORM, EACH / 3), 2);
    assert_int_equal(texts_of(PRIORITIES, EACH / 3), 2);
    assert_int_equal(texts_of(DELAYS, EACH / 12), 2);
    assert_int_equal(texts_of(STICKY, EACH / 3), 2);
    walk_at_random(4, 1, 7);
    assert_int_equal(texts_of(UNIFORM, 5), 24);
    assert_int_equal(texts_of(PRIORITIES, 5), 24);
    assert_int_equal(texts_of(DELAYS, 1), 24);
    assert_int_equal(texts_of(STICKY, 5), 24);
}

/* Of 60 steps of three tasks, two in three are another's than the one before. */
TEST(all_at_random_goes_on_with_anybody)
{
    unsigned i, blocks = 0;

    walk_at_random(3, 20, 7);
    assert_int_equal(texts_of(UNIFORM, 1), EACH);
    for (i = 0; i < EACH; i++)
        blocks += blocks_of(run_of(UNIFORM, i)->world.text);
    assert_in_range(blocks / EACH, 34, 46);
}

/* A task runs to its end, or to the moment when it becomes the least; there are three moments. */
TEST(priorities_change_at_few_moments)
{
    unsigned with[8] = {0}, first[3] = {0}, early = 0, late = 0, in_turn = 0, swapped = 0, i;
    char line[TEXT];

    walk_at_random(3, 20, 7);
    for (i = 0; i < EACH; i++) {
        const char *text = run_of(PRIORITIES, i)->world.text;
        unsigned blocks = blocks_of(text);
        size_t length = strspn(text, (char[]){text[0], '\0'});
        size_t second = strspn(text + length, (char[]){text[length], '\0'});

        assert_in_range(blocks, 3, 6);
        with[blocks]++;
        first[text[0] - 'a']++;
        early += length < 7;
        late += length > 13 && length < 20;
        outline(text, line);
        if (line[2] == line[0] && second < 20)
            fail_msg("who has fallen was not the last: %s", line);
        in_turn += blocks > 4 && line[3] == line[0] && line[4] == line[1];
        swapped += blocks > 4 && line[3] == line[1] && line[4] == line[0];
    }
    for (i = 3; i <= 6; i++)
        assert_true(with[i] >= 10);
    for (i = 0; i < 3; i++)
        assert_true(first[i] >= EACH / 5);
    assert_true(early >= 30 && late >= 30);
    assert_true(in_turn >= 30 && swapped < in_turn / 5); /* who fell later comes later; all may fall once more */
}

OSR_TASK(sleeps_and_walks, struct walker, walker)
{
    struct world *w = walker->world;
    unsigned i;
    int rc = 0;

    for (i = 0; i < w->steps && rc == 0; i++) {
        rc = osr_sleep_until(osr_ms(i + 1));
        write_letter(w, walker->letter);
    }
    return rc;
}

OSR_TASK(sleepers, struct world, w)
{
    struct walker walking[3];
    struct osr_group group;
    unsigned i;
    int rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++) {
        walking[i] = (struct walker){w, (char)('a' + i)};
        rc = osr_spawn(&group, sleeps_and_walks, &walking[i]);
    }
    return osr_group_close(&group, rc);
}

/* Whenever they are woken together they come in the same order, but for who has fallen. */
TEST(priorities_hold_over_waits)
{
    const struct osr_test test = KIT_TEST("sleepers", sleepers);
    unsigned i, k, all = 0;

    world.tasks = 3;
    world.steps = 20;
    run_at_random(&test, 7);
    for (i = 0; i < EACH; i++) {
        const char *text = run_of(PRIORITIES, i)->world.text;
        unsigned changes = 0;

        for (k = 3; k < 60; k += 3)
            changes += memcmp(text + k, text + k - 3, 3) != 0;
        assert_true(changes <= 6);
        all += changes;
    }
    assert_true(all >= EACH);
}

/* At three moments at most somebody is passed over; they lie anywhere, and as many are passed over as may be. */
TEST(few_are_delayed_where_it_is_first_come_first_served)
{
    unsigned with[4] = {0}, where[3] = {0}, by[3] = {0}, over[TEXT], i;

    walk_at_random(3, 20, 7);
    for (i = 0; i < EACH; i++) {
        const struct world *w = &run_of(DELAYS, i)->world;
        unsigned delays = 0;
        size_t k;

        passed_over(w, over);
        for (k = 0; k < w->length; k++) {
            delays += over[k] > 0;
            where[k / 20] += over[k] > 0;
            by[over[k]]++;
        }
        assert_true(delays <= 3);
        with[delays]++;
    }
    assert_true(with[2] >= 20 && with[3] >= EACH / 2);
    for (i = 0; i < 3; i++)
        assert_true(where[i] >= EACH / 2);
    assert_true(by[1] >= EACH / 2 && by[2] >= EACH / 2);
}

static void assert_sticks(unsigned tasks, unsigned steps, unsigned least, unsigned most)
{
    unsigned i, blocks = 0;

    walk_at_random(tasks, steps, 7);
    assert_true(texts_of(STICKY, 1) > EACH * 9 / 10);
    for (i = 0; i < EACH; i++)
        blocks += blocks_of(run_of(STICKY, i)->world.text);
    assert_in_range(blocks / EACH, least, most);
}

/* One step in eight goes to anybody, however many there are. */
TEST(the_same_task_goes_on_for_long)
{
    assert_sticks(3, 20, 6, 12);
    assert_sticks(20, 6, 25, 40);
}

TEST(a_seed_gives_the_same_runs_again_and_another_seed_others)
{
    static struct seen before[RUNS];
    unsigned i, same = 0;

    walk_at_random(3, 20, 7);
    memcpy(before, seen, sizeof(before));
    walk_at_random(3, 20, 7);
    for (i = 0; i < RUNS; i++)
        assert_string_equal(before[i].world.text, seen[i].world.text);
    walk_at_random(3, 20, 8);
    for (i = 0; i < RUNS; i++)
        same += strcmp(before[i].world.text, seen[i].world.text) == 0;
    assert_true(same < RUNS / 10);
}

TEST(a_story_names_the_strategy_and_the_seed)
{
    static const char *const names[] = {
        "random, run 1 (all at random, seed 99)",
        "random, run 2 (priorities that change at few moments, seed 99)",
        "random, run 3 (first come, first served, with delays, seed 99)",
        "random, run 4 (the same task for long, seed 99)",
        "random, run 5 (all at random, seed 99)",
    };
    const struct osr_test test = KIT_TEST("walkers", walkers);

    world.tasks = world.steps = 2;
    for (fails_from = 1; fails_from <= 5; fails_from++) {
        start();
        assert_int_equal(osr_test_random(&test, 10, 99), 1);
        assert_told(names[fails_from - 1]);
    }
    fails_from = 0;
    start();
    assert_int_equal(osr_test_random(&test, 3, 18446744073709551615u), 0);
    assert_told("\"walkers\": random: 3 runs: all well; seed 18446744073709551615\n");
}

/* ---- What else is drawn -------------------------------------------------------------------------------- */

struct caller {
    struct world *world;
    char letter;
};

static void calls_back(void *arg)
{
    struct caller *caller = arg;

    write_letter(caller->world, caller->letter);
}

/* Whom the loop calls at one moment, and nobody else is ready. */
OSR_TASK(three_are_called, struct world, w)
{
    static struct caller callers[3] = {{&world, 'a'}, {&world, 'b'}, {&world, 'c'}};
    unsigned i;
    int rc = 0;

    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_call_at(&w->calls[i], osr_ms(1), calls_back, &callers[i]);
    return rc < 0 ? rc : osr_sleep(osr_ms(2));
}

OSR_JOB(works, struct caller, caller)
{
    calls_back(caller);
    return 0;
}

OSR_TASK(offloads, struct caller, caller)
{
    return osr_offload(works, caller);
}

/* Three jobs that were queued in one order. */
OSR_TASK(three_jobs, struct world, w)
{
    static struct caller callers[3] = {{&world, 'a'}, {&world, 'b'}, {&world, 'c'}};
    struct osr_group group;
    unsigned i;
    int rc = osr_test_hold_jobs();

    (void)w;
    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++) {
        rc = osr_spawn(&group, offloads, &callers[i]);
        rc = rc == 0 ? osr_settle() : rc;
    }
    osr_test_release_jobs(OSR_TEST_ALL_JOBS);
    return osr_group_close(&group, rc);
}

/* All orders, with each strategy; and in order more often than not where that is what the strategy is about. */
static void assert_any_order(const struct osr_test *test)
{
    unsigned strategy, i, in_order = 0;

    run_at_random(test, 7);
    for (strategy = 0; strategy < STRATEGIES; strategy++)
        assert_int_equal(texts_of(strategy, 1), 6);
    for (i = 0; i < EACH; i++)
        in_order += strcmp(run_of(DELAYS, i)->world.text, "abc") == 0;
    assert_true(in_order > EACH / 2);
}

TEST(equal_times_and_jobs_come_in_any_order)
{
    const struct osr_test calls = KIT_TEST("calls", three_are_called), jobs = KIT_TEST("jobs", three_jobs);

    assert_any_order(&calls);
    assert_any_order(&jobs);
}

OSR_TASK(chooses, struct world, w)
{
    w->chosen = osr_test_choose(5, "digit");
    return 0;
}

TEST(exploring_takes_equal_times_and_jobs_in_any_order)
{
    const struct osr_test calls = KIT_TEST("calls", three_are_called), jobs = KIT_TEST("jobs", three_jobs);
    unsigned i, k, orders;

    for (k = 0; k < 2; k++) {
        start();
        assert_int_equal(osr_test_explore(k ? &jobs : &calls), 0);
        assert_true(run_count >= 6 && run_count < RUNS);
        for (orders = i = 0; i < run_count; i++) {
            static const char *const all[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
            unsigned m;

            for (m = 0; m < 6; m++)
                orders |= strcmp(seen[i].world.text, all[m]) == 0 ? 1u << m : 0;
        }
        assert_int_equal(orders, 63);
    }
}

TEST(what_a_test_chooses_is_any_of_its_alternatives)
{
    const struct osr_test test = KIT_TEST("chooses", chooses);
    unsigned times[5] = {0}, i;

    run_at_random(&test, 7);
    for (i = 0; i < RUNS; i++)
        times[seen[i].world.chosen]++;
    for (i = 0; i < 5; i++)
        assert_in_range(times[i], RUNS / 8, RUNS / 3);
}

enum { POINTS = 6 };

OSR_TASK(yields, struct world, w)
{
    int i, rc = 0;

    for (i = 0; i < POINTS && rc == 0; i++) {
        rc = osr_yield();
        w->cut |= rc < 0 ? 1 << i : 0;
    }
    return rc;
}

OSR_TASK(two_that_yield, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, yields, w);
    rc = rc == 0 ? osr_spawn(&group, yields, w) : rc;
    return osr_group_close(&group, rc);
}

/* About one a run, at any point: of a task alone, or of all. */
TEST(cancellations_come_at_random)
{
    const struct osr_test test = KIT_TEST("yielding", two_that_yield, .cancels = true);
    unsigned with[3] = {0}, where[POINTS] = {0}, all = 0, i, k;

    run_at_random(&test, 7);
    for (i = 0; i < RUNS; i++) {
        with[seen[i].cancels < 2 ? seen[i].cancels : 2]++;
        all += seen[i].rc == -OSR_ETASKCANCELED;
        for (k = 0; k < POINTS; k++)
            where[k] += seen[i].world.cut >> k & 1;
        assert_int_equal(seen[i].faults, 0);
    }
    for (i = 0; i < 3; i++)
        assert_true(with[i] >= RUNS / 20);
    for (k = 0; k < POINTS; k++)
        assert_true(where[k] >= RUNS / 40);
    assert_in_range(all, RUNS / 10, RUNS * 6 / 10);
}

/* Points of its own, and a listener that is refused with one of several errors. */
OSR_TASK(prints, struct world, w)
{
    struct osr_address address;
    int i, fd;

    for (i = 0; i < POINTS; i++)
        w->failed |= osr_test_fault("printer", -ENODEV) < 0 ? 1 << i : 0;
    (void)osr_address_unix(&address, "@osier-test-random");
    fd = osr_listen(&address, 1);
    w->other = fd < 0 ? fd : 0;
    return fd < 0 ? fd : osr_fd_close(fd);
}

TEST(faults_come_at_random)
{
    const struct osr_test test = KIT_TEST("printers", prints, .faults = true);
    unsigned with[3] = {0}, where[POINTS] = {0}, first = 0, second = 0, i, k;

    run_at_random(&test, 7);
    for (i = 0; i < RUNS; i++) {
        with[seen[i].faults < 2 ? seen[i].faults : 2]++;
        first += seen[i].world.other == -EMFILE;
        second += seen[i].world.other == -ENFILE;
        for (k = 0; k < POINTS; k++)
            where[k] += seen[i].world.failed >> k & 1;
        assert_int_equal(seen[i].cancels, 0);
    }
    for (i = 0; i < 3; i++)
        assert_true(with[i] >= RUNS / 20);
    for (k = 0; k < POINTS; k++)
        assert_true(where[k] >= RUNS / 100);
    assert_true(first >= 5 && second >= 5);
}

OSR_TASK(writes, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds), i;

    for (i = 0; i < 6 && rc >= 0; i++)
        w->moved[i] = rc = osr_write(fds[0], "abcdefgh", 8);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

/* In half of the runs; there each length as often as the others. */
TEST(transfers_are_short_at_random)
{
    const struct osr_test test = KIT_TEST("writes", writes);
    unsigned times[9] = {0}, whole = 0, i, k;

    run_at_random(&test, 7);
    for (i = 0; i < RUNS; i++) {
        unsigned full = 0;

        for (k = 0; k < 6; k++) {
            times[seen[i].world.moved[k]]++;
            full += seen[i].world.moved[k] == 8;
        }
        whole += full == 6;
    }
    assert_in_range(whole, RUNS * 4 / 10, RUNS * 6 / 10);
    assert_in_range(times[1], RUNS * 7 / 10, RUNS * 13 / 10);
    assert_in_range(times[4], RUNS * 7 / 10, RUNS * 13 / 10);
}

/* ---- Bytes of a fuzzer --------------------------------------------------------------------------------- */

OSR_TASK(chooses_and_walks, struct world, w)
{
    w->chosen = osr_test_choose(100, "first");
    w->other = (int)osr_test_choose(100, "second");
    return walkers.routine_.run(w);
}

TEST(bytes_say_who_goes_first_from_the_back_and_what_the_test_chooses_from_the_front)
{
    static const struct osr_test test = KIT_TEST("fuzzed", chooses_and_walks);
    static const uint8_t bytes[] = {11, 22, 1, 2, 3};
    static const struct {
        size_t first, count;
        const char *text;
        unsigned chosen;
        int other;
    } expected[] = {
        {0, 5, "dcba", 11, 22}, {0, 4, "cbad", 11, 22}, {0, 3, "bacd", 11, 22}, {0, 2, "abcd", 11, 22},
        {0, 1, "abcd", 11, 0},  {0, 0, "abcd", 0, 0},   {2, 3, "dabc", 1, 2},
    };
    unsigned i;

    world.tasks = 4;
    world.steps = 1;
    for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        start();
        assert_int_equal(osr_test_fuzz(&test, bytes + expected[i].first, expected[i].count), 0);
        assert_string_equal(world.text, expected[i].text);
        assert_int_equal(world.chosen, expected[i].chosen);
        assert_int_equal(world.other, expected[i].other);
    }
}

TEST(few_bytes_cancel_or_fail)
{
    static const struct osr_test cut = KIT_TEST("cut", two_that_yield, .cancels = true);
    static const struct osr_test faulty = KIT_TEST("faulty", prints, .faults = true), neither = KIT_TEST("neither", prints);
    static const struct {
        uint8_t byte;
        int root; /* its code, if that is what all bytes are */
        bool cancels;
    } expected[] = {{0x00, 0, false}, {0x01, 0, false}, {0xef, 0, false}, {0xf0, -ECANCELED, true}, {0xf1, -OSR_ETASKCANCELED, true}};
    uint8_t bytes[64];
    unsigned i;

    for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        memset(bytes, expected[i].byte, sizeof(bytes));
        start();
        assert_int_equal(osr_test_fuzz(&cut, bytes, sizeof(bytes)), 0);
        assert_int_equal(last.cancels > 0, expected[i].cancels);
        if (expected[i].root == -OSR_ETASKCANCELED)
            assert_int_equal(last.rc, expected[i].root);
        else
            assert_int_not_equal(last.rc, -OSR_ETASKCANCELED);
        assert_int_equal(osr_test_fuzz(&neither, bytes, sizeof(bytes)), 0);
        assert_int_equal(last.faults, 0);
        memset(bytes, 0, sizeof(bytes));
        memset(bytes + 32, expected[i].byte, 32); /* the first ones are for whatever the run begins with */
        assert_int_equal(osr_test_fuzz(&faulty, bytes, sizeof(bytes)), 0);
        assert_int_equal(last.faults > 0, expected[i].cancels);
    }
}

/* ---- Sweeps -------------------------------------------------------------------------------------------- */

TEST(a_sweep_shortens_each_transfer_in_each_way_and_all_of_them)
{
    const struct osr_test test = KIT_TEST("writes", writes);
    unsigned alone[9][6] = {{0}}, all = 0, i, k;

    start();
    assert_int_equal(osr_test_sweep(&test), 0);
    for (i = 0; i < run_count; i++) {
        const int *moved = seen[i].world.moved;
        unsigned full = 0, least = 0;

        for (k = 0; k < 6; k++) {
            full += moved[k] == 8;
            least += moved[k] == 1;
        }
        for (k = 0; k < 6 && full == 5; k++)
            if (moved[k] > 0)
                alone[moved[k]][k]++;
        all += least == 6;
    }
    for (k = 0; k < 6; k++)
        assert_true(alone[1][k] == 1 && alone[4][k] == 1);
    assert_int_equal(all, 1);
}

enum { DOORS = 3 };

OSR_TASK(meddles, struct world, w)
{
    int fds[2], rc, i;

    write_letter(w, 'a');
    for (i = 0; i < DOORS; i++)
        w->failed |= osr_test_fault("printer", -ENODEV) < 0 ? 1 << i : 0;
    w->chosen = osr_test_choose(3, "digit");
    rc = osr_test_streams(fds);
    if (rc < 0)
        return rc;
    for (i = 0; i < 2; i++)
        w->moved[i] = osr_write(fds[0], "abcdefgh", 8);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    rc = osr_yield();
    w->cut = rc < 0;
    return rc;
}

OSR_TASK(comes_second, struct world, w)
{
    write_letter(w, 'b');
    return 0;
}

OSR_TASK(two_meddlers, struct world, w)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, meddles, w);
    rc = rc == 0 ? osr_spawn(&group, comes_second, w) : rc;
    return osr_group_close(&group, rc);
}

/* How many of its points have failed; not from one on. */
static unsigned doors_of(const struct world *w)
{
    unsigned failed = (unsigned)w->failed;

    return failed == 7 ? 0 : (failed & 1) + (failed >> 1 & 1) + (failed >> 2 & 1);
}

/* Any two of what can be injected, each as often as the others, with each of their answers; and nothing else is chosen. */
TEST(a_sweep_draws_pairs_of_all_injections)
{
    const struct osr_test test = KIT_TEST("pairs", two_meddlers, .pairs = PAIRS);
    unsigned doors[8] = {0}, with_door[2][9] = {{0}}, moved[9][9] = {{0}}, cut = 0, all = 0, i, k, m;

    start();
    assert_int_equal(osr_test_sweep(&test), 0);
    assert_in_range(run_count, PAIRS + 1, SEEN);
    for (i = 0; i < run_count; i++) {
        const struct world *w = &seen[i].world;
        unsigned failed = doors_of(w);

        assert_int_equal(w->chosen, 0);
        assert_int_not_equal(w->text[0], 'b');
        doors[failed == 2 ? w->failed : 0]++;
        for (k = 0; k < 2 && failed > 0; k++)
            with_door[k][w->moved[k] > 0 ? w->moved[k] : 0]++;
        if (w->moved[0] > 0 && w->moved[1] > 0)
            moved[w->moved[0]][w->moved[1]]++;
        cut += failed > 0 && w->cut && seen[i].rc != -OSR_ETASKCANCELED;
        all += failed > 0 && w->cut && seen[i].rc == -OSR_ETASKCANCELED;
    }
    /* Of 28 injections: of all pairs one in 392. */
    assert_true(doors[3] >= 10 && doors[5] >= 10 && doors[6] >= 10);
    assert_in_range(doors[3] + doors[5] + doors[6], PAIRS * 3 / 392 * 3 / 4, PAIRS * 3 / 392 * 5 / 4);
    for (k = 1; k <= 4; k += 3) {
        assert_true(with_door[0][k] >= 10 && with_door[1][k] >= 10);
        for (m = 1; m <= 4; m += 3)
            assert_true(moved[k][m] >= 1);
    }
    assert_true(cut >= 20 && all >= 20);
}

OSR_TASK(asks_otherwise_after_a_fault, struct world, w)
{
    if (osr_test_fault("printer", -ENODEV) < 0)
        w->other += osr_test_fault("spare printer", -ENODEV) < 0;
    else
        (void)osr_test_fault("scanner", -ENODEV);
    return 0;
}

/* After the first injection the second one meets what is asked there then. */
TEST(the_second_of_a_pair_may_meet_another_question)
{
    const struct osr_test test = KIT_TEST("otherwise", asks_otherwise_after_a_fault, .pairs = 300);
    unsigned both = 0, i;

    start();
    assert_int_equal(osr_test_sweep(&test), 0);
    for (i = 0; i < run_count; i++)
        both += seen[i].world.other;
    assert_true(both >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(each_strategy_reaches_all_orders_of_few_steps),
        story_test(all_at_random_goes_on_with_anybody),
        story_test(priorities_change_at_few_moments),
        story_test(priorities_hold_over_waits),
        story_test(few_are_delayed_where_it_is_first_come_first_served),
        story_test(the_same_task_goes_on_for_long),
        story_test(a_seed_gives_the_same_runs_again_and_another_seed_others),
        story_test(a_story_names_the_strategy_and_the_seed),
        story_test(equal_times_and_jobs_come_in_any_order),
        story_test(exploring_takes_equal_times_and_jobs_in_any_order),
        story_test(what_a_test_chooses_is_any_of_its_alternatives),
        story_test(cancellations_come_at_random),
        story_test(faults_come_at_random),
        story_test(transfers_are_short_at_random),
        story_test(bytes_say_who_goes_first_from_the_back_and_what_the_test_chooses_from_the_front),
        story_test(few_bytes_cancel_or_fail),
        story_test(a_sweep_shortens_each_transfer_in_each_way_and_all_of_them),
        story_test(a_sweep_draws_pairs_of_all_injections),
        story_test(the_second_of_a_pair_may_meet_another_question),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
