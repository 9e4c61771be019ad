/* The timeline of a run as a file, in Chrome's Trace Event format: an observer in front of the program's own. */
#ifndef OSIER_RUN_TRACE_H
#define OSIER_RUN_TRACE_H

#include "2_sched/sched.h"

/*
 * If OSR_TRACE asks for it, begins to write the timeline of the run that is about to begin. What fails is told through
 * the diagnostic hook, and the run goes on without. Memory and file are not the run's: nothing is asked at its door,
 * so that a traced run does what it would have done untraced.
 */
void osri_trace_open(struct sched *sched, const struct osr_run_options *options);

/* Writes what is left, and closes the file. Nothing if there is none. */
void osri_trace_close(struct sched *sched);

/* Writes what there is, for a program that ends within its run. May be called in a signal handler. */
void osri_trace_save(struct sched *sched);

#endif
