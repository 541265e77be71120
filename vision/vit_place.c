// Order and position embeddings of patches. Attention does not mind the order of rows, so patches stand as
// the projector wants them: the patches of a cell side by side, and the cells of a window.
//
// Sources: Hugging Face Qwen2_5_VisionTransformer.get_window_index; Idefics3VisionEmbeddings and MiniCPM-V's
// navit SigLIP (buckets); Qwen3VLVisionModel.fast_pos_embed_interpolate (bilinear).
#include "vision/vit_place.h"

#include "base/sizes.h"

#include <math.h>
#include <string.h>

size_t vit_place_order(const struct vision_hparams *hp, size_t n_cols, size_t n_lines, size_t *order,
                       size_t *ends) {
    size_t merge = hp->merge, cols = n_cols / merge, lines = n_lines / merge, n = 0, n_windows = 0;
    size_t window = hp->window ? hp->window : cols > lines ? cols : lines;
    for (size_t wy = 0; wy < lines; wy += window)
        for (size_t wx = 0; wx < cols; wx += window) {
            for (size_t y = wy; y < size_min(wy + window, lines); y++)
                for (size_t x = wx; x < size_min(wx + window, cols); x++)
                    for (size_t i = 0; i < merge * merge; i++)
                        order[n++] = (y * merge + i / merge) * n_cols + x * merge + i % merge;
            ends[n_windows++] = n;
        }
    return n_windows;
}

size_t vit_place_cell(const struct vision_hparams *hp, size_t n_cols, size_t patch) {
    return patch / n_cols / hp->merge * (n_cols / hp->merge) + patch % n_cols / hp->merge;
}

enum { LANES = 8 };

// Element i of torch.arange(first, end, step) of n f32 values: groups of 8 lanes begin at an f32, the rest of
// the array is made one by one. Which bucket a patch falls into can hang on it.
static float arange(double first, double step, size_t i, size_t n) {
    size_t lane = i < n / LANES * LANES ? i % LANES : 0;
    float group = (float)(first + step * (double)(i - lane));
    return lane ? (float)((double)group + step * (double)lane) : group;
}

// How many of the borders 1/side, 2/side .. the fraction i/n of the way has reached.
static size_t bucket(size_t i, size_t n, size_t side) {
    float fraction = arange(0, 1.0 / (double)n, i, n);
    size_t at = 0;
    while (at + 1 < side && arange(1.0 / (double)side, 1.0 / (double)side, at, side - 1) <= fraction)
        at++;
    return at;
}

static void add_scaled(float *out, const float *row, float by, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] += by * row[i];
}

// The table stretched over the tile, its corners on the corners.
static void embed_bilinear(const float *table, size_t side, size_t n_embd, double y, double x, float *out) {
    size_t y0 = (size_t)y, x0 = (size_t)x, y1 = size_min(y0 + 1, side - 1), x1 = size_min(x0 + 1, side - 1);
    float down = (float)(y - (double)y0), across = (float)(x - (double)x0);
    add_scaled(out, table + (y0 * side + x0) * n_embd, (1 - down) * (1 - across), n_embd);
    add_scaled(out, table + (y0 * side + x1) * n_embd, (1 - down) * across, n_embd);
    add_scaled(out, table + (y1 * side + x0) * n_embd, down * (1 - across), n_embd);
    add_scaled(out, table + (y1 * side + x1) * n_embd, down * across, n_embd);
}

static double stretched(size_t i, size_t n, size_t side) {
    return n > 1 ? (double)i * (double)(side - 1) / (double)(n - 1) : 0;
}

void vit_place_embed(const struct vision_model *m, size_t n_cols, size_t n_lines, const size_t *order,
                     float *out) {
    size_t n_embd = m->hp.n_embd, side = m->hp.table_side;
    enum vision_position kind = m->hp.family->position;
    memset(out, 0, n_cols * n_lines * n_embd * sizeof *out);
    for (size_t i = 0; kind != POSITION_NONE && i < n_cols * n_lines; i++) {
        const float *table = m->position_table + m->hp.has_class * n_embd;
        size_t y = order[i] / n_cols, x = order[i] % n_cols;
        if (kind == POSITION_BILINEAR) {
            embed_bilinear(table, side, n_embd, stretched(y, n_lines, side), stretched(x, n_cols, side),
                           out + i * n_embd);
            continue;
        }
        if (kind == POSITION_BUCKETS) {
            y = bucket(y, n_lines, side);
            x = bucket(x, n_cols, side);
        }
        memcpy(out + i * n_embd, table + (y * side + x) * n_embd, n_embd * sizeof *out);
    }
}
