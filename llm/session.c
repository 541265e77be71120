// Takes pieces of prompts and sampled tokens, gives the step that the transformer runs; remembers what is in
// each position of a sequence, so that the next prompt can go on from what they have in common.
#include "base/mem.h"
#include "llm/model.h"
#include "llm/prompt.h"

#include <assert.h>
#include <stdlib.h>

struct seq_image {
    char *key;     // owned
    size_t first;  // position of its first row
    size_t n_rows; // that the whole image has
    size_t n_held; // of these in the cache, from the first on
};

struct llm_seq {
    struct llm *m;
    struct kv_cache kv;
    size_t n_past;
    int32_t *ids;           // [n_ctx], PROMPT_IMAGE_ROW in rows of images
    int32_t *next_position; // [n_ctx]: the RoPE position that follows each row; NULL: its place + 1
    struct seq_image *images;
    size_t n_images, cap_images;
};

struct llm_seq *llm_seq_create(struct llm *m, struct err *err) {
    struct llm_seq *s = xcalloc(1, sizeof *s);
    s->m = m;
    s->ids = try_malloc_array(m->n_ctx, sizeof *s->ids, "positions of a sequence", err);
    if (m->rope.n_axes > 1)
        s->next_position =
            try_malloc_array(m->n_ctx, sizeof *s->next_position, "positions of a sequence", err);
    if (s->ids && (s->next_position || m->rope.n_axes <= 1) &&
        kv_cache_init(&s->kv, m->ops, &m->kv, m->hp.n_layer, m->n_ctx, err))
        return s;
    llm_seq_destroy(s);
    return NULL;
}

void llm_seq_destroy(struct llm_seq *s) {
    if (!s)
        return;
    llm_seq_truncate(s, 0);
    kv_cache_clear(&s->kv);
    free(s->images);
    free(s->ids);
    free(s->next_position);
    free(s);
}

size_t llm_seq_n_past(const struct llm_seq *s) {
    return s->n_past;
}

void llm_seq_truncate(struct llm_seq *s, size_t n_past) {
    if (n_past < s->n_past)
        s->n_past = n_past;
    while (s->n_images > 0) {
        struct seq_image *last = &s->images[s->n_images - 1];
        if (last->first < s->n_past) {
            if (last->n_held > s->n_past - last->first)
                last->n_held = s->n_past - last->first;
            return;
        }
        free(last->key);
        s->n_images--;
    }
}

// Whether the sequence holds all rows of an image from position `first` on.
static bool holds_image(const struct llm_seq *s, const struct prompt_image *image, size_t first) {
    for (size_t i = 0; i < s->n_images; i++)
        if (s->images[i].first == first)
            return s->images[i].n_rows == image->n_rows && s->images[i].n_held == image->n_rows &&
                   strcmp(s->images[i].key, image->key) == 0;
    return false;
}

size_t llm_seq_match(const struct llm_seq *s, const struct llm_prompt *p) {
    size_t most = p->n_rows ? p->n_rows - 1 : 0, n = 0;
    if (most > s->n_past)
        most = s->n_past;
    while (n < most) {
        if (p->ids[n] != PROMPT_IMAGE_ROW) {
            if (s->ids[n] != p->ids[n])
                break;
            n++;
            continue;
        }
        const struct prompt_image *image = prompt_image_at(p, n);
        if (image->n_rows > most - n || !holds_image(s, image, n))
            break;
        n += image->n_rows;
    }
    return n;
}

static bool append_image(struct llm_seq *s, const struct prompt_image *image, size_t first, struct err *err) {
    if (s->n_images == s->cap_images) {
        size_t cap = s->cap_images ? 2 * s->cap_images : 4;
        struct seq_image *images = realloc(s->images, cap * sizeof *images);
        if (!images)
            return err_set(err, ERR_NOMEM, "images of a sequence: no memory for %zu", cap);
        s->images = images;
        s->cap_images = cap;
    }
    s->images[s->n_images++] =
        (struct seq_image){.key = xstrdup(image->key), .first = first, .n_rows = image->n_rows};
    return true;
}

// Notes a prompt's row at a position behind n_past, where llm_seq_truncate(s, s->n_past) forgets it again.
// Rows of an image whose beginning is not in front of them are noted as belonging to none: they never match.
static bool note_image_row(struct llm_seq *s, const struct prompt_image *image, size_t row, size_t position,
                           struct err *err) {
    size_t offset = row - image->first_row;
    if (offset == 0 && !append_image(s, image, position, err))
        return false;
    struct seq_image *last = s->n_images ? &s->images[s->n_images - 1] : NULL;
    if (last && last->n_held == offset && last->first + offset == position && last->n_rows == image->n_rows &&
        strcmp(last->key, image->key) == 0)
        last->n_held++;
    return true;
}

// RoPE's position of row `at` of the step, on each axis: the row's place, or with M-RoPE what the prompt
// says.
static void put_position(struct llm *m, const struct llm_rows *part, size_t row, size_t place, size_t at) {
    struct llm_seq *s = part->seq;
    int32_t *positions = m->step.positions;
    if (!s->next_position) {
        positions[at] = (int32_t)place;
        return;
    }
    int32_t next = place > 0 ? s->next_position[place - 1] : 0;
    for (size_t axis = 0; axis < 3; axis++)
        positions[3 * at + axis] = part->prompt ? part->prompt->positions[3 * row + axis] : next;
    s->next_position[place] = part->prompt ? part->prompt->next_position[row] : next + 1;
}

// Lays one row of a part out as row `at` of the step.
static bool put_row(struct llm *m, const struct llm_rows *part, size_t i, size_t at, struct err *err) {
    struct llm_seq *s = part->seq;
    struct step *step = &m->step;
    size_t row = part->first + i, position = s->n_past + i;
    int32_t id = part->prompt ? part->prompt->ids[row] : part->id;
    step->ids[at] = id;
    step->images[at] = NULL;
    s->ids[position] = id;
    put_position(m, part, row, position, at);
    if (part->prompt && id == PROMPT_IMAGE_ROW) {
        const struct prompt_image *image = prompt_image_at(part->prompt, row);
        if (!image->rows)
            return err_set(err, ERR_INTERNAL, "image at row %zu of the prompt: its rows were never set",
                           image->first_row);
        step->images[at] = image->rows + (row - image->first_row) * part->prompt->n_embd_image;
        return note_image_row(s, image, row, position, err);
    }
    if (id < 0 || (size_t)id >= m->n_vocab)
        return err_set(err, ERR_INTERNAL, "token id %d: want 0 to %zu", (int)id, m->n_vocab - 1);
    return true;
}

// Sizes of a step, checked.
static bool count_rows(const struct llm *m, const struct llm_rows *parts, size_t n_parts, size_t *n_rows,
                       size_t *n_logits, size_t *n_hidden, struct err *err) {
    *n_rows = *n_logits = *n_hidden = 0;
    for (size_t i = 0; i < n_parts; i++) {
        const struct llm_rows *part = &parts[i];
        size_t n_past = part->seq->n_past, n = part->n_rows;
        assert(part->seq->m == m && n > 0);
        assert(part->prompt ? part->first < part->prompt->n_rows && n <= part->prompt->n_rows - part->first
                            : n == 1);
        for (size_t k = 0; k < i; k++)
            assert(parts[k].seq != part->seq);
        if (n > m->n_ctx - n_past)
            return err_set(err, ERR_CONTEXT_EXCEEDED, "%zu rows behind %zu positions, the context holds %zu",
                           n, n_past, m->n_ctx);
        if (n > m->n_rows_max - *n_rows)
            return err_set(err, ERR_INTERNAL, "a step of more than %zu rows", m->n_rows_max);
        *n_rows += n;
        *n_logits += part->all_logits ? n : part->want_logits;
        *n_hidden += part->want_hidden ? n : 0;
    }
    return true;
}

// The rows of a part from `row` to `end` that attention takes together: a run of an image whose rows see each
// other both ways, or what lies before the next one. Returns their end; 0 where such a run would be parted.
static size_t attention_end(const struct llm_prompt *p, size_t row, size_t end, bool *both_ways) {
    *both_ways = false;
    for (size_t i = 0; p && i < p->n_runs; i++) {
        const struct prompt_image *run = &p->images[i];
        size_t run_end = run->first_row + run->n_rows;
        if (!run->both_ways || run_end <= row || run->first_row >= end)
            continue;
        if (run->first_row > row)
            return run->first_row;
        *both_ways = true;
        return run->first_row == row && run_end <= end ? run_end : 0;
    }
    return end;
}

static bool put_attention(struct step *step, const struct llm_rows *part, struct err *err) {
    size_t first = part->prompt ? part->first : 0;
    for (size_t row = first, end; row < first + part->n_rows; row = end) {
        bool both_ways;
        end = attention_end(part->prompt, row, first + part->n_rows, &both_ways);
        if (end == 0)
            return err_set(err, ERR_INTERNAL, "a step cuts an image at row %zu of the prompt", row);
        step->parts[step->n_parts++] = (struct step_part){.kv = &part->seq->kv,
                                                          .n_past = part->seq->n_past + row - first,
                                                          .n_rows = end - row,
                                                          .both_ways = both_ways,
                                                          .want_hidden = part->want_hidden};
    }
    return true;
}

static bool put_parts(struct llm *m, const struct llm_rows *parts, size_t n_parts, struct err *err) {
    struct step *step = &m->step;
    step->n_rows = step->n_logits = step->n_parts = 0;
    for (size_t i = 0; i < n_parts; i++) {
        const struct llm_rows *part = &parts[i];
        if (!put_attention(step, part, err))
            return false;
        for (size_t k = 0; k < part->n_rows; k++, step->n_rows++) {
            if (part->all_logits || (part->want_logits && k + 1 == part->n_rows))
                step->logit_rows[step->n_logits++] = step->n_rows;
            if (!put_row(m, part, k, step->n_rows, err))
                return false;
        }
    }
    return true;
}

bool llm_forward(struct llm *m, struct llm_rows *parts, size_t n_parts, bool (*cancelled)(void *ctx),
                 void *ctx, struct err *err) {
    size_t n_rows, n_logits, n_hidden;
    bool grew;
    if (n_parts == 0)
        return true;
    while (llm_load(m)) {
    }
    if (!count_rows(m, parts, n_parts, &n_rows, &n_logits, &n_hidden, err) ||
        !transformer_reserve(m, n_rows, n_logits, n_hidden, &grew, err))
        return false;
    bool guarded = !grew; // decode alone, in memory that is there
    for (size_t i = 0; i < n_parts; i++)
        guarded = guarded && !parts[i].prompt;
    if (guarded)
        mem_guard_begin();
    bool ok = put_parts(m, parts, n_parts, err) && transformer_forward(m, cancelled, ctx, err);
    if (guarded)
        mem_guard_end();
    const float *logits = m->step.logits, *hidden = m->step.hidden;
    for (size_t i = 0; i < n_parts; i++) {
        struct llm_rows *part = &parts[i];
        if (!ok) {
            llm_seq_truncate(part->seq, part->seq->n_past);
            continue;
        }
        part->seq->n_past += part->n_rows;
        size_t n = part->all_logits ? part->n_rows : part->want_logits;
        part->logits = n ? logits : NULL;
        logits += n * m->n_vocab;
        part->hidden = part->want_hidden ? hidden : NULL;
        if (part->want_hidden)
            hidden += part->n_rows * m->n_embd;
    }
    return ok;
}
