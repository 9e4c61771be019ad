/*
 * Runs: their options, the choice door, the trace of events, the tree, leaks, several threads, forked children.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "2_sched/sched.h"

/* ---- A program with a bit of everything ---------------------------------------------------------------- */

OSR_TASK(napper, int, ms)
{
    return osr_sleep(osr_ms(*ms));
}

OSR_TASK(loser, void, unused)
{
    int rc = osr_sleep(osr_ms(4));

    return rc < 0 ? rc : osr_fail(-EIO, "lost");
}

OSR_TASK(bit_of_everything, void, unused)
{
    static int naps[] = {3, 1, 2, 1000, 1000};
    struct osr_scope limit;
    struct osr_group group;
    int rc = 0, i;

    osr_move_on_open(&limit, osr_ms(50));
    osr_group_open(&group, .name = "naps");
    for (i = 0; i < 5 && rc == 0; i++)
        rc = osr_spawn(&group, napper, &naps[i]);
    if (rc == 0)
        rc = osr_spawn(&group, loser, NULL);
    rc = osr_group_close(&group, rc);
    tell("group: %d", rc);
    return osr_scope_close(&limit, rc == -OSR_EGROUP ? 0 : rc);
}

/* ---- The trace ----------------------------------------------------------------------------------------- */

struct trace {
    char text[1 << 14];
    size_t length;
};

static void note_event(void *arg, const struct osr_trace_event *event)
{
    static const char *const kinds[] = {"?", "spawn", "step", "wait", "wake", "cancel", "end"};
    struct trace *trace = arg;

    trace->length += (size_t)snprintf(trace->text + trace->length, sizeof(trace->text) - trace->length,
                                      "%lld %s %llu %s %s %d\n", (long long)(event->at / 1000000), kinds[event->kind],
                                      (unsigned long long)event->task, event->name, event->call ? event->call : "-",
                                      event->code);
}

static void the_trace_tells_what_tasks_and_scopes_do(void **state)
{
    struct trace trace = {.length = 0};

    (void)state;
    assert_int_equal(run_simulated(bit_of_everything, NULL, .observe = note_event, .observe_arg = &trace), 0);
    assert_string_equal(trace.text, "0 spawn 1 bit_of_everything - 0\n"
                                    "0 step 1 bit_of_everything - 0\n"
                                    "0 spawn 2 napper - 0\n"
                                    "0 spawn 3 napper - 0\n"
                                    "0 spawn 4 napper - 0\n"
                                    "0 spawn 5 napper - 0\n"
                                    "0 spawn 6 napper - 0\n"
                                    "0 spawn 7 loser - 0\n"
                                    "0 wait 1 bit_of_everything osr_group_close 0\n"
                                    "0 step 2 napper - 0\n"
                                    "0 wait 2 napper osr_sleep 0\n"
                                    "0 step 3 napper - 0\n"
                                    "0 wait 3 napper osr_sleep 0\n"
                                    "0 step 4 napper - 0\n"
                                    "0 wait 4 napper osr_sleep 0\n"
                                    "0 step 5 napper - 0\n"
                                    "0 wait 5 napper osr_sleep 0\n"
                                    "0 step 6 napper - 0\n"
                                    "0 wait 6 napper osr_sleep 0\n"
                                    "0 step 7 loser - 0\n"
                                    "0 wait 7 loser osr_sleep 0\n"
                                    "1 wake 3 napper osr_sleep 0\n"
                                    "1 step 3 napper - 0\n"
                                    "1 end 3 napper - 0\n"
                                    "2 wake 4 napper osr_sleep 0\n"
                                    "2 step 4 napper - 0\n"
                                    "2 end 4 napper - 0\n"
                                    "3 wake 2 napper osr_sleep 0\n"
                                    "3 step 2 napper - 0\n"
                                    "3 end 2 napper - 0\n"
                                    "4 wake 7 loser osr_sleep 0\n"
                                    "4 step 7 loser - 0\n"
                                    "4 end 7 loser - -5\n"
                                    "4 cancel 1 bit_of_everything - -5\n"
                                    "4 wake 5 napper osr_sleep -125\n"
                                    "4 wake 6 napper osr_sleep -125\n"
                                    "4 step 5 napper - 0\n"
                                    "4 end 5 napper - -125\n"
                                    "4 step 6 napper - 0\n"
                                    "4 end 6 napper - -125\n"
                                    "4 wake 1 bit_of_everything osr_group_close 0\n"
                                    "4 step 1 bit_of_everything - 0\n"
                                    "4 end 1 bit_of_everything - 0\n");
}

/* ---- The door ------------------------------------------------------------------------------------------ */

struct dice {
    unsigned seed, asked[OSR_CHOICE_FAULT + 1];
};

/* A pseudo-random answer; never a fault. */
static unsigned roll(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct dice *dice = arg;

    check(n > 1 && what && *what);
    dice->asked[kind]++;
    dice->seed = dice->seed * 1103515245 + 12345;
    return kind == OSR_CHOICE_FAULT ? 0 : (dice->seed >> 16) % n;
}

static void the_same_choices_give_the_same_trace(void **state)
{
    static struct trace first, second, other;
    struct dice dice = {.seed = 7};

    (void)state;
    first = second = other = (struct trace){.length = 0};
    run_simulated(bit_of_everything, NULL, .observe = note_event, .observe_arg = &first, .choose = roll,
                  .choose_arg = &dice);
    dice.seed = 7;
    run_simulated(bit_of_everything, NULL, .observe = note_event, .observe_arg = &second, .choose = roll,
                  .choose_arg = &dice);
    dice.seed = 8;
    run_simulated(bit_of_everything, NULL, .observe = note_event, .observe_arg = &other, .choose = roll,
                  .choose_arg = &dice);
    assert_checked();
    assert_string_equal(first.text, second.text);
    assert_string_not_equal(first.text, other.text);
    assert_true(dice.asked[OSR_CHOICE_READY] > 0);
}

OSR_TASK(name_yourself, const char *, name)
{
    int rc = osr_sleep(osr_ms(1));

    tell("%s", *name);
    return rc;
}

OSR_TASK(sleep_together, void, unused)
{
    static const char *names[] = {"a", "b", "c"};
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, name_yourself, &names[i]);
    return osr_group_close(&group, 0);
}

struct answers {
    enum osr_choice kind;
    unsigned answer;
};

static unsigned answer(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    const struct answers *answers = arg;

    (void)n, (void)what;
    return kind == answers->kind ? answers->answer : 0;
}

static void told_with(enum osr_choice kind, unsigned with, const char *story)
{
    struct answers answers = {kind, with};

    assert_int_equal(run_simulated(sleep_together, NULL, .choose = answer, .choose_arg = &answers), 0);
    assert_story(story);
}

static void the_door_decides_who_runs_next(void **state)
{
    (void)state;
    told_with(OSR_CHOICE_READY, 0, "a\nb\nc\n");
    told_with(OSR_CHOICE_READY, 1, "c\na\nb\n");
}

static void the_door_decides_which_of_equal_times_comes_first(void **state)
{
    (void)state;
    told_with(OSR_CHOICE_DEADLINE, 1, "b\nc\na\n");
    told_with(OSR_CHOICE_DEADLINE, 2, "c\na\nb\n"); /* of the two that are left, 2 is none */
}

static void an_answer_out_of_range_counts_as_the_first(void **state)
{
    (void)state;
    told_with(OSR_CHOICE_READY, 1000, "a\nb\nc\n");
    told_with(OSR_CHOICE_READY, 1001, "a\nb\nc\n");
    told_with(OSR_CHOICE_DEADLINE, UINT32_MAX, "a\nb\nc\n");
    told_with(OSR_CHOICE_DEADLINE, UINT32_MAX - 1, "a\nb\nc\n");
}

struct ends {
    int left[2], right[2];
};

OSR_TASK(read_left, struct ends, ends)
{
    char byte;
    int rc = osr_read(ends->left[0], &byte, 1);

    tell("left: %d", rc);
    return 0;
}

OSR_TASK(read_right, struct ends, ends)
{
    char byte;
    int rc = osr_read(ends->right[0], &byte, 1);

    tell("right: %d", rc);
    return 0;
}

/* Both become ready before the loop looks. */
OSR_TASK(read_both, struct ends, ends)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, read_left, ends);
    osr_spawn(&group, read_right, ends);
    osr_yield();
    check_int(osr_write(ends->left[1], "x", 1), 1);
    check_int(osr_write(ends->right[1], "x", 1), 1);
    return osr_group_close(&group, 0);
}

static void read_both_with(unsigned with, enum osr_clock clock, const char *story)
{
    struct answers answers = {OSR_CHOICE_EVENT, with};
    struct ends ends;
    int i;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.left), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.right), 0);
    assert_int_equal(osr_run(read_both, &ends, .clock = clock, .choose = answer, .choose_arg = &answers), 0);
    for (i = 0; i < 2; i++)
        close(ends.left[i]), close(ends.right[i]);
    assert_checked();
    if (story)
        assert_story(story);
}

static void the_door_decides_which_ready_descriptor_is_told_first(void **state)
{
    (void)state;
    read_both_with(0, OSR_CLOCK_SIMULATED, "left: 1\nright: 1\n");
    read_both_with(1, OSR_CLOCK_SIMULATED, "right: 1\nleft: 1\n");
}

static void descriptors_work_with_both_clocks(void **state)
{
    (void)state;
    read_both_with(0, OSR_CLOCK_REAL, NULL);
}

/* ---- Simulated time ------------------------------------------------------------------------------------ */

OSR_TASK(sleep_a_year, void, unused)
{
    check_int(osr_now(), 0);
    check_int(osr_sleep(osr_s(31536000)), 0);
    check_int(osr_now(), osr_s(31536000));
    return 0;
}

static void simulated_time_begins_at_zero_and_jumps(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(sleep_a_year, NULL), 0);
    assert_checked();
}

OSR_TASK(write_late, struct ends, ends)
{
    int rc = osr_sleep(osr_ms(5));

    return rc < 0 ? rc : osr_write(ends->left[1], "x", 1);
}

OSR_TASK(wait_with_a_timeout, struct ends, ends)
{
    struct osr_group group;
    struct osr_scope limit;
    char byte;

    osr_timeout_open(&limit, osr_ms(3));
    check_int(osr_scope_close(&limit, osr_read(ends->left[0], &byte, 1)), -ETIMEDOUT);
    check_int(osr_now(), osr_ms(3));
    osr_group_open(&group);
    osr_spawn(&group, write_late, ends);
    check_int(osr_read(ends->left[0], &byte, 1), 1);
    check_int(osr_now(), osr_ms(8));
    return osr_group_close(&group, 0);
}

static void simulated_time_stands_still_while_descriptors_are_ready(void **state)
{
    struct ends ends;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.left), 0);
    assert_int_equal(run_simulated(wait_with_a_timeout, &ends), 0);
    close(ends.left[0]), close(ends.left[1]);
    assert_checked();
}

/* ---- Stacks and guards --------------------------------------------------------------------------------- */

/* Guards of the old kind, and mappings that run out: an answer for each kind of call. */
static unsigned run_out_of_mappings(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    unsigned *left = arg;

    (void)n;
    if (kind != OSR_CHOICE_FAULT)
        return 0;
    if (strcmp(what, "madvise") == 0)
        return 1;
    if (strcmp(what, "mprotect") != 0)
        return 0;
    if (*left > 0)
        return (*left)--, 0;
    return 1;
}

static void where_cheap_guards_are_missing_pages_are_protected(void **state)
{
    unsigned left = 100;

    (void)state;
    assert_int_equal(run_simulated(bit_of_everything, NULL, .choose = run_out_of_mappings, .choose_arg = &left), 0);
    assert_true(left < 100);
}

OSR_TASK(spawn_until_it_fails, void, unused)
{
    static int nap = 1;
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < 10 && rc == 0; i++)
        rc = osr_spawn(&group, napper, &nap);
    check_int(rc, -ENOMEM);
    check_int(i, 5);
    check(strstr(osr_error_message(osr_error_last()), "vm.max_map_count") != NULL);
    check(strstr(osr_error_where(osr_error_last()), "test_run.c:") != NULL);
    return osr_group_close(&group, 0);
}

static void a_spawn_that_hits_the_limit_on_mappings_names_it(void **state)
{
    unsigned left = 5;

    (void)state;
    assert_int_equal(run_simulated(spawn_until_it_fails, NULL, .choose = run_out_of_mappings, .choose_arg = &left), 0);
    assert_checked();
}

OSR_TASK(use_a_large_array, void, unused)
{
    volatile char large[200000];
    size_t i;

    for (i = 0; i < sizeof(large); i += 1000)
        large[i] = 1;
    return large[1000];
}

static void stacks_can_be_made_larger(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(use_a_large_array, NULL, .stack_size = 300000), 1);
}

/* Of this process, in KiB. */
static long resident(void)
{
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");

    for (char line[256]; file && fgets(line, sizeof(line), file);)
        (void)sscanf(line, "VmRSS: %ld", &kib);
    if (file)
        fclose(file);
    return kib;
}

enum { BURST = 2000, SPARE = 100 };

static void burst(int ms)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < BURST; i++)
        check_int(osr_spawn(&group, napper, &ms), 0);
    check_int(osr_group_close(&group, 0), 0);
}

/* While each burst comes soon after the last one, as it does unless the machine rests in between, nothing goes back. Afterwards
 * the run waits a little longer, so that the machine may be slow. */
OSR_TASK(burst_and_wait, void, unused)
{
    long full, left;
    int64_t at = osr_now();
    bool soon = true;
    int i;

    for (i = 0; i < 4; i++) {
        burst(400);
        if (i == 0)
            full = resident();
        soon = soon && osr_now() - at < osr_ms(900);
        at = osr_now();
    }
    check(!soon || resident() > full - BURST);
    for (i = 0, left = full; i < 100 && left > full - (BURST - SPARE) * 4 + BURST; i++) {
        check_int(osr_sleep(osr_ms(100)), 0);
        left = resident();
    }
    check(i < 100);
    check(osr_now() - at >= osr_ms(500));
    for (i = 0; i < 100 && osri_stacks_idle(&osri_sched->stacks) > SPARE; i++)
        check_int(osr_sleep(osr_ms(100)), 0);
    check_int(osri_stacks_idle(&osri_sched->stacks), SPARE);
    burst(0);
    check_int(osr_sleep(osr_ms(2500)), 0); /* who waits for long is woken for that */
    check_int(osri_stacks_idle(&osri_sched->stacks), SPARE);
    burst(1);
    return 0;
}

static void memory_of_stacks_goes_back_after_a_burst(void **state)
{
    (void)state;
    assert_int_equal(osr_run(burst_and_wait, NULL, .spare_stacks = SPARE), 0);
    assert_checked();
}

/* ---- The tree ------------------------------------------------------------------------------------------ */

static char tree[4096];
static int line_of_run, line_of_open, line_of_spawn, line_of_sleep;

OSR_TASK(sleeps_for_the_tree, void, unused)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open(&shield, osr_ms(250));
    line_of_sleep = __LINE__ + 1;
    rc = osr_sleep(OSR_NEVER);
    return osr_scope_close(&shield, rc);
}

OSR_TASK(draw_a_tree, void, unused)
{
    struct osr_group group;

    line_of_open = __LINE__ + 1;
    osr_group_open(&group, .name = "branch\t", .limit = 7);
    line_of_spawn = __LINE__ + 1;
    osr_spawn(&group, sleeps_for_the_tree, NULL, .name = "leaf");
    osr_yield();
    osr_group_cancel(&group, "autumn");
    osr_tree_format(tree, sizeof(tree));
    check_int(osr_tree_format(NULL, 0), strlen(tree));
    return osr_group_close(&group, 0) == 0 ? 0 : 1;
}

static void the_tree_shows_tasks_groups_scopes_waits_and_reasons(void **state)
{
    char expected[2048];

    (void)state;
    line_of_run = __LINE__ + 1;
    run_simulated(draw_a_tree, NULL, .name = "root");
    assert_checked();
    snprintf(expected, sizeof(expected),
             "task \"root\", spawned at %s:%d, runs\n"
             "  group \"branch\\x09\" with 1 running (at most 7), opened at %s:%d, cancelled by task \"root\" at %s:%d: autumn\n"
             "    task \"leaf\", spawned at %s:%d, waits in osr_sleep at %s:%d\n"
             "      shield, opened at %s:%d, due in 250.000 ms\n",
             __FILE__, line_of_run, __FILE__, line_of_open, __FILE__, line_of_spawn + 2, __FILE__, line_of_spawn, __FILE__, line_of_sleep,
             __FILE__, line_of_sleep - 2);
    assert_string_equal(tree, expected);
}

OSR_TASK(fail_at_once, void, unused) { return osr_fail(-EIO, "at once"); }

OSR_TASK(draw_a_group_with_failures, void, unused)
{
    struct osr_group group;

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, fail_at_once, NULL);
    osr_spawn(&group, fail_at_once, NULL);
    check_int(osr_yield(), 0);
    osr_tree_format(tree, sizeof(tree));
    return osr_group_close(&group, 0);
}

static void the_tree_counts_the_failures_of_a_group(void **state)
{
    (void)state;
    run_simulated(draw_a_group_with_failures, NULL);
    osr_error_clear();
    assert_checked();
    assert_non_null(strstr(tree, ", 2 failed\n"));
}

OSR_TASK(print_the_tree, FILE, stream)
{
    check_int(osr_tree_print(stream), 0);
    check_int(osr_tree_print(NULL), -EINVAL);
    return 0;
}

static void the_tree_can_be_printed(void **state)
{
    char text[256] = "";
    FILE *stream = fmemopen(text, sizeof(text), "w");

    (void)state;
    run_simulated(print_the_tree, stream);
    fclose(stream);
    assert_checked();
    assert_int_equal(strncmp(text, "task \"print_the_tree\", spawned at ", 34), 0);
    assert_string_equal(text + strlen(text) - 7, ", runs\n");
}

/* ---- Leaks --------------------------------------------------------------------------------------------- */

static char said[2048];

static void hear(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_SLOW)
        return; /* on a slow machine */
    check(kind == OSR_DIAGNOSIS_LEAK);
    strncat(said, text, sizeof(said) - strlen(said) - 1);
}

OSR_TASK(forget_a_listener, int, fd)
{
    struct osr_address address;
    int held;

    osr_address_ip(&address, "127.0.0.1", 0);
    *fd = osr_listen(&address, 0);
    check(*fd >= 0);
    osr_fail(-EIO, "kept");
    held = osr_leaks_report();
    check_int(held, 2);
    return 0;
}

static void what_is_left_open_is_named_with_its_place(void **state)
{
    int fd;

    (void)state;
    said[0] = '\0';
    assert_int_equal(osr_run(forget_a_listener, &fd, .debug = true, .diagnose = hear), 0);
    close(fd);
    assert_checked();
    assert_non_null(strstr(said, "is not closed"));
    assert_non_null(strstr(said, "test_run.c:"));
    assert_non_null(strstr(said, "error EIO of task \"forget_a_listener\", from tests/test_run.c:"));
}

OSR_TASK(close_everything, void, unused)
{
    struct osr_address address;
    int fd;

    osr_address_ip(&address, "127.0.0.1", 0);
    fd = osr_listen(&address, 0);
    check_int(osr_fd_close(fd), 0);
    check_int(osr_leaks_report(), 0);
    return 0;
}

static void who_closes_everything_is_told_of_nothing(void **state)
{
    (void)state;
    said[0] = '\0';
    assert_int_equal(osr_run(close_everything, NULL, .debug = true, .diagnose = hear), 0);
    assert_checked();
    assert_string_equal(said, "");
}

/* ---- Runs after runs, beside each other, and in children ----------------------------------------------- */

static struct osr_task stale;

OSR_TASK(keep_a_handle, void, unused)
{
    stale = osr_self();
    check_int(osr_task_state(stale), OSR_TASK_RUNNING);
    return 0;
}

OSR_TASK(use_the_handle, void, unused)
{
    osr_self();
    check_int(osr_task_state(stale), -ESTALE);
    check_int(osr_task_cancel(stale, NULL), -ESTALE);
    return 0;
}

static void a_handle_of_an_earlier_run_is_stale(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(keep_a_handle, NULL), 0);
    assert_int_equal(run_simulated(use_the_handle, NULL), 0);
    assert_checked();
    assert_int_equal(osr_task_state(stale), -EPERM);
}

struct neighbour {
    struct osr_task task;
    struct osr_scope *scope;
    struct osr_group *group;
    pthread_barrier_t *barrier;
    int wrong;
};

OSR_TASK(stand_still, struct neighbour, n)
{
    struct osr_scope scope;
    struct osr_group group;

    osr_scope_open(&scope);
    osr_group_open(&group);
    n->task = osr_self();
    n->scope = &scope;
    n->group = &group;
    pthread_barrier_wait(n->barrier);
    pthread_barrier_wait(n->barrier);
    osr_group_close(&group, 0);
    return osr_scope_close(&scope, osr_check());
}

OSR_TASK(reach_over, struct neighbour, n)
{
    pthread_barrier_wait(n->barrier);
    n->wrong += osr_task_cancel(n->task, NULL) != -EPERM;
    n->wrong += osr_task_join(n->task) != -EPERM;
    n->wrong += osr_scope_cancel(n->scope, NULL) != -EPERM;
    n->wrong += osr_scope_close(n->scope, 0) != -EPERM;
    n->wrong += osr_group_close(n->group, 0) != -EPERM;
    n->wrong += osr_spawn(n->group, keep_a_handle, NULL) != -EPERM;
    pthread_barrier_wait(n->barrier);
    return 0;
}

static void *run_beside(void *arg)
{
    return (void *)(intptr_t)osr_run(reach_over, arg, .clock = OSR_CLOCK_SIMULATED);
}

static void tasks_of_another_threads_run_are_out_of_reach(void **state)
{
    pthread_barrier_t barrier;
    struct neighbour neighbour = {.barrier = &barrier};
    pthread_t thread;

    (void)state;
    pthread_barrier_init(&barrier, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, run_beside, &neighbour), 0);
    assert_int_equal(osr_run(stand_still, &neighbour, .clock = OSR_CLOCK_SIMULATED), 0);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(neighbour.wrong, 0);
}

OSR_TASK(tell_nothing, const char *, name)
{
    (void)name;
    return osr_sleep(osr_ms(1));
}

OSR_TASK(sleep_in_silence, void, unused)
{
    struct osr_task handles[20];
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 20; i++)
        osr_spawn(&group, tell_nothing, NULL, .handle = &handles[i]);
    for (i = 0; i < 20; i++)
        if (osr_task_join(handles[i]) != 0)
            return osr_fail(-EIO, "a task of another thread's");
    return osr_group_close(&group, 0);
}

static void *run_in_silence(void *arg)
{
    long wrong = 0;
    int i;

    (void)arg;
    for (i = 0; i < 50; i++)
        wrong += osr_run(sleep_in_silence, NULL, .clock = OSR_CLOCK_SIMULATED) != 0;
    osr_fail(-EIO, "left to the end of the thread");
    return (void *)wrong;
}

static void threads_may_each_have_runs_of_their_own(void **state)
{
    pthread_t threads[4];
    void *wrong;
    int i;

    (void)state;
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_silence, NULL), 0);
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

OSR_TASK(fork_a_child, void, unused)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        bool refused = osr_sleep(1) == -EPERM && osr_yield() == -EPERM && osr_self().id_ == 0;
        int rc = osr_run(sleep_in_silence, NULL, .clock = OSR_CLOCK_SIMULATED);

        leave_child(refused && rc == 0 ? 0 : 1);
    }
    check_int(waitpid(pid, &status, 0), pid);
    check_int(status, 0);
    return 0;
}

static void in_a_forked_child_every_call_is_refused_until_a_run_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(fork_a_child, NULL), 0);
    assert_checked();
}

OSR_TASK(fork_and_return, void, unused)
{
    if (fork() == 0)
        return 0;
    wait(NULL);
    return 0;
}

OSR_TASK(spawn_one_who_forks_and_returns, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, fork_and_return, NULL), 0);
    return osr_group_close(&group, 0);
}

static void have_a_task_return_in_a_child(void)
{
    osr_run(spawn_one_who_forks_and_returns, NULL);
    raise(SIGKILL);
}

static void return_in_a_child(void)
{
    osr_run(fork_and_return, NULL);
    raise(SIGKILL); /* the parent's own end, so that the text alone tells */
}

static int fork_in_a_cleanup(void *unused)
{
    (void)unused;
    if (fork() > 0)
        wait(NULL);
    return 0;
}

OSR_TASK(clean_up_in_a_child, bool, in_scope)
{
    struct osr_scope scope;

    if (*in_scope)
        osr_scope_open(&scope);
    check_int(osr_defer_unlimited(NULL, fork_in_a_cleanup, NULL), 0);
    return *in_scope ? osr_scope_close(&scope, 0) : 0;
}

static void have_a_cleanup_return_in_a_child(void)
{
    osr_run(clean_up_in_a_child, (bool[]){true});
    raise(SIGKILL);
}

static void have_the_tasks_own_cleanup_return_in_a_child(void)
{
    osr_run(clean_up_in_a_child, (bool[]){false});
    raise(SIGKILL);
}

static void a_task_that_returns_in_a_forked_child_stops_it(void **state)
{
    (void)state;
    assert_dies(have_a_cleanup_return_in_a_child, SIGKILL, "a clean-up, deferred at tests/test_run.c:");
    assert_dies(have_the_tasks_own_cleanup_return_in_a_child, SIGKILL, "a clean-up, deferred at tests/test_run.c:");
    assert_dies(return_in_a_child, SIGKILL, "returned in a forked child");
    assert_dies(have_a_task_return_in_a_child, SIGKILL, "\"fork_and_return\", spawned at ");
}

/* ---- Versions and codes -------------------------------------------------------------------------------- */

static void codes_have_symbols_and_texts(void **state)
{
    (void)state;
    assert_string_equal(osr_strcode(-OSR_EGROUP), "OSR_EGROUP");
    assert_string_equal(osr_strcode(OSR_EDEADLOCK), "OSR_EDEADLOCK");
    assert_string_equal(osr_strcode(-ECONNREFUSED), "ECONNREFUSED");
    assert_string_equal(osr_strcode(0), "0");
    assert_string_equal(osr_strcode(4000), "?");
    assert_string_equal(osr_strcode(INT32_MIN), "?");
    assert_string_equal(osr_strerror(-ENOENT), strerror(ENOENT));
    assert_string_equal(osr_strerror(OSR_ECLOSED), "Already closed");
    assert_string_equal(osr_strerror(99999), "Unknown error");
    assert_string_equal(osr_version(), OSR_VERSION);
}

/* ---- How often the loop looks -------------------------------------------------------------------------- */

struct looks {
    long looks, steps, most;
    bool counting;
};

/* In simulated time the loop polls at every look, if anything is watched. */
static unsigned note_look(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct looks *looks = arg;

    (void)n;
    if (looks->counting && kind == OSR_CHOICE_FAULT && strcmp(what, "poll") == 0) {
        if (looks->looks++ > 0 && looks->steps > looks->most)
            looks->most = looks->steps;
        looks->steps = 0;
    }
    return 0;
}

static void note_step(void *arg, const struct osr_trace_event *event)
{
    ((struct looks *)arg)->steps += event->kind == OSR_TRACE_STEP;
}

OSR_TASK(watch_until_cut, int, fd) { return osr_fd_readable(*fd); }

OSR_TASK(yield_a_thousand_times, void, unused)
{
    int i, rc = 0;

    for (i = 0; i < 1000 && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

OSR_TASK(keep_the_loop_waiting, struct looks, looks)
{
    struct osr_group group, busy;
    int fds[2], i, rc;

    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    osr_group_open(&group);
    osr_spawn(&group, watch_until_cut, &fds[0]);
    osr_sleep(1);
    looks->counting = true;
    osr_group_open(&busy);
    for (i = 0; i < 3; i++)
        osr_spawn(&busy, yield_a_thousand_times, NULL);
    rc = osr_group_close(&busy, 0);
    looks->counting = false;
    osr_group_cancel(&group, NULL);
    rc = osr_group_close(&group, rc);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc;
}

static void the_loop_looks_after_256_steps(void **state)
{
    struct looks looks = {0};

    (void)state;
    assert_int_equal(run_simulated(keep_the_loop_waiting, &looks, .choose = note_look, .choose_arg = &looks,
                                   .observe = note_step, .observe_arg = &looks),
                     0);
    assert_checked();
    assert_true(looks.looks > 5);
    assert_int_equal(looks.most, 256);
}

/* ---- What a debug run says at its end ------------------------------------------------------------------ */

static void note_leak(void *arg, enum osr_diagnosis kind, const char *text)
{
    if (kind == OSR_DIAGNOSIS_LEAK)
        snprintf(arg, 256, "%s", text);
}

OSR_TASK(leave_a_listener_open, int, fd)
{
    struct osr_address address;

    osr_address_ip(&address, "127.0.0.1", 0);
    *fd = osr_listen(&address, 0);
    return *fd < 0 ? *fd : 0;
}

static void a_debug_run_names_at_its_end_the_descriptors_left_open(void **state)
{
    char text[256] = "", expected[64];
    int fd = -1;

    (void)state;
    assert_int_equal(run_simulated(leave_a_listener_open, &fd, .diagnose = note_leak, .diagnose_arg = text), 0);
    snprintf(expected, sizeof(expected), "descriptor %d, made at ", fd);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "test_run.c:"));
    close(fd);
    text[0] = '\0';
    assert_int_equal(osr_run(leave_a_listener_open, &fd, .clock = OSR_CLOCK_SIMULATED, .diagnose = note_leak,
                             .diagnose_arg = text),
                     0);
    assert_string_equal(text, "");
    close(fd);
}

OSR_TASK(show_a_limit_that_has_passed, void, unused)
{
    struct osr_scope limit;
    char text[1024];

    osr_timeout_open(&limit, -osr_ms(5));
    osr_tree_format(text, sizeof(text));
    check(strstr(text, "overdue") != NULL);
    check_int(osr_scope_set_deadline(&limit, osr_now()), 0);
    osr_tree_format(text, sizeof(text));
    check(strstr(text, "due in 0.000 ms") != NULL);
    check_int(osr_scope_set_deadline(&limit, osr_ms(5)), 0);
    osr_tree_format(text, sizeof(text));
    check(strstr(text, "due in 5.000 ms") != NULL);
    return osr_scope_close(&limit, 0);
}

static void the_tree_says_that_a_limit_has_passed(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(show_a_limit_that_has_passed, NULL), 0);
    assert_checked();
}

/* ---- Descriptors under simulated time ------------------------------------------------------------------ */

static void *write_a_byte_later(void *arg)
{
    const int *fd = arg;

    usleep(20000);
    return write(*fd, "x", 1) == 1 ? NULL : arg;
}

OSR_TASK(wait_for_nothing_but_a_byte, int, ends)
{
    pthread_t thread;
    void *failed;
    char byte;

    check_int(pthread_create(&thread, NULL, write_a_byte_later, &ends[1]), 0);
    check_int(osr_read(ends[0], &byte, 1), 1);
    check_int(osr_now(), 0);
    pthread_join(thread, &failed);
    check(!failed);
    return 0;
}

static void simulated_time_stands_still_while_only_a_descriptor_is_waited_for(void **state)
{
    int ends[2];

    (void)state;
    assert_return_code(pipe(ends), errno);
    assert_int_equal(run_simulated(wait_for_nothing_but_a_byte, ends), 0);
    assert_checked();
    close(ends[0]), close(ends[1]);
}

OSR_TASK(drain, int, fd)
{
    static char bytes[1 << 16];

    check_int(osr_sleep(osr_ms(1)), 0);
    check(osr_read(*fd, bytes, sizeof(bytes)) > 0);
    return 0;
}

OSR_TASK(fill_and_go_on, int, ends)
{
    static const char bytes[1 << 16];
    struct osr_group group;

    while (write(ends[1], bytes, sizeof(bytes)) > 0)
        ;
    osr_group_open(&group);
    osr_spawn(&group, drain, &ends[0]);
    check_int(osr_now(), 0);
    check(osr_write(ends[1], bytes, 1) == 1);
    check_int(osr_now(), osr_ms(1));
    return osr_group_close(&group, 0);
}

static void a_full_descriptor_is_waited_for_under_simulated_time(void **state)
{
    int ends[2];

    (void)state;
    assert_return_code(pipe2(ends, O_NONBLOCK), errno);
    assert_int_equal(run_simulated(fill_and_go_on, ends), 0);
    assert_checked();
    close(ends[0]), close(ends[1]);
}

/* ---- Equal times in any order -------------------------------------------------------------------------- */

struct turn {
    int64_t until;
    const char *name;
};

OSR_TASK(take_a_turn, struct turn, turn)
{
    int rc = osr_sleep_until(turn->until);

    tell("%s", turn->name);
    return rc;
}

OSR_TASK(take_turns, void, unused)
{
    static struct turn turns[] = {{1, "1"}, {1, "2"}, {1, "3"}, {1, "4"}, {1, "5"}, {1, "6"}, {2, "later"}};
    struct osr_group group;
    size_t i;

    osr_group_open(&group);
    for (i = 0; i < sizeof(turns) / sizeof(turns[0]); i++)
        osr_spawn(&group, take_a_turn, &turns[i]);
    return osr_group_close(&group, 0);
}

/* The first, then always the last. */
static unsigned first_then_last(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    int *asked = arg;

    (void)what;
    return kind == OSR_CHOICE_DEADLINE && ++*asked > 1 ? n - 1 : 0;
}

static void equal_times_are_counted_in_the_order_in_which_they_were_set(void **state)
{
    int asked = 0;

    (void)state;
    assert_int_equal(run_simulated(take_turns, NULL, .choose = first_then_last, .choose_arg = &asked), 0);
    assert_story("1\n6\n5\n4\n3\n2\nlater\n");
    assert_int_equal(asked, 5);
}

/* ---- Outside --------------------------------------------------------------------------------------------- */

static void outside_a_run_the_clock_is_the_systems(void **state)
{
    struct timespec before, after;
    int64_t now;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &before);
    now = osr_now();
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(now >= before.tv_sec * 1000000000 + before.tv_nsec);
    assert_true(now <= after.tv_sec * 1000000000 + after.tv_nsec);
}

struct report {
    char text[1024];
};

static void note_report(void *arg, enum osr_diagnosis kind, const char *text)
{
    struct report *report = arg;

    if (kind == OSR_DIAGNOSIS_LEAK)
        strncat(report->text, text, sizeof(report->text) - strlen(report->text) - 1);
}

OSR_TASK(keep_outcomes, struct report, report)
{
    struct osr_task handles[3];
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 3; i++)
        osr_spawn(&group, tell_nothing, NULL, .handle = &handles[i]);
    check(osr_self().id_ != 0); /* which keeps no outcome */
    check_int(osr_leaks_report(), 0);
    check_int(osr_sleep(osr_ms(2)), 0);
    osr_task_release(&handles[1]);
    check_int(osr_leaks_report(), 2);
    check(strstr(report->text, "is kept for a handle that nobody has released") != NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_leaks_report(), 0);
    return 0;
}

static void outcomes_that_are_kept_for_handles_are_reported(void **state)
{
    struct report report = {""};

    (void)state;
    assert_int_equal(run_simulated(keep_outcomes, &report, .diagnose = note_report, .diagnose_arg = &report), 0);
    assert_checked();
}

/* ---- One of two descriptors ---------------------------------------------------------------------------- */

struct two_pipes {
    int silent[2], busy[2];
    bool short_of_memory;
};

OSR_TASK(read_a_byte, int, fd)
{
    char byte = 0;
    int rc = (int)osr_read(*fd, &byte, 1);

    tell("%d '%c'", rc, byte);
    return 0;
}

OSR_TASK(write_to_one_and_then_the_other, struct two_pipes, pipes)
{
    struct osr_group group;

    check_int(osr_sleep(osr_ms(1)), 0); /* makes room for the timer of the next */
    osr_group_open(&group);
    osr_spawn(&group, read_a_byte, &pipes->silent[0]);
    osr_spawn(&group, read_a_byte, &pipes->busy[0]);
    osr_yield();
    counting.fail_at = pipes->short_of_memory ? counting.made + 1 : 0;
    counting.all_after = true;
    check(write(pipes->busy[1], "b", 1) == 1);
    check_int(osr_sleep(osr_ms(1)), 0);
    check(counting.made >= counting.fail_at);
    tell("later");
    counting.fail_at = 0;
    check(write(pipes->silent[1], "s", 1) == 1);
    return osr_group_close(&group, 0);
}

/* Each reader asks about its own descriptor first; when the loop then asks about both, the system cannot tell. */
static unsigned fail_the_loops_first_poll(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    int *asked = arg;

    (void)n;
    return kind == OSR_CHOICE_FAULT && strcmp(what, "poll") == 0 && ++*asked == 3;
}

static void tell_of_two_pipes(bool short_of_memory, osr_choose *choose)
{
    struct two_pipes pipes = {.short_of_memory = short_of_memory};
    int asked = 0;

    assert_return_code(pipe(pipes.silent), errno);
    assert_return_code(pipe(pipes.busy), errno);
    assert_int_equal(run_simulated(write_to_one_and_then_the_other, &pipes, .allocator = &counting_allocator,
                                   .choose = choose, .choose_arg = &asked),
                     0);
    assert_checked();
    assert_true(asked > 3 || !choose);
    assert_story("1 'b'\nlater\n1 's'\n");
    close(pipes.silent[0]), close(pipes.silent[1]), close(pipes.busy[0]), close(pipes.busy[1]);
}

static void only_what_is_ready_is_told_under_simulated_time(void **state)
{
    (void)state;
    tell_of_two_pipes(false, NULL);
    tell_of_two_pipes(true, NULL); /* there is no room to ask about all at once */
    tell_of_two_pipes(false, fail_the_loops_first_poll);
}

/* ---- The end of the program ---------------------------------------------------------------------------- */

OSR_TASK(end_the_program, void, unused)
{
    osr_fail(-EIO, "nobody asks any more");
    exit(0);
}

static void run_to_the_programs_end(void)
{
    osr_run(end_the_program, NULL);
    leave_child(1);
}

static void a_task_may_end_the_program(void **state)
{
    (void)state;
    if (under_tools())
        skip(); /* they would call leaks what the runner of the tests still holds */
    assert_child_succeeds(run_to_the_programs_end);
}

/* ---- For test kits ------------------------------------------------------------------------------------- */

OSR_TASK(settle_in_real_time, void, unused)
{
    check_int(osr_settle(), -ENOTSUP);
    check_int(osr_error_code(osr_error_last()), -ENOTSUP);
    check_int(osr_jobs_allow(1), -ENOTSUP);
    return 0;
}

static void settling_and_holding_jobs_are_for_simulated_time(void **state OSR_MAYBE_UNUSED_)
{
    assert_int_equal(osr_jobs_allow(1), -EPERM);
    assert_int_equal(osr_settle(), -EPERM);
    assert_int_equal(osr_run(settle_in_real_time, NULL, .debug = true), 0);
    assert_checked();
}

SIMULATED_TEST(settling_is_a_cancellation_point)
{
    struct osr_scope scope;

    osr_move_on_open(&scope, OSR_NEVER);
    osr_scope_cancel(&scope, "enough");
    check_int(osr_settle(), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), 0);
    return 0;
}

SIMULATED_TEST(the_tree_shows_a_limit_of_one)
{
    struct osr_group group;
    char text[1024];

    osr_group_open(&group, .limit = 1);
    osr_tree_format(text, sizeof(text));
    check(strstr(text, "group with 0 running (at most 1), opened at ") != NULL);
    return osr_group_close(&group, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(settling_and_holding_jobs_are_for_simulated_time),
        story_test(settling_is_a_cancellation_point),
        story_test(the_trace_tells_what_tasks_and_scopes_do),
        story_test(the_same_choices_give_the_same_trace),
        story_test(the_door_decides_who_runs_next),
        story_test(the_door_decides_which_of_equal_times_comes_first),
        story_test(an_answer_out_of_range_counts_as_the_first),
        story_test(the_door_decides_which_ready_descriptor_is_told_first),
        story_test(descriptors_work_with_both_clocks),
        story_test(simulated_time_begins_at_zero_and_jumps),
        story_test(simulated_time_stands_still_while_descriptors_are_ready),
        story_test(where_cheap_guards_are_missing_pages_are_protected),
        story_test(a_spawn_that_hits_the_limit_on_mappings_names_it),
        story_test(stacks_can_be_made_larger),
        story_test(memory_of_stacks_goes_back_after_a_burst),
        story_test(the_tree_shows_tasks_groups_scopes_waits_and_reasons),
        story_test(the_tree_can_be_printed),
        story_test(the_tree_counts_the_failures_of_a_group),
        story_test(what_is_left_open_is_named_with_its_place),
        story_test(who_closes_everything_is_told_of_nothing),
        story_test(a_handle_of_an_earlier_run_is_stale),
        story_test(tasks_of_another_threads_run_are_out_of_reach),
        story_test(threads_may_each_have_runs_of_their_own),
        story_test(in_a_forked_child_every_call_is_refused_until_a_run_of_its_own),
        story_test(a_task_that_returns_in_a_forked_child_stops_it),
        story_test(codes_have_symbols_and_texts),
        story_test(the_loop_looks_after_256_steps),
        story_test(a_debug_run_names_at_its_end_the_descriptors_left_open),
        story_test(the_tree_says_that_a_limit_has_passed),
        story_test(simulated_time_stands_still_while_only_a_descriptor_is_waited_for),
        story_test(a_full_descriptor_is_waited_for_under_simulated_time),
        story_test(equal_times_are_counted_in_the_order_in_which_they_were_set),
        story_test(outside_a_run_the_clock_is_the_systems),
        story_test(outcomes_that_are_kept_for_handles_are_reported),
        story_test(only_what_is_ready_is_told_under_simulated_time),
        story_test(a_task_may_end_the_program),
        story_test(the_tree_shows_a_limit_of_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
