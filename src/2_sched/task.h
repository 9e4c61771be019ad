/*
 * The core of a task: what the scheduler and the waits need of it. Whether it is cancelled, and which deadline is
 * in effect for it, is written here by the floor above.
 */
#ifndef OSIER_SCHED_TASK_H
#define OSIER_SCHED_TASK_H

#include <osier/task.h>
#include <osier/time.h>

#include "1_stack/stack.h"

struct osr_error;
struct osr_scope;
struct sched;
struct osr_wait;

/*
 * The error behind a code that is on its way up. A call that fails only notes code and place, for nothing; the
 * error object, which costs memory, is made when somebody wants to see it.
 */
struct slot {
    int code;                /* 0: empty */
    bool fresh;              /* `error` is older than `code` and no longer counts */
    bool riding;             /* cancellations were passed on beside the errors of this group */
    const char *where;       /* of the call that failed */
    struct osr_error *error; /* or NULL */
};

/*
 * What is touched when tasks are switched to comes first, and what only their beginning touches in the middle: as they end
 * they touch the last part only, and with it the first part of what comes behind (4_group/child.h).
 */
struct task {
    struct fiber fiber; /* first: it lies on top of the task's stack */
    struct sched *sched;
    struct osr_list_ ready;
    struct osr_wait *wait;   /* what it is parked in, or NULL */
    struct task *eager_for;  /* who spawned it eagerly, and goes on at its first wait */
    struct osr_scope *scope; /* the innermost that is open */
    bool attention; /* calls have to look closer: there is a refusal, a deadline, a cancel hook runs, or the
                     * door is asked whether there is to be one */
    bool hooked;      /* runs a cancel hook, which may not wait */
    unsigned budget;  /* calls that may finish without waiting before others get their turn */

    /* From the floor above, as the scope. */
    uint64_t *refusal;  /* not NULL: cancelled, and calls are refused; notes when the last one was */
    int64_t due;        /* the deadline in effect */
    const char *opened; /* where the scope was opened: its own memory may be gone by the time that this is asked */

    unsigned refused; /* calls in a row */
    const char *base; /* where its functions begin on its stack: what lies below is gone when the first has returned */
    const void *entered; /* what the last call was for, if somebody is told what is touched: NULL if that is not known */
    uint64_t number;
    const char *name;
    const char *where; /* it was spawned */

    struct slot slot;
};

/* The slot of a thread, for calls outside tasks. */
extern _Thread_local struct slot osri_thread_slot __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Notes that a call of the task fails with `code`, and gives it back. */
static inline int osri_slot_note(struct slot *slot, int code, const char *where)
{
    slot->code = code;
    slot->fresh = true;
    slot->riding = false;
    slot->where = where;
    return code;
}

static inline int osri_task_failed(struct task *task, int code, const char *where)
{
    return osri_slot_note(&task->slot, code, where);
}

#endif
