#!/usr/bin/env python3
"""Stage two: the language model learns to answer.

train.py DATA OUT --start PAIR --labels [--language PAIR2] [--minutes 60] ...   the labels stand in for the tower
train.py DATA OUT --start PAIR [--language PAIR2] [--minutes 60] ...            the whole pair; the tower keeps its lessons

DATA: shards of generate.py (mixed, held); OUT gets the pair every few minutes. --labels needs no trained tower, so it may
run beside stage one; it begins a new language model, or goes on with that of PAIR2. Without --labels, --language joins
that language model, by a new projector, to the tower of PAIR.
"""
import argparse
import random
from collections import defaultdict

import torch
import torch.nn.functional as F

import trainer
from labels import LEFT, RIGHT
from model import Language, Projector
from pair import pair_read
from pretrain import accuracies, heads_fit
from rows import Rows, held_rows, hidden, picture_conversations, right_answers, talk_conversations
from shards import Stream, shard_paths, shard_read
from sight import labels_embed, language_start, projector_start

N_HELD, N_FIT = 160, 1200  # pictures looked at while training, and for a new projector
TALK_SHARE = 0.12  # of the rows
HEADS_SHARE = 0.25  # of the heads' loss beside the answers'
# AdamW's and Muon's rates: the tower moves slowly, or what reads it cannot follow.
VISION_RATES, LANGUAGE_RATES, NEW_LANGUAGE_RATES = (4e-4, 0.003), (9e-4, 0.008), (2e-3, 0.015)


def projector_new(model, options):
    pictures, labels, _ = Stream(options.data, "mixed", 0).next(N_FIT)
    with torch.no_grad():
        features = torch.cat([model.vision(p.to(options.device)) for p in pictures.split(100)])
    model.projector = Projector(model.config).to(options.device)
    shares = projector_start(model.projector, features, labels.to(options.device))
    print("new projector; the share of each channel's patches that it knows:", " ".join(f"{s:.2f}" for s in shares.tolist()))


def pair_begin(options):
    """-> the model and its tokenizer as training starts from them"""
    model, tokenizer = pair_read(options.start)
    model.to(options.device)
    if options.language:
        model.language = pair_read(options.language)[0].language.to(options.device)
    elif options.labels:
        model.language = Language(model.config).to(options.device)
        language_start(model.language, tokenizer)
    if options.labels:
        return model, tokenizer
    if options.language:
        projector_new(model, options)
    heads_fit(model, options.data, options.device)
    return model, tokenizer


def main(options, rank):
    torch.manual_seed(options.seed)
    model, tokenizer = pair_begin(options)
    torch.manual_seed(options.seed * 100 + rank)
    device, n_embd = options.device, model.config["n_embd"]
    held_pictures, held_labels, metas = (x[:N_HELD] for x in shard_read(shard_paths(options.data, "held")[0]))
    held_pictures, held_labels = (torch.from_numpy(x).to(device) for x in (held_pictures, held_labels))
    rows = Rows(tokenizer, model.vision.grid**2)
    stream = Stream(options.data, "mixed", options.seed * 100 + rank)
    rng = random.Random(options.seed * 100 + rank)
    n = options.batch // options.workers
    n_talk = max(1, round(TALK_SHARE * n))

    def step_loss(done):
        pictures, labels, some = stream.next(n)
        labels = labels.to(device)
        made = [rows.row(rng, picture_conversations(rng, meta), True) for meta in some]
        made += [rows.row(rng, talk_conversations(rng), False) for _ in range(n_talk)]
        features = None if options.labels else model.vision(pictures.to(device))
        patches = labels_embed(labels, n_embd) if options.labels else model.projector(features)
        h, targets, _ = hidden(model, patches, made, device)
        answers = F.cross_entropy(model.language.head(h), targets)
        if options.labels:
            return answers, {}
        lessons, counts = model.heads(features, labels)
        read = counts[[LEFT, RIGHT]].sum(0)
        values = {"answers": answers.item(), "characters": (read[0] / read[1].clamp_min(1)).item()}
        return answers + HEADS_SHARE * lessons, values

    @torch.no_grad()
    def evaluate():
        score = defaultdict(list)
        made = held_rows(rows, metas)
        for i in range(0, N_HELD, 20):
            part = slice(i, i + 20)
            seen = held_labels[part], n_embd
            patches = labels_embed(*seen) if options.labels else model.projector(model.vision(held_pictures[part]))
            for row in right_answers(model, patches, made[part], device):
                for task, right in row:
                    score[task].append(right)
        text = " ".join(f"{task} {sum(s) / len(s):.2f}" for task, s in sorted(score.items()))
        if options.labels:
            return f"held-out answers: {text}"
        return f"held-out answers: {text}; characters of patches {accuracies(model, held_pictures, held_labels, device)[LEFT]:.3f}"

    groups = [(model.language, *(NEW_LANGUAGE_RATES if options.labels else LANGUAGE_RATES))]
    if not options.labels:
        groups += [(model.vision, *VISION_RATES), (model.heads, 1e-3, 0), (model.projector, LANGUAGE_RATES[0], 0)]
    trainer.train(options, rank, model, tokenizer, groups, step_loss, evaluate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--start", required=True, help="the pair to go on from")
    parser.add_argument("--labels", action="store_true", help="the language model alone, from the labels")
    parser.add_argument("--language", help="another pair, whose language model it is")
    trainer.options_add(parser)
    trainer.launch(main, parser.parse_args())
