/* In a worker process: there is no run, one thread, and nobody else to wait for; so everything here blocks. */
#include "7_stream/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "0_base/text.h"
#include "3_scope/slot.h"

/* The stack of the function, as large as that of a program usually is: a task's would be small for what a worker is
 * good for. */
enum { WORKER_STACK = 8 << 20 };

/* Which worker this process is: its number, so that a child of its own is none. */
static pid_t worker;
static int out = -1;

/* ---- Sending ---- */

/* 0; -EPIPE if nobody listens any more; what send() failed with. */
static int send_all(const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t n = send(out, at, size, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return errno == ECONNRESET ? -EPIPE : -errno;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int send_frame(enum frame_kind kind, int code, uint64_t size)
{
    struct frame frame = {.kind = kind, .code = code, .size = size};

    return send_all(&frame, sizeof(frame));
}

int osr_worker_give(const void *data, size_t size)
{
    int rc;

    if (worker != getpid())
        return osri_failed(-EPERM, NULL);
    if (!data && size > 0)
        return osri_failed(-EINVAL, NULL);
    rc = size > 0 ? send_frame(FRAME_DATA, 0, size) : 0;
    if (rc == 0)
        rc = send_all(data, size);
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

static int send_text(const char *text, size_t length)
{
    int rc = send_all(text, length);

    return rc < 0 ? rc : send_all("", 1);
}

/* One error of a chain; an exception group is told in words. */
static int send_error(const struct osr_error *error)
{
    static char tree[MOST_MESSAGE];
    const char *message = osr_error_message(error), *where = error->where, *task = error->task;
    size_t length, where_length = strnlen(where, 4096), task_length = strlen(task);
    int rc;

    if (osr_error_is_group(error)) {
        (void)osr_error_format(error, tree, sizeof(tree));
        message = tree;
    }
    length = strnlen(message, MOST_MESSAGE);
    rc = send_frame(FRAME_ERROR, error->code, where_length + task_length + length + 3);
    if (rc == 0)
        rc = send_text(where, where_length);
    if (rc == 0)
        rc = send_text(task, task_length);
    return rc < 0 ? rc : send_text(message, length);
}

/* Whoever waits may have given up, and then there is nobody to tell. */
static void report(int code, const char *where)
{
    const struct osr_error *error = NULL;
    int sent = 0, rc = 0;

    if (code < 0 && code != -ECANCELED)
        error = osri_slot_own(osri_slot(), code, where);
    for (; error && sent < MOST_CAUSES && rc == 0; error = error->cause, sent++)
        rc = send_error(error);
    if (rc == 0)
        (void)send_frame(FRAME_END, code, 0);
}

/* ---- Working ---- */

static const struct work *work;

/* What lies on top of the worker's own stack. */
struct top {
    struct fiber fiber;
    struct lining lining;
};

/* The first function on the worker's own stack, which AddressSanitizer must not instrument: it enters it here. */
__attribute__((no_sanitize_address)) static void begin(void *fiber)
{
    int code;

    osri_fiber_begin(fiber, osri_tools());
    code = work->routine->run(work->arg);
    if (worker != getpid()) /* who waits would take this for the worker's own end */
        osri_die(NULL, "osier: the function of a worker, called at %s, returned in a process that the worker has forked\n",
                 place_or_unknown(work->where));
    report(code, work->where);
    osri_slot_clear(osri_slot());
    _exit(0);
}

/* What is of the program that this one was copied from. */
static void leave_program(void)
{
    if (out >= 0)
        close(out); /* a worker's worker */
    out = work->out;
    worker = getpid();
    osri_slot_clear(osri_slot());
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != work->parent)
        _exit(0); /* it has died in between */
}

_Noreturn void osri_work(const struct work *given)
{
    static const struct door closed;
    const struct memory memory = {.from = osri_malloc_allocator};
    struct stacks stacks;
    struct fiber *fiber;
    int code;

    work = given;
    leave_program();
    osri_stacks_open(&stacks, WORKER_STACK, sizeof(struct top), offsetof(struct top, lining), &memory, &closed);
    fiber = osri_stack_take(&stacks, &code);
    if (!fiber) {
        report(code, work->where);
        _exit(0);
    }
    osri_fiber_make(fiber, 0, begin);
    osri_fiber_switch(work->fiber, fiber, osri_tools() & (TOOL_ASAN | TOOL_TSAN));
    abort(); /* nobody comes back from there */
}
