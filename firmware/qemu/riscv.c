/* riscv - the start of a program on an emulated RISC-V core, and its calls to the computer.
 * The emulator has put .data and .bss where they belong. */
#include "semihost.h"

void fault(void);

__asm__(".pushsection .start, \"ax\"\n"
        ".global reset\n"
        "reset:\n"
        "    la sp, stack_top\n"
        "    la t0, fault\n"
        "    csrw mtvec, t0\n"
        "    call main\n"
        ".popsection\n");

/* RISC-V Semihosting, section 2.1: these three instructions, none of them compressed. */
__attribute__((no_instrument_function, noinline, aligned(16)))
intptr_t semihost(uintptr_t operation, const void *argument)
{
    register uintptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     "slli x0, x0, 0x1f\n"
                     "ebreak\n"
                     "srai x0, x0, 7\n"
                     ".option pop\n"
                     : "+r"(a0) : "r"(a1) : "memory");
    return (intptr_t)a0;
}

__attribute__((aligned(4))) /* as mtvec wants it */
void fault(void)
{
    fail("the core took an exception");
}
