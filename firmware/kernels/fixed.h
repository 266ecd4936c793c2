/* The integer vocabulary, and the one rounding rule: every narrowing is an
 * arithmetic shift right, which is floor. The golden model is lsm_edge/fixed.py;
 * docs/numerics.md is normative. Nothing here can fail, allocate or recurse. */
#ifndef LSM_FIXED_H
#define LSM_FIXED_H

#include <stddef.h>
#include <stdint.h>

/* A tool may add attributes to the kernels (the host build excludes them from
 * function instrumentation); none may change a result. */
#ifndef LSM_KERNEL
#define LSM_KERNEL static inline
#endif

/* C99 leaves the right shift of a negative value to the compiler, and how wide
 * the int is in which narrower integers are added and multiplied. */
typedef char lsm_shift_is_arithmetic[(((int32_t)-1 >> 1) == -1) ? 1 : -1];
typedef char lsm_int_has_32_bits[(sizeof(int) >= sizeof(int32_t)) ? 1 : -1];

LSM_KERNEL int16_t saturate_int16(int32_t x)
{
    if (x > INT16_MAX) {
        return INT16_MAX;
    }
    if (x < INT16_MIN) {
        return INT16_MIN;
    }
    return (int16_t)x;
}

/* floor(x * factor / 2^15). |x| < 2^16 and |factor| < 2^15 keep the product
 * within int32_t. */
LSM_KERNEL int32_t multiply_q15(int32_t x, int32_t factor_q15)
{
    return (x * factor_q15) >> 15;
}

/* What a leak leaves of x: floor, plus one if x was negative, so that every
 * decay ends at zero. 0 <= factor < 2^15; |result| <= |x|. */
LSM_KERNEL int32_t decay_q15(int32_t x, int32_t factor_q15)
{
    return multiply_q15(x, factor_q15) + (int32_t)((uint32_t)x >> 31);
}

/* How many bits x needs; 0 needs none. */
LSM_KERNEL uint32_t bit_length(uint32_t x)
{
    uint32_t n = 0;
    if (x >= 0x10000U) { n += 16U; x >>= 16; }
    if (x >= 0x100U)   { n += 8U;  x >>= 8; }
    if (x >= 0x10U)    { n += 4U;  x >>= 4; }
    if (x >= 0x4U)     { n += 2U;  x >>= 2; }
    if (x >= 0x2U)     { n += 1U;  x >>= 1; }
    return n + x;
}

/* log2(x) in 1/256 octaves for x >= 1, 0 for 0. The fraction is a parabola:
 * 88 / 256 = 0.344. Result in [0, 64 * 256). */
LSM_KERNEL int32_t log2_q8(uint64_t x)
{
    uint32_t high = (uint32_t)(x >> 32);
    uint32_t exponent;
    uint32_t mantissa;
    if (x == 0) {
        return 0;
    }
    exponent = (high != 0 ? 32U + bit_length(high) : bit_length((uint32_t)x)) - 1U;
    mantissa = (uint32_t)(exponent >= 8U ? x >> (exponent - 8U) : x << (8U - exponent)) & 255U;
    return (int32_t)((exponent << 8) + mantissa + ((mantissa * (256U - mantissa) * 88U) >> 16));
}

/* floor(sqrt(x)) for 0 <= x <= 65535. */
LSM_KERNEL uint8_t sqrt_floor(uint32_t x)
{
    uint32_t root = 0;
    uint32_t bit;
    for (bit = 128U; bit != 0U; bit >>= 1) {
        uint32_t trial = root | bit;
        if (trial * trial <= x) {
            root = trial;
        }
    }
    return (uint8_t)root;
}

#endif
