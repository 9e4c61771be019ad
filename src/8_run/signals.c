#include "8_run/signals.h"

#include "8_run/tree.h"

/* ---- SIGINT ---- */

/* The run gives it in the end, whatever its root returns. */
static void remember_interrupt(struct sched *sched)
{
    struct child *root = osri_root(sched);
    struct osr_error *error;

    osri_fatal_prepare(sched);
    error = osri_error_new(sched, -EINTR, root->task.where, root->task.name);
    if (!error)
        return; /* after another fatal error only, which is the one that counts */
    error->fatal = true;
    osri_error_say(error, "interrupted by SIGINT");
    osri_fatal_remember(sched, error);
}

static void interrupted(struct source *source, enum bell_kind kind, unsigned rings)
{
    struct run_signal *signal = source->arg;
    struct sched *sched = source->sched;
    struct child *root = osri_root(sched);
    unsigned count;

    (void)kind, (void)rings;
    (void)osri_signal_take(signal->watch, &count);
    remember_interrupt(sched);
    osri_scope_cancel(sched, &root->scope, -EINTR, "", root->task.where, "interrupted by SIGINT");
}

/* ---- The tree ---- */

static void show_tree(struct source *source, enum bell_kind kind, unsigned rings)
{
    struct sched *sched = source->sched;
    char *tree = osri_tree_string(sched);

    (void)kind, (void)rings;
    osri_diagnose(sched, OSR_DIAGNOSIS_TREE, "%s", tree ? tree : "osier: no memory for the tree\n");
    osri_free(&sched->memory, tree);
}

/* ---- Opening and closing ---- */

/* That a signal may come keeps no run from being stuck: none of its tasks waits for it. */
static void close_source(struct source *source)
{
    source->sched->outside++;
    osri_source_close(source);
}

/* Gives how often it has come and nobody has heard of it. */
static unsigned close_signal(struct run_signal *signal)
{
    unsigned unheard = osri_signal_unwatch(signal->watch);

    close_source(signal->source);
    return unheard;
}

static void leave(struct osr_bound_ *bound)
{
    struct source *source = container_of(bound, struct source, bound);
    bool interrupts = source->heard == interrupted;
    struct sched *sched = source->sched;

    if (close_signal(source->arg) > 0 && interrupts)
        remember_interrupt(sched); /* it came too late to cut anything, and is not lost */
}

static int open_signal(struct sched *sched, struct run_signal *signal, enum signal_use use, int number,
                       void (*heard)(struct source *source, enum bell_kind kind, unsigned rings))
{
    int rc;

    signal->source = osri_source_open(sched, &osri_root(sched)->scope, leave, &rc);
    if (!signal->source)
        return rc;
    sched->outside--;
    signal->source->heard = heard;
    signal->source->arg = signal;
    signal->watch = osri_signal_watch(signal->source, use, osri_signal_bit(number), &rc);
    if (signal->watch)
        return 0;
    close_source(signal->source);
    return rc;
}

static bool is_ignored(int number)
{
    struct sigaction now;

    return sigaction(number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN;
}

int osri_run_signals_open(struct sched *sched, struct run_signals *signals, const struct osr_run_options *options)
{
    bool interrupts = options->interrupts && !is_ignored(SIGINT);
    int rc = 0;

    if (interrupts)
        rc = open_signal(sched, &signals->interrupt, SIGNAL_INTERRUPT, SIGINT, interrupted);
    if (rc < 0 || !options->dump_signal)
        return rc;
    rc = open_signal(sched, &signals->dump, SIGNAL_DUMP, options->dump_signal, show_tree);
    if (rc < 0 && interrupts)
        (void)close_signal(&signals->interrupt);
    return rc;
}
