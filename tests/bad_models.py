#!/usr/bin/env python3
"""Model files that are cut short or lie: `ocellus serve` must refuse each at start, with exit code 3 and one
line that names the tensor, or the file where no tensor is reached.

usage: bad_models.py OCELLUS
"""
import os
import struct
import subprocess
import sys
import tempfile

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../samples/demo")
TIMEOUT_S = 60
EXIT_MODEL = 3


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


def cases(data, tensor, last):
    """(name, bytes of the file, word that the message must contain)"""
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


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: bad_models.py OCELLUS")
    good = [os.path.join(DEMO, name) for name in ("demo-llm-f16.gguf", "demo-mmproj-f16.gguf")]
    tensors = [("blk.2.ffn_up.weight", "output.weight"), ("v.blk.1.attn_q.weight", "mm.2.bias")]
    n_failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        bad = os.path.join(scratch, "bad.gguf")
        for k, (tensor, last) in enumerate(tensors):
            with open(good[k], "rb") as f:
                data = f.read()
            arguments = ["-m", bad] if k == 0 else ["-m", good[0], "--mmproj", bad]
            for name, content, word in cases(data, tensor, last):
                with open(bad, "wb") as f:
                    f.write(content)
                code, message = serve(sys.argv[1], arguments)
                last = message.split("\n")[-1]
                ok = code == EXIT_MODEL and last.startswith("ocellus: ") and word in last
                n_failed += not ok
                print(f"{'ok    ' if ok else 'FAILED'} {os.path.basename(good[k])}, {name}: exit {code}, {last}")
    print(f"{n_failed} failed")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
