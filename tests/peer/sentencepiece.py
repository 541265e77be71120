#!/usr/bin/env python3
"""ids against the original SentencePiece (Debian's python3-sentencepiece) on models that it trains here, with its own
rules of normalisation: Unigram and BPE, with and without byte tokens, space prefix and removal of spaces.

usage: sentencepiece.py OCELLUS [N]     N random texts for each model, each a call of `ocellus inspect tokens`

Skipped where the package is not installed.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

# This file has the module's name; Debian's module lies where Debian's python looks.
sys.path = [path for path in sys.path if path not in ("", os.path.dirname(os.path.abspath(__file__)))]
sys.path.append("/usr/lib/python3/dist-packages")
try:
    import sentencepiece
except ImportError as error:
    print(f"skipped: python3-sentencepiece is not installed ({error})")
    sys.exit(77)

MODELS = [
    ("unigram nmt_nfkc", {}),
    ("unigram nfkc_cf, bytes", {"byte_fallback": True, "normalization_rule_name": "nfkc_cf", "character_coverage": 0.98}),
    ("unigram, spaces stay", {"remove_extra_whitespaces": False, "add_dummy_prefix": False}),
    ("unigram across words", {"normalization_rule_name": "identity", "split_by_whitespace": False}),
    ("bpe nmt_nfkc", {"model_type": "bpe"}),
    ("bpe nfkc, bytes", {"model_type": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False}),
]
SPACES = " \t\n\u00a0\u2003\u3000\u200b\u2581\u0085"
ODD = ("\ufb01\ufb03\u00bd\u2460\uff21\uff22\uff43\uff11\uff76\uff9e\uac00\u1100\u1161\u3316\ufdfa\u00b4\u00a8\u00df\u0130\u03c2\x01\x7f\u00ad\u0301\u0308\u0327\u3099")


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """(number, value) of a protocol buffer's message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            n, at = (4, at) if key & 7 == 5 else varint(data, at)
            value, at = data[at : at + n], at + n
        yield key >> 3, value


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def write_gguf(path, model, is_unigram):
    pieces, spec = [], {}
    for number, value in fields(model):
        if number == 1:
            pieces.append({2: bytes(4), 3: 1, **dict(fields(value))})
        elif number == 3:
            spec = dict(fields(value))
    keys = {
        "tokenizer.ggml.model": (8, text("t5" if is_unigram else "llama")),
        "tokenizer.ggml.tokens": (9, struct.pack("<IQ", 8, len(pieces)) + b"".join(text(p[1]) for p in pieces)),
        "tokenizer.ggml.scores": (9, struct.pack("<IQ", 6, len(pieces)) + b"".join(p[2] for p in pieces)),
        "tokenizer.ggml.token_type": (9, struct.pack("<IQ", 5, len(pieces)) + struct.pack(f"<{len(pieces)}i", *(p[3] for p in pieces))),
        "tokenizer.ggml.unknown_token_id": (4, struct.pack("<I", 0)),
        "tokenizer.ggml.add_space_prefix": (7, bytes([spec.get(3, 1)])),
        "tokenizer.ggml.remove_extra_whitespaces": (7, bytes([spec.get(4, 1)])),
        "tokenizer.ggml.precompiled_charsmap": (9, struct.pack("<IQ", 0, len(spec.get(2, b""))) + spec.get(2, b"")),
    }
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)))
        for name, (kind, value) in keys.items():
            f.write(text(name) + struct.pack("<I", kind) + value)
        f.write(bytes(64))


def corpus():
    lines = []
    for name in ("README.md", "CONTRIBUTING.md", "LICENSE", "llm/README.md"):
        with open(name, encoding="utf-8") as f:
            lines += [line.strip() for line in f if line.strip()]
    return lines + ["\u3053\u3093\u306b\u3061\u306f \u4e16\u754c", "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "caf\u00e9 na\u00efve r\u00e9sum\u00e9"] * 5


def random_text(rng, lines):
    parts = []
    for _ in range(rng.randrange(1, 40)):
        kind = rng.random()
        line = rng.choice(lines)
        start = rng.randrange(len(line))
        high = rng.choice([0x100, 0x3000, 0x110000])
        parts.append(line[start : start + rng.randrange(1, 20)] if kind < 0.4 else
                     rng.choice(SPACES) * rng.randrange(1, 3) if kind < 0.6 else
                     rng.choice("aeo\u304b") + rng.choice(ODD) if kind < 0.9 else chr(rng.randrange(1, high)))
    return "".join(parts).encode("utf-8", "ignore")  # without surrogates


def main():
    ocellus, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 50
    rng, lines, n_failed = random.Random(1), corpus(), 0
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/corpus", "w", encoding="utf-8") as f:
            f.write("\n".join(lines))
        for name, options in MODELS:
            sentencepiece.SentencePieceTrainer.train(input=f"{folder}/corpus", model_prefix=f"{folder}/m", vocab_size=800,
                                                     hard_vocab_limit=False, minloglevel=2, **options)
            with open(f"{folder}/m.model", "rb") as f:
                write_gguf(f"{folder}/m.gguf", f.read(), "model_type" not in options)
            original = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/m.model")
            n_ok = 0
            for _ in range(n):
                want = random_text(rng, lines)
                with open(f"{folder}/text", "wb") as f:
                    f.write(want)
                got = subprocess.run([ocellus, "inspect", "tokens", "-m", f"{folder}/m.gguf", "--no-bos", "--file", f"{folder}/text"],
                                     capture_output=True, text=True, check=True)
                n_ok += json.loads(got.stdout)["ids"] == original.encode(want.decode())
            print(f"{name}: {n_ok} of {n} texts")
            n_failed += n_ok != n
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
