"""Synthetic pictures with what is in them: scenes of one to four shapes, a number or a word, nothing at all.

picture_draw(rng) gives (pixels uint8 SIZE x SIZE x 3, meta, labels uint8 PLANES x GRID x GRID). meta is what
language.py asks about; the labels say of each patch what stands there (labels.py).
"""
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import camera
from canvas import background_draw, color_draw, hsv_rgb, luminance, stands_out
from labels import Labels
from strokes import LETTERS, densify, draw_stroke, overshoot, pen_outline, shape_outline, wobble
from world import COLOR_PURE, COLORS, PAD_RGB, SHAPES, SIZE, TEXT_MAX, WORDS

FONTS = [
    f"{family}{cut}.ttf"
    for family, cuts in {
        "DejaVuSans": ["", "-Bold", "-Oblique", "Mono", "Mono-Bold", "Condensed", "Condensed-Bold"],
        "DejaVuSerif": ["", "-Bold", "-Italic", "Condensed"],
        "LiberationSans": ["-Regular", "-Bold", "-Italic"],
        "LiberationSansNarrow": ["-Regular", "-Bold"],
        "LiberationSerif": ["-Regular", "-Bold", "-Italic"],
        "LiberationMono": ["-Regular", "-Bold"],
    }.items()
    for cut in cuts
]
# The share of each style: a flat background; pen strokes on white; any background, scaled any way; paper under a
# camera; a screen.
STYLES = {"plain": 0.28, "sketch": 0.24, "any": 0.30, "photo": 0.10, "screen": 0.08}
SKETCH_SCALES = {1: (18, 48), 2: (13, 27), 3: (12, 22), 4: (11, 20)}  # radii in pixels, by the number of shapes
SCALES = {1: (11, 46), 2: (10, 26), 3: (9, 21), 4: (9, 19)}
LETTERS_ALL = "abcdefghijklmnopqrstuvwxyz"
LETTERS_ALONE = "abcdefghjkmnpqrstuvwyz"  # no i, l, o, x: alone each is a digit or a shape, too
CELLS = ((0, 0.37), (0.43, 0.57), (0.63, 1.01))  # left, centre, right; between them a place would be unclear

font_cache = {}


def font_open(name, size):
    key = name, size
    if key not in font_cache:
        font_cache[key] = ImageFont.truetype(name, size)
    return font_cache[key]


def cell(u):
    """0, 1, 2 for a coordinate in 0..1, or None where the answer would be unclear."""
    return next((k for k, (low, high) in enumerate(CELLS) if low <= u <= high), None)


# ---- scenes ----


def shapes_place(rng, n, w, h, scales):
    """n circles that do not touch, each in a clear cell: [{x y r cell}], or None when they do not fit."""
    scale = min(w, h) / 112
    low, high = max(7, scales[n][0] * scale), scales[n][1] * scale
    placed = []
    for _ in range(40 * n):
        if len(placed) == n:
            break
        r = rng.uniform(low, high if rng.random() < 0.7 else (low + high) / 2)
        if 2 * r + 3 >= min(w, h):
            continue
        if n == 1 and rng.random() < 0.3:
            x, y = w / 2 + rng.gauss(0, w * 0.02), h / 2 + rng.gauss(0, h * 0.02)
        else:
            x, y = rng.uniform(r + 1, w - r - 1), rng.uniform(r + 1, h - r - 1)
        row, column = cell(y / h), cell(x / w)
        if row is None or column is None:
            continue
        if all(math.hypot(x - o["x"], y - o["y"]) >= r + o["r"] + 2 for o in placed):
            placed.append({"x": x, "y": y, "r": r, "cell": (row, column)})
    return placed if len(placed) == n else None


def shape_rotation(rng, shape):
    """Degrees. A square stays a square, a cross at 45 degrees is still one."""
    if rng.random() < 0.35:
        return rng.choice({"rectangle": [0, 90], "triangle": [0, 180], "cross": [0, 45]}.get(shape, [0]))
    base = {"rectangle": [0, 0, 90], "cross": [0, 0, 45], "triangle": [0, 0, rng.uniform(0, 360)]}.get(shape, [0])
    return rng.choice(base) + max(-20, min(20, rng.gauss(0, 9)))


def shape_draw(rng, draw, o, scale):
    """Draws one object {shape rgb x y r filled border pen hand} at `scale` pixels a unit."""
    angle = math.radians(shape_rotation(rng, o["shape"]))
    cos, sin, r = math.cos(angle), math.sin(angle), o["r"]

    def place(strokes):
        return [
            ([(scale * (o["x"] + r * (x * cos - y * sin)), scale * (o["y"] + r * (x * sin + y * cos))) for x, y in p], closed)
            for p, closed in strokes
        ]

    by_pen = not o["filled"] and o["shape"] in ("star", "cross") and rng.random() < (0.5 if o["hand"] else 0.15)
    strokes = pen_outline(rng, o["shape"]) if by_pen else shape_outline(rng, o["shape"])
    if o["shape"] == "ring":
        band = rng.uniform(0.3, 0.52)
        strokes = [([(x * (1 - band / 2), y * (1 - band / 2)) for x, y in p], closed) for p, closed in strokes]
        width = band * r * scale
    else:
        width = max(1.3, o["pen"] if o["pen"] else rng.uniform(0.07, 0.19) * r) * scale
    if o["hand"]:
        strokes = wobble(rng, strokes, rng.uniform(0.02, 0.06 if o["shape"] == "ring" else 0.1))
    if o["filled"] and o["shape"] != "ring":
        points = place(strokes)[0][0]
        draw.polygon(points, fill=o["rgb"])
        if o["border"]:
            draw_stroke(draw, points, (0, 0, 0), max(1, rng.uniform(0.6, 2.2) * scale), True)
        return
    if o["hand"] and o["shape"] != "ring":
        strokes = overshoot(rng, strokes)
    for points, closed in place(strokes):
        draw_stroke(draw, points, o["rgb"], width, closed)


def scene_draw(rng, w, h, scale, style):
    """-> (image of w*scale x h*scale, meta, objects), or None when the draw did not work out."""
    sketch = style == "sketch"
    n = rng.choices([1, 2, 3, 4], [0.27, 0.27, 0.25, 0.21])[0]
    objects = shapes_place(rng, n, w, h, SKETCH_SCALES if sketch else SCALES)
    if objects is None:
        return None
    if sketch or style == "photo" and rng.random() < 0.7:
        back, name, behind = Image.new("RGB", (w, h), (255,) * 3), "white", [(255, 255, 255)]
    else:
        back, name, behind = background_draw(rng, (w, h), style != "any")
    hand = sketch or rng.random() < 0.15
    fill_share = rng.choice([0.1, 0, 0]) if sketch else rng.choice([1, 0.6, 0.5, 0])
    pen = rng.uniform(0.9, 3.2) if sketch else None
    same = rng.random()
    one_shape = rng.choice(SHAPES) if same < 0.18 else None
    one_color = rng.choice(COLORS) if 0.12 < same < 0.3 else "black" if sketch and same > 0.8 else None
    for o in objects:
        o["shape"] = one_shape if one_shape and rng.random() < 0.85 else rng.choice(SHAPES)
        for attempt in range(40):
            o["color"] = one_color if one_color and attempt < 5 and rng.random() < 0.85 else rng.choice(COLORS)
            o["rgb"] = COLOR_PURE[o["color"]] if sketch and rng.random() < 0.6 else color_draw(rng, o["color"])
            if stands_out(o["color"], o["rgb"], behind) and not (o["color"] == "gray" and name == "gray"):
                break
        else:
            return None
        o["filled"] = rng.random() < fill_share or o["shape"] == "ring"
        o["border"] = not sketch and rng.random() < 0.15 and luminance(o["rgb"]) > 80
        o["hand"], o["pen"] = hand, pen
    image = back.resize((w * scale, h * scale), Image.BILINEAR)
    draw = ImageDraw.Draw(image)
    for o in objects:
        shape_draw(rng, draw, o, scale)
    keep = ("shape", "color", "filled", "cell", "x", "y", "r")
    return image, {"background": name, "objects": [{k: o[k] for k in keep} for o in objects]}, objects


# ---- numbers and words ----


def text_choose(rng):
    """-> (kind, text)"""
    u = rng.random()
    if u < 0.42:
        n = rng.choice([1, 2, 3, 4])
        return "number", str(rng.randint(10 ** (n - 1) if n > 1 else 0, 10**n - 1))
    if u < 0.77:
        kind, text = "word", rng.choice(WORDS)
    else:
        n = rng.randint(1, 5)
        kind, text = "letters", "".join(rng.choice(LETTERS_ALL if n > 1 else LETTERS_ALONE) for _ in range(n))
        if "l" in text:
            return kind, text.upper()
    return kind, rng.choice([text.upper(), text.upper(), text, text, text.capitalize()])


def pen_text(rng, text, height, advance, scale):
    """Single-stroke letters by hand. -> (mask, the letters' edges in units from the mask's left)"""
    margin = 4 * scale
    mask = Image.new("L", (int(advance * len(text) * scale + 2 * margin), int(height * scale + 2 * margin)), 0)
    draw, edges = ImageDraw.Draw(mask), [i * advance + 4 for i in range(len(text) + 1)]
    width, amount = max(1.4, rng.uniform(0.06, 0.17) * height) * scale, rng.uniform(0.05, 0.25)
    for i, letter in enumerate(text.upper()):
        fx = rng.uniform(0.85, 1.05) * advance * 0.72 / 4 * scale
        fy = rng.uniform(0.85, 1.0) * height * 0.9 / 6 * scale
        ox = (edges[i] + advance * (0.14 + rng.gauss(0, 0.03))) * scale
        oy = margin + rng.gauss(0.05, 0.03) * height * scale
        slant = rng.gauss(0, 0.08)
        for points in LETTERS[letter]:
            points = densify(points, 3, False) if len(points) < 8 else points
            points = wobble(rng, [(points, False)], amount)[0][0]
            draw_stroke(draw, [(ox + fx * (x - slant * (y - 3)), oy + fy * y) for x, y in points], 255, width, False)
    return mask, edges


def font_text(text, font, scale):
    """Letters of a font. -> (mask, edges) as pen_text"""
    margin = 4 * scale
    mask = Image.new("L", (int(font.getlength(text)) + 2 * margin, sum(font.getmetrics()) + 2 * margin), 0)
    ImageDraw.Draw(mask).text((margin, margin), text, fill=255, font=font)
    return mask, [font.getlength(text[:i]) / scale + 4 for i in range(len(text) + 1)]


def text_size(rng, text, w, h, by_pen, scale):
    """-> (height, advance, font) so that each letter is wide enough to be read, or None."""
    n = len(text)
    for _ in range(30):
        target = rng.uniform(0.3, 0.93) * w
        if by_pen:
            height = min(target / n / rng.uniform(0.75, 1.0), h * rng.uniform(0.35, 0.85))
            advance, font = height * rng.uniform(0.66, 0.95), None
        else:
            name = rng.choice(FONTS)
            size = min(target / font_open(name, 40).getlength(text) * 40, h * rng.uniform(0.4, 1.0)) * scale
            size = int(size) if size < 60 else int(size) // 4 * 4
            if size < 11 * scale:
                continue
            font = font_open(name, size)
            height, advance = sum(font.getmetrics()) / scale, font.getlength(text) / scale / n
        if advance >= (8.5 if n < 6 else 7.5) and advance * n <= 0.95 * w and height * 0.8 <= 0.95 * h:
            return height, advance, font
    return None


def text_paste(rng, image, text, rgb, top, scale, by_pen):
    """Writes a text somewhere on image (a strip of the picture that begins at `top`).

    -> {text, x, y (its centre), angle, edges (of the letters, from the centre), height}, or None when it does not fit"""
    w, h = image.size[0] / scale, image.size[1] / scale
    size = text_size(rng, text, w, h, by_pen, scale)
    if size is None:
        return None
    height, advance, font = size
    mask, edges = pen_text(rng, text, height, advance, scale) if by_pen else font_text(text, font, scale)
    middle = mask.size[0] / scale / 2
    angle = rng.gauss(0, 4) if rng.random() < 0.6 else 0
    if abs(angle) > 0.3:
        mask = mask.rotate(angle, Image.BICUBIC, expand=True)
    ink = mask.getbbox()
    if ink is None or ink[2] - ink[0] > image.size[0] or ink[3] - ink[1] > image.size[1]:
        return None
    wide, high = ink[2] - ink[0], ink[3] - ink[1]
    x = int((image.size[0] - wide) * min(1, max(0, rng.gauss(0.5, 0.16))))
    y = int((image.size[1] - high) * min(1, max(0, rng.gauss(0.5, 0.2))))
    image.paste(tuple(rgb), (x, y), mask.crop(ink))
    tilt = abs(math.sin(math.radians(angle))) * advance * len(text)
    return {
        "text": text.upper(),
        "x": (x - ink[0] + mask.size[0] / 2) / scale,
        "y": (y + high / 2) / scale + top,
        "angle": angle,
        "edges": [e - middle for e in edges],
        "height": max(high / scale * 0.9 - tilt, 6),
    }


def text_color(rng, behind, n_tries=40):
    for _ in range(n_tries):
        name = rng.choice(COLORS + ["black"] * 6)
        rgb = color_draw(rng, name)
        if stands_out(name, rgb, behind):
            return name, rgb
    return None


def text_draw(rng, w, h, scale, style):
    """-> (image, meta, the text's place), or None"""
    paper = style == "sketch" or style == "photo" and rng.random() < 0.7
    back, name, behind = (
        (Image.new("RGB", (w, h), (255,) * 3), "white", [(255, 255, 255)])
        if paper
        else background_draw(rng, (w, h), style != "any")
    )
    color = text_color(rng, behind)
    if color is None:
        return None
    kind, text = text_choose(rng)
    image = back.resize((w * scale, h * scale), Image.BILINEAR)
    by_pen = rng.random() < (0.9 if style == "sketch" else 0.2)
    place = text_paste(rng, image, text, color[1], 0, scale, by_pen)
    return place and (image, {"background": name, "type": kind, "text": text, "color": color[0]}, place)


# ---- whole pictures ----


def nothing_draw(rng, w, h):
    """A background alone, blobs or noise. -> (image, meta)"""
    back, name, _ = background_draw(rng, (w, h), False)
    if rng.random() < 0.25:
        return back, {"background": name}
    random = np.random.RandomState(rng.getrandbits(31))
    n = rng.choice([3, 5, 8, 14])
    image = Image.fromarray(random.randint(0, 256, (n, n, 3)).astype(np.uint8)).resize((w, h), Image.BICUBIC)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 6)))
    if rng.random() < 0.4:
        grain = Image.fromarray(random.randint(0, 256, (h, w, 3)).astype(np.uint8))
        image = Image.blend(image, grain, rng.uniform(0.1, 0.6))
    if rng.random() < 0.3:
        tint = Image.new("RGB", (w, h), hsv_rgb(rng.uniform(0, 360), rng.uniform(0, 0.7), rng.uniform(0.2, 1)))
        image = Image.blend(image, tint, rng.uniform(0.3, 0.7))
    return image, {"background": None}


def frame_choose(rng):
    """Width and height: three in ten pictures are not square."""
    if rng.random() >= 0.3:
        return SIZE, SIZE
    short = int(SIZE / rng.uniform(1.1, 1.85))
    return (SIZE, short) if rng.random() < 0.7 else (short, SIZE)


def picture_draw(rng, kind=None, style=None, n_large=0):
    """One picture -> (pixels, meta, labels), and with n_large the undistorted drawing at that scale."""
    while True:
        w, h = frame_choose(rng)
        scale = n_large or rng.choice([2, 2, 3])
        what = kind or rng.choices(["scene", "text", "none"], [0.5, 0.46, 0.04])[0]
        how = style or rng.choices(list(STYLES), list(STYLES.values()))[0]
        if what == "none":
            image, meta = nothing_draw(rng, w, h)
            things = None
        else:
            drawn = (scene_draw if what == "scene" else text_draw)(rng, w, h, scale, how)
            if not drawn:
                continue
            image, meta, things = drawn
        break
    large = image if n_large else None
    back = None
    if how == "photo":
        small, back = camera.photo(rng, image, (w, h))
    elif how == "screen":
        small = camera.screenshot(rng, image, (w, h))
    elif how == "any":
        small = camera.scaled(rng, image, (w, h))
    else:
        small = camera.shrink(rng, image, (w, h))
    left, top = (SIZE - w) // 2, (SIZE - h) // 2
    out = Image.new("RGB", (SIZE, SIZE), PAD_RGB)
    out.paste(small, (left, top))
    labels = Labels(left, top, back)
    labels.add_background(meta["background"], w, h)
    if what == "scene":
        labels.add_shapes(things)
    elif what == "text":
        labels.add_text(things, meta["color"])
    meta.update(kind=what, style=how)
    pixels = np.asarray(out)
    return (pixels, meta, labels.planes, large) if n_large else (pixels, meta, labels.planes)


# ---- pictures for the vision tower alone ----


def dense_scene(rng, draw, scale, behind, hand):
    """4 to 9 shapes that nearly touch."""
    objects, n = [], rng.randint(4, 9)
    fill_share, pen = rng.choice([1, 0.5, 0, 0]), rng.uniform(0.9, 2.8) if hand else None
    for _ in range(60):
        r = rng.uniform(8, 20)
        x, y = rng.uniform(r, SIZE - r), rng.uniform(r, SIZE - r)
        color = text_color(rng, behind)
        if color is None or any(math.hypot(x - o["x"], y - o["y"]) < (r + o["r"]) * 0.95 + 1 for o in objects):
            continue
        shape = rng.choice(SHAPES)
        o = {"x": x, "y": y, "r": r, "shape": shape, "color": color[0], "rgb": color[1], "hand": hand, "pen": pen}
        o.update(filled=rng.random() < fill_share or shape == "ring", border=False)
        shape_draw(rng, draw, o, scale)
        objects.append(o)
        if len(objects) == n:
            break
    return objects


def dense_lines(rng, image, scale, behind, labels, sketch):
    """Lines of random characters from top to bottom."""
    y, color = rng.uniform(0, 6), text_color(rng, behind)
    while color and y < SIZE - 12:
        high = int(min(rng.uniform(18, 46), SIZE - y))
        if high < 16:
            break
        n = rng.randint(3, TEXT_MAX) if high < 30 else rng.randint(2, 5)
        text = "".join(rng.choice("0123456789" if rng.random() < 0.05 else LETTERS_ALL) for _ in range(n))
        text = rng.choice([text, text.upper(), "".join(rng.choice("0123456789") for _ in range(n))])
        strip = image.crop((0, int(y) * scale, SIZE * scale, (int(y) + high) * scale))
        place = text_paste(rng, strip, text, color[1], int(y), scale, rng.random() < (0.8 if sketch else 0.2))
        if place:
            image.paste(strip, (0, int(y) * scale))
            labels.add_text(place, color[0])
        if rng.random() < 0.4:
            color = text_color(rng, behind)
        y += high


def dense_draw(rng, easy):
    """A picture full of shapes or characters: many labels at the price of one picture.

    Easy ones are black on white. -> (pixels, meta, labels)"""
    scale, sketch = rng.choice([2, 3]), rng.random() < 0.4
    white = easy or sketch
    image, name, behind = background_draw(rng, (SIZE, SIZE), False)
    if white:
        image, name, behind = Image.new("RGB", (SIZE, SIZE), (255,) * 3), "white", [(255, 255, 255)]
    image = image.resize((SIZE * scale, SIZE * scale), Image.BILINEAR)
    labels = Labels(0, 0, None)
    labels.add_background(name, SIZE, SIZE)
    if rng.random() < 0.4:
        labels.add_shapes(dense_scene(rng, ImageDraw.Draw(image), scale, behind, sketch))
    else:
        dense_lines(rng, image, scale, behind, labels, sketch)
    if easy:
        image = image.convert("L").point(lambda v: 255 if v > 250 else v * 0.5).convert("RGB")
    small = camera.shrink(rng, image, (SIZE, SIZE)) if white else camera.scaled(rng, image, (SIZE, SIZE))
    return np.asarray(small), {"kind": "dense"}, labels.planes
