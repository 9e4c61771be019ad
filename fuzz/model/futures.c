/* Limiters and futures as the rules have them: R26, and the contracts of their headers. */
#include "model/state.h"

void futures_prepare(void)
{
    int i;

    for (i = 0; i < LIMITERS; i++)
        model.limiters[i] = (struct limiter){.total = (unsigned)i + 1};
    for (i = 0; i < FUTURES; i++)
        model.futures[i] = (struct future){.rc = 1};
}

/* ---- Limiters ---- */

static void lend(struct limiter *limiter)
{
    while (limiter->borrowed < limiter->total && limiter->waiters.first) {
        limiter->borrowed++;
        wake(first_in(&limiter->waiters), 0);
    }
}

static void hold_permit(struct task *task)
{
    struct limiter *limiter = &model.limiters[statement_at(task)->a % LIMITERS];

    push_frame(task, FOR_PERMIT, top_frame(task)->at)->limiter = limiter;
}

static void permit_over(struct task *task)
{
    if (task->was_cut)
        wait_over(task);
    else
        hold_permit(task);
}

void release_permit(struct limiter *limiter)
{
    limiter->borrowed--;
    lend(limiter);
}

static void borrow(struct task *task, struct limiter *limiter, bool waits)
{
    short place = waits ? place_at(task, false) : NOWHERE;

    if (waits && !enter(task, place))
        return;
    if (limiter->borrowed < limiter->total) {
        limiter->borrowed++;
        if (waits && --task->budget == 0)
            pause_task(task, hold_permit);
        else
            hold_permit(task);
    } else if (waits) {
        park(task, &limiter->waiters, "osr_limiter_acquire", place, permit_over);
    } else {
        finish(task, slot_note(task, -EAGAIN, NOWHERE));
    }
}

void do_limiter(struct task *task, struct limiter *limiter)
{
    const struct statement *at = statement_at(task);

    if (at->op != OP_TOTAL) {
        borrow(task, limiter, at->op == OP_BORROW);
        return;
    }
    limiter->total = at->b % 4;
    if (!wrong(WRONG_TOTAL_WAKES_NOBODY))
        lend(limiter);
    finish(task, 0);
}

/* ---- Futures ---- */

/* The work behind it is cancelled, once. */
static void cancel_work(struct future *future)
{
    if (!future->work_cancelled)
        tell_value(VALUE_WORK_CANCELLED, future - model.futures, 0);
    future->work_cancelled = true;
}

static int renew(struct future *future)
{
    if (future->waiting > 0)
        return -EBUSY;
    while (future->calls) {
        struct call *call = future->calls;

        future->calls = call->next;
        call->state = CALL_IDLE;
    }
    *future = (struct future){.rc = 1};
    return 0;
}

int settle(struct future *future, enum settling how, const struct statement *at, short place, short who)
{
    if (how == RENEW)
        return renew(future);
    if (future->rc <= 0)
        return -EALREADY;
    future->rc = how == COMPLETE ? 0 : how == FAIL ? code_of(at->b >> 3) : -OSR_EFUTURECANCELED;
    future->value = place;
    if (how == FAIL) {
        future->error = error_new(future->rc, place);
        future->error->task = who;
    }
    while (future->waiters.first)
        wake(first_in(&future->waiters), 0);
    while (future->calls) {
        struct call *call = future->calls;

        future->calls = call->next;
        make_due(call);
    }
    if (how == CANCEL)
        cancel_work(future);
    return 0;
}

static void finish_read(struct task *task)
{
    if (task->rc == 0)
        tell_value(VALUE_FUTURE, task->item, 0);
    finish(task, task->rc);
}

static void read_future(struct task *task, const struct future *future, short place)
{
    task->rc = future->rc;
    if (future->rc == 0)
        task->item = future->value;
    else if (future->error && !wrong(WRONG_FUTURE_ERROR))
        slot_put(&task->slot, future->error);
    else
        slot_note(task, future->rc, place);
}

static void future_over(struct task *task)
{
    struct future *future = &model.futures[statement_at(task)->a % FUTURES];

    if (task->was_cut && future->rc > 0 && !future->waiters.first && !wrong(WRONG_WORK_GOES_ON))
        cancel_work(future);
    future->waiting--;
    if (task->was_cut) {
        wait_over(task);
        return;
    }
    read_future(task, future, task->where);
    finish_read(task);
}

static void expect(struct task *task, struct future *future)
{
    short place = place_at(task, false);

    if (!enter(task, place))
        return;
    if (future->rc <= 0) {
        read_future(task, future, place);
        if (--task->budget == 0)
            pause_task(task, finish_read);
        else
            finish_read(task);
        return;
    }
    future->waiting++;
    park(task, &future->waiters, "osr_future_wait", place, future_over);
}

void do_future(struct task *task, struct future *future)
{
    const struct statement *at = statement_at(task);
    short place = place_at(task, false);
    int rc;

    if (at->op == OP_EXPECT) {
        expect(task, future);
        return;
    }
    if (at->op == OP_SETTLE) {
        rc = settle(future, settling_of(at), at, place, task->name);
        if (rc < 0 && rc != -EALREADY) /* which is an answer */
            slot_note(task, rc, NOWHERE);
    } else if (future->rc > 0) {
        rc = slot_note(task, -EINPROGRESS, NOWHERE);
    } else {
        read_future(task, future, NOWHERE);
        finish_read(task);
        return;
    }
    finish(task, rc);
}
