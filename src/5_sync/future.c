#include <osier/future.h>

#include <stdarg.h>

#include "2_sched/wait.h"
#include "3_scope/call.h"
#include "3_scope/slot.h"

enum { PENDING = 1 };

void osr_future_init(struct osr_future *future, void (*cancel)(void *arg), void *arg)
{
    if (!future)
        return;
    *future = (struct osr_future){.rc_ = PENDING, .cancel_ = cancel, .arg_ = arg};
    osr_waiters_init(&future->waiters_);
    list_init(&future->calls_);
}

int osr_future_destroy(struct osr_future *future)
{
    if (!future)
        return osri_failed(-EINVAL, NULL);
    if (future->waiting_ > 0)
        return osri_failed(-EBUSY, NULL);
    if (!osri_calls_are_of(osri_sched, &future->calls_))
        return osri_failed(-EPERM, NULL);
    osri_calls_drop(&future->calls_);
    osr_error_release(future->error_);
    future->error_ = NULL;
    return 0;
}

/* ---- Completing ---- */

/* Whether it can be completed now: 0; -EALREADY; -EINVAL; -EPERM. */
static int may_complete(const struct osr_future *future)
{
    int rc = future ? osri_may_wake(osri_sched, &future->waiters_) : -EINVAL;

    if (rc == 0 && !osri_calls_are_of(osri_sched, &future->calls_))
        rc = -EPERM;
    if (rc == 0)
        osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, future);
    return rc == 0 && osr_future_done(future) ? -EALREADY : rc;
}

/* Cancels the underlying work, once. */
static void cancel_work(struct osr_future *future)
{
    void (*cancel)(void *arg) = future->cancel_;

    osri_touch(&osri_sched->door, OSR_TOUCH_ALL, NULL);
    future->cancel_ = NULL;
    if (cancel)
        cancel(future->arg_);
}

static int complete(struct osr_future *future, int rc)
{
    struct sched *sched = osri_sched;
    struct osr_waiter_ *first;

    future->rc_ = rc;
    while ((first = osri_first(&future->waiters_)) != NULL)
        osri_wake(sched, first->wait_, 0);
    osri_calls_due(sched, &future->calls_);
    return 0;
}

int osr_future_complete(struct osr_future *future, void *value)
{
    int rc = may_complete(future);

    if (rc < 0)
        return osri_failed_or_late(rc, NULL);
    future->value_ = value;
    return complete(future, 0);
}

int osr_future_fail_here(const char *where, struct osr_future *future, int code, const char *format, ...)
{
    int rc = may_complete(future);
    va_list list;

    if (rc < 0)
        return osri_failed_or_late(rc, where);
    if (code >= 0 || code == -ECANCELED)
        code = -EINVAL;
    future->where_ = where;
    future->error_ = osri_error_new(osri_sched, code, where, osri_who());
    if (future->error_) {
        va_start(list, format);
        osri_error_vsay(future->error_, format, list);
        va_end(list);
    }
    return complete(future, code);
}

int osr_future_cancel(struct osr_future *future)
{
    int rc = may_complete(future);

    if (rc < 0)
        return osri_failed_or_late(rc, NULL);
    complete(future, -OSR_EFUTURECANCELED);
    cancel_work(future);
    return 0;
}

/* ---- Waiting ---- */

struct awaiting {
    struct osr_wait wait;
    struct osr_future *future;
};

/* Nobody is interested any more: the underlying work need not go on. */
static void was_cut(struct osr_wait *wait)
{
    struct osr_future *future = container_of(wait, struct awaiting, wait)->future;

    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, future);
    if (!osr_future_done(future) && osr_waiters_empty(&future->waiters_))
        cancel_work(future);
}

/* What a future that is done gives, with the error in the slot. */
static int read_result(const struct osr_future *future, void **value, const char *where)
{
    if (future->rc_ == 0 && value)
        *value = future->value_;
    if (future->rc_ == 0)
        return 0;
    if (future->error_)
        return osri_slot_put(osri_slot(), osr_error_retain(future->error_));
    return osri_failed(future->rc_, future->where_ ? future->where_ : where);
}

int osr_future_wait_here(struct osr_future *future, void **value, const char *where)
{
    struct sched *sched = osri_sched;
    struct awaiting awaiting = {.future = future};
    int rc = osri_enter_for(sched, future, where);

    if (rc < 0)
        return rc;
    if (!future)
        return osri_task_failed(sched->current, -EINVAL, where);
    if (osr_future_done(future)) {
        rc = read_result(future, value, where);
        osri_at_once(sched);
        return rc;
    }
    wait_init(&awaiting.wait, sched->current, "osr_future_wait", where);
    awaiting.wait.on_cancel = was_cut;
    list_append(&future->waiters_.list_, &awaiting.wait.waiter_.node_);
    future->waiting_++;
    rc = osri_wait(sched, &awaiting.wait);
    osri_touch(&sched->door, OSR_TOUCH_WRITE, future);
    if (rc == 0)
        rc = read_result(future, value, where);
    future->waiting_--;
    return rc;
}

int osr_future_result(struct osr_future *future, void **value)
{
    if (!future || !osri_is_inside(osri_sched))
        return osri_failed(future ? -EPERM : -EINVAL, NULL);
    osri_touch(&osri_sched->door, OSR_TOUCH_READ, future);
    if (!osr_future_done(future))
        return osri_failed(-EINPROGRESS, NULL);
    return read_result(future, value, NULL);
}

int osr_future_on_done(struct osr_future *future, struct osr_call *call, void (*run)(void *arg), void *arg)
{
    if (!future)
        return osri_failed(-EINVAL, NULL);
    return osri_call_in(osr_future_done(future) ? NULL : &future->calls_, call, run, arg);
}
