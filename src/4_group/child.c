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
        scope->caught_ = absorbs;
        outcome.passed_on = !absorbs;
    } else {
        outcome.rc = rc == -ECANCELED ? -OSR_ESPURIOUS : rc;
        outcome.passed_on = slot->code == rc && slot->riding && !absorbs;
        scope->caught_ = slot->code == rc && slot->riding && absorbs;
        outcome.error = osri_slot_outcome(slot, outcome.rc, child->task.where);
    }
    return outcome;
}

static void record_end(struct child *child, const struct outcome *outcome)
{
    int state = outcome->rc >= 0 ? OSR_TASK_DONE : outcome->error ? OSR_TASK_FAILED : OSR_TASK_CANCELED;

    osri_record_end(child->record, state, state == OSR_TASK_CANCELED ? -OSR_ETASKCANCELED : outcome->rc,
                    outcome->error);
}

static void end(struct child *child, int rc)
{
    struct sched *sched = child->task.sched;
    struct outcome outcome;

    if (osri_sched != sched)
        osri_die(NULL, "osier: task \"%s\", spawned at %s, returned in a forked child, where its run does not go on\n",
                 child->task.name, child->task.where);
    if (child->task.scope != &child->scope)
        osri_die(sched, "osier: task \"%s\", spawned at %s, returned while what it opened at %s is still open\n",
                 child->task.name, child->task.where, child->task.opened);
    rc = osri_scope_join_pending(sched, &child->scope, &child->task.slot, rc, child->task.where);
    if (unlikely(child->scope.laden_))
        child->scope.values_ = NULL; /* in the frame of the task's function, which is gone */
    rc = osri_scope_clean_up(sched, &child->scope, rc, child->task.where);
    outcome = judge(child, rc);
    osri_observe(sched, OSR_TRACE_END, &child->task, NULL, child->task.where, outcome.rc);
    osri_scope_pass_cut(sched, &child->scope, outcome.rc);
    osri_scope_detach(sched, &child->scope);
    if (child->record)
        record_end(child, &outcome);
    child->ended(child, &outcome);
}

/* The first function on a task's stack, which AddressSanitizer must not instrument: it enters a new stack here, and what
 * does not return leaves its frame on the fake stack, which is kept for the next task. */
__attribute__((no_sanitize_address)) static void begin(void *arg)
{
    struct child *child = arg;

    osri_task_begin(child->task.sched, &child->task);
    end(child, child->run(child->arg));
    osri_task_exit(child->task.sched, &child->task);
}

/* ---- The beginning ---- */

/* What the copy of an argument takes on the stack, aligned for any type; the stack itself needs 16. */
static size_t copy_room(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

struct child *osri_child_new(struct sched *sched, struct osr_scope *parent, const struct osr_routine *routine,
                             void *arg, const struct osr_spawn_options *options, int *code)
{
    struct child *child;
    struct task *task;
    size_t room = 0;

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
    task->where = place_or_unknown(options->where);
    task->name = routine->name ? routine->name : "";
    if (options->name) {
        osri_name_copy(child->name, options->name);
        task->name = child->name;
    }
    if (options->copy) {
        room = copy_room(options->copy);
        arg = memcpy((char *)child - room, arg, options->copy);
    }
    child->run = routine->run;
    child->arg = arg;
    child->record = NULL;
    child->extras = 0;
    osri_scope_attach(&child->scope, task, parent, SCOPE_TASK, options->where);
    osri_scope_enter(task, &child->scope);
    osri_task_prepare(task, room, begin);
    return child;
}
