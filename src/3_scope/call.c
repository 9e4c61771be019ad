/*
 * Calls to come. What is known of one lies in a record of the run's and not in the handle: that often lives in the frame
 * of a task's function, which is gone when the task's own scope closes.
 */
#include "3_scope/call.h"

#include "3_scope/slot.h"

struct coming {
    struct due due; /* first. In the list of what it waits for, of those that are due, or of the spare ones */
    struct osr_bound_ bound;
    struct osr_timer_ timer;
    struct osr_scope *scope;
    void (*run)(void *arg);
    void *arg;
    uint64_t id; /* 0: spare */
};

static struct coming *coming_at(struct osr_list_ *node)
{
    return container_of(node, struct coming, due.node);
}

/* ---- Records ---- */

/* The record of a call that is still to come, NULL if there is none. Records are freed with the run only. */
static struct coming *coming_of(const struct osr_call *call)
{
    struct coming *coming;

    if (!osri_sched || call->run_ != osri_sched->run)
        return NULL;
    coming = call->record_;
    return coming->id == call->id_ ? coming : NULL;
}

static struct coming *new_coming(struct sched *sched)
{
    struct osr_list_ *spare = list_pop(&sched->spare_calls);

    return spare ? coming_at(spare) : osri_alloc(&sched->memory, sizeof(struct coming));
}

/* Takes it out of everything. */
static void drop(struct sched *sched, struct coming *coming)
{
    osri_unbind(&coming->bound);
    list_remove(&coming->due.node);
    osri_timer_clear(&sched->timers, &coming->timer);
    coming->id = 0;
    list_append(&sched->spare_calls, &coming->due.node);
}

static void leave(struct osr_bound_ *bound)
{
    drop(osri_sched, container_of(bound, struct coming, bound));
}

bool osri_calls_are_of(const struct sched *sched, const struct osr_list_ *list)
{
    return list_empty(list) || ((const struct task *)coming_at(list->next)->scope->owner_)->sched == sched;
}

void osri_calls_drop(struct osr_list_ *list)
{
    while (!list_empty(list))
        drop(osri_sched, coming_at(list->next));
}

/* ---- Being due ---- */

void osri_calls_due(struct sched *sched, struct osr_list_ *list)
{
    while (!list_empty(list))
        osri_due(sched, &coming_at(list->next)->due);
}

static void timer_fired(struct osr_timer_ *timer)
{
    osri_due(osri_sched, &container_of(timer, struct coming, timer)->due);
}

static void come(struct sched *sched, struct due *due)
{
    struct coming *coming = container_of(due, struct coming, due), call = *coming;

    drop(sched, coming);
    sched->calling = call.scope;
    call.run(call.arg);
}

void osri_calls_make(struct sched *sched)
{
    struct osr_scope *outside = sched->calling;
    bool nested = sched->calling_back;
    struct osr_list_ now, *node;

    sched->calling_back = true;
    list_init(&now);
    while ((node = list_pop(&sched->calls)) != NULL)
        list_append(&now, node);
    while ((node = list_pop(&now)) != NULL) {
        struct due *due = container_of(node, struct due, node);

        due->come(sched, due);
        osri_called_back(sched);
        sched->calling = outside;
    }
    sched->calling_back = nested;
    osri_slot_clear(&osri_thread_slot); /* which may hold an error of the run */
}

/* ---- Making ---- */

/* The scope that a call made now is bound to: that of the running task, or of the running call. */
static struct osr_scope *scope_here(struct sched *sched)
{
    return sched->current ? sched->current->scope : sched->calling;
}

/* Makes a call that is in no list yet: 0; -EBUSY; -EINVAL; -ENOMEM; -EPERM. */
static int make(struct osr_call *call, void (*run)(void *arg), void *arg, struct coming **made)
{
    struct sched *sched = osri_sched;
    struct osr_scope *scope;
    struct coming *coming;

    if (!call || !run)
        return -EINVAL;
    osri_touch_all();
    scope = osri_is_inside(sched) ? scope_here(sched) : NULL;
    if (!scope)
        return -EPERM;
    if (coming_of(call))
        return -EBUSY;
    coming = new_coming(sched);
    if (!coming)
        return -ENOMEM;
    list_init(&coming->due.node);
    coming->due.come = come;
    osri_timer_init(&coming->timer, timer_fired, false);
    coming->scope = scope;
    coming->run = run;
    coming->arg = arg;
    coming->id = ++sched->tickets;
    *call = (struct osr_call){.record_ = coming, .id_ = coming->id, .run_ = sched->run};
    osri_bind(scope, &coming->bound, leave);
    *made = coming;
    return 0;
}

int osri_call_in(struct osr_list_ *list, struct osr_call *call, void (*run)(void *arg), void *arg)
{
    struct coming *coming;
    int rc = make(call, run, arg, &coming);

    if (rc < 0)
        return osri_failed(rc, NULL);
    if (list)
        list_append(list, &coming->due.node);
    else
        osri_due(osri_sched, &coming->due);
    return 0;
}

int osr_call_soon(struct osr_call *call, void (*run)(void *arg), void *arg)
{
    return osri_call_in(NULL, call, run, arg);
}

int osr_call_at(struct osr_call *call, int64_t at, void (*run)(void *arg), void *arg)
{
    struct coming *coming;
    int rc = at == OSR_TIME_INVALID ? -EINVAL : make(call, run, arg, &coming);

    if (rc == 0 && at != OSR_NEVER && osri_timer_set(&osri_sched->timers, &coming->timer, at) < 0) {
        drop(osri_sched, coming);
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
    osri_touch_all();
    return call && coming_of(call);
}

int osr_call_cancel(struct osr_call *call)
{
    struct coming *coming;

    if (!call)
        return osri_failed(-EINVAL, NULL);
    if (!osri_sched)
        return osri_failed(-EPERM, NULL);
    osri_touch_all();
    coming = coming_of(call);
    if (!coming)
        return osri_failed_or_late(-ESTALE, NULL);
    drop(osri_sched, coming);
    return 0;
}
