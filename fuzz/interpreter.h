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
    uint64_t hash;      /* of all that happened */
    unsigned count;     /* of records */
};

/* What stands behind the library's scheduler: the simulation; or libev, of its own or as a guest in a loop of the
 * program's, under a clock of ours (hybrid.h). */
enum world { WORLD_SIMULATED, WORLD_LIBEV, WORLD_ATTACHED, WORLDS };

/* The library's run must be what `expected` says. Nothing is left behind. */
void interpret(const struct program *program, enum world world, const struct log *expected, struct verdict *verdict);

/* If set, every record is also written here. */
extern struct log *interpreter_keeps;

#endif
