/* taps - the generated library on an emulated core: one recording in, every tap out.
 *
 * Files are in the folder in which the emulator runs. "recording": how many samples
 * to push at once (uint32), then the samples (int16) of one segment. Each tap goes
 * to a file of its name. All numbers are little-endian. */
#include "lsm.c"

#include "semihost.h"
#include "taps.h"

/* What memory may hold before lsm_init(). */
#define DIRT  0xA5

static const char *const tap_names[N_TAPS] = {
    [TAP_FRAME] = "frontend.frame",
    [TAP_LEVEL] = "frontend.level",
    [TAP_CURRENT] = "encoder.current",
    [TAP_V] = "reservoir.v",
    [TAP_REFRACTORY] = "reservoir.refractory",
    [TAP_SPIKES] = "reservoir.spikes",
    [TAP_FEATURES] = "readout.features",
    [TAP_SCORES] = "readout.scores",
    [TAP_CLASS] = "decision.class",
    [TAP_CONFIDENCE] = "decision.confidence",
};

static intptr_t tap_files[N_TAPS];
static lsm_t stream;
static int16_t samples[LSM_HOP_SAMPLES];

_Noreturn void HIDDEN fail(const char *message)
{
    (void)semihost(SYS_WRITE0, message);
    (void)semihost(SYS_WRITE0, "\n");
    for (;;) {
        (void)semihost(SYS_EXIT, EXIT_FAILED);
    }
}

static intptr_t HIDDEN open_file(const char *name, uintptr_t mode)
{
    uintptr_t n = 0;
    intptr_t file;
    while (name[n] != '\0') {
        n++;
    }
    file = semihost(SYS_OPEN, (const uintptr_t[]){(uintptr_t)name, mode, n});
    if (file < 0) {
        fail(name);
    }
    return file;
}

/* Bytes read: fewer than asked for at the end of the file. */
static size_t HIDDEN read_file(intptr_t file, void *data, size_t n_bytes)
{
    return n_bytes - (size_t)semihost(SYS_READ, (const uintptr_t[]){(uintptr_t)file, (uintptr_t)data, n_bytes});
}

static void HIDDEN record(int which, const void *data, size_t n_bytes)
{
    if (semihost(SYS_WRITE, (const uintptr_t[]){(uintptr_t)tap_files[which], (uintptr_t)data, n_bytes}) != 0) {
        fail("a tap cannot be written");
    }
}

void HIDDEN __cyg_profile_func_enter(void *function, void *site)
{
    (void)function;
    (void)site;
}

void HIDDEN __cyg_profile_func_exit(void *function, void *site)
{
    (void)site;
    record_stage(&stream, function);
}

int main(void)
{
    intptr_t recording = open_file("recording", OPEN_READ);
    uint32_t chunk = 0;
    size_t n_bytes;
    size_t i;
    for (i = 0; i < N_TAPS; i++) {
        tap_files[i] = open_file(tap_names[i], OPEN_WRITE);
    }
    (void)read_file(recording, &chunk, sizeof chunk);
    if (chunk < 1U || chunk > LSM_HOP_SAMPLES) {
        fail("samples can be pushed one to LSM_HOP_SAMPLES at a time");
    }
    memset(&stream, DIRT, sizeof stream);
    lsm_init(&stream);
    if (lsm_begin(&stream) != LSM_MORE) {
        fail("lsm_begin() refuses");
    }
    while ((n_bytes = read_file(recording, samples, chunk * sizeof samples[0])) > 0U) {
        if (lsm_push(&stream, samples, n_bytes / sizeof samples[0]) < LSM_MORE) {
            fail("lsm_push() refuses");
        }
    }
    if (lsm_end(&stream) != LSM_READY) {
        fail("lsm_end() refuses");
    }
    (void)semihost(SYS_EXIT, EXIT_DONE);
    return 0;
}
