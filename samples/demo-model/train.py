#!/usr/bin/env python3
"""Stage two: the whole pair learns to answer; the tower keeps its lessons on every patch.

train.py DATA OUT --start PAIR [--new] [--minutes 60] [--workers 2] ...

DATA: shards of generate.py (mixed, held); OUT gets the pair every few minutes. With --new the projector and the
language model start from nothing, the projector on whitened features.
"""
import argparse
import random
from collections import defaultdict

import torch
import torch.nn.functional as F

import trainer
from labels import LEFT, RIGHT
from model import Language, Projector, projector_start
from pair import pair_read
from pretrain import accuracies, heads_fit
from rows import Rows, held_rows, hidden, picture_conversations, right_answers, talk_conversations
from shards import Stream, shard_paths, shard_read

N_HELD = 160  # pictures looked at while training
TALK_SHARE = 0.06  # of the rows
HEADS_SHARE = 0.25  # of the heads' loss beside the answers'
# AdamW's and Muon's rates: the tower moves slowly, or what reads it cannot follow.
VISION_RATES, LANGUAGE_RATES = (4e-4, 0.003), (9e-4, 0.008)


def main(options, rank):
    torch.manual_seed(options.seed)
    model, tokenizer = pair_read(options.start)
    model.to(options.device)
    heads_fit(model, options.data, options.device)
    held_pictures, held_labels, metas = shard_read(shard_paths(options.data, "held")[0])
    held = torch.from_numpy(held_pictures[:N_HELD]).to(options.device)
    if options.new:
        model.projector, model.language = (m(model.config).to(options.device) for m in (Projector, Language))
        with torch.no_grad():
            projector_start(model.projector, model.vision(held))
    rows = Rows(tokenizer, model.vision.grid**2)
    stream = Stream(options.data, "mixed", options.seed * 100 + rank)
    rng = random.Random(options.seed * 100 + rank)
    n = options.batch // options.workers
    n_talk = max(1, round(TALK_SHARE * n))

    def step_loss(done):
        pictures, labels, some = stream.next(n)
        made = [rows.row(rng, picture_conversations(rng, meta), True) for meta in some]
        made += [rows.row(rng, talk_conversations(rng), False) for _ in range(n_talk)]
        features = model.vision(pictures.to(options.device))
        h, targets, _ = hidden(model, features, made, options.device)
        answers = F.cross_entropy(model.language.head(h), targets)
        patches, counts = model.heads(features, labels.to(options.device))
        read = counts[[LEFT, RIGHT]].sum(0)
        values = {"answers": answers.item(), "characters": (read[0] / read[1].clamp_min(1)).item()}
        return answers + HEADS_SHARE * patches, values

    @torch.no_grad()
    def evaluate():
        score = defaultdict(list)
        made = held_rows(rows, metas[:N_HELD])
        for i in range(0, N_HELD, 20):
            for row in right_answers(model, model.vision(held[i : i + 20]), made[i : i + 20], options.device):
                for task, right in row:
                    score[task].append(right)
        read = accuracies(model, held, torch.from_numpy(held_labels[:N_HELD]), options.device)
        text = " ".join(f"{task} {sum(s) / len(s):.2f}" for task, s in sorted(score.items()))
        return f"held-out answers: {text}; characters of patches {read[LEFT]:.3f}"

    groups = [(model.vision, *VISION_RATES), (model.heads, 1e-3, 0), (model.projector, LANGUAGE_RATES[0], 0)]
    groups += [(model.language, *LANGUAGE_RATES)]
    trainer.train(options, rank, model, tokenizer, groups, step_loss, evaluate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--start", required=True, help="the pair to go on from")
    parser.add_argument("--new", action="store_true", help="a new projector and language model")
    trainer.options_add(parser)
    trainer.launch(main, parser.parse_args())
