/*
 * Torture: programs that make every call of the library are run with each allocation and each system call of the library
 * failing in turn, with each code that it may fail with, once and from there on; interrupted, told to come again, cut
 * short; and with two such faults, drawn at random. The run must come to an end with a code that says what has failed and
 * leave nothing behind, and the next run must be as good as new.
 *
 *     torture [--quick] [--pairs N] [--seed N] [--sites FILE] [--only NAME] [--verbose]
 *
 * Quick: each call fails with one code only, once and from there on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../fuzz/hybrid.h"
#include "faults.h"
#include "programs.h"

/* More calls than any program makes when nothing fails: it goes round in circles. */
enum { MANY_CALLS = 1000 };

/* A trial, and what became of all of them: shared with the children. */
static struct torture {
    const char *mode;
    struct fault faults[FAULTS];
    char diagnosis[512]; /* the first that was made */
    char complaint[1024];
    bool reached;          /* the first of the calls that were to fail */
    unsigned long calls, first, singles, quiet, onwards, pairs; /* how many there were */
    unsigned long told;                                  /* trials that gave another code than without faults */
} *torture;

static unsigned long most_pairs = 100, seed = 1;
static bool verbose, quick;

static const struct fault none[FAULTS];

/* ---- One run ---- */

static void diagnose(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_UNWATCHED && torture->faults[0].at > 0)
        return; /* that is the fault that was ordered */
    if (!torture->diagnosis[0])
        snprintf(torture->diagnosis, sizeof(torture->diagnosis), "%d: %s", (int)kind, text);
}

static int run(const struct program *program, const struct fault faults[FAULTS])
{
    const struct osr_run_options options = {.size = sizeof(options),
                                            .where = OSR_HERE,
                                            .clock = program->world == WORLD_SIMULATED ? OSR_CLOCK_SIMULATED
                                                                                       : OSR_CLOCK_REAL,
                                            .debug = true,
                                            .slow_step = OSR_NEVER, /* a busy machine is no fault */
                                            .diagnose = diagnose};
    int rc;

    if (program->world == WORLD_JUMPS)
        hybrid_begin();
    faults_begin(faults);
    rc = program->run(program, &options);
    faults_end();
    hybrid_end();
    return rc;
}

/* What a run of a process that has threads leaves is seen when those have ended. */
static void settle(const struct program *program)
{
    if (program->world == WORLD_REAL && osr_pool_shutdown(osr_s(5), NULL, NULL) < 0)
        diagnose(NULL, OSR_DIAGNOSIS_MISUSE, "jobs are stuck");
    osr_error_clear();
}

/* Of those that a run could have: one that is left has any number, not the lowest. */
static int count_descriptors(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- Judging ---- */

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...)
{
    va_list list;

    if (torture->complaint[0])
        return;
    va_start(list, format);
    vsnprintf(torture->complaint, sizeof(torture->complaint), format, list);
    va_end(list);
}

/* What a failing call is told as, where that is not its own code. */
static const struct {
    const char *call;
    int code; /* 0: any */
    int told;
    const char *why;
} known[] = {
    {"mprotect", ENOMEM, EAGAIN, "there are too many mappings"},
    {"memory", 0, EAGAIN, "no thread could be started"},
    {"send", 0, EPIPE, "whoever had it called has given up"},
    {"send", 0, OSR_EWORKER, "a worker cannot say what has become of it"},
    {"recv", EAGAIN, OSR_EWORKER, "of a worker that has died, what it said is there at once"},
    {"epoll_create1", 0, EBADF, "whether it is the run's own loop cannot be asked"},
    {"eventfd", 0, EBADF, "whether it is the run's own loop cannot be asked"},
    {"epoll_ctl", 0, EBADF, "whether it is the run's own loop cannot be asked"},
    {"epoll_ctl", ENOSPC, ENOMEM, "one more descriptor cannot be watched"},
};

static bool has_cause(const struct osr_error *error, int code)
{
    while (error && osr_error_code(error) != -code)
        error = osr_error_cause(error);
    return error != NULL;
}

/* Whether the error, a leaf of it, or what is behind one of these, has the code. */
static bool says(int rc, const struct osr_error *error, int code)
{
    struct osr_leaves walk;
    const struct osr_error *leaf;

    if (rc == -code || has_cause(error, code))
        return true;
    osr_leaves_init(&walk, error);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        if (has_cause(leaf, code))
            return true;
    return false;
}

static bool says_as_known(int rc, const struct osr_error *error, unsigned kind, unsigned pick)
{
    size_t i;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].call, faults_name(kind)) == 0 && says(rc, error, known[i].told) &&
            (!known[i].code || known[i].code == faults_code(kind, pick)))
            return true;
    return false;
}

static bool says_pick(int rc, const struct osr_error *error, unsigned kind, unsigned pick)
{
    if (pick < faults_loud_picks(kind) && says(rc, error, faults_code(kind, pick)))
        return true;
    return says_as_known(rc, error, kind, pick);
}

/* Whether it says any of what has failed. */
static bool says_what_failed(int rc, const struct osr_error *error)
{
    unsigned kind, pick;

    for (kind = 0; faults_name(kind); kind++)
        for (pick = 0; pick < faults_picks(kind); pick++)
            if (faults_board->hits[kind] >> pick & 1 && says_pick(rc, error, kind, pick))
                return true;
    return false;
}

static bool is_quiet(unsigned kind, unsigned pick)
{
    return pick >= faults_loud_picks(kind);
}

/* Whether the code that the run gave says what has failed. */
static void judge_code(const struct program *program, int rc)
{
    const struct osr_error *error = osr_error_last();

    if (rc == program->gives)
        return;
    torture->told++;
    if (rc > 0 || osr_strcode(rc)[0] == '?')
        complain("it gave %d", rc);
    else if (!says_what_failed(rc, error)) {
        char text[800];

        osr_error_format(error, text, sizeof(text));
        complain("it gave %s, which does not say what has failed:\n%s", osr_strcode(rc), text);
    }
}

/* The places of workers' errors are kept as long as the process lives. */
enum { PLACES = 16 };

/* What is held between two runs. */
struct holdings {
    long blocks;
    int descriptors;
};

static struct holdings count_holdings(void)
{
    return (struct holdings){faults_blocks(), count_descriptors()};
}

static void judge_holdings(const struct program *program, const struct holdings *before)
{
    struct holdings now = count_holdings();

    if (now.blocks > before->blocks + (program->world == WORLD_REAL ? PLACES : 0))
        complain("%ld blocks of memory are left", now.blocks - before->blocks);
    if (now.descriptors != before->descriptors)
        complain("there are %d descriptors, not %d", now.descriptors, before->descriptors);
}

/* ---- Trials ---- */

static void print_faults(FILE *stream)
{
    static const char *const forms[] = {"", " and from there on", " and everything from there on", " (of those for memory)"};
    unsigned i;

    for (i = 0; i < FAULTS; i++) {
        const struct fault *fault = &torture->faults[i];

        if (fault->at)
            fprintf(stream, " call %lu (%s), answer %u%s;", fault->at, faults_name(faults_board->log[fault->at % LOGGED]),
                    fault->pick, forms[fault->form]);
    }
}

static void try_faults(const struct program *program, const char *mode, const struct holdings *before)
{
    int rc;

    torture->mode = mode;
    torture->diagnosis[0] = '\0';
    alarm(10);
    rc = run(program, torture->faults);
    torture->reached = (torture->faults[0].form == ONCE_FOR_MEMORY ? faults_board->asked_for_memory : faults_board->asked) >=
                       torture->faults[0].at;
    judge_code(program, rc);
    settle(program);
    if (torture->diagnosis[0] && (!program->diagnosed || !strstr(torture->diagnosis, program->diagnosed)))
        complain("diagnosis %s", torture->diagnosis);
    rc = run(program, none);
    settle(program);
    if (rc != program->gives)
        complain("the next run gave %s", osr_strcode(rc));
    if (faults_board->asked > MANY_CALLS)
        complain("the next run made %lu calls", faults_board->asked);
    judge_holdings(program, before);
    alarm(0);
    if (torture->complaint[0])
        _exit(1);
}

static void set_fault(unsigned i, unsigned long at, unsigned pick, int form)
{
    torture->faults[i].at = at;
    torture->faults[i].pick = pick;
    torture->faults[i].form = form;
}

static void try_call(const struct program *program, unsigned long at, unsigned kind, const struct holdings *before)
{
    unsigned pick;

    for (pick = 0; pick < (quick ? 1 : faults_picks(kind)); pick++) {
        set_fault(0, at, pick, ONCE);
        try_faults(program, "one fault", before);
        torture->singles++;
        torture->quiet += is_quiet(kind, pick);
        if (is_quiet(kind, pick))
            continue;
        set_fault(0, at, pick, SAME_FROM_THERE_ON);
        try_faults(program, "from there on", before);
        torture->onwards++;
    }
    if (quick)
        return;
    set_fault(0, at, 0, ALL_FROM_THERE_ON);
    try_faults(program, "everything from there on", before);
    torture->onwards++;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void try_pair(const struct program *program, unsigned long calls, uint64_t *state, const struct holdings *before)
{
    unsigned i;

    for (i = 0; i < FAULTS; i++)
        set_fault(i, 1 + next_random(state) % calls, (unsigned)(next_random(state) % 6), ONCE);
    try_faults(program, "two faults", before);
    torture->pairs++;
}

/* The first run of a process, which makes what all others find. */
static void torture_first_run(const struct program *program)
{
    struct holdings before = {.blocks = LONG_MAX / 2, .descriptors = count_descriptors()};

    try_faults(program, "first run", &before);
}

/* In a process of its own. */
static void torture_program(const struct program *program)
{
    static unsigned char log[LOGGED];
    struct holdings before;
    unsigned long calls, at, pair;
    uint64_t state = seed;
    int rc, i;

    torture->mode = "nothing fails";
    for (i = 0; i < 2; i++) {
        rc = run(program, none);
        if (rc != program->gives)
            complain("it gave %s", osr_strcode(rc));
        settle(program);
    }
    if (torture->complaint[0])
        _exit(1);
    before = count_holdings();
    calls = faults_board->asked < LOGGED ? faults_board->asked : LOGGED - 1;
    memcpy(log, faults_board->log, sizeof(log));
    torture->calls += calls;
    for (at = 1; at <= calls; at++)
        try_call(program, at, log[at], &before);
    /* A process costs as much as ten other runs. */
    for (pair = 0; pair < (program->world == WORLD_REAL ? most_pairs / 10 : most_pairs) && calls > 0; pair++)
        try_pair(program, calls, &state, &before);
}

/* ---- All of them ---- */

/* Runs `body` in a process of its own; says whether all was well. */
static bool apart(const struct program *program, void (*body)(const struct program *program))
{
    struct rlimit no_core = {0, 0};
    int status = 0;
    pid_t pid;

    torture->complaint[0] = '\0';
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        body(program);
        exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    if (status == 0)
        return true;
    fprintf(stderr, "%s: %s:", program->name, torture->mode);
    print_faults(stderr);
    if (torture->complaint[0])
        fprintf(stderr, " %s\n", torture->complaint);
    else
        fprintf(stderr, " the process dies, or does not come to an end: status %#x\n", status);
    return false;
}

/* Each call of a first run, until one is not reached any more; with processes and threads not every run makes as many. */
static bool survives_at_first(const struct program *program, int form)
{
    unsigned left = program->world == WORLD_REAL ? 30 : 1;
    unsigned long at;

    memset(torture->faults, 0, sizeof(torture->faults));
    for (at = 1; left > 0 && at < LOGGED; at++) {
        set_fault(0, at, 0, form);
        if (!apart(program, torture_first_run))
            return false;
        torture->first++;
        left -= !torture->reached;
    }
    return true;
}

static bool survives(const struct program *program)
{
    if (!quick && (!survives_at_first(program, ONCE) || !survives_at_first(program, ONCE_FOR_MEMORY)))
        return false;
    memset(torture->faults, 0, sizeof(torture->faults));
    return apart(program, torture_program);
}

static void write_sites(const char *path)
{
    FILE *file = fopen(path, "w");
    unsigned i, k;

    if (!file) {
        perror(path);
        return;
    }
    for (i = 0; i < faults_board->site_count; i++) {
        for (k = 0; k < FRAMES && faults_board->sites[i][k]; k++)
            fprintf(file, "%s%#zx", k ? " " : "", faults_board->sites[i][k]);
        fputc('\n', file);
    }
    fclose(file);
}

static void print_kinds(void)
{
    unsigned kind;

    for (kind = 0; faults_name(kind); kind++)
        printf("  %-18s failed %lu times\n", faults_name(kind), faults_board->failed[kind]);
}

int main(int argc, char **argv)
{
    const char *only = NULL, *sites = NULL;
    struct timespec began, ended;
    unsigned failed = 0, tried = 0;
    size_t i;
    int at;

    for (at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[at], "--quick") == 0)
            quick = true, most_pairs = 0;
        else if (strcmp(argv[at], "--pairs") == 0 && argv[at + 1])
            most_pairs = strtoul(argv[++at], NULL, 0);
        else if (strcmp(argv[at], "--seed") == 0 && argv[at + 1])
            seed = strtoul(argv[++at], NULL, 0);
        else if (strcmp(argv[at], "--sites") == 0 && argv[at + 1])
            sites = argv[++at];
        else if (strcmp(argv[at], "--only") == 0 && argv[at + 1])
            only = argv[++at];
        else
            return fprintf(stderr, "torture: what is %s?\n", argv[at]), 2;
    }
    faults_open();
    torture = mmap(NULL, sizeof(*torture), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (torture == MAP_FAILED)
        return perror("torture"), 2;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (i = 0; i < program_count; i++) {
        struct timespec now;

        if (only && strcmp(only, programs[i].name) != 0)
            continue;
        tried++;
        failed += !survives(&programs[i]);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (verbose)
            printf("%6.1f s %s\n", (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9,
                   programs[i].name);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (sites)
        write_sites(sites);
    if (verbose)
        print_kinds();
    printf("%u programs with %lu calls that can fail: %lu single faults, %lu of them not to be felt, %lu from there on, "
           "%lu in a first run, %lu pairs; %lu of those runs failed, as they should; %.1f s\n"
           "%lu injected faults\n",
           tried, torture->calls, torture->singles, torture->quiet, torture->onwards, torture->first, torture->pairs, torture->told,
           (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9,
           torture->singles + torture->onwards + torture->first + torture->pairs);
    if (failed)
        fprintf(stderr, "%u programs did not survive\n", failed);
    return failed > 0;
}
