#include "hybrid.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool on;
    int64_t now;   /* of the library, in nanoseconds */
    int64_t ahead; /* by how much libev is beyond that */
    int held;
} hybrid;

void hybrid_begin(void)
{
    hybrid.on = true;
    hybrid.now = hybrid.ahead = hybrid.held = 0;
}

void hybrid_end(void)
{
    hybrid.on = false;
}

void hybrid_hold(int more)
{
    hybrid.held += more;
}

/* libev calls a timer's watcher only when its moment has passed, and the library, which is linked into this program, notices
 * deadlines at their moment. So that both come to theirs, and all times of the library stay what the simulation's are, libev
 * sees a microsecond more for each time that it has waited. */
static int64_t now_for(const void *caller)
{
    extern const char __executable_start[], etext[];
    const char *at = caller;

    return at >= __executable_start && at < etext ? hybrid.now : hybrid.now + hybrid.ahead;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int64_t at;

    if (!hybrid.on)
        return (int)syscall(SYS_clock_gettime, clock, now);
    at = now_for(__builtin_return_address(0));
    now->tv_sec = at / 1000000000;
    now->tv_nsec = at % 1000000000;
    return 0;
}

static int look(int fd, struct epoll_event *events, int most, int timeout)
{
    return (int)syscall(SYS_epoll_pwait, fd, events, most, timeout, NULL, 0);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
    bool jumps = hybrid.on && hybrid.held == 0;
    int ready = look(fd, events, most, jumps ? 0 : timeout);

    if (jumps && ready == 0 && timeout > 0) {
        hybrid.now += (int64_t)timeout * 1000000;
        hybrid.ahead += 1000;
    }
    return ready;
}

/* Where the library does not have libev wait. `at` is NULL, or how the system has moments. */
static bool jumps_to(const atomic_uint *word, unsigned value, const long *at)
{
    int64_t moment;

    if (!hybrid.on || hybrid.held > 0 || !at || atomic_load(word) != value)
        return false;
    moment = at[0] * 1000000000 + at[1];
    hybrid.now = moment > hybrid.now ? moment : hybrid.now;
    hybrid.ahead += 1000;
    errno = ETIMEDOUT;
    return true;
}

/* Reads as many arguments as there can be, as the C library's own does, which AddressSanitizer must not mind. */
__attribute__((no_sanitize("address"))) long syscall(long number, ...)
{
    static long (*next)(long number, ...);
    long arguments[6];
    va_list list;
    int i;

    va_start(list, number);
    for (i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_futex && arguments[1] == FUTEX_WAIT_BITSET_PRIVATE &&
        jumps_to((const atomic_uint *)arguments[0], (unsigned)arguments[2], (const long *)arguments[3]))
        return -1;
    if (!next)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
