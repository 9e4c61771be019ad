/* The tree of scopes as the rules have it: R10, R11, R15, R18 to R22. */
#include "model/state.h"

/* ---- The tree ---- */

void scope_attach(struct scope *scope, struct task *owner, struct scope *parent, enum scope_form form, short place)
{
    *scope = (struct scope){.form = form, .owner = owner, .parent = parent, .place = place, .deadline = OSR_NEVER};
    scope->shielded = form == SHIELD;
    if (!parent)
        return;
    scope->previous = parent->last;
    if (parent->last)
        parent->last->next = scope;
    else
        parent->first = scope;
    parent->last = scope;
}

static void unlink_scope(struct scope *scope)
{
    struct scope *parent = scope->parent;

    if (!parent)
        return;
    if (scope->previous)
        scope->previous->next = scope->next;
    else
        parent->first = scope->next;
    if (scope->next)
        scope->next->previous = scope->previous;
    else
        parent->last = scope->previous;
    scope->next = scope->previous = NULL;
}

void scope_detach(struct scope *scope)
{
    timer_clear(&scope->timer);
    drop_calls(scope, 0);
    unlink_scope(scope);
    scope->ended = true;
}

/* The outermost cancelled scope up to the nearest shield: who absorbs (R20). */
struct scope *seen_by(const struct scope *scope)
{
    const struct scope *found = NULL, *at;

    for (at = scope; at; at = at->shielded && !wrong(WRONG_SHIELD_IGNORED) ? NULL : at->parent)
        if (at->cancelled && !(at->shielded && wrong(WRONG_SHIELD_HIDES_ALL)) && !(found && wrong(WRONG_INNER_ABSORBS)))
            found = at;
    return (struct scope *)found;
}

int64_t due_for(const struct scope *scope)
{
    int64_t due = OSR_NEVER;

    for (; scope; scope = scope->shielded && !wrong(WRONG_DEADLINE_IN_SHIELD) ? NULL : scope->parent)
        if (scope->deadline < due)
            due = scope->deadline;
    return due;
}

/* A call in `scope` came back refused or cut: every cancelled scope that it could see has cut it. */
void mark_cut(struct scope *scope)
{
    for (; scope; scope = scope->shielded ? NULL : scope->parent)
        if (scope->cancelled)
            scope->has_cut = true;
}

/* ---- Cancelling ---- */

/* Cuts the waits of all tasks below, those of the outer scopes first. */
static void cut_below(struct scope *top)
{
    struct task *task = top->owner;
    struct scope *at;

    if (task->inner == top && task->state == PARKED && !task->uncut) {
        task->was_cut = true;
        wake(task, -ECANCELED);
    }
    for (at = top->first; at; at = at->next)
        if (!at->shielded && !(at->next == NULL && at->previous && wrong(WRONG_SKIPS_A_CHILD)))
            cut_below(at);
}

void scope_cancel(struct scope *scope, int code, short who, short place)
{
    if (scope->cancelled)
        return;
    scope->cancelled = true;
    scope->reason = (struct reason){code, place, who};
    timer_clear(&scope->timer);
    trace(OSR_TRACE_CANCEL, scope->owner, NULL, scope->place, code);
    cut_below(scope);
}

void scope_move(struct scope *scope, struct scope *parent)
{
    unlink_scope(scope);
    scope->parent = parent;
    scope->previous = parent->last;
    if (parent->last)
        parent->last->next = scope;
    else
        parent->first = scope;
    parent->last = scope;
    if (seen_by(parent))
        cut_below(scope);
}

void scope_set_deadline(struct scope *scope, int64_t at)
{
    timer_clear(&scope->timer);
    scope->deadline = at;
    if (at != OSR_NEVER)
        scope->timer = timer_set(at, scope, NULL);
}

void scope_unshield(struct scope *scope)
{
    if (!scope->shielded)
        return;
    scope->shielded = false;
    if (seen_by(scope->parent))
        cut_below(scope);
}

/* ---- Which are open ---- */

void register_scope(struct scope *scope)
{
    if (model.open_scope_count == SCOPES)
        give_up();
    else
        model.open_scopes[model.open_scope_count++] = scope;
    if (scope->group)
        model.open_groups[model.open_group_count++] = scope->group;
}

void unregister_scope(const struct scope *scope)
{
    unsigned i, n;

    for (i = n = 0; i < model.open_scope_count; i++)
        if (model.open_scopes[i] != scope)
            model.open_scopes[n++] = model.open_scopes[i];
    model.open_scope_count = n;
    for (i = n = 0; scope->group && i < model.open_group_count; i++)
        if (model.open_groups[i] != scope->group)
            model.open_groups[n++] = model.open_groups[i];
    if (scope->group)
        model.open_group_count = n;
}

/* ---- Closing ---- */

/* What the scope gives in the place of the cancellation that it absorbs (R21). */
static int own_code(struct task *task, struct scope *scope)
{
    int code = scope->reason.code == -ETIMEDOUT ? -ETIMEDOUT : -OSR_ESCOPECANCELED;

    slot_clear(&task->slot);
    if (scope->form == MOVE_ON)
        return 0;
    return slot_put(&task->slot, error_new(code, scope->place));
}

static int settle_error(struct task *task, struct scope *scope, int rc, short place)
{
    bool absorbs = seen_by(scope) == scope, riding = task->slot.code == rc && task->slot.riding;
    struct error *error;
    struct slot kept;

    if (task->slot.code != rc)
        (void)slot_own(task, rc, place);
    if (!absorbs)
        return rc;
    if (riding) {
        scope->caught = true;
        task->slot.riding = false;
    }
    if ((scope->has_cut || riding) && scope->form != MOVE_ON) {
        error = slot_own(task, rc, place);
        kept = task->slot;
        (void)own_code(task, scope);
        error_append_cause(error, task->slot.error);
        task->slot = kept;
    }
    return rc;
}

int scope_settle(struct task *task, struct scope *scope, int rc, short place)
{
    if (rc < 0 && rc != -ECANCELED)
        return settle_error(task, scope, rc, place);
    if (rc != -ECANCELED && (!scope->has_cut || wrong(WRONG_IGNORED_CUT))) {
        slot_clear(&task->slot);
        return rc;
    }
    if (seen_by(scope) == scope) {
        scope->caught = true;
        return own_code(task, scope);
    }
    return slot_note(task, -ECANCELED, place);
}

/* The scope is closed, or the task of it ends: what it passes on has cut those further out. */
void scope_end(struct task *task, struct scope *scope, int rc)
{
    if (rc == -ECANCELED && !scope->shielded && seen_by(scope) != scope)
        mark_cut(scope->parent);
    scope_detach(scope);
    task->inner = scope->parent;
}

/* ---- What guards leave ---- */

void scope_leave_pending(struct task *task, struct scope *scope, int rc, short place)
{
    bool riding = task->slot.code == rc && task->slot.riding;
    struct error *error = slot_outcome(task, rc, place);

    if (wrong(WRONG_GUARD_SILENT))
        return;
    scope->pending_rides |= riding;
    if (!scope->pending)
        scope->pending = group_error_new(place, task->name, NOBODY);
    error_adopt(scope->pending, error);
}

/* Whether a cancellation that its body gave goes on beside an error: what a task or a group gives must be seen by it, what a
 * scope gives may have been passed through shields of its owner's. */
bool lets_cancel_go_on(const struct scope *scope)
{
    const struct scope *at = scope;

    if (scope->form == TASK || scope->form == GROUP)
        return seen_by(scope);
    while (at && at->owner == scope->owner && !seen_by(at))
        at = at->parent;
    return at && at->owner == scope->owner;
}

int scope_join_pending(struct task *task, struct scope *scope, int rc, short place)
{
    struct error *pending = scope->pending;
    bool riding;

    if (!pending)
        return rc;
    scope->pending = NULL;
    riding = scope->pending_rides || (rc == -ECANCELED && lets_cancel_go_on(scope)) ||
             (rc < 0 && task->slot.code == rc && task->slot.riding);
    if (rc < 0 && rc != -ECANCELED) {
        struct error *error = slot_outcome(task, rc, place);

        if (!error_stands_below(pending, error))
            error_adopt(pending, error);
    }
    if (pending->first == pending->last)
        pending = pending->first->error;
    rc = slot_put(&task->slot, pending);
    task->slot.riding = riding;
    return rc;
}
