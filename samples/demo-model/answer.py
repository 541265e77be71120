#!/usr/bin/env python3
"""Answers with the pair in torch: the reference that the engine's answers are compared with.

answer.py PAIR IMAGE|- QUESTION
"""
import sys

import numpy as np
import torch
from PIL import Image

from language import SYSTEM
from model import Past
from pair import pair_read
from tokenizer import BOS, EOS
from world import PAD_RGB

N_MOST = 80  # tokens


def picture_read(path, size):
    """Preprocessing of the engine: padded to a square with the mean colour, bicubic to size x size."""
    image = Image.open(path).convert("RGB")
    side = max(image.size)
    square = Image.new("RGB", (side, side), PAD_RGB)
    square.paste(image, ((side - image.size[0]) // 2, (side - image.size[1]) // 2))
    return np.array(square.resize((size, size), Image.BICUBIC))


class Answerer:
    def __init__(self, pair):
        self.model, self.tokenizer = pair_read(pair)
        self.size = self.model.vision.size

    @torch.no_grad()
    def embeddings(self, pixels, question):
        encode, emb = self.tokenizer.encode, self.model.language.emb
        if pixels is None:
            return emb(torch.tensor([BOS] + encode(f"{SYSTEM} USER: {question} ASSISTANT:")))
        before = emb(torch.tensor([BOS] + encode(SYSTEM + " USER: ")))
        patches = self.model.projector(self.model.vision(torch.from_numpy(pixels)[None]))[0]
        return torch.cat([before, patches, emb(torch.tensor(encode(f"\n{question} ASSISTANT:")))])

    @torch.no_grad()
    def answer(self, pixels, question):
        """pixels: uint8 [size][size][3] or None -> the greedy answer"""
        language = self.model.language
        x, out, at = self.embeddings(pixels, question)[None], [], 0
        past = [Past() for _ in language.blocks]
        while len(out) < N_MOST:
            n = x.shape[1]
            mask = torch.full((n, at + n), -1e9).triu(at + 1)[None, None]
            h = language(x, torch.arange(at, at + n)[None], mask, past)
            at += n
            token = int(language.head(h[:, -1]).argmax())
            if token == EOS:
                break
            out.append(token)
            x = language.emb(torch.tensor([[token]]))
        return self.tokenizer.decode(out).strip()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    a = Answerer(sys.argv[1])
    print(a.answer(None if sys.argv[2] == "-" else picture_read(sys.argv[2], a.size), sys.argv[3]))
