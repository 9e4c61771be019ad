/* A whole task: the scheduler's core, the scope that encloses all of it, and its place among others. */
#ifndef OSIER_GROUP_CHILD_H
#define OSIER_GROUP_CHILD_H

#include <osier/group.h>

#include "3_scope/scope.h"
#include "4_group/record.h"

/* How a task ended, for whoever waits for it. `error` comes with a reference. */
struct outcome {
    struct osr_error *error; /* only with a real error */
    int rc;                  /* 0 or more; -ECANCELED; or the error's code */
    bool passed_on;          /* a cancellation goes on to the scopes around, also beside an error */
};

/* What every task touches comes first: it fits in six cache lines. */
struct child {
    struct task task;
    int (*run)(void *arg);
    void *arg;
    struct osr_group *group;
    void (*ended)(struct child *child, struct outcome outcome); /* the last thing but one that a task does */
    struct record *record;                                      /* or NULL */
    size_t extras;                                              /* what is not usual about it: enum child_extra */
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

/* The first function on a task's stack, which AddressSanitizer must not instrument: it enters a new stack there. */
void osri_child_begin(void *child);

/* Copies the argument onto the stack of the child, and gives the copy. */
void *osri_child_copy(struct child *child, const void *arg, size_t size);

/* What the copy of an argument takes on the stack, aligned for any type; the stack itself needs 16. */
static inline size_t osri_child_copy_room(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

/*
 * A task that runs routine->run(arg) inside `parent`, which may be NULL; with options->copy bytes of `arg` on its own
 * stack. It is not queued yet. NULL with a code, and then nothing is left behind.
 */
static inline __attribute__((always_inline)) struct child *osri_child_new(struct sched *sched, struct osr_scope *parent,
                                           const struct osr_routine *routine, void *arg,
                                           const struct osr_spawn_options *options, int *code)
{
    struct child *child;
    struct task *task;

    if (unlikely(options->copy > sched->stacks.size / 4)) {
        *code = -E2BIG;
        return NULL;
    }
    *code = osri_errors_promise(sched, 1);
    if (unlikely(*code < 0))
        return NULL;
    task = osri_task_new(sched, code);
    if (unlikely(!task)) {
        osri_errors_unpromise(sched, 1);
        return NULL;
    }
    child = child_of(task);
    if (unlikely(!task->sched)) {
        task->sched = sched;
        osri_scope_init(&child->scope, task);
    }
    task->where = place_or_unknown(options->where);
    task->name = routine->name ? routine->name : "";
    if (unlikely(options->name != NULL)) {
        osri_name_copy(child->name, options->name);
        task->name = child->name;
    }
    child->record = NULL;
    child->extras = 0;
    child->run = routine->run;
    child->arg = unlikely(options->copy > 0) ? osri_child_copy(child, arg, options->copy) : arg;
    osri_scope_attach(&child->scope, parent, SCOPE_TASK, options->where);
    osri_scope_enter(task, &child->scope);
    osri_task_prepare(task, osri_child_copy_room(options->copy), osri_child_begin);
    return child;
}

#endif
