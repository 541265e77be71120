#!/usr/bin/env python3
"""Makes a pair of random-weight models big enough that encode and prefill take a while.

make_slow_pair.py OUT_DIR   writes OUT_DIR/slow-llm.gguf, OUT_DIR/slow-mmproj.gguf and OUT_DIR/slow-tiles.gguf (f16, about
                            410 MB), if not there; the last is an mmproj, too, of the kind that cuts pictures into tiles.
                            OUT_DIR/slow-loading.gguf is a language model of 500 MB in q8_0, all zeros: holes on the disk

Tests that cancel or overlap work in the middle of an encode or a prefill need more time than the demo pair takes.
The vocabulary is the demo model's own. The weights come from one pool of normal values, so that making them is quick.
"""
import os
import random
import struct
import sys

DEMO = os.path.join(os.path.dirname(__file__), "../../samples/demo/demo-llm-f16.gguf")
F32, F16, Q8_0, ALIGN = 0, 1, 8, 32
LLM = {"n_embd": 1024, "n_layer": 8, "n_head": 16, "n_head_kv": 8, "n_ff": 2816, "n_ctx": 4096, "n_vocab": 1536}
VIT = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_ff": 3072, "size": 336, "patch": 14}
LOADING_LAYERS = 40
TILES = {"n_embd": 512, "n_layer": 3, "n_head": 8, "n_ff": 2048, "size": 512, "patch": 16, "scale": 4}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def u32(key, value):
    return text(key) + struct.pack("<II", 4, value)


def f32(key, value):
    return text(key) + struct.pack("<If", 6, value)


def boolean(key, value):
    return text(key) + struct.pack("<I?", 7, value)


def string(key, value):
    return text(key) + struct.pack("<I", 8) + text(value)


def floats(key, values):
    return text(key) + struct.pack("<IIQ%df" % len(values), 9, 6, len(values), *values)


def demo_vocabulary():
    """The tokenizer.* keys of the demo model, as the bytes they are."""
    data = open(DEMO, "rb").read()
    at, keys = 24, []
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def skip(at, kind):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind == 9:
            item, n = struct.unpack_from("<IQ", data, at)
            at += 12
            if item in sizes:
                return at + n * sizes[item]
            for _ in range(n):
                at = skip(at, item)
            return at
        return at + sizes[kind]

    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        begin = at
        n = struct.unpack_from("<Q", data, at)[0]
        name = data[at + 8 : at + 8 + n]
        at += 8 + n
        kind = struct.unpack_from("<I", data, at)[0]
        at = skip(at + 4, kind)
        if name.startswith(b"tokenizer."):
            keys.append(data[begin:at])
    return keys


def write(path, keys, tensors, pool):
    """tensors: (name, shape innermost first); one dimension: f32 ones or zeros, else f16 of N(0, 1 / n_in), without a pool
    q8_0 of zeros."""
    many = F16 if pool else Q8_0
    rng = random.Random(1)
    with open(path + ".part", "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys))
        offset, sizes = 0, []
        for name, shape in tensors:
            kind, n = (F32 if len(shape) == 1 else many), 1
            for ne in shape:
                n *= ne
            size = n * 34 // 32 if kind == Q8_0 else n * (4 if kind == F32 else 2)
            f.write(text(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *shape, kind, offset))
            sizes.append((kind, n, size))
            offset += -(-size // ALIGN) * ALIGN
        f.write(bytes(-f.tell() % ALIGN))
        for (name, shape), (kind, n, size) in zip(tensors, sizes):
            if kind == F32:
                f.write(struct.pack("<f", 0.0 if name.endswith("bias") or "embd" in name else 1.0) * n)
            elif kind == Q8_0:
                f.seek(size, os.SEEK_CUR)
            else:
                scaled = pool[1 if "embd" in name else shape[0] if len(shape) == 2 else shape[0] ** 2 * 3]
                left = size
                while left:
                    at = 2 * rng.randrange(len(scaled) // 4)
                    part = scaled[at : at + left]
                    f.write(part)
                    left -= len(part)
            f.write(bytes(-size % ALIGN))
        f.truncate()
    os.replace(path + ".part", path)


def make_pool(scales):
    rng = random.Random(2)
    values = [rng.gauss(0, 1) for _ in range(1 << 18)]
    return {n: struct.pack("<%de" % len(values), *(v / n**0.5 for v in values)) for n in scales}


def write_llm(path, n_layer=LLM["n_layer"], holes=False):
    m = LLM
    head = m["n_embd"] // m["n_head"]
    keys = [string("general.architecture", "llama"), string("general.name", "slow random weights"),
            u32("llama.context_length", m["n_ctx"]), u32("llama.embedding_length", m["n_embd"]),
            u32("llama.block_count", n_layer), u32("llama.feed_forward_length", m["n_ff"]),
            u32("llama.attention.head_count", m["n_head"]), u32("llama.attention.head_count_kv", m["n_head_kv"]),
            u32("llama.rope.dimension_count", head), f32("llama.rope.freq_base", 10000.0),
            f32("llama.attention.layer_norm_rms_epsilon", 1e-5), u32("llama.vocab_size", m["n_vocab"])]
    d, kv, ff = m["n_embd"], m["n_head_kv"] * head, m["n_ff"]
    tensors = [("token_embd.weight", (d, m["n_vocab"])), ("output_norm.weight", (d,)), ("output.weight", (d, m["n_vocab"]))]
    for i in range(n_layer):
        b = "blk.%d." % i
        tensors += [(b + "attn_norm.weight", (d,)), (b + "attn_q.weight", (d, d)), (b + "attn_k.weight", (d, kv)),
                    (b + "attn_v.weight", (d, kv)), (b + "attn_output.weight", (d, d)), (b + "ffn_norm.weight", (d,)),
                    (b + "ffn_gate.weight", (d, ff)), (b + "ffn_up.weight", (d, ff)), (b + "ffn_down.weight", (ff, d))]
    write(path, keys + demo_vocabulary(), tensors, None if holes else make_pool({1, d, ff}))


def write_loading(path):
    write_llm(path, LOADING_LAYERS, holes=True)


def vit_keys(m, projector_type, use_gelu):
    return [string("general.architecture", "clip"), boolean("clip.has_text_encoder", False),
            boolean("clip.has_vision_encoder", True), string("clip.projector_type", projector_type),
            u32("clip.vision.image_size", m["size"]), u32("clip.vision.patch_size", m["patch"]),
            u32("clip.vision.embedding_length", m["n_embd"]), u32("clip.vision.feed_forward_length", m["n_ff"]),
            u32("clip.vision.projection_dim", LLM["n_embd"]), u32("clip.vision.block_count", m["n_layer"]),
            u32("clip.vision.attention.head_count", m["n_head"]), f32("clip.vision.attention.layer_norm_epsilon", 1e-5),
            floats("clip.vision.image_mean", [0.48, 0.46, 0.41]), floats("clip.vision.image_std", [0.27, 0.26, 0.28]),
            boolean("clip.use_gelu", use_gelu)]


def vit_tensors(m, n_pos):
    d, ff, p = m["n_embd"], m["n_ff"], m["patch"]
    tensors = [("v.patch_embd.weight", (p, p, 3, d)), ("v.position_embd.weight", (d, n_pos))]
    for i in range(m["n_layer"]):
        b = "v.blk.%d." % i
        for name, n_in, n_out in (("attn_q", d, d), ("attn_k", d, d), ("attn_v", d, d), ("attn_out", d, d),
                                  ("ffn_up", d, ff), ("ffn_down", ff, d)):
            tensors += [(b + name + ".weight", (n_in, n_out)), (b + name + ".bias", (n_out,))]
        for name in ("ln1", "ln2"):
            tensors += [(b + name + ".weight", (d,)), (b + name + ".bias", (d,))]
    return tensors


def write_mmproj(path):
    m = VIT
    d, ff, p, out = m["n_embd"], m["n_ff"], m["patch"], LLM["n_embd"]
    tensors = vit_tensors(m, (m["size"] // p) ** 2 + 1)
    tensors += [("v.class_embd", (d,)), ("v.pre_ln.weight", (d,)), ("v.pre_ln.bias", (d,))]
    tensors += [("mm.0.weight", (d, out)), ("mm.0.bias", (out,)), ("mm.2.weight", (out, out)), ("mm.2.bias", (out,))]
    write(path, vit_keys(m, "mlp", False), tensors, make_pool({1, d, ff, out, p * p * 3}))


def write_tiles(path):
    m = TILES
    d, ff, p, cell = m["n_embd"], m["n_ff"], m["patch"], TILES["n_embd"] * TILES["scale"] ** 2
    keys = vit_keys(m, "idefics3", True)
    keys += [u32("clip.vision.projector.scale_factor", m["scale"]), u32("clip.vision.preproc_image_size", 4 * m["size"])]
    tensors = vit_tensors(m, (m["size"] // p) ** 2)
    tensors += [("v.patch_embd.bias", (d,)), ("v.post_ln.weight", (d,)), ("v.post_ln.bias", (d,)),
                ("mm.model.fc.weight", (cell, LLM["n_embd"]))]
    write(path, keys, tensors, make_pool({1, d, ff, cell, p * p * 3}))


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, make in (("slow-llm.gguf", write_llm), ("slow-mmproj.gguf", write_mmproj),
                       ("slow-tiles.gguf", write_tiles), ("slow-loading.gguf", write_loading)):
        path = os.path.join(sys.argv[1], name)
        if not os.path.exists(path):
            make(path)


main()
