// The pictures this process knows: a file by the SHA-256 of its bytes, and each form that it is wanted in. A file is
// sent once and a form encoded once; embedding rows stay while the budget allows (least recently used goes first).
#ifndef IMAGES_H
#define IMAGES_H

#include "base/err.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct llm;
struct llm_image;
struct vision;
struct vision_image;
struct images;
struct image; // a file in one form; reference-counted

struct image_detail {  // how large a picture may become; zero: as the model's own processor makes it
    size_t max_tokens; // of a prompt, with special strings; 0: any number. A smallest form may exceed it
    bool low;          // the overview alone, or 256 rows of a model without tiles
};

struct image_info {
    char id[SHA256_HEX_SIZE];   // of the file
    size_t width_px, height_px; // of the file, after EXIF orientation
    size_t n_rows;
    size_t n_tokens; // of a prompt: rows and special strings
};

// Borrows vision and llm. budget_bytes bounds file bytes + prepared pixels + rows of all pictures that nobody
// holds. NULL with an error where the model's special strings cannot be counted.
struct images *images_create(struct vision *vision, const struct llm *llm, size_t budget_bytes,
                             struct err *err);
void images_destroy(struct images *im);

// All below: any thread.

// Most tokens of a prompt that any picture takes.
size_t images_most_tokens(const struct images *im);
// Of automatic detail: what a message's pictures may take together, so that question and answer have room.
size_t images_auto_tokens(const struct images *im);

// detail NULL: automatic, alone in its message.

// Takes bytes (malloc'd), also on failure. Reads the header only. Returns a reference (image_release it);
// *known tells whether the file was here before. Errors as vision_probe.
struct image *images_put(struct images *im, uint8_t *bytes, size_t size_bytes,
                         const struct image_detail *detail, bool *known, struct err *err);
// A reference to the form that this detail asks for, or NULL with ERR_IMAGE_UNKNOWN.
struct image *images_find(struct images *im, const char *id, const struct image_detail *detail,
                          struct err *err);
// The same by the key that a prompt has from image_for_prompt.
struct image *images_find_key(struct images *im, const char *key, struct err *err);

const struct image_info *image_info(const struct image *image);
// What it is to a prompt; borrowed while the reference is held.
const struct llm_image *image_for_prompt(const struct image *image);
struct image *image_retain(struct image *image);
void image_release(struct image *image); // NULL is legal

// Decodes and preprocesses, unless pixels or rows are there already; callers at once do it once.
bool image_prepare(struct image *image, struct err *err);
// Gives the prepared pixels away for an encode: returns new, or NULL when there are none (rows exist).
struct vision_image *image_take_prepared(struct image *image);
// rows [n_rows, n_embd] f32: takes them (malloc'd). image_rows borrows while the reference is held; NULL =
// not encoded.
void image_set_rows(struct image *image, float *rows);
const float *image_rows(struct image *image);

#endif
