/*
 * Which orders there are still to run: depth first over all that is asked. With a reduction only one is run of those that
 * come to the same because what was exchanged in them touches nothing in common (source sets and sleep sets: Abdulla,
 * Aronis, Jonsson, Sagonas, "Optimal dynamic partial order reduction", 2014).
 *
 * It knows nothing of tests, so that the explorer of fuzz/ can use it as well.
 */
#ifndef OSIER_TEST_ORDERS_H
#define OSIER_TEST_ORDERS_H

#include <osier/run.h>

struct orders;

struct orders_options {
    bool reduce;
    /* At most one cancellation a run; by the way of the root its place is varied in each order that is run anyway, and
     * not among orders that come to the same. Without: it is something that touches every task. */
    bool root_cancel_in_place;
    unsigned depth; /* entries of a path that are varied; 0: all */
    bool (*is_asked)(void *arg, unsigned kind); /* what is not varied is 0 */
    void *arg;
};

struct orders *osri_kit_orders_new(const struct orders_options *options);
void osri_kit_orders_free(struct orders *orders);

/* Before each run, with or without a new program: then all begins anew. */
void osri_kit_orders_restart(struct orders *orders);
void osri_kit_orders_begin(struct orders *orders);

/* In the run: what is to be answered; told what is touched (osr_touched). */
unsigned osri_kit_orders_choose(struct orders *orders, unsigned kind, unsigned n);
void osri_kit_orders_touched(void *orders, enum osr_touch how, const void *object, uint64_t task);

/* Whether the run was another one than before, after the same answers. */
bool osri_kit_orders_differ(const struct orders *orders);
/* Whether it has turned out to come to the same as one before: from there on the answers were 0. */
bool osri_kit_orders_redundant(const struct orders *orders);

/* After the run: whether there is another one to run. */
bool osri_kit_orders_next(struct orders *orders);

#endif
