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
    return options->size != sizeof(*options) || options->limit < 0 || (unsigned)options->policy > OSR_FIRST_SUCCESS
               ? -EINVAL
               : 0;
}

/* Its errors before the winner and those after it are two trees. */
static unsigned errors_of(enum osr_policy policy)
{
    return policy == OSR_FIRST_SUCCESS ? GROUP_ERRORS + 1 : GROUP_ERRORS;
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
    if (task && osri_scope_is_open(task, &group->scope))
        return osri_scope_open_already(&group->scope, options->where);
    group->running_ = group->daemons_ = group->awaited_ = group->spawned_ = group->winner_ = 0;
    group->losses_ = NULL;
    group->policy_ = OSR_FAIL_FAST;
    group->named_ = group->keeps_ = group->handing_ = 0;
    if (!task || task->hooked) /* closing it would wait */
        return osri_failed(osri_scope_refuse(&group->scope, -EPERM, options->where), options->where);
    rc = check_options(options);
    if (rc == 0)
        rc = osri_errors_promise(sched, errors_of(options->policy) + (guarded ? GUARD_ERRORS : 0));
    if (rc < 0)
        return osri_task_failed(task, osri_scope_refuse(&group->scope, rc, options->where), options->where);
    osri_scope_init(&group->scope, task);
    osri_scope_attach(&group->scope, task->scope, SCOPE_GROUP, options->where);
    group->scope.guarded_ = guarded;
    group->tree_ = NULL;
    group->errors_ = group->cancelled_ = 0;
    group->limit_ = (unsigned)options->limit;
    group->unwrap_ = options->unwrap;
    group->policy_ = (unsigned char)options->policy;
    group->passed_on_ = 0;
    list_init(&group->spawners_);
    list_init(&group->closer_);
    if (options->name) {
        osri_name_copy(group->name_, options->name);
        group->named_ = 1;
    }
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
        group->tree_ = osri_error_new_group(sched, group->scope.where_, owner->name, group->named_ ? group->name_ : "");
    }
    return group->tree_;
}

static bool fails_fast(const struct osr_group *group)
{
    return group->policy_ == OSR_FAIL_FAST || group->policy_ == OSR_FIRST_DONE;
}

/* Whether it was got by joining, or is raised again: it stands here already. */
static bool stands_here(const struct osr_group *group, const struct osr_error *error)
{
    return osri_error_holds(group->tree_, error) || osri_error_holds(group->losses_, error);
}

/* Takes over the reference to `error`, and cancels the rest at the first one. */
static void count_failure(struct sched *sched, struct osr_group *group, const char *who, struct osr_error *error)
{
    if (stands_here(group, error)) {
        osr_error_release(error);
        return;
    }
    group->errors_++;
    if (fails_fast(group))
        osri_scope_cancel(sched, &group->scope, error->code, who, error->where, because_it_failed);
    osri_error_adopt(sched, tree_of(sched, group), error);
}

/* Counts one outcome, of a child or of the body. */
static inline void count_outcome(struct sched *sched, struct osr_group *group, const char *who,
                                 struct outcome outcome)
{
    if (likely(outcome.rc >= 0))
        return;
    group->passed_on_ |= outcome.passed_on;
    group->cancelled_ += outcome.passed_on || !outcome.error;
    if (outcome.error)
        count_failure(sched, group, who, outcome.error);
}

/* ---- The end of a child ---- */

/* Only daemons are left: cancels them. */
static __attribute__((noinline)) void cancel_daemons(struct sched *sched, struct osr_group *group)
{
    struct osr_list_ *node;

    for (node = group->scope.children_.next; node != &group->scope.children_; node = node->next) {
        struct osr_scope *scope = container_of(node, struct osr_scope, sibling_);

        assert(scope->form_ == SCOPE_TASK); /* the body has closed all of its own */
        osri_scope_cancel(sched, scope, -ECANCELED, "", group->scope.where_, "only daemons are left");
    }
}

/* Brings into the cache what the owner goes on with, and, as it may end soon, the group that it is in itself. */
static inline __attribute__((always_inline)) void fetch_closer(const struct osr_group *group)
{
    struct task *owner = group->scope.owner_;
    const struct osr_scope *around = child_of(owner)->scope.parent_;

    osri_task_fetch(owner);
    if (around)
        osri_stack_prefetch(around, -1, 2);
}

void osri_group_last_has_ended(struct sched *sched, struct osr_group *group)
{
    if (group->running_ > 0) {
        cancel_daemons(sched, group);
        return;
    }
    group->scope.state_ = SCOPE_ENDED;
    fetch_closer(group);
    osri_wake(sched, container_of(waiter_of(group->closer_.next), struct osr_wait, waiter_), 0); /* which has no other */
}

/* A spawner that is no task (6_ready/portal.c) spawns at once. If it fails, the place is free again before this is over: then
 * the next one gets it here, so that it takes no more of the stack however many fail. */
void osri_group_hand_place_over(struct sched *sched, struct osr_group *group)
{
    if (group->handing_) {
        group->handing_ = 2;
        return;
    }
    do {
        group->handing_ = 1;
        osri_wake(sched, wait_of(group->spawners_.next), 0);
    } while (group->handing_ == 2);
    group->handing_ = 0;
}

static bool is_fatal(const struct osr_error *tree)
{
    const struct osr_error *leaf;
    struct osr_leaves walk;

    osr_leaves_init(&walk, tree);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        if (leaf->fatal)
            return true;
    return false;
}

/* The first success: the errors until now are no failure of the group, unless one of them is to end the program. */
static void set_losses_aside(struct sched *sched, struct osr_group *group)
{
    if (!group->tree_ || is_fatal(group->tree_)) {
        osri_errors_unpromise(sched, 1);
        return;
    }
    group->losses_ = group->tree_;
    osri_error_say_count(group->losses_, group->errors_, " before the first success");
    group->tree_ = NULL;
    group->errors_ = 0;
}

/* Who was cut together with the group has not come first. */
static bool wins(const struct osr_group *group, const struct child *child, struct outcome outcome)
{
    bool cut = outcome.passed_on && !outcome.error;

    if (group->winner_ || child->extras & CHILD_DAEMON)
        return false;
    return (group->policy_ == OSR_FIRST_DONE && !cut) || (group->policy_ == OSR_FIRST_SUCCESS && outcome.rc >= 0);
}

/* Tells whoever spawned the child. Gives what is left for the group to count. */
static struct outcome tell_spawner(const struct child *child, struct outcome outcome)
{
    struct outcome left = outcome;
    int rc = outcome.rc < 0 && !outcome.error ? -OSR_ETASKCANCELED : outcome.rc;

    if (child->result)
        *child->result = rc;
    if (child->outcome) {
        *child->outcome = (struct osr_outcome){rc, outcome.error};
        if (outcome.error && is_fatal(outcome.error)) {
            osr_error_retain(outcome.error); /* a result, and a failure all the same */
        } else if (outcome.error) {
            left.error = NULL;
            left.rc = outcome.passed_on ? -ECANCELED : 0;
        }
    }
    return left;
}

static void special_child_ended(struct sched *sched, struct child *child, struct outcome outcome)
{
    struct osr_group *group = child->group;
    struct outcome left = child->extras & CHILD_TELLS ? tell_spawner(child, outcome) : outcome;
    bool won = wins(group, child, outcome);

    if (won) {
        group->winner_ = child->index;
        if (group->policy_ == OSR_FIRST_SUCCESS)
            set_losses_aside(sched, group);
    }
    count_outcome(sched, group, child->task.name, left);
    if (won)
        osri_scope_cancel(sched, &group->scope, -ECANCELED, child->task.name, child->task.where, "it was the first");
    if (child->extras & CHILD_DAEMON)
        group->daemons_--;
}

/* The end of a child that is not usual, or has not succeeded. */
static __attribute__((noinline)) void remarkable_child_ended(struct sched *sched, struct child *child,
                                                             struct outcome outcome)
{
    if (child->extras)
        special_child_ended(sched, child, outcome);
    else
        count_outcome(sched, child->group, child->task.name, outcome);
    osri_group_free_place(sched, child->group);
}

/* Says that a child comes or goes: if it is one that is only counted, several of them come to the same in any order, as
 * long as nothing is to happen between them, as where there is a limit, or only daemons are left. */
static __attribute__((noinline)) void touch_counts(struct sched *sched, const struct osr_group *group, bool only_counted)
{
    bool adds = only_counted && group->limit_ == 0 && group->daemons_ == 0;

    osri_touch(&sched->door, adds ? OSR_TOUCH_ADD : OSR_TOUCH_WRITE, &group->scope);
}

void osri_group_child_ended(struct child *child, struct outcome outcome)
{
    struct sched *sched = child->task.sched;

    if (unlikely(sched->door.touched != NULL))
        touch_counts(sched, child->group, !child->extras && !outcome.error);
    if (unlikely(child->extras || outcome.rc < 0))
        remarkable_child_ended(sched, child, outcome);
    else
        osri_group_free_place(sched, child->group);
}

/* ---- Spawning ---- */

static int wait_for_place(struct sched *sched, struct osr_group *group, const char *where)
{
    struct osr_wait wait;
    int rc = osri_enter_for(sched, &group->scope, where);

    if (rc < 0)
        return rc;
    wait_begin(&wait, sched->current, &group->spawners_, NULL, "osr_spawn", where);
    rc = osri_wait(sched, &wait);
    osri_touch(&sched->door, OSR_TOUCH_WRITE, &group->scope);
    return rc;
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

/* To be said before anything is kept in the group, or somebody waits for it: few groups have that. */
static void prepare_to_keep(struct osr_group *group)
{
    if (group->keeps_)
        return;
    group->keeps_ = 1;
    list_init(&group->kept_);
    list_init(&group->ended_);
    list_init(&group->nexts_);
}

static __attribute__((noinline)) int keep_record(struct sched *sched, struct osr_group *group, struct child *child,
                                                 struct osr_task *handle)
{
    struct record *record = osri_record_new(sched, child);

    if (!record)
        return -ENOMEM;
    child->record = record;
    record->kept = true;
    prepare_to_keep(group);
    list_append(&group->kept_, &record->node);
    *handle = osri_record_handle(record);
    return 0;
}

/* Whether nothing has to be said of a child but what every child is told. */
static inline bool is_usual(const struct osr_group *group, const struct osr_spawn_options *options, osri_ended *ended)
{
    return !options->handle && !options->copy && !options->name && !options->daemon && !options->result &&
           !options->outcome && group->policy_ == OSR_FAIL_FAST && ended == osri_group_child_ended;
}

/* 0 or -ENOMEM. */
static __attribute__((noinline)) int make_unusual(struct sched *sched, struct osr_group *group, struct child *child,
                                                  const struct osr_spawn_options *options, osri_ended *ended)
{
    osri_child_complete(child);
    child->ended = ended;
    if (options->handle && keep_record(sched, group, child, options->handle) < 0)
        return -ENOMEM;
    child->extras = (options->daemon ? CHILD_DAEMON : 0u) | (options->result || options->outcome ? CHILD_TELLS : 0u) |
                    (group->policy_ != OSR_FAIL_FAST ? CHILD_COUNTED : 0u);
    child->index = group->spawned_ + 1;
    child->result = options->result;
    child->outcome = options->outcome;
    group->daemons_ += options->daemon;
    return 0;
}

static void unmake(struct sched *sched, struct child *child)
{
    osri_scope_detach(sched, &child->scope);
    osri_child_reset(child);
    osri_errors_unpromise(sched, 1);
    osri_task_free(sched, &child->task);
}

static int fail_to_spawn(int rc, const char *where)
{
    if (rc == -EAGAIN)
        return osr_fail_here(where, -ENOMEM,
                             "no guarded stack for the task: the system's limit on memory mappings is reached; raise "
                             "vm.max_map_count");
    return osri_failed(rc, where);
}

/* A child inside `parent`, for a place that is taken; NULL with a code, and then nothing is left behind. */
static struct child *make_child(struct sched *sched, struct osr_group *group, struct osr_scope *parent,
                                const struct osr_routine *routine, void *arg, const struct osr_spawn_options *options,
                                osri_ended *ended, int *code)
{
    struct child *child = osri_child_new(sched, parent, routine, arg, options, code);

    if (!child)
        return NULL;
    child->group = group;
    if (!is_usual(group, options, ended) && make_unusual(sched, group, child, options, ended) < 0) {
        unmake(sched, child);
        *code = -ENOMEM;
        return NULL;
    }
    group->spawned_++;
    osri_observe(sched, OSR_TRACE_SPAWN, &child->task, NULL, child->task.where, 0);
    return child;
}

int osri_spawn_placed(struct sched *sched, struct osr_group *group, const struct osr_routine *routine, void *arg,
                      const struct osr_spawn_options *options, osri_ended *ended)
{
    int rc;
    struct child *child = make_child(sched, group, &group->scope, routine, arg, options, ended, &rc);

    if (!child) {
        osri_group_free_place(sched, group);
        return fail_to_spawn(rc, options->where);
    }
    if (options->handle)
        osri_group_awaits(group, child->record);
    if (options->daemon && osri_group_has_only_daemons(group))
        cancel_daemons(sched, group);
    if (options->eager && sched->current)
        osri_run_eagerly(sched, &child->task);
    else
        osri_ready(sched, &child->task);
    return 0;
}

/* Whether the group belongs to this run, and is open: 0 or a code. */
static inline int may_enter(const struct sched *sched, const struct osr_group *group)
{
    const struct task *owner;

    if (likely(group->scope.state_ == SCOPE_OPEN)) {
        owner = group->scope.owner_;
        return owner->sched == sched ? 0 : -EPERM;
    }
    switch (group->scope.state_) {
    case SCOPE_REFUSED:
        return group->scope.refusal_;
    case SCOPE_ENDED:
    case SCOPE_CLOSED:
        return -OSR_ECLOSED;
    default:
        return -EINVAL;
    }
}

/* Whether this can be spawned into the group: 0 or a code. */
static inline int may_spawn(const struct sched *sched, const struct osr_group *group, const struct osr_routine *routine,
                            const void *arg, const struct osr_spawn_options *options)
{
    if (unlikely(!group || !routine || !routine->run || options->size != sizeof(*options) || (options->copy && !arg)))
        return -EINVAL;
    return may_enter(sched, group);
}

int osri_group_ask_place(struct sched *sched, struct osr_group *group, struct osr_wait *wait)
{
    int rc;

    osri_touch(&sched->door, OSR_TOUCH_ALL, NULL);
    rc = may_enter(sched, group);
    if (rc < 0)
        return rc;
    if (group->limit_ == 0 || group->running_ < group->limit_) {
        group->running_++;
        return 1;
    }
    list_append(&group->spawners_, &wait->waiter_.node_);
    return 0;
}

/* While its owner has not closed it, or a child of its runs, the group cannot end. */
static bool is_at_home(const struct task *task, const struct osr_group *group)
{
    const struct osr_scope *at;

    for (at = task ? task->scope : NULL; at; at = at->parent_)
        if (at == &group->scope)
            return true;
    return false;
}

static __attribute__((noinline)) void touch_spawn(struct sched *sched, const struct osr_group *group,
                                                  const struct osr_spawn_options *options)
{
    bool plain = !options->handle && !options->daemon && !options->result && !options->outcome;

    if (group)
        touch_counts(sched, group, plain && is_at_home(sched->current, group) && group->policy_ == OSR_FAIL_FAST);
}

static __attribute__((noinline)) int spawn_anything(struct sched *sched, struct osr_group *group,
                                                    const struct osr_routine *routine, void *arg,
                                                    const struct osr_spawn_options *options)
{
    static const struct osr_spawn_options none = {.size = sizeof(none)};
    int rc;

    if (!options)
        options = &none;
    if (!osri_is_inside(sched))
        return osri_failed(-EPERM, options->where);
    if (sched->door.touched)
        touch_spawn(sched, group, options);
    rc = may_spawn(sched, group, routine, arg, options);
    if (rc == 0)
        rc = take_place(sched, group, options->where);
    if (rc == -ECANCELED)
        return rc; /* nothing was spawned, and no place was taken */
    if (rc < 0)
        return osri_failed(rc, options->where);
    return osri_spawn_placed(sched, group, routine, arg, options, osri_group_child_ended);
}

/* What nearly all spawns are: by a task, without what makes a child unusual, into an open group without a limit or policy, with nobody to be
 * told or asked. */
static inline bool is_plain(const struct sched *sched, const struct osr_group *group, const struct osr_routine *routine,
                            const void *arg, const struct osr_spawn_options *options)
{
    return sched && sched->plain && sched->current && options && may_spawn(sched, group, routine, arg, options) == 0 &&
           group->limit_ == 0 && is_usual(group, options, osri_group_child_ended);
}

int osr_spawn_with(struct osr_group *group, const struct osr_routine *routine, void *arg,
                   const struct osr_spawn_options *options)
{
    struct sched *sched = osri_sched;
    struct child *child;
    int code;

    if (unlikely(!is_plain(sched, group, routine, arg, options)))
        return spawn_anything(sched, group, routine, arg, options);
    child = osri_child_brief(sched, &group->scope, routine, arg, options->where, &code);
    if (unlikely(!child))
        return fail_to_spawn(code, options->where);
    child->group = group;
    group->running_++;
    group->spawned_++;
    if (unlikely(options->eager))
        osri_run_eagerly(sched, &child->task);
    else
        osri_ready(sched, &child->task);
    return 0;
}

/* ---- Starting ---- */

/* In the frame of osr_start(), until the child has started or ended. */
struct starting {
    struct osr_wait wait;
    struct osr_scope parent;   /* the child's, inside the scopes of the caller */
    struct outcome outcome;    /* of a child that ended before it had started */
    bool started, cancelled;   /* how it ended: what comes before the caller runs again is too late */
};

static struct starting *starting_of(const struct child *child)
{
    return container_of(child->scope.parent_, struct starting, parent);
}

/* Whoever starts the child is cancelled. */
static bool caller_is_cancelled(const struct starting *starting)
{
    return starting->parent.by_ != NULL;
}

static void ended_unstarted(struct child *child, struct outcome outcome)
{
    struct starting *starting = starting_of(child);

    osri_touch(&child->task.sched->door, OSR_TOUCH_ALL, NULL);
    if (child->extras & CHILD_TELLS)
        (void)tell_spawner(child, outcome);
    if (child->extras & CHILD_DAEMON)
        child->group->daemons_--;
    starting->outcome = outcome;
    starting->cancelled = caller_is_cancelled(starting);
    osri_wake(child->task.sched, &starting->wait, 0);
}

int osr_started(void)
{
    struct task *task = osri_current();
    struct child *child = task ? child_of(task) : NULL;
    struct starting *starting;

    if (!child)
        return osri_failed(-EPERM, NULL);
    osri_touch(&task->sched->door, OSR_TOUCH_ALL, NULL);
    if (child->ended != ended_unstarted)
        return osri_task_failed(task, child->extras & CHILD_STARTED ? -EALREADY : -EINVAL, NULL);
    starting = starting_of(child);
    if (caller_is_cancelled(starting))
        return task->refusal ? osri_refused(task->sched, task, NULL) : osri_task_failed(task, -ECANCELED, NULL);
    child->ended = osri_group_child_ended;
    child->extras |= CHILD_STARTED;
    osri_scope_move(&child->scope, &child->group->scope);
    if (child->record && child->record->kept)
        osri_group_awaits(child->group, child->record);
    if (osri_group_has_only_daemons(child->group))
        cancel_daemons(task->sched, child->group);
    starting->started = true;
    osri_wake(task->sched, &starting->wait, 0);
    return 0;
}

/* What osr_start() gives for a child that has ended without a word. */
static int judge_unstarted(struct sched *sched, const struct starting *starting, const char *where)
{
    const struct outcome *outcome = &starting->outcome;
    struct task *task = sched->current;
    int rc = outcome->rc < 0 ? -OSR_ETASKCANCELED : -OSR_ENOTSTARTED;

    if (outcome->error) {
        osri_slot_put(&task->slot, outcome->error);
        task->slot.riding = outcome->passed_on;
        return outcome->rc;
    }
    return osri_task_failed(task, starting->cancelled ? -ECANCELED : rc, where);
}

/* The place is taken; makes the child, and waits. */
static __attribute__((noinline)) int start_and_wait(struct sched *sched, struct osr_group *group, const struct osr_routine *routine, void *arg,
                          const struct osr_spawn_options *options)
{
    struct task *task = sched->current;
    struct starting starting = {0};
    struct osr_scope *parent = &starting.parent;
    struct child *child;
    struct osr_task handle = {0};
    int rc;

    osri_scope_init(parent, task);
    osri_scope_attach(parent, task->scope, SCOPE_START, options->where);
    child = make_child(sched, group, parent, routine, arg, options, ended_unstarted, &rc);
    if (!child) {
        osri_scope_detach(sched, parent);
        osri_group_free_place(sched, group);
        return fail_to_spawn(rc, options->where);
    }
    if (options->handle)
        handle = *options->handle;
    child->scope.values_from_ = &group->scope; /* all along */
    osri_ready(sched, &child->task);
    wait_init(&starting.wait, task, "osr_start", options->where);
    starting.wait.uncut_ = true;
    (void)osri_wait(sched, &starting.wait);
    osri_touch(&sched->door, OSR_TOUCH_ALL, NULL);
    rc = starting.started ? 0 : judge_unstarted(sched, &starting, options->where);
    osri_scope_pass_cut(sched, parent, rc);
    osri_scope_detach(sched, parent);
    if (starting.started)
        return 0;
    if (options->handle) {
        osri_record_forget(handle); /* the group will never have had this child */
        *options->handle = (struct osr_task){0};
    }
    osri_group_free_place(sched, group);
    return rc;
}

int osr_start_with(struct osr_group *group, const struct osr_routine *routine, void *arg,
                   const struct osr_spawn_options *options)
{
    static const struct osr_spawn_options none = {.size = sizeof(none)};
    struct sched *sched = osri_sched;
    int rc;

    if (!options)
        options = &none;
    if (options->size == sizeof(*options) && options->handle)
        *options->handle = (struct osr_task){0};
    rc = osri_enter(sched, options->where);
    if (rc < 0)
        return rc;
    rc = may_spawn(sched, group, routine, arg, options);
    if (rc == 0 && (options->eager || options->outcome))
        rc = -EINVAL;
    if (rc < 0)
        return osri_task_failed(sched->current, rc, options->where);
    rc = take_place(sched, group, options->where);
    return rc < 0 ? rc : start_and_wait(sched, group, routine, arg, options);
}

/* ---- Many at once ---- */

int osr_gather_with(const struct osr_routine *routine, void *args, size_t count, size_t stride,
                    const struct osr_gather_options *options)
{
    static const struct osr_gather_options none = {.size = sizeof(none)};
    struct osr_group group;
    int rc = 0;
    size_t i;

    if (!options)
        options = &none;
    if (!osri_current())
        return osri_failed(-EPERM, options->where);
    if (!routine || !routine->run || (count > 0 && !args) || (stride > 0 && count > SIZE_MAX / stride) ||
        options->size != sizeof(*options))
        return osri_failed(-EINVAL, options->where);
    for (i = 0; i < count; i++) {
        if (options->results)
            options->results[i] = -OSR_ETASKCANCELED;
        if (options->outcomes)
            options->outcomes[i] = (struct osr_outcome){-OSR_ETASKCANCELED, NULL};
    }
    osr_group_open_with(&group, &(const struct osr_group_options){.size = sizeof(struct osr_group_options),
                                                                  .where = options->where,
                                                                  .name = options->name,
                                                                  .limit = options->limit,
                                                                  .policy = options->policy});
    for (i = 0; i < count && rc == 0; i++) {
        const struct osr_spawn_options spawn = {
            .size = sizeof(spawn),
            .where = options->where,
            .result = options->results ? &options->results[i] : NULL,
            .outcome = options->outcomes ? &options->outcomes[i] : NULL,
        };

        rc = osr_spawn_with(&group, routine, (char *)args + i * stride, &spawn);
    }
    return osr_group_close_here(&group, rc, options->where);
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
    wait_begin(&wait, sched->current, &group->closer_, NULL, "osr_group_close", where);
    group->scope.away_ = AWAY_CLOSING;
    if (osri_group_has_only_daemons(group))
        cancel_daemons(sched, group);
    (void)osri_wait(sched, &wait);
    osri_touch(&sched->door, OSR_TOUCH_AFTER, &group->scope);
}

/* Who cancelled first: the group itself, as it usually does at its first error, or the scope outside that it sees; NULL
 * if nobody did. */
static const struct osr_reason *first_reason(const struct osr_group *group)
{
    const struct osr_scope *own = &group->scope, *outer = own->by_;

    if (!outer)
        return NULL;
    if (!own->cancelled_at_)
        return &outer->reason_;
    return outer->cancelled_at_ < own->cancelled_at_ ? &outer->reason_ : &own->reason_;
}

/* How many, and who cancelled the others. */
static void say_group(struct osr_group *group, struct osr_error *tree)
{
    const struct osr_reason *reason = first_reason(group);
    const char *by = reason && reason->who[0] ? " by task \"" : "", *end = *by ? "\"" : "";
    const char *errors = group->errors_ == 1 ? "error" : "errors";

    tree->cancelled = group->cancelled_;
    if (reason && (group->cancelled_ || reason->text != because_it_failed))
        osri_error_say(tree, "%u %s, %u cancelled%s%s%s at %s%s%s", group->errors_, errors, group->cancelled_, by,
                       reason->who, end, reason->where, *reason->text ? ": " : "", reason->text);
    else if (group->cancelled_)
        osri_error_say(tree, "%u %s, %u cancelled", group->errors_, errors, group->cancelled_);
    else
        osri_error_say(tree, "%u %s", group->errors_, errors);
    tree->counted = tree->message != NULL;
}

/* The errors of the group as one, into the slot. */
static int give_errors(struct osr_group *group, struct slot *slot, bool riding)
{
    struct osr_error *tree = group->tree_, *lone;

    group->tree_ = NULL;
    say_group(group, tree);
    if (group->unwrap_ && group->errors_ == 1) {
        lone = osr_error_retain(osri_error_lone(tree));
        osr_error_release(tree);
        tree = lone;
    }
    osri_slot_put(slot, tree);
    slot->riding = riding;
    return tree->code;
}

/* What the close gives, when all outcomes are in (R6). A group that has a winner has what it was to wait for: only the
 * cancellation of its body goes on then, not those of the losers (R13). */
static int conclude(struct sched *sched, struct osr_group *group, int rc, bool body_passed_on, const char *where)
{
    struct task *task = group->scope.owner_;
    bool absorbs = osri_scope_absorbs(&group->scope);
    bool goes_on = group->passed_on_ && !absorbs;

    if (group->passed_on_ && absorbs)
        group->scope.caught_ = 1;
    if (group->policy_ == OSR_FIRST_SUCCESS && !group->winner_)
        osri_errors_unpromise(sched, 1); /* no second tree was needed */
    if (group->errors_ > 0)
        return give_errors(group, &task->slot, goes_on);
    osri_errors_unpromise(sched, 1); /* no tree was needed */
    if (goes_on && (body_passed_on || !group->winner_))
        return osri_task_failed(task, -ECANCELED, where);
    osri_slot_clear(&task->slot);
    return rc > 0 ? rc : 0;
}

/* A clean-up of the group has failed: one error more, which has nobody left to cancel. */
static void cleanup_failed(void *arg, struct osr_error *error)
{
    struct osr_group *group = arg;

    struct sched *sched = osri_sched;

    osri_errors_unpromise(sched, FAILED_CLEANUP_ERRORS);
    if (stands_here(group, error)) {
        osr_error_release(error);
        return;
    }
    group->errors_++;
    osri_error_adopt(sched, tree_of(sched, group), error);
}

/* What the group has kept goes: outcomes for handles, and to the scope around the errors before the winner. */
static void give_up_kept(struct osr_group *group)
{
    struct osr_list_ *node;

    while (group->keeps_ &&
           ((node = group->kept_.next) != &group->kept_ || (node = group->ended_.next) != &group->ended_))
        osri_record_unkeep(container_of(node, struct record, node));
    if (group->policy_ == OSR_FIRST_SUCCESS && group->losses_)
        osri_scope_keep(group->scope.parent_, group->losses_);
}

static int close_group(struct osr_group *group, int rc, const char *where)
{
    struct sched *sched = osri_sched;
    struct task *task = sched->current;
    struct outcome outcome;

    osri_touch(&sched->door, OSR_TOUCH_WRITE, &group->scope);
    outcome = body_outcome(sched, group, rc, where);
    count_outcome(sched, group, task->name, outcome);
    wait_for_children(sched, group, where);
    group->scope.state_ = SCOPE_ENDED;
    if (unlikely(group->scope.laden_))
        osri_scope_leave_bound(sched, &group->scope, cleanup_failed, group);
    if (group->scope.guarded_)
        osri_errors_unpromise(sched, GUARD_ERRORS);
    rc = conclude(sched, group, rc, outcome.passed_on, where);
    give_up_kept(group);
    osri_scope_pass_cut(sched, &group->scope, rc);
    osri_scope_relieve(&group->scope);
    osri_scope_detach(sched, &group->scope);
    osri_scope_leave(task, &group->scope);
    return rc;
}

int osr_group_close_here(struct osr_group *group, int rc, const char *where)
{
    int answer;

    if (!group)
        return osri_failed(-EINVAL, where);
    answer = osri_scope_may_close(&group->scope, rc, "group", where);
    if (answer > 0 && osri_current()->hooked)
        answer = osri_failed(-EPERM, where);
    return answer <= 0 ? answer : close_group(group, rc, where);
}

int osr_group_cancel_here(struct osr_group *group, const char *text, const char *where)
{
    return osr_scope_cancel_here(group ? &group->scope : NULL, text, where);
}

/* Also who is no task may ask. */
static void touch_asked(const struct osr_group *group)
{
    if (osri_sched && group)
        osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, &group->scope);
}

size_t osr_group_running(const struct osr_group *group)
{
    touch_asked(group);
    return group ? group->running_ : 0;
}

int osr_group_winner(const struct osr_group *group)
{
    touch_asked(group);
    if (!group)
        return osri_failed(-EINVAL, NULL);
    return group->winner_ ? (int)(group->winner_ - 1) : -ENOENT;
}

struct osr_error *osr_group_losses(const struct osr_group *group)
{
    touch_asked(group);
    return group ? group->losses_ : NULL;
}

/* ---- In the order of completion ---- */

void osri_group_awaits(struct osr_group *group, struct record *record)
{
    record->group = group;
    group->awaited_++;
}

/* Hands the ended child over to who waits for the next one: it will not be told again. */
static void tell_next(struct osr_group *group, struct record *record, struct osr_task *task)
{
    *task = osri_record_handle(record);
    list_remove(&record->node);
    list_append(&group->kept_, &record->node);
}

/* Nobody more will end whom they wait for. */
static void dismiss_nexts(struct osr_group *group)
{
    while (!list_empty(&group->nexts_))
        osri_wake(osri_sched, wait_of(group->nexts_.next), 0);
}

void osri_group_told(struct osr_group *group, struct record *record)
{
    struct osr_waiter_ *next;

    osri_touch(&record->sched->door, OSR_TOUCH_WRITE, &group->scope);
    list_remove(&record->node);
    list_append(&group->ended_, &record->node);
    group->awaited_--;
    if (!list_empty(&group->nexts_)) {
        next = waiter_of(group->nexts_.next);
        tell_next(group, record, next->item_);
        osri_wake(record->sched, next->wait_, 1);
    }
    if (group->awaited_ == 0)
        dismiss_nexts(group);
}

void osri_group_gives_up(struct osr_group *group)
{
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, &group->scope);
    if (--group->awaited_ == 0)
        dismiss_nexts(group);
}

/* Whether the group can be asked by a task of this run. */
static int may_ask(struct sched *sched, const struct osr_group *group)
{
    int rc = may_enter(sched, group);

    return rc == -OSR_ECLOSED && group->scope.state_ == SCOPE_ENDED ? 0 : rc;
}

int osr_group_next_here(struct osr_group *group, struct osr_task *task, const char *where)
{
    struct sched *sched = osri_sched;
    struct osr_wait wait;
    int rc;

    if (task)
        *task = (struct osr_task){0};
    rc = osri_enter_for(sched, group ? &group->scope : NULL, where);
    if (rc < 0)
        return rc;
    rc = group && task ? may_ask(sched, group) : -EINVAL;
    if (rc < 0)
        return osri_task_failed(sched->current, rc, where);
    prepare_to_keep(group);
    if (!list_empty(&group->ended_)) {
        tell_next(group, container_of(group->ended_.next, struct record, node), task);
        rc = 1;
    }
    if (rc == 1 || group->awaited_ == 0) {
        osri_at_once(sched);
        return rc;
    }
    wait_begin(&wait, sched->current, &group->nexts_, task, "osr_group_next", where);
    return osri_wait(sched, &wait);
}

/* ---- Guards ---- */

void osr_group_leave_(struct osr_group *group)
{
    struct task *task = osri_current();
    struct osr_scope *outer;
    struct slot kept;
    int rc;

    if (group->scope.state_ == SCOPE_REFUSED && task)
        osri_scope_leave_code(task->scope, group->scope.refusal_, group->scope.where_);
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
