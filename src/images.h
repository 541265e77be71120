// The pictures this process knows, by id: SHA-256 of the file's bytes. A picture is sent once and encoded
// once; its embedding rows stay while the budget allows (least recently used goes first).
#ifndef IMAGES_H
#define IMAGES_H

#include "base/err.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct llm_image;
struct vision;
struct vision_image;
struct images;
struct image; // reference-counted

struct image_info {
    char id[SHA256_HEX_SIZE];
    size_t width_px, height_px; // after EXIF orientation
    size_t n_tokens;
};

// Borrows vision. budget_bytes bounds file bytes + prepared pixels + rows of all pictures that nobody holds.
struct images *images_create(struct vision *vision, size_t budget_bytes);
void images_destroy(struct images *im);

// All below: any thread.

// Takes bytes (malloc'd), also on failure. Reads the header only. Returns a reference (image_release it);
// *known tells whether the picture was here before. Errors as vision_probe.
struct image *images_put(struct images *im, uint8_t *bytes, size_t size_bytes, bool *known, struct err *err);
// A reference, or NULL with ERR_IMAGE_UNKNOWN.
struct image *images_find(struct images *im, const char *id, struct err *err);

const struct image_info *image_info(const struct image *image);
// What it is to a prompt; borrowed while the reference is held.
const struct llm_image *image_for_prompt(const struct image *image);
struct image *image_retain(struct image *image);
void image_release(struct image *image); // NULL is legal

// Decodes and preprocesses, unless pixels or rows are there already; callers at once do it once.
bool image_prepare(struct image *image, struct err *err);
// Gives the prepared pixels away for an encode: returns new, or NULL when there are none (rows exist).
struct vision_image *image_take_prepared(struct image *image);
// rows [n_tokens, n_embd] f32: takes them (malloc'd). image_rows borrows while the reference is held; NULL =
// not encoded.
void image_set_rows(struct image *image, float *rows);
const float *image_rows(struct image *image);

#endif
