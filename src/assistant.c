// The pipeline: what one request goes through.
//
//   job_prepare       picture bytes -> pixels (vision_prepare); turns -> prompt with the rows of each picture; what
//                     outgrows the context loses its oldest pictures
//   job_start         prompt + sequence -> what is cached already, which pictures need an encode
//   job_encode_layer  pixels -> ViT -> projector -> rows [n_tokens, n_embd], a layer a call
//   job_rows          prompt rows or the last token -> what the next forward step computes
//   job_choose        logits [n_vocab] -> sampler -> id
//   job_accept        id -> detokeniser -> stop strings -> text event
//   job_finish        usage, stats, history
#include "base/clock.h"
#include "base/mem.h"
#include "images.h"
#include "job.h"
#include "store.h"
#include "vision/vision.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ANSWER_SHARE = 16
}; // of the context, 1 in so many positions: kept free for the answer by leaving pictures out

struct job *job_create(struct assistant *a, struct request *r, event_fn emit, void *ud) {
    struct job *j = xcalloc(1, sizeof *j);
    j->assistant = a;
    j->request = r;
    j->emit = emit;
    j->ud = ud;
    j->state = JOB_PREPARING;
    j->submit_ms = clock_ms();
    return j;
}

void job_destroy(struct job *j) {
    if (!j)
        return;
    vision_encode_destroy(j->encode);
    llm_prompt_destroy(j->prompt);
    for (size_t i = 0; i < j->n_images; i++)
        image_release(j->images[i]);
    free(j->images);
    free(j->notices);
    llm_sampler_destroy(j->sampler);
    llm_detok_destroy(j->detok);
    llm_stops_destroy(j->stops);
    free(j->answer);
    free(j->ids);
    free(j->tokens);
    request_destroy(j->request);
    free(j);
}

static void job_emit_progress(struct job *j, enum stage stage, size_t done, size_t total) {
    size_t n_computed = j->n_prefilled - j->n_prefix;
    double ms_per_row =
        n_computed > 0 ? j->prefill_ms / (double)n_computed : 0; // unknown before the first chunk
    j->emit(j->ud, &(struct event){.type = EVENT_PROGRESS,
                                   .stage = stage,
                                   .done = done,
                                   .total = total,
                                   .eta_ms = ms_per_row * (double)(total - done),
                                   .queue_position = stage == STAGE_QUEUED ? j->queue_position : 0});
}

void job_tell_decoding(struct job *j, bool done) {
    const struct request *r = j->request;
    size_t n = 0;
    for (size_t i = 0; i < r->n_turns; i++)
        for (size_t k = 0; k < r->turns[i].n_parts; k++)
            n += r->turns[i].parts[k].image_id != NULL;
    j->told_decoding = true;
    if (n > 0)
        job_emit_progress(j, STAGE_DECODING, done ? n : 0, n);
}

void job_tell_loading(struct job *j) {
    size_t done_bytes, total_bytes;
    llm_load_progress(j->assistant->llm, &done_bytes, &total_bytes);
    job_emit_progress(j, STAGE_LOADING, done_bytes >> 20, total_bytes >> 20);
}

void job_tell_position(struct job *j, size_t position) {
    if (j->queue_position == position)
        return;
    j->queue_position = position;
    job_emit_progress(j, STAGE_QUEUED, 0, 0);
}

void job_tell_notices(struct job *j) {
    for (size_t i = 0; i < j->n_notices; i++)
        j->emit(j->ud, &(struct event){.type = EVENT_NOTICE, .notice = j->notices[i]});
    j->n_notices = 0;
}

const char *notice_name(enum notice_code code) {
    static const char *const names[] = {"image_reduced", "image_dropped", "several_images"};
    return names[code];
}

const char *notice_text(const struct notice *n, char text[NOTICE_TEXT_SIZE]) {
    switch (n->code) {
    case NOTICE_IMAGE_REDUCED:
        snprintf(text, NOTICE_TEXT_SIZE,
                 "The model sees a smaller version of a picture, of %zu tokens instead of %zu, to fit the "
                 "context.",
                 n->n_tokens, n->full_tokens);
        break;
    case NOTICE_IMAGE_DROPPED:
        snprintf(
            text, NOTICE_TEXT_SIZE,
            "The model no longer sees an earlier picture of %zu tokens: the conversation has outgrown the "
            "context.",
            n->n_tokens);
        break;
    case NOTICE_SEVERAL_IMAGES:
        snprintf(text, NOTICE_TEXT_SIZE,
                 "The model was trained on one picture a conversation and sees %zu: it may mix them up.",
                 n->n_images);
        break;
    }
    return text;
}

const char *stage_name(enum stage stage) {
    static const char *const names[] = {"queued", "decoding", "loading", "encoding", "prefill"};
    return names[stage];
}

// ---- prepare (worker thread) ----

struct message_list { // messages and their parts, borrowed from histories and request
    struct llm_message *messages;
    struct llm_part *parts;
    struct image **images;         // [n_images] oldest first, each a reference
    struct llm_part **image_parts; // [n_images] theirs
    size_t n_messages, n_parts, n_images;
    size_t n_dropped, n_old; // of the images: left out; before the last message
};

static size_t turns_n_parts(const struct request_turn *turns, size_t n_turns) {
    size_t n = 0;
    for (size_t i = 0; i < n_turns; i++)
        n += turns[i].n_parts;
    return n;
}

// Appends turns; pictures are looked up by id, so that an evicted one is reported rather than guessed.
static bool list_add_turns(struct message_list *l, struct images *images, const struct request_turn *turns,
                           size_t n_turns, struct err *err) {
    for (size_t i = 0; i < n_turns; i++) {
        l->n_old = l->n_images;
        l->messages[l->n_messages++] =
            (struct llm_message){turns[i].role, &l->parts[l->n_parts], turns[i].n_parts};
        for (size_t k = 0; k < turns[i].n_parts; k++) {
            const struct request_part *part = &turns[i].parts[k];
            struct llm_part *out = &l->parts[l->n_parts++];
            if (!part->image_id) {
                out->text = part->text ? part->text : "";
                out->len = strlen(out->text);
                continue;
            }
            struct image *image = images_find(images, part->image_id, &part->chosen, err);
            if (!image)
                return false;
            l->image_parts[l->n_images] = out;
            l->images[l->n_images++] = image;
            out->image = *image_for_prompt(image);
        }
    }
    return true;
}

static void list_add_answer(struct message_list *l, const struct history *h) {
    struct llm_part *part = &l->parts[l->n_parts++];
    *part = (struct llm_part){
        .text = h->answer, .len = h->answer_len, .ids = h->answer_ids, .n_ids = h->n_answer_ids};
    l->messages[l->n_messages++] = (struct llm_message){LLM_ASSISTANT, part, 1};
}

// Oldest first: instructions, earlier turns with their answers, this request's turns.
static bool list_build(struct message_list *l, struct job *j, struct err *err) {
    const struct request *r = j->request;
    size_t n_turns = r->n_turns + 1, n_parts = turns_n_parts(r->turns, r->n_turns) + 1, n_past = 0;
    for (const struct history *h = r->previous; h; h = h->previous) {
        n_turns += h->n_turns + 1;
        n_parts += turns_n_parts(h->turns, h->n_turns) + 1;
        n_past++;
    }
    l->messages = xcalloc(n_turns, sizeof *l->messages);
    l->parts = xcalloc(n_parts, sizeof *l->parts);
    l->images = xcalloc(n_parts, sizeof(struct image *));
    l->image_parts = xcalloc(n_parts, sizeof(struct llm_part *));
    if (r->instructions) {
        struct llm_part *part = &l->parts[l->n_parts++];
        *part = (struct llm_part){.text = r->instructions, .len = strlen(r->instructions)};
        l->messages[l->n_messages++] = (struct llm_message){LLM_SYSTEM, part, 1};
    }
    const struct history **past = xcalloc(n_past, sizeof(struct history *));
    size_t at = n_past;
    for (const struct history *h = r->previous; h; h = h->previous)
        past[--at] = h;
    bool ok = true;
    for (size_t i = 0; ok && i < n_past; i++) {
        ok = list_add_turns(l, j->assistant->images, past[i]->turns, past[i]->n_turns, err);
        if (ok)
            list_add_answer(l, past[i]);
    }
    free(past);
    return ok && list_add_turns(l, j->assistant->images, r->turns, r->n_turns, err);
}

static void list_clear(struct message_list *l) {
    for (size_t i = 0; i < l->n_images; i++)
        image_release(l->images[i]);
    free(l->images);
    free(l->image_parts);
    free(l->messages);
    free(l->parts);
}

// The prompt may order pictures otherwise than the messages do: one reference for each of its runs.
static bool job_bind_images(struct job *j, struct err *err) {
    size_t n = llm_prompt_n_images(j->prompt);
    j->images = xcalloc(n, sizeof(struct image *));
    for (size_t i = 0; i < n; i++) {
        size_t first_row, n_rows;
        const char *key;
        llm_prompt_image(j->prompt, i, &first_row, &n_rows, &key);
        j->images[i] = images_find_key(j->assistant->images, key, err);
        if (!j->images[i])
            return false;
        j->n_images++;
        j->usage.image_tokens += image_info(j->images[i])->n_tokens;
    }
    return true;
}

static void job_notice(struct job *j, const struct notice *notice) {
    j->notices[j->n_notices++] = *notice;
}

static struct notice image_notice(enum notice_code code, const struct image *image) {
    struct notice notice = {.code = code, .n_tokens = image_info(image)->n_tokens};
    memcpy(notice.image_id, image_info(image)->id, sizeof notice.image_id);
    return notice;
}

// The oldest picture makes way for a few words, so that a question about it has something to hold on to.
static void list_drop_image(struct message_list *l, struct job *j) {
    static const char mark[] = "[image no longer in context]\n";
    struct notice notice = image_notice(NOTICE_IMAGE_DROPPED, l->images[l->n_dropped]);
    *l->image_parts[l->n_dropped++] = (struct llm_part){.text = mark, .len = sizeof mark - 1};
    job_notice(j, &notice);
}

// Pictures before the last message give way, oldest first and each as a whole, until the rest fits the context with
// some room for the answer. Text never does.
static bool job_build_prompt(struct job *j, struct message_list *l, struct err *err) {
    const struct llm *llm = j->assistant->llm;
    size_t n_ctx = llm_n_ctx(llm), room = n_ctx / ANSWER_SHARE, most = j->request->max_output_tokens;
    size_t n_tokens = 0; // of the pictures left
    room = most && most < room ? most : room;
    for (size_t i = 0; i < l->n_images; i++)
        n_tokens += image_info(l->images[i])->n_tokens;
    for (;;) {
        while (l->n_dropped < l->n_old && n_tokens + room > n_ctx) { // no need to try
            n_tokens -= image_info(l->images[l->n_dropped])->n_tokens;
            list_drop_image(l, j);
        }
        struct err failed = {0};
        j->prompt = llm_prompt_chat(llm, l->messages, l->n_messages, &failed);
        bool is_too_long =
            j->prompt ? llm_prompt_n_rows(j->prompt) + room > n_ctx : failed.code == ERR_CONTEXT_EXCEEDED;
        if (!is_too_long || l->n_dropped == l->n_old || atomic_load(&j->cancelled)) {
            if (!j->prompt)
                *err = failed;
            return j->prompt;
        }
        llm_prompt_destroy(j->prompt);
        j->prompt = NULL;
        n_tokens -= image_info(l->images[l->n_dropped])->n_tokens;
        list_drop_image(l, j);
    }
}

static void job_note_images(struct job *j) {
    const struct request *r = j->request;
    for (size_t i = 0; i < r->n_turns; i++)
        for (size_t k = 0; k < r->turns[i].n_parts; k++) {
            const struct request_part *part = &r->turns[i].parts[k];
            if (part->full_tokens == 0)
                continue;
            struct notice notice = image_notice(NOTICE_IMAGE_REDUCED, part->image);
            notice.full_tokens = part->full_tokens;
            job_notice(j, &notice);
        }
    if (j->n_images > 1 && vision_single_image(j->assistant->vision))
        job_notice(j, &(struct notice){.code = NOTICE_SEVERAL_IMAGES, .n_images = j->n_images});
}

// The request's stop strings, and that of the chat template.
static struct llm_stops *create_stops(const struct llm *m, const struct request *r) {
    const char *own = llm_template_stop(m), **stops = xcalloc(r->n_stops + 1, sizeof *stops);
    for (size_t i = 0; i < r->n_stops; i++)
        stops[i] = r->stops[i];
    stops[r->n_stops] = own;
    struct llm_stops *s = llm_stops_create(stops, r->n_stops + (own != NULL));
    free(stops);
    return s;
}

bool job_prepare(struct job *j, struct err *err) {
    const struct request *r = j->request;
    struct message_list l = {0};
    bool ok = list_build(&l, j, err);
    if (ok && !j->prompt) {
        j->notices = xcalloc(2 * l.n_images + 1, sizeof *j->notices); // two for each picture at most
        ok = job_build_prompt(j, &l, err) && job_bind_images(j, err);
        if (ok)
            job_note_images(j);
    }
    for (size_t i = 0; ok && i < j->n_images && !atomic_load(&j->cancelled); i++)
        ok = image_rows(j->images[i]) || image_prepare(j->images[i], err);
    list_clear(&l);
    if (!ok)
        return false;
    j->usage.input_tokens = llm_prompt_n_rows(j->prompt);
    if (!j->sampler) {
        j->sampler = llm_sampler_create(j->assistant->llm, &r->sampling, err);
        if (!j->sampler)
            return false;
        llm_sampler_see(j->sampler, j->prompt);
        j->detok = llm_detok_create(j->assistant->llm, false);
        j->stops = create_stops(j->assistant->llm, r);
        size_t room = llm_n_ctx(j->assistant->llm) - j->usage.input_tokens;
        j->ids_cap = r->max_output_tokens && r->max_output_tokens < room ? r->max_output_tokens : room;
        j->ids = xcalloc(j->ids_cap + 1, sizeof *j->ids);
    }
    return true;
}

// ---- with a sequence (inference thread) ----

// Moves on to the next picture whose rows are not there yet, or to the prefill. Pictures that lie in the
// cached prefix need no rows.
static void job_next_image(struct job *j) {
    size_t n = j->n_images - j->first_image;
    for (; j->at_image < j->n_images; j->at_image++) {
        const float *rows = image_rows(j->images[j->at_image]);
        if (!rows) {
            j->state = JOB_ENCODING;
            job_emit_progress(j, STAGE_ENCODING, j->at_image - j->first_image, n);
            return;
        }
        llm_prompt_set_image_rows(j->prompt, j->at_image, rows);
    }
    if (n > 0)
        job_emit_progress(j, STAGE_ENCODING, n, n);
    j->state = JOB_PREFILL;
    job_emit_progress(j, STAGE_PREFILL, j->n_prefix, j->usage.input_tokens);
}

void job_start(struct job *j, struct llm_seq *seq) {
    j->seq = seq;
    j->n_prefix = j->n_prefilled = llm_seq_match(seq, j->prompt);
    llm_seq_truncate(seq, j->n_prefix);
    j->usage.cached_tokens = j->stats.prefix_tokens = j->n_prefix;
    for (size_t i = 0; i < j->n_images; i++) {
        size_t first_row, n_rows;
        const char *key;
        llm_prompt_image(j->prompt, i, &first_row, &n_rows, &key);
        if (first_row < j->n_prefix)
            j->first_image = i + 1;
    }
    j->at_image = j->first_image;
    j->stats.images_cached = j->n_images; // less those that get encoded
    job_next_image(j);
}

static bool job_begin_encode(struct job *j, struct err *err) {
    struct image *image = j->images[j->at_image];
    struct vision_image *prepared = image_take_prepared(image);
    if (!prepared) { // a job that was cancelled since took the pixels with it: decode again
        if (!image_prepare(image, err))
            return false;
        prepared = image_take_prepared(image);
    }
    j->encode = vision_encode_create(j->assistant->vision, prepared, err);
    return j->encode != NULL;
}

bool job_encode_layer(struct job *j, struct err *err) {
    if (!j->encode && image_rows(j->images[j->at_image])) { // another job has encoded it meanwhile
        job_next_image(j);
        return true;
    }
    if (!j->encode && !job_begin_encode(j, err))
        return false;
    if (!vision_encode_step(j->encode, 1, err))
        return false;
    size_t done, total;
    vision_encode_progress(j->encode, &done, &total);
    if (done < total)
        return true;
    struct image *image = j->images[j->at_image];
    size_t n = image_info(image)->n_rows * vision_n_embd(j->assistant->vision);
    float *rows = try_malloc_array(n, sizeof *rows, "embedding rows of a picture", err);
    if (!rows)
        return false;
    vision_encode_rows(j->encode, rows);
    image_set_rows(image, rows);
    vision_encode_destroy(j->encode);
    j->encode = NULL;
    j->stats.images_encoded++;
    j->stats.images_cached--;
    job_next_image(j);
    return true;
}

struct llm_rows job_rows(const struct job *j, size_t max_rows) {
    if (j->state == JOB_DECODING)
        return (struct llm_rows){.seq = j->seq, .id = j->token, .n_rows = 1, .want_logits = true};
    size_t left = j->usage.input_tokens - j->n_prefilled;
    size_t n = llm_prompt_chunk(j->prompt, j->n_prefilled, max_rows);
    return (struct llm_rows){
        .seq = j->seq, .prompt = j->prompt, .first = j->n_prefilled, .n_rows = n, .want_logits = n == left};
}

// Sends what may be shown now. Text goes out as it is final: a stop string that may yet come is held back.
static bool job_emit_text(struct job *j, const char *text, size_t len, struct err *err) {
    if (len == 0)
        return true;
    if (j->answer_len + len > j->answer_cap) {
        size_t cap = 2 * (j->answer_len + len);
        char *grown = realloc(j->answer, cap);
        if (!grown)
            return err_set(err, ERR_NOMEM, "answer: no memory for %zu bytes", cap);
        j->answer = grown;
        j->answer_cap = cap;
    }
    memcpy(j->answer + j->answer_len, text, len);
    j->answer_len += len;
    job_emit_delta(j, text, len, job_due_tokens(j));
    return true;
}

// What detokeniser and stop strings still hold back when an answer ends by itself.
static bool job_emit_rest(struct job *j, struct err *err) {
    size_t len;
    bool stopped;
    const char *text = llm_detok_flush(j->detok, &len);
    text = llm_stops_put(j->stops, text, len, &len, &stopped);
    if (!job_emit_text(j, text, len, err))
        return false;
    if (stopped)
        return true;
    text = llm_stops_flush(j->stops, &len);
    return job_emit_text(j, text, len, err);
}

// Tokens that are left when all text is out: those that show none, and the one that a stop string cuts.
static void job_emit_last_tokens(struct job *j, bool stopped) {
    size_t n = stopped ? job_shown_tokens(j) : j->n_tokens;
    if (n > 0)
        job_emit_delta(j, "", 0, n);
}

static bool job_accept_token(struct job *j, int32_t id, struct err *err) {
    if (j->usage.output_tokens == 0)
        j->stats.ttft_ms = clock_ms() - j->submit_ms;
    j->usage.output_tokens++;
    if (llm_token_is_end(j->assistant->llm, id)) {
        if (!job_emit_rest(j, err))
            return false;
        job_emit_last_tokens(j, false);
        job_finish(j, FINISH_COMPLETED, NULL);
        return true;
    }
    j->ids[j->n_ids++] = id;
    size_t len;
    bool stopped;
    const char *text = llm_detok_put(j->detok, id, &len);
    job_place_token(j, len);
    text = llm_stops_put(j->stops, text, len, &len, &stopped);
    if (!job_emit_text(j, text, len, err))
        return false;
    if (stopped) {
        j->n_ids = 0; // the ids say more than the text that was kept
        job_emit_last_tokens(j, true);
        job_finish(j, FINISH_COMPLETED, NULL);
    } else if (j->n_ids == j->ids_cap) {
        if (!job_emit_rest(j, err))
            return false;
        job_emit_last_tokens(j, false);
        job_finish(j, FINISH_INCOMPLETE, NULL);
    } else {
        j->state = JOB_DECODING;
    }
    return true;
}

bool job_choose(struct job *j, const struct llm_rows *rows, struct err *err) {
    return !rows->logits || llm_sampler_next(j->sampler, rows->logits, &j->token, err);
}

bool job_accept(struct job *j, const struct llm_rows *rows, struct err *err) {
    if (j->state == JOB_PREFILL) {
        j->n_prefilled += rows->n_rows;
        job_emit_progress(j, STAGE_PREFILL, j->n_prefilled, j->usage.input_tokens);
        if (j->n_prefilled < j->usage.input_tokens)
            return true;
    }
    return job_note_token(j, j->token, rows->logits, err) && job_accept_token(j, j->token, err);
}

void job_finish(struct job *j, enum finish finish, const struct err *err) {
    const struct request *r = j->request;
    struct event done = {.type = EVENT_DONE, .finish = finish};
    if (err)
        done.err = *err;
    j->state = JOB_FINISHED;
    if (atomic_load(&j->preparing)) { // cancelled while a worker holds the job: there is nothing to count yet
        j->emit(j->ud, &done);
        return;
    }
    done.usage = j->usage;
    done.stats = j->stats;
    if (finish == FINISH_INCOMPLETE)
        done.incomplete_reason =
            r->max_output_tokens && j->n_ids >= r->max_output_tokens ? "max_output_tokens" : "context";
    if (j->prefill_ms > 0)
        done.stats.prompt_tps = 1000.0 * (double)(j->n_prefilled - j->n_prefix) / j->prefill_ms;
    if (j->decode_ms > 0 && j->usage.output_tokens > 1)
        done.stats.decode_tps = 1000.0 * (double)(j->usage.output_tokens - 1) / j->decode_ms;
    if (finish != FINISH_FAILED && j->usage.output_tokens > 0) {
        char *answer = xcalloc(1, j->answer_len + 1);
        if (j->answer_len)
            memcpy(answer, j->answer, j->answer_len);
        store_put(j->assistant->store, j->request, answer, j->answer_len, j->n_ids ? j->ids : NULL, j->n_ids);
        if (j->n_ids)
            j->ids = NULL;
    }
    j->emit(j->ud, &done);
}
