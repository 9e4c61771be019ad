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

    return name && *name && name[strspn(name, letters)] == '\0' && strlen(name) < OSR_NAME_SIZE;
}

static int check_test(const struct osr_test *test)
{
    if (osri_kit_play)
        return -EBUSY;
    if (!test || test->size != sizeof(*test) || !test->routine || !test->routine->run || !is_name(test->name))
        return -EINVAL;
    return 0;
}

struct campaign *osri_kit_begin(const struct osr_test *test, const char *name, int *rc)
{
    struct campaign *campaign;

    *rc = check_test(test);
    if (*rc < 0)
        return NULL;
    campaign = calloc(1, sizeof(*campaign));
    if (!campaign) {
        *rc = -ENOMEM;
        return NULL;
    }
    campaign->test = test;
    campaign->name = name;
    osri_kit_forget_story();
    osri_kit_watch_crashes();
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
    char text[512];
    va_list list;

    if (campaign->test->quiet)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    osri_kit_say(campaign->test, "osier-test: \"%s\": %s: %lu run%s: %s\n", campaign->test->name, campaign->name,
                 campaign->runs, campaign->runs == 1 ? "" : "s", text);
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
    static const char *const words[] = {"", "is spawned", "runs", "waits in", "is woken in", "is cancelled", "ends with"};
    const struct event *event = &play->events[i];

    if (i >= play->happened) {
        snprintf(text, size, "nothing more happens");
        return;
    }
    snprintf(text, size, "at %lld.%09lld s task \"%s\" %s%s%s%s%s%s%s", (long long)(event->at / 1000000000),
             (long long)(event->at % 1000000000),
             play->actors[event->task].name, words[event->kind],
             event->call ? " " : "", event->call ? event->call : "", event->where ? " at " : "",
             event->where ? event->where : "", event->code ? ", " : "", event->code ? osr_strcode(event->code) : "");
}

static void describe_question(const struct play *play, size_t i, char *text, size_t size)
{
    const struct question *question = &play->questions[i];

    if (i >= play->asked)
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
        snprintf(text, size, "first it gave %s%s%.700s; again, with the same choices, %s%s%.700s", osr_strcode(one->rc),
                 one->violation ? ", and " : "", one->said, osr_strcode(other->rc), other->violation ? ", and " : "",
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
    osri_kit_shrink(campaign);
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

bool osri_kit_try(struct campaign *campaign, const struct script *script, osri_kit_improvise *improvise,
                  const char *detail)
{
    struct play *play = &campaign->play;

    campaign->runs++;
    osri_kit_play_once(play, campaign->test, script, improvise);
    if ((play->violation || is_sampled(campaign->runs)) && is_same_again(campaign) && !play->violation)
        return true;
    if (!play->violation)
        return true;
    campaign->rc = 1;
    tell(campaign, detail);
    return false;
}

/* ---- Replaying ---- */

static int replay(struct campaign *campaign, const struct script *script)
{
    struct play *play = &campaign->play;
    const struct osr_test *test = campaign->test;

    play->told = true;
    play->shows = getenv("OSR_TEST_QUESTIONS") != NULL;
    campaign->runs = 1;
    osri_kit_play_once(play, test, script, NULL);
    if (play->parted)
        osri_kit_say(test, "osier-test: \"%s\": the program has parted from the token at %s; the rest is first come, "
                           "first served\n", test->name, play->parting);
    osri_kit_play_script(play, &campaign->script);
    if (play->violation) {
        campaign->rc = 1;
        osri_kit_tell(play, &campaign->script, "a replay");
    } else {
        osri_kit_count(campaign, "all well; it gave %s", osr_strcode(play->rc));
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

    campaign = token ? osri_kit_begin(test, "replay", &rc) : NULL;
    if (!campaign)
        return token ? rc : -EINVAL;
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

/* Whether the environment has a token for this test, or one that nobody can read. */
bool osri_kit_is_replayed(const struct osr_test *test, int *rc)
{
    const char *token = getenv("OSR_REPLAY");
    struct script script = {0};
    char why[512];
    int parsed;

    if (!token || !*token || check_test(test) < 0)
        return false;
    parsed = osri_kit_token_parse(test->name, token, &script, why, sizeof(why));
    osri_kit_script_free(&script);
    if (parsed == -ENOENT)
        return false;
    *rc = osr_test_replay(test, token);
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
