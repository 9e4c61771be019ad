/* What a program's statements do: blocks, scopes, clean-ups, errors. */
#include "model/state.h"

/* ---- Frames ---- */

struct frame *top_frame(struct task *task)
{
    return &task->frames[task->depth];
}

const struct statement *statement_at(const struct task *task)
{
    return &model.program->statements[task->frames[task->depth].at];
}

short place_at(const struct task *task, bool close)
{
    return (short)(2 * task->frames[task->depth].at + close);
}

struct frame *push_frame(struct task *task, enum purpose purpose, int statement)
{
    struct frame *frame;

    if (task->depth + 1 == MOST_FRAMES) {
        give_up();
        task->depth = 0;
    }
    frame = &task->frames[++task->depth];
    *frame = (struct frame){.purpose = purpose, .statement = statement, .at = -1};
    frame->next = model.program->statements[statement].first;
    return frame;
}

/* Whether a scope around the task, be it behind shields, is there to take a cancellation up. */
static bool somebody_is_cancelled(const struct task *task)
{
    const struct scope *scope;

    for (scope = task->inner; scope && scope->owner == task; scope = scope->parent)
        if (seen_by(scope))
            return true;
    return false;
}

/* The statement is done: says so, and does what the program does about a failure. */
void finish(struct task *task, int rc)
{
    struct frame *frame = top_frame(task);
    const struct statement *at = statement_at(task);
    struct record *record = tell(RECORD_RESULT, 0);
    struct error *error;

    record->place = (short)frame->at;
    record->code = rc;
    if (rc >= 0)
        return;
    switch (at->on_failure) {
    case SWALLOW:
        return;
    case WRAP:
        rc = slot_wrap(task, rc, place_at(task, true));
        break;
    case LOOK_AT:
        error_tell(slot_error(task));
        break;
    case REPLACE:
        rc = REPLACED;
        break;
    case TAKE_RAISE:
        error = slot_error(task);
        if (error) {
            bool riding = task->slot.riding;

            error->riding = riding;
            rc = slot_put(&task->slot, error);
            task->slot.riding = riding && somebody_is_cancelled(task);
        } else {
            slot_clear(&task->slot);
        }
        break;
    default:
        break;
    }
    frame->rc = rc;
    frame->left = true;
}

/* ---- Clean-ups ---- */

/* Starts the next clean-up of the scope that the top frame closes; false if there is none left. */
bool run_cleanups(struct task *task)
{
    struct frame *closing = top_frame(task), *frame;
    struct cleanup *cleanup = closing->scope->cleanups;
    struct scope *shield;

    if (!cleanup)
        return false;
    if (model.scope_count == SCOPES) {
        give_up();
        return false;
    }
    if (wrong(WRONG_CLEANUPS_IN_ORDER) && cleanup->next) {
        struct cleanup *last = cleanup;

        for (; cleanup->next; cleanup = cleanup->next)
            last = cleanup;
        last->next = NULL;
    } else {
        closing->scope->cleanups = cleanup->next;
    }
    cleanup->scope = NULL;
    drop_calls(closing->scope, cleanup->order);
    frame = push_frame(task, FOR_CLEANUP, cleanup->statement);
    frame->kept = task->slot;
    slot_clear(&task->slot);
    shield = frame->scope = &model.scopes[model.scope_count++];
    scope_attach(shield, task, task->inner, wrong(WRONG_CLEANUP_CUT) ? TIMEOUT : SHIELD,
                 (short)(2 * cleanup->statement));
    if (grace_of(model.program->statements[cleanup->statement].a) != OSR_NEVER)
        scope_set_deadline(shield, model.now + grace_of(model.program->statements[cleanup->statement].a));
    task->inner = shield;
    return true;
}

static bool is_guard(const struct frame *frame)
{
    return (frame->purpose == FOR_SCOPE || frame->purpose == FOR_GROUP) &&
           guarded(&model.program->statements[frame->statement]);
}

/* The place of a close: what closes by itself does so where it was opened. */
static short closing_place(const struct task *task, const struct frame *frame)
{
    if (frame->purpose == FOR_TASK)
        return task->place;
    return (short)(2 * frame->statement + !(frame->purpose == FOR_CLEANUP || is_guard(frame)));
}

/* A clean-up of the top frame's scope has failed. */
static void note_failure(struct task *task, struct error *error)
{
    struct frame *closing = top_frame(task);
    struct group *group = closing->group;
    int rc;

    if (group) {
        if (error_contains(group->tree, error) || error_contains(group->losses, error))
            return; /* it stands there already */
        if (!group->tree)
            group->tree = group_error_new(group->scope.place, task->name, (short)group->number);
        group->errors++;
        error_adopt(group->tree, error);
        return;
    }
    if (!closing->failures) {
        closing->failures = group_error_new(closing->scope->place, task->name, NOBODY);
        rc = closing->rc == -ECANCELED && !lets_cancel_go_on(closing->scope) ? -OSR_ESPURIOUS : closing->rc;
        if (rc < 0 && rc != -ECANCELED)
            error_adopt(closing->failures, slot_outcome(task, rc, closing_place(task, closing)));
    }
    if (!error_contains(closing->failures, error))
        error_adopt(closing->failures, error);
}

/* What the body and the clean-ups came to together. */
static int join_failures(struct task *task)
{
    struct frame *closing = top_frame(task);
    bool riding = closing->riding || (closing->rc == -ECANCELED && lets_cancel_go_on(closing->scope));

    if (!closing->failures)
        return closing->rc;
    closing->rc = slot_put(&task->slot, closing->failures);
    task->slot.riding = riding;
    return closing->rc;
}

/* ---- Closing ---- */

static void close_scope(struct task *task);

static void go_on_closing(struct task *task)
{
    struct frame *closing = top_frame(task);

    if (run_cleanups(task))
        return;
    switch (closing->purpose) {
    case FOR_TASK:
        join_failures(task);
        task_cleaned_up(task);
        break;
    case FOR_GROUP:
    case FOR_GATHER:
        finish_group(task);
        break;
    default:
        join_failures(task);
        close_scope(task);
    }
}

static void begin_closing(struct task *task)
{
    struct frame *closing = top_frame(task);

    closing->riding = closing->rc < 0 && task->slot.code == closing->rc && task->slot.riding;
    go_on_closing(task);
}

void read_scope_closed(const struct scope *scope)
{
    struct record *record;

    tell_value(VALUE_SCOPE_CAUGHT, scope->caught, 0);
    if (!scope->cancelled)
        return;
    record = tell(RECORD_VALUE, VALUE_REASON);
    record->code = scope->reason.code;
    record->place = scope->reason.place;
    record->name = scope->reason.who;
}

/* What a clean-up came to goes to the scope whose clean-up it was. */
static void end_cleanup(struct task *task, int rc)
{
    struct frame *frame = top_frame(task);
    struct error *error = NULL;
    short place = (short)(2 * frame->statement);

    if (rc < 0)
        error = slot_outcome(task, rc == -ECANCELED ? -OSR_ESPURIOUS : rc, place);
    task->slot = frame->kept;
    task->depth--;
    if (error)
        note_failure(task, error);
    go_on_closing(task);
}

static void close_scope(struct task *task)
{
    struct frame *frame = top_frame(task);
    struct scope *scope = frame->scope;
    bool cleanup = frame->purpose == FOR_CLEANUP, guard = is_guard(frame);
    short place = closing_place(task, frame);
    int rc = scope_settle(task, scope, frame->rc, place);

    scope_end(task, scope, rc);
    if (cleanup) {
        end_cleanup(task, rc);
        return;
    }
    unregister_scope(scope);
    if (guard) {
        if (rc < 0 && rc != -ECANCELED)
            scope_leave_pending(task, scope->parent, rc, place);
        task->slot = frame->kept;
        rc = frame->kept_rc;
    }
    task->depth--;
    if (!guard)
        read_scope_closed(scope);
    finish(task, rc);
}

/* The body of a scope has ended. */
static void end_scope_body(struct task *task)
{
    struct frame *frame = top_frame(task);

    if (is_guard(frame)) {
        frame->kept = task->slot;
        frame->kept_rc = frame->rc;
        slot_clear(&task->slot);
        frame->rc = 0;
    }
    frame->rc = scope_join_pending(task, frame->scope, frame->rc, closing_place(task, frame));
    begin_closing(task);
}

static void end_repeat(struct task *task)
{
    struct frame *frame = top_frame(task);
    int rc = frame->rc;

    if (!frame->left && --frame->times > 0 && model.executed < MOST_STEPS) {
        model.executed++;
        frame->next = model.program->statements[frame->statement].first;
        return;
    }
    task->depth--;
    finish(task, rc);
}

static void end_lock(struct task *task)
{
    struct frame *frame = top_frame(task);
    int rc = frame->rc;

    release_lock(frame->lock);
    task->depth--;
    tell_value(VALUE_RESULT, 0, 0);
    finish(task, rc);
}

static void end_permit(struct task *task)
{
    struct frame *frame = top_frame(task);
    int rc = frame->rc;

    release_permit(frame->limiter);
    task->depth--;
    tell_value(VALUE_RESULT, 0, 0);
    finish(task, rc);
}

static void end_block(struct task *task)
{
    switch (top_frame(task)->purpose) {
    case FOR_TASK:
        task_body_ended(task);
        task->scope->bindings = NULL; /* which were in the frame of its function */
        top_frame(task)->rc = scope_join_pending(task, task->scope, top_frame(task)->rc, task->place);
        begin_closing(task);
        break;
    case FOR_GROUP:
        end_group_body(task);
        break;
    case FOR_SCOPE:
    case FOR_CLEANUP:
        end_scope_body(task);
        break;
    case FOR_LOCK:
        end_lock(task);
        break;
    case FOR_PERMIT:
        end_permit(task);
        break;
    case FOR_GATHER:
        break; /* it has no block */
    case FOR_REPEAT:
        end_repeat(task);
    }
}

/* ---- Statements ---- */

static void do_sleep(struct task *task, int64_t at, const char *call)
{
    if (!enter(task, place_at(task, false)))
        return;
    if (at <= model.now) {
        task->rc = 0;
        task->result = 0;
        task->where = place_at(task, false);
        pause_task(task, wait_over);
        return;
    }
    if (at != OSR_NEVER)
        task->timer = timer_of_wait(task, at, 0);
    park(task, NULL, call, place_at(task, false), wait_over);
}

static void do_fail(struct task *task, int code, bool fatal)
{
    struct error *error = error_new(code, place_at(task, false));

    slot_put(&task->slot, error);
    if (fatal) {
        error->fatal = true;
        if (!model.fatal && !wrong(WRONG_FATAL_LOST))
            model.fatal = error;
        scope_cancel(model.tasks[0].scope, code, task->name, error->place);
    }
    finish(task, code);
}

static void do_scope(struct task *task)
{
    static const enum scope_form forms[] = {TIMEOUT, MOVE_ON, SHIELD, TIMEOUT, SHIELD};
    const struct statement *at = statement_at(task);
    enum form form = form_of(at);
    struct frame *frame;
    struct scope *scope;
    int64_t limit = OSR_NEVER;

    if (model.scope_count == SCOPES) {
        give_up();
        return;
    }
    if (form == FORM_SHIELD)
        limit = model.now + stretched(at, grace_of(at->b));
    else if (form < FORM_SHIELD && by_moment(at))
        limit = moment_in(at, at->b, model.now);
    else if (form < FORM_SHIELD && duration_of(at->b) != OSR_NEVER)
        limit = model.now + stretched(at, duration_of(at->b));
    scope = &model.scopes[model.scope_count++];
    scope_attach(scope, task, task->inner, forms[form], place_at(task, false));
    scope_set_deadline(scope, limit);
    task->inner = scope;
    register_scope(scope);
    frame = push_frame(task, FOR_SCOPE, top_frame(task)->at);
    frame->scope = scope;
}

static int touch_scope(struct task *task, struct scope *scope)
{
    const struct statement *at = statement_at(task);

    if (scope->ended)
        return slot_note(task, -OSR_ECLOSED, at->op == OP_CANCEL ? place_at(task, false) : NOWHERE);
    if (at->op == OP_CANCEL) {
        scope_cancel(scope, -ECANCELED, task->name, place_at(task, false));
    } else if (at->op == OP_UNSHIELD) {
        scope_unshield(scope);
    } else {
        if (scope->cancelled)
            return slot_note(task, -EALREADY, NOWHERE);
        scope_set_deadline(scope, moment_in(at, at->b, model.now));
    }
    return 0;
}

static void do_ask(struct task *task)
{
    struct scope *scope = model.open_scopes[pick_of(statement_at(task)->a, model.open_scope_count)];

    tell_value(VALUE_NOW, model.now, 0);
    tell_value(VALUE_CANCELLED, seen_by(task->inner) != NULL, 0);
    tell_value(VALUE_DEADLINE, due_for(task->inner), 0);
    tell_value(VALUE_SCOPE_CANCELLED, scope->cancelled, 0);
    tell_value(VALUE_SCOPE_DEADLINE, scope->deadline, 0);
    if (scope->group)
        tell_value(VALUE_RUNNING, scope->group->running, 0);
    read_scope_closed(scope);
    finish(task, 0);
}

static void do_defer(struct task *task)
{
    struct cleanup *cleanup;

    if (model.deferred == MOST_CLEANUPS) {
        finish(task, 0);
        return;
    }
    cleanup = &model.cleanups[model.deferred++];
    *cleanup = (struct cleanup){.next = task->inner->cleanups,
                                .statement = top_frame(task)->at,
                                .scope = task->inner,
                                .owner = task,
                                .order = ++model.bound};
    task->inner->cleanups = cleanup;
    finish(task, 0);
}

/* Takes a clean-up back. */
static void do_undefer(struct task *task)
{
    struct cleanup *cleanup, **link;

    cleanup = model.deferred ? &model.cleanups[pick_of(statement_at(task)->a, model.deferred)] : NULL;
    if (!cleanup || !cleanup->scope) {
        finish(task, -ESTALE); /* an answer: the slot is left alone */
        return;
    }
    if (cleanup->owner != task) {
        finish(task, slot_note(task, -EPERM, NOWHERE));
        return;
    }
    for (link = &cleanup->scope->cleanups; *link != cleanup; link = &(*link)->next)
        continue;
    if (!wrong(WRONG_TAKEN_BACK_RUNS))
        *link = cleanup->next;
    cleanup->scope = NULL;
    finish(task, 0);
}

static void do_take(struct task *task)
{
    struct error *error = slot_error(task);

    if (error)
        error->riding = task->slot.riding;
    slot_clear(&task->slot);
    task->held = error;
    tell_value(VALUE_TAKEN, error != NULL, error ? error->code : 0);
    finish(task, 0);
}

static void do_raise(struct task *task)
{
    struct error *error = task->held;

    if (!error) {
        finish(task, 0);
        return;
    }
    task->held = NULL;
    slot_put(&task->slot, error);
    task->slot.riding = error->riding && somebody_is_cancelled(task);
    finish(task, error->code);
}

static void leave_block(struct task *task, int rc)
{
    struct frame *frame = top_frame(task);

    frame->rc = rc;
    frame->left = true;
}

static void do_plain(struct task *task)
{
    const struct statement *at = statement_at(task);

    switch (at->op) {
    case OP_YIELD:
        do_sleep(task, 0, NULL);
        break;
    case OP_CHECK:
        if (enter(task, place_at(task, false)))
            done_at_once(task, 0);
        break;
    case OP_SLEEP:
        do_sleep(task, duration_of(at->a) == OSR_NEVER ? OSR_NEVER : model.now + stretched(at, duration_of(at->a)),
                 "osr_sleep");
        break;
    case OP_SLEEP_UNTIL:
        do_sleep(task, moment_in(at, at->a, model.now), "osr_sleep_until");
        break;
    case OP_RETURN:
        leave_block(task, at->a % 4);
        break;
    case OP_BARE:
        leave_block(task, bare_code_of(at->a));
        break;
    case OP_FAIL:
    case OP_FATAL:
        do_fail(task, code_of(at->a), at->op == OP_FATAL);
        break;
    case OP_CANCEL:
    case OP_UNSHIELD:
    case OP_DEADLINE:
        finish(task, touch_scope(task, model.open_scopes[pick_of(at->a, model.open_scope_count)]));
        break;
    case OP_SCOPE:
        do_scope(task);
        break;
    case OP_REPEAT:
        push_frame(task, FOR_REPEAT, top_frame(task)->at)->times = times_of(at);
        break;
    case OP_DEFER:
        do_defer(task);
        break;
    case OP_UNDEFER:
        do_undefer(task);
        break;
    case OP_TAKE:
        do_take(task);
        break;
    case OP_RAISE:
        do_raise(task);
        break;
    case OP_EMPTY:
        slot_clear(&task->slot);
        finish(task, 0);
        break;
    case OP_LOOK:
        error_tell(slot_error(task));
        finish(task, 0);
        break;
    default:
        do_ask(task);
    }
}

static void execute(struct task *task)
{
    switch (statement_at(task)->op) {
    case OP_GROUP:
        open_group(task);
        break;
    case OP_SPAWN:
        do_spawn(task);
        break;
    case OP_START:
        do_start(task);
        break;
    case OP_STARTED:
        do_started(task);
        break;
    case OP_JOIN:
        do_join(task);
        break;
    case OP_STATE:
    case OP_RELEASE:
    case OP_SELF:
    case OP_CANCEL_TASK:
        do_handle(task);
        break;
    case OP_NEXT:
        do_next(task);
        break;
    case OP_GATHER:
        do_gather(task);
        break;
    case OP_CALL:
    case OP_CALL_BACK:
        do_call(task);
        break;
    case OP_POST:
    case OP_FIRE:
    case OP_POST_CLOSE:
        do_post(task);
        break;
    case OP_OFFLOAD:
        do_offload(task);
        break;
    case OP_BIND:
    case OP_VALUE:
        do_value(task);
        break;
    case OP_READ:
    case OP_WRITE:
    case OP_WRITE_ALL:
    case OP_READABLE:
    case OP_WRITABLE:
    case OP_FD_CLOSE:
    case OP_OUTSIDER:
        do_stream(task);
        break;
    default:
        if (!do_sync(task))
            do_plain(task);
    }
}

void execute_next(struct task *task)
{
    struct frame *frame = top_frame(task);

    if (frame->left || frame->next < 0 || model.executed >= MOST_STEPS) {
        end_block(task);
        return;
    }
    frame->at = frame->next;
    frame->next = model.program->statements[frame->at].next;
    model.executed++;
    execute(task);
}
