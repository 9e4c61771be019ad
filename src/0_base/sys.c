#include "0_base/sys.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The code with which the door fails this call, one of those given (ended with 0); 0 if it does not. */
static int fault(const struct door *door, const char *call, const int *codes)
{
    unsigned n = 0, pick;

    while (codes[n])
        n++;
    pick = osri_choose(door, OSR_CHOICE_FAULT, n + 1, call);
    return pick ? -codes[pick - 1] : 0;
}

/* Leaves the calling function with the fault that the door chose, if there is one and it did. */
#define MAY_FAIL(door, call, ...)                                                                      \
    do {                                                                                               \
        int fault_ = unlikely((door)->choose)                                                          \
                         ? fault(door, call "\0" #__VA_ARGS__, (const int[]){__VA_ARGS__, 0})          \
                         : 0;                                                                          \
        if (unlikely(fault_ != 0))                                                                     \
            return fault_;                                                                             \
    } while (0)

/* The result of a call that is made again as long as signals interrupt it. */
#define RETRY(type, call)                          \
    do {                                           \
        type result_;                              \
        do                                         \
            result_ = (call);                      \
        while (result_ < 0 && errno == EINTR);     \
        return result_ < 0 ? -errno : result_;     \
    } while (0)

/* ---- Memory and time ---- */

static int map_fault(const struct door *door)
{
    MAY_FAIL(door, "mmap", ENOMEM);
    return 0;
}

void *osri_sys_map(const struct door *door, size_t size, int *code)
{
    void *memory;

    *code = map_fault(door);
    if (*code)
        return NULL;
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED)
        return memory;
    *code = -errno;
    return NULL;
}

void osri_sys_unmap(void *memory, size_t size)
{
    munmap(memory, size);
}

int osri_sys_advise(const struct door *door, void *memory, size_t size, int advice)
{
    MAY_FAIL(door, "madvise", EINVAL, ENOMEM);
    RETRY(int, madvise(memory, size, advice));
}

#ifndef PIDFD_SELF /* Linux 6.15 */
#define PIDFD_SELF (-10000)
#endif

size_t osri_sys_advise_many(char *const pages[], size_t count, size_t size, int advice)
{
    struct iovec vector[MOST_ADVISED];
    long done;
    size_t i;

    for (i = 0; i < count; i++)
        vector[i] = (struct iovec){pages[i], size};
    done = syscall(SYS_process_madvise, PIDFD_SELF, vector, count, advice, 0);
    return done > 0 ? (size_t)done / size : 0;
}

int osri_sys_protect(const struct door *door, void *memory, size_t size, int protection)
{
    MAY_FAIL(door, "mprotect", ENOMEM);
    RETRY(int, mprotect(memory, size, protection));
}

bool osri_sys_is_guarded(void *page)
{
    return uname(page) < 0 && errno == EFAULT; /* the system writes its name there, or cannot */
}

static int64_t read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t osri_sys_clock(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t osri_sys_clock_of_tick(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

_Static_assert(sizeof(atomic_uint) == 4, "the system can wait for it");

void osri_sys_wait(atomic_uint *word, unsigned value, int64_t until)
{
    struct {
        long seconds, nanoseconds; /* as this call has them, whatever the C library's time is */
    } at = {(long)(until / 1000000000), (long)(until % 1000000000)};

    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until == OSR_NEVER ? NULL : &at, NULL,
                  FUTEX_BITSET_MATCH_ANY);
}

void osri_sys_wake(atomic_uint *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- Descriptors ---- */

int osri_sys_flags(const struct door *door, int fd)
{
    MAY_FAIL(door, "fcntl", EBADF);
    RETRY(int, fcntl(fd, F_GETFL));
}

int osri_sys_poll(const struct door *door, struct pollfd *fds, unsigned long count, int timeout)
{
    MAY_FAIL(door, "poll", ENOMEM);
    RETRY(int, poll(fds, count, timeout));
}

void osri_sys_nap(void)
{
    (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
}

int osri_sys_eventfd(const struct door *door)
{
    MAY_FAIL(door, "eventfd", EMFILE, ENFILE, ENOMEM);
    RETRY(int, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

ssize_t osri_sys_read(const struct door *door, int fd, void *buffer, size_t size)
{
    MAY_FAIL(door, "read", EIO);
    RETRY(ssize_t, read(fd, buffer, size));
}

ssize_t osri_sys_write(const struct door *door, int fd, const void *data, size_t size)
{
    MAY_FAIL(door, "write", EPIPE, ENOSPC, EIO);
    RETRY(ssize_t, write(fd, data, size));
}

ssize_t osri_sys_receive(const struct door *door, int fd, void *buffer, size_t size, int flags)
{
    MAY_FAIL(door, "recv", ECONNRESET, ETIMEDOUT, ENOMEM);
    RETRY(ssize_t, recv(fd, buffer, size, flags));
}

ssize_t osri_sys_send(const struct door *door, int fd, const void *data, size_t size, int flags)
{
    MAY_FAIL(door, "send", EPIPE, ECONNRESET, ENOBUFS);
    RETRY(ssize_t, send(fd, data, size, flags));
}

int osri_sys_close(const struct door *door, int fd)
{
    int rc = close(fd) < 0 && errno != EINTR ? -errno : 0;

    if (rc == 0)
        MAY_FAIL(door, "close", EIO);
    return rc;
}

/* ---- Sockets ---- */

int osri_sys_socket(const struct door *door, int family, int type)
{
    MAY_FAIL(door, "socket", EMFILE, ENFILE, ENOBUFS);
    RETRY(int, socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int osri_sys_bind(const struct door *door, int fd, const struct sockaddr *address, socklen_t size)
{
    MAY_FAIL(door, "bind", EADDRINUSE, EACCES);
    RETRY(int, bind(fd, address, size));
}

int osri_sys_listen(const struct door *door, int fd, int backlog)
{
    MAY_FAIL(door, "listen", EADDRINUSE);
    RETRY(int, listen(fd, backlog));
}

int osri_sys_accept(const struct door *door, int fd, struct sockaddr *peer, socklen_t *size, int flags)
{
    MAY_FAIL(door, "accept", EMFILE, ENFILE, ECONNABORTED, ENOMEM);
    RETRY(int, accept4(fd, peer, size, flags));
}

int osri_sys_connect(const struct door *door, int fd, const struct sockaddr *address, socklen_t size)
{
    MAY_FAIL(door, "connect", ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL);
    return connect(fd, address, size) < 0 ? -errno : 0; /* interrupted, it goes on by itself */
}

int osri_sys_get_option(const struct door *door, int fd, int level, int option, int *value)
{
    socklen_t size = sizeof(*value);

    MAY_FAIL(door, "getsockopt", ENOBUFS);
    RETRY(int, getsockopt(fd, level, option, value, &size));
}

int osri_sys_set_option(const struct door *door, int fd, int level, int option, int value)
{
    MAY_FAIL(door, "setsockopt", ENOBUFS);
    RETRY(int, setsockopt(fd, level, option, &value, sizeof(value)));
}

int osri_sys_name(const struct door *door, int fd, struct sockaddr *address, socklen_t *size)
{
    MAY_FAIL(door, "getsockname", ENOBUFS);
    RETRY(int, getsockname(fd, address, size));
}

int osri_sys_socket_pair(const struct door *door, int fds[2])
{
    MAY_FAIL(door, "socketpair", EMFILE, ENFILE, ENOBUFS);
    RETRY(int, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
}

/* ---- Processes ---- */

pid_t osri_sys_fork(const struct door *door)
{
    MAY_FAIL(door, "fork", EAGAIN, ENOMEM);
    RETRY(pid_t, fork());
}

int osri_sys_pidfd(const struct door *door, pid_t pid)
{
    static atomic_bool missing; /* Valgrind says so each time that it is asked for a call that it does not know */
    int fd;

    MAY_FAIL(door, "pidfd_open", ENOSYS, EMFILE);
    if (atomic_load(&missing))
        return -ENOSYS;
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 && errno == ENOSYS)
        atomic_store(&missing, true);
    return fd < 0 ? -errno : fd;
}

int osri_sys_pidfd_signal(const struct door *door, int pidfd, int number)
{
    MAY_FAIL(door, "pidfd_send_signal", ENOSYS, EPERM);
    RETRY(int, (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0));
}

pid_t osri_sys_reap(const struct door *door, pid_t pid, int *status, bool wait)
{
    pid_t reaped;

    do
        reaped = waitpid(pid, status, wait ? 0 : WNOHANG);
    while (reaped < 0 && errno == EINTR);
    if (reaped < 0)
        return -errno;
    if (reaped > 0)
        MAY_FAIL(door, "waitpid", ECHILD);
    return reaped;
}

int osri_sys_handle(const struct door *door, int number, const struct sigaction *action, struct sigaction *previous)
{
    MAY_FAIL(door, "sigaction", EINVAL);
    RETRY(int, sigaction(number, action, previous));
}
