#include "blocks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
enum { SANITIZED = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) };
#else
enum { SANITIZED = 0 };
#endif

/* Pieces of up to so many steps are kept, by their sizes. */
enum { STEP = 64, STEPS = 128 };

struct block {
    size_t room;
    struct block *next;
    max_align_t memory[];
};

static struct block *kept[STEPS];

static struct block *take(size_t size)
{
    size_t steps = (size + STEP - 1) / STEP;
    struct block *block = steps < STEPS ? kept[steps] : NULL;

    if (block) {
        kept[steps] = block->next;
        return block;
    }
    block = malloc(sizeof(*block) + steps * STEP);
    if (block)
        block->room = steps * STEP;
    return block;
}

static void give(struct block *block)
{
    size_t steps = block->room / STEP;

    if (steps >= STEPS) {
        free(block);
        return;
    }
    block->next = kept[steps];
    kept[steps] = block;
}

static bool is_watched(void)
{
    static signed char known = -1;

    if (known < 0)
        known = SANITIZED || RUNNING_ON_VALGRIND;
    return known;
}

static void *resize_watched(void *memory, size_t size)
{
    if (size > 0)
        return realloc(memory, size);
    free(memory);
    return NULL;
}

void *blocks_resize(void *memory, size_t size)
{
    struct block *old = memory ? (struct block *)((char *)memory - offsetof(struct block, memory)) : NULL, *block = NULL;

    if (is_watched())
        return resize_watched(memory, size);
    if (old && size > 0 && size <= old->room)
        return memory;
    if (size > 0 && (block = take(size)) == NULL)
        return NULL;
    if (old && block)
        memcpy(block->memory, memory, old->room);
    if (old)
        give(old);
    return block ? block->memory : NULL;
}
