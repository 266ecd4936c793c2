/* semihost - what the computer does for a program in an emulator: files, a message,
 * the end. Arm: "Semihosting for AArch32 and AArch64", 2.0; RISC-V has the same calls. */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stddef.h>
#include <stdint.h>

#define SYS_OPEN    0x01U
#define SYS_WRITE0  0x04U
#define SYS_WRITE   0x05U
#define SYS_READ    0x06U
#define SYS_EXIT    0x18U

#define OPEN_READ   1U /* fopen's "rb" */
#define OPEN_WRITE  5U /* "wb" */

#define EXIT_DONE   ((const void *)0x20026U) /* ADP_Stopped_ApplicationExit */
#define EXIT_FAILED ((const void *)0x20023U) /* ADP_Stopped_RunTimeErrorUnknown */

/* One call; what it answers. Written for each kind of core. */
intptr_t semihost(uintptr_t operation, const void *argument);

/* Ends the run, with a message on the emulator's standard error. */
_Noreturn void fail(const char *message);

#endif
