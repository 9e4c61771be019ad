/*
 * Semaphores, limiters, locks, conditions, barriers and events against counters and lists, with tasks that wait and are
 * cut: permits are neither lost nor found, who came first is served first, a condition's wait gives the lock back.
 */
#include "actors.h"

#include <errno.h>

static const char *const wrongs[] = {WRONG_IN_LINES,
                                     "a permit that is given back to somebody who waits is there as well",
                                     "a condition that was cut comes back without its lock",
                                     "a barrier counts who was cut",
                                     "a notification wakes two",
                                     "an event wakes one",
                                     "a limiter that grows wakes nobody",
                                     NULL};
enum { WRONG_PERMIT = WRONG_OWN, WRONG_LOCK, WRONG_BARRIER, WRONG_NOTIFY, WRONG_EVENT, WRONG_TOTAL };

enum { PERMITS = 5 };

enum { SEMAPHORE, LIMITER, LOCK, CONDITION, BARRIER, EVENT }; /* also their lines */

enum call { ACQUIRE, BORROW, TAKE_LOCK, TRY_LOCK, UNLOCK, AWAIT, NOTIFY, MEET, WAIT, CALLS };

static struct osr_semaphore semaphore;
static struct osr_limiter limiter;
static struct osr_permit permits[PERMITS];
static struct osr_lock lock;
static struct osr_condition condition;
static struct osr_barrier barrier;
static struct osr_event event;

/* As they should be. */
static unsigned value, bound, total, borrowed, parties, ghosts; /* ghosts: of a wrong barrier */
static bool lent[PERMITS];
static struct actor *owner;
static bool broken, set;

/* ---- The model ---- */

static int release_permit(void)
{
    struct actor *first = line_first(SEMAPHORE, NULL);

    if (value == bound)
        return -EOVERFLOW;
    if (first)
        actor_served(first, 0);
    if (!first || wrong == WRONG_PERMIT)
        value++;
    return 0;
}

static void lend(unsigned permit)
{
    lent[permit] = true;
    borrowed++;
}

static void lend_on(void)
{
    struct actor *first;

    while (borrowed < total && (first = line_first(LIMITER, NULL)) != NULL) {
        lend(first->which);
        actor_served(first, 0);
    }
}

static void hand_lock_over(void)
{
    owner = line_first(LOCK, NULL);
    if (!owner)
        return;
    actor_leaves(owner);
    owner->known = true;
    if (owner->result == WAITS) /* else it waits for a condition, whose result stands */
        owner->result = 0;
}

static int notify(struct actor *actor, unsigned count)
{
    struct actor *first;
    int notified = 0;

    if (owner != actor)
        return -EPERM;
    count += wrong == WRONG_NOTIFY && count == 1;
    while (count-- > 0 && (first = line_first(CONDITION, NULL)) != NULL) {
        actor_leaves(first);
        first->uncut = true;
        first->result = 0;
        line_join(LOCK, first, 0);
        notified++;
    }
    return notified;
}

static int meet(struct actor *actor)
{
    struct actor *first;
    int place = 0;

    if (broken)
        return -OSR_EBROKEN;
    if (line_count(BARRIER) + 1 + ghosts < parties) {
        line_join(BARRIER, actor, 0);
        return WAITS;
    }
    while ((first = line_first(BARRIER, NULL)) != NULL)
        actor_served(first, place++);
    ghosts = 0;
    return place;
}

static void dismiss_barrier(bool breaks)
{
    struct actor *first;

    broken = breaks;
    ghosts = 0;
    while ((first = line_first(BARRIER, NULL)) != NULL)
        actor_served(first, -OSR_EBROKEN);
}

static void set_event(void)
{
    struct actor *first;

    set = true;
    while ((first = line_first(EVENT, NULL)) != NULL) {
        actor_served(first, 0);
        if (wrong == WRONG_EVENT)
            return;
    }
}

/* ---- The calls of actors ---- */

static int perform(struct actor *actor)
{
    switch (actor->call) {
    case ACQUIRE:
        return osr_semaphore_acquire(&semaphore);
    case BORROW:
        return osr_limiter_acquire(&limiter, &permits[actor->which]);
    case TAKE_LOCK:
        return osr_lock_acquire(&lock);
    case TRY_LOCK:
        return osr_lock_try_acquire(&lock);
    case UNLOCK:
        return osr_lock_release(&lock);
    case AWAIT:
        return osr_condition_wait(&condition);
    case NOTIFY:
        return actor->count == 3 ? osr_condition_notify_all(&condition)
                                 : osr_condition_notify(&condition, actor->count);
    case MEET:
        return osr_barrier_wait(&barrier);
    default:
        return osr_event_wait(&event);
    }
}

static int wait_in(struct actor *actor, unsigned line)
{
    line_join(line, actor, 0);
    return WAITS;
}

static int expect_lock(struct actor *actor)
{
    if (owner == actor)
        return -EDEADLK;
    if (!owner) {
        owner = actor;
        return 0;
    }
    return actor->call == TRY_LOCK ? -EAGAIN : wait_in(actor, LOCK);
}

/* Whether somebody's call waits for this permit; it is over when the actor has run again. */
static bool is_awaited(unsigned permit, const struct actor *by)
{
    unsigned i;

    for (i = 0; i < ACTORS; i++)
        if (&actors[i] != by && actors[i].busy && actors[i].call == BORROW && actors[i].which == permit &&
            !(by && actors[i].known))
            return true;
    return false;
}

/* By an actor, or by the director at once. */
static int borrow(unsigned permit, const struct actor *by)
{
    if (lent[permit] || is_awaited(permit, by))
        return -EALREADY;
    if (borrowed >= total)
        return -EAGAIN;
    lend(permit);
    return 0;
}

static int expect_borrowed(struct actor *actor)
{
    int rc = borrow(actor->which, actor);

    return rc == -EAGAIN ? wait_in(actor, LIMITER) : rc;
}

static int expect(struct actor *actor)
{
    switch (actor->call) {
    case ACQUIRE:
        return value > 0 ? (value--, 0) : wait_in(actor, SEMAPHORE);
    case BORROW:
        return expect_borrowed(actor);
    case TAKE_LOCK:
    case TRY_LOCK:
        return expect_lock(actor);
    case UNLOCK:
        if (owner != actor)
            return -EPERM;
        hand_lock_over();
        return 0;
    case AWAIT:
        if (owner != actor)
            return -EPERM;
        hand_lock_over();
        return wait_in(actor, CONDITION);
    case NOTIFY:
        return notify(actor, actor->count == 3 ? ACTORS : actor->count);
    case MEET:
        return meet(actor);
    default:
        return set ? 0 : wait_in(actor, EVENT);
    }
}

static void cut(struct actor *actor)
{
    if (actor->call == MEET && wrong == WRONG_BARRIER)
        ghosts++;
    /* Its call is not over: it takes the lock again. */
    actor->queued = actor->call == AWAIT && wrong != WRONG_LOCK;
}

static void resume(struct actor *actor)
{
    if (owner) {
        line_join(LOCK, actor, 0);
        return;
    }
    owner = actor;
    actor->known = true;
}

static void done(struct actor *actor)
{
    check(osr_lock_held(&lock) == (owner != NULL), "somebody holds the lock, or nobody");
    if (actor->call == BORROW)
        check((permits[actor->which].limiter_ != NULL) == lent[actor->which], "permit %u is lent, or is not",
              actor->which);
}

/* ---- Steps ---- */

static void same(const char *call, unsigned argument, int rc, int expected)
{
    tell("%s, %u: %d\n", call, argument, rc);
    check(rc == expected, "%s gives %d, and not %d", call, rc, expected);
}

static void give_permit_back(unsigned permit)
{
    int rc = osr_limiter_release(&limiter, &permits[permit]);

    same("give back", permit, rc, lent[permit] ? 0 : -EPERM);
    if (rc < 0)
        return;
    lent[permit] = false;
    borrowed--;
    lend_on();
}

static void set_total(unsigned to)
{
    same("total", to, osr_limiter_set_total(&limiter, to), 0);
    total = to;
    if (wrong != WRONG_TOTAL)
        lend_on();
}

static void tell_actor(struct input *input)
{
    static const char *const names[] = {"acquire", "borrow", "lock", "try to lock", "unlock",
                                        "await",   "notify", "meet", "wait"};
    struct actor *actor = idle_actor(input);

    if (!actor)
        return;
    actor->call = take(input, CALLS);
    actor->which = take(input, PERMITS);
    actor->count = take(input, 4);
    actor->tries = actor->call == TRY_LOCK || actor->call == UNLOCK || actor->call == NOTIFY;
    if (owner && !owner->busy && take(input, 2) &&
        (actor->call == AWAIT || actor->call == UNLOCK || actor->call == NOTIFY)) {
        owner->call = actor->call;
        owner->count = actor->count;
        owner->tries = actor->tries;
        actor = owner;
    }
    tell("%s, %u, %u\n", names[actor->call], actor->which, actor->count);
    actor_told(actor, input);
}

static void step(struct input *input)
{
    unsigned what = take(input, 20), argument = take(input, PERMITS);

    switch (what) {
    case 0:
        same("release", 0, osr_semaphore_release(&semaphore), release_permit());
        break;
    case 1:
        same("try to acquire", 0, osr_semaphore_try_acquire(&semaphore), value > 0 ? (value--, 0) : -EAGAIN);
        break;
    case 2:
        same("try to borrow", argument, osr_limiter_try_acquire(&limiter, &permits[argument]), borrow(argument, NULL));
        break;
    case 3:
    case 4:
        give_permit_back(argument);
        break;
    case 5:
        set_total(argument);
        break;
    case 6:
        same("set", 0, osr_event_set(&event), 0);
        set_event();
        break;
    case 7:
        same("clear", 0, osr_event_clear(&event), 0);
        set = false;
        break;
    case 8:
        if (argument > 1)
            break;
        same(argument ? "reset" : "abort", 0, argument ? osr_barrier_reset(&barrier) : osr_barrier_abort(&barrier), 0);
        dismiss_barrier(!argument);
        break;
    default:
        tell_actor(input);
    }
    osr_error_clear();
}

/* ---- The play ---- */

static void open(struct input *input)
{
    unsigned i, form = take_byte(input);

    value = form % 3;
    bound = form & 64 ? value : UINT32_MAX;
    if (form & 64)
        osr_semaphore_init_bounded(&semaphore, value);
    else
        osr_semaphore_init(&semaphore, value);
    total = take(input, 4);
    parties = 1 + take(input, 4);
    osr_limiter_init(&limiter, total);
    osr_lock_init(&lock);
    osr_condition_init(&condition, &lock);
    check(osr_barrier_init(&barrier, parties) == 0, "there is no barrier");
    osr_event_init(&event);
    borrowed = ghosts = 0;
    broken = set = false;
    owner = NULL;
    for (i = 0; i < PERMITS; i++) {
        permits[i] = (struct osr_permit){0};
        lent[i] = false;
    }
    tell("%u permits%s, %u to borrow, a barrier for %u\n", value, form & 64 ? " at most" : "", total, parties);
}

static void compare(void)
{
    check(osr_semaphore_value(&semaphore) == value, "%u permits, and not %u", osr_semaphore_value(&semaphore), value);
    check(osr_limiter_borrowed(&limiter) == borrowed, "%u are lent, and not %u", osr_limiter_borrowed(&limiter),
          borrowed);
    check(osr_limiter_total(&limiter) == total, "%u can be lent, and not %u", osr_limiter_total(&limiter), total);
    check(osr_lock_held(&lock) == (owner != NULL), "the lock is %s", owner ? "free" : "held");
    check(osr_barrier_waiting(&barrier) == line_count(BARRIER), "%u are at the barrier, and not %u",
          osr_barrier_waiting(&barrier), line_count(BARRIER));
    check(osr_barrier_broken(&barrier) == broken, "the barrier is %s", broken ? "whole" : "broken");
    check(osr_event_is_set(&event) == set, "the event is %s", set ? "not set" : "set");
    check(osr_waiters_count(&semaphore.waiters_) == line_count(SEMAPHORE) &&
              osr_waiters_count(&limiter.waiters_) == line_count(LIMITER) &&
              osr_waiters_count(&lock.waiters_) == line_count(LOCK) &&
              osr_waiters_count(&condition.waiters_) == line_count(CONDITION) &&
              osr_waiters_count(&event.waiters_) == line_count(EVENT),
          "other numbers wait");
}

/* Who waits for the lock cannot be cut, so it has to be given from hand to hand. */
static void close_all(void)
{
    struct input nothing = {0};

    while (owner) {
        check(!owner->busy, "the lock is held by somebody who waits");
        owner->call = UNLOCK;
        owner->tries = true;
        actor_told(owner, &nothing);
    }
}

static void run(const unsigned char *bytes, size_t size)
{
    static const struct play play = {.open = open, .step = step, .perform = perform, .expect = expect, .cut = cut,
                                     .resume = resume, .done = done, .compare = compare, .close = close_all};

    actors_play(&play, bytes, size);
}

const struct target target = {.name = "primitives", .run = run, .longest = 250, .wrongs = wrongs};
