/* Programs for Trio, which has osier's rules of cancellation where it can: on_trio.py runs them and compares. */
#ifndef OSIER_FUZZ_TRIO_H
#define OSIER_FUZZ_TRIO_H

#include <stdbool.h>
#include <stdint.h>

/* In how many orders a program must come to the same, to be one that does so in all. */
extern unsigned trio_orders;

/* Writes random programs of what both have, one a line, each with what the model says that it does. */
int trio_write(uint64_t seed, uint64_t first, unsigned long runs);

/* Prints which of the wrong models are wrong in something that Trio has as well, one a line. */
int trio_canaries(void);

#endif
