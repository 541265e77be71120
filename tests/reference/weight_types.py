#!/usr/bin/env python3
"""Blocks of the weight types that no golden model has, with their values in float64 by the published layouts.

usage: weight_types.py FOLDER. Writes FOLDER/TYPE.blocks (random bits, the same at every run) and
FOLDER/TYPE.f32, which tests/unit/compute/test_quant.c reads. Run from the repository root: the grids, which
are tables and no arithmetic, come from src/compute/quant_grids.c.

mxfp4: OCP Microscaling Formats (MX) Specification 1.0: 32 elements of e2m1 share a scale of e8m0. A file
packs elements i and i + 16 into byte i. iq1 to iq3: ggml's block formats.

The values were confirmed with ggml (commit d99724f2): its dequantize_row functions give the same bits, except
that ggml takes the NaN of e8m0 for a number.
"""
import array
import os
import random
import re
import struct
import sys

N_BLOCKS = 8
GRIDS = "src/compute/quant_grids.c"


def grid(name, levels):
    """Rows of values: 8 of 2 bits or 4 of 4 bits in each u16."""
    with open(GRIDS, encoding="utf-8") as f:
        body = re.search(r"quant_%s_grid\[\d+\] = \{(.*?)\}" % name, f.read(), re.S).group(1)
    bits = 4 if len(levels) == 8 else 2
    rows = [int(word, 16) for word in re.findall(r"0x[0-9a-f]+", body)]
    return [[levels[row >> at & ((1 << bits) - 1)] for at in range(0, 16, bits)] for row in rows]


IQ2_LEVELS, IQ1_LEVELS = (8, 25, 43), (-1, 0, 1)
IQ3_XXS_LEVELS, IQ3_S_LEVELS = (4, 12, 20, 28, 36, 44, 52, 62), (1, 3, 5, 7, 9, 11, 13, 15)


def f16(block, at):
    return struct.unpack_from("<e", block, at)[0]


def bits_of(block, at, n_bytes):
    return int.from_bytes(block[at:at + n_bytes], "little")


def signed(row, signs):
    return [-v if signs >> i & 1 else v for i, v in enumerate(row)]


def even_signs(seven):
    """The eighth sign makes the number of minus signs even."""
    return seven | (bin(seven).count("1") & 1) << 7


def e2m1(code):
    """Sign, 2 bits of exponent with bias 1, 1 bit of mantissa; no infinity, no NaN."""
    exponent, mantissa = code >> 1 & 3, code & 1
    magnitude = mantissa * 0.5 if exponent == 0 else (1 + mantissa * 0.5) * 2.0 ** (exponent - 1)
    return -magnitude if code & 8 else magnitude


def mxfp4(block):
    scale = float("nan") if block[0] == 255 else 2.0 ** (block[0] - 127)
    return [scale * e2m1(byte & 15) for byte in block[1:]] + [scale * e2m1(byte >> 4) for byte in block[1:]]


def iq2_xxs(block):
    rows, values = grid("iq2_xxs", IQ2_LEVELS), []
    for at in range(2, 66, 8):
        signs = bits_of(block, at + 4, 4)
        d = f16(block, 0) * (0.5 + (signs >> 28)) / 4
        for i in range(4):
            values += [d * v for v in signed(rows[block[at + i]], even_signs(signs >> 7 * i & 127))]
    return values


def iq2_xs(block):
    rows, values = grid("iq2_xs", IQ2_LEVELS), []
    for i in range(32):
        word, scale = bits_of(block, 2 + 2 * i, 2), block[66 + i // 4] >> 4 * (i // 2 % 2) & 15
        d = f16(block, 0) * (0.5 + scale) / 4
        values += [d * v for v in signed(rows[word & 511], even_signs(word >> 9))]
    return values


def iq2_s(block):
    rows, values = grid("iq2_s", IQ2_LEVELS), []
    for i in range(32):
        row = block[2 + i] | (block[66 + i // 4] >> 2 * (i % 4) & 3) << 8
        d = f16(block, 0) * (0.5 + (block[74 + i // 4] >> 4 * (i // 2 % 2) & 15)) / 4
        values += [d * v for v in signed(rows[row], block[34 + i])]
    return values


def iq3_xxs(block):
    rows, values = grid("iq3_xxs", IQ3_XXS_LEVELS), []
    for i in range(32):
        signs = bits_of(block, 66 + 4 * (i // 4), 4)
        d = f16(block, 0) * (0.5 + (signs >> 28)) / 2
        row = rows[block[2 + 2 * i]] + rows[block[3 + 2 * i]]
        values += [d * v for v in signed(row, even_signs(signs >> 7 * (i % 4) & 127))]
    return values


def iq3_s(block):
    rows, values = grid("iq3_s", IQ3_S_LEVELS), []
    for i in range(32):
        d = f16(block, 0) * (1 + 2 * (block[106 + i // 8] >> 4 * (i // 4 % 2) & 15))
        row = []
        for k in (2 * i, 2 * i + 1):
            row += rows[block[2 + k] | (block[66 + k // 8] >> k % 8 & 1) << 8]
        values += [d * v for v in signed(row, block[74 + i])]
    return values


def iq1_s(block):
    rows, values = grid("iq1", IQ1_LEVELS), []
    for i in range(32):
        high = bits_of(block, 34 + 2 * (i // 4), 2)
        d, shift = f16(block, 0) * (2 * (high >> 12 & 7) + 1), -0.125 if high >> 15 else 0.125
        values += [d * (v + shift) for v in rows[block[2 + i] | (high >> 3 * (i % 4) & 7) << 8]]
    return values


def iq1_m(block):
    rows, values = grid("iq1", IQ1_LEVELS), []
    words = struct.unpack_from("<4H", block, 48)
    d = struct.unpack("<e", struct.pack("<H", sum((word >> 12) << 4 * i for i, word in enumerate(words))))[0]
    for i in range(32):
        high, scale = block[32 + i // 2] >> 4 * (i % 2) & 15, words[i // 8] >> 3 * (i // 2 % 4) & 7
        shift = -0.125 if high & 8 else 0.125
        values += [d * (2 * scale + 1) * (v + shift) for v in rows[block[i] | (high & 7) << 8]]
    return values


# Type: bytes of a block, values of a block.
TYPES = {"mxfp4": (17, mxfp4), "iq2_xxs": (66, iq2_xxs), "iq2_xs": (74, iq2_xs), "iq2_s": (82, iq2_s),
         "iq3_xxs": (98, iq3_xxs), "iq3_s": (110, iq3_s), "iq1_s": (50, iq1_s), "iq1_m": (56, iq1_m)}


def random_block(rng, name, size):
    block = bytearray(rng.randbytes(size))
    if name == "mxfp4":
        return block
    scale = struct.pack("<e", rng.uniform(-0.1, 0.1))
    if name == "iq1_m":
        for i in range(4):
            block[49 + 2 * i] = block[49 + 2 * i] & 15 | (scale[i // 2] >> 4 * (i % 2) & 15) << 4
    else:
        block[:2] = scale
    return block


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: weight_types.py FOLDER")
    for name, (size, values_of) in TYPES.items():
        rng = random.Random(name)
        blocks = [random_block(rng, name, size) for _ in range(N_BLOCKS)]
        if name == "mxfp4":  # all codes, at the ends of the scale's range and in its middle
            codes = bytes(low | (15 - low) << 4 for low in range(16))
            blocks += [bytearray([e]) + codes for e in (0, 1, 2, 3, 127, 252, 255)]
        values = array.array("f", [v for block in blocks for v in values_of(block)])
        if sys.byteorder == "big":
            values.byteswap()
        with open(os.path.join(sys.argv[1], name + ".blocks"), "wb") as f:
            f.write(b"".join(blocks))
        with open(os.path.join(sys.argv[1], name + ".f32"), "wb") as f:
            values.tofile(f)


if __name__ == "__main__":
    main()
