/* What the generator has proven about every integer, for a tool to check as it
 * runs: define LSM_ASSERT as assert, say. By default nothing of this is compiled.
 * The bounds are those of lsm_edge/ranges.py. */
#ifndef LSM_BOUNDS_H
#define LSM_BOUNDS_H

#include "frontend.h"

#ifndef LSM_ASSERT
#define LSM_ASSERT(condition) ((void)0)
#endif

/* Whether all values lie in low .. high. */
LSM_KERNEL int within_uint8(const uint8_t *values, size_t n_values, int32_t low, int32_t high)
{
    size_t i;
    for (i = 0; i < n_values; i++) {
        if (values[i] < low || values[i] > high) {
            return 0;
        }
    }
    return 1;
}

LSM_KERNEL int within_int16(const int16_t *values, size_t n_values, int32_t low, int32_t high)
{
    size_t i;
    for (i = 0; i < n_values; i++) {
        if (values[i] < low || values[i] > high) {
            return 0;
        }
    }
    return 1;
}

LSM_KERNEL int within_uint16(const uint16_t *values, size_t n_values, int32_t low, int32_t high)
{
    size_t i;
    for (i = 0; i < n_values; i++) {
        if (values[i] < low || values[i] > high) {
            return 0;
        }
    }
    return 1;
}

LSM_KERNEL int within_int32(const int32_t *values, size_t n_values, int32_t low, int32_t high)
{
    size_t i;
    for (i = 0; i < n_values; i++) {
        if (values[i] < low || values[i] > high) {
            return 0;
        }
    }
    return 1;
}

/* Both parts of all complex points. */
LSM_KERNEL int within_points(const uint32_t *points, size_t n_points, int32_t low, int32_t high)
{
    size_t i;
    for (i = 0; i < n_points; i++) {
        int32_t re = low_half(points[i]);
        int32_t im = high_half(points[i]);
        if (re < low || re > high || im < low || im > high) {
            return 0;
        }
    }
    return 1;
}

#endif
