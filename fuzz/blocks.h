/* The memory of the runs: what one gives back is for the next, which asks for the same. Where a checker looks on, all comes
 * from the C library, so that it sees each piece. */
#ifndef OSIER_FUZZ_BLOCKS_H
#define OSIER_FUZZ_BLOCKS_H

#include <stddef.h>

/* Like realloc(); 0 frees. */
void *blocks_resize(void *memory, size_t size);

#endif
