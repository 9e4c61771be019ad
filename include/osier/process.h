/*
 * Workers: a function that runs in a forked process, with bytes back (ProcessPoolExecutor): for what may crash, leak,
 * or has to be killed.
 */
#ifndef OSIER_PROCESS_H
#define OSIER_PROCESS_H

#include <osier/base.h>
#include <osier/group.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_worker_options {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* for errors; else the function's */
    void *result;      /* NULL, or where the bytes go that the worker gives with osr_worker_give() */
    size_t room;       /* how many bytes fit there */
    size_t *got;       /* NULL, or receives how many came, whatever the outcome */
    int64_t grace;     /* between SIGTERM and SIGKILL, when cancelled; 0: one second; OSR_NEVER: no SIGKILL */
};

/*
 * Forks, and runs a function made by OSR_TASK (or OSR_JOB, which is the same) there:
 *
 *     osr_worker(render, &page, .result = image, .room = sizeof(image), .got = &n)
 *
 * The child has a copy of the program's memory, the calling thread only, a stack of 8 MB, and no run: a call that is not for
 * anywhere gives -EPERM there, but for osr_worker_give(), and for what a run of its own makes (osr_run()). It ends with the
 * function, without running the program's exit handlers, and with the program: should that die, the child is killed.
 *
 * What stood in the buffer of standard output is written before the fork. What the function prints with stdio is lost
 * unless it flushes that; leave the program's other streams alone, whose buffers the worker has copies of. It ignores
 * the signals that the run watches (signal.h, .interrupts, .dump_signal), which a terminal sends to all processes of a
 * program, but for SIGTERM and SIGCHLD. Values (osr_value()) are those of the caller.
 *
 * A cancellation point: cancelled, the process gets SIGTERM, after `grace` SIGKILL, and is reaped before the call
 * returns; its result wins if it has come whole by the time of the cancellation. Cancelled, `result` may have been
 * written to. Other children of the program are not touched, and those that the function makes are its own to end.
 *
 * It may execute another program, which then has no result: whatever way it ends, -OSR_EWORKER comes of it, with a message
 * that says how. What is ignored stays so in that program: set those signals to SIG_DFL before.
 *
 * Under the simulated clock the process is a real one. The clock stands still while it runs: a worker that ends has
 * taken no time. Only when the run would wait for a deadline, and that would have come by a real clock, time moves
 * there: so a worker that hangs is cut by its timeout, which takes as long as it says.
 *
 * Without pidfds (before Linux 5.3) a death without a result is noticed when nobody holds the worker's end of the
 * connection any more: its own children may.
 *
 * What the function returned, with its error (code, message, place, and its causes) in the slot; an exception group
 * comes as one error, with its tree in words. -OSR_EWORKER if the process died of a signal or by exit(), or without a
 * result whichever way, with a message that says which; -OSR_ESPURIOUS if the function gave -ECANCELED; -EMSGSIZE if it
 * gave more bytes than fit, which ends it like a cancellation; -ECANCELED; what socketpair(), fork() or recv() failed
 * with; -EINVAL, also for a negative grace, or room without a place for the result; -ENOMEM; -EPERM.
 */
#define osr_worker(...) OSR_WORKER_(__VA_ARGS__, .size = sizeof(struct osr_worker_options))
#define OSR_WORKER_(function, arg, ...)                                   \
    osr_worker_with(&(function).routine_, (1 ? (arg) : (function).arg_),  \
                    &(const struct osr_worker_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_worker_with(const struct osr_routine *function, void *arg, const struct osr_worker_options *options);

/* In a worker: sends `size` bytes to whoever called, behind those before; one thread at a time. Blocks, also inside a
 * run. 0; -EPIPE, never a signal, if the caller has given up; what send() failed with; -EINVAL; -EPERM outside a worker,
 * also in a process that the worker forks. */
OSR_API int osr_worker_give(const void *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
