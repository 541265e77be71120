#!/usr/bin/env python3
"""The demo model's training programs: pictures and labels agree, a pair survives reading and writing, no conversation
of a row sees another, and the bundled pair answers in torch as samples.json says.

usage: demo_model.py. Skipped where torch or Pillow are not installed.
"""
import json
import os
import random
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "samples/demo-model"))
DEMO = os.path.join(ROOT, "samples/demo")
SKIPPED = 77
N_ANSWERS = 12

try:
    import numpy as np
    import torch
    import PIL  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

from answer import Answerer, picture_read
from gguf import gguf_read
from labels import CENTRE, COLOR, LEFT, PLACE, SHAPE
from pair import LLM, MMPROJ, pair_read, pair_write
from pictures import dense_draw, picture_draw
from rows import N_ROW, Rows, batch, hidden, held_rows, picture_conversations
from world import CHARACTERS, COLORS, SHAPES


def check_scene(meta, planes):
    for o in meta["objects"]:
        there = (planes[SHAPE] == 1 + SHAPES.index(o["shape"])) & (planes[COLOR] == 1 + COLORS.index(o["color"]))
        assert there.any(), (o, planes[SHAPE])
    assert 1 <= planes[CENTRE].sum() <= len(meta["objects"])


def check_text(meta, planes):
    """Each labelled patch's character is the one of its place in the text."""
    text = meta["text"].upper()
    labelled = planes[LEFT] > 0
    assert labelled.any()
    for character, place in zip(planes[LEFT][labelled], planes[PLACE][labelled]):
        assert CHARACTERS[character - 1] == text[place - 1], (text, character, place)


def check_pictures():
    rng, metas = random.Random(11), []
    for _ in range(120):
        pixels, meta, planes = picture_draw(rng)
        metas.append(meta)
        if meta["kind"] == "scene":
            check_scene(meta, planes)
        elif meta["kind"] == "text":
            check_text(meta, planes)
        else:
            assert not planes.any()
    assert {m["kind"] for m in metas} == {"scene", "text", "none"}
    assert all(dense_draw(rng, easy)[2].any() for easy in (True, False))
    return pixels, metas


def check_round_trip(model, tokenizer):
    with tempfile.TemporaryDirectory() as folder:
        pair_write(folder, model, tokenizer)
        for name in (LLM, MMPROJ):
            _, want = gguf_read(os.path.join(DEMO, name))
            _, got = gguf_read(os.path.join(folder, name))
            assert want.keys() == got.keys()
            assert all(np.array_equal(want[k], got[k]) for k in want), name
    larger, _ = pair_read(DEMO, 2 * model.vision.size)
    assert larger.vision.pos.shape[0] == 4 * model.vision.grid**2 + 1


@torch.no_grad()
def check_rows(model, tokenizer, pixels, metas):
    """A question's hidden states are the same alone and among others behind one picture."""
    rows = Rows(tokenizer, model.vision.grid**2)
    rng = random.Random(3)
    meta = next(m for m in metas if m["kind"] == "scene" and len(m["objects"]) > 2)
    made = held_rows(rows, [meta])[0]
    assert len(made["asked"]) > 3
    features = model.vision(torch.from_numpy(pixels.copy())[None])
    together, targets, _ = hidden(model, features, [made], "cpu")
    at = 0
    for task, question, answer, _, n in made["asked"]:
        alone, ids, _ = hidden(model, features, [rows.row(None, [[(task, question, answer)]], True)], "cpu")
        assert torch.equal(ids, targets[at : at + n])
        assert torch.allclose(alone, together[at : at + n], atol=1e-3), question
        at += n
    trained = [rows.row(rng, picture_conversations(rng, m), True) for m in metas]
    ids, positions, targets, _ = batch(trained, "cpu")
    assert ids.shape == positions.shape == targets.shape == (len(metas), N_ROW)


def check_answers():
    a = Answerer(DEMO)
    with open(os.path.join(DEMO, "samples.json"), encoding="utf-8") as f:
        samples = json.load(f)
    for s in random.Random(5).sample(samples, N_ANSWERS):
        got = a.answer(picture_read(os.path.join(DEMO, s["image"]), a.size), s["question"])
        assert got == s["answer"], (s, got)


def main():
    torch.set_num_threads(1)
    pixels, metas = check_pictures()
    model, tokenizer = pair_read(DEMO)
    check_round_trip(model, tokenizer)
    check_rows(model, tokenizer, pixels, metas)
    check_answers()
    print("ok")


if __name__ == "__main__":
    main()
