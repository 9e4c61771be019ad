#include "8_run/trace.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "0_base/text.h"

/* What one event can take at most: three texts, each cut, of which every byte may become six. */
enum { MOST_TEXT = 1024, MOST_EVENT = 3 * 6 * MOST_TEXT + 2048, BUFFER = 1 << 16, MOST_PATH = 4096 };

/* The file is complete after each write: what follows goes over this end, which stands behind it again. */
static const char end_of_file[] = "\n]}\n";

struct trace {
    int fd;
    int failed; /* the code of a write that failed; nothing is written after it */
    bool seeks; /* else the end is written only once */
    off_t offset;
    uint64_t running; /* the task whose step is open; 0: none */
    osr_observe *observe; /* the program's own, told after us; or NULL */
    void *observe_arg;
    size_t used; /* whole events in the buffer */
    char path[MOST_PATH];
    char buffer[BUFFER + sizeof(end_of_file)];
};

/* ---- Writing ---- */

static ssize_t write_some(const struct trace *trace, const char *data, size_t size, off_t offset)
{
    ssize_t n;

    do
        n = trace->seeks ? pwrite(trace->fd, data, size, offset) : write(trace->fd, data, size);
    while (n < 0 && errno == EINTR);
    return n;
}

static void write_out(struct trace *trace, bool last)
{
    size_t size = trace->used, done = 0;

    if (trace->seeks || last) {
        memcpy(trace->buffer + size, end_of_file, sizeof(end_of_file) - 1);
        size += sizeof(end_of_file) - 1;
    }
    while (!trace->failed && done < size) {
        ssize_t n = write_some(trace, trace->buffer + done, size - done, trace->offset + (off_t)done);

        if (n < 0)
            trace->failed = -errno;
        else
            done += (size_t)n;
    }
    trace->offset += (off_t)trace->used;
    trace->used = 0;
}

/* ---- JSON ---- */

/* How many bytes from `at` on are one character of UTF-8; 0 if they are none. */
static size_t character(const unsigned char *at)
{
    static const struct {
        unsigned char mask, lead, low, high; /* of the first byte; what the second may be */
        size_t size;
    } forms[] = {
        {0xff, 0xe0, 0xa0, 0xbf, 3}, {0xff, 0xed, 0x80, 0x9f, 3}, {0xff, 0xf0, 0x90, 0xbf, 4},
        {0xff, 0xf4, 0x80, 0x8f, 4}, {0xf0, 0xe0, 0x80, 0xbf, 3}, {0xfc, 0xf0, 0x80, 0xbf, 4},
        {0xe0, 0xc0, 0x80, 0xbf, 2},
    };
    size_t i, k;

    if (*at < 0x80)
        return 1;
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if ((*at & forms[i].mask) != forms[i].lead)
            continue;
        if (*at < 0xc2 || at[1] < forms[i].low || at[1] > forms[i].high)
            return 0;
        for (k = 2; k < forms[i].size; k++)
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].size;
    }
    return 0;
}

/* A string with its quotes. Bytes that are no UTF-8, as of a name that was cut, become U+FFFD. */
static void put_string(struct text *text, const char *string)
{
    const unsigned char *at = (const unsigned char *)string, *end = at + strnlen(string, MOST_TEXT);

    osri_text(text, "\"");
    while (at < end) {
        size_t size = character(at);

        if (size == 0)
            osri_text(text, "\\ufffd");
        else if (*at == '"' || *at == '\\')
            osri_text(text, "\\%c", *at);
        else if (*at < ' ' || *at == 0x7f)
            osri_text(text, "\\u%04x", *at);
        else
            osri_text(text, "%.*s", (int)size, (const char *)at);
        at += size ? size : 1;
    }
    osri_text(text, "\"");
}

static void put_member(struct text *text, const char *name, const char *string)
{
    osri_text(text, "\"%s\":", name);
    put_string(text, place_or_unknown(string));
}

/* A code as a number, and a failure's symbol with it. */
static void put_code(struct text *text, int code)
{
    osri_text(text, "\"code\":%d", code);
    if (code < 0)
        osri_text(text, ",\"symbol\":\"%s\"", osr_strcode(code));
}

/* ---- Events ---- */

/* Begins an object of the given phase on the task's track; times are in microseconds. */
static void put_event(struct text *text, const char *phase, int64_t at, uint64_t task)
{
    osri_text(text, ",\n{\"ph\":\"%s\",\"ts\":%lld.%03lld,\"pid\":1,\"tid\":%llu", phase, (long long)(at / 1000),
              (long long)(at % 1000), (unsigned long long)task);
}

static void put_instant(struct text *text, const struct osr_trace_event *event, const char *name)
{
    put_event(text, "i", event->at, event->task);
    osri_text(text, ",\"s\":\"t\",\"name\":\"%s\",\"args\":{", name);
}

static void put_end(struct text *text, int64_t at, uint64_t task)
{
    put_event(text, "E", at, task);
    osri_text(text, "}");
}

/* One end of the arrow from the spawner's step to the child's first, which it finds as the next one on its track. */
static void put_arrow(struct text *text, const char *phase, const struct osr_trace_event *event, uint64_t task)
{
    put_event(text, phase, event->at, task);
    osri_text(text, ",\"cat\":\"spawn\",\"id\":%llu,\"name\":\"spawn\"}", (unsigned long long)event->task);
}

static void put_spawn(struct trace *trace, struct text *text, const struct osr_trace_event *event)
{
    osri_text(text, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%llu,\"name\":\"thread_name\",\"args\":{",
              (unsigned long long)event->task);
    put_member(text, "name", event->name);
    osri_text(text, "}}");
    put_instant(text, event, "spawn");
    put_member(text, "where", event->where);
    osri_text(text, "}}");
    if (trace->running) {
        put_arrow(text, "s", event, trace->running);
        put_arrow(text, "f", event, event->task);
    }
}

/* A step that another one follows, without a wait or an end between, has yielded or spawned eagerly. */
static void put_step(struct trace *trace, struct text *text, const struct osr_trace_event *event)
{
    if (trace->running)
        put_end(text, event->at, trace->running);
    put_event(text, "B", event->at, event->task);
    osri_text(text, ",\"name\":\"runs\"}");
    trace->running = event->task;
}

static void put_wait(struct trace *trace, struct text *text, const struct osr_trace_event *event)
{
    put_end(text, event->at, event->task);
    put_event(text, "B", event->at, event->task);
    osri_text(text, ",");
    put_member(text, "name", event->call);
    osri_text(text, ",\"args\":{");
    put_member(text, "call", event->call);
    osri_text(text, ",");
    put_member(text, "where", event->where);
    osri_text(text, "}}");
    trace->running = 0;
}

static void put_wake(struct text *text, const struct osr_trace_event *event)
{
    put_instant(text, event, "wake");
    put_code(text, event->code);
    osri_text(text, "}}");
    put_end(text, event->at, event->task);
}

static void put_cancel(struct text *text, const struct osr_trace_event *event)
{
    put_instant(text, event, "cancel");
    put_code(text, event->code);
    osri_text(text, ",");
    put_member(text, "where", event->where);
    osri_text(text, "}}");
}

static void put_task_end(struct trace *trace, struct text *text, const struct osr_trace_event *event)
{
    put_instant(text, event, "end");
    put_code(text, event->code);
    osri_text(text, "}}");
    put_end(text, event->at, event->task);
    trace->running = 0;
}

static void put(struct trace *trace, struct text *text, const struct osr_trace_event *event)
{
    switch (event->kind) {
    case OSR_TRACE_SPAWN:
        put_spawn(trace, text, event);
        break;
    case OSR_TRACE_STEP:
        put_step(trace, text, event);
        break;
    case OSR_TRACE_WAIT:
        put_wait(trace, text, event);
        break;
    case OSR_TRACE_WAKE:
        put_wake(text, event);
        break;
    case OSR_TRACE_CANCEL:
        put_cancel(text, event);
        break;
    case OSR_TRACE_END:
        put_task_end(trace, text, event);
        break;
    }
}

static void note(void *arg, const struct osr_trace_event *event)
{
    struct trace *trace = arg;
    struct text text;

    if (BUFFER - trace->used < MOST_EVENT)
        write_out(trace, false);
    text = text_to_buffer(trace->buffer + trace->used, BUFFER - trace->used);
    put(trace, &text, event);
    trace->used += text.length;
    if (trace->observe)
        trace->observe(trace->observe_arg, event);
}

/* ---- Opening and closing ---- */

/* The trace of this run, NULL if it has none. */
static struct trace *trace_of(struct sched *sched)
{
    return sched->observe == note ? sched->observe_arg : NULL;
}

/* The name that was asked for, with the process's number for each %p, and that of the run behind it from the second
 * on. 0 or -ENAMETOOLONG. */
static int make_path(char path[MOST_PATH], const char *asked, unsigned number)
{
    struct text text = text_to_buffer(path, MOST_PATH);

    for (; *asked; asked++)
        if (asked[0] == '%' && asked[1] == 'p') {
            osri_text(&text, "%ld", (long)getpid());
            asked++;
        } else {
            osri_text(&text, "%c", *asked);
        }
    if (number > 1)
        osri_text(&text, ".%u", number);
    return text.length < MOST_PATH ? 0 : -ENAMETOOLONG;
}

static int open_file(struct trace *trace, const char *asked)
{
    static atomic_uint runs; /* in this process that were traced */
    int rc = make_path(trace->path, asked, atomic_fetch_add(&runs, 1) + 1);

    if (rc < 0)
        return rc;
    trace->fd = open(trace->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (trace->fd < 0)
        return -errno;
    trace->seeks = lseek(trace->fd, 0, SEEK_CUR) >= 0;
    return 0;
}

static void begin(struct trace *trace, const struct osr_run_options *options)
{
    struct text text = text_to_buffer(trace->buffer, BUFFER);
    char name[MOST_TEXT];

    snprintf(name, sizeof(name), "osr_run at %s", place_or_unknown(options->where));
    osri_text(&text, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
                     "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{");
    put_member(&text, "name", name);
    osri_text(&text, "}}");
    trace->used = text.length;
    write_out(trace, false);
}

static void complain(struct sched *sched, const char *path, int code)
{
    osri_diagnose(sched, OSR_DIAGNOSIS_TRACE, "osier: OSR_TRACE: the timeline cannot be written to %s: %s\n", path,
                  osr_strerror(code));
}

void osri_trace_open(struct sched *sched, const struct osr_run_options *options)
{
    const char *asked = secure_getenv("OSR_TRACE");
    struct trace *trace;
    int rc;

    if (!asked || !*asked)
        return;
    trace = malloc(sizeof(*trace));
    if (!trace) {
        complain(sched, asked, -ENOMEM);
        return;
    }
    trace->failed = 0;
    trace->offset = 0;
    trace->running = 0;
    trace->observe = sched->observe;
    trace->observe_arg = sched->observe_arg;
    rc = open_file(trace, asked);
    if (rc < 0) {
        complain(sched, trace->path, rc);
        free(trace);
        return;
    }
    begin(trace, options);
    sched->observe = note;
    sched->observe_arg = trace;
    sched->plain = false;
}

void osri_trace_close(struct sched *sched)
{
    struct trace *trace = trace_of(sched);

    if (!trace)
        return;
    write_out(trace, true);
    if (trace->failed)
        complain(sched, trace->path, trace->failed);
    close(trace->fd);
    sched->observe = trace->observe;
    sched->observe_arg = trace->observe_arg;
    free(trace);
}

void osri_trace_save(struct sched *sched)
{
    struct trace *trace = trace_of(sched);

    if (trace)
        write_out(trace, true);
}

/* A task may end the program. In a forked child this finds nothing: no run goes on there. */
__attribute__((destructor)) static void save_at_exit(void)
{
    if (osri_sched)
        osri_trace_save(osri_sched);
}
