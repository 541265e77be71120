#!/usr/bin/env python3
"""Real chat templates through `ocellus inspect template`: each case of ../shared/templates/cases.json must give
the reference's very text, or, where the reference raised an error, exit 3 with the line and the reason.

usage: templates.py OCELLUS [TEMPLATE]. With a name only the cases of that template run.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../shared/templates")
NOW = "2026-01-15T12:00"  # the reference's
SKIPPED = 77
EXIT_MODEL = 3
TIMEOUT_S = 20


def reason(case):
    """What of the reference's error must be in ours: its words, not the type of exception before them."""
    text = case["error"].split(": ", 1)[1]
    return re.sub(r'(?<=serializable).*|\.$', "", text)


def check(ocellus, case):
    """None, or what is wrong."""
    template = os.path.join(FOLDER, case["template"])
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as f:
        json.dump(case["input"], f)
        f.flush()
        done = subprocess.run([ocellus, "inspect", "template", "--template", template, "--input", f.name, "--now", NOW],
                              capture_output=True, timeout=TIMEOUT_S)
    out, message = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if "output" in case:
        if done.returncode or out != case["output"]:
            return f"exit {done.returncode} {message}\n  want {case['output']!r}\n  got  {out!r}"
        return None
    if done.returncode != EXIT_MODEL or not re.search(r": line \d+: ", message) or reason(case) not in message:
        return f"exit {done.returncode}, want {EXIT_MODEL}: {message}\n  want {case['error']!r}"
    return None


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: templates.py OCELLUS [TEMPLATE]")
    path = os.path.join(FOLDER, "cases.json")
    if not os.path.exists(path):
        print("skipped: no ../shared/templates")
        return SKIPPED
    with open(path, encoding="utf-8") as f:
        cases = [c for c in json.load(f) if len(sys.argv) == 2 or c["template"] == sys.argv[2]]
    ocellus = os.path.abspath(sys.argv[1])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        wrong = list(threads.map(lambda case: check(ocellus, case), cases))
    for case, what in zip(cases, wrong):
        if what:
            print(f"{case['template']} {case['name']}: {what}")
    n_right = wrong.count(None)
    print(f"{n_right} of {len(cases)} cases")
    return 0 if cases and n_right == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
