/*
 * A run is a path of entries: turns, in which one of the ready tasks does a step, and branches, all else that is asked. A
 * branch is varied as it is. At a turn only those tasks are tried that a race asks for: two steps that touch something in
 * common, and could have come in the other order. A task that has been tried sleeps, and does not go first later on as
 * long as nobody has touched what its step would.
 *
 * What a step has touched is known when it has ended. Addresses are counted in the order in which a run touches them, so
 * that they mean the same in each run with the same beginning, wherever stacks and memory lie in it.
 */
#include "9_test/orders.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---- */

static void *more(void *memory, size_t size)
{
    void *result = realloc(memory, size);

    if (!result) {
        fprintf(stderr, "osier-test: no memory left to explore with\n");
        abort();
    }
    return result;
}

/* Room for one more behind `count`. */
#define ROOM(array, count, room)                                     \
    do {                                                             \
        if ((count) == (room)) {                                     \
            (room) = (room) ? (room) * 2 : 8;                        \
            (array) = more((array), (room) * sizeof(*(array)));      \
        }                                                            \
    } while (0)

/* ---- Footprints ---- */

/* What one step has touched: tasks (its own is one of them) and objects, and how. */
struct footprint {
    struct footprint *next; /* that is idle */
    bool all;
    uint64_t mask; /* a bit for each, so that most that have nothing in common are seen to */
    struct print {
        uint32_t id, how;
    } *prints;
    unsigned count, room;
};

static uint64_t bit_of(uint32_t id)
{
    return (uint64_t)1 << (id * 0x9e3779b1u >> 26);
}

static void clear(struct footprint *footprint)
{
    footprint->all = false;
    footprint->mask = 0;
    footprint->count = 0;
}

static void add_print(struct footprint *footprint, uint32_t id, uint32_t how)
{
    unsigned i;

    for (i = 0; footprint->mask & bit_of(id) && i < footprint->count; i++)
        if (footprint->prints[i].id == id) {
            if (footprint->prints[i].how != how)
                footprint->prints[i].how = OSR_TOUCH_WRITE;
            return;
        }
    ROOM(footprint->prints, footprint->count, footprint->room);
    footprint->prints[footprint->count++] = (struct print){id, how};
    footprint->mask |= bit_of(id);
}

static void unite(struct footprint *footprint, const struct footprint *other)
{
    unsigned i;

    footprint->all |= other->all;
    for (i = 0; i < other->count; i++)
        add_print(footprint, other->prints[i].id, other->prints[i].how);
}

enum relation {
    APART,   /* the steps may be exchanged */
    FOLLOWS, /* they cannot come the other way round */
    MEETS    /* they can, and that may make a difference */
};

/* Looks commute with looks, additions with additions. */
static enum relation relation_of(const struct print *first, const struct print *second)
{
    if (first->how == OSR_TOUCH_ADD && second->how == OSR_TOUCH_AFTER)
        return FOLLOWS;
    return first->how == second->how && first->how != OSR_TOUCH_WRITE ? APART : MEETS;
}

static enum relation relate(const struct footprint *first, const struct footprint *second)
{
    enum relation relation = APART;
    unsigned i, k;

    if (first->all || second->all)
        return MEETS;
    if (!(first->mask & second->mask))
        return APART;
    for (i = 0; i < first->count; i++)
        for (k = 0; k < second->count && relation != MEETS; k++)
            if (first->prints[i].id == second->prints[k].id &&
                relation_of(&first->prints[i], &second->prints[k]) > relation)
                relation = relation_of(&first->prints[i], &second->prints[k]);
    return relation;
}

/* ---- The path ---- */

/* A task that was ready at a turn. */
struct candidate {
    uint64_t task;
    size_t since;                   /* the turn from which on it has been ready */
    bool wanted;                    /* is to be tried */
    const struct footprint *asleep; /* has been tried, here or before: what its step touches; or NULL */
    struct footprint *own;          /* what it has touched here, in all that was asked in its step; or NULL */
};

struct turn {
    struct candidate *candidates;
    unsigned count, room;
    unsigned chosen;
    size_t segment; /* the first turn since the last moment that everything is before or after */
    bool ends_segment;
    bool in_place; /* a cancellation came that is not to be compared with other orders */
    struct footprint footprint;
    uint64_t *before; /* the turns of the segment that must come first, a bit each */
    size_t words;
};

struct entry {
    unsigned kind, n, answer;
    size_t turn; /* it, or that in which was asked, counted from 1 */
};

enum { TURN = UINT32_MAX };

/* An address, and as what it is known. */
struct known {
    const void *object;
    unsigned long run; /* in which; 0: it stays where it is */
    uint32_t id;
};

struct orders {
    struct orders_options options;
    unsigned long runs; /* that have ended */
    struct entry *path;
    size_t length, room, at;
    struct turn *turns;
    size_t turn_count, turn_room;
    size_t current;   /* the turn that is on, counted from 1 */
    size_t first_new; /* the first one that was not so in the run before */
    bool differs, redundant, listing, idle;
    uint64_t *ready;
    unsigned ready_count, ready_room;
    struct known *known;
    size_t known_count, known_room;
    uint32_t stays, moves; /* objects known, of either kind */
    struct footprint *idle_footprints;
};

static struct footprint *take_footprint(struct orders *orders)
{
    struct footprint *footprint = orders->idle_footprints;

    if (footprint)
        orders->idle_footprints = footprint->next;
    else
        *(footprint = more(NULL, sizeof(*footprint))) = (struct footprint){0};
    clear(footprint);
    return footprint;
}

static void give_footprint(struct orders *orders, struct footprint *footprint)
{
    if (!footprint)
        return;
    footprint->next = orders->idle_footprints;
    orders->idle_footprints = footprint;
}

static struct turn *turn_at(const struct orders *orders, size_t number)
{
    return &orders->turns[number - 1];
}

static uint64_t task_of(const struct turn *turn)
{
    return turn->candidates[turn->chosen].task;
}

static struct candidate *candidate_of(const struct turn *turn, uint64_t task)
{
    unsigned i;

    for (i = 0; i < turn->count; i++)
        if (turn->candidates[i].task == task)
            return &turn->candidates[i];
    return NULL;
}

/* ---- Objects ---- */

static struct known *find(const struct orders *orders, const void *object)
{
    size_t i = ((uintptr_t)object >> 3) * 0x9e3779b97f4a7c15u >> 32;

    for (i %= orders->known_room; orders->known[i].object && orders->known[i].object != object;)
        i = (i + 1) % orders->known_room;
    return &orders->known[i];
}

static void make_room(struct orders *orders)
{
    struct known *old = orders->known;
    size_t room = orders->known_room, i;

    if (orders->known_count * 2 < room)
        return;
    orders->known_room = room ? room * 2 : 256;
    orders->known = more(NULL, orders->known_room * sizeof(*old));
    memset(orders->known, 0, orders->known_room * sizeof(*old));
    for (i = 0; i < room; i++)
        if (old[i].object)
            *find(orders, old[i].object) = old[i];
    free(old);
}

/* Static data stays where it is from run to run. */
static bool is_static(const void *object)
{
    Dl_info info;

    return dladdr(object, &info) != 0;
}

enum { OF_TASK, STAYS, MOVES, SORTS };

/* What the object is called in footprints; says whether this run has touched it before. What has not been, and does not
 * stay, is counted on. Two steps from the same moment that both touch such an object touch the same number then, and are
 * taken to have something in common, whether they have or not. */
static uint32_t id_of(struct orders *orders, const void *object, bool *known_before)
{
    struct known *known;

    make_room(orders);
    known = find(orders, object);
    *known_before = true;
    if (!known->object) {
        orders->known_count++;
        *known = (struct known){.object = object};
        if (is_static(object))
            known->id = SORTS * orders->stays++ + STAYS;
        else
            known->run = ~0ul;
    }
    if (known->run == 0 || known->run == orders->runs + 1)
        return known->id;
    *known_before = false;
    known->run = orders->runs + 1;
    return known->id = SORTS * orders->moves++ + MOVES;
}

/* ---- What comes before what ---- */

static bool has_bit(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static void set_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] |= (uint64_t)1 << i % 64;
}

/* Makes the turn `i` of the same segment, and all before it, come before `turn`. */
static void come_after(const struct orders *orders, struct turn *turn, size_t i)
{
    const struct turn *other = turn_at(orders, i);
    size_t w;

    for (w = 0; w < other->words; w++)
        turn->before[w] |= other->before[w];
    set_bit(turn->before, i - turn->segment);
}

/* Whether turn `m`, of those that need not come after turn `i`, can be the first of them: nothing between must come
 * before it. */
static bool is_initial(const struct orders *orders, size_t i, size_t m)
{
    const struct turn *turn = turn_at(orders, m);
    size_t k;

    for (k = i + 1; k < m; k++)
        if (has_bit(turn->before, k - turn->segment))
            return false;
    return true;
}

/* The steps of turns `i` and `k` can come the other way round: at turn `i` somebody else has to be tried who leads there,
 * unless somebody is already. */
static void meet_race(const struct orders *orders, size_t i, size_t k)
{
    struct turn *turn = turn_at(orders, i);
    struct candidate *best = NULL, *candidate;
    size_t m;

    for (m = i + 1; m <= k; m++) {
        if (m < k && has_bit(turn_at(orders, m)->before, i - turn->segment))
            continue;
        if (!is_initial(orders, i, m))
            continue;
        candidate = candidate_of(turn, task_of(turn_at(orders, m)));
        if (candidate && (candidate->wanted || candidate->asleep))
            return;
        if (candidate)
            best = candidate;
    }
    if (best)
        best->wanted = true;
    for (m = 0; !best && m < turn->count; m++) /* cannot be; but nothing is to be left out */
        turn->candidates[m].wanted = true;
}

/* The turn `k` has ended: whom it raced with. */
static void find_races(const struct orders *orders, size_t k)
{
    struct turn *turn = turn_at(orders, k);
    size_t since = turn->candidates[turn->chosen].since, i;
    size_t races[64];
    unsigned count = 0;

    turn->words = (k - turn->segment) / 64 + 1;
    turn->before = more(turn->before, turn->words * sizeof(*turn->before));
    memset(turn->before, 0, turn->words * sizeof(*turn->before));
    if (since > turn->segment)
        come_after(orders, turn, since - 1); /* by whom it was made ready, or its own last one */
    for (i = k; i-- > turn->segment;) {
        const struct turn *other = turn_at(orders, i);
        enum relation relation;

        if (has_bit(turn->before, i - turn->segment))
            continue;
        relation = turn->in_place ? FOLLOWS : relate(&other->footprint, &turn->footprint);
        if (relation == APART)
            continue;
        come_after(orders, turn, i);
        if (relation == FOLLOWS || task_of(other) == task_of(turn))
            continue;
        if (count == sizeof(races) / sizeof(races[0])) {
            while (count > 0)
                meet_race(orders, races[--count], k);
        }
        races[count++] = i;
    }
    while (count > 0)
        meet_race(orders, races[--count], k);
}

/* The turn that is on has ended. */
static void end_turn(struct orders *orders)
{
    struct turn *turn;
    struct candidate *candidate;

    if (orders->current == 0 || orders->current < orders->first_new)
        return;
    turn = turn_at(orders, orders->current);
    turn->ends_segment = orders->idle || turn->in_place;
    candidate = &turn->candidates[turn->chosen];
    if (!candidate->own)
        candidate->own = take_footprint(orders);
    if (!turn->in_place)
        unite(candidate->own, &turn->footprint);
    find_races(orders, orders->current);
}

/* ---- Turns ---- */

/* Who sleeps at the turn `next` because it slept at the one before, or has been tried there, and nobody has disturbed it. */
static void pass_sleep(const struct turn *turn, const struct candidate *one, struct candidate *next)
{
    if (turn->ends_segment || one == &turn->candidates[turn->chosen] || !one->asleep)
        return;
    if (relate(one->asleep, &turn->footprint) == APART)
        next->asleep = one->asleep;
}

static struct turn *push_turn(struct orders *orders)
{
    struct turn *turn;
    size_t old = orders->turn_room;

    ROOM(orders->turns, orders->turn_count, orders->turn_room);
    if (orders->turn_room > old)
        memset(orders->turns + old, 0, (orders->turn_room - old) * sizeof(*orders->turns));
    turn = &orders->turns[orders->turn_count++];
    turn->count = turn->chosen = 0;
    return turn;
}

static void pop_turn(struct orders *orders)
{
    struct turn *turn = &orders->turns[--orders->turn_count];
    unsigned i;

    for (i = 0; i < turn->count; i++)
        give_footprint(orders, turn->candidates[i].own);
}

/* Says whether there is anybody to go first who does not sleep. */
static bool choose_first(struct turn *turn)
{
    unsigned i;

    for (i = 0; i < turn->count && turn->candidates[i].asleep; i++)
        continue;
    if (i == turn->count)
        return false;
    turn->chosen = i;
    turn->candidates[i].wanted = true;
    return true;
}

static bool new_turn(struct orders *orders)
{
    struct turn *turn = push_turn(orders), *last = orders->turn_count > 1 ? turn - 1 : NULL;
    unsigned i;

    turn->segment = !last || last->ends_segment ? orders->turn_count : last->segment;
    for (i = 0; i < orders->ready_count; i++) {
        const struct candidate *before = last ? candidate_of(last, orders->ready[i]) : NULL;
        struct candidate *candidate;

        ROOM(turn->candidates, turn->count, turn->room);
        candidate = &turn->candidates[turn->count++];
        *candidate = (struct candidate){.task = orders->ready[i], .since = orders->turn_count};
        if (!before)
            continue;
        if (before != &last->candidates[last->chosen])
            candidate->since = before->since;
        pass_sleep(last, before, candidate);
    }
    return choose_first(turn);
}

static void push_entry(struct orders *orders, struct entry entry)
{
    ROOM(orders->path, orders->length, orders->room);
    orders->path[orders->length++] = entry;
    orders->at++;
}

/* The next turn begins, with those who have been listed. Gives who goes. */
static unsigned begin_turn(struct orders *orders)
{
    struct turn *turn;
    unsigned i;

    orders->listing = orders->idle = false;
    if (orders->redundant || orders->differs)
        return 0;
    if (orders->at == orders->length) {
        if (!new_turn(orders)) {
            pop_turn(orders);
            orders->current = 0;
            orders->redundant = true;
            return 0;
        }
        push_entry(orders, (struct entry){.kind = TURN, .turn = orders->turn_count});
    } else if (orders->path[orders->at++].kind != TURN) {
        orders->differs = true;
        return 0;
    }
    orders->current = orders->path[orders->at - 1].turn;
    turn = turn_at(orders, orders->current);
    if (orders->current >= orders->first_new) {
        clear(&turn->footprint);
        turn->in_place = false;
        add_print(&turn->footprint, SORTS * (uint32_t)task_of(turn) + OF_TASK, OSR_TOUCH_WRITE);
    }
    for (i = 0; i < orders->ready_count; i++)
        if (orders->ready[i] == task_of(turn))
            break;
    orders->differs = i == orders->ready_count || turn->count != orders->ready_count;
    return orders->differs ? 0 : i;
}

/* Those that are ready are listed: with one there is nothing to ask. */
static void settle(struct orders *orders)
{
    if (orders->listing)
        (void)begin_turn(orders);
}

static void list(struct orders *orders, uint64_t task)
{
    if (!orders->listing && !orders->redundant && !orders->differs)
        end_turn(orders);
    if (!orders->listing)
        orders->ready_count = 0;
    orders->listing = true;
    ROOM(orders->ready, orders->ready_count, orders->ready_room);
    orders->ready[orders->ready_count++] = task;
}

/* ---- What the run says ---- */

/* Whether the turn that is on is a new one. */
static bool is_noted(const struct orders *orders)
{
    return orders->current > 0 && orders->current >= orders->first_new && !orders->idle;
}

static void note(struct orders *orders, enum osr_touch how, uint32_t id)
{
    if (is_noted(orders))
        add_print(&turn_at(orders, orders->current)->footprint, id, how);
}

void osri_kit_orders_touched(void *arg, enum osr_touch how, const void *object, uint64_t task)
{
    struct orders *orders = arg;
    bool known_before;
    uint32_t id;

    if (how == OSR_TOUCH_READY) {
        list(orders, task);
        return;
    }
    settle(orders);
    switch (how) {
    case OSR_TOUCH_STEP:
        break;
    case OSR_TOUCH_IDLE:
        orders->idle = true;
        break;
    case OSR_TOUCH_TASK:
        note(orders, OSR_TOUCH_WRITE, SORTS * (uint32_t)task + OF_TASK);
        break;
    case OSR_TOUCH_ALL:
        if (is_noted(orders))
            turn_at(orders, orders->current)->footprint.all = true;
        break;
    default:
        id = id_of(orders, object, &known_before);
        note(orders, known_before ? how : OSR_TOUCH_WRITE, id);
    }
}

static unsigned branch(struct orders *orders, unsigned kind, unsigned n)
{
    struct entry *entry;

    if (orders->redundant || orders->differs || (orders->options.depth && orders->at >= orders->options.depth))
        return 0;
    if (orders->at == orders->length) {
        push_entry(orders, (struct entry){.kind = kind, .n = n, .turn = orders->current});
        return 0;
    }
    entry = &orders->path[orders->at++];
    orders->differs = entry->kind != kind || entry->n != n;
    return orders->differs ? 0 : entry->answer;
}

unsigned osri_kit_orders_choose(struct orders *orders, unsigned kind, unsigned n)
{
    unsigned answer;

    if (!orders->options.is_asked(orders->options.arg, kind))
        return 0;
    if (orders->options.reduce && kind == OSR_CHOICE_READY)
        return begin_turn(orders);
    settle(orders);
    answer = branch(orders, kind, n);
    if (kind == OSR_CHOICE_CANCEL && answer == 2 && orders->options.root_cancel_in_place && orders->current > 0)
        turn_at(orders, orders->current)->in_place = true;
    return answer;
}

bool osri_kit_orders_differ(const struct orders *orders)
{
    return orders->differs;
}

bool osri_kit_orders_redundant(const struct orders *orders)
{
    return orders->redundant;
}

/* ---- From run to run ---- */

void osri_kit_orders_begin(struct orders *orders)
{
    orders->at = orders->current = 0;
    orders->moves = 0;
    orders->differs = orders->redundant = orders->listing = orders->idle = false;
}

static bool is_injection(const struct entry *entry)
{
    return entry->kind == OSR_CHOICE_CANCEL || entry->kind == OSR_CHOICE_FAULT;
}

/* At most one injection a run. */
static bool injects_before(const struct orders *orders, size_t i)
{
    while (i-- > 0)
        if (is_injection(&orders->path[i]) && orders->path[i].answer > 0)
            return true;
    return false;
}

static bool try_next_answer(const struct orders *orders, size_t i)
{
    struct entry *entry = &orders->path[i];

    if (entry->answer + 1 >= entry->n || (is_injection(entry) && injects_before(orders, i)))
        return false;
    entry->answer++;
    return true;
}

/* Whoever went first sleeps now; says whether somebody else is to. */
static bool try_next_task(struct turn *turn)
{
    unsigned i;

    turn->candidates[turn->chosen].asleep = turn->candidates[turn->chosen].own;
    for (i = 0; i < turn->count; i++)
        if (turn->candidates[i].wanted && !turn->candidates[i].asleep) {
            turn->chosen = i;
            return true;
        }
    return false;
}

bool osri_kit_orders_next(struct orders *orders)
{
    settle(orders);
    if (!orders->redundant && !orders->differs)
        end_turn(orders);
    orders->runs++;
    if (orders->differs)
        return false;
    orders->length = orders->at; /* a run may have ended before it */
    while (orders->length > 0) {
        struct entry *last = &orders->path[orders->length - 1];

        orders->first_new = last->turn;
        if (last->kind == TURN ? try_next_task(turn_at(orders, last->turn)) : try_next_answer(orders, orders->length - 1))
            return true;
        if (last->kind == TURN)
            pop_turn(orders);
        orders->length--;
    }
    return false;
}

struct orders *osri_kit_orders_new(const struct orders_options *options)
{
    struct orders *orders = more(NULL, sizeof(*orders));

    *orders = (struct orders){.options = *options};
    return orders;
}

void osri_kit_orders_restart(struct orders *orders)
{
    while (orders->turn_count > 0)
        pop_turn(orders);
    orders->length = orders->first_new = 0;
    osri_kit_orders_begin(orders);
}

void osri_kit_orders_free(struct orders *orders)
{
    struct footprint *footprint;
    size_t i;

    osri_kit_orders_restart(orders);
    while ((footprint = orders->idle_footprints) != NULL) {
        orders->idle_footprints = footprint->next;
        free(footprint->prints);
        free(footprint);
    }
    for (i = 0; i < orders->turn_room; i++) {
        free(orders->turns[i].candidates);
        free(orders->turns[i].footprint.prints);
        free(orders->turns[i].before);
    }
    free(orders->turns);
    free(orders->path);
    free(orders->ready);
    free(orders->known);
    free(orders);
}
