/*
 * Running a program: osr_run() runs one task, the root, and everything that it starts, to the end.
 *
 *     OSR_TASK(program, struct config, config) { … }
 *
 *     int main(void)
 *     {
 *         struct config config = …;
 *         int rc = osr_run(program, &config);
 *
 *         if (rc < 0)
 *             osr_error_print(osr_error_last(), stderr);
 *         return rc < 0;
 *     }
 */
#ifndef OSIER_RUN_H
#define OSIER_RUN_H

#include <osier/base.h>
#include <osier/debug.h>
#include <osier/group.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which clock, and with it which loop, a run has. */
enum osr_clock {
    OSR_CLOCK_REAL,     /* CLOCK_MONOTONIC and libev */
    OSR_CLOCK_SIMULATED /* starts at 0 and jumps to the next deadline when no task can run; it waits for no other process */
};

/*
 * Where a run gets its memory: one function like realloc(). `resize(arg, NULL, n)` allocates, `resize(arg, p,
 * n)` moves, `resize(arg, p, 0)` frees and gives NULL. NULL otherwise means no memory, and `p` stays as it was.
 * What it gives is aligned like malloc()'s. It must stay in place until every error taken from the run has been
 * released. Stacks and the table of handles come from mmap() instead.
 */
struct osr_allocator {
    void *(*resize)(void *arg, void *memory, size_t size);
    void *arg;
};

/* What is being chosen, see osr_run_options.choose. */
enum osr_choice {
    OSR_CHOICE_READY,    /* which of the ready tasks runs next; 0 is the one that waits longest */
    OSR_CHOICE_DEADLINE, /* which of the sleeps or deadlines of one instant comes first; 0: the first set */
    OSR_CHOICE_EVENT,    /* which of the descriptors that one poll found ready is told first */
    OSR_CHOICE_FAULT     /* whether a call fails: 0 no, k the k-th of its errors; `what` names the call */
};

/*
 * The one door for all that is not decided by the program: gives a number from 0 to `n` - 1, `n` > 1. Anything
 * else counts as 0. It runs between the steps of tasks and must call nothing of the library.
 */
typedef unsigned osr_choose(void *arg, enum osr_choice kind, unsigned n, const char *what);

struct osr_run_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* of the root task; else its function's */

    size_t stack_size;        /* of every task in bytes, guard included; 0: 65536. Rounded up to a power of two */
    enum osr_clock clock;     /* which clock */
    bool debug;               /* check all structures at every look; name slow steps, raw closes, leaks at the end */
    bool no_overflow_handler; /* leave SIGSEGV alone: a stack overflow is then not named */

    /* A task that runs longer than this, in nanoseconds, without letting others run is told to `diagnose`. 0: 100 ms in
     * a debug run, else never; OSR_NEVER: never, which costs nothing. Simulated time stands still meanwhile: nobody is
     * slow in it. */
    int64_t slow_step;

    const struct osr_allocator *allocator; /* NULL: malloc() */

    osr_diagnose *diagnose; /* who hears of misuse, leaks, runaway tasks; NULL: standard error */
    void *diagnose_arg;
    osr_observe *observe; /* who is told what tasks and scopes do; NULL: nobody */
    void *observe_arg;
    osr_choose *choose; /* who decides; NULL: always 0, which costs nothing */
    void *choose_arg;
};

/*
 * Runs `task` with `arg` as the root task until it has ended: osr_run(program, &config, .debug = true). To be
 * called outside tasks; the thread is taken up until it returns. Several threads may each have a run.
 *
 * Gives what the root returned, with its error in the thread's slot; -OSR_ETASKCANCELED if it was cancelled;
 * the code of the first fatal error (osr_fail_fatal()), whatever became of it inside; -OSR_EDEADLOCK if nothing
 * could run any more, with the tree of that moment as the message; -EBUSY inside a run; -EINVAL; -ENOMEM, or what
 * the system failed with at the start.
 */
#define osr_run(...) OSR_RUN_(__VA_ARGS__, .size = sizeof(struct osr_run_options))
#define OSR_RUN_(task, argument, ...)                        \
    osr_run_with(&(task).routine_, (1 ? (argument) : (task).arg_), \
                 &(const struct osr_run_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_run_with(const struct osr_routine *routine, void *arg, const struct osr_run_options *options);

#ifdef __cplusplus
}
#endif

#endif
