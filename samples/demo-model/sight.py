"""The language that the tower and the language model share from the start: one channel for each thing that can be seen.

An embedding row of a patch begins with a channel for each class of each plane of labels.py, then has one for each row and
column of patches, and for each whether the patch lies past it; what is left carries the tower's other features. Words begin in the same channels: "red" is where red
patches are. So the language model can learn from the labels themselves, while the tower still learns to see, and a new
projector translates the tower's features into these channels.
"""
import torch
import torch.nn.functional as F

from labels import GRID, PLANES, UNCLEAR
from world import BACKGROUNDS, CHARACTERS, COLORS, PLURAL, SHAPES

STRENGTH = 2.0  # of a channel where its thing is seen
REST = 0.3  # of the channels that stand for no label
KNEE = 4.0  # what the projector's GELU sees there: it passes 4 and stops -4
FIT_STEPS, FIT_RATE = 400, 0.03
WORD, OUTPUT = 2.0, 0.4  # of a word in its channels: as input, as output
MATCH, COPY = 1.7, 0.65  # of the heads that begin with comparing and copying channels


def channels():
    """-> {plane: its first channel}, how many there are"""
    first, n = {}, 0
    for name, n_classes in PLANES.items():
        first[name] = n
        n += n_classes - 1
    return first, n


FIRST, N_PLANES = channels()
N_CHANNELS = N_PLANES + 4 * GRID - 2


def seen(labels):
    """labels uint8 [B][PLANES][grid][grid] -> what is seen, 0 or 1: [B][grid * grid][N_CHANNELS]"""
    b, _, grid, _ = labels.shape
    labels = labels.flatten(2).long()
    planes = []
    for i, n in enumerate(PLANES.values()):
        plane = labels[:, i].masked_fill(labels[:, i] == UNCLEAR, 0)
        planes.append(F.one_hot(plane, n)[..., 1:])
    t, edges = torch.arange(grid * grid, device=labels.device), torch.arange(grid - 1, device=labels.device)
    row, column = t // grid, t % grid
    past = [(at[:, None] > edges).long() for at in (row, column)]
    where = torch.cat([F.one_hot(row, grid), F.one_hot(column, grid)] + past, -1)
    return torch.cat(planes + [where.expand(b, -1, -1)], -1).float()


def labels_embed(labels, n_embd):
    """What a tower that sees without error would say, with the unevenness of a real one: [B][grid * grid][n_embd]."""
    x = seen(labels)
    x = x * (STRENGTH + 0.4 * torch.randn_like(x)) + 0.2 * torch.randn_like(x).relu()
    rest = REST * torch.randn(*x.shape[:2], n_embd - x.shape[2], device=x.device)
    return torch.cat([x, rest], -1)


def projector_start(projector, features, labels):
    """Starts a new projector that translates a trained tower's features into the channels: a logistic regression for
    each, and whitened features, so that every direction comes through as strong, for the rest."""
    x, want = features.flatten(0, -2), seen(labels).flatten(0, 1)
    n, d, n_embd = want.shape[1], x.shape[1], projector.first.weight.shape[0]
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).t() @ (x - mean) / len(x))
    whiten = vectors @ torch.diag((values.clamp_min(0) + 1e-3 * values.mean()) ** -0.5)
    z = (x - mean) @ whiten
    weight = torch.zeros(d, n, device=x.device, requires_grad=True)
    bias = torch.full((n,), -3.0, device=x.device, requires_grad=True)
    adam = torch.optim.Adam([weight, bias], lr=FIT_RATE)
    for step in range(FIT_STEPS):
        adam.param_groups[0]["lr"] = FIT_RATE * (1 - step / FIT_STEPS)
        i = torch.randint(len(z), (8192,), device=x.device)
        loss = F.binary_cross_entropy_with_logits(torch.addmm(bias, z[i], weight), want[i], reduction="none").sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        logits = torch.addmm(bias, z, weight)
        height = (logits * want).sum(0) / want.sum(0).clamp_min(1)
        scale = KNEE / height.clamp_min(1)
        mix = torch.linalg.qr(torch.randn(d, n_embd - n, device=x.device))[0]
        whole = torch.cat([weight * scale, mix], 1).t() @ whiten.t()
        projector.first.weight.copy_(whole)
        projector.first.bias.copy_(torch.cat([bias * scale, torch.zeros(n_embd - n, device=x.device)]) - whole @ mean)
        hidden = F.gelu(projector.first(x))
        gain = torch.cat([torch.full((n,), STRENGTH / KNEE, device=x.device), REST / hidden[:, n:].std(0)])
        projector.second.weight.copy_(torch.diag(gain))
        offset = torch.cat([torch.zeros(n, device=x.device), hidden[:, n:].mean(0)])
        projector.second.bias.copy_(-gain * offset)
        return (((logits > 0) == (want > 0.5)) * want).sum(0) / want.sum(0).clamp_min(1)


def words():
    """[(word, its channels)]"""
    out = [(word, FIRST["shape"] + i) for i, shape in enumerate(SHAPES) for word in (shape, PLURAL[shape])]
    out += [(color, FIRST["color"] + i) for i, color in enumerate(COLORS)]
    out += [(name, FIRST["background"] + i) for i, name in enumerate(BACKGROUNDS[:3])]
    out += [("outlined", FIRST["filled"]), ("filled", FIRST["filled"] + 1)]
    out += [(word, FIRST["row"] + i) for i, word in enumerate(("top", "center", "bottom"))]
    return out + [(word, FIRST["column"] + i) for i, word in enumerate(("left", "center", "right"))]


def plane_channels(*names):
    return [FIRST[name] + i for name in names for i in range(PLANES[name] - 1)]


# Heads that look for what has something in common: the planes that are compared, those that are copied.
MATCHES = [
    (("shape",), ("color", "filled", "row", "column", "order")),
    (("color",), ("shape", "filled", "row", "column", "order")),
    (("place", "place_right"), ("left", "right")),
    (("left", "right"), ("place", "place_right")),
]
MATCH_BLOCKS = (1, 2, 3)


def head_match(block, n, compared, copied):
    """Lets the queries and keys of the n-th group of heads compare the classes of some planes, in the rotary pairs that
    turn least over a prompt's length, and its values copy others."""
    n_head, n_kv, hd, d = block.n_head, block.n_kv, block.hd, block.out.weight.shape[0]
    slow = [hd // 2 - 1 - i for i in range(hd // 4 - 1)]
    slow += [hd // 2 + i for i in slow]
    compare = torch.zeros(hd, d)
    for name in compared:
        for i, channel in enumerate(plane_channels(name)):
            compare[slow[i % len(slow)], channel] = MATCH
    copied = plane_channels(*copied)
    copy = torch.zeros(hd, d)
    n_most = max(hd, len(copied))
    copy[:, copied] = COPY * torch.linalg.qr(torch.randn(n_most, n_most))[0][:hd, : len(copied)]
    rows = block.qkv.weight.view(n_head + 2 * n_kv, hd, d)
    for q in range(n * n_head // n_kv, (n + 1) * n_head // n_kv):
        rows[q] = compare
        block.out.weight[:, q * hd : (q + 1) * hd] = copy.t()
    rows[n_head + n], rows[n_head + n_kv + n] = compare, copy


@torch.no_grad()
def language_start(language, tokenizer):
    """Puts the words for what can be seen into its channels, and into some heads what brings both together: the word
    circle finds the patches of circles, and takes over their colour and their place."""
    language.emb.weight[:, :N_CHANNELS] *= 0.1
    at = [(tokenizer.encode(word), channel) for word, channel in words()]
    at = [(ids[0], channel) for ids, channel in at if len(ids) == 1]
    at += [(tokenizer.id[c], FIRST[side] + i) for i, c in enumerate(CHARACTERS) for side in ("left", "right")]
    for token, channel in at:
        language.emb.weight[token, channel] += WORD
        language.head.weight[token, channel] += OUTPUT
    for block in (language.blocks[i] for i in MATCH_BLOCKS):
        for n, (compared, copied) in enumerate(MATCHES):
            head_match(block, n, compared, copied)
