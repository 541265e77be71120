// The CPU's inner loops with AVX-512 (F, BW, VL, DQ) and VNNI.
#include "compute/cpu_kernels.h"

#include <immintrin.h>

typedef __m512 vf;
enum { VF_N = 16, DOT_ROWS = 4 };

#define PRIMITIVE static inline __attribute__((always_inline))

PRIMITIVE __mmask16 part_mask(size_t n) {
    return (__mmask16)((1u << n) - 1);
}
PRIMITIVE vf vf_set1(float x) {
    return _mm512_set1_ps(x);
}
PRIMITIVE vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
PRIMITIVE vf vf_load_part(const float *p, size_t n) {
    return _mm512_maskz_loadu_ps(part_mask(n), p);
}
PRIMITIVE void vf_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}
PRIMITIVE void vf_store_part(float *p, size_t n, vf v) {
    _mm512_mask_storeu_ps(p, part_mask(n), v);
}
PRIMITIVE vf vf_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
PRIMITIVE vf vf_load_f16_part(const uint16_t *p, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part_mask(n), p));
}
PRIMITIVE vf bf16_widen(__m256i v) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
PRIMITIVE vf vf_load_bf16(const uint16_t *p) {
    return bf16_widen(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
PRIMITIVE vf vf_load_bf16_part(const uint16_t *p, size_t n) {
    return bf16_widen(_mm256_maskz_loadu_epi16(part_mask(n), p));
}
PRIMITIVE void vf_store_f16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
PRIMITIVE vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
PRIMITIVE vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
PRIMITIVE vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
PRIMITIVE vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
PRIMITIVE vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
PRIMITIVE vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
PRIMITIVE vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
PRIMITIVE vf vf_round(vf v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
PRIMITIVE vf vf_zero_below(vf v, vf x, vf limit) {
    return _mm512_maskz_mov_ps((__mmask16)~_mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), v);
}
PRIMITIVE vf vf_scale(vf v, vf n) {
    return _mm512_scalef_ps(v, n);
}
PRIMITIVE __m256 vf_fold(vf v) {
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
PRIMITIVE void vf_sum4(float *sums, vf a, vf b, vf c, vf d) {
    __m256 ab = _mm256_hadd_ps(vf_fold(a), vf_fold(b)), cd = _mm256_hadd_ps(vf_fold(c), vf_fold(d));
    __m256 s = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
PRIMITIVE float vf_sum(vf v) {
    return _mm512_reduce_add_ps(v);
}
PRIMITIVE float vf_max_of(vf v) {
    return _mm512_reduce_max_ps(v);
}

#include "compute/cpu_vector.h"

PRIMITIVE __m256i dot_u8_i8(__m256i u, __m256i s) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, s);
}
PRIMITIVE __m256i madd_i16(__m256i acc, __m256i a, __m256i b) {
    return _mm256_dpwssd_epi32(acc, a, b);
}

#include "compute/cpu_blocks.h"

void cpu_kernels_avx512(struct cpu_kernels *k) {
    k->name = "avx512";
    k->blas_core = "SkylakeX";
    vector_kernels(k);
    block_kernels(k);
}
