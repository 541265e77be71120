#!/usr/bin/env python3
"""The rules of the tree that no compiler checks: who may include whom, how long files and functions get,
calls that are banned, headers that compile alone, formatting, and paths of one machine.

Prints the ten longest functions and files. Run from the repository root.
"""
import os
import re
import shutil
import subprocess
import sys

FUNCTION_MAX, FORWARD_MAX, FILE_MAX = 100, 150, 1000

# Layer -> what it may include with quotes. A name ending in "/" is a folder, else one header.
MAY_INCLUDE = {
    "src/base": ["src/base/"],
    "src/compute": ["src/base/", "src/compute/"],
    "vision": ["src/base/", "src/compute/", "vision/"],
    "llm": ["src/base/", "src/compute/", "llm/"],
    # The app meets the layers through their seams, and opens the backend that both run on.
    "src": ["src/base/", "src/*.h", "vision/vision.h", "llm/llm.h", "src/compute/ops.h"],
    "src/cli": ["src/", "vision/vision.h", "llm/llm.h", "llm/jinja.h", "web/server.h"],
    "web": ["src/base/", "src/*.h", "web/"],
    "tests": ["src/", "vision/", "llm/", "web/", "tests/"],
}

# Header of a library -> the places that may include it.
LIBRARIES = {
    r"libwebsockets\.h|libwebsockets/.*": ["web/"],
    r"jansson\.h": ["src/base/", "src/", "web/", "tests/"],
    r"turbojpeg\.h|jpeglib\.h|png\.h": ["vision/image_"],
    r"openssl/.*": ["src/base/"],
    r"zlib\.h": ["web/"],
    r"dlfcn\.h|cblas.*": ["src/compute/"],
    r"immintrin\.h": ["src/compute/", "src/base/threads.c"],
}
NO_JANSSON = ("src/compute/", "vision/", "llm/")

BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|alloca|system|strtok)\s*\(")
EXIT = re.compile(r"\b(exit|_exit|_Exit|quick_exit)\s*\(")
# Spelt in pieces, or this file would name them itself.
MACHINE_PATHS = re.compile("/(?:" + "|".join(["wo" + "rk", "tm" + "p", "ro" + "ot", "ho" + "me"]) + ")/[A-Za-z0-9_.]")

# Bodies written over primitives that the including file defines: not headers of their own.
NOT_ALONE = {"src/compute/cpu_attn.h", "src/compute/cpu_attn_int8.h", "src/compute/cpu_int8_tiles.h", "src/compute/cpu_limits.h", "src/compute/cpu_tiles.h", "src/compute/cpu_unpack.h", "src/compute/cpu_vector.h"}

SKIP_FOLDERS = {".git", "build", "node_modules", "vendor"}
SOURCES = ("src", "vision", "llm", "web", "tests", "samples")
TEXT = (".c", ".h", ".py", ".mjs", ".js", ".css", ".html", ".md", ".txt", ".sh", ".json", ".cmake", ".yml")
COUNTED = (".c", ".h", ".py", ".mjs", ".js", ".css", ".html", ".sh")

failures = []


def fail(where, what):
    failures.append(f"{where}: {what}")


def walk():
    """Every file of the tree, relative to its root."""
    for folder, folders, names in os.walk("."):
        folders[:] = sorted(f for f in folders if f not in SKIP_FOLDERS)
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), ".")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def blank(match):
    """Spaces in the place of a comment or a literal, with its line breaks."""
    return re.sub(r"[^\n]", " ", match.group(0))


def strip(text):
    """C source without comments, literals and preprocessor lines; line numbers stay."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def functions(stripped):
    """(name, first line, number of lines) of every function body at file level."""
    depth, begin, name = 0, 0, ""
    for i, c in enumerate(stripped):
        if c == "{":
            before = stripped[:i].rstrip() if depth == 0 else ""
            if before.endswith(")"):
                opening = matching_parenthesis(before)
                head = re.search(r"(\w+)\s*$", before[:opening])
                name = head.group(1) if head else "?"
                begin = stripped.rfind("\n", 0, opening) + 1
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0 and name:
                yield name, stripped.count("\n", 0, begin) + 1, stripped.count("\n", begin, i) + 1
                name = ""


def matching_parenthesis(text):
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += (text[i] == ")") - (text[i] == "(")
        if depth == 0:
            return i
    return 0


def layer_of(path):
    """The rule that holds for this file; None: all is allowed."""
    if path == "src/main.c":
        return "src/cli"
    for layer in sorted(MAY_INCLUDE, key=len, reverse=True):
        if path.startswith(layer + "/"):
            return layer
    return None


def resolve(path, name):
    for folder in (os.path.dirname(path), ".", "src", "tests"):
        candidate = os.path.normpath(os.path.join(folder, name))
        if os.path.exists(candidate):
            return candidate
    return None


def is_allowed(target, rules):
    for rule in rules:
        if rule == target or (rule.endswith("/") and target.startswith(rule)):
            return True
        if rule.endswith("/*.h") and os.path.dirname(target) == rule[:-4]:
            return True
    return False


def check_includes(path, text):
    layer = layer_of(path)
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        quote, name = match.groups()
        where = f"{path}:{number}"
        if quote == '"':
            target = resolve(path, name)
            if target is None:
                fail(where, f'"{name}" is not in the tree')
            elif layer and not is_allowed(target, MAY_INCLUDE[layer]):
                fail(where, f"{layer} must not include {target}")
            continue
        for pattern, places in LIBRARIES.items():
            if re.fullmatch(pattern, name) and not path.startswith(tuple(places)):
                fail(where, f"<{name}> belongs to {', '.join(places)}")
        if name == "jansson.h" and path.startswith(NO_JANSSON):
            fail(where, "<jansson.h> has no place in compute, vision and llm")


def check_calls(path, stripped):
    for number, line in enumerate(stripped.split("\n"), 1):
        for match in BANNED.finditer(line):
            fail(f"{path}:{number}", f"{match.group(1)} is banned")
        if path != "src/main.c" and not path.startswith("tests/") and EXIT.search(line):
            fail(f"{path}:{number}", "only main.c ends the program")


def function_max(path, name):
    is_model = path.startswith(("llm/", "vision/"))
    return FORWARD_MAX if is_model and name.endswith("forward") else FUNCTION_MAX


def check_lengths(c_files, counted):
    found = [(n, path, line, name) for path in c_files for name, line, n in functions(strip(read(path)))]
    print("longest functions")
    for n, path, line, name in sorted(found, reverse=True)[:10]:
        print(f"  {n:5} {name} ({path}:{line})")
    for n, path, line, name in found:
        if n > function_max(path, name):
            fail(f"{path}:{line}", f"{name} has {n} lines, at most {function_max(path, name)}")
    lengths = sorted(((read(path).count("\n"), path) for path in counted), reverse=True)
    print("longest files")
    for n, path in lengths[:10]:
        print(f"  {n:5} {path}")
    for n, path in lengths:
        if n > FILE_MAX:
            fail(path, f"{n} lines, at most {FILE_MAX}")


def check_headers(headers):
    compiler = os.environ.get("CC", "gcc")
    flags = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-I.", "-Isrc", "-Itests"]
    # A header's inline and static functions are unused when it is alone.
    flags += ["-Wno-unused-function", "-Wno-unused-variable", "-fsyntax-only", "-x", "c"]
    for header in headers:
        text = read(header)
        source = f'#include "{header}"\n#include "{header}"\ntypedef int not_empty;\n'
        done = subprocess.run([compiler, *flags, "-"], input=source, capture_output=True, text=True)
        if done.returncode:
            reason = next((line for line in done.stderr.split("\n") if "error:" in line), done.stderr)
            fail(header, "does not compile alone: " + reason)
        if header.startswith(("src/", "vision/", "llm/", "web/")) and not text.startswith("//"):
            fail(header, "does not begin with a comment that says what it is")


def check_format(c_files):
    if not shutil.which("clang-format"):
        fail("clang-format", "not installed")
        return
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *c_files], capture_output=True, text=True)
    for path in sorted({line.split(":")[0] for line in done.stderr.split("\n") if "error:" in line}):
        fail(path, "not formatted (clang-format -i)")


def check_paths(paths):
    for path in paths:
        for number, line in enumerate(read(path).split("\n"), 1):
            match = MACHINE_PATHS.search(line)
            if match and not line.startswith("#!"):
                fail(f"{path}:{number}", f"names a path of one machine: {line[max(0, match.start() - 20):][:60].strip()}")


def main():
    files = list(walk())
    c_files = [p for p in files if p.endswith((".c", ".h")) and p.startswith(tuple(s + "/" for s in SOURCES))]
    for path in c_files:
        text = read(path)
        check_includes(path, text)
        check_calls(path, strip(text))
    check_lengths(c_files, [p for p in files if p.endswith(COUNTED)])
    check_headers([p for p in c_files if p.endswith(".h") and p not in NOT_ALONE])
    check_format(c_files)
    scripts = ["run", "check", ".ci/run", "CMakeLists.txt"]
    check_paths([p for p in files if p.endswith(TEXT) or p in scripts])
    for failure in failures:
        print(failure)
    print(f"{len(c_files)} C files, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
