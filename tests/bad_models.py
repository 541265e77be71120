#!/usr/bin/env python3
"""Model files that are cut short or lie: `ocellus serve` must refuse each at start, with exit code 3 and one
line that names the tensor or the key, or the file where neither is reached, in little memory.

usage: bad_models.py OCELLUS
"""
import os
import resource
import struct
import subprocess
import sys
import tempfile

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../samples/demo")
FAMILIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden/text")
TIMEOUT_S = 60
EXIT_MODEL = 3
MEMORY_MAX_MB = 1000 if os.environ.get("OCELLUS_SANITIZE") else 100
U32, I32, F32 = 4, 5, 6
CHANGES = {"0": (U32, 0), "1": (U32, 1), "-1": (I32, -1), "max": (U32, (1 << 32) - 1), "no integer": (F32, 2.0),
           "0.0": (F32, 0.0), "-1.0": (F32, -1.0), "NaN": (F32, float("nan")), "inf": (F32, float("inf"))}
NO_COUNT = ("0", "-1", "max", "no integer")
NO_FACTOR = ("0.0", "-1.0", "NaN", "inf")
NO_SWITCH = ("-1.0", "NaN", "inf")
# Family -> key -> what is refused by the key's name.
KEYS = {
    "mixtral": {"expert_count": NO_COUNT[1:], "expert_used_count": (*NO_COUNT, "missing"),
                "attention.layer_norm_rms_epsilon": (*NO_FACTOR, "missing"), "feed_forward_length": NO_COUNT},
    "qwen3moe": {"expert_count": (*NO_COUNT, "missing"), "expert_used_count": (*NO_COUNT, "missing"),
                 "expert_feed_forward_length": NO_COUNT, "rope.scaling.factor": (*NO_FACTOR, "missing"),
                 "rope.scaling.original_context_length": NO_COUNT, "rope.freq_base": NO_FACTOR},
    "mistral3": {"attention.temperature_scale": NO_SWITCH, "rope.scaling.yarn_log_multiplier": NO_SWITCH},
    "gemma2": {"attention.sliding_window": (*NO_COUNT[1:], "missing"), "attn_logit_softcapping": NO_SWITCH,
               "final_logit_softcapping": NO_SWITCH, "attention.key_length": NO_COUNT,
               "attention.value_length": (*NO_COUNT, "1")},
    "gemma3": {"attention.sliding_window": (*NO_COUNT[1:], "missing"), "rope.scaling.factor": (*NO_FACTOR, "missing")},
    "phi2": {"rope.dimension_count": (*NO_COUNT, "1"), "attention.layer_norm_epsilon": (*NO_FACTOR, "missing")},
    "phi3": {"attention.sliding_window": NO_COUNT[1:], "rope.scaling.original_context_length": NO_COUNT},
    "granitemoe": {key: NO_FACTOR for key in ("embedding_scale", "residual_scale", "logit_scale", "attention.scale")},
}


def directory_entry(data, tensor):
    """Where the number of dimensions of this tensor stands in the file."""
    name = tensor.encode()
    at = data.index(struct.pack("<Q", len(name)) + name)
    return at + 8 + len(name)


def with_offset(data, tensor, offset):
    """The file with another data offset in the tensor's directory entry."""
    at = directory_entry(data, tensor)
    (n_dims,) = struct.unpack_from("<I", data, at)
    changed = bytearray(data)
    struct.pack_into("<Q", changed, at + 4 + 8 * n_dims + 4, offset)
    return bytes(changed)


def with_dimension(data, tensor, value):
    at = directory_entry(data, tensor)
    changed = bytearray(data)
    struct.pack_into("<Q", changed, at + 4, value)
    return bytes(changed)


def with_type(data, tensor, value):
    at = directory_entry(data, tensor)
    (n_dims,) = struct.unpack_from("<I", data, at)
    changed = bytearray(data)
    struct.pack_into("<I", changed, at + 4 + 8 * n_dims, value)
    return bytes(changed)


def with_key(data, key, kind, value):
    """The file with another type and value of a key of 4 bytes."""
    changed = bytearray(data)
    struct.pack_into({U32: "<II", I32: "<Ii", F32: "<If"}[kind], changed, directory_entry(data, key), kind, value)
    return bytes(changed)


def with_text(data, old, new):
    """The file with another text, as long, in the place of a key's."""
    stored = struct.pack("<Q", len(old)) + old.encode()
    assert data.count(stored) == 1
    return data.replace(stored, stored[:8] + new.encode())


def without(data, name):
    """The file with a key or a tensor of another name."""
    at = directory_entry(data, name) - 1
    return data[:at] + b"~" + data[at + 1 :]


def with_first_value(data, last, value):
    """The file with another first value in the last tensor, f32 [4]."""
    changed = bytearray(data)
    struct.pack_into("<f", changed, len(data) - 32, value)
    assert changed[len(data) - 16 :] == bytes(16), last
    return bytes(changed)


def key_cases(family, data, architecture):
    """(name, bytes of the file, word that the message must contain); last: the tensor at the end of the data"""
    for key, changes in KEYS[family].items():
        key = f"{architecture}.{key}"
        for change in changes:
            changed = without(data, key) if change == "missing" else with_key(data, key, *CHANGES[change])
            yield f"{key} {change}", changed, key


def family_cases(read):
    """(family, name, bytes of the file, word that the message must contain)"""
    for family in KEYS:
        architecture = {"mixtral": "llama"}.get(family, family)
        for case in key_cases(family, read(family), architecture):
            yield family, *case
    mixtral, mxfp4, qwen, stablelm = map(read, ("mixtral", "mixtral-mxfp4", "qwen3moe", "stablelm2"))
    router, count, own = "blk.0.ffn_gate_inp.weight", "llama.expert_count", "blk.1.attn_k_norm.weight"
    yield "mixtral", "no count", without(mixtral, count), router + ": tensor unknown to"
    yield "mixtral", "count 0", with_key(mixtral, count, U32, 0), router + ": tensor unknown to"
    yield "mixtral", "count 1", with_key(mixtral, count, U32, 1), "llama.expert_used_count"
    yield "mixtral", "count 5", with_key(mixtral, count, U32, 5), router + ": shape [4, 32], want [5, 32]"
    yield "mixtral", "no router", without(mixtral, router), router
    yield "mixtral", "an expert less", without(mixtral, "blk.1.ffn_up.3.weight"), "blk.1.ffn_up.3.weight"
    yield "mixtral", "no expert 0", without(mixtral, "blk.1.ffn_up.0.weight"), "blk.1.ffn_up_exps.weight"
    yield "mxfp4", "no experts", without(mxfp4, "blk.1.ffn_down_exps.weight"), "blk.1.ffn_down_exps.weight"
    yield ("mxfp4", "narrow experts", with_dimension(mxfp4, "blk.1.ffn_down_exps.weight", 32),
           "blk.1.ffn_down_exps.weight: shape [4, 32, 32], want [4, 32, 64]")
    length = "qwen3moe.expert_feed_forward_length"
    for name, data in ("width 11", with_key(qwen, length, U32, 11)), ("no width", without(qwen, length)):
        yield "qwen3moe", name, data, "blk.0.ffn_gate_exps.weight: shape [8, 12, 32], want"
    yield "qwen3moe", "scaling barn", with_text(qwen, "yarn", "barn"), 'qwen3moe.rope.scaling.type: "barn"'
    yield "stablelm2", "half of the norms", without(stablelm, own), own
    yield "stablelm2", "norms of other heads", with_dimension(stablelm, own, 4), own + ": shape [2, 4], want [2, 8]"
    yield ("stablelm2", "no norms in layer 0", without(stablelm, "blk.0.attn_q_norm.weight"),
           "blk.0.attn_k_norm.weight: tensor unknown to")
    for family, tensor in ("llama3", "rope_freqs.weight"), ("phi3", "rope_factors_long.weight"):
        for value in 0.0, -1.0, float("nan"), float("inf"):
            yield family, f"{tensor} {value}", with_first_value(read(family), tensor, value), tensor + ": value 0 is"


def cases(data, tensor, last):
    """(name, bytes of the file, word that the message must contain); last: the tensor at the end of the data"""
    directory = directory_entry(data, tensor)
    yield "empty", b"", "bad.gguf"
    yield "no GGUF", b"GIF89a" + data[6:], "bad.gguf"
    yield "version 99", data[:4] + struct.pack("<I", 99) + data[8:], "99"
    yield "cut in the header", data[:20], "bad.gguf"
    yield "cut in the metadata", data[:400], "bad.gguf"
    yield "cut in the directory", data[: directory + 2], "bad.gguf"
    yield "cut in its last entry", data[: directory_entry(data, last) + 2], last
    yield "cut in the data", data[: len(data) // 2], "weight"
    yield "last byte missing", data[:-1], last
    yield "2^60 tensors", data[:8] + struct.pack("<Q", 1 << 60) + data[16:], "bad.gguf"
    yield "2^60 keys", data[:16] + struct.pack("<Q", 1 << 60) + data[24:], "bad.gguf"
    yield "offset past the end", with_offset(data, tensor, len(data)), tensor
    yield "offset near 2^64", with_offset(data, tensor, (1 << 64) - 32), tensor
    yield "offset not aligned", with_offset(data, tensor, 1), tensor
    yield "dimension 2^62", with_dimension(data, tensor, 1 << 62), tensor
    yield "dimension 0", with_dimension(data, tensor, 0), tensor
    yield "dimension of another model", with_dimension(data, tensor, 64), tensor
    yield "unknown type", with_type(data, tensor, 77), tensor


def serve(ocellus, arguments):
    """(exit code, stderr); None where it went on to serve."""
    command = [ocellus, "serve", "--port", "0", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        return done.returncode, done.stderr.strip()
    except subprocess.TimeoutExpired:
        return None, "it went on to serve"


class Checker:
    def __init__(self, ocellus):
        self.ocellus = ocellus
        self.n_failed = 0

    def check(self, model, name, arguments, word):
        code, message = serve(self.ocellus, arguments)
        last = message.split("\n")[-1]
        ok = code == EXIT_MODEL and last.startswith("ocellus: ") and word in last
        self.n_failed += not ok
        print(f"{'ok    ' if ok else 'FAILED'} {model}, {name}: exit {code}, {last}")


def read_family(name):
    with open(os.path.join(FAMILIES, f"tiny-{name}", "model.gguf"), "rb") as f:
        return f.read()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: bad_models.py OCELLUS")
    checker = Checker(sys.argv[1])
    good = [os.path.join(DEMO, name) for name in ("demo-llm-f16.gguf", "demo-mmproj-f16.gguf")]
    tensors = [("blk.2.ffn_up.weight", "blk.5.ffn_down.weight"), ("v.blk.1.attn_q.weight", "mm.2.bias")]
    with tempfile.TemporaryDirectory() as scratch:
        bad = os.path.join(scratch, "bad.gguf")

        def check(model, name, content, arguments, word):
            with open(bad, "wb") as f:
                f.write(content)
            checker.check(model, name, arguments, word)

        for family, name, content, word in family_cases(read_family):
            check(family, name, content, ["-m", bad], word)
        memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
        for k, (tensor, last) in enumerate(tensors):
            with open(good[k], "rb") as f:
                data = f.read()
            arguments = ["-m", bad] if k == 0 else ["-m", good[0], "--mmproj", bad]
            for name, content, word in cases(data, tensor, last):
                check(os.path.basename(good[k]), name, content, arguments, word)
    ok = memory_mb <= MEMORY_MAX_MB
    print(f"{'ok    ' if ok else 'FAILED'} families: at most {memory_mb:.0f} MB of memory, limit {MEMORY_MAX_MB}")
    print(f"{checker.n_failed + (not ok)} failed")
    return 1 if checker.n_failed or not ok else 0


if __name__ == "__main__":
    sys.exit(main())
