/*
 * Programs for on_trio.py, one a line, in JSON: the statements, and what the model says of them. The model's word is a story
 * for each task: what each of its statements gives and when, what each close caught, which errors go up. Tasks are named
 * after who spawned them: "0.2.1" is the first that the second one of the root's has spawned.
 *
 * In every other program each statement has times of its own. A program that comes to the same in all orders of its ready
 * tasks is marked as free: Trio may run it in any order too.
 */
#include "trio.h"

#include <stdarg.h>
#include <stdlib.h>

#include "generate.h"
#include "model/state.h"

enum { MOST_BYTES = 1 << 14, ORDER_BYTES = 160, BUDGET = 128, STORY = 1 << 15, STORIES = MOST_TASKS + 3, NAME = 64 };

/* ---- What both have ---- */

static bool trio_has(enum op op)
{
    switch (op) {
    case OP_YIELD:
    case OP_CHECK:
    case OP_SLEEP:
    case OP_SLEEP_UNTIL:
    case OP_RETURN:
    case OP_FAIL:
    case OP_CANCEL:
    case OP_DEADLINE:
    case OP_UNSHIELD:
    case OP_GROUP:
    case OP_SCOPE:
    case OP_SPAWN:
    case OP_START:
    case OP_STARTED:
    case OP_REPEAT:
    case OP_WAIT:
    case OP_SET:
    case OP_CLEAR:
    case OP_LOCK:
    case OP_TRY_LOCK:
    case OP_AWAIT:
    case OP_NOTIFY:
    case OP_ACQUIRE:
    case OP_TRY_ACQUIRE:
    case OP_GIVE:
    case OP_PUT:
    case OP_GET:
    case OP_TRY_PUT:
    case OP_TRY_GET:
    case OP_BORROW:
    case OP_TRY_BORROW:
    case OP_TOTAL:
    case OP_ASK:
        return true;
    default:
        return false;
    }
}

/* What stands for a statement that Trio does not have. */
static enum op instead_of(enum op op)
{
    switch (op) {
    case OP_BARE:
    case OP_FATAL:
        return OP_FAIL;
    case OP_MEET:
        return OP_ACQUIRE;
    case OP_BREAK:
        return OP_GIVE;
    case OP_QUEUE_JOIN:
    case OP_SELECT:
        return OP_GET;
    case OP_SHUTDOWN:
        return OP_PUT;
    case OP_DONE:
    case OP_TRY_SELECT:
        return OP_TRY_PUT;
    case OP_SETTLE:
    case OP_RESULT:
        return OP_TOTAL;
    case OP_GATHER:
        return OP_BORROW;
    case OP_DEFER:
        return OP_SCOPE;
    default:
        return OP_SLEEP;
    }
}

/* Starts are drawn too rarely, and mostly without a word from the child: some spawns become such that start, and say so. */
static void make_start(struct program *program, struct statement *at)
{
    struct statement *says = at->first >= 0 ? &program->statements[at->first] : NULL;

    if (at->op != OP_SPAWN || at->b % 8 != 0)
        return;
    at->op = OP_START;
    if (says && at->b & 8 && says->next >= 0)
        says = &program->statements[says->next];
    if (says && !says->has_block)
        says->op = OP_STARTED;
}

/* What Trio does not have becomes something that it has, before the model sees it. */
static void translate(struct statement *at)
{
    static const unsigned char fifo_queues[3] = {0, 1, 5};

    if (!trio_has(at->op))
        at->op = instead_of(at->op);
    switch (at->op) {
    case OP_GROUP:
        at->a = 0;
        break;
    case OP_SCOPE:
        at->a &= (unsigned char)~0x60; /* no guard */
        break;
    case OP_SPAWN:
    case OP_START:
        at->b = 0;
        break;
    case OP_REPEAT:
        at->a &= 3;
        break;
    case OP_TOTAL:
        at->b |= at->b % 4 == 0; /* Trio wants at least one */
        break;
    case OP_PUT:
    case OP_GET:
    case OP_TRY_PUT:
    case OP_TRY_GET:
        at->a = fifo_queues[at->a % 3];
        break;
    default:
        break;
    }
    if (at->on_failure != SWALLOW)
        at->on_failure = LOOK_AT; /* so that the errors are told */
}

/* `narrow`: all locks are one, and all limiters, so that more is waited for. */
static void translate_all(struct program *program, bool stretch, bool narrow)
{
    short i;

    for (i = 1; i < program->count; i++) {
        make_start(program, &program->statements[i]);
        translate(&program->statements[i]);
        program->statements[i].stretch = stretch ? i : 0;
        if (narrow && program_needs(program->statements[i].op) & (NO_SYNC | NO_FUTURES))
            program->statements[i].a = 0;
    }
    program->streams = 0; /* what was to do with them does something else */
    program->tells_shape = false;
}

/* ---- Stories ---- */

struct story {
    char name[NAME];
    unsigned spawned, length;
    char text[STORY];
};

static struct story stories[STORIES]; /* by the number of the task; 0 is the run's */
static unsigned story_count;
static bool too_long;

__attribute__((format(printf, 2, 3))) static void say(struct story *story, const char *format, ...)
{
    va_list arguments;
    int wrote;

    va_start(arguments, format);
    wrote = vsnprintf(story->text + story->length, STORY - story->length, format, arguments);
    va_end(arguments);
    if (wrote < 0 || (unsigned)wrote >= STORY - story->length)
        too_long = true;
    else
        story->length += (unsigned)wrote;
}

static void begin_story(unsigned number, unsigned spawner)
{
    struct story *story = &stories[number];
    char spawners[NAME];
    int wrote;

    memcpy(spawners, stories[spawner].name, NAME);
    story->spawned = story->length = 0;
    story->text[0] = '\0';
    if (number > 1)
        wrote = snprintf(story->name, NAME, "%s.%u", spawners, ++stories[spawner].spawned);
    else
        wrote = snprintf(story->name, NAME, "%s", number ? "0" : "end");
    too_long |= wrote >= NAME;
    if (number >= story_count)
        story_count = number + 1;
}

/* What is asked of a scope is said when all of it is there. */
struct asking {
    bool under_way, cancelled;
    int64_t now;
};

static void tell_value_of(struct story *story, const struct record *record, struct asking *asking)
{
    switch (record->what) {
    case VALUE_NOW:
        *asking = (struct asking){.under_way = true, .now = record->value};
        break;
    case VALUE_CANCELLED:
        asking->cancelled = record->value;
        break;
    case VALUE_DEADLINE:
        if (asking->cancelled || record->value <= asking->now)
            say(story, "over ");
        else if (record->value == OSR_NEVER)
            say(story, "never ");
        else
            say(story, "until %d ", (int)record->value);
        break;
    case VALUE_RUNNING:
        say(story, "running %d ", (int)record->value);
        break;
    case VALUE_SCOPE_CAUGHT:
        if (!asking->under_way)
            say(story, "caught %d ", (int)record->value);
        break;
    case VALUE_ITEM:
        say(story, "item %lld ", (long long)record->value);
        break;
    case VALUE_COUNT:
        say(story, "left %lld/%d ", (long long)record->value, record->code);
        break;
    default: /* reasons, which Trio 0.22 does not keep */
        break;
    }
}

/* The log, task by task. */
static void tell_stories(const struct log *log)
{
    struct asking asking = {0};
    unsigned i, running = 0;
    int64_t now = 0;

    story_count = 0;
    too_long = false;
    begin_story(0, 0);
    for (i = 0; i < log->count && !too_long; i++) {
        const struct record *record = &log->records[i];
        struct story *story = &stories[record->task];

        switch (record->kind) {
        case RECORD_TRACE:
            now = record->value;
            if (record->what == OSR_TRACE_SPAWN)
                begin_story(record->task, running);
            else if (record->what == OSR_TRACE_STEP)
                running = record->task;
            break;
        case RECORD_RESULT:
            asking.under_way = false;
            say(story, "%d=%d@%lld ", record->place, record->code, (long long)(record->task ? now : 0));
            break;
        case RECORD_VALUE:
            tell_value_of(story, record, &asking);
            break;
        case RECORD_ERROR:
            if (record->what & ERROR_IS_LEAF)
                say(story, "! %d:%d ", record->code, record->place);
            break;
        default:
            break;
        }
    }
}

/* ---- Running ---- */

static struct log written;

/* Whether the program is one to compare: it ends by itself, and none of the fuzzer's own limits has shown. */
static bool run_model(const struct program *program)
{
    if (model_run(program, &written) != MODEL_DONE || model.is_stuck)
        return false;
    if (model.executed >= MOST_STEPS || model.attempts >= MOST_TASKS || model.items >= MOST_ITEMS)
        return false;
    tell_stories(&written);
    return !too_long;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(stories[*(const unsigned *)a].name, stories[*(const unsigned *)b].name);
}

/* All stories, in the order of their tasks' names. */
static size_t gather_stories(char *to, size_t size)
{
    unsigned order[STORIES], i;
    size_t length = 0;

    for (i = 0; i < story_count; i++)
        order[i] = i;
    qsort(order, story_count, sizeof(order[0]), by_name);
    for (i = 0; i < story_count; i++) {
        const struct story *story = &stories[order[i]];
        int wrote = snprintf(to + length, size - length, "%s\"%s\": \"%s\"", i ? ", " : "", story->name, story->text);

        if (wrote < 0 || length + (size_t)wrote >= size)
            return 0;
        length += (size_t)wrote;
    }
    return length;
}

enum { GATHERED = 1 << 17 };

static char expected[GATHERED], other[GATHERED];

unsigned trio_orders = 32;

static bool is_same_in_orders(const struct program *program, uint64_t state, unsigned budget)
{
    static unsigned char bytes[MOST_BYTES + ORDER_BYTES];
    struct program again = *program;
    unsigned i, order;
    bool same = true;

    again.bytes = bytes;
    again.size = program->used + ORDER_BYTES;
    model_budget = budget;
    for (order = 0; order < trio_orders && same; order++) {
        for (i = program->used; i < again.size; i++) {
            state = state * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
            bytes[i] = (unsigned char)(state >> 56);
        }
        same = run_model(&again) && gather_stories(other, sizeof(other)) && strcmp(expected, other) == 0;
    }
    model_budget = BUDGET;
    return same;
}

/* 1: the program comes to the same in many orders of its ready tasks; 2: also if all calls let others run, and there are no
 * ties, so that Trio need not be told anything. */
static int freedom(const struct program *program, uint64_t seed, bool ties)
{
    if (!is_same_in_orders(program, seed, BUDGET))
        return 0;
    return ties || !is_same_in_orders(program, seed, 1) ? 1 : 2;
}

/* ---- Writing ---- */

static const char *const names[OPS] = {
    [OP_YIELD] = "yield_",       [OP_CHECK] = "check",     [OP_SLEEP] = "sleep",       [OP_SLEEP_UNTIL] = "sleep",
    [OP_RETURN] = "return_",     [OP_FAIL] = "fail_",      [OP_CANCEL] = "cancel",     [OP_DEADLINE] = "deadline",
    [OP_UNSHIELD] = "unshield",  [OP_GROUP] = "group",     [OP_SCOPE] = "scope",       [OP_SPAWN] = "spawn",
    [OP_REPEAT] = "repeat",      [OP_WAIT] = "wait_",      [OP_SET] = "set_",          [OP_CLEAR] = "clear",
    [OP_LOCK] = "lock",          [OP_TRY_LOCK] = "try_lock", [OP_AWAIT] = "await_",    [OP_NOTIFY] = "notify",
    [OP_ACQUIRE] = "acquire",    [OP_TRY_ACQUIRE] = "try_acquire", [OP_GIVE] = "give", [OP_PUT] = "put",
    [OP_GET] = "get",            [OP_TRY_PUT] = "try_put", [OP_TRY_GET] = "try_get",   [OP_BORROW] = "borrow",
    [OP_TRY_BORROW] = "try_borrow", [OP_TOTAL] = "total",  [OP_ASK] = "ask",
    [OP_START] = "start",        [OP_STARTED] = "started_"};

static void write_after(int64_t after)
{
    if (after == OSR_NEVER)
        printf(", \"when\": [\"never\", 0]");
    else
        printf(", \"when\": [\"after\", %d]", (int)after);
}

static void write_moment(const struct statement *at, unsigned char operand)
{
    if (operand & 16)
        printf(", \"when\": [\"at\", %d]", (int)moment_in(at, operand, 0));
    else
        write_after(moment_in(at, operand, 0));
}

static void write_scope(const struct statement *at)
{
    static const char *const forms[] = {"timeout", "move on", "shield", "timeout", "shield"};
    enum form form = form_of(at);

    printf(", \"form\": \"%s\"", forms[form]);
    if (form == FORM_SHIELD)
        write_after(stretched(at, grace_of(at->b)));
    else if (form > FORM_SHIELD)
        write_after(OSR_NEVER);
    else if (by_moment(at))
        write_moment(at, at->b);
    else
        write_after(stretched(at, duration_of(at->b)));
}

static void write_operands(const struct statement *at)
{
    switch (at->op) {
    case OP_SLEEP:
        write_after(stretched(at, duration_of(at->a)));
        break;
    case OP_SLEEP_UNTIL:
        write_moment(at, at->a);
        break;
    case OP_RETURN:
        printf(", \"code\": %d", at->a % 4);
        break;
    case OP_FAIL:
        printf(", \"code\": %d", code_of(at->a));
        break;
    case OP_DEADLINE:
        write_moment(at, at->b);
        break;
    case OP_SCOPE:
        write_scope(at);
        break;
    case OP_REPEAT:
        printf(", \"times\": %u", times_of(at));
        break;
    case OP_NOTIFY:
    case OP_TOTAL:
    case OP_PUT:
    case OP_TRY_PUT:
        printf(", \"b\": %u", at->b % 4);
        break;
    default:
        break;
    }
}

static void write_block(const struct program *program, int index)
{
    printf("[");
    for (; index >= 0; index = program->statements[index].next) {
        const struct statement *at = &program->statements[index];

        printf("{\"at\": %d, \"op\": \"%s\", \"a\": %u", index, names[at->op], at->a);
        if (at->on_failure == SWALLOW)
            printf(", \"swallow\": 1");
        write_operands(at);
        if (at->has_block) {
            printf(", \"block\": ");
            write_block(program, at->first);
        }
        printf("}%s", at->next >= 0 ? ", " : "");
    }
    printf("]");
}

int trio_write(uint64_t seed, uint64_t first, unsigned long runs)
{
    static unsigned char bytes[MOST_BYTES];
    static struct program program;
    uint64_t i;
    bool ties;

    printf("{\"EGROUP\": %d, \"ESCOPECANCELED\": %d, \"ECLOSED\": %d, \"ENOTSTARTED\": %d}\n", OSR_EGROUP,
           OSR_ESCOPECANCELED, OSR_ECLOSED, OSR_ENOTSTARTED);
    for (i = first; i < first + runs; i++) {
        size_t size = generate(seed, i, bytes, sizeof(bytes));

        program_read(&program, bytes, size);
        translate_all(&program, i % 2, i / 2 % 2);
        program.size = program.used; /* no schedule: who came first */
        if (!run_model(&program) || !gather_stories(expected, sizeof(expected)))
            continue;
        ties = model.has_ties;
        printf("{\"program\": %llu, \"queues\": %d, \"block\": ", (unsigned long long)i, program.has_queues);
        write_block(&program, 1);
        printf(", \"expected\": {%s}, \"free\": %d}\n", expected, freedom(&program, seed ^ i, ties));
    }
    return ferror(stdout) != 0;
}

/* ---- Canaries ---- */

int trio_canaries(void)
{
    static const enum model_error wrongs[] = {
        WRONG_SKIPS_A_CHILD,   WRONG_SHIELD_IGNORED, WRONG_SHIELD_HIDES_ALL, WRONG_DEADLINE_IN_SHIELD, WRONG_SIBLINGS_LIVE,
        WRONG_SECOND_ERROR,    WRONG_INNER_ABSORBS,  WRONG_IGNORED_CUT,      WRONG_DEADLINE_LATE,      WRONG_CUTS_FIRST,
        WRONG_CUT_STAYS_QUEUED, WRONG_LIFO_LOCK,     WRONG_BARGING,          WRONG_SETS_WAKE_ONE,      WRONG_PRODUCER_SLEEPS,
        WRONG_START_ADOPTS,    WRONG_NOTIFIED_CUT,   WRONG_TOTAL_WAKES_NOBODY};
    unsigned i;

    for (i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++)
        printf("%d\n", wrongs[i]);
    return 0;
}
