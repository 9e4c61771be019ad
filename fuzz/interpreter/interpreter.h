/* Runs a program on osier, and compares what happens with what the model has written. */
#ifndef OSIER_FUZZ_INTERPRETER_H
#define OSIER_FUZZ_INTERPRETER_H

#include <osier/run.h>

#include "log.h"
#include "program.h"

struct verdict {
    bool differs;       /* from the model */
    unsigned at;        /* the first record that does */
    struct record got;  /* instead of it */
    bool tells_fault;   /* something does, of the one that was ordered */
    char broken[256];   /* an invariant that does not hold; else empty */
    unsigned count;     /* of records */
};

/* Where a program runs: simulated, on a runner that is kept for many programs, or alone, in a run of its own; or under
 * libev, of the run's own or as a guest in a loop of the fuzzer's, under a clock of the fuzzer's (hybrid.h). Plainly: as in
 * production, simulated time apart, where nobody answers or observes, and the library goes its shortest ways; what is
 * expected then, and what is told, is what plain_sees(). */
enum world { WORLD_SIMULATED, WORLD_PLAIN, WORLD_ALONE, WORLD_LIBEV, WORLD_ATTACHED, WORLDS };

/* The library's run must be what `expected` says. Nothing is left behind. */
void interpret(const struct program *program, enum world world, const struct log *expected, struct verdict *verdict);

/* To be said between two inputs: makes what programs run on, anew if that has run enough of them. Says whether it did, which
 * is no input's doing. */
bool interpreter_prepare(void);

/* Which call of the library's for memory or the system fails, counted from the program's first statement; and whether all
 * after it do. */
struct interpreter_fault {
    unsigned long at; /* 0: none */
    bool onwards;
    unsigned long asked; /* out: how many there were */
};
extern struct interpreter_fault interpreter_fault;

/* How much time has passed in the simulated runs of this process, in nanoseconds. */
extern double interpreter_simulated;
#define NANOSECONDS_A_YEAR (365.25 * 86400 * 1e9)

/* If set, every record is also written here. */
extern struct log *interpreter_keeps;

/* If set, this answers what the run asks, also for cancellations, and is told what steps touch. Then no expectation is
 * needed (NULL), and the runs are made by a runner. */
struct interpreter_hooks {
    unsigned (*choose)(void *arg, enum osr_choice kind, unsigned n);
    osr_touched *touched; /* or NULL */
    void *arg;
};
extern const struct interpreter_hooks *interpreter_hooks;

#endif
