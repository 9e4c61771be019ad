/* What is left after a run: memory and descriptors are counted. */
#include "9_test/kit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

long osri_kit_blocks, osri_kit_own_blocks;

void *osri_kit_resize(void *memory, size_t size)
{
    void *resized = realloc(memory, size);

    if (!resized) {
        fputs("osier-test: no memory for the test kit\n", stderr);
        abort();
    }
    return resized;
}

/* ---- Which blocks these are ---- */

/* Made in the told play that is on. */
struct block {
    void *memory;
    size_t size;
    struct moment moment;
};

static struct block *made;
static size_t made_count, made_room;

void osri_kit_forget_blocks(void)
{
    made_count = 0;
}

/* The latest first: what is made last is mostly given back first. NULL: it is none of these. */
static struct block *made_at(const void *memory)
{
    size_t i;

    for (i = made_count; i > 0; i--)
        if (made[i - 1].memory == memory)
            return &made[i - 1];
    return NULL;
}

static void note_new(void *memory, size_t size)
{
    if (made_count == made_room) {
        made_room = made_room ? made_room * 2 : 64;
        made = osri_kit_resize(made, made_room * sizeof(*made));
    }
    made[made_count++] = (struct block){memory, size, osri_kit_moment(osri_kit_play)};
}

/* What `block` is now; `memory` is NULL if it has been given back. */
static void note_resized(struct block *block, void *memory, size_t size)
{
    if (!osri_kit_play || !osri_kit_play->told)
        return;
    if (block && !memory) {
        memmove(block, block + 1, (size_t)(made + --made_count - block) * sizeof(*block));
    } else if (block) {
        block->memory = memory;
        block->size = size;
    } else if (memory) {
        note_new(memory, size);
    }
}

void osri_kit_describe_blocks(const struct play *play, char *text, size_t size)
{
    enum { NAMED = 3 };
    size_t i;

    for (i = 0; i < made_count && i < NAMED; i++) {
        osri_kit_add(text, size, "%s %zu byte%s, made ", i == 0 ? ":" : ";", made[i].size,
                     osri_kit_s((unsigned long)made[i].size));
        osri_kit_add_moment(play, &made[i].moment, text, size);
    }
    if (made_count > NAMED)
        osri_kit_add(text, size, "; and %zu more", made_count - NAMED);
}

/* ---- Counting ---- */

static void *counting_resize(void *arg, void *memory, size_t size)
{
    struct block *block = memory ? made_at(memory) : NULL;
    long *blocks = arg;
    void *resized;

    if (size == 0) {
        *blocks -= memory != NULL;
        free(memory);
        note_resized(block, NULL, 0);
        return NULL;
    }
    resized = realloc(memory, size);
    *blocks += resized && !memory;
    if (resized)
        note_resized(block, resized, size);
    return resized;
}

const struct osr_allocator osri_kit_counting = {counting_resize, &osri_kit_blocks};

static void *failing_resize(void *arg, void *memory, size_t size)
{
    if (size > 0 && osr_test_fault("allocation", -ENOMEM) < 0)
        return NULL;
    return counting_resize(arg, memory, size);
}

const struct osr_allocator *osr_test_allocator(void)
{
    static const struct osr_allocator allocator = {failing_resize, &osri_kit_own_blocks};

    return &allocator;
}

int osri_kit_next_descriptor(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    if (fd >= 0)
        close(fd);
    return fd;
}

unsigned osri_kit_descriptors_from(int first)
{
    struct pollfd fds[KIT_DESCRIPTORS];
    unsigned set = 0, i;

    for (i = 0; i < KIT_DESCRIPTORS; i++)
        fds[i] = (struct pollfd){.fd = first + (int)i};
    (void)poll(fds, KIT_DESCRIPTORS, 0); /* which says nothing of negative numbers */
    for (i = 0; i < KIT_DESCRIPTORS; i++)
        set |= fds[i].revents & POLLNVAL ? 0 : 1u << i;
    return set;
}
