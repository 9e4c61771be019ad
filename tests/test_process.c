/* Workers: functions in forked processes. No test leaves a process or a descriptor behind. */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "7_stream/worker.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* Stands in for the C library's: a number may be somebody else's as soon as the process is gone and reaped. */
static int signalled_strangers;

int kill(pid_t pid, int number)
{
    int rc = (int)syscall(SYS_kill, pid, number);

    signalled_strangers += rc < 0 && errno == ESRCH;
    return rc;
}

static int descriptors_before;

static int begin_process_test(void **state)
{
    descriptors_before = open_descriptors();
    signalled_strangers = 0;
    alarm(60);
    return begin_test(state);
}

static int end_process_test(void **state)
{
    int after = open_descriptors(), status;
    pid_t child = waitpid(-1, &status, WNOHANG);

    (void)state;
    alarm(0);
    osr_error_clear();
    if (signalled_strangers > 0)
        print_error("%d signals were sent to processes that were gone\n", signalled_strangers);
    if (child == -1 && after == descriptors_before && signalled_strangers == 0)
        return 0;
    print_error("%d descriptors before the test, %d after it; child left: %d\n", descriptors_before, after, (int)child);
    return -1;
}

#define process_test(function) cmocka_unit_test_setup_teardown(function, begin_process_test, end_process_test)

/* How many children this process has, zombies included. */
static int children(void)
{
    char path[64], line[4096] = "";
    int count = 0;
    char *at;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    file = fopen(path, "r");
    if (!file)
        return -1;
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    fclose(file);
    for (at = line; *at; at++)
        count += *at == ' ';
    return count;
}

/* Valgrind may not know them. */
static bool system_has_pidfds(void)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* ---- Functions for workers ----------------------------------------------------------------------------- */

OSR_TASK(give_number, int, number) { return *number; }

OSR_TASK(give_text, char, text)
{
    int rc = osr_worker_give(text, 3);

    return rc < 0 ? rc : osr_worker_give(text + 3, strlen(text + 3));
}

OSR_TASK(fail_in_detail, void, unused)
{
    return osr_wrap(osr_fail(-EPROTO, "line %d is none", 7), "reading\nthe page");
}

OSR_TASK(fail_with_a_cause, void, unused)
{
    (void)osr_fail(-ENOENT, "no such page");
    return -EIO;
}

OSR_TASK(fail_barely, int, code) { return *code; }

OSR_TASK(be_killed, int, number)
{
    signal(*number, SIG_DFL);
    raise(*number);
    return 0;
}

OSR_TASK(leave_by_exit, int, status) { _exit(*status); }

OSR_TASK(sleep_on, void, unused)
{
    for (;;)
        pause();
    return 0;
}

/* ---- What comes back ----------------------------------------------------------------------------------- */

REAL_TEST(a_worker_gives_back_what_its_function_returned)
{
    int number = 42;

    check_int(osr_worker(give_number, &number), 42);
    number = 0;
    check_int(osr_worker(give_number, &number), 0);
    check_int(children(), 0);
    return 0;
}

REAL_TEST(the_bytes_that_a_worker_gives_come_one_behind_the_other)
{
    char text[] = "how do you do?", result[64] = "";
    size_t got = 99;

    check_int(osr_worker(give_text, text, .result = result, .room = sizeof(result), .got = &got), 0);
    check_int(got, strlen(text));
    check_text(result, text);
    return 0;
}

REAL_TEST(a_result_may_fill_its_room_to_the_last_byte)
{
    char text[] = "exactly", result[8] = "-------";
    size_t got = 0;

    check_int(osr_worker(give_text, text, .result = result, .room = 7, .got = &got), 0);
    check_int(got, 7);
    check_text(result, "exactly");
    return 0;
}

enum { LARGE = 3 << 20 };

OSR_TASK(give_much, void, unused)
{
    static unsigned char bytes[LARGE];
    size_t i;

    for (i = 0; i < LARGE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    return osr_worker_give(bytes, 1) < 0 ? -EIO : osr_worker_give(bytes + 1, LARGE - 1);
}

REAL_TEST(a_result_may_be_larger_than_what_the_system_keeps_between_the_two)
{
    static unsigned char result[LARGE];
    size_t got = 0, i, wrong = 0;

    check_int(osr_worker(give_much, NULL, .result = result, .room = LARGE, .got = &got), 0);
    check_int(got, LARGE);
    for (i = 0; i < LARGE; i++)
        wrong += result[i] != (unsigned char)(i * 7 + i / 251);
    check_int(wrong, 0);
    return 0;
}

REAL_TEST(what_a_worker_changes_stays_there)
{
    int number = 5;

    check_int(osr_worker(give_number, &number), 5);
    check_int(number, 5);
    return 0;
}

REAL_TEST(an_error_comes_back_with_message_place_and_causes)
{
    const struct osr_error *error, *cause;

    check_int(osr_worker(fail_in_detail, NULL), -EPROTO);
    error = osr_error_last();
    check_int(osr_error_code(error), -EPROTO);
    check_text(osr_error_message(error), "reading\nthe page");
    check_text(osr_error_task(error), "root");
    check(strstr(osr_error_where(error), "test_process.c:") != NULL);
    cause = osr_error_cause(error);
    check_text(osr_error_message(cause), "line 7 is none");
    check_text(osr_error_where(cause), osr_error_where(error));
    check(osr_error_cause(cause) == NULL);
    return 0;
}

REAL_TEST(another_code_than_the_last_error_has_that_as_its_cause)
{
    check_int(osr_worker(fail_with_a_cause, NULL), -EIO);
    check_int(osr_error_code(osr_error_last()), -EIO);
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ENOENT);
    return 0;
}

REAL_TEST(a_bare_code_comes_back_with_the_place_of_the_call)
{
    int code = -ENOSPC;

    check_int(osr_worker(fail_barely, &code), -ENOSPC);
    check_text(osr_error_message(osr_error_last()), osr_strerror(ENOSPC));
    check(strstr(osr_error_where(osr_error_last()), "test_process.c:") != NULL);
    return 0;
}

REAL_TEST(a_cancellation_that_the_function_made_up_is_spurious)
{
    int code = -ECANCELED;

    check_int(osr_worker(fail_barely, &code, .name = "liar"), -OSR_ESPURIOUS);
    check_text(osr_error_message(osr_error_last()), "worker \"liar\" returned -ECANCELED, which nobody has told it");
    return 0;
}

OSR_TASK(fail_alike, void, unused) { return osr_fail(-EDOM, "deep down"); }

OSR_TASK(fail_in_a_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group, .name = "inside");
    return osr_group_close(&group, osr_spawn(&group, fail_alike, NULL));
}

OSR_TASK(have_a_run, void, unused) { return osr_run(fail_in_a_group, NULL, .debug = true); }

REAL_TEST(a_worker_may_have_a_run_whose_tree_comes_back_in_words)
{
    check_int(osr_worker(have_a_run, NULL), -OSR_EGROUP);
    check(strstr(osr_error_message(osr_error_last()), "group \"inside\"") != NULL);
    check(strstr(osr_error_message(osr_error_last()), "EDOM: deep down  [task \"fail_alike\"") != NULL);
    return 0;
}

OSR_TASK(fail_at_length, void, unused)
{
    char *text = malloc(200001);
    int rc, i;

    memset(text, 'x', 200000);
    text[200000] = '\0';
    rc = osr_fail(-E2BIG, "%s", text);
    free(text);
    for (i = 0; i < 100; i++)
        rc = osr_wrap(rc, "%d", i);
    return rc;
}

REAL_TEST(messages_and_causes_beyond_all_measure_are_cut)
{
    const struct osr_error *at;
    int causes = 0;

    check_int(osr_worker(fail_at_length, NULL), -E2BIG);
    check_text(osr_error_message(osr_error_last()), "99");
    for (at = osr_error_last(); at; at = osr_error_cause(at))
        causes++;
    check_int(causes, 32);
    return 0;
}

/* ---- How a worker can end ------------------------------------------------------------------------------ */

REAL_TEST(a_worker_that_dies_of_a_signal_is_told_with_its_name)
{
    int number = SIGKILL;

    check_int(osr_worker(be_killed, &number), -OSR_EWORKER);
    check_text(osr_error_message(osr_error_last()), "worker \"be_killed\" died of SIGKILL: Killed");
    number = SIGRTMIN + 3;
    check_int(osr_worker(be_killed, &number, .name = "modern"), -OSR_EWORKER);
    check(strncmp(osr_error_message(osr_error_last()), "worker \"modern\" died of signal ", 31) == 0);
    return 0;
}

REAL_TEST(a_worker_that_calls_exit_is_told_with_its_status)
{
    int status = 3;

    check_int(osr_worker(leave_by_exit, &status), -OSR_EWORKER);
    check_text(osr_error_message(osr_error_last()),
               "worker \"leave_by_exit\" ended with exit status 3 and no result");
    status = 0;
    check_int(osr_worker(leave_by_exit, &status), -OSR_EWORKER);
    return 0;
}

OSR_TASK(give_and_die, void, unused)
{
    (void)osr_worker_give("half", 4);
    raise(SIGKILL);
    return 0;
}

REAL_TEST(what_a_worker_gave_before_it_died_is_there)
{
    char result[16] = "";
    size_t got = 0;

    check_int(osr_worker(give_and_die, NULL, .result = result, .room = 16, .got = &got), -OSR_EWORKER);
    check_int(got, 4);
    check_text(result, "half");
    return 0;
}

OSR_TASK(give_too_much, void, unused)
{
    (void)osr_worker_give("1234", 4);
    (void)osr_worker_give("56789", 5);
    for (;;)
        pause();
    return 0;
}

REAL_TEST(more_bytes_than_fit_end_the_worker)
{
    char result[8] = "-------";
    size_t got = 0;

    check_int(osr_worker(give_too_much, NULL, .result = result, .room = 8, .got = &got), -EMSGSIZE);
    check_text(osr_error_message(osr_error_last()),
               "worker \"give_too_much\" gave more than the 8 bytes that there is room for");
    check_int(got, 4);
    check_int(memcmp(result, "1234---", 7), 0);
    check_int(osr_worker(give_too_much, NULL), -EMSGSIZE);
    check_int(children(), 0);
    return 0;
}

static void close_all(void)
{
    int fd;

    for (fd = 3; fd < 1024; fd++)
        close(fd);
}

OSR_TASK(close_and_return, void, unused)
{
    close_all();
    return 1;
}

OSR_TASK(close_and_stay, void, unused)
{
    close_all();
    for (;;)
        pause();
    return 0;
}

REAL_TEST(a_worker_that_closes_its_pipe_is_waited_for_and_has_no_result)
{
    struct osr_scope limit;

    check_int(osr_worker(close_and_return, NULL), -OSR_EWORKER);
    check_text(osr_error_message(osr_error_last()),
               "worker \"close_and_return\" ended with exit status 0 and no result");
    osr_timeout_open(&limit, osr_ms(30));
    check_int(osr_scope_close(&limit, osr_worker(close_and_stay, NULL)), -ETIMEDOUT);
    check_int(children(), 0);
    return 0;
}

OSR_TASK(write_nonsense, void, unused)
{
    char nonsense[64];
    int fd;

    memset(nonsense, 0x5a, sizeof(nonsense));
    for (fd = 3; fd < 64; fd++)
        if (write(fd, nonsense, sizeof(nonsense)) < 0)
            continue;
    for (;;)
        pause();
    return 0;
}

REAL_TEST(a_worker_that_writes_into_its_pipe_itself_is_ended)
{
    check_int(osr_worker(write_nonsense, NULL, .name = "scribe"), -OSR_EWORKER);
    check_text(osr_error_message(osr_error_last()), "worker \"scribe\" wrote what is no result");
    check_int(children(), 0);
    return 0;
}

/* The beginning of what a worker says that fails, cut after so many bytes. */
OSR_TASK(say_half, size_t, length)
{
    struct {
        struct frame frame;
        char text[24];
    } words = {{FRAME_ERROR, -EDOM, 17}, "here.c:1\0me\0odd\0\0"};
    int fd;

    for (fd = 3; fd < 64; fd++)
        if (send(fd, &words, *length, MSG_NOSIGNAL) < 0)
            continue;
    _exit(1);
}

REAL_TEST(a_worker_may_die_at_any_point_of_what_it_says)
{
    size_t length;

    for (length = 0; length <= sizeof(struct frame) + 17; length++) {
        check_int(osr_worker(say_half, &length), -OSR_EWORKER);
        check(strstr(osr_error_message(osr_error_last()), "exit status 1 and no result") != NULL);
        osr_error_clear();
        check_int(osr_leaks_report(), 0);
    }
    return 0;
}

OSR_TASK(leave_a_child_behind, int, fds)
{
    pid_t child = fork();

    if (child == 0) {
        close(fds[1]);
        if (osr_worker_give("x", 1) != -EPERM)
            _exit(2);
        if (read(fds[0], fds, 1) < 0) /* until the test closes the other end */
            _exit(1);
        _exit(0);
    }
    close(fds[1]);
    _exit(4);
}

REAL_TEST(a_workers_own_child_that_holds_its_pipe_does_not_hide_its_death)
{
    int fds[2];

    if (!system_has_pidfds()) {
        check(true);
        return 0;
    }
    check_int(pipe(fds), 0);
    check_int(osr_worker(leave_a_child_behind, fds), -OSR_EWORKER);
    check_text(osr_error_message(osr_error_last()),
               "worker \"leave_a_child_behind\" ended with exit status 4 and no result");
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* ---- Inside ------------------------------------------------------------------------------------------- */

OSR_TASK(try_everything, void, unused)
{
    char byte = 'b';
    int fds[2];

    if (osr_sleep(1) != -EPERM || osr_check() != -EPERM || osr_worker(give_number, NULL) != -EPERM)
        return 1;
    if (osr_error_last() == NULL || pipe(fds) < 0 || osr_read(fds[0], &byte, 1) != -EPERM)
        return 2;
    if (osr_worker_give(NULL, 1) != -EINVAL || osr_worker_give(NULL, 0) != 0)
        return 3;
    return 0;
}

REAL_TEST(inside_a_worker_there_is_no_run)
{
    (void)osr_fail(-EIO, "of the one who forks");
    check_int(osr_worker(try_everything, NULL), 0);
    return 0;
}

static int touch(volatile char *at, size_t size)
{
    size_t i;

    for (i = 0; i < size; i += 512)
        at[i] = 1;
    return at[0];
}

OSR_TASK(use_a_large_frame, void, unused)
{
    char frame[2 << 20];

    return touch(frame, sizeof(frame));
}

REAL_TEST(a_worker_has_the_stack_of_a_program)
{
    check_int(osr_worker(use_a_large_frame, NULL), 1);
    return 0;
}

OSR_TASK(hire_another, int, number)
{
    int rc = osr_worker(give_number, number);

    return rc < 0 ? rc : rc + 1;
}

OSR_TASK(have_a_run_with_a_worker, int, number)
{
    int rc = osr_run(hire_another, number);

    return osr_worker_give("y", 1) < 0 ? -EIO : rc;
}

REAL_TEST(a_worker_may_have_workers)
{
    int number = 6;
    char result[1] = "";

    check_int(osr_worker(have_a_run_with_a_worker, &number, .result = result, .room = 1), 7);
    check_int(result[0], 'y');
    return 0;
}

static int handed_over[2];

OSR_TASK(hold_the_pipe, void, unused)
{
    if (write(handed_over[1], "!", 1) != 1)
        return -EIO;
    for (;;)
        pause();
    return 0;
}

OSR_TASK(hire_and_wait, void, unused) { return osr_worker(hold_the_pipe, NULL); }

TEST(a_worker_does_not_outlive_its_program)
{
    char byte;
    pid_t pid;

    assert_int_equal(pipe(handed_over), 0);
    pid = fork();
    if (pid == 0) {
        close(handed_over[0]);
        (void)osr_run(hire_and_wait, NULL);
        _exit(1);
    }
    close(handed_over[1]);
    assert_int_equal(read(handed_over[0], &byte, 1), 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(read(handed_over[0], &byte, 1), 0); /* the worker has gone too */
    close(handed_over[0]);
}

/* ---- Cancelling ---------------------------------------------------------------------------------------- */

REAL_TEST(a_cancelled_call_forks_nothing)
{
    struct osr_scope scope;
    int before, number = 1;
    size_t got = 77;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "never mind");
    before = children();
    check_int(osr_worker(give_number, &number, .got = &got), -ECANCELED);
    check_int(got, 0);
    check_int(children(), before);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

REAL_TEST(a_worker_that_is_cancelled_gets_sigterm_and_is_reaped)
{
    struct osr_scope limit;
    int64_t began = osr_now();

    osr_timeout_open(&limit, osr_ms(20));
    check_int(osr_worker(sleep_on, NULL, .grace = osr_s(50)), -ECANCELED);
    check_int(children(), 0);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check(osr_now() - began < osr_s(40));
    return 0;
}

OSR_TASK(turn_a_deaf_ear, char, text)
{
    signal(SIGTERM, SIG_IGN);
    (void)osr_worker_give("ready", 5);
    for (;;)
        pause();
    return 0;
}

/* Cancels `scope` when as many bytes of the result are there as it says. */
struct watched {
    struct osr_scope scope;
    char result[64];
    const volatile char *until;
};

OSR_TASK(cancel_when_it_is_ready, struct watched, watched)
{
    while (!*watched->until && osr_sleep(osr_ms(1)) == 0)
        continue;
    osr_scope_cancel(&watched->scope, "enough");
    return 0;
}

/* Runs the function in a worker that is cancelled when it has given its first byte; with the error kept. */
static int cancel_after_first_byte(const struct osr_routine *function, int64_t grace, struct watched *watched,
                                   size_t *got)
{
    const struct osr_worker_options options = {.size = sizeof(options), .where = OSR_HERE, .result = watched->result,
                                               .room = sizeof(watched->result), .grace = grace, .got = got};
    struct osr_group group;
    int rc;

    memset(watched->result, 0, sizeof(watched->result));
    watched->until = watched->result;
    osr_group_open(&group);
    check_int(osr_spawn(&group, cancel_when_it_is_ready, watched), 0);
    osr_scope_open(&watched->scope);
    rc = osr_worker_with(function, NULL, &options);
    check_int(osr_scope_close(&watched->scope, rc), rc == -ECANCELED ? -OSR_ESCOPECANCELED : rc);
    check_int(osr_group_close(&group, 0), 0);
    return rc;
}

REAL_TEST(a_worker_that_ignores_sigterm_is_killed_after_its_grace)
{
    int64_t began = osr_now();
    struct watched watched;
    size_t got;

    check_int(cancel_after_first_byte(&turn_a_deaf_ear.routine_, osr_ms(80), &watched, &got), -ECANCELED);
    check(osr_now() - began >= osr_ms(80));
    check_int(got, 5);
    check_int(children(), 0);
    return 0;
}

static int last_words[2];

OSR_TASK(tidy_up, void, unused)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)osr_worker_give("ready", 5);
    (void)sigwait(&set, &number);
    if (osr_worker_give("late", 4) == -EPIPE && write(last_words[1], "tidy", 4) == 4)
        return 0;
    return 1;
}

REAL_TEST(a_worker_has_its_grace_to_tidy_up_and_nobody_wants_its_result)
{
    struct watched watched;
    char words[8] = "";
    size_t got;

    check_int(pipe(last_words), 0);
    check_int(cancel_after_first_byte(&tidy_up.routine_, osr_s(50), &watched, &got), -ECANCELED);
    check_int(got, 5);
    check_int(read(last_words[0], words, sizeof(words)), 4);
    check_text(words, "tidy");
    close(last_words[0]);
    close(last_words[1]);
    return 0;
}

/* A worker ends and its scope is cancelled before its task runs again. */
struct race {
    struct osr_scope scope;
    int go[2], rc;
    bool over;
};

OSR_TASK(return_when_told, struct race, race)
{
    char byte;

    return read(race->go[0], &byte, 1) == 1 ? 9 : -EIO;
}

OSR_TASK(end_and_cancel, struct race, race)
{
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(write(race->go[1], "!", 1), 1);
    usleep((useconds_t)sized(100000, 1000000)); /* it ends, and nobody looks */
    osr_scope_cancel(&race->scope, "at the same moment");
    return 0;
}

REAL_TEST(a_result_that_has_come_wins_over_a_cancellation)
{
    struct race race = {.rc = 0};
    struct osr_group group;

    check_int(pipe(race.go), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, end_and_cancel, &race), 0);
    osr_timeout_open(&race.scope, OSR_NEVER);
    check_int(osr_worker(return_when_told, &race), 9);
    check_int(osr_scope_close(&race.scope, 0), 0); /* it has cut nothing */
    check_int(osr_group_close(&group, 0), 0);

    osr_group_open(&group);
    check_int(osr_spawn(&group, end_and_cancel, &race), 0);
    osr_scope_open(&race.scope);
    check_int(osr_worker(return_when_told, &race), 9);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&race.scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_group_close(&group, 0), 0);
    close(race.go[0]);
    close(race.go[1]);
    return 0;
}

OSR_TASK(speak_when_told, struct race, race)
{
    char byte;

    if (read(race->go[0], &byte, 1) == 1)
        (void)osr_worker_give("!", 1);
    for (;;)
        pause();
    return 0;
}

OSR_TASK(let_it_speak_and_be_late, struct race, race)
{
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(write(race->go[1], "!", 1), 1);
    usleep((useconds_t)sized(100000, 500000)); /* it speaks, and the deadline passes, and nobody looks */
    return 0;
}

REAL_TEST(a_worker_that_speaks_just_before_its_deadline_is_cut_all_the_same)
{
    struct race race = {.rc = 0};
    struct osr_group group;
    char result[8] = "";
    size_t got = 0;

    check_int(pipe(race.go), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, let_it_speak_and_be_late, &race), 0);
    osr_timeout_open(&race.scope, osr_ms(50));
    check_int(osr_worker(speak_when_told, &race, .result = result, .room = 8, .got = &got), -ECANCELED);
    check_int(got, 1);
    check_int(osr_scope_close(&race.scope, -ECANCELED), -ETIMEDOUT);
    check_int(osr_group_close(&group, 0), 0);
    close(race.go[0]);
    close(race.go[1]);
    return 0;
}

OSR_TASK(die_when_told, struct race, race)
{
    char byte;

    if (read(race->go[0], &byte, 1) != 1)
        return 1;
    _exit(5);
}

REAL_TEST(a_death_that_came_first_is_told_although_cancelled)
{
    struct race race = {.rc = 0};
    struct osr_group group;

    check_int(pipe(race.go), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, end_and_cancel, &race), 0);
    osr_scope_open(&race.scope);
    check_int(osr_worker(die_when_told, &race), -OSR_EWORKER);
    check_int(osr_scope_close(&race.scope, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    close(race.go[0]);
    close(race.go[1]);
    return 0;
}

OSR_TASK(let_it_end, struct race, race)
{
    osr_scope_cancel(&race->scope, "from outside");
    check_int(osr_sleep(osr_ms(20)), 0);
    check_int(write(race->go[1], "!", 1), 1);
    return 0;
}

REAL_TEST(a_shielded_worker_goes_on)
{
    struct race race = {.rc = 0};
    struct osr_group group;
    struct osr_scope shield;

    check_int(pipe(race.go), 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, let_it_end, &race), 0);
    osr_scope_open(&race.scope);
    osr_shield_open(&shield, osr_s(20));
    check_int(osr_scope_close(&shield, osr_worker(return_when_told, &race)), 9);
    check_int(osr_scope_close(&race.scope, osr_check()), -OSR_ESCOPECANCELED);
    check_int(osr_group_close(&group, 0), 0);
    close(race.go[0]);
    close(race.go[1]);
    return 0;
}

OSR_TASK(hire_a_sleeper, void, unused) { return osr_worker(sleep_on, NULL); }

REAL_TEST(an_error_beside_a_worker_ends_it)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, hire_a_sleeper, NULL), 0);
    check_int(osr_spawn(&group, hire_a_sleeper, NULL), 0);
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(children(), 2);
    check_int(osr_group_close(&group, osr_fail(-EIO, "beside")), -OSR_EGROUP);
    check_int(osr_error_cancelled(osr_error_last()), 2);
    check_int(children(), 0);
    return 0;
}

OSR_TASK(give_too_much_and_go, void, unused)
{
    char much[100] = "";

    return osr_worker_give(much, sizeof(much));
}

OSR_TASK(hire_one_that_gives_too_much, void, unused)
{
    char little[10];

    check_int(osr_worker(give_too_much_and_go, NULL, .result = little, .room = sizeof(little)), -EMSGSIZE);
    return 0;
}

/* The thread is busy until it has died, so its death is known before what it gave has been read. */
REAL_TEST(a_worker_that_is_dead_when_it_is_given_up_gets_no_signal)
{
    const struct timespec while_it_dies = {0, 50000000};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, hire_one_that_gives_too_much, NULL), 0);
    osr_yield();
    nanosleep(&while_it_dies, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

/* ---- Many, and others ---------------------------------------------------------------------------------- */

struct one_of_many {
    int number, rc;
    size_t got;
    char result[32];
};

OSR_TASK(give_name, struct one_of_many, one)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "worker %d", one->number);
    int rc = osr_worker_give(text, (size_t)length);

    return rc < 0 ? rc : one->number;
}

OSR_TASK(hire_one, struct one_of_many, one)
{
    one->rc = osr_worker(give_name, one, .result = one->result, .room = sizeof(one->result), .got = &one->got);
    return one->rc;
}

REAL_TEST(fifty_workers_at_once)
{
    enum { MANY = 50 };
    static struct one_of_many many[MANY];
    struct osr_group group;
    char text[32];
    int i;

    osr_group_open(&group);
    for (i = 0; i < MANY; i++) {
        many[i] = (struct one_of_many){.number = i};
        check_int(osr_spawn(&group, hire_one, &many[i]), 0);
    }
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "worker %d", i);
        check_int(many[i].rc, i);
        check_text(many[i].result, text);
    }
    check_int(children(), 0);
    return 0;
}

static char key;

OSR_JOB(look_a_value_up, void, unused) { return osr_value(&key) == &key ? 0 : -EIO; }

OSR_TASK(offload_with_a_value, void, unused)
{
    struct osr_binding binding;

    check_int(osr_bind(&binding, &key, &key), 0);
    return osr_offload(look_a_value_up, NULL);
}

/* ThreadSanitizer does not allow a child of several threads to have more of them; in simulated time the loop does the job. */
OSR_TASK(run_by_itself, void, unused)
{
    return osr_run(offload_with_a_value, NULL,
                   .clock = under_thread_sanitizer() ? OSR_CLOCK_SIMULATED : OSR_CLOCK_REAL);
}

REAL_TEST(a_worker_may_have_a_run_of_its_own_with_jobs_and_values)
{
    check_int(osr_worker(run_by_itself, NULL), 0);
    return 0;
}

OSR_TASK(fail_by_itself, void, unused) { return osr_fail(-EIO, "inside"); }

OSR_TASK(run_and_fail_by_itself, void, unused) { return osr_run(fail_by_itself, NULL, .name = "somebody inside"); }

REAL_TEST(an_error_of_a_workers_own_run_has_the_name_of_its_task)
{
    check_int(osr_worker(run_and_fail_by_itself, NULL), -EIO);
    check_text(osr_error_message(osr_error_last()), "inside");
    check_text(osr_error_task(osr_error_last()), "somebody inside");
    return 0;
}

OSR_TASK(count_descriptors, void, unused) { return open_descriptors(); }

/* Those that their parent has on account of others are not for them. */
REAL_TEST(workers_have_the_same_descriptors_however_many_there_are)
{
    struct osr_group group;
    int alone = osr_worker(count_descriptors, NULL), i;

    check(alone > 0);
    osr_group_open(&group);
    for (i = 0; i < 4; i++) {
        check_int(osr_spawn(&group, hire_a_sleeper, NULL), 0);
        check_int(osr_sleep(osr_ms(1)), 0);
        check_int(children(), i + 1);
        check_int(osr_worker(count_descriptors, NULL), alone);
    }
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

REAL_TEST(other_children_of_the_program_are_left_alone)
{
    int number = 3, status = 0;
    pid_t done = fork(), alive;

    if (done == 0)
        _exit(17);
    alive = fork();
    if (alive == 0)
        for (;;)
            pause();
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(osr_worker(give_number, &number), 3);
    number = SIGKILL;
    check_int(osr_worker(be_killed, &number), -OSR_EWORKER);
    check_int(waitpid(done, &status, 0), done);
    check_int(WEXITSTATUS(status), 17);
    check_int(waitpid(alive, &status, WNOHANG), 0);
    kill(alive, SIGKILL);
    check_int(waitpid(alive, &status, 0), alive);
    return 0;
}

REAL_TEST(a_program_that_ignores_its_children_has_workers_all_the_same)
{
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    int number = 8;

    check_int(osr_worker(give_number, &number), 8);
    check_int(osr_worker(leave_by_exit, &number, .name = "lost"), -OSR_EWORKER);
    check_text(osr_error_message(osr_error_last()),
               "worker \"lost\" gave no result, and its status was taken by somebody else");
    signal(SIGCHLD, before);
    return 0;
}

/* ---- Simulated time ------------------------------------------------------------------------------------ */

OSR_TASK(work_for_a_moment, int, ms)
{
    usleep((useconds_t)*ms * 1000);
    return 2;
}

OSR_TASK(sleep_an_hour, void, unused) { return osr_sleep(osr_s(3600)); }

static int64_t milliseconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What has gone by since an earlier one began is not taken from its time; the machine may be slow. */
SIMULATED_TEST(each_worker_has_its_own_time_under_the_simulated_clock)
{
    struct osr_scope limit;
    int64_t began;
    int ms = 150, again, rc;

    for (again = 0; again < 3; again++) {
        usleep(100000);
        osr_timeout_open(&limit, osr_ms(350));
        began = milliseconds_now();
        rc = osr_scope_close(&limit, osr_worker(work_for_a_moment, &ms));
        check(rc == 2 || milliseconds_now() - began >= 350);
    }
    return 0;
}

SIMULATED_TEST(simulated_time_stands_still_while_a_worker_works)
{
    struct osr_scope limit, timeout;
    struct osr_group group;
    int ms = 30;

    osr_move_on_open(&limit, osr_s(7200));
    osr_group_open(&group);
    check_int(osr_spawn(&group, sleep_an_hour, NULL), 0);
    osr_timeout_open(&timeout, osr_s(30));
    check_int(osr_scope_close(&timeout, osr_worker(work_for_a_moment, &ms)), 2);
    check_int(osr_now(), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_s(3600)); /* and then it jumps again */
    check_int(osr_scope_close(&limit, 0), 0);
    return 0;
}

SIMULATED_TEST(a_worker_that_hangs_is_cut_at_its_deadline_in_simulated_time)
{
    struct osr_scope limit;
    struct timespec before, after;

    osr_timeout_open(&limit, osr_ms(50));
    clock_gettime(CLOCK_MONOTONIC, &before);
    check_int(osr_scope_close(&limit, osr_worker(sleep_on, NULL)), -ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &after);
    check(system_has_pidfds() ? osr_now() == osr_ms(50) : osr_now() >= osr_ms(50));
    check((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 49);
    return 0;
}

OSR_TASK(chatter, void, unused)
{
    while (osr_worker_give(".", 1) == 0)
        usleep(2000);
    return 0;
}

SIMULATED_TEST(what_a_worker_gives_does_not_hold_up_a_deadline)
{
    static char result[1 << 20];
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_ms(40));
    check_int(osr_scope_close(&limit, osr_worker(chatter, NULL, .result = result, .room = sizeof(result))), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(the_grace_of_a_worker_passes_in_simulated_time)
{
    struct watched watched;
    size_t got;

    check_int(cancel_after_first_byte(&turn_a_deaf_ear.routine_, osr_ms(30), &watched, &got), -ECANCELED);
    return 0;
}

/* A second, if nothing is said. */
SIMULATED_TEST(the_usual_grace_of_a_worker_is_a_second)
{
    struct watched watched;
    int64_t before = osr_now();
    size_t got;

    check_int(cancel_after_first_byte(&turn_a_deaf_ear.routine_, 0, &watched, &got), -ECANCELED);
    check(osr_now() >= before + osr_s(1) && osr_now() < before + osr_s(3));
    return 0;
}

/* ---- Faults -------------------------------------------------------------------------------------------- */

/* Fails the call of this name: with the `code`-th of its errors, `times` times; 0: always. */
static struct {
    const char *call;
    unsigned code, times, seen;
} fault;

static unsigned choose_fault(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg;
    if (kind != OSR_CHOICE_FAULT || !fault.call || strcmp(what, fault.call) != 0 || fault.code >= n)
        return 0;
    fault.seen++;
    return fault.times && fault.seen > fault.times ? 0 : fault.code;
}

static void fail_call(const char *call, unsigned code, unsigned times)
{
    fault.call = call;
    fault.code = code;
    fault.times = times;
    fault.seen = 0;
}

OSR_TASK(print_and_flush, void, unused)
{
    fputs("inside ", stdout);
    return fflush(stdout);
}

OSR_TASK(hire_one_who_prints, void, unused)
{
    fputs("before ", stdout);
    return osr_worker(print_and_flush, NULL);
}

/* As where standard output is a file, which is written when the buffer is full. */
static void print_around_a_worker(void)
{
    FILE *file = tmpfile();
    char buffer[4096], text[64] = "";

    dup2(fileno(file), STDOUT_FILENO);
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    check_int(osr_run(hire_one_who_prints, NULL), 0);
    fputs("after", stdout);
    fflush(stdout);
    rewind(file);
    check(fgets(text, sizeof(text), file) != NULL);
    check_text(text, "before inside after");
}

TEST(what_stood_in_the_buffer_of_standard_output_is_written_once)
{
    assert_child_succeeds(print_around_a_worker);
}

OSR_TASK(hire_in_vain, void, unused)
{
    char result[4];
    size_t got = 99;
    int rc = osr_worker(print_and_flush, NULL, .result = result, .room = sizeof(result), .got = &got);

    check_int(got, 0);
    return rc;
}

OSR_TASK(hire_number_four, void, unused)
{
    int number = 4;

    return osr_worker(give_number, &number);
}

OSR_TASK(hire_and_cut, void, unused)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_ms(20));
    return osr_scope_close(&limit, osr_worker(sleep_on, NULL));
}

OSR_TASK(hire_a_victim, void, unused)
{
    int status = 6;

    return osr_worker(leave_by_exit, &status);
}

#define run_with_faults(task, clock_) osr_run(task, NULL, .debug = true, .clock = (clock_), .choose = choose_fault)

TEST(a_failing_system_call_at_the_start_leaves_nothing_behind)
{
    static const struct {
        const char *call;
        unsigned code;
        int expected;
    } cases[] = {{"socketpair", 1, -EMFILE}, {"socketpair", 2, -ENFILE}, {"socketpair", 3, -ENOBUFS},
                 {"fork", 1, -EAGAIN},       {"fork", 2, -ENOMEM},       {"recv", 1, -ECONNRESET},
                 {"recv", 3, -ENOMEM}};
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fail_call(cases[i].call, cases[i].code, 1);
        assert_int_equal(run_with_faults(hire_number_four, OSR_CLOCK_REAL), cases[i].expected);
        assert_int_equal(osr_error_code(osr_error_last()), cases[i].expected);
        assert_true(fault.seen > 0);
        assert_int_equal(children(), 0);
    }
    fail_call("fork", 1, 1);
    assert_int_equal(run_with_faults(hire_in_vain, OSR_CLOCK_REAL), -EAGAIN);
    assert_checked();
}

TEST(without_a_descriptor_for_processes_they_are_asked_after)
{
    enum osr_clock clocks[] = {OSR_CLOCK_REAL, OSR_CLOCK_SIMULATED};
    int i;

    for (i = 0; i < 2; i++) {
        fail_call("pidfd_open", 1, 0);
        assert_int_equal(run_with_faults(hire_number_four, clocks[i]), 4);
        assert_int_equal(run_with_faults(hire_a_victim, clocks[i]), -OSR_EWORKER);
        assert_string_equal(osr_error_message(osr_error_last()),
                            "worker \"leave_by_exit\" ended with exit status 6 and no result");
        assert_int_equal(run_with_faults(hire_and_cut, clocks[i]), -ETIMEDOUT);
        assert_int_equal(fault.seen, 3);
        assert_int_equal(children(), 0);
    }
}

OSR_TASK(hire_one_who_sleeps_on, void, unused) { return osr_worker(sleep_on, NULL); }

OSR_TASK(hire_beside_a_sleeper, void, unused)
{
    struct osr_group group;
    int number = 4;

    osr_group_open(&group);
    osr_spawn(&group, hire_one_who_sleeps_on, NULL, .daemon = true);
    osr_yield();
    return osr_group_close(&group, osr_worker(give_number, &number));
}

/* Which one closes what belongs to the other, and nothing more. */
TEST(without_descriptors_for_processes_two_may_work_at_once)
{
    fail_call("pidfd_open", 1, 0);
    assert_int_equal(run_with_faults(hire_beside_a_sleeper, OSR_CLOCK_REAL), 4);
    assert_int_equal(fault.seen, 2);
    assert_int_equal(children(), 0);
}

TEST(where_a_process_cannot_be_signalled_by_descriptor_its_number_does)
{
    if (!system_has_pidfds())
        skip();
    fail_call("pidfd_send_signal", 1, 0);
    assert_int_equal(run_with_faults(hire_and_cut, OSR_CLOCK_REAL), -ETIMEDOUT);
    assert_int_equal(fault.seen, 1);
    assert_int_equal(children(), 0);
}

TEST(a_status_that_is_lost_does_not_cost_the_result)
{
    fail_call("waitpid", 1, 0);
    assert_int_equal(run_with_faults(hire_number_four, OSR_CLOCK_REAL), 4);
    assert_int_equal(run_with_faults(hire_and_cut, OSR_CLOCK_REAL), -ETIMEDOUT);
    assert_int_equal(run_with_faults(hire_a_victim, OSR_CLOCK_REAL), -OSR_EWORKER);
    assert_int_equal(fault.seen, 3);
}

OSR_TASK(hire_all_kinds, void, unused)
{
    char text[] = "some text", result[32];
    int rc = osr_worker(give_text, text, .result = result, .room = sizeof(result));
    struct osr_scope limit;

    if (rc < 0)
        return rc;
    rc = osr_worker(fail_in_detail, NULL);
    if (rc != -EPROTO || osr_error_code(osr_error_last()) != -EPROTO)
        return rc;
    osr_timeout_open(&limit, osr_ms(2));
    rc = osr_scope_close(&limit, osr_worker(turn_a_deaf_ear, NULL, .result = result, .room = 32, .grace = osr_ms(2)));
    return rc == -ETIMEDOUT ? 0 : rc;
}

TEST(every_allocation_may_fail)
{
    long at;
    int all;

    for (all = 0; all < 2; all++) {
        for (at = 1; at < 100; at++) {
            int rc;

            counting = (struct counting){.fail_at = at, .all_after = all};
            rc = osr_run(hire_all_kinds, NULL, .allocator = &counting_allocator);
            osr_error_clear();
            assert_true(rc == 0 || rc == -ENOMEM);
            assert_int_equal(counting.live, 0);
            assert_int_equal(children(), 0);
            if (counting.made < at)
                break;
        }
        assert_true(at < 100);
    }
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

REAL_TEST(what_makes_no_sense_is_refused)
{
    struct osr_worker_options options = {.size = sizeof(options), .where = OSR_HERE};
    struct osr_routine nothing = {0};

    check_int(osr_worker_with(NULL, NULL, &options), -EINVAL);
    check_int(osr_worker_with(&nothing, NULL, &options), -EINVAL);
    check_int(osr_worker_with(&give_number.routine_, NULL, NULL), -EINVAL);
    check_int(osr_worker(sleep_on, NULL, .room = 1), -EINVAL);
    check_int(osr_worker(sleep_on, NULL, .grace = -1), -EINVAL);
    options.size--;
    check_int(osr_worker_with(&give_number.routine_, NULL, &options), -EINVAL);
    check_int(osr_worker_give("x", 1), -EPERM);
    return 0;
}

OSR_TASK(fork_and_both_return, void, unused)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        return 1; /* which nobody may take for what the worker gives */
    return waitpid(pid, &status, 0) == pid && status != 0 ? 7 : 2;
}

OSR_TASK(call_who_forks, void, unused) { return osr_worker(fork_and_both_return, NULL); }

static void have_a_workers_child_return(void)
{
    if (osr_run(call_who_forks, NULL) == 7)
        die_of(SIGTERM);
}

TEST(what_a_worker_has_forked_cannot_return_in_its_place)
{
    assert_dies(have_a_workers_child_return, SIGTERM, "returned in a process that the worker has forked");
}

TEST(outside_a_run_there_are_no_workers)
{
    int number = 1;

    assert_int_equal(osr_worker(give_number, &number), -EPERM);
    assert_int_equal(osr_worker_give("x", 1), -EPERM);
}

/* ---- Places that are nearly alike ------------------------------------------------------------------------ */

#define FAR_AWAY "a/long/way/through/many/directories/to/some/file.c:"

OSR_TASK(fail_far_away, int, line)
{
    return osr_fail_here(*line == 1 ? FAR_AWAY "1" : FAR_AWAY "12", -EIO, "there");
}

REAL_TEST(places_that_begin_alike_are_kept_apart)
{
    int line = 12;

    check_int(osr_worker(fail_far_away, &line), -EIO);
    check_text(osr_error_where(osr_error_last()), FAR_AWAY "12");
    line = 1;
    check_int(osr_worker(fail_far_away, &line), -EIO);
    check_text(osr_error_where(osr_error_last()), FAR_AWAY "1");
    return 0;
}

/* How many more it has than the one that hires it. */
OSR_TASK(have_a_worker_count, void, unused)
{
    int here = open_descriptors();

    return osr_worker(count_descriptors, NULL) - here;
}

OSR_TASK(have_a_run_whose_worker_counts, void, unused) { return osr_run(have_a_worker_count, NULL); }

/* On which it speaks; another worker has none of the end on which the one that hired it speaks. */
REAL_TEST(a_workers_worker_has_its_own_end_alone)
{
    check_int(osr_worker(have_a_run_whose_worker_counts, NULL), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        process_test(a_worker_gives_back_what_its_function_returned),
        process_test(the_bytes_that_a_worker_gives_come_one_behind_the_other),
        process_test(a_result_may_fill_its_room_to_the_last_byte),
        process_test(a_result_may_be_larger_than_what_the_system_keeps_between_the_two),
        process_test(what_a_worker_changes_stays_there),
        process_test(an_error_comes_back_with_message_place_and_causes),
        process_test(another_code_than_the_last_error_has_that_as_its_cause),
        process_test(a_bare_code_comes_back_with_the_place_of_the_call),
        process_test(a_cancellation_that_the_function_made_up_is_spurious),
        process_test(a_worker_may_have_a_run_whose_tree_comes_back_in_words),
        process_test(messages_and_causes_beyond_all_measure_are_cut),
        process_test(a_worker_that_dies_of_a_signal_is_told_with_its_name),
        process_test(a_worker_that_calls_exit_is_told_with_its_status),
        process_test(what_a_worker_gave_before_it_died_is_there),
        process_test(more_bytes_than_fit_end_the_worker),
        process_test(a_worker_that_closes_its_pipe_is_waited_for_and_has_no_result),
        process_test(a_worker_that_writes_into_its_pipe_itself_is_ended),
        process_test(a_worker_may_die_at_any_point_of_what_it_says),
        process_test(a_workers_own_child_that_holds_its_pipe_does_not_hide_its_death),
        process_test(inside_a_worker_there_is_no_run),
        process_test(a_worker_has_the_stack_of_a_program),
        process_test(a_worker_may_have_workers),
        process_test(a_worker_does_not_outlive_its_program),
        process_test(a_cancelled_call_forks_nothing),
        process_test(a_worker_that_is_cancelled_gets_sigterm_and_is_reaped),
        process_test(a_worker_that_ignores_sigterm_is_killed_after_its_grace),
        process_test(a_worker_has_its_grace_to_tidy_up_and_nobody_wants_its_result),
        process_test(a_result_that_has_come_wins_over_a_cancellation),
        process_test(a_worker_that_speaks_just_before_its_deadline_is_cut_all_the_same),
        process_test(a_death_that_came_first_is_told_although_cancelled),
        process_test(a_shielded_worker_goes_on),
        process_test(an_error_beside_a_worker_ends_it),
        process_test(a_worker_that_is_dead_when_it_is_given_up_gets_no_signal),
        process_test(fifty_workers_at_once),
        process_test(a_worker_may_have_a_run_of_its_own_with_jobs_and_values),
        process_test(an_error_of_a_workers_own_run_has_the_name_of_its_task),
        process_test(workers_have_the_same_descriptors_however_many_there_are),
        process_test(other_children_of_the_program_are_left_alone),
        process_test(a_program_that_ignores_its_children_has_workers_all_the_same),
        process_test(simulated_time_stands_still_while_a_worker_works),
        process_test(each_worker_has_its_own_time_under_the_simulated_clock),
        process_test(a_worker_that_hangs_is_cut_at_its_deadline_in_simulated_time),
        process_test(what_a_worker_gives_does_not_hold_up_a_deadline),
        process_test(the_grace_of_a_worker_passes_in_simulated_time),
        process_test(the_usual_grace_of_a_worker_is_a_second),
        process_test(a_failing_system_call_at_the_start_leaves_nothing_behind),
        process_test(what_stood_in_the_buffer_of_standard_output_is_written_once),
        process_test(without_a_descriptor_for_processes_they_are_asked_after),
        process_test(without_descriptors_for_processes_two_may_work_at_once),
        process_test(where_a_process_cannot_be_signalled_by_descriptor_its_number_does),
        process_test(a_status_that_is_lost_does_not_cost_the_result),
        process_test(every_allocation_may_fail),
        process_test(what_makes_no_sense_is_refused),
        process_test(outside_a_run_there_are_no_workers),
        cmocka_unit_test(what_a_worker_has_forked_cannot_return_in_its_place),
        process_test(places_that_begin_alike_are_kept_apart),
        process_test(a_workers_worker_has_its_own_end_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
