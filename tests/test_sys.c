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
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "2_sched/sched.h"

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
REPLACE(ssize_t, recv, (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags))
REPLACE(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
REPLACE(int, socket, (int family, int type, int protocol), (family, type, protocol))
REPLACE(int, bind, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size), (fd, address, size))
REPLACE(int, listen, (int fd, int backlog), (fd, backlog))
REPLACE(int, accept4, (int fd, __SOCKADDR_ARG peer, socklen_t *size, int flags), (fd, peer, size, flags))
REPLACE(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t size),
        (fd, level, option, value, size))
REPLACE(int, getsockname, (int fd, __SOCKADDR_ARG address, socklen_t *size), (fd, address, size))
REPLACE(ssize_t, readlink, (const char *path, char *buffer, size_t size), (path, buffer, size))
REPLACE(int, eventfd, (unsigned count, int flags), (count, flags))
REPLACE(int, epoll_create1, (int flags), (flags))
REPLACE(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event))
REPLACE(int, sigaction, (int number, const struct sigaction *action, struct sigaction *old), (number, action, old))
REPLACE(int, socketpair, (int family, int type, int protocol, int fds[2]), (family, type, protocol, fds))
REPLACE(pid_t, fork, (void), ())
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

/* As many arguments as any call takes; those that are not there are not looked at. */
CALLED_EARLY long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long arguments[6];
    va_list list;
    int i;

    if (misbehaves("syscall"))
        return misbehaviour();
    va_start(list, number);
    for (i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_process_madvise && arguments[2] > 1 && misbehaves("some guards only"))
        arguments[2] /= 2;
    if (!real)
        real = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

/* As to a pipe with little room. */
CALLED_EARLY ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);

    if (misbehaves("write"))
        return misbehaviour();
    if (!real)
        real = (ssize_t(*)(int, const void *, size_t))(uintptr_t)dlsym(RTLD_NEXT, "write");
    return real(fd, data, size > 7 && misbehaves("a short write") ? 7 : size);
}

/* What a connection has come to is said in the code's place. */
CALLED_EARLY int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    static int (*real)(int, int, int, void *, socklen_t *);
    bool said = option == SO_ERROR && misbehaves("SO_ERROR");
    int rc;

    if (misbehaves("getsockopt"))
        return misbehaviour();
    if (!real)
        real = (int (*)(int, int, int, void *, socklen_t *))(uintptr_t)dlsym(RTLD_NEXT, "getsockopt");
    rc = real(fd, level, option, value, size);
    if (said)
        *(int *)value = spoilt.code;
    return rc;
}

/* Whatever it says, it goes on by itself. */
CALLED_EARLY int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t size)
{
    static int (*real)(int, __CONST_SOCKADDR_ARG, socklen_t);
    bool misbehaving = misbehaves("connect");
    int rc;

    if (!real)
        real = (int (*)(int, __CONST_SOCKADDR_ARG, socklen_t))(uintptr_t)dlsym(RTLD_NEXT, "connect");
    rc = real(fd, address, size);
    return misbehaving ? misbehaviour() : rc;
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
static int pair[2], own_pidfd;
static void *page;
static size_t page_size;

static int open_what_is_needed(void **state)
{
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    page = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    own_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    return begin_test(state);
}

static int close_what_was_needed(void **state)
{
    mend(state);
    close(pair[0]);
    close(pair[1]);
    close(own_pidfd);
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

static int make_socketpair(const struct door *door)
{
    int fds[2], rc = osri_sys_socket_pair(door, fds);

    return rc < 0 ? rc : close(fds[0]) + close(fds[1]);
}
static int make_fork(const struct door *door)
{
    pid_t pid = osri_sys_fork(door);
    int status = 0;

    if (pid == 0)
        leave_child(0);
    return pid < 0 ? (int)pid : waitpid(pid, &status, 0) == pid ? status : -1;
}
static int make_sigaction(const struct door *door)
{
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    struct sigaction before;

    return osri_sys_handle(door, SIGURG, &usual, &before);
}
static int make_pidfd_signal(const struct door *door) { return osri_sys_pidfd_signal(door, own_pidfd, 0); }

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
    {"socketpair", make_socketpair, 0, NULL},
    {"fork", make_fork, 0, NULL},
    {"sigaction", make_sigaction, 0, NULL},
    {"syscall", make_pidfd_signal, 0, "pidfd_send_signal"},
};

/* All but the last one where the system, or Valgrind, has no pidfds. */
#define CALLS (int)(sizeof(calls) / sizeof(calls[0]) - (own_pidfd < 0))

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
        if (result >= 0 || spoilt.made > 0)
            fail_msg("%s gave %d in %d calls", name, result, spoilt.made);
    }
}

TEST(a_connection_that_cannot_be_made_says_why)
{
    const struct sockaddr_un nobody = {.sun_family = AF_UNIX, .sun_path = "/nowhere/at/all"};
    struct door door = {.choose = refuse, .arg = (void *)"connect"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(osri_sys_connect(&no_door, fd, (const struct sockaddr *)&nobody, sizeof(nobody)), -ENOENT);
    assert_int_equal(osri_sys_connect(&door, fd, (const struct sockaddr *)&nobody, sizeof(nobody)), -ECONNREFUSED);
    close(fd);
}

OSR_TASK(connects_though_interrupted, void, unused)
{
    struct osr_address address;
    int listener, client, server;

    check_int(osr_address_ip(&address, "127.0.0.1", 0), 0);
    listener = osr_listen(&address, 1);
    check_int(osr_socket_address(listener, &address), 0);
    spoil("connect", 0, 1, EINTR);
    client = osr_connect(&address);
    check_that(client >= 0, "it is connected", OSR_HERE);
    server = osr_accept(listener, NULL);
    check_int(osr_write(client, "x", 1), 1);
    osr_fd_close(client);
    osr_fd_close(server);
    return osr_fd_close(listener);
}

TEST(a_connection_that_is_interrupted_goes_on_by_itself)
{
    assert_int_equal(osr_run(connects_though_interrupted, NULL), 0);
    assert_checked();
    assert_int_equal(spoilt.made, 1); /* and is not begun again */
}

static const int reasons[] = {ENETUNREACH, EHOSTUNREACH, ETIMEDOUT, ECONNREFUSED, ECONNRESET, EADDRNOTAVAIL, EACCES};
enum { REASONS = sizeof(reasons) / sizeof(reasons[0]) };

/* A port that is bound, and nobody listens. */
static int bind_a_port(struct osr_address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    check_int(osr_address_ip(address, "127.0.0.1", 0), 0);
    check_int(bind(fd, (const struct sockaddr *)&address->storage, address->size), 0);
    check_int(osr_socket_address(fd, address), 0);
    return fd;
}

/* Each is told, and the socket is closed. */
static void fail_to_connect(const struct osr_address *address, const char *call, int after)
{
    int before = open_descriptors(), i;

    for (i = 0; i < REASONS; i++) {
        spoil(call, after, 1, reasons[i]);
        check_int(osr_connect(address), -reasons[i]);
        check_int(osr_error_code(osr_error_last()), -reasons[i]);
        check_int(spoilt.made, after + 1);
        check_int(open_descriptors(), before);
    }
    mend(NULL);
}

/* At once; when it had begun; and where that was interrupted. */
OSR_TASK(connects_in_vain, void, unused)
{
    struct osr_address address;
    int listener, refusing, before;

    check_int(osr_address_ip(&address, "127.0.0.1", 0), 0);
    listener = osr_listen(&address, 0);
    check_int(osr_socket_address(listener, &address), 0);
    fail_to_connect(&address, "connect", 0);
    fail_to_connect(&address, "SO_ERROR", 0);
    fail_to_connect(&address, "getsockopt", 0); /* whether it is a socket */
    fail_to_connect(&address, "getsockopt", 1);
    check_int(osr_fd_close(listener), 0);

    refusing = bind_a_port(&address);
    before = open_descriptors();
    spoil("connect", 0, 1, EINTR);
    check_int(osr_connect(&address), -ECONNREFUSED);
    spoil("connect", 0, 1, EINPROGRESS);
    check_int(osr_connect(&address), -ECONNREFUSED);
    check_int(open_descriptors(), before);
    return close(refusing);
}

TEST(a_connection_that_fails_at_once_or_later_says_why_and_leaves_no_socket)
{
    assert_int_equal(osr_run(connects_in_vain, NULL), 0);
    assert_checked();
}

/* Only the first process is asked about: then it is known. */
static void ask_for_pidfds(void)
{
    spoil("syscall", 0, 1, ENOSYS);
    check_int(osri_sys_pidfd(&no_door, getpid()), -ENOSYS);
    check_int(osri_sys_pidfd(&no_door, getpid()), -ENOSYS);
    check_int(spoilt.made, 1);
}

TEST(a_system_without_pidfds_is_asked_once)
{
    assert_child_succeeds(ask_for_pidfds);
}

OSR_TASK(does_nothing_much, void, unused) { return osr_yield(); }

static int spawn_a_hundred(const struct osr_routine *routine)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 100 && rc == 0; i++)
        rc = osr_spawn_with(&group, routine, NULL, NULL);
    return osr_group_close(&group, rc);
}

OSR_TASK(spawns_many, void, unused) { return spawn_a_hundred(&does_nothing_much.routine_); }

static void guard_one_by_one(void)
{
    spoil("syscall", 0, 1000, ENOSYS);
    check_int(osr_run(spawns_many, NULL), 0);
    check_that(spoilt.made > 0, "the system was asked to guard many at once", OSR_HERE);
    spoil(NULL, 0, 0, 0);
}

OSR_TASK(has_a_guard, void, unused)
{
    check(osri_sys_is_guarded(osri_current()->lining.low - 4096));
    return osr_yield();
}

OSR_TASK(spawns_many_with_guards, void, unused) { return spawn_a_hundred(&has_a_guard.routine_); }

static void guard_some_only(void)
{
    spoil("some guards only", 0, 1000, 0);
    check_int(osr_run(spawns_many_with_guards, NULL), 0);
    check_that(spoilt.made > 0, "the system was asked to guard many at once", OSR_HERE);
    spoil(NULL, 0, 0, 0);
}

TEST(where_only_some_guards_are_made_together_the_others_are_made_later)
{
    if (under_tools())
        skip();
    assert_child_succeeds(guard_some_only);
}

TEST(where_guards_cannot_be_made_together_they_are_made_one_by_one)
{
    if (under_tools())
        skip(); /* Valgrind does not know the calls, and they are not made */
    assert_child_succeeds(guard_one_by_one);
}

/* Whether the page that the next task will touch first is in memory, when its stack has been guarded with others. */
OSR_TASK(looks_ahead, bool, found)
{
    struct stacks *stacks = &osri_sched->stacks;
    int rc = spawn_a_hundred(&does_nothing_much.routine_), code;
    unsigned char in_memory = 0;
    struct fiber *last;
    char *next;

    last = osri_stack_make(stacks, &code);
    check(last && stacks->made < stacks->guarded);
    next = last->lining->low - stacks->guard + stacks->stride;
    osri_stack_give(stacks, last);
    check_int(mincore(next + stacks->stride - page_size, page_size, &in_memory), 0);
    *found = in_memory & 1;
    return rc;
}

/* Whether pages can be brought in by the call that takes several. */
static bool pages_come_in_together(void)
{
    size_t size = 4 * page_size;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *pieces[2] = {memory, memory + 2 * page_size};
    bool come = osri_sys_advise_many(pieces, 2, page_size, 23 /* MADV_POPULATE_WRITE */) == 2;

    munmap(memory, size);
    return come;
}

static void look_ahead(void)
{
    bool found = false;

    check_int(osr_run(looks_ahead, &found), 0);
    check(found);
}

TEST(pages_of_new_stacks_come_in_together)
{
    if (under_tools() || !pages_come_in_together())
        skip();
    assert_child_succeeds(look_ahead);
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
static void assert_run_fails(const char *call, int after, int times, int code)
{
    struct sigaction before, now;
    stack_t stack;

    sigaction(SIGSEGV, NULL, &before);
    spoil(call, after, times, code);
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
    assert_run_fails("sigaction", 0, 1, EPERM);
    assert_run_fails("sigaltstack", 0, 1, EPERM);
    assert_run_fails("sigaltstack", 1, 1, ENOMEM);
    assert_run_fails("sigaltstack", 1, 2, ENOMEM); /* nor can it be asked for */
    assert_run_fails("mmap", 0, 1, ENOMEM);
    assert_return_code(sigaltstack(&mine, NULL), errno);
}

/* ---- What is diagnosed --------------------------------------------------------------------------------- */

static char told[1024];

static void keep_what_is_told(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)kind;
    snprintf(told, sizeof(told), "%s", text);
}

OSR_TASK(goes_on_calling, void, unused)
{
    struct osr_scope scope;
    int i;

    osr_move_on_open(&scope, 0);
    for (i = 0; i < 10000; i++)
        (void)osr_yield();
    return osr_scope_close(&scope, -ECANCELED);
}

static void run_and_go_on_calling(osr_diagnose *diagnose)
{
    assert_int_equal(osr_run(goes_on_calling, NULL, .diagnose = diagnose), 0);
}

/* What the run writes to standard error, where the named call misbehaves. */
static void run_and_read(const char *call, int times, int code, char *text, size_t size)
{
    int pipes[2], standard = dup(STDERR_FILENO);
    ssize_t n;

    assert_return_code(pipe(pipes), errno);
    dup2(pipes[1], STDERR_FILENO);
    close(pipes[1]);
    spoil(call, 0, times, code);
    run_and_go_on_calling(NULL);
    mend(NULL);
    dup2(standard, STDERR_FILENO);
    close(standard);
    n = read(pipes[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(pipes[0]);
}

TEST(what_is_diagnosed_is_written_whole_though_in_parts)
{
    char text[sizeof(told)];

    run_and_go_on_calling(keep_what_is_told);
    assert_non_null(strstr(told, "goes on calling in a cancelled scope"));
    run_and_read("a short write", 1 << 30, 0, text, sizeof(text));
    assert_string_equal(text, told);
    run_and_read("write", 2, EINTR, text, sizeof(text));
    assert_string_equal(text, told);
    run_and_read("write", 1, EIO, text, sizeof(text));
    assert_string_equal(text, ""); /* there is nobody to tell */
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

/* ---- Waiting without memory ---------------------------------------------------------------------------- */

enum { FOR_EVER = 1 << 30, DESCRIPTORS = 20 };

static int unwatched; /* how often it was told */

static void count_unwatched(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    check_int(kind, OSR_DIAGNOSIS_UNWATCHED);
    check(strncmp(text, "osier: there is no memory to w", 29) == 0);
    unwatched++;
}

static struct osr_event heard;

static void set_heard(void *arg, unsigned count)
{
    (void)arg, (void)count;
    osr_event_set(&heard);
}

static void *fire_in_a_while(void *post)
{
    usleep(50000);
    (void)osr_post_fire(*(struct osr_post *)post);
    return NULL;
}

static int64_t milliseconds_now(void)
{
    return osri_sys_clock() / 1000000;
}

/* Nothing else can happen meanwhile, and `call` fails so many times until it has; it is made no more often than `most` times
 * in a millisecond. */
static int wait_for_a_thread(const char *call, int times, int most)
{
    int64_t began = milliseconds_now();
    struct osr_post post;
    pthread_t thread;

    osr_event_init(&heard);
    check_int(osr_post_open(&post, set_heard, NULL), 0);
    check_int(pthread_create(&thread, NULL, fire_in_a_while, &post), 0);
    spoil(call, 0, times, ENOMEM);
    check_int(osr_event_wait(&heard), 0);
    check(spoilt.made > 0 && spoilt.made < most * (10 + milliseconds_now() - began)); /* it was no busy wait */
    check_int(osr_sleep(osr_ms(20)), 0); /* and time passes */
    mend(NULL);
    check_int(pthread_join(thread, NULL), 0);
    return 0;
}

OSR_TASK(wait_without_polling, void, unused) { return wait_for_a_thread("poll", FOR_EVER, 4); }
OSR_TASK(wait_without_watching, void, unused) { return wait_for_a_thread("epoll_ctl", FOR_EVER, 1); }

TEST(where_the_system_cannot_be_waited_for_a_run_looks_now_and_then_and_says_so)
{
    unwatched = 0;
    assert_int_equal(run_simulated(wait_without_polling, NULL, .diagnose = count_unwatched), 0);
    assert_int_equal(unwatched, 1);
    assert_int_equal(osr_run(wait_without_watching, NULL, .diagnose = count_unwatched), 0);
    assert_int_equal(unwatched, 2);
    assert_checked();
}

OSR_TASK(end_unwatched, void, unused)
{
    struct osr_post post;

    spoil("epoll_ctl", 0, FOR_EVER, ENOMEM);
    check_int(osr_post_open(&post, set_heard, NULL), 0);
    return osr_sleep(osr_ms(5));
}

TEST(a_run_may_end_that_would_look_again)
{
    int i;

    for (i = 0; i < 2; i++) {
        unwatched = 0;
        assert_int_equal(osr_run(end_unwatched, NULL, .diagnose = count_unwatched), 0);
        assert_int_equal(unwatched, 1);
        mend(NULL);
    }
    assert_checked();
}

OSR_TASK(wait_to_read, int, fd) { return osr_fd_readable(*fd); }

/* More descriptors than there is room for in any case. */
OSR_TASK(wait_without_room, void, unused)
{
    int fds[DESCRIPTORS][2], i;
    struct osr_group group;

    check_int(osr_sleep(1), 0); /* there is room for a timer */
    osr_group_open(&group);
    for (i = 0; i < DESCRIPTORS; i++) {
        check_int(pipe2(fds[i], O_NONBLOCK | O_CLOEXEC), 0);
        check_int(osr_spawn(&group, wait_to_read, &fds[i][0]), 0);
    }
    check_int(osr_yield(), 0); /* they wait, and the loop has not yet looked */
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    check_int(wait_for_a_thread("poll", 0, 4 * (DESCRIPTORS + 1)), 0);
    counting.fail_at = 0;
    osr_group_cancel(&group, "read enough");
    osr_group_close(&group, 0);
    for (i = 0; i < DESCRIPTORS; i++) {
        osr_fd_close(fds[i][0]);
        close(fds[i][1]);
    }
    return 0;
}

TEST(neither_is_a_wait_for_many_descriptors_without_memory_a_busy_one)
{
    unwatched = 0;
    assert_int_equal(run_simulated(wait_without_room, NULL, .allocator = &counting_allocator,
                                   .diagnose = count_unwatched), 0);
    assert_int_equal(unwatched, 1);
    assert_checked();
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

OSR_JOB(nap_a_little, int, unused)
{
    (void)unused;
    usleep(5000);
    return 0;
}

OSR_TASK(offload_a_nap, void, unused)
{
    int ignored = 0;

    return osr_offload(nap_a_little, &ignored);
}

OSR_TASK(have_jobs_run, void, unused)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < 8; i++)
        osr_spawn(&group, offload_a_nap, NULL);
    return osr_group_close(&group, 0);
}

/* Nor is one begun that would have to end at once. */
TEST(no_more_threads_are_begun_than_the_pool_may_have)
{
    assert_int_equal(osr_pool_shutdown(osr_s(10), NULL, NULL), 0);
    assert_int_equal(osr_pool_set_size(2), 0);
    spoil("pthread_create", 1000, 0, 0); /* which counts them */
    assert_int_equal(osr_run(have_jobs_run, NULL), 0);
    assert_int_equal(spoilt.made, 2);
    assert_int_equal(osr_pool_set_size(4), 0);
}

#define sys_test(function) cmocka_unit_test_setup_teardown(function, open_what_is_needed, close_what_was_needed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sys_test(a_call_that_signals_interrupt_is_made_again),
        sys_test(a_call_that_fails_gives_the_negative_errno),
        sys_test(a_call_that_the_door_refuses_is_not_made),
        sys_test(a_connection_that_cannot_be_made_says_why),
        sys_test(a_connection_that_is_interrupted_goes_on_by_itself),
        sys_test(a_connection_that_fails_at_once_or_later_says_why_and_leaves_no_socket),
        sys_test(a_system_without_pidfds_is_asked_once),
        sys_test(where_guards_cannot_be_made_together_they_are_made_one_by_one),
        sys_test(pages_of_new_stacks_come_in_together),
        sys_test(where_only_some_guards_are_made_together_the_others_are_made_later),
        sys_test(a_close_that_signals_interrupt_has_closed),
        sys_test(a_page_is_guarded_where_the_system_cannot_write),
        sys_test(stacks_are_guarded_whatever_the_system_thinks_of_advice),
        sys_test(a_stack_larger_than_the_address_space_is_refused),
        sys_test(a_run_that_cannot_watch_for_overflows_says_why_and_leaves_nothing),
        sys_test(what_is_diagnosed_is_written_whole_though_in_parts),
        sys_test(without_a_descriptor_to_ask_with_another_loops_is_refused),
        sys_test(a_descriptor_that_cannot_be_polled_gives_the_systems_code),
        sys_test(the_runs_own_loop_is_refused_whatever_the_system_tells_about_it),
        sys_test(where_it_cannot_be_told_from_the_runs_own_another_loops_is_refused_too),
        sys_test(where_the_table_of_handles_cannot_grow_there_is_none),
        sys_test(where_the_table_of_posts_cannot_grow_there_is_none),
        sys_test(where_the_system_cannot_be_waited_for_a_run_looks_now_and_then_and_says_so),
        sys_test(a_run_may_end_that_would_look_again),
        sys_test(neither_is_a_wait_for_many_descriptors_without_memory_a_busy_one),
        sys_test(without_a_thread_a_job_is_refused_but_one_thread_is_enough_for_all),
        sys_test(no_more_threads_are_begun_than_the_pool_may_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
