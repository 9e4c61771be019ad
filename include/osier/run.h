/*
 * Running a program: osr_run() runs one task, the root, and everything that it starts, to the end. A runner does that
 * several times, on one loop. (To run inside a libev loop that the program has already: attach.h.)
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
    /* Starts at 0 and jumps to the next deadline when no task can run. It waits for no other process but the run's
     * workers (osr_worker()). */
    OSR_CLOCK_SIMULATED
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
    OSR_CHOICE_JOB,      /* under the simulated clock: which of the offloaded jobs is run next, 0 the first; whether one
                          * whose caller is cancelled has begun, 0 no */
    OSR_CHOICE_FAULT,    /* whether a call fails: 0 no, k the k-th of its errors; `what` names the call, and behind its end
                          * stand the names of the errors: "recv\0ECONNRESET, ETIMEDOUT, ENOMEM" */
    /* Asked only if osr_run_options.inject says so. */
    OSR_CHOICE_CANCEL, /* at each cancellation point that is not refused: 0 go on; 1 the calling task's own scope is
                        * cancelled first; 2 the root's. `what` is the place of the call */
    OSR_CHOICE_SHORT   /* how much a read or write may move: 0 all; 1 one byte; 2 half of it; `what` names the call */
};

/*
 * The one door for all that is not decided by the program: gives a number from 0 to `n` - 1, `n` > 1. Anything
 * else counts as 0. It runs between the steps of tasks and must call nothing of the library but
 * osr_shields() (debug.h).
 */
typedef unsigned osr_choose(void *arg, enum osr_choice kind, unsigned n, const char *what);

/*
 * Under the simulated clock: asked when nothing can go on but by the world outside, in real time. Once for each descriptor
 * that a task waits for, with the place of the call; and once, with -1 and NULL, if anything else can come: from signals
 * and posts that are open, threads, workers. `waited` is how long the run has waited so far, in nanoseconds. Gives how much
 * longer it may; of several answers the longest counts, and when that time is over, it is asked again. OSR_NEVER: for as
 * long as it takes; 0: nothing comes, and where that is all that is said, the run is stuck (-OSR_EDEADLOCK). Must call
 * nothing of the library.
 */
typedef int64_t osr_patience(void *arg, int fd, const char *where, int64_t waited);

struct osr_run_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* of the root task; else its function's */

    /* Of every task in bytes, its guard besides; 0: 65536. Rounded up to a power of two, and to 16384 at least; -EINVAL
     * above SIZE_MAX / 64. */
    size_t stack_size;
    /* So many stacks whose tasks have ended keep their memory for the next tasks for as long as the run lasts; 0: 1024. The
     * memory of others goes back to the system, but for the address space, when nobody has needed it for a second and the
     * run waits. (Not under the simulated clock, nor attached to a loop of the program's.) */
    size_t spare_stacks;
    enum osr_clock clock;     /* which clock */
    bool debug;               /* check all structures at every look; name slow steps, raw closes, leaks at the end */
    /* Leave SIGSEGV alone: a stack overflow is then not named, unless the program's handler calls osr_fault_report(). */
    bool no_overflow_handler;

    /* A task that runs longer than this, in nanoseconds, without letting others run is told to `diagnose`. 0: 100 ms in
     * a debug run, else never; OSR_NEVER: never, which costs nothing. Simulated time stands still meanwhile: nobody is
     * slow in it. */
    int64_t slow_step;
    /* SIGINT ends the run in order: the root is cancelled as by osr_fail_fatal() with -EINTR, shields hold with their
     * grace, and osr_run() gives -EINTR. The second one ends the program, as if nobody handled it. A program that was begun
     * with SIGINT ignored, as by nohup or in the background of a script, goes on ignoring it. A run in which
     * nothing but this could ever happen is stuck all the same: to wait for a signal there is osr_signal_wait(). */
    bool interrupts;
    /* On this signal, such as SIGUSR1, the tree of the run goes to `diagnose`. If a task runs at that moment, that it
     * does is told at once, from within the signal handler (`diagnose` must be fit for that; the default is), and the
     * tree follows when it waits. 0: none. */
    int dump_signal;

    const struct osr_allocator *allocator; /* NULL: malloc() */

    osr_diagnose *diagnose; /* who hears of misuse, leaks, runaway tasks; NULL: standard error */
    void *diagnose_arg;
    osr_observe *observe; /* who is told what tasks and scopes do; NULL: nobody */
    void *observe_arg;
    osr_choose *choose; /* who decides; NULL: always 0, which costs nothing */
    void *choose_arg;
    osr_touched *touched; /* who is told what steps touch (debug.h); NULL: nobody, which costs nothing */
    void *touched_arg;
    osr_patience *patience; /* how long a simulated run waits for the world outside; NULL: for as long as it takes */
    void *patience_arg;
    /* `choose` is also asked for cancellations and for short reads and writes (test.h); the simulated clock of a runner
     * begins anew with each run. */
    bool inject;
};

/*
 * Runs `task` with `arg` as the root task until it has ended: osr_run(program, &config, .debug = true). To be
 * called outside tasks; the thread is taken up until it returns. Several threads may each have a run.
 *
 * Gives what the root returned, with its error in the thread's slot; -OSR_ETASKCANCELED if it was cancelled, with an
 * error that says where and why; the code of the first fatal error (osr_fail_fatal(), .interrupts), whatever became of
 * it inside; -OSR_EDEADLOCK if nothing could run any more, with the tree of that moment as the message; -EBUSY inside a
 * run; -EINVAL, also for a negative `slow_step`, a `dump_signal` that cannot be handled, an allocator without a function;
 * -ENOMEM, or what the system failed with at the start.
 */
#define osr_run(...) OSR_RUN_(__VA_ARGS__, .size = sizeof(struct osr_run_options))
#define OSR_RUN_(task, argument, ...)                        \
    osr_run_with(&(task).routine_, (1 ? (argument) : (task).arg_), \
                 &(const struct osr_run_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_run_with(const struct osr_routine *routine, void *arg, const struct osr_run_options *options);

/* ---- Runners ------------------------------------------------------------------------------------------- */

/*
 * A runner runs several root tasks, one after the other, and keeps what does not have to be made anew each time: the
 * loop, the clock, the stacks (asyncio.Runner). For tests, for tools that enter and leave their tasks often, and for
 * watchers of the program's own on the same loop (osr_runner_loop() in attach.h).
 *
 *     struct osr_runner *runner;
 *     int rc = osr_runner_new(&runner, .stack_size = 1 << 18);
 *
 *     if (rc == 0)
 *         rc = osr_runner_run(runner, load, &config);
 *     if (rc == 0)
 *         rc = osr_runner_run(runner, serve, &config);
 *     osr_runner_free(runner);
 *
 * A run of a runner sees nothing of those before it: their handles are stale, what they registered is forgotten. Only
 * the clock goes on, also a simulated one: that stops at OSR_NEVER, after 292 years in all its runs, and from then on
 * nothing is ever due. A run that failed, was cancelled or could not go on leaves the runner as good as new, and errors
 * taken from a run stay valid. A runner belongs to the thread that made it. In a forked child it is of no use: there its
 * calls give -EPERM.
 */
struct osr_runner;

/*
 * Makes a runner, with the options of osr_run(), which hold for each of its runs: osr_runner_new(&runner, .debug = true).
 * The options' `name` is copied; what they point to otherwise must live as long as the runner. May be called from
 * anywhere; never waits.
 *
 * 0; else `*runner` is NULL: -EINVAL as above; -ENOMEM, or what the system failed with.
 */
#define osr_runner_new(...) OSR_RUNNER_NEW_(__VA_ARGS__, .size = sizeof(struct osr_run_options))
#define OSR_RUNNER_NEW_(runner, ...) \
    osr_runner_new_with((runner), &(const struct osr_run_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_runner_new_with(struct osr_runner **runner, const struct osr_run_options *options);

/*
 * Runs `task` with `arg` as the root task until it has ended. Gives what osr_run() gives, in the same way; -EBUSY inside a
 * run, of this or any other runner, or in a job that a run of this one has begun on its own thread (the simulated clock);
 * -EINVAL; -EPERM in another thread.
 */
#define osr_runner_run(runner, task, argument) \
    osr_runner_run_here((runner), &(task).routine_, (1 ? (argument) : (task).arg_), OSR_HERE)
OSR_API int osr_runner_run_here(struct osr_runner *runner, const struct osr_routine *routine, void *arg,
                                const char *where);

/* Gives the runner up, with its loop: watchers of the program's must be off it. NULL is ignored. 0; -EBUSY in a run of
 * its own or such a job; -EPERM in another thread, and then nothing changes. */
OSR_API int osr_runner_free(struct osr_runner *runner);

#ifdef __cplusplus
}
#endif

#endif
