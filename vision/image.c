// Bytes -> rgb: magic bytes choose the decoder, limits come before memory, EXIF orientation comes last.
//
// Source of the orientations: EXIF 2.32, tag 0x0112, and Pillow's ImageOps.exif_transpose.
#include "vision/image.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static const uint8_t JPEG_MAGIC[] = {0xff, 0xd8, 0xff};
static const uint8_t PNG_MAGIC[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static bool starts_with(const uint8_t *bytes, size_t size_bytes, size_t at, const char *magic, size_t n) {
    return size_bytes >= at + n && memcmp(bytes + at, magic, n) == 0;
}

// ISO base media files name their kind in the brand that follows "ftyp".
static const char *media_name(const uint8_t *bytes, size_t size_bytes) {
    static const char *const heic[] = {"heic", "heix", "heim", "heis", "hevc", "mif1", "msf1"};
    if (starts_with(bytes, size_bytes, 8, "avif", 4) || starts_with(bytes, size_bytes, 8, "avis", 4))
        return "AVIF";
    for (size_t i = 0; i < sizeof heic / sizeof *heic; i++)
        if (starts_with(bytes, size_bytes, 8, heic[i], 4))
            return "HEIC";
    return "a video or other ISO media file";
}

static bool looks_like_svg(const uint8_t *bytes, size_t size_bytes) {
    size_t at = starts_with(bytes, size_bytes, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < size_bytes && (bytes[at] == ' ' || (bytes[at] >= '\t' && bytes[at] <= '\r')))
        at++;
    return starts_with(bytes, size_bytes, at, "<svg", 4) || starts_with(bytes, size_bytes, at, "<?xml", 5);
}

static const char *other_name(const uint8_t *bytes, size_t size_bytes) {
    static const struct {
        const char *name, *magic;
        size_t at, n;
    } others[] = {
        {"GIF", "GIF8", 0, 4},
        {"WebP", "WEBP", 8, 4},
        {"BMP", "BM", 0, 2},
        {"TIFF", "II*\0", 0, 4},
        {"TIFF", "MM\0*", 0, 4},
        {"PDF", "%PDF", 0, 4},
        {"JPEG XL", "\xff\x0a", 0, 2},
        {"JPEG XL", "\0\0\0\x0cJXL ", 0, 8},
        {"JPEG 2000", "\0\0\0\x0cjP  ", 0, 8},
        {"ICO", "\0\0\1\0", 0, 4},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (starts_with(bytes, size_bytes, others[i].at, others[i].magic, others[i].n))
            return others[i].name;
    if (starts_with(bytes, size_bytes, 4, "ftyp", 4))
        return media_name(bytes, size_bytes);
    return looks_like_svg(bytes, size_bytes) ? "SVG" : NULL;
}

static bool refuse_format(const uint8_t *bytes, size_t size_bytes, struct err *err) {
    if (size_bytes == 0)
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: empty file (want JPEG or PNG)");
    const char *name = other_name(bytes, size_bytes);
    if (name)
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: %s (want JPEG or PNG)", name);
    char hex[3 * 8 + 1] = "";
    for (size_t i = 0; i < size_bytes && i < 8; i++)
        snprintf(hex + 3 * i, 4, " %02x", bytes[i]);
    return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: starts with%s (want JPEG or PNG)", hex);
}

// True where the bytes begin as `magic` does, as far as they go.
static bool has_magic(const uint8_t *bytes, size_t size_bytes, const uint8_t *magic, size_t n) {
    return size_bytes > 0 && memcmp(bytes, magic, size_bytes < n ? size_bytes : n) == 0;
}

static bool check_size(struct image_info *info, const struct vision_options *limits, struct err *err) {
    size_t w = info->width_px, h = info->height_px, n_pixels;
    if (w == 0 || h == 0)
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: %zux%zu pixels, want at least 1x1", w, h);
    if (w > IMAGE_SIDE_MAX || h > IMAGE_SIDE_MAX)
        return err_set(err, ERR_IMAGE_TOO_LARGE, "image: %zux%zu pixels, want sides of at most %d", w, h,
                       IMAGE_SIDE_MAX);
    unsigned denom_max = info->format == IMAGE_JPEG ? 8 : 1;
    for (info->scale_denom = 1; info->scale_denom <= denom_max; info->scale_denom *= 2) {
        size_t d = info->scale_denom;
        if (size_mul((w + d - 1) / d, (h + d - 1) / d, &n_pixels) && n_pixels <= limits->max_pixels)
            return true;
    }
    return err_set(err, ERR_IMAGE_TOO_LARGE, "image: %zux%zu = %zu pixels, want at most %zu%s", w, h, w * h,
                   limits->max_pixels, denom_max > 1 ? " after reducing a JPEG 8 times" : "");
}

bool image_probe(const uint8_t *bytes, size_t size_bytes, const struct vision_options *limits,
                 struct image_info *info, struct err *err) {
    if (size_bytes > limits->max_image_bytes)
        return err_set(err, ERR_IMAGE_TOO_LARGE, "image: %zu bytes, want at most %zu", size_bytes,
                       limits->max_image_bytes);
    *info = (struct image_info){.orientation = 1, .scale_denom = 1};
    if (has_magic(bytes, size_bytes, JPEG_MAGIC, sizeof JPEG_MAGIC)) {
        info->format = IMAGE_JPEG;
        if (!image_jpeg_header(bytes, size_bytes, info, err))
            return false;
    } else if (has_magic(bytes, size_bytes, PNG_MAGIC, sizeof PNG_MAGIC)) {
        info->format = IMAGE_PNG;
        if (!image_png_header(bytes, size_bytes, info, err))
            return false;
    } else {
        return refuse_format(bytes, size_bytes, err);
    }
    return check_size(info, limits, err);
}

// dst pixel (x, y) comes from (x, y), or (y, x) with orientations 5-8, counted from the far end where
// flipped.
static bool orient(struct image *image, unsigned orientation, struct err *err) {
    enum { BLOCK = 32 }; // a transposing copy walks columns: square blocks keep both sides in the cache
    if (orientation <= 1)
        return true;
    bool swap = orientation >= 5;
    bool flip_x = orientation == 2 || orientation == 3 || orientation >= 7;
    bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    size_t w = image->width_px, h = image->height_px;
    size_t out_w = swap ? h : w, out_h = swap ? w : h;
    uint8_t *out = try_malloc(w * h * 3, "turned image", err); // the product fits: image->rgb has this size
    if (!out)
        return false;
    for (size_t y0 = 0; y0 < out_h; y0 += BLOCK)
        for (size_t x0 = 0; x0 < out_w; x0 += BLOCK)
            for (size_t y = y0; y < y0 + BLOCK && y < out_h; y++)
                for (size_t x = x0; x < x0 + BLOCK && x < out_w; x++) {
                    size_t src_x = swap ? y : x, src_y = swap ? x : y;
                    src_x = flip_x ? w - 1 - src_x : src_x;
                    src_y = flip_y ? h - 1 - src_y : src_y;
                    memcpy(out + 3 * (y * out_w + x), image->rgb + 3 * (src_y * w + src_x), 3);
                }
    free(image->rgb);
    *image = (struct image){.rgb = out, .width_px = out_w, .height_px = out_h};
    return true;
}

bool image_decode(const uint8_t *bytes, size_t size_bytes, const struct vision_options *limits,
                  struct image *image, struct err *err) {
    struct image_info info;
    size_t n_pixels;
    *image = (struct image){0};
    if (!image_probe(bytes, size_bytes, limits, &info, err))
        return false;
    image->width_px = (info.width_px + info.scale_denom - 1) / info.scale_denom;
    image->height_px = (info.height_px + info.scale_denom - 1) / info.scale_denom;
    if (!size_mul(image->width_px, image->height_px, &n_pixels)) {
        err_set(err, ERR_IMAGE_TOO_LARGE, "image: %zux%zu pixels overflow", image->width_px,
                image->height_px);
        goto fail;
    }
    image->rgb = try_malloc_array(n_pixels, 3, "image", err);
    if (!image->rgb)
        goto fail;
    bool ok = info.format == IMAGE_JPEG ? image_jpeg_decode(bytes, size_bytes, image, err)
                                        : image_png_decode(bytes, size_bytes, image, err);
    if (!ok || !orient(image, info.orientation, err))
        goto fail;
    return true;
fail:
    image_clear(image);
    return false;
}

void image_clear(struct image *image) {
    free(image->rgb);
    *image = (struct image){0};
}
