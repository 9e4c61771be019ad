/*
 * What of the program is told of signals, and by which handler: a table of the process that only grows, so that the
 * handler may walk it at any time, in any thread.
 */
#ifndef OSIER_READY_SIGNAL_H
#define OSIER_READY_SIGNAL_H

#include <osier/signal.h>

#include "6_ready/source.h"

enum signal_use {
    SIGNAL_EVENTS,    /* counted, and told to tasks */
    SIGNAL_INTERRUPT, /* the first is told, the second ends the program */
    SIGNAL_DUMP       /* the task that runs is named at once */
};

struct signal_watch;

/* The bit of a signal in a set; 0 for one that cannot be watched. */
uint64_t osri_signal_bit(int number);

/* Watches all signals of the set; each rings `source`. NULL with a code: -ENOMEM, -EINVAL. */
struct signal_watch *osri_signal_watch(struct source *source, enum signal_use use, uint64_t set, int *code);
/* Gives how many have come that nobody has taken. */
unsigned osri_signal_unwatch(struct signal_watch *watch);

/* Whether the process that the calling thread forks next is a worker. It ignores the signals that are watched here, which
 * a terminal sends to all processes of the program, but for SIGTERM and SIGCHLD. */
void osri_signals_fork_worker(bool worker);

/* The smallest signal that has come since it was last taken, and how often; 0 if none has. */
int osri_signal_take(struct signal_watch *watch, unsigned *count);

#endif
