/*
 * The oracle: what the rules say that a program does. It is written from the rules and the contracts of the public
 * headers, and shares nothing with the library: no line of its source, no function, no structure; only the names of
 * codes.
 */
#ifndef OSIER_FUZZ_MODEL_H
#define OSIER_FUZZ_MODEL_H

#include "log.h"
#include "program.h"

enum model_verdict {
    MODEL_DONE,
    MODEL_STOPS,   /* nothing can ever run again, also after cancelling: the library would stop the program */
    MODEL_GIVES_UP /* too large for the model */
};

/*
 * Wrong models, to prove that what the library does wrong in the same way would be found: each is false to one rule.
 * 0 is none.
 */
enum model_error {
    WRONG_NOTHING,
    WRONG_SKIPS_A_CHILD,      /* a cancel does not reach the last scope inside another */
    WRONG_SHIELD_IGNORED,     /* by cancels */
    WRONG_SHIELD_HIDES_ALL,   /* its own cancellation too */
    WRONG_DEADLINE_IN_SHIELD, /* a deadline outside is felt inside */
    WRONG_SIBLINGS_LIVE,      /* the first error does not cancel */
    WRONG_SECOND_ERROR,       /* is dropped */
    WRONG_CUT_IS_ERROR,       /* a cancelled child is counted as none */
    WRONG_INNER_ABSORBS,      /* R20: the innermost cancelled scope instead of the outermost */
    WRONG_IGNORED_CUT,        /* R22 is not known */
    WRONG_DEADLINE_LATE,      /* now > deadline */
    WRONG_CUTS_FIRST,         /* deadlines are noticed before completions */
    WRONG_CUT_STAYS_QUEUED,   /* a waiter that was cut is still first in line */
    WRONG_LIFO_LOCK,
    WRONG_BARGING,            /* a permit that was given back can be taken before it is handed over */
    WRONG_SETS_WAKE_ONE,
    WRONG_BARRIER_KEEPS,      /* the place of who was cut */
    WRONG_ITEM_DROPPED,       /* at a shutdown that drains */
    WRONG_PRODUCER_SLEEPS,    /* a get does not let a waiting put in */
    WRONG_PUT_COUNTS,         /* a put that was cut counts as put */
    WRONG_JOIN_CANCELED,      /* joining a cancelled task gives -ECANCELED */
    WRONG_TWICE,              /* an error that was recorded is counted again */
    WRONG_FATAL_LOST,         /* R25: what nobody passed on is forgotten */
    WRONG_EAGER_QUEUES,
    WRONG_LIMIT,              /* one child more */
    WRONG_DAEMONS_KEPT,       /* daemons keep a group open */
    WRONG_LOSER_WINS,         /* a failed child wins under first success */
    WRONG_CLEANUPS_IN_ORDER,  /* instead of in reverse */
    WRONG_CLEANUP_CUT,        /* clean-ups have no shield */
    WRONG_GUARD_SILENT,       /* what a guard could not return is dropped */
    WRONG_START_ADOPTS,       /* a child that was not started fails the group */
    WRONG_HANDLE_LIVES,       /* a released handle still works */
    WRONG_BUDGET,             /* nobody has to let others run */
    WRONG_CAUSE,              /* a bare code has no cause */
    WRONG_NOTIFIED_CUT,       /* who was notified can still be cut */
    WRONG_SELECTS_LAST,       /* of several cases that can be done the last is */
    WRONG_SELECT_STAYS,       /* a select that is done still waits for its third queue */
    WRONG_TOTAL_WAKES_NOBODY, /* a limiter that has more permits lends none out */
    WRONG_FUTURE_ERROR,       /* who waits gets an error of its own */
    WRONG_WORK_GOES_ON,       /* though nobody waits for the future any more */
    WRONG_GATHER_ORDER,       /* what is kept stands in reverse */
    WRONG_TAKEN_BACK_RUNS,    /* a clean-up that was taken back runs */
    WRONG_VALUE_OUTSIDE,      /* what is bound in the innermost scope is not seen */
    WRONG_CALL_OUTLIVES,      /* a call comes though its scope is closed */
    WRONG_CALL_LATE,          /* by a tick */
    WRONG_POSTS_COALESCE,     /* a post is told once however often it was fired */
    WRONG_JOB_WITHDRAWN,      /* a job that has begun */
    WRONG_CUT_WROTE_ALL,      /* what of a cut write went out is not said */
    WRONG_CLOSE_UNTOLD,       /* who waits for a descriptor that is closed is not told */
    WRONG_BYTE_LOST,          /* a read that was cut takes one */
    WRONG_TWO_READERS,        /* or writers at one descriptor */
    WRONG_TRIES_FIRST,        /* also after less was read or written than was asked for */
    WRONG_TIME_BEFORE_BYTES,  /* time passes while a descriptor is ready */
    WRONG_LAST_WATCHED_FIRST, /* of several descriptors that are ready */
    WRONGS
};
extern enum model_error model_wrong;

/* R12: so many calls of a task finish at once before others run; 1: all calls let others run, the close of a group as well. */
extern unsigned model_budget;

/* Runs the program to its end and writes what must happen into `log`. */
enum model_verdict model_run(const struct program *program, struct log *log);

#endif
