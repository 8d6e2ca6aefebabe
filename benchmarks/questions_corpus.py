"""A corpus of made-up questions with a seed: word problems like GSM8K's and programming tasks, with planted repeats.

Every base question is put together from many templates, names, things and numbers, so that questions share phrases as
real ones do. A planted row is an edited copy of an earlier row (or of a benchmark question, for leaks): the edits are
those of real corpora, from a changed space to letters replaced all over the text down to the similarity asked for.
"""

import random
from dataclasses import dataclass

import polars as pl
from questions_edits import DIFFERENT, SAME, edit
from questions_words import (
    ADJECTIVES,
    CODE_OBJECTS,
    CODE_VERBS,
    DAYS,
    FIRST_SENTENCES,
    LETTERS,
    PLACES,
    THINGS,
    VERBS,
    Sentences,
    make_name,
    make_thing,
)
from rapidfuzz import fuzz

_INSTRUCTIONS = [
    "Solve the following problem step by step. The last line of your response should be of the form Answer: $ANSWER "
    "(without quotes) where $ANSWER is the answer to the problem.\n\n{question}",
    "{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}} at the end of the reply.",
    "You will be given a question about a programming task or a story. Read it carefully before you begin.\n{question}",
]


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
            text = edit(texts[of], rng.uniform(90, 100), rng)
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
            text = edit(benchmark[of], rng.uniform(75, 100), rng)
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
            text = rng.choice(SAME if same else DIFFERENT)(texts[of], rng)
            if same:
                truth.append((number, of, fuzz.ratio(text, texts[of])))
            else:
                others.add(number)
        else:
            text = code_task(rng) if rng.random() < 1 / 3 else word_problem(rng)
            originals.append(number)
        texts.append(text)
    return Corpus(_rows(texts), _truth(truth)), others


def with_patterns(count: int, seed: int, sentences: Sentences = FIRST_SENTENCES) -> list[str]:
    """Make questions of which most have an instruction, a table or code, made in the same way whatever the sentences.

    So questions of OTHER_SENTENCES look like those of FIRST_SENTENCES, and repeat none of them.
    """
    rng = random.Random(seed)
    return [
        _add_pattern(code_task(rng, sentences) if rng.random() < 1 / 3 else word_problem(rng, sentences), rng)
        for _ in range(count)
    ]


def _add_pattern(text: str, rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return text
    if kind == 1:
        return rng.choice(_INSTRUCTIONS).format(question=text)
    width = rng.randint(3, 14)
    rule = "|" + "---|" * width
    header = "| " + " | ".join(rng.choice(DAYS) if kind == 2 else str(day + 1) for day in range(width)) + " |"
    cells = "\n".join("| " + " | ".join(str(rng.randint(0, 99)) for _ in range(width)) + " |" for _ in range(2))
    return f"{text}\n\n{header}\n{rule}\n{cells}"


def word_problem(rng: random.Random, sentences: Sentences = FIRST_SENTENCES) -> str:
    """A story with numbers and a question at its end."""
    a, b = make_name(rng), make_name(rng)
    t, u = make_thing(rng), make_thing(rng)
    parts = [rng.choice(sentences.openings), *rng.sample(sentences.middles, rng.randint(1, 4))]
    parts.append(rng.choice(sentences.endings))
    return " ".join(
        part.format(
            a=a,
            b=b,
            c=make_name(rng),
            t=t,
            u=u,
            p=rng.choice(PLACES),
            d=rng.choice(DAYS),
            n=rng.randint(2, 999),
            m=rng.randint(2, 60),
            **{slot: rng.choice(choices) for slot, choices in VERBS.items()},
        )
        for part in parts
    )


def code_task(rng: random.Random, sentences: Sentences = FIRST_SENTENCES) -> str:
    """A function to write, with rules, an example, and the code that a student handed in."""
    verb, items, other = rng.choice(CODE_VERBS), rng.choice(CODE_OBJECTS), rng.choice(CODE_OBJECTS)
    x, y = f"{rng.choice(ADJECTIVES)}_{rng.choice(THINGS)}", make_name(rng).lower()
    function = f"{verb}_{items}_{rng.choice(ADJECTIVES)}"
    slots = {"x": x, "y": y, "v": rng.choice(LETTERS), "w": f"{y}_{other}"}
    rules = [
        "- " + rule.format(n=rng.randint(2, 999), m=rng.randint(2, 60), o=rng.choice(CODE_OBJECTS), **slots)
        for rule in rng.sample(sentences.rules, rng.randint(1, 4))
    ]
    body = rng.choice(sentences.bodies).format(n=rng.randint(2, 999), m=rng.randint(2, 60), **slots)
    shown = ", ".join(str(rng.randint(1, 999)) for _ in range(rng.randint(2, 6)))
    return (
        sentences.task.format(function=function, verb=verb, items=items, other=other, w=slots["w"])
        + "\n"
        + "\n".join(rules)
        + f"\n\n>>> {function}([{shown}])\n{rng.randint(0, 999)}\n\ndef {function}({slots['w']}):\n{body}\n"
    )


def _rows(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"q{number:08}" for number in range(len(texts))], "question": texts})


def _truth(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"id": pl.Int64, "of": pl.Int64, "ratio": pl.Float64}, orient="row")
