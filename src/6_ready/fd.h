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

/* What a transfer touches lies in two lines of the cache, which have to be fetched for each request to a server that has many
 * connections: the first watch, and what stands behind it. */
struct descriptor {
    struct watch reading;
    int fd;
    unsigned closes; /* of this number, in all runs, when it was noted */
    /* Of its directions, as sets: */
    uint8_t possible; /* it is open for them */
    uint8_t busy;     /* a task waits for them, or was woken and has not run yet */
    uint8_t spent;    /* the last attempt took or filled all there was: wait first */
    bool closed : 1;      /* and known no longer */
    bool socket : 1;
    bool nonblocking : 1; /* not a socket, but would not block */
    bool terminal : 1;    /* would block, and takes little at a time */
    bool ours : 1;        /* made by this library, so somebody must close it */
    struct watch writing;
    const char *where;      /* it was made or first seen */
    uint64_t device, inode; /* of what it was, in debug runs */
    struct osr_list_ *block; /* of memory that it lies in, from the beginning of a line on */
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
    struct osr_list_ blocks;   /* of memory: Valgrind takes for lost what is known by an address within it only */
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

/* One attempt at an operation: a count or a code, -EAGAIN if it would have to wait. */
typedef ssize_t osri_attempt(struct sched *sched, struct descriptor *descriptor, void *operation);

/* Waits until it is ready, for the calling task alone: 0; or -ECANCELED, -EBADF, -ENOMEM, and then the descriptor may be
 * gone. */
int osri_descriptor_park(struct sched *sched, struct descriptor *descriptor, enum watch_for what, const char *call,
                         const char *where);

/* What is left of an operation whose first attempt, made after a wait or not, has given the code `n`. */
ssize_t osri_operate_on(struct sched *sched, struct descriptor *descriptor, enum watch_for what, osri_attempt *attempt,
                        void *operation, const char *call, const char *where, bool waited, ssize_t n);

/* Notes whether an attempt has taken or filled all there was, so that the next one in its direction waits first. */
static inline __attribute__((always_inline)) void osri_descriptor_spent(struct descriptor *descriptor, enum watch_for what,
                                                                       bool spent)
{
    descriptor->spent = (uint8_t)((descriptor->spent & ~what) | (spent ? what : 0));
}

/*
 * Does an operation in one direction of `fd`: tries, waits until it is ready, and tries again, as often as need be. One task
 * at a time may be at it: no other can run but while it waits. A cancellation point. What the attempt gives; -ECANCELED;
 * -EBUSY, -EBADF; -ENOMEM; -EPERM.
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
    if (likely(n == 0) && unlikely(!(descriptor->possible & ~descriptor->busy & what)))
        n = descriptor->possible & what ? -EBUSY : -EBADF;
    if (likely(n == 0)) {
        bool waits = descriptor->spent & what;

        if (waits)
            n = osri_descriptor_park(sched, descriptor, what, call, where);
        if (likely(n == 0)) {
            n = attempt(sched, descriptor, operation);
            if (unlikely(n < 0))
                n = osri_operate_on(sched, descriptor, what, attempt, operation, call, where, waits, n);
        }
    }
    osri_at_once(sched);
    if (unlikely(n < 0))
        osri_task_failed(sched->current, (int)n, where);
    return n;
}

#endif
