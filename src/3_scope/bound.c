/* What is bound to a scope and left with it: clean-ups, values, and what other floors bind. */
#include "3_scope/scope.h"

/* A clean-up promises as many errors: its own, a link to that where it stands in another tree already, the group that
 * it forms with the body, and the body's error or a link to it. */
enum { CLEANUP_ERRORS = 1 + FAILED_CLEANUP_ERRORS };

/* ---- Binding ---- */

void osri_bind(struct osr_scope *scope, struct osr_bound_ *bound, void (*leave)(struct osr_bound_ *bound))
{
    osri_scope_load(scope);
    bound->leave_ = leave;
    bound->next_ = scope->bound_;
    bound->prev_ = &scope->bound_;
    if (bound->next_)
        bound->next_->prev_ = &bound->next_;
    scope->bound_ = bound;
}

void osri_unbind(struct osr_bound_ *bound)
{
    if (!bound->prev_)
        return;
    *bound->prev_ = bound->next_;
    if (bound->next_)
        bound->next_->prev_ = bound->prev_;
    bound->next_ = NULL;
    bound->prev_ = NULL;
}

/* ---- Clean-ups ---- */

/* Whether `bound` is in the calling task's scopes, up to the task's own. */
static bool is_ours(const struct task *task, const struct osr_bound_ *bound)
{
    const struct osr_scope *scope = task->scope;

    for (; scope && scope->owner_ == task; scope = scope->parent_) {
        const struct osr_bound_ *at = scope->laden_ ? scope->bound_ : NULL;

        for (; at; at = at->next_)
            if (at == bound)
                return true;
    }
    return false;
}

int osr_defer_here(struct osr_cleanup *cleanup, int (*run)(void *arg), void *arg, int64_t grace, const char *where)
{
    struct sched *sched = osri_sched;
    struct task *task = osri_current();
    int rc;

    if (!cleanup || !run || grace == OSR_TIME_INVALID)
        return osri_failed(-EINVAL, where);
    if (task && is_ours(task, &cleanup->bound_))
        return osri_task_failed(task, -EBUSY, where);
    cleanup->bound_ = (struct osr_bound_){0};
    if (!task)
        return osri_failed(-EPERM, where);
    rc = osri_errors_promise(sched, CLEANUP_ERRORS);
    if (rc < 0)
        return osri_task_failed(task, rc, where);
    if (osri_timers_reserve(&sched->timers) < 0) {
        osri_errors_unpromise(sched, CLEANUP_ERRORS);
        return osri_task_failed(task, -ENOMEM, where);
    }
    cleanup->run_ = run;
    cleanup->arg_ = arg;
    cleanup->grace_ = grace;
    cleanup->where_ = where;
    osri_bind(task->scope, &cleanup->bound_, NULL);
    return 0;
}

int osr_defer_cancel(struct osr_cleanup *cleanup)
{
    struct task *task = osri_current();

    if (!cleanup)
        return osri_failed(-EINVAL, NULL);
    if (!task)
        return osri_failed(-EPERM, NULL);
    if (!cleanup->bound_.prev_)
        return osri_failed(-ESTALE, NULL);
    if (!is_ours(task, &cleanup->bound_))
        return osri_failed(-EPERM, NULL);
    osri_unbind(&cleanup->bound_);
    osri_errors_unpromise(osri_sched, CLEANUP_ERRORS);
    osri_timers_unreserve(&osri_sched->timers);
    return 0;
}

/* Runs it under a shield of its own. Gives its error, NULL if it has none; what the task is about to return, and the
 * error behind that, stay as they are. Nothing here lacks memory: the clean-up has promised it all, and takes each
 * promise back just before it is needed, so that what could be done without cannot take its place. */
static struct osr_error *run_cleanup(struct sched *sched, const struct osr_cleanup *cleanup)
{
    struct task *task = sched->current;
    struct slot kept = task->slot;
    struct osr_error *error = NULL;
    struct osr_scope shield;
    int rc;

    task->slot = (struct slot){0};
    osri_timers_unreserve(&sched->timers);
    (void)osr_scope_open_here(&shield, OSR_SCOPE_SHIELD, cleanup->grace_, cleanup->where_);
    rc = cleanup->run_(cleanup->arg_);
    osri_errors_unpromise(sched, 1); /* for its own error */
    rc = osr_scope_close_here(&shield, rc, cleanup->where_);
    if (rc < 0)
        error = osri_slot_outcome(&task->slot, rc == -ECANCELED ? -OSR_ESPURIOUS : rc, cleanup->where_);
    osri_slot_clear(&task->slot);
    task->slot = kept;
    return error;
}

void osri_scope_leave_bound(struct sched *sched, struct osr_scope *scope, osri_cleanup_failed *failed, void *arg)
{
    struct osr_bound_ *bound;

    while ((bound = scope->bound_) != NULL) {
        struct osr_error *error;

        osri_unbind(bound);
        if (bound->leave_) {
            bound->leave_(bound);
            continue;
        }
        error = run_cleanup(sched, container_of(bound, struct osr_cleanup, bound_));
        if (error)
            failed(arg, error);
        else
            osri_errors_unpromise(sched, FAILED_CLEANUP_ERRORS);
    }
}

/* The outcome of a scope whose clean-ups run. */
struct closing {
    struct osr_scope *scope;
    struct slot *slot;
    int rc;
    const char *where;
    struct osr_error *group; /* of the body's error and those of the clean-ups; NULL as long as none has failed */
};

/* The first clean-up has failed: the group begins with the error of the body. A cancellation that the body invented is
 * one, for in the group it would be seen no more. */
static struct osr_error *begin_group(struct sched *sched, struct closing *closing)
{
    int rc = closing->rc == -ECANCELED && !closing->scope->by_ ? -OSR_ESPURIOUS : closing->rc;
    struct osr_error *group;

    osri_errors_unpromise(sched, 1);
    group = osri_error_new_group(sched, closing->scope->where_, osri_who(), NULL);
    osri_error_say(group, rc < 0 && rc != -ECANCELED ? "clean-up failed too" : "clean-up failed");
    osri_errors_unpromise(sched, 1);
    if (rc < 0 && rc != -ECANCELED)
        osri_error_adopt(sched, group, osri_slot_outcome(closing->slot, rc, closing->where));
    return group;
}

static void gather_failure(void *arg, struct osr_error *error)
{
    struct closing *closing = arg;
    struct sched *sched = osri_sched;

    if (closing->group)
        osri_errors_unpromise(sched, FAILED_CLEANUP_ERRORS - 1);
    else
        closing->group = begin_group(sched, closing);
    osri_errors_unpromise(sched, 1);
    osri_error_adopt(sched, closing->group, error);
}

int osri_scope_clean_up_some(struct sched *sched, struct osr_scope *scope, int rc, const char *where)
{
    struct slot *slot = &((struct task *)scope->owner_)->slot;
    struct closing closing = {.scope = scope, .slot = slot, .rc = rc, .where = where};
    bool riding = rc < 0 && slot->code == rc && slot->riding;

    osri_scope_leave_bound(sched, scope, gather_failure, &closing);
    if (!closing.group)
        return rc;
    rc = osri_slot_put(slot, closing.group);
    slot->riding = riding || (closing.rc == -ECANCELED && scope->by_);
    return rc;
}

/* ---- Values ---- */

/* Whether it is bound in the calling task's scopes, up to the task's own. */
static bool is_bound(const struct task *task, const struct osr_binding *binding)
{
    const struct osr_scope *scope = task->scope;

    for (; scope && scope->owner_ == task; scope = scope->parent_) {
        const struct osr_binding *at = scope->values_;

        for (; at; at = at->next_)
            if (at == binding)
                return true;
    }
    return false;
}

/* Read by jobs in other threads too, while the tasks go on (6_ready/offload.c): so they are linked in atomically, and
 * looked for along a way of their own, which stays the same when a task that was started moves into its group. */
int osr_bind(struct osr_binding *binding, const void *key, void *value)
{
    struct task *task = osri_current();

    if (!binding || !key)
        return osri_failed(-EINVAL, NULL);
    if (!task)
        return osri_failed(-EPERM, NULL);
    if (is_bound(task, binding))
        return osri_task_failed(task, -EBUSY, NULL);
    *binding = (struct osr_binding){key, value, task->scope->values_};
    __atomic_store_n(&task->scope->values_, binding, __ATOMIC_RELEASE);
    return 0;
}

void *osri_value_from(const struct osr_scope *scope, const void *key)
{
    while (scope) {
        const struct osr_binding *at = __atomic_load_n(&scope->values_, __ATOMIC_ACQUIRE);

        for (; at; at = at->next_)
            if (at->key_ == key)
                return at->value_;
        scope = scope->values_from_;
    }
    return NULL;
}
