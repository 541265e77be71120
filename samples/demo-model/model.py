"""The demo model: a CLIP vision tower, a projector, and a llama language model, with the names of their GGUF tensors.

Shapes: B pictures or rows, T tokens, D channels, H heads. Vision and language tensors are float32 [B][T][D].
The element-wise functions have their derivatives written out: on a CPU they cost as much as the products.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from labels import PLANES, UNCLEAR

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
EPS = 1e-5
ROPE_BASE = 10000.0
N_CTX = 1024


class QuickGelu(torch.autograd.Function):
    """x sigmoid(1.702 x)"""

    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(x * 1.702)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, grad):
        x, s = ctx.saved_tensors
        return (1 - s).mul_(x).mul_(1.702).add_(1).mul_(s).mul_(grad)


class SiluTimes(torch.autograd.Function):
    """gate sigmoid(gate) up"""

    @staticmethod
    def forward(ctx, gate, up):
        s = torch.sigmoid(gate)
        ctx.save_for_backward(gate, up, s)
        return (gate * s).mul_(up)

    @staticmethod
    def backward(ctx, grad):
        gate, up, s = ctx.saved_tensors
        return (1 - s).mul_(gate).add_(1).mul_(s).mul_(up).mul_(grad), (gate * s).mul_(grad)


class RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + EPS) * weight"""

    @staticmethod
    def forward(ctx, x, weight):
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(EPS).rsqrt_()
        n = x * r
        ctx.save_for_backward(n, r, weight)
        return n * weight

    @staticmethod
    def backward(ctx, grad):
        n, r, weight = ctx.saved_tensors
        g = grad * weight
        dot = (g * n).mean(-1, keepdim=True)
        return g.addcmul_(n, dot, value=-1).mul_(r), (grad * n).flatten(0, -2).sum(0)


# ---- vision ----


class VisionBlock(nn.Module):
    def __init__(self, d, n_head, n_ff, n_layer):
        super().__init__()
        self.n_head = n_head
        self.ln1, self.ln2 = nn.LayerNorm(d, eps=EPS), nn.LayerNorm(d, eps=EPS)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, n_ff), nn.Linear(n_ff, d)
        for m in (self.qkv, self.up):
            nn.init.normal_(m.weight, std=0.05)
        for m in (self.out, self.down):
            nn.init.normal_(m.weight, std=0.1 / math.sqrt(2 * n_layer))
        for m in (self.qkv, self.out, self.up, self.down):
            nn.init.zeros_(m.bias)
        # Queries equal to keys: at first a patch looks at patches like itself, its neighbours.
        with torch.no_grad():
            self.qkv.weight[d : 2 * d] = self.qkv.weight[:d]

    def forward(self, x):
        b, t, d = x.shape
        h, hd = self.n_head, d // self.n_head
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, h, hd).permute(2, 0, 3, 1, 4).reshape(3, b * h, t, hd).unbind(0)
        a = torch.bmm(q * hd**-0.5, k.transpose(1, 2)).softmax(-1)
        a = torch.bmm(a, v).view(b, h, t, hd).transpose(1, 2).reshape(b, t, d)
        x = x + self.out(a)
        return x + self.down(QuickGelu.apply(self.up(self.ln2(x))))


class Vision(nn.Module):
    """Pictures uint8 [B][size][size][3] -> patch features [B][GRID * GRID][n_embd]: the last block's, without norm."""

    def __init__(self, c):
        super().__init__()
        self.size, self.patch_size = c["image_size"], c["patch_size"]
        self.grid = self.size // self.patch_size
        d = c["vision_embd"]
        self.cls = nn.Parameter(torch.randn(d) * 0.5)
        self.patch = nn.Linear(3 * self.patch_size**2, d, bias=False)
        self.pos = nn.Parameter(torch.randn(self.grid**2 + 1, d) * 0.3)
        self.pre = nn.LayerNorm(d, eps=EPS)
        self.blocks = nn.ModuleList(
            VisionBlock(d, c["vision_head"], c["vision_ff"], c["vision_layer"]) for _ in range(c["vision_layer"])
        )
        mean, std = torch.tensor(MEAN), torch.tensor(STD)
        self.register_buffer("scale", 1 / (255 * std), False)
        self.register_buffer("shift", -mean / std, False)

    def patches(self, pictures):
        """[B][GRID * GRID][3 * patch * patch], in the order of a convolution's kernel: channel, row, column."""
        g, p = self.grid, self.patch_size
        x = pictures.float() * self.scale + self.shift
        return x.view(-1, g, p, g, p, 3).permute(0, 1, 3, 5, 2, 4).reshape(-1, g * g, 3 * p * p)

    def forward(self, pictures):
        x = self.patch(self.patches(pictures))
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], 1) + self.pos
        x = self.pre(x)
        for block in self.blocks:
            x = block(x)
        return x[:, 1:]


@torch.no_grad()
def vision_start(vision, pictures):
    """Starts a new tower where a plateau of 20,000 pictures is left sooner: whitened patches, sine positions.

    The patch embedding takes the patches' principal components, partly whitened, so that strokes weigh as much as
    flat colour; the positions are two-dimensional sines spread over all channels."""
    x = vision.patches(pictures).flatten(0, 1)
    d, g = vision.pos.shape[1], vision.grid
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).t() @ (x - mean) / len(x))
    weight = 0.5 * (vectors[:, -d:] * (values[-d:].clamp_min(0) + 1e-3) ** -0.4).t()
    vision.patch.weight.copy_(weight)
    waves = 2 * math.pi / torch.logspace(math.log10(3.5), math.log10(4 * g), d // 4)
    y, x = torch.meshgrid(torch.arange(g), torch.arange(g), indexing="ij")
    code = torch.cat([f(a.reshape(-1, 1) * waves) for a in (x, y) for f in (torch.sin, torch.cos)], 1)
    spread = torch.linalg.qr(torch.randn(d, d))[0]
    vision.pos[1:] = 0.6 * code @ spread - weight @ mean


class Heads(nn.Module):
    """Reads the labels of labels.py and its row and column from each patch's features; only training needs it."""

    WEIGHTS = {
        "shape": 1, "color": 1, "filled": 0.5, "left": 1.5, "right": 1.5, "place": 0.7, "centre": 0.7, "row": 0.4, "column": 0.4,
        "order": 0.5, "size": 0.3, "background": 0.3, "place_right": 0.7,
    }  # fmt: skip
    NOTHING = {"left": 0.15, "right": 0.15, "place": 0.15, "place_right": 0.15}  # the weight of the class "nothing"; else 0.3

    def __init__(self, d, grid):
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(d)
        self.read = nn.Linear(d, sum(PLANES.values()))
        self.where = nn.Linear(d, 2 * grid)
        for name, n in PLANES.items():
            weight = torch.ones(n)
            weight[0] = self.NOTHING.get(name, 0.3)
            self.register_buffer("class_" + name, weight, False)

    def forward(self, features, labels):
        """features [B][T][d], labels [B][PLANES][grid][grid] -> the weighted loss, [right, wrong] counts by plane"""
        x = self.norm(features)
        labels = labels.flatten(2).long()
        loss, counts = 0, torch.zeros(len(PLANES), 2)
        for i, (name, logits) in enumerate(zip(PLANES, self.read(x).split(list(PLANES.values()), -1))):
            want, got = labels[:, i].flatten(), logits.flatten(0, 1)
            weight = getattr(self, "class_" + name)
            loss = loss + self.WEIGHTS[name] * F.cross_entropy(got, want, weight=weight, ignore_index=UNCLEAR)
            with torch.no_grad():
                there = (want > 0) & (want != UNCLEAR)
                counts[i, 0] = ((got.argmax(-1) == want) & there).sum()
                counts[i, 1] = there.sum()
        t = torch.arange(self.grid**2, device=x.device)
        rows, columns = self.where(x).split(self.grid, -1)
        for logits, want in ((rows, t // self.grid), (columns, t % self.grid)):
            loss = loss + 0.4 * F.cross_entropy(logits.flatten(0, 1), want.repeat(len(x)))
        return loss, counts


class Projector(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.first, self.second = nn.Linear(c["vision_embd"], c["n_embd"]), nn.Linear(c["n_embd"], c["n_embd"])

    def forward(self, x):
        return self.second(F.gelu(self.first(x)))


# ---- language ----


class LanguageBlock(nn.Module):
    """Rotary positions turn the two halves of a head's channels against each other (pair.py reorders them for GGUF)."""

    def __init__(self, c):
        super().__init__()
        d, self.n_head, self.n_kv = c["n_embd"], c["n_head"], c["n_head_kv"]
        self.hd = d // self.n_head
        self.attn_norm, self.ffn_norm = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.qkv = nn.Linear(d, (self.n_head + 2 * self.n_kv) * self.hd, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.gate_up, self.down = nn.Linear(d, 2 * c["n_ff"], bias=False), nn.Linear(c["n_ff"], d, bias=False)
        for m, depth in ((self.qkv, 1), (self.gate_up, 1), (self.out, 2 * c["n_layer"]), (self.down, 2 * c["n_layer"])):
            nn.init.normal_(m.weight, std=0.03 / math.sqrt(depth))

    def forward(self, x, cos, sin, mask, past):
        b, t, d = x.shape
        h, kv, hd = self.n_head, self.n_kv, self.hd
        qk, v = self.qkv(RmsNorm.apply(x, self.attn_norm)).view(b, t, h + 2 * kv, hd).split((h + kv, kv), 2)
        lo, hi = qk.chunk(2, -1)
        qk = torch.cat([lo * cos - hi * sin, hi * cos + lo * sin], -1)
        q, k, v = qk[:, :, :h], qk[:, :, h:].transpose(1, 2), v.transpose(1, 2)
        if past is not None:
            k, v = past.append(k, v)
        n = k.shape[2]
        q = (q * hd**-0.5).view(b, t, kv, h // kv, hd).permute(0, 2, 3, 1, 4).reshape(b * kv, h // kv * t, hd)
        a = torch.bmm(q, k.reshape(b * kv, n, hd).transpose(1, 2)).view(b, h, t, n)
        a = a.add_(mask.to(a.dtype)).softmax(-1).view(b * kv, h // kv * t, n)
        a = torch.bmm(a, v.reshape(b * kv, n, hd)).view(b, h, t, hd).transpose(1, 2).reshape(b, t, d)
        x = x + self.out(a)
        gate, up = self.gate_up(RmsNorm.apply(x, self.ffn_norm)).chunk(2, -1)
        return x + self.down(SiluTimes.apply(gate, up))


class Past:
    """Keys and values of one block's earlier tokens."""

    def __init__(self):
        self.k = self.v = None

    def append(self, k, v):
        self.k = k if self.k is None else torch.cat([self.k, k], 2)
        self.v = v if self.v is None else torch.cat([self.v, v], 2)
        return self.k, self.v


class Language(nn.Module):
    """Embeddings [B][T][n_embd], positions [B][T], additive mask [B][1][T][all] -> normed hidden states [B][T][n_embd]."""

    def __init__(self, c):
        super().__init__()
        d, hd = c["n_embd"], c["n_embd"] // c["n_head"]
        self.emb = nn.Embedding(c["n_vocab"], d)
        nn.init.normal_(self.emb.weight, std=0.5)
        self.blocks = nn.ModuleList(LanguageBlock(c) for _ in range(c["n_layer"]))
        self.norm = nn.Parameter(torch.ones(d))
        self.head = nn.Linear(d, c["n_vocab"], bias=False)
        nn.init.normal_(self.head.weight, std=0.02)
        turns = torch.arange(N_CTX)[:, None] * ROPE_BASE ** (-torch.arange(0, hd, 2).float() / hd)
        self.register_buffer("cos", turns.cos(), False)
        self.register_buffer("sin", turns.sin(), False)

    def forward(self, x, positions, mask, past=None):
        cos, sin = self.cos[positions][:, :, None], self.sin[positions][:, :, None]
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, mask, past[i] if past else None)
        return RmsNorm.apply(x, self.norm)


class Model(nn.Module):
    """The pair and, for training, the heads."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.vision, self.projector, self.language = Vision(config), Projector(config), Language(config)
        self.heads = Heads(config["vision_embd"], self.vision.grid)
