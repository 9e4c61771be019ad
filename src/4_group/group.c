#include <osier/group.h>

#include <assert.h>

#include "0_base/text.h"
#include "2_sched/wait.h"
#include "4_group/group.h"

/* A group promises an error for its body, and one that holds the tree. */
enum { GROUP_ERRORS = 2 };

/* ---- Opening ---- */

static int check_options(const struct osr_group_options *options)
{
    return options->size != sizeof(*options) || options->limit < 0 ? -EINVAL : 0;
}

static int open_group(struct osr_group *group, const struct osr_group_options *options, bool guarded)
{
    static const struct osr_group_options none = {.size = sizeof(none)};
    struct sched *sched = osri_sched;
    struct task *task = osri_current();
    int rc;

    if (!group)
        return osri_failed(-EINVAL, options ? options->where : NULL);
    if (!options)
        options = &none;
    group->running_ = 0;
    group->name_[0] = '\0';
    if (!task)
        return osri_failed(osri_scope_refuse(&group->scope, -EPERM), options->where);
    rc = check_options(options);
    if (rc == 0)
        rc = osri_errors_promise(sched, GROUP_ERRORS + (guarded ? GUARD_ERRORS : 0));
    if (rc < 0)
        return osri_task_failed(task, osri_scope_refuse(&group->scope, rc), options->where);
    osri_scope_attach(&group->scope, task, task->scope, SCOPE_GROUP, options->where);
    group->scope.guarded_ = guarded;
    group->tree_ = NULL;
    group->errors_ = group->cancelled_ = 0;
    group->limit_ = (unsigned)options->limit;
    group->unwrap_ = options->unwrap;
    group->passed_on_ = 0;
    list_init(&group->spawners_);
    list_init(&group->kept_);
    list_init(&group->closer_);
    if (options->name)
        osri_name_copy(group->name_, options->name);
    osri_scope_enter(task, &group->scope);
    return 0;
}

int osr_group_open_with(struct osr_group *group, const struct osr_group_options *options)
{
    return open_group(group, options, false);
}

int osr_group_guard_(struct osr_group *group, const struct osr_group_options *options)
{
    return open_group(group, options, true);
}

/* ---- Outcomes ---- */

static const char because_it_failed[] = "it failed";

/* The group that holds the errors of `group`, made for the first of them. */
static struct osr_error *tree_of(struct sched *sched, struct osr_group *group)
{
    struct task *owner = group->scope.owner_;

    if (!group->tree_) {
        osri_errors_unpromise(sched, 1);
        group->tree_ = osri_error_new_group(sched, group->scope.where_, owner->name, group->name_);
    }
    return group->tree_;
}

/* Takes over the reference to `error`, and cancels the rest at the first one. */
static void count_failure(struct sched *sched, struct osr_group *group, const char *who, struct osr_error *error)
{
    if (error->parent && error->parent == group->tree_) {
        osr_error_release(error); /* got by joining: it stands here already */
        return;
    }
    group->errors_++;
    osri_scope_cancel(sched, &group->scope, error->code, who, error->where, because_it_failed);
    osri_error_adopt(sched, tree_of(sched, group), error);
}

/* Counts one outcome, of a child or of the body. */
static inline void count_outcome(struct sched *sched, struct osr_group *group, const char *who,
                                 const struct outcome *outcome)
{
    if (likely(outcome->rc >= 0))
        return;
    group->passed_on_ |= outcome->passed_on;
    group->cancelled_ += outcome->passed_on || !outcome->error;
    if (outcome->error)
        count_failure(sched, group, who, outcome->error);
}

/* A place under the limit is free, or a child has ended: hands the place to the next spawner, or tells the owner that
 * nobody is left. */
static void free_place(struct sched *sched, struct osr_group *group)
{
    if (!list_empty(&group->spawners_)) {
        osri_wake(sched, wait_of(group->spawners_.next), 0);
        return;
    }
    if (--group->running_ == 0 && !list_empty(&group->closer_)) {
        group->scope.state_ = SCOPE_ENDED;
        osri_wake(sched, wait_of(group->closer_.next), 0);
    }
}

void osri_group_child_ended(struct child *child, const struct outcome *outcome)
{
    struct sched *sched = child->task.sched;

    count_outcome(sched, child->group, child->task.name, outcome);
    free_place(sched, child->group);
}

/* ---- Spawning ---- */

static int wait_for_place(struct sched *sched, struct osr_group *group, const char *where)
{
    struct osr_wait wait;
    int rc = osri_enter(sched, where);

    if (rc < 0)
        return rc;
    wait_init(&wait, sched->current, "osr_spawn", where);
    list_append(&group->spawners_, &wait.waiter_.node_);
    return osri_wait(sched, &wait);
}

/* Takes a place among the running: 0 or a code. */
static int take_place(struct sched *sched, struct osr_group *group, const char *where)
{
    if (likely(group->limit_ == 0) || group->running_ < group->limit_) {
        group->running_++;
        return 0;
    }
    return likely(sched->current != NULL) ? wait_for_place(sched, group, where) : -EAGAIN; /* a callback cannot wait */
}

static int keep_record(struct sched *sched, struct osr_group *group, struct child *child, struct osr_task *handle)
{
    struct record *record = osri_record_new(sched, child);

    if (!record)
        return -ENOMEM;
    child->record = record;
    record->kept = true;
    list_append(&group->kept_, &record->node);
    *handle = osri_record_handle(record);
    return 0;
}

static void unmake(struct sched *sched, struct child *child)
{
    osri_scope_detach(sched, &child->scope);
    osri_errors_unpromise(sched, 1);
    osri_task_free(sched, &child->task);
}

/* The place is taken; makes the child and queues it. */
static int start(struct sched *sched, struct osr_group *group, const struct osr_routine *routine, void *arg,
                 const struct osr_spawn_options *options, osri_ended *ended)
{
    struct child *child;
    int rc;

    child = osri_child_new(sched, &group->scope, routine, arg, options, &rc);
    if (unlikely(!child))
        return rc;
    child->group = group;
    child->ended = ended;
    if (options->handle && keep_record(sched, group, child, options->handle) < 0) {
        unmake(sched, child);
        return -ENOMEM;
    }
    osri_observe(sched, OSR_TRACE_SPAWN, &child->task, NULL, child->task.where, 0);
    if (options->eager && sched->current)
        osri_run_eagerly(sched, &child->task);
    else
        osri_ready(sched, &child->task);
    return 0;
}

/* Whether a task of this run may spawn into the group: 0 or a code. */
static int may_spawn(struct sched *sched, const struct osr_group *group)
{
    const struct task *owner;

    switch (group->scope.state_) {
    case SCOPE_OPEN:
        owner = group->scope.owner_;
        return owner->sched == sched ? 0 : -EPERM;
    case SCOPE_REFUSED:
        return group->scope.refusal_;
    case SCOPE_ENDED:
    case SCOPE_CLOSED:
        return -OSR_ECLOSED;
    default:
        return -EINVAL;
    }
}

static int fail_to_spawn(int rc, const char *where)
{
    if (rc == -EAGAIN)
        return osr_fail_here(where, -ENOMEM,
                             "no guarded stack for the task: the system's limit on memory mappings is reached; raise "
                             "vm.max_map_count");
    return osri_failed(rc, where);
}

int osri_spawn_placed(struct sched *sched, struct osr_group *group, const struct osr_routine *routine, void *arg,
                      const struct osr_spawn_options *options, osri_ended *ended)
{
    int rc = start(sched, group, routine, arg, options, ended);

    if (likely(rc == 0))
        return 0;
    free_place(sched, group);
    return fail_to_spawn(rc, options->where);
}

int osri_group_ask_place(struct sched *sched, struct osr_group *group, struct osr_wait *wait)
{
    int rc = may_spawn(sched, group);

    if (rc < 0)
        return rc;
    if (group->limit_ == 0 || group->running_ < group->limit_) {
        group->running_++;
        return 1;
    }
    list_append(&group->spawners_, &wait->waiter_.node_);
    return 0;
}

int osr_spawn_with(struct osr_group *group, const struct osr_routine *routine, void *arg,
                   const struct osr_spawn_options *options)
{
    static const struct osr_spawn_options none = {.size = sizeof(none)};
    struct sched *sched = osri_sched;
    int rc;

    if (!options)
        options = &none;
    if (unlikely(!osri_is_inside(sched)))
        return osri_failed(-EPERM, options->where);
    if (unlikely(!group || !routine || !routine->run || options->size != sizeof(*options) ||
                 (options->copy && !arg)))
        return osri_failed(-EINVAL, options->where);
    rc = may_spawn(sched, group);
    if (rc == 0)
        rc = take_place(sched, group, options->where);
    if (rc == -ECANCELED)
        return rc; /* nothing was spawned, and no place was taken */
    if (unlikely(rc < 0))
        return osri_failed(rc, options->where);
    return osri_spawn_placed(sched, group, routine, arg, options, osri_group_child_ended);
}

/* ---- Closing ---- */

/* What the body came to: it counts as one more child. */
static struct outcome body_outcome(struct sched *sched, struct osr_group *group, int rc, const char *where)
{
    struct task *owner = group->scope.owner_;
    struct slot *slot = &owner->slot;
    struct outcome outcome;

    osri_errors_unpromise(sched, 1);
    rc = osri_scope_join_pending(sched, &group->scope, slot, rc, where);
    outcome = (struct outcome){.rc = rc};
    if (rc == -ECANCELED && group->scope.by_) {
        outcome.passed_on = true;
    } else if (rc < 0) {
        outcome.rc = rc == -ECANCELED ? -OSR_ESPURIOUS : rc;
        outcome.passed_on = slot->code == rc && slot->riding;
        outcome.error = osri_slot_outcome(slot, outcome.rc, where);
    }
    osri_slot_clear(slot);
    return outcome;
}

static void wait_for_children(struct sched *sched, struct osr_group *group, const char *where)
{
    struct osr_wait wait;

    if (group->running_ == 0)
        return;
    wait_init(&wait, sched->current, "osr_group_close", where);
    wait.uncut_ = true;
    list_append(&group->closer_, &wait.waiter_.node_);
    (void)osri_wait(sched, &wait);
}

/* Who cancelled first: the group itself, as it does at its first error, or the scope outside that it sees. */
static const struct osr_reason *first_reason(const struct osr_group *group)
{
    const struct osr_scope *own = &group->scope, *outer = own->by_;

    return outer->cancelled_at_ < own->cancelled_at_ ? &outer->reason_ : &own->reason_;
}

/* How many, and who cancelled the others. */
static void say_group(struct osr_group *group, struct osr_error *tree)
{
    const struct osr_reason *reason = first_reason(group);
    const char *by = reason->who[0] ? " by task \"" : "", *end = reason->who[0] ? "\"" : "";
    const char *errors = group->errors_ == 1 ? "error" : "errors";

    tree->cancelled = group->cancelled_;
    if (group->cancelled_ || reason->text != because_it_failed)
        osri_error_say(tree, "%u %s, %u cancelled%s%s%s at %s%s%s", group->errors_, errors, group->cancelled_, by,
                       reason->who, end, reason->where, *reason->text ? ": " : "", reason->text);
    else
        osri_error_say(tree, "%u %s", group->errors_, errors);
}

/* The errors of the group as one, into the slot. */
static int give_errors(struct osr_group *group, struct slot *slot, bool riding)
{
    struct osr_error *tree = group->tree_, *lone = tree->first;

    group->tree_ = NULL;
    say_group(group, tree);
    if (group->unwrap_ && group->errors_ == 1) {
        lone = osr_error_retain(lone->kind == ERROR_LINK ? lone->first : lone);
        osr_error_release(tree);
        tree = lone;
    }
    osri_slot_put(slot, tree);
    slot->riding = riding;
    return tree->code;
}

/* What the close gives, when all outcomes are in (R6). */
static int conclude(struct sched *sched, struct osr_group *group, int rc, const char *where)
{
    struct task *task = group->scope.owner_;
    bool absorbs = osri_scope_absorbs(&group->scope);
    bool goes_on = group->passed_on_ && !absorbs;

    if (group->passed_on_ && absorbs)
        group->scope.caught_ = 1;
    if (group->errors_ > 0)
        return give_errors(group, &task->slot, goes_on);
    osri_errors_unpromise(sched, 1); /* no tree was needed */
    if (goes_on)
        return osri_task_failed(task, -ECANCELED, where);
    osri_slot_clear(&task->slot);
    return rc > 0 ? rc : 0;
}

static void cleanup_failed(void *arg, struct osr_error *error)
{
    count_failure(osri_sched, arg, osri_who(), error);
}

static int close_group(struct osr_group *group, int rc, const char *where)
{
    struct sched *sched = osri_sched;
    struct task *task = sched->current;
    struct osr_list_ *node;
    struct outcome outcome;

    outcome = body_outcome(sched, group, rc, where);
    count_outcome(sched, group, task->name, &outcome);
    wait_for_children(sched, group, where);
    group->scope.state_ = SCOPE_ENDED;
    osri_scope_leave_bound(sched, &group->scope, cleanup_failed, group);
    if (group->scope.guarded_)
        osri_errors_unpromise(sched, GUARD_ERRORS);
    rc = conclude(sched, group, rc, where);
    while ((node = group->kept_.next) != &group->kept_)
        osri_record_unkeep(container_of(node, struct record, node));
    osri_scope_pass_cut(sched, &group->scope, rc);
    osri_scope_detach(sched, &group->scope);
    osri_scope_enter(task, group->scope.parent_);
    return rc;
}

int osr_group_close_here(struct osr_group *group, int rc, const char *where)
{
    int answer;

    if (!group)
        return osri_failed(-EINVAL, where);
    answer = osri_scope_may_close(&group->scope, rc, "group", where);
    return answer <= 0 ? answer : close_group(group, rc, where);
}

int osr_group_cancel_here(struct osr_group *group, const char *text, const char *where)
{
    return osr_scope_cancel_here(group ? &group->scope : NULL, text, where);
}

size_t osr_group_running(const struct osr_group *group)
{
    return group ? group->running_ : 0;
}

/* ---- Guards ---- */

void osr_group_leave_(struct osr_group *group)
{
    struct task *task = osri_current();
    struct osr_scope *outer;
    struct slot kept;
    int rc;

    if (group->scope.state_ == SCOPE_REFUSED && task)
        osri_scope_leave_refused(task, &group->scope);
    if (group->scope.state_ != SCOPE_OPEN || !task)
        return;
    kept = task->slot;
    task->slot = (struct slot){0};
    outer = group->scope.parent_;
    osri_scope_cancel(osri_sched, &group->scope, -ECANCELED, task->name, group->scope.where_, "its block was left");
    rc = osr_group_close_here(group, 0, group->scope.where_);
    if (rc < 0 && rc != -ECANCELED)
        osri_scope_leave_pending(osri_sched, outer, &task->slot, rc, group->scope.where_);
    osri_slot_clear(&task->slot);
    task->slot = kept;
}
