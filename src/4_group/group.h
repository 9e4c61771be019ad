/* Spawning, for other floors. */
#ifndef OSIER_GROUP_GROUP_H
#define OSIER_GROUP_GROUP_H

#include "2_sched/wait.h"
#include "4_group/child.h"

/* Asks for a place among those that may run in the group: 1 if it is taken; 0 if there is none yet, and then it is
 * taken when `wait`, one without a task, is woken; or a code. */
int osri_group_ask_place(struct sched *sched, struct osr_group *group, struct osr_wait *wait);

/* osr_spawn_with() into a place that is taken, with another end; options and routine have been looked at. If it fails
 * the place is free again. */
int osri_spawn_placed(struct sched *sched, struct osr_group *group, const struct osr_routine *routine, void *arg,
                      const struct osr_spawn_options *options, osri_ended *ended);

#endif
