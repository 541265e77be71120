// The CPU's inner loops with AVX2, FMA and F16C.
#include "compute/cpu_kernels.h"

#include <immintrin.h>
#include <string.h>

typedef __m256 vf;
enum { VF_N = 8, DOT_ROWS = 2, ATTN_VECTORS = 2 };

#define PRIMITIVE static inline __attribute__((always_inline))

PRIMITIVE __m256i part_mask(size_t n) {
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
PRIMITIVE vf vf_set1(float x) {
    return _mm256_set1_ps(x);
}
PRIMITIVE vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}
PRIMITIVE vf vf_load_part(const float *p, size_t n) {
    return _mm256_maskload_ps(p, part_mask(n));
}
PRIMITIVE void vf_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}
PRIMITIVE void vf_store_part(float *p, size_t n, vf v) {
    _mm256_maskstore_ps(p, part_mask(n), v);
}
PRIMITIVE __m128i load_u16_part(const uint16_t *p, size_t n) {
    uint16_t part[8] = {0};
    memcpy(part, p, n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)(const void *)part);
}
PRIMITIVE vf vf_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
PRIMITIVE vf vf_load_f16_part(const uint16_t *p, size_t n) {
    return _mm256_cvtph_ps(load_u16_part(p, n));
}
PRIMITIVE vf bf16_widen(__m128i v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
PRIMITIVE vf vf_load_bf16(const uint16_t *p) {
    return bf16_widen(_mm_loadu_si128((const __m128i *)(const void *)p));
}
PRIMITIVE vf vf_load_bf16_part(const uint16_t *p, size_t n) {
    return bf16_widen(load_u16_part(p, n));
}
PRIMITIVE vf vf_load_i8(const int8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
PRIMITIVE void vf_store_f16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
PRIMITIVE vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
PRIMITIVE vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
PRIMITIVE vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
PRIMITIVE vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
PRIMITIVE vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
PRIMITIVE vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
PRIMITIVE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
PRIMITIVE vf vf_round(vf v) {
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PRIMITIVE vf vf_zero_below(vf v, vf x, vf limit) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), v);
}
PRIMITIVE vf vf_scale(vf v, vf n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
PRIMITIVE void vf_sum4(float *sums, vf a, vf b, vf c, vf d) {
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
PRIMITIVE float vf_sum(vf v) {
    float sums[4];
    vf_sum4(sums, v, v, v, v);
    return sums[0];
}
PRIMITIVE float vf_max_of(vf v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}
PRIMITIVE vf max_pairs(vf a, vf b) {
    return _mm256_max_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
}
PRIMITIVE void vf_max4(float *max, vf a, vf b, vf c, vf d) {
    vf m = max_pairs(max_pairs(a, c), max_pairs(b, d));
    _mm_storeu_ps(max, _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1)));
}

// 8 x 8: pairs and fours inside the halves of a vector, then the halves.
PRIMITIVE void vf_transpose(vf v[VF_N]) {
    vf t[VF_N];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) { // v[i + c], half h: value 4 h + c of rows i .. i + 3
            __m256d a = _mm256_castps_pd(t[i + k]), b = _mm256_castps_pd(t[i + 2 + k]);
            v[i + 2 * k] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            v[i + 2 * k + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    for (int c = 0; c < 4; c++) {
        t[c] = _mm256_permute2f128_ps(v[c], v[c + 4], 0x20);
        t[c + 4] = _mm256_permute2f128_ps(v[c], v[c + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        v[i] = t[i];
}

#include "compute/cpu_attn.h"

typedef __m256i vi;
enum { VI_BYTES = 32, TILE_ROWS = 4, WIDE_PANELS = 1, WIDE_ROWS = TILE_ROWS, WIDE_FINE_ROWS = TILE_ROWS };

PRIMITIVE vi vi_load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
PRIMITIVE void vi_store(void *p, vi v) {
    _mm256_storeu_si256((__m256i *)p, v);
}
PRIMITIVE vi vi_zero(void) {
    return _mm256_setzero_si256();
}
PRIMITIVE vi vi_broadcast(const void *p) {
    int v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}
PRIMITIVE vi vi_set1_8(int v) {
    return _mm256_set1_epi8((char)v);
}
PRIMITIVE vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}
PRIMITIVE vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}
PRIMITIVE vi vi_xor(vi a, vi b) {
    return _mm256_xor_si256(a, b);
}
PRIMITIVE vi vi_shr(vi v, int n) {
    return _mm256_srli_epi16(v, n);
}
PRIMITIVE vi vi_shl(vi v, int n) {
    return _mm256_slli_epi16(v, n);
}
PRIMITIVE vi vi_lookup(vi v, const uint8_t *table) {
    return _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table)), v);
}
PRIMITIVE vi vi_dot_pairs(vi acc, vi a, vi b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}
// Sums of pairs of products with w over 128 do not fit 16 bits: even and odd bytes go apart.
PRIMITIVE vi vi_dot(vi acc, vi w, vi x) {
    vi even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), odd = _mm256_srai_epi16(x, 8);
    vi low = _mm256_and_si256(w, _mm256_set1_epi16(255)), high = _mm256_srli_epi16(w, 8);
    return vi_dot_pairs(vi_dot_pairs(acc, low, even), high, odd);
}
// Of up to 6 bits, sums of pairs are kept in 16 bits for some steps. Quants of 8 bits are given their sign again, which
// goes to x so that pairs fit 16 bits: then the offset is gone.
PRIMITIVE vi vi_group_start(const void *start, const int offset) {
    return offset == 128 ? vi_zero() : vi_broadcast(start);
}
PRIMITIVE vi vi_steps_begin(vi sum, const int most) {
    return most > 63 ? sum : vi_zero();
}
PRIMITIVE vi vi_step(vi acc, vi w, vi x, const int most) {
    if (most <= 63) {
        acc = _mm256_add_epi16(acc, _mm256_maddubs_epi16(w, x));
    } else {
        vi q = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        vi pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(x, q));
        acc = vi_dot_pairs(acc, pairs, _mm256_set1_epi16(1));
    }
    __asm__("" : "+x"(acc)); // or gcc adds the steps as a tree, with more products than there are registers
    return acc;
}
PRIMITIVE vi vi_steps_end(vi sum, vi acc, const int most) {
    return most > 63 ? acc : vi_dot_pairs(sum, acc, _mm256_set1_epi16(1));
}
PRIMITIVE vf vf_of_vi(vi v) {
    return _mm256_cvtepi32_ps(v);
}
PRIMITIVE vf vf_of_i8(__m128i bytes, size_t first) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(first ? _mm_srli_si128(bytes, 8) : bytes));
}
PRIMITIVE vf vf_abs(vf v) {
    return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
}
PRIMITIVE void vf_store_i8(int8_t *p, vf v) { // to nearest, ties to even; NaN as 0
    __m256i q = _mm256_cvtps_epi32(_mm256_and_ps(v, _mm256_cmp_ps(v, v, _CMP_ORD_Q)));
    __m128i pairs = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(pairs, pairs));
}

#include "compute/cpu_limits.h"
#include "compute/cpu_tiles.h"

#include "compute/cpu_int8_tiles.h"

void cpu_kernels_avx2(struct cpu_kernels *k) {
    k->name = "avx2";
    k->blas_core = "Haswell";
    vector_kernels(k);
    attn_kernels(k);
    panel_kernels(k);
    int8_kernels(k);
    limit_kernels(k);
}
