/* Random runs of several kinds: each finds what the others hardly do. */
#include "9_test/kit.h"

enum strategy { UNIFORM, PRIORITIES, DELAYS, STICKY, STRATEGIES };

/* Moments at which the priority of who runs falls, or somebody is delayed, in one run. */
enum { MOMENTS = 3 };

static struct {
    enum strategy strategy;
    uint64_t state, priorities;
    bool shorts;
    unsigned long asked[KINDS];
    unsigned long moments[MOMENTS]; /* counted in choices of a ready task */
    uint64_t lowered[MOMENTS];      /* tasks, the first lowered least */
    unsigned fallen;
} dice;

/* SplitMix64. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned osri_kit_draw(uint64_t *state, unsigned n)
{
    return n > 1 ? (unsigned)((next(state) >> 32) * n >> 32) : 0;
}

void osri_kit_seed(uint64_t *state, uint64_t seed, uint64_t more)
{
    *state = seed;
    *state = next(state) ^ more * 0xd6e8feb86659fd93;
    (void)next(state);
}

static unsigned draw(unsigned long n)
{
    return osri_kit_draw(&dice.state, (unsigned)n);
}

const char *osri_kit_strategy_name(void)
{
    static const char *const names[] = {"all at random", "priorities that change at few moments",
                                        "first come, first served, with delays", "the same task for long"};

    return names[dice.strategy];
}

void osri_kit_strategy_begin(uint64_t seed, unsigned long run, const unsigned long asked[KINDS], unsigned long steps)
{
    unsigned i;

    (void)steps;
    dice.strategy = run % STRATEGIES;
    osri_kit_seed(&dice.state, seed, run);
    dice.priorities = next(&dice.state);
    dice.shorts = draw(2) > 0;
    dice.fallen = 0;
    for (i = 0; i < KINDS; i++)
        dice.asked[i] = asked[i];
    for (i = 0; i < MOMENTS; i++)
        dice.moments[i] = draw(asked[OSR_CHOICE_READY] + 1);
}

/* ---- Who runs ---- */

static bool is_moment(unsigned long ordinal)
{
    unsigned i;

    for (i = 0; i < MOMENTS; i++)
        if (dice.moments[i] == ordinal)
            return true;
    return false;
}

/* Those that were lowered come last, the latest very last. */
static uint64_t priority_of(uint64_t task)
{
    uint64_t state = dice.priorities ^ task * 0x9e3779b97f4a7c15;
    unsigned i;

    for (i = dice.fallen; i-- > 0;)
        if (dice.lowered[i] == task)
            return MOMENTS - i;
    return next(&state) | 1u << 8;
}

static unsigned highest(const struct play *play)
{
    unsigned i, best = 0;

    for (i = 1; i < play->queued; i++)
        if (priority_of(play->queue[i]) > priority_of(play->queue[best]))
            best = i;
    return best;
}

static unsigned by_priority(struct play *play)
{
    unsigned best = highest(play);

    if (is_moment(play->ordinals[OSR_CHOICE_READY])) {
        dice.lowered[dice.fallen++] = play->queue[best];
        best = highest(play);
    }
    return best;
}

/* One step in eight goes to anybody, however many are ready. */
static unsigned same_again(const struct play *play, unsigned n)
{
    const bool goes_on = draw(8) > 0;
    unsigned i;

    for (i = 0; goes_on && i < play->queued; i++)
        if (play->queue[i] == play->current)
            return i;
    return draw(n);
}

static unsigned who_runs(struct play *play, unsigned n)
{
    const bool known = play->queued == n; /* else the queue that was told from events is not the true one */

    switch (dice.strategy) {
    case PRIORITIES:
        return known ? by_priority(play) : draw(n);
    case DELAYS:
        return is_moment(play->ordinals[OSR_CHOICE_READY]) ? 1 + draw(n - 1) : 0;
    case STICKY:
        return known ? same_again(play, n) : draw(n);
    default:
        return draw(n);
    }
}

/* ---- All else ---- */

unsigned osri_kit_strategy(struct play *play, unsigned kind, unsigned n, const char *what)
{
    (void)what;
    switch (kind) {
    case OSR_CHOICE_READY:
        return who_runs(play, n);
    case OSR_CHOICE_FAULT:
        return play->test->faults && draw(dice.asked[kind] + 1) == 0 ? 1 + draw(n - 1) : 0;
    case OSR_CHOICE_CANCEL:
        return play->test->cancels && draw(dice.asked[kind] + 1) == 0 ? 1 + draw(n - 1) : 0;
    case OSR_CHOICE_SHORT:
        return dice.shorts ? draw(n) : 0;
    case KIND_TEST:
        return draw(n);
    default:
        return dice.strategy == DELAYS && draw(4) > 0 ? 0 : draw(n);
    }
}
