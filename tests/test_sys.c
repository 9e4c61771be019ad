/*
 * What the system does seldom or never: calls that are interrupted, refused, or taken without being followed. The C
 * library's functions are replaced here by ones that can be told to misbehave.
 */
#include "harness.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "0_base/sys.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- Calls that misbehave ------------------------------------------------------------------------------ */

/* After `after` calls that go well, the named call fails `times` with `code`, or pretends to have succeeded if that
 * is 0. */
static struct {
    const char *call;
    int after, times, code;
    int made; /* calls of that name since then, misbehaving ones included */
} spoilt;

static void spoil(const char *call, int after, int times, int code)
{
    spoilt.call = call;
    spoilt.after = after;
    spoilt.times = times;
    spoilt.code = code;
    spoilt.made = 0;
}

static int mend(void **state)
{
    (void)state;
    spoil(NULL, 0, 0, 0);
    return 0;
}

/* Sanitizers call some of these before they are ready for instrumented code. */
#define CALLED_EARLY __attribute__((no_sanitize("address", "thread", "undefined")))

CALLED_EARLY static bool misbehaves(const char *call)
{
    if (!spoilt.call || strcmp(spoilt.call, call) != 0)
        return false;
    return spoilt.made++ >= spoilt.after && spoilt.made <= spoilt.after + spoilt.times;
}

/* Its result then, with errno set. */
CALLED_EARLY static int misbehaviour(void)
{
    errno = spoilt.code;
    return spoilt.code ? -1 : 0;
}

#define REPLACE(type, name, parameters, arguments)                         \
    CALLED_EARLY type name parameters                                      \
    {                                                                      \
        static type(*real) parameters;                                     \
                                                                           \
        if (misbehaves(#name))                                             \
            return (type)(intptr_t)misbehaviour();                         \
        if (!real)                                                         \
            real = (type(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name); \
        return real arguments;                                             \
    }

REPLACE(void *, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
        (at, size, protection, flags, fd, offset))
REPLACE(int, madvise, (void *at, size_t size, int advice), (at, size, advice))
REPLACE(int, mprotect, (void *at, size_t size, int protection), (at, size, protection))
REPLACE(int, uname, (struct utsname * name), (name))
REPLACE(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
REPLACE(ssize_t, read, (int fd, void *buffer, size_t size), (fd, buffer, size))
REPLACE(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
REPLACE(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
REPLACE(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
REPLACE(int, socket, (int family, int type, int protocol), (family, type, protocol))
REPLACE(int, bind, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size), (fd, address, size))
REPLACE(int, listen, (int fd, int backlog), (fd, backlog))
REPLACE(int, accept4, (int fd, __SOCKADDR_ARG peer, socklen_t *size, int flags), (fd, peer, size, flags))
REPLACE(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *size),
        (fd, level, option, value, size))
REPLACE(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t size),
        (fd, level, option, value, size))
REPLACE(int, getsockname, (int fd, __SOCKADDR_ARG address, socklen_t *size), (fd, address, size))
REPLACE(ssize_t, readlink, (const char *path, char *buffer, size_t size), (path, buffer, size))
REPLACE(int, eventfd, (unsigned count, int flags), (count, flags))
REPLACE(int, epoll_create1, (int flags), (flags))
REPLACE(int, sigaction, (int number, const struct sigaction *action, struct sigaction *old), (number, action, old))
REPLACE(int, sigaltstack, (const stack_t *stack, stack_t *old), (stack, old))

CALLED_EARLY int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    if (misbehaves("pthread_create"))
        return spoilt.code;
    if (!real)
        real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))(uintptr_t)dlsym(
            RTLD_NEXT, "pthread_create");
    return real(thread, attributes, begin, arg);
}

CALLED_EARLY FILE *fopen(const char *path, const char *mode)
{
    static FILE *(*real)(const char *, const char *);

    if (misbehaves("fopen"))
        return misbehaviour(), NULL;
    if (!real)
        real = (FILE * (*)(const char *, const char *))(uintptr_t) dlsym(RTLD_NEXT, "fopen");
    return real(path, mode);
}

CALLED_EARLY int fcntl(int fd, int command, ...)
{
    static int (*real)(int, int, ...);
    va_list list;
    void *arg;

    if (misbehaves("fcntl"))
        return misbehaviour();
    va_start(list, command);
    arg = va_arg(list, void *);
    va_end(list);
    if (!real)
        real = (int (*)(int, int, ...))(uintptr_t)dlsym(RTLD_NEXT, "fcntl");
    return real(fd, command, arg);
}

/* Whatever it says, the descriptor is closed. */
CALLED_EARLY int close(int fd)
{
    static int (*real)(int);
    bool misbehaving = misbehaves("close");
    int rc;

    if (!real)
        real = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "close");
    rc = real(fd);
    return misbehaving ? misbehaviour() : rc;
}

/* ---- Every call of the library ------------------------------------------------------------------------- */

static const struct door no_door;
static int pair[2];
static void *page;
static size_t page_size;

static int open_what_is_needed(void **state)
{
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    page = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    return begin_test(state);
}

static int close_what_was_needed(void **state)
{
    mend(state);
    close(pair[0]);
    close(pair[1]);
    return munmap(page, page_size);
}

static int make_madvise(const struct door *door) { return osri_sys_advise(door, page, page_size, MADV_NORMAL); }
static int make_mprotect(const struct door *door)
{
    return osri_sys_protect(door, page, page_size, PROT_READ | PROT_WRITE);
}
static int make_fcntl(const struct door *door)
{
    int flags = osri_sys_flags(door, pair[0]);

    return flags < 0 ? flags : flags & O_ACCMODE;
}
static int make_poll(const struct door *door)
{
    struct pollfd fds = {pair[0], POLLOUT, 0};

    return osri_sys_poll(door, &fds, 1, 0);
}
static int make_read(const struct door *door)
{
    char bytes[8];

    return (int)osri_sys_read(door, pair[0], bytes, sizeof(bytes));
}
static int make_write(const struct door *door) { return (int)osri_sys_write(door, pair[1], "bytes", 5); }
static int make_recv(const struct door *door)
{
    char bytes[8];

    return (int)osri_sys_receive(door, pair[0], bytes, sizeof(bytes), 0);
}
static int make_send(const struct door *door) { return (int)osri_sys_send(door, pair[1], "bytes", 5, MSG_NOSIGNAL); }
static int make_socket(const struct door *door)
{
    int fd = osri_sys_socket(door, AF_UNIX, SOCK_STREAM);

    return fd < 0 ? fd : close(fd);
}
static int make_bind(const struct door *door)
{
    const struct sockaddr any = {.sa_family = AF_UNIX}; /* the system chooses a name */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), rc = osri_sys_bind(door, fd, &any, sizeof(any.sa_family));

    close(fd);
    return rc;
}
static int make_listen(const struct door *door)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), rc = osri_sys_listen(door, fd, 1);

    close(fd);
    return rc;
}
static int make_accept4(const struct door *door)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), rc;

    listen(fd, 1);
    rc = osri_sys_accept(door, fd, NULL, NULL, 0); /* there is nobody */
    close(fd);
    return rc;
}
static int make_getsockopt(const struct door *door)
{
    int type = 0, rc = osri_sys_get_option(door, pair[0], SOL_SOCKET, SO_TYPE, &type);

    return rc < 0 ? rc : type == SOCK_STREAM;
}
static int make_setsockopt(const struct door *door)
{
    return osri_sys_set_option(door, pair[0], SOL_SOCKET, SO_KEEPALIVE, 1);
}
static int make_eventfd(const struct door *door)
{
    int fd = osri_sys_eventfd(door);

    return fd < 0 ? fd : close(fd);
}
static int make_getsockname(const struct door *door)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    int rc = osri_sys_name(door, pair[0], (struct sockaddr *)&address, &size);

    return rc < 0 ? rc : address.ss_family == AF_UNIX;
}

/* What each gives when all is well; what is read was written just before. */
static const struct {
    const char *call;
    int (*make)(const struct door *door);
    int result;
    const char *at_the_door; /* where that has another name */
} calls[] = {
    {"madvise", make_madvise, 0, NULL},
    {"mprotect", make_mprotect, 0, NULL},
    {"fcntl", make_fcntl, O_RDWR, NULL},
    {"poll", make_poll, 1, NULL},
    {"write", make_write, 5, NULL},
    {"read", make_read, 5, NULL},
    {"send", make_send, 5, NULL},
    {"recv", make_recv, 5, NULL},
    {"socket", make_socket, 0, NULL},
    {"bind", make_bind, 0, NULL},
    {"listen", make_listen, 0, NULL},
    {"accept4", make_accept4, -EAGAIN, "accept"},
    {"getsockopt", make_getsockopt, 1, NULL},
    {"setsockopt", make_setsockopt, 0, NULL},
    {"getsockname", make_getsockname, 1, NULL},
    {"eventfd", make_eventfd, 0, NULL},
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

TEST(a_call_that_signals_interrupt_is_made_again)
{
    int i, result;

    for (i = 0; i < CALLS; i++) {
        spoil(calls[i].call, 0, 2, EINTR);
        result = calls[i].make(&no_door);
        if (result != calls[i].result || spoilt.made < 3)
            fail_msg("%s gave %d in %d calls", calls[i].call, result, spoilt.made);
    }
}

TEST(a_call_that_fails_gives_the_negative_errno)
{
    int i, result;

    for (i = 0; i < CALLS; i++) {
        spoil(calls[i].call, 0, 1, EIO);
        result = calls[i].make(&no_door);
        if (result != -EIO)
            fail_msg("%s gave %d", calls[i].call, result);
    }
}

/* A door that refuses the one call that `arg` names. */
static unsigned refuse(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    return kind == OSR_CHOICE_FAULT && n > 1 && strcmp(what, arg) == 0;
}

TEST(a_call_that_the_door_refuses_is_not_made)
{
    int i, result;

    for (i = 0; i < CALLS; i++) {
        const char *name = calls[i].at_the_door ? calls[i].at_the_door : calls[i].call;
        struct door door = {.choose = refuse, .arg = (void *)name};

        spoil(calls[i].call, 0, 0, 0);
        result = calls[i].make(&door);
        if (result >= 0 || result == -EAGAIN || spoilt.made > 0)
            fail_msg("%s gave %d in %d calls", name, result, spoilt.made);
    }
}

TEST(a_close_that_signals_interrupt_has_closed)
{
    int fd = dup(0);

    spoil("close", 0, 1, EINTR);
    assert_int_equal(osri_sys_close(&no_door, fd), 0);
    assert_int_equal(spoilt.made, 1);
    assert_int_equal(osri_sys_flags(&no_door, fd), -EBADF);
    spoil("close", 0, 1, EIO);
    assert_int_equal(osri_sys_close(&no_door, dup(0)), -EIO);
}

TEST(a_page_is_guarded_where_the_system_cannot_write)
{
    assert_false(osri_sys_is_guarded(page));
    assert_return_code(mprotect(page, page_size, PROT_NONE), errno);
    assert_true(osri_sys_is_guarded(page));
    spoil("uname", 0, 1, ENOSYS);
    assert_false(osri_sys_is_guarded(page));
}

/* ---- Runs on such a system ----------------------------------------------------------------------------- */

OSR_TASK(end_at_once, void, unused) { return 0; }

static int __attribute__((noinline)) recurse(volatile int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    frame[511] = frame[0];
    return depth > 100000000 ? frame[511] : recurse(depth + 1) + frame[511];
}

OSR_TASK(overflow, void, unused) { return recurse(0); }

static void overflow_where_advice_is_taken_and_not_followed(void)
{
    spoil("madvise", 0, 1 << 30, 0);
    osr_run(overflow, NULL);
}

static void overflow_where_advice_is_refused(void)
{
    spoil("madvise", 0, 1 << 30, EINVAL);
    osr_run(overflow, NULL);
}

TEST(stacks_are_guarded_whatever_the_system_thinks_of_advice)
{
    assert_dies(overflow_where_advice_is_taken_and_not_followed, SIGSEGV, "stack overflow in task \"overflow\"");
    assert_dies(overflow_where_advice_is_refused, SIGSEGV, "stack overflow in task \"overflow\"");
}

TEST(a_stack_larger_than_the_address_space_is_refused)
{
    if (under_tools())
        skip(); /* their own bookkeeping of so large a region fails first */
    assert_int_equal(osr_run(end_at_once, NULL, .stack_size = (size_t)1 << 50), -ENOMEM);
    assert_int_equal(osr_run(end_at_once, NULL), 0);
}

/* The run fails with the code, and the thread's alternate stack and the handler for faults are as they were. */
static void assert_run_fails(const char *call, int after, int code)
{
    struct sigaction before, now;
    stack_t stack;

    sigaction(SIGSEGV, NULL, &before);
    spoil(call, after, 1, code);
    assert_int_equal(osr_run(end_at_once, NULL), -code);
    assert_int_equal(osr_error_code(osr_error_last()), -code);
    spoil(NULL, 0, 0, 0);
    osr_error_clear();
    sigaction(SIGSEGV, NULL, &now);
    assert_ptr_equal(now.sa_handler, before.sa_handler);
    assert_return_code(sigaltstack(NULL, &stack), errno);
    assert_true(stack.ss_flags & SS_DISABLE || under_tools());
    assert_int_equal(osr_run(end_at_once, NULL), 0);
}

TEST(a_run_that_cannot_watch_for_overflows_says_why_and_leaves_nothing)
{
    stack_t mine, none = {.ss_flags = SS_DISABLE};

    assert_return_code(sigaltstack(NULL, &mine), errno);
    assert_return_code(sigaltstack(&none, NULL), errno);
    assert_run_fails("sigaction", 0, EPERM);
    assert_run_fails("sigaltstack", 0, EPERM);
    assert_run_fails("sigaltstack", 1, ENOMEM);
    assert_run_fails("mmap", 0, ENOMEM);
    assert_return_code(sigaltstack(&mine, NULL), errno);
}

/* ---- Descriptors of another loop ----------------------------------------------------------------------- */

/* Whether one may be waited for is asked with a descriptor of the library's own. */
OSR_TASK(wait_for_another_loop, int, fd)
{
    struct osr_scope limit;

    spoil("epoll_create1", 0, 1, EMFILE);
    check_int(osr_fd_readable(*fd), -EBADF);
    check_int(spoilt.made, 1);
    osr_move_on_open(&limit, osr_ms(1));
    check_int(osr_fd_readable(*fd), -ECANCELED);
    return osr_scope_close(&limit, -ECANCELED);
}

TEST(without_a_descriptor_to_ask_with_another_loops_is_refused)
{
    int fd, before;

    if (under_tools())
        skip(); /* valgrind keeps descriptors in store for itself */
    fd = epoll_create1(0);
    before = open_descriptors();
    assert_int_equal(osr_run(wait_for_another_loop, &fd), 0);
    assert_checked();
    assert_int_equal(open_descriptors(), before);
    close(fd);
}

OSR_TASK(ask_for_what_cannot_be_polled, int, fd)
{
    spoil("poll", 0, 1, ENOMEM);
    check_int(osr_fd_writable(*fd), -ENOMEM);
    check_int(osr_fd_writable(*fd), 0);
    spoil("poll", 0, 1, ENOMEM);
    check_int(osr_write(*fd, "x", 1), -ENOMEM);
    return 0;
}

TEST(a_descriptor_that_cannot_be_polled_gives_the_systems_code)
{
    int fds[2];

    assert_return_code(pipe(fds), errno);
    assert_int_equal(osr_run(ask_for_what_cannot_be_polled, &fds[1]), 0);
    assert_checked();
    close(fds[0]);
    close(fds[1]);
}

/* As where /proc is not mounted. */
OSR_TASK(wait_for_the_runs_own_loop, int, fd)
{
    spoil("readlink", 0, 2, ENOENT);
    check_int(osr_fd_readable(*fd), -EBADF);
    check_int(osr_fd_close(*fd), -EBADF);
    return osr_sleep(osr_ms(1));
}

static void run_and_wait_for_the_runs_own_loop(void)
{
    int fd = dup(0);

    close(fd); /* the loop gets the number */
    check_int(osr_run(wait_for_the_runs_own_loop, &fd), 0);
}

TEST(the_runs_own_loop_is_refused_whatever_the_system_tells_about_it)
{
    if (under_tools())
        skip(); /* valgrind keeps descriptors in store for itself */
    assert_child_succeeds(run_and_wait_for_the_runs_own_loop);
}

/* Which one is the loop's own is asked with another when the run begins, and when the first of others is seen. */
OSR_TASK(close_another_loop, int, fd)
{
    check_int(spoilt.made, 1);
    check_int(osr_fd_close(*fd), -EBADF);
    check_int(spoilt.made, 2);
    check_int(osr_fd_close(*fd), 0);
    return 0;
}

TEST(where_it_cannot_be_told_from_the_runs_own_another_loops_is_refused_too)
{
    int fd, before;

    if (under_tools())
        skip(); /* valgrind keeps descriptors in store for itself */
    before = open_descriptors();
    fd = epoll_create1(0);
    spoil("eventfd", 0, 2, EMFILE);
    assert_int_equal(osr_run(close_another_loop, &fd), 0);
    assert_checked();
    assert_int_equal(open_descriptors(), before);
}

/* ---- The table of handles ------------------------------------------------------------------------------ */

OSR_TASK(ask_for_itself, void, unused)
{
    struct osr_group group;
    struct osr_task task;

    spoil("mmap", 0, 2, ENOMEM);
    check_int((long long)osr_self().id_, 0);
    osr_group_open(&group);
    check_int(osr_spawn(&group, end_at_once, NULL, .handle = &task), -ENOMEM);
    check_int(osr_group_running(&group), 0);
    check(osr_self().id_ != 0);
    check_int(osr_spawn(&group, end_at_once, NULL, .handle = &task), 0);
    return osr_group_close(&group, 0);
}

/* In a process of its own: the table only grows. */
static void ask_for_the_first_handle(void) { check_int(osr_run(ask_for_itself, NULL), 0); }

TEST(where_the_table_of_handles_cannot_grow_there_is_none)
{
    assert_child_succeeds(ask_for_the_first_handle);
}

static void do_nothing(void *arg, unsigned count)
{
    (void)arg, (void)count;
}

OSR_TASK(open_a_post, void, unused)
{
    struct osr_post post;

    spoil("mmap", 0, 1, ENOMEM);
    check_int(osr_post_open(&post, do_nothing, NULL), -ENOMEM);
    check_int(post.id_, 0);
    check_int(osr_post_open(&post, do_nothing, NULL), 0);
    return 0;
}

static void open_the_first_post(void) { check_int(osr_run(open_a_post, NULL), 0); }

TEST(where_the_table_of_posts_cannot_grow_there_is_none)
{
    assert_child_succeeds(open_the_first_post);
}

/* ---- The pool ------------------------------------------------------------------------------------------ */

OSR_JOB(give_seven, void, unused) { return 7; }
OSR_TASK(offload_seven, void, unused) { return osr_offload(give_seven, NULL); }

OSR_TASK(offload_two_at_once, void, unused)
{
    struct osr_group group;

    check_int(osr_offload(give_seven, NULL), 7);
    spoil("pthread_create", 0, 100, EAGAIN);
    osr_group_open(&group);
    check_int(osr_spawn(&group, offload_seven, NULL), 0);
    check_int(osr_spawn(&group, offload_seven, NULL), 0);
    return osr_group_close(&group, 0);
}

static void offload_without_threads(void)
{
    spoil("pthread_create", 0, 1, EAGAIN);
    check_int(osr_run(offload_seven, NULL), -EAGAIN);
    check_int(spoilt.made, 1);
    osr_error_clear();
    if (!under_tools()) /* which must know of every thread */
        check_int(osr_run(offload_two_at_once, NULL), 0);
}

TEST(without_a_thread_a_job_is_refused_but_one_thread_is_enough_for_all)
{
    assert_child_succeeds(offload_without_threads);
}

#define sys_test(function) cmocka_unit_test_setup_teardown(function, open_what_is_needed, close_what_was_needed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sys_test(a_call_that_signals_interrupt_is_made_again),
        sys_test(a_call_that_fails_gives_the_negative_errno),
        sys_test(a_call_that_the_door_refuses_is_not_made),
        sys_test(a_close_that_signals_interrupt_has_closed),
        sys_test(a_page_is_guarded_where_the_system_cannot_write),
        sys_test(stacks_are_guarded_whatever_the_system_thinks_of_advice),
        sys_test(a_stack_larger_than_the_address_space_is_refused),
        sys_test(a_run_that_cannot_watch_for_overflows_says_why_and_leaves_nothing),
        sys_test(without_a_descriptor_to_ask_with_another_loops_is_refused),
        sys_test(a_descriptor_that_cannot_be_polled_gives_the_systems_code),
        sys_test(the_runs_own_loop_is_refused_whatever_the_system_tells_about_it),
        sys_test(where_it_cannot_be_told_from_the_runs_own_another_loops_is_refused_too),
        sys_test(where_the_table_of_handles_cannot_grow_there_is_none),
        sys_test(where_the_table_of_posts_cannot_grow_there_is_none),
        sys_test(without_a_thread_a_job_is_refused_but_one_thread_is_enough_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
