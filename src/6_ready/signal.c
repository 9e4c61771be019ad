#include "6_ready/signal.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "0_base/tools.h"
#include "2_sched/wait.h"

enum { SIGNALS = 64, MOST_WATCHES = 1 << 16, CHUNK = 16 };

_Static_assert(NSIG - 1 <= SIGNALS, "a set of all signals fits into a number");

/* Of what the handler reads, nothing goes away. One that was closed while a handler looks at it, and opened for somebody
 * else, may tell him of a signal that came just before: if he watches that at all, he cannot know the difference. */
struct signal_watch {
    _Atomic uint64_t set;    /* 0: idle */
    _Atomic uint64_t source; /* what is rung */
    atomic_uint use;
    atomic_uint counts[SIGNALS];
    atomic_bool told;              /* SIGNAL_INTERRUPT has come once */
    _Atomic(struct sched *) sched; /* read on its own thread only, which is this: */
    atomic_int thread;
    struct osr_waiters waiters;    /* the loop's: tasks, with SIGNAL_EVENTS */
    struct signal_watch *next;     /* idle ones */
};

static _Atomic(struct signal_watch *) chunks[MOST_WATCHES / CHUNK];
static atomic_uint made;
static struct signal_watch *idle;
static atomic_int process; /* that has installed the handler */

static struct {
    unsigned users;
    struct sigaction previous;
} handled[SIGNALS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t osri_signal_bit(int number)
{
    if (number < 1 || number > SIGNALS || number == SIGKILL || number == SIGSTOP)
        return 0;
    if (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL)
        return 0;
    return (uint64_t)1 << (number - 1);
}

/* ---- The handler: no lock, no memory ---- */

/* Marks a signal that was passed on by the thread that got it to the one it is about. */
static const char passed_on;

static void pass_on(int number, int thread)
{
    siginfo_t info;

    memset(&info, 0, sizeof(info));
    info.si_signo = number;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)(uintptr_t)&passed_on;
    (void)syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, number, &info);
}

static char *add(char *at, const char *end, const char *text)
{
    while (*text && at < end)
        *at++ = *text++;
    return at;
}

static void name_running(struct sched *sched)
{
    const struct task *task = sched->current;
    char line[512], *end = line + sizeof(line) - 2, *at = line;

    if (!task)
        return;
    at = add(at, end, "osier: task \"");
    at = add(at, end, task->name);
    at = add(at, end, "\", spawned at ");
    at = add(at, end, task->where);
    at = add(at, end, ", runs at this moment");
    *at++ = '\n';
    *at = '\0';
    sched->diagnose(sched->diagnose_arg, OSR_DIAGNOSIS_RUNNING, line);
}

/* Names what its run does at this moment, which that run's own thread alone can tell; what was passed on goes no
 * further. */
static void name_at_once(struct signal_watch *watch, int number, bool passed)
{
    int thread = atomic_load(&watch->thread);

    if (thread == (int)syscall(SYS_gettid))
        name_running(atomic_load(&watch->sched));
    else if (!passed)
        pass_on(number, thread);
}

static bool is_for(struct signal_watch *watch, int number)
{
    return atomic_load(&watch->set) & (uint64_t)1 << (number - 1);
}

static void tell(struct signal_watch *watch, int number, bool passed)
{
    unsigned use = atomic_load(&watch->use);

    if (use == SIGNAL_DUMP)
        name_at_once(watch, number, passed);
    if (passed)
        return;
    if (use == SIGNAL_INTERRUPT && atomic_exchange(&watch->told, true)) {
        signal(number, SIG_DFL);
        raise(number); /* it is blocked until the handler returns */
    }
    atomic_fetch_add(&watch->counts[number - 1], 1);
    (void)osri_source_ring(atomic_load(&watch->source), BELL, NULL, NULL);
}

static struct signal_watch *watch_at(unsigned index)
{
    return &atomic_load(&chunks[index / CHUNK])[index % CHUNK];
}

static void handle(int number, siginfo_t *info, void *context)
{
    bool passed = info->si_code == SI_QUEUE && info->si_value.sival_ptr == &passed_on && info->si_pid == getpid();
    unsigned count = atomic_load(&made), i;
    int kept = errno;

    (void)context;
    if (atomic_load(&process) == getpid()) /* else a child that was forked past us shares our memory or descriptors */
        for (i = 0; i < count; i++)
            if (is_for(watch_at(i), number))
                tell(watch_at(i), number, passed);
    errno = kept;
}

/* ---- Installing it ---- */

static bool is_ours(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO && now.sa_sigaction == handle;
}

/* The lock is held. */
static int install(const struct door *door, int number)
{
    /* On the alternate stack, since a task's may be nearly used up; but Valgrind, coming back from there to a stack that
     * it knows, takes what lies between the two for gone. */
    int on_stack = osri_valgrind_runs() ? 0 : SA_ONSTACK;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART | on_stack};
    int rc = 0;

    sigemptyset(&action.sa_mask);
    atomic_store(&process, getpid());
    if (handled[number - 1].users == 0)
        rc = osri_sys_handle(door, number, &action, &handled[number - 1].previous);
    handled[number - 1].users += rc == 0;
    return rc;
}

static void restore(int number)
{
    if (is_ours(number))
        (void)sigaction(number, &handled[number - 1].previous, NULL);
}

static void uninstall(int number)
{
    if (--handled[number - 1].users == 0)
        restore(number);
}

/* All signals of the set that are smaller than `below`. The lock is held. */
static void uninstall_below(uint64_t set, int below)
{
    int number;

    for (number = 1; number < below; number++)
        if (set & (uint64_t)1 << (number - 1))
            uninstall(number);
}

/* The lock is held. */
static int install_all(const struct door *door, uint64_t set)
{
    int number, rc = 0;

    for (number = 1; number <= SIGNALS && rc == 0; number++) {
        if (set & (uint64_t)1 << (number - 1))
            rc = install(door, number);
        if (rc < 0)
            uninstall_below(set, number);
    }
    return rc;
}

/* ---- Forked children: they have the handlers of the program, and no signal comes in between ---- */

static _Thread_local sigset_t mask;

static void before_fork(void)
{
    sigset_t all;

    pthread_mutex_lock(&lock);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &mask);
}

static void in_parent(void)
{
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pthread_mutex_unlock(&lock);
}

static _Thread_local bool forks_worker;

void osri_signals_fork_worker(bool worker)
{
    forks_worker = worker;
}

static void in_child(void)
{
    unsigned count = atomic_load(&made), i;
    int number;

    for (number = 1; number <= SIGNALS; number++) {
        if (handled[number - 1].users > 0 && forks_worker && number != SIGTERM && number != SIGCHLD)
            signal(number, SIG_IGN);
        else if (handled[number - 1].users > 0)
            restore(number);
        handled[number - 1].users = 0;
    }
    for (i = 0; i < count; i++)
        atomic_store(&watch_at(i)->set, 0);
    in_parent();
}

static void prepare_process(void)
{
    (void)pthread_atfork(before_fork, in_parent, in_child);
}

/* ---- Watches ---- */

/* The lock is held. 0 or -ENOMEM. */
static int make_chunk(void)
{
    static const struct door closed; /* take_idle() has asked already */
    unsigned count = atomic_load(&made), i;
    struct signal_watch *chunk;
    int code;

    if (count == MOST_WATCHES)
        return -ENOMEM;
    chunk = osri_sys_map(&closed, CHUNK * sizeof(*chunk), &code);
    if (!chunk)
        return code;
    for (i = CHUNK; i-- > 0;) {
        chunk[i].next = idle;
        idle = &chunk[i];
    }
    atomic_store(&chunks[count / CHUNK], chunk);
    atomic_store(&made, count + CHUNK);
    return 0;
}

/* The lock is held. */
static struct signal_watch *take_idle(const struct door *door, int *code)
{
    struct signal_watch *watch;

    *code = osri_choose(door, OSR_CHOICE_FAULT, 2, "mmap\0ENOMEM") ? -ENOMEM : 0;
    if (*code == 0 && !idle)
        *code = make_chunk();
    if (*code < 0)
        return NULL;
    watch = idle;
    idle = watch->next;
    return watch;
}

/* The lock is held. */
static void give_back(struct signal_watch *watch)
{
    atomic_store(&watch->set, 0);
    watch->next = idle;
    idle = watch;
}

static void begin(struct signal_watch *watch, struct source *source, enum signal_use use, uint64_t set)
{
    int i;

    for (i = 0; i < SIGNALS; i++)
        atomic_store(&watch->counts[i], 0);
    atomic_store(&watch->told, false);
    atomic_store(&watch->use, use);
    atomic_store(&watch->sched, source->sched);
    atomic_store(&watch->thread, (int)syscall(SYS_gettid));
    atomic_store(&watch->source, osri_source_id(source));
    atomic_store(&watch->set, set);
}

struct signal_watch *osri_signal_watch(struct source *source, enum signal_use use, uint64_t set, int *code)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct door *door = &source->sched->door;
    struct signal_watch *watch;

    pthread_once(&once, prepare_process);
    pthread_mutex_lock(&lock);
    watch = take_idle(door, code);
    if (watch) {
        begin(watch, source, use, set);
        *code = install_all(door, set);
        if (*code < 0) {
            give_back(watch);
            watch = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return watch;
}

int osri_signal_take(struct signal_watch *watch, unsigned *count)
{
    uint64_t set = atomic_load(&watch->set);
    int number;

    for (number = 1; number <= SIGNALS; number++)
        if (set & (uint64_t)1 << (number - 1)) {
            *count = atomic_exchange(&watch->counts[number - 1], 0);
            if (*count > 0)
                return number;
        }
    return 0;
}

unsigned osri_signal_unwatch(struct signal_watch *watch)
{
    unsigned left = 0, count = 0;

    pthread_mutex_lock(&lock);
    uninstall_below(atomic_load(&watch->set), SIGNALS + 1);
    while (osri_signal_take(watch, &count) > 0)
        left += count;
    give_back(watch);
    pthread_mutex_unlock(&lock);
    return left;
}

/* ---- As events ---- */

/* Hands what has come to those who wait. */
static void hand_over(struct signal_watch *watch)
{
    unsigned count;
    int number = 1;

    while (number > 0 && !osr_waiters_empty(&watch->waiters)) {
        struct osr_wait *wait = wait_of(watch->waiters.list_.next);

        number = osri_signal_take(watch, &count);
        if (number > 0) {
            *(unsigned *)wait->item = count;
            osri_wake(osri_sched, wait, number);
        }
    }
}

static void came(struct source *source, enum bell_kind kind, unsigned rings)
{
    (void)kind, (void)rings;
    hand_over(source->arg);
}

/* Nothing here is in the frame of whoever watches, which may be gone when his scope closes. */
static void shut(struct source *source)
{
    struct signal_watch *watch = source->arg;

    while (!osr_waiters_empty(&watch->waiters))
        osri_wake(osri_sched, wait_of(watch->waiters.list_.next), -OSR_ECLOSED);
    osri_source_close(source);
    (void)osri_signal_unwatch(watch);
}

static void leave(struct osr_bound_ *bound)
{
    shut(container_of(bound, struct source, bound));
}

/* The set of these signals, 0 if there are none or one that cannot be watched. */
static uint64_t set_of(const int *numbers, size_t count)
{
    uint64_t set = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        if (!osri_signal_bit(numbers[i]))
            return 0;
        set |= osri_signal_bit(numbers[i]);
    }
    return set;
}

int osr_signals_open_with(struct osr_signals *signals, const int *numbers, size_t count, const char *where)
{
    struct task *task = osri_current();
    uint64_t set = numbers ? set_of(numbers, count) : 0;
    struct signal_watch *watch;
    struct source *source;
    int rc;

    if (!signals)
        return osri_failed(-EINVAL, where);
    *signals = (struct osr_signals){0};
    if (!set)
        return osri_failed(-EINVAL, where);
    if (!task)
        return osri_failed(-EPERM, where);
    source = osri_source_open(task->sched, task->scope, leave, &rc);
    if (!source)
        return osri_task_failed(task, rc, where);
    source->heard = came;
    source->wakes_only = true;
    watch = osri_signal_watch(source, SIGNAL_EVENTS, set, &rc);
    if (!watch) {
        osri_source_close(source);
        return osri_task_failed(task, rc, where);
    }
    osr_waiters_init(&watch->waiters);
    source->arg = watch;
    signals->post_.id_ = osri_source_id(source);
    return 0;
}

/* What it stands on, if it is open and ours; NULL with a code. */
static struct source *source_of(const struct osr_signals *signals, int *code)
{
    struct source *source = NULL;

    *code = -EINVAL;
    if (signals)
        source = osri_source_of_ours(signals->post_.id_, code);
    if (*code == -ESTALE)
        *code = -OSR_ECLOSED;
    return source;
}

static int wait_for_one(struct sched *sched, struct signal_watch *watch, unsigned *count, const char *where)
{
    struct osr_wait wait;
    int number = 0;

    if (osr_waiters_empty(&watch->waiters))
        number = osri_signal_take(watch, count);
    if (number > 0) {
        osri_at_once(sched);
        return number;
    }
    wait_init(&wait, sched->current, "osr_signal_wait", where);
    wait.item = count;
    list_append(&watch->waiters.list_, &wait.waiter_.node_);
    number = osri_wait(sched, &wait);
    return number < 0 ? osri_task_failed(sched->current, number, where) : number;
}

int osr_signal_wait_here(struct osr_signals *signals, unsigned *count, const char *where)
{
    struct sched *sched = osri_sched;
    struct source *source;
    unsigned ignored;
    int rc = osri_enter(sched, where);

    if (rc < 0)
        return rc;
    source = source_of(signals, &rc);
    if (!source) {
        osri_at_once(sched);
        return osri_task_failed(sched->current, rc, where);
    }
    return wait_for_one(sched, source->arg, count ? count : &ignored, where);
}

int osr_signals_close(struct osr_signals *signals)
{
    struct source *source;
    int rc;

    source = source_of(signals, &rc);
    if (!source)
        return osri_failed(rc, NULL);
    shut(source);
    return 0;
}
