/* What is bound to a scope and left with it: clean-ups, values, and what other floors bind. */
#include "3_scope/slot.h"
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

/* What is known of a clean-up. It lies in a record of the run's and not in the handle, which may lie in the frame of a
 * task's function: that is gone when the task's own scope closes. Spare ones are linked by `next_`. */
struct cleanup {
    struct osr_bound_ bound; /* first */
    struct osr_scope *scope;
    int (*run)(void *arg);
    void *arg;
    int64_t grace;
    const char *where;
    uint64_t id; /* 0: spare */
};

static struct cleanup *cleanup_of(struct osr_bound_ *bound)
{
    return container_of(bound, struct cleanup, bound);
}

static struct cleanup *new_cleanup(struct sched *sched)
{
    struct osr_bound_ *spare = sched->spare_cleanups;

    if (!spare)
        return osri_alloc(&sched->memory, sizeof(struct cleanup));
    sched->spare_cleanups = spare->next_;
    return cleanup_of(spare);
}

static void drop_cleanup(struct sched *sched, struct cleanup *cleanup)
{
    osri_unbind(&cleanup->bound);
    cleanup->id = 0;
    cleanup->bound.next_ = sched->spare_cleanups;
    sched->spare_cleanups = &cleanup->bound;
}

/* All that a clean-up needs when it runs, set aside: 0 or -ENOMEM. */
static int promise_cleanup(struct sched *sched)
{
    int rc = osri_errors_promise(sched, CLEANUP_ERRORS);

    if (rc < 0)
        return rc;
    rc = osri_timers_reserve(&sched->timers);
    if (rc < 0)
        osri_errors_unpromise(sched, CLEANUP_ERRORS);
    return rc;
}

static int defer(struct sched *sched, struct osr_cleanup *handle, const struct cleanup *wanted)
{
    struct cleanup *cleanup = new_cleanup(sched);
    int rc = cleanup ? promise_cleanup(sched) : -ENOMEM;

    if (!cleanup)
        return rc;
    *cleanup = *wanted;
    if (rc < 0) {
        drop_cleanup(sched, cleanup);
        return rc;
    }
    cleanup->id = ++sched->tickets;
    osri_bind(cleanup->scope, &cleanup->bound, NULL);
    if (handle)
        *handle = (struct osr_cleanup){.record_ = cleanup, .id_ = cleanup->id, .run_ = sched->run};
    return 0;
}

/* Whether the argument is in a frame that will be gone when the clean-up runs: of the functions of a task whose own scope
 * it is for. */
static bool is_in_dead_frame(const struct task *task, const void *arg)
{
    const char *at = arg;

    return task->scope->form_ == SCOPE_TASK && at >= task->lining.low && at < task_base(task);
}

int osr_defer_here(struct osr_cleanup *handle, int (*run)(void *arg), void *arg, int64_t grace, const char *where)
{
    struct task *task = osri_current();
    int rc;

    if (handle)
        *handle = (struct osr_cleanup){0};
    if (!run || grace == OSR_TIME_INVALID)
        return osri_failed(-EINVAL, where);
    if (!task)
        return osri_failed(-EPERM, where);
    if (is_in_dead_frame(task, arg))
        return osr_fail_here(where, -EINVAL,
                             "what is to be cleaned up lies in the frame of the task's function, which is gone when the "
                             "task's own scope closes: open a scope for it");
    rc = defer(task->sched, handle,
               &(const struct cleanup){.scope = task->scope, .run = run, .arg = arg, .grace = grace, .where = where});
    return rc < 0 ? osri_task_failed(task, rc, where) : 0;
}

int osr_defer_cancel(struct osr_cleanup *handle)
{
    struct task *task = osri_current();
    struct cleanup *cleanup;

    if (!handle)
        return osri_failed(-EINVAL, NULL);
    if (!task)
        return osri_failed(-EPERM, NULL);
    cleanup = handle->run_ == task->sched->run ? handle->record_ : NULL;
    if (!cleanup || cleanup->id != handle->id_)
        return osri_failed_or_late(-ESTALE, NULL);
    if (cleanup->scope->owner_ != task)
        return osri_failed(-EPERM, NULL);
    drop_cleanup(task->sched, cleanup);
    osri_errors_unpromise(task->sched, CLEANUP_ERRORS);
    osri_timers_unreserve(&task->sched->timers);
    return 0;
}

/* Runs it under a shield of its own. Gives its error, NULL if it has none; what the task is about to return, and the
 * error behind that, stay as they are. Nothing here lacks memory: the clean-up has promised it all, and takes each
 * promise back just before it is needed, so that what could be done without cannot take its place. */
static struct osr_error *run_cleanup(struct sched *sched, const struct cleanup *cleanup)
{
    struct task *task = sched->current;
    struct slot kept = task->slot;
    struct osr_error *error = NULL;
    struct osr_scope shield;
    int rc;

    task->slot = (struct slot){0};
    osri_timers_unreserve(&sched->timers);
    (void)osr_scope_open_here(&shield, OSR_SCOPE_SHIELD, cleanup->grace, cleanup->where);
    rc = cleanup->run(cleanup->arg);
    if (unlikely(osri_sched != sched))
        osri_die(NULL, "osier: a clean-up, deferred at %s, returned in a forked child, where its run does not go on\n",
                 place_or_unknown(cleanup->where));
    osri_errors_unpromise(sched, 1); /* for its own error */
    rc = osr_scope_close_here(&shield, rc, cleanup->where);
    if (rc < 0)
        error = osri_slot_outcome(&task->slot, rc == -ECANCELED ? -OSR_ESPURIOUS : rc, cleanup->where);
    osri_slot_clear(&task->slot);
    task->slot = kept;
    return error;
}

void osri_scope_leave_bound(struct sched *sched, struct osr_scope *scope, osri_cleanup_failed *failed, void *arg)
{
    struct osr_bound_ *bound;

    while ((bound = scope->bound_) != NULL) {
        struct osr_error *error;
        struct cleanup cleanup;

        if (bound->leave_) {
            osri_unbind(bound);
            bound->leave_(bound);
            continue;
        }
        cleanup = *cleanup_of(bound);
        drop_cleanup(sched, cleanup_of(bound));
        error = run_cleanup(sched, &cleanup);
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
    int rc = closing->rc == -ECANCELED && !osri_scope_lets_cancel_go_on(closing->scope) ? -OSR_ESPURIOUS : closing->rc;
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
    if (osri_error_holds(closing->group, error)) /* it is raised again */
        osr_error_release(error);
    else
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
    slot->riding = riding || (closing.rc == -ECANCELED && osri_scope_lets_cancel_go_on(scope));
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
    osri_touch_all();
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
