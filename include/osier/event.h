/* Events: a flag that tasks wait for (asyncio.Event, trio.Event). */
#ifndef OSIER_EVENT_H
#define OSIER_EVENT_H

#include <osier/wait.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In memory of the caller's; the fields are private. Nothing has to be undone when it is no longer needed, but nobody
 * may wait for it then. It serves the tasks and callbacks of one run. */
struct osr_event {
    struct osr_waiters waiters_;
    bool set_;
};

/* Makes an event that is not set. May be called from anywhere. */
OSR_API void osr_event_init(struct osr_event *event);

/* Sets the event, and wakes all who wait for it: they stay woken, whatever becomes of the event. Setting it again
 * changes nothing. Never waits. By tasks and callbacks of the run. 0; -EINVAL; -EPERM. */
OSR_API int osr_event_set(struct osr_event *event);

/* Takes the flag down: who comes from now on waits. Never waits. By tasks and callbacks of the run. 0; -EINVAL; -EPERM. */
OSR_API int osr_event_clear(struct osr_event *event);

/* Whether it is set. May be called by the run's own thread. */
static inline bool osr_event_is_set(const struct osr_event *event)
{
    return event && event->set_;
}

/* Waits until the event is set, which it may be already. A cancellation point. 0; -ECANCELED; -EINVAL; -EPERM. */
#define osr_event_wait(event) osr_event_wait_here((event), OSR_HERE)
OSR_API int osr_event_wait_here(struct osr_event *event, const char *where);

#ifdef __cplusplus
}
#endif

#endif
