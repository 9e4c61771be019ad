#include <stdlib.h>

#include "8_run/run.h"

bool osri_runner_is_ours(const struct osr_runner *runner)
{
    return pthread_equal(runner->thread, pthread_self()) && runner->process == osri_forks();
}

/* Whether a run of it lasts: around the caller, or around the job that the caller runs in, with its thread. */
static bool is_in_use(const struct osr_runner *runner)
{
    return osri_is_own_thread(&runner->run.sched);
}

int osr_runner_new_with(struct osr_runner **made, const struct osr_run_options *options)
{
    const char *where = options ? options->where : NULL;
    struct osr_runner *runner;
    int rc;

    if (!made)
        return osri_failed(-EINVAL, where);
    *made = NULL;
    runner = calloc(1, sizeof(*runner));
    if (!runner)
        return osri_failed(-ENOMEM, where);
    rc = osri_run_open(&runner->run, options, NULL);
    if (rc < 0) {
        free(runner);
        return osri_failed(rc, where);
    }
    runner->thread = pthread_self();
    runner->process = osri_forks();
    *made = runner;
    return 0;
}

int osr_runner_run_here(struct osr_runner *runner, const struct osr_routine *routine, void *arg, const char *where)
{
    int rc;

    if (!runner || !routine || !routine->run)
        return osri_failed(-EINVAL, where);
    if (!osri_runner_is_ours(runner))
        return osri_failed(-EPERM, where);
    if (osri_sched || is_in_use(runner))
        return osr_fail_here(where, -EBUSY, "osr_runner_run() inside a run");
    rc = osri_run_begin(&runner->run, routine, arg, where);
    if (rc < 0)
        return osri_failed(rc, where);
    osri_sched_run(&runner->run.sched);
    return osri_run_end(&runner->run);
}

int osr_runner_free(struct osr_runner *runner)
{
    if (!runner)
        return 0;
    if (!osri_runner_is_ours(runner))
        return osri_failed(-EPERM, NULL);
    if (is_in_use(runner))
        return osri_failed(-EBUSY, NULL);
    osri_run_close(&runner->run);
    free(runner);
    return 0;
}
