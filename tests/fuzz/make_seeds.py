#!/usr/bin/env python3
"""Writes the binary seeds of the fuzz targets: gguf, model, mmproj and image in tests/fuzz/seeds. Run from the
repository root."""
import math
import os
import struct
import zlib

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
F32_TENSOR, F16_TENSOR = 0, 1
PROGRESSIVE = 0xc2  # JPEG's marker of such a frame
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144)}  # type: values and bytes of a block


def text(s):
    data = s.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


def key(name, kind, value, item=None):
    out = text(name) + struct.pack("<I", kind)
    if kind != ARRAY:
        return out + scalar(kind, value)
    return out + struct.pack("<IQ", item, len(value)) + b"".join(scalar(item, v) for v in value)


def values(kind, size):
    """Small positive numbers, for quantised types a small scale and any digits."""
    if kind == F32_TENSOR:
        return b"".join(struct.pack("<f", 0.1 * (i % 7 + 1)) for i in range(size // 4))
    if kind == F16_TENSOR:
        return b"".join(struct.pack("<H", 0x2c00 | i * 37 & 0x3ff) for i in range(size // 2))
    block = BLOCKS[kind][1]
    return b"".join(struct.pack("<H", 0x2000) if i % block == 0 else bytes([i * 7 & 0xff]) for i in range(size) if i % block != 1)


def gguf(keys, tensors, version=3, alignment=32):
    """tensors: (name, shape innermost first, type)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys)
    data = b""
    for name, shape, kind in tensors:
        out += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", kind, len(data))
        n_values, n_bytes = BLOCKS[kind]
        size = math.prod(shape) // n_values * n_bytes
        data += values(kind, size)
        data += bytes(-len(data) % alignment)
    out += bytes(-len(out) % alignment)
    return out + data


def all_types():
    values = {U8: 200, I8: -3, U16: 60000, I16: -300, U32: 7, I32: -70000, F32: 0.5, BOOL: True, STRING: "text",
              U64: 1 << 40, I64: -5, F64: 2.5}
    keys = [key(f"k{kind}", kind, value) for kind, value in values.items()]
    keys += [key(f"a{kind}", ARRAY, [value] * 3, kind) for kind, value in values.items()]
    return keys


def part(no, count, tensors):
    return gguf([key("split.no", U16, no), key("split.count", U16, count), key("split.tensors.count", I32, 2)], tensors)


def model_keys(arch, more):
    tokens = ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "\u2581a", "ab", "U", "S", ":", "<|im_start|>", "<|im_end|>", "x", "y", "z"]
    values = {"context_length": 32, "embedding_length": 32, "block_count": 1, "feed_forward_length": 32,
              "attention.head_count": 2, "attention.head_count_kv": 1}
    eps = "attention.layer_norm_epsilon" if arch in ("phi2", "stablelm") else "attention.layer_norm_rms_epsilon"
    return ([key("general.architecture", STRING, arch)] + [key(f"{arch}.{k}", U32, v) for k, v in values.items()]
            + [key(f"{arch}.{eps}", F32, 1e-5), key("tokenizer.ggml.model", STRING, "llama"),
               key("tokenizer.ggml.tokens", ARRAY, tokens, STRING),
               key("tokenizer.ggml.scores", ARRAY, [-float(i) for i in range(len(tokens))], F32),
               key("tokenizer.ggml.token_type", ARRAY, [2, 3, 3] + [1] * 8 + [3, 3, 1, 1, 1], I32)]
            + [key(f"{arch}.{k}", kind, v) for k, (kind, v) in more.items()])


def model(arch, more={}, extra=(), fused=False, plain=False, kind=1, experts=0):
    """A model of one layer, 32 wide."""
    n, n_kv, n_vocab = 32, 16, 16
    tensors = [("token_embd.weight", (n, n_vocab), kind), ("output_norm.weight", (n,), 0), ("blk.0.attn_norm.weight", (n,), 0)]
    if fused:
        tensors.append(("blk.0.attn_qkv.weight", (n, n + 2 * n_kv), kind))
    else:
        tensors += [(f"blk.0.attn_{x}.weight", (n, rows), kind) for x, rows in (("q", n), ("k", n_kv), ("v", n_kv))]
    tensors.append(("blk.0.attn_output.weight", (n, n), kind))
    if experts:
        tensors.append(("blk.0.ffn_gate_inp.weight", (n, experts), 0))
        tensors += [(f"blk.0.ffn_{x}_exps.weight", (n, n, experts), kind) for x in ("gate", "up", "down")]
    else:
        tensors += [("blk.0.ffn_up.weight", (n, 2 * n if fused and not plain else n), kind), ("blk.0.ffn_down.weight", (n, n), kind)]
    if not fused and not experts:
        tensors.append(("blk.0.ffn_gate.weight", (n, n), kind))
    if not plain:
        tensors.append(("blk.0.ffn_norm.weight", (n,), 0))
    return gguf(model_keys(arch, more), tensors + [(name, shape, 0) for name, shape in extra])


def mmproj(projector, more, extra, rms=False, gate=False, fused=False, patch=8, blocks=1):
    """A vision model of equal blocks, 16 wide; extra: (name, shape) of tensors, vectors in f32, the rest in f16."""
    n, n_ff = 16, 24
    keys = [key("general.architecture", STRING, "clip"), key("clip.has_vision_encoder", BOOL, True),
            key("clip.projector_type", STRING, projector), key("clip.vision.image_mean", ARRAY, [0.5] * 3, F32),
            key("clip.vision.image_std", ARRAY, [0.25] * 3, F32), key("clip.vision.attention.layer_norm_epsilon", F32, 1e-6)]
    sizes = {"image_size": 32, "patch_size": patch, "embedding_length": n, "feed_forward_length": n_ff, "block_count": 1,
             "attention.head_count": 2, "projection_dim": 16}
    keys += [key(f"clip.vision.{k}", U32, v) for k, v in sizes.items()]
    keys += [key(name, kind, *value) for name, kind, *value in more]
    matrices = [("attn_qkv", (n, 3 * n))] if fused else [(f"attn_{x}", (n, n)) for x in "qkv"]
    matrices += [("attn_out", (n, n)), ("ffn_up", (n, n_ff)), ("ffn_down", (n_ff, n))] + ([("ffn_gate", (n, n_ff))] if gate else [])
    tensors = [("v.patch_embd.weight", (patch, patch, 3, n))]
    for i in range(blocks):
        tensors += [(f"v.blk.{i}.{name}.weight", shape) for name, shape in matrices]
        tensors += [(f"v.blk.{i}.{name}.bias", shape[1:]) for name, shape in matrices]
        for norm in ("ln1", "ln2"):
            tensors += [(f"v.blk.{i}.{norm}.weight", (n,))] + ([] if rms else [(f"v.blk.{i}.{norm}.bias", (n,))])
    return gguf(keys, [(name, shape, int(len(shape) > 1)) for name, shape in tensors + extra])


def biased(name, n_in, n_out):
    return [(f"{name}.weight", (n_in, n_out)), (f"{name}.bias", (n_out,))]


def normed(name, n):
    return [(f"{name}.weight", (n,)), (f"{name}.bias", (n,))]


def png(width, height, color, depth, rows, chunks=b"", interlace=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + (chunk(b"PLTE", bytes(range(12))) if color == 3 else b"")
            + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def jpeg(components, sampling=0x11, between=b"", frame=0xc0):
    """Grey, of one Huffman code each: DC difference 0, end of block."""
    def segment(marker, data):
        return bytes([0xff, marker]) + struct.pack(">H", len(data) + 2) + data
    ids = range(1, components + 1)
    out = b"\xff\xd8" + between + segment(0xdb, b"\0" + b"\1" * 64)
    out += segment(frame, struct.pack(">BHHB", 8, 16, 16, components)
                   + b"".join(bytes([i, sampling if i == 1 else 0x11, 0]) for i in ids))
    for table in (0x00, 0x10):
        out += segment(0xc4, bytes([table, 1]) + bytes(15) + b"\0")
    out += segment(0xda, bytes([components]) + b"".join(bytes([i, 0]) for i in ids)
                   + (b"\0\0\0" if frame == PROGRESSIVE else b"\0\x3f\0"))
    return out + bytes(8) + b"\xff\xd9"


def exif(order, orientation):
    end = "<" if order == b"II" else ">"
    data = b"Exif\0\0" + order + struct.pack(end + "HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def write(name, data):
    path = os.path.join("tests/fuzz/seeds", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def write_gguf():
    two = [("token_embd.weight", (4, 3), 0), ("blk.0.attn_q.weight", (32, 2), 8)]
    write("gguf/empty", gguf([], []))
    write("gguf/types", gguf(all_types(), []))
    write("gguf/tensors", gguf([key("general.alignment", U32, 64)],
                               two + [("h", (8,), 1), ("q4", (32, 1, 1, 2), 2), ("q4k", (256, 1), 12)], alignment=64))
    write("gguf/version-2", gguf([key("general.architecture", STRING, "llama")], two[:1], version=2))
    write("gguf/big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(8))
    write("gguf/lies", b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 1 << 62) + text("k") + struct.pack("<IIQ", 9, 8, 1 << 61))
    write("gguf/split-2", part(0, 2, two[:1]) + b"\n--part--\n" + part(1, 2, two[1:]))
    write("gguf/split-3", b"\n--part--\n".join([part(0, 3, two[:1]), part(1, 3, two[1:]), part(2, 3, [])]))


def write_models():
    qk_norm = [("blk.0.attn_q_norm.weight", (16,)), ("blk.0.attn_k_norm.weight", (16,))]
    post = [("blk.0.post_attention_norm.weight", (32,)), ("blk.0.post_ffw_norm.weight", (32,))]
    yarn = {"rope.scaling.type": (STRING, "yarn"), "rope.scaling.factor": (F32, 4.0),
            "rope.scaling.original_context_length": (U32, 8)}
    write("model/llama", model("llama", yarn, [("rope_freqs.weight", (8,))]))
    write("model/qwen2", model("qwen2", {}, [("blk.0.attn_q.bias", (32,)), ("blk.0.attn_k.bias", (16,))], kind=8))
    write("model/qwen3", model("qwen3", {}, qk_norm, kind=2))
    write("model/gemma2", model("gemma2", {"attention.sliding_window": (U32, 4)}, post))
    write("model/gemma3", model("gemma3", {"attention.sliding_window": (U32, 4)}, post + qk_norm))
    write("model/phi2", model("phi2", {}, [("output.bias", (16,))], fused=True, plain=True))
    write("model/phi3", model("phi3", {}, [("rope_factors_long.weight", (8,)), ("rope_factors_short.weight", (8,))], fused=True))
    few = {"expert_count": (U32, 3), "expert_used_count": (U32, 2)}
    write("model/mixtral", model("llama", few, kind=8, experts=3))
    write("model/qwen3moe", model("qwen3moe", {**few, "expert_feed_forward_length": (U32, 32)}, qk_norm, kind=2, experts=3))
    write("model/granite", model("granite", {"logit_scale": (F32, 8.0), "embedding_scale": (F32, 2.0)}))


def write_mmprojs():
    n, row, cell = 16, 16, 64  # cell: 2x2 patches
    table = [("v.position_embd.weight", (n, 16))]
    post, two = [("v.post_ln.weight", (n,)), ("v.post_ln.bias", (n,))], biased("mm.0", cell, cell) + biased("mm.2", cell, row)
    gelu, patch_bias = ("clip.use_gelu", BOOL, True), [("v.patch_embd.bias", (n,))]
    scale = ("clip.vision.projector.scale_factor", U32, 2)
    with_class = [("v.class_embd", (n,)), ("v.position_embd.weight", (n, 17))]
    write("mmproj/llava", mmproj("mlp", [("clip.vision.mm_patch_merge_type", STRING, "spatial_unpad"),
                                         ("clip.vision.image_grid_pinpoints", ARRAY, [32, 64, 64, 32], I32)],
                                 with_class + [("v.pre_ln.weight", (n,)), ("v.pre_ln.bias", (n,)), ("model.image_newline", (row,))]
                                 + biased("mm.0", n, row) + biased("mm.2", row, row)))
    write("mmproj/gemma3", mmproj("gemma3", [gelu], table + patch_bias + post + [("mm.input_projection.weight", (row, n)), ("mm.soft_emb_norm.weight", (n,))]))
    write("mmproj/idefics3", mmproj("idefics3", [gelu, scale, ("clip.vision.preproc_image_size", U32, 64)], table + patch_bias + post + [("mm.model.fc.weight", (cell, row))]))
    write("mmproj/internvl", mmproj("internvl", [gelu, scale], with_class + patch_bias + [("v.blk.0.ls1.weight", (n,)), ("v.blk.0.ls2.weight", (n,)),
          ("mm.model.mlp.0.weight", (cell,)), ("mm.model.mlp.0.bias", (cell,))] + biased("mm.model.mlp.1", cell, row) + biased("mm.model.mlp.3", row, row)))
    write("mmproj/pixtral", mmproj("pixtral", [("clip.vision.spatial_merge_size", U32, 2), ("clip.use_silu", BOOL, True)],
          [("v.pre_ln.weight", (n,)), ("v.token_embd.img_break", (row,)), ("mm.1.weight", (n, row)), ("mm.2.weight", (row, row)),
           ("mm.input_norm.weight", (n,)), ("mm.patch_merger.weight", (cell, n))], rms=True, gate=True))
    write("mmproj/qwen2vl", mmproj("qwen2vl_merger", [], [("v.patch_embd.weight.1", (8, 8, 3, n))] + post + two))
    write("mmproj/qwen2.5vl", mmproj("qwen2.5vl_merger", [("clip.vision.n_wa_pattern", U32, 2), ("clip.use_silu", BOOL, True)],
                                     [("v.patch_embd.weight.1", (8, 8, 3, n))] + post[:1] + two, rms=True, gate=True))
    write("mmproj/qwen3vl", mmproj("qwen3vl_merger", [gelu, ("clip.vision.spatial_merge_size", U32, 2),
                                                      ("clip.vision.is_deepstack_layers", ARRAY, [True], BOOL)],
          table + [("v.patch_embd.weight.1", (8, 8, 3, n))] + patch_bias + post + two
          + [("v.deepstack.0.norm.weight", (cell,)), ("v.deepstack.0.norm.bias", (cell,))]
          + biased("v.deepstack.0.fc1", cell, cell) + biased("v.deepstack.0.fc2", cell, row), fused=True))
    write_llava_kinds(n, row)
    wide, heads = 128, [f"resampler.attn.{part}" for part in ("q", "k", "v", "out")]
    write("mmproj/minicpmv", mmproj("resampler", [gelu, ("clip.minicpmv_query_num", U32, 2)], table + patch_bias + post
          + [("resampler.query", (wide, 2)), ("resampler.kv.weight", (n, wide)), ("resampler.proj.weight", (wide, row))]
          + sum((biased(name, wide, wide) for name in heads), [])
          + sum((normed(f"resampler.{name}", wide) for name in ("ln_q", "ln_kv", "ln_post")), [])))


def write_llava_kinds(n, row):
    """Those that are told apart by the projector's tensors, or by a name alone."""
    clip = [("v.class_embd", (n,)), ("v.position_embd.weight", (n, 17))] + normed("v.pre_ln", n)
    siglip = [("v.position_embd.weight", (n, 16)), ("v.patch_embd.bias", (n,))] + normed("v.post_ln", n)
    two = biased("mm.0", n, row) + biased("mm.2", row, row)
    ldp = biased("mm.model.mlp.1", n, row) + biased("mm.model.mlp.3", row, row)
    for k in (1, 2):
        block = f"mm.model.mb_block.{k}.block."
        ldp += [(block + "0.0.weight", (3, 3, row)), (block + "2.0.weight", (row, row))]
        ldp += normed(block + "0.1", row) + normed(block + "2.1", row)
        ldp += biased(block + "1.fc1", row, row // 2) + biased(block + "1.fc2", row // 2, row)
    write("mmproj/mobilevlm", mmproj("ldp", [], clip + ldp))
    write("mmproj/mobilevlm-v2", mmproj("ldpv2", [("clip.vision.image_aspect_ratio", STRING, "square")], clip
          + biased("mm.model.mlp.0", n, row) + biased("mm.model.mlp.2", row, row)
          + [("mm.model.peg.0.weight", (3, 3, row)), ("mm.model.peg.0.bias", (row,))]))
    write("mmproj/yi-vl", mmproj("mlp", [("clip.use_gelu", BOOL, True)], clip + biased("mm.0", n, row) + normed("mm.1", row)
          + biased("mm.3", row, row) + normed("mm.4", row)))
    for name, blocks in (("moondream2", 2), ("nanoLLaVA", 3), ("llama-3-vision-alpha", 3)):  # the last one is a copy
        write(f"mmproj/{name.lower()}", mmproj("mlp", [("general.name", STRING, name), ("clip.use_gelu", BOOL, True)],
                                               siglip + two, blocks=blocks))


def write_images():
    rgb = b"".join(b"\0" + bytes(range(y, y + 24)) for y in range(8))
    write("image/rgb.png", png(8, 8, 2, 8, rgb))
    write("image/palette.png", png(8, 2, 3, 2, b"\0\x1b\xe4\1\x1b\xe4"))
    write("image/alpha-16.png", png(1, 2, 6, 16, b"\4" + bytes(range(8)) + b"\2" + bytes(range(8))))
    write("image/interlaced.png", png(2, 2, 0, 1, b"\0\x80\0\x80\0\x40", interlace=1))
    write("image/cut.png", png(8, 8, 2, 8, rgb)[:60])
    write("image/grey.jpg", jpeg(1))
    write("image/color.jpg", jpeg(3, 0x22, exif(b"II", 6)))
    write("image/cmyk.jpg", jpeg(4, 0x11, b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\2" + exif(b"MM", 3)))
    write("image/progressive.jpg", jpeg(1, 0x11, b"", PROGRESSIVE))
    write("image/other.gif", b"GIF89a" + bytes(20))


def main():
    write_gguf()
    write_models()
    write_mmprojs()
    write_images()


if __name__ == "__main__":
    main()
