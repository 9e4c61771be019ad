/*
 * Errors: a code says that something failed, an error object says what, where and in which task, and an
 * exception group (as in Python's ExceptionGroup, PEP 654) holds the errors of a group of tasks as a tree.
 *
 * Every task has a slot for the error behind the code that it is about to return, and so has every thread
 * outside its tasks. A call of this library that fails fills it, one that succeeds leaves it alone; osr_fail()
 * and osr_wrap() fill it with a message; a closer that gives 0 or more empties it; and when a task returns its
 * code, the error goes into the tree of the task's group. A task that returns another code than the one in its
 * slot has failed with that code, with the slot's error as the cause. So the usual form works:
 *
 *     rc = osr_read(fd, buffer, size);
 *     if (rc < 0)
 *         return osr_wrap(rc, "reading the header of %s", path);
 *
 * Cancellations (-ECANCELED) are not errors: they leave no object and need no memory. Nor is it an error that a call
 * comes too late (-ESTALE, -EALREADY) which takes something back or ends it, and is made on the way out, with an error
 * behind what is about to be returned: osr_call_cancel(), osr_defer_cancel(), osr_queue_shutdown(), osr_post_close(),
 * osr_portal_close(), and what completes a future, leave the slot alone then.
 *
 * Errors are counted references, never copied. They belong to the thread that made them until osr_run() has
 * returned; then they may be handed to another thread, as a whole. When memory is short an error loses its
 * message and its causes, never its code, its place or its task.
 */
#ifndef OSIER_ERROR_H
#define OSIER_ERROR_H

#include <stdio.h>

#include <osier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_error;

/* ---- Failing ------------------------------------------------------------------------------------------ */

/*
 * Puts an error with a printf-style message into the slot and gives `code` back, to be returned:
 * `return osr_fail(-EPROTO, "line %d is no header", n)`. A `code` of 0 or more becomes -EINVAL. With
 * -ECANCELED the slot is emptied: a cancellation carries no message. May be called outside a task; never
 * waits.
 */
#define osr_fail(...) osr_fail_here(OSR_HERE, __VA_ARGS__)
OSR_API int osr_fail_here(const char *where, int code, const char *format, ...) OSR_PRINTF_(3, 4);

/*
 * Adds context to a failure: puts a new error with the same code, this place and this message into the
 * slot, whose cause is what the slot held, and gives `code` back. Around an exception group it puts a group that
 * holds it, so that its leaves are still found. A `code` of 0 or more, and -ECANCELED, come back untouched, so a
 * result can be passed through it. May be called outside a task; never waits.
 */
#define osr_wrap(...) osr_wrap_here(OSR_HERE, __VA_ARGS__)
OSR_API int osr_wrap_here(const char *where, int code, const char *format, ...) OSR_PRINTF_(3, 4);

/*
 * Like osr_fail(), of the class that ends the program in order (an interrupt, a request to exit): it also
 * cancels the root task. Shields hold, with their grace. The root remembers the first such error, and
 * osr_run() gives it even if nobody passed it on. `code` as for osr_fail(), but -ECANCELED becomes -EINTR.
 * Outside a task it gives -EPERM. Never waits.
 */
#define osr_fail_fatal(...) osr_fail_fatal_here(OSR_HERE, __VA_ARGS__)
OSR_API int osr_fail_fatal_here(const char *where, int code, const char *format, ...) OSR_PRINTF_(3, 4);

/* ---- The slot ----------------------------------------------------------------------------------------- */

/*
 * The error in the slot of the calling task (outside a task: of the thread), NULL if it is empty. The
 * slot keeps owning it: it is valid until the next call of this library that fails, or closes a scope or group.
 */
OSR_API struct osr_error *osr_error_last(void);

/*
 * Like osr_error_last(), but empties the slot: the error now belongs to the caller, who gives it back with
 * osr_error_release() or osr_raise(). Both give NULL if there is no memory for an error, and the slot keeps what it has.
 */
OSR_API struct osr_error *osr_error_take(void);

/*
 * Puts `error` back into the slot, taking over the caller's reference, and gives its code, to be returned.
 * NULL gives -EINVAL. Raising an error that a group has recorded already does not count it twice in that
 * group. May be called outside a task.
 */
OSR_API int osr_raise(struct osr_error *error);

/* Empties the slot. Nothing happens if it is empty. */
OSR_API void osr_error_clear(void);

/* One more reference to `error`, which is given back; NULL stays NULL. */
OSR_API struct osr_error *osr_error_retain(struct osr_error *error);

/* Gives a reference up; with the last one the error and all it alone holds are freed. NULL is ignored. */
OSR_API void osr_error_release(struct osr_error *error);

/* ---- Reading ------------------------------------------------------------------------------------------ */

/* All of these may be called from anywhere. What they give belongs to the error and lives as long. Of NULL they give 0, "",
 * false or NULL. */

/* The negative code; -OSR_EGROUP for an exception group. 0 for NULL. */
OSR_API int osr_error_code(const struct osr_error *error);

/* The message; for an error without one the text of its code. Never NULL. */
OSR_API const char *osr_error_message(const struct osr_error *error);

/*
 * The place, as "file.c:12", where the error arose, or where the task was spawned if none was recorded; for a group,
 * where the group was opened, or the first of the guards that left its errors. Never NULL.
 */
OSR_API const char *osr_error_where(const struct osr_error *error);

/* The name of the task that failed, or that owned the group; "" outside tasks. Never NULL. */
OSR_API const char *osr_error_task(const struct osr_error *error);

/* The name of the group, for an exception group; "" if it has none or the error is a leaf. */
OSR_API const char *osr_error_group(const struct osr_error *error);

/* What caused the error, or NULL. Owned by the error. */
OSR_API struct osr_error *osr_error_cause(const struct osr_error *error);

/* Whether the error is an exception group. */
OSR_API bool osr_error_is_group(const struct osr_error *error);

/* Whether the error was raised by osr_fail_fatal(), or is one that osr_wrap() has put around such a one. */
OSR_API bool osr_error_is_fatal(const struct osr_error *error);

/* For a group: how many of its tasks, its body included, ended cancelled, which is in no leaf, or passed a cancellation
 * on beside their error. */
OSR_API unsigned osr_error_cancelled(const struct osr_error *error);

/* ---- Exception groups --------------------------------------------------------------------------------- */

/*
 * Walks the leaves below an error, in the order in which they happened. An error that is no group is its own
 * only leaf. The tree must be kept while it is walked.
 *
 *     struct osr_leaves walk;
 *     osr_leaves_init(&walk, error);
 *     while ((leaf = osr_leaves_next(&walk)) != NULL)
 *         …
 */
struct osr_leaves {
    const struct osr_error *root_, *at_;
};
OSR_API void osr_leaves_init(struct osr_leaves *walk, const struct osr_error *error);
OSR_API const struct osr_error *osr_leaves_next(struct osr_leaves *walk);

/* How many leaves are below `error`: 1 for a leaf, 0 for NULL. */
OSR_API size_t osr_error_count(const struct osr_error *error);

/* The first leaf whose code is `code` (negated or not), NULL if there is none. Causes are not looked at. */
OSR_API const struct osr_error *osr_error_find(const struct osr_error *error, int code);

/* Says whether a leaf is wanted. */
typedef bool osr_error_match(const struct osr_error *leaf, void *arg);

/* An osr_error_match: whether the leaf's code is the int that `arg` points to (negated or not). */
OSR_API bool osr_error_has_code(const struct osr_error *leaf, void *arg);

/*
 * Divides the leaves of `error` into those that `match` wants and the rest (PEP 654's split): two trees of
 * the same shape, without the groups that became empty, each NULL if it has no leaf. They share their
 * leaves with `error`, which stays as it is. A message in which the library says how many errors a group has says in a
 * part how many that has; all others stay. Both belong to the caller; either pointer may be NULL when that part is not
 * wanted.
 *
 * 0; -EINVAL; -ENOMEM; if it is not 0, both are NULL. May be called from anywhere, and never waits, unless `match` does.
 */
OSR_API int osr_error_split(const struct osr_error *error, osr_error_match *match, void *arg,
                            struct osr_error **matching, struct osr_error **rest);

/* The part of osr_error_split() that matches. NULL if no leaf does, or if memory is short. */
OSR_API struct osr_error *osr_error_subgroup(const struct osr_error *error, osr_error_match *match, void *arg);

/*
 * A new exception group with the name, message (as for osr_error_split()), place and task of `group`, and `count` errors in
 * the place of its own (PEP 654's derive). It takes references of its own to them. NULL if `group` is no exception group,
 * if `count` is 0 or one of them is NULL, or if memory is short.
 */
OSR_API struct osr_error *osr_error_derive(const struct osr_error *group, struct osr_error *const *errors,
                                           size_t count);

/* ---- Printing ----------------------------------------------------------------------------------------- */

/*
 * Writes the tree: for every error its code (the symbol, or the number of one that has none), message, task and place, its
 * causes, and for every group who cancelled it and why. Nothing is written for NULL. May be called from anywhere. 0; -EIO if
 * the stream failed; -EINVAL without a stream.
 */
OSR_API int osr_error_print(const struct osr_error *error, FILE *stream);

/*
 * The same text into `buffer`, cut at `size` bytes with its end. Gives the length of the whole text, like
 * snprintf(); into a `buffer` of NULL nothing is written. May be called from anywhere.
 */
OSR_API size_t osr_error_format(const struct osr_error *error, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
