/*
 * Attached runs: libev runs the loop, and the scheduler's hub takes its turns from there.
 *
 * A prepare watcher takes one turn in each iteration, after the callbacks of the last one and before libev looks at the
 * world again. Whether that may wait, and how long, is said by an idle watcher, active only as long as there is more to
 * do, and by a timer for the nearest deadline. All of the lowest priority, so that nobody of the program's comes late.
 */
#include <osier/attach.h>

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "8_run/run.h"
#include "8_run/tree.h"

struct attached {
    struct run run;
    struct osr_attachment *attachment;
    struct ev_loop *loop;
    ev_prepare prepare;
    ev_idle idle;   /* libev must not wait: there is more to do */
    ev_timer timer; /* nor longer than until the nearest deadline */
    unsigned since; /* the iteration in which it was attached */
    pid_t process;
    bool turning;   /* the hub has its turn */
    bool detaching; /* osr_detach() runs the loop, */
    unsigned depth; /* at this depth of ev_run() in ev_run() */
    osr_detached *done;
    void *done_arg;
};

/* ---- Watchers ---- */

static void wake_up(struct ev_loop *loop, ev_idle *idle, int events)
{
    (void)loop, (void)idle, (void)events; /* the turn is taken when libev prepares its next look */
}

static void deadline_came(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

static void stop_watchers(struct attached *attached)
{
    ev_prepare_stop(attached->loop, &attached->prepare);
    ev_idle_stop(attached->loop, &attached->idle);
    ev_timer_stop(attached->loop, &attached->timer);
}

/* Has libev wake up at the moment `at`. Set anew in each turn, so that it is right again after ev_suspend(). Whether it
 * has come already. */
static bool set_timer(struct attached *attached, int64_t at)
{
    int64_t left;

    ev_timer_stop(attached->loop, &attached->timer);
    if (at == OSR_NEVER)
        return false;
    if (__builtin_sub_overflow(at, osri_sys_clock(), &left) || left <= 0) /* the earliest moments are too long ago to count */
        return true;
    ev_now_update(attached->loop); /* from which libev counts */
    ev_timer_set(&attached->timer, (double)left * 1e-9, 0);
    ev_timer_start(attached->loop, &attached->timer);
    return false;
}

/* The turn is over: says how long libev may wait. */
static void settle(struct attached *attached)
{
    struct sched *sched = &attached->run.sched;
    bool hurry = set_timer(attached, osri_timers_next(&sched->timers));

    if (osri_loop_settle(sched) || !osri_is_idle(sched) || hurry)
        ev_idle_start(attached->loop, &attached->idle);
    else
        ev_idle_stop(attached->loop, &attached->idle);
}

/* ---- The end ---- */

/* Gives what the run gives, with the error in the thread's slot. */
static int finish(struct attached *attached)
{
    struct osr_attachment *attachment = attached->attachment;
    osr_detached *done = attached->done;
    void *done_arg = attached->done_arg;
    struct osr_error *error;
    int rc = osri_run_end(&attached->run);

    stop_watchers(attached);
    osri_run_close(&attached->run);
    free(attached);
    *attachment = (struct osr_attachment){.rc_ = rc}; /* which `done` may use again */
    if (!done)
        return rc;
    error = osr_error_retain(osr_error_last());
    done(done_arg, rc);
    osr_error_clear();
    if (error)
        osri_slot_put(osri_slot(), error);
    osri_slot()->code = rc < 0 ? rc : 0;
    return rc;
}

/* ---- Turns ---- */

/* The loop runs where the run is not: in a forked child, which is no fault, or in another thread. */
static void stray(struct attached *attached)
{
    if (attached->process == getpid())
        osri_die(&attached->run.sched, "osier: ev_run() in another thread than osr_attach()\n");
    stop_watchers(attached);
    osri_loop_abandon(&attached->run.sched);
}

/* Whether this is the moment for a turn. */
static bool may_turn(struct attached *attached)
{
    struct sched *sched = &attached->run.sched;

    if (osri_sched != sched) {
        stray(attached);
        return false;
    }
    if (sched->current)
        osri_die(sched, "osier: task \"%s\", spawned at %s, runs the loop that it is attached to\n", sched->current->name,
                 sched->current->where);
    if (attached->turning) { /* a call that the run makes has libev run the loop, which is told of watches all the same */
        (void)osri_loop_settle(sched);
        return false;
    }
    /* In the first iteration libev has yet to hear of what loop_ev.c has put on the loop. */
    return ev_iteration(attached->loop) != attached->since;
}

/* The root has ended, and osr_detach() does the rest, as soon as its own ev_run() has returned. One that the program has
 * nested in that goes on as the program likes. */
static void leave_loop(struct attached *attached)
{
    ev_idle_stop(attached->loop, &attached->idle);
    ev_timer_stop(attached->loop, &attached->timer);
    if (ev_depth(attached->loop) == attached->depth)
        ev_break(attached->loop, EVBREAK_ONE);
}

static void turn(struct attached *attached)
{
    struct sched *sched = &attached->run.sched;

    attached->turning = true;
    sched->calling_back = false;
    osri_fiber_adopt(&sched->hub, &sched->hub_lining, sched->tools);
    osri_turn(sched, 0);
    sched->calling_back = true; /* whatever else runs on this thread is the program's */
    attached->turning = false;
}

static void prepare_loop(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct attached *attached = container_of(prepare, struct attached, prepare);
    struct sched *sched = &attached->run.sched;

    (void)loop, (void)events;
    if (!may_turn(attached))
        return;
    turn(attached);
    if (!sched->finished)
        settle(attached);
    else if (attached->detaching)
        leave_loop(attached);
    else
        finish(attached);
}

/* ---- Attaching ---- */

static void start_watchers(struct attached *attached)
{
    ev_prepare_init(&attached->prepare, prepare_loop);
    ev_idle_init(&attached->idle, wake_up);
    ev_timer_init(&attached->timer, deadline_came, 0, 0);
    ev_set_priority(&attached->prepare, EV_MINPRI);
    ev_set_priority(&attached->idle, EV_MINPRI);
    ev_set_priority(&attached->timer, EV_MINPRI);
    ev_prepare_start(attached->loop, &attached->prepare);
    ev_idle_start(attached->loop, &attached->idle); /* libev may be about to poll: then this comes too late to prepare it */
}

static int attach(struct attached *attached, const struct osr_routine *routine, void *arg,
                  const struct osr_attach_options *options)
{
    struct osr_run_options run = options->run;
    int rc;

    run.size = run.size ? run.size : sizeof(run);
    if (run.clock != OSR_CLOCK_REAL)
        return -EINVAL;
    rc = osri_run_open(&attached->run, &run, attached->loop);
    if (rc < 0)
        return rc;
    rc = osri_run_begin(&attached->run, routine, arg, options->where);
    if (rc < 0) {
        osri_run_close(&attached->run);
        return rc;
    }
    attached->done = options->done;
    attached->done_arg = options->done_arg;
    attached->since = ev_iteration(attached->loop);
    attached->process = getpid();
    attached->run.sched.calling_back = true;
    start_watchers(attached);
    return 0;
}

static int attach_new(struct osr_attachment *attachment, struct ev_loop *loop, const struct osr_routine *routine, void *arg,
                      const struct osr_attach_options *options)
{
    struct attached *attached;
    int rc;

    if (osri_sched)
        return -EBUSY;
    if (!loop || !routine || !routine->run || options->size != sizeof(*options))
        return -EINVAL;
    attached = calloc(1, sizeof(*attached));
    if (!attached)
        return -ENOMEM;
    attached->attachment = attachment;
    attached->loop = loop;
    rc = attach(attached, routine, arg, options);
    if (rc < 0)
        free(attached);
    else
        attachment->run_ = attached;
    return rc;
}

int osr_attach_with(struct osr_attachment *attachment, struct ev_loop *loop, const struct osr_routine *routine, void *arg,
                    const struct osr_attach_options *given)
{
    const struct osr_attach_options options = given ? *given : (struct osr_attach_options){.size = sizeof(options)};
    int rc;

    if (!attachment)
        return osri_failed(-EINVAL, options.where);
    *attachment = (struct osr_attachment){0};
    rc = attach_new(attachment, loop, routine, arg, &options);
    attachment->rc_ = rc;
    return rc < 0 ? osri_failed(rc, options.where) : 0;
}

/* ---- Detaching ---- */

static void cancel_root(struct attached *attached, const char *text, const char *where)
{
    struct sched *sched = &attached->run.sched;
    struct child *root = osri_root(sched);

    if (root)
        osri_scope_cancel(sched, &root->scope, -ECANCELED, osri_who(), where, text);
}

int osr_attachment_cancel_here(struct osr_attachment *attachment, const char *text, const char *where)
{
    struct attached *attached = attachment ? attachment->run_ : NULL;

    if (!attachment)
        return osri_failed(-EINVAL, where);
    if (!attached)
        return osri_failed(-ESTALE, where);
    if (osri_sched != &attached->run.sched)
        return osri_failed(-EPERM, where);
    cancel_root(attached, text, where);
    return 0;
}

static int may_detach(const struct attached *attached)
{
    if (osri_sched != &attached->run.sched)
        return -EPERM;
    if (attached->turning)
        return -EDEADLK;
    return attached->detaching ? -EALREADY : 0;
}

/* What the program's callbacks break meanwhile is the ev_run() of the program's, not ours. */
static void run_to_the_end(struct attached *attached)
{
    bool broken = false;

    attached->detaching = true;
    attached->depth = ev_depth(attached->loop) + 1;
    while (!attached->run.sched.finished) {
        ev_run(attached->loop, 0);
        broken |= !attached->run.sched.finished;
    }
    if (broken)
        ev_break(attached->loop, EVBREAK_ALL);
}

int osr_detach_here(struct osr_attachment *attachment, const char *text, const char *where)
{
    struct attached *attached = attachment ? attachment->run_ : NULL;
    int rc;

    if (!attachment)
        return osri_failed(-EINVAL, where);
    if (!attached)
        return attachment->rc_ < 0 ? osri_failed(attachment->rc_, where) : attachment->rc_;
    rc = may_detach(attached);
    if (rc < 0)
        return osri_failed(rc, where);
    cancel_root(attached, text, where);
    run_to_the_end(attached);
    return finish(attached);
}

/* ---- Runners ---- */

struct ev_loop *osr_runner_loop(struct osr_runner *runner)
{
    return runner && osri_runner_is_ours(runner) ? osri_loop_share(&runner->run.sched) : NULL;
}
