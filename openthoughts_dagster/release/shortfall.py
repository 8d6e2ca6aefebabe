"""Says by how much a release is short of what its recipe asks for, and which steps took the rest."""

from collections.abc import Mapping
from itertools import pairwise

import polars as pl

from openthoughts_dagster.release.pool import QUESTION, Pool


def describe_shortfalls(pool: Pool, sizes: Mapping[str, int], samples: int) -> tuple[list[str], list[str]]:
    """Say by how much questions and answers are short.

    Args:
        pool: What is left after all steps.
        sizes: The questions that were asked for, by domain or source.
        samples: The answers that were asked for, of each question.

    Returns:
        All sentences, and those among them that are about `sizes`.
    """
    short = [sentence for name, wanted in sizes.items() if (sentence := _describe_size(pool, name, wanted))]
    counts = pool.answers.group_by(QUESTION).len().filter(pl.col("len") < samples)
    if counts.is_empty():
        return short, short
    by_source = counts.group_by("source").agg(pl.len().alias("questions"), (samples - pl.col("len")).sum().alias("gap"))
    listed = ", ".join(
        f"{source}: {questions:,} questions lack {gap:,} answers"
        for source, questions, gap in by_source.sort("source").iter_rows()
    )
    fewer = (
        f"{counts.height:,} of {pool.questions.height:,} questions have fewer than {samples} answers and stay with "
        f"those that they have ({listed}); rejected_answers and rejected_release have the reasons."
    )
    return [*short, fewer], short


def _describe_size(pool: Pool, name: str, wanted: int) -> str:
    own = pool.funnel.filter(pl.col("source" if name in pool.domains else "domain") == name)
    steps = own.group_by("step", maintain_order=True).agg(pl.col("questions").sum())
    left = list(steps.iter_rows())
    if left[-1][1] >= wanted:
        return ""
    lost = [f"{step} took {before - after:,}" for (_, before), (step, after) in pairwise(left)]
    lost = [text for text in lost if not text.endswith(" took 0")]
    return (
        f"{name} has {left[-1][1]:,} of {wanted:,} questions, {wanted - left[-1][1]:,} too few: {left[0][1]:,} were "
        f"asked{', ' if lost else ''}{', '.join(lost)}."
    )
