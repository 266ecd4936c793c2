/* usart - the other end of the line is firmware.c. */
#ifndef USART_H
#define USART_H

#include <stdbool.h>
#include <stdint.h>

void usart_open(uint32_t clocks_per_bit);
bool usart_has_room(void);
void usart_send(uint8_t byte);
bool usart_has_byte(void);
uint8_t usart_receive(void);

#endif
