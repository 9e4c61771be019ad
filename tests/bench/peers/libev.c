/* libev by itself, with callbacks: what osier runs on. A timer for each sleeper and timeout, a watcher for each
 * connection, which stays armed. No tasks, so what is about tasks is left out. */
#include "peer.h"

#include <ev.h>

static struct ev_loop *loop;

/* ---- Timers ---- */

static long left;
static ev_timer *timers, limit;

static void ring(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    if (--left == 0)
        ev_break(ev, EVBREAK_ALL);
}

static void start_timers(long n, double after)
{
    long i;

    timers = malloc((size_t)n * sizeof(*timers) + 1);
    peer_need(timers != NULL, "no memory");
    for (i = 0; i < n; i++) {
        ev_timer_init(&timers[i], ring, after ? after : (double)peer_delay(i) * 1e-9, 0.);
        ev_timer_start(loop, &timers[i]);
    }
    left = n;
}

static void stop_timers(long n)
{
    long i;

    for (i = 0; i < n; i++)
        ev_timer_stop(loop, &timers[i]);
    free(timers);
}

static void sleepers(long n)
{
    struct peer_parts parts = peer_begin();

    start_timers(n, 1000);
    ev_run(loop, EVRUN_NOWAIT);
    peer_asleep(&parts, n);
    stop_timers(n);
    peer_end(&parts, n);
}

static void wake(long n)
{
    int64_t start = peer_clock(), cpu = peer_cpu();

    ev_now_update(loop);
    start_timers(n, 0);
    ev_run(loop, 0);
    stop_timers(n);
    peer_woken(start, cpu);
}

static void timeout_batch(long others)
{
    for (others = 0; others < PEER_TIMEOUTS; others++) {
        ev_now_update(loop);
        ev_timer_init(&limit, ring, 1000., 0.);
        ev_timer_start(loop, &limit);
        ev_timer_stop(loop, &limit);
    }
}

static void timeout(long others)
{
    start_timers(others, 1000);
    peer_repeat(timeout_batch, others, PEER_TIMEOUTS);
    stop_timers(others);
}

/* ---- Echo ---- */

static void serve(struct ev_loop *ev, ev_io *io, int events)
{
    char buffer[1024];
    ssize_t size = recv(io->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

    (void)events;
    if (size > 0 && send(io->fd, buffer, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) == size)
        return;
    ev_io_stop(ev, io);
    close(io->fd);
    free(io);
}

static void welcome(struct ev_loop *ev, ev_io *listener, int events)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
    ev_io *client = fd < 0 ? NULL : malloc(sizeof(*client));

    (void)events;
    if (!client)
        return;
    ev_io_init(client, serve, fd, EV_READ);
    ev_io_start(ev, client);
}

static void echo(long n)
{
    ev_io listener;

    (void)n;
    ev_io_init(&listener, welcome, peer_listen(SOCK_NONBLOCK), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
}

static const struct peer_workload workloads[] = {
    {"sleepers", sleepers}, {"wake", wake}, {"timeout", timeout}, {"echo", echo}, {NULL, NULL},
};

int main(int count, char **arguments)
{
    peer_need(count == 3, "usage: libev WORKLOAD N");
    loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    peer_need(loop != NULL, "no loop");
    peer_run(workloads, arguments[1], atol(arguments[2]));
    return 0;
}
