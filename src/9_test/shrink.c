/* Shrinking: drops lines of the script, makes single ones of those that go on, and lowers answers, as long as the same
 * thing goes wrong. */
#include "9_test/kit.h"

#include <string.h>

enum { MOST_RUNS = 5000 };

struct shrinker {
    struct campaign *campaign;
    enum violation violation;
    const char *at;
    unsigned long left; /* runs */
    struct script tried, shortest;
};

/* Plays what is tried; if the same goes wrong, it is the shortest now, without the lines that were not asked for. */
static bool still_fails(struct shrinker *shrinker)
{
    struct campaign *campaign = shrinker->campaign;
    struct play *play = &campaign->again;

    if (shrinker->left == 0)
        return false;
    shrinker->left--;
    campaign->runs++;
    osri_kit_play_once(play, campaign->test, &shrinker->tried, NULL);
    if (play->violation != shrinker->violation || play->violated_at != shrinker->at)
        return false;
    osri_kit_play_script(play, &shrinker->shortest);
    return true;
}

/* Tries without the lines from `first` on. */
static bool drop(struct shrinker *shrinker, size_t first, size_t count)
{
    const struct script *from = &shrinker->shortest;
    size_t i;

    shrinker->tried.count = 0;
    for (i = 0; i < from->count; i++)
        if (i < first || i >= first + count) {
            struct line line = from->lines[i];

            line.n = line.what = 0; /* what is asked then may be something else */
            osri_kit_script_add(&shrinker->tried, line);
        }
    return still_fails(shrinker);
}

static bool drop_some(struct shrinker *shrinker, size_t size)
{
    bool any = false;
    size_t first = 0;

    while (first < shrinker->shortest.count)
        if (drop(shrinker, first, size))
            any = true; /* the next ones stand in their place */
        else
            first += size;
    return any;
}

static bool lower(struct shrinker *shrinker, size_t i)
{
    unsigned answer;

    for (answer = 1; answer < shrinker->shortest.lines[i].answer; answer++) {
        osri_kit_script_copy(&shrinker->tried, &shrinker->shortest);
        shrinker->tried.lines[i].answer = answer;
        if (still_fails(shrinker))
            return true;
    }
    return false;
}

static bool lower_some(struct shrinker *shrinker)
{
    bool any = false;
    size_t i;

    for (i = 0; i < shrinker->shortest.count; i++)
        any |= lower(shrinker, i);
    return any;
}

/* Of what a line that goes on and on has answered: tries each alone. */
static void single_out(struct shrinker *shrinker)
{
    const struct play *play = &shrinker->campaign->play;
    size_t i;

    for (i = 0; i < play->asked; i++) {
        const struct question *question = &play->questions[i];

        if (!question->onwards)
            continue;
        shrinker->tried.count = 0;
        osri_kit_script_add(&shrinker->tried, (struct line){.kind = question->kind, .first = question->ordinal,
                                                            .last = question->ordinal, .answer = question->answer});
        if (still_fails(shrinker))
            return;
    }
}

void osri_kit_shrink(struct campaign *campaign)
{
    struct shrinker shrinker = {
        .campaign = campaign,
        .violation = campaign->play.violation,
        .at = campaign->play.violated_at,
        .left = MOST_RUNS,
    };
    size_t size;
    bool any = true;

    osri_kit_script_copy(&shrinker.shortest, &campaign->script);
    single_out(&shrinker);
    while (any && shrinker.left > 0) {
        any = false;
        for (size = shrinker.shortest.count; size > 0; size /= 2)
            any |= drop_some(&shrinker, size);
        any |= lower_some(&shrinker);
    }
    osri_kit_script_copy(&campaign->script, &shrinker.shortest);
    osri_kit_script_free(&shrinker.tried);
    osri_kit_script_free(&shrinker.shortest);
}
