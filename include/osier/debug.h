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
 * it waits, what is cancelled and why, and the time that each deadline leaves. Never waits. 0; -EIO if the stream
 * failed; -EPERM.
 */
OSR_API int osr_tree_print(FILE *stream);

/* The same text into `buffer`, cut at `size` bytes. Gives the whole length, like snprintf(); 0 outside a task. */
OSR_API size_t osr_tree_format(char *buffer, size_t size);

/*
 * Reports through the diagnostic hook what is open and should have an owner: descriptors that this library made
 * and that were not closed, each with the place where it was made (only a debug run knows them), how many errors
 * are held (in slots, in trees, or taken), and how many outcomes of ended tasks are kept for handles. A debug run
 * names its descriptors by itself at its end. Gives how many things there are; -EPERM.
 */
OSR_API int osr_leaks_report(void);

/* ---- Diagnostics --------------------------------------------------------------------------------------- */

enum osr_diagnosis {
    OSR_DIAGNOSIS_MISUSE = 1, /* the program is about to be stopped: see the text */
    OSR_DIAGNOSIS_OVERFLOW,   /* a task's stack is used up; told from within a signal handler */
    OSR_DIAGNOSIS_RUNAWAY,    /* a task goes on calling in a cancelled scope */
    OSR_DIAGNOSIS_LEAK,       /* something was left open */
    OSR_DIAGNOSIS_DESCRIPTOR, /* a registered descriptor was closed behind the library's back */
    OSR_DIAGNOSIS_RUNNING,    /* .dump_signal: which task runs at this moment; told from within a signal handler */
    OSR_DIAGNOSIS_TREE        /* .dump_signal: the tree */
};

/*
 * Told of what the program should know and no return code can say. `text` is one or more whole lines and lives
 * for the call. The hook must not call the library. The default writes `text` to standard error.
 */
typedef void osr_diagnose(void *arg, enum osr_diagnosis kind, const char *text);

/* ---- Observing ----------------------------------------------------------------------------------------- */

enum osr_trace_kind {
    OSR_TRACE_SPAWN = 1, /* a task was queued; `where` is the spawn's place */
    OSR_TRACE_STEP,      /* a task begins to run, or goes on */
    OSR_TRACE_WAIT,      /* the running task is parked, in `call` at `where` */
    OSR_TRACE_WAKE,      /* a parked task was woken; `code` is what its wait gives */
    OSR_TRACE_CANCEL,    /* a scope of `task` was cancelled; `where` is the scope's place, `code` the reason's */
    OSR_TRACE_END        /* a task has ended with `code` */
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

#ifdef __cplusplus
}
#endif

#endif
