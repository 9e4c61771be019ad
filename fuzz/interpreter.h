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
    char broken[256];   /* an invariant that does not hold; else empty */
    uint64_t hash;      /* of all that happened */
    unsigned count;     /* of records */
};

/* The library's run must be what `expected` says. Nothing is left behind. */
void interpret(const struct program *program, const struct log *expected, struct verdict *verdict);

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
