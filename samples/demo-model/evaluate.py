#!/usr/bin/env python3
"""Scores of a pair, from the engine itself: the share of whole answers that are exactly right.

evaluate.py OCELLUS PAIR DATA [--each 100] [--llm FILE] [--torch 0] [--shard 1] [--out scores.json]

The pictures are of a held-out shard of generate.py, the small talk in wordings that training never saw, the drawings
those of drawings/ (draw.mjs made them). --torch N answers the first N of each task in torch, too, and says how many
answers are the same; --llm takes another language model file, as `ocellus quantize` makes.
"""
import argparse
import json
import os
import random
import subprocess
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from answer import Answerer, picture_read
from language import questions
from pair import LLM, MMPROJ
from shards import shard_paths, shard_read
from talk import talk_held

DRAWINGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drawings")
TIMEOUT_S = 60
# Task of the table, and what it asks for.
REACH = {
    "color": 0.95, "shape": 0.95, "count 1-2": 0.95, "count 3-4": 0.90, "filled": 0.95, "yesno": 0.92, "position": 0.92,
    "relation": 0.92, "number": 0.95, "word": 0.90, "letters": 0.80, "describe 1-2": 0.85, "describe 3-4": 0.65,
    "drawings": 0.85, "talk": 0.90, "unknown": 0.90,
}  # fmt: skip


def group(task, meta):
    """The row of the table that a question belongs to."""
    if task in ("count", "describe"):
        return f"{task} {'1-2' if len(meta['objects']) < 3 else '3-4'}"
    return task


def held_out(data, shard, n_each, folder):
    """-> {group: [(picture file, question, answer)]}; writes the pictures into folder"""
    pictures, _, metas = shard_read(shard_paths(data, "held")[shard])
    rng, asked = random.Random(20), defaultdict(list)
    for i, (pixels, meta) in enumerate(zip(pictures, metas)):
        path = os.path.join(folder, f"{i}.png")
        for task, question, answer in questions(rng, meta):
            if len(asked[group(task, meta)]) < n_each:
                asked[group(task, meta)].append((path, question, answer))
                if not os.path.exists(path):
                    Image.fromarray(pixels).save(path)
    for _ in range(2 * n_each):
        task, question, answer = talk_held(rng)
        asked[task].append((None, question, answer))
    return asked


def drawings():
    with open(os.path.join(DRAWINGS, "drawings.json"), encoding="utf-8") as f:
        return [(os.path.join(DRAWINGS, d["image"]), d["question"], d["answer"]) for d in json.load(f)]


def engine_answer(command, picture, question):
    command = command + (["--image", picture] if picture else []) + [question]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)["answer"].strip()


def torch_answers(pair, items):
    a = Answerer(pair)
    return [a.answer(None if p is None else picture_read(p, a.size), question) for p, question, _ in items]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ocellus")
    parser.add_argument("pair")
    parser.add_argument("data")
    parser.add_argument("--each", type=int, default=100, help="questions of each task, at most")
    parser.add_argument("--llm", help="a language model file in place of the pair's own")
    parser.add_argument("--torch", type=int, default=0, help="questions of each task to answer in torch, too")
    parser.add_argument("--shard", type=int, default=1, help="which held-out shard (training looks at number 0)")
    parser.add_argument("--out", help="writes the scores and every wrong answer as JSON")
    o = parser.parse_args()
    llm, mmproj = o.llm or os.path.join(o.pair, LLM), os.path.join(o.pair, MMPROJ)
    command = [o.ocellus, "run", "--json", "--temperature", "0", "-t", "1", "-m", llm, "--mmproj", mmproj]
    result, wrong, n_same, n_both = {}, [], 0, 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as threads:
        asked = held_out(o.data, o.shard, o.each, folder)
        asked["drawings"] = drawings()
        for name, items in sorted(asked.items()):
            answers = list(threads.map(lambda item: engine_answer(command, *item[:2]), items))
            right = [given == want for given, (_, _, want) in zip(answers, items)]
            result[name] = {"share": round(float(np.mean(right)), 4), "n": len(items), "reach": REACH.get(name)}
            wrong += [[name, i[1], i[2], given] for given, i in zip(answers, items) if given != i[2]]
            both = torch_answers(o.pair, items[: o.torch])
            n_same, n_both = n_same + sum(x == y for x, y in zip(both, answers)), n_both + len(both)
            print(f"| {name} | {result[name]['share']:.3f} | {len(items)} | {REACH.get(name, '')} |", flush=True)
    if n_both:
        print(f"torch and the engine give the same answer {n_same} of {n_both} times")
    if o.out:
        with open(o.out, "w", encoding="utf-8") as f:
            json.dump({"scores": result, "torch": [n_same, n_both], "wrong": wrong}, f, indent=1)


if __name__ == "__main__":
    main()
