#!/usr/bin/env python3
"""Every question of samples/demo/samples.json through `ocellus run` and the bundled model, greedily.

usage: demo_answers.py OCELLUS. The answers to the PNG and to the JPEG of a picture must equal those recorded
from the model's training program in at least 97 of 100 cases each.
"""
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../samples/demo")
SHARE_MIN = 0.97
TIMEOUT_S = 60


def ask(ocellus, image, question):
    command = [ocellus, "run", "--json", "--temperature", "0", "-t", "1", "--image", os.path.join(DEMO, image), question]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        return f"(exit {done.returncode}: {done.stderr.strip()})"
    return json.loads(done.stdout)["answer"].strip()


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: demo_answers.py OCELLUS")
    with open(os.path.join(DEMO, "samples.json"), encoding="utf-8") as f:
        samples = json.load(f)
    ok = True
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for image_key, answer_key in (("image", "answer"), ("jpeg", "answer_jpeg")):
            answers = threads.map(lambda s: ask(sys.argv[1], s[image_key], s["question"]), samples)
            n_equal = 0
            for sample, answer in zip(samples, answers):
                n_equal += answer == sample[answer_key].strip()
                if answer != sample[answer_key].strip():
                    print(f"{sample[image_key]}: {sample['question']}\n  want {sample[answer_key]}\n  got  {answer}")
            share = n_equal / len(samples)
            ok = ok and share >= SHARE_MIN
            print(f"{answer_key}: {n_equal} of {len(samples)} equal ({share:.1%}), want {SHARE_MIN:.0%}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
