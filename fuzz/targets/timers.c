/*
 * The timers of src/0_base/timers.c against a list that is sorted anew whenever somebody asks: setting, moving,
 * clearing, reserving, firing with callbacks that set and clear others, equal times in the order of setting, late ones
 * after the others, and no memory.
 */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "0_base/timers.h"

enum { TIMERS = 150, MOST_FIRED = 400 };

static const char *const wrongs[] = {"equal times: the last set first", "due means later than the time",
                                     "late ones are fired with the others", "a moved timer keeps its turn",
                                     "clearing takes the next one", NULL};
enum { WRONG_LAST_FIRST = 1, WRONG_LATER, WRONG_LATE_TOO, WRONG_KEEPS_TURN, WRONG_NEXT };

static struct timers timers;
static struct one {
    struct osr_timer_ timer;
    /* As it should be: */
    bool set, late;
    bool due; /* late, taken out, and about to fire */
    int64_t at;
    uint64_t turn;
} ones[TIMERS];
static uint64_t turn;
static unsigned set_count, reserved, room; /* `room`: how many can be set for certain */

/* What the callbacks do is read from the input as well. */
static struct input input;
static unsigned fired;
static int64_t now;
static bool after_late;

/* ---- The list ---- */

static bool is_before(const struct one *a, const struct one *b)
{
    if (wrong == WRONG_LATE_TOO ? false : a->late != b->late)
        return !a->late;
    if (a->at != b->at)
        return a->at < b->at;
    return wrong == WRONG_LAST_FIRST ? a->turn > b->turn : a->turn < b->turn;
}

static bool is_due(const struct one *one)
{
    return one->set && (wrong == WRONG_LATER ? one->at < now : one->at <= now);
}

/* Who fires next: of those that are due, and of the late ones only those that were taken out when no other was left. */
static struct one *next_due(void)
{
    struct one *best = NULL;
    unsigned i;

    for (i = 0; i < TIMERS; i++)
        if ((after_late ? ones[i].set && ones[i].due : is_due(&ones[i])) && (!best || is_before(&ones[i], best)))
            best = &ones[i];
    return best;
}

static int64_t earliest(void)
{
    int64_t at = OSR_NEVER;
    unsigned i;

    for (i = 0; i < TIMERS; i++)
        if (ones[i].set && ones[i].at < at)
            at = ones[i].at;
    return at;
}

/* ---- Both ---- */

static int64_t take_time(void)
{
    static const int64_t strange[] = {0, 1, INT64_MAX, INT64_MAX - 1, -1, INT64_MIN};
    unsigned byte = take_byte(&input);

    return byte < 240 ? (int64_t)(byte % 24) : strange[byte % 6];
}

static void set_one(struct one *one)
{
    int64_t at = take_time();
    bool was_set = one->set;
    int rc = osri_timer_set(&timers, &one->timer, at);

    tell("set %d at %lld: %d\n", (int)(one - ones), (long long)at, rc);
    if (rc < 0) {
        check(rc == -ENOMEM && refused > 0 && !was_set && set_count + reserved >= room, "setting gives %d", rc);
        refused = 0;
        return;
    }
    if (wrong != WRONG_KEEPS_TURN || !was_set)
        one->turn = ++turn;
    set_count += !was_set;
    room = set_count + reserved > room ? set_count + reserved : room;
    one->set = true;
    one->due = false;
    one->at = at;
}

static void clear_one(struct one *one)
{
    struct one *cleared = wrong == WRONG_NEXT ? &ones[(one - ones + 1) % TIMERS] : one;

    tell("clear %d\n", (int)(one - ones));
    osri_timer_clear(&timers, &one->timer);
    set_count -= cleared->set;
    cleared->set = cleared->due = false;
}

static void reserve_one(void)
{
    int rc = osri_timers_reserve(&timers);

    tell("reserve: %d\n", rc);
    if (rc < 0) {
        check(rc == -ENOMEM && refused > 0 && set_count + reserved >= room, "reserving gives %d", rc);
        refused = 0;
        return;
    }
    reserved++;
    room = set_count + reserved > room ? set_count + reserved : room;
}

/* What was reserved can be set for certain. */
static void use_reserved(void)
{
    struct one *one = ones;

    while (one < ones + TIMERS && one->set)
        one++;
    tell("unreserve\n");
    osri_timers_unreserve(&timers);
    reserved--;
    if (one == ones + TIMERS)
        return;
    refuse_at = 1;
    set_one(one);
    check(one->set, "a timer for which a place was reserved is not set");
    refuse_at = 0;
}

static void ask_next(void)
{
    int64_t at = osri_timers_next(&timers);

    tell("next: %lld\n", (long long)at);
    check(at == earliest(), "the next is said to be due at %lld, and is at %lld", (long long)at, (long long)earliest());
}

/* Those that are late and due are taken out at once, when no other is left. */
static void take_late_out(void)
{
    unsigned i;

    after_late = true;
    for (i = 0; i < TIMERS; i++)
        ones[i].due = is_due(&ones[i]);
}

static void fire(struct osr_timer_ *timer)
{
    struct one *one = container_of(timer, struct one, timer), *expected;

    if (one->late && !after_late && wrong != WRONG_LATE_TOO)
        take_late_out();
    expected = next_due();
    tell("fires %d\n", (int)(one - ones));
    check(one == expected, "timer %d fires, and not %d", (int)(one - ones), expected ? (int)(expected - ones) : -1);
    check(timer->state == TIMER_IDLE && timer->at == one->at, "a timer that fires is still set, or not for its time");
    one->set = one->due = false;
    set_count--;
    /* What is set from here on is fresh: it is not fired before the loop asks again. */
    if (++fired < MOST_FIRED && take(&input, 4) == 0)
        clear_one(&ones[take(&input, TIMERS)]);
}

static void fire_all(void)
{
    static const struct door door;
    unsigned before = fired, i, due = 0;

    now = take_time();
    ask_next();
    for (i = 0; i < TIMERS; i++)
        due += is_due(&ones[i]);
    tell("fire at %lld: %u are due\n", (long long)now, due);
    after_late = false;
    osri_timers_fire(&timers, &door, now);
    after_late = false;
    check(!next_due(), "timer %d is due at %lld, and did not fire", (int)(next_due() - ones), (long long)now);
    check(fired - before <= due, "%u fired, and %u were due", fired - before, due);
}

static void look(void)
{
    check(timers.count == set_count, "%u are set, and %u are counted", set_count, timers.count);
    check(timers.reserved == reserved, "%u are reserved, and %u are counted", reserved, timers.reserved);
}

static void step(void)
{
    struct one *one;

    switch (take(&input, 8)) {
    case 0:
    case 1:
    case 2:
        set_one(&ones[take(&input, TIMERS)]);
        break;
    case 3:
        clear_one(&ones[take(&input, TIMERS)]);
        break;
    case 4:
        ask_next();
        break;
    case 5:
        fire_all();
        break;
    case 6: /* many at once, so that the heap grows */
        for (one = &ones[take(&input, TIMERS)]; one < ones + TIMERS; one += 1 + take(&input, 3))
            set_one(one);
        break;
    default:
        if (reserved > 0 && take(&input, 2)) {
            use_reserved();
        } else if (take(&input, 2)) {
            reserve_one();
        } else {
            refuse_at = 1 + take(&input, 3);
            tell("no memory at the %u. allocation\n", refuse_at);
        }
    }
    look();
}

static void run(const unsigned char *bytes, size_t size)
{
    const struct memory memory = {.from = failing_memory};
    unsigned i;

    input = (struct input){bytes, bytes + size};
    turn = set_count = reserved = room = fired = 0;
    osri_timers_open(&timers, &memory);
    for (i = 0; i < TIMERS; i++) {
        ones[i] = (struct one){.late = i % 3 == 2};
        osri_timer_init(&ones[i].timer, fire, ones[i].late);
    }
    while (!is_over(&input))
        step();
    for (i = 0; i < TIMERS; i++)
        osri_timer_clear(&timers, &ones[i].timer);
    while (reserved-- > 0)
        osri_timers_unreserve(&timers);
    osri_timers_close(&timers);
}

const struct target target = {.name = "timers", .run = run, .longest = 200, .wrongs = wrongs};
