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

/* A word of two int16_t or four bytes; C99's way to one load or store. */
LSM_KERNEL uint32_t load_word(const void *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

LSM_KERNEL void store_word(void *to, uint32_t word)
{
    memcpy(to, &word, sizeof word);
}

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

/* The same, unsigned. */
LSM_KERNEL uint32_t uxtb16(uint32_t x, uint32_t turn)
{
    uint32_t turned = turn != 0U ? (x >> turn) | (x << (32U - turn)) : x;
    return turned & 0x00FF00FFU;
}

#endif
