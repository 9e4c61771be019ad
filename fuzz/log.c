#include "log.h"

#include <osier/base.h>
#include <osier/debug.h>
#include <osier/run.h>

static void print_code(int code, FILE *stream)
{
    if (code < 0)
        fprintf(stream, " %s", osr_strcode(code));
    else
        fprintf(stream, " %d", code);
}

static void print_place(const struct record *record, FILE *stream)
{
    if (record->place >= 0)
        fprintf(stream, " at %d%s", record->place / 2, record->place % 2 ? "'s close" : "");
}

static void print_name(int name, FILE *stream)
{
    if (name >= 0)
        fprintf(stream, " \"t%d\"", name);
    else
        fprintf(stream, name == -1 ? " \"\"" : " (strange name)");
}

static void print_trace(const struct record *record, FILE *stream)
{
    static const char *const kinds[] = {"?", "spawned", "runs", "waits", "woken", "scope cancelled", "ended"};

    fprintf(stream, "@%lld task %u %s", (long long)record->value, record->task, kinds[record->what]);
    if (record->call)
        fprintf(stream, " in %s", record->call);
    print_place(record, stream);
    if (record->what >= OSR_TRACE_WAKE)
        print_code(record->code, stream);
}

static void print_value(const struct record *record, FILE *stream)
{
    static const char *const values[] = {"now",    "cancelled", "deadline", "scope's cancelled", "scope's caught",
                                         "scope's deadline",    "reason",   "running",           "winner",
                                         "state",  "outcome",   "handle",   "item",              "result",
                                         "count",  "taken",     "case",     "future",
                                         "work cancelled",      "bound",    "called",            "posted",
                                         "job",    "abandoned", "bytes",    "written"};

    fprintf(stream, "  task %u reads %s: %lld", record->task, values[record->what], (long long)record->value);
    print_code(record->code, stream);
    if (record->what == VALUE_REASON) {
        print_name(record->name, stream);
        print_place(record, stream);
    }
}

static void print_error(const struct record *record, FILE *stream)
{
    fprintf(stream, "  task %u sees%s%s%s%s%s", record->task, record->what & ERROR_IS_CAUSE ? " the cause" : "",
            record->what & ERROR_IS_LEAF ? " the leaf" : "", record->what & ERROR_IS_GROUP ? " a group" : "",
            record->what & ERROR_IS_FATAL ? " fatal" : "", record->what & ERROR_IS_NONE ? " no error" : "");
    print_code(record->code, stream);
    print_name(record->name, stream);
    print_place(record, stream);
    if (record->what & ERROR_IS_GROUP)
        fprintf(stream, ", %d leaves, %d cancelled, named %d", (int)(record->value & 0xffff),
                (int)(record->value >> 16 & 0xffff), (int)(record->value >> 32) - 2);
}

void record_print(const struct record *record, FILE *stream)
{
    switch (record->kind) {
    case RECORD_CHOICE:
        fprintf(stream, "  choice of %lld %s", (long long)record->value,
                record->what == OSR_CHOICE_READY    ? "ready tasks"
                : record->what == OSR_CHOICE_CANCEL ? "cancellations"
                : record->what == OSR_CHOICE_JOB    ? "jobs"
                : record->what == OSR_CHOICE_EVENT  ? "ready descriptors"
                : record->what == OSR_CHOICE_SHORT  ? "sizes"
                                                    : "deadlines");
        break;
    case RECORD_TRACE:
        print_trace(record, stream);
        break;
    case RECORD_RESULT:
        fprintf(stream, "  task %u: statement %d gives", record->task, record->place);
        print_code(record->code, stream);
        break;
    case RECORD_VALUE:
        print_value(record, stream);
        break;
    case RECORD_SHAPE:
        fprintf(stream, "  line %*s%s%s", (int)record->value * 2, "",
                record->what & ERROR_IS_CAUSE ? "because of " : "", record->what & ERROR_IS_GROUP ? "group" : "error");
        print_name(record->name, stream);
        print_place(record, stream);
        break;
    default:
        print_error(record, stream);
    }
    fprintf(stream, "\n");
}
