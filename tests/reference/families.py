#!/usr/bin/env python3
"""Tiny random models of families that no other golden case has, with float64 logits.

usage: families.py FOLDER [NAME...]. Writes FOLDER/tiny-NAME/model.gguf, logits.f32 and case.json, the same at every
run; exit 77 without numpy. The formulas follow the families' modelling code in Hugging Face
transformers (Qwen2, Qwen3, Gemma2, Gemma3, Phi, Phi3, Granite, SmolLM3, StableLm, Ministral3 with YaRN, Mixtral,
Qwen3Moe, GraniteMoe, Qwen2VL, Qwen3VL). Weights of adjacent-pair families are random, so their permutation in
GGUF is part of the random draw: their pairs are (2i, 2i + 1) here as there.
"""
import json
import os
import struct
import sys

try:
    import numpy as np
except ImportError:
    sys.exit(77)

N_ROWS = 24
# Between the logits of the last expert that is chosen and the first that is not: more than rounding moves them.
GAP_MIN, GAP_MIN_QUANTISED = 1e-3, 0.04
U32, F32, STRING, ARRAY, BOOL, I32 = 4, 6, 8, 9, 7, 5
BASE = dict(n_layer=2, n_embd=32, n_head=4, n_kv=2, head_dim=8, n_ff=48, eps=1e-5, norm="rms", halves=True,
            act="silu", base=10000.0, n_ctx=512)
FAMILIES = {
    "qwen2": dict(qkv_bias=True, base=1e6),
    "qwen3": dict(qk_norm=True, head_dim=12, base=1e6),
    "gemma2": dict(n_layer=4, head_dim=12, act="gelu", window=7, period=2, post=True, sqrt=True, attn_cap=2.0,
                   logit_cap=3.0),
    "gemma3": dict(n_layer=7, n_ff=32, head_dim=12, act="gelu", window=7, period=6, post=True, sqrt=True, qk_norm=True,
                   base=1e6, local_base=10000.0, linear=8.0),
    "phi2": dict(n_kv=4, norm="layer", act="gelu", fused_qkv=True, parallel=True, plain=True, bias=True, n_rot=4),
    "phi3": dict(fused_qkv=True, fused_gate_up=True, window=9, period=1, longrope=128),
    "granite": dict(halves=False, embed=6.0, residual=0.22, attn=0.1, logit=4.0),
    "smollm3": dict(n_layer=5, halves=False, nope=4, base=5e6),
    "stablelm": dict(norm="layer", n_rot=2, qkv_bias=True),
    "mistral3": dict(halves=False, head_dim=16, base=1e6, yarn=16.0, original=16, temperature=0.1, log_mul=1.0,
                     rows=40),
    "internlm2": dict(halves=False, base=1e6),
    "llama3": dict(arch="llama", halves=False, base=5e5, factors=True, store="f16", rows=12),
    "llama-iq4_nl": dict(arch="llama", halves=False, n_ff=64, store="iq4_nl", max_nmse=1e-3, rows=12),
    "mixtral": dict(arch="llama", halves=False, base=1e6, n_ff=20, experts=4, used=2, apart=True, store="f16",
                    rows=12, seed=1),
    "mixtral-mxfp4": dict(arch="llama", halves=False, n_ff=64, experts=4, used=2, store="mxfp4", max_nmse=1e-3,
                          rows=12, seed=1),
    "qwen3moe": dict(qk_norm=True, base=1e6, yarn=4.0, original=16, experts=8, used=3, expert_ff=12,
                     store="f16", rows=12, seed=1),
    "granitemoe": dict(halves=False, embed=6.0, residual=0.22, attn=0.1, logit=4.0, n_ff=12, experts=5, used=4,
                       store="f16", rows=12),
    "stablelm2": dict(arch="stablelm", norm="layer", n_rot=2, own_norms=True, parallel=True, store="f16", rows=12),
    "qwen2vl": dict(qkv_bias=True, base=1e6, sections=(1, 1, 2, 0), store="f16", rows=12),
    "qwen3vl": dict(qk_norm=True, base=5e6, sections=(2, 1, 1, 0), store="f16", rows=12),
    "phi3-short": dict(arch="phi3", fused_qkv=True, fused_gate_up=True, longrope=512, store="f16", rows=12),
}
ACTS = {"silu": lambda x: x / (1 + np.exp(-x)),
        "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))}


def text(s):
    return struct.pack("<Q", len(s)) + s


def value(kind, v):
    if kind == ARRAY:
        return struct.pack(f"<IQ{len(v)}i", I32, len(v), *v)
    if kind == STRING:
        return text(v.encode())
    return struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], v)


def vocabulary():
    """SentencePiece tokens: the special ones and the bytes."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % i for i in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    head = lambda kind: struct.pack("<IQ", kind, len(tokens))
    return len(tokens), {
        "tokenizer.ggml.model": (STRING, value(STRING, "llama")),
        "tokenizer.ggml.tokens": (ARRAY, head(STRING) + b"".join(map(text, tokens))),
        "tokenizer.ggml.scores": (ARRAY, head(F32) + bytes(4 * len(tokens))),
        "tokenizer.ggml.token_type": (ARRAY, head(I32) + struct.pack(f"<{len(kinds)}i", *kinds)),
        "tokenizer.ggml.bos_token_id": (U32, value(U32, 1)),
        "tokenizer.ggml.eos_token_id": (U32, value(U32, 2)),
        "tokenizer.ggml.unknown_token_id": (U32, value(U32, 0))}


def keys(name, c):
    yield "block_count", U32, c["n_layer"]
    yield "embedding_length", U32, c["n_embd"]
    yield "feed_forward_length", U32, c["n_ff"]
    yield "context_length", U32, c["n_ctx"]
    yield "attention.head_count", U32, c["n_head"]
    yield "attention.head_count_kv", U32, c["n_kv"]
    yield "attention.key_length", U32, c["head_dim"]
    yield "attention.value_length", U32, c["head_dim"]
    yield "attention.layer_norm_" + ("rms_" if c["norm"] == "rms" else "") + "epsilon", F32, c["eps"]
    yield "rope.dimension_count", U32, c.get("n_rot", c["head_dim"])
    yield "rope.freq_base", F32, c["base"]
    numbers = {"embed": "embedding_scale", "residual": "residual_scale", "attn": "attention.scale",
               "logit": "logit_scale",
               "attn_cap": "attn_logit_softcapping", "logit_cap": "final_logit_softcapping",
               "temperature": "attention.temperature_scale", "log_mul": "rope.scaling.yarn_log_multiplier"}
    for option, key in numbers.items():
        if option in c:
            yield key, F32, c[option]
    if "window" in c:
        yield "attention.sliding_window", U32, c["window"]
    for kind in ("linear", "yarn"):
        if kind in c:
            yield "rope.scaling.type", STRING, kind
            yield "rope.scaling.factor", F32, c[kind]
    original = c.get("original", c.get("longrope"))
    if original:
        yield "rope.scaling.original_context_length", U32, original
    if name == "stablelm":
        yield "use_parallel_residual", BOOL, c.get("parallel", False)
    for option, key in {"experts": "expert_count", "used": "expert_used_count",
                        "expert_ff": "expert_feed_forward_length"}.items():
        if option in c:
            yield key, U32, c[option]
    if "sections" in c:
        yield "rope.dimension_sections", ARRAY, c["sections"]


def weights(c, n_vocab, rng):
    """name -> f32 array; the order is the file's."""
    t = {}
    n_embd, hd, n_ff = c["n_embd"], c["head_dim"], c["n_ff"]
    n_q, n_kv = c["n_head"] * hd, c["n_kv"] * hd

    def matrix(name, n_out, n_in, bias):
        t[name + ".weight"] = rng.standard_normal((n_out, n_in)) * n_in ** -0.5
        if bias:
            t[name + ".bias"] = rng.standard_normal(n_out) * 0.1

    def norm(name, n=n_embd):
        t[name + ".weight"] = 1 + 0.2 * rng.standard_normal(n)
        if c["norm"] == "layer":
            t[name + ".bias"] = 0.1 * rng.standard_normal(n)

    t["token_embd.weight"] = rng.standard_normal((n_vocab, n_embd)) * 0.5
    bias = c.get("bias", False)
    for i in range(c["n_layer"]):
        b = f"blk.{i}."
        norm(b + "attn_norm")
        if c.get("fused_qkv"):
            matrix(b + "attn_qkv", n_q + 2 * n_kv, n_embd, bias)
        else:
            for x, n in (("q", n_q), ("k", n_kv), ("v", n_kv)):
                matrix(b + "attn_" + x, n, n_embd, c.get("qkv_bias", False))
        if c.get("qk_norm"):
            norm(b + "attn_q_norm", hd)
            norm(b + "attn_k_norm", hd)
        if c.get("own_norms"):
            t[b + "attn_q_norm.weight"] = 1 + 0.2 * rng.standard_normal((c["n_head"], hd))
            t[b + "attn_k_norm.weight"] = 1 + 0.2 * rng.standard_normal((c["n_kv"], hd))
        matrix(b + "attn_output", n_embd, n_q, bias)
        if c.get("post"):
            norm(b + "post_attention_norm")
            norm(b + "post_ffw_norm")
        if not c.get("parallel"):
            norm(b + "ffn_norm")
        if "experts" in c:
            n, n_ff = c["experts"], c.get("expert_ff", n_ff)
            matrix(b + "ffn_gate_inp", n, n_embd, False)
            for x, n_out, n_in in (("gate", n_ff, n_embd), ("up", n_ff, n_embd), ("down", n_embd, n_ff)):
                all_of_them = rng.standard_normal((n, n_out, n_in)) * n_in ** -0.5
                if c.get("apart"):
                    t.update({f"{b}ffn_{x}.{e}.weight": one for e, one in enumerate(all_of_them)})
                else:
                    t[f"{b}ffn_{x}_exps.weight"] = all_of_them
            continue
        if c.get("fused_gate_up"):
            matrix(b + "ffn_up", 2 * n_ff, n_embd, bias)
        else:
            if not c.get("plain"):
                matrix(b + "ffn_gate", n_ff, n_embd, bias)
            matrix(b + "ffn_up", n_ff, n_embd, bias)
        matrix(b + "ffn_down", n_embd, n_ff, bias)
    norm("output_norm")
    if bias:
        matrix("output", n_vocab, n_embd, bias)
    if "longrope" in c:
        for kind, low in (("short", 1.0), ("long", 3.0)):
            t[f"rope_factors_{kind}.weight"] = low + rng.random(hd // 2)
    if "factors" in c:
        t["rope_freqs.weight"] = 1 + 7 * rng.random(hd // 2)
    return {name: v.astype(np.float32) for name, v in t.items()}


def nearest(x, levels):
    """Which level is nearest to each value."""
    return np.abs(x[..., None] - levels).argmin(-1).astype(np.uint8)


def pack_blocks(x, scales, levels, head):
    """(bytes of blocks of 32: `head` of each, then 4 bits an element, i and i + 16 in a byte; their values)"""
    codes = nearest(np.divide(x, scales, out=np.zeros_like(x), where=scales != 0), levels)
    nibbles = codes[:, :16] | codes[:, 16:] << 4
    return np.concatenate([head, nibbles], axis=1).tobytes(), levels[codes] * scales


def store_f32(v):
    return v.astype("<f4").tobytes(), v


def store_f16(v):
    return v.astype("<f2").tobytes(), v.astype("<f2")


def store_mxfp4(v):
    """OCP Microscaling: a power of two and 4-bit floats of 2 bits of exponent and 1 of mantissa."""
    x = v.reshape(-1, 32).astype(np.float64)
    exponents = np.floor(np.log2(np.abs(x).max(1, keepdims=True))) - 2
    magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    return pack_blocks(x, 2.0 ** exponents, np.concatenate([magnitudes, -magnitudes]),
                       (exponents + 127).astype(np.uint8))


def store_iq4_nl(v):
    """ggml's block_iq4_nl: an f16 and 4-bit indices of levels that are closer together near zero."""
    x = v.reshape(-1, 32).astype(np.float64)
    levels = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float64)
    scales = (np.abs(x).max(1, keepdims=True) / 120).astype("<f2")
    return pack_blocks(x, scales.astype(np.float64), levels, scales.view(np.uint8))


STORES = {"f32": (0, store_f32), "f16": (1, store_f16), "iq4_nl": (20, store_iq4_nl), "mxfp4": (39, store_mxfp4)}


def store(name, v, kind):
    """(type, bytes, values that they stand for) of a tensor: matrices of products are of the kind asked for."""
    if v.ndim == 1 or "_norm" in name or "ffn_gate_inp" in name:
        kind = "f32"
    number, function = STORES[kind]
    raw, values = function(v)
    return number, raw, values.reshape(v.shape)


def write_gguf(path, name, c, tensors, vocab):
    """tensors: name -> (type, bytes, values)"""
    arch = c["arch"]
    entries = {"general.architecture": (STRING, value(STRING, arch)),
               "general.name": (STRING, value(STRING, "tiny-" + name))}
    entries.update({f"{arch}.{k}": (kind, value(kind, v)) for k, kind, v in keys(arch, c)})
    entries.update(vocab)
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)))
    for key, (kind, raw) in entries.items():
        out += text(key.encode()) + struct.pack("<I", kind) + raw
    offset = 0
    for key, (number, raw, v) in tensors.items():
        out += text(key.encode()) + struct.pack("<I", v.ndim) + struct.pack(f"<{v.ndim}Q", *v.shape[::-1])
        out += struct.pack("<IQ", number, offset)
        offset += len(raw) + -len(raw) % 32
    out += bytes(-len(out) % 32)
    for _, raw, _ in tensors.values():
        out += raw + bytes(-len(raw) % 32)
    with open(path, "wb") as f:
        f.write(out)


def frequencies(c, t, windowed):
    """(angle of a pair for each position, magnitude)"""
    n_rot = c.get("n_rot", c["head_dim"])
    base = c["local_base"] if windowed and "local_base" in c else c["base"]
    freqs = base ** (-np.arange(0, n_rot, 2) / n_rot)
    if windowed and "local_base" in c:
        return freqs, 1
    if "linear" in c:
        return freqs / c["linear"], 1
    if "factors" in c:
        return freqs / t["rope_freqs.weight"], 1
    if "longrope" in c and c["n_ctx"] <= c["longrope"]:
        return freqs / t["rope_factors_short.weight"], 1
    if "longrope" in c:  # the context is longer than the original one
        return (freqs / t["rope_factors_long.weight"],
                np.sqrt(1 + np.log(c["n_ctx"] / c["longrope"]) / np.log(c["longrope"])))
    if "yarn" in c:
        pair = lambda turns: n_rot * np.log(c["original"] / (turns * 2 * np.pi)) / (2 * np.log(base))
        low, high = max(np.floor(pair(32)), 0), min(np.ceil(pair(1)), n_rot - 1)
        ramp = np.clip((np.arange(n_rot // 2) - low) / max(high - low, 0.001), 0, 1)
        mscale = lambda m: 0.1 * m * np.log(c["yarn"]) + 1
        return freqs * (1 - ramp) + freqs / c["yarn"] * ramp, mscale(1) / mscale(c.get("log_mul", 0))
    return freqs, 1


def rotate(x, c, angles, magnitude):
    """x [rows, heads, head_dim], angles [rows, pairs]"""
    n = 2 * angles.shape[1]
    cos, sin = magnitude * np.cos(angles)[:, None], magnitude * np.sin(angles)[:, None]
    first, second = (slice(0, n // 2), slice(n // 2, n)) if c["halves"] else (slice(0, n, 2), slice(1, n, 2))
    y = x.copy()
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., second] * cos + x[..., first] * sin
    return y


class Model:
    def __init__(self, c, tensors):
        self.c, self.t = c, {name: v.astype(np.float64) for name, (_, _, v) in tensors.items()}
        self.gap = np.inf
        self.images = []  # slices of rows that see each other both ways

    def angles(self, rows, freqs):
        return np.arange(rows)[:, None] * freqs

    def linear(self, x, name):
        return x @ self.t[name + ".weight"].T + self.t.get(name + ".bias", 0)

    def norm(self, x, name):
        if self.c["norm"] == "layer":
            x = x - x.mean(-1, keepdims=True)
        y = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.c["eps"]) * self.t[name + ".weight"]
        return y + self.t.get(name + ".bias", 0)

    def attention(self, h, b, layer):
        c, rows = self.c, len(h)
        hd, n_head, n_kv = c["head_dim"], c["n_head"], c["n_kv"]
        if c.get("fused_qkv"):
            q, k, v = np.split(self.linear(h, b + "attn_qkv"), [n_head * hd, (n_head + n_kv) * hd], axis=1)
        else:
            q, k, v = (self.linear(h, b + "attn_" + x) for x in "qkv")
        q, k, v = q.reshape(rows, n_head, hd), k.reshape(rows, n_kv, hd), v.reshape(rows, n_kv, hd)
        if c.get("qk_norm"):
            q, k = self.norm(q, b + "attn_q_norm"), self.norm(k, b + "attn_k_norm")
        if c.get("own_norms"):
            q, k = self.norm(q, b + "attn_q_norm"), self.norm(k, b + "attn_k_norm")
        windowed = "window" in c and (c["period"] == 1 or (layer + 1) % c["period"] != 0)
        if "nope" not in c or (layer + 1) % c["nope"] != 0:
            freqs, magnitude = frequencies(c, self.t, windowed)
            angles = self.angles(rows, freqs)
            q, k = rotate(q, c, angles, magnitude), rotate(k, c, angles, magnitude)
        if "temperature" in c:
            q = q * (1 + c["temperature"] * np.log(1 + np.arange(rows) // c["original"]))[:, None, None]
        k, v = np.repeat(k, n_head // n_kv, axis=1), np.repeat(v, n_head // n_kv, axis=1)
        scores = np.einsum("ihd,jhd->hij", q, k) * c.get("attn", hd ** -0.5)
        if "attn_cap" in c:
            scores = c["attn_cap"] * np.tanh(scores / c["attn_cap"])
        distance = np.arange(rows)[:, None] - np.arange(rows)
        hidden = (distance < 0) | (distance >= c["window"] if windowed else False)
        for image in self.images:
            hidden[image, image] = False
        scores = np.where(hidden, -np.inf, scores)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        out = np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), v).reshape(rows, -1)
        return self.linear(out, b + "attn_output")

    def expert(self, h, b, e):
        gate, up, down = (self.t[f"{b}ffn_{x}.{e}.weight"] if self.c.get("apart")
                          else self.t[f"{b}ffn_{x}_exps.weight"][e] for x in ("gate", "up", "down"))
        return (ACTS[self.c["act"]](h @ gate.T) * (h @ up.T)) @ down.T

    def experts(self, h, b):
        """The likeliest experts of each row by softmax over all; their probabilities are brought to the sum 1."""
        used, logits = self.c["used"], self.linear(h, b + "ffn_gate_inp")
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        order = np.argsort(-logits, axis=-1)
        ranked = np.take_along_axis(logits, order, -1)
        self.gap = min(self.gap, (ranked[:, used - 1] - ranked[:, used]).min())
        y = np.zeros_like(h)
        for row, chosen in enumerate(order[:, :used]):
            for e in chosen:
                y[row] += p[row, e] / p[row, chosen].sum() * self.expert(h[row], b, e)
        return y

    def feed_forward(self, h, b):
        c, act = self.c, ACTS[self.c["act"]]
        if "experts" in c:
            return self.experts(h, b)
        up = self.linear(h, b + "ffn_up")
        if c.get("plain"):
            return self.linear(act(up), b + "ffn_down")
        gate, up = np.split(up, 2, axis=1) if c.get("fused_gate_up") else (self.linear(h, b + "ffn_gate"), up)
        return self.linear(act(gate) * up, b + "ffn_down")

    def logits(self, ids, image_rows=None, n_before=0):
        """image_rows [n, n_embd] stand behind the first n_before ids, not scaled as tokens are."""
        c = self.c
        x = self.t["token_embd.weight"][ids] * (c["n_embd"] ** 0.5 if c.get("sqrt") else c.get("embed", 1))
        if image_rows is not None:
            x = np.insert(x, n_before, image_rows, axis=0)
            self.images = [slice(n_before, n_before + len(image_rows))]
        return self.logits_of(x)

    def behind(self, x, layer):
        """What the rows are behind a layer."""
        return x

    def logits_of(self, x):
        """x [rows, n_embd]: the embeddings"""
        c = self.c
        residual = c.get("residual", 1)
        for i in range(c["n_layer"]):
            b = f"blk.{i}."
            h = self.norm(x, b + "attn_norm")
            a = self.attention(h, b, i)
            x = x + residual * (self.norm(a, b + "post_attention_norm") if c.get("post") else a)
            if not c.get("parallel"):
                h = self.norm(x, b + "ffn_norm")
            f = self.feed_forward(h, b)
            x = x + residual * (self.norm(f, b + "post_ffw_norm") if c.get("post") else f)
            x = self.behind(x, i)
        x = self.norm(x, "output_norm")
        y = self.linear(x, "output" if "output.weight" in self.t else "token_embd") / c.get("logit", 1)
        return c["logit_cap"] * np.tanh(y / c["logit_cap"]) if "logit_cap" in c else y


def describe(name):
    """(options of a family, its tensors as they are stored, the generator behind them)"""
    c = {**BASE, "arch": name, **FAMILIES[name]}
    rng = np.random.default_rng(sum(name.encode()) + c.get("seed", 0))
    kind = c.get("store", "f32")
    tensors = {key: (store(key, v, kind)) for key, v in weights(c, vocabulary()[0], rng).items()}
    return c, tensors, rng


def round_options(c):
    """Numbers that the file holds as f32."""
    for option, v in c.items():
        if isinstance(v, float):
            c[option] = float(np.float32(v))


def make(folder, name):
    c, tensors, rng = describe(name)
    n_vocab, vocab = vocabulary()
    kind = c.get("store", "f32")
    ids = [int(i) for i in rng.integers(3, n_vocab, c.get("rows", N_ROWS))]
    folder = os.path.join(folder, "tiny-" + name)
    os.makedirs(folder, exist_ok=True)
    write_gguf(os.path.join(folder, "model.gguf"), name, c, tensors, vocab)
    round_options(c)
    model = Model(c, tensors)
    logits = model.logits(ids)
    if model.gap < (GAP_MIN if kind in ("f32", "f16") else GAP_MIN_QUANTISED):
        sys.exit(f"{name}: two experts are nearly equal, {model.gap:.2g} apart: change the case")
    logits.astype("<f4").tofile(os.path.join(folder, "logits.f32"))
    case = {"kind": "text", "model": "model.gguf", "tokens": ids, "logits": "logits.f32",
            "shape": list(logits.shape), "max_nmse": c.get("max_nmse", 1e-9), "note": "tests/reference/families.py"}
    with open(os.path.join(folder, "case.json"), "w", encoding="utf-8") as f:
        json.dump(case, f)
        f.write("\n")


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: families.py FOLDER [NAME...]")
    for name in sys.argv[2:] or FAMILIES:
        make(sys.argv[1], name)


if __name__ == "__main__":
    main()
