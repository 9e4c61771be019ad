/*
 * What comes from a worker process (src/7_stream/process.c), in pieces of any size, against a reader that has it whole:
 * the result, the error with its causes, and whatever is no result; also without memory. The file is included, as what
 * reads is not for other files.
 */
#include "target.h"

#include <stdlib.h>

#include "7_stream/process.c"

static const char *const wrongs[] = {"a frame may be of any kind", "a result may be larger than its room",
                                     "the error's code does not matter", "causes come in reverse",
                                     "what follows the end counts", "half a frame is an end", NULL};
enum { WRONG_KIND = 1, WRONG_ROOM, WRONG_CODE, WRONG_REVERSE, WRONG_AFTER, WRONG_HALF };

enum { MOST_STREAM = 1 << 17, ROOM = 64 };

static unsigned char stream[MOST_STREAM];
static size_t streamed;
static size_t pieces[64]; /* how much arrives at a time; in the end all that is left */
static unsigned piece_count;
static int exit_status;
static unsigned fails_at;

/* ---- As it should be ---- */

struct said {
    int code;
    const char *where, *task, *message;
};

struct reading {
    int rc; /* of what is no result */
    bool ended;
    int code;
    size_t got;
    struct said errors[MOST_CAUSES];
    unsigned count;
    bool forgetful;
};

static bool read_text(const char **at, const char *end, const char **text)
{
    *text = *at;
    while (*at < end && **at)
        ++*at;
    return (*at)++ < end;
}

static void read_error(struct reading *reading, const struct frame *frame, const char *at)
{
    const char *end = at + frame->size;
    struct said said = {.code = frame->code};

    if (!read_text(&at, end, &said.where) || !read_text(&at, end, &said.task) || !read_text(&at, end, &said.message))
        reading->forgetful = true;
    if (!reading->forgetful)
        reading->errors[reading->count++] = said;
}

static int read_frame(struct reading *reading, const struct frame *frame, unsigned *causes)
{
    switch (frame->kind) {
    case FRAME_DATA:
        return frame->size > ROOM - reading->got && wrong != WRONG_ROOM ? -EMSGSIZE : 0;
    case FRAME_ERROR:
        return frame->size == 0 || frame->size > MOST_ERROR || ++*causes > MOST_CAUSES ? -OSR_EWORKER : 0;
    case FRAME_END:
        return frame->size == 0 ? 0 : -OSR_EWORKER;
    default:
        return wrong == WRONG_KIND ? 0 : -OSR_EWORKER;
    }
}

static void read_stream(struct reading *reading, unsigned char result[ROOM])
{
    unsigned causes = 0;
    size_t at = 0;

    *reading = (struct reading){0};
    while (streamed - at >= sizeof(struct frame) && reading->rc == 0 && (!reading->ended || wrong == WRONG_AFTER)) {
        struct frame frame;
        size_t here;

        memcpy(&frame, stream + at, sizeof(frame));
        at += sizeof(frame);
        here = streamed - at < frame.size ? streamed - at : (size_t)frame.size;
        reading->rc = read_frame(reading, &frame, &causes);
        if (reading->rc == 0 && frame.kind == FRAME_DATA) {
            memcpy(result + reading->got, stream + at, here < ROOM - reading->got ? here : ROOM - reading->got);
            reading->got += here;
        }
        if (reading->rc < 0 || (here < frame.size && wrong != WRONG_HALF))
            return;
        if (frame.kind == FRAME_ERROR && here == frame.size)
            read_error(reading, &frame, (const char *)stream + at);
        if (frame.kind == FRAME_END) {
            reading->ended = true;
            reading->code = frame.code;
        }
        at += here;
    }
    if (wrong == WRONG_HALF && at < streamed)
        reading->ended = true;
}

static int expected_of(const struct reading *reading)
{
    if (reading->rc < 0)
        return reading->rc;
    if (!reading->ended)
        return -OSR_EWORKER;
    return reading->code == -ECANCELED ? -OSR_ESPURIOUS : reading->code;
}

/* ---- As it is ---- */

/* Whether the error of the code that is given was sent. */
static bool has_error(const struct reading *reading, int rc)
{
    return reading->rc == 0 && reading->ended && rc < 0 && reading->code == rc && reading->count > 0 &&
           (reading->errors[0].code == rc || wrong == WRONG_CODE);
}

static void check_error(const struct reading *reading, const struct osr_error *error)
{
    unsigned i;

    for (i = 0; i < reading->count && error; i++, error = error->cause) {
        const struct said *said = &reading->errors[wrong == WRONG_REVERSE ? reading->count - 1 - i : i];

        check(error->code == said->code, "error %u has code %d, and not %d", i, error->code, said->code);
        check(strcmp(error->where, said->where) == 0, "error %u is of %s, and not of %s", i, error->where, said->where);
        check(strncmp(error->task, *said->task ? said->task : "root", OSR_NAME_SIZE - 1) == 0,
              "error %u is of task \"%s\", and not of \"%s\"", i, error->task, said->task);
        check(strcmp(osr_error_message(error), said->message) == 0, "error %u says \"%s\", and not \"%s\"", i,
              osr_error_message(error), said->message);
    }
    check(i == reading->count, "%u errors are here, and %u were sent", i, reading->count);
    check(!error, "there are more errors than were sent");
}

/* What watch_over() does, without a process. */
static int hear(struct worker *worker, int out)
{
    size_t sent = 0;
    unsigned i = 0;
    int rc = 0;

    while (rc == 0 && sent < streamed && !worker->ended) {
        size_t size = i < piece_count && pieces[i] < streamed - sent ? pieces[i] : streamed - sent;
        ssize_t n = send(out, stream + sent, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        check(n > 0, "the socket takes no more");
        i++;
        sent += (size_t)n;
        rc = listen_to(worker);
    }
    close(out);
    if (rc == 0)
        rc = listen_to(worker);
    worker->status = exit_status;
    if (rc == 0)
        rc = worker->ended ? returned(worker) : died(worker);
    return rc;
}

/* How the process ended, in words. */
static void check_death(const char *message)
{
    char words[64];

    if (exit_status == -1)
        snprintf(words, sizeof(words), "taken by somebody else");
    else if (WIFEXITED(exit_status))
        snprintf(words, sizeof(words), "with exit status %d and", WEXITSTATUS(exit_status));
    else if (sigabbrev_np(WTERMSIG(exit_status)))
        snprintf(words, sizeof(words), "died of SIG%s:", sigabbrev_np(WTERMSIG(exit_status)));
    else
        snprintf(words, sizeof(words), "died of signal %d", WTERMSIG(exit_status));
    check(strstr(message, words), "of a process that ended with %d is said: %s", exit_status, message);
}

OSR_TASK(root, void, unused)
{
    unsigned char result[ROOM], expected_result[ROOM];
    const struct osr_worker_options options = {.where = "here", .result = result, .room = ROOM};
    struct worker worker = {.sched = osri_sched, .options = &options, .name = "worker"};
    struct reading reading;
    int fds[2], rc, expected;

    memset(result, 0, sizeof(result));
    memset(expected_result, 0, sizeof(expected_result));
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "there is no socket");
    read_stream(&reading, expected_result);
    worker.in = fds[0];
    refuse_at = fails_at;
    rc = hear(&worker, fds[1]);
    refuse_at = 0;
    expected = expected_of(&reading);
    tell("gives %s (%d), %zu bytes, %u errors%s\n", osr_strcode(rc), rc, worker.got, reading.count,
         refused ? ", short of memory" : "");
    check(rc == expected, "it gives %d, and not %d", rc, expected);
    check(worker.got == reading.got && memcmp(result, expected_result, ROOM) == 0, "%zu bytes came, and not %zu",
          worker.got, reading.got);
    check(rc >= 0 || osr_error_code(osr_error_last()) == rc, "the error is another one");
    if (!refused && reading.rc == 0 && !reading.ended)
        check_death(osr_error_message(osr_error_last()));
    if (!refused && has_error(&reading, rc))
        check_error(&reading, osr_error_last());
    close(fds[0]);
    osri_free(&worker.sched->memory, worker.text);
    osr_error_release(worker.error);
    osr_error_clear();
    return 0;
}

/* ---- Inputs ---- */

static void add(const void *bytes, size_t size)
{
    if (size > MOST_STREAM - streamed)
        size = MOST_STREAM - streamed;
    memcpy(stream + streamed, bytes, size);
    streamed += size;
}

static const int codes[] = {-EIO, -ECANCELED, 0, 7, -OSR_EGROUP, INT32_MIN, -EPROTO, -OSR_EWORKER};

/* A frame, mostly as a worker would send it. */
static void add_frame(struct input *input)
{
    static const char *const places[] = {"a.c:1", "b.c:22", "", "x"};
    unsigned what = take(input, 8), i, lie = take(input, 16);
    struct frame frame = {.kind = what < 3 ? FRAME_DATA : what < 6 ? FRAME_ERROR : FRAME_END,
                          .code = codes[take(input, 8)]};
    char content[512];
    size_t size = 0;

    if (frame.kind == FRAME_DATA)
        for (i = take(input, 40); i > 0; i--)
            content[size++] = (char)take_byte(input);
    if (frame.kind == FRAME_ERROR) {
        size = (size_t)snprintf(content, sizeof(content), "%s", places[take(input, 4)]) + 1;
        for (i = 0; i < 2; i++) {
            unsigned length = take(input, 90);

            while (length-- > 0)
                content[size++] = (char)(take_byte(input) | 1); /* no NUL */
            content[size++] = '\0';
        }
        size -= lie == 2;
    }
    frame.size = size;
    if (lie == 0) {
        frame.size = take_byte(input);
        frame.size <<= take(input, 64);
    }
    if (lie == 1)
        frame.kind ^= 1u << take(input, 32);
    add(&frame, sizeof(frame));
    add(content, size);
}

static void run(const unsigned char *bytes, size_t size)
{
    struct input input = {bytes, bytes + size};
    unsigned i, mode = take_byte(&input);

    streamed = piece_count = 0;
    exit_status = take(&input, 4) == 0 ? -1 : (int)take_word(&input);
    fails_at = mode % 8 == 1 ? 1 + take(&input, 6) : 0;
    for (i = take(&input, 16); i > 0; i--)
        pieces[piece_count++] = 1 + take_byte(&input);
    if (mode % 8 == 0) {
        add(input.at, (size_t)(input.end - input.at));
    } else {
        while (!is_over(&input))
            add_frame(&input);
        if (mode & 8)
            streamed -= streamed > mode >> 4 ? mode >> 4 : 0; /* cut short */
    }
    tell("%zu bytes come in at least %u pieces, exit status %d\n", streamed, piece_count, exit_status);
    check(run_simulated(&root.routine_, NULL) == 0, "the run failed");
}

const struct target target = {.name = "worker", .run = run, .longest = 300, .wrongs = wrongs};
