/* firmware - the computer's end of the line to firmware/app/main.c, which is built
 * with its main() renamed to firmware_main() and with the registers of fake_board/.
 * It sends frames that are right, wrong, cut short, or noise, and looks at every
 * answer: one line, of a kind that main.c promises.
 *
 *     firmware SEED     -> exit code 0, or 1 and what was wrong */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "lsm.h"
#include "usart.h"

enum { N_FRAMES = 3000, LONGEST_FRAME = 6 + 2 * 65536, POLLS_OF_SILENCE = 20 };

int firmware_main(void);

volatile uint32_t fake_registers[256];

static uint32_t random_state;
static uint8_t to_board[LONGEST_FRAME];
static size_t n_to_board, n_sent, n_silent, n_frames, n_line;
static char line[400];
static size_t n_answers[4]; /* more, ready, banner, error */
static bool must_succeed;

static void fail(const char *what)
{
    (void)printf("firmware.c: frame %zu of %zu bytes: %s: %s\n", n_frames, n_to_board, what, line);
    exit(1);
}

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

static void put(uint32_t byte)
{
    to_board[n_to_board++] = (uint8_t)(byte & 255U);
}

static void put_number(uint32_t number)
{
    put(number);
    put(number >> 8);
}

static uint32_t crc_of(const uint8_t *bytes, size_t n_bytes)
{
    uint32_t crc = 0;
    size_t i, bit;
    for (i = 0; i < n_bytes; i++) {
        for (bit = 0; bit < 8; bit++) {
            uint32_t carry = ((crc >> 15) ^ ((uint32_t)bytes[i] >> (7 - bit))) & 1U;
            crc = ((crc & 0x7FFFU) << 1) ^ (carry * 0x1021U);
        }
    }
    return crc;
}

/* The next frame, into to_board[]. */
static void make_frame(void)
{
    static const char operations[] = "hiibbsssssssssseeex";
    uint32_t operation = (uint8_t)operations[below(sizeof operations - 1)];
    uint32_t count = operation == 's' ? below(LSM_HOP_SAMPLES + 1) : 0;
    uint32_t kind = below(10), i;
    n_to_board = 0;
    n_sent = 0;
    put(0xA5);
    put(operation);
    put_number(kind >= 8 ? below(65536) : count);
    for (i = 0; i < count; i++) {
        put_number(below(65536));
    }
    put_number(crc_of(&to_board[1], n_to_board - 1));
    must_succeed = kind < 5 && operation != 'x' && operation != 'e';
    if (kind == 6) {
        n_to_board = below((uint32_t)n_to_board);
    } else if (kind == 8) {
        n_to_board = below(7);
    } else if (kind == 7) {
        to_board[below((uint32_t)n_to_board)] ^= (uint8_t)(1U << below(8));
    } else if (kind == 5) {
        for (i = 0; i < n_to_board; i++) {
            to_board[i] = (uint8_t)below(256);
        }
    }
}

static void hear_line(void)
{
    static const char *const starts[] = { "more\n", "ready ", "lsm-edge ", "error " };
    size_t i;
    for (i = 0; i < 4; i++) {
        if (strncmp(line, starts[i], strlen(starts[i])) == 0) {
            n_answers[i]++;
            if (must_succeed && i == 3) {
                fail("a frame that is right was refused");
            }
            if (i == 2 && strstr(line, " selftest=pass\n") == NULL) {
                fail("the self-test failed");
            }
            must_succeed = false;
            return;
        }
    }
    fail("no such answer is promised");
}

void usart_open(uint32_t clocks_per_bit)
{
    if (clocks_per_bit != 2U) {
        fail("bit time");
    }
}

bool usart_has_room(void)
{
    return below(4) != 0;
}

void usart_send(uint8_t byte)
{
    if (n_line + 1 >= sizeof line) {
        fail("a line that is too long");
    }
    line[n_line++] = (char)byte;
    line[n_line] = '\0';
    if (byte == (uint8_t)'\n') {
        hear_line();
        n_line = 0;
    }
}

/* Silence for a while, and then the next frame: as long as nothing comes, the board may take its time. */
bool usart_has_byte(void)
{
    if (n_sent < n_to_board) {
        return true;
    }
    if (++n_silent < POLLS_OF_SILENCE) {
        return false;
    }
    n_silent = 0;
    if (must_succeed) {
        fail("a frame that is right was not answered");
    }
    if (++n_frames > N_FRAMES) {
        if (n_answers[0] == 0 || n_answers[1] == 0 || n_answers[2] == 0 || n_answers[3] == 0) {
            fail("one kind of answer never came");
        }
        exit(0);
    }
    make_frame();
    return false;
}

uint8_t usart_receive(void)
{
    return to_board[n_sent++];
}

int main(int argc, char **argv)
{
    random_state = 1U + (argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0U) * 7919U;
    return firmware_main();
}
