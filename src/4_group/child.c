#include "4_group/child.h"

#include <assert.h>
#include <string.h>

#include "0_base/text.h"
#include "0_base/tools.h"

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
    if (child->record) {
        record_end(child, outcome);
        child->record = NULL; /* which a usual one may have got by asking who it is */
    }
    child->ended(child, outcome);
}

/* The two ends that are common are told in few words, to the same effect: a success, seen by nobody; and a cancellation from
 * further out, passed on to there. What a call of a scope's has had cut matters only to those further out that are cancelled
 * by now: to nobody, if it sees none. Who has asked for its own handle has a laden scope. */
static inline bool is_remarkable(const struct sched *sched, const struct child *child, int rc)
{
    return osri_sched != sched || child->task.scope != &child->scope || child->scope.laden_ || child->task.slot.error ||
           !sched->plain || (rc >= 0 ? child->scope.by_ != NULL : rc != -ECANCELED || !child->scope.by_);
}

static inline void end(struct sched *sched, struct child *child, bool usual, int rc)
{
    struct osr_group *group;

    if (unlikely(!usual || is_remarkable(sched, child, rc))) {
        end_remarkably(sched, child, rc);
        return;
    }
    osri_errors_unpromise(sched, 1);
    assert(child->scope.by_ != &child->scope);
    group = container_of(child->scope.parent_, struct osr_group, scope); /* child->group is in a line that is not needed else */
    osri_scope_detach_plain(&child->scope); /* which nobody can cancel by itself, or give a deadline */
    if (rc < 0) {
        group->scope.cut_at_ = sched->cancellations;
        group->passed_on_ = 1;
        group->cancelled_++;
    }
    osri_group_free_place(sched, group);
}

/* ---- Its life ---- */

void osri_child_furnish(struct sched *sched, struct child *child)
{
    child->task.sched = sched;
    osri_scope_init(&child->scope, &child->task);
    child->task.scope = &child->scope;
    osri_child_reset(child);
}

/* Below a copy, where the first functions of the task go on; Valgrind takes no notice of how they come there. */
enum { FIRST_FRAMES = 4096 };

/* What the copy of an argument takes on the stack, aligned for any type. */
static size_t room_of(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

struct child *osri_child_new(struct sched *sched, struct osr_scope *parent, const struct osr_routine *routine, void *arg,
                             const struct osr_spawn_options *options, int *code)
{
    struct child *child;
    char *copy;

    if (options->copy > sched->stacks.size / 4) {
        *code = -E2BIG;
        return NULL;
    }
    child = osri_child_brief(sched, parent, routine, arg, options->where, code);
    if (child && options->name) {
        osri_name_copy(child->name, options->name);
        child->task.name = child->name;
    }
    if (child && options->copy > 0) {
        copy = (char *)child - room_of(options->copy);
        osri_valgrind_open(copy - FIRST_FRAMES, FIRST_FRAMES + options->copy);
        child->task.arg = memcpy(copy, arg, options->copy);
        osri_task_prepare(&child->task, room_of(options->copy), osri_child_begin);
    }
    return child;
}

/* The task on this stack has ended: it goes on as the brief one, if `next` is that, whose stack goes back. */
static inline bool go_on_as(struct sched *sched, struct child *child, struct task *next)
{
    struct child *other;

    if (!next || !child_of(next)->scope.away_)
        return false;
    other = child_of(next);
    child->task.number = next->number;
    child->task.name = next->name;
    child->task.where = next->where;
    child->task.run = next->run;
    child->task.arg = next->arg;
    child->group = other->group;
    osri_scope_take_place(&child->scope, &other->scope);
    sched->current = &child->task;
    osri_task_free(sched, next);
    return true;
}

/* Gives whether the whole stack is free for another: the copy of an argument stays above the frame of osri_child_begin(). */
static inline bool live(struct sched *sched, struct child *child)
{
    bool usual = child->scope.away_;

    if (likely(usual))
        osri_child_complete(child);
    end(sched, child, usual, child->task.run(child->task.arg));
    if (likely(usual))
        return true;
    osri_child_reset(child);
    return task_base(&child->task) == (const char *)child;
}

/* The first function on a task's stack, which AddressSanitizer must not instrument: it enters a new stack here, and what
 * does not return leaves its frame on the fake stack, which is kept for the next task. */
__attribute__((no_sanitize_address)) void osri_child_begin(void *arg)
{
    struct child *child = arg;
    struct sched *sched = child->task.sched;
    struct task *next;
    bool whole;

    osri_task_begin(sched, &child->task);
    do {
        whole = live(sched, child);
        next = osri_task_next(sched);
    } while (likely(whole) && go_on_as(sched, child, next));
    osri_task_exit(sched, &child->task, next);
}
