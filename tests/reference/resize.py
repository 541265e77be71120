#!/usr/bin/env python3
"""Resizes of random pictures by Pillow: what tests/unit/vision/test_resize.c compares ours with.

usage: resize.py [FILE]. Writes the cases to FILE, or compares those of tests/vision/resize.txt with the Pillow that
is here; exit 77 without it. A line is one case: filter, width, height, resized width, resized height, and the
SHA-256 of the resized [height, width, 3] u8. The picture is made by formula from its size; most of it is smooth,
the rest noise up to full black and white, so that the filters overshoot and are cut.
"""
import hashlib
import os
import random
import sys

try:
    import numpy as np
    from PIL import Image
except ImportError:
    sys.exit(77)

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vision/resize.txt")
FILTERS = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS}
N_CASES = 20
LEAST, MOST = 16, 3000
PIXELS_MAX = 3 << 20


def picture(width, height):
    """[height, width, 3] u8: a linear congruential generator; every fourth line is noise, others change slowly."""
    n = 3 * width * height
    state = np.empty(n, np.uint32)
    x = width
    for start in range(0, n, 3 * width):  # one seed a line, so that a line's values are a closed form
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        state[start : start + 3 * width] = x
    i = np.arange(n, dtype=np.uint32)
    noise = (state + i * np.uint32(2654435761)) >> np.uint32(24)
    smooth = (state >> np.uint32(24)) // 2 + (i % np.uint32(3 * width)) * 127 // np.uint32(3 * width)
    line = i // np.uint32(3 * width)
    return np.where(line % 4 == 3, noise, smooth).astype(np.uint8).reshape(height, width, 3)


def odd_size(rng):
    """An odd side, small ones as likely as large ones."""
    return int(LEAST * (MOST / LEAST) ** rng.random()) | 1


def sizes():
    """(width, height, resized width, resized height) of every case, half of them smaller, half larger."""
    rng = random.Random(1)
    found = []
    while len(found) < N_CASES:
        w, h, to_w, to_h = (odd_size(rng) for _ in range(4))
        grows = to_w > w and to_h > h
        shrinks = to_w < w and to_h < h
        wanted = shrinks if len(found) % 2 else grows
        if wanted and w * h <= PIXELS_MAX and to_w * to_h <= PIXELS_MAX:
            found.append((w, h, to_w, to_h))
    return found


def lines():
    for w, h, to_w, to_h in sizes():
        image = Image.fromarray(picture(w, h))
        for name, code in FILTERS.items():
            resized = np.asarray(image.resize((to_w, to_h), code)).tobytes()
            yield f"{name} {w} {h} {to_w} {to_h} {hashlib.sha256(resized).hexdigest()}\n"


def main():
    if len(sys.argv) > 1:
        with open(sys.argv[1], "w", encoding="utf-8") as f:
            f.writelines(lines())
        return 0
    with open(CASES, encoding="utf-8") as f:
        stored = f.readlines()
    n_different = sum(a != b for a, b in zip(stored, lines(), strict=True))
    print(f"{len(stored)} resizes, {n_different} differ from this Pillow's")
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
