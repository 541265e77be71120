// The queue of one client: order, sizes, and which deltas may be joined.
#include "check.h"

#include "web/outbox.h"

static void expect(struct outbox *o, const char *want) {
    unsigned char *data;
    size_t len;
    CHECK(outbox_front(o, &data, &len));
    CHECK(len == strlen(want) && !memcmp(data, want, len));
    memset(data - OUTBOX_HEADROOM, 0xff, OUTBOX_HEADROOM); // the socket library writes there
    outbox_pop(o);
}

int main(void) {
    struct outbox o;
    unsigned char *data;
    size_t len;
    outbox_init(&o);
    CHECK(!outbox_front(&o, &data, &len));
    CHECK(outbox_push(&o, "one", 3, NULL));
    CHECK(!outbox_join_delta(&o, 1, "x", 1)); // nothing to join
    CHECK(outbox_push_delta(&o, 1, "{\"delta\":\"", "a\"", 2, NULL));
    CHECK(outbox_push_delta(&o, 2, "{\"delta\":\"", "m", 1, NULL));
    CHECK(outbox_join_delta(&o, 1, "b\n", 2)); // past that of another response
    CHECK(outbox_join_delta(&o, 2, "n", 1));
    CHECK(outbox_push(&o, "end", 3, NULL));
    size_t n_bytes = o.n_bytes;
    CHECK(n_bytes > 3 + 3 + 10 + 10);
    expect(&o, "one");
    CHECK(outbox_front(&o, &data, &len));     // about to be sent:
    CHECK(!outbox_join_delta(&o, 1, "c", 1)); // too late
    expect(&o, "{\"delta\":\"a\\\"b\\n\"}");
    expect(&o, "{\"delta\":\"mn\"}");
    expect(&o, "end");
    CHECK(o.n_bytes == 0 && !outbox_front(&o, &data, &len));

    char piece[1000];
    memset(piece, 'x', sizeof piece);
    CHECK(outbox_push_delta(&o, 3, "\"", piece, sizeof piece, NULL));
    int joined = 0;
    while (outbox_join_delta(&o, 3, piece, sizeof piece))
        joined++;
    CHECK(joined == 15); // 16 KiB
    CHECK(outbox_front(&o, &data, &len) && len < OUTBOX_MESSAGE_MAX);
    outbox_clear(&o);
    CHECK(o.n_bytes == 0 && !o.head && !o.tail);
    return check_result();
}
