#include "8_run/audit.h"

#include "2_sched/wait.h"
#include "8_run/tree.h"

static void require(struct sched *sched, bool holds, const struct osr_scope *scope, const char *what)
{
    char *tree;

    if (holds)
        return;
    tree = osri_tree_string(sched);
    osri_die(sched, "osier: a fault of the library's own, at the scope opened at %s: %s\n%s", scope->where_, what,
             tree ? tree : "");
}

/* What a scope must see, from what its parent sees. */
static void audit_view(struct sched *sched, struct osr_scope *scope)
{
    const struct osr_scope *outer = scope->shielded_ ? NULL : scope->parent_;
    const struct osr_scope *by = outer ? outer->by_ : NULL;
    int64_t due = outer ? outer->due_ : OSR_NEVER;
    bool waits_for_deadline = scope->timer_.at != OSR_NEVER && !scope->cancelled_at_;

    if (!by && scope->cancelled_at_)
        by = scope;
    if (scope->timer_.at < due)
        due = scope->timer_.at;
    require(sched, scope->by_ == by, scope, "it does not know who cancels it");
    require(sched, scope->due_ == due, scope, "it does not know the deadline in effect");
    require(sched, (scope->timer_.state != TIMER_IDLE) == waits_for_deadline, scope, "its timer is wrong");
}

/* What the task must know whose innermost scope this is. */
static void audit_owner(struct sched *sched, struct osr_scope *scope)
{
    const struct task *task = scope->owner_;

    if (task->scope != scope)
        return;
    require(sched, task->due == scope->due_, scope, "its task does not know the deadline");
    require(sched, !task->wait || task->wait->linked_, scope, "its task is parked in a wait that has ended");
    if (scope->away_)
        return;
    require(sched, task->refusal == (scope->by_ ? &scope->cut_at_ : NULL), scope, "its task does not know it is cancelled");
    require(sched, task->attention == (scope->by_ || scope->due_ != OSR_NEVER || task->hooked || sched->slowly),
            scope,
            "its task does not know whether to look closer");
    require(sched, !task->wait || !task->refusal || task->wait->uncut_, scope, "its task is parked although cancelled");
}

static void audit_group(struct sched *sched, struct osr_scope *scope)
{
    const struct osr_group *group = container_of(scope, struct osr_group, scope);
    struct osr_list_ *node;
    size_t children = 0;

    for (node = scope->children_.next; node != &scope->children_; node = node->next)
        children += container_of(node, struct osr_scope, sibling_)->form_ == SCOPE_TASK;
    require(sched, children <= group->running_, scope, "it has lost count of its children");
    require(sched, list_empty(&group->spawners_) || group->running_ >= group->limit_, scope,
            "a spawner waits though there is a place");
}

void osri_audit(struct sched *sched)
{
    struct child *root = osri_root(sched);
    struct osr_scope *at;

    for (at = root ? &root->scope : NULL; at; at = osri_scope_walk(&root->scope, at, false)) {
        if (at->away_ == AWAY_BRIEF) {
            require(sched, at->by_ == at->parent_->by_, at->parent_, "a task in it that has not begun does not know that");
            continue;
        }
        audit_view(sched, at);
        audit_owner(sched, at);
        if (at->form_ == SCOPE_GROUP)
            audit_group(sched, at);
    }
}
