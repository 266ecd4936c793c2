/* Instructions of the Arm DSP extension, by their names: two halves of 16 bits,
 * or four bytes, at once. Where a core lacks them each is spelled out, with the
 * same result, so that what is generated for one core runs on every other. */
#ifndef LSM_DSP_H
#define LSM_DSP_H

#include <string.h>

#include "fixed.h"

#if defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>
#define LSM_HAS_DSP 1
#else
#define LSM_HAS_DSP 0
#endif

/* Left alone, GCC mixes the turns of an unrolled loop until their words no longer fit
 * the registers. */
#if LSM_HAS_DSP && defined(__GNUC__)
#define LSM_IN_TURN() __asm__ volatile("" ::: "memory")
#else
#define LSM_IN_TURN() ((void)0)
#endif

/* A word of two int16_t or four bytes; C99's way to one load or store. */
LSM_KERNEL uint32_t load_word(const void *from)
{
    uint32_t word;
    LSM_COPY(&word, from, sizeof word);
    return word;
}

LSM_KERNEL void store_word(void *to, uint32_t word)
{
    LSM_COPY(to, &word, sizeof word);
}

/* Each half: x + y, modulo 2^16. */
LSM_KERNEL uint32_t sadd16(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__sadd16((int16x2_t)x, (int16x2_t)y);
#else
    return halves(low_half(x) + low_half(y), high_half(x) + high_half(y));
#endif
}

/* Each half: x - y, modulo 2^16. */
LSM_KERNEL uint32_t ssub16(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__ssub16((int16x2_t)x, (int16x2_t)y);
#else
    return halves(low_half(x) - low_half(y), high_half(x) - high_half(y));
#endif
}

/* Each half: floor((x + y) / 2). */
LSM_KERNEL uint32_t shadd16(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__shadd16((int16x2_t)x, (int16x2_t)y);
#else
    return halves((low_half(x) + low_half(y)) >> 1, (high_half(x) + high_half(y)) >> 1);
#endif
}

/* Each half: floor((x - y) / 2). */
LSM_KERNEL uint32_t shsub16(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__shsub16((int16x2_t)x, (int16x2_t)y);
#else
    return halves((low_half(x) - low_half(y)) >> 1, (high_half(x) - high_half(y)) >> 1);
#endif
}

/* Each half: x + y, saturated. */
LSM_KERNEL uint32_t qadd16(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__qadd16((int16x2_t)x, (int16x2_t)y);
#else
    return halves(saturate_int16(low_half(x) + low_half(y)), saturate_int16(high_half(x) + high_half(y)));
#endif
}

/* saturate_int16. */
LSM_KERNEL int32_t ssat16(int32_t x)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    int32_t kept;
    __asm__("ssat %0, #16, %1" : "=r"(kept) : "r"(x));
    return kept;
#else
    return saturate_int16(x);
#endif
}

/* Each half: x >= y ? if_so : if_not. Two instructions, kept together because of
 * the flags between them. */
LSM_KERNEL uint32_t select16(uint32_t x, uint32_t y, uint32_t if_so, uint32_t if_not)
{
#if LSM_HAS_DSP
    (void)__ssub16((int16x2_t)x, (int16x2_t)y);
    return (uint32_t)__sel((uint8x4_t)if_so, (uint8x4_t)if_not);
#else
    return halves(low_half(low_half(x) >= low_half(y) ? if_so : if_not),
                  high_half(high_half(x) >= high_half(y) ? if_so : if_not));
#endif
}

/* low x * low y + high x * high y + sum; must fit int32_t. */
LSM_KERNEL int32_t smlad(uint32_t x, uint32_t y, int32_t sum)
{
#if LSM_HAS_DSP
    return __smlad((int16x2_t)x, (int16x2_t)y, sum);
#else
    return low_half(x) * low_half(y) + high_half(x) * high_half(y) + sum;
#endif
}

/* low x * low y + high x * high y; must fit int32_t. */
LSM_KERNEL int32_t smuad(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return __smuad((int16x2_t)x, (int16x2_t)y);
#else
    return low_half(x) * low_half(y) + high_half(x) * high_half(y);
#endif
}

/* low x * high y + high x * low y; must fit int32_t. */
LSM_KERNEL int32_t smuadx(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return __smuadx((int16x2_t)x, (int16x2_t)y);
#else
    return low_half(x) * high_half(y) + high_half(x) * low_half(y);
#endif
}

/* low x * low y - high x * high y. */
LSM_KERNEL int32_t smusd(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return __smusd((int16x2_t)x, (int16x2_t)y);
#else
    return low_half(x) * low_half(y) - high_half(x) * high_half(y);
#endif
}

/* low x * low y - high x * high y + sum; must fit int32_t. */
LSM_KERNEL int32_t smlsd(uint32_t x, uint32_t y, int32_t sum)
{
#if LSM_HAS_DSP
    return __smlsd((int16x2_t)x, (int16x2_t)y, sum);
#else
    return low_half(x) * low_half(y) - high_half(x) * high_half(y) + sum;
#endif
}

/* What follows has no intrinsics in GCC, nor does it find the instructions by itself.
 * floor(x * low y / 2^16). */
LSM_KERNEL int32_t smulwb(int32_t x, uint32_t y)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    int32_t product;
    __asm__("smulwb %0, %1, %2" : "=r"(product) : "r"(x), "r"(y));
    return product;
#else
    return (int32_t)(((int64_t)x * low_half(y)) >> 16);
#endif
}

/* floor(x * high y / 2^16). */
LSM_KERNEL int32_t smulwt(int32_t x, uint32_t y)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    int32_t product;
    __asm__("smulwt %0, %1, %2" : "=r"(product) : "r"(x), "r"(y));
    return product;
#else
    return (int32_t)(((int64_t)x * high_half(y)) >> 16);
#endif
}

/* Low half: floor((low x - high y) / 2); high half: floor((high x + low y) / 2). */
LSM_KERNEL uint32_t shasx(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__shasx((int16x2_t)x, (int16x2_t)y);
#else
    return halves((low_half(x) - high_half(y)) >> 1, (high_half(x) + low_half(y)) >> 1);
#endif
}

/* Low half: floor((low x + high y) / 2); high half: floor((high x - low y) / 2). */
LSM_KERNEL uint32_t shsax(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__shsax((int16x2_t)x, (int16x2_t)y);
#else
    return halves((low_half(x) + high_half(y)) >> 1, (high_half(x) - low_half(y)) >> 1);
#endif
}

/* The low half of x under the low half of y. */
LSM_KERNEL uint32_t pkhbt_low(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t packed;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(packed) : "r"(x), "r"(y));
    return packed;
#else
    return (x & 0xFFFFU) | (y << 16);
#endif
}

/* The low half of x under the high half of y. */
LSM_KERNEL uint32_t pkhbt(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t packed;
    __asm__("pkhbt %0, %1, %2" : "=r"(packed) : "r"(x), "r"(y));
    return packed;
#else
    return (x & 0xFFFFU) | (y & 0xFFFF0000U);
#endif
}

/* The high half of x over bits 30 to 15 of y. */
LSM_KERNEL uint32_t pkhtb_q15(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t packed;
    __asm__("pkhtb %0, %1, %2, asr #15" : "=r"(packed) : "r"(x), "r"(y));
    return packed;
#else
    return (x & 0xFFFF0000U) | ((y >> 15) & 0xFFFFU);
#endif
}

/* The high half of x over the high half of y. */
LSM_KERNEL uint32_t pkhtb_high(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t packed;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(packed) : "r"(x), "r"(y));
    return packed;
#else
    return (x & 0xFFFF0000U) | (y >> 16);
#endif
}

/* The bits of x in the opposite order. */
LSM_KERNEL uint32_t rbit(uint32_t x)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t reversed;
    __asm__("rbit %0, %1" : "=r"(reversed) : "r"(x));
    return reversed;
#else
    x = ((x >> 1) & 0x55555555U) | ((x & 0x55555555U) << 1);
    x = ((x >> 2) & 0x33333333U) | ((x & 0x33333333U) << 2);
    x = ((x >> 4) & 0x0F0F0F0FU) | ((x & 0x0F0F0F0FU) << 4);
    x = ((x >> 8) & 0x00FF00FFU) | ((x & 0x00FF00FFU) << 8);
    return (x >> 16) | (x << 16);
#endif
}

/* Of x > 0. */
LSM_KERNEL uint32_t leading_zeros(uint32_t x)
{
#ifdef __GNUC__
    return (uint32_t)__builtin_clz(x);
#else
    return 32U - bit_length(x);
#endif
}

/* Bytes 0 and 2 of x, turned right by 0, 8, 16 or 24 bits, as signed halves. */
LSM_KERNEL uint32_t sxtb16(uint32_t x, uint32_t turn)
{
    uint32_t turned = turn != 0U ? (x >> turn) | (x << (32U - turn)) : x;
#if LSM_HAS_DSP
    return (uint32_t)__sxtb16((int8x4_t)turned);
#else
    return halves((int8_t)(uint8_t)(turned & 255U), (int8_t)(uint8_t)((turned >> 16) & 255U));
#endif
}

/* Bytes 1 and 3 of x as signed halves. */
LSM_KERNEL uint32_t sxtb16_odd(uint32_t x)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t wide;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(wide) : "r"(x));
    return wide;
#else
    return sxtb16(x, 8U);
#endif
}

/* Bytes 0 and 2 of x, turned right as above, as unsigned halves. */
LSM_KERNEL uint32_t uxtb16(uint32_t x, uint32_t turn)
{
    uint32_t turned = turn != 0U ? (x >> turn) | (x << (32U - turn)) : x;
    return turned & 0x00FF00FFU;
}

/* Bytes 1 and 3 of x as unsigned halves. */
LSM_KERNEL uint32_t uxtb16_odd(uint32_t x)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t wide;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(wide) : "r"(x));
    return wide;
#else
    return uxtb16(x, 8U);
#endif
}

/* Bytes 0 and 2 of x, turned right as above, as signed halves, each added to a
 * half of sum, modulo 2^16. */
LSM_KERNEL uint32_t sxtab16(uint32_t sum, uint32_t x, uint32_t turn)
{
#if LSM_HAS_DSP
    return (uint32_t)__sxtab16((int16x2_t)sum, (int8x4_t)(turn != 0U ? (x >> turn) | (x << (32U - turn)) : x));
#else
    return sadd16(sum, sxtb16(x, turn));
#endif
}

/* The same with bytes 1 and 3. */
LSM_KERNEL uint32_t sxtab16_odd(uint32_t sum, uint32_t x)
{
#if LSM_HAS_DSP && defined(__GNUC__)
    uint32_t added;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(added) : "r"(sum), "r"(x));
    return added;
#else
    return sxtab16(sum, x, 8U);
#endif
}

/* Each byte: x - y, or 0 if that is below. */
LSM_KERNEL uint32_t uqsub8(uint32_t x, uint32_t y)
{
#if LSM_HAS_DSP
    return (uint32_t)__uqsub8((uint8x4_t)x, (uint8x4_t)y);
#else
    uint32_t all = 0;
    uint32_t at;
    for (at = 0; at < 32U; at += 8U) {
        uint32_t a = (x >> at) & 255U;
        uint32_t b = (y >> at) & 255U;
        all |= (a > b ? a - b : 0U) << at;
    }
    return all;
#endif
}

/* All bytes of x, and sum, added up. */
LSM_KERNEL uint32_t usada8(uint32_t x, uint32_t sum)
{
#if LSM_HAS_DSP
    return __usada8((uint8x4_t)x, (uint8x4_t)0U, sum);
#else
    return sum + (x & 255U) + ((x >> 8) & 255U) + ((x >> 16) & 255U) + (x >> 24);
#endif
}

/* Each byte: the larger one. */
LSM_KERNEL uint32_t max8(uint32_t x, uint32_t y)
{
    return x + uqsub8(y, x); /* no byte carries */
}

/* Each byte: 255 where x is not 0. Kept together as above. */
LSM_KERNEL uint32_t nonzero8(uint32_t x)
{
#if LSM_HAS_DSP
    (void)__usub8((uint8x4_t)x, (uint8x4_t)0x01010101U);
    return (uint32_t)__sel((uint8x4_t)0xFFFFFFFFU, (uint8x4_t)0U);
#else
    uint32_t low = x | ((x >> 4) & 0x0F0F0F0FU);
    low |= (low >> 2) & 0x3F3F3F3FU;
    low |= (low >> 1) & 0x7F7F7F7FU;
    return (low & 0x01010101U) * 255U;
#endif
}

/* A word, at any address. Returns the address after it. */
LSM_KERNEL void *store_one(void *to, uint32_t word)
{
    uint8_t *at = (uint8_t *)to;
#if LSM_HAS_DSP && defined(__GNUC__)
    __asm__ volatile("str %1, [%0], #4" : "+r"(at) : "r"(word) : "memory");
    return at;
#else
    store_word(at, word);
    return &at[4];
#endif
}

/* Two words at once. At a multiple of four bytes if they are `aligned`: else the
 * core could not. Returns the address after them. */
LSM_KERNEL const void *load_two(const void *from, uint32_t *first, uint32_t *second, int aligned)
{
    const uint8_t *at = (const uint8_t *)from;
#if LSM_HAS_DSP && defined(__GNUC__)
    if (aligned != 0) {
        __asm__("ldrd %0, %1, [%2], #8" : "=&r"(*first), "=&r"(*second), "+r"(at) : : "memory");
        return at;
    }
#endif
    (void)aligned;
    *first = load_word(at);
    *second = load_word(&at[4]);
    return &at[8];
}

/* The same, without moving on. */
LSM_KERNEL void read_two(const void *from, uint32_t *first, uint32_t *second, int aligned)
{
    const uint8_t *at = (const uint8_t *)from;
#if LSM_HAS_DSP && defined(__GNUC__)
    if (aligned != 0) {
        __asm__("ldrd %0, %1, [%2]" : "=r"(*first), "=r"(*second) : "r"(at) : "memory");
        return;
    }
#endif
    (void)aligned;
    *first = load_word(at);
    *second = load_word(&at[4]);
}

LSM_KERNEL void write_two(void *to, uint32_t first, uint32_t second, int aligned)
{
    uint8_t *at = (uint8_t *)to;
#if LSM_HAS_DSP && defined(__GNUC__)
    if (aligned != 0) {
        __asm__ volatile("strd %1, %2, [%0]" : : "r"(at), "r"(first), "r"(second) : "memory");
        return;
    }
#endif
    (void)aligned;
    store_word(at, first);
    store_word(&at[4], second);
}

LSM_KERNEL void *store_two(void *to, uint32_t first, uint32_t second, int aligned)
{
    uint8_t *at = (uint8_t *)to;
#if LSM_HAS_DSP && defined(__GNUC__)
    if (aligned != 0) {
        __asm__ volatile("strd %1, %2, [%0], #8" : "+r"(at) : "r"(first), "r"(second) : "memory");
        return at;
    }
#endif
    (void)aligned;
    store_word(at, first);
    store_word(&at[4], second);
    return &at[8];
}

/* Eight words of zeros in the same way. */
LSM_KERNEL void *clear_eight(void *to, int aligned)
{
    uint8_t *at = (uint8_t *)to;
    size_t i;
#if LSM_HAS_DSP && defined(__GNUC__)
    if (aligned != 0) {
        register uint32_t r2 __asm__("r2") = 0U; /* stm takes them in this order; r7 may be a frame's */
        register uint32_t r3 __asm__("r3") = 0U;
        register uint32_t r4 __asm__("r4") = 0U;
        register uint32_t r5 __asm__("r5") = 0U;
        register uint32_t r6 __asm__("r6") = 0U;
        register uint32_t r8 __asm__("r8") = 0U;
        register uint32_t r9 __asm__("r9") = 0U;
        register uint32_t r10 __asm__("r10") = 0U;
        __asm__ volatile("stmia %0!, {r2, r3, r4, r5, r6, r8, r9, r10}"
                         : "+r"(at)
                         : "r"(r2), "r"(r3), "r"(r4), "r"(r5), "r"(r6), "r"(r8), "r"(r9), "r"(r10)
                         : "memory");
        return at;
    }
#endif
    (void)aligned;
    for (i = 0; i < 32U; i += 4U) {
        store_word(&at[i], 0U);
    }
    return &at[32];
}

#endif
