/*
 * connection: something that is opened must be closed, whatever happens in between, also if closing takes a while.
 *
 *     make examples && build/gcc/examples/connection [--simulated]
 *     cc connection.c $(pkg-config --cflags --libs osier)
 *
 * Connecting takes 2 seconds, sending and receiving side by side 2, hanging up 2. That is 6 if all is well; but the line
 * is hung up as well when receiving fails, and when a time limit cuts everything short (then under a shield, since in a
 * cancelled scope nothing else can wait). The sleeps stand in for a network.
 */
#include "example.h"

struct connection {
    bool broken; /* receiving will fail */
    struct osr_cleanup hang_up;
};

/* ---- A connection -------------------------------------------------------------------------------------- */

static int hang_up(void *arg)
{
    int rc;

    (void)arg;
    say("hanging up");
    rc = osr_sleep(osr_s(2));
    if (rc == 0)
        say("hung up");
    return rc;
}

/* Connects, for as long as the scope or group is open in which it is called: when that closes, it hangs up. */
static int connection_open(struct connection *connection)
{
    int rc;

    say("connecting");
    rc = osr_sleep(osr_s(2));
    if (rc < 0)
        return rc; /* not connected: nothing to hang up */
    say("connected");
    return osr_defer(&connection->hang_up, hang_up, connection, osr_s(5)); /* it has five seconds */
}

OSR_TASK(send_question, struct connection, connection)
{
    int rc = osr_sleep(osr_s(2));

    say(rc == 0 ? "sent" : "sending was cut");
    return rc;
}

OSR_TASK(receive_answer, struct connection, connection)
{
    int rc = osr_sleep(connection->broken ? osr_s(1) : osr_s(2));

    if (rc == 0 && connection->broken)
        rc = osr_fail(-ECONNRESET, "the line is dead");
    say(rc == 0 ? "received" : "receiving failed or was cut");
    return rc;
}

/* ---- Using it ------------------------------------------------------------------------------------------ */

static int talk(bool broken)
{
    struct connection connection = {.broken = broken};
    struct osr_group call;
    int rc;

    osr_group_open(&call, .unwrap = true);
    rc = connection_open(&connection);
    if (rc == 0)
        rc = osr_spawn(&call, send_question, &connection);
    if (rc == 0)
        rc = osr_spawn(&call, receive_answer, &connection);
    return osr_group_close(&call, rc); /* waits for both, then hangs up */
}

static int talk_for_at_most(int64_t duration)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, duration);
    return osr_scope_close(&limit, talk(false));
}

static int program(void)
{
    int rc;

    say("-- all is well");
    rc = talk(false);
    if (rc < 0)
        return rc;

    say("-- receiving fails");
    rc = talk(true);
    if (rc != -ECONNRESET)
        return rc;
    say("talk() gave %s: %s", osr_strcode(rc), osr_error_message(osr_error_last()));

    say("-- three seconds are all there are");
    rc = talk_for_at_most(osr_s(3));
    if (rc != -ETIMEDOUT)
        return rc;
    say("talk_for_at_most() gave %s: %s", osr_strcode(rc), osr_error_message(osr_error_last()));
    return 0;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
