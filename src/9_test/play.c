/* One run of a test, from begin() to end(), and what is looked for in it. */
#include "9_test/kit.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct play *osri_kit_play;

/* ---- What the run asks and tells ---- */

static unsigned choose(void *play, enum osr_choice kind, unsigned n, const char *what)
{
    if (!osri_kit_play)
        return 0; /* a runner is made between plays */
    return kind == OSR_CHOICE_FAULT ? osri_kit_ask_fault(play, n, what, what + strlen(what) + 1) : osri_kit_ask(play, kind, n, what);
}

void osri_kit_violated(struct play *play, enum violation violation, const char *where, const char *format, ...)
{
    va_list list;

    if (play->violation)
        return;
    play->violation = violation;
    play->violated_at = where;
    va_start(list, format);
    vsnprintf(play->said, sizeof(play->said), format, list);
    va_end(list);
    if (play->told && play->inside)
        osri_kit_scene_end(play, violation);
}

_Noreturn void osri_kit_stop(const struct play *play, enum violation found, const char *why)
{
    const bool is_news = play->violation != found; /* something was found before, in any case */
    char text[1200];

    snprintf(text, sizeof(text), "%s%s%.400s", why, is_news ? "; before that: " : "", is_news ? play->said : "");
    osri_kit_tell_death(text);
    abort();
}

/* The library tells it at 10,000 calls, which may come to an end, at 100,000, and so on. */
static void note_runaway(struct play *play, const char *text, int length)
{
    char why[1200];

    osri_kit_violated(play, VIOLATION_RUNAWAY, NULL, "%.*s", length, text);
    snprintf(why, sizeof(why), "%.*s; there is no way out of it", length, text);
    if (play->runaway == play->current && !play->is_long)
        osri_kit_stop(play, VIOLATION_RUNAWAY, why);
    play->runaway = play->current;
}

static void diagnose(void *arg, enum osr_diagnosis kind, const char *text)
{
    int length = (int)strcspn(text, "\n");
    struct play *play = arg;

    switch (kind) {
    case OSR_DIAGNOSIS_MISUSE:
    case OSR_DIAGNOSIS_OVERFLOW:
        osri_kit_tell_death(text);
        break;
    case OSR_DIAGNOSIS_RUNAWAY:
        note_runaway(play, text, length);
        break;
    case OSR_DIAGNOSIS_LEAK:
    case OSR_DIAGNOSIS_DESCRIPTOR:
        if (!play->test->keeps_memory)
            osri_kit_violated(play, VIOLATION_LEAK, NULL, "%.*s", length, text);
        break;
    default:
        break;
    }
}

/* ---- The run ---- */

/* The test's own root, in a scope by which it is cancelled when a check fails. */
static int root(void *arg)
{
    struct play *play = arg;
    int rc;

    (void)osr_scope_open_here(&play->scope, OSR_SCOPE_TIMEOUT, OSR_NEVER, play->test->where);
    play->scope_open = true;
    rc = play->test->routine->run(play->test->arg);
    play->scope_open = false;
    return osr_scope_close_here(&play->scope, rc, play->test->where);
}

static struct osr_run_options options_of(struct play *play, const struct osr_test *test)
{
    return (struct osr_run_options){
        .size = sizeof(struct osr_run_options),
        .where = test->where,
        .stack_size = test->stack_size,
        .clock = OSR_CLOCK_SIMULATED,
        .debug = true,
        .no_overflow_handler = true, /* the kit's own, which is there for many runs, asks for what the library's would say */
        .allocator = &osri_kit_counting,
        .diagnose = diagnose,
        .diagnose_arg = play,
        .observe = osri_kit_observe,
        .observe_arg = play,
        .choose = choose,
        .choose_arg = play,
        .inject = true,
        .touched = play->explored ? osri_kit_orders_touched : NULL,
        .touched_arg = play->explored,
        .patience = osri_kit_patience,
        .patience_arg = play,
    };
}

struct osr_runner *osri_kit_runner_new(struct play *play, const struct osr_test *test)
{
    const struct osr_run_options options = options_of(play, test);
    struct osr_runner *runner;

    return osr_runner_new_with(&runner, &options) == 0 ? runner : NULL;
}

static int run(struct play *play)
{
    const struct osr_test *test = play->test;
    const struct osr_routine routine = {root, test->routine->name, test->routine->where};
    const struct osr_run_options options = options_of(play, test);
    int rc;

    play->inside = true;
    if (play->runner)
        rc = osr_runner_run_here(play->runner, &routine, play, test->where);
    else
        rc = osr_run_with(&routine, play, &options);
    play->inside = false;
    return rc;
}

/* ---- Before and after ---- */

static void reset(struct play *play, const struct osr_test *test, const struct script *script)
{
    memset(&play->test, 0, offsetof(struct play, parting) - offsetof(struct play, test));
    play->parting[0] = play->said[0] = play->row[0] = play->errors[0] = play->scene[0] = '\0';
    play->test = test;
    play->script = script;
}

static void look_at_result(struct play *play, struct osr_error *error)
{
    const struct osr_test *test = play->test;
    struct osr_test_result result = {play->rc, error, play->now, play->steps, play->cancels, play->faults};

    const bool is_known = play->rc == -OSR_EDEADLOCK ||
                          (play->rc == -OSR_ESCOPECANCELED && play->violation == VIOLATION_CHECK);

    if (play->told && error && !is_known) /* what was found says it already */
        (void)osr_error_format(error, play->errors, sizeof(play->errors));
    if (play->rc == -OSR_EDEADLOCK)
        osri_kit_violated(play, VIOLATION_DEADLOCK, NULL, "a deadlock: %s", osr_error_message(error));
    if (test->check)
        test->check(test->arg, &result);
}

/* Lines that nobody has asked for. */
static void look_at_script(struct play *play)
{
    size_t i;

    for (i = 0; play->script && i < play->script->count && !play->parted; i++) {
        const struct line *line = &play->script->lines[i];

        if (line->last <= play->ordinals[line->kind] || line->onwards)
            continue;
        play->parted = true;
        play->missed = line;
        snprintf(play->parting, sizeof(play->parting), "%c%lu: the program asks no more than %lu question%s of this kind",
                 KIND_LETTERS[line->kind], line->first, play->ordinals[line->kind],
                 osri_kit_s(play->ordinals[line->kind]));
    }
}

/* A runner keeps some for the next run. */
static void look_at_memory(struct play *play, long before)
{
    const long left = osri_kit_own_blocks + (play->runner ? 0 : osri_kit_blocks - before);
    char which[1024] = "";

    if (left == 0 || play->test->keeps_memory)
        return;
    if (left > 0 && play->told)
        osri_kit_describe_blocks(play, which, sizeof(which));
    osri_kit_violated(play, VIOLATION_MEMORY, NULL, "%ld block%s of memory %s left%s", left,
                      osri_kit_s((unsigned long)left), left == 1 ? "is" : "are", which);
}

/* Which of the descriptors that the run may come to have are open before it: others than the kit may have opened some. */
static unsigned look_for_descriptors(struct play *play)
{
    const unsigned all = (1u << KIT_DESCRIPTORS) - 1;
    unsigned open = play->descriptors_from ? osri_kit_descriptors_from(play->descriptors_from) : all;

    if (open != all)
        return open;
    play->descriptors_from = osri_kit_next_descriptor();
    return osri_kit_descriptors_from(play->descriptors_from);
}

/* `open` are those that were before. */
static void look_at_descriptors(struct play *play, unsigned open)
{
    const unsigned left = osri_kit_descriptors_from(play->descriptors_from) & ~open;
    const int fd = left ? play->descriptors_from + __builtin_ctz(left) : -1;
    const struct stream *stream = osri_kit_stream_of(play, fd);

    if (left)
        osri_kit_violated(play, VIOLATION_DESCRIPTORS, NULL, "descriptor %d%s%s is left open", fd,
                          stream ? ", of the streams made at " : "", stream ? stream->where : "");
}

void osri_kit_play_once(struct play *play, const struct osr_test *test, const struct script *script,
                        unsigned (*improvise)(struct play *, unsigned, unsigned, const char *))
{
    const long blocks = osri_kit_blocks;
    const unsigned open = look_for_descriptors(play);
    struct osr_error *error;

    reset(play, test, script);
    play->improvise = improvise;
    osri_kit_forget_blocks();
    if (!play->campaign->is_fuzzer) /* which asks to be told itself, and only one can be */
        osri_kit_watch_sanitizers();
    osri_kit_play = play;
    if (test->begin)
        test->begin(test->arg);
    play->rc = run(play);
    error = osr_error_take();
    look_at_result(play, error);
    osr_error_release(error);
    if (test->end)
        test->end(test->arg);
    look_at_memory(play, blocks);
    look_at_descriptors(play, open);
    osri_kit_play = NULL;
    osri_kit_own_blocks = 0;
    look_at_script(play);
}

void osri_kit_play_free(struct play *play)
{
    free(play->questions);
    free(play->events);
    free(play->actors);
    free(play->streams);
}
