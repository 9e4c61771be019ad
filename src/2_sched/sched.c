#include "2_sched/sched.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "0_base/text.h"
#include "0_base/sys.h"
#include "2_sched/wait.h"

/* Stacks that were not needed for so long, in nanoseconds, give their memory back, so many at a time. */
enum { TIDY_AFTER = 1000000000, TIDY_STEP = 256 };

_Thread_local struct slot osri_thread_slot __attribute__((tls_model("initial-exec"), visibility("hidden")));
_Thread_local struct sched *osri_lender __attribute__((tls_model("initial-exec"), visibility("hidden")));
_Thread_local struct sched *osri_sched __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* ---- Opening and closing ---- */

static void diagnose_to_standard_error(void *arg, enum osr_diagnosis kind, const char *text)
{
    size_t left = strlen(text);

    (void)arg, (void)kind;
    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, text, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* there is nobody left to tell */
        text += n;
        left -= (size_t)n;
    }
}

/* Who is told what steps touch is told of wakes where they are observed. */
static void ignore(void *arg, const struct osr_trace_event *event)
{
    (void)arg, (void)event;
}

static const struct driver *driver_for(const struct osr_run_options *options, const struct ev_loop *attached)
{
    if (attached)
        return &osri_driver_attached;
    return options->clock == OSR_CLOCK_SIMULATED ? &osri_driver_sim : &osri_driver_ev;
}

int osri_sched_open(struct sched *sched, const struct osr_run_options *options, size_t task_size,
                    struct ev_loop *attached)
{
    static _Atomic uint64_t runs;

    *sched = (struct sched){
        .steps = STEPS,
        .run = ++runs,
        .tools = osri_tools() & (TOOL_ASAN | TOOL_TSAN),
        .door = {options->choose, options->choose_arg, options->touched, options->touched_arg},
        .memory = {.from = options->allocator ? *options->allocator : osri_malloc_allocator},
        .driver = driver_for(options, attached),
        .loop = attached,
        .spare_stacks = options->spare_stacks,
        .slow_step = options->slow_step,
        .debug = options->debug,
        .inject = options->inject && options->choose,
        .slowly = (options->inject && options->choose) || options->touched || options->slow_step != OSR_NEVER,
        .allowed = ALL_JOBS,
        .diagnose = options->diagnose ? options->diagnose : diagnose_to_standard_error,
        .diagnose_arg = options->diagnose_arg,
        .observe = options->observe || !options->touched ? options->observe : ignore,
        .observe_arg = options->observe_arg,
        .patience = options->patience,
        .patience_arg = options->patience_arg,
    };
    sched->memory.door = &sched->door;
    sched->plain = !sched->tools && !sched->observe && !sched->door.choose && sched->slow_step == OSR_NEVER;
    osri_run_queue_open(&sched->ready, sched->few);
    list_init(&sched->fired);
    list_init(&sched->calls);
    list_init(&sched->settling);
    list_init(&sched->jobs);
    list_init(&sched->spare_calls);
    osri_timers_open(&sched->timers, &sched->memory);
    osri_stacks_open(&sched->stacks, options->stack_size, task_size, offsetof(struct task, lining), &sched->memory,
                     &sched->door);
    return sched->driver->open(sched);
}

void osri_sched_close(struct sched *sched)
{
    struct osr_bound_ *cleanup;
    struct osr_list_ *spare;

    while ((spare = list_pop(&sched->spare_calls)) != NULL)
        osri_free(&sched->memory, spare);
    while ((cleanup = sched->spare_cleanups) != NULL) {
        sched->spare_cleanups = cleanup->next_;
        osri_free(&sched->memory, cleanup);
    }
    sched->driver->close(sched);
    osri_run_queue_close(&sched->ready, &sched->memory);
    osri_timers_close(&sched->timers);
    osri_stacks_close(&sched->stacks);
}

/* ---- Choosing who runs ---- */

static void tell_ready(struct sched *sched)
{
    unsigned i;

    for (i = 0; i < run_queue_length(&sched->ready); i++)
        osri_touch_task(sched, OSR_TOUCH_READY, run_queue_peek(&sched->ready, i));
}

static struct task *next_ready(struct sched *sched)
{
    struct task *task;
    unsigned pick = 0;

    if (run_queue_is_empty(&sched->ready))
        return NULL;
    if (unlikely(sched->door.touched != NULL))
        tell_ready(sched);
    if (unlikely(sched->door.choose != NULL))
        pick = osri_choose(&sched->door, OSR_CHOICE_READY, run_queue_length(&sched->ready), "ready");
    task = osri_run_queue_take(&sched->ready, pick);
    osri_touch_task(sched, OSR_TOUCH_STEP, task);
    return task;
}

/* Who runs when the running task leaves; NULL is the hub, which looks at the world. */
static struct task *next_after(struct sched *sched, struct task *leaving)
{
    if (unlikely(leaving->eager)) {
        leaving->eager = false;
        return leaving->eager_for;
    }
    if (--sched->steps == 0)
        return NULL;
    return next_ready(sched);
}

enum leaving { LEAVES_PARKED_OR_QUEUED, LEAVES_FOR_CHILD, LEAVES_FOR_GOOD };

static void describe_leaving(enum leaving leaving, const struct sched *sched, const struct task *child, char *text,
                             size_t size)
{
    const struct task *task = sched->current;

    if (leaving == LEAVES_FOR_CHILD)
        snprintf(text, size, "spawned eagerly at %s", child->where);
    else if (task->wait)
        snprintf(text, size, "waited in %s at %s", task->wait->call, place_or_unknown(task->wait->where_));
    else if (leaving == LEAVES_FOR_GOOD)
        snprintf(text, size, "returned");
    else
        snprintf(text, size, "let others run at %s", place_or_unknown(sched->entered_at));
}

/* Tells of the running task, which leaves now, if its step took long; `child` is one that it has spawned eagerly. */
static void time_step(struct sched *sched, enum leaving leaving, const struct task *child)
{
    int64_t took;
    const struct task *task = sched->current;
    char how[512];

    if (likely(sched->slow_step == OSR_NEVER))
        return;
    took = osri_now(sched) - sched->step_began;
    if (took <= sched->slow_step)
        return;
    describe_leaving(leaving, sched, child, how, sizeof(how));
    osri_diagnose(sched, OSR_DIAGNOSIS_SLOW,
                  "osier: task \"%s\", spawned at %s, ran for %lld.%03lld ms without letting others run, until it %s\n",
                  task->name, task->where, (long long)(took / 1000000), (long long)(took / 1000 % 1000), how);
}

/* `next` is the current one from here on. */
static void begin_step(struct sched *sched, struct task *next)
{
    sched->current = next;
    if (next)
        osri_observe(sched, OSR_TRACE_STEP, next, NULL, NULL, 0);
    if (next && sched->slow_step != OSR_NEVER) {
        sched->step_began = osri_now(sched);
        sched->entered_at = NULL;
    }
}

static struct fiber *fiber_of(struct sched *sched, struct task *next)
{
    return next ? &next->fiber : &sched->hub;
}

static void step(struct sched *sched, struct fiber *from, struct task *next)
{
    begin_step(sched, next);
    if (from != fiber_of(sched, next))
        osri_fiber_switch(from, fiber_of(sched, next), sched->tools);
}

void osri_leave_slowly(struct sched *sched)
{
    struct task *task = sched->current;

    time_step(sched, LEAVES_PARKED_OR_QUEUED, NULL);
    step(sched, &task->fiber, next_after(sched, task));
}

__attribute__((noinline)) struct task *osri_next_slowly(struct sched *sched)
{
    struct task *next;

    time_step(sched, LEAVES_FOR_GOOD, NULL);
    next = next_after(sched, sched->current);
    begin_step(sched, next);
    return next;
}

_Noreturn void osri_exit_slowly(struct sched *sched, struct task *task, struct task *next)
{
    osri_fiber_switch(&task->fiber, fiber_of(sched, next), sched->tools);
    __builtin_unreachable();
}

void osri_run_eagerly(struct sched *sched, struct task *task)
{
    struct task *spawner = sched->current;

    time_step(sched, LEAVES_FOR_CHILD, task);
    task->eager = true;
    task->eager_for = spawner;
    step(sched, &spawner->fiber, task);
}

/* ---- The loop ---- */

void osri_watch_fired(struct sched *sched, struct watch *watch)
{
    if (list_empty(&watch->fired))
        list_append(&sched->fired, &watch->fired);
}

void osri_watch_arm(struct sched *sched, struct watch *watch)
{
    if (!watch->armed)
        sched->driver->arm(sched, watch);
    watch->armed = true;
}

void osri_watch_disarm(struct sched *sched, struct watch *watch)
{
    list_remove(&watch->fired);
    if (watch->armed)
        sched->driver->disarm(sched, watch);
    watch->armed = false;
}

/* Whether there is a job for the loop itself to run; in a task there is no room on the stack for it. */
static bool has_job(const struct sched *sched)
{
    return !list_empty(&sched->jobs) && sched->allowed > 0 && !sched->current;
}

/* The loop is about to wait: memory of stacks that nobody has needed for a while goes back to the system, a little at a
 * time. Gives the moment at which to look again at the latest. */
static int64_t tidy(struct sched *sched, int64_t until)
{
    int64_t now, again;

    if (likely(osri_stacks_idle(&sched->stacks) <= sched->spare_stacks) || sched->driver != &osri_driver_ev)
        return until;
    now = osri_now(sched);
    if (now >= sched->tidied + TIDY_AFTER) {
        if (osri_stacks_trim(&sched->stacks, sched->spare_stacks, TIDY_STEP))
            return 0;
        sched->tidied = now;
    }
    again = sched->tidied + TIDY_AFTER;
    return until < again ? until : again;
}

static unsigned count(const struct osr_list_ *list)
{
    const struct osr_list_ *node;
    unsigned n = 0;

    for (node = list->next; node != list; node = node->next)
        n++;
    return n;
}

/* Takes one out of those that have fired: the first, unless the door says otherwise. */
static struct watch *take_fired(struct sched *sched)
{
    struct osr_list_ *node = sched->fired.next;
    unsigned pick = 0;

    if (unlikely(sched->door.choose != NULL))
        pick = osri_choose(&sched->door, OSR_CHOICE_EVENT, count(&sched->fired), "event");
    while (pick-- > 0)
        node = node->next;
    list_remove(node);
    return container_of(node, struct watch, fired);
}

/* Brings into the cache what telling the next one and the one behind that will touch: its wait, and the watch. */
static inline __attribute__((always_inline)) void fetch_next_fired(const struct sched *sched)
{
    const struct osr_list_ *node = sched->fired.next;
    const struct watch *watch = container_of(node, const struct watch, fired);

    if (node == &sched->fired || !watch->wait)
        return;
    osri_stack_prefetch(watch->wait, -1, 4);
    osri_stack_prefetch(container_of(node->next, const struct watch, fired), 0, 2);
}

/* Of many that are ready at once so many are told before their tasks have had their turn: what was touched to wake those is
 * still in the cache then. Whoever is left is told by the next looks, which ask the system only when nobody is. */
enum { BATCH = 128 };

/* Whether some may be left. If something is due, all that is complete comes before that; and attached, libev would find the
 * same ones ready each time. */
static bool may_leave_some(struct sched *sched)
{
    return sched->driver != &osri_driver_attached &&
           !(sched->timers.count > 0 && osri_timers_due(&sched->timers, osri_now(sched)));
}

/* Where more are told than there are steps to the next look, each has its turn before that, as asking the system about those
 * again that have not had theirs would be in vain. */
static void tell_watches(struct sched *sched)
{
    unsigned told = 0;

    for (; !list_empty(&sched->fired) && (likely(told != BATCH) || !may_leave_some(sched)); told++) {
        struct watch *watch = take_fired(sched);

        fetch_next_fired(sched);
        watch->ready(watch);
    }
    if (told > STEPS && sched->steps == STEPS)
        sched->steps = told;
}

/* What falls due while watches are told has to wait for the next look, if the last one may have left some out. */
static void fire_timers(struct sched *sched)
{
    int64_t now = osri_now(sched);

    osri_timers_fire(&sched->timers, &sched->door, now < sched->complete_at ? now : sched->complete_at);
}

void osri_look(struct sched *sched, int64_t until)
{
    bool works = has_job(sched), waits = until > 0 && !works;

    sched->steps = list_empty(&sched->calls) ? STEPS : 1; /* calls that are due come as soon as the task leaves */
    if (works)
        until = 0;
    osri_stacks_note(&sched->stacks);
    if (waits) {
        int64_t next = osri_timers_next(&sched->timers);

        until = tidy(sched, until < next ? until : next);
    }
    if (likely(list_empty(&sched->fired)) || !may_leave_some(sched)) {
        sched->complete_at = OSR_NEVER;
        /* Else nobody waits for what a poll could tell. (The moment to wait for may be 0, in simulated time.) */
        if (waits || sched->outside > 0 || sched->inbox)
            sched->driver->poll(sched, until);
    }
    tell_watches(sched);
    if (works)
        sched->run_job(sched);
    if (sched->timers.count > 0 && likely(list_empty(&sched->fired)))
        fire_timers(sched);
    if (sched->audit)
        sched->audit(sched);
}

void osri_turn(struct sched *sched, int64_t until)
{
    struct task *task;

    osri_look(sched, until);
    if (!list_empty(&sched->calls))
        sched->make_calls(sched);
    task = next_ready(sched);
    if (task)
        step(sched, &sched->hub, task);
}

/* Whether nothing can come any more, as far as the run knows, or whoever watches over it. */
static inline bool is_hopeless(const struct sched *sched)
{
    return osri_is_idle(sched) && (sched->forsaken || (sched->timers.count == 0 && osri_awaited(sched) == 0));
}

/* Wakes those who wait for the moment when nothing else can run, if this is it. */
static void settle(struct sched *sched)
{
    if (!osri_is_idle(sched))
        return;
    do
        osri_look(sched, 0); /* at each of which one job runs: those that were left behind wake nobody */
    while (osri_is_idle(sched) && has_job(sched));
    if (!osri_is_idle(sched))
        return;
    while (!list_empty(&sched->settling))
        osri_wake(sched, wait_of(sched->settling.next), 0);
}

void osri_sched_run(struct sched *sched)
{
    osri_fiber_adopt(&sched->hub, &sched->hub_lining, sched->tools);
    while (!sched->finished) {
        osri_touch(&sched->door, run_queue_is_empty(&sched->ready) ? OSR_TOUCH_IDLE : OSR_TOUCH_ALL, NULL);
        if (unlikely(!list_empty(&sched->settling)))
            settle(sched);
        if (is_hopeless(sched) && sched->inbox)
            osri_look(sched, 0); /* something may have come that nobody waits for */
        sched->steps = STEPS;
        if (is_hopeless(sched)) {
            sched->allowed = ALL_JOBS; /* for those that must be waited for */
            sched->stuck(sched);
        }
        sched->forsaken = false;
        osri_turn(sched, osri_is_idle(sched) ? OSR_NEVER : 0);
    }
}

int64_t osr_now(void)
{
    struct sched *sched = osri_sched ? osri_sched : osri_lender;

    return sched ? osri_now(sched) : osri_sys_clock();
}

/* ---- Entering a call ---- */

__attribute__((used)) static int let_others_run(struct sched *sched)
{
    sched->current->budget = BUDGET;
    osri_ready(sched, sched->current);
    osri_leave(sched);
    return 0;
}

OSRI_RETURN_BY_JUMP(osri_pause, let_others_run);

/* At the 10,000th call, the 100,000th, and so on. */
static bool is_worth_telling(unsigned refused)
{
    while (refused > RUNAWAY && refused % 10 == 0)
        refused /= 10;
    return refused == RUNAWAY;
}

static int refuse(struct sched *sched, struct task *task, const char *where)
{
    if (unlikely(++task->refused >= RUNAWAY) && is_worth_telling(task->refused))
        osri_diagnose(sched, OSR_DIAGNOSIS_RUNAWAY,
                      "osier: task \"%s\" (spawned at %s) goes on calling in a cancelled scope: %u calls refused in a "
                      "row, the last at %s\n",
                      task->name, task->where, task->refused, place_or_unknown(where));
    osri_at_once(sched);
    return osri_refused(sched, task, where);
}

const char osri_nothing[1];

/* Asks whether a cancellation comes just before this call. */
static void inject(struct sched *sched, struct task *task, const char *where)
{
    unsigned pick = osri_choose(&sched->door, OSR_CHOICE_CANCEL, 3, place_or_unknown(where));

    if (pick > 0)
        sched->cancel(sched, task, pick == 2, where);
}

/* At one reading of the clock, everybody's completions and deadlines. */
static void look_meanwhile(struct sched *sched)
{
    osri_touch(&sched->door, OSR_TOUCH_ALL, NULL);
    osri_look(sched, 0);
}

int osri_enter_slowly(struct sched *sched, struct task *task, const void *object, const char *where)
{
    if (task->hooked)
        return osri_task_failed(task, -EPERM, where);
    task->entered = object;
    sched->entered_at = where;
    if (object != osri_nothing)
        osri_touch(&sched->door, object ? OSR_TOUCH_WRITE : OSR_TOUCH_ALL, object);
    if (!task->refusal && task->due != OSR_NEVER && sched->driver->reached(sched, task->due))
        look_meanwhile(sched);
    if (sched->inject && !task->refusal)
        inject(sched, task, where);
    if (task->refusal)
        return refuse(sched, task, where);
    task->refused = 0;
    return 0;
}

int osr_check_here(const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, osri_nothing, where);

    if (rc == 0)
        osri_at_once(sched);
    return rc;
}

int osr_yield_here(const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter_for(sched, osri_nothing, where);

    return rc < 0 ? rc : osri_pause(sched);
}

/* ---- For test kits ---- */

int osr_settle_here(const char *where)
{
    struct sched *sched = osri_sched;
    struct osr_wait wait;
    int rc = osri_enter(sched, where);

    if (rc < 0)
        return rc;
    if (sched->driver != &osri_driver_sim)
        return osri_task_failed(sched->current, -ENOTSUP, where);
    sched->guesses = 0;
    wait_begin(&wait, sched->current, &sched->settling, NULL, "osr_settle", where);
    return osri_wait(sched, &wait);
}

int osr_jobs_allow(unsigned count)
{
    struct sched *sched = osri_sched;

    if (!osri_is_inside(sched))
        return osri_failed(-EPERM, NULL);
    if (sched->driver != &osri_driver_sim)
        return osri_failed(-ENOTSUP, NULL);
    osri_touch(&sched->door, OSR_TOUCH_ALL, NULL);
    sched->allowed = count;
    return 0;
}

/* ---- Telling ---- */

static void diagnose(struct sched *sched, enum osr_diagnosis kind, const char *format, va_list list) OSR_PRINTF_(3, 0);

static void diagnose(struct sched *sched, enum osr_diagnosis kind, const char *format, va_list list)
{
    char line[1024];
    va_list again;
    char *text = line;
    int length;

    va_copy(again, list);
    length = vsnprintf(line, sizeof(line), format, again);
    va_end(again);
    if (length >= (int)sizeof(line)) {
        char *longer = malloc((size_t)length + 1);

        if (longer) {
            vsnprintf(longer, (size_t)length + 1, format, list);
            text = longer;
        }
    }
    if (sched)
        sched->diagnose(sched->diagnose_arg, kind, text);
    else
        diagnose_to_standard_error(NULL, kind, text);
    if (text != line)
        free(text);
}

void osri_diagnose(struct sched *sched, enum osr_diagnosis kind, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    diagnose(sched, kind, format, list);
    va_end(list);
}

_Noreturn void osri_die(struct sched *sched, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    diagnose(sched, OSR_DIAGNOSIS_MISUSE, format, list);
    va_end(list);
    if (sched)
        sched->dying(sched);
    abort();
}

void osri_observe_slowly(struct sched *sched, enum osr_trace_kind kind, const struct task *task, const char *call,
                         const char *where, int code)
{
    struct osr_trace_event event = {
        .kind = kind,
        .at = osri_now(sched),
        .task = task->number,
        .name = task->name,
        .call = call,
        .where = where,
        .code = code,
    };

    if (kind == OSR_TRACE_WAKE)
        osri_touch_task(sched, OSR_TOUCH_TASK, task);
    sched->observe(sched->observe_arg, &event);
}
