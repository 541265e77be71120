#!/usr/bin/env python3
"""BERT's WordPiece in the plainest way, from google-research/bert's tokenization.py and the order of steps of
Hugging Face's BertNormalizer: the reference of llm/tokenizer_wordpiece.c.

usage: wordpiece.py > tests/vocab/wordpiece.json      writes the stored cases
       wordpiece.py random SEED N > FILE              as many other texts
"""
import json
import random
import sys
import unicodedata

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["the", "play", "un", "cafe", "a", "b", "c", "e", "s", "x", "1", "20", ".", ",", "!", "$", "'", "-", "\u4e2d",
         "\u65e5", "\u00df", "\u03c3", "\u1112", "\u00b0", "\u00bf", "\u0434\u0430", "\U0001f600"]
TAILS = ["##ing", "##ed", "##s", "##aff", "##able", "##a", "##b", "##c", "##e", "##1", "##23", "##\u1161", "##\u11ab", "##\u0434\u0430"]
UNCASED = SPECIALS + WORDS + TAILS
CASED = SPECIALS + WORDS + TAILS + ["The", "Caf\u00e9", "##B", "\u00e9", "\u03a3"]
SPACES = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
CHINESE = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
           (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
TEXTS = [
    "", " ", "the", "The  play\tplayed plays\n", "unaffable", "unaffablx", "Caf\u00e9 cafe\u0301 CAF\u00c9", "the-play, $1.20!", "'s the's",
    "\u4e2d\u65e5\u4e2dthe", "\ud55c \ud558 \u1112\u1161\u11ab", "\u00df \u1e9e \u03a3 \u03c3 \u0130 \u212b", "a" * 100, "a" * 101, "a\u0301" * 101, "a\u200bb\u00adc \ufeffx",
    "a\x00b\x07c\x7fd", "b\u00a0c\u2028x\u3000e", "\ufffd\ufffd a", "\u0434\u0430 \u0414\u0410\u0434\u0430", "1 123 12320", "\U0001f600the\U0001f600", "[CLS] [UNK] [the]",
    "\u00b0 \u00bf \u00a7", "\uf900 \u2f801", "\u0344\u0301", "\u0958 \u0344x \U0001d160",
]


def clean(text):
    out = []
    for c in text:
        if c in "\t\n\r":
            out.append(" ")
        elif ord(c) != 0xFFFD and not unicodedata.category(c).startswith("C"):
            out.append(" " if ord(c) in SPACES else c)
    return "".join(out)


def pad_chinese(text):
    return "".join(f" {c} " if any(a <= ord(c) <= b for a, b in CHINESE) else c for c in text)


def strip_accents_and_lower(text):
    kept = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return "".join(c.lower() for c in kept)


def is_punctuation(c):
    return unicodedata.category(c).startswith("P") or (33 <= ord(c) <= 126 and not c.isalnum())


def split(text):
    for word in text.split():
        run = ""
        for c in word:
            if is_punctuation(c):
                yield from filter(None, (run, c))
                run = ""
            else:
                run += c
        if run:
            yield run


def pieces(vocab, word):
    if len(word) > 100:
        return ["[UNK]"]
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab and piece not in SPECIALS:
                break
        else:
            return ["[UNK]"]
        found.append(piece)
        start = end
    return found


def encode(tokens, uncased, text):
    text = pad_chinese(clean(text))
    text = strip_accents_and_lower(text) if uncased else text
    vocab = {token: i for i, token in enumerate(tokens)}
    return [vocab[piece] for word in split(text) for piece in pieces(vocab, word)]


def random_texts(seed, n):
    rng = random.Random(seed)
    known = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    few = list("   abcdeABs1'-.,\u0301\u4e2d\u00e9") + WORDS + [tail[2:] for tail in TAILS]
    for _ in range(n):
        yield "".join(rng.choice(few if rng.random() < 0.85 else known) for _ in range(rng.randrange(1, 30)))


def gguf_text(token):
    """As GGUF writes a token: what begins a word with a mark of a space, what goes on with one bare."""
    if token in SPECIALS:
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def main():
    texts = TEXTS if len(sys.argv) == 1 else list(random_texts(int(sys.argv[2]), int(sys.argv[3])))
    sets = []
    for tokens, uncased in ((UNCASED, True), (CASED, False)):
        cases = [{"text": text, "ids": encode(tokens, uncased, text)} for text in texts]
        types = [3 if token in SPECIALS else 1 for token in tokens]
        sets.append({"tokens": [gguf_text(token) for token in tokens], "types": types, "cases": cases})
    json.dump(sets, sys.stdout, separators=(",", ":"))
    print()


main()
