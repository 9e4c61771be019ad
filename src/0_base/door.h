/* The one door for nondeterminism: everything that the program itself does not decide is asked here. */
#ifndef OSIER_BASE_DOOR_H
#define OSIER_BASE_DOOR_H

#include <osier/run.h>

#include "0_base/list.h"

struct door {
    osr_choose *choose; /* NULL: always 0, which is first come first served, and no fault */
    void *arg;
    osr_touched *touched; /* NULL: nobody wants to know what steps touch */
    void *touched_arg;
};

/* Says that the running step touches something that tasks share; to be said before it is looked at. */
static inline void osri_touch(const struct door *door, enum osr_touch how, const void *object)
{
    if (unlikely(door->touched != NULL))
        door->touched(door->touched_arg, how, object, 0);
}

/* Which of `n` alternatives; with one there is nothing to ask. Of a fault, the names of its errors stand behind the end of
 * `what`: "recv\0ECONNRESET, ENOMEM". */
static inline unsigned osri_choose(const struct door *door, enum osr_choice kind, unsigned n, const char *what)
{
    unsigned answer;

    if (likely(!door->choose) || n < 2)
        return 0;
    answer = door->choose(door->arg, kind, n, what);
    return answer < n ? answer : 0;
}

#endif
