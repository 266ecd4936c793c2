/* main - the model on a wire: the computer sends samples, the board answers.
 *
 * The computer sends one frame and waits for the answer, which is one line; so no
 * byte can arrive while the board computes. All numbers are little-endian.
 *
 *     0xA5  operation  count (2 bytes)  count samples (int16)  CRC (2 bytes)
 *
 *     operation  'h'  hello: the banner again
 *                'i'  lsm_init(): forget everything
 *                'b'  lsm_begin()
 *                's'  lsm_push() of the samples, at most LSM_HOP_SAMPLES
 *                'e'  lsm_end()
 *     count      0 but for 's'
 *     CRC        CRC-16/XMODEM of everything between 0xA5 and itself
 *                (in Python: binascii.crc_hqx(bytes, 0))
 *
 *     answer     "more\n"                      LSM_MORE: accepted, no decision
 *                "ready <class> <score>... <label>\n"  LSM_READY; class -1 has the label "-"
 *                "lsm-edge ...\n"              the banner: also sent once after a reset
 *                "error <what>\n"              frame: incomplete, or its CRC is wrong
 *                                              operation, count, state: not allowed
 *
 * After an error in a frame the board answers only when the line has been silent
 * for some tenths of a second: what was left of the frame is not taken for another. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "lsm.h"

#if LSM_ABI != 1
#error "this main.c is for LSM_ABI 1: generate the project again with the lsm-edge that made lsm.h"
#endif

#define FRAME_START  0xA5
#define CRC_POLYNOMIAL  0x1021U

typedef struct {
    uint16_t crc; /* of what came so far */
    bool is_whole; /* nothing is missing so far */
    uint8_t operation;
    uint16_t count;
} frame_t;

static lsm_t stream;
static lsm_status_t selftest; /* its result after the reset */
static int16_t samples[LSM_HOP_SAMPLES];

static uint8_t next_byte(frame_t *frame)
{
    int byte = frame->is_whole ? console_receive() : -1;
    if (byte < 0) {
        frame->is_whole = false;
        return 0U;
    }
    uint32_t crc = frame->crc ^ ((uint32_t)byte << 8);
    for (int bit = 0; bit < 8; bit++) {
        crc = (crc << 1) ^ (((crc & 0x8000U) != 0U) ? CRC_POLYNOMIAL : 0U);
    }
    frame->crc = (uint16_t)crc;
    return (uint8_t)byte;
}

static uint16_t next_number(frame_t *frame)
{
    uint32_t low = next_byte(frame);
    return (uint16_t)(low | ((uint32_t)next_byte(frame) << 8));
}

/* What follows FRAME_START -> frame and samples[]; NULL, or what is wrong with it. */
static const char *receive_frame(frame_t *frame)
{
    frame->crc = 0U;
    frame->is_whole = true;
    frame->operation = next_byte(frame);
    frame->count = next_number(frame);
    if (!frame->is_whole) {
        return "frame"; /* half a count is no count, and may be more than samples[] holds */
    }
    if (frame->count > LSM_HOP_SAMPLES) {
        return "count";
    }
    for (size_t i = 0; i < frame->count; i++) {
        samples[i] = (int16_t)next_number(frame);
    }
    uint16_t crc = frame->crc;
    return (next_number(frame) == crc && frame->is_whole) ? NULL : "frame";
}

static void say_hello(void)
{
    console_text("lsm-edge ");
    console_text(LSM_EDGE_VERSION);
    console_text(" abi=");
    console_decimal(LSM_ABI);
    console_text(" model=");
    console_text(lsm_model_digest);
    console_text(" sample_hz=");
    console_decimal(LSM_SAMPLE_HZ);
    console_text(" hop_samples=");
    console_decimal(LSM_HOP_SAMPLES);
    console_text(" neurons=");
    console_decimal(LSM_N_NEURONS);
    console_text(" classes=");
    console_decimal(LSM_N_CLASSES);
    console_text(" selftest=");
    console_text((selftest == LSM_READY) ? "pass" : (selftest == LSM_ERR_TABLE) ? "table" : "answer");
    console_text("\n");
}

static void say_error(const char *what)
{
    console_text("error ");
    console_text(what);
    console_text("\n");
}

static void say_decision(void)
{
    int decision = lsm_class(&stream);
    const int32_t *scores = lsm_scores(&stream);

    console_text("ready ");
    console_decimal(decision);
    for (size_t i = 0; i < LSM_N_CLASSES; i++) {
        console_text(" ");
        console_decimal(scores[i]);
    }
    console_text(" ");
    console_text((decision < 0) ? "-" : lsm_labels[decision]);
    console_text("\n");
}

static void say_status(lsm_status_t status)
{
    switch (status) {
    case LSM_READY:
        say_decision();
        break;
    case LSM_MORE:
        console_text("more\n");
        break;
    case LSM_ERR_COUNT:
        say_error("count");
        break;
    case LSM_ERR_NULL:
    case LSM_ERR_STATE:
    case LSM_ERR_TABLE:
    case LSM_ERR_ANSWER:
    default:
        say_error("state");
        break;
    }
}

static void obey(const frame_t *frame)
{
    if (frame->operation != 's' && frame->count != 0U) {
        say_error("count");
        return;
    }
    switch (frame->operation) {
    case 'h':
        say_hello();
        break;
    case 'i':
        lsm_init(&stream);
        say_status(LSM_MORE);
        break;
    case 'b':
        say_status(lsm_begin(&stream));
        break;
    case 's':
        say_status(lsm_push(&stream, samples, frame->count));
        break;
    case 'e':
        say_status(lsm_end(&stream));
        break;
    default:
        say_error("operation");
        break;
    }
}

int main(void)
{
    console_open();
    selftest = lsm_selftest(&stream);
    lsm_init(&stream);
    say_hello();
    for (;;) {
        frame_t frame;
        if (console_receive() != FRAME_START) {
            continue;
        }
        const char *error = receive_frame(&frame);
        if (error == NULL) {
            obey(&frame);
            continue;
        }
        while (console_receive() >= 0) {
        }
        say_error(error);
    }
}
