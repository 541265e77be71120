// The public seam of the app: one request in, events out.
//
// assistant.c is the pipeline that a single request goes through; scheduler.c decides when each piece runs.
#ifndef ASSISTANT_H
#define ASSISTANT_H

#include "base/err.h"
#include "images.h"
#include "llm/llm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assistant;
struct config;

// Opens backend, models and caches. ERR_MODEL names file, key or tensor.
struct assistant *assistant_open(const struct config *config, struct err *err);
void assistant_close(struct assistant *a);
const struct llm *assistant_llm(const struct assistant *a);
struct images *assistant_images(const struct assistant *a); // NULL without a vision model
// Most tokens of a prompt that one picture takes, 0 without a vision model.
size_t assistant_image_tokens(const struct assistant *a);

// ---- requests ----

enum { RESPONSE_ID_SIZE = 48 };

enum request_detail {
    DETAIL_AUTO, // as the model's own processor makes it, or what of that fits the context
    DETAIL_LOW,  // struct image_detail.low
    DETAIL_HIGH, // as the model's own processor makes it
};

struct request_part { // text, or a picture as bytes, as an id, or (after assistant_resolve) as a reference
    char *text;
    uint8_t *image_bytes;
    size_t image_size_bytes;
    char *image_id;
    struct image *image;
    enum request_detail detail;
    // Set by assistant_resolve: the detail chosen, and where automatic detail made the picture smaller, the tokens it
    // would have taken; else 0.
    struct image_detail chosen;
    size_t full_tokens;
    char param[48]; // where in the message it stood, for errors: "input[0].content[1].image_url"
};

struct request_turn {
    enum llm_role role;
    struct request_part *parts;
    size_t n_parts;
};

struct request_text_bias { // each token of the text gets it
    char *text;
    float bias;
};

struct request {                        // all members are owned by it; request_destroy frees them
    char response_id[RESPONSE_ID_SIZE]; // filled by request_create
    char *previous_response_id;         // NULL: a new conversation
    char *instructions;                 // system message, NULL: the template's own
    struct request_turn *turns;
    size_t n_turns;
    size_t max_output_tokens;     // 0 = up to the context
    size_t max_image_tokens;      // of each picture of `turns`; 0 = any number
    struct llm_sampling sampling; // .biases points into `biases`
    struct llm_logit_bias *biases;
    struct request_text_bias *text_biases; // assistant_resolve appends their tokens to biases
    size_t n_text_biases;
    struct llm_grammar *grammar; // what sampling.grammar points to, or NULL
    char **dry_breakers;         // what sampling.dry_breakers points to, or NULL
    size_t n_dry_breakers;
    char **stops;
    size_t n_stops;
    bool logprobs;            // deltas tell the log probabilities of their tokens,
    size_t n_top_logprobs;    // and of so many of the likeliest, up to LOGPROBS_TOP_MAX
    struct history *previous; // set by assistant_resolve
};

// Returns new, empty, with default sampling and a fresh random response_id ("resp_" + 32 hexadecimal digits).
struct request *request_create(void);
void request_destroy(struct request *r);
// Appends zeroed turns and parts; the pointers last until the next append.
struct request_turn *request_add_turn(struct request *r, enum llm_role role);
struct request_part *request_add_part(struct request_turn *turn);

// Any thread, may take long (base64 is already undone; this hashes pictures and reads their headers). Puts
// pictures into the store, finds ids and the previous response, counts against max_images, chooses how large
// pictures become: those of a message, taken together, leave room for question and answer. Errors name the part.
bool assistant_resolve(struct assistant *a, struct request *r, struct err *err);

// ---- events ----

enum stage { STAGE_QUEUED, STAGE_DECODING, STAGE_LOADING, STAGE_ENCODING, STAGE_PREFILL };
const char *stage_name(enum stage stage); // "queued", ...

enum event_type { EVENT_PROGRESS, EVENT_NOTICE, EVENT_DELTA, EVENT_DONE };

enum notice_code {
    NOTICE_IMAGE_REDUCED,  // automatic detail made it smaller than the model's own processor would
    NOTICE_IMAGE_DROPPED,  // of the conversation: it is left out, so that the rest fits the context
    NOTICE_SEVERAL_IMAGES, // the model was trained on one picture a conversation
};
enum { N_NOTICE_CODES = NOTICE_SEVERAL_IMAGES + 1, NOTICE_TEXT_SIZE = 256 };

struct notice { // what an answer is not told by its text
    enum notice_code code;
    char image_id[SHA256_HEX_SIZE]; // empty: of no single picture
    size_t n_tokens;                // reduced: that it takes; dropped: that it would take
    size_t full_tokens;             // reduced: that it would have taken
    size_t n_images;                // several: of the prompt
};
const char *notice_name(enum notice_code code);                                    // "image_reduced", ...
const char *notice_text(const struct notice *notice, char text[NOTICE_TEXT_SIZE]); // a sentence for people

enum finish {
    FINISH_COMPLETED,  // end token or stop string
    FINISH_INCOMPLETE, // max_output_tokens or the context reached
    FINISH_FAILED,
    FINISH_CANCELLED,
};

struct usage {
    size_t input_tokens, output_tokens;
    size_t cached_tokens; // of input_tokens: found in the KV cache
    size_t image_tokens;  // of input_tokens: image_info.n_tokens of all pictures
};

struct stats {
    double ttft_ms;                // from submit to the first token
    double prompt_tps, decode_tps; // 0 when nothing was computed
    size_t images_encoded, images_cached, prefix_tokens;
};

enum { LOGPROBS_TOP_MAX = 20 };

struct token_logprob { // what the model itself says, before any sampling
    int32_t id;
    float logprob; // natural
    const char
        *bytes; // [n_bytes] that it adds to the text, maybe part of a character; borrowed from the model
    size_t n_bytes;
};

struct event_token { // a token whose text ends in a delta
    struct token_logprob chosen;
    struct token_logprob top[LOGPROBS_TOP_MAX]; // [n_top] likeliest, best first
    size_t n_top;
    size_t text_begin, text_end; // bytes of the answer; in an event text_end is one of its text
    bool is_part;                // it ends within a character, which a later token completes
};

struct event {
    enum event_type type;
    // EVENT_PROGRESS
    enum stage stage;
    size_t done, total;    // images when decoding or encoding (done counts finished ones), rows in prefill
    size_t queue_position; // 1 = next, when queued
    double eta_ms;         // of this stage, 0 = unknown
    // EVENT_NOTICE: before the first delta
    struct notice notice;
    // EVENT_DELTA: whole UTF-8, not terminated
    const char *text;
    size_t len;
    const struct event_token *tokens; // [n_tokens] with request.logprobs
    size_t n_tokens;
    // EVENT_DONE: the last one
    enum finish finish;
    const char *incomplete_reason; // "max_output_tokens" or "context"
    struct err err;                // FINISH_FAILED
    struct usage usage;            // also of the part done when failed or cancelled
    struct stats stats;
};

// Called on the inference thread; the event is borrowed for the call. Must be quick and must not call the
// scheduler.
typedef void (*event_fn)(void *ud, const struct event *event);

#endif
