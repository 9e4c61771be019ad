#include "8_run/tree.h"

#include <string.h>

#include <osier/debug.h>

#include "2_sched/wait.h"

/* Deeper than this the lines are no longer moved to the right. */
enum { MOST_DEPTH = 40 };

static void write_reason(struct text *text, const struct osr_scope *scope)
{
    const struct osr_reason *reason = &scope->reason_;

    osri_text_plain(text, ", cancelled");
    if (reason->who[0]) {
        osri_text_plain(text, " by task \"");
        osri_text_words(text, reason->who, "");
        osri_text_plain(text, "\"");
    }
    osri_text_plain(text, " at ");
    osri_text_plain(text, reason->where);
    if (*reason->text) {
        osri_text_plain(text, ": ");
        osri_text_words(text, reason->text, "");
    }
}

static void write_deadline(struct sched *sched, struct text *text, const struct osr_scope *scope)
{
    int64_t at = scope->timer_.at, left;

    if (at == OSR_NEVER || scope->cancelled_at_)
        return;
    if (__builtin_sub_overflow(at, osri_now(sched), &left) || left < 0)
        osri_text_plain(text, ", overdue");
    else
        osri_text(text, ", due in %lld.%03lld ms", (long long)(left / 1000000), (long long)(left / 1000 % 1000));
}

static void write_place(struct text *text, const char *before, const char *where)
{
    osri_text_plain(text, before);
    osri_text_plain(text, place_or_unknown(where));
}

static void write_task(struct text *text, const struct child *child)
{
    const struct task *task = &child->task;

    osri_text_plain(text, "task \"");
    osri_text_words(text, task->name, "");
    write_place(text, "\", spawned at ", task->where);
    if (!task->wait) {
        osri_text_plain(text, task == osri_current() ? ", runs" : ", is ready");
        return;
    }
    osri_text_plain(text, ", waits in ");
    osri_text_plain(text, task->wait->call);
    write_place(text, " at ", task->wait->where_);
}

static void write_group(struct text *text, const struct osr_group *group)
{
    osri_text_plain(text, "group ");
    if (group->named_) {
        osri_text_plain(text, "\"");
        osri_text_words(text, group->name_, "");
        osri_text_plain(text, "\" ");
    }
    osri_text(text, "with %zu running", group->running_);
    if (group->limit_)
        osri_text(text, " (at most %u)", group->limit_);
    write_place(text, ", opened at ", group->scope.where_);
    if (group->errors_)
        osri_text(text, ", %u failed", group->errors_);
}

static void write_scope(struct sched *sched, struct text *text, const struct osr_scope *scope)
{
    static const char *const names[] = {
        [OSR_SCOPE_TIMEOUT] = "scope", [OSR_SCOPE_MOVE_ON] = "move-on scope", [OSR_SCOPE_SHIELD] = "shield"};

    if (scope->form_ == SCOPE_TASK) {
        write_task(text, container_of(scope, struct child, scope));
    } else if (scope->form_ == SCOPE_GROUP) {
        write_group(text, container_of(scope, struct osr_group, scope));
    } else if (scope->form_ == SCOPE_START) {
        write_place(text, "to be started at ", scope->where_);
    } else {
        osri_text_plain(text, names[scope->form_]);
        write_place(text, ", opened at ", scope->where_);
    }
    if (scope->away_ != AWAY_BRIEF)
        write_deadline(sched, text, scope);
    if (scope->away_ != AWAY_BRIEF && scope->cancelled_at_)
        write_reason(text, scope);
    osri_text_plain(text, "\n");
}

void osri_tree_write(struct sched *sched, struct text *text)
{
    struct osr_scope *top = &osri_root(sched)->scope, *at;

    for (at = top; at; at = osri_scope_walk(top, at, false)) {
        const struct osr_scope *up;
        int depth = 0;

        for (up = at; up != top && depth < MOST_DEPTH; up = up->parent_)
            depth++;
        for (; depth > 0; depth--)
            osri_text_plain(text, "  ");
        write_scope(sched, text, at);
    }
}

/* Most trees are small, and so are written once. */
char *osri_tree_string(struct sched *sched)
{
    char small[1024], *string;
    struct text text = text_to_buffer(small, sizeof(small));

    osri_tree_write(sched, &text);
    string = osri_alloc(&sched->memory, text.length + 1);
    if (!string)
        return NULL;
    if (text.length < sizeof(small))
        return memcpy(string, small, text.length + 1);
    text = text_to_buffer(string, text.length + 1);
    osri_tree_write(sched, &text);
    return string;
}

int osr_tree_print(FILE *stream)
{
    struct text text = text_to_stream(stream);

    if (!osri_is_inside(osri_sched))
        return osri_failed(-EPERM, NULL);
    if (!stream)
        return osri_failed(-EINVAL, NULL);
    osri_touch_all();
    osri_tree_write(osri_sched, &text);
    return text.failed ? osri_failed(-EIO, NULL) : 0;
}

size_t osr_tree_format(char *buffer, size_t size)
{
    struct text text = text_to_buffer(buffer, buffer ? size : 0);

    if (!osri_is_inside(osri_sched))
        return 0;
    osri_touch_all();
    osri_tree_write(osri_sched, &text);
    return text.length;
}
