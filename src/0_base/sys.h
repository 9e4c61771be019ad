/*
 * The system calls of the library, each through the door, so that any of them can be made to fail. They give 0,
 * a count or a descriptor, or the negative errno; an interrupted call is made again.
 */
#ifndef OSIER_BASE_SYS_H
#define OSIER_BASE_SYS_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "0_base/door.h"

/* The code with which the door fails this call, one of those given (ended with 0), whose names stand behind that of the call;
 * 0 if it does not. */
int osri_sys_fault(const struct door *door, const char *call, const int *codes);

/* Leaves the calling function with the fault that the door chose, if there is one and it did. */
#define MAY_FAIL(door, call, ...)                                                                               \
    do {                                                                                                        \
        int fault_ = unlikely((door)->choose)                                                                   \
                         ? osri_sys_fault(door, call "\0" #__VA_ARGS__, (const int[]){__VA_ARGS__, 0})          \
                         : 0;                                                                                   \
        if (unlikely(fault_ != 0))                                                                              \
            return fault_;                                                                                      \
    } while (0)

/* The result of a call that is made again as long as signals interrupt it. */
#define RETRY(type, call)                                \
    do {                                                 \
        type result_;                                    \
        do                                               \
            result_ = (call);                            \
        while (unlikely(result_ < 0) && errno == EINTR); \
        return unlikely(result_ < 0) ? -errno : result_; \
    } while (0)

/* Gives NULL and the code. */
void *osri_sys_map(const struct door *door, size_t size, int *code);
void osri_sys_unmap(void *memory, size_t size);
int osri_sys_advise(const struct door *door, void *memory, size_t size, int advice);
enum { MOST_ADVISED = 32 };
/* The same for so many pieces of `size` bytes each, with one call; gives how many of them it has been done to. Does not
 * ask the door, since it does nothing that osri_sys_advise() could not do as well. */
size_t osri_sys_advise_many(char *const pieces[], size_t count, size_t size, int advice);
int osri_sys_protect(const struct door *door, void *memory, size_t size, int protection);

/* Whether touching the page faults, found out without faulting. It may be written to. */
bool osri_sys_is_guarded(void *page);

int64_t osri_sys_clock(void);
/* The same for a fifth of the price, as it was at the last tick: that is some milliseconds ago, or dozens on a machine with
 * too much to do. */
int64_t osri_sys_clock_of_tick(void);

/* Waits as long as `*word` is `value`, until it is woken or that moment of the clock has come; may give up early. */
void osri_sys_wait(atomic_uint *word, unsigned value, int64_t until);
/* Wakes who waits there. Also from signal handlers; errno may change. */
void osri_sys_wake(atomic_uint *word);

/* Whether the descriptor is open: its status flags or -EBADF. */
int osri_sys_flags(const struct door *door, int fd);
int osri_sys_poll(const struct door *door, struct pollfd *fds, unsigned long count, int timeout);

/* For about a millisecond. Needs no memory and cannot fail. */
void osri_sys_nap(void);
/* A new one, at 0. */
int osri_sys_eventfd(const struct door *door);

ssize_t osri_sys_read(const struct door *door, int fd, void *buffer, size_t size);
ssize_t osri_sys_write(const struct door *door, int fd, const void *data, size_t size);

static inline ssize_t osri_sys_receive(const struct door *door, int fd, void *buffer, size_t size, int flags)
{
    MAY_FAIL(door, "recv", ECONNRESET, ETIMEDOUT, ENOMEM);
    RETRY(ssize_t, recv(fd, buffer, size, flags));
}

static inline ssize_t osri_sys_send(const struct door *door, int fd, const void *data, size_t size, int flags)
{
    MAY_FAIL(door, "send", EPIPE, ECONNRESET, ENOBUFS);
    RETRY(ssize_t, send(fd, data, size, flags));
}

/* The descriptor is closed whatever this gives. */
int osri_sys_close(const struct door *door, int fd);

int osri_sys_socket(const struct door *door, int family, int type);
int osri_sys_bind(const struct door *door, int fd, const struct sockaddr *address, socklen_t size);
int osri_sys_listen(const struct door *door, int fd, int backlog);
int osri_sys_accept(const struct door *door, int fd, struct sockaddr *peer, socklen_t *size, int flags);
int osri_sys_connect(const struct door *door, int fd, const struct sockaddr *address, socklen_t size);
int osri_sys_get_option(const struct door *door, int fd, int level, int option, int *value);
int osri_sys_set_option(const struct door *door, int fd, int level, int option, int value);
int osri_sys_name(const struct door *door, int fd, struct sockaddr *address, socklen_t *size);
/* Two ends of a connection within the system, both blocking. */
int osri_sys_socket_pair(const struct door *door, int fds[2]);

pid_t osri_sys_fork(const struct door *door);
/* A descriptor of a child of ours, which can be read when the child has died. */
int osri_sys_pidfd(const struct door *door, pid_t pid);
int osri_sys_pidfd_signal(const struct door *door, int pidfd, int number);
/* The status of this child if it has died, which is no zombie then: its pid; 0 if it lives; -ECHILD if its status is
 * lost. Without `wait` it never waits. */
pid_t osri_sys_reap(const struct door *door, pid_t pid, int *status, bool wait);

int osri_sys_handle(const struct door *door, int number, const struct sigaction *action, struct sigaction *previous);

#endif
