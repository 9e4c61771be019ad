#include "3_scope/scope.h"

#include <assert.h>

#include "0_base/text.h"
#include "2_sched/wait.h"

/* ---- The tree ---- */

struct osr_scope *osri_scope_walk(struct osr_scope *top, struct osr_scope *at, bool over)
{
    if (!over && !list_empty(&at->children_))
        return container_of(at->children_.next, struct osr_scope, sibling_);
    while (at != top) {
        struct osr_list_ *next = at->sibling_.next;

        if (next != &at->parent_->children_)
            return container_of(next, struct osr_scope, sibling_);
        at = at->parent_;
    }
    return NULL;
}

/* Says that what the tasks below see of their scopes may change, also behind shields. A group is told by itself too: who
 * spawns into it looks at it. */
static __attribute__((noinline)) void touch_below(struct sched *sched, struct osr_scope *top)
{
    struct osr_scope *at;

    for (at = top; at; at = osri_scope_walk(top, at, false)) {
        osri_touch_task(sched, OSR_TOUCH_TASK, at->owner_);
        if (at->form_ == SCOPE_GROUP)
            osri_touch(&sched->door, OSR_TOUCH_WRITE, at);
    }
}

static inline void touch_all_below(struct sched *sched, struct osr_scope *top)
{
    if (unlikely(sched->door.touched != NULL))
        touch_below(sched, top);
}

/* Who asks about a scope asks about its owner, unless that has closed it. */
static void touch_asked(const struct osr_scope *scope)
{
    struct sched *sched = osri_sched;

    if (likely(!sched || !sched->door.touched))
        return;
    if (scope->state_ == SCOPE_OPEN)
        osri_touch_task(sched, OSR_TOUCH_TASK, scope->owner_);
    else
        osri_touch(&sched->door, OSR_TOUCH_ALL, NULL);
}

/* Tells the owner that it is cancelled in its innermost scope, if this is it. */
static inline void tell_owner(struct sched *sched, struct osr_scope *scope)
{
    struct task *task = osri_scope_owner(scope);

    if (task->scope != scope)
        return;
    task->refusal = &scope->cut_at_;
    task->attention = true;
    osri_cut(sched, task);
}

/* `by` is now the outermost cancelled scope for all that is below `top`, shields excepted. As long as nobody has others
 * beside him, nobody is left when there is nobody below: to climb up again, looking for them, would take as long as the way
 * down. */
static void spread(struct sched *sched, struct osr_scope *top, struct osr_scope *by)
{
    struct osr_scope *at = top;
    bool alone = true;

    while (at) {
        bool hidden = at != top && at->shielded_;

        __builtin_prefetch(at->sibling_.next, 1); /* often the next one, on another page */
        if (!hidden) {
            at->by_ = by;
            if (!at->away_)
                tell_owner(sched, at);
        }
        alone = alone && at->children_.next == at->children_.prev;
        if (alone && list_empty(&at->children_))
            return;
        at = osri_scope_walk(top, at, hidden);
    }
}

static int64_t due_of(const struct osr_scope *scope)
{
    int64_t outer = scope->parent_ && !scope->shielded_ ? scope->parent_->due_ : OSR_NEVER;

    return scope->timer_.at < outer ? scope->timer_.at : outer;
}

/* The deadlines at `top` have changed: works out what is in effect there and below, where it changes. */
static void respread_due(struct osr_scope *top)
{
    struct osr_scope *at = top;

    while (at) {
        struct task *task = at->owner_;
        int64_t due = due_of(at);
        /* A brief one has none yet: it takes its parent's when it begins. */
        bool same = at->away_ == AWAY_BRIEF || due == at->due_;

        at->due_ = due;
        if (!same && task->scope == at)
            osri_scope_mirror(task, at);
        at = osri_scope_walk(top, at, same);
    }
}

/* ---- Opening ---- */

void osri_scope_deadline_passed(struct osr_timer_ *timer)
{
    struct osr_scope *scope = container_of(timer, struct osr_scope, timer_);

    osri_scope_cancel(osri_sched, scope, -ETIMEDOUT, "", scope->where_, "the deadline passed");
}

int osri_scope_refuse(struct osr_scope *scope, int code, const char *where)
{
    scope->owner_ = osri_current();
    scope->state_ = SCOPE_REFUSED;
    scope->refusal_ = code;
    scope->where_ = place_or_unknown(where);
    scope->form_ = scope->caught_ = scope->guarded_ = 0;
    scope->cancelled_at_ = 0;
    scope->timer_.at = OSR_NEVER;
    return code;
}

int osri_scope_open_already(const struct osr_scope *scope, const char *where)
{
    return osr_fail_here(where, -EINVAL, "it has been open since %s", scope->where_);
}

/* A limit that cannot be set must not come to none at all: what is inside is refused, as if it had passed, and the close
 * gives the code. */
static __attribute__((noinline)) int open_in_vain(struct sched *sched, struct task *task, struct osr_scope *scope, int code)
{
    osri_scope_enter(task, scope);
    osri_scope_cancel(sched, scope, code, task->name, scope->where_, "its limit could not be set");
    return osri_task_failed(task, code, scope->where_);
}

static bool was_opened_in_vain(const struct osr_scope *scope)
{
    return scope->cancelled_at_ && scope->reason_.code != -ETIMEDOUT && scope->reason_.code != -ECANCELED;
}

static int set_limit(struct sched *sched, struct osr_scope *scope, int form, int64_t limit)
{
    int64_t at = form & OSR_SCOPE_AT ? limit : osr_time_add(osri_now(sched), limit);

    if (at == OSR_TIME_INVALID)
        return -EINVAL;
    if (at == OSR_NEVER)
        return 0;
    scope->timed_ = 1;
    return osri_timer_set(&sched->timers, &scope->timer_, at);
}

int osr_scope_open_here(struct osr_scope *scope, int form, int64_t limit, const char *where)
{
    struct sched *sched = osri_sched;
    struct task *task = osri_current();
    int rc = 0;

    if (!scope)
        return osri_failed(-EINVAL, where);
    if (!task)
        return osri_failed(osri_scope_refuse(scope, -EPERM, where), where);
    if (osri_scope_is_open(task, scope))
        return osri_scope_open_already(scope, where);
    if ((form & OSR_SCOPE_FORM_) < OSR_SCOPE_TIMEOUT || (form & OSR_SCOPE_FORM_) > OSR_SCOPE_SHIELD)
        return osri_task_failed(task, osri_scope_refuse(scope, -EINVAL, where), where);
    osri_scope_init(scope, task);
    osri_scope_attach(scope, task->scope, (unsigned char)(form & OSR_SCOPE_FORM_), where);
    if (form & OSR_SCOPE_GUARD_) {
        rc = osri_errors_promise(sched, GUARD_ERRORS);
        scope->guarded_ = rc == 0;
    }
    if (rc == 0 && limit != OSR_NEVER)
        rc = set_limit(sched, scope, form, limit);
    if (unlikely(rc < 0))
        return open_in_vain(sched, task, scope, rc);
    scope->due_ = due_of(scope);
    osri_scope_enter(task, scope);
    return 0;
}

/* ---- Cancelling ---- */

void osri_scope_cancel(struct sched *sched, struct osr_scope *scope, int code, const char *who, const char *where,
                       const char *text)
{
    touch_all_below(sched, scope);
    if (scope->cancelled_at_)
        return;
    scope->cancelled_at_ = ++sched->cancellations;
    scope->reason_.code = code;
    scope->reason_.where = place_or_unknown(where);
    scope->reason_.text = text ? text : "";
    osri_name_copy(scope->reason_.who, who);
    osri_timer_clear(&sched->timers, &scope->timer_);
    osri_observe(sched, OSR_TRACE_CANCEL, scope->owner_, NULL, scope->where_, code);
    if (!scope->by_)
        spread(sched, scope, scope);
    /* Else a scope further out is cancelled as well: all below know that already. */
}

static struct osr_scope *root_of(struct osr_scope *scope)
{
    while (scope->parent_)
        scope = scope->parent_;
    return scope;
}

int osr_fail_fatal_here(const char *where, int code, const char *format, ...)
{
    struct task *task = osri_current();
    struct osr_error *error;
    va_list list;

    if (!task)
        return osri_failed(-EPERM, where);
    if (code >= 0 || code == -ECANCELED)
        code = code >= 0 ? -EINVAL : -EINTR;
    osri_fatal_prepare(osri_sched);
    va_start(list, format);
    code = osri_fail(where, code, format, list);
    va_end(list);
    error = osri_slot_error(&task->slot);
    if (error) {
        error->fatal = true;
        osri_fatal_remember(osri_sched, osr_error_retain(error));
    }
    osri_scope_cancel(osri_sched, root_of(task->scope), code, task->name, where, "a fatal error");
    return code;
}

int osri_scope_may_touch(const struct osr_scope *scope)
{
    struct sched *sched = osri_sched;

    if (!osri_is_inside(sched))
        return -EPERM;
    if (!scope)
        return -EINVAL;
    if (scope->state_ == SCOPE_CLOSED || scope->state_ == SCOPE_ENDED)
        return -OSR_ECLOSED;
    if (scope->state_ == SCOPE_REFUSED)
        return scope->refusal_;
    if (scope->state_ != SCOPE_OPEN)
        return -EINVAL;
    return ((const struct task *)scope->owner_)->sched == sched ? 0 : -EPERM;
}

static int may_touch(struct osr_scope *scope, const char *where)
{
    int rc = osri_scope_may_touch(scope);

    if (rc == 0)
        touch_all_below(osri_sched, scope);
    else
        osri_touch_all(); /* whether it was still open may depend on others */
    return rc < 0 ? osri_failed(rc, where) : 0;
}

int osr_scope_cancel_here(struct osr_scope *scope, const char *text, const char *where)
{
    int rc = may_touch(scope, where);

    if (rc < 0)
        return rc;
    osri_scope_cancel(osri_sched, scope, -ECANCELED, osri_who(), where, text);
    return 0;
}

int osr_scope_set_deadline(struct osr_scope *scope, int64_t at)
{
    struct sched *sched = osri_sched;
    int rc = may_touch(scope, NULL);

    if (rc < 0)
        return rc;
    if (at == OSR_TIME_INVALID)
        return osri_failed(-EINVAL, NULL);
    if (scope->cancelled_at_)
        return osri_failed(-EALREADY, NULL);
    scope->timed_ = 1;
    if (at == OSR_NEVER) {
        osri_timer_clear(&sched->timers, &scope->timer_);
        scope->timer_.at = OSR_NEVER;
    } else if (osri_timer_set(&sched->timers, &scope->timer_, at) < 0) {
        return osri_failed(-ENOMEM, NULL);
    }
    respread_due(scope);
    return 0;
}

int osr_scope_unshield(struct osr_scope *scope)
{
    int rc = may_touch(scope, NULL);

    if (rc < 0 || !scope->shielded_)
        return rc;
    scope->shielded_ = 0;
    scope->lifted_at_ = ++osri_sched->cancellations; /* what was cut before was not on account of those outside */
    respread_due(scope);
    if (scope->parent_->by_)
        spread(osri_sched, scope, scope->parent_->by_);
    return 0;
}

void osri_scope_move(struct osr_scope *scope, struct osr_scope *parent)
{
    touch_all_below(osri_sched, scope);
    list_remove(&scope->sibling_);
    list_append(&parent->children_, &scope->sibling_);
    scope->parent_ = parent;
    scope->lifted_at_ = ++osri_sched->cancellations; /* what was cut before was not on account of those outside */
    respread_due(scope);
    if (parent->by_)
        spread(osri_sched, scope, parent->by_);
}

/* ---- Closing ---- */

int osri_scope_may_close(struct osr_scope *scope, int rc, const char *what, const char *where)
{
    struct task *task = osri_current();

    if (scope->state_ == SCOPE_REFUSED && task == scope->owner_) {
        scope->state_ = SCOPE_CLOSED;
        return rc < 0 ? rc : osri_failed(scope->refusal_, where);
    }
    if (scope->state_ == SCOPE_CLOSED)
        return osr_fail_here(where, -EINVAL, "the %s is closed already", what);
    if (scope->state_ != SCOPE_OPEN && scope->state_ != SCOPE_REFUSED)
        return osri_failed(-EINVAL, where);
    if (!task || task != scope->owner_)
        return osri_failed(-EPERM, where);
    if (task->scope != scope)
        osri_die(osri_sched,
                 "osier: task \"%s\" closes the %s opened at %s, at %s, while what it opened inside it at %s is still "
                 "open\n",
                 task->name, what, scope->where_, place_or_unknown(where), task->opened);
    return 1;
}

/* Whether the scope's own cancellation is an error. */
static bool has_own_code(const struct osr_scope *scope)
{
    return scope->form_ != OSR_SCOPE_MOVE_ON || was_opened_in_vain(scope);
}

/* What this scope gives in the place of a cancellation that it takes up; the error goes into the slot. */
static int own_code(struct osr_scope *scope, struct slot *slot)
{
    const struct osr_reason *reason = &scope->reason_;
    int code = reason->code == -ECANCELED ? -OSR_ESCOPECANCELED : reason->code;
    struct osr_error *error;

    osri_slot_clear(slot);
    if (!has_own_code(scope))
        return 0;
    error = osri_error_new(osri_sched, code, scope->where_, osri_who());
    if (!error) {
        slot->code = code;
        slot->where = scope->where_;
        return code;
    }
    if (was_opened_in_vain(scope))
        osri_error_say(error, "%s", reason->text);
    else if (code == -ETIMEDOUT)
        osri_error_say(error, "the time limit passed");
    else
        osri_error_say(error, "cancelled by task \"%s\" at %s%s%s", reason->who, reason->where,
                       *reason->text ? ": " : "", reason->text);
    return osri_slot_put(slot, error);
}

/* A real error beats what the scope itself would give, which becomes the last of its causes. */
static void blame_limit(struct osr_scope *scope, struct slot *slot, int rc, const char *where)
{
    struct osr_error *error = osri_slot_own(slot, rc, where);
    struct slot mine = {0};

    if (error && own_code(scope, &mine) < 0)
        osri_error_append_cause(error, osri_slot_outcome(&mine, mine.code, scope->where_));
}

static int settle(struct osr_scope *scope, struct slot *slot, int rc, const char *where)
{
    bool absorbs = osri_scope_absorbs(scope), cut = rc == -ECANCELED || osri_scope_has_cut(scope);
    bool riding = rc < 0 && slot->code == rc && slot->riding;

    if (rc < 0 && rc != -ECANCELED) {
        if (slot->code != rc)
            (void)osri_slot_own(slot, rc, where);
        if (absorbs && riding) {
            scope->caught_ = 1;
            slot->riding = false;
        }
        if (absorbs && (cut || riding) && has_own_code(scope))
            blame_limit(scope, slot, rc, where);
        return rc;
    }
    if (!cut && !was_opened_in_vain(scope)) {
        osri_slot_clear(slot);
        return rc;
    }
    if (absorbs || !cut) {
        scope->caught_ = cut;
        return own_code(scope, slot);
    }
    return osri_task_failed(scope->owner_, -ECANCELED, where);
}

int osr_scope_close_here(struct osr_scope *scope, int rc, const char *where)
{
    struct sched *sched = osri_sched;
    struct task *task;
    int answer;

    if (!scope || (scope->state_ == SCOPE_OPEN && scope->form_ > OSR_SCOPE_SHIELD))
        return osri_failed(-EINVAL, where); /* the scope of a group is closed with the group */
    answer = osri_scope_may_close(scope, rc, "scope", where);
    if (answer <= 0)
        return answer;
    task = scope->owner_;
    rc = osri_scope_join_pending(sched, scope, &task->slot, rc, where);
    rc = osri_scope_clean_up(sched, scope, rc, where);
    if (scope->guarded_)
        osri_errors_unpromise(sched, GUARD_ERRORS);
    rc = settle(scope, &task->slot, rc, where);
    osri_scope_pass_cut(sched, scope, rc);
    osri_scope_relieve(scope);
    osri_scope_detach(sched, scope);
    osri_scope_leave(task, scope);
    return rc;
}

/* ---- Guards ---- */

/* What is pending on a scope is a group of its own, made when the first guard leaves something. Nothing here lacks
 * memory: the guard has promised it all, and took its promise back just now. */
void osri_scope_leave_pending(struct sched *sched, struct osr_scope *scope, struct slot *slot, int rc,
                              const char *where)
{
    bool riding = slot->code == rc && slot->riding;
    struct osr_error *error = osri_slot_outcome(slot, rc, where);

    osri_scope_load(scope);
    scope->pending_rides_ |= riding;
    if (!scope->pending_) {
        scope->pending_ = osri_error_new_group(sched, where, osri_who(), NULL);
        (void)osri_errors_promise(sched, 1); /* for the error of the body: set aside just now */
    }
    osri_error_adopt(sched, scope->pending_, error);
}

/* Takes over the reference. What the body has got by joining may stand below what a guard has left. */
static void join_error(struct sched *sched, struct osr_error *pending, struct osr_error *error)
{
    if (osri_error_holds_below(pending, error))
        osr_error_release(error);
    else
        osri_error_adopt(sched, pending, error);
}

int osri_scope_join_some_pending(struct sched *sched, struct osr_scope *scope, struct slot *slot, int rc,
                                 const char *where)
{
    struct osr_error *pending = scope->pending_;
    char by_guards[48];
    bool riding;

    if (rc >= 0 && scope->refusal_)
        rc = osri_slot_note(slot, scope->refusal_, scope->refused_at_);
    if (!pending)
        return rc;
    riding = scope->pending_rides_ || (rc == -ECANCELED && osri_scope_lets_cancel_go_on(scope)) ||
             (rc < 0 && slot->code == rc && slot->riding);
    scope->pending_ = NULL;
    osri_errors_unpromise(sched, 1);
    snprintf(by_guards, sizeof(by_guards), ", %u left by guards", osri_error_children(pending));
    if (rc < 0 && rc != -ECANCELED)
        join_error(sched, pending, osri_slot_outcome(slot, rc, where));
    if (pending->first == pending->last) {
        struct osr_error *lone = osr_error_retain(osri_error_lone(pending));

        osr_error_release(pending);
        pending = lone;
    } else {
        osri_error_say_count(pending, osri_error_children(pending), by_guards);
    }
    rc = osri_slot_put(slot, pending);
    slot->riding = riding;
    return rc;
}

/* Runs when a block is left: what the program is about to return, and the error behind it, stay as they are. */
void osr_scope_leave_(struct osr_scope *scope)
{
    struct sched *sched = osri_sched;
    struct task *task = osri_current();
    struct osr_scope *outer;
    bool guarded = scope->guarded_;
    struct slot kept;
    int rc;

    if (scope->state_ != SCOPE_OPEN || !task)
        return;
    kept = task->slot;
    task->slot = (struct slot){0};
    outer = scope->parent_;
    rc = osr_scope_close_here(scope, 0, scope->where_);
    if (rc < 0 && rc != -ECANCELED && guarded)
        osri_scope_leave_pending(sched, outer, &task->slot, rc, scope->where_);
    else if (rc < 0 && rc != -ECANCELED) /* nothing was promised */
        osri_scope_leave_code(outer, rc, scope->where_);
    osri_slot_clear(&task->slot);
    task->slot = kept;
}

void osri_scope_keep(struct osr_scope *scope, struct osr_error *error)
{
    osri_scope_load(scope);
    osr_error_release(scope->kept_);
    scope->kept_ = error;
}

/* ---- Asking ---- */

bool osr_scope_cancelled(const struct osr_scope *scope)
{
    if (scope)
        touch_asked(scope);
    return scope && scope->cancelled_at_;
}

bool osr_scope_caught(const struct osr_scope *scope)
{
    if (scope)
        touch_asked(scope);
    return scope && scope->caught_;
}

const struct osr_reason *osr_scope_reason(const struct osr_scope *scope)
{
    return osr_scope_cancelled(scope) ? &scope->reason_ : NULL;
}

int64_t osr_scope_deadline(const struct osr_scope *scope)
{
    if (scope)
        touch_asked(scope);
    return scope ? scope->timer_.at : OSR_NEVER;
}

int64_t osr_deadline(void)
{
    struct task *task = osri_current();

    return task ? task->due : OSR_NEVER;
}

unsigned osr_shields(void)
{
    const struct task *task = osri_current();
    const struct osr_scope *at;
    unsigned count = 0;

    for (at = task ? task->scope : NULL; at && osri_scope_owner(at) == task; at = at->parent_)
        count += at->shielded_;
    return count;
}

bool osr_cancelled(void)
{
    struct task *task = osri_current();

    return task && task->refusal;
}

const struct osr_reason *osr_cancel_reason(void)
{
    struct task *task = osri_current();

    return task && task->scope->by_ ? &task->scope->by_->reason_ : NULL;
}
