/*
 * All orders, depth first. What the tasks' code reads and writes is not known, so no two orders can be told to be
 * equivalent (as sleep sets would need): all of them are run.
 */
#include "9_test/kit.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 1000000 };

struct branch {
    unsigned kind, n, answer;
};

static struct {
    struct branch *path;
    size_t count, room, at, depth;
    const struct osr_test *test;
} explorer;

static bool is_explored(unsigned kind)
{
    switch (kind) {
    case OSR_CHOICE_FAULT:
        return explorer.test->faults;
    case OSR_CHOICE_CANCEL:
        return explorer.test->cancels;
    case OSR_CHOICE_SHORT:
        return false;
    default:
        return true;
    }
}

static unsigned follow(struct play *play, unsigned kind, unsigned n, const char *what)
{
    const struct branch *branch;

    (void)what;
    if (!is_explored(kind) || (explorer.depth && explorer.at >= explorer.depth))
        return 0;
    if (explorer.at < explorer.count) {
        branch = &explorer.path[explorer.at++];
        if (branch->kind == kind && branch->n == n)
            return branch->answer;
        osri_kit_violated(play, VIOLATION_DIFFERS, NULL,
                          "after the same choices %c%lu of %u (%s) is asked, where %c of %u was before", KIND_LETTERS[kind],
                          play->ordinals[kind], n, what, KIND_LETTERS[branch->kind], branch->n);
        return 0;
    }
    if (explorer.count == explorer.room) {
        explorer.room = explorer.room ? explorer.room * 2 : 256;
        explorer.path = osri_kit_resize(explorer.path, explorer.room * sizeof(*explorer.path));
    }
    explorer.path[explorer.count++] = (struct branch){kind, n, 0};
    explorer.at++;
    return 0;
}

static bool is_injection(const struct branch *branch)
{
    return branch->kind == OSR_CHOICE_CANCEL || branch->kind == OSR_CHOICE_FAULT;
}

/* At most one injection a run. */
static bool injects_before(size_t i)
{
    while (i-- > 0)
        if (is_injection(&explorer.path[i]) && explorer.path[i].answer > 0)
            return true;
    return false;
}

/* To the next path; says whether there is one. */
static bool turn_back(void)
{
    explorer.count = explorer.at; /* a run may have ended before it */
    while (explorer.count > 0) {
        struct branch *last = &explorer.path[explorer.count - 1];

        if (last->answer + 1 < last->n && !(is_injection(last) && injects_before(explorer.count - 1))) {
            last->answer++;
            return true;
        }
        explorer.count--;
    }
    return false;
}

static void explore(struct campaign *campaign)
{
    const unsigned long most = campaign->test->runs ? campaign->test->runs : RUNS;
    bool more;

    osri_kit_hurry(campaign);
    do {
        explorer.at = 0;
        if (!osri_kit_try(campaign, NULL, follow, "one of all orders"))
            return;
        more = turn_back();
    } while (more && campaign->runs < most);
    osri_kit_count(campaign, "all well: %s%s", more ? "no more were allowed, so not all orders" : "all orders",
                   campaign->test->depth ? " of the first choices" : "");
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
    explorer.test = test;
    explorer.depth = test->depth;
    explorer.count = explorer.at = 0;
    explore(campaign);
    free(explorer.path);
    explorer.path = NULL;
    explorer.room = explorer.count = 0;
    return osri_kit_end(campaign);
}
