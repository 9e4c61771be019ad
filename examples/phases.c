/*
 * phases: several tasks, and three ways to wait for them. They finish in the reverse of the order in which they began.
 *
 *     make examples && build/gcc/examples/phases [--simulated]
 *     cc phases.c $(pkg-config --cflags --libs osier)
 *
 * All together, with the results in the order of the questions; one by one, in the order of the answers; and for a
 * limited time, after which those that are still pending are cancelled.
 */
#include "example.h"

enum { PHASES = 4 };

struct phase {
    int number;
    char answer[32]; /* out */
};

OSR_TASK(run_phase, struct phase, phase)
{
    int rc;

    say("phase %d: begun", phase->number);
    rc = osr_sleep(osr_ms(500 - 100 * phase->number));
    if (rc < 0) {
        say("phase %d: cancelled", phase->number);
        return rc;
    }
    say("phase %d: done", phase->number);
    snprintf(phase->answer, sizeof(phase->answer), "answer %d", phase->number);
    return phase->number; /* 0 or more is a result */
}

static void number_phases(struct phase phases[PHASES])
{
    for (int i = 0; i < PHASES; i++)
        phases[i] = (struct phase){.number = i + 1};
}

/* ---- All together -------------------------------------------------------------------------------------- */

static int all_together(void)
{
    struct phase phases[PHASES];
    int rc;

    number_phases(phases);
    rc = osr_gather(run_phase, phases, PHASES); /* returns when all have ended */
    for (int i = 0; i < PHASES && rc == 0; i++)
        say("%s", phases[i].answer);
    return rc;
}

/* ---- In order of completion ---------------------------------------------------------------------------- */

static int as_they_come(void)
{
    struct phase phases[PHASES];
    struct osr_task handles[PHASES], task;
    struct osr_group group;
    int rc = 0, number;

    number_phases(phases);
    osr_group_open(&group);
    for (int i = 0; i < PHASES && rc == 0; i++)
        rc = osr_spawn(&group, run_phase, &phases[i], .handle = &handles[i]); /* the handle keeps the outcome */
    while (rc == 0 && (rc = osr_group_next(&group, &task)) == 1) {
        rc = osr_task_result(task, &number);
        if (rc == 0 && number > 0)
            say("%s", phases[number - 1].answer);
    }
    return osr_group_close(&group, rc);
}

/* ---- For a limited time -------------------------------------------------------------------------------- */

static int for_a_while(void)
{
    struct phase phases[PHASES];
    int results[PHASES], done = 0;
    struct osr_scope limit;
    int rc;

    number_phases(phases);
    osr_move_on_open(&limit, osr_ms(250)); /* its passing is no error */
    rc = osr_gather(run_phase, phases, PHASES, .results = results);
    rc = osr_scope_close(&limit, rc);
    for (int i = 0; i < PHASES; i++)
        done += results[i] >= 0;
    say("%d done, %d were pending%s", done, PHASES - done, osr_scope_caught(&limit) ? " and are cancelled" : "");
    return rc;
}

static int program(void)
{
    int rc;

    say("-- all together");
    rc = all_together();
    if (rc == 0) {
        say("-- as they come");
        rc = as_they_come();
    }
    if (rc == 0) {
        say("-- for a quarter of a second");
        rc = for_a_while();
    }
    return rc;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
