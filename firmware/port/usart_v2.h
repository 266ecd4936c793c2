/* usart - ST's second USART (F0, F3, F7, G0, G4, H7, L0, L4): a data register for
 * each direction. RM0444 section 33.8, RM0351 section 40.8. */
#ifndef USART_H
#define USART_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"

#define USART_CR1  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x00U)
#define USART_CR3  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x08U)
#define USART_BRR  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x0CU)
#define USART_ISR  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x1CU)
#define USART_RDR  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x24U)
#define USART_TDR  BOARD_REGISTER(CONSOLE_USART_ADDRESS + 0x28U)

#define CR1_UE      (1U << 0)
#define CR1_RE      (1U << 2)
#define CR1_TE      (1U << 3)
#define CR3_OVRDIS  (1U << 12)
#define ISR_RXNE    (1U << 5)
#define ISR_TXE     (1U << 7)

static inline void usart_open(uint32_t clocks_per_bit)
{
    USART_BRR = clocks_per_bit;
    USART_CR3 = CR3_OVRDIS; /* a byte that nobody fetched is lost without further ado */
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE;
}

static inline bool usart_has_room(void)
{
    return (USART_ISR & ISR_TXE) != 0U;
}

static inline void usart_send(uint8_t byte)
{
    USART_TDR = byte;
}

static inline bool usart_has_byte(void)
{
    return (USART_ISR & ISR_RXNE) != 0U;
}

static inline uint8_t usart_receive(void)
{
    return (uint8_t)USART_RDR;
}

#endif
