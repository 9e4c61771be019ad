/*
 * Records: what a handle refers to. They live in a table of the process that only grows, so that a handle of any
 * age can be looked up, and its generation tells whether it still means something. A run takes records in chunks,
 * and gives them back when it ends.
 */
#ifndef OSIER_GROUP_RECORD_H
#define OSIER_GROUP_RECORD_H

#include <stdatomic.h>

#include "3_scope/scope.h"

struct child;

struct record {
    atomic_uint generation; /* odd while in use */
    atomic_uint first;      /* what it was when the task that the record is for got it */
    uint32_t index;
    struct sched *sched;
    struct child *child;     /* until the task has ended */
    int state, rc;           /* then: an osr_task_state, and what it gives */
    struct osr_error *error;
    bool kept;               /* for a handle that osr_spawn() gave */
    struct osr_group *group; /* that has to be told when it ends, or NULL */
    struct osr_list_ calls;  /* to be made when it has ended */
    unsigned joiners_left;   /* joiners that have not read the outcome yet */
    struct osr_list_ joiners;
    struct osr_list_ node; /* in the group's list of those kept, or free */
    const char *where;     /* the task was spawned */
    char name[OSR_NAME_SIZE];
};

/* 0 or -ENOMEM. */
int osri_records_open(struct sched *sched);
void osri_records_close(struct sched *sched);
/* Calls `visit` for each that is kept for handles though its task has ended. Gives how many. */
size_t osri_records_kept(struct sched *sched, void (*visit)(struct sched *sched, const struct record *record));

/* A record for the task; NULL if memory is short. */
struct record *osri_record_new(struct sched *sched, struct child *child);
struct osr_task osri_record_handle(const struct record *record);

/* The task has ended: fills the outcome in (`error` is retained) and wakes the joiners. */
void osri_record_end(struct record *record, int state, int rc, struct osr_error *error);

/* Its group is `group` from now on, which waits for its end (osr_group_next()). In group.c, like the next two. */
void osri_group_awaits(struct osr_group *group, struct record *record);
/* The task of a record that is kept has ended. */
void osri_group_told(struct osr_group *group, struct record *record);
/* A record is given up before its task has ended. */
void osri_group_gives_up(struct osr_group *group);

/* Makes every handle stale, and keeps nothing for them. The record is free again as soon as its task has ended and
 * nobody reads it. */
void osri_record_unkeep(struct record *record);
/* The same for what the handle refers to, if it still refers to anything. */
void osri_record_forget(struct osr_task handle);

#endif
