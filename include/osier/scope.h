/*
 * Scopes: what can be cancelled, and what has a deadline. The rules are those of Trio's cancel scopes; in
 * place of an exception, every cancellation point inside a cancelled scope gives -ECANCELED until the scope
 * is closed, and the closer says what became of it.
 *
 *     struct osr_scope limit;
 *
 *     osr_timeout_open(&limit, osr_ms(2000));
 *     rc = talk_to(server);
 *     return osr_scope_close(&limit, rc);          // -ETIMEDOUT if the limit cut it
 *
 * A scope lives in the caller's frame, belongs to the task that opened it, and is closed by that task,
 * innermost first. Closing another task's scope gives -EPERM. Closing one while something inside it is open,
 * or returning from a task with a scope open, stops the program with a message that names both places.
 *
 * When several scopes around a call are cancelled, the OUTERMOST of them that no shield hides takes the
 * cancellation up; those inside pass -ECANCELED on. So the outcome does not depend on who was first.
 */
#ifndef OSIER_SCOPE_H
#define OSIER_SCOPE_H

#include <osier/base.h>
#include <osier/time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_error;

/* Why a scope was cancelled: the first reason, which stays. */
struct osr_reason {
    int code;                /* -ECANCELED by hand, -ETIMEDOUT by the deadline, or the error's code; in a scope whose limit
                              * could not be set, the open's */
    const char *where;       /* the place of the cancel or of the error; for a deadline, of the scope */
    const char *text;        /* in words; never NULL */
    char who[OSR_NAME_SIZE]; /* the task that cancelled; "" if none did, as for a deadline or by a callback */
};

/* The fields are private; read them through the calls below. They stay readable after the close. */
struct osr_scope {
    /* One line of the cache, in which is all that a task's own scope is asked for in the common cases. */
    uint64_t cut_at_; /* when a call was last refused or cut in it, in the count of the run's cancellations; 0: never */
    struct osr_list_ sibling_;
    unsigned char form_, state_;
    unsigned char shielded_, caught_, guarded_;
    unsigned char laden_; /* `refusal_` and what stands between it and `reason_` mean something */
    unsigned char timed_; /* it may have a deadline of its own, or has a shield: what is due in it is not what is around */
    unsigned char away_; /* its owner is not told of cancellations, as it closes a group; or has not begun, and then of all
                          * this only what stands here, `sibling_` and `children_` to `parent_` mean anything */
    struct osr_scope *by_;      /* the outermost cancelled scope that can be seen from here, or NULL */
    struct osr_list_ children_; /* scopes directly inside, those of other tasks too */
    struct osr_scope *parent_;

    void *owner_;          /* the task that opened it */
    const char *opened_in_; /* where the one around it was opened, of the same task */
    uint64_t cancelled_at_, lifted_at_; /* in the same count */
    int64_t due_;                       /* the smallest deadline up to the nearest shield */
    struct osr_binding *values_;        /* the latest first */
    const struct osr_scope *values_from_; /* where values not bound here are looked for; it stays the same */
    const char *where_;                   /* where it was opened */
    struct osr_timer_ timer_;             /* the scope's own deadline */
    int refusal_;              /* the code of an open that failed */
    unsigned char pending_rides_;
    struct osr_error *pending_;
    struct osr_bound_ *bound_; /* what is left when the scope closes, the latest first */
    struct osr_error *kept_;   /* errors that the group closed last inside has kept */
    struct osr_reason reason_;
    const char *refused_at_;   /* where the guard was opened whose code `refusal_` is */
    uint64_t reserved_[1];
};

/* What a scope does; OR-ed with OSR_SCOPE_AT when the limit is a moment instead of a duration. */
enum osr_scope_form {
    OSR_SCOPE_TIMEOUT = 1, /* a cut is an error */
    OSR_SCOPE_MOVE_ON = 2, /* a cut is a success: caught */
    OSR_SCOPE_SHIELD = 3,  /* hides what is outside; a cut by its own deadline is an error */
    OSR_SCOPE_FORM_ = 15,
    OSR_SCOPE_AT = 16,
    OSR_SCOPE_GUARD_ = 32
};

/* ---- Opening and closing ------------------------------------------------------------------------------- */

/*
 * Each of these opens `scope` inside the calling task's innermost scope. They never wait. A duration counts
 * from the opening; one of 0 or less has passed already, and the first cancellation point inside gives
 * -ECANCELED; OSR_NEVER sets no limit.
 *
 * 0; -EPERM outside a task, and then it is not open, and gives this code to all who do something with it; -EINVAL, and
 * nothing changes, for the innermost open scope itself, as of a loop that has not closed it, and in debug runs for any that
 * is open around the caller; and if the limit cannot be set, -EINVAL for OSR_TIME_INVALID, or -ENOMEM. That does not come to
 * no limit: the scope is open, but cancelled from the start, so that what is inside is refused, and osr_scope_close() gives
 * the code again, of a move-on scope too, unless the body failed itself. So in a task the result of an open need not be
 * checked.
 */

/* A scope to cancel by hand, without a limit. */
#define osr_scope_open(scope) osr_scope_open_here((scope), OSR_SCOPE_TIMEOUT, OSR_NEVER, OSR_HERE)

/* A time limit whose passing is an error (asyncio.timeout, trio.fail_after). */
#define osr_timeout_open(scope, duration) \
    osr_scope_open_here((scope), OSR_SCOPE_TIMEOUT, (duration), OSR_HERE)
#define osr_timeout_open_at(scope, moment) \
    osr_scope_open_here((scope), OSR_SCOPE_TIMEOUT | OSR_SCOPE_AT, (moment), OSR_HERE)

/* A time limit after which the program moves on (trio.move_on_after): the close gives 0. */
#define osr_move_on_open(scope, duration) \
    osr_scope_open_here((scope), OSR_SCOPE_MOVE_ON, (duration), OSR_HERE)
#define osr_move_on_open_at(scope, moment) \
    osr_scope_open_here((scope), OSR_SCOPE_MOVE_ON | OSR_SCOPE_AT, (moment), OSR_HERE)

/*
 * A shield for clean-up: inside, cancellations and deadlines of the scopes outside are not felt, for at most
 * `grace`; then what is inside is cut, and the close gives -ETIMEDOUT. Without a limit, only by name: use it
 * where what is inside is certain to end.
 */
#define osr_shield_open(scope, grace) osr_scope_open_here((scope), OSR_SCOPE_SHIELD, (grace), OSR_HERE)
#define osr_shield_open_unlimited(scope) \
    osr_scope_open_here((scope), OSR_SCOPE_SHIELD, OSR_NEVER, OSR_HERE)

OSR_API int osr_scope_open_here(struct osr_scope *scope, int form, int64_t limit, const char *where);

/*
 * Closes `scope`; `rc` is what the body came to: 0 or more, or a negative code. Never waits, unless clean-ups were
 * deferred in it (osr_defer()), which it waits for, uncancelled. Reads no clock.
 * Gives:
 *
 *   - a real error: `rc`, with its error in the slot. If the scope's limit had cut something too, that is
 *     appended at the end of the error's causes;
 *   - if the body gave -ECANCELED, or the scope cut or refused a call and the body ignored it:
 *       -ECANCELED where a scope further out is cancelled too, which then takes it up; else
 *       0 for a move-on scope; -ETIMEDOUT where the deadline was the reason; else -OSR_ESCOPECANCELED;
 *   - else `rc`. Being late without having cut anything is a success.
 *
 * Also what a guard inside left pending (see below), -OSR_EGROUP where clean-ups failed (osr_defer()), the code of an open
 * that failed, unless `rc` is negative, -EINVAL for a scope that is not open, or a group's, -EPERM from another task
 * (nothing changes).
 */
#define osr_scope_close(scope, rc) osr_scope_close_here((scope), (rc), OSR_HERE)
OSR_API int osr_scope_close_here(struct osr_scope *scope, int rc, const char *where);

/* ---- Cancelling ---------------------------------------------------------------------------------------- */

/*
 * Cancels everything inside `scope`, for good: every cancellation point in it, in this task and in the tasks of groups
 * below it, gives -ECANCELED from now on, and parked ones are woken. Any task of the runtime may cancel, and callbacks
 * (call.h, post.h) may. It never waits and switches to nobody; its cost is the scopes below. Cancelling again changes
 * nothing: the first reason stays. `text` says why, may be NULL, is not copied and must outlive the scope (a literal).
 *
 * 0; -OSR_ECLOSED if the scope is closed; the code of an open that failed; -EINVAL; -EPERM outside a runtime or from another
 * one.
 */
#define osr_scope_cancel(scope, text) osr_scope_cancel_here((scope), (text), OSR_HERE)
OSR_API int osr_scope_cancel_here(struct osr_scope *scope, const char *text, const char *where);

/*
 * Moves the deadline to `at`, for all that is inside: a moment, not a duration (osr_time_add(osr_now(), osr_s(5)));
 * OSR_NEVER takes it away. One that has passed is noticed at the next cancellation point inside, or by the loop. Never
 * waits; costs the scopes below. For tasks and callbacks of the runtime.
 *
 * 0; -EALREADY if the scope is cancelled, as it is once the deadline has fired; -OSR_ECLOSED; the code of an open that
 * failed; -EINVAL; -ENOMEM, which cannot come where there is a deadline already; -EPERM.
 */
OSR_API int osr_scope_set_deadline(struct osr_scope *scope, int64_t at);

/*
 * Takes a shield away: cancellations and deadlines of the scopes outside are felt at once. Never waits. For tasks and
 * callbacks of the runtime.
 * 0, also if there was none; -OSR_ECLOSED; the code of an open that failed; -EINVAL; -EPERM. There is no way to put a
 * shield up again: open one.
 */
OSR_API int osr_scope_unshield(struct osr_scope *scope);

/* ---- Asking -------------------------------------------------------------------------------------------- */

/* These may be asked of a closed scope as well, for as long as its storage lives; of NULL they give what is so of none. On
 * the thread of the run, or when it is over. */

/* Whether the scope itself was cancelled, by hand or by its deadline. */
OSR_API bool osr_scope_cancelled(const struct osr_scope *scope);

/* Whether the scope took a cancellation up when it closed, also if real errors went up beside it, and that of a group which
 * its policy had cancelled, as the first child had ended: osr_scope_reason() tells. */
OSR_API bool osr_scope_caught(const struct osr_scope *scope);

/* Why it was cancelled, NULL if it was not. Lives as long as the scope's storage. */
OSR_API const struct osr_reason *osr_scope_reason(const struct osr_scope *scope);

/* Its own deadline, OSR_NEVER if it has none. */
OSR_API int64_t osr_scope_deadline(const struct osr_scope *scope);

/*
 * The deadline in effect for the calling task: the smallest up to the nearest shield, OSR_NEVER if there is
 * none or outside a task.
 */
OSR_API int64_t osr_deadline(void);

/* Whether the calling task's next cancellation point would give -ECANCELED. Reads no clock. */
OSR_API bool osr_cancelled(void);

/*
 * Why: the reason of the scope that will take the cancellation up, the outermost cancelled one that can be seen from the
 * calling task; NULL if there is none, or outside a task. Lives as long as that scope.
 */
OSR_API const struct osr_reason *osr_cancel_reason(void);

/* ---- Clean-up ------------------------------------------------------------------------------------------ */

/* A handle to a clean-up, to take it back. It may be gone before the clean-up runs. Its fields are private. */
struct osr_cleanup {
    void *record_;
    uint64_t id_, run_; /* which clean-up, of which run */
    uint64_t reserved_[1];
};

/*
 * Has run(arg) called when the calling task's innermost scope closes (of a scope, a group, or the task itself, when
 * it returns): after the children of a group have been joined, the last deferred first, whatever the outcome. Each
 * runs in the closing task under a shield of its own for at most `grace` nanoseconds; then what it calls is cut. It
 * gives 0 or more, or a negative code. Never waits; closing then waits for it, uncancelled.
 *
 * If any fails, the close gives an exception group of the error of the body, if it had one, and those of the clean-ups
 * in the order in which they ran; an expired grace is an ETIMEDOUT in it, -ECANCELED an OSR_ESPURIOUS. A group adds
 * them to its own errors. Only then is decided what else the close gives: whether the scope's deadline had cut
 * something, who takes a cancellation up. A deadline that passes while clean-ups run has cut nothing.
 *
 * A clean-up may open scopes and groups and defer clean-ups of its own, which run when it returns. One that is
 * registered never lacks the memory that it takes to run it and to keep its error.
 *
 * What `arg` points to must live until then: for what is in the frame of a task's function that is so in a scope or group
 * that this function closes, and not in the task's own scope, which closes when the function has returned (-EINVAL).
 *
 * `cleanup` receives a handle, and may be NULL; if it fails, that is all zeros, and the clean-up will not run. 0; -EINVAL;
 * -ENOMEM; -EPERM.
 */
#define osr_defer(cleanup, run, arg, grace) osr_defer_here((cleanup), (run), (arg), (grace), OSR_HERE)
/* The same without a limit: use it where the clean-up is certain to end. */
#define osr_defer_unlimited(cleanup, run, arg) osr_defer_here((cleanup), (run), (arg), OSR_NEVER, OSR_HERE)
OSR_API int osr_defer_here(struct osr_cleanup *cleanup, int (*run)(void *arg), void *arg, int64_t grace,
                           const char *where);

/* Takes a clean-up back, which then does not run. Never waits. 0; -ESTALE if it has run, runs, or was never deferred (all
 * zeros); -EINVAL; -EPERM from another task than the one that deferred it. */
OSR_API int osr_defer_cancel(struct osr_cleanup *cleanup);

/* ---- Values -------------------------------------------------------------------------------------------- */

/* A value bound to a scope, in the frame of whoever binds it. Its fields are private. */
struct osr_binding {
    const void *key_;
    void *value_;
    struct osr_binding *next_;
};

/*
 * Binds `value` to `key`, an address that nobody else uses, such as that of a static variable, in the calling task's
 * innermost scope: from now on until that scope closes, osr_value(key) gives it in this task and in all tasks whose
 * groups are inside (contextvars, bound to a scope). An inner binding hides an outer one; to hide it with nothing, bind
 * NULL. `binding` must live until the scope has closed (in a task's own scope: until its function returns). Takes no
 * memory, never waits. 0; -EBUSY if it is bound in a scope of this task already; -EINVAL; -EPERM.
 */
OSR_API int osr_bind(struct osr_binding *binding, const void *key, void *value);

/*
 * The value bound to `key` nearest to the calling task; in a job in a thread or a worker process, to the task that waits
 * for it; in a call (call.h), to the scope that it is bound to, and in other callbacks to the root; NULL if there is none.
 * May be called from anywhere, never waits; costs the scopes up to the one that binds it.
 */
OSR_API void *osr_value(const void *key);

/* ---- Guards -------------------------------------------------------------------------------------------- */

/*
 * Declares the scope `name` and opens it; leaving the block by any way (break, goto, return) closes it. What
 * the close gives then, if it is a failure, stays pending on the scope around, whose own close (or the end of
 * the task) gives it. An explicit osr_scope_close() before disarms the guard, and is the better way where the
 * result matters.
 */
#define OSR_GUARD_TIMEOUT(name, duration) OSR_GUARD_SCOPE_(name, OSR_SCOPE_TIMEOUT, duration)
#define OSR_GUARD_MOVE_ON(name, duration) OSR_GUARD_SCOPE_(name, OSR_SCOPE_MOVE_ON, duration)
#define OSR_GUARD_SHIELD(name, grace)     OSR_GUARD_SCOPE_(name, OSR_SCOPE_SHIELD, grace)
#define OSR_GUARD_SCOPE_(name, form, limit)              \
    OSR_CLEANUP_(osr_scope_leave_) struct osr_scope name; \
    (void)osr_scope_open_here(&name, (form) | OSR_SCOPE_GUARD_, (limit), OSR_HERE)
OSR_API void osr_scope_leave_(struct osr_scope *scope);

#ifdef __cplusplus
}
#endif

#endif
