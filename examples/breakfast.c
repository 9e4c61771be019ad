/*
 * breakfast: what tasks are for. Coffee and a bagel take 3 seconds each, most of which is waiting.
 *
 *     make examples && build/gcc/examples/breakfast [--simulated]
 *     cc breakfast.c $(pkg-config --cflags --libs osier)
 *
 * One after the other they take 6 seconds, as tasks side by side 3, and a hundred bagels still 3. Tasks alone do not
 * help: if each is waited for before the next is begun, it is 6 seconds again.
 */
#include "example.h"

struct dish {
    const char *name;
};

/* A function like any other: whoever calls it waits for it. */
static int prepare(const struct dish *dish)
{
    int rc;

    say("%s: begun", dish->name);
    rc = osr_sleep(osr_s(3)); /* a cancellation point: it may give -ECANCELED */
    if (rc == 0)
        say("%s: ready", dish->name);
    return rc;
}

/* The same as a task: whoever spawns it goes on at once, and the group waits for it. */
OSR_TASK(prepare_dish, struct dish, dish) { return prepare(dish); }

OSR_TASK(toast_quietly, void, unused) { return osr_sleep(osr_s(3)); }

/* ---- Four ways to have breakfast ----------------------------------------------------------------------- */

static int one_after_the_other(void)
{
    struct dish coffee = {"coffee"}, bagel = {"bagel"};
    int rc = prepare(&coffee);

    return rc < 0 ? rc : prepare(&bagel);
}

static int side_by_side(void)
{
    struct dish coffee = {"coffee"}, bagel = {"bagel"};
    struct osr_group kitchen;
    int rc;

    osr_group_open(&kitchen);
    rc = osr_spawn(&kitchen, prepare_dish, &coffee);
    if (rc == 0)
        rc = osr_spawn(&kitchen, prepare_dish, &bagel);
    return osr_group_close(&kitchen, rc); /* waits for both */
}

static int a_hundred(void)
{
    struct osr_group kitchen;
    int rc = 0;

    osr_group_open(&kitchen);
    for (int i = 0; i < 100 && rc == 0; i++)
        rc = osr_spawn(&kitchen, toast_quietly, NULL);
    return osr_group_close(&kitchen, rc);
}

/* The mistake: the close waits, so the second task is not begun before the first has ended. */
static int too_many_kitchens(void)
{
    struct dish dishes[] = {{"coffee"}, {"bagel"}};
    int rc = 0;

    for (int i = 0; i < 2 && rc == 0; i++) {
        struct osr_group kitchen;

        osr_group_open(&kitchen);
        rc = osr_group_close(&kitchen, osr_spawn(&kitchen, prepare_dish, &dishes[i]));
    }
    return rc;
}

/* ---- All of them --------------------------------------------------------------------------------------- */

static int timed(const char *how, int (*breakfast)(void))
{
    int64_t began = osr_now();
    int rc = breakfast();

    if (rc == 0)
        say("%s: %.1f seconds", how, (double)(osr_now() - began) / 1e9);
    return rc;
}

static int program(void)
{
    int rc = timed("one after the other", one_after_the_other);

    if (rc == 0)
        rc = timed("side by side", side_by_side);
    if (rc == 0)
        rc = timed("a hundred bagels", a_hundred);
    if (rc == 0)
        rc = timed("each in a kitchen of its own", too_many_kitchens);
    return rc;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
