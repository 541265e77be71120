#!/usr/bin/env python3
"""Begins a new pair: a tokenizer for the questions, and weights at random.

begin.py DATA OUT [--vision-embd 192] [--vision-layer 6] [--n-embd 256] [--n-ff 512] [--vocabulary 1536]

DATA: shards of generate.py, whose pictures give the size and the statistics of patches. pretrain.py and train.py --new
go on from OUT.
"""
import argparse
import random
import re
from collections import Counter

import torch

from language import SYSTEM, questions, typed
from model import Model, vision_start
from pair import CONFIG, pair_write
from shards import shard_paths, shard_read
from talk import talk
from tokenizer import SPACE, tokenizer_train
from world import PATCH, WORDS

N_ASKED, N_START = 24000, 400
COMMON = """the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them these
so some her would make like him into time has look two more write go see number no way could people my than first water been
call who oil its now find long down day did get come made may part""".split()


def words_count(metas):
    """How often each word is said, in questions and answers; read text does not count, as it is never merged."""
    rng, counts = random.Random(7), Counter()
    for i in range(N_ASKED // 6):
        items = [talk(rng) for _ in range(6)] if i % 4 == 3 else questions(rng, rng.choice(metas))
        for _, question, answer in items:
            for text in (typed(rng, question), re.sub('"[A-Z0-9]+"', "", answer)):
                text = (" " + re.sub("[0-9]", "", text)).replace(" ", SPACE)
                counts.update(re.findall(f"{SPACE}?[A-Za-z]+|{SPACE}?[^A-Za-z{SPACE}]+", text))
    counts.update({SPACE + re.sub(r"\W", "", w): 3000 for w in SYSTEM.split()})
    counts.update({SPACE + w: 20 for w in COMMON})
    counts.update({SPACE + w: 6 for w in WORDS})
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    for name, value in CONFIG.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    parser.add_argument("--vocabulary", type=int, default=1536)
    o = parser.parse_args()
    torch.manual_seed(0)
    pictures, _, metas = shard_read(shard_paths(o.data, "mixed")[0])
    tokenizer = tokenizer_train(words_count(metas), o.vocabulary)
    config = {name: getattr(o, name) for name in CONFIG}
    config.update(image_size=pictures.shape[1], patch_size=PATCH, n_vocab=len(tokenizer.pieces))
    model = Model(config)
    vision_start(model.vision, torch.from_numpy(pictures[:N_START]))
    pair_write(o.out, model, tokenizer)
    print({name: f"{sum(p.numel() for p in m.parameters()) / 1e6:.2f} M" for name, m in model.named_children()})


if __name__ == "__main__":
    main()
