/* What lsm_selftest() needs: a checksum, and a sound that needs no table.
 * Golden model: lsm_edge/selftest.py. */
#ifndef LSM_SELFTEST_H
#define LSM_SELFTEST_H

#include "fixed.h"

/* CRC-32 (the one of zlib and IEEE 802.3), four bits at a time. It starts at 0
 * and may be continued; every single flipped bit changes it. */
LSM_KERNEL uint32_t crc32_of_byte(uint32_t crc, uint8_t byte)
{
    static const uint32_t table[16] = {
        0x00000000U, 0x1DB71064U, 0x3B6E20C8U, 0x26D930ACU, 0x76DC4190U, 0x6B6B51F4U, 0x4DB26158U, 0x5005713CU,
        0xEDB88320U, 0xF00F9344U, 0xD6D6A3E8U, 0xCB61B38CU, 0x9B64C2B0U, 0x86D3D2D4U, 0xA00AE278U, 0xBDBDF21CU,
    };
    crc = ~crc ^ byte;
    crc = (crc >> 4) ^ table[crc & 15U];
    crc = (crc >> 4) ^ table[crc & 15U];
    return ~crc;
}

/* Volatile: a compiler knows what the tables hold, but not what flash has come
 * to hold. */
LSM_KERNEL uint32_t crc32_of_8(uint32_t crc, const volatile uint8_t *values, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        crc = crc32_of_byte(crc, values[i]);
    }
    return crc;
}

/* Little-endian on every core. */
LSM_KERNEL uint32_t crc32_of_16(uint32_t crc, const volatile uint16_t *values, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        uint32_t value = values[i];
        crc = crc32_of_byte(crc, (uint8_t)(value & 255U));
        crc = crc32_of_byte(crc, (uint8_t)(value >> 8));
    }
    return crc;
}

LSM_KERNEL uint32_t crc32_of_32(uint32_t crc, const volatile uint32_t *values, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        uint32_t value = values[i];
        crc = crc32_of_byte(crc, (uint8_t)(value & 255U));
        crc = crc32_of_byte(crc, (uint8_t)((value >> 8) & 255U));
        crc = crc32_of_byte(crc, (uint8_t)((value >> 16) & 255U));
        crc = crc32_of_byte(crc, (uint8_t)(value >> 24));
    }
    return crc;
}

/* The sound: a square wave under noise; pitch and loudness change every hop. */
typedef struct {
    uint32_t random;
    uint32_t half_period; /* samples, 2 to 65 */
    uint32_t left;        /* of this half period */
    uint32_t softness;    /* bits, 0 to 7 */
    int32_t  sign;
} sound_t;

/* Numerical Recipes' generator; the high bits are the good ones. */
LSM_KERNEL uint32_t next_random(uint32_t random)
{
    return random * 1664525U + 1013904223U;
}

LSM_KERNEL void next_hop(sound_t *sound)
{
    sound->random = next_random(sound->random);
    sound->half_period = 2U + (sound->random >> 26);
    sound->softness = (sound->random >> 20) & 7U;
}

/* |sample| <= 16384 + 4096. */
LSM_KERNEL int16_t next_sample(sound_t *sound)
{
    int32_t noise;
    if (sound->left == 0U) {
        sound->left = sound->half_period;
        sound->sign = -sound->sign;
    }
    sound->left--;
    sound->random = next_random(sound->random);
    noise = (int32_t)(sound->random >> 16) - 32768;
    return (int16_t)(sound->sign * (16384 >> sound->softness) + (noise >> (sound->softness + 3U)));
}

#endif
