/* The integer vocabulary, and the one rounding rule: every narrowing is an
 * arithmetic shift right, which is floor. The golden model is lsm_edge/fixed.py;
 * docs/numerics.md is normative. Nothing here can fail, allocate or recurse. */
#ifndef LSM_FIXED_H
#define LSM_FIXED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A tool may add attributes to the kernels (the host build excludes them from
 * function instrumentation); none may change a result. */
#ifndef LSM_KERNEL
#define LSM_KERNEL static inline
#endif

/* Armv6-M has neither an instruction that counts leading zeros nor a product of two
 * words that is longer than one; both would be calls. */
#ifndef LSM_HAS_CLZ
#if defined(__GNUC__) && (!defined(__arm__) || defined(__ARM_FEATURE_CLZ))
#define LSM_HAS_CLZ 1
#else
#define LSM_HAS_CLZ 0
#endif
#endif

/* A kernel of many variables: several of them in one function would not find room in
 * the eight registers of Armv6-M. */
#if defined(__GNUC__) && !LSM_HAS_CLZ
#define LSM_KERNEL_APART static __attribute__((noinline, unused))
#else
#define LSM_KERNEL_APART LSM_KERNEL
#endif

/* A piece of a kernel whose arguments are constants, of which little is left. */
#ifdef __GNUC__
#define LSM_PIECE static inline __attribute__((always_inline, no_instrument_function))
#else
#define LSM_PIECE static inline
#endif

/* C99 leaves the right shift of a negative value to the compiler, and how wide
 * the int is in which narrower integers are added and multiplied. */
typedef char lsm_shift_is_arithmetic[(((int32_t)-1 >> 1) == -1) ? 1 : -1];
typedef char lsm_int_has_32_bits[(sizeof(int) >= sizeof(int32_t)) ? 1 : -1];

/* memcpy of a few bytes as the compiler's own: with -ffreestanding it would be a call.
 * LSM_AT promises that an address is a multiple of some bytes. */
#ifdef __GNUC__
#define LSM_COPY __builtin_memcpy
#define LSM_AT(address, n_bytes) __builtin_assume_aligned((address), (n_bytes))
#else
#define LSM_COPY memcpy
#define LSM_AT(address, n_bytes) (address)
#endif

/* Before a loop of few turns, as many at every call: without it. */
#if defined(__GNUC__) && defined(__arm__)
#define LSM_UNROLL _Pragma("GCC unroll 4")
#else
#define LSM_UNROLL
#endif

/* What is rarely so is moved out of the way. */
#ifdef __GNUC__
#define LSM_RARELY(condition) (__builtin_expect((condition), 0) != 0)
#else
#define LSM_RARELY(condition) (condition)
#endif

/* Two neighbours of 16 bits as one word, the first in the low half, or four of 8 bits:
 * these cores are little-endian. They are at a multiple of four bytes. */
LSM_KERNEL uint32_t load_aligned(const void *from)
{
    uint32_t word;
    LSM_COPY(&word, LSM_AT(from, 4), sizeof word);
    return word;
}

LSM_KERNEL void store_aligned(void *to, uint32_t word)
{
    LSM_COPY(LSM_AT(to, 4), &word, sizeof word);
}

/* 16 bits, or two of 8, at a multiple of two bytes. */
LSM_KERNEL uint32_t load_half(const void *from)
{
    uint16_t half;
    LSM_COPY(&half, LSM_AT(from, 2), sizeof half);
    return half;
}

/* The low half of x. */
LSM_KERNEL void store_half(void *to, uint32_t x)
{
    uint16_t half = (uint16_t)(x & 0xFFFFU);
    LSM_COPY(LSM_AT(to, 2), &half, sizeof half);
}

/* x, which the compiler no longer knows: a constant stays in a register, where shifts of
 * the other operand are free, and is not loaded again for every use; an index stays one,
 * and does not become a pointer for each of the arrays that it reaches. */
LSM_KERNEL uint32_t in_register(uint32_t x)
{
#if defined(__GNUC__) && defined(__arm__)
    __asm__("" : "+r"(x));
#endif
    return x;
}

/* The two halves of a word, as signed integers. */
LSM_KERNEL int32_t low_half(uint32_t x)
{
    return (int16_t)(uint16_t)(x & 0xFFFFU);
}

LSM_KERNEL int32_t high_half(uint32_t x)
{
    return (int16_t)(uint16_t)(x >> 16);
}

/* Each taken modulo 2^16. */
LSM_KERNEL uint32_t halves(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFU) | ((uint32_t)high << 16);
}

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
#if LSM_HAS_CLZ
    return x != 0U ? 32U - (uint32_t)__builtin_clz(x) : 0U;
#else
    uint32_t n = 0;
    if (x >= 0x10000U) { n += 16U; x >>= 16; }
    if (x >= 0x100U)   { n += 8U;  x >>= 8; }
    if (x >= 0x10U)    { n += 4U;  x >>= 4; }
    if (x >= 0x4U)     { n += 2U;  x >>= 2; }
    if (x >= 0x2U)     { n += 1U;  x >>= 1; }
    return n + x;
#endif
}

/* log2(x) in 1/256 octaves for x >= 1, 0 for 0. The fraction is a parabola:
 * 88 / 256 = 0.344. Result in [0, 64 * 256). */
LSM_KERNEL int32_t log2_q8(uint64_t x)
{
    uint32_t high = (uint32_t)(x >> 32);
    uint32_t low = (uint32_t)x;
    uint32_t n_bits;
    uint32_t mantissa;
    if (high != 0U) {
        n_bits = bit_length(high);
        low = (high << (32U - n_bits)) | ((low >> 1) >> (n_bits - 1U));
        n_bits += 32U;
    } else {
        n_bits = bit_length(low);
        if (n_bits == 0U) {
            return 0;
        }
        low <<= 32U - n_bits;
    }
    mantissa = (low >> 23) & 255U; /* the leading one is bit 31 */
    return (int32_t)(((n_bits - 1U) << 8) + mantissa + ((mantissa * (256U - mantissa) * 88U) >> 16));
}

/* 2^-x in Q15, x in 1/256 octaves: 32768 for 0, 0 from 16 octaves on. Between octaves
 * a parabola, 22007 / 32768 = 0.672 and 5623 / 32768 = 0.172; the product is below 2^31. */
LSM_KERNEL uint32_t half_to_the_q15(uint32_t x_q8)
{
    uint32_t part = x_q8 & 255U;
    uint32_t octaves = x_q8 >> 8;
    uint32_t mantissa_q15 = 32768U - ((part * (5633792U - 5623U * part)) >> 16);
    return octaves < 32U ? mantissa_q15 >> octaves : 0U;
}

/* floor(sqrt(x)) for 0 <= x <= 65535. x becomes y = 4^k x, 2^14 <= y < 2^16, unless
 * it is 0; a parabola lies above sqrt(y), by less than two. The tests try every x. */
LSM_KERNEL uint8_t sqrt_floor(uint32_t x)
{
    uint32_t shift = (16U - bit_length(x)) & ~1U;
    int32_t y = (int32_t)(x << shift);
    int32_t root = (288540358 + y * (16874 - ((y * 4890) >> 16))) >> 22; /* the sum is below 2^31 */
    root -= (int32_t)((uint32_t)(y - root * root) >> 31);
    root -= (int32_t)((uint32_t)(y - root * root) >> 31);
    return (uint8_t)((uint32_t)root >> (shift / 2U));
}

#endif
