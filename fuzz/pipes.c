#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

int pipes_are_possible(void)
{
    return !SANITIZED;
}

static int ask(struct pollfd *fds, nfds_t count, int timeout)
{
    struct timespec left = {timeout / 1000, timeout % 1000 * 1000000L};

    return (int)syscall(SYS_ppoll, fds, count, timeout < 0 ? NULL : &left, NULL, 0);
}

#if SANITIZED
void pipes_begin(int reads_from, int writes_to)
{
    (void)reads_from, (void)writes_to;
}

int pipes_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    return ask(fds, count, timeout);
}
#else

enum { NUMBERS = 256, PIPES = 8, MOST_ROOM = 1 << 16, MOST_POLLED = 64 };

enum end { READS_FROM, WRITES_TO };

static struct pipe {
    bool open[2], blocks[2];
    size_t offset, length; /* of what is in it, in its page */
    char page[MOST_ROOM];
} pipes[PIPES];

/* Which end of which pipe a number is: 0 for none. */
static unsigned char known[NUMBERS];

static struct pipe *pipe_of(int fd, enum end *end)
{
    unsigned number = (unsigned)fd < NUMBERS ? known[fd] : 0;

    *end = number & 1;
    return number ? &pipes[number / 2 - 1] : NULL;
}

static size_t room(void)
{
    static size_t page;

    if (!page)
        page = (size_t)sysconf(_SC_PAGESIZE);
    if (page > MOST_ROOM)
        abort();
    return page;
}

void pipes_begin(int reads_from, int writes_to)
{
    unsigned i = 0;

    while (i < PIPES && (pipes[i].open[READS_FROM] || pipes[i].open[WRITES_TO]))
        i++;
    if (i == PIPES || reads_from >= NUMBERS || writes_to >= NUMBERS)
        abort();
    memset(&pipes[i], 0, offsetof(struct pipe, page));
    pipes[i].open[READS_FROM] = pipes[i].open[WRITES_TO] = true;
    pipes[i].blocks[READS_FROM] = pipes[i].blocks[WRITES_TO] = true;
    known[reads_from] = (unsigned char)(2 * (i + 1) + READS_FROM);
    known[writes_to] = (unsigned char)(2 * (i + 1) + WRITES_TO);
}

static int fail(int code)
{
    errno = code;
    return -1;
}

/* A library that would be kept waiting here has been found out. */
static int would_block(const struct pipe *pipe, enum end end)
{
    if (!pipe->blocks[end])
        return fail(EAGAIN);
    fputs("fuzzer: the library blocks in a pipe\n", stderr);
    abort();
}

/* ---- What stands in for the system ---- */

ssize_t read(int fd, void *buffer, size_t size)
{
    enum end end;
    struct pipe *pipe = pipe_of(fd, &end);

    if (!pipe)
        return syscall(SYS_read, fd, buffer, size);
    if (end != READS_FROM)
        return fail(EBADF);
    if (size == 0 || (pipe->length == 0 && !pipe->open[WRITES_TO]))
        return 0;
    if (pipe->length == 0)
        return would_block(pipe, end);
    size = size < pipe->length ? size : pipe->length;
    memcpy(buffer, pipe->page + pipe->offset, size);
    pipe->offset += size;
    pipe->length -= size;
    return (ssize_t)size;
}

/* An empty pipe takes up to a page. To what is there Linux adds what is over whole pages, if that fits behind it, and then has
 * no place for the rest. */
ssize_t write(int fd, const void *data, size_t size)
{
    enum end end;
    struct pipe *pipe = pipe_of(fd, &end);

    if (!pipe)
        return syscall(SYS_write, fd, data, size);
    if (end != WRITES_TO)
        return fail(EBADF);
    if (size == 0)
        return 0;
    if (!pipe->open[READS_FROM])
        return fail(EPIPE);
    if (pipe->length == 0) {
        pipe->offset = 0;
        size = size < room() ? size : room();
    } else {
        size %= room();
        if (size == 0 || pipe->offset + pipe->length + size > room())
            return would_block(pipe, end);
    }
    memcpy(pipe->page + pipe->offset + pipe->length, data, size);
    pipe->length += size;
    return (ssize_t)size;
}

static short events_of(const struct pipe *pipe, enum end end)
{
    if (end == READS_FROM)
        return (short)((pipe->length > 0 ? POLLIN : 0) | (pipe->open[WRITES_TO] ? 0 : POLLHUP));
    return (short)((pipe->length == 0 ? POLLOUT : 0) | (pipe->open[READS_FROM] ? 0 : POLLERR));
}

/* Those of the others that are ready, among some that are in memory. */
static int poll_others(struct pollfd *fds, nfds_t count, int timeout)
{
    struct pollfd others[MOST_POLLED];
    enum end end;
    nfds_t i;
    int ready;

    if (count > MOST_POLLED)
        abort();
    for (i = 0; i < count; i++) {
        others[i] = fds[i];
        if (pipe_of(fds[i].fd, &end))
            others[i].fd = -1;
    }
    ready = ask(others, count, timeout);
    for (i = 0; ready >= 0 && i < count; i++)
        if (others[i].fd >= 0)
            fds[i].revents = others[i].revents;
    return ready;
}

int pipes_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    nfds_t i, here = 0;
    int ready = 0, others = 0;

    for (i = 0; i < count; i++) {
        enum end end;
        struct pipe *pipe = pipe_of(fds[i].fd, &end);

        if (!pipe)
            continue;
        here++;
        fds[i].revents = events_of(pipe, end) & (fds[i].events | POLLERR | POLLHUP);
        ready += fds[i].revents != 0;
    }
    if (here == 0)
        return ask(fds, count, timeout);
    if (here < count || (ready == 0 && timeout != 0))
        others = poll_others(fds, count, ready > 0 ? 0 : timeout);
    return others < 0 ? others : ready + others;
}

int fcntl(int fd, int command, ...)
{
    enum end end;
    struct pipe *pipe = pipe_of(fd, &end);
    va_list list;
    long argument;

    va_start(list, command);
    argument = va_arg(list, long);
    va_end(list);
    if (pipe && command == F_GETFL)
        return (end == READS_FROM ? O_RDONLY : O_WRONLY) | (pipe->blocks[end] ? 0 : O_NONBLOCK);
    if (pipe && command == F_SETFL) {
        pipe->blocks[end] = !(argument & O_NONBLOCK);
        return 0;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int close(int fd)
{
    enum end end;
    struct pipe *pipe = pipe_of(fd, &end);

    if (pipe) {
        pipe->open[end] = false;
        known[fd] = 0;
    }
    return (int)syscall(SYS_close, fd);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    enum end end;

    if (pipe_of(fd, &end))
        return fail(ENOTSOCK);
    return (int)syscall(SYS_getsockopt, fd, level, option, value, size);
}

int isatty(int fd)
{
    char settings[256];
    enum end end;

    if (pipe_of(fd, &end))
        return fail(ENOTTY) + 1;
    return syscall(SYS_ioctl, fd, TCGETS, settings) == 0;
}

int fstat(int fd, struct stat *status)
{
    enum end end;
    struct pipe *pipe = pipe_of(fd, &end);

    if (!pipe)
        return (int)syscall(SYS_fstat, fd, status);
    *status = (struct stat){.st_ino = (ino_t)(pipe - pipes) + 1};
    return 0;
}

#endif
