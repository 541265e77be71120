// Repacking of weights into panels, one description a type.
#define _DEFAULT_SOURCE // madvise, MAP_ANONYMOUS
#include "compute/cpu_panels.h"

#include "base/mem.h"
#include "compute/quant_blocks.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

const struct panel_type *panel_type(enum tensor_type type) {
    static const struct panel_type types[TENSOR_TYPES] = {
        [TENSOR_Q8_0] = {2, {{0, 2, 2}, {2, 32, 4}}, 0},
        [TENSOR_Q4_0] = {2, {{0, 2, 2}, {2, 16, 4}}, 0},
        [TENSOR_Q4_1] = {2, {{0, 4, 2}, {4, 16, 4}}, 0},
        [TENSOR_Q5_0] = {3, {{0, 2, 2}, {2, 4, 4}, {6, 16, 4}}, 2},
        [TENSOR_Q5_1] = {3, {{0, 4, 2}, {4, 4, 4}, {8, 16, 4}}, 4},
        [TENSOR_IQ4_NL] = {2, {{0, 2, 2}, {2, 16, 4}}, 0},
        [TENSOR_MXFP4] = {2, {{0, 1, 1}, {1, 16, 4}}, 0},
        [TENSOR_Q2_K] = {3, {{0, 16, 1}, {16, 64, 4}, {80, 4, 2}}, 0},
        [TENSOR_Q3_K] = {3, {{0, 96, 4}, {96, 12, 1}, {108, 2, 2}}, 0},
        [TENSOR_Q4_K] = {3, {{0, 4, 2}, {4, 12, 1}, {16, 128, 4}}, 0},
        [TENSOR_Q5_K] = {3, {{0, 4, 2}, {4, 12, 1}, {16, 160, 4}}, 0},
        [TENSOR_Q6_K] = {8,
                         {{208, 2, 2},
                          {192, 16, 1},
                          {0, 32, 4}, // low bits of runs 0 and 2, then the high bits of all four
                          {128, 32, 4},
                          {32, 32, 4},
                          {64, 32, 4},
                          {160, 32, 4},
                          {96, 32, 4}},
                         0},
        [TENSOR_IQ4_XS] = {3, {{0, 4, 2}, {4, 4, 1}, {8, 128, 4}}, 0},
    };
    size_t id = (size_t)type;
    return id < TENSOR_TYPES && types[id].n_fields ? &types[id] : NULL;
}

// Bit i of 32 to bit i / 4 of byte i % 4: where the vector of inputs 4 j .. 4 j + 3 finds them by one shift.
static void sort_bits(uint8_t bits[4]) {
    uint8_t sorted[4] = {0};
    for (size_t i = 0; i < 32; i++)
        sorted[i % 4] = (uint8_t)(sorted[i % 4] | (bits[i / 8] >> (i % 8) & 1) << (i / 4));
    memcpy(bits, sorted, sizeof sorted);
}

static void unsort_bits(uint8_t bits[4]) {
    uint8_t unsorted[4] = {0};
    for (size_t i = 0; i < 32; i++)
        unsorted[i / 8] = (uint8_t)(unsorted[i / 8] | (bits[i % 4] >> (i / 4) & 1) << (i % 8));
    memcpy(bits, unsorted, sizeof unsorted);
}

typedef uint32_t four_units __attribute__((vector_size(16)));

// Four units of 4 bytes of four outputs: 4 x 4 transposed.
static inline void interleave_4x4(uint8_t *to, const uint8_t *from, size_t from_stride) {
    four_units a, b, c, d;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + from_stride, sizeof b);
    memcpy(&c, from + 2 * from_stride, sizeof c);
    memcpy(&d, from + 3 * from_stride, sizeof d);
    four_units ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    four_units unit[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                          __builtin_shufflevector(ab, cd, 2, 3, 6, 7)};
    ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    unit[2] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    unit[3] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    for (size_t i = 0; i < 4; i++)
        memcpy(to + i * PANEL_OUTS * 4, &unit[i], sizeof unit[i]);
}

// Field [16, size] to [size / unit, 16, unit].
static inline __attribute__((always_inline)) void interleave(uint8_t *to, const uint8_t *from,
                                                             size_t from_stride, size_t size,
                                                             const size_t unit) {
    size_t first = unit == 4 ? size / 16 * 16 : 0;
    for (size_t at = 0; at < first; at += 16)
        for (size_t out = 0; out < PANEL_OUTS; out += 4)
            interleave_4x4(to + at * PANEL_OUTS + out * 4, from + out * from_stride + at, from_stride);
    for (size_t out = 0; out < PANEL_OUTS; out++)
        for (size_t at = first; at < size; at += unit)
            memcpy(to + at * PANEL_OUTS + out * unit, from + out * from_stride + at, unit);
}

static void pack_block(uint8_t *to, const struct panel_type *p, const uint8_t *from, size_t from_stride) {
    size_t at = 0;
    for (size_t f = 0; f < p->n_fields; f++) {
        size_t size = p->fields[f].size_bytes, unit = p->fields[f].unit_bytes;
        uint8_t *field = to + at * PANEL_OUTS;
        const uint8_t *field_from = from + p->fields[f].from;
        if (unit == 4)
            interleave(field, field_from, from_stride, size, 4);
        else if (unit == 2)
            interleave(field, field_from, from_stride, size, 2);
        else
            interleave(field, field_from, from_stride, size, 1);
        at += size;
    }
    for (size_t out = 0; p->bits_at && out < PANEL_OUTS; out++)
        sort_bits(to + p->bits_at * PANEL_OUTS + out * 4);
}

void panel_pack(uint8_t *panel, const struct panel_type *p, enum tensor_type type, const uint8_t *rows,
                size_t row_bytes, size_t n_outs) {
    enum { BLOCK_BYTES_MAX = sizeof(struct q6_k) };
    size_t block_bytes = quant_traits(type)->block_bytes;
    uint8_t filled[PANEL_OUTS * BLOCK_BYTES_MAX] = {0};
    for (size_t at = 0; at < row_bytes; at += block_bytes) {
        if (n_outs == PANEL_OUTS) {
            pack_block(panel + at * PANEL_OUTS, p, rows + at, row_bytes);
            continue;
        }
        for (size_t out = 0; out < n_outs; out++)
            memcpy(filled + out * block_bytes, rows + out * row_bytes + at, block_bytes);
        pack_block(panel + at * PANEL_OUTS, p, filled, block_bytes);
    }
}

void panel_unpack_row(uint8_t *row, const struct panel_type *p, enum tensor_type type, const uint8_t *panel,
                      size_t row_bytes, size_t out) {
    size_t block_bytes = quant_traits(type)->block_bytes;
    for (size_t begin = 0; begin < row_bytes; begin += block_bytes) {
        size_t at = begin;
        for (size_t f = 0; f < p->n_fields; f++) {
            size_t unit = p->fields[f].unit_bytes;
            uint8_t *to = row + begin + p->fields[f].from;
            for (size_t i = 0; i < p->fields[f].size_bytes; i += unit, at += unit)
                memcpy(to + i, panel + at * PANEL_OUTS + out * unit, unit);
        }
        assert(at == begin + block_bytes);
        if (p->bits_at)
            unsort_bits(row + begin + p->bits_at);
    }
}

size_t panel_scratch_bytes(size_t n_rows) {
    return sizeof(struct panel_scratch) + TILE_PANELS_MAX * n_rows * PANEL_OUTS * sizeof(float);
}

enum {
    HUGE_PAGE = 2 << 20,
    ARENA_BYTES = 32 * HUGE_PAGE, // of addresses: what is not used stays without memory
    ALIGNMENT = 64,
};

static size_t whole_pages(size_t size_bytes) {
    return (size_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

// Huge pages need an address that is a multiple of theirs; what lies outside is given back.
void *pages_map(size_t size_bytes) {
    if (size_bytes > SIZE_MAX / 2)
        return NULL;
    size_t size = whole_pages(size_bytes);
    uint8_t *base = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)base % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(base, before);
    munmap(base + before + size, HUGE_PAGE - before);
    madvise(base + before, size, MADV_HUGEPAGE); // a wish: without it only speed differs
    return base + before;
}

void pages_unmap(void *p, size_t size_bytes) {
    if (p)
        munmap(p, whole_pages(size_bytes));
}

void *panels_take(struct panel_arena **newest, size_t size_bytes) {
    struct panel_arena *a = *newest;
    if (size_bytes > SIZE_MAX / 2)
        return NULL;
    size_bytes = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!a || a->size_bytes - a->used_bytes < size_bytes) {
        size_t arena_bytes = size_bytes > ARENA_BYTES ? size_bytes : ARENA_BYTES;
        uint8_t *data = pages_map(arena_bytes);
        if (!data)
            return NULL;
        panels_give(a);
        *newest = a = xcalloc(1, sizeof *a);
        *a = (struct panel_arena){.data = data, .size_bytes = arena_bytes, .n_users = 1};
    }
    uint8_t *taken = a->data + a->used_bytes;
    a->used_bytes += size_bytes;
    a->n_users++;
    return taken;
}

void panels_give(struct panel_arena *a) {
    if (!a || --a->n_users > 0)
        return;
    pages_unmap(a->data, a->size_bytes);
    free(a);
}
