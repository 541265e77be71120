// Messages of a client. Input: the text of one; behind a line "--frame--" a binary message of an upload, which
// the text may have begun.
#include "fuzz/fuzz.h"

#include "base/json.h"
#include "web/message_in.h"
#include "web/upload.h"

static const struct message_limits limits = {.model = "demo",
                                             .vision = true,
                                             .image_tokens = 64,
                                             .max_message_bytes = FUZZ_MIB,
                                             .max_image_bytes = 4096,
                                             .max_images = 4};

static void receive(const struct message *m, const uint8_t *frame, size_t size) {
    struct uploads uploads = {0};
    struct upload *finished = NULL;
    struct err begun = {0}, err = {0};
    int64_t id;
    if (m->type == MESSAGE_IMAGE_BEGIN)
        uploads_begin(&uploads, m, &begun);
    bool ok = uploads_receive(&uploads, frame, size, &finished, &id, &err);
    FUZZ_CHECK(ok == (err.code == ERR_NONE));
    FUZZ_CHECK(id >= -1 && id <= UINT32_MAX);
    if (finished)
        free(upload_take(finished));
    uploads_clear(&uploads);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool is_set_up;
    if (!is_set_up)
        json_setup();
    is_set_up = true;
    const uint8_t *frame;
    size_t frame_size;
    size_t len = fuzz_split(data, size, "\n--frame--\n", &frame, &frame_size);
    struct message m;
    struct err err = {0};
    fuzz_begin(fuzz_largest(size), 16 * FUZZ_MIB + 16 * size);
    bool ok = message_parse((const char *)data, len, &limits, &m, &err);
    FUZZ_CHECK(ok == (err.code == ERR_NONE));
    receive(&m, frame, frame_size);
    message_clear(&m);
    FUZZ_CHECK(fuzz_bytes_live() == 0);
    fuzz_end();
    return 0;
}
