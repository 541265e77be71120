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
from labels import BACKGROUND, CENTRE, COLOR, COLUMN, GRID, LEFT, ORDER, PLACE, PLANES, RIGHT, ROW, SHAPE, UNCLEAR
from language import questions
from model import Language, Projector
from pair import LLM, MMPROJ, pair_read, pair_write
from pictures import dense_draw, picture_draw
from rows import N_ROW, Rows, batch, hidden, held_rows, picture_conversations
from sight import MATCH_BLOCKS, STRENGTH, language_start, projector_start, seen
from world import CHARACTERS, COLORS, SHAPES


def check_scene(meta, planes):
    for o in meta["objects"]:
        there = (planes[SHAPE] == 1 + SHAPES.index(o["shape"])) & (planes[COLOR] == 1 + COLORS.index(o["color"]))
        there &= (planes[ROW] == 1 + o["cell"][0]) & (planes[COLUMN] == 1 + o["cell"][1])
        assert there.any(), (o, planes[SHAPE])
    assert 1 <= planes[CENTRE].sum() <= len(meta["objects"])
    check_order(meta, planes)


def check_order(meta, planes):
    """A description names the shapes in the order of their labels."""
    describing = [answer for task, _, answer in questions(random.Random(1), meta) if task == "describe"]
    for answer in describing:
        named = [w for w in answer.replace(",", " ").replace(".", " ").split() if w in SHAPES]
        for i, shape in enumerate(named, 1):
            assert (planes[SHAPE][planes[ORDER] == i] == 1 + SHAPES.index(shape)).all(), (answer, planes[ORDER])


def check_text(meta, planes):
    """Each labelled patch's character is the one of its place in the text."""
    text = meta["text"].upper()
    labelled = planes[LEFT] > 0
    assert labelled.any() or planes[RIGHT].any()
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
            assert not np.delete(planes, BACKGROUND, 0).any()
        assert planes[BACKGROUND].any() == bool(meta["background"])
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
    patches = model.projector(model.vision(torch.from_numpy(pixels.copy())[None]))
    together, targets, _ = hidden(model, patches, [made], "cpu")
    at = 0
    for task, question, answer, _, n in made["asked"]:
        alone, ids, _ = hidden(model, patches, [rows.row(None, [[(task, question, answer)]], True)], "cpu")
        assert torch.equal(ids, targets[at : at + n])
        assert torch.allclose(alone, together[at : at + n], atol=1e-3), question
        at += n
    trained = [rows.row(rng, picture_conversations(rng, m), True) for m in metas]
    ids, positions, targets, _ = batch(trained, "cpu")
    assert ids.shape == positions.shape == targets.shape == (len(metas), N_ROW)


def check_projector(model):
    """A new projector finds the channels of what is seen in features that hold it, turned and mixed with noise."""
    torch.manual_seed(1)
    labels = torch.stack([torch.randint(0, n, (60, GRID, GRID)) for n in PLANES.values()], 1)
    labels[:5, ORDER] = UNCLEAR
    want = seen(labels)
    projector = Projector(model.config)
    d = projector.first.weight.shape[1]
    features = 5 * want @ torch.linalg.qr(torch.randn(d, d))[0][: want.shape[2]] + 0.1 * torch.randn(*want.shape[:2], d)
    shares = projector_start(projector, features, labels)
    assert shares.min() > 0.97, shares
    with torch.no_grad():
        got = projector(features)[..., : want.shape[2]]
    assert (got[want > 0].mean() - STRENGTH).abs() < 0.1 and got[want == 0].mean().abs() < 0.05


@torch.no_grad()
def check_words(model, tokenizer):
    """A new language model's word for a shape asks for that shape's patches."""
    language = Language(model.config)
    language_start(language, tokenizer)
    hd = language.blocks[0].hd
    block = language.blocks[MATCH_BLOCKS[0]]
    query, key = (block.qkv.weight[n * hd : (n + 1) * hd] for n in (0, block.n_head))
    for shape in SHAPES:
        labels = torch.zeros(1, len(PLANES), GRID, GRID, dtype=torch.uint8)
        labels[0, SHAPE] = (torch.arange(GRID * GRID) % (len(SHAPES) + 1)).view(GRID, GRID)
        patches = STRENGTH * seen(labels)[0]
        word = language.emb.weight[tokenizer.encode(shape)[0]]
        match = patches @ key[:, : patches.shape[1]].t() @ (query @ word)
        same = labels[0, SHAPE].flatten() == 1 + SHAPES.index(shape)
        assert match[same].min() > match[~same].max(), shape


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
    check_projector(model)
    check_words(model, tokenizer)
    check_answers()
    print("ok")


if __name__ == "__main__":
    main()
