/* taps.h - every integer that a stage leaves, read out of the context.
 *
 * It is included after lsm.c. The compiler is asked to call a hook after every
 * function (-finstrument-functions); the hook calls record_stage(), which hands
 * taps to record(), which the includer writes. The library carries no tap code. */
#define HIDDEN __attribute__((no_instrument_function))

enum { TAP_FRAME, TAP_LEVEL, TAP_CURRENT, TAP_V, TAP_REFRACTORY, TAP_SPIKES, TAP_FEATURES, TAP_SCORES, TAP_CLASS,
       TAP_CONFIDENCE, N_TAPS };

static void HIDDEN record(int which, const void *data, size_t n_bytes);

/* `function` has just returned. */
static void HIDDEN record_stage(const lsm_t *lsm, const void *function)
{
    if (function == (const void *)lsm_frontend) {
        record(TAP_FRAME, lsm->frame, sizeof lsm->frame);
    } else if (function == (const void *)lsm_frame) {
        record(TAP_LEVEL, &lsm->frames[(LSM_HISTORY_FRAMES + lsm->at) * LSM_N_BANDS], LSM_N_BANDS);
    } else if (function == (const void *)lsm_reservoir) {
        record(TAP_CURRENT, current_of(lsm), LSM_N_NEURONS * sizeof lsm->current[0]); /* what it was fed: the encoder may run once a frame */
        record(TAP_V, lsm->v, sizeof lsm->v);
        record(TAP_REFRACTORY, lsm->refractory, sizeof lsm->refractory);
        record(TAP_SPIKES, lsm->spikes, sizeof lsm->spikes);
    } else if (function == (const void *)lsm_readout) {
        record(TAP_FEATURES, lsm->features, sizeof lsm->features);
        record(TAP_SCORES, lsm->scores, sizeof lsm->scores);
    } else if (function == (const void *)lsm_decision) {
        record(TAP_SCORES, lsm->scores, sizeof lsm->scores);
        record(TAP_CLASS, &lsm->decision, sizeof lsm->decision);
#ifdef LSM_CERTAIN
        record(TAP_CONFIDENCE, &lsm->confidence_q15, sizeof lsm->confidence_q15);
#endif
    }
}
