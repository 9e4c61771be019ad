/*
 * The oracle: what the rules say that a program does. It is written from the rules and the contracts of the public
 * headers, and shares nothing with the library: no line of its source, no function, no structure; only the names of
 * codes.
 */
#ifndef OSIER_FUZZ_MODEL_H
#define OSIER_FUZZ_MODEL_H

#include "log.h"
#include "program.h"

enum model_verdict {
    MODEL_DONE,
    MODEL_STOPS,   /* nothing can ever run again, also after cancelling: the library would stop the program */
    MODEL_GIVES_UP /* too large for the model */
};

/* Runs the program to its end and writes what must happen into `log`. */
enum model_verdict model_run(const struct program *program, struct log *log);

#endif
