/*
 * What a failing allocation or system call looks like to the program. That each of them may fail, and does no harm, is seen
 * to by torture/.
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

OSR_TASK(give_number, int, number) { return *number; }

/* ---- Faults --------------------------------------------------------------------------------------------- */

/* Which question of the fault door is answered, with its first code. */
struct trial {
    long at; /* 0: none */
    long asked;
};

static unsigned choose_fault(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct trial *trial = arg;

    (void)n, (void)what;
    return kind == OSR_CHOICE_FAULT && ++trial->asked == trial->at;
}

/* ---- What a failure looks like ------------------------------------------------------------------------- */

OSR_TASK(do_nothing, void, unused) { return 0; }

TEST(a_run_that_cannot_begin_says_why)
{
    const enum osr_clock clocks[] = {OSR_CLOCK_SIMULATED, OSR_CLOCK_REAL};
    int before = open_descriptors(), rc;
    size_t i;
    long at;

    for (i = 0; i < 2; i++) {
        for (at = 1, rc = -ENOMEM; rc != 0 && at < 1000; at++) {
            counting = (struct counting){.fail_at = at, .all_after = true};
            rc = osr_run(do_nothing, NULL, .clock = clocks[i], .debug = true, .allocator = &counting_allocator);
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
            *r->trial = (struct trial){.at = at};
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
        *trial = (struct trial){.at = ++at};
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

/* ---- Where the system never tells what is ready ---------------------------------------------------------- */

static unsigned let_polls_fail(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_FAULT && strcmp(what, "poll") == 0;
}

OSR_TASK(read_one, int, fd)
{
    char byte;

    return only_errors((int)osr_read(*fd, &byte, 1));
}

OSR_TASK(settle_beside_a_reader, void, unused)
{
    struct osr_group group;
    int fds[2];

    check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    osr_group_open(&group);
    osr_spawn(&group, read_one, &fds[0]);
    check_int(osr_settle(), 0);
    check_int(osr_sleep(osr_s(1)), 0);
    check_int(osr_settle(), 0);
    check_int((int)osr_group_running(&group), 1);
    check_int(write(fds[1], "x", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_fd_close(fds[0]), 0);
    close(fds[1]);
    return 0;
}

TEST(all_is_settled_also_where_the_system_cannot_tell)
{
    assert_int_equal(run_simulated(settle_beside_a_reader, NULL), 0);
    assert_int_equal(run_simulated(settle_beside_a_reader, NULL, .choose = let_polls_fail), 0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_run_that_cannot_begin_says_why),
        story_test(a_call_that_failed_once_works_when_it_is_tried_again),
        story_test(a_failing_system_call_lets_no_socket_raise_a_signal),
        story_test(a_spawn_without_memory_fails_alone),
        story_test(connections_that_are_gone_before_they_are_accepted_are_passed_over),
        story_test(a_simulated_loop_without_memory_goes_on),
        story_test(all_is_settled_also_where_the_system_cannot_tell),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
