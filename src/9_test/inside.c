/* What tests call from within. */
#include <osier.h>

#include "9_test/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Checks ---- */

void osr_test_fail_here(const char *where, const char *format, ...)
{
    struct play *play = osri_kit_play;
    char text[1024];
    va_list list;

    if (!play)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    osri_kit_violated(play, play->inside ? VIOLATION_CHECK : VIOLATION_INVARIANT, where, "%s", text);
    if (play->scope_open)
        (void)osr_scope_cancel_here(&play->scope, "a check failed", where);
}

bool osr_test_check_here(bool holds, const char *condition, const char *where)
{
    if (!holds)
        osr_test_fail_here(where, "not so: %s", condition);
    return holds;
}

void osr_test_watch_begin_(struct osr_test_watch_ *watch)
{
    struct play *play = osri_kit_play;

    *watch = (struct osr_test_watch_){.blind = !play || osr_cancelled()};
    if (!play)
        return;
    watch->task = play->current;
    watch->shields = osr_shields();
    watch->outer = play->watch;
    play->watch = watch;
}

void osr_test_watch_end_(struct osr_test_watch_ *watch, bool expected, const char *call, const char *where)
{
    struct osr_test_watch_ **at;

    if (!osri_kit_play)
        return;
    for (at = &osri_kit_play->watch; *at != watch; at = &(*at)->outer)
        continue;
    *at = watch->outer;
    if (!watch->blind && (watch->points > 0) != expected)
        osr_test_fail_here(where, "%s is %s cancellation point", call, expected ? "no" : "a");
}

/* ---- Choices and faults ---- */

static void touch(enum osr_touch how, const void *object)
{
    if (osri_kit_play && osri_kit_play->explored && osri_kit_play->inside)
        osri_kit_orders_touched(osri_kit_play->explored, how, object, 0);
}

unsigned osr_test_choose(unsigned n, const char *what)
{
    return osri_kit_play && n > 1 ? osri_kit_ask(osri_kit_play, KIND_TEST, n, what) : 0;
}

int osr_test_fault(const char *point, int code)
{
    return osri_kit_play && osri_kit_ask_fault(osri_kit_play, 2, point, osr_strcode(code)) ? code : 0;
}

int osr_test_order_fault(const char *point, unsigned skip, unsigned pick)
{
    struct play *play = osri_kit_play;
    unsigned i, place = ORDERS;

    if (!play)
        return 0;
    if (!point || pick == 0)
        return -EINVAL;
    for (i = 0; i < ORDERS; i++)
        if (!play->orders[i].given)
            place = i < place ? i : place;
        else if (strcmp(play->orders[i].point, point) == 0)
            return -EINVAL;
    if (place == ORDERS)
        return -ENOSPC;
    touch(OSR_TOUCH_ALL, NULL);
    play->orders[place] = (struct order){point, skip, pick, true};
    return 0;
}

void osr_test_touches(const void *object)
{
    touch(OSR_TOUCH_WRITE, object);
}

/* ---- The world ---- */

int osr_test_advance_here(int64_t duration, const char *where)
{
    int rc = osr_sleep_here(duration, where);

    return rc < 0 ? rc : osr_settle_here(where);
}

int osr_test_streams_here(int fds[2], const char *where)
{
    if (!fds)
        return osr_fail_here(where, -EINVAL, "no room for two descriptors");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return osr_fail_here(where, -errno, "making a pair of streams");
    if (osri_kit_play) {
        osri_kit_stream_made(osri_kit_play, fds[0], where);
        osri_kit_stream_made(osri_kit_play, fds[1], where);
    }
    return 0;
}

int osr_test_hold_jobs(void)
{
    return osr_jobs_allow(0);
}

int osr_test_release_jobs(unsigned count)
{
    return osr_jobs_allow(count);
}
