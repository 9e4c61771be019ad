/*
 * Signals as events: a task waits for them like for anything else. The library installs a handler only for the signals
 * that are asked for here (and those of osr_run()'s options), and puts the program's own back afterwards.
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
#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set of signals that are watched, in the frame of whoever watches. The fields are private. */
struct osr_signals {
    struct osr_post post_;
    struct osr_waiters waiters_;
    sigset_t set_;
    void *watch_;
    uint64_t reserved_[4];
};

/*
 * Begins to watch the signals, given as arguments: osr_signals_open(&signals, SIGHUP, SIGTERM). From here on they are
 * counted, whether anybody waits or not. It is bound to the calling task's innermost scope, and closed with it at the
 * latest. Several may watch the same signal, in this run and others; each is told of all. Never waits.
 *
 * 0; -EINVAL for a signal that cannot be handled, or none; -ENOMEM; -EMFILE; -EPERM outside a task.
 */
#define osr_signals_open(signals, ...)                                                                      \
    osr_signals_open_with((signals), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int), \
                          OSR_HERE)
OSR_API int osr_signals_open_with(struct osr_signals *signals, const int *numbers, size_t count, const char *where);

/*
 * Waits for one of the signals. A cancellation point; cancelled, a signal that has come stays for the next wait. If
 * several have come they are told one by one, smallest number first; `*count`, which may be NULL, says how often that
 * one came since it was last told. Several tasks may wait; each signal is told to one of them.
 *
 * The signal's number; -ECANCELED; -OSR_ECLOSED if it is closed meanwhile; -EINVAL; -EPERM.
 */
#define osr_signal_wait(signals, count) osr_signal_wait_here((signals), (count), OSR_HERE)
OSR_API int osr_signal_wait_here(struct osr_signals *signals, unsigned *count, const char *where);

/* Stops watching; tasks that wait get -OSR_ECLOSED, and the handlers that were there before are back, unless somebody
 * has put others in since. Never waits. 0; -OSR_ECLOSED if it was closed; -EINVAL; -EPERM. */
OSR_API int osr_signals_close(struct osr_signals *signals);

#ifdef __cplusplus
}
#endif

#endif
