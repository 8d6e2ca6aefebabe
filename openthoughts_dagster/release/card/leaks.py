"""Reads what decontamination did for a release, with two samples that validate it."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import REJECTED_QUESTIONS, REJECTED_RELEASE, text_hash
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.questions import Texts, compared_questions, find_leaks, sample_leaks
from openthoughts_dagster.questions.decisions import STEPS
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.personal_data import find_personal_data
from openthoughts_dagster.release.texts import scan_questions

_DROPPED, _KEPT = 5, 100
_NOT_SHOWN = "not shown, because it may have personal data"


@dataclass(frozen=True)
class DecontaminationFacts:
    """What was compared with, what was dropped, and whether samples of both agree with the rule.

    Attributes:
        compared: Columns benchmark and questions: the number of questions of every benchmark and set.
        unchecked: Benchmarks whose questions are not known.
        dropped: Columns source, reason and questions.
        sample: Dropped questions drawn at random: columns source, benchmark, question and text (the benchmark's).
        sample_found_again: How many of them the rule finds again when it compares every pair, without its index.
        kept_checked: Questions of the release, drawn at random, that were compared with every benchmark question.
        kept_leaks: How many of these leak; 0 unless the index misses what the rule calls a leak.
    """

    compared: pl.DataFrame
    unchecked: Sequence[str]
    dropped: pl.DataFrame
    sample: pl.DataFrame
    sample_found_again: int
    kept_checked: int
    kept_leaks: int


def read_decontamination(lake: LakeReader, recipe: Recipe, teacher: str) -> DecontaminationFacts:
    """Read the decisions of decontamination for the sources of a release, and check samples of them pair by pair.

    Args:
        lake: The tables.
        recipe: The recipe, for its benchmarks and its `decontamination`.
        teacher: The release's partition.

    Returns:
        The facts.
    """
    own, unchecked = benchmark_questions(recipe.evaluation, recipe.path)
    benchmarks = compared_questions(own, recipe.evaluation, recipe.decontamination, recipe.path)
    kept = scan_questions(lake, teacher).filter(pl.col("question").is_not_null())
    names = kept.select("source", "question_id").collect()
    sources = names["source"].unique().sort()
    sample = _sample_dropped(lake, sources)
    slow = recipe.decontamination.model_copy(update={"brute_force": True})
    again = find_leaks(Texts.of(sample["question"]), slow, benchmarks).decisions if sample.height else {}
    order = [text_hash("card", name) for name in names["question_id"]]
    drawn = names.with_columns(pl.Series("order", order, dtype=pl.String))
    chosen = drawn.sort("order", "source").head(_KEPT).drop("order")
    texts = kept.join(chosen.lazy(), on=["source", "question_id"], how="semi").collect()["question"]
    return DecontaminationFacts(
        compared=benchmarks.group_by("benchmark").agg(questions=pl.len()).sort("benchmark"),
        unchecked=unchecked,
        dropped=_count_dropped(lake, teacher, sources),
        sample=_without_personal_data(sample),
        sample_found_again=len(again),
        kept_checked=len(texts),
        kept_leaks=len(find_leaks(Texts.of(texts), slow, benchmarks).decisions) if benchmarks.height else 0,
    )


def _sample_dropped(lake: LakeReader, sources: pl.Series) -> pl.DataFrame:
    """Draw questions that were dropped as leaks, at random over all sources."""
    parts = [
        sample_leaks(lake.scan(REJECTED_QUESTIONS, source=source), _DROPPED).with_columns(source=pl.lit(source))
        for source in sources
    ]
    schema = {"source": pl.String, "benchmark": pl.String, "question": pl.String, "text": pl.String}
    every = pl.concat([pl.DataFrame(schema=schema), *(part.select(list(schema)) for part in parts)])
    order = sorted(range(every.height), key=lambda at: text_hash("sample", every["question"][at]))
    return every[order[:_DROPPED]]


def _without_personal_data(sample: pl.DataFrame) -> pl.DataFrame:
    """Leave out the texts that may have an e-mail address, a phone number or a key: the card is published."""
    for column in ("question", "text"):
        found = find_personal_data(sample.with_row_index("row"), "row", [column])
        rows = {int(one.row) for one in found}
        texts = [_NOT_SHOWN if row in rows else text for row, text in enumerate(sample[column])]
        sample = sample.with_columns(pl.Series(column, texts, dtype=pl.String))
    return sample


def _count_dropped(lake: LakeReader, teacher: str, sources: pl.Series) -> pl.DataFrame:
    reasons = list(STEPS["decontamination"])
    before = lake.scan(REJECTED_QUESTIONS).filter(
        pl.col("stage") == "deduped_questions",
        pl.col("reason").is_in(reasons),
        pl.col("source").is_in(sources.implode()),
    )
    here = lake.scan(REJECTED_RELEASE, teacher=teacher).filter(pl.col("step") == "decontamination")
    both = pl.concat([frame.select("source", "reason") for frame in (before, here)])
    return both.group_by("source", "reason").agg(questions=pl.len()).sort("source", "reason").collect()
