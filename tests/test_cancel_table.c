/*
 * Every cancellation point of the library in one table. A row is a call that can be refused or cut: how to set the
 * stage, how to make the call, how to offer what it waits for, how to count what must not be lost. A column is a course
 * of events, and a way is how the cancellation comes about; each column runs for every row and way. After each, nobody
 * is left waiting, what was offered has been taken once or is still there, and the thing works again.
 *
 * A new cancellation point is a new row at the end of the table; a new way to cancel is one function and a line in
 * `ways`.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "2_sched/wait.h"
#include "6_ready/signal.h"

/* What is peculiar about a row. */
enum {
    INSTANT = 1,    /* the call never parks */
    TIMED = 2,      /* the passing of SPAN ends the call, nothing else does */
    LEVEL = 4,      /* what is offered once is there for everybody, and stays */
    FORGETS = 8,    /* what is offered while nobody waits is refused */
    ALONE = 16,     /* only one at a time may make the call */
    UNANSWERED = 32, /* nothing ends the call in time */
    POLLED = 64,    /* what is offered is noticed by a look at the descriptors */
    WAITS_ONLY = 128, /* a cancellation point only if it has to wait */
    BRIEF = 256,     /* it parks, and is served at the next look: jobs under the simulated clock */
    OUTSIDE = 512,   /* threads and processes have a part in it, which takes some real time */
    UNORDERED = 1024, /* who of those that wait is served first is the system's choice */
    WAITED_FOR = 2048, /* once begun it is not cut: its result wins */
    BEGUN = 4096,    /* jobs under the simulated clock: the one whose caller is cancelled has begun just before */
    REAL = 8192      /* is played on the real clock */
};

enum { PERMITS = 8, JOBS = 64, ITEMS = 2 };

#define SPAN osr_ms(10)

struct row;
struct way;

/* The stage on which a row is played, by the root task. */
struct stage {
    const struct row *row;
    const struct way *way;
    const char *column;
    unsigned waiters;    /* how many callers will wait at once, at most */
    long given, taken;   /* what was offered, and got */
    int64_t zero;        /* when it began */
    unsigned count;
    struct caller *callers[8];
    struct osr_group hosts;

    struct osr_group group;
    struct osr_task task;
    struct osr_event event;
    struct osr_lock lock;
    struct osr_condition condition;
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_permit permits[PERMITS];
    struct osr_barrier barrier;
    struct osr_queue queue, other;
    struct osr_future future;
    struct osr_waiters waiting;
    struct osr_address address;
    long spawned, destroyed; /* tasks and jobs that have run; jobs that went to their destructor */
    int fds[2], fillers[16], descriptors;
    struct osr_signals signals;
    unsigned jobs; /* that were offloaded */
};

/* One task that makes the call, in a group of its own. */
struct caller {
    struct stage *stage;
    void (*body)(struct caller *caller);
    bool held; /* the body waits behind a shield before the call */
    unsigned checks; /* so many calls that finish at once come before it */
    struct osr_event go, fail;
    int64_t limit; /* of its timeout, or grace of its shield */
    struct osr_scope outer, scope, shield;
    struct osr_group group;
    struct osr_task handle, told;
    struct osr_permit permit;
    struct osr_call call;
    struct osr_post post;
    struct osr_portal portal;
    bool calling, returned, succeeded, ended;
    int rc, next, closed, closed_outer, closed_shield, grouped;
    int64_t when;
};

struct row {
    const char *name;
    int flags;
    void (*begin)(struct stage *stage);
    int (*call)(struct stage *stage, struct caller *caller);
    int (*offer)(struct stage *stage);    /* makes one call succeed: how many things were given */
    long (*left)(struct stage *stage);    /* of what was given; NULL if it cannot be counted */
    long (*waiters)(struct stage *stage); /* NULL: not to be seen from outside */
    void (*end)(struct stage *stage);
    long (*arrived)(struct stage *stage); /* OUTSIDE: how many calls have got there; NULL: all that were made */
    int success; /* what the call gives, if not 0 or more */
    enum osr_queue_order order;
    size_t capacity;
};

struct way {
    const char *name;
    void (*cancel)(struct caller *caller);
    int closed, grouped; /* what the caller's scope and its group then give */
    bool late;           /* other tasks must run before it takes effect */
    bool looks;          /* the loop looks at the world before that: then also late */
    void (*open)(struct caller *caller); /* prepares what cancels its group, or */
    void (*open_inside)(struct caller *caller); /* its scope */
};

/* ---- Telling which cell of the table went wrong -------------------------------------------------------- */

static const char *cell(const struct stage *stage, const char *what)
{
    static char text[512];

    snprintf(text, sizeof(text), "[%s; %s; %s] %s", stage->row->name, stage->column,
             stage->way ? stage->way->name : "-", what);
    return text;
}

#define expect(stage, condition) check_that(!!(condition), cell((stage), #condition), OSR_HERE)
#define expect_int(stage, actual, expected) check_equal((actual), (expected), cell((stage), #actual), OSR_HERE)

/* ---- Rows: time, tasks and groups ---------------------------------------------------------------------- */

static int call_yield(struct stage *s OSR_MAYBE_UNUSED_, struct caller *c OSR_MAYBE_UNUSED_) { return osr_yield(); }
static int call_enter(struct stage *s OSR_MAYBE_UNUSED_, struct caller *c OSR_MAYBE_UNUSED_) { return osr_enter(); }
static int call_check(struct stage *s OSR_MAYBE_UNUSED_, struct caller *c OSR_MAYBE_UNUSED_) { return osr_check(); }
static int call_sleep(struct stage *s OSR_MAYBE_UNUSED_, struct caller *c OSR_MAYBE_UNUSED_) { return osr_sleep(SPAN); }

static int call_sleep_until(struct stage *s OSR_MAYBE_UNUSED_, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_sleep_until(osr_time_add(osr_now(), SPAN));
}

OSR_TASK(wait_for_the_event, struct stage, s) { return osr_event_wait(&s->event); }
OSR_TASK(wait_for_a_permit, struct stage, s) { return osr_semaphore_acquire(&s->semaphore); }

static void end_group(struct stage *s)
{
    osr_group_cancel(&s->group, "the end of the row");
    expect_int(s, osr_group_close(&s->group, 0), 0);
}

static void begin_join(struct stage *s)
{
    osr_event_init(&s->event);
    osr_group_open(&s->group);
    osr_spawn(&s->group, wait_for_the_event, s, .handle = &s->task);
}

static int call_join(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_task_join(s->task); }

/* Sets the event, and lets the task run that waits for it. */
static int offer_event(struct stage *s)
{
    osr_event_set(&s->event);
    osr_yield();
    return 1;
}

static long event_waiters(struct stage *s) { return (long)osr_waiters_count(&s->event.waiters_); }

static void begin_spawn(struct stage *s)
{
    osr_semaphore_init(&s->semaphore, 0);
    osr_group_open(&s->group, .limit = 1);
    osr_spawn(&s->group, wait_for_a_permit, s);
    osr_yield();
}

OSR_TASK(count_itself, struct stage, s)
{
    s->spawned++;
    return 0;
}

static int call_spawn(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_spawn(&s->group, count_itself, s);
}

static int offer_permit_to_task(struct stage *s)
{
    osr_semaphore_release(&s->semaphore);
    osr_yield();
    return 1;
}

static long count_list(const struct osr_list_ *list)
{
    const struct osr_list_ *at;
    long count = 0;

    for (at = list->next; at != list; at = at->next)
        count++;
    return count;
}

static long spawners(struct stage *s) { return count_list(&s->group.spawners_); }

static void end_spawn(struct stage *s)
{
    end_group(s);
    expect_int(s, s->spawned, s->taken);
}

static void begin_start(struct stage *s)
{
    osr_event_init(&s->event);
    osr_group_open(&s->group);
}

OSR_TASK(say_started_when_told, struct stage, s)
{
    int rc = osr_event_wait(&s->event);

    return rc < 0 ? rc : osr_started();
}

static int call_start(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_start(&s->group, say_started_when_told, s);
}

static long starting(struct stage *s) { return (long)osr_group_running(&s->group); }

static void begin_start_under_a_limit(struct stage *s)
{
    osr_semaphore_init(&s->semaphore, 0);
    osr_group_open(&s->group, .limit = 1);
    osr_spawn(&s->group, wait_for_a_permit, s);
    osr_yield();
}

/* The permit lets the task end, its place lets the call begin, and that has the child start. */
static int offer_place(struct stage *s)
{
    osr_semaphore_release(&s->semaphore);
    osr_yield(), osr_yield(), osr_yield();
    return 1;
}

OSR_TASK(start_and_count, struct stage, s)
{
    s->spawned++;
    return osr_started();
}

static int call_start_under_a_limit(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_start(&s->group, start_and_count, s);
}

/* ITEMS tasks that wait for the event. */
static int call_gather(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    int results[ITEMS], rc, i;

    rc = osr_gather_with(&wait_for_the_event.routine_, s, ITEMS, 0,
                         &(const struct osr_gather_options){
                             .size = sizeof(struct osr_gather_options), .where = OSR_HERE, .results = results});
    for (i = 0; i < ITEMS; i++)
        expect_int(s, results[i], rc == 0 ? 0 : -OSR_ETASKCANCELED);
    return rc;
}

/* One after the other, so that the second has not been spawned when the first is cut. */
static int call_gather_one_by_one(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_gather_with(&wait_for_the_event.routine_, s, ITEMS, 0,
                           &(const struct osr_gather_options){
                               .size = sizeof(struct osr_gather_options), .where = OSR_HERE, .limit = 1});
}

/* Sets the event, and lets the tasks run that wait for it one after the other, and in between who spawns the next. */
static int offer_event_to_all(struct stage *s)
{
    int i;

    osr_event_set(&s->event);
    for (i = 0; i < 2 * ITEMS - 1; i++)
        osr_yield();
    return 1;
}

static void begin_next(struct stage *s)
{
    int i;

    osr_semaphore_init(&s->semaphore, 0);
    osr_group_open(&s->group);
    for (i = 0; i < PERMITS; i++)
        osr_spawn(&s->group, wait_for_a_permit, s, .handle = &s->task);
    osr_yield();
}

static int call_next(struct stage *s, struct caller *c)
{
    int rc = osr_group_next(&s->group, &c->told);

    expect(s, (c->told.id_ != 0) == (rc == 1));
    return rc == 0 ? -ENOENT : rc;
}

static long ended_children(struct stage *s) { return count_list(&s->group.ended_); }
static long nexts(struct stage *s) { return count_list(&s->group.nexts_); }

/* ---- Rows: primitives ---------------------------------------------------------------------------------- */

static void begin_event(struct stage *s) { osr_event_init(&s->event); }
static int call_event(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_event_wait(&s->event); }
static int set_event(struct stage *s) { return osr_event_set(&s->event) == 0; }

static void begin_lock(struct stage *s)
{
    osr_lock_init(&s->lock);
    osr_lock_acquire(&s->lock);
}

static int release_lock(struct stage *s) { return osr_lock_release(&s->lock) == 0; }

static int call_lock(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    int rc = osr_lock_acquire(&s->lock);

    expect(s, osr_lock_is_mine(&s->lock) == (rc == 0));
    if (rc == 0)
        s->given += release_lock(s);
    return rc;
}

static int offer_lock(struct stage *s) { return osr_lock_is_mine(&s->lock) ? release_lock(s) : 0; }
static long free_locks(struct stage *s) { return !osr_lock_held(&s->lock); }
static long lock_waiters(struct stage *s) { return (long)osr_waiters_count(&s->lock.waiters_); }

static void end_lock(struct stage *s)
{
    (void)offer_lock(s);
    expect(s, !osr_lock_held(&s->lock));
}

static void begin_condition(struct stage *s)
{
    osr_lock_init(&s->lock);
    osr_condition_init(&s->condition, &s->lock);
}

static int call_condition(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    int rc;

    expect_int(s, osr_lock_try_acquire(&s->lock), 0);
    rc = osr_condition_wait(&s->condition);
    expect(s, osr_lock_is_mine(&s->lock));
    osr_lock_release(&s->lock);
    return rc;
}

static int offer_notice(struct stage *s)
{
    int notified;

    expect_int(s, osr_lock_acquire(&s->lock), 0);
    notified = osr_condition_notify(&s->condition, 1);
    expect_int(s, osr_lock_release(&s->lock), 0);
    return notified;
}

static long condition_waiters(struct stage *s)
{
    return (long)osr_waiters_count(&s->condition.waiters_) + lock_waiters(s);
}

static void begin_semaphore(struct stage *s) { osr_semaphore_init(&s->semaphore, 0); }

static int call_semaphore(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_semaphore_acquire(&s->semaphore);
}

static int offer_permit(struct stage *s) { return osr_semaphore_release(&s->semaphore) == 0; }
static long free_permits(struct stage *s) { return osr_semaphore_value(&s->semaphore); }
static long semaphore_waiters(struct stage *s) { return (long)osr_waiters_count(&s->semaphore.waiters_); }

static void begin_limiter(struct stage *s)
{
    int i;

    osr_limiter_init(&s->limiter, PERMITS);
    for (i = 0; i < PERMITS; i++)
        osr_limiter_acquire(&s->limiter, &s->permits[i]);
}

static int call_limiter(struct stage *s, struct caller *c)
{
    int rc = osr_limiter_acquire(&s->limiter, &c->permit);

    expect(s, (c->permit.limiter_ == &s->limiter) == (rc == 0) && !c->permit.awaited_);
    return rc;
}

static int offer_loan(struct stage *s)
{
    int i = 0;

    while (i < PERMITS && !s->permits[i].limiter_)
        i++;
    return i < PERMITS && osr_limiter_release(&s->limiter, &s->permits[i]) == 0;
}

static long free_loans(struct stage *s)
{
    return (long)osr_limiter_total(&s->limiter) - (long)osr_limiter_borrowed(&s->limiter);
}

static long limiter_waiters(struct stage *s) { return (long)osr_waiters_count(&s->limiter.waiters_); }

static void begin_barrier(struct stage *s) { expect_int(s, osr_barrier_init(&s->barrier, s->waiters + 1), 0); }
static int call_barrier(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_barrier_wait(&s->barrier); }

OSR_TASK(come_to_the_barrier, struct stage, s) { return osr_barrier_wait(&s->barrier); }

/* Comes to the barrier last, with as many others as are missing. */
static int offer_company(struct stage *s)
{
    int waiting = (int)osr_barrier_waiting(&s->barrier), i;

    if (waiting == 0)
        return 0;
    for (i = waiting + 1; i < (int)s->barrier.parties_; i++)
        osr_spawn(&s->hosts, come_to_the_barrier, s);
    if (i > waiting + 1)
        osr_yield();
    expect_int(s, osr_barrier_wait(&s->barrier), (int)s->barrier.parties_ - 1);
    return waiting;
}

static long barrier_waiters(struct stage *s) { return osr_barrier_waiting(&s->barrier); }

/* ---- Rows: queues -------------------------------------------------------------------------------------- */

static int compare_longs(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;

    return (x > y) - (x < y);
}

static void begin_queue(struct stage *s)
{
    int (*compare)(const void *, const void *) = s->row->order == OSR_QUEUE_PRIORITY ? compare_longs : NULL;

    expect_int(s, osr_queue_init(&s->queue, sizeof(long), s->row->capacity, .order = s->row->order,
                                 .compare = compare),
               0);
}

static void end_queue(struct stage *s) { expect_int(s, osr_queue_destroy(&s->queue), 0); }

static void fill_queue(struct osr_queue *queue)
{
    long item = 100;

    while (osr_queue_count(queue) < osr_queue_capacity(queue))
        osr_queue_try_put(queue, &item), item++;
}

static void begin_full_queue(struct stage *s)
{
    begin_queue(s);
    fill_queue(&s->queue);
}

static int call_put(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    long item = 7;

    return osr_queue_put(&s->queue, &item);
}

static int call_get(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    long item = -1;
    int rc = osr_queue_get(&s->queue, &item);

    expect_int(s, item, rc == 0 ? 9 : -1);
    return rc;
}

static int offer_room(struct stage *s)
{
    long item;

    return osr_queue_try_get(&s->queue, &item) == 0;
}

static int offer_item(struct stage *s)
{
    long item = 9;

    return osr_queue_try_put(&s->queue, &item) == 0;
}

static long room(struct stage *s) { return (long)(osr_queue_capacity(&s->queue) - osr_queue_count(&s->queue)); }
static long items(struct stage *s) { return (long)osr_queue_count(&s->queue); }
static long putters(struct stage *s) { return (long)osr_waiters_count(&s->queue.putters_); }
static long getters(struct stage *s) { return (long)osr_waiters_count(&s->queue.getters_); }

static void begin_queue_join(struct stage *s)
{
    long item = 1;

    begin_queue(s);
    osr_queue_try_put(&s->queue, &item);
    osr_queue_try_get(&s->queue, &item);
}

static int call_queue_join(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_queue_join(&s->queue); }

static int offer_done(struct stage *s)
{
    (void)osr_queue_task_done(&s->queue);
    return 1;
}

static long joiners(struct stage *s) { return (long)osr_waiters_count(&s->queue.joiners_); }

static void begin_two_queues(struct stage *s)
{
    begin_queue(s);
    expect_int(s, osr_queue_init(&s->other, sizeof(long), s->row->capacity), 0);
}

static void begin_two_full_queues(struct stage *s)
{
    begin_two_queues(s);
    fill_queue(&s->queue);
    fill_queue(&s->other);
}

static void end_two_queues(struct stage *s)
{
    end_queue(s);
    expect_int(s, osr_queue_destroy(&s->other), 0);
}

static int select_two(struct stage *s, struct osr_case *cases, int64_t until)
{
    int rc = osr_select(cases, 2, until);

    expect(s, rc < 0 || cases[rc].rc == 0);
    return rc;
}

static int call_select_get_until(struct stage *s, int64_t until)
{
    long a, b;
    struct osr_case cases[] = {OSR_GET(&s->queue, &a), OSR_GET(&s->other, &b)};

    return select_two(s, cases, until);
}

static int call_select_get(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return call_select_get_until(s, OSR_NEVER);
}

static int call_select_get_in_time(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return call_select_get_until(s, osr_time_add(osr_now(), osr_s(3600)));
}

static int call_select_too_late(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return call_select_get_until(s, osr_time_add(osr_now(), SPAN));
}

static int call_select_put(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    long item = 7;
    struct osr_case cases[] = {OSR_PUT(&s->queue, &item), OSR_PUT(&s->other, &item)};

    return select_two(s, cases, OSR_NEVER);
}

static int call_select_several(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    long in = 7, out;
    struct osr_case cases[] = {OSR_PUT(&s->queue, &in), OSR_GET(&s->other, &out)};

    return select_two(s, cases, OSR_NEVER);
}

static int offer_item_to_either(struct stage *s)
{
    long item = 9;

    return osr_queue_try_put(s->given % 2 ? &s->queue : &s->other, &item) == 0;
}

static int offer_room_in_either(struct stage *s)
{
    struct osr_queue *one = s->given % 2 ? &s->queue : &s->other;
    long item;

    return osr_queue_try_get(osr_queue_count(one) ? one : &s->queue, &item) == 0;
}

static int offer_room_or_item(struct stage *s)
{
    return s->given % 2 ? offer_room(s) : offer_item_to_either(s);
}

static void begin_full_and_empty(struct stage *s)
{
    begin_two_queues(s);
    fill_queue(&s->queue);
}

static long items_in_both(struct stage *s) { return items(s) + (long)osr_queue_count(&s->other); }

static long room_in_both(struct stage *s)
{
    return room(s) + (long)(osr_queue_capacity(&s->other) - osr_queue_count(&s->other));
}

static long room_and_items(struct stage *s) { return room(s) + (long)osr_queue_count(&s->other); }

static long select_waiters(struct stage *s)
{
    return putters(s) + getters(s) + (long)osr_waiters_count(&s->other.putters_) +
           (long)osr_waiters_count(&s->other.getters_);
}

/* ---- Rows: futures and parking ------------------------------------------------------------------------- */

static void begin_future(struct stage *s) { osr_future_init(&s->future, NULL, NULL); }

static int call_future(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    void *value = NULL;
    int rc = osr_future_wait(&s->future, &value);

    expect(s, (value == s) == (rc == 0));
    return rc;
}

static int offer_value(struct stage *s)
{
    (void)osr_future_complete(&s->future, s);
    return 1;
}

static long future_waiters(struct stage *s) { return (long)osr_waiters_count(&s->future.waiters_); }
static void end_future(struct stage *s) { expect_int(s, osr_future_destroy(&s->future), 0); }

static void begin_park(struct stage *s) { osr_waiters_init(&s->waiting); }

static void count_hook(struct osr_wait *wait) { ++*(int *)wait->item; }

static int call_park(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    int hooked = 0;
    struct osr_wait wait = {.call = "the table's own wait", .item = &hooked, .on_cancel = count_hook};
    bool parked = osr_enter() == 0;
    int rc = osr_park(&s->waiting, &wait);

    expect_int(s, hooked, parked && rc == -ECANCELED);
    return rc;
}

static int offer_wake(struct stage *s) { return osr_unpark(&s->waiting, 3); }
static long parked(struct stage *s) { return (long)osr_waiters_count(&s->waiting); }

/* ---- Rows: descriptors --------------------------------------------------------------------------------- */

static void begin_sockets(struct stage *s)
{
    s->descriptors = open_descriptors();
    expect_int(s, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s->fds), 0);
}

static void end_sockets(struct stage *s)
{
    expect_int(s, osr_fd_close(s->fds[0]), 0);
    close(s->fds[1]);
    expect_int(s, open_descriptors(), s->descriptors);
}

static void begin_full_sockets(struct stage *s)
{
    static const char zeros[4096];

    begin_sockets(s);
    while (write(s->fds[0], zeros, sizeof(zeros)) > 0)
        continue;
    while (write(s->fds[0], zeros, 1) > 0)
        continue;
}

static int call_readable(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_fd_readable(s->fds[0]); }
static int call_writable(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_fd_writable(s->fds[0]); }
static int call_write(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_write(s->fds[0], "x", 1); }

static int call_read(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    char byte;

    return osr_read(s->fds[0], &byte, 1);
}

static int call_write_all(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    size_t written = 9;
    int rc = osr_write_all(s->fds[0], "xyz", 3, &written);

    expect_int(s, (long)written, rc == 0 ? 3 : 0);
    return rc;
}

static int offer_byte(struct stage *s) { return (int)write(s->fds[1], "x", 1); }

static int offer_space(struct stage *s)
{
    static char sink[65536];

    while (read(s->fds[1], sink, sizeof(sink)) > 0)
        continue;
    return 1;
}

static long bytes(struct stage *s)
{
    int count = -1;

    expect_int(s, ioctl(s->fds[0], FIONREAD, &count), 0);
    return count;
}

static void begin_accept(struct stage *s)
{
    char name[64];

    s->descriptors = open_descriptors();
    snprintf(name, sizeof(name), "@osier-cancel-table-%d", (int)getpid());
    expect_int(s, osr_address_unix(&s->address, name), 0);
    s->fds[0] = osr_listen(&s->address, 0);
    expect(s, s->fds[0] >= 0);
}

static int call_accept(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    int fd = osr_accept(s->fds[0], NULL);

    if (fd >= 0)
        expect_int(s, osr_fd_close(fd), 0);
    return fd;
}

static int offer_connection(struct stage *s)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = connect(fd, (struct sockaddr *)&s->address.storage, s->address.size);

    close(fd);
    return rc == 0;
}

/* Takes them out, so this is for the end; what is left is put back. */
static long backlog(struct stage *s)
{
    long count = 0, i;
    int fd;

    while ((fd = accept(s->fds[0], NULL, NULL)) >= 0)
        close(fd), count++;
    for (i = 0; i < count; i++)
        (void)offer_connection(s);
    return count;
}

static void end_accept(struct stage *s)
{
    expect_int(s, osr_fd_close(s->fds[0]), 0);
    expect_int(s, open_descriptors(), s->descriptors);
}

static void begin_connect(struct stage *s)
{
    int i;

    s->descriptors = open_descriptors();
    expect_int(s, osr_address_ip(&s->address, "127.0.0.1", 0), 0);
    s->fds[0] = osr_listen(&s->address, 1);
    expect_int(s, osr_socket_address(s->fds[0], &s->address), 0);
    for (i = 0; i < 16; i++) { /* so that the next one hangs */
        s->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(s->fillers[i], (struct sockaddr *)&s->address.storage, s->address.size);
    }
}

static int call_connect(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_connect(&s->address); }

/* There is room in the backlog. */
static int call_connect_at_once(struct stage *s, struct caller *c)
{
    int fd = call_connect(s, c);

    return fd < 0 ? fd : osr_fd_close(fd);
}

static void end_connect(struct stage *s)
{
    int i;

    for (i = 0; i < 16; i++)
        close(s->fillers[i]);
    end_accept(s);
}

/* ---- Rows: jobs under the simulated clock ------------------------------------------------------------ */

OSR_JOB(count_a_run, struct stage, s)
{
    s->spawned++;
    return 0;
}

static void count_destroyed(void *arg, int rc)
{
    struct stage *s = arg;

    expect_int(s, rc, 0);
    expect_int(s, osr_job_check(), -ECANCELED);
    s->destroyed++;
}

static void begin_jobs(struct stage *s) { s->spawned = s->destroyed = 0; }

static int call_offload(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_offload(count_a_run, s); }

static int call_offload_loosely(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_offload(count_a_run, s, .abandon = count_destroyed);
}

static int call_map(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    int results[ITEMS] = {1, 1}, rc, i;

    rc = osr_map_with(&count_a_run.routine_, s, ITEMS, 0,
                      &(const struct osr_map_options){
                          .size = sizeof(struct osr_map_options), .where = OSR_HERE, .results = results,
                          .limit = s->row->flags & REAL ? ITEMS : 1});
    for (i = 0; i < ITEMS && results[i] != 1; i++) /* which it is where the call was refused */
        expect_int(s, results[i], rc);
    return rc;
}

/* Each job that has run gave its result to its caller, or to its destructor. */
static void end_jobs(struct stage *s) { expect_int(s, s->spawned, s->taken + s->destroyed); }
static void end_map(struct stage *s) { expect_int(s, s->spawned, s->taken * ITEMS); }

/* ---- Rows: jobs in threads ----------------------------------------------------------------------------- */

/* Where jobs wait to be let through, in the order in which they were offloaded. */
static struct {
    pthread_mutex_t lock;
    struct job {
        unsigned number;
        bool polls, waits, through;
    } jobs[JOBS];
    long passes, begun, ended, destroyed;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void nap(void) { nanosleep(&(struct timespec){0, 20000}, NULL); }

/* A moment for threads and processes; false when there were too many, once for all. */
static bool while_others_work(int *moments)
{
    static int most = 30000;

    nap();
    if (++*moments < most)
        return true;
    most = 100;
    return false;
}

/* The lock is held. */
static void let_through(void)
{
    unsigned i;

    for (i = 0; i < JOBS && gate.passes > 0; i++)
        if (gate.jobs[i].waits) {
            gate.jobs[i].waits = false;
            gate.jobs[i].through = true;
            gate.passes--;
        }
}

/* Whether the job need wait no longer: it is through, or takes itself out. */
static bool is_past_the_gate(struct job *job)
{
    bool past;

    pthread_mutex_lock(&gate.lock);
    if (job->polls && osr_job_check() < 0)
        job->waits = false;
    past = !job->waits;
    gate.ended += past;
    pthread_mutex_unlock(&gate.lock);
    return past;
}

static void come_to_the_gate(struct job *job)
{
    pthread_mutex_lock(&gate.lock);
    gate.begun++;
    job->waits = true;
    let_through();
    pthread_mutex_unlock(&gate.lock);
}

OSR_JOB(pass_the_gate, struct job, job)
{
    come_to_the_gate(job);
    while (!is_past_the_gate(job))
        nap();
    return job->through ? 0 : -ECANCELED;
}

/* What a job that was left behind has taken goes back. */
static void give_back(void *arg, int rc)
{
    struct job *job = arg;

    pthread_mutex_lock(&gate.lock);
    gate.destroyed++;
    gate.passes += rc == 0;
    job->through = false;
    let_through();
    pthread_mutex_unlock(&gate.lock);
}

static long seen_at_the_gate(const long *what)
{
    long count;

    pthread_mutex_lock(&gate.lock);
    count = *what;
    pthread_mutex_unlock(&gate.lock);
    return count;
}

static long passes(struct stage *s OSR_MAYBE_UNUSED_) { return seen_at_the_gate(&gate.passes); }

static long waiting_at_the_gate(struct stage *s OSR_MAYBE_UNUSED_)
{
    long count = 0;
    unsigned i;

    pthread_mutex_lock(&gate.lock);
    for (i = 0; i < JOBS; i++)
        count += gate.jobs[i].waits;
    pthread_mutex_unlock(&gate.lock);
    return count;
}

static long half_waiting_at_the_gate(struct stage *s) { return waiting_at_the_gate(s) / ITEMS; }

static int offer_passes(int count)
{
    pthread_mutex_lock(&gate.lock);
    gate.passes += count;
    let_through();
    pthread_mutex_unlock(&gate.lock);
    return count;
}

static int offer_pass(struct stage *s OSR_MAYBE_UNUSED_) { return offer_passes(1); }
static int offer_pass_each(struct stage *s OSR_MAYBE_UNUSED_) { return offer_passes(ITEMS); }

static void begin_gate(struct stage *s)
{
    memset(gate.jobs, 0, sizeof(gate.jobs));
    gate.passes = gate.begun = gate.ended = gate.destroyed = 0;
    s->jobs = 0;
    osr_pool_set_size(8);
}

static struct job *next_job(struct stage *s, bool polls)
{
    struct job *job = &gate.jobs[s->jobs++ % JOBS];

    *job = (struct job){.number = s->jobs, .polls = polls};
    return job;
}

static int call_job(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_offload(pass_the_gate, next_job(s, false));
}

static int call_polling_job(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_offload(pass_the_gate, next_job(s, true));
}

static int call_loose_job(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    return osr_offload(pass_the_gate, next_job(s, true), .abandon = give_back);
}

/* The first item's place is that of the array. */
static int call_map_of_jobs(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    struct job *first = next_job(s, true);
    int results[ITEMS], rc, i;

    for (i = 1; i < ITEMS; i++)
        (void)next_job(s, true);
    rc = osr_map(pass_the_gate, first, ITEMS, .results = results, .limit = ITEMS);
    for (i = 0; i < ITEMS && (rc == 0 || waiting_at_the_gate(s) == 0); i++)
        expect(s, rc == 0 ? results[i] == 0 : rc == -ECANCELED);
    if (rc == 0)
        s->taken += ITEMS - 1;
    return rc;
}

/* Waits for the jobs that were left behind. */
static void end_gate(struct stage *s)
{
    int moments = 0;

    while (seen_at_the_gate(&gate.begun) != seen_at_the_gate(&gate.ended) && while_others_work(&moments))
        continue;
    expect_int(s, waiting_at_the_gate(s), 0);
    expect_int(s, seen_at_the_gate(&gate.begun), seen_at_the_gate(&gate.ended));
}

/* Each job gave its result to its caller, or to its destructor. */
static void end_loose_gate(struct stage *s)
{
    int moments = 0;

    while (seen_at_the_gate(&gate.begun) != s->taken + seen_at_the_gate(&gate.destroyed) &&
           while_others_work(&moments))
        continue;
    expect_int(s, seen_at_the_gate(&gate.begun), s->taken + seen_at_the_gate(&gate.destroyed));
    end_gate(s);
}

/* One thread, which is busy with a job of another's: so those that are offloaded stay in the queue. */
OSR_TASK(keep_the_thread_busy, struct stage, s) { return call_job(s, NULL); }

static void begin_queued_jobs(struct stage *s)
{
    begin_gate(s);
    s->spawned = 0;
    osr_pool_set_size(1);
    osr_group_open(&s->group);
    osr_spawn(&s->group, keep_the_thread_busy, s);
    while (waiting_at_the_gate(s) == 0)
        osr_yield();
}

/* One of the queue runs at a time: they take turns with the count. */
static int open_the_thread(struct stage *s)
{
    if (waiting_at_the_gate(s) > 0)
        (void)offer_passes(1);
    return 1;
}

static void end_queued_jobs(struct stage *s)
{
    (void)open_the_thread(s);
    expect_int(s, osr_group_close(&s->group, 0), 0);
    expect_int(s, s->spawned, s->taken);
    end_gate(s);
}

static void end_queued_map(struct stage *s)
{
    (void)open_the_thread(s);
    expect_int(s, osr_group_close(&s->group, 0), 0);
    expect_int(s, s->spawned, s->taken * ITEMS);
    end_gate(s);
}

/* ---- Rows: signals ------------------------------------------------------------------------------------- */

static void begin_signals(struct stage *s) { expect_int(s, osr_signals_open(&s->signals, SIGUSR2), 0); }

/* One call may be told of several that have come. */
static int call_signal(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_)
{
    unsigned count = 0;
    int rc = osr_signal_wait(&s->signals, &count);

    expect(s, (rc == SIGUSR2) == (count > 0));
    if (rc > 0)
        s->taken += (long)count - 1;
    return rc;
}

static int offer_signal(struct stage *s OSR_MAYBE_UNUSED_)
{
    int rc = raise(SIGUSR2);

    nap(); /* where ThreadSanitizer keeps it back, it comes now */
    return rc == 0;
}

/* Takes them out, and has them come again. */
static long signals_left(struct stage *s)
{
    unsigned count = 0, i;
    int code;
    struct source *source = osri_source_of_ours(s->signals.post_.id_, &code);

    if (!source || osri_signal_take(source->arg, &count) == 0)
        return 0;
    for (i = 0; i < count; i++)
        (void)offer_signal(s);
    return count;
}

static void end_signals(struct stage *s)
{
    struct sigaction now;

    expect_int(s, osr_signals_close(&s->signals), 0);
    expect(s, sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

/* ---- Rows: workers ------------------------------------------------------------------------------------- */

static void begin_worker(struct stage *s)
{
    s->descriptors = open_descriptors();
    expect_int(s, pipe2(s->fds, O_CLOEXEC), 0);
}

OSR_TASK(take_a_byte, struct stage, s)
{
    char byte;

    return read(s->fds[0], &byte, 1) == 1 ? 0 : -EIO;
}

static int call_worker(struct stage *s, struct caller *c OSR_MAYBE_UNUSED_) { return osr_worker(take_a_byte, s); }

/* No child is left, alive or dead. */
static void end_worker(struct stage *s)
{
    expect_int(s, waitpid(-1, NULL, WNOHANG), -1);
    expect_int(s, errno, ECHILD);
    close(s->fds[0]);
    close(s->fds[1]);
    expect_int(s, open_descriptors(), s->descriptors);
}

/* ---- The table ----------------------------------------------------------------------------------------- */

static const struct row rows[] = {
    {"osr_yield", INSTANT, .call = call_yield},
    {"osr_enter", INSTANT, .call = call_enter},
    {"osr_check", INSTANT, .call = call_check},
    {"osr_sleep", TIMED, .call = call_sleep},
    {"osr_sleep_until", TIMED, .call = call_sleep_until},
    {"osr_task_join", LEVEL, begin_join, call_join, offer_event, .end = end_group},
    {"osr_spawn under a limit", LEVEL | WAITS_ONLY, begin_spawn, call_spawn, offer_permit_to_task, .waiters = spawners,
     .end = end_spawn},
    {"osr_start", LEVEL, begin_start, call_start, offer_event, .waiters = starting, .end = end_group},
    {"osr_start under a limit", LEVEL, begin_start_under_a_limit, call_start_under_a_limit, offer_place,
     .waiters = spawners, .end = end_spawn},
    {"osr_gather", LEVEL, begin_start, call_gather, offer_event, .end = end_group},
    {"osr_gather, one by one", LEVEL, begin_start, call_gather_one_by_one, offer_event_to_all, .end = end_group},
    {"osr_group_next", 0, begin_next, call_next, offer_permit_to_task, ended_children, nexts, .end = end_group},
    {"osr_event_wait", LEVEL, begin_event, call_event, set_event, .waiters = event_waiters},
    {"osr_lock_acquire", LEVEL, begin_lock, call_lock, offer_lock, free_locks, lock_waiters, .end = end_lock},
    {"osr_condition_wait", FORGETS, begin_condition, call_condition, offer_notice, .waiters = condition_waiters,
     .end = end_lock},
    {"osr_semaphore_acquire", 0, begin_semaphore, call_semaphore, offer_permit, free_permits,
     .waiters = semaphore_waiters},
    {"osr_limiter_acquire", 0, begin_limiter, call_limiter, offer_loan, free_loans, .waiters = limiter_waiters},
    {"osr_barrier_wait", FORGETS | LEVEL, begin_barrier, call_barrier, offer_company, .waiters = barrier_waiters},
    {"osr_queue_put, FIFO", 0, begin_full_queue, call_put, offer_room, room, putters, end_queue, .capacity = 3},
    {"osr_queue_put, LIFO", 0, begin_full_queue, call_put, offer_room, room, putters, end_queue,
     .order = OSR_QUEUE_LIFO, .capacity = 3},
    {"osr_queue_put, priority", 0, begin_full_queue, call_put, offer_room, room, putters, end_queue,
     .order = OSR_QUEUE_PRIORITY, .capacity = 3},
    {"osr_queue_put, for one", 0, begin_full_queue, call_put, offer_room, room, putters, end_queue, .capacity = 1},
    {"osr_queue_put, hand to hand", FORGETS, begin_queue, call_put, offer_room, NULL, putters, .end = end_queue},
    {"osr_queue_put, unbounded", INSTANT, begin_queue, call_put, NULL, NULL, putters, end_queue,
     .capacity = OSR_UNBOUNDED},
    {"osr_queue_get, FIFO", 0, begin_queue, call_get, offer_item, items, getters, end_queue, .capacity = 3},
    {"osr_queue_get, LIFO", 0, begin_queue, call_get, offer_item, items, getters, end_queue,
     .order = OSR_QUEUE_LIFO, .capacity = 3},
    {"osr_queue_get, priority", 0, begin_queue, call_get, offer_item, items, getters, end_queue,
     .order = OSR_QUEUE_PRIORITY, .capacity = 3},
    {"osr_queue_get, hand to hand", FORGETS, begin_queue, call_get, offer_item, NULL, getters, .end = end_queue},
    {"osr_queue_get, unbounded", 0, begin_queue, call_get, offer_item, items, getters, end_queue,
     .capacity = OSR_UNBOUNDED},
    {"osr_queue_get, unbounded LIFO", 0, begin_queue, call_get, offer_item, items, getters, end_queue,
     .order = OSR_QUEUE_LIFO, .capacity = OSR_UNBOUNDED},
    {"osr_queue_get, unbounded priority", 0, begin_queue, call_get, offer_item, items, getters, end_queue,
     .order = OSR_QUEUE_PRIORITY, .capacity = OSR_UNBOUNDED},
    {"osr_queue_join", LEVEL, begin_queue_join, call_queue_join, offer_done, NULL, joiners, end_queue, .capacity = 3},
    {"osr_select, gets", 0, begin_two_queues, call_select_get, offer_item_to_either, items_in_both, select_waiters,
     end_two_queues, .capacity = 3},
    {"osr_select, gets hand to hand", FORGETS, begin_two_queues, call_select_get, offer_item_to_either, NULL,
     select_waiters, .end = end_two_queues},
    {"osr_select, puts", 0, begin_two_full_queues, call_select_put, offer_room_in_either, room_in_both, select_waiters,
     end_two_queues, .capacity = 3},
    {"osr_select, a put and a get", 0, begin_full_and_empty, call_select_several, offer_room_or_item, room_and_items,
     select_waiters, end_two_queues, .capacity = 3},
    {"osr_select with a moment", 0, begin_two_queues, call_select_get_in_time, offer_item_to_either, items_in_both,
     select_waiters, end_two_queues, .capacity = 3},
    {"osr_select whose moment comes", TIMED, begin_two_queues, call_select_too_late, NULL, NULL, select_waiters,
     end_two_queues, .success = -ETIMEDOUT, .capacity = 3},
    {"osr_future_wait", LEVEL, begin_future, call_future, offer_value, NULL, future_waiters, .end = end_future},
    {"osr_park", FORGETS, begin_park, call_park, offer_wake, NULL, .waiters = parked},
    {"osr_fd_readable", LEVEL | ALONE | POLLED, begin_sockets, call_readable, offer_byte, .end = end_sockets},
    {"osr_fd_writable", LEVEL | ALONE | POLLED, begin_full_sockets, call_writable, offer_space, .end = end_sockets},
    {"osr_read", ALONE | POLLED, begin_sockets, call_read, offer_byte, bytes, .end = end_sockets},
    {"osr_write", LEVEL | ALONE | POLLED, begin_full_sockets, call_write, offer_space, .end = end_sockets},
    {"osr_write_all", LEVEL | ALONE | POLLED, begin_full_sockets, call_write_all, offer_space, .end = end_sockets},
    {"osr_accept", ALONE | POLLED, begin_accept, call_accept, offer_connection, backlog, .end = end_accept},
    {"osr_connect", UNANSWERED, begin_connect, call_connect, .end = end_connect},
    {"osr_connect, at once", INSTANT, begin_accept, call_connect_at_once, .end = end_accept},

    {"osr_offload, simulated", BRIEF, begin_jobs, call_offload, .end = end_jobs},
    {"osr_offload, simulated, begun", BRIEF | BEGUN | WAITED_FOR, begin_jobs, call_offload, .end = end_jobs},
    {"osr_offload, simulated, .abandon", BRIEF, begin_jobs, call_offload_loosely, .end = end_jobs},
    {"osr_offload, simulated, .abandon, begun", BRIEF | BEGUN, begin_jobs, call_offload_loosely, .end = end_jobs},
    {"osr_map, simulated", BRIEF, begin_jobs, call_map, .end = end_map},
    {"osr_offload, queued", REAL | OUTSIDE | LEVEL, begin_queued_jobs, call_offload, open_the_thread,
     .end = end_queued_jobs},
    {"osr_offload, running", REAL | OUTSIDE | WAITED_FOR, begin_gate, call_job, offer_pass, passes, .end = end_gate,
     .arrived = waiting_at_the_gate},
    {"osr_offload, running, it asks", REAL | OUTSIDE, begin_gate, call_polling_job, offer_pass, passes,
     .end = end_gate, .arrived = waiting_at_the_gate},
    {"osr_offload, running, .abandon", REAL | OUTSIDE, begin_gate, call_loose_job, offer_pass, passes,
     .end = end_loose_gate, .arrived = waiting_at_the_gate},
    {"osr_map, queued", REAL | OUTSIDE | LEVEL, begin_queued_jobs, call_map, open_the_thread, .end = end_queued_map},
    {"osr_map, running, they ask", REAL | OUTSIDE, begin_gate, call_map_of_jobs, offer_pass_each, passes,
     .end = end_gate, .arrived = half_waiting_at_the_gate},
    {"osr_signal_wait", POLLED, begin_signals, call_signal, offer_signal, signals_left, .end = end_signals},
    {"osr_signal_wait on the real clock", POLLED | REAL, begin_signals, call_signal, offer_signal, signals_left,
     .end = end_signals},
    {"osr_worker", OUTSIDE | UNORDERED, begin_worker, call_worker, offer_byte, bytes, .end = end_worker},
    {"osr_worker on the real clock", OUTSIDE | UNORDERED | REAL, begin_worker, call_worker, offer_byte, bytes,
     .end = end_worker},

    /* ---- Streams, names, files */
};

/* ---- Ways to cancel ------------------------------------------------------------------------------------ */

static void cancel_scope(struct caller *c) { osr_scope_cancel(&c->scope, "the table's"); }
static void cancel_task(struct caller *c) { osr_task_cancel(c->handle, "the table's"); }
static void cancel_group(struct caller *c) { osr_group_cancel(&c->group, "the table's"); }
static void fail_sibling(struct caller *c) { osr_event_set(&c->fail); }

static void cancel_called(void *arg) { cancel_scope(arg); }
static void cancel_by_call(struct caller *c) { (void)osr_call_soon(&c->call, cancel_called, c); }

static void open_post(struct caller *c) { expect_int(c->stage, osr_post_open_cancel(&c->post, &c->scope, NULL), 0); }
static void open_portal(struct caller *c) { expect_int(c->stage, osr_portal_open(&c->portal, &c->group), 0); }

static void *fire_post(void *arg)
{
    (void)osr_post_fire(*(struct osr_post *)arg);
    return NULL;
}

static void *cancel_portal(void *arg)
{
    (void)osr_portal_cancel(*(struct osr_portal *)arg, "the table's");
    return NULL;
}

static void in_a_thread(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, arg) == 0)
        pthread_join(thread, NULL);
}

static void fire_in_a_thread(struct caller *c) { in_a_thread(fire_post, &c->post); }
static void cancel_portal_in_a_thread(struct caller *c) { in_a_thread(cancel_portal, &c->portal); }

static struct {
    void *(*run)(void *arg);
    void *arg;
} handled;

static void handle(int number OSR_MAYBE_UNUSED_) { (void)handled.run(handled.arg); }

static void in_a_handler(void *(*run)(void *arg), void *arg)
{
    struct sigaction action = {.sa_handler = handle}, kept;

    handled.run = run;
    handled.arg = arg;
    sigaction(SIGUSR1, &action, &kept);
    raise(SIGUSR1);
    nap(); /* where ThreadSanitizer keeps it back, it comes now */
    sigaction(SIGUSR1, &kept, NULL);
}

static void fire_in_a_handler(struct caller *c) { in_a_handler(fire_post, &c->post); }
static void cancel_portal_in_a_handler(struct caller *c) { in_a_handler(cancel_portal, &c->portal); }

static const struct way ways[] = {
    {"by its scope", cancel_scope, -OSR_ESCOPECANCELED, .late = false},
    {"by its task", cancel_task, -ECANCELED, .late = false},
    {"by its group", cancel_group, -ECANCELED, .late = false},
    {"by the error of a sibling", fail_sibling, -ECANCELED, -OSR_EGROUP, .late = true},
    {"by a call", cancel_by_call, -OSR_ESCOPECANCELED, .looks = true},
    {"by a post, from a thread", fire_in_a_thread, -OSR_ESCOPECANCELED, .looks = true, .open_inside = open_post},
    {"by a post, from a signal handler", fire_in_a_handler, -OSR_ESCOPECANCELED, .looks = true,
     .open_inside = open_post},
    {"by a portal, from a thread", cancel_portal_in_a_thread, -ECANCELED, .looks = true, .open = open_portal},
    {"by a portal, from a signal handler", cancel_portal_in_a_handler, -ECANCELED, .looks = true,
     .open = open_portal},
};

/* ---- Callers ------------------------------------------------------------------------------------------- */

/* On the real clock everything takes a tenth. */
static int64_t scaled(const struct stage *s, int64_t duration)
{
    return s->row->flags & REAL && duration < osr_s(1) ? duration / 10 : duration;
}

static int64_t at(const struct stage *s, int64_t moment) { return osr_time_add(s->zero, scaled(s, moment)); }

static void open_inside(struct caller *c)
{
    if (c->stage->way->open_inside)
        c->stage->way->open_inside(c);
}

static void hold(struct caller *c)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    osr_scope_close(&shield, osr_event_wait(&c->go));
}

static void make_call(struct caller *c)
{
    struct stage *s = c->stage;
    int success = s->row->success;
    unsigned i;

    if (c->held)
        hold(c);
    for (i = 0; i < c->checks; i++)
        (void)osr_check();
    c->calling = true;
    c->rc = s->row->call(s, c);
    c->returned = true;
    c->when = osr_now();
    c->succeeded = success ? c->rc == success : c->rc >= 0;
    s->taken += c->succeeded;
    c->next = osr_check();
    if (c->succeeded)
        c->rc = c->next; /* who got something, and sees that it is cancelled, passes that on */
}

static void in_a_scope(struct caller *c)
{
    osr_scope_open(&c->scope);
    open_inside(c);
    make_call(c);
    c->closed = osr_scope_close(&c->scope, c->rc);
}

static void under_a_timeout(struct caller *c)
{
    osr_timeout_open_at(&c->scope, at(c->stage, c->limit));
    make_call(c);
    c->closed = osr_scope_close(&c->scope, c->rc);
}

static void under_a_shield(struct caller *c)
{
    osr_scope_open(&c->scope);
    open_inside(c);
    osr_shield_open(&c->shield, scaled(c->stage, c->limit));
    make_call(c);
    c->closed_shield = osr_scope_close(&c->shield, c->rc);
    c->closed = osr_scope_close(&c->scope, osr_check());
}

static void in_two_scopes(struct caller *c)
{
    osr_scope_open(&c->outer);
    osr_scope_open(&c->scope);
    make_call(c);
    c->closed = osr_scope_close(&c->scope, c->rc);
    c->closed_outer = osr_scope_close(&c->outer, c->closed);
}

OSR_TASK(caller, struct caller, c)
{
    c->body(c);
    return c->closed == -ECANCELED ? -ECANCELED : 0;
}

OSR_TASK(sibling, struct caller, c)
{
    int rc = osr_event_wait(&c->fail);

    return rc < 0 ? rc : -EIO;
}

OSR_TASK(host, struct caller, c)
{
    osr_group_open(&c->group);
    if (c->stage->way->open)
        c->stage->way->open(c);
    osr_spawn(&c->group, sibling, c, .daemon = true);
    osr_spawn(&c->group, caller, c, .handle = &c->handle);
    c->grouped = osr_group_close(&c->group, 0);
    c->ended = true;
    return 0;
}

/* A call is about to be made, when the root waits next. */
static void begin_call(struct stage *s, struct caller *c, void (*body)(struct caller *caller))
{
    *c = (struct caller){.stage = s, .body = body, .held = c->held, .checks = c->checks, .limit = c->limit};
    osr_event_init(&c->go);
    osr_event_init(&c->fail);
    s->callers[s->count++] = c;
    osr_spawn(&s->hosts, host, c);
}

/* ---- What the root does -------------------------------------------------------------------------------- */

/* Lets everything happen that can; on a real clock the next moment may have come before anybody else has run. */
static void settle(void)
{
    osr_yield(), osr_yield(), osr_yield(), osr_yield();
    (void)osr_sleep(1);
}

/* How many callers wait that nobody has woken yet. */
static long waiting_callers(const struct stage *s)
{
    long count = 0;
    unsigned i;

    for (i = 0; i < s->count; i++)
        count += s->callers[i]->calling && !s->callers[i]->returned &&
                 osr_task_state(s->callers[i]->handle) == OSR_TASK_WAITING;
    return count;
}

/* Sleeps until the moment, and until whoever makes the call waits. */
static void sleep_to(struct stage *s, int64_t moment)
{
    int moments = 0;
    unsigned i;

    osr_sleep_until(at(s, moment));
    for (i = 0; i < s->count; i++)
        while (!s->callers[i]->calling && !s->callers[i]->held)
            osr_yield(); /* where the moment has passed before anybody has run */
    while (s->row->arrived && s->row->arrived(s) < waiting_callers(s) && while_others_work(&moments))
        osr_yield();
}

/* Until the caller is through, where that takes real time. */
static void wait_for(struct stage *s, struct caller *c)
{
    int moments = 0;

    while (s->row->flags & (OUTSIDE | REAL) && !c->ended && while_others_work(&moments))
        osr_sleep(osr_us(100));
    while (s->row->arrived && s->row->arrived(s) > waiting_callers(s) && while_others_work(&moments))
        continue; /* it has been left behind, and does not know yet */
}

static void cancel(struct stage *s, struct caller *c)
{
    s->way->cancel(c);
    if (s->way->looks)
        osri_look(osri_sched, 0);
    if (s->way->late || s->way->looks)
        osr_yield(), osr_yield();
}

/* Cancels, and waits until what works outside for the call has heard of it. */
static void cancel_for_good(struct stage *s, struct caller *c)
{
    cancel(s, c);
    if (s->row->flags & OUTSIDE)
        wait_for(s, c);
}

/* Waits until what was offered has come to one who waits, who has not run since. */
static void wait_for_waking(struct stage *s, long waiting)
{
    int moments = 0;

    while (waiting > 0 && waiting_callers(s) >= waiting && while_others_work(&moments)) {
        osri_look(osri_sched, 0);
        if (waiting_callers(s) >= waiting)
            osr_yield(); /* what the call is made of runs */
    }
}

static void offer(struct stage *s)
{
    long waiting = waiting_callers(s);

    s->given += s->row->offer(s);
    if (s->row->flags & POLLED)
        osri_look(osri_sched, 0);
    if (s->row->flags & OUTSIDE)
        wait_for_waking(s, waiting);
}

static bool can_be_offered_beforehand(const struct stage *s)
{
    return s->row->offer && !(s->row->flags & (FORGETS | WAITS_ONLY));
}

static long left(struct stage *s) { return s->row->left ? s->row->left(s) : 0; }

static void expect_nobody_waits(struct stage *s)
{
    if (s->row->waiters)
        expect_int(s, s->row->waiters(s), 0);
}

/* The call has returned; else all of it is ended, since the caller's frame soon goes. */
static void expect_returned(struct stage *s, struct caller *c)
{
    wait_for(s, c);
    expect(s, c->returned);
    if (c->returned)
        return;
    osr_task_cancel(c->handle, "it hangs");
    osr_event_set(&c->go);
    while (!c->ended) {
        if (s->row->offer)
            (void)s->row->offer(s);
        (void)osr_sleep(osr_ms(1));
    }
}

static void expect_success(struct stage *s, struct caller *c, int next)
{
    expect_returned(s, c);
    expect(s, c->succeeded);
    expect_int(s, c->next, next);
}

static void expect_cut(struct stage *s, struct caller *c)
{
    expect_returned(s, c);
    expect(s, !c->succeeded);
    expect_int(s, c->rc, -ECANCELED);
    expect_int(s, c->next, -ECANCELED);
}

/* That the call returned at the very moment, where no real time counts. */
static void expect_when(struct stage *s, struct caller *c, int64_t moment)
{
    if (s->row->flags & (OUTSIDE | REAL))
        expect(s, c->when >= at(s, moment));
    else
        expect_int(s, c->when, moment);
}

static void expect_closed(struct stage *s, struct caller *c)
{
    expect_int(s, c->closed, s->way->closed);
    expect_int(s, c->grouped, s->way->grouped);
}

/* What was offered and not taken, or is offered now, gets to the next who makes the call. */
static void expect_it_still_works(struct stage *s)
{
    struct caller c = {.held = false};

    if (s->row->flags & UNANSWERED)
        return;
    begin_call(s, &c, in_a_scope);
    settle();
    if (left(s) > 0) {
        wait_for(s, &c);
        expect(s, c.returned);
    }
    if (!c.returned && s->row->offer)
        offer(s);
    osr_sleep(s->row->flags & TIMED ? SPAN : 1);
    expect_success(s, &c, 0);
    expect_int(s, c.closed, 0);
    expect_int(s, c.grouped, 0);
}

struct column {
    struct stage stage;
    void (*play)(struct stage *stage);
};

static void ignore(void *arg OSR_MAYBE_UNUSED_, unsigned count OSR_MAYBE_UNUSED_) {}

OSR_TASK(play_on_stage, struct column, column)
{
    struct stage *s = &column->stage;

    struct osr_post post;

    expect_int(s, osr_post_open(&post, ignore, NULL), 0); /* the first of a run takes a descriptor */
    expect_int(s, osr_post_close(&post), 0);
    if (s->row->begin)
        s->row->begin(s);
    s->zero = s->row->flags & REAL ? osr_now() : 0;
    osr_group_open(&s->hosts, .name = "hosts");
    column->play(s);
    expect_nobody_waits(s);
    expect_int(s, osr_group_close(&s->hosts, 0), 0);
    expect_nobody_waits(s);
    if (s->row->left)
        expect_int(s, s->given, s->taken + s->row->left(s));
    if (s->row->end)
        s->row->end(s);
    return 0;
}

/* The job whose caller is cancelled has begun. */
static unsigned choose_begun(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_JOB && strcmp(what, "begun") == 0;
}

static void play(const char *name, const struct row *row, const struct way *way, unsigned waiters,
                 void (*what)(struct stage *stage))
{
    struct column column = {.stage = {.row = row, .way = way, .column = name, .waiters = waiters}, .play = what};

    assert_int_equal(osr_run(play_on_stage, &column, .clock = row->flags & REAL ? OSR_CLOCK_REAL : OSR_CLOCK_SIMULATED,
                             .debug = true, .choose = row->flags & BEGUN ? choose_begun : NULL),
                     0);
    if (row->flags & OUTSIDE)
        assert_int_equal(osr_pool_shutdown(osr_s(60), NULL, NULL), 0);
}

/* ~flag: only those that are `flag`. */
static bool may_play(const struct row *row, int without)
{
    return without < 0 ? (row->flags & ~without) != 0 : !(row->flags & without);
}

static void play_all(const char *name, int without, bool late, unsigned waiters, const struct way *some, size_t count,
                     void (*what)(struct stage *stage))
{
    size_t i, j;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (j = 0; j < count && may_play(&rows[i], without); j++)
            if (late || !(some[j].late || some[j].looks))
                play(name, &rows[i], &some[j], waiters, what);
    assert_checked();
}

/* A column, for all rows that are none of `without`, and for all ways (if `late`, also those that take a while). */
#define COLUMN(column, without, late, waiters)                                                               \
    static void column##_played(struct stage *s);                                                            \
    static void column(void **state)                                                                         \
    {                                                                                                        \
        (void)state;                                                                                         \
        play_all(#column, (without), (late), (waiters), ways, sizeof(ways) / sizeof(ways[0]), column##_played); \
    }                                                                                                        \
    static void column##_played(struct stage *s)

/* A column that does its cancelling itself. */
#define COLUMN_OF_ITS_OWN(column, without)                                   \
    static void column##_played(struct stage *s);                            \
    static void column(void **state)                                         \
    {                                                                        \
        static const struct way itself = {.name = "by itself"};              \
                                                                             \
        (void)state;                                                         \
        play_all(#column, (without), true, 1, &itself, 1, column##_played);  \
    }                                                                        \
    static void column##_played(struct stage *s)

/* ---- Columns: before the call -------------------------------------------------------------------------- */

COLUMN(a_call_in_a_cancelled_scope_is_refused_before_any_side_effect, 0, true, 1)
{
    struct caller c = {.held = true};
    long before;

    begin_call(s, &c, in_a_scope);
    settle();
    if (can_be_offered_beforehand(s))
        offer(s);
    cancel(s, &c);
    before = left(s);
    osr_event_set(&c.go);
    settle();
    expect_cut(s, &c);
    expect_closed(s, &c);
    expect_int(s, left(s), before);
    expect_nobody_waits(s);
    expect_it_still_works(s);
}

COLUMN_OF_ITS_OWN(a_call_after_its_deadline_is_refused_before_any_side_effect, 0)
{
    struct caller c = {.held = true, .limit = osr_ms(5)};
    long before;

    begin_call(s, &c, under_a_timeout);
    settle();
    if (can_be_offered_beforehand(s))
        offer(s);
    sleep_to(s, osr_ms(5));
    before = left(s);
    osr_event_set(&c.go);
    settle();
    expect_cut(s, &c);
    expect_int(s, c.closed, -ETIMEDOUT);
    expect_int(s, left(s), before);
    expect_it_still_works(s);
}

/* Nobody but the entry check itself notices that the time has come. */
COLUMN_OF_ITS_OWN(a_call_whose_deadline_has_passed_at_entry_is_refused, 0)
{
    struct caller c = {.limit = 0};
    long before;

    settle();
    if (can_be_offered_beforehand(s))
        offer(s);
    before = left(s);
    begin_call(s, &c, under_a_timeout);
    osr_yield(), osr_yield(), osr_yield(), osr_yield();
    expect_when(s, &c, 1);
    settle();
    expect_cut(s, &c);
    expect_int(s, c.closed, -ETIMEDOUT);
    expect_int(s, left(s), before);
    expect_it_still_works(s);
}

/* ---- Columns: while parked ----------------------------------------------------------------------------- */

COLUMN(a_call_that_waits_is_cut_by_a_cancellation, INSTANT | BRIEF | WAITED_FOR, true, 1)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_a_scope);
    sleep_to(s, osr_ms(5));
    expect(s, c.calling && !c.returned);
    cancel(s, &c);
    settle();
    expect_cut(s, &c);
    expect_when(s, &c, osr_ms(5));
    expect_closed(s, &c);
    expect_nobody_waits(s);
    expect_it_still_works(s);
}

COLUMN(a_call_that_is_cancelled_twice_is_cut_once, INSTANT | BRIEF | WAITED_FOR, true, 1)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_a_scope);
    sleep_to(s, osr_ms(5));
    cancel(s, &c);
    cancel(s, &c);
    settle();
    cancel(s, &c);
    expect_cut(s, &c);
    expect_closed(s, &c);
    expect_it_still_works(s);
}

/* From inside outwards: the task takes up what its scope was cut by. */
COLUMN_OF_ITS_OWN(a_call_that_is_cancelled_twice_in_two_ways_goes_by_the_outermost, INSTANT | BRIEF | WAITED_FOR)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_a_scope);
    sleep_to(s, osr_ms(5));
    cancel_scope(&c);
    cancel_task(&c);
    settle();
    expect_cut(s, &c);
    expect_int(s, c.closed, -ECANCELED);
    expect_int(s, c.grouped, 0);
    expect_it_still_works(s);
}

COLUMN_OF_ITS_OWN(a_call_that_waits_is_cut_by_a_deadline, INSTANT | BRIEF | WAITED_FOR)
{
    struct caller c = {.limit = osr_ms(5)};

    begin_call(s, &c, under_a_timeout);
    sleep_to(s, osr_ms(5) - 1);
    expect(s, c.calling && (!c.returned || s->row->flags & REAL));
    settle(), settle();
    expect_cut(s, &c);
    expect_when(s, &c, osr_ms(5));
    expect_int(s, c.closed, -ETIMEDOUT);
    expect_nobody_waits(s);
    expect_it_still_works(s);
}

static void play_two_scopes(struct stage *s, bool inner_first)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_two_scopes);
    sleep_to(s, osr_ms(5));
    if (inner_first)
        osr_scope_cancel(&c.scope, NULL);
    osr_scope_cancel(&c.outer, NULL);
    if (!inner_first)
        osr_scope_cancel(&c.scope, NULL);
    settle();
    expect_cut(s, &c);
    expect_int(s, c.closed, -ECANCELED);
    expect_int(s, c.closed_outer, -OSR_ESCOPECANCELED);
    expect(s, !osr_scope_caught(&c.scope) && osr_scope_caught(&c.outer));
    expect_it_still_works(s);
}

COLUMN_OF_ITS_OWN(of_two_cancelled_scopes_the_outer_one_takes_up_what_was_cut, INSTANT | BRIEF | WAITED_FOR)
{
    play_two_scopes(s, true);
}

COLUMN_OF_ITS_OWN(of_two_cancelled_scopes_the_outer_one_takes_up_what_was_cut_if_it_was_first_too,
                  INSTANT | BRIEF | WAITED_FOR)
{
    play_two_scopes(s, false);
}

COLUMN_OF_ITS_OWN(a_call_is_cut_by_the_outer_scope_of_two, INSTANT | BRIEF | WAITED_FOR)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_two_scopes);
    sleep_to(s, osr_ms(5));
    osr_scope_cancel(&c.outer, NULL);
    settle();
    expect_cut(s, &c);
    expect_int(s, c.closed, -ECANCELED);
    expect_int(s, c.closed_outer, -OSR_ESCOPECANCELED);
    expect_it_still_works(s);
}

/* No look at the world comes between its waiting and the cancellation. */
COLUMN(a_call_that_has_just_begun_to_wait_is_cut, INSTANT | WAITED_FOR, true, 1)
{
    struct caller c = {.held = false};

    if (s->row->flags & BRIEF && s->way->looks)
        return;
    begin_call(s, &c, in_a_scope);
    osr_yield(), osr_yield();
    expect(s, c.calling && !c.returned);
    cancel(s, &c);
    settle();
    expect_cut(s, &c);
    expect_closed(s, &c);
    expect_nobody_waits(s);
    expect_it_still_works(s);
}

COLUMN(a_call_that_cannot_be_cut_once_it_has_begun_goes_on_and_its_result_wins, ~WAITED_FOR, true, 1)
{
    struct caller c = {.held = false};

    if (s->row->flags & BRIEF && s->way->looks)
        return;
    begin_call(s, &c, in_a_scope);
    if (s->row->flags & BRIEF)
        osr_yield(), osr_yield();
    else
        sleep_to(s, osr_ms(5));
    expect(s, c.calling && !c.returned);
    cancel(s, &c);
    if (s->row->offer) {
        settle();
        expect(s, !c.returned);
        offer(s);
    }
    settle();
    expect_success(s, &c, -ECANCELED);
    expect_closed(s, &c);
    expect_it_still_works(s);
}

/* ---- Columns: success and cancellation at the same moment ---------------------------------------------- */

COLUMN(a_call_that_succeeds_and_then_is_cancelled_has_succeeded, INSTANT | BRIEF | UNANSWERED, false, 1)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_a_scope);
    sleep_to(s, SPAN); /* the timer of a TIMED row comes after this one, at the same look */
    expect(s, !c.returned);
    if (s->row->offer)
        offer(s);
    cancel(s, &c);
    settle();
    expect_success(s, &c, -ECANCELED);
    expect_when(s, &c, SPAN);
    expect_closed(s, &c);
    expect_it_still_works(s);
}

/* It is the last of those after which a task that never waits lets others run, and so its caller is cancelled between
 * the operation and the return. */
COLUMN(a_call_that_has_succeeded_and_lets_others_run_is_cancelled_too_late, UNANSWERED, false, 1)
{
    struct caller c = {.checks = BUDGET - 1};
    bool done = false;
    int i;

    if (!(s->row->flags & INSTANT) && !can_be_offered_beforehand(s))
        return;
    settle();
    if (s->row->offer)
        offer(s);
    begin_call(s, &c, in_a_scope);
    for (i = 0; i < 4 && !c.calling; i++)
        osr_yield();
    expect(s, c.calling);
    if (!c.returned)
        done = osr_task_state(c.handle) == OSR_TASK_READY;
    expect(s, done || !(s->row->flags & INSTANT) || s->row->call == call_enter); /* which does nothing itself */
    if (done)
        cancel(s, &c);
    settle();
    expect_success(s, &c, done ? -ECANCELED : 0);
    expect_it_still_works(s);
}

COLUMN(a_call_that_is_cancelled_leaves_what_comes_then_to_the_next, INSTANT | BRIEF | WAITED_FOR | UNANSWERED, true, 1)
{
    struct caller c = {.held = false};

    begin_call(s, &c, in_a_scope);
    sleep_to(s, s->row->flags & TIMED ? SPAN - 1 : SPAN);
    cancel_for_good(s, &c);
    if (s->row->offer)
        offer(s);
    settle();
    expect_cut(s, &c);
    expect_closed(s, &c);
    expect_it_still_works(s);
}

COLUMN_OF_ITS_OWN(at_one_reading_of_the_clock_completions_come_before_deadlines, INSTANT | BRIEF | OUTSIDE | UNANSWERED)
{
    struct caller c = {.limit = s->row->flags & TIMED ? SPAN : osr_s(60)};

    begin_call(s, &c, under_a_timeout);
    sleep_to(s, SPAN);
    if (s->row->offer) {
        s->given += s->row->offer(s);
        osr_scope_set_deadline(&c.scope, osr_now());
        osri_look(osri_sched, 0);
    }
    settle();
    expect_success(s, &c, -ECANCELED);
    expect_when(s, &c, SPAN);
    expect_int(s, c.closed, -ETIMEDOUT);
    expect_it_still_works(s);
}

/* ---- Columns: shields ---------------------------------------------------------------------------------- */

COLUMN(a_shielded_call_is_not_cut, UNANSWERED, true, 1)
{
    struct caller c = {.limit = osr_s(60)};

    begin_call(s, &c, under_a_shield);
    if (!(s->row->flags & (INSTANT | BRIEF))) {
        sleep_to(s, osr_ms(5));
        cancel(s, &c);
        sleep_to(s, osr_ms(7));
        expect(s, c.calling && !c.returned);
        sleep_to(s, SPAN);
        if (s->row->offer)
            offer(s);
    }
    settle();
    expect_success(s, &c, 0);
    expect_int(s, c.closed_shield, 0);
    if (!(s->row->flags & (INSTANT | BRIEF)))
        expect_closed(s, &c);
    expect_it_still_works(s);
}

COLUMN(a_shielded_call_in_a_scope_that_was_cancelled_before_is_not_refused, UNANSWERED, true, 1)
{
    struct caller c = {.held = true, .limit = osr_s(60)};

    begin_call(s, &c, under_a_shield);
    settle();
    cancel(s, &c);
    osr_event_set(&c.go);
    settle();
    expect_int(s, c.returned, (s->row->flags & (INSTANT | BRIEF)) != 0);
    if (s->row->offer)
        offer(s);
    osr_sleep(s->row->flags & TIMED ? SPAN : 1);
    expect_success(s, &c, 0);
    expect_closed(s, &c);
    expect_it_still_works(s);
}

COLUMN(a_shielded_call_is_cut_when_the_grace_ends, INSTANT | BRIEF | WAITED_FOR, true, 1)
{
    struct caller c = {.limit = osr_ms(7)};

    begin_call(s, &c, under_a_shield);
    sleep_to(s, osr_ms(5));
    cancel(s, &c);
    sleep_to(s, osr_ms(7) + 1);
    expect_cut(s, &c);
    expect_when(s, &c, osr_ms(7));
    expect_int(s, c.closed_shield, -ETIMEDOUT);
    if (!(s->row->flags & REAL)) /* where the grace may end before anybody cancels */
        expect_closed(s, &c);
    expect_it_still_works(s);
}

COLUMN(a_shielded_call_is_cut_when_the_shield_is_lifted, INSTANT | BRIEF | WAITED_FOR, true, 1)
{
    struct caller c = {.limit = osr_s(60)};

    begin_call(s, &c, under_a_shield);
    sleep_to(s, osr_ms(5));
    cancel(s, &c);
    sleep_to(s, osr_ms(7));
    expect(s, !c.returned);
    osr_scope_unshield(&c.shield);
    settle();
    expect_cut(s, &c);
    expect_when(s, &c, osr_ms(7));
    expect_int(s, c.closed_shield, -ECANCELED);
    expect_closed(s, &c);
    expect_it_still_works(s);
}

/* ---- Columns: others who wait -------------------------------------------------------------------------- */

COLUMN(what_comes_after_a_cut_goes_to_the_next_who_waits,
       INSTANT | BRIEF | WAITED_FOR | TIMED | ALONE | UNANSWERED, true, 2)
{
    struct caller first = {.held = false}, second = {.held = false};

    begin_call(s, &first, in_a_scope);
    begin_call(s, &second, in_a_scope);
    sleep_to(s, osr_ms(5));
    cancel_for_good(s, &first);
    offer(s);
    settle();
    expect_cut(s, &first);
    expect_success(s, &second, 0);
    expect_when(s, &second, osr_ms(5));
    expect_closed(s, &first);
    expect_int(s, second.closed, 0);
    expect_it_still_works(s);
}

COLUMN(who_has_got_it_keeps_it_and_the_next_goes_on_waiting,
       INSTANT | BRIEF | UNORDERED | TIMED | ALONE | UNANSWERED, false, 2)
{
    struct caller first = {.held = false}, second = {.held = false};

    begin_call(s, &first, in_a_scope);
    begin_call(s, &second, in_a_scope);
    sleep_to(s, osr_ms(5));
    offer(s);
    cancel(s, &first);
    settle();
    expect_success(s, &first, -ECANCELED);
    if (s->row->flags & LEVEL)
        wait_for(s, &second);
    expect_int(s, second.returned, (s->row->flags & LEVEL) != 0);
    if (!second.returned)
        offer(s);
    settle();
    expect_success(s, &second, 0);
    expect_it_still_works(s);
}

COLUMN(all_who_wait_can_be_cut_at_once, INSTANT | BRIEF | WAITED_FOR | ALONE, true, 3)
{
    struct caller callers[3] = {{.held = false}};
    int i;

    for (i = 0; i < 3; i++)
        begin_call(s, &callers[i], in_a_scope);
    sleep_to(s, osr_ms(5));
    for (i = 2; i >= 0; i--)
        s->way->cancel(&callers[i]);
    settle();
    for (i = 0; i < 3; i++)
        expect_cut(s, &callers[i]);
    expect_nobody_waits(s);
    expect_it_still_works(s);
}

COLUMN(the_one_between_two_others_can_be_cut, INSTANT | BRIEF | WAITED_FOR | TIMED | ALONE | UNANSWERED, true, 3)
{
    struct caller callers[3] = {{.held = false}};
    int i;

    for (i = 0; i < 3; i++)
        begin_call(s, &callers[i], in_a_scope);
    sleep_to(s, osr_ms(5));
    cancel_for_good(s, &callers[1]);
    for (i = 0; i < 2; i++)
        offer(s), settle();
    expect_success(s, &callers[0], 0);
    expect_cut(s, &callers[1]);
    expect_success(s, &callers[2], 0);
    expect_it_still_works(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(a_call_in_a_cancelled_scope_is_refused_before_any_side_effect),
        story_test(a_call_after_its_deadline_is_refused_before_any_side_effect),
        story_test(a_call_whose_deadline_has_passed_at_entry_is_refused),
        story_test(a_call_that_waits_is_cut_by_a_cancellation),
        story_test(a_call_that_has_just_begun_to_wait_is_cut),
        story_test(a_call_that_cannot_be_cut_once_it_has_begun_goes_on_and_its_result_wins),
        story_test(a_call_that_is_cancelled_twice_is_cut_once),
        story_test(a_call_that_is_cancelled_twice_in_two_ways_goes_by_the_outermost),
        story_test(a_call_that_waits_is_cut_by_a_deadline),
        story_test(of_two_cancelled_scopes_the_outer_one_takes_up_what_was_cut),
        story_test(of_two_cancelled_scopes_the_outer_one_takes_up_what_was_cut_if_it_was_first_too),
        story_test(a_call_is_cut_by_the_outer_scope_of_two),
        story_test(a_call_that_succeeds_and_then_is_cancelled_has_succeeded),
        story_test(a_call_that_has_succeeded_and_lets_others_run_is_cancelled_too_late),
        story_test(a_call_that_is_cancelled_leaves_what_comes_then_to_the_next),
        story_test(at_one_reading_of_the_clock_completions_come_before_deadlines),
        story_test(a_shielded_call_is_not_cut),
        story_test(a_shielded_call_in_a_scope_that_was_cancelled_before_is_not_refused),
        story_test(a_shielded_call_is_cut_when_the_grace_ends),
        story_test(a_shielded_call_is_cut_when_the_shield_is_lifted),
        story_test(what_comes_after_a_cut_goes_to_the_next_who_waits),
        story_test(who_has_got_it_keeps_it_and_the_next_goes_on_waiting),
        story_test(all_who_wait_can_be_cut_at_once),
        story_test(the_one_between_two_others_can_be_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
