/* The part of a target that is the same in all of them: the entry point for libFuzzer and AFL++, findings, runs. */
#include "target.h"

#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../blocks.h"

unsigned wrong;
FILE *story;
void (*on_finding)(const char *where);

/* ---- Inputs at random ---- */

/* splitmix64 */
unsigned draw(uint64_t *state, unsigned n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % n);
}

size_t make_input(unsigned long seed, unsigned long run, unsigned char bytes[MOST_BYTES])
{
    uint64_t state = (uint64_t)seed * 0x2545f4914f6cdd1du + run;
    size_t size, i;

    (void)draw(&state, 1);
    if (target.generate)
        return target.generate(&state, bytes, MOST_BYTES);
    size = draw(&state, (unsigned)target.longest + 1);
    for (i = 0; i < size; i++)
        bytes[i] = (unsigned char)draw(&state, 256);
    return size;
}

/* ---- The entry point ---- */

enum { WARM_UPS = 300 };

void __afl_coverage_discard(void) __attribute__((weak)); /* only under AFL++ */

static bool warm;

/* With `.debug`, by which all is looked at after each look at the world: that takes a quarter of the time, so one in eight
 * inputs is run so. */
static bool closely;

/* In a forked child. */
static void cool(void)
{
    warm = false;
}

static void run_one(const unsigned char *bytes, size_t size)
{
    refuse_at = refused = 0;
    refuse_onwards = false;
    closely = size % 8 == 0;
    target.run(bytes, size);
}

/* What the first runs do once and for all, such as making stacks, is no coverage of an input. AFL++ forks, and in the
 * child it has to be done again. */
static void warm_up(void)
{
    static unsigned char bytes[MOST_BYTES];
    unsigned long run;

    for (run = 0; run < WARM_UPS && !wrong; run++)
        run_one(bytes, make_input(0, run, bytes));
    warm = true;
    __afl_coverage_discard();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *asked = getenv("OSR_FUZZ_WRONG");

    (void)argc, (void)argv;
    (void)pthread_atfork(NULL, NULL, cool);
    if (asked)
        wrong = (unsigned)strtoul(asked, NULL, 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 28); /* what a run gives back is for the next */
    if (target.begin)
        target.begin();
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    if (__afl_coverage_discard && !warm)
        warm_up();
    run_one(bytes, size);
    return 0;
}

/* ---- Findings ---- */

void found(const char *where, const char *format, ...)
{
    va_list list;

    fprintf(stderr, "%s: ", where);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\n");
    if (story)
        fflush(story);
    if (on_finding)
        on_finding(where);
    abort();
}

/* ---- Runs ---- */

unsigned refuse_at, refused;
bool refuse_onwards, lets_leak;

static void *resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    if (size > 0 && refuse_at > 0 && --refuse_at == 0) {
        refuse_at = refuse_onwards;
        refused++;
        return NULL;
    }
    return blocks_resize(memory, size);
}

const struct osr_allocator failing_memory = {.resize = resize};

static void diagnose(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    if (kind == OSR_DIAGNOSIS_LEAK && lets_leak)
        return;
    found("the library", "diagnosis %d: %.*s", (int)kind, (int)strcspn(text, "\n"), text);
}

/* First come, first served. With this, each run's clock begins anew. */
static unsigned choose(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)kind, (void)n, (void)what;
    return 0;
}

static struct osr_runner *runners[2]; /* the second one for what runs closely */
static pid_t runs_in; /* this process; AFL++ forks, and a runner is of no use in a child */

static void free_runner(void)
{
    if (runs_in != getpid())
        return;
    osr_runner_free(runners[false]);
    osr_runner_free(runners[true]);
}

static void make_runner(void)
{
    int rc = osr_runner_new(&runners[closely], .clock = OSR_CLOCK_SIMULATED, .debug = closely, .slow_step = OSR_NEVER,
                            .no_overflow_handler = true, .allocator = &failing_memory, .diagnose = diagnose,
                            .choose = choose, .inject = true);

    check(rc == 0, "there is no runner: %d", rc);
    if (!runs_in)
        atexit(free_runner);
    runs_in = getpid();
}

int run_simulated(const struct osr_routine *routine, void *arg)
{
    int rc = runners[closely] ? osr_runner_run_here(runners[closely], routine, arg, OSR_HERE) : -EPERM;

    if (rc != -EPERM)
        return rc;
    make_runner();
    return osr_runner_run_here(runners[closely], routine, arg, OSR_HERE);
}
