/* cortex_m - the start of a program on an emulated Cortex-M, and its calls to the computer.
 * The emulator has put .data and .bss where they belong: it loads an ELF, it flashes nothing. */
#include "semihost.h"

int main(void);
void reset(void);
void fault(void);

extern uint32_t stack_top[]; /* taps.ld */

struct vector_table {
    uint32_t *initial_sp;
    void (*handlers[15])(void);
};

extern const struct vector_table vectors;

__attribute__((section(".start"), used))
const struct vector_table vectors = {
    stack_top,
    {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault},
};

__attribute__((no_instrument_function))
intptr_t semihost(uintptr_t operation, const void *argument)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (intptr_t)r0;
}

void reset(void)
{
    (void)main();
}

void fault(void)
{
    fail("the core took an exception");
}
