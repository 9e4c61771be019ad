/*
 * What the scheduler needs of the world: a clock, and descriptors that become ready. Three drivers stand behind this: libev,
 * a libev loop that the program runs, and the simulation. (Allocation and system calls go through the same door:
 * 0_base/memory.h, sys.h.)
 */
#ifndef OSIER_SCHED_DRIVER_H
#define OSIER_SCHED_DRIVER_H

#include "0_base/list.h"

struct ev_loop;
struct sched;

enum watch_for { WATCH_READ = 1, WATCH_WRITE = 2 };

struct watch;

/*
 * One direction of one descriptor. Armed, it is looked at by every poll; found ready, it is queued, once, and then `ready` is
 * called. What is touched each time lies first, and where it begins a line of the cache, in that and the next.
 */
struct watch {
    void *driver[6];        /* libev's watcher */
    struct osr_list_ fired; /* in the scheduler's queue of ready ones */
    void (*ready)(struct watch *watch);
    struct osr_wait *wait; /* of whoever waits for it, or was woken and has not run yet; NULL: nobody */
    int fd;
    uint8_t what; /* enum watch_for */
    bool armed;
    bool broken;                 /* the system could not watch it: told once */
    struct osr_list_ armed_node; /* the driver's */
    struct watch *twin;          /* the other direction of the same descriptor, or NULL */
};

struct driver {
    int (*open)(struct sched *sched); /* 0 or a code */
    void (*close)(struct sched *sched);
    int64_t (*now)(struct sched *sched);
    bool (*reached)(struct sched *sched, int64_t at); /* whether that moment has come */
    /* Queues the armed watches that are ready (osri_watch_fired()); waits for one, but not beyond the moment
     * `until`; 0 does not wait at all. */
    void (*poll)(struct sched *sched, int64_t until);
    void (*arm)(struct sched *sched, struct watch *watch);
    void (*disarm)(struct sched *sched, struct watch *watch);
    /* Whether the descriptor, which is no socket, cannot be watched: 0 or a code. */
    int (*refuses)(struct sched *sched, int fd);
};

/* The simulated clock begins anew, between two runs. Nothing for other drivers. */
void osri_sim_restart(struct sched *sched);

extern const struct driver osri_driver_ev, osri_driver_attached, osri_driver_sim;

static inline void watch_init(struct watch *watch, int fd, enum watch_for what, void (*ready)(struct watch *watch))
{
    watch->fd = fd;
    watch->what = (uint8_t)what;
    watch->armed = watch->broken = false;
    watch->twin = NULL;
    watch->ready = ready;
    watch->wait = NULL;
    list_init(&watch->armed_node);
    list_init(&watch->fired);
}

/* For drivers: the watch is ready. */
void osri_watch_fired(struct sched *sched, struct watch *watch);

/* The loop of a run, with which the program may do as it likes from now on; NULL if it has none that is libev's, or
 * without memory or descriptors. */
struct ev_loop *osri_loop_share(struct sched *sched);

/* Attached: to be said before libev polls. Says whether that must not wait, since it will tell the system of new watches. */
bool osri_loop_settle(struct sched *sched);

/* Attached: takes everything off the loop in a forked child, where the run does not go on. */
void osri_loop_abandon(struct sched *sched);

/* Starts and stops looking; either may be said twice. The descriptor must be open. */
void osri_watch_arm(struct sched *sched, struct watch *watch);
void osri_watch_disarm(struct sched *sched, struct watch *watch);

#endif
