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

/*
 * A task is usual if nothing holds its address, and nobody is told of its end but its group. One that is usual and has not
 * begun is brief: it consists of its first line, of the one that begins with `task.number`, and of the first of its scope,
 * which is all that spawning writes. The rest comes when it begins; and if it begins where another has just ended, it takes
 * that one's stack, which is still in the nearest cache, and leaves its own to the pool (child.c).
 */
struct child {
    struct task task;
    struct osr_group *group;
    struct record *record; /* or NULL */
    size_t extras;         /* what is not usual about it: enum child_extra */
    struct osr_scope scope;
    void (*ended)(struct child *child, struct outcome outcome); /* the last thing but one that a task does */
    char name[OSR_NAME_SIZE];                                   /* if it was given one */
    /* Only with the extras. */
    size_t index; /* in its group, in the order of spawning, counted from 1 */
    int *result;
    struct osr_outcome *outcome;
};

_Static_assert(offsetof(struct task, sched) == 64 && offsetof(struct task, number) % 64 == 0 &&
                   offsetof(struct child, scope) % 64 == 0 && offsetof(struct osr_scope, owner_) == 64,
               "what is touched together lies in one line");
_Static_assert(offsetof(struct child, scope) == SCOPE_OFFSET, "the owner of a task's own scope is found");

enum {
    CHILD_LINE = offsetof(struct task, number) / 64,
    SCOPE_LINE = offsetof(struct child, scope) / 64,
    FRAMES_LINE = -12 /* far enough below to be on the next page, if the frames of its functions reach that */
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

/* What is told of the end of a child of a group. In group.c: what osr_spawn() tells, and whoever gives another has to tell in
 * its turn. */
typedef void osri_ended(struct child *child, struct outcome outcome);
osri_ended osri_group_child_ended;

/* Nobody but daemons is left: they are cancelled, or there are none, and the owner is told. */
void osri_group_last_has_ended(struct sched *sched, struct osr_group *group);
void osri_group_hand_place_over(struct sched *sched, struct osr_group *group);

/* The body and all other children have ended. */
static inline bool osri_group_has_only_daemons(const struct osr_group *group)
{
    return group->running_ == group->daemons_ && group->scope.away_ == AWAY_CLOSING;
}

/* A place under the limit is free, or a child has ended. */
static inline void osri_group_free_place(struct sched *sched, struct osr_group *group)
{
    if (unlikely(!list_empty(&group->spawners_))) {
        osri_group_hand_place_over(sched, group);
        return;
    }
    group->running_--;
    if (unlikely(osri_group_has_only_daemons(group)))
        osri_group_last_has_ended(sched, group);
}

/* What a child has before it runs, or is more than brief. */
static inline void osri_child_complete(struct child *child)
{
    struct task *task = &child->task;

    osri_scope_complete(&child->scope, task->where);
    osri_task_complete(task);
    osri_scope_enter(task, &child->scope);
}

/* Takes back what made it unusual, for the next one on its stack. */
static inline void osri_child_reset(struct child *child)
{
    child->record = NULL;
    child->extras = 0;
    child->ended = osri_group_child_ended;
}

/* What stays from task to task, on a stack that had none yet. */
void osri_child_furnish(struct sched *sched, struct child *child);

/* Brings what spawning the next but one will write into the cache, and the page of its frames into that of translations. */
static inline __attribute__((always_inline)) void osri_child_prefetch(const struct sched *sched)
{
    const struct fiber *fiber = osri_stack_after_next(&sched->stacks);

    osri_prefetch(fiber, 0);
    osri_prefetch(fiber, CHILD_LINE);
    osri_prefetch(fiber, SCOPE_LINE);
    osri_prefetch(fiber, FRAMES_LINE);
}

/* A brief task that runs routine->run(arg) inside `parent`, which may be NULL. It is not queued yet. NULL with a code, and
 * then nothing is left behind. */
static inline __attribute__((always_inline)) struct child *osri_child_brief(struct sched *sched, struct osr_scope *parent,
                                                                            const struct osr_routine *routine, void *arg,
                                                                            const char *where, int *code)
{
    struct child *child;
    struct task *task;

    *code = osri_errors_promise(sched, 1);
    if (unlikely(*code < 0))
        return NULL;
    task = osri_task_new(sched, code);
    if (unlikely(!task)) {
        osri_errors_unpromise(sched, 1);
        return NULL;
    }
    osri_child_prefetch(sched);
    child = child_of(task);
    if (unlikely(!child->scope.state_)) /* the stack has had no task yet */
        osri_child_furnish(sched, child);
    task->where = place_or_unknown(where);
    task->name = routine->name ? routine->name : "";
    task->run = routine->run;
    task->arg = arg;
    osri_scope_place(&child->scope, parent, SCOPE_TASK);
    osri_task_prepare(task, 0, osri_child_begin);
    return child;
}

/* The same with the name of the options, and with options->copy bytes of `arg` on its own stack. */
struct child *osri_child_new(struct sched *sched, struct osr_scope *parent, const struct osr_routine *routine, void *arg,
                             const struct osr_spawn_options *options, int *code);

#endif
