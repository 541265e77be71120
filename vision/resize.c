// rgb [height, width, 3] u8 on a canvas -> [out_height, out_width, 3] u8, Pillow's Image.resize.
//
// Two passes, horizontal then vertical, each rounding to u8. Output i of a side with `scale` = in / out
// covers inputs [c - s, c + s), c = (i + 0.5) scale, s = support max(scale, 1), with weights
//
//   w(x) = filter((x + 0.5 - c) / max(scale, 1)), normalised to sum 1
//
//   bilinear  support 1   triangle
//   bicubic   support 2   a = -0.5
//   Lanczos   support 3   sinc(x) sinc(x / 3)
//
// as integers of 22 fractional bits. Integer sums may be taken in any order, so the constant part of the
// canvas counts as one sum of weights and results stay equal to Pillow's in every bit. Source: Pillow 9.4,
// src/libImaging/Resample.c: precompute_coeffs, normalize_coeffs_8bpc, ImagingResample*_8bpc.
#include "vision/resize.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { WEIGHT_BITS = 22, LOW_BITS = 15, DOT_BLOCK = 128 };

struct taps {              // the inputs of one output
    size_t first, n;       // those inside the picture, counted from its edge
    size_t at;             // their first weight
    int64_t canvas_weight; // sum of the weights outside the picture
};

struct axis {
    struct taps *taps; // [n_out]
    int32_t *weights;  // 22 fractional bits
};

static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double sinc(double x) {
    const double pi = 3.14159265358979323846;
    return x == 0.0 ? 1.0 : sin(x * pi) / (x * pi);
}

static double lanczos(double x) {
    return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static const struct filter {
    double support;
    double (*weight)(double x);
} filters[] = {
    [RESIZE_BICUBIC] = {2, cubic},
    [RESIZE_BILINEAR] = {1, triangle},
    [RESIZE_LANCZOS] = {3, lanczos},
};

static void axis_clear(struct axis *axis) {
    free(axis->taps);
    free(axis->weights);
}

// Weights of output i on the whole canvas: gives the first input, and their number in *n.
static size_t canvas_weights(double *w, const struct filter *f, size_t i, double scale, size_t canvas,
                             size_t *n) {
    double filter_scale = scale < 1.0 ? 1.0 : scale, support = f->support * filter_scale;
    double center = ((double)i + 0.5) * scale, per_step = 1.0 / filter_scale, sum = 0;
    double low = center - support + 0.5, high = center + support + 0.5;
    size_t first = low < 0 ? 0 : (size_t)low;
    size_t end = high > (double)canvas ? canvas : (size_t)high;
    *n = end - first;
    for (size_t x = 0; x < *n; x++) {
        w[x] = f->weight(((double)(x + first) - center + 0.5) * per_step);
        sum += w[x];
    }
    for (size_t x = 0; x < *n; x++)
        if (sum != 0.0)
            w[x] /= sum;
    return first;
}

static bool axis_init(struct axis *axis, const struct filter *f, size_t in, size_t offset, size_t canvas,
                      size_t n_out, struct err *err) {
    double scale = (double)canvas / (double)n_out;
    size_t taps_max = (size_t)ceil(f->support * (scale < 1.0 ? 1.0 : scale)) * 2 + 1, n_weights = 0;
    *axis = (struct axis){0};
    double *w = try_malloc_array(taps_max, sizeof *w, "resize weights", err);
    axis->taps = try_malloc_array(n_out, sizeof *axis->taps, "resize taps", err);
    axis->weights = try_malloc_array(n_out * taps_max, sizeof *axis->weights, "resize weights", err);
    if (!w || !axis->taps || !axis->weights)
        goto fail;
    for (size_t i = 0; i < n_out; i++) {
        struct taps *t = &axis->taps[i];
        size_t n, first = canvas_weights(w, f, i, scale, canvas, &n);
        *t = (struct taps){.at = n_weights};
        for (size_t x = 0; x < n; x++) {
            double fixed = w[x] * (1 << WEIGHT_BITS);
            int32_t weight = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
            if (first + x < offset || first + x >= offset + in) {
                t->canvas_weight += weight;
                continue;
            }
            if (t->n++ == 0)
                t->first = first + x - offset;
            axis->weights[n_weights++] = weight;
        }
    }
    free(w);
    return true;
fail:
    free(w);
    axis_clear(axis);
    return false;
}

static uint8_t to_u8(int64_t sum) {
    int64_t value = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

// sum of p w with w = high 2^15 + low: products of two 16-bit numbers are what SIMD multiplies and adds at
// once.
static int64_t dot(const int16_t *p, const int16_t *high, const int16_t *low, size_t n) {
    int64_t total = 0;
    for (size_t i0 = 0; i0 < n; i0 += DOT_BLOCK) {
        size_t end = n - i0 < DOT_BLOCK ? n : i0 + DOT_BLOCK;
        int32_t sum_high = 0, sum_low = 0; // 128 * 255 * 2^15 < 2^31
        for (size_t i = i0; i < end; i++) {
            sum_high += (int32_t)p[i] * high[i];
            sum_low += (int32_t)p[i] * low[i];
        }
        total += (int64_t)sum_high * (1 << LOW_BITS) + sum_low;
    }
    return total;
}

// mid: [height, n_out, 3] u8.
static bool pass_horizontal(const struct resize *r, const struct axis *axis, uint8_t *mid, size_t n_out,
                            struct err *err) {
    size_t n_weights = axis->taps[n_out - 1].at + axis->taps[n_out - 1].n, w = r->width_px;
    int16_t *high = try_malloc_array(n_weights, sizeof *high, "resize weights", err);
    int16_t *low = try_malloc_array(n_weights, sizeof *low, "resize weights", err);
    int16_t *planes = try_malloc_array(w, 3 * sizeof *planes, "resize row", err); // [3, width]
    bool ok = high && low && planes;
    if (!ok)
        goto fail;
    for (size_t i = 0; i < n_weights; i++) {
        low[i] = (int16_t)(axis->weights[i] & ((1 << LOW_BITS) - 1));
        high[i] = (int16_t)((axis->weights[i] - low[i]) / (1 << LOW_BITS));
    }
    for (size_t y = 0; y < r->height_px; y++) {
        const uint8_t *row = r->rgb + 3 * y * w;
        for (size_t x = 0; x < w; x++)
            for (size_t c = 0; c < 3; c++)
                planes[c * w + x] = row[3 * x + c];
        for (size_t i = 0; i < n_out; i++) {
            const struct taps *t = &axis->taps[i];
            for (size_t c = 0; c < 3; c++)
                mid[3 * (y * n_out + i) + c] =
                    to_u8(dot(planes + c * w + t->first, high + t->at, low + t->at, t->n) +
                          t->canvas_weight * r->fill[c]);
        }
    }
fail:
    free(high);
    free(low);
    free(planes);
    return ok;
}

// A row of the bare canvas after the horizontal pass: its weights need not sum to 2^22 exactly.
static void canvas_row(const struct resize *r, const struct axis *axis, uint8_t *row, size_t n_out) {
    for (size_t i = 0; i < n_out; i++) {
        const struct taps *t = &axis->taps[i];
        int64_t weight = t->canvas_weight;
        for (size_t k = 0; k < t->n; k++)
            weight += axis->weights[t->at + k];
        for (size_t c = 0; c < 3; c++)
            row[3 * i + c] = to_u8(weight * r->fill[c]);
    }
}

static bool pass_vertical(const struct axis *axis, const uint8_t *mid, const uint8_t *bare, uint8_t *out,
                          size_t row_len, size_t n_out, struct err *err) {
    int32_t *sums = try_malloc_array(row_len, sizeof *sums, "resize row", err);
    if (!sums)
        return false;
    for (size_t i = 0; i < n_out; i++) {
        const struct taps *t = &axis->taps[i];
        // Below 2^31 in any order: 255 * sum of |weights|, which is at most 1.6 * 2^22.
        for (size_t x = 0; x < row_len; x++)
            sums[x] = (int32_t)t->canvas_weight * bare[x];
        for (size_t k = 0; k < t->n; k++) {
            const uint8_t *row = mid + (t->first + k) * row_len;
            int32_t weight = axis->weights[t->at + k];
            for (size_t x = 0; x < row_len; x++)
                sums[x] += weight * row[x];
        }
        for (size_t x = 0; x < row_len; x++)
            out[i * row_len + x] = to_u8(sums[x]);
    }
    free(sums);
    return true;
}

bool resize_image(const struct resize *r, uint8_t *out, size_t out_width_px, size_t out_height_px,
                  struct err *err) {
    const struct filter *f = &filters[r->filter];
    struct axis across = {0}, down = {0};
    uint8_t *mid = NULL, *bare = NULL;
    size_t row_len = out_width_px * 3;
    bool ok = false;
    if (!axis_init(&across, f, r->width_px, r->left_px, r->canvas_width_px, out_width_px, err) ||
        !axis_init(&down, f, r->height_px, r->top_px, r->canvas_height_px, out_height_px, err))
        goto fail;
    mid = try_malloc_array(r->height_px, row_len, "resize", err);
    bare = try_malloc(row_len, "resize row", err);
    if (!mid || !bare)
        goto fail;
    if (!pass_horizontal(r, &across, mid, out_width_px, err))
        goto fail;
    canvas_row(r, &across, bare, out_width_px);
    ok = pass_vertical(&down, mid, bare, out, row_len, out_height_px, err);
fail:
    free(mid);
    free(bare);
    axis_clear(&across);
    axis_clear(&down);
    return ok;
}
