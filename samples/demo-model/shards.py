"""Reads the shards that generate.py writes."""
import glob
import json
import os
import random

import numpy as np
import torch


def shard_paths(folder, kind):
    paths = sorted(p for p in glob.glob(os.path.join(folder, kind + "*.npz")) if not p.endswith(".part.npz"))
    if not paths:
        raise SystemExit(f"{folder}: no {kind} shards (generate.py makes them)")
    return paths


def shard_read(path):
    """-> pictures uint8 [n][SIZE][SIZE][3], labels uint8 [n][PLANES][GRID][GRID], metas"""
    with np.load(path) as z, open(path[:-4] + ".json", encoding="utf-8") as f:
        return z["pictures"], z["labels"], json.load(f)


class Stream:
    """Endless batches of a kind, shuffled; shards that appear meanwhile are found at the next round."""

    def __init__(self, folder, kind, seed):
        self.folder, self.kind, self.rng = folder, kind, random.Random(seed)
        self.paths, self.order = [], []

    def next(self, n):
        """-> pictures and labels of n, metas"""
        if len(self.order) < n:
            if not self.paths:
                self.paths = shard_paths(self.folder, self.kind)
                self.rng.shuffle(self.paths)
            self.pictures, self.labels, self.metas = shard_read(self.paths.pop())
            self.order = self.rng.sample(range(len(self.metas)), len(self.metas))
        i, self.order = self.order[:n], self.order[n:]
        return torch.from_numpy(self.pictures[i]), torch.from_numpy(self.labels[i]), [self.metas[j] for j in i]
