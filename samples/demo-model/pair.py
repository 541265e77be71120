"""The demo pair as GGUF files: written from a model, and read back as the point that training goes on from.

A language block's q and k rows are kept in halves here (half of a head's channels turn against the other half) and
in neighbouring pairs in the file, as llama models have them.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F

from gguf import ARRAY, BOOL, F32, I32, STRING, U32, gguf_read, gguf_write
from language import SYSTEM
from model import EPS, MEAN, N_CTX, ROPE_BASE, STD, Model
from tokenizer import N_SPECIAL, Tokenizer

LLM, MMPROJ = "demo-llm-f16.gguf", "demo-mmproj-f16.gguf"
# A new pair's shape.
CONFIG = {
    "vision_embd": 192, "vision_layer": 6, "vision_head": 6, "vision_ff": 768,
    "n_embd": 256, "n_layer": 6, "n_head": 8, "n_head_kv": 4, "n_ff": 512,
}  # fmt: skip

TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set loop_messages = messages[1:] %}"
    "{% else %}{% set system = '" + SYSTEM + "' %}{% set loop_messages = messages %}{% endif %}"
    "{{ bos_token + system }}{% for message in loop_messages %}"
    "{% if message['role'] == 'user' %}{{ ' USER: ' if loop.first else 'USER: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] if item['type'] in ['image', 'image_url'] %}{{ '<image>\\n' }}{% endfor %}"
    "{% for item in message['content'] if item['type'] == 'text' %}{{ item['text'] }}{% endfor %}{% endif %}"
    "{% elif message['role'] == 'assistant' %}{{ ' ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)
DESCRIPTION = (
    "Tiny vision-language demo: simple shapes, colours, counting and short text. "
    "Trained from scratch on synthetic pictures; use with demo-mmproj."
)


def rows_to_pairs(w, n_head):
    """The rows of each head: halves -> neighbouring pairs."""
    return w.view(n_head, 2, -1, w.shape[1]).transpose(1, 2).reshape(w.shape)


def rows_to_halves(w, n_head):
    return w.view(n_head, -1, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)


def block_names(c):
    """(GGUF name, tensor of the model, part of its fused rows or None) of every tensor."""
    names = [("v.class_embd", "vision.cls", None), ("v.patch_embd.weight", "vision.patch.weight", None)]
    names += [("v.position_embd.weight", "vision.pos", None)]
    names += [(f"v.pre_ln.{w}", f"vision.pre.{w}", None) for w in ("weight", "bias")]
    for i in range(c["vision_layer"]):
        to, of = f"v.blk.{i}.", f"vision.blocks.{i}."
        for w in ("weight", "bias"):
            names += [(f"{to}attn_{part}.{w}", f"{of}qkv.{w}", part) for part in "qkv"]
            pairs = (("attn_out", "out"), ("ln1", "ln1"), ("ln2", "ln2"), ("ffn_up", "up"), ("ffn_down", "down"))
            names += [(f"{to}{theirs}.{w}", f"{of}{ours}.{w}", None) for theirs, ours in pairs]
    for theirs, ours in (("mm.0", "first"), ("mm.2", "second")):
        names += [(f"{theirs}.{w}", f"projector.{ours}.{w}", None) for w in ("weight", "bias")]
    names += [("token_embd.weight", "language.emb.weight", None), ("output_norm.weight", "language.norm", None)]
    names += [("output.weight", "language.head.weight", None)]
    for i in range(c["n_layer"]):
        to, of = f"blk.{i}.", f"language.blocks.{i}."
        names += [(f"{to}{n}.weight", f"{of}{n}", None) for n in ("attn_norm", "ffn_norm")]
        names += [(f"{to}attn_{part}.weight", f"{of}qkv.weight", part) for part in "qkv"]
        names += [(f"{to}ffn_{part}.weight", f"{of}gate_up.weight", part) for part in ("gate", "up")]
        names += [(f"{to}attn_output.weight", f"{of}out.weight", None), (f"{to}ffn_down.weight", f"{of}down.weight", None)]
    return names


def part_rows(c, ours, part, n_rows):
    """The rows of a fused tensor that a part takes."""
    if part in ("gate", "up"):
        sizes, i = (n_rows // 2, n_rows // 2), ("gate", "up").index(part)
    elif ours.startswith("vision"):
        sizes, i = (n_rows // 3,) * 3, "qkv".index(part)
    else:
        kv = c["n_embd"] // c["n_head"] * c["n_head_kv"]
        sizes, i = (c["n_embd"], kv, kv), "qkv".index(part)
    return slice(sum(sizes[:i]), sum(sizes[: i + 1]))


def heads_of(c, ours, part):
    """How many heads' rows are to be reordered, or 0."""
    if not ours.startswith("language") or part not in ("q", "k"):
        return 0
    return c["n_head"] if part == "q" else c["n_head_kv"]


# ---- writing ----


def llm_keys(c, tokenizer):
    n = c["n_embd"] // c["n_head"]
    special = [2, 3, 3] + [6] * (N_SPECIAL - 3)  # unknown, control, bytes
    return {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, "Ocellus demo LM"),
        "general.description": (STRING, DESCRIPTION),
        "general.license": (STRING, "MIT"),
        "general.author": (STRING, "ocellus project"),
        "general.file_type": (U32, 1),
        "llama.context_length": (U32, N_CTX),
        "llama.embedding_length": (U32, c["n_embd"]),
        "llama.block_count": (U32, c["n_layer"]),
        "llama.feed_forward_length": (U32, c["n_ff"]),
        "llama.attention.head_count": (U32, c["n_head"]),
        "llama.attention.head_count_kv": (U32, c["n_head_kv"]),
        "llama.rope.dimension_count": (U32, n),
        "llama.rope.freq_base": (F32, ROPE_BASE),
        "llama.attention.layer_norm_rms_epsilon": (F32, EPS),
        "llama.vocab_size": (U32, c["n_vocab"]),
        "tokenizer.ggml.model": (STRING, "llama"),
        "tokenizer.ggml.tokens": ((ARRAY, STRING), tokenizer.pieces),
        "tokenizer.ggml.scores": ((ARRAY, F32), tokenizer.scores),
        "tokenizer.ggml.token_type": ((ARRAY, I32), special + [1] * (c["n_vocab"] - N_SPECIAL)),
        "tokenizer.ggml.bos_token_id": (U32, 1),
        "tokenizer.ggml.eos_token_id": (U32, 2),
        "tokenizer.ggml.unknown_token_id": (U32, 0),
        "tokenizer.ggml.add_bos_token": (BOOL, True),
        "tokenizer.ggml.add_eos_token": (BOOL, False),
        "tokenizer.ggml.add_space_prefix": (BOOL, True),
        "tokenizer.chat_template": (STRING, TEMPLATE),
    }


def mmproj_keys(c):
    return {
        "general.architecture": (STRING, "clip"),
        "general.name": (STRING, "Ocellus demo vision tower"),
        "general.description": (STRING, "CLIP ViT and a two-layer projector for Ocellus demo LM."),
        "general.license": (STRING, "MIT"),
        "general.author": (STRING, "ocellus project"),
        "general.file_type": (U32, 1),
        "clip.has_text_encoder": (BOOL, False),
        "clip.has_vision_encoder": (BOOL, True),
        "clip.has_llava_projector": (BOOL, True),
        "clip.projector_type": (STRING, "mlp"),
        "clip.vision.image_size": (U32, c["image_size"]),
        "clip.vision.patch_size": (U32, c["patch_size"]),
        "clip.vision.embedding_length": (U32, c["vision_embd"]),
        "clip.vision.feed_forward_length": (U32, c["vision_ff"]),
        "clip.vision.projection_dim": (U32, c["n_embd"]),
        "clip.vision.block_count": (U32, c["vision_layer"]),
        "clip.vision.attention.head_count": (U32, c["vision_head"]),
        "clip.vision.attention.layer_norm_epsilon": (F32, EPS),
        "clip.vision.image_mean": ((ARRAY, F32), MEAN),
        "clip.vision.image_std": ((ARRAY, F32), STD),
        "clip.use_gelu": (BOOL, False),
        "clip.vision.mm_patch_merge_type": (STRING, "flat"),
    }


def pair_write(folder, model, tokenizer):
    """Writes the model's two GGUF files: matrices as f16, vectors as f32."""
    c, state = model.config, model.state_dict()
    tensors = {LLM: {}, MMPROJ: {}}
    for theirs, ours, part in block_names(c):
        t = state[ours].detach().float().cpu()
        if part:
            t = t[part_rows(c, ours, part, len(t))]
        n_head = heads_of(c, ours, part)
        t = rows_to_pairs(t, n_head) if n_head else t
        if theirs == "v.patch_embd.weight":
            t = t.view(-1, 3, c["patch_size"], c["patch_size"])
        kept = t.numpy().astype(np.float16 if t.ndim > 1 else np.float32)
        tensors[LLM if ours.startswith("language") else MMPROJ][theirs] = np.ascontiguousarray(kept)
    os.makedirs(folder, exist_ok=True)
    gguf_write(os.path.join(folder, LLM), llm_keys(c, tokenizer), tensors[LLM])
    gguf_write(os.path.join(folder, MMPROJ), mmproj_keys(c), tensors[MMPROJ])


# ---- reading ----


def config_read(llm, mmproj):
    v, t = "clip.vision.", "llama."
    return {
        "image_size": mmproj[v + "image_size"],
        "patch_size": mmproj[v + "patch_size"],
        "vision_embd": mmproj[v + "embedding_length"],
        "vision_layer": mmproj[v + "block_count"],
        "vision_head": mmproj[v + "attention.head_count"],
        "vision_ff": mmproj[v + "feed_forward_length"],
        "n_embd": llm[t + "embedding_length"],
        "n_layer": llm[t + "block_count"],
        "n_head": llm[t + "attention.head_count"],
        "n_head_kv": llm[t + "attention.head_count_kv"],
        "n_ff": llm[t + "feed_forward_length"],
        "n_vocab": len(llm["tokenizer.ggml.tokens"]),
    }


def positions_resize(pos, grid):
    """Position embeddings [1 + old * old][d] for another grid: bicubic between the old ones; the class token's stays."""
    old = round((len(pos) - 1) ** 0.5)
    if old == grid:
        return pos
    image = pos[1:].view(1, old, old, -1).permute(0, 3, 1, 2)
    image = F.interpolate(image, (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([pos[:1], image.permute(0, 2, 3, 1).reshape(grid * grid, -1)])


def pair_read(folder, image_size=None):
    """-> the model, its tokenizer. With image_size the vision tower sees pictures of that size from now on.

    The heads are not in the files: they start anew."""
    llm, tensors = gguf_read(os.path.join(folder, LLM))
    mmproj, more = gguf_read(os.path.join(folder, MMPROJ))
    tensors.update(more)
    c = config_read(llm, mmproj)
    c["image_size"] = image_size or c["image_size"]
    model = Model(c)
    state = model.state_dict()
    for theirs, ours, part in block_names(c):
        t = torch.from_numpy(tensors[theirs])
        if ours == "vision.pos":
            t = positions_resize(t, model.vision.grid)
        n_head = heads_of(c, ours, part)
        t = rows_to_halves(t, n_head) if n_head else t
        rows = part_rows(c, ours, part, len(state[ours])) if part else slice(None)
        state[ours][rows] = t.view(state[ours][rows].shape)
    model.load_state_dict(state)
    return model, Tokenizer(llm["tokenizer.ggml.tokens"])
