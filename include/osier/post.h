/*
 * From outside into a run: what other threads and signal handlers may do. A run is single-threaded, and nearly all
 * calls of this library are for its own thread; these are the doors for everybody else.
 *
 *   a post     is prepared inside the run and fired from anywhere, signal handlers included: it calls a function on
 *              the run's loop, or cancels a scope;
 *   a portal   lets other threads call functions on the loop, and run tasks in a group and wait for them
 *              (asyncio's call_soon_threadsafe and run_coroutine_threadsafe, anyio's BlockingPortal).
 *
 * Both are references by value, checked by generation: they may be copied, kept and used for as long as one likes;
 * when what they lead to is gone, they answer -ESTALE. Both are bound to the scope that they were opened in and
 * closed with it at the latest. While one is open, a run in which nothing else can happen is not taken for stuck.
 * Simulated time does not wait for other threads: it goes on to the next deadline, if there is one.
 */
#ifndef OSIER_POST_H
#define OSIER_POST_H

#include <osier/base.h>
#include <osier/group.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Posts --------------------------------------------------------------------------------------------- */

struct osr_post {
    uint64_t id_;
};

/*
 * Called on the loop of the run, between the steps of tasks: `count` is how often the post was fired since the last
 * call, at least 1. It may set events, put into queues (osr_queue_try_put()), complete futures, cancel, spawn, and
 * close posts, this one too; a call that waits gives -EPERM. What it leaves in the slot of errors is dropped. It runs on the
 * stack from which the loop is run, never on a task's.
 */
typedef void osr_posted(void *arg, unsigned count);

/*
 * Prepares a post that calls posted(arg, count), bound to the calling task's innermost scope. Never waits.
 * 0; -EINVAL; -ENOMEM; -EMFILE and -ENFILE (the first post of a run takes a descriptor); -EPERM outside a task. In all
 * cases but 0 `*post` is all zeros.
 */
#define osr_post_open(post, posted, arg) osr_post_open_here((post), (posted), (arg), OSR_HERE)
OSR_API int osr_post_open_here(struct osr_post *post, osr_posted *posted, void *arg, const char *where);

/*
 * Prepares a post that cancels `scope` (osr_scope_cancel(), `text` as there), bound to that scope. The reason's place
 * is that of this call.
 * 0; -OSR_ECLOSED if the scope is closed; the code of an open that failed; -EINVAL; -ENOMEM; -EMFILE, -ENFILE; -EPERM
 * outside a task. In all cases but 0 `*post` is all zeros.
 */
#define osr_post_open_cancel(post, scope, text) osr_post_open_cancel_here((post), (scope), (text), OSR_HERE)
OSR_API int osr_post_open_cancel_here(struct osr_post *post, struct osr_scope *scope, const char *text,
                                      const char *where);

/*
 * Fires the post. May be called from any thread and from signal handlers; never waits, takes no lock and no memory,
 * leaves errno and the slot of errors alone. What is fired several times before the loop gets to it is told once, with
 * the count. 0; -ESTALE if the post is closed; -EPERM in a forked child, for a post of its parent.
 */
OSR_API int osr_post_fire(struct osr_post post);

/*
 * Closes the post; what was fired and not told yet is dropped. Never waits. By tasks and callbacks of the run. Sets `*post`
 * to all zeros. 0; -ESTALE; -EINVAL; -EPERM.
 */
OSR_API int osr_post_close(struct osr_post *post);

/* ---- Portals ------------------------------------------------------------------------------------------- */

struct osr_portal {
    uint64_t id_;
};

/*
 * Opens a portal into `group`: tasks that come through it run in the group's scope. It is closed with the group at the
 * latest; it does not keep the group open. Never waits.
 * 0; -OSR_ECLOSED; the code of an open that failed; -EINVAL; -ENOMEM; -EMFILE, -ENFILE; -EPERM outside a task. In all cases
 * but 0 `*portal` is all zeros.
 */
#define osr_portal_open(portal, group) osr_portal_open_here((portal), (group), OSR_HERE)
OSR_API int osr_portal_open_here(struct osr_portal *portal, struct osr_group *group, const char *where);

/*
 * Closes the portal: threads that wait for a task that has not begun get -ESTALE, those whose task runs go on
 * waiting for it. Never waits. By tasks and callbacks of the run. Sets `*portal` to all zeros. 0; -ESTALE; -EINVAL; -EPERM.
 */
OSR_API int osr_portal_close(struct osr_portal *portal);

/*
 * Has run(arg) called on the loop, soon, in the order of posting; see osr_posted for what it may do. Never waits. From any
 * thread, the run's own too. 0; -ESTALE if the portal is closed, and then it will not be called (also if the portal is
 * closed before its turn comes: who has to give `arg` back then, waits with osr_portal_call()); -EINVAL; -ENOMEM; -EPERM in
 * a forked child, for a portal of its parent.
 */
OSR_API int osr_portal_post(struct osr_portal portal, void (*run)(void *arg), void *arg);

/*
 * Spawns a task in the portal's group and blocks the calling thread until it has ended: osr_portal_call(portal,
 * fetch_one, &fetch). Its error comes back here, with its code, place and words (of an exception group those of the whole
 * tree), and fails nobody else in the group; only a fatal one counts there too. Under a limit of the group that is
 * reached it waits for its turn. From any thread but the run's own.
 *
 * What the task returned, with its error in the thread's slot; -OSR_ETASKCANCELED if it ended cancelled; -ESTALE if the
 * portal is closed or the group takes no tasks any more; -EDEADLK on the run's own thread; -EINVAL; -ENOMEM; -EPERM as
 * above.
 */
#define osr_portal_call(portal, task, arg) \
    osr_portal_call_with((portal), &(task).routine_, (1 ? (arg) : (task).arg_), OSR_HERE)
OSR_API int osr_portal_call_with(struct osr_portal portal, const struct osr_routine *routine, void *arg,
                                 const char *where);

/*
 * Cancels the portal's group (osr_group_cancel()). From any thread and from signal handlers, like osr_post_fire().
 * `text` as there. 0; -ESTALE; -EPERM as above.
 */
#define osr_portal_cancel(portal, text) osr_portal_cancel_here((portal), (text), OSR_HERE)
OSR_API int osr_portal_cancel_here(struct osr_portal portal, const char *text, const char *where);

#ifdef __cplusplus
}
#endif

#endif
