/* Calls to come: bound to a scope, and waiting in some list, or for some moment, until they are due. */
#ifndef OSIER_SCOPE_CALL_H
#define OSIER_SCOPE_CALL_H

#include <osier/call.h>

#include "3_scope/scope.h"

/* Prepares a call that is in no list yet: 0; -EBUSY; -EINVAL; -EPERM. */
int osri_call_prepare(struct osr_call *call, void (*run)(void *arg), void *arg);

/* The call is due: it comes when the running task leaves. It is taken out of the list it is in. */
void osri_call_due(struct sched *sched, struct osr_call *call);

/* Makes the calls that are due: for the hub. */
void osri_calls_make(struct sched *sched);

/* All calls in the list are due. */
void osri_calls_due(struct sched *sched, struct osr_list_ *calls);

#endif
