#include "2_sched/wait.h"

#include "0_base/text.h"

/* Takes a wait out of what few waits are in: further lists, a timer. */
void osri_unlink_more(struct sched *sched, struct osr_wait *wait)
{
    struct osr_waiter_ *waiter;

    for (waiter = wait->waiter_.also_; waiter; waiter = waiter->also_)
        list_remove(&waiter->node_);
    if (wait->timer_)
        osri_timer_clear(&sched->timers, wait->timer_);
}

bool osri_cut(struct sched *sched, struct task *task)
{
    struct osr_wait *wait = task->wait;

    if (!wait || wait->uncut_)
        return false;
    if (unlikely(sched->door.touched != NULL) && task->entered != osri_nothing) /* who comes next finds one less there */
        osri_touch(&sched->door, task->entered ? OSR_TOUCH_WRITE : OSR_TOUCH_ALL, task->entered);
    wait->was_cut_ = true;
    osri_wake(sched, wait, -ECANCELED);
    return true;
}

int osri_was_cut(struct sched *sched, struct osr_wait *wait)
{
    struct task *task = wait->task_;

    if (wait->on_cancel) {
        task->hooked = task->attention = true;
        wait->on_cancel(wait);
        task->hooked = false; /* and attention stays: there is a refusal */
    }
    return osri_refused(sched, task, wait->where_);
}

__attribute__((used)) static int park_and_return(struct sched *sched, struct osr_waiters *waiters, void *item,
                                                 const char *call, const char *where)
{
    struct osr_wait wait;

    wait_begin(&wait, sched->current, &waiters->list_, item, call, where);
    return osri_wait(sched, &wait);
}

OSRI_RETURN_BY_JUMP(osri_park, park_and_return);

/* ---- For primitives of the program's own ---- */

void osr_waiters_init(struct osr_waiters *waiters)
{
    if (waiters)
        list_init(&waiters->list_);
}

size_t osr_waiters_count(const struct osr_waiters *waiters)
{
    const struct osr_list_ *node;
    size_t count = 0;

    if (!waiters)
        return 0;
    osri_touch_all();
    for (node = waiters->list_.next; node != &waiters->list_; node = node->next)
        count++;
    return count;
}

struct osr_wait *osr_waiters_first(const struct osr_waiters *waiters)
{
    struct osr_waiter_ *first = waiters ? osri_first(waiters) : NULL;

    osri_touch_all();
    return first ? first->wait_ : NULL;
}

int osr_enter_here(const char *where)
{
    return osri_enter(osri_sched, where);
}

int osr_pass_here(const char *where)
{
    struct task *task = osri_current();

    if (!task || task->hooked)
        return osri_failed(-EPERM, where);
    osri_at_once(osri_sched);
    return 0;
}

static int park(struct osr_waiters *waiters, struct osr_wait *wait, bool uncut, const char *where)
{
    struct sched *sched = osri_sched;
    void (*on_cancel)(struct osr_wait *wait) = wait->on_cancel;
    uint64_t ticket = wait->ticket_;
    int rc;

    wait_init(wait, sched->current, wait->call ? wait->call : "osr_park", where);
    wait->on_cancel = on_cancel;
    wait->ticket_ = ticket;
    wait->uncut_ = uncut;
    list_append(&waiters->list_, &wait->waiter_.node_);
    rc = osri_wait(sched, wait);
    wait->ticket_ = 0; /* a reference is to this one wait, and not to the next one that uses its memory */
    return rc;
}

/* What is wrong with what was given to park with: 0 or a code. */
static int may_park(const struct osr_waiters *waiters, const struct osr_wait *wait)
{
    return !waiters || !wait || wait->linked_ ? -EINVAL : osri_may_wake(osri_sched, waiters);
}

/* A wait that does not begin has ended: a reference to it is not to the next one. Gives `rc`. */
static int refuse(struct osr_wait *wait, int rc)
{
    if (wait && !wait->linked_)
        wait->ticket_ = 0;
    return rc;
}

int osr_park_here(struct osr_waiters *waiters, struct osr_wait *wait, const char *where)
{
    int rc = osri_enter(osri_sched, where);

    if (rc < 0)
        return refuse(wait, rc);
    rc = may_park(waiters, wait);
    return rc < 0 ? refuse(wait, osri_failed(rc, where)) : park(waiters, wait, false, where);
}

int osr_park_uncut_here(struct osr_waiters *waiters, struct osr_wait *wait, const char *where)
{
    struct task *task = osri_current();
    int rc = !task || task->hooked ? -EPERM : may_park(waiters, wait);

    if (rc == 0)
        osri_touch(&task->sched->door, OSR_TOUCH_ALL, NULL);
    return rc < 0 ? refuse(wait, osri_failed(rc, where)) : park(waiters, wait, true, where);
}

int osr_unpark(struct osr_waiters *waiters, int result)
{
    int rc = waiters ? osri_may_wake(osri_sched, waiters) : -EINVAL;

    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_touch_all();
    if (osr_waiters_empty(waiters))
        return 0;
    osri_wake(osri_sched, wait_of(waiters->list_.next), result);
    return 1;
}

int osr_unpark_one(struct osr_wait *wait, int result)
{
    if (!wait)
        return osri_failed(-EINVAL, NULL);
    if (!osri_is_inside(osri_sched))
        return osri_failed(-EPERM, NULL);
    osri_touch_all();
    if (!wait->linked_) /* its task may be gone */
        return osri_failed(-ESTALE, NULL);
    if (((struct task *)wait->task_)->sched != osri_sched)
        return osri_failed(-EPERM, NULL);
    osri_wake(osri_sched, wait, result);
    return 0;
}
