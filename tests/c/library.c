/* library - calls a generated library in every way that its header allows, and in
 * some that it refuses. Built with sanitizers. Every context and every chunk of
 * samples is a heap block of its own, and test_sanitizers.py puts a fence behind
 * every field of the context: one byte too far is found.
 *
 *     library SEED     -> exit code 0, or 1 and what was wrong */
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm.h"

#define CHECK(condition) check((condition), #condition, __LINE__)

enum { N_HOPS = 3 * LSM_MAX_FRAMES + 40, N_SAMPLES = N_HOPS * LSM_HOP_SAMPLES, N_CALLS = 600, LONGEST_RUN = 400 };

static uint32_t random_state;

static void check(int is_so, const char *what, int line)
{
    if (!is_so) {
        (void)printf("library.c:%d: not so: %s\n", line, what);
        exit(1);
    }
}

static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

/* Silence, the ends of the range, steps between them, noise at any loudness; each for a while. */
static void fill(int16_t *samples, size_t count)
{
    static uint32_t kind, left;
    size_t i;
    for (i = 0; i < count; i++) {
        if (left == 0) {
            kind = below(7);
            left = 1 + below(6 * LSM_HOP_SAMPLES);
        }
        left--;
        switch (kind) {
        case 0: samples[i] = 0; break;
        case 1: samples[i] = INT16_MAX; break;
        case 2: samples[i] = INT16_MIN; break;
        case 3: samples[i] = (left & 1U) != 0 ? INT16_MIN : INT16_MAX; break;
        case 4: samples[i] = left == 7 ? INT16_MIN : 0; break;
        case 5: samples[i] = (int16_t)((int32_t)below(7) - 3); break;
        default: samples[i] = (int16_t)((int32_t)below(65536) - 32768); break;
        }
    }
}

static lsm_t *new_context(void)
{
    lsm_t *lsm = malloc(sizeof *lsm);
    CHECK(lsm != NULL);
    memset(lsm, 0xA5, sizeof *lsm);
    return lsm;
}

static void fence(lsm_t *lsm)
{
#define POISON(field) __asan_poison_memory_region(lsm->field, sizeof lsm->field);
    LSM_FENCES(POISON)
}

static void unfence(lsm_t *lsm)
{
#define UNPOISON(field) __asan_unpoison_memory_region(lsm->field, sizeof lsm->field);
    LSM_FENCES(UNPOISON)
}

/* lsm_init() may touch all of the context, whose fields are fenced from then on. */
static void init(lsm_t *lsm)
{
    unfence(lsm);
    lsm_init(lsm);
    fence(lsm);
}

static int are_equal(lsm_t *a, lsm_t *b)
{
    unfence(a);
    unfence(b);
    return memcmp(a, b, sizeof *a) == 0;
}

/* Push `count` samples from a block of exactly that size. */
static lsm_status_t push(lsm_t *lsm, const int16_t *samples, size_t count)
{
    int16_t *block = malloc(count > 0 ? count * sizeof *block : 1);
    lsm_status_t status;
    CHECK(block != NULL);
    memcpy(block, samples, count * sizeof *block);
    status = lsm_push(lsm, block, count);
    free(block);
    return status;
}

static void check_class(const lsm_t *lsm)
{
    int decision = lsm_class(lsm);
    CHECK(decision >= -1 && decision < LSM_N_CLASSES);
    CHECK(decision < 0 || strlen(lsm_labels[decision]) > 0);
    CHECK(lsm_scores(lsm) != NULL);
    CHECK(decision < 0 || lsm_scores(lsm)[decision] >= lsm_scores(lsm)[LSM_N_CLASSES - 1]);
}

static void refuses_null(void)
{
    int16_t sample = 0;
    lsm_t *lsm = new_context();
    lsm_init(NULL);
    CHECK(lsm_push(NULL, &sample, 1) == LSM_ERR_NULL);
    CHECK(lsm_begin(NULL) == LSM_ERR_NULL);
    CHECK(lsm_end(NULL) == LSM_ERR_NULL);
    CHECK(lsm_class(NULL) == -1);
    CHECK(lsm_scores(NULL) == NULL);
    CHECK(lsm_selftest(NULL) == LSM_ERR_NULL);
    init(lsm);
    CHECK(lsm_push(lsm, NULL, 1) == LSM_ERR_NULL);
    CHECK(lsm_push(lsm, NULL, 0) == LSM_MORE);
    CHECK(strlen(lsm_model_digest) == 64);
    free(lsm);
}

static void refuses_what_is_not_initialised(void)
{
    int16_t sample = 0;
    lsm_t *lsm = new_context();
    CHECK(lsm_push(lsm, &sample, 1) == LSM_ERR_STATE);
    CHECK(lsm_begin(lsm) == LSM_ERR_STATE);
    CHECK(lsm_end(lsm) == LSM_ERR_STATE);
    CHECK(lsm_class(lsm) == -1);
    init(lsm);
    CHECK(lsm_class(lsm) == -1);
    CHECK(lsm_end(lsm) == (IS_LIVE ? LSM_READY : LSM_ERR_STATE));
    CHECK(lsm_begin(lsm) == LSM_MORE);
    CHECK(lsm_end(lsm) == LSM_READY); /* of nothing at all */
    check_class(lsm);
    free(lsm);
}

static void consumes_nothing_of_too_much(void)
{
    lsm_t *lsm = new_context();
    lsm_t *before = new_context();
    static const int16_t samples[LSM_HOP_SAMPLES + 1] = { 1 };
    init(lsm);
    init(before);
    CHECK(lsm_push(lsm, samples, LSM_HOP_SAMPLES + 1) == LSM_ERR_COUNT);
    CHECK(lsm_push(lsm, samples, SIZE_MAX) == LSM_ERR_COUNT);
    CHECK(are_equal(before, lsm));
    free(before);
    free(lsm);
}

static void passes_its_selftest(void)
{
    lsm_t *scratch = new_context();
    lsm_t *fresh = new_context();
    init(fresh);
    CHECK(lsm_selftest(scratch) == LSM_READY);
    CHECK(are_equal(fresh, scratch));
    free(fresh);
    free(scratch);
}

/* Any chunking of the same samples gives the same integers. */
static void does_not_mind_chunking(int by_hand)
{
    int16_t *samples = malloc(N_SAMPLES * sizeof *samples);
    lsm_t *whole = new_context();
    lsm_t *pieces = new_context();
    size_t at, n_whole = 0, n_pieces = 0;
    CHECK(samples != NULL);
    fill(samples, N_SAMPLES);
    init(whole);
    init(pieces);
    if (by_hand) {
        CHECK(lsm_begin(whole) == LSM_MORE && lsm_begin(pieces) == LSM_MORE);
    }
    for (at = 0; at < N_SAMPLES; at += LSM_HOP_SAMPLES) {
        n_whole += lsm_push(whole, &samples[at], LSM_HOP_SAMPLES) == LSM_READY;
    }
    for (at = 0; at < N_SAMPLES;) {
        size_t count = below(LSM_HOP_SAMPLES + 1);
        count = count < N_SAMPLES - at ? count : N_SAMPLES - at;
        n_pieces += push(pieces, &samples[at], count) == LSM_READY;
        at += count;
    }
    CHECK(n_whole == n_pieces);
    if (by_hand) {
        CHECK(lsm_end(whole) == LSM_READY && lsm_end(pieces) == LSM_READY);
    }
    CHECK(are_equal(whole, pieces));
    free(pieces);
    free(whole);
    free(samples);
}

/* Calls in any order, on a context that is now and then overwritten. */
static void survives_any_order(void)
{
    lsm_t *lsm = new_context();
    int16_t samples[LSM_HOP_SAMPLES];
    int call;
    init(lsm);
    for (call = 0; call < N_CALLS; call++) {
        lsm_status_t status = LSM_MORE;
        uint32_t run;
        switch (below(12)) {
        case 0:
            status = lsm_begin(lsm);
            CHECK(status == LSM_MORE);
            break;
        case 1:
            status = lsm_end(lsm);
            CHECK(status == LSM_READY || (status == LSM_ERR_STATE && !IS_LIVE));
            break;
        case 2:
            if (below(8) == 0) {
        init(lsm);
            }
            break;
        case 3:
            lsm->guard ^= (uint32_t)1 << below(32);
            CHECK(lsm_push(lsm, samples, 0) == LSM_ERR_STATE);
            CHECK(lsm_begin(lsm) == LSM_ERR_STATE);
            CHECK(lsm_end(lsm) == LSM_ERR_STATE);
            CHECK(lsm_class(lsm) == -1);
            init(lsm);
            break;
        default:
            for (run = below(LONGEST_RUN) / 8; run > 0; run--) {
                size_t count = below(2) == 0 ? LSM_HOP_SAMPLES : below(LSM_HOP_SAMPLES + 1);
                fill(samples, count);
                status = push(lsm, samples, count);
                CHECK(status == LSM_MORE || status == LSM_READY);
            }
            break;
        }
        check_class(lsm);
    }
    free(lsm);
}

int main(int argc, char **argv)
{
    random_state = 1U + (argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0U) * 7919U;
    refuses_null();
    refuses_what_is_not_initialised();
    consumes_nothing_of_too_much();
    does_not_mind_chunking(0);
    does_not_mind_chunking(1);
    survives_any_order();
    passes_its_selftest(); /* last: it says that something is wrong, a sanitizer says what */
    return 0;
}
