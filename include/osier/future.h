/*
 * Futures: one result to come, which callback code completes and tasks wait for (asyncio.Future): the bridge from
 * libraries with callbacks.
 */
#ifndef OSIER_FUTURE_H
#define OSIER_FUTURE_H

#include <osier/call.h>
#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_error;

/* In memory of the caller's; the fields are private. It serves the tasks and callbacks of one run. */
struct osr_future {
    int rc_; /* 1 as long as it is not done, then 0 or the code */
    void *value_;
    struct osr_error *error_;
    struct osr_waiters waiters_;
    struct osr_list_ calls_;
    void (*cancel_)(void *arg); /* NULL once it has been called */
    void *arg_;
    const char *where_; /* it was failed */
    size_t waiting_;    /* tasks that have not returned from their wait yet */
    uint64_t reserved_[2];
};

/*
 * Makes a future that is not done. `cancel`, which may be NULL, is called with `arg`, once at most, to cancel the
 * underlying work: when osr_future_cancel() is called, or when the last task that waits for it is cancelled; a result that
 * comes all the same after the latter is kept. It may not wait. May be called from anywhere.
 */
OSR_API void osr_future_init(struct osr_future *future, void (*cancel)(void *arg), void *arg);

/* Gives up what the future holds: its error. To be called before its memory goes. Nobody may wait for it, or have been
 * woken or cut and not have run yet: then -EBUSY, and nothing changes. Calls for when it is done will not come. May be
 * called from anywhere, but outside the run only if there are no such calls. 0; -EBUSY; -EINVAL; -EPERM. */
OSR_API int osr_future_destroy(struct osr_future *future);

/* ---- Completing ---------------------------------------------------------------------------------------- */

/* These complete the future and wake all who wait for it. They never wait. By tasks and callbacks of the run.
 * 0; -EALREADY if it is done, and then nothing changes; -EINVAL; -EPERM. */

/* With a value, which is passed on as it is. */
OSR_API int osr_future_complete(struct osr_future *future, void *value);

/* With an error, made as by osr_fail(): osr_future_fail(&future, -EPROTO, "line %d is no header", n). All who wait get
 * this very error; if memory is short, one with code and place but no message. A `code` of 0 or more, and -ECANCELED,
 * becomes -EINVAL. */
#define osr_future_fail(...) osr_future_fail_here(OSR_HERE, __VA_ARGS__)
OSR_API int osr_future_fail_here(const char *where, struct osr_future *future, int code, const char *format, ...)
    OSR_PRINTF_(4, 5);

/* Cancels the underlying work; who waits gets -OSR_EFUTURECANCELED. */
OSR_API int osr_future_cancel(struct osr_future *future);

/* ---- Waiting ------------------------------------------------------------------------------------------- */

/*
 * Waits until the future is done, and gives its value into `*value`, which may be NULL. A cancellation point; cancelled,
 * the future stays as it was, but if nobody else waits for it, the underlying work is cancelled.
 *
 * 0; the error's code, with the error in the slot; -OSR_EFUTURECANCELED; -ECANCELED; -EINVAL; -EPERM.
 */
#define osr_future_wait(future, value) osr_future_wait_here((future), (value), OSR_HERE)
OSR_API int osr_future_wait_here(struct osr_future *future, void **value, const char *where);

/* Whether it is done. */
static inline bool osr_future_done(const struct osr_future *future)
{
    return future && future->rc_ <= 0;
}

/* What osr_future_wait() gives for one that is done; else -EINPROGRESS. No cancellation point, never waits. By tasks and
 * callbacks of the run. 0; -EINPROGRESS; the error's code; -OSR_EFUTURECANCELED; -EINVAL; -EPERM. */
OSR_API int osr_future_result(struct osr_future *future, void **value);

/* Has run(arg) called soon after the future is done; at once soon, if it is. Otherwise as osr_call_soon(). 0; -EBUSY;
 * -EINVAL; -ENOMEM; -EPERM. */
OSR_API int osr_future_on_done(struct osr_future *future, struct osr_call *call, void (*run)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
