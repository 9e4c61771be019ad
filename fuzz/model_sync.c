/* Primitives as the rules have them: R26, R27, and the contracts of their headers. */
#include "model_state.h"

void sync_prepare(void)
{
    static const struct queue made[QUEUES] = {
        {.order = OSR_QUEUE_FIFO, .capacity = 0},     {.order = OSR_QUEUE_FIFO, .capacity = 2},
        {.order = OSR_QUEUE_LIFO, .capacity = 2},     {.order = OSR_QUEUE_PRIORITY, .capacity = UINT32_MAX},
        {.order = OSR_QUEUE_PRIORITY, .capacity = 1}, {.order = OSR_QUEUE_FIFO, .capacity = UINT32_MAX}};
    int i;

    for (i = 0; i < QUEUES; i++) {
        struct queue *queue = &model.queues[i];

        queue->order = made[i].order;
        queue->capacity = made[i].capacity;
        queue->count = queue->unfinished = 0;
        queue->shut = 0;
        queue->getters = queue->putters = queue->joiners = (struct line){NULL, NULL};
    }
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
    for (i = 0; model.program->has_queues && i < QUEUES; i++)
        tell_value(VALUE_COUNT, model.queues[i].count, 0);
}

/* ---- Events ---- */

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
        model.events[number] = true;
        while (model.event_waiters[number].first) {
            wake(model.event_waiters[number].first, 0);
            if (wrong(WRONG_SETS_WAKE_ONE))
                break;
        }
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
    lock->owner = wrong(WRONG_LIFO_LOCK) ? lock->waiters.last : lock->waiters.first;
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
        struct task *first = lock->condition.first;

        lock->condition.first = first->next_waiting;
        if (first->next_waiting)
            first->next_waiting->previous_waiting = NULL;
        else
            lock->condition.last = NULL;
        first->uncut = true; /* past cancellation */
        line_append(&lock->waiters, first);
        notified++;
    }
    finish(task, (int)notified);
}

/* ---- Semaphores ---- */

static int give(struct task *task, struct semaphore *semaphore)
{
    if (semaphore->waiters.first && wrong(WRONG_BARGING))
        semaphore->value++;
    else if (semaphore->waiters.first)
        wake(semaphore->waiters.first, 0);
    else if (semaphore->value == semaphore->bound)
        return slot_note(task, -EOVERFLOW, NOWHERE);
    else
        semaphore->value++;
    return 0;
}

static void do_semaphore(struct task *task, struct semaphore *semaphore)
{
    int op = statement_at(task)->op;

    if (op == OP_GIVE) {
        finish(task, give(task, semaphore));
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
    const struct task *task;
    unsigned count = 0;

    for (task = barrier->waiters.first; task; task = task->next_waiting)
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
            wake(barrier->waiters.first, place);
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
        wake(barrier->waiters.first, -OSR_EBROKEN);
    finish(task, 0);
}

/* ---- Queues ---- */

static void insert(struct queue *queue, int64_t item)
{
    unsigned at = queue->count++;

    /* The smallest first, and equal ones in the order in which they came. The priority is in the high half. */
    for (; queue->order == OSR_QUEUE_PRIORITY && at > 0 && queue->items[at - 1] >> 32 > item >> 32; at--)
        queue->items[at] = queue->items[at - 1];
    queue->items[at] = item;
}

static int64_t extract(struct queue *queue)
{
    int64_t item = queue->items[0];

    queue->count--;
    if (queue->order == OSR_QUEUE_LIFO)
        return queue->items[queue->count];
    memmove(queue->items, queue->items + 1, queue->count * sizeof(item));
    return item;
}

/* 0, -EAGAIN, -ESHUTDOWN. */
static int put_now(struct queue *queue, int64_t item)
{
    struct task *getter = queue->getters.first;

    if (queue->shut)
        return -ESHUTDOWN;
    if (!getter && queue->count >= queue->capacity)
        return -EAGAIN;
    queue->unfinished++;
    if (getter) {
        getter->item = item;
        wake(getter, 0);
    } else {
        insert(queue, item);
    }
    return 0;
}

static int get_now(struct queue *queue, int64_t *item)
{
    struct task *putter = queue->putters.first;

    if (queue->count == 0 && !putter)
        return queue->shut ? -ESHUTDOWN : -EAGAIN;
    if (queue->count > 0)
        *item = extract(queue);
    else
        *item = putter->item;
    if (putter && !wrong(WRONG_PRODUCER_SLEEPS)) {
        if (queue->capacity > 0)
            insert(queue, putter->item);
        queue->unfinished++;
        wake(putter, 0);
    }
    return 0;
}

static void finish_items(struct queue *queue, unsigned count)
{
    queue->unfinished -= count;
    while (queue->unfinished == 0 && queue->joiners.first)
        wake(queue->joiners.first, 0);
}

static void get_over(struct task *task)
{
    if (task->result == 0)
        tell_value(VALUE_ITEM, task->item, 0);
    wait_over(task);
}

static void got_later(struct task *task)
{
    if (task->rc == 0)
        tell_value(VALUE_ITEM, task->item, 0);
    finish(task, task->rc);
}

static void do_get(struct task *task, struct queue *queue, bool waits)
{
    short place = waits ? place_at(task, false) : NOWHERE;

    if (waits && !enter(task, place))
        return;
    task->rc = get_now(queue, &task->item);
    if (task->rc == -EAGAIN && waits) {
        park(task, &queue->getters, "osr_queue_get", place, get_over);
        return;
    }
    if (task->rc < 0)
        slot_note(task, task->rc, place);
    if (waits && --task->budget == 0)
        pause_task(task, got_later);
    else
        got_later(task);
}

static void do_put(struct task *task, struct queue *queue, bool waits)
{
    short place = waits ? place_at(task, false) : NOWHERE;
    int rc;

    if (model.items == MOST_ITEMS) {
        finish(task, 0);
        return;
    }
    task->item = (int64_t)(statement_at(task)->b % 4) << 32 | ++model.items;
    if (waits && !enter(task, place))
        return;
    rc = put_now(queue, task->item);
    if (rc == -EAGAIN && waits) {
        queue->unfinished += wrong(WRONG_PUT_COUNTS);
        park(task, &queue->putters, "osr_queue_put", place, wait_over);
        return;
    }
    if (rc < 0)
        slot_note(task, rc, place);
    if (waits)
        done_at_once(task, rc);
    else
        finish(task, rc);
}

static int shut_down(struct queue *queue, bool at_once)
{
    unsigned count = queue->count;

    if (queue->shut >= (at_once ? 2 : 1))
        return -EALREADY;
    queue->shut = at_once ? 2 : 1;
    if (wrong(WRONG_ITEM_DROPPED) && queue->count > 0)
        queue->count--;
    while (queue->putters.first)
        wake(queue->putters.first, -ESHUTDOWN);
    while (queue->getters.first)
        wake(queue->getters.first, -ESHUTDOWN);
    if (at_once) {
        queue->count = 0;
        finish_items(queue, count);
    }
    return 0;
}

static void do_queue(struct task *task, struct queue *queue)
{
    const struct statement *at = statement_at(task);
    int rc = 0;

    switch (at->op) {
    case OP_PUT:
    case OP_TRY_PUT:
        do_put(task, queue, at->op == OP_PUT);
        return;
    case OP_GET:
    case OP_TRY_GET:
        do_get(task, queue, at->op == OP_GET);
        return;
    case OP_QUEUE_JOIN:
        if (!enter(task, place_at(task, false)))
            return;
        if (queue->unfinished == 0)
            done_at_once(task, 0);
        else
            park(task, &queue->joiners, "osr_queue_join", place_at(task, false), wait_over);
        return;
    case OP_DONE:
        if (queue->unfinished == queue->count)
            rc = -EINVAL;
        else
            finish_items(queue, 1);
        break;
    default:
        rc = shut_down(queue, at->b % 2);
    }
    finish(task, rc < 0 ? slot_note(task, rc, NOWHERE) : 0);
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
    default:
        return false;
    }
}
