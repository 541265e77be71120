"""Rows of training: one picture, and behind it independent conversations that a mask keeps from seeing each other.

A row is BOS, the system line, " USER: ", the picture's patches, then each conversation at the same positions. So one
pass over the picture teaches many questions.
"""
import random

import torch

from language import SYSTEM, questions, typed
from talk import talk
from tokenizer import BOS, EOS, FIRST_BYTE, SPACE

N_ROW = 208  # tokens
READING = ("describe", "describe_text", "number", "word", "letters")
IGNORED = -1  # a target that is not learned
# How much sooner a task is chosen than another: what is learned late more often, what is learned early seldom.
WEIGHTS = {
    "relation": 3, "filled": 2, "size": 8, "which": 3, "count_kind": 2, "position": 1.5, "describe": 2,
    "number": 3, "word": 5, "letters": 5, "length": 2, "kind": 2, "noshape": 2, "notext": 2, "yesno": 0.8, "color": 0.4,
    "shape": 0.4, "text_color": 0.3, "background": 0.3,
}  # fmt: skip
SYSTEMS = [
    SYSTEM + " The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "You are a helpful assistant.",
    "",
]


class Rows:
    def __init__(self, tokenizer, n_patches):
        self.encode = tokenizer.encode
        self.n_patches = n_patches
        self.user, self.assistant = self.encode("USER:"), self.encode("ASSISTANT:")
        self.space, self.newline = tokenizer.id[SPACE], FIRST_BYTE + ord("\n")

    def head(self, rng, with_picture):
        """-> ids up to the question (0 for each patch), and where the patches begin"""
        system = SYSTEM if rng is None or rng.random() < 0.88 else rng.choice(SYSTEMS)
        ids = [BOS] + self.encode(system)
        if not with_picture:
            return ids, None
        # The engine's chat template leaves a space before the picture; other clients may not.
        ids += self.user + ([self.space] if rng is None or rng.random() < 0.8 else [])
        return ids + [0] * self.n_patches, len(ids)

    def turn(self, rng, question, after_picture):
        if not after_picture:
            return self.user + self.encode(question) + self.assistant
        u = rng.random() if rng else 0
        if u < 0.55:
            return [self.space, self.newline] + self.encode(question, False) + self.assistant
        if u < 0.85:
            return [self.newline] + self.encode(question, False) + self.assistant
        return self.encode(question) + self.assistant

    def row(self, rng, conversations, with_picture):
        """conversations: lists of (task, question, answer). rng None: no variations.

        -> {ids part positions targets: N_ROW each; picture: where its patches begin; asked: [(task, question, answer,
        first target's index, number of targets)]}. What does not fit is left out."""
        ids, picture = self.head(rng, with_picture)
        n_head = len(ids)
        parts, positions, targets, asked = [0] * n_head, list(range(n_head)), [IGNORED] * n_head, []
        for number, conversation in enumerate(conversations, 1):
            talk_ids, talk_targets, talk_asked = [], [], []
            for i, (task, question, answer) in enumerate(conversation):
                lead = self.turn(rng, question, with_picture and i == 0)
                said = self.encode(answer) + [EOS]
                if len(ids) + len(talk_ids) + len(lead) + len(said) > N_ROW:
                    break
                talk_asked.append((task, question, answer, len(ids) + len(talk_ids) + len(lead) - 1, len(said)))
                talk_ids += lead + said
                talk_targets += [IGNORED] * (len(lead) - 1) + said + [IGNORED]
            ids += talk_ids
            parts += [number] * len(talk_ids)
            positions += range(n_head, n_head + len(talk_ids))
            targets += talk_targets
            asked += talk_asked
        rest = N_ROW - len(ids)
        return {
            "ids": ids + [0] * rest,
            "part": parts + [-1] * rest,
            "positions": positions + [0] * rest,
            "targets": targets + [IGNORED] * rest,
            "picture": picture,
            "asked": asked,
        }


def conversations(rng, items, more):
    """Items as conversations of one to three turns: with probability `more` the next one goes on with the last."""
    out = []
    for task, question, answer in items:
        item = task, typed(rng, question), answer
        if out and len(out[-1]) < 3 and rng.random() < more:
            out[-1].append(item)
        else:
            out.append([item])
    return out


def picture_conversations(rng, meta, n_most=10):
    """A picture's questions in training, drawn twice and chosen by WEIGHTS; reading and describing first, as they hold
    most; some small talk between."""
    items = questions(rng, meta) + questions(rng, meta)
    items.sort(key=lambda item: rng.random() ** (1 / WEIGHTS.get(item[0], 1)), reverse=True)
    items = items[:n_most]
    if rng.random() < 0.5:
        items.sort(key=lambda item: item[0] not in READING)
        items = items[:2] + rng.sample(items[2:], len(items) - 2)
    if rng.random() < 0.15:
        items.insert(rng.randint(0, 2), talk(rng, True))
    return conversations(rng, items[:n_most], 0.2)


def talk_conversations(rng, n=12):
    return conversations(rng, [talk(rng) for _ in range(n)], 0.3)


def batch(rows, device):
    """Rows -> tensors: ids, positions, targets [B][N_ROW], and the additive mask [B][1][N_ROW][N_ROW]."""
    ids, part, positions, targets = (torch.tensor([r[k] for r in rows], device=device) for k in ("ids", "part", "positions", "targets"))
    earlier = torch.ones(N_ROW, N_ROW, dtype=torch.bool, device=device).tril()
    seen = earlier & ((part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None]))
    mask = torch.zeros(len(rows), 1, N_ROW, N_ROW, device=device).masked_fill_(~seen[:, None], -1e9)
    return ids, positions, targets, mask


def hidden(model, patches, rows, device):
    """The language model over rows, those with pictures first; patches: their embeddings [n][patches][n_embd].

    -> (hidden states, targets) of the learned tokens, and where in [B * N_ROW] they stand"""
    ids, positions, targets, mask = batch(rows, device)
    x = model.language.emb(ids)
    n = len(patches)
    where = torch.tensor([r["picture"] for r in rows[:n]], device=device)[:, None]
    where = where + torch.arange(patches.shape[1], device=device)
    x = x.index_put((torch.arange(n, device=device)[:, None].expand_as(where), where), patches.to(x.dtype))
    h = model.language(x, positions, mask)
    learned = (targets != IGNORED).flatten().nonzero().squeeze(1)
    return h.flatten(0, 1)[learned], targets.flatten()[learned], learned


@torch.no_grad()
def right_answers(model, patches, rows, device):
    """For each row, [(task, whether the whole answer and its end are what greedy decoding gives)]."""
    h, targets, learned = hidden(model, patches, rows, device)
    right = torch.zeros(len(rows) * N_ROW, dtype=torch.bool, device=device)
    right[learned] = model.language.head(h).argmax(-1) == targets
    right = right.view(len(rows), N_ROW).cpu()
    return [[(task, bool(right[i, at : at + n].all())) for task, _, _, at, n in r["asked"]] for i, r in enumerate(rows)]


def held_rows(rows, metas, seed=1):
    """One row for each picture: its questions, each alone."""
    out = []
    for i, meta in enumerate(metas):
        rng = random.Random(seed * 1000003 + i)
        items = questions(rng, meta)
        rng.shuffle(items)
        out.append(rows.row(None, [[item] for item in items], True))
    return out
