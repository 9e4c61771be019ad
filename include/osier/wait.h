/*
 * Parking: the one mechanism on which every wait of the library stands, for primitives of your own. Whoever waits
 * parks in a list; whoever has something for it takes it out of there and hands it over. A cancellation acts only
 * on those that are still in the list: so what was handed over stays handed over, what was cut never happened, and
 * nothing is ever lost between the two. (Trio's and corral's parking lot, with values.)
 *
 *     struct gate { bool open; struct osr_waiters waiters; };
 *
 *     int gate_pass(struct gate *gate)
 *     {
 *         struct osr_wait wait = {.call = "gate_pass"};
 *         int rc = osr_enter();                            // cancelled? then nothing has happened
 *
 *         if (rc < 0)
 *             return rc;
 *         if (gate->open)
 *             return osr_pass();                           // it did not have to wait
 *         return osr_park(&gate->waiters, &wait);
 *     }
 *
 *     void gate_open(struct gate *gate)
 *     {
 *         gate->open = true;
 *         while (osr_unpark(&gate->waiters, 0) == 1)
 *             continue;
 *     }
 */
#ifndef OSIER_WAIT_H
#define OSIER_WAIT_H

#include <osier/base.h>
#include <osier/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Those who wait for one thing, in the order in which they came. All tasks of one run. */
struct osr_waiters {
    struct osr_list_ list_;
};

struct osr_wait;

/* Private: a wait's place in one list. A wait for several things has several. */
struct osr_waiter_ {
    struct osr_list_ node_;
    struct osr_waiter_ *also_; /* the next one of the same wait */
    struct osr_wait *wait_;
    void *item_; /* where what is handed over goes, or comes from */
    int number_;
};

/*
 * One wait, in the frame of the call that waits. Before osr_park(), fill in what is public and zero the rest:
 * `struct osr_wait wait = {.call = "gate_pass"}`.
 */
struct osr_wait {
    /* Private, and first what is needed for waking. */
    void *task_;
    struct osr_timer_ *timer_; /* or NULL; taken out of the timers together with the waiters */
    int result_;
    bool linked_; /* still to be woken or cut */
    bool uncut_;  /* cannot be cut: taking a lock again, starting a task */
    bool was_cut_;
    struct osr_waiter_ waiter_;
    const char *where_;
    uint64_t ticket_; /* of a reference to it; 0 if there is none */

    const char *call; /* its name in trees and traces, such as "gate_pass"; a literal. NULL: "osr_park" */
    void *item;       /* for the waker to read or write: whatever the two agree on */
    /* NULL, or runs if the wait was cut: on the waiting task, before its call returns. It may call whatever does not
     * wait; what can wait gives -EPERM, opening a group and osr_pass() included. */
    void (*on_cancel)(struct osr_wait *wait);
};

/* Makes an empty list. May be called from anywhere. NULL is let be, here and in the other primitives, whose calls then
 * give -EINVAL. */
OSR_API void osr_waiters_init(struct osr_waiters *waiters);

/* Whether nobody waits; how many do, which is counted one by one. On the run's own thread, like the next one. */
static inline bool osr_waiters_empty(const struct osr_waiters *waiters)
{
    return !waiters || waiters->list_.next == &waiters->list_;
}
OSR_API size_t osr_waiters_count(const struct osr_waiters *waiters);

/* The wait that has waited longest, NULL if there is none: to look at its `item` before waking it. */
OSR_API struct osr_wait *osr_waiters_first(const struct osr_waiters *waiters);

/* ---- Waiting ------------------------------------------------------------------------------------------- */

/*
 * What every cancellation point says first, before any side effect: 0 to go on; -ECANCELED if a scope around is
 * cancelled or its deadline has passed; -EPERM outside a task, or in a cancel hook. It waits for nothing; refused, it lets
 * the other tasks have their turn now and then, as osr_pass() does.
 */
#define osr_enter() osr_enter_here(OSR_HERE)
OSR_API int osr_enter_here(const char *where);

/*
 * What a cancellation point says last if it could finish without waiting: after 128 of these the other
 * tasks get their turn, so that a task that never waits cannot keep them from running. No cancellation point itself. Gives
 * 0; -EPERM outside a task, or in a cancel hook.
 */
#define osr_pass() osr_pass_here(OSR_HERE)
OSR_API int osr_pass_here(const char *where);

/*
 * Parks the calling task behind the others in `waiters` until it is woken. A cancellation point, checked on entry
 * too; cut or refused, it is in no list any more, and `on_cancel` has run (cut) or not (refused). `wait` must not be
 * in use, nor may tasks of another run wait there. What the waker said; -ECANCELED; -EINVAL; -EPERM.
 */
#define osr_park(waiters, wait) osr_park_here((waiters), (wait), OSR_HERE)
OSR_API int osr_park_here(struct osr_waiters *waiters, struct osr_wait *wait, const char *where);

/*
 * The same, uncancelled, and so no cancellation point: for what has to be had back before a call may return, as a lock after
 * waiting on a condition. `on_cancel` never runs. What the waker said; -EINVAL; -EPERM.
 */
#define osr_park_uncut(waiters, wait) osr_park_uncut_here((waiters), (wait), OSR_HERE)
OSR_API int osr_park_uncut_here(struct osr_waiters *waiters, struct osr_wait *wait, const char *where);

/* ---- Waking -------------------------------------------------------------------------------------------- */

/* These never wait, never switch, and may be called by callbacks of the same run too. From elsewhere: -EPERM. */

/*
 * Wakes the one that has waited longest: its osr_park() will give `result`, and from now on a cancellation no longer
 * reaches it. 1 if there was one; 0 if nobody waits; -EINVAL; -EPERM.
 */
OSR_API int osr_unpark(struct osr_waiters *waiters, int result);

/* Wakes this one, wherever it waits. 0; -ESTALE if it has been woken or cut already, or never waited; -EINVAL; -EPERM. The
 * wait must still be there: osr_unpark_ref() asks that itself. */
OSR_API int osr_unpark_one(struct osr_wait *wait, int result);

/* ---- References ---------------------------------------------------------------------------------------- */

/*
 * A reference to a wait that can outlive it, for callbacks that may come late: checked by generation, and stale until
 * osr_park() is called and as soon as the wait has ended. To be taken before osr_park(), by the task that is about to
 * wait; it is for the next osr_park() with this `wait` only. All zeros: nothing.
 */
struct osr_wait_ref {
    struct osr_task task_;
    uint64_t ticket_;
};

/* All zeros outside a task, for NULL, or if memory is short. Never waits. */
OSR_API struct osr_wait_ref osr_wait_refer(struct osr_wait *wait);

/* osr_unpark_one() by reference. 0; -ESTALE, also for all zeros; -EPERM. */
OSR_API int osr_unpark_ref(struct osr_wait_ref ref, int result);

#ifdef __cplusplus
}
#endif

#endif
