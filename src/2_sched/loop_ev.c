/*
 * The real world: libev. Below 8_run/attach.c, the one file that knows it.
 *
 * A loop is our own, and run whenever the scheduler looks at the world; or the program's own, and then it is never run
 * from here, since that would call the program's watchers from inside of whatever it is doing. What libev finds ready
 * waits in the scheduler's queue for the next turn. Our own loop may be shared with the program: then it is run from the
 * hub only. Where a look must not run the loop, the system is asked directly. Where there is nothing to ask it about but
 * what other threads bring, our own loop is not run at all, and those wake the thread.
 */
#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "2_sched/sched.h"
#include "2_sched/waker.h"

/* In nanoseconds: the clock of the tick is not that far behind. */
enum { SAFE_LAG = 1000000000 };

/* What libev asks the system for at a time at first; for more, whenever it has got as many. */
enum { EVENTS = 64 };

struct loop {
    struct sched *sched;
    struct ev_loop *ev;
    bool shared;            /* the program has watchers on it */
    bool marked;            /* libev has told the system of the mark */
    struct osr_list_ fresh; /* watches that libev will tell the system of when it next polls */
    struct osr_list_ known; /* and those of which it has */
    unsigned found; /* events, by the last poll, that some watch was called back for */
    int last;       /* descriptor that one was called back for */
    unsigned stale; /* watches stopped since then, of which the system may tell libev once more */
    unsigned most;  /* that a poll has found, and libev has room for more than that */
    ev_timer timer; /* for the nearest of our own timers, while the loop waits */
    ev_io mark;     /* on a descriptor of its own, by which the loop can be told from others; fd -1: none yet */
    ev_fork anew;   /* libev is about to tell the system of all that is watched once more */
};

static void timer_fired(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)timer, (void)events;
}

static void tell_anew(struct ev_loop *ev, ev_fork *anew, int events);

/* NULL without memory. */
static struct loop *loop_new(struct sched *sched, struct ev_loop *ev)
{
    struct loop *loop = osri_alloc(&sched->memory, sizeof(*loop));

    if (!loop)
        return NULL;
    *loop = (struct loop){.sched = sched, .ev = ev, .most = EVENTS - 1};
    ev_init(&loop->timer, timer_fired);
    ev_fork_init(&loop->anew, tell_anew);
    list_init(&loop->fresh);
    list_init(&loop->known);
    loop->mark.fd = -1;
    sched->loop = loop;
    return loop;
}

static int mark_own(struct sched *sched, struct loop *loop);
static void remove_mark(struct loop *loop);

static void loop_free(struct sched *sched, struct loop *loop)
{
    remove_mark(loop);
    osri_free(&sched->memory, loop);
}

static int loop_open(struct sched *sched)
{
    struct loop *loop = loop_new(sched, NULL);

    if (!loop)
        return -ENOMEM;
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (loop->ev) {
        ev_fork_start(loop->ev, &loop->anew);
        (void)mark_own(sched, loop); /* now, as there may be no descriptor left when it is needed */
        return 0;
    }
    loop_free(sched, loop);
    return -EMFILE; /* libev does not say why; it needs a descriptor of each kind */
}

static void loop_close(struct sched *sched)
{
    struct loop *loop = sched->loop;
    struct ev_loop *ev = loop->ev;

    loop_free(sched, loop);
    ev_loop_destroy(ev);
}

static int64_t loop_now(struct sched *sched)
{
    (void)sched;
    return osri_sys_clock();
}

/* Deadlines are mostly far away, and then the clock of the tick is exact enough. */
static bool loop_reached(struct sched *sched, int64_t at)
{
    (void)sched;
    return osri_sys_clock_of_tick() + SAFE_LAG >= at && osri_sys_clock() >= at;
}

static void run_loop(struct sched *sched, int64_t until);

/* ---- Descriptors ---- */

_Static_assert(sizeof(ev_io) <= sizeof(((struct watch *)0)->driver), "libev's watcher fits");

static ev_io *io_of(struct watch *watch)
{
    return (ev_io *)(void *)watch->driver;
}

static struct watch *watch_of(ev_io *io)
{
    return container_of(io, struct watch, driver);
}

static void io_ready(struct ev_loop *ev, ev_io *io, int events)
{
    struct watch *watch = watch_of(io);
    struct loop *loop = io->data;

    if (osri_sched != loop->sched) { /* in a forked child, whose parent the task is in */
        ev_io_stop(ev, io);
        return;
    }
    if (events & EV_ERROR) { /* the system refused, and libev has stopped it */
        list_remove(&watch->armed_node);
        watch->armed = false;
        watch->broken = true;
    }
    loop->found += watch->fd != loop->last; /* one event may be of both directions, which libev calls back for together */
    loop->last = watch->fd;
    /* libev calls back for those first that the system has named last: they are told in the system's order. */
    if (list_empty(&watch->fired))
        list_append(osri_sched->fired.next, &watch->fired);
}

/* libev tells the system of a descriptor in both its directions: so whether it is open is to be looked at again. */
static void freshen(struct loop *loop, struct watch *watch)
{
    if (!watch || !watch->armed)
        return;
    list_remove(&watch->armed_node);
    list_append(&loop->fresh, &watch->armed_node);
}

static void loop_arm(struct sched *sched, struct watch *watch)
{
    struct loop *loop = sched->loop;
    ev_io *io = io_of(watch);

    ev_io_init(io, io_ready, watch->fd, watch->what == WATCH_READ ? EV_READ : EV_WRITE);
    io->data = loop;
    ev_io_start(loop->ev, io);
    list_append(&loop->fresh, &watch->armed_node);
    freshen(loop, watch->twin);
}

static void loop_disarm(struct sched *sched, struct watch *watch)
{
    struct loop *loop = sched->loop;

    list_remove(&watch->armed_node);
    ev_io_stop(loop->ev, io_of(watch));
    loop->stale++;
    freshen(loop, watch->twin);
}

/* libev tells the system of new watches when it next polls, and aborts if one has been closed by then. Those are
 * stopped, and found ready, so that whoever waits finds out. And libev may wait although it has just found that the system
 * refuses one: so the poll that tells the system of new ones does not wait. Says whether it is that. */
static bool settle_fresh(struct sched *sched, struct loop *loop)
{
    bool any = !list_empty(&loop->fresh);
    struct osr_list_ *node;

    while ((node = list_pop(&loop->fresh)) != NULL) {
        struct watch *watch = container_of(node, struct watch, armed_node);

        if (fcntl(watch->fd, F_GETFD) >= 0) {
            list_append(&loop->known, node);
            continue;
        }
        ev_io_stop(loop->ev, io_of(watch));
        watch->armed = false;
        osri_watch_fired(sched, watch);
    }
    return any;
}

/* An event of a descriptor that is closed here and still open in a child process, say, makes libev begin again with a new
 * epoll descriptor. It must not wait then: some may have been closed, and some may be refused. Attached, tasks have their
 * turn before that, and all is settled after it. */
static void tell_anew(struct ev_loop *ev, ev_fork *anew, int events)
{
    struct loop *loop = container_of(anew, struct loop, anew);
    struct osr_list_ *node;

    (void)events;
    if (osri_sched != loop->sched) /* in a forked child */
        return;
    while ((node = list_pop(&loop->known)) != NULL)
        list_append(&loop->fresh, node);
    if (loop->sched->driver == &osri_driver_attached)
        return;
    (void)settle_fresh(loop->sched, loop);
    ev_timer_stop(ev, &loop->timer);
    ev_timer_set(&loop->timer, 0, 0);
    ev_timer_start(ev, &loop->timer);
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

/* Whether the descriptor is an epoll one that watches the mark. (What libev had it told is written over, which only an
 * event of the mark would show.) */
static bool watches(int fd, int mark)
{
    struct epoll_event event = {.events = EPOLLIN};

    return epoll_ctl(fd, EPOLL_CTL_MOD, mark, &event) == 0;
}

/* Nobody writes to it: so the system could not watch it. */
static void mark_ready(struct ev_loop *ev, ev_io *io, int events)
{
    struct loop *loop = container_of(io, struct loop, mark);

    (void)ev, (void)events;
    close(io->fd);
    io->fd = -1;
    loop->marked = false;
}

/* Takes over the descriptor. The mark is good when libev has polled once. */
static void set_mark(struct loop *loop, int fd)
{
    ev_io_init(&loop->mark, mark_ready, fd, EV_READ);
    ev_io_start(loop->ev, &loop->mark);
}

static void remove_mark(struct loop *loop)
{
    if (loop->mark.fd < 0)
        return;
    ev_io_stop(loop->ev, &loop->mark);
    close(loop->mark.fd);
}

/* Marks a loop of our own, as long as nobody else has watchers on it. 0 or a code. */
static int mark_own(struct sched *sched, struct loop *loop)
{
    int fd;

    if (loop->shared || loop->marked)
        return 0;
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* not by the door: nothing fails if there is none */
    if (fd < 0)
        return -errno;
    set_mark(loop, fd);
    loop->marked = true;
    run_loop(sched, 0);
    return loop->marked ? 0 : -ENOSPC;
}

/* libev does not say which descriptor it polls with: it is the one that watches the mark. A loop that others have watchers
 * on was marked before its tasks could ask. */
static bool is_own(struct sched *sched, int fd)
{
    struct loop *loop = sched->loop;

    if (mark_own(sched, loop) < 0)
        return is_epoll(fd) && ev_backend(loop->ev) == EVBACKEND_EPOLL; /* rather refuse it than let libev abort */
    return watches(fd, loop->mark.fd);
}

/* Only an epoll descriptor can be refused by another: for going round in a circle, or for being nested too deeply. */
static int loop_refuses(struct sched *sched, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int probe, rc;

    if (is_own(sched, fd))
        return -EBADF;
    if (!is_epoll(fd))
        return 0;
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
    }
}

struct question {
    struct pollfd fds[64];
    struct watch *watches[64];
    unsigned count;
};

/* Where the system cannot tell, all are taken to be ready, and the operations that wait find out for themselves. */
static void ask_now(struct sched *sched, struct question *question)
{
    int ready = question->count ? osri_sys_poll(&sched->door, question->fds, question->count, 0) : 0;
    unsigned i;

    for (i = 0; i < question->count && ready != 0; i++)
        if (ready < 0 || question->fds[i].revents)
            osri_watch_fired(sched, question->watches[i]);
    question->count = 0;
}

static void ask_about(struct sched *sched, struct question *question, const struct osr_list_ *list)
{
    struct osr_list_ *node;

    for (node = list->next; node != list; node = node->next) {
        struct watch *watch = container_of(node, struct watch, armed_node);

        question->watches[question->count] = watch;
        question->fds[question->count++] =
            (struct pollfd){watch->fd, watch->what == WATCH_READ ? POLLIN : POLLOUT, 0};
        if (question->count == sizeof(question->fds) / sizeof(question->fds[0]))
            ask_now(sched, question);
    }
}

/* Finds the armed watches that are ready without running the loop. */
static void ask(struct sched *sched, struct loop *loop)
{
    struct question question = {.count = 0};

    ask_about(sched, &question, &loop->known);
    ask_about(sched, &question, &loop->fresh);
    ask_now(sched, &question);
}

/* If libev may not have been told of all that are ready, and something is due, before which they come. The program's own
 * watchers, and those that are stale, take room from the others without a call. */
static void find_rest(struct sched *sched, struct loop *loop, unsigned stale)
{
    if (likely(loop->found + stale <= loop->most && !loop->shared))
        return;
    if (loop->found > loop->most)
        loop->most = loop->found;
    if (sched->timers.count == 0)
        return;
    sched->complete_at = loop_now(sched);
    if (osri_timers_due(&sched->timers, sched->complete_at))
        ask(sched, loop);
}

static void run_loop(struct sched *sched, int64_t until)
{
    struct loop *loop = sched->loop;
    unsigned stale = loop->stale;

    if (settle_fresh(sched, loop))
        until = 0;
    loop->found = loop->stale = 0;
    loop->last = -1;
    sched->calling_back = loop->shared; /* by the program's watchers */
    if (until > 0)
        wait_until(loop, until);
    else
        ev_run(loop->ev, EVRUN_NOWAIT);
    ev_timer_stop(loop->ev, &loop->timer);
    sched->calling_back = false;
    find_rest(sched, loop, stale);
}

/* Whether the system is asked about nothing else. ThreadSanitizer keeps signals back until the thread waits in a way that it
 * knows. */
static bool is_alone(const struct sched *sched, const struct loop *loop, const struct waker *waker)
{
    const struct osr_list_ *node = &waker->watch.armed_node;

    return list_empty(&loop->fresh) && loop->known.next == node && loop->known.prev == node && !(sched->tools & TOOL_TSAN);
}

/* Our own loop, which says how it waits. */
static void poll_for_others(struct sched *sched, struct loop *loop, struct waker *waker, int64_t until)
{
    bool alone = is_alone(sched, loop, waker);
    enum waker_state state;

    if (until > 0 && !osri_waker_waits(waker, alone ? WAKER_PARKED : WAKER_POLLING))
        until = 0;
    if (!alone)
        run_loop(sched, until);
    else if (until > 0)
        osri_sys_wait(&waker->state, WAKER_PARKED, until);
    state = osri_waker_rouse(waker);
    if (state != WAKER_RUNG && state != WAKER_LOUD)
        return;
    waker->unwritten = state == WAKER_RUNG && (alone || until == 0);
    osri_watch_fired(sched, &waker->watch);
}

static void loop_poll(struct sched *sched, int64_t until)
{
    struct loop *loop = sched->loop;

    if (loop->shared && sched->current)
        ask(sched, loop);
    else if (sched->waker && !loop->shared)
        poll_for_others(sched, loop, sched->waker, until);
    else
        run_loop(sched, until);
}

const struct driver osri_driver_ev = {loop_open, loop_close, loop_now,    loop_reached,
                                      loop_poll, loop_arm,   loop_disarm, loop_refuses};

struct ev_loop *osri_loop_share(struct sched *sched)
{
    struct loop *loop = sched->loop;

    if (sched->driver != &osri_driver_ev)
        return NULL;
    if (!loop->shared && mark_own(sched, loop) == 0) {
        loop->shared = true;
        sched->outside++; /* what the program does there may wake any task */
        if (sched->waker && osri_waker_be_loud(sched->waker))
            osri_watch_fired(sched, &sched->waker->watch);
    }
    return loop->shared ? loop->ev : NULL;
}

/* ---- Attached ---- */

static int attached_open(struct sched *sched)
{
    struct loop *loop = loop_new(sched, sched->loop);
    int fd;

    if (!loop)
        return -ENOMEM;
    loop->shared = true;
    fd = osri_sys_eventfd(&sched->door);
    if (fd < 0) {
        loop_free(sched, loop);
        return fd;
    }
    set_mark(loop, fd);
    ev_fork_start(loop->ev, &loop->anew);
    return 0;
}

static void attached_close(struct sched *sched)
{
    struct loop *loop = sched->loop;

    ev_fork_stop(loop->ev, &loop->anew);
    loop_free(sched, loop);
}

/* The program runs the loop, and what that found ready is queued already. But when something is due, what is complete at
 * this moment comes first. */
static void attached_poll(struct sched *sched, int64_t until)
{
    (void)until;
    sched->complete_at = loop_now(sched);
    if (osri_timers_due(&sched->timers, sched->complete_at))
        ask(sched, sched->loop);
}

bool osri_loop_settle(struct sched *sched)
{
    return settle_fresh(sched, sched->loop);
}

static void abandon(struct loop *loop, struct osr_list_ *list)
{
    struct osr_list_ *node;

    while ((node = list_pop(list)) != NULL)
        ev_io_stop(loop->ev, io_of(container_of(node, struct watch, armed_node)));
}

void osri_loop_abandon(struct sched *sched)
{
    struct loop *loop = sched->loop;

    abandon(loop, &loop->fresh);
    abandon(loop, &loop->known);
    ev_io_stop(loop->ev, &loop->mark);
    ev_fork_stop(loop->ev, &loop->anew);
}

const struct driver osri_driver_attached = {attached_open, attached_close, loop_now, loop_reached,
                                            attached_poll, loop_arm,       loop_disarm, loop_refuses};
