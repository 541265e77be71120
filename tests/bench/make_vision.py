#!/usr/bin/env python3
"""Vision models (mmproj GGUF) with random weights and real shapes, to measure image encoding.

usage: make_vision.py SHAPE OUT
"""
import array
import random
import struct
import sys

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
TYPE_F32, TYPE_F16 = 0, 1
ALIGNMENT = 32
POOL = 1 << 18
WIDTH = 2048  # of a row, but where the family fixes it

# projector, image side, patch side, n_embd, blocks, heads, n_ff, cell side
SHAPES = {
    "vit-b-224": ("mlp", 224, 16, 768, 11, 12, 3072, 1),
    "vit-l-336": ("mlp", 336, 14, 1024, 23, 16, 4096, 1),
    "smolvlm-256m": ("idefics3", 512, 16, 768, 12, 12, 3072, 4),
    "so400m-384": ("idefics3", 378, 14, 1152, 27, 16, 4304, 3),
    "gemma3": ("gemma3", 896, 14, 1152, 27, 16, 4304, 4),
    "qwen2.5vl-3b": ("qwen2.5vl_merger", 560, 14, 1280, 32, 16, 3420, 2),
}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def key(name, kind, value):
    formats = {U32: "<I", F32: "<f", BOOL: "<?"}
    if kind == STRING:
        data = text(value)
    elif kind == ARRAY:
        data = struct.pack("<IQ%df" % len(value), F32, len(value), *value)
    else:
        data = struct.pack(formats[kind], value)
    return text(name) + struct.pack("<I", kind) + data


class Model:
    def __init__(self, shape):
        (self.projector, self.side, self.patch, self.n, self.blocks, self.heads, self.ff, self.cell) = SHAPES[shape]
        self.gated = self.projector == "qwen2.5vl_merger"
        self.tensors = []  # name, shape (outermost first), kind: weight, bias or norm

    def linear(self, name, n_out, n_in, bias=True):
        self.tensors.append((name + ".weight", (n_out, n_in), "weight"))
        if bias:
            self.tensors.append((name + ".bias", (n_out,), "bias"))

    def norm(self, name, n):
        self.tensors.append((name + ".weight", (n,), "norm"))
        if not self.gated:
            self.tensors.append((name + ".bias", (n,), "bias"))

    def embedding(self):
        kernel = (self.n, 3, self.patch, self.patch)
        self.tensors.append(("v.patch_embd.weight", kernel, "weight"))
        if self.gated:
            self.tensors.append(("v.patch_embd.weight.1", kernel, "weight"))
            return
        n_patches = (self.side // self.patch) ** 2
        if self.projector == "mlp":
            self.tensors.append(("v.class_embd", (self.n,), "bias"))
            self.norm("v.pre_ln", self.n)
            n_patches += 1
        else:
            self.tensors.append(("v.patch_embd.bias", (self.n,), "bias"))
            self.norm("v.post_ln", self.n)
        self.tensors.append(("v.position_embd.weight", (n_patches, self.n), "weight"))

    def block(self, prefix):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            self.linear(prefix + name, self.n, self.n)
        self.norm(prefix + "ln1", self.n)
        self.norm(prefix + "ln2", self.n)
        for name in ("ffn_gate", "ffn_up") if self.gated else ("ffn_up",):
            self.linear(prefix + name, self.ff, self.n)
        self.linear(prefix + "ffn_down", self.n, self.ff)

    def rows(self):
        cell = self.cell * self.cell * self.n
        if self.projector == "mlp":
            self.linear("mm.0", WIDTH, self.n)
            self.linear("mm.2", WIDTH, WIDTH)
        elif self.projector == "idefics3":
            self.linear("mm.model.fc", 576, cell, bias=False)
        elif self.projector == "gemma3":
            self.tensors.append(("mm.soft_emb_norm.weight", (self.n,), "norm"))
            self.linear("mm.input_projection", self.n, WIDTH, bias=False)
        else:
            self.tensors.append(("v.post_ln.weight", (self.n,), "norm"))
            self.linear("mm.0", cell, cell)
            self.linear("mm.2", WIDTH, cell)

    def keys(self):
        v = "clip.vision."
        out = [
            key("general.architecture", STRING, "clip"), key("general.alignment", U32, ALIGNMENT),
            key("clip.has_vision_encoder", BOOL, True), key("clip.projector_type", STRING, self.projector),
            key(v + "image_size", U32, self.side), key(v + "patch_size", U32, self.patch),
            key(v + "embedding_length", U32, self.n), key(v + "feed_forward_length", U32, self.ff),
            key(v + "block_count", U32, self.blocks), key(v + "attention.head_count", U32, self.heads),
            key(v + "projection_dim", U32, WIDTH), key(v + "attention.layer_norm_epsilon", F32, 1e-6),
            key(v + "image_mean", ARRAY, [0.5] * 3), key(v + "image_std", ARRAY, [0.5] * 3),
        ]
        if self.projector in ("idefics3", "gemma3"):
            out.append(key("clip.vision.projector.scale_factor", U32, self.cell))
        if self.projector == "idefics3":  # one tile a picture
            out.append(key(v + "preproc_image_size", U32, self.side))
        if self.gated:
            out += [key("clip.use_silu", BOOL, True), key(v + "n_wa_pattern", U32, 8),
                    key(v + "spatial_merge_size", U32, 2)]
        elif self.projector != "mlp":
            out.append(key("clip.use_gelu", BOOL, True))
        return out


def values(pool, shape, kind):
    """The bytes of a tensor: numbers of the pool in pieces from random places, scaled by the fan-in."""
    n, fan = 1, 1
    for i, size in enumerate(shape):
        n *= size
        fan *= size if i else 1
    if kind != "weight":
        return array.array("f", [(1 if kind == "norm" else 0) + 0.1 * random.gauss(0, 1) for _ in range(n)]).tobytes()
    if fan not in pool:
        pool[fan] = struct.pack("<%de" % POOL, *[x * fan ** -0.5 for x in pool[0]])
    parts, left = [], n
    while left:
        start = random.randrange(POOL // 2)
        piece = pool[fan][2 * start:2 * min(POOL, start + left)]
        parts.append(piece)
        left -= len(piece) // 2
    return b"".join(parts)


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__.strip() + "\nSHAPE: " + ", ".join(SHAPES))
    random.seed(1)
    model = Model(sys.argv[1])
    model.embedding()
    for i in range(model.blocks):
        model.block("v.blk.%d." % i)
    model.rows()
    pool = {0: [random.gauss(0, 1) for _ in range(POOL)]}
    keys, at, directory = model.keys(), 0, b""
    sizes = []
    for name, shape, kind in model.tensors:
        n = 1
        for size in shape:
            n *= size
        sizes.append(n * (2 if kind == "weight" else 4))
        directory += text(name) + struct.pack("<I%dQ" % len(shape), len(shape), *shape[::-1])
        directory += struct.pack("<IQ", TYPE_F16 if kind == "weight" else TYPE_F32, at)
        at += -(-sizes[-1] // ALIGNMENT) * ALIGNMENT
    with open(sys.argv[2], "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(model.tensors), len(keys)) + b"".join(keys) + directory)
        f.write(bytes(-f.tell() % ALIGNMENT))
        for (name, shape, kind), size in zip(model.tensors, sizes):
            f.write(values(pool, shape, kind) + bytes(-size % ALIGNMENT))


if __name__ == "__main__":
    main()
