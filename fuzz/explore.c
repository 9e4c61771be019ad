/*
 * All small programs, in all orders, with a cancellation at each point of each, against the model:
 *
 *     explorer [--seed N] [--out DIRECTORY]   those of up to two statements a task, and a share of the others
 *     explorer --full [--share I/N]           all of them, or the I-th of N parts
 *     explorer --canaries                     with models that are wrong on purpose, which must be found out
 *     explorer --random N [--seed N]          what the reduction leaves, of random programs of the fuzzer
 *     explorer FILE                           tells the story of what was found
 *
 * What "all" is stands in README.md, and is said by the vocabularies below.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "9_test/orders.h"

#include "generate.h"
#include "interpreter/interpreter.h"
#include "model/model.h"

/* ---- What can be said ---- */

struct word {
    unsigned char op, a, b;
    bool strict; /* its failure leaves the block, as is not usual for it */
};

enum { WORDS = 12, THE_GROUP = 59 /* as the scope that was opened so many before the last, of up to six */ };

struct vocabulary {
    const char *name;
    struct word words[WORDS]; /* ended by OPS */
    unsigned char spawn;      /* options */
};

#define CORE                                                                     \
    {OP_SLEEP, 0, 0, 0}, {OP_CANCEL, THE_GROUP, 0, 0}, {OP_SCOPE, 0, 0, 0}, {OP_SCOPE, 3, 1, 0}
#define END {OPS, 0, 0, 0}

/* Each of them: sleep 1, cancel the group, timeout 1 { }, shield 2 { }; and two or three words of its own. */
static const struct vocabulary vocabularies[] = {
    {"failures", {CORE, {OP_YIELD, 0, 0, 0}, {OP_FAIL, 0, 0, 0}, END}, 0},
    {"scopes", {CORE, {OP_CANCEL, 0, 0, 0}, {OP_SCOPE, 1, 0, 0}, {OP_SLEEP, 1, 0, 0}, END}, 0},
    {"tasks", {CORE, {OP_CANCEL_TASK, 0, 0, 0}, {OP_JOIN, 0, 0, 1}, {OP_FAIL, 0, 0, 0}, END}, 1},
    {"events", {CORE, {OP_WAIT, 0, 0, 0}, {OP_SET, 0, 0, 0}, END}, 0},
    {"locks", {CORE, {OP_LOCK, 0, 0, 0}, {OP_YIELD, 0, 0, 0}, END}, 0},
    {"semaphores", {CORE, {OP_ACQUIRE, 0, 0, 0}, {OP_GIVE, 0, 0, 0}, END}, 0},
    {"barriers", {CORE, {OP_MEET, 0, 0, 0}, {OP_YIELD, 0, 0, 0}, END}, 0},
    {"hand-over", {CORE, {OP_PUT, 0, 0, 0}, {OP_GET, 0, 0, 0}, END}, 0},
    {"buffered", {CORE, {OP_PUT, 4, 0, 0}, {OP_GET, 4, 0, 0}, END}, 0},
    {"streams", {CORE, {OP_READ, 0, 0, 0}, {OP_WRITE, 0, 0, 0}, {OP_FD_CLOSE, 2, 0, 0}, END}, 0},
};
enum { VOCABULARIES = sizeof(vocabularies) / sizeof(vocabularies[0]) };

/* ---- Bodies: all of up to three statements ---- */

enum { MOST_BODIES = 4096, BODY_BYTES = 24, STRICT = 140 };

struct body {
    unsigned char bytes[BODY_BYTES]; /* its length, then the statements */
    unsigned char size, statements;
};

static struct body bodies[MOST_BODIES];
static unsigned body_count, body_from[5]; /* those of n statements begin there */

static unsigned char byte_of(enum op op)
{
    unsigned byte, bytes = program_bytes(), operands;
    bool block;

    for (byte = 0; byte < bytes; byte++)
        if (program_op(byte, &operands, &block) == op)
            return (unsigned char)byte;
    abort();
}

static unsigned operands_of(enum op op, bool *block)
{
    unsigned operands;

    (void)program_op(byte_of(op), &operands, block);
    return operands;
}

/* A body: this word, with `inner` inside it if it has a block, then the statements of `rest`. */
static void add_body(const struct word *word, const struct body *inner, const struct body *rest)
{
    struct body *body = &bodies[body_count++];
    bool block;
    unsigned operands = operands_of(word->op, &block);

    if (body_count == MOST_BODIES)
        abort();
    *body = (struct body){.bytes = {(unsigned char)(rest->bytes[0] + 1)}, .size = 1};
    body->bytes[body->size++] = (unsigned char)(byte_of(word->op) + (word->strict ? program_bytes() : 0));
    if (operands > 0)
        body->bytes[body->size++] = word->a;
    if (operands > 1)
        body->bytes[body->size++] = word->b;
    if (word->strict)
        body->bytes[body->size++] = STRICT;
    if (block)
        memcpy(body->bytes + body->size, inner->bytes, inner->size);
    body->size = (unsigned char)(body->size + (block ? inner->size : 0));
    memcpy(body->bytes + body->size, rest->bytes + 1, rest->size - 1u);
    body->size = (unsigned char)(body->size + rest->size - 1);
    body->statements = (unsigned char)(1 + rest->statements + (block ? inner->statements : 0));
}

/* What follows would never run. */
static bool ends_its_block(const struct word *word)
{
    return word->op == OP_FAIL;
}

/* A scope with nothing in it is as good as none; a lock without is not. */
static bool may_be_empty(const struct word *word)
{
    return word->op == OP_LOCK;
}

static void add_bodies_with(const struct word *word, unsigned statements)
{
    bool block;
    unsigned inner, i, k;

    (void)operands_of(word->op, &block);
    for (inner = 0; inner < statements; inner++) {
        unsigned rest = statements - 1 - inner;

        if ((!block && inner > 0) || (block && inner == 0 && !may_be_empty(word)) || (rest && ends_its_block(word)))
            continue;
        for (i = body_from[inner]; i < body_from[inner + 1]; i++)
            for (k = body_from[rest]; k < body_from[rest + 1]; k++)
                add_body(word, &bodies[i], &bodies[k]);
    }
}

static void make_bodies(const struct vocabulary *vocabulary)
{
    const struct word *word;
    unsigned statements;

    bodies[0] = (struct body){.bytes = {0}, .size = 1};
    body_count = 1;
    body_from[0] = 0;
    body_from[1] = 1;
    for (statements = 1; statements <= 3; statements++) {
        for (word = vocabulary->words; word->op != OPS; word++)
            add_bodies_with(word, statements);
        body_from[statements + 1] = body_count;
    }
}

/* ---- Programs ---- */

static unsigned char input[1 << 13];
static size_t program_size;

static void put_spawn(const struct vocabulary *vocabulary, const struct body *body)
{
    input[program_size++] = byte_of(OP_SPAWN);
    input[program_size++] = 0;
    input[program_size++] = vocabulary->spawn;
    memcpy(input + program_size, body->bytes, body->size);
    program_size += body->size;
}

/* The root's group, in which one or two tasks are spawned before the root goes on. */
static void make_program(const struct vocabulary *vocabulary, const struct body *one, const struct body *other,
                         const struct body *root)
{
    program_size = 0;
    input[program_size++] = 0;
    input[program_size++] = 0;
    input[program_size++] = (unsigned char)(root->bytes[0] + 1 + (other != NULL));
    put_spawn(vocabulary, one);
    if (other)
        put_spawn(vocabulary, other);
    memcpy(input + program_size, root->bytes + 1, root->size - 1u);
    program_size += root->size - 1u;
}

/* ---- One run ---- */

static struct program program;
static struct log expected, got;
static struct orders *orders;
static bool reduces;
static unsigned answers, points;
static bool is_cancelled, cancels;

/* Programs; their orders, the cancellation points in these, the runs in which one came; runs that came to the same as one
 * before; of programs that were also run without a reduction: how many, their orders, those that were left; all runs. */
static struct {
    unsigned long programs, schedules, points, cancelled, redundant, compared, plain, reduced, runs;
} total;

static bool is_asked(void *arg, unsigned kind)
{
    (void)arg;
    return kind != OSR_CHOICE_CANCEL || cancels;
}

/* The answers are noted from the back, where a program's schedule is read from. */
static unsigned choose(void *arg, enum osr_choice kind, unsigned n)
{
    unsigned answer = osri_kit_orders_choose(orders, kind, n);

    (void)arg;
    points += kind == OSR_CHOICE_CANCEL;
    is_cancelled |= kind == OSR_CHOICE_CANCEL && answer > 0;
    if (answers == sizeof(input) - program_size)
        abort();
    input[sizeof(input) - ++answers] = (unsigned char)answer;
    return answer;
}

static void touched(void *arg, enum osr_touch how, const void *object, uint64_t task)
{
    (void)arg;
    if (reduces)
        osri_kit_orders_touched(orders, how, object, task);
}

static void read_program(void)
{
    int i;

    program_read(&program, input, program_size);
    if (program.used != program_size)
        abort();
    program.is_injected = true;
    program.tells_shape = false;
    for (i = 0; i < program.count; i++)
        program.picks_scopes |= program.statements[i].op == OP_CANCEL && program.statements[i].a != THE_GROUP;
}

static const char *directory;
static bool is_quiet; /* what is found was put there */

static void write_input(void)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/explored", directory);
    file = fopen(path, "w");
    if (!file || fwrite(input, 1, program.size, file) != program.size)
        perror(path);
    else
        fprintf(stderr, "written: %s\n", path);
    if (file)
        fclose(file);
}

static void tell(const char *what)
{
    unsigned i, at = 0;

    if (is_quiet)
        return;
    if (directory)
        write_input();

    fprintf(stderr, "%s:\n", what);
    program_print(&program, stderr);
    while (at < expected.count && at < got.count && record_equal(&expected.records[at], &got.records[at]))
        at++;
    for (i = 0; i < at + 8 && i < expected.count; i++) {
        fprintf(stderr, "%s  %5u ", i == at ? "expected from here on:\n" : "", i);
        record_print(&expected.records[i], stderr);
    }
    for (i = at; i < at + 8 && i < got.count; i++) {
        fprintf(stderr, "%s  %5u ", i == at ? "got:\n" : "", i);
        record_print(&got.records[i], stderr);
    }
}

static bool is_same(void)
{
    unsigned i;

    for (i = 0; i < got.count && i < expected.count; i++)
        if (!record_equal(&got.records[i], &expected.records[i]))
            return false;
    return got.count == expected.count;
}

/* Runs the program along the next order, and lets the model do the same. */
static bool run_once(void)
{
    struct verdict verdict;

    total.runs++;
    answers = points = 0;
    is_cancelled = false;
    got.count = 0;
    osri_kit_orders_begin(orders);
    interpret(&program, WORLD_SIMULATED, NULL, &verdict);
    memmove(input + program_size, input + sizeof(input) - answers, answers);
    program.size = (unsigned)program_size + answers;
    if (model_run(&program, &expected) != MODEL_DONE) {
        tell("the model does not know");
        return false;
    }
    if (is_same() && !verdict.broken[0] && !osri_kit_orders_differ(orders))
        return true;
    tell(verdict.broken[0] ? verdict.broken : osri_kit_orders_differ(orders) ? "it does not do the same again"
                                                                             : "model and library differ");
    return false;
}

/* ---- Outcomes ---- */

/* What each task has seen, whatever the order was in which they did, and in which they were spawned. */
static uint64_t outcome(void)
{
    static uint64_t seen[MOST_TASKS + 2];
    static short names[MOST_TASKS + 2];
    uint64_t all = 0;
    unsigned i;

    memset(seen, 0, sizeof(seen));
    memset(names, 0, sizeof(names));
    for (i = 0; i < got.count; i++) {
        const struct record *record = &got.records[i];
        uint64_t *hash = &seen[record->task];

        if (record->kind == RECORD_TRACE && record->what == OSR_TRACE_SPAWN)
            names[record->task] = record->name;
        if (record->kind == RECORD_CHOICE || record->kind == RECORD_TRACE)
            continue;
        *hash = (*hash ^ record->kind ^ (uint64_t)record->what << 8 ^ (uint64_t)(uint16_t)record->place << 16 ^
                 (uint64_t)(uint32_t)record->code << 32) * 0x9e3779b97f4a7c15u;
        *hash = (*hash ^ *hash >> 29 ^ (uint64_t)record->value ^ (uint64_t)(uint16_t)record->name << 48) * 0xbf58476d1ce4e5b9u;
    }
    for (i = 0; i < MOST_TASKS + 2; i++)
        all += (seen[i] ^ (uint64_t)names[i]) * 0x94d049bb133111ebu;
    return all;
}

enum { MOST_OUTCOMES = 1 << 15 };

struct outcomes {
    uint64_t hashes[MOST_OUTCOMES];
    unsigned count;
    unsigned slots[MOST_OUTCOMES / 2]; /* those of the table that are used */
};

/* Where it stands, or would. */
static unsigned slot_of(const struct outcomes *outcomes, uint64_t hash)
{
    unsigned i = hash % MOST_OUTCOMES;

    while (outcomes->hashes[i] && outcomes->hashes[i] != hash)
        i = (i + 1) % MOST_OUTCOMES;
    return i;
}

static void add_outcome(struct outcomes *outcomes)
{
    uint64_t hash = outcome();
    unsigned i;

    hash += hash == 0;
    i = slot_of(outcomes, hash);
    if (outcomes->hashes[i])
        return;
    if (outcomes->count == MOST_OUTCOMES / 2)
        abort();
    outcomes->hashes[i] = hash;
    outcomes->slots[outcomes->count++] = i;
}

static void forget_outcomes(struct outcomes *outcomes)
{
    while (outcomes->count > 0)
        outcomes->hashes[outcomes->slots[--outcomes->count]] = 0;
}

static bool are_the_same(const struct outcomes *some, const struct outcomes *others)
{
    unsigned i;

    for (i = 0; i < some->count; i++)
        if (!others->hashes[slot_of(others, some->hashes[some->slots[i]])])
            return false;
    return some->count == others->count;
}

/* ---- All orders ---- */

static struct orders *new_orders(bool reduce, bool in_place)
{
    return osri_kit_orders_new(
        &(const struct orders_options){.reduce = reduce, .root_cancel_in_place = in_place, .is_asked = is_asked});
}

static void explore_with(struct orders *which, bool reduce)
{
    orders = which;
    reduces = reduce;
    osri_kit_orders_restart(orders);
}

/* Runs it in all orders that differ, without and with each cancellation. */
static bool explore_program(void)
{
    static struct orders *reduced;

    if (!reduced)
        reduced = new_orders(true, true);
    cancels = true;
    explore_with(reduced, true);
    do {
        if (!run_once())
            return false;
        total.redundant += osri_kit_orders_redundant(orders);
        if (osri_kit_orders_redundant(orders))
            continue;
        total.schedules += !is_cancelled;
        total.points += is_cancelled ? 0 : points;
        total.cancelled += is_cancelled;
    } while (osri_kit_orders_next(orders));
    total.programs++;
    return true;
}

/* All runs, up to so many; 0: there are more. */
static unsigned long gather(struct orders *which, bool reduce, unsigned long most, struct outcomes *outcomes)
{
    unsigned long runs = 0;

    forget_outcomes(outcomes);
    explore_with(which, reduce);
    do {
        if (runs++ == most || !run_once())
            return 0;
        add_outcome(outcomes);
    } while (osri_kit_orders_next(orders));
    return runs;
}

/* The same without the reduction: what comes of it must be the same. */
static bool compare_program(bool with_cancels, unsigned long most)
{
    static struct orders *plain, *reduced;
    static struct outcomes from_plain, from_reduced;
    unsigned long runs, fewer;

    if (!plain) {
        plain = new_orders(false, false);
        reduced = new_orders(true, false);
    }
    cancels = with_cancels;
    runs = gather(plain, false, most, &from_plain);
    if (runs == 0)
        return true;
    fewer = gather(reduced, true, ~0ul, &from_reduced);
    total.compared += !with_cancels;
    total.plain += with_cancels ? 0 : runs;
    total.reduced += with_cancels ? 0 : fewer;
    if (are_the_same(&from_plain, &from_reduced))
        return true;
    fprintf(stderr, "%lu orders have %u outcomes, the %lu that are left have %u:\n", runs, from_plain.count, fewer,
            from_reduced.count);
    program_print(&program, stderr);
    return false;
}

/* ---- All programs ---- */

/* Which programs: of bodies of up to so many statements, every `step`-th from `first` on; and of them, every so-many-th is
 * compared with what comes of it without the reduction. */
struct part {
    unsigned statements;
    unsigned long first, step, compare;
};

enum { MOST_PLAIN = 20000 };

static bool do_program(const struct part *part, unsigned long number)
{
    read_program();
    if (!explore_program())
        return false;
    return number / part->step % part->compare != 0 ||
           (compare_program(false, MOST_PLAIN) && compare_program(true, MOST_PLAIN));
}

/* One task beside the root, or two, which are named in one of the two ways that come to the same. */
static bool do_vocabulary(const struct vocabulary *vocabulary, const struct part *part, unsigned long *number)
{
    unsigned one, other, root, count;
    unsigned long next;

    make_bodies(vocabulary);
    count = body_from[part->statements + 1];
    for (one = 1; one < count; one++)
        for (other = 0; other <= one; other++) {
            next = (part->first + part->step - *number % part->step) % part->step;
            *number += count;
            for (; next < count; next += part->step) {
                root = (unsigned)next;
                make_program(vocabulary, &bodies[one], other ? &bodies[other] : NULL, &bodies[root]);
                if (!do_program(part, *number - count + next))
                    return false;
            }
        }
    return true;
}

static bool do_part(const struct part *part)
{
    unsigned long number = 0;
    unsigned i;

    for (i = 0; i < VOCABULARIES; i++)
        if (!do_vocabulary(&vocabularies[i], part, &number))
            return false;
    return true;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* so that a busy machine says the same */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int explore_part(const char *name, const struct part *part)
{
    double began = seconds_now(), took;

    memset(&total, 0, sizeof(total));
    if (!do_part(part))
        return 1;
    took = seconds_now() - began;
    printf("%s: %lu programs, %lu orders, %lu cancellation points in them, %lu orders with a cancellation: all as "
           "expected\n"
           "    %lu runs in %.1f s (%.0f a second), %lu of them for nothing; %lu programs also in all of %lu orders, %lu "
           "of them left: the same outcomes\n"
           "    %lu schedules, %lu cancellations injected, %.1f simulated years\n",
           name, total.programs, total.schedules, total.points, total.cancelled, total.runs, took,
           (double)total.runs / took, total.redundant, total.compared, total.plain, total.reduced,
           total.runs, total.cancelled, interpreter_simulated / NANOSECONDS_A_YEAR);
    fflush(stdout);
    return 0;
}

/* ---- Random programs ---- */

enum { RANDOM_BYTES = 40, RANDOM_PLAIN = 3000 };

/* Statements whose own memory, which the tasks share, the interpreter does not tell of: a future that is made anew, the
 * calls and posts that there are, and so on. */
static bool shares_in_secret(void)
{
    int i;

    for (i = 0; i < program.count; i++)
        if (program.statements[i].op >= OP_SELECT)
            return true;
    return false;
}

/* Any statements, as in the fuzzer, but few: only what the reduction leaves is looked at. In a process of its own, as the
 * library stops programs that nothing can end. */
static bool compare_apart(unsigned long seed, unsigned long number, bool tells, int to)
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        program_size = generate(seed, number, input, RANDOM_BYTES);
        program_read(&program, input, program_size);
        program_size = program.used < program_size ? program.used : program_size;
        if (!tells)
            (void)!freopen("/dev/null", "w", stderr);
        read_program();
        program.picks_scopes = true;
        if (shares_in_secret())
            _exit(0);
        memset(&total, 0, sizeof(total));
        status = !compare_program(false, RANDOM_PLAIN) || !compare_program(true, RANDOM_PLAIN);
        (void)!write(to, &total, sizeof(total));
        _exit(status);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && !(WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

static int compare_random(unsigned long seed, unsigned long count)
{
    unsigned long number, compared = 0, plain = 0, reduced = 0;
    int ends[2];

    if (pipe2(ends, O_NONBLOCK) < 0)
        return 1;
    for (number = 0; number < count; number++) {
        bool is_fine = compare_apart(seed, number, false, ends[1]);

        while (read(ends[0], &total, sizeof(total)) == sizeof(total)) {
            compared += total.compared;
            plain += total.plain;
            reduced += total.reduced;
        }
        if (is_fine)
            continue;
        fprintf(stderr, "random program %lu of seed %lu:\n", number, seed);
        (void)compare_apart(seed, number, true, ends[1]);
        return 1;
    }
    printf("%lu random programs in all of %lu orders, %lu of them left: the same outcomes\n", compared, plain, reduced);
    return 0;
}

/* ---- Canaries ---- */

/* Those that these programs can tell from the right one. */
static const enum model_error canaries[] = {
    WRONG_SKIPS_A_CHILD, WRONG_SHIELD_IGNORED,  WRONG_SHIELD_HIDES_ALL, WRONG_SIBLINGS_LIVE,    WRONG_SECOND_ERROR,
    WRONG_CUT_IS_ERROR,  WRONG_INNER_ABSORBS,   WRONG_IGNORED_CUT,      WRONG_DEADLINE_LATE,    WRONG_CUTS_FIRST,
    WRONG_LIFO_LOCK,     WRONG_CUT_STAYS_QUEUED, WRONG_BARGING,         WRONG_SETS_WAKE_ONE,    WRONG_BARRIER_KEEPS,
    WRONG_JOIN_CANCELED, WRONG_PRODUCER_SLEEPS, WRONG_TWICE,            WRONG_CLOSE_UNTOLD,     WRONG_TWO_READERS,
    WRONG_TIME_BEFORE_BYTES};

static int run_canaries(void)
{
    static const struct part few = {3, 0, 20011, ~0ul}, more = {3, 1, 2003, ~0ul};
    unsigned long most = 0;
    size_t i, missed = 0;

    is_quiet = true;
    for (i = 0; i < sizeof(canaries) / sizeof(canaries[0]); i++) {
        memset(&total, 0, sizeof(total));
        model_wrong = canaries[i];
        if (do_part(&few) && do_part(&more)) {
            fprintf(stderr, "wrong model %d was not found out\n", model_wrong);
            missed++;
        }
        most = total.programs > most ? total.programs : most;
    }
    model_wrong = WRONG_NOTHING;
    printf("%zu of %zu wrong models were found out, in at most %lu programs\n", i - missed, i, most);
    return missed > 0;
}

/* ---- One file ---- */

static unsigned follow(void *arg, enum osr_choice kind, unsigned n)
{
    (void)kind;
    return schedule_choose(arg, n);
}

static int tell_file(const char *path)
{
    static struct schedule schedule;
    static const struct interpreter_hooks along = {follow, NULL, &schedule};
    FILE *file = fopen(path, "r");
    struct verdict verdict;

    if (!file) {
        perror(path);
        return 2;
    }
    program_size = fread(input, 1, sizeof(input), file);
    fclose(file);
    program_read(&program, input, program_size);
    program.is_injected = true;
    program.tells_shape = false;
    schedule_begin(&schedule, &program);
    interpreter_hooks = &along;
    interpret(&program, WORLD_SIMULATED, NULL, &verdict);
    (void)model_run(&program, &expected);
    tell(is_same() && !verdict.broken[0] ? "all as expected" : verdict.broken[0] ? verdict.broken : "they differ");
    return !is_same() || verdict.broken[0];
}

int main(int argc, char **argv)
{
    static const struct interpreter_hooks hooks = {choose, touched, NULL};
    struct part small = {2, 0, 1, 20}, others = {3, 0, 2003, 20}, all = {3, 0, 1, 1000};
    unsigned long random = 0, seed = 1;
    bool is_full = false, is_canaries = false;
    char **at = argv + 1;

    (void)argc;
    interpreter_keeps = &got;
    for (; *at && strncmp(*at, "--", 2) == 0; at++) {
        if (strcmp(*at, "--full") == 0)
            is_full = true;
        else if (strcmp(*at, "--canaries") == 0)
            is_canaries = true;
        else if (strcmp(*at, "--seed") == 0 && at[1])
            others.first = (seed = strtoul(*++at, NULL, 0)) % others.step;
        else if (strcmp(*at, "--random") == 0 && at[1])
            random = strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--out") == 0 && at[1])
            directory = *++at;
        else if (strcmp(*at, "--share") == 0 && at[1] && sscanf(*++at, "%lu/%lu", &all.first, &all.step) == 2)
            continue;
        else
            return fprintf(stderr, "explorer: what is %s?\n", *at), 2;
    }
    if (*at)
        return tell_file(*at);
    interpreter_hooks = &hooks;
    if (random)
        return compare_random(seed, random);
    if (is_canaries)
        return run_canaries();
    if (is_full)
        return explore_part("up to three statements a task", &all);
    return explore_part("up to two statements a task", &small) ||
           explore_part("up to three, one in 2003", &others);
}
