/* Spawning, for other floors. */
#ifndef OSIER_GROUP_GROUP_H
#define OSIER_GROUP_GROUP_H

#include "4_group/child.h"

/* What is told of the end of a child of a group. */
typedef void osri_ended(struct child *child, const struct outcome *outcome);

/* What osr_spawn() tells, and whoever gives another has to tell in its turn. */
osri_ended osri_group_child_ended;

/* osr_spawn_with() for a run's own thread, with another end; options and routine have been looked at. */
int osri_spawn(struct sched *sched, struct osr_group *group, const struct osr_routine *routine, void *arg,
               const struct osr_spawn_options *options, osri_ended *ended);

#endif
