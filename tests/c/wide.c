/* wide - frames through a library of the form for this machine, as training sends them.
 * Built with sanitizers, and with a fence behind every field of the context, as library.c
 * is; rows of synapses and scratch have the sanitizer's own.
 *
 *     wide SEED     -> exit code 0 */
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#include "host.c"

enum { N_SEGMENTS = 6 };

static uint32_t random_state;

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

/* Bands that stay, that jump to either end, that are anywhere. */
static void next_frame(uint8_t *frame)
{
    size_t band;
    for (band = 0; band < LSM_N_BANDS; band++) {
        switch (below(4)) {
        case 0: frame[band] = (uint8_t)(255U * below(2)); break;
        case 1: frame[band] = (uint8_t)below(256); break;
        default: break;
        }
    }
}

int main(int argc, char **argv)
{
    lsm_t *lsm = malloc(sizeof *lsm);
    int segment;
    random_state = argc > 1 ? 1U + (uint32_t)atoi(argv[1]) : 1U;
    host_prepare();
    lsm_init(lsm);
#define FENCE(field) ASAN_POISON_MEMORY_REGION(lsm->field, sizeof lsm->field);
    LSM_FENCES(FENCE)
    for (segment = 0; segment < N_SEGMENTS; segment++) {
        uint32_t n_frames = below(2U * LSM_MAX_FRAMES);
        (void)lsm_begin(lsm);
        for (; n_frames > 0U; n_frames--) {
            next_frame(lsm->frame);
            (void)hear_frame(lsm);
        }
        (void)lsm_end(lsm);
    }
#define UNFENCE(field) ASAN_UNPOISON_MEMORY_REGION(lsm->field, sizeof lsm->field);
    LSM_FENCES(UNFENCE)
    free(lsm);
    return 0;
}
