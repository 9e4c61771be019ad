/* What the loop calls, what comes from outside, jobs; and values, which calls see too. */
#include "model/state.h"

/* ---- Values ---- */

static int64_t value_seen(const struct scope *scope, int key)
{
    const struct binding *binding;

    for (; scope; scope = scope->values ? scope->values : scope->parent)
        for (binding = scope->bindings; binding; binding = binding->next)
            if (binding->key == key)
                return binding->value;
    return 0;
}

void do_value(struct task *task)
{
    const struct statement *at = statement_at(task);
    int key = at->a % KEYS;
    const struct scope *from = task->inner;
    struct binding *binding;

    if (at->op == OP_VALUE) {
        if (wrong(WRONG_VALUE_OUTSIDE) && from->parent)
            from = from->parent;
        tell_value(VALUE_BOUND, value_seen(from, key), 0);
    } else if (model.binding_count < MOST_BINDINGS) {
        binding = &model.bindings[model.binding_count++];
        *binding = (struct binding){task->inner->bindings, key, model.binding_count};
        task->inner->bindings = binding;
    }
    finish(task, 0);
}

/* ---- What is due ---- */

static void append(struct call **list, struct call *call)
{
    while (*list)
        list = &(*list)->next;
    *list = call;
    call->next = NULL;
}

static void take_out(struct call **list, const struct call *call)
{
    for (; *list; list = &(*list)->next)
        if (*list == call) {
            *list = call->next;
            return;
        }
}

void make_due(struct call *call)
{
    call->state = CALL_DUE;
    append(&model.due, call);
    model.steps = 1; /* it comes as soon as the running task leaves */
}

static void drop_call(struct call *call)
{
    if (call->post) { /* if it was fired the loop hears of it, and calls nothing */
        model.open_posts--;
        call->open = false;
        return;
    }
    take_out(&model.due, call);
    if (call->future)
        take_out(&call->future->calls, call);
    timer_clear(&call->timer);
    call->state = CALL_IDLE;
}

/* A scope closes: what was bound to it since, and has not come, does not come. */
void drop_calls(struct scope *scope, unsigned since)
{
    unsigned i;

    if (wrong(WRONG_CALL_OUTLIVES))
        return;
    for (i = model.call_count; i-- > 0;)
        if (model.calls[i].state != CALL_IDLE && model.calls[i].scope == scope && model.calls[i].order > since)
            drop_call(&model.calls[i]);
    for (i = model.post_count; i-- > 0;)
        if (model.posts[i].open && model.posts[i].scope == scope && model.posts[i].order > since)
            drop_call(&model.posts[i]);
}

/* ---- What a call does ---- */

static int do_deed(struct call *call)
{
    const struct statement *at = call->statement;
    unsigned operand = at->b >> 3;
    short place = (short)(2 * call->index);
    struct scope *scope;

    switch (deed_of(at)) {
    case SETS:
        set_event(operand % EVENTS);
        return 0;
    case GIVES:
        return give_permit(&model.semaphores[operand % SEMAPHORES]) ? 0 : -EOVERFLOW;
    case COMPLETES:
    case FAILS:
        return settle(&model.futures[operand % FUTURES], deed_of(at) == COMPLETES ? COMPLETE : FAIL, at, place, NOBODY);
    case CANCELS:
    case UNSHIELDS:
        scope = model.open_scopes[pick_of((unsigned char)operand, model.open_scope_count)];
        if (scope->ended)
            return -OSR_ECLOSED;
        if (deed_of(at) == CANCELS)
            scope_cancel(scope, -ECANCELED, NOBODY, place);
        else
            scope_unshield(scope);
        return 0;
    case READS:
        if (!call->post) /* a post sees no values */
            tell_value(VALUE_BOUND, value_seen(call->scope, (int)(operand % KEYS)), 0);
        return 0;
    default:
        if (call->post || call->again++ >= 2)
            return 0;
        call->state = CALL_COMING;
        call->order = ++model.bound;
        call->timer = timer_of_call(call, model.now + 1);
        return 0;
    }
}

static void come(struct call *call)
{
    unsigned fired = call->fired;
    int rc;

    call->fired = 0;
    call->state = CALL_IDLE;
    if (call->post && !call->open)
        return;
    if (call->post)
        tell_value(VALUE_POSTED, call - model.posts, (int)fired);
    else
        tell_value(VALUE_CALLED, call - model.calls, 0);
    rc = do_deed(call);
    tell_value(VALUE_RESULT, 0, rc);
}

/* Those that are due now; what they make due comes the next time. */
void make_calls(void)
{
    struct call *now = model.due, *call;

    model.due = NULL;
    while ((call = now) != NULL) {
        now = call->next;
        if (call->state == CALL_DUE)
            come(call);
    }
}

/* ---- Calls ---- */

static void make_call(struct task *task)
{
    const struct statement *at = statement_at(task);
    struct call *call = &model.calls[model.call_count++];
    int64_t when;

    *call = (struct call){.state = CALL_COMING, .statement = at, .index = top_frame(task)->at, .scope = task->inner};
    call->order = ++model.bound;
    switch (when_of(at)) {
    case SOON:
        make_due(call);
        return;
    case ON_DONE:
        call->future = &model.futures[(at->a >> 3) % FUTURES];
        if (call->future->rc <= 0)
            make_due(call);
        else
            append(&call->future->calls, call);
        return;
    case AT:
        when = moment_of(at->a >> 3, model.now);
        break;
    default:
        when = duration_of(at->a >> 3) == OSR_NEVER ? OSR_NEVER : model.now + duration_of(at->a >> 3);
    }
    if (when != OSR_NEVER)
        call->timer = timer_of_call(call, when + wrong(WRONG_CALL_LATE));
}

void do_call(struct task *task)
{
    const struct statement *at = statement_at(task);
    struct call *call;

    if (at->op == OP_CALL) {
        if (model.call_count < MOST_CALLS)
            make_call(task);
        finish(task, 0);
        return;
    }
    call = model.call_count ? &model.calls[pick_of(at->a, model.call_count)] : NULL;
    if (!call || call->state == CALL_IDLE) {
        finish(task, -ESTALE); /* an answer: the slot is left alone */
        return;
    }
    drop_call(call);
    finish(task, 0);
}

/* ---- Posts ---- */

static void open_post(struct task *task)
{
    struct call *post = &model.posts[model.post_count++];

    *post = (struct call){.statement = statement_at(task), .index = top_frame(task)->at, .scope = task->inner};
    post->post = post->open = true;
    post->order = ++model.bound;
    model.open_posts++;
    if (model.post_count == 1)
        open_inbox();
}

static void fire(struct call *post)
{
    if (post->fired++ == 0)
        append(&model.rung, post);
    if (wrong(WRONG_POSTS_COALESCE))
        post->fired = 1;
}

/* The loop hears what was rung: it is due then. */
void hear_posts(void)
{
    struct call *post;

    while ((post = model.rung) != NULL) {
        model.rung = post->next;
        make_due(post);
    }
}

void do_post(struct task *task)
{
    const struct statement *at = statement_at(task);
    struct call *post;

    if (at->op == OP_POST) {
        if (model.post_count < MOST_POSTS)
            open_post(task);
        finish(task, 0);
        return;
    }
    post = model.post_count ? &model.posts[pick_of(at->a, model.post_count)] : NULL;
    if (!post || !post->open) {
        finish(task, -ESTALE); /* an answer: the slot is left alone */
        return;
    }
    if (at->op == OP_FIRE)
        fire(post);
    else
        drop_call(post);
    finish(task, 0);
}

/* ---- Jobs ---- */

static const struct statement *statement_of(const struct job *job)
{
    return &model.program->statements[job->index];
}

static void do_job(struct job *job)
{
    const struct statement *at = statement_of(job);

    tell_value(VALUE_JOB, job - model.offloaded, 0);
    switch (work_of(at)) {
    case JOB_GIVES:
        job->rc = at->a >> 2 & 3;
        break;
    case JOB_FAILS:
        job->rc = code_of(at->a >> 2);
        job->error = error_new(job->rc, (short)(2 * job->index));
        job->error->task = job->task->name;
        break;
    case JOB_CHECKS:
        job->rc = job->cancelled ? -ECANCELED : 0;
        break;
    default:
        job->rc = -ECANCELED;
    }
    if (job->left)
        tell_value(VALUE_ABANDONED, job - model.offloaded, job->rc);
}

static void take_job(const struct job *job)
{
    struct job **link = &model.jobs;

    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
}

/* One at each look of the loop. */
void run_job(void)
{
    unsigned count = 0, pick;
    struct job *job;

    for (job = model.jobs; job; job = job->next)
        count++;
    pick = choose(OSR_CHOICE_JOB, count);
    for (job = model.jobs; pick > 0; pick--)
        job = job->next;
    take_job(job);
    if (!job->left && seen_by(job->task->inner))
        job->cancelled = true;
    do_job(job);
    job->done = true;
    if (!job->left && job->task->state == PARKED)
        wake(job->task, 0);
}

/* Those that were left behind end with the run. */
void run_left_jobs(void)
{
    struct job *job;

    model.current = NULL;
    while ((job = model.jobs) != NULL) {
        model.jobs = job->next;
        do_job(job);
    }
}

static void take_result(struct task *task)
{
    struct job *job = task->job;
    int rc = job->rc;

    model.outside--;
    if (rc == -ECANCELED && seen_by(task->inner)) {
        mark_cut(task->inner);
        slot_note(task, rc, task->where);
    } else if (rc == -ECANCELED) {
        rc = slot_note(task, -OSR_ESPURIOUS, task->where);
    } else if (rc < 0) {
        slot_put(&task->slot, job->error);
    }
    finish(task, rc);
}

/* The wait was cut: a job that has not begun is withdrawn; which, is chosen. */
static void leave_job(struct task *task)
{
    struct job *job = task->job;
    bool begun = choose(OSR_CHOICE_JOB, 2) && !wrong(WRONG_JOB_WITHDRAWN);

    if (!begun)
        take_job(job);
    else if (may_be_left(statement_of(job)))
        job->left = true;
    job->cancelled = true;
    if (!begun || job->left) {
        model.outside--;
        finish_refused(task);
        return;
    }
    task->uncut = true;
    park(task, NULL, "osr_offload", task->where, take_result);
}

static void offload_over(struct task *task)
{
    if (task->job->done)
        take_result(task);
    else
        leave_job(task);
}

void do_offload(struct task *task)
{
    struct job *job, **link = &model.jobs;
    short place = place_at(task, false);

    if (model.job_count == MOST_JOBS) {
        finish(task, 0);
        return;
    }
    job = &model.offloaded[model.job_count++];
    *job = (struct job){.task = task, .index = top_frame(task)->at};
    if (!enter(task, place))
        return;
    while (*link)
        link = &(*link)->next;
    *link = job;
    task->job = job;
    model.outside++;
    park(task, NULL, "osr_offload", place, offload_over);
}
