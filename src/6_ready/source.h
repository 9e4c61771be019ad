/*
 * Sources: what the references refer to by which other threads and signal handlers enter a run, posts and portals.
 * They live in a table of the process that only grows, so that a reference of any age can be looked up, and its
 * generation tells whether it still means something.
 *
 * A source has bells. Whoever rings one counts it in the very word that holds the generation, so nothing can come in
 * between; the first to ring puts the bell's own parcel into the inbox of the run. So ringing takes no lock and no
 * memory, and a source whose bell is rung is not used for anything else until the loop has heard it. It is heard
 * by the hub, like all that runs functions of the program outside tasks; but one that does no more than wake who
 * waits is heard in the look itself, before anything that is due is cancelled.
 */
#ifndef OSIER_READY_SOURCE_H
#define OSIER_READY_SOURCE_H

#include <osier/post.h>

#include "3_scope/scope.h"
#include "6_ready/inbox.h"

struct bell {
    _Atomic uint64_t word; /* generation << 32 | how often it was rung and not heard; an odd generation: open */
    struct parcel parcel;
    struct due due; /* in which it is heard */
};

enum bell_kind { BELL, CANCEL_BELL, BELLS };

/* The loop's own, but for what is atomic and what another comment says. */
struct source {
    struct bell bells[BELLS];
    atomic_uint process;           /* in which it was opened */
    _Atomic(struct inbox *) inbox; /* of its run */
    uint32_t index;
    bool wakes_only;     /* `heard` runs no function of the program's; to be set before the first ring */
    unsigned unheard;    /* bells that had been rung when it was closed */
    struct source *next; /* of those that are free */

    struct sched *sched;
    struct osr_bound_ bound;
    void (*heard)(struct source *source, enum bell_kind kind, unsigned rings);
    void *target; /* the scope or group that it is for */
    osr_posted *posted;
    void *arg;
    const char *text, *where; /* of the cancel */
    const char *rung_text, *rung_where; /* they belong to the first who rings CANCEL_BELL, until it is heard */
    struct call *calls, **last_call; /* what has come through a portal; under the inbox's lock */
    struct osr_list_ placeless;      /* of them, those that wait for a place in the group */
};

/* A source for the run, bound to `scope`, whose close calls `leave`. The rest is for the caller to fill in. NULL with a
 * code: -ENOMEM, -EMFILE, -ENFILE. */
struct source *osri_source_open(struct sched *sched, struct osr_scope *scope, void (*leave)(struct osr_bound_ *bound),
                                int *code);

/* The reference to it, as long as it is open. */
uint64_t osri_source_id(const struct source *source);

/* On the run's own thread: what was rung is not heard any more, and the source is no longer bound. It is gone then. */
void osri_source_close(struct source *source);

/* From any thread: what `id` refers to, or has referred to. NULL with -ESTALE; with -EPERM in a forked child. */
struct source *osri_source_find(uint64_t id, int *code);

/* Whether `id` still refers to it. What this answers stays so only on its run's own thread, or under a lock. */
bool osri_source_is(const struct source *source, uint64_t id);

/* On its run's own thread: what `id` refers to; NULL with -ESTALE, -EPERM. */
struct source *osri_source_of_ours(uint64_t id, int *code);

/* Rings a bell, from any thread and from signal handlers; text and place are for CANCEL_BELL. 0; -ESTALE; -EPERM. */
int osri_source_ring(uint64_t id, enum bell_kind kind, const char *text, const char *where);

#endif
