"""Colours and backgrounds of a picture."""
import math

import numpy as np
from PIL import Image

from world import COLOR_PURE, COLOR_RANGES, PASTEL_RANGES

PURE_SHARE = 0.3  # of colours are the one that bears the name in CSS


def hsv_rgb(hue, saturation, value):
    sector, f = divmod((hue % 360) / 60, 1)
    v, p, q, t = value, value * (1 - saturation), value * (1 - saturation * f), value * (1 - saturation * (1 - f))
    rgb = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][int(sector)]
    return tuple(round(255 * x) for x in rgb)


def color_draw(rng, name):
    """A colour (r, g, b) of that name."""
    if name in COLOR_PURE and rng.random() < PURE_SHARE:
        return COLOR_PURE[name]
    return hsv_rgb(*(rng.uniform(*limits) for limits in (COLOR_RANGES.get(name) or PASTEL_RANGES[name])))


def luminance(c):
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)))


def flat(size, rgb, name):
    return Image.new("RGB", size, rgb), name, [rgb]


def gradient(rng, size):
    """Two colours that flow into each other; it has no name."""
    dark = rng.random() < 0.2
    saturations, values = ((0.2, 0.6), (0.1, 0.4)) if dark else ((0, 0.35), (0.75, 1))
    ends = [hsv_rgb(rng.uniform(0, 360), rng.uniform(*saturations), rng.uniform(*values)) for _ in range(2)]
    t = np.linspace(0, 1, 16)
    mix = rng.choice([np.tile(t[:, None], (1, 16)), np.tile(t, (16, 1)), (t[:, None] + t) / 2])[..., None]
    pixels = mix * np.array(ends[0]) + (1 - mix) * np.array(ends[1])
    return Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.BILINEAR), None, ends


def cloudy(rng, size):
    """One colour with soft noise, as of cloth or a wall."""
    base = np.array(hsv_rgb(rng.uniform(0, 360), rng.uniform(0, 0.3), rng.uniform(0.6, 1)), float)
    n = rng.choice([7, 14, 28, 56])
    noise = np.random.RandomState(rng.getrandbits(31)).randn(n, n, rng.choice([1, 3])) * rng.uniform(6, 22)
    pixels = np.clip(np.broadcast_to(base + noise, (n, n, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.BILINEAR), None, [tuple(base)]


def background_draw(rng, size, plain):
    """A background of size (w, h): the image, its colour's name or None, and the colours that it is made of.

    A plain one has one colour."""
    u = rng.random() * (0.78 if plain else 1)
    if u < 0.42:
        grey = 255 if rng.random() < 0.7 else rng.randint(242, 255)
        return flat(size, (grey,) * 3, "white")
    if u < 0.52:
        grey = rng.randint(100, 215)
        return flat(size, (grey + rng.randint(-4, 4), grey, grey + rng.randint(-4, 4)), "gray")
    if u < 0.70:
        name = rng.choice(list(PASTEL_RANGES))
        return flat(size, color_draw(rng, name), name)
    if u < 0.78:
        return flat(size, (rng.randint(0, 28),) * 3, "black")
    return gradient(rng, size) if u < 0.9 else cloudy(rng, size)


def stands_out(name, rgb, behind, n_least=75):
    """Whether a thing of this colour shows on those colours, and its name stays true there."""
    least = min(abs(luminance(rgb) - luminance(b)) + 0.35 * distance(rgb, b) for b in behind)
    far = min(distance(rgb, b) for b in behind)
    return least > n_least * 0.6 and far > n_least and not (name == "white" and min(map(luminance, behind)) > 195)
