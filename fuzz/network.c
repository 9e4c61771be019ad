#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <osier.h>
#include <osier/attach.h>

#include "hybrid.h"

/* ---- Networks ---- */

/*
 * Why no order shows: a stream has one writer and one reader, who says how much he wants; a post, a signal and a call have
 * one who sends and one who counts what came. What does not fit into the system's buffers is read in one piece, so that it
 * has been written when it is read. Tasks are cut by deadlines alone, and at one moment all deadlines come before any task
 * runs; calls come later than the moment at which they are made, since their task may end in it. The rest is as in the
 * networks of Kahn.
 */
enum op {
    SEND,    /* `b` bytes into stream `a` */
    RECEIVE, /* as many from stream `a` */
    READABLE,
    HANG_UP, /* stream `a` */
    SLEEP,   /* `b` units */
    YIELD,
    TIMEOUT, /* a scope of `b` units around what follows, to `end` */
    MOVE_ON,
    FIRE,    /* what leads to counter `a`: `b` says how */
    AWAIT,   /* counter `a` */
    OFFLOAD,
    CHURN,   /* descriptors of one's own, which come and go; waits for one in vain for `b` units */
    OPS
};

enum { ACTORS = 5, STREAMS = 5, COUNTERS = 4, MOST_OPS = 60, MOST_RECORDS = 200, LIFE = 40, BIG = 300000 };
enum { BY_POST, BY_SIGNAL, BY_CALL, BY_PORTAL, WAYS };

struct statement {
    enum op op;
    unsigned char actor, a;
    unsigned b;
    short end; /* of a scope: behind its last statement */
    bool deleted;
};

struct network {
    unsigned actors, count;
    unsigned char forms[STREAMS];
    struct statement statements[MOST_OPS];
};

/* What a task saw: the same in all worlds. */
struct record {
    short statement;
    int rc;
    uint64_t value;
    int64_t at;
};

struct story {
    unsigned count;
    struct record records[MOST_RECORDS];
};

enum world { SIMULATED, LIBEV, GUEST, SHARED, WORLDS };

static const char *const worlds[] = {"in simulated time", "under libev", "as a guest", "on a runner's shared loop"};

static struct outcome {
    int rc;
    struct story stories[ACTORS];
    char broken[256];
} outcomes[WORLDS];

/* ---- One run ---- */

struct stream {
    int writer, reader; /* descriptors */
    bool torn;          /* by a writer that was cut */
    unsigned sent, received;
    unsigned done; /* of what is being received */
};

static struct {
    const struct network *network;
    enum world world;
    struct outcome *outcome;
    uint64_t orders;
    int64_t began;
    long live;
    struct stream streams[STREAMS];
    struct osr_semaphore counters[COUNTERS];
    struct osr_post posts[COUNTERS];
    struct osr_portal portal;
    struct osr_signals signals[COUNTERS];
    unsigned signalled[COUNTERS];
    struct osr_call calls[MOST_OPS];
    char buffers[ACTORS][BIG];
} machine;

static void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void broken(const char *format, ...)
{
    va_list list;

    if (machine.outcome->broken[0])
        return;
    va_start(list, format);
    vsnprintf(machine.outcome->broken, sizeof(machine.outcome->broken), format, list);
    va_end(list);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static int64_t units(unsigned count)
{
    return (int64_t)count * HYBRID_UNIT;
}

static void tell(unsigned actor, int statement, int rc, uint64_t value)
{
    struct story *story = &machine.outcome->stories[actor];
    int64_t now = osr_now() - machine.began;

    if (now % HYBRID_UNIT)
        broken("the time %lld lies between two units", (long long)now);
    if (story->count < MOST_RECORDS)
        story->records[story->count++] = (struct record){(short)statement, rc, value, now / HYBRID_UNIT};
}

/* ---- Streams ---- */

static char byte_of(unsigned stream, size_t i)
{
    return (char)(stream * 31 + i * 13 + i / 256);
}

static int send_bytes(const struct statement *at)
{
    struct stream *stream = &machine.streams[at->a];
    char *buffer = machine.buffers[at->actor];
    unsigned i;
    int rc;

    if (stream->torn)
        return 0;
    for (i = 0; i < at->b; i++)
        buffer[i] = byte_of(at->a, stream->sent + i);
    rc = osr_write_all(stream->writer, buffer, at->b, NULL);
    stream->sent += at->b;
    stream->torn = rc < 0;
    return rc;
}

/* Until `b` bytes have come, of which some may have come in an attempt before that was cut. */
static int receive_bytes(const struct statement *at, uint64_t *value)
{
    struct stream *stream = &machine.streams[at->a];
    char *buffer = machine.buffers[at->actor];
    int n = 1, i;

    while (stream->done < at->b && n > 0) {
        n = osr_read(stream->reader, buffer, at->b - stream->done);
        for (i = 0; i < n; i++)
            if (buffer[i] != byte_of(at->a, stream->received + (unsigned)i))
                broken("stream %d, byte %u is wrong", at->a, stream->received + (unsigned)i);
        stream->received += n > 0 ? (unsigned)n : 0;
        stream->done += n > 0 ? (unsigned)n : 0;
    }
    *value = stream->received;
    if (stream->done < at->b)
        return n;
    stream->done = 0;
    return 1;
}

static int hang_up(const struct statement *at)
{
    struct stream *stream = &machine.streams[at->a];

    stream->torn = true;
    if (machine.network->forms[at->a] == 0) /* the other direction goes on */
        return shutdown(stream->writer, SHUT_WR) < 0 ? -errno : 0;
    if (stream->writer < 0)
        return 0;
    (void)osr_fd_close(stream->writer);
    stream->writer = -1;
    return 0;
}

/* Numbers of descriptors that are used again at once, with a watch that has just been cut, or not. */
static int churn(const struct statement *at)
{
    struct osr_scope limit;
    int fds[2], rc;
    char byte = 'x';

    if (socketpair(AF_UNIX, SOCK_STREAM | (at->b % 2 ? SOCK_NONBLOCK : 0), 0, fds) < 0)
        return -errno;
    osr_move_on_open(&limit, units(at->b));
    rc = osr_scope_close(&limit, at->a % 2 ? osr_fd_readable(fds[0]) : osr_read(fds[0], &byte, 1));
    if (rc == 0)
        rc = osr_write(fds[1], &byte, 1);
    if (rc > 0)
        rc = osr_fd_readable(fds[0]);
    if (rc == 0)
        rc = osr_read(fds[0], &byte, 1);
    (void)osr_fd_close(fds[at->a % 2]);
    (void)osr_fd_close(fds[!(at->a % 2)]);
    return rc;
}

/* ---- Counters ---- */

static void count_up(void *arg)
{
    (void)osr_semaphore_release(arg);
}

static void posted(void *arg, unsigned count)
{
    while (count-- > 0)
        count_up(arg);
}

static int signal_of(unsigned counter)
{
    return SIGRTMIN + 3 + (int)counter;
}

static int fire(const struct statement *at, int index)
{
    switch (at->b % WAYS) {
    case BY_POST:
        return osr_post_fire(machine.posts[at->a]);
    case BY_SIGNAL:
        return raise(signal_of(at->a));
    case BY_PORTAL:
        return osr_portal_post(machine.portal, count_up, &machine.counters[at->a]);
    default:
        return osr_call_later(&machine.calls[index], units(1 + at->b / WAYS % 8), count_up, &machine.counters[at->a]);
    }
}

/* Of signals and of all else. */
static int await(const struct statement *at)
{
    unsigned count;
    int rc;

    if (at->b % 2)
        return osr_semaphore_acquire(&machine.counters[at->a]);
    while (machine.signalled[at->a] == 0) {
        rc = osr_signal_wait(&machine.signals[at->a], &count);
        if (rc < 0)
            return rc;
        machine.signalled[at->a] += count;
    }
    machine.signalled[at->a]--;
    return 0;
}

OSR_JOB(compute, unsigned, number)
{
    unsigned i, sum = 0;

    for (i = 0; i < *number % 1000; i++)
        sum = sum * 7 + i;
    return (int)(sum % 1000);
}

static int offload(const struct statement *at)
{
    unsigned number = at->b;
    int rc;

    hybrid_hold(1);
    rc = osr_offload(compute, &number);
    hybrid_hold(-1);
    return rc;
}

/* ---- Tasks ---- */

static int run_statements(unsigned actor, int from, int end);

static int run_scope(const struct statement *at, int index)
{
    struct osr_scope scope;
    int rc;

    if (at->op == TIMEOUT)
        osr_timeout_open(&scope, units(at->b));
    else
        osr_move_on_open(&scope, units(at->b));
    rc = run_statements(at->actor, index + 1, at->end);
    rc = osr_scope_close(&scope, rc);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static int call(const struct statement *at, int index, uint64_t *value)
{
    switch (at->op) {
    case SEND:
        return send_bytes(at);
    case RECEIVE:
        return receive_bytes(at, value);
    case READABLE:
        return osr_fd_readable(machine.streams[at->a].reader);
    case HANG_UP:
        return hang_up(at);
    case SLEEP:
        return osr_sleep(units(at->b));
    case YIELD:
        return osr_yield();
    case FIRE:
        return fire(at, index);
    case AWAIT:
        return await(at);
    case OFFLOAD:
        return offload(at);
    case CHURN:
        return churn(at);
    default:
        return run_scope(at, index);
    }
}

static int run_statements(unsigned actor, int from, int end)
{
    const struct network *network = machine.network;
    int i, rc = 0;

    for (i = from; i < end && rc >= 0; i++) {
        const struct statement *at = &network->statements[i];
        uint64_t value = 0;

        if (at->actor != actor || at->deleted)
            continue;
        rc = call(at, i, &value);
        tell(actor, i, rc, value);
        if (at->op == TIMEOUT || at->op == MOVE_ON)
            i = at->end - 1;
    }
    return rc < 0 ? rc : 0;
}

OSR_TASK(act, unsigned, actor)
{
    return run_statements(*actor, 0, (int)machine.network->count);
}

/* ---- Runs ---- */

static void open_stream(unsigned i)
{
    struct stream *stream = &machine.streams[i];
    int fds[2], rc;

    *stream = (struct stream){.writer = -1, .reader = -1};
    if (machine.network->forms[i] == 0 && i % 2) { /* the other direction of the one before */
        stream->writer = machine.streams[i - 1].reader;
        stream->reader = machine.streams[i - 1].writer;
        return;
    }
    if (machine.network->forms[i] <= 1)
        rc = socketpair(AF_UNIX, SOCK_STREAM | (i % 2 ? SOCK_NONBLOCK : 0), 0, fds);
    else
        rc = pipe2(fds, machine.network->forms[i] == 2 ? O_NONBLOCK : 0);
    if (rc < 0)
        broken("no descriptors: %s", strerror(errno));
    stream->reader = fds[0];
    stream->writer = fds[1];
}

static int open_world(struct osr_group *group)
{
    unsigned i;
    int rc = 0;

    for (i = 0; i < STREAMS; i++)
        open_stream(i);
    for (i = 0; i < COUNTERS && rc == 0; i++) {
        osr_semaphore_init(&machine.counters[i], 0);
        machine.signalled[i] = 0;
        rc = osr_post_open(&machine.posts[i], posted, &machine.counters[i]);
        if (rc == 0)
            rc = osr_signals_open(&machine.signals[i], signal_of(i));
    }
    return rc == 0 ? osr_portal_open(&machine.portal, group) : rc;
}

static void close_streams(void)
{
    unsigned i;

    for (i = 0; i < STREAMS; i++) {
        if (machine.network->forms[i] == 0 && i % 2)
            continue;
        (void)osr_fd_close(machine.streams[i].reader);
        if (machine.streams[i].writer >= 0)
            (void)osr_fd_close(machine.streams[i].writer);
    }
}

OSR_TASK(live, void, unused)
{
    static unsigned numbers[ACTORS] = {0, 1, 2, 3, 4};
    struct osr_group group;
    struct osr_scope life;
    unsigned i;
    int rc;

    machine.began = osr_now();
    osr_timeout_open(&life, units(LIFE));
    osr_group_open(&group);
    rc = open_world(&group);
    for (i = 0; i < machine.network->actors && rc == 0; i++)
        rc = osr_spawn(&group, act, &numbers[i]);
    rc = osr_group_close(&group, rc);
    rc = osr_scope_close(&life, rc);
    close_streams();
    return rc;
}

static void *resize(void *arg, void *memory, size_t size)
{
    void *result;

    (void)arg;
    if (size == 0) {
        machine.live -= memory != NULL;
        free(memory);
        return NULL;
    }
    result = realloc(memory, size);
    machine.live += result && !memory;
    return result;
}

static void diagnose(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)kind;
    broken("the library says: %s", text);
}

/* What stands first, or anything: it must not matter. */
static unsigned choose(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)what;
    return kind == OSR_CHOICE_FAULT ? 0 : (unsigned)(next_random(&machine.orders) >> 33) % n;
}

static void note_rc(void *arg, int rc)
{
    *(int *)arg = rc;
}

static int run_as_guest(const struct osr_run_options *how)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    struct osr_attachment attachment;
    int given = INT_MAX;

    if (osr_attach(&attachment, loop, live, NULL, .done = note_rc, .done_arg = &given, .run = *how) == 0)
        ev_run(loop, 0);
    ev_loop_destroy(loop);
    return given;
}

static int run_shared(const struct osr_run_options *how)
{
    struct osr_runner *runner;
    int rc = osr_runner_new_with(&runner, how);

    if (rc == 0)
        rc = osr_runner_loop(runner) ? osr_runner_run(runner, live, NULL) : -ENOTSUP;
    (void)osr_runner_free(runner);
    return rc;
}

static int run_in_world(struct osr_run_options *how)
{
    int rc;

    if (machine.world == SIMULATED)
        return osr_run_with(&live.routine_, NULL, how);
    how->clock = OSR_CLOCK_REAL;
    hybrid_begin();
    if (machine.world == LIBEV)
        rc = osr_run_with(&live.routine_, NULL, how);
    else
        rc = machine.world == GUEST ? run_as_guest(how) : run_shared(how);
    hybrid_end();
    return rc;
}

static int count_descriptors(void)
{
    int fd, count = 0;

    for (fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void run(const struct network *network, enum world world, uint64_t orders)
{
    static const struct osr_allocator allocator = {resize, NULL};
    struct osr_run_options how = {.size = sizeof(how),
                                  .where = OSR_HERE,
                                  .clock = OSR_CLOCK_SIMULATED,
                                  .debug = true,
                                  .no_overflow_handler = true,
                                  .allocator = &allocator,
                                  .diagnose = diagnose,
                                  .choose = choose};
    int descriptors = count_descriptors();

    machine.network = network;
    machine.world = world;
    machine.orders = orders;
    machine.live = 0;
    machine.outcome = &outcomes[world];
    memset(machine.outcome, 0, sizeof(*machine.outcome));
    machine.outcome->rc = run_in_world(&how);
    osr_error_clear();
    if (machine.live != 0)
        broken("%ld allocations are left", machine.live);
    if (count_descriptors() != descriptors)
        broken("there are %d descriptors, not %d", count_descriptors(), descriptors);
}

static bool same_story(const struct story *one, const struct story *other)
{
    unsigned i;

    for (i = 0; i < one->count && i < other->count; i++) {
        const struct record *a = &one->records[i], *b = &other->records[i];

        if (a->statement != b->statement || a->rc != b->rc || a->value != b->value || a->at != b->at)
            return false;
    }
    return one->count == other->count;
}

/* Runs it in all worlds; says whether all is well. What is not is in the last outcome that was made: `world`. */
static bool is_well(const struct network *network, uint64_t orders, enum world *world)
{
    unsigned i;

    for (*world = SIMULATED; *world < WORLDS; ++*world) {
        run(network, *world, orders * WORLDS + *world);
        if (outcomes[*world].broken[0] || outcomes[*world].rc != outcomes[SIMULATED].rc)
            return false;
        for (i = 0; i < ACTORS; i++)
            if (!same_story(&outcomes[SIMULATED].stories[i], &outcomes[*world].stories[i]))
                return false;
    }
    return true;
}

/* ---- Making ---- */

struct maker {
    uint64_t state;
    struct network *network;
    bool big; /* stream 0 does not fit into the system's buffers */
    unsigned char writer[STREAMS], reader[STREAMS], sender[COUNTERS], counter[COUNTERS];
};

static unsigned below(struct maker *maker, unsigned n)
{
    return (unsigned)(next_random(&maker->state) >> 33) % n;
}

/* A stream or counter that `of` says is the actor's; -1 if there is none. */
static int mine(struct maker *maker, const unsigned char *of, unsigned n, unsigned actor)
{
    unsigned i, at = below(maker, n);

    for (i = 0; i < n; i++, at = (at + 1) % n)
        if (of[at] == actor)
            return (int)at;
    return -1;
}

static unsigned size_for(struct maker *maker, unsigned stream)
{
    return maker->big && stream == 0 ? BIG : 1 + below(maker, 64);
}

static void add(struct maker *maker, unsigned actor, unsigned depth);

static void add_scope(struct maker *maker, struct statement *at, unsigned depth)
{
    unsigned inside = 1 + below(maker, 3);

    at->b = below(maker, 8);
    while (inside-- > 0)
        add(maker, at->actor, depth + 1);
    at->end = (short)maker->network->count;
}

/* The statement's operands; false if the actor cannot do that. */
static bool fill(struct maker *maker, struct statement *at, unsigned depth)
{
    static const unsigned char kinds[OPS] = {[SEND] = 1, [HANG_UP] = 1, [RECEIVE] = 2, [READABLE] = 2, [FIRE] = 3, [AWAIT] = 4};
    const unsigned char *of[] = {NULL, maker->writer, maker->reader, maker->sender, maker->counter};
    int object = kinds[at->op] ? mine(maker, of[kinds[at->op]], kinds[at->op] < 3 ? STREAMS : COUNTERS, at->actor) : 0;

    if (object < 0 || (at->op == HANG_UP && below(maker, 4)))
        return false;
    at->a = (unsigned char)(kinds[at->op] ? (unsigned)object : below(maker, 2));
    at->b = below(maker, at->op == FIRE ? 256 : 8);
    if (at->op == SEND || at->op == RECEIVE)
        at->b = size_for(maker, at->a);
    return at->op != SEND || depth == 0 || at->b != BIG; /* of one that is cut nobody knows how much has gone out */
}

static void add(struct maker *maker, unsigned actor, unsigned depth)
{
    struct network *network = maker->network;
    struct statement *at = &network->statements[network->count];

    if (network->count == MOST_OPS)
        return;
    *at = (struct statement){.op = (enum op)below(maker, OPS), .actor = (unsigned char)actor};
    if ((at->op == OFFLOAD && below(maker, 4)) || (depth == 3 && (at->op == TIMEOUT || at->op == MOVE_ON)) ||
        !fill(maker, at, depth))
        return;
    network->count++;
    if (at->op == TIMEOUT || at->op == MOVE_ON)
        add_scope(maker, at, depth);
}

static void make(struct network *network, unsigned long seed, unsigned long number)
{
    struct maker maker = {.state = seed * 0x100000001b3u + number, .network = network};
    unsigned i, k, tries;

    memset(network, 0, sizeof(*network));
    network->actors = 2 + below(&maker, ACTORS - 1);
    maker.big = below(&maker, 8) == 0;
    for (i = 0; i < STREAMS; i++) {
        network->forms[i] = (unsigned char)(i % 2 ? network->forms[i - 1] : below(&maker, 4));
        maker.writer[i] = (unsigned char)below(&maker, network->actors);
        maker.reader[i] = (unsigned char)((maker.writer[i] + 1 + below(&maker, network->actors - 1)) % network->actors);
    }
    for (i = 0; i < COUNTERS; i++) {
        maker.sender[i] = (unsigned char)below(&maker, network->actors);
        maker.counter[i] = (unsigned char)below(&maker, network->actors);
    }
    for (i = 0; i < network->actors; i++)
        for (k = 0, tries = 3 + below(&maker, 12); k < tries; k++)
            add(&maker, i, 0);
}

/* ---- Telling ---- */

static void print_network(const struct network *network)
{
    static const char *const ops[] = {"send", "receive", "readable", "hang up", "sleep",   "yield",
                                      "timeout", "move on", "fire",  "await",   "offload", "churn"};
    static const char *const forms[] = {"socket, both ways", "socket", "pipe", "blocking pipe"};
    unsigned i;

    for (i = 0; i < STREAMS; i++)
        fprintf(stderr, "stream %u: %s\n", i, forms[network->forms[i]]);
    for (i = 0; i < network->count; i++) {
        const struct statement *at = &network->statements[i];

        if (!at->deleted)
            fprintf(stderr, "%3u: task %d: %s %d, %u%s%.0d\n", i, at->actor, ops[at->op], at->a, at->b,
                    at->end ? ", to before " : "", at->end);
    }
}

static void print_story(const struct story *story)
{
    unsigned i;

    for (i = 0; i < story->count; i++) {
        const struct record *record = &story->records[i];

        fprintf(stderr, "    @%lld %d gives %s %d, %llu\n", (long long)record->at, record->statement,
                record->rc < 0 ? osr_strcode(record->rc) : "", record->rc, (unsigned long long)record->value);
    }
}

static void print_difference(enum world world)
{
    unsigned i;

    if (outcomes[world].broken[0])
        fprintf(stderr, "%s: %s\n", worlds[world], outcomes[world].broken);
    if (outcomes[world].rc != outcomes[SIMULATED].rc)
        fprintf(stderr, "%s the run gives %s, in simulated time %s\n", worlds[world], osr_strcode(outcomes[world].rc),
                osr_strcode(outcomes[SIMULATED].rc));
    for (i = 0; i < ACTORS; i++)
        if (!same_story(&outcomes[SIMULATED].stories[i], &outcomes[world].stories[i])) {
            fprintf(stderr, "  task %u in simulated time:\n", i);
            print_story(&outcomes[SIMULATED].stories[i]);
            fprintf(stderr, "  and %s:\n", worlds[world]);
            print_story(&outcomes[world].stories[i]);
        }
}

static void shrink(struct network *network, uint64_t orders)
{
    enum world world;
    bool smaller = true;
    unsigned i;

    while (smaller)
        for (smaller = false, i = network->count; i-- > 0;) {
            struct statement *at = &network->statements[i];

            if (at->deleted)
                continue;
            at->deleted = true;
            if (is_well(network, orders, &world))
                at->deleted = false;
            else
                smaller = true;
        }
}

/* ---- Campaigns ---- */

static unsigned long seed_now, number_now;

static void dying(int number)
{
    signal(number, SIG_DFL);
    fprintf(stderr, "network %lu of seed %lu, %s: the process dies, or does not come to an end\n", number_now, seed_now,
            worlds[machine.world]);
    raise(number);
}

int network_campaign(unsigned long seed, unsigned long first, unsigned long runs)
{
    static struct network network;
    unsigned long records = 0;
    struct timespec began, ended;
    enum world world;
    double took;
    unsigned i;

    signal(SIGABRT, dying);
    signal(SIGSEGV, dying);
    signal(SIGALRM, dying);
    clock_gettime(CLOCK_MONOTONIC, &began);
    seed_now = seed;
    for (number_now = first; number_now < first + runs; number_now++) {
        if (number_now % 32 == 0)
            alarm(20); /* for one that never ends */
        make(&network, seed, number_now);
        if (!is_well(&network, number_now, &world)) {
            fprintf(stderr, "network %lu of seed %lu is another %s:\n", number_now, seed, worlds[world]);
            shrink(&network, number_now);
            print_network(&network);
            (void)is_well(&network, number_now, &world);
            print_difference(world);
            return 1;
        }
        for (i = 0; i < ACTORS; i++)
            records += outcomes[SIMULATED].stories[i].count;
    }
    alarm(0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    took = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("seed %lu: %lu networks in %d worlds in %.1f s (%.0f a second), %.0f records each: the same in all\n", seed, runs,
           WORLDS, took, (double)runs / took, (double)records / (double)(runs ? runs : 1));
    return 0;
}
