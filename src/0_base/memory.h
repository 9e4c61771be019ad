/* Memory, from the allocator of the run. */
#ifndef OSIER_BASE_MEMORY_H
#define OSIER_BASE_MEMORY_H

#include "0_base/door.h"

struct memory {
    struct osr_allocator from;
    const struct door *door; /* may fail an allocation; NULL once the run is over */
};

/* An allocator for what belongs to no run. */
extern const struct osr_allocator osri_malloc_allocator;

/* Like realloc(): NULL if there is no memory, and then `old` stays. `size` is not 0. */
void *osri_resize(const struct memory *memory, void *old, size_t size);

static inline void *osri_alloc(const struct memory *memory, size_t size)
{
    return osri_resize(memory, NULL, size);
}

/* NULL is ignored. */
void osri_free(const struct memory *memory, void *old);

#endif
