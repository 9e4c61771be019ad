/* Random programs: such that most of them do something. */
#ifndef OSIER_FUZZ_GENERATE_H
#define OSIER_FUZZ_GENERATE_H

#include <stddef.h>
#include <stdint.h>

/* The `index`-th input of a seed, into `bytes`: its size, at most `most`. */
size_t generate(uint64_t seed, uint64_t index, unsigned char *bytes, size_t most);

#endif
