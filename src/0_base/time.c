/* Arithmetic of times: 64-bit nanoseconds that saturate. */
#include <math.h>

#include <osier/time.h>

int64_t osr_seconds(double seconds)
{
    double ns = seconds * 1e9;

    if (isnan(ns))
        return OSR_TIME_INVALID;
    if (ns >= 9223372036854775807.0)
        return OSR_NEVER;
    return ns <= -9223372036854775807.0 ? -OSR_NEVER : (int64_t)ns;
}

int64_t osr_time_add(int64_t moment, int64_t duration)
{
    int64_t sum;

    if (moment == OSR_TIME_INVALID || duration == OSR_TIME_INVALID)
        return OSR_TIME_INVALID;
    if (moment == OSR_NEVER || duration == OSR_NEVER)
        return OSR_NEVER;
    if (__builtin_add_overflow(moment, duration, &sum))
        return duration > 0 ? OSR_NEVER : -OSR_NEVER;
    return sum == OSR_TIME_INVALID ? -OSR_NEVER : sum;
}
