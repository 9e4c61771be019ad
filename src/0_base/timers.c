#include "0_base/timers.h"

#include <assert.h>

#include <osier/time.h>

/* The heap's width: four children share a cache line or two, and the tree is half as deep as a binary one. */
enum { WIDTH = 4, FIRST_CAPACITY = 64 };

void osri_timers_open(struct timers *timers, const struct memory *memory)
{
    *timers = (struct timers){.fresh_at = OSR_NEVER, .memory = memory};
    list_init(&timers->fresh);
}

void osri_timers_close(struct timers *timers)
{
    assert(timers->reserved == 0);
    assert(timers->count == 0);
    osri_free(timers->memory, timers->heap);
}

/* ---- The heap ---- */

static bool earlier(const struct timer_slot *a, const struct timer_slot *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void place(struct timers *timers, uint32_t index, struct timer_slot slot)
{
    timers->heap[index] = slot;
    slot.timer->index = index;
}

static void sift_up(struct timers *timers, uint32_t index, struct timer_slot slot)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / WIDTH;

        if (!earlier(&slot, &timers->heap[parent]))
            break;
        place(timers, index, timers->heap[parent]);
        index = parent;
    }
    place(timers, index, slot);
}

static uint32_t earliest_child(const struct timers *timers, uint32_t index)
{
    uint32_t first = index * WIDTH + 1, best = first, i;

    for (i = first + 1; i < first + WIDTH && i < timers->heaped; i++)
        if (earlier(&timers->heap[i], &timers->heap[best]))
            best = i;
    return best;
}

static void sift_down(struct timers *timers, uint32_t index, struct timer_slot slot)
{
    while (index * WIDTH + 1 < timers->heaped) {
        uint32_t child = earliest_child(timers, index);

        if (!earlier(&timers->heap[child], &slot))
            break;
        place(timers, index, timers->heap[child]);
        index = child;
    }
    place(timers, index, slot);
}

static void heap_add(struct timers *timers, struct osr_timer_ *timer)
{
    timer->state = TIMER_HEAPED;
    sift_up(timers, timers->heaped++, (struct timer_slot){timer->at, ++timers->order, timer});
}

static void heap_remove(struct timers *timers, struct osr_timer_ *timer)
{
    struct timer_slot last = timers->heap[--timers->heaped];
    uint32_t index = timer->index;

    if (index == timers->heaped)
        return;
    if (index > 0 && earlier(&last, &timers->heap[(index - 1) / WIDTH]))
        sift_up(timers, index, last);
    else
        sift_down(timers, index, last);
}

/* ---- Setting and clearing ---- */

int osri_timers_grow(struct timers *timers)
{
    uint32_t capacity = timers->capacity ? timers->capacity * 2 : FIRST_CAPACITY;
    struct timer_slot *heap;

    if (capacity <= timers->capacity || capacity > UINT32_MAX / WIDTH)
        return -ENOMEM;
    heap = osri_resize(timers->memory, timers->heap, capacity * sizeof(*heap));
    if (!heap)
        return -ENOMEM;
    timers->heap = heap;
    timers->capacity = capacity;
    return 0;
}

int osri_timers_reserve(struct timers *timers)
{
    if (timers->count + timers->reserved >= timers->capacity && osri_timers_grow(timers) < 0)
        return -ENOMEM;
    timers->reserved++;
    return 0;
}

void osri_timer_clear_heaped(struct timers *timers, struct osr_timer_ *timer)
{
    heap_remove(timers, timer);
    timer->state = TIMER_IDLE;
    timers->count--;
}

/* ---- Firing ---- */

static void take_fresh(struct timers *timers)
{
    struct osr_list_ *node;

    while ((node = list_pop(&timers->fresh)) != NULL)
        heap_add(timers, container_of(node, struct osr_timer_, node));
    timers->fresh_at = OSR_NEVER;
}

int64_t osri_timers_next(struct timers *timers)
{
    take_fresh(timers);
    return timers->heaped ? timers->heap[0].at : OSR_NEVER;
}

/* The heap's index of the `pick`-th of the timers that share the earliest time, counted in their order. */
static uint32_t nth_of_earliest(const struct timers *timers, unsigned pick)
{
    const struct timer_slot *found = &timers->heap[0];

    while (pick-- > 0) {
        const struct timer_slot *next = NULL;
        uint32_t i;

        for (i = 0; i < timers->heaped; i++) {
            const struct timer_slot *slot = &timers->heap[i];

            if (slot->at == found->at && slot->order > found->order && (!next || slot->order < next->order))
                next = slot;
        }
        found = next;
    }
    return (uint32_t)(found - timers->heap);
}

static unsigned count_earliest(const struct timers *timers)
{
    unsigned n = 0;
    uint32_t i;

    for (i = 0; i < timers->heaped; i++)
        n += timers->heap[i].at == timers->heap[0].at;
    return n;
}

static struct osr_timer_ *take_earliest(struct timers *timers, const struct door *door)
{
    unsigned pick = 0;
    uint32_t index;
    struct osr_timer_ *timer;

    if (unlikely(door->choose != NULL))
        pick = osri_choose(door, OSR_CHOICE_DEADLINE, count_earliest(timers), "deadline");
    index = pick ? nth_of_earliest(timers, pick) : 0;
    timer = timers->heap[index].timer;
    heap_remove(timers, timer);
    __builtin_prefetch(timers->heap[0].timer, 1); /* probably the next one */
    return timer;
}

bool osri_timers_due(struct timers *timers, int64_t now)
{
    if (timers->fresh_at <= now)
        take_fresh(timers);
    return timers->heaped && timers->heap[0].at <= now;
}

void osri_timers_fire(struct timers *timers, const struct door *door, int64_t now)
{
    struct osr_list_ late, *node;

    list_init(&late);
    while (osri_timers_due(timers, now)) {
        struct osr_timer_ *timer = take_earliest(timers, door);

        if (timer->late) {
            timer->state = TIMER_LISTED; /* so that an earlier one's firing may still clear it */
            list_append(&late, &timer->node);
        } else {
            timer->state = TIMER_IDLE;
            timers->count--;
            timer->fire(timer);
        }
    }
    while ((node = list_pop(&late)) != NULL) {
        struct osr_timer_ *timer = container_of(node, struct osr_timer_, node);

        timer->state = TIMER_IDLE;
        timers->count--;
        timer->fire(timer);
    }
}
