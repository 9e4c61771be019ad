/*
 * Errors and exception groups against plain trees of our own: groups inside groups that tasks fail in, wrapping,
 * raising an error a second time, split, subgroup, derive, find, walking, causes, the text of it all; and allocations
 * that fail, after which words and causes may be missing, but no code, place or task.
 */
#include "target.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <osier.h>

static const char *const wrongs[] = {"a split forgets the groups' names",
                                     "the last error of a group is lost",
                                     "an error raised twice in a group counts twice",
                                     "wrapping a group hides its leaves",
                                     "a bare code has no cause",
                                     "derive keeps the group's own errors",
                                     "leaves come in reverse",
                                     "a split that fails leaves half of it",
                                     NULL};
enum { WRONG_NAME = 1, WRONG_LAST, WRONG_TWICE, WRONG_HIDES, WRONG_CAUSE, WRONG_DERIVE, WRONG_REVERSE, WRONG_HALF };

enum {
    NODES = 1500,
    CHILDREN = 12,
    MOST_LEAVES = 4096,
    MOST_DEPTH = 5,
    REGISTERS = 6,
    MOST_TEXT = 1 << 17,
    MOST_TASKS = 60
};

/* ---- Errors as they should be ---- */

struct node {
    bool is_group;
    int code;
    const char *message; /* NULL: none */
    bool counts;         /* it begins with how many errors there are, and so does that of a part */
    const char *where, *task, *group;
    unsigned cancelled;
    struct node *cause;
    struct node *children[CHILDREN];
    unsigned count;
    const struct osr_error *real; /* once it has been seen, it is always the same one, but for groups inside others */
};

static struct node nodes[NODES];
static unsigned made, tasks;
static char texts[NODES][320];
static char names[MOST_TASKS][80];
static unsigned raised; /* the register that was raised last */
static bool lossy; /* memory has been short: words and causes may be missing */

static struct input input;
static unsigned texts_left; /* to compare: of one input in four, as it takes long */

/* The slot of a task. */
struct slot {
    int code;
    struct node *node;
    bool rides; /* a cancellation is passed on beside the error */
};

static struct {
    struct osr_error *real;
    struct node *node;
} registers[REGISTERS];

static bool is_full(void)
{
    return made > NODES - 300;
}

static struct node *new_node(bool is_group, int code, const char *where, const char *task, const char *message)
{
    struct node *node = &nodes[made++];

    check(made < NODES, "the target is too small");
    *node = (struct node){
        .is_group = is_group, .code = code, .where = where, .task = task, .message = message, .group = ""};
    return node;
}

static void append(struct node *group, struct node *child)
{
    unsigned i;

    for (i = 0; i < group->count; i++)
        if (group->children[i] == child && wrong != WRONG_TWICE)
            return;
    check(group->count < CHILDREN, "the target's groups are too small");
    group->children[group->count++] = child;
}

static unsigned leaves_of(struct node *node, struct node **leaves, unsigned count)
{
    unsigned i;

    if (!node->is_group) {
        check(count < MOST_LEAVES, "there are too many leaves for the target");
        leaves[count++] = node;
    }
    for (i = 0; i < node->count; i++)
        count = leaves_of(node->children[wrong == WRONG_REVERSE ? node->count - 1 - i : i], leaves, count);
    return count;
}

static unsigned count_leaves(struct node *node)
{
    static struct node *leaves[MOST_LEAVES];

    return leaves_of(node, leaves, 0);
}

/* ---- The text ---- */

static char expected_text[MOST_TEXT];
static size_t expected_length;

static void put_some(const char *words, size_t length)
{
    size_t left = sizeof(expected_text) - 1 - expected_length;

    length = length < left ? length : left;
    memcpy(expected_text + expected_length, words, length);
    expected_length += length;
    expected_text[expected_length] = '\0';
}

static void put(const char *words)
{
    put_some(words, strlen(words));
}

static void put_name(const char *name)
{
    put("\"");
    put_some(name, strnlen(name, OSR_NAME_SIZE - 1));
    put("\"");
}

static void put_bars(unsigned depth)
{
    for (; depth > 0; depth--)
        put("|  ");
}

static void put_control(unsigned char c, unsigned depth)
{
    const char escaped[] = {'\\', 'x', "0123456789abcdef"[c / 16], "0123456789abcdef"[c % 16]};

    if (c != '\n') {
        put_some(escaped, sizeof(escaped));
        return;
    }
    put("\n");
    put_bars(depth);
    put("     ");
}

static void put_line(const struct node *node, unsigned depth)
{
    const char *at = node->message ? node->message : osr_strerror(node->code), *symbol = osr_strcode(node->code);
    char number[16];

    snprintf(number, sizeof(number), "%d", node->code);
    put(symbol[0] == '?' ? number : symbol);
    put(": ");
    while (*at) {
        size_t plain = 0;

        while ((unsigned char)at[plain] >= ' ')
            plain++;
        put_some(at, plain);
        at += plain;
        if (*at)
            put_control((unsigned char)*at++, depth);
    }
    put(node->is_group ? "  [group " : "  [");
    if (node->is_group && node->group[0])
        put_name(node->group);
    put(!node->is_group ? "task " : node->group[0] ? " of task " : "of task ");
    put_name(node->task);
    put(", ");
    put(node->where);
    put("]\n");
}

/* The first line goes where the text stands. */
static void put_tree(const struct node *node, unsigned depth)
{
    const struct node *cause;
    unsigned i;

    put_line(node, depth);
    for (cause = node->cause; cause; cause = cause->cause) {
        put_bars(depth);
        put("   because of ");
        if (cause->is_group) {
            put_tree(cause, depth + 1);
            break;
        }
        put_line(cause, depth);
    }
    for (i = 0; i < node->count; i++) {
        put_bars(depth);
        put("+- ");
        put_tree(node->children[i], depth + 1);
    }
}

/* Deeper than so, lines are moved no further, and causes in causes are only named: not for this target. */
static unsigned depth_of(const struct node *node)
{
    unsigned depth = node->cause ? depth_of(node->cause) + 1 : 0, i;

    for (i = 0; i < node->count; i++) {
        unsigned below = depth_of(node->children[i]) + 1;

        depth = below > depth ? below : depth;
    }
    return depth;
}

static void check_text(const struct osr_error *real, const struct node *node)
{
    static char text[MOST_TEXT], part[MOST_TEXT];
    size_t length, room = take_byte(&input) * 4;

    if (texts_left == 0 || depth_of(node) > 8)
        return;
    texts_left--;
    expected_length = 0;
    put_tree(node, 0);
    if (expected_length == sizeof(expected_text) - 1)
        return;
    length = osr_error_format(real, text, sizeof(text));
    tell("%s", text);
    check(length == strlen(text), "a text of %zu characters is said to have %zu", strlen(text), length);
    check(strcmp(text, expected_text) == 0, "the text should be\n%s", expected_text);
    check(osr_error_format(real, part, room) == length, "the length depends on the room");
    check(room == 0 || (strlen(part) == (room <= length ? room - 1 : length) && strncmp(part, text, strlen(part)) == 0),
          "cut, it is another text");
}

/* ---- Comparing ---- */

/* Without memory for the context that osr_wrap() adds, the error is what it was. */
static struct node *without_context(const struct osr_error *real, struct node *node)
{
    struct node *at = node;

    while (at && at->code == node->code && strcmp(at->where, osr_error_where(real)) != 0)
        at = at->cause;
    return lossy && at && at->code == node->code ? at : node;
}

static void check_leaf(const struct osr_error *real, struct node *node)
{
    check(osr_error_code(real) == node->code, "a leaf has code %d, and not %d", osr_error_code(real), node->code);
    check(strcmp(osr_error_where(real), node->where) == 0, "a leaf is of %s, and not of %s", osr_error_where(real),
          node->where);
    check(strncmp(osr_error_task(real), node->task, OSR_NAME_SIZE - 1) == 0, "a leaf is of task \"%s\", and not \"%s\"",
          osr_error_task(real), node->task);
    if (!node->is_group) {
        check(!node->real || node->real == real, "a leaf has become another object");
        node->real = real;
    }
}

static void check_same(const struct osr_error *real, struct node *node)
{
    static struct node *leaves[MOST_LEAVES];
    unsigned count = leaves_of(node, leaves, 0), i = 0;
    const struct osr_error *leaf;
    struct osr_leaves walk;

    check(osr_error_code(real) == node->code, "the code is %d, and not %d", osr_error_code(real), node->code);
    if (lossy)
        return;
    check(osr_error_count(real) == count, "%zu leaves, and not %u", osr_error_count(real), count);
    check(osr_error_is_group(real) == node->is_group, "one is a group, the other is not");
    check(strcmp(osr_error_where(real), node->where) == 0, "it is of %s, and not of %s", osr_error_where(real),
          node->where);
    check(strncmp(osr_error_group(real), node->group, OSR_NAME_SIZE - 1) == 0,
          "the group is called \"%s\", and not \"%s\"", osr_error_group(real), node->group);
    check(osr_error_cancelled(real) == node->cancelled, "%u were cancelled, and not %u", osr_error_cancelled(real),
          node->cancelled);
    check(!osr_error_cause(real) == !node->cause, "one has a cause, the other has none");
    osr_leaves_init(&walk, real);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        check_leaf(leaf, leaves[i++]);
    check_text(real, node);
}

static bool is_leaf(const struct osr_error *real, struct node *node)
{
    node = without_context(real, node);
    return osr_error_code(real) == node->code && strcmp(osr_error_where(real), node->where) == 0 &&
           strncmp(osr_error_task(real), node->task, OSR_NAME_SIZE - 1) == 0;
}

/* Without memory: no leaf is lost, and none is there that did not fail, unless a whole group stands as one. What could
 * not be wrapped is what it was, and a group that has it already does not count it again; so numbers may differ. */
static void check_nothing_lost(const struct osr_error *real, struct node *node)
{
    static struct node *leaves[MOST_LEAVES];
    static bool is_there[MOST_LEAVES];
    unsigned count = leaves_of(node, leaves, 0), i;
    const struct osr_error *leaf;
    struct osr_leaves walk;

    if (count > 300)
        return;
    memset(is_there, 0, count);
    osr_leaves_init(&walk, real);
    while ((leaf = osr_leaves_next(&walk)) != NULL) {
        bool is_known = false;

        if (osr_error_code(leaf) == -OSR_EGROUP)
            return; /* a group that could not be copied: which of the leaves it stands for cannot be seen */
        for (i = 0; i < count; i++)
            if (is_leaf(leaf, leaves[i]))
                is_known = is_there[i] = true;
        check(is_known, "leaf %d of %s did not fail", osr_error_code(leaf), osr_error_where(leaf));
    }
    for (i = 0; i < count; i++)
        check(is_there[i], "leaf %d of %s, task \"%s\", is lost", leaves[i]->code, leaves[i]->where, leaves[i]->task);
}

/* ---- Making trees ---- */

static const int codes[] = {-EIO, -EPROTO, -ENOENT, -OSR_ESPURIOUS, -12345, -EAGAIN};

static int take_code(void)
{
    return codes[take(&input, 6)];
}

/* As sprintf() would, in a tenth of the time. */
static char *write_number(char *to, unsigned number)
{
    if (number >= 10)
        to = write_number(to, number / 10);
    *to++ = (char)('0' + number % 10);
    return to;
}

static const char *take_message(void)
{
    static const char *const before[] = {"number ", "", "two\nlines ", "a \x01 in ", "ends with a line ", "100% of "};
    char *text = texts[made], *at;
    unsigned kind = take(&input, 6);

    at = stpcpy(text, before[kind]);
    if (*text)
        at = write_number(at, made);
    strcpy(at, kind == 4 ? "\n " : "");
    return text;
}

static int fail_as(struct slot *slot, const char *task)
{
    const char *message = take_message();
    int code = take_code();

    slot->node = new_node(false, code, "fuzz:fail", task, message);
    slot->rides = false;
    slot->code = osr_fail_here("fuzz:fail", code, "%s", message);
    check(slot->code == code, "osr_fail() gives %d", slot->code);
    tell("  %s fails with %d\n", task, code);
    return code;
}

/* A call of the library's that fails, where no place is known: the error of before does not count any more. */
static int misuse(struct slot *slot, const char *task)
{
    if (take(&input, 2))
        (void)fail_as(slot, task);
    slot->node = new_node(false, -EINVAL, "fuzz:spawn", task, NULL);
    slot->rides = false;
    slot->code = osr_error_split(NULL, NULL, NULL, NULL, NULL);
    check(slot->code == -EINVAL, "a split of nothing gives %d", slot->code);
    return slot->code;
}

/* Around the error in the slot. */
static int wrap_as(struct slot *slot, const char *task, int code)
{
    struct node *inner = slot->node, *node;
    const char *message = take_message();

    node = new_node(inner && inner->is_group && inner->code == code, code, "fuzz:wrap", task, message);
    if (node->is_group && wrong != WRONG_HIDES)
        append(node, inner);
    else
        node->cause = inner;
    slot->code = osr_wrap_here("fuzz:wrap", code, "%s", message);
    check(slot->code == code, "osr_wrap() gives %d", slot->code);
    slot->node = node;
    tell("  %s wraps it, as %d\n", task, code);
    return code;
}

/* What a task or a body fails with that gives `code`. */
static struct node *outcome_of(const struct slot *slot, int code, const char *where, const char *task)
{
    struct node *node;

    if (slot->node && slot->code == code)
        return slot->node;
    node = new_node(false, code, where, task, NULL);
    node->cause = wrong == WRONG_CAUSE ? NULL : slot->node;
    return node;
}

struct job {
    const char *name;
    unsigned depth;
    bool is_cancelled;
    struct node *failed; /* out: what it failed with */
    bool passed_on;      /* out: a cancellation */
};

static int build(const char *task, unsigned depth, bool is_cancelled, struct slot *slot);

OSR_TASK(work, struct job, job)
{
    struct slot slot = {0};
    int rc = build(job->name, job->depth, job->is_cancelled, &slot);

    job->passed_on = rc == -ECANCELED || (rc < 0 && rc == slot.code && slot.rides);
    job->failed = rc < 0 && rc != -ECANCELED ? outcome_of(&slot, rc, "fuzz:spawn", job->name) : NULL;
    return rc;
}

/* Some are longer than names may be. */
static const char *take_name(void)
{
    static const char zeros[] = "000000000000000000000000000000000000000000000000000000000000000000000";
    char *name = names[tasks], *at = stpcpy(name, "task ");

    if (take(&input, 8) == 0)
        at = stpcpy(at, zeros);
    *write_number(at, tasks++) = '\0';
    return name;
}

/* Whether it was spawned; its error stands in the group then. */
static void spawn_one(struct osr_group *group, unsigned depth, bool is_cancelled, struct node *node)
{
    struct job job = {.name = names[tasks], .depth = depth, .is_cancelled = is_cancelled};
    struct osr_spawn_options options = {.size = sizeof(options), .where = "fuzz:spawn", .eager = true};

    options.name = take_name();
    if (osr_spawn_with(group, &work.routine_, &job, &options) < 0) {
        check(refused > 0, "a task could not be spawned");
        osr_error_clear();
        return;
    }
    node->cancelled += job.passed_on;
    if (job.failed)
        append(node, job.failed);
}

/* The words of a group are the library's; they begin with what they must say. */
static const char *group_message(const struct node *node)
{
    char *text = texts[node - nodes], begin[64];

    snprintf(text, sizeof(texts[0]), "%s", osr_error_message(osr_error_last()));
    snprintf(begin, sizeof(begin), node->cancelled ? "%u error%s, %u cancelled" : "%u error%s", node->count,
             node->count == 1 ? "" : "s", node->cancelled);
    check(refused > 0 || strncmp(text, begin, strlen(begin)) == 0, "a group says \"%s\", and not \"%s\"", text, begin);
    return text;
}

/* A part of what counts its errors counts its own; what else is said stays. */
static void say_of_part(struct node *part, const struct node *whole)
{
    const char *behind = whole->message;
    char *text = texts[part - nodes];

    part->message = whole->message;
    part->counts = whole->counts;
    if (!whole->counts)
        return;
    behind += strcspn(behind, " ") + 1;
    behind += strcspn(behind, " ,");
    snprintf(text, sizeof(texts[0]), "%u error%s%s", part->count, part->count == 1 ? "" : "s", behind);
    part->message = text;
}

static int close_group(struct osr_group *group, const char *task, struct node *node, struct slot *slot, bool unwraps,
                       bool is_cancelled)
{
    int rc = take(&input, 3) ? 0 : fail_as(slot, task);

    if (rc < 0 && take(&input, 4) == 0)
        rc = -EXDEV; /* a bare code, because of what the slot holds */
    if (rc < 0)
        append(node, outcome_of(slot, rc, "fuzz:close", task));
    rc = osr_group_close_here(group, rc, "fuzz:close");
    tell("  %s closes it: %d\n", task, rc);
    *slot = (struct slot){0};
    if (node->count == 0) {
        check(rc == (node->cancelled && is_cancelled ? -ECANCELED : 0), "a group without errors gives %d", rc);
        return rc;
    }
    slot->rides = node->cancelled && is_cancelled;
    if (wrong == WRONG_LAST && node->count > 1)
        node->count--;
    slot->node = unwraps && node->count == 1 ? node->children[0] : node;
    slot->code = slot->node->code;
    check(rc == slot->code, "a group gives %d, and not %d", rc, slot->code);
    if (slot->node == node) {
        node->message = group_message(node);
        node->counts = true;
    }
    return rc;
}

static int build_group(const char *task, unsigned depth, bool is_cancelled, struct slot *slot)
{
    struct osr_group group;
    bool unwraps = take(&input, 4) == 0;
    struct osr_group_options options = {.size = sizeof(options), .where = "fuzz:open", .unwrap = unwraps};
    struct node *node;
    unsigned count = take(&input, CHILDREN - 2);

    options.name = take(&input, 2) ? "group" : NULL;
    options.policy = take(&input, 4) ? OSR_COLLECT : OSR_FAIL_FAST;
    if (osr_group_open_with(&group, &options) < 0) {
        check(refused > 0, "a group could not be opened");
        return fail_as(slot, task);
    }
    osr_error_clear(); /* what the slot held is no error of this group's */
    *slot = (struct slot){0};
    node = new_node(true, -OSR_EGROUP, "fuzz:open", task, NULL);
    node->group = options.name ? options.name : "";
    tell("  %s opens a group\n", task);
    while (count-- > 0 && !is_full() && tasks < MOST_TASKS)
        spawn_one(&group, depth + 1, is_cancelled || (options.policy == OSR_FAIL_FAST && node->count > 0), node);
    return close_group(&group, task, node, slot, unwraps, is_cancelled);
}

/* What one task does: the code that it gives, and the slot. */
static int build(const char *task, unsigned depth, bool is_cancelled, struct slot *slot)
{
    unsigned i, which;
    int rc;

    switch (take(&input, 8)) {
    case 0:
        return 0;
    case 1:
    case 2:
        return fail_as(slot, task);
    case 3:
        return (void)fail_as(slot, task), -EXDEV;
    case 4:
        if (depth > 0 && take(&input, 2))
            return misuse(slot, task);
        return take_code();
    case 5: /* an error that stands elsewhere already, perhaps here too */
        which = take(&input, 3 * REGISTERS);
        which = raised = which < REGISTERS ? which : raised;
        if (!registers[which].real || count_leaves(registers[which].node) > 30) {
            rc = osr_check(); /* cut where a sibling has failed */
            check(rc == (is_cancelled ? -ECANCELED : 0), "osr_check() gives %d", rc);
            return rc;
        }
        *slot = (struct slot){registers[which].node->code, registers[which].node, false};
        tell("  %s raises register %u\n", task, which);
        return osr_raise(osr_error_retain(registers[which].real));
    default:
        rc = depth < MOST_DEPTH && !is_full() ? build_group(task, depth, is_cancelled, slot) : fail_as(slot, task);
    }
    for (i = take(&input, 4); rc < 0 && rc != -ECANCELED && i > 1 && !is_full(); i--)
        rc = wrap_as(slot, task, take(&input, 4) ? rc : take_code());
    return rc;
}

/* ---- Working on them ---- */

static void set_register(unsigned which, struct osr_error *real, struct node *node)
{
    check(lossy || !node || !node->real || node->real == real, "it has become another object");
    if (node && !lossy)
        node->real = real;
    osr_error_release(registers[which].real);
    registers[which].real = real;
    registers[which].node = node;
}

static void look_at(unsigned which)
{
    struct node *node = registers[which].node;

    if (!registers[which].real)
        return;
    tell("register %u: %s [%s, %s], %u leaves\n", which, osr_strcode(node->code), node->where, node->task,
         count_leaves(node));
    if (lossy)
        check_nothing_lost(registers[which].real, node);
    check_same(registers[which].real, node);
}

/* Which leaves are wanted. */
struct wish {
    unsigned kind;
    int code;
    unsigned bits;
};

static struct wish take_wish(void)
{
    struct wish wish = {.kind = take(&input, 5)};

    wish.code = take_code();
    wish.bits = take_byte(&input);
    return wish;
}

static bool matches(const struct osr_error *leaf, void *arg)
{
    const struct wish *wish = arg;

    switch (wish->kind) {
    case 0:
        return osr_error_code(leaf) == wish->code;
    case 1:
        return strcmp(osr_error_where(leaf), "fuzz:wrap") == 0;
    case 2:
        return true;
    case 3:
        return false;
    default:
        return wish->bits >> (-osr_error_code(leaf) % 8) & 1;
    }
}

static bool is_wanted(const struct node *leaf, const struct wish *wish)
{
    switch (wish->kind) {
    case 0:
        return leaf->code == wish->code;
    case 1:
        return strcmp(leaf->where, "fuzz:wrap") == 0;
    case 2:
        return true;
    case 3:
        return false;
    default:
        return wish->bits >> (-leaf->code % 8) & 1;
    }
}

/* The part of the tree whose leaves are wanted (are not), NULL if there is none. */
static struct node *part_of(struct node *node, const struct wish *wish, bool wanted)
{
    struct node *part;
    unsigned i;

    if (!node->is_group)
        return is_wanted(node, wish) == wanted ? node : NULL;
    part = new_node(true, node->code, node->where, node->task, NULL);
    part->group = wrong == WRONG_NAME ? "" : node->group;
    part->cancelled = node->cancelled;
    part->cause = node->cause;
    for (i = 0; i < node->count; i++) {
        struct node *child = part_of(node->children[i], wish, wanted);

        if (child)
            part->children[part->count++] = child;
    }
    say_of_part(part, node);
    return part->count ? part : NULL;
}

static unsigned size_of(const struct node *node)
{
    unsigned size = 1, i;

    for (i = 0; i < node->count; i++)
        size += size_of(node->children[i]);
    return size;
}

static void split(unsigned which)
{
    struct wish wish = take_wish();
    struct osr_error *real[2] = {NULL, NULL};
    unsigned into = take(&input, REGISTERS), rest = (into + 1) % REGISTERS, parts = take(&input, 4);
    struct node *node = registers[which].node;
    int rc;

    if (!registers[which].real || made + 2 * size_of(node) >= NODES)
        return;
    rc = osr_error_split(registers[which].real, matches, &wish, parts == 1 ? NULL : &real[0],
                         parts == 2 ? NULL : &real[1]);
    tell("split register %u: %d\n", which, rc);
    if (rc < 0) {
        check(rc == -ENOMEM && refused > 0 && node->is_group, "osr_error_split() gives %d", rc);
        check(!real[0] && !real[1] && wrong != WRONG_HALF, "a split that fails gives something");
        osr_error_clear();
        return;
    }
    if (lossy || refused) { /* what it is made of cannot be known: but no leaf is lost, or there twice */
        check(parts == 1 || parts == 2 ||
                  osr_error_count(real[0]) + osr_error_count(real[1]) == osr_error_count(registers[which].real),
              "the parts have not all of the leaves");
        osr_error_release(real[0]);
        osr_error_release(real[1]);
        return;
    }
    if (parts != 1) {
        struct node *part = part_of(node, &wish, true);

        check(!part == !real[0], "%s match", part ? "none" : "some");
        set_register(into, real[0], part);
    }
    if (parts != 2) {
        struct node *part = part_of(node, &wish, false);

        check(!part == !real[1], "%s are left", part ? "none" : "some");
        set_register(rest, real[1], part);
    }
}

static void take_subgroup(unsigned which)
{
    struct wish wish = take_wish();
    struct osr_error *real;
    struct node *part;
    unsigned into = take(&input, REGISTERS);

    if (!registers[which].real || made + size_of(registers[which].node) >= NODES)
        return;
    part = part_of(registers[which].node, &wish, true);
    real = osr_error_subgroup(registers[which].real, matches, &wish);
    tell("subgroup of register %u: %s\n", which, real ? "some" : "none");
    check(lossy || refused || !part == !real, "%s match", part ? "none" : "some");
    osr_error_clear();
    if (lossy || refused)
        osr_error_release(real);
    else
        set_register(into, real, part);
}

static void derive(unsigned which)
{
    struct osr_error *errors[3], *real;
    struct node *of[3], *node = registers[which].node, *derived;
    unsigned into = take(&input, REGISTERS), count = take(&input, 4), leaves = 0, i;

    for (i = 0; i < count; i++) {
        unsigned from = take(&input, REGISTERS);

        errors[i] = registers[from].real;
        of[i] = registers[from].node;
        leaves += errors[i] ? count_leaves(of[i]) : 0;
    }
    if (leaves > 60) /* of groups in groups there may be more than anybody can count */
        return;
    real = osr_error_derive(registers[which].real, errors, count);
    tell("derive from register %u: %s\n", which, real ? "a group" : "none");
    for (i = 0; i < count && errors[i]; i++)
        ;
    if (!registers[which].real || !osr_error_is_group(registers[which].real) || count == 0 || i < count) {
        check(!real, "osr_error_derive() of nothing gives something");
        return;
    }
    check(real || refused > 0, "osr_error_derive() gives nothing");
    if (!real || made + 1 >= NODES) {
        osr_error_release(real);
        return;
    }
    derived = new_node(true, node->code, node->where, node->task, NULL);
    derived->group = node->group;
    derived->cancelled = node->cancelled;
    derived->cause = node->cause;
    for (i = 0; i < count; i++)
        derived->children[derived->count++] = of[i];
    say_of_part(derived, node);
    if (wrong == WRONG_DERIVE && node->count < CHILDREN - 3)
        derived->children[derived->count++] = node->children[0];
    set_register(into, real, derived);
}

/* What is found becomes an error of its own, which may outlive its group. */
static void find(unsigned which)
{
    static struct node *leaves[MOST_LEAVES];
    int code = take_code();
    const struct osr_error *leaf = osr_error_find(registers[which].real, take(&input, 2) ? code : -code);
    unsigned count = registers[which].real ? leaves_of(registers[which].node, leaves, 0) : 0, i;

    if (lossy)
        return;
    for (i = 0; i < count && leaves[i]->code != code; i++)
        ;
    check(!leaf == (i == count), "%s is found", leaf ? "a leaf that is not there" : "no leaf");
    if (!leaf)
        return;
    check_leaf(leaf, leaves[i]);
    if (take(&input, 2))
        set_register(take(&input, REGISTERS), osr_error_retain((struct osr_error *)leaf), leaves[i]);
}

/* The cause becomes an error of its own. */
static void take_cause(unsigned which)
{
    struct osr_error *cause = osr_error_cause(registers[which].real);
    unsigned into = take(&input, REGISTERS);

    if (!cause || lossy)
        return;
    check(registers[which].node->cause != NULL, "there is a cause");
    set_register(into, osr_error_retain(cause), registers[which].node->cause);
}

/* Raises it, wraps it some times, and takes it. */
static void wrap_some(unsigned which)
{
    struct slot slot = {0};
    unsigned into = take(&input, REGISTERS), count = 1 + take(&input, 4);
    struct osr_error *real;

    if (registers[which].real) {
        slot = (struct slot){registers[which].node->code, registers[which].node, false};
        check(osr_raise(osr_error_retain(registers[which].real)) == slot.code, "raising gives another code");
    } else {
        (void)fail_as(&slot, "root");
    }
    while (count-- > 0 && !is_full())
        (void)wrap_as(&slot, "root", take(&input, 3) ? slot.code : take_code());
    lossy |= refused > 0;
    real = osr_error_take();
    check(real || lossy, "the slot is empty");
    if (real)
        set_register(into, real, slot.node);
    check(!osr_error_last(), "taken, the error is still there");
}

static void make(void)
{
    struct slot slot = {0};
    int rc = build("root", 0, false, &slot);
    struct osr_error *real = NULL;

    lossy |= refused > 0;
    tell("made: %d\n", rc);
    if (rc < 0 && slot.node && slot.code == rc)
        real = osr_error_take();
    osr_error_clear();
    if (!real)
        return;
    set_register(take(&input, REGISTERS), real, slot.node);
}

static void step(void)
{
    unsigned which = take(&input, REGISTERS), what = take(&input, 10);

    if (is_full())
        return;
    switch (what) {
    case 0:
    case 1:
        make();
        break;
    case 2:
        split(which);
        break;
    case 3:
        take_subgroup(which);
        break;
    case 4:
        derive(which);
        break;
    case 5:
        find(which);
        break;
    case 6:
        take_cause(which);
        break;
    case 7:
        wrap_some(which);
        break;
    case 8:
        set_register(which, NULL, NULL);
        break;
    default:
        refuse_at = 1 + take(&input, 32);
        refuse_onwards = take(&input, 2);
        tell("no memory at the %u. allocation%s\n", refuse_at, refuse_onwards ? ", and from there on" : "");
        return;
    }
    lossy |= refused > 0;
    look_at(which);
}

OSR_TASK(root, void, unused)
{
    unsigned i;

    while (!is_over(&input))
        step();
    refuse_at = 0;
    for (i = 0; i < REGISTERS && !lets_leak; i++) {
        look_at(i);
        set_register(i, NULL, NULL);
    }
    osr_error_clear();
    return 0;
}

static void run(const unsigned char *bytes, size_t size)
{
    unsigned i;

    input = (struct input){bytes, bytes + size};
    texts_left = size % 4 == 0 ? 5 : 0;
    lets_leak = size % 8 == 1; /* then the errors outlive the run */
    made = tasks = raised = 0;
    lossy = false;
    check(run_simulated(&root.routine_, NULL) == 0, "the run failed");
    for (i = 0; i < REGISTERS; i++) {
        look_at(i);
        set_register(i, NULL, NULL);
    }
    lets_leak = false;
}

const struct target target = {.name = "errors", .run = run, .longest = 250, .wrongs = wrongs};
