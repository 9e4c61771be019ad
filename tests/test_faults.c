/*
 * Every allocation and every system call of the library's own may fail: programs that use nearly the whole
 * library are run with each failing in turn, once and from then on. They must end with a code and leave no
 * memory and no descriptor behind, and the next run must be as good as new.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static int first_error(int first, int second) { return first < 0 ? first : second; }
static int only_errors(int rc) { return rc < 0 ? rc : 0; }

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_TASK(give_number, int, number) { return *number; }

/* ---- A program of groups, scopes and handles ----------------------------------------------------------- */

OSR_TASK(nap, int, number)
{
    struct osr_scope soon, shield;
    int rc;

    osr_move_on_open(&soon, osr_ms(1 + *number));
    rc = osr_scope_close(&soon, osr_sleep(OSR_NEVER));
    if (rc == 0)
        rc = osr_yield();
    osr_shield_open(&shield, osr_ms(100));
    rc = osr_scope_close(&shield, first_error(rc, osr_sleep(osr_ms(1))));
    return rc < 0 ? rc : *number;
}

OSR_TASK(join_it, struct osr_task, target)
{
    return only_errors(osr_task_join(*target));
}

OSR_TASK(own_a_group, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    int number = 3, rc;

    osr_group_open(&group, .name = "a group of a child's");
    rc = osr_spawn(&group, nap, &number);
    if (rc == 0)
        rc = osr_spawn(&group, nap, &number, .eager = true);
    osr_timeout_open(&limit, osr_s(1));
    (void)osr_scope_set_deadline(&limit, osr_time_add(osr_now(), osr_s(2)));
    rc = osr_scope_close(&limit, first_error(rc, osr_check()));
    return osr_group_close(&group, rc);
}

OSR_TASK(use_groups, void, unused)
{
    struct osr_group group, inner;
    struct osr_scope limit;
    struct osr_task handles[6];
    int rc = 0, i;

    osr_timeout_open(&limit, osr_s(5));
    osr_group_open(&group, .name = "outer", .limit = 3);
    for (i = 0; i < 6 && rc == 0; i++)
        rc = osr_spawn_copy(&group, nap, &i, .name = "napper", .handle = &handles[i], .eager = i % 2 == 0);
    for (i = 0; i < 6 && rc == 0; i++)
        rc = only_errors(osr_task_join(handles[i]));
    if (rc == 0)
        rc = osr_task_release(&handles[0]);
    osr_group_open(&inner, .name = "inner");
    if (rc == 0)
        rc = osr_spawn(&inner, own_a_group, NULL);
    if (rc == 0)
        rc = osr_spawn(&inner, sleep_forever, NULL, .handle = &handles[0]);
    if (rc == 0)
        rc = osr_spawn(&inner, sleep_forever, NULL);
    if (rc == 0)
        rc = osr_sleep(osr_ms(20));
    if (rc == 0)
        rc = osr_task_cancel(handles[0], "not needed");
    if (rc == 0)
        rc = osr_task_join(handles[0]) == -OSR_ETASKCANCELED ? 0 : -EPROTO;
    (void)osr_tree_format(NULL, 0);
    osr_group_cancel(&inner, "enough");
    rc = osr_group_close(&inner, rc == -ECANCELED ? 0 : rc);
    rc = osr_group_close(&group, rc);
    return osr_scope_close(&limit, rc);
}

/* ---- A program of many tasks --------------------------------------------------------------------------- */

OSR_TASK(use_many_tasks, void, unused)
{
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < 150 && rc == 0; i++)
        rc = osr_spawn_copy(&group, nap, &i);
    return osr_group_close(&group, rc);
}

/* ---- A program of errors ------------------------------------------------------------------------------- */

OSR_TASK(fail_with, int, code)
{
    int rc = osr_sleep(OSR_NEVER);

    if (*code == -EIO)
        rc = osr_fail(*code, "failed with %s", osr_strcode(*code));
    else if (*code == -EPROTO)
        rc = osr_wrap(osr_fail(-ENOENT, "the cause"), "the effect");
    else
        rc = *code;
    return rc;
}

OSR_TASK(fail_in_a_group, void, unused)
{
    int codes[] = {-EIO, -EPROTO, -EDOM};
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group, .name = "failing");
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, fail_with, &codes[i]);
    if (rc == 0)
        rc = osr_yield();
    return osr_group_close(&group, rc < 0 ? rc : osr_fail(-ENOSPC, "the body failed"));
}

static int examine(struct osr_error *error)
{
    struct osr_error *matching = NULL, *rest = NULL, *derived = NULL;
    int wanted = EIO, rc;

    (void)osr_error_format(error, NULL, 0);
    rc = osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest);
    if (rc == 0 && matching && rest) {
        derived = osr_error_derive(error, &matching, 1);
        if (!derived)
            rc = -ENOMEM;
    }
    osr_error_release(matching);
    osr_error_release(rest);
    osr_error_release(derived);
    return rc;
}

OSR_TASK(use_errors, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    struct osr_error *error;
    int rc;

    osr_timeout_open(&limit, osr_ms(5));
    (void)osr_sleep(OSR_NEVER);
    rc = osr_scope_close(&limit, osr_fail(-EIO, "real and late"));
    if (rc != -EIO)
        return rc < 0 ? rc : -EPROTO;
    osr_group_open(&group, .name = "all");
    rc = osr_spawn(&group, fail_in_a_group, NULL);
    rc = osr_group_close(&group, rc);
    if (rc != -OSR_EGROUP)
        return rc < 0 ? rc : -EPROTO;
    error = osr_error_take();
    if (osr_error_count(error) < 1)
        rc = -EBADE;
    else if (osr_error_find(error, ENOMEM))
        rc = -ENOMEM;
    else
        rc = examine(error);
    osr_error_release(error);
    return rc;
}

/* ---- A program of guards, and one that is interrupted -------------------------------------------------- */

static int use_guards_inside(void)
{
    int code = -EIO, rc;
    OSR_GUARD_TIMEOUT(limit, osr_s(1));
    OSR_GUARD_GROUP(workers, .name = "workers");

    rc = osr_spawn(&workers, fail_with, &code);
    return rc < 0 ? rc : osr_yield();
}

OSR_TASK(use_guards, void, unused)
{
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    rc = use_guards_inside();
    rc = osr_scope_close(&scope, rc);
    return rc == -OSR_EGROUP && !osr_error_find(osr_error_last(), ENOMEM) ? 0 : rc < 0 ? rc : -EPROTO;
}

OSR_TASK(interrupt, void, unused) { return osr_fail_fatal(-EINTR, "interrupted"); }

OSR_TASK(be_interrupted, void, unused)
{
    struct osr_group group;
    int rc, number = 5;

    osr_group_open(&group);
    rc = osr_spawn(&group, nap, &number);
    if (rc == 0)
        rc = osr_spawn(&group, interrupt, NULL);
    return osr_group_close(&group, rc);
}

OSR_TASK(be_stuck, void, unused)
{
    struct osr_group group;
    struct osr_task handle;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleep_forever, NULL, .handle = &handle);
    if (rc == 0)
        rc = osr_spawn(&group, join_it, &handle);
    return osr_group_close(&group, rc);
}

/* ---- Programs of sockets and pipes --------------------------------------------------------------------- */

OSR_TASK(echo, int, fd)
{
    char bytes[64];
    int n, rc = 0;

    while (rc == 0 && (n = osr_read(*fd, bytes, sizeof(bytes))) != 0)
        rc = n < 0 ? n : osr_write_all(*fd, bytes, (size_t)n, NULL);
    return first_error(rc, osr_fd_close(*fd));
}

OSR_TASK(serve_two, int, listener)
{
    struct osr_group group;
    struct osr_address peer;
    int rc = 0, i, fd;

    osr_group_open(&group, .name = "connections");
    for (i = 0; i < 2 && rc == 0; i++) {
        rc = fd = osr_accept(*listener, &peer);
        if (fd >= 0)
            rc = osr_spawn_copy(&group, echo, &fd);
        if (fd >= 0 && rc < 0)
            (void)osr_fd_close(fd);
    }
    return osr_group_close(&group, rc);
}

OSR_TASK(be_a_client, struct osr_address, address)
{
    char bytes[8];
    size_t written;
    int fd = osr_connect(address), rc;

    if (fd < 0)
        return fd;
    rc = osr_fd_writable(fd);
    if (rc == 0)
        rc = osr_write_all(fd, "hello", 5, &written);
    if (rc == 0)
        rc = osr_fd_readable(fd);
    if (rc == 0)
        rc = only_errors(osr_read(fd, bytes, sizeof(bytes)));
    return first_error(rc, osr_fd_close(fd));
}

/* Under a deadline: where accept() fails for ever because connections are gone, there is nothing else to end it. */
OSR_TASK(use_sockets, void, unused)
{
    struct osr_address address;
    struct osr_group group;
    struct osr_scope limit;
    int listener, rc, i;

    rc = osr_address_ip(&address, "127.0.0.1", 0);
    if (rc < 0)
        return rc;
    listener = osr_listen(&address, 0);
    if (listener < 0)
        return listener;
    osr_timeout_open(&limit, osr_s(sized(2, 20)));
    rc = osr_socket_address(listener, &address);
    osr_group_open(&group, .name = "server and clients");
    if (rc == 0)
        rc = osr_spawn(&group, serve_two, &listener);
    for (i = 0; i < 2 && rc == 0; i++)
        rc = osr_spawn(&group, be_a_client, &address);
    rc = osr_scope_close(&limit, osr_group_close(&group, rc));
    return first_error(rc, osr_fd_close(listener));
}

OSR_TASK(connect_in_vain, void, unused)
{
    struct osr_address address;
    struct osr_scope limit;
    int rc = osr_address_unix(&address, "/tmp/there-is-no-such-directory/socket");

    if (rc == 0)
        rc = osr_connect(&address);
    if (rc != -ENOENT)
        return rc < 0 ? rc : -EPROTO;
    osr_move_on_open(&limit, 0);
    return osr_scope_close(&limit, osr_connect(&address));
}

static int zeros_fd[2];

OSR_TASK(read_all, int, fd)
{
    static char sink[65536];
    int n;

    do
        n = osr_read(*fd, sink, sizeof(sink));
    while (n > 0);
    return n;
}

static int pour(int a, int b)
{
    static const char zeros[300000];
    struct osr_group group;
    int rc, closed;

    osr_group_open(&group);
    rc = osr_spawn(&group, read_all, &a);
    if (rc == 0)
        rc = osr_write_all(b, zeros, sizeof(zeros), NULL);
    closed = osr_fd_close(b);
    rc = osr_group_close(&group, first_error(rc, closed));
    return first_error(rc, osr_fd_close(a));
}

OSR_TASK(use_blocking_pipe, void, unused)
{
    return pipe(zeros_fd) < 0 ? osr_fail(-errno, "no pipe") : pour(zeros_fd[0], zeros_fd[1]);
}

OSR_TASK(use_blocking_sockets, void, unused)
{
    return socketpair(AF_UNIX, SOCK_STREAM, 0, zeros_fd) < 0 ? osr_fail(-errno, "no pair")
                                                              : pour(zeros_fd[0], zeros_fd[1]);
}

OSR_TASK(close_under_a_reader, void, unused)
{
    struct osr_group group;
    int rc, fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return osr_fail(-errno, "no pair");
    osr_group_open(&group, .unwrap = true);
    rc = osr_spawn(&group, read_all, &fds[0]);
    if (rc == 0)
        rc = osr_sleep(osr_us(100));
    rc = first_error(rc, osr_fd_close(fds[0]));
    rc = osr_group_close(&group, rc);
    (void)osr_fd_close(fds[1]);
    return rc == -EBADF ? 0 : rc < 0 ? rc : -EPROTO;
}

/* ---- Torture ------------------------------------------------------------------------------------------- */

static const struct program {
    const char *name;
    const struct osr_routine *routine;
    enum osr_clock clock;
    int gives; /* when nothing fails */
} programs[] = {
    {"groups", &use_groups.routine_, OSR_CLOCK_SIMULATED, 0},
    {"many tasks", &use_many_tasks.routine_, OSR_CLOCK_SIMULATED, 0},
    {"errors", &use_errors.routine_, OSR_CLOCK_SIMULATED, 0},
    {"guards", &use_guards.routine_, OSR_CLOCK_SIMULATED, 0},
    {"interrupted", &be_interrupted.routine_, OSR_CLOCK_SIMULATED, -EINTR},
    {"stuck", &be_stuck.routine_, OSR_CLOCK_SIMULATED, -OSR_EDEADLOCK},
    {"groups in real time", &use_groups.routine_, OSR_CLOCK_REAL, 0},
    {"stuck in real time", &be_stuck.routine_, OSR_CLOCK_REAL, -OSR_EDEADLOCK},
    {"sockets", &use_sockets.routine_, OSR_CLOCK_REAL, 0},
    {"connecting in vain", &connect_in_vain.routine_, OSR_CLOCK_REAL, 0},
    {"a blocking pipe", &use_blocking_pipe.routine_, OSR_CLOCK_REAL, 0},
    {"blocking sockets", &use_blocking_sockets.routine_, OSR_CLOCK_REAL, 0},
    {"a close under a reader", &close_under_a_reader.routine_, OSR_CLOCK_REAL, 0},
};

enum { program_count = sizeof(programs) / sizeof(programs[0]) };

/* Which question of the fault door is answered by what; what became of it. */
struct trial {
    long at;
    unsigned answer;
    bool all_after;
    long asked;
    unsigned choices;     /* of the question that was answered */
    char what[32];        /* which call it was */
    char diagnosis[1024]; /* the first that was made */
};

static unsigned choose_fault(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct trial *trial = arg;

    if (kind != OSR_CHOICE_FAULT)
        return 0;
    trial->asked++;
    if (trial->at == 0 || trial->asked < trial->at || (trial->asked > trial->at && !trial->all_after))
        return 0;
    if (trial->asked == trial->at) {
        trial->choices = n;
        snprintf(trial->what, sizeof(trial->what), "%s", what);
    }
    return trial->answer < n ? trial->answer : n - 1;
}

static void note_diagnosis(void *arg, enum osr_diagnosis kind, const char *text)
{
    struct trial *trial = arg;

    if (!trial->diagnosis[0])
        snprintf(trial->diagnosis, sizeof(trial->diagnosis), "%d: %s", (int)kind, text);
}

static int run_program(const struct program *program, struct trial *trial)
{
    const struct osr_run_options options = {.size = sizeof(options),
                                            .where = OSR_HERE,
                                            .clock = program->clock,
                                            .debug = true,
                                            .slow_step = OSR_NEVER, /* a busy machine is no fault */
                                            .allocator = &counting_allocator,
                                            .diagnose = note_diagnosis,
                                            .diagnose_arg = trial,
                                            .choose = choose_fault,
                                            .choose_arg = trial};

    return osr_run_with(program->routine, NULL, &options);
}

/* The trial that runs now, for what is said when it goes wrong. */
static struct {
    const char *program, *mode;
    long number;
    const struct trial *trial;
} now;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void complain(const char *format, ...)
{
    va_list list;

    fprintf(stderr, "%s: %s %ld (%s, answer %u): ", now.program, now.mode, now.number, now.trial->what,
            now.trial->answer);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

static void stalled(int number)
{
    (void)number;
    complain("the run does not end");
}

/* Runs `program` once and sees to it that all is as it was before. */
static int survive(const struct program *program, struct trial *trial, const char *mode, long number)
{
    int descriptors = open_descriptors(), rc, after;

    now.program = program->name;
    now.mode = mode;
    now.number = number;
    now.trial = trial;
    alarm((unsigned)sized(10, 60));
    rc = run_program(program, trial);
    alarm(0);
    counting.fail_at = 0;
    osr_error_clear();
    after = open_descriptors();
    if (rc > 0 || osr_strcode(rc)[0] == '?')
        complain("gave %d", rc);
    if (counting.live != 0)
        complain("gave %s: %ld blocks are left", osr_strcode(rc), counting.live);
    if (after != descriptors)
        complain("gave %s: %d descriptors instead of %d", osr_strcode(rc), after, descriptors);
    if (trial->diagnosis[0])
        complain("gave %s: diagnosis %s", osr_strcode(rc), trial->diagnosis);
    return rc;
}

/* Runs `program` with nothing failing; gives how many allocations and how many questions there are. */
static void run_clean(const struct program *program, long *allocations, long *questions)
{
    struct trial trial = {0};
    int rc;

    counting = (struct counting){0};
    rc = survive(program, &trial, "clean run", 0);
    if (rc != program->gives)
        complain("gave %s", osr_strcode(rc));
    *allocations = counting.made;
    *questions = trial.asked;
}

static void fail_each_allocation(const struct program *program, bool all_after)
{
    long allocations, questions, again, i;

    run_clean(program, &allocations, &questions);
    for (i = 1; i <= allocations; i++) {
        struct trial trial = {0};

        counting = (struct counting){.fail_at = i, .all_after = all_after};
        survive(program, &trial, all_after ? "allocations from" : "allocation", i);
    }
    run_clean(program, &again, &questions);
    if (program->clock == OSR_CLOCK_SIMULATED && again != allocations)
        complain("%ld allocations, and then %ld", allocations, again);
}

static void fail_each_call(const struct program *program, bool all_after)
{
    long allocations, questions, i;
    unsigned answer, choices;

    run_clean(program, &allocations, &questions);
    for (i = 1; i <= questions; i++) {
        choices = 2;
        for (answer = 1; answer < choices; answer++) {
            struct trial trial = {.at = i, .answer = answer, .all_after = all_after};

            counting = (struct counting){0};
            survive(program, &trial, all_after ? "calls from" : "call", i);
            if (trial.choices > choices)
                choices = trial.choices;
        }
    }
    run_clean(program, &allocations, &questions);
}

/* Tortures each program in a process of its own, so that one that stalls or dies hides no other. */
static void torture(void (*each)(const struct program *program, bool all_after), bool all_after)
{
    int i, status, failed = 0;
    pid_t pid;

    for (i = 0; i < program_count; i++) {
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
            signal(SIGALRM, stalled);
            signal(SIGSEGV, SIG_DFL);
            each(&programs[i], all_after);
            exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            print_error("%s: died or failed with status %#x\n", programs[i].name, status);
        failed += status != 0;
    }
    assert_int_equal(failed, 0);
}

TEST(nothing_is_lost_when_one_allocation_fails) { torture(fail_each_allocation, false); }
TEST(nothing_is_lost_when_all_allocations_fail_from_some_moment_on) { torture(fail_each_allocation, true); }
TEST(nothing_is_lost_when_one_system_call_fails) { torture(fail_each_call, false); }
TEST(nothing_is_lost_when_all_system_calls_fail_from_some_moment_on) { torture(fail_each_call, true); }

/* ---- What a failure looks like ------------------------------------------------------------------------- */

OSR_TASK(do_nothing, void, unused) { return 0; }

TEST(a_run_that_cannot_begin_says_why)
{
    const enum osr_clock clocks[] = {OSR_CLOCK_SIMULATED, OSR_CLOCK_REAL};
    int before = open_descriptors(), rc;
    size_t i;
    long at;

    for (i = 0; i < 2; i++) {
        const struct program idle = {"idle", &do_nothing.routine_, clocks[i], 0};

        for (at = 1, rc = -ENOMEM; rc != 0 && at < 1000; at++) {
            struct trial trial = {0};

            counting = (struct counting){.fail_at = at, .all_after = true};
            rc = run_program(&idle, &trial);
            assert_true(rc == 0 || rc == -ENOMEM);
            assert_true(rc == 0 || osr_error_code(osr_error_last()) == -ENOMEM);
            osr_error_clear();
            assert_int_equal(counting.live, 0);
            assert_int_equal(open_descriptors(), before);
        }
        assert_in_range(at, 3, 999);
    }
}

/* Calls that are tried again after they failed once. */
struct retried {
    struct osr_address address;
    struct trial *trial;
    int listener, ends[2];
    char byte;
};

static int try_readable(struct retried *r) { return osr_fd_readable(r->ends[0]); }
static int try_writable(struct retried *r) { return osr_fd_writable(r->ends[0]); }
static int try_read(struct retried *r) { return osr_read(r->ends[0], &r->byte, 1); }
static int try_write(struct retried *r) { return osr_write(r->ends[0], &r->byte, 1); }
static int try_write_all(struct retried *r) { return osr_write_all(r->ends[0], &r->byte, 1, NULL); }
static int try_sleep(struct retried *r) { return osr_sleep(r->listener >= 0); }

static int try_listen(struct retried *r)
{
    struct osr_address any = r->address;
    int fd;

    osr_address_ip(&any, "127.0.0.1", 0);
    fd = osr_listen(&any, 0);
    return fd < 0 ? fd : osr_fd_close(fd);
}

static int try_connect_and_accept(struct retried *r)
{
    int client = osr_connect(&r->address), served;

    if (client < 0)
        return client;
    served = osr_accept(r->listener, NULL);
    if (served < 0) {
        (void)osr_fd_close(client);
        return served;
    }
    return first_error(osr_fd_close(client), osr_fd_close(served));
}

static int try_spawn(struct retried *r)
{
    struct osr_group group;
    struct osr_task handle;
    int number = 1 + (r->listener < 0), rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, give_number, &number, .handle = &handle);
    if (rc == 0)
        rc = only_errors(osr_task_join(handle));
    return osr_group_close(&group, rc);
}

OSR_TASK(try_again_after_failures, struct retried, r)
{
    static int (*const calls[])(struct retried *r) = {try_readable, try_writable, try_read,   try_write,
                                                      try_write_all, try_sleep,   try_listen, try_connect_and_accept,
                                                      try_spawn};
    size_t i;
    long at, asked;

    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, r->ends), 0);
    check_int(osr_address_ip(&r->address, "127.0.0.1", 0), 0);
    r->listener = osr_listen(&r->address, 0);
    check_int(osr_socket_address(r->listener, &r->address), 0);
    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (at = 1, asked = 1; at <= asked && at < 100; at++) {
            check_int(write(r->ends[1], "xx", 2), 2);
            *r->trial = (struct trial){.at = at, .answer = 1};
            (void)calls[i](r);
            asked = r->trial->asked;
            r->trial->at = 0;
            check(calls[i](r) >= 0);
            check_int(osr_yield(), 0);
        }
    }
    check_int(osr_fd_close(r->ends[0]), 0);
    check_int(osr_fd_close(r->ends[1]), 0);
    check_int(osr_fd_close(r->listener), 0);
    return 0;
}

TEST(a_call_that_failed_once_works_when_it_is_tried_again)
{
    struct trial trial = {0};
    struct retried retried = {.trial = &trial};
    int before = open_descriptors();

    assert_int_equal(osr_run(try_again_after_failures, &retried, .debug = true, .slow_step = OSR_NEVER, .choose = choose_fault,
                             .choose_arg = &trial),
                     0);
    assert_checked();
    assert_int_equal(open_descriptors(), before);
}

OSR_TASK(write_to_closed_peers, struct trial, trial)
{
    long at = 0;
    int fds[2];

    do {
        check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        check_int(osr_fd_close(fds[1]), 0);
        *trial = (struct trial){.at = ++at, .answer = 1};
        check(osr_write(fds[0], "x", 1) < 0);
        trial->at = 0;
        check(osr_write(fds[0], "x", 1) < 0);
        check_int(osr_fd_close(fds[0]), 0);
    } while (trial->asked >= at);
    return 0;
}

static void write_to_closed_peers_and_exit(void)
{
    struct trial trial = {0};

    signal(SIGPIPE, SIG_DFL);
    exit(osr_run(write_to_closed_peers, &trial, .choose = choose_fault, .choose_arg = &trial) != 0);
}

TEST(a_failing_system_call_lets_no_socket_raise_a_signal)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        write_to_closed_peers_and_exit();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

OSR_TASK(spawn_until_memory_is_short, int, spawned)
{
    static struct osr_task handles[5000];
    struct osr_group group;
    int rc = 0, sum = 0, one = 1, i;

    osr_group_open(&group);
    counting.fail_at = counting.made + 20;
    counting.all_after = true;
    for (i = 0; i < 5000 && rc == 0; i++)
        rc = osr_spawn(&group, give_number, &one, .handle = &handles[i]);
    *spawned = i - 1;
    check_int(rc, -ENOMEM);
    check(!osr_error_last() || osr_error_code(osr_error_last()) == -ENOMEM);
    for (i = 0; i < *spawned; i++)
        sum += osr_task_join(handles[i]);
    check_int(sum, *spawned);
    counting.fail_at = 0;
    check_int(osr_spawn(&group, give_number, &one), 0);
    return osr_group_close(&group, 0);
}

TEST(a_spawn_without_memory_fails_alone)
{
    int spawned = 0;

    assert_int_equal(run_simulated(spawn_until_memory_is_short, &spawned, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

/* ---- Single faults ------------------------------------------------------------------------------------- */

/* The first connections are gone before they can be accepted. */
static unsigned abort_some_connections(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    int *left = arg;

    (void)n;
    if (kind != OSR_CHOICE_FAULT || strcmp(what, "accept") != 0 || *left == 0)
        return 0;
    --*left;
    return 3; /* ECONNABORTED */
}

OSR_TASK(accept_among_aborted, int, expected)
{
    struct osr_address address;
    int listener, client, served;

    osr_address_ip(&address, "127.0.0.1", 0);
    listener = osr_listen(&address, 0);
    osr_socket_address(listener, &address);
    client = osr_connect(&address);
    served = osr_accept(listener, NULL);
    check_int(served < 0 ? served : 0, *expected);
    if (served >= 0)
        osr_fd_close(served);
    osr_fd_close(client);
    osr_fd_close(listener);
    return 0;
}

TEST(connections_that_are_gone_before_they_are_accepted_are_passed_over)
{
    int left = 5, fine = 0, aborted = -ECONNABORTED;

    assert_int_equal(osr_run(accept_among_aborted, &fine, .choose = abort_some_connections, .choose_arg = &left), 0);
    assert_int_equal(left, 0);
    left = 64;
    assert_int_equal(osr_run(accept_among_aborted, &aborted, .choose = abort_some_connections, .choose_arg = &left), 0);
    assert_int_equal(left, 0);
    assert_checked();
}

OSR_TASK(give_a_byte_later, int, fd)
{
    int i;

    for (i = 0; i < 600; i++) /* the loop looks meanwhile */
        osr_yield();
    check_int(write(*fd, "x", 1), 1);
    counting.fail_at = 0;
    return 0;
}

OSR_TASK(read_when_the_loop_has_no_memory, void, unused)
{
    struct osr_group group;
    int fds[2];
    char byte = 0;

    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_int(osr_fd_writable(fds[0]), 0);
    osr_group_open(&group);
    osr_spawn(&group, give_a_byte_later, &fds[1]);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    check_int(osr_read(fds[0], &byte, 1), 1);
    check_int(byte, 'x');
    osr_fd_close(fds[0]);
    osr_fd_close(fds[1]);
    return osr_group_close(&group, 0);
}

OSR_TASK(yield_for_a_while, void, unused)
{
    int i;

    for (i = 0; i < 1000; i++)
        osr_yield();
    return 0;
}

OSR_TASK(look_without_memory, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, yield_for_a_while, NULL);
    (void)osr_group_close(&group, read_when_the_loop_has_no_memory.routine_.run(NULL));
    return 0;
}

TEST(a_simulated_loop_without_memory_goes_on)
{
    assert_int_equal(run_simulated(look_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(nothing_is_lost_when_one_allocation_fails),
        story_test(nothing_is_lost_when_all_allocations_fail_from_some_moment_on),
        story_test(nothing_is_lost_when_one_system_call_fails),
        story_test(nothing_is_lost_when_all_system_calls_fail_from_some_moment_on),
        story_test(a_run_that_cannot_begin_says_why),
        story_test(a_call_that_failed_once_works_when_it_is_tried_again),
        story_test(a_failing_system_call_lets_no_socket_raise_a_signal),
        story_test(a_spawn_without_memory_fails_alone),
        story_test(connections_that_are_gone_before_they_are_accepted_are_passed_over),
        story_test(a_simulated_loop_without_memory_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
