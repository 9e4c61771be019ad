/*
 * futures: a result that callback code has to give, and tasks wait for: the bridge to libraries with callbacks.
 *
 *     make examples && build/gcc/examples/futures [--simulated]
 *     cc futures.c $(pkg-config --cflags --libs osier)
 *
 * A callback completes a future; callbacks are called when one is done; and a whole bridge, to a library that looks
 * names up: when nobody waits for its answer any more, its work is cancelled too.
 */
#include "example.h"

/* ---- A future that a callback completes ---------------------------------------------------------------- */

static void complete(void *future)
{
    say("callback: completing the future");
    osr_future_complete(future, (void *)"the result");
}

static int wait_for_one(void)
{
    struct osr_future future;
    struct osr_call soon = {0};
    void *value;
    int rc;

    osr_future_init(&future, NULL, NULL);
    rc = osr_call_soon(&soon, complete, &future); /* runs as soon as this task waits */
    if (rc == 0) {
        say("task: waiting");
        rc = osr_future_wait(&future, &value);
    }
    if (rc == 0)
        say("task: it is %s", (const char *)value);
    osr_call_cancel(&soon);
    osr_future_destroy(&future);
    return rc;
}

/* ---- Callbacks on a future ----------------------------------------------------------------------------- */

struct listener {
    int number;
    struct osr_future *future;
    struct osr_call call;
};

static void hear(void *arg)
{
    struct listener *listener = arg;
    void *value;

    if (osr_future_result(listener->future, &value) == 0)
        say("listener %d: it is %s", listener->number, (const char *)value);
}

static int tell_listeners(void)
{
    struct osr_future future;
    struct listener first = {.number = 1, .future = &future}, second = {.number = 2, .future = &future};
    int rc;

    osr_future_init(&future, NULL, NULL);
    rc = osr_future_on_done(&future, &first.call, hear, &first);
    if (rc == 0)
        rc = osr_future_on_done(&future, &second.call, hear, &second);
    if (rc == 0)
        rc = osr_future_complete(&future, (void *)"the news");
    if (rc == 0)
        rc = osr_yield(); /* they are called as soon as this task lets go */
    osr_call_cancel(&first.call);
    osr_call_cancel(&second.call);
    osr_future_destroy(&future);
    return rc;
}

/* ---- A library with callbacks, as one finds them ------------------------------------------------------- */

struct lookup {
    const char *name;
    void (*answered)(void *arg, const char *address);
    void *arg;
    struct osr_call timer; /* this one takes two seconds for everything */
};

static void answer(void *arg)
{
    struct lookup *lookup = arg;

    lookup->answered(lookup->arg, strcmp(lookup->name, "example.org") == 0 ? "192.0.2.1" : NULL);
}

static int lookup_begin(struct lookup *lookup) { return osr_call_later(&lookup->timer, osr_s(2), answer, lookup); }

static void lookup_cancel(void *lookup)
{
    say("library: the lookup of %s is cancelled", ((struct lookup *)lookup)->name);
    osr_call_cancel(&((struct lookup *)lookup)->timer);
}

/* ---- The bridge to it ---------------------------------------------------------------------------------- */

static void have_answer(void *arg, const char *address)
{
    if (address)
        osr_future_complete(arg, (void *)address);
    else
        osr_future_fail(arg, -ENOENT, "there is no such name");
}

/* Looks the name up: a call that waits, like any other of the library; cut by a time limit or a cancellation, too. */
static int look_up(const char *name, const char **address)
{
    struct osr_future future;
    struct lookup lookup = {.name = name, .answered = have_answer, .arg = &future};
    void *value;
    int rc;

    osr_future_init(&future, lookup_cancel, &lookup);
    rc = lookup_begin(&lookup);
    if (rc == 0)
        rc = osr_future_wait(&future, &value);
    if (rc == 0)
        *address = value;
    osr_future_destroy(&future);
    return rc;
}

static int look_up_within(int64_t duration, const char *name)
{
    const char *address = NULL;
    struct osr_scope limit;
    int rc;

    osr_timeout_open(&limit, duration);
    rc = osr_scope_close(&limit, look_up(name, &address));
    if (rc == 0)
        say("%s is %s", name, address);
    else
        say("%s: %s", name, osr_error_message(osr_error_last()));
    return rc;
}

static int program(void)
{
    int rc;

    say("-- a future that a callback completes");
    rc = wait_for_one();
    if (rc == 0) {
        say("-- callbacks on a future");
        rc = tell_listeners();
    }
    if (rc < 0)
        return rc;
    say("-- a library with callbacks");
    rc = look_up_within(osr_s(5), "example.org");
    if (rc == 0 || rc == -ETIMEDOUT)
        rc = look_up_within(osr_s(5), "example.nowhere");
    if (rc == -ENOENT || rc == -ETIMEDOUT)
        rc = look_up_within(osr_s(1), "example.org");
    return rc == -ETIMEDOUT ? 0 : rc;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
