/* console - see console.h. The USART runs from the clock that the chip wakes up
 * with: there is no PLL set-up here, and none is needed for a serial port. */
#include "console.h"

#include <stdbool.h>

#include "board.h"
#include "usart.h"

/* A byte is ten bits long; one turn of a polling loop takes some ten cycles. */
#define SEND_POLLS     (10U * BOARD_RESET_CLOCK_HZ / CONSOLE_BAUD)
#define RECEIVE_POLLS  (BOARD_RESET_CLOCK_HZ / 50U)

/* GPIO registers and values, the same in all STM32 but the F1. */
#define GPIO_MODER  BOARD_REGISTER(CONSOLE_GPIO_ADDRESS + 0x00U)
#define GPIO_PUPDR  BOARD_REGISTER(CONSOLE_GPIO_ADDRESS + 0x0CU)
#define GPIO_AFR(pin)  BOARD_REGISTER(CONSOLE_GPIO_ADDRESS + 0x20U + (((pin) / 8U) * 4U))
#define MODE_ALTERNATE  2U
#define PULL_UP         1U

static void set_field(volatile uint32_t *reg, uint32_t field, uint32_t width_bits, uint32_t value)
{
    uint32_t shift = field * width_bits;
    uint32_t mask = ((1U << width_bits) - 1U) << shift;
    *reg = (*reg & ~mask) | (value << shift);
}

static void enable_clock(volatile uint32_t *reg, uint32_t bit)
{
    *reg |= 1U << bit;
    (void)*reg; /* a peripheral may be used two cycles after its clock starts: reading back takes longer */
}

static void open_pin(uint32_t pin)
{
    set_field(&GPIO_AFR(pin), pin % 8U, 4U, CONSOLE_PIN_FUNCTION);
    set_field(&GPIO_PUPDR, pin, 2U, PULL_UP); /* an open line must not look like a start bit */
    set_field(&GPIO_MODER, pin, 2U, MODE_ALTERNATE);
}

void console_open(void)
{
    enable_clock(&BOARD_REGISTER(CONSOLE_GPIO_ENABLE_ADDRESS), CONSOLE_GPIO_ENABLE_BIT);
    enable_clock(&BOARD_REGISTER(CONSOLE_USART_ENABLE_ADDRESS), CONSOLE_USART_ENABLE_BIT);
    open_pin(CONSOLE_TX_PIN);
    open_pin(CONSOLE_RX_PIN);
    usart_open((BOARD_RESET_CLOCK_HZ + CONSOLE_BAUD / 2U) / CONSOLE_BAUD);
}

int console_receive(void)
{
    for (uint32_t polls = RECEIVE_POLLS; polls > 0U; polls--) {
        if (usart_has_byte()) {
            return usart_receive();
        }
    }
    return -1;
}

void console_send(uint8_t byte)
{
    for (uint32_t polls = SEND_POLLS; polls > 0U; polls--) {
        if (usart_has_room()) {
            usart_send(byte);
            return;
        }
    }
}

void console_text(const char *text)
{
    while (*text != '\0') {
        console_send((uint8_t)*text++);
    }
}

void console_decimal(int32_t value)
{
    char digits[11]; /* ten for 2^32, and the end */
    char *first = &digits[sizeof digits - 1U];
    uint32_t rest = (value < 0) ? 0U - (uint32_t)value : (uint32_t)value;

    *first = '\0';
    do {
        *--first = (char)('0' + (int)(rest % 10U));
        rest /= 10U;
    } while (rest > 0U);
    if (value < 0) {
        console_send('-');
    }
    console_text(first);
}
