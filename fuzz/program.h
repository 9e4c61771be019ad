/*
 * Programs: what the fuzzer runs. A string of bytes is read from the front as a program and from the back as its
 * schedule, so that an edit of one leaves the other as it was. Any string of bytes is a program; where the bytes
 * end, zeros follow, which are the simplest choice everywhere.
 */
#ifndef OSIER_FUZZ_PROGRAM_H
#define OSIER_FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    MOST_STATEMENTS = 96,
    MOST_DEPTH = 12,    /* of blocks */
    MOST_TASKS = 40,    /* that one run may try to spawn */
    MOST_STEPS = 1500,  /* statements that one run may execute: then all blocks end */
    MOST_ITEMS = 256,   /* that one run may put into queues */
    MOST_CLEANUPS = 64, /* that one run may defer */
    EVENTS = 2,
    LOCKS = 2,
    SEMAPHORES = 2,
    BARRIERS = 2, /* of two parties, and of three */
    LIMITERS = 2, /* of one permit, and of two */
    FUTURES = 2,
    QUEUES = 6,
    STREAMS = 2,
    MOST_CASES = 3,     /* of a select */
    MOST_CALLS = 48,    /* that one run may make */
    MOST_POSTS = 8,     /* that one run may open */
    MOST_JOBS = 32,     /* that one run may offload */
    MOST_BINDINGS = 48, /* that one run may make */
    KEYS = 2            /* of values */
};

/* What the first byte switches off, bit by bit, and the high bits of the second one. */
enum feature {
    NO_TIME = 1,
    NO_SHIELDS = 2,
    NO_SYNC = 4,
    NO_QUEUES = 8,
    NO_POLICIES = 16, /* policies, limits, unwrapping, the next to end */
    NO_HANDLES = 32,  /* handles, daemons, results, eager spawns, starting */
    NO_CLEANUPS = 64, /* clean-ups and guards */
    NO_ERRORS = 128,  /* errors that are wrapped, taken, raised, replaced, fatal */
    NO_FUTURES = 256, /* futures, limiters, gathering */
    NO_CALLS = 512,   /* calls, posts, jobs */
    NO_VALUES = 1024,
    NO_STREAMS = 2048 /* in the length of the root's block */
};

enum op {
    OP_YIELD,
    OP_CHECK,
    OP_SLEEP,       /* a: for how long */
    OP_SLEEP_UNTIL, /* a: when */
    OP_RETURN,      /* a: leaves the block with this */
    OP_FAIL,        /* a: with a message */
    OP_BARE,        /* a: leaves the block with a code that nothing stands behind */
    OP_FATAL,       /* a */
    OP_CANCEL,      /* a: an open scope */
    OP_CANCEL_TASK, /* a: a handle */
    OP_DEADLINE,    /* a: an open scope; b: when */
    OP_UNSHIELD,    /* a: an open scope */
    OP_GROUP,       /* a: policy, limit, unwrap, guard */
    OP_SCOPE,       /* a: form, guard; b: limit */
    OP_SPAWN,       /* a: a group; b: options */
    OP_START,       /* a: a group; b: options */
    OP_STARTED,
    OP_REPEAT, /* a: how often */
    OP_JOIN,   /* a: a handle */
    OP_STATE,  /* a: a handle: its state and result */
    OP_RELEASE,
    OP_SELF, /* makes a handle of the calling task */
    OP_NEXT, /* a: a group */
    OP_WAIT, /* a: an event */
    OP_SET,
    OP_CLEAR,
    OP_LOCK,     /* a: a lock; the block holds it */
    OP_TRY_LOCK, /* the same */
    OP_AWAIT,    /* a: the condition of a lock */
    OP_NOTIFY,   /* a: the same; b: how many */
    OP_ACQUIRE,  /* a: a semaphore */
    OP_TRY_ACQUIRE,
    OP_GIVE, /* a: a semaphore */
    OP_PUT,  /* a: a queue; b: the item's priority */
    OP_GET,
    OP_TRY_PUT,
    OP_TRY_GET,
    OP_DONE,
    OP_QUEUE_JOIN,
    OP_SHUTDOWN, /* a: a queue; b: at once? */
    OP_DEFER,    /* a: grace; the block is the clean-up */
    OP_TAKE,
    OP_RAISE,
    OP_EMPTY, /* empties the slot */
    OP_LOOK,  /* at the error in the slot */
    OP_ASK,   /* a: an open scope */
    OP_MEET,  /* a: a barrier */
    OP_BREAK, /* a: a barrier; b: only reset? */
    OP_SELECT,     /* a: queues; b: how many cases, which put, until when */
    OP_TRY_SELECT, /* the same */
    OP_BORROW,     /* a: a limiter; the block has the permit */
    OP_TRY_BORROW, /* the same */
    OP_TOTAL,      /* a: a limiter; b: of how many permits */
    OP_SETTLE,     /* a: a future; b: complete, fail, cancel, make anew */
    OP_EXPECT,     /* a: a future */
    OP_RESULT,     /* a: a future: what it gives if it is done */
    OP_GATHER,     /* a: policy, limit; b: how many tasks, what is kept; the block is what each does */
    OP_UNDEFER,    /* a: a clean-up */
    OP_BIND,       /* a: a key */
    OP_VALUE,      /* a: a key */
    OP_CALL,       /* a: when; b: what it does */
    OP_CALL_BACK,  /* a: a call: it is taken back */
    OP_POST,       /* b: what it does */
    OP_FIRE,       /* a: a post */
    OP_POST_CLOSE, /* a: a post */
    OP_OFFLOAD,    /* a: what the job does; b: may it be left behind? */
    OP_READ,       /* a: a stream; b: how much */
    OP_WRITE,
    OP_WRITE_ALL,
    OP_READABLE, /* a: a stream */
    OP_WRITABLE,
    OP_FD_CLOSE, /* a: a stream, and which end of it */
    OP_OUTSIDER, /* a: a stream; b: how much somebody outside takes out of it, or puts into it */
    OPS
};

/* What the program does when a statement fails. */
enum on_failure {
    PASS_ON, /* leaves the block with the code */
    SWALLOW, /* goes on */
    WRAP,    /* adds context, and passes on */
    LOOK_AT, /* reads the error, and passes on */
    REPLACE, /* leaves the block with another, bare code */
    TAKE_RAISE, /* takes the error and raises it again */
    FAILURES
};

struct statement {
    unsigned char op, a, b;
    unsigned char on_failure;
    bool has_block;
    short first;         /* of its block, or -1 */
    short next;          /* in its own block, or -1 */
    short depth;
    unsigned begin, end; /* its bytes */
    unsigned length_at;  /* where its own block's length stands, if it has one */
    short parent;        /* whose block it is in */
    short stretch;       /* its times are thousands and this much: for programs in which no two times are the same */
};

/* Statement 0 is the run itself, statement 1 the group that the root task always opens. */
struct program {
    struct statement statements[MOST_STATEMENTS];
    short count;
    unsigned features;
    bool has_queues; /* says something about them */
    unsigned streams; /* says something about these, as bits */
    bool picks_scopes; /* means one by how many were opened since */
    bool tells_shape;  /* its tree of errors is printed in the end, and looked at */
    bool is_injected;  /* the door is asked for a cancellation at each cancellation point */
    unsigned used; /* bytes of the program proper; the others are the schedule */
    const unsigned char *bytes;
    unsigned size;
};

/* The byte with which a block begins is its length, modulo these. */
enum { BLOCK_LENGTHS = 7, ROOT_LENGTHS = 14 };

/*
 * A statement is a byte for the operation, then its operands, then, if the first byte was program_bytes() or more, one
 * for what follows on failure (and one more if that is 215 or more), then the block, if it has one.
 */
unsigned program_bytes(void);
enum op program_op(unsigned byte, unsigned *operands, bool *block);
unsigned program_needs(enum op op); /* features, as bits of enum feature */

void program_read(struct program *program, const unsigned char *bytes, size_t size);

/* Writes the program as one would tell it. */
void program_print(const struct program *program, FILE *stream);

/* The schedule: answers what is asked, one byte each, from the back. */
struct schedule {
    const struct program *program;
    unsigned left;
};

static inline void schedule_begin(struct schedule *schedule, const struct program *program)
{
    *schedule = (struct schedule){program, program->size > program->used ? program->size - program->used : 0};
}

static inline unsigned schedule_choose(struct schedule *schedule, unsigned n)
{
    if (schedule->left == 0)
        return 0;
    schedule->left--;
    return schedule->program->bytes[schedule->program->used + schedule->left] % n;
}

/* ---- What the operands mean ---- */

int64_t duration_of(unsigned char operand); /* of a sleep, a limit, a grace; OSR_NEVER */
int64_t grace_of(unsigned char operand);    /* never without a limit */
int64_t moment_of(unsigned char operand, int64_t now);
int64_t stretched(const struct statement *at, int64_t duration);
int64_t moment_in(const struct statement *at, unsigned char operand, int64_t now);
int code_of(unsigned char operand);      /* a negative one */
int bare_code_of(unsigned char operand); /* the same, sometimes -ECANCELED */
enum { REPLACED = -71 };                 /* EPROTO: what REPLACE gives */

/* Of a group. */
static inline int policy_of(const struct statement *at) { return at->a & 3; }
static inline int limit_of(const struct statement *at) { return (at->a >> 2 & 3) == 3 ? 2 : (at->a >> 2 & 3) == 2; }
static inline bool unwraps(const struct statement *at) { return at->a >> 4 & 1; }
static inline bool guarded(const struct statement *at) { return (at->a >> 5 & 3) == 3; }

/* Of a scope. */
enum form { FORM_TIMEOUT, FORM_MOVE_ON, FORM_SHIELD, FORM_PLAIN, FORM_UNLIMITED };
enum form form_of(const struct statement *at);
static inline bool by_moment(const struct statement *at) { return at->a >> 3 & 1; }

/* Of a select. */
static inline unsigned cases_of(const struct statement *at) { return (unsigned[]){2, 3, 2, 1}[at->b >> 3 & 3]; }
static inline bool case_puts(const struct statement *at, unsigned i) { return at->b >> i & 1; }
static inline unsigned case_queue(const struct statement *at, unsigned i)
{
    return ((unsigned)at->a % 8 + i * ((at->a >> 3) + 1u) % 4) % QUEUES;
}
int64_t until_of(const struct statement *at, int64_t now);

/* Of what settles a future. */
enum settling { COMPLETE, FAIL, CANCEL, RENEW };
enum settling settling_of(const struct statement *at);

/* Of a gathering: its group's policy and limit are those of a group. */
static inline unsigned gathered_of(const struct statement *at) { return (unsigned[]){2, 3, 1, 4}[at->b & 3]; }
static inline bool keeps_results(const struct statement *at) { return (at->b >> 2 & 3) == 1; }
static inline bool keeps_outcomes(const struct statement *at) { return (at->b >> 2 & 3) > 1; }

/* Of a call: when it comes, and what it, or a post, does. */
enum moment { SOON, LATER, AT, ON_DONE };
enum moment when_of(const struct statement *at);
enum deed { SETS, GIVES, COMPLETES, FAILS, CANCELS, READS, AGAIN, UNSHIELDS };
static inline enum deed deed_of(const struct statement *at) { return (enum deed)(at->b & 7); }

/* Of a job: what it gives. */
enum work { JOB_GIVES, JOB_FAILS, JOB_CHECKS, JOB_SPURIOUS };
static inline enum work work_of(const struct statement *at) { return (enum work)(at->a & 3); }
static inline bool may_be_left(const struct statement *at) { return at->b & 1; }

/* Of what is done with a stream: which end's descriptor, mostly the one that is open for it; or none, which is -1. */
enum stream_end { READS_FROM, WRITES_TO, NO_END };
static inline unsigned stream_of(const struct statement *at) { return at->a % STREAMS; }
static inline bool outsider_puts(const struct statement *at) { return at->b >> 4 & 1; }
enum stream_end end_of(const struct statement *at);
unsigned size_of(const struct statement *at); /* of a transfer */

/* The second one's descriptors are such as block. */
static inline bool stream_blocks(unsigned number) { return number == 1; }

/* A stream has room for a page, and its bytes are such that it shows if one is lost, or comes twice or from elsewhere. */
enum { MOST_PAGE = 1 << 16, MOST_TRANSFER = 2 * MOST_PAGE + 100 };
unsigned stream_room(void);
const char *stream_data(unsigned number); /* what the number-th write writes: MOST_TRANSFER bytes */
uint64_t stream_hash(const char *bytes, size_t size);

/* Programs with streams end at this moment, when all else waits: nobody from outside would ever come. */
enum { STREAMS_END = 100 };

/* Of a spawn. */
static inline bool copies(const struct statement *at) { return at->b >> 5 == 7; }
enum spawn_option { WITH_HANDLE = 1, EAGER = 2, DAEMON = 4, WITH_RESULT = 8, WITH_OUTCOME = 16 };
unsigned spawn_options_of(const struct statement *at);

/* Of a repeat. */
unsigned times_of(const struct statement *at);

/* Which of `count` things, of which the last is meant most often. */
static inline unsigned pick_of(unsigned char operand, unsigned count)
{
    return count - 1 - operand % count;
}

/* ---- Places and names ---- */

/* Every statement has two places: of the call, and of what closes its block. */
extern const char *place_of(int statement, bool close);
/* The number of a place: twice the statement's, odd for closes; -1 for none. */
int place_number(const char *where);
/* Tasks and groups are named after the statement that made them. */
extern const char *name_of(int statement);
/* -1 for the empty name, -2 for a strange one. */
int name_number(const char *name);
void program_names_prepare(void);

#endif
