/*
 * Groups: tasks that start and end together (Trio's nursery, asyncio's TaskGroup). Closing a group waits for
 * every task in it; the first error cancels the others; all errors come out together.
 *
 *     struct osr_group group;
 *     int rc;
 *
 *     osr_group_open(&group);
 *     rc = osr_spawn(&group, fetch_one, &a, .name = "primary");
 *     if (rc == 0)
 *         rc = osr_spawn(&group, fetch_one, &b, .name = "mirror");
 *     return osr_group_close(&group, rc);
 */
#ifndef OSIER_GROUP_H
#define OSIER_GROUP_H

#include <osier/base.h>
#include <osier/scope.h>
#include <osier/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Tasks' functions ---------------------------------------------------------------------------------- */

/* What osr_spawn() runs: a function, and its name. Made by OSR_TASK; may be filled in by hand. It is read by the spawn
 * only; its texts must live as long as the program. */
struct osr_routine {
    int (*run)(void *arg); /* gives 0 or more, or a negative code */
    const char *name;      /* NULL is "" */
    const char *where;     /* its place, or NULL */
};

/*
 * Defines a function that can be spawned, with the type of its argument:
 *
 *     OSR_TASK(fetch_one, struct fetch, f) { return http_get(f->url, &f->page); }
 *
 * The body is that of a function `static int fetch_one(struct fetch *f)`; for no argument write
 * `OSR_TASK(tick, void, unused)` and spawn it with NULL. osr_spawn() checks the argument's type, which may not be a
 * const one. The name is that of a constant, not of a function, and cannot be called: what is also to be called is a
 * function of its own, which the task calls.
 */
#define OSR_TASK(name, type, arg)                                                         \
    static int name##_body_(type *arg);                                                   \
    static int name##_run_(void *arg_) { return name##_body_((type *)arg_); }             \
    static const union {                                                                  \
        struct osr_routine routine_;                                                            \
        type *arg_;                                                                       \
    } name OSR_MAYBE_UNUSED_ = {{name##_run_, #name, OSR_HERE}};                          \
    static int name##_body_(type *arg OSR_MAYBE_UNUSED_)

/* ---- Groups -------------------------------------------------------------------------------------------- */

/* `scope` is the group's own: cancel it, read it, move its deadline. The other fields are private; those before it are what
 * every group needs. */
struct osr_group {
    struct osr_error *tree_;          /* the errors so far, in the order in which they happened; or NULL */
    struct osr_error *losses_;        /* errors before the first success */
    size_t awaited_;                  /* children that have not ended with a handle that keeps their outcome */
    size_t spawned_;                  /* children in all */
    size_t winner_;                   /* counted from 1; 0: none yet */
    size_t running_;                  /* children that have not ended, and places given to spawners */
    size_t daemons_;                  /* of them */
    struct osr_list_ spawners_;       /* waits for a place under the limit */
    struct osr_list_ closer_;         /* the owner's wait, while it closes */
    unsigned errors_, cancelled_;     /* outcomes so far */
    unsigned limit_;                  /* 0: none */
    unsigned char unwrap_, passed_on_, policy_;
    unsigned char named_, keeps_;     /* what stands behind the scope means something: its name; the rest */
    unsigned char handing_;           /* a place is being handed over to a spawner; 2: to one that cannot use it */
    struct osr_scope scope;
    struct osr_list_ kept_;           /* outcomes kept for handles */
    struct osr_list_ ended_;          /* those of them that osr_group_next() has not told yet */
    struct osr_list_ nexts_;          /* waits for one of those */
    char name_[OSR_NAME_SIZE];
    uint64_t reserved_[4];
};

/* What the end of a child means for the others. */
enum osr_policy {
    OSR_FAIL_FAST,     /* the first error cancels the others (TaskGroup, gather, FIRST_EXCEPTION) */
    OSR_COLLECT,       /* no error cancels, the body's neither; all come out in the end (ALL_COMPLETED) */
    OSR_FIRST_DONE,    /* the first child to end, well or not, cancels the others (FIRST_COMPLETED); so does an error of
                        * the body */
    OSR_FIRST_SUCCESS  /* the first child to end well cancels the others; see osr_group_losses() for the errors before.
                        * Another may end well too before it learns of that, and what it has made must be given back */
};

struct osr_group_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* for trees and errors; copied, cut at 63 bytes */
    int limit;         /* how many children may run at once; 0: as many as wanted */
    enum osr_policy policy; /* fail fast if left out */
    bool unwrap;       /* a lone error comes out as itself, with its own code, instead of in a group */
};

/*
 * Opens `group` and its scope inside the calling task's innermost scope. Options are given by name:
 * osr_group_open(&group, .name = "hosts", .limit = 10). Never waits.
 *
 * 0; -EINVAL for a negative limit, a policy that is none or a size that is not a known one's, and, with nothing changed, for
 * a group that is open and what the task opened last, in debug runs for any that is open around the caller; -ENOMEM;
 * -EPERM. A group that could not be opened answers whatever is done with it, as osr_spawn() and osr_group_close(), with the
 * same code, so the result need not be checked.
 */
#define osr_group_open(...) OSR_GROUP_OPEN_(__VA_ARGS__, .size = sizeof(struct osr_group_options))
#define OSR_GROUP_OPEN_(group, ...) \
    osr_group_open_with((group), &(const struct osr_group_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_group_open_with(struct osr_group *group, const struct osr_group_options *options);

/*
 * Waits, uncancelled, until every child has ended, and closes the group; a cancellation that arrives meanwhile
 * reaches the children. `rc` is what the body came to: it counts as one more child. Only the task that opened
 * the group may close it (else -EPERM, and nothing changes), with everything inside it closed (else the program
 * stops with a message).
 *
 * Daemons, children spawned with `.daemon = true`, are cancelled as soon as the body and all other children have ended,
 * also those that are spawned only then. Otherwise they are children like others: they take places under the limit, and
 * an error of theirs counts.
 *
 * Gives, in this order:
 *   - -OSR_EGROUP if the body or any child failed, with the exception group in the slot, whatever was
 *     cancelled beside; or the lone error's own code where the group was opened so;
 *   - -ECANCELED if a cancellation was passed on and a scope outside the group is cancelled; but where the group has a
 *     winner only if the body passed it on: what was waited for has come, and is not lost;
 *   - `rc` if it is 0 or more; else 0.
 * Also the code of an open that failed, unless `rc` is negative, -EINVAL for a group that is not open, -EPERM in a cancel
 * hook.
 */
#define osr_group_close(group, rc) osr_group_close_here((group), (rc), OSR_HERE)
OSR_API int osr_group_close_here(struct osr_group *group, int rc, const char *where);

/*
 * Under the last two policies a group has a winner: the first child that ended, or that ended well. Daemons never win,
 * nor does the body, nor a child that was cut together with the whole group. Gives its index in the order of spawning,
 * counted from 0 (those whose start failed, see osr_start(), count too); -ENOENT if there is none (yet), or the policy
 * is another; -EINVAL for NULL. May be asked after the close, and by callbacks. That there is none leaves the slot of
 * errors alone.
 */
OSR_API int osr_group_winner(const struct osr_group *group);

/*
 * Under OSR_FIRST_SUCCESS: the errors that came before the winner, of children and of the body, as an exception group,
 * NULL if there were none. They do not fail the group; those that come after the winner, from clean-up, do; and if
 * there is no winner, or one of them was fatal (osr_fail_fatal()), all come out of the close. Belongs to the group
 * while it is open, then to the scope around it, and is valid until that closes or another group in it closes with
 * losses, so that a loop does not gather them for ever: osr_error_retain() keeps it longer.
 */
OSR_API struct osr_error *osr_group_losses(const struct osr_group *group);

/*
 * Waits for the next child to end, of those that were spawned with a handle, and gives that into `*task`: so they are
 * told one by one in the order of completion (asyncio.as_completed), each once. Its outcome can then be asked for, or
 * joined. A cancellation point; cancelled, the child is told the next time. Several tasks may ask, and are served in
 * the order in which they came. A child whose handle was released is not told.
 *
 * 1; 0 if there is none left; -ECANCELED; -OSR_ECLOSED; the code of an open that failed; -EINVAL; -EPERM. In all cases but 1
 * `*task` is all zeros.
 */
#define osr_group_next(group, task) osr_group_next_here((group), (task), OSR_HERE)
OSR_API int osr_group_next_here(struct osr_group *group, struct osr_task *task, const char *where);

/* osr_scope_cancel() on the group's scope: cancels the children and what is left of the body. Gives what that gives. */
#define osr_group_cancel(group, text) osr_group_cancel_here((group), (text), OSR_HERE)
OSR_API int osr_group_cancel_here(struct osr_group *group, const char *text, const char *where);

/* How many children have not ended, those included that are being started and places that a limit has just given to
 * spawners. 0 for NULL, a closed group, or one that could not be opened. */
OSR_API size_t osr_group_running(const struct osr_group *group);

/* ---- Spawning ------------------------------------------------------------------------------------------ */

/* How a task ended, its error being a result and nothing else: see osr_spawn_options.outcome. */
struct osr_outcome {
    int rc;                  /* 0 or more; the error's code; -OSR_ETASKCANCELED if it ended cancelled */
    struct osr_error *error; /* or NULL; the reader's, to be given back with osr_error_release() */
};

struct osr_spawn_options {
    size_t size;             /* of this struct; the macro sets it */
    const char *where;       /* the place; the macro sets it */
    const char *name;        /* for trees and errors; copied, cut at 63 bytes; else the function's name */
    struct osr_task *handle; /* if set, receives a handle, and the outcome is kept for it */
    size_t copy;             /* if set, so many bytes of the argument are copied to the child */
    bool eager;              /* run the child at once, up to its first wait */
    bool daemon;             /* the group does not wait for it, but cancels it when only daemons are left */
    int *result;             /* if set, receives what the task gave, as osr_outcome.rc, when it has ended */
    /* If set, receives the outcome when the task has ended, and an error in it is a result: it does not fail the group, and
     * cancels nobody. A fatal one does so all the same. Like `result` it must live until the task has ended. */
    struct osr_outcome *outcome;
};

/*
 * Starts a task in `group`: osr_spawn(&group, fetch_one, &fetch, .name = "primary"). The child runs inside the
 * group's scope, whoever spawns it. It is queued, and runs when the caller waits; with `.eager = true` it runs
 * at once, up to its first wait (and the spawn gives 0 whatever becomes of it). A child always starts, even in
 * a cancelled group: it learns of that at its first cancellation point. Spawning is legal while the group's
 * owner waits in the close, for as long as a child still runs, also while the group is being cancelled.
 *
 * `arg` is passed on as it is and must live until the child has ended, which is so for anything declared in
 * the frame that opens the group, before it. osr_spawn_copy() passes the child a copy of `*arg` instead, on the
 * child's own stack: for loops. These are macros: a compound literal with a comma in it needs parentheses around it,
 * `(&(struct job){.number = i, .of = n})`.
 *
 * It does not wait, unless the group has a limit and that is reached: then it is a cancellation point, and
 * spawners are served in the order in which they came. A callback of the run (osr_posted) may spawn too: it cannot
 * wait, and gets -EAGAIN under a limit that is reached; `.eager` has no effect there.
 *
 * 0, and then the child owns its argument; else nothing was spawned, and the argument is still the caller's, and `*handle`
 * as it was: -ECANCELED only under a limit; -EAGAIN only in a callback; -OSR_ECLOSED if the group is closed; the code of an
 * open that failed; -ENOMEM (its message names the limit of the system where one was hit); -E2BIG if a copy would take more
 * than a quarter of the stack; -EINVAL; -EPERM.
 */
#define osr_spawn(...) OSR_SPAWN_(__VA_ARGS__, .size = sizeof(struct osr_spawn_options))
#define OSR_SPAWN_(group, task, arg, ...)                              \
    osr_spawn_with((group), &(task).routine_, (1 ? (arg) : (task).arg_), \
                   &(const struct osr_spawn_options){.where = OSR_HERE, __VA_ARGS__})
#define osr_spawn_copy(...) OSR_SPAWN_COPY_(__VA_ARGS__, .size = sizeof(struct osr_spawn_options))
#define OSR_SPAWN_COPY_(group, task, arg, ...)                         \
    osr_spawn_with((group), &(task).routine_, (1 ? (arg) : (task).arg_), \
                   &(const struct osr_spawn_options){.where = OSR_HERE, .copy = sizeof(*(arg)), __VA_ARGS__})
OSR_API int osr_spawn_with(struct osr_group *group, const struct osr_routine *routine, void *arg,
                           const struct osr_spawn_options *options);

/* ---- Starting ------------------------------------------------------------------------------------------ */

/*
 * Starts a task in `group` like osr_spawn(), and waits until it says that it is ready, by osr_started() (Trio's
 * nursery.start). Until then the child lives under the caller: the caller's cancellation and deadlines reach it, and
 * its error comes out of here and does not fail the group. From then on it is a child of the group like any other: what
 * the group's cancellation or deadline cuts, it cuts from then on, and no longer the caller's. The values that it sees
 * are the group's all along. The group does not close as long as one is being started.
 *
 * A cancellation point; a cancellation of the caller reaches the child, whose end is waited for. 0 once the child has
 * started, whatever is cancelled meanwhile; -ECANCELED, and the child has ended; the child's own error;
 * -OSR_ENOTSTARTED if it ended well without a word; -OSR_ETASKCANCELED if it was cancelled by somebody else; and the
 * codes of osr_spawn(). `.eager` and `.outcome` give -EINVAL. If it fails, `*handle` is all zeros, and copies of it are
 * stale.
 */
#define osr_start(...) OSR_START_(__VA_ARGS__, .size = sizeof(struct osr_spawn_options))
#define OSR_START_(group, task, arg, ...)                               \
    osr_start_with((group), &(task).routine_, (1 ? (arg) : (task).arg_), \
                   &(const struct osr_spawn_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_start_with(struct osr_group *group, const struct osr_routine *routine, void *arg,
                           const struct osr_spawn_options *options);

/*
 * Says that the calling task, which osr_start() is waiting for, is ready: it moves into the group at once. Never waits.
 * 0; -ECANCELED if the caller of osr_start() was cancelled first, also under a shield; -EALREADY if it has been said;
 * -EINVAL if nobody waits for it; -EPERM.
 */
OSR_API int osr_started(void);

/* ---- Many at once -------------------------------------------------------------------------------------- */

struct osr_gather_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* of the group that it makes */
    int limit;         /* how many may run at once; 0: all */
    enum osr_policy policy;
    int *results;                 /* NULL, or `count` places for what the tasks gave, in the order of the arguments */
    struct osr_outcome *outcomes; /* NULL, or the same with errors as results, which then fail nothing */
};

/*
 * Runs a task for each of the `count` arguments of the array `args`, side by side, and waits for all (asyncio.gather):
 * osr_gather(fetch, fetches, 12, .outcomes = outcomes). What the tasks found is in their arguments. Places of tasks
 * that were never spawned get -OSR_ETASKCANCELED. It waits as osr_group_close() does: a cancellation that arrives meanwhile
 * reaches the tasks. With none it does not wait.
 *
 * 0; what osr_group_close() gives, an osr_spawn() that failed being an error of the body; -ENOMEM; -EINVAL; -EPERM.
 */
#define osr_gather(...) OSR_GATHER_(__VA_ARGS__, .size = sizeof(struct osr_gather_options))
#define OSR_GATHER_(task, args, count, ...)                                                   \
    osr_gather_with(&(task).routine_, (1 ? (args) : (task).arg_), (count), sizeof(*(args)),   \
                    &(const struct osr_gather_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_gather_with(const struct osr_routine *routine, void *args, size_t count, size_t stride,
                            const struct osr_gather_options *options);

/* ---- Guards -------------------------------------------------------------------------------------------- */

/*
 * Declares the group `name` and opens it: OSR_GUARD_GROUP(workers, .limit = 4). Leaving the block without an
 * explicit close cancels the group, waits for its children and closes it; errors stay pending on the scope
 * around, whose own close (or the end of the task) gives them. An explicit osr_group_close() disarms it. What the
 * children use must be declared before the guard: what is declared after it is gone when the guard waits.
 */
#define OSR_GUARD_GROUP(...) OSR_GUARD_GROUP_(__VA_ARGS__, .size = sizeof(struct osr_group_options))
#define OSR_GUARD_GROUP_(name, ...)                      \
    OSR_CLEANUP_(osr_group_leave_) struct osr_group name; \
    (void)osr_group_guard_(&name, &(const struct osr_group_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_group_guard_(struct osr_group *group, const struct osr_group_options *options);
OSR_API void osr_group_leave_(struct osr_group *group);

#ifdef __cplusplus
}
#endif

#endif
