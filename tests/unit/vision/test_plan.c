// How large pictures become: whatever the size and the limit, rows stay within it or the form is the smallest, a limit
// that does not bind changes nothing, and no picture takes more than the largest is said to.
#include "check.h"

#include "vision/image.h"
#include "vision/plan.h"
#include "vision/projector.h"
#include "vision/vision_model.h"

#include <stdlib.h>

static struct vision_hparams hparams(const char *type) {
    struct gguf_string name = {.data = type, .len = strlen(type)}, unnamed = {.data = "", .len = 0};
    const struct vision_family *family = vision_family_find(name, unnamed);
    return (struct vision_hparams){
        .family = family,
        .plan = family->plan,
        .image_size = 336,
        .patch_size = 14,
        .merge = 1,
        .n_query = 64,
        .table_side = 70,
        .longest_edge = 4 * 336,
        .params = {
            .min_pixels = 3136, .max_pixels = 12845056, .min_tiles = 1, .max_tiles = 12, .max_slices = 9}};
}

static struct vision_hparams llava16(bool unpad) {
    struct vision_hparams hp = hparams("mlp");
    static const struct size resolutions[] = {{672, 336}, {336, 672}, {672, 672}, {1008, 336}, {336, 1008}};
    hp.n_resolutions = sizeof resolutions / sizeof *resolutions;
    memcpy(hp.resolutions, resolutions, sizeof resolutions);
    hp.unpad = unpad;
    hp.plan = plan_anyres;
    return hp;
}

// Rows of a picture, 0 where it is refused. The plan's parts must agree with each other.
static size_t rows_of(const struct vision_hparams *hp, struct size s, size_t max_tokens, bool low) {
    struct plan p;
    struct vision_detail detail = {max_tokens, low};
    struct err err = {0};
    size_t n_rows = 0, in_spans = 0;
    if (plan_init(&p, hp, s.width, s.height, &detail, &err)) {
        n_rows = p.n_rows;
        for (size_t i = 0; i < p.n_spans; i++) {
            CHECK(p.spans[i].n_rows == 0 || p.spans[i].first_row == in_spans);
            in_spans += p.spans[i].n_rows;
        }
        CHECK(in_spans == n_rows && n_rows > 0 && p.n_tiles > 0 && plan_n_values(&p) > 0);
    } else {
        CHECK(err.code == ERR_IMAGE_UNSUPPORTED);
    }
    plan_clear(&p);
    return n_rows;
}

static struct size random_size(unsigned *seed) {
    static const size_t most[] = {40, 700, 5000, IMAGE_SIDE_MAX};
    size_t limit = most[(size_t)rand_r(seed) % 4];
    return (struct size){1 + (size_t)rand_r(seed) % limit, 1 + (size_t)rand_r(seed) % limit};
}

static void check_kind(const char *name, const struct vision_hparams *hp) {
    struct plan largest;
    plan_init_largest(&largest, hp);
    unsigned seed = 1;
    size_t most = 0;
    for (int i = 0; i < 4000; i++) {
        struct size s = random_size(&seed);
        size_t full = rows_of(hp, s, 0, false), limit = 1 + (size_t)rand_r(&seed) % 3000;
        size_t least = rows_of(hp, s, 1, false), low = rows_of(hp, s, 0, true);
        size_t some = rows_of(hp, s, limit, false), less = rows_of(hp, s, limit, true);
        if (full == 0)
            continue;
        most = full > most ? full : most;
        // A strip whose map is all border leaves the overview alone, which has no newline row then.
        size_t most_small = full + hp->unpad;
        bool ok = full <= largest.n_rows && some <= most_small && least <= some + hp->unpad &&
                  low <= most_small && less <= low;
        ok = ok && (some <= limit || some <= least) && (full > limit || some == full);
        ok = ok && rows_of(hp, s, full, false) == full && less <= some + hp->unpad;
        if (!ok) {
            printf("%s %zux%zu: %zu rows, %zu of at most %zu, %zu low, %zu both, %zu at least, largest %zu\n",
                   name, s.width, s.height, full, some, limit, low, less, least, largest.n_rows);
            check_failed++;
        }
    }
    printf("%s: most %zu of random pictures, bound %zu\n", name, most, largest.n_rows);
    plan_clear(&largest);
}

static void check_form(const struct vision_hparams *hp, struct size s, size_t max_tokens, bool low,
                       const char *form) {
    struct plan p;
    struct vision_detail detail = {max_tokens, low};
    char found[VISION_FORM_SIZE];
    CHECK(plan_init(&p, hp, s.width, s.height, &detail, NULL));
    plan_form(&p, found);
    CHECK_STR(found, form);
    plan_clear(&p);
}

static size_t largest_rows(const struct vision_hparams *hp) {
    struct plan p;
    plan_init_largest(&p, hp);
    size_t n_rows = p.n_rows;
    plan_clear(&p);
    return n_rows;
}

static void check_forms(void) {
    struct vision_hparams hp = hparams("idefics3");
    hp.merge = 4;
    hp.image_size = 512;
    hp.patch_size = 16;
    hp.longest_edge = 2048;
    check_form(&hp, (struct size){800, 600}, 0, false, "2048x1536+2048x1536+512x512");
    check_form(&hp, (struct size){800, 600}, 64 * 12, false, "1536x1152+1536x1536+512x512");
    check_form(&hp, (struct size){800, 600}, 64 * 9, false, "1024x768+1024x1024+512x512");
    check_form(&hp, (struct size){800, 600}, 0, true, "512x384+512x512+512x512");
    CHECK(largest_rows(&hp) == 17 * 64);

    hp = llava16(true);
    CHECK(largest_rows(&hp) == 576 + 48 * 49);
    check_form(&hp, (struct size){600, 600}, 0, false, "0x0+672x672+336x336");
    check_form(&hp, (struct size){600, 600}, 2000, false, "0x0+672x336+336x336");
    check_form(&hp, (struct size){600, 600}, 0, true, "0x0+0x0+336x336");
    CHECK(rows_of(&hp, (struct size){600, 600}, 0, true) == 577); // and a newline row

    hp = hparams("qwen2vl_merger");
    hp.merge = 2;
    CHECK(largest_rows(&hp) == 16384);
    check_form(&hp, (struct size){4000, 3000}, 3072, false, "0x0+0x0+1792x1344");
    check_form(&hp, (struct size){4000, 3000}, 0, true, "0x0+0x0+504x364");
    check_form(&hp, (struct size){2000, 10}, 8, false, "0x0+0x0+224x28");
    hp.params.min_pixels = 65536;
    hp.params.max_pixels = 65536;
    CHECK(rows_of(&hp, (struct size){2000, 10}, 0, false) <= largest_rows(&hp));

    hp = hparams("internvl");
    hp.image_size = 448;
    hp.merge = 2;
    CHECK(largest_rows(&hp) == 13 * 256);
    check_form(&hp, (struct size){1200, 900}, 0, false, "0x0+1792x1344+448x448");
    check_form(&hp, (struct size){1200, 900}, 256 * 7, false, "0x0+1344x896+448x448");
    check_form(&hp, (struct size){1200, 900}, 0, true, "0x0+0x0+448x448");

    hp = hparams("pixtral");
    hp.image_size = 1024;
    hp.patch_size = 16;
    CHECK(largest_rows(&hp) == 4096);
    check_form(&hp, (struct size){2000, 1000}, 0, true, "0x0+0x0+352x176");

    hp = hparams("resampler");
    hp.image_size = 448;
    CHECK(largest_rows(&hp) == 640);
    check_form(&hp, (struct size){1000, 1000}, 0, true, "0x0+0x0+448x448");
    CHECK(rows_of(&hp, (struct size){1500, 1400}, 64 * 5, false) == 64 * 5);
    check_form(&hp, (struct size){20000, 1}, 0, false,
               "0x0+0x0+60004x14"); // longer than the table of positions
}

int main(void) {
    static const char *const types[] = {
        "mlp",      "idefics3", "gemma3",   "qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger",
        "internvl", "pixtral",  "resampler"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct vision_hparams hp = hparams(types[i]);
        hp.merge = hp.family->merge;
        check_kind(types[i], &hp);
        hp.params = (struct vision_params){65536, 70000, 3, 4, 2};
        check_kind(types[i], &hp);
    }
    struct vision_hparams padded = llava16(false), unpadded = llava16(true);
    check_kind("anyres", &padded);
    check_kind("anyres, unpadded", &unpadded);
    check_forms();
    return check_result();
}
