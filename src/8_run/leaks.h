/* What was left open. */
#ifndef OSIER_RUN_LEAKS_H
#define OSIER_RUN_LEAKS_H

#include "3_scope/slot.h"

/* At the end of a debug run: names what nobody can be meant to hold any more, through the diagnostic hook. What the
 * run gives, which is in `result`, is not among it. */
void osri_leaks_tell(struct sched *sched, const struct slot *result);

#endif
