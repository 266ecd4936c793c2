/* mem - memcpy, memmove and memset, by words, four at a time, where both ends are aligned. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Memory of any type, seen as words: exempt from the aliasing rules. */
typedef uint32_t __attribute__((may_alias)) word_t;

#define WORD_BYTES  sizeof(word_t)
#define BLOCK_BYTES (4U * sizeof(word_t))
#define IS_ALIGNED(address)  (((uintptr_t)(address) % WORD_BYTES) == 0U)

/* Compilers recognise the loops below as memcpy and memset and would make them
 * call themselves; a loop with this in it is left as it is. */
#define KEEP_LOOP()  __asm__ volatile("" ::: "memory")

static void copy_up(uint8_t *to, const uint8_t *from, size_t count)
{
    if (IS_ALIGNED(to) && IS_ALIGNED(from)) {
        for (; count >= BLOCK_BYTES; count -= BLOCK_BYTES) {
            const word_t *words = (const word_t *)(const void *)from;
            word_t *copies = (word_t *)(void *)to;
            word_t a = words[0];
            word_t b = words[1];
            word_t c = words[2];
            word_t d = words[3];
            copies[0] = a;
            copies[1] = b;
            copies[2] = c;
            copies[3] = d;
            to += BLOCK_BYTES;
            from += BLOCK_BYTES;
            KEEP_LOOP();
        }
        for (; count >= WORD_BYTES; count -= WORD_BYTES) {
            *(word_t *)(void *)to = *(const word_t *)(const void *)from;
            to += WORD_BYTES;
            from += WORD_BYTES;
            KEEP_LOOP();
        }
    }
    for (; count > 0U; count--) {
        *to++ = *from++;
        KEEP_LOOP();
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    copy_up(to, from, count);
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    uint8_t *end = (uint8_t *)to + count;
    const uint8_t *from_end = (const uint8_t *)from + count;
    if ((uintptr_t)to <= (uintptr_t)from || (uintptr_t)to >= (uintptr_t)from_end) {
        copy_up(to, from, count);
        return to;
    }
    for (; count > 0U; count--) {
        *--end = *--from_end;
        KEEP_LOOP();
    }
    return to;
}

void *memset(void *at, int value, size_t count)
{
    uint8_t *to = at;
    if (IS_ALIGNED(to)) {
        word_t word = (uint8_t)value * 0x01010101U;
        for (; count >= WORD_BYTES; count -= WORD_BYTES) {
            *(word_t *)(void *)to = word;
            to += WORD_BYTES;
            KEEP_LOOP();
        }
    }
    for (; count > 0U; count--) {
        *to++ = (uint8_t)value;
        KEEP_LOOP();
    }
    return at;
}
