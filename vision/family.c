#include "vision/family.h"

#include "vision/plan.h"
#include "vision/projector.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MERGE_SCALE_KEY "clip.vision.projector.scale_factor"
#define MERGE_SIZE_KEY  "clip.vision.spatial_merge_size"

// Of one projector_type, rows with a name come first.
static const struct vision_family families[] = {
    {.projector_type = "mlp",
     .name = "moondream2",
     .plan = plan_squash,
     .projector = &projector_mlp,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU_TANH,
     .projector_gelu = ACT_GELU_TANH,
     .patch_bias = true,
     .post_norm = true,
     .single_image = true,
     .merge = 1},
    {.projector_type = "mlp",
     .name = "nanollava",
     .plan = plan_pad,
     .projector = &projector_mlp,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU_TANH,
     .n_unused = 1,
     .unseen = 6,
     .patch_bias = true,
     .single_image = true,
     .merge = 1},
    {.projector_type = "mlp",
     .name = "llama-3-vision-alpha",
     .plan = plan_squash,
     .projector = &projector_mlp,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU_TANH,
     .n_unused = 1,
     .unseen = 6,
     .patch_bias = true,
     .single_image = true,
     .merge = 1},
    {.projector_type = "mlp",
     .plan = plan_pad,
     .asks_plan = true,
     .projector = &projector_mlp,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU,
     .quick_gelu = true,
     .single_image = true,
     .merge = 1},
    {.projector_type = "ldp",
     .plan = plan_pad,
     .asks_plan = true,
     .projector = &projector_ldp,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU,
     .quick_gelu = true,
     .pre_norm = true,
     .single_image = true,
     .merge = 1},
    {.projector_type = "ldpv2",
     .plan = plan_pad,
     .asks_plan = true,
     .projector = &projector_ldpv2,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU,
     .quick_gelu = true,
     .pre_norm = true,
     .single_image = true,
     .merge = 2},
    {.projector_type = "idefics3",
     .plan = plan_longest_edge,
     .filter = RESIZE_LANCZOS,
     .projector = &projector_shuffle,
     .position = POSITION_BUCKETS,
     .gelu = ACT_GELU_TANH,
     .patch_bias = true,
     .post_norm = true,
     .merge = 2,
     .merge_key = MERGE_SCALE_KEY},
    {.projector_type = "gemma3",
     .plan = plan_squash,
     .filter = RESIZE_BILINEAR,
     .projector = &projector_pool,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU_TANH,
     .patch_bias = true,
     .post_norm = true,
     .both_ways = true,
     .merge = 4,
     .merge_key = MERGE_SCALE_KEY,
     .before = "\n\n<start_of_image>",
     .after = "<end_of_image>\n\n"},
    {.projector_type = "qwen2vl_merger",
     .plan = plan_pixel_range,
     .projector = &projector_merger,
     .rope = ROPE_HALVES,
     .gelu = ACT_GELU,
     .quick_gelu = true,
     .two_frames = true,
     .cell_features = true,
     .grid_positions = true,
     .merge = 2,
     .merge_key = MERGE_SIZE_KEY,
     .before = "<|vision_start|>",
     .after = "<|vision_end|>",
     .min_pixels = 56 * 56,
     .max_pixels = 12845056},
    {.projector_type = "qwen2.5vl_merger",
     .plan = plan_pixel_range,
     .projector = &projector_merger,
     .rope = ROPE_HALVES,
     .gelu = ACT_GELU,
     .windows = true,
     .rms_norm = true,
     .two_frames = true,
     .cell_features = true,
     .grid_positions = true,
     .merge = 2,
     .merge_key = MERGE_SIZE_KEY,
     .before = "<|vision_start|>",
     .after = "<|vision_end|>",
     .min_pixels = 56 * 56,
     .max_pixels = 12845056},
    {.projector_type = "qwen3vl_merger",
     .plan = plan_pixel_range,
     .projector = &projector_merger,
     .position = POSITION_BILINEAR,
     .rope = ROPE_HALVES,
     .gelu = ACT_GELU_TANH,
     .patch_bias = true,
     .two_frames = true,
     .cell_features = true,
     .grid_positions = true,
     .merge = 2,
     .merge_key = MERGE_SIZE_KEY,
     .before = "<|vision_start|>",
     .after = "<|vision_end|>",
     .min_pixels = 65536,
     .max_pixels = 16777216},
    {.projector_type = "internvl",
     .plan = plan_tile_grid,
     .projector = &projector_shuffle,
     .position = POSITION_TABLE,
     .gelu = ACT_GELU,
     .patch_bias = true,
     .merge = 2,
     .merge_key = MERGE_SCALE_KEY,
     .before = "<img>",
     .after = "</img>"},
    {.projector_type = "pixtral",
     .plan = plan_fit,
     .projector = &projector_patch_merge,
     .rope = ROPE_PAIRS,
     .gelu = ACT_GELU,
     .pre_norm = true,
     .rms_norm = true,
     .merge = 1,
     .merge_key = MERGE_SIZE_KEY},
    {.projector_type = "resampler",
     .plan = plan_slices,
     .projector = &projector_resampler,
     .position = POSITION_BUCKETS,
     .gelu = ACT_GELU_TANH,
     .patch_bias = true,
     .post_norm = true,
     .merge = 1},
};

enum { N_FAMILIES = sizeof families / sizeof *families };

static bool has_part(struct gguf_string s, const char *part) {
    size_t len = strlen(part);
    for (size_t i = 0; i + len <= s.len; i++)
        if (strncasecmp(s.data + i, part, len) == 0)
            return true;
    return false;
}

const struct vision_family *vision_family_find(struct gguf_string projector_type, struct gguf_string name) {
    for (const struct vision_family *f = families; f < families + N_FAMILIES; f++)
        if (strlen(f->projector_type) == projector_type.len &&
            memcmp(f->projector_type, projector_type.data, projector_type.len) == 0 &&
            (!f->name || has_part(name, f->name)))
            return f;
    return NULL;
}

const char *vision_family_list(char list[VISION_FAMILY_LIST_SIZE]) {
    size_t at = 0;
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (!families[i].name)
            at += (size_t)snprintf(list + at, VISION_FAMILY_LIST_SIZE - at, "%s%s", at ? ", " : "",
                                   families[i].projector_type);
    return list;
}
