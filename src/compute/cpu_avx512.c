// The CPU's inner loops with AVX-512 (F, BW, VL, DQ) and VNNI.
#include "compute/cpu_kernels.h"

#include <cpuid.h>
#include <immintrin.h>

typedef __m512 vf;
enum { VF_N = 16, DOT_ROWS = 4, ATTN_VECTORS = 4 };

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
PRIMITIVE vf vf_load_i8(const int8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
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
PRIMITIVE __m256 vf_fold_max(vf v) {
    return _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
PRIMITIVE __m256 max_pairs(__m256 a, __m256 b) {
    return _mm256_max_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
}
PRIMITIVE void vf_max4(float *max, vf a, vf b, vf c, vf d) {
    __m256 ac = max_pairs(vf_fold_max(a), vf_fold_max(c)), bd = max_pairs(vf_fold_max(b), vf_fold_max(d));
    __m256 m = max_pairs(ac, bd);
    _mm_storeu_ps(max, _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1)));
}

// 16 x 16: pairs and fours inside the quarters of a vector, then the quarters.
PRIMITIVE void vf_transpose(vf v[VF_N]) {
    vf t[VF_N];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) { // v[i + c], quarter q: value 4 q + c of rows i .. i + 3
            __m512d a = _mm512_castps_pd(t[i + k]), b = _mm512_castps_pd(t[i + 2 + k]);
            v[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            v[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int c = 0; c < 4; c++) {
        vf low_even = _mm512_shuffle_f32x4(v[c], v[c + 4], 0x88),
           low_odd = _mm512_shuffle_f32x4(v[c], v[c + 4], 0xdd);
        vf high_even = _mm512_shuffle_f32x4(v[c + 8], v[c + 12], 0x88),
           high_odd = _mm512_shuffle_f32x4(v[c + 8], v[c + 12], 0xdd);
        t[c] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
        t[c + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
        t[c + 8] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
        t[c + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
    }
    for (int i = 0; i < 16; i++)
        v[i] = t[i];
}

#include "compute/cpu_attn.h"

typedef __m512i vi;
enum { VI_BYTES = 64, TILE_ROWS = 8, WIDE_PANELS = 2, WIDE_ROWS = 6, WIDE_FINE_ROWS = 4 };

PRIMITIVE vi vi_load(const void *p) {
    return _mm512_loadu_si512(p);
}
PRIMITIVE void vi_store(void *p, vi v) {
    _mm512_storeu_si512(p, v);
}
PRIMITIVE vi vi_zero(void) {
    return _mm512_setzero_si512();
}
PRIMITIVE vi vi_broadcast(const void *p) {
    int v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}
PRIMITIVE vi vi_set1_8(int v) {
    return _mm512_set1_epi8((char)v);
}
PRIMITIVE vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}
PRIMITIVE vi vi_or(vi a, vi b) {
    return _mm512_or_si512(a, b);
}
PRIMITIVE vi vi_xor(vi a, vi b) {
    return _mm512_xor_si512(a, b);
}
PRIMITIVE vi vi_shr(vi v, int n) {
    return _mm512_srli_epi16(v, (unsigned)n);
}
PRIMITIVE vi vi_shl(vi v, int n) {
    return _mm512_slli_epi16(v, (unsigned)n);
}
PRIMITIVE vi vi_lookup(vi v, const uint8_t *table) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table)),
                               v);
}
PRIMITIVE vi vi_dot(vi acc, vi w, vi x) {
    return _mm512_dpbusd_epi32(acc, w, x);
}
PRIMITIVE vi vi_group_start(const void *start, int offset) {
    (void)offset;
    return vi_broadcast(start);
}
PRIMITIVE vi vi_steps_begin(vi sum, int most) {
    (void)most;
    return sum;
}
PRIMITIVE vi vi_step(vi acc, vi w, vi x, int most) {
    (void)most;
    return _mm512_dpbusd_epi32(acc, w, x);
}
PRIMITIVE vi vi_steps_end(vi sum, vi acc, int most) {
    (void)sum;
    (void)most;
    return acc;
}
PRIMITIVE vi vi_dot_pairs(vi acc, vi a, vi b) {
    return _mm512_dpwssd_epi32(acc, a, b);
}
PRIMITIVE vf vf_of_vi(vi v) {
    return _mm512_cvtepi32_ps(v);
}
PRIMITIVE vf vf_of_i8(__m128i bytes, size_t first) {
    (void)first;
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
PRIMITIVE vf vf_abs(vf v) {
    return _mm512_abs_ps(v);
}
PRIMITIVE void vf_store_i8(int8_t *p, vf v) { // to nearest, ties to even; NaN as 0
    __m512i q = _mm512_maskz_cvtps_epi32(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v);
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtsepi32_epi8(q));
}

#include "compute/cpu_limits.h"
#include "compute/cpu_tiles.h"

#include "compute/cpu_attn_int8.h"
#include "compute/cpu_int8_tiles.h"

// With AVX512-FP16, which not every machine of this file has.
__attribute__((target("avx512fp16"))) static size_t limit_f16(size_t n_steps) {
    enum { F16_N = 32 };
    __m512h sums[LIMIT_SUMS], a = _mm512_set1_ph(0.5f16), b = _mm512_set1_ph(1.0f16);
    for (int i = 0; i < LIMIT_SUMS; i++)
        sums[i] = _mm512_setzero_ph();
    for (size_t step = 0; step < n_steps; step++)
        for (int i = 0; i < LIMIT_SUMS; i++) {
            __asm__ volatile("" : "+x"(a));
            sums[i] = _mm512_fmadd_ph(sums[i], a, b);
        }
    for (int i = 0; i < LIMIT_SUMS; i++)
        __asm__ volatile("" : "+x"(sums[i]));
    return n_steps * LIMIT_SUMS * F16_N;
}

static bool machine_has_f16(void) { // CPUID itself: not every compiler's builtin knows it
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & 1u << 23);
}

void cpu_kernels_avx512(struct cpu_kernels *k) {
    k->name = "avx512";
    k->blas_core = "SkylakeX";
    vector_kernels(k);
    attn_kernels(k);
    panel_kernels(k);
    int8_kernels(k);
    k->attn_int8 = vector_attn_int8;
    k->attn_int8_scratch = vector_attn_int8_scratch;
    limit_kernels(k);
    k->limit_f16 = machine_has_f16() ? limit_f16 : NULL;
}
