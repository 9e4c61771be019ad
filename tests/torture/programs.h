/* The programs that are tortured: together they make every call of the library. */
#ifndef OSIER_TORTURE_PROGRAMS_H
#define OSIER_TORTURE_PROGRAMS_H

#include <osier.h>

enum world {
    WORLD_SIMULATED,
    WORLD_JUMPS, /* libev, under a clock that jumps (../../fuzz/hybrid.h) */
    WORLD_REAL   /* for threads and processes */
};

struct program {
    const char *name;
    const struct osr_routine *routine;
    int (*run)(const struct program *program, const struct osr_run_options *options);
    enum world world;
    int gives; /* when nothing fails */
    const char *diagnosed; /* what may be said when something does; NULL: nothing */
};

extern const struct program programs[];
extern const size_t program_count;

#endif
