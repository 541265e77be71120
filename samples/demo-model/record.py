#!/usr/bin/env python3
"""Records the pair's answers to the samples: what the test demo_answers holds the engine to.

record.py PAIR SAMPLES_JSON

Keeps each sample's pictures, question and right answer; writes the answers of the torch reference to PNG and JPEG.
"""
import json
import os
import sys

from answer import Answerer, picture_read


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pair, path = sys.argv[1:]
    a, folder = Answerer(pair), os.path.dirname(os.path.abspath(path))
    with open(path, encoding="utf-8") as f:
        samples = json.load(f)
    for s in samples:
        for picture, answer in (("image", "answer"), ("jpeg", "answer_jpeg")):
            s[answer] = a.answer(picture_read(os.path.join(folder, s[picture]), a.size), s["question"])
        s.pop("answer_bicubic_without_antialias", None)
        s["correct"] = s["answer"] == s["expected"]
        s["held_out"] = True
    with open(path, "w", encoding="utf-8") as f:
        json.dump(samples, f, indent=1, ensure_ascii=False)
        f.write("\n")
    print(f"{sum(s['correct'] for s in samples)} of {len(samples)} right")


if __name__ == "__main__":
    main()
