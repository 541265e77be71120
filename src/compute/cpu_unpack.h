// One unpacker a type: a panel's block (cpu_panels.h) as integers and scales. Written over the vector types of
// cpu_vector.h and, for bytes:
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

// The low halves of n bytes to q, the high ones to q + apart.
INLINE void unpack_nibbles(uint8_t *q, size_t apart, const uint8_t *from, size_t n) {
    const vi low4 = vi_set1_8(15);
    for (size_t i = 0; i < n; i += VI_BYTES) {
        vi v = vi_load(from + i);
        vi_store(q + i, vi_and(v, low4));
        vi_store(q + apart + i, vi_and(vi_shr(v, 4), low4));
    }
}

INLINE void unpack_values(uint8_t *q, const uint8_t *from, const uint8_t *table) {
    const vi low4 = vi_set1_8(15);
    for (size_t i = 0; i < GROUP32 / 2; i += VI_BYTES) {
        vi v = vi_load(from + i);
        vi_store(q + i, vi_lookup(vi_and(v, low4), table));
        vi_store(q + GROUP32 / 2 + i, vi_lookup(vi_and(vi_shr(v, 4), low4), table));
    }
}

// Bit `bit` of the bytes v as their bit `to`.
INLINE vi move_bit(vi v, int bit, int to) {
    return vi_and(bit < to ? vi_shl(v, to - bit) : vi_shr(v, bit - to), vi_set1_8(1 << to));
}

// The fifth bits of 32 inputs: bit j of byte b is that of input 4 j + b.
INLINE void add_sorted_bits(uint8_t *q, const uint8_t *bits) {
    for (size_t i = 0; i < UNIT; i += VI_BYTES) {
        vi v = vi_load(bits + i);
        for (int j = 0; j < 8; j++)
            vi_store(q + j * UNIT + i, vi_or(vi_load(q + j * UNIT + i), move_bit(v, j, 4)));
    }
}

// Bit `bit` of 32 bytes an output as bit `to` of 32 inputs.
INLINE void add_bits(uint8_t *q, const uint8_t *bits, int bit, int to) {
    for (size_t i = 0; i < GROUP32; i += VI_BYTES)
        vi_store(q + i, vi_or(vi_load(q + i), move_bit(vi_load(bits + i), bit, to)));
}

// Two bits from bit `shift` on of each byte.
INLINE void unpack_crumbs(uint8_t *q, const uint8_t *from, int shift) {
    for (size_t i = 0; i < GROUP32; i += VI_BYTES)
        vi_store(q + i, vi_and(vi_shr(vi_load(from + i), shift), vi_set1_8(3)));
}

// Types of 32: block i of a panel's n / 32.
INLINE void unpack32(struct panel_unpacked *u, size_t i, const uint8_t *p, enum tensor_type type) {
    // quant_iq4_values and quant_e2m1_values plus 128
    static const uint8_t iq4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
    static const uint8_t e2m1[16] = {128, 129, 130, 131, 132, 134, 136, 140,
                                     128, 127, 126, 125, 124, 122, 120, 116};
    uint8_t *q = &u->q[0][0][0] + i * GROUP32;
    const bool has_m = type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
    const bool has_bits = type == TENSOR_Q5_0 || type == TENSOR_Q5_1;
    const uint8_t *bits = p + PANEL_OUTS * (has_m ? 4 : 2), *qs = bits + PANEL_OUTS * (has_bits ? 4 : 0);
    if (type == TENSOR_MXFP4) {
        for (size_t out = 0; out < PANEL_OUTS; out++)
            u->scales[i][out] = quant_e8m0_half(p[out]);
        unpack_values(q, p + PANEL_OUTS, e2m1);
        return;
    }
    store_f16(u->scales[i], p);
    if (has_m)
        store_f16(u->m[i], p + 2 * PANEL_OUTS);
    if (type == TENSOR_Q8_0)
        for (size_t at = 0; at < GROUP32; at += VI_BYTES)
            vi_store(q + at, vi_xor(vi_load(qs + at), vi_set1_8(128)));
    else if (type == TENSOR_IQ4_NL)
        unpack_values(q, qs, iq4);
    else
        unpack_nibbles(q, GROUP32 / 2, qs, GROUP32 / 2);
    if (has_bits)
        add_sorted_bits(q, bits);
}

// Scales and mins of Q4_K and Q5_K: groups 0-3 in the low 6 bits of bytes g and g + 4; groups 4-7 have 4 bits
// of each in byte g + 4, and their top 2 bits above the others'.
INLINE void unpack_k_scales(struct panel_unpacked *u, const uint8_t *d, const uint8_t *packed) {
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

INLINE void unpack_q2_k(struct panel_unpacked *u, const uint8_t *p) {
    const uint8_t *qs = p + 16 * PANEL_OUTS, *d = p + 80 * PANEL_OUTS;
    uint8_t *q = &u->q[0][0][0];
    for (size_t i = 0; i < 8; i++) {
        __m128i a = load_bytes(p + 2 * i * PANEL_OUTS), b = load_bytes(p + (2 * i + 1) * PANEL_OUTS);
        store_scales(u->scales[2 * i], d, and_bytes(a, 15));
        store_scales(u->scales[2 * i + 1], d, and_bytes(b, 15));
        store_mins(u->mins[i], shift_bytes(a, 4, 15), shift_bytes(b, 4, 15));
        unpack_crumbs(q + i * GROUP32, qs + i / 4 * GROUP32, (int)(i % 4 * 2));
    }
    store_f16(u->d_min, d + 2 * PANEL_OUTS);
}

INLINE void unpack_q3_k(struct panel_unpacked *u, const uint8_t *p) {
    const uint8_t *qs = p + 32 * PANEL_OUTS, *scales = p + 96 * PANEL_OUTS, *d = p + 108 * PANEL_OUTS;
    uint8_t *q = &u->q[0][0][0];
    for (size_t g = 0; g < 16; g++) {
        __m128i low = shift_bytes(load_bytes(scales + g % 8 * PANEL_OUTS), g < 8 ? 0 : 4, 15);
        __m128i high = shift_bytes(load_bytes(scales + (8 + g % 4) * PANEL_OUTS), (int)(g / 4 * 2), 3);
        __m128i scale = _mm_or_si128(low, _mm_slli_epi16(high, 4));
        store_scales(u->scales[g], d, _mm_sub_epi8(scale, _mm_set1_epi8(32)));
    }
    for (size_t i = 0; i < 8; i++) {
        unpack_crumbs(q + i * GROUP32, qs + i / 4 * GROUP32, (int)(i % 4 * 2));
        add_bits(q + i * GROUP32, p, (int)i, 2);
    }
}

INLINE void unpack_q4_k(struct panel_unpacked *u, const uint8_t *p) {
    unpack_k_scales(u, p, p + 4 * PANEL_OUTS);
    for (size_t i = 0; i < 4; i++)
        unpack_nibbles(&u->q[16 * i][0][0], GROUP32, p + 16 * PANEL_OUTS + i * GROUP32, GROUP32);
}

INLINE void unpack_q5_k(struct panel_unpacked *u, const uint8_t *p) {
    unpack_k_scales(u, p, p + 4 * PANEL_OUTS);
    for (size_t i = 0; i < 4; i++)
        unpack_nibbles(&u->q[16 * i][0][0], GROUP32, p + 48 * PANEL_OUTS + i * GROUP32, GROUP32);
    for (size_t i = 0; i < 8; i++)
        add_bits(&u->q[8 * i][0][0], p + 16 * PANEL_OUTS, (int)i, 4);
}

INLINE void unpack_q6_k(struct panel_unpacked *u, const uint8_t *p) {
    const uint8_t *qh = p + 128 * PANEL_OUTS, *scales = p + 192 * PANEL_OUTS, *d = p + 208 * PANEL_OUTS;
    for (size_t half = 0; half < 2; half++) {
        uint8_t *q = &u->q[32 * half][0][0];
        unpack_nibbles(q, 2 * GROUP32, p + 2 * half * GROUP32, 2 * GROUP32);
        for (size_t i = 0; i < GROUP32; i += VI_BYTES) {
            vi h = vi_load(qh + half * GROUP32 + i), high2 = vi_set1_8(0x30);
            for (size_t run = 0; run < 4; run++) {
                vi moved = run < 2 ? vi_shl(h, run == 0 ? 4 : 2) : vi_shr(h, run == 2 ? 0 : 2);
                uint8_t *to = q + run * GROUP32 + i;
                vi_store(to, vi_or(vi_load(to), vi_and(moved, high2)));
            }
        }
    }
    for (size_t g = 0; g < 16; g++)
        store_scales(u->scales[g], d, load_bytes(scales + g * PANEL_OUTS));
}

INLINE void unpack_iq4_xs(struct panel_unpacked *u, const uint8_t *p) {
    const uint8_t *high = p + 2 * PANEL_OUTS, *low = p + 4 * PANEL_OUTS, *qs = p + 8 * PANEL_OUTS;
    static const uint8_t iq4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
    __m128i high0 = load_bytes(high), high1 = load_bytes(high + PANEL_OUTS), three = _mm_set1_epi16(3);
    for (size_t g = 0; g < 8; g++) {
        __m128i shift = _mm_cvtsi32_si128((int)(2 * g));
        __m128i h = _mm_packus_epi16(_mm_and_si128(_mm_srl_epi16(high0, shift), three),
                                     _mm_and_si128(_mm_srl_epi16(high1, shift), three));
        __m128i l = shift_bytes(load_bytes(low + g / 2 * PANEL_OUTS), (int)(g % 2 * 4), 15);
        __m128i scale = _mm_or_si128(l, _mm_slli_epi16(h, 4));
        store_scales(u->scales[g], p, _mm_sub_epi8(scale, _mm_set1_epi8(32)));
        unpack_values(&u->q[8 * g][0][0], qs + g * GROUP32 / 2, iq4);
    }
}

// The codebook types, at the pace of their plain C: block i of rows of the file. Outputs past n_outs keep what
// was there: they are not stored.
INLINE void unpack_rows(struct panel_unpacked *u, const uint8_t *rows, size_t row_bytes, size_t i,
                        size_t n_outs, enum tensor_type type) {
    const struct quant_traits *traits = quant_traits(type);
    for (size_t out = 0; out < n_outs; out++) {
        struct quant_block b;
        traits->unpack(&b, rows + out * row_bytes + i * traits->block_bytes);
        for (size_t k = 0; k < PANEL_N; k++)
            u->q[k / 4][out][k % 4] = (uint8_t)(b.q[k] + 128);
        for (size_t g = 0; g < 16; g++)
            u->scales[g][out] = b.d * b.scales[g];
    }
}

#endif
