/*
 * Pipes in memory, of one page, as Linux has them: under the simulated clock they stand in for the system's, whose calls take
 * as long as all else that a small program does. The calls of this program that have to do with descriptors are stood in for;
 * what they are asked about other descriptors goes to the system.
 */
#ifndef OSIER_FUZZ_PIPES_H
#define OSIER_FUZZ_PIPES_H

#include <poll.h>

/* Whether there are any: not under sanitizers, which stand in for the same calls. */
int pipes_are_possible(void);

/* The two numbers, which must stand for something, are a pipe's from now on, until they are closed. Both block. */
void pipes_begin(int reads_from, int writes_to);

/* poll(), which is stood in for elsewhere (interpreter/calls.c). */
int pipes_poll(struct pollfd *fds, nfds_t count, int timeout);

#endif
