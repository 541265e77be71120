// UTF-8, base64, JSON, SHA-256 and growing buffers.
#include "base/base64.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "check.h"

// RFC 3629 by its table (section 4), as a second opinion.
static size_t reference_length(const unsigned char *p, size_t len) {
#define IN(i, low, high) (len > (i) && p[i] >= (low) && p[i] <= (high))
    if (IN(0, 0x00, 0x7f))
        return 1;
    if (IN(0, 0xc2, 0xdf) && IN(1, 0x80, 0xbf))
        return 2;
    bool three = (IN(0, 0xe0, 0xe0) && IN(1, 0xa0, 0xbf)) || (IN(0, 0xe1, 0xec) && IN(1, 0x80, 0xbf)) ||
                 (IN(0, 0xed, 0xed) && IN(1, 0x80, 0x9f)) || (IN(0, 0xee, 0xef) && IN(1, 0x80, 0xbf));
    if (three && IN(2, 0x80, 0xbf))
        return 3;
    bool four = (IN(0, 0xf0, 0xf0) && IN(1, 0x90, 0xbf)) || (IN(0, 0xf1, 0xf3) && IN(1, 0x80, 0xbf)) ||
                (IN(0, 0xf4, 0xf4) && IN(1, 0x80, 0x8f));
    if (four && IN(2, 0x80, 0xbf) && IN(3, 0x80, 0xbf))
        return 4;
#undef IN
    return 0;
}

static void test_utf8_decode(void) {
    size_t n_wrong = 0;
    const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            for (size_t c = 0; c < sizeof edges; c++)
                for (size_t d = 0; d < sizeof edges; d++) {
                    const unsigned char p[4] = {(unsigned char)a, (unsigned char)b, edges[c], edges[d]};
                    for (size_t len = 1; len <= 4; len++) {
                        uint32_t code_point;
                        size_t n = utf8_decode((const char *)p, len, &code_point);
                        n_wrong += n != reference_length(p, len);
                        char back[4];
                        if (n && (utf8_encode(code_point, back) != n || memcmp(back, p, n) != 0))
                            n_wrong++;
                    }
                }
    CHECK(n_wrong == 0);
}

static void test_utf8_tail(void) {
    CHECK(utf8_incomplete_tail("abc", 3) == 0);
    CHECK(utf8_incomplete_tail("a\xe2\x96", 3) == 2);
    CHECK(utf8_incomplete_tail("a\xe2\x96\x81", 4) == 0);
    CHECK(utf8_incomplete_tail("\xf0\x9f\x99", 3) == 3);
    CHECK(utf8_incomplete_tail("\xe0\x80", 2) == 0);     // overlong: can never become valid
    CHECK(utf8_incomplete_tail("\xed\xa0", 2) == 0);     // surrogate
    CHECK(utf8_incomplete_tail("\xf4\x90\x80", 3) == 0); // above U+10FFFF
    CHECK(utf8_incomplete_tail("\x80\x80", 2) == 0);
    CHECK(utf8_incomplete_tail("", 0) == 0);
    CHECK(utf8_is_valid("gr\xc3\xbc\xc3\x9f", 6) && !utf8_is_valid("\xc0\xaf", 2));
}

static void check_base64_error(const char *text, const char *part) {
    struct err err = {0};
    size_t size;
    CHECK(!base64_decode(text, strlen(text), "data", &size, &err));
    CHECK_ERR(&err, ERR_INVALID_BASE64, part);
}

static void test_base64(void) {
    static const struct {
        const char *text, *bytes;
    } cases[] = {// RFC 4648 section 10
                 {"", ""},
                 {"Zg==", "f"},
                 {"Zm8=", "fo"},
                 {"Zm9v", "foo"},
                 {"Zm9vYg==", "foob"},
                 {"Zm9vYmE=", "fooba"},
                 {"Zm9vYmFy", "foobar"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = 99;
        struct err err = {0};
        uint8_t *bytes = base64_decode(cases[i].text, strlen(cases[i].text), "data", &size, &err);
        CHECK(bytes && size == strlen(cases[i].bytes) && memcmp(bytes, cases[i].bytes, size) == 0);
        free(bytes);
    }
    check_base64_error("Zm9", "multiple of 4");
    check_base64_error("Zm9!", "'!' at position 3");
    check_base64_error("Zm 9vYmF", "0x20 at position 2");
    check_base64_error("Zg==Zg==", "'=' at position 2");
    check_base64_error("Z===", "position 1");
    check_base64_error("Zm9vYm\nF", "0x0a");

    size_t len = (size_t)4 << 20; // across the blocks that the decoder works in
    char *text = malloc(len);
    memset(text, 'A', len);
    size_t size;
    uint8_t *bytes = base64_decode(text, len, "data", &size, NULL);
    CHECK(bytes && size == len / 4 * 3);
    free(bytes);
    free(text);
}

static void test_json(void) {
    json_setup();
    struct err err = {0};
    json_t *root = json_parse("{\"a\": [1, \"x\"]}", 15, 1 << 20, &err);
    CHECK(root && json_integer_value(json_array_get(json_object_get(root, "a"), 0)) == 1);
    json_decref(root);

    CHECK(!json_parse("{\"a\": ]", 7, 1 << 20, &err));
    CHECK_ERR(&err, ERR_INVALID_JSON, "line 1");
    err = (struct err){0};
    CHECK(!json_parse("{\"a\":1,\"a\":2}", 13, 1 << 20, &err));
    CHECK_ERR(&err, ERR_INVALID_JSON, "duplicate");

    char deep[20001];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    err = (struct err){0};
    CHECK(!json_parse(deep, 20000, 1 << 20, &err));
    CHECK_ERR(&err, ERR_JSON_TOO_DEEP, "10000");
    root = json_parse(
        "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]",
        strlen("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]"),
        1 << 20, NULL);
    CHECK(root); // brackets inside a string are no depth
    json_decref(root);

    size_t len = (size_t)1 << 20; // `{},` amplifies most
    char *bomb = malloc(len);
    for (size_t i = 0; i < len; i++)
        bomb[i] = "{},"[i % 3];
    bomb[0] = '[';
    bomb[1] = '1';
    bomb[len - 1] = ']';
    bomb[len - 2] = '1';
    err = (struct err){0};
    CHECK(!json_parse(bomb, len, 4 << 20, &err));
    CHECK_ERR(&err, ERR_MESSAGE_TOO_BIG, "memory");
    free(bomb);
}

static void test_buf(void) {
    struct buf b;
    struct err err = {0};
    buf_init(&b, 10);
    CHECK(buf_append_str(&b, "hello", &err) && buf_append_str(&b, "world", &err) && b.len == 10);
    CHECK_STR(b.data, "helloworld");
    CHECK(!buf_append(&b, "!", 1, &err));
    CHECK_ERR(&err, ERR_MESSAGE_TOO_BIG, "limit 10");
    CHECK_STR(b.data, "helloworld");
    size_t len;
    char *taken = buf_take(&b, &len);
    CHECK(len == 10 && b.len == 0 && b.limit == 10);
    free(taken);
    buf_clear(&b);

    size_t out;
    CHECK(!size_mul(SIZE_MAX, 2, &out) && !size_add(SIZE_MAX, 1, &out) && size_mul(3, 4, &out) && out == 12);
    err = (struct err){0};
    CHECK(!try_malloc_array(SIZE_MAX / 2, 4, "rows", &err));
    CHECK_ERR(&err, ERR_NOMEM, "rows");
}

static void test_err(void) {
    struct err err = {0};
    CHECK(!err_set(&err, ERR_INVALID_VALUE, "first %d", 1) && !err_set(&err, ERR_BUSY, "second"));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "first 1");
    err_set_param(&err, "input[%d]", 3);
    err_set_param(&err, "other");
    CHECK_STR(err.param, "input[3]");
    err_set(NULL, ERR_BUSY, "nobody listens");
    CHECK_STR(err_code_name(ERR_UPLOAD_OUT_OF_ORDER), "upload_out_of_order");
    CHECK_STR(err_code_name(ERR_NOMEM), "internal");
}

int main(void) {
    test_utf8_decode();
    test_utf8_tail();
    test_base64();
    test_json();
    test_buf();
    test_err();
    char hex[SHA256_HEX_SIZE];
    sha256_hex("abc", 3, hex); // FIPS 180-2, appendix B.1
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    return check_result();
}
