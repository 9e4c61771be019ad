#include "6_ready/source.h"

/* ---- What is heard of it ---- */

static void call_posted(struct source *source, enum bell_kind kind, unsigned rings)
{
    (void)kind;
    source->posted(source->arg, rings);
}

static void cancel_scope(struct source *source, enum bell_kind kind, unsigned rings)
{
    (void)kind, (void)rings;
    osri_scope_cancel(source->sched, source->target, -ECANCELED, osri_who(), source->where, source->text);
}

/* ---- Opening and closing ---- */

static void leave(struct osr_bound_ *bound)
{
    osri_source_close(container_of(bound, struct source, bound));
}

int osr_post_open_here(struct osr_post *post, osr_posted *posted, void *arg, const char *where)
{
    struct task *task = osri_current();
    struct source *source;
    int rc;

    if (!post)
        return osri_failed(-EINVAL, where);
    *post = (struct osr_post){0};
    if (!posted)
        return osri_failed(-EINVAL, where);
    if (!task)
        return osri_failed(-EPERM, where);
    source = osri_source_open(task->sched, task->scope, leave, &rc);
    if (!source)
        return osri_task_failed(task, rc, where);
    source->heard = call_posted;
    source->posted = posted;
    source->arg = arg;
    post->id_ = osri_source_id(source);
    return 0;
}

int osr_post_open_cancel_here(struct osr_post *post, struct osr_scope *scope, const char *text, const char *where)
{
    struct task *task = osri_current();
    struct source *source;
    int rc;

    if (!post)
        return osri_failed(-EINVAL, where);
    *post = (struct osr_post){0};
    rc = task ? osri_scope_may_touch(scope) : -EPERM;
    if (rc < 0)
        return osri_failed(rc, where);
    source = osri_source_open(task->sched, scope, leave, &rc);
    if (!source)
        return osri_task_failed(task, rc, where);
    source->heard = cancel_scope;
    source->target = scope;
    source->text = text;
    source->where = where;
    post->id_ = osri_source_id(source);
    return 0;
}

int osr_post_fire(struct osr_post post)
{
    return osri_source_ring(post.id_, BELL, NULL, NULL);
}

int osr_post_close(struct osr_post *post)
{
    struct source *source;
    int rc;

    if (!post)
        return osri_failed(-EINVAL, NULL);
    source = osri_source_of_ours(post->id_, &rc);
    if (!source)
        return osri_failed_or_late(rc, NULL);
    osri_source_close(source);
    *post = (struct osr_post){0};
    return 0;
}
