/*
 * Queues and select against lists: first in, last in, smallest first; no room, some, no bound; small items and large
 * ones; tasks that wait at both ends, are cut and time out; work that is finished; shutting down; no memory.
 */
#include "actors.h"

#include <errno.h>
#include <string.h>

static const char *const wrongs[] = {WRONG_IN_LINES, "a queue holds one more", "equal items: the last first",
                                     "a get that was cut takes an item", "a shutdown at once drops nothing",
                                     "a select does all that it can", "what is got is done", NULL};
enum { WRONG_ROOM = WRONG_OWN, WRONG_EQUAL, WRONG_CUT_TAKES, WRONG_DROPS, WRONG_ALL, WRONG_DONE };

enum { QUEUES = 2, CASES = 5, FEW_CASES = 3, MOST_ITEMS = 600 };

struct label {
    unsigned key, number;
};

/* As large as an item of any queue; the rest says the number again, byte by byte. */
struct item {
    struct label label;
    unsigned char rest[128];
};

/* The lines of a queue. */
enum { GETTERS, PUTTERS, JOINERS, LINES };

enum shut { OPEN, DRAINING, AT_ONCE };

static struct {
    struct osr_queue real;
    struct item buffer[4];
    enum osr_queue_order order;
    size_t capacity, item_size;
    /* As it should be: */
    struct label items[MOST_ITEMS];
    size_t count;
    unsigned unfinished;
    enum shut shut;
} queues[QUEUES];
static unsigned numbers; /* of items */

/* What an actor puts and gets: for a select one of each case. */
static struct hands {
    struct osr_case cases[CASES];
    struct item real[CASES], expected[CASES];
    bool gets[CASES];
    int case_rc; /* expected, of the case that is done */
} hands[ACTORS];

enum call { PUT, GET, JOIN, SELECT, TRY_SELECT, CALLS };

static unsigned line_of(unsigned queue, unsigned line)
{
    return queue * LINES + line;
}

static struct hands *hands_of(const struct actor *actor)
{
    return &hands[actor - actors];
}

/* ---- Items ---- */

static struct item item_of(struct label label)
{
    struct item item = {.label = label};
    size_t i;

    for (i = 0; i < sizeof(item.rest); i++)
        item.rest[i] = (unsigned char)(label.number * 7 + i + 1);
    return item;
}

/* What somebody has who gets this item out of the queue: no more than fits into it. */
static void give(unsigned q, struct item *to, struct label label)
{
    struct item item = item_of(label);

    memcpy(to, &item, queues[q].item_size);
}

/* ---- Items that are disposed of ---- */

static unsigned char disposed[MOST_ITEMS], dropped[MOST_ITEMS]; /* by the library; by the model */

static void dispose(void *item)
{
    disposed[((struct label *)item)->number]++;
}

static int compare_items(const void *a, const void *b)
{
    const struct label *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

/* ---- The model ---- */

static void insert(unsigned q, struct label item)
{
    check(queues[q].count < MOST_ITEMS, "the target's queues are too small");
    queues[q].items[queues[q].count++] = item;
}

/* Which comes out next. */
static size_t next_of(unsigned q)
{
    size_t best = 0, i;

    if (queues[q].order == OSR_QUEUE_LIFO)
        return queues[q].count - 1;
    for (i = 1; queues[q].order == OSR_QUEUE_PRIORITY && i < queues[q].count; i++)
        if (queues[q].items[i].key < queues[q].items[best].key ||
            (wrong == WRONG_EQUAL && queues[q].items[i].key == queues[q].items[best].key))
            best = i;
    return best;
}

static struct label pull(unsigned q)
{
    size_t at = next_of(q);
    struct label item = queues[q].items[at];

    queues[q].count--;
    memmove(&queues[q].items[at], &queues[q].items[at + 1], (queues[q].count - at) * sizeof(item));
    return item;
}

/* The put or get of somebody who waited has been done. */
static void answer(struct actor *actor, unsigned which, int rc)
{
    hands_of(actor)->case_rc = rc;
    actor_served(actor, actor->call == SELECT ? (int)which : rc);
}

static int put_now(unsigned q, struct label item)
{
    struct actor *getter;
    unsigned which;

    if (queues[q].shut)
        return -ESHUTDOWN;
    getter = line_first(line_of(q, GETTERS), &which);
    if (getter) {
        give(q, &hands_of(getter)->expected[which], item);
        queues[q].unfinished++;
        answer(getter, which, 0);
        return 0;
    }
    if (queues[q].capacity != OSR_UNBOUNDED && queues[q].count >= queues[q].capacity + (wrong == WRONG_ROOM))
        return -EAGAIN;
    insert(q, item);
    queues[q].unfinished++;
    return 0;
}

static int get_now(unsigned q, struct item *item)
{
    unsigned which;
    struct actor *putter = line_first(line_of(q, PUTTERS), &which);

    if (queues[q].count == 0 && !putter)
        return queues[q].shut ? -ESHUTDOWN : -EAGAIN;
    give(q, item, queues[q].count ? pull(q) : hands_of(putter)->expected[which].label);
    if (putter) {
        if (queues[q].capacity > 0)
            insert(q, hands_of(putter)->expected[which].label);
        queues[q].unfinished++;
        answer(putter, which, 0);
    }
    if (wrong == WRONG_DONE)
        queues[q].unfinished--;
    return 0;
}

static void dismiss_joiners(unsigned q)
{
    struct actor *joiner;

    while (queues[q].unfinished == 0 && (joiner = line_first(line_of(q, JOINERS), NULL)) != NULL)
        actor_served(joiner, 0);
}

static void dismiss(unsigned q, unsigned line)
{
    struct actor *actor;
    unsigned which;

    while ((actor = line_first(line_of(q, line), &which)) != NULL)
        answer(actor, which, -ESHUTDOWN);
}

static void drop_all(unsigned q)
{
    size_t i;

    for (i = 0; i < queues[q].count; i++)
        dropped[queues[q].items[i].number]++;
    queues[q].unfinished -= (unsigned)queues[q].count;
    queues[q].count = 0;
}

static int shut_down(unsigned q, bool at_once)
{
    if (queues[q].shut >= (at_once ? AT_ONCE : DRAINING))
        return -EALREADY;
    queues[q].shut = at_once ? AT_ONCE : DRAINING;
    dismiss(q, PUTTERS);
    dismiss(q, GETTERS);
    if (at_once && wrong != WRONG_DROPS)
        drop_all(q);
    dismiss_joiners(q);
    return 0;
}

static int finish_one(unsigned q)
{
    if (queues[q].unfinished == queues[q].count)
        return -EINVAL;
    queues[q].unfinished--;
    dismiss_joiners(q);
    return 0;
}

/* ---- The calls of actors ---- */

static unsigned queue_of(const struct osr_case *one)
{
    return one->queue == &queues[1].real;
}

static int select_now(struct actor *actor)
{
    struct hands *hand = hands_of(actor);
    int rc, done = -EAGAIN;
    unsigned i;

    for (i = 0; i < actor->count; i++) {
        const struct osr_case *one = &hand->cases[i];

        rc = one->put ? put_now(queue_of(one), hand->expected[i].label) : get_now(queue_of(one), &hand->expected[i]);
        if (rc == -EAGAIN)
            continue;
        hand->case_rc = rc;
        done = (int)i;
        if (wrong != WRONG_ALL)
            break;
    }
    return done;
}

static int perform(struct actor *actor)
{
    struct hands *hand = hands_of(actor);
    struct osr_queue *queue = &queues[actor->object].real;

    switch (actor->call) {
    case PUT:
        return osr_queue_put(queue, &hand->real[0]);
    case GET:
        return osr_queue_get(queue, &hand->real[0]);
    case JOIN:
        return osr_queue_join(queue);
    case SELECT:
        return osr_select(hand->cases, actor->count, actor->until);
    default:
        return osr_try_select(hand->cases, actor->count);
    }
}

static int wait_in(struct actor *actor, unsigned line)
{
    line_join(line_of(actor->object, line), actor, 0);
    return WAITS;
}

static int expect_select(struct actor *actor)
{
    int rc = select_now(actor);
    unsigned i;

    if (rc != -EAGAIN || actor->call == TRY_SELECT)
        return rc;
    if (actor->until <= actors_now())
        return -ETIMEDOUT;
    actor->timeout = actor->until;
    for (i = 0; i < actor->count; i++) {
        const struct osr_case *one = &hands_of(actor)->cases[i];

        line_join(line_of(queue_of(one), one->put ? PUTTERS : GETTERS), actor, i);
    }
    return WAITS;
}

static int expect(struct actor *actor)
{
    struct hands *hand = hands_of(actor);
    unsigned q = actor->object;
    int rc;

    switch (actor->call) {
    case PUT:
        rc = put_now(q, hand->expected[0].label);
        return rc == -EAGAIN ? wait_in(actor, PUTTERS) : rc;
    case GET:
        rc = get_now(q, &hand->expected[0]);
        return rc == -EAGAIN ? wait_in(actor, GETTERS) : rc;
    case JOIN:
        return queues[q].unfinished == 0 ? 0 : wait_in(actor, JOINERS);
    default:
        return expect_select(actor);
    }
}

static void cut(struct actor *actor)
{
    if (wrong == WRONG_CUT_TAKES && actor->call == GET && queues[!actor->object].count > 0)
        (void)pull(!actor->object);
}

/* What was got is what the model says, and what was put is still there. */
static void done(struct actor *actor)
{
    struct hands *hand = hands_of(actor);
    unsigned which = 0;

    if (actor->rc < 0 || actor->call == JOIN)
        return;
    if (actor->call >= SELECT) {
        which = (unsigned)actor->rc;
        check(hand->cases[which].rc == hand->case_rc, "the case gives %d, and not %d", hand->cases[which].rc,
              hand->case_rc);
        if (hand->case_rc < 0)
            return;
    }
    check(memcmp(&hand->real[which], &hand->expected[which], sizeof(struct item)) == 0,
          "actor %d has item %u, and not item %u", (int)(actor - actors), hand->real[which].label.number,
          hand->expected[which].label.number);
}

/* ---- Steps ---- */

static struct item new_item(struct input *input)
{
    return item_of((struct label){take(input, 4), numbers++});
}

static void prepare_select(struct actor *actor, struct input *input)
{
    struct hands *hand = hands_of(actor);
    unsigned count = take_byte(input), i;

    actor->count = 1 + count % (count < 192 ? FEW_CASES : CASES);
    actor->until = take(input, 3) ? OSR_NEVER : actors_now() - 1 + take(input, 6);
    for (i = 0; i < actor->count; i++) {
        unsigned what = take(input, 4);

        hand->cases[i] = (struct osr_case){.queue = &queues[what & 1].real, .item = &hand->real[i], .put = what & 2};
        hand->real[i] = hand->expected[i] = hand->cases[i].put ? new_item(input) : (struct item){0};
    }
}

static void tell_actor(struct input *input)
{
    static const char *const names[] = {"put", "get", "join", "select", "try_select"};
    struct actor *actor = idle_actor(input);
    struct hands *hand;

    if (!actor || numbers + CASES >= MOST_ITEMS)
        return;
    hand = hands_of(actor);
    actor->object = take(input, QUEUES);
    actor->call = take(input, 8);
    actor->call = actor->call < CALLS ? actor->call : actor->call < 7 ? PUT : GET;
    actor->tries = actor->call == TRY_SELECT;
    if (actor->call >= SELECT)
        prepare_select(actor, input);
    else
        hand->real[0] = hand->expected[0] = actor->call == PUT ? new_item(input) : (struct item){0};
    tell("%s, queue %u, item %u\n", names[actor->call], actor->object, hand->real[0].label.number);
    actor_told(actor, input);
}

static void try_put(unsigned q, struct input *input)
{
    struct item item = new_item(input);
    int rc, expected;

    refuse_at = queues[q].capacity == OSR_UNBOUNDED && take(input, 4) == 0;
    refused = 0;
    rc = osr_queue_try_put(&queues[q].real, &item);
    refuse_at = 0;
    tell("try_put, queue %u, item %u: %d\n", q, item.label.number, rc);
    if (refused > 0) {
        check(rc == -ENOMEM, "without memory, a put gives %d", rc);
        return;
    }
    expected = put_now(q, item.label);
    check(rc == expected, "it gives %d, and not %d", rc, expected);
}

static void try_get(unsigned q)
{
    struct item real = {0}, item = {0};
    int rc = osr_queue_try_get(&queues[q].real, &real), expected = get_now(q, &item);

    tell("try_get, queue %u: %d, item %u\n", q, rc, real.label.number);
    check(rc == expected && memcmp(&real, &item, sizeof(item)) == 0, "it gives %d and item %u, and not %d and item %u",
          rc, real.label.number, expected, item.label.number);
}

static void step(struct input *input)
{
    unsigned what = take(input, 16), q = take(input, QUEUES), i;
    int rc, expected;
    bool at_once;

    if (numbers + 20 >= MOST_ITEMS)
        return;
    switch (what) {
    case 0:
    case 1:
        try_put(q, input);
        break;
    case 2:
    case 3:
        try_get(q);
        break;
    case 4:
        rc = osr_queue_task_done(&queues[q].real);
        expected = finish_one(q);
        tell("task_done, queue %u: %d\n", q, rc);
        check(rc == expected, "it gives %d, and not %d", rc, expected);
        break;
    case 5:
        at_once = take(input, 2);
        if (take(input, 3) > 0)
            break;
        rc = osr_queue_shutdown(&queues[q].real, at_once);
        expected = shut_down(q, at_once);
        tell("shutdown, queue %u, %s: %d\n", q, at_once ? "at once" : "draining", rc);
        check(rc == expected, "it gives %d, and not %d", rc, expected);
        break;
    case 6:
        for (i = take(input, 20); i > 0; i--)
            try_put(q, input);
        break;
    default:
        tell_actor(input);
    }
    osr_error_clear();
}

/* ---- The play ---- */

static void open(struct input *input)
{
    static const size_t capacities[] = {0, 1, 3, OSR_UNBOUNDED};
    static const size_t item_sizes[] = {sizeof(struct label), 12, 24, sizeof(struct item)};
    unsigned q;

    numbers = 0;
    memset(disposed, 0, sizeof(disposed));
    memset(dropped, 0, sizeof(dropped));
    for (q = 0; q < QUEUES; q++) {
        unsigned form = take_byte(input);
        struct osr_queue_options options = {.size = sizeof(options), .dispose = dispose};

        options.order = queues[q].order = form % 3;
        queues[q].capacity = capacities[form / 3 % 4];
        queues[q].item_size = item_sizes[form / 12 % 4];
        options.compare = options.order == OSR_QUEUE_PRIORITY ? compare_items : NULL;
        if (form & 128 && options.order != OSR_QUEUE_PRIORITY && queues[q].capacity != OSR_UNBOUNDED)
            options.buffer = queues[q].buffer;
        tell("queue %u: order %d, capacity %zd, items of %zu\n", q, (int)options.order, (ssize_t)queues[q].capacity,
             queues[q].item_size);
        queues[q].count = queues[q].unfinished = 0;
        queues[q].shut = OPEN;
        check(osr_queue_init_with(&queues[q].real, queues[q].item_size, queues[q].capacity, &options) == 0,
              "a queue could not be made");
    }
}

static void compare(void)
{
    unsigned q;

    for (q = 0; q < QUEUES; q++) {
        struct osr_queue *real = &queues[q].real;

        check(osr_queue_count(real) == queues[q].count, "queue %u has %zu items, and not %zu", q, osr_queue_count(real),
              queues[q].count);
        check(osr_waiters_count(&real->getters_) == line_count(line_of(q, GETTERS)) &&
                  osr_waiters_count(&real->putters_) == line_count(line_of(q, PUTTERS)) &&
                  osr_waiters_count(&real->joiners_) == line_count(line_of(q, JOINERS)),
              "other numbers wait for queue %u", q);
        check(real->unfinished_ == queues[q].unfinished, "%llu are unfinished, and not %u",
              (unsigned long long)real->unfinished_, queues[q].unfinished);
    }
}

/* No item is lost, or there twice. */
static void close_all(void)
{
    unsigned q;

    for (q = 0; q < QUEUES; q++) {
        check(osr_queue_destroy(&queues[q].real) == 0, "queue %u cannot be destroyed", q);
        queues[q].real = (struct osr_queue){0};
        drop_all(q);
        queues[q].unfinished = 0;
        osr_waiters_init(&queues[q].real.getters_);
        osr_waiters_init(&queues[q].real.putters_);
        osr_waiters_init(&queues[q].real.joiners_);
    }
    check(memcmp(disposed, dropped, sizeof(disposed)) == 0, "other items were disposed of");
}

static void run(const unsigned char *bytes, size_t size)
{
    static const struct play play = {.open = open, .step = step, .perform = perform, .expect = expect, .cut = cut,
                                     .done = done, .compare = compare, .close = close_all};

    actors_play(&play, bytes, size);
}

const struct target target = {.name = "queues", .run = run, .longest = 250, .wrongs = wrongs};
