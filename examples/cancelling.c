/*
 * cancelling: a task is cancelled by another; it cleans up, and passes the cancellation on.
 *
 *     make examples && build/gcc/examples/cancelling [--simulated]
 *     cc cancelling.c $(pkg-config --cflags --libs osier)
 *
 * To be cancelled looks like any other error: a call gives -ECANCELED, the task releases what it holds and returns the
 * code. What has to wait in order to release something opens a shield first, or it would be refused as well.
 */
#include "example.h"

/* ---- One task ------------------------------------------------------------------------------------------ */

OSR_TASK(sleeper, void, unused)
{
    int rc;

    say("sleeper: going to sleep for an hour");
    rc = osr_sleep(osr_s(3600));
    if (rc == -ECANCELED)
        say("sleeper: woken up, with %s", osr_strcode(rc));
    say("sleeper: cleaning up");
    return rc; /* passes it on */
}

static int cancel_a_task(void)
{
    struct osr_group group;
    struct osr_task task;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleeper, NULL, .handle = &task);
    if (rc == 0)
        rc = osr_sleep(osr_s(1));
    if (rc == 0) {
        say("cancelling the sleeper");
        osr_task_cancel(task, "time to get up");
        rc = osr_task_join(task); /* a code of its own: -ECANCELED would say that we are cancelled */
        if (rc == -OSR_ETASKCANCELED) {
            say("the sleeper is cancelled now");
            rc = 0;
        }
    }
    return osr_group_close(&group, rc);
}

/* ---- Clean-up that waits ------------------------------------------------------------------------------- */

/* Writes what it has, which takes 2 seconds, within 3. */
static int save(const char *what)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open(&shield, osr_s(3));
    rc = osr_sleep(osr_s(2));
    if (rc == 0)
        say("writer: %s is saved", what);
    return osr_scope_close(&shield, rc);
}

OSR_TASK(writer, void, unused)
{
    int rc = osr_sleep(osr_s(3600)), saved;

    say("writer: %s; one moment", osr_strcode(rc));
    if (osr_sleep(osr_s(2)) == -ECANCELED)
        say("writer: without a shield nothing waits any more");
    saved = save("the novel");
    return saved < 0 ? saved : rc;
}

/* ---- A whole group ------------------------------------------------------------------------------------- */

static int cancel_a_group(void)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleeper, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, writer, NULL);
    if (rc == 0)
        rc = osr_sleep(osr_s(1));
    if (rc == 0) {
        say("cancelling all of them");
        osr_group_cancel(&group, "the lights go out");
    }
    rc = osr_group_close(&group, rc); /* 0: who cancels a group by hand knows about it */
    if (osr_scope_caught(&group.scope))
        say("the group is cancelled: %s", osr_scope_reason(&group.scope)->text);
    return rc;
}

static int program(void)
{
    int rc = cancel_a_task();

    return rc < 0 ? rc : cancel_a_group();
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
