"""The indexes find what comparing everything with everything finds, on real questions with planted edits."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rapidfuzz import fuzz, process

from openthoughts_dagster.questions import Texts, curate, find_leaks
from openthoughts_dagster.recipe import Decontamination, Dedup, DomainQuestions

TESTS = Path(__file__).parents[1]
GSM8K = [json.loads(line)["question"] for line in (TESTS / "e2e/data/gsm8k_sample.jsonl").read_text().splitlines()]
with gzip.open(TESTS / "sources/data/humaneval_sample.jsonl.gz", "rt") as _file:
    HUMANEVAL = [json.loads(line)["prompt"] for line in _file]


def _edited(text: str, share: float, rng: random.Random) -> str:
    """The text with that share of its characters replaced, dropped or doubled."""
    out = []
    for character in text:
        if rng.random() < share:
            out.append(rng.choice(["", character * 2, rng.choice("abcdefghijklmnopqrstuvwxyz ")]))
        else:
            out.append(character)
    return "".join(out)


def _corpus() -> list[str]:
    rng = random.Random(0)
    texts = [*GSM8K, *HUMANEVAL]
    copies = [_edited(rng.choice(texts), rng.choice([0.0, 0.01, 0.03, 0.05, 0.1, 0.15, 0.25]), rng) for _ in range(400)]
    words = sorted({word for text in GSM8K for word in text.split()})
    fillers = [" ".join(rng.choices(words, k=rng.randrange(8, 60))) for _ in range(200)]
    return [*texts, *copies, *fillers]


def _rows(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"question": texts}).with_columns(
        question_id=pl.Series([f"{n:05d}" for n in range(len(texts))]),
        source=pl.lit("s"),
        origin=pl.lit("{}"),
        scores=pl.lit("{}"),
    )


def test_fuzzy_duplicates_are_the_connected_components_that_brute_force_finds() -> None:
    texts = _corpus()
    similar = process.cdist(texts, texts, scorer=fuzz.ratio, score_cutoff=90, dtype=np.float64) >= 90
    component = list(range(len(texts)))
    for one, other in zip(*np.nonzero(np.triu(similar, 1)), strict=True):
        old, new = component[other], component[one]
        component = [new if c == old else c for c in component]

    settings = DomainQuestions(dedup=Dedup(method="fuzzy", similarity=90, same_numbers=False))
    nothing = Decontamination(ngram=None, similarity=None)
    curated = curate(
        _rows(texts), settings, nothing, pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String})
    )

    kept = [int(i) for i in curated.questions["question_id"]]
    assert len(kept) == len(set(component)) and {component[i] for i in kept} == set(component)
    for row in curated.rejected.iter_rows(named=True):
        evidence = json.loads(row["evidence"])
        assert component[int(evidence["of"])] == component[int(row["question_id"])]


@pytest.mark.parametrize("rule", [{"ngram": None, "similarity": 75}, {"ngram": 13, "similarity": None}])
def test_leaks_are_those_that_brute_force_finds(rule: dict[str, float | None]) -> None:
    benchmark = pl.DataFrame({"benchmark": "b", "question": [*GSM8K[:20], *HUMANEVAL[:5]]})
    texts = Texts.of(pl.Series(_corpus(), dtype=pl.String))
    found = [
        set(find_leaks(texts, Decontamination.model_validate({**rule, "brute_force": force}), benchmark).decisions)
        for force in (False, True)
    ]
    assert found[0] == found[1] and len(found[0]) > 25


def test_every_benchmark_question_planted_into_the_training_questions_is_found() -> None:
    rng = random.Random(1)
    held, training = GSM8K[:15], GSM8K[15:]
    planted = [_edited(text, share, rng) for text in held for share in (0.0, 0.05)]
    texts = [*training, *planted, *HUMANEVAL]
    settings = DomainQuestions(dedup=Dedup(method="none"))
    curated = curate(
        _rows(texts),
        settings,
        Decontamination(),
        pl.DataFrame({"benchmark": "gsm8k-test", "split": "test", "question": held}),
    )

    assert set(curated.rejected["question"]) == set(planted)
    for evidence in curated.rejected["evidence"]:
        assert json.loads(evidence)["benchmark"] == "gsm8k-test"
