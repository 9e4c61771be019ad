/*
 * Signals as events: a task waits for them like for anything else. The library installs a handler only for the signals
 * that are asked for here (and those of osr_run()'s options), and puts the program's own back afterwards. A process
 * that is forked meanwhile has the program's own.
 *
 *     struct osr_signals signals;
 *
 *     osr_signals_open(&signals, SIGHUP, SIGTERM);
 *     while ((number = osr_signal_wait(&signals, NULL)) == SIGHUP)
 *         reload();
 *     osr_signals_close(&signals);
 */
#ifndef OSIER_SIGNAL_H
#define OSIER_SIGNAL_H

#include <signal.h>

#include <osier/base.h>
#include <osier/post.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set of signals that are watched; a reference, which may be copied and kept. The fields are private. */
struct osr_signals {
    struct osr_post post_;
    uint64_t reserved_[3];
};

/*
 * Begins to watch the signals, given as arguments: osr_signals_open(&signals, SIGHUP, SIGTERM). From here on they are
 * counted, whether anybody waits or not. It is bound to the calling task's innermost scope, and closed with it at the
 * latest. Several may watch the same signal, in this run and others; each is told of all. While it is open, a run in
 * which nothing else can happen is not taken for stuck. Never waits.
 *
 * 0; -EINVAL for a signal that cannot be handled, for one that tells of a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL), or
 * for none; -ENOMEM; -EMFILE, -ENFILE; -EPERM outside a task. If it is not 0, waiting gives -OSR_ECLOSED.
 */
#define osr_signals_open(signals, ...)                                                                      \
    osr_signals_open_with((signals), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int), \
                          OSR_HERE)
OSR_API int osr_signals_open_with(struct osr_signals *signals, const int *numbers, size_t count, const char *where);

/*
 * Waits for one of the signals. A cancellation point; cancelled, a signal that has come stays for the next wait. If
 * several have come they are told one by one, smallest number first; `*count`, which may be NULL, says how often that
 * one came since it was last told, as far as the system tells: of an ordinary signal that comes again before it was
 * handled, it does not. Several tasks may wait; each signal is told to one of them, in the order in which they came.
 *
 * The signal's number; -ECANCELED; -OSR_ECLOSED if it is closed, also meanwhile; -EINVAL; -EPERM.
 */
#define osr_signal_wait(signals, count) osr_signal_wait_here((signals), (count), OSR_HERE)
OSR_API int osr_signal_wait_here(struct osr_signals *signals, unsigned *count, const char *where);

/* Stops watching; tasks that wait get -OSR_ECLOSED, and the handlers that were there before are back, unless somebody
 * has put others in since. Never waits. By tasks and callbacks of the run. 0; -OSR_ECLOSED if it was closed; -EINVAL;
 * -EPERM. */
OSR_API int osr_signals_close(struct osr_signals *signals);

#ifdef __cplusplus
}
#endif

#endif
