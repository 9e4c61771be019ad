#include "generate.h"

#include "program.h"

struct generator {
    uint64_t state;
    unsigned char *bytes;
    size_t size, most;
    unsigned left; /* statements */
    unsigned theme; /* the feature that the program is about, 0 for none */
    unsigned object; /* its favourite queue, lock, or the like */
    enum op inside;  /* whose block is made */
};

static uint64_t random_number(struct generator *generator)
{
    uint64_t x = generator->state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* From 0 to `n` - 1. */
static unsigned below(struct generator *generator, unsigned n)
{
    return (unsigned)(random_number(generator) >> 32) % n;
}

static void put(struct generator *generator, unsigned byte)
{
    if (generator->size < generator->most)
        generator->bytes[generator->size++] = (unsigned char)byte;
}

/* What mostly ends the block, or all of it, and so is better said last. */
static bool is_abrupt(enum op op)
{
    return op == OP_RETURN || op == OP_FAIL || op == OP_BARE || op == OP_FATAL || op == OP_CANCEL;
}

/* What makes sense in few places only is said there often. */
static bool is_at_home(enum op inside, enum op op)
{
    if (inside == OP_LOCK || inside == OP_TRY_LOCK)
        return op == OP_AWAIT || op == OP_NOTIFY || op == OP_SLEEP || op == OP_CANCEL;
    return inside != OP_START || op == OP_STARTED || op == OP_SLEEP;
}

static bool is_unwanted(struct generator *generator, enum op op, bool block, unsigned depth, bool last)
{
    if (!is_at_home(generator->inside, op))
        return below(generator, 4);
    if (is_abrupt(op) && !last && below(generator, 6))
        return true;
    if (block && depth > 5 && below(generator, 3))
        return true;
    return generator->theme && program_needs(op) != generator->theme && op != OP_SPAWN && below(generator, 3);
}

static void make_block(struct generator *generator, unsigned depth);

static void make_statement(struct generator *generator, unsigned depth, bool last)
{
    unsigned bytes = program_bytes(), byte, operands;
    bool block;
    enum op op;

    do {
        byte = below(generator, bytes);
        op = program_op(byte, &operands, &block);
    } while (is_unwanted(generator, op, block, depth, last));
    if (below(generator, 3) == 0) {
        put(generator, byte + bytes);
        bytes = 0;
    } else {
        put(generator, byte);
    }
    if (operands > 0 && generator->theme && program_needs(op) == generator->theme && below(generator, 4)) {
        put(generator, generator->object);
        operands--;
    }
    while (operands-- > 0)
        put(generator, below(generator, 256));
    if (bytes == 0) {
        byte = 140 + below(generator, 116);
        put(generator, byte);
        if (byte >= 215)
            put(generator, below(generator, 256));
    }
    if (block) {
        enum op inside = generator->inside;

        generator->inside = op;
        make_block(generator, depth + 1);
        generator->inside = inside;
    }
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
    while (length-- > 0)
        make_statement(generator, depth, length == 0);
}

size_t generate(uint64_t seed, uint64_t index, unsigned char *bytes, size_t most)
{
    static const unsigned char themes[16] = {NO_SYNC,    NO_SYNC,    NO_QUEUES, NO_QUEUES,
                                             NO_SHIELDS, NO_HANDLES, NO_CLEANUPS};
    struct generator generator = {.state = seed * 0x9e3779b97f4a7c15u ^ index * 0xd1342543de82ef95u,
                                  .bytes = bytes,
                                  .inside = OP_GROUP};
    unsigned schedule;
    uint64_t off;

    generator.most = most < 1024 ? most : 1024;
    off = random_number(&generator);
    generator.theme = themes[off >> 32 & 15];
    generator.object = below(&generator, QUEUES);
    /* Each feature is off in three of sixteen. */
    put(&generator, (unsigned)(off & off >> 8 & (off >> 16 | off >> 24)) & 0xff & ~generator.theme);
    put(&generator, below(&generator, 256));
    generator.left = 4 + below(&generator, below(&generator, 4) ? 30 : MOST_STATEMENTS - 6);
    make_block(&generator, 0);
    /* Without a schedule all goes in the order of coming. */
    schedule = below(&generator, 4) ? below(&generator, 60) : 0;
    while (schedule-- > 0)
        put(&generator, below(&generator, 256));
    return generator.size;
}
