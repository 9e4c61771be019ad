/*
 * The fuzzer as a plain program:
 *
 *     fuzz FILE...                      tells the story of each input, and whether it is as expected
 *     fuzz --campaign [--seed N] [--runs N] [--seconds N] [--out DIRECTORY]
 *     fuzz --corpus DIRECTORY --runs N  makes a small corpus: inputs that do something new
 *     fuzz --shrink FILE                makes it smaller, in place
 *     fuzz --check FILE...              silently, with a status
 *     fuzz --canaries [--seed N]        with models that are wrong on purpose, which must all be found out
 *     fuzz --networks [--seed N] [--first N] [--runs N]
 *     fuzz --trio [--wrong N] [--orders N] [--seed N] [--first N] [--runs N]   writes programs for on_trio.py
 *     fuzz --trio-canaries              which models that are wrong on purpose Trio can find out
 *
 * --hybrid before any of these: each input runs under libev as well; --faults: also with each allocation failing.
 */
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "found.h"
#include "generate.h"
#include "network.h"
#include "trio.h"

enum { MOST_BYTES = 1 << 14 };

static unsigned char input[MOST_BYTES];
static size_t input_size;

/* Programs that are made, and foreseen, before they run. */
static unsigned char ahead[CHECK_AHEAD][1024];
static size_t ahead_sizes[CHECK_AHEAD];
enum { NOT_BEGUN = CHECK_AHEAD };
static unsigned begun = NOT_BEGUN; /* the one that runs */
static unsigned long begun_run, begun_seed; /* its number, and whose it is */

/* ---- Findings ---- */

static const char *directory; /* NULL: found_directory() */

static uint64_t hash_of_input(void)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i < input_size; i++)
        hash = (hash ^ input[i]) * 0x100000001b3u;
    return hash;
}

static void write_input(const char *to, const char *kind)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s%016llx", to ? to : found_directory(), kind, (unsigned long long)hash_of_input());
    file = fopen(path, "w");
    if (!file || fwrite(input, 1, input_size, file) != input_size)
        perror(path);
    else
        fprintf(stderr, "written: %s\n", path);
    if (file)
        fclose(file);
}

static void report(void)
{
    write_input(directory, "found-");
    input_size = check_shrink(input, input_size);
    write_input(directory, "small-");
    check_tell(input, input_size, stderr);
}

/* Of a campaign: the program that runs. */
static void take_input(void)
{
    if (begun == NOT_BEGUN)
        return;
    input_size = ahead_sizes[begun];
    memcpy(input, ahead[begun], input_size);
}

/* The process dies of the library: the input is saved, and made smaller in processes of their own. */
static void dying(int number)
{
    static struct program program;

    signal(SIGABRT, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    if (begun != NOT_BEGUN)
        fprintf(stderr, "program %lu of seed %lu: the process dies\n", begun_run, begun_seed);
    take_input();
    write_input(directory, "dies-");
    input_size = check_shrink(input, input_size);
    write_input(directory, "small-");
    program_read(&program, input, input_size); /* it cannot run here any more */
    program_print(&program, stderr);
    raise(number);
}

/* ---- Campaigns ---- */

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct campaign {
    unsigned long runs, seed, first;
    double seconds;
    const char *corpus;
};

static void look_ahead(const struct campaign *campaign, unsigned long first)
{
    unsigned k;

    for (k = 0; k < CHECK_AHEAD; k++)
        ahead_sizes[k] = generate(campaign->seed, first + k, ahead[k], sizeof(ahead[k]));
    for (k = 0; k < CHECK_AHEAD; k++)
        check_ahead(k, ahead[k], ahead_sizes[k]);
}

static int run_campaign(const struct campaign *campaign)
{
    double began = seconds_now(), took;
    unsigned long i, skipped = 0, records = 0;
    struct finding finding;

    for (i = 0; (campaign->runs == 0 || i < campaign->runs); i++) {
        if (i % 256 == 0)
            alarm(20); /* for an input that never ends */
        if (i % 256 == 0 && campaign->seconds > 0 && seconds_now() - began >= campaign->seconds)
            break;
        if (i % CHECK_AHEAD == 0)
            look_ahead(campaign, i);
        begun = i % CHECK_AHEAD;
        begun_run = i;
        begun_seed = campaign->seed;
        check_input(ahead[begun], ahead_sizes[begun], i % 64 == 0, &finding);
        skipped += finding.outcome == CHECK_SKIPPED;
        records += finding.verdict.count;
        if (finding.outcome <= CHECK_SKIPPED)
            continue;
        fprintf(stderr, "program %lu of seed %lu: %s\n", i, campaign->seed, finding.kind);
        take_input();
        report();
        return 1;
    }
    took = seconds_now() - began;
    printf("seed %lu: %lu programs in %.1f s (%.0f a second), %lu not compared, %.0f records each: all as expected\n"
           "    %.1f simulated years\n",
           campaign->seed, i, took, (double)i / took, skipped, i ? (double)records / (double)i : 0.0,
           interpreter_simulated / NANOSECONDS_A_YEAR);
    if (check_faults)
        printf("    %lu injected faults\n", check_faults_made);
    return 0;
}

/* ---- Canaries ---- */

enum { CANARY_RUNS = 3000000 };

/* How many programs it takes to find the wrong model out; 0 if it is not. */
static unsigned long find_out(enum model_error error, unsigned long seed)
{
    struct finding finding;
    unsigned long i;

    model_wrong = error;
    for (i = 0; i < CANARY_RUNS; i++) {
        if (i % 256 == 0)
            alarm(5); /* the library may wait where the model does not: found out as well */
        input_size = generate(seed, i, input, sizeof(input));
        check_input(input, input_size, false, &finding);
        if (finding.outcome > CHECK_SKIPPED)
            break;
    }
    model_wrong = WRONG_NOTHING;
    return i < CANARY_RUNS ? i + 1 : 0;
}

/* The same in a process of its own, as the library may stop the program where the model does not say so, which is
 * found out as well. */
static unsigned long find_out_apart(enum model_error error, unsigned long seed)
{
    unsigned long took = 0;
    int ends[2], status;
    pid_t pid;

    if (pipe(ends) < 0)
        return 0;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        (void)!freopen("/dev/null", "w", stderr);
        took = find_out(error, seed);
        (void)!write(ends[1], &took, sizeof(took));
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &took, sizeof(took)) != sizeof(took))
        took = 1;
    close(ends[0]);
    (void)waitpid(pid, &status, 0);
    return took;
}

static int run_canaries(unsigned long seed)
{
    unsigned long took, most = 0;
    double began = seconds_now();
    int i, missed = 0;

    for (i = 1; i < WRONGS; i++) {
        took = find_out_apart((enum model_error)i, seed);
        if (took == 0) {
            fprintf(stderr, "wrong model %d was not found out\n", i);
            missed++;
        }
        most = took > most ? took : most;
    }
    printf("%d of %d wrong models were found out, in at most %lu programs, %.1f s\n", WRONGS - 1 - missed, WRONGS - 1,
           most, seconds_now() - began);
    return missed > 0;
}

/* ---- A corpus ---- */

/* Inputs whose traces have a pair of neighbours that none before had. */
static int make_corpus(const struct campaign *campaign)
{
    static unsigned char seen[1 << 20];
    static struct log log;
    struct finding finding;
    unsigned long i;
    unsigned kept = 0, j;

    interpreter_keeps = &log;
    for (i = 0; i < campaign->runs; i++) {
        unsigned fresh = 0;

        input_size = generate(campaign->seed, i, input, sizeof(input));
        check_input(input, input_size, false, &finding);
        for (j = 1; finding.outcome == CHECK_FINE && j < log.count; j++) {
            const struct record *a = &log.records[j - 1], *b = &log.records[j];
            uint32_t key = (uint32_t)(a->kind * 31 + a->what * 7 + (uint32_t)a->code * 131 + b->kind * 1031 +
                                      b->what * 8191 + (uint32_t)b->code * 65537) * 2654435761u >> 12;

            fresh += !seen[key];
            seen[key] = 1;
        }
        if (fresh >= 3) {
            write_input(campaign->corpus, "");
            kept++;
        }
    }
    printf("%u inputs kept\n", kept);
    return 0;
}

/* ---- Files ---- */

static int read_input(const char *path)
{
    FILE *file = fopen(path, "r");

    if (!file) {
        perror(path);
        return -1;
    }
    input_size = fread(input, 1, sizeof(input), file);
    if (ferror(file)) { /* a directory, say */
        perror(path);
        fclose(file);
        return -1;
    }
    fclose(file);
    return 0;
}

static int check_files(char **paths, bool tell)
{
    struct finding finding;
    int failed = 0, count = 0;

    for (; *paths; paths++, count++) {
        if (read_input(*paths) < 0)
            return 2;
        check_input(input, input_size, true, &finding);
        if (tell || finding.outcome > CHECK_SKIPPED)
            check_tell(input, input_size, tell ? stdout : stderr);
        if (finding.outcome > CHECK_SKIPPED) {
            fprintf(stderr, "%s: %s\n", *paths, finding.kind);
            failed++;
        }
    }
    if (!tell)
        printf("%s: %d inputs, %d not as expected%s", check_faults ? "faults" : check_hybrid ? "hybrid" : "plain", count,
               failed, check_faults ? "" : "\n");
    if (!tell && check_faults)
        printf(", %lu faults\n", check_faults_made);
    return failed > 0;
}

static int shrink_file(const char *path)
{
    FILE *file;

    if (read_input(path) < 0)
        return 2;
    input_size = check_shrink(input, input_size);
    file = fopen(path, "w");
    if (!file || fwrite(input, 1, input_size, file) != input_size) {
        perror(path);
        return 2;
    }
    fclose(file);
    check_tell(input, input_size, stdout);
    return 0;
}

static int usage(FILE *to, int status)
{
    fprintf(to, "usage: fuzzer [--hybrid] [--faults] FILE...          the story of each input, and whether it is as expected\n"
                "       fuzzer --check FILE...                        the same without the stories\n"
                "       fuzzer --campaign [--seed N] [--runs N] [--seconds N] [--out DIRECTORY]\n"
                "       fuzzer --shrink FILE                          makes it smaller, in place\n"
                "       fuzzer --canaries | --networks | --trio ...   the head of fuzz/main.c, and fuzz/README.md\n");
    return status;
}

int main(int argc, char **argv)
{
    struct campaign campaign = {.seed = 1};
    bool campaigns = false, canaries = false, silent = false, networks = false, trio = false;
    char **at = argv + 1;

    (void)argc;
    mallopt(M_TRIM_THRESHOLD, 1 << 28); /* what a run gives back is for the next */
    signal(SIGABRT, dying);
    signal(SIGSEGV, dying);
    signal(SIGALRM, dying);
    for (; *at && strncmp(*at, "--", 2) == 0; at++) {
        if (strcmp(*at, "--help") == 0)
            return usage(stdout, 0);
        else if (strcmp(*at, "--campaign") == 0)
            campaigns = true;
        else if (strcmp(*at, "--canaries") == 0)
            canaries = true;
        else if (strcmp(*at, "--hybrid") == 0)
            check_hybrid = true;
        else if (strcmp(*at, "--faults") == 0)
            check_faults = true;
        else if (strcmp(*at, "--check") == 0)
            silent = true;
        else if (strcmp(*at, "--shrink") == 0 && at[1])
            return shrink_file(at[1]);
        else if (strcmp(*at, "--seed") == 0 && at[1])
            campaign.seed = strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--networks") == 0)
            networks = true;
        else if (strcmp(*at, "--trio") == 0)
            trio = true;
        else if (strcmp(*at, "--trio-canaries") == 0)
            return trio_canaries();
        else if (strcmp(*at, "--orders") == 0 && at[1])
            trio_orders = (unsigned)strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--wrong") == 0 && at[1])
            model_wrong = (enum model_error)strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--first") == 0 && at[1])
            campaign.first = strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--runs") == 0 && at[1])
            campaign.runs = strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--seconds") == 0 && at[1])
            campaign.seconds = strtod(*++at, NULL);
        else if (strcmp(*at, "--out") == 0 && at[1])
            directory = *++at;
        else if (strcmp(*at, "--corpus") == 0 && at[1])
            campaign.corpus = *++at;
        else
            return fprintf(stderr, "fuzzer: what is %s?\n", *at), usage(stderr, 2);
    }
    if (networks)
        return network_campaign(campaign.seed, campaign.first, campaign.runs);
    if (trio)
        return trio_write(campaign.seed, campaign.first, campaign.runs);
    if (campaign.corpus)
        return make_corpus(&campaign);
    if (canaries)
        return run_canaries(campaign.seed);
    if (campaigns)
        return run_campaign(&campaign);
    return *at || silent ? check_files(at, !silent) : usage(stderr, 2);
}
