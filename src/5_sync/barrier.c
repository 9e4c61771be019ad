#include <osier/barrier.h>

#include "2_sched/wait.h"

int osr_barrier_init(struct osr_barrier *barrier, unsigned parties)
{
    if (!barrier || parties == 0)
        return osri_failed(-EINVAL, NULL);
    *barrier = (struct osr_barrier){.parties_ = parties};
    osr_waiters_init(&barrier->waiters_);
    return 0;
}

unsigned osr_barrier_waiting(const struct osr_barrier *barrier)
{
    return barrier ? (unsigned)osr_waiters_count(&barrier->waiters_) : 0;
}

static unsigned count_waiting(const struct osr_barrier *barrier)
{
    const struct osr_list_ *node;
    unsigned count = 0;

    for (node = barrier->waiters_.list_.next; node != &barrier->waiters_.list_; node = node->next)
        count++;
    return count;
}

/* Whether the caller is the last one to come. Those who were cancelled have left the list without a word, so arrivals
 * are counted again when there seem to be enough. */
static bool is_complete(struct osr_barrier *barrier)
{
    if (++barrier->arrived_ < barrier->parties_)
        return false;
    barrier->arrived_ = count_waiting(barrier) + 1;
    return barrier->arrived_ == barrier->parties_;
}

/* Gives everybody who waits their place. */
static int trip(struct sched *sched, struct osr_barrier *barrier)
{
    struct osr_waiter_ *first;
    int place = 0;

    barrier->arrived_ = 0;
    while ((first = osri_first(&barrier->waiters_)) != NULL)
        osri_wake(sched, first->wait_, place++);
    return place;
}

int osr_barrier_wait_here(struct osr_barrier *barrier, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, barrier, where);

    if (rc < 0)
        return rc;
    rc = !barrier ? -EINVAL : barrier->broken_ ? -OSR_EBROKEN : osri_may_wake(sched, &barrier->waiters_);
    if (rc < 0) {
        osri_task_failed(sched->current, rc, where);
        osri_at_once(sched);
        return rc;
    }
    if (is_complete(barrier)) {
        rc = trip(sched, barrier);
        osri_at_once(sched);
        return rc;
    }
    return osri_park(sched, &barrier->waiters_, NULL, "osr_barrier_wait", where);
}

static int dismiss(struct osr_barrier *barrier, bool broken)
{
    struct sched *sched = osri_sched;
    struct osr_waiter_ *first;
    int rc = barrier ? osri_may_wake(sched, &barrier->waiters_) : -EINVAL;

    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_touch(&sched->door, OSR_TOUCH_WRITE, barrier);
    barrier->broken_ = broken;
    barrier->arrived_ = 0;
    while ((first = osri_first(&barrier->waiters_)) != NULL)
        osri_wake(sched, first->wait_, -OSR_EBROKEN);
    return 0;
}

int osr_barrier_reset(struct osr_barrier *barrier)
{
    return dismiss(barrier, false);
}

int osr_barrier_abort(struct osr_barrier *barrier)
{
    return dismiss(barrier, true);
}
