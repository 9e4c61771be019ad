/* What the loop calls, what comes from outside, jobs, and values. */
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "interpreter/state.h"
#include "pipes.h"

/* ---- Values ---- */

static const char keys[KEYS];

static int64_t value_of_key(unsigned key)
{
    return (intptr_t)osr_value(&keys[key % KEYS]);
}

int use_value(int index)
{
    const struct statement *at = statement(index);

    if (at->op == OP_VALUE) {
        note_value(VALUE_BOUND, value_of_key(at->a), 0);
        return 0;
    }
    if (machine.binding_count == MOST_BINDINGS)
        return 0;
    machine.binding_count++;
    return osr_bind(&machine.bindings[machine.binding_count - 1], &keys[at->a % KEYS],
                    number_as_pointer((int)machine.binding_count));
}

/* ---- What calls and posts do ---- */

static void come(void *arg);

static int do_deed(struct callback *callback, bool post)
{
    const struct statement *at = statement(callback->statement);
    const char *place = place_of(callback->statement, false);
    unsigned operand = at->b >> 3;
    struct osr_scope *scope;

    switch (deed_of(at)) {
    case SETS:
        return osr_event_set(&machine.events[operand % EVENTS]);
    case GIVES:
        machine.given[operand % SEMAPHORES]++;
        if (osr_semaphore_release(&machine.semaphores[operand % SEMAPHORES]) == 0)
            return 0;
        machine.given[operand % SEMAPHORES]--;
        return -EOVERFLOW;
    case COMPLETES:
        return settle_future(&machine.futures[operand % FUTURES], COMPLETE, at, place);
    case FAILS:
        return settle_future(&machine.futures[operand % FUTURES], FAIL, at, place);
    case CANCELS:
    case UNSHIELDS:
        scope = machine.open_scopes[pick_of((unsigned char)operand, machine.open_scope_count)];
        return deed_of(at) == CANCELS ? osr_scope_cancel_here(scope, "by a call", place) : osr_scope_unshield(scope);
    case READS:
        if (!post)
            note_value(VALUE_BOUND, value_of_key(operand), 0);
        return 0;
    default:
        return post || callback->again++ >= 2 ? 0 : osr_call_later(&callback->call, duration_in_run(1), come, callback);
    }
}

/* It runs on no task. */
static void told(struct callback *callback, bool post, unsigned count)
{
    const struct callback *first = post ? machine.posts : machine.calls;
    unsigned running = machine.running;

    machine.running = 0;
    note_value(post ? VALUE_POSTED : VALUE_CALLED, callback - first, (int)count);
    note_value(VALUE_RESULT, 0, do_deed(callback, post));
    machine.running = running;
}

/* ---- Calls ---- */

static void come(void *arg)
{
    told(arg, false, 0);
}

int use_call(int index)
{
    const struct statement *at = statement(index);
    struct osr_call none = {0};
    struct callback *callback;

    if (at->op == OP_CALL_BACK)
        return osr_call_cancel(machine.call_count ? &machine.calls[pick_of(at->a, machine.call_count)].call : &none);
    if (machine.call_count == MOST_CALLS)
        return 0;
    callback = &machine.calls[machine.call_count++];
    *callback = (struct callback){.statement = index};
    switch (when_of(at)) {
    case SOON:
        return osr_call_soon(&callback->call, come, callback);
    case LATER:
        return osr_call_later(&callback->call, duration(at->a >> 3), come, callback);
    case AT:
        return osr_call_at(&callback->call, moment(at->a >> 3), come, callback);
    default:
        return osr_future_on_done(&machine.futures[(at->a >> 3) % FUTURES], &callback->call, come, callback);
    }
}

/* ---- Posts ---- */

/* Whoever waits is cut. */
static void end_all(const struct callback *callback)
{
    unsigned i;

    for (i = 0; i < machine.open_scope_count; i++)
        (void)osr_scope_cancel_here(machine.open_scopes[i], "nobody fires", place_of(callback->statement, false));
}

static void posted(void *arg, unsigned count)
{
    if (machine.abandoned)
        end_all(arg);
    else
        told(arg, true, count);
}

/* A program that goes another way than was meant, for want of memory, may wait for a post that nobody fires, or for bytes.
 * The library would wait for ever then, and the program is brought to its end; or be it that it cannot wait, again for want
 * of memory. So the calls by which it waits in simulated time are stood in for. */
static bool waits_in_vain(void)
{
    unsigned i;

    if (machine.world > WORLD_ALONE || !machine.begun || interpreter_fault.at == 0)
        return false;
    machine.abandoned = true;
    if (machine.program->streams)
        streams_stir();
    for (i = 0; i < machine.post_count; i++)
        (void)osr_post_fire(machine.posts[i].post);
    return true;
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    if (timeout < 0)
        (void)waits_in_vain();
    return pipes_poll(fds, count, timeout);
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    if (waits_in_vain())
        return 0;
    return (int)syscall(SYS_nanosleep, time, left);
}

int use_post(int index)
{
    const struct statement *at = statement(index);
    struct osr_post none = {0};
    struct callback *callback = NULL;

    if (at->op != OP_POST) {
        if (machine.post_count)
            callback = &machine.posts[pick_of(at->a, machine.post_count)];
        if (at->op == OP_FIRE)
            return osr_post_fire(callback ? callback->post : none);
        return osr_post_close(callback ? &callback->post : &none);
    }
    if (machine.post_count == MOST_POSTS)
        return 0;
    callback = &machine.posts[machine.post_count++];
    *callback = (struct callback){.statement = index};
    return osr_post_open_here(&callback->post, posted, callback, place_of(index, false));
}

/* ---- Jobs ---- */

static int do_job(struct callback *job)
{
    const struct statement *at = statement(job->statement);

    switch (work_of(at)) {
    case JOB_GIVES:
        return at->a >> 2 & 3;
    case JOB_FAILS:
        return osr_fail_here(place_of(job->statement, false), code_of(at->a >> 2), "by the job");
    case JOB_CHECKS:
        return osr_job_check();
    default:
        return -ECANCELED;
    }
}

static int run_job(void *arg)
{
    struct callback *job = arg;
    unsigned running = machine.running;
    int rc;

    machine.running = 0;
    note_value(VALUE_JOB, job - machine.jobs, 0);
    rc = do_job(job);
    machine.running = running;
    return rc;
}

static void abandoned(void *arg, int rc)
{
    struct callback *job = arg;
    unsigned running = machine.running;

    machine.running = 0;
    note_value(VALUE_ABANDONED, job - machine.jobs, rc);
    machine.running = running;
}

int offload(int index)
{
    static const struct osr_routine routine = {run_job, "job", NULL};
    struct osr_offload_options options = {.size = sizeof(options), .where = place_of(index, false)};
    struct callback *job;

    if (machine.job_count == MOST_JOBS)
        return 0;
    job = &machine.jobs[machine.job_count++];
    *job = (struct callback){.statement = index};
    if (may_be_left(statement(index)))
        options.abandon = abandoned;
    return osr_offload_with(&routine, job, &options);
}
