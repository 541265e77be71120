// Plain C conversions of every type of weight: the definition that the kernels are measured against.
// Layouts: ggml's block formats (ggml-common.h) as GGUF files carry them.
#include "compute/quant.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static_assert(sizeof(struct q8_0) == 34 && sizeof(struct q4_0) == 18, "blocks are packed");
static_assert(sizeof(struct q4_k) == 144 && sizeof(struct q6_k) == 210, "blocks are packed");
static_assert(sizeof(struct a32) == 36 && sizeof(struct a256) == 292, "blocks are packed");

static float bits_to_f32(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t f32_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float f16_to_f32(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
    if (magnitude >= 0x7c00) // infinity; a NaN becomes quiet as the processors make it
        return bits_to_f32(sign | 0x7f800000 | magnitude << 13 | (magnitude > 0x7c00 ? 0x400000 : 0));
    if (magnitude >= 0x0400)
        return bits_to_f32(sign | ((magnitude << 13) + (112u << 23)));
    float value = (float)magnitude * 0x1p-24f;
    return sign ? -value : value;
}

uint16_t f32_to_f16(float value) {
    uint32_t bits = f32_to_bits(value), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) // rounds past the largest half
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { // a subnormal half counts 2^-24: let the addition round to them
        float shifted = bits_to_f32(magnitude) + 0.5f;
        return (uint16_t)(sign | (f32_to_bits(shifted) - 0x3f000000));
    }
    uint32_t rebased = magnitude - (112u << 23);
    return (uint16_t)(sign | ((rebased + 0x0fff + (rebased >> 13 & 1)) >> 13));
}

static void f32_dequantise(float *y, const void *w, size_t n) {
    memcpy(y, w, n * sizeof *y);
}

static void f16_dequantise(float *y, const void *w, size_t n) {
    const uint16_t *bits = w;
    for (size_t i = 0; i < n; i++)
        y[i] = f16_to_f32(bits[i]);
}

static void bf16_dequantise(float *y, const void *w, size_t n) {
    const uint16_t *bits = w;
    for (size_t i = 0; i < n; i++)
        y[i] = bits_to_f32((uint32_t)bits[i] << 16);
}

static void q8_0_dequantise(float *y, const void *w, size_t n) {
    const struct q8_0 *b = w;
    for (size_t k = 0; k < n / 32; k++) {
        float d = f16_to_f32(b[k].d);
        for (size_t i = 0; i < 32; i++)
            *y++ = d * b[k].qs[i];
    }
}

static void q4_0_dequantise(float *y, const void *w, size_t n) {
    const struct q4_0 *b = w;
    for (size_t k = 0; k < n / 32; k++, y += 32) {
        float d = f16_to_f32(b[k].d);
        for (size_t i = 0; i < 16; i++) {
            y[i] = d * (float)((b[k].qs[i] & 15) - 8);
            y[i + 16] = d * (float)((b[k].qs[i] >> 4) - 8);
        }
    }
}

// Groups 0-3: the low 6 bits of bytes g (scale) and g + 4 (min). Groups 4-7: 4 bits each in byte g + 4, and
// the top 2 bits of the bytes of group g - 4.
static void q4_k_group(const struct q4_k *b, size_t g, int *scale, int *min) {
    const uint8_t *s = b->scales;
    if (g < 4) {
        *scale = s[g] & 63;
        *min = s[g + 4] & 63;
    } else {
        *scale = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        *min = s[g + 4] >> 4 | (s[g] >> 6) << 4;
    }
}

static void q4_k_dequantise(float *y, const void *w, size_t n) {
    const struct q4_k *b = w;
    for (size_t k = 0; k < n / 256; k++)
        for (size_t g = 0; g < 8; g++) {
            int scale, min;
            q4_k_group(&b[k], g, &scale, &min);
            float d = f16_to_f32(b[k].d) * (float)scale, m = f16_to_f32(b[k].dmin) * (float)min;
            const uint8_t *qs = b[k].qs + g / 2 * 32;
            for (size_t i = 0; i < 32; i++)
                *y++ = d * (float)(g % 2 ? qs[i] >> 4 : qs[i] & 15) - m;
        }
}

// Each half of a block is four runs of 32: low bits in the low halves of ql[0..31] and ql[32..63], then in
// their high halves; high bits in bits 2 run of qh.
static void q6_k_dequantise(float *y, const void *w, size_t n) {
    const struct q6_k *b = w;
    for (size_t k = 0; k < n / 256; k++) {
        float d = f16_to_f32(b[k].d);
        for (size_t i = 0; i < 256; i++) {
            size_t half = i / 128, run = i % 128 / 32, at = i % 32;
            int low = b[k].ql[64 * half + 32 * (run % 2) + at] >> (run < 2 ? 0 : 4) & 15;
            int high = b[k].qh[32 * half + at] >> (2 * run) & 3;
            *y++ = d * b[k].scales[i / 16] * (float)((low | high << 4) - 32);
        }
    }
}

enum { DOT_STEP = 256 }; // values dequantised at a time; a multiple of every block

static float dot_f32_activations(void (*dequantise)(float *, const void *, size_t), size_t value_bytes,
                                 const void *w, const float *x, size_t n) {
    float values[DOT_STEP];
    double sum = 0;
    for (size_t at = 0; at < n; at += DOT_STEP) {
        size_t step = n - at < DOT_STEP ? n - at : DOT_STEP;
        dequantise(values, (const char *)w + at * value_bytes, step);
        for (size_t i = 0; i < step; i++)
            sum += (double)values[i] * x[at + i];
    }
    return (float)sum;
}

static float f32_dot(const void *w, const void *x, size_t n) {
    return dot_f32_activations(f32_dequantise, sizeof(float), w, x, n);
}

static float f16_dot(const void *w, const void *x, size_t n) {
    return dot_f32_activations(f16_dequantise, sizeof(uint16_t), w, x, n);
}

static float bf16_dot(const void *w, const void *x, size_t n) {
    return dot_f32_activations(bf16_dequantise, sizeof(uint16_t), w, x, n);
}

static float dot_a32(void (*dequantise)(float *, const void *, size_t), size_t block_bytes, const void *w,
                     const struct a32 *x, size_t n) {
    float values[32];
    double sum = 0;
    for (size_t k = 0; k < n / 32; k++) {
        dequantise(values, (const char *)w + k * block_bytes, 32);
        for (size_t i = 0; i < 32; i++)
            sum += (double)values[i] * x[k].d * x[k].qs[i];
    }
    return (float)sum;
}

static float q8_0_dot(const void *w, const void *x, size_t n) {
    return dot_a32(q8_0_dequantise, sizeof(struct q8_0), w, x, n);
}

static float q4_0_dot(const void *w, const void *x, size_t n) {
    return dot_a32(q4_0_dequantise, sizeof(struct q4_0), w, x, n);
}

static float dot_a256(void (*dequantise)(float *, const void *, size_t), size_t block_bytes, const void *w,
                      const struct a256 *x, size_t n) {
    float values[256];
    double sum = 0;
    for (size_t k = 0; k < n / 256; k++) {
        dequantise(values, (const char *)w + k * block_bytes, 256);
        for (size_t i = 0; i < 256; i++)
            sum += (double)values[i] * x[k].d * x[k].qs[i];
    }
    return (float)sum;
}

static float q4_k_dot(const void *w, const void *x, size_t n) {
    return dot_a256(q4_k_dequantise, sizeof(struct q4_k), w, x, n);
}

static float q6_k_dot(const void *w, const void *x, size_t n) {
    return dot_a256(q6_k_dequantise, sizeof(struct q6_k), w, x, n);
}

const struct quant_traits *quant_traits(enum tensor_type type) {
    static const struct quant_traits traits[TENSOR_BF16 + 1] = {
        [TENSOR_F32] = {"f32", 1, sizeof(float), f32_dequantise, f32_dot},
        [TENSOR_F16] = {"f16", 1, sizeof(uint16_t), f16_dequantise, f16_dot},
        [TENSOR_BF16] = {"bf16", 1, sizeof(uint16_t), bf16_dequantise, bf16_dot},
        [TENSOR_Q8_0] = {"q8_0", 32, sizeof(struct q8_0), q8_0_dequantise, q8_0_dot},
        [TENSOR_Q4_0] = {"q4_0", 32, sizeof(struct q4_0), q4_0_dequantise, q4_0_dot},
        [TENSOR_Q4_K] = {"q4_K", 256, sizeof(struct q4_k), q4_k_dequantise, q4_k_dot},
        [TENSOR_Q6_K] = {"q6_K", 256, sizeof(struct q6_k), q6_k_dequantise, q6_k_dot},
    };
    size_t id = (size_t)type;
    return id <= TENSOR_BF16 && traits[id].name ? &traits[id] : NULL;
}

bool quant_row_bytes(enum tensor_type type, size_t n, size_t *out) {
    const struct quant_traits *traits = quant_traits(type);
    return traits && n % traits->block_n == 0 && size_mul(n / traits->block_n, traits->block_bytes, out);
}

const char *quant_type_name(enum tensor_type type) {
    static const char *const names[] = {
        "f32",   "f16",    "q4_0", "q4_1", "q4_2", "q4_3",    "q5_0",   "q5_1",    "q8_0",  "q8_1",   "q2_K",
        "q3_K",  "q4_K",   "q5_K", "q6_K", "q8_K", "iq2_xxs", "iq2_xs", "iq3_xxs", "iq1_s", "iq4_nl", "iq3_s",
        "iq2_s", "iq4_xs", "i8",   "i16",  "i32",  "i64",     "f64",    "iq1_m",   "bf16",
    };
    size_t id = (size_t)type;
    return id < sizeof names / sizeof *names ? names[id] : "unknown";
}

static float largest(const float *x, size_t n) {
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

static void quantise(int8_t *qs, float *d, const float *x, size_t n) {
    float max = largest(x, n);
    float inverse = max > 1e-30f ? 127.0f / max : 0; // below that it could overflow
    *d = max / 127.0f;
    for (size_t i = 0; i < n; i++) {
        float q = nearbyintf(x[i] * inverse);
        qs[i] = q >= -127 && q <= 127 ? (int8_t)q : 0; // NaN has no integer
    }
}

void quant_a32(void *y, const float *x, size_t n) {
    struct a32 *a = y;
    for (size_t k = 0; k < n / 32; k++)
        quantise(a[k].qs, &a[k].d, x + 32 * k, 32);
}

void quant_a256(void *y, const float *x, size_t n) {
    struct a256 *a = y;
    for (size_t k = 0; k < n / 256; k++) {
        quantise(a[k].qs, &a[k].d, x + 256 * k, 256);
        for (size_t g = 0; g < 16; g++) {
            int sum = 0;
            for (size_t i = 0; i < 16; i++)
                sum += a[k].qs[16 * g + i];
            a[k].sums[g] = (int16_t)sum;
        }
    }
}
