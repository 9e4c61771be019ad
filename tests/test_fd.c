/* Descriptors and sockets: real ones, under the real clock. No test leaves a descriptor behind. */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <osier/attach.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

#define run_real(...) osr_run(__VA_ARGS__, .debug = true, .slow_step = OSR_NEVER)

/* Two ends of a connection, both blocking, as another library might have made them. */
struct ends {
    int a, b;
};

static struct ends socket_ends(void)
{
    int fds[2] = {-1, -1};

    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    return (struct ends){fds[0], fds[1]};
}

static struct ends pipe_ends(void)
{
    int fds[2] = {-1, -1};

    check_int(pipe(fds), 0);
    return (struct ends){fds[0], fds[1]};
}

static void close_ends(struct ends ends)
{
    check_int(osr_fd_close(ends.a), 0);
    check_int(osr_fd_close(ends.b), 0);
}

/* A read in a task of its own. */
struct reading {
    int fd, gave;
    char bytes[64];
};

OSR_TASK(read_some, struct reading, r)
{
    r->gave = osr_read(r->fd, r->bytes, sizeof(r->bytes));
    return r->gave == -ECANCELED ? -ECANCELED : 0;
}

struct waiting {
    int fd, gave;
};

OSR_TASK(wait_readable, struct waiting, w)
{
    w->gave = osr_fd_readable(w->fd);
    return w->gave == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(wait_writable, struct waiting, w)
{
    w->gave = osr_fd_writable(w->fd);
    return w->gave == -ECANCELED ? -ECANCELED : 0;
}

/* Writes until nothing more fits; gives how many bytes that took. */
static size_t fill(int fd)
{
    static const char zeros[4096];
    size_t filled = 0;
    ssize_t n;
    int flags = fcntl(fd, F_GETFL);

    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while ((n = write(fd, zeros, sizeof(zeros))) > 0 || (n = write(fd, zeros, 1)) > 0)
        filled += (size_t)n;
    fcntl(fd, F_SETFL, flags);
    return filled;
}

/* ---- Waiting for a descriptor -------------------------------------------------------------------------- */

OSR_TASK(wait_for_both_directions, void, unused)
{
    struct ends ends = socket_ends();
    struct waiting waiting = {ends.a, -1};
    struct osr_group group;

    check_int(osr_fd_writable(ends.a), 0);
    osr_group_open(&group);
    osr_spawn(&group, wait_readable, &waiting);
    osr_yield();
    check_int(waiting.gave, -1);
    check_int(write(ends.b, "x", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(waiting.gave, 0);
    check_int(osr_fd_readable(ends.a), 0);
    close_ends(ends);
    return 0;
}

TEST(a_descriptor_becomes_readable_and_is_writable)
{
    assert_int_equal(run_real(wait_for_both_directions, NULL), 0);
    assert_checked();
}

OSR_TASK(hang_up_on_a_reader, void, unused)
{
    struct ends ends = socket_ends();
    struct waiting waiting = {ends.a, -1};
    struct osr_group group;
    char byte;

    osr_group_open(&group);
    osr_spawn(&group, wait_readable, &waiting);
    osr_yield();
    check_int(osr_fd_close(ends.b), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(waiting.gave, 0);
    check_int(osr_read(ends.a, &byte, 1), 0);
    check_int(osr_read(ends.a, &byte, 1), 0);
    check_int(osr_fd_close(ends.a), 0);
    return 0;
}

TEST(a_peer_that_hangs_up_makes_a_descriptor_readable_and_reads_as_the_end)
{
    assert_int_equal(run_real(hang_up_on_a_reader, NULL), 0);
    assert_checked();
}

OSR_TASK(wait_until_room, void, unused)
{
    struct ends ends = socket_ends();
    struct waiting waiting = {ends.a, -1};
    struct osr_group group;
    size_t filled = fill(ends.a);
    char *sink = malloc(filled);

    osr_group_open(&group);
    osr_spawn(&group, wait_writable, &waiting);
    osr_sleep(osr_ms(2));
    check_int(waiting.gave, -1);
    while (filled > 0) {
        int n = osr_read(ends.b, sink, filled);

        check(n > 0);
        if (n <= 0)
            break;
        filled -= (size_t)n;
    }
    check_int(osr_group_close(&group, 0), 0);
    check_int(waiting.gave, 0);
    close_ends(ends);
    free(sink);
    return 0;
}

TEST(a_full_descriptor_becomes_writable_when_the_peer_reads)
{
    assert_int_equal(run_real(wait_until_room, NULL), 0);
    assert_checked();
}

OSR_TASK(wait_twice, void, unused)
{
    struct ends ends = socket_ends();
    struct reading first = {.fd = ends.a, .gave = -1}, second = first;
    struct waiting third = {ends.a, -1}, writer = {ends.a, -1};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, read_some, &first);
    osr_spawn(&group, read_some, &second);
    osr_spawn(&group, wait_readable, &third);
    osr_spawn(&group, wait_writable, &writer);
    osr_sleep(osr_ms(1));
    check_int(second.gave, -EBUSY);
    check_int(third.gave, -EBUSY);
    check_int(writer.gave, 0);
    check_int(first.gave, -1);
    check_int(osr_write(ends.b, "hello", 5), 5);
    check_int(osr_group_close(&group, 0), 0);
    check_int(first.gave, 5);
    close_ends(ends);
    return 0;
}

TEST(a_second_reader_is_refused_and_the_first_undisturbed)
{
    assert_int_equal(run_real(wait_twice, NULL), 0);
    assert_checked();
}

OSR_TASK(take_over_from_a_reader, void, unused)
{
    struct ends ends = socket_ends();
    struct osr_scope limit;
    char byte = 0;

    osr_move_on_open(&limit, osr_ms(1));
    check_int(osr_read(ends.a, &byte, 1), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    check_int(osr_write(ends.b, "x", 1), 1);
    check_int(osr_read(ends.a, &byte, 1), 1);
    check_int(byte, 'x');
    close_ends(ends);
    return 0;
}

TEST(a_read_that_was_cut_has_read_nothing_and_frees_the_descriptor)
{
    assert_int_equal(run_real(take_over_from_a_reader, NULL), 0);
    assert_checked();
}

OSR_TASK(use_bad_descriptors, int, fd)
{
    size_t written = 99;
    char byte = 0;

    check_int(osr_fd_readable(*fd), -EBADF);
    check_int(osr_fd_writable(*fd), -EBADF);
    check_int(osr_read(*fd, &byte, 1), -EBADF);
    check_int(osr_write(*fd, &byte, 1), -EBADF);
    check_int(osr_write_all(*fd, &byte, 1, &written), -EBADF);
    check_int(written, 0);
    check_int(osr_accept(*fd, NULL), -EBADF);
    check_int(osr_fd_close(*fd), -EBADF);
    check_int(osr_check(), 0);
    return 0;
}

TEST(bad_descriptors_give_a_code)
{
    int fds[] = {-1, INT_MIN, 1023, 1 << 20, 1 << 30, INT_MAX};
    size_t i;

    for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        assert_int_equal(run_real(use_bad_descriptors, &fds[i]), 0);
    assert_checked();
}

OSR_TASK(use_a_closed_descriptor, void, unused)
{
    struct ends ends = socket_ends();
    int fd = ends.a;
    char byte;

    check_int(osr_write(ends.a, "x", 1), 1);
    check_int(osr_fd_readable(ends.b), 0);
    close_ends(ends);
    use_bad_descriptors.routine_.run(&fd);
    ends = socket_ends();
    check_int(ends.a, fd);
    close(ends.a);
    use_bad_descriptors.routine_.run(&fd);
    check_int(osr_read(ends.b, &byte, 1), 0);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(a_closed_descriptor_gives_a_code)
{
    assert_int_equal(run_real(use_a_closed_descriptor, NULL), 0);
    assert_checked();
}

OSR_TASK(wait_for_the_runs_own_descriptors, int, highest_before)
{
    struct osr_scope limit;
    int fd;

    for (fd = *highest_before + 1; fd < *highest_before + 10; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        osr_move_on_open(&limit, osr_ms(1));
        (void)osr_scope_close(&limit, osr_fd_readable(fd));
    }
    return osr_sleep(osr_ms(1));
}

static void run_waiting_for_own_descriptors(void)
{
    int highest = dup(0);

    close(highest--);
    leave_child(osr_run(wait_for_the_runs_own_descriptors, &highest) == 0 ? 0 : 1);
}

/* A number that was closed before the run may be one of the run's own: a bad descriptor like others. */
TEST(waiting_for_a_descriptor_of_the_runs_own_does_not_abort)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        run_waiting_for_own_descriptors();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

OSR_TASK(close_under_waiters, void, unused)
{
    struct ends ends = socket_ends();
    struct waiting reader = {ends.a, -1}, writer = {ends.a, -1};
    struct osr_group group;

    fill(ends.a);
    osr_group_open(&group);
    osr_spawn(&group, wait_readable, &reader);
    osr_spawn(&group, wait_writable, &writer);
    osr_yield();
    check_int(osr_fd_close(ends.a), 0);
    check_int(reader.gave, -1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.gave, -EBADF);
    check_int(writer.gave, -EBADF);
    check_int(osr_fd_close(ends.a), -EBADF);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(closing_a_descriptor_wakes_those_who_wait_for_it)
{
    assert_int_equal(run_real(close_under_waiters, NULL), 0);
    assert_checked();
}

OSR_TASK(reuse_a_number, void, unused)
{
    struct ends old = socket_ends(), fresh = socket_ends();
    struct reading reader = {.fd = old.a, .gave = -1};
    struct osr_scope limit;
    struct osr_group group;
    int other = dup(old.a);
    char byte = 0;

    osr_group_open(&group);
    osr_spawn(&group, read_some, &reader);
    osr_sleep(osr_ms(1));
    /* Close the number under its waiter, and give it to another file at once; the old file lives on. */
    check_int(osr_fd_close(old.a), 0);
    check_int(dup2(fresh.a, old.a), old.a);
    check_int(write(old.b, "for the old one", 15), 15);
    osr_move_on_open(&limit, osr_ms(10));
    check_int(osr_read(old.a, &byte, 1), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    check_int(reader.gave, -EBADF);
    check_int(write(fresh.b, "n", 1), 1);
    check_int(osr_read(old.a, &byte, 1), 1);
    check_int(byte, 'n');
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_fd_close(old.a), 0);
    check_int(osr_fd_close(other), 0);
    check_int(osr_fd_close(old.b), 0);
    close_ends(fresh);
    return 0;
}

TEST(a_number_used_again_gets_no_events_of_the_old_descriptor)
{
    assert_int_equal(run_real(reuse_a_number, NULL), 0);
    assert_checked();
}

OSR_TASK(reuse_a_number_with_an_event_due, void, unused)
{
    struct ends old = socket_ends(), fresh;
    struct reading reader = {.fd = old.a, .gave = -1};
    struct osr_scope limit;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, read_some, &reader);
    osr_sleep(osr_ms(1));
    check_int(write(old.b, "x", 1), 1);
    check_int(osr_fd_close(old.a), 0);
    fresh = socket_ends();
    check_int(fresh.a, old.a);
    osr_move_on_open(&limit, osr_ms(5));
    check_int(osr_fd_readable(fresh.a), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.gave, -EBADF);
    close_ends(fresh);
    check_int(osr_fd_close(old.b), 0);
    return 0;
}

TEST(an_event_that_was_due_for_a_closed_descriptor_reaches_nobody)
{
    assert_int_equal(run_real(reuse_a_number_with_an_event_due, NULL), 0);
    assert_checked();
}

OSR_TASK(close_and_reopen_many_times, void, unused)
{
    struct osr_group group;
    int i;

    for (i = 0; i < 200; i++) {
        struct ends ends = i % 2 ? pipe_ends() : socket_ends();
        struct reading reader = {.fd = ends.a, .gave = -1};

        osr_group_open(&group);
        osr_spawn(&group, read_some, &reader);
        osr_yield();
        if (i % 3 == 0) {
            check_int(osr_fd_close(ends.a), 0);
            check_int(osr_group_close(&group, 0), 0);
            check_int(reader.gave, -EBADF);
        } else {
            check_int(osr_write(ends.b, "abc", 3), 3);
            check_int(osr_group_close(&group, 0), 0);
            check_int(reader.gave, 3);
            check_int(osr_fd_close(ends.a), 0);
        }
        check_int(osr_fd_close(ends.b), 0);
    }
    return 0;
}

TEST(numbers_can_be_used_again_and_again)
{
    assert_int_equal(run_real(close_and_reopen_many_times, NULL), 0);
    assert_checked();
}

enum { PARTS = 16, CALLS_AT_ONCE = 256 };

struct long_write {
    int fd, before; /* so many calls that finish at once come before it */
    bool begun;
    int rc; /* 1: it has not come back */
    size_t written;
};

OSR_TASK(write_in_parts, struct long_write, w)
{
    static const char bytes[PARTS * PIPE_BUF];
    int i;

    for (i = 0; i < w->before; i++)
        check_int(osr_check(), 0);
    w->begun = true;
    w->rc = osr_write_all(w->fd, bytes, sizeof(bytes), &w->written); /* into a blocking pipe: so much at a time */
    return 0;
}

/* Gives `fd` up and has the number stand for another pipe: the end that is read from. */
static int replace_by_another_pipe(int fd)
{
    int pipes[2], kept;

    check_int(osr_fd_close(fd), 0);
    check_int(pipe2(pipes, O_NONBLOCK), 0);
    kept = fcntl(pipes[0], F_DUPFD, fd + 10);
    check_int(close(pipes[0]), 0);
    if (pipes[1] != fd) {
        check_int(dup2(pipes[1], fd), fd);
        check_int(close(pipes[1]), 0);
    }
    return kept;
}

OSR_TASK(close_between_two_parts, void, unused)
{
    int before, cut = 0;
    char byte;

    for (before = 0; before < CALLS_AT_ONCE; before++) {
        struct ends ends = pipe_ends();
        struct long_write write = {.fd = ends.b, .before = before, .rc = 1};
        struct osr_group group;
        int other = -1;

        osr_group_open(&group);
        osr_spawn(&group, write_in_parts, &write);
        while (!write.begun)
            osr_yield();
        if (write.rc == 1)
            other = replace_by_another_pipe(ends.b);
        check_int(osr_group_close(&group, 0), 0);
        if (other >= 0) {
            check_int(write.rc, write.written < PARTS * PIPE_BUF ? -EBADF : 0); /* others ran after the last part too */
            check(write.written > 0);
            check_int(read(other, &byte, 1), -1); /* nothing has come there */
            close(other);
            cut += write.rc < 0;
        }
        close_ends(ends);
    }
    check(cut > 0);
    return 0;
}

TEST(a_number_closed_and_used_again_between_two_parts_of_a_write_gets_none_of_the_rest)
{
    assert_int_equal(osr_run(close_between_two_parts, NULL), 0);
    assert_checked();
}

OSR_TASK(close_one_of_two_numbers, void, unused)
{
    struct ends ends = socket_ends();
    int twin = dup(ends.a);
    struct reading kept = {.fd = ends.a, .gave = -1}, closed = {.fd = twin, .gave = -1};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, read_some, &kept);
    osr_spawn(&group, read_some, &closed);
    osr_sleep(osr_ms(1));
    check_int(osr_fd_close(twin), 0);
    osr_sleep(osr_ms(1));
    check_int(closed.gave, -EBADF);
    check_int(kept.gave, -1);
    check_int(osr_write(ends.b, "xy", 2), 2);
    check_int(osr_group_close(&group, 0), 0);
    check_int(kept.gave, 2);
    close_ends(ends);
    return 0;
}

TEST(closing_one_number_of_a_file_leaves_the_other_alone)
{
    assert_int_equal(run_real(close_one_of_two_numbers, NULL), 0);
    assert_checked();
}

static void note_diagnosis(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)text;
    if (kind == OSR_DIAGNOSIS_DESCRIPTOR)
        ++*(int *)arg;
}

OSR_TASK(close_behind_the_librarys_back, void, unused)
{
    struct ends ends = socket_ends(), next;
    struct reading reader = {.fd = ends.a, .gave = -1};
    struct osr_scope limit;
    struct osr_group group;

    osr_move_on_open(&limit, osr_ms(20));
    osr_group_open(&group);
    osr_spawn(&group, read_some, &reader);
    osr_sleep(osr_ms(1));
    close(ends.a);
    (void)osr_scope_close(&limit, osr_group_close(&group, 0));
    check(reader.gave == -ECANCELED || reader.gave == -EBADF);
    next = socket_ends();
    check_int(osr_write(next.a, "x", 1), 1);
    check_int(osr_write(next.b, "x", 1), 1);
    check_int(osr_fd_readable(next.a), 0);
    close_ends(next);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(a_bare_close_of_a_registered_descriptor_is_named_in_a_debug_run)
{
    int named = 0;

    assert_int_equal(run_real(close_behind_the_librarys_back, NULL, .diagnose = note_diagnosis,
                              .diagnose_arg = &named),
                     0);
    assert_checked();
    assert_true(named > 0);
}

/* ---- Reading and writing ------------------------------------------------------------------------------- */

OSR_TASK(read_and_write, void, unused)
{
    struct ends ends = socket_ends();
    char bytes[8] = "";

    check_int(osr_write(ends.a, "hello", 5), 5);
    check_int(osr_read(ends.b, bytes, 2), 2);
    check_int(osr_read(ends.b, bytes + 2, sizeof(bytes) - 2), 3);
    check_text(bytes, "hello");
    check_int(osr_read(ends.b, bytes, 0), 0);
    check_int(osr_write(ends.a, bytes, 0), 0);
    check_int(osr_write_all(ends.a, bytes, 0, NULL), 0);
    close_ends(ends);
    return 0;
}

TEST(bytes_go_through)
{
    assert_int_equal(run_real(read_and_write, NULL), 0);
    assert_checked();
}

OSR_TASK(write_to_a_closed_peer, void, unused)
{
    struct ends ends = socket_ends();
    size_t written = 99;
    int i;

    check_int(osr_fd_close(ends.b), 0);
    for (i = 0; i < 3; i++)
        check_int(osr_write(ends.a, "x", 1), -EPIPE);
    check_int(osr_write_all(ends.a, "x", 1, &written), -EPIPE);
    check_int(written, 0);
    check_int(osr_fd_close(ends.a), 0);
    return 0;
}

TEST(writing_to_a_peer_that_is_gone_gives_a_code_and_no_signal)
{
    signal(SIGPIPE, SIG_DFL);
    assert_int_equal(run_real(write_to_a_closed_peer, NULL), 0);
    assert_checked();
}

OSR_TASK(write_to_a_closed_pipe, void, unused)
{
    struct ends ends = pipe_ends();

    check_int(osr_fd_close(ends.a), 0);
    check_int(osr_write(ends.b, "x", 1), -EPIPE);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(writing_to_a_pipe_without_a_reader_gives_a_code_where_the_signal_is_ignored)
{
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(run_real(write_to_a_closed_pipe, NULL), 0);
    signal(SIGPIPE, SIG_DFL);
    assert_checked();
}

enum { much = 4 << 20 };

static char pattern(size_t i) { return (char)(i * 31 + (i >> 12)); }

/* Reads `count` bytes of the pattern, or up to the end; gives how many there were, and checks them. */
static size_t read_pattern(int fd, size_t count)
{
    static char bytes[65536];
    size_t at = 0, wrong = 0;
    int n, i;

    while (at < count) {
        n = osr_read(fd, bytes, count - at < sizeof(bytes) ? count - at : sizeof(bytes));
        if (n <= 0)
            break;
        for (i = 0; i < n; i++)
            wrong += bytes[i] != pattern(at + (size_t)i);
        at += (size_t)n;
    }
    check_int(wrong, 0);
    return at;
}

static char *new_pattern(void)
{
    char *bytes = malloc(much);
    size_t i;

    for (i = 0; i < much; i++)
        bytes[i] = pattern(i);
    return bytes;
}

OSR_TASK(cut_a_large_write, void, unused)
{
    struct ends ends = socket_ends();
    char *bytes = new_pattern();
    struct osr_scope limit;
    size_t written = 0;

    osr_timeout_open(&limit, osr_ms(10));
    check_int(osr_write_all(ends.a, bytes, much, &written), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check(written > 0 && written < much);
    check_int(osr_fd_close(ends.a), 0);
    check_int(read_pattern(ends.b, much), written);
    check_int(osr_fd_close(ends.b), 0);
    free(bytes);
    return 0;
}

OSR_TASK(read_some_and_close, int, fd)
{
    int rc = osr_sleep(osr_ms(1));

    if (rc == 0)
        rc = (int)read_pattern(*fd, 100000) == 100000 ? 0 : -EIO;
    return rc == 0 ? osr_fd_close(*fd) : rc;
}

OSR_TASK(lose_the_reader_of_a_large_write, void, unused)
{
    struct ends ends = socket_ends();
    char *bytes = new_pattern();
    struct osr_group group;
    size_t written = 0;

    osr_group_open(&group);
    osr_spawn(&group, read_some_and_close, &ends.b);
    check_int(osr_write_all(ends.a, NULL, 0, &written), 0);
    check_int(osr_write_all(ends.a, bytes, much, &written), -EPIPE);
    check(written >= 100000 && written < much);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_fd_close(ends.a), 0);
    free(bytes);
    return 0;
}

TEST(a_write_that_fails_says_how_far_it_came)
{
    assert_int_equal(run_real(lose_the_reader_of_a_large_write, NULL), 0);
    assert_checked();
}

/* ---- Numbers ---- */

/* On either side of where tables of them are likely to grow. */
OSR_TASK(use_large_numbers, void, unused)
{
    static const int numbers[] = {63, 64, 65, 127, 128, 129, 255, 256, 500, 1000};
    struct ends ends = socket_ends();
    char byte;
    size_t i;
    int fd;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        fd = fcntl(ends.a, F_DUPFD_CLOEXEC, numbers[i]);
        check(fd >= numbers[i]);
        check_int(osr_write(ends.b, "x", 1), 1);
        check_int(osr_fd_close(fd + 1), -EBADF);
        check_int(osr_read(fd, &byte, 1), 1);
        check_int(osr_fd_close(fd), 0);
    }
    check_int(osr_fd_close(ends.a), 0);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(descriptors_may_have_any_number)
{
    assert_int_equal(run_real(use_large_numbers, NULL, .allocator = &counting_allocator), 0);
    assert_int_equal(counting.live, 0);
    assert_checked();
}

/* In one call, to a pipe that does not block: more than fits at once into one that might. */
OSR_TASK(write_what_fits, void, unused)
{
    static const char data[20000];
    struct ends ends = pipe_ends();

    check_int(fcntl(ends.b, F_SETFL, O_NONBLOCK), 0);
    check_int(osr_write(ends.b, data, sizeof(data)), sizeof(data));
    close_ends(ends);
    return 0;
}

TEST(what_fits_is_written_in_one_call)
{
    assert_int_equal(run_real(write_what_fits, NULL), 0);
    assert_checked();
}

enum { WATCHED = 12 };

/* Each reader wakes the next. */
OSR_TASK(read_and_pass_on, struct ends, ends)
{
    char byte = 0;

    check_int(osr_read(ends->a, &byte, 1), 1);
    if (ends->b >= 0)
        check_int(osr_write(ends->b, &byte, 1), 1);
    return 0;
}

OSR_TASK(pass_on_a_byte, void, unused)
{
    struct ends pipes[WATCHED], tasks[WATCHED];
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < WATCHED; i++)
        pipes[i] = pipe_ends();
    for (i = 0; i < WATCHED; i++) {
        tasks[i] = (struct ends){pipes[i].a, i > 0 ? pipes[i - 1].b : -1};
        check_int(osr_spawn(&group, read_and_pass_on, &tasks[i]), 0);
        check_int(osr_sleep(1), 0); /* one more is watched, and looked at */
    }
    check_int(osr_write(pipes[WATCHED - 1].b, "x", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < WATCHED; i++)
        close_ends(pipes[i]);
    return 0;
}

TEST(in_simulated_time_any_number_of_descriptors_is_watched)
{
    assert_int_equal(run_simulated(pass_on_a_byte, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

TEST(a_write_that_was_cut_says_how_far_it_came)
{
    assert_int_equal(run_real(cut_a_large_write, NULL), 0);
    assert_checked();
}

OSR_TASK(read_the_pattern, int, fd)
{
    check_int(read_pattern(*fd, much), much);
    return 0;
}

OSR_TASK(tick, int, ticks)
{
    int rc;

    while ((rc = osr_sleep(osr_us(100))) == 0)
        ++*ticks;
    return rc;
}

static int write_all_beside_a_ticker(struct ends ends)
{
    struct osr_group group, tickers;
    char *bytes = new_pattern();
    size_t written = 0;
    int ticks = 0, flags_a = fcntl(ends.a, F_GETFL), flags_b = fcntl(ends.b, F_GETFL);

    osr_group_open(&tickers);
    osr_spawn(&tickers, tick, &ticks);
    osr_group_open(&group);
    osr_spawn(&group, read_the_pattern, &ends.a);
    check_int(osr_write_all(ends.b, bytes, much, &written), 0);
    check_int(written, much);
    check_int(osr_group_close(&group, 0), 0);
    osr_group_cancel(&tickers, NULL);
    check_int(osr_group_close(&tickers, 0), 0);
    check_int(fcntl(ends.a, F_GETFL), flags_a);
    check_int(fcntl(ends.b, F_GETFL), flags_b);
    close_ends(ends);
    free(bytes);
    return 0;
}

OSR_TASK(write_all_to_a_socket, void, unused) { return write_all_beside_a_ticker(socket_ends()); }
OSR_TASK(write_all_to_a_pipe, void, unused) { return write_all_beside_a_ticker(pipe_ends()); }

TEST(large_writes_go_through_blocking_sockets_and_pipes_without_blocking)
{
    assert_int_equal(run_real(write_all_to_a_socket, NULL), 0);
    assert_int_equal(run_real(write_all_to_a_pipe, NULL), 0);
    assert_checked();
}

/* A terminal that shows nothing of what it is told. */
static struct ends terminal_ends(void)
{
    int shows = posix_openpt(O_RDWR | O_NOCTTY);
    char name[64] = "";

    check_int(grantpt(shows), 0);
    check_int(unlockpt(shows), 0);
    check_int(ptsname_r(shows, name, sizeof(name)), 0);
    return (struct ends){shows, open(name, O_RDWR | O_NOCTTY)};
}

OSR_TASK(cut_a_large_write_to_a_terminal, char, words)
{
    struct ends ends = terminal_ends();
    size_t length = strlen(words), written = 0, i;
    char *lines = malloc(much);
    struct osr_scope limit;
    int rc;

    for (i = 0; i < much; i++)
        lines[i] = words[i % length];
    check_int(osr_write(ends.b, "a few", 5), 5);
    osr_move_on_open(&limit, osr_ms(20));
    rc = osr_write_all(ends.b, lines, much, &written);
    check_int(rc, -ECANCELED);
    check_int(osr_scope_close(&limit, rc), 0);
    check(written > 0);
    free(lines);
    close_ends(ends);
    return 0;
}

TEST(a_terminal_that_takes_no_more_blocks_nobody)
{
    static char words[][40] = {"x", "\n", "words\n", "a longer line of words\tthan that\r\n"};
    unsigned i;

    alarm(20); /* a run that is blocked cannot end itself */
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        assert_int_equal(osr_run(cut_a_large_write_to_a_terminal, words[i]), 0);
    alarm(0);
    assert_checked();
}

static int wait_on_blocking_descriptors(struct ends ends)
{
    struct reading reader = {.fd = ends.a, .gave = -1};
    struct osr_scope limit;
    struct osr_group group;
    int flags_a = fcntl(ends.a, F_GETFL), flags_b = fcntl(ends.b, F_GETFL), ticks = 0;

    check(!(flags_a & O_NONBLOCK) && !(flags_b & O_NONBLOCK));
    osr_group_open(&group);
    osr_spawn(&group, tick, &ticks);
    osr_spawn(&group, read_some, &reader);
    check_int(osr_sleep(osr_ms(3)), 0);
    check_int(reader.gave, -1);
    check(ticks > 0);
    check_int(osr_write(ends.b, "x", 1), 1);
    check_int(osr_sleep(osr_ms(3)), 0);
    check_int(reader.gave, 1);
    fill(ends.b);
    ticks = 0;
    osr_move_on_open(&limit, osr_ms(5));
    check_int(osr_write(ends.b, "x", 1), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    check(ticks > 0);
    check_int(fcntl(ends.a, F_GETFL), flags_a);
    check_int(fcntl(ends.b, F_GETFL), flags_b);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, -ECANCELED), 0);
    close_ends(ends);
    return 0;
}

OSR_TASK(wait_on_blocking_socket, void, unused) { return wait_on_blocking_descriptors(socket_ends()); }
OSR_TASK(wait_on_blocking_pipe, void, unused) { return wait_on_blocking_descriptors(pipe_ends()); }

TEST(blocking_descriptors_block_nobody_and_keep_their_flags)
{
    assert_int_equal(run_real(wait_on_blocking_socket, NULL), 0);
    assert_int_equal(run_real(wait_on_blocking_pipe, NULL), 0);
    assert_checked();
}

OSR_TASK(call_in_a_cancelled_scope, void, unused)
{
    struct ends ends = socket_ends(), listening;
    struct osr_address address;
    struct osr_scope scope;
    size_t written = 99;
    char byte = 0;
    int before;

    osr_address_ip(&address, "127.0.0.1", 0);
    listening.a = osr_listen(&address, 0);
    check_int(osr_socket_address(listening.a, &address), 0);
    listening.b = osr_connect(&address);
    check_int(write(ends.b, "x", 1), 1);
    before = open_descriptors();

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, "before any call");
    check_int(osr_fd_readable(ends.a), -ECANCELED);
    check_int(osr_fd_writable(ends.a), -ECANCELED);
    check_int(osr_read(ends.a, &byte, 1), -ECANCELED);
    check_int(osr_write(ends.a, "y", 1), -ECANCELED);
    check_int(osr_write_all(ends.a, "y", 1, &written), -ECANCELED);
    check_int(written, 0);
    check_int(osr_accept(listening.a, NULL), -ECANCELED);
    check_int(osr_connect(&address), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);

    check_int(open_descriptors(), before);
    check_int(byte, 0);
    check_int(osr_read(ends.a, &byte, 1), 1);
    check_int(recv(ends.b, &byte, 1, MSG_DONTWAIT), -1);
    before = osr_accept(listening.a, NULL);
    check(before >= 0);
    check_int(osr_fd_close(before), 0);
    close_ends(listening);
    close_ends(ends);
    return 0;
}

TEST(in_a_cancelled_scope_nothing_is_read_written_accepted_or_connected)
{
    assert_int_equal(run_real(call_in_a_cancelled_scope, NULL), 0);
    assert_checked();
}

OSR_TASK(cancel_a_reader_that_has_data, void, unused)
{
    struct ends ends = socket_ends();
    struct reading reader = {.fd = ends.a, .gave = -1};
    struct osr_group group;
    char byte = 0;

    osr_group_open(&group);
    osr_spawn(&group, read_some, &reader);
    osr_sleep(osr_ms(1));
    check_int(write(ends.b, "x", 1), 1);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    if (reader.gave == -ECANCELED)
        check_int(osr_read(ends.a, &byte, 1), 1);
    else
        check_int(reader.gave, 1);
    close_ends(ends);
    return 0;
}

TEST(a_cancellation_that_races_with_data_loses_no_byte)
{
    assert_int_equal(run_real(cancel_a_reader_that_has_data, NULL), 0);
    assert_checked();
}

OSR_TASK(play_ping_pong_alone, bool, stop)
{
    struct ends ends = socket_ends();
    char byte = 'x';
    long i;

    for (i = 0; i < 100000 && !*stop; i++)
        if (osr_write(ends.a, &byte, 1) != 1 || osr_read(ends.b, &byte, 1) != 1)
            break;
    check(*stop);
    close_ends(ends);
    return 0;
}

OSR_TASK(stop_it, bool, stop)
{
    *stop = true;
    return 0;
}

OSR_TASK(play_beside_another, void, unused)
{
    struct osr_group group;
    bool stop = false;

    osr_group_open(&group);
    osr_spawn(&group, play_ping_pong_alone, &stop);
    osr_spawn(&group, stop_it, &stop);
    return osr_group_close(&group, 0);
}

TEST(a_task_whose_reads_and_writes_never_wait_lets_others_run)
{
    assert_int_equal(run_real(play_beside_another, NULL), 0);
    assert_checked();
}

/* ---- Sockets ------------------------------------------------------------------------------------------- */

static bool sends_at_once(int fd)
{
    int value = 0;
    socklen_t size = sizeof(value);

    check_int(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    return value;
}

static int listen_on_loopback(struct osr_address *address, int backlog)
{
    int listener;

    check_int(osr_address_ip(address, "127.0.0.1", 0), 0);
    listener = osr_listen(address, backlog);
    check(listener >= 0);
    check_int(osr_socket_address(listener, address), 0);
    check(osr_address_port(address) > 0);
    return listener;
}

static void check_own_flags(int fd)
{
    check(fcntl(fd, F_GETFL) & O_NONBLOCK);
    check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

OSR_TASK(connect_by_tcp, void, unused)
{
    struct osr_address address, peer, own;
    char text[64], expected[64], bytes[8] = "";
    int listener = listen_on_loopback(&address, 0), client = osr_connect(&address), served;

    check(client >= 0);
    served = osr_accept(listener, &peer);
    check(served >= 0);
    check_own_flags(listener);
    check_own_flags(client);
    check_own_flags(served);
    check(sends_at_once(client) && sends_at_once(served));
    check_int(osr_socket_address(client, &own), 0);
    osr_address_format(&own, expected, sizeof(expected));
    osr_address_format(&peer, text, sizeof(text));
    check_text(text, expected);
    check_int(osr_write_all(client, "question", 8, NULL), 0);
    check_int(osr_read(served, bytes, 8), 8);
    check_int(memcmp(bytes, "question", 8), 0);
    check_int(osr_fd_close(served), 0);
    check_int(osr_read(client, bytes, 8), 0);
    check_int(osr_fd_close(client), 0);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(a_tcp_connection_is_made_accepted_and_used)
{
    assert_int_equal(run_real(connect_by_tcp, NULL), 0);
    assert_checked();
}

OSR_TASK(connect_by_unix, char, path)
{
    struct osr_address address, own;
    char text[160], expected[160];
    int listener, client, served;

    check_int(osr_address_unix(&address, path), 0);
    listener = osr_listen(&address, 5);
    check(listener >= 0);
    check_int(osr_listen(&address, 5), -EADDRINUSE);
    check_int(osr_listen(&address, -1), -EINVAL);
    check_int(osr_socket_address(listener, &own), 0);
    osr_address_format(&own, text, sizeof(text));
    snprintf(expected, sizeof(expected), "unix:%s", path);
    check_text(text, expected);
    client = osr_connect(&address);
    served = osr_accept(listener, NULL);
    check(client >= 0 && served >= 0);
    check_own_flags(client);
    check_int(osr_write(served, "x", 1), 1);
    check_int(osr_read(client, text, sizeof(text)), 1);
    close_ends((struct ends){client, served});
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(a_unix_connection_is_made_accepted_and_used)
{
    char directory[] = "/tmp/osier-test-XXXXXX", path[64], abstract[64];

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    snprintf(abstract, sizeof(abstract), "@%s", directory);
    assert_int_equal(run_real(connect_by_unix, path), 0);
    assert_int_equal(run_real(connect_by_unix, abstract), 0);
    assert_checked();
    unlink(path);
    rmdir(directory);
}

OSR_TASK(connect_by_ipv6, void, unused)
{
    struct osr_address address;
    char text[64];
    int listener, client, served;

    check_int(osr_address_ip(&address, "::1", 0), 0);
    listener = osr_listen(&address, 0);
    if (listener < 0)
        return 0;
    osr_socket_address(listener, &address);
    client = osr_connect(&address);
    served = osr_accept(listener, &address);
    check(client >= 0 && served >= 0);
    osr_address_format(&address, text, sizeof(text));
    check(strncmp(text, "[::1]:", 6) == 0);
    close_ends((struct ends){client, served});
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(an_ipv6_connection_is_made_where_there_is_ipv6)
{
    assert_int_equal(run_real(connect_by_ipv6, NULL), 0);
    assert_checked();
}

OSR_TASK(connect_in_vain, void, unused)
{
    struct osr_address address;
    struct osr_scope scope;
    struct sockaddr_in bound;
    socklen_t size = sizeof(bound);
    int before = open_descriptors(), fd = socket(AF_INET, SOCK_STREAM, 0);

    /* A port that is bound and not listened on. */
    memset(&bound, 0, sizeof(bound));
    bound.sin_family = AF_INET;
    bound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check_int(bind(fd, (struct sockaddr *)&bound, size), 0);
    check_int(getsockname(fd, (struct sockaddr *)&bound, &size), 0);
    osr_address_ip(&address, "127.0.0.1", ntohs(bound.sin_port));
    check_int(osr_connect(&address), -ECONNREFUSED);
    osr_timeout_open(&scope, 0);
    check_int(osr_connect(&address), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    check_int(osr_fd_close(fd), 0);
    osr_address_unix(&address, "/tmp/there-is-no-such-directory/socket");
    check_int(osr_connect(&address), -ENOENT);
    check_int(open_descriptors(), before);
    return 0;
}

TEST(a_connect_that_fails_closes_what_it_made)
{
    assert_int_equal(run_real(connect_in_vain, NULL), 0);
    assert_checked();
}

OSR_TASK(cut_a_connect, void, unused)
{
    struct osr_address address;
    struct osr_scope limit;
    int listener = listen_on_loopback(&address, 1), fillers[16], before, i, rc;

    /* Fill the backlog, so that the next connection hangs. */
    for (i = 0; i < 16; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&address.storage, address.size);
    }
    before = open_descriptors();
    osr_timeout_open(&limit, osr_ms(20));
    rc = osr_connect(&address);
    check_int(rc, -ECANCELED);
    check_int(osr_scope_close(&limit, rc), -ETIMEDOUT);
    check_int(open_descriptors(), before);
    for (i = 0; i < 16; i++)
        close(fillers[i]);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(a_connect_that_is_cut_closes_what_it_made)
{
    assert_int_equal(run_real(cut_a_connect, NULL), 0);
    assert_checked();
}

OSR_TASK(connect_to_a_full_unix_socket, char, path)
{
    struct osr_address address;
    struct osr_scope limit;
    int listener, fillers[16], made = 0, before, rc;

    osr_address_unix(&address, path);
    listener = osr_listen(&address, 1);
    for (; made < 16; made++) {
        fillers[made] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fillers[made], (struct sockaddr *)&address.storage, address.size) != 0) {
            close(fillers[made]);
            break;
        }
    }
    check(made > 0 && made < 16);
    before = open_descriptors();
    osr_move_on_open(&limit, osr_ms(20));
    rc = osr_connect(&address);
    check(rc == -ECANCELED || rc == -EAGAIN);
    (void)osr_scope_close(&limit, rc);
    check_int(open_descriptors(), before);
    while (made > 0)
        close(fillers[--made]);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(a_connect_to_a_unix_socket_with_a_full_backlog_leaves_nothing_behind)
{
    char directory[] = "/tmp/osier-test-XXXXXX", path[64];

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    assert_int_equal(run_real(connect_to_a_full_unix_socket, path), 0);
    assert_checked();
    unlink(path);
    rmdir(directory);
}

struct connecting {
    const struct osr_address *address;
    int gave;
};

OSR_TASK(connect_to, struct connecting, c)
{
    c->gave = osr_connect(c->address);
    return c->gave == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(race_connects_against_cancels, void, unused)
{
    struct osr_address address;
    struct osr_group group;
    int listener = listen_on_loopback(&address, 0), before = open_descriptors(), i, served;

    for (i = 0; i < 50; i++) {
        struct connecting connecting = {&address, -1};

        osr_group_open(&group);
        osr_spawn(&group, connect_to, &connecting, .eager = i % 2 == 0);
        if (i % 3 == 0)
            osr_yield();
        osr_group_cancel(&group, "at once");
        check_int(osr_group_close(&group, 0), 0);
        check(connecting.gave >= 0 || connecting.gave == -ECANCELED);
        if (connecting.gave >= 0)
            check_int(osr_fd_close(connecting.gave), 0);
        check_int(open_descriptors(), before);
    }
    while ((served = accept(listener, NULL, NULL)) >= 0)
        close(served);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(a_connect_that_races_with_a_cancellation_loses_no_descriptor)
{
    assert_int_equal(run_real(race_connects_against_cancels, NULL), 0);
    assert_checked();
}

struct accepting {
    int listener, gave;
};

OSR_TASK(accept_one, struct accepting, a)
{
    a->gave = osr_accept(a->listener, NULL);
    return a->gave == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(cancel_an_accept_with_a_connection_waiting, void, unused)
{
    struct osr_address address;
    struct osr_group group;
    struct accepting accepting = {listen_on_loopback(&address, 0), -1};
    int client = socket(AF_INET, SOCK_STREAM, 0), served;

    osr_group_open(&group);
    osr_spawn(&group, accept_one, &accepting);
    osr_sleep(osr_ms(1));
    check_int(connect(client, (struct sockaddr *)&address.storage, address.size), 0);
    osr_group_cancel(&group, "in the same instant");
    check_int(osr_group_close(&group, 0), 0);
    check_int(accepting.gave, -ECANCELED);
    served = osr_accept(accepting.listener, NULL);
    check(served >= 0);
    close_ends((struct ends){client, served});
    check_int(osr_fd_close(accepting.listener), 0);
    return 0;
}

TEST(an_accept_that_was_cancelled_leaves_the_connection_to_the_next)
{
    assert_int_equal(run_real(cancel_an_accept_with_a_connection_waiting, NULL), 0);
    assert_checked();
}

OSR_TASK(accept_twice_and_close, void, unused)
{
    struct osr_address address;
    struct osr_group group;
    struct accepting first = {listen_on_loopback(&address, 0), -1}, second = first;

    osr_group_open(&group);
    osr_spawn(&group, accept_one, &first);
    osr_spawn(&group, accept_one, &second);
    osr_yield();
    check_int(second.gave, -EBUSY);
    check_int(osr_fd_close(first.listener), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(first.gave, -EBADF);
    return 0;
}

TEST(a_second_accept_is_refused_and_a_close_ends_the_first)
{
    assert_int_equal(run_real(accept_twice_and_close, NULL), 0);
    assert_checked();
}

OSR_TASK(accept_without_descriptors, void, unused)
{
    struct osr_address address;
    struct rlimit limit, tight;
    int listener = listen_on_loopback(&address, 0), client = osr_connect(&address), served, lowest;

    lowest = dup(listener);
    close(lowest);
    check_int(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)lowest;
    check_int(setrlimit(RLIMIT_NOFILE, &tight), 0);
    served = osr_accept(listener, NULL);
    check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_int(served, -EMFILE);
    served = osr_accept(listener, NULL);
    check(served >= 0);
    close_ends((struct ends){client, served});
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(without_a_free_descriptor_the_connection_stays_in_the_backlog)
{
    if (under_tools()) /* valgrind keeps descriptors of its own in store, and hands them out */
        skip();
    assert_int_equal(run_real(accept_without_descriptors, NULL), 0);
    assert_checked();
}

OSR_TASK(misuse_sockets, void, unused)
{
    struct osr_address address, other;
    struct ends ends = pipe_ends();
    struct osr_scope limit;
    int listener = listen_on_loopback(&address, 0);

    check_int(osr_listen(&address, 0), -EADDRINUSE);
    osr_move_on_open(&limit, osr_ms(1));
    check(osr_accept(ends.a, NULL) < 0);
    (void)osr_scope_close(&limit, 0);
    check_int(osr_socket_address(ends.a, &other), -ENOTSOCK);
    check_int(osr_socket_address(-1, &other), -EBADF);
    memset(&other, 0, sizeof(other));
    check(osr_listen(&other, 0) < 0);
    check(osr_connect(&other) < 0);
    close_ends(ends);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(sockets_that_cannot_be_made_give_a_code)
{
    assert_int_equal(run_real(misuse_sockets, NULL), 0);
    assert_checked();
}

/* ---- Many connections ---------------------------------------------------------------------------------- */

OSR_TASK(echo, int, fd)
{
    char bytes[64];
    int n, rc = 0;

    while ((n = osr_read(*fd, bytes, sizeof(bytes))) > 0 && rc == 0)
        rc = osr_write_all(*fd, bytes, (size_t)n, NULL);
    osr_fd_close(*fd);
    return n < 0 ? n : rc;
}

struct server {
    struct osr_address address;
    int listener, connections, echoed;
};

OSR_TASK(serve, struct server, server)
{
    struct osr_group group;
    int i, fd, rc = 0;

    osr_group_open(&group, .name = "connections");
    for (i = 0; i < server->connections && rc == 0; i++) {
        rc = fd = osr_accept(server->listener, NULL);
        if (fd >= 0)
            rc = osr_spawn_copy(&group, echo, &fd);
    }
    return osr_group_close(&group, rc);
}

OSR_TASK(be_a_client, struct server, server)
{
    char sent[32], received[32] = "";
    int fd = osr_connect(&server->address), rc, n, at = 0;

    if (fd < 0)
        return fd;
    snprintf(sent, sizeof(sent), "client %010d", fd);
    rc = osr_write_all(fd, sent, 17, NULL);
    while (rc == 0 && at < 17) {
        n = osr_read(fd, received + at, (size_t)(17 - at));
        if (n <= 0)
            break;
        at += n;
    }
    server->echoed += strcmp(sent, received) == 0;
    osr_fd_close(fd);
    return rc;
}

OSR_TASK(serve_many, struct server, server)
{
    struct osr_group group;
    int i, rc;

    server->listener = listen_on_loopback(&server->address, 0);
    osr_group_open(&group);
    rc = osr_spawn(&group, serve, server);
    for (i = 0; i < server->connections && rc == 0; i++)
        rc = osr_spawn(&group, be_a_client, server);
    check_int(osr_group_close(&group, rc), 0);
    check_int(osr_fd_close(server->listener), 0);
    return 0;
}

TEST(hundreds_of_connections_are_echoed)
{
    struct server server = {.connections = (int)sized(500, 100)};
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(run_real(serve_many, &server), 0);
    assert_checked();
    assert_int_equal(server.echoed, server.connections);
}

/* ---- Addresses ----------------------------------------------------------------------------------------- */

static void assert_ip(const char *host, unsigned port, const char *expected)
{
    struct osr_address address;
    char text[80];

    assert_int_equal(osr_address_ip(&address, host, port), 0);
    assert_int_equal(osr_address_format(&address, text, sizeof(text)), strlen(expected));
    assert_string_equal(text, expected);
    assert_int_equal(osr_address_port(&address), port);
}

TEST(ip_addresses_are_made_from_numbers_and_put_in_words)
{
    assert_ip("127.0.0.1", 80, "127.0.0.1:80");
    assert_ip("0.0.0.0", 0, "0.0.0.0:0");
    assert_ip("255.255.255.255", 65535, "255.255.255.255:65535");
    assert_ip("::1", 80, "[::1]:80");
    assert_ip("::", 1, "[::]:1");
    assert_ip("2001:db8:0:0:0:0:0:1", 443, "[2001:db8::1]:443");
}

TEST(an_ipv6_address_may_have_a_scope)
{
    struct osr_address address;

    assert_int_equal(osr_address_ip(&address, "fe80::1%lo", 80), 0);
    assert_int_not_equal(((struct sockaddr_in6 *)&address.storage)->sin6_scope_id, 0);
}

TEST(what_is_no_ip_address_is_refused)
{
    const char *hosts[] = {"", "localhost", "127.0.0.1.2", "256.1.1.1", "127.0.0.1:80", "[::1]", "::g",
                           " 127.0.0.1", "127.0.0.1 ", ":", "fe80::1%", "fe80::1%no-such-interface"};
    struct osr_address address;
    char *long_host = malloc(1 << 20);
    size_t i;

    for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        if (osr_address_ip(&address, hosts[i], 80) != -EINVAL)
            fail_msg("\"%s\" was taken", hosts[i]);
    assert_int_equal(osr_address_ip(&address, "127.0.0.1", 65536), -EINVAL);
    assert_int_equal(osr_address_ip(&address, "127.0.0.1", UINT_MAX), -EINVAL);
    memset(long_host, '1', (1 << 20) - 1);
    long_host[(1 << 20) - 1] = '\0';
    assert_int_equal(osr_address_ip(&address, long_host, 80), -EINVAL);
    free(long_host);
}

static void assert_unix(const char *path, const char *expected)
{
    struct osr_address address;
    char text[160];

    assert_int_equal(osr_address_unix(&address, path), 0);
    assert_int_equal(osr_address_format(&address, text, sizeof(text)), strlen(expected));
    assert_string_equal(text, expected);
    assert_int_equal(osr_address_port(&address), -EINVAL);
}

TEST(unix_addresses_are_made_from_paths_and_put_in_words)
{
    const size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    char path[200], expected[210];

    assert_unix("/run/x", "unix:/run/x");
    assert_unix("@name", "unix:@name");
    memset(path, 'p', sizeof(path));
    path[longest] = '\0';
    snprintf(expected, sizeof(expected), "unix:%s", path);
    assert_unix(path, expected);
}

TEST(what_is_no_unix_path_is_refused)
{
    struct osr_address address;
    char path[200];

    assert_int_equal(osr_address_unix(&address, ""), -EINVAL);
    memset(path, 'p', sizeof(path));
    path[109] = '\0';
    assert_int_equal(osr_address_unix(&address, path), -ENAMETOOLONG);
    path[0] = '@';
    assert_int_equal(osr_address_unix(&address, path), -ENAMETOOLONG);
}

TEST(an_addresss_words_are_cut_at_the_size_of_the_buffer)
{
    struct osr_address address, unknown;
    char text[16] = "################";

    osr_address_ip(&address, "127.0.0.1", 80);
    assert_int_equal(osr_address_format(&address, text, 5), 12);
    assert_string_equal(text, "127.");
    assert_int_equal(text[5], '#');
    assert_int_equal(osr_address_format(&address, NULL, 0), 12);
    memset(&unknown, 0, sizeof(unknown));
    (void)osr_address_format(&unknown, text, sizeof(text));
    assert_int_equal(osr_address_port(&unknown), -EINVAL);
}

/* ---- Races for one descriptor -------------------------------------------------------------------------- */

OSR_TASK(transfer_nothing_in_a_cancelled_scope, void, unused)
{
    struct ends ends = socket_ends();
    struct osr_scope scope;
    size_t written = 9;
    char byte;

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_read(ends.a, &byte, 0), -ECANCELED);
    check_int(osr_write(ends.a, &byte, 0), -ECANCELED);
    check_int(osr_write_all(ends.a, &byte, 0, &written), -ECANCELED);
    check_int(written, 0);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    close_ends(ends);
    return 0;
}

TEST(a_transfer_of_nothing_is_a_cancellation_point_too)
{
    assert_int_equal(run_real(transfer_nothing_in_a_cancelled_scope, NULL), 0);
    assert_checked();
}

/* Two tasks that one look of the loop wakes in this order: the thief, and the reader whose byte it takes. */
struct theft {
    struct ends signal, goods;
    struct osr_task reader;
    bool cancel, read_again;
    int reader_gave, thief_gave;
};

OSR_TASK(read_what_was_stolen, struct theft, theft)
{
    char byte;

    theft->reader_gave = osr_read(theft->goods.a, &byte, 1);
    return theft->reader_gave == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(steal, struct theft, theft)
{
    char byte;

    check_int(osr_fd_readable(theft->signal.a), 0);
    check_int(recv(theft->goods.a, &byte, 1, MSG_DONTWAIT), 1);
    if (theft->cancel)
        osr_task_cancel(theft->reader, NULL);
    if (theft->read_again)
        theft->thief_gave = osr_read(theft->goods.a, &byte, 1);
    return 0;
}

OSR_TASK(arrange_a_theft, struct theft, theft)
{
    struct osr_group group;

    theft->signal = socket_ends();
    theft->goods = socket_ends();
    osr_group_open(&group);
    osr_spawn(&group, steal, theft);
    osr_spawn(&group, read_what_was_stolen, theft, .handle = &theft->reader);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(write(theft->signal.b, "!", 1), 1);
    check_int(write(theft->goods.b, "x", 1), 1);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(write(theft->goods.b, "y", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    close_ends(theft->signal);
    close_ends(theft->goods);
    return 0;
}

TEST(a_reader_that_finds_nothing_after_it_was_cancelled_does_not_wait_again)
{
    struct theft theft = {.cancel = true, .reader_gave = -1};

    assert_int_equal(run_simulated(arrange_a_theft, &theft), 0);
    assert_checked();
    assert_int_equal(theft.reader_gave, -ECANCELED);
}

TEST(a_reader_that_finds_nothing_waits_again)
{
    struct theft theft = {.reader_gave = -1};

    assert_int_equal(run_simulated(arrange_a_theft, &theft), 0);
    assert_checked();
    assert_int_equal(theft.reader_gave, 1);
}

TEST(a_second_reader_is_refused_even_before_the_first_that_was_woken_has_run)
{
    struct theft theft = {.read_again = true, .reader_gave = -1, .thief_gave = -1};

    assert_int_equal(run_simulated(arrange_a_theft, &theft), 0);
    assert_checked();
    assert_int_equal(theft.thief_gave, -EBUSY);
    assert_int_equal(theft.reader_gave, 1);
}

struct swap {
    struct ends signal, old, fresh;
    struct reading reader;
};

OSR_TASK(close_and_use_the_number_again, struct swap, swap)
{
    int fds[2], number = swap->old.a;

    check_int(osr_fd_readable(swap->signal.a), 0);
    check_int(osr_fd_close(number), 0);
    check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_int(fds[0], number);
    check_int(write(fds[1], "new", 3), 3);
    swap->fresh = (struct ends){fds[0], fds[1]};
    return 0;
}

OSR_TASK(swap_under_a_woken_reader, void, unused)
{
    struct swap swap = {.signal = socket_ends(), .old = socket_ends()};
    struct osr_group group;
    char bytes[4];

    swap.reader = (struct reading){.fd = swap.old.a, .gave = -1};
    osr_group_open(&group);
    osr_spawn(&group, close_and_use_the_number_again, &swap);
    osr_spawn(&group, read_some, &swap.reader);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(write(swap.signal.b, "!", 1), 1);
    check_int(write(swap.old.b, "old", 3), 3);
    check_int(osr_group_close(&group, 0), 0);
    check_int(swap.reader.gave, -EBADF);
    check_int(osr_read(swap.fresh.a, bytes, sizeof(bytes)), 3);
    close_ends(swap.fresh);
    close_ends(swap.signal);
    check_int(osr_fd_close(swap.old.b), 0);
    return 0;
}

TEST(a_reader_woken_before_its_descriptor_was_closed_does_not_read_from_the_next_of_that_number)
{
    assert_int_equal(run_simulated(swap_under_a_woken_reader, NULL), 0);
    assert_checked();
}

/* ---- Numbers that others closed ------------------------------------------------------------------------ */

/* A reader waits, is cut, and its watch stays armed; then the number is closed behind the library's back. */
static void wait_in_vain_and_close_raw(int fd)
{
    struct osr_scope limit;

    osr_move_on_open(&limit, osr_ms(1));
    check_int(osr_scope_close(&limit, osr_fd_readable(fd)), 0);
    check(osr_scope_caught(&limit));
    check_int(close(fd), 0);
}

OSR_TASK(listen_on_a_number_closed_raw, void, unused)
{
    struct ends ends = socket_ends(), connection;
    struct osr_address address;
    struct osr_scope limit;
    int listener, rc;

    wait_in_vain_and_close_raw(ends.a);
    osr_address_ip(&address, "127.0.0.1", 0);
    listener = osr_listen(&address, 0);
    check_int(listener, ends.a);
    check_int(osr_socket_address(listener, &address), 0);
    osr_timeout_open(&limit, osr_s(5));
    rc = osr_connect(&address);
    connection.a = rc;
    rc = osr_accept(listener, NULL);
    connection.b = rc;
    check(osr_scope_close(&limit, rc) >= 0);
    close_ends(connection);
    check_int(osr_fd_close(listener), 0);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

OSR_TASK(accept_late_on_a_number_closed_raw, void, unused)
{
    struct ends ends = socket_ends();
    struct osr_address address;
    struct osr_scope limit;
    int listener;

    wait_in_vain_and_close_raw(ends.a);
    osr_address_ip(&address, "127.0.0.1", 0);
    listener = osr_listen(&address, 0);
    check_int(listener, ends.a);
    osr_move_on_open(&limit, osr_ms(2));
    check_int(osr_scope_close(&limit, osr_accept(listener, NULL)), 0);
    check(osr_scope_caught(&limit));
    check_int(osr_fd_close(listener), 0);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

struct calling {
    struct osr_address address;
    int fd;
};

OSR_TASK(call_later, struct calling, calling)
{
    osr_sleep(osr_ms(5));
    calling->fd = osr_connect(&calling->address);
    return calling->fd < 0 ? calling->fd : 0;
}

OSR_TASK(wait_on_a_number_closed_raw, void, unused)
{
    struct ends ends = socket_ends();
    struct calling calling = {.fd = -1};
    struct osr_scope limit;
    struct osr_group group;
    int listener, rc;

    wait_in_vain_and_close_raw(ends.a);
    osr_address_ip(&calling.address, "127.0.0.1", 0);
    listener = osr_listen(&calling.address, 0);
    check_int(listener, ends.a);
    check_int(osr_socket_address(listener, &calling.address), 0);
    osr_group_open(&group);
    osr_spawn(&group, call_later, &calling);
    osr_timeout_open(&limit, osr_s(5));
    rc = osr_accept(listener, NULL);
    check(rc >= 0);
    check_int(osr_scope_close(&limit, 0), 0);
    check_int(osr_group_close(&group, 0), 0);
    close_ends((struct ends){calling.fd, rc});
    check_int(osr_fd_close(listener), 0);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(a_number_closed_behind_the_librarys_back_serves_again_when_the_library_gets_it)
{
    assert_int_equal(osr_run(listen_on_a_number_closed_raw, NULL), 0);
    assert_int_equal(osr_run(accept_late_on_a_number_closed_raw, NULL), 0);
    assert_int_equal(osr_run(wait_on_a_number_closed_raw, NULL), 0);
    assert_checked();
}

OSR_TASK(read_on_after_a_raw_close, void, unused)
{
    struct ends ends = socket_ends();
    char bytes[8];

    check_int(write(ends.b, "x", 1), 1);
    check_int(osr_read(ends.a, bytes, sizeof(bytes)), 1);
    check_int(close(ends.a), 0);
    check_int(osr_read(ends.a, bytes, sizeof(bytes)), -EBADF);
    check_int(osr_fd_close(ends.a), -EBADF);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(a_descriptor_closed_behind_the_librarys_back_gives_a_code_when_it_is_waited_for)
{
    assert_int_equal(osr_run(read_on_after_a_raw_close, NULL), 0);
    assert_checked();
}

/* The loop's own, found by what the system says of it. */
static int descriptor_of_the_loop(void)
{
    char path[64], name[64];
    int fd;

    for (fd = 3; fd < 1024; fd++) {
        ssize_t length;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        length = readlink(path, name, sizeof(name) - 1);
        if (length > 0 && (name[length] = '\0', strcmp(name, "anon_inode:[eventpoll]") == 0))
            return fd;
    }
    return -1;
}

OSR_TASK(meddle_with_the_loop, bool, found)
{
    int fd = descriptor_of_the_loop();

    *found = fd >= 0;
    check_int(osr_fd_close(fd), -EBADF);
    check_int(osr_fd_close(-1), -EBADF);
    check_int(osr_fd_readable(fd), -EBADF);
    check_int(fcntl(fd, F_GETFD) < 0, fd < 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    return 0;
}

TEST(the_loops_own_descriptor_is_nobody_elses_to_close)
{
    bool found;

    assert_int_equal(run_real(meddle_with_the_loop, &found), 0);
    assert_checked();
    if (!found)
        skip();
}

/* ---- What sockets are like ----------------------------------------------------------------------------- */

OSR_TASK(accept_on_a_blocking_listener, void, unused)
{
    struct osr_address address;
    struct osr_scope limit;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client, served;

    osr_address_ip(&address, "127.0.0.1", 0);
    check_int(bind(listener, (struct sockaddr *)&address.storage, address.size), 0);
    check_int(listen(listener, 8), 0);
    check_int(osr_socket_address(listener, &address), 0);
    osr_move_on_open(&limit, osr_ms(2));
    check_int(osr_scope_close(&limit, osr_accept(listener, NULL)), 0);
    check(osr_scope_caught(&limit));
    client = osr_connect(&address);
    served = osr_accept(listener, NULL);
    check(served >= 0);
    check_int(fcntl(listener, F_GETFL) & O_NONBLOCK, 0);
    close_ends((struct ends){client, served});
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(accepting_on_a_blocking_listener_blocks_nobody)
{
    assert_int_equal(run_real(accept_on_a_blocking_listener, NULL), 0);
    assert_checked();
}

OSR_TASK(look_at_a_listener, void, unused)
{
    struct osr_address address;
    int reuse = 0, listener = listen_on_loopback(&address, 0);
    socklen_t size = sizeof(reuse);

    check_int(getsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, &size), 0);
    check_int(reuse, 1);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

TEST(a_listener_may_use_an_address_that_lingers)
{
    assert_int_equal(run_real(look_at_a_listener, NULL), 0);
    assert_checked();
}

OSR_TASK(connect_again_and_again, bool, stop)
{
    struct osr_address address;
    int listener, i, fds[300], count = 0;

    check_int(osr_address_unix(&address, "@osier-connects-at-once"), 0);
    listener = osr_listen(&address, 0);
    check(listener >= 0);
    for (i = 0; i < 300 && !*stop; i++) {
        int fd = osr_connect(&address);

        if (fd >= 0)
            fds[count++] = fd;
    }
    check(*stop);
    while (count > 0)
        check_int(osr_fd_close(fds[--count]), 0);
    check_int(osr_fd_close(listener), 0);
    return 0;
}

OSR_TASK(connect_beside_another, void, unused)
{
    struct osr_group group;
    bool stop = false;

    osr_group_open(&group);
    osr_spawn(&group, connect_again_and_again, &stop);
    osr_spawn(&group, stop_it, &stop);
    return osr_group_close(&group, 0);
}

TEST(a_task_whose_connects_never_wait_lets_others_run)
{
    assert_int_equal(run_real(connect_beside_another, NULL), 0);
    assert_checked();
}

/* ---- What cannot be watched ---------------------------------------------------------------------------- */

OSR_TASK(use_the_wrong_ends, void, unused)
{
    struct ends ends = pipe_ends();
    struct osr_scope limit;
    char byte = 0;

    osr_timeout_open(&limit, osr_s(5));
    check_int(osr_read(ends.b, &byte, 1), -EBADF);
    check_int(osr_fd_readable(ends.b), -EBADF);
    check_int(osr_write(ends.a, &byte, 1), -EBADF);
    check_int(osr_fd_writable(ends.a), -EBADF);
    check_int(osr_scope_close(&limit, 0), 0);
    close_ends(ends);
    return 0;
}

TEST(a_pipe_is_refused_in_the_direction_that_it_has_not)
{
    assert_int_equal(run_real(use_the_wrong_ends, NULL), 0);
    assert_checked();
}

OSR_TASK(close_raw_before_the_loop_looks, void, unused)
{
    struct ends ends = socket_ends();
    struct reading reader = {.fd = ends.a, .gave = -1};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, read_some, &reader);
    osr_yield();
    check_int(close(ends.a), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.gave, -EBADF);
    check_int(osr_fd_close(ends.b), 0);
    return 0;
}

TEST(a_descriptor_closed_raw_before_the_loop_first_looks_gives_a_code)
{
    assert_int_equal(osr_run(close_raw_before_the_loop_looks, NULL), 0);
    assert_checked();
}

static int watch_in(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

OSR_TASK(wait_for_other_loops, void, unused)
{
    struct ends ends = socket_ends();
    int loops[16], count = 0, last = ends.a;

    do {
        loops[count] = epoll_create1(EPOLL_CLOEXEC);
        if (watch_in(loops[count], last) < 0)
            break;
        last = loops[count++];
    } while (count < 15);
    check(count > 1 && count < 15);
    check_int(write(ends.b, "x", 1), 1);
    check_int(osr_fd_readable(loops[0]), 0);
    check_int(recv(ends.a, &last, 1, 0), 1);
    check_int(osr_fd_readable(loops[count - 1]), -EBADF);
    for (; count >= 0; count--)
        check_int(osr_fd_close(loops[count]), 0);
    close_ends(ends);
    return 0;
}

TEST(another_loops_descriptor_can_be_waited_for_unless_loops_are_nested_too_deeply)
{
    assert_int_equal(run_real(wait_for_other_loops, NULL), 0);
    assert_checked();
}

/* ---- Numbers that come to stand for something else ----------------------------------------------------- */

OSR_TASK(close_it, int, fd) { return osr_fd_close(*fd); }

static void *close_in_a_run(void *arg)
{
    int *fd = arg;

    *fd = osr_run(close_it, fd);
    return NULL;
}

static void close_in_another_thread(int fd)
{
    pthread_t thread;
    int made = pthread_create(&thread, NULL, close_in_a_run, &fd);

    if (made == 0)
        pthread_join(thread, NULL);
    check_int(made, 0);
    check_int(fd, 0); /* what the run gave */
}

OSR_TASK(write_a_byte_later, int, fd)
{
    check_int(osr_yield(), 0);
    check_int(write(*fd, "x", 1), 1);
    return 0;
}

/* After this the run watches `ends.a` for reading, and believes that there is nothing to read. */
static void read_one_byte_of_two_parts(struct ends ends)
{
    struct osr_group group;
    char buffer[8];

    osr_group_open(&group);
    osr_spawn(&group, write_a_byte_later, &ends.b);
    check_int(osr_read(ends.a, buffer, sizeof(buffer)), 1);
    check_int(osr_group_close(&group, 0), 0);
}

/* `is` takes the place of what the run knew under its number: neither blocks, and both can be read. */
static void use_a_number_again(struct ends is)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_s(2));
    read_one_byte_of_two_parts(is);
    check_int(osr_scope_close(&limit, 0), 0);
}

/* A socket is closed, and its number given to the end of a pipe. */
OSR_TASK(use_a_number_that_was_closed_elsewhere, void, unused)
{
    struct ends was = socket_ends(), is;

    read_one_byte_of_two_parts(was);
    close_in_another_thread(was.a);
    is = pipe_ends();
    check_int(is.a, was.a);
    use_a_number_again(is);
    close_ends(is);
    return osr_fd_close(was.b);
}

/* The same where numbers are large. */
OSR_TASK(use_a_large_number_that_was_closed_elsewhere, int, number)
{
    struct ends was = socket_ends(), is;
    struct ends large = {fcntl(was.a, F_DUPFD, *number), was.b};

    read_one_byte_of_two_parts(large);
    close_in_another_thread(large.a);
    is = pipe_ends();
    check_int(dup2(is.a, large.a), large.a);
    use_a_number_again((struct ends){large.a, is.b});
    check_int(osr_fd_close(large.a), 0);
    close_ends(is);
    return osr_fd_close(was.a) + osr_fd_close(was.b);
}

TEST(so_is_a_large_one)
{
    struct rlimit before, more;
    int number = 3000;

    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    more = before;
    more.rlim_cur = before.rlim_max < 4096 ? before.rlim_max : before.rlim_cur > 4096 ? before.rlim_cur : 4096;
    if (more.rlim_cur < 4096 || setrlimit(RLIMIT_NOFILE, &more) != 0)
        skip();
    assert_int_equal(osr_run(use_a_large_number_that_was_closed_elsewhere, &number), 0);
    assert_checked();
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
}

TEST(a_number_that_was_closed_in_another_threads_run_is_known_anew)
{
    assert_int_equal(osr_run(use_a_number_that_was_closed_elsewhere, NULL), 0);
    assert_checked();
    assert_int_equal(run_real(use_a_number_that_was_closed_elsewhere, NULL), 0);
    assert_checked();
}

OSR_TASK(read_until_it_is_closed, int, fd)
{
    char byte;

    check_int(osr_read(*fd, &byte, 1), -EBADF);
    return 0;
}

OSR_TASK(ask_for_a_number_that_somebody_waits_for, void, unused)
{
    struct ends was = socket_ends(), is;
    struct osr_group group;

    osr_group_open(&group);
    osr_scope_set_deadline(&group.scope, osr_time_add(osr_now(), osr_s(2)));
    osr_spawn(&group, read_until_it_is_closed, &was.a);
    check_int(osr_yield(), 0);
    close_in_another_thread(was.a);
    is = socket_ends();
    check_int(is.a, was.a);
    check_int(osr_fd_writable(is.a), 0);
    check_int(osr_group_close(&group, 0), 0);
    use_a_number_again(is);
    close_ends(is);
    return osr_fd_close(was.b);
}

TEST(who_waits_for_what_was_closed_in_another_threads_run_is_told_by_the_next_call)
{
    assert_int_equal(osr_run(ask_for_a_number_that_somebody_waits_for, NULL), 0);
    assert_checked();
}

OSR_TASK(tell_of_a_number_that_was_closed_elsewhere, void, unused)
{
    struct ends was = socket_ends(), is;
    int twin = dup(was.a); /* by which the system goes on telling of it */
    struct osr_group group;
    char byte = 0;

    osr_group_open(&group);
    osr_spawn(&group, read_until_it_is_closed, &was.a);
    check_int(osr_sleep(osr_ms(1)), 0);
    close_in_another_thread(was.a);
    is = socket_ends();
    check_int(is.a, was.a);
    check_int(write(is.b, "n", 1), 1);
    check_int(write(was.b, "w", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(recv(is.a, &byte, 1, MSG_DONTWAIT), 1);
    check_int(byte, 'n');
    close_ends(is);
    check_int(osr_fd_close(twin), 0);
    return osr_fd_close(was.b);
}

TEST(who_waits_for_what_was_closed_in_another_threads_run_reads_nothing_of_the_next_of_that_number)
{
    assert_int_equal(osr_run(tell_of_a_number_that_was_closed_elsewhere, NULL), 0);
    assert_checked();
}

/* ---- What was closed while libev has it told to the system once more: it would stop the program -------- */

static void spawn_waiters(struct osr_group *group, struct waiting *reader, struct waiting *writer)
{
    check_int(osr_spawn(group, wait_readable, reader), 0);
    check_int(osr_sleep(osr_ms(1)), 0); /* the system has been told of it */
    check_int(osr_spawn(group, wait_writable, writer), 0);
    check_int(osr_yield(), 0);
}

OSR_TASK(close_elsewhere_when_the_second_begins_to_wait, void, unused)
{
    struct ends ends = socket_ends();
    struct waiting reader = {ends.a, -1}, writer = {ends.a, -1};
    struct osr_group group;

    fill(ends.a);
    osr_group_open(&group);
    spawn_waiters(&group, &reader, &writer);
    close_in_another_thread(ends.a);
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.gave, -EBADF);
    check_int(writer.gave, -EBADF);
    return osr_fd_close(ends.b);
}

TEST(both_who_wait_for_what_was_closed_elsewhere_are_told_when_the_second_begins_to)
{
    assert_int_equal(osr_run(close_elsewhere_when_the_second_begins_to_wait, NULL), 0);
    assert_checked();
}

OSR_TASK(close_elsewhere_when_one_no_longer_waits, void, unused)
{
    struct ends ends = socket_ends();
    int twin = dup(ends.a); /* by which the system goes on telling of it */
    struct waiting reader = {ends.a, -1}, writer = {ends.a, -1};
    struct osr_group group;
    struct osr_scope limit;

    fill(ends.a);
    osr_group_open(&group);
    check_int(osr_spawn(&group, wait_writable, &writer), 0);
    osr_move_on_open(&limit, osr_ms(1));
    check_int(osr_fd_readable(reader.fd), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), 0);
    close_in_another_thread(ends.a);
    check_int(write(ends.b, "x", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(writer.gave, -EBADF);
    check_int(osr_fd_close(twin), 0);
    return osr_fd_close(ends.b);
}

TEST(who_waits_for_what_was_closed_elsewhere_is_told_when_the_other_direction_is_let_go)
{
    assert_int_equal(osr_run(close_elsewhere_when_one_no_longer_waits, NULL), 0);
    assert_checked();
}

OSR_TASK(close_one_elsewhere_and_one_that_lives_on, void, unused)
{
    struct ends ends = socket_ends(), others = socket_ends();
    int twin = dup(others.a); /* as a child process may have it */
    struct waiting reader = {ends.a, -1}, other = {others.a, -1};
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn(&group, wait_readable, &reader), 0);
    check_int(osr_spawn(&group, wait_readable, &other), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    close_in_another_thread(ends.a);
    check_int(osr_fd_close(others.a), 0);
    check_int(write(others.b, "x", 1), 1); /* of which the system tells, for the number that was closed */
    check_int(osr_group_close(&group, 0), 0);
    check_int(reader.gave, -EBADF);
    check_int(other.gave, -EBADF);
    check_int(osr_fd_close(twin), 0);
    check_int(osr_fd_close(others.b), 0);
    return osr_fd_close(ends.b);
}

TEST(who_waits_for_what_was_closed_elsewhere_is_told_when_the_loop_begins_anew)
{
    assert_int_equal(osr_run(close_one_elsewhere_and_one_that_lives_on, NULL), 0);
    assert_checked();
}

/* Attached, its tasks have a turn between libev's saying so and its telling the system. */
OSR_TASK(close_some_elsewhere_in_a_turn, void, unused)
{
    struct ends ends[8], others = socket_ends();
    int twin = dup(others.a);
    struct waiting readers[8], other = {others.a, -1};
    struct osr_group group;
    int i;

    osr_group_open(&group);
    check_int(osr_spawn(&group, wait_readable, &other), 0);
    for (i = 0; i < 8; i++) {
        ends[i] = socket_ends();
        readers[i] = (struct waiting){ends[i].a, -1};
        check_int(osr_spawn(&group, wait_readable, &readers[i]), 0);
    }
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_fd_close(others.a), 0);
    check_int(write(others.b, "x", 1), 1);
    for (i = 0; i < 800; i++) { /* three turns */
        if (i % 100 == 50)
            close_in_another_thread(ends[i / 100].a);
        check_int(osr_yield(), 0);
    }
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(other.gave, -EBADF);
    for (i = 0; i < 8; i++)
        check_int(osr_fd_close(ends[i].b), 0);
    check_int(osr_fd_close(twin), 0);
    return osr_fd_close(others.b);
}

TEST(what_is_closed_elsewhere_in_a_turn_before_an_attached_loop_begins_anew_stops_nobody)
{
    struct ev_loop *loop = ev_loop_new(0);
    struct osr_attachment tasks;

    assert_int_equal(osr_attach(&tasks, loop, close_some_elsewhere_in_a_turn, NULL), 0);
    ev_run(loop, 0);
    assert_int_equal(osr_detach(&tasks, NULL), 0);
    ev_loop_destroy(loop);
    assert_checked();
}

static void hear_of_nothing(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)kind;
    check_text(text, "");
}

OSR_TASK(have_what_was_made_closed_elsewhere, void, unused)
{
    struct osr_address address;
    int was = listen_on_loopback(&address, 0), is;

    close_in_another_thread(was);
    check_int(osr_leaks_report(), 0);
    is = listen_on_loopback(&address, 0);
    check_int(is, was);
    return osr_fd_close(is);
}

TEST(what_was_closed_in_another_threads_run_is_neither_leaked_nor_closed_barely)
{
    assert_int_equal(run_real(have_what_was_made_closed_elsewhere, NULL, .diagnose = hear_of_nothing), 0);
    assert_checked();
}

OSR_TASK(use_a_number_that_was_found_closed, void, unused)
{
    struct ends was = socket_ends(), is;
    struct osr_scope limit;
    char byte;

    read_one_byte_of_two_parts(was);
    check_int(close(was.a), 0);
    check_int(osr_write(was.a, "x", 1), -EBADF);
    osr_timeout_open(&limit, osr_s(2));
    check_int(osr_scope_close(&limit, osr_read(was.a, &byte, 1)), -EBADF);
    is = pipe_ends();
    check_int(is.a, was.a);
    use_a_number_again(is);
    close_ends(is);
    return osr_fd_close(was.b);
}

TEST(a_number_that_was_found_closed_is_known_anew)
{
    assert_int_equal(osr_run(use_a_number_that_was_found_closed, NULL), 0);
    assert_checked();
}

/* The last read took less than it was asked for, so the next one would wait first, and finds it closed before it has tried. */
OSR_TASK(use_a_number_that_was_found_closed_before_a_wait, void, unused)
{
    struct ends was = pipe_ends(), is = socket_ends();
    char bytes[8];

    check_int(osr_write(was.b, "x", 1), 1);
    check_int(osr_read(was.a, bytes, sizeof(bytes)), 1);
    check_int(close(was.a), 0);
    check_int(osr_read(was.a, bytes, sizeof(bytes)), -EBADF);
    check_int(dup2(is.a, was.a), was.a);
    check_int(osr_write(was.a, "x", 1), 1); /* which a pipe opened for reading could not */
    check_int(osr_fd_close(was.a), 0);
    check_int(osr_fd_close(was.b), 0);
    close_ends(is);
    return 0;
}

TEST(so_it_is_if_that_was_found_before_a_wait)
{
    assert_int_equal(osr_run(use_a_number_that_was_found_closed_before_a_wait, NULL), 0);
    assert_checked();
}

TEST(addresses_of_strange_families_and_unnamed_sockets_can_be_written)
{
    struct osr_address address = {.size = sizeof(sa_family_t)};
    char text[32];

    address.storage.ss_family = AF_UNIX;
    assert_int_equal(osr_address_format(&address, text, sizeof(text)), 5);
    assert_string_equal(text, "unix:");
    address.storage.ss_family = AF_UNSPEC;
    assert_int_equal(osr_address_format(&address, text, sizeof(text)), 1);
    assert_string_equal(text, "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        descriptor_test(a_descriptor_becomes_readable_and_is_writable),
        descriptor_test(a_peer_that_hangs_up_makes_a_descriptor_readable_and_reads_as_the_end),
        descriptor_test(a_full_descriptor_becomes_writable_when_the_peer_reads),
        descriptor_test(a_second_reader_is_refused_and_the_first_undisturbed),
        descriptor_test(a_read_that_was_cut_has_read_nothing_and_frees_the_descriptor),
        descriptor_test(bad_descriptors_give_a_code),
        descriptor_test(a_closed_descriptor_gives_a_code),
        descriptor_test(waiting_for_a_descriptor_of_the_runs_own_does_not_abort),
        descriptor_test(closing_a_descriptor_wakes_those_who_wait_for_it),
        descriptor_test(a_number_used_again_gets_no_events_of_the_old_descriptor),
        descriptor_test(an_event_that_was_due_for_a_closed_descriptor_reaches_nobody),
        descriptor_test(numbers_can_be_used_again_and_again),
        descriptor_test(a_number_closed_and_used_again_between_two_parts_of_a_write_gets_none_of_the_rest),
        descriptor_test(closing_one_number_of_a_file_leaves_the_other_alone),
        descriptor_test(a_bare_close_of_a_registered_descriptor_is_named_in_a_debug_run),
        descriptor_test(bytes_go_through),
        descriptor_test(writing_to_a_peer_that_is_gone_gives_a_code_and_no_signal),
        descriptor_test(writing_to_a_pipe_without_a_reader_gives_a_code_where_the_signal_is_ignored),
        descriptor_test(in_simulated_time_any_number_of_descriptors_is_watched),
        descriptor_test(what_fits_is_written_in_one_call),
        descriptor_test(a_write_that_was_cut_says_how_far_it_came),
        descriptor_test(a_write_that_fails_says_how_far_it_came),
        descriptor_test(descriptors_may_have_any_number),
        descriptor_test(large_writes_go_through_blocking_sockets_and_pipes_without_blocking),
        descriptor_test(a_terminal_that_takes_no_more_blocks_nobody),
        descriptor_test(blocking_descriptors_block_nobody_and_keep_their_flags),
        descriptor_test(in_a_cancelled_scope_nothing_is_read_written_accepted_or_connected),
        descriptor_test(a_cancellation_that_races_with_data_loses_no_byte),
        descriptor_test(a_task_whose_reads_and_writes_never_wait_lets_others_run),
        descriptor_test(a_tcp_connection_is_made_accepted_and_used),
        descriptor_test(a_unix_connection_is_made_accepted_and_used),
        descriptor_test(an_ipv6_connection_is_made_where_there_is_ipv6),
        descriptor_test(a_connect_that_fails_closes_what_it_made),
        descriptor_test(a_connect_that_is_cut_closes_what_it_made),
        descriptor_test(a_connect_to_a_unix_socket_with_a_full_backlog_leaves_nothing_behind),
        descriptor_test(a_connect_that_races_with_a_cancellation_loses_no_descriptor),
        descriptor_test(an_accept_that_was_cancelled_leaves_the_connection_to_the_next),
        descriptor_test(a_second_accept_is_refused_and_a_close_ends_the_first),
        descriptor_test(without_a_free_descriptor_the_connection_stays_in_the_backlog),
        descriptor_test(sockets_that_cannot_be_made_give_a_code),
        descriptor_test(hundreds_of_connections_are_echoed),
        descriptor_test(ip_addresses_are_made_from_numbers_and_put_in_words),
        descriptor_test(an_ipv6_address_may_have_a_scope),
        descriptor_test(what_is_no_ip_address_is_refused),
        descriptor_test(unix_addresses_are_made_from_paths_and_put_in_words),
        descriptor_test(what_is_no_unix_path_is_refused),
        descriptor_test(an_addresss_words_are_cut_at_the_size_of_the_buffer),
        descriptor_test(a_transfer_of_nothing_is_a_cancellation_point_too),
        descriptor_test(a_reader_that_finds_nothing_after_it_was_cancelled_does_not_wait_again),
        descriptor_test(a_reader_that_finds_nothing_waits_again),
        descriptor_test(a_second_reader_is_refused_even_before_the_first_that_was_woken_has_run),
        descriptor_test(a_reader_woken_before_its_descriptor_was_closed_does_not_read_from_the_next_of_that_number),
        descriptor_test(a_number_closed_behind_the_librarys_back_serves_again_when_the_library_gets_it),
        descriptor_test(a_descriptor_closed_behind_the_librarys_back_gives_a_code_when_it_is_waited_for),
        descriptor_test(the_loops_own_descriptor_is_nobody_elses_to_close),
        descriptor_test(accepting_on_a_blocking_listener_blocks_nobody),
        descriptor_test(a_listener_may_use_an_address_that_lingers),
        descriptor_test(a_task_whose_connects_never_wait_lets_others_run),
        descriptor_test(a_pipe_is_refused_in_the_direction_that_it_has_not),
        descriptor_test(a_descriptor_closed_raw_before_the_loop_first_looks_gives_a_code),
        descriptor_test(another_loops_descriptor_can_be_waited_for_unless_loops_are_nested_too_deeply),
        descriptor_test(a_number_that_was_closed_in_another_threads_run_is_known_anew),
        descriptor_test(so_is_a_large_one),
        descriptor_test(who_waits_for_what_was_closed_in_another_threads_run_is_told_by_the_next_call),
        descriptor_test(who_waits_for_what_was_closed_in_another_threads_run_reads_nothing_of_the_next_of_that_number),
        descriptor_test(both_who_wait_for_what_was_closed_elsewhere_are_told_when_the_second_begins_to),
        descriptor_test(who_waits_for_what_was_closed_elsewhere_is_told_when_the_other_direction_is_let_go),
        descriptor_test(who_waits_for_what_was_closed_elsewhere_is_told_when_the_loop_begins_anew),
        descriptor_test(what_is_closed_elsewhere_in_a_turn_before_an_attached_loop_begins_anew_stops_nobody),
        descriptor_test(what_was_closed_in_another_threads_run_is_neither_leaked_nor_closed_barely),
        descriptor_test(a_number_that_was_found_closed_is_known_anew),
        descriptor_test(so_it_is_if_that_was_found_before_a_wait),
        story_test(addresses_of_strange_families_and_unnamed_sockets_can_be_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
