// TIFF block -> orientation.
//
//   header    "II" or "MM", u16 42, u32 offset of the first directory
//   directory u16 n, then n entries of 12 bytes: u16 tag, u16 type, u32 count, 4 bytes value
//
// Tag 0x0112 is one SHORT (type 3), which lies in the first two bytes of its value. Only the first directory
// describes the picture; the second one is the thumbnail's. Source: EXIF 2.32, sections 4.5 and 4.6.
#include "vision/exif.h"

#include <stdbool.h>
#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, HEADER_SIZE = 8, ENTRY_SIZE = 12 };

static unsigned read_u16(const uint8_t *p, bool big) {
    return big ? (unsigned)p[0] << 8 | p[1] : (unsigned)p[1] << 8 | p[0];
}

static uint32_t read_u32(const uint8_t *p, bool big) {
    uint32_t first = read_u16(p, big), second = read_u16(p + 2, big);
    return big ? first << 16 | second : second << 16 | first;
}

unsigned exif_orientation(const uint8_t *tiff, size_t size_bytes) {
    if (size_bytes < HEADER_SIZE)
        return 1;
    bool big = memcmp(tiff, "MM", 2) == 0;
    if ((!big && memcmp(tiff, "II", 2) != 0) || read_u16(tiff + 2, big) != 42)
        return 1;
    size_t at = read_u32(tiff + 4, big);
    if (at < HEADER_SIZE || at > size_bytes - 2)
        return 1;
    size_t n_entries = read_u16(tiff + at, big);
    at += 2;
    for (size_t i = 0; i < n_entries && size_bytes - at >= ENTRY_SIZE; i++, at += ENTRY_SIZE) {
        const uint8_t *entry = tiff + at;
        if (read_u16(entry, big) != TAG_ORIENTATION)
            continue;
        unsigned value = read_u16(entry + 8, big);
        bool sound = read_u16(entry + 2, big) == TYPE_SHORT && read_u32(entry + 4, big) == 1;
        return sound && value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}
