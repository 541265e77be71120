#!/usr/bin/env python3
"""Pictures of MiniCPM-V that are longer than its table of positions, with float64 features and rows.

usage: vision_minicpmv.py FOLDER. Writes FOLDER/{wide,tall}.png, case.json and the values, the same at every run; exit
77 without numpy and Pillow. The model is that of tests/golden/vision-families/minicpmv (70 buckets a side, patches of
14), at most two slices. The formulas follow MiniCPM-V 2.6, whatever a picture's proportions:

  image_processing_minicpmv.py   slice_image, find_best_resize, get_refine_size, get_sliced_grid, bicubic
  modeling_navit_siglip.py       SiglipVisionEmbeddings: buckets of the fraction of the side, several patches in one
                                 bucket where a side has more than 70
  resampler.py                   _adjust_pos_cache: sines and cosines go on beyond 70
"""
import json
import math
import os
import sys

try:
    import numpy as np
    from PIL import Image
except ImportError:
    sys.exit(77)
import gguf

HERE = os.path.dirname(os.path.abspath(__file__))
MMPROJ = "../../vision-families/minicpmv/mmproj.gguf"
SCALE, PATCH, SIDE, N_HEAD, HEAD_DIM, EPS, MAX_SLICES = 56, 14, 70, 2, 128, 1e-6, 2
PICTURES = {"wide.png": (680, 2), "tall.png": (4, 1320)}


def picture(size):
    """Waves and an edge, so that no two patches are alike."""
    y, x = np.mgrid[:size[1], :size[0]]
    along = x + y
    rgb = np.stack([127 + 90 * np.sin(along / k + 9 * c) + 20 * np.sin(along * along / 4e4) for c, k in enumerate((7, 31, 90))], -1)
    rgb[along > max(size) / 2] *= 0.7
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


# ---- sizes ----

def whole(length, of):
    return max(round(length / of) * of, of)


def best_resize(width, height, may_grow):
    if width * height > SCALE * SCALE or may_grow:
        ratio = width / height
        height = int(SCALE / math.sqrt(ratio))
        width = int(height * ratio)
    return whole(width, PATCH), whole(height, PATCH)


def best_grid(width, height):
    """Columns and lines of slices, or None."""
    multiple = min(math.ceil(width * height / (SCALE * SCALE)), MAX_SLICES)
    if multiple <= 1:
        return None
    grids = [(m, n // m) for n in (multiple - 1, multiple, multiple + 1) if 1 < n <= MAX_SLICES
             for m in range(1, n + 1) if n % m == 0]
    return min(grids, key=lambda g: abs(math.log(width / height) - math.log(g[0] / g[1])))


def tiles_of(image):
    """The overview, then the slices in raster order."""
    width, height = image.size
    grid = best_grid(width, height)
    tiles = [image.resize(best_resize(width, height, grid is None), Image.Resampling.BICUBIC)]
    if grid:
        w, h = best_resize(whole(width, grid[0]) / grid[0], whole(height, grid[1]) / grid[1], True)
        sheet = image.resize((w * grid[0], h * grid[1]), Image.Resampling.BICUBIC)
        tiles += [sheet.crop((x * w, y * h, (x + 1) * w, (y + 1) * h)) for y in range(grid[1]) for x in range(grid[0])]
    return tiles, grid


def layout_of(n_query, grid):
    out = [{"text": "<image_id>0</image_id><image>"}, {"rows": [0, n_query]}, {"text": "</image>"}]
    for i in range(math.prod(grid or (0,))):
        line_end = "\n" if i and i % grid[0] == 0 else ""
        out += [{"text": line_end + "<slice>"}, {"rows": [(i + 1) * n_query, n_query]}, {"text": "</slice>"}]
    return out


# ---- the model ----

def load(path):
    kinds, out = {gguf.F32: "<f4", gguf.F16: "<f2"}, {}
    for name, (dims, kind, raw) in gguf.read(path)[1].items():
        out[name] = np.frombuffer(raw, kinds[kind]).reshape(dims[::-1]).astype(np.float64)
    return out


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def buckets(n):
    """torch.bucketize(arange(0, 1 - 1e-6, 1 / n), arange(1 / 70, 1, 1 / 70), right=True), in whole numbers: where n and 70
    have no common factor, no fraction is a border, and the f32 of the original cannot differ."""
    return [i * SIDE // n for i in range(n)]


def waves(n_positions, n):
    angle = np.arange(n_positions)[:, None] / 10000 ** (np.arange(n // 2) / (n // 2))
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)


class Model:
    def __init__(self, path):
        self.t = load(path)
        self.n_block = 1 + max(int(name.split(".")[2]) for name in self.t if name.startswith("v.blk."))
        self.n_query = len(self.t["resampler.query"])

    def linear(self, x, name):
        return x @ self.t[name + ".weight"].T + self.t.get(name + ".bias", 0)

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        y = x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS)
        return y * self.t[name + ".weight"] + self.t[name + ".bias"]

    def attention(self, q, k, v, n_head):
        q, k, v = (x.reshape(len(x), n_head, -1) for x in (q, k, v))
        p = softmax(np.einsum("ihd,jhd->hij", q, k) * q.shape[-1] ** -0.5)
        return np.einsum("hij,jhd->ihd", p, v).reshape(len(q), -1)

    def features(self, tile):
        rgb = np.asarray(tile, np.float64).transpose(2, 0, 1)
        pixels = ((rgb / 255 - 0.5) / 0.5).astype("<f4").astype(np.float64)
        lines, cols = pixels.shape[1] // PATCH, pixels.shape[2] // PATCH
        p = pixels.reshape(3, lines, PATCH, cols, PATCH).transpose(1, 3, 0, 2, 4).reshape(lines * cols, -1)
        n_embd = len(self.t["v.patch_embd.bias"])
        x = p @ self.t["v.patch_embd.weight"].reshape(n_embd, -1).T + self.t["v.patch_embd.bias"]
        ids = [y * SIDE + x for y in buckets(lines) for x in buckets(cols)]
        x = x + self.t["v.position_embd.weight"][ids]
        for i in range(self.n_block):
            b = f"v.blk.{i}."
            h = self.norm(x, b + "ln1")
            q, k, v = (self.linear(h, b + "attn_" + part) for part in "qkv")
            x = x + self.linear(self.attention(q, k, v, N_HEAD), b + "attn_out")
            h = self.linear(self.norm(x, b + "ln2"), b + "ffn_down")  # this converter's names, the wrong way round
            h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h ** 3)))
            x = x + self.linear(h, b + "ffn_up")
        return self.norm(x, "v.post_ln"), lines, cols

    def rows(self, features, lines, cols):
        r = "resampler."
        v = self.norm(self.linear(features, r + "kv"), r + "ln_kv")
        n = v.shape[1]
        by_line, by_col = (np.repeat(waves(lines, n // 2), cols, 0), np.tile(waves(cols, n // 2), (lines, 1)))
        k = v + np.concatenate([by_col, by_line], -1)
        q = self.norm(self.t[r + "query"], r + "ln_q")
        q, k, v = (self.linear(x, r + "attn." + part) for x, part in ((q, "q"), (k, "k"), (v, "v")))
        x = self.linear(self.attention(q, k, v, n // HEAD_DIM), r + "attn.out")
        return self.norm(x, r + "ln_post") @ self.t[r + "proj.weight"].T  # the file has it transposed


def case(root, file, model):
    image = Image.open(os.path.join(root, file))
    tiles, grid = tiles_of(image)
    features, rows = [], []
    for tile in tiles:
        assert all(math.gcd(side // PATCH, SIDE) == 1 for side in tile.size), tile.size  # see buckets()
        x, lines, cols = model.features(tile)
        features.append(x)
        rows.append(model.rows(x, lines, cols))
    item = {"file": file, "size": image.size, "layout": layout_of(model.n_query, grid), "grid": list(grid or (0, 0))[::-1],
            "params": {"max_slices": MAX_SLICES}, "tiles": [tile.size for tile in tiles]}
    for stage, v in (("features", features), ("rows", rows)):
        item[stage] = f"{file[:-4]}.{stage}.f32"
        np.concatenate(v).astype("<f4").tofile(os.path.join(root, item[stage]))
    return item


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: vision_minicpmv.py FOLDER")
    root = sys.argv[1]
    os.makedirs(root, exist_ok=True)
    model = Model(os.path.join(HERE, "../golden/vision-families/minicpmv/mmproj.gguf"))
    for file, size in PICTURES.items():
        picture(size).save(os.path.join(root, file))
    images = [case(root, file, model) for file in PICTURES]
    out = {"kind": "vision-family", "family": "minicpmv", "projector": "resampler", "mmproj": MMPROJ, "images": images,
           "max_nmse": {"features": 1e-8, "rows": 1e-8}, "note": "tests/reference/vision_minicpmv.py"}
    with open(os.path.join(root, "case.json"), "w", encoding="utf-8") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    main()
