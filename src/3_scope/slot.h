/*
 * Slots: what a task, or a thread outside its tasks, knows of the code that is on its way up (R24). A call that fails
 * notes code and place (2_sched/task.h); here the error is made of that, kept, wrapped, taken and put back.
 */
#ifndef OSIER_SCOPE_SLOT_H
#define OSIER_SCOPE_SLOT_H

#include "3_scope/error.h"

/* The slot of the calling task, else of the thread. */
struct slot *osri_slot(void);
/* The name of the task that a thread works for; "" if it works for none. */
extern _Thread_local const char *osri_thread_who;
/* Who the calling task is, for errors. */
const char *osri_who(void);

/* Empties the slot. */
static inline void osri_slot_clear(struct slot *slot)
{
    struct osr_error *error = slot->error;

    *slot = (struct slot){0};
    if (unlikely(error != NULL))
        osr_error_release(error);
}
/* Fills the slot of the caller with a new error. Gives `code`, which is negative. */
int osri_fail(const char *where, int code, const char *format, va_list list) OSR_PRINTF_(3, 0);
/* Takes over the caller's reference. Gives the error's code. */
int osri_slot_put(struct slot *slot, struct osr_error *error);
/* Drops an error that no longer counts. */
void osri_slot_settle(struct slot *slot);
/* The error of the slot, made if need be; NULL if the slot is empty or memory is short. Stays the slot's. */
struct osr_error *osri_slot_error(struct slot *slot);
/* Makes the slot hold an error for `code`: the one it has, or a new one that has the old as its cause. Gives it, or
 * NULL if memory is short; cannot fail after an osri_errors_unpromise(). */
struct osr_error *osri_slot_own(struct slot *slot, int code, const char *where);
/* The same, taken out of the slot, which is empty then. */
struct osr_error *osri_slot_outcome(struct slot *slot, int code, const char *where);

#endif
