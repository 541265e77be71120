#!/usr/bin/env python3
"""Golden cases: each folder below this one with a case.json, through `ocellus inspect`.

usage: run.py OCELLUS. Prints one line a figure: what was measured and its limit. The reference values are
float64 results of the original models; NMSE = sum((a - b)^2) / sum(b^2).

Where a folder shared/golden lies beside the repository, its further cases run too (large ones that differ from
a case of the tree by the type of their weights alone); one that needs what this program does not have yet is
skipped, with the program's own reason.
"""
import array
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.path.normpath(os.path.join(HERE, "../../../shared/golden"))
TIMEOUT_S = 300
EXIT_MODEL = 3
# Which cases run: under a sanitizer, where a process takes ten times as long, other instruction sets take every third.
EACH = 3 if os.environ.get("OCELLUS_SANITIZE") and os.environ.get("OCELLUS_CPU") else 1
JPEG_RGB_MAX_DIFF = 1  # decoders differ by rounding in the inverse DCT


class Refused(Exception):
    """The program does not take this model."""


class Failed(Exception):
    """The program failed where it should not."""


class Runner:
    def __init__(self, ocellus, scratch):
        self.ocellus = ocellus
        self.out = os.path.join(scratch, "out")
        self.n_failed = self.n_passed = self.n_skipped = 0

    def inspect(self, typecode, *arguments):
        """The values that `ocellus inspect ...` writes."""
        command = [self.ocellus, "inspect", *arguments, "--out", self.out]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode == EXIT_MODEL:
            raise Refused(done.stderr.strip())
        if done.returncode:
            raise Failed(f"exit {done.returncode}: {done.stderr.strip()[-2000:]}")
        return read_values(self.out, typecode)

    def inspect_json(self, *arguments):
        """The JSON that `ocellus inspect ...` writes."""
        self.inspect("B", *arguments)
        with open(self.out, encoding="utf-8") as f:
            return json.load(f)

    def report(self, name, figure, value, limit):
        ok = value <= limit
        self.n_passed += ok
        self.n_failed += not ok
        print(f"{'ok    ' if ok else 'FAILED'} {name}: {figure} {value:.3g}, limit {limit:g}")


def read_values(path, typecode):
    values = array.array(typecode)
    with open(path, "rb") as f:
        values.frombytes(f.read())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def nmse(got, want):
    if len(got) != len(want):
        return float("inf")
    difference = sum((a - b) ** 2 for a, b in zip(got, want))
    return difference / sum(b * b for b in want) if difference == difference else float("inf")


def max_difference(got, want):
    if len(got) != len(want):
        return float("inf")
    return max((abs(a - b) for a, b in zip(got, want)), default=0)


def ids(tokens):
    return ",".join(map(str, tokens))


def run_text(runner, name, folder, case):
    model = os.path.join(folder, case["model"])
    logits = runner.inspect("f", "logits", "-m", model, "--tokens", ids(case["tokens"]))
    want = read_values(os.path.join(folder, case["logits"]), "f")
    runner.report(f"{name} logits", "NMSE", nmse(logits, want), case["max_nmse"])
    dequant = case.get("dequant")
    if dequant:
        values = runner.inspect("f", "tensor", model, dequant["tensor"])
        want = read_values(os.path.join(folder, dequant["values"]), "f")
        runner.report(f"{name} {dequant['tensor']}", "largest difference", max_difference(values, want),
                      dequant["max_abs"])


def run_vision(runner, name, folder, case):
    mmproj = os.path.join(folder, case["mmproj"])
    for image in case["images"]:
        path = os.path.join(folder, image["file"])
        common = ["image", "--mmproj", mmproj, "--image", path, "--stage"]
        if "rgb" in image:
            want = read_values(os.path.join(folder, image["rgb"]), "B")
            difference = max_difference(runner.inspect("B", *common, "rgb"), want)
            limit = 0 if path.endswith(".png") else JPEG_RGB_MAX_DIFF
            runner.report(f"{name} {image['file']} rgb", "largest difference", difference, limit)
        for stage, limit in case["max_nmse"].items():
            if stage in image:
                want = read_values(os.path.join(folder, image[stage]), "f")
                got = runner.inspect("f", *common, stage)
                runner.report(f"{name} {image['file']} {stage}", "NMSE", nmse(got, want), limit)


def joined(layout):
    """A layout with neighbouring texts made one."""
    out = []
    for item in layout:
        if "text" in item and out and "text" in out[-1]:
            out[-1] = {"text": out[-1]["text"] + item["text"]}
        else:
            out.append(item)
    return out


def run_vision_family(runner, name, folder, case):
    mmproj = os.path.join(folder, case["mmproj"])
    for image in case["images"]:
        common = ["image", "--mmproj", mmproj, "--image", os.path.join(folder, image["file"])]
        for parameter, value in image.get("params", {}).items():
            common += ["--param", f"{parameter}={value}"]
        for stage, limit in case["max_nmse"].items():
            want = read_values(os.path.join(folder, image[stage]), "f")
            got = runner.inspect("f", *common, "--stage", stage)
            runner.report(f"{name} {image['file']} {stage}", "NMSE", nmse(got, want), limit)
        layout = runner.inspect_json(*common, "--stage", "layout")
        differs = joined(layout) != joined(image["layout"])
        runner.report(f"{name} {image['file']} layout", "differences", int(differs), 0)


def run_splice(runner, name, folder, case):
    if not os.path.exists(os.path.join(folder, case["model"])):
        raise Refused(f"{case['model']} is missing")
    arguments = ["-m", os.path.join(folder, case["model"]), "--mmproj", os.path.join(folder, case["mmproj"])]
    arguments += ["--image", os.path.join(folder, case["image"]), "--tokens", ids(case["tokens_before"])]
    arguments += ["--tokens-after", ids(case["tokens_after"])]
    for parameter, value in case.get("params", {}).items():
        arguments += ["--param", f"{parameter}={value}"]
    if case["shape"][0] == 1:
        arguments.append("--last")
    logits = runner.inspect("f", "logits", *arguments)
    want = read_values(os.path.join(folder, case["logits"]), "f")
    runner.report(f"{name} logits", "NMSE", nmse(logits, want), case["max_nmse"])


KINDS = {"text": run_text, "vision": run_vision, "vision-family": run_vision_family, "splice": run_splice,
         "splice-mrope": run_splice}


def case_folders(root):
    return sorted(folder for folder, _, names in os.walk(root) if "case.json" in names)


def run_case(runner, root, folder, may_be_refused):
    name = os.path.relpath(folder, root)
    with open(os.path.join(folder, "case.json"), encoding="utf-8") as f:
        case = json.load(f)
    try:
        if case["kind"] not in KINDS:
            raise Refused(f"kind {case['kind']} is none of {', '.join(KINDS)}")
        KINDS[case["kind"]](runner, name, folder, case)
    except Refused as reason:
        if may_be_refused:
            print(f"skipped {name}: {reason}")
            runner.n_skipped += 1
        else:
            print(f"FAILED {name}: {reason}")
            runner.n_failed += 1
    except (Failed, subprocess.TimeoutExpired) as reason:
        print(f"FAILED {name}: {reason}")
        runner.n_failed += 1


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: run.py OCELLUS")
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(os.path.abspath(sys.argv[1]), scratch)
        own = case_folders(HERE)
        for folder in own[::EACH]:
            run_case(runner, HERE, folder, may_be_refused=False)
        if not os.path.isdir(SHARED):
            print("skipped: the further cases of shared/golden, which is not beside the repository")
        here = {os.path.relpath(folder, HERE) for folder in own}
        more = [folder for folder in case_folders(SHARED) if os.path.relpath(folder, SHARED) not in here]
        for folder in more[::EACH]:
            run_case(runner, SHARED, folder, may_be_refused=True)
    print(f"{runner.n_passed} passed, {runner.n_failed} failed, {runner.n_skipped} cases skipped")
    return 1 if runner.n_failed or not runner.n_passed else 0


if __name__ == "__main__":
    sys.exit(main())
