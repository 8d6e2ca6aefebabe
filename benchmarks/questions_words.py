"""Words and sentences of which `questions_corpus.py` puts questions together.

There are two sets of sentences, which share names, things and numbers but no sentence: questions of one set cannot
repeat a question of the other.
"""

# ruff: noqa: SIM905 - word lists are read as text
import random
from dataclasses import dataclass

FIRST = (
    "Ai Bru Car Dmi Ele Fa Gre Hiro Ina Jo Ka La Mi Niko Ol Pe Qia Ro Sa Ta Uma Ve Wen Xi Yu Zo Ade Bo Chi Da"
).split()
SECOND = (
    "ba da ga ka la ma na pa ra sa ta va za be de ge ke le me ne re se te vi li mi ni ri si ti lo mo no ro so to"
).split()
LAST = ("n s l r a o i e na no ra ro ta to ya ka lia nia rio shi than bert vin mir dan").split()
THINGS = (
    "apples marbles stickers notebooks pencils cupcakes tickets stamps coins balloons bricks candles dumplings "
    "eggs flowers grapes hammers icicles jars kites lemons magnets needles oranges pancakes quilts ribbons shells "
    "tiles umbrellas vases whistles yams zippers bottles cards dolls envelopes figs gloves hats jewels keys lamps "
    "mugs nuts paintings chairs tables buckets ropes ladders plates forks spoons tomatoes carrots onions potatoes "
    "fish crabs sweaters socks shirts scarves buttons beads bracelets rings watches clocks radios phones cameras "
    "bicycles trucks"
).split()
ADJECTIVES = (
    "red blue tiny broken wooden shiny heavy spare rare cheap frozen striped round fresh golden plastic paper "
    "glass old new green yellow purple silver cotton leather steel copper dried sliced painted carved used clean "
    "dusty imported local antique miniature giant square narrow soft hard sweet sour salted roasted organic "
    "double"
).split()
PLACES = (
    "market fair library bakery station harbour farm museum stadium workshop store garden office warehouse pool "
    "theatre orchard factory bookshop airport hospital canteen gallery school kitchen garage studio gym bank "
    "hotel camp zoo"
).split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
VERBS = {
    "has": ["has", "owns", "keeps", "carries", "holds", "stores", "brings", "counts"],
    "buys": ["buys", "orders", "collects", "receives", "gathers", "finds", "wins", "picks"],
    "gives": ["gives", "sells", "lends", "sends", "throws", "hands", "passes", "mails"],
    "then": [
        "Then",
        "After that",
        "Later",
        "In the evening",
        "Before lunch",
        "The next day",
        "A week later",
        "By noon",
        "Meanwhile",
        "Soon",
    ],
    "more": ["more", "additional", "other", "further", "extra"],
    "because": [
        "because of the rain",
        "for a birthday party",
        "as a present",
        "during the holidays",
        "to help a neighbour",
        "on the way home",
        "without telling anyone",
        "for the school project",
        "at half the usual price",
        "in three equal trips",
        "as agreed in spring",
    ],
}
CODE_VERBS = [
    "count",
    "merge",
    "filter",
    "rotate",
    "group",
    "pair",
    "rank",
    "shift",
    "split",
    "trim",
    "encode",
    "balance",
    "reverse",
    "flatten",
    "zip",
    "chunk",
]
CODE_OBJECTS = [
    "numbers",
    "words",
    "intervals",
    "edges",
    "tokens",
    "matrices",
    "prices",
    "records",
    "digits",
    "names",
    "rows",
    "paths",
    "events",
    "users",
]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Sentences:
    """Sentences of stories, and the parts of programming tasks."""

    openings: list[str]
    middles: list[str]
    endings: list[str]
    task: str
    rules: list[str]
    bodies: list[str]


_OPENINGS = [
    "{a} {has} {n} {t} and {buys} {m} {more} at the {p} {because}.",
    "On {d}, {a} and {b} collect {n} {t} near the {p}, which is {m} more than last week.",
    "A {p} sells {t} in boxes of {n}, and {a} {buys} {m} boxes on {d} {because}.",
    "{a} packs {n} {t} into bags of {m} before walking to the {p}.",
    "Every {d} the {p} hands out {n} free {t}, but only {m} visitors come.",
    "{a} earns ${n} an hour at the {p} and works {m} hours on {d} {because}.",
    "There are {n} {t} on a shelf in the {p}; {a} moves {m} of them to another room.",
    "{b} promised {a} {n} {t} for helping at the {p} for {m} days.",
    "The {p} in {c} {has} {n} {t} for sale, and {m} of them are for {a}.",
    "When {a} was {m}, the {p} of {c} charged ${n} for a dozen {t}.",
]
_MIDDLES = [
    "{then} {b} {gives} away {n} {t} to {m} friends.",
    "{then} {a} loses {n} of the {t} {because}.",
    "{b} {has} {n} times as many {t} as {a} had on {d}.",
    "Each of the {m} boxes of {u} costs ${n}, and shipping from {c} is ${m} extra.",
    "Half of the {t} are from {c}, and {n} of those cannot be used.",
    "{then} the price at the {p} goes up by {n}% {because}.",
    "A third of them go to {b}, who already {has} {n} {u}.",
    "{then} {a} trades {n} {t} for {m} {u} {because}.",
    "{a} decides to keep {n} {u} for every {m} {t}.",
    "It takes {n} minutes to carry {m} {t} from the {p} to the house of {b}.",
    "{then} {b} {buys} {n} {u}, and {a} {gives} {m} of them to the {p}.",
    "The {p} asks {b} for ${n} a month, {m} days in advance.",
]
_ENDINGS = [
    "How many {t} does {a} have left?",
    "How much money does {a} spend in total?",
    "How many {u} can {b} buy on {d}?",
    "What is the average number of {t} per day?",
    "How many more {t} than {u} are there at the {p}?",
    "How many minutes does {a} need altogether?",
    "What fraction of the {t} belongs to {b}?",
    "If {a} and {b} share the {u} equally, how many does each get?",
]
_CODE_RULES = [
    "skip every element that is smaller than {n}",
    "return the result in descending order of {o}",
    "treat an empty list of {o} as {n}",
    "use at most O({n} * k) extra memory",
    "raise ValueError when more than {m} {o} are given",
    "stop as soon as the running total is above {n}",
    "ignore {o} that occur fewer than {m} times",
    "keep the first {n} {o} unchanged",
    "never read {x} after it was {y}",
    "write {x} and {y} to the log every {n} steps",
    "compare {o} by their {x} first and by their {y} second",
]
_CODE_BODY = [
    "    {x} = {n}\n    for {v} in {w}:\n        if {v} % {m} == 0:\n            {x} += {v} * {n}\n    return {x}",
    "    {v} = sorted({w}, key=lambda {x}: {x}[{n} % 2])\n    return {v}[: {m}]",
    "    {x} = set()\n    while {w}:\n        {v} = {w}.pop()\n        {x}.add({v} + {n})\n    return len({x}) - {m}",
    "    return [{v} for {v} in {w} if {v} != {n} and {v} < {m}]",
    "    {x} = {{}}\n    for {v} in {w}:\n        {x}[{v}] = {x}.get({v}, {n})\n    return max({x}.values()) // {m}",
]
FIRST_SENTENCES = Sentences(
    _OPENINGS,
    _MIDDLES,
    _ENDINGS,
    "Write a function `{function}({w})` that can {verb} {items} by their {other}.",
    _CODE_RULES,
    _CODE_BODY,
)
OTHER_SENTENCES = Sentences(
    [
        "Last {d} a truck brought {n} {t} from {c}, packed in {m} crates.",
        "Together {a} and {b} own {n} {t}; {m} of these are kept in the {p}.",
        "It costs ${n} to rent the {p} in {c} for {m} hours.",
        "{a} wants to paint {n} {t}, and one can of paint is enough for {m}.",
        "Of the {n} guests at the {p}, exactly {m} ordered {t}.",
        "A train to {c} leaves every {m} minutes and takes up to {n} passengers, says {b}.",
        "During {m} weeks {b} saved ${n} to afford {t} from {c}.",
        "In a contest at the {p}, {a} threw {n} {t} and hit the mark {m} times.",
    ],
    [
        "Each crate weighs {m} pounds when it is empty, but {n} pounds when it is filled with {t}.",
        "{b}, who is {m} years old, doubles the number of {u} every hour until there are {n}.",
        "Unfortunately {m} percent were damaged, so {a} had to throw out {n} {t}.",
        "To celebrate, {a} bakes a cake with {m} layers, using {n} grams of sugar for it.",
        "The manager of the {p} offers a discount of {m}% to anybody who buys {n} {u} or more.",
        "Their cousin {c} borrowed {n} {u} and returned all but {m}.",
        "On the following {d}, twice as many people visit the {p} as {m} years ago.",
        "Between them they need {n} {u} for a model of the {p}.",
    ],
    [
        "Find the total weight of all {t} in pounds.",
        "Who has got the larger share, {a} or {b}, and by how much?",
        "Calculate what remains of the {u} once everybody was served.",
        "Determine after how many hours the last of the {t} will be gone.",
        "Express the ratio of {t} to {u} as a decimal number.",
        "By what percentage did the number of {u} grow?",
    ],
    "Implement `{function}({w})`, which has to {verb} the given {items}, one {other} after another.",
    [
        "if there are fewer than {n} {o}, the empty list is the answer",
        "{o} longer than {m} characters raise a TypeError",
        "the order of equal {o} has to be kept, up to {n} of them",
        "time limit: {m} seconds for {n} thousand {o}",
        "do not call {y} more than {m} times for the same {x}",
        "negative values of {x} count as {n}",
        "print {y} whenever {x} exceeds {m}",
    ],
    [
        "    {y} = [{n}] * {m}\n    for index, {v} in enumerate({w}):\n        {y}[index % {m}] -= {v}\n    return {y}",
        "    if not {w}:\n        raise IndexError({n})\n    return {w}[0] ^ {w}[-1] | {m}",
        "    {x} = iter({w})\n    return tuple(zip({x}, {x}))[{m}:{n}]",
        "    while len({w}) > {n}:\n        {w}.insert(0, {w}.pop() - {m})\n    return {w}",
    ],
)


def make_name(rng: random.Random) -> str:
    """Make the name of a person or a town."""
    return rng.choice(FIRST) + rng.choice(SECOND) + rng.choice(LAST)


def make_thing(rng: random.Random) -> str:
    """Make something to count."""
    return f"{rng.choice(ADJECTIVES)} {rng.choice(THINGS)}"
