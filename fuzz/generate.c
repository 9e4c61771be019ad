#include "generate.h"

#include <string.h>

#include "program.h"

struct generator {
    uint64_t state;
    unsigned char *at; /* where the next byte goes */
    unsigned left; /* statements */
    unsigned theme; /* the feature that the program is about, 0 for none */
    unsigned theme_number;
    unsigned object; /* its favourite queue, lock, or the like */
    enum op inside;  /* whose block is made */
    unsigned idioms; /* so many of twelve blocks begin with one */
};

/* What follows is drawn some hundred times for each program: one multiplication each. */
static uint64_t random_number(struct generator *generator)
{
    uint64_t x = generator->state += 0xa0761d6478bd642fu;
    __uint128_t product = (__uint128_t)x * (x ^ 0xe7037ed1a0b428dbu);

    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* From 0 to `n` - 1. */
static unsigned below(struct generator *generator, unsigned n)
{
    return (unsigned)((random_number(generator) >> 32) * n >> 32);
}

static void put(struct generator *generator, unsigned byte)
{
    *generator->at++ = (unsigned char)byte;
}

/* ---- Which operations are drawn where ---- */

/* What mostly ends the block, or all of it, and so is better said last. */
static bool is_abrupt(enum op op)
{
    return op == OP_RETURN || op == OP_FAIL || op == OP_BARE || op == OP_FATAL || op == OP_CANCEL;
}

/* The blocks in which what makes sense in few places only is said often. */
enum home { ANYWHERE, IN_LOCK, IN_START, HOMES };

static enum home home_of(enum op inside)
{
    return inside == OP_LOCK || inside == OP_TRY_LOCK ? IN_LOCK : inside == OP_START ? IN_START : ANYWHERE;
}

static bool is_at_home(enum home home, enum op op)
{
    if (home == IN_LOCK)
        return op == OP_AWAIT || op == OP_NOTIFY || op == OP_SLEEP || op == OP_CANCEL || op == OP_CANCEL_TASK;
    return home == ANYWHERE || op == OP_STARTED || op == OP_SLEEP;
}

/* Where a statement stands, as far as it matters for what is drawn. */
struct spot {
    enum home home;
    unsigned theme; /* a feature's number, or THEMES - 1 for none */
    bool last, deep;
};

enum { THEMES = 13, SPOTS = HOMES * THEMES * 4, DRAWS = 1024 };

/* How much of 144 a byte is worth at a spot. */
static unsigned worth(const struct spot *spot, unsigned byte)
{
    unsigned operands, share = 144;
    bool block;
    enum op op = program_op(byte, &operands, &block);

    if (program_needs(op) == NO_STREAMS && 1u << spot->theme != NO_STREAMS)
        return 0; /* as they take system calls, and programs are many that take none */
    if (!is_at_home(spot->home, op))
        return share / 4;
    if (spot->home != ANYWHERE)
        return share;
    if (is_abrupt(op) && !spot->last)
        share /= 6;
    if (block && spot->deep)
        share /= 3;
    if (spot->theme < THEMES - 1 && program_needs(op) != 1u << spot->theme && op != OP_SPAWN)
        share /= 3;
    return share;
}

static unsigned char byte_of[OPS]; /* one of them */

/* What is known of each byte. */
static struct {
    unsigned char op, operands;
    bool block;
    unsigned short needs;
} of_byte[256];
static unsigned byte_count; /* of those that begin a usual statement; as many more begin an unusual one */

/* For each spot its bytes, as often as they are worth: what is drawn has not to be drawn again. */
static unsigned char draws[SPOTS][DRAWS];

static void fill_draws(const struct spot *spot, unsigned char *to)
{
    unsigned bytes = program_bytes(), left = DRAWS, i, sum = 0, all = 0, filled = 0;

    for (i = 0; i < bytes; i++) {
        all += worth(spot, i);
        if (worth(spot, i) > 0)
            to[--left] = (unsigned char)i; /* each at least once */
    }
    for (i = 0; i < bytes; i++) {
        for (sum += worth(spot, i); filled < sum * left / all; filled++)
            to[filled] = (unsigned char)i;
    }
}

static unsigned number_of(const struct spot *spot)
{
    return (spot->home * THEMES + spot->theme) * 4 + spot->last * 2u + spot->deep;
}

static void prepare_draws(void)
{
    static bool prepared;
    struct spot spot;
    unsigned i, operands;
    bool block;

    if (prepared)
        return;
    prepared = true;
    byte_count = program_bytes();
    for (i = 0; i < byte_count; i++) {
        enum op op = program_op(i, &operands, &block);

        byte_of[op] = (unsigned char)i;
        of_byte[i].op = (unsigned char)op;
        of_byte[i].operands = (unsigned char)operands;
        of_byte[i].block = block;
        of_byte[i].needs = (unsigned short)program_needs(op);
    }
    for (i = 0; i < SPOTS; i++) {
        spot = (struct spot){i / 4 / THEMES, i / 4 % THEMES, i >> 1 & 1, i & 1};
        fill_draws(&spot, draws[number_of(&spot)]);
    }
}

/* ---- Making programs ---- */

static void make_block(struct generator *generator, unsigned depth);

/* One number is enough for a statement: it is used up bit by bit. */
static unsigned take_bits(uint64_t *bits, unsigned count)
{
    unsigned taken = (unsigned)(*bits & ((1u << count) - 1));

    *bits >>= count;
    return taken;
}

/* Of the operation that the byte stands for, behind `given` operands that have been said: the others, and what follows on
 * failure if that is unusual. All is written that may be needed, and then as much of it passed over as there is: what is
 * drawn cannot be guessed, and a branch would mostly go wrong. */
static void make_rest(struct generator *generator, unsigned byte, unsigned given, bool unusual, uint64_t bits)
{
    unsigned operands = of_byte[byte].operands - given, failure;
    bool favourite = take_bits(&bits, 2) > 0 && operands > 0 && generator->theme && of_byte[byte].needs == generator->theme;

    bits = favourite ? bits << 8 | generator->object : bits;
    generator->at[0] = (unsigned char)bits;
    generator->at[1] = (unsigned char)(bits >> 8);
    generator->at += operands;
    bits >>= 8 * operands;
    failure = 140 + take_bits(&bits, 8) * 116 / 256;
    generator->at[0] = (unsigned char)failure;
    generator->at[1] = (unsigned char)bits;
    generator->at += unusual + (unusual & (failure >= 215));
}

static void make_statement(struct generator *generator, unsigned depth, bool last)
{
    const struct spot spot = {home_of(generator->inside), generator->theme_number, last, depth > 5};
    uint64_t bits = random_number(generator);
    unsigned byte = draws[number_of(&spot)][take_bits(&bits, 10)];
    bool unusual = take_bits(&bits, 8) < 85;
    enum op inside = generator->inside;

    put(generator, byte + unusual * byte_count);
    make_rest(generator, byte, 0, unusual, bits);
    if (!of_byte[byte].block)
        return;
    generator->inside = of_byte[byte].op;
    make_block(generator, depth + 1);
    generator->inside = inside;
}

/* ---- Idioms ---- */

/* What must come together to mean something is rarely drawn so, and is said as a whole now and then: each operation
 * with how many of the following are in its block. Operands are drawn. */
struct step {
    unsigned char op, length; /* the latter with OTHER if it is about another object */
};

enum { OTHER = 16 };

static const struct idiom {
    unsigned length; /* of the block that it is said in */
    struct step steps[10];
} idioms[] = {
    /* who was notified, and not yet run, is cancelled */
    {3, {{OP_SPAWN, 1}, {OP_LOCK, 1}, {OP_AWAIT, 0}, {OP_SLEEP, 0}, {OP_LOCK, 2}, {OP_NOTIFY, 0}, {OP_CANCEL, 0}}},
    /* what is under a shield is cut while the scopes outside are cancelled, and the shield is lifted then */
    {2, {{OP_SPAWN, 1}, {OP_CANCEL, 0}, {OP_SCOPE, 1}, {OP_SCOPE, 2}, {OP_SLEEP, 0}, {OP_UNSHIELD, 0}}},
    {1, {{OP_SCOPE, 3}, {OP_CANCEL, 0}, {OP_SCOPE, 2}, {OP_SLEEP, 0}, {OP_UNSHIELD, 0}, {OP_CHECK, 0}}},
    /* one is given something, and is cancelled before it runs */
    {3, {{OP_SPAWN, 1}, {OP_GET, 0}, {OP_YIELD, 0}, {OP_GROUP, 2}, {OP_PUT, 0}, {OP_CANCEL, 0}}},
    {4, {{OP_SPAWN, 1}, {OP_EXPECT, 0}, {OP_YIELD, 0}, {OP_SETTLE, 0}, {OP_CANCEL, 0}}},
    {3, {{OP_SPAWN, 1}, {OP_SELECT, 0}, {OP_YIELD, 0}, {OP_SCOPE, 2}, {OP_PUT, 0}, {OP_CANCEL, 0}}},
    /* three in line for a lock, of whom one goes */
    {4, {{OP_SPAWN, 1}, {OP_LOCK, 0}, {OP_SPAWN, 1}, {OP_LOCK, 0}, {OP_SPAWN, 1}, {OP_LOCK, 0}, {OP_LOCK, 2},
         {OP_SLEEP, 0}, {OP_CANCEL, 0}}},
    /* a permit is given to one who waits */
    {4, {{OP_SPAWN, 1}, {OP_ACQUIRE, 0}, {OP_ACQUIRE, 0}, {OP_YIELD, 0}, {OP_GIVE, 0}}},
    /* who waits between calls that finish at once has not to let others run */
    {1, {{OP_REPEAT, 2}, {OP_CHECK, 0}, {OP_SLEEP, 0}}},
    /* one fails while another waits for its end */
    {2, {{OP_SPAWN, 2}, {OP_SLEEP, 0}, {OP_FAIL, 0}, {OP_SPAWN, 1}, {OP_JOIN, 0}}},
    /* two wait for the same end, each in its way */
    {3, {{OP_SPAWN, 1}, {OP_SLEEP, 0}, {OP_SPAWN, 1}, {OP_JOIN, 0}, {OP_NEXT, 0}}},
    /* two are woken at once */
    {4, {{OP_SPAWN, 1}, {OP_WAIT, 0}, {OP_SPAWN, 1}, {OP_WAIT, 0}, {OP_SLEEP, 0}, {OP_SET, 0}}},
    /* a clean-up that waits, in what is cancelled */
    {1, {{OP_SCOPE, 3}, {OP_DEFER, 1}, {OP_SLEEP, 0}, {OP_CANCEL, 0}, {OP_SLEEP, 0}}},
}, stream_idioms[] = {
    /* one produces, another consumes */
    {3, {{OP_SPAWN, 1}, {OP_REPEAT, 1}, {OP_READ, 0}, {OP_REPEAT, 1}, {OP_WRITE_ALL, 0}, {OP_FD_CLOSE, 0}}},
    {2, {{OP_SPAWN, 1}, {OP_WRITE_ALL, 0}, {OP_REPEAT, 2}, {OP_READ, 0}, {OP_SLEEP, 0}}},
    /* a reader has a limit */
    {3, {{OP_SPAWN, 1}, {OP_SCOPE, 1}, {OP_READ, 0}, {OP_SLEEP, 0}, {OP_WRITE, 0}}},
    /* what is written is cut half-way, while somebody drains */
    {2, {{OP_SPAWN, 3}, {OP_SLEEP, 0}, {OP_READ, 0}, {OP_READ, 0}, {OP_SCOPE, 1}, {OP_WRITE_ALL, 0}}},
    {3, {{OP_SPAWN, 1}, {OP_WRITE_ALL, 0}, {OP_SLEEP, 0}, {OP_GROUP, 2}, {OP_READ, 0}, {OP_CANCEL, 0}}},
    /* a descriptor is closed that somebody waits for, or the other end of it */
    {3, {{OP_SPAWN, 1}, {OP_READ, 0}, {OP_SLEEP, 0}, {OP_FD_CLOSE, 0}}},
    {3, {{OP_SPAWN, 1}, {OP_WRITE_ALL, 0}, {OP_SLEEP, 0}, {OP_FD_CLOSE, 0}}},
    /* one is woken, and before it runs the descriptor is closed, or what was there is taken away, or it is cancelled */
    {4, {{OP_SPAWN, 1}, {OP_READ, 0}, {OP_SLEEP, 0}, {OP_SPAWN, 1}, {OP_FD_CLOSE, 0}, {OP_WRITE, 0}}},
    {4, {{OP_SPAWN, 1}, {OP_READ, 0}, {OP_SPAWN, 2}, {OP_SLEEP, 0}, {OP_OUTSIDER, 0}, {OP_SLEEP, 0}, {OP_WRITE, 0}}},
    {4, {{OP_SPAWN, 1}, {OP_READABLE, 0}, {OP_WRITE, 0}, {OP_SLEEP, 0}, {OP_CANCEL, 0}}},
    /* readable, then read; writable, then written */
    {3, {{OP_SPAWN, 2}, {OP_READABLE, 0}, {OP_READ, 0}, {OP_YIELD, 0}, {OP_WRITE, 0}}},
    {4, {{OP_WRITE, 0}, {OP_SPAWN, 2}, {OP_WRITABLE, 0}, {OP_WRITE, 0}, {OP_YIELD, 0}, {OP_READ, 0}}},
    /* two at one descriptor */
    {4, {{OP_SPAWN, 1}, {OP_READ, 0}, {OP_SPAWN, 1}, {OP_READ, 0}, {OP_SLEEP, 0}, {OP_WRITE, 0}}},
    /* two are ready at once */
    {5, {{OP_SPAWN, 1}, {OP_READ, 0}, {OP_SPAWN, 1}, {OP_READ, OTHER}, {OP_YIELD, 0}, {OP_WRITE, 0}, {OP_WRITE, OTHER}}},
    {2, {{OP_SPAWN, 2}, {OP_READ, 0}, {OP_READ, OTHER}, {OP_REPEAT, 2}, {OP_WRITE_ALL, 0}, {OP_WRITE_ALL, OTHER}}},
    /* two are woken, and the first to run takes away what the other was woken for, cancels it, or closes its descriptor */
    {5, {{OP_SPAWN, 2}, {OP_READ, OTHER}, {OP_OUTSIDER, 0}, {OP_SPAWN, 1}, {OP_READ, 0}, {OP_YIELD, 0}, {OP_WRITE, 0},
         {OP_WRITE, OTHER}}},
    {5, {{OP_SPAWN, 3}, {OP_READ, OTHER}, {OP_OUTSIDER, 0}, {OP_CANCEL, 0}, {OP_SPAWN, 1}, {OP_READ, 0}, {OP_YIELD, 0},
         {OP_WRITE, 0}, {OP_WRITE, OTHER}}},
    {5, {{OP_SPAWN, 2}, {OP_READ, OTHER}, {OP_FD_CLOSE, 0}, {OP_SPAWN, 1}, {OP_READ, 0}, {OP_YIELD, 0}, {OP_WRITE, 0},
         {OP_WRITE, OTHER}}},
    /* an answer to a question */
    {4, {{OP_SPAWN, 2}, {OP_READ, 0}, {OP_WRITE, OTHER}, {OP_WRITE, 0}, {OP_READ, OTHER}, {OP_FD_CLOSE, 0}}},
};

enum { IDIOMS = sizeof(idioms) / sizeof(idioms[0]), IDIOM_SIZE = 10 };
enum { STREAM_IDIOMS = sizeof(stream_idioms) / sizeof(stream_idioms[0]) };

/* Says the step and those in its block; gives the one after them. */
static const struct step *make_step(struct generator *generator, const struct step *step)
{
    uint64_t bits = random_number(generator);
    unsigned byte = byte_of[step->op], i;
    bool unusual = take_bits(&bits, 2) == 0, same = of_byte[byte].needs & (NO_SYNC | NO_QUEUES | NO_FUTURES | NO_STREAMS);

    put(generator, byte + unusual * byte_count);
    if (same) /* they are all about the same one */
        put(generator, generator->object ^ (step->length & OTHER) / OTHER);
    make_rest(generator, byte, same, unusual, bits);
    i = step->length % OTHER;
    step++;
    if (of_byte[byte].block)
        put(generator, i);
    while (i-- > 0)
        step = make_step(generator, step);
    return step;
}

/* How much of the block's length it has taken. */
static unsigned make_idiom(struct generator *generator, unsigned length, unsigned depth)
{
    const struct idiom *idiom = generator->theme == NO_STREAMS ? &stream_idioms[below(generator, STREAM_IDIOMS)]
                                                               : &idioms[below(generator, IDIOMS)];
    const struct step *step = idiom->steps;
    unsigned i;

    if (idiom->length > length || generator->left < IDIOM_SIZE || depth > 6)
        return 0;
    generator->left -= IDIOM_SIZE;
    for (i = 0; i < idiom->length; i++)
        step = make_step(generator, step);
    return idiom->length;
}

static void make_block(struct generator *generator, unsigned depth)
{
    unsigned length = depth == 0 ? 1 + below(generator, ROOT_LENGTHS - 1)
                      : depth < 4 ? 1 + below(generator, 5)
                                  : below(generator, 4);

    if (depth >= MOST_DEPTH)
        return;
    if (length > generator->left)
        length = generator->left;
    generator->left -= length;
    put(generator, length);
    if (length > 0 && below(generator, 12) < generator->idioms)
        length -= make_idiom(generator, length, depth);
    while (length-- > 0)
        make_statement(generator, depth, length == 0);
}

/* Each number is good for eight answers. */
static void make_schedule(struct generator *generator, unsigned length)
{
    unsigned i;

    for (i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t answers = random_number(generator);

        memcpy(generator->at + i, &answers, sizeof(answers));
    }
    generator->at += length;
}

/* A statement has at most a byte, two operands, two of what follows on failure, and its block's length; what is written
 * goes less than eight bytes further. */
enum { MOST_ANSWERS = 60, ROOM = 1024 };
_Static_assert(2 + 6 * MOST_STATEMENTS + MOST_ANSWERS + 8 <= ROOM, "any program has room");

size_t generate(uint64_t seed, uint64_t index, unsigned char *bytes, size_t most)
{
    static const unsigned short themes[16] = {NO_SYNC,    NO_SYNC,     NO_QUEUES,  NO_QUEUES, NO_SHIELDS,
                                              NO_HANDLES, NO_CLEANUPS, NO_FUTURES, NO_FUTURES, NO_CALLS,
                                              NO_CALLS,   NO_VALUES,   NO_STREAMS, NO_STREAMS};
    unsigned char made[ROOM];
    struct generator generator = {.state = seed * 0x9e3779b97f4a7c15u ^ index * 0xd1342543de82ef95u,
                                  .at = made,
                                  .inside = OP_GROUP};
    unsigned features;
    size_t size;
    uint64_t off;

    prepare_draws();
    off = random_number(&generator);
    generator.theme = themes[off >> 60];
    generator.theme_number = generator.theme ? (unsigned)__builtin_ctz(generator.theme) : THEMES - 1;
    generator.object = below(&generator, QUEUES);
    generator.idioms = generator.theme == NO_STREAMS ? 8 : 1; /* what streams do needs two ends */
    /* Each feature is off in three of sixteen. */
    features = (unsigned)(off & off >> 11 & (off >> 22 | off >> 33)) & 0x7ff & ~generator.theme;
    put(&generator, features & 0xff);
    put(&generator, features >> 8 << 5 | below(&generator, 32));
    generator.left = 4 + below(&generator, below(&generator, 4) ? 30 : MOST_STATEMENTS - 6);
    make_block(&generator, 0);
    /* Without a schedule all goes in the order of coming. */
    make_schedule(&generator, below(&generator, 4) ? below(&generator, MOST_ANSWERS) : 0);
    size = (size_t)(generator.at - made);
    size = size < most ? size : most;
    memcpy(bytes, made, size);
    return size;
}
