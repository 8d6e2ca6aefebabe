"""Reads from the tables what the card of a version says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    RELEASE_FUNNEL,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.recipe import Recipe, Release
from openthoughts_dagster.release.card.leaks import DecontaminationFacts, read_decontamination
from openthoughts_dagster.release.choosing import release_of
from openthoughts_dagster.release.gates import GateResult
from openthoughts_dagster.release.texts import scan_answers, scan_rows

_SAMPLE = 20_000
_SCRIPTS = {
    "Han": r"\p{Han}",
    "Cyrillic": r"\p{Cyrillic}",
    "Arabic": r"\p{Arabic}",
    "Devanagari": r"\p{Devanagari}",
    "Hangul": r"\p{Hangul}",
    "Kana": r"[\p{Hiragana}\p{Katakana}]",
}


@dataclass(frozen=True)
class StudyFacts:
    """A study of the recipe that has a result: its question, its decision, and its arms with scores and errors."""

    name: str
    question: str
    decision: str
    arms: pl.DataFrame


@dataclass(frozen=True)
class CardFacts:
    """What the tables say of one version of a release.

    Attributes:
        recipe: The recipe with its release.
        teacher: The teacher whose answers the version has.
        version: The version.
        made_at: When it was made, UTC.
        sources: Columns source, domain, licence, questions, answers, with_reference (questions that have a reference
            answer), cut_off, median_tokens.
        funnel: The rows of release_funnel.
        shortfalls: By how much it is short of the recipe's sizes, and why, in sentences.
        decontamination: What was compared with, what was dropped, and the samples that validate it.
        scripts: The share of a sample of rows that has letters of a script other than Latin, by script.
        costs: Columns asset, model, completions, tokens, engine_seconds, cost and currency.
        studies: The studies that have a result.
        student: The row of release_student; None when no student was trained on this version.
        scores: The rows of release_scores of this version.
        record: What the version was made from, as release_versions has it.
        personal_data: The result of the gate, where it was run.
    """

    recipe: Recipe
    teacher: str
    version: str
    made_at: datetime
    sources: pl.DataFrame
    funnel: pl.DataFrame
    shortfalls: Sequence[str]
    decontamination: DecontaminationFacts
    scripts: Mapping[str, float]
    costs: pl.DataFrame
    studies: Sequence[StudyFacts]
    student: Mapping[str, Any] | None
    scores: pl.DataFrame
    record: Mapping[str, Any]
    personal_data: GateResult | None = None

    @property
    def release(self) -> Release:
        """The recipe's release."""
        return release_of(self.recipe)


def read_card_facts(
    lake: LakeReader,
    recipe: Recipe,
    teacher: str,
    version: str,
    made_at: datetime,
    shortfalls: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
    personal_data: GateResult | None = None,
) -> CardFacts:
    """Read what the card of a version says. The version is the one whose rows reasoning_dataset has.

    Args:
        lake: The tables: reasoning_dataset, release_funnel, the ledger, and those of studies, students and scores.
        recipe: The recipe with its release.
        teacher: The release's partition.
        version: The version.
        made_at: When it was made, UTC.
        shortfalls: By how much the release is short, as `choose_rows` says it.
        record: What it was made from, as release_versions has it.
        personal_data: The result of the gate for personal data, where it was run.

    Returns:
        The facts, for `write_card`.

    Raises:
        ReleaseError: The recipe has no release.
    """
    return CardFacts(
        recipe=recipe,
        teacher=teacher,
        version=version,
        made_at=made_at,
        sources=_read_sources(lake, teacher),
        funnel=lake.scan(RELEASE_FUNNEL, teacher=teacher).sort("order", "source").collect(),
        shortfalls=tuple(shortfalls),
        decontamination=read_decontamination(lake, recipe, teacher),
        scripts=_read_scripts(lake, teacher),
        costs=_read_costs(lake, teacher),
        studies=_read_studies(lake, recipe),
        student=_read_student(lake, teacher, version),
        scores=lake.scan(RELEASE_SCORES, teacher=teacher).filter(version=version).collect(),
        record=record or {},
        personal_data=personal_data,
    )


def _read_sources(lake: LakeReader, teacher: str) -> pl.DataFrame:
    names = ["source", "question_id"]
    rows = scan_rows(lake, teacher).select(*names, "domain", "licence")
    sources = rows.select(pl.col("source").unique()).collect()["source"].implode()
    asked = lake.scan(DEDUPED_QUESTIONS).filter(pl.col("source").is_in(sources))
    references = asked.select(*names, referenced=pl.col("reference_answer").is_not_null())
    of_questions = (
        rows.select(names)
        .unique()
        .join(references, on=names, how="left")
        .group_by("source")
        .agg(with_reference=pl.col("referenced").sum())
    )
    of_answers = (
        scan_answers(lake, teacher, "outcome", "completion_tokens")
        .group_by("source")
        .agg(cut_off=(pl.col("outcome") == "unfinished").sum(), median_tokens=pl.col("completion_tokens").median())
    )
    return (
        rows.group_by("source", "domain", "licence")
        .agg(questions=pl.col("question_id").n_unique(), answers=pl.len())
        .join(of_questions, on="source", how="left")
        .join(of_answers, on="source", how="left")
        .sort("domain", "source", "licence")
        .collect()
    )


def _read_scripts(lake: LakeReader, teacher: str) -> dict[str, float]:
    """Return the share of rows with letters of other scripts, in the first rows of the release's random order."""
    first = scan_rows(lake, teacher).filter(pl.col("position") < _SAMPLE).select("completion_id", "model")
    models = first.select(pl.col("model").unique()).collect()["model"].implode()
    texts = (
        lake.scan(COMPLETIONS)
        .filter(pl.col("model").is_in(models))
        .select("completion_id", text=pl.concat_str("reasoning", "answer", ignore_nulls=True))
        .join(first.select("completion_id").unique(), on="completion_id", how="semi")
    )
    shares = [pl.col("text").str.contains(pattern).mean().alias(name) for name, pattern in _SCRIPTS.items()]
    found = texts.select(shares).collect().row(0, named=True)
    return {name: float(share) for name, share in found.items() if share}


def _read_costs(lake: LakeReader, teacher: str) -> pl.DataFrame:
    """Sum up what the ledger has for the release's sources: their judges, and the answers of the teacher."""
    sources = scan_rows(lake, teacher).select(pl.col("source").unique()).collect()["source"].implode()
    of_teacher = (pl.col("asset") == "teacher_answers") & (pl.col("asked_as") == teacher)
    of_judges = pl.col("asset").is_in(["raw_sources", "scored_questions"])
    return (
        lake.scan(COMPLETIONS)
        .filter(pl.col("source").is_in(sources), of_teacher | of_judges)
        .group_by("asset", model="asked_as", currency="currency")
        .agg(
            completions=pl.len(),
            tokens=(pl.col("prompt_tokens").cast(pl.Int64) + pl.col("completion_tokens")).sum(),
            engine_seconds=pl.col("engine_seconds").sum(),
            cost=pl.col("cost").sum(),
        )
        .select("asset", "model", "completions", "tokens", "engine_seconds", "cost", "currency")
        .sort("asset", "model")
        .collect()
    )


def _read_studies(lake: LakeReader, recipe: Recipe) -> list[StudyFacts]:
    """Read the latest version of each of the recipe's studies that has a result."""
    facts = []
    for study in recipe.studies:
        versions = lake.scan(STUDY_VERSIONS, study=study.name).sort("number").collect()["version"].to_list()
        results = lake.scan(STUDY_RESULTS, study=study.name).collect()
        known = [version for version in versions if version in set(results["version"])]
        if known:
            arms = results.filter(version=known[-1]).sort("score", descending=True)
            shown = arms.select("arm_name", "score", "error", "seeds", "items", "rows")
            facts.append(StudyFacts(study.name, study.question, arms["decision"][0], shown))
    return facts


def _read_student(lake: LakeReader, teacher: str, version: str) -> dict[str, Any] | None:
    rows = lake.scan(RELEASE_STUDENTS, teacher=teacher).filter(version=version).collect()
    return rows.row(0, named=True) if rows.height else None
