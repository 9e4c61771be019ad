/*
 * The inbox of a run: the one door by which other threads and signal handlers enter it. What they bring is a parcel;
 * the loop takes all that has come at once and opens each, in the order in which they came.
 *
 * Inboxes belong to the process, pass from run to run and are never freed, so that a parcel that comes late harms
 * nobody: the next run that has the inbox opens it, and finds that what it was for is closed.
 */
#ifndef OSIER_READY_INBOX_H
#define OSIER_READY_INBOX_H

#include <pthread.h>
#include <stdatomic.h>

#include "2_sched/sched.h"
#include "2_sched/waker.h"

struct parcel {
    struct parcel *next;
    void (*open)(struct parcel *parcel); /* on the loop, outside tasks; the parcel may be used again, or be gone, then */
};

struct inbox {
    _Atomic(struct parcel *) newest; /* those that have come, the latest first */
    atomic_uint users;               /* the run, and those who are ringing; 0: nobody has it, and `fd` is closed */
    int fd;                          /* an eventfd, which wakes the loop where it waits for more than this */
    struct waker waker;
    pthread_mutex_t lock;            /* for what may not come late: see portal.c */
    struct osr_timer_ again; /* when to watch it again, which the system has refused; set only then */
    bool told;               /* of that */
    struct inbox *next; /* all that there are */
};

/* The inbox of the run, opened when it is first asked for. NULL with a code: -ENOMEM, -EMFILE, -ENFILE. */
struct inbox *osri_inbox(struct sched *sched, int *code);

/* Parts of a run. Nothing is opened yet; what is still in the inbox at the end is opened then. */
int osri_inbox_open(struct sched *sched);
void osri_inbox_close(struct sched *sched);

/* Puts a parcel in, which is in no inbox yet. From any thread and from signal handlers: no lock, no memory, errno is
 * kept. From here on the parcel belongs to the loop. */
void osri_inbox_put(struct inbox *inbox, struct parcel *parcel);

/* In which process this is: counted up by every fork, in the child. What a parent opened is not the child's. */
unsigned osri_process(void);

#endif
