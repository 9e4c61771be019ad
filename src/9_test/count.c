/* What is left after a run: memory and descriptors are counted. */
#include "9_test/kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

static void *counting_resize(void *arg, void *memory, size_t size)
{
    long *blocks = arg;
    void *resized;

    if (size == 0) {
        *blocks -= memory != NULL;
        free(memory);
        return NULL;
    }
    resized = realloc(memory, size);
    *blocks += resized && !memory;
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

bool osri_kit_is_descriptor(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}
