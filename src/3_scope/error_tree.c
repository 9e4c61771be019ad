/* Exception groups: trees of errors. A leaf that stands in several trees has its place in the first, and links in
 * the others. Trees may be as deep as groups can be nested, so nothing here is recursive over them. */
#include <assert.h>
#include <string.h>

#include "0_base/text.h"
#include "3_scope/error.h"

static const struct osr_error *leaf_of(const struct osr_error *error)
{
    return error->kind == ERROR_LINK ? error->first : error;
}

/* ---- Walking ---- */

const struct osr_error *osri_error_walk(const struct osr_error *top, const struct osr_error *at)
{
    if (at->kind == ERROR_GROUP && at->first)
        return at->first;
    while (at != top && !at->next)
        at = at->parent;
    return at == top ? NULL : at->next;
}

void osr_leaves_init(struct osr_leaves *walk, const struct osr_error *error)
{
    if (walk)
        *walk = (struct osr_leaves){error, NULL};
}

const struct osr_error *osr_leaves_next(struct osr_leaves *walk)
{
    if (!walk || !walk->root_)
        return NULL;
    do
        walk->at_ = walk->at_ ? osri_error_walk(walk->root_, walk->at_) : walk->root_;
    while (walk->at_ && walk->at_->kind == ERROR_GROUP);
    if (walk->at_)
        return leaf_of(walk->at_);
    walk->root_ = NULL;
    return NULL;
}

size_t osr_error_count(const struct osr_error *error)
{
    struct osr_leaves walk;
    size_t count = 0;

    osr_leaves_init(&walk, error);
    while (osr_leaves_next(&walk))
        count++;
    return count;
}

bool osr_error_has_code(const struct osr_error *leaf, void *arg)
{
    const int *code = arg;

    /* The smallest number has no negative: no code is it but itself. */
    return leaf && code && (leaf->code == *code || (unsigned)leaf->code == 0 - (unsigned)*code);
}

const struct osr_error *osr_error_find(const struct osr_error *error, int code)
{
    const struct osr_error *leaf;
    struct osr_leaves walk;

    osr_leaves_init(&walk, error);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        if (osr_error_has_code(leaf, &code))
            return leaf;
    return NULL;
}

/* ---- Building ---- */

static void append(struct osr_error *group, struct osr_error *error)
{
    error->parent = group;
    error->next = NULL;
    if (group->last)
        group->last->next = error;
    else
        group->first = error;
    group->last = error;
}

unsigned osri_error_children(const struct osr_error *group)
{
    const struct osr_error *at;
    unsigned count = 0;

    for (at = group->first; at; at = at->next)
        count++;
    return count;
}

/* Appends a link to `leaf`. 0 or -ENOMEM. */
static int append_link(struct sched *sched, struct osr_error *group, const struct osr_error *leaf)
{
    struct osr_error *link = osri_error_new(sched, leaf->code, leaf->where, leaf->task);

    if (!link)
        return -ENOMEM;
    link->kind = ERROR_LINK;
    link->first = osr_error_retain((struct osr_error *)leaf);
    append(group, link);
    return 0;
}

/* A group without errors, otherwise like `group`, but for a count in its message: see recount(). */
static struct osr_error *empty_like(struct sched *sched, const struct osr_error *group)
{
    struct osr_error *copy = osri_error_new_group(sched, group->where, group->task, group->group);

    if (!copy)
        return NULL;
    copy->cancelled = group->cancelled;
    copy->riding = group->riding;
    copy->cause = osr_error_retain(group->cause);
    if (group->message && !group->counted)
        osri_error_say(copy, "%s", group->message);
    return copy;
}

/* A part of `whole` has all its errors: says how many they are, if that was said of the whole. */
static void recount(struct osr_error *part, const struct osr_error *whole)
{
    const char *behind;

    if (!whole->counted)
        return;
    behind = whole->message + strcspn(whole->message, " ") + 1;
    osri_error_say_count(part, osri_error_children(part), behind + strcspn(behind, " ,"));
}

/* One of the two trees that a split makes. A copied group knows its parent from the start, but stands among its
 * children only once it has a child of its own. */
struct half {
    bool wanted;
    struct osr_error *into; /* the group that is being filled */
};

static int half_enter(struct sched *sched, struct half *half, const struct osr_error *group)
{
    struct osr_error *copy;

    if (!half->wanted)
        return 0;
    copy = empty_like(sched, group);
    if (!copy)
        return -ENOMEM;
    copy->parent = half->into;
    half->into = copy;
    return 0;
}

static void half_leave(struct half *half, const struct osr_error *whole)
{
    struct osr_error *group = half->into, *parent;

    if (!group)
        return;
    parent = group->parent;
    group->parent = NULL;
    half->into = parent;
    if (group->first) {
        recount(group, whole);
        append(parent, group);
    } else {
        osr_error_release(group);
    }
}

static struct osr_error *half_finish(struct half *half, const struct osr_error *whole)
{
    struct osr_error *top = half->into;

    if (top && top->first) {
        recount(top, whole);
        return top;
    }
    osr_error_release(top);
    return NULL;
}

static void half_abandon(struct half *half)
{
    while (half->into) {
        struct osr_error *group = half->into;

        half->into = group->parent;
        group->parent = NULL;
        osr_error_release(group);
    }
}

/* Deals the leaves of the tree out to two halves of its shape: those that match (all, if `match` is NULL) to the
 * first. 0 or -ENOMEM. */
static int deal(struct sched *sched, const struct osr_error *top, osr_error_match *match, void *arg,
                struct half halves[2])
{
    const struct osr_error *group = top, *child = top->first;
    int rc = 0, i;

    for (i = 0; i < 2 && rc == 0; i++)
        rc = half_enter(sched, &halves[i], top);
    while (rc == 0 && (child || group != top)) {
        if (!child) {
            for (i = 0; i < 2; i++)
                half_leave(&halves[i], group);
            child = group->next;
            group = group->parent;
        } else if (child->kind == ERROR_GROUP) {
            for (i = 0; i < 2 && rc == 0; i++)
                rc = half_enter(sched, &halves[i], child);
            group = child;
            child = child->first;
        } else {
            i = match && !match(leaf_of(child), arg);
            if (halves[i].wanted)
                rc = append_link(sched, halves[i].into, leaf_of(child));
            child = child->next;
        }
    }
    return rc;
}

static int split_tree(struct sched *sched, const struct osr_error *top, osr_error_match *match, void *arg,
                      struct osr_error **matching, struct osr_error **rest)
{
    struct half halves[2] = {{.wanted = matching != NULL}, {.wanted = rest != NULL}};
    int rc = deal(sched, top, match, arg, halves);

    if (rc < 0) {
        half_abandon(&halves[0]);
        half_abandon(&halves[1]);
        return rc;
    }
    if (matching)
        *matching = half_finish(&halves[0], top);
    if (rest)
        *rest = half_finish(&halves[1], top);
    return 0;
}

void osri_error_adopt(struct sched *sched, struct osr_error *group, struct osr_error *error)
{
    struct osr_error *copy = NULL;

    if (!error->parent) {
        append(group, error);
        return;
    }
    error->linked = true;
    if (error->kind == ERROR_GROUP)
        (void)split_tree(sched, error, NULL, NULL, &copy, NULL);
    if (copy) {
        copy->origin = error;
        append(group, copy);
        return;
    }
    (void)append_link(sched, group, error); /* short of memory, a copied group is known by code and place only */
    osr_error_release(error);
}

/* What stands in a tree at `at` is in itself: not the link or copy there. */
static struct osr_error *itself(const struct osr_error *at)
{
    if (at->kind == ERROR_LINK)
        return at->first;
    return at->origin ? at->origin : (struct osr_error *)at;
}

bool osri_error_holds(const struct osr_error *group, const struct osr_error *error)
{
    struct osr_error *at;

    if (!group || error->parent == group || !error->linked)
        return group && error->parent == group;
    for (at = group->first; at; at = at->next)
        if (itself(at) == error)
            return true;
    return false;
}

bool osri_error_holds_below(const struct osr_error *group, const struct osr_error *error)
{
    const struct osr_error *at;

    for (at = osri_error_walk(group, group); at; at = osri_error_walk(group, at))
        if (itself(at) == error)
            return true;
    return false;
}

struct osr_error *osri_error_lone(const struct osr_error *group)
{
    return itself(group->first);
}

int osr_error_split(const struct osr_error *error, osr_error_match *match, void *arg, struct osr_error **matching,
                    struct osr_error **rest)
{
    if (matching)
        *matching = NULL;
    if (rest)
        *rest = NULL;
    if (!error || !match)
        return osri_failed(-EINVAL, NULL);
    if (error->kind == ERROR_GROUP && split_tree(osri_sched, error, match, arg, matching, rest) < 0)
        return osri_failed(-ENOMEM, NULL);
    if (error->kind == ERROR_GROUP)
        return 0;
    if (match(error, arg)) {
        if (matching)
            *matching = osr_error_retain((struct osr_error *)error);
    } else if (rest) {
        *rest = osr_error_retain((struct osr_error *)error);
    }
    return 0;
}

struct osr_error *osr_error_subgroup(const struct osr_error *error, osr_error_match *match, void *arg)
{
    struct osr_error *matching;

    (void)osr_error_split(error, match, arg, &matching, NULL);
    return matching;
}

static bool all_given(struct osr_error *const *errors, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (!errors[i])
            return false;
    return count > 0;
}

struct osr_error *osr_error_derive(const struct osr_error *group, struct osr_error *const *errors, size_t count)
{
    struct osr_error *derived;
    size_t i;

    if (!osr_error_is_group(group) || !errors || !all_given(errors, count))
        return NULL;
    derived = empty_like(osri_sched, group);
    for (i = 0; derived && i < count; i++) {
        struct osr_error *copy = NULL;

        if (errors[i]->kind == ERROR_GROUP && split_tree(osri_sched, errors[i], NULL, NULL, &copy, NULL) == 0) {
            append(derived, copy);
        } else if (errors[i]->kind == ERROR_GROUP || append_link(osri_sched, derived, errors[i]) < 0) {
            osr_error_release(derived);
            return NULL;
        }
    }
    if (derived)
        recount(derived, group);
    return derived;
}

/* ---- Printing ---- */

/* Deeper than this the lines are no longer moved to the right, and causes in causes are only named. */
enum { MOST_MARGIN = 24, MOST_CAUSES = 8 };

static void margin_of(char margin[3 * MOST_MARGIN + 3 + 1], size_t depth)
{
    size_t i;

    if (depth > MOST_MARGIN)
        depth = MOST_MARGIN;
    for (i = 0; i < depth; i++)
        snprintf(margin + 3 * i, 4, "|  ");
    margin[3 * depth] = '\0';
}

static void print_line(struct text *text, const struct osr_error *error, const char *margin)
{
    char further[128], number[CODE_NUMBER];

    snprintf(further, sizeof(further), "%s     ", margin);
    osri_text(text, "%s: ", osri_code_words(error->code, number));
    osri_text_words(text, osr_error_message(error), further);
    osri_text(text, "  [");
    if (error->kind == ERROR_GROUP) {
        osri_text(text, "group ");
        if (error->group[0]) {
            osri_text(text, "\"");
            osri_text_words(text, error->group, "");
            osri_text(text, "\" ");
        }
        osri_text(text, error->task[0] ? "of " : "");
    }
    if (error->task[0]) {
        osri_text(text, "task \"");
        osri_text_words(text, error->task, "");
        osri_text(text, "\", ");
    }
    osri_text(text, "%s]\n", error->where);
}

static void print_tree(struct text *text, const struct osr_error *top, size_t depth, unsigned causes);

static void print_causes(struct text *text, const struct osr_error *error, size_t depth, unsigned causes)
{
    char margin[3 * MOST_MARGIN + 3 + 1];

    margin_of(margin, depth);
    for (error = error->cause; error; error = error->cause) {
        osri_text(text, "%s   because of ", margin);
        if (error->kind == ERROR_GROUP && causes < MOST_CAUSES) {
            print_tree(text, error, depth + 1, causes + 1);
            return; /* with its own causes */
        }
        print_line(text, error, margin);
    }
}

/* The first line goes where the text stands, the others begin with margins. */
static void print_tree(struct text *text, const struct osr_error *top, size_t depth, unsigned causes)
{
    char margin[3 * MOST_MARGIN + 3 + 1];
    const struct osr_error *at;

    for (at = top; at; at = osri_error_walk(top, at)) {
        const struct osr_error *up;
        size_t below = depth;

        for (up = at; up != top && below - depth < MOST_MARGIN; up = up->parent)
            below++;
        margin_of(margin, below > 0 ? below - 1 : 0);
        if (at != top)
            osri_text(text, "%s+- ", margin);
        margin_of(margin, below);
        print_line(text, leaf_of(at), margin);
        print_causes(text, leaf_of(at), below, causes);
    }
}

int osr_error_print(const struct osr_error *error, FILE *stream)
{
    struct text text = text_to_stream(stream);

    if (!stream)
        return osri_failed(-EINVAL, NULL);
    if (error)
        print_tree(&text, error, 0, 0);
    return text.failed ? osri_failed(-EIO, NULL) : 0;
}

size_t osr_error_format(const struct osr_error *error, char *buffer, size_t size)
{
    struct text text = text_to_buffer(buffer, buffer ? size : 0);

    if (error)
        print_tree(&text, error, 0, 0);
    return text.length;
}
