"""Outlines of shapes and single-stroke letters, as a steady or an unsteady hand draws them.

A stroke is (points, closed): a list of (x, y) and whether the last point joins the first. Shapes fill about the unit
circle; letters stand on a grid 0..4 wide and 0..6 high, y down.
"""
import math


def arc(cx, cy, rx, ry, start, end, n=10):
    """Points of an ellipse's arc between two angles in degrees; 0 is to the right, 90 is down."""
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


LETTERS = {
    "0": [arc(2, 3, 1.8, 3, -90, 270, 20)],
    "1": [[(1, 1.2), (2.2, 0), (2.2, 6)]],
    "2": [arc(2, 1.7, 1.7, 1.7, -170, 30) + [(0.3, 6), (3.8, 6)]],
    "3": [arc(1.8, 1.5, 1.6, 1.5, -150, 90) + arc(1.8, 4.5, 1.9, 1.5, -90, 150)],
    "4": [[(2.8, 6), (2.8, 0), (0.2, 4), (3.9, 4)]],
    "5": [[(3.5, 0), (0.8, 0), (0.6, 2.6)] + arc(1.9, 4.1, 1.8, 1.9, -130, 145)],
    "6": [[(3.2, 0.1), (1.2, 2)] + arc(2, 4.2, 1.7, 1.8, -200, 160, 16)],
    "7": [[(0.2, 0), (3.8, 0), (1.5, 6)]],
    "8": [arc(2, 1.5, 1.5, 1.5, 90, 450, 14) + arc(2, 4.5, 1.8, 1.5, -90, 270, 14)],
    "9": [arc(2, 1.8, 1.7, 1.8, 0, -360, 16) + [(3.6, 3.5), (3.2, 6)]],
    "A": [[(0, 6), (2, 0), (4, 6)], [(0.8, 4), (3.2, 4)]],
    "B": [
        [(0.3, 0), (0.3, 6)],
        [(0.3, 0)] + arc(1.8, 1.5, 1.6, 1.5, -90, 90) + [(0.3, 3)] + arc(2, 4.5, 1.8, 1.5, -90, 90) + [(0.3, 6)],
    ],
    "C": [arc(2.2, 3, 2, 3, -50, -310, 14)],
    "D": [[(0.3, 0), (0.3, 6)], [(0.3, 0), (1.5, 0)] + arc(1.5, 3, 2.3, 3, -90, 90) + [(0.3, 6)]],
    "E": [[(3.6, 0), (0.3, 0), (0.3, 6), (3.6, 6)], [(0.3, 3), (3, 3)]],
    "F": [[(3.6, 0), (0.3, 0), (0.3, 6)], [(0.3, 3), (3, 3)]],
    "G": [arc(2.1, 3, 2, 3, -50, -340, 14) + [(4, 3.4), (2.4, 3.4)]],
    "H": [[(0.3, 0), (0.3, 6)], [(3.7, 0), (3.7, 6)], [(0.3, 3), (3.7, 3)]],
    "I": [[(2, 0), (2, 6)]],
    "J": [[(3, 0), (3, 4.4)] + arc(1.7, 4.4, 1.3, 1.6, 0, 170)],
    "K": [[(0.4, 0), (0.4, 6)], [(3.6, 0), (0.4, 3.3), (3.8, 6)]],
    "L": [[(0.4, 0), (0.4, 6), (3.6, 6)]],
    "M": [[(0, 6), (0.3, 0), (2, 4), (3.7, 0), (4, 6)]],
    "N": [[(0.3, 6), (0.3, 0), (3.7, 6), (3.7, 0)]],
    "O": [arc(2, 3, 2, 3, -90, 270, 20)],
    "P": [[(0.3, 6), (0.3, 0), (1.8, 0)] + arc(1.8, 1.6, 1.9, 1.6, -90, 90) + [(0.3, 3.2)]],
    "Q": [arc(2, 3, 2, 3, -90, 270, 20), [(2.4, 4.2), (4, 6.2)]],
    "R": [[(0.3, 6), (0.3, 0), (1.8, 0)] + arc(1.8, 1.6, 1.9, 1.6, -90, 90) + [(0.3, 3.2), (1.6, 3.2), (3.8, 6)]],
    "S": [arc(2, 1.6, 1.7, 1.6, -30, -260) + arc(2, 4.5, 1.8, 1.5, -80, 150)],
    "T": [[(0, 0), (4, 0)], [(2, 0), (2, 6)]],
    "U": [[(0.3, 0), (0.3, 4)] + arc(2, 4, 1.7, 2, 180, 0) + [(3.7, 0)]],
    "V": [[(0, 0), (2, 6), (4, 0)]],
    "W": [[(0, 0), (1, 6), (2, 2), (3, 6), (4, 0)]],
    "X": [[(0, 0), (4, 6)], [(4, 0), (0, 6)]],
    "Y": [[(0, 0), (2, 3)], [(4, 0), (2, 3), (2, 6)]],
    "Z": [[(0.2, 0), (3.8, 0), (0.2, 6), (3.8, 6)]],
}


def densify(points, n=8, closed=True):
    """n points on each side of a polygon or a line."""
    ends = points[1:] + points[:1] if closed else points[1:]
    out = [
        (a[0] + (b[0] - a[0]) * i / n, a[1] + (b[1] - a[1]) * i / n) for a, b in zip(points, ends) for i in range(n)
    ]
    return out if closed else out + [points[-1]]


def polar(radii_degrees, n):
    """A closed stroke through corners given as (radius, angle)."""
    corners = [(r * math.cos(math.radians(a)), r * math.sin(math.radians(a))) for r, a in radii_degrees]
    return [(densify(corners, n), True)]


def box(w, h):
    return [(densify([(-w, -h), (w, -h), (w, h), (-w, h)]), True)]


def heart():
    points = []
    for i in range(40):
        t = 2 * math.pi * i / 40
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) + 2
        points.append((16 * math.sin(t) ** 3 / 17, -y / 17))
    return [(points, True)]


def cross(w, o=0.95):
    corners = [(-w, -o), (w, -o), (w, -w), (o, -w), (o, w), (w, w), (w, o), (-w, o), (-w, w), (-o, w), (-o, -w), (-w, -w)]
    return [(densify(corners, 4), True)]


def shape_outline(rng, shape):
    """A shape's strokes, with proportions drawn anew within what its name covers."""
    if shape in ("circle", "ring"):
        flat = rng.uniform(1, 1.22) if rng.random() < 0.4 else 1
        return [(arc(0, 0, 1, 1 / flat, 0, 351, 39), True)]
    if shape == "square":
        return box(0.8 * rng.uniform(0.93, 1.07), 0.8)
    if shape == "rectangle":
        ratio = rng.uniform(1.5, 2.3)
        return box(ratio / math.hypot(ratio, 1), 1 / math.hypot(ratio, 1))
    if shape == "triangle":
        return polar([(1, a + rng.uniform(-12, 12)) for a in (-90, 30, 150)], 10)
    if shape == "star":
        inner = rng.uniform(0.36, 0.52)
        return polar([(inner if i % 2 else 1, -90 + 36 * i) for i in range(10)], 4)
    return heart() if shape == "heart" else cross(rng.uniform(0.2, 0.38))


def pen_outline(rng, shape):
    """What a pen draws in few strokes: a pentagram for a star, two lines for a cross."""
    if shape == "star":
        return polar([(1, -90 + 144 * i) for i in range(5)], 8)
    if shape == "cross":
        return [(densify([(-1, 0), (1, 0)], 12, False), False), (densify([(0, -1), (0, 1)], 12, False), False)]
    return shape_outline(rng, shape)


def wobble(rng, strokes, amount):
    """The strokes as an unsteady hand draws them: slow waves along each stroke, and a little noise."""
    waves = [
        (k, rng.uniform(0, 6.28), rng.uniform(0, 6.28), rng.gauss(0, 1) / (k + 0.5), rng.gauss(0, 1) / (k + 0.5))
        for k in range(1, 6)
    ]
    out = []
    for points, closed in strokes:
        moved = []
        for i, (x, y) in enumerate(points):
            t = 2 * math.pi * i / max(len(points), 1)
            dx = sum(a * math.sin(k * t + p) for k, p, _, a, _ in waves) * amount
            dy = sum(b * math.sin(k * t + q) for k, _, q, _, b in waves) * amount
            moved.append((x + dx + rng.gauss(0, 0.006), y + dy + rng.gauss(0, 0.006)))
        out.append((moved, closed))
    return out


def overshoot(rng, strokes):
    """A hand does not end where it began: closed strokes are left open, or drawn a little past their start."""
    out = []
    for points, closed in strokes:
        if closed:
            n = len(points)
            start, length = rng.randrange(n), n + 1 + round(rng.uniform(-0.05, 0.1) * n)
            points = [points[(start + i) % n] for i in range(length)]
        out.append((points, False))
    return out


def draw_stroke(draw, points, fill, width, closed):
    """A line with round joints and ends on a PIL ImageDraw."""
    if closed:
        points = points + points[:2]
    draw.line(points, fill=fill, width=max(1, round(width)), joint="curve")
    r = width / 2
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
