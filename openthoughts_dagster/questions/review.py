"""Shows a random sample of the questions that were dropped as leaks, so that a person can judge the rule."""

import json
import textwrap

import polars as pl

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.questions.decisions import STEPS

_COLUMNS = {
    "question_id": pl.String,
    "reason": pl.String,
    "benchmark": pl.String,
    "split": pl.String,
    "shared": pl.String,
    "similarity": pl.Float64,
    "question": pl.String,
    "text": pl.String,
}


def sample_leaks(rejected: pl.LazyFrame, count: int, seed: int = 0) -> pl.DataFrame:
    """Draw dropped questions at random, each with the benchmark question that it matched.

    Args:
        rejected: Rows of the table rejected_questions of one source.
        count: The number of questions to draw; all if there are fewer.
        seed: Seed of the sample.

    Returns:
        Columns question_id, reason, benchmark, split, shared, similarity, question and text (the benchmark's question).
    """
    reasons = STEPS["decontamination"]
    rows = rejected.filter((pl.col("stage") == "deduped_questions") & pl.col("reason").is_in(reasons))
    found = rows.select("question_id", "reason", "question", "evidence").collect()
    order = sorted(range(found.height), key=lambda at: text_hash(str(seed), found["question_id"][at]))[:count]
    drawn = [
        {**json.loads(row["evidence"]), **{name: row[name] for name in ("question_id", "reason", "question")}}
        for row in found[order].iter_rows(named=True)
    ]
    return pl.DataFrame([{name: row.get(name) for name in _COLUMNS} for row in drawn], schema=_COLUMNS)


def show_side_by_side(leaks: pl.DataFrame, width: int = 120) -> str:
    """Format the rows of `sample_leaks`: the match, and below it both texts in two columns of `width` together."""
    half, blocks = max(20, (width - 3) // 2), []
    for row in leaks.iter_rows(named=True):
        split = f" ({row['split']})" if row["split"] else ""
        shared = f"shares {_visible(row['shared'] or '')!r}" if row["similarity"] is None else ""
        match = shared or f"similarity {row['similarity']:.1f}"
        head = f"{row['question_id']}: {row['reason']}, {row['benchmark']}{split}: {match}"
        left, right = (["the question", "", *_wrapped(row["question"], half)], ["the benchmark", ""])
        right += _wrapped(row["text"] or "", half)
        length = max(len(left), len(right))
        lines = zip(left + [""] * (length - len(left)), right + [""] * (length - len(right)), strict=True)
        blocks.append("\n".join([head, *(f"{one:<{half}} | {other}".rstrip() for one, other in lines)]))
    return "\n\n".join(blocks)


def _wrapped(text: str, width: int) -> list[str]:
    lines = [_visible(line) for line in text.expandtabs(4).splitlines()]
    return [part for line in lines for part in textwrap.wrap(line, width, drop_whitespace=False) or [""]]


def _visible(text: str) -> str:
    """Remove characters that would control a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
