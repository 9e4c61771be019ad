/*
 * probe: asks many servers at once whether they answer, and says what became of each.
 *
 *     build/gcc/examples/probe targets.txt
 *     echo 'http://localhost:8080/health' | build/gcc/examples/probe --timeout 2
 *     make demo                                     (against servers of its own, see probe_targets.c)
 *
 * A target is `host:port`, `[v6]:port`, `http://host[:port]/path` or `unix:/path`, one a line; what follows a
 * '#' at the start of a line or after a blank is a comment. An HTTP target is sent a GET and must answer with a
 * status below 500; any other must let us connect. Exit status: 0 all fine, 1 some failed, 2 wrong usage, or
 * what could not be read or written, 3 the deadline has passed.
 *
 * What it shows of osier:
 *
 *   program            under one deadline
 *     group "hosts"    a task a host, at most --jobs of them
 *       group HOST     a task a target, each under a timeout of its own
 *
 *   - With --strict a target's task returns its error, and that alone cancels all the others.
 *   - Without it a task keeps its error and returns 0, so that the rest go on. At the end tasks that do nothing
 *     else raise the errors kept, and their groups make one tree of them, as if they had just happened.
 *   - A group's limit counts its own tasks, not those of groups inside. So --jobs is divided: at most so many
 *     hosts at a time, and among those the hosts' groups share it evenly. Never more than --jobs connections
 *     are open, and a host with a hundred targets takes no other's share.
 */
#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "probe_input.h"

enum { STATUS_SIZE = 256 };
enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LATE = 3 };

/* Errors that were kept, in the order in which they happened. */
struct failures {
    struct osr_error **errors;
    size_t count;
};

struct host {
    const char *name;
    struct addrinfo *found; /* its addresses */
    const char *trouble;    /* why it has none, or NULL */
    struct target *targets; /* a part of the input's */
    size_t count;
    int share; /* of --jobs */
    struct probe *probe;
    struct failures failures;
};

struct probe {
    int64_t timeout, deadline;
    int jobs;
    bool strict;

    struct input input;
    struct host *hosts;
    size_t host_count;

    size_t begun, fine, failed, cut;
    int width; /* of the table's first column */
    bool late; /* the deadline has cut something */
    struct failures failures;
};

/* ---- The hosts ----------------------------------------------------------------------------------------- */

static int compare_targets(const void *left, const void *right)
{
    const struct target *a = left, *b = right;
    int order = strcasecmp(a->host, b->host);

    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

/* Sorts the targets, so that those of one host are neighbours, and makes a host of each such stretch. */
static void make_hosts(struct probe *probe)
{
    struct input *input = &probe->input;
    struct host *host = NULL;

    if (input->count == 0)
        return;
    qsort(input->targets, input->count, sizeof(*input->targets), compare_targets);
    probe->hosts = must(calloc(input->count, sizeof(*probe->hosts)));
    for (size_t i = 0; i < input->count; i++) {
        struct target *target = &input->targets[i];

        if (host == NULL || strcasecmp(host->name, target->host) != 0) {
            host = &probe->hosts[probe->host_count++];
            *host = (struct host){.name = target->host, .targets = target, .probe = probe};
        }
        target->of = host;
        host->count++;
    }
}

/* Gives each host a share of --jobs; where there are more hosts than jobs, the hosts take turns at one each. */
static void share_jobs(struct probe *probe)
{
    size_t jobs = (size_t)probe->jobs, hosts = probe->host_count;

    for (size_t i = 0; i < hosts; i++)
        probe->hosts[i].share = hosts >= jobs ? 1 : (int)(jobs / hosts + (i < jobs % hosts));
}

/* Looks all names up. It is done before osr_run(), since getaddrinfo() would hold up every task. */
static void resolve_hosts(struct probe *probe)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

    for (size_t i = 0; i < probe->host_count; i++) {
        struct host *host = &probe->hosts[i];
        int rc = 0;

        if (strcmp(host->name, "unix:") != 0)
            rc = getaddrinfo(host->name, NULL, &hints, &host->found);
        if (rc != 0)
            host->trouble = rc == EAI_SYSTEM ? "the system's resolver failed" : gai_strerror(rc);
    }
}

/* ---- The table ----------------------------------------------------------------------------------------- */

static bool has_progress(void) { return isatty(STDERR_FILENO) != 0; }

static void clear_progress(void)
{
    if (has_progress())
        fputs("\r\033[K", stderr);
}

static void show_progress(const struct probe *probe)
{
    size_t done = probe->fine + probe->failed + probe->cut;

    if (has_progress())
        fprintf(stderr, "\r\033[K%zu of %zu done, %zu under way, %zu failed", done, probe->input.count,
                probe->begun - done, probe->failed);
}

static void show_header(struct probe *probe)
{
    size_t widest = strlen("target");

    for (size_t i = 0; i < probe->input.count; i++) {
        size_t width = strlen(probe->input.targets[i].text);

        if (width > widest)
            widest = width;
    }
    probe->width = widest < 60 ? (int)widest : 60;
    if (probe->input.count > 0)
        printf("%-*s  %-10s %9s\n", probe->width, "target", "state", "ms");
}

static const char *failure_word(int code)
{
    switch (-code) {
    case ECANCELED: return "cancelled";
    case ECONNREFUSED: return "refused";
    case ECONNRESET:
    case EPIPE: return "reset";
    case ENODATA: return "closed";
    case ENXIO: return "no address";
    case EPROTO: return "garbage";
    case ETIMEDOUT: return "timeout";
    default: return osr_strcode(code);
    }
}

static void count_outcome(struct probe *probe, int rc)
{
    if (rc >= 0)
        probe->fine++;
    else if (rc == -ECANCELED)
        probe->cut++;
    else
        probe->failed++;
}

static void show_outcome(const struct target *target, int rc, int64_t took)
{
    struct probe *probe = target->of->probe;
    char status[16];
    const char *state = rc < 0 ? failure_word(rc) : "open";

    if (target->status != 0) {
        snprintf(status, sizeof(status), "%d", target->status);
        state = status;
    }
    count_outcome(probe, rc);
    clear_progress();
    printf("%-*s  %-10s %9.1f\n", probe->width, target->text, state, (double)took / 1e6);
    show_progress(probe);
}

/* ---- Talking to a target ------------------------------------------------------------------------------- */

static void make_address(struct osr_address *address, const struct addrinfo *from, unsigned port)
{
    memcpy(&address->storage, from->ai_addr, from->ai_addrlen);
    address->size = from->ai_addrlen;
    if (from->ai_family == AF_INET)
        ((struct sockaddr_in *)&address->storage)->sin_port = htons((uint16_t)port);
    else if (from->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons((uint16_t)port);
}

/* Tries the host's addresses in turn. Gives a descriptor, or what the last of them failed with. */
static int connect_to(struct target *target)
{
    const struct host *host = target->of;
    struct osr_address address;
    int fd = -ENXIO;

    if (host->trouble != NULL)
        return osr_fail(-ENXIO, "%s: %s", host->name, host->trouble);
    if (target->address.size > 0)
        return osr_connect(&target->address);
    for (const struct addrinfo *ai = host->found; ai != NULL && fd < 0 && fd != -ECANCELED; ai = ai->ai_next) {
        make_address(&address, ai, target->port);
        fd = osr_connect(&address);
    }
    return fd;
}

static int send_request(const struct target *target, int fd)
{
    char request[2 * LINE_SIZE + 128];
    bool v6 = strchr(target->host, ':') != NULL;
    int size = snprintf(request, sizeof(request),
                        "GET /%s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: osier-probe\r\n"
                        "Accept: */*\r\nConnection: close\r\n\r\n",
                        target->path, v6 ? "[" : "", target->host, v6 ? "]" : "", target->port);

    return osr_write_all(fd, request, (size_t)size, NULL);
}

/* Reads the first line; gives its size. Stops as soon as that cannot be HTTP: noise may have no end of line. */
static int read_status(int fd, char line[STATUS_SIZE])
{
    char shown[SHOWN_SIZE];
    size_t have = 0;

    while (have < STATUS_SIZE) {
        int rc = osr_read(fd, line + have, STATUS_SIZE - have);
        const char *end;

        if (rc < 0)
            return rc;
        if (rc == 0)
            return osr_fail(-ENODATA, "the connection was closed after %zu bytes of an answer", have);
        have += (size_t)rc;
        if (memcmp(line, "HTTP/", have < 5 ? have : 5) != 0)
            return osr_fail(-EPROTO, "the answer is not HTTP: '%s'", printable(line, have, shown));
        end = memchr(line, '\n', have);
        if (end != NULL)
            return (int)(end - line - (end[-1] == '\r'));
    }
    return osr_fail(-EPROTO, "the status line is too long: '%s'", printable(line, have, shown));
}

/* The status in a line such as "HTTP/1.1 200 OK". */
static int parse_status(const char *line, size_t size)
{
    static const char form[] = "HTTP/0.0 000 ";
    char shown[SHOWN_SIZE];
    size_t i = 0;

    while (i < size && form[i] != '\0' && (form[i] == '0' ? isdigit((unsigned char)line[i]) : line[i] == form[i]))
        i++;
    if ((form[i] != '\0' && (i < size || i != 12)) || line[9] == '0') /* the last blank may be missing */
        return osr_fail(-EPROTO, "not a status line: '%s'", printable(line, size, shown));
    return atoi(line + 9);
}

static int get(struct target *target, int fd)
{
    char line[STATUS_SIZE], shown[SHOWN_SIZE];
    int rc, size;

    target->doing = "sending the request";
    rc = send_request(target, fd);
    if (rc < 0)
        return rc;
    target->doing = "waiting for the status line";
    size = read_status(fd, line);
    if (size < 0)
        return size;
    rc = parse_status(line, (size_t)size);
    if (rc < 0)
        return rc;
    target->status = rc;
    if (rc >= 500)
        return osr_fail(-EREMOTEIO, "the server says '%s'", printable(line + 9, (size_t)size - 9, shown));
    return 0;
}

static int talk(struct target *target)
{
    int fd, rc = 0;

    target->doing = "connecting";
    fd = connect_to(target);
    if (fd < 0)
        return fd;
    if (target->path != NULL)
        rc = get(target, fd);
    osr_fd_close(fd);
    return rc;
}

/* ---- Failures that do not stop the rest ---------------------------------------------------------------- */

/* Passes `rc` on with --strict; else keeps the error of a failure, so that nobody is cancelled for it. */
static int keep(const struct probe *probe, struct failures *failures, int rc)
{
    if (probe->strict || rc >= 0 || rc == -ECANCELED)
        return rc;
    failures->errors = grow(failures->errors, failures->count, sizeof(*failures->errors));
    failures->errors[failures->count++] = osr_error_take();
    return 0;
}

OSR_TASK(raise_one, struct osr_error, error) { return osr_raise(error); }

/*
 * Raises all that was kept, each in a task, and so as one exception group. The first of them cancels the group,
 * which does no harm, since the others do not wait. Being eager they end at once and take up one stack in turn.
 * `rc` is what the rest came to, and goes into the group as well.
 */
static int raise_all(struct failures *failures, const char *name, int rc)
{
    struct osr_group group;

    if (failures->count == 0)
        return rc;
    osr_group_open(&group, .name = name);
    for (size_t i = 0; i < failures->count; i++) {
        struct osr_error *error = failures->errors[i];
        int spawned = osr_spawn(&group, raise_one, error, .name = osr_error_task(error), .eager = true);

        if (spawned < 0) {
            osr_error_release(error);
            rc = spawned;
        }
    }
    free(failures->errors);
    return osr_group_close(&group, rc);
}

/* ---- The tasks ----------------------------------------------------------------------------------------- */

OSR_TASK(probe_target, struct target, target)
{
    struct probe *probe = target->of->probe;
    struct osr_scope limit;
    int64_t begin = osr_now();
    int rc;

    probe->begun++;
    show_progress(probe);
    osr_timeout_open(&limit, probe->timeout);
    rc = talk(target);
    rc = osr_scope_close(&limit, rc);
    rc = osr_wrap(rc, "line %lu, %s", target->line, target->doing);
    show_outcome(target, rc, osr_now() - begin);
    return keep(probe, &target->of->failures, rc);
}

OSR_TASK(probe_host, struct host, host)
{
    struct osr_group targets;
    int rc = 0, kept;

    osr_group_open(&targets, .name = host->name, .limit = host->share);
    for (size_t i = 0; i < host->count && rc == 0; i++)
        rc = osr_spawn(&targets, probe_target, &host->targets[i], .name = host->targets[i].text);
    rc = osr_group_close(&targets, rc);
    kept = keep(host->probe, &host->probe->failures, raise_all(&host->failures, host->name, rc));
    return rc == -ECANCELED ? rc : kept; /* a cancellation goes on up, whatever was kept */
}

static int probe_hosts(struct probe *probe)
{
    struct osr_group hosts;
    int rc = 0;

    osr_group_open(&hosts, .name = "hosts", .limit = probe->jobs);
    for (size_t i = 0; i < probe->host_count && rc == 0; i++)
        rc = osr_spawn(&hosts, probe_host, &probe->hosts[i], .name = probe->hosts[i].name);
    return osr_group_close(&hosts, rc);
}

OSR_TASK(program, struct probe, probe)
{
    struct osr_scope deadline;
    int rc;

    osr_timeout_open(&deadline, probe->deadline);
    rc = probe_hosts(probe);
    rc = raise_all(&probe->failures, "hosts", rc);
    rc = osr_scope_close(&deadline, rc);
    probe->late = osr_scope_caught(&deadline);
    return rc;
}

/* ---- The options --------------------------------------------------------------------------------------- */

static const char usage[] =
    "usage: probe [OPTION]... [FILE]\n"
    "Asks every target in FILE, or in standard input, whether it answers. One target a line:\n"
    "host:port, [v6]:port, http://host[:port]/path or unix:/path; '#' begins a comment.\n"
    "\n"
    "  --timeout SECONDS   for each target (default 5)\n"
    "  --deadline SECONDS  for all of them together (default: none)\n"
    "  --jobs N            at most N connections at once, shared evenly by the hosts (default 64)\n"
    "  --strict            stop at the first failure\n"
    "  --help              this text\n"
    "\n"
    "Exit status: 0 all fine, 1 some failed, 2 usage or file trouble, 3 deadline passed.\n";

static void refuse(const char *option, const char *given, const char *wanted)
{
    fprintf(stderr, "probe: --%s wants %s, not '%s'\n", option, wanted, given);
    exit(EXIT_USAGE);
}

static int64_t parse_seconds(const char *option, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(seconds) || seconds <= 0)
        refuse(option, text, "a number of seconds above 0");
    return osr_seconds(seconds);
}

static int parse_jobs(const char *option, const char *text)
{
    char *end;
    long jobs = strtol(text, &end, 10);

    if (end == text || *end != '\0' || jobs < 1 || jobs > INT_MAX)
        refuse(option, text, "a whole number from 1 up");
    return (int)jobs;
}

static const char *parse_operand(int count, char **operands)
{
    if (count <= 1)
        return count == 1 ? operands[0] : "-";
    fprintf(stderr, "probe: one file at most, and '%s' is the second\n", operands[1]);
    exit(EXIT_USAGE);
}

static void parse_options(struct probe *probe, int argc, char **argv)
{
    static const struct option known[] = {
        {"timeout", required_argument, NULL, 't'}, {"deadline", required_argument, NULL, 'd'},
        {"jobs", required_argument, NULL, 'j'},    {"strict", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 't': probe->timeout = parse_seconds("timeout", optarg); break;
        case 'd': probe->deadline = parse_seconds("deadline", optarg); break;
        case 'j': probe->jobs = parse_jobs("jobs", optarg); break;
        case 's': probe->strict = true; break;
        case 'h': fputs(usage, stdout); exit(EXIT_FINE);
        default: fputs("probe: try --help\n", stderr); exit(EXIT_USAGE);
        }
    }
    probe->input.name = parse_operand(argc - optind, argv + optind);
}

/* ---- The program --------------------------------------------------------------------------------------- */

static int report(const struct probe *probe, int rc)
{
    size_t bad_lines = probe->input.bad_lines;

    clear_progress();
    if (rc < 0)
        osr_error_print(osr_error_last(), stderr);
    osr_error_clear();
    fprintf(stderr, "probe: %zu targets: %zu fine, %zu failed, %zu cancelled, %zu not begun",
            probe->input.count, probe->fine, probe->failed, probe->cut, probe->input.count - probe->begun);
    if (bad_lines > 0)
        fprintf(stderr, "; %zu bad lines", bad_lines);
    fputc('\n', stderr);
    if (probe->late)
        return EXIT_LATE;
    return rc < 0 || bad_lines > 0 ? EXIT_FAILED : EXIT_FINE;
}

static void forget(struct probe *probe)
{
    for (size_t i = 0; i < probe->host_count; i++)
        if (probe->hosts[i].found != NULL)
            freeaddrinfo(probe->hosts[i].found);
    free(probe->hosts);
    free_input(&probe->input);
}

int main(int argc, char **argv)
{
    struct probe probe = {.timeout = osr_s(5), .deadline = OSR_NEVER, .jobs = 64};
    int rc;

    parse_options(&probe, argc, argv);
    rc = read_input(&probe.input);
    if (rc < 0) {
        fprintf(stderr, "probe: cannot read %s: %s\n", probe.input.name, strerror(-rc));
        forget(&probe);
        return EXIT_USAGE;
    }
    make_hosts(&probe);
    share_jobs(&probe);
    resolve_hosts(&probe);
    setvbuf(stdout, NULL, _IOLBF, 0); /* rows are shown as they come, also through a pipe */
    show_header(&probe);
    rc = report(&probe, osr_run(program, &probe));
    forget(&probe);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    fputs("probe: cannot write the table\n", stderr);
    return EXIT_USAGE;
}
