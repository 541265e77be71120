#!/usr/bin/env python3
"""`ocellus quantize` beside llama.cpp's own quantiser, which npm node-llama-cpp brings as a library.

usage: quantizer.py OCELLUS. For each mix, on the demo model and random ones: every tensor gets the type that it
gets there, and its root mean square error is at most MOST_RATIO times that of theirs. Exit 77 without the peer or
without numpy.
"""
import ctypes
import glob
import os
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import make_models
from make_models import np

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "../../samples/demo/demo-llm-f16.gguf")
LIBRARIES = os.path.join(HERE, "../node_modules/@node-llama-cpp/linux-*/bins/linux-*")
MOST_RATIO = 1.05
TIMEOUT_S = 120
# Name: the number of the mix in llama.h
MIXES = {"q4_0": 2, "q8_0": 7, "q5_0": 8, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
# Family (tests/reference/families.py, make_models.py) and what differs; tied output, layers enough for every rule,
# experts, rows that blocks of 256 do not fit.
MODELS = {"demo": (None, {}), "tied": ("qwen2", {"tied": True}), "layers": ("llama3", {"n_layer": 16}),
          "experts": ("qwen3moe", {"expert_ff": 256}), "odd": ("llama3", {"n_embd": 320, "n_ff": 480})}
PARAMS_BYTES = 1024  # more than struct llama_model_quantize_params has
# Type id: name, values of a block, bytes.
TYPES = {0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 6: ("q5_0", 32, 22), 7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34),
         12: ("q4_K", 256, 144), 13: ("q5_K", 256, 176), 14: ("q6_K", 256, 210)}


class Params(ctypes.Structure):
    _fields_ = [("n_threads", ctypes.c_int32), ("mix", ctypes.c_int32), ("rest", ctypes.c_ubyte * PARAMS_BYTES)]


def load_peer():
    """libggml-base and libllama of this machine's kind, or None."""
    for folder in sorted(glob.glob(LIBRARIES), key=len):  # without a graphics card first
        try:
            # Each needs the one before.
            found = [ctypes.CDLL(glob.glob(os.path.join(folder, name))[0], ctypes.RTLD_GLOBAL)
                     for name in ("libggml-base.so", "libggml.*.so", "libllama.*.so")]
        except (OSError, IndexError):  # of another processor
            continue
        found[2].llama_model_quantize_default_params.restype = Params
        quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        found[2].llama_log_set(quiet, None)
        return found[0], found[2], quiet
    return None


def skip_value(data, at, kind):
    """Where the value of a key ends."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    if kind in sizes:
        return at + sizes[kind]
    if kind == 8:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    kind, n = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(n):
        at = skip_value(data, at, kind)
    return at


def read_tensors(path, ggml):
    """name -> (type, f32 array)"""
    with open(path, "rb") as f:
        data = f.read()
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    at, infos = 24, []
    for i in range(n_keys + n_tensors):
        n = struct.unpack_from("<Q", data, at)[0]
        name = data[at + 8:at + 8 + n].decode()
        kind_or_dims = struct.unpack_from("<I", data, at + 8 + n)[0]
        at += 12 + n
        if i < n_keys:
            at = skip_value(data, at, kind_or_dims)
            continue
        shape = struct.unpack_from(f"<{kind_or_dims}Q", data, at)
        infos.append((name, int(np.prod(shape)), *struct.unpack_from("<IQ", data, at + 8 * kind_or_dims)))
        at += 8 * kind_or_dims + 12
    begin, tensors = at + -at % 32, {}
    for name, n, kind, offset in infos:
        kind, n_values, size = TYPES[kind]
        raw = data[begin + offset:begin + offset + n // n_values * size]
        if n_values == 1:
            values = np.frombuffer(raw, "<" + kind[0] + str(size)).astype(np.float32)
        else:
            values = np.empty(n, np.float32)
            ggml["dequantize_row_" + kind](raw, values.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(n))
        tensors[name] = kind, values
    return tensors


def compare(label, original, ours, theirs):
    worst, wrong = ("", 0.0), []
    for name, (kind, values) in ours.items():
        if kind != theirs[name][0]:
            wrong.append(f"{name}: {kind}, theirs {theirs[name][0]}")
        error, other = (np.sqrt(np.mean((x - original[name][1]) ** 2)) for x in (values, theirs[name][1]))
        if kind not in ("f32", "f16") and error / other > worst[1]:
            worst = name, error / other
    ok = worst[1] <= MOST_RATIO and not wrong
    print(f"{'ok     ' if ok else 'FAILED '} {label}: at most {worst[1]:.4f} times their error ({worst[0]})", *wrong, sep="\n  ")
    return ok


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: quantizer.py OCELLUS")
    peer = load_peer()
    if not peer:
        print("skipped: npm node-llama-cpp is not installed")
        return 77
    ggml, llama, _ = peer
    ok = True
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (os.path.join(folder, name) for name in ("ours", "theirs"))
        for name, (family, own) in MODELS.items():
            model = os.path.join(folder, name + ".gguf") if family else DEMO
            if family:
                make_models.write(model, family, own, "f16")
            original = read_tensors(model, ggml)
            for mix, number in MIXES.items():
                subprocess.run([sys.argv[1], "quantize", model, ours, mix], check=True, timeout=TIMEOUT_S)
                params = llama.llama_model_quantize_default_params()
                params.n_threads, params.mix = 2, number
                if llama.llama_model_quantize(model.encode(), theirs.encode(), ctypes.byref(params)):
                    sys.exit(f"the peer cannot quantise {model} to {mix}")
                label = f"{name} {mix}"
                ok &= compare(label, original, read_tensors(ours, ggml), read_tensors(theirs, ggml))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
