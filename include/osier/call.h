/*
 * Calls: plain functions that the loop calls, soon or at a moment (asyncio's call_soon, call_later, call_at), or when a
 * task or a future is done. They run between the steps of tasks, on no task: they may set events, put into queues,
 * complete futures, cancel, spawn, and make further calls; what waits gives -EPERM.
 */
#ifndef OSIER_CALL_H
#define OSIER_CALL_H

#include <osier/base.h>
#include <osier/task.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_scope;

/*
 * A call to come, and the handle to it, in memory of the caller's; all zeros before it is first used. The fields are
 * private. It is bound to a scope: the calling task's innermost one, or, in a call, that of this call. If the scope
 * closes first, it will not come; so a call in the frame of a task cannot outlive that frame. After it has come it may
 * be used again.
 */
struct osr_call {
    struct osr_bound_ bound_;
    struct osr_list_ node_; /* in the list of what it waits for, or of those that are due */
    struct osr_timer_ timer_;
    struct osr_scope *scope_;
    void (*run_)(void *arg);
    void *arg_;
    uint64_t reserved_[2];
};

/*
 * Has run(arg) called: as soon as the running task leaves, after `delay` nanoseconds, or at the moment `at`. Calls of
 * one moment come in the order in which they were made. Never wait. By tasks and calls of the run.
 *
 * 0; -EBUSY if `call` is still to come; -EINVAL; -ENOMEM; -EPERM.
 */
OSR_API int osr_call_soon(struct osr_call *call, void (*run)(void *arg), void *arg);
OSR_API int osr_call_later(struct osr_call *call, int64_t delay, void (*run)(void *arg), void *arg);
OSR_API int osr_call_at(struct osr_call *call, int64_t at, void (*run)(void *arg), void *arg);

/* Takes it back: it will not come. 0; -ESTALE if it has come, or was taken back before; -EINVAL; -EPERM outside the
 * run. */
OSR_API int osr_call_cancel(struct osr_call *call);

/* Whether it is still to come. */
static inline bool osr_call_pending(const struct osr_call *call)
{
    return call && call->bound_.prev_;
}

/*
 * Has run(arg) called soon after the task has ended (asyncio's add_done_callback); at once soon, if it has. Otherwise as
 * osr_call_soon(). Also -ESTALE.
 */
OSR_API int osr_task_on_done(struct osr_task task, struct osr_call *call, void (*run)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
