// Plain C unpackers of the codebook types: a block holds numbers of grid rows, signs and scales.
// Layouts: ggml's block formats (ggml-common.h) as GGUF files carry them. A scale s of theirs stands for
// s + 1/2: here for the integer 2 s + 1, with the powers of two in d.
#include "compute/quant_blocks.h"
#include "compute/quant_grids.h"

#include <assert.h>

static_assert(sizeof(struct iq2_xxs) == 66 && sizeof(struct iq2_xs) == 74, "blocks are packed");
static_assert(sizeof(struct iq2_s) == 82 && sizeof(struct iq3_xxs) == 98, "blocks are packed");
static_assert(sizeof(struct iq3_s) == 110 && sizeof(struct iq1_s) == 50, "blocks are packed");
static_assert(sizeof(struct iq1_m) == 56, "blocks are packed");

static void set_d(struct quant_block *b, float d) {
    b->d = d;
    b->dmin = 0;
    memset(b->mins, 0, sizeof b->mins);
}

// An eighth sign makes their number even.
static unsigned eight_signs(unsigned seven) {
    unsigned odd = seven ^ seven >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return seven | (odd & 1) << 7;
}

// The arithmetic below is of 8 bytes at a time in a u64, the first value lowest; no sum leaves its byte.
#define EACH(byte) ((byte)*0x0101010101010101u)

// 8 codes of 2 bits.
static uint64_t spread2(unsigned row) {
    uint64_t x = row;
    x = (x | x << 24) & 0x000000ff000000ff;
    x = (x | x << 12) & 0x000f000f000f000f;
    return (x | x << 6) & EACH(3);
}

// 4 codes of 4 bits, and 4 more.
static uint64_t spread4(unsigned first, unsigned second) {
    uint64_t x = first | (uint64_t)second << 32;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    return (x | x << 4) & EACH(15);
}

static void store(int8_t *q, uint64_t bytes) {
    memcpy(q, &bytes, sizeof bytes);
}

// Positive bytes, those negated whose bit is set.
static void store_signed(int8_t *q, uint64_t bytes, unsigned signs) {
    uint64_t minus = ((EACH(signs) & 0x8040201008040201) + EACH(0x7f)) >> 7 & EACH(1);
    store(q, (bytes ^ minus * 0xff) + minus);
}

// 8, 25 and 43.
static uint64_t iq2_row(unsigned row) {
    uint64_t codes = spread2(row);
    return EACH(8) + 17 * codes + (codes >> 1 & EACH(1));
}

// 4, 12, 20, 28, 36, 44, 52 and 62.
static uint64_t iq3_xxs_rows(unsigned first, unsigned second) {
    uint64_t codes = spread4(first, second);
    return EACH(4) + 8 * codes + 2 * (codes & codes >> 1 & codes >> 2 & EACH(1));
}

// 1, 3 .. 15.
static uint64_t iq3_s_rows(unsigned first, unsigned second) {
    return EACH(1) + 2 * spread4(first, second);
}

static unsigned load_u32(const void *p) {
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

void quant_iq2_xxs_unpack(struct quant_block *b, const void *w) {
    const struct iq2_xxs *p = w;
    set_d(b, f16_to_f32(p->d) / 8);
    for (size_t g = 0; g < 8; g++) {
        unsigned rows = load_u32(p->qs + 4 * g), signs = load_u32(p->qs + 4 * g + 2);
        b->scales[2 * g] = b->scales[2 * g + 1] = (int16_t)(2 * (signs >> 28) + 1);
        for (size_t i = 0; i < 4; i++)
            store_signed(b->q + 32 * g + 8 * i, iq2_row(quant_iq2_xxs_grid[rows >> (8 * i) & 255]),
                         eight_signs(signs >> (7 * i) & 127));
    }
}

void quant_iq2_xs_unpack(struct quant_block *b, const void *w) {
    const struct iq2_xs *p = w;
    set_d(b, f16_to_f32(p->d) / 8);
    for (size_t g = 0; g < 16; g++)
        b->scales[g] = (int16_t)(2 * (p->scales[g / 2] >> (g % 2 * 4) & 15) + 1);
    for (size_t i = 0; i < 32; i++)
        store_signed(b->q + 8 * i, iq2_row(quant_iq2_xs_grid[p->qs[i] & 511]), eight_signs(p->qs[i] >> 9));
}

void quant_iq2_s_unpack(struct quant_block *b, const void *w) {
    const struct iq2_s *p = w;
    set_d(b, f16_to_f32(p->d) / 8);
    for (size_t g = 0; g < 16; g++)
        b->scales[g] = (int16_t)(2 * (p->scales[g / 2] >> (g % 2 * 4) & 15) + 1);
    for (size_t i = 0; i < 32; i++) {
        unsigned high = p->qh[i / 4] >> (i % 4 * 2) & 3;
        store_signed(b->q + 8 * i, iq2_row(quant_iq2_s_grid[p->qs[i] | high << 8]), p->signs[i]);
    }
}

void quant_iq3_xxs_unpack(struct quant_block *b, const void *w) {
    const struct iq3_xxs *p = w;
    set_d(b, f16_to_f32(p->d) / 4);
    for (size_t g = 0; g < 8; g++) {
        unsigned signs = load_u32(p->scales_signs + 4 * g);
        b->scales[2 * g] = b->scales[2 * g + 1] = (int16_t)(2 * (signs >> 28) + 1);
        for (size_t i = 0; i < 4; i++) {
            const uint8_t *rows = p->qs + 8 * g + 2 * i;
            store_signed(b->q + 32 * g + 8 * i,
                         iq3_xxs_rows(quant_iq3_xxs_grid[rows[0]], quant_iq3_xxs_grid[rows[1]]),
                         eight_signs(signs >> (7 * i) & 127));
        }
    }
}

void quant_iq3_s_unpack(struct quant_block *b, const void *w) {
    const struct iq3_s *p = w;
    set_d(b, f16_to_f32(p->d));
    for (size_t g = 0; g < 16; g++)
        b->scales[g] = (int16_t)(2 * (p->scales[g / 4] >> (g / 2 % 2 * 4) & 15) + 1);
    for (size_t i = 0; i < 32; i++) {
        unsigned high = p->qh[i / 4] >> (i % 4 * 2);
        unsigned first = p->qs[2 * i] | (high & 1) << 8, second = p->qs[2 * i + 1] | (high >> 1 & 1) << 8;
        store_signed(b->q + 8 * i, iq3_s_rows(quant_iq3_s_grid[first], quant_iq3_s_grid[second]),
                     p->signs[i]);
    }
}

// A row of the grid of iq1, -1 to 1, shifted by an eighth up (0) or down (1): all in eighths, 8 code - 7 or
// - 9. To keep a difference in its byte the top bit is set before and turned after.
static void store_shifted(int8_t *q, unsigned row, unsigned down) {
    uint64_t eighths = 8 * spread2(row) + EACH(0x80) - EACH(7 + 2 * down);
    store(q, eighths ^ EACH(0x80));
}

void quant_iq1_s_unpack(struct quant_block *b, const void *w) {
    const struct iq1_s *p = w;
    set_d(b, f16_to_f32(p->d) / 8);
    for (size_t g = 0; g < 8; g++) {
        unsigned high = p->qh[g];
        b->scales[2 * g] = b->scales[2 * g + 1] = (int16_t)(2 * (high >> 12 & 7) + 1);
        for (size_t i = 0; i < 4; i++)
            store_shifted(b->q + 32 * g + 8 * i,
                          quant_iq1_grid[p->qs[4 * g + i] | (high >> (3 * i) & 7) << 8], high >> 15);
    }
}

void quant_iq1_m_unpack(struct quant_block *b, const void *w) {
    const struct iq1_m *p = w;
    uint16_t scales[4];
    memcpy(scales, p->scales, sizeof scales);
    unsigned d = scales[0] >> 12 | scales[1] >> 12 << 4 | scales[2] >> 12 << 8 | scales[3] >> 12 << 12;
    for (size_t g = 0; g < 16; g++)
        b->scales[g] = (int16_t)(2 * (scales[g / 4] >> (g % 4 * 3) & 7) + 1);
    set_d(b, f16_to_f32((uint16_t)d) / 8);
    for (size_t i = 0; i < 32; i++) {
        unsigned high = p->qh[i / 2] >> (i % 2 * 4) & 15;
        store_shifted(b->q + 8 * i, quant_iq1_grid[p->qs[i] | (high & 7) << 8], high >> 3);
    }
}
