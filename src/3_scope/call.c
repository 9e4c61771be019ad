#include "3_scope/call.h"

static struct osr_call *call_of(struct osr_list_ *node)
{
    return container_of(node, struct osr_call, node_);
}

/* Takes it out of everything. */
static void drop(struct osr_call *call)
{
    osri_unbind(&call->bound_);
    list_remove(&call->node_);
    osri_timer_clear(&osri_sched->timers, &call->timer_);
}

static void leave(struct osr_bound_ *bound)
{
    drop(container_of(bound, struct osr_call, bound_));
}

void osri_call_due(struct sched *sched, struct osr_call *call)
{
    list_remove(&call->node_);
    list_append(&sched->calls, &call->node_);
    sched->steps = 1; /* the hub is next */
}

void osri_calls_due(struct sched *sched, struct osr_list_ *calls)
{
    while (!list_empty(calls))
        osri_call_due(sched, call_of(calls->next));
}

static void timer_fired(struct osr_timer_ *timer)
{
    osri_call_due(osri_sched, container_of(timer, struct osr_call, timer_));
}

/* The scope that a call made now is bound to: that of the running task, or of the running call. */
static struct osr_scope *scope_here(struct sched *sched)
{
    return sched->current ? sched->current->scope : sched->calling;
}

int osri_call_prepare(struct osr_call *call, void (*run)(void *arg), void *arg)
{
    struct sched *sched = osri_sched;
    struct osr_scope *scope;

    if (!call || !run)
        return -EINVAL;
    if (!sched)
        return -EPERM;
    if (osr_call_pending(call))
        return -EBUSY;
    scope = scope_here(sched);
    if (!scope)
        return -EPERM;
    list_init(&call->node_);
    osri_timer_init(&call->timer_, timer_fired, false);
    call->scope_ = scope;
    call->run_ = run;
    call->arg_ = arg;
    osri_bind(scope, &call->bound_, leave);
    return 0;
}

int osr_call_soon(struct osr_call *call, void (*run)(void *arg), void *arg)
{
    int rc = osri_call_prepare(call, run, arg);

    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_call_due(osri_sched, call);
    return 0;
}

int osr_call_at(struct osr_call *call, int64_t at, void (*run)(void *arg), void *arg)
{
    int rc = at == OSR_TIME_INVALID ? -EINVAL : osri_call_prepare(call, run, arg);

    if (rc == 0 && at != OSR_NEVER && osri_timer_set(&osri_sched->timers, &call->timer_, at) < 0) {
        drop(call);
        rc = -ENOMEM;
    }
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

int osr_call_later(struct osr_call *call, int64_t delay, void (*run)(void *arg), void *arg)
{
    int64_t at = osri_sched ? osr_time_add(osri_now(osri_sched), delay) : 0;

    return osr_call_at(call, delay == OSR_NEVER ? OSR_NEVER : at, run, arg);
}

int osr_call_cancel(struct osr_call *call)
{
    if (!call)
        return osri_failed(-EINVAL, NULL);
    if (!osri_sched)
        return osri_failed(-EPERM, NULL);
    if (!osr_call_pending(call))
        return osri_failed(-ESTALE, NULL);
    drop(call);
    return 0;
}

/* Makes the calls that are due now; those that they make are for the next time. */
void osri_calls_make(struct sched *sched)
{
    struct osr_scope *outside = sched->calling;
    struct osr_list_ due, *node;

    list_init(&due);
    while ((node = list_pop(&sched->calls)) != NULL)
        list_append(&due, node);
    while ((node = list_pop(&due)) != NULL) {
        struct osr_call *call = call_of(node);

        osri_unbind(&call->bound_);
        sched->calling = call->scope_;
        sched->in_call = true;
        call->run_(call->arg_);
        sched->in_call = false;
    }
    sched->calling = outside;
}
