#!/usr/bin/env python3
"""Draws pictures with their labels into shards.

generate.py FOLDER [--kind mixed|dense|easy|held] [--shards 30] [--pictures 3000] [--jobs 2]

A shard is FOLDER/KINDnnn.npz (pictures, labels) and .json (what is in each picture). Shards that are there are kept.
mixed: what the questions are about; dense: many shapes or letters for the vision tower; easy: dense, black on white;
held: mixed from seeds that training never sees, for evaluation.
"""
import argparse
import json
import multiprocessing
import os
import random
import time

import numpy as np

from pictures import dense_draw, picture_draw

SEEDS = {"mixed": 1_000_000, "dense": 2_000_000, "easy": 3_000_000, "held": 9_000_000}


def shard_write(job):
    path, kind, n, seed = job
    rng = random.Random(seed)
    drawn = [dense_draw(rng, kind == "easy") if kind in ("dense", "easy") else picture_draw(rng) for _ in range(n)]
    with open(path + ".json", "w", encoding="utf-8") as f:
        json.dump([meta for _, meta, _ in drawn], f)
    np.savez(path + ".part.npz", pictures=np.stack([p for p, _, _ in drawn]), labels=np.stack([x for _, _, x in drawn]))
    os.replace(path + ".part.npz", path + ".npz")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder")
    options.add_argument("--kind", choices=SEEDS, default="mixed")
    options.add_argument("--shards", type=int, default=30)
    options.add_argument("--pictures", type=int, default=3000)
    options.add_argument("--jobs", type=int, default=2)
    o = options.parse_args()
    os.makedirs(o.folder, exist_ok=True)
    paths = [os.path.join(o.folder, f"{o.kind}{i:03d}") for i in range(o.shards)]
    jobs = [
        (path, o.kind, o.pictures, SEEDS[o.kind] + i) for i, path in enumerate(paths) if not os.path.exists(path + ".npz")
    ]
    start = time.time()
    with multiprocessing.Pool(o.jobs) as pool:
        for done, _ in enumerate(pool.imap_unordered(shard_write, jobs), 1):
            left = (time.time() - start) / done * (len(jobs) - done)
            print(f"{done} of {len(jobs)} shards, {left:.0f} s left", flush=True)


if __name__ == "__main__":
    main()
