#include <osier/event.h>

#include "2_sched/wait.h"

void osr_event_init(struct osr_event *event)
{
    if (!event)
        return;
    osr_waiters_init(&event->waiters_);
    event->set_ = false;
}

int osr_event_set(struct osr_event *event)
{
    struct sched *sched = osri_sched;
    struct osr_waiter_ *first;
    int rc = event ? osri_may_wake(sched, &event->waiters_) : -EINVAL;

    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_touch(&sched->door, OSR_TOUCH_WRITE, event);
    event->set_ = true;
    while ((first = osri_first(&event->waiters_)) != NULL)
        osri_wake(sched, first->wait_, 0);
    return 0;
}

int osr_event_clear(struct osr_event *event)
{
    if (!event || !osri_is_inside(osri_sched))
        return osri_failed(event ? -EPERM : -EINVAL, NULL);
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, event);
    event->set_ = false;
    return 0;
}

int osr_event_wait_here(struct osr_event *event, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, event, where);

    if (rc < 0)
        return rc;
    if (unlikely(!event))
        return osri_task_failed(sched->current, -EINVAL, where);
    if (event->set_) {
        osri_at_once(sched);
        return 0;
    }
    return osri_park(sched, &event->waiters_, NULL, "osr_event_wait", where);
}
