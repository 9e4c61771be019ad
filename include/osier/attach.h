/*
 * Running inside a libev loop that the program runs already: tasks advance from the program's own ev_run(), beside its
 * watchers (asyncio inside a foreign loop). The one header of osier that includes libev's; <osier.h> does not include it.
 *
 *     static void line_came(struct ev_loop *loop, ev_io *io, int events)    // a watcher of the program's
 *     {
 *         …
 *         osr_queue_try_put(&lines, &line);                                 // wakes a task
 *     }
 *
 *     static void ended(void *arg, int rc)                                  // the root task has ended
 *     {
 *         if (rc < 0)
 *             osr_error_print(osr_error_last(), stderr);
 *         ev_break(EV_DEFAULT, EVBREAK_ALL);
 *     }
 *
 *     int main(void)
 *     {
 *         struct osr_attachment tasks;
 *         …
 *         osr_attach(&tasks, EV_DEFAULT, program, &config, .done = ended);
 *         ev_run(EV_DEFAULT, 0);
 *         …
 *     }
 *
 * From then until the root has ended, the calling thread has a run, as in osr_run(). The program's watchers are called as
 * before, on that thread and on no task: they may set events, put into queues (osr_queue_try_put()), complete futures, make
 * calls (osr_call_soon(), which are bound to the root's scope), ask the clock (osr_now()), and whatever else says that it
 * is for "tasks and callbacks of the run"; a call that waits gives -EPERM. Tasks may start and stop watchers.
 *
 * Each iteration of the loop gives the tasks a turn, of 256 steps at most, before it looks at its watchers. When no task
 * can run, the run costs nothing: the loop waits for its watchers, for the descriptors of the tasks and for the nearest
 * deadline. As long as the root runs, ev_run() has something to wait for, and does not return by itself; nothing is ever
 * taken for stuck, since the program may wake any task.
 *
 * The loop may be the default loop or any other, and is run as the program likes: with EVRUN_NOWAIT, from inside a
 * callback, stopped by ev_break() and run again. What must not be: ev_run() called by a task (the program is stopped, with
 * a message), or in another thread; ev_loop_destroy() before the root has ended; a watcher of type ev_prepare with the
 * lowest priority (EV_MINPRI) that was started before osr_attach() and wakes tasks: it comes after their turn. Of the
 * default loop one should know that libev reaps every child process for it, if its SIGCHLD is left to it.
 *
 * In a forked child the run does not go on: after ev_loop_fork() its watchers take themselves off the loop.
 */
#ifndef OSIER_ATTACH_H
#define OSIER_ATTACH_H

#include <ev.h>

#include <osier/base.h>
#include <osier/run.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A run inside a loop of the program's, in memory of the caller's, which must stay in its place until the root has ended.
 * The fields are private. Nothing has to be undone then.
 */
struct osr_attachment {
    void *run_; /* NULL: it has ended, or did not begin */
    int rc_;
    uint64_t reserved_[4];
};

/*
 * Called once, when the root has ended: `rc` is what osr_run() would have given, with its error in the thread's slot. The
 * run is over, its watchers are off the loop, and all that is allowed outside a run may be done, the next osr_attach() too.
 */
typedef void osr_detached(void *arg, int rc);

struct osr_attach_options {
    size_t size;        /* of this struct; the macro sets it */
    const char *where;  /* the place; the macro sets it */
    osr_detached *done; /* NULL: nobody is told */
    void *done_arg;
    struct osr_run_options run; /* as of osr_run(): .run.debug = true. The clock is the real one, or -EINVAL */
};

/*
 * Has `task` run with `arg` as the root task inside `loop`, from the next ev_run() on:
 * osr_attach(&attachment, EV_DEFAULT, program, &config, .done = ended). It is queued, and begins in the second iteration
 * of the loop. To be called on the thread that runs the loop, outside ev_run() or in a callback of it. Never waits.
 *
 * 0; -EBUSY if the thread has a run already; -EINVAL; -ENOMEM, or what the system failed with. What could not be attached
 * answers osr_detach() with the same code.
 */
#define osr_attach(...) OSR_ATTACH_(__VA_ARGS__, .size = sizeof(struct osr_attach_options))
#define OSR_ATTACH_(attachment, loop, task, argument, ...)                                         \
    osr_attach_with((attachment), (loop), &(task).routine_, (1 ? (argument) : (task).arg_), \
                    &(const struct osr_attach_options){.where = OSR_HERE, __VA_ARGS__})
OSR_API int osr_attach_with(struct osr_attachment *attachment, struct ev_loop *loop, const struct osr_routine *routine,
                            void *arg, const struct osr_attach_options *options);

/*
 * Cancels the root task, and returns at once: it ends in the turns to come, and `done` tells. `text`, which may be NULL, is
 * the reason, and must live as long as the run. On the run's thread, by tasks too.
 * 0; -ESTALE if it has ended; -EINVAL; -EPERM.
 */
#define osr_attachment_cancel(attachment, text) osr_attachment_cancel_here((attachment), (text), OSR_HERE)
OSR_API int osr_attachment_cancel_here(struct osr_attachment *attachment, const char *text, const char *where);

/*
 * Cancels the root task likewise, and runs the loop (ev_run()) until it has ended: its clean-up may take its time, and the
 * program's watchers are called meanwhile. Outside ev_run() or in a callback of it. ev_break() that is called meanwhile
 * takes effect when this returns, for every ev_run() that it was called from.
 *
 * Gives what osr_run() would have given, with its error in the thread's slot, after `done` was called; of one that has
 * ended already the same code once more, without the error. -EALREADY if the loop is being run for that reason;
 * -EDEADLK in a task, or in a call that the run makes: it would wait for itself; -EINVAL; -EPERM in another thread.
 */
#define osr_detach(attachment, text) osr_detach_here((attachment), (text), OSR_HERE)
OSR_API int osr_detach_here(struct osr_attachment *attachment, const char *text, const char *where);

/*
 * The loop of a runner (run.h), to put watchers of the program's own on it (get_loop). They are called while a run of the
 * runner lasts, as above: on its thread, on no task, between the steps of tasks. From then on no run of the runner is taken
 * for stuck. The loop belongs to the runner: it must not be destroyed.
 *
 * NULL for a runner whose clock is simulated, which has none; in another thread; without memory or descriptors for it.
 */
OSR_API struct ev_loop *osr_runner_loop(struct osr_runner *runner);

#ifdef __cplusplus
}
#endif

#endif
