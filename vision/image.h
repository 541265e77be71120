// Bytes of a picture file -> rgb [height, width, 3] u8, upright.
//
// Everything here is a function of its arguments: no state, no globals, no files. The two calls are all that
// would have to move into a sandboxed decoder process.
#ifndef VISION_IMAGE_H
#define VISION_IMAGE_H

#include "vision/vision.h"

// Longest side of any picture: what JPEG can say, and enough to keep every later size small.
enum { IMAGE_SIDE_MAX = 65535 };

enum image_format {
    IMAGE_JPEG,
    IMAGE_PNG,
};

struct image_info { // what the header says
    enum image_format format;
    size_t width_px, height_px; // as stored
    unsigned orientation;       // EXIF 1-8: 5 and above swap width and height
    unsigned scale_denom;       // 1, 2, 4, 8: the DCT scaling that brings a photo under max_pixels
};

struct image {
    uint8_t *rgb; // [height, width, 3] u8, sRGB, no row padding
    size_t width_px, height_px;
};

// Any thread. `limits` has no zeros. Reads the header only and checks all limits: ERR_IMAGE_UNSUPPORTED,
// ERR_IMAGE_TOO_LARGE, ERR_IMAGE_TRUNCATED.
bool image_probe(const uint8_t *bytes, size_t size_bytes, const struct vision_options *limits,
                 struct image_info *info, struct err *err);

// Any thread. image_probe, then the pixels with EXIF orientation applied. On failure *image stays empty.
bool image_decode(const uint8_t *bytes, size_t size_bytes, const struct vision_options *limits,
                  struct image *image, struct err *err);
void image_clear(struct image *image);

// The formats, for image.c. A header function fills all but `format` and `scale_denom`; a decode function
// fills rgb [image->height_px, image->width_px, 3], which the caller has sized and allocated from info.
bool image_jpeg_header(const uint8_t *bytes, size_t size_bytes, struct image_info *info, struct err *err);
bool image_jpeg_decode(const uint8_t *bytes, size_t size_bytes, const struct image *image, struct err *err);
bool image_png_header(const uint8_t *bytes, size_t size_bytes, struct image_info *info, struct err *err);
bool image_png_decode(const uint8_t *bytes, size_t size_bytes, const struct image *image, struct err *err);

#endif
