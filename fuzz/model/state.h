/* What the model's files share. Its structures are of its own. */
#ifndef OSIER_FUZZ_MODEL_STATE_H
#define OSIER_FUZZ_MODEL_STATE_H

#include <errno.h>
#include <string.h>

#include <osier.h>

#include "model/model.h"

#define NOBODY (-1)
#define NOWHERE (-1)

/* ---- Errors ---- */

struct error {
    int code;
    short place, task, group_name;
    bool is_group, fatal, riding;
    unsigned cancelled;
    struct error *cause;
    struct link *first, *last;
};

/* A place in a group of errors: an error may stand in several. */
struct link {
    struct error *error;
    struct link *next;
};

struct slot {
    int code; /* 0: empty */
    short place;
    bool riding; /* a cancellation is passed on beside the errors */
    struct error *error;
};

/* ---- Scopes ---- */

enum scope_form { TIMEOUT, MOVE_ON, SHIELD, TASK, GROUP, START };

struct reason {
    int code;
    short place, who;
};

struct cleanup {
    struct cleanup *next;
    int statement;
    struct scope *scope; /* NULL when it has begun, or was taken back */
    struct task *owner;
    unsigned order; /* among all that is bound to scopes */
};

struct binding {
    struct binding *next;
    int key;
    int64_t value;
};

struct scope {
    enum scope_form form;
    struct task *owner;
    struct scope *parent, *first, *last, *next, *previous;
    short place;
    bool shielded, cancelled, has_cut, caught, ended;
    struct reason reason;
    int64_t deadline;
    struct timer *timer;
    struct error *pending; /* a group of what guards left */
    bool pending_rides;
    struct cleanup *cleanups; /* the last deferred first */
    struct binding *bindings; /* the last first */
    struct scope *values;     /* where those not bound here are looked for, if not in the parent */
    struct group *group;
};

struct timer {
    int64_t at;
    uint64_t order;
    struct scope *scope; /* whose deadline it is, or: */
    struct task *sleeper;
    int result; /* of the sleeper's wait */
    struct call *call; /* or: which is due then */
};

/* ---- Tasks ---- */

/* Those who wait for one thing, in order. A task has several places in lines while it selects. */
struct waiter {
    struct task *task;
    struct line *line;
    struct waiter *next, *previous;
    int number;   /* of the case */
    int64_t item; /* to be put */
};

struct line {
    struct waiter *first, *last;
};

enum purpose { FOR_TASK, FOR_GROUP, FOR_GATHER, FOR_SCOPE, FOR_LOCK, FOR_PERMIT, FOR_REPEAT, FOR_CLEANUP };

/* A block that is being executed, and what is under way to close it. */
struct frame {
    enum purpose purpose;
    int statement; /* whose block it is */
    int next;      /* the next statement, or -1 */
    int at;        /* the one that runs */
    int rc;
    bool left; /* by a return or a failure */
    unsigned times;
    struct scope *scope;
    struct group *group;
    struct lock *lock;
    struct limiter *limiter;
    struct group *home;        /* of those that are gathered */
    unsigned to_spawn, cells; /* of a gathering: how many are left, and where its results begin */
    struct slot kept;          /* of a clean-up or a guard: what the slot held before */
    int kept_rc;               /* of a guard: what its body gave */
    struct error *failures;    /* of clean-ups */
    bool riding;               /* beside the body's error, before the clean-ups */
};

/* What a task reads or writes, from its call to its return. */
struct transfer {
    struct end *end; /* NULL: of no descriptor */
    unsigned size, done, number;
    uint64_t hash; /* of what was read */
};

enum { MOST_FRAMES = 40 };

enum state { READY, RUNNING, PARKED, ENDED };

struct task {
    unsigned number;
    short name, place;
    enum state state;
    struct scope *scope, *inner;
    struct slot slot;
    int depth;
    unsigned budget;
    struct task *eager_for;
    void (*then)(struct task *task); /* what it does when it runs next */
    int rc;                          /* of a call that let others run before it came back */

    /* The wait that it is parked in. */
    struct waiter waiters[MOST_CASES];
    bool selects;
    int case_rc; /* of the case that was done */
    void (*refused)(struct task *task); /* what it does if a call is refused */
    const char *call;
    short where;
    bool uncut, was_cut;
    int result;
    struct timer *timer;
    int64_t item; /* what was got */
    struct job *job;
    struct transfer transfer;
    struct told {
        struct handle_record *record;
        unsigned generation;
    } told; /* who has ended next */
    struct group *into; /* what it spawns into */

    struct group *group; /* what it is a child of */
    struct group *home;  /* where its spawns go if it has no group open; the same, unless that cannot be named */
    struct starting *starting;
    bool has_started;
    unsigned options;
    unsigned index; /* among its group's children, from 1 */
    struct outcome_cell *cell;
    struct handle_record *record;
    struct error *held;

    struct frame frames[MOST_FRAMES]; /* last: those above are reset at the beginning */
};

/* How a task ended, as its group sees it. */
struct outcome {
    int rc;
    struct error *error;
    bool passed_on;
};

/* Where a spawner finds what a task gave. */
struct outcome_cell {
    unsigned options;
    bool gathered; /* told by who has gathered it */
    int rc;
    struct error *error;
};

/* What handles refer to. */
struct handle_record {
    struct task *task; /* NULL when it has ended */
    unsigned generation;
    int state, rc;
    struct error *error;
    bool kept;
    struct group *group;
    struct line joiners;
    struct handle_record *next_ended;
};

struct handle {
    struct handle_record *record;
    unsigned generation;
};

struct starting {
    struct scope scope;
    struct task *starter, *child;
    struct outcome outcome;
    bool started, cancelled; /* how it ended */
};

struct group {
    struct scope scope;
    const struct statement *statement;
    int number; /* of the statement */
    struct error *tree, *losses;
    unsigned errors, cancelled, limit, running, daemons, awaited, spawned, winner;
    bool passed_on, body_passed_on, closing, place_taken;
    struct line spawners, nexts, closer;
    struct handle_record *ended; /* to be told, the first first */
    struct handle_record *records[MOST_TASKS];
    unsigned record_count;
};

/* ---- Primitives ---- */

struct lock {
    struct task *owner;
    struct line waiters;
    struct line condition; /* who waits to be notified; then they wait for the lock */
};

struct semaphore {
    unsigned value, bound;
    struct line waiters;
};

struct limiter {
    unsigned total, borrowed;
    struct line waiters;
};

struct future {
    int rc; /* 1 until it is done */
    int64_t value;
    struct error *error;
    bool work_cancelled;
    unsigned waiting; /* who has not come back from the wait */
    struct line waiters;
    struct call *calls; /* when it is done, the first first */
};

/* What the loop calls: a call of a program's, or a post. */
struct call {
    enum { CALL_IDLE, CALL_COMING, CALL_DUE } state;
    const struct statement *statement;
    int index;           /* of the statement */
    struct scope *scope; /* that it is bound to */
    unsigned order;      /* as of a clean-up */
    unsigned again;      /* how often it has made itself come again */
    struct timer *timer;
    struct call *next;   /* of those that are due, or of a future's */
    struct future *future;
    bool post, open;
    unsigned fired; /* and not told */
};

/* What is offloaded. */
struct job {
    struct task *task;
    int index; /* of the statement */
    bool queued, done, left, cancelled;
    int rc;
    struct error *error;
    struct job *next;
};

struct queue {
    int order;
    unsigned capacity;
    int64_t items[MOST_ITEMS];
    unsigned count;
    unsigned unfinished;
    int shut;
    struct line getters, putters, joiners;
};

/* An end of a stream, as far as tasks and the loop are concerned. */
struct end {
    struct stream *stream;
    bool reads, open;
    bool busy;    /* a task is at it */
    bool spent;   /* the last one took or gave less than it was asked for */
    bool watched; /* by the loop, since somebody has waited */
    struct line waiter;
};

struct stream {
    struct end ends[2]; /* by enum stream_end */
    bool blocks;
    unsigned offset, length; /* of what is in its page */
    char bytes[MOST_PAGE];
};

enum { WATCHES = 2 * STREAMS + 1 };

/* ---- All of it ---- */

enum { ERRORS = 6000, LINKS = 8000, SCOPES = 4096, GROUPS = 2048, TIMERS = 512, RECORDS = 2048, HANDLES = 2048 };

struct model {
    const struct program *program;
    struct schedule schedule;
    struct log *log;
    enum model_verdict verdict;

    int64_t now, due_at; /* and when a timer was due last */
    uint64_t order;      /* in which timers were set */
    bool has_ties;       /* timers that were due at one time, or had passed when they were set */
    unsigned steps; /* of tasks, left until the next look */
    unsigned executed, items, deferred, attempts, bound;
    struct task *current, *next;
    bool has_left, finished, is_stuck;
    struct outcome root;
    struct error *fatal;

    struct task *ready[MOST_TASKS + 2];
    unsigned ready_count;
    struct timer *timers[TIMERS];
    unsigned timer_count;

    /* What is open, in the order of opening; handles in the order of spawning. */
    struct scope *open_scopes[SCOPES];
    unsigned open_scope_count;
    struct group *open_groups[GROUPS];
    unsigned open_group_count;
    struct handle handles[HANDLES];
    unsigned handle_count;

    bool events[EVENTS];
    struct line event_waiters[EVENTS];
    struct lock locks[LOCKS];
    struct semaphore semaphores[SEMAPHORES];
    struct barrier {
        bool broken;
        unsigned ghosts; /* of a wrong model only */
        struct line waiters;
    } barriers[BARRIERS];
    struct queue queues[QUEUES];
    struct limiter limiters[LIMITERS];
    struct future futures[FUTURES];

    /* What the loop asks the system about, in the order in which it began to: ends, and what posts ring (NULL). */
    struct end *watched[WATCHES];
    unsigned watched_count;
    unsigned outside; /* tasks that wait for the world outside, or have not come back from that */
    bool inbox_rings; /* as it does once when it is opened */
    unsigned writes;

    /* What the loop has to call, the first first; what is rung; what is offloaded. */
    struct call *due, *rung;
    struct job *jobs;
    unsigned call_count, post_count, job_count, binding_count, open_posts;
    struct call calls[MOST_CALLS], posts[MOST_POSTS];
    struct job offloaded[MOST_JOBS];
    struct binding bindings[MOST_BINDINGS];

    unsigned task_count, error_count, link_count, scope_count, group_count, record_count, starting_count, cell_count,
        timer_made;
    struct task tasks[MOST_TASKS + 2];
    struct error errors[ERRORS];
    struct link links[LINKS];
    struct scope scopes[SCOPES];
    struct group groups[GROUPS];
    struct timer made_timers[SCOPES];
    struct handle_record records[RECORDS];
    struct starting startings[MOST_TASKS + 2];
    struct outcome_cell cells[MOST_TASKS + 2];
    struct cleanup cleanups[MOST_CLEANUPS];
    struct stream streams[STREAMS];
};

extern struct model model;

void give_up(void);

static inline bool wrong(enum model_error error)
{
    return __builtin_expect(model_wrong == error, false);
}

/* ---- errors.c ---- */

struct error *error_new(int code, short place);
struct error *group_error_new(short place, short task, short name);
void error_adopt(struct error *group, struct error *error);
bool error_contains(const struct error *group, const struct error *error);
bool error_stands_below(const struct error *group, const struct error *error);
void error_append_cause(struct error *error, struct error *cause);
unsigned error_leaves(const struct error *error);
void error_tell(const struct error *error);
void error_tell_shape(const struct error *error);
/* Also one that was wrapped on its way, if it is fatal. */
bool error_has_leaf(const struct error *error, const struct error *leaf);

int slot_note(struct task *task, int code, short place);
void slot_clear(struct slot *slot);
int slot_put(struct slot *slot, struct error *error);
struct error *slot_error(struct task *task);
struct error *slot_own(struct task *task, int code, short place);
struct error *slot_outcome(struct task *task, int code, short place);
int slot_wrap(struct task *task, int code, short place);

/* ---- scopes.c ---- */

void scope_attach(struct scope *scope, struct task *owner, struct scope *parent, enum scope_form form, short place);
void scope_detach(struct scope *scope);
struct scope *seen_by(const struct scope *scope);
int64_t due_for(const struct scope *scope);
void mark_cut(struct scope *scope);
void scope_cancel(struct scope *scope, int code, short who, short place);
void scope_move(struct scope *scope, struct scope *parent);
void scope_set_deadline(struct scope *scope, int64_t at);
void scope_unshield(struct scope *scope);
void register_scope(struct scope *scope);
void unregister_scope(const struct scope *scope);
int scope_settle(struct task *task, struct scope *scope, int rc, short place);
bool lets_cancel_go_on(const struct scope *scope);
int scope_join_pending(struct task *task, struct scope *scope, int rc, short place);
void scope_leave_pending(struct task *task, struct scope *scope, int rc, short place);
void scope_end(struct task *task, struct scope *scope, int rc);

/* ---- tasks.c ---- */

struct record *tell(enum record_kind kind, unsigned what);
void tell_value(enum value_of what, int64_t value, int code);
void trace(enum osr_trace_kind kind, const struct task *task, const char *call, short place, int code);
unsigned choose(enum osr_choice kind, unsigned n);

struct task *task_new(short statement, struct scope *parent);
void make_ready(struct task *task);
void look(bool wait);
struct timer *timer_set(int64_t at, struct scope *scope, struct task *sleeper);
struct timer *timer_of_wait(struct task *task, int64_t at, int result);
struct timer *timer_of_call(struct call *call, int64_t at);
void timer_clear(struct timer **timer);
void pause_task(struct task *task, void (*then)(struct task *task));
void park(struct task *task, struct line *line, const char *call, short place, void (*then)(struct task *task));
void line_append(struct line *line, struct task *task);
void line_append_case(struct line *line, struct task *task, int number, int64_t item);
void line_leave(struct waiter *waiter);
struct task *first_in(const struct line *line);
void wake(struct task *task, int result);
void wait_over(struct task *task); /* what most waits do when they end */
bool enter(struct task *task, short place);
bool enter_or(struct task *task, short place, void (*refused)(struct task *task));
void finish_refused(struct task *task);
void done_at_once(struct task *task, int rc);
void leave_for_good(struct task *task);

/* ---- statements.c ---- */

void execute_next(struct task *task);
void finish(struct task *task, int rc);
short place_at(const struct task *task, bool close);
const struct statement *statement_at(const struct task *task);
struct frame *top_frame(struct task *task);
struct frame *push_frame(struct task *task, enum purpose purpose, int statement);
bool run_cleanups(struct task *task);
void read_scope_closed(const struct scope *scope);

/* ---- groups.c ---- */

void open_group(struct task *task);
struct frame *push_group(struct task *task, enum purpose purpose);
void look_for_daemons(struct group *group);
void end_group_body(struct task *task);
void finish_group(struct task *task);
void do_spawn(struct task *task);
void do_start(struct task *task);
void do_started(struct task *task);
void do_next(struct task *task);
void task_body_ended(struct task *task);
void task_cleaned_up(struct task *task);
void do_join(struct task *task);
void do_handle(struct task *task);

/* ---- gather.c ---- */

void do_gather(struct task *task);
struct task *make_child(struct task *spawner, struct group *group, struct scope *parent, unsigned options);
bool takes_place(struct group *group);
struct group *group_meant(const struct task *task, unsigned char operand);
void end_gather(struct task *task);

/* ---- queues.c ---- */

void queues_prepare(void);
void do_queue(struct task *task, struct queue *queue);
void do_select(struct task *task);

/* ---- futures.c ---- */

void futures_prepare(void);
void do_limiter(struct task *task, struct limiter *limiter);
void release_permit(struct limiter *limiter);
void do_future(struct task *task, struct future *future);
int settle(struct future *future, enum settling how, const struct statement *at, short place, short who);

/* ---- streams.c ---- */

void streams_prepare(void);
void do_stream(struct task *task);
void open_inbox(void);
bool something_is_ready(void);
void tell_ready(void);

/* ---- calls.c ---- */

void do_call(struct task *task);
void do_post(struct task *task);
void do_offload(struct task *task);
void do_value(struct task *task);
void make_due(struct call *call);
void drop_calls(struct scope *scope, unsigned since);
void hear_posts(void);
void make_calls(void);
void run_job(void);
void run_left_jobs(void);

/* ---- sync.c ---- */

bool give_permit(struct semaphore *semaphore);
void set_event(unsigned number);
bool do_sync(struct task *task); /* false if it is none of these */
void release_lock(struct lock *lock);
void sync_prepare(void);
void sync_tell(void);

#endif
