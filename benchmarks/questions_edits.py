"""Edits of questions: those of real corpora, and those that make another problem of a question."""

import random
import re
from collections.abc import Callable

from questions_words import ADJECTIVES, CODE_OBJECTS, DAYS, LETTERS, PLACES, THINGS, make_name
from rapidfuzz import fuzz


def edit(text: str, target: float, rng: random.Random) -> str:
    """`text` changed by one kind of edit until its ratio would fall below `target`, about."""
    if target > 99.5:
        return text if rng.random() < 0.5 else f" {text}\n"
    change = rng.choice(_EDITS)
    changed = text
    for _ in range(200):
        candidate = change(changed, rng)
        if fuzz.ratio(text, candidate) < target:
            return changed
        changed = candidate
    return changed


def _letters(text: str, rng: random.Random) -> str:
    """Some letters replaced, anywhere."""
    characters = list(text)
    for _ in range(max(1, len(text) // 60)):
        characters[rng.randrange(len(characters))] = rng.choice(LETTERS)
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
    words[rng.randrange(len(words))] = rng.choice(rng.choice([THINGS, ADJECTIVES, CODE_OBJECTS, [make_name(rng)]]))
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
    known = [at for at, word in enumerate(words) if word in ADJECTIVES or word in PLACES or word in DAYS]
    if not known:
        return _other_number(text, rng)
    at = rng.choice(known)
    group = next(group for group in (ADJECTIVES, PLACES, DAYS) if words[at] in group)
    words[at] = rng.choice([word for word in group if word != words[at]])
    return " ".join(words)


SAME: list[Callable[[str, random.Random], str]] = [_misspelled, _reformatted, _capitals]
DIFFERENT: list[Callable[[str, random.Random], str]] = [_other_number, _negated, _other_word]
