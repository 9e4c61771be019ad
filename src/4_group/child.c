#include "4_group/child.h"

#include <string.h>

#include "0_base/text.h"

/* ---- The end of a task ---- */

/* What the task's own return comes to. Its scope is the outermost that can be closed here, so a cancellation that it
 * takes up ends here (the task counts as cancelled), and others go on. */
static inline struct outcome judge(struct child *child, int rc)
{
    struct osr_scope *scope = &child->scope;
    struct slot *slot = &child->task.slot;
    bool absorbs = osri_scope_absorbs(scope);
    struct outcome outcome;

    osri_errors_unpromise(child->task.sched, 1);
    outcome = (struct outcome){.rc = rc};
    if (rc >= 0) {
        osri_slot_clear(slot);
    } else if (rc == -ECANCELED && scope->by_) {
        osri_slot_clear(slot);
        outcome.passed_on = !absorbs;
    } else {
        outcome.rc = rc == -ECANCELED ? -OSR_ESPURIOUS : rc;
        outcome.passed_on = slot->code == rc && slot->riding && !absorbs;
        outcome.error = osri_slot_outcome(slot, outcome.rc, child->task.where);
    }
    return outcome;
}

static void record_end(struct child *child, struct outcome outcome)
{
    int state = outcome.rc >= 0 ? OSR_TASK_DONE : outcome.error ? OSR_TASK_FAILED : OSR_TASK_CANCELED;

    osri_record_end(child->record, state, state == OSR_TASK_CANCELED ? -OSR_ETASKCANCELED : outcome.rc, outcome.error);
}

/* A task that returns where it may not. */
_Noreturn static void die(struct child *child)
{
    struct sched *sched = child->task.sched;

    if (osri_sched != sched)
        osri_die(NULL, "osier: task \"%s\", spawned at %s, returned in a forked child, where its run does not go on\n",
                 child->task.name, child->task.where);
    osri_die(sched, "osier: task \"%s\", spawned at %s, returned while what it opened at %s is still open\n",
             child->task.name, child->task.where, child->task.opened);
}

/* The end of a task of which more is to be seen or told than that it has succeeded. */
static __attribute__((noinline)) void end_remarkably(struct sched *sched, struct child *child, int rc)
{
    struct outcome outcome;

    if (osri_sched != sched || child->task.scope != &child->scope)
        die(child);
    rc = osri_scope_join_pending(sched, &child->scope, &child->task.slot, rc, child->task.where);
    if (unlikely(child->scope.laden_))
        child->scope.values_ = NULL; /* in the frame of the task's function, which is gone */
    rc = osri_scope_clean_up(sched, &child->scope, rc, child->task.where);
    outcome = judge(child, rc);
    osri_observe(sched, OSR_TRACE_END, &child->task, NULL, child->task.where, outcome.rc);
    osri_scope_pass_cut(sched, &child->scope, outcome.rc);
    osri_scope_detach(sched, &child->scope);
    if (child->record)
        record_end(child, outcome);
    child->ended(child, outcome);
}

static inline bool is_remarkable(const struct sched *sched, const struct child *child, int rc)
{
    return rc < 0 || osri_sched != sched || child->task.scope != &child->scope || child->scope.laden_ ||
           child->scope.cut_at_ || child->task.slot.error || child->record || sched->observe;
}

static inline void end(struct child *child, int rc)
{
    struct sched *sched = child->task.sched;

    if (unlikely(is_remarkable(sched, child, rc))) {
        end_remarkably(sched, child, rc);
        return;
    }
    osri_errors_unpromise(sched, 1);
    osri_scope_detach_plain(&child->scope); /* which nobody can give a deadline */
    child->ended(child, (struct outcome){.rc = rc});
}

/* The first function on a task's stack, which AddressSanitizer must not instrument: it enters a new stack here, and what
 * does not return leaves its frame on the fake stack, which is kept for the next task. */
__attribute__((no_sanitize_address)) void osri_child_begin(void *arg)
{
    struct child *child = arg;

    osri_task_begin(child->task.sched, &child->task);
    end(child, child->run(child->arg));
    osri_task_exit(child->task.sched, &child->task);
}

void *osri_child_copy(struct child *child, const void *arg, size_t size)
{
    return memcpy((char *)child - osri_child_copy_room(size), arg, size);
}
