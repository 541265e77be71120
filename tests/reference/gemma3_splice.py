#!/usr/bin/env python3
"""A picture in a prompt of Gemma 3, with float64 logits: rows that are not scaled by sqrt(n_embd) and that see each
other both ways, further than the sliding window reaches.

usage: gemma3_splice.py FOLDER. From tests/golden/text/tiny-gemma3 (window 7) and the mmproj of
tests/golden/vision-families/gemma3, its cells made 2x2 for 16 rows and its projection cut to the model's width,
writes FOLDER/mmproj.gguf, logits.f32 and case.json; exit 77 without numpy. The rows are computed from that case's
features. Mask, as in Hugging Face's Gemma3 (create_causal_mask and create_sliding_window_causal_mask with
or_mask_function): causal, in sliding layers within the window, or both rows of one picture.
"""
import json
import os
import struct
import sys

sys.dont_write_bytecode = True
import families
import gguf
from families import np

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden")
VISION = os.path.join(GOLDEN, "vision-families/gemma3")
SCALE_KEY = "clip.vision.projector.scale_factor"
MERGE = 2
N_BEFORE, N_AFTER = 9, 10


def array(tensor):
    """float64 values of a tensor, in numpy's order of sides."""
    dims, kind, raw = tensor
    return np.frombuffer(raw, "<f2" if kind == gguf.F16 else "<f4").reshape(dims[::-1]).astype(np.float64)


def write_mmproj(path, n_embd):
    """Gives the tensors."""
    keys, tensors = gguf.read(os.path.join(VISION, "mmproj.gguf"))
    projection = array(tensors["mm.input_projection.weight"])[:, :n_embd]
    keys[SCALE_KEY] = struct.pack("<II", gguf.U32, MERGE)
    tensors["mm.input_projection.weight"] = projection.shape[::-1], gguf.F16, projection.astype("<f2").tobytes()
    gguf.write(path, keys, tensors)
    return tensors


def project(features, tensors):
    """features [side^2, n] -> rows [(side / MERGE)^2, n_embd]: mean of each cell, RMS norm, projection."""
    side = int(len(features) ** 0.5)
    cells = features.reshape(side // MERGE, MERGE, side // MERGE, MERGE, -1).mean((1, 3)).reshape(-1, features.shape[1])
    eps = 1e-6
    norm = cells / np.sqrt((cells * cells).mean(-1, keepdims=True) + eps) * array(tensors["mm.soft_emb_norm.weight"])
    return norm @ array(tensors["mm.input_projection.weight"])


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: gemma3_splice.py FOLDER")
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    c, model_tensors, _ = families.describe("gemma3")
    families.round_options(c)
    tensors = write_mmproj(os.path.join(folder, "mmproj.gguf"), c["n_embd"])
    features = np.fromfile(os.path.join(VISION, "wide_jpg.features.f32"), "<f4").reshape(64, -1)
    rows = project(features.astype(np.float64), tensors)
    rng = np.random.default_rng(3)
    ids = [int(i) for i in rng.integers(3, len(model_tensors["token_embd.weight"][2]), N_BEFORE + N_AFTER)]
    logits = families.Model(c, model_tensors).logits(ids, rows, N_BEFORE)
    logits.astype("<f4").tofile(os.path.join(folder, "logits.f32"))
    case = {"kind": "splice", "model": "../../text/tiny-gemma3/model.gguf", "mmproj": "mmproj.gguf",
            "image": "../../vision-families/gemma3/wide.jpg", "tokens_before": ids[:N_BEFORE],
            "tokens_after": ids[N_BEFORE:], "logits": "logits.f32", "shape": list(logits.shape), "max_nmse": 1e-8,
            "note": "tests/reference/gemma3_splice.py"}
    with open(os.path.join(folder, "case.json"), "w", encoding="utf-8") as f:
        json.dump(case, f)
        f.write("\n")


if __name__ == "__main__":
    main()
