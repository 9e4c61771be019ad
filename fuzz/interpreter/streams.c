/* Statements about streams, which are pipes with room for a page. */
#include "interpreter/state.h"
#include "pipes.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Beyond all numbers that are given out in a run, so that the number of a closed one stands for nothing. */
enum { NUMBERS = 48 };

/* They are kept from program to program, unless one has closed an end. Under libev they are the system's, else they lie in
 * memory where that is possible. */
static struct pipe {
    int ends[2]; /* by enum stream_end */
    bool made;
} kept[2][STREAMS];
static struct pipe *pipes = kept[0];

static char buffers[ACTORS][MOST_TRANSFER], outsiders[MOST_TRANSFER];

static int move_up(int fd)
{
    int up = fcntl(fd, F_DUPFD_CLOEXEC, NUMBERS);

    if (up < 0)
        abort();
    close(fd);
    return up;
}

static void set_blocking(const struct pipe *pipe, bool blocks)
{
    int k;

    for (k = 0; k < 2; k++)
        (void)fcntl(pipe->ends[k], F_SETFL, blocks ? 0 : O_NONBLOCK);
}

static int stand_in(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    if (fd < 0)
        abort();
    return fd;
}

static void make_pipe(struct pipe *pipe)
{
    bool in_memory = pipes == kept[0] && pipes_are_possible();
    int ends[2];

    if (in_memory) {
        ends[READS_FROM] = stand_in();
        ends[WRITES_TO] = stand_in();
    } else if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[WRITES_TO], F_SETPIPE_SZ, stream_room()) < 0) {
        abort();
    }
    *pipe = (struct pipe){{move_up(ends[READS_FROM]), move_up(ends[WRITES_TO])}, true};
    if (in_memory)
        pipes_begin(pipe->ends[READS_FROM], pipe->ends[WRITES_TO]);
    set_blocking(pipe, stream_blocks((unsigned)(pipe - pipes)));
}

static bool is_used(int i)
{
    return machine.program->streams >> i & 1;
}

void streams_begin(void)
{
    int i;

    pipes = kept[machine.world >= WORLD_LIBEV];
    for (i = 0; i < STREAMS; i++) {
        if (is_used(i) && !pipes[i].made)
            make_pipe(&pipes[i]);
        machine.streams[i] = (struct stream){.open = {true, true}};
    }
}

static void unmake_pipe(int i)
{
    int k;

    for (k = 0; k < 2; k++)
        if (machine.streams[i].open[k])
            close(pipes[i].ends[k]);
    pipes[i].made = false;
}

/* After the run, to which the descriptors are known no more. */
void streams_end(void)
{
    int i;

    for (i = 0; i < STREAMS; i++)
        if (is_used(i) && !(machine.streams[i].drained && machine.streams[i].open[WRITES_TO]))
            unmake_pipe(i);
}

/* In a forked child, where they are the parent's too. */
void streams_forget(void)
{
    struct pipe *pipe;
    int k;

    for (pipe = kept[0]; pipe < kept[0] + 2 * STREAMS; pipe++) {
        for (k = 0; pipe->made && k < 2; k++)
            close(pipe->ends[k]);
        pipe->made = false;
    }
}

/* So that the runner has the room that it will need: for as many descriptors as there are, and a post's. */
static int wait_in_vain(void *arg)
{
    struct osr_scope limit;

    osr_move_on_open(&limit, 1);
    (void)osr_fd_readable(*(const int *)arg);
    return osr_scope_close(&limit, 0);
}

int streams_warm_up(void)
{
    static const struct osr_routine routine = {wait_in_vain, "", NULL};
    int fds[2 * STREAMS], rc, i;

    pipes = kept[0];
    signal(SIGPIPE, SIG_IGN); /* what is written into a pipe that nobody reads any more gives a code */
    for (i = 0; i < STREAMS; i++) {
        if (!pipes[i].made)
            make_pipe(&pipes[i]);
        fds[2 * i] = fcntl(pipes[i].ends[READS_FROM], F_DUPFD_CLOEXEC, NUMBERS);
        fds[2 * i + 1] = pipes[i].ends[READS_FROM];
    }
    rc = osr_gather_with(&routine, fds, 2 * STREAMS, sizeof(fds[0]), NULL);
    for (i = 0; i < STREAMS; i++)
        (void)osr_fd_close(fds[2 * i]);
    return rc;
}

/* Reads, or writes, as somebody might who has descriptors of his own, such as do not block. */
static ssize_t move_outside(int number, bool puts, const char *data, size_t size)
{
    const struct pipe *pipe = &pipes[number];
    bool blocks = stream_blocks((unsigned)number);
    ssize_t n;

    if (blocks)
        set_blocking(pipe, false);
    n = puts ? write(pipe->ends[WRITES_TO], data, size) : read(pipe->ends[READS_FROM], outsiders, size);
    n = n < 0 ? -errno : n;
    if (blocks)
        set_blocking(pipe, true);
    return n;
}

/* The root, in the end: what is left in them. */
void streams_tell(void)
{
    int i;

    for (i = 0; i < STREAMS; i++) {
        struct stream *stream = &machine.streams[i];
        ssize_t n = 0;

        if (!is_used(i))
            continue;
        if (stream->open[READS_FROM])
            n = move_outside(i, false, NULL, MOST_TRANSFER);
        n = n < 0 ? 0 : n;
        note_value(VALUE_COUNT, n, 0);
        stream->drained = stream->open[READS_FROM];
        if (stream->drained && stream->written != stream->read + (uint64_t)n)
            broken("%llu bytes were written into stream %d, %llu read, and %zd are left",
                   (unsigned long long)stream->written, i, (unsigned long long)stream->read, n);
    }
}

/* Nothing will ever come from the other end: what waits for a stream is given something, or room. */
void streams_stir(void)
{
    int i;

    for (i = 0; i < STREAMS; i++) {
        struct stream *stream = &machine.streams[i];
        ssize_t n;

        if (!is_used(i) || !stream->open[READS_FROM] || !stream->open[WRITES_TO])
            continue;
        n = move_outside(i, false, NULL, MOST_TRANSFER);
        if (n > 0)
            stream->read += (uint64_t)n;
        else
            stream->written += move_outside(i, true, outsiders, 1) == 1;
    }
}

static int close_end(const struct statement *at, int fd, const char *place)
{
    int rc = osr_fd_close_here(fd, place);

    if (rc != -EBADF && end_of(at) != NO_END)
        machine.streams[stream_of(at)].open[end_of(at)] = false; /* also if the system says that something was wrong */
    return rc;
}

static int read_some(struct actor *actor, const struct statement *at, int fd, const char *place)
{
    char *buffer = buffers[actor - machine.actors];
    int rc = osr_read_here(fd, buffer, size_of(at), place);

    if (rc > 0) {
        machine.streams[stream_of(at)].read += (unsigned)rc;
        note_value(VALUE_BYTES, (int64_t)stream_hash(buffer, (size_t)rc), rc);
    }
    return rc;
}

static int write_some(const struct statement *at, int fd, const char *place)
{
    const char *data = stream_data(machine.writes++);
    size_t written = 0;
    int rc;

    if (at->op == OP_WRITE) {
        rc = osr_write_here(fd, data, size_of(at), place);
        written = rc > 0 ? (size_t)rc : 0;
    } else {
        rc = osr_write_all_here(fd, data, size_of(at), &written, place);
        note_value(VALUE_WRITTEN, (int64_t)written, 0);
    }
    machine.streams[stream_of(at)].written += written;
    return rc;
}

/* Somebody who has descriptors of his own, as another process might. */
static int do_outside(const struct statement *at)
{
    struct stream *stream = &machine.streams[stream_of(at)];
    const char *data;
    ssize_t n;

    if (!stream->open[READS_FROM] || !stream->open[WRITES_TO] || size_of(at) == 0)
        return 0;
    data = outsider_puts(at) ? stream_data(machine.writes++) : NULL;
    n = move_outside((int)stream_of(at), outsider_puts(at), data, size_of(at));
    if (n < 0)
        return (int)n;
    *(outsider_puts(at) ? &stream->written : &stream->read) += (uint64_t)n;
    return (int)n;
}

int use_stream(struct actor *actor, int index)
{
    const struct statement *at = statement(index);
    const char *place = place_of(index, false);
    int fd = end_of(at) == NO_END ? -1 : pipes[stream_of(at)].ends[end_of(at)];

    switch (at->op) {
    case OP_READ:
        return read_some(actor, at, fd, place);
    case OP_READABLE:
        return osr_fd_readable_here(fd, place);
    case OP_WRITABLE:
        return osr_fd_writable_here(fd, place);
    case OP_FD_CLOSE:
        return close_end(at, fd, place);
    case OP_OUTSIDER:
        return do_outside(at);
    default:
        return write_some(at, fd, place);
    }
}
