// The picture store: one entry a picture, from its file's bytes over prepared pixels to embedding rows.
// Bytes and pixels go as soon as the rows are there: nothing needs them again.
#include "images.h"

#include "base/mem.h"
#include "llm/llm.h"
#include "vision/vision.h"

#include <pthread.h>
#include <stdlib.h>

struct image {
    struct images *owner;
    struct image_info info;
    struct vision_layout layout;
    struct llm_image for_prompt;  // its texts are those of `layout`
    pthread_mutex_t prepare_lock; // held while decoding, so that callers at once decode once
    // {owner->lock}
    size_t n_refs;
    uint64_t last_used;
    uint8_t *bytes; // [size_bytes] the file, NULL once encoded
    size_t size_bytes;
    struct vision_image *prepared; // NULL: not yet, or taken
    float *rows;                   // [info.n_tokens, n_embd] f32, NULL: not encoded
    struct image *next;
};

struct images {
    struct vision *vision;
    size_t budget_bytes;
    pthread_mutex_t lock;
    struct image *first; // {lock}
    uint64_t clock;      // {lock} counts uses
};

struct images *images_create(struct vision *vision, size_t budget_bytes) {
    struct images *im = xcalloc(1, sizeof *im);
    im->vision = vision;
    im->budget_bytes = budget_bytes;
    pthread_mutex_init(&im->lock, NULL);
    return im;
}

static void image_destroy(struct image *image) {
    pthread_mutex_destroy(&image->prepare_lock);
    vision_image_destroy(image->prepared);
    free(image->bytes);
    free(image->rows);
    free(image->layout.spans);
    free((void *)image->for_prompt.spans);
    free(image);
}

void images_destroy(struct images *im) {
    if (!im)
        return;
    while (im->first) {
        struct image *image = im->first;
        im->first = image->next;
        image_destroy(image);
    }
    pthread_mutex_destroy(&im->lock);
    free(im);
}

static size_t image_size(const struct image *image) {
    size_t total = image->bytes ? image->size_bytes : 0;
    if (image->rows)
        total += image->info.n_tokens * vision_n_embd(image->owner->vision) * sizeof(float);
    if (image->prepared) {
        size_t n_values;
        vision_image_pixels(image->prepared, &n_values);
        total += n_values * sizeof(float);
    }
    return total;
}

// Drops what nobody holds, least recently used first, until the rest fits. {im->lock}
static void images_evict(struct images *im) {
    for (;;) {
        size_t total = 0;
        struct image **oldest = NULL;
        for (struct image **at = &im->first; *at; at = &(*at)->next) {
            if ((*at)->n_refs > 0)
                continue;
            total += image_size(*at);
            if (!oldest || (*at)->last_used < (*oldest)->last_used)
                oldest = at;
        }
        if (total <= im->budget_bytes || !oldest)
            return;
        struct image *image = *oldest;
        *oldest = image->next;
        image_destroy(image);
    }
}

// {im->lock}
static struct image *images_lookup(struct images *im, const char *id) {
    for (struct image *image = im->first; image; image = image->next)
        if (strcmp(image->info.id, id) == 0) {
            image->n_refs++;
            image->last_used = ++im->clock;
            return image;
        }
    return NULL;
}

// The two layers do not know each other: what vision says of the rows' places, in the words of llm.
static void fill_for_prompt(struct image *image) {
    const struct vision_layout *layout = &image->layout;
    struct llm_image_span *spans = xcalloc(layout->n_spans, sizeof *spans);
    for (size_t i = 0; i < layout->n_spans; i++)
        spans[i] = (struct llm_image_span){.text = layout->spans[i].text,
                                           .is_number = layout->spans[i].is_number,
                                           .first_row = layout->spans[i].first_row,
                                           .n_rows = layout->spans[i].n_rows};
    image->for_prompt = (struct llm_image){.key = image->info.id,
                                           .n_tokens = layout->n_tokens,
                                           .spans = spans,
                                           .n_spans = layout->n_spans,
                                           .grid_width = layout->grid_width,
                                           .grid_height = layout->grid_height,
                                           .both_ways = layout->both_ways};
}

struct image *images_put(struct images *im, uint8_t *bytes, size_t size_bytes, bool *known, struct err *err) {
    struct vision_info info;
    struct vision_layout layout;
    if (!vision_probe(im->vision, bytes, size_bytes, &info, &layout, err)) {
        free(bytes);
        return NULL;
    }
    char id[SHA256_HEX_SIZE];
    sha256_hex(bytes, size_bytes, id);
    pthread_mutex_lock(&im->lock);
    struct image *image = images_lookup(im, id);
    *known = image != NULL;
    if (image) {
        free(bytes);
        free(layout.spans);
    } else {
        image = xcalloc(1, sizeof *image);
        image->owner = im;
        memcpy(image->info.id, id, sizeof id);
        image->info.width_px = info.width_px;
        image->info.height_px = info.height_px;
        image->info.n_tokens = info.n_tokens;
        image->layout = layout;
        fill_for_prompt(image);
        pthread_mutex_init(&image->prepare_lock, NULL);
        image->bytes = bytes;
        image->size_bytes = size_bytes;
        image->n_refs = 1;
        image->last_used = ++im->clock;
        image->next = im->first;
        im->first = image;
        images_evict(im);
    }
    pthread_mutex_unlock(&im->lock);
    return image;
}

struct image *images_find(struct images *im, const char *id, struct err *err) {
    pthread_mutex_lock(&im->lock);
    struct image *image = images_lookup(im, id);
    pthread_mutex_unlock(&im->lock);
    if (!image)
        err_set(err, ERR_IMAGE_UNKNOWN, "no picture with id %.64s is known here: send its bytes", id);
    return image;
}

const struct image_info *image_info(const struct image *image) {
    return &image->info;
}

const struct llm_image *image_for_prompt(const struct image *image) {
    return &image->for_prompt;
}

struct image *image_retain(struct image *image) {
    pthread_mutex_lock(&image->owner->lock);
    image->n_refs++;
    pthread_mutex_unlock(&image->owner->lock);
    return image;
}

// Removes an entry whose bytes turned out to be damaged, so that a second try is not "known". {im->lock}
static void images_unlink(struct images *im, struct image *image) {
    for (struct image **at = &im->first; *at; at = &(*at)->next)
        if (*at == image) {
            *at = image->next;
            return;
        }
}

void image_release(struct image *image) {
    if (!image)
        return;
    struct images *im = image->owner;
    pthread_mutex_lock(&im->lock);
    image->n_refs--;
    bool useless = image->n_refs == 0 && !image->rows && !image->bytes;
    if (useless) {
        images_unlink(im, image);
        image_destroy(image);
    } else {
        images_evict(im);
    }
    pthread_mutex_unlock(&im->lock);
}

bool image_prepare(struct image *image, struct err *err) {
    struct images *im = image->owner;
    pthread_mutex_lock(&image->prepare_lock);
    pthread_mutex_lock(&im->lock);
    bool ready = image->prepared || image->rows;
    pthread_mutex_unlock(&im->lock);
    bool ok = true;
    if (!ready && !image->bytes) {
        ok = err_set(err, ERR_IMAGE_TRUNCATED, "picture %.16s...: its file is damaged", image->info.id);
    } else if (!ready) {
        // bytes change only under prepare_lock or when rows appear, and then nobody decodes.
        struct vision_image *prepared = vision_prepare(im->vision, image->bytes, image->size_bytes, err);
        ok = prepared != NULL;
        pthread_mutex_lock(&im->lock);
        image->prepared = prepared;
        if (!ok) { // a damaged file is of no use to anybody
            free(image->bytes);
            image->bytes = NULL;
        }
        pthread_mutex_unlock(&im->lock);
    }
    pthread_mutex_unlock(&image->prepare_lock);
    return ok;
}

struct vision_image *image_take_prepared(struct image *image) {
    pthread_mutex_lock(&image->owner->lock);
    struct vision_image *prepared = image->rows ? NULL : image->prepared;
    if (prepared)
        image->prepared = NULL;
    pthread_mutex_unlock(&image->owner->lock);
    return prepared;
}

void image_set_rows(struct image *image, float *rows) {
    pthread_mutex_lock(&image->prepare_lock);
    pthread_mutex_lock(&image->owner->lock);
    if (image->rows) {
        free(rows); // same picture, same rows
    } else {
        image->rows = rows;
        free(image->bytes);
        image->bytes = NULL;
        vision_image_destroy(image->prepared);
        image->prepared = NULL;
    }
    pthread_mutex_unlock(&image->owner->lock);
    pthread_mutex_unlock(&image->prepare_lock);
}

const float *image_rows(struct image *image) {
    pthread_mutex_lock(&image->owner->lock);
    const float *rows = image->rows;
    pthread_mutex_unlock(&image->owner->lock);
    return rows;
}
