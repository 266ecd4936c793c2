/* console - bytes and text over the serial port of the board's debugger, 8N1.
 * Every wait is bounded: without a USART (in an emulator, say) sending does
 * nothing and receiving finds nothing. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdint.h>

void console_open(void);

/* The next byte, or -1 when none came for a while (some tenths of a second). */
int console_receive(void);

void console_send(uint8_t byte);
void console_text(const char *text);
void console_decimal(int32_t value);

#endif
