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

/*
 * A call to come: a handle to it, all zeros before it is first used. The fields are private. It is bound to a scope: the
 * calling task's innermost one, or, in a call, that of this call, and in other callbacks the root's. If the scope closes
 * first, also by the end of the task, it will not come; so a call cannot outlive the frame in which its scope was opened.
 * The run keeps what it needs to know, so that the handle may be gone before. After the call has come the handle may be
 * used again, also by what was called: so a call can make itself come again and again.
 */
struct osr_call {
    void *record_;
    uint64_t id_, run_; /* which call, of which run */
    uint64_t reserved_[1];
};

/*
 * Has run(arg) called: as soon as the running task leaves, after `delay` nanoseconds, or at the moment `at`. Calls of
 * one moment come in the order in which they were made; one for OSR_NEVER never comes. Never wait. By tasks and callbacks of
 * the run.
 *
 * 0; -EBUSY if `call` is still to come; -EINVAL; -ENOMEM; -EPERM.
 */
OSR_API int osr_call_soon(struct osr_call *call, void (*run)(void *arg), void *arg);
OSR_API int osr_call_later(struct osr_call *call, int64_t delay, void (*run)(void *arg), void *arg);
OSR_API int osr_call_at(struct osr_call *call, int64_t at, void (*run)(void *arg), void *arg);

/* Takes it back: it will not come. Never waits. By tasks and callbacks of the run. 0; -ESTALE if it has come, was taken back
 * before or never made, or if that was in another run; -EINVAL; -EPERM outside a run. */
OSR_API int osr_call_cancel(struct osr_call *call);

/* Whether it is still to come. false outside its run. */
OSR_API bool osr_call_pending(const struct osr_call *call);

/*
 * Has run(arg) called soon after the task has ended (asyncio's add_done_callback); at once soon, if it has. Otherwise as
 * osr_call_soon(). 0; -ESTALE; -EBUSY; -EINVAL; -ENOMEM; -EPERM.
 */
OSR_API int osr_task_on_done(struct osr_task task, struct osr_call *call, void (*run)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
