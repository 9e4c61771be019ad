/* What was left open. */
#ifndef OSIER_RUN_LEAKS_H
#define OSIER_RUN_LEAKS_H

#include "2_sched/sched.h"

/* Names the descriptors that this library made and nobody has closed, through the diagnostic hook. Gives how many. */
int osri_descriptors_report(struct sched *sched);

#endif
