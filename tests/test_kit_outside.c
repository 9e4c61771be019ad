/* The test kit and what is outside of a run (osier/test.h): the world that it waits for, the process that it is in, the
 * builds that its tokens come from; and the names that a story gives to all that. */
#include "told.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <osier/test.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static struct world {
    const char *fault; /* which one is in */
    int runs;          /* that have begun */
} world;

static bool has(const char *fault)
{
    return world.fault && strcmp(world.fault, fault) == 0;
}

static void begin(void *arg)
{
    (void)arg;
    world.runs++;
}

static void with(const char *fault)
{
    world = (struct world){.fault = fault};
    told[0] = '\0';
}

#define KIT_TEST(name, task, ...) OSR_TEST(name, task, &world, .begin = begin, .tell = note __VA_OPT__(,) __VA_ARGS__)
/* One that dies in a child process, and tells it to standard error. */
#define DEATH_TEST(name, task, ...) OSR_TEST(name, task, &world, .begin = begin, .quiet = true __VA_OPT__(,) __VA_ARGS__)

/* ---- Tokens of other builds ---------------------------------------------------------------------------- */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"

/* One program, compiled at three places. */
OSR_TASK(built_here, struct world, w)
{
    (void)w;
# 7 "/home/you/program/sleeper.c"
    return osr_sleep(osr_ms(1)) < 0 ? osr_test_fail("cut"), -ECANCELED : 0;
}

OSR_TASK(built_there, struct world, w)
{
    (void)w;
# 7 "../program/sleeper.c"
    return osr_sleep(osr_ms(1)) < 0 ? osr_test_fail("cut"), -ECANCELED : 0;
}

OSR_TASK(changed, struct world, w)
{
    (void)w;
# 8 "../program/sleeper.c"
    return osr_sleep(osr_ms(1)) < 0 ? osr_test_fail("cut"), -ECANCELED : 0;
}
# 92 "tests/test_kit_outside.c"

#pragma GCC diagnostic pop

TEST(a_token_goes_with_the_file_wherever_that_is_compiled)
{
    const struct osr_test here = KIT_TEST("sleeper", built_here), there = KIT_TEST("sleeper", built_there);
    const struct osr_test other = KIT_TEST("sleeper", changed);
    char token[64];

    with(NULL);
    assert_int_equal(osr_test_sweep(&here), 1);
    snprintf(token, sizeof(token), "%s", osr_test_token());
    assert_non_null(strstr(token, "sleeper:C1=1/3."));
    assert_int_equal(osr_test_replay(&there, token), 1);
    assert_string_equal(osr_test_token(), token);
    assert_not_told("has parted");
    assert_int_equal(osr_test_replay(&other, token), 0);
    assert_told("the program has parted from the token at C1");
}

/* A name is one, whatever is in it. */
OSR_TASK(chooses_paths, struct world, w)
{
    (void)w;
    osr_test_check(osr_test_choose(2, has("moved") ? "/var/tmp" : "/tmp") == 0);
    return 0;
}

TEST(what_a_test_chooses_is_not_taken_for_a_place)
{
    const struct osr_test test = KIT_TEST("chooses", chooses_paths);
    char token[64];

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 1);
    snprintf(token, sizeof(token), "%s", osr_test_token());
    with("moved");
    assert_int_equal(osr_test_replay(&test, token), 0);
    assert_told("the program has parted from the token at T1");
}

/* ---- Points behind shields ----------------------------------------------------------------------------- */

static int says_goodbye(void)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open(&shield, osr_s(1));
    rc = osr_sleep(osr_ms(1));
    return osr_scope_close(&shield, rc);
}

static int unshields(void)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open(&shield, osr_s(1));
    osr_scope_unshield(&shield);
    rc = osr_sleep(osr_ms(1));
    return osr_scope_close(&shield, rc);
}

static int sleeps_before_it_says_goodbye(void)
{
    int rc = osr_sleep(osr_ms(1));

    return rc < 0 ? rc : says_goodbye();
}

OSR_TASK(has_points, struct world, w)
{
    struct osr_scope shield;
    int rc;

    (void)w;
    if (has("no point"))
        return osr_test_no_point(says_goodbye());
    if (has("a point"))
        return osr_test_point(says_goodbye());
    if (has("unshielded"))
        return osr_test_no_point(unshields());
    if (has("before"))
        return osr_test_point(sleeps_before_it_says_goodbye());
    osr_shield_open(&shield, osr_s(1)); /* by the caller, who asks about what is inside */
    rc = osr_test_point(osr_sleep(1));
    rc = rc == 0 ? osr_test_no_point(says_goodbye()) : rc;
    return osr_scope_close(&shield, rc);
}

TEST(a_point_that_no_cancellation_of_the_caller_reaches_is_none)
{
    const struct osr_test test = KIT_TEST("points", has_points);

    with("no point");
    assert_int_equal(osr_test_sweep(&test), 0);
    with("a point");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("says_goodbye() is no cancellation point\n");
    with("unshielded");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("unshields() is a cancellation point\n");
    with("before");
    assert_int_equal(osr_test_sweep(&test), 0);
    with("in a shield");
    assert_int_equal(osr_test_sweep(&test), 0);
}

OSR_TASK(counts_shields, struct world, w)
{
    struct osr_scope outer, inner, plain;

    (void)w;
    check_int(osr_shields(), 0);
    osr_shield_open(&outer, osr_s(1));
    check_int(osr_shields(), 1);
    osr_scope_open(&plain);
    osr_shield_open(&inner, osr_s(1));
    check_int(osr_shields(), 2);
    osr_scope_unshield(&inner);
    check_int(osr_shields(), 1);
    osr_scope_close(&inner, 0);
    osr_scope_close(&plain, 0);
    osr_scope_close(&outer, 0);
    check_int(osr_shields(), 0);
    return 0;
}

OSR_TASK(has_a_shielded_child, struct world, w)
{
    struct osr_scope shield;
    struct osr_group group;

    osr_shield_open(&shield, osr_s(1)); /* it is its spawner's, whoever feels it */
    osr_group_open(&group);
    osr_spawn(&group, counts_shields, w);
    return osr_scope_close(&shield, osr_group_close(&group, 0));
}

TEST(shields_are_counted_of_the_calling_task)
{
    assert_int_equal(osr_shields(), 0);
    assert_int_equal(run_simulated(has_a_shielded_child, &world), 0);
    assert_checked();
}

/* ---- Runs that do not end ------------------------------------------------------------------------------ */

OSR_TASK(does_not_stop, struct world, w)
{
    unsigned refused = 0;
    int rc;

    (void)w;
    do {
        rc = osr_sleep(5);
        refused += rc < 0;
        if (has("stops in the end") && refused >= 20000)
            return rc;
    } while (rc < 0);
    return 0;
}

static void run_away(void)
{
    static const struct osr_test test = DEATH_TEST("runs", does_not_stop);

    with(NULL);
    osr_test_sweep(&test);
}

TEST(a_task_that_calls_on_and_on_when_it_is_cancelled_is_told)
{
    const struct osr_test test = KIT_TEST("runs", does_not_stop);

    assert_dies(run_away, SIGABRT, "\"runs\": the program is stopped\n  osier: task \"does_not_stop\" (spawned at ");
    assert_dies(run_away, SIGABRT, " goes on calling in a cancelled scope: 100000 calls refused in a row, the last at ");
    assert_dies(run_away, SIGABRT, "; there is no way out of it\n  in sweep, run ");
    assert_dies(run_away, SIGABRT, "again: OSR_REPLAY='osr1:runs:C1=1;");
    with("stops in the end");
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("\"runs\": a task does not stop when it is cancelled\n");
    assert_told(": 10000 calls refused in a row");
}

OSR_TASK(calls_for_ever, struct world, w)
{
    (void)w;
    if (has("a check"))
        osr_test_fail("look around");
    for (;;)
        if (osr_yield() < 0 && osr_test_choose(1, "nothing"))
            break;
    return 0;
}

static void run_on_after_a_check(void)
{
    static const struct osr_test test = DEATH_TEST("calls", calls_for_ever, .steps = 10);

    with("a check");
    osr_test_run(&test);
}

TEST(a_run_in_which_something_was_wrong_before_has_an_end_too)
{
    assert_dies(run_on_after_a_check, SIGABRT, "the run did not end when it was cancelled either; there is no way out of it; "
                                               "before that: look around\n");
}

/* ---- exit() -------------------------------------------------------------------------------------------- */

static void leave(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    if (has("after the run"))
        exit(3);
}

OSR_TASK(exits, struct world, w)
{
    pid_t child = has("in a child") ? fork() : -1;
    int status;

    (void)w;
    if (child == 0)
        exit(7);
    if (child > 0) {
        (void)!waitpid(child, &status, 0);
        return WIFEXITED(status) ? 0 : osr_fail(-EPROTO, "the child has died"); /* LeakSanitizer changes what it gives */
    }
    if (has("in a run") && osr_sleep(1) < 0) {
        printf("said before");
        exit(0);
    }
    return 0;
}

static void exit_in_a_run(void)
{
    static const struct osr_test test = DEATH_TEST("exits", exits);

    with("in a run");
    osr_test_sweep(&test);
}

static void exit_as_told(void)
{
    static const struct osr_test test = DEATH_TEST("exits", exits, .check = leave);

    (void)freopen("/dev/null", "w", stdout);
    osr_test_run(&test);
    (void)raise(SIGKILL);
}

TEST(a_program_that_exits_in_a_run_is_told)
{
    const struct osr_test test = KIT_TEST("exits", exits);
    pid_t child;
    int status;

    assert_dies(exit_in_a_run, SIGABRT, "\"exits\": the program is stopped\n  exit() is called while the run is on\n"
                                        "  in sweep, run ");
    assert_dies(exit_in_a_run, SIGABRT, "again: OSR_REPLAY='osr1:exits:C1=1;");
    with("in a child"); /* whose end is its own */
    assert_int_equal(osr_test_run(&test), 0);
    assert_not_told("the root failed");
    with("after the run");
    child = fork();
    if (child == 0)
        exit_as_told();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
}

/* ---- Waiting for the world ----------------------------------------------------------------------------- */

static int64_t real_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return osr_s(now.tv_sec) + now.tv_nsec;
}

OSR_TASK(reads_one, int, fd)
{
    char byte;
    int rc = osr_read(*fd, &byte, 1);

    return rc < 0 ? rc : 0;
}


OSR_TASK(job, void, unused)
{
    return 0;
}

OSR_TASK(offloads, void, unused)
{
    return osr_offload(job, NULL);
}

/* Two ends, at both of which somebody waits for the other to begin. */
OSR_TASK(listens_only, struct world, w)
{
    struct osr_group group;
    int fds[2], ends[2], rc = osr_test_streams(fds);

    (void)w;
    if (rc < 0)
        return rc;
    ends[0] = fds[0];
    ends[1] = has("a copy") ? fcntl(fds[1], F_DUPFD_CLOEXEC, 3) : fds[1];
    osr_group_open(&group);
    if (has("a job")) {
        osr_test_hold_jobs();
        osr_spawn(&group, offloads, NULL);
    }
    osr_spawn(&group, reads_one, &ends[0]);
    osr_spawn(&group, reads_one, &ends[1]);
    rc = osr_group_close(&group, 0);
    if (ends[1] != fds[1])
        osr_fd_close(ends[1]);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc;
}

TEST(a_run_that_waits_only_for_its_own_streams_is_stuck_at_once)
{
    static const char *const ways[] = {"both", "a copy", "a job"};
    const struct osr_test test = KIT_TEST("listens", listens_only);
    const int64_t began = real_time();
    unsigned i;

    if (under_thread_sanitizer())
        skip(); /* it has a thread of its own */
    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        with(ways[i]);
        assert_int_equal(osr_test_run(&test), 1);
        assert_told("\"listens\": nothing could run any more\n  a deadlock: nothing can ever run again:\n");
        assert_told("waits in osr_read at tests/test_kit_outside.c:");
        assert_told("the run gave OSR_EDEADLOCK\n");
    }
    assert_true(real_time() - began < osr_s(9)); /* not for as long as it may wait for others */
}

/* Somebody outside who may write to a descriptor, after a moment. */
static void *writes_later(void *arg)
{
    usleep(30000);
    (void)!write(*(int *)arg, "x", 1);
    return NULL;
}

static pid_t forked(int fd, bool twice)
{
    pid_t child = fork();

    if (child == 0) {
        if (twice && fork() > 0)
            _exit(0);
        writes_later(&fd);
        _exit(0);
    }
    return child;
}

static pid_t spawned(int fd)
{
    char *const argv[] = {(char *)"sh", (char *)"-c", (char *)"sleep 0.03; echo x >&9", NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 9);
    check_int(posix_spawn(&child, "/bin/sh", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return child;
}

static bool is_with_a_thread(void)
{
    return has("a thread") || has("a pipe") || has("a socket");
}

static int two_ends(int fds[2])
{
    if (has("a pipe"))
        return pipe2(fds, O_CLOEXEC);
    return has("a socket") ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) : osr_test_streams(fds);
}

/* One end is waited for before somebody gets the other, so that each run is the same, however fast that one is. */
OSR_TASK(is_written_to, struct world, w)
{
    struct osr_group group;
    pthread_t thread;
    pid_t child = 0;
    int fds[2], rc = two_ends(fds);

    (void)w;
    if (rc < 0)
        return rc;
    osr_group_open(&group);
    osr_spawn(&group, reads_one, &fds[0]);
    osr_settle();
    if (is_with_a_thread())
        pthread_create(&thread, NULL, writes_later, &fds[1]);
    if (has("a child") || has("a stranger"))
        child = forked(fds[1], has("a stranger"));
    if (has("a program"))
        child = spawned(fds[1]);
    if (has("a stranger"))
        waitpid(child, NULL, 0);
    rc = osr_group_close(&group, 0);
    if (is_with_a_thread())
        pthread_join(thread, NULL);
    if (child > 0 && !has("a stranger"))
        waitpid(child, NULL, 0);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc;
}

TEST(what_somebody_outside_can_write_to_is_waited_for)
{
    static const char *const ways[] = {"a pipe", "a socket", "a thread", "a child", "a stranger", "a program"};
    const struct osr_test test = KIT_TEST("written", is_written_to, .patience = 30000);
    unsigned i;

    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        with(ways[i]);
        if (osr_test_run(&test) != 0)
            fail_msg("by %s: %s", ways[i], told);
        assert_not_told("the root failed");
    }
}

OSR_TASK(waits_for_a_signal, void, unused)
{
    struct osr_signals signals;
    int rc = osr_signals_open(&signals, SIGUSR1), close;

    rc = rc == 0 ? osr_signal_wait(&signals, NULL) : rc;
    close = osr_signals_close(&signals);
    return rc < 0 ? rc : close;
}

OSR_TASK(hangs, void, unused)
{
    pause();
    return 0;
}

OSR_TASK(waits_in_vain, struct world, w)
{
    struct osr_group group;
    struct osr_scope limit;
    int streams[2], one[2], other[2], rc = pipe2(one, O_CLOEXEC | O_NONBLOCK) | pipe2(other, O_CLOEXEC | O_NONBLOCK);

    (void)w;
    if (rc < 0)
        return -errno;
    osr_group_open(&group);
    osr_timeout_open(&limit, has("a worker") ? osr_s(3600) : OSR_NEVER); /* the clock goes slowly while that works */
    (void)osr_test_choose(2, "nothing");
    if (has("a signal"))
        rc = waits_for_a_signal.routine_.run(NULL);
    if (has("a worker"))
        rc = osr_worker(hangs, NULL);
    rc = osr_scope_close(&limit, rc);
    if (has("one")) { /* which is no longer waited for, though it is still looked at */
        osr_move_on_open(&limit, osr_ms(1));
        rc = osr_scope_close(&limit, reads_one.routine_.run(&other[0]));
    }
    if (has("two") || has("one"))
        osr_spawn(&group, reads_one, &one[0]);
    if (has("two"))
        osr_spawn(&group, reads_one, &other[0]);
    if (has("one")) {
        (void)osr_test_streams(streams);
        osr_spawn(&group, reads_one, &streams[0]); /* which is no reason to give up */
    }
    rc = osr_group_close(&group, rc);
    if (has("one")) {
        osr_fd_close(streams[0]);
        osr_fd_close(streams[1]);
    }
    osr_fd_close(one[0]);
    osr_fd_close(one[1]);
    osr_fd_close(other[0]);
    osr_fd_close(other[1]);
    return rc;
}

static void begin_badly(void *arg)
{
    begin(arg);
    osr_test_fail("wrong before it runs");
}

TEST(a_run_that_waits_for_the_world_in_vain_is_told)
{
    struct osr_test found_early = OSR_TEST("early", waits_in_vain, &world, .begin = begin_badly, .tell = note);
    const struct osr_test test = KIT_TEST("waits", waits_in_vain, .patience = 60);
    char expected[256], *at;
    int fd = dup(2);

    close(fd); /* that is what the first one will be */
    with("one");
    assert_int_equal(osr_test_random(&test, 10, 1), 1);
    snprintf(expected, sizeof(expected), "\"waits\": the run waits for the world outside\n"
             "  after 0.060 s of real time it still waits for the outside world: descriptor %d at tests/test_kit_outside.c:", fd);
    assert_told(expected);
    assert_told("waits in osr_read at tests/test_kit_outside.c:");
    assert_told("again: OSR_REPLAY='osr1:waits:");
    assert_int_equal(world.runs, 2); /* each of which takes long */
    assert_not_told("shrunk"); /* which would take long */
    if (!under_thread_sanitizer()) /* which could write to the stream, with a thread of its own */
        assert_not_told(", descriptor ");
    assert_told("      when that was given up, at 0.001000 s:\n        task 1 \"waits_in_vain\" waits in osr_group_close at ");
    with("two");
    assert_int_equal(osr_test_run(&test), 1);
    at = strstr(told, expected);
    assert_non_null(at);
    snprintf(expected, sizeof(expected), ", descriptor %d at tests/test_kit_outside.c:", fd + 2);
    assert_told(expected);
    with("a signal");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told(": a signal, a post, a thread or a worker\n");
    with("a worker");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told(": a signal, a post, a thread or a worker\n");
    with(NULL);
    assert_int_equal(osr_test_run(&test), 0);
    with("one"); /* and something was wrong before */
    found_early.patience = 60;
    assert_int_equal(osr_test_run(&found_early), 1);
    assert_told("  tests/test_kit_outside.c:");
    assert_told(": wrong before it runs\n");
    assert_not_told("descriptor");
}

/* A pipe that has the number of an end that was closed. */
OSR_TASK(waits_for_a_later_one, struct world, w)
{
    int fds[2], pipe[2], rc = osr_test_streams(fds);

    (void)w;
    if (rc < 0)
        return rc;
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    rc = pipe2(pipe, O_CLOEXEC | O_NONBLOCK);
    osr_test_check(rc == 0 && pipe[0] == fds[0]);
    rc = reads_one.routine_.run(&pipe[0]);
    osr_fd_close(pipe[0]);
    osr_fd_close(pipe[1]);
    return rc;
}

TEST(a_stream_is_known_by_more_than_its_number)
{
    const struct osr_test test = KIT_TEST("later", waits_for_a_later_one, .patience = 20);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("after 0.020 s of real time it still waits");
}

/* The world is waited for where it is not even allowed to be cancelled. */
OSR_TASK(waits_in_a_shield, struct world, w)
{
    struct osr_scope shield;
    int fds[2];

    (void)w;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    if (has("first without"))
        (void)reads_one.routine_.run(&fds[0]);
    osr_shield_open_unlimited(&shield);
    return osr_scope_close(&shield, reads_one.routine_.run(&fds[0]));
}

static void wait_in_a_shield(void)
{
    static const struct osr_test test = DEATH_TEST("shielded", waits_in_a_shield, .patience = 20);

    osr_test_run(&test);
}

TEST(a_run_that_waits_in_vain_behind_a_shield_stops)
{
    with("first without");
    assert_dies(wait_in_a_shield, SIGABRT, "osier: nothing can ever run again, and cancelling has not helped:");
    with("at once");
    assert_dies(wait_in_a_shield, SIGABRT, "osier: nothing can ever run again, and cancelling has not helped:");
    assert_dies(wait_in_a_shield, SIGABRT, "again: OSR_REPLAY='osr1:shielded:;");
}

/* ---- The door for that --------------------------------------------------------------------------------- */

static struct {
    int asked, fd;
    const char *where;
    int64_t waited;
} door;

static int64_t twice(void *arg, int fd, const char *where, int64_t waited)
{
    (void)arg;
    door.asked++;
    door.fd = fd;
    door.where = where;
    door.waited = waited;
    return door.asked < 3 ? osr_ms(20) : 0;
}

OSR_TASK(reads_what_never_comes, int, fd)
{
    char byte;
    int rc = osr_sleep(osr_s(5)); /* for which nobody outside is waited for */

    check_int(door.asked, 0);
    rc = rc == 0 ? osr_read_here(*fd, &byte, 1, "a place") : rc;
    return rc;
}

TEST(how_long_a_simulated_run_waits_can_be_said_from_outside)
{
    int64_t began = real_time();
    int fds[2];

    memset(&door, 0, sizeof(door));
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(run_simulated(reads_what_never_comes, &fds[0], .patience = twice), -OSR_EDEADLOCK);
    assert_checked();
    assert_int_equal(door.asked, 3);
    assert_int_equal(door.fd, fds[0]);
    assert_string_equal(door.where, "a place");
    assert_true(door.waited >= osr_ms(40) && real_time() - began >= osr_ms(40));
    close(fds[0]);
    close(fds[1]);
}

/* ---- Names in stories ---------------------------------------------------------------------------------- */

/* A call that has never waited has no name yet. */
OSR_TASK(is_cut_at_once, struct world, w)
{
    int rc = osr_check();

    (void)w;
    osr_test_check(rc == 0);
    return rc;
}

TEST(a_cancellation_before_a_call_without_a_name_is_told_by_its_place)
{
    const struct osr_test test = KIT_TEST("cut", is_cut_at_once);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told("C1, a cancellation: task 1 \"is_cut_at_once\" is cancelled before its call at tests/test_kit_outside.c:");
    assert_int_equal(osr_test_replay(&test, whole("cut:C1=2")), 1);
    assert_told("C1, a cancellation: the root task is cancelled before the call of task 1 \"is_cut_at_once\" at tests/");
}

/* In the fifth run and the next ones there is a call that no run that is looked at has made. */
OSR_TASK(sleeps_twice_seldom, struct world, w)
{
    int i, rc = 0;

    (void)w;
    if (osr_test_choose(5, "whether") < 4)
        return 0;
    for (i = 0; i < 2 && rc == 0; i++) {
        rc = osr_sleep(osr_ms(1));
        osr_test_check(i == 0 || rc == 0);
    }
    return rc;
}

TEST(the_run_that_fails_teaches_the_names_of_its_calls)
{
    const struct osr_test test = KIT_TEST("seldom", sleeps_twice_seldom, .cancels = true);

    with(NULL);
    assert_int_equal(osr_test_explore(&test), 1);
    assert_told("in explore, run 6 (");
    assert_told(" is about to call osr_sleep, and it is cancelled\n");
}

OSR_TASK(only_sleeps, struct world, w)
{
    (void)w;
    return osr_sleep(osr_ms(1));
}

OSR_TASK(may_not_be_cancelled, struct world, w)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, only_sleeps, w);
    (void)osr_group_close(&group, 0);
    osr_test_check(!osr_cancelled());
    return 0;
}

TEST(a_cancellation_of_the_root_is_told_with_the_call_that_it_comes_before)
{
    const struct osr_test test = KIT_TEST("rooted", may_not_be_cancelled);

    with(NULL);
    assert_int_equal(osr_test_sweep(&test), 1);
    assert_told(" is about to call osr_");
    assert_told(", and the root task is cancelled\n");
}

/* A read of a socket may fail in three ways. */
OSR_TASK(reads_at_once, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds), pick = has("the second") ? 2 : 1;
    char byte;

    (void)w;
    if (rc < 0)
        return rc;
    osr_test_order_fault(has("printer") ? "printer" : "recv", 0, (unsigned)pick);
    rc = osr_write(fds[1], "x", 1);
    rc = rc < 0 ? rc : osr_read(fds[0], &byte, 1);
    if (has("printer"))
        rc = osr_test_fault("printer", -OSR_ECLOSED);
    osr_test_check(rc >= 0);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return rc < 0 ? rc : 0;
}

TEST(a_fault_is_told_by_the_name_of_its_error)
{
    const struct osr_test test = KIT_TEST("reads", reads_at_once);

    with("the first");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("\"recv\" fails with ECONNRESET, error 1 of 3, as the test ordered\n");
    with("the second");
    setenv("OSR_TEST_QUESTIONS", "1", 1);
    assert_int_equal(osr_test_run(&test), 1);
    unsetenv("OSR_TEST_QUESTIONS");
    assert_told("\"recv\" fails with ETIMEDOUT, error 2 of 3, as the test ordered\n");
    assert_told("=2/4 recv (ECONNRESET, ETIMEDOUT, ENOMEM)\n");
    assert_told("=0/2 memory (ENOMEM)\n");
    with("printer");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told("\"printer\" fails with OSR_ECLOSED, error 1 of 1, as the test ordered\n");
}

/* Whoever asks the library's door by a program of its own finds the same names. */
static unsigned faults_seen, faults_with_names;

static unsigned look_at_names(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    const char *at = what + strlen(what) + 1;
    unsigned names = 1;

    (void)arg;
    if (kind != OSR_CHOICE_FAULT)
        return 0;
    faults_seen++;
    for (; *at; at++)
        names += *at == ',';
    faults_with_names += names == n - 1 && at[-1] >= 'A' && at[-1] <= 'Z';
    return 0;
}

OSR_TASK(works_a_little, void, unused)
{
    int fds[2], rc = osr_test_streams(fds);
    char byte;

    rc = rc < 0 ? rc : osr_write(fds[1], "x", 1);
    rc = rc < 0 ? rc : osr_read(fds[0], &byte, 1);
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    rc = rc < 0 ? rc : osr_offload(job, NULL);
    return rc < 0 ? rc : osr_worker(job, NULL);
}

TEST(each_question_for_a_fault_names_as_many_errors_as_there_are_answers)
{
    faults_seen = faults_with_names = 0;
    assert_int_equal(osr_run(works_a_little, NULL, .debug = true, .choose = look_at_names), 0);
    assert_true(faults_seen > 20);
    assert_int_equal(faults_seen, faults_with_names);
}

static char order[16];

OSR_TASK(adds, char, letter)
{
    strncat(order, letter, 1);
    return 0;
}

OSR_TASK(adds_in_turn, struct world, w)
{
    static char letters[] = "abcdef";
    struct osr_group group;
    int i, rc;

    (void)w;
    order[0] = '\0';
    osr_group_open(&group);
    for (i = 0; i < 6; i++)
        osr_spawn(&group, adds, &letters[i], .name = (const char[]){letters[i], '\0'});
    rc = osr_group_close(&group, 0);
    osr_test_check(order[0] == 'a');
    return rc;
}

TEST(who_goes_first_is_told_with_those_who_were_ready_before)
{
    const struct osr_test test = KIT_TEST("turns", adds_in_turn);

    with(NULL);
    assert_int_equal(osr_test_replay(&test, whole("turns:R1=1")), 1);
    assert_told("R1, a ready task: task 3 \"b\" runs before task 2 \"a\", which was ready first\n");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("turns:R1=2")), 1);
    assert_told("task 4 \"c\" runs before task 2 \"a\" and task 3 \"b\", which were ready first\n");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("turns:R1=3")), 1);
    assert_told("task 5 \"d\" runs before task 2 \"a\", task 3 \"b\" and task 4 \"c\", which were ready first\n");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("turns:R1=4")), 1);
    assert_told("task 6 \"e\" runs before task 2 \"a\", task 3 \"b\", task 4 \"c\" and 1 other, which were ready first\n");
    told[0] = '\0';
    assert_int_equal(osr_test_replay(&test, whole("turns:R1=5")), 1);
    assert_told("task 4 \"c\" and 2 others, which were ready first\n");
}

OSR_TASK(goes_on, struct world, w)
{
    int i, rc = osr_sleep(osr_ms(3));

    (void)w;
    for (i = 0; i < 5 && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

TEST(who_is_where_at_the_end_is_told_as_that)
{
    const struct osr_test test = KIT_TEST("goes", goes_on, .steps = 4);

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told(" of simulated time\n      when that was found, at 0.003000 s:\n        task 1 \"goes_on\" ");
}

static struct osr_event events[2];

OSR_TASK(waits_for_both, void, unused)
{
    int rc = osr_event_wait(&events[0]);

    return rc < 0 ? rc : osr_event_wait(&events[1]);
}

OSR_TASK(fails_between, struct world, w)
{
    struct osr_group group;

    (void)w;
    osr_event_init(&events[0]);
    osr_event_init(&events[1]);
    osr_group_open(&group);
    osr_spawn(&group, waits_for_both, NULL);
    osr_test_order_fault("printer", 0, 1);
    (void)osr_yield();
    (void)osr_test_fault("printer", -ENODEV);
    osr_event_set(&events[0]);
    (void)osr_yield();
    osr_test_order_fault("printer", 0, 1);
    (void)osr_test_fault("printer", -ENODEV);
    osr_test_fail("look around");
    return osr_group_close(&group, 0);
}

TEST(who_waits_elsewhere_at_the_same_moment_is_told_again)
{
    const struct osr_test test = KIT_TEST("between", fails_between);
    const char *at;

    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    at = strstr(told, "\"waits_for_both\" waits in osr_event_wait at ");
    assert_non_null(at);
    assert_non_null(strstr(at + 1, "\"waits_for_both\" waits in osr_event_wait at "));
}

OSR_TASK(leaves_a_stream, struct world, w)
{
    int fds[2], i, rc = 0, other = has("another") ? dup(2) : -1;

    (void)w, (void)other;
    for (i = 0; i < 20 && rc == 0; i++) { /* of which the last one counts */
        rc = osr_test_streams(fds);
        if (i < 19) {
            osr_fd_close(fds[0]);
            osr_fd_close(fds[1]);
        }
    }
    if (rc == 0)
        osr_fd_close(fds[1]);
    if (has("another"))
        osr_fd_close(fds[0]);
    return rc;
}

/* The number of the end that is left is not the lowest that is free. */
OSR_TASK(leaves_the_second_end, struct world, w)
{
    int fds[2], rc = osr_test_streams(fds);

    (void)w;
    return rc < 0 ? rc : osr_fd_close(fds[0]);
}

TEST(the_second_end_of_a_stream_that_is_left_is_told_too)
{
    const struct osr_test test = KIT_TEST("leaves", leaves_the_second_end);
    int first = dup(2), fd;

    close(first);
    with(NULL);
    assert_int_equal(osr_test_run(&test), 1);
    assert_told(", of the streams made at tests/test_kit_outside.c:");
    assert_int_equal(osr_test_run(&test), 1); /* which leaves another one, and does not take that for its own */
    for (fd = first; fd < first + 8; fd++)
        close(fd);
}

TEST(a_stream_that_is_left_is_told_with_its_place)
{
    const struct osr_test test = KIT_TEST("leaves", leaves_a_stream);
    int first = dup(2), fd;

    close(first);
    with("a stream");
    assert_int_equal(osr_test_run(&test), 1);
    assert_told(", of the streams made at tests/test_kit_outside.c:");
    assert_told(" is left open\n");
    for (fd = first; fd < first + 8; fd++)
        close(fd);
    with("another");
    assert_int_equal(osr_test_run(&test), 1);
    assert_not_told(", of the streams");
    for (fd = first; fd < first + 8; fd++)
        close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_token_goes_with_the_file_wherever_that_is_compiled),
        story_test(what_a_test_chooses_is_not_taken_for_a_place),
        story_test(a_point_that_no_cancellation_of_the_caller_reaches_is_none),
        story_test(shields_are_counted_of_the_calling_task),
        story_test(a_task_that_calls_on_and_on_when_it_is_cancelled_is_told),
        story_test(a_run_in_which_something_was_wrong_before_has_an_end_too),
        story_test(a_program_that_exits_in_a_run_is_told),
        story_test(a_run_that_waits_only_for_its_own_streams_is_stuck_at_once),
        story_test(what_somebody_outside_can_write_to_is_waited_for),
        story_test(a_run_that_waits_for_the_world_in_vain_is_told),
        story_test(a_stream_is_known_by_more_than_its_number),
        story_test(a_run_that_waits_in_vain_behind_a_shield_stops),
        story_test(how_long_a_simulated_run_waits_can_be_said_from_outside),
        story_test(a_cancellation_before_a_call_without_a_name_is_told_by_its_place),
        story_test(the_run_that_fails_teaches_the_names_of_its_calls),
        story_test(a_cancellation_of_the_root_is_told_with_the_call_that_it_comes_before),
        story_test(a_fault_is_told_by_the_name_of_its_error),
        story_test(each_question_for_a_fault_names_as_many_errors_as_there_are_answers),
        story_test(who_goes_first_is_told_with_those_who_were_ready_before),
        story_test(who_is_where_at_the_end_is_told_as_that),
        story_test(who_waits_elsewhere_at_the_same_moment_is_told_again),
        story_test(a_stream_that_is_left_is_told_with_its_place),
        story_test(the_second_end_of_a_stream_that_is_left_is_told_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
