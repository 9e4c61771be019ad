#include "check.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <osier/base.h>
#include <osier/debug.h>
#include <osier/run.h>

/* Inputs that are about to be checked: what the model says of them. */
static struct foreseen {
    const unsigned char *bytes; /* NULL: of none */
    enum model_verdict verdict;
    struct program program;
    struct log expected;
} foreseen[CHECK_AHEAD + 1]; /* the last one: for what nobody has foreseen */

static struct program *program = &foreseen[CHECK_AHEAD].program;
static struct log *expected = &foreseen[CHECK_AHEAD].expected;

/* Without its schedule. */
static struct program unscheduled;
static struct log expected_plainly;

bool check_hybrid, check_faults;
unsigned long check_faults_made;

static const struct log *expected_in(enum world world)
{
    return world == WORLD_PLAIN ? &expected_plainly : expected;
}

static void judge(struct finding *finding)
{
    const struct verdict *verdict = &finding->verdict;
    const struct record *wanted = &expected_in(finding->world)->records[verdict->at];

    if (verdict->broken[0]) {
        finding->outcome = CHECK_BROKEN;
        snprintf(finding->kind, sizeof(finding->kind), "%d: %.40s", finding->world, verdict->broken);
    } else if (verdict->differs) {
        finding->outcome = CHECK_DIFFERS;
        snprintf(finding->kind, sizeof(finding->kind), "%d: %d/%d: %d/%d %d/%d", finding->world, wanted->kind,
                 verdict->got.kind, wanted->what, verdict->got.what, wanted->code, verdict->got.code);
    }
}

/* A guest in a loop is never taken for stuck, and such a program would not end. */
static bool is_stuck(void)
{
    unsigned i;

    for (i = 0; i < expected->count; i++)
        if (expected->records[i].kind == RECORD_TRACE && expected->records[i].what == OSR_TRACE_CANCEL &&
            expected->records[i].code == -OSR_EDEADLOCK)
            return true;
    return false;
}

static void run_in(enum world world, struct finding *finding)
{
    finding->world = world;
    interpret(world == WORLD_PLAIN ? &unscheduled : program, world, expected_in(world), &finding->verdict);
    judge(finding);
}

/* Nobody answers there: so the program runs without its schedule, which is another run. */
static void run_plainly(struct finding *finding)
{
    struct plain_view view = {false};
    unsigned i, seen = 0;

    unscheduled = *program;
    unscheduled.size = unscheduled.used < unscheduled.size ? unscheduled.used : unscheduled.size;
    if (model_run(&unscheduled, &expected_plainly) != MODEL_DONE)
        return;
    for (i = 0; i < expected_plainly.count; i++) {
        expected_plainly.records[seen] = expected_plainly.records[i];
        seen += plain_sees(&view, &expected_plainly.records[seen]);
    }
    expected_plainly.count = seen;
    run_in(WORLD_PLAIN, finding);
}

static bool says(enum op op)
{
    int i;

    for (i = 0; i < program->count; i++)
        if (program->statements[i].op == op)
            return true;
    return false;
}

/* Whether several descriptors were ready at one look: which the simulation tells in the order in which they were first waited
 * for, and libev in that in which the system has found them. */
static bool has_ready_at_once(void)
{
    unsigned i;

    for (i = 0; i < expected->count; i++)
        if (expected->records[i].kind == RECORD_CHOICE && expected->records[i].what == OSR_CHOICE_EVENT)
            return true;
    return false;
}

/* Not with jobs: under libev they run on threads, of which nobody says which is first. Nor with posts beside streams, as the
 * descriptor that posts ring is ready at other looks there. And as a guest not with streams: libev looks whenever a turn is
 * over, and finds ready once more what who was woken has not read yet. (The networks of network.c have them there.) */
static void run_hybrid(struct finding *finding)
{
    if (says(OP_OFFLOAD) || (program->streams && (says(OP_POST) || has_ready_at_once())))
        return;
    run_in(WORLD_LIBEV, finding);
    if (finding->outcome == CHECK_FINE && !is_stuck() && !program->streams)
        run_in(WORLD_ATTACHED, finding);
}

/* Behind a shield, what has come otherwise than it was meant may wait for ever, and then the library stops the program. */
static bool has_shields(void)
{
    int i;

    for (i = 0; i < program->count; i++)
        if (program->statements[i].op == OP_SCOPE &&
            (form_of(&program->statements[i]) == FORM_SHIELD || form_of(&program->statements[i]) == FORM_UNLIMITED))
            return true;
    return false;
}

static void run_with_fault(struct finding *finding, unsigned long at, bool onwards)
{
    interpreter_fault.at = at;
    interpreter_fault.onwards = onwards;
    run_in(WORLD_ALONE, finding);
    interpreter_fault.at = 0;
    check_faults_made++;
    if (finding->outcome == CHECK_DIFFERS && finding->verdict.tells_fault)
        finding->outcome = CHECK_FINE;
}

/* In runs of their own, since a runner that is warm asks for hardly any memory. */
static void run_with_faults(struct finding *finding)
{
    unsigned long calls, at;

    run_in(WORLD_ALONE, finding);
    calls = interpreter_fault.asked;
    for (at = 1; at <= calls && finding->outcome == CHECK_FINE; at++) {
        run_with_fault(finding, at, false);
        if (finding->outcome == CHECK_FINE)
            run_with_fault(finding, at, true);
    }
}

static void run_again(struct finding *finding)
{
    run_in(WORLD_ALONE, finding);
    if (finding->outcome == CHECK_FINE)
        return;
    finding->outcome = CHECK_UNSTEADY;
    snprintf(finding->kind, sizeof(finding->kind), "unsteady");
}

static enum model_verdict foresee(struct foreseen *at, const unsigned char *bytes, size_t size)
{
    program_read(&at->program, bytes, size);
    return model_run(&at->program, &at->expected);
}

void check_ahead(unsigned which, const unsigned char *bytes, size_t size)
{
    foreseen[which].bytes = bytes;
    foreseen[which].verdict = foresee(&foreseen[which], bytes, size);
}

/* What the model says of it, which is where `program` and `expected` point then. */
static enum model_verdict look_up(const unsigned char *bytes, size_t size)
{
    struct foreseen *at = foreseen;

    while (at < foreseen + CHECK_AHEAD && at->bytes != bytes)
        at++;
    program = &at->program;
    expected = &at->expected;
    if (at == foreseen + CHECK_AHEAD)
        return foresee(at, bytes, size);
    at->bytes = NULL; /* once */
    return at->verdict;
}

void check_input(const unsigned char *bytes, size_t size, bool twice, struct finding *finding)
{
    finding->outcome = CHECK_FINE;
    finding->kind[0] = '\0';
    finding->verdict.count = 0;
    if (look_up(bytes, size) != MODEL_DONE) {
        finding->outcome = CHECK_SKIPPED;
        return;
    }
    (void)interpreter_prepare();
    run_in(WORLD_SIMULATED, finding);
    if (finding->outcome == CHECK_FINE && (twice || size % 16 == 0))
        run_plainly(finding);
    if (finding->outcome == CHECK_FINE && twice)
        run_again(finding);
    if (finding->outcome == CHECK_FINE && check_faults && !has_shields())
        run_with_faults(finding);
    if (finding->outcome == CHECK_FINE && check_hybrid)
        run_hybrid(finding);
}

/* ---- Telling ---- */

enum { BEFORE = 25, AFTER = 8 };

static void print_range(const char *heading, const struct log *log, unsigned from, unsigned to, FILE *stream)
{
    unsigned i;

    fprintf(stream, "%s\n", heading);
    for (i = from; i < to && i < log->count; i++) {
        fprintf(stream, "  %5u ", i);
        record_print(&log->records[i], stream);
    }
}

void check_tell(const unsigned char *bytes, size_t size, FILE *stream)
{
    static struct log got;
    static const char *const worlds[] = {"", ", where nobody answers or observes", ", in a run of its own", ", under libev", ", as a guest in a loop of libev's"};
    struct finding finding;
    unsigned at;

    got.count = 0;
    interpreter_keeps = &got;
    program_read(program, bytes, size);
    program_print(program, stream);
    fflush(stream);
    check_input(bytes, size, true, &finding);
    interpreter_keeps = NULL;
    at = finding.verdict.at;
    switch (finding.outcome) {
    case CHECK_SKIPPED:
        fprintf(stream, "The model cannot say: the program would be stopped, or is too large.\n");
        return;
    case CHECK_FINE:
        print_range("All as expected:", expected, 0, expected->count, stream);
        return;
    case CHECK_UNSTEADY:
        fprintf(stream, "As expected on a runner, but not in a run of its own.\n");
        break;
    default:
        break;
    }
    if (finding.verdict.broken[0])
        fprintf(stream, "Broken%s: %s\n", worlds[finding.world], finding.verdict.broken);
    if (finding.verdict.differs) {
        const struct log *log = expected_in(finding.world);

        print_range("What went before, as expected:", log, at > BEFORE ? at - BEFORE : 0, at, stream);
        print_range("Expected:", log, at, at + AFTER, stream);
        fprintf(stream, "Got%s:", worlds[finding.world]);
        print_range("", &got, at, at + AFTER, stream);
    }
}

/* ---- Shrinking ---- */

/* In a child process, so that an input of which the process dies can be made smaller too. */
static void check_apart(const unsigned char *bytes, size_t size, struct finding *finding)
{
    int ends[2], status;
    pid_t pid;

    *finding = (struct finding){.outcome = CHECK_DIES};
    snprintf(finding->kind, sizeof(finding->kind), "dies");
    if (pipe(ends) < 0)
        return;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(5);
        signal(SIGABRT, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        (void)!freopen("/dev/null", "w", stderr);
        check_input(bytes, size, true, finding);
        (void)!write(ends[1], finding, sizeof(*finding));
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], finding, sizeof(*finding)) != sizeof(*finding)) {
        *finding = (struct finding){.outcome = CHECK_DIES};
        snprintf(finding->kind, sizeof(finding->kind), "dies");
    }
    close(ends[0]);
    (void)waitpid(pid, &status, 0);
}

struct shrinking {
    unsigned char *bytes;
    size_t size;
    unsigned char tried[1 << 16];
    bool dies;
    enum outcome_of_check outcome;
    char kind[96];
};

static bool still(struct shrinking *shrinking, size_t size)
{
    struct finding finding;

    if (shrinking->dies)
        check_apart(shrinking->tried, size, &finding);
    else
        check_input(shrinking->tried, size, true, &finding);
    if (finding.outcome != shrinking->outcome || strcmp(finding.kind, shrinking->kind) != 0)
        return false;
    memcpy(shrinking->bytes, shrinking->tried, size);
    shrinking->size = size;
    return true;
}

static void begin_try(struct shrinking *shrinking)
{
    memcpy(shrinking->tried, shrinking->bytes, shrinking->size);
    program_read(program, shrinking->bytes, shrinking->size);
}

/* Deletes the bytes from `begin` to `end`. */
static size_t cut(struct shrinking *shrinking, unsigned begin, unsigned end)
{
    memmove(shrinking->tried + begin, shrinking->tried + end, shrinking->size - end);
    return shrinking->size - (end - begin);
}

/* Takes the statement out of its block, whole or with its own block left in its place. */
static bool delete_statement(struct shrinking *shrinking, int index)
{
    struct statement at, parent;
    unsigned char *length;

    begin_try(shrinking);
    at = program->statements[index];
    parent = program->statements[at.parent];
    length = &shrinking->tried[parent.length_at];
    if (at.end > shrinking->size || at.begin == at.end ||
        *length % (at.parent == 1 ? ROOT_LENGTHS : BLOCK_LENGTHS) == 0)
        return false;
    --*length;
    return still(shrinking, cut(shrinking, at.begin, at.end));
}

static bool unwrap_statement(struct shrinking *shrinking, int index)
{
    struct statement at, parent;
    unsigned char *length, modulus, inner;

    begin_try(shrinking);
    at = program->statements[index];
    if (!at.has_block || at.first < 0 || at.end > shrinking->size)
        return false;
    parent = program->statements[at.parent];
    modulus = at.parent == 1 ? ROOT_LENGTHS : BLOCK_LENGTHS;
    length = &shrinking->tried[parent.length_at];
    inner = shrinking->tried[at.length_at] % BLOCK_LENGTHS;
    if (*length % modulus - 1 + inner >= modulus)
        return false;
    *length = (unsigned char)(*length % modulus - 1 + inner);
    return still(shrinking, cut(shrinking, at.begin, at.length_at + 1));
}

static bool shrink_statements(struct shrinking *shrinking)
{
    bool smaller = false;
    int i;

    begin_try(shrinking);
    for (i = program->count - 1; i >= 2; i--) {
        begin_try(shrinking);
        if (i < program->count && (delete_statement(shrinking, i) || unwrap_statement(shrinking, i)))
            smaller = true;
    }
    return smaller;
}

static bool lower_byte(struct shrinking *shrinking, size_t at)
{
    static const unsigned char lower[] = {0, 1, 2, 4, 8, 16, 64};
    unsigned char was = shrinking->bytes[at];
    size_t i;

    for (i = 0; i < sizeof(lower) && lower[i] < was; i++) {
        begin_try(shrinking);
        shrinking->tried[at] = lower[i];
        if (still(shrinking, shrinking->size))
            return true;
    }
    begin_try(shrinking);
    shrinking->tried[at]--;
    return was > 0 && still(shrinking, shrinking->size);
}

static bool shrink_bytes(struct shrinking *shrinking)
{
    bool smaller = false;
    size_t i;

    begin_try(shrinking);
    while (shrinking->size > program->used) {
        begin_try(shrinking);
        if (!still(shrinking, cut(shrinking, program->used, program->used + 1)))
            break;
        smaller = true;
    }
    for (i = 1; i < shrinking->size; i++)
        smaller |= lower_byte(shrinking, i);
    for (i = shrinking->size; i-- > 2;) {
        begin_try(shrinking);
        smaller |= still(shrinking, cut(shrinking, (unsigned)i, (unsigned)i + 1));
    }
    return smaller;
}

size_t check_shrink(unsigned char *bytes, size_t size)
{
    static struct shrinking shrinking;
    struct finding finding;
    int rounds = 40;
    bool smaller;

    if (size > sizeof(shrinking.tried))
        return size;
    check_apart(bytes, size, &finding);
    if (finding.outcome <= CHECK_SKIPPED)
        return size;
    shrinking.bytes = bytes;
    shrinking.size = size;
    shrinking.dies = finding.outcome == CHECK_DIES;
    shrinking.outcome = finding.outcome;
    memcpy(shrinking.kind, finding.kind, sizeof(shrinking.kind));
    do
        smaller = (int)shrink_statements(&shrinking) + (int)shrink_bytes(&shrinking) > 0;
    while (smaller && --rounds > 0);
    return shrinking.size;
}
