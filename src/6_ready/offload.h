/* Offloading: tasks wait for jobs. Under the simulated clock the loop itself runs them. */
#ifndef OSIER_READY_OFFLOAD_H
#define OSIER_READY_OFFLOAD_H

#include "6_ready/pool.h"

/* Parts of a run: jobs that were left behind are run at its end, where the loop runs them. */
int osri_jobs_open(struct sched *sched);
void osri_jobs_close(struct sched *sched);

/* In a worker process: values are those seen from `scope`. */
void osri_values_of_worker(const struct osr_scope *scope);

#endif
