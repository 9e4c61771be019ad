/*
 * Naming stack overflows: the one signal handler of the library, for the faults that guard pages raise. It runs
 * on an alternate stack, asks whether the address lies in the guard of a task, and goes on with what was
 * installed before, so that the program still dies of its fault, with a core dump at the right place.
 */
#ifndef OSIER_STACK_OVERFLOW_H
#define OSIER_STACK_OVERFLOW_H

#include <stdbool.h>

/* Asked in the handler: says what happened if the address is the guard of the running task's stack. */
typedef void osri_explain_fault(const void *address);

struct overflow_guard {
    void *stack; /* the alternate stack of this thread, or NULL if it had one */
    bool installed;
};

/* For the calling thread; the handler itself is the process's, and counted. 0 or -ENOMEM or what the system gives. */
int osri_overflow_open(struct overflow_guard *guard, osri_explain_fault *explain);
void osri_overflow_close(struct overflow_guard *guard);

#endif
