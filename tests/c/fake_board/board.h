/* board - as templates/board.h.j2 writes it, but with registers that are plain memory. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#define BOARD_RESET_CLOCK_HZ  200U
#define CONSOLE_BAUD          100U

#define CONSOLE_USART_ENABLE_ADDRESS  0U
#define CONSOLE_USART_ENABLE_BIT      31U
#define CONSOLE_GPIO_ADDRESS          0x100U
#define CONSOLE_GPIO_ENABLE_ADDRESS   4U
#define CONSOLE_GPIO_ENABLE_BIT       0U
#define CONSOLE_TX_PIN                0U
#define CONSOLE_RX_PIN                7U
#define CONSOLE_PIN_FUNCTION          15U

extern volatile uint32_t fake_registers[256];

#define BOARD_REGISTER(address)  (fake_registers[(address) / 4U])

#endif
