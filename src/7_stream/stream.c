/* Reading and writing streams of bytes, on any descriptor that can be polled. */
#include <limits.h>

#include "0_base/sys.h"
#include "6_ready/fd.h"

struct transfer {
    void *into;
    const void *from;
    size_t size;
};

/* How much of it is moved at a time: all, unless the door wants it short. */
static inline __attribute__((always_inline)) size_t some_of(struct sched *sched, size_t size, const char *call)
{
    unsigned pick;

    if (likely(!sched->inject) || size < 2)
        return size;
    pick = osri_choose(&sched->door, OSR_CHOICE_SHORT, 3, call);
    return pick == 0 ? size : pick == 1 ? 1 : (size + 1) / 2;
}

/* A descriptor that is no socket may be a blocking one: 0 if it would not block now, -EAGAIN if it would, or a code. */
static __attribute__((noinline)) int would_block(struct sched *sched, const struct descriptor *descriptor, short events)
{
    struct pollfd poll = {descriptor->fd, events, 0};
    int n;

    if (descriptor->nonblocking)
        return 0;
    n = osri_sys_poll(&sched->door, &poll, 1, 0);
    return n > 0 ? 0 : n < 0 ? n : -EAGAIN;
}

static inline __attribute__((always_inline)) ssize_t read_now(struct sched *sched, struct descriptor *descriptor,
                                                              void *operation)
{
    const struct transfer *transfer = operation;
    size_t size = some_of(sched, transfer->size, "read");
    ssize_t n;

    if (likely(descriptor->socket)) {
        n = osri_sys_receive(&sched->door, descriptor->fd, transfer->into, size, MSG_DONTWAIT);
    } else {
        n = would_block(sched, descriptor, POLLIN);
        if (n == 0)
            n = osri_sys_read(&sched->door, descriptor->fd, transfer->into, size);
    }
    osri_descriptor_spent(descriptor, WATCH_READ, n > 0 && (size_t)n < size);
    return n;
}

/* What a terminal takes that says that it can be written: some letters at once, or one character that it may make more of. */
enum { TERMINAL_BUF = 128 };

static size_t terminal_takes(const unsigned char *data, size_t size)
{
    size_t n = 0;

    while (n < size && n < TERMINAL_BUF && data[n] >= ' ')
        n++;
    return n > 0 ? n : 1;
}

/* How much of it does not block where the descriptor says that it can be written. */
static __attribute__((noinline)) size_t without_blocking(const struct descriptor *descriptor, const void *data, size_t size)
{
    if (descriptor->nonblocking)
        return size;
    if (descriptor->terminal)
        return terminal_takes(data, size);
    return size < PIPE_BUF ? size : PIPE_BUF;
}

static inline __attribute__((always_inline)) ssize_t write_now(struct sched *sched, struct descriptor *descriptor,
                                                               void *operation)
{
    const struct transfer *transfer = operation;
    size_t size = some_of(sched, transfer->size, "write");
    ssize_t n;

    if (likely(descriptor->socket)) {
        n = osri_sys_send(&sched->door, descriptor->fd, transfer->from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        size = without_blocking(descriptor, transfer->from, size);
        n = would_block(sched, descriptor, POLLOUT);
        if (n == 0)
            n = osri_sys_write(&sched->door, descriptor->fd, transfer->from, size);
    }
    osri_descriptor_spent(descriptor, WATCH_WRITE, n > 0 && (size_t)n < size);
    return n;
}

static bool is_transfer(const void *memory, size_t size)
{
    return size <= INT_MAX && (memory || size == 0);
}

/* A transfer of nothing, or one that cannot be, is a cancellation point like the others. */
static int transfer_nothing(bool valid, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter(sched, where);

    if (rc < 0)
        return rc;
    if (!valid)
        rc = osri_task_failed(sched->current, -EINVAL, where);
    osri_at_once(sched);
    return rc;
}

int osr_read_here(int fd, void *buffer, size_t size, const char *where)
{
    struct transfer transfer = {.into = buffer, .size = size};

    if (size == 0 || !is_transfer(buffer, size))
        return transfer_nothing(is_transfer(buffer, size), where);
    return (int)osri_operate(fd, WATCH_READ, read_now, &transfer, "osr_read", where);
}

/* What there is room for. */
static inline __attribute__((always_inline)) ssize_t write_some(int fd, const void *data, size_t size, const char *call,
                                                                const char *where)
{
    struct transfer transfer = {.from = data, .size = size};

    return osri_operate(fd, WATCH_WRITE, write_now, &transfer, call, where);
}

int osr_write_here(int fd, const void *data, size_t size, const char *where)
{
    if (size == 0 || !is_transfer(data, size))
        return transfer_nothing(is_transfer(data, size), where);
    return (int)write_some(fd, data, size, "osr_write", where);
}

/* What the first part has left. Others ran after each part: the number may stand for something else by now. */
static __attribute__((noinline)) int write_rest(int fd, const char *data, size_t size, size_t *done, unsigned closes,
                                                const char *where)
{
    ssize_t n = 0;

    for (; n >= 0 && *done < size; *done += n > 0 ? (size_t)n : 0)
        n = osri_closes_of(fd) == closes ? write_some(fd, data + *done, size - *done, "osr_write_all", where)
                                         : osri_task_failed(osri_sched->current, -EBADF, where);
    return n < 0 ? (int)n : 0;
}

int osr_write_all_here(int fd, const void *data, size_t size, size_t *written, const char *where)
{
    unsigned closes = osri_closes_of(fd);
    size_t done = 0;
    ssize_t n;

    if (unlikely(size == 0 || !data))
        n = transfer_nothing(data || size == 0, where);
    else
        n = write_some(fd, data, size, "osr_write_all", where);
    if (n > 0)
        done = (size_t)n;
    if (unlikely(n >= 0 && done < size))
        n = write_rest(fd, data, size, &done, closes, where);
    if (written)
        *written = done;
    return n < 0 ? (int)n : 0;
}
