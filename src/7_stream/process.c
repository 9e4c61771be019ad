/* Workers, seen from the task that waits for one: forked, listened to, and buried, whatever comes in between. */
#include <osier/process.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "0_base/text.h"
#include "3_scope/slot.h"
#include "6_ready/fd.h"
#include "6_ready/offload.h"
#include "6_ready/signal.h"
#include "7_stream/worker.h"

/* How often a process is asked after whose end the system does not tell of. */
#define TICK osr_ms(5)

struct worker {
    struct sched *sched;
    const struct osr_worker_options *options;
    const char *name;
    struct worker *next; /* of this thread's */

    pid_t pid;
    int in, pidfd;         /* pidfd: -1 where the system has none */
    struct watch output, death;
    struct osr_wait *wait; /* of the task, while it waits */
    struct osr_timer_ grace;
    bool late; /* the grace is over */

    /* What has come. */
    struct frame frame;
    size_t framed, left; /* bytes of the frame that are here, and of what follows it that are not */
    size_t got;          /* of the result */
    char *text;          /* of an error; NULL also if memory was short */
    size_t texted;
    unsigned causes;
    struct osr_error *error;
    bool forgetful;     /* an error was lost, so its causes would stand for it */
    bool ended;         /* with frame.code, which is what the function returned */
    bool silent;        /* nothing more will come */
    bool dead;
    int status;         /* then; -1 if somebody else has taken it */
};

/* The workers that this thread waits for: a new one must not keep their descriptors. */
static _Thread_local struct worker *workers;

/* ---- What a worker says ---- */

static int garbled(const struct worker *worker)
{
    return osr_fail_here(worker->options->where, -OSR_EWORKER, "worker \"%s\" wrote what is no result", worker->name);
}

static int begin_data(struct worker *worker)
{
    const struct osr_worker_options *options = worker->options;
    size_t fits = options->room - worker->got;

    if (worker->frame.size <= fits)
        return 0;
    return osr_fail_here(options->where, -EMSGSIZE, "worker \"%s\" gave more than the %zu bytes that there is room for",
                         worker->name, options->room);
}

/* Without memory for its words the error keeps its code. */
static int begin_error(struct worker *worker)
{
    if (worker->frame.size == 0 || worker->frame.size > MOST_ERROR || ++worker->causes > MOST_CAUSES)
        return garbled(worker);
    worker->text = osri_alloc(&worker->sched->memory, worker->left);
    worker->texted = 0;
    return 0;
}

/* The head of a frame is here. */
static int begin_frame(struct worker *worker)
{
    worker->left = worker->frame.size;
    if (worker->frame.kind == FRAME_DATA)
        return begin_data(worker);
    if (worker->frame.kind == FRAME_ERROR)
        return begin_error(worker);
    return worker->frame.kind == FRAME_END && worker->left == 0 ? 0 : garbled(worker);
}

/* The text behind `*at`, which moves on; NULL if there is none up to `end`. */
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at, *stop = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;

    if (stop)
        *at = stop + 1;
    return stop ? text : NULL;
}

/* The error that the worker has sent, made anew here; its place is kept as long as the program runs, like others. */
static struct osr_error *make_error(struct worker *worker)
{
    const char *at = worker->text, *end, *where, *task, *message;
    struct osr_error *error;

    if (!at)
        return NULL;
    end = at + worker->frame.size;
    where = next_text(&at, end);
    task = next_text(&at, end);
    message = next_text(&at, end);
    if (!message)
        return NULL;
    where = osri_text_keep(where);
    error = osri_error_new(worker->sched, worker->frame.code, where ? where : worker->options->where,
                           *task ? task : osri_who());
    if (error)
        osri_error_say(error, "%s", message);
    return error;
}

static void end_error(struct worker *worker)
{
    struct osr_error *error = worker->forgetful ? NULL : make_error(worker);

    if (!error)
        worker->forgetful = true;
    else if (worker->error)
        osri_error_append_cause(worker->error, error);
    else
        worker->error = error;
    osri_free(&worker->sched->memory, worker->text);
    worker->text = NULL;
}

static void end_frame(struct worker *worker)
{
    worker->framed = 0;
    if (worker->frame.kind == FRAME_ERROR)
        end_error(worker);
    worker->ended = worker->frame.kind == FRAME_END;
}

/* Takes the next bytes to where they belong: how many, 0 at the end, or a code. */
static ssize_t receive(struct worker *worker)
{
    char *into = (char *)&worker->frame + worker->framed, lost[256];
    size_t size = sizeof(worker->frame) - worker->framed;

    if (size == 0) {
        size = worker->left;
        if (worker->frame.kind == FRAME_DATA) {
            into = (char *)worker->options->result + worker->got;
        } else if (worker->text) {
            into = worker->text + worker->texted;
        } else {
            into = lost;
            size = size < sizeof(lost) ? size : sizeof(lost);
        }
    }
    return osri_sys_receive(&worker->sched->door, worker->in, into, size, MSG_DONTWAIT);
}

/* Counts what receive() has taken: 0 or a code. */
static int count(struct worker *worker, size_t n)
{
    int rc = 0;

    if (worker->framed < sizeof(worker->frame)) {
        worker->framed += n;
        if (worker->framed == sizeof(worker->frame))
            rc = begin_frame(worker);
    } else {
        worker->left -= n;
        if (worker->frame.kind == FRAME_DATA)
            worker->got += n;
        else
            worker->texted += n;
    }
    if (rc == 0 && worker->framed == sizeof(worker->frame) && worker->left == 0)
        end_frame(worker);
    return rc;
}

/* Takes all that has come: 0, or the code, with its error, of what ends it. There is never more than fits. */
static int listen_to(struct worker *worker)
{
    int rc = 0;

    while (rc == 0 && !worker->ended && !worker->silent) {
        ssize_t n = receive(worker);

        if (n == -EAGAIN)
            break;
        worker->silent = n == 0;
        rc = n < 0 ? osri_failed((int)n, worker->options->where) : count(worker, (size_t)n);
    }
    return rc;
}

/* ---- Its life and death ---- */

static void reap(struct worker *worker, bool wait)
{
    pid_t reaped = worker->dead ? 0 : osri_sys_reap(&worker->sched->door, worker->pid, &worker->status, wait);

    if (reaped == 0)
        return;
    worker->dead = true;
    if (reaped < 0)
        worker->status = -1;
}

static void look_after(struct worker *worker)
{
    reap(worker, false);
}

static void something_happened(struct worker *worker)
{
    if (worker->wait && worker->wait->linked_)
        osri_wake(worker->sched, worker->wait, 0);
}

static void output_ready(struct watch *watch)
{
    struct worker *worker = container_of(watch, struct worker, output);

    osri_watch_disarm(worker->sched, watch);
    something_happened(worker);
}

static void death_ready(struct watch *watch)
{
    struct worker *worker = container_of(watch, struct worker, death);

    osri_watch_disarm(worker->sched, watch);
    something_happened(worker);
}

static void grace_over(struct osr_timer_ *timer)
{
    struct worker *worker = container_of(timer, struct worker, grace);

    worker->late = true;
    something_happened(worker);
}

struct tick {
    struct osr_timer_ timer;
    struct worker *worker;
};

static void tick_over(struct osr_timer_ *timer)
{
    something_happened(container_of(timer, struct tick, timer)->worker);
}

static bool dies_unseen(const struct worker *worker)
{
    return worker->pidfd < 0 || worker->death.broken;
}

/* Whether it must be asked after: a death that cannot be seen is guessed from the end of its output. */
static bool is_out_of_sight(const struct worker *worker)
{
    return worker->output.broken || (dies_unseen(worker) && worker->silent);
}

/* Waits until something may have happened to it: 0, or -ECANCELED, which is not noted. */
static int await(struct worker *worker, bool uncut)
{
    struct sched *sched = worker->sched;
    struct tick tick = {.worker = worker};
    struct osr_wait wait;
    int rc;

    if (!uncut && sched->current->refusal)
        return -ECANCELED; /* since it was woken */
    wait_init(&wait, sched->current, "osr_worker", worker->options->where);
    wait.uncut_ = uncut;
    osri_timer_init(&tick.timer, tick_over, false);
    if (is_out_of_sight(worker)) {
        if (osri_timer_set(&sched->timers, &tick.timer, osr_time_add(osri_now(sched), TICK)) < 0) {
            osri_pause(sched); /* no memory to wait for a while: the others run, and then it is asked after again */
            return 0;
        }
        wait.timer_ = &tick.timer;
    }
    if (!worker->ended && !worker->silent && !worker->output.broken) /* then it has nothing more to say */
        osri_watch_arm(sched, &worker->output);
    if (!dies_unseen(worker))
        osri_watch_arm(sched, &worker->death);
    worker->wait = &wait;
    rc = osri_wait_quietly(sched, &wait);
    worker->wait = NULL;
    return rc;
}

/* Until the result is there, or the process has died without one: 0; -ECANCELED, not noted; or the code of what ends
 * it, with its error in the slot. */
static int attend(struct worker *worker)
{
    bool cut = false;
    int rc;

    for (;;) {
        look_after(worker); /* first: what it said before it died is still there */
        rc = listen_to(worker);
        if (rc < 0 || worker->ended || worker->dead)
            return rc;
        if (cut)
            return -ECANCELED;
        cut = await(worker, false) == -ECANCELED; /* the result may have come just before */
    }
}

static void send_signal(struct worker *worker, int number)
{
    int rc = -ENOSYS;

    if (worker->dead)
        return;
    if (worker->pidfd >= 0)
        rc = osri_sys_pidfd_signal(&worker->sched->door, worker->pidfd, number);
    if (rc < 0)
        (void)kill(worker->pid, number); /* it is not reaped, so the number is its own */
}

/* Gives it `options->grace` to end, uncancelled, and then ends it. */
static void bury(struct worker *worker)
{
    struct sched *sched = worker->sched;
    int64_t grace = worker->options->grace ? worker->options->grace : osr_s(1);

    osri_timers_unreserve(&sched->timers);
    if (worker->ended && dies_unseen(worker)) { /* it has nothing left to do but to go */
        send_signal(worker, SIGKILL);
        reap(worker, true);
    }
    if (grace != OSR_NEVER)
        (void)osri_timer_set(&sched->timers, &worker->grace, osr_time_add(osri_now(sched), grace));
    for (look_after(worker); !worker->dead; look_after(worker)) {
        if (worker->late)
            send_signal(worker, SIGKILL);
        worker->late = false;
        (void)await(worker, true);
    }
    osri_timer_clear(&sched->timers, &worker->grace);
}

/* Tells it that nobody wants its result any more: what it gives from now on is refused. */
static void give_up(struct worker *worker)
{
    worker->silent = true;
    osri_watch_disarm(worker->sched, &worker->output);
    (void)shutdown(worker->in, SHUT_RDWR);
    look_after(worker);
    send_signal(worker, SIGTERM);
}

/* ---- Its beginning and end ---- */

/* In the forked process: goes to work. What belongs to the waits of the one that forked is closed. */
static _Noreturn void become(const struct worker *worker, const struct work *work)
{
    for (; workers; workers = workers->next) {
        close(workers->in);
        if (workers->pidfd >= 0)
            close(workers->pidfd);
    }
    close(worker->in);
    osri_values_of_worker(worker->sched->current->scope);
    osri_work(work);
}

/* Forks: 0 or a code, and then nothing is left behind. */
static int hire(struct worker *worker, const struct osr_routine *routine, void *arg)
{
    struct sched *sched = worker->sched;
    struct work work = {
        .routine = routine, .arg = arg, .where = worker->options->where, .parent = getpid(),
        .fiber = &sched->current->fiber};
    int fds[2], rc = osri_sys_socket_pair(&sched->door, fds);

    if (rc < 0)
        return rc;
    worker->in = fds[0];
    work.out = fds[1];
    (void)fflush(stdout); /* else what is in its buffer would be written twice */
    osri_signals_fork_worker(true);
    worker->pid = osri_sys_fork(&sched->door);
    if (worker->pid == 0)
        become(worker, &work);
    osri_signals_fork_worker(false);
    (void)osri_sys_close(&sched->door, fds[1]);
    if (worker->pid > 0)
        return 0;
    (void)osri_sys_close(&sched->door, fds[0]);
    return worker->pid;
}

static void enlist(struct worker *worker)
{
    struct sched *sched = worker->sched;

    worker->pidfd = osri_sys_pidfd(&sched->door, worker->pid);
    osri_descriptor_made(sched, worker->in, worker->options->where);
    watch_init(&worker->output, worker->in, WATCH_READ, output_ready);
    if (worker->pidfd >= 0)
        osri_descriptor_made(sched, worker->pidfd, worker->options->where);
    watch_init(&worker->death, worker->pidfd, WATCH_READ, death_ready);
    osri_timer_init(&worker->grace, grace_over, false);
    worker->next = workers;
    workers = worker;
    if (sched->elsewhere++ == 0)
        sched->stands_since = 0; /* time that has passed since an earlier one is not taken from this one */
    sched->outside++;
}

static void dismiss(struct worker *worker)
{
    struct sched *sched = worker->sched;
    struct worker **at = &workers;

    while (*at != worker)
        at = &(*at)->next;
    *at = worker->next;
    sched->elsewhere--;
    sched->outside--;
    osri_watch_disarm(sched, &worker->output);
    osri_watch_disarm(sched, &worker->death);
    osri_descriptor_close(sched, worker->in);
    if (worker->pidfd >= 0)
        osri_descriptor_close(sched, worker->pidfd);
    osri_free(&sched->memory, worker->text);
}

/* ---- What it came to ---- */

static int died(const struct worker *worker)
{
    const char *where = worker->options->where, *name = worker->name;
    int status = worker->status, number = WTERMSIG(status);

    if (status == -1)
        return osr_fail_here(where, -OSR_EWORKER,
                             "worker \"%s\" gave no result, and its status was taken by somebody else", name);
    if (WIFEXITED(status))
        return osr_fail_here(where, -OSR_EWORKER, "worker \"%s\" ended with exit status %d and no result", name,
                             WEXITSTATUS(status));
    if (sigabbrev_np(number))
        return osr_fail_here(where, -OSR_EWORKER, "worker \"%s\" died of SIG%s: %s", name, sigabbrev_np(number),
                             sigdescr_np(number));
    return osr_fail_here(where, -OSR_EWORKER, "worker \"%s\" died of signal %d", name, number);
}

/* What the function returned. */
static int returned(struct worker *worker)
{
    struct sched *sched = worker->sched;
    const char *where = worker->options->where;
    int code = worker->frame.code;

    if (code >= 0)
        return code;
    if (code == -ECANCELED)
        return osr_fail_here(where, -OSR_ESPURIOUS, "worker \"%s\" returned -ECANCELED, which nobody has told it",
                             worker->name);
    if (!worker->error || worker->error->code != code)
        return osri_task_failed(sched->current, code, where);
    code = osri_slot_put(&sched->current->slot, worker->error);
    worker->error = NULL;
    return code;
}

/* From the fork to the end: what the function returned, or -ECANCELED, or a code with its error. */
static int watch_over(struct worker *worker)
{
    struct task *task = worker->sched->current;
    int rc = attend(worker);

    if (rc < 0)
        give_up(worker);
    bury(worker);
    if (rc == -ECANCELED)
        return osri_refused(worker->sched, task, worker->options->where);
    if (rc < 0)
        return rc;
    return worker->ended ? returned(worker) : died(worker);
}

static int run_worker(struct sched *sched, const struct osr_routine *routine, void *arg,
                      const struct osr_worker_options *options)
{
    struct worker worker = {.sched = sched, .options = options};
    int rc;

    worker.name = options->name ? options->name : routine->name ? routine->name : "";
    if (osri_timers_reserve(&sched->timers) < 0)
        return osri_failed(-ENOMEM, options->where);
    rc = hire(&worker, routine, arg);
    if (rc < 0) {
        osri_timers_unreserve(&sched->timers);
        return osri_failed(rc, options->where);
    }
    enlist(&worker);
    rc = watch_over(&worker);
    dismiss(&worker);
    if (options->got)
        *options->got = worker.got;
    osr_error_release(worker.error);
    return rc;
}

static bool makes_sense(const struct osr_routine *function, const struct osr_worker_options *options)
{
    return function && function->run && options && options->size == sizeof(*options) && options->grace >= 0 &&
           (options->result || options->room == 0);
}

int osr_worker_with(const struct osr_routine *function, void *arg, const struct osr_worker_options *options)
{
    struct sched *sched = osri_sched;
    const char *where = options ? options->where : NULL;
    int rc;

    if (options && options->size == sizeof(*options) && options->got)
        *options->got = 0;
    rc = osri_enter(sched, where);
    if (rc < 0)
        return rc;
    if (!makes_sense(function, options))
        return osri_failed(-EINVAL, where);
    return run_worker(sched, function, arg, options);
}
