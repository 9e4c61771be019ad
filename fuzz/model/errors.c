/* Errors as the rules have them: R23 to R25, and the slot of error.h. */
#include "model/state.h"

/* ---- Trees ---- */

struct error *error_new(int code, short place)
{
    struct error *error;

    if (model.error_count == ERRORS) {
        give_up();
        model.error_count = 0;
    }
    error = &model.errors[model.error_count++];
    *error = (struct error){.code = code, .place = place, .task = model.current ? model.current->name : NOBODY};
    error->group_name = NOBODY;
    return error;
}

struct error *group_error_new(short place, short task, short name)
{
    struct error *error = error_new(-OSR_EGROUP, place);

    error->task = task;
    error->is_group = true;
    error->group_name = name;
    return error;
}

void error_adopt(struct error *group, struct error *error)
{
    struct link *link;

    if (model.link_count == LINKS) {
        give_up();
        return;
    }
    link = &model.links[model.link_count++];
    *link = (struct link){error, NULL};
    if (group->last)
        group->last->next = link;
    else
        group->first = link;
    group->last = link;
}

bool error_contains(const struct error *group, const struct error *error)
{
    const struct link *link;

    for (link = group ? group->first : NULL; link; link = link->next)
        if (link->error == error)
            return true;
    return false;
}

bool error_stands_below(const struct error *group, const struct error *error)
{
    const struct link *link;

    for (link = group->is_group ? group->first : NULL; link; link = link->next)
        if (link->error == error || error_stands_below(link->error, error))
            return true;
    return false;
}

void error_append_cause(struct error *error, struct error *cause)
{
    while (error->cause)
        error = error->cause;
    error->cause = cause;
}

unsigned error_leaves(const struct error *error)
{
    const struct link *link;
    unsigned count = 0;

    if (!error->is_group)
        return 1;
    for (link = error->first; link; link = link->next)
        count += error_leaves(link->error);
    return count;
}

bool error_has_leaf(const struct error *error, const struct error *leaf)
{
    const struct link *link;

    if (!error || !error->is_group) {
        while (error && error != leaf && error->fatal && error->cause)
            error = error->cause;
        return error == leaf;
    }
    for (link = error->first; link; link = link->next)
        if (error_has_leaf(link->error, leaf))
            return true;
    return false;
}

/* ---- Telling ---- */

static void tell_error(const struct error *error, unsigned flags)
{
    struct record *record = tell(RECORD_ERROR, flags);

    record->code = error->code;
    record->place = error->place;
    record->name = error->task;
    if (error->fatal)
        record->what |= ERROR_IS_FATAL;
    if (error->is_group) {
        record->what |= ERROR_IS_GROUP;
        record->value =
            error_leaves(error) | (int64_t)error->cancelled << 16 | (int64_t)(error->group_name + 2) << 32;
    }
}

static void tell_causes(const struct error *error)
{
    int i;

    for (i = 0, error = error->cause; error && i < 6; i++, error = error->cause)
        tell_error(error, ERROR_IS_CAUSE);
}

static void tell_leaves(const struct error *error, unsigned *left)
{
    const struct link *link;

    if (*left == 0)
        return;
    if (!error->is_group) {
        --*left;
        tell_error(error, ERROR_IS_LEAF);
        tell_causes(error);
        return;
    }
    for (link = error->first; link; link = link->next)
        tell_leaves(link->error, left);
}

void error_tell(const struct error *error)
{
    unsigned left = 40;

    if (!error) {
        tell(RECORD_ERROR, ERROR_IS_NONE);
        return;
    }
    if (error->is_group) {
        tell_error(error, 0);
        tell_causes(error);
    }
    tell_leaves(error, &left);
}

/* As the tree is printed, line by line. */
static void tell_line(const struct error *error, unsigned depth, bool cause, unsigned *left)
{
    struct record *record;

    if (*left == 0)
        return;
    --*left;
    record = tell(RECORD_SHAPE, (error->is_group ? ERROR_IS_GROUP : 0u) | (cause ? ERROR_IS_CAUSE : 0u));
    record->place = error->place;
    record->name = error->task;
    record->value = depth < SHAPE_DEPTH ? depth : SHAPE_DEPTH;
}

static void tell_shape(const struct error *error, unsigned depth, bool cause, unsigned causes, unsigned *left)
{
    const struct link *link;
    const struct error *at;

    if (*left == 0)
        return;
    tell_line(error, depth, cause, left);
    for (at = error->cause; at; at = at->cause) {
        if (at->is_group && causes < 8) {
            tell_shape(at, depth + 1, true, causes + 1, left);
            break; /* its causes came with it */
        }
        tell_line(at, depth + 1, true, left);
    }
    for (link = error->first; link; link = link->next)
        tell_shape(link->error, depth + 1, false, causes, left);
}

void error_tell_shape(const struct error *error)
{
    unsigned left = SHAPE_LINES;

    tell_shape(error, 0, false, 0, &left);
}

/* ---- The slot ---- */

int slot_note(struct task *task, int code, short place)
{
    task->slot = (struct slot){.code = code, .place = place};
    return code;
}

void slot_clear(struct slot *slot)
{
    *slot = (struct slot){.place = NOWHERE};
}

int slot_put(struct slot *slot, struct error *error)
{
    *slot = (struct slot){.code = error->code, .place = error->place, .error = error};
    return error->code;
}

/* The error in the slot, made if only a code was noted; where no place was recorded, that of the spawn. */
struct error *slot_error(struct task *task)
{
    struct slot *slot = &task->slot;

    if (!slot->error && slot->code < 0 && slot->code != -ECANCELED)
        slot->error = error_new(slot->code, slot->place == NOWHERE ? task->place : slot->place);
    return slot->error;
}

/* The slot belongs to its code: a bare one that differs becomes a new leaf, with the slot as its cause. */
struct error *slot_own(struct task *task, int code, short place)
{
    struct slot *slot = &task->slot;
    struct error *error;

    if (slot->code == code && slot->error)
        return slot->error;
    error = error_new(code, slot->code == code && slot->place != NOWHERE ? slot->place : place);
    if (slot->code != code && !wrong(WRONG_CAUSE))
        error->cause = slot_error(task);
    slot_put(slot, error);
    return error;
}

struct error *slot_outcome(struct task *task, int code, short place)
{
    struct error *error = slot_own(task, code, place);

    slot_clear(&task->slot);
    return error;
}

int slot_wrap(struct task *task, int code, short place)
{
    struct error *inner, *error;
    bool riding = task->slot.riding;

    if (code >= 0 || code == -ECANCELED)
        return code;
    inner = slot_error(task);
    if (inner && inner->is_group && inner->code == code) {
        error = group_error_new(place, task->name, NOBODY);
        error_adopt(error, inner);
    } else {
        error = error_new(code, place);
        error->cause = inner;
        error->fatal = inner && inner->fatal && inner->code == code;
    }
    slot_put(&task->slot, error);
    task->slot.riding = riding;
    return code;
}
