/* The slots of tasks and threads: where the error behind a code waits until its code has been returned. */
#include "3_scope/slot.h"

#include <pthread.h>
#include <stdarg.h>

/* What a thread's slot holds when the thread ends is released. */
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void clear_at_thread_end(void *slot)
{
    osri_slot_clear(slot);
}

static void make_thread_key(void)
{
    (void)pthread_key_create(&thread_key, clear_at_thread_end);
}

/* For the thread that ends the program. */
__attribute__((destructor)) static void clear_at_exit(void)
{
    if (!osri_current())
        osri_slot_clear(&osri_thread_slot);
}

_Thread_local const char *osri_thread_who = "";

struct slot *osri_slot(void)
{
    struct task *task = osri_current();

    if (task)
        return &task->slot;
    pthread_once(&thread_once, make_thread_key);
    (void)pthread_setspecific(thread_key, &osri_thread_slot);
    return &osri_thread_slot;
}

const char *osri_who(void)
{
    struct task *task = osri_current();

    return task ? task->name : osri_thread_who;
}

void osri_slot_settle(struct slot *slot)
{
    if (!slot->fresh)
        return;
    osr_error_release(slot->error);
    slot->error = NULL;
    slot->fresh = false;
}

int osri_slot_put(struct slot *slot, struct osr_error *error)
{
    struct osr_error *old = slot->error;

    *slot = (struct slot){.code = error->code, .where = error->where, .error = error};
    osr_error_release(old);
    return error->code;
}

/* Where the calling task was spawned, which stands in where a failing call recorded no place. */
static const char *spawned_where(void)
{
    struct task *task = osri_current();

    return task ? task->where : NULL;
}

struct osr_error *osri_slot_error(struct slot *slot)
{
    osri_slot_settle(slot);
    if (!slot->error && slot->code < 0 && slot->code != -ECANCELED)
        slot->error = osri_error_new(osri_sched, slot->code, slot->where ? slot->where : spawned_where(), osri_who());
    return slot->error;
}

struct osr_error *osri_slot_own(struct slot *slot, int code, const char *where)
{
    struct osr_error *cause, *error;

    osri_slot_settle(slot);
    if (slot->code == code && slot->error)
        return slot->error;
    error = osri_error_new(osri_sched, code, slot->code == code && slot->where ? slot->where : where, osri_who());
    if (!error)
        return NULL;
    if (slot->code != code) {
        cause = osri_slot_error(slot);
        error->cause = osr_error_retain(cause);
    }
    osri_slot_put(slot, error);
    return error;
}

struct osr_error *osri_slot_outcome(struct slot *slot, int code, const char *where)
{
    struct osr_error *error = osr_error_retain(osri_slot_own(slot, code, where));

    osri_slot_clear(slot);
    return error;
}

/* ---- Failing ---- */

int osri_fail(const char *where, int code, const char *format, va_list list)
{
    struct slot *slot = osri_slot();
    struct osr_error *error = NULL;

    if (code != -ECANCELED)
        error = osri_error_new(osri_sched, code, where, osri_who());
    if (!error) {
        osri_slot_clear(slot);
        *slot = (struct slot){.code = code, .where = where};
        return code;
    }
    osri_error_vsay(error, format, list); /* which may quote the error that the slot still holds */
    return osri_slot_put(slot, error);
}

int osr_fail_here(const char *where, int code, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    code = osri_fail(where, code < 0 ? code : -EINVAL, format, list);
    va_end(list);
    return code;
}

/* A new error around `inner`, which may be NULL: a leaf has it as its cause; a group gets a group around it, so that
 * its leaves are still found. NULL if memory is short. */
static struct osr_error *around(struct osr_error *inner, int code, const char *where)
{
    struct osr_error *error;

    if (!osr_error_is_group(inner) || code != inner->code) {
        error = osri_error_new(osri_sched, code, where, osri_who());
        if (error) {
            error->cause = osr_error_retain(inner);
            error->fatal = inner && inner->fatal && inner->code == code; /* it is the same failure, in more words */
        }
        return error;
    }
    error = osri_error_new_group(osri_sched, where, osri_who(), NULL);
    if (!error)
        return NULL;
    osri_error_adopt(osri_sched, error, osr_error_retain(inner));
    if (osr_error_is_group(error->first))
        return error;
    osr_error_release(error); /* no memory to copy it, so its leaves would be out of sight: better no message */
    return NULL;
}

int osr_wrap_here(const char *where, int code, const char *format, ...)
{
    struct slot *slot = osri_slot();
    bool riding = slot->riding;
    struct osr_error *error;
    va_list list;

    if (code >= 0 || code == -ECANCELED)
        return code;
    error = around(osri_slot_error(slot), code, where);
    if (!error) {
        if (slot->code != code) {
            osri_slot_clear(slot);
            *slot = (struct slot){.code = code, .where = where};
        }
        return code;
    }
    va_start(list, format);
    osri_error_vsay(error, format, list);
    va_end(list);
    osri_slot_put(slot, error);
    slot->riding = riding;
    return code;
}

struct osr_error *osr_error_last(void)
{
    struct slot *slot = osri_slot();
    struct osr_error *error = osri_slot_error(slot);

    if (error && slot->riding)
        error->riding = true; /* who retains it may raise it again */
    return error;
}

struct osr_error *osr_error_take(void)
{
    struct slot *slot = osri_slot();
    struct osr_error *error = osr_error_retain(osri_slot_error(slot));

    if (!error && slot->code < 0 && slot->code != -ECANCELED)
        return NULL; /* for lack of memory */
    if (error)
        error->riding = slot->riding;
    osri_slot_clear(slot);
    return error;
}

/* Whether a scope around the caller, be it behind shields of its own, is there to take a cancellation up. */
static bool somebody_is_cancelled(void)
{
    const struct task *task = osri_current();
    const struct osr_scope *at = task ? task->scope : NULL;

    while (at && at->owner_ == task && !at->by_)
        at = at->parent_;
    return at && at->owner_ == task;
}

int osr_raise(struct osr_error *error)
{
    struct slot *slot = osri_slot();

    if (!error)
        return osr_fail_here(NULL, -EINVAL, "osr_raise() of no error");
    osri_slot_put(slot, error);
    slot->riding = error->riding && somebody_is_cancelled();
    return error->code;
}

void osr_error_clear(void)
{
    osri_slot_clear(osri_slot());
}
