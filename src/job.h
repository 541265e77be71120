// Inside the app layer: one request on its way through the pipeline. assistant.c moves it along, scheduler.c
// decides when.
#ifndef JOB_H
#define JOB_H

#include "assistant.h"

#include <stdatomic.h>

struct vision_encode;

struct assistant {
    const struct config *config;
    struct ops *ops;
    struct llm *llm;
    struct vision *vision; // NULL: a text model
    struct images *images; // NULL: a text model
    struct store *store;
};

enum job_state {
    JOB_PREPARING, // pictures are being decoded on a worker
    JOB_WAITING,   // for a sequence
    JOB_ENCODING,  // pictures through the ViT
    JOB_PREFILL,
    JOB_DECODING,
    JOB_FINISHED, // EVENT_DONE was sent
};

struct job { // inference thread, unless said otherwise
    struct assistant *assistant;
    struct request *request;
    event_fn emit;
    void *ud;
    uint64_t id;
    enum job_state state;
    _Atomic bool cancelled; // set by any thread
    _Atomic bool paused;    // set by any thread
    _Atomic bool preparing; // a worker holds the job: it may neither be read further nor freed
    struct err prepare_err; // written by the worker before `preparing` falls

    // Made by job_prepare, in the order of the prompt.
    struct llm_prompt *prompt;
    struct image **images; // [n_images] references
    size_t n_images;
    struct notice *notices; // [n_notices] to be told
    size_t n_notices;

    struct llm_seq *seq; // borrowed from the scheduler while it runs
    size_t n_prefix;     // rows the sequence held already
    size_t first_image;  // the first image that the prompt still needs
    size_t at_image;     // the image being encoded
    struct vision_encode *encode;
    size_t n_prefilled; // rows of the prompt that are in the sequence
    int32_t token;      // the last one chosen, not yet in the sequence

    struct llm_sampler *sampler;
    struct llm_detok *detok;
    struct llm_stops *stops;
    char *answer; // [answer_cap]
    size_t answer_len, answer_cap;
    int32_t *ids; // [ids_cap] sampled
    size_t n_ids, ids_cap;
    struct event_token *tokens; // [tokens_cap] chosen, not told yet; with request.logprobs
    size_t n_tokens, tokens_cap;
    size_t n_text; // bytes that the detokeniser has given

    size_t queue_position; // as last told
    bool told_decoding;
    double submit_ms, prefill_ms, decode_ms; // clock; then time spent
    struct usage usage;
    struct stats stats;
    struct job *next; // {scheduler lock}
};

// Takes the request.
struct job *job_create(struct assistant *a, struct request *r, event_fn emit, void *ud);
void job_destroy(struct job *j);

// Worker thread: decodes the pictures and builds the prompt.
bool job_prepare(struct job *j, struct err *err);

// Gives the job a sequence: keeps the prefix that is cached there, then JOB_ENCODING or JOB_PREFILL.
void job_start(struct job *j, struct llm_seq *seq);

// JOB_ENCODING: one layer of the picture at hand; moves on to the next picture or to JOB_PREFILL.
bool job_encode_layer(struct job *j, struct err *err);

// JOB_PREFILL (at most max_rows) and JOB_DECODING: what the job brings to the next step.
struct llm_rows job_rows(const struct job *j, size_t max_rows);

// After a step that gave the job logits: chooses the token that job_accept takes. Touches nothing but the job, so
// any thread may do it while the inference thread waits.
bool job_choose(struct job *j, const struct llm_rows *rows, struct err *err);

// Then: prefill progress, or the chosen token's text sent. May finish the job.
bool job_accept(struct job *j, const struct llm_rows *rows, struct err *err);

// Sends EVENT_DONE, once; remembers the answer for a follow-up. err: of FINISH_FAILED.
void job_finish(struct job *j, enum finish finish, const struct err *err);

// ---- logprobs.c: tokens whose log probabilities are asked for ----

// Of a token just chosen, before its text is put; then how much text that gave.
bool job_note_token(struct job *j, int32_t id, const float *logits, struct err *err);
void job_place_token(struct job *j, size_t n_text);
// How many of those waiting have been shown whole, or at least in part.
size_t job_due_tokens(const struct job *j);
size_t job_shown_tokens(const struct job *j);
// Sends the last `len` bytes of the answer and the first n_tokens of those waiting.
void job_emit_delta(struct job *j, const char *text, size_t len, size_t n_tokens);

// What job_prepare has noticed, once.
void job_tell_notices(struct job *j);

// Progress before the sequence: told when it changes.
void job_tell_decoding(struct job *j, bool done);
void job_tell_loading(struct job *j);
void job_tell_position(struct job *j, size_t position);

#endif
