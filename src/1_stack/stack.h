/*
 * The stacks of tasks: guarded, pooled, and laid out so that their tops do not fall into the same cache sets.
 *
 * A stack is a region of fixed size. Its lowest pages are the guard. At its top lies the object that the owner of
 * the pool keeps there (a task), which begins with the fiber below; the stack grows down from it. The memory of
 * a stack that was given back stays as it is, and the next one that is taken is the one given back last. Those that
 * nobody has needed for a while can be left without memory (osri_stacks_trim()); then they are the last to be taken.
 */
#ifndef OSIER_STACK_STACK_H
#define OSIER_STACK_STACK_H

#include "0_base/memory.h"
#include "0_base/tools.h"
#include "1_stack/context.h"

/* What there is to know of a stack, which a switch need not touch. */
struct lining {
    char *low, *high;   /* what it may use: from above the guard up to the object */
    void *fake;         /* AddressSanitizer's fake stack, kept with this one from task to task */
    void *tsan;
    unsigned valgrind;
};

struct fiber {
    struct context context; /* first: where it was left */
    struct lining *lining;
};

struct slab;

/* Brings the line of the object that begins with `fiber` into the cache. */
static inline __attribute__((always_inline)) void osri_prefetch(const void *fiber, int line)
{
    __builtin_prefetch((const void *)((uintptr_t)fiber + (uintptr_t)line * 64), 1);
}

struct stacks {
    size_t size;   /* of a stack */
    size_t stride; /* of a region: a stack and its guard */
    size_t room;  /* at its top, for the object */
    size_t lining_at; /* where in the object that is */
    size_t page, guard;
    struct fiber **idle;  /* those given back are at 1 to `count`, the latest last; there is room for all, and at 0
                           * something that it does no harm to fetch: to look for what is not mapped takes long */
    size_t count, bare;   /* in the pool; of them, those without memory, which come first */
    size_t least;         /* of those with memory, while somebody looked since the last trimming */
    struct slab *slabs;   /* newest first */
    size_t made, regions; /* of the newest slab: regions in use so far, and in all */
    size_t guarded;       /* of the newest slab: those that have their guards */
    size_t total;         /* regions in use of all slabs */
    bool by_mprotect;     /* the system has no cheap guards */
    bool one_by_one;      /* nor several at once */
    unsigned tools;
    const struct memory *memory;
    const struct door *door;
};

/* `size` is a power of two, and at least a page where it comes out smaller; `room` the size of the object on top, in which
 * the lining lies at `lining_at`. */
void osri_stacks_open(struct stacks *stacks, size_t size, size_t room, size_t lining_at, const struct memory *memory,
                      const struct door *door);

/* Every stack must have been given back. */
void osri_stacks_close(struct stacks *stacks);

/* How many bytes can be used below the object. */
static inline size_t osri_stack_span(const struct fiber *fiber)
{
    return (size_t)(fiber->lining->high - fiber->lining->low);
}

struct fiber *osri_stack_make(struct stacks *stacks, int *code);

/* Brings lines into the cache while another task runs: from `low` on, below the object where that is less than 0, up to
 * `high` excluded. */
static inline __attribute__((always_inline)) void osri_stack_prefetch(const void *fiber, int low, int high)
{
    int line;

#pragma GCC unroll 16
    for (line = low; line < high; line++)
        osri_prefetch(fiber, line);
}

/* A stack, as the fiber that begins the object at its top, zeroed the first time; NULL with a code: -ENOMEM, or
 * -EAGAIN where the number of mappings (vm.max_map_count) stands in the way. */
static inline struct fiber *osri_stack_take(struct stacks *stacks, int *code)
{
    struct fiber *fiber;

    if (unlikely(stacks->count == stacks->bare))
        return osri_stack_make(stacks, code);
    fiber = stacks->idle[stacks->count--];
    if (unlikely(stacks->tools & TOOL_ASAN))
        osri_asan_unpoison(fiber->lining->low, osri_stack_span(fiber));
    return fiber;
}

static inline void osri_stack_give(struct stacks *stacks, struct fiber *fiber)
{
    stacks->idle[++stacks->count] = fiber;
}

/* The one to be taken after the next one; if there is none, what it does no harm to fetch. */
static inline struct fiber *osri_stack_after_next(const struct stacks *stacks)
{
    return stacks->idle[stacks->count > 0 ? stacks->count - 1 : 0];
}

/* How many have memory that nobody uses. */
static inline size_t osri_stacks_idle(const struct stacks *stacks)
{
    return stacks->count - stacks->bare;
}

/* To be said now and then: notes how many are idle. */
static inline void osri_stacks_note(struct stacks *stacks)
{
    size_t idle = osri_stacks_idle(stacks);

    if (idle < stacks->least)
        stacks->least = idle;
}

/* Gives memory of stacks back to the system that were idle whenever that was noted since the last time, but for `keep` of
 * them, and of `most` at once. Whether there are more of them. */
bool osri_stacks_trim(struct stacks *stacks, size_t keep, size_t most);

/* ---- Fibers ---- */

/* A fiber on the stack that the thread has already, for the one who runs the others. */
void osri_fiber_adopt(struct fiber *fiber, struct lining *lining, unsigned tools);

/* Makes the fiber begin with entry(fiber) when it is next switched to; `taken` bytes below the object are in use.
 * The entry calls osri_fiber_begin() first, and leaves by a switch. */
static inline void osri_fiber_make(struct fiber *fiber, size_t taken, void (*entry)(void *fiber))
{
    osri_context_make(&fiber->context, fiber->lining->low, (char *)fiber - taken, entry);
}

void osri_fiber_switch_told(struct fiber *from, struct fiber *to, unsigned tools);

static inline void osri_fiber_switch(struct fiber *from, struct fiber *to, unsigned tools)
{
    if (unlikely(tools != 0))
        osri_fiber_switch_told(from, to, tools);
    else
        osri_context_switch(&from->context, &to->context);
}

static inline void osri_fiber_begin(struct fiber *fiber, unsigned tools)
{
    if (unlikely(tools & TOOL_ASAN))
        osri_asan_enter(fiber->lining->fake);
}

#endif
