/*
 * blocking: work that blocks or computes for long, in threads and in processes, while the tasks go on.
 *
 *     make examples && build/gcc/examples/blocking [--simulated]
 *     cc blocking.c $(pkg-config --cflags --libs osier)
 *
 * A function that blocks keeps every task waiting; in a thread of the pool it keeps only its caller. Five squares, each of
 * which takes a tenth of a second of blocking, come back in the order of the items. In a process of its own the work may
 * even crash: that is an error like others. (In simulated time jobs take none.)
 */
#include <signal.h>
#include <time.h>

#include "example.h"

enum { SQUARES = 5 };

struct square {
    int number;
    int result; /* out */
};

/* Stands in for a library that knows nothing of tasks. */
static int compute(int number)
{
    const struct timespec tenth = {.tv_nsec = 100000000};

    nanosleep(&tenth, NULL);
    return number * number;
}

static void number_squares(struct square squares[SQUARES])
{
    for (int i = 0; i < SQUARES; i++)
        squares[i] = (struct square){.number = i};
}

static void show(const char *where, const struct square squares[SQUARES])
{
    char line[64];
    int length = 0;

    for (int i = 0; i < SQUARES; i++)
        length += snprintf(line + length, sizeof(line) - (size_t)length, " %d", squares[i].result);
    say("%s:%s", where, line);
}

/* ---- In threads ---------------------------------------------------------------------------------------- */

/* Runs in a thread: it may block, but call nothing of the library except what its header names. */
OSR_JOB(square_in_thread, struct square, square)
{
    square->result = compute(square->number);
    return 0;
}

static int in_threads(void)
{
    struct square squares[SQUARES];
    int rc;

    number_squares(squares);
    rc = osr_offload(square_in_thread, &squares[3]); /* one */
    if (rc == 0)
        say("3 times 3 is %d", squares[3].result);
    if (rc == 0)
        rc = osr_map(square_in_thread, squares, SQUARES); /* many */
    if (rc == 0)
        show("in threads", squares);
    return rc;
}

/* ---- In processes -------------------------------------------------------------------------------------- */

/* Runs in a process, on a copy of the program's memory: what it finds has to be given back. */
OSR_JOB(square_in_process, struct square, square)
{
    int result = compute(square->number);

    return osr_worker_give(&result, sizeof(result));
}

/* A task waits for each process. */
OSR_TASK(run_process, struct square, square)
{
    return osr_worker(square_in_process, square, .result = &square->result, .room = sizeof(square->result));
}

OSR_JOB(crash, void, unused)
{
    raise(SIGKILL);
    return 0;
}

static int in_processes(void)
{
    struct square squares[SQUARES];
    int rc;

    number_squares(squares);
    rc = osr_gather(run_process, squares, SQUARES);
    if (rc < 0)
        return rc;
    show("in processes", squares);

    rc = osr_worker(crash, NULL);
    if (rc != -OSR_EWORKER)
        return rc;
    say("one that crashes: %s", osr_error_message(osr_error_last()));
    return 0;
}

/* ---- Both ---------------------------------------------------------------------------------------------- */

static int program(void)
{
    int rc = in_threads();

    return rc < 0 ? rc : in_processes();
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
