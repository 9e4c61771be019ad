/*
 * Time: signed 64-bit nanoseconds throughout. A moment is counted on the runtime's monotonic clock, a
 * duration is the difference of two. Arithmetic saturates: what would overflow becomes OSR_NEVER, or its negative. It may be
 * done anywhere.
 */
#ifndef OSIER_TIME_H
#define OSIER_TIME_H

#include <osier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A moment that never comes, a duration without end. */
#define OSR_NEVER INT64_MAX

/* What osr_seconds() makes of a NaN: every call that takes a time answers it with -EINVAL. */
#define OSR_TIME_INVALID INT64_MIN

/* `count` units of `unit` nanoseconds, saturating at OSR_NEVER and its negative. */
static inline int64_t osr_duration_(int64_t count, int64_t unit)
{
    if (count > OSR_NEVER / unit)
        return OSR_NEVER;
    return count < -(OSR_NEVER / unit) ? -OSR_NEVER : count * unit;
}

/* Durations in nanoseconds, from microseconds, milliseconds and whole seconds. They saturate. */
static inline int64_t osr_us(int64_t count) { return osr_duration_(count, 1000); }
static inline int64_t osr_ms(int64_t count) { return osr_duration_(count, 1000000); }
static inline int64_t osr_s(int64_t count) { return osr_duration_(count, 1000000000); }

/*
 * A duration from seconds with a fraction. Infinity and what is too large saturate; a NaN gives
 * OSR_TIME_INVALID.
 */
OSR_API int64_t osr_seconds(double seconds);

/*
 * `moment` + `duration`, saturating; OSR_NEVER in either place gives OSR_NEVER, and OSR_TIME_INVALID in either place gives
 * OSR_TIME_INVALID, which comes first.
 */
OSR_API int64_t osr_time_add(int64_t moment, int64_t duration);

/*
 * Now, on the runtime's clock, read afresh; under a simulated clock, its logical time. Outside a run:
 * CLOCK_MONOTONIC. Never waits, may be called from anywhere.
 */
OSR_API int64_t osr_now(void);

/*
 * Waits for `duration`, or until the moment `at`. A cancellation point. A duration of 0 or less, or a
 * moment that has passed, lets the other ready tasks run once, like osr_yield(); OSR_NEVER waits until
 * cancelled.
 *
 * 0; -ECANCELED; -EINVAL for OSR_TIME_INVALID; -ENOMEM; -EPERM.
 */
#define osr_sleep(duration) osr_sleep_here((duration), OSR_HERE)
#define osr_sleep_until(at) osr_sleep_until_here((at), OSR_HERE)
OSR_API int osr_sleep_here(int64_t duration, const char *where);
OSR_API int osr_sleep_until_here(int64_t at, const char *where);

#ifdef __cplusplus
}
#endif

#endif
