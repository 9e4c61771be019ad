/* The signals of a run's options: SIGINT, which ends it in order, and the one that shows its tree. */
#ifndef OSIER_RUN_SIGNALS_H
#define OSIER_RUN_SIGNALS_H

#include "6_ready/signal.h"

struct run_signal {
    struct source *source;
    struct signal_watch *watch;
};

struct run_signals {
    struct run_signal interrupt, dump;
};

/* They are bound to the root's scope, and closed with it. The root has not begun. 0 or a code, and then nothing is left
 * open. */
int osri_run_signals_open(struct sched *sched, struct run_signals *signals, const struct osr_run_options *options);

#endif
