// The picture store. A file's bytes stay, since another form may be wanted; pixels go as soon as the rows of their
// form are there.
#include "images.h"

#include "base/mem.h"
#include "llm/llm.h"
#include "vision/vision.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { IMAGE_KEY_SIZE = SHA256_HEX_SIZE + VISION_FORM_SIZE };

struct image_file {
    char id[SHA256_HEX_SIZE];
    size_t width_px, height_px;
    uint8_t *bytes; // [size_bytes]
    size_t size_bytes;
    pthread_mutex_t prepare_lock; // held while decoding, so that callers at once decode once
    // {images' lock}
    size_t n_refs;   // images, and calls under way
    bool is_damaged; // of no use to anybody
    struct image_file *next;
};

struct image {
    struct images *owner;
    struct image_file *file;
    struct image_info info;
    char key[IMAGE_KEY_SIZE];    // id and form
    struct image_detail asked;   // that led here first
    struct vision_detail detail; // that makes this form
    struct vision_layout layout;
    struct llm_image for_prompt; // its texts are those of `layout`
    // {owner->lock}
    size_t n_refs;
    uint64_t last_used;
    struct vision_image *prepared; // NULL: not yet, or taken
    float *rows;                   // [info.n_rows, n_embd] f32, NULL: not encoded
    struct image *next;
};

struct images {
    struct vision *vision;
    const struct llm *llm;
    size_t budget_bytes, most_tokens;
    struct image_detail normal; // of automatic detail
    pthread_mutex_t lock;
    struct image *first;           // {lock}
    struct image_file *first_file; // {lock}
    uint64_t clock;                // {lock} counts uses
};

// The two layers do not know each other: what vision says of the rows' places, in the words of llm. Its spans are
// new, their texts borrowed.
static struct llm_image to_llm(const struct vision_layout *layout, const char *key) {
    struct llm_image_span *spans = xcalloc(layout->n_spans, sizeof *spans);
    for (size_t i = 0; i < layout->n_spans; i++)
        spans[i] = (struct llm_image_span){.text = layout->spans[i].text,
                                           .is_number = layout->spans[i].is_number,
                                           .first_row = layout->spans[i].first_row,
                                           .n_rows = layout->spans[i].n_rows};
    return (struct llm_image){.key = key,
                              .n_tokens = layout->n_tokens,
                              .spans = spans,
                              .n_spans = layout->n_spans,
                              .grid_width = layout->grid_width,
                              .grid_height = layout->grid_height,
                              .both_ways = layout->both_ways};
}

static bool count_tokens(const struct llm *llm, const struct vision_layout *layout, size_t *n_tokens,
                         struct err *err) {
    struct llm_image image = to_llm(layout, "");
    bool ok = llm_image_n_tokens(llm, &image, n_tokens, err);
    free((void *)image.spans);
    return ok;
}

struct images *images_create(struct vision *vision, const struct llm *llm, size_t budget_bytes,
                             struct err *err) {
    struct images *im = xcalloc(1, sizeof *im);
    struct vision_layout largest;
    im->vision = vision;
    im->llm = llm;
    im->budget_bytes = budget_bytes;
    pthread_mutex_init(&im->lock, NULL);
    im->normal.max_tokens = llm_n_ctx(llm) - llm_n_ctx(llm) / 4;
    vision_largest(vision, &largest);
    bool ok = count_tokens(llm, &largest, &im->most_tokens, err);
    free(largest.spans);
    if (ok)
        return im;
    images_destroy(im);
    return NULL;
}

size_t images_most_tokens(const struct images *im) {
    return im->most_tokens;
}

size_t images_auto_tokens(const struct images *im) {
    return im->normal.max_tokens;
}

static void file_destroy(struct image_file *file) {
    pthread_mutex_destroy(&file->prepare_lock);
    free(file->bytes);
    free(file);
}

// {im->lock}
static void file_unref(struct images *im, struct image_file *file) {
    if (--file->n_refs > 0)
        return;
    struct image_file **at = &im->first_file;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    file_destroy(file);
}

// Of an image that is in no list any more. {owner->lock}
static void image_destroy(struct image *image) {
    file_unref(image->owner, image->file);
    vision_image_destroy(image->prepared);
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
    size_t total = image->file->size_bytes;
    if (image->rows)
        total += image->info.n_rows * vision_n_embd(image->owner->vision) * sizeof(float);
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
static struct image_file *find_file(struct images *im, const char *id) {
    struct image_file *file = im->first_file;
    while (file && strcmp(file->id, id) != 0)
        file = file->next;
    if (file)
        file->n_refs++;
    return file;
}

// {im->lock}
static struct image *use(struct image *image) {
    image->n_refs++;
    image->last_used = ++image->owner->clock;
    return image;
}

// A form that this detail has led to before, or NULL. {im->lock}
static struct image *find_asked(struct images *im, const struct image_file *file,
                                const struct image_detail *asked) {
    for (struct image *image = im->first; image; image = image->next)
        if (image->file == file && image->asked.max_tokens == asked->max_tokens &&
            image->asked.low == asked->low)
            return use(image);
    return NULL;
}

// {im->lock}
static struct image *find_key(struct images *im, const char *key) {
    for (struct image *image = im->first; image; image = image->next)
        if (strcmp(image->key, key) == 0)
            return use(image);
    return NULL;
}

// The largest form whose tokens keep to the detail: special strings come with the rows, so a form that is still too
// large makes way for the next smaller one. Fills detail, layout and info of *image.
static bool choose_form(struct images *im, struct image *image, struct err *err) {
    const struct image_file *file = image->file;
    const struct image_detail *asked = &image->asked;
    struct vision_detail detail = {.max_tokens = asked->max_tokens, .low = asked->low};
    struct vision_info info;
    size_t n_tokens;
    for (;;) {
        struct vision_layout *layout = &image->layout;
        if (!vision_probe(im->vision, file->bytes, file->size_bytes, &detail, &info, layout, err) ||
            !count_tokens(im->llm, layout, &n_tokens, err))
            return false;
        bool is_smallest = layout->n_tokens <= 1 || layout->n_tokens > detail.max_tokens;
        if (asked->max_tokens == 0 || n_tokens <= asked->max_tokens || is_smallest)
            break;
        detail.max_tokens = layout->n_tokens - 1;
        free(layout->spans);
        layout->spans = NULL;
    }
    image->detail = detail;
    image->info.n_rows = image->layout.n_tokens;
    image->info.n_tokens = n_tokens;
    image->info.width_px = info.width_px;
    image->info.height_px = info.height_px;
    memcpy(image->info.id, file->id, sizeof file->id);
    snprintf(image->key, sizeof image->key, "%s %s", file->id, image->layout.form);
    image->for_prompt = to_llm(&image->layout, image->key);
    return true;
}

// The form of a file that a detail asks for. Takes the reference to file.
static struct image *image_of(struct images *im, struct image_file *file, const struct image_detail *detail,
                              struct err *err) {
    if (!detail)
        detail = &im->normal;
    pthread_mutex_lock(&im->lock);
    struct image *image = find_asked(im, file, detail), *made = NULL;
    if (!image) {
        pthread_mutex_unlock(&im->lock);
        made = xcalloc(1, sizeof *made);
        *made = (struct image){.owner = im, .file = file, .asked = *detail};
        bool ok = choose_form(im, made, err);
        pthread_mutex_lock(&im->lock);
        image = ok ? find_key(im, made->key) : NULL;
        if (ok && !image) {
            file->n_refs++;
            image = use(made);
            made->next = im->first;
            im->first = made;
            made = NULL;
            images_evict(im);
        }
    }
    if (made)
        image_destroy(made); // and with it the reference
    else
        file_unref(im, file);
    pthread_mutex_unlock(&im->lock);
    return image;
}

struct image *images_put(struct images *im, uint8_t *bytes, size_t size_bytes,
                         const struct image_detail *detail, bool *known, struct err *err) {
    char id[SHA256_HEX_SIZE];
    sha256_hex(bytes, size_bytes, id);
    pthread_mutex_lock(&im->lock);
    struct image_file *file = find_file(im, id);
    *known = file != NULL;
    if (file) {
        free(bytes);
    } else {
        file = xcalloc(1, sizeof *file);
        memcpy(file->id, id, sizeof id);
        pthread_mutex_init(&file->prepare_lock, NULL);
        file->bytes = bytes;
        file->size_bytes = size_bytes;
        file->n_refs = 1;
        file->next = im->first_file;
        im->first_file = file;
    }
    pthread_mutex_unlock(&im->lock);
    return image_of(im, file, detail, err);
}

static bool is_unknown(const char *id, struct err *err) {
    return err_set(err, ERR_IMAGE_UNKNOWN, "no picture with id %.64s is known here: send its bytes", id);
}

struct image *images_find(struct images *im, const char *id, const struct image_detail *detail,
                          struct err *err) {
    pthread_mutex_lock(&im->lock);
    struct image_file *file = find_file(im, id);
    pthread_mutex_unlock(&im->lock);
    if (file)
        return image_of(im, file, detail, err);
    is_unknown(id, err);
    return NULL;
}

struct image *images_find_key(struct images *im, const char *key, struct err *err) {
    pthread_mutex_lock(&im->lock);
    struct image *image = find_key(im, key);
    pthread_mutex_unlock(&im->lock);
    if (!image)
        is_unknown(key, err);
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

// {im->lock}
static void images_unlink(struct images *im, struct image *image) {
    struct image **at = &im->first;
    while (*at != image)
        at = &(*at)->next;
    *at = image->next;
}

// Nobody holds it and it has cost nothing yet. A damaged file goes, so that a second try is not "known"; a form that
// was only asked for goes while the file has another. {im->lock}
static bool is_useless(const struct image *image) {
    return image->n_refs == 0 && !image->rows && !image->prepared &&
           (image->file->is_damaged || image->file->n_refs > 1);
}

void image_release(struct image *image) {
    if (!image)
        return;
    struct images *im = image->owner;
    pthread_mutex_lock(&im->lock);
    image->n_refs--;
    if (is_useless(image)) {
        images_unlink(im, image);
        image_destroy(image);
    } else {
        images_evict(im);
    }
    pthread_mutex_unlock(&im->lock);
}

bool image_prepare(struct image *image, struct err *err) {
    struct images *im = image->owner;
    struct image_file *file = image->file;
    pthread_mutex_lock(&file->prepare_lock);
    pthread_mutex_lock(&im->lock);
    bool ready = image->prepared || image->rows, is_damaged = file->is_damaged;
    pthread_mutex_unlock(&im->lock);
    bool ok = true;
    if (!ready && is_damaged) {
        ok = err_set(err, ERR_IMAGE_TRUNCATED, "picture %.16s...: its file is damaged", file->id);
    } else if (!ready) {
        struct vision_image *prepared =
            vision_prepare(im->vision, file->bytes, file->size_bytes, &image->detail, err);
        ok = prepared != NULL;
        pthread_mutex_lock(&im->lock);
        image->prepared = prepared;
        file->is_damaged = !ok;
        pthread_mutex_unlock(&im->lock);
    }
    pthread_mutex_unlock(&file->prepare_lock);
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
    pthread_mutex_lock(&image->file->prepare_lock);
    pthread_mutex_lock(&image->owner->lock);
    if (image->rows) {
        free(rows); // same form, same rows
    } else {
        image->rows = rows;
        vision_image_destroy(image->prepared);
        image->prepared = NULL;
    }
    pthread_mutex_unlock(&image->owner->lock);
    pthread_mutex_unlock(&image->file->prepare_lock);
}

const float *image_rows(struct image *image) {
    pthread_mutex_lock(&image->owner->lock);
    const float *rows = image->rows;
    pthread_mutex_unlock(&image->owner->lock);
    return rows;
}
