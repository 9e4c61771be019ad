#include "2_sched/wait.h"

#include <assert.h>

#include "0_base/text.h"

static void unlink_wait(struct sched *sched, struct wait *wait)
{
    struct waiter *waiter;

    assert(wait->linked);
    for (waiter = &wait->waiter; waiter; waiter = waiter->also)
        list_remove(&waiter->node);
    if (wait->timer)
        osri_timer_clear(&sched->timers, wait->timer);
    wait->linked = false;
}

static void end(struct sched *sched, struct wait *wait, int result)
{
    struct task *task = wait->task;

    unlink_wait(sched, wait);
    wait->result = result;
    if (task->wait != wait)
        return; /* not parked yet */
    task->wait = NULL;
    osri_observe(sched, OSR_TRACE_WAKE, task, wait->call, wait->where, result);
    osri_ready(sched, task);
}

void osri_wake(struct sched *sched, struct wait *wait, int result)
{
    end(sched, wait, result);
}

bool osri_cut(struct sched *sched, struct task *task)
{
    struct wait *wait = task->wait;

    if (!wait || wait->uncut)
        return false;
    wait->cut = true;
    end(sched, wait, -ECANCELED);
    return true;
}

static int was_cut(struct sched *sched, struct wait *wait)
{
    struct task *task = wait->task;

    if (wait->on_cancel) {
        task->hooked = true;
        wait->on_cancel(wait);
        task->hooked = false;
    }
    return osri_refused(sched, task, wait->where);
}

int osri_wait(struct sched *sched, struct wait *wait)
{
    struct task *task = wait->task;

    assert(task == sched->current && !task->wait);
    if (wait->linked) {
        task->wait = wait;
        task->budget = BUDGET;
        osri_observe(sched, OSR_TRACE_WAIT, task, wait->call, wait->where, 0);
        osri_leave(sched);
    }
    return unlikely(wait->cut) ? was_cut(sched, wait) : wait->result;
}
