#!/usr/bin/env python3
"""`ocellus quantize` from outside: what the model says afterwards, split files, refusals, nothing left behind.

usage: quantize.py OCELLUS
"""
import array
import json
import os
import resource
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
GOLDEN = os.path.join(ROOT, "tests/golden/text")
MODEL = os.path.join(GOLDEN, "tiny-f32/model.gguf")
TIMEOUT_S = 120
EXPERTS = os.path.join(GOLDEN, "tiny-qwen3moe/model.gguf")
# Type -> most NMSE of the logits against those of the f32 model: twice what was measured.
LIMITS = {"q8_0": 6e-4, "q6_k": 4e-3, "q5_k_m": 1.3e-2, "q5_0": 1.6e-2, "q4_k_m": 4.2e-2, "q4_0": 5.8e-2}

ocellus = ""


def run(*arguments, **more):
    return subprocess.run([ocellus, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, **more)


def read_f32(path):
    values = array.array("f")
    with open(path, "rb") as f:
        values.frombytes(f.read())
    return values


class Quantize(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.out = os.path.join(self.folder.name, "out.gguf")

    def test_logits(self):
        with open(os.path.join(GOLDEN, "tiny-f32/case.json"), encoding="utf-8") as f:
            tokens = ",".join(map(str, json.load(f)["tokens"]))
        want = read_f32(os.path.join(GOLDEN, "tiny-f32/logits.f32"))
        logits = os.path.join(self.folder.name, "logits")
        for name, limit in LIMITS.items():
            done = run("quantize", MODEL, self.out, name)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
            done = run("inspect", "logits", "-m", self.out, "--tokens", tokens, "--out", logits)
            self.assertEqual(done.returncode, 0, done.stderr)
            got = read_f32(logits)
            self.assertEqual(len(got), len(want))
            nmse = sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want)
            print(f"{name}: NMSE {nmse:.2e} to the f32 model, limit {limit:g}")
            self.assertLess(nmse, limit)

    def test_experts(self):
        """Experts in one tensor of three dimensions are quantised as matrices are; their router is not."""
        gate = "blk.1.ffn_gate_exps.weight"
        values = os.path.join(self.folder.name, "values")
        run("inspect", "tensor", EXPERTS, gate, "--out", values)
        want = read_f32(values)
        for name, kind, limit in ("q8_0", "q8_0", 6e-5), ("q4_k_m", "q5_0", 3e-3):
            self.assertEqual(run("quantize", EXPERTS, self.out, name).returncode, 0)
            tensors = json.loads(run("inspect", "gguf", self.out).stdout)["tensors"]
            found = {t["name"]: (t["type"], t["shape"]) for t in tensors}
            self.assertEqual(found[gate], (kind, [8, 12, 32]))
            self.assertEqual(found["blk.1.ffn_down_exps.weight"], ("f16", [8, 32, 12]))  # no blocks of 12
            self.assertEqual(found["blk.1.ffn_gate_inp.weight"], ("f32", [8, 32]))
            run("inspect", "tensor", self.out, gate, "--out", values)
            got = read_f32(values)
            self.assertEqual(len(got), 8 * 12 * 32)
            nmse = sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want)
            print(f"{gate} as {kind}: NMSE {nmse:.2e}, limit {limit:g}")
            self.assertLess(nmse, limit)
            self.assertEqual(run("inspect", "logits", "-m", self.out, "--tokens", "3,4", "--out", values).returncode, 0)

    def refused(self, code, word, *arguments, **more):
        done = run("quantize", *arguments, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(word, done.stderr)
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_refusals(self):
        self.refused(2, "want q8_0", MODEL, self.out, "q9")
        self.refused(2, "usage: ocellus quantize", MODEL, self.out)
        self.refused(2, "is the file to read", MODEL, MODEL, "q8_0")
        self.refused(3, "nowhere.gguf", "nowhere.gguf", self.out, "q8_0")
        self.refused(3, "type q8_0, want f32, f16 or bf16", os.path.join(GOLDEN, "tiny-q8_0/model.gguf"),
                     self.out, "q4_0")
        self.refused(1, "out.gguf.part: cannot be written: No such file", MODEL,
                     os.path.join(self.folder.name, "no/out.gguf"), "q8_0")

    def test_disk_full(self):
        small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))
        self.refused(1, "out.gguf.part: cannot be written: File too large", MODEL, self.out, "q8_0", preexec_fn=small)


if __name__ == "__main__":
    ocellus = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=0)
