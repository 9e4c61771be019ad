/* The one door for nondeterminism: everything that the program itself does not decide is asked here. */
#ifndef OSIER_BASE_DOOR_H
#define OSIER_BASE_DOOR_H

#include <osier/run.h>

#include "0_base/list.h"

struct door {
    osr_choose *choose; /* NULL: always 0, which is first come first served, and no fault */
    void *arg;
};

/* Which of `n` alternatives; with one there is nothing to ask. */
static inline unsigned osri_choose(const struct door *door, enum osr_choice kind, unsigned n, const char *what)
{
    unsigned answer;

    if (likely(!door->choose) || n < 2)
        return 0;
    answer = door->choose(door->arg, kind, n, what);
    return answer < n ? answer : 0;
}

#endif
