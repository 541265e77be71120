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

static bool assistant_resolve_part(struct assistant *a, const struct request *r, struct request_part *part,
                                   size_t *n_images, struct err *err) {
    if (!part->image_bytes && !part->image_id)
        return true;
    if (!a->images)
        return err_set(err, ERR_IMAGE_UNSUPPORTED,
                       "this model reads no pictures: it was loaded without an mmproj file");
    if (++*n_images > a->config->max_images)
        return err_set(err, ERR_TOO_MANY_IMAGES, "picture %zu of the request, limit %zu", *n_images,
                       a->config->max_images);
    part->chosen =
        (struct image_detail){.max_tokens = r->max_image_tokens, .low = part->detail == DETAIL_LOW};
    if (part->image_bytes) {
        bool known;
        part->image =
            images_put(a->images, part->image_bytes, part->image_size_bytes, &part->chosen, &known, err);
        part->image_bytes = NULL;
        if (part->image) {
            free(part->image_id);
            part->image_id = xstrdup(image_info(part->image)->id);
        }
    } else {
        part->image = images_find(a->images, part->image_id, &part->chosen, err);
    }
    return part->image != NULL;
}

static bool may_shrink(const struct request_part *part) {
    return part->image && part->detail == DETAIL_AUTO;
}

// The most that a picture of automatic detail may take so that those of its message take n_tokens in all: small ones
// stay as they are and leave their share to the others. SIZE_MAX where all fit.
static size_t auto_share(const struct request_turn *turn, size_t n_tokens) {
    size_t n_left = 0, total = 0, left = n_tokens;
    for (size_t j = 0; j < turn->n_parts; j++) {
        const struct request_part *part = &turn->parts[j];
        size_t n = part->image ? image_info(part->image)->n_tokens : 0;
        total += n;
        n_left += may_shrink(part);
        if (!may_shrink(part))
            left -= n < left ? n : left;
    }
    if (total <= n_tokens || n_left == 0)
        return SIZE_MAX;
    size_t share = left / n_left, n_small = 0, small = 0, n_before;
    do { // the share grows with each round, and never beyond the largest
        n_before = n_small;
        n_small = small = 0;
        for (size_t j = 0; j < turn->n_parts; j++) {
            size_t n = may_shrink(&turn->parts[j]) ? image_info(turn->parts[j].image)->n_tokens : SIZE_MAX;
            n_small += n <= share;
            small += n <= share ? n : 0;
        }
        if (n_small < n_left && small < left)
            share = (left - small) / (n_left - n_small);
    } while (n_small > n_before);
    return share ? share : 1;
}

// Automatic detail: the pictures of a message together leave room for the question and its answer.
static bool assistant_fit_turn(struct assistant *a, struct request_turn *turn, struct err *err) {
    if (!a->images)
        return true;
    size_t share = auto_share(turn, images_auto_tokens(a->images));
    for (size_t j = 0; j < turn->n_parts; j++) {
        struct request_part *part = &turn->parts[j];
        if (!may_shrink(part) || image_info(part->image)->n_tokens <= share)
            continue;
        size_t full_tokens = image_info(part->image)->n_tokens;
        part->chosen.max_tokens = share;
        struct image *smaller = images_find(a->images, part->image_id, &part->chosen, err);
        if (!smaller)
            return err_set_param(err, "%s", part->param);
        image_release(part->image);
        part->image = smaller;
        part->full_tokens = image_info(smaller)->n_tokens < full_tokens ? full_tokens : 0;
    }
    return true;
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
    for (size_t i = 0; i < r->n_turns; i++) {
        for (size_t j = 0; j < r->turns[i].n_parts; j++)
            if (!assistant_resolve_part(a, r, &r->turns[i].parts[j], &n_images, err))
                return err_set_param(err, "%s", r->turns[i].parts[j].param);
        if (!assistant_fit_turn(a, &r->turns[i], err))
            return false;
    }
    if (r->previous_response_id)
        r->previous = store_find(a->store, r->previous_response_id, err);
    return !r->previous_response_id || r->previous;
}
