#!/usr/bin/env python3
"""Tiny random mmproj files of the LLaVA kind that no recorded case has, with float64 pixels, features and rows.

usage: vision_llava.py FOLDER [NAME...]. Writes FOLDER/wide.png, tall.png and FOLDER/NAME/mmproj.gguf, case.json and
the values, the same at every run; exit 77 without numpy and Pillow. Files are laid out as the converters of each
family write them (llama.cpp's convert_image_encoder_to_gguf.py, moondream's create_gguf.py and its copy for
nanoLLaVA). The formulas follow the originals:

  mobilevlm, mobilevlm-v2  MobileVLM mobilevlm/model/vision_projector.py, torchvision's InvertedResidual, timm
  yi-vl                    Yi VL/llava/model/multimodal_projector/builder.py (mlp2x_gelu_Norm)
  llava-square             LLaVA with image_aspect_ratio "square": Hugging Face CLIPImageProcessor alone
  moondream2               moondream at bdefcdd: moondream/vision_encoder.py
  nanollava                nanoLLaVA modeling_llava_qwen2.py: SigLIP without its last block, pictures of 384
  llama-3-vision-alpha     its __main__.py: SigLIP hidden_states[-2], pictures squashed to 384

Cross-check: tests/peer/vision.mjs, with other files and pictures: llama.cpp as it stands puts the class token last while
positions begin with it, leaves out one block more than these files do, pads what the originals squash, and applies
v.post_ln of nanoLLaVA.
"""
import json
import math
import os
import struct
import sys

try:
    import numpy as np
    from PIL import Image
except ImportError:
    sys.exit(77)
from families import BOOL, F32, STRING, U32, text, value

ARRAY = 9
CLIP_COLOURS = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
SIGLIP_COLOURS = ([0.5] * 3, [0.5] * 3)
N_EMBD, N_HEAD, N_FF, PATCH = 16, 2, 24, 4
CLIP = dict(image=16, colours=CLIP_COLOURS, eps=1e-5, n_block=2, stored=2, named=3, act="quick", has_class=True,
            aspect="pad", rows=20)
SIGLIP = dict(image=16, colours=SIGLIP_COLOURS, eps=1e-6, stored=2, named=3, copy=True, act="tanh", gelu=True,
              has_class=False, post_ln=True, rows=20)
CASES = {
    "mobilevlm": {**CLIP, "type": "ldp", "image": 24, "rows": 16},
    "mobilevlm-v2": {**CLIP, "type": "ldpv2", "image": 24, "rows": 16},
    "yi-vl": {**CLIP, "type": "mlp", "norms": True, "act": "erf", "gelu": True, "named": 2},
    "llava-square": {**CLIP, "type": "mlp", "aspect": "square", "says_aspect": True},
    "moondream2": {**SIGLIP, "type": "mlp", "name": "vikhyatk/moondream2", "n_block": 2, "applies_post_ln": True,
                   "aspect": "squash", "projector": "tanh"},
    "nanollava": {**SIGLIP, "type": "mlp", "name": "qnguyen3/nanoLLaVA", "n_block": 1, "aspect": "pad", "unseen": 6},
    "llama-3-vision-alpha": {**SIGLIP, "type": "mlp", "name": "qresearch/llama-3-vision-alpha", "n_block": 1,
                             "aspect": "squash", "unseen": 6},
}
erf = np.vectorize(math.erf)
ACTS = {"quick": lambda x: x / (1 + np.exp(-1.702 * x)),
        "erf": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
        "tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))}
PICTURES = {"wide.png": (41, 26), "tall.png": (19, 44)}


def picture(size, rng):
    """Waves, an edge and some noise."""
    y, x = np.mgrid[:size[1], :size[0]]
    waves = [127 + 90 * np.sin(x * a + y * b + c) for a, b, c in rng.uniform(-0.5, 0.5, (3, 3)) * (1, 1, 9)]
    rgb = np.stack(waves, -1) + rng.uniform(-9, 9, (*size[::-1], 3))
    rgb[size[1] // 3:, : size[0] // 4] *= 0.4
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


# ---- the file ----

def weights(c, rng):
    """name -> (array, stored as f16)"""
    t = {}

    def matrix(name, *shape, bias=True):
        t[name + ".weight"] = rng.standard_normal(shape) * math.prod(shape[1:]) ** -0.5, True
        if bias:
            t[name + ".bias"] = rng.standard_normal(shape[0]) * 0.1, False

    def norm(name, n):
        t[name + ".weight"] = 1 + 0.2 * rng.standard_normal(n), False
        t[name + ".bias"] = 0.1 * rng.standard_normal(n), False

    if c["type"] == "ldp":
        matrix("mm.model.mlp.1", c["rows"], N_EMBD)
        matrix("mm.model.mlp.3", c["rows"], c["rows"])
        for k in (1, 2):
            block = f"mm.model.mb_block.{k}.block."
            matrix(block + "0.0", c["rows"], 3, 3, bias=False)
            norm(block + "0.1", c["rows"])
            matrix(block + "1.fc1", c["rows"] // 2, c["rows"])
            matrix(block + "1.fc2", c["rows"], c["rows"] // 2)
            matrix(block + "2.0", c["rows"], c["rows"], bias=False)
            norm(block + "2.1", c["rows"])
    elif c["type"] == "ldpv2":
        matrix("mm.model.mlp.0", c["rows"], N_EMBD)
        matrix("mm.model.mlp.2", c["rows"], c["rows"])
        matrix("mm.model.peg.0", c["rows"], 3, 3)
    elif c.get("norms"):
        matrix("mm.0", c["rows"], N_EMBD)
        norm("mm.1", c["rows"])
        matrix("mm.3", c["rows"], c["rows"])
        norm("mm.4", c["rows"])
    else:
        hidden = 2 * c["rows"] if "projector" in c else c["rows"]
        matrix("mm.0", hidden, N_EMBD)
        matrix("mm.2", c["rows"], hidden)
    side = c["image"] // PATCH
    if c["has_class"]:
        t["v.class_embd"] = rng.standard_normal(N_EMBD), False
        norm("v.pre_ln", N_EMBD)
    t["v.position_embd.weight"] = 0.5 * rng.standard_normal((side * side + c["has_class"], N_EMBD)), True
    matrix("v.patch_embd", N_EMBD, 3, PATCH, PATCH, bias=not c["has_class"])
    if c.get("post_ln"):
        norm("v.post_ln", N_EMBD)
    for i in range(c["stored"]):
        for part in "qkv":
            matrix(f"v.blk.{i}.attn_{part}", N_EMBD, N_EMBD)
        matrix(f"v.blk.{i}.attn_out", N_EMBD, N_EMBD)
        norm(f"v.blk.{i}.ln1", N_EMBD)
        matrix(f"v.blk.{i}.ffn_down", N_FF, N_EMBD)  # these converters' names, the wrong way round
        matrix(f"v.blk.{i}.ffn_up", N_EMBD, N_FF)
        norm(f"v.blk.{i}.ln2", N_EMBD)
    if c.get("copy"):
        last = f"v.blk.{c['stored'] - 1}."
        t.update({f"v.blk.{c['stored']}." + name[len(last):]: v for name, v in t.items() if name.startswith(last)})
    return {name: v.astype("<f2" if is_f16 else "<f4") for name, (v, is_f16) in t.items()}


def floats(v):
    return struct.pack(f"<IQ{len(v)}f", F32, len(v), *v)


def write_gguf(path, name, c, tensors):
    mean, std = c["colours"]
    entries = {"general.architecture": (STRING, "clip"), "general.name": (STRING, c.get("name", "tiny-" + name)),
               "clip.has_vision_encoder": (BOOL, True), "clip.projector_type": (STRING, c["type"]),
               "clip.vision.image_size": (U32, c["image"]), "clip.vision.patch_size": (U32, PATCH),
               "clip.vision.embedding_length": (U32, N_EMBD), "clip.vision.feed_forward_length": (U32, N_FF),
               "clip.vision.projection_dim": (U32, 7), "clip.vision.attention.head_count": (U32, N_HEAD),
               "clip.vision.attention.layer_norm_epsilon": (F32, c["eps"]),
               "clip.vision.block_count": (U32, c["named"]), "clip.use_gelu": (BOOL, c.get("gelu", False))}
    if c.get("says_aspect"):
        entries["clip.vision.image_aspect_ratio"] = STRING, c["aspect"]
    raw = {key: (kind, value(kind, v)) for key, (kind, v) in entries.items()}
    raw["clip.vision.image_mean"], raw["clip.vision.image_std"] = (ARRAY, floats(mean)), (ARRAY, floats(std))
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(raw)))
    for key, (kind, v) in raw.items():
        out += text(key.encode()) + struct.pack("<I", kind) + v
    offset = 0
    for key, v in tensors.items():
        out += text(key.encode()) + struct.pack(f"<I{v.ndim}Q", v.ndim, *v.shape[::-1])
        out += struct.pack("<IQ", int(v.dtype == "<f2"), offset)
        offset += v.nbytes + -v.nbytes % 32
    out += bytes(-len(out) % 32)
    for v in tensors.values():
        out += v.tobytes() + bytes(-v.nbytes % 32)
    with open(path, "wb") as f:
        f.write(out)


# ---- pixels ----

def to_square(image, c):
    """The square that the original resizes to, of which the encoder sees what whole patches cover."""
    side, (w, h) = c["image"] + c.get("unseen", 0), image.size
    if c["aspect"] == "pad" and w != h:
        square = Image.new("RGB", (max(w, h),) * 2, tuple(int(x * 255) for x in c["colours"][0]))
        square.paste(image, ((h - w) // 2, 0) if w < h else (0, (w - h) // 2))
        image = square
    if c["aspect"] != "square":
        return image.resize((side, side), Image.Resampling.BICUBIC)
    short, long = min(w, h), max(w, h)  # get_resize_output_image_size(default_to_square=False), center_crop
    resized = (side, int(side * long / short)) if w <= h else (int(side * long / short), side)
    left, top = (resized[0] - side) // 2, (resized[1] - side) // 2
    return image.resize(resized, Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))


def pixels_of(image, c):
    rgb = np.asarray(to_square(image, c), np.float64)[:c["image"], :c["image"]]
    mean, std = (np.array(v, np.float32).astype(np.float64) for v in c["colours"])
    return ((rgb / 255 - mean) / std).transpose(2, 0, 1).astype("<f4")


# ---- the model ----

class Model:
    def __init__(self, c, tensors):
        self.c, self.t = c, {name: v.astype(np.float64) for name, v in tensors.items()}

    def linear(self, x, name):
        return x @ self.t[name + ".weight"].T + self.t.get(name + ".bias", 0)

    def norm(self, x, name, eps):
        x = x - x.mean(-1, keepdims=True)
        y = x / np.sqrt((x * x).mean(-1, keepdims=True) + float(np.float32(eps)))
        return y * self.t[name + ".weight"] + self.t[name + ".bias"]

    def features(self, pixels):
        c, side = self.c, self.c["image"] // PATCH
        p = pixels.reshape(3, side, PATCH, side, PATCH).transpose(1, 3, 0, 2, 4).reshape(side * side, -1)
        x = p @ self.t["v.patch_embd.weight"].reshape(N_EMBD, -1).T + self.t.get("v.patch_embd.bias", 0)
        if c["has_class"]:
            x = np.concatenate([self.t["v.class_embd"][None], x])
        x = x + self.t["v.position_embd.weight"]
        if c["has_class"]:
            x = self.norm(x, "v.pre_ln", c["eps"])
        for i in range(c["n_block"]):
            b = f"v.blk.{i}."
            h = self.norm(x, b + "ln1", c["eps"])
            q, k, v = (self.linear(h, b + "attn_" + part).reshape(len(x), N_HEAD, -1) for part in "qkv")
            scores = np.einsum("ihd,jhd->hij", q, k) * q.shape[-1] ** -0.5
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            x = x + self.linear(np.einsum("hij,jhd->ihd", p, v).reshape(len(x), N_EMBD), b + "attn_out")
            h = ACTS[c["act"]](self.linear(self.norm(x, b + "ln2", c["eps"]), b + "ffn_down"))
            x = x + self.linear(h, b + "ffn_up")
        if c.get("applies_post_ln"):
            x = self.norm(x, "v.post_ln", c["eps"])
        return x[1:] if c["has_class"] else x

    def conv(self, x, name, stride):
        """x [lines, columns, channels]; a kernel of 3 x 3 for each channel, padding 1."""
        w = self.t[name + ".weight"].transpose(1, 2, 0)
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        out = [[(padded[y:y + 3, x_:x_ + 3] * w).sum((0, 1)) for x_ in range(0, x.shape[1], stride)]
               for y in range(0, x.shape[0], stride)]
        return np.array(out) + self.t.get(name + ".bias", 0)

    def inverted_residual(self, x, k, stride):
        b = f"mm.model.mb_block.{k}.block."
        hard_sigmoid = lambda v: np.clip(v + 3, 0, 6) / 6
        y = self.norm(self.conv(x, b + "0.0", stride), b + "0.1", 1e-5)
        y = y * hard_sigmoid(y)
        squeezed = np.maximum(self.linear(y.mean((0, 1)), b + "1.fc1"), 0)
        y = y * hard_sigmoid(self.linear(squeezed, b + "1.fc2"))
        y = self.norm(self.linear(y, b + "2.0"), b + "2.1", 1e-5)
        return x + y if stride == 1 else y

    def rows(self, x):
        c, gelu, side = self.c, ACTS["erf"], self.c["image"] // PATCH
        if c["type"] == "ldp":
            x = self.linear(gelu(self.linear(x, "mm.model.mlp.1")), "mm.model.mlp.3").reshape(side, side, -1)
            return self.inverted_residual(self.inverted_residual(x, 1, 1), 2, 2).reshape(-1, c["rows"])
        if c["type"] == "ldpv2":
            x = self.linear(gelu(self.linear(x, "mm.model.mlp.0")), "mm.model.mlp.2")
            x = x.reshape(side // 2, 2, side // 2, 2, -1).mean((1, 3))  # AdaptiveAvgPool2d to half the side
            return (x + self.conv(x, "mm.model.peg.0", 1)).reshape(-1, c["rows"])
        if c.get("norms"):
            x = gelu(self.norm(self.linear(x, "mm.0"), "mm.1", 1e-5))
            return self.norm(self.linear(x, "mm.3"), "mm.4", 1e-5)
        return self.linear(ACTS[c.get("projector", "erf")](self.linear(x, "mm.0")), "mm.2")


def make(root, name):
    c = CASES[name]
    rng = np.random.default_rng(sum(name.encode()))
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)
    tensors = weights(c, rng)
    write_gguf(os.path.join(folder, "mmproj.gguf"), name, c, tensors)
    model, images = Model(c, tensors), []
    for file in PICTURES:
        image = Image.open(os.path.join(root, file))
        pixels = pixels_of(image, c)
        features = model.features(pixels.astype(np.float64))
        rows = model.rows(features)
        item = {"file": "../" + file, "size": image.size, "layout": [{"rows": [0, len(rows)]}]}
        for stage, v in (("pixels", pixels[None]), ("features", features[None]), ("rows", rows)):
            item[stage] = f"{file[:-4]}.{stage}.f32"
            item[stage + "_shape"] = v.shape
            v.astype("<f4").tofile(os.path.join(folder, item[stage]))
        images.append(item)
    case = {"kind": "vision-family", "family": name, "projector": c["type"], "mmproj": "mmproj.gguf", "images": images,
            "max_nmse": {"pixels": 1e-10, "features": 1e-8, "rows": 1e-8}, "note": "tests/reference/vision_llava.py"}
    with open(os.path.join(folder, "case.json"), "w", encoding="utf-8") as f:
        json.dump(case, f)
        f.write("\n")


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: vision_llava.py FOLDER [NAME...]")
    os.makedirs(sys.argv[1], exist_ok=True)
    for file, size in PICTURES.items():
        picture(size, np.random.default_rng(size)).save(os.path.join(sys.argv[1], file))
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name)


if __name__ == "__main__":
    main()
