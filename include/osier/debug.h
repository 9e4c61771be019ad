/* Seeing what a program does: the tree of tasks, what went wrong, what was left open, what happened when. */
#ifndef OSIER_DEBUG_H
#define OSIER_DEBUG_H

#include <stdio.h>

#include <osier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The tree ------------------------------------------------------------------------------------------ */

/*
 * Writes all tasks, groups and scopes of the calling runtime as a tree: where each was opened or spawned, where
 * it waits, what is cancelled and why, and the time that each deadline leaves. Never waits. For tasks, and for
 * callbacks of the runtime (call.h, post.h, the program's own watchers beside it: attach.h). 0; -EIO if the stream
 * failed; -EINVAL; -EPERM elsewhere.
 */
OSR_API int osr_tree_print(FILE *stream);

/* The same text into `buffer`, cut at `size` bytes; NULL: nowhere. Gives the whole length, like snprintf(); 0 elsewhere. */
OSR_API size_t osr_tree_format(char *buffer, size_t size);

/*
 * Names through the diagnostic hook, a line each, what is open and should have an owner:
 *   - descriptors that this library made and that were not closed, with the place where each was made (only a debug
 *     run knows them);
 *   - outcomes of ended tasks that are kept for handles, with the task and where it was spawned;
 *   - errors that somebody holds (a slot, a group that is open, who took or retained them), with code, place and task.
 *     What is held by another error, in a tree or as a cause, and by an outcome, is not told beside it.
 * Never waits. Gives how many things it named; -EPERM outside a task.
 *
 * A debug run names by itself, at its end, what is left then: descriptors, also those closed by a bare close() that
 * nobody had noticed (OSR_DIAGNOSIS_DESCRIPTOR), and errors that are still held, but for what the run itself gives.
 */
OSR_API int osr_leaks_report(void);

/* ---- Diagnostics --------------------------------------------------------------------------------------- */

enum osr_diagnosis {
    OSR_DIAGNOSIS_MISUSE = 1, /* the program is about to be stopped: see the text */
    OSR_DIAGNOSIS_OVERFLOW,   /* a task's stack is used up; told from within a signal handler */
    OSR_DIAGNOSIS_RUNAWAY,    /* a task goes on calling in a cancelled scope */
    OSR_DIAGNOSIS_LEAK,       /* something was left open */
    OSR_DIAGNOSIS_DESCRIPTOR, /* a registered descriptor was closed behind the library's back */
    OSR_DIAGNOSIS_SLOW,       /* a task kept the thread for longer than osr_run_options.slow_step */
    OSR_DIAGNOSIS_TRACE,      /* the file that OSR_TRACE names cannot be written; the run goes on */
    OSR_DIAGNOSIS_RUNNING,    /* .dump_signal: which task runs at this moment; told from within a signal handler */
    OSR_DIAGNOSIS_TREE,       /* .dump_signal: the tree */
    OSR_DIAGNOSIS_UNWATCHED   /* for want of memory nothing wakes the run; until it is there, it looks by itself */
};

/*
 * Told of what the program should know and no return code can say. `text` is one or more whole lines and lives
 * for the call. The hook must not call the library. The default writes `text` to standard error.
 */
typedef void osr_diagnose(void *arg, enum osr_diagnosis kind, const char *text);

/*
 * For a handler of SIGSEGV of the program's own in a run with .no_overflow_handler: does what the library's handler would
 * have done. If `address`, the si_addr of a signal that a fault has raised and nobody has sent, lies in the guard of the
 * stack of the task that runs, the diagnostic hook is told OSR_DIAGNOSIS_OVERFLOW; and the timeline is saved. The handler
 * must be on an alternate stack (SA_ONSTACK). In other runs, and outside runs, it does nothing. Never waits.
 */
OSR_API void osr_fault_report(const void *address);

/* ---- Observing ----------------------------------------------------------------------------------------- */

enum osr_trace_kind {
    OSR_TRACE_SPAWN = 1, /* a task was queued; `where` is the spawn's place */
    OSR_TRACE_STEP,      /* a task begins to run, or goes on */
    OSR_TRACE_WAIT,      /* the running task is parked, in `call` at `where` */
    OSR_TRACE_WAKE,      /* a parked task was woken; `code` is what its wait gives */
    OSR_TRACE_CANCEL,    /* a scope of `task` was cancelled; `where` is the scope's place, `code` the reason's */
    OSR_TRACE_END        /* a task has ended with `code`; `where` is the spawn's place */
};

/* What happened, in logical terms only: the same program with the same inputs gives the same events. */
struct osr_trace_event {
    enum osr_trace_kind kind;
    int64_t at;       /* the runtime's clock */
    uint64_t task;    /* the task's number, counted from 1 in the order of spawning */
    const char *name; /* its name */
    const char *call;
    const char *where;
    int code;
};

/* Told of each event. `event` lives for the call. The observer must not call the library. */
typedef void osr_observe(void *arg, const struct osr_trace_event *event);

/* ---- What steps touch ---------------------------------------------------------------------------------- */

/* What a step of a task has to do with what tasks share, see osr_run_options.touched. */
enum osr_touch {
    OSR_TOUCH_READY, /* a task is about to be chosen: said of each that is ready, in their order, before the door is asked */
    OSR_TOUCH_STEP,  /* `task` has been: what follows belongs to its step */
    OSR_TOUCH_IDLE,  /* none is: the loop looks at the world, and time may pass */
    OSR_TOUCH_TASK,  /* `task` was woken, sees itself or its deadline changed by another, or was asked about */
    OSR_TOUCH_READ,  /* `object` was looked at */
    OSR_TOUCH_ADD,   /* it was changed in a way that several of these come to the same in any order */
    OSR_TOUCH_AFTER, /* all who have added to it until now had to, for this step to come */
    OSR_TOUCH_WRITE, /* it was changed, or what is to be done depends on it */
    OSR_TOUCH_ALL    /* more than is known: callbacks, descriptors, jobs, primitives of the program's own */
};

/*
 * Told what each step touches, so that a kit can tell which orders of steps come to the same. Steps that touch nothing in
 * common may be exchanged; what the program's own code reads and writes is not seen. `object` is an address, of an event, a
 * queue, a group; `task` a number. A call that can be a cancellation point and says nothing else says OSR_TOUCH_ALL, which
 * may also come from within a signal handler that fires a post. Must call nothing of the library.
 */
typedef void osr_touched(void *arg, enum osr_touch how, const void *object, uint64_t task);

/* ---- The timeline -------------------------------------------------------------------------------------- */

/*
 * If the environment variable OSR_TRACE names a file, every osr_run() writes what happened when into it, in Chrome's
 * Trace Event format (JSON), to be opened in https://ui.perfetto.dev or chrome://tracing. Every task has a track, with
 * its number as `tid` and its name; on it
 *   - a slice "runs" for every step, and one for every wait, named after its call, with `call` and `where`;
 *   - instants: "spawn" (`where`), "wake" (`code`), "cancel" of one of its scopes (the reason's `code`, the scope's
 *     place `where`), and "end" (`code`); codes below 0 come with their `symbol`;
 *   - an arrow from the step that spawned it to its first one.
 * Times are those of the run's clock in microseconds, so that under a simulated clock the same program writes the same
 * file, but for its process_name, which is the place of the osr_run().
 *
 * The second traced run of a process, on whatever thread, writes into the file with ".2" behind its name, and so on;
 * "%p" in the name stands for the number of the process, and should be there if the program starts others of its kind
 * or has runs in forked children. An existing file is overwritten. What the program's own observer is told stays the
 * same. The file is complete JSON from the start and after each write. What happened is written as 64 KB come
 * together, when the run ends, in whichever way, when the library stops the program, when the thread of the run calls
 * exit(), and at a SIGSEGV (with .no_overflow_handler: if the program's handler calls osr_fault_report()).
 *
 * A file that cannot be written is told through the diagnostic hook (OSR_DIAGNOSIS_TRACE), and the run goes on. In
 * programs that have more rights than their user (set-user-ID) the variable is ignored.
 */

/* ---- For test kits ------------------------------------------------------------------------------------- */

/*
 * What a kit such as test.h needs of a run under the simulated clock, for tests to choose the order of things.
 *
 * Waits until nothing else can run at this moment: no task is ready, no descriptor, no job, nothing due. Then all who
 * wait so go on, before the clock moves. A cancellation point. 0; -ECANCELED; -ENOTSUP on a real clock; -EPERM.
 */
#define osr_settle() osr_settle_here(OSR_HERE)
OSR_API int osr_settle_here(const char *where);

/*
 * Lets so many jobs that were offloaded, or will be, run from now on; the others are held. UINT_MAX: all, as at the
 * beginning of a run. A run in which only jobs that are held could go on is stuck. Never waits. By tasks and callbacks of
 * the run. 0; -ENOTSUP on a real clock; -EPERM.
 */
OSR_API int osr_jobs_allow(unsigned count);

/* How many shields the calling task has open: what is cancelled outside the innermost is not felt here. 0 outside tasks.
 * May also be asked at the door (osr_run_options.choose), of the task that is about to call. Never waits. */
OSR_API unsigned osr_shields(void);

#ifdef __cplusplus
}
#endif

#endif
