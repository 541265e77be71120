// Plain C unpackers of the types with whole values: bits to integers, scales and mins.
// Layouts: ggml's block formats (ggml-common.h) as GGUF files carry them; mxfp4: OCP Microscaling Formats
// (MX) Specification 1.0, in ggml's order of nibbles.
#include "compute/quant_blocks.h"

#include <assert.h>

static_assert(sizeof(struct q8_0) == 34 && sizeof(struct q4_0) == 18, "blocks are packed");
static_assert(sizeof(struct q4_1) == 20 && sizeof(struct q5_0) == 22, "blocks are packed");
static_assert(sizeof(struct q5_1) == 24 && sizeof(struct iq4_nl) == 18, "blocks are packed");
static_assert(sizeof(struct mxfp4) == 17 && sizeof(struct q2_k) == 84, "blocks are packed");
static_assert(sizeof(struct q3_k) == 110 && sizeof(struct q4_k) == 144, "blocks are packed");
static_assert(sizeof(struct q5_k) == 176 && sizeof(struct q6_k) == 210, "blocks are packed");
static_assert(sizeof(struct iq4_xs) == 136, "blocks are packed");

const int8_t quant_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

const int8_t quant_e2m1_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The scales of a block of 32, w = d q - dmin.
static void set_scale(struct quant_block *b, float d, float dmin) {
    b->d = d;
    b->dmin = dmin;
    for (size_t g = 0; g < 2; g++)
        b->scales[g] = b->mins[g] = 1;
}

// The first 16 of 32 in the low halves, the other 16 in the high halves.
static void set_nibbles(int8_t *q, const uint8_t *qs) {
    for (size_t i = 0; i < 16; i++) {
        q[i] = (int8_t)(qs[i] & 15);
        q[i + 16] = (int8_t)(qs[i] >> 4);
    }
}

static void set_values(int8_t *q, const uint8_t *qs, const int8_t *values) {
    set_nibbles(q, qs);
    for (size_t i = 0; i < 32; i++)
        q[i] = values[q[i]];
}

static void add_fifth_bits(int8_t *q, const uint8_t *qh) {
    for (size_t i = 0; i < 32; i++)
        q[i] = (int8_t)(q[i] | (qh[i / 8] >> (i % 8) & 1) << 4);
}

static void subtract(int8_t *q, size_t n, int offset) {
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)(q[i] - offset);
}

void quant_q8_0_unpack(struct quant_block *b, const void *w) {
    const struct q8_0 *p = w;
    set_scale(b, f16_to_f32(p->d), 0);
    memcpy(b->q, p->qs, sizeof p->qs);
}

void quant_q4_0_unpack(struct quant_block *b, const void *w) {
    const struct q4_0 *p = w;
    set_scale(b, f16_to_f32(p->d), 0);
    set_nibbles(b->q, p->qs);
    subtract(b->q, 32, 8);
}

void quant_q4_1_unpack(struct quant_block *b, const void *w) {
    const struct q4_1 *p = w;
    set_scale(b, f16_to_f32(p->d), -f16_to_f32(p->m));
    set_nibbles(b->q, p->qs);
}

void quant_q5_0_unpack(struct quant_block *b, const void *w) {
    const struct q5_0 *p = w;
    set_scale(b, f16_to_f32(p->d), 0);
    set_nibbles(b->q, p->qs);
    add_fifth_bits(b->q, p->qh);
    subtract(b->q, 32, 16);
}

void quant_q5_1_unpack(struct quant_block *b, const void *w) {
    const struct q5_1 *p = w;
    set_scale(b, f16_to_f32(p->d), -f16_to_f32(p->m));
    set_nibbles(b->q, p->qs);
    add_fifth_bits(b->q, p->qh);
}

void quant_iq4_nl_unpack(struct quant_block *b, const void *w) {
    const struct iq4_nl *p = w;
    set_scale(b, f16_to_f32(p->d), 0);
    set_values(b->q, p->qs, quant_iq4_values);
}

void quant_mxfp4_unpack(struct quant_block *b, const void *w) {
    const struct mxfp4 *p = w;
    set_scale(b, quant_e8m0_half(p->e), 0);
    set_values(b->q, p->qs, quant_e2m1_values);
}

// 2 bits each: four runs of 32 to each 32 bytes.
static void set_crumbs(int8_t *q, const uint8_t *qs) {
    for (size_t half = 0; half < 2; half++)
        for (size_t run = 0; run < 4; run++)
            for (size_t i = 0; i < 32; i++)
                q[128 * half + 32 * run + i] = (int8_t)(qs[32 * half + i] >> (2 * run) & 3);
}

// Bit i of each of 32 bytes as bit `to` of run i.
static void add_bits(int8_t *q, const uint8_t *bits, int to) {
    for (size_t run = 0; run < 8; run++)
        for (size_t i = 0; i < 32; i++)
            q[32 * run + i] = (int8_t)(q[32 * run + i] | (bits[i] >> run & 1) << to);
}

void quant_q2_k_unpack(struct quant_block *b, const void *w) {
    const struct q2_k *p = w;
    b->d = f16_to_f32(p->d);
    b->dmin = f16_to_f32(p->dmin);
    for (size_t g = 0; g < 16; g++) {
        b->scales[g] = p->scales[g] & 15;
        b->mins[g] = p->scales[g] >> 4;
    }
    set_crumbs(b->q, p->qs);
}

// The low 4 bits of scales 0-7 lie in the low halves of bytes 0-7, of 8-15 in the high halves; the top 2 bits
// of scale g in bits 2 (g / 4) of byte 8 + g % 4.
void quant_q3_k_unpack(struct quant_block *b, const void *w) {
    const struct q3_k *p = w;
    b->d = f16_to_f32(p->d);
    b->dmin = 0;
    for (size_t g = 0; g < 16; g++) {
        int low = p->scales[g % 8] >> (g < 8 ? 0 : 4) & 15, high = p->scales[8 + g % 4] >> (g / 4 * 2) & 3;
        b->scales[g] = (int16_t)((low | high << 4) - 32);
        b->mins[g] = 0;
    }
    set_crumbs(b->q, p->qs);
    add_bits(b->q, p->hmask, 2);
    subtract(b->q, 256, 4);
}

// Groups of 32. Groups 0-3: the low 6 bits of bytes g (scale) and g + 4 (min). Groups 4-7: 4 bits each in
// byte g + 4, and the top 2 bits of the bytes of group g - 4.
static void set_k_scales(struct quant_block *b, const uint8_t *s) {
    for (size_t g = 0; g < 8; g++) {
        int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        int min = g < 4 ? s[g + 4] & 63 : s[g + 4] >> 4 | (s[g] >> 6) << 4;
        b->scales[2 * g] = b->scales[2 * g + 1] = (int16_t)scale;
        b->mins[2 * g] = b->mins[2 * g + 1] = (int16_t)min;
    }
}

// Each 32 bytes hold a group in their low halves, the next one in their high halves.
static void set_k_nibbles(int8_t *q, const uint8_t *qs) {
    for (size_t pair = 0; pair < 4; pair++)
        for (size_t i = 0; i < 32; i++) {
            q[64 * pair + i] = (int8_t)(qs[32 * pair + i] & 15);
            q[64 * pair + 32 + i] = (int8_t)(qs[32 * pair + i] >> 4);
        }
}

void quant_q4_k_unpack(struct quant_block *b, const void *w) {
    const struct q4_k *p = w;
    b->d = f16_to_f32(p->d);
    b->dmin = f16_to_f32(p->dmin);
    set_k_scales(b, p->scales);
    set_k_nibbles(b->q, p->qs);
}

void quant_q5_k_unpack(struct quant_block *b, const void *w) {
    const struct q5_k *p = w;
    b->d = f16_to_f32(p->d);
    b->dmin = f16_to_f32(p->dmin);
    set_k_scales(b, p->scales);
    set_k_nibbles(b->q, p->qs);
    add_bits(b->q, p->qh, 4);
}

// Each half of a block is four runs of 32: low bits in the low halves of ql[0..31] and ql[32..63], then in
// their high halves; high bits in bits 2 run of qh.
void quant_q6_k_unpack(struct quant_block *b, const void *w) {
    const struct q6_k *p = w;
    b->d = f16_to_f32(p->d);
    b->dmin = 0;
    for (size_t g = 0; g < 16; g++) {
        b->scales[g] = p->scales[g];
        b->mins[g] = 0;
    }
    for (size_t half = 0; half < 2; half++)
        for (size_t run = 0; run < 4; run++) {
            const uint8_t *ql = p->ql + 64 * half + 32 * (run % 2), *qh = p->qh + 32 * half;
            for (size_t i = 0; i < 32; i++) {
                int low = ql[i] >> (run < 2 ? 0 : 4) & 15, high = qh[i] >> (2 * run) & 3;
                b->q[128 * half + 32 * run + i] = (int8_t)((low | high << 4) - 32);
            }
        }
}

// Groups of 32, each as iq4_nl; scales of 6 bits less 32, 4 in scales_l and 2 in scales_h.
void quant_iq4_xs_unpack(struct quant_block *b, const void *w) {
    const struct iq4_xs *p = w;
    b->d = f16_to_f32(p->d);
    b->dmin = 0;
    for (size_t g = 0; g < 8; g++) {
        int low = p->scales_l[g / 2] >> (g % 2 * 4) & 15, high = p->scales_h >> (2 * g) & 3;
        b->scales[2 * g] = b->scales[2 * g + 1] = (int16_t)((low | high << 4) - 32);
        b->mins[2 * g] = b->mins[2 * g + 1] = 0;
        set_values(b->q + 32 * g, p->qs + 16 * g, quant_iq4_values);
    }
}

// Inlined with the unpackers above: rows of a whole vision model pass here.
static inline __attribute__((always_inline)) void dequantise(float *y, const void *w, size_t n,
                                                             const size_t block_n, const size_t block_bytes,
                                                             void (*unpack)(struct quant_block *,
                                                                            const void *)) {
    const char *block = w;
    for (size_t at = 0; at < n; at += block_n, block += block_bytes) {
        struct quant_block b;
        unpack(&b, block);
        for (size_t g = 0; g < block_n / 16; g++) {
            float d = b.d * b.scales[g], m = b.dmin * b.mins[g];
            for (size_t i = 0; i < 16; i++)
                y[at + 16 * g + i] = d * b.q[16 * g + i] - m;
        }
    }
}

// The table's functions have no argument for the type.
#define DEQUANTISE(type, name, block_n, label)                                                               \
    void quant_##name##_dequantise(float *y, const void *w, size_t n) {                                      \
        dequantise(y, w, n, block_n, sizeof(struct name), quant_##name##_unpack);                            \
    }
QUANT_BLOCK_TYPES(DEQUANTISE)
