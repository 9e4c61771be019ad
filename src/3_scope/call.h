/* Calls to come: bound to a scope, and waiting in some list, or for some moment, until they are due. */
#ifndef OSIER_SCOPE_CALL_H
#define OSIER_SCOPE_CALL_H

#include <osier/call.h>

#include "3_scope/scope.h"

/* Makes a call that waits in `list`, until osri_calls_due(); NULL: that is due now. 0; -EBUSY; -EINVAL; -ENOMEM;
 * -EPERM. */
int osri_call_in(struct osr_list_ *list, struct osr_call *call, void (*run)(void *arg), void *arg);

/* All calls in the list are due: they come when the running task leaves. */
void osri_calls_due(struct sched *sched, struct osr_list_ *list);

/* Whether the calls in the list, if there are any, are the run's; outside a run (NULL) they never are. */
bool osri_calls_are_of(const struct sched *sched, const struct osr_list_ *list);

/* The calls in the list will not come. */
void osri_calls_drop(struct osr_list_ *list);

/* To be said when code of the program's that the loop has called is back: in a forked child it stops the program. */
static inline void osri_called_back(const struct sched *sched)
{
    if (unlikely(osri_sched != sched))
        osri_die(NULL, "osier: a callback returned in a forked child, where its run does not go on\n");
}

/* Makes the calls that are due, and whatever else is (osri_due()): for the hub. What becomes due meanwhile is for the
 * next time. */
void osri_calls_make(struct sched *sched);

#endif
