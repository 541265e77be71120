// PNG -> rgb: every colour type and depth, interlaced or not, alpha over white. libpng's row API only.
//
// 16-bit samples keep their high byte, as Pillow does. Colour over white with alpha a:
// (c a + 255 (255 - a)) / 255, rounded. All setjmp of the project is in this file, in read_pixels.
#include "vision/exif.h"
#include "vision/image.h"

#include "base/mem.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SIGNATURE_SIZE = 8,
    CHUNK_OVERHEAD = 12, // length, type, CRC
    IHDR_SIZE = 13,
    CHUNK_CACHE_MAX = 64,
    CHUNK_MALLOC_MAX = 16 << 20,
};

struct png_job { // all that outlives a longjmp
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t size_bytes, at;
    const struct image *image;
    uint8_t *rgba; // [height, width, 4] u8, only for a picture with alpha
    char why[160];
};

static uint32_t read_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// A PNG's eXIf chunk may stand before or behind the pixels.
static unsigned find_orientation(const uint8_t *bytes, size_t size_bytes) {
    size_t at = SIGNATURE_SIZE;
    while (size_bytes - at >= CHUNK_OVERHEAD) {
        size_t length = read_u32(bytes + at);
        if (length > size_bytes - at - CHUNK_OVERHEAD)
            break;
        if (memcmp(bytes + at + 4, "eXIf", 4) == 0)
            return exif_orientation(bytes + at + 8, length);
        at += CHUNK_OVERHEAD + length;
    }
    return 1;
}

bool image_png_header(const uint8_t *bytes, size_t size_bytes, struct image_info *info, struct err *err) {
    if (size_bytes < SIGNATURE_SIZE + CHUNK_OVERHEAD + IHDR_SIZE)
        return err_set(err, ERR_IMAGE_TRUNCATED, "image: PNG of %zu bytes ends inside its header",
                       size_bytes);
    const uint8_t *chunk = bytes + SIGNATURE_SIZE;
    if (read_u32(chunk) != IHDR_SIZE || memcmp(chunk + 4, "IHDR", 4) != 0)
        return err_set(err, ERR_IMAGE_TRUNCATED, "image: damaged PNG: does not begin with an IHDR chunk");
    info->width_px = read_u32(chunk + 8);
    info->height_px = read_u32(chunk + 12);
    info->orientation = find_orientation(bytes, size_bytes);
    return true;
}

static void on_error(png_structp png, png_const_charp message) {
    struct png_job *job = png_get_error_ptr(png);
    snprintf(job->why, sizeof job->why, "%s", message);
    png_longjmp(png, 1);
}

// A warning concerns chunks that are not used here; what damages pixels is an error.
static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep out, size_t n) {
    struct png_job *job = png_get_io_ptr(png);
    if (n > job->size_bytes - job->at)
        png_error(png, "the file ends early");
    memcpy(out, job->bytes + job->at, n);
    job->at += n;
}

static void set_up(struct png_job *job) {
    png_structp png = job->png;
    png_set_read_fn(png, job, on_read);
    png_set_user_limits(png, IMAGE_SIDE_MAX, IMAGE_SIDE_MAX);
    png_set_chunk_cache_max(png, CHUNK_CACHE_MAX);
    png_set_chunk_malloc_max(png, CHUNK_MALLOC_MAX);
    // Text, profiles and other chunks that say nothing about the pixels are skipped, never unpacked.
    static const png_byte skipped[] = "iCCP\0tEXt\0zTXt\0iTXt\0sPLT\0eXIf\0hIST\0pCAL\0sCAL\0tIME";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, sizeof skipped / 5);
    png_read_info(png, job->info);
    png_set_expand(png); // palette -> rgb, grey of 1, 2, 4 bits -> 8, tRNS -> alpha
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
}

// False after a libpng error. Nothing local is read after the jump back.
static bool read_pixels(struct png_job *job) {
    if (setjmp(png_jmpbuf(job->png)))
        return false;
    set_up(job);
    int n_passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    size_t width_px = job->image->width_px, height_px = job->image->height_px;
    size_t n_channels = png_get_channels(job->png, job->info);
    if (png_get_image_width(job->png, job->info) != width_px ||
        png_get_image_height(job->png, job->info) != height_px || (n_channels != 3 && n_channels != 4) ||
        png_get_rowbytes(job->png, job->info) != width_px * n_channels)
        png_error(job->png, "rows of an unexpected size");
    uint8_t *rows = job->image->rgb;
    if (n_channels == 4) {
        struct err err = {0};
        rows = job->rgba = try_malloc_array(width_px * height_px, 4, "image", &err);
        if (!rows)
            png_error(job->png, "no memory");
    }
    for (int pass = 0; pass < n_passes; pass++)
        for (size_t y = 0; y < height_px; y++)
            png_read_row(job->png, rows + y * width_px * n_channels, NULL);
    png_read_end(job->png, NULL);
    return true;
}

static void blend_over_white(uint8_t *rgb, const uint8_t *rgba, size_t n_pixels) {
    for (size_t i = 0; i < n_pixels; i++, rgba += 4, rgb += 3)
        for (size_t c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((rgba[c] * rgba[3] + 255 * (255 - rgba[3]) + 127) / 255);
}

bool image_png_decode(const uint8_t *bytes, size_t size_bytes, const struct image *image, struct err *err) {
    struct png_job job = {.bytes = bytes, .size_bytes = size_bytes, .image = image};
    bool ok = false;
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    if (job.png)
        job.info = png_create_info_struct(job.png);
    if (!job.png || !job.info) {
        err_set(err, ERR_NOMEM, "image: no memory for a PNG decoder");
        goto fail;
    }
    if (!read_pixels(&job)) {
        err_set(err, ERR_IMAGE_TRUNCATED, "image: damaged or cut short PNG: %s", job.why);
        goto fail;
    }
    if (job.rgba)
        blend_over_white(image->rgb, job.rgba, image->width_px * image->height_px);
    ok = true;
fail:
    free(job.rgba);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    return ok;
}
