// Keys of an mmproj file -> struct vision_hparams.
//
// Every value is checked before anything is sized by it. Two keys are not trusted: clip.vision.projection_dim
// (the projector's tensors say the width of a row) and clip.vision.block_count (files made for LLaVA say 23
// or 24 for the same 23 blocks; what is stored counts).
#include "vision/vision_hparams.h"

#include <math.h>
#include <string.h>

enum { IMAGE_SIZE_MAX = 8192, N_EMBD_MAX = 1 << 16, N_FF_MAX = 1 << 18, N_PATCHES_MAX = 1 << 16 };

#define KEY_IMAGE_SIZE    "clip.vision.image_size"
#define KEY_PATCH_SIZE    "clip.vision.patch_size"
#define KEY_N_EMBD        "clip.vision.embedding_length"
#define KEY_N_FF          "clip.vision.feed_forward_length"
#define KEY_N_BLOCK       "clip.vision.block_count"
#define KEY_N_HEAD        "clip.vision.attention.head_count"
#define KEY_EPS           "clip.vision.attention.layer_norm_epsilon"
#define KEY_FEATURE_LAYER "clip.vision.feature_layer"

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

static bool check_projector(const struct gguf *g, struct err *err) {
    const char *const keys[] = {"clip.vision.projector_type", "clip.projector_type"};
    for (size_t i = 0; i < 2; i++) {
        struct gguf_string type;
        bool found;
        if (!gguf_get_string(g, keys[i], &type, &found, err))
            return false;
        if (!found)
            continue;
        if (type.len == 3 && memcmp(type.data, "mlp", 3) == 0)
            return true;
        return err_set(err, ERR_MODEL, "%s: %.*s, want mlp", keys[i], (int)(type.len < 64 ? type.len : 64),
                       type.data);
    }
    return missing("clip.projector_type", err);
}

// A model trained on tiles gives wrong answers about one picture as a whole: better none.
static bool check_layout(const struct gguf *g, struct err *err) {
    static const char merge[] = "clip.vision.mm_patch_merge_type",
                      grid[] = "clip.vision.image_grid_pinpoints";
    struct gguf_string type;
    bool found;
    if (!gguf_get_string(g, merge, &type, &found, err))
        return false;
    if (found && (type.len != 4 || memcmp(type.data, "flat", 4) != 0))
        return err_set(err, ERR_MODEL, "%s: %.*s, want flat", merge, (int)(type.len < 64 ? type.len : 64),
                       type.data);
    const struct gguf_key *key = gguf_find_key(g, grid);
    if (key && key->n > 0)
        return err_set(err, ERR_MODEL, "%s: pictures in tiles are not supported", grid);
    return true;
}

static bool read_activation(const struct gguf *g, enum act *act, struct err *err) {
    bool gelu, silu;
    if (!read_flag(g, "clip.use_gelu", &gelu, err) || !read_flag(g, "clip.use_silu", &silu, err))
        return false;
    if (gelu && silu)
        return err_set(err, ERR_MODEL, "clip.use_silu: true beside clip.use_gelu, want one of them");
    *act = gelu ? ACT_GELU : silu ? ACT_SILU : ACT_GELU_QUICK;
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

static bool check_sizes(struct vision_hparams *hp, struct err *err) {
    if (hp->patch_size > hp->image_size || hp->image_size % hp->patch_size != 0)
        return err_set(err, ERR_MODEL, KEY_PATCH_SIZE ": %zu, want a divisor of " KEY_IMAGE_SIZE " %zu",
                       hp->patch_size, hp->image_size);
    if (hp->n_head > hp->n_embd || hp->n_embd % hp->n_head != 0)
        return err_set(err, ERR_MODEL, KEY_N_HEAD ": %zu, want a divisor of " KEY_N_EMBD " %zu", hp->n_head,
                       hp->n_embd);
    size_t side = hp->image_size / hp->patch_size;
    hp->n_patches = side * side;
    if (hp->n_patches > N_PATCHES_MAX)
        return err_set(err, ERR_MODEL,
                       KEY_PATCH_SIZE ": %zu makes %zu patches of " KEY_IMAGE_SIZE " %zu, want at most %d",
                       hp->patch_size, hp->n_patches, hp->image_size, N_PATCHES_MAX);
    return true;
}

bool vision_hparams_read(const struct gguf *g, struct vision_hparams *hp, struct err *err) {
    bool has_encoder = true, found;
    double eps = 0;
    size_t n_named = 0, n_stored = 0;
    if (!gguf_get_bool(g, "clip.has_vision_encoder", &has_encoder, NULL, err))
        return false;
    if (!has_encoder)
        return err_set(err, ERR_MODEL, "clip.has_vision_encoder: false, want true");
    if (!check_projector(g, err) || !check_layout(g, err))
        return false;
    if (!read_size(g, KEY_IMAGE_SIZE, IMAGE_SIZE_MAX, &hp->image_size, err) ||
        !read_size(g, KEY_PATCH_SIZE, IMAGE_SIZE_MAX, &hp->patch_size, err) ||
        !read_size(g, KEY_N_EMBD, N_EMBD_MAX, &hp->n_embd, err) ||
        !read_size(g, KEY_N_FF, N_FF_MAX, &hp->n_ff, err) ||
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
    return read_colour(g, "clip.vision.image_mean", 0, hp->mean, err) &&
           read_colour(g, "clip.vision.image_std", 1e-6, hp->std, err) && check_sizes(hp, err) &&
           read_activation(g, &hp->act, err) && count_blocks(g, &n_stored, err) &&
           read_feature_layer(g, n_stored, n_named, &hp->n_block, err);
}
