/* What every other header of osier needs: error codes, places, and a few private building blocks. */
#ifndef OSIER_BASE_H
#define OSIER_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OSR_VERSION_MAJOR 0
#define OSR_VERSION_MINOR 1
#define OSR_VERSION_PATCH 0
#define OSR_VERSION       "0.1.0"

#if defined(__GNUC__)
#define OSR_API __attribute__((visibility("default")))
#define OSR_PRINTF_(text, first) __attribute__((format(printf, text, first)))
#define OSR_MAYBE_UNUSED_ __attribute__((unused))
#define OSR_CLEANUP_(function) __attribute__((cleanup(function)))
#else
#error "osier needs gcc or clang: its guards and its context switch are written for them"
#endif

/*
 * The place of a call, as "file.c:12". The macros of this library pass it along, so that errors, trees and
 * messages can name it. A place given by hand (from another language) must stay readable for as long as
 * the program runs.
 */
#define OSR_HERE __FILE__ ":" OSR_TEXT_(__LINE__)
#define OSR_TEXT_(number) OSR_TEXT_OF_(number)
#define OSR_TEXT_OF_(number) #number

/*
 * The library's own error codes, above the range of errno. Like errno values they are returned negated:
 * `if (rc == -OSR_EGROUP)`.
 */
enum osr_code {
    OSR_EGROUP = 4096,  /* one or more errors came out of a group: see osr_error_last() */
    OSR_ETASKCANCELED,  /* the task that was joined, or the root task, was cancelled */
    OSR_ESCOPECANCELED, /* the scope that was closed had been cancelled, not by its deadline */
    OSR_ESPURIOUS,      /* a task or body gave -ECANCELED though no scope around it is cancelled */
    OSR_ECLOSED,        /* the group or scope is closed already */
    OSR_EDEADLOCK,      /* nothing could ever run again */
    OSR_ENOTSTARTED,    /* a task ended without calling osr_started() */
    OSR_EBROKEN,        /* the barrier was aborted or reset */
    OSR_EFUTURECANCELED, /* the future was cancelled */
    OSR_EWORKER         /* the worker process died */
};

/*
 * The contract of a call names what it gives, 0 first if that is success. What is so everywhere is said here only:
 *
 *   -EINVAL     also for NULL where something has to be pointed to, for options whose `size` is none that is known, or
 *               with a value that is none of its enum, and for OSR_TIME_INVALID. Who gives no code takes NULL for nothing.
 *   -EPERM      outside a run, in a forked child of it, and for what belongs to another run, where that can be told: of an
 *               event, say, by the tasks that wait for it. A call is for tasks, and gives it in callbacks too, unless its
 *               contract says "callbacks" or "anywhere". (Callbacks are calls, posts and the program's own watchers: call.h,
 *               post.h, attach.h.) What would wait, and each cancellation point, gives it in a cancel hook as well (wait.h).
 *   -ECANCELED  of a cancellation point is given before the arguments are looked at.
 *
 * "Anywhere" is in any thread, and outside runs; in signal handlers is only what says so. What a call was to fill in means
 * nothing when it fails, unless its contract says more. What a call that fails leaves in the slot of errors: error.h.
 *
 * A cancellation point need not wait to let others run: it does so after 128 of them in a row that could finish at once, or
 * were refused. "Never waits" is what neither waits nor lets others run.
 */

/*
 * The text for a code of osier or of errno, negated or not; never NULL. Never waits; may be called from
 * anywhere. The text is constant and lives as long as the program.
 */
OSR_API const char *osr_strerror(int code);

/*
 * The symbol of a code, such as "ECONNREFUSED" or "OSR_EGROUP"; "0" for 0, "?" for a number that has
 * none. Not for counts: 2 is taken for ENOENT, as -2 is. Otherwise like osr_strerror().
 */
OSR_API const char *osr_strcode(int code);

/* The version of the library that is linked, such as "0.1.0". */
OSR_API const char *osr_version(void);

/* How many bytes of a name are kept, its end included: longer names are cut. */
#define OSR_NAME_SIZE 64

/* Private: what scopes and groups, which callers allocate, are made of. */

struct osr_list_ {
    struct osr_list_ *next, *prev;
};

/* Something bound to a scope, which is left when the scope closes. */
struct osr_bound_ {
    struct osr_bound_ *next_, **prev_;
    void (*leave_)(struct osr_bound_ *bound); /* NULL: a clean-up */
};

struct osr_timer_ {
    int64_t at;
    struct osr_list_ node;
    void (*fire)(struct osr_timer_ *timer);
    uint32_t index;
    unsigned char state, late;
};

#ifdef __cplusplus
}
#endif

#endif
