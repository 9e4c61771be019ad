/*
 * Measures all workloads, round after round, and prints what it measured:
 *
 *     make bench                       (on one core)
 *     make bench BENCH='3'             three rounds instead of seven
 *     make bench BENCH='7 nested'      only workloads that have a row with "nested" in its name
 */
#include "bench.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { ROUNDS = 7, MOST_ROUNDS = 1000, MOST_WORKLOADS = 64 };

struct measured {
    const struct workload *workload;
    double *values; /* of its first row in all rounds, then of the second, and so on */
    int code;       /* why it could not be done, or 0 */
};

struct bench {
    struct measured all[MOST_WORKLOADS];
    int count, rounds;
};

#if defined(__clang__)
#define COMPILER __VERSION__ /* names clang */
#else
#define COMPILER "gcc " __VERSION__
#endif

#ifdef NDEBUG
#define BUILD "for release (-O2 -DNDEBUG)"
#else
#define BUILD "with assertions (-O2)"
#endif

/* ---- Measuring ---- */

static bool wanted(const struct workload *workload, const char *part)
{
    int i;

    for (i = 0; i < MOST_ROWS && workload->rows[i].name; i++)
        if (!part || strstr(workload->rows[i].name, part))
            return true;
    return false;
}

static void add(struct bench *bench, const struct workload *workload, const char *part)
{
    for (; workload->round; workload++) {
        struct measured *measured = &bench->all[bench->count];

        if (!wanted(workload, part) || bench->count == MOST_WORKLOADS)
            continue;
        measured->workload = workload;
        measured->values = calloc((size_t)(MOST_ROWS * bench->rounds), sizeof(*measured->values));
        if (!measured->values)
            abort();
        bench->count++;
    }
}

static void measure(struct measured *measured, int round, int rounds)
{
    double results[MOST_ROWS] = {0};
    int rc = measured->workload->round(results), i;

    if (rc < 0)
        measured->code = rc;
    for (i = 0; i < MOST_ROWS; i++)
        measured->values[i * rounds + round] = results[i];
}

static void measure_all(struct bench *bench)
{
    bool watched = isatty(STDERR_FILENO);
    int round, i;

    for (round = 0; round < bench->rounds; round++) {
        if (watched)
            fprintf(stderr, "\rround %d of %d ", round + 1, bench->rounds);
        for (i = 0; i < bench->count; i++)
            if (bench->all[i].code == 0)
                measure(&bench->all[i], round, bench->rounds);
    }
    if (watched)
        fprintf(stderr, "\r                    \r");
}

/* ---- Printing ---- */

static int compare(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;

    return (first > second) - (first < second);
}

/* With as many digits as mean something. */
static const char *number(double value, char text[32])
{
    double size = fabs(value);

    snprintf(text, 32, "%.*f", size < 9.995 ? 2 : size < 99.95 ? 1 : 0, value);
    return text;
}

static void print_row(const struct row *row, double *values, int rounds)
{
    char median[32], least[32], most[32], spread[72];

    qsort(values, (size_t)rounds, sizeof(*values), compare);
    snprintf(spread, sizeof(spread), "%s - %s", number(values[0], least), number(values[rounds - 1], most));
    number((values[(rounds - 1) / 2] + values[rounds / 2]) / 2, median);
    printf("%-62s %9s  %-17s %-13s %s\n", row->name, median, spread, row->unit, row->target ? row->target : "");
}

static void print_workload(const struct measured *measured, int rounds)
{
    int i;

    for (i = 0; i < MOST_ROWS && measured->workload->rows[i].name; i++)
        if (measured->code < 0)
            printf("%-62s %9s  %s\n", measured->workload->rows[i].name, "-", osr_strerror(measured->code));
        else
            print_row(&measured->workload->rows[i], &measured->values[i * rounds], rounds);
}

/* The processor's name as the kernel tells it; "an unknown processor" where it does not. */
static const char *processor(char text[256])
{
    FILE *file = fopen("/proc/cpuinfo", "re");

    strcpy(text, "an unknown processor");
    if (!file)
        return text;
    for (char line[256]; fgets(line, sizeof(line), file);) {
        const char *colon = strchr(line, ':');

        if (colon && strncmp(line, "model name", strlen("model name")) == 0) {
            snprintf(text, 256, "%.*s", (int)strcspn(colon + 1 + strspn(colon + 1, " "), "\n"),
                     colon + 1 + strspn(colon + 1, " "));
            break;
        }
    }
    fclose(file);
    return text;
}

static void print_machine(int rounds)
{
    struct utsname system;
    cpu_set_t cores;
    char text[256];

    uname(&system);
    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof(cores), &cores);
    printf("\nTarget: what a row was to reach on the machine where the targets were set; elsewhere it is no measure, and a miss\n"
           "is no failure. In brackets: what the raw limits took there.\n");
    printf("Medians of %d rounds on %s, using %d of its %ld cores, under %s %s; built " BUILD " by %s.\n", rounds,
           processor(text), CPU_COUNT(&cores), sysconf(_SC_NPROCESSORS_ONLN), system.sysname, system.release, COMPILER);
}

static void print_all(const struct bench *bench)
{
    int i;

    printf("%-62s %9s  %-17s %-13s %s\n\n", "workload", "median", "min - max", "unit", "target");
    for (i = 0; i < bench->count; i++)
        print_workload(&bench->all[i], bench->rounds);
    print_machine(bench->rounds);
}

int main(int count, char **arguments)
{
    const struct workload *const tables[] = {bench_raw,      bench_tasks, bench_sleepers, bench_scopes,
                                             bench_failures, bench_sync,  bench_threads, bench_kit};
    static struct bench bench;
    size_t i;

    bench.rounds = count > 1 ? atoi(arguments[1]) : ROUNDS;
    if (bench.rounds < 1 || bench.rounds > MOST_ROUNDS || count > 3) {
        fprintf(stderr, "usage: bench [ROUNDS [PART-OF-A-NAME]]\n");
        return 2;
    }
    for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        add(&bench, tables[i], count > 2 ? arguments[2] : NULL);
    if (bench.count == 0) {
        fprintf(stderr, "bench: no workload has '%s' in the name of a row; without a name all are measured\n",
                count > 2 ? arguments[2] : "");
        return 2;
    }
    measure_all(&bench);
    print_all(&bench);
    while (bench.count > 0)
        free(bench.all[--bench.count].values);
    return 0;
}
