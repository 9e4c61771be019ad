/*
 * Descriptors: which of them the run knows, who waits for which, and the one way in which every operation on them is
 * done: try, wait until ready, try again.
 *
 * A watch that was armed for a wait stays armed after it, so that a task that reads, writes and reads again costs no
 * system call for it; when it is found ready and no task is at it, it is disarmed.
 */
#ifndef OSIER_READY_FD_H
#define OSIER_READY_FD_H

#include <stdatomic.h>

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

/* How often osr_fd_close() has closed each number, in whichever run: so a run notices that what it knows has been
 * closed in another thread's. Larger numbers than the system's usual limit are not watched over. */
enum { CLOSES = 1 << 20 };
extern atomic_uint osri_closes[CLOSES];

static inline unsigned osri_closes_of(int fd)
{
    return likely((unsigned)fd < CLOSES) ? atomic_load_explicit(&osri_closes[fd], memory_order_acquire) : 0;
}

struct descriptors {
    struct descriptor **table; /* by number */
    unsigned quick; /* those below need no other check than that of osri_descriptor_at(); 0 in debug runs */
    int capacity;
};

/* What the run knows of it; NULL if that has to be looked up. */
static inline struct descriptor *osri_descriptor_at(const struct sched *sched, int fd)
{
    const struct descriptors *descriptors = sched->floors[6];
    struct descriptor *descriptor;

    if (unlikely((unsigned)fd >= descriptors->quick))
        return NULL;
    descriptor = descriptors->table[fd];
    if (unlikely(!descriptor || descriptor->closes != atomic_load_explicit(&osri_closes[fd], memory_order_acquire)))
        return NULL;
    return descriptor;
}

/* 0 and the descriptor, known from now on; -EBADF; -ENOMEM; what the system gives. */
int osri_descriptor_look_up(struct sched *sched, int fd, const char *where, struct descriptor **found);

/* Waits until it is ready: 0; -ECANCELED; -EBADF; -ENOMEM. */
int osri_descriptor_park(struct sched *sched, struct descriptor *descriptor, struct direction *direction,
                         const char *call, const char *where);

/* An attempt has found that it is closed. */
void osri_descriptor_is_bad(struct sched *sched, struct descriptor *descriptor);

/* One user less. */
static inline void osri_descriptor_release(struct sched *sched, struct descriptor *descriptor)
{
    if (unlikely(--descriptor->users == 0))
        osri_free(&sched->memory, descriptor);
}

/* One attempt at an operation: a count or a code, -EAGAIN if it would have to wait. */
typedef ssize_t osri_attempt(struct sched *sched, struct descriptor *descriptor, void *operation);

/* Tries, waits until it is ready, and tries again. */
static inline __attribute__((always_inline)) ssize_t
osri_operate_in(struct sched *sched, struct descriptor *descriptor, struct direction *direction, osri_attempt *attempt,
                void *operation, const char *call, const char *where)
{
    bool waits = direction->spent;
    ssize_t n;

    for (;; waits = true) {
        if (waits) {
            n = osri_descriptor_park(sched, descriptor, direction, call, where);
            if (unlikely(n < 0))
                return n;
        }
        n = attempt(sched, descriptor, operation);
        if (likely(n != -EAGAIN))
            return n;
        if (waits) { /* there was nothing after all: before it waits again, the call is as good as new */
            n = osri_enter(sched, where);
            if (n < 0)
                return n;
        }
    }
}

/* One task at a time in each direction, from the first attempt to the last. */
static inline __attribute__((always_inline)) ssize_t
osri_operate_alone(struct sched *sched, struct descriptor *descriptor, enum watch_for what, osri_attempt *attempt,
                   void *operation, const char *call, const char *where)
{
    struct direction *direction = what == WATCH_READ ? &descriptor->reading : &descriptor->writing;
    ssize_t n;

    if (unlikely(!direction->possible))
        return -EBADF;
    if (unlikely(direction->busy))
        return -EBUSY;
    direction->busy = true;
    descriptor->users++;
    n = osri_operate_in(sched, descriptor, direction, attempt, operation, call, where);
    direction->busy = false;
    if (unlikely(n == -EBADF))
        osri_descriptor_is_bad(sched, descriptor);
    osri_descriptor_release(sched, descriptor);
    return n;
}

/*
 * Does an operation in one direction of `fd`, waiting as often as need be. A cancellation point. What the attempt
 * gives; -ECANCELED; -EBUSY, -EBADF; -ENOMEM; -EPERM.
 *
 * It becomes one function with the attempt and with who calls it: a request and its answer run through code that the
 * system has driven out of the first cache twice, and so every line of that counts.
 */
static inline __attribute__((always_inline)) ssize_t osri_operate(int fd, enum watch_for what, osri_attempt *attempt,
                                                                   void *operation, const char *call, const char *where)
{
    struct sched *sched = osri_sched;
    struct descriptor *descriptor;
    ssize_t n = osri_enter(sched, where);

    if (unlikely(n < 0))
        return n;
    descriptor = osri_descriptor_at(sched, fd);
    if (unlikely(!descriptor))
        n = osri_descriptor_look_up(sched, fd, where, &descriptor);
    if (likely(n == 0))
        n = osri_operate_alone(sched, descriptor, what, attempt, operation, call, where);
    osri_at_once(sched);
    if (unlikely(n < 0))
        osri_task_failed(sched->current, (int)n, where);
    return n;
}

#endif
