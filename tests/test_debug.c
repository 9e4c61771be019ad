/*
 * What a run tells about itself: steps that took long, what was left open and by whom, and the timeline of OSR_TRACE.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- What the diagnostic hook hears --------------------------------------------------------------------- */

struct heard {
    char text[1 << 14];
    unsigned kinds; /* a bit for each */
};

static struct heard heard;

static void hear(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    heard.kinds |= 1u << kind;
    strncat(heard.text, text, sizeof(heard.text) - strlen(heard.text) - 1);
}

static int hear_nothing_yet(void **state)
{
    heard = (struct heard){.kinds = 0};
    return begin_test(state);
}

#define debug_test(function) cmocka_unit_test_setup(function, hear_nothing_yet)

static void assert_heard(const char *text)
{
    if (!strstr(heard.text, text))
        fail_msg("\"%s\" is not in:\n%s", text, heard.text);
}

static void assert_not_heard(const char *text)
{
    if (strstr(heard.text, text))
        fail_msg("\"%s\" is in:\n%s", text, heard.text);
}

/* ---- Slow steps ---------------------------------------------------------------------------------------- */

/* Keeps the thread, on the system's clock. */
static void compute_for(int64_t duration)
{
    struct timespec now;
    int64_t end = 0;

    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (end == 0)
            end = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + duration;
        if ((int64_t)now.tv_sec * 1000000000 + now.tv_nsec >= end)
            return;
    }
}

OSR_TASK(compute_and_return, int, ms)
{
    compute_for(osr_ms(*ms));
    return 0;
}

static const char *yields_at, *naps_at, *sleeps_at;

OSR_TASK(compute_and_yield, int, ms)
{
    compute_for(osr_ms(*ms));
    return (yields_at = OSR_HERE, osr_yield());
}

OSR_TASK(compute_and_nap, int, ms)
{
    compute_for(osr_ms(*ms));
    return (naps_at = OSR_HERE, osr_sleep(0));
}

OSR_TASK(compute_and_sleep, int, ms)
{
    compute_for(osr_ms(*ms));
    return (sleeps_at = OSR_HERE, osr_sleep(osr_ms(1))); /* one line, one place */
}

OSR_TASK(do_nothing, void, unused)
{
    return 0;
}

OSR_TASK(compute_and_spawn, int, ms)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    compute_for(osr_ms(*ms));
    rc = osr_spawn(&group, do_nothing, NULL, .eager = true);
    return osr_group_close(&group, rc);
}

OSR_TASK(be_slow_in_every_way, int, ms)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, compute_and_return, ms);
    if (rc == 0)
        rc = osr_spawn(&group, compute_and_yield, ms, .name = "the yielder");
    if (rc == 0)
        rc = osr_spawn(&group, compute_and_nap, ms);
    if (rc == 0)
        rc = osr_spawn(&group, compute_and_sleep, ms);
    if (rc == 0)
        rc = osr_spawn(&group, compute_and_spawn, ms);
    return osr_group_close(&group, rc);
}

/* The line about a task, cut at its end. */
static void find_line(const char *task, char *line, size_t size)
{
    const char *at = strstr(heard.text, task);

    snprintf(line, size, "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
}

static void assert_left(const char *task, const char *how)
{
    char line[512];

    find_line(task, line, sizeof(line));
    if (!strstr(line, " ms without letting others run, until it ") || !strstr(line, "spawned at tests/test_debug.c:") ||
        !strstr(line, how))
        fail_msg("\"%s\" is not told as \"%s\" in:\n%s", task, how, heard.text);
}

TEST(a_step_that_takes_long_is_told_with_the_way_in_which_it_ended)
{
    char where[128];
    int ms = 3;

    assert_int_equal(osr_run(be_slow_in_every_way, &ms, .slow_step = osr_ms(2), .diagnose = hear), 0);
    assert_int_equal(heard.kinds, 1u << OSR_DIAGNOSIS_SLOW);
    assert_left("task \"compute_and_return\"", "returned");
    snprintf(where, sizeof(where), "let others run at %s", yields_at);
    assert_left("task \"the yielder\"", where);
    snprintf(where, sizeof(where), "let others run at %s", naps_at);
    assert_left("task \"compute_and_nap\"", where);
    snprintf(where, sizeof(where), "waited in osr_sleep at %s", sleeps_at);
    assert_left("task \"compute_and_sleep\"", where);
    assert_left("task \"compute_and_spawn\"", "spawned eagerly at tests/test_debug.c:");
}

OSR_TASK(compute_in_many_steps, int, steps)
{
    int rc = 0;

    for (; *steps > 0 && rc == 0; (*steps)--) {
        compute_for(osr_ms(10));
        rc = osr_sleep(osr_ms(1));
    }
    return rc < 0 ? rc : osr_sleep(osr_ms(250));
}

TEST(neither_waiting_nor_the_steps_before_count_for_a_step)
{
    int steps, tries = 0;

    /* The limit is far above what one step takes, unless the machine is busy otherwise, and below what they take together,
     * or the last with its wait. */
    do {
        steps = 25;
        heard.text[0] = '\0';
        assert_int_equal(osr_run(compute_in_many_steps, &steps, .slow_step = osr_ms(200), .diagnose = hear), 0);
        assert_int_equal(steps, 0);
    } while (heard.text[0] && ++tries < 5);
    assert_string_equal(heard.text, "");
}

TEST(a_debug_run_tells_of_steps_of_100_ms_and_others_of_none)
{
    int ms = 110;

    assert_int_equal(osr_run(compute_and_return, &ms, .diagnose = hear), 0);
    assert_string_equal(heard.text, "");
    assert_int_equal(osr_run(compute_and_return, &ms, .debug = true, .slow_step = OSR_NEVER, .diagnose = hear), 0);
    assert_string_equal(heard.text, "");
    assert_int_equal(osr_run(compute_and_return, &ms, .debug = true, .diagnose = hear), 0);
    assert_left("task \"compute_and_return\"", "returned");
}

TEST(under_simulated_time_no_step_is_slow)
{
    int ms = 3;

    assert_int_equal(run_simulated(be_slow_in_every_way, &ms, .slow_step = 1, .diagnose = hear), 0);
    assert_string_equal(heard.text, "");
}

TEST(a_negative_limit_for_steps_makes_no_sense)
{
    assert_int_equal(osr_run(do_nothing, NULL, .slow_step = -1), -EINVAL);
    assert_int_equal(osr_run(do_nothing, NULL, .slow_step = OSR_TIME_INVALID), -EINVAL);
}

/* ---- Leaks --------------------------------------------------------------------------------------------- */

OSR_TASK(fail_named, char, message)
{
    return osr_fail(-ENOENT, "%s", message);
}

OSR_TASK(succeed, void, unused)
{
    return 7;
}

/* Two outcomes, one of them an error that also stands in the tree of its group. */
OSR_TASK(keep_two_outcomes, void, unused)
{
    static char message[] = "lost";
    struct osr_task handles[2];
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_named, message, .handle = &handles[0], .name = "the failing");
    osr_spawn(&group, succeed, NULL, .handle = &handles[1], .name = "the fine");
    (void)osr_task_join(handles[1]);
    osr_error_clear();
    check_int(osr_leaks_report(), 3);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    osr_error_clear();
    check_int(osr_leaks_report(), 0);
    return 0;
}

TEST(outcomes_that_are_kept_are_named_with_their_tasks)
{
    assert_int_equal(run_simulated(keep_two_outcomes, NULL, .diagnose = hear), 0);
    assert_checked();
    assert_int_equal(heard.kinds, 1u << OSR_DIAGNOSIS_LEAK);
    assert_heard("the outcome of task \"the failing\", spawned at tests/test_debug.c:");
    assert_heard("the outcome of task \"the fine\", spawned at tests/test_debug.c:");
    assert_heard("error OSR_EGROUP of task \"keep_two_outcomes\"");
    assert_not_heard("ENOENT"); /* it is the outcome's, and in the group's tree */
    assert_not_heard("end of the run");
}

/* An error with a cause, which is taken; the cause is held by nobody else. */
OSR_TASK(take_an_error, struct osr_error *, taken)
{
    osr_wrap(osr_fail(-EIO, "inside"), "outside");
    *taken = osr_error_take();
    check_int(osr_leaks_report(), 1);
    return 0;
}

TEST(an_error_that_was_taken_and_not_released_is_named_at_the_end)
{
    struct osr_error *taken;

    assert_int_equal(run_simulated(take_an_error, &taken, .diagnose = hear), 0);
    assert_checked();
    assert_heard("error EIO of task \"take_an_error\", from tests/test_debug.c:");
    assert_heard("is held\n");
    assert_heard("is still held at the end of the run");
    osr_error_release(taken);

    heard.text[0] = '\0';
    assert_int_equal(osr_run(take_an_error, &taken, .clock = OSR_CLOCK_SIMULATED, .diagnose = hear), 0);
    assert_checked();
    assert_not_heard("end of the run"); /* only a debug run looks */
    osr_error_release(taken);
}

/* Takes an error, and gives it back by raising it. */
OSR_TASK(fail_with_what_was_taken, void, unused)
{
    struct osr_error *error;

    osr_wrap(osr_fail(-EIO, "inside"), "outside");
    error = osr_error_take();
    return osr_raise(error);
}

OSR_TASK(keep_the_result, struct osr_error *, kept)
{
    int rc = osr_fail(-EIO, "given and kept");

    *kept = osr_error_retain(osr_error_last());
    return rc;
}

OSR_TASK(cut_the_tree_everywhere, void, unused)
{
    static char whole[1024], part[1024];
    struct osr_scope scope;
    size_t length, size;

    osr_timeout_open(&scope, osr_ms(3));
    length = osr_tree_format(whole, sizeof(whole));
    for (size = 1; size <= length + 1; size++) {
        memset(part, '#', sizeof(part));
        check_int((int)osr_tree_format(part, size), (int)length);
        check_int((int)strnlen(part, size), (int)size - 1);
        check(memcmp(part, whole, size - 1) == 0);
        check(part[size] == '#');
    }
    return osr_scope_close(&scope, 0);
}

TEST(a_tree_is_cut_where_the_buffer_ends)
{
    assert_int_equal(run_simulated(cut_the_tree_everywhere, NULL), 0);
    assert_checked();
}

OSR_JOB(fail_in_a_thread, void, unused)
{
    return osr_fail(-EIO, "in a job");
}

static int fail_under_a_shield(void)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    return osr_scope_close(&shield, osr_offload(fail_in_a_thread, NULL));
}

/* An error that a job made, outside of the run, has one of the run's as its cause. */
OSR_TASK(give_a_jobs_error_late, void, unused)
{
    struct osr_scope scope;
    int rc;

    osr_timeout_open(&scope, 1);
    (void)osr_sleep(2);
    rc = osr_scope_close(&scope, fail_under_a_shield());
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ETIMEDOUT);
    return rc;
}

TEST(a_cause_of_an_error_from_a_job_is_no_leak)
{
    assert_int_equal(run_simulated(give_a_jobs_error_late, NULL, .diagnose = hear), -EIO);
    assert_checked();
    assert_string_equal(heard.text, "");
}

TEST(the_error_that_a_run_gives_is_no_leak)
{
    struct osr_error *kept;

    assert_int_equal(run_simulated(fail_with_what_was_taken, NULL, .diagnose = hear), -EIO);
    assert_string_equal(heard.text, "");
    assert_int_equal(osr_error_code(osr_error_last()), -EIO);

    assert_int_equal(run_simulated(keep_the_result, &kept, .diagnose = hear), -EIO);
    assert_heard("error EIO of task \"keep_the_result\""); /* held once more than by the run */
    osr_error_release(kept);
}

OSR_TASK(close_by_hand, int, ends)
{
    char byte;

    check_int(osr_write(ends[1], "x", 1), 1);
    check_int(osr_read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return 0;
}

TEST(a_bare_close_is_noticed_at_the_end_at_the_latest)
{
    int ends[2];

    assert_return_code(pipe2(ends, O_NONBLOCK), errno);
    assert_int_equal(run_simulated(close_by_hand, ends, .diagnose = hear), 0);
    close(ends[1]);
    assert_checked();
    assert_int_equal(heard.kinds, 1u << OSR_DIAGNOSIS_DESCRIPTOR);
    assert_heard("was closed by a bare close(), noticed at the end of the run: use osr_fd_close()");
}

OSR_TASK(close_a_listener_by_hand, void, unused)
{
    struct osr_address address;
    int fd;

    osr_address_ip(&address, "127.0.0.1", 0);
    fd = osr_listen(&address, 0);
    check(fd >= 0);
    close(fd);
    check_int(osr_leaks_report(), 0);
    return 0;
}

TEST(a_descriptor_that_was_closed_by_hand_is_no_leak)
{
    assert_int_equal(run_simulated(close_a_listener_by_hand, NULL, .diagnose = hear), 0);
    assert_checked();
    assert_int_equal(heard.kinds, 1u << OSR_DIAGNOSIS_DESCRIPTOR);
    assert_heard("known since tests/test_debug.c:");
}

/* ---- The timeline -------------------------------------------------------------------------------------- */

/* Each of these runs in a child process, whose first traced run it is. */

static char directory[] = "/tmp/osier-trace-XXXXXX";
static char content[1 << 22];

static const char *in_directory(const char *name)
{
    static char path[sizeof(directory) + 64];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static const char *read_file(const char *name)
{
    FILE *file = fopen(in_directory(name), "r");
    size_t size = 0;

    check(file != NULL);
    if (file) {
        size = fread(content, 1, sizeof(content) - 1, file);
        fclose(file);
    }
    content[size] = '\0';
    return content;
}

/* If there is a Python to say so; `how` is "" or "unfinished". */
static bool is_sound(const char *name, const char *how)
{
    char command[256];

    if (system("python3 -c 'import json' 2>/dev/null") != 0)
        return true;
    snprintf(command, sizeof(command), "python3 tests/check_trace.py %s %s", in_directory(name), how);
    return system(command) == 0;
}

static void trace_into(const char *name)
{
    setenv("OSR_TRACE", in_directory(name), 1);
}

static int make_directory(void **state)
{
    (void)state;
    unsetenv("OSR_TRACE");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", directory);
    return system(command);
}

OSR_TASK(nap, void, unused)
{
    return osr_sleep_here(osr_ms(2), "small.c:1");
}

OSR_TASK(yield_once, void, unused)
{
    return osr_yield();
}

/* With places given by hand, so that nothing moves when this file changes. */
OSR_TASK(small, void, unused)
{
    const struct osr_group_options group_options = {.size = sizeof(group_options), .where = "small.c:5"};
    const struct osr_spawn_options eager = {.size = sizeof(eager), .where = "small.c:6", .eager = true};
    const struct osr_spawn_options napper = {
        .size = sizeof(napper), .where = "small.c:7", .name = "a \"nap\"\n\xc3\xa9\xff\\"};
    struct osr_group group;

    osr_group_open_with(&group, &group_options);
    osr_spawn_with(&group, &yield_once.routine_, NULL, &eager);
    osr_spawn_with(&group, &nap.routine_, NULL, &napper);
    osr_sleep_here(1500, "small.c:8");
    osr_group_cancel(&group, NULL);
    return osr_group_close_here(&group, 0, "small.c:10");
}

static int run_small(osr_observe *observe, void *arg)
{
    const struct osr_run_options options = {.size = sizeof(options),
                                            .where = "small.c:14",
                                            .clock = OSR_CLOCK_SIMULATED,
                                            .debug = true,
                                            .diagnose = hear,
                                            .observe = observe,
                                            .observe_arg = arg};

    return osr_run_with(&small.routine_, NULL, &options);
}

static void trace_a_small_program(void)
{
    trace_into("small.json");
    check_int(run_small(NULL, NULL), 0);
    check_text(
        read_file("small.json"),
        "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
        "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":\"osr_run at small.c:14\"}},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"name\":\"thread_name\",\"args\":{\"name\":\"small\"}},\n"
        "{\"ph\":\"i\",\"ts\":0.000,\"pid\":1,\"tid\":1,\"s\":\"t\",\"name\":\"spawn\",\"args\":{\"where\":"
        "\"small.c:14\"}},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":1,\"name\":\"runs\"},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":2,\"name\":\"thread_name\",\"args\":{\"name\":\"yield_once\"}},\n"
        "{\"ph\":\"i\",\"ts\":0.000,\"pid\":1,\"tid\":2,\"s\":\"t\",\"name\":\"spawn\",\"args\":{\"where\":\"small.c:6\"}},\n"
        "{\"ph\":\"s\",\"ts\":0.000,\"pid\":1,\"tid\":1,\"cat\":\"spawn\",\"id\":2,\"name\":\"spawn\"},\n"
        "{\"ph\":\"f\",\"ts\":0.000,\"pid\":1,\"tid\":2,\"cat\":\"spawn\",\"id\":2,\"name\":\"spawn\"},\n"
        "{\"ph\":\"E\",\"ts\":0.000,\"pid\":1,\"tid\":1},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":2,\"name\":\"runs\"},\n"
        "{\"ph\":\"E\",\"ts\":0.000,\"pid\":1,\"tid\":2},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":1,\"name\":\"runs\"},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":3,\"name\":\"thread_name\",\"args\":{\"name\":"
        "\"a \\\"nap\\\"\\u000a\xc3\xa9\\ufffd\\\\\"}},\n"
        "{\"ph\":\"i\",\"ts\":0.000,\"pid\":1,\"tid\":3,\"s\":\"t\",\"name\":\"spawn\",\"args\":{\"where\":\"small.c:7\"}},\n"
        "{\"ph\":\"s\",\"ts\":0.000,\"pid\":1,\"tid\":1,\"cat\":\"spawn\",\"id\":3,\"name\":\"spawn\"},\n"
        "{\"ph\":\"f\",\"ts\":0.000,\"pid\":1,\"tid\":3,\"cat\":\"spawn\",\"id\":3,\"name\":\"spawn\"},\n"
        "{\"ph\":\"E\",\"ts\":0.000,\"pid\":1,\"tid\":1},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":1,\"name\":\"osr_sleep\",\"args\":{\"call\":\"osr_sleep\",\"where\":"
        "\"small.c:8\"}},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":2,\"name\":\"runs\"},\n"
        "{\"ph\":\"i\",\"ts\":0.000,\"pid\":1,\"tid\":2,\"s\":\"t\",\"name\":\"end\",\"args\":{\"code\":0}},\n"
        "{\"ph\":\"E\",\"ts\":0.000,\"pid\":1,\"tid\":2},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":3,\"name\":\"runs\"},\n"
        "{\"ph\":\"E\",\"ts\":0.000,\"pid\":1,\"tid\":3},\n"
        "{\"ph\":\"B\",\"ts\":0.000,\"pid\":1,\"tid\":3,\"name\":\"osr_sleep\",\"args\":{\"call\":\"osr_sleep\",\"where\":"
        "\"small.c:1\"}},\n"
        "{\"ph\":\"i\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"s\":\"t\",\"name\":\"wake\",\"args\":{\"code\":0}},\n"
        "{\"ph\":\"E\",\"ts\":1.500,\"pid\":1,\"tid\":1},\n"
        "{\"ph\":\"B\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"name\":\"runs\"},\n"
        "{\"ph\":\"i\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"s\":\"t\",\"name\":\"cancel\",\"args\":{\"code\":-125,\"symbol\":"
        "\"ECANCELED\",\"where\":\"small.c:5\"}},\n"
        "{\"ph\":\"i\",\"ts\":1.500,\"pid\":1,\"tid\":3,\"s\":\"t\",\"name\":\"wake\",\"args\":{\"code\":-125,\"symbol\":"
        "\"ECANCELED\"}},\n"
        "{\"ph\":\"E\",\"ts\":1.500,\"pid\":1,\"tid\":3},\n"
        "{\"ph\":\"E\",\"ts\":1.500,\"pid\":1,\"tid\":1},\n"
        "{\"ph\":\"B\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"name\":\"osr_group_close\",\"args\":{\"call\":"
        "\"osr_group_close\",\"where\":\"small.c:10\"}},\n"
        "{\"ph\":\"B\",\"ts\":1.500,\"pid\":1,\"tid\":3,\"name\":\"runs\"},\n"
        "{\"ph\":\"i\",\"ts\":1.500,\"pid\":1,\"tid\":3,\"s\":\"t\",\"name\":\"end\",\"args\":{\"code\":-125,\"symbol\":"
        "\"ECANCELED\"}},\n"
        "{\"ph\":\"E\",\"ts\":1.500,\"pid\":1,\"tid\":3},\n"
        "{\"ph\":\"i\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"s\":\"t\",\"name\":\"wake\",\"args\":{\"code\":0}},\n"
        "{\"ph\":\"E\",\"ts\":1.500,\"pid\":1,\"tid\":1},\n"
        "{\"ph\":\"B\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"name\":\"runs\"},\n"
        "{\"ph\":\"i\",\"ts\":1.500,\"pid\":1,\"tid\":1,\"s\":\"t\",\"name\":\"end\",\"args\":{\"code\":0}},\n"
        "{\"ph\":\"E\",\"ts\":1.500,\"pid\":1,\"tid\":1}\n"
        "]}\n");
    check(is_sound("small.json", ""));
}

TEST(the_timeline_of_a_simulated_program_is_the_same_to_the_byte)
{
    assert_child_succeeds(trace_a_small_program);
}

OSR_TASK(fail_after_a_nap, void, unused)
{
    int rc = osr_sleep(osr_ms(1));

    return rc < 0 ? rc : osr_fail(-EIO, "on purpose");
}

OSR_TASK(sleep_forever, void, unused)
{
    return osr_sleep(OSR_NEVER);
}

static void trace_programs_that_fail(void)
{
    trace_into("failing");
    check_int(run_simulated(fail_after_a_nap, NULL), -EIO);
    check_int(osr_run(sleep_forever, NULL), -OSR_EDEADLOCK);
    osr_error_clear();
    check(is_sound("failing", ""));
    check(is_sound("failing.2", ""));
    check(strstr(read_file("failing"), "\"code\":-5,\"symbol\":\"EIO\"") != NULL);
    check(strstr(read_file("failing.2"), "\"symbol\":\"OSR_EDEADLOCK\"") != NULL);
}

TEST(a_run_that_fails_leaves_a_sound_timeline)
{
    assert_child_succeeds(trace_programs_that_fail);
}

static void *run_once(void *rc)
{
    *(int *)rc = osr_run(nap, NULL);
    return NULL;
}

static void trace_two_threads(void)
{
    int rcs[2] = {-EIO, -EIO}, i;
    pthread_t threads[2];

    trace_into("threads-%p");
    for (i = 0; i < 2; i++)
        check_int(pthread_create(&threads[i], NULL, run_once, &rcs[i]), 0);
    for (i = 0; i < 2; i++)
        check_int(pthread_join(threads[i], NULL) + rcs[i], 0);
    for (i = 0; i < 2; i++) {
        char name[64];

        snprintf(name, sizeof(name), "threads-%ld%s", (long)getpid(), i == 0 ? "" : ".2");
        check(is_sound(name, ""));
    }
}

TEST(runs_of_several_threads_write_a_file_each)
{
    assert_child_succeeds(trace_two_threads);
}

/* The descriptor that leads to this file, -1 if there is none. */
static int descriptor_of(const char *path)
{
    char link[64], to[256];
    ssize_t length;
    int fd;

    for (fd = 0; fd < 256; fd++) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        length = readlink(link, to, sizeof(to) - 1);
        if (length > 0 && strncmp(to, path, (size_t)length) == 0 && path[length] == '\0')
            return fd;
    }
    return -1;
}

OSR_TASK(look_at_the_timelines_file, void, unused)
{
    int fd = descriptor_of(in_directory("inherited"));

    check(fd >= 0);
    check_int(fcntl(fd, F_GETFD), FD_CLOEXEC);
    return 0;
}

static void trace_and_look(void)
{
    trace_into("inherited");
    check_int(osr_run(look_at_the_timelines_file, NULL), 0);
}

TEST(what_a_program_executes_does_not_inherit_its_timeline)
{
    assert_child_succeeds(trace_and_look);
}

struct note {
    size_t length;
    char text[4096];
};

static void note_event(void *arg, const struct osr_trace_event *event)
{
    struct note *note = arg;

    note->length += (size_t)snprintf(note->text + note->length, sizeof(note->text) - note->length, "%d %lld %s %d\n",
                                     (int)event->kind, (long long)event->at, event->name, event->code);
}

static void trace_and_observe(void)
{
    static struct note traced, untraced;

    check_int(run_small(note_event, &untraced), 0);
    trace_into("observed");
    check_int(run_small(note_event, &traced), 0);
    check_text(traced.text, untraced.text);
    check(traced.length > 0);
    check(is_sound("observed", ""));
}

TEST(the_programs_own_observer_is_told_the_same)
{
    assert_child_succeeds(trace_and_observe);
}

static void trace_into_nowhere(void)
{
    trace_into("none/such");
    check_int(run_small(NULL, NULL), 0);
    check_int(heard.kinds, 1u << OSR_DIAGNOSIS_TRACE);
    check(strstr(heard.text, "none/such: No such file or directory\n") != NULL);

    heard.text[0] = '\0';
    setenv("OSR_TRACE", "", 1);
    check_int(run_small(NULL, NULL), 0);
    check_text(heard.text, "");
}

TEST(a_timeline_that_cannot_be_written_is_told_and_the_run_goes_on)
{
    assert_child_succeeds(trace_into_nowhere);
}

static void trace_onto_a_full_disk(void)
{
    setenv("OSR_TRACE", "/dev/full", 1);
    check_int(run_small(NULL, NULL), 0);
    check_int(heard.kinds, 1u << OSR_DIAGNOSIS_TRACE);
    check(strstr(heard.text, "/dev/full: No space left on device\n") != NULL);
}

TEST(a_timeline_for_which_there_is_no_space_is_told)
{
    assert_child_succeeds(trace_onto_a_full_disk);
}

OSR_TASK(nap_often, void, unused)
{
    int rc = 0, i;

    for (i = 0; i < 400 && rc == 0; i++)
        rc = osr_sleep(1);
    return rc;
}

static void trace_into_a_pipe(void)
{
    char path[64];
    ssize_t n;
    int ends[2];

    check_int(pipe(ends), 0);
    check(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[1]);
    setenv("OSR_TRACE", path, 1);
    check_int(run_simulated(nap_often, NULL), 0);
    n = read(ends[0], content, sizeof(content) - 1);
    check(n > 100000);
    content[n > 0 ? n : 0] = '\0';
    check_text(strstr(content, "\n]}"), "\n]}\n"); /* once, and last */
}

TEST(a_timeline_may_go_into_a_pipe)
{
    assert_child_succeeds(trace_into_a_pipe);
}

static char long_name[5000];

OSR_TASK(run_long, void, unused)
{
    static const struct osr_routine named = {.name = long_name, .run = NULL};
    struct osr_routine routine = named;
    struct osr_group group;
    int rc = 0, i;

    routine.run = nap.routine_.run;
    check(is_sound("long", "unfinished")); /* from the start */
    memset(long_name, '\x01', sizeof(long_name) - 1);
    osr_group_open(&group, .limit = 20);
    for (i = 0; i < 200 && rc == 0; i++)
        rc = osr_spawn_with(&group, &routine, NULL, NULL);
    check(is_sound("long", "unfinished")); /* while it goes on */
    check(strlen(read_file("long")) > 1000000);
    rc = osr_group_close(&group, rc);
    return rc;
}

static void trace_a_long_run(void)
{
    trace_into("long");
    check_int(run_simulated(run_long, NULL), 0);
    check(is_sound("long", ""));
}

TEST(a_long_timeline_is_sound_also_while_the_run_goes_on)
{
    assert_child_succeeds(trace_a_long_run);
}

/* The first and last characters of each length, and one that is escaped. */
#define GOOD_NAME "\xe0\xa0\x80\xed\x9f\xbf\xe2\x82\xac\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xf1\x80\x80\x80"

/* Names that are no UTF-8, in all the ways there are, each between two letters. */
OSR_TASK(spawn_with_bad_names, void, unused)
{
    static const char *const names[] = {
        "a\x80z", "a\xc3z", "a\xc1\xbfz", "a\xe0\x9f\xbfz", "a\xed\xa0\x80z", "a\xe2\x82z", "a\xf0\x8f\xbf\xbfz",
        "a\xf4\x90\x80\x80z", "a\xf5\x80\x80\x80z", "a\xf0\x9f\x98z", "a\xffz", "a\xe2\x82"};
    struct osr_group group;
    size_t i;

    osr_group_open(&group);
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        osr_spawn(&group, do_nothing, NULL, .name = names[i]);
    osr_spawn(&group, do_nothing, NULL, .name = GOOD_NAME "\x7f");
    return osr_group_close(&group, 0);
}

static void trace_bad_names(void)
{
    trace_into("names");
    check_int(run_simulated(spawn_with_bad_names, NULL), 0);
    check(is_sound("names", ""));
    check(strstr(read_file("names"), "\"a\\ufffdz\"") != NULL);
    check(strstr(content, "\"a\\ufffd\\ufffd\"") != NULL);
    check(strstr(content, "\"" GOOD_NAME "\\u007f\"") != NULL);
}

TEST(names_that_are_no_text_do_not_spoil_the_timeline)
{
    assert_child_succeeds(trace_bad_names);
}

OSR_TASK(return_with_a_group_open, struct osr_group, group)
{
    return osr_group_open(group);
}

static void trace_misuse(void)
{
    struct osr_group group;

    trace_into("misuse");
    osr_run(return_with_a_group_open, &group);
}

TEST(a_program_that_is_stopped_leaves_its_timeline)
{
    assert_dies(trace_misuse, SIGABRT, "is still open");
    assert_true(is_sound("misuse", "unfinished"));
    assert_non_null(strstr(read_file("misuse"), "\"name\":\"return_with_a_group_open\""));
}

static int __attribute__((noinline)) fall(volatile int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    frame[511] = frame[0];
    return depth > 100000000 ? frame[511] : fall(depth + 1) + frame[511];
}

OSR_TASK(overflow, void, unused)
{
    return fall(0);
}

static void trace_an_overflow(void)
{
    trace_into("overflow");
    osr_run(overflow, NULL);
}

TEST(a_stack_overflow_leaves_its_timeline)
{
    if (under_tools())
        skip(); /* they see it first */
    assert_dies(trace_an_overflow, SIGSEGV, "stack overflow");
    assert_true(is_sound("overflow", "unfinished"));
    assert_non_null(strstr(read_file("overflow"), "\"name\":\"runs\""));
}

static void report(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    osr_fault_report(info->si_addr);
    die_of(SIGSEGV);
}

static void trace_an_overflow_by_a_handler_of_its_own(void)
{
    static char spare[1 << 16];
    const stack_t stack = {.ss_sp = spare, .ss_size = sizeof(spare)};
    const struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_ONSTACK | SA_SIGINFO};

    trace_into("reported");
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    osr_run(overflow, NULL, .no_overflow_handler = true);
}

TEST(a_stack_overflow_that_the_programs_handler_reports_leaves_its_timeline)
{
    if (under_tools())
        skip(); /* they see it first */
    assert_dies(trace_an_overflow_by_a_handler_of_its_own, SIGSEGV, "stack overflow");
    assert_true(is_sound("reported", "unfinished"));
    assert_non_null(strstr(read_file("reported"), "\"name\":\"runs\""));
}

OSR_TASK(touch_nothing, void, unused)
{
    static volatile int *volatile nothing;
    int rc = osr_yield();

    return rc < 0 ? rc : *nothing;
}

static void trace_a_fault(void)
{
    trace_into("fault");
    osr_run(touch_nothing, NULL);
}

TEST(a_fault_leaves_its_timeline)
{
    if (under_tools())
        skip(); /* they see it first */
    assert_dies(trace_a_fault, SIGSEGV, "");
    assert_true(is_sound("fault", "unfinished"));
    assert_non_null(strstr(read_file("fault"), "\"name\":\"runs\""));
}

OSR_TASK(end_the_program, void, unused)
{
    exit(osr_yield());
}

static void trace_to_the_programs_end(void)
{
    trace_into("exit");
    osr_run(end_the_program, NULL);
    leave_child(1);
}

TEST(a_task_that_ends_the_program_leaves_its_timeline)
{
    if (under_tools())
        skip(); /* they would call leaks what the runner of the tests still holds */
    assert_child_succeeds(trace_to_the_programs_end);
    assert_true(is_sound("exit", "unfinished"));
    assert_non_null(strstr(read_file("exit"), "\"name\":\"end_the_program\""));
}

/* ---- Of any length --------------------------------------------------------------------------------------- */

static struct {
    size_t length;
    char last;
} line;

static void measure(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)kind;
    line.length = strlen(text);
    line.last = line.length > 0 ? text[line.length - 1] : '\0';
}

OSR_TASK(hold_errors_with_long_places, void, unused)
{
    static char place[1100];
    size_t shortest = 0, i;

    for (i = 1; i < sizeof(place); i++) {
        struct osr_error *error;

        place[i - 1] = 'p';
        osr_fail_here(place, -EIO, "somewhere");
        error = osr_error_take();
        check_int(osr_leaks_report(), 1);
        osr_error_release(error);
        shortest = shortest ? shortest : line.length;
        check(line.length == shortest + i - 1 && line.last == '\n');
    }
    return 0;
}

TEST(a_line_of_any_length_is_told_whole)
{
    assert_int_equal(run_simulated(hold_errors_with_long_places, NULL, .diagnose = measure), 0);
    assert_checked();
}

static struct osr_event released;

OSR_TASK(wait_behind_a_shield_in_a_cancelled_scope, char, reason)
{
    struct osr_scope scope, shield;

    osr_scope_open(&scope);
    check_int(osr_scope_cancel(&scope, reason), 0);
    osr_shield_open_unlimited(&shield);
    check_int(osr_scope_close(&shield, osr_event_wait(&released)), 0);
    return osr_scope_close(&scope, 0);
}

/* It is cut when nothing can run any more, and releases the other one. */
OSR_TASK(wait_for_ever_beside_it, char, reason)
{
    struct osr_group group;

    osr_event_init(&released);
    osr_group_open(&group);
    osr_spawn(&group, wait_behind_a_shield_in_a_cancelled_scope, reason);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    osr_event_set(&released);
    return osr_group_close(&group, -ECANCELED);
}

TEST(a_tree_of_any_length_is_told_whole)
{
    char reason[1100];
    size_t shortest = 0, i;

    for (i = 1; i < sizeof(reason); i++) {
        const char *message;

        memset(reason, 'r', i);
        reason[i] = '\0';
        assert_int_equal(run_simulated(wait_for_ever_beside_it, reason), -OSR_EDEADLOCK);
        message = osr_error_message(osr_error_last());
        shortest = shortest ? shortest : strlen(message);
        assert_int_equal(strlen(message), shortest + i - 1);
        assert_int_equal(message[strlen(message) - 1], '\n');
        osr_error_clear();
    }
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        debug_test(a_step_that_takes_long_is_told_with_the_way_in_which_it_ended),
        debug_test(neither_waiting_nor_the_steps_before_count_for_a_step),
        debug_test(a_debug_run_tells_of_steps_of_100_ms_and_others_of_none),
        debug_test(under_simulated_time_no_step_is_slow),
        debug_test(a_negative_limit_for_steps_makes_no_sense),
        debug_test(outcomes_that_are_kept_are_named_with_their_tasks),
        debug_test(an_error_that_was_taken_and_not_released_is_named_at_the_end),
        debug_test(a_tree_is_cut_where_the_buffer_ends),
        debug_test(a_cause_of_an_error_from_a_job_is_no_leak),
        debug_test(the_error_that_a_run_gives_is_no_leak),
        debug_test(a_bare_close_is_noticed_at_the_end_at_the_latest),
        debug_test(a_descriptor_that_was_closed_by_hand_is_no_leak),
        debug_test(the_timeline_of_a_simulated_program_is_the_same_to_the_byte),
        debug_test(a_run_that_fails_leaves_a_sound_timeline),
        debug_test(runs_of_several_threads_write_a_file_each),
        debug_test(the_programs_own_observer_is_told_the_same),
        debug_test(what_a_program_executes_does_not_inherit_its_timeline),
        debug_test(a_timeline_that_cannot_be_written_is_told_and_the_run_goes_on),
        debug_test(a_timeline_for_which_there_is_no_space_is_told),
        debug_test(a_timeline_may_go_into_a_pipe),
        debug_test(a_long_timeline_is_sound_also_while_the_run_goes_on),
        debug_test(names_that_are_no_text_do_not_spoil_the_timeline),
        debug_test(a_program_that_is_stopped_leaves_its_timeline),
        debug_test(a_stack_overflow_leaves_its_timeline),
        debug_test(a_stack_overflow_that_the_programs_handler_reports_leaves_its_timeline),
        debug_test(a_fault_leaves_its_timeline),
        debug_test(a_task_that_ends_the_program_leaves_its_timeline),
        debug_test(a_line_of_any_length_is_told_whole),
        debug_test(a_tree_of_any_length_is_told_whole),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory) != 0;
}
