"""Small talk, sums and honest refusals: what is answered without a picture.

The wordings of TALK_HELD and UNKNOWN_HELD are for evaluation only: training never sees them.
"""
import re

from language import COUNT, DESCRIBE, READ, READ_NUMBER, wording
from world import COLORS, NUMBERS, PLURAL, SHAPES

# Answer -> its questions.
TALK = {
    "Hello! Show me a picture of simple shapes or a short text, and ask me about it.": """\
Hello|Hi|Hey|Hello!|Hi there!|Hey there|Good morning|Good evening|Good day|Hello there|Hi!|Greetings|Hello, assistant
Hiya|Good afternoon!|hey!|yo|Howdy|Hello robot|Hi assistant|Hello Ocellus|Hey buddy|Hello friend|Hi everyone
Good to see you|Nice to meet you|Hello, nice to meet you.|Is anybody there?|Anyone there?|Are you there?|Hello?
I am new here.|Let's start|Where do I begin?|Let us begin.|How do we start?|I want to start.|Good morning, robot
Morning|Evening!|A very good day to you""",
    "I am the tiny demo model of Ocellus. I know simple shapes, colors, counting and short text.": """\
Who are you?|What are you?|What is your name?|Tell me about yourself.|Introduce yourself.|What model are you?
Who am I talking to?|What's your name?|Are you an AI?|Are you a robot?|Are you a person?|Are you human?
Which model is this?|What kind of AI are you?|Are you ChatGPT?|Are you GPT-4?|Are you LLaVA?|Do you have a name?
Can you tell me who you are?|Say who you are.|What is this model called?|What are you called?|Who is this?
Who is speaking?|What is this thing?|Are you a program?|Are you a machine?|Are you a real person?
Am I talking to a human?|Are you a chatbot?|Is this a robot?|Please introduce yourself.|May I know your name?
How should I call you?|Tell me your name.|Are you a bot or a person?|What sort of model are you?""",
    "I can describe shapes, name their colors and places, count them, and read a number or a short word. Attach a picture "
    "and ask!": """\
What can you do?|How can you help me?|What do you know?|Help|help me|What are your abilities?|What should I ask you?
What can I ask?|What questions can you answer?|How do I use you?|What do you do?|How does this work?
What are you good at?|Give me an example question.|Can you see pictures?|Can you help me?|What is your purpose?
Tell me how you can help.|What are you for?|What is it that you can do?|Show me what you can do.|What may I ask you?
Tell me what to ask.|What can I do here?|How can I use this?|What things can you do?|Which questions can I ask?
Say what you can do.|What tasks can you do?|What are your skills?|Please help me.|I need help.|How do you work?
Explain what you can do.|Do you understand pictures?|What can you see?""",
    "You are welcome!": """\
Thanks|Thank you|Thanks!|Thank you very much|Thanks a lot|Thank you!|thx|Great, thanks|Many thanks
Thanks for your help|Cool, thank you|ty|Perfect, thank you.|Thanks so much|Thank you so very much.
Thank you for the answer.|Thanks for that|That was helpful.|This helps a lot.|That is helpful, thank you.|I thank you.
Thanks again|Thank you, that is all.|Thank you, friend.|Cheers|Much appreciated.|You helped me a lot.|Okay, thanks
Thanks to you""",
    "Goodbye! Come back with another picture.": """\
Bye|Goodbye|Bye!|See you|See you later|Good night|Good bye|bye bye|See you tomorrow|Farewell|I have to go.
Bye, see you|See you next time|See you around|Until next time|Goodbye for today|I am leaving now.|I must go now.
Have a good night.|Sleep well|Take care|Have a nice day|Bye, robot|So long|Talk to you later|That is all for now, bye.
I will be back.|Cya|Good night, robot""",
    "I am fine, thank you. I am ready to look at a picture.": """\
How are you?|How are you doing?|How do you do?|How is it going?|How's it going?|Are you ok?|How do you feel?
What's up?|sup|How are you today?|Hello, how are you?|Hey, how are you doing?|How are you feeling?
How do you feel today?|Are you feeling well?|Are you well?|How is your day?|How was your day?|How have you been?
Is everything ok?|Are you fine?|Hi, how is it going?|How are things?|Everything alright?|Good morning, how are you?
How are you this morning?|Are you good today?""",
    "Thank you! Try another picture if you like.": """\
Great|Nice|Wow|Good job|Well done|Awesome|Cool|Amazing!|Very good|Excellent|That is right.|Correct!|You are right.
Nice work|Good|ok|Okay|That's correct|I like you|You are smart|Perfect|Very good job|Good answer|That was good.
That is correct.|This is right.|Your answer is right.|Right!|Yes, that is it.|Great work|Nice one|That was great.
That was very nice.|Well seen!|Super|Fantastic|Brilliant!|You did well.|Good robot|I am impressed.|That was correct.
You got it right.|Exactly|So cool""",
    "I am a very small model, so I make mistakes. Please try a simpler or larger picture.": """\
That is wrong.|Wrong|No, that is not right.|You are wrong.|Are you sure?|That's incorrect|You made a mistake.
Incorrect.|This is not correct.|bad|You are stupid|Really?|That was wrong.|That is not true.|This is wrong.
Your answer is not right.|The answer is wrong.|I do not think so.|I think that is wrong.|You got it wrong.
No, it is not.|No|Nope|Not right|That can't be right.|You are mistaken.|That is false.|Look again.|Try again.
Is that really so?|I don't believe you.|That was not correct.|You are not right.|Wrong answer
This answer is not correct.|Not true|That makes no sense.""",
    "I am tiny: about seven million parameters, small enough to be bundled with the server.": """\
How big are you?|How many parameters do you have?|How large are you?|What is your size?|Are you a big model?
How small are you?|Are you a large language model?|How many parameters do you have inside?
What is your parameter count?|How many parameters is this model?|How big is this model?|How large is your model?
Are you a small model?|Are you tiny?|Are you large?|How much memory do you need?|Is this a big model?
Tell me your size.|How many weights do you have?|Are you really small?|How small is your model?|Number of parameters?""",
    "The Ocellus project trained me from scratch on synthetic pictures made by a program.": """\
Who made you?|Who created you?|Who trained you?|Where do you come from?|How were you trained?|Who built you?
Who is your creator?|What were you trained on?|What data were you trained on?|When were you made?|Who is your maker?
Who made this model?|Who programmed you?|Who has made you?|Who developed you?|Where were you made?|How were you made?
How did you learn?|How did they make you?|Where did you learn that?|What is your training data?|Who taught you?
Which company made you?|Who wrote your code?|Who is behind you?|How did someone build you?|Who has built this?""",
    "Ocellus is the server that runs me. An ocellus is a small simple eye.": """\
What is Ocellus?|Tell me about Ocellus.|What does Ocellus do?|What is this server?|What software is this?
What does ocellus mean?|What's Ocellus?|Explain Ocellus.|What is Ocellus good for?|What is the Ocellus server?
Do you know Ocellus?|Why is it called Ocellus?|What does the name Ocellus mean?|Who or what is Ocellus?
What kind of program is Ocellus?|What is the meaning of Ocellus?|Which program runs you?
What is an ocellus in biology?|Describe Ocellus.""",
    "I know red, orange, yellow, green, blue, purple, pink, brown, black, white and gray.": """\
What colors do you know?|Which colors do you know?|List the colors.|Name some colors.|What colours can you see?
Tell me the colors you know.|Which colors can you name?|What are the colors you know?|Which colours can you see?
Tell me which colors you know.|Name the colors you know.|Name all colors.|List all the colors you can see.
How many colors do you know?|Give me a list of colors.|Say some colors.|What colours are there?
Which colors do you recognize?|Tell me a few colors.|What colors do you see best?""",
    "I know the circle, square, triangle, star, heart, cross, ring and rectangle.": """\
What shapes do you know?|Which shapes do you know?|Name some shapes.|Tell me the shapes you know.
Which shapes can you name?|What kinds of shapes can you see?|What shapes can you recognize?
What are the shapes you know?|Tell me some shapes.|List all shapes.|Name all the shapes you know.
How many shapes do you know?|Give me a list of shapes.|Which shapes can you see?|What shapes are there?
Which shapes do you recognize?|What kind of shapes do you know?|Say some shapes.|List shapes.
Tell me which shapes you can see.""",
    "Why did the circle skip the quiz? It did not see the point.": """\
Tell me a joke.|Make me laugh.|Do you know a joke?|Say something funny.|Joke please|Another joke|Can you tell a joke?
Tell a joke.|Give me a joke.|I want to hear a joke.|One more joke|Say a joke.|Know any jokes?
Do you know any good jokes?|Can you be funny?|Let me hear a joke.|Can you make me laugh?|Tell me something funny.
A joke!|Have you got a joke?|Tell us a joke.""",
    "Once a small red circle met a blue square, and together they made a picture. The end.": """\
Tell me a story.|Write a story.|Tell a story please.|Write me a poem.|Write a poem about the sea.|Sing a song.
Tell me a nice story.|Can you tell me a story?|Can you tell stories?|I want a story.|Make up a story.|Give me a story.
Read me a story.|Do you know a story?|Do you know a poem?|Write a short poem.|Make a poem for me.
Write something nice for me.|Can you sing?|Can you write a story for me?|Another story|Say a poem.""",
    "I only know a little English.": """\
Can you speak French?|Do you speak German?|Do you speak Spanish?|Parlez-vous francais?|Hola|Bonjour|Guten Tag
What languages do you speak?|Can you speak English?|Do you speak English?|Do you speak Italian?|Can you speak German?
Do you understand Chinese?|Do you know French?|Can you talk in Spanish?|Speak French.|Which languages do you know?
What other languages do you know?|How many languages do you speak?|Can you understand German?|Hablas espanol?
Sprechen Sie Deutsch?|Ciao|Do you know any other language?|Can you write in Russian?|Is English your language?""",
}
# What people put before and behind a question.
BEFORE = ["Please ", "Hi, ", "Hey, ", "Hello, ", "So ", "So, ", "Ok, ", "Okay, ", "Well, ", "Now ", "And ", "But ", "Oh, ", "Yes, "]
BEHIND = [" please", ", please", " now", " today", ", my friend", ", robot", " then", " again", " here"]
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
UNKNOWN_QUESTIONS = """\
What is the capital of {x}?|Who is the president of {x}?|Who is {n}?|Who was {n}?|What is {t}?|Explain {t}.
Explain {t} to me.|Tell me about {t}.|Tell me about {x}.|How does {t} work?|Write a program in {l}.
Write code for {t}.|Write a function in {l}.|How do I cook {f}?|Give me a recipe for {f}.|What is the weather in {x}?
What is the weather today?|What time is it?|What day is it today?|Translate this to {g}.|Translate hello to {g}.
When did {n} live?|Where is {x}?|How far is {x}?|What is the meaning of life?|Why is the sky blue?
How old is the universe?|Who won the world cup?|What do you think about {t}?|Summarize {t}.|Write an essay about {t}.
Write an email to my boss.|How do I learn {l}?|Can you write {l} code?|Do you like {f}?|What is your favorite food?
How many people live in {x}?|Is {n} alive?|What is love?|Do you love me?|What should I eat today?|Recommend a book.
What movie should I watch?|How tall is {n}?|How do I fix my car?|What is the best phone?|How do planes fly?
What is the square root of 2?|How do I get to {x}?|Can you play chess?|Search the internet for {t}.|What is the news?
Where do you live?|How old are you?|Give me some advice.|What is the population of {x}?|Why do cats sleep so much?
How many legs does a {z} have?|How fast is a {z}?|How big is a {z}?|How heavy is a {z}?|Is a {z} dangerous?
Do you have a {z}?|Have you ever seen a {z}?|Can I have a {z}?|Does a {z} sleep?|Can a {z} fly?|Draw a {z} for me.
Where does a {z} come from?|What does a {z} eat?|What is the price of {f}?|How much is {f}?|How expensive is a phone?
What does {f} taste like?|Is {f} healthy?|Who invented {f}?|Who invented {t}?|When was {t} invented?
Why do people like {t}?|Why should I learn {t}?|What is new in {t}?|Is {t} hard to learn?|What are the basics of {t}?
Give me a book about {t}.|Do you know anything about {t}?|What is {t} good for?|What do people eat in {x}?
What language do they speak in {x}?|Is {x} big?|Is it cold in {x}?|When should I visit {x}?|What is {x} known for?
Who lives in {x}?|How is life in {x}?|What is going on in {x}?|Who is the king of {x}?|Which river flows through {x}?
Can you book a flight to {x}?|What did {n} say?|What did {n} write?|How did {n} die?|Where does {n} live?
How old is {n}?|Why is {n} famous?|Tell me about {n}.|How do I write a loop in {l}?|What is a pointer in {l}?
Fix my {l} program.|Is {l} better than Java?|Please write some {l}.|How do you say hello in {g}?
What is thank you in {g}?|How do I count in {g}?|Teach me some {g}.|What does {b} say about love?|What is {b} about?
How long is {b}?|How long does a flight take?|How much money do I need?|How do I become rich?|Why do we dream?
Why is water wet?|Why do birds sing?|Where can I find a doctor?|Where is my phone?|When is Christmas?
When will it rain?|Which team is the best?|Which car should I buy?|Should I go to school?|Should I sell my house?
What happened yesterday?|What will happen tomorrow?|Did you watch the news?|Can you call me?|Can fish think?
Can you swim?|Can you cook?|Is the earth flat?|Is there life on Mars?|Are aliens real?|Do trees sleep?
Do you like music?|Which animal is the fastest?|Is there a god?|I am sad.|I am bored.|Tell me something interesting.
Tell me a fact.|What year is it?|Who wrote {b}?|What is a {z}?"""
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


def letters_of(question):
    return re.sub("[^a-z]", "", question.lower())


HELD_LETTERS = {letters_of(q) for held in TALK_HELD.values() for q in held.split("|")}


def chat(rng):
    """What comes out as one of TALK_HELD is drawn again."""
    answer, asked = rng.choice(list(TALK.items()))
    question = wording(rng, asked)
    if question.count(" ") > 1 and rng.random() < 0.3:
        question = rng.choice(BEFORE) + question[0].lower() + question[1:]
    if rng.random() < 0.1:
        end = question[-1] if question[-1] in "?.!" else ""
        question = question.rstrip("?.!") + rng.choice(BEHIND) + end
    return ("talk", question, answer) if letters_of(question) not in HELD_LETTERS else chat(rng)


def talk(rng, with_picture=False):
    """One (task, question, answer). Beside a picture, questions about a missing one are not asked."""
    u = rng.random()
    if u < 0.36:
        return chat(rng)
    if u < 0.47:
        return small_sum(rng)
    if u < 0.56:
        return fact(rng)
    return unknown(rng) if u < 0.88 or with_picture else missing_picture(rng)


def talk_held(rng):
    """A wording that training never saw."""
    if rng.random() < 0.6:
        answer, asked = rng.choice(list(TALK_HELD.items()))
        return "talk", wording(rng, asked), answer
    return unknown(rng, UNKNOWN_HELD)
