/* Sleeping: the simplest wait, ended by nothing but its timer. */
#include "2_sched/wait.h"

struct sleep {
    struct osr_wait wait;
    struct osr_timer_ timer;
};

static void wake_up(struct osr_timer_ *timer)
{
    osri_wake(osri_sched, &container_of(timer, struct sleep, timer)->wait, 0);
}

static int sleep_until(struct sched *sched, int64_t at, const char *call, const char *where)
{
    struct sleep sleep;

    wait_init(&sleep.wait, sched->current, call, where);
    if (at != OSR_NEVER) {
        osri_timer_init(&sleep.timer, wake_up, false);
        if (osri_timer_set(&sched->timers, &sleep.timer, at) < 0)
            return osri_task_failed(sched->current, -ENOMEM, where);
        sleep.wait.timer_ = &sleep.timer;
    }
    return osri_wait(sched, &sleep.wait);
}

int osr_sleep_until_here(int64_t at, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, osri_nothing, where);

    if (rc < 0)
        return rc;
    if (at == OSR_TIME_INVALID)
        return osri_task_failed(sched->current, -EINVAL, where);
    if (at <= osri_now(sched))
        return osri_pause(sched);
    return sleep_until(sched, at, "osr_sleep_until", where);
}

int osr_sleep_here(int64_t duration, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, osri_nothing, where);

    if (rc < 0)
        return rc;
    if (duration == OSR_TIME_INVALID)
        return osri_task_failed(sched->current, -EINVAL, where);
    if (duration <= 0)
        return osri_pause(sched);
    return sleep_until(sched, duration == OSR_NEVER ? OSR_NEVER : osr_time_add(osri_now(sched), duration), "osr_sleep",
                       where);
}
