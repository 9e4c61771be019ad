/* Statements about primitives. */
#include "interpreter/state.h"

static void make_future(struct osr_future *future);

static int by_priority(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    return x->priority < y->priority ? -1 : x->priority > y->priority;
}

/* ---- Limiters ---- */

static int with_permit(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    struct osr_limiter *limiter = &machine.limiters[at->a % LIMITERS];
    struct osr_permit permit = {0};
    int rc = at->op == OP_BORROW ? osr_limiter_acquire_here(limiter, &permit, place_of(index, false))
                                 : osr_limiter_try_acquire(limiter, &permit);

    if (rc < 0)
        return rc;
    rc = run_block(actor, index, NULL);
    note_value(VALUE_RESULT, osr_limiter_release(limiter, &permit), 0);
    return rc;
}

/* ---- Futures ---- */

static void work_cancelled(void *arg)
{
    struct osr_future *future = arg;
    size_t number = (size_t)(future - machine.futures);

    if (machine.work_cancelled[number])
        broken("the work of a future is cancelled twice");
    machine.work_cancelled[number] = true;
    note_value(VALUE_WORK_CANCELLED, (int64_t)number, 0);
}

static void make_future(struct osr_future *future)
{
    osr_future_init(future, work_cancelled, future);
    machine.work_cancelled[future - machine.futures] = false;
}

void *number_as_pointer(int number)
{
    return (void *)(intptr_t)number;
}

int settle_future(struct osr_future *future, enum settling how, const struct statement *at, const char *place)
{
    int rc;

    switch (how) {
    case COMPLETE:
        return osr_future_complete(future, number_as_pointer(place_number(place)));
    case FAIL:
        return osr_future_fail_here(place, future, code_of(at->b >> 3), "by the program");
    case CANCEL:
        return osr_future_cancel(future);
    default:
        rc = osr_future_destroy(future);
        if (rc == 0)
            make_future(future);
        return rc;
    }
}

static int use_future(const struct statement *at, int index)
{
    struct osr_future *future = &machine.futures[at->a % FUTURES];
    const char *place = place_of(index, false);
    void *value = NULL;
    int rc;

    if (at->op == OP_SETTLE)
        return settle_future(future, settling_of(at), at, place);
    rc = at->op == OP_EXPECT ? osr_future_wait_here(future, &value, place) : osr_future_result(future, &value);
    if (rc == 0)
        note_value(VALUE_FUTURE, (intptr_t)value, 0);
    return rc;
}

/* ---- All of them ---- */

void open_primitives(void)
{
    static const struct osr_queue_options fifo = {.size = sizeof(fifo)},
                                          lifo = {.size = sizeof(lifo), .order = OSR_QUEUE_LIFO},
                                          priority = {.size = sizeof(priority),
                                                      .order = OSR_QUEUE_PRIORITY,
                                                      .compare = by_priority};
    static const struct {
        const struct osr_queue_options *options;
        size_t capacity;
    } made[QUEUES] = {{&fifo, 0},     {&fifo, 2},     {&lifo, 2}, {&priority, OSR_UNBOUNDED},
                      {&priority, 1}, {&fifo, OSR_UNBOUNDED}};
    int i;

    for (i = 0; i < EVENTS; i++)
        osr_event_init(&machine.events[i]);
    for (i = 0; i < LOCKS; i++) {
        osr_lock_init(&machine.locks[i]);
        osr_condition_init(&machine.conditions[i], &machine.locks[i]);
    }
    for (i = 0; i < BARRIERS; i++)
        osr_barrier_init(&machine.barriers[i], (unsigned)i + 2);
    osr_semaphore_init(&machine.semaphores[0], 1);
    osr_semaphore_init_bounded(&machine.semaphores[1], 2);
    for (i = 0; i < LIMITERS; i++)
        osr_limiter_init(&machine.limiters[i], (unsigned)i + 1);
    for (i = 0; i < FUTURES; i++)
        make_future(&machine.futures[i]);
    for (i = 0; machine.program->has_queues && i < QUEUES; i++)
        osr_queue_init_with(&machine.queues[i], sizeof(struct item), made[i].capacity, made[i].options);
}

/* The root, after its group: says what is left, and that nothing was lost or made up. */
void close_primitives(void)
{
    unsigned i, n = 0;

    for (i = 0; i < SEMAPHORES; i++) {
        unsigned begun = i == 0 ? 1 : 2;

        note_value(VALUE_COUNT, osr_semaphore_value(&machine.semaphores[i]), 0);
        if (osr_semaphore_value(&machine.semaphores[i]) != begun + machine.given[i] - machine.taken[i])
            broken("semaphore %u has %u permits, %u were taken and %u given", i,
                   osr_semaphore_value(&machine.semaphores[i]), machine.taken[i], machine.given[i]);
    }
    for (i = 0; i < BARRIERS; i++)
        if (osr_barrier_waiting(&machine.barriers[i]) > 0)
            broken("tasks still wait at barrier %u", i);
    for (i = 0; i < LOCKS; i++) {
        note_value(VALUE_COUNT, osr_lock_held(&machine.locks[i]), 0);
        if (osr_lock_held(&machine.locks[i]))
            broken("lock %u is still held", i);
    }
    for (i = 0; i < LIMITERS; i++)
        note_value(VALUE_COUNT, osr_limiter_borrowed(&machine.limiters[i]),
                   (int)osr_limiter_total(&machine.limiters[i]));
    for (i = 0; i < FUTURES; i++)
        if (osr_future_destroy(&machine.futures[i]) < 0)
            broken("future %u cannot be destroyed", i);
    for (i = 0; machine.program->has_queues && i < QUEUES; i++) {
        note_value(VALUE_COUNT, (int64_t)osr_queue_count(&machine.queues[i]), 0);
        n += (unsigned)osr_queue_count(&machine.queues[i]);
        if (osr_queue_destroy(&machine.queues[i]) < 0)
            broken("queue %u cannot be destroyed", i);
    }
    streams_tell();
    if (n > machine.kept_items)
        broken("%u items are in the queues, %u were put and not got", n, machine.kept_items);
}

/* An item was got. */
static void check_item(struct item item)
{
    if (item.number == 0 || item.number > machine.items || machine.item_state[item.number] & 6)
        broken("item %u was got, and had been got or not been put", item.number);
    else
        machine.item_state[item.number] |= 2;
    machine.kept_items--;
    note_value(VALUE_ITEM, (int64_t)item.priority << 32 | item.number, 0);
}

static void check_put(struct item item, bool was_put)
{
    if (!was_put && machine.item_state[item.number] & 2)
        broken("item %u was got, though it was not put", item.number);
    machine.item_state[item.number] |= was_put ? 1 : 4;
    machine.kept_items += was_put;
}

static int put(const struct statement *at, int index)
{
    struct osr_queue *queue = &machine.queues[at->a % QUEUES];
    struct item item;
    int rc;

    share(&machine.items);
    if (machine.items == MOST_ITEMS)
        return 0;
    item = (struct item){++machine.items, at->b % 4};
    rc = at->op == OP_PUT ? osr_queue_put_here(queue, &item, place_of(index, false)) : osr_queue_try_put(queue, &item);
    check_put(item, rc == 0);
    return rc;
}

static int get(const struct statement *at, int index)
{
    struct osr_queue *queue = &machine.queues[at->a % QUEUES];
    struct item item = {0, 0};
    int rc = at->op == OP_GET ? osr_queue_get_here(queue, &item, place_of(index, false))
                              : osr_queue_try_get(queue, &item);

    if (rc == 0)
        check_item(item);
    return rc;
}

static int select_case(const struct statement *at, int index)
{
    struct osr_case cases[MOST_CASES];
    struct item items[MOST_CASES] = {{0, 0}};
    unsigned count = cases_of(at), i;
    int rc;

    if (machine.items + MOST_CASES > MOST_ITEMS)
        return 0;
    for (i = 0; i < count; i++) {
        cases[i] = (struct osr_case){.queue = &machine.queues[case_queue(at, i)], .item = &items[i]};
        cases[i].put = case_puts(at, i);
        if (cases[i].put)
            items[i] = (struct item){++machine.items, i % 2};
    }
    rc = at->op == OP_SELECT
             ? osr_select_here(cases, count, moment_in_run(until_of(at, now())), place_of(index, false))
             : osr_try_select(cases, count);
    for (i = 0; i < count; i++)
        if (cases[i].put)
            check_put(items[i], (int)i == rc && cases[i].rc == 0);
    if (rc < 0)
        return rc;
    note_value(VALUE_CASE, rc, cases[rc].rc);
    if (!cases[rc].put && cases[rc].rc == 0)
        check_item(items[rc]);
    return rc;
}

static int with_lock(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    struct osr_lock *lock = &machine.locks[at->a % LOCKS];
    int rc = at->op == OP_LOCK ? osr_lock_acquire_here(lock, place_of(index, false)) : osr_lock_try_acquire(lock);

    if (rc < 0)
        return rc;
    rc = run_block(actor, index, NULL);
    if (!osr_lock_is_mine(lock))
        broken("a lock is not held by who took it");
    note_value(VALUE_RESULT, osr_lock_release(lock), 0);
    return rc;
}

static int await(const struct statement *at, int index)
{
    int rc = osr_condition_wait_here(&machine.conditions[at->a % LOCKS], place_of(index, false));

    if (rc == 0 && !osr_lock_is_mine(&machine.locks[at->a % LOCKS]))
        broken("a wait on a condition came back without the lock");
    return rc;
}

static int acquire(const struct statement *at, int index)
{
    struct osr_semaphore *semaphore = &machine.semaphores[at->a % SEMAPHORES];
    int rc = at->op == OP_ACQUIRE ? osr_semaphore_acquire_here(semaphore, place_of(index, false))
                                  : osr_semaphore_try_acquire(semaphore);

    machine.taken[at->a % SEMAPHORES] += rc == 0;
    return rc;
}

int use_primitive(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    struct osr_event *event = &machine.events[at->a % EVENTS];
    struct osr_queue *queue = &machine.queues[at->a % QUEUES];
    int rc;

    switch (at->op) {
    case OP_WAIT:
        return osr_event_wait_here(event, place_of(index, false));
    case OP_SET:
        return osr_event_set(event);
    case OP_CLEAR:
        return osr_event_clear(event);
    case OP_LOCK:
    case OP_TRY_LOCK:
        return with_lock(actor, index);
    case OP_AWAIT:
        return await(at, index);
    case OP_NOTIFY:
        return at->b % 4 == 3 ? osr_condition_notify_all(&machine.conditions[at->a % LOCKS])
                              : osr_condition_notify(&machine.conditions[at->a % LOCKS], at->b % 4);
    case OP_ACQUIRE:
    case OP_TRY_ACQUIRE:
        return acquire(at, index);
    case OP_GIVE:
        rc = osr_semaphore_release(&machine.semaphores[at->a % SEMAPHORES]);
        machine.given[at->a % SEMAPHORES] += rc == 0;
        return rc;
    case OP_MEET:
        return osr_barrier_wait_here(&machine.barriers[at->a % BARRIERS], place_of(index, false));
    case OP_BREAK:
        return at->b % 2 ? osr_barrier_reset(&machine.barriers[at->a % BARRIERS])
                         : osr_barrier_abort(&machine.barriers[at->a % BARRIERS]);
    case OP_PUT:
    case OP_TRY_PUT:
        return put(at, index);
    case OP_GET:
    case OP_TRY_GET:
        return get(at, index);
    case OP_DONE:
        return osr_queue_task_done(queue);
    case OP_SELECT:
    case OP_TRY_SELECT:
        return select_case(at, index);
    case OP_BORROW:
    case OP_TRY_BORROW:
        return with_permit(actor, index);
    case OP_TOTAL:
        return osr_limiter_set_total(&machine.limiters[at->a % LIMITERS], at->b % 4);
    case OP_SETTLE:
    case OP_EXPECT:
    case OP_RESULT:
        return use_future(at, index);
    case OP_QUEUE_JOIN:
        return osr_queue_join_here(queue, place_of(index, false));
    default:
        return osr_queue_shutdown(queue, at->b % 2);
    }
}
