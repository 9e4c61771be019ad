/* What happens in a run, record by record: the model writes it first, the library's run is compared with it. */
#ifndef OSIER_FUZZ_LOG_H
#define OSIER_FUZZ_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum record_kind {
    RECORD_CHOICE, /* the door was asked: `what` is the kind, `value` the number of alternatives */
    RECORD_TRACE,  /* an event of the trace: `what` is its kind, `value` the time */
    RECORD_RESULT, /* a statement is done: `place` is its number */
    RECORD_VALUE,  /* what was read: `what` is an enum value_of */
    RECORD_SHAPE,  /* a line of a printed tree of errors: `what` is its flags, `value` how far to the right */
    RECORD_ERROR   /* one error: `what` is its flags, `value` the number of leaves, `name` the task */
};

enum value_of {
    VALUE_NOW,
    VALUE_CANCELLED,
    VALUE_DEADLINE,
    VALUE_SCOPE_CANCELLED,
    VALUE_SCOPE_CAUGHT,
    VALUE_SCOPE_DEADLINE,
    VALUE_REASON, /* with code, who as `name`, and place */
    VALUE_RUNNING,
    VALUE_WINNER,
    VALUE_STATE,
    VALUE_OUTCOME,
    VALUE_HANDLE,
    VALUE_ITEM,
    VALUE_RESULT,
    VALUE_COUNT, /* of a queue, a semaphore, the owner of a lock */
    VALUE_TAKEN,
    VALUE_CASE, /* of a select, with its code */
    VALUE_FUTURE,
    VALUE_WORK_CANCELLED,
    VALUE_BOUND,
    VALUE_CALLED,
    VALUE_POSTED, /* with how often */
    VALUE_JOB,
    VALUE_ABANDONED, /* with what the job gave */
    VALUE_BYTES,     /* what was read, as a number, with how many they are */
    VALUE_WRITTEN
};

enum error_flag { ERROR_IS_GROUP = 1, ERROR_IS_FATAL = 2, ERROR_IS_CAUSE = 4, ERROR_IS_LEAF = 8, ERROR_IS_NONE = 16 };

struct record {
    unsigned char kind, what;
    short place, name, spare; /* 0: so that records can be compared as bytes */
    unsigned task;
    int code;
    int64_t value;
    const char *call; /* a literal, or NULL */
};

/* Of a printed tree, so many lines are looked at, and so far to the right. */
enum { SHAPE_LINES = 60, SHAPE_DEPTH = 20 };

enum { MOST_RECORDS = 1 << 16 };

struct log {
    unsigned count;
    struct record records[MOST_RECORDS];
};

/* Records are equal up to their calls, which are told by their texts. */
static inline bool record_equal(const struct record *a, const struct record *b)
{
    enum { WORDS = offsetof(struct record, call) / sizeof(uint64_t) };
    uint64_t x[WORDS], y[WORDS];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    if ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]))
        return false;
    return a->call == b->call || (a->call && b->call && strcmp(a->call, b->call) == 0);
}

/*
 * What is to be seen of a run in which nobody answers questions or observes: not the questions and the trace, nor which
 * task it was; not the outcomes that are told in the end, with their errors, in the order of spawning; and not printed trees,
 * which are left out of a run that was stuck, as the trace tells.
 */
struct plain_view {
    bool in_outcome;
};

static inline bool plain_sees(struct plain_view *view, struct record *record)
{
    if (record->kind == RECORD_CHOICE || record->kind == RECORD_TRACE || record->kind == RECORD_SHAPE)
        return false;
    record->task = 0;
    view->in_outcome = record->kind == RECORD_VALUE ? record->what == VALUE_OUTCOME
                                                    : view->in_outcome && record->kind == RECORD_ERROR;
    return !view->in_outcome;
}

void record_print(const struct record *record, FILE *stream);

#endif
