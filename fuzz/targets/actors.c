#include "actors.h"

#include <errno.h>

struct actor actors[ACTORS];

static const struct play *play;
static int64_t now;
static uint64_t turn;

int64_t actors_now(void)
{
    return now;
}

/* ---- Lines ---- */

enum { PLACES = 64 };

static struct place {
    unsigned line, which;
    struct actor *actor;
} places[PLACES];
static unsigned placed;

void line_join(unsigned line, struct actor *actor, unsigned which)
{
    check(placed < PLACES, "the target has too few places");
    places[placed++] = (struct place){line, which, actor};
}

struct actor *line_first(unsigned line, unsigned *which)
{
    unsigned i;

    for (i = 0; i < placed; i++) {
        const struct place *place = &places[wrong == WRONG_LAST_FIRST ? placed - 1 - i : i];

        if (place->line != line)
            continue;
        if (which)
            *which = place->which;
        return place->actor;
    }
    return NULL;
}

unsigned line_count(unsigned line)
{
    unsigned count = 0, i;

    for (i = 0; i < placed; i++)
        count += places[i].line == line;
    return count;
}

void actor_leaves(struct actor *actor)
{
    unsigned i, kept = 0;

    for (i = 0; i < placed; i++)
        if (places[i].actor != actor)
            places[kept++] = places[i];
    placed = kept;
}

void actor_served(struct actor *actor, int result)
{
    actor_leaves(actor);
    if (actor->known)
        return; /* only where a wrong model has left it in line */
    actor->known = true;
    actor->result = result;
}

/* ---- Cutting ---- */

static struct actor *queue[ACTORS];
static unsigned queued;

static void cut(struct actor *actor)
{
    actor->due = OSR_NEVER;
    if (actor->known || actor->uncut)
        return;
    if (wrong != WRONG_STAYS)
        actor_leaves(actor);
    if (play->cut)
        play->cut(actor);
    if (actor->queued)
        queue[queued++] = actor;
    else
        actor->known = true;
    actor->result = -ECANCELED;
    actor->uncut = true;
}

static void run_queued(void)
{
    unsigned i;

    for (i = 0; i < queued; i++)
        play->resume(queue[i]);
    queued = 0;
}

/* The earliest time from now on at which something is due; OSR_NEVER. */
static int64_t next_due(void)
{
    int64_t at = OSR_NEVER;
    unsigned i;

    for (i = 0; i < ACTORS; i++) {
        if (!actors[i].busy || actors[i].known)
            continue;
        at = actors[i].due < at ? actors[i].due : at;
        at = actors[i].timeout < at ? actors[i].timeout : at;
    }
    return at;
}

/* Completions first, then deadlines, in the order in which they were set. */
static void pass_to(int64_t at)
{
    struct actor *first;
    unsigned i;

    now = at;
    for (i = 0; i < ACTORS; i++)
        if (actors[i].busy && !actors[i].known && actors[i].timeout <= at)
            actor_served(&actors[i], -ETIMEDOUT);
    do {
        first = NULL;
        for (i = 0; i < ACTORS; i++)
            if (actors[i].busy && actors[i].due <= at && (!first || actors[i].due_turn < first->due_turn))
                first = &actors[i];
        if (first)
            cut(first);
    } while (first);
    run_queued();
}

/* ---- Comparing ---- */

static void compare_actor(struct actor *actor)
{
    int number = (int)(actor - actors);

    if (!actor->busy)
        return;
    if (!actor->known) {
        check(actor->performs, "actor %d is done with %d, and should wait", number, actor->rc);
        return;
    }
    check(!actor->performs, "actor %d waits, and should be done with %d", number, actor->result);
    tell("  actor %d: %d\n", number, actor->rc);
    check(actor->rc == actor->result, "actor %d is done with %d, and not with %d", number, actor->rc, actor->result);
    actor->busy = false;
    if (play->done)
        play->done(actor);
}

static void compare(void)
{
    unsigned i;

    for (i = 0; i < ACTORS; i++)
        compare_actor(&actors[i]);
    check(osr_now() == now, "it is %lld, and not %lld", (long long)osr_now(), (long long)now);
    play->compare();
}

/* ---- The director ---- */

static void settle(void)
{
    int rc = osr_settle();

    check(rc == 0, "settling gives %d", rc);
    run_queued();
    compare();
}

static void advance(int64_t duration)
{
    int64_t until = now + duration;
    int rc = osr_sleep(duration);

    tell("time passes, to %lld\n", (long long)until);
    check(rc == 0, "sleeping gives %d", rc);
    while (next_due() <= until)
        pass_to(next_due());
    now = until;
    settle();
}

static void cancel(struct actor *actor)
{
    if (!actor->busy || !actor->performs)
        return;
    tell("actor %d is cancelled\n", (int)(actor - actors));
    osr_scope_cancel(&actor->scope, "a fuzzer's wish");
    cut(actor);
}

struct actor *idle_actor(struct input *input)
{
    unsigned first = take(input, ACTORS), i;

    for (i = 0; i < ACTORS; i++)
        if (!actors[(first + i) % ACTORS].busy)
            return &actors[(first + i) % ACTORS];
    return NULL;
}

void actor_told(struct actor *actor, struct input *input)
{
    unsigned how = take(input, 8), what;

    actor->limit = how < 5 ? OSR_NEVER : how == 5 ? 0 : 1 + take(input, 6);
    what = how == 7 ? take(input, 4) : 1;
    actor->refused = what == 0;
    actor->shielded = what == 3;
    tell("  by actor %d, limit %lld%s\n", (int)(actor - actors), (long long)actor->limit,
         actor->refused ? ", in a cancelled scope" : actor->shielded ? ", in a shield" : "");
    actor->busy = true;
    actor->known = actor->uncut = actor->queued = false;
    actor->timeout = OSR_NEVER;
    actor->due = actor->limit == OSR_NEVER ? OSR_NEVER : now + actor->limit;
    actor->due_turn = ++turn;
    check(osr_unpark(&actor->mailbox, 0) == 1, "actor %d is not at its mailbox", (int)(actor - actors));
    check(osr_settle() == 0, "settling fails");
    run_queued();
    actor->result = !actor->tries && (actor->refused || actor->limit == 0) ? -ECANCELED : play->expect(actor);
    actor->known = actor->result != WAITS;
    compare();
}

static void step(struct input *input)
{
    switch (take(input, 8)) {
    case 0:
        cancel(&actors[take(input, ACTORS)]);
        break;
    case 1:
        settle();
        break;
    case 2:
        advance(1 + take(input, 4));
        break;
    default:
        play->step(input);
    }
}

/* ---- The actors ---- */

OSR_TASK(act, struct actor, actor)
{
    for (;;) {
        struct osr_wait wait = {.call = "mailbox"};
        int rc = osr_park(&actor->mailbox, &wait);

        if (rc < 0)
            return rc; /* the play is over */
        osr_scope_open_here(&actor->scope, actor->shielded ? OSR_SCOPE_SHIELD : OSR_SCOPE_MOVE_ON, actor->limit, OSR_HERE);
        if (actor->refused)
            osr_scope_cancel(&actor->scope, "beforehand");
        actor->performs = true;
        actor->rc = play->perform(actor);
        actor->performs = false;
        osr_error_clear();
        (void)osr_scope_close(&actor->scope, actor->rc);
        osr_error_clear();
    }
}

OSR_TASK(direct, struct input, input)
{
    struct osr_group group;
    unsigned i;

    osr_group_open(&group);
    for (i = 0; i < ACTORS; i++) {
        actors[i] = (struct actor){0};
        osr_waiters_init(&actors[i].mailbox);
        check(osr_spawn(&group, act, &actors[i]) == 0, "an actor could not be spawned");
    }
    placed = queued = 0;
    now = 0;
    turn = 0;
    play->open(input);
    settle();
    while (!is_over(input))
        step(input);
    settle();
    for (i = 0; i < ACTORS; i++)
        cancel(&actors[i]);
    settle();
    play->close();
    settle();
    osr_group_cancel(&group, "the play is over");
    (void)osr_group_close(&group, 0);
    osr_error_clear();
    return 0;
}

void actors_play(const struct play *chosen, const unsigned char *bytes, size_t size)
{
    struct input input = {bytes, bytes + size};
    int rc;

    play = chosen;
    rc = run_simulated(&direct.routine_, &input);
    check(rc == 0, "the run gives %d", rc);
}
