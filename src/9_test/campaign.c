/* The runs of one call: each is looked at, and the first that is not as it should be ends the campaign. */
#include "9_test/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Beginning and ending ---- */

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

    return *name && name[strspn(name, letters)] == '\0' && strlen(name) < OSR_NAME_SIZE;
}

/* Why the test makes no sense; NULL if it does. */
static const char *nonsense(const struct osr_test *test)
{
    if (!test)
        return "there is no test: it is NULL";
    if (test->size != sizeof(*test))
        return "its size is not that of struct osr_test: OSR_TEST() sets that";
    if (!test->name)
        return "it has no name";
    if (!is_name(test->name))
        return "a name is one word of letters, digits, '_', '-' and '.', and not longer than that of a task";
    if (!test->routine || !test->routine->run)
        return "there is no task to run";
    return NULL;
}

/* Of the kit or of the program: only inside one there is a tree. */
static bool is_inside_a_run(void)
{
    return osri_kit_play || osr_tree_format(NULL, 0) > 0;
}

int osri_kit_check_test(const struct osr_test *test)
{
    return is_inside_a_run() ? -EBUSY : nonsense(test) ? -EINVAL : 0;
}

/* Of a test of another size nothing is known, not even where to tell. */
static void tell_nonsense(const struct osr_test *test, const char *why)
{
    static const struct osr_test unknown;
    const bool known = test && test->size == sizeof(*test);
    const char *name = known ? test->name : NULL;

    osri_kit_say(known ? test : &unknown, "osier-test: %s%.100s%snot run: %s\n", name ? "\"" : "", name ? name : "",
                 name ? "\": " : "a test is ", why);
}

struct campaign *osri_kit_begin(const struct osr_test *test, const char *name, int *rc)
{
    struct campaign *campaign;

    *rc = osri_kit_check_test(test);
    if (*rc == -EINVAL)
        tell_nonsense(test, nonsense(test));
    if (*rc < 0)
        return NULL;
    osri_kit_end_fuzzing();
    campaign = calloc(1, sizeof(*campaign));
    if (!campaign) {
        *rc = -ENOMEM;
        return NULL;
    }
    campaign->test = test;
    campaign->name = name;
    campaign->play.campaign = campaign->again.campaign = campaign;
    osri_kit_forget_story();
    osri_kit_watch_crashes();
    osri_kit_watch_process();
    return campaign;
}

int osri_kit_end(struct campaign *campaign)
{
    int rc = campaign->rc;

    osri_kit_unwatch_crashes();
    (void)osr_runner_free(campaign->play.runner);
    osri_kit_play_free(&campaign->play);
    osri_kit_play_free(&campaign->again);
    osri_kit_script_free(&campaign->script);
    free(campaign);
    return rc;
}

void osri_kit_hurry(struct campaign *campaign)
{
    if (!campaign->test->faults)
        campaign->play.runner = osri_kit_runner_new(&campaign->play, campaign->test);
}

void osri_kit_count(const struct campaign *campaign, const char *format, ...)
{
    const char *unseen = campaign->test->check ? "which check() let pass" : "and there is no check() to object";
    char text[512], failed[256] = "";
    va_list list;

    if (campaign->test->quiet)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (campaign->failed)
        snprintf(failed, sizeof(failed), "; the root failed in %lu of them (%s) with no cancellation and no fault injected, "
                 "%s", campaign->failed, osri_kit_outcome(campaign->failure), unseen);
    osri_kit_say(campaign->test, "osier-test: \"%s\": %s: %lu run%s: %s%s\n", campaign->test->name, campaign->name,
                 campaign->runs, osri_kit_s(campaign->runs), text, failed);
}

/* ---- Comparing ---- */

static bool same_text(const char *one, const char *other)
{
    return one == other || (one && other && strcmp(one, other) == 0);
}

static bool same_question(const struct question *one, const struct question *other)
{
    return one->kind == other->kind && one->n == other->n && one->answer == other->answer &&
           same_text(one->what, other->what);
}

static bool same_event(const struct event *one, const struct event *other)
{
    return one->kind == other->kind && one->at == other->at && one->task == other->task && one->code == other->code &&
           same_text(one->call, other->call) && same_text(one->where, other->where);
}

static void describe_event(const struct play *play, size_t i, char *text, size_t size)
{
    static const char *const words[] = {"", "is spawned", "runs", "waits", "is woken", "is cancelled", "ends"};
    const struct event *event;
    const char *where;
    bool with_code;

    if (i >= play->happened) {
        snprintf(text, size, "nothing more happens");
        return;
    }
    event = &play->events[i];
    with_code = event->code || event->kind == OSR_TRACE_END;
    where = event->kind == OSR_TRACE_END ? NULL : event->where; /* that is where it was spawned */
    snprintf(text, size, "at %lld.%09lld s task %llu \"%s\" %s%s%s%s%s%s%s", (long long)(event->at / 1000000000),
             (long long)(event->at % 1000000000), (unsigned long long)event->task,
             play->actors[event->task].name, words[event->kind],
             event->call ? " in " : "", event->call ? event->call : "", with_code ? " with " : "",
             with_code ? osri_kit_outcome(event->code) : "", where ? " at " : "", where ? where : "");
}

static void describe_question(const struct play *play, size_t i, char *text, size_t size)
{
    const struct question *question = i < play->asked ? &play->questions[i] : NULL;

    if (!question)
        snprintf(text, size, "nothing more is asked");
    else
        snprintf(text, size, "%c%lu of %u (%s) is asked", KIND_LETTERS[question->kind], question->ordinal, question->n,
                 question->what);
}

/* The first question from `i` on that every run asks: a runner has fewer calls that can fail than a run of its own. */
static size_t next_question(const struct play *play, size_t i)
{
    while (i < play->asked && play->questions[i].kind == OSR_CHOICE_FAULT && !play->questions[i].answer)
        i++;
    return i;
}

/* Where the two plays part, in words; says whether they do. */
static bool differ(const struct play *one, const struct play *other, char *text, size_t size)
{
    char first[512], second[512];
    size_t i, k;

    for (i = 0; i < one->happened && i < other->happened && same_event(&one->events[i], &other->events[i]); i++)
        ;
    if (i < one->happened || i < other->happened) {
        describe_event(one, i, first, sizeof(first));
        describe_event(other, i, second, sizeof(second));
        snprintf(text, size, "first %s; again, with the same choices, %s", first, second);
        return true;
    }
    for (i = next_question(one, 0), k = next_question(other, 0);
         i < one->asked && k < other->asked && same_question(&one->questions[i], &other->questions[k]);
         i = next_question(one, i + 1), k = next_question(other, k + 1))
        ;
    if (i < one->asked || k < other->asked) {
        describe_question(one, i, first, sizeof(first));
        describe_question(other, k, second, sizeof(second));
        snprintf(text, size, "first %s; again, with the same answers, %s", first, second);
        return true;
    }
    if (one->rc != other->rc || one->violation != other->violation) {
        snprintf(text, size, "first it gave %s%s%.700s; again, with the same choices, %s%s%.700s", osri_kit_outcome(one->rc),
                 one->violation ? ", and " : "", one->said, osri_kit_outcome(other->rc), other->violation ? ", and " : "",
                 other->said);
        return true;
    }
    return false;
}

/* Plays the last one again. Says whether it was the same; else that is the violation. */
static bool is_same_again(struct campaign *campaign)
{
    struct play *play = &campaign->play;
    char text[sizeof(play->said)];

    osri_kit_play_script(play, &campaign->script);
    if (play->violation == VIOLATION_OUTSIDE)
        return true; /* it would take as long again, and what the world does then is not the program's */
    osri_kit_play_once(&campaign->again, campaign->test, &campaign->script, NULL);
    if (!differ(play, &campaign->again, text, sizeof(text)))
        return true;
    play->violation = VIOLATION_NONE;
    osri_kit_violated(play, VIOLATION_DIFFERS, NULL,
                      "%s. It asks a clock, randomness, or the addresses of things, or keeps something from run to run",
                      text);
    return false;
}

/* ---- Trying ---- */

/* The first run, and then ever fewer: those with a number of one bit, and every 1024th. */
static bool is_sampled(unsigned long run)
{
    return (run & (run - 1)) == 0 || run % 1024 == 0;
}

/* Plays once more, without the faults, to see where the task that the first of them comes to would have gone. */
static void look_behind_fault(struct campaign *campaign)
{
    struct play *play = &campaign->again;
    struct script sound = {0};
    size_t i;

    play->awaited = 0;
    play->awaiting = 0;
    play->next = NULL;
    for (i = 0; i < campaign->script.count; i++)
        if (campaign->script.lines[i].kind != OSR_CHOICE_FAULT)
            osri_kit_script_add(&sound, campaign->script.lines[i]);
        else if (!play->awaited)
            play->awaited = campaign->script.lines[i].first;
    if (play->awaited) {
        osri_kit_play_once(play, campaign->test, &sound, NULL);
        campaign->next = play->next;
        campaign->next_of = play->awaited;
        play->awaited = 0;
    }
    osri_kit_script_free(&sound);
}

static void tell(struct campaign *campaign, const char *detail)
{
    enum violation found = campaign->play.violation;
    unsigned long runs = campaign->runs;
    char how[512], said[sizeof(campaign->play.said)];

    if (found == VIOLATION_DIFFERS) {
        snprintf(how, sizeof(how), "%s, run %lu (%s)", campaign->name, runs, detail);
        osri_kit_tell(&campaign->play, &campaign->script, how);
        return;
    }
    memcpy(said, campaign->play.said, sizeof(said));
    (void)osr_runner_free(campaign->play.runner);
    campaign->play.runner = NULL;
    campaign->stage = ", being shrunk";
    if (found != VIOLATION_OUTSIDE) { /* each try of which would take as long */
        osri_kit_shrink(campaign);
        look_behind_fault(campaign);
    }
    campaign->play.told = true;
    osri_kit_play_once(&campaign->play, campaign->test, &campaign->script, NULL);
    snprintf(how, sizeof(how), "%s, run %lu (%s)%s", campaign->name, runs, detail,
             campaign->runs > runs ? ", then shrunk" : "");
    if (campaign->play.violation != found) { /* it was so a moment ago: it was not found in what was compared */
        campaign->play.violation = VIOLATION_NONE;
        osri_kit_violated(&campaign->play, VIOLATION_DIFFERS, NULL, "once it was so, and once not: %s", said);
    }
    osri_kit_tell(&campaign->play, &campaign->script, how);
}

const char *osri_kit_call_at(const struct campaign *campaign, const char *where)
{
    unsigned i;

    for (i = 0; i < campaign->sites_known; i++)
        if (campaign->sites[i].where == where)
            return campaign->sites[i].call;
    return NULL;
}

static void learn_sites(struct campaign *campaign)
{
    const struct play *play = &campaign->play;
    size_t i;

    for (i = 0; i < play->happened && campaign->sites_known < SITES; i++) {
        const struct event *event = &play->events[i];

        if (event->kind == OSR_TRACE_WAIT && event->where && !osri_kit_call_at(campaign, event->where))
            campaign->sites[campaign->sites_known++] = (struct site){event->where, event->call};
    }
}

/* That a cancellation or a fault fails the root goes without saying. */
static void note_failure(struct campaign *campaign)
{
    const struct play *play = &campaign->play;

    if (play->rc < 0 && play->cancels == 0 && play->faults == 0 && campaign->failed++ == 0)
        campaign->failure = play->rc;
}

bool osri_kit_try(struct campaign *campaign, const struct script *script, osri_kit_improvise *improvise,
                  const char *detail)
{
    struct play *play = &campaign->play;

    campaign->tried = ++campaign->runs;
    campaign->detail = detail;
    campaign->stage = "";
    osri_kit_play_once(play, campaign->test, script, improvise);
    note_failure(campaign);
    if (play->violation || is_sampled(campaign->runs))
        learn_sites(campaign);
    campaign->stage = ", the same again";
    if ((play->violation || is_sampled(campaign->runs)) && is_same_again(campaign) && !play->violation)
        return true;
    if (!play->violation)
        return true;
    campaign->rc = 1;
    tell(campaign, detail);
    return false;
}

/* ---- Replaying ---- */

/* What became of the question that the line was written for; `asked` is one that was meant, NULL if there is none. */
static const struct question *question_of(const struct play *play, const struct line *line)
{
    size_t i;

    for (i = 0; line->what && i < play->asked; i++)
        if (play->questions[i].kind == line->kind && osri_kit_hash_of(line->kind, play->questions[i].what) == line->what)
            return &play->questions[i];
    return NULL;
}

static void tell_parting(const struct play *play)
{
    const struct line *line = play->missed;
    const struct question *question = question_of(play, line);
    char expected[512] = "", of[32] = "";

    if (line->n)
        snprintf(of, sizeof(of), " of 1 to %u", line->n - 1);
    if (question)
        snprintf(expected, sizeof(expected), ", to what is now asked at %c%lu (%.300s)", KIND_LETTERS[line->kind],
                 question->ordinal, question->what);
    else if (line->what)
        snprintf(expected, sizeof(expected), ", to something that this run does not ask");
    osri_kit_say(play->test, "osier-test: \"%s\": the program has parted from the token at %s; the token has the answer "
                             "%u%s there%s; the rest is first come, first served\n", play->test->name, play->parting,
                 line->answer, of, expected);
}

/* Twice, since a token may stand for a program that is not the same twice. */
static int replay(struct campaign *campaign, const struct script *script)
{
    struct play *play = &campaign->play;
    const struct osr_test *test = campaign->test;

    play->told = true;
    play->shows = getenv("OSR_TEST_QUESTIONS") != NULL;
    campaign->runs = 1;
    osri_kit_play_once(play, test, script, NULL);
    if (play->parted)
        tell_parting(play);
    (void)is_same_again(campaign);
    if (play->violation) {
        campaign->rc = 1;
        osri_kit_tell(play, &campaign->script, play->parted ? "a replay, not of the token's run" : "a replay");
    } else {
        osri_kit_count(campaign, "%s; it gave %s",
                       play->parted ? "nothing wrong, but this was not the token's run" : "all well", osri_kit_outcome(play->rc));
    }
    return osri_kit_end(campaign);
}

static int refuse(const struct osr_test *test, const char *why)
{
    osri_kit_say(test, "osier-test: \"%s\": %s\n", test->name, why);
    return -EINVAL;
}

int osr_test_replay(const struct osr_test *test, const char *token)
{
    struct script script = {0};
    struct campaign *campaign;
    char why[512];
    int rc;

    campaign = osri_kit_begin(test, "replay", &rc);
    if (!campaign)
        return rc;
    if (!token) {
        (void)osri_kit_end(campaign);
        return refuse(test, "there is no token: it is NULL");
    }
    rc = osri_kit_token_parse(test->name, token, &script, why, sizeof(why));
    if (rc == 0) {
        rc = replay(campaign, &script);
    } else {
        (void)osri_kit_end(campaign);
        rc = refuse(test, why);
    }
    osri_kit_script_free(&script);
    return rc;
}

/* What this process has done about the token of the environment. */
static struct {
    char *token;
    const struct osr_routine *routine; /* of the test that ran along it, with this argument; NULL: none yet */
    const void *arg;
    int rc;       /* what that gave */
    int refused;  /* what is given since nobody can read it */
    bool skipped; /* it has been said that other tests are */
} environment;

static void remember(const char *token)
{
    if (environment.token && strcmp(environment.token, token) == 0)
        return;
    free(environment.token);
    memset(&environment, 0, sizeof(environment));
    environment.token = strdup(token);
}

/* A test that the token is not for. */
static void skip(const struct osr_test *test, const char *token)
{
    const char *name = strchr(token, ':') + 1;

    osri_kit_forget_story();
    if (!environment.skipped)
        osri_kit_say(test, "osier-test: \"%s\": skipped: the token in OSR_REPLAY is for test \"%.*s\"\n", test->name,
                     (int)strcspn(name, ":;"), name);
    environment.skipped = true;
}

/* Of the calls that run a test, the first one runs it along the token, and the others give what that gave. */
static int replay_once(const struct osr_test *test, const char *token)
{
    if (environment.routine != test->routine || environment.arg != test->arg) {
        environment.routine = test->routine;
        environment.arg = test->arg;
        environment.rc = osr_test_replay(test, token);
    }
    return environment.rc;
}

bool osri_kit_is_replayed(const struct osr_test *test, int *rc)
{
    const char *token = getenv("OSR_REPLAY");
    struct script script = {0};
    char why[512];
    int parsed;

    if (!token || !*token || osri_kit_check_test(test) < 0)
        return false;
    remember(token);
    parsed = osri_kit_token_parse(test->name, token, &script, why, sizeof(why));
    osri_kit_script_free(&script);
    *rc = 0;
    if (parsed == -ENOENT)
        skip(test, token);
    else if (parsed == 0)
        *rc = replay_once(test, token);
    else
        *rc = environment.refused = environment.refused ? environment.refused : refuse(test, why);
    return true;
}

/* ---- One run ---- */

int osr_test_run(const struct osr_test *test)
{
    struct campaign *campaign;
    int rc;

    if (osri_kit_is_replayed(test, &rc))
        return rc;
    campaign = osri_kit_begin(test, "run", &rc);
    if (!campaign)
        return rc;
    campaign->play.shows = getenv("OSR_TEST_QUESTIONS") != NULL;
    if (osri_kit_try(campaign, NULL, NULL, "the only one"))
        osri_kit_count(campaign, "all well");
    return osri_kit_end(campaign);
}
