/*
 * Calls to come. What is known of one lies in a record of the run's and not in the handle: that often lives in the frame
 * of a task's function, which is gone when the task's own scope closes.
 */
#include "3_scope/call.h"

struct record {
    struct osr_list_ node; /* first. In the list of what it waits for, of those that are due, or of the spare ones */
    struct osr_bound_ bound;
    struct osr_timer_ timer;
    struct osr_scope *scope;
    void (*run)(void *arg);
    void *arg;
    uint64_t id; /* 0: spare */
};

static struct record *record_at(struct osr_list_ *node)
{
    return container_of(node, struct record, node);
}

/* ---- Records ---- */

/* The record of a call that is still to come, NULL if there is none. Records are freed with the run only. */
static struct record *record_of(const struct osr_call *call)
{
    struct record *record;

    if (!osri_sched || call->run_ != osri_sched->run)
        return NULL;
    record = call->record_;
    return record->id == call->id_ ? record : NULL;
}

static struct record *new_record(struct sched *sched)
{
    struct osr_list_ *spare = list_pop(&sched->spare_calls);

    return spare ? record_at(spare) : osri_alloc(&sched->memory, sizeof(struct record));
}

/* Takes it out of everything. */
static void drop(struct sched *sched, struct record *record)
{
    osri_unbind(&record->bound);
    list_remove(&record->node);
    osri_timer_clear(&sched->timers, &record->timer);
    record->id = 0;
    list_append(&sched->spare_calls, &record->node);
}

static void leave(struct osr_bound_ *bound)
{
    drop(osri_sched, container_of(bound, struct record, bound));
}

void osri_calls_drop(struct osr_list_ *list)
{
    while (!list_empty(list))
        drop(osri_sched, record_at(list->next));
}

/* ---- Being due ---- */

static void due(struct sched *sched, struct record *record)
{
    list_remove(&record->node);
    list_append(&sched->calls, &record->node);
    sched->steps = 1; /* the hub is next */
}

void osri_calls_due(struct sched *sched, struct osr_list_ *list)
{
    while (!list_empty(list))
        due(sched, record_at(list->next));
}

static void timer_fired(struct osr_timer_ *timer)
{
    due(osri_sched, container_of(timer, struct record, timer));
}

/* Makes the calls that are due now; those that they make are for the next time. */
void osri_calls_make(struct sched *sched)
{
    struct osr_scope *outside = sched->calling;
    struct osr_list_ now, *node;

    list_init(&now);
    while ((node = list_pop(&sched->calls)) != NULL)
        list_append(&now, node);
    while (!list_empty(&now)) {
        struct record *record = record_at(now.next), call = *record;

        drop(sched, record);
        sched->calling = call.scope;
        call.run(call.arg);
    }
    sched->calling = outside;
}

/* ---- Making ---- */

/* The scope that a call made now is bound to: that of the running task, or of the running call. */
static struct osr_scope *scope_here(struct sched *sched)
{
    return sched->current ? sched->current->scope : sched->calling;
}

/* Makes a call that is in no list yet: 0; -EBUSY; -EINVAL; -ENOMEM; -EPERM. */
static int make(struct osr_call *call, void (*run)(void *arg), void *arg, struct record **made)
{
    struct sched *sched = osri_sched;
    struct osr_scope *scope;
    struct record *record;

    if (!call || !run)
        return -EINVAL;
    scope = sched ? scope_here(sched) : NULL;
    if (!scope)
        return -EPERM;
    if (record_of(call))
        return -EBUSY;
    record = new_record(sched);
    if (!record)
        return -ENOMEM;
    list_init(&record->node);
    osri_timer_init(&record->timer, timer_fired, false);
    record->scope = scope;
    record->run = run;
    record->arg = arg;
    record->id = ++sched->tickets;
    *call = (struct osr_call){.record_ = record, .id_ = record->id, .run_ = sched->run};
    osri_bind(scope, &record->bound, leave);
    *made = record;
    return 0;
}

int osri_call_in(struct osr_list_ *list, struct osr_call *call, void (*run)(void *arg), void *arg)
{
    struct record *record;
    int rc = make(call, run, arg, &record);

    if (rc < 0)
        return osri_failed(rc, NULL);
    if (list)
        list_append(list, &record->node);
    else
        due(osri_sched, record);
    return 0;
}

int osr_call_soon(struct osr_call *call, void (*run)(void *arg), void *arg)
{
    return osri_call_in(NULL, call, run, arg);
}

int osr_call_at(struct osr_call *call, int64_t at, void (*run)(void *arg), void *arg)
{
    struct record *record;
    int rc = at == OSR_TIME_INVALID ? -EINVAL : make(call, run, arg, &record);

    if (rc == 0 && at != OSR_NEVER && osri_timer_set(&osri_sched->timers, &record->timer, at) < 0) {
        drop(osri_sched, record);
        rc = -ENOMEM;
    }
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

int osr_call_later(struct osr_call *call, int64_t delay, void (*run)(void *arg), void *arg)
{
    return osr_call_at(call, osr_time_add(osri_sched ? osri_now(osri_sched) : 0, delay), run, arg);
}

/* ---- Asking and taking back ---- */

bool osr_call_pending(const struct osr_call *call)
{
    return call && record_of(call);
}

int osr_call_cancel(struct osr_call *call)
{
    struct record *record;

    if (!call)
        return osri_failed(-EINVAL, NULL);
    if (!osri_sched)
        return osri_failed(-EPERM, NULL);
    record = record_of(call);
    if (!record)
        return osri_failed(-ESTALE, NULL);
    drop(osri_sched, record);
    return 0;
}
