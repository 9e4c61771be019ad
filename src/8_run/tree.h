/* The tree of tasks, groups and scopes of a run, in words. */
#ifndef OSIER_RUN_TREE_H
#define OSIER_RUN_TREE_H

#include "0_base/text.h"
#include "4_group/child.h"

/* The root task of a run, NULL before it begins and after it has ended. */
static inline struct child *osri_root(struct sched *sched)
{
    return sched->floors[8];
}

void osri_tree_write(struct sched *sched, struct text *text);

/* The whole tree as a string from the run's memory, NULL if there is none. */
char *osri_tree_string(struct sched *sched);

#endif
