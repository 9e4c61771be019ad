/*
 * What the small examples share: a main(), and lines that begin with the time.
 *
 * `int main(int argc, char **argv) { return example_run(argc, argv, program); }` runs the function as the root task, on
 * the clock of the machine, or with --simulated in simulated time, where hours take microseconds and every run is like
 * the one before. It says how long the run took by its own clock, and if it failed shows the errors.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <osier.h>

/* Prints a line behind the seconds since the run began, by its clock. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
    static int64_t began = -1;
    va_list arguments;

    if (began < 0)
        began = osr_now();
    printf("%5.1f s  ", (double)(osr_now() - began) / 1e9);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

typedef int example_program(void);

OSR_TASK(example_root, example_program *, program)
{
    int rc;

    say("begun");
    rc = (*program)();
    say("%s", rc < 0 ? "failed" : "done");
    return rc;
}

static inline int example_run(int argc, char **argv, example_program *program)
{
    bool simulated = argc == 2 && strcmp(argv[1], "--simulated") == 0;
    int rc;

    if (argc > 1 && !simulated) {
        fprintf(stderr, "usage: %s [--simulated]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line at once, also into a pipe */
    rc = osr_run(example_root, &program, .name = "program", .clock = simulated ? OSR_CLOCK_SIMULATED : OSR_CLOCK_REAL);
    if (rc < 0)
        osr_error_print(osr_error_last(), stderr);
    return rc < 0;
}

#endif
