/*
 * The running task, and handles to others. Tasks are cooperative: one runs until it waits. They are made by
 * osr_spawn() (group.h) and by osr_run() (run.h).
 */
#ifndef OSIER_TASK_H
#define OSIER_TASK_H

#include <osier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_error;

/* ---- The running task ---------------------------------------------------------------------------------- */

/*
 * Lets the other ready tasks run once. A cancellation point. 0; -ECANCELED; -EPERM.
 */
#define osr_yield() osr_yield_here(OSR_HERE)
OSR_API int osr_yield_here(const char *where);

/*
 * A cancellation point that waits for nothing: for long computations. It lets others run after a fixed number (128)
 * of calls. 0; -ECANCELED; -EPERM.
 */
#define osr_check() osr_check_here(OSR_HERE)
OSR_API int osr_check_here(const char *where);

/* ---- Handles ------------------------------------------------------------------------------------------- */

/*
 * A reference to a task, checked by generation: when the task is gone, every call below answers -ESTALE; it
 * never touches what is not there. A handle that osr_spawn() gave keeps the task's outcome, after its end,
 * until osr_task_release() or until the task's group closes. Handles are plain values and may be copied. All
 * zeros is a handle to nothing. Callbacks of the run may use them too, but not join. None of these calls waits but that.
 */
struct osr_task {
    uint64_t id_;
};

/* Whether two handles are to the same task. May be asked of stale ones too, from anywhere. */
static inline bool osr_task_same(struct osr_task a, struct osr_task b)
{
    return a.id_ == b.id_;
}

/* Of a task that handles can ask about. */
enum osr_task_state {
    OSR_TASK_READY = 1, /* can run, waits for its turn */
    OSR_TASK_RUNNING,   /* is the calling task */
    OSR_TASK_WAITING,   /* is parked */
    OSR_TASK_DONE,      /* ended with 0 or more */
    OSR_TASK_FAILED,    /* ended with an error */
    OSR_TASK_CANCELED   /* ended cancelled */
};

/* The calling task; all zeros outside a task or if memory is short. It keeps no outcome that osr_spawn() does not keep.
 * Never waits. */
OSR_API struct osr_task osr_self(void);

/*
 * Waits until the task has ended. A cancellation point; cancelling the caller leaves the task alone. May be
 * called any number of times.
 *
 * Gives what the task returned: 0 or more, or its error's code, with that very error in the slot (passed on
 * within the same group, it is not counted twice); -OSR_ETASKCANCELED if it ended cancelled; -ECANCELED only
 * if a scope of the caller is cancelled; -EDEADLK for oneself or a task whose group one lives in; -ESTALE;
 * -EPERM.
 */
#define osr_task_join(task) osr_task_join_here((task), OSR_HERE)
OSR_API int osr_task_join_here(struct osr_task task, const char *where);

/*
 * Cancels the task's own scope, see osr_scope_cancel(). A task that has not begun still starts, and learns of
 * it at its first cancellation point. 0, also if it is cancelled already, or has ended and its outcome is kept; -ESTALE;
 * -EPERM.
 */
#define osr_task_cancel(task, text) osr_task_cancel_here((task), (text), OSR_HERE)
OSR_API int osr_task_cancel_here(struct osr_task task, const char *text, const char *where);

/* An osr_task_state; -ESTALE; -EPERM. */
OSR_API int osr_task_state(struct osr_task task);

/*
 * What the task returned, into `*rc` (-OSR_ETASKCANCELED if it ended cancelled). 0; -EINPROGRESS while it
 * runs; -ESTALE; -EINVAL; -EPERM.
 */
OSR_API int osr_task_result(struct osr_task task, int *rc);

/*
 * The error with which the task ended; NULL if it did not fail, has not ended, or the handle is stale or another run's.
 * Belongs to the task's record, and goes with the outcome: take a reference with osr_error_retain() to keep it.
 */
OSR_API struct osr_error *osr_task_error(struct osr_task task);

/*
 * The task's name: the one given at the spawn, cut at 63 bytes, or that of its function; also of a task that has ended,
 * as long as its outcome is kept. NULL if stale or another run's. The text is valid until the task ends or the calling task
 * waits.
 */
OSR_API const char *osr_task_name(struct osr_task task);

/* Where a parked task waits: the call, such as "osr_read", and its place, such as "server.c:88". */
struct osr_task_wait {
    const char *call;
    const char *where;
};

/* Fills `*wait`; both are NULL if the task is not parked. 0; -ESTALE; -EINVAL; -EPERM. */
OSR_API int osr_task_where(struct osr_task task, struct osr_task_wait *wait);

/*
 * Gives the outcome up: the handle, and every copy of it, becomes stale; a task that still runs goes on. `*task`
 * is set to all zeros. 0; -ESTALE; -EINVAL; -EPERM.
 */
OSR_API int osr_task_release(struct osr_task *task);

#ifdef __cplusplus
}
#endif

#endif
