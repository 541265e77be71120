#!/usr/bin/env python3
"""Random language models that go with the tiny vision models of tests/golden, and a picture for each.

usage: make_vision_models.py FOLDER OCELLUS. For each family of vision models writes FOLDER/NAME.gguf, whose embeddings
are as wide as the rows of tests/golden/vision-families/NAME/mmproj.gguf and whose vocabulary and chat template have the
family's special tokens; FOLDER/NAME.png; and FOLDER/cases.json. Further FOLDER/internvl-mmproj.gguf for the peer, which
puts the class token behind the patches, but its position in front: there the positions are turned by one. The same at
every run; exit 77 without numpy.

cases.json: pieces: the bytes of each token, in hexadecimal digits; models: name -> {head, behind, tail, peer}: a user's message
that begins with a picture is in the template `head`, the picture's special tokens and rows, `behind`, the text, `tail`;
`peer` is what the peer, which puts the special tokens next to the rows by itself, wants there beside its marker "*".

Pictures have sizes that no preprocessing changes and are noise, so that no two patches are alike; that of idefics3,
whose overview is always resized, is a slope, which all filters treat alike but for rounding and the edges.
"""
import json
import os
import struct
import subprocess
import sys
import zlib

import make_models  # exit 77 without numpy
import numpy as np
from families import ARRAY, BASE, BOOL, FAMILIES, F32, I32, STRING, text, value, vocabulary, weights, write_gguf

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "../golden/vision-families")
CONTROL, USER_DEFINED = 3, 4
CONTROLS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<end_of_utterance>",
            "<image>", "<fake_token_around_image>", "<global-img>", "<start_of_turn>", "<end_of_turn>",
            "<start_of_image>", "<end_of_image>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "<img>",
            "</img>", "<IMG_CONTEXT>", "</image>", "<slice>", "</slice>", "<image_id>", "</image_id>"]
CONTROLS += [f"<row_{y}_col_{x}>" for y in range(1, 4) for x in range(1, 4)]
BIAS, NORMS = {"qkv_bias": True, "base": 1e6}, {"qk_norm": True, "base": 5e6}
QWEN = ("<|im_start|>user\n", "<|vision_start|><|image_pad|><|vision_end|>", "<|im_end|>\n<|im_start|>assistant\n", "*")
LLAMA = {"arch": "llama", "halves": False}

# Name: language model, and what its template writes before a picture, in its place (None: it knows no pictures) and
# behind the text, the picture's place for the peer (None: not compared), size of the picture.
PAIRS = {
    "qwen2vl": ({**BIAS, "n_embd": 48, "sections": (3, 4, 5, 0)}, *QWEN, (140, 84)),
    "qwen25vl": ({**BIAS, "arch": "qwen2vl", "n_embd": 64, "sections": (4, 6, 6, 0)}, *QWEN, (140, 168)),
    "qwen3vl": ({**NORMS, "n_embd": 48, "sections": (4, 4, 4, 0), "deepstack": 2}, *QWEN, (320, 224)),
    "idefics3": ({**LLAMA, "n_embd": 96}, "<|im_start|>User:", "<image>", "<end_of_utterance>\nAssistant:", "*",
                 (96, 64)),
    "gemma3": ({**FAMILIES["gemma3"], "n_embd": 256, "head_dim": 64, "n_head": 4, "n_ff": 256, "window": 16},
               "<start_of_turn>user\n", "<start_of_image>", "<end_of_turn>\n<start_of_turn>model\n", "\n\n*\n\n", (64, 64)),
    "pixtral": ({**LLAMA, "n_embd": 64}, "[INST]", "[IMG]", "[/INST]", "*", (96, 64)),
    "internvl": ({**LLAMA, "n_embd": 96}, "<|im_start|>user\n", "<IMG_CONTEXT>\n", "<|im_end|>\n", "*\n", (32, 32)),
    "minicpmv": ({**LLAMA, "n_embd": 128}, "<|im_start|>user\n", None, "<|im_end|>\n", "<image_id>0</image_id>*\n",
                 (56, 56)),
    "llava16": ({**LLAMA, "n_embd": 64}, "USER: ", None, " ASSISTANT:", None, (64, 64)),
}


def template(head, place, tail):
    """Jinja: a string of the language is written as JSON is."""
    parts = "" if place is None else ("{% for p in m.content %}{{ " + json.dumps(place) + " if p.type == 'image' else "
                                      "p.text }}{% endfor %}")
    whole = "{{ m.content }}"
    content = whole if place is None else "{% if m.content is string %}" + whole + "{% else %}" + parts + "{% endif %}"
    return "{% for m in messages %}{{ " + json.dumps(head) + " }}" + content + "{{ " + json.dumps(tail) + " }}{% endfor %}"


def special_vocabulary(chat_template):
    n, vocab = vocabulary()
    words = [(word.encode(), CONTROL) for word in CONTROLS] + [(b"\n\n", USER_DEFINED)]
    more = {"tokens": (STRING, b"".join(text(word) for word, _ in words)), "scores": (F32, bytes(4 * len(words))),
            "token_type": (I32, struct.pack(f"<{len(words)}i", *[kind for _, kind in words]))}
    for key, (kind, raw) in more.items():
        old = vocab["tokenizer.ggml." + key][1]
        vocab["tokenizer.ggml." + key] = ARRAY, struct.pack("<IQ", kind, n + len(words)) + old[12:] + raw
    vocab["tokenizer.ggml.add_space_prefix"] = BOOL, value(BOOL, False)
    vocab["tokenizer.chat_template"] = STRING, value(STRING, chat_template)
    return n, n + len(words), vocab


def tensor(ocellus, file, name, scratch):
    subprocess.run([ocellus, "inspect", "tensor", file, name, "--out", scratch], check=True)
    with open(scratch, "rb") as f:
        return np.frombuffer(f.read(), "<f4")


def write_model(folder, name, own, chat_template, ocellus):
    c = {**BASE, "arch": name, "n_layer": 3, "n_head": 2, "n_kv": 1, "n_ff": 128, "n_ctx": 1024, "tied": False, **own}
    c["head_dim"] = own.get("head_dim", c["n_embd"] // c["n_head"])
    n_known, c["n_vocab"], vocab = special_vocabulary(chat_template)
    rng = np.random.default_rng(sum(name.encode()))
    tensors = weights(c, c["n_vocab"], rng)
    tensors["output.weight"] = rng.standard_normal((c["n_vocab"], c["n_embd"])) * c["n_embd"] ** -0.5
    if name == "pixtral":  # the token is in both files
        tensors["token_embd.weight"][n_known + CONTROLS.index("[IMG_BREAK]")] = tensor(
            ocellus, os.path.join(GOLDEN, name, "mmproj.gguf"), "v.token_embd.img_break", os.path.join(folder, "break"))
    stored = {key: make_models.store(rng, key, v, "f32") for key, v in tensors.items()}
    write_gguf(os.path.join(folder, name + ".gguf"), name, c, stored, {**vocab, **make_models.more_keys(c)})


def turn_positions(folder, ocellus):
    source = os.path.join(GOLDEN, "internvl/mmproj.gguf")
    positions = tensor(ocellus, source, "v.position_embd.weight", os.path.join(folder, "positions")).reshape(17, -1)
    with open(source, "rb") as f:
        whole = f.read()
    old, new = positions.tobytes(), np.roll(positions, -1, axis=0).tobytes()
    if whole.count(old) != 1:
        sys.exit(f"{source}: its positions are not found once in f32")
    with open(os.path.join(folder, "internvl-mmproj.gguf"), "wb") as f:
        f.write(whole.replace(old, new))


def png(rgb):
    """rgb [h, w, 3] u8"""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    lines = b"".join(b"\0" + line.tobytes() for line in rgb)
    header = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def picture(name, width, height):
    if name != "idefics3":
        return np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + x, 200 - x - y // 2, 30 + y], -1).astype(np.uint8)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: make_vision_models.py FOLDER OCELLUS")
    folder, ocellus = sys.argv[1:]
    words = ["<unk>", "<s>", "</s>"] + [bytes([i]) for i in range(256)] + CONTROLS + ["\n\n"]
    pieces = [(word if isinstance(word, bytes) else word.encode()).hex() for word in words]
    models = {}
    for name, (own, head, place, tail, place_of_peer, size) in PAIRS.items():
        write_model(folder, name, own, template(head, place, tail), ocellus)
        with open(os.path.join(folder, name + ".png"), "wb") as f:
            f.write(png(picture(name, *size)))
        behind = "\n" if place is None or place.endswith("\n") else ""
        models[name] = {"head": head, "behind": behind, "tail": tail, "peer": place_of_peer}
    turn_positions(folder, ocellus)
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as f:
        json.dump({"pieces": pieces, "models": models}, f)


if __name__ == "__main__":
    main()
