/*
 * All orders, depth first. What the tasks' own code reads and writes is not seen, so that orders are only taken to come
 * to the same if the test says that nothing but osier's calls is shared, or says what is.
 */
#include "9_test/kit.h"

enum { RUNS = 1000000 };

static bool is_explored(void *arg, unsigned kind)
{
    const struct osr_test *test = arg;

    switch (kind) {
    case OSR_CHOICE_FAULT:
        return test->faults;
    case OSR_CHOICE_CANCEL:
        return test->cancels;
    case OSR_CHOICE_SHORT:
        return false;
    default:
        return true;
    }
}

/* A play has no other argument to give. */
static struct orders *explored;

static unsigned follow(struct play *play, unsigned kind, unsigned n, const char *what)
{
    bool differed = osri_kit_orders_differ(explored);
    unsigned answer = osri_kit_orders_choose(explored, kind, n);

    if (!differed && osri_kit_orders_differ(explored))
        osri_kit_violated(play, VIOLATION_DIFFERS, NULL,
                          "after the same choices %c%lu of %u (%s) is asked, and something else was before",
                          KIND_LETTERS[kind], play->ordinals[kind], n, what);
    return answer;
}

static void explore(struct campaign *campaign)
{
    const struct osr_test *test = campaign->test;
    const unsigned long most = test->runs ? test->runs : RUNS;
    const char *which = test->depth ? " of the first choices" : campaign->play.explored ? " that differ" : "";
    bool more;

    osri_kit_hurry(campaign);
    do {
        osri_kit_orders_begin(explored);
        if (!osri_kit_try(campaign, NULL, follow, "one of all orders"))
            return;
        more = osri_kit_orders_next(explored);
    } while (more && campaign->runs < most);
    osri_kit_count(campaign, "all well: %s%s", more ? "no more were allowed, so not all orders" : "all orders", which);
}

int osr_test_explore(const struct osr_test *test)
{
    struct campaign *campaign;
    int rc;

    if (osri_kit_is_replayed(test, &rc))
        return rc;
    campaign = osri_kit_begin(test, "explore", &rc);
    if (!campaign)
        return rc;
    explored = osri_kit_orders_new(&(const struct orders_options){.reduce = test->reduce && !test->depth,
                                                                  .depth = test->depth,
                                                                  .is_asked = is_explored,
                                                                  .arg = (void *)test});
    campaign->play.explored = test->reduce && !test->depth ? explored : NULL;
    explore(campaign);
    rc = osri_kit_end(campaign);
    osri_kit_orders_free(explored);
    explored = NULL;
    return rc;
}
