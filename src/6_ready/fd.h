/*
 * Descriptors: which of them the run knows, who waits for which, and the one way in which every operation on them is
 * done: try, wait until ready, try again.
 *
 * A watch that was armed for a wait stays armed after it, so that a task that reads, writes and reads again costs no
 * system call for it; when it is found ready and no task is at it, it is disarmed.
 */
#ifndef OSIER_READY_FD_H
#define OSIER_READY_FD_H

#include <osier/fd.h>

#include "2_sched/wait.h"

struct direction {
    struct watch watch;
    struct osr_list_ waiter; /* one at most */
    bool busy;     /* a task is at it */
    bool spent;    /* the last attempt took or filled all there was: wait first */
    bool possible; /* the descriptor is open for it */
};

struct descriptor {
    int fd;
    unsigned users; /* calls that go on with it when they are woken */
    bool closed;
    bool ours;        /* made by this library, so somebody must close it */
    bool socket;
    bool nonblocking; /* not a socket, but would not block */
    bool terminal;    /* would block, and takes little at a time */
    unsigned closes;   /* of this number, in all runs, when it was noted */
    const char *where; /* it was made or first seen */
    uint64_t device, inode; /* of what it was, in debug runs */
    struct direction reading, writing;
};

int osri_descriptors_open(struct sched *sched);
void osri_descriptors_close(struct sched *sched);

/* In debug runs: names the known descriptors that were closed behind the library's back, and forgets them. */
void osri_descriptors_check(struct sched *sched, const char *where);

/* Calls `visit` for each open descriptor that the library made. Gives how many. */
int osri_descriptors_ours(struct sched *sched, void (*visit)(struct sched *sched, const struct descriptor *descriptor));

/* The library has just made `fd`. */
void osri_descriptor_made(struct sched *sched, int fd, const char *where);

/* Closes a descriptor that the library made, and forgets it. */
int osri_descriptor_close(struct sched *sched, int fd);

/* One attempt at an operation: a count or a code, -EAGAIN if it would have to wait. */
typedef ssize_t osri_attempt(struct sched *sched, struct descriptor *descriptor, void *operation);

/* Changes when osr_fd_close() closes the number, in whichever run: for what does several operations, between which others
 * run. */
unsigned osri_closes_of(int fd);

/*
 * Does an operation in one direction of `fd`, waiting as often as need be. A cancellation point. What the attempt
 * gives; -ECANCELED; -EBUSY, -EBADF; -ENOMEM; -EPERM.
 */
ssize_t osri_operate(int fd, enum watch_for what, osri_attempt *attempt, void *operation, const char *call,
                     const char *where);

#endif
