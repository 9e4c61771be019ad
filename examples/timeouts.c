/*
 * timeouts: a time limit that is extended while it runs, and one whose error is handled outside it.
 *
 *     make examples && build/gcc/examples/timeouts [--simulated]
 *     cc timeouts.c $(pkg-config --cflags --libs osier)
 */
#include "example.h"

static int download(int parts, struct osr_scope *limit)
{
    int rc = 0;

    for (int i = 1; i <= parts && rc == 0; i++) {
        rc = osr_sleep(osr_s(2));
        if (rc < 0)
            return osr_wrap(rc, "part %d of %d", i, parts); /* leaves -ECANCELED as it is */
        say("part %d of %d", i, parts);
        if (limit) {
            rc = osr_scope_set_deadline(limit, osr_time_add(osr_now(), osr_s(3)));
            if (rc == 0)
                say("three more seconds, until something comes");
        }
    }
    return rc;
}

/* Three seconds for each part instead of three for all: as long as something comes, it goes on. */
static int extended(void)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_s(3));
    return osr_scope_close(&limit, download(4, &limit));
}

/* Inside the limit all one sees is -ECANCELED. That it was a timeout is known where the scope closes, and outside. */
static int limited(void)
{
    struct osr_scope limit;
    int rc;

    osr_timeout_open(&limit, osr_s(5));
    rc = download(4, NULL);
    say("inside: %s", osr_strcode(rc));
    return osr_scope_close(&limit, rc);
}

static int program(void)
{
    int rc;

    say("-- a limit that is extended");
    rc = extended();
    if (rc < 0)
        return rc;

    say("-- a limit that is not");
    rc = limited();
    if (rc == -ETIMEDOUT) {
        say("outside: %s, and handled", osr_strcode(rc));
        rc = 0;
    }
    say("this is said in any case");
    return rc;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
