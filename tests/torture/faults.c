#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <execinfo.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct board *faults_board;

/* ---- What can fail, and how ---- */

enum { SHORT = -1 }; /* for a code: half of it is transferred */

enum kind {
    MEMORY, MMAP, MADVISE, MPROTECT, POLL, READ, WRITE, RECV, SEND, SOCKET, BIND, LISTEN, ACCEPT, CONNECT, GETSOCKOPT,
    SETSOCKOPT, GETSOCKNAME, SOCKETPAIR, FORK, WAITPID, PIDFD_OPEN, PIDFD_SIGNAL, EVENTFD, EPOLL_CREATE, EPOLL_CTL, FCNTL,
    READLINK, OPEN, PWRITE, CLOSE, SIGACTION, SIGALTSTACK, SEM_WAIT, PTHREAD_CREATE, GETADDRINFO, LOOP_NEW, ALL_KINDS
};

static const struct {
    const char *name;
    int loud[4];  /* what the caller may be told */
    int quiet[4]; /* what it must not feel */
} kinds[ALL_KINDS] = {
    [MEMORY] = {"memory", {ENOMEM}, {0}},
    [MMAP] = {"mmap", {ENOMEM}, {0}},
    [MADVISE] = {"madvise", {EINVAL, ENOMEM}, {EINTR}},
    [MPROTECT] = {"mprotect", {ENOMEM}, {0}},
    [POLL] = {"poll", {ENOMEM}, {EINTR}},
    [READ] = {"read", {EIO}, {EINTR, EAGAIN, SHORT}},
    [WRITE] = {"write", {EPIPE, ENOSPC, EIO}, {EINTR, EAGAIN, SHORT}},
    [RECV] = {"recv", {ECONNRESET, ETIMEDOUT, ENOMEM}, {EINTR, EAGAIN, SHORT}},
    [SEND] = {"send", {EPIPE, ECONNRESET, ENOBUFS}, {EINTR, EAGAIN, SHORT}},
    [SOCKET] = {"socket", {EMFILE, ENFILE, ENOBUFS}, {0}},
    [BIND] = {"bind", {EADDRINUSE, EACCES}, {0}},
    [LISTEN] = {"listen", {EADDRINUSE}, {0}},
    [ACCEPT] = {"accept", {EMFILE, ENFILE, ENOMEM}, {ECONNABORTED, EINTR, EAGAIN}},
    [CONNECT] = {"connect", {ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL}, {EINTR}},
    [GETSOCKOPT] = {"getsockopt", {ENOBUFS}, {0}},
    [SETSOCKOPT] = {"setsockopt", {ENOBUFS}, {0}},
    [GETSOCKNAME] = {"getsockname", {ENOBUFS}, {0}},
    [SOCKETPAIR] = {"socketpair", {EMFILE, ENFILE, ENOBUFS}, {0}},
    [FORK] = {"fork", {EAGAIN, ENOMEM}, {0}},
    [WAITPID] = {"waitpid", {ECHILD}, {EINTR}},
    [PIDFD_OPEN] = {"pidfd_open", {EMFILE, ENOMEM}, {0}}, /* ENOSYS is believed for ever */
    [PIDFD_SIGNAL] = {"pidfd_send_signal", {ENOSYS, EPERM}, {0}},
    [EVENTFD] = {"eventfd", {EMFILE, ENFILE, ENOMEM}, {0}},
    [EPOLL_CREATE] = {"epoll_create1", {EMFILE, ENFILE, ENOMEM}, {0}},
    [EPOLL_CTL] = {"epoll_ctl", {ENOMEM, ENOSPC}, {0}},
    [FCNTL] = {"fcntl", {EBADF}, {0}},
    [READLINK] = {"readlink", {ENOENT, ENOMEM}, {0}},
    [OPEN] = {"open", {EACCES, EMFILE}, {0}},
    [PWRITE] = {"pwrite", {ENOSPC, EIO}, {EINTR, SHORT}},
    [CLOSE] = {"close", {EIO}, {EINTR}},
    [SIGACTION] = {"sigaction", {EINVAL}, {0}},
    [SIGALTSTACK] = {"sigaltstack", {EPERM, ENOMEM}, {0}},
    [SEM_WAIT] = {"sem_wait", {0}, {EINTR}},
    [PTHREAD_CREATE] = {"pthread_create", {EAGAIN}, {0}},
    [GETADDRINFO] = {"getaddrinfo", {ENOMEM}, {0}},
    [LOOP_NEW] = {"ev_loop_new", {EMFILE}, {0}},
};

static unsigned length(const int codes[4])
{
    unsigned n = 0;

    while (n < 4 && codes[n])
        n++;
    return n;
}

const char *faults_name(unsigned kind)
{
    return kind < ALL_KINDS ? kinds[kind].name : NULL;
}

unsigned faults_loud_picks(unsigned kind)
{
    return length(kinds[kind].loud);
}

unsigned faults_picks(unsigned kind)
{
    return faults_loud_picks(kind) + length(kinds[kind].quiet);
}

int faults_code(unsigned kind, unsigned pick)
{
    unsigned loud = faults_loud_picks(kind);

    return pick < loud ? kinds[kind].loud[pick] : pick < faults_picks(kind) ? kinds[kind].quiet[pick - loud] : 0;
}

/* ---- Asking ---- */

void faults_open(void)
{
    void *frames[2];

    faults_board = mmap(NULL, sizeof(*faults_board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (faults_board == MAP_FAILED)
        abort();
    (void)backtrace(frames, 2); /* the first one loads what it needs */
}

void faults_begin(const struct fault faults[FAULTS])
{
    memcpy(faults_board->faults, faults, sizeof(faults_board->faults));
    memset(faults_board->hits, 0, sizeof(faults_board->hits));
    faults_board->asked = faults_board->asked_for_memory = 0;
    faults_board->on = true;
}

void faults_end(void)
{
    faults_board->on = false;
}

/* Who has made the call that fails: once for each place. */
static void note_site(void)
{
    extern const char __executable_start[];
    void *frames[FRAMES] = {0};
    size_t site[FRAMES] = {0};
    unsigned known;
    int i, n = backtrace(frames, FRAMES);

    for (i = 0; i < n; i++)
        site[i] = (size_t)frames[i] - (size_t)__executable_start - 1;
    for (known = 0; known < faults_board->site_count; known++)
        if (memcmp(faults_board->sites[known], site, sizeof(site)) == 0)
            return;
    if (known < SITES)
        memcpy(faults_board->sites[faults_board->site_count++], site, sizeof(site));
}

static int hit(enum kind kind, unsigned pick)
{
    int code = faults_code(kind, pick);

    if (!code)
        return 0;
    faults_board->hits[kind] |= 1u << pick;
    faults_board->failed[kind]++;
    note_site();
    return code;
}

/* Which one a call is in the eyes of a fault. */
static unsigned long number_for(const struct fault *fault, unsigned long number, unsigned long of_memory)
{
    return fault->form == ONCE_FOR_MEMORY ? of_memory : number;
}

/* The code with which this call fails, SHORT, or 0. */
static __attribute__((noinline)) int asked(enum kind kind)
{
    unsigned long all, of_memory = 0;
    unsigned i;

    if (!faults_board || !faults_board->on)
        return 0;
    all = __atomic_add_fetch(&faults_board->asked, 1, __ATOMIC_SEQ_CST);
    if (kind == MEMORY)
        of_memory = __atomic_add_fetch(&faults_board->asked_for_memory, 1, __ATOMIC_SEQ_CST);
    if (all < LOGGED)
        faults_board->log[all] = (unsigned char)kind;
    for (i = 0; i < FAULTS; i++) {
        const struct fault *fault = &faults_board->faults[i];
        unsigned long number = number_for(fault, all, of_memory);

        if (fault->at == 0 || number < fault->at || (number > fault->at && (fault->form == ONCE || fault->form == ONCE_FOR_MEMORY)))
            continue;
        if (number == fault->at)
            return hit(kind, fault->pick);
        if ((fault->form == ALL_FROM_THERE_ON || kind == faults_board->log[fault->at]) && faults_loud_picks(kind) > 0)
            return hit(kind, fault->pick % faults_loud_picks(kind));
    }
    return 0;
}

/* ---- The calls ---- */

/* Each gives `failed` with errno set, or does what it is for. */
#define CALL(type, name, kind, failed, parameters, arguments) \
    type torture_##name parameters;                           \
    __attribute__((noinline)) type torture_##name parameters  \
    {                                                         \
        int code_ = asked(kind);                              \
                                                              \
        if (!code_)                                           \
            return name arguments;                            \
        errno = code_;                                        \
        return failed;                                        \
    }

/* The same for transfers of `size` bytes, which may be short. `waits`: it does not fail for having to. */
#define TRANSFER(name, kind, waits, parameters, arguments, half) \
    ssize_t torture_##name parameters;                           \
    __attribute__((noinline)) ssize_t torture_##name parameters  \
    {                                                            \
        int code_ = asked(kind);                                 \
                                                                 \
        if (!code_ || (code_ == EAGAIN && (waits)))              \
            return name arguments;                               \
        if (code_ == SHORT)                                      \
            return name half;                                    \
        errno = code_;                                           \
        return -1;                                               \
    }

CALL(void *, mmap, MMAP, MAP_FAILED, (void *at, size_t size, int protection, int flags, int fd, off_t offset),
     (at, size, protection, flags, fd, offset))
CALL(int, madvise, MADVISE, -1, (void *at, size_t size, int advice), (at, size, advice))
CALL(int, mprotect, MPROTECT, -1, (void *at, size_t size, int protection), (at, size, protection))
CALL(int, poll, POLL, -1, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
TRANSFER(read, READ, false, (int fd, void *buffer, size_t size), (fd, buffer, size), (fd, buffer, (size + 1) / 2))
TRANSFER(write, WRITE, false, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, (size + 1) / 2))
TRANSFER(recv, RECV, !(flags & MSG_DONTWAIT), (int fd, void *buffer, size_t size, int flags), (fd, buffer, size, flags),
         (fd, buffer, (size + 1) / 2, flags))
TRANSFER(send, SEND, !(flags & MSG_DONTWAIT), (int fd, const void *data, size_t size, int flags), (fd, data, size, flags),
         (fd, data, (size + 1) / 2, flags))
TRANSFER(pwrite, PWRITE, true, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at),
         (fd, data, (size + 1) / 2, at))
CALL(int, socket, SOCKET, -1, (int family, int type, int protocol), (family, type, protocol))
CALL(int, bind, BIND, -1, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
CALL(int, listen, LISTEN, -1, (int fd, int backlog), (fd, backlog))
CALL(int, accept4, ACCEPT, -1, (int fd, struct sockaddr *peer, socklen_t *size, int flags), (fd, peer, size, flags))
CALL(int, getsockopt, GETSOCKOPT, -1, (int fd, int level, int option, void *value, socklen_t *size),
     (fd, level, option, value, size))
CALL(int, setsockopt, SETSOCKOPT, -1, (int fd, int level, int option, const void *value, socklen_t size),
     (fd, level, option, value, size))
CALL(int, getsockname, GETSOCKNAME, -1, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size))
CALL(int, socketpair, SOCKETPAIR, -1, (int family, int type, int protocol, int *fds), (family, type, protocol, fds))
CALL(pid_t, fork, FORK, -1, (void), ())
CALL(int, eventfd, EVENTFD, -1, (unsigned count, int flags), (count, flags))
CALL(int, epoll_create1, EPOLL_CREATE, -1, (int flags), (flags))
CALL(ssize_t, readlink, READLINK, -1, (const char *path, char *buffer, size_t size), (path, buffer, size))
CALL(int, sem_wait, SEM_WAIT, -1, (sem_t * semaphore), (semaphore))
CALL(struct ev_loop *, ev_loop_new, LOOP_NEW, NULL, (unsigned flags), (flags))

/* By the library, and by libev. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    int code = operation == EPOLL_CTL_DEL ? 0 : asked(EPOLL_CTL);

    if (!code)
        return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
    errno = code;
    return -1;
}

/* Interrupted, it has done its work all the same. */
int torture_connect(int fd, const struct sockaddr *address, socklen_t size);
int torture_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int code = asked(CONNECT), rc = code && code != EINTR ? -1 : connect(fd, address, size);

    if (!code || (code == EINTR && rc < 0))
        return rc;
    errno = code;
    return -1;
}

/* The status is lost, not the child. */
pid_t torture_waitpid(pid_t pid, int *status, int options);
pid_t torture_waitpid(pid_t pid, int *status, int options)
{
    int code = asked(WAITPID);
    pid_t reaped = code == EINTR ? -1 : waitpid(pid, status, options);

    if (!code || (reaped == 0 && code == ECHILD))
        return reaped;
    errno = code;
    return -1;
}

/* Whatever it says, the descriptor is closed. */
int torture_close(int fd);
int torture_close(int fd)
{
    int code = asked(CLOSE), rc = close(fd);

    if (!code || rc < 0)
        return rc;
    errno = code;
    return -1;
}

/* Asking, and putting a handler back that was there, does not fail. */
int torture_sigaction(int number, const struct sigaction *action, struct sigaction *previous);
int torture_sigaction(int number, const struct sigaction *action, struct sigaction *previous)
{
    int code = action && previous ? asked(SIGACTION) : 0;

    if (!code)
        return sigaction(number, action, previous);
    errno = code;
    return -1;
}

int torture_sigaltstack(const stack_t *stack, stack_t *previous);
int torture_sigaltstack(const stack_t *stack, stack_t *previous)
{
    int code = stack && !(stack->ss_flags & SS_DISABLE) ? asked(SIGALTSTACK) : 0;

    if (!code)
        return sigaltstack(stack, previous);
    errno = code;
    return -1;
}

int torture_fcntl(int fd, int command, ...);
int torture_fcntl(int fd, int command, ...)
{
    va_list list;
    long argument;
    int code = command == F_GETFL ? asked(FCNTL) : 0; /* else it is asked of one that is open */

    va_start(list, command);
    argument = va_arg(list, long);
    va_end(list);
    if (!code)
        return fcntl(fd, command, argument);
    errno = code;
    return -1;
}

int torture_open(const char *path, int flags, ...);
int torture_open(const char *path, int flags, ...)
{
    va_list list;
    int mode, code = asked(OPEN);

    va_start(list, flags);
    mode = va_arg(list, int);
    va_end(list);
    if (!code)
        return open(path, flags, mode);
    errno = code;
    return -1;
}

/* The bell of an inbox, and what a thread asks of itself, cannot fail. */
long torture_syscall(long number, ...);
long torture_syscall(long number, ...)
{
    long a[5];
    va_list list;
    int code = 0, i;

    va_start(list, number);
    for (i = 0; i < 5; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_open)
        code = asked(PIDFD_OPEN);
    else if (number == SYS_pidfd_send_signal)
        code = asked(PIDFD_SIGNAL);
    if (!code)
        return syscall(number, a[0], a[1], a[2], a[3], a[4]);
    errno = code;
    return -1;
}

int torture_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *), void *arg);
int torture_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *), void *arg)
{
    int code = asked(PTHREAD_CREATE);

    return code ? code : pthread_create(thread, attributes, begin, arg);
}

int torture_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found);
int torture_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    return asked(GETADDRINFO) ? EAI_MEMORY : getaddrinfo(node, service, hints, found);
}

/* ---- Memory ---- */

static long blocks;

long faults_blocks(void)
{
    return __atomic_load_n(&blocks, __ATOMIC_SEQ_CST);
}

static void *counted(void *block)
{
    if (block)
        __atomic_add_fetch(&blocks, 1, __ATOMIC_SEQ_CST);
    return block;
}

void *torture_malloc(size_t size);
__attribute__((noinline)) void *torture_malloc(size_t size)
{
    return asked(MEMORY) ? NULL : counted(malloc(size));
}

void *torture_calloc(size_t count, size_t size);
__attribute__((noinline)) void *torture_calloc(size_t count, size_t size)
{
    return asked(MEMORY) ? NULL : counted(calloc(count, size));
}

void *torture_realloc(void *block, size_t size);
__attribute__((noinline)) void *torture_realloc(void *block, size_t size)
{
    if (asked(MEMORY))
        return NULL;
    return block ? realloc(block, size) : counted(malloc(size));
}

void torture_free(void *block);
void torture_free(void *block)
{
    if (block)
        __atomic_sub_fetch(&blocks, 1, __ATOMIC_SEQ_CST);
    free(block);
}
