#include "8_run/leaks.h"

#include "0_base/text.h"
#include "4_group/record.h"
#include "6_ready/fd.h"

static void name_descriptor(struct sched *sched, const struct descriptor *descriptor)
{
    osri_diagnose(sched, OSR_DIAGNOSIS_LEAK, "osier: descriptor %d, made at %s, is not closed\n", descriptor->fd,
                  place_or_unknown(descriptor->where));
}

/* Of an error, what it takes to find who should release it. */
static void say_error(struct sched *sched, const struct osr_error *error, const char *what)
{
    char number[CODE_NUMBER];

    osri_diagnose(sched, OSR_DIAGNOSIS_LEAK, "osier: error %s of task \"%s\", from %s, %s\n",
                  osri_code_words(error->code, number), error->task, error->where, what);
}

static void name_error(struct sched *sched, const struct osr_error *error)
{
    say_error(sched, error, "is held");
}

static void name_taken_error(struct sched *sched, const struct osr_error *error)
{
    say_error(sched, error,
              "is still held at the end of the run: it was taken or retained, or came as an outcome, and was not released");
}

/* The error of an outcome is told with the outcome. */
static void name_outcome(struct sched *sched, const struct record *record)
{
    osri_diagnose(sched, OSR_DIAGNOSIS_LEAK,
                  "osier: the outcome of task \"%s\", spawned at %s, is kept for a handle that nobody has released\n",
                  record->name, record->where);
    osri_error_explain(sched, record->error);
}

void osri_leaks_tell(struct sched *sched, const struct slot *result)
{
    osri_descriptors_check(sched, "the end of the run");
    (void)osri_descriptors_ours(sched, name_descriptor);
    osri_errors_explain(sched);
    osri_error_explain(sched, result->error);
    (void)osri_errors_unexplained(sched, name_taken_error);
}

int osr_leaks_report(void)
{
    struct sched *sched = osri_sched;
    size_t count;

    if (!osri_current())
        return osri_failed(-EPERM, NULL);
    osri_touch_all();
    count = (size_t)osri_descriptors_ours(sched, name_descriptor);
    osri_errors_explain(sched);
    count += osri_records_kept(sched, name_outcome);
    return (int)(count + osri_errors_unexplained(sched, name_error));
}
