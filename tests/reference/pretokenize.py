#!/usr/bin/env python3
"""Cuts texts into words with the regular expressions that the models publish (tokenizer.json, tiktoken,
tekken.json), by the `regex` module of PyPI: the reference of llm/pretokenize.c.

usage: pretokenize.py > tests/vocab/pretokenize.json      writes the stored cases
       pretokenize.py random SEED N > FILE                as many other texts
"""
import json
import random
import sys
import unicodedata

import regex

GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PREFIX = r"[^\r\n\p{L}\p{N}]?"
GPT_4O = (f"{PREFIX}{UPPER}*{LOWER}+{SUFFIX}|{PREFIX}{UPPER}+{LOWER}*{SUFFIX}" + r"|\p{N}{1,3}" + O200K_TAIL)
TEKKEN = f"{PREFIX}{UPPER}*{LOWER}+|{PREFIX}{UPPER}+{LOWER}*" + r"|\p{N}" + O200K_TAIL
CASED = (
    r"A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕ\u1f18-\u1f1dἠ-ὅ\u1f48-\u1f4d"
    r"ὐ-ὗ\u1f59\u1f5b\u1f5d\u1f5f-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄ"
    r"Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
    r"\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
SCRIPTS = r"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DIGITS = r"\p{N}"

RULES = {
    "gpt-2": [GPT_2],
    "llama-bpe": [LLAMA % 3],
    "qwen2": [LLAMA.replace("{1,%d}", "")],
    "smollm": [DIGITS, GPT_2],
    "gpt-4o": [GPT_4O],
    "tekken": [TEKKEN],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASED}]+", r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$", SCRIPTS, r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", SCRIPTS, DIGITS],
    "starcoder": [DIGITS, GPT_2],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT_2, "[0-9][0-9][0-9]"],
    "mpt": [GPT_2],
    "refact": [DIGITS, GPT_2],
}

TEXTS = [
    "", " ", "   ", "\n", "\r\n\r\n", "\t x", "Hello  world", "I'll we'VE it'S don'T o'\u017f x'Re '", "'re", "''ll",
    "a1b22c333d4444e55555", "1234567890 12 345", "  12  ", "x = y;\n\n\n  return  // done\r\n", "a/b//c\n/", "!?\r\n/\n",
    "HTTPServer2XML iPhone ABC \u65e5ABC ABC\u65e5 ABC\u65e5x A\u0301B\u0301c", "\u0301\u0301x", ".\u0301X", "e\u0301 vs \u00e9",
    "na\u00efve caf\u00e9 \u2014 \u201cquotes\u201d \u2026", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3068\u4e2d\u6587\u3002\u3000\u3001x",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0415\u0429\u0401", "\U0001f600\U0001f469\u200d\U0001f467", "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8", "\u2163\u216b\u2460\u2461\u00bd", "\uff46\uff35\uff4c\uff4c\u3000\uff11\uff12\uff13",
    "a\u00a0b\u2003\u2028c", "tail  ", "\n  \n x  ", "$5.00 + 3^2 <= ~`|x", "\x00\x1c\x7f", "\u01c5\u02b0\u00aa\u0294",
    "user@example.com https://a.b/c?d=e&f=g", "\ufeff\u200b ", "\u202fx \u0bef\u0be7", "\U00010400\U0001e900 \U0001d7d8",
]


def words(rules, text):
    pieces = [text] if text else []
    for rule in rules:
        cut = []
        for piece in pieces:
            at = 0
            for match in regex.finditer(rule, piece):
                cut += [piece[at:match.start()], match.group()]
                at = match.end()
            cut.append(piece[at:])
        pieces = [piece for piece in cut if piece]
    return pieces


def random_texts(seed, n):
    rng = random.Random(seed)
    known = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    few = list(" \t\r\n'/.1aAsStTrReElLvVmMdD\u017f\u0301\u65e5\u00e9\u3000\u00a0") + [" ", "'", "\n"]
    for _ in range(n):
        yield "".join(rng.choice(few if rng.random() < 0.8 else known) for _ in range(rng.randrange(1, 40)))


def main():
    texts = TEXTS if len(sys.argv) == 1 else random_texts(int(sys.argv[2]), int(sys.argv[3]))
    cases = [{"text": text, "words": {name: words(rules, text) for name, rules in RULES.items()}} for text in texts]
    json.dump(cases, sys.stdout, indent=None, separators=(",", ":"))
    print()


main()
