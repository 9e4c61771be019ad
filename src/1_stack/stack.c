#include "1_stack/stack.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "0_base/sys.h"

#ifndef MADV_GUARD_INSTALL /* Linux 6.13 */
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

/*
 * Neighbouring stacks begin at different distances from the ends of their top pages, so that what every task touches lies
 * in different sets of the nearest cache; the longest distance leaves half of the page to the first frames. Which of the
 * distances comes first moves on with every round of them; and the distance from one stack to the next is an odd number of
 * pages, since the guard comes on top of a power of two. So over a thousand stacks all sets of the second cache and of the
 * cache of page translations have their share.
 */
enum { COLOURS = 32, COLOUR_SIZE = 64 };

/* The guard is what a frame can leap over that is not probed page by page, as are those of the C library (8 KB to print to
 * standard error) and many others, which have buffers of 16 KB. An odd number: see above. */
enum { GUARD_PAGES = 5 };

/* Slabs grow from few regions to many: a small program takes little, a large one makes few mappings. */
enum { FIRST_REGIONS = 16, MOST_REGIONS = 1024 };

struct slab {
    struct slab *next;
    char *base;
    size_t regions;
};

void osri_stacks_open(struct stacks *stacks, size_t size, size_t room, size_t lining_at, const struct memory *memory,
                      const struct door *door)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    size = (size + page - 1) & ~(page - 1); /* pages may be larger than small stacks */
    *stacks = (struct stacks){
        .size = size,
        .page = page,
        .stride = size + GUARD_PAGES * page,
        .room = (room + COLOUR_SIZE - 1) & ~(size_t)(COLOUR_SIZE - 1),
        .lining_at = lining_at,
        .guard = GUARD_PAGES * page,
        .tools = osri_tools(),
        .one_by_one = osri_valgrind_runs(),
        .memory = memory,
        .door = door,
    };
}

/* ---- Slabs ---- */

/* Makes room for as many more in the pool, so that giving one back cannot fail. */
static int make_room(struct stacks *stacks, size_t regions)
{
    struct fiber **idle = osri_resize(stacks->memory, stacks->idle, (1 + stacks->total + regions) * sizeof(*idle));

    if (!idle)
        return -ENOMEM;
    idle[0] = (struct fiber *)(void *)idle;
    stacks->idle = idle;
    return 0;
}

static int add_slab(struct stacks *stacks)
{
    size_t regions = stacks->slabs ? stacks->regions * 2 : FIRST_REGIONS;
    struct slab *slab;
    int code;

    if (regions > MOST_REGIONS)
        regions = MOST_REGIONS;
    slab = make_room(stacks, regions) == 0 ? osri_alloc(stacks->memory, sizeof(*slab)) : NULL;
    if (!slab)
        return -ENOMEM;
    slab->base = osri_sys_map(stacks->door, regions * stacks->stride, &code);
    if (!slab->base) {
        osri_free(stacks->memory, slab);
        return code;
    }
    /* A huge page for a stack that needs a small one costs milliseconds; a system that has none to give
     * refuses this, which is as good. */
    (void)osri_sys_advise(stacks->door, slab->base, regions * stacks->stride, MADV_NOHUGEPAGE);
    slab->regions = regions;
    slab->next = stacks->slabs;
    stacks->slabs = slab;
    stacks->made = stacks->guarded = 0;
    stacks->regions = regions;
    return 0;
}

/* With one call: some more than there are stacks so far, but many of them never. Without a door, which is asked about each
 * of them; and Valgrind does not know that call. The pages that each of them will touch first come in by another one, for less
 * than by as many faults; where they do not, there is no harm in it. */
static size_t guard_many(struct stacks *stacks)
{
    char *pages[MOST_ADVISED];
    size_t count = stacks->regions - stacks->guarded, i;

    if (stacks->one_by_one || stacks->by_mprotect || stacks->total < 2 || stacks->door->choose)
        return 0;
    count = count < stacks->total ? count : stacks->total;
    count = count < MOST_ADVISED ? count : MOST_ADVISED;
    for (i = 0; i < count; i++)
        pages[i] = stacks->slabs->base + (stacks->guarded + i) * stacks->stride;
    count = osri_sys_advise_many(pages, count, stacks->guard, MADV_GUARD_INSTALL);
    for (i = 0; i < count; i++)
        pages[i] += stacks->stride - stacks->page;
    (void)osri_sys_advise_many(pages, count, stacks->page, MADV_POPULATE_WRITE);
    return count;
}

static int guard_one(struct stacks *stacks, char *at)
{
    int rc;

    if (!stacks->by_mprotect) {
        rc = osri_sys_advise(stacks->door, at, stacks->guard, MADV_GUARD_INSTALL);
        if (rc == 0 && stacks->total == 0 && !osri_sys_is_guarded(at))
            rc = -EINVAL; /* an emulator took the advice without following it */
        if (rc != -EINVAL)
            return rc;
        stacks->by_mprotect = true;
    }
    rc = osri_sys_protect(stacks->door, at, stacks->guard, PROT_NONE);
    return rc == -ENOMEM ? -EAGAIN : rc; /* each such guard splits a mapping, and mappings are limited */
}

/* Sees to it that the next region to be used has its guard. */
static int guard_next(struct stacks *stacks)
{
    size_t guarded;
    int rc;

    if (stacks->made < stacks->guarded)
        return 0;
    guarded = guard_many(stacks);
    if (guarded == 0) {
        stacks->one_by_one = stacks->one_by_one || stacks->total >= 2;
        rc = guard_one(stacks, stacks->slabs->base + stacks->made * stacks->stride);
        if (rc < 0)
            return rc;
        guarded = 1;
    }
    stacks->guarded += guarded;
    return 0;
}

static struct fiber *fiber_of(const struct stacks *stacks, char *base, size_t index)
{
    size_t colour = (index + index / COLOURS) % COLOURS;

    return (struct fiber *)(void *)(base + stacks->stride - stacks->room - colour * COLOUR_SIZE);
}

/* Makes a fiber that has its memory usable; the region begins at `base`. */
static struct fiber *furnish(struct stacks *stacks, char *base, struct fiber *fiber)
{
    struct lining *lining = (struct lining *)(void *)((char *)fiber + stacks->lining_at);

    if (stacks->tools & TOOL_ASAN) /* of what was mapped here before */
        osri_asan_unpoison(base, stacks->stride);
    memset(fiber, 0, stacks->room);
    fiber->lining = lining;
    lining->low = base + stacks->guard;
    lining->high = (char *)fiber;
    lining->valgrind = osri_valgrind_add(lining->low, fiber);
    if (stacks->tools & TOOL_TSAN)
        lining->tsan = osri_tsan_new();
    if (stacks->tools & TOOL_LSAN)
        osri_lsan_add(lining->low, stacks->size);
    return fiber;
}

/* Where the region of a fiber begins; the object on top does not reach beyond its last page. */
static char *base_of(const struct stacks *stacks, const struct fiber *fiber)
{
    uintptr_t top = ((uintptr_t)fiber + stacks->page) & ~(uintptr_t)(stacks->page - 1);

    return (char *)top - stacks->stride;
}

/* A region that nobody has used. */
static struct fiber *make_anew(struct stacks *stacks, int *code)
{
    char *base;

    *code = stacks->slabs && stacks->made < stacks->regions ? 0 : add_slab(stacks);
    if (*code == 0)
        *code = guard_next(stacks);
    if (*code < 0)
        return NULL;
    base = stacks->slabs->base + stacks->made * stacks->stride;
    stacks->total++;
    return furnish(stacks, base, fiber_of(stacks, base, stacks->made++));
}

struct fiber *osri_stack_make(struct stacks *stacks, int *code)
{
    struct fiber *fiber;

    stacks->least = 0;
    if (stacks->bare == 0)
        return make_anew(stacks, code);
    *code = 0;
    fiber = stacks->idle[stacks->count--];
    stacks->bare--;
    return furnish(stacks, base_of(stacks, fiber), fiber);
}

/* ---- Emptying and closing ---- */

/* AddressSanitizer frees a fake stack only when a fiber is left for good, so each that has one is entered a last
 * time. */
static _Thread_local struct fiber *dropper;

__attribute__((no_sanitize_address)) static void leave_for_good(void *fiber)
{
    osri_fiber_begin(fiber, TOOL_ASAN);
    osri_asan_leave(NULL, dropper->lining->low, osri_stack_span(dropper));
    osri_context_leave(&dropper->context);
}

static void drop_fake(struct stacks *stacks, struct fiber *fiber)
{
    struct fiber here;
    struct lining lining;

    osri_fiber_adopt(&here, &lining, stacks->tools);
    osri_asan_unpoison(fiber->lining->low, osri_stack_span(fiber));
    osri_fiber_make(fiber, 0, leave_for_good);
    dropper = &here;
    osri_fiber_switch_told(&here, fiber, TOOL_ASAN);
}

static void unmake_stack(struct stacks *stacks, struct fiber *fiber)
{
    if (stacks->tools & TOOL_ASAN && fiber->lining->fake)
        drop_fake(stacks, fiber);
    if (stacks->tools & TOOL_TSAN)
        osri_tsan_free(fiber->lining->tsan);
    if (stacks->tools & TOOL_LSAN)
        osri_lsan_drop(fiber->lining->low, stacks->size);
    osri_valgrind_drop(fiber->lining->valgrind);
}

/* The guard stays, also where pages cannot be given back, being locked: then the memory is as it was. */
static void empty_stack(struct stacks *stacks, struct fiber *fiber)
{
    char *low = fiber->lining->low;

    unmake_stack(stacks, fiber);
    (void)madvise(low, stacks->size, MADV_DONTNEED);
}

bool osri_stacks_trim(struct stacks *stacks, size_t keep, size_t most)
{
    osri_stacks_note(stacks);
    while (stacks->least > keep && most-- > 0) {
        empty_stack(stacks, stacks->idle[++stacks->bare]);
        stacks->least--;
    }
    if (stacks->least > keep)
        return true;
    stacks->least = osri_stacks_idle(stacks);
    return false;
}

void osri_stacks_close(struct stacks *stacks)
{
    struct slab *slab;

    assert(stacks->count == stacks->total);
    while (stacks->count > stacks->bare)
        unmake_stack(stacks, stacks->idle[stacks->count--]);
    osri_free(stacks->memory, stacks->idle);
    while ((slab = stacks->slabs) != NULL) {
        stacks->slabs = slab->next;
        osri_sys_unmap(slab->base, slab->regions * stacks->stride);
        osri_free(stacks->memory, slab);
    }
}

/* ---- Fibers ---- */

struct bounds {
    char *low, *high;
};

/* Of the thread's own stack. Found out once: for the first thread the C library reads a file for that. */
static struct bounds own_stack(void)
{
    static _Thread_local struct bounds bounds;
    pthread_attr_t attr;
    size_t size;
    void *low;

    if (bounds.low || pthread_getattr_np(pthread_self(), &attr) != 0)
        return bounds;
    if (pthread_attr_getstack(&attr, &low, &size) == 0)
        bounds = (struct bounds){low, (char *)low + size};
    pthread_attr_destroy(&attr);
    return bounds;
}

/* Only AddressSanitizer needs the bounds of the thread's own stack. */
void osri_fiber_adopt(struct fiber *fiber, struct lining *lining, unsigned tools)
{
    struct bounds bounds = tools & TOOL_ASAN ? own_stack() : (struct bounds){NULL, NULL};

    *fiber = (struct fiber){.lining = lining};
    *lining = (struct lining){.low = bounds.low, .high = bounds.high};
    if (tools & TOOL_TSAN)
        lining->tsan = osri_tsan_current();
}

/* In a function of its own, and left on the fiber that entered it, as ThreadSanitizer demands. */
__attribute__((noinline)) void osri_fiber_switch_told(struct fiber *from, struct fiber *to, unsigned tools)
{
    if (tools & TOOL_ASAN)
        osri_asan_leave(&from->lining->fake, to->lining->low, osri_stack_span(to));
    if (tools & TOOL_TSAN)
        osri_tsan_switch(to->lining->tsan);
    osri_context_switch(&from->context, &to->context);
    if (tools & TOOL_ASAN)
        osri_asan_enter(from->lining->fake);
}
