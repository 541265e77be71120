// Pictures: the bytes of a PNG or JPEG file.
#include "fuzz/fuzz.h"

#include "vision/image.h"

enum { PIXELS_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct vision_options limits = {.max_image_bytes = FUZZ_MIB, .max_pixels = PIXELS_MAX};
    struct image_info info = {0};
    struct image image = {0};
    struct err probed = {0}, err = {0};
    fuzz_begin(fuzz_largest(size), FUZZ_MIB + 16 * (size + PIXELS_MAX));
    bool known = image_probe(data, size, &limits, &info, &probed);
    FUZZ_CHECK(known == (probed.code == ERR_NONE));
    bool ok = image_decode(data, size, &limits, &image, &err);
    FUZZ_CHECK(ok == (err.code == ERR_NONE) && (known || !ok));
    if (ok) {
        FUZZ_CHECK(image.width_px * image.height_px <= PIXELS_MAX);
        FUZZ_CHECK(info.orientation >= 1 && info.orientation <= 8);
    } else {
        FUZZ_CHECK(image.rgb == NULL);
    }
    image_clear(&image);
    FUZZ_CHECK(fuzz_bytes_live() == 0);
    fuzz_end();
    return 0;
}
