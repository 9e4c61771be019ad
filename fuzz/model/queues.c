/* Queues and select as the rules have them: R26, and the contracts of queue.h. */
#include "model/state.h"

void queues_prepare(void)
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
}

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

/* Whoever waits has what it waited for, or its queue is shut down; a select then has its case. */
static void serve(struct waiter *waiter, int rc)
{
    struct task *task = waiter->task;

    task->case_rc = rc;
    wake(task, task->selects ? waiter->number : rc);
}

/* 0, -EAGAIN, -ESHUTDOWN. */
static int put_now(struct queue *queue, int64_t item)
{
    struct waiter *getter = queue->getters.first;

    if (queue->shut)
        return -ESHUTDOWN;
    if (!getter && queue->count >= queue->capacity)
        return -EAGAIN;
    queue->unfinished++;
    if (getter) {
        getter->task->item = item;
        serve(getter, 0);
    } else {
        insert(queue, item);
    }
    return 0;
}

static int get_now(struct queue *queue, int64_t *item)
{
    struct waiter *putter = queue->putters.first;

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
        serve(putter, 0);
    }
    return 0;
}

static void finish_items(struct queue *queue, unsigned count)
{
    queue->unfinished -= count;
    while (queue->unfinished == 0 && queue->joiners.first)
        wake(first_in(&queue->joiners), 0);
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
    int64_t item;
    int rc;

    if (model.items == MOST_ITEMS) {
        finish(task, 0);
        return;
    }
    item = (int64_t)(statement_at(task)->b % 4) << 32 | ++model.items;
    if (waits && !enter(task, place))
        return;
    rc = put_now(queue, item);
    if (rc == -EAGAIN && waits) {
        queue->unfinished += wrong(WRONG_PUT_COUNTS);
        park(task, NULL, "osr_queue_put", place, wait_over);
        line_append_case(&queue->putters, task, 0, item);
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
        serve(queue->putters.first, -ESHUTDOWN);
    while (queue->getters.first)
        serve(queue->getters.first, -ESHUTDOWN);
    if (at_once) {
        queue->count = 0;
        finish_items(queue, count);
    }
    return 0;
}

void do_queue(struct task *task, struct queue *queue)
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
    if (rc < 0 && rc != -EALREADY) /* which is an answer */
        slot_note(task, rc, NOWHERE);
    finish(task, rc);
}

/* ---- Select ---- */

static void tell_case(struct task *task, int index)
{
    tell_value(VALUE_CASE, index, task->case_rc);
    if (!case_puts(statement_at(task), (unsigned)index) && task->case_rc == 0)
        tell_value(VALUE_ITEM, task->item, 0);
}

static void select_over(struct task *task)
{
    task->selects = false;
    if (task->result >= 0)
        tell_case(task, task->result);
    wait_over(task);
}

static void selected_later(struct task *task)
{
    tell_case(task, task->rc);
    finish(task, task->rc);
}

/* The first case that can be done at once; -EAGAIN if there is none. */
static int select_now(struct task *task, const int64_t *items)
{
    const struct statement *at = statement_at(task);
    unsigned count = cases_of(at), k, i;

    for (k = 0; k < count; k++) {
        i = wrong(WRONG_SELECTS_LAST) ? count - 1 - k : k;
        struct queue *queue = &model.queues[case_queue(at, i)];

        task->case_rc = case_puts(at, i) ? put_now(queue, items[i]) : get_now(queue, &task->item);
        if (task->case_rc != -EAGAIN)
            return (int)i;
    }
    return -EAGAIN;
}

static void park_in_all(struct task *task, const int64_t *items, int64_t until)
{
    const struct statement *at = statement_at(task);
    unsigned i;

    task->selects = true;
    for (i = 0; i < MOST_CASES; i++)
        task->waiters[i].line = NULL;
    if (until != OSR_NEVER)
        task->timer = timer_of_wait(task, until, -ETIMEDOUT);
    park(task, NULL, "osr_select", place_at(task, false), select_over);
    for (i = 0; i < cases_of(at); i++) {
        struct queue *queue = &model.queues[case_queue(at, i)];

        line_append_case(case_puts(at, i) ? &queue->putters : &queue->getters, task, (int)i, items[i]);
    }
}

void do_select(struct task *task)
{
    const struct statement *at = statement_at(task);
    bool waits = at->op == OP_SELECT;
    short place = waits ? place_at(task, false) : NOWHERE;
    int64_t items[MOST_CASES] = {0}, until = until_of(at, model.now);
    unsigned i;

    if (model.items + MOST_CASES > MOST_ITEMS) {
        finish(task, 0);
        return;
    }
    for (i = 0; i < cases_of(at); i++)
        if (case_puts(at, i))
            items[i] = (int64_t)(i % 2) << 32 | ++model.items;
    if (waits && !enter(task, place))
        return;
    task->rc = select_now(task, items);
    if (task->rc >= 0) {
        if (waits && --task->budget == 0)
            pause_task(task, selected_later);
        else
            selected_later(task);
    } else if (!waits) {
        finish(task, slot_note(task, -EAGAIN, place));
    } else if (until <= model.now) {
        done_at_once(task, slot_note(task, -ETIMEDOUT, place));
    } else {
        park_in_all(task, items, until);
    }
}
