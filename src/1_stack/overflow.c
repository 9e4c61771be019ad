#include "1_stack/overflow.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

enum { SIGNAL_STACK_SIZE = 1 << 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct sigaction previous;
static osri_explain_fault *explain_fault;

/* The frame of the handler that runs in this thread, or NULL. A handler before us may have jumped out of it, never to
 * come back; then the next one does not lie deeper on the signal stack. */
static _Thread_local char *volatile handling __attribute__((tls_model("initial-exec")));

static void die_of(int number, const siginfo_t *info)
{
    signal(number, SIG_DFL);
    if (info->si_code <= 0)
        raise(number);
}

static void handle(int number, siginfo_t *info, void *context)
{
    char *frame = __builtin_frame_address(0);

    if (handling && frame < handling) { /* the handler before us has called us again */
        die_of(number, info);
        return;
    }
    handling = frame;
    if (info->si_code > 0) /* a fault, not a kill() */
        explain_fault(info->si_addr);
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else if (previous.sa_handler == SIG_DFL || info->si_code > 0) { /* a kill() can be ignored, a fault cannot */
        die_of(number, info); /* a fault comes again as soon as this returns, and now ends the program */
    }
    handling = NULL;
}

static int install(osri_explain_fault *explain)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    int rc = 0;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&lock);
    explain_fault = explain;
    if (users == 0)
        rc = sigaction(SIGSEGV, &action, &previous) < 0 ? -errno : 0;
    users += rc == 0;
    pthread_mutex_unlock(&lock);
    return rc;
}

/* What somebody put in our place since then stays. */
static void uninstall(void)
{
    struct sigaction now;

    pthread_mutex_lock(&lock);
    if (--users == 0 && sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
        now.sa_sigaction == handle)
        sigaction(SIGSEGV, &previous, NULL);
    pthread_mutex_unlock(&lock);
}

static int give_signal_stack(struct overflow_guard *guard)
{
    stack_t stack;

    if (sigaltstack(NULL, &stack) < 0)
        return -errno;
    if (!(stack.ss_flags & SS_DISABLE))
        return 0; /* the thread has one */
    stack = (stack_t){.ss_size = SIGNAL_STACK_SIZE};
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return -errno;
    guard->stack = stack.ss_sp;
    return sigaltstack(&stack, NULL) < 0 ? -errno : 0;
}

/* A forked child must not find the lock held by a thread that it does not have. */
static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void prepare_process(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

int osri_overflow_open(struct overflow_guard *guard, osri_explain_fault *explain)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc;

    pthread_once(&once, prepare_process);

    *guard = (struct overflow_guard){0};
    rc = give_signal_stack(guard);
    if (rc == 0)
        rc = install(explain);
    guard->installed = rc == 0;
    if (rc < 0)
        osri_overflow_close(guard);
    return rc;
}

void osri_overflow_close(struct overflow_guard *guard)
{
    stack_t none = {.ss_flags = SS_DISABLE}, now;

    if (guard->installed)
        uninstall();
    if (guard->stack) {
        if (sigaltstack(NULL, &now) == 0 && now.ss_sp == guard->stack) /* what the program has put there since stays */
            sigaltstack(&none, NULL);
        munmap(guard->stack, SIGNAL_STACK_SIZE);
    }
    *guard = (struct overflow_guard){0};
}
