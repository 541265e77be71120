// Messages of a client: what they become, and which error names which field.
#include "check.h"

#include "base/json.h"
#include "web/message_in.h"

static const struct message_limits limits = {.model = "demo",
                                             .vision = true,
                                             .image_tokens = 64,
                                             .max_message_bytes = 1 << 20,
                                             .max_image_bytes = 1000};

static void refuse(const char *text, enum err_code code, const char *param) {
    struct message m;
    struct err err = {0};
    CHECK(!message_parse(text, strlen(text), &limits, &m, &err));
    if (err.code != code || strcmp(err.param, param) != 0) {
        printf("%s: error %d, param \"%s\", message \"%s\"\n", text, (int)err.code, err.param, err.msg);
        check_failed++;
    }
    message_clear(&m);
}

static bool parse(const char *text, struct message *m) {
    struct err err = {0};
    bool ok = message_parse(text, strlen(text), &limits, m, &err);
    if (!ok)
        printf("%s: %s\n", text, err.msg);
    return ok;
}

static void test_create(void) {
    struct message m;
    CHECK(parse(
        "{\"type\":\"response.create\",\"event_id\":\"e\",\"stream_id\":\"s\",\"instructions\":\"brief\","
        "\"temperature\":0,\"top_k\":7,\"seed\":9,\"max_output_tokens\":5,\"max_image_tokens\":77,\"stop\":["
        "\"a\",\"b\"],"
        "\"logit_bias\":{\"2\":-100},\"metadata\":{\"k\":\"v\"},\"previous_response_id\":\"resp_1\","
        "\"store\":false,\"include\":[],\"tools\":[],\"text\":{\"format\":{\"type\":\"text\"}},"
        "\"input\":[{\"type\":\"message\",\"role\":\"developer\",\"content\":\"d\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"t\"},"
        "{\"type\":\"input_image\",\"image_url\":\"data:image/png;x=y;base64,AAEC\"},"
        "{\"type\":\"input_image\",\"image_id\":\"abc\",\"detail\":\"low\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:;base64,AAEC\",\"detail\":\"high\"}}]}]}",
        &m));
    CHECK(m.type == MESSAGE_RESPONSE_CREATE);
    CHECK_STR(m.event_id, "e");
    CHECK_STR(m.stream_id, "s");
    CHECK_STR(m.metadata, "{\"k\":\"v\"}");
    const struct request *r = m.request;
    CHECK_STR(r->instructions, "brief");
    CHECK_STR(r->previous_response_id, "resp_1");
    CHECK(r->sampling.temperature == 0 && r->sampling.top_k == 7 && r->sampling.seed == 9);
    CHECK(r->max_output_tokens == 5 && r->n_stops == 2 && !strcmp(r->stops[1], "b"));
    CHECK(r->sampling.n_biases == 1 && r->sampling.biases[0].id == 2 && r->sampling.biases[0].bias == -100);
    CHECK(r->n_turns == 2 && r->turns[0].role == LLM_SYSTEM && r->turns[1].role == LLM_USER);
    CHECK(r->turns[1].n_parts == 4);
    CHECK_STR(r->turns[1].parts[0].text, "t");
    CHECK(r->turns[1].parts[1].image_size_bytes == 3 &&
          !memcmp(r->turns[1].parts[1].image_bytes, "\0\1\2", 3));
    CHECK_STR(r->turns[1].parts[1].param, "input[1].content[1].image_url");
    CHECK_STR(r->turns[1].parts[2].image_id, "abc");
    CHECK(r->max_image_tokens == 77 && r->turns[1].parts[1].detail == DETAIL_AUTO);
    CHECK(r->turns[1].parts[2].detail == DETAIL_LOW && r->turns[1].parts[3].detail == DETAIL_HIGH);
    message_clear(&m);
    CHECK(parse("{\"type\":\"response.create\",\"input\":\"hi\",\"seed\":null,\"model\":\"demo\"}", &m));
    CHECK(m.request->n_turns == 1 && !strcmp(m.request->turns[0].parts[0].text, "hi"));
    message_clear(&m);
}

static void test_sampling(void) {
    struct message m;
    CHECK(parse("{\"type\":\"response.create\",\"input\":\"hi\",\"mirostat\":2,\"dry_penalty_last_n\":-1,"
                "\"xtc_probability\":0.5,\"samplers\":[\"top_k\",\"typ_p\"],\"ignore_eos\":true,"
                "\"dry_sequence_breakers\":[\"ab\"],\"logit_bias\":[[5,false],[\"no\",-2]],"
                "\"text\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"integer\"}}}}",
                &m));
    const struct llm_sampling *s = &m.request->sampling;
    CHECK(s->mirostat == 2 && s->dry_penalty_last_n == -1 && s->xtc_probability == 0.5f && s->ignore_eos);
    CHECK(s->stages_set && s->stages[0] == LLM_STAGE_TOP_K && s->stages[1] == LLM_STAGE_TYPICAL_P &&
          s->stages[2] == LLM_STAGE_END);
    CHECK(s->n_dry_breakers == 1 && !strcmp(s->dry_breakers[0], "ab"));
    CHECK(s->n_biases == 1 && s->biases[0].id == 5 && s->biases[0].bias == -INFINITY);
    CHECK(m.request->n_text_biases == 1 && m.request->text_biases[0].bias == -2);
    CHECK(s->grammar != NULL);
    message_clear(&m);
    refuse("{\"type\":\"response.create\",\"input\":\"x\",\"grammar\":\"root ::= x\"}", ERR_INVALID_VALUE,
           "grammar");
    refuse("{\"type\":\"response.create\",\"input\":\"x\",\"text\":{\"format\":{\"type\":\"json_schema\","
           "\"schema\":{\"not\":{}}}}}",
           ERR_INVALID_VALUE, "text.format.schema");
}

static void test_others(void) {
    struct message m;
    CHECK(parse("{\"type\":\"image.begin\",\"upload_id\":4294967295,\"size_bytes\":1000}", &m));
    CHECK(m.type == MESSAGE_IMAGE_BEGIN && m.upload_id == UINT32_MAX && m.size_bytes == 1000 && !m.sha256[0]);
    message_clear(&m);
    CHECK(parse("{\"type\":\"image.put\",\"data\":\"/9j/\"}", &m));
    CHECK(m.type == MESSAGE_IMAGE_PUT && m.size_bytes == 3 && m.bytes[0] == 0xff);
    message_clear(&m);
    CHECK(parse("{\"type\":\"response.cancel\",\"response_id\":\"resp_1\"}", &m));
    CHECK_STR(m.response_id, "resp_1");
    message_clear(&m);
}

static void test_refused(void) {
    refuse("{", ERR_INVALID_JSON, "");
    refuse("[]", ERR_INVALID_JSON, "");
    refuse("{\"type\":\"x\",\"type\":\"y\"}", ERR_INVALID_JSON, "");
    refuse("{}", ERR_INVALID_VALUE, "type");
    refuse("{\"type\":\"session.resume\"}", ERR_UNKNOWN_TYPE, "type");
    refuse("{\"type\":\"response.cancel\",\"response_id\":7}", ERR_INVALID_VALUE, "response_id");
    refuse("{\"type\":\"image.put\"}", ERR_INVALID_VALUE, "data");
    refuse("{\"type\":\"image.put\",\"data\":\"AA=A\"}", ERR_INVALID_BASE64, "data");
    refuse("{\"type\":\"image.begin\",\"upload_id\":-1,\"size_bytes\":1}", ERR_INVALID_VALUE, "upload_id");
    refuse("{\"type\":\"image.begin\",\"upload_id\":4294967296,\"size_bytes\":1}", ERR_INVALID_VALUE,
           "upload_id");
    refuse("{\"type\":\"image.begin\",\"upload_id\":1,\"size_bytes\":1001}", ERR_IMAGE_TOO_LARGE,
           "size_bytes");
    refuse("{\"type\":\"image.begin\",\"upload_id\":1,\"size_bytes\":9,\"sha256\":\"AB\"}", ERR_INVALID_VALUE,
           "sha256");
    refuse("{\"type\":\"response.create\",\"input\":\"x\",\"temperature\":2.5}", ERR_INVALID_VALUE,
           "temperature");
    refuse("{\"type\":\"response.create\",\"input\":\"x\",\"model\":\"other\"}", ERR_MODEL_NOT_FOUND,
           "model");
    refuse("{\"type\":\"response.create\",\"input\":\"x\",\"stop\":[\"\"]}", ERR_INVALID_VALUE, "stop[0]");
    refuse("{\"type\":\"response.create\",\"input\":[]}", ERR_INVALID_VALUE, "input");
    refuse("{\"type\":\"response.create\",\"input\":\"x\",\"max_image_tokens\":0}", ERR_INVALID_VALUE,
           "max_image_tokens");
    refuse(
        "{\"type\":\"response.create\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\","
        "\"image_id\":\"abc\",\"detail\":\"huge\"}]}]}",
        ERR_INVALID_VALUE, "input[0].content[0].detail");
    refuse("{\"type\":\"response.create\",\"input\":[{\"type\":\"reasoning\"}]}", ERR_INVALID_VALUE,
           "input[0].type");
    refuse("{\"type\":\"response.create\",\"input\":[{\"role\":\"user\",\"content\":[]}]}", ERR_INVALID_VALUE,
           "input[0].content");
    refuse(
        "{\"type\":\"response.create\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\","
        "\"image_url\":\"https://x/y.png\"}]}]}",
        ERR_INVALID_VALUE, "input[0].content[0].image_url");
}

// A picture past max_image_bytes is refused by its length, a text model refuses any.
static void test_limits(void) {
    char big[2100];
    int n = snprintf(big, sizeof big, "{\"type\":\"image.put\",\"data\":\"");
    memset(big + n, 'A', 2000);
    snprintf(big + n + 2000, sizeof big - (size_t)n - 2000, "\"}");
    refuse(big, ERR_IMAGE_TOO_LARGE, "data");
    struct message_limits text = limits;
    text.vision = false;
    struct message m;
    struct err err = {0};
    static const char put[] = "{\"type\":\"image.put\",\"data\":\"AAAA\"}";
    CHECK(!message_parse(put, strlen(put), &text, &m, &err));
    CHECK_ERR(&err, ERR_IMAGE_UNSUPPORTED, "no vision");
    message_clear(&m);
}

// An ordinary long text passes its memory budget; many tiny values do not.
static void test_budget(void) {
    size_t len = (size_t)12 << 20;
    char *text = malloc(len + 100);
    int n = snprintf(text, 100, "{\"type\":\"response.create\",\"input\":\"");
    memset(text + n, 'x', len);
    memcpy(text + n + len, "\"}", 3);
    struct message m;
    CHECK(parse(text, &m));
    message_clear(&m);
    text[n - 1] = '[';
    for (size_t i = 0; i + 3 <= len; i += 3)
        memcpy(text + n + i, "{},", 3);
    memcpy(text + n + len / 3 * 3 - 1, "]}", 3);
    struct err err = {0};
    CHECK(!message_parse(text, strlen(text), &limits, &m, &err));
    CHECK_ERR(&err, ERR_MESSAGE_TOO_BIG, "memory");
    message_clear(&m);
    free(text);
}

int main(void) {
    json_setup();
    test_sampling();
    test_create();
    test_others();
    test_refused();
    test_limits();
    test_budget();
    return check_result();
}
