/* Who runs when, what wakes whom, and time: R2, R12, R13, R15, R19, R33. */
#include "model/state.h"

enum {
    STEPS = 256 /* R2: between two looks at the clock, if tasks are always ready */
};

struct model model;
enum model_error model_wrong;
unsigned model_budget = 128;

void give_up(void)
{
    model.verdict = MODEL_GIVES_UP;
    model.finished = true;
}

/* ---- Telling ---- */

struct record *tell(enum record_kind kind, unsigned what)
{
    struct log *log = model.log;
    struct record *record;

    if (log->count >= MOST_RECORDS - 64) {
        give_up();
        log->count = 0;
    }
    record = &log->records[log->count++];
    *record = (struct record){.kind = (unsigned char)kind, .what = (unsigned char)what, .place = NOWHERE};
    record->name = NOBODY;
    if (kind != RECORD_CHOICE)
        record->task = model.current ? model.current->number : 0;
    return record;
}

void tell_value(enum value_of what, int64_t value, int code)
{
    struct record *record = tell(RECORD_VALUE, what);

    record->value = value;
    record->code = code;
}

void trace(enum osr_trace_kind kind, const struct task *task, const char *call, short place, int code)
{
    struct record *record = tell(RECORD_TRACE, kind);

    record->task = task->number;
    record->name = task->name;
    record->call = call;
    record->place = place;
    record->code = code;
    record->value = model.now;
}

unsigned choose(enum osr_choice kind, unsigned n)
{
    if (n < 2)
        return 0;
    tell(RECORD_CHOICE, kind)->value = n;
    return schedule_choose(&model.schedule, n);
}

/* ---- Time ---- */

struct timer *timer_set(int64_t at, struct scope *scope, struct task *sleeper)
{
    struct timer *timer;

    if (model.timer_made == SCOPES || model.timer_count == TIMERS) {
        give_up();
        return NULL;
    }
    model.has_ties |= at <= model.now;
    timer = &model.made_timers[model.timer_made++];
    *timer = (struct timer){.at = at, .order = ++model.order, .scope = scope, .sleeper = sleeper};
    model.timers[model.timer_count++] = timer;
    return timer;
}

struct timer *timer_of_wait(struct task *task, int64_t at, int result)
{
    struct timer *timer = timer_set(at, NULL, task);

    if (timer)
        timer->result = result;
    return timer;
}

struct timer *timer_of_call(struct call *call, int64_t at)
{
    struct timer *timer = timer_set(at, NULL, NULL);

    if (timer)
        timer->call = call;
    return timer;
}

static void forget_timer(const struct timer *timer)
{
    unsigned i, n;

    for (i = n = 0; i < model.timer_count; i++)
        if (model.timers[i] != timer)
            model.timers[n++] = model.timers[i];
    model.timer_count = n;
}

void timer_clear(struct timer **timer)
{
    if (*timer)
        forget_timer(*timer);
    *timer = NULL;
}

/* The timers stand in the order in which they were set. */
static int64_t earliest(void)
{
    int64_t at = OSR_NEVER;
    unsigned i;

    for (i = 0; i < model.timer_count; i++)
        if (model.timers[i]->at < at)
            at = model.timers[i]->at;
    return at;
}

static struct timer *take_timer(int64_t at)
{
    unsigned i, n = 0, pick;

    for (i = 0; i < model.timer_count; i++)
        n += model.timers[i]->at == at;
    pick = choose(OSR_CHOICE_DEADLINE, n);
    for (i = 0;; i++)
        if (model.timers[i]->at == at && pick-- == 0)
            break;
    return model.timers[i];
}

/* Nothing else is to be done before. */
static void pass_time_to(int64_t at)
{
    if (at != OSR_NEVER && at >= model.now)
        model.now = at + wrong(WRONG_DEADLINE_LATE);
    else if (at == OSR_NEVER && model.outside > 0)
        give_up(); /* the run would wait for whoever is outside */
}

/* At one reading of the clock: all completions first, then every scope that is due (R19). What the loop has to call
 * comes as soon as the running task leaves. */
void look(bool wait)
{
    struct timer *due[TIMERS];
    unsigned count = 0, i;
    int64_t at = earliest();
    bool works = model.jobs && !model.current, asks;

    model.steps = model.due ? 1 : STEPS;
    wait &= !works;
    asks = wait || model.outside > 0 || model.post_count > 0;
    if (wait && (!something_is_ready() || wrong(WRONG_TIME_BEFORE_BYTES)))
        pass_time_to(at);
    if (asks)
        tell_ready();
    if (works)
        run_job();
    while (model.timer_count > 0 && (at = earliest()) <= model.now - wrong(WRONG_DEADLINE_LATE)) {
        struct timer *timer = take_timer(at);

        forget_timer(timer);
        model.has_ties |= model.now <= model.due_at;
        model.due_at = model.now;
        if (timer->scope && wrong(WRONG_CUTS_FIRST)) {
            timer->scope->timer = NULL;
            scope_cancel(timer->scope, -ETIMEDOUT, NOBODY, timer->scope->place);
        } else if (timer->scope) {
            timer->scope->timer = NULL;
            due[count++] = timer;
        } else if (timer->call) {
            timer->call->timer = NULL;
            make_due(timer->call);
        } else {
            timer->sleeper->timer = NULL;
            wake(timer->sleeper, timer->result);
        }
    }
    for (i = 0; i < count; i++)
        scope_cancel(due[i]->scope, -ETIMEDOUT, NOBODY, due[i]->scope->place);
}

/* ---- Waiting and waking ---- */

void line_append_case(struct line *line, struct task *task, int number, int64_t item)
{
    struct waiter *waiter = &task->waiters[number];

    *waiter = (struct waiter){.task = task, .line = line, .previous = line->last, .number = number, .item = item};
    if (line->last)
        line->last->next = waiter;
    else
        line->first = waiter;
    line->last = waiter;
}

void line_append(struct line *line, struct task *task)
{
    line_append_case(line, task, 0, 0);
}

void line_leave(struct waiter *waiter)
{
    struct line *line = waiter->line;

    if (!line)
        return;
    if (waiter->previous)
        waiter->previous->next = waiter->next;
    else
        line->first = waiter->next;
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    else
        line->last = waiter->previous;
    waiter->line = NULL;
}

struct task *first_in(const struct line *line)
{
    return line->first ? line->first->task : NULL;
}

void make_ready(struct task *task)
{
    task->state = READY;
    model.ready[model.ready_count++] = task;
}

/* Whatever ends a wait takes the task out of everything at once (R13, R26). */
void wake(struct task *task, int result)
{
    int i;

    if (!(wrong(WRONG_CUT_STAYS_QUEUED) && result == -ECANCELED && task->waiters[0].next))
        line_leave(&task->waiters[0]);
    for (i = 1; task->selects && i < MOST_CASES && !(wrong(WRONG_SELECT_STAYS) && i == 2); i++)
        line_leave(&task->waiters[i]);
    timer_clear(&task->timer);
    task->result = result;
    trace(OSR_TRACE_WAKE, task, task->call, task->where, result);
    make_ready(task);
}

void park(struct task *task, struct line *line, const char *call, short place, void (*then)(struct task *task))
{
    task->call = call;
    task->where = place;
    task->then = then;
    task->state = PARKED;
    task->budget = model_budget;
    if (line)
        line_append(line, task);
    trace(OSR_TRACE_WAIT, task, call, place, 0);
    model.has_left = true;
}

void wait_over(struct task *task)
{
    int rc = task->result;

    if (task->was_cut)
        mark_cut(task->inner);
    if (rc < 0)
        slot_note(task, rc, task->where);
    finish(task, rc);
}

void pause_task(struct task *task, void (*then)(struct task *task))
{
    task->budget = model_budget;
    task->then = then;
    make_ready(task);
    model.has_left = true;
}

/* ---- Entering ---- */

static void finish_later(struct task *task)
{
    finish(task, task->rc);
}

void done_at_once(struct task *task, int rc)
{
    task->rc = rc;
    if (--task->budget == 0 && !wrong(WRONG_BUDGET))
        pause_task(task, finish_later);
    else
        finish(task, rc);
}

void finish_refused(struct task *task)
{
    mark_cut(task->inner);
    finish(task, slot_note(task, -ECANCELED, task->where));
}

/* Whether a cancellation comes from outside just before the call, and whose. */
static void inject(struct task *task, short place)
{
    unsigned pick = choose(OSR_CHOICE_CANCEL, 3);

    if (pick > 0)
        scope_cancel(pick == 1 ? task->scope : model.tasks[0].scope, -ECANCELED, NOBODY, place);
}

/* The check of every cancellation point (R12); if it says no, `refused` is what follows. */
bool enter_or(struct task *task, short place, void (*refused)(struct task *task))
{
    task->uncut = task->was_cut = false;
    if (!seen_by(task->inner) && model.now >= due_for(task->inner))
        look(false);
    if (model.program->is_injected && !seen_by(task->inner))
        inject(task, place);
    if (!seen_by(task->inner))
        return true;
    task->where = place;
    if (--task->budget == 0)
        pause_task(task, refused);
    else
        refused(task);
    return false;
}

/* If it says no, the statement is done. */
bool enter(struct task *task, short place)
{
    return enter_or(task, place, finish_refused);
}

/* ---- Running ---- */

struct task *task_new(short statement, struct scope *parent)
{
    struct task *task = &model.tasks[model.task_count++];
    struct scope *scope = &model.scopes[model.scope_count++];

    memset(task, 0, offsetof(struct task, frames));
    task->number = model.task_count;
    task->name = statement;
    task->place = (short)(2 * statement);
    task->budget = model_budget;
    task->then = execute_next;
    task->depth = -1;
    task->slot.place = NOWHERE;
    task->scope = task->inner = scope;
    scope_attach(scope, task, parent, TASK, task->place);
    push_frame(task, FOR_TASK, statement)->scope = scope;
    return task;
}

static struct task *next_ready(void)
{
    unsigned pick;
    struct task *task;

    if (model.ready_count == 0)
        return NULL;
    pick = choose(OSR_CHOICE_READY, model.ready_count);
    task = model.ready[pick];
    memmove(&model.ready[pick], &model.ready[pick + 1], (--model.ready_count - pick) * sizeof(model.ready[0]));
    return task;
}

/* Who runs after `task`, which has left; NULL: the world is looked at first. */
static struct task *next_after(struct task *task)
{
    struct task *spawner = task->eager_for;

    if (spawner) {
        task->eager_for = NULL;
        return spawner;
    }
    return --model.steps == 0 ? NULL : next_ready();
}

/* Runs tasks until the world has to be looked at. */
static void run_from(struct task *task)
{
    while (task && !model.finished) {
        model.current = task;
        model.has_left = false;
        task->state = RUNNING;
        trace(OSR_TRACE_STEP, task, NULL, NOWHERE, 0);
        while (!model.has_left && !model.finished) {
            void (*then)(struct task *task) = task->then;

            task->then = execute_next;
            then(task);
        }
        if (model.finished)
            break;
        if (model.next) {
            task = model.next; /* spawned eagerly */
            model.next = NULL;
        } else {
            task = next_after(task);
        }
    }
    model.current = NULL;
}

/* R33: nothing could ever run again. */
static void meet_deadlock(void)
{
    struct task *root = &model.tasks[0];

    if (model.open_posts > 0) { /* the run would wait for whoever is outside */
        give_up();
        return;
    }
    if (model.is_stuck) {
        model.verdict = MODEL_STOPS;
        model.finished = true;
        return;
    }
    model.is_stuck = true;
    model.steps = STEPS;
    if (!model.fatal) {
        model.fatal = error_new(-OSR_EDEADLOCK, root->place);
        model.fatal->task = root->name;
    }
    scope_cancel(root->scope, -OSR_EDEADLOCK, NOBODY, root->place);
    if (model.ready_count == 0 && !model.jobs)
        meet_deadlock();
}

/* A job that was left behind is waited for by nobody. */
static bool is_hopeless(void)
{
    const struct job *job;

    for (job = model.jobs; job; job = job->next)
        if (!job->left)
            return false;
    return model.ready_count == 0 && model.outside == 0 && model.timer_count == 0 && !model.due && !model.rung;
}

void leave_for_good(struct task *task)
{
    task->state = ENDED;
    model.has_left = true;
}

/* The root was cancelled: the error says by whom and where. */
static struct error *why_cancelled(int rc)
{
    const struct reason *reason = &model.tasks[0].scope->reason;
    struct error *error = error_new(rc, reason->place);

    error->task = reason->who;
    return error;
}

/* What osr_run() gives: a fatal error comes first, beside what the root returned (R25). */
static void conclude(void)
{
    struct error *both, *seen = model.root.error;
    int rc = model.root.rc == -ECANCELED ? -OSR_ETASKCANCELED : model.root.rc;

    if (model.fatal) {
        rc = model.fatal->code;
        if (!seen) {
            seen = model.fatal;
        } else if (!error_has_leaf(seen, model.fatal)) {
            both = group_error_new(model.fatal->place, model.fatal->task, NOBODY);
            error_adopt(both, model.fatal);
            error_adopt(both, seen);
            seen = both;
        }
    }
    tell(RECORD_RESULT, 0)->code = rc;
    if (rc < 0 && !seen)
        seen = why_cancelled(rc);
    if (rc < 0)
        error_tell(seen);
    if (seen && !model.is_stuck && model.program->tells_shape) /* a deadlock's message is a tree of its own */
        error_tell_shape(seen);
}

static void prepare(const struct program *program, struct log *log)
{
    /* What is made anew is reset where it is made. */
    memset(&model, 0, offsetof(struct model, ready));
    model.ready_count = model.timer_count = model.open_scope_count = model.open_group_count = model.handle_count = 0;
    memset(model.events, 0, offsetof(struct model, queues) - offsetof(struct model, events));
    model.due = model.rung = NULL;
    model.jobs = NULL;
    model.call_count = model.post_count = model.job_count = model.binding_count = model.open_posts = 0;
    model.task_count = model.error_count = model.link_count = model.scope_count = model.group_count = 0;
    model.record_count = model.starting_count = model.cell_count = model.timer_made = 0;
    model.program = program;
    model.log = log;
    log->count = 0;
    model.steps = STEPS;
    schedule_begin(&model.schedule, program);
    sync_prepare();
}

enum model_verdict model_run(const struct program *program, struct log *log)
{
    struct task *root;

    prepare(program, log);
    root = task_new(0, NULL);
    trace(OSR_TRACE_SPAWN, root, NULL, root->place, 0);
    make_ready(root);
    while (!model.finished) {
        if (is_hopeless() && model.post_count > 0)
            look(false); /* something may have come from outside */
        if (!model.finished && is_hopeless())
            meet_deadlock();
        if (!model.finished)
            look(model.ready_count == 0 && !model.due);
        if (!model.finished)
            make_calls();
        if (!model.finished)
            run_from(next_ready());
    }
    if (model.verdict == MODEL_DONE)
        run_left_jobs();
    if (model.verdict == MODEL_DONE)
        conclude();
    return model.verdict;
}
