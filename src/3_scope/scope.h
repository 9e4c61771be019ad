/*
 * The tree of scopes: what is cancelled, what is hidden by shields, which deadline is in effect.
 *
 * Every scope knows the outermost cancelled scope that it can see (`by_`), which is the one that will take the
 * cancellation up (R20), and the smallest deadline (`due_`). Both are kept up to date from above when something
 * changes, so asking costs nothing and changing costs the scopes below. Groups and tasks hold a scope each.
 */
#ifndef OSIER_SCOPE_SCOPE_H
#define OSIER_SCOPE_SCOPE_H

#include "0_base/text.h"
#include "3_scope/slot.h"

/* Forms beyond the public ones. */
enum { SCOPE_TASK = 8, SCOPE_GROUP = 9, SCOPE_START = 10 };

/* Odd numbers, so that a scope that was never opened is hardly taken for one. */
enum scope_state { SCOPE_OPEN = 0xa5, SCOPE_ENDED = 0x96, SCOPE_CLOSED = 0x5c, SCOPE_REFUSED = 0x3e };

/* Why the owner of a scope is not told of cancellations: it has not begun, and will look by itself when it does; or it closes a
 * group, and makes no call in that any more, but those of clean-ups, which are shielded. */
enum scope_away { AWAY_BRIEF = 1, AWAY_CLOSING };

/* A guard promises as many errors: its own, a link to it, the group that is pending, and the body's beside it. */
enum { GUARD_ERRORS = 4 };

/* A task's own scope lies so far behind it (4_group/child.h). */
enum { SCOPE_OFFSET = sizeof(struct task) + 24 };

/* The task that has opened it, from what stands in its first line if it is a task's own. */
static inline struct task *osri_scope_owner(const struct osr_scope *scope)
{
    return scope->form_ == SCOPE_TASK ? (struct task *)((uintptr_t)scope - SCOPE_OFFSET) : scope->owner_;
}

/* ---- Opening and closing ---- */

void osri_scope_deadline_passed(struct osr_timer_ *timer);
/* Keeps the error, with the caller's reference, in the place of the one kept before, until the scope closes. */
void osri_scope_keep(struct osr_scope *scope, struct osr_error *error);
/* Moves the scope, which saw no cancelled one outside, below another parent, which may be. */
void osri_scope_move(struct osr_scope *scope, struct osr_scope *parent);

/* To be said before anything is bound to the scope, or left on it: few scopes have any of that. */
static inline void osri_scope_load(struct osr_scope *scope)
{
    if (scope->laden_)
        return;
    scope->laden_ = 1;
    scope->refusal_ = 0;
    scope->pending_rides_ = 0;
    scope->pending_ = scope->kept_ = NULL;
    scope->bound_ = NULL;
}

/* What stays as it is when the scope is detached, and so need not be said again if its owner attaches it once more. */
static inline void osri_scope_init(struct osr_scope *scope, struct task *owner)
{
    scope->owner_ = owner;
    list_init(&scope->children_);
    osri_timer_init(&scope->timer_, osri_scope_deadline_passed, true);
}

/*
 * Makes `scope` part of the tree below `parent`, which may be NULL; it sees what its parent sees. In two steps, so that
 * spawning a task touches one line of its scope and no more: its place, with which it can already be found and told who is
 * cancelled, and the rest, which has to be there before its owner runs, or it is cancelled, looked into or given anything.
 */
static inline void osri_scope_place(struct osr_scope *scope, struct osr_scope *parent, unsigned char form)
{
    bool shielded = form == OSR_SCOPE_SHIELD;

    scope->parent_ = parent;
    scope->by_ = parent && !shielded ? parent->by_ : NULL;
    if (parent)
        list_append(&parent->children_, &scope->sibling_);
    else
        list_init(&scope->sibling_);
    scope->form_ = form;
    scope->state_ = SCOPE_OPEN;
    scope->shielded_ = shielded;
    scope->caught_ = scope->guarded_ = scope->laden_ = 0;
    scope->timed_ = shielded;
    scope->away_ = AWAY_BRIEF;
}

static inline void osri_scope_complete(struct osr_scope *scope, const char *where)
{
    struct osr_scope *parent = scope->parent_;

    scope->due_ = parent && !scope->shielded_ ? parent->due_ : OSR_NEVER;
    scope->where_ = place_or_unknown(where);
    scope->values_from_ = parent;
    scope->values_ = NULL;
    scope->cancelled_at_ = scope->cut_at_ = scope->lifted_at_ = 0;
    scope->away_ = 0;
}

static inline void osri_scope_attach(struct osr_scope *scope, struct osr_scope *parent, unsigned char form,
                                     const char *where)
{
    osri_scope_place(scope, parent, form);
    osri_scope_complete(scope, where);
}

/* Gives the place of one that is not complete to another, which is in no tree. */
static inline void osri_scope_take_place(struct osr_scope *scope, struct osr_scope *from)
{
    list_replace(&from->sibling_, &scope->sibling_);
    scope->parent_ = from->parent_;
    scope->by_ = from->by_;
    scope->form_ = from->form_;
    scope->state_ = SCOPE_OPEN;
    scope->shielded_ = scope->caught_ = scope->guarded_ = scope->laden_ = scope->timed_ = 0;
    scope->away_ = AWAY_BRIEF;
    from->state_ = SCOPE_CLOSED;
}

/* One that has no deadline of its own, and is not laden. */
static inline void osri_scope_detach_plain(struct osr_scope *scope)
{
    list_unlink(&scope->sibling_);
    scope->state_ = SCOPE_CLOSED;
}

static inline void osri_scope_detach(struct sched *sched, struct osr_scope *scope)
{
    if (unlikely(scope->laden_))
        osri_scope_keep(scope, NULL);
    if (scope->timed_)
        osri_timer_clear(&sched->timers, &scope->timer_);
    osri_scope_detach_plain(scope);
}

/* Tells the task whether it is cancelled in its innermost scope, after which deadline is in effect there. */
static inline void osri_scope_mirror_cancel(struct task *task, struct osr_scope *scope)
{
    task->refusal = unlikely(scope->by_ != NULL) ? &scope->cut_at_ : NULL;
    task->attention = unlikely(scope->by_ || task->due != OSR_NEVER || task->hooked || task->sched->slowly);
}

/* Tells the task what is in effect in its innermost scope. */
static inline void osri_scope_mirror(struct task *task, struct osr_scope *scope)
{
    task->due = scope->due_;
    osri_scope_mirror_cancel(task, scope);
}

/* Makes it the innermost of its owner. */
static inline void osri_scope_enter(struct task *task, struct osr_scope *scope)
{
    scope->opened_in_ = task->opened;
    task->scope = scope;
    task->opened = scope->where_;
    osri_scope_mirror(task, scope);
}

/* Makes the one around it the innermost again. If what is due there is the same, only the first line of that scope is
 * looked at. */
static inline void osri_scope_leave(struct task *task, const struct osr_scope *scope)
{
    struct osr_scope *outer = scope->parent_;

    task->scope = outer;
    task->opened = scope->opened_in_;
    if (scope->timed_)
        task->due = outer->due_;
    osri_scope_mirror_cancel(task, outer);
}

/* Marks an open that failed, so that the close can tell. Gives the code. */
int osri_scope_refuse(struct osr_scope *scope, int code, const char *where);

/* Whether the task has it open, as far as can be told without looking into it: it is the innermost one, or, in a debug
 * run, one of those around it. */
static inline bool osri_scope_is_open(const struct task *task, const struct osr_scope *scope)
{
    const struct osr_scope *at = task->scope;

    while (unlikely(task->sched->debug) && at && at != scope)
        at = at->parent_;
    return unlikely(at == scope);
}

/* The answer to whoever opens an open scope once more, which stays as it is. */
int osri_scope_open_already(const struct osr_scope *scope, const char *where);

/* What everybody asks who does something to a scope from elsewhere, tasks of its run and callbacks: 0 or a code. */
int osri_scope_may_touch(const struct osr_scope *scope);

/* What every closer asks first: 1 to go on; else what it gives: `rc` or the code of an open that failed, -EINVAL,
 * -EPERM. Stops the program if something inside is open. */
int osri_scope_may_close(struct osr_scope *scope, int rc, const char *what, const char *where);

/* To be said when a scope closes that takes a cancellation up: calls are no longer refused on its account. */
static inline void osri_scope_relieve(const struct osr_scope *scope)
{
    if (unlikely(scope->by_ == scope))
        ((struct task *)scope->owner_)->refused = 0;
}

/* Whether a cancellation that reaches this scope as it closes is taken up by it (R20). */
static inline bool osri_scope_absorbs(const struct osr_scope *scope)
{
    return scope->by_ == scope;
}

/*
 * A call that is refused or cut notes the time in the scope it was made in. As scopes close, the latest time moves up,
 * until one takes the cancellation up. So a scope has cut something if a call inside it was refused or cut after the
 * scope was cancelled, however many others were cancelled besides, and in whichever order.
 */
static inline bool osri_scope_has_cut(const struct osr_scope *scope)
{
    return scope->cancelled_at_ && scope->cut_at_ >= scope->cancelled_at_;
}

/* To be said when a scope closes, with the code that its closer gives: to be told of a cancellation that goes on up is
 * to be cut by those further out. */
static inline void osri_scope_pass_cut(struct sched *sched, const struct osr_scope *scope, int rc)
{
    struct osr_scope *parent = scope->parent_;

    if (likely(!scope->cut_at_ && rc != -ECANCELED) || !parent || scope->shielded_ || osri_scope_absorbs(scope))
        return;
    if (rc == -ECANCELED)
        parent->cut_at_ = sched->cancellations;
    else if (parent->cut_at_ < scope->cut_at_ && scope->cut_at_ >= scope->lifted_at_) /* not what a shield hid */
        parent->cut_at_ = scope->cut_at_;
}

/* Whether a cancellation that the body of a scope has given goes on further out, with whatever error it is beside: some
 * scope is cancelled there, maybe outside of shields of the same task's, through which the code was passed. Of groups and
 * tasks what they see themselves counts. */
static inline bool osri_scope_lets_cancel_go_on(const struct osr_scope *scope)
{
    const struct osr_scope *at = scope;

    while (!at->by_ && scope->form_ <= OSR_SCOPE_SHIELD && at->form_ != SCOPE_TASK)
        at = at->parent_;
    return at->by_;
}

/* ---- What is bound to a scope: bound.c ---- */

/* Binds it: leave(bound) is called when the scope closes, on the closing task. */
void osri_bind(struct osr_scope *scope, struct osr_bound_ *bound, void (*leave)(struct osr_bound_ *bound));

/* Takes it out of its scope; nothing happens if it is in none (all zeros). */
void osri_unbind(struct osr_bound_ *bound);

/* Told of each clean-up that has failed; takes over the reference, and as many promises of errors. */
enum { FAILED_CLEANUP_ERRORS = 3 };
typedef void osri_cleanup_failed(void *arg, struct osr_error *error);

/* Leaves all that is bound to the scope, the latest first, when it closes. */
void osri_scope_leave_bound(struct sched *sched, struct osr_scope *scope, osri_cleanup_failed *failed, void *arg);

/* The same for a scope without a tree of its own: gives `rc`, or the code of the group that clean-ups and body form,
 * which is in the slot then. */
int osri_scope_clean_up_some(struct sched *sched, struct osr_scope *scope, int rc, const char *where);

static inline int osri_scope_clean_up(struct sched *sched, struct osr_scope *scope, int rc, const char *where)
{
    return likely(!scope->laden_) ? rc : osri_scope_clean_up_some(sched, scope, rc, where);
}

/* The value bound to `key` nearest to `scope`, NULL if there is none. */
void *osri_value_from(const struct osr_scope *scope, const void *key);

/* ---- Cancelling ---- */

/* Cancels the scope, if it is not yet. `who` is a name. */
void osri_scope_cancel(struct sched *sched, struct osr_scope *scope, int code, const char *who, const char *where,
                       const char *text);

/* ---- What guards leave behind ---- */

/* A guard that was opened at `where`, and has no memory for more, leaves a code on the scope around. */
static inline void osri_scope_leave_code(struct osr_scope *scope, int code, const char *where)
{
    osri_scope_load(scope);
    if (scope->refusal_)
        return;
    scope->refusal_ = code;
    scope->refused_at_ = where;
}

/* Leaves what a guard's close gave, which is in `slot`, on the scope around. */
void osri_scope_leave_pending(struct sched *sched, struct osr_scope *scope, struct slot *slot, int rc,
                              const char *where);

int osri_scope_join_some_pending(struct sched *sched, struct osr_scope *scope, struct slot *slot, int rc,
                                 const char *where);

/* Joins what is pending to the outcome of the body: gives `rc`, or what the slot then holds. */
static inline int osri_scope_join_pending(struct sched *sched, struct osr_scope *scope, struct slot *slot, int rc,
                                          const char *where)
{
    if (likely(!scope->laden_))
        return rc;
    return osri_scope_join_some_pending(sched, scope, slot, rc, where);
}

/* The next scope in the tree of `top` after `at`, parents first, NULL at the end; with `over` the scopes below `at`
 * are passed over. */
struct osr_scope *osri_scope_walk(struct osr_scope *top, struct osr_scope *at, bool over);

#endif
