/*
 * Tasks that wait for primitives, for the targets that compare these with plain models. A director, which is the root
 * task, tells one actor at a time to make a call; the actor does so in a scope of its own, which can be cancelled or
 * has a limit. The model of a call says what it gives, or that it waits in one or more lines; whatever comes to pass
 * later in a line, of whomever's doing, is said there. After each step everything is compared.
 */
#ifndef OSIER_FUZZ_ACTORS_H
#define OSIER_FUZZ_ACTORS_H

#include "target.h"

#include <osier.h>

enum { ACTORS = 6, WAITS = 1 << 20 };

/* What all of these targets can be wrong about: the first of their `wrongs`. */
#define WRONG_IN_LINES "the last in a line is served first", "who was cut stays in line"
enum { WRONG_LAST_FIRST = 1, WRONG_STAYS, WRONG_OWN };

struct actor {
    /* What it is to do, and what came of it. */
    unsigned call, object, which, count;
    int64_t limit, until;
    bool tries;   /* a call that cannot be cut */
    bool refused; /* its scope is cancelled before */
    bool shielded; /* its scope is a shield, which hides nothing of its own */
    int rc;

    /* Of the library. */
    struct osr_waiters mailbox;
    struct osr_scope scope;
    bool performs;

    /* Of the model. */
    bool busy, known; /* it has been told; what comes of it is known */
    bool uncut;       /* cancellations do not reach it any more */
    int result;
    int64_t due, timeout;  /* when it is cut; when the call itself gives up */
    uint64_t due_turn, timeout_turn;
    bool queued;           /* it runs before it is done: then play->resume() says what it does */
};

struct play {
    void (*open)(struct input *input);
    void (*step)(struct input *input);        /* of the director */
    int (*perform)(struct actor *actor);      /* its call */
    int (*expect)(struct actor *actor);       /* the same on the model: what it gives, or WAITS */
    void (*cut)(struct actor *actor);         /* has been cut: what else that means; or NULL */
    void (*resume)(struct actor *actor);      /* or NULL */
    void (*done)(struct actor *actor);        /* it is, and its rc is right: what else must be; or NULL */
    void (*compare)(void);
    void (*close)(void);                      /* nobody waits any more */
};

extern struct actor actors[ACTORS];

/* Runs the play along the input. */
void actors_play(const struct play *play, const unsigned char *bytes, size_t size);

/* Tells the actor to make its call, with what has been filled in, under a limit from the input. */
void actor_told(struct actor *actor, struct input *input);

/* An actor that has nothing to do, NULL if there is none. */
struct actor *idle_actor(struct input *input);

/* The model's time. */
int64_t actors_now(void);

/* ---- Lines, of the model ---- */

void line_join(unsigned line, struct actor *actor, unsigned which);
/* Who has waited longest, NULL if nobody does; `which` may be NULL. */
struct actor *line_first(unsigned line, unsigned *which);
unsigned line_count(unsigned line);
/* The actor leaves all lines, and its call gives `result`. */
void actor_served(struct actor *actor, int result);
/* The actor leaves all lines, but its call is not over. */
void actor_leaves(struct actor *actor);

#endif
