#include "program.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <osier/time.h>

/* ---- Operations ---- */

struct operation {
    const char *name;
    unsigned char operands;
    bool block;
    unsigned char weight; /* in slots */
    unsigned needs;       /* features that must not be switched off */
    bool risky;           /* fails often, and so is mostly swallowed: else most programs would end where they begin */
};

static const struct operation operations[OPS] = {
    [OP_YIELD] = {"yield", 0, false, 2, 0, false},
    [OP_CHECK] = {"check", 0, false, 1, 0, false},
    [OP_SLEEP] = {"sleep", 1, false, 6, 0, false},
    [OP_SLEEP_UNTIL] = {"sleep until", 1, false, 1, 0, false},
    [OP_RETURN] = {"return", 1, false, 1, 0, false},
    [OP_FAIL] = {"fail", 1, false, 3, 0, false},
    [OP_BARE] = {"return the bare code", 1, false, 1, NO_ERRORS, false},
    [OP_FATAL] = {"fail fatally", 1, false, 1, NO_ERRORS, false},
    [OP_CANCEL] = {"cancel scope", 1, false, 4, 0, false},
    [OP_CANCEL_TASK] = {"cancel task", 1, false, 1, NO_HANDLES, true},
    [OP_DEADLINE] = {"set deadline of scope", 2, false, 1, NO_TIME, false},
    [OP_UNSHIELD] = {"unshield scope", 1, false, 1, NO_SHIELDS, false},
    [OP_GROUP] = {"group", 1, true, 4, 0, false},
    [OP_SCOPE] = {"scope", 2, true, 5, 0, false},
    [OP_SPAWN] = {"spawn", 2, true, 8, 0, false},
    [OP_START] = {"start", 2, true, 1, NO_HANDLES, false},
    [OP_STARTED] = {"started", 0, false, 1, NO_HANDLES, true},
    [OP_REPEAT] = {"repeat", 1, true, 1, 0, false},
    [OP_JOIN] = {"join", 1, false, 1, NO_HANDLES, true},
    [OP_STATE] = {"ask about task", 1, false, 1, NO_HANDLES, true},
    [OP_RELEASE] = {"release handle", 1, false, 1, NO_HANDLES, true},
    [OP_SELF] = {"self", 0, false, 1, NO_HANDLES, false},
    [OP_NEXT] = {"next of group", 1, false, 1, NO_POLICIES, false},
    [OP_WAIT] = {"wait for event", 1, false, 1, NO_SYNC, false},
    [OP_SET] = {"set event", 1, false, 1, NO_SYNC, false},
    [OP_CLEAR] = {"clear event", 1, false, 1, NO_SYNC, false},
    [OP_LOCK] = {"with lock", 1, true, 1, NO_SYNC, false},
    [OP_TRY_LOCK] = {"with lock, if free", 1, true, 1, NO_SYNC, true},
    [OP_AWAIT] = {"wait on condition", 1, false, 1, NO_SYNC, true},
    [OP_NOTIFY] = {"notify condition", 2, false, 1, NO_SYNC, true},
    [OP_ACQUIRE] = {"acquire semaphore", 1, false, 1, NO_SYNC, false},
    [OP_TRY_ACQUIRE] = {"try to acquire semaphore", 1, false, 0, NO_SYNC, true},
    [OP_GIVE] = {"release semaphore", 1, false, 1, NO_SYNC, true},
    [OP_PUT] = {"put into queue", 2, false, 1, NO_QUEUES, false},
    [OP_GET] = {"get from queue", 1, false, 1, NO_QUEUES, false},
    [OP_TRY_PUT] = {"try to put into queue", 2, false, 1, NO_QUEUES, true},
    [OP_TRY_GET] = {"try to get from queue", 1, false, 1, NO_QUEUES, true},
    [OP_DONE] = {"task done of queue", 1, false, 1, NO_QUEUES, true},
    [OP_QUEUE_JOIN] = {"join queue", 1, false, 1, NO_QUEUES, false},
    [OP_SHUTDOWN] = {"shut down queue", 2, false, 1, NO_QUEUES, true},
    [OP_DEFER] = {"defer", 1, true, 1, NO_CLEANUPS, false},
    [OP_TAKE] = {"take the error", 0, false, 1, NO_ERRORS, false},
    [OP_RAISE] = {"raise what was taken", 0, false, 1, NO_ERRORS, false},
    [OP_EMPTY] = {"empty the slot", 0, false, 0, NO_ERRORS, false},
    [OP_LOOK] = {"look at the slot", 0, false, 1, 0, false},
    [OP_ASK] = {"ask about scope", 1, false, 1, 0, false},
    [OP_MEET] = {"wait at barrier", 1, false, 2, NO_SYNC, true},
    [OP_BREAK] = {"break or reset barrier", 2, false, 1, NO_SYNC, false},
    [OP_SELECT] = {"select", 2, false, 2, NO_QUEUES, false},
    [OP_TRY_SELECT] = {"try to select", 2, false, 1, NO_QUEUES, true},
    [OP_BORROW] = {"with permit of limiter", 1, true, 1, NO_FUTURES, false},
    [OP_TRY_BORROW] = {"with permit of limiter, if there is one", 1, true, 1, NO_FUTURES, true},
    [OP_TOTAL] = {"set total of limiter", 2, false, 1, NO_FUTURES, false},
    [OP_SETTLE] = {"settle future", 2, false, 2, NO_FUTURES, true},
    [OP_EXPECT] = {"wait for future", 1, false, 2, NO_FUTURES, false},
    [OP_RESULT] = {"ask for result of future", 1, false, 1, NO_FUTURES, true},
    [OP_GATHER] = {"gather", 2, true, 2, NO_FUTURES, false},
    [OP_UNDEFER] = {"take back clean-up", 1, false, 1, NO_CLEANUPS, true},
    [OP_BIND] = {"bind key", 1, false, 1, NO_VALUES, false},
    [OP_VALUE] = {"read key", 1, false, 1, NO_VALUES, false},
    [OP_CALL] = {"call", 2, false, 2, NO_CALLS, false},
    [OP_CALL_BACK] = {"take back call", 1, false, 1, NO_CALLS, true},
    [OP_POST] = {"open post", 2, false, 1, NO_CALLS, false},
    [OP_FIRE] = {"fire post", 1, false, 2, NO_CALLS, true},
    [OP_POST_CLOSE] = {"close post", 1, false, 1, NO_CALLS, true},
    [OP_OFFLOAD] = {"offload", 2, false, 2, NO_CALLS, false},
    [OP_READ] = {"read", 2, false, 3, NO_STREAMS, true},
    [OP_WRITE] = {"write", 2, false, 2, NO_STREAMS, true},
    [OP_WRITE_ALL] = {"write all", 2, false, 3, NO_STREAMS, true},
    [OP_READABLE] = {"wait until readable", 1, false, 1, NO_STREAMS, true},
    [OP_WRITABLE] = {"wait until writable", 1, false, 1, NO_STREAMS, true},
    [OP_FD_CLOSE] = {"close", 1, false, 1, NO_STREAMS, true},
    [OP_OUTSIDER] = {"somebody outside", 2, false, 1, NO_STREAMS, true},
};

/* The operations as often as their weights say. The size is fixed, and a new operation gets its slots behind the
 * others, from those that are left, so that old inputs stay what they are. */
enum { SLOTS = 128 };
static unsigned char weighted[SLOTS];

/* ---- Places and names ---- */

static char places[2 * MOST_STATEMENTS][16];
static char names[MOST_STATEMENTS][16];

static char stream_bytes[MOST_TRANSFER + 256];

static void make_stream_data(void)
{
    uint32_t state = 1;
    unsigned i;

    for (i = 0; i < sizeof(stream_bytes); i++)
        stream_bytes[i] = (char)((state = state * 1664525 + 1013904223) >> 24);
}

void program_names_prepare(void)
{
    static const unsigned char rest[4] = {OP_SPAWN, OP_SLEEP, OP_SCOPE, OP_GROUP};
    int i, slots = 0;

    if (names[0][0])
        return;
    for (i = 0; i < MOST_STATEMENTS; i++) {
        snprintf(places[2 * i], sizeof(places[0]), "%d", i);
        snprintf(places[2 * i + 1], sizeof(places[0]), "%d.", i);
        snprintf(names[i], sizeof(names[0]), "t%d", i);
    }
    for (i = 0; i < OPS; i++) {
        memset(weighted + slots, i, operations[i].weight);
        slots += operations[i].weight;
    }
    for (i = slots; i < SLOTS; i++)
        weighted[i] = rest[i % 4];
    make_stream_data();
}

const char *place_of(int statement, bool close)
{
    return places[2 * statement + close];
}

int place_number(const char *where)
{
    uintptr_t offset = (uintptr_t)where - (uintptr_t)places;

    return offset < sizeof(places) ? (int)(offset / sizeof(places[0])) : -1;
}

const char *name_of(int statement)
{
    return names[statement];
}

int name_number(const char *name)
{
    int number = 0;

    if (!*name)
        return -1;
    if (*name++ != 't' || !*name)
        return -2;
    for (; *name; name++)
        number = number * 10 + *name - '0';
    return number;
}

/* ---- For whoever makes programs ---- */

unsigned program_bytes(void)
{
    program_names_prepare();
    return SLOTS;
}

enum op program_op(unsigned byte, unsigned *operands, bool *block)
{
    enum op op = weighted[byte % SLOTS];

    *operands = operations[op].operands;
    *block = operations[op].block;
    return op;
}

unsigned program_needs(enum op op)
{
    return operations[op].needs;
}

/* ---- Operands ---- */

int64_t duration_of(unsigned char operand)
{
    static const int64_t durations[16] = {1, 2, 3, 1, 2, 5, 4, 8, 0, 1, 2, 3, 13, -1, OSR_NEVER, 5};

    return durations[operand % 16];
}

int64_t grace_of(unsigned char operand)
{
    static const int64_t graces[8] = {1, 2, 3, 5, 8, 4, 0, 13};

    return graces[operand % 8];
}

int64_t moment_of(unsigned char operand, int64_t now)
{
    int64_t after = duration_of(operand);

    if (operand & 16)
        return operand >> 5; /* absolute, and so likely to coincide with others */
    return after == OSR_NEVER ? OSR_NEVER : now + after;
}

int64_t stretched(const struct statement *at, int64_t duration)
{
    return at->stretch > 0 && duration > 0 && duration != OSR_NEVER ? 1000 * duration + at->stretch : duration;
}

int64_t moment_in(const struct statement *at, unsigned char operand, int64_t now)
{
    int64_t after = moment_of(operand, 0);

    if (operand & 16)
        return stretched(at, after);
    return after == OSR_NEVER ? OSR_NEVER : now + stretched(at, after);
}

int code_of(unsigned char operand)
{
    static const int codes[8] = {EIO, ENOENT, EPIPE, EBADMSG, EIO, ETIMEDOUT, ENODATA, EEXIST};

    return -codes[operand % 8];
}

int bare_code_of(unsigned char operand)
{
    return operand % 4 == 3 ? -ECANCELED : code_of(operand / 4);
}

enum form form_of(const struct statement *at)
{
    static const enum form forms[8] = {FORM_TIMEOUT, FORM_MOVE_ON, FORM_PLAIN,   FORM_SHIELD,
                                       FORM_TIMEOUT, FORM_SHIELD,  FORM_MOVE_ON, FORM_UNLIMITED};

    return forms[at->a & 7];
}

unsigned spawn_options_of(const struct statement *at)
{
    static const unsigned char options[32] = {
        0, WITH_HANDLE, 0, WITH_HANDLE, EAGER, DAEMON, WITH_RESULT, WITH_OUTCOME,
        0, WITH_HANDLE, 0, WITH_HANDLE, EAGER | WITH_HANDLE, DAEMON | WITH_HANDLE, DAEMON | EAGER, WITH_OUTCOME | EAGER,
        0, WITH_HANDLE, 0, WITH_HANDLE, WITH_HANDLE | WITH_OUTCOME, WITH_HANDLE | WITH_RESULT, DAEMON | WITH_OUTCOME, 0,
        0, 0, 0, 0, 0, 0, 0, EAGER | DAEMON | WITH_HANDLE | WITH_RESULT | WITH_OUTCOME};

    return options[at->b & 31];
}

int64_t until_of(const struct statement *at, int64_t now)
{
    static const int64_t durations[8] = {OSR_NEVER, OSR_NEVER, OSR_NEVER, 1, 2, 5, 0, -1};
    int64_t after = durations[at->b >> 5];

    return after == OSR_NEVER ? OSR_NEVER : now + after;
}

enum settling settling_of(const struct statement *at)
{
    static const enum settling settlings[8] = {COMPLETE, COMPLETE, COMPLETE, FAIL, FAIL, CANCEL, RENEW, RENEW};

    return settlings[at->b & 7];
}

enum moment when_of(const struct statement *at)
{
    static const enum moment moments[8] = {SOON, SOON, SOON, LATER, LATER, AT, ON_DONE, ON_DONE};

    return moments[at->a & 7];
}

enum stream_end end_of(const struct statement *at)
{
    bool reads = at->op == OP_READ || at->op == OP_READABLE || (at->op == OP_FD_CLOSE && at->a & 2);

    if (at->a >> 4 == 15)
        return NO_END;
    return reads != (at->a >> 4 == 14 && at->op != OP_FD_CLOSE) ? READS_FROM : WRITES_TO;
}

unsigned size_of(const struct statement *at)
{
    static const struct {
        unsigned char pages, halves;
        short more;
    } sizes[16] = {{0, 0, 1}, {0, 0, 100}, {1, 0, 0},  {0, 1, 0}, {0, 0, 1},  {1, 1, 0}, {1, 0, -1}, {0, 0, 3},
                   {1, 0, 0}, {1, 0, 1},   {2, 0, 99}, {0, 1, 1}, {0, 0, 50}, {2, 0, 0}, {0, 0, 0},  {0, 0, 2}};

    return sizes[at->b & 15].pages * stream_room() + sizes[at->b & 15].halves * stream_room() / 2 + sizes[at->b & 15].more;
}

unsigned stream_room(void)
{
    static unsigned page;

    if (!page)
        page = (unsigned)sysconf(_SC_PAGESIZE);
    return page < MOST_PAGE ? page : MOST_PAGE;
}

const char *stream_data(unsigned number)
{
    return stream_bytes + number % 251;
}

uint64_t stream_hash(const char *bytes, size_t size)
{
    uint64_t hash = size, next;

    for (; size >= sizeof(next); bytes += sizeof(next), size -= sizeof(next)) {
        memcpy(&next, bytes, sizeof(next));
        hash = (hash ^ next) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (; size > 0; size--)
        hash = (hash ^ (unsigned char)*bytes++) * 0x100000001b3u;
    return hash;
}

unsigned times_of(const struct statement *at)
{
    static const unsigned char times[8] = {2, 3, 1, 4, 9, 5, 12, 150};

    return times[at->a & 7];
}

/* ---- Reading ---- */

struct reader {
    struct program *program;
    unsigned at;
};

/* The next eight bytes, the first one lowest; behind the end come zeros. */
static uint64_t look_at_bytes(const struct reader *reader)
{
    const struct program *program = reader->program;
    uint64_t bytes = 0;

    if (program->size - reader->at >= sizeof(bytes))
        memcpy(&bytes, program->bytes + reader->at, sizeof(bytes));
    else if (program->size > reader->at)
        memcpy(&bytes, program->bytes + reader->at, program->size - reader->at);
    return le64toh(bytes);
}

static void pass(struct reader *reader, unsigned bytes)
{
    unsigned left = reader->program->size - reader->at;

    reader->at += bytes < left ? bytes : left;
}

static unsigned char take(struct reader *reader)
{
    struct program *program = reader->program;

    return reader->at < program->size ? program->bytes[reader->at++] : 0;
}

/* Options that are switched off are left out. */
static void apply_to_options(struct statement *at, unsigned off)
{
    if (at->op == OP_GATHER) /* it has no other options of a group */
        at->a &= off & NO_POLICIES ? 0 : 0x0f;
    if (at->op == OP_SCOPE) {
        if (off & NO_SHIELDS && (form_of(at) == FORM_SHIELD || form_of(at) == FORM_UNLIMITED))
            at->a &= (unsigned char)~7;
        if (off & NO_TIME)
            at->a = (unsigned char)((at->a & ~7) | (form_of(at) == FORM_SHIELD ? 7 : 2));
        if (off & NO_CLEANUPS)
            at->a &= (unsigned char)~0x60;
    }
    if (at->op == OP_GROUP) {
        if (off & NO_POLICIES)
            at->a &= (unsigned char)~0x1f;
        if (off & NO_CLEANUPS)
            at->a &= (unsigned char)~0x60;
    }
    if ((at->op == OP_SPAWN || at->op == OP_START) && off & NO_HANDLES)
        at->b = 0;
}

static void read_block(struct reader *reader, int owner, unsigned count);

/* The statement without its block. What random bytes say cannot be guessed, and a branch would mostly go wrong: so all that
 * may be there is looked at, and then as much passed over as is. Switched-off operations become yields. */
static const struct operation *read_head(struct reader *reader, struct statement *at)
{
    /* With errors switched off, what is no more than them. */
    static const unsigned char failures[2][FAILURES] = {
        {PASS_ON, SWALLOW, WRAP, LOOK_AT, REPLACE, TAKE_RAISE}, {PASS_ON, SWALLOW, PASS_ON, LOOK_AT, PASS_ON, PASS_ON}};
    static const uint16_t masks[3] = {0, 0xff, 0xffff};
    unsigned off = reader->program->features;
    uint64_t bytes = look_at_bytes(reader);
    unsigned op = weighted[bytes % SLOTS], unusual = bytes / SLOTS % 2, byte, choice, operands, on_failure;
    const struct operation *operation = &operations[op];

    operands = (unsigned)(bytes >> 8) & masks[operation->operands];
    at->a = (unsigned char)operands;
    at->b = (unsigned char)(operands >> 8);
    bytes >>= 8 + 8 * operation->operands;
    byte = (unsigned)bytes & (unusual ? 0xff : 0);
    choice = byte >= 215;
    on_failure = operation->risky == (byte < 140) ? SWALLOW : PASS_ON;
    on_failure = choice ? WRAP + (unsigned)(bytes >> 8 & 0xff) % (FAILURES - WRAP) : on_failure;
    at->on_failure = failures[(off & NO_ERRORS) != 0][on_failure];
    pass(reader, 1 + operation->operands + unusual + choice);
    at->op = (unsigned char)(operation->needs & off ? OP_YIELD : op);
    reader->program->has_queues |= operations[at->op].needs == NO_QUEUES;
    reader->program->streams |= (operations[at->op].needs == NO_STREAMS) * 1u << stream_of(at);
    return operation;
}

static void read_statement(struct reader *reader, int index)
{
    struct statement *at = &reader->program->statements[index];

    at->begin = reader->at;
    if (read_head(reader, at)->block) {
        at->length_at = reader->at;
        if (at->depth < MOST_DEPTH)
            read_block(reader, index, take(reader) % BLOCK_LENGTHS);
        apply_to_options(at, reader->program->features);
        at->has_block = operations[at->op].block;
    }
    at->end = reader->at;
}

static void read_block(struct reader *reader, int owner, unsigned count)
{
    struct program *program = reader->program;
    short *link = &program->statements[owner].first;

    while (count-- > 0 && program->count < MOST_STATEMENTS) {
        int index = program->count++;
        struct statement *at = &program->statements[index];

        *at = (struct statement){.first = -1, .next = -1, .parent = (short)owner};
        at->depth = (short)(program->statements[owner].depth + 1);
        *link = (short)index;
        link = &at->next;
        read_statement(reader, index);
    }
}

void program_read(struct program *program, const unsigned char *bytes, size_t size)
{
    struct reader reader = {program, 0};
    struct statement *root;
    unsigned length;

    program_names_prepare();
    program->bytes = bytes;
    program->size = (unsigned)size;
    program->features = take(&reader);
    program->has_queues = program->picks_scopes = program->is_injected = false;
    program->streams = 0;
    program->tells_shape = size % 4 == 0; /* for one in four, as it takes long */
    program->statements[0] =
        (struct statement){.op = OP_SPAWN, .first = 1, .next = -1, .has_block = true, .parent = -1};
    root = &program->statements[1];
    *root = (struct statement){.op = OP_GROUP, .first = -1, .next = -1, .has_block = true};
    root->a = take(&reader);
    program->features |= (root->a & 0xe0u) << 3;
    root->a &= 0x1f; /* never a guard: so that the root says what it came to */
    apply_to_options(root, program->features);
    root->length_at = reader.at;
    program->count = 2;
    length = take(&reader);
    program->features |= length / ROOT_LENGTHS % 2 ? NO_STREAMS : 0;
    read_block(&reader, 1, length % ROOT_LENGTHS);
    program->used = reader.at;
}

/* ---- Telling ---- */

static void print_moment(FILE *stream, unsigned char operand)
{
    int64_t after = duration_of(operand);

    if (operand & 16)
        fprintf(stream, " at %d", operand >> 5);
    else if (after == OSR_NEVER)
        fprintf(stream, " never");
    else
        fprintf(stream, " at now %+d", (int)after);
}

static void print_duration(FILE *stream, int64_t duration)
{
    if (duration == OSR_NEVER)
        fprintf(stream, " without limit");
    else
        fprintf(stream, " %d", (int)duration);
}

static void print_group(FILE *stream, const struct statement *at)
{
    static const char *const policies[] = {"", ", collect", ", first done", ", first success"};

    fprintf(stream, "%s%s", policies[policy_of(at)], unwraps(at) ? ", unwrap" : "");
    if (limit_of(at))
        fprintf(stream, ", limit %d", limit_of(at));
    if (guarded(at))
        fprintf(stream, ", guard");
}

static void print_scope(FILE *stream, const struct statement *at)
{
    static const char *const forms[] = {"timeout", "move on", "shield", "plain", "shield unlimited"};

    fprintf(stream, " %s", forms[form_of(at)]);
    if (form_of(at) == FORM_SHIELD)
        print_duration(stream, grace_of(at->b));
    else if (form_of(at) < FORM_SHIELD && by_moment(at))
        print_moment(stream, at->b);
    else if (form_of(at) < FORM_SHIELD)
        print_duration(stream, duration_of(at->b));
    if (guarded(at))
        fprintf(stream, ", guard");
}

static void print_spawn(FILE *stream, const struct statement *at)
{
    static const char *const words[] = {"handle", "eager", "daemon", "result", "outcome"};
    unsigned options = spawn_options_of(at), i;

    if (at->a % 8)
        fprintf(stream, " into group -%u", at->a % 8u);
    for (i = 0; i < 5; i++)
        if (options >> i & 1)
            fprintf(stream, ", %s", words[i]);
    if (copies(at))
        fprintf(stream, ", copy");
}

static void print_select(FILE *stream, const struct statement *at)
{
    unsigned i;

    for (i = 0; i < cases_of(at); i++)
        fprintf(stream, " %s %u,", case_puts(at, i) ? "put" : "get", case_queue(at, i));
    if (until_of(at, 0) == OSR_NEVER)
        fprintf(stream, " without limit");
    else
        fprintf(stream, " until now %+d", (int)until_of(at, 0));
}

static void print_call(FILE *stream, const struct statement *at)
{
    static const char *const moments[] = {" soon", " after", "", " when future is done:"};

    fprintf(stream, "%s", moments[when_of(at)]);
    if (when_of(at) == LATER)
        print_duration(stream, duration_of(at->a >> 3));
    else if (when_of(at) == AT)
        print_moment(stream, at->a >> 3);
    else if (when_of(at) == ON_DONE)
        fprintf(stream, " %u", (at->a >> 3) % FUTURES);
}

static void print_deed(FILE *stream, const struct statement *at)
{
    static const char *const deeds[] = {"sets event",   "gives to semaphore", "completes future", "fails future",
                                        "cancels scope", "reads key",         "comes again",      "unshields scope"};

    fprintf(stream, ": %s %u", deeds[deed_of(at)], at->b >> 3);
}

static void print_transfer(FILE *stream, const struct statement *at)
{
    static const char *const ends[] = {"its reading end", "its writing end", "no descriptor"};
    enum stream_end usual = at->op == OP_READ || at->op == OP_READABLE ? READS_FROM : WRITES_TO;

    if (at->op == OP_OUTSIDER)
        fprintf(stream, " %s", outsider_puts(at) ? "writes" : "reads");
    if (operations[at->op].operands > 1)
        fprintf(stream, " %u bytes,", size_of(at));
    fprintf(stream, " stream %u", stream_of(at));
    if (at->op != OP_OUTSIDER && (at->op == OP_FD_CLOSE || end_of(at) != usual))
        fprintf(stream, ", %s", ends[end_of(at)]);
}

static void print_operands(FILE *stream, const struct statement *at)
{
    switch (at->op) {
    case OP_SLEEP:
        print_duration(stream, duration_of(at->a));
        break;
    case OP_SLEEP_UNTIL:
        print_moment(stream, at->a);
        break;
    case OP_RETURN:
        fprintf(stream, " %d", at->a % 4);
        break;
    case OP_FAIL:
    case OP_FATAL:
        fprintf(stream, " %d", code_of(at->a));
        break;
    case OP_BARE:
        fprintf(stream, " %d", bare_code_of(at->a));
        break;
    case OP_DEADLINE:
        fprintf(stream, " -%u", at->a);
        print_moment(stream, at->b);
        break;
    case OP_GROUP:
        print_group(stream, at);
        break;
    case OP_SCOPE:
        print_scope(stream, at);
        break;
    case OP_SPAWN:
    case OP_START:
        print_spawn(stream, at);
        break;
    case OP_REPEAT:
        fprintf(stream, " %u times", times_of(at));
        break;
    case OP_DEFER:
        print_duration(stream, grace_of(at->a));
        break;
    case OP_SELECT:
    case OP_TRY_SELECT:
        print_select(stream, at);
        break;
    case OP_SETTLE:
        fprintf(stream, " %u: %s", at->a % FUTURES,
                (const char *[]){"complete", "fail", "cancel", "make anew"}[settling_of(at)]);
        break;
    case OP_GATHER:
        print_group(stream, at);
        fprintf(stream, ", %u tasks%s", gathered_of(at),
                keeps_results(at) ? ", results" : keeps_outcomes(at) ? ", outcomes" : "");
        break;
    case OP_CALL:
        print_call(stream, at);
        print_deed(stream, at);
        break;
    case OP_POST:
        print_deed(stream, at);
        break;
    case OP_OFFLOAD:
        fprintf(stream, " a job that %s%s",
                (const char *[]){"gives 0 or more", "fails", "checks", "gives -ECANCELED"}[work_of(at)],
                may_be_left(at) ? ", which may be left behind" : "");
        break;
    case OP_READ:
    case OP_WRITE:
    case OP_WRITE_ALL:
    case OP_READABLE:
    case OP_WRITABLE:
    case OP_FD_CLOSE:
    case OP_OUTSIDER:
        print_transfer(stream, at);
        break;
    case OP_UNDEFER:
    case OP_CALL_BACK:
    case OP_FIRE:
    case OP_POST_CLOSE:
    case OP_CANCEL:
    case OP_CANCEL_TASK:
    case OP_UNSHIELD:
    case OP_JOIN:
    case OP_STATE:
    case OP_RELEASE:
    case OP_ASK:
    case OP_NEXT:
        fprintf(stream, " -%u", at->a);
        break;
    default:
        if (operations[at->op].operands > 0)
            fprintf(stream, " %u", at->a % (operations[at->op].needs == NO_QUEUES ? QUEUES : 2u));
        if (operations[at->op].operands > 1)
            fprintf(stream, ", %u", at->b);
    }
}

static void print_statement(const struct program *program, int index, FILE *stream)
{
    static const char *const failures[] = {"",         " (swallow)",      " (wrap)", " (look)",
                                           " (replace)", " (take, raise)"};
    const struct statement *at = &program->statements[index];
    int child;

    fprintf(stream, "%4d %*s%s", index, 2 * at->depth, "", operations[at->op].name);
    print_operands(stream, at);
    fprintf(stream, "%s\n", failures[at->on_failure]);
    for (child = at->first; at->has_block && child >= 0; child = program->statements[child].next)
        print_statement(program, child, stream);
}

void program_print(const struct program *program, FILE *stream)
{
    unsigned i;

    print_statement(program, 1, stream);
    fprintf(stream, "     schedule:");
    for (i = program->size; i > program->used; i--)
        fprintf(stream, " %u", program->bytes[i - 1]);
    fprintf(stream, "\n");
}
