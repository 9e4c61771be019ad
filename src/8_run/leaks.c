#include "8_run/leaks.h"

#include "0_base/text.h"
#include "4_group/record.h"
#include "6_ready/fd.h"

static void name_descriptor(struct sched *sched, const struct descriptor *descriptor)
{
    osri_diagnose(sched, OSR_DIAGNOSIS_LEAK, "osier: descriptor %d, made at %s, is not closed\n", descriptor->fd,
                  place_or_unknown(descriptor->where));
}

static int report(struct sched *sched, size_t count, const char *what)
{
    if (count > 0)
        osri_diagnose(sched, OSR_DIAGNOSIS_LEAK, "osier: %zu %s\n", count, what);
    return (int)count;
}

int osri_descriptors_report(struct sched *sched)
{
    return osri_descriptors_ours(sched, name_descriptor);
}

int osr_leaks_report(void)
{
    struct sched *sched = osri_sched;

    if (!osri_current())
        return osri_failed(-EPERM, NULL);
    return osri_descriptors_report(sched) + report(sched, osri_errors_held(sched), "errors are held") +
           report(sched, osri_records_kept(sched), "outcomes are kept for handles that nobody has released");
}
