/* A build for coverage writes down what ran when a process ends; one that ends otherwise has to say so before. */
#ifndef OSIER_TESTS_COUNTS_H
#define OSIER_TESTS_COUNTS_H

#include <stdbool.h>

/* Whether anything is counted. */
bool counts_are_kept(void);

/* Writes the counts down. A process that counts on has to take care not to call this twice. */
void keep_counts(void);

#endif
