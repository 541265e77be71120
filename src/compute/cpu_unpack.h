// Blocks of weights as vectors of integers, 256 bits at a time: quant_blocks.c's unpackers for cpu_blocks.h.
#ifndef COMPUTE_CPU_UNPACK_H
#define COMPUTE_CPU_UNPACK_H

#include "compute/cpu_kernels.h"
#include "compute/quant_blocks.h"

#include <immintrin.h>
#include <stdbool.h>

INLINE __m128i load_i8x16(const void *p) {
    return _mm_loadu_si128((const __m128i *)p);
}

INLINE __m256i load_i8x32(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

// The low halves of 16 bytes, then their high halves.
INLINE __m256i load_nibbles(const uint8_t *qs) {
    __m128i pairs = load_i8x16(qs);
    __m256i q = _mm256_set_m128i(_mm_srli_epi16(pairs, 4), pairs);
    return _mm256_and_si256(q, _mm256_set1_epi8(15));
}

INLINE __m256i load_values(const uint8_t *qs, const int8_t *values) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_i8x16(values)), load_nibbles(qs));
}

// 16 in every byte whose bit is set in qh.
INLINE __m256i load_fifth_bits(const uint8_t *qh) {
    int bits;
    memcpy(&bits, qh, sizeof bits);
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of), bit_of);
    return _mm256_and_si256(_mm256_cmpeq_epi8(set, bit_of), _mm256_set1_epi8(16));
}

// A block of 32 as w = d q + m.
struct block32 {
    __m256i q; // i8
    float d, m;
};

INLINE bool block32_has_m(enum tensor_type type) {
    return type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
}

// Block i of a row.
INLINE struct block32 block32_load(const void *w, size_t i, enum tensor_type type) {
    struct block32 b = {.m = 0};
    if (type == TENSOR_Q8_0) {
        const struct q8_0 *p = (const struct q8_0 *)w + i;
        b.q = load_i8x32(p->qs);
        b.d = _cvtsh_ss(p->d);
    } else if (type == TENSOR_Q4_0) {
        const struct q4_0 *p = (const struct q4_0 *)w + i;
        b.q = _mm256_sub_epi8(load_nibbles(p->qs), _mm256_set1_epi8(8));
        b.d = _cvtsh_ss(p->d);
    } else if (type == TENSOR_Q4_1) {
        const struct q4_1 *p = (const struct q4_1 *)w + i;
        b.q = load_nibbles(p->qs);
        b.d = _cvtsh_ss(p->d);
        b.m = _cvtsh_ss(p->m);
    } else if (type == TENSOR_Q5_0) {
        const struct q5_0 *p = (const struct q5_0 *)w + i;
        __m256i q = _mm256_or_si256(load_nibbles(p->qs), load_fifth_bits(p->qh));
        b.q = _mm256_sub_epi8(q, _mm256_set1_epi8(16));
        b.d = _cvtsh_ss(p->d);
    } else if (type == TENSOR_Q5_1) {
        const struct q5_1 *p = (const struct q5_1 *)w + i;
        b.q = _mm256_or_si256(load_nibbles(p->qs), load_fifth_bits(p->qh));
        b.d = _cvtsh_ss(p->d);
        b.m = _cvtsh_ss(p->m);
    } else if (type == TENSOR_IQ4_NL) {
        const struct iq4_nl *p = (const struct iq4_nl *)w + i;
        b.q = load_values(p->qs, quant_iq4_values);
        b.d = _cvtsh_ss(p->d);
    } else {
        const struct mxfp4 *p = (const struct mxfp4 *)w + i;
        b.q = load_values(p->qs, quant_e2m1_values);
        b.d = quant_e8m0_half(p->e);
    }
    return b;
}

// A block of 256, summed over the block as d (scales . (q . x)) - d_offset (offsets . sums of 16 x). Types
// with weights w = d scale (q - offset) have the offsets scale offset.
struct block256 {
    __m256i q[8];      // u8 up to 63, or i8 (block256_is_signed)
    __m256i scales[8]; // i16, for sums of pairs of q x
    __m256i offsets;   // i16, for each sum of 16 x; none where q is signed
    float d, d_offset;
};

INLINE bool block256_is_signed(enum tensor_type type) {
    return type != TENSOR_Q2_K && type != TENSOR_Q3_K && type != TENSOR_Q4_K && type != TENSOR_Q5_K &&
           type != TENSOR_Q6_K;
}

// The types that have no vector code of their own.
INLINE bool block256_is_unpacked(enum tensor_type type) {
    return block256_is_signed(type) && type != TENSOR_IQ4_XS;
}

// A scale for each 16 q.
INLINE void block256_set_scales(struct block256 *b, __m128i scales) {
    for (size_t i = 0; i < 8; i++) { // scale 2 i for 8 pairs, scale 2 i + 1 for the next 8
        __m128i two = _mm_shuffle_epi8(scales, _mm_set_epi64x(0x0101010101010101 * (long long)(2 * i + 1),
                                                              0x0101010101010101 * (long long)(2 * i)));
        b->scales[i] = _mm256_cvtepi8_epi16(two);
    }
}

// Groups of 32 with 8 scales, then 8 mins, of 6 bits: the low 6 of bytes 0-7 for the first four of each, and
// for the others 4 bits of bytes 8-11 and the top 2 of bytes 0-7.
INLINE void block256_set_k_scales(struct block256 *b, const uint8_t *packed) {
    uint32_t u[4], s[3];
    memcpy(s, packed, sizeof s);
    u[0] = s[0] & 0x3f3f3f3f;
    u[1] = (s[2] & 0x0f0f0f0f) | (s[0] >> 6 & 0x03030303) << 4;
    u[2] = s[1] & 0x3f3f3f3f;
    u[3] = (s[2] >> 4 & 0x0f0f0f0f) | (s[1] >> 6 & 0x03030303) << 4;
    __m128i bytes = load_i8x16(u);
    __m256i scales = _mm256_broadcastsi128_si256(_mm_cvtepu8_epi16(bytes));
    b->offsets = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(bytes, bytes)); // each min for two sums of 16
    for (size_t i = 0; i < 8; i++)
        b->scales[i] = _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)(0x0100 + 0x0202 * i)));
}

INLINE void block256_set_nibbles(struct block256 *b, const uint8_t *qs) {
    for (size_t i = 0; i < 4; i++) {
        __m256i pairs = load_i8x32(qs + 32 * i);
        b->q[2 * i] = _mm256_and_si256(pairs, _mm256_set1_epi8(15));
        b->q[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), _mm256_set1_epi8(15));
    }
}

// 2 bits each: four runs of 32 to each 32 bytes.
INLINE void block256_set_crumbs(struct block256 *b, const uint8_t *qs) {
    for (size_t i = 0; i < 8; i++) {
        __m256i four = load_i8x32(qs + i / 4 * 32);
        b->q[i] = _mm256_and_si256(_mm256_srli_epi16(four, (int)(i % 4 * 2)), _mm256_set1_epi8(3));
    }
}

// Adds bit i of each of 32 bytes to q[i], as its bit `to`.
INLINE void block256_add_bits(struct block256 *b, const uint8_t *bits, const int to) {
    __m256i h = load_i8x32(bits);
    for (int i = 0; i < 8; i++) {
        __m256i moved = i < to ? _mm256_slli_epi16(h, to - i) : _mm256_srli_epi16(h, i - to);
        b->q[i] = _mm256_or_si256(b->q[i], _mm256_and_si256(moved, _mm256_set1_epi8((char)(1 << to))));
    }
}

INLINE void block256_load_q2_k(struct block256 *b, const struct q2_k *w) {
    __m128i both = load_i8x16(w->scales), low4 = _mm_set1_epi8(15);
    block256_set_crumbs(b, w->qs);
    block256_set_scales(b, _mm_and_si128(both, low4));
    b->offsets = _mm256_cvtepi8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), low4));
    b->d = _cvtsh_ss(w->d);
    b->d_offset = _cvtsh_ss(w->dmin);
}

INLINE void block256_load_q3_k(struct block256 *b, const struct q3_k *w) {
    uint32_t u[4], s[3];
    memcpy(s, w->scales, sizeof s);
    for (size_t i = 0; i < 4; i++)
        u[i] = (s[i % 2] >> (i < 2 ? 0 : 4) & 0x0f0f0f0f) | (s[2] >> (2 * i) & 0x03030303) << 4;
    __m128i scales = _mm_sub_epi8(load_i8x16(u), _mm_set1_epi8(32));
    block256_set_crumbs(b, w->qs);
    block256_add_bits(b, w->hmask, 2);
    block256_set_scales(b, scales);
    b->offsets = _mm256_slli_epi16(_mm256_cvtepi8_epi16(scales), 2); // q stands for q - 4
    b->d = b->d_offset = _cvtsh_ss(w->d);
}

INLINE void block256_load_q4_k(struct block256 *b, const struct q4_k *w) {
    block256_set_nibbles(b, w->qs);
    block256_set_k_scales(b, w->scales);
    b->d = _cvtsh_ss(w->d);
    b->d_offset = _cvtsh_ss(w->dmin);
}

INLINE void block256_load_q5_k(struct block256 *b, const struct q5_k *w) {
    block256_set_nibbles(b, w->qs);
    block256_add_bits(b, w->qh, 4);
    block256_set_k_scales(b, w->scales);
    b->d = _cvtsh_ss(w->d);
    b->d_offset = _cvtsh_ss(w->dmin);
}

INLINE void block256_load_q6_k(struct block256 *b, const struct q6_k *w) {
    const __m256i low4 = _mm256_set1_epi8(15), high2 = _mm256_set1_epi8(0x30);
    for (size_t half = 0; half < 2; half++) {
        __m256i l0 = load_i8x32(w->ql + 64 * half), l1 = load_i8x32(w->ql + 64 * half + 32);
        __m256i h = load_i8x32(w->qh + 32 * half);
        __m256i *q = b->q + 4 * half;
        q[0] = _mm256_or_si256(_mm256_and_si256(l0, low4), _mm256_and_si256(_mm256_slli_epi16(h, 4), high2));
        q[1] = _mm256_or_si256(_mm256_and_si256(l1, low4), _mm256_and_si256(_mm256_slli_epi16(h, 2), high2));
        q[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l0, 4), low4), _mm256_and_si256(h, high2));
        q[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l1, 4), low4),
                               _mm256_and_si256(_mm256_srli_epi16(h, 2), high2));
    }
    __m128i scales = load_i8x16(w->scales);
    block256_set_scales(b, scales);
    b->offsets = _mm256_slli_epi16(_mm256_cvtepi8_epi16(scales), 5); // q stands for q - 32
    b->d = b->d_offset = _cvtsh_ss(w->d);
}

INLINE void block256_load_iq4_xs(struct block256 *b, const struct iq4_xs *w) {
    for (size_t i = 0; i < 8; i++) {
        int low = w->scales_l[i / 2] >> (i % 2 * 4) & 15, high = w->scales_h >> (2 * i) & 3;
        b->scales[i] = _mm256_set1_epi16((short)((low | high << 4) - 32));
        b->q[i] = load_values(w->qs + 16 * i, quant_iq4_values);
    }
    b->d = _cvtsh_ss(w->d);
}

// The codebook types, at the pace of their plain C.
INLINE void block256_load_unpacked(struct block256 *b, const uint8_t *w, size_t i, enum tensor_type type) {
    const struct quant_traits *traits = quant_traits(type);
    struct quant_block u;
    traits->unpack(&u, w + i * traits->block_bytes);
    for (size_t k = 0; k < 8; k++) {
        b->q[k] = load_i8x32(u.q + 32 * k);
        b->scales[k] = _mm256_set_m128i(_mm_set1_epi16(u.scales[2 * k + 1]), _mm_set1_epi16(u.scales[2 * k]));
    }
    b->d = u.d;
}

// Block i of a row.
INLINE void block256_load(struct block256 *b, const void *w, size_t i, enum tensor_type type) {
    if (type == TENSOR_Q2_K)
        block256_load_q2_k(b, (const struct q2_k *)w + i);
    else if (type == TENSOR_Q3_K)
        block256_load_q3_k(b, (const struct q3_k *)w + i);
    else if (type == TENSOR_Q4_K)
        block256_load_q4_k(b, (const struct q4_k *)w + i);
    else if (type == TENSOR_Q5_K)
        block256_load_q5_k(b, (const struct q5_k *)w + i);
    else if (type == TENSOR_Q6_K)
        block256_load_q6_k(b, (const struct q6_k *)w + i);
    else if (type == TENSOR_IQ4_XS)
        block256_load_iq4_xs(b, (const struct iq4_xs *)w + i);
    else
        block256_load_unpacked(b, w, i, type);
}

#endif
