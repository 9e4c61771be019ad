/* The real world: libev. The one file that knows it. */
#include <assert.h>
#include <ev.h>
#include <string.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "2_sched/sched.h"

struct loop {
    struct ev_loop *ev;
    ev_timer timer; /* for the nearest of our own timers, while the loop waits */
};

static void timer_fired(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)timer, (void)events;
}

/* The number that the next descriptor gets. libev does not tell which one it polls with, but makes it first. */
static int next_number(void)
{
    int fd = dup(STDERR_FILENO);

    if (fd >= 0)
        close(fd);
    return fd;
}

static int loop_open(struct sched *sched)
{
    struct loop *loop = osri_alloc(&sched->memory, sizeof(*loop));

    if (!loop)
        return -ENOMEM;
    sched->loop_fd = next_number();
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!loop->ev) {
        osri_free(&sched->memory, loop);
        return -EMFILE; /* libev does not say why; it needs a descriptor of each kind */
    }
    ev_init(&loop->timer, timer_fired);
    sched->loop = loop;
    return 0;
}

static void loop_close(struct sched *sched)
{
    struct loop *loop = sched->loop;

    ev_loop_destroy(loop->ev);
    osri_free(&sched->memory, loop);
}

static int64_t loop_now(struct sched *sched)
{
    (void)sched;
    return osri_sys_clock();
}

/* libev counts in seconds, and a timer of its own measures from when it last looked at the clock. */
static void wait_until(struct loop *loop, int64_t until)
{
    int64_t left = until == OSR_NEVER ? 0 : until - osri_sys_clock();

    if (until == OSR_NEVER) {
        ev_run(loop->ev, EVRUN_ONCE);
    } else if (left <= 0) {
        ev_run(loop->ev, EVRUN_NOWAIT);
    } else {
        ev_now_update(loop->ev);
        ev_timer_set(&loop->timer, (double)left * 1e-9, 0);
        ev_timer_start(loop->ev, &loop->timer);
        ev_run(loop->ev, EVRUN_ONCE);
        ev_timer_stop(loop->ev, &loop->timer);
    }
}

static void loop_poll(struct sched *sched, int64_t until)
{
    struct loop *loop = sched->loop;

    if (until > 0)
        wait_until(loop, until);
    else
        ev_run(loop->ev, EVRUN_NOWAIT);
}

/* ---- Descriptors ---- */

_Static_assert(sizeof(ev_io) <= sizeof(((struct watch *)0)->driver), "libev's watcher fits");

static ev_io *io_of(struct watch *watch)
{
    return (ev_io *)(void *)watch->driver;
}

static void io_ready(struct ev_loop *ev, ev_io *io, int events)
{
    (void)ev, (void)events;
    osri_watch_fired(osri_sched, io->data);
}

static void loop_arm(struct sched *sched, struct watch *watch)
{
    struct loop *loop = sched->loop;
    ev_io *io = io_of(watch);

    ev_io_init(io, io_ready, watch->fd, watch->what == WATCH_READ ? EV_READ : EV_WRITE);
    io->data = watch;
    ev_io_start(loop->ev, io);
}

static void loop_disarm(struct sched *sched, struct watch *watch)
{
    struct loop *loop = sched->loop;

    ev_io_stop(loop->ev, io_of(watch));
}

const struct driver osri_driver_ev = {loop_open, loop_close, loop_now, loop_poll, loop_arm, loop_disarm};
