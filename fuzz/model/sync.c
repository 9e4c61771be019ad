/* Primitives as the rules have them: R26, R27, and the contracts of their headers. */
#include "model/state.h"

void sync_prepare(void)
{
    queues_prepare();
    futures_prepare();
    streams_prepare();
    model.semaphores[0] = (struct semaphore){.value = 1, .bound = UINT32_MAX};
    model.semaphores[1] = (struct semaphore){.value = 2, .bound = 2};
}

void sync_tell(void)
{
    int i;

    for (i = 0; i < SEMAPHORES; i++)
        tell_value(VALUE_COUNT, model.semaphores[i].value, 0);
    for (i = 0; i < LOCKS; i++)
        tell_value(VALUE_COUNT, model.locks[i].owner != NULL, 0);
    for (i = 0; i < LIMITERS; i++)
        tell_value(VALUE_COUNT, model.limiters[i].borrowed, (int)model.limiters[i].total);
    for (i = 0; model.program->has_queues && i < QUEUES; i++)
        tell_value(VALUE_COUNT, model.queues[i].count, 0);
    for (i = 0; i < STREAMS; i++)
        if (model.program->streams >> i & 1)
            tell_value(VALUE_COUNT, model.streams[i].length, 0);
}

/* ---- Events ---- */

void set_event(unsigned number)
{
    model.events[number] = true;
    while (model.event_waiters[number].first) {
        wake(first_in(&model.event_waiters[number]), 0);
        if (wrong(WRONG_SETS_WAKE_ONE))
            break;
    }
}

static void do_event(struct task *task, unsigned number)
{
    switch (statement_at(task)->op) {
    case OP_WAIT:
        if (!enter(task, place_at(task, false)))
            return;
        if (model.events[number])
            done_at_once(task, 0);
        else
            park(task, &model.event_waiters[number], "osr_event_wait", place_at(task, false), wait_over);
        return;
    case OP_SET:
        set_event(number);
        break;
    default:
        model.events[number] = false;
    }
    finish(task, 0);
}

/* ---- Locks and conditions ---- */

static void hold(struct task *task, struct lock *lock)
{
    push_frame(task, FOR_LOCK, top_frame(task)->at)->lock = lock;
}

static struct lock *lock_at(const struct task *task)
{
    return &model.locks[statement_at(task)->a % LOCKS];
}

static void lock_over(struct task *task)
{
    if (task->was_cut)
        wait_over(task);
    else
        hold(task, lock_at(task));
}

static void lock_later(struct task *task)
{
    hold(task, lock_at(task));
}

static void do_lock(struct task *task)
{
    struct lock *lock = lock_at(task);
    bool waits = statement_at(task)->op == OP_LOCK;
    short place = waits ? place_at(task, false) : NOWHERE;

    if (waits && !enter(task, place))
        return;
    if (lock->owner == task) {
        finish(task, slot_note(task, -EDEADLK, place));
    } else if (!lock->owner) {
        lock->owner = task;
        if (waits && --task->budget == 0)
            pause_task(task, lock_later);
        else
            hold(task, lock);
    } else if (waits) {
        park(task, &lock->waiters, "osr_lock_acquire", place, lock_over);
    } else {
        finish(task, slot_note(task, -EAGAIN, place));
    }
}

void release_lock(struct lock *lock)
{
    lock->owner = wrong(WRONG_LIFO_LOCK) && lock->waiters.last ? lock->waiters.last->task : first_in(&lock->waiters);
    if (lock->owner)
        wake(lock->owner, 0);
}

/* It always comes back holding the lock. */
static void cut_with_lock(struct task *task)
{
    mark_cut(task->inner);
    finish(task, slot_note(task, -ECANCELED, place_at(task, false)));
}

static void condition_over(struct task *task)
{
    struct lock *lock = lock_at(task);

    if (!task->was_cut) {
        finish(task, 0);
    } else if (!lock->owner) {
        lock->owner = task;
        cut_with_lock(task);
    } else {
        mark_cut(task->inner);
        task->uncut = true;
        park(task, &lock->waiters, "osr_condition_wait", place_at(task, false), cut_with_lock);
    }
}

static void do_condition(struct task *task)
{
    const struct statement *at = statement_at(task);
    struct lock *lock = lock_at(task);
    unsigned count = at->b % 4, notified = 0;

    if (at->op == OP_AWAIT && !enter(task, place_at(task, false)))
        return;
    if (lock->owner != task) {
        finish(task, slot_note(task, -EPERM, at->op == OP_AWAIT ? place_at(task, false) : NOWHERE));
        return;
    }
    if (at->op == OP_AWAIT) {
        release_lock(lock);
        park(task, &lock->condition, "osr_condition_wait", place_at(task, false), condition_over);
        return;
    }
    while ((count == 3 || notified < count) && lock->condition.first) {
        struct task *first = first_in(&lock->condition);

        line_leave(lock->condition.first);
        first->uncut = !wrong(WRONG_NOTIFIED_CUT); /* past cancellation */
        line_append(&lock->waiters, first);
        notified++;
    }
    finish(task, (int)notified);
}

/* ---- Semaphores ---- */

/* False if there are too many. */
bool give_permit(struct semaphore *semaphore)
{
    if (semaphore->waiters.first && wrong(WRONG_BARGING))
        semaphore->value++;
    else if (semaphore->waiters.first)
        wake(first_in(&semaphore->waiters), 0);
    else if (semaphore->value == semaphore->bound)
        return false;
    else
        semaphore->value++;
    return true;
}

static void do_semaphore(struct task *task, struct semaphore *semaphore)
{
    int op = statement_at(task)->op;

    if (op == OP_GIVE) {
        finish(task, give_permit(semaphore) ? 0 : slot_note(task, -EOVERFLOW, NOWHERE));
        return;
    }
    if (op == OP_ACQUIRE && !enter(task, place_at(task, false)))
        return;
    if (semaphore->value > 0) {
        semaphore->value--;
        if (op == OP_ACQUIRE)
            done_at_once(task, 0);
        else
            finish(task, 0);
    } else if (op == OP_ACQUIRE) {
        park(task, &semaphore->waiters, "osr_semaphore_acquire", place_at(task, false), wait_over);
    } else {
        finish(task, slot_note(task, -EAGAIN, NOWHERE));
    }
}

/* ---- Barriers ---- */

static unsigned waiting_at(const struct barrier *barrier)
{
    const struct waiter *waiter;
    unsigned count = 0;

    for (waiter = barrier->waiters.first; waiter; waiter = waiter->next)
        count++;
    return count;
}

/* Places are given when it trips: who was cancelled before has left it (R27). */
static void do_meet(struct task *task, struct barrier *barrier, unsigned parties)
{
    int place;

    if (!enter(task, place_at(task, false)))
        return;
    if (barrier->broken) {
        done_at_once(task, slot_note(task, -OSR_EBROKEN, place_at(task, false)));
    } else if (waiting_at(barrier) + 1 + (wrong(WRONG_BARRIER_KEEPS) ? barrier->ghosts : 0) < parties) {
        barrier->ghosts++;
        park(task, &barrier->waiters, "osr_barrier_wait", place_at(task, false), wait_over);
    } else {
        barrier->ghosts = 0;
        for (place = 0; barrier->waiters.first; place++)
            wake(first_in(&barrier->waiters), place);
        done_at_once(task, place);
    }
}

static void do_barrier(struct task *task, unsigned number)
{
    const struct statement *at = statement_at(task);
    struct barrier *barrier = &model.barriers[number];

    if (at->op == OP_MEET) {
        do_meet(task, barrier, number + 2);
        return;
    }
    barrier->broken = at->b % 2 == 0;
    while (barrier->waiters.first)
        wake(first_in(&barrier->waiters), -OSR_EBROKEN);
    finish(task, 0);
}

bool do_sync(struct task *task)
{
    const struct statement *at = statement_at(task);

    switch (at->op) {
    case OP_WAIT:
    case OP_SET:
    case OP_CLEAR:
        do_event(task, at->a % EVENTS);
        return true;
    case OP_LOCK:
    case OP_TRY_LOCK:
        do_lock(task);
        return true;
    case OP_AWAIT:
    case OP_NOTIFY:
        do_condition(task);
        return true;
    case OP_ACQUIRE:
    case OP_TRY_ACQUIRE:
    case OP_GIVE:
        do_semaphore(task, &model.semaphores[at->a % SEMAPHORES]);
        return true;
    case OP_MEET:
    case OP_BREAK:
        do_barrier(task, at->a % BARRIERS);
        return true;
    case OP_PUT:
    case OP_GET:
    case OP_TRY_PUT:
    case OP_TRY_GET:
    case OP_DONE:
    case OP_QUEUE_JOIN:
    case OP_SHUTDOWN:
        do_queue(task, &model.queues[at->a % QUEUES]);
        return true;
    case OP_SELECT:
    case OP_TRY_SELECT:
        do_select(task);
        return true;
    case OP_BORROW:
    case OP_TRY_BORROW:
    case OP_TOTAL:
        do_limiter(task, &model.limiters[at->a % LIMITERS]);
        return true;
    case OP_SETTLE:
    case OP_EXPECT:
    case OP_RESULT:
        do_future(task, &model.futures[at->a % FUTURES]);
        return true;
    default:
        return false;
    }
}
