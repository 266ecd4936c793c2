/* startup - from reset to main(): the vector table, .data, .bss and nothing else.
 * The clock stays what the chip wakes up with; no interrupt is enabled. */
#include <stdint.h>
#include <string.h>

int main(void);
void Reset_Handler(void);
void Default_Handler(void);

/* Set by linker.ld; only their addresses mean anything. */
extern uint32_t stack_top[];
extern uint32_t data_load[], data_start[], data_end[];
extern uint32_t bss_start[], bss_end[];

/* Armv7-M architecture manual B1.5.3; v6-M has the same places, some reserved. */
struct vector_table {
    uint32_t *initial_sp;
    void (*handlers[15])(void);
};

extern const struct vector_table vectors;

__attribute__((section(".vectors"), used))
const struct vector_table vectors = {
    stack_top,
    {
        Reset_Handler,
        Default_Handler, /* NMI */
        Default_Handler, /* HardFault */
        Default_Handler, /* MemManage */
        Default_Handler, /* BusFault */
        Default_Handler, /* UsageFault */
        0, 0, 0, 0,
        Default_Handler, /* SVCall */
        Default_Handler, /* DebugMonitor */
        0,
        Default_Handler, /* PendSV */
        Default_Handler, /* SysTick */
    },
};

static size_t bytes_between(const uint32_t *start, const uint32_t *end)
{
    return (size_t)((uintptr_t)end - (uintptr_t)start);
}

/* memcpy and memset are safe here: they use no variable of their own. */
void Reset_Handler(void)
{
    memcpy(data_start, data_load, bytes_between(data_start, data_end));
    memset(bss_start, 0, bytes_between(bss_start, bss_end));
    (void)main();
    Default_Handler();
}

/* A fault stays here, for a debugger to find. */
void Default_Handler(void)
{
    for (;;) {
    }
}
