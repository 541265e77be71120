"""What stands in each patch of a picture: the vision tower's lessons before any question is asked.

planes, uint8 [PLANES][GRID][GRID]; 0 means nothing of the kind:
  shape, color   1 + index into SHAPES, COLORS
  filled         1 outlined, 2 filled
  left, right    1 + index into CHARACTERS, of the character a quarter of a patch left and right of the patch's centre
  place          1 + the number of the left one in its text (0 is the first)
  centre         1 in the patch that holds a shape's centre
"""
import math

import numpy as np

from camera import homography_apply
from world import CHARACTERS, COLORS, PATCH, SHAPES, SIZE, TEXT_MAX

GRID = SIZE // PATCH
PLANES = {
    "shape": len(SHAPES) + 1,
    "color": len(COLORS) + 1,
    "filled": 3,
    "left": len(CHARACTERS) + 1,
    "right": len(CHARACTERS) + 1,
    "place": TEXT_MAX + 1,
    "centre": 2,
}
SHAPE, COLOR, FILLED, LEFT, RIGHT, PLACE, CENTRE = range(len(PLANES))


class Labels:
    """The planes of a drawing that lies at (left, top) of the picture, seen through a homography (camera.py) or none."""

    def __init__(self, left, top, back):
        self.planes = np.zeros((len(PLANES), GRID, GRID), np.uint8)
        self.left, self.top, self.back = left, top, back

    def points(self, dx):
        """Where in the drawing each patch's centre, moved by dx pixels, comes from: x, y of [GRID][GRID]."""
        middles = np.arange(GRID) * PATCH + PATCH / 2
        y, x = np.meshgrid(middles - self.top, middles + dx - self.left, indexing="ij")
        return homography_apply(self.back, x, y) if self.back is not None else (x, y)

    def add_shapes(self, objects):
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
            self.planes[CENTRE].flat[np.argmin(away)] = 1

    def add_text(self, place, color):
        angle = math.radians(place["angle"])
        edges = np.array(place["edges"])
        ids = np.array([1 + CHARACTERS.index(c) for c in place["text"]] + [0])
        for plane, dx in ((LEFT, -PATCH / 4), (RIGHT, PATCH / 4)):
            x, y = self.points(dx)
            x, y = x - place["x"], y - place["y"]
            along = x * math.cos(angle) - y * math.sin(angle)
            across = x * math.sin(angle) + y * math.cos(angle)
            i = np.searchsorted(edges, along) - 1
            here = (i >= 0) & (i < len(ids) - 1) & (np.abs(across) <= max(0.5 * place["height"], PATCH / 2))
            self.planes[plane][here] = ids[i[here]]
            self.planes[COLOR][here] = 1 + COLORS.index(color)
            if plane == LEFT:
                self.planes[PLACE][here] = 1 + i[here]
