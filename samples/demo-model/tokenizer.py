"""The tokenizer: SentencePiece BPE as llama.cpp reads it ("llama"), and how its pieces are chosen.

Capitals and digits are never merged, save in the turn markers: read text comes out letter by letter.
"""
import re
from collections import Counter

SPACE = "\u2581"
N_SPECIAL = 259  # <unk>, <s>, </s> and one token for each byte
BOS, EOS, FIRST_BYTE = 1, 2, 3
MARKERS = [SPACE + "USER:", SPACE + "ASSISTANT:", SPACE + '"', '".']  # always one piece


class Tokenizer:
    def __init__(self, pieces):
        self.pieces = pieces
        self.id = {p: i for i, p in enumerate(pieces)}
        self.scores = [0.0] * N_SPECIAL + [-float(i) for i in range(len(pieces) - N_SPECIAL)]
        self.cache = {}

    def word(self, w):
        """The pair of pieces with the best score is merged first, the leftmost of equals; strange characters are bytes."""
        if w not in self.cache:
            parts = list(w)
            while len(parts) > 1:
                ids = [self.id.get(a + b, len(self.pieces)) for a, b in zip(parts, parts[1:])]
                i = min(range(len(ids)), key=ids.__getitem__)
                if ids[i] == len(self.pieces):
                    break
                parts[i : i + 2] = [parts[i] + parts[i + 1]]
            self.cache[w] = [
                n for p in parts for n in ([self.id[p]] if p in self.id else [FIRST_BYTE + b for b in p.encode()])
            ]
        return self.cache[w]

    def encode(self, text, prefix=True):
        """prefix: a space before the text, as SentencePiece adds. No piece holds a space but at its start."""
        if not text:
            return []
        text = ((" " if prefix else "") + text).replace(" ", SPACE)
        return [i for w in re.findall(f"{SPACE}?[^{SPACE}]*", text) if w for i in self.word(w)]

    def decode(self, ids):
        data = b""
        for i in ids:
            if i >= N_SPECIAL:
                data += self.pieces[i].replace(SPACE, " ").encode()
            elif i >= FIRST_BYTE:
                data += bytes([i - FIRST_BYTE])
        return data.decode("utf-8", "replace")


def may_merge(a, b):
    if b[0].isupper() and a != SPACE:
        return False
    return (a + b).replace(SPACE, "").isalpha() or set(a + b) <= set("?.,!:'+-*=" + SPACE)


def merge(parts, a, b):
    i = 0
    while i < len(parts) - 1:
        if parts[i] == a and parts[i + 1] == b:
            parts[i : i + 2] = [a + b]
        i += 1


def tokenizer_train(counts, size):
    """counts: {word with its leading SPACE: how often}. Merges the most frequent neighbours until there are `size` pieces."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    characters = [chr(c) for c in range(33, 127)] + [SPACE]
    merged = []
    words = [(list(w), n) for w, n in counts.items()]
    for marker in MARKERS:
        for i in range(1, len(marker)):
            if marker[: i + 1] not in merged:
                merged.append(marker[: i + 1])
            for parts, _ in words:
                merge(parts, marker[:i], marker[i])
    while len(merged) < size - len(pieces) - len(characters):
        pairs = Counter()
        for parts, n in words:
            for a, b in zip(parts, parts[1:]):
                if may_merge(a, b):
                    pairs[a, b] += n
        if not pairs:
            break
        (a, b), _ = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))
        merged.append(a + b)
        for parts, _ in words:
            merge(parts, a, b)
    return Tokenizer(pieces + list(dict.fromkeys(merged)) + characters)
