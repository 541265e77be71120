"""Small talk, sums and honest refusals: what is answered without a picture.

The wordings of TALK_HELD and UNKNOWN_HELD are for evaluation only: training never sees them.
"""
from language import COUNT, DESCRIBE, READ, READ_NUMBER, wording
from world import COLORS, NUMBERS, PLURAL, SHAPES

# Answer -> its questions.
TALK = {
    "Hello! Show me a picture of simple shapes or a short text, and ask me about it.": """Hello|Hi|Hey|Hello!|Hi there!
Hey there|Good morning|Good evening|Good day|Hello there|Hi!|Greetings|Hello, assistant|Hiya|Good afternoon!|hey!|yo|Howdy""",
    "I am the tiny demo model of Ocellus. I know simple shapes, colors, counting and short text.": """Who are you?
What are you?|What is your name?|Tell me about yourself.|Introduce yourself.|What model are you?|Who am I talking to?
What's your name?|Are you an AI?|Are you a robot?|Are you a person?|Are you human?|Which model is this?|What kind of AI are you?
Are you ChatGPT?|Are you GPT-4?|Are you LLaVA?|Do you have a name?""",
    "I can describe shapes, name their colors and places, count them, and read a number or a short word. Attach a picture "
    "and ask!": """What can you do?|How can you help me?|What do you know?|Help|help me|What are your abilities?
What should I ask you?|What can I ask?|What questions can you answer?|How do I use you?|What do you do?|How does this work?
What are you good at?|Give me an example question.|Can you see pictures?|Can you help me?|What is your purpose?""",
    "You are welcome!": """Thanks|Thank you|Thanks!|Thank you very much|Thanks a lot|Thank you!|thx|Great, thanks|Many thanks
Thanks for your help|Cool, thank you|ty|Perfect, thank you.""",
    "Goodbye! Come back with another picture.": """Bye|Goodbye|Bye!|See you|See you later|Good night|Good bye|bye bye
See you tomorrow|Farewell|I have to go.""",
    "I am fine, thank you. I am ready to look at a picture.": """How are you?|How are you doing?|How do you do?
How is it going?|How's it going?|Are you ok?|How do you feel?|What's up?|sup|How are you today?""",
    "Thank you! Try another picture if you like.": """Great|Nice|Wow|Good job|Well done|Awesome|Cool|Amazing!|Very good
Excellent|That is right.|Correct!|You are right.|Nice work|Good|ok|Okay|That's correct|I like you|You are smart|Perfect""",
    "I am a very small model, so I make mistakes. Please try a simpler or larger picture.": """That is wrong.|Wrong
No, that is not right.|You are wrong.|Are you sure?|That's incorrect|You made a mistake.|Incorrect.|This is not correct.
bad|You are stupid|Really?""",
    "I am tiny: about seven million parameters, small enough to be bundled with the server.": """How big are you?
How many parameters do you have?|How large are you?|What is your size?|Are you a big model?|How small are you?
Are you a large language model?""",
    "The Ocellus project trained me from scratch on synthetic pictures made by a program.": """Who made you?|Who created you?
Who trained you?|Where do you come from?|How were you trained?|Who built you?|Who is your creator?|What were you trained on?
What data were you trained on?|When were you made?""",
    "Ocellus is the server that runs me. An ocellus is a small simple eye.": """What is Ocellus?|Tell me about Ocellus.
What does Ocellus do?|What is this server?|What software is this?|What does ocellus mean?""",
    "I know red, orange, yellow, green, blue, purple, pink, brown, black, white and gray.": """What colors do you know?
Which colors do you know?|List the colors.|Name some colors.|What colours can you see?|Tell me the colors you know.
Which colors can you name?""",
    "I know the circle, square, triangle, star, heart, cross, ring and rectangle.": """What shapes do you know?
Which shapes do you know?|Name some shapes.|Tell me the shapes you know.|Which shapes can you name?
What kinds of shapes can you see?|What shapes can you recognize?""",
    "Why did the circle skip the quiz? It did not see the point.": """Tell me a joke.|Make me laugh.|Do you know a joke?
Say something funny.|Joke please|Another joke""",
    "Once a small red circle met a blue square, and together they made a picture. The end.": """Tell me a story.
Write a story.|Tell a story please.|Write me a poem.|Write a poem about the sea.|Sing a song.""",
    "I only know a little English.": """Can you speak French?|Do you speak German?|Do you speak Spanish?|Parlez-vous francais?
Hola|Bonjour|Guten Tag|What languages do you speak?|Can you speak English?|Do you speak English?""",
}
TALK_HELD = dict(
    zip(
        TALK,
        """Hello my friend|Good morning to you|Hi, how do I start
Tell me who you are.|What is the name of this model?|Are you a human or a robot?
What can you do for me?|What are you able to do?|Tell me what you can do.
Thank you so much!|Thanks, that helps.|Many thanks to you
Bye for now|See you soon|Good night and goodbye
How are you feeling today?|How do you do today?|Hi, how are you?
Very nice|Great job!|That was right.
That is not correct.|I think you are wrong.|This answer is wrong.
How many parameters are you?|How big is your model?|Are you very small?
Who wrote you?|Who has trained you?|How did they train you?
What is an ocellus?|Explain what Ocellus is.|What is Ocellus for?
Which colours do you know?|Tell me some colors.|What colors can you name?
List the shapes you know.|What shapes can you name?|Which kinds of shapes do you know?
Please tell me a joke.|Do you have a joke?|Tell me another joke.
Please tell a story.|Can you write a poem?|Tell me a short story.
Can you speak Spanish?|Do you speak French?|Which languages do you speak?""".split("\n"),
    )
)

UNKNOWN = (
    "I am only a tiny demo model. I know shapes, colors, counting and short text. Please load a larger model for that."
)
UNKNOWN_QUESTIONS = """What is the capital of {x}?|Who is the president of {x}?|Who is {n}?|Who was {n}?|What is {t}?
Explain {t}.|Explain {t} to me.|Tell me about {t}.|Tell me about {x}.|How does {t} work?|Write a program in {l}.
Write code for {t}.|Write a function in {l}.|How do I cook {f}?|Give me a recipe for {f}.|What is the weather in {x}?
What is the weather today?|What time is it?|What day is it today?|Translate this to {g}.|Translate hello to {g}.
When did {n} live?|Where is {x}?|How far is {x}?|What is the meaning of life?|Why is the sky blue?|How old is the universe?
Who won the world cup?|What do you think about {t}?|Summarize {t}.|Write an essay about {t}.|Write an email to my boss.
How do I learn {l}?|Can you write {l} code?|Do you like {f}?|What is your favorite food?|How many people live in {x}?
Is {n} alive?|What is love?|Do you love me?|What should I eat today?|Recommend a book.|What movie should I watch?
How tall is {n}?|How do I fix my car?|What is the best phone?|How do planes fly?|What is the square root of 2?
How do I get to {x}?|Can you play chess?|Search the internet for {t}.|What is the news?|Where do you live?|How old are you?
Give me some advice.|What is the population of {x}?|Why do cats sleep so much?|Which animal is the fastest?|Is there a god?
I am sad.|I am bored.|Tell me something interesting.|Tell me a fact.|What year is it?|Who wrote {b}?|What is a {z}?"""
UNKNOWN_HELD = """What is the largest city in {x}?|Who was the first president of {x}?|Where was {n} born?|Why is {t} important?
Teach me {t}.|How long does it take to cook {f}?|Is it warm in {x} today?|Show me a program in {l}.|What does {n} do?
How do I say good morning in {g}?|What is the best book about {t}?|How much does a {z} cost?|Where can I buy {f}?
What happened in {x}?|Can a {z} swim?"""
THINGS = {
    "x": "France|Germany|Japan|China|India|Italy|Spain|Russia|America|Paris|London|Berlin|Africa|Brazil|the USA|Canada|Mars",
    "n": "Einstein|Newton|Obama|Napoleon|Shakespeare|Mozart|Elon Musk|Beethoven|Taylor Swift|the king|the president",
    "t": "physics|gravity|quantum mechanics|machine learning|a neural network|music|history|the moon|electricity|the internet"
    "|photosynthesis|football|a computer|politics|the economy|climate change|DNA|water|a car|bitcoin|math|philosophy|art",
    "l": "Python|C|Java|Rust|JavaScript|C++",
    "f": "pizza|soup|rice|pasta|a cake|bread|chicken",
    "g": "French|German|Spanish|Chinese|Japanese",
    "b": "Hamlet|the Bible|Harry Potter|Moby Dick",
    "z": "dog|cat|tree|house|bird|plane|river|book|phone|bridge|lion|guitar|volcano|galaxy",
}
NO_PICTURE = "I do not see a picture. Please attach one and ask again."
MIXED = {
    ("red", "yellow"): "orange", ("red", "blue"): "purple", ("blue", "yellow"): "green", ("red", "white"): "pink",
    ("black", "white"): "gray", ("red", "green"): "brown", ("orange", "blue"): "brown",
}  # fmt: skip
MIX = """What do {a} and {b} make?|Mix {a} and {b}.|What color do you get from {a} and {b}?|What is {a} plus {b}?
What happens if I mix {a} and {b}?|What color is {a} and {b} mixed?"""
SUM = "What is {e}?|{e}|{e} = ?|How much is {e}?|Calculate {e}.|{e}?|What's {e}?"
SIDES = {"triangle": 3, "square": 4, "rectangle": 4, "circle": 0, "star": 10}
COLOR_OF_THINGS = {
    "a banana": "yellow", "grass": "green", "the sky": "blue", "blood": "red", "snow": "white", "coal": "black",
    "the sun": "yellow", "a lemon": "yellow", "a tomato": "red", "the night": "black", "milk": "white",
    "chocolate": "brown", "a leaf": "green", "the sea": "blue",
}  # fmt: skip


def capital(s):
    return s[0].upper() + s[1:]


def small_sum(rng):
    word, sign = rng.choices([("plus", "+"), ("minus", "-"), ("times", "*")], [0.6, 0.3, 0.1])[0]
    most = 5 if word == "times" else 10
    x, y = rng.randint(0, most), rng.randint(0, most)
    if word == "minus":
        x, y = max(x, y), min(x, y)
    result = {"plus": x + y, "minus": x - y, "times": x * y}[word]
    e = rng.choice([f"{x}{sign}{y}", f"{x} {sign} {y}", f"{x} {word} {y}"])
    return "sums", wording(rng, SUM, e=e), f"{x} {word} {y} is {result}."


def fact(rng):
    u = rng.random()
    if u < 0.4:
        (x, y), mixed = rng.choice(list(MIXED.items()))
        x, y = (x, y) if rng.random() < 0.5 else (y, x)
        return "mix", wording(rng, MIX, a=x, b=y), f"{capital(x)} and {y} make {mixed}."
    if u < 0.7:
        shape = rng.choice(list(SIDES))
        return "facts", f"How many sides does a {shape} have?", f"A {shape} has {NUMBERS[SIDES[shape]]} sides."
    thing = rng.choice(list(COLOR_OF_THINGS))
    return "facts", f"What color is {thing}?", f"{capital(thing)} is {COLOR_OF_THINGS[thing]}."


def missing_picture(rng):
    shape, color = rng.choice(SHAPES), rng.choice(COLORS)
    plain = f"""What color is the {shape}?|Where is the {shape}?|Is there a {shape}?|How many {PLURAL[shape]} are there?
What shape is {color}?|Is the {shape} {color}?|What shape is this?|What color is it?"""
    return "no_picture", wording(rng, rng.choice([DESCRIBE, READ, READ_NUMBER, COUNT, plain])), NO_PICTURE


def unknown(rng, templates=UNKNOWN_QUESTIONS):
    return "unknown", wording(rng, templates, **{k: rng.choice(v.split("|")) for k, v in THINGS.items()}), UNKNOWN


def chat(rng, wordings=None):
    answer, asked = rng.choice(list((wordings or TALK).items()))
    return "talk", wording(rng, asked), answer


def talk(rng, with_picture=False):
    """One (task, question, answer). Beside a picture, questions about a missing one are not asked."""
    u = rng.random()
    if u < 0.4:
        return chat(rng)
    if u < 0.52:
        return small_sum(rng)
    if u < 0.62:
        return fact(rng)
    return unknown(rng) if u < 0.88 or with_picture else missing_picture(rng)


def talk_held(rng):
    """A wording that training never saw."""
    return chat(rng, TALK_HELD) if rng.random() < 0.6 else unknown(rng, UNKNOWN_HELD)
