#!/usr/bin/env python3
"""A picture in a conversation of each family of vision models: whole answers, and every token around its rows.

usage: chat_images.py OCELLUS. The tiny vision models of tests/golden with random language models whose templates and
special tokens are those of the family (tests/peer/make_vision_models.py; exit 77 without numpy). What must stand in the
picture's place is `ocellus inspect image --stage layout`, which tests/golden holds against the originals. The logits behind
two pictures and a question are those of tests/reference/pictures.py for the rows of `ocellus inspect image --stage rows`.

Where a folder shared/templates lies beside the repository, some templates of published models are tried as well.
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "peer"), os.path.join(HERE, "reference")]
sys.dont_write_bytecode = True
import make_vision_models  # exit 77 without numpy
import gguf
import numpy as np
import pictures

TEMPLATES = os.path.normpath(os.path.join(HERE, "../../shared/templates"))
BOS, TIMEOUT_S = 1, 60
EACH = 2 if os.environ.get("OCELLUS_SANITIZE") else 1  # which families: there a process takes ten times as long
MOST_NMSE = 1e-9
GRID_COLUMNS = {"qwen2vl": 5, "qwen25vl": 5, "qwen3vl": 10}  # cells of the picture that make_vision_models.py draws
TEXT = "what is it?"
VISION = "<|vision_start|><|image_pad|><|vision_end|>"
# Template of a published model or a built-in one, family, what it writes for a picture. None: it knows no pictures, which
# then stand in front of the text on a line each.
OTHERS = [("Mistral-Small-3.2-24B-Instruct-2506.jinja", "pixtral", "[IMG]"),
          ("mistralai-Ministral-3-14B-Reasoning-2512.jinja", "pixtral", "[IMG]"),
          ("unsloth-Apriel-1.5.jinja", "pixtral", "[IMG]"), ("Qwen3.5-4B.jinja", "qwen2vl", VISION),
          ("Qwen3.5-4B.jinja", "qwen25vl", VISION), ("Qwen3.5-4B.jinja", "qwen3vl", VISION),
          ("MiMo-VL.jinja", "qwen25vl", None), ("chatml", "qwen2vl", None), ("chatml", "internvl", None),
          ("chatml", "minicpmv", None), ("vicuna", "llava16", None), ("gemma", "gemma3", None)]


class Checker:
    def __init__(self, ocellus, folder, models):
        self.ocellus, self.folder, self.models = ocellus, folder, models
        self.n_failed = self.worst = 0

    def run(self, *arguments):
        done = subprocess.run([self.ocellus, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments[:2])}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def check(self, name, got, want):
        self.n_failed += got != want
        if got != want:
            print(f"FAILED {name}: {got}, want {want}")

    def path(self, name):
        return os.path.join(self.folder, name)

    def pair(self, name):
        return ["-m", self.path(name + ".gguf"), "--mmproj", self.models[name]["mmproj"]]

    def ids(self, name, text):
        """Token ids of a text with special tokens."""
        done = self.run("inspect", "tokens", "-m", self.path(name + ".gguf"), "--special", "--no-bos", "--text", text)
        return json.loads(done)["ids"]

    def layout(self, name, number):
        """What stands for picture `number` of a conversation: texts and numbers of rows."""
        spans = json.loads(self.run("inspect", "image", "--mmproj", self.models[name]["mmproj"], "--image",
                                    self.path(name + ".png"), "--stage", "layout"))
        pieces = [span["rows"][1] if "rows" in span else span["text"] for span in spans]
        return [str(number) if piece == "0" else piece for piece in pieces]

    def sequence(self, name, pieces):
        """Token ids, None for a row; neighbouring texts are tokenized as one."""
        out, text = [], ""
        for piece in [*pieces, 0]:
            if isinstance(piece, str):
                text += piece
                continue
            out += self.ids(name, text) if text else []
            out += [None] * piece
            text = ""
        return out

    def usage(self, name, n_images, *options):
        pictures = ["-i", self.path(name + ".png")] * n_images
        answer = json.loads(self.run("run", *self.pair(name), *pictures, "-c", "8192", "-n", "2", "--json", *options, TEXT))
        return answer["usage"]

    def check_prompt(self, name, n, want, *options):
        """want: token ids of the prompt, None for a row"""
        usage = self.usage(name, n, *options)
        what = ", ".join([name, *map(os.path.basename, options[1:]), f"pictures {n}"])
        self.check(f"{what}: tokens", usage["input_tokens"], len(want))
        pictures = sum(len(self.sequence(name, self.layout(name, i))) for i in range(n))
        self.check(f"{what}: tokens of the pictures", usage["image_tokens"], pictures)
        first, last = want.index(None), len(want) - 1 - want[::-1].index(None)
        if n > 1:
            return
        if all(i is None for i in want[first:last + 1]):  # one run: the logits tell whether the ids are the same
            common = ["inspect", "logits", *self.pair(name), "--image", self.path(name + ".png"), "--out"]
            comma = lambda ids: ",".join(map(str, ids))
            self.run(*common, self.path("chat"), "--text", TEXT, *options)
            self.run(*common, self.path("raw"), "--tokens", comma(want[:first]), "--tokens-after", comma(want[last + 1:]))
            with open(self.path("chat"), "rb") as chat, open(self.path("raw"), "rb") as raw:
                self.check(f"{what}: same logits as of the ids", chat.read() == raw.read(), True)

    def check_family(self, name, case):
        for n in (1, 2):
            places = sum(([*self.layout(name, i), case["behind"]] for i in range(n)), [])
            pieces = [case["head"], *places, TEXT + case["tail"]]
            ids = [BOS] + self.sequence(name, pieces)
            self.check_prompt(name, n, ids)
        self.check_logits(name, case, ids)

    def values(self, *arguments):
        self.run("inspect", *arguments, "--out", self.path("values"))
        return np.fromfile(self.path("values"), "<f4").astype(np.float64)

    def check_logits(self, name, case, ids):
        """Behind two different pictures; ids: None for a row"""
        c = make_vision_models.describe(name)
        files, images, n_rows = case["images"], [], ids.count(None) // 2
        for file in files:
            rows = self.values("image", "--mmproj", case["mmproj"], "--image", self.path(file), "--stage", "rows")
            images.append((rows.reshape(n_rows, -1), GRID_COLUMNS.get(name)))
        weights = {key: np.frombuffer(raw, "<f4").reshape(dims[::-1])
                   for key, (dims, _, raw) in gguf.read(self.path(name + ".gguf"))[1].items()}
        want = pictures.Model(c, weights, ids, images, both_ways=name == "gemma3").last()
        shown = sum((["--image", self.path(file)] for file in files), [])
        got = self.values("logits", *self.pair(name), *shown, "--text", TEXT, "--last", "-c", "1024")
        nmse = float(((got - want) ** 2).sum() / (want ** 2).sum())
        self.worst = max(self.worst, nmse)
        self.check(f"{name}, two pictures: NMSE of the logits {nmse:.1e} is at most {MOST_NMSE}", nmse <= MOST_NMSE, True)

    def check_template(self, path, name, place):
        """What the template itself writes, with the pictures in their places."""
        content = [{"type": "image"}, {"type": "text", "text": TEXT}]
        with open(self.path("input.json"), "w", encoding="utf-8") as f:
            json.dump({"messages": [{"role": "user", "content": content}], "add_generation_prompt": True}, f)
        text = self.run("inspect", "template", "-m", self.path(name + ".gguf"), "--template", path, "--input",
                        self.path("input.json"))
        head, tail = text.split(place)
        for n in (1, 2):
            pieces = [head, *sum((self.layout(name, i) for i in range(n)), []), tail]
            bos = [] if head.lstrip().startswith("<s>") else [BOS]
            self.check_prompt(name, n, bos + self.sequence(name, pieces), "--chat-template", path)

    def check_without_place(self, template, name):
        option = ["--chat-template", template]
        without = self.usage(name, 0, *option)["input_tokens"]
        for n in (1, 2):
            pieces = sum(([*self.layout(name, i), "\n"] for i in range(n)), [])
            more = self.usage(name, n, *option)["input_tokens"] - without
            self.check(f"{name}, {os.path.basename(template)}, pictures {n}: tokens", more,
                       len(self.sequence(name, pieces)))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: chat_images.py OCELLUS")
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run([sys.executable, os.path.join(HERE, "peer/make_vision_models.py"), folder, sys.argv[1]],
                              stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode:
            print(made.stdout.strip())
            sys.exit(made.returncode)
        with open(os.path.join(folder, "cases.json"), encoding="utf-8") as f:
            models = json.load(f)["models"]
        checker = Checker(sys.argv[1], folder, models)
        tried = list(models.items())[::EACH]
        for name, case in tried:
            checker.check_family(name, case)
        n_others = 0
        for template, name, place in OTHERS[::EACH]:
            path = os.path.join(TEMPLATES, template) if template.endswith(".jinja") else template
            if path == template or os.path.exists(path):
                if place:
                    checker.check_template(path, name, place)
                else:
                    checker.check_without_place(path, name)
                n_others += 1
    print(f"{len(tried)} families (NMSE of logits up to {checker.worst:.1e}), {n_others} other templates, "
          f"{checker.n_failed} failed")
    sys.exit(checker.n_failed > 0)


if __name__ == "__main__":
    main()
