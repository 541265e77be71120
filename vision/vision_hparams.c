// Keys of an mmproj file -> struct vision_hparams.
//
// Every value is checked before anything is sized by it. Three keys are not trusted:
// clip.vision.projection_dim (the projector's tensors say the width of a row), clip.vision.block_count (files
// made for LLaVA say 23 or 24 for the same 23 blocks; what is stored counts) and
// clip.vision.feed_forward_length (files of Qwen2-VL give the language model's width; the first block's
// tensors count).
#include "vision/vision_hparams.h"

#include "base/sizes.h"
#include "vision/projector.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    IMAGE_SIZE_MAX = 8192,
    PIXELS_MAX = 1 << 26, // of a picture as it is encoded
    N_EMBD_MAX = 1 << 16,
    N_FF_MAX = 1 << 18,
    N_PATCHES_MAX = 1 << 16,
    MERGE_MAX = 16,
    TILES_MAX = 64,
    TILE_SIDE_MAX = 8, // tiles a side of a longest edge
    N_QUERY_MAX = 4096,
    MINICPMV_2_6 = 3, // earlier ones have other special strings around slices
};

#define KEY_IMAGE_SIZE    "clip.vision.image_size"
#define KEY_PATCH_SIZE    "clip.vision.patch_size"
#define KEY_N_EMBD        "clip.vision.embedding_length"
#define KEY_N_BLOCK       "clip.vision.block_count"
#define KEY_N_HEAD        "clip.vision.attention.head_count"
#define KEY_EPS           "clip.vision.attention.layer_norm_epsilon"
#define KEY_FEATURE_LAYER "clip.vision.feature_layer"
#define KEY_MIN_PIXELS    "clip.vision.image_min_pixels"
#define KEY_MAX_PIXELS    "clip.vision.image_max_pixels"
#define KEY_MIN_TILES     "clip.vision.preproc_min_tiles"
#define KEY_MAX_TILES     "clip.vision.preproc_max_tiles"
#define KEY_MERGE_TYPE    "clip.vision.mm_patch_merge_type"
#define KEY_FULL_EVERY    "clip.vision.n_wa_pattern"
#define KEY_RESOLUTIONS   "clip.vision.image_grid_pinpoints"
#define KEY_ASPECT        "clip.vision.image_aspect_ratio"

static bool missing(const char *key, struct err *err) {
    return err_set(err, ERR_MODEL, "%s: missing", key);
}

static bool read_size(const struct gguf *g, const char *key, size_t max, size_t *out, struct err *err) {
    uint64_t value = 0;
    bool found;
    if (!gguf_get_uint(g, key, 1, max, &value, &found, err))
        return false;
    *out = (size_t)value;
    return found || missing(key, err);
}

static bool read_flag(const struct gguf *g, const char *key, bool *out, struct err *err) {
    *out = false;
    return gguf_get_bool(g, key, out, NULL, err);
}

static bool read_colour(const struct gguf *g, const char *key, double min, float out[3], struct err *err) {
    const struct gguf_key *k = gguf_find_key(g, key);
    if (!k)
        return missing(key, err);
    if (k->type != GGUF_ARRAY || (k->item_type != GGUF_F32 && k->item_type != GGUF_F64) || k->n != 3)
        return err_set(err, ERR_MODEL, "%s: want an array of 3 floats", key);
    for (size_t c = 0; c < 3; c++) {
        double value = gguf_array_float(k, c);
        if (!(value >= min && value <= 1))
            return err_set(err, ERR_MODEL, "%s: item %zu is %g, want %g to 1", key, c, value, min);
        out[c] = (float)value;
    }
    return true;
}

// As read_size; a missing key leaves *out alone.
static bool read_optional(const struct gguf *g, const char *key, size_t min, size_t max, size_t *out,
                          struct err *err) {
    uint64_t value = *out;
    if (!gguf_get_uint(g, key, min, max, &value, NULL, err))
        return false;
    *out = (size_t)value;
    return true;
}

static bool read_family(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    const char *const keys[] = {"clip.vision.projector_type", "clip.projector_type"};
    char list[VISION_FAMILY_LIST_SIZE];
    struct gguf_string name = {"", 0};
    if (!gguf_get_string(g, "general.name", &name, NULL, err))
        return false;
    for (size_t i = 0; i < 2; i++) {
        struct gguf_string type;
        bool found;
        if (!gguf_get_string(g, keys[i], &type, &found, err))
            return false;
        if (!found)
            continue;
        hp->family = vision_family_find(type, name);
        return hp->family ||
               err_set(err, ERR_MODEL, "%s: %.*s, want one of %s", keys[i],
                       (int)(type.len < 64 ? type.len : 64), type.data, vision_family_list(list));
    }
    return missing("clip.projector_type", err);
}

static bool is_text(const struct gguf_string *s, const char *text) {
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}

// How the tiles of anyres are joined.
static bool read_merge_type(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    struct gguf_string merge;
    bool found;
    if (!gguf_get_string(g, KEY_MERGE_TYPE, &merge, &found, err))
        return false;
    hp->unpad = found && is_text(&merge, "spatial_unpad");
    return !found || hp->unpad || is_text(&merge, "flat") ||
           err_set(err, ERR_MODEL, KEY_MERGE_TYPE ": %.*s, want flat or spatial_unpad",
                   (int)(merge.len < 64 ? merge.len : 64), merge.data);
}

// What LLaVA's configuration says, then whether there is a list of resolutions or a use for it, then the family.
static bool read_plan(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    static const struct {
        const char *aspect;
        vision_plan_fn *plan;
    } plans[] = {{"pad", plan_pad}, {"square", plan_crop}, {"anyres", plan_anyres}};
    struct gguf_string aspect;
    bool is_open;
    hp->plan = hp->family->plan;
    if (!hp->family->asks_plan)
        return true;
    if (!gguf_get_string(g, KEY_ASPECT, &aspect, &is_open, err) || !read_merge_type(g, hp, err))
        return false;
    const struct gguf_key *list = gguf_find_key(g, KEY_RESOLUTIONS);
    if (!is_open && (hp->unpad || (list && list->n > 0)))
        hp->plan = plan_anyres;
    for (size_t i = 0; is_open && i < sizeof plans / sizeof *plans; i++)
        if (is_text(&aspect, plans[i].aspect)) {
            hp->plan = plans[i].plan;
            is_open = false;
        }
    hp->unpad = hp->unpad && hp->plan == plan_anyres;
    if (hp->plan == plan_anyres && hp->family->projector != &projector_mlp) // its rows are those of one tile
        return err_set(err, ERR_MODEL, KEY_ASPECT ", " KEY_RESOLUTIONS ": anyres, want one tile for %s",
                       hp->family->projector_type);
    return !is_open || err_set(err, ERR_MODEL, KEY_ASPECT ": %.*s, want one of pad, square, anyres",
                               (int)(aspect.len < 64 ? aspect.len : 64), aspect.data);
}

// Pairs of height and width.
static bool read_resolutions(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    const struct gguf_key *key = gguf_find_key(g, KEY_RESOLUTIONS);
    if (!key)
        return missing(KEY_RESOLUTIONS, err);
    if (key->n == 0 || key->type != GGUF_ARRAY ||
        (key->item_type != GGUF_I32 && key->item_type != GGUF_U32) || key->n % 2 != 0 ||
        key->n > 2 * RESOLUTIONS_MAX)
        return err_set(err, ERR_MODEL, KEY_RESOLUTIONS ": want an array of 1 to %d pairs of i32",
                       RESOLUTIONS_MAX);
    hp->n_resolutions = key->n / 2;
    for (size_t i = 0; i < hp->n_resolutions; i++) {
        int64_t height = gguf_array_int(key, 2 * i), width = gguf_array_int(key, 2 * i + 1);
        int64_t tile = (int64_t)hp->image_size, most = tile * TILES_MAX;
        if (height < tile || width < tile || height % tile != 0 || width % tile != 0 || height > most ||
            width > most || height / tile * (width / tile) > TILES_MAX)
            return err_set(err, ERR_MODEL,
                           KEY_RESOLUTIONS ": item %zu is %lldx%lld, want multiples of " KEY_IMAGE_SIZE
                                           " %zu, at most %d tiles",
                           i, (long long)width, (long long)height, hp->image_size, TILES_MAX);
        hp->resolutions[i] = (struct size){(size_t)width, (size_t)height};
    }
    return true;
}

static bool read_activation(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    bool gelu, silu;
    if (!read_flag(g, "clip.use_gelu", &gelu, err) || !read_flag(g, "clip.use_silu", &silu, err))
        return false;
    if (gelu && silu)
        return err_set(err, ERR_MODEL, "clip.use_silu: true beside clip.use_gelu, want one of them");
    if (!gelu && !silu && !hp->family->quick_gelu)
        return err_set(err, ERR_MODEL, "clip.use_gelu: false or missing, want it or clip.use_silu true");
    hp->act = gelu ? hp->family->gelu : silu ? ACT_SILU : ACT_GELU_QUICK;
    return true;
}

// Highest N of v.blk.N. plus one.
static bool count_blocks(const struct gguf *g, size_t *n_stored, struct err *err) {
    static const char prefix[] = "v.blk.";
    *n_stored = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const char *name = gguf_tensor_at(g, i)->name, *p = name + sizeof prefix - 1;
        if (strncmp(name, prefix, sizeof prefix - 1) != 0)
            continue;
        size_t n = 0;
        for (; *p >= '0' && *p <= '9' && n < VISION_BLOCKS_MAX; p++)
            n = n * 10 + (size_t)(*p - '0');
        if (*p != '.' || n >= VISION_BLOCKS_MAX)
            return err_set(err, ERR_MODEL, "%s: want a block number below %d", name, VISION_BLOCKS_MAX);
        *n_stored = n + 1 > *n_stored ? n + 1 : *n_stored;
    }
    return *n_stored > 0 || err_set(err, ERR_MODEL, "v.blk.0: missing, the file has no block");
}

// Whether every tensor of the last block is, byte for byte, that of the block before it. Some converters store
// the last block twice, for a program that leaves out the last one of every file.
static bool repeats_last(const struct gguf *g, size_t n_stored) {
    char last[32];
    size_t n_equal = 0, len = (size_t)snprintf(last, sizeof last, "v.blk.%zu.", n_stored - 1);
    for (size_t i = 0; n_stored > 1 && i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i), *before;
        char name[TENSOR_NAME_SIZE + 8];
        if (strncmp(t->name, last, len) != 0)
            continue;
        snprintf(name, sizeof name, "v.blk.%zu.%s", n_stored - 2, t->name + len);
        before = gguf_find_tensor(g, name);
        if (!before || before->type != t->type || before->size_bytes != t->size_bytes ||
            memcmp(before->data, t->data, t->size_bytes) != 0)
            return false;
        n_equal++;
    }
    return n_equal > 0;
}

// Without the key: what is stored, less what the model does not use.
static bool set_n_block(const struct gguf *g, size_t n_stored, const struct vision_family *family,
                        size_t *n_block, struct err *err) {
    size_t n_unused = repeats_last(g, n_stored) + family->n_unused;
    if (n_stored <= n_unused)
        return err_set(err, ERR_MODEL, "v.blk.%zu: missing, %s has %zu blocks that are not used", n_stored,
                       family->name ? family->name : family->projector_type, n_unused);
    *n_block = n_stored - n_unused;
    return true;
}

// An index of Hugging Face's hidden_states: n is what n blocks give, negative ones count from the last (-1).
static bool read_feature_layer(const struct gguf *g, size_t n_stored, size_t n_named,
                               const struct vision_family *family, size_t *n_block, struct err *err) {
    const struct gguf_key *key = gguf_find_key(g, KEY_FEATURE_LAYER);
    if (!key)
        return set_n_block(g, n_stored, family, n_block, err);
    struct gguf_key layer = *key;
    if (layer.type != GGUF_ARRAY)
        layer.item_type = layer.type;
    switch ((int)layer.item_type) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_U16:
    case GGUF_I16:
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_U64:
    case GGUF_I64:
        break;
    default:
        return err_set(err, ERR_MODEL, KEY_FEATURE_LAYER ": want an integer");
    }
    if (layer.n != 1)
        return err_set(err, ERR_MODEL, KEY_FEATURE_LAYER ": %zu layers, want one", layer.n);
    int64_t index = gguf_array_int(&layer, 0), n_total = (int64_t)(n_named > n_stored ? n_named : n_stored);
    int64_t n = index < 0 && index >= -n_total ? n_total + 1 + index : index;
    if (n < 1 || n > (int64_t)n_stored)
        return err_set(err, ERR_MODEL, KEY_FEATURE_LAYER ": %lld, want 1 to %zu or -1 to -%zu",
                       (long long)index, n_stored, n_stored);
    *n_block = (size_t)n;
    return true;
}

// Most tiles of a picture, the overview with them.
static size_t most_tiles(const struct vision_hparams *hp) {
    size_t n = 0;
    if (hp->family->plan == plan_tile_grid)
        n = hp->params.max_tiles;
    if (hp->family->plan == plan_slices)
        n = hp->params.max_slices;
    for (size_t i = 0; i < hp->n_resolutions; i++) {
        struct size r = hp->resolutions[i];
        size_t tiles = r.width / hp->image_size * (r.height / hp->image_size);
        n = tiles > n ? tiles : n;
    }
    return n + 1;
}

static bool check_sizes(const struct vision_hparams *hp, struct err *err) {
    if (hp->patch_size > hp->image_size)
        return err_set(err, ERR_MODEL, KEY_PATCH_SIZE ": %zu, want at most " KEY_IMAGE_SIZE " %zu",
                       hp->patch_size, hp->image_size);
    if (hp->n_head > hp->n_embd || hp->n_embd % hp->n_head != 0)
        return err_set(err, ERR_MODEL, KEY_N_HEAD ": %zu, want a divisor of " KEY_N_EMBD " %zu", hp->n_head,
                       hp->n_embd);
    if (hp->family->rope && hp->n_embd / hp->n_head % 4 != 0)
        return err_set(err, ERR_MODEL, KEY_N_HEAD ": %zu makes heads of %zu, want a multiple of 4",
                       hp->n_head, hp->n_embd / hp->n_head);
    size_t side = hp->image_size / hp->patch_size;
    if (side * side > N_PATCHES_MAX)
        return err_set(err, ERR_MODEL,
                       KEY_PATCH_SIZE ": %zu makes %zu patches of " KEY_IMAGE_SIZE " %zu, want at most %d",
                       hp->patch_size, side * side, hp->image_size, N_PATCHES_MAX);
    size_t n_tiles = most_tiles(hp);
    if (n_tiles * hp->image_size * hp->image_size > PIXELS_MAX)
        return err_set(err, ERR_MODEL, KEY_IMAGE_SIZE ": %zu, %zu tiles, want at most %d pixels in a picture",
                       hp->image_size, n_tiles, PIXELS_MAX);
    bool is_dynamic = hp->family->rope || hp->family->projector == &projector_resampler;
    if (!is_dynamic && hp->image_size % (hp->patch_size * hp->merge) != 0)
        return err_set(err, ERR_MODEL,
                       KEY_IMAGE_SIZE ": %zu, want a multiple of " KEY_PATCH_SIZE " %zu times %zu",
                       hp->image_size, hp->patch_size, hp->merge);
    return true;
}

// What only some families have.
static bool read_family_keys(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    const struct vision_family *family = hp->family;
    size_t window_px = 8 * hp->patch_size, full_every = 0; // Qwen2.5-VL: windows of 112 pixels, patches of 14
    size_t version = MINICPMV_2_6;
    size_t longest_max = size_min(TILE_SIDE_MAX * hp->image_size, IMAGE_SIZE_MAX);
    hp->merge = family->merge;
    hp->longest_edge = size_min(4 * hp->image_size, longest_max);
    hp->n_query = 64;
    if (family->merge_key && !read_optional(g, family->merge_key, 1, MERGE_MAX, &hp->merge, err))
        return false;
    if (family->windows && !read_size(g, KEY_FULL_EVERY, VISION_BLOCKS_MAX, &full_every, err))
        return false;
    if (!read_optional(g, "clip.vision.window_size", hp->patch_size * hp->merge, IMAGE_SIZE_MAX, &window_px,
                       err) ||
        !read_optional(g, "clip.vision.preproc_image_size", hp->image_size, longest_max, &hp->longest_edge,
                       err) ||
        !read_optional(g, "clip.minicpmv_query_num", 1, N_QUERY_MAX, &hp->n_query, err) ||
        !read_optional(g, "clip.minicpmv_version", MINICPMV_2_6, UINT32_MAX, &version, err))
        return false;
    if (full_every > 0) {
        hp->window = window_px / (hp->patch_size * hp->merge);
        hp->full_every = full_every;
    }
    if (!read_plan(g, hp, err))
        return false;
    if (hp->plan == plan_anyres)
        return read_resolutions(g, hp, err);
    if (hp->plan == plan_pad || hp->plan == plan_squash || hp->plan == plan_crop) {
        size_t rest = hp->image_size % hp->patch_size;
        hp->unseen = rest > 0 ? rest : family->unseen;
        hp->image_size -= rest;
    }
    return true;
}

static void set_default(size_t *value, size_t to) {
    if (*value == 0)
        *value = to;
}

// Values of the caller, if one of them is, else of the file by the names of its keys.
static bool check_range(const char *name, bool is_callers, size_t min, size_t max, size_t limit,
                        struct err *err) {
    return (min <= max && max <= limit) ||
           err_set(err, is_callers ? ERR_INVALID_VALUE : ERR_MODEL,
                   "%s: min %zu, max %zu, want min <= max <= %zu", name, min, max, limit);
}

// The caller's values, then the file's, then the original's.
static bool read_params(const struct gguf *g, const struct vision_params *params, struct vision_hparams *hp,
                        struct err *err) {
    struct vision_params file = {0};
    size_t most_pixels = size_min(PIXELS_MAX, N_PATCHES_MAX * hp->patch_size * hp->patch_size);
    if (!read_optional(g, KEY_MIN_PIXELS, 1, PIXELS_MAX, &file.min_pixels, err) ||
        !read_optional(g, KEY_MAX_PIXELS, 1, PIXELS_MAX, &file.max_pixels, err) ||
        !read_optional(g, KEY_MIN_TILES, 1, TILES_MAX, &file.min_tiles, err) ||
        !read_optional(g, KEY_MAX_TILES, 1, TILES_MAX, &file.max_tiles, err))
        return false;
    struct vision_params *p = &hp->params;
    *p = *params;
    set_default(&p->min_pixels, file.min_pixels ? file.min_pixels : hp->family->min_pixels);
    set_default(&p->max_pixels,
                file.max_pixels ? file.max_pixels : size_min(hp->family->max_pixels, most_pixels));
    set_default(&p->min_tiles, file.min_tiles ? file.min_tiles : 1);
    set_default(&p->max_tiles, file.max_tiles ? file.max_tiles : 12);
    set_default(&p->max_slices, 9);
    bool own_pixels = params->min_pixels || params->max_pixels;
    bool own_tiles = params->min_tiles || params->max_tiles, has_pixels = hp->family->max_pixels > 0;
    return (!has_pixels || check_range(own_pixels ? "pixels" : KEY_MIN_PIXELS ", " KEY_MAX_PIXELS, own_pixels,
                                       p->min_pixels, p->max_pixels, most_pixels, err)) &&
           check_range(own_tiles ? "tiles" : KEY_MIN_TILES ", " KEY_MAX_TILES, own_tiles, p->min_tiles,
                       p->max_tiles, TILES_MAX, err) &&
           check_range("slices", true, 1, p->max_slices, TILES_MAX, err);
}

bool vision_hparams_read(const struct gguf *g, const struct vision_params *params, struct vision_hparams *hp,
                         struct err *err) {
    bool has_encoder = true, found;
    double eps = 0;
    size_t n_named = 0, n_stored = 0;
    if (!gguf_get_bool(g, "clip.has_vision_encoder", &has_encoder, NULL, err))
        return false;
    if (!has_encoder)
        return err_set(err, ERR_MODEL, "clip.has_vision_encoder: false, want true");
    if (!read_family(g, hp, err))
        return false;
    if (!read_size(g, KEY_IMAGE_SIZE, IMAGE_SIZE_MAX, &hp->image_size, err) ||
        !read_size(g, KEY_PATCH_SIZE, IMAGE_SIZE_MAX, &hp->patch_size, err) ||
        !read_size(g, KEY_N_EMBD, N_EMBD_MAX, &hp->n_embd, err) ||
        !read_size(g, KEY_N_BLOCK, VISION_BLOCKS_MAX, &n_named, err) ||
        !read_size(g, KEY_N_HEAD, N_EMBD_MAX, &hp->n_head, err))
        return false;
    if (!gguf_get_float(g, KEY_EPS, &eps, &found, err))
        return false;
    if (!found)
        return missing(KEY_EPS, err);
    if (!(eps > 0 && eps < 1))
        return err_set(err, ERR_MODEL, KEY_EPS ": %g, want above 0 and below 1", eps);
    hp->eps = (float)eps;
    return read_family_keys(g, hp, err) && read_params(g, params, hp, err) &&
           read_colour(g, "clip.vision.image_mean", 0, hp->mean, err) &&
           read_colour(g, "clip.vision.image_std", 1e-6, hp->std, err) && check_sizes(hp, err) &&
           read_activation(g, hp, err) && count_blocks(g, &n_stored, err) &&
           read_feature_layer(g, n_stored, n_named, hp->family, &hp->n_block, err);
}
