/*
 * Queues. A put gives its item to the getter that has waited longest, else to the buffer; a get takes from the buffer,
 * which the putter that has waited longest then fills up again, else from that putter itself. So there are waiting
 * getters only while the buffer is empty, and waiting putters only while it is full.
 */
#include <osier/queue.h>

#include <string.h>

#include "0_base/memory.h"
#include "2_sched/wait.h"

enum { FIRST_ROOM = 16 };

enum shut { OPEN, DRAINING, AT_ONCE, BAD /* could not be made, or was destroyed */ };

/* ---- The buffer ---- */

static inline void copy(void *to, const void *from, size_t size)
{
    if (likely(size == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, size);
}

static inline char *item_at(const struct osr_queue *queue, size_t index)
{
    return queue->items_ + index * queue->item_size_;
}

/* Where the `n`-th of a FIFO's items lies. */
static inline size_t turned(const struct osr_queue *queue, size_t n)
{
    size_t index = queue->head_ + n;

    return index >= queue->room_ ? index - queue->room_ : index;
}

static void *resize(const struct osr_queue *queue, void *memory, size_t size)
{
    const struct memory from = {queue->allocator_, osri_sched ? &osri_sched->door : NULL};

    return osri_resize(&from, memory, size);
}

static void release(const struct osr_queue *queue, void *memory)
{
    const struct memory from = {queue->allocator_, NULL};

    osri_free(&from, memory);
}

/* Makes room for `room` items in all: 0; -ENOMEM, and nothing has changed. */
static int make_room(struct osr_queue *queue, size_t room)
{
    size_t bytes, old = queue->room_;
    uint64_t *turns;
    char *items;

    if (__builtin_mul_overflow(room, queue->item_size_, &bytes))
        return -ENOMEM;
    if (queue->order_ == OSR_QUEUE_PRIORITY) {
        turns = room > SIZE_MAX / sizeof(*turns) ? NULL : resize(queue, queue->turns_, room * sizeof(*turns));
        if (!turns)
            return -ENOMEM;
        queue->turns_ = turns;
    }
    items = resize(queue, queue->items_, bytes);
    if (!items)
        return -ENOMEM;
    queue->items_ = items;
    queue->room_ = room;
    /* Of a FIFO that had gone round, the part at the old end goes to the new one. */
    if (queue->order_ == OSR_QUEUE_FIFO && queue->head_ + queue->count_ > old) {
        size_t part = old - queue->head_;

        memmove(item_at(queue, room - part), item_at(queue, queue->head_), part * queue->item_size_);
        queue->head_ = room - part;
    }
    return 0;
}

/* Whether the item at index `a` of the heap comes before the one at `b`. */
static bool comes_before(const struct osr_queue *queue, size_t a, size_t b)
{
    int order = queue->compare_(item_at(queue, a), item_at(queue, b));

    return order != 0 ? order < 0 : queue->turns_[a] < queue->turns_[b];
}

static void swap(struct osr_queue *queue, size_t a, size_t b)
{
    char *x = item_at(queue, a), *y = item_at(queue, b);
    uint64_t turn = queue->turns_[a];
    size_t i;

    queue->turns_[a] = queue->turns_[b];
    queue->turns_[b] = turn;
    for (i = 0; i < queue->item_size_; i++) {
        char byte = x[i];

        x[i] = y[i];
        y[i] = byte;
    }
}

static void sift_up(struct osr_queue *queue, size_t at)
{
    while (at > 0 && comes_before(queue, at, (at - 1) / 2)) {
        swap(queue, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct osr_queue *queue)
{
    size_t at = 0, child;

    while ((child = 2 * at + 1) < queue->count_) {
        if (child + 1 < queue->count_ && comes_before(queue, child + 1, child))
            child++;
        if (!comes_before(queue, child, at))
            return;
        swap(queue, child, at);
        at = child;
    }
}

/* There is room. */
static inline void push(struct osr_queue *queue, const void *item)
{
    size_t at = likely(queue->order_ == OSR_QUEUE_FIFO) ? turned(queue, queue->count_) : queue->count_;

    copy(item_at(queue, at), item, queue->item_size_);
    queue->count_++;
    if (unlikely(queue->order_ == OSR_QUEUE_PRIORITY)) {
        queue->turns_[at] = queue->turn_++;
        sift_up(queue, at);
    }
}

/* There is an item. */
static inline void pop(struct osr_queue *queue, void *item)
{
    size_t at = likely(queue->order_ == OSR_QUEUE_FIFO) ? queue->head_ : queue->count_ - 1;

    queue->count_--;
    if (unlikely(queue->order_ == OSR_QUEUE_PRIORITY)) {
        swap(queue, 0, at);
        sift_down(queue);
    }
    if (likely(queue->order_ == OSR_QUEUE_FIFO))
        queue->head_ = turned(queue, 1);
    copy(item, item_at(queue, at), queue->item_size_);
}

/* ---- Making and destroying ---- */

int osr_queue_init_with(struct osr_queue *queue, size_t item_size, size_t capacity,
                        const struct osr_queue_options *options)
{
    static const struct osr_queue_options none = {.size = sizeof(none)};
    size_t bytes;
    int rc;

    if (!queue)
        return osri_failed(-EINVAL, NULL);
    if (!options)
        options = &none;
    *queue = (struct osr_queue){.capacity_ = capacity, .order_ = (unsigned char)options->order, .shut_ = BAD};
    queue->allocator_ = osri_sched ? osri_sched->memory.from : osri_malloc_allocator;
    queue->compare_ = options->compare;
    queue->dispose_ = options->dispose;
    osr_waiters_init(&queue->getters_);
    osr_waiters_init(&queue->putters_);
    osr_waiters_init(&queue->joiners_);
    if (options->size != sizeof(*options) || item_size == 0 || (unsigned)options->order > OSR_QUEUE_PRIORITY ||
        (options->order == OSR_QUEUE_PRIORITY) != (options->compare != NULL) ||
        (options->buffer && (capacity == OSR_UNBOUNDED || options->order == OSR_QUEUE_PRIORITY)))
        return osri_failed(-EINVAL, NULL);
    if (capacity != OSR_UNBOUNDED && __builtin_mul_overflow(capacity, item_size, &bytes))
        return osri_failed(-EOVERFLOW, NULL);
    queue->item_size_ = item_size;
    queue->owned_ = !options->buffer;
    if (options->buffer) {
        queue->items_ = options->buffer;
        queue->room_ = capacity;
    } else if (capacity != OSR_UNBOUNDED && capacity > 0) {
        rc = make_room(queue, capacity);
        if (rc < 0) {
            release(queue, queue->turns_);
            return osri_failed(rc, NULL);
        }
    }
    queue->shut_ = OPEN;
    return 0;
}

/* Takes all items out; they count as done. The queue is shut down, so that what dispose() calls cannot put others in. */
static void drop_items(struct osr_queue *queue)
{
    queue->dropping_ = true;
    while (queue->count_ > 0) {
        size_t at = queue->order_ == OSR_QUEUE_FIFO ? queue->head_ : queue->count_ - 1;

        if (queue->order_ == OSR_QUEUE_FIFO)
            queue->head_ = turned(queue, 1);
        queue->count_--;
        queue->unfinished_--;
        if (queue->dispose_ && osri_sched)
            osri_touch(&osri_sched->door, OSR_TOUCH_ALL, NULL);
        if (queue->dispose_)
            queue->dispose_(item_at(queue, at));
    }
    queue->dropping_ = false;
}

static bool is_bad(const struct osr_queue *queue)
{
    return unlikely(!queue || queue->shut_ == BAD);
}

int osr_queue_destroy(struct osr_queue *queue)
{
    if (is_bad(queue))
        return osri_failed(-EINVAL, NULL);
    if (!osr_waiters_empty(&queue->getters_) || !osr_waiters_empty(&queue->putters_) ||
        !osr_waiters_empty(&queue->joiners_) || queue->dropping_)
        return osri_failed(-EBUSY, NULL);
    queue->shut_ = AT_ONCE;
    drop_items(queue);
    if (queue->owned_) {
        release(queue, queue->items_);
        release(queue, queue->turns_);
    }
    queue->shut_ = BAD;
    queue->count_ = queue->room_ = 0;
    return 0;
}

/* ---- Putting and getting ---- */

/* What a waiter is part of: a case of a select, or NULL for a plain put or get. */
static struct osr_case *case_of(struct osr_waiter_ *waiter)
{
    return waiter == &waiter->wait_->waiter_ ? NULL : container_of(waiter, struct osr_case, waiter_);
}

/* Wakes who waits with what became of the put or get. */
static inline void answer(struct sched *sched, struct osr_waiter_ *waiter, int rc)
{
    struct osr_case *one = case_of(waiter);

    if (unlikely(one != NULL)) {
        one->rc = rc;
        rc = waiter->number_;
    }
    osri_wake(sched, waiter->wait_, rc);
}

/* 0; -EAGAIN; -ESHUTDOWN; -ENOMEM; -EPERM. */
static inline __attribute__((always_inline)) int put_now(struct sched *sched, struct osr_queue *queue, const void *item)
{
    struct osr_waiter_ *getter;

    if (unlikely(queue->shut_))
        return queue->shut_ == BAD ? -EINVAL : -ESHUTDOWN;
    getter = osri_first(&queue->getters_);
    if (getter) {
        if (!osri_is_here(sched, getter))
            return -EPERM;
        copy(getter->item_, item, queue->item_size_);
        queue->unfinished_++;
        answer(sched, getter, 0);
        return 0;
    }
    if (queue->count_ == queue->room_) {
        if (likely(queue->capacity_ != OSR_UNBOUNDED))
            return -EAGAIN;
        if (make_room(queue, queue->room_ ? queue->room_ * 2 : FIRST_ROOM) < 0)
            return -ENOMEM;
    }
    push(queue, item);
    queue->unfinished_++;
    return 0;
}

/* 0; -EAGAIN; -ESHUTDOWN; -EPERM. */
static inline __attribute__((always_inline)) int get_now(struct sched *sched, struct osr_queue *queue, void *item)
{
    struct osr_waiter_ *putter = osri_first(&queue->putters_);

    if (putter && !osri_is_here(sched, putter))
        return -EPERM;
    if (queue->count_ > 0)
        pop(queue, item);
    else if (putter)
        copy(item, putter->item_, queue->item_size_);
    else if (likely(!queue->shut_))
        return -EAGAIN;
    else
        return queue->shut_ == BAD ? -EINVAL : -ESHUTDOWN;
    if (putter) {
        if (queue->capacity_ > 0)
            push(queue, putter->item_);
        queue->unfinished_++;
        answer(sched, putter, 0);
    }
    return 0;
}

/* 0 if the caller may do something with the queue and the item now; -EINVAL; -EPERM. */
static inline int may_use(struct sched *sched, const struct osr_queue *queue, const void *item)
{
    if (unlikely(!queue || !item))
        return -EINVAL;
    return osri_is_inside(sched) ? 0 : -EPERM;
}

/* The same, of who has not entered. */
static inline int may_try(struct sched *sched, const struct osr_queue *queue, const void *item)
{
    int rc = may_use(sched, queue, item);

    if (rc == 0)
        osri_touch(&sched->door, OSR_TOUCH_WRITE, queue);
    return rc;
}

int osr_queue_put_here(struct osr_queue *queue, const void *item, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, queue, where);

    if (rc < 0)
        return rc;
    rc = may_use(sched, queue, item);
    if (likely(rc == 0))
        rc = put_now(sched, queue, item);
    if (rc == -EAGAIN)
        return osri_park(sched, &queue->putters_, (void *)item, "osr_queue_put", where);
    if (unlikely(rc < 0))
        osri_task_failed(sched->current, rc, where);
    osri_at_once(sched);
    return rc;
}

int osr_queue_get_here(struct osr_queue *queue, void *item, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, queue, where);

    if (rc < 0)
        return rc;
    rc = may_use(sched, queue, item);
    if (likely(rc == 0))
        rc = get_now(sched, queue, item);
    if (rc == -EAGAIN)
        return osri_park(sched, &queue->getters_, item, "osr_queue_get", where);
    if (unlikely(rc < 0))
        osri_task_failed(sched->current, rc, where);
    osri_at_once(sched);
    return rc;
}

int osr_queue_try_put(struct osr_queue *queue, const void *item)
{
    int rc = may_try(osri_sched, queue, item);

    if (rc == 0)
        rc = put_now(osri_sched, queue, item);
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

int osr_queue_try_get(struct osr_queue *queue, void *item)
{
    int rc = may_try(osri_sched, queue, item);

    if (rc == 0)
        rc = get_now(osri_sched, queue, item);
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

/* ---- Work that is finished ---- */

static void dismiss_joiners(struct sched *sched, struct osr_queue *queue)
{
    struct osr_waiter_ *joiner;

    while (queue->unfinished_ == 0 && (joiner = osri_first(&queue->joiners_)) != NULL)
        osri_wake(sched, joiner->wait_, 0);
}

int osr_queue_task_done(struct osr_queue *queue)
{
    int rc = is_bad(queue) ? -EINVAL : osri_may_wake(osri_sched, &queue->joiners_);

    if (rc == 0)
        osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, queue);
    if (rc == 0 && queue->unfinished_ == queue->count_) /* what is still in the queue cannot be done */
        rc = -EINVAL;
    if (rc < 0)
        return osri_failed(rc, NULL);
    queue->unfinished_--;
    dismiss_joiners(osri_sched, queue);
    return 0;
}

int osr_queue_join_here(struct osr_queue *queue, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, queue, where);

    if (rc < 0)
        return rc;
    if (is_bad(queue))
        return osri_task_failed(sched->current, -EINVAL, where);
    if (queue->unfinished_ == 0) {
        osri_at_once(sched);
        return 0;
    }
    return osri_park(sched, &queue->joiners_, NULL, "osr_queue_join", where);
}

/* ---- Shutting down ---- */

static void dismiss(struct sched *sched, struct osr_waiters *waiters)
{
    struct osr_waiter_ *first;

    while ((first = osri_first(waiters)) != NULL)
        answer(sched, first, -ESHUTDOWN);
}

int osr_queue_shutdown(struct osr_queue *queue, bool at_once)
{
    struct sched *sched = osri_sched;
    int rc = is_bad(queue) ? -EINVAL : osri_may_wake(sched, &queue->getters_);

    if (rc == 0)
        rc = osri_may_wake(sched, &queue->putters_);
    if (rc == 0)
        rc = osri_may_wake(sched, &queue->joiners_);
    if (rc == 0)
        osri_touch(&sched->door, OSR_TOUCH_WRITE, queue);
    if (rc == 0 && queue->shut_ >= (at_once ? AT_ONCE : DRAINING))
        rc = -EALREADY;
    if (rc < 0)
        return osri_failed_or_late(rc, NULL);
    queue->shut_ = at_once ? AT_ONCE : DRAINING;
    dismiss(sched, &queue->putters_);
    dismiss(sched, &queue->getters_);
    if (at_once) {
        drop_items(queue);
        dismiss_joiners(sched, queue);
    }
    return 0;
}

/* ---- Select ---- */

struct selecting {
    struct osr_wait wait;
    struct osr_timer_ timer;
};

static void time_is_up(struct osr_timer_ *timer)
{
    osri_wake(osri_sched, &container_of(timer, struct selecting, timer)->wait, -ETIMEDOUT);
}

static int check_cases(struct sched *sched, const struct osr_case *cases, size_t count)
{
    size_t i;
    int rc = cases && count > 0 && count <= INT32_MAX ? 0 : -EINVAL;

    for (i = 0; rc == 0 && i < count; i++)
        rc = is_bad(cases[i].queue) ? -EINVAL : may_try(sched, cases[i].queue, cases[i].item);
    return rc;
}

/* Does the first case that can be done: its index; -EAGAIN if there is none; -ENOMEM; -EPERM. */
static int select_now(struct sched *sched, struct osr_case *cases, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        struct osr_case *one = &cases[i];

        one->rc = one->put ? put_now(sched, one->queue, one->item) : get_now(sched, one->queue, one->item);
        if (one->rc == 0 || one->rc == -ESHUTDOWN)
            return (int)i;
        if (one->rc != -EAGAIN)
            return one->rc;
    }
    return -EAGAIN;
}

static int park_in_all(struct sched *sched, struct osr_case *cases, size_t count, int64_t until, const char *where)
{
    struct selecting selecting;
    struct osr_waiter_ *last = &selecting.wait.waiter_;
    size_t i;

    sched->current->entered = NULL; /* several */
    wait_init(&selecting.wait, sched->current, "osr_select", where);
    if (until != OSR_NEVER) {
        osri_timer_init(&selecting.timer, time_is_up, false);
        if (osri_timer_set(&sched->timers, &selecting.timer, until) < 0)
            return osri_task_failed(sched->current, -ENOMEM, where);
        selecting.wait.timer_ = &selecting.timer;
    }
    for (i = 0; i < count; i++) {
        struct osr_case *one = &cases[i];

        waiter_init(&one->waiter_, &selecting.wait, one->item, (int)i);
        last->also_ = &one->waiter_;
        last = &one->waiter_;
        list_append(one->put ? &one->queue->putters_.list_ : &one->queue->getters_.list_, &one->waiter_.node_);
    }
    return osri_wait(sched, &selecting.wait);
}

int osr_select_here(struct osr_case *cases, size_t count, int64_t until, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, osri_nothing, where);

    if (rc < 0)
        return rc;
    rc = until == OSR_TIME_INVALID ? -EINVAL : check_cases(sched, cases, count);
    if (rc == 0)
        rc = select_now(sched, cases, count);
    if (rc == -EAGAIN && until != OSR_NEVER && until <= osri_now(sched))
        rc = -ETIMEDOUT;
    if (rc == -EAGAIN)
        return park_in_all(sched, cases, count, until, where);
    if (rc < 0)
        osri_task_failed(sched->current, rc, where);
    osri_at_once(sched);
    return rc;
}

int osr_try_select(struct osr_case *cases, size_t count)
{
    int rc = osri_sched ? check_cases(osri_sched, cases, count) : -EPERM;

    if (rc == 0)
        rc = select_now(osri_sched, cases, count);
    return rc < 0 ? osri_failed(rc, NULL) : rc;
}
