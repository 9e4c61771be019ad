/*
 * Error objects: where they are kept, and how they form trees.
 *
 * An error must not be lost when memory is short. So whoever may have to report one makes a promise to the pool
 * beforehand (a task one error, a group two, a guard four), when failing is still harmless; with as many errors
 * set aside as were promised, taking a promise back and then taking an error cannot fail.
 */
#ifndef OSIER_SCOPE_ERROR_H
#define OSIER_SCOPE_ERROR_H

#include <stdatomic.h>

#include <osier/error.h>
#include <osier/scope.h>

#include "2_sched/sched.h"

enum error_kind {
    ERROR_LEAF,
    ERROR_GROUP,
    ERROR_LINK /* stands in a tree for a leaf that has its place in another one: `first` */
};

struct osr_error {
    unsigned refs;
    int code;
    enum error_kind kind;
    bool fatal;
    bool linked; /* has links or copies in other trees than the one that it has its place in */
    bool counted; /* of a group: its message begins with how many errors it has, and says so in a part as well */
    bool riding; /* looked at in a slot, or taken from one, in which cancellations rode along */
    unsigned cancelled; /* of a group: outcomes that are in no leaf */
    unsigned explained; /* references whose holder is known, see osri_errors_explain() */
    const char *where;
    char *message;
    struct osr_error *cause;
    struct osr_error *parent; /* the group that holds it, NULL at the top */
    struct osr_error *next;   /* beside it in that group; also links free errors */
    struct osr_error *first, *last;
    struct osr_error *origin; /* of a group that was copied as a whole: the group that it is a copy of */
    struct error_chunk *chunk;
    char task[OSR_NAME_SIZE];
    char group[OSR_NAME_SIZE];
};

/* ---- The pool of a run ---- */

/* 0 or -ENOMEM. */
int osri_errors_open(struct sched *sched);
/* Errors that are still held live on, and free their memory themselves. */
void osri_errors_close(struct sched *sched);

struct errors {
    size_t idle_count, promised;
    struct osr_error *idle; /* which were in use; besides, there are those of the chunks that never were */
    struct error_chunk *chunks;
    struct osr_error *fatal; /* the first */
    bool fatal_promised;     /* an error is set aside for it */
    const struct memory *memory;
};

static inline struct errors *osri_errors(struct sched *sched)
{
    return sched->floors[3];
}

/* Sets more errors aside: 0 or -ENOMEM. */
int osri_errors_set_aside(struct errors *errors, size_t count);

/* 0 or -ENOMEM. */
static inline int osri_errors_promise(struct sched *sched, unsigned count)
{
    struct errors *errors = osri_errors(sched);

    if (unlikely(errors->idle_count < errors->promised + count) &&
        osri_errors_set_aside(errors, errors->promised + count) < 0)
        return -ENOMEM;
    errors->promised += count;
    return 0;
}

static inline void osri_errors_unpromise(struct sched *sched, unsigned count)
{
    osri_errors(sched)->promised -= count;
}

/* Who holds what: sets `explained` of every error to how many other errors refer to it, as causes and in trees, to
 * which the caller adds what else it knows of. */
void osri_errors_explain(struct sched *sched);
/* One more reference to `error`, which may be NULL, is known. */
void osri_error_explain(struct sched *sched, struct osr_error *error);
/* Calls `visit` for each error that is held by more than that. Gives how many. */
size_t osri_errors_unexplained(struct sched *sched, void (*visit)(struct sched *sched, const struct osr_error *error));

/* A run promises an error for the first fatal one; to be said before that is made, and when the run is over. */
int osri_fatal_promise(struct sched *sched);
void osri_fatal_prepare(struct sched *sched);
/* The first fatal error of the run is remembered, for osr_run() to give. Takes over the reference. */
void osri_fatal_remember(struct sched *sched, struct osr_error *error);
/* Hands it over; NULL if there was none. */
struct osr_error *osri_fatal_take(struct sched *sched);

/* A new leaf, with one reference; NULL if memory is short, which cannot be after an osri_errors_unpromise().
 * `task` is a name. `sched` may be NULL: then it belongs to no run. */
struct osr_error *osri_error_new(struct sched *sched, int code, const char *where, const char *task);
struct osr_error *osri_error_new_group(struct sched *sched, const char *where, const char *task,
                                       const char *name);
/* Says it in words; without memory for them, the error stays without. */
void osri_error_say(struct osr_error *error, const char *format, ...) OSR_PRINTF_(2, 3);
void osri_error_vsay(struct osr_error *error, const char *format, va_list list) OSR_PRINTF_(2, 0);

/* The same of a group, behind how many errors it has. */
void osri_error_say_count(struct osr_error *group, unsigned count, const char *behind);

/* ---- Trees ---- */

/* Puts `error`, with the caller's reference, behind the others in `group`. An error that stands in another tree
 * already is linked or, if it is a group, copied; that takes one more error from the pool. */
void osri_error_adopt(struct sched *sched, struct osr_error *group, struct osr_error *error);

/* Whether `group`, which may be NULL, holds this very error, or a link to it or a copy of it. */
bool osri_error_holds(const struct osr_error *group, const struct osr_error *error);

/* The same at any depth. */
bool osri_error_holds_below(const struct osr_error *group, const struct osr_error *error);

/* How many errors stand in `group`, those in groups inside it not counted. */
unsigned osri_error_children(const struct osr_error *group);

/* What the lone error of `group` is in itself: not its link or copy there. */
struct osr_error *osri_error_lone(const struct osr_error *group);

/* The next error in the tree of `top` after `at`, parents first; NULL at the end. */
const struct osr_error *osri_error_walk(const struct osr_error *top, const struct osr_error *at);

/* Appends `cause`, with the caller's reference, at the end of the causes of `error`. */
void osri_error_append_cause(struct osr_error *error, struct osr_error *cause);

#endif
