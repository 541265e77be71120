#!/usr/bin/env python3
"""Writes unicode_tables.h: what tokenizers need to know of each code point, from Python's unicodedata.

usage: make_unicode_tables.py > unicode_tables.h
"""
import unicodedata

# enum unicode_class of unicode.h.
UPPER, LOWER, OTHER_LETTER, MARK, NUMBER, PUNCTUATION, SPACE, CASED, CONTROL, ACCENT = (1 << bit for bit in range(10))
CLASSES = {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER, "Lm": OTHER_LETTER, "Lo": OTHER_LETTER, "Mn": MARK | ACCENT}
MAJOR_CLASSES = {"M": MARK, "N": NUMBER, "P": PUNCTUATION, "C": CONTROL}
HANGUL = range(0xAC00, 0xD7A4)  # syllables: they decompose by a formula

# The property White_Space, which unicodedata does not have (str.isspace counts U+001C to U+001F too).
SPACES = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}

# The letters that the word rule of DeepSeek LLM's tokenizer.json lists: code points, in hexadecimal.
CASED_LETTERS = """
    41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f 386 388-38a 38c
    38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b
    1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d
    1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102
    2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e
    2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e
    ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2
    10cc0-10cf2 118a0-118df 1e900-1e943
"""


def class_of(code_point, cased):
    category = unicodedata.category(chr(code_point))
    flags = CLASSES.get(category, MAJOR_CLASSES.get(category[0], 0))
    return flags | (SPACE if code_point in SPACES else 0) | (CASED if code_point in cased else 0)


def bare(code_point):
    """Its canonical decomposition without accents, in lower case."""
    decomposed = unicodedata.normalize("NFD", chr(code_point))
    return "".join(c.lower() for c in decomposed if unicodedata.category(c) != "Mn")


def bare_maps():
    """Runs (first, last, step, bare(first)) of one constant difference, and (code point, bare) of longer ones."""
    runs, longer = [], []
    for c in range(0x110000):
        text = bare(c) if c not in HANGUL and unicodedata.category(chr(c)) not in ("Mn", "Cs") else chr(c)
        if text == chr(c):
            continue
        if len(text) > 1:
            longer.append((c, text))
            continue
        to = ord(text)
        if runs:
            first, last, step, first_to = runs[-1]
            same = to - c == first_to - first
            if same and (c - last == step or (first == last and c - last == 2)):
                runs[-1] = (first, c, c - last, first_to)
                continue
        runs.append((c, c, 1, to))
    return runs, longer


def print_table(comment, declaration, items, per_line):
    print(f"\n{comment}\n// clang-format off\n{declaration} = {{")
    for i in range(0, len(items), per_line):
        print("    " + " ".join(f"{item}," for item in items[i:i + per_line]))
    print("};\n// clang-format on")


def main():
    cased = set()
    for span in CASED_LETTERS.split():
        first, _, last = span.partition("-")
        cased.update(range(int(first, 16), int(last or first, 16) + 1))
    runs, before = [], -1
    for code_point in range(0x110000):
        flags = class_of(code_point, cased)
        if flags != before:
            runs.append(code_point << 10 | flags)
            before = flags
    maps, longer = bare_maps()
    print(f"// Made by make_unicode_tables.py from Unicode {unicodedata.unidata_version}; do not edit.")
    print("#ifndef LLM_UNICODE_TABLES_H\n#define LLM_UNICODE_TABLES_H\n\n#include <stdint.h>")
    print_table("// Where a run of code points of one class begins: code point << 10 | enum unicode_class.",
                "static const uint32_t unicode_runs[]", [f"0x{run:08x}" for run in runs], 9)
    print_table("// Lower case without accents, where that is one other code point: for each step-th code point from first to\n"
                "// last it is as far from `to` as that is from first. first << 43 | last << 22 | (step - 1) << 21 | to.",
                "static const uint64_t unicode_bare_runs[]",
                [f"0x{first << 43 | last << 22 | (step - 1) << 21 | to:016x}" for first, last, step, to in maps], 5)
    print_table("// Where it is two or three: the code point, then those, 0 for none.",
                "static const uint32_t unicode_bare_longer[][4]",
                ["{" + ", ".join(f"0x{x:x}" for x in ([c] + [ord(t) for t in text] + [0])[:4]) + "}" for c, text in longer], 3)
    print("\n#endif")


main()
