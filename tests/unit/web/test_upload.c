// Binary messages: the header, the order of bytes, the ends.
#include "check.h"

#include "web/upload.h"

static const uint8_t *frame(uint32_t id, uint64_t offset, const char *bytes, size_t n) {
    static uint8_t out[64];
    memset(out, 0, UPLOAD_HEADER_SIZE);
    out[0] = out[1] = 1;
    for (int i = 0; i < 4; i++)
        out[4 + i] = (uint8_t)(id >> 8 * i);
    for (int i = 0; i < 8; i++)
        out[8 + i] = (uint8_t)(offset >> 8 * i);
    memcpy(out + UPLOAD_HEADER_SIZE, bytes, n);
    return out;
}

static void refuse(struct uploads *u, const uint8_t *data, size_t len, enum err_code code, const char *part) {
    struct upload *finished;
    int64_t id;
    struct err err = {0};
    CHECK(!uploads_receive(u, data, len, &finished, &id, &err));
    CHECK_ERR(&err, code, part);
    CHECK(!finished);
}

int main(void) {
    struct uploads u = {0};
    struct upload *finished;
    struct err err = {0};
    int64_t id;
    struct message begin = {
        .type = MESSAGE_IMAGE_BEGIN, .upload_id = 0xdeadbeef, .size_bytes = 6, .event_id = "e"};
    CHECK(uploads_begin(&u, &begin, &err));
    CHECK(!uploads_begin(&u, &begin, &err));
    CHECK_ERR(&err, ERR_INVALID_VALUE, "under way");

    refuse(&u, (const uint8_t *)"short", 5, ERR_INVALID_VALUE, "header of 16 bytes");
    uint8_t bad[UPLOAD_HEADER_SIZE] = {2, 1};
    refuse(&u, bad, sizeof bad, ERR_INVALID_VALUE, "version 1");
    uint8_t reserved[UPLOAD_HEADER_SIZE] = {1, 1, 0, 1};
    refuse(&u, reserved, sizeof reserved, ERR_INVALID_VALUE, "reserved 0");
    refuse(&u, frame(1, 0, "abc", 3), 19, ERR_UPLOAD_UNKNOWN, "no upload 1");
    refuse(&u, frame(0xdeadbeef, 1, "abc", 3), 19, ERR_UPLOAD_OUT_OF_ORDER, "expected offset 0");
    refuse(&u, frame(0xdeadbeef, 0, "abcdefg", 7), 23, ERR_UPLOAD_OUT_OF_ORDER, "pass its end");

    CHECK(uploads_receive(&u, frame(0xdeadbeef, 0, "abc", 3), 19, &finished, &id, &err) && !finished);
    CHECK(id == 0xdeadbeef);
    refuse(&u, frame(0xdeadbeef, 0, "abc", 3), 19, ERR_UPLOAD_OUT_OF_ORDER, "expected offset 3");
    refuse(&u, frame(0xdeadbeef, UINT64_MAX, "abc", 3), 19, ERR_UPLOAD_OUT_OF_ORDER, "expected offset 3");
    CHECK(uploads_receive(&u, frame(0xdeadbeef, 3, "def", 3), 19, &finished, &id, &err) && finished);
    CHECK_STR(finished->event_id, "e");
    uint8_t *bytes = upload_take(finished);
    CHECK(!memcmp(bytes, "abcdef", 6));
    free(bytes);
    refuse(&u, frame(0xdeadbeef, 6, "", 0), 16, ERR_UPLOAD_UNKNOWN, "no upload");

    for (uint32_t i = 0; i < UPLOADS_MAX; i++) {
        struct message more = {.type = MESSAGE_IMAGE_BEGIN, .upload_id = i, .size_bytes = 1};
        CHECK(uploads_begin(&u, &more, NULL));
    }
    struct err full = {0};
    CHECK(!uploads_begin(&u, &begin, &full));
    CHECK_ERR(&full, ERR_BUSY, "4 uploads");
    uploads_clear(&u);
    return check_result();
}
