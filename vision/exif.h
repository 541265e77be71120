// The one EXIF value that changes what a picture looks like.
#ifndef VISION_EXIF_H
#define VISION_EXIF_H

#include <stddef.h>
#include <stdint.h>

// Orientation 1-8 of a TIFF block (what follows "Exif\0\0" in a JPEG's APP1, or a PNG's eXIf chunk).
// A damaged block, or one without the tag, is 1: metadata never makes a picture unreadable.
unsigned exif_orientation(const uint8_t *tiff, size_t size_bytes);

#endif
