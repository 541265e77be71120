#!/usr/bin/env python3
"""mmproj files with weights of f16, bf16 and q8_0: the rows of a picture are near those of the same weights in f32.

usage: mmproj_types.py OCELLUS. The golden files of every family, whose weights are f16, are written anew: first as
f32 with values that f16 does not have, then these in each type.
"""
import array
import glob
import os
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
import gguf

GOLDEN = os.path.join(HERE, "golden")
PICTURE = os.path.join(GOLDEN, "vision/tiny/grey.png")
TIMEOUT_S = 60
LIMITS = {"f16": 1e-5, "bf16": 1e-4, "q8_0": 1e-3}  # NMSE of the rows
NOT_EXACT = 1e-15  # a file whose types were all the same would be below


def values_of(kind, raw):
    if kind == gguf.F16:
        return list(struct.unpack(f"<{len(raw) // 2}e", raw))
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def pack_f32(values):
    return gguf.F32, struct.pack(f"<{len(values)}f", *values)


def pack_f16(values):
    return gguf.F16, struct.pack(f"<{len(values)}e", *values)


def pack_bf16(values):
    """Rounded to nearest, halves to even."""
    bits = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
    return gguf.BF16, struct.pack(f"<{len(bits)}H", *((b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits))


def pack_q8_0(values):
    """Blocks of 32: an f16 scale and that many signed bytes."""
    out = bytearray()
    for i in range(0, len(values), 32):
        block = values[i : i + 32]
        scale = max(map(abs, block)) / 127
        out += struct.pack("<e32b", scale, *(round(v / scale) if scale else 0 for v in block))
    return gguf.Q8_0, bytes(out)


PACK = {"f16": pack_f16, "bf16": pack_bf16, "q8_0": pack_q8_0}


def in_f32(tensors):
    """name -> (dims, values), the matrices moved off the values of f16."""
    found = {}
    for name, (dims, kind, raw) in tensors.items():
        values = values_of(kind, raw)
        if len(dims) > 1:
            values = [v * (1 + (i % 7 - 3) / 8192) for i, v in enumerate(values)]
        found[name] = dims, values
    return found


def packed(tensors, kind):
    """As converters do: vectors stay f32, and rows that no block fits become f16."""
    out = {}
    for name, (dims, values) in tensors.items():
        pack = pack_f32 if len(dims) == 1 or kind == "f32" else PACK[kind]
        if pack == pack_q8_0 and dims[0] % 32:
            pack = pack_f16
        out[name] = dims, *pack(values)
    return out


def rows_of(ocellus, mmproj, out):
    command = [ocellus, "inspect", "image", "--mmproj", mmproj, "--image", PICTURE, "--stage", "rows", "--out", out]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    rows = array.array("f")
    with open(out, "rb") as f:
        rows.frombytes(f.read())
    return rows


def nmse(got, want):
    if len(got) != len(want):
        return float("inf")
    return sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: mmproj_types.py OCELLUS")
    n_failed = 0
    found = sorted(glob.glob(os.path.join(GOLDEN, "vision-families*/*/mmproj.gguf")))
    with tempfile.TemporaryDirectory() as scratch:
        mmproj, out = os.path.join(scratch, "mmproj.gguf"), os.path.join(scratch, "out")
        for path in found:
            name = os.path.basename(os.path.dirname(path))
            keys, stored = gguf.read(path)
            tensors = in_f32(stored)
            gguf.write(mmproj, keys, packed(tensors, "f32"))
            want = rows_of(sys.argv[1], mmproj, out)
            for kind, limit in LIMITS.items():
                gguf.write(mmproj, keys, packed(tensors, kind))
                figure = nmse(rows_of(sys.argv[1], mmproj, out), want)
                ok = NOT_EXACT < figure <= limit
                n_failed += not ok
                print(f"{'ok    ' if ok else 'FAILED'} {name} {kind}: NMSE {figure:.2g}, limit {limit:g}")
    print(f"{len(found)} families, {n_failed} failed")
    return 1 if n_failed or len(found) < 9 else 0


if __name__ == "__main__":
    sys.exit(main())
