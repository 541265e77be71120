// Pillow's resizes: values that Pillow 9.4 gave for a small formula picture on a canvas, the checksums of 60
// resizes of random pictures (tests/reference/resize.py), and shapes without a canvas.
#include "check.h"

#include "base/sha256.h"
#include "vision/resize.h"

static uint8_t *make_picture(size_t width_px, size_t height_px) {
    uint8_t *rgb = malloc(3 * width_px * height_px);
    for (size_t i = 0; i < 3 * width_px * height_px; i++)
        rgb[i] = (uint8_t)(i * 37 % 251);
    return rgb;
}

static struct resize centred(const uint8_t *rgb, size_t width_px, size_t height_px) {
    size_t side = width_px > height_px ? width_px : height_px;
    return (struct resize){.rgb = rgb,
                           .width_px = width_px,
                           .height_px = height_px,
                           .canvas_width_px = side,
                           .canvas_height_px = side,
                           .left_px = (side - width_px) / 2,
                           .top_px = (side - height_px) / 2,
                           .fill = {122, 116, 104}};
}

static void check_values(size_t width_px, size_t height_px, size_t s, const uint8_t *want) {
    struct err err = {0};
    uint8_t *rgb = make_picture(width_px, height_px), *out = malloc(3 * s * s);
    struct resize r = centred(rgb, width_px, height_px);
    CHECK(resize_image(&r, out, s, s, &err));
    for (size_t i = 0; i < 3 * s * s; i++)
        if (out[i] != want[i]) {
            printf("%zux%zu to %zu: byte %zu is %u, want %u\n", width_px, height_px, s, i, out[i], want[i]);
            check_failed++;
            break;
        }
    free(rgb);
    free(out);
}

// A canvas of 65500 x 65500 would be 12.9 GB.
static void check_thin(void) {
    struct err err = {0};
    enum { S = 14 };
    uint8_t *rgb = make_picture(65500, 2), out[3 * S * S];
    struct resize r = centred(rgb, 65500, 2);
    CHECK(resize_image(&r, out, S, S, &err));
    CHECK(out[0] == 122 && out[1] == 116 && out[2] == 104);
    free(rgb);
}

// The pictures of tests/reference/resize.py: every fourth line is noise, the others change slowly.
static uint8_t *make_random(size_t width_px, size_t height_px) {
    size_t n_line = 3 * width_px;
    uint32_t seed = (uint32_t)width_px;
    uint8_t *rgb = malloc(n_line * height_px);
    for (size_t y = 0; y < height_px; y++) {
        seed = seed * 1664525 + 1013904223;
        for (size_t x = 0; x < n_line; x++) {
            size_t i = y * n_line + x;
            uint32_t noise = (seed + (uint32_t)i * 2654435761u) >> 24;
            uint32_t smooth = (seed >> 24) / 2 + (uint32_t)(x * 127 / n_line);
            rgb[i] = (uint8_t)(y % 4 == 3 ? noise : smooth);
        }
    }
    return rgb;
}

static void check_random(void) {
    static const char *const names[] = {
        [RESIZE_BICUBIC] = "bicubic", [RESIZE_BILINEAR] = "bilinear", [RESIZE_LANCZOS] = "lanczos"};
    FILE *f = fopen("tests/vision/resize.txt", "r");
    CHECK(f);
    char name[16], want[SHA256_HEX_SIZE], got[SHA256_HEX_SIZE];
    size_t w, h, to_w, to_h, n_cases = 0;
    while (f && fscanf(f, "%15s %zu %zu %zu %zu %64s", name, &w, &h, &to_w, &to_h, want) == 6) {
        struct err err = {0};
        uint8_t *rgb = make_random(w, h), *out = malloc(3 * to_w * to_h);
        struct resize r = {
            .rgb = rgb, .width_px = w, .height_px = h, .canvas_width_px = w, .canvas_height_px = h};
        while (r.filter < RESIZE_LANCZOS && strcmp(names[r.filter], name) != 0)
            r.filter++;
        CHECK(resize_image(&r, out, to_w, to_h, &err));
        sha256_hex(out, 3 * to_w * to_h, got);
        if (strcmp(got, want) != 0) {
            printf("%s %zux%zu to %zux%zu: not what Pillow gives\n", names[r.filter], w, h, to_w, to_h);
            check_failed++;
        }
        n_cases++;
        free(rgb);
        free(out);
    }
    CHECK(n_cases == 60);
    if (f)
        fclose(f);
}

int main(void) {
    static const uint8_t shrunk[] = {121, 116, 105, 123, 116, 105, 122, 116, 106, 123, 118, 104,
                                     123, 125, 124, 128, 124, 119, 128, 123, 120, 126, 124, 124,
                                     125, 120, 126, 122, 125, 125, 123, 128, 121, 123, 124, 126,
                                     122, 116, 105, 122, 117, 107, 122, 117, 105, 120, 117, 107};
    static const uint8_t grown[] = {0,   31,  68, 28,  79,  119, 113, 150, 187, 125, 133, 138, 123, 114, 98,
                                    83,  8,   57, 86,  61,  107, 102, 139, 176, 116, 129, 134, 124, 115, 99,
                                    233, 0,   37, 171, 47,  86,  82,  119, 156, 102, 122, 127, 125, 116, 100,
                                    225, 155, 17, 157, 132, 65,  62,  99,  136, 95,  108, 120, 126, 117, 101,
                                    202, 255, 6,  139, 190, 54,  51,  88,  125, 91,  99,  116, 127, 118, 102};
    check_values(23, 11, 4, shrunk);
    check_values(2, 3, 5, grown);
    check_thin();
    check_random();
    return check_result();
}
