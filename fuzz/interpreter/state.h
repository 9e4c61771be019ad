/* What the interpreter's files share. */
#ifndef OSIER_FUZZ_INTERPRETER_STATE_H
#define OSIER_FUZZ_INTERPRETER_STATE_H

#include <errno.h>

#include <osier.h>

#include "hybrid.h"
#include "interpreter/interpreter.h"

/* ---- What a run of a program needs ---- */

/* A task of the program: what it executes, and what is its own. */
struct actor {
    int statement;
    unsigned options;
    struct osr_group *group;     /* that it is a child of */
    struct osr_group *innermost; /* of its own, or NULL */
    const void *scope;           /* its innermost, which is only compared */
    bool gathered; /* the next one is spawned by the same call */
    struct osr_error *held;
    int result;
    struct osr_outcome outcome;
    unsigned ended;
};

struct deferred {
    struct osr_cleanup cleanup;
    struct actor *actor;
    int statement;
    const void *scope;
    bool has_run;
};

/* A call, a post or a job. */
struct callback {
    union {
        struct osr_call call;
        struct osr_post post;
    };
    int statement;
    unsigned again, pending; /* how often it was fired since it was told */
    bool open;
};

/* A stream, as far as this run has used it. */
struct stream {
    bool open[2];           /* its ends */
    bool drained;           /* it was found out what is left in it */
    uint64_t written, read; /* bytes */
};

/* A queued item is 8 bytes: its priority and its number. */
struct item {
    uint32_t number, priority;
};

enum { SCOPES = 4096, GROUPS = 2048, HANDLES = 2048, ACTORS = MOST_TASKS + 2 };

struct machine {
    const struct program *program;
    const struct log *expected;
    struct verdict *verdict;
    struct schedule schedule;
    enum world world;
    unsigned executed, items, deferred, spawned;
    struct plain_view view;
    unsigned running; /* the number of the task that runs */
    int64_t began, now; /* a runner's clock goes on from run to run, a program's begins at 0 */
    bool has_begun;
    unsigned call_count, post_count, job_count, binding_count;
    unsigned kept_items, actor_count, open_scope_count, open_group_count, handle_count;
    struct stream streams[STREAMS];
    unsigned writes;
    bool stuck, begun;
    bool only_compares, only_keeps; /* the records, as long as nothing is remarkable */
    bool abandoned; /* it waits for what nobody fires, and is brought to its end */

    struct actor *actor_of[MOST_TASKS + 2]; /* by number */
    struct actor *attempt_of[MOST_TASKS + 2];
    unsigned ends_of[MOST_TASKS + 2];
    unsigned char item_state[MOST_ITEMS + 1];
    unsigned taken[SEMAPHORES], given[SEMAPHORES];
    struct osr_scope *open_scopes[SCOPES];
    struct osr_group *open_groups[GROUPS];
    struct osr_group *group_of_scope[SCOPES];
    struct osr_task handles[HANDLES];
    struct actor actors[ACTORS];
    struct deferred cleanups[MOST_CLEANUPS];
    struct osr_event events[EVENTS];
    struct osr_lock locks[LOCKS];
    struct osr_condition conditions[LOCKS];
    struct osr_semaphore semaphores[SEMAPHORES];
    struct osr_barrier barriers[BARRIERS];
    struct osr_queue queues[QUEUES];
    struct osr_limiter limiters[LIMITERS];
    struct osr_future futures[FUTURES];
    struct callback calls[MOST_CALLS], posts[MOST_POSTS], jobs[MOST_JOBS];
    struct osr_binding bindings[MOST_BINDINGS];
    bool work_cancelled[FUTURES];
};
extern struct machine machine;

static inline const struct statement *statement(int index)
{
    return &machine.program->statements[index];
}

void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Times ---- */

/* The program counts them in units, from its own beginning; a unit is some half an hour of simulated time, and under libev
 * the least that libev waits for. Here alone they become the library's, and the other way round. */
enum { SIMULATED_SHIFT = 41 }; /* 2^41 nanoseconds: the last of a program's times is some years away */

static inline int64_t unit(void)
{
    return machine.world < WORLD_LIBEV ? (int64_t)1 << SIMULATED_SHIFT : HYBRID_UNIT;
}

static inline int64_t duration_in_run(int64_t units)
{
    return units == OSR_NEVER ? OSR_NEVER : units * unit();
}

static inline int64_t moment_in_run(int64_t units)
{
    return units == OSR_NEVER ? OSR_NEVER : units * unit() + machine.began;
}

/* A moment of the library's. */
static inline int64_t in_units(int64_t at)
{
    if (at == OSR_NEVER)
        return at;
    at -= machine.began;
    if (machine.world < WORLD_LIBEV) {
        if (at & (unit() - 1))
            broken("the time %lld lies between two units", (long long)at);
        return at >> SIMULATED_SHIFT;
    }
    if (at % unit())
        broken("the time %lld lies between two units", (long long)at);
    return at / unit();
}

static inline int64_t now(void)
{
    return in_units(osr_now());
}

static inline int64_t duration(unsigned char operand)
{
    return duration_in_run(duration_of(operand));
}

static inline int64_t grace(unsigned char operand)
{
    return duration_in_run(grace_of(operand));
}

static inline int64_t moment(unsigned char operand)
{
    return moment_in_run(moment_of(operand, now()));
}

/* ---- interpreter.c ---- */

void share(const void *object);
void note_value(enum value_of what, int64_t value, int code);
void note_error(const struct osr_error *error);
int run_block(struct actor *actor, int owner, bool *left);
struct osr_group *group_named(const struct actor *actor, unsigned char operand);
int run_actor(void *arg);

/* ---- sync.c ---- */

void open_primitives(void);
void close_primitives(void);
int use_primitive(struct actor *actor, int index);

/* ---- streams.c ---- */

void streams_begin(void);
void streams_end(void);
void streams_forget(void);
int streams_warm_up(void);
void streams_tell(void);
void streams_stir(void);
int use_stream(struct actor *actor, int index);

/* ---- calls.c ---- */

int use_call(int index);
int use_post(int index);
int offload(int index);
int use_value(int index);
int settle_future(struct osr_future *future, enum settling how, const struct statement *at, const char *place);
void *number_as_pointer(int number);

#endif
