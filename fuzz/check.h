/* One input: read, run by the model, run by the library, compared. */
#ifndef OSIER_FUZZ_CHECK_H
#define OSIER_FUZZ_CHECK_H

#include "interpreter/interpreter.h"
#include "model/model.h"

enum outcome_of_check {
    CHECK_FINE,
    CHECK_SKIPPED,  /* the model stopped or gave up: nothing was compared */
    CHECK_DIFFERS,  /* the library does not do what the model says */
    CHECK_BROKEN,   /* an invariant does not hold */
    CHECK_UNSTEADY, /* a run of its own was another one than that on the runner */
    CHECK_DIES,     /* the process died */
    CHECKS
};

struct finding {
    enum outcome_of_check outcome;
    enum world world; /* in which it was found */
    struct verdict verdict;
    char kind[96]; /* what a smaller input must still show */
};

/* Whether each input runs under libev as well, where it must do what it does in simulated time. */
extern bool check_hybrid;

/* Whether each input also runs with each of the library's calls for memory failing, once and from there on: nothing may be
 * broken, and if anything is other than it was, some call or error must say so. check_faults_made counts them. */
extern bool check_faults;
extern unsigned long check_faults_made;

/* Lets the model run an input which is checked next or soon, as number `which` of at most CHECK_AHEAD; the bytes stay where
 * they are until then. A processor is faster at one thing several times than at several in turn. */
enum { CHECK_AHEAD = 32 };
void check_ahead(unsigned which, const unsigned char *bytes, size_t size);

/* `twice` runs the program a second time, in a run of its own. */
void check_input(const unsigned char *bytes, size_t size, bool twice, struct finding *finding);

/* The program, and where its run left the model's. */
void check_tell(const unsigned char *bytes, size_t size, FILE *stream);

/* A smaller input of the same kind of finding, into `bytes`: its size. */
size_t check_shrink(unsigned char *bytes, size_t size);

#endif
