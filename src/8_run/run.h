/*
 * A run in steps, for those who have one: osr_run(), runners, and attachments to the program's loop.
 *
 *     osri_run_open()          what serves several runs: the scheduler with its loop and stacks
 *         osri_run_begin()     one run: its parts; the root is queued, and the thread has a run from here on
 *         osri_sched_run()     or turns that libev has taken, until sched.finished
 *         osri_run_end()       its result; the thread has none again
 *     osri_run_close()
 */
#ifndef OSIER_RUN_RUN_H
#define OSIER_RUN_RUN_H

#include <pthread.h>

#include "1_stack/overflow.h"
#include "4_group/child.h"
#include "8_run/signals.h"

struct run {
    struct sched sched;
    struct osr_run_options options; /* complete; `name` is below, or NULL */
    char name[OSR_NAME_SIZE];
    struct overflow_guard overflow;
    struct run_signals signals;
    struct outcome outcome;   /* of the root */
    struct osr_reason reason; /* why it was cancelled, if it was */
    bool stuck;
};

struct osr_runner {
    struct run run;
    pthread_t thread; /* that it belongs to */
    unsigned process; /* osri_forks() when it was made */
};

/* 0; -EINVAL for options that make no sense; -ENOMEM, or what the system failed with, and nothing is left behind. The
 * options may be NULL. `attached` as in osri_sched_open(). */
int osri_run_open(struct run *run, const struct osr_run_options *options, struct ev_loop *attached);
void osri_run_close(struct run *run);

/* 0 or a code, and nothing is left behind. `where` is the place of the root's spawn. */
int osri_run_begin(struct run *run, const struct osr_routine *routine, void *arg, const char *where);

/* Gives what the run gives, with its error in the thread's slot. */
int osri_run_end(struct run *run);

/* Whether the runner belongs to this thread. */
bool osri_runner_is_ours(const struct osr_runner *runner);

/* How often this process has been forked off another one: what was made before that is the parent's. */
unsigned osri_forks(void);

#endif
