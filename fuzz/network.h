/*
 * Networks: random tasks that talk through streams, posts, signals and threads, which the programs of the fuzzer do not, made
 * so that what becomes of each does not depend on who goes first. So there is no need for a model: in simulated time, under
 * libev, as a guest in a loop and on a runner's shared loop, each in another order, every task must have the same story.
 */
#ifndef OSIER_FUZZ_NETWORK_H
#define OSIER_FUZZ_NETWORK_H

/* Runs the networks `first` to `first + runs - 1` of the seed: 0, or 1 with the first that differs, made small, told on
 * standard error. */
int network_campaign(unsigned long seed, unsigned long first, unsigned long runs);

#endif
