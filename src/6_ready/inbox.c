#include "6_ready/inbox.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "0_base/tools.h"
#include "3_scope/slot.h"

/* In nanoseconds: when the system could not watch an inbox, it is asked again after so long. */
enum { PATIENCE = 10000, AGAIN_AFTER = 10000000 };

/* All inboxes of this process. */
static struct inbox *inboxes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- Forked children ---- */

static atomic_uint process;

unsigned osri_process(void)
{
    return atomic_load_explicit(&process, memory_order_relaxed);
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

/* The runs do not go on here, and the descriptors are shared with the parent: nobody has these inboxes now. */
static void in_child(void)
{
    struct inbox *inbox;

    for (inbox = inboxes; inbox; inbox = inbox->next) {
        if (atomic_exchange(&inbox->users, 0) > 0)
            close(inbox->fd);
        atomic_store(&inbox->newest, NULL);
        (void)osri_waker_be_loud(&inbox->waker);
        pthread_mutex_init(&inbox->lock, NULL);
    }
    atomic_fetch_add(&process, 1);
    pthread_mutex_unlock(&lock);
}

static void prepare_process(void)
{
    (void)pthread_atfork(before_fork, in_parent, in_child);
}

/* ---- Putting in ---- */

/* Whoever uses the descriptor counts as a user for so long; the last one out closes it. */
static bool begin_use(struct inbox *inbox)
{
    unsigned users = atomic_load(&inbox->users);

    while (users > 0)
        if (atomic_compare_exchange_weak(&inbox->users, &users, users + 1))
            return true;
    return false;
}

static void end_use(struct inbox *inbox)
{
    int fd = inbox->fd;

    if (atomic_fetch_sub(&inbox->users, 1) == 1)
        close(fd);
}

/* By a bare system call, since a thread that is being cancelled would leave write() early, and nobody would be woken. */
static void write_to(const struct inbox *inbox)
{
    static const uint64_t one = 1;

    (void)syscall(SYS_write, inbox->fd, &one, sizeof(one));
}

static void ring(struct inbox *inbox)
{
    enum waker_state state = osri_waker_ring(&inbox->waker);
    int kept = errno;

    if (state == WAKER_PARKED) {
        osri_sys_wake(&inbox->waker.state);
    } else if (state != WAKER_AWAKE && state != WAKER_RUNG && begin_use(inbox)) {
        write_to(inbox);
        end_use(inbox);
    }
    errno = kept;
}

void osri_inbox_put(struct inbox *inbox, struct parcel *parcel)
{
    struct parcel *newest = atomic_load(&inbox->newest);

    osri_tsan_hand_over(parcel);
    do
        parcel->next = newest;
    while (!atomic_compare_exchange_weak(&inbox->newest, &newest, parcel));
    if (!newest) /* else the one who put the first in wakes the loop */
        ring(inbox);
}

/* ---- Taking out ---- */

/* Takes all that has come, the first first. */
static struct parcel *take_all(struct inbox *inbox)
{
    struct parcel *newest = atomic_exchange(&inbox->newest, NULL), *first = NULL;

    while (newest) {
        struct parcel *before = newest->next;

        newest->next = first;
        first = newest;
        newest = before;
    }
    return first;
}

/* Also in a task whose entry check looks at the world: what is opened runs outside tasks all the same. */
static void open_all(struct sched *sched, struct inbox *inbox)
{
    struct parcel *parcel = take_all(inbox);
    struct task *current = sched->current;

    sched->current = NULL;
    while (parcel) {
        struct parcel *next = parcel->next;

        osri_tsan_take_over(parcel);
        parcel->open(parcel);
        parcel = next;
    }
    sched->current = current;
}

static void watch_again(struct osr_timer_ *timer)
{
    struct inbox *inbox = container_of(timer, struct inbox, again);

    (void)osri_timers_reserve(&osri_sched->timers); /* which cannot fail: its own place is free */
    inbox->waker.watch.broken = false;
    osri_watch_arm(osri_sched, &inbox->waker.watch);
    open_all(osri_sched, inbox);
}

/* The system cannot watch it, for want of memory. */
static void meet_refusal(struct sched *sched, struct inbox *inbox)
{
    osri_timers_unreserve(&sched->timers);
    (void)osri_timer_set(&sched->timers, &inbox->again, osri_now(sched) + AGAIN_AFTER);
    if (!inbox->told)
        osri_diagnose(sched, OSR_DIAGNOSIS_UNWATCHED,
                      "osier: there is no memory to watch for what other threads bring: it is looked at every 10 ms\n");
    inbox->told = true;
}

static void rung(struct watch *watch)
{
    struct inbox *inbox = container_of(watch, struct inbox, waker.watch);
    uint64_t rings;

    if (!inbox->waker.unwritten)
        (void)syscall(SYS_read, inbox->fd, &rings, sizeof(rings)); /* before taking: who comes after it rings again */
    inbox->waker.unwritten = false;
    open_all(osri_sched, inbox);
    if (watch->broken && inbox->again.state == TIMER_IDLE)
        meet_refusal(osri_sched, inbox);
}

/* ---- Opening and closing ---- */

/* One that nobody has, else a new one; NULL if memory is short. */
static struct inbox *find_idle(void)
{
    struct inbox *inbox;

    for (inbox = inboxes; inbox; inbox = inbox->next)
        if (atomic_load(&inbox->users) == 0)
            return inbox;
    inbox = calloc(1, sizeof(*inbox));
    if (!inbox)
        return NULL;
    pthread_mutex_init(&inbox->lock, NULL);
    inbox->next = inboxes;
    inboxes = inbox;
    return inbox;
}

/* With a timer set aside for it, so that it need not be given back: somebody late may have come to use it. */
static struct inbox *take_inbox(struct sched *sched, int fd)
{
    struct inbox *inbox;

    if (osri_timers_reserve(&sched->timers) < 0)
        return NULL;
    pthread_mutex_lock(&lock);
    inbox = find_idle();
    if (inbox) {
        inbox->fd = fd;
        atomic_store(&inbox->users, 1);
    }
    pthread_mutex_unlock(&lock);
    if (!inbox)
        osri_timers_unreserve(&sched->timers);
    return inbox;
}

struct inbox *osri_inbox(struct sched *sched, int *code)
{
    struct inbox *inbox = sched->inbox;

    *code = 0;
    if (inbox)
        return inbox;
    *code = osri_sys_eventfd(&sched->door);
    if (*code < 0)
        return NULL;
    /* Asked also where an inbox of an earlier run is used again, so that runs do not depend on earlier ones. */
    inbox = osri_choose(&sched->door, OSR_CHOICE_FAULT, 2, "memory\0ENOMEM") ? NULL : take_inbox(sched, *code);
    if (!inbox) {
        close(*code);
        *code = -ENOMEM;
        return NULL;
    }
    *code = 0;
    sched->inbox = inbox;
    sched->waker = &inbox->waker;
    inbox->waker.unwritten = false;
    write_to(inbox); /* a parcel may have come while nobody had it */
    watch_init(&inbox->waker.watch, inbox->fd, WATCH_READ, rung);
    osri_timer_init(&inbox->again, watch_again, false);
    inbox->told = false;
    osri_watch_arm(sched, &inbox->waker.watch);
    return inbox;
}

int osri_inbox_open(struct sched *sched)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, prepare_process);
    sched->inbox = NULL;
    sched->waker = NULL;
    return 0;
}

/* So that the descriptor is closed when osr_run() returns, and not a moment later; unless somebody is held up. */
static void let_ringers_finish(struct inbox *inbox)
{
    int tries;

    for (tries = 0; atomic_load(&inbox->users) > 1 && tries < PATIENCE; tries++)
        sched_yield();
}

void osri_inbox_close(struct sched *sched)
{
    struct inbox *inbox = sched->inbox;

    if (!inbox)
        return;
    osri_watch_disarm(sched, &inbox->waker.watch);
    (void)osri_waker_be_loud(&inbox->waker);
    if (inbox->again.state == TIMER_IDLE)
        osri_timers_unreserve(&sched->timers);
    osri_timer_clear(&sched->timers, &inbox->again);
    open_all(sched, inbox);
    if (!list_empty(&sched->calls))
        sched->make_calls(sched);
    sched->inbox = NULL;
    sched->waker = NULL;
    let_ringers_finish(inbox);
    end_use(inbox);
}
