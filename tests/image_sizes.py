#!/usr/bin/env python3
"""Pictures of sizes that break others, through the encoder of every family: rows, or one line that says why not,
and the layout counts as many rows as there are; in little time and memory.

usage: image_sizes.py OCELLUS
"""
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
SIZES = [(1, 1), (2, 1), (14, 14), (13, 29), (1, 3000), (3000, 1), (20000, 1), (1, 20000), (65500, 10), (10, 65500),
         (65535, 1), (40, 8000), (4000, 3)]
SANITIZED = bool(os.environ.get("OCELLUS_SANITIZE"))
MEMORY_MAX_MB = 1500 if SANITIZED else 250
TIME_MAX_S = 120 if SANITIZED else 20
EXIT_IMAGE = 1


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height):
    """Stripes of colour: no two neighbouring pixels alike."""
    line = bytes((i * 37) % 251 for i in range(3 * width))
    lines = b"".join(b"\0" + bytes([y % 256]) + line[1:] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def run(command):
    """(exit code, standard error, seconds, most memory in MB)"""
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        child = subprocess.Popen(command, stderr=errors, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        return child.returncode, errors.read().decode(), time.monotonic() - start, usage.ru_maxrss / 1000


def check(ocellus, mmproj, image, out):
    """(what happened, seconds, MB); what happened begins with "error" where it should not have."""
    command = [ocellus, "inspect", "image", "--mmproj", mmproj, "--image", image, "--out", out, "--stage"]
    code, message, seconds, memory_mb = run([*command, "rows"])
    message = message.strip().split("\n")[-1]
    if code == EXIT_IMAGE and message.startswith("ocellus: image: "):
        return message, seconds, memory_mb
    if code:
        return f"error: exit {code}, {message}", seconds, memory_mb
    size_bytes = os.path.getsize(out)
    code, message, *_ = run([*command, "layout"])
    if code:
        return f"error: layout: exit {code}, {message.strip()}", seconds, memory_mb
    with open(out, encoding="utf-8") as f:
        n_rows = sum(item["rows"][1] for item in json.load(f) if "rows" in item)
    if n_rows == 0 or size_bytes % (4 * n_rows):
        return f"error: {size_bytes} bytes are not {n_rows} rows", seconds, memory_mb
    return f"{n_rows} rows", seconds, memory_mb


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: image_sizes.py OCELLUS")
    mmprojs = sorted(glob.glob(os.path.join(GOLDEN, "vision*/*/mmproj.gguf")))
    n_failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        image, out = os.path.join(scratch, "image.png"), os.path.join(scratch, "out")
        for i, (width, height) in enumerate(SIZES):
            with open(image, "wb") as f:
                f.write(png(width, height))
            for mmproj in mmprojs[i % 3 :: 3] if SANITIZED else mmprojs:  # a process takes ten times as long there
                what, seconds, memory_mb = check(sys.argv[1], mmproj, image, out)
                ok = not what.startswith("error") and seconds <= TIME_MAX_S and memory_mb <= MEMORY_MAX_MB
                n_failed += not ok
                print(f"{'ok    ' if ok else 'FAILED'} {os.path.relpath(os.path.dirname(mmproj), GOLDEN)} "
                      f"{width}x{height}: {what}; {seconds:.2f} s, {memory_mb:.0f} MB")
    print(f"{n_failed} failed; limits {TIME_MAX_S} s, {MEMORY_MAX_MB} MB")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
