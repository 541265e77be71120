#!/usr/bin/env python3
"""Random language models that go with the tiny vision models of tests/golden, and a picture for each.

usage: make_vision_models.py FOLDER OCELLUS. For each family of vision models writes FOLDER/NAME.gguf, whose embeddings
are as wide as the rows of tests/golden/vision-families*/NAME/mmproj.gguf and whose vocabulary and chat template have the
family's special tokens; two pictures, FOLDER/NAME.png and the same turned; and FOLDER/cases.json. Further, where the peer
does not compute what the original does, files with which it does:

  NAME-mmproj.gguf  for both, of CLIP kinds, of whose rows the peer takes the wrong ones: without class token, with a copy of
                    the last block, which the peer leaves out; and for MobileVLM with 24 x 24 patches, the peer's one size
  NAME-peer.gguf    for the peer alone: positions turned by one (internvl), since it puts the class token behind the patches,
                    but its position in front; without the copy of the last block and without the last norm (nanoLLaVA,
                    Llama-3-vision-alpha), and peer-NAME.png is what those models see of the picture

The same at every run; exit 77 without numpy.

cases.json: pieces: the bytes of each token, in hexadecimal digits; models: name -> {mmproj, images, peer_mmproj,
peer_images, head, behind, tail, peer}: a user's message that begins with a picture is in the template `head`, the picture's
special tokens and rows, `behind`, the text, `tail`; `peer` is what the peer, which puts the special tokens next to the rows
by itself, wants there beside its marker "*"; null: it is not compared.

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
import gguf
import numpy as np
from families import ARRAY, BASE, BOOL, FAMILIES, F32, I32, STRING, text, value, vocabulary, weights, write_gguf

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.normpath(os.path.join(HERE, "../golden"))
CONTROL, USER_DEFINED = 3, 4
PATCH = 4  # of CLIP kinds
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
    "mobilevlm": ({**LLAMA, "n_embd": 16}, "USER: ", None, " ASSISTANT:", "*\n", (96, 96)),
    "mobilevlm-v2": ({**LLAMA, "n_embd": 16}, "USER: ", None, " ASSISTANT:", "*\n", (96, 96)),
    "yi-vl": ({**LLAMA, "n_embd": 20}, "USER: ", None, " ASSISTANT:", "*\n", (16, 16)),
    "llava-square": ({**LLAMA, "n_embd": 20}, "USER: ", None, " ASSISTANT:", "*\n", (16, 16)),
    "moondream2": ({**LLAMA, "n_embd": 20}, "USER: ", None, " ASSISTANT:", "*\n", (16, 16)),
    "nanollava": ({**LLAMA, "n_embd": 20}, "USER: ", None, " ASSISTANT:", "*\n", (22, 22)),
    "llama-3-vision-alpha": ({**LLAMA, "n_embd": 20}, "USER: ", None, " ASSISTANT:", "*\n", (22, 22)),
}
UNSEEN = {"nanollava": 6, "llama-3-vision-alpha": 6}  # pixels at the right and at the bottom
CLIP = ("mobilevlm", "mobilevlm-v2", "yi-vl", "llava-square")


def mmproj_of(name):
    paths = (os.path.join(GOLDEN, folder, name, "mmproj.gguf") for folder in ("vision-families", "vision-families-own"))
    return next(path for path in paths if os.path.exists(path))


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


def describe(name):
    """What families.py and pictures.py want to know of the language model."""
    own = PAIRS[name][0]
    c = {**BASE, "arch": name, "n_layer": 3, "n_head": 2, "n_kv": 1, "n_ff": 128, "n_ctx": 1024, "tied": False, **own}
    c["head_dim"] = own.get("head_dim", c["n_embd"] // c["n_head"])
    return c


def write_model(folder, name, chat_template, ocellus):
    c = describe(name)
    n_known, c["n_vocab"], vocab = special_vocabulary(chat_template)
    rng = np.random.default_rng(sum(name.encode()))
    tensors = weights(c, c["n_vocab"], rng)
    tensors["output.weight"] = rng.standard_normal((c["n_vocab"], c["n_embd"])) * c["n_embd"] ** -0.5
    if name == "pixtral":  # the token is in both files
        tensors["token_embd.weight"][n_known + CONTROLS.index("[IMG_BREAK]")] = tensor(
            ocellus, mmproj_of(name), "v.token_embd.img_break", os.path.join(folder, "break"))
    stored = {key: make_models.store(rng, key, v, "f32") for key, v in tensors.items()}
    write_gguf(os.path.join(folder, name + ".gguf"), name, c, stored, {**vocab, **make_models.more_keys(c)})


def changed_positions(tensors, change):
    """change: [n, n_embd] -> the same of any n"""
    (n_embd, _, *more), kind, raw = tensors["v.position_embd.weight"]
    positions = change(np.frombuffer(raw, "<f2" if kind == gguf.F16 else "<f4").reshape(-1, n_embd))
    tensors["v.position_embd.weight"] = (n_embd, len(positions), *more), kind, positions.tobytes()


def set_block_count(keys, n):
    keys["clip.vision.block_count"] = struct.pack("<II", gguf.U32, n)


def n_blocks(tensors):
    return 1 + max(int(key.split(".")[2]) for key in tensors if key.startswith("v.blk."))


def write_for_peer(folder, name):
    keys, tensors = gguf.read(mmproj_of(name))
    if name == "internvl":
        changed_positions(tensors, lambda p: np.roll(p, -1, axis=0))
    else:
        n = n_blocks(tensors) - 1
        tensors = {key: v for key, v in tensors.items() if not key.startswith((f"v.blk.{n}.", "v.post_ln."))}
        set_block_count(keys, n)
    path = os.path.join(folder, name + "-peer.gguf")
    gguf.write(path, keys, tensors)
    return path


def write_without_class(folder, name):
    keys, tensors = gguf.read(mmproj_of(name))
    side, n = PAIRS[name][-1][0], (PAIRS[name][-1][0] // PATCH) ** 2
    del tensors["v.class_embd"]
    keys["clip.vision.image_size"] = struct.pack("<II", gguf.U32, side)
    # the file's positions, each time a little further on
    changed_positions(tensors, lambda p: (p[1 + np.arange(n) % (len(p) - 1)] + np.arange(n)[:, None] / n).astype(p.dtype))
    n_block = n_blocks(tensors)
    last = f"v.blk.{n_block - 1}."
    tensors.update({f"v.blk.{n_block}." + key[len(last):]: v for key, v in tensors.items() if key.startswith(last)})
    set_block_count(keys, n_block + 1)
    path = os.path.join(folder, name + "-mmproj.gguf")
    gguf.write(path, keys, tensors)
    return path


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
    for name, (_, head, place, tail, place_of_peer, size) in PAIRS.items():
        write_model(folder, name, template(head, place, tail), ocellus)
        rgb, seen = picture(name, *size), size[0] - UNSEEN.get(name, 0)
        images = {name + ".png": rgb, name + "-turned.png": rgb[::-1, ::-1]}
        peer_images = images
        if name in UNSEEN:
            peer_images = {"peer-" + file: pixels[:seen, :seen] for file, pixels in images.items()}
        for file, pixels in {**images, **peer_images}.items():
            with open(os.path.join(folder, file), "wb") as f:
                f.write(png(pixels))
        behind = "\n" if place is None or place.endswith("\n") else ""
        mmproj = write_without_class(folder, name) if name in CLIP else mmproj_of(name)
        peer_mmproj = write_for_peer(folder, name) if name == "internvl" or name in UNSEEN else mmproj
        models[name] = {"mmproj": mmproj, "images": list(images), "peer_mmproj": peer_mmproj,
                        "peer_images": list(peer_images), "head": head, "behind": behind, "tail": tail,
                        "peer": place_of_peer}
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as f:
        json.dump({"pieces": pieces, "models": models}, f)


if __name__ == "__main__":
    main()
