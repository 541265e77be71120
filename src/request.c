#include "request.h"

#include "base/mem.h"
#include "config.h"
#include "images.h"
#include "job.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static void request_random(void *out, size_t size_bytes) {
    if (getrandom(out, size_bytes, 0) != (ssize_t)size_bytes)
        abort(); // cannot happen for 256 bytes or less once the kernel is up
}

struct request *request_create(void) {
    struct request *r = xcalloc(1, sizeof *r);
    r->sampling = llm_sampling_default();
    request_random(&r->sampling.seed, sizeof r->sampling.seed);
    unsigned char bits[16];
    request_random(bits, sizeof bits);
    int at = snprintf(r->response_id, sizeof r->response_id, "resp_");
    for (size_t i = 0; i < sizeof bits; i++)
        at += snprintf(r->response_id + at, sizeof r->response_id - (size_t)at, "%02x", bits[i]);
    return r;
}

void request_turns_destroy(struct request_turn *turns, size_t n_turns) {
    for (size_t i = 0; i < n_turns; i++) {
        for (size_t j = 0; j < turns[i].n_parts; j++) {
            struct request_part *part = &turns[i].parts[j];
            free(part->text);
            free(part->image_bytes);
            free(part->image_id);
            image_release(part->image);
        }
        free(turns[i].parts);
    }
    free(turns);
}

void request_destroy(struct request *r) {
    if (!r)
        return;
    free(r->previous_response_id);
    free(r->instructions);
    request_turns_destroy(r->turns, r->n_turns);
    free(r->biases);
    for (size_t i = 0; i < r->n_text_biases; i++)
        free(r->text_biases[i].text);
    free(r->text_biases);
    llm_grammar_destroy(r->grammar);
    for (size_t i = 0; i < r->n_dry_breakers; i++)
        free(r->dry_breakers[i]);
    free(r->dry_breakers);
    for (size_t i = 0; i < r->n_stops; i++)
        free(r->stops[i]);
    free(r->stops);
    history_release(r->previous);
    free(r);
}

// Room for one more zeroed item behind n, doubling at powers of two.
static void *request_grow(void *items, size_t n, size_t size_bytes) {
    if (n > 0 && (n & (n - 1)) != 0)
        return items;
    void *grown = xcalloc(n ? 2 * n : 1, size_bytes);
    if (n > 0)
        memcpy(grown, items, n * size_bytes);
    free(items);
    return grown;
}

struct request_turn *request_add_turn(struct request *r, enum llm_role role) {
    r->turns = request_grow(r->turns, r->n_turns, sizeof *r->turns);
    struct request_turn *turn = &r->turns[r->n_turns++];
    turn->role = role;
    return turn;
}

struct request_part *request_add_part(struct request_turn *turn) {
    turn->parts = request_grow(turn->parts, turn->n_parts, sizeof *turn->parts);
    return &turn->parts[turn->n_parts++];
}

static bool assistant_resolve_part(struct assistant *a, struct request_part *part, size_t *n_images,
                                   struct err *err) {
    if (!part->image_bytes && !part->image_id)
        return true;
    if (!a->images)
        return err_set(err, ERR_IMAGE_UNSUPPORTED,
                       "this model reads no pictures: it was loaded without an mmproj file");
    if (++*n_images > a->config->max_images)
        return err_set(err, ERR_TOO_MANY_IMAGES, "picture %zu of the request, limit %zu", *n_images,
                       a->config->max_images);
    if (part->image_bytes) {
        bool known;
        part->image = images_put(a->images, part->image_bytes, part->image_size_bytes, &known, err);
        part->image_bytes = NULL;
        if (part->image) {
            free(part->image_id);
            part->image_id = xstrdup(image_info(part->image)->id);
        }
    } else {
        part->image = images_find(a->images, part->image_id, err);
    }
    return part->image != NULL;
}

static bool assistant_resolve_bias(struct assistant *a, struct request *r,
                                   const struct request_text_bias *bias, struct err *err) {
    size_t n;
    int32_t *ids = llm_tokenize(a->llm, bias->text, strlen(bias->text), false, 0, &n, err);
    size_t n_all = r->sampling.n_biases + n;
    struct llm_logit_bias *all = ids ? try_malloc_array(n_all + 1, sizeof *all, "logit_bias", err) : NULL;
    if (all) {
        memcpy(all, r->biases, r->sampling.n_biases * sizeof *all);
        for (size_t i = 0; i < n; i++)
            all[r->sampling.n_biases++] = (struct llm_logit_bias){ids[i], bias->bias};
        free(r->biases);
        r->sampling.biases = r->biases = all;
    }
    free(ids);
    return all != NULL;
}

bool assistant_resolve(struct assistant *a, struct request *r, struct err *err) {
    size_t n_images = 0;
    for (size_t i = 0; i < r->n_text_biases; i++)
        if (!assistant_resolve_bias(a, r, &r->text_biases[i], err))
            return err_set_param(err, "logit_bias");
    for (size_t i = 0; i < r->n_turns; i++)
        for (size_t j = 0; j < r->turns[i].n_parts; j++)
            if (!assistant_resolve_part(a, &r->turns[i].parts[j], &n_images, err))
                return err_set_param(err, "%s", r->turns[i].parts[j].param);
    if (r->previous_response_id)
        r->previous = store_find(a->store, r->previous_response_id, err);
    return !r->previous_response_id || r->previous;
}
