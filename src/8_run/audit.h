/* In debug runs: whether the whole structure is what it must be, at every look at the world. */
#ifndef OSIER_RUN_AUDIT_H
#define OSIER_RUN_AUDIT_H

#include "2_sched/sched.h"

/* Stops the program if it is not. */
void osri_audit(struct sched *sched);

#endif
