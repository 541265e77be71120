// JPEG -> rgb: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK. TurboJPEG 2.1 only.
//
// What it gives equals Pillow's Image.open(f).convert("RGB"): accurate DCT, fancy upsampling, and CMYK taken
// as Adobe writes it (inverted), then R = (255 - K) - C (255 - K) / 255. A file that ends early is an error
// and never a picture with a grey part.
#include "vision/exif.h"
#include "vision/image.h"

#include "base/mem.h"

#include <stdlib.h>
#include <turbojpeg.h>

enum {
    MARKER_TEM = 0x01,
    MARKER_RST0 = 0xd0,
    MARKER_RST7 = 0xd7,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda,
    MARKER_APP1 = 0xe1,
};

struct marker {
    unsigned code;       // 0: no further marker
    const uint8_t *data; // the segment behind its length
    size_t size_bytes;
};

// The next marker from *at on, skipping entropy-coded data, in which 0xff is followed by 0x00 or RSTn.
static struct marker next_marker(const uint8_t *bytes, size_t size_bytes, size_t *at) {
    struct marker none = {0}, m = {0};
    while (*at < size_bytes) {
        const uint8_t *ff = memchr(bytes + *at, 0xff, size_bytes - *at);
        if (!ff || (size_t)(ff - bytes) + 1 >= size_bytes)
            return none;
        *at = (size_t)(ff - bytes) + 1;
        m.code = bytes[*at];
        if (m.code == 0xff)
            continue; // fill bytes: the last 0xff of a run counts
        ++*at;
        if (m.code == 0 || m.code == MARKER_TEM || (m.code >= MARKER_RST0 && m.code <= MARKER_RST7))
            continue;
        break;
    }
    if (*at >= size_bytes && m.code != MARKER_EOI)
        return none;
    if (m.code == MARKER_EOI)
        return m;
    if (size_bytes - *at < 2)
        return none;
    size_t length = (size_t)bytes[*at] << 8 | bytes[*at + 1];
    if (length < 2 || length > size_bytes - *at)
        return none;
    m.data = bytes + *at + 2;
    m.size_bytes = length - 2;
    *at += length;
    return m;
}

static unsigned find_orientation(const uint8_t *bytes, size_t size_bytes) {
    static const char id[6] = "Exif\0";
    for (size_t at = 2;;) {
        struct marker m = next_marker(bytes, size_bytes, &at);
        if (m.code == 0 || m.code == MARKER_EOI || m.code == MARKER_SOS)
            return 1;
        if (m.code == MARKER_APP1 && m.size_bytes >= sizeof id && memcmp(m.data, id, sizeof id) == 0)
            return exif_orientation(m.data + sizeof id, m.size_bytes - sizeof id);
    }
}

// True where the picture's own end marker is there (a thumbnail's lies inside an APP1 segment).
static bool has_end(const uint8_t *bytes, size_t size_bytes) {
    for (size_t at = 2;;) {
        struct marker m = next_marker(bytes, size_bytes, &at);
        if (m.code == 0 || m.code == MARKER_EOI)
            return m.code == MARKER_EOI;
    }
}

static bool refuse(tjhandle handle, struct err *err) {
    const char *why = tjGetErrorStr2(handle);
    bool unsupported = strstr(why, "nsupported") || strstr(why, "subsampling") || strstr(why, "scans") ||
                       strstr(why, "Empty");
    return err_set(
        err, unsupported ? ERR_IMAGE_UNSUPPORTED : ERR_IMAGE_TRUNCATED,
        unsupported ? "image: JPEG of an unsupported kind: %s" : "image: damaged or cut short JPEG: %s", why);
}

static bool read_header(tjhandle handle, const uint8_t *bytes, size_t size_bytes, size_t *width_px,
                        size_t *height_px, int *colorspace, struct err *err) {
    int width = 0, height = 0, subsampling = 0; // left alone where there is no frame header
    if (tjDecompressHeader3(handle, bytes, (unsigned long)size_bytes, &width, &height, &subsampling,
                            colorspace) != 0)
        return refuse(handle, err);
    if (width < 1 || height < 1)
        return err_set(err, ERR_IMAGE_TRUNCATED, "image: JPEG of %zu bytes ends inside its header",
                       size_bytes);
    *width_px = (size_t)width;
    *height_px = (size_t)height;
    return true;
}

bool image_jpeg_header(const uint8_t *bytes, size_t size_bytes, struct image_info *info, struct err *err) {
    int colorspace = 0;
    tjhandle handle = tjInitDecompress();
    if (!handle)
        return err_set(err, ERR_NOMEM, "image: no memory for a JPEG decoder");
    bool ok = read_header(handle, bytes, size_bytes, &info->width_px, &info->height_px, &colorspace, err);
    tjDestroy(handle);
    if (ok)
        info->orientation = find_orientation(bytes, size_bytes);
    return ok;
}

// Some cameras leave stray bytes between segments. That is a warning to the library, and every warning stops
// us; where the file has its end marker nothing is missing and the picture is taken as it is.
static bool decompress(tjhandle handle, const uint8_t *bytes, size_t size_bytes, uint8_t *out,
                       const struct image *image, int pixel_format, struct err *err) {
    const int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS;
    int width = (int)image->width_px, height = (int)image->height_px;
    int failed = tjDecompress2(handle, bytes, (unsigned long)size_bytes, out, width, 0, height, pixel_format,
                               flags | TJFLAG_STOPONWARNING);
    if (failed && strstr(tjGetErrorStr2(handle), "extraneous bytes") && has_end(bytes, size_bytes))
        failed = tjDecompress2(handle, bytes, (unsigned long)size_bytes, out, width, 0, height, pixel_format,
                               flags) != 0 &&
                 tjGetErrorCode(handle) == TJERR_FATAL;
    return failed ? refuse(handle, err) : true;
}

static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, size_t n_pixels) {
    for (size_t i = 0; i < n_pixels; i++, cmyk += 4, rgb += 3)
        for (size_t c = 0; c < 3; c++) {
            unsigned white = cmyk[3]; // inverted: 255 - K
            unsigned ink = ((255u - cmyk[c]) * white + 127) / 255;
            rgb[c] = (uint8_t)(white - ink);
        }
}

bool image_jpeg_decode(const uint8_t *bytes, size_t size_bytes, const struct image *image, struct err *err) {
    size_t width_px, height_px, n_pixels = image->width_px * image->height_px;
    int colorspace = 0;
    bool ok = false;
    uint8_t *cmyk = NULL;
    tjhandle handle = tjInitDecompress();
    if (!handle)
        return err_set(err, ERR_NOMEM, "image: no memory for a JPEG decoder");
    if (!read_header(handle, bytes, size_bytes, &width_px, &height_px, &colorspace, err))
        goto fail;
    if (colorspace == TJCS_CMYK || colorspace == TJCS_YCCK) {
        cmyk = try_malloc_array(n_pixels, 4, "image", err); // [height, width, 4] u8
        if (!cmyk || !decompress(handle, bytes, size_bytes, cmyk, image, TJPF_CMYK, err))
            goto fail;
        cmyk_to_rgb(image->rgb, cmyk, n_pixels);
    } else if (!decompress(handle, bytes, size_bytes, image->rgb, image, TJPF_RGB, err)) {
        goto fail;
    }
    ok = true;
fail:
    free(cmyk);
    tjDestroy(handle);
    return ok;
}
