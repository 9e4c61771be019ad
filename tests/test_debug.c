/*
 * What a run tells about itself: steps that took long, what was left open and by whom, and the timeline of OSR_TRACE.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

OSR_TASK(compute_and_yield, int, ms)
{
    compute_for(osr_ms(*ms));
    return osr_yield();
}

static const char *sleeps_at;

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
    snprintf(where, sizeof(where), "waited in osr_sleep at %s", sleeps_at);
    assert_int_equal(heard.kinds, 1u << OSR_DIAGNOSIS_SLOW);
    assert_left("task \"compute_and_return\"", "returned");
    assert_left("task \"the yielder\"", "yielded");
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
    int steps = 25;

    /* The limit is far above what one step takes, and below what they take together, or the last with its wait. */
    assert_int_equal(osr_run(compute_in_many_steps, &steps, .slow_step = osr_ms(200), .diagnose = hear), 0);
    assert_int_equal(steps, 0);
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
        debug_test(the_error_that_a_run_gives_is_no_leak),
        debug_test(a_bare_close_is_noticed_at_the_end_at_the_latest),
        debug_test(a_descriptor_that_was_closed_by_hand_is_no_leak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
