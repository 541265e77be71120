// The types in panels (cpu_panels.h): for each a function of its quants, 4 inputs of 16 outputs at a time,
// and one of its scales. Written over the vector types of cpu_vector.h and, for bytes:
//   vi, VI_BYTES               VF_N lanes of 4 bytes
//   vi_load vi_store           unaligned
//   vi_and vi_or vi_xor vi_set1_8
//   vi_shr vi_shl              lanes of 16 bits by n
//   vi_lookup(v, table)        each byte v < 16 as table[v]
//   vf_of_i8(bytes, first)     VF_N of 16 bytes, from `first` on, as f32
#ifndef COMPUTE_CPU_UNPACK_H
#define COMPUTE_CPU_UNPACK_H

#include "compute/cpu_panels.h"
#include "compute/quant_blocks.h"

#include <immintrin.h>

enum { UNIT = PANEL_OUTS * 4, GROUP32 = 8 * UNIT }; // bytes of a panel's 4 and 32 inputs

// quant_iq4_values and quant_e2m1_values plus 128
static const uint8_t panel_iq4_values[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                             129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t panel_e2m1_values[16] = {128, 129, 130, 131, 132, 134, 136, 140,
                                              128, 127, 126, 125, 124, 122, 120, 116};

INLINE __m128i load_bytes(const void *p) {
    return _mm_loadu_si128((const __m128i *)p);
}

INLINE __m128i and_bytes(__m128i v, int mask) {
    return _mm_and_si128(v, _mm_set1_epi8((char)mask));
}

// v >> shift in every byte, for what the mask leaves.
INLINE __m128i shift_bytes(__m128i v, int shift, int mask) {
    return and_bytes(_mm_srl_epi16(v, _mm_cvtsi32_si128(shift)), mask);
}

INLINE void store_f16(float *to, const uint8_t *f16) {
    for (size_t i = 0; i < PANEL_OUTS; i += VF_N)
        vf_store(to + i, vf_load_f16((const uint16_t *)(const void *)f16 + i));
}

// to[16] = d scales, d in f16.
INLINE void store_scales(float *to, const uint8_t *d, __m128i scales) {
    for (size_t i = 0; i < PANEL_OUTS; i += VF_N)
        vf_store(to + i, vf_mul(vf_of_i8(scales, i), vf_load_f16((const uint16_t *)(const void *)d + i)));
}

// Mins of two neighbouring groups.
INLINE void store_mins(int16_t to[PANEL_OUTS][2], __m128i first, __m128i second) {
    __m128i zero = _mm_setzero_si128(), low = _mm_unpacklo_epi8(first, second);
    __m128i high = _mm_unpackhi_epi8(first, second), *p = (__m128i *)(void *)to;
    _mm_storeu_si128(p, _mm_unpacklo_epi8(low, zero));
    _mm_storeu_si128(p + 1, _mm_unpackhi_epi8(low, zero));
    _mm_storeu_si128(p + 2, _mm_unpacklo_epi8(high, zero));
    _mm_storeu_si128(p + 3, _mm_unpackhi_epi8(high, zero));
}

INLINE vi low_bits(vi v, int shift, int n) {
    return vi_and(shift ? vi_shr(v, shift) : v, vi_set1_8((1 << n) - 1));
}

// Bit `bit` of the bytes v as their bit `to`.
INLINE vi move_bit(vi v, int bit, int to) {
    return vi_and(bit < to ? vi_shl(v, to - bit) : bit > to ? vi_shr(v, bit - to) : v, vi_set1_8(1 << to));
}

// Bit 4 half + run of the bytes v as their bit `to`.
INLINE vi half_bit(vi v, size_t half, int run, int to) {
    return move_bit(vi_shr(v, (int)(4 * half)), run, to);
}

// Unit j of 8 of types of 32: inputs 4 j .. 4 j + 3 of the outputs of lane vector v.
INLINE vi unit32(const uint8_t *p, size_t j, size_t v, enum tensor_type type) {
    const bool has_m = type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
    const bool has_bits = type == TENSOR_Q5_0 || type == TENSOR_Q5_1;
    const uint8_t *bits = p + PANEL_OUTS * (type == TENSOR_MXFP4 ? 1 : has_m ? 4 : 2) + v * VI_BYTES;
    const uint8_t *qs = bits + PANEL_OUTS * (has_bits ? 4 : 0);
    if (type == TENSOR_Q8_0)
        return vi_xor(vi_load(qs + j * UNIT), vi_set1_8(128));
    vi q =
        low_bits(vi_load(qs + j % 4 * UNIT), j < 4 ? 0 : 4, 4); // the first 16 inputs are in the low halves
    if (type == TENSOR_IQ4_NL)
        return vi_lookup(q, panel_iq4_values);
    if (type == TENSOR_MXFP4)
        return vi_lookup(q, panel_e2m1_values);
    return has_bits ? vi_or(q, move_bit(vi_load(bits), (int)j, 4)) : q;
}

// Unit j of 32 of a half of types of 256. Its run of 32 inputs is j / 8 of 4; the fields' order is
// panel_type's. That `half` need not be known before the run keeps loops over blocks short.
INLINE vi unit256(const uint8_t *p, size_t half, const size_t j, size_t v, enum tensor_type type) {
    const size_t run = j / 8, in_run = j % 8;
    p += v * VI_BYTES;
    if (type == TENSOR_Q2_K || type == TENSOR_Q3_K) {
        const uint8_t *qs = p + PANEL_OUTS * (type == TENSOR_Q2_K ? 16 : 32);
        vi q = low_bits(vi_load(qs + (8 * half + in_run) * UNIT), (int)run * 2, 2);
        return type == TENSOR_Q2_K ? q : vi_or(q, half_bit(vi_load(p + in_run * UNIT), half, (int)run, 2));
    }
    if (type == TENSOR_Q4_K || type == TENSOR_Q5_K) {
        const uint8_t *qs = p + PANEL_OUTS * (type == TENSOR_Q4_K ? 16 : 48);
        vi q = low_bits(vi_load(qs + (16 * half + run / 2 * 8 + in_run) * UNIT), run % 2 ? 4 : 0, 4);
        const uint8_t *bits = p + PANEL_OUTS * 16;
        return type == TENSOR_Q4_K ? q : vi_or(q, half_bit(vi_load(bits + in_run * UNIT), half, (int)run, 4));
    }
    if (type == TENSOR_IQ4_XS) {
        const uint8_t *qs = p + PANEL_OUTS * 8;
        return vi_lookup(
            low_bits(vi_load(qs + (16 * half + 4 * run + in_run % 4) * UNIT), in_run < 4 ? 0 : 4, 4),
            panel_iq4_values);
    }
    // Q6_K: the low 4 bits of runs 0 and 1 in low halves of bytes, of runs 2 and 3 in the high ones; the high 2 bits
    // of all four lie between the two.
    const uint8_t *qs = p + PANEL_OUTS * 18 + half * 24 * UNIT;
    vi q = low_bits(vi_load(qs + (run % 2 * 16 + in_run) * UNIT), run < 2 ? 0 : 4, 4);
    vi high = vi_load(qs + (8 + in_run) * UNIT), mask = vi_set1_8(0x30);
    int left = 4 - (int)(run * 2);
    return vi_or(q, vi_and(left > 0 ? vi_shl(high, left) : left < 0 ? vi_shr(high, -left) : high, mask));
}

// Scales and mins of Q4_K and Q5_K: groups 0-3 in the low 6 bits of bytes g and g + 4; groups 4-7 have 4 bits
// of each in byte g + 4, and their top 2 bits above the others'.
INLINE void scales_k(struct panel_scales *u, const uint8_t *d) {
    const uint8_t *packed = d + 4 * PANEL_OUTS;
    __m128i mins[8];
    store_f16(u->d_min, d + 2 * PANEL_OUTS);
    for (size_t g = 0; g < 4; g++) {
        __m128i a = load_bytes(packed + g * PANEL_OUTS), b = load_bytes(packed + (g + 4) * PANEL_OUTS);
        __m128i c = load_bytes(packed + (g + 8) * PANEL_OUTS);
        store_scales(u->scales[g], d, and_bytes(a, 63));
        store_scales(u->scales[g + 4], d, _mm_or_si128(and_bytes(c, 15), shift_bytes(a, 2, 0x30)));
        mins[g] = and_bytes(b, 63);
        mins[g + 4] = _mm_or_si128(shift_bytes(c, 4, 15), shift_bytes(b, 2, 0x30));
    }
    for (size_t i = 0; i < 4; i++)
        store_mins(u->mins[i], mins[2 * i], mins[2 * i + 1]);
}

INLINE void scales_q2_k(struct panel_scales *u, const uint8_t *p) {
    const uint8_t *d = p + 80 * PANEL_OUTS;
    for (size_t i = 0; i < 8; i++) {
        __m128i a = load_bytes(p + 2 * i * PANEL_OUTS), b = load_bytes(p + (2 * i + 1) * PANEL_OUTS);
        store_scales(u->scales[2 * i], d, and_bytes(a, 15));
        store_scales(u->scales[2 * i + 1], d, and_bytes(b, 15));
        store_mins(u->mins[i], shift_bytes(a, 4, 15), shift_bytes(b, 4, 15));
    }
    store_f16(u->d_min, d + 2 * PANEL_OUTS);
}

INLINE void scales_q3_k(struct panel_scales *u, const uint8_t *p) {
    const uint8_t *scales = p + 96 * PANEL_OUTS, *d = p + 108 * PANEL_OUTS;
    for (size_t g = 0; g < 16; g++) {
        __m128i low = shift_bytes(load_bytes(scales + g % 8 * PANEL_OUTS), g < 8 ? 0 : 4, 15);
        __m128i high = shift_bytes(load_bytes(scales + (8 + g % 4) * PANEL_OUTS), (int)(g / 4 * 2), 3);
        __m128i scale = _mm_or_si128(low, _mm_slli_epi16(high, 4));
        store_scales(u->scales[g], d, _mm_sub_epi8(scale, _mm_set1_epi8(32)));
    }
}

INLINE void scales_q6_k(struct panel_scales *u, const uint8_t *p) {
    for (size_t g = 0; g < 16; g++)
        store_scales(u->scales[g], p, load_bytes(p + (2 + g) * PANEL_OUTS));
}

INLINE void scales_iq4_xs(struct panel_scales *u, const uint8_t *p) {
    const uint8_t *high = p + 2 * PANEL_OUTS, *low = p + 4 * PANEL_OUTS;
    __m128i high0 = load_bytes(high), high1 = load_bytes(high + PANEL_OUTS), three = _mm_set1_epi16(3);
    for (size_t g = 0; g < 8; g++) {
        __m128i shift = _mm_cvtsi32_si128((int)(2 * g));
        __m128i h = _mm_packus_epi16(_mm_and_si128(_mm_srl_epi16(high0, shift), three),
                                     _mm_and_si128(_mm_srl_epi16(high1, shift), three));
        __m128i l = shift_bytes(load_bytes(low + g / 2 * PANEL_OUTS), (int)(g % 2 * 4), 15);
        __m128i scale = _mm_or_si128(l, _mm_slli_epi16(h, 4));
        store_scales(u->scales[g], p, _mm_sub_epi8(scale, _mm_set1_epi8(32)));
    }
}

// Scales and mins of types of 32: block i of up to 8.
INLINE void scales32(struct panel_scales *u, size_t i, const uint8_t *p, enum tensor_type type) {
    if (type == TENSOR_MXFP4) {
        for (size_t out = 0; out < PANEL_OUTS; out++)
            u->scales[i][out] = quant_e8m0_half(p[out]);
        return;
    }
    store_f16(u->scales[i], p);
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1)
        store_f16(u->m[i], p + 2 * PANEL_OUTS);
}

INLINE void scales256(struct panel_scales *u, const uint8_t *p, enum tensor_type type) {
    if (type == TENSOR_Q2_K)
        scales_q2_k(u, p);
    else if (type == TENSOR_Q3_K)
        scales_q3_k(u, p);
    else if (type == TENSOR_Q6_K)
        scales_q6_k(u, p);
    else if (type == TENSOR_IQ4_XS)
        scales_iq4_xs(u, p);
    else
        scales_k(u, p);
}

// The codebook types, at the pace of their plain C: block i of rows of the file. Outputs past n_outs keep
// what was there: they are not stored.
INLINE void unpack_rows(struct panel_scales *u, uint8_t quants[PANEL_N / 4][PANEL_OUTS][4],
                        const uint8_t *rows, size_t row_bytes, size_t i, size_t n_outs,
                        enum tensor_type type) {
    const struct quant_traits *traits = quant_traits(type);
    for (size_t out = 0; out < n_outs; out++) {
        struct quant_block b;
        traits->unpack(&b, rows + out * row_bytes + i * traits->block_bytes);
        for (size_t k = 0; k < PANEL_N; k++)
            quants[k / 4][out][k % 4] = (uint8_t)(b.q[k] + 128);
        for (size_t g = 0; g < 16; g++)
            u->scales[g][out] = b.d * b.scales[g];
    }
}

#endif
