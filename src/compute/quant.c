// The table of weight types and plain C conversions and dot products over it: the definition that the kernels
// are measured against.
#include "compute/quant.h"
#include "base/mem.h"
#include "compute/quant_blocks.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static_assert(sizeof(struct a32) == 36 && sizeof(struct a256) == 260, "blocks are packed");

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

#define TRAITS(type, name, n_values, label)                                                                  \
    [TENSOR_##                                                                                               \
        type] = {label, n_values, sizeof(struct name), quant_##name##_dequantise, quant_##name##_unpack},

const struct quant_traits *quant_traits(enum tensor_type type) {
    static const struct quant_traits traits[TENSOR_TYPES] = {
        [TENSOR_F32] = {"f32", 1, sizeof(float), f32_dequantise, NULL},
        [TENSOR_F16] = {"f16", 1, sizeof(uint16_t), f16_dequantise, NULL},
        [TENSOR_BF16] = {"bf16", 1, sizeof(uint16_t), bf16_dequantise, NULL},
        QUANT_BLOCK_TYPES(TRAITS)};
    size_t id = (size_t)type;
    return id < TENSOR_TYPES && traits[id].name ? &traits[id] : NULL;
}

bool quant_row_bytes(enum tensor_type type, size_t n, size_t *out) {
    const struct quant_traits *traits = quant_traits(type);
    return traits && n % traits->block_n == 0 && size_mul(n / traits->block_n, traits->block_bytes, out);
}

const char *quant_type_name(enum tensor_type type) {
    static const char *const names[] = {
        "f32",      "f16",      "q4_0",    "q4_1",  "q4_2",       "q4_3",       "q5_0",       "q5_1",
        "q8_0",     "q8_1",     "q2_K",    "q3_K",  "q4_K",       "q5_K",       "q6_K",       "q8_K",
        "iq2_xxs",  "iq2_xs",   "iq3_xxs", "iq1_s", "iq4_nl",     "iq3_s",      "iq2_s",      "iq4_xs",
        "i8",       "i16",      "i32",     "i64",   "f64",        "iq1_m",      "bf16",       "q4_0_4_4",
        "q4_0_4_8", "q4_0_8_8", "tq1_0",   "tq2_0", "iq4_nl_4_4", "iq4_nl_4_8", "iq4_nl_8_8", "mxfp4",
    };
    size_t id = (size_t)type;
    return id < sizeof names / sizeof *names ? names[id] : "unknown";
}

const char *quant_type_list(char list[QUANT_TYPE_LIST_SIZE]) {
    size_t len = 0;
    for (int id = 0; id < TENSOR_TYPES; id++) {
        const struct quant_traits *traits = quant_traits((enum tensor_type)id);
        if (!traits)
            continue;
        int n = snprintf(list + len, QUANT_TYPE_LIST_SIZE - len, "%s%s", len ? ", " : "", traits->name);
        assert(n > 0 && len + (size_t)n < QUANT_TYPE_LIST_SIZE);
        len += (size_t)n;
    }
    return list;
}

enum { DOT_STEP = 256 }; // values dequantised at a time; a multiple of every block

float quant_dot(const struct quant_traits *traits, const void *w, const void *x, size_t n) {
    const float *f32 = x;
    const struct a32 *a32 = x;
    const struct a256 *a256 = x;
    float values[DOT_STEP];
    double sum = 0;
    for (size_t at = 0; at < n; at += DOT_STEP) {
        size_t step = n - at < DOT_STEP ? n - at : DOT_STEP;
        traits->dequantise(values, (const char *)w + at / traits->block_n * traits->block_bytes, step);
        for (size_t i = 0; i < step; i++) {
            size_t k = at + i;
            if (traits->block_n == 1)
                sum += (double)values[i] * f32[k];
            else if (traits->block_n == 32)
                sum += (double)values[i] * a32[k / 32].d * a32[k / 32].qs[k % 32];
            else
                sum += (double)values[i] * a256[k / 256].d * a256[k / 256].qs[k % 256];
        }
    }
    return (float)sum;
}

static float largest(const float *x, size_t n) {
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

float quant_i8(int8_t *qs, const float *x, size_t n) {
    float max = largest(x, n);
    float inverse = max > 1e-30f ? 127.0f / max : 0; // below that it could overflow
    for (size_t i = 0; i < n; i++) {
        float q = nearbyintf(x[i] * inverse);
        qs[i] = q >= -127 && q <= 127 ? (int8_t)q : 0; // NaN has no integer
    }
    return max / 127.0f;
}

void quant_a32(void *y, const float *x, size_t n) {
    struct a32 *a = y;
    for (size_t k = 0; k < n / 32; k++)
        a[k].d = quant_i8(a[k].qs, x + 32 * k, 32);
}

void quant_a256(void *y, const float *x, size_t n) {
    struct a256 *a = y;
    for (size_t k = 0; k < n / 256; k++)
        a[k].d = quant_i8(a[k].qs, x + 256 * k, 256);
}
