"""A corpus of made-up questions with a seed: word problems like GSM8K's and programming tasks, with planted repeats.

Every base question is put together from many templates, names, things and numbers, so that questions share phrases as
real ones do. A planted row is an edited copy of an earlier row (or of a benchmark question, for leaks): the edits are
those of real corpora, from a changed space to letters replaced all over the text down to the similarity asked for.
"""

# ruff: noqa: SIM905 - word lists are read as text
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from rapidfuzz import fuzz

_FIRST = (
    "Ai Bru Car Dmi Ele Fa Gre Hiro Ina Jo Ka La Mi Niko Ol Pe Qia Ro Sa Ta Uma Ve Wen Xi Yu Zo Ade Bo Chi Da"
).split()
_SECOND = (
    "ba da ga ka la ma na pa ra sa ta va za be de ge ke le me ne re se te vi li mi ni ri si ti lo mo no ro so to"
).split()
_LAST = ("n s l r a o i e na no ra ro ta to ya ka lia nia rio shi than bert vin mir dan").split()
_THINGS = (
    "apples marbles stickers notebooks pencils cupcakes tickets stamps coins balloons bricks candles dumplings "
    "eggs flowers grapes hammers icicles jars kites lemons magnets needles oranges pancakes quilts ribbons shells "
    "tiles umbrellas vases whistles yams zippers bottles cards dolls envelopes figs gloves hats jewels keys lamps "
    "mugs nuts paintings chairs tables buckets ropes ladders plates forks spoons tomatoes carrots onions potatoes "
    "fish crabs sweaters socks shirts scarves buttons beads bracelets rings watches clocks radios phones cameras "
    "bicycles trucks"
).split()
_ADJECTIVES = (
    "red blue tiny broken wooden shiny heavy spare rare cheap frozen striped round fresh golden plastic paper "
    "glass old new green yellow purple silver cotton leather steel copper dried sliced painted carved used clean "
    "dusty imported local antique miniature giant square narrow soft hard sweet sour salted roasted organic "
    "double"
).split()
_PLACES = (
    "market fair library bakery station harbour farm museum stadium workshop store garden office warehouse pool "
    "theatre orchard factory bookshop airport hospital canteen gallery school kitchen garage studio gym bank "
    "hotel camp zoo"
).split()
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_VERBS = {
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
_CODE_VERBS = [
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
_CODE_OBJECTS = [
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
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Corpus:
    """`rows` has id and question; `planted` has id, of (the row or benchmark question it was made from) and ratio."""

    rows: pl.DataFrame
    planted: pl.DataFrame


def questions(count: int, seed: int, planted: float = 0.2) -> Corpus:
    """`count` questions, two thirds word problems and one third code, of which the share `planted` is edited copies."""
    rng = random.Random(seed)
    texts: list[str] = []
    truth: list[tuple[int, int, float]] = []
    for number in range(count):
        if texts and rng.random() < planted:
            of = rng.randrange(len(texts))
            text = edited(texts[of], rng.uniform(90, 100), rng)
            truth.append((number, of, fuzz.ratio(text, texts[of])))
        else:
            text = code_task(rng) if rng.random() < 1 / 3 else word_problem(rng)
        texts.append(text)
    return Corpus(_rows(texts), _truth(truth))


def leaks(count: int, benchmark: list[str], seed: int, planted: float = 0.05) -> Corpus:
    """`count` questions of which the share `planted` are edited copies of `benchmark`, at ratios from 75 to 100."""
    rng = random.Random(seed)
    texts: list[str] = []
    truth: list[tuple[int, int, float]] = []
    for number in range(count):
        if rng.random() < planted:
            of = rng.randrange(len(benchmark))
            text = edited(benchmark[of], rng.uniform(75, 100), rng)
            truth.append((number, of, fuzz.ratio(text, benchmark[of])))
        else:
            text = code_task(rng) if rng.random() < 1 / 3 else word_problem(rng)
        texts.append(text)
    return Corpus(_rows(texts), _truth(truth))


def problems(count: int, seed: int, planted: float = 0.2) -> tuple[Corpus, set[int]]:
    """`count` questions with the share `planted` of duplicates and as many look-alikes, which are other problems.

    A duplicate is another row with other formatting or a misspelled word; a look-alike differs from another row in a
    number, a sign, a word or a negation. Returns the corpus with its duplicates, and the rows that are look-alikes.
    """
    rng = random.Random(seed)
    texts: list[str] = []
    truth: list[tuple[int, int, float]] = []
    others: set[int] = set()
    originals: list[int] = []
    for number in range(count):
        kind = rng.random() if texts else 1.0
        if kind < 2 * planted:
            # One look-alike to a question of its own: two could be equal, or one take back the other's change.
            same = kind < planted or not originals
            of = rng.randrange(len(texts)) if same else originals.pop(rng.randrange(len(originals)))
            text = rng.choice(_SAME if same else _DIFFERENT)(texts[of], rng)
            if same:
                truth.append((number, of, fuzz.ratio(text, texts[of])))
            else:
                others.add(number)
        else:
            text = code_task(rng) if rng.random() < 1 / 3 else word_problem(rng)
            originals.append(number)
        texts.append(text)
    return Corpus(_rows(texts), _truth(truth)), others


def harmless(count: int, seed: int) -> list[str]:
    """Questions of which most have an instruction, a table or code as `benchmark_with_patterns` has, and no leak."""
    rng = random.Random(seed)
    return [_with_pattern(code_task(rng) if rng.random() < 1 / 3 else word_problem(rng), rng) for _ in range(count)]


def _with_pattern(text: str, rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return text
    if kind == 1:
        return rng.choice(_INSTRUCTIONS).format(question=text)
    width = rng.randint(3, 14)
    rule = "|" + "---|" * width
    header = "| " + " | ".join(rng.choice(_DAYS) if kind == 2 else str(day + 1) for day in range(width)) + " |"
    cells = "\n".join("| " + " | ".join(str(rng.randint(0, 99)) for _ in range(width)) + " |" for _ in range(2))
    return f"{text}\n\n{header}\n{rule}\n{cells}"


def word_problem(rng: random.Random) -> str:
    """A story with numbers and a question at its end."""
    a, b = name(rng), name(rng)
    t, u = thing(rng), thing(rng)
    parts = [rng.choice(_OPENINGS), *rng.sample(_MIDDLES, rng.randint(1, 4)), rng.choice(_ENDINGS)]
    return " ".join(
        part.format(
            a=a,
            b=b,
            c=name(rng),
            t=t,
            u=u,
            p=rng.choice(_PLACES),
            d=rng.choice(_DAYS),
            n=rng.randint(2, 999),
            m=rng.randint(2, 60),
            **{slot: rng.choice(choices) for slot, choices in _VERBS.items()},
        )
        for part in parts
    )


def name(rng: random.Random) -> str:
    """A person's or a town's name."""
    return rng.choice(_FIRST) + rng.choice(_SECOND) + rng.choice(_LAST)


def thing(rng: random.Random) -> str:
    """Something to count."""
    return f"{rng.choice(_ADJECTIVES)} {rng.choice(_THINGS)}"


def code_task(rng: random.Random) -> str:
    """A function to write, with rules, an example, and the code that a student handed in."""
    verb, items, other = rng.choice(_CODE_VERBS), rng.choice(_CODE_OBJECTS), rng.choice(_CODE_OBJECTS)
    x, y = f"{rng.choice(_ADJECTIVES)}_{rng.choice(_THINGS)}", name(rng).lower()
    function = f"{verb}_{items}_{rng.choice(_ADJECTIVES)}"
    slots = {"x": x, "y": y, "v": rng.choice(_LETTERS), "w": f"{y}_{other}"}
    rules = [
        "- " + rule.format(n=rng.randint(2, 999), m=rng.randint(2, 60), o=rng.choice(_CODE_OBJECTS), **slots)
        for rule in rng.sample(_CODE_RULES, rng.randint(1, 4))
    ]
    body = rng.choice(_CODE_BODY).format(n=rng.randint(2, 999), m=rng.randint(2, 60), **slots)
    shown = ", ".join(str(rng.randint(1, 999)) for _ in range(rng.randint(2, 6)))
    return (
        f"Write a function `{function}({slots['w']})` that can {verb} {items} by their {other}.\n"
        + "\n".join(rules)
        + f"\n\n>>> {function}([{shown}])\n{rng.randint(0, 999)}\n\ndef {function}({slots['w']}):\n{body}\n"
    )


def edited(text: str, target: float, rng: random.Random) -> str:
    """`text` changed by one kind of edit until its ratio would fall below `target`, about."""
    if target > 99.5:
        return text if rng.random() < 0.5 else f" {text}\n"
    edit = rng.choice(_EDITS)
    changed = text
    for _ in range(200):
        candidate = edit(changed, rng)
        if fuzz.ratio(text, candidate) < target:
            return changed
        changed = candidate
    return changed


def _letters(text: str, rng: random.Random) -> str:
    """Some letters replaced, anywhere."""
    characters = list(text)
    for _ in range(max(1, len(text) // 60)):
        characters[rng.randrange(len(characters))] = rng.choice(_LETTERS)
    return "".join(characters)


def _typos(text: str, rng: random.Random) -> str:
    """Letters dropped, doubled and swapped, anywhere."""
    characters = list(text)
    for _ in range(max(1, len(text) // 80)):
        at = rng.randrange(len(characters) - 1)
        kind = rng.randrange(3)
        if kind == 0:
            characters[at] = ""
        elif kind == 1:
            characters[at] *= 2
        else:
            characters[at], characters[at + 1] = characters[at + 1], characters[at]
    return "".join(characters)


def _words(text: str, rng: random.Random) -> str:
    """One word replaced by another."""
    words = text.split(" ")
    words[rng.randrange(len(words))] = rng.choice(rng.choice([_THINGS, _ADJECTIVES, _CODE_OBJECTS, [name(rng)]]))
    return " ".join(words)


def _numbers(text: str, rng: random.Random) -> str:
    """One number replaced by another, a word where there is none."""
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if word.strip("$%.,?").isdigit()]
    if not places:
        return _words(text, rng)
    words[rng.choice(places)] = str(rng.randint(2, 999))
    return " ".join(words)


def _dropped(text: str, rng: random.Random) -> str:
    """A few words cut out."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    return " ".join(words[:at] + words[at + 2 :]) or text


def _added(text: str, rng: random.Random) -> str:
    """Something said before, after or inside."""
    phrase = rng.choice(
        ["Please explain.", "Think step by step.", "Note:", "Answer briefly.", "(hint below)", "Hello!"]
    )
    words = text.split(" ")
    at = rng.choice([0, len(words), rng.randrange(len(words) + 1)])
    return " ".join([*words[:at], phrase, *words[at:]])


def _spaces(text: str, rng: random.Random) -> str:
    """Other white space."""
    words = text.split(" ")
    at = rng.randrange(1, max(2, len(words)))
    return " ".join(words[:at]) + rng.choice(["\n", "  ", "\t", " \n"]) + " ".join(words[at:])


def _case(text: str, rng: random.Random) -> str:
    """A word in capitals."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    words[at] = words[at].upper() if words[at].islower() else words[at].lower()
    return " ".join(words)


_EDITS: list[Callable[[str, random.Random], str]] = [
    _letters,
    _typos,
    _words,
    _numbers,
    _dropped,
    _added,
    _spaces,
    _case,
]


def _misspelled(text: str, rng: random.Random) -> str:
    """One letter of a long word dropped, doubled or in its neighbour's place, but the first."""
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if len(word) >= 6 and word.isalpha()]
    if not places:
        return text
    word, place = words[where := rng.choice(places)], rng.randrange(1, len(words[where]) - 2)
    kind = rng.randrange(3)
    middle = ["", word[place] * 2, word[place + 1] + word[place]][kind]
    words[where] = word[:place] + middle + word[place + (2 if kind == 2 else 1) :]
    return " ".join(words)


def _reformatted(text: str, rng: random.Random) -> str:
    """Other spacing where it is no program, other quotation marks, or a sentence without its full stop."""
    edited = rng.choice([text.replace(". ", ".  "), text.replace("`", ""), text.replace(". ", " ", 1), f"{text} \n"])
    return edited if "def " in text else edited.replace(" the ", "\nthe ", 1)


def _capitals(text: str, rng: random.Random) -> str:
    """A long word in capitals."""
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    if places:
        at = rng.choice(places)
        words[at] = words[at].upper()
    return " ".join(words)


def _other_number(text: str, rng: random.Random) -> str:
    """One number changed, or given a sign."""
    numbers = list(re.finditer(r"\d+", text))
    match = rng.choice(numbers)
    other = rng.choice([str(int(match[0]) + rng.randint(1, 9)), f"-{match[0]}"])
    return text[: match.start()] + other + text[match.end() :]


def _negated(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.randrange(1, len(words))
    return " ".join([*words[:at], rng.choice(["not", "never", "no"]), *words[at:]])


def _other_word(text: str, rng: random.Random) -> str:
    """One of the corpus's words in the place of another one."""
    words = text.split(" ")
    known = [at for at, word in enumerate(words) if word in _ADJECTIVES or word in _PLACES or word in _DAYS]
    if not known:
        return _other_number(text, rng)
    at = rng.choice(known)
    group = next(group for group in (_ADJECTIVES, _PLACES, _DAYS) if words[at] in group)
    words[at] = rng.choice([word for word in group if word != words[at]])
    return " ".join(words)


_SAME: list[Callable[[str, random.Random], str]] = [_misspelled, _reformatted, _capitals]
_DIFFERENT: list[Callable[[str, random.Random], str]] = [_other_number, _negated, _other_word]
_INSTRUCTIONS = [
    "Solve the following problem step by step. The last line of your response should be of the form Answer: $ANSWER "
    "(without quotes) where $ANSWER is the answer to the problem.\n\n{question}",
    "{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}} at the end of the reply.",
    "You will be given a question about a programming task or a story. Read it carefully before you begin.\n{question}",
]


def _rows(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"q{number:08}" for number in range(len(texts))], "question": texts})


def _truth(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"id": pl.Int64, "of": pl.Int64, "ratio": pl.Float64}, orient="row")
