/* Streams of bytes as the rules have them: R12 to R14, R19, R28, the contracts of fd.h, and what src/README.md says of
 * descriptors that are waited for. A stream is a pipe that has room for one page. */
#include "model/state.h"

#include <limits.h>

void streams_prepare(void)
{
    int i, k;

    model.watched_count = model.outside = model.writes = 0;
    model.inbox_rings = false;
    for (i = 0; i < STREAMS; i++) {
        struct stream *stream = &model.streams[i];

        stream->offset = stream->length = 0;
        stream->blocks = stream_blocks((unsigned)i);
        for (k = 0; k < 2; k++)
            stream->ends[k] = (struct end){.stream = stream, .reads = k == READS_FROM, .open = true};
    }
}

/* ---- Pipes of one page, as Linux has them ---- */

static bool is_ready(const struct end *end)
{
    const struct stream *stream = end->stream;

    return end->reads ? stream->length > 0 || !stream->ends[WRITES_TO].open
                      : stream->length == 0 || !stream->ends[READS_FROM].open;
}

/* A count, 0 at the end, or -EAGAIN. */
static int read_bytes(struct stream *stream, unsigned size, char *into)
{
    unsigned count = size < stream->length ? size : stream->length;

    if (count == 0)
        return stream->ends[WRITES_TO].open ? -EAGAIN : 0;
    memcpy(into, stream->bytes + stream->offset, count);
    stream->offset += count;
    stream->length -= count;
    return (int)count;
}

/* What fits into a page that has been begun is put there only if it is what a write has beyond whole pages. */
static int write_bytes(struct stream *stream, unsigned size, const char *from)
{
    unsigned count = stream->length > 0 ? size % stream_room() : size < stream_room() ? size : stream_room();

    if (!stream->ends[READS_FROM].open)
        return -EPIPE;
    if (stream->length == 0)
        stream->offset = 0;
    if (count == 0 || stream->offset + stream->length + count > stream_room())
        return -EAGAIN;
    memcpy(stream->bytes + stream->offset + stream->length, from, count);
    stream->length += count;
    return (int)count;
}

/* ---- What the loop asks the system about ---- */

static void watch(struct end *end)
{
    if (end && end->watched)
        return;
    if (end)
        end->watched = true;
    model.watched[model.watched_count++] = end;
}

static void watch_no_more(struct end *end)
{
    unsigned i, n;

    for (i = n = 0; i < model.watched_count; i++)
        if (model.watched[i] != end)
            model.watched[n++] = model.watched[i];
    model.watched_count = n;
    end->watched = false;
}

void open_inbox(void)
{
    model.inbox_rings = true;
    watch(NULL);
}

static bool has_come(const struct end *end)
{
    return end ? is_ready(end) : model.inbox_rings || model.rung;
}

bool something_is_ready(void)
{
    unsigned i;

    for (i = 0; i < model.watched_count; i++)
        if (has_come(model.watched[i]))
            return true;
    return false;
}

/* Who waits has the loop try again; where nobody is at it, the loop need not look at it any more. */
static void tell_of(struct end *end)
{
    if (!end) {
        model.inbox_rings = false;
        hear_posts();
        return;
    }
    end->spent = false;
    if (end->waiter.first)
        wake(first_in(&end->waiter), 0);
    else if (!end->busy)
        watch_no_more(end);
}

/* The first watched first, unless the door says otherwise. */
void tell_ready(void)
{
    struct end *ready[WATCHES];
    unsigned count = 0, i, pick;

    for (i = 0; i < model.watched_count; i++)
        if (has_come(model.watched[i]))
            ready[count++] = model.watched[i];
    while (count > 0) {
        struct end *end;

        pick = choose(OSR_CHOICE_EVENT, count);
        pick = wrong(WRONG_LAST_WATCHED_FIRST) ? count - 1 - pick : pick;
        end = ready[pick];
        memmove(&ready[pick], &ready[pick + 1], (--count - pick) * sizeof(ready[0]));
        tell_of(end);
    }
}

/* ---- Operations ---- */

static const char *call_of(const struct task *task)
{
    switch (statement_at(task)->op) {
    case OP_READ:
        return "osr_read";
    case OP_WRITE:
        return "osr_write";
    case OP_WRITE_ALL:
        return "osr_write_all";
    case OP_READABLE:
        return "osr_fd_readable";
    default:
        return "osr_fd_writable";
    }
}

/* The statement is done. */
static void over(struct task *task, int rc)
{
    struct transfer *transfer = &task->transfer;
    int op = statement_at(task)->op;

    if (op == OP_READ && rc > 0)
        tell_value(VALUE_BYTES, (int64_t)transfer->hash, rc);
    if (op == OP_WRITE_ALL && rc == -ECANCELED && wrong(WRONG_CUT_WROTE_ALL))
        transfer->done = transfer->size;
    if (op == OP_WRITE_ALL)
        tell_value(VALUE_WRITTEN, transfer->done, 0);
    finish(task, rc < 0 ? slot_note(task, rc, place_at(task, false)) : rc);
}

static void refused(struct task *task)
{
    mark_cut(task->inner);
    over(task, -ECANCELED);
}

/* How much is moved at a time: all, unless the door wants it short, which it is asked where cancellations are injected. */
static unsigned some_of(unsigned size)
{
    unsigned pick = model.program->is_injected && size >= 2 ? choose(OSR_CHOICE_SHORT, 3) : 0;

    return pick == 0 ? size : pick == 1 ? 1 : (size + 1) / 2;
}

/* What the system says to it: a count, 0, -EAGAIN, -EPIPE. */
static int attempt(struct task *task)
{
    static char bytes[MOST_TRANSFER];
    struct transfer *transfer = &task->transfer;
    struct end *end = transfer->end;
    int op = statement_at(task)->op, n;
    unsigned size;

    if (op == OP_READABLE || op == OP_WRITABLE)
        return is_ready(end) ? 0 : -EAGAIN;
    size = some_of(transfer->size - transfer->done);
    if (!end->reads && end->stream->blocks && size > PIPE_BUF)
        size = PIPE_BUF; /* so much a pipe takes that can be written */
    if (end->stream->blocks && !is_ready(end))
        n = -EAGAIN; /* it is asked before */
    else if (end->reads)
        n = read_bytes(end->stream, size, bytes);
    else
        n = write_bytes(end->stream, size, stream_data(transfer->number) + transfer->done);
    end->spent = n > 0 && (unsigned)n < size && !wrong(WRONG_TRIES_FIRST);
    if (end->reads && n > 0)
        transfer->hash = stream_hash(bytes, (size_t)n);
    return n;
}

static void begin_part(struct task *task);

/* All of it, or one part of what is written in several. */
static void part_over(struct task *task)
{
    struct transfer *transfer = &task->transfer;
    int rc = task->rc;

    if (statement_at(task)->op == OP_WRITE_ALL && rc > 0) {
        transfer->done += (unsigned)rc;
        if (transfer->done < transfer->size) {
            if (enter_or(task, place_at(task, false), refused))
                begin_part(task);
            return;
        }
        rc = 0;
    }
    over(task, rc);
}

/* It counts as a call that finishes at once, whether it has waited or not. */
static void end_part(struct task *task, int rc)
{
    task->rc = rc;
    if (--task->budget == 0 && !wrong(WRONG_BUDGET))
        pause_task(task, part_over);
    else
        part_over(task);
}

static void leave_end(struct task *task, int rc)
{
    task->transfer.end->busy = false;
    end_part(task, rc);
}

static void woken(struct task *task);

static void wait_at_end(struct task *task)
{
    struct end *end = task->transfer.end;

    watch(end);
    model.outside++;
    park(task, &end->waiter, call_of(task), place_at(task, false), woken);
}

static void refused_meanwhile(struct task *task)
{
    mark_cut(task->inner);
    leave_end(task, -ECANCELED);
}

static void woken(struct task *task)
{
    struct end *end = task->transfer.end;
    int rc = task->result;

    model.outside--;
    if (task->was_cut)
        mark_cut(task->inner);
    if (task->was_cut && end->reads && end->stream->length > 0 && wrong(WRONG_BYTE_LOST))
        end->stream->length--;
    if (rc == 0 && !end->open)
        rc = -EBADF;
    if (rc == 0)
        rc = attempt(task);
    if (rc != -EAGAIN)
        leave_end(task, rc);
    else if (enter_or(task, place_at(task, false), refused_meanwhile))
        wait_at_end(task);
}

static void begin_part(struct task *task)
{
    struct end *end = task->transfer.end;
    int op = statement_at(task)->op, rc;

    if (!end || !end->open || end->reads != (op == OP_READ || op == OP_READABLE)) {
        end_part(task, -EBADF);
    } else if (end->busy && !wrong(WRONG_TWO_READERS)) {
        end_part(task, -EBUSY);
    } else {
        end->busy = true;
        rc = end->spent ? -EAGAIN : attempt(task);
        if (rc == -EAGAIN)
            wait_at_end(task);
        else
            leave_end(task, rc);
    }
}

/* ---- Closing ---- */

/* Who waits for it is told; who has been woken finds out by itself. */
static int close_end(struct end *end)
{
    if (!end || !end->open)
        return -EBADF;
    end->open = false;
    watch_no_more(end);
    if (end->waiter.first && !wrong(WRONG_CLOSE_UNTOLD))
        wake(first_in(&end->waiter), -EBADF);
    if (end->reads)
        end->stream->length = 0;
    return 0;
}

/* Somebody who has descriptors of his own, as another process might: for him there is no library. */
static int do_outside(const struct statement *at, struct stream *stream)
{
    static char bytes[MOST_TRANSFER];

    if (!stream->ends[READS_FROM].open || !stream->ends[WRITES_TO].open)
        return 0;
    if (outsider_puts(at))
        return size_of(at) ? write_bytes(stream, size_of(at), stream_data(model.writes++)) : 0;
    return size_of(at) ? read_bytes(stream, size_of(at), bytes) : 0;
}

void do_stream(struct task *task)
{
    const struct statement *at = statement_at(task);
    struct stream *stream = &model.streams[stream_of(at)];
    struct end *end = end_of(at) == NO_END ? NULL : &stream->ends[end_of(at)];
    bool moves = at->op == OP_READ || at->op == OP_WRITE || at->op == OP_WRITE_ALL;
    short place = place_at(task, false);
    int rc;

    if (at->op == OP_OUTSIDER) {
        finish(task, do_outside(at, stream)); /* the slot is left alone */
        return;
    }
    if (at->op == OP_FD_CLOSE) {
        rc = close_end(end);
        finish(task, rc < 0 ? slot_note(task, rc, place) : 0);
        return;
    }
    task->transfer = (struct transfer){.end = end, .size = moves ? size_of(at) : 0};
    if (moves && at->op != OP_READ)
        task->transfer.number = model.writes++;
    if (!enter_or(task, place, refused))
        return;
    if (moves && task->transfer.size == 0)
        end_part(task, 0); /* whatever the descriptor is */
    else
        begin_part(task);
}
