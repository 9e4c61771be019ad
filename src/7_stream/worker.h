/*
 * The inside of a worker process, and what it says to the one who waits for it: frames, of which the last tells what
 * the function returned. Both ends are the same program on the same machine, so numbers travel as they are.
 */
#ifndef OSIER_STREAM_WORKER_H
#define OSIER_STREAM_WORKER_H

#include <sys/types.h>

#include <osier/process.h>

#include "1_stack/stack.h"

enum frame_kind {
    FRAME_DATA = 0x0051e701, /* `size` bytes of the result */
    FRAME_ERROR,             /* an error with `code`, then its cause, and so on: place, task, message, each with its NUL */
    FRAME_END                /* the function has returned `code`; nothing follows */
};

struct frame {
    uint32_t kind;
    int32_t code;
    uint64_t size; /* of what follows */
};

/* So many errors are sent of a chain of causes, and so many bytes of a message; and what one of them has at most. */
enum { MOST_CAUSES = 32, MOST_MESSAGE = 1 << 16, MOST_ERROR = MOST_MESSAGE + 8192 };

/* What a worker is to do, told by the process that forks it. */
struct work {
    const struct osr_routine *routine;
    void *arg;
    const char *where;   /* the place of the call */
    pid_t parent;
    int out;             /* where the frames go */
    struct fiber *fiber; /* that forks */
};

/* The life of the forked process, from the fork to its end. */
_Noreturn void osri_work(const struct work *work);

#endif
