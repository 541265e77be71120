"""What the demo model knows: shapes, colours, places, characters and words, and the size of its pictures."""

SIZE, PATCH = 112, 14  # of a picture and of a patch, in pixels
PAD_RGB = (122, 116, 104)  # around a picture that is not square: the mean colour of the vision tower's preprocessing

SHAPES = ["circle", "square", "triangle", "star", "heart", "cross", "ring", "rectangle"]
PLURAL = {shape: shape + ("es" if shape == "cross" else "s") for shape in SHAPES}
COLORS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray"]

# The hues (degrees), saturations and values (0 to 1) that a colour's name covers, and the colour that bears it in CSS.
COLOR_RANGES = {
    "red": ((-9, 7), (0.78, 1), (0.7, 1)),
    "orange": ((21, 36), (0.85, 1), (0.9, 1)),
    "yellow": ((49, 61), (0.75, 1), (0.9, 1)),
    "green": ((95, 150), (0.6, 1), (0.4, 1)),
    "blue": ((203, 247), (0.62, 1), (0.55, 1)),
    "purple": ((266, 291), (0.5, 1), (0.42, 0.85)),
    "pink": ((318, 346), (0.28, 0.6), (0.95, 1)),
    "brown": ((17, 30), (0.58, 0.87), (0.34, 0.56)),
    "black": ((0, 360), (0, 0.25), (0, 0.13)),
    "white": ((0, 360), (0, 0.03), (0.97, 1)),
    "gray": ((0, 360), (0, 0.05), (0.42, 0.66)),
}
COLOR_PURE = {
    "red": (255, 0, 0),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "green": (0, 160, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "pink": (255, 192, 203),
    "brown": (139, 69, 19),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
}
PASTEL_RANGES = {  # backgrounds only
    "light blue": ((197, 213), (0.12, 0.3), (0.93, 1)),
    "light green": ((112, 128), (0.12, 0.3), (0.93, 1)),
    "light yellow": ((47, 63), (0.15, 0.38), (0.93, 1)),
    "light pink": ((337, 353), (0.1, 0.22), (0.93, 1)),
    "light purple": ((262, 278), (0.1, 0.22), (0.93, 1)),
}
BACKGROUNDS = ["white", "gray", "black", *PASTEL_RANGES]

NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PLACES = [
    ["at the top left", "at the top", "at the top right"],
    ["on the left", "in the center", "on the right"],
    ["at the bottom left", "at the bottom", "at the bottom right"],
]
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
TEXT_MAX = 8  # characters

WORDS = """
apple baby back bag ball banana bank bear bed bee bell big bird black blue boat body book box boy bread bridge
bright brown bus cake call camera car card cat chair city class clean clock cloud coat coffee cold color come
cook cool corn cow cup dance dark day deer desk dog door down draw dream dress drink drive duck ear earth east
easy eat egg end exit eye face fall farm fast father fire fish five flag floor flower fly food foot forest four
fox free fresh friend frog fruit full fun game garden gate gift girl give glass go gold good grass gray great
green hand happy hat head heart heavy hello help here high hill home honey hope horse hot hotel house hungry ice
idea iron island jam job joy juice jump key kind king kiss kitchen kite lake lamp land large last late leaf
learn left lemon letter life light lion list little live long look love low lunch machine magic mail make man
map market meat milk mind mirror model money monkey moon more morning mother mountain mouse mouth move movie
music name near neck nest new news night nine no north nose now number ocean office oil old one open orange
paint pan paper park party peace pen pencil people phone photo piano picture pig pink pizza plane plant play
please pocket police pony pool post potato power pretty pull push queen quick quiet rabbit radio rain read red
rice rich right ring river road robot rock roof room rose round run sad safe sale salt sand school sea seat see
seven sheep ship shirt shoe shop short show silver sing sister six sky sleep slow small smile smoke snake snow
soap sock soft song soup south space speed spoon sport spring square stamp star start station stone stop storm
story street strong sugar summer sun sweet swim table tail talk tall taxi tea team test thank three ticket tiger
time today tomato tooth town toy train tree truck two under up vase very village violin voice walk wall warm
watch water wave way web week welcome west wet whale wheel white wide wild win wind window wine winter wolf wood
word work world write yellow yes young zebra zero zoo
""".split()
