/*
 * The scheduler of one run: the queue of ready tasks, the clock, and the loop that is entered when no task can
 * run. Tasks switch to each other directly; the hub, on the stack that called osr_run(), runs the loop.
 */
#ifndef OSIER_SCHED_SCHED_H
#define OSIER_SCHED_SCHED_H

#include <osier/debug.h>
#include <osier/run.h>

#include "0_base/timers.h"
#include "2_sched/driver.h"
#include "2_sched/run_queue.h"
#include "2_sched/task.h"

enum {
    STEPS = 256,  /* of tasks, between two looks at timers and descriptors */
    BUDGET = 128, /* calls that finish at once, before their task lets others run */
    RUNAWAY = 10000,
    FLOORS = 9
};

#define ALL_JOBS UINT32_MAX

struct inbox;
struct waker;

/* Something that runs the program's own code outside tasks, and so is for the hub to do, between their steps. */
struct due {
    struct osr_list_ node;
    void (*come)(struct sched *sched, struct due *due);
};

struct sched {
    struct task *current; /* NULL: the hub runs */
    unsigned steps; /* left until the next look */
    bool plain;     /* no tool, observer, door or clock has to be asked or told at a switch */
    struct run_queue ready;
    unsigned tools;
    struct door door;
    struct timers timers;
    struct stacks stacks;
    size_t spare_stacks; /* keep their memory */
    int64_t tidied;      /* when that of others was last looked at */
    struct memory memory;
    struct fiber hub;
    struct lining hub_lining;

    const struct driver *driver;
    void *loop;             /* the driver's own */
    struct osr_list_ fired; /* watches that the last poll found ready */
    int64_t complete_at;    /* what is ready after this moment it may not have found; OSR_NEVER: it has found all */
    unsigned outside;       /* waits that the outside world can end */
    struct osr_list_ calls; /* what is due: for the hub */
    struct osr_bound_ *spare_cleanups; /* memory of those that have run */
    struct osr_list_ spare_calls; /* memory of those that have come */
    struct osr_scope *calling; /* what calls that are made on no task are bound to */
    void (*make_calls)(struct sched *sched); /* from the floor above */
    osr_patience *patience; /* says how long simulated time may wait for the world; NULL: for ever */
    void *patience_arg;
    bool forsaken;          /* it says: no longer */
    unsigned elsewhere;     /* processes that work for this run: simulated time waits for them */
    int64_t stands_since;   /* when it began to stand still for them, in real time; 0: it has not */

    uint64_t cancellations; /* how many there have been, which serves as a time of its own */

    bool calling_back;                  /* a callback of the program runs, on no task */
    bool finished;                      /* the root task has ended */
    bool debug;
    bool inject; /* the door is asked at every cancellation point */
    bool slowly; /* calls have to look closer, for that, to say what they touch, or where a slow step ends */
    void (*cancel)(struct sched *sched, struct task *task, bool root, const char *where); /* what it may answer there */
    void (*stuck)(struct sched *sched); /* told when nothing can ever run again: makes something run */
    void (*audit)(struct sched *sched); /* in debug runs, after every look */

    osr_diagnose *diagnose;
    void *diagnose_arg;
    osr_observe *observe;
    void *observe_arg;
    uint64_t numbers, tickets;
    uint64_t run; /* which one of the process it is, counted from 1 */

    struct osr_list_ settling;            /* waits for the moment when nothing else can run */
    unsigned guesses;                     /* in a row, of the simulated loop: that what it is asked about is ready */
    struct osr_list_ jobs;                /* those that the loop itself is to run, under the simulated clock */
    unsigned allowed;                     /* how many of them it may run; ALL_JOBS: none are held */
    unsigned queued_jobs;                 /* of them, those that somebody waits for */
    void (*run_job)(struct sched *sched); /* runs one of them */
    struct sched *lender; /* the run that had lent its thread before, to a job in which this one runs */
    struct inbox *inbox; /* floor 6's: by which other threads enter; NULL until it is needed */
    struct waker *waker; /* the inbox's, for the driver */
    void *floors[FLOORS]; /* what the floors above keep for a run, each under its own number */

    void (*dying)(struct sched *sched); /* told before the program is stopped */
    int64_t slow_step;                  /* a step that takes longer is told; OSR_NEVER: steps are not timed */
    int64_t step_began;
    const char *entered_at; /* the last call of the step, where steps are timed */
    struct task *few[FEW_TASKS]; /* the run queue's, while there are no more */
};

/* The run of this thread, NULL outside one. */
extern _Thread_local struct sched *osri_sched __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The run that has lent its thread to a job, under the simulated clock, the innermost of them; NULL everywhere else. */
extern _Thread_local struct sched *osri_lender __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Whether the run lives on the calling thread. */
static inline bool osri_is_own_thread(const struct sched *sched)
{
    const struct sched *lender = osri_lender;

    while (lender && lender != sched)
        lender = lender->lender;
    return sched == osri_sched || lender;
}

static inline int64_t osri_now(struct sched *sched)
{
    return sched->driver->now(sched);
}

/* The calling task, NULL if the caller is none. */
static inline struct task *osri_current(void)
{
    return osri_sched ? osri_sched->current : NULL;
}

/* osri_touch() of a task. */
static inline void osri_touch_task(const struct sched *sched, enum osr_touch how, const struct task *task)
{
    if (unlikely(sched->door.touched != NULL))
        sched->door.touched(sched->door.touched_arg, how, NULL, task->number);
}

/* Whether the caller is a task or a callback of this thread's run. */
static inline bool osri_is_inside(const struct sched *sched)
{
    return likely(sched && (sched->current || sched->calling_back));
}

/* Says that the caller, who may be outside, touches more than is known. */
static inline void osri_touch_all(void)
{
    if (osri_sched)
        osri_touch(&osri_sched->door, OSR_TOUCH_ALL, NULL);
}

/* Notes that a call fails with `code`, in a task or outside, and gives it back. */
static inline int osri_failed(int code, const char *where)
{
    struct task *task = osri_current();

    return osri_slot_note(task ? &task->slot : &osri_thread_slot, code, where);
}

/* The same for a call that takes something back or ends it, and which is made on the way out, with an error behind what is
 * about to be returned: that it comes too late is an answer, and leaves that error alone. */
static inline int osri_failed_or_late(int code, const char *where)
{
    return code == -ESTALE || code == -EALREADY ? code : osri_failed(code, where);
}

/* `options` are complete; `attached` is the loop that the program runs, NULL for one of our own. 0 or a code, and then
 * nothing is left behind. */
int osri_sched_open(struct sched *sched, const struct osr_run_options *options, size_t task_size,
                    struct ev_loop *attached);
void osri_sched_close(struct sched *sched);

/* Whether no task can run, no call is due, and nothing is left to be told. */
static inline bool osri_is_idle(const struct sched *sched)
{
    return run_queue_is_empty(&sched->ready) && list_empty(&sched->calls) && list_empty(&sched->fired);
}

/* How many waits the world outside can end. From jobs that are held nothing comes. */
static inline unsigned osri_awaited(const struct sched *sched)
{
    return sched->outside - (sched->allowed == 0 ? sched->queued_jobs : 0);
}

/* One turn of the hub, on the adopted stack: looks at the world, waiting for it until the moment `until` at the latest,
 * makes the calls that are due, and runs tasks until none is ready or their steps are used up. */
void osri_turn(struct sched *sched, int64_t until);

/* The hub: takes turns until `finished`. (Attached, libev has them taken: 8_run/attach.c.) */
void osri_sched_run(struct sched *sched);

/* One look at the world at one reading of the clock: what is complete is delivered first, then what is due. Does
 * not wait beyond the moment `until`; 0: not at all. */
void osri_look(struct sched *sched, int64_t until);

/* ---- Tasks ---- */

/* A task on a stack of its own, without a name; NULL with a code. If no task was on that stack before, it is all zeros
 * but for the fiber; else as the last one has left it, who was neither parked nor hooked nor eager. */
static inline struct task *osri_task_new(struct sched *sched, int *code)
{
    struct fiber *fiber;
    struct task *task;

    *code = osri_run_queue_reserve(&sched->ready, sched->stacks.total, &sched->memory);
    fiber = likely(*code == 0) ? osri_stack_take(&sched->stacks, code) : NULL;
    if (unlikely(!fiber))
        return NULL;
    task = container_of(fiber, struct task, fiber);
    task->number = ++sched->numbers;
    return task;
}

/* To be said before it runs: what only running tasks use. */
static inline void osri_task_complete(struct task *task)
{
    task->slot = (struct slot){0};
    task->budget = BUDGET;
    task->refused = 0;
}

/* Makes it begin with entry(task), which starts with osri_task_begin() and ends with osri_task_exit(); `taken` bytes
 * of its stack are in use. */
static inline void osri_task_prepare(struct task *task, size_t taken, void (*entry)(void *task))
{
    osri_fiber_make(&task->fiber, taken, entry);
}

static inline void osri_task_free(struct sched *sched, struct task *task)
{
    osri_stack_give(&sched->stacks, &task->fiber);
}

static inline void osri_task_begin(struct sched *sched, struct task *task)
{
    osri_fiber_begin(&task->fiber, sched->tools);
}

/* Brings the frames that a parked task goes on with into the cache, for who is likely to be the next. */
static inline __attribute__((always_inline)) void osri_task_fetch(const struct task *task)
{
    const char *frames = osri_context_frames(&task->fiber.context);

    __builtin_prefetch(frames, 1);
    __builtin_prefetch(frames + 64, 1);
    __builtin_prefetch(frames + 128, 1);
    __builtin_prefetch(frames + 192, 1);
}

static inline void osri_ready(struct sched *sched, struct task *task)
{
    run_queue_append(&sched->ready, task);
}

/* It comes as soon as the running task leaves; it is in no list, or in one that it leaves for that. */
static inline void osri_due(struct sched *sched, struct due *due)
{
    list_remove(&due->node);
    list_append(&sched->calls, &due->node);
    sched->steps = 1; /* the hub is next */
}

/* Runs `task`, which has not begun, until it first leaves; the caller goes on then. */
void osri_run_eagerly(struct sched *sched, struct task *task);

/* Leaves the calling task, which is parked or queued, for whoever is next. */
void osri_leave_slowly(struct sched *sched);

/* Whom the running task leaves for good for; NULL: the hub. */
struct task *osri_next_slowly(struct sched *sched);
_Noreturn void osri_exit_slowly(struct sched *sched, struct task *task, struct task *next);

/* Brings those into the cache who run soon: what a switch to them touches; and where there are so many that they do not stay
 * even in the second one, also what they touch first then, in their frames and of themselves. */
static inline __attribute__((always_inline)) void fetch_ahead(const struct run_queue *ready)
{
    enum { AHEAD = 4, MANY = 1000 };
    const struct task *task;

    if (run_queue_length(ready) <= AHEAD)
        return;
    task = run_queue_peek(ready, AHEAD);
    osri_stack_prefetch(task, -3, 2);
    if (unlikely(run_queue_length(ready) > MANY)) {
        osri_stack_prefetch(task, -5, -3);
        osri_stack_prefetch(task, 2, 6);
    }
}

/* The same for frames that may lie deeper, as below a buffer: to be said by who is about to leave, and by those alone whose
 * likes do. What it takes to find them was fetched before. */
static inline __attribute__((always_inline)) void osri_fetch_frames_ahead(const struct run_queue *ready)
{
    enum { AHEAD = 3 };

    if (run_queue_length(ready) > AHEAD)
        osri_stack_prefetch(osri_context_frames(&run_queue_peek(ready, AHEAD)->fiber.context), 0, 8);
}

/* Whom the running task leaves for, in the usual case: some task is ready, and nobody has to be asked or told. Else NULL,
 * and one of the above finds out. */
static inline __attribute__((always_inline)) struct task *osri_next(struct sched *sched)
{
    struct task *next;

    if (unlikely(!sched->plain || sched->current->eager || sched->steps == 1 || run_queue_is_empty(&sched->ready)))
        return NULL;
    sched->steps--;
    sched->current = next = run_queue_pop(&sched->ready);
    fetch_ahead(&sched->ready);
    return next;
}

static inline void osri_leave(struct sched *sched)
{
    struct task *task = sched->current, *next = osri_next(sched);

    if (unlikely(!next))
        osri_leave_slowly(sched);
    else if (likely(next != task))
        osri_context_switch(&task->fiber.context, &next->fiber.context);
}

/* Who runs when the running task, which has ended, leaves for good: it is the current one from here on. NULL: the hub. */
static inline __attribute__((always_inline)) struct task *osri_task_next(struct sched *sched)
{
    struct task *next = osri_next(sched);

    return likely(next != NULL) ? next : osri_next_slowly(sched);
}

/* Leaves the calling task for good, for `next`. Its stack is free from here on, and nobody takes it before the switch. */
_Noreturn static inline __attribute__((always_inline)) void osri_task_exit(struct sched *sched, struct task *task,
                                                                          struct task *next)
{
    osri_task_free(sched, task);
    if (unlikely(!next || sched->tools != 0))
        osri_exit_slowly(sched, task, next);
    osri_context_leave(&next->fiber.context);
}

/* ---- Entering a call ---- */

/*
 * The one place that decides "am I cancelled?": every cancellation point begins here, before any side effect.
 * 0; -ECANCELED; -EPERM outside a task, or in a cancel hook.
 */
int osri_enter_slowly(struct sched *sched, struct task *task, const void *object, const char *where);

/* What a call is for that has to do with nothing but the calling task. */
extern const char osri_nothing[1];

/* The same, for a call that touches nothing that tasks share but this; NULL: who knows what. */
static inline int osri_enter_for(struct sched *sched, const void *object, const char *where)
{
    struct task *task;

    if (unlikely(!sched || !(task = sched->current)))
        return osri_failed(-EPERM, where);
    if (unlikely(task->attention))
        return osri_enter_slowly(sched, task, object, where);
    return 0;
}

static inline int osri_enter(struct sched *sched, const char *where)
{
    return osri_enter_for(sched, NULL, where);
}

/* Lets others run once. Gives 0. */
int osri_pause(struct sched *sched);

/* Notes that a call of the task was refused or cut, at `where`. Gives -ECANCELED. */
static inline int osri_refused(struct sched *sched, struct task *task, const char *where)
{
    *task->refusal = sched->cancellations;
    return osri_task_failed(task, -ECANCELED, where);
}

/* To be said by a call that finished without waiting, so that a task that never waits cannot keep the thread. */
static inline void osri_at_once(struct sched *sched)
{
    if (unlikely(--sched->current->budget == 0))
        (void)osri_pause(sched);
}

/* ---- Telling ---- */

void osri_diagnose(struct sched *sched, enum osr_diagnosis kind, const char *format, ...) OSR_PRINTF_(3, 4);

/* Stops the program, having said why. */
_Noreturn void osri_die(struct sched *sched, const char *format, ...) OSR_PRINTF_(2, 3);

void osri_observe_slowly(struct sched *sched, enum osr_trace_kind kind, const struct task *task, const char *call,
                         const char *where, int code);

static inline void osri_observe(struct sched *sched, enum osr_trace_kind kind, const struct task *task,
                                const char *call, const char *where, int code)
{
    if (unlikely(sched->observe != NULL))
        osri_observe_slowly(sched, kind, task, call, where, code);
}

#endif
