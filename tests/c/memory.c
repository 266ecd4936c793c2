/* memory - firmware/port/mem.c against loops that nobody can get wrong, at every
 * alignment and in blocks that end where the work ends. mem.c is compiled with its
 * functions renamed to port_*, so that the C library keeps its own. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void *port_memcpy(void *restrict to, const void *restrict from, size_t count);
void *port_memmove(void *to, const void *from, size_t count);
void *port_memset(void *at, int value, size_t count);

enum { WORD = 8, LONGEST = 40 };

static void check(int is_so, const char *what, size_t to, size_t from, size_t count)
{
    if (!is_so) {
        (void)printf("memory.c: %s to offset %zu from offset %zu, %zu bytes\n", what, to, from, count);
        exit(1);
    }
}

static uint8_t *new_block(size_t n_bytes)
{
    uint8_t *block = malloc(n_bytes > 0 ? n_bytes : 1);
    size_t i;
    check(block != NULL, "malloc", 0, 0, n_bytes);
    for (i = 0; i < n_bytes; i++) {
        block[i] = (uint8_t)(7 * i + n_bytes);
    }
    return block;
}

static int is_before(const uint8_t *a, const uint8_t *b, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        if (a[i] != b[i]) {
            return 0;
        }
    }
    return 1;
}

static void copies(size_t to, size_t from, size_t count)
{
    uint8_t *target = new_block(to + count), *source = new_block(from + count), *untouched = new_block(to + count);
    check(port_memcpy(&target[to], &source[from], count) == &target[to], "memcpy returns", to, from, count);
    check(is_before(&target[to], &source[from], count) && is_before(target, untouched, to), "memcpy", to, from, count);
    free(target);
    free(source);
    free(untouched);
}

static void moves(size_t to, size_t from, size_t count)
{
    size_t n_bytes = (to > from ? to : from) + count, i;
    uint8_t *block = new_block(n_bytes), *expected = new_block(n_bytes), *original = new_block(n_bytes);
    for (i = 0; i < count; i++) {
        expected[to + i] = original[from + i];
    }
    check(port_memmove(&block[to], &block[from], count) == &block[to], "memmove returns", to, from, count);
    check(is_before(block, expected, n_bytes), "memmove", to, from, count);
    free(block);
    free(expected);
    free(original);
}

static void sets(size_t at, int value, size_t count)
{
    uint8_t *block = new_block(at + count), *expected = new_block(at + count);
    size_t i;
    for (i = at; i < at + count; i++) {
        expected[i] = (uint8_t)((unsigned)value & 255U);
    }
    check(port_memset(&block[at], value, count) == &block[at], "memset returns", at, 0, count);
    check(is_before(block, expected, at + count), "memset", at, 0, count);
    free(block);
    free(expected);
}

int main(void)
{
    size_t to, from, count;
    for (count = 0; count <= LONGEST; count++) {
        for (to = 0; to <= WORD; to++) {
            for (from = 0; from <= WORD; from++) {
                copies(to, from, count);
                moves(to, from, count);
                moves(to + count / 2, from, count);
            }
            sets(to, 0, count);
            sets(to, 0x1A5, count);
            sets(to, -1, count);
        }
    }
    return 0;
}
