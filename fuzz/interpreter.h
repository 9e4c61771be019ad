/* Runs a program on osier, and compares what happens with what the model has written. */
#ifndef OSIER_FUZZ_INTERPRETER_H
#define OSIER_FUZZ_INTERPRETER_H

#include "log.h"
#include "program.h"

struct verdict {
    bool differs;       /* from the model */
    unsigned at;        /* the first record that does */
    struct record got;  /* instead of it */
    char broken[256];   /* an invariant that does not hold; else empty */
    unsigned count;     /* of records */
};

/* The library's run must be what `expected` says. Nothing is left behind. `alone`: in a run of its own, not in one of a
 * runner that is kept for many programs. */
void interpret(const struct program *program, const struct log *expected, bool alone, struct verdict *verdict);

/* If set, every record is also written here. */
extern struct log *interpreter_keeps;

#endif
