/* Runs at random, and along the bytes of a fuzzer. */
#include "9_test/kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool try_at_random(struct campaign *campaign, uint64_t seed, unsigned long run)
{
    const struct play *play = &campaign->play;
    unsigned long asked[KINDS];
    char detail[256];

    memcpy(asked, play->ordinals, sizeof(asked));
    osri_kit_strategy_begin(seed, run, asked, play->steps);
    snprintf(detail, sizeof(detail), "%s, seed %llu", osri_kit_strategy_name(), (unsigned long long)seed);
    return osri_kit_try(campaign, NULL, osri_kit_strategy, detail);
}

int osr_test_random(const struct osr_test *test, unsigned long runs, uint64_t seed)
{
    struct campaign *campaign;
    unsigned long run;
    int rc;

    if (osri_kit_is_replayed(test, &rc))
        return rc;
    campaign = osri_kit_begin(test, "random", &rc);
    if (!campaign)
        return rc;
    osri_kit_hurry(campaign);
    for (run = 0; run < runs; run++)
        if (!try_at_random(campaign, seed, run))
            return osri_kit_end(campaign);
    osri_kit_count(campaign, "all well; seed %llu", (unsigned long long)seed);
    return osri_kit_end(campaign);
}

/* ---- Fuzzers ---- */

/* What the test chooses is read from the front, all else from the back, so that an edit to one leaves the other. */
static struct {
    const uint8_t *front, *back;
} bytes;

static uint8_t from_back(void)
{
    return bytes.front < bytes.back ? *--bytes.back : 0;
}

/* A cancellation or a fault is rare: most bytes say no. */
static unsigned rarely(unsigned n)
{
    uint8_t byte = from_back();

    return byte >= 0xf0 ? 1 + (byte & 0xfu) % (n - 1) : 0;
}

static unsigned from_bytes(struct play *play, unsigned kind, unsigned n, const char *what)
{
    (void)what;
    switch (kind) {
    case OSR_CHOICE_CANCEL:
        return play->test->cancels ? rarely(n) : 0;
    case OSR_CHOICE_FAULT:
        return play->test->faults ? rarely(n) : 0;
    case KIND_TEST:
        return bytes.front < bytes.back ? *bytes.front++ % n : 0;
    default:
        return from_back() % n;
    }
}

/* Kept from input to input: its memory has grown then, and crashes are watched for. */
static struct campaign *fuzzing;

void osri_kit_end_fuzzing(void)
{
    if (fuzzing)
        (void)osri_kit_end(fuzzing);
    fuzzing = NULL;
}

/* NULL if the test makes no sense, or inside a run. */
static struct campaign *campaign_of(const struct osr_test *test)
{
    static const struct osr_test *senseless; /* of which has been told: once, and not for each input */
    struct campaign *campaign;
    int rc;

    if (osri_kit_play || (senseless && test == senseless && osri_kit_check_test(test) < 0))
        return NULL;
    if (fuzzing && fuzzing->test == test)
        return fuzzing;
    campaign = osri_kit_begin(test, "fuzz", &rc);
    if (!campaign) {
        senseless = rc == -EINVAL ? test : NULL;
        return NULL;
    }
    campaign->is_fuzzer = true;
    osri_kit_hurry(campaign);
    return fuzzing = campaign;
}

int osr_test_fuzz(const struct osr_test *test, const uint8_t *data, size_t size)
{
    static const char along[] = "along the fuzzer's bytes";
    struct campaign *campaign = campaign_of(test);
    struct play *play;

    if (!campaign)
        return 0;
    play = &campaign->play;
    campaign->tried = 1;
    campaign->detail = along;
    campaign->stage = "";
    bytes.front = data;
    bytes.back = size ? data + size : data;
    osri_kit_play_once(play, test, NULL, from_bytes);
    if (!play->violation)
        return 0;
    campaign->runs = 1;
    bytes.front = data;
    bytes.back = size ? data + size : data;
    (void)osri_kit_try(campaign, NULL, from_bytes, along);
    abort();
}
