"""Questions about a picture and their answers; a question has many wordings, an answer one.

questions(rng, meta) draws each task that applies to the picture once: [(task, question, answer)]. Tasks that the
picture cannot answer (the place of a shape that is there twice) are not asked.
"""
from collections import Counter

from labels import reading_order
from world import COLORS, NUMBERS, PLACES, PLURAL, SHAPES

SYSTEM = "A chat between a curious user and an artificial intelligence assistant."

PICTURES = ["picture", "picture", "image", "image", "photo", "drawing"]
DESCRIBE = """Describe the {p}.|Describe this {p}.|What do you see?|What is in the {p}?|What is in this {p}?
What's in the {p}?|Describe it.|What is this?|What can you see?|Please describe the {p}.|What does the {p} show?
What is shown in the {p}?|What did I draw?|What do you see in this {p}?|What do you see in the {p}?|What is it?
Tell me what you see.|Caption this {p}.|Describe the {p} in detail.|What's this?|What am I looking at?"""
READ = """What does it say?|What does the text say?|Read the text.|What is written here?|What is written in the {p}?
What text is in the {p}?|Read it.|Can you read this?|Read this.|What is written?|What does this say?|What does the {p} say?
Please read the text.|Transcribe the text.|What is the text?"""
READ_NUMBER = """What number is this?|What is the number?|Which number is shown?|What number do you see?|Which number is this?
What number is in the {p}?|Read the number.|What's the number?|What number is it?"""
READ_WORD = """What word is this?|What is the word?|Which word is shown?|Which word is this?|What word do you see?
What's the word?|Read the word.|What word is in the {p}?|What does the word say?"""
COUNT = """How many shapes are there?|How many shapes do you see?|How many shapes?|Count the shapes.|How many objects are there?
How many shapes are in the {p}?|How many things are there?|How many objects do you see?|How many shapes can you see?"""
COUNT_KIND = "How many {x} are there?|How many {x} do you see?|How many {x}?|Count the {x}.|How many {x} are in the {p}?"
COLOR_ONE = "What {c} is it?|What {c} is this?|What {c} is the shape?|Which {c} is it?|What is the {c}?|What {c} do you see?"
COLOR_OF = "What {c} is the {x}?|What is the {c} of the {x}?|Which {c} is the {x}?|What {c} does the {x} have?"
SHAPE_ONE = """What shape is this?|What shape is it?|Which shape is this?|What shape do you see?|What is the shape?|Name the shape.
What kind of shape is this?"""
SHAPE_OF = "What shape is {x}?|What is the {x} shape?|Which shape is {x}?|What shape is the {x} one?|What {x} shape is there?"
PLACE_ONE = "Where is it?|Where is the shape?|Where is the shape in the {p}?|What position is it in?"
PLACE_OF = "Where is the {x}?|Where's the {x}?|Where can I find the {x}?|What is the position of the {x}?|Where is the {x} in the {p}?"
IS_THERE = "Is there {x}?|Is there {x} in the {p}?|Do you see {x}?|Can you see {x}?|Does the {p} contain {x}?"
LEFT_OF = "Is the {a} {w} of the {b}?|Is the {a} to the {w} of the {b}?|Is the {a} on the {w} of the {b}?"
ON_SIDE = "Which shape is on the {w}?|What is on the {w}?|What shape is on the {w}?|What do you see on the {w}?"
FILLED = "Is the {x} filled or outlined?|Is the {x} filled?|Is the {x} filled in?"
BACKGROUND = "What {c} is the background?|What is the background {c}?|What is the {c} of the background?"
TEXT_COLOR = "What {c} is the text?|What {c} is it?|What is the {c} of the text?|What {c} is the {x}?"
LENGTH = "How many {x} are there?|How many {x} does it have?|How many {x}?"
KIND = "Is this a word or a number?|Is it a number or a word?|Is there any text?|Is there text in the {p}?"
SIDE_BY_SIDE = 4  # pixels
NOTHING = "I see no shapes and no text that I know."


def wording(rng, templates, **names):
    """One of the wordings, filled in; people write colour, too, and have many words for a picture."""
    one = rng.choice(templates.replace("\n", "|").split("|"))
    return one.format(p=rng.choice(PICTURES), c=rng.choice(["color", "color", "colour"]), **names)


def typed(rng, question):
    """The question as people type it: lower case, without its mark, or with too much of it."""
    if rng.random() < 0.13:
        question = question.lower()
    u = rng.random()
    if u < 0.15:
        return question.rstrip("?.")
    return question.replace("?", "??").replace(".", "!") if u > 0.97 else question


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def name(o):
    return f"{o['color']} {o['shape']}"


def place(o):
    row, column = o["cell"]
    return PLACES[row][column]


def listed(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def there_are(n, one, many):
    return f"There is one {one}." if n == 1 else f"There are {NUMBERS[n]} {many}."


# ---- scenes ----


class Scene:
    def __init__(self, meta):
        self.objects = meta["objects"]
        self.background = meta["background"]
        self.shapes = Counter(o["shape"] for o in self.objects)
        self.colors = Counter(o["color"] for o in self.objects)
        self.names = Counter(map(name, self.objects))
        self.of_own_shape = [o for o in self.objects if self.shapes[o["shape"]] == 1]
        self.of_own_color = [o for o in self.objects if self.colors[o["color"]] == 1]


def describe(rng, s):
    """Not asked where two shapes of a row stand one above the other: their order would be unclear."""
    objects = sorted(s.objects, key=reading_order)
    if any(o["cell"][0] == p["cell"][0] and p["x"] - o["x"] < SIDE_BY_SIDE for o, p in zip(objects, objects[1:])):
        return
    parts = [f"{a(name(o))} {place(o)}" for o in objects]
    n = len(parts)
    answer = f"I see {parts[0]}." if n == 1 else f"I see {NUMBERS[n]} shapes: {listed(parts)}."
    yield "describe", wording(rng, DESCRIBE), answer


def count(rng, s):
    yield "count", wording(rng, COUNT), there_are(len(s.objects), "shape", "shapes")
    u, o = rng.random(), rng.choice(s.objects)
    shape, color = o["shape"], o["color"]
    if u < 0.55:
        shape = shape if rng.random() < 0.7 else rng.choice(SHAPES)
        n, one, many = s.shapes[shape], shape, PLURAL[shape]
    elif u < 0.85:
        color = color if rng.random() < 0.7 else rng.choice(COLORS)
        n, one, many = s.colors[color], color + " shape", color + " shapes"
    else:
        shape = shape if rng.random() < 0.6 else rng.choice(list(s.shapes))
        n, one, many = s.names[f"{color} {shape}"], f"{color} {shape}", f"{color} {PLURAL[shape]}"
    yield "count_kind", wording(rng, COUNT_KIND, x=many), there_are(n, one, many)


def color_shape_place(rng, s):
    if len(s.objects) == 1:
        o = s.objects[0]
        yield "color", wording(rng, COLOR_ONE), f"It is {o['color']}."
        yield "shape", wording(rng, SHAPE_ONE), f"It is {a(o['shape'])}."
        yield "position", wording(rng, PLACE_ONE), f"It is {place(o)}."
        if rng.random() < 0.5:
            return
    if s.of_own_shape:
        o = rng.choice(s.of_own_shape)
        yield "color", wording(rng, COLOR_OF, x=o["shape"]), f"The {o['shape']} is {o['color']}."
    if s.of_own_color:
        o = rng.choice(s.of_own_color)
        yield "shape", wording(rng, SHAPE_OF, x=o["color"]), f"The {o['color']} shape is {a(o['shape'])}."
    if s.of_own_shape or s.of_own_color:
        by_shape = s.of_own_shape and (not s.of_own_color or rng.random() < 0.6)
        o = rng.choice(s.of_own_shape if by_shape else s.of_own_color)
        short = o["shape"] if by_shape else o["color"] + " shape"
        called = name(o) if rng.random() < 0.3 else short
        yield "position", wording(rng, PLACE_OF, x=called), f"The {called} is {place(o)}."


def existence(rng, s):
    """Is there a thing: of a shape, a colour or both; as often yes as no, and no is often near to what is there."""
    yes, kind = rng.random() < 0.5, rng.choice(["both", "both", "shape", "color"])
    for _ in range(20):
        o = rng.choice(s.objects)
        shape, color = o["shape"], o["color"]
        if not yes:
            change = rng.choice(["shape", "color"]) if kind == "both" and rng.random() < 0.7 else kind
            shape = rng.choice(SHAPES) if change != "color" else shape
            color = rng.choice(COLORS) if change != "shape" else color
        n = {"both": s.names[f"{color} {shape}"], "shape": s.shapes[shape], "color": s.colors[color]}[kind]
        if (n > 0) == yes:
            break
    else:
        return
    one = {"both": f"{color} {shape}", "shape": shape, "color": f"{color} shape"}[kind]
    many = {"both": f"{color} {PLURAL[shape]}", "shape": PLURAL[shape], "color": f"{color} shapes"}[kind]
    answer = f"No, there is no {one}." if n == 0 else f"Yes, there is {a(one)}." if n == 1 else f"Yes, there are {NUMBERS[n]} {many}."
    yield "yesno", wording(rng, IS_THERE, x=a(one)), answer


def other(rng, choices, than):
    return rng.choice([c for c in choices if c != than])


def truth(rng, s):
    """Is the circle red; is it a star."""
    if s.of_own_shape:
        o = rng.choice(s.of_own_shape)
        asked = o["color"] if rng.random() < 0.5 else other(rng, COLORS, o["color"])
        answer = f"{'Yes' if asked == o['color'] else 'No'}, the {o['shape']} is {o['color']}."
        yield "yesno", f"Is the {o['shape']} {asked}?", answer
    if len(s.objects) == 1:
        o = s.objects[0]
        if rng.random() < 0.5:
            asked = o["color"] if rng.random() < 0.5 else other(rng, COLORS, o["color"])
            question, yes, is_it = wording(rng, "Is it {x}?|Is this {x}?|Is the shape {x}?", x=asked), asked == o["color"], o["color"]
        else:
            asked = o["shape"] if rng.random() < 0.5 else other(rng, SHAPES, o["shape"])
            question, yes, is_it = wording(rng, "Is it {x}?|Is this {x}?", x=a(asked)), asked == o["shape"], a(o["shape"])
        yield "yesno", question, f"{'Yes' if yes else 'No'}, it is {is_it}."


def relation(rng, s):
    if len(s.of_own_shape) < 2:
        return
    o, p = rng.sample(s.of_own_shape, 2)
    dx, dy = p["x"] - o["x"], p["y"] - o["y"]
    names = {"a": o["shape"], "b": p["shape"]}
    if abs(dx) >= 14 and (rng.random() < 0.5 or abs(dy) < 14):
        asked, real = rng.choice(["left", "right"]), "left" if dx > 0 else "right"
        question, is_so = wording(rng, LEFT_OF, w=asked, **names), f"{real} of"
    elif abs(dy) >= 14:
        asked, real = rng.choice(["above", "below"]), "above" if dy > 0 else "below"
        question, is_so = "Is the {a} {w} the {b}?".format(w=asked, **names), real
    else:
        return
    yield "relation", question, f"{'Yes' if asked == real else 'No'}, the {names['a']} is {is_so} the {names['b']}."


def pairs(rng, s):
    """Of two shapes: which is bigger, what is on the left."""
    if len(s.objects) != 2:
        return
    o, p = s.objects
    if len(s.of_own_shape) == 2 and max(o["r"], p["r"]) > 1.45 * min(o["r"], p["r"]):
        word = rng.choice(["bigger", "smaller"])
        wins = o if (o["r"] > p["r"]) == (word == "bigger") else p
        yield "size", wording(rng, "Which shape is {w}?|Which one is {w}?", w=word), f"The {wins['shape']} is {word}."
    if abs(o["x"] - p["x"]) > 18:
        side = rng.choice(["left", "right"])
        there = sorted(s.objects, key=lambda o: o["x"])[side == "right"]
        yield "which", wording(rng, ON_SIDE, w=side), f"The shape on the {side} is {a(name(there))}."


def details(rng, s):
    can_be_either = [o for o in s.of_own_shape if o["shape"] not in ("ring", "cross")]
    if can_be_either and rng.random() < 0.5:
        o = rng.choice(can_be_either)
        yield "filled", wording(rng, FILLED, x=o["shape"]), f"The {o['shape']} is {'filled' if o['filled'] else 'outlined'}."
    if s.background and rng.random() < 0.3:
        yield "background", wording(rng, BACKGROUND), f"The background is {s.background}."
    if rng.random() < 0.1:
        n = len(s.objects)
        what = "one shape" if n == 1 else f"{NUMBERS[n]} shapes"
        yield "notext", wording(rng, rng.choice([READ, READ_NUMBER, READ_WORD])), f"I see no text, only {what}."


# ---- text and nothing ----


def text_questions(rng, meta):
    text, color, is_number = meta["text"].upper(), meta["color"], meta["type"] == "number"
    task = "number" if is_number else meta["type"]
    kind = {"number": "number", "word": "word", "letters": "letter" if len(text) == 1 else "letters"}[meta["type"]]
    what = f"the number {text}" if is_number else f'the {kind} "{text}"'
    asked = READ_NUMBER if is_number and rng.random() < 0.6 else READ_WORD if not is_number and rng.random() < 0.2 else READ
    yield task, wording(rng, asked), f"The number is {text}." if is_number else f'It says "{text}".'
    behind = f" on a {meta['background']} background" if meta["background"] else ""
    yield "describe_text", wording(rng, DESCRIBE), f"I see {what} in {color}{behind}."
    if rng.random() < 0.5:
        yield "text_color", wording(rng, TEXT_COLOR, x="number" if is_number else "word"), f"It is {color}."
    if rng.random() < 0.3:
        unit = "digit" if is_number else "letter"
        n = f"{NUMBERS[len(text)]} {unit}{'s' if len(text) > 1 else ''}"
        yield "length", wording(rng, LENGTH, x=unit + "s"), f"It has {n}."
    if rng.random() < 0.15:
        yield "kind", wording(rng, KIND), f"It is {what}."
    if rng.random() < 0.12:
        yield "noshape", wording(rng, COUNT), f"I see no shapes, only {what}."
    if rng.random() < 0.08:
        shape = rng.choice(SHAPES)
        yield "yesno", wording(rng, IS_THERE, x=a(shape)), f"No, there is no {shape}."
    if meta["background"] and rng.random() < 0.2:
        yield "background", wording(rng, BACKGROUND), f"The background is {meta['background']}."


def nothing_questions(rng, meta):
    yield "none", wording(rng, rng.choice([DESCRIBE, READ, COUNT])), NOTHING
    shape = rng.choice(SHAPES)
    yield "yesno", wording(rng, IS_THERE, x=a(shape)), f"No, there is no {shape}."
    if meta["background"] and rng.random() < 0.5:
        yield "background", wording(rng, BACKGROUND), f"The background is {meta['background']}."


def questions(rng, meta):
    if meta["kind"] == "text":
        return list(text_questions(rng, meta))
    if meta["kind"] == "none":
        return list(nothing_questions(rng, meta))
    s = Scene(meta)
    tasks = (describe, count, color_shape_place, existence, truth, relation, pairs, details)
    return [q for task in tasks for q in task(rng, s)]
