// f32 rows -> K-quant blocks of 256: a scale for each group, itself a whole number of steps of the block's.
// Once the scales are rounded the values are rounded again, to what these scales can say.
#include "compute/quant.h"
#include "compute/quantise.h"

#include <math.h>
#include <string.h>

enum { N = 256, N_GROUPS = 8, GROUP = 32 };

static int nearest(float x, int min, int max) {
    float r = nearbyintf(x);
    return r <= (float)min ? min : r >= (float)max ? max : (int)r;
}

static float inverse_of(float d) {
    return d != 0 ? 1.0f / d : 0;
}

struct affine_block { // what q4_K and q5_K share: x ~ d scales q - dmin mins
    uint16_t d, dmin; // f16
    uint8_t scales[N_GROUPS], mins[N_GROUPS];
    uint8_t q[N];
};

static void quantise_block(struct affine_block *b, const float *x, int q_max) {
    float scales[N_GROUPS], mins[N_GROUPS], scale_max = 0, min_max = 0;
    for (size_t g = 0; g < N_GROUPS; g++) {
        scales[g] = quantise_affine(b->q + GROUP * g, &mins[g], x + GROUP * g, GROUP, q_max, false);
        scale_max = scales[g] > scale_max ? scales[g] : scale_max;
        min_max = mins[g] > min_max ? mins[g] : min_max;
    }
    b->d = f32_to_f16(scale_max / 63.0f);
    b->dmin = f32_to_f16(min_max / 63.0f);
    float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    for (size_t g = 0; g < N_GROUPS; g++) {
        b->scales[g] = (uint8_t)nearest(scales[g] * inverse_of(d), 0, 63);
        b->mins[g] = (uint8_t)nearest(mins[g] * inverse_of(dmin), 0, 63);
        float inverse = inverse_of(d * b->scales[g]), min = dmin * b->mins[g];
        for (size_t i = GROUP * g; i < GROUP * (g + 1); i++)
            b->q[i] = (uint8_t)nearest((x[i] + min) * inverse, 0, q_max);
    }
}

// 8 scales and 8 mins of 6 bits in 12 bytes: the low 6 bits of bytes 0-3 and 4-7 are those of groups 0-3;
// groups 4-7 have 4 bits each in bytes 8-11 and 2 in the tops of bytes 0-7.
static void put_scales(uint8_t *out, const struct affine_block *b) {
    for (size_t g = 0; g < 4; g++) {
        unsigned scale = b->scales[g + 4], min = b->mins[g + 4];
        out[g] = (uint8_t)(b->scales[g] | (scale >> 4) << 6);
        out[g + 4] = (uint8_t)(b->mins[g] | (min >> 4) << 6);
        out[g + 8] = (uint8_t)((scale & 15) | (min & 15) << 4);
    }
}

// Each 32 bytes hold a group in their low halves, the next one in their high halves.
static void put_nibbles(uint8_t *qs, const uint8_t *q) {
    for (size_t i = 0; i < N / 2; i++) {
        const uint8_t *low = q + i / 32 * 64 + i % 32;
        qs[i] = (uint8_t)((low[0] & 15) | (low[32] & 15) << 4);
    }
}

void quantise_q4_k(void *blocks, const float *x, size_t n) {
    struct q4_k *out = blocks;
    for (size_t k = 0; k < n / N; k++) {
        struct affine_block b;
        quantise_block(&b, x + N * k, 15);
        out[k].d = b.d;
        out[k].dmin = b.dmin;
        put_scales(out[k].scales, &b);
        put_nibbles(out[k].qs, b.q);
    }
}

void quantise_q5_k(void *blocks, const float *x, size_t n) {
    struct q5_k *out = blocks;
    for (size_t k = 0; k < n / N; k++) {
        struct affine_block b;
        quantise_block(&b, x + N * k, 31);
        out[k].d = b.d;
        out[k].dmin = b.dmin;
        put_scales(out[k].scales, &b);
        put_nibbles(out[k].qs, b.q);
        memset(out[k].qh, 0, sizeof out[k].qh);
        for (size_t i = 0; i < N; i++)
            out[k].qh[i % 32] = (uint8_t)(out[k].qh[i % 32] | (b.q[i] >> 4) << i / 32);
    }
}

static void put_sixes(struct q6_k *out, const uint8_t *q) {
    memset(out->ql, 0, sizeof out->ql);
    memset(out->qh, 0, sizeof out->qh);
    for (size_t i = 0; i < N; i++) {
        size_t half = i / 128, run = i % 128 / 32, at = i % 32;
        uint8_t *low = &out->ql[64 * half + 32 * (run % 2) + at], *high = &out->qh[32 * half + at];
        *low = (uint8_t)(*low | (q[i] & 15) << (run < 2 ? 0 : 4));
        *high = (uint8_t)(*high | (q[i] >> 4) << (2 * run));
    }
}

void quantise_q6_k(void *blocks, const float *x, size_t n) {
    struct q6_k *out = blocks;
    for (size_t k = 0; k < n / N; k++, x += N) {
        float scales[16], peak = 0;
        for (size_t g = 0; g < 16; g++) {
            int8_t unused[16];
            scales[g] = quantise_symmetric(unused, x + 16 * g, 16, 32);
            peak = fabsf(scales[g]) > fabsf(peak) ? scales[g] : peak;
        }
        uint8_t q[N];
        out[k].d = f32_to_f16(peak / -128.0f); // -128 is the widest that a scale can be
        float d = f16_to_f32(out[k].d);
        for (size_t g = 0; g < 16; g++) {
            out[k].scales[g] = (int8_t)nearest(scales[g] * inverse_of(d), -128, 127);
            float inverse = inverse_of(d * out[k].scales[g]);
            for (size_t i = 16 * g; i < 16 * (g + 1); i++)
                q[i] = (uint8_t)(nearest(x[i] * inverse, -32, 31) + 32);
        }
        put_sixes(&out[k], q);
    }
}
