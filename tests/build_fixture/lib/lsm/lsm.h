/* lsm.h - the interface of a generated library around something that tests can
 * predict: the decision is about the sum of the samples since lsm_begin(). */
#ifndef LSM_H
#define LSM_H
#include <stddef.h>
#include <stdint.h>

#define LSM_ABI          1
#define LSM_EDGE_VERSION "9.9.9"
#define LSM_SAMPLE_HZ    8000
#define LSM_HOP_SAMPLES  8
#define LSM_N_NEURONS    5
#define LSM_N_CLASSES    3

typedef enum {
    LSM_READY     =  1,
    LSM_MORE      =  0,
    LSM_ERR_NULL  = -1,
    LSM_ERR_COUNT = -2,
    LSM_ERR_STATE = -3,
    LSM_ERR_TABLE = -4,
    LSM_ERR_ANSWER = -5
} lsm_status_t;

typedef struct {
    int32_t scores[LSM_N_CLASSES];
    int32_t decision;
    int64_t sum;
    int16_t last[LSM_HOP_SAMPLES];
    uint8_t is_open;
} lsm_t;

extern const char *const lsm_labels[LSM_N_CLASSES];
extern const char lsm_model_digest[65];

void           lsm_init(lsm_t *lsm);
lsm_status_t   lsm_push(lsm_t *lsm, const int16_t *samples, size_t count);
lsm_status_t   lsm_begin(lsm_t *lsm);
lsm_status_t   lsm_end(lsm_t *lsm);
int            lsm_class(const lsm_t *lsm);
const int32_t *lsm_scores(const lsm_t *lsm);
lsm_status_t   lsm_selftest(lsm_t *scratch);

#endif
