// The table of the families. Facts are of the original models (modelling code in Hugging Face transformers),
// names and layouts those of GGUF (ggml, docs/gguf.md). llm/README.md tells what each family needs.
#include "llm/arch.h"

#include <stdio.h>
#include <string.h>

static const struct arch archs[] = {
    {.name = "llama", .act = ACT_SILU, .experts = EXPERTS_MAY, .window_period = 1},
    {.name = "qwen2", .act = ACT_SILU, .rope_halves = true},
    {.name = "qwen2vl", .act = ACT_SILU, .rope_halves = true, .sections = SECTIONS_RUNS},
    {.name = "qwen3", .act = ACT_SILU, .rope_halves = true, .qk_norm = QK_NORM_SHARED},
    {.name = "qwen3vl",
     .act = ACT_SILU,
     .rope_halves = true,
     .qk_norm = QK_NORM_SHARED,
     .sections = SECTIONS_INTERLEAVED},
    {.name = "qwen3moe",
     .act = ACT_SILU,
     .rope_halves = true,
     .qk_norm = QK_NORM_SHARED,
     .experts = EXPERTS_ALWAYS},
    {.name = "qwen3vlmoe",
     .act = ACT_SILU,
     .rope_halves = true,
     .qk_norm = QK_NORM_SHARED,
     .sections = SECTIONS_INTERLEAVED,
     .experts = EXPERTS_ALWAYS},
    {.name = "gemma2",
     .act = ACT_GELU_TANH,
     .rope_halves = true,
     .post_norms = true,
     .embed_sqrt = true,
     .window_period = 2,
     .attn_soft_cap = 50,
     .logit_soft_cap = 30,
     .query_scale = QUERY_SCALE_GEMMA2},
    {.name = "gemma3",
     .act = ACT_GELU_TANH,
     .rope_halves = true,
     .qk_norm = QK_NORM_SHARED,
     .post_norms = true,
     .embed_sqrt = true,
     .window_rope = true,
     .window_period = 6,
     .query_scale = QUERY_SCALE_GEMMA3},
    {.name = "phi2",
     .act = ACT_GELU_TANH,
     .layer_norm = true,
     .rope_halves = true,
     .fused_qkv = true,
     .parallel = true,
     .plain_ffn = true},
    {.name = "phi3",
     .act = ACT_SILU,
     .rope_halves = true,
     .fused_qkv = true,
     .fused_gate_up = true,
     .window_period = 1},
    {.name = "granite", .act = ACT_SILU},
    {.name = "granitemoe", .act = ACT_SILU, .experts = EXPERTS_ALWAYS},
    {.name = "smollm3", .act = ACT_SILU, .nope_period = 4},
    {.name = "stablelm", .act = ACT_SILU, .layer_norm = true, .rope_halves = true, .qk_norm = QK_NORM_OWN},
    {.name = "internlm2", .act = ACT_SILU},
    {.name = "mistral3", .act = ACT_SILU},
};

enum { N_ARCHS = sizeof archs / sizeof *archs };

const struct arch *arch_find(const struct gguf *g, struct err *err) {
    struct gguf_string s = {0};
    bool found = false;
    if (!gguf_get_string(g, "general.architecture", &s, &found, err))
        return NULL;
    for (size_t i = 0; found && i < N_ARCHS; i++)
        if (s.len == strlen(archs[i].name) && memcmp(s.data, archs[i].name, s.len) == 0)
            return &archs[i];
    char list[24 * N_ARCHS] = "";
    size_t len = 0;
    for (size_t i = 0; i < N_ARCHS; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", archs[i].name);
    if (found)
        err_set(err, ERR_MODEL, "general.architecture: \"%.*s\", want one of %s",
                (int)(s.len < 64 ? s.len : 64), s.data, list);
    else
        err_set(err, ERR_MODEL, "general.architecture: missing, want one of %s", list);
    return NULL;
}
