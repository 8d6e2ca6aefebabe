"""Scores that are trained or embedded, and a judge that is shown examples."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from openthoughts_dagster.generation.requests import Answer, Prompt
from openthoughts_dagster.questions import score_questions
from openthoughts_dagster.questions.scoring import Means, read_prompt
from openthoughts_dagster.recipe import AskLlmScore, EmbeddingScore, FastTextScore
from openthoughts_dagster.recipe.questions import Examples

GOOD = [f"Prove that the sum of the first {n} odd numbers is a square." for n in range(60)]
BAD = [f"Write a SQL query that selects column {n} from a table of customers." for n in range(60)]
EXAMPLES = Examples(paths=["unused.jsonl"])


def _means(ask: object = None) -> Means:
    calls = iter((GOOD, BAD))
    return Means(judge=lambda _: ask, prompt=read_prompt, examples=lambda _: next(calls))  # type: ignore[arg-type,return-value]


def _values(score: object, means: Means, questions: Sequence[str]) -> list[float | None]:
    frame = pl.DataFrame({"question_id": [str(n) for n in range(len(questions))], "question": list(questions)})
    rows = score_questions(frame, [score], means).questions["scores"]  # type: ignore[list-item]
    return rows.str.json_path_match("$.s").cast(pl.Float64).to_list()


def test_a_classifier_ranks_what_is_like_the_positives_first_and_is_the_same_every_time() -> None:
    score = FastTextScore(
        name="s", method="fasttext", positives=EXAMPLES, negatives=EXAMPLES, dimensions=16, epochs=20, min_count=1
    )
    asked = ["Prove that the sum of two even numbers is even.", "Select a column of a table in SQL."]
    first = _values(score, _means(), asked)
    assert first[0] is not None and first[1] is not None and first[0] > first[1]
    assert _values(score, _means(), asked) == first


def test_an_encoder_puts_a_positive_above_a_negative(untrained_model: Path) -> None:
    # Random weights still embed equal words near each other: what is tested is the arithmetic on a real encoder.
    score = EmbeddingScore(
        name="s", method="embedding", model=str(untrained_model), positives=EXAMPLES, negatives=EXAMPLES
    )
    values = _values(score, _means(), [GOOD[3], BAD[3]])
    assert values[0] is not None and values[1] is not None and -2 <= values[1] < values[0] <= 2


def test_a_judge_sees_examples_of_both_kinds_and_prose_is_asked_again_then_null() -> None:
    seen: list[Prompt] = []

    def ask(prompts: Sequence[Prompt]) -> list[list[Answer]]:
        seen.extend(prompts)
        replies = ["I would say 80." if "hopeless" in p.user else '{"score": 80}' for p in prompts]
        return [
            [Answer("k", p.first_sample, None, r, "stop", None, 1, 1)] for p, r in zip(prompts, replies, strict=True)
        ]

    score = AskLlmScore(name="s", method="ask_llm", judge="j", positives=EXAMPLES, negatives=EXAMPLES, attempts=3)
    assert _values(score, _means(ask), ["fine", "hopeless"]) == [80, None]
    assert all(any(q in p.user for q in GOOD) and any(q in p.user for q in BAD) for p in seen)
    assert [p.first_sample for p in seen if "hopeless" in p.user] == [0, 1, 2]
