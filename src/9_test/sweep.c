/* One run for each place where something can come in between. */
#include "9_test/kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the run without any injection asked. */
struct sweep {
    struct campaign *campaign;
    struct question *questions;
    size_t count;
    unsigned long points, places, transfers; /* cancellation points; allocations and calls; reads and writes */
};

static struct line line_at(const struct question *question, unsigned answer)
{
    return (struct line){.kind = question->kind, .first = question->ordinal, .last = question->ordinal, .answer = answer,
                         .n = question->n, .what = osri_kit_hash_of(question->kind, question->what)};
}

static bool try_line(struct sweep *sweep, struct line line, const char *detail)
{
    struct script script = {&line, 1, 1};

    return osri_kit_try(sweep->campaign, &script, NULL, detail);
}

static bool try_cancels(struct sweep *sweep, const struct question *question)
{
    sweep->points++;
    return try_line(sweep, line_at(question, 1), "one task is cancelled") &&
           try_line(sweep, line_at(question, 2), "the root is cancelled");
}

static bool try_faults(struct sweep *sweep, const struct question *question)
{
    struct line line = line_at(question, 1);
    unsigned answer;

    sweep->places++;
    for (answer = 1; answer < question->n; answer++)
        if (!try_line(sweep, line_at(question, answer), "one call fails"))
            return false;
    line.onwards = true;
    return try_line(sweep, line, "calls fail from there on");
}

static bool try_shorts(struct sweep *sweep, const struct question *question)
{
    struct line line = line_at(question, 1);

    if (!try_line(sweep, line, "one transfer is short") || !try_line(sweep, line_at(question, 2), "one transfer is short"))
        return false;
    line.onwards = true;
    return sweep->transfers++ > 0 || try_line(sweep, line, "all transfers are short");
}

static bool try_question(struct sweep *sweep, const struct question *question)
{
    if (question->ordered)
        return true;
    switch (question->kind) {
    case OSR_CHOICE_CANCEL:
        return try_cancels(sweep, question);
    case OSR_CHOICE_FAULT:
        return try_faults(sweep, question);
    case OSR_CHOICE_SHORT:
        return try_shorts(sweep, question);
    default:
        return true;
    }
}

/* Draws what is injected, below the `most`-th question. */
static bool draw_line(struct sweep *sweep, uint64_t *state, struct line *line)
{
    unsigned tries;

    for (tries = 0; tries < 100; tries++) {
        const struct question *question = &sweep->questions[osri_kit_draw(state, (unsigned)sweep->count)];

        if (question->kind < OSR_CHOICE_FAULT || question->kind == KIND_TEST || question->ordered)
            continue;
        *line = line_at(question, 1 + osri_kit_draw(state, question->n - 1));
        line->n = line->what = 0; /* after the first injection other questions may be asked */
        return true;
    }
    return false;
}

/* A second one at the same ordinal, or before it, is none. */
static bool try_pair(struct sweep *sweep, uint64_t *state)
{
    struct line lines[2];
    struct script script = {lines, 2, 2};

    if (!draw_line(sweep, state, &lines[0]) || !draw_line(sweep, state, &lines[1]))
        return true;
    if (lines[1].kind == lines[0].kind && lines[1].first < lines[0].first) {
        struct line first = lines[1];

        lines[1] = lines[0];
        lines[0] = first;
    }
    if (lines[1].kind == lines[0].kind && lines[1].first == lines[0].first)
        script.count = 1;
    return osri_kit_try(sweep->campaign, &script, NULL, "two injections");
}

static bool sweep_all(struct sweep *sweep)
{
    const struct osr_test *test = sweep->campaign->test;
    uint64_t state;
    unsigned pair;
    size_t i;

    for (i = 0; i < sweep->count; i++)
        if (!try_question(sweep, &sweep->questions[i]))
            return false;
    osri_kit_seed(&state, 1, sweep->count);
    for (pair = 0; pair < test->pairs && sweep->count > 0; pair++)
        if (!try_pair(sweep, &state))
            return false;
    return true;
}

int osr_test_sweep(const struct osr_test *test)
{
    struct sweep sweep = {0};
    int rc;

    if (osri_kit_is_replayed(test, &rc))
        return rc;
    sweep.campaign = osri_kit_begin(test, "sweep", &rc);
    if (!sweep.campaign)
        return rc;
    if (osri_kit_try(sweep.campaign, NULL, NULL, "nothing is injected")) {
        sweep.count = sweep.campaign->play.asked;
        sweep.questions = osri_kit_resize(NULL, (sweep.count + 1) * sizeof(*sweep.questions));
        if (sweep.count > 0)
            memcpy(sweep.questions, sweep.campaign->play.questions, sweep.count * sizeof(*sweep.questions));
        if (sweep_all(&sweep))
            osri_kit_count(sweep.campaign, "all well: %lu cancellation point%s, %lu call%s that can fail, "
                           "%lu read%s that can be short", sweep.points, osri_kit_s(sweep.points), sweep.places,
                           osri_kit_s(sweep.places), sweep.transfers,
                           sweep.transfers == 1 ? " or write" : "s and writes");
        free(sweep.questions);
    }
    return osri_kit_end(sweep.campaign);
}
