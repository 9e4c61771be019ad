#include "4_group/group.h"
#include "6_ready/source.h"

#include <stdlib.h>
#include <string.h>

#include "3_scope/call.h"
#include "3_scope/slot.h"

/*
 * What comes through a portal: a post, which is in memory of its own, or a call, in the frame of the thread that
 * waits for it. They stand in the portal's queue, under the lock of the inbox; the bell only says how many have come.
 * So whoever closes the portal has them all at hand, and nobody waits for ever.
 */
struct call {
    struct call *next;
    void (*run)(void *arg); /* of a post; NULL: a call */
    void *arg;

    const struct osr_routine *routine;
    const char *where;
    struct inbox *inbox;
    struct osr_group *group;
    struct osr_wait place;     /* for a place in the group */
    struct osr_list_ placeless; /* in the portal's list */
    struct osr_outcome outcome; /* of the task */
    pthread_cond_t answered;
    bool done;
    int rc;
    bool failed; /* of a call: with an error, of which this is the place, and the words are below */
    const char *error_where;
    char *message; /* NULL: there was no memory for them */
};

/* ---- Answers ---- */

static void answer(struct call *call, int rc)
{
    struct inbox *inbox = call->inbox;

    pthread_mutex_lock(&inbox->lock);
    call->rc = rc;
    call->done = true;
    pthread_cond_signal(&call->answered);
    pthread_mutex_unlock(&inbox->lock); /* the call is gone from here on */
}

static void drop(struct call *call)
{
    if (call->run)
        free(call);
    else
        answer(call, -ESTALE);
}

/* ---- On the loop ---- */

static int run_call(void *arg)
{
    struct call *call = arg;

    return call->routine->run(call->arg);
}

/* In memory of no run's. */
static char *words_of(const struct osr_error *error)
{
    const struct memory memory = {osri_malloc_allocator, &osri_sched->door};
    const char *message = osr_error_message(error);
    bool tree = osr_error_is_group(error);
    size_t size = (tree ? osr_error_format(error, NULL, 0) : strlen(message)) + 1;
    char *words = osri_alloc(&memory, size);

    if (words && tree)
        osr_error_format(error, words, size);
    else if (words)
        memcpy(words, message, size);
    return words;
}

/* The error is the calling thread's, which belongs to no run: it gets its words, of an exception group the whole tree. */
static void hand_over(struct call *call, struct osr_error *error)
{
    call->failed = true;
    call->error_where = osr_error_where(error);
    call->message = words_of(error);
    osr_error_release(error);
}

/* The group counts it like any child whose error is a result. */
static void call_ended(struct child *child, struct outcome outcome)
{
    struct call *call = child->task.arg;

    osri_group_child_ended(child, outcome);
    if (call->outcome.error)
        hand_over(call, call->outcome.error);
    answer(call, call->outcome.rc);
}

static void begin(struct call *call)
{
    const struct osr_routine routine = {run_call, call->routine->name, call->where};
    const struct osr_spawn_options options = {.size = sizeof(options), .where = call->where, .outcome = &call->outcome};
    int rc = osri_spawn_placed(osri_sched, call->group, &routine, call, &options, call_ended);

    if (rc < 0)
        answer(call, rc);
}

static void got_place(struct osr_wait *wait)
{
    struct call *call = container_of(wait, struct call, place);
    struct slot *slot = osri_slot(), kept = *slot; /* of whoever made the place */

    list_remove(&call->placeless);
    *slot = (struct slot){0};
    begin(call);
    osri_slot_clear(slot);
    *slot = kept;
}

static void ask_place(struct source *source, struct call *call)
{
    int rc;

    call->group = source->target;
    wait_init_call(&call->place, got_place);
    rc = osri_group_ask_place(source->sched, call->group, &call->place);
    if (rc > 0)
        begin(call);
    else if (rc == 0)
        list_append(&source->placeless, &call->placeless);
    else
        answer(call, rc == -OSR_ECLOSED ? -ESTALE : rc);
}

/* The next that has come, NULL if there is none or the portal has been closed. */
static struct call *next_call(struct source *source, struct inbox *inbox, uint64_t id)
{
    struct call *call = NULL;

    if (!osri_source_is(source, id))
        return NULL;
    pthread_mutex_lock(&inbox->lock);
    call = source->calls;
    if (call)
        source->calls = call->next;
    if (!source->calls)
        source->last_call = &source->calls;
    pthread_mutex_unlock(&inbox->lock);
    return call;
}

/* Takes no more than were there when the bell was heard: a post that posts again would keep the loop for ever. */
static void heard(struct source *source, enum bell_kind kind, unsigned rings)
{
    struct inbox *inbox = atomic_load(&source->inbox);
    const struct sched *sched = source->sched;
    uint64_t id = osri_source_id(source);
    struct call *call;

    if (kind == CANCEL_BELL) {
        struct osr_group *group = source->target;

        osri_scope_cancel(source->sched, &group->scope, -ECANCELED, osri_who(), source->where, source->text);
        return;
    }
    while (rings-- > 0 && (call = next_call(source, inbox, id)) != NULL) {
        if (!call->run) {
            ask_place(source, call);
        } else {
            call->run(call->arg);
            osri_called_back(sched);
            free(call);
        }
    }
}

/* ---- Opening and closing ---- */

static void drop_placeless(struct source *source)
{
    struct osr_list_ *node;

    while ((node = list_pop(&source->placeless)) != NULL) {
        struct call *call = container_of(node, struct call, placeless);

        wait_drop(&call->place);
        drop(call);
    }
}

static void close_portal(struct source *source)
{
    struct inbox *inbox = atomic_load(&source->inbox);
    struct call *call;

    drop_placeless(source);
    pthread_mutex_lock(&inbox->lock);
    call = source->calls;
    osri_source_close(source);
    pthread_mutex_unlock(&inbox->lock);
    while (call) {
        struct call *next = call->next;

        drop(call);
        call = next;
    }
}

static void leave(struct osr_bound_ *bound)
{
    close_portal(container_of(bound, struct source, bound));
}

int osr_portal_open_here(struct osr_portal *portal, struct osr_group *group, const char *where)
{
    struct task *task = osri_current();
    struct source *source;
    int rc;

    if (!portal)
        return osri_failed(-EINVAL, where);
    *portal = (struct osr_portal){0};
    rc = task ? osri_scope_may_touch(group ? &group->scope : NULL) : -EPERM;
    if (rc == 0 && group->scope.form_ != SCOPE_GROUP)
        rc = -EINVAL;
    if (rc < 0)
        return osri_failed(rc, where);
    source = osri_source_open(task->sched, &group->scope, leave, &rc);
    if (!source)
        return osri_task_failed(task, rc, where);
    source->heard = heard;
    source->target = group;
    list_init(&source->placeless);
    portal->id_ = osri_source_id(source);
    return 0;
}

int osr_portal_close(struct osr_portal *portal)
{
    struct source *source;
    int rc;

    if (!portal)
        return osri_failed(-EINVAL, NULL);
    source = osri_source_of_ours(portal->id_, &rc);
    if (!source)
        return osri_failed_or_late(rc, NULL);
    close_portal(source);
    *portal = (struct osr_portal){0};
    return 0;
}

/* ---- From other threads ---- */

/* Looks the portal up and takes the lock under which it stays open: 0 or a code. */
static int enter(struct osr_portal portal, struct source **source, struct inbox **inbox)
{
    int rc;

    *inbox = NULL;
    *source = osri_source_find(portal.id_, &rc);
    if (!*source)
        return rc;
    *inbox = atomic_load(&(*source)->inbox);
    pthread_mutex_lock(&(*inbox)->lock);
    if (osri_source_is(*source, portal.id_))
        return 0;
    pthread_mutex_unlock(&(*inbox)->lock);
    return -ESTALE;
}

static void queue(struct source *source, struct call *call)
{
    call->next = NULL;
    *source->last_call = call;
    source->last_call = &call->next;
}

int osr_portal_post(struct osr_portal portal, void (*run)(void *arg), void *arg)
{
    struct source *source;
    struct inbox *inbox;
    struct call *post;
    int rc;

    if (!run)
        return osri_failed(-EINVAL, NULL);
    post = calloc(1, sizeof(*post));
    if (!post)
        return osri_failed(-ENOMEM, NULL);
    post->run = run;
    post->arg = arg;
    rc = enter(portal, &source, &inbox);
    if (rc < 0) {
        free(post);
        return osri_failed(rc, NULL);
    }
    queue(source, post);
    pthread_mutex_unlock(&inbox->lock);
    /* Or it was closed just now; the post may have been called before that, for a bell that others had rung. */
    (void)osri_source_ring(portal.id_, BELL, NULL, NULL);
    return 0;
}

static int wait_for_answer(struct call *call, struct inbox *inbox)
{
    int state;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* the call is in this frame */
    pthread_mutex_lock(&inbox->lock);
    while (!call->done)
        pthread_cond_wait(&call->answered, &inbox->lock);
    pthread_mutex_unlock(&inbox->lock);
    (void)pthread_setcancelstate(state, NULL);
    return call->rc;
}

/* Puts the call into the queue: 0 or a code. */
static int send(struct osr_portal portal, struct call *call)
{
    struct source *source;
    int rc = enter(portal, &source, &call->inbox);

    if (rc < 0)
        return rc;
    if (osri_is_own_thread(source->sched))
        rc = -EDEADLK;
    else
        queue(source, call);
    pthread_mutex_unlock(&call->inbox->lock);
    if (rc == 0)
        (void)osri_source_ring(portal.id_, BELL, NULL, NULL); /* or it was closed just now, and has been answered */
    return rc;
}

int osr_portal_call_with(struct osr_portal portal, const struct osr_routine *routine, void *arg, const char *where)
{
    struct call call = {.arg = arg, .routine = routine, .where = where};
    int rc;

    if (!routine || !routine->run)
        return osri_failed(-EINVAL, where);
    pthread_cond_init(&call.answered, NULL);
    list_init(&call.placeless);
    rc = send(portal, &call);
    if (rc == 0)
        rc = wait_for_answer(&call, call.inbox);
    pthread_cond_destroy(&call.answered);
    if (call.failed)
        osr_fail_here(call.error_where, rc, "%s", call.message ? call.message : osr_strerror(rc));
    else if (rc < 0)
        osri_failed(rc, where);
    free(call.message);
    return rc;
}

int osr_portal_cancel_here(struct osr_portal portal, const char *text, const char *where)
{
    return osri_source_ring(portal.id_, CANCEL_BELL, text, where);
}
