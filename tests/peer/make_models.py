#!/usr/bin/env python3
"""Random-weight models that an independent engine takes too, for tests/peer/logits.mjs.

usage: make_models.py FOLDER. Writes FOLDER/short/NAME-f32.gguf and NAME-f16.gguf, one of each row of the table in
llm/README.md and more for ways to scale RoPE; FOLDER/short/blocks-TYPE.gguf, one of each weight type (blocks of random
bits under a sane scale, which all formats allow); FOLDER/deep-f16.gguf (20 layers). The same at every run; exit 77
without numpy.

Families are described in tests/reference/families.py; here they get sizes that blocks of every weight type fit, windows
and original contexts that the test's prompt passes, and the keys that the peer asks for and we do not.
"""
import os
import sys

try:
    import numpy as np
except ImportError:
    print("skipped: python3 has no numpy")
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../reference"))
import families
from families import ARRAY, F32, I32, STRING, U32

SIZE = {"n_embd": 256, "n_head": 4, "n_kv": 2, "head_dim": 64, "n_ff": 512, "n_ctx": 2048, "tied": False}
N_WORDS = 253  # beside the special tokens and the bytes
LLAMA = {"arch": "llama", "halves": False}
LONGROPE = {"n_kv": 4, "window": 4096, "attn_factor": 1.19}  # the peer leaves out Phi-3's window

# Name of the file: family, and what differs from its row and from SIZE.
MODELS = {
    "llama": ("", LLAMA),
    "llama-linear": ("", {**LLAMA, "linear": 4.0}),
    "llama3": ("llama3", {}),
    "mixtral": ("mixtral", {"apart": False}),
    "qwen2": ("qwen2", {"tied": True}),
    "qwen2-yarn": ("qwen2", {"yarn": 4.0, "original": 64}),
    "qwen2vl": ("qwen2vl", {"sections": (8, 12, 12, 0)}),
    "qwen3": ("qwen3", {"head_dim": 128}),
    "qwen3vl": ("qwen3vl", {"head_dim": 128, "sections": (24, 20, 20, 0), "deepstack": 0}),
    "qwen3moe": ("qwen3moe", {"expert_ff": 256, "original": 64}),
    "gemma2": ("gemma2", {"tied": True, "head_dim": 128, "window": 32}),
    "gemma3": ("gemma3", {"tied": True, "head_dim": 128, "window": 32}),
    "phi2": ("phi2", {"n_kv": 4, "n_rot": 32}),
    "phi3-short": ("phi3", {**LONGROPE, "longrope": 1024}),
    "phi3-long": ("phi3", {**LONGROPE, "longrope": 64}),
    # Factors near 1, or the embeddings hide what the layers add.
    "granite": ("granite", {"embed": 2.0, "residual": 0.7, "attn": 0.2}),
    "granitemoe": ("granitemoe", {"embed": 2.0, "residual": 0.7, "attn": 0.2}),
    "smollm3": ("smollm3", {"tied": True}),
    "stablelm": ("stablelm", {"n_rot": 16}),
    "stablelm2": ("stablelm2", {"n_rot": 16}),
    "internlm2": ("internlm2", {}),
    "mistral3": ("mistral3", {"original": 64}),
}
DEEP = {**LLAMA, "n_layer": 20, "n_embd": 512, "n_head": 8, "n_ff": 1024, "depth_scaled": True}

# Type: GGUF's id, values of a block, its bytes, where its f16 scale is, root mean square of the values of random bits
# at scale 1, and where the f16 of the minimum is with the factor that takes the mean away.
BLOCKS = {
    "q4_0": (2, 32, 18, 0, 4.64, None),
    "q4_1": (3, 32, 20, 0, 4.61, (2, -7.5)),
    "q5_0": (6, 32, 22, 0, 9.24, None),
    "q5_1": (7, 32, 24, 0, 9.23, (2, -15.5)),
    "q8_0": (8, 32, 34, 0, 73.9, None),
    "q2_k": (10, 256, 84, 80, 13.9, (82, 1.5)),
    "q3_k": (11, 256, 110, 108, 43.0, None),
    "q4_k": (12, 256, 144, 0, 258, (2, 7.5)),
    "q5_k": (13, 256, 176, 0, 527, (2, 15.5)),
    "q6_k": (14, 256, 210, 208, 1370, None),
    "iq2_xxs": (16, 256, 66, 0, 51.7, None),
    "iq2_xs": (17, 256, 74, 0, 55.4, None),
    "iq3_xxs": (18, 256, 98, 0, 138, None),
    "iq1_s": (19, 256, 50, 0, 7.36, None),
    "iq4_nl": (20, 32, 18, 0, 67.4, None),
    "iq3_s": (21, 256, 110, 0, 139, None),
    "iq2_s": (22, 256, 82, 0, 56.7, None),
    "iq4_xs": (23, 256, 136, 0, 1250, None),
    "iq1_m": (29, 256, 56, None, 7.16, None),
    "mxfp4": (39, 32, 17, None, 2.88, None),
}


def vocabulary():
    n, vocab = families.vocabulary()
    words = [b"<|endoftext|>"] + [b"w%d" % i for i in range(1, N_WORDS)]  # the peer wants it of phi3
    head = lambda kind: families.struct.pack("<IQ", kind, n + N_WORDS)
    more = {"tokens": (STRING, b"".join(map(families.text, words))), "scores": (F32, bytes(4 * N_WORDS)),
            "token_type": (I32, np.full(N_WORDS, 1, "<i4").tobytes())}
    for key, (kind, raw) in more.items():
        key = "tokenizer.ggml." + key
        vocab[key] = (ARRAY, head(kind) + vocab[key][1][12:] + raw)
    return n + N_WORDS, vocab


def more_keys(c):
    """The keys of what families.keys does not know."""
    keys = {"vocab_size": (U32, c["n_vocab"])}
    if "deepstack" in c:
        keys["n_deepstack_layers"] = U32, c["deepstack"]
    if "attn_factor" in c:
        keys["rope.scaling.attn_factor"] = F32, c["attn_factor"]
    if "yarn" in c:
        keys["rope.scaling.yarn_beta_fast"] = F32, 32.0
        keys["rope.scaling.yarn_beta_slow"] = F32, 1.0
    return {f"{c['arch']}.{key}": (kind, families.value(kind, v)) for key, (kind, v) in keys.items()}


def random_blocks(rng, kind, shape):
    """bytes of a matrix [n_out, n_in] whose values have a root mean square of about n_in^-0.5"""
    _, n_values, size, at, rms, minimum = BLOCKS[kind]
    n = shape[0] * shape[1] // n_values
    blocks = rng.integers(0, 256, (n, size), np.uint8)
    scale = (rng.uniform(0.5, 1.4, n) * shape[1] ** -0.5 / rms).astype("<f2")
    if kind == "mxfp4":  # e8m0: a power of two
        blocks[:, 0] = 127 + np.round(np.log2(shape[1] ** -0.5 / rms)) + rng.integers(-1, 1, n)
    elif kind == "iq1_m":  # a quarter of the scale above each of four words
        for i in range(4):
            quarter = scale.view("<u2") >> 4 * i & 15
            blocks[:, 49 + 2 * i] = blocks[:, 49 + 2 * i] & 15 | quarter << 4
    else:
        blocks[:, at:at + 2] = scale[:, None].view(np.uint8)
        if minimum:
            blocks[:, minimum[0]:minimum[0] + 2] = (scale[:, None] * minimum[1]).astype("<f2").view(np.uint8)
    return blocks.tobytes()


def store(rng, name, v, kind):
    """(type id, bytes, array of the shape), as families.write_gguf takes it"""
    if v.ndim == 1 or kind in families.STORES:
        return families.store(name, v, kind)
    if kind == "bf16":
        return 30, (v.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes(), v
    return BLOCKS[kind][0], random_blocks(rng, kind, v.shape), v


def write(path, family, own, kind):
    c = {**families.BASE, "arch": family, **families.FAMILIES.get(family, {}), **SIZE, **own}
    name = os.path.splitext(os.path.basename(path))[0]
    rng = np.random.default_rng(sum(name.encode()))
    c["n_vocab"], vocab = vocabulary()
    tensors = families.weights(c, c["n_vocab"], rng)
    if not c["tied"]:
        tensors["output.weight"] = rng.standard_normal((c["n_vocab"], c["n_embd"])) * c["n_embd"] ** -0.5
    if "depth_scaled" in c:  # what layers add is scaled as GPT-2's first weights were (Radford et al. 2019)
        for key, v in tensors.items():
            if key.endswith(("attn_output.weight", "ffn_down.weight")):
                v *= (2 * c["n_layer"]) ** -0.5
    for key, v in tensors.items():  # surer than random routers: whom rounding swaps, the last that is chosen, counts less
        if "ffn_gate_inp" in key:
            v *= 4
    os.makedirs(os.path.dirname(path), exist_ok=True)
    stored = {key: store(rng, key, v, kind) for key, v in tensors.items()}
    families.write_gguf(path, name, c, stored, {**vocab, **more_keys(c)})


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_models.py FOLDER")
    folder = sys.argv[1]
    for name, (family, own) in MODELS.items():
        for kind in ("f32", "f16"):
            write(os.path.join(folder, "short", f"{name}-{kind}.gguf"), family, own, kind)
    for kind in ["bf16", *BLOCKS]:
        write(os.path.join(folder, "short", f"blocks-{kind}.gguf"), "", LLAMA, kind)
    write(os.path.join(folder, "deep-f16.gguf"), "", DEEP, "f16")


if __name__ == "__main__":
    main()
