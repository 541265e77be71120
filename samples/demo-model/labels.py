"""What stands in each patch of a picture: the vision tower's lessons before any question is asked.

planes, uint8 [PLANES][GRID][GRID]; 0 means nothing of the kind:
  shape, color   1 + index into SHAPES, COLORS
  filled         1 outlined, 2 filled
  left, right    1 + index into CHARACTERS, of the character a quarter of a patch left and right of the patch's centre
  place          1 + the number of the left one in its text (0 is the first)
  place_right    the same of the right one
  centre         1 in the patch that holds a shape's centre
  row, column    1 + the third of the picture that a shape's centre is in; the picture may be smaller than the square
  order          1 + the number of the shape in a description (language.py): by row, then from left to right
  size           1 + how many of SIZES the shape's radius exceeds
  background     1 + index into BACKGROUNDS, wherever the picture is
"""
import math

import numpy as np

from camera import homography_apply
from world import BACKGROUNDS, CHARACTERS, COLORS, PATCH, SHAPES, SIZE, TEXT_MAX

GRID = SIZE // PATCH
PLANES = {
    "shape": len(SHAPES) + 1,
    "color": len(COLORS) + 1,
    "filled": 3,
    "left": len(CHARACTERS) + 1,
    "right": len(CHARACTERS) + 1,
    "place": TEXT_MAX + 1,
    "centre": 2,
    "row": 4,
    "column": 4,
    "order": 5,
    "size": 6,
    "background": len(BACKGROUNDS) + 1,
    "place_right": TEXT_MAX + 1,
}
SHAPE, COLOR, FILLED, LEFT, RIGHT, PLACE, CENTRE, ROW, COLUMN, ORDER, OF_SIZE, BACKGROUND, PLACE_RIGHT = range(len(PLANES))
UNCLEAR = 255  # no label: what stands here has no right answer
SIZES = (9.5, 13, 18, 25)  # radii in pixels


def reading_order(o):
    """Sorts shapes as a description names them."""
    return o["cell"][0], o["x"]


class Labels:
    """The planes of a drawing that lies at (left, top) of the picture, seen through a homography (camera.py) or none."""

    def __init__(self, left, top, back):
        self.planes = np.zeros((len(PLANES), GRID, GRID), np.uint8)
        self.left, self.top, self.back = left, top, back

    def add_background(self, name, w, h):
        """w, h: of the picture in pixels"""
        if name:
            x, y = self.points(0)
            self.planes[BACKGROUND][(x >= 0) & (x < w) & (y >= 0) & (y < h)] = 1 + BACKGROUNDS.index(name)

    def points(self, dx):
        """Where in the drawing each patch's centre, moved by dx pixels, comes from: x, y of [GRID][GRID]."""
        middles = np.arange(GRID) * PATCH + PATCH / 2
        y, x = np.meshgrid(middles - self.top, middles + dx - self.left, indexing="ij")
        return homography_apply(self.back, x, y) if self.back is not None else (x, y)

    def add_shapes(self, objects):
        """objects without "cell" have no clear place in the picture"""
        placed = all("cell" in o for o in objects)
        order = sorted(objects, key=reading_order) if placed else []
        x, y = self.points(0)
        nearest = np.ones((GRID, GRID))
        for o in objects:
            away = np.hypot(x - o["x"], y - o["y"])
            inside = away / max(o["r"] * 0.95, 0.71 * PATCH)
            here = inside < nearest
            nearest = np.where(here, inside, nearest)
            self.planes[SHAPE][here] = 1 + SHAPES.index(o["shape"])
            self.planes[COLOR][here] = 1 + COLORS.index(o["color"])
            self.planes[FILLED][here] = 1 + o["filled"]
            self.planes[ROW][here] = 1 + o["cell"][0] if placed else UNCLEAR
            self.planes[COLUMN][here] = 1 + o["cell"][1] if placed else UNCLEAR
            self.planes[ORDER][here] = 1 + order.index(o) if placed else UNCLEAR
            self.planes[OF_SIZE][here] = 1 + sum(o["r"] > r for r in SIZES)
            self.planes[CENTRE].flat[np.argmin(away)] = 1

    def add_text(self, place, color):
        angle = math.radians(place["angle"])
        edges = np.array(place["edges"])
        ids = np.array([1 + CHARACTERS.index(c) for c in place["text"]] + [0])
        for plane, of_place, dx in ((LEFT, PLACE, -PATCH / 4), (RIGHT, PLACE_RIGHT, PATCH / 4)):
            x, y = self.points(dx)
            x, y = x - place["x"], y - place["y"]
            along = x * math.cos(angle) - y * math.sin(angle)
            across = x * math.sin(angle) + y * math.cos(angle)
            i = np.searchsorted(edges, along) - 1
            here = (i >= 0) & (i < len(ids) - 1) & (np.abs(across) <= max(0.5 * place["height"], PATCH / 2))
            self.planes[plane][here] = ids[i[here]]
            self.planes[COLOR][here] = 1 + COLORS.index(color)
            self.planes[of_place][here] = 1 + i[here]
