// Requests through the scheduler with the demo pair: pictures, follow-ups, streams side by side, cancels.
#include "assistant.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/threads.h"
#include "check.h"
#include "config.h"
#include "images.h"
#include "scheduler.h"

#include <pthread.h>

static const char picture[] = "samples/demo/samples/blue-ring.png";

struct asked { // what one request brought
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[4096];
    size_t len, n_deltas;
    double first_delta_ms, last_delta_ms;
    bool stages[STAGE_PREFILL + 1];
    size_t n_notices[N_NOTICE_CODES];
    bool done;
    struct event end;
    char id[RESPONSE_ID_SIZE];
    uint64_t job;
};

static void on_event(void *ud, const struct event *event) {
    struct asked *a = ud;
    pthread_mutex_lock(&a->lock);
    if (event->type == EVENT_PROGRESS) {
        CHECK(event->stage != STAGE_LOADING || !(a->stages[STAGE_ENCODING] || a->stages[STAGE_PREFILL]));
        a->stages[event->stage] = true;
    }
    if (event->type == EVENT_NOTICE) {
        CHECK(a->n_deltas == 0);
        a->n_notices[event->notice.code]++;
    }
    if (event->type == EVENT_DELTA && a->len + event->len < sizeof a->text) {
        memcpy(a->text + a->len, event->text, event->len);
        a->len += event->len;
        a->last_delta_ms = clock_ms();
        if (a->n_deltas++ == 0)
            a->first_delta_ms = a->last_delta_ms;
    }
    if (event->type == EVENT_DONE) {
        CHECK(!a->done);
        a->done = true;
        a->end = *event;
    }
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

struct rig {
    struct config config;
    struct workers *workers;
    struct assistant *assistant;
    struct scheduler *scheduler;
};

static void ask(struct rig *rig, struct asked *a, const char *image, const char *question,
                const char *previous, size_t max_tokens) {
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    struct request *r = request_create();
    r->sampling.temperature = 0;
    r->max_output_tokens = max_tokens;
    if (previous)
        r->previous_response_id = xstrdup(previous);
    struct request_turn *turn = request_add_turn(r, LLM_USER);
    if (image) {
        struct request_part *part = request_add_part(turn);
        part->image_bytes = check_read_file(image, &part->image_size_bytes);
    }
    request_add_part(turn)->text = xstrdup(question);
    memcpy(a->id, r->response_id, sizeof a->id);
    struct err err = {0};
    bool ok = assistant_resolve(rig->assistant, r, &err);
    if (ok)
        a->job = scheduler_submit(rig->scheduler, r, on_event, a, &err);
    if (!a->job) {
        printf("not accepted: %s\n", err.msg);
        check_failed++;
        a->done = true;
    }
}

static void wait_for(struct asked *a, bool first_delta_will_do) {
    pthread_mutex_lock(&a->lock);
    while (!a->done && !(first_delta_will_do && a->n_deltas > 0))
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static void test_picture_and_follow_up(struct rig *rig) {
    struct asked a;
    ask(rig, &a, picture, "What colour is this?", NULL, 0);
    wait_for(&a, false);
    CHECK(a.end.finish == FINISH_COMPLETED);
    CHECK_STR(a.text, "It is blue.");
    CHECK(a.n_deltas > 1);
    CHECK(a.stages[STAGE_DECODING] && a.stages[STAGE_ENCODING] && a.stages[STAGE_PREFILL]);
    CHECK(a.end.stats.images_encoded == 1 && a.end.stats.images_cached == 0);
    CHECK(a.end.usage.image_tokens == 64 && a.end.usage.cached_tokens == 0);
    CHECK(a.end.usage.output_tokens > 1 && a.end.stats.ttft_ms > 0);

    struct asked b; // the conversation goes on: nothing of it is computed twice
    ask(rig, &b, NULL, "Name the shape.", a.id, 0);
    wait_for(&b, false);
    CHECK(b.end.finish == FINISH_COMPLETED);
    CHECK_STR(b.text, "It is a ring.");
    CHECK(b.end.stats.images_encoded == 0 && b.end.stats.images_cached == 1);
    CHECK(b.end.usage.cached_tokens >= a.end.usage.input_tokens);

    struct asked c; // the same picture in another chat is not encoded again
    ask(rig, &c, picture, "Name the shape.", NULL, 0);
    wait_for(&c, false);
    CHECK(c.end.stats.images_encoded == 0 && c.end.stats.images_cached == 1);
    CHECK(!c.stages[STAGE_ENCODING] || c.end.stats.images_encoded == 0);
}

// The same new picture asked about twice at once is encoded once.
static void test_single_flight(struct rig *rig) {
    struct asked a, b;
    ask(rig, &a, "samples/demo/samples/number-15.png", "Read the number.", NULL, 0);
    ask(rig, &b, "samples/demo/samples/number-15.png", "What is in the picture?", NULL, 0);
    wait_for(&a, false);
    wait_for(&b, false);
    CHECK(a.end.finish == FINISH_COMPLETED && b.end.finish == FINISH_COMPLETED);
    CHECK(a.end.stats.images_encoded + b.end.stats.images_encoded == 1);
    CHECK(a.end.stats.images_cached + b.end.stats.images_cached == 1);
}

// Four at once: the same bytes as alone, and they overlap in time.
static void test_streams_equal_solo(struct rig *rig) {
    static const char *const questions[] = {"What can you do?", "Describe the picture.", "Who are you?",
                                            "Tell me a joke."};
    struct asked solo[4], together[4];
    for (int i = 0; i < 4; i++) {
        ask(rig, &solo[i], i == 1 ? picture : NULL, questions[i], NULL, 0);
        wait_for(&solo[i], false);
    }
    for (int i = 0; i < 4; i++)
        ask(rig, &together[i], i == 1 ? picture : NULL, questions[i], NULL, 0);
    for (int i = 0; i < 4; i++) {
        wait_for(&together[i], false);
        CHECK_STR(together[i].text, solo[i].text);
        CHECK(together[i].end.finish == FINISH_COMPLETED);
    }
    int n_overlaps = 0;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            n_overlaps += together[i].first_delta_ms < together[k].last_delta_ms &&
                          together[k].first_delta_ms < together[i].last_delta_ms;
    CHECK(n_overlaps > 0);
}

static void test_cancel(struct rig *rig) {
    struct asked queued[7]; // four run, the others wait
    for (int i = 0; i < 7; i++)
        ask(rig, &queued[i], NULL, "What can you do?", NULL, 0);
    double start = clock_ms();
    scheduler_cancel(rig->scheduler, queued[6].job);
    wait_for(&queued[6], false);
    CHECK(clock_ms() - start < 250);
    CHECK(queued[6].end.finish == FINISH_CANCELLED || queued[6].end.finish == FINISH_COMPLETED);
    for (int i = 0; i < 6; i++) {
        wait_for(&queued[i], false);
        CHECK(queued[i].end.finish == FINISH_COMPLETED);
    }
    struct asked a;
    ask(rig, &a, NULL, "What can you do?", NULL, 0);
    wait_for(&a, true);
    scheduler_cancel(rig->scheduler, a.job);
    wait_for(&a, false);
    CHECK(a.end.finish == FINISH_CANCELLED || a.end.finish == FINISH_COMPLETED);
    scheduler_cancel(rig->scheduler, a.job); // long gone: ignored
}

static void test_limits(struct rig *rig) {
    struct asked a;
    ask(rig, &a, NULL, "What can you do?", NULL, 3);
    wait_for(&a, false);
    CHECK(a.end.finish == FINISH_INCOMPLETE);
    CHECK_STR(a.end.incomplete_reason, "max_output_tokens");
    CHECK(a.end.usage.output_tokens == 3);

    char *lengthy = xcalloc(1, 20001);
    memset(lengthy, 'A', 20000);
    ask(rig, &a, NULL, lengthy, NULL, 0);
    free(lengthy);
    wait_for(&a, false);
    CHECK(a.end.finish == FINISH_FAILED);
    CHECK_ERR(&a.end.err, ERR_CONTEXT_EXCEEDED, "1024");

    struct err err = {0};
    struct request *r = request_create();
    struct request_turn *turn = request_add_turn(r, LLM_USER);
    for (int i = 0; i < 3; i++) {
        struct request_part *part = request_add_part(turn);
        part->image_bytes = check_read_file(picture, &part->image_size_bytes);
        snprintf(part->param, sizeof part->param, "input[%d]", i);
    }
    CHECK(!assistant_resolve(rig->assistant, r, &err));
    CHECK_ERR(&err, ERR_TOO_MANY_IMAGES, "limit 2");
    CHECK_STR(err.param, "input[2]");
    request_destroy(r);

    err = (struct err){0};
    r = request_create();
    request_add_part(request_add_turn(r, LLM_USER))->image_id = xstrdup("0123");
    CHECK(!assistant_resolve(rig->assistant, r, &err));
    CHECK_ERR(&err, ERR_IMAGE_UNKNOWN, "0123");
    request_destroy(r);
}

// A picture cut short fails its own request, by name, and the next ones go on.
static void test_truncated_picture(struct rig *rig) {
    struct err err = {0};
    size_t size;
    uint8_t *bytes = check_read_file("samples/demo/samples/blue-ring.jpg", &size);
    struct request *r = request_create();
    struct request_part *part = request_add_part(request_add_turn(r, LLM_USER));
    part->image_bytes = bytes;
    part->image_size_bytes = size / 2;
    CHECK(assistant_resolve(rig->assistant, r, &err));
    struct asked a = {0};
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.changed, NULL);
    CHECK(scheduler_submit(rig->scheduler, r, on_event, &a, &err) != 0);
    wait_for(&a, false);
    CHECK(a.end.finish == FINISH_FAILED);
    CHECK_ERR(&a.end.err, ERR_IMAGE_TRUNCATED, "");
}

// A conversation that outgrows the context loses its oldest pictures, and says so; its text stays.
static void test_old_pictures(struct rig *rig) {
    static const char *const pictures[] = {picture, "samples/demo/samples/number-15.png",
                                           "samples/demo/samples/purple-heart-and-black-triangle.png"};
    struct asked a = {0};
    char *lengthy = xcalloc(1, 701);
    for (size_t i = 0; i < 700; i += 10)
        memcpy(lengthy + i, "a shape is", 10);
    size_t n_dropped = 0;
    for (size_t i = 0; i < 3; i++) {
        char previous[RESPONSE_ID_SIZE];
        memcpy(previous, a.id, sizeof previous);
        ask(rig, &a, pictures[i], "What is in the picture?", i ? previous : NULL, 20);
        wait_for(&a, false);
        CHECK(a.end.finish <= FINISH_INCOMPLETE && a.n_notices[NOTICE_IMAGE_REDUCED] == 0);
        CHECK(a.n_notices[NOTICE_IMAGE_DROPPED] >= n_dropped);
        n_dropped = a.n_notices[NOTICE_IMAGE_DROPPED];
        CHECK(a.end.usage.image_tokens == 64 * (i + 1 - n_dropped));
        CHECK((a.n_notices[NOTICE_SEVERAL_IMAGES] == 1) == (i > n_dropped)); // LLaVA 1.5
        CHECK(a.end.usage.input_tokens + 16 <= 256);
    }
    CHECK(n_dropped == 1); // 3 x 64 and the text around are more than 256
    struct asked b;
    ask(rig, &b, NULL, "What shape is in the picture?", a.id, 20); // text alone: the last picture may go, too
    wait_for(&b, false);
    CHECK(b.end.finish <= FINISH_INCOMPLETE && b.end.usage.image_tokens <= 128);
    struct asked c;
    ask(rig, &c, picture, lengthy, a.id, 20); // too long whatever goes
    wait_for(&c, false);
    CHECK(c.end.finish == FINISH_FAILED);
    CHECK_ERR(&c.end.err, ERR_CONTEXT_EXCEEDED, "(of these 64 for 1 image), the context holds 256");
    free(lengthy);
}

// The demo's pictures have one form: what is asked for changes nothing, and no second encode.
static void test_one_form(struct rig *rig) {
    struct images *im = assistant_images(rig->assistant);
    struct err err = {0};
    size_t size;
    bool known;
    CHECK(assistant_image_tokens(rig->assistant) == 64);
    uint8_t *bytes = check_read_file(picture, &size);
    struct image *a = images_put(im, bytes, size, NULL, &known, &err);
    struct image *b = a ? images_find(im, image_info(a)->id, &(struct image_detail){5, true}, &err) : NULL;
    CHECK(a && a == b && image_info(a)->n_tokens == 64);
    image_release(a);
    image_release(b);
}

static bool rig_open(struct rig *rig, size_t n_ctx) {
    struct err err = {0};
    rig->config = config_default();
    rig->config.model_path = "samples/demo/demo-llm-f16.gguf";
    rig->config.mmproj_path = "samples/demo/demo-mmproj-f16.gguf";
    rig->config.max_images = 2;
    rig->config.n_threads = 2;
    rig->config.n_ctx = n_ctx;
    rig->workers = workers_create(2, 64);
    rig->assistant = assistant_open(&rig->config, &err);
    if (rig->assistant)
        rig->scheduler = scheduler_create(rig->assistant, &rig->config, rig->workers, &err);
    if (!rig->scheduler)
        printf("%s\n", err.msg);
    return rig->scheduler;
}

static void rig_close(struct rig *rig) {
    scheduler_destroy(rig->scheduler);
    workers_destroy(rig->workers);
    assistant_close(rig->assistant);
}

int main(void) {
    json_setup();
    struct rig rig = {0}, small = {0};
    if (!rig_open(&rig, 0))
        return 1;
    test_picture_and_follow_up(&rig);
    test_single_flight(&rig);
    test_streams_equal_solo(&rig);
    test_cancel(&rig);
    test_limits(&rig);
    test_truncated_picture(&rig);
    test_one_form(&rig);
    struct asked left; // still running when the scheduler goes: its last event comes all the same
    ask(&rig, &left, picture, "What can you do?", NULL, 0);
    rig_close(&rig);
    CHECK(left.done);
    if (!rig_open(&small, 256))
        return 1;
    test_old_pictures(&small);
    rig_close(&small);
    return check_result();
}
