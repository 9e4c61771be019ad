#include "0_base/memory.h"

#include <stdlib.h>

static void *malloc_resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    if (size)
        return realloc(memory, size);
    free(memory);
    return NULL;
}

const struct osr_allocator osri_malloc_allocator = {malloc_resize, NULL};

void *osri_resize(const struct memory *memory, void *old, size_t size)
{
    if (memory->door && osri_choose(memory->door, OSR_CHOICE_FAULT, 2, "memory\0ENOMEM"))
        return NULL;
    return memory->from.resize(memory->from.arg, old, size);
}

void osri_free(const struct memory *memory, void *old)
{
    if (old)
        memory->from.resize(memory->from.arg, old, 0);
}
