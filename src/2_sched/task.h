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
 * Four cache lines, by who touches them. A task that is spawned, queued and begun on a warm stack is written to in the
 * first and in the last, which goes on in what comes behind (4_group/child.h).
 */
struct task {
    /* Switching and waiting. */
    struct fiber fiber; /* first: it lies on top of the task's stack */
    struct osr_wait *wait; /* what it is parked in, or NULL */
    bool attention; /* calls have to look closer: there is a refusal, a deadline, a cancel hook runs, or the
                     * door is asked whether there is to be one */
    bool hooked;    /* runs a cancel hook, which may not wait */
    bool eager;     /* was spawned eagerly, and has not waited yet */
    uint8_t budget; /* calls that may finish without waiting before others get their turn */
    unsigned refused; /* calls in a row */
    struct task *eager_for; /* who spawned it eagerly, and goes on at its first wait */
    const void *entered; /* what the last call was for, if somebody is told what is touched: NULL if that is not known */

    /* Scopes, and calls that fail: what follows up to the slot comes from the floor above. */
    struct sched *sched;
    struct osr_scope *scope; /* the innermost that is open */
    uint64_t *refusal;  /* not NULL: cancelled, and calls are refused; notes when the last one was */
    int64_t due;        /* the deadline in effect */
    const char *opened; /* where the scope was opened: its own memory may be gone by the time that this is asked */
    struct slot slot;

    /* Rarely asked for. */
    uint64_t unused_[3]; /* so that a line begins behind the lining */
    struct lining lining;

    /* Said by whoever spawns it. */
    uint64_t number;
    const char *name;
    const char *where; /* it was spawned */
    int (*run)(void *arg);
    void *arg;
};

/* Where its functions begin on its stack, below a copy of its argument: what lies deeper is gone when the first has
 * returned. */
static inline const char *task_base(const struct task *task)
{
    const char *arg = task->arg, *high = (const char *)task;

    return arg >= task->lining.low && arg < high ? arg : high;
}

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
