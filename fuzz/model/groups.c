/* Groups, tasks and handles as the rules have them: R1 to R9, R16. */
#include "model/state.h"

/* ---- Opening ---- */

struct frame *push_group(struct task *task, enum purpose purpose)
{
    const struct statement *at = statement_at(task);
    struct frame *frame;
    struct group *group;

    if (model.group_count == GROUPS) {
        give_up();
        model.group_count = 0;
    }
    group = &model.groups[model.group_count++];
    memset(group, 0, offsetof(struct group, records));
    group->record_count = 0;
    group->statement = at;
    group->number = top_frame(task)->at;
    group->limit = (unsigned)limit_of(at);
    scope_attach(&group->scope, task, task->inner, GROUP, place_at(task, false));
    group->scope.group = group;
    task->inner = &group->scope;
    frame = push_frame(task, purpose, group->number);
    frame->group = group;
    frame->scope = &group->scope;
    return frame;
}

void open_group(struct task *task)
{
    struct scope *scope = push_group(task, FOR_GROUP)->scope;

    if (scope->group->number == 1 && model.program->streams)
        scope_set_deadline(scope, STREAMS_END);
    register_scope(scope);
}

/* ---- Outcomes ---- */

static int policy(const struct group *group)
{
    return policy_of(group->statement);
}

static void count_failure(struct group *group, short who, struct error *error)
{
    if ((error_contains(group->tree, error) || error_contains(group->losses, error)) && !wrong(WRONG_TWICE))
        return; /* got by joining, or raised again: it stands here already */
    if (group->errors > 0 && wrong(WRONG_SECOND_ERROR))
        return;
    group->errors++;
    if ((policy(group) == OSR_FAIL_FAST || policy(group) == OSR_FIRST_DONE) && !wrong(WRONG_SIBLINGS_LIVE))
        scope_cancel(&group->scope, error->code, who, error->place);
    if (!group->tree)
        group->tree = group_error_new(group->scope.place, group->scope.owner->name, (short)group->number);
    error_adopt(group->tree, error);
}

static void count_outcome(struct group *group, short who, const struct outcome *outcome)
{
    if (outcome->rc >= 0)
        return;
    if (outcome->passed_on)
        group->passed_on = true;
    if ((outcome->passed_on || !outcome->error) && !wrong(WRONG_CUT_IS_ERROR))
        group->cancelled++;
    if (outcome->error)
        count_failure(group, who, outcome->error);
}

/* ---- Places under the limit ---- */

static void cancel_daemons(struct group *group)
{
    struct scope *scope;

    for (scope = group->scope.first; scope; scope = scope->next)
        if (scope->form == TASK)
            scope_cancel(scope, -ECANCELED, NOBODY, group->scope.place);
}

/* As soon as only daemons are left, they are cancelled (R9). */
void look_for_daemons(struct group *group)
{
    if (group->closing && group->running > 0 && group->running == group->daemons && !wrong(WRONG_DAEMONS_KEPT))
        cancel_daemons(group);
}

static void free_place(struct group *group)
{
    if (group->spawners.first) {
        wake(first_in(&group->spawners), 0);
        return;
    }
    group->running--;
    if (group->closing && group->running == 0) {
        group->scope.ended = true;
        wake(first_in(&group->closer), 0);
        return;
    }
    look_for_daemons(group);
}

/* ---- Handles ---- */

static void dismiss_nexts(struct group *group)
{
    while (group->nexts.first)
        wake(first_in(&group->nexts), 0);
}

static void group_awaits(struct group *group, struct handle_record *record)
{
    record->group = group;
    group->awaited++;
}

static void tell_next(struct group *group, struct handle_record *record, struct task *task)
{
    struct handle_record **link = &group->ended;

    while (*link != record)
        link = &(*link)->next_ended;
    *link = record->next_ended;
    task->told = (struct told){record, record->generation};
}

/* Which handle was told, in the order in which they were made. */
static void tell_handle(const struct task *task)
{
    int found = -1;
    unsigned i;

    for (i = 0; i < model.handle_count; i++)
        if (model.handles[i].record == task->told.record && model.handles[i].generation == task->told.generation)
            found = (int)i;
    tell_value(VALUE_HANDLE, found, 0);
}

static void group_told(struct group *group, struct handle_record *record)
{
    struct handle_record **link = &group->ended;
    struct task *next = first_in(&group->nexts);

    while (*link)
        link = &(*link)->next_ended;
    *link = record;
    record->next_ended = NULL;
    group->awaited--;
    if (next) {
        tell_next(group, record, next);
        wake(next, 1);
    }
    if (group->awaited == 0)
        dismiss_nexts(group);
}

static void record_unkeep(struct handle_record *record)
{
    struct handle_record **link;

    record->generation += !wrong(WRONG_HANDLE_LIVES);
    record->kept = false;
    if (record->group && record->task && --record->group->awaited == 0)
        dismiss_nexts(record->group);
    if (record->group && !record->task)
        for (link = &record->group->ended; *link; link = &(*link)->next_ended)
            if (*link == record) {
                *link = record->next_ended;
                break;
            }
}

static struct handle_record *record_new(struct task *task)
{
    struct handle_record *record;

    if (model.record_count == RECORDS) {
        give_up();
        model.record_count = 0;
    }
    record = &model.records[model.record_count++];
    *record = (struct handle_record){.task = task};
    return record;
}

static void record_end(struct task *task, const struct outcome *outcome)
{
    struct handle_record *record = task->record;

    record->task = NULL;
    record->state = outcome->rc >= 0 ? OSR_TASK_DONE : outcome->error ? OSR_TASK_FAILED : OSR_TASK_CANCELED;
    record->rc = record->state != OSR_TASK_CANCELED  ? outcome->rc
                 : wrong(WRONG_JOIN_CANCELED) ? -ECANCELED
                                              : -OSR_ETASKCANCELED;
    record->error = outcome->error;
    while (record->joiners.first)
        wake(first_in(&record->joiners), 0);
    if (record->kept && record->group)
        group_told(record->group, record);
    if (!record->kept)
        record->generation++;
}

/* ---- The end of a task ---- */

static bool is_fatal(const struct error *error)
{
    const struct link *link;

    if (!error || !error->is_group)
        return error && error->fatal;
    for (link = error->first; link; link = link->next)
        if (is_fatal(link->error))
            return true;
    return false;
}

/* What goes to a place of the spawner's; gives what is left for the group. */
static struct outcome tell_spawner(struct task *task, const struct outcome *outcome)
{
    struct outcome left = *outcome;
    struct outcome_cell *cell = task->cell;

    if (!cell)
        return left;
    cell->rc = outcome->rc < 0 && !outcome->error ? -OSR_ETASKCANCELED : outcome->rc;
    if (task->options & WITH_OUTCOME) {
        cell->error = outcome->error;
        if (!outcome->error || is_fatal(outcome->error)) /* that is a failure all the same */
            return left;
        left.error = NULL;
        left.rc = outcome->passed_on ? -ECANCELED : 0;
    }
    return left;
}

static bool wins(const struct task *task, const struct outcome *outcome)
{
    if (task->group->winner || task->options & DAEMON)
        return false;
    if (policy(task->group) == OSR_FIRST_DONE)
        return outcome->error || !outcome->passed_on; /* who was cut with the whole group has not come first */
    return policy(task->group) == OSR_FIRST_SUCCESS && (outcome->rc >= 0 || wrong(WRONG_LOSER_WINS));
}

static void child_ended(struct task *task, const struct outcome *outcome)
{
    struct group *group = task->group;
    struct outcome left = tell_spawner(task, outcome);
    bool won = wins(task, outcome);

    if (won) {
        group->winner = task->index;
        if (policy(group) == OSR_FIRST_SUCCESS && !is_fatal(group->tree)) {
            group->losses = group->tree;
            group->tree = NULL;
            group->errors = 0;
        }
    }
    count_outcome(group, task->name, &left);
    if (won)
        scope_cancel(&group->scope, -ECANCELED, task->name, task->place);
    if (task->options & DAEMON)
        group->daemons--;
    free_place(group);
}

static void ended_unstarted(struct task *task, const struct outcome *outcome)
{
    (void)tell_spawner(task, outcome);
    if (task->options & DAEMON)
        task->group->daemons--;
    if (wrong(WRONG_START_ADOPTS))
        count_outcome(task->group, task->name, outcome);
    task->starting->outcome = *outcome;
    task->starting->cancelled = seen_by(&task->starting->scope) != NULL;
    wake(task->starting->starter, 0);
}

static struct outcome judge(struct task *task, int rc)
{
    struct scope *scope = task->scope;
    bool absorbs = seen_by(scope) == scope;
    struct outcome outcome;

    outcome = (struct outcome){.rc = rc};
    if (rc >= 0)
        return outcome;
    if (rc == -ECANCELED && seen_by(scope)) {
        outcome.passed_on = !absorbs;
        return outcome;
    }
    outcome.rc = rc == -ECANCELED ? -OSR_ESPURIOUS : rc;
    outcome.passed_on = task->slot.code == rc && task->slot.riding && !absorbs;
    outcome.error = slot_outcome(task, outcome.rc, task->place);
    return outcome;
}

static void tell_cells(void)
{
    unsigned i;

    for (i = 0; i < model.cell_count; i++) {
        if (model.cells[i].gathered)
            continue;
        tell_value(VALUE_OUTCOME, model.cells[i].options & WITH_OUTCOME, model.cells[i].rc);
        if (model.cells[i].options & WITH_OUTCOME && model.cells[i].error)
            error_tell(model.cells[i].error);
    }
}

/* The root reads, after its group, what is left. */
void task_body_ended(struct task *task)
{
    if (task->number != 1)
        return;
    tell_cells();
    sync_tell();
}

void task_cleaned_up(struct task *task)
{
    struct outcome outcome = judge(task, top_frame(task)->rc);

    trace(OSR_TRACE_END, task, NULL, task->place, outcome.rc);
    scope_end(task, task->scope, outcome.rc);
    if (task->record)
        record_end(task, &outcome);
    if (task->number == 1) {
        model.root = outcome;
        model.finished = true;
    } else if (task->starting) {
        ended_unstarted(task, &outcome);
    } else {
        child_ended(task, &outcome);
    }
    leave_for_good(task);
}

/* ---- Spawning ---- */

static short spawn_place(const struct task *task)
{
    return place_at(task, false);
}

/* The innermost one of the task's own, else that of which it is a child; or any that is open. */
struct group *group_meant(const struct task *task, unsigned char operand)
{
    const struct scope *scope;

    if (operand % 8 != 0)
        return model.open_groups[pick_of(operand % 8 - 1, model.open_group_count)];
    for (scope = task->inner; scope && scope->owner == task; scope = scope->parent)
        if (scope->group)
            return scope->group;
    return task->home;
}

struct task *make_child(struct task *spawner, struct group *group, struct scope *parent, unsigned options)
{
    struct task *child = task_new((short)top_frame(spawner)->at, parent);

    child->group = child->home = group;
    child->options = options;
    child->index = ++group->spawned;
    if (options & WITH_HANDLE) {
        child->record = record_new(child);
        child->record->kept = true;
        group->records[group->record_count++] = child->record;
    }
    if (options & DAEMON)
        group->daemons++;
    if (options & (WITH_RESULT | WITH_OUTCOME)) {
        child->cell = &model.cells[model.cell_count++];
        *child->cell = (struct outcome_cell){.options = options, .rc = 0};
    }
    trace(OSR_TRACE_SPAWN, child, NULL, child->place, 0);
    return child;
}

static void keep_handle(struct task *child)
{
    if (!(child->options & WITH_HANDLE))
        return;
    if (model.handle_count == HANDLES)
        give_up();
    else
        model.handles[model.handle_count++] = (struct handle){child->record, 0};
}

/* An eager child has let its spawner go on. */
static void spawned_eagerly(struct task *task)
{
    keep_handle(&model.tasks[task->rc]);
    finish(task, 0);
}

static void spawn_now(struct task *task)
{
    struct group *group = task->into;
    struct task *child = make_child(task, group, &group->scope, spawn_options_of(statement_at(task)));

    if (child->record)
        group_awaits(group, child->record);
    look_for_daemons(group);
    if (child->options & EAGER && !wrong(WRONG_EAGER_QUEUES)) {
        child->eager_for = task;
        task->state = READY;
        task->rc = (int)(child - model.tasks);
        task->then = spawned_eagerly;
        model.next = child;
        model.has_left = true;
        return;
    }
    make_ready(child);
    keep_handle(child);
    finish(task, 0);
}

static void start_now(struct task *task);

static void got_place(struct task *task)
{
    if (task->was_cut) {
        wait_over(task);
        return;
    }
    if (statement_at(task)->op == OP_START)
        start_now(task);
    else
        spawn_now(task);
}

/* Takes a place under the group's limit, if there is one. */
bool takes_place(struct group *group)
{
    if (group->limit > 0 && group->running >= group->limit + wrong(WRONG_LIMIT))
        return false;
    group->running++;
    return true;
}

static void take_place(struct task *task)
{
    struct group *group = task->into;

    if (takes_place(group)) {
        task->was_cut = false;
        got_place(task);
    } else if (enter(task, spawn_place(task))) {
        park(task, &group->spawners, "osr_spawn", spawn_place(task), got_place);
    }
}

void do_spawn(struct task *task)
{
    if (model.attempts++ >= MOST_TASKS) {
        finish(task, 0);
        return;
    }
    task->into = group_meant(task, statement_at(task)->a);
    if (task->into->scope.ended)
        finish(task, slot_note(task, -OSR_ECLOSED, spawn_place(task)));
    else
        take_place(task);
}

/* ---- Starting ---- */

static void start_over(struct task *task)
{
    struct starting *starting = &model.startings[task->rc];
    const struct outcome *outcome = &starting->outcome;
    short place = spawn_place(task);

    scope_detach(&starting->scope);
    if (starting->started) {
        keep_handle(starting->child);
        finish(task, 0);
        return;
    }
    if (starting->child->record && starting->child->record->kept)
        record_unkeep(starting->child->record); /* the group will never have had this child */
    free_place(starting->child->group);
    if (outcome->error) {
        slot_put(&task->slot, outcome->error);
        task->slot.riding = outcome->passed_on;
        finish(task, outcome->rc);
    } else if (starting->cancelled) {
        mark_cut(task->inner);
        finish(task, slot_note(task, -ECANCELED, place));
    } else {
        finish(task, slot_note(task, outcome->rc < 0 ? -OSR_ETASKCANCELED : -OSR_ENOTSTARTED, place));
    }
}

static void start_now(struct task *task)
{
    struct starting *starting = &model.startings[model.starting_count];

    task->rc = (int)model.starting_count++;
    *starting = (struct starting){.starter = task};
    scope_attach(&starting->scope, task, task->inner, START, spawn_place(task));
    starting->child = make_child(task, task->into, &starting->scope, spawn_options_of(statement_at(task)));
    starting->child->scope->values = &task->into->scope;
    starting->child->starting = starting;
    make_ready(starting->child);
    task->uncut = true;
    task->was_cut = false;
    park(task, NULL, "osr_start", spawn_place(task), start_over);
}

void do_start(struct task *task)
{
    const struct statement *at = statement_at(task);

    if (model.attempts++ >= MOST_TASKS) {
        finish(task, 0);
        return;
    }
    task->into = group_meant(task, at->a);
    if (!enter(task, spawn_place(task)))
        return;
    if (task->into->scope.ended)
        finish(task, slot_note(task, -OSR_ECLOSED, spawn_place(task)));
    else if (spawn_options_of(at) & (EAGER | WITH_OUTCOME))
        finish(task, slot_note(task, -EINVAL, spawn_place(task)));
    else
        take_place(task);
}

void do_started(struct task *task)
{
    struct starting *starting = task->starting;

    if (!starting) {
        finish(task, slot_note(task, task->has_started ? -EALREADY : -EINVAL, NOWHERE));
        return;
    }
    if (seen_by(&starting->scope)) {
        if (seen_by(task->inner))
            mark_cut(task->inner);
        finish(task, slot_note(task, -ECANCELED, NOWHERE));
        return;
    }
    task->starting = NULL;
    task->has_started = true;
    scope_move(task->scope, &task->group->scope);
    if (task->record && task->record->kept)
        group_awaits(task->group, task->record);
    starting->started = true;
    look_for_daemons(task->group);
    wake(starting->starter, 0);
    finish(task, 0);
}

/* ---- Closing ---- */

/* What closes by itself does so where it was opened. */
static short closing_place(const struct frame *frame)
{
    bool itself = frame->purpose == FOR_GATHER || guarded(frame->group->statement);

    return (short)(2 * frame->group->number + !itself);
}

static void close_cleanups(struct task *task)
{
    struct group *group = top_frame(task)->group;

    group->scope.ended = true;
    if (!run_cleanups(task))
        finish_group(task);
}

void end_group_body(struct task *task)
{
    struct frame *frame = top_frame(task);
    struct group *group = frame->group;
    bool guard = guarded(group->statement);
    short place = closing_place(frame);
    struct outcome outcome;
    int rc;

    if (guard) {
        frame->kept = task->slot;
        frame->kept_rc = frame->rc;
        slot_clear(&task->slot);
        frame->rc = 0;
        scope_cancel(&group->scope, -ECANCELED, task->name, group->scope.place);
    }
    rc = scope_join_pending(task, &group->scope, frame->rc, place);
    outcome = (struct outcome){.rc = rc};
    if (rc == -ECANCELED && seen_by(&group->scope)) {
        outcome.passed_on = true;
    } else if (rc < 0) {
        outcome.rc = rc == -ECANCELED ? -OSR_ESPURIOUS : rc;
        outcome.passed_on = task->slot.code == rc && task->slot.riding;
        outcome.error = slot_outcome(task, outcome.rc, place);
    }
    slot_clear(&task->slot);
    group->body_passed_on = outcome.passed_on;
    count_outcome(group, task->name, &outcome);
    if (group->running == 0 && model_budget == 1) {
        group->scope.ended = true;
        pause_task(task, close_cleanups);
        return;
    }
    if (group->running == 0) {
        close_cleanups(task);
        return;
    }
    group->closing = true;
    look_for_daemons(group);
    task->uncut = true;
    task->was_cut = false;
    park(task, &group->closer, "osr_group_close", place, close_cleanups);
}

static int conclude_group(struct task *task, struct group *group, int rc, short place)
{
    /* A group that has a winner has what it was to wait for: only its body passes a cancellation on. */
    bool absorbs = seen_by(&group->scope) == &group->scope, goes_on = group->passed_on && !absorbs;
    struct error *tree = group->tree;

    if (group->passed_on && absorbs)
        group->scope.caught = true;
    if (group->errors > 0) {
        tree->cancelled = group->cancelled;
        if (unwraps(group->statement) && group->errors == 1)
            tree = tree->first->error;
        slot_put(&task->slot, tree);
        task->slot.riding = goes_on;
        return tree->code;
    }
    if (goes_on && (group->body_passed_on || !group->winner))
        return slot_note(task, -ECANCELED, place);
    slot_clear(&task->slot);
    return rc > 0 ? rc : 0;
}

static void tell_policy(const struct group *group)
{
    if (policy(group) < OSR_FIRST_DONE)
        return;
    tell_value(VALUE_WINNER, 0, group->winner ? (int)group->winner - 1 : -ENOENT);
    error_tell(group->losses);
}

void finish_group(struct task *task)
{
    struct frame *frame = top_frame(task);
    struct group *group = frame->group;
    bool guard = guarded(group->statement);
    short place = closing_place(frame);
    int rc = conclude_group(task, group, frame->rc, place);
    unsigned i;

    for (i = 0; i < group->record_count; i++)
        if (group->records[i]->kept)
            record_unkeep(group->records[i]);
    scope_end(task, &group->scope, rc);
    unregister_scope(&group->scope);
    if (guard) {
        if (rc < 0 && rc != -ECANCELED)
            scope_leave_pending(task, group->scope.parent, rc, place);
        task->slot = frame->kept;
        rc = frame->kept_rc;
    }
    if (frame->purpose == FOR_GATHER)
        end_gather(task);
    task->depth--;
    if (!guard && frame->purpose == FOR_GROUP) {
        read_scope_closed(&group->scope);
        tell_policy(group);
    }
    finish(task, rc);
}

/* ---- In the order of completion ---- */

static void next_over(struct task *task)
{
    if (task->result == 1)
        tell_handle(task);
    wait_over(task);
}

static void told_at_once(struct task *task)
{
    tell_handle(task);
    finish(task, 1);
}

void do_next(struct task *task)
{
    struct group *group = group_meant(task, statement_at(task)->a);

    if (!enter(task, place_at(task, false)))
        return;
    if (group->ended) {
        tell_next(group, group->ended, task);
        if (--task->budget == 0)
            pause_task(task, told_at_once);
        else
            told_at_once(task);
    } else if (group->awaited == 0) {
        done_at_once(task, 0);
    } else {
        park(task, &group->nexts, "osr_group_next", place_at(task, false), next_over);
    }
}

/* ---- Handles ---- */

/* The handle that is meant; NULL if there is none, or it is stale. */
static struct handle_record *record_meant(const struct task *task, unsigned *index)
{
    struct handle handle;

    if (model.handle_count == 0)
        return NULL;
    *index = pick_of(statement_at(task)->a, model.handle_count);
    handle = model.handles[*index];
    return handle.record && handle.record->generation == handle.generation ? handle.record : NULL;
}

static int read_outcome(struct task *task, const struct handle_record *record, short place)
{
    if (record->error)
        slot_put(&task->slot, record->error);
    else if (record->rc < 0)
        slot_note(task, record->rc, place);
    return record->rc;
}

static void join_over(struct task *task)
{
    if (task->was_cut)
        wait_over(task);
    else
        finish(task, read_outcome(task, &model.records[task->rc], task->where));
}

static bool lives_in(const struct task *task, const struct task *other)
{
    const struct scope *scope;

    for (scope = task->scope; scope; scope = scope->parent)
        if (scope->owner == other)
            return true;
    return false;
}

void do_join(struct task *task)
{
    short place = place_at(task, false);
    struct handle_record *record;
    unsigned index;

    if (!enter(task, place))
        return;
    record = record_meant(task, &index);
    if (!record) {
        finish(task, slot_note(task, -ESTALE, place));
    } else if (!record->task) {
        done_at_once(task, read_outcome(task, record, place));
    } else if (lives_in(task, record->task)) {
        finish(task, slot_note(task, -EDEADLK, place));
    } else {
        task->rc = (int)(record - model.records);
        park(task, &record->joiners, "osr_task_join", place, join_over);
    }
}

static void make_self(struct task *task)
{
    if (!task->record)
        task->record = record_new(task);
    if (model.handle_count < HANDLES)
        model.handles[model.handle_count++] = (struct handle){task->record, task->record->generation};
    else
        give_up();
    finish(task, 0);
}

static void tell_state(const struct handle_record *record)
{
    int state = record->state;

    if (record->task)
        state = record->task->state == RUNNING ? OSR_TASK_RUNNING
                : record->task->state == PARKED ? OSR_TASK_WAITING
                                                : OSR_TASK_READY;
    tell_value(VALUE_STATE, state, record->task ? -EINPROGRESS : record->rc);
}

void do_handle(struct task *task)
{
    int op = statement_at(task)->op;
    struct handle_record *record;
    unsigned index = 0;

    if (op == OP_SELF) {
        make_self(task);
        return;
    }
    record = record_meant(task, &index);
    if (!record) {
        finish(task, slot_note(task, -ESTALE, op == OP_CANCEL_TASK ? place_at(task, false) : NOWHERE));
        return;
    }
    if (op == OP_STATE) {
        tell_state(record);
        if (!record->task && record->error)
            error_tell(record->error);
        if (record->task)
            slot_note(task, -EINPROGRESS, NOWHERE);
    } else if (op == OP_CANCEL_TASK) {
        if (record->task)
            scope_cancel(record->task->scope, -ECANCELED, task->name, place_at(task, false));
    } else {
        record_unkeep(record);
        model.handles[index].record = NULL;
    }
    finish(task, 0);
}
