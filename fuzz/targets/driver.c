/*
 * A target as a plain program, for its corpus under any tool, and for random inputs without a fuzzer:
 *
 *     fuzz-NAME FILE...           tells the story of each input
 *     fuzz-NAME --check PATH...   silently; of a directory, all files in it
 *     fuzz-NAME --campaign [--seed N] [--runs N] [--seconds N] [--out DIRECTORY]
 *     fuzz-NAME --canaries [--seed N] [--runs N]   with what it is wrong about on purpose, which it must find out
 *     fuzz-NAME --shrink FILE     makes it smaller, in place; status 1 if it is a finding
 */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../found.h"
#include "target.h"

enum { CANARY_RUNS = 1000000 };

static unsigned char input[MOST_BYTES];
static size_t input_size;
static const char *directory; /* NULL: found_directory() */
static unsigned long begun, begun_seed; /* how many inputs a campaign has begun, and its seed */
static bool alone; /* nobody is there to be told: a process of shrinking, or of a canary */

/* Shared with the processes that try an input apart. */
static struct shared {
    char where[96]; /* of the finding */
    unsigned long runs;
} *shared;

/* So that what the sanitizers find comes to dying() as well. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1:detect_stack_use_after_return=1:detect_leaks=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

static void note_place(const char *where)
{
    snprintf(shared->where, sizeof(shared->where), "%s", where);
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
    fclose(file);
    return 0;
}

static int write_file(const char *path)
{
    FILE *file = fopen(path, "w");
    bool written = file && fwrite(input, 1, input_size, file) == input_size;

    if (file && fclose(file) != 0)
        written = false;
    if (!written)
        perror(path);
    return written ? 0 : -1;
}

/* Gives the path. */
static const char *write_input(const char *kind)
{
    static char path[512];
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i < input_size; i++)
        hash = (hash ^ input[i]) * 0x100000001b3u;
    snprintf(path, sizeof(path), "%s/%s-%s-%016llx", directory ? directory : found_directory(), target.name, kind, (unsigned long long)hash);
    if (write_file(path) == 0)
        fprintf(stderr, "written: %s\n", path);
    return path;
}

/* ---- Apart ---- */

/* Runs the input in a process of its own: whether it dies of it, and shared->where says where. */
static bool dies(bool telling)
{
    int status = 0;
    pid_t pid;

    shared->where[0] = '\0';
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        alone = true;
        alarm(10);
        story = telling ? stderr : NULL;
        if (!telling)
            (void)!freopen("/dev/null", "w", stderr);
        LLVMFuzzerTestOneInput(input, input_size);
        _exit(0);
    }
    (void)waitpid(pid, &status, 0);
    return pid > 0 && status != 0;
}

/* Whether it still dies, and of the same. */
static bool still(const char *where)
{
    return dies(false) && strcmp(shared->where, where) == 0;
}

static bool try_without(const char *where, size_t at, size_t count)
{
    unsigned char old[MOST_BYTES];
    size_t old_size = input_size;

    memcpy(old, input, input_size);
    memmove(input + at, input + at + count, input_size - at - count);
    input_size -= count;
    if (still(where))
        return true;
    memcpy(input, old, old_size);
    input_size = old_size;
    return false;
}

static bool try_lower(const char *where, size_t at, unsigned char byte)
{
    unsigned char old = input[at];

    if (byte >= old)
        return false;
    input[at] = byte;
    if (still(where))
        return true;
    input[at] = old;
    return false;
}

/* Takes pieces away, the large ones first, then makes bytes smaller. Whether there is anything to find. */
static bool shrink(void)
{
    char where[sizeof(shared->where)];
    size_t count, at;

    if (!dies(false))
        return false;
    memcpy(where, shared->where, sizeof(where));
    for (count = input_size / 2 + 1; count > 0; count /= 2)
        for (at = 0; at + count <= input_size;)
            at += try_without(where, at, count) ? 0 : count;
    for (at = 0; at < input_size; at++)
        if (!try_lower(where, at, 0) && !try_lower(where, at, input[at] / 2))
            (void)try_lower(where, at, (unsigned char)(input[at] - 1));
    return true;
}

/* ---- Findings ---- */

/* A library that has failed in the middle of a run is of no more use in this process, nor in its children: a new one
 * makes the input smaller. */
static void shrink_anew(const char *path)
{
    char self[] = "/proc/self/exe", option[] = "--shrink", *arguments[] = {self, option, (char *)path, NULL};

    alarm(0);
    fflush(NULL);
    execv(self, arguments);
    perror("exec");
}

static void dying(int number)
{
    (void)number;
    if (!alone) {
        if (begun > 0)
            fprintf(stderr, "%s: input %lu of seed %lu\n", target.name, begun - 1, begun_seed);
        (void)write_input("found");
        shrink_anew(write_input("small"));
    }
    _exit(1);
}

static void watch_deaths(void)
{
    struct sigaction action = {.sa_handler = dying, .sa_flags = SA_RESETHAND | SA_NODEFER};

    sigaction(SIGABRT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
#ifndef __SANITIZE_ADDRESS__ /* which tells more, and aborts */
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
#endif
}

/* ---- Campaigns ---- */

struct campaign {
    unsigned long runs, seed;
    double seconds;
};

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_campaign(const struct campaign *campaign)
{
    double began = seconds_now(), took;
    unsigned long i;

    for (i = 0; campaign->runs == 0 || i < campaign->runs; i++) {
        if (i % 256 == 0)
            alarm(60); /* for an input that never ends */
        if (i % 256 == 0 && campaign->seconds > 0 && seconds_now() - began >= campaign->seconds)
            break;
        input_size = make_input(campaign->seed, i, input);
        begun = i + 1;
        begun_seed = campaign->seed;
        LLVMFuzzerTestOneInput(input, input_size);
    }
    alarm(0);
    took = seconds_now() - began;
    printf("%s: seed %lu: %lu inputs in %.1f s (%.0f a second): all as expected\n", target.name, campaign->seed, i,
           took, (double)i / took);
    return 0;
}

/* ---- Canaries ---- */

/* After how many inputs it is found out; 0 if it is not. */
static unsigned long find_out(unsigned which, const struct campaign *campaign)
{
    int status = 0;
    pid_t pid;

    shared->runs = 0;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        alone = true;
        wrong = which;
        (void)!freopen("/dev/null", "w", stderr);
        for (; shared->runs < campaign->runs; shared->runs++) {
            input_size = make_input(campaign->seed, shared->runs, input);
            LLVMFuzzerTestOneInput(input, input_size);
        }
        _exit(0);
    }
    (void)waitpid(pid, &status, 0);
    return pid > 0 && status != 0 ? shared->runs + 1 : 0;
}

static int run_canaries(const struct campaign *campaign)
{
    unsigned long took, most = 0;
    unsigned i, missed = 0;

    for (i = 0; target.wrongs[i]; i++) {
        took = find_out(i + 1, campaign);
        if (took == 0) {
            fprintf(stderr, "%s: \"%s\" was not found out in %lu inputs\n", target.name, target.wrongs[i],
                    campaign->runs);
            missed++;
        }
        most = took > most ? took : most;
    }
    printf("%s: %u of %u canaries were found out, in at most %lu inputs\n", target.name, i - missed, i, most);
    return missed > 0 || i == 0;
}

/* ---- Files that are kept ---- */

static unsigned long checked;

static int check_path(const char *path)
{
    DIR *entries = opendir(path);
    struct dirent *entry;
    char inside[1024];
    int rc = 0;

    if (!entries) {
        if (read_input(path) < 0)
            return -1;
        fprintf(story ? story : stderr, "%s%s%s", story ? "---- " : "", story ? path : "", story ? "\n" : "");
        LLVMFuzzerTestOneInput(input, input_size);
        checked++;
        return 0;
    }
    while (rc == 0 && (entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
        rc = check_path(inside);
    }
    closedir(entries);
    return rc;
}

static int check_paths(char **paths, bool silent)
{
    story = silent ? NULL : stdout;
    for (; *paths; paths++)
        if (check_path(*paths) < 0)
            return 2;
    if (silent)
        printf("%s: %lu inputs, all as expected\n", target.name, checked);
    return 0;
}

static int shrink_file(const char *path)
{
    if (read_input(path) < 0)
        return 2;
    if (!shrink()) {
        fprintf(stderr, "%s: all as expected\n", path);
        return 0;
    }
    if (write_file(path) < 0)
        return 2;
    (void)dies(true);
    return 1;
}

static int usage(FILE *to, int status)
{
    fprintf(to, "usage: fuzz-%1$s FILE...                the story of each input\n"
                "       fuzz-%1$s --check PATH...        the same without the stories; of a directory, all files in it\n"
                "       fuzz-%1$s --campaign [--seed N] [--runs N] [--seconds N] [--out DIRECTORY]\n"
                "       fuzz-%1$s --canaries [--seed N] [--runs N]\n"
                "       fuzz-%1$s --shrink FILE          makes it smaller, in place\n", target.name);
    return status;
}

int main(int argc, char **argv)
{
    enum { FILES, CHECK, CAMPAIGN, CANARIES } mode = FILES;
    struct campaign campaign = {.seed = 1};
    char **at = argv + 1;

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    on_finding = note_place;
    LLVMFuzzerInitialize(&argc, &argv);
    watch_deaths();
    for (; *at && strncmp(*at, "--", 2) == 0; at++) {
        if (strcmp(*at, "--help") == 0)
            return usage(stdout, 0);
        else if (strcmp(*at, "--check") == 0)
            mode = CHECK;
        else if (strcmp(*at, "--campaign") == 0)
            mode = CAMPAIGN;
        else if (strcmp(*at, "--canaries") == 0)
            mode = CANARIES;
        else if (strcmp(*at, "--shrink") == 0 && at[1])
            return shrink_file(at[1]);
        else if (strcmp(*at, "--seed") == 0 && at[1])
            campaign.seed = strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--runs") == 0 && at[1])
            campaign.runs = strtoul(*++at, NULL, 0);
        else if (strcmp(*at, "--seconds") == 0 && at[1])
            campaign.seconds = strtod(*++at, NULL);
        else if (strcmp(*at, "--out") == 0 && at[1])
            directory = *++at;
        else
            return fprintf(stderr, "%s: what is %s?\n", target.name, *at), usage(stderr, 2);
    }
    if (mode == FILES && !*at)
        return usage(stderr, 2);
    if (mode == CANARIES) {
        if (campaign.runs == 0)
            campaign.runs = CANARY_RUNS;
        return run_canaries(&campaign);
    }
    return mode == CAMPAIGN ? run_campaign(&campaign) : check_paths(at, mode == CHECK);
}
