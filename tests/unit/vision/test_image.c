// Picture files that are turned, cut short, hostile or of another kind.
#include "check.h"

#include "vision/exif.h"
#include "vision/image.h"

#define FOLDER "tests/golden/vision/tiny/"

static const struct vision_options LIMITS = {.max_image_bytes = 20 << 20, .max_pixels = 64 * 1000 * 1000};

// Puts n bytes at a place of a file. Returns new.
static uint8_t *with_bytes(const uint8_t *file, size_t size_bytes, size_t at, const uint8_t *bytes, size_t n,
                           size_t *out_size) {
    uint8_t *out = malloc(size_bytes + n);
    memcpy(out, file, at);
    memcpy(out + at, bytes, n);
    memcpy(out + at + n, file + at, size_bytes - at);
    *out_size = size_bytes + n;
    return out;
}

// An EXIF block with this orientation behind the SOI of a JPEG. Returns new.
static uint8_t *jpeg_with_exif(const uint8_t *jpeg, size_t size_bytes, uint8_t orientation,
                               size_t *out_size) {
    const uint8_t app1[] = {0xff, 0xe1, 0, 34, 'E', 'x',         'i', 'f', 0, 0,    'M', 'M',
                            0,    42,   0, 0,  0,   8,           0,   1,   1, 0x12, 0,   3,
                            0,    0,    0, 1,  0,   orientation, 0,   0,   0, 0,    0,   0};
    return with_bytes(jpeg, size_bytes, 2, app1, sizeof app1, out_size);
}

// The same in an eXIf chunk behind the header of a PNG. Returns new.
static uint8_t *png_with_exif(const uint8_t *png, size_t size_bytes, uint8_t orientation, size_t *out_size) {
    enum { HEADER_END = 33, LEN = 26 };
    uint8_t chunk[12 + LEN] = {0, 0, 0, LEN, 'e', 'X',  'I', 'f', 'I', 'I', 42, 0, 8,
                               0, 0, 0, 1,   0,   0x12, 1,   3,   0,   1,   0,  0, 0};
    chunk[26] = orientation;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 4; i < 8 + LEN; i++) {
        crc ^= chunk[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    for (size_t i = 0; i < 4; i++)
        chunk[8 + LEN + i] = (uint8_t)(~crc >> (24 - 8 * i));
    return with_bytes(png, size_bytes, HEADER_END, chunk, sizeof chunk, out_size);
}

// Where pixel (x, y) of the upright picture lies in the stored one [h, w].
static size_t stored_at(unsigned orientation, size_t x, size_t y, size_t w, size_t h) {
    switch (orientation) {
    case 2:
        return y * w + (w - 1 - x);
    case 3:
        return (h - 1 - y) * w + (w - 1 - x);
    case 4:
        return (h - 1 - y) * w + x;
    case 5:
        return x * w + y;
    case 6:
        return (h - 1 - x) * w + y;
    case 7:
        return (h - 1 - x) * w + (w - 1 - y);
    case 8:
        return x * w + (w - 1 - y);
    default:
        return y * w + x;
    }
}

static void check_orientations(const char *path,
                               uint8_t *(*with_exif)(const uint8_t *, size_t, uint8_t, size_t *)) {
    struct err err = {0};
    struct image plain;
    size_t size_bytes, turned_size;
    uint8_t *file = check_read_file(path, &size_bytes);
    CHECK(image_decode(file, size_bytes, &LIMITS, &plain, &err));
    for (unsigned o = 1; o <= 8; o++) {
        struct image turned;
        struct image_info info;
        uint8_t *bytes = with_exif(file, size_bytes, (uint8_t)o, &turned_size);
        CHECK(image_probe(bytes, turned_size, &LIMITS, &info, &err) && info.orientation == o);
        CHECK(image_decode(bytes, turned_size, &LIMITS, &turned, &err));
        CHECK(turned.width_px == (o >= 5 ? plain.height_px : plain.width_px));
        size_t n_wrong = 0;
        for (size_t y = 0; y < turned.height_px; y++)
            for (size_t x = 0; x < turned.width_px; x++)
                n_wrong +=
                    memcmp(turned.rgb + 3 * (y * turned.width_px + x),
                           plain.rgb + 3 * stored_at(o, x, y, plain.width_px, plain.height_px), 3) != 0;
        CHECK(n_wrong == 0);
        image_clear(&turned);
        free(bytes);
    }
    image_clear(&plain);
    free(file);
}

static void check_exif(void) {
    uint8_t sound[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    CHECK(exif_orientation(sound, sizeof sound) == 6);
    for (size_t n = 0; n < sizeof sound; n++) { // exact copies, so that the sanitizer sees a byte too far
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, sound, n);
        CHECK(exif_orientation(cut, n) == 1);
        free(cut);
    }
    for (size_t i = 0; i < sizeof sound; i++)
        for (unsigned value = 0; value < 256; value++) {
            uint8_t bent[sizeof sound];
            memcpy(bent, sound, sizeof sound);
            bent[i] = (uint8_t)value;
            unsigned got = exif_orientation(bent, sizeof bent);
            CHECK(got >= 1 && got <= 8);
        }
    sound[18] = 9;
    CHECK(exif_orientation(sound, sizeof sound) == 1);
    sound[18] = 0;
    CHECK(exif_orientation(sound, sizeof sound) == 1);
}

static void check_cut(const char *path) {
    size_t size_bytes;
    uint8_t *bytes = check_read_file(path, &size_bytes);
    for (size_t n = 1; n < size_bytes; n += n < 64 ? 1 : 13) {
        struct err err = {0};
        struct image image;
        uint8_t *cut = malloc(n);
        memcpy(cut, bytes, n);
        CHECK(!image_decode(cut, n, &LIMITS, &image, &err) && !image.rgb);
        CHECK(err.code == ERR_IMAGE_TRUNCATED);
        free(cut);
    }
    free(bytes);
}

// One byte wrong anywhere: an error or a picture, never a fault.
static void check_bent(const char *path) {
    size_t size_bytes;
    uint8_t *bytes = check_read_file(path, &size_bytes);
    for (size_t at = 8; at < size_bytes; at += 3) {
        struct err err = {0};
        struct image image;
        bytes[at] ^= 0x55;
        bool ok = image_decode(bytes, size_bytes,
                               &(struct vision_options){.max_image_bytes = 1 << 20, .max_pixels = 1 << 20},
                               &image, &err);
        CHECK(ok ? image.rgb && err.code == ERR_NONE : !image.rgb && err.code != ERR_NONE);
        image_clear(&image);
        bytes[at] ^= 0x55;
    }
    free(bytes);
}

static void check_crc(void) {
    struct err err = {0};
    struct image image;
    size_t size_bytes;
    uint8_t *bytes = check_read_file(FOLDER "rgb.png", &size_bytes);
    bytes[size_bytes - 12 - 2] ^= 1; // in the CRC of the last IDAT
    CHECK(!image_decode(bytes, size_bytes, &LIMITS, &image, &err));
    CHECK_ERR(&err, ERR_IMAGE_TRUNCATED, "CRC");
    free(bytes);
}

static void check_trailing(void) {
    struct err err = {0};
    struct image image;
    size_t size_bytes;
    uint8_t *jpeg = check_read_file(FOLDER "wide.jpg", &size_bytes);
    jpeg = realloc(jpeg, size_bytes + 100);
    memset(jpeg + size_bytes, 0xab, 100);
    CHECK(image_decode(jpeg, size_bytes + 100, &LIMITS, &image, &err));
    image_clear(&image);
    free(jpeg);
}

static void check_refused(const void *bytes, size_t size_bytes, enum err_code code, const char *part) {
    struct err err = {0};
    struct image image;
    CHECK(!image_decode(bytes, size_bytes, &LIMITS, &image, &err));
    CHECK_ERR(&err, code, part);
}

static void check_kinds(void) {
    check_refused("", 0, ERR_IMAGE_UNSUPPORTED, "empty file");
    check_refused("GIF89a\1\0\1\0", 10, ERR_IMAGE_UNSUPPORTED, "GIF (want JPEG or PNG)");
    check_refused("RIFF\x10\0\0\0WEBPVP8 ", 16, ERR_IMAGE_UNSUPPORTED, "WebP (");
    check_refused("BM\x10\0\0\0", 6, ERR_IMAGE_UNSUPPORTED, "BMP (");
    check_refused("II*\0\x08\0\0\0", 8, ERR_IMAGE_UNSUPPORTED, "TIFF (");
    check_refused("%PDF-1.7", 8, ERR_IMAGE_UNSUPPORTED, "PDF (");
    check_refused("\0\0\0\x18"
                  "ftypheic",
                  12, ERR_IMAGE_UNSUPPORTED, "HEIC (");
    check_refused("\0\0\0\x18"
                  "ftypavif",
                  12, ERR_IMAGE_UNSUPPORTED, "AVIF (");
    check_refused(" \n<svg xmlns=", 13, ERR_IMAGE_UNSUPPORTED, "SVG (");
    check_refused("\x12\x34hello", 7, ERR_IMAGE_UNSUPPORTED, "starts with 12 34 68 65 6c 6c 6f");
}

static void check_limits(void) {
    static const uint8_t header[] = {0x89, 'P',  'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0, 0,
                                     13,   'I',  'H', 'D', 'R',  0,    0,    0xff, 0xdc, 0, 0,
                                     0xff, 0xdc, 8,   2,   0,    0,    0,    0,    0,    0, 0};
    uint8_t png[sizeof header];
    memcpy(png, header, sizeof png);
    check_refused(png, sizeof png, ERR_IMAGE_TOO_LARGE, "65500x65500");
    memset(png + 16, 0xff, 8);
    check_refused(png, sizeof png, ERR_IMAGE_TOO_LARGE, "4294967295x4294967295");
    memset(png + 16, 0, 4);
    check_refused(png, sizeof png, ERR_IMAGE_UNSUPPORTED, "want at least 1x1");

    size_t size_bytes;
    struct image image;
    struct image_info info;
    struct err none = {0}, bytes_err = {0}, pixels_err = {0};
    uint8_t *jpeg = check_read_file(FOLDER "wide.jpg", &size_bytes); // 160 x 90
    CHECK(!image_decode(jpeg, size_bytes,
                        &(struct vision_options){.max_image_bytes = 100, .max_pixels = 1 << 20}, &image,
                        &bytes_err));
    CHECK_ERR(&bytes_err, ERR_IMAGE_TOO_LARGE, "at most 100");
    CHECK(image_probe(jpeg, size_bytes,
                      &(struct vision_options){.max_image_bytes = 1 << 20, .max_pixels = 160 * 90 - 1}, &info,
                      &none));
    CHECK(info.scale_denom == 2 && info.width_px == 160);
    CHECK(image_decode(jpeg, size_bytes,
                       &(struct vision_options){.max_image_bytes = 1 << 20, .max_pixels = 40 * 23}, &image,
                       &none));
    CHECK(image.width_px == 40 && image.height_px == 23);
    image_clear(&image);
    CHECK(!image_decode(jpeg, size_bytes,
                        &(struct vision_options){.max_image_bytes = 1 << 20, .max_pixels = 20 * 12 - 1},
                        &image, &pixels_err));
    CHECK_ERR(&pixels_err, ERR_IMAGE_TOO_LARGE, "160x90");
    free(jpeg);
}

int main(void) {
    check_orientations(FOLDER "wide.jpg", jpeg_with_exif);
    check_orientations(FOLDER "rgb.png", png_with_exif);
    check_exif();
    check_cut(FOLDER "wide.jpg");
    check_cut(FOLDER "tall-progressive.jpg");
    check_cut(FOLDER "rgb.png");
    check_cut(FOLDER "palette.png");
    check_bent(FOLDER "grey.jpg");
    check_bent(FOLDER "tall-progressive.jpg");
    check_bent(FOLDER "alpha.png");
    check_crc();
    check_trailing();
    check_kinds();
    check_limits();
    return check_result();
}
