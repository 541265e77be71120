"""How a picture reaches the model: scaled, compressed, shown on a screen, or photographed from paper.

Takes a picture drawn at S times its size; gives one of its size, and the map from its pixels back to the drawing.
"""
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

FILTERS = [Image.BOX, Image.BICUBIC, Image.BICUBIC, Image.BILINEAR, Image.LANCZOS]


def homography(corners, size):
    """The 8 coefficients that send a picture's corners (upper left, upper right, lower right, lower left) to `corners`.

    Solves x' = (ax + by + c) / (gx + hy + 1), y' = (dx + ey + f) / (gx + hy + 1) for the four pairs."""
    w, h = size
    rows, right = [], []
    for (x, y), (u, v) in zip(((0, 0), (w, 0), (w, h), (0, h)), corners):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.linalg.solve(np.array(rows, float), np.array(right, float))


def homography_apply(c, x, y):
    z = c[6] * x + c[7] * y + 1
    return (c[0] * x + c[1] * y + c[2]) / z, (c[3] * x + c[4] * y + c[5]) / z


def shrink(rng, image, size):
    return image.resize(size, rng.choice(FILTERS))


def noise(rng, image, low, high):
    pixels = np.asarray(image, np.float32)
    grain = np.random.RandomState(rng.getrandbits(31)).randn(*pixels.shape) * rng.uniform(low, high)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def jpeg(rng, image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=rng.randint(45, 92))
    return Image.open(data).convert("RGB")


def uneven_light(rng, image):
    """A lamp at one side, and a tint."""
    w, h = image.size
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    a = rng.uniform(0, 2 * np.pi)
    light = 1 - rng.uniform(0.03, 0.2) * (1 + np.cos(a) * x + np.sin(a) * y)
    tint = np.array([rng.uniform(0.93, 1) for _ in range(3)])
    return Image.fromarray(np.clip(np.asarray(image) * light[..., None] * tint, 0, 255).astype(np.uint8))


def photo(rng, image, size):
    """Paper under a camera: perspective, uneven light, blur, noise, JPEG. -> picture, homography"""
    image = shrink(rng, image, size)
    w, h = size
    reach = 0.05 * min(size)
    corners = [(x + rng.uniform(-reach, reach), y + rng.uniform(-reach, reach)) for x, y in ((0, 0), (w, 0), (w, h), (0, h))]
    back = homography(corners, size)
    desk = tuple(rng.randint(60, 200) for _ in range(3)) if rng.random() < 0.5 else image.getpixel((1, 1))
    image = image.transform(size, Image.PERSPECTIVE, tuple(back), Image.BICUBIC, fillcolor=desk)
    image = uneven_light(rng, image)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    image = noise(rng, image, 1, 7)
    return jpeg(rng, image) if rng.random() < 0.6 else image, back


def screenshot(rng, image, size):
    """A window of a screen: sharp, often scaled without smoothing, at times with a bar at its upper or lower edge."""
    image = image.resize(size, rng.choice([Image.NEAREST, Image.BOX, Image.BICUBIC]))
    if rng.random() < 0.4:
        draw, thick = ImageDraw.Draw(image), rng.randint(1, 4)
        y = 0 if rng.random() < 0.5 else size[1] - thick
        draw.rectangle((0, y, size[0], y + thick), fill=(rng.randint(90, 220),) * 3)
    return image


def scaled(rng, image, size):
    """What a chat's upload goes through: another filter, at times soft, noisy or compressed."""
    image = shrink(rng, image, size)
    if rng.random() < 0.12:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.7)))
    if rng.random() < 0.2:
        image = jpeg(rng, image)
    return noise(rng, image, 2, 9) if rng.random() < 0.3 else image
