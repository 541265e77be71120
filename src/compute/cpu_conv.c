// Depthwise convolutions on the CPU.
//
// takes x [n_grids, n_lines, n_cols, n] f32, w [3, 3, n]
// gives y [n_grids, ceil(n_lines / stride), ceil(n_cols / stride), n]
//
// Rows hold all channels of a place, so a kernel of one weight a channel is a product of rows, value by value.
#include "compute/cpu_backend.h"

#include <string.h>

enum { KERNEL_SIDE = 3 };

struct conv_job {
    float *y;
    const float *x, *w, *b;
    struct grid grid;
    size_t out_lines, out_cols, n;
};

static void add_product(float *y, const float *x, const float *w, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] += x[i] * w[i];
}

// The row of y in this column, whose kernel has its middle on line `line` of the grid.
static void conv_row(const struct conv_job *j, float *y, const float *grid, size_t line, size_t col) {
    const struct grid *g = &j->grid;
    size_t n = j->n, middle = KERNEL_SIDE / 2;
    if (j->b)
        memcpy(y, j->b, n * sizeof *y);
    else
        memset(y, 0, n * sizeof *y);
    for (size_t ky = 0; ky < KERNEL_SIDE; ky++)
        for (size_t kx = 0; kx < KERNEL_SIDE; kx++) {
            size_t at_line = line + ky, at_col = col + kx; // moved by `middle`, so that they are not negative
            if (at_line < middle || at_line >= g->n_lines + middle || at_col < middle ||
                at_col >= g->n_cols + middle)
                continue;
            const float *x = grid + ((at_line - middle) * g->n_cols + at_col - middle) * n;
            add_product(y, x, j->w + (ky * KERNEL_SIDE + kx) * n, n);
        }
}

static void conv_line(void *ctx, size_t i, size_t thread) {
    (void)thread;
    const struct conv_job *j = ctx;
    const struct grid *g = &j->grid;
    const float *grid = j->x + i / j->out_lines * g->n_lines * g->n_cols * j->n;
    for (size_t col = 0; col < j->out_cols; col++)
        conv_row(j, j->y + (i * j->out_cols + col) * j->n, grid, i % j->out_lines * g->stride,
                 col * g->stride);
}

void cpu_conv_rows(struct ops *o, float *y, const float *x, const float *w, const float *b,
                   const struct grid *grid, size_t n) {
    struct conv_job j = {.y = y,
                         .x = x,
                         .w = w,
                         .b = b,
                         .grid = *grid,
                         .out_lines = (grid->n_lines + grid->stride - 1) / grid->stride,
                         .out_cols = (grid->n_cols + grid->stride - 1) / grid->stride,
                         .n = n};
    size_t n_out = grid->n_grids * j.out_lines;
    cpu_run((struct cpu *)o, n_out, n_out * j.out_cols * n * KERNEL_SIDE * KERNEL_SIDE, conv_line, &j);
}
