// Events become valid JSON of the documented form, whatever bytes they carry.
#include "check.h"

#include "base/json.h"
#include "web/json_text.h"
#include "web/message_out.h"
#include "web/outbox.h"
#include "web/response.h"

// Parses and empties a message.
static json_t *take(struct buf *m) {
    struct err err = {0};
    CHECK(m->len < OUTBOX_MESSAGE_MAX);
    json_t *root = json_parse(m->data, m->len, 1 << 24, &err);
    if (!root) {
        printf("%s: %s\n", err.msg, m->data);
        exit(1);
    }
    buf_clear(m);
    return root;
}

static const char *string(json_t *root, const char *name) {
    return json_string_value(json_object_get(root, name));
}

static void test_escape(void) {
    char all[130];
    for (int i = 1; i < 128; i++)
        all[i - 1] = (char)i;
    all[127] = 0;
    struct buf m = {0};
    CHECK(json_text(&m, NULL, "{'all':%s,'u':%u,'d':%d,'f':%f,'g':%f,'b':%b,'n':%s,'r':%r}", all, UINT64_MAX,
                    INT64_MIN, 1234.5678, 0.1 / 0.0, 1, NULL, "[1]"));
    CHECK(strstr(m.data, "\"f\":1234.568,\"g\":null,\"b\":true,\"n\":null,\"r\":[1]"));
    CHECK(strstr(m.data, "18446744073709551615") && strstr(m.data, "-9223372036854775808"));
    char *copy = strstr(m.data, ",\"u\":");
    m.len = (size_t)(copy - m.data); // jansson has no unsigned 64-bit integers
    CHECK(buf_append_str(&m, "}", NULL));
    json_t *root = take(&m);
    CHECK_STR(string(root, "all"), all);
    json_decref(root);
    CHECK(json_text_escaped_size("a\"\n\x01", 4) == 1 + 2 + 2 + 6);
}

static void test_connection_events(void) {
    struct buf m = {0};
    struct message_limits limits = {.model = "a\"b", .image_tokens = 3, .n_ctx = 4096};
    CHECK(message_out_session(&m, 0, "sess_1", &limits, NULL));
    json_t *root = take(&m);
    json_t *model = json_array_get(json_object_get(root, "models"), 0);
    CHECK_STR(string(model, "id"), "a\"b");
    CHECK(json_array_size(json_object_get(model, "modalities")) == 1);
    json_decref(root);

    struct err e = {0};
    err_set(&e, ERR_INVALID_VALUE, "top_p: no");
    err_set_param(&e, "top_p");
    CHECK(
        message_out_error(&m, 4, &(struct message_error){.err = &e, .event_id = "e", .upload_id = 7}, NULL));
    root = take(&m);
    CHECK(json_integer_value(json_object_get(root, "upload_id")) == 7);
    json_t *error = json_object_get(root, "error");
    CHECK_STR(string(error, "type"), "invalid_request_error");
    CHECK_STR(string(error, "code"), "invalid_value");
    CHECK_STR(string(error, "param"), "top_p");
    CHECK_STR(string(error, "event_id"), "e");
    json_decref(root);

    struct err inner = {0}; // what happened inside stays inside
    err_set(&inner, ERR_IO, "/secret/path: denied");
    CHECK(message_out_error(&m, 5, &(struct message_error){.err = &inner, .upload_id = -1}, NULL));
    CHECK(!strstr(m.data, "secret"));
    root = take(&m);
    CHECK_STR(string(json_object_get(root, "error"), "type"), "server_error");
    CHECK(!json_object_get(root, "upload_id") && !json_object_get(root, "stream_id"));
    json_decref(root);
}

// Feeds a response and gives the number of its messages; the last is left in *last.
static size_t drain(struct outbox *o, json_t **last) {
    size_t n = 0, len;
    unsigned char *data;
    *last = NULL;
    for (; outbox_front(o, &data, &len); outbox_pop(o), n++) {
        struct buf m = {0};
        CHECK(buf_append(&m, data, len, NULL));
        json_decref(*last);
        *last = take(&m);
    }
    CHECK(o->n_bytes == 0);
    return n;
}

static struct response *start(struct outbox *o) {
    struct request *request = request_create();
    struct response *r = response_create(1, request, "demo", strdup("s\"1"), NULL, NULL);
    request_destroy(request);
    outbox_init(o);
    CHECK(response_start(r, o, NULL));
    return r;
}

static void test_response(void) {
    struct outbox o;
    json_t *last;
    struct response *r = start(&o);
    CHECK(drain(&o, &last) == 2);
    CHECK_STR(string(last, "stream_id"), "s\"1");
    CHECK_STR(string(json_object_get(last, "response"), "status"), "in_progress");
    json_decref(last);
    struct event progress = {.type = EVENT_PROGRESS, .stage = STAGE_QUEUED, .queue_position = 2};
    CHECK(response_event(r, &progress, &o, NULL));
    CHECK(drain(&o, &last) == 1);
    CHECK_STR(string(last, "stage"), "queued");
    CHECK(json_integer_value(json_object_get(last, "queue_position")) == 2);
    json_decref(last);
    struct event done = {.type = EVENT_DONE, .finish = FINISH_FAILED};
    err_set(&done.err, ERR_CONTEXT_EXCEEDED, "too long");
    CHECK(response_event(r, &done, &o, NULL));
    CHECK(drain(&o, &last) == 2); // stats and the end: no item was begun
    CHECK_STR(string(last, "type"), "response.failed");
    CHECK(json_integer_value(json_object_get(last, "sequence_number")) == 4);
    json_t *response = json_object_get(last, "response");
    CHECK_STR(string(json_object_get(response, "error"), "code"), "context_exceeded");
    CHECK(json_array_size(json_object_get(response, "output")) == 0);
    json_decref(last);
    response_destroy(r);
}

// Each notice as it comes, and their number by kind at the end.
static void test_notices(void) {
    struct outbox o;
    json_t *last;
    struct response *r = start(&o);
    drain(&o, &last);
    json_decref(last);
    struct event event = {.type = EVENT_NOTICE,
                          .notice = {.code = NOTICE_IMAGE_DROPPED, .image_id = "abc", .n_tokens = 64}};
    CHECK(response_event(r, &event, &o, NULL) && response_event(r, &event, &o, NULL));
    CHECK(drain(&o, &last) == 2);
    CHECK_STR(string(last, "type"), "response.notice");
    CHECK_STR(string(last, "code"), "image_dropped");
    CHECK_STR(string(last, "image_id"), "abc");
    CHECK(strstr(string(last, "message"), "64 tokens"));
    CHECK(json_integer_value(json_object_get(last, "n_tokens")) == 64);
    json_decref(last);
    event.notice = (struct notice){.code = NOTICE_SEVERAL_IMAGES, .n_images = 2};
    CHECK(response_event(r, &event, &o, NULL));
    CHECK(drain(&o, &last) == 1);
    CHECK_STR(string(last, "code"), "several_images");
    CHECK(!json_object_get(last, "image_id") && !json_object_get(last, "n_tokens"));
    json_decref(last);
    CHECK(response_event(r, &(struct event){.type = EVENT_DONE, .finish = FINISH_COMPLETED}, &o, NULL));
    drain(&o, &last);
    json_t *notices = json_object_get(json_object_get(last, "response"), "notices");
    CHECK(json_array_size(notices) == 2);
    CHECK_STR(string(json_array_get(notices, 0), "code"), "image_dropped");
    CHECK(json_integer_value(json_object_get(json_array_get(notices, 0), "count")) == 2);
    CHECK_STR(string(json_array_get(notices, 1), "code"), "several_images");
    json_decref(last);
    response_destroy(r);
}

// Deltas that wait are joined, numbers stay without gaps, a text too long for one message is not repeated.
static void test_long_text(void) {
    struct outbox o;
    json_t *last;
    struct response *r = start(&o);
    char piece[100];
    memset(piece, '"', sizeof piece); // two bytes each in JSON
    for (int i = 0; i < 300; i++)
        CHECK(response_event(r, &(struct event){.type = EVENT_DELTA, .text = piece, .len = sizeof piece}, &o,
                             NULL));
    CHECK(response_event(r, &(struct event){.type = EVENT_DONE, .finish = FINISH_COMPLETED}, &o, NULL));
    size_t n = drain(&o, &last);
    // The first 8 KiB go out as they come (about 20 deltas of 400 bytes), the rest in deltas of up to 16 KiB.
    CHECK(n == 25);
    CHECK(json_integer_value(json_object_get(last, "sequence_number")) == (json_int_t)n - 1);
    json_t *item = json_array_get(json_object_get(json_object_get(last, "response"), "output"), 0);
    json_t *part = json_array_get(json_object_get(item, "content"), 0);
    CHECK_STR(string(part, "text"), "");
    CHECK(json_is_true(json_object_get(part, "truncated")));
    json_decref(last);
    response_destroy(r);
}

int main(void) {
    json_setup();
    test_escape();
    test_connection_events();
    test_response();
    test_notices();
    test_long_text();
    return check_result();
}
