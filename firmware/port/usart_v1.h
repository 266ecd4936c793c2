/* usart - ST's first USART (F1, F2, F4, L1): one status and one data register.
 * RM0390 section 25.6. */
#ifndef USART_H
#define USART_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"

#define USART_SR   BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x00U)
#define USART_DR   BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x04U)
#define USART_BRR  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x08U)
#define USART_CR1  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x0CU)

#define SR_ORE   (1U << 3)
#define SR_RXNE  (1U << 5)
#define SR_TXE   (1U << 7)
#define CR1_RE   (1U << 2)
#define CR1_TE   (1U << 3)
#define CR1_UE   (1U << 13)

static inline void usart_open(uint32_t clocks_per_bit)
{
    USART_BRR = clocks_per_bit;
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE;
}

static inline bool usart_has_room(void)
{
    return (USART_SR & SR_TXE) != 0U;
}

static inline void usart_send(uint8_t byte)
{
    USART_DR = byte;
}

/* An overrun also counts as a byte: reading it is what ends the overrun. */
static inline bool usart_has_byte(void)
{
    return (USART_SR & (SR_RXNE | SR_ORE)) != 0U;
}

static inline uint8_t usart_receive(void)
{
    return (uint8_t)USART_DR;
}

#endif
