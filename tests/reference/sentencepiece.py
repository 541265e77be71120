#!/usr/bin/env python3
"""SentencePiece in the plainest way: its normaliser with a charsmap made here, and its Unigram and BPE models; the
reference of llm/normalise.c, llm/tokenizer_unigram.c and llm/bpe.c. Written from Kudo 2018 and from the description
of the format (Darts-clone's double array). ocellus and Debian's python3-sentencepiece agree: tests/peer/sentencepiece.py.

usage: sentencepiece.py > tests/vocab/sentencepiece.json      writes the stored cases
       sentencepiece.py random SEED N > FILE                  as many other texts
"""
import json
import random
import struct
import sys
import unicodedata

MARK = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNKNOWN_PENALTY = 10


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


# ---- the charsmap ----


def rules():
    """What NFKC does to some letters, ligatures and marks; spaces of all kinds; control characters deleted."""
    found = {}
    for c in [*range(0xA0, 0x180), *range(0x300, 0x345), *range(0x1100, 0x1113), *range(0x3041, 0x3100),
              *range(0xFB00, 0xFB07), *range(0xFF01, 0xFFA0), 0x2126, 0x2460, 0x3316, 0xFDFA, 0x1D400]:
        for text in (chr(c), unicodedata.normalize("NFD", chr(c))):
            if unicodedata.normalize("NFKC", text) != text:
                found[text] = unicodedata.normalize("NFKC", text)
    for c in [*range(1, 9), *range(0xE, 0x20), 0x7F, 0xAD, 0x200B]:
        found[chr(c)] = ""
    for c in [9, 10, 13, 0xA0, 0x2003, 0x3000]:
        found[chr(c)] = " "
    return found


def double_array(values):
    """{key bytes: number} -> the units of a trie: the child by byte c of unit i stands at i ^ offset(i) ^ c."""
    units, used, bases = {0: 0}, {0}, set()
    waiting = [(0, b"")]
    tree = {}
    for key in values:
        for n in range(len(key)):
            tree.setdefault(key[:n], set()).add(key[n])
    lowest = 0
    while waiting:
        at, prefix = waiting.pop(0)
        labels = sorted(tree.get(prefix, ())) + ([0] if prefix in values else [])
        base = lowest
        # A base of its own: by the same one a unit would find the other's children.
        while base in bases or any(base ^ c in used for c in labels) or not fits(at ^ base):
            base += 1
        bases.add(base)
        units[at] |= packed(at ^ base)
        for c in labels:
            used.add(base ^ c)
            units[base ^ c] = c
            if c:
                waiting.append((base ^ c, prefix + bytes([c])))
        if prefix in values:
            units[at] |= 1 << 8
            units[base] = values[prefix] | 1 << 31
        while all(i in used for i in range(lowest, lowest + 16)):
            lowest += 16
    size = (max(units) | 0xFF) + 1
    unused = 0xFF  # a label that no text has
    return [units.get(i, unused) for i in range(size)]


def fits(offset):
    return offset < 1 << 21 or (offset % 256 == 0 and offset < 1 << 29)


def packed(offset):
    return offset << 10 if offset < 1 << 21 else offset >> 8 << 10 | 1 << 9


def charsmap(found):
    texts, starts = b"", {}
    for text in sorted(set(found.values())):
        starts[text] = len(texts)
        texts += text.encode() + b"\0"
    units = double_array({key.encode(): starts[text] for key, text in found.items()})
    trie = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(trie)) + trie + texts


# ---- the normaliser ----


def places(text, found):
    """What stands for each place of the text: bytes that are no UTF-8 were decoded to lone surrogates."""
    longest = max(map(len, found), default=0)
    at = 0
    while at < len(text):
        n = next((n for n in range(min(longest, len(text) - at), 0, -1) if text[at : at + n] in found), 0)
        if n:
            yield found[text[at : at + n]]
        else:
            yield "\ufffd" if 0xDC80 <= ord(text[at]) <= 0xDCFF else text[at]
        at += n or 1


def normalise(text, model):
    out, drop = "", model["remove_spaces"]
    if model["add_space"] and text:
        out = MARK
    for place in places(text, model["rules"]):
        place = place.lstrip(" ") if drop else place
        if place:
            out += place.replace(" ", MARK)
            drop = model["remove_spaces"] and place.endswith(" ")
    if model["remove_spaces"]:
        while out.endswith(MARK):
            out = out[:-1]
    return out


# ---- the models ----


def unigram(text, model):
    """[(piece, is it known)] by Viterbi; sums in f32, compared in f64."""
    scores = model["pieces"]
    unknown = f32(f32(min(scores.values())) - UNKNOWN_PENALTY)
    longest = max(map(len, scores))
    best = [(0.0, 0, True)] + [None] * len(text)
    for at in range(len(text)):
        before = best[at][0]
        offers = [(text[at:end], end) for end in range(at + 1, min(len(text), at + longest) + 1)]
        offers = [(scores[piece] + before, end, True) for piece, end in offers if piece in scores]
        if all(end != at + 1 for _, end, _ in offers):
            offers.append((f32(unknown + before), at + 1, False))
        for score, end, known in offers:
            if best[end] is None or score > best[end][0]:
                best[end] = (f32(score), at, known)
    pieces, end = [], len(text)
    while end:
        _, start, known = best[end]
        pieces.append((text[start:end], known))
        end = start
    return pieces[::-1]


def bpe(text, model):
    scores = model["pieces"]
    symbols = list(text)
    while True:
        pairs = [(-scores[a + b], i) for i, (a, b) in enumerate(zip(symbols, symbols[1:])) if a + b in scores]
        if not pairs:
            return [(s, s in scores) for s in symbols]
        i = min(pairs)[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


def encode_plain(text, model):
    ids, after_unknown = [], False
    for piece, known in (unigram if model["model"] == "t5" else bpe)(normalise(text, model), model):
        if known:
            ids.append(model["ids"][piece])
        elif model["bytes"]:
            ids += [model["ids"][f"<0x{byte:02X}>"] for byte in piece.encode()]
        elif not after_unknown:
            ids.append(model["ids"]["<unk>"])
        after_unknown = not known and not model["bytes"]
    return ids


def encode(text, model):
    """Cut at user-defined tokens first, as the wrappers do that a file's user-defined tokens come from."""
    ids = []
    while (at := text.find("<sep>")) >= 0:
        ids += encode_plain(text[:at], model) + [model["ids"]["<sep>"]]
        text = text[at + 5 :]
    return ids + encode_plain(text, model)


# ---- vocabularies and texts ----

WORDS = ("the of and to a in is it that for was on are as with his they at be this from i have or by one had not but "
         "what all were when we there can an your which their said if do will each about how up out them then she many "
         "some so these would other into has more her two like him see time could no make than first been its who now "
         "people my made over did down only way find use may water long little very after words called just where most "
         "know \u0434\u0430 \u043d\u0435\u0442 \u65e5\u672c \u30ab\u30d5\u30a7 \u30ad\u30ed caf\u00e9 \u00e9t\u00e9 \u00fcber fi office abc 123 \uac00\uac01").split()
CHARS = "abcdefghijklmnopqrstuvwxyzABC0123456789.,!?'()-\u00e9\u00e8\u00fc\u00df\u0434\u0430\u043d\u65e5\u672c\u30ab\u30ac\u30d1\uac00\u2126\u0301 ".replace(" ", MARK)


def make_model(model, seed, has_bytes, add_space, remove_spaces, found):
    rng = random.Random(seed)
    pieces = {c: 0 for c in CHARS}
    for word in WORDS:
        for _ in range(4):
            start = rng.randrange(len(word))
            piece = word[start : start + rng.randrange(2, 8)]
            pieces[MARK + piece if rng.random() < 0.5 else piece] = 0
        pieces[MARK + word] = 0
    pieces[MARK * 2] = pieces["of" + MARK + "the"] = 0
    if model == "llama":  # a merge must be of two pieces
        for piece in list(pieces):
            for n in range(2, len(piece)):
                pieces[piece[:n]] = 0
        pieces = {piece: -float(i) for i, piece in enumerate(sorted(pieces, key=len))}
    else:
        pieces = {piece: f32(-rng.uniform(3, 5) - 2 * (len(piece) == 1)) for piece in pieces}
    tokens = [("<unk>", 0, UNKNOWN), ("<s>", 0, CONTROL), ("</s>", 0, CONTROL), ("<sep>", 0, USER_DEFINED)]
    if has_bytes:
        tokens += [(f"<0x{byte:02X}>", 0, BYTE) for byte in range(256)]
    tokens += [(piece, score, NORMAL) for piece, score in pieces.items()]
    tokens += [("wor", 0, UNUSED)]
    return {"model": model, "bytes": has_bytes, "add_space": add_space, "remove_spaces": remove_spaces, "rules": found,
            "pieces": pieces, "ids": {token[0]: i for i, token in enumerate(tokens)}, "tokens": tokens}


def models():
    found = rules()
    yield make_model("t5", 1, False, True, True, found)
    yield make_model("t5", 2, True, False, False, found)
    yield make_model("t5", 3, True, True, True, {})
    yield make_model("llama", 4, True, True, True, found)
    yield make_model("llama", 5, False, False, False, found)


TEXTS = [
    "", " ", "   ", "the", " the ", "the  of \t\n the", "of the of the", "the<sep>of", "the <sep> of", "<sep><sep>", "<s>the</s>",
    "\uff34\uff28\uff25 \uff41\uff42\uff43\uff11\uff12\uff13", "o\ufb03ce \ufb01nd", "cafe\u0301 caf\u00e9 e\u0300", "a\u0301\u0308\u0327", "a\x01b\x7fc\u200bd", "\u3316\ufdfa", "\uff76\uff9e\u30ab\u3099",
    "\x01", " \x01 ", "\x01 a", "\u00a8 \u00b4x", "\u2581", "the\u2581", "\u2581 \u2581of", "\U0001f600\U0001f601the\U0001f600", "\u4e2d\u4e2d \u4e2d", "\u3000the\u2003of\u00a0",
    "word wor words", "\uac00\uac01\u1100\u1161", "the\udcffof\udce2\udc96", "<0x41>", "a" * 60, "\u2126\U0001d400\u2460",
]


def random_texts(seed, n):
    rng = random.Random(seed)
    keys = list(rules())
    for _ in range(n):
        text = ""
        for _ in range(rng.randrange(1, 12)):
            kind = rng.random()
            if kind < 0.4:
                text += rng.choice(WORDS)
            elif kind < 0.6:
                text += rng.choice(["  ", " ", " ", "\n", "\u3000", MARK, "<sep>"])
            elif kind < 0.8:
                text += rng.choice(keys)
            elif kind < 0.9:
                text += rng.choice(CHARS)
            else:
                c = rng.choice([0x100, 0x3000, 0x10000, 0x110000])
                text += "".join(chr(x) for x in [rng.randrange(1, c)] if not 0xD800 <= x < 0xE000)
        yield text


def hexadecimal(text):
    return text.encode("utf-8", "surrogateescape").hex()


def main():
    texts = TEXTS + list(random_texts(5, 40)) if len(sys.argv) == 1 else list(random_texts(int(sys.argv[2]), int(sys.argv[3])))
    sets = []
    for model in models():
        cases = [[hexadecimal(text), encode(text, model)] for text in texts
                 if model["model"] == "t5" or not any("\udc80" <= c <= "\udcff" for c in text)]
        sets.append({"model": model["model"], "add_space": model["add_space"], "remove_spaces": model["remove_spaces"],
                     "has_rules": bool(model["rules"]),
                     "tokens": [token[0] for token in model["tokens"]], "scores": [token[1] for token in model["tokens"]],
                     "types": [token[2] for token in model["tokens"]], "cases": cases})
    json.dump({"charsmap": charsmap(rules()).hex(), "sets": sets}, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
