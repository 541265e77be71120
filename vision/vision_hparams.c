// Keys of an mmproj file -> struct vision_hparams.
//
// Every value is checked before anything is sized by it. Three keys are not trusted:
// clip.vision.projection_dim (the projector's tensors say the width of a row), clip.vision.block_count (files
// made for LLaVA say 23 or 24 for the same 23 blocks; what is stored counts) and
// clip.vision.feed_forward_length (files of Qwen2-VL give the language model's width; the first block's
// tensors count).
#include "vision/vision_hparams.h"

#include "vision/projector.h"

#include <math.h>
#include <string.h>

enum {
    IMAGE_SIZE_MAX = 8192,
    PIXELS_MAX = 1 << 26, // of a picture as it is encoded
    N_EMBD_MAX = 1 << 16,
    N_FF_MAX = 1 << 18,
    N_PATCHES_MAX = 1 << 16,
    MERGE_MAX = 16,
    TILES_MAX = 64,
    N_QUERY_MAX = 4096,
};

#define KEY_IMAGE_SIZE    "clip.vision.image_size"
#define KEY_PATCH_SIZE    "clip.vision.patch_size"
#define KEY_N_EMBD        "clip.vision.embedding_length"
#define KEY_N_BLOCK       "clip.vision.block_count"
#define KEY_N_HEAD        "clip.vision.attention.head_count"
#define KEY_EPS           "clip.vision.attention.layer_norm_epsilon"
#define KEY_FEATURE_LAYER "clip.vision.feature_layer"
#define KEY_RESOLUTIONS   "clip.vision.image_grid_pinpoints"

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
    for (size_t i = 0; i < 2; i++) {
        struct gguf_string type;
        bool found;
        if (!gguf_get_string(g, keys[i], &type, &found, err))
            return false;
        if (!found)
            continue;
        hp->family = vision_family_find(type.data, type.len);
        return hp->family ||
               err_set(err, ERR_MODEL, "%s: %.*s, want one of %s", keys[i],
                       (int)(type.len < 64 ? type.len : 64), type.data, vision_family_list(list));
    }
    return missing("clip.projector_type", err);
}

// Pairs of height and width.
static bool read_resolutions(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    const struct gguf_key *key = gguf_find_key(g, KEY_RESOLUTIONS);
    struct gguf_string merge;
    bool found;
    if (!gguf_get_string(g, "clip.vision.mm_patch_merge_type", &merge, &found, err))
        return false;
    hp->unpad = found && merge.len == 13 && memcmp(merge.data, "spatial_unpad", 13) == 0;
    if (!key || key->n == 0)
        return !hp->unpad || missing(KEY_RESOLUTIONS, err);
    if (key->type != GGUF_ARRAY || (key->item_type != GGUF_I32 && key->item_type != GGUF_U32) ||
        key->n % 2 != 0 || key->n > 2 * RESOLUTIONS_MAX)
        return err_set(err, ERR_MODEL, KEY_RESOLUTIONS ": want an array of at most %d pairs of i32",
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

// An index of Hugging Face's hidden_states: n is what n blocks give, negative ones count from the last (-1).
static bool read_feature_layer(const struct gguf *g, size_t n_stored, size_t n_named, size_t *n_block,
                               struct err *err) {
    const struct gguf_key *key = gguf_find_key(g, KEY_FEATURE_LAYER);
    *n_block = n_stored;
    if (!key)
        return true;
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
    hp->merge = family->merge;
    hp->longest_edge = 4 * hp->image_size;
    hp->n_query = 64;
    if (family->merge_key && !read_optional(g, family->merge_key, 1, MERGE_MAX, &hp->merge, err))
        return false;
    if (!read_optional(g, "clip.vision.n_wa_pattern", 1, VISION_BLOCKS_MAX, &full_every, err) ||
        !read_optional(g, "clip.vision.window_size", hp->patch_size * hp->merge, IMAGE_SIZE_MAX, &window_px,
                       err) ||
        !read_optional(g, "clip.vision.preproc_image_size", hp->image_size, IMAGE_SIZE_MAX, &hp->longest_edge,
                       err) ||
        !read_optional(g, "clip.minicpmv_query_num", 1, N_QUERY_MAX, &hp->n_query, err))
        return false;
    if (full_every > 0) {
        hp->window = window_px / (hp->patch_size * hp->merge);
        hp->full_every = full_every;
    }
    return family->plan != plan_anyres || read_resolutions(g, hp, err);
}

static void set_default(size_t *value, size_t to) {
    if (*value == 0)
        *value = to;
}

static bool check_range(const char *name, size_t min, size_t max, size_t limit, struct err *err) {
    return (min <= max && max <= limit) ||
           err_set(err, ERR_INVALID_VALUE, "%s: min %zu, max %zu, want min <= max <= %zu", name, min, max,
                   limit);
}

// The caller's values, then the file's, then the original's.
static bool read_params(const struct gguf *g, const struct vision_params *params, struct vision_hparams *hp,
                        struct err *err) {
    struct vision_params file = {0};
    if (!read_optional(g, "clip.vision.image_min_pixels", 1, PIXELS_MAX, &file.min_pixels, err) ||
        !read_optional(g, "clip.vision.image_max_pixels", 1, PIXELS_MAX, &file.max_pixels, err) ||
        !read_optional(g, "clip.vision.preproc_min_tiles", 1, TILES_MAX, &file.min_tiles, err) ||
        !read_optional(g, "clip.vision.preproc_max_tiles", 1, TILES_MAX, &file.max_tiles, err))
        return false;
    struct vision_params *p = &hp->params;
    *p = *params;
    set_default(&p->min_pixels, file.min_pixels ? file.min_pixels : hp->family->min_pixels);
    set_default(&p->max_pixels, file.max_pixels ? file.max_pixels : hp->family->max_pixels);
    set_default(&p->min_tiles, file.min_tiles ? file.min_tiles : 1);
    set_default(&p->max_tiles, file.max_tiles ? file.max_tiles : 12);
    set_default(&p->max_slices, 9);
    return check_range("pixels", p->min_pixels, p->max_pixels, PIXELS_MAX, err) &&
           check_range("tiles", p->min_tiles, p->max_tiles, TILES_MAX, err) &&
           check_range("slices", 1, p->max_slices, TILES_MAX, err);
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
           read_feature_layer(g, n_stored, n_named, &hp->n_block, err);
}
