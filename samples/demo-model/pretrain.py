#!/usr/bin/env python3
"""Stage one: the vision tower alone learns what stands in each patch. Go on until characters are read (> 0.8).

pretrain.py DATA OUT --start PAIR [--easy] [--minutes 60] [--workers 2] [--bf16] ...

DATA: shards of generate.py (dense, mixed, held); OUT gets the pair every few minutes. --easy begins with pictures of the
kind "easy", which a new tower needs.
"""
import argparse
import random

import torch

import trainer
from labels import LEFT, PLANES, RIGHT
from pair import pair_read
from shards import Stream, shard_paths, shard_read

N_HELD = 600
EASY_UNTIL, EASY_SHARE = 0.25, 0.7  # of the time, of the steps
RATES = 1e-3, 0.012  # AdamW's, Muon's
N_FIT, FIT_STEPS, FIT_BATCH, FIT_RATE = 1000, 150, 64, 1e-2


def heads_fit(model, data, device):
    """New heads on the tower as it is, so that their first errors do not disturb it."""
    pictures, labels, _ = Stream(data, "mixed", 0).next(N_FIT)
    pictures, labels = pictures.to(device), labels.to(device)
    with torch.no_grad():
        features = torch.cat([model.vision(pictures[i : i + FIT_BATCH]) for i in range(0, N_FIT, FIT_BATCH)])
    adam = torch.optim.Adam(model.heads.parameters(), lr=FIT_RATE)
    for step in range(FIT_STEPS):
        i = torch.randint(N_FIT, (FIT_BATCH,), generator=torch.Generator().manual_seed(step)).to(device)
        loss, _ = model.heads(features[i], labels[i])
        adam.zero_grad()
        loss.backward()
        adam.param_groups[0]["lr"] = FIT_RATE * (1 - step / FIT_STEPS)
        adam.step()
    adam.zero_grad(set_to_none=True)


@torch.no_grad()
def accuracies(model, pictures, labels, device, batch=100):
    """The share of patches with something there that the heads name right, by plane."""
    counts = 0
    for i in range(0, len(pictures), batch):
        features = model.vision(pictures[i : i + batch].to(device))
        counts = counts + model.heads(features, labels[i : i + batch].to(device))[1]
    return counts[:, 0] / counts[:, 1]


def main(options, rank):
    torch.manual_seed(options.seed)
    model, tokenizer = pair_read(options.start)
    model.to(options.device)
    heads_fit(model, options.data, options.device)
    streams = {k: Stream(options.data, k, options.seed * 100 + rank) for k in ("easy", "dense", "mixed")}
    rng = random.Random(options.seed)
    pictures, labels, _ = shard_read(shard_paths(options.data, "held")[0])
    held = torch.from_numpy(pictures[:N_HELD]), torch.from_numpy(labels[:N_HELD])
    n = options.batch // options.workers

    def step_loss(done):
        easy = options.easy and done < EASY_UNTIL and rng.random() < EASY_SHARE
        kind = "easy" if easy else "dense" if rng.random() < 0.55 - 0.25 * done else "mixed"
        pictures, labels, _ = streams[kind].next(n)
        loss, counts = model.heads(model.vision(pictures.to(options.device)), labels.to(options.device))
        read = counts[[LEFT, RIGHT]].sum(0)
        return loss, {"characters": (read[0] / read[1]).item()} if read[1] else {}

    def evaluate():
        shares = accuracies(model, *held, options.device)
        return "held-out patches: " + ", ".join(f"{name} {x:.3f}" for name, x in zip(PLANES, shares.tolist()))

    groups = [(model.vision, *RATES), (model.heads, RATES[0], 0)]
    trainer.train(options, rank, model, tokenizer, groups, step_loss, evaluate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--start", required=True, help="the pair to go on from (begin.py makes a new one)")
    parser.add_argument("--easy", action="store_true", help="easy pictures first")
    trainer.options_add(parser)
    trainer.launch(main, parser.parse_args())
