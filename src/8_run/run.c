#include "8_run/run.h"

#include <assert.h>
#include <stdlib.h>

#include "0_base/text.h"
#include "2_sched/wait.h"
#include "3_scope/call.h"
#include "6_ready/fd.h"
#include "6_ready/offload.h"
#include "8_run/audit.h"
#include "8_run/leaks.h"
#include "8_run/trace.h"
#include "8_run/tree.h"

enum { STACK_SIZE = 1 << 16, LEAST_STACK = 1 << 14, SPARE_STACKS = 1024 };

/* In milliseconds, as in asyncio's debug mode. */
enum { SLOW_STEP = 100 };

/* A run promises an error for the first fatal one, and two to put it beside what the root returned. */
enum { RUN_ERRORS = 2 };

static struct run *run_of(struct sched *sched)
{
    return container_of(sched, struct run, sched);
}

/* ---- Options ---- */

static size_t power_of_two(size_t size)
{
    size_t power = LEAST_STACK;

    while (power < size)
        power *= 2;
    return power;
}

/* How long a step may take. Under simulated time none takes any, and reading a clock would be for nothing. */
static int64_t longest_step(const struct osr_run_options *options)
{
    if (options->clock == OSR_CLOCK_SIMULATED || (options->slow_step == 0 && !options->debug))
        return OSR_NEVER;
    return options->slow_step ? options->slow_step : osr_ms(SLOW_STEP);
}

/* So that no number of bytes in a slab of them overflows. */
static const size_t most_stack = SIZE_MAX / 64;

/* Copies what was given over what is meant by leaving it out. 0 or -EINVAL. */
static int complete(struct osr_run_options *options, const struct osr_run_options *given)
{
    *options = (struct osr_run_options){.size = sizeof(*options)};
    if (given)
        *options = *given;
    if (options->size != sizeof(*options) || options->stack_size > most_stack ||
        (options->clock != OSR_CLOCK_REAL && options->clock != OSR_CLOCK_SIMULATED) || options->slow_step < 0 ||
        (options->allocator && !options->allocator->resize) ||
        (options->dump_signal && !osri_signal_bit(options->dump_signal)))
        return -EINVAL;
    options->stack_size = power_of_two(options->stack_size ? options->stack_size : STACK_SIZE);
    options->spare_stacks = options->spare_stacks ? options->spare_stacks : SPARE_STACKS;
    options->slow_step = longest_step(options);
    return 0;
}

/* ---- What stops a run ---- */

/* In the signal handler, on its own stack: nothing here takes memory or locks. */
static void explain_fault(const void *address)
{
    struct sched *sched = osri_sched;
    struct task *task = sched ? sched->current : NULL;
    const char *low = task ? task->lining.low : NULL, *at = address;
    char line[512];

    if (!task || at >= low || at < low - sched->stacks.guard)
        return;
    snprintf(line, sizeof(line),
             "osier: stack overflow in task \"%s\", spawned at %s: its stack of %zu bytes is used up; give the run "
             "a larger .stack_size\n",
             task->name, task->where, sched->stacks.size);
    sched->diagnose(sched->diagnose_arg, OSR_DIAGNOSIS_OVERFLOW, line);
}

/* The same place. What happened before a fault, of whatever kind, is what the timeline is wanted for. */
static void meet_fault(const void *address)
{
    explain_fault(address);
    if (osri_sched)
        osri_trace_save(osri_sched);
}

void osr_fault_report(const void *address)
{
    if (osri_sched && run_of(osri_sched)->options.no_overflow_handler)
        meet_fault(address);
}

/* Nothing can run, and nothing will ever change that: the root is cancelled, once. */
static void stuck(struct sched *sched)
{
    struct run *run = run_of(sched);
    struct child *root = osri_root(sched);
    char *tree = osri_tree_string(sched);
    struct osr_error *error;

    if (run->stuck)
        osri_die(sched, "osier: nothing can ever run again, and cancelling has not helped:\n%s", tree ? tree : "");
    run->stuck = true;
    osri_fatal_prepare(sched);
    error = osri_error_new(sched, -OSR_EDEADLOCK, root->task.where, root->task.name);
    if (error) {
        osri_error_say(error, "nothing can ever run again:\n%s", tree ? tree : "(no memory for the tree)");
        osri_fatal_remember(sched, error);
    }
    osri_free(&sched->memory, tree);
    osri_scope_cancel(sched, &root->scope, -OSR_EDEADLOCK, "", root->task.where, "nothing could run any more");
    if (run_queue_is_empty(&sched->ready) && list_empty(&sched->jobs))
        stuck(sched);
}

/* The door says that a task, or all of them, are cancelled just before this call. */
static void inject_cancel(struct sched *sched, struct task *task, bool root, const char *where)
{
    struct child *whom = root ? osri_root(sched) : child_of(task);

    osri_scope_cancel(sched, &whom->scope, -ECANCELED, "", where, "injected by the test");
}

/* ---- Opening and closing ---- */

/* What a run consists of, floor by floor. */
static const struct {
    int (*open)(struct sched *sched);
    void (*close)(struct sched *sched);
} parts[] = {
    {osri_errors_open, osri_errors_close},
    {osri_records_open, osri_records_close},
    {osri_descriptors_open, osri_descriptors_close},
    {osri_inbox_open, osri_inbox_close},
    {osri_jobs_open, osri_jobs_close},
};

static void close_parts(struct sched *sched, size_t count)
{
    while (count-- > 0)
        parts[count].close(sched);
}

static int open_parts(struct sched *sched)
{
    size_t count;
    int rc;

    for (count = 0; count < sizeof(parts) / sizeof(parts[0]); count++) {
        rc = parts[count].open(sched);
        if (rc < 0) {
            close_parts(sched, count);
            return rc;
        }
    }
    return 0;
}

static int open_run(struct run *run)
{
    int rc = open_parts(&run->sched);

    if (rc < 0)
        return rc;
    rc = run->options.no_overflow_handler ? 0 : osri_overflow_open(&run->overflow, meet_fault);
    if (rc < 0)
        close_parts(&run->sched, sizeof(parts) / sizeof(parts[0]));
    else
        osri_trace_open(&run->sched, &run->options);
    return rc;
}

static void close_run(struct run *run, const struct slot *result)
{
    struct sched *sched = &run->sched;

    osri_overflow_close(&run->overflow);
    if (sched->debug)
        osri_leaks_tell(sched, result);
    osri_trace_close(sched);
    close_parts(sched, sizeof(parts) / sizeof(parts[0])); /* the inbox may have a timer until then */
    assert(sched->timers.count == 0);
    osri_sched = NULL;
}

/* ---- Running ---- */

static void root_ended(struct child *root, struct outcome outcome)
{
    struct sched *sched = root->task.sched;

    run_of(sched)->outcome = outcome;
    if (root->scope.cancelled_at_)
        run_of(sched)->reason = root->scope.reason_;
    sched->floors[8] = NULL;
    sched->calling = NULL;
    sched->finished = true;
    sched->steps = 1; /* the hub is next */
}

/* Errors are set aside that a run may need in the end. */
static int make_promises(struct sched *sched)
{
    int rc = osri_errors_promise(sched, RUN_ERRORS);

    if (rc < 0)
        return rc;
    rc = osri_fatal_promise(sched);
    if (rc < 0)
        osri_errors_unpromise(sched, RUN_ERRORS);
    return rc;
}

static void keep_promises(struct sched *sched)
{
    osri_fatal_prepare(sched);
    osri_errors_unpromise(sched, RUN_ERRORS);
}

/* A root that was made and does not begin. */
static void discard_root(struct sched *sched, struct child *root)
{
    sched->floors[8] = NULL;
    osri_scope_detach(sched, &root->scope);
    osri_child_reset(root);
    osri_errors_unpromise(sched, 1);
    osri_task_free(sched, &root->task);
}

static int queue_root(struct run *run, const struct osr_routine *routine, void *arg, const char *where)
{
    const struct osr_spawn_options spawn = {.size = sizeof(spawn), .where = where, .name = run->options.name};
    struct sched *sched = &run->sched;
    struct child *root;
    int rc;

    root = osri_child_new(sched, NULL, routine, arg, &spawn, &rc);
    if (!root)
        return rc;
    osri_child_complete(root);
    root->group = NULL;
    root->ended = root_ended;
    sched->floors[8] = root;
    sched->calling = &root->scope;
    rc = osri_run_signals_open(sched, &run->signals, &run->options);
    if (rc < 0) {
        discard_root(sched, root);
        return rc;
    }
    osri_observe(sched, OSR_TRACE_SPAWN, &root->task, NULL, root->task.where, 0);
    osri_ready(sched, &root->task);
    return 0;
}

static int begin_with_promises(struct run *run, const struct osr_routine *routine, void *arg, const char *where)
{
    int rc = make_promises(&run->sched);

    if (rc < 0)
        return rc;
    rc = queue_root(run, routine, arg, where);
    if (rc < 0)
        keep_promises(&run->sched);
    return rc;
}

int osri_run_begin(struct run *run, const struct osr_routine *routine, void *arg, const char *where)
{
    struct sched *sched = &run->sched;
    int rc = open_run(run);

    if (rc < 0)
        return rc;
    run->stuck = sched->finished = false;
    sched->numbers = 0;
    sched->timers.fresh_at = OSR_NEVER; /* none is set; what the last run has cleared is of no account in this one */
    sched->allowed = ALL_JOBS;
    if (sched->inject)
        osri_sim_restart(sched);
    osri_sched = sched;
    rc = begin_with_promises(run, routine, arg, where);
    if (rc < 0)
        close_run(run, &(const struct slot){0});
    return rc;
}

/* Whether the fatal error stands in the tree, maybe wrapped. */
static bool contains(const struct osr_error *tree, const struct osr_error *fatal)
{
    struct osr_leaves walk;
    const struct osr_error *at;

    osr_leaves_init(&walk, tree);
    while ((at = osr_leaves_next(&walk)) != NULL)
        for (; at && at->fatal; at = at->cause)
            if (at == fatal)
                return true;
    return false;
}

/* The root was cancelled: by whom, and why. */
static void put_reason(struct sched *sched, struct slot *slot, const struct osr_reason *reason)
{
    struct osr_error *error = osri_error_new(sched, -OSR_ETASKCANCELED, reason->where, reason->who);

    *slot = (struct slot){.code = -OSR_ETASKCANCELED, .where = reason->where};
    if (!error)
        return;
    if (*reason->text)
        osri_error_say(error, "the root task was cancelled: %s", reason->text);
    osri_slot_put(slot, error);
}

/* What the run gives: a fatal error comes before what the root returned, whose own errors stay beside it. */
static int conclude(struct sched *sched, struct outcome outcome, struct slot *slot)
{
    struct osr_error *fatal = osri_fatal_take(sched), *both;
    char number[CODE_NUMBER];
    int rc = outcome.rc == -ECANCELED ? -OSR_ETASKCANCELED : outcome.rc;

    if (outcome.error)
        osri_slot_put(slot, outcome.error);
    else if (rc == -OSR_ETASKCANCELED && !fatal)
        put_reason(sched, slot, &run_of(sched)->reason);
    else
        *slot = (struct slot){.code = rc < 0 ? rc : 0};
    if (!fatal)
        return rc;
    rc = fatal->code;
    if (contains(outcome.error, fatal)) {
        osr_error_release(fatal);
    } else if (outcome.error) {
        both = osri_error_new_group(sched, fatal->where, fatal->task, NULL);
        if (both) {
            osri_error_say(both, "%s ended the run", osri_code_words(rc, number));
            osri_error_adopt(sched, both, fatal);
            osri_error_adopt(sched, both, osr_error_retain(outcome.error));
        }
        osri_slot_put(slot, both ? both : fatal);
    } else {
        osri_slot_put(slot, fatal);
    }
    slot->code = rc;
    return rc;
}

int osri_run_end(struct run *run)
{
    struct sched *sched = &run->sched;
    struct slot slot = {0};
    int rc;

    /* Bells may be due that were rung too late to be heard: that is done when the inbox is closed. */
    assert(sched->finished && run_queue_is_empty(&sched->ready));
    keep_promises(sched);
    rc = conclude(sched, run->outcome, &slot);
    osr_error_clear(); /* what calls on no task have left: it is no leak */
    close_run(run, &slot);
    if (slot.error)
        osri_slot_put(osri_slot(), slot.error);
    osri_slot()->code = rc < 0 ? rc : 0;
    return rc;
}

/* ---- For several runs ---- */

static unsigned forks;

/* In a forked child no run goes on: every call there is one outside tasks. */
static void leave_run(void)
{
    osri_sched = NULL;
    forks++;
}

static void prepare_process(void)
{
    (void)pthread_atfork(NULL, NULL, leave_run);
}

unsigned osri_forks(void)
{
    return forks;
}

int osri_run_open(struct run *run, const struct osr_run_options *given, struct ev_loop *attached)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc = complete(&run->options, given);

    if (rc < 0)
        return rc;
    pthread_once(&once, prepare_process);
    rc = osri_sched_open(&run->sched, &run->options, sizeof(struct child), attached);
    if (rc < 0)
        return rc;
    run->sched.stuck = stuck;
    run->sched.cancel = inject_cancel;
    run->sched.make_calls = osri_calls_make;
    run->sched.audit = run->options.debug ? osri_audit : NULL;
    run->sched.dying = osri_trace_save;
    if (run->options.name) {
        osri_name_copy(run->name, run->options.name);
        run->options.name = run->name;
    }
    return 0;
}

void osri_run_close(struct run *run)
{
    osri_sched_close(&run->sched);
}

/* ---- One run ---- */

static int run_once(struct run *run, const struct osr_routine *routine, void *arg)
{
    int rc = osri_run_begin(run, routine, arg, run->options.where);

    if (rc < 0)
        return osri_failed(rc, run->options.where);
    osri_sched_run(&run->sched);
    return osri_run_end(run);
}

int osr_run_with(const struct osr_routine *routine, void *arg, const struct osr_run_options *options)
{
    const char *where = options ? options->where : NULL;
    struct run *run;
    int rc;

    if (osri_sched)
        return osr_fail_here(where, -EBUSY, "osr_run() inside a run");
    osr_error_clear();
    run = calloc(1, sizeof(*run));
    if (!run)
        return osri_failed(-ENOMEM, where);
    rc = routine && routine->run ? osri_run_open(run, options, NULL) : -EINVAL;
    if (rc == 0) {
        rc = run_once(run, routine, arg);
        osri_run_close(run);
    } else if (rc == -EINVAL) {
        osr_fail_here(where, rc, "osr_run() with options that make no sense");
    } else {
        osri_failed(rc, where);
    }
    free(run);
    return rc;
}
