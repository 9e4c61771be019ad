#include "interpreter/state.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <osier/attach.h>

#include "blocks.h"

struct log *interpreter_keeps;
struct interpreter_fault interpreter_fault;
double interpreter_simulated;
const struct interpreter_hooks *interpreter_hooks;

struct machine machine;

/* The runs' allocations that have not been freed: those of the runner, between runs. */
static long live;
static bool warming; /* the runner: nothing is noted */

/* ---- Faults ---- */

/* The model has all the memory that it wants: what is other than it says is judged by who has ordered the fault. */
static unsigned fails(void)
{
    struct interpreter_fault *fault = &interpreter_fault;

    if (!machine.begun)
        return 0;
    fault->asked++;
    return fault->at > 0 && (fault->onwards ? fault->asked >= fault->at : fault->asked == fault->at);
}

/* Whether something has failed by now. */
static bool has_failed(void)
{
    return interpreter_fault.at > 0 && interpreter_fault.asked >= interpreter_fault.at;
}

static bool is_of_streams(const struct statement *at)
{
    return program_needs((enum op)at->op) == NO_STREAMS;
}

/* The codes are those that the library gives for the first fault of each call. */
static bool tells_of_fault(const struct record *record)
{
    const unsigned bare_group = ERROR_IS_GROUP | ERROR_IS_LEAF; /* one of whose errors there is no memory for a copy */

    if (record->kind == RECORD_ERROR && (record->what & bare_group) == bare_group)
        return true;
    switch (record->code) {
    case -ENOMEM:
    case -EMFILE: /* a post's descriptor */
        return true;
    case -EBADF: /* of descriptors: these are said of those that are well, too */
    case -EIO:
    case -EPIPE:
    case -ENOBUFS:
        return record->kind == RECORD_RESULT && record->place >= 0 && is_of_streams(statement(record->place));
    case -EAGAIN: /* a job's thread; other statements give this when there is nothing to be had */
        return record->kind == RECORD_RESULT && record->place >= 0 && statement(record->place)->op == OP_OFFLOAD;
    default:
        return false;
    }
}

/* Of a statement that spawns by itself, the group tells it. */
static void look_for_fault(const struct osr_error *error)
{
    struct osr_leaves walk;
    const struct osr_error *leaf;

    osr_leaves_init(&walk, error);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        machine.verdict->tells_fault |= osr_error_code(leaf) == -ENOMEM;
}

/* What opening gave, which must be 0 unless a fault was ordered. */
static void opened(const char *what, int rc)
{
    machine.verdict->tells_fault |= rc == -ENOMEM;
    if (rc < 0 && !(rc == -ENOMEM && has_failed()))
        broken("%s cannot be opened: %s", what, osr_strcode(rc));
}

/* ---- Recording ---- */

void broken(const char *format, ...)
{
    va_list list;

    if (machine.verdict->broken[0])
        return;
    va_start(list, format);
    vsnprintf(machine.verdict->broken, sizeof(machine.verdict->broken), format, list);
    va_end(list);
}

static __attribute__((noinline, cold)) void note_remarkable(const struct record *noted)
{
    struct verdict *verdict = machine.verdict;
    struct record record = *noted;

    if (machine.world == WORLD_PLAIN && !plain_sees(&machine.view, &record))
        return;
    if (interpreter_keeps && verdict->count < MOST_RECORDS) {
        interpreter_keeps->records[verdict->count] = record;
        interpreter_keeps->count = verdict->count + 1;
    }
    if (machine.expected && !verdict->differs &&
        (verdict->count >= machine.expected->count || !record_equal(&record, &machine.expected->records[verdict->count]))) {
        verdict->differs = true;
        verdict->at = verdict->count;
        verdict->got = record;
        machine.only_compares = false;
    }
    verdict->tells_fault |= has_failed() && tells_of_fault(&record);
    verdict->count++;
}

/* Its first words as the compiler can make them without memory: to read what was just written in smaller parts takes long. */
static inline uint64_t head_of(const struct record *record)
{
    return record->kind | (uint64_t)record->what << 8 | (uint64_t)(uint16_t)record->place << 16 |
           (uint64_t)(uint16_t)record->name << 32 | (uint64_t)(uint16_t)record->spare << 48;
}

static inline uint64_t middle_of(const struct record *record)
{
    return record->task | (uint64_t)(uint32_t)record->code << 32;
}

_Static_assert(offsetof(struct record, task) == 8 && offsetof(struct record, value) == 16, "two words, and the value");

static inline bool is_as(const struct record *expected, const struct record *record)
{
    uint64_t words[2];

    memcpy(words, expected, sizeof(words));
    return ((words[0] ^ head_of(record)) | (words[1] ^ middle_of(record)) | (uint64_t)(expected->value ^ record->value)) == 0 &&
           (expected->call == record->call ||
            (expected->call && record->call && strcmp(expected->call, record->call) == 0));
}

static inline void keep(struct log *log, const struct record *record)
{
    struct record *to = &log->records[log->count++];
    const uint64_t words[2] = {head_of(record), middle_of(record)};

    memcpy(to, words, sizeof(words));
    to->value = record->value;
    to->call = record->call;
}

/* Nearly all records are what was expected, or there is no expectation and they are only kept. Only where it is neither is
 * the record copied: right after it was written in parts, that would wait for them all. */
static inline __attribute__((always_inline)) void note(const struct record *record)
{
    struct verdict *verdict = machine.verdict;

    if (machine.only_compares && verdict->count < machine.expected->count &&
        is_as(&machine.expected->records[verdict->count], record)) {
        verdict->count++;
    } else if (machine.only_keeps && verdict->count < MOST_RECORDS) {
        keep(interpreter_keeps, record);
        verdict->count++;
    } else {
        note_remarkable(record);
    }
}

static struct record record_of(enum record_kind kind, unsigned what)
{
    return (struct record){.kind = (unsigned char)kind,
                           .what = (unsigned char)what,
                           .place = -1,
                           .name = -1,
                           .task = machine.running};
}

void note_value(enum value_of what, int64_t value, int code)
{
    struct record record = record_of(RECORD_VALUE, what);

    record.value = value;
    record.code = code;
    note(&record);
}

static void tell_result(int index, int rc)
{
    struct record record = record_of(RECORD_RESULT, 0);

    record.place = (short)index;
    record.code = rc;
    note(&record);
}

/* ---- Errors ---- */

static void tell_one(const struct osr_error *error, unsigned flags)
{
    struct record record = record_of(RECORD_ERROR, flags);

    record.code = osr_error_code(error);
    record.place = (short)place_number(osr_error_where(error));
    record.name = (short)name_number(osr_error_task(error));
    if (osr_error_is_fatal(error))
        record.what |= ERROR_IS_FATAL;
    if (osr_error_is_group(error)) {
        record.what |= ERROR_IS_GROUP;
        record.value = (int64_t)osr_error_count(error) | (int64_t)osr_error_cancelled(error) << 16 |
                       (int64_t)(name_number(osr_error_group(error)) + 2) << 32;
    }
    note(&record);
}

static void tell_causes(const struct osr_error *error)
{
    int i;

    for (i = 0, error = osr_error_cause(error); error && i < 6; i++, error = osr_error_cause(error))
        tell_one(error, ERROR_IS_CAUSE);
}

void note_error(const struct osr_error *error)
{
    struct osr_leaves walk;
    const struct osr_error *leaf;
    struct record record;
    unsigned left = 40;

    if (!error) {
        record = record_of(RECORD_ERROR, ERROR_IS_NONE);
        note(&record);
        return;
    }
    if (osr_error_is_group(error)) {
        tell_one(error, 0);
        tell_causes(error);
    }
    osr_leaves_init(&walk, error);
    while (left-- > 0 && (leaf = osr_leaves_next(&walk)) != NULL) {
        tell_one(leaf, ERROR_IS_LEAF);
        tell_causes(leaf);
    }
}

/* A line of a printed tree: how far to the right it stands, what it is, and whose. */
static void tell_line(const char *line, size_t length)
{
    static const char because[] = "because of ";
    struct record record = record_of(RECORD_SHAPE, 0);
    size_t depth = strspn(line, "| +-") / 3, from, digits;
    const char *at;

    if (strncmp(line + strspn(line, "| +-"), because, sizeof(because) - 1) == 0)
        record.what |= ERROR_IS_CAUSE;
    record.value = (int64_t)(depth < SHAPE_DEPTH ? depth : SHAPE_DEPTH);
    for (from = length; from > 2 && (line[from - 1] != '[' || line[from - 2] != ' '); from--)
        continue;
    if (strncmp(line + from, "group", 5) == 0)
        record.what |= ERROR_IS_GROUP;
    at = strstr(line + from, "task \"t");
    if (at && at < line + length)
        record.name = (short)strtol(at + 7, NULL, 10);
    for (at = line + length - 1; at > line + from && at[-1] != ' '; at--) /* the place is what stands last */
        continue;
    digits = strspn(at, "0123456789");
    if (digits > 0)
        record.place = (short)(2 * strtol(at, NULL, 10) + (at[digits] == '.'));
    note(&record);
}

static void tell_shape(const struct osr_error *error)
{
    static char text[1 << 14];
    const char *line = text, *end;
    int left = SHAPE_LINES;

    (void)osr_error_format(error, text, sizeof(text));
    for (; left-- > 0 && (end = strchr(line, '\n')) != NULL; line = end + 1)
        tell_line(line, (size_t)(end - line));
}

/* ---- What the run asks and tells ---- */

static unsigned choose(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct record record;

    (void)arg;
    if (warming)
        return 0;
    if (kind == OSR_CHOICE_FAULT && fails()) {
        machine.verdict->tells_fault |= strcmp(what, "poll") == 0; /* all descriptors are taken to be ready then */
        return 1;
    }
    if (kind == OSR_CHOICE_FAULT)
        return 0;
    record = record_of(RECORD_CHOICE, kind);
    record.task = 0;
    record.value = n;
    note(&record);
    return interpreter_hooks ? interpreter_hooks->choose(interpreter_hooks->arg, kind, n)
                             : schedule_choose(&machine.schedule, n);
}

static void check_event(const struct osr_trace_event *event)
{
    if (!machine.has_begun) {
        machine.has_begun = true;
        machine.began = machine.now = event->at;
    }
    if (event->at < machine.now)
        broken("the clock went back from %lld to %lld", (long long)machine.now, (long long)event->at);
    machine.now = event->at;
    if (event->task == 0 || event->task > MOST_TASKS + 1) {
        broken("an event of task %llu", (unsigned long long)event->task);
        return;
    }
    if (machine.ends_of[event->task] && event->kind != OSR_TRACE_END)
        broken("task %llu has ended, and has an event", (unsigned long long)event->task);
    if (event->kind == OSR_TRACE_END && machine.ends_of[event->task]++)
        broken("task %llu ends twice", (unsigned long long)event->task);
}

static void observe(void *arg, const struct osr_trace_event *event)
{
    struct record record = record_of(RECORD_TRACE, event->kind);

    (void)arg;
    if (warming)
        return;
    check_event(event);
    record.task = (unsigned)event->task;
    record.name = (short)name_number(event->name);
    record.place = (short)(event->where ? place_number(event->where) : -1);
    record.call = event->call;
    record.code = event->code;
    record.value = in_units(event->at);
    if (event->kind == OSR_TRACE_SPAWN) {
        machine.spawned = (unsigned)event->task; /* a spawn that failed may have taken a number too */
        if (event->task <= MOST_TASKS + 1 && machine.running <= MOST_TASKS + 1) {
            machine.actor_of[event->task] = machine.attempt_of[machine.running];
            if (machine.attempt_of[machine.running]->gathered)
                machine.attempt_of[machine.running]++;
        }
    }
    if (event->kind == OSR_TRACE_CANCEL && event->code == -OSR_EDEADLOCK)
        machine.stuck = true;
    if (event->kind == OSR_TRACE_STEP)
        machine.running = (unsigned)event->task;
    note(&record);
}

static void diagnose(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_UNWATCHED && has_failed()) {
        machine.verdict->tells_fault = true;
        return;
    }
    broken("the library says: %s", text);
    if (kind == OSR_DIAGNOSIS_MISUSE)
        fprintf(stderr, "%s", text);
}

static void *resize(void *arg, void *memory, size_t size)
{
    void *result = blocks_resize(memory, size);

    (void)arg;
    live += (result && !memory) - (memory && size == 0);
    return result;
}

/* ---- What is open ---- */

/* Says that the tasks share this, which osier does not know of. */
void share(const void *object)
{
    if (interpreter_hooks && interpreter_hooks->touched)
        interpreter_hooks->touched(interpreter_hooks->arg, OSR_TOUCH_WRITE, object, 0);
}

/* Which one is the last. */
static void touch_open_scopes(void)
{
    if (machine.program->picks_scopes)
        share(machine.open_scopes);
}

static void register_scope(struct osr_scope *scope, struct osr_group *group)
{
    touch_open_scopes();
    machine.group_of_scope[machine.open_scope_count] = group;
    machine.open_scopes[machine.open_scope_count++] = scope;
    if (group)
        machine.open_groups[machine.open_group_count++] = group;
}

static void unregister_scope(const struct osr_scope *scope, const struct osr_group *group)
{
    unsigned i, n;

    touch_open_scopes();
    for (i = n = 0; i < machine.open_scope_count; i++)
        if (machine.open_scopes[i] != scope) {
            machine.group_of_scope[n] = machine.group_of_scope[i];
            machine.open_scopes[n++] = machine.open_scopes[i];
        }
    machine.open_scope_count = n;
    for (i = n = 0; group && i < machine.open_group_count; i++)
        if (machine.open_groups[i] != group)
            machine.open_groups[n++] = machine.open_groups[i];
    if (group)
        machine.open_group_count = n;
}

static struct osr_scope *scope_meant(const struct statement *at)
{
    touch_open_scopes();
    return machine.open_scopes[pick_of(at->a, machine.open_scope_count)];
}

struct osr_group *group_named(const struct actor *actor, unsigned char operand)
{
    if (operand % 8 != 0)
        touch_open_scopes();
    if (operand % 8 != 0)
        return machine.open_groups[pick_of(operand % 8 - 1, machine.open_group_count)];
    return actor->innermost ? actor->innermost : actor->group;
}

static void read_scope(const struct osr_scope *scope)
{
    const struct osr_reason *reason = osr_scope_reason(scope);
    struct record record;

    note_value(VALUE_SCOPE_CAUGHT, osr_scope_caught(scope), 0);
    if (!reason)
        return;
    record = record_of(RECORD_VALUE, VALUE_REASON);
    record.code = reason->code;
    record.place = (short)place_number(reason->where);
    record.name = (short)name_number(reason->who);
    note(&record);
}

/* ---- Blocks ---- */

static int run_statement(struct actor *actor, int index, int *leaves);

/* Runs the block of the statement; `left` says whether it was left before its end. */
int run_block(struct actor *actor, int owner, bool *left)
{
    int index, rc = 0, leaves = 0;

    for (index = statement(owner)->first; index >= 0 && machine.executed < MOST_STEPS && !leaves;
         index = statement(index)->next) {
        machine.executed++;
        rc = run_statement(actor, index, &leaves);
    }
    if (left)
        *left = leaves != 0;
    return leaves ? rc : 0;
}

/* ---- Scopes ---- */

static int64_t limit_of_scope(const struct statement *at, int *form)
{
    static const int forms[] = {OSR_SCOPE_TIMEOUT, OSR_SCOPE_MOVE_ON, OSR_SCOPE_SHIELD, OSR_SCOPE_TIMEOUT,
                                OSR_SCOPE_SHIELD};

    *form = forms[form_of(at)];
    if (form_of(at) > FORM_SHIELD)
        return OSR_NEVER;
    if (form_of(at) == FORM_SHIELD)
        return grace(at->b);
    if (!by_moment(at))
        return duration(at->b);
    *form |= OSR_SCOPE_AT;
    return moment(at->b);
}

/* Declared before a guard, so that it runs when that has been left. */
static void forget_scope(struct osr_scope **scope)
{
    unregister_scope(*scope, NULL);
}

static int run_guarded_scope(struct actor *actor, int index)
{
    OSR_CLEANUP_(forget_scope) struct osr_scope *known = NULL;
    OSR_CLEANUP_(osr_scope_leave_) struct osr_scope scope;
    int form;
    int64_t limit = limit_of_scope(statement(index), &form);

    known = &scope;
    actor->scope = &scope;
    opened("a guarded scope", osr_scope_open_here(&scope, form | OSR_SCOPE_GUARD_, limit, place_of(index, false)));
    register_scope(&scope, NULL);
    return run_block(actor, index, NULL);
}

static int run_scope(struct actor *actor, int index)
{
    struct osr_scope scope;
    int rc, form;
    int64_t limit = limit_of_scope(statement(index), &form);

    actor->scope = &scope;
    rc = osr_scope_open_here(&scope, form, limit, place_of(index, false));
    opened("a scope", rc);
    register_scope(&scope, NULL);
    rc = run_block(actor, index, NULL);
    rc = osr_scope_close_here(&scope, rc, place_of(index, true));
    unregister_scope(&scope, NULL);
    read_scope(&scope);
    return rc;
}

/* ---- Groups ---- */

static struct osr_group_options group_options(int index)
{
    const struct statement *at = statement(index);

    return (struct osr_group_options){.size = sizeof(struct osr_group_options),
                                      .where = place_of(index, false),
                                      .name = name_of(index),
                                      .limit = limit_of(at),
                                      .policy = (enum osr_policy)policy_of(at),
                                      .unwrap = unwraps(at)};
}

static void forget_group(struct osr_group **group)
{
    unregister_scope(&(*group)->scope, *group);
}

static int run_guarded_group(struct actor *actor, int index)
{
    OSR_CLEANUP_(forget_group) struct osr_group *known = NULL;
    OSR_CLEANUP_(osr_group_leave_) struct osr_group group;
    struct osr_group_options options = group_options(index);

    known = actor->innermost = &group;
    actor->scope = &group.scope;
    opened("a guarded group", osr_group_guard_(&group, &options));
    register_scope(&group.scope, &group);
    return run_block(actor, index, NULL);
}

static void read_policy(const struct osr_group *group, int index)
{
    if (policy_of(statement(index)) < OSR_FIRST_DONE)
        return;
    note_value(VALUE_WINNER, 0, osr_group_winner(group));
    note_error(osr_group_losses(group));
}

static int run_group(struct actor *actor, int index)
{
    struct osr_group group;
    struct osr_group_options options = group_options(index);
    int rc;

    actor->scope = &group.scope;
    rc = osr_group_open_with(&group, &options);
    opened("a group", rc);
    if (index == 1 && machine.program->streams)
        opened("a deadline", osr_scope_set_deadline(&group.scope, moment_in_run(STREAMS_END)));
    register_scope(&group.scope, &group);
    actor->innermost = &group;
    rc = run_block(actor, index, NULL);
    rc = osr_group_close_here(&group, rc, place_of(index, true));
    if (osr_group_running(&group) > 0)
        broken("a closed group has %zu children", osr_group_running(&group));
    unregister_scope(&group.scope, &group);
    read_scope(&group.scope);
    read_policy(&group, index);
    return rc;
}

/* ---- Tasks ---- */

int run_actor(void *arg)
{
    struct actor *actor = arg;

    actor->ended++;
    return run_block(actor, actor->statement, NULL);
}

/* Its argument is a copy, of which the spawner changes the original. */
static int run_copied(void *arg)
{
    return run_actor(*(struct actor **)arg);
}

static int spawn(struct actor *actor, int index)
{
    static const struct osr_routine routine = {run_actor, "actor", NULL}, copied = {run_copied, "actor", NULL};
    struct actor *original;
    const struct statement *at = statement(index);
    struct actor *child;
    struct osr_task handle = {0};
    unsigned options = spawn_options_of(at);
    struct osr_spawn_options how;
    struct osr_group *group;
    int rc;

    if (machine.actor_count > MOST_TASKS)
        return 0;
    child = &machine.actors[machine.actor_count++];
    group = group_named(actor, at->a);
    *child = (struct actor){.statement = index, .options = options, .group = group};
    how = (struct osr_spawn_options){.size = sizeof(how),
                                     .where = place_of(index, false),
                                     .name = name_of(index),
                                     .handle = options & WITH_HANDLE ? &handle : NULL,
                                     .eager = options & EAGER,
                                     .daemon = options & DAEMON,
                                     .result = options & (WITH_RESULT | WITH_OUTCOME) ? &child->result : NULL,
                                     .outcome = options & WITH_OUTCOME ? &child->outcome : NULL};
    machine.attempt_of[machine.running] = child;
    original = child;
    how.copy = copies(at) ? sizeof(original) : 0;
    if (at->op == OP_START)
        rc = osr_start_with(group, how.copy ? &copied : &routine, how.copy ? (void *)&original : child, &how);
    else
        rc = osr_spawn_with(group, how.copy ? &copied : &routine, how.copy ? (void *)&original : child, &how);
    original = NULL;
    if (options & WITH_HANDLE)
        share(machine.handles);
    if (rc == 0 && options & WITH_HANDLE)
        machine.handles[machine.handle_count++] = handle;
    return rc;
}

/* ---- Many at once ---- */

static int gather(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    const struct osr_routine routine = {run_actor, name_of(index), NULL};
    struct osr_outcome outcomes[4];
    int results[4], rc;
    unsigned count = gathered_of(at), i;
    struct actor *children = &machine.actors[machine.actor_count];
    const struct osr_gather_options options = {.size = sizeof(options),
                                               .where = place_of(index, false),
                                               .name = name_of(index),
                                               .limit = limit_of(at),
                                               .policy = (enum osr_policy)policy_of(at),
                                               .results = keeps_results(at) ? results : NULL,
                                               .outcomes = keeps_outcomes(at) ? outcomes : NULL};

    if (machine.actor_count - 1 + count > MOST_TASKS)
        return 0;
    machine.actor_count += count;
    for (i = 0; i < count; i++)
        children[i] = (struct actor){.statement = index, .group = group_named(actor, 0), .gathered = true};
    machine.attempt_of[machine.running] = children;
    rc = osr_gather_with(&routine, children, count, sizeof(*children), &options);
    if (policy_of(at) >= OSR_FIRST_DONE) /* a race that is won says nothing of who could not be spawned */
        machine.verdict->tells_fault |= has_failed();
    for (i = 0; i < count && keeps_results(at); i++)
        note_value(VALUE_OUTCOME, 0, results[i]);
    for (i = 0; i < count && keeps_outcomes(at); i++) {
        note_value(VALUE_OUTCOME, WITH_OUTCOME, outcomes[i].rc);
        if (outcomes[i].error)
            note_error(outcomes[i].error);
        osr_error_release(outcomes[i].error);
    }
    return rc;
}

static void tell_handle(struct osr_task task)
{
    int found = -1;
    unsigned i;

    share(machine.handles);
    for (i = 0; i < machine.handle_count; i++)
        if (memcmp(&machine.handles[i], &task, sizeof(task)) == 0)
            found = (int)i;
    note_value(VALUE_HANDLE, found, 0);
}

static int ask_state(struct osr_task task)
{
    int state = osr_task_state(task), rc, result = 0;

    if (state < 0)
        return state;
    rc = osr_task_result(task, &result);
    note_value(VALUE_STATE, state, rc < 0 ? rc : result);
    if (osr_task_error(task))
        note_error(osr_task_error(task));
    return 0;
}

static int use_handle(const struct statement *at, int index)
{
    static struct osr_task nothing;
    struct osr_task *task = &nothing;

    nothing = (struct osr_task){0};
    share(machine.handles);
    if (machine.handle_count > 0)
        task = &machine.handles[pick_of(at->a, machine.handle_count)];
    switch (at->op) {
    case OP_JOIN:
        return osr_task_join_here(*task, place_of(index, false));
    case OP_CANCEL_TASK:
        return osr_task_cancel_here(*task, "by handle", place_of(index, false));
    case OP_RELEASE:
        return osr_task_release(task);
    default:
        return ask_state(*task);
    }
}

static int next_ended(const struct actor *actor, const struct statement *at, int index)
{
    struct osr_task task;
    int rc = osr_group_next_here(group_named(actor, at->a), &task, place_of(index, false));

    if (rc == 1)
        tell_handle(task);
    return rc;
}

/* ---- Clean-ups ---- */

static int run_cleanup(void *arg)
{
    struct deferred *deferred = arg;
    const struct deferred *later;
    const void *scope = deferred->actor->scope;
    int rc;

    if (deferred->has_run)
        broken("a clean-up runs twice");
    deferred->has_run = true;
    for (later = deferred + 1; later < machine.cleanups + machine.deferred; later++)
        if (later->actor == deferred->actor && later->scope == deferred->scope && !later->has_run)
            broken("a clean-up runs before a later one");
    deferred->actor->scope = deferred; /* it has a shield of its own */
    rc = run_block(deferred->actor, deferred->statement, NULL);
    deferred->actor->scope = scope;
    return rc;
}

static int defer(struct actor *actor, int index)
{
    struct deferred *deferred;
    int rc;

    if (machine.deferred == MOST_CLEANUPS)
        return 0;
    deferred = &machine.cleanups[machine.deferred++];
    *deferred = (struct deferred){.actor = actor, .statement = index, .scope = actor->scope};
    rc = osr_defer_here(&deferred->cleanup, run_cleanup, deferred, grace(statement(index)->a), place_of(index, false));
    deferred->has_run = rc < 0; /* and never will */
    return rc;
}

static int undefer(const struct statement *at)
{
    struct deferred *deferred = machine.deferred ? &machine.cleanups[pick_of(at->a, machine.deferred)] : NULL;
    struct osr_cleanup none = {0};
    int rc = osr_defer_cancel(deferred ? &deferred->cleanup : &none);

    if (rc == 0 && deferred->has_run)
        broken("a clean-up that has run was taken back");
    if (rc == 0)
        deferred->has_run = true; /* it must not run */
    return rc;
}

/* ---- Statements ---- */

static int repeat(struct actor *actor, int index)
{
    unsigned times = times_of(statement(index));
    bool left;
    int rc;

    for (;;) {
        rc = run_block(actor, index, &left);
        if (left || --times == 0 || machine.executed >= MOST_STEPS)
            return rc;
        machine.executed++;
    }
}

static int ask(const struct statement *at)
{
    unsigned meant = pick_of(at->a, machine.open_scope_count);
    const struct osr_scope *scope = machine.open_scopes[meant];

    touch_open_scopes();
    note_value(VALUE_NOW, now(), 0);
    note_value(VALUE_CANCELLED, osr_cancelled(), 0);
    note_value(VALUE_DEADLINE, in_units(osr_deadline()), 0);
    note_value(VALUE_SCOPE_CANCELLED, osr_scope_cancelled(scope), 0);
    note_value(VALUE_SCOPE_DEADLINE, in_units(osr_scope_deadline(scope)), 0);
    if (machine.group_of_scope[meant])
        note_value(VALUE_RUNNING, (int64_t)osr_group_running(machine.group_of_scope[meant]), 0);
    read_scope(scope);
    return 0;
}

static int take(struct actor *actor)
{
    osr_error_release(actor->held);
    actor->held = osr_error_take();
    machine.verdict->tells_fault |= has_failed() && !actor->held; /* there may be no memory for one */
    note_value(VALUE_TAKEN, actor->held != NULL, osr_error_code(actor->held));
    return 0;
}

static void look_at_slot(void)
{
    const struct osr_error *error = osr_error_last();

    machine.verdict->tells_fault |= !error && has_failed(); /* there may be no memory for one */
    note_error(error);
}

static int raise_held(struct actor *actor)
{
    struct osr_error *held = actor->held;

    actor->held = NULL;
    return held ? osr_raise(held) : 0;
}

static int make_self(void)
{
    static const struct osr_task none;
    struct osr_task *self = &machine.handles[machine.handle_count++];

    share(machine.handles);
    *self = osr_self();
    if (memcmp(self, &none, sizeof(none)) == 0) /* how it says that there is no memory for one */
        machine.verdict->tells_fault = true;
    return 0;
}

/* A statement with a scope or group of its own. */
static int run_inside(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    struct osr_group *innermost = actor->innermost;
    const void *scope = actor->scope;
    int rc;

    if (at->op == OP_GROUP)
        rc = guarded(at) ? run_guarded_group(actor, index) : run_group(actor, index);
    else
        rc = guarded(at) ? run_guarded_scope(actor, index) : run_scope(actor, index);
    actor->innermost = innermost;
    actor->scope = scope;
    return rc;
}

static int call(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    const char *place = place_of(index, false);

    switch (at->op) {
    case OP_YIELD:
        return osr_yield_here(place);
    case OP_CHECK:
        return osr_check_here(place);
    case OP_SLEEP:
        return osr_sleep_here(duration(at->a), place);
    case OP_SLEEP_UNTIL:
        return osr_sleep_until_here(moment(at->a), place);
    case OP_FAIL:
        return osr_fail_here(place, code_of(at->a), "by the program");
    case OP_FATAL:
        return osr_fail_fatal_here(place, code_of(at->a), "by the program");
    case OP_CANCEL:
        return osr_scope_cancel_here(scope_meant(at), "by hand", place);
    case OP_DEADLINE:
        return osr_scope_set_deadline(scope_meant(at), moment(at->b));
    case OP_UNSHIELD:
        return osr_scope_unshield(scope_meant(at));
    case OP_GROUP:
    case OP_SCOPE:
        return run_inside(actor, index);
    case OP_SPAWN:
    case OP_START:
        return spawn(actor, index);
    case OP_STARTED:
        return osr_started();
    case OP_REPEAT:
        return repeat(actor, index);
    case OP_JOIN:
    case OP_STATE:
    case OP_RELEASE:
    case OP_CANCEL_TASK:
        return use_handle(at, index);
    case OP_SELF:
        return make_self();
    case OP_NEXT:
        return next_ended(actor, at, index);
    case OP_GATHER:
        return gather(actor, index);
    case OP_DEFER:
        return defer(actor, index);
    case OP_UNDEFER:
        return undefer(at);
    case OP_CALL:
    case OP_CALL_BACK:
        return use_call(index);
    case OP_POST:
    case OP_FIRE:
    case OP_POST_CLOSE:
        return use_post(index);
    case OP_OFFLOAD:
        return offload(index);
    case OP_BIND:
    case OP_VALUE:
        return use_value(index);
    case OP_READ:
    case OP_WRITE:
    case OP_WRITE_ALL:
    case OP_READABLE:
    case OP_WRITABLE:
    case OP_FD_CLOSE:
    case OP_OUTSIDER:
        return use_stream(actor, index);
    case OP_TAKE:
        return take(actor);
    case OP_RAISE:
        return raise_held(actor);
    case OP_EMPTY:
        osr_error_clear();
        return 0;
    case OP_LOOK:
        look_at_slot();
        return 0;
    case OP_ASK:
        return ask(at);
    default:
        return use_primitive(actor, index);
    }
}

/* What the program does about a failure: gives the code with which the block is left; 0 to go on. */
static int meet_failure(const struct statement *at, int index, int rc)
{
    struct osr_error *error;

    switch (at->on_failure) {
    case SWALLOW:
        return 0;
    case WRAP:
        rc = osr_wrap_here(place_of(index, true), rc, "wrapped");
        machine.verdict->tells_fault |= has_failed(); /* its words are lost then, which nothing tells */
        return rc;
    case LOOK_AT:
        look_at_slot();
        return rc;
    case REPLACE:
        machine.verdict->tells_fault |= has_failed(); /* the cause may be lost, which nothing tells either */
        return REPLACED;
    case TAKE_RAISE:
        error = osr_error_take();
        machine.verdict->tells_fault |= !error && has_failed(); /* there may be no memory for one */
        return error ? osr_raise(error) : rc;
    default:
        return rc;
    }
}

static int run_statement(struct actor *actor, int index, int *leaves)
{
    const struct statement *at = statement(index);
    int rc;

    if (at->op == OP_RETURN || at->op == OP_BARE) {
        *leaves = 1;
        return at->op == OP_RETURN ? at->a % 4 : bare_code_of(at->a);
    }
    rc = call(actor, index);
    tell_result(index, rc);
    if (rc >= 0)
        return 0;
    if (rc == -OSR_EGROUP && has_failed() && osr_error_last())
        look_for_fault(osr_error_last());
    rc = meet_failure(at, index, rc);
    *leaves = rc < 0;
    return rc;
}

/* ---- The whole run ---- */

/* In the order of spawning. */
static void tell_outcomes(void)
{
    unsigned i;

    for (i = 0; machine.world == WORLD_PLAIN && i < machine.actor_count; i++)
        osr_error_release(machine.actors[i].outcome.error);
    for (i = 2; i <= machine.spawned; i++) {
        struct actor *actor = machine.actor_of[i];

        if (!actor || !(actor->options & (WITH_RESULT | WITH_OUTCOME)))
            continue;
        note_value(VALUE_OUTCOME, actor->options & WITH_OUTCOME,
                   actor->options & WITH_OUTCOME ? actor->outcome.rc : actor->result);
        if (actor->outcome.error)
            note_error(actor->outcome.error);
        osr_error_release(actor->outcome.error);
    }
}

/* What tasks have taken and not raised. */
static void release_held(void)
{
    unsigned i;

    for (i = 0; i < machine.actor_count; i++)
        osr_error_release(machine.actors[i].held);
}

static int run_root(void *arg)
{
    struct actor *actor = arg;
    int rc;

    if (machine.world == WORLD_PLAIN)
        machine.began = osr_now();
    open_primitives();
    machine.begun = true;
    rc = run_block(actor, 0, NULL);
    tell_outcomes();
    close_primitives();
    release_held();
    actor->ended++;
    return rc;
}

static void check_end(void)
{
    unsigned i;

    for (i = 1; i <= machine.spawned; i++)
        if ((machine.actor_of[i] || !has_failed()) &&
            (machine.ends_of[i] != 1 || (machine.actor_of[i] && machine.actor_of[i]->ended != 1)))
            broken("task %u has ended %u times", i, machine.ends_of[i]);
    for (i = 0; machine.world == WORLD_PLAIN && i < machine.actor_count; i++)
        if (machine.actors[i].ended > 1)
            broken("the task of statement %d has ended %d times", machine.actors[i].statement, machine.actors[i].ended);
    for (i = 0; i < machine.deferred; i++)
        if (!machine.cleanups[i].has_run)
            broken("the clean-up of statement %d has not run", machine.cleanups[i].statement);
}

static void begin(const struct program *program, enum world world, const struct log *expected, struct verdict *verdict)
{
    memset(&machine, 0, offsetof(struct machine, open_scopes));
    machine.program = program;
    machine.world = world;
    machine.expected = expected;
    machine.verdict = verdict;
    verdict->differs = verdict->tells_fault = false;
    verdict->at = verdict->count = 0;
    verdict->broken[0] = '\0';
    schedule_begin(&machine.schedule, program);
    interpreter_fault.asked = 0;
    machine.only_compares = expected && world != WORLD_PLAIN && !interpreter_keeps && interpreter_fault.at == 0;
    machine.only_keeps = !expected && interpreter_keeps && interpreter_fault.at == 0;
    if (interpreter_keeps)
        interpreter_keeps->count = 0;
}

static const struct osr_routine root_routine = {run_root, "t0", NULL};

/* Blocks within blocks, each with the frames of several functions, which AddressSanitizer makes large. */
#if defined(__SANITIZE_ADDRESS__)
enum { STACK = 1 << 19 };
#elif defined(__has_feature)
enum { STACK = __has_feature(address_sanitizer) ? 1 << 19 : 0 };
#else
enum { STACK = 0 }; /* as usual */
#endif

static struct osr_run_options run_options(void)
{
    static const struct osr_allocator allocator = {resize, NULL};

    return (struct osr_run_options){.size = sizeof(struct osr_run_options),
                                    .where = place_of(0, false),
                                    .name = "t0",
                                    .clock = OSR_CLOCK_SIMULATED,
                                    .stack_size = STACK,
                                    .debug = true,
                                    .no_overflow_handler = true,
                                    .allocator = &allocator,
                                    .diagnose = diagnose,
                                    .observe = observe,
                                    .choose = choose};
}

/* Most programs run on one runner, since making a run anew takes longer than all else that a small program does. Its clock
 * goes on from program to program, and so it is given up long before that could come to OSR_NEVER. */
static struct osr_runner *runner, *plain_runner, *parents, *plain_parents;
static unsigned programs_run; /* since they were made */
static bool stale;
enum { MOST_PROGRAMS = 20000 };

/* In a forked child, as shrinkers and AFL++ make them, a runner is of no use. */
static void forget_runner(void)
{
    parents = runner;
    plain_parents = plain_runner;
    runner = plain_runner = NULL;
    live = 0;
    streams_forget();
}

static int sleep_once(void *arg)
{
    (void)arg;
    return osr_sleep_here(1, NULL);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void hear_nothing(void *arg, unsigned count)
{
    (void)arg, (void)count;
}

static void call_nothing(void *arg)
{
    (void)arg;
}

/* As many tasks, clean-ups, calls and deadlines at once as any program has, and a post: so that the runner has all that it
 * will ever keep, and what else is left later is a leak. */
static int warm_up(void *arg)
{
    static const struct osr_routine routine = {sleep_once, "", NULL};
    static unsigned char nothing[MOST_TASKS + 2];
    static struct osr_call calls[MOST_CALLS];
    static struct osr_scope limits[MOST_TASKS * MOST_DEPTH];
    struct osr_post post;
    int i;

    (void)arg;
    for (i = 0; i < MOST_TASKS * MOST_DEPTH; i++)
        (void)osr_timeout_open(&limits[i], OSR_NEVER / 4);
    while (i-- > 0)
        (void)osr_scope_close(&limits[i], 0);
    for (i = 0; i < MOST_CLEANUPS; i++)
        (void)osr_defer_here(NULL, do_nothing, NULL, OSR_NEVER, NULL);
    for (i = 0; i < MOST_CALLS; i++)
        (void)osr_call_later(&calls[i], 1, call_nothing, NULL);
    (void)osr_post_open_here(&post, hear_nothing, NULL, NULL);
    (void)osr_post_fire(post);
    (void)streams_warm_up();
    return osr_gather_with(&routine, nothing, sizeof(nothing), 1, NULL);
}

static void prepare_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forget_runner);
}

static struct osr_runner *warm_runner(const struct osr_run_options *options)
{
    static const struct osr_routine routine = {warm_up, "", NULL};
    struct osr_runner *made;

    warming = true;
    if (osr_runner_new_with(&made, options) < 0 || osr_runner_run_here(made, &routine, NULL, NULL) < 0)
        abort();
    warming = false;
    return made;
}

static void make_runners(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct osr_run_options options = run_options();

    (void)pthread_once(&once, prepare_forks);
    programs_run = 0;
    stale = false;
    runner = warm_runner(&options);
    options.choose = NULL;
    options.observe = NULL;
    plain_runner = warm_runner(&options);
}

/* Gives what is wrong with them, NULL: nothing. If there are more allocations than before, they are the runners', or some that
 * were left, which is seen without them. */
static const char *give_up_runners(void)
{
    const char *wrong = NULL;

    if (osr_runner_free(runner) < 0 || osr_runner_free(plain_runner) < 0)
        wrong = "a runner cannot be freed";
    else if (live != 0)
        wrong = "allocations are left";
    runner = plain_runner = NULL;
    live = 0;
    return wrong;
}

bool interpreter_prepare(void)
{
    if (runner && !stale)
        return false;
    if (runner && give_up_runners())
        abort(); /* after a program of which nothing was left */
    make_runners();
    return true;
}

static void note_rc(void *arg, int rc)
{
    *(int *)arg = rc;
}

/* The program as a guest in a loop of ours: it has turns of it, and waits when that does. */
static int run_attached(const struct osr_run_options *how)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    struct osr_attachment attachment;
    struct osr_attach_options options = {.size = sizeof(options), .where = how->where, .done = note_rc, .run = *how};
    int rc, given = INT_MAX;

    options.done_arg = &given;
    rc = osr_attach_with(&attachment, loop, &root_routine, &machine.actors[0], &options);
    if (rc == 0)
        ev_run(loop, 0);
    if (rc == 0 && given == INT_MAX)
        broken("the loop has come to its end, and the run has not");
    ev_loop_destroy(loop);
    return rc < 0 ? rc : given;
}

/* On a runner that asks for cancellations, and tells what steps touch. */
static int run_explored(struct osr_run_options options)
{
    static struct osr_runner *explored;

    if (!explored) {
        options.inject = true;
        options.touched = interpreter_hooks->touched;
        options.touched_arg = interpreter_hooks->arg;
        warming = true;
        if (osr_runner_new_with(&explored, &options) < 0)
            abort();
        warming = false;
    }
    return osr_runner_run_here(explored, &root_routine, &machine.actors[0], options.where);
}

static int run_in_world(void)
{
    struct osr_run_options options = run_options();
    int rc;

    if (interpreter_hooks)
        return run_explored(options);
    if (machine.world == WORLD_SIMULATED)
        return osr_runner_run_here(runner, &root_routine, &machine.actors[0], options.where);
    if (machine.world == WORLD_PLAIN)
        return osr_runner_run_here(plain_runner, &root_routine, &machine.actors[0], options.where);
    if (machine.world == WORLD_ALONE)
        return osr_run_with(&root_routine, &machine.actors[0], &options);
    options.clock = OSR_CLOCK_REAL;
    hybrid_begin();
    rc = machine.world == WORLD_LIBEV ? osr_run_with(&root_routine, &machine.actors[0], &options)
                                      : run_attached(&options);
    hybrid_end();
    return rc;
}

static void tell_end(int rc)
{
    machine.running = 0;
    tell_result(-1, rc);
    if (rc < 0)
        note_error(osr_error_last());
    /* A deadlock's message is a tree of its own. */
    if (rc < 0 && osr_error_last() && !machine.stuck && machine.program->tells_shape)
        tell_shape(osr_error_last());
    osr_error_clear();
}

void interpret(const struct program *program, enum world world, const struct log *expected, struct verdict *verdict)
{
    const char *wrong = NULL;
    long before;

    if (!runner)
        make_runners();
    before = live;
    begin(program, world, expected, verdict);
    machine.actors[0] = (struct actor){.statement = 0};
    machine.actor_count = 1;
    machine.attempt_of[0] = &machine.actors[0];
    if (program->streams)
        streams_begin();
    tell_end(run_in_world());
    if (program->streams)
        streams_end();
    if (world < WORLD_LIBEV && world != WORLD_PLAIN) /* there nobody tells the time */
        interpreter_simulated += (double)(machine.now - machine.began);
    if (expected && !verdict->differs && verdict->count != expected->count) {
        verdict->differs = true;
        verdict->at = verdict->count;
        verdict->got = record_of(RECORD_ERROR, 0);
    }
    check_end();
    if (interpreter_hooks) /* that runner keeps what it may need again, and begins its clock anew */
        return;
    stale = ++programs_run >= MOST_PROGRAMS || machine.now > OSR_NEVER / 2;
    if (live != before)
        wrong = give_up_runners();
    if (wrong)
        broken("%s", wrong);
}
