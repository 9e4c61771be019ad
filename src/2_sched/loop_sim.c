/*
 * The simulated world: a clock that starts at 0 and jumps to the next deadline when no task can run. Descriptors
 * are the real ones; they are polled whenever the loop looks, and time passes only when none is ready.
 *
 * While a process works for the run the clock does not jump: it stands still for as long as a real one would take to
 * the next deadline, and only then moves there. So what ends before has taken no time, and what hangs is still cut.
 */
#include <limits.h>
#include <string.h>

#include "0_base/sys.h"
#include "0_base/text.h"
#include "2_sched/wait.h"

/* For so many descriptors there is room in any case: that of the inbox. */
enum { FEW = 1 };

/* So often in a row, while no time passes, those who wait are told to find out for themselves. */
enum { MOST_GUESSES = 8 };

struct simulation {
    int64_t now;
    bool blind;    /* at the last look the system could not tell what is ready */
    bool told;     /* that it cannot wait for what comes from outside */
    struct osr_list_ armed;
    unsigned count;
    struct pollfd *fds; /* as many as were ever armed */
    unsigned capacity;
    struct pollfd few[FEW];
};

static int sim_open(struct sched *sched)
{
    struct simulation *sim = osri_alloc(&sched->memory, sizeof(*sim));

    if (!sim)
        return -ENOMEM;
    *sim = (struct simulation){.fds = sim->few, .capacity = FEW};
    list_init(&sim->armed);
    sched->loop = sim;
    return 0;
}

static void sim_close(struct sched *sched)
{
    struct simulation *sim = sched->loop;

    if (sim->fds != sim->few)
        osri_free(&sched->memory, sim->fds);
    osri_free(&sched->memory, sim);
}

static int64_t sim_now(struct sched *sched)
{
    struct simulation *sim = sched->loop;

    return sim->now;
}

static bool sim_reached(struct sched *sched, int64_t at)
{
    return sim_now(sched) >= at;
}

static bool have_room(struct sched *sched, struct simulation *sim)
{
    struct pollfd *fds;

    if (sim->count <= sim->capacity)
        return true;
    fds = osri_resize(&sched->memory, sim->fds == sim->few ? NULL : sim->fds, sim->count * 2 * sizeof(*fds));
    if (!fds)
        return false;
    sim->fds = fds;
    sim->capacity = sim->count * 2;
    return true;
}

static struct pollfd question(const struct watch *watch)
{
    return (struct pollfd){watch->fd, watch->what == WATCH_READ ? POLLIN : POLLOUT, 0};
}

/* Without memory for all at once: asks about one after the other, and never waits. How many are ready; a code if of none
 * it can be said that it is, and of some it cannot be told. */
static int poll_one_by_one(struct sched *sched, struct simulation *sim, bool guess)
{
    struct osr_list_ *node;
    int count = 0, code = 0;

    for (node = sim->armed.next; node != &sim->armed; node = node->next) {
        struct watch *watch = container_of(node, struct watch, armed_node);
        struct pollfd fd = question(watch);
        int ready = osri_sys_poll(&sched->door, &fd, 1, 0);

        if (ready > 0 || (ready < 0 && guess))
            osri_watch_fired(sched, watch);
        count += ready > 0;
        code = ready < 0 ? ready : code;
    }
    return count ? count : code;
}

/* Asks the system about all armed watches: how many are ready, or a code. */
static int ask(struct sched *sched, struct simulation *sim, int timeout)
{
    struct osr_list_ *node;
    unsigned i = 0;

    for (node = sim->armed.next; node != &sim->armed; node = node->next)
        sim->fds[i++] = question(container_of(node, struct watch, armed_node));
    return osri_sys_poll(&sched->door, sim->fds, sim->count, timeout);
}

/* Queues the armed watches that are ready, in the order in which they were armed: how many there are. Where the system
 * cannot tell, which gives a code, all of them are taken to be, if this is to `guess`, and the operations that wait find out
 * for themselves. */
static int poll_armed(struct sched *sched, struct simulation *sim, int timeout, bool guess)
{
    struct osr_list_ *node;
    unsigned i = 0;
    int ready;

    if (sim->count == 0)
        return 0;
    if (!have_room(sched, sim))
        return poll_one_by_one(sched, sim, guess);
    ready = ask(sched, sim, timeout);

    for (node = sim->armed.next; ready != 0 && node != &sim->armed; node = node->next, i++)
        if (ready > 0 ? sim->fds[i].revents != 0 : guess)
            osri_watch_fired(sched, container_of(node, struct watch, armed_node));
    return ready;
}

static void tell_unwatched(struct sched *sched, struct simulation *sim)
{
    if (sim->told)
        return;
    sim->told = true;
    osri_diagnose(sched, OSR_DIAGNOSIS_UNWATCHED,
                  "osier: there is no memory to wait for descriptors with: they are looked at every millisecond\n");
}

/* Waits for one of the armed watches in real time: how many are ready, or a code. Where memory is short for that, it comes
 * back after a moment, and whoever waits looks again. */
static int wait_for_armed(struct sched *sched, struct simulation *sim, int timeout)
{
    int ready = sim->count > 0 ? poll_armed(sched, sim, timeout, true) : osri_sys_poll(&sched->door, NULL, 0, timeout);

    if (timeout != 0 && (ready < 0 || (ready == 0 && sim->count > sim->capacity))) {
        tell_unwatched(sched, sim);
        osri_sys_nap();
    }
    return ready;
}

/* For poll(), which waits no shorter; -1: for ever. */
static int milliseconds(int64_t duration)
{
    if (duration == OSR_NEVER)
        return -1;
    if (duration <= 0)
        return 0;
    return duration / 1000000 < INT_MAX ? (int)((duration + 999999) / 1000000) : INT_MAX;
}

/* How much real time is left of the way to the moment `until`. */
static int64_t left_until(const struct sched *sched, const struct simulation *sim, int64_t until)
{
    return until == OSR_NEVER ? OSR_NEVER : until - sim->now - (osri_sys_clock() - sched->stands_since);
}

static int64_t later(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* How much longer the run may wait in real time for what tasks wait for, having waited so long. */
static int64_t patience(struct sched *sched, struct simulation *sim, int64_t waited)
{
    unsigned others = osri_awaited(sched);
    struct osr_list_ *node;
    int64_t most = 0;

    for (node = sim->armed.next; node != &sim->armed; node = node->next) {
        const struct watch *watch = container_of(node, struct watch, armed_node);
        const char *where = watch_is_awaited(watch) ? place_or_unknown(watch->wait->where_) : NULL;

        if (!where)
            continue;
        others--;
        most = later(most, sched->patience(sched->patience_arg, watch->fd, where, waited));
    }
    return others > 0 ? later(most, sched->patience(sched->patience_arg, -1, NULL, waited)) : most;
}

/* Waits for one of the armed watches until real time has reached the moment `until`, or for as long as it may: how many are
 * ready, or a code. */
static int wait_outside(struct sched *sched, struct simulation *sim, int64_t until)
{
    const int64_t began = osri_sys_clock();
    int64_t left, may;
    int ready;

    do {
        left = left_until(sched, sim, until);
        may = sched->patience ? patience(sched, sim, osri_sys_clock() - began) : OSR_NEVER;
        if (may <= 0) {
            sched->forsaken = true;
            return 0;
        }
        ready = wait_for_armed(sched, sim, milliseconds(earlier(left, may)));
    } while (ready == 0 && may < left);
    return ready;
}

/* Goes to the moment `until` as slowly as a real clock, unless a watch is found ready before. */
static void stand_still(struct sched *sched, struct simulation *sim, int64_t until)
{
    if (!sched->stands_since)
        sched->stands_since = osri_sys_clock();
    if (wait_outside(sched, sim, until) > 0)
        return;
    if (left_until(sched, sim, until) <= 0) {
        sim->now = until;
        sched->stands_since = osri_sys_clock();
    }
}

/* Whether time may pass now: nothing is ready. Where that could not be told, those who wait have found out for themselves
 * when the loop looks for the second time. */
static bool may_pass(struct sched *sched, struct simulation *sim)
{
    int ready = poll_armed(sched, sim, 0, true);
    bool was_blind = sim->blind;

    sim->blind = ready < 0 && !was_blind; /* after each step of time they are asked anew */
    sched->guesses = 0;
    return ready == 0 || (ready < 0 && was_blind);
}

/* Who waits until all have settled looks until nothing is ready: where the system can never tell, that is taken to be so in
 * the end. */
static void look_once(struct sched *sched, struct simulation *sim)
{
    if (poll_armed(sched, sim, 0, sched->guesses < MOST_GUESSES) >= 0)
        sched->guesses = 0;
    else if (sched->guesses < MOST_GUESSES)
        sched->guesses++;
}

static void sim_poll(struct sched *sched, int64_t until)
{
    struct simulation *sim = sched->loop;

    if (until <= sim->now) {
        look_once(sched, sim);
        return;
    }
    if (!may_pass(sched, sim))
        return;
    if (sched->elsewhere > 0)
        stand_still(sched, sim, until);
    else if (until != OSR_NEVER)
        sim->now = until;
    else
        (void)wait_outside(sched, sim, OSR_NEVER);
}

static void sim_arm(struct sched *sched, struct watch *watch)
{
    struct simulation *sim = sched->loop;

    list_append(&sim->armed, &watch->armed_node);
    sim->count++;
}

static void sim_disarm(struct sched *sched, struct watch *watch)
{
    struct simulation *sim = sched->loop;

    list_remove(&watch->armed_node);
    sim->count--;
}

static int sim_refuses(struct sched *sched, int fd)
{
    (void)sched, (void)fd;
    return 0; /* poll() takes anything */
}

void osri_sim_restart(struct sched *sched)
{
    struct simulation *sim = sched->loop;

    if (sched->driver != &osri_driver_sim)
        return;
    sim->now = 0;
    sim->blind = sim->told = false;
}

const struct driver osri_driver_sim = {sim_open, sim_close, sim_now,    sim_reached,
                                       sim_poll, sim_arm,   sim_disarm, sim_refuses};
