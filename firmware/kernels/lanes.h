/* Vectors of 16-bit lanes, for the machine that trains and verifies: as many lanes as its
 * registers hold. GCC's vector extension, which clang has too; where it makes poor code
 * of an operation, that is spelled out with the same result. No board runs this. */
#ifndef LSM_LANES_H
#define LSM_LANES_H

#include "fixed.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define N_LANES 32U
#elif defined(__AVX2__)
#define N_LANES 16U
#else
#define N_LANES 8U
#endif

typedef int16_t  lanes_t __attribute__((vector_size(2U * N_LANES), may_alias));
typedef uint16_t unsigned_lanes_t __attribute__((vector_size(2U * N_LANES), may_alias));
typedef int32_t  wide_lanes_t __attribute__((vector_size(4U * N_LANES), may_alias));
typedef int8_t   byte_lanes_t __attribute__((vector_size(N_LANES), may_alias));

#define LSM_LANES static inline __attribute__((always_inline, no_instrument_function))

LSM_LANES lanes_t load_lanes(const void *from)
{
    lanes_t x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
}

LSM_LANES void store_lanes(void *to, lanes_t x)
{
    __builtin_memcpy(to, &x, sizeof x);
}

LSM_LANES byte_lanes_t load_bytes(const void *from)
{
    byte_lanes_t x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
}

LSM_LANES void store_bytes(void *to, byte_lanes_t x)
{
    __builtin_memcpy(to, &x, sizeof x);
}

/* Each lane: x + y, x - y, x * 2^shift, modulo 2^16. */
LSM_LANES lanes_t add_lanes(lanes_t x, lanes_t y)
{
    return (lanes_t)((unsigned_lanes_t)x + (unsigned_lanes_t)y);
}

LSM_LANES lanes_t subtract_lanes(lanes_t x, lanes_t y)
{
    return (lanes_t)((unsigned_lanes_t)x - (unsigned_lanes_t)y);
}

LSM_LANES lanes_t scale_lanes(lanes_t x, uint32_t shift)
{
    return (lanes_t)((unsigned_lanes_t)x << (uint16_t)shift);
}

/* Each lane: where all bits of `which` are set a, where none is b. */
LSM_LANES lanes_t choose_lanes(lanes_t which, lanes_t a, lanes_t b)
{
    return (a & which) | (b & ~which);
}

/* Each lane: x + y, saturated. */
LSM_LANES lanes_t add_saturated(lanes_t x, lanes_t y)
{
#if N_LANES == 32U
    return (lanes_t)_mm512_adds_epi16((__m512i)x, (__m512i)y);
#elif N_LANES == 16U
    return (lanes_t)_mm256_adds_epi16((__m256i)x, (__m256i)y);
#else
    lanes_t sum = add_lanes(x, y);
    lanes_t is_over = ((x ^ sum) & (y ^ sum)) >> 15;
    return choose_lanes(is_over, (x >> 15) ^ INT16_MAX, sum);
#endif
}

/* Each lane: x * 2^shift, saturated. */
LSM_LANES lanes_t scale_saturated(lanes_t x, uint32_t shift)
{
    lanes_t is_high = (lanes_t)(x > (int16_t)(INT16_MAX >> shift));
    lanes_t is_low = (lanes_t)(x < (int16_t)(INT16_MIN >> shift));
    lanes_t end = (x >> 15) ^ INT16_MAX;
    return choose_lanes(is_high | is_low, end, scale_lanes(x, shift));
}

/* Lanes of 8 bits as ones of 16. */
LSM_LANES lanes_t widen(byte_lanes_t x)
{
#if N_LANES == 32U
    return (lanes_t)_mm512_cvtepi8_epi16((__m256i)x);
#elif N_LANES == 16U
    return (lanes_t)_mm256_cvtepi8_epi16((__m128i)x);
#else
    return __builtin_convertvector(x, lanes_t);
#endif
}

/* Bit i of the result: the lowest one of byte i of eight. The product moves it to bit 56 + i. */
LSM_LANES uint32_t bits_of_eight(const uint8_t *bytes)
{
    uint64_t eight;
    __builtin_memcpy(&eight, bytes, sizeof eight);
    return (uint32_t)(((eight & 0x0101010101010101U) * 0x0102040810204080U) >> 56);
}

/* Some of the lanes: a bit for each, where there are registers for that, else all bits
 * of the lane or none. */
#if N_LANES == 32U
typedef __mmask32 some_t;

LSM_LANES some_t at_least(lanes_t x, lanes_t y)
{
    return _mm512_cmpge_epi16_mask((__m512i)x, (__m512i)y);
}

/* Those of `some` whose counter is 0. */
LSM_LANES some_t unless_counting(some_t some, byte_lanes_t counter)
{
    return _mm256_mask_testn_epi8_mask(some, (__m256i)counter, (__m256i)counter);
}

LSM_LANES lanes_t subtract_in(some_t some, lanes_t x, lanes_t y)
{
    return (lanes_t)_mm512_mask_sub_epi16((__m512i)x, some, (__m512i)x, (__m512i)y);
}

/* A counter that is above 0 falls by 1; in `some`, where it is 0, it begins. */
LSM_LANES byte_lanes_t count_down(byte_lanes_t counter, some_t some, uint8_t from)
{
    return (byte_lanes_t)_mm256_mask_blend_epi8(some, _mm256_subs_epu8((__m256i)counter, _mm256_set1_epi8(1)),
                                                _mm256_set1_epi8((char)from));
}

/* Bit i of the result: whether lane i is one of them. */
LSM_LANES uint32_t bits_of(some_t some)
{
    return some;
}
#else
typedef lanes_t some_t;

LSM_LANES some_t at_least(lanes_t x, lanes_t y)
{
    return (some_t)(x >= y);
}

LSM_LANES some_t unless_counting(some_t some, byte_lanes_t counter)
{
    return some & widen((byte_lanes_t)(counter == 0));
}

LSM_LANES lanes_t subtract_in(some_t some, lanes_t x, lanes_t y)
{
    return subtract_lanes(x, some & y);
}

LSM_LANES byte_lanes_t count_down(byte_lanes_t counter, some_t some, uint8_t from)
{
    byte_lanes_t is_counting = (byte_lanes_t)(counter != 0); /* -1 */
    return counter + is_counting + (__builtin_convertvector(some, byte_lanes_t) & (int8_t)from);
}

LSM_LANES uint32_t bits_of(some_t some)
{
    byte_lanes_t each = __builtin_convertvector(some, byte_lanes_t);
#if N_LANES == 16U
    return (uint32_t)_mm_movemask_epi8((__m128i)each);
#else
    return bits_of_eight((const uint8_t *)&each);
#endif
}
#endif

#endif
