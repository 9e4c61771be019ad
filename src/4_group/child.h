/* A whole task: the scheduler's core, the scope that encloses all of it, and its place among others. */
#ifndef OSIER_GROUP_CHILD_H
#define OSIER_GROUP_CHILD_H

#include <osier/group.h>

#include "3_scope/scope.h"
#include "4_group/record.h"

/* How a task ended, for whoever waits for it. `error` comes with a reference. */
struct outcome {
    int rc;                  /* 0 or more; -ECANCELED; or the error's code */
    struct osr_error *error; /* only with a real error */
    bool passed_on;          /* a cancellation goes on to the scopes around, also beside an error */
};

/* What every task touches comes first: it fits in six cache lines. */
struct child {
    struct task task;
    int (*run)(void *arg);
    void *arg;
    struct osr_group *group;
    void (*ended)(struct child *child, const struct outcome *outcome); /* the last thing but one that a task does */
    struct record *record;                                             /* or NULL */
    unsigned extras;                                                   /* what is not usual about it: enum child_extra */
    struct osr_scope scope;
    char name[OSR_NAME_SIZE]; /* if it was given one */
    /* Only with the extras. */
    size_t index; /* in its group, in the order of spawning, counted from 1 */
    int *result;
    struct osr_outcome *outcome;
};

enum child_extra {
    CHILD_DAEMON = 1,
    CHILD_TELLS = 2,   /* its result or outcome goes to who spawned it */
    CHILD_STARTED = 4, /* came into its group by osr_started() */
    CHILD_COUNTED = 8  /* its group wants to know which one it is */
};

static inline struct child *child_of(struct task *task)
{
    return container_of(task, struct child, task);
}

/*
 * A task that runs routine->run(arg) inside `parent`, which may be NULL; with options->copy bytes of `arg` on its own
 * stack. It is not queued yet. NULL with a code, and then nothing is left behind.
 */
struct child *osri_child_new(struct sched *sched, struct osr_scope *parent, const struct osr_routine *routine,
                             void *arg, const struct osr_spawn_options *options, int *code);

#endif
