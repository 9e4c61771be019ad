/* The real world: libev. The one file that knows it. */
#include <assert.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "2_sched/sched.h"

struct loop {
    struct ev_loop *ev;
    int own;                /* the epoll descriptor that libev polls with; -1: not known, or there is none */
    struct osr_list_ fresh; /* watches that libev has not yet told the system of */
    ev_timer timer; /* for the nearest of our own timers, while the loop waits */
};

static void timer_fired(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)timer, (void)events;
}

static int find_own(struct sched *sched);

static int loop_open(struct sched *sched)
{
    struct loop *loop = osri_alloc(&sched->memory, sizeof(*loop));

    if (!loop)
        return -ENOMEM;
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!loop->ev) {
        osri_free(&sched->memory, loop);
        return -EMFILE; /* libev does not say why; it needs a descriptor of each kind */
    }
    ev_init(&loop->timer, timer_fired);
    list_init(&loop->fresh);
    sched->loop = loop;
    loop->own = find_own(sched);
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

static void loop_poll(struct sched *sched, int64_t until);

/* ---- Descriptors ---- */

_Static_assert(sizeof(ev_io) <= sizeof(((struct watch *)0)->driver), "libev's watcher fits");

static ev_io *io_of(struct watch *watch)
{
    return (ev_io *)(void *)watch->driver;
}

static void io_ready(struct ev_loop *ev, ev_io *io, int events)
{
    struct watch *watch = io->data;

    (void)ev;
    if (events & EV_ERROR) { /* the system refused, and libev has stopped it */
        watch->armed = false;
        watch->broken = true;
    }
    osri_watch_fired(osri_sched, watch);
}

static void loop_arm(struct sched *sched, struct watch *watch)
{
    struct loop *loop = sched->loop;
    ev_io *io = io_of(watch);

    ev_io_init(io, io_ready, watch->fd, watch->what == WATCH_READ ? EV_READ : EV_WRITE);
    io->data = watch;
    ev_io_start(loop->ev, io);
    list_append(&loop->fresh, &watch->armed_node);
}

static void loop_disarm(struct sched *sched, struct watch *watch)
{
    struct loop *loop = sched->loop;

    list_remove(&watch->armed_node);
    ev_io_stop(loop->ev, io_of(watch));
}

/* libev tells the system of new watches when it next polls, and aborts if one has been closed by then. Those are
 * stopped, and found ready, so that whoever waits finds out. Says how many. */
static int drop_closed(struct sched *sched, struct loop *loop)
{
    struct osr_list_ *node;
    int dropped = 0;

    while ((node = list_pop(&loop->fresh)) != NULL) {
        struct watch *watch = container_of(node, struct watch, armed_node);

        if (fcntl(watch->fd, F_GETFD) >= 0)
            continue;
        ev_io_stop(loop->ev, io_of(watch));
        watch->armed = false;
        osri_watch_fired(sched, watch);
        dropped++;
    }
    return dropped;
}

/* ---- Descriptors of other loops, and our own ---- */

static bool is_epoll(int fd)
{
    char path[64], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    return strstr(target, "eventpoll") != NULL;
}

static bool watches(int fd, int mark)
{
    return epoll_ctl(fd, EPOLL_CTL_DEL, mark, NULL) == 0;
}

/* The epoll descriptor that watches `mark`, which it does no longer; -1 if none is found. It was opened just before the
 * mark, so its number is the one below, unless numbers below were free, or other threads have closed some since. */
static int who_watches(int mark)
{
    int fd;

    for (fd = mark - 1; fd >= 0; fd--)
        if (watches(fd, mark))
            return fd;
    for (fd = mark + 1; fd < mark + 64; fd++)
        if (watches(fd, mark))
            return fd;
    return -1;
}

/* libev does not say which descriptor it polls with: it is the one that watches what libev was just given. */
static int find_own(struct sched *sched)
{
    int mark = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct watch watch;
    int own;

    if (mark < 0)
        return -1;
    watch_init(&watch, mark, WATCH_READ, NULL);
    loop_arm(sched, &watch);
    loop_poll(sched, 0);
    own = who_watches(mark);
    loop_disarm(sched, &watch);
    close(mark);
    return own;
}

/* Whether the epoll descriptor `fd` may be our own: which that is may have stayed unknown for want of descriptors. */
static bool may_be_own(struct sched *sched, int fd)
{
    struct loop *loop = sched->loop;

    if (loop->own < 0)
        loop->own = find_own(sched);
    if (loop->own < 0)
        return ev_backend(loop->ev) == EVBACKEND_EPOLL; /* rather refuse it than let libev abort */
    return loop->own == fd;
}

/* Only an epoll descriptor can be refused by another: for going round in a circle, or for being nested too deeply. */
static int loop_refuses(struct sched *sched, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct loop *loop = sched->loop;
    int probe, rc;

    if (fd == loop->own)
        return -EBADF;
    if (!is_epoll(fd))
        return 0;
    if (may_be_own(sched, fd))
        return -EBADF;
    probe = epoll_create1(EPOLL_CLOEXEC);
    if (probe < 0)
        return -errno;
    rc = epoll_ctl(probe, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
    close(probe);
    return rc;
}

/* ---- Polling ---- */

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

    if (drop_closed(sched, loop) > 0)
        until = 0;
    if (until > 0)
        wait_until(loop, until);
    else
        ev_run(loop->ev, EVRUN_NOWAIT);
}

const struct driver osri_driver_ev = {loop_open, loop_close, loop_now, loop_poll, loop_arm, loop_disarm,
                                       loop_refuses};
