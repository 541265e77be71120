// The CPU's inner loops with AVX2, FMA and F16C.
#include "compute/cpu_kernels.h"

#include <immintrin.h>
#include <string.h>

typedef __m256 vf;
enum { VF_N = 8, DOT_ROWS = 2 };

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

#include "compute/cpu_vector.h"

PRIMITIVE __m256i dot_u8_i8(__m256i u, __m256i s) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
}
PRIMITIVE __m256i madd_i16(__m256i acc, __m256i a, __m256i b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

#include "compute/cpu_blocks.h"

void cpu_kernels_avx2(struct cpu_kernels *k) {
    k->name = "avx2";
    k->blas_core = "Haswell";
    vector_kernels(k);
    block_kernels(k);
}
