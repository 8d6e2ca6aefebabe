"""Rules about the questions of a source."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from openthoughts_dagster.defs.check_rules.partition import Finding, Partition, without
from openthoughts_dagster.defs.metadata import recorded_steps
from openthoughts_dagster.evaluation import benchmark_questions
from openthoughts_dagster.lake import (
    DEDUPED_QUESTIONS,
    RAW_SOURCES,
    REJECTED_QUESTIONS,
    SCORED_QUESTIONS,
)
from openthoughts_dagster.lake.reading import read_slices
from openthoughts_dagster.questions import Texts, compared_questions, source_sample
from openthoughts_dagster.questions.decisions import STEPS
from openthoughts_dagster.questions.decontaminate import find_leaks_in_parts

_FAILED_SCORES = 0.05
_REJECTED_ROWS = 0.1
_PART = 50_000  # questions that are read at once


def raw_rows_add_up(at: Partition) -> Finding:
    """The source had as many rows as were kept and rejected together."""
    kept, rejected = at.count(RAW_SOURCES), at.count(REJECTED_QUESTIONS, stage="raw_sources")
    rows_in = int(at.recorded.get("rows_in", -1))
    return Finding(
        kept + rejected == rows_in,
        f"{kept:,} kept and {rejected:,} rejected of {rows_in:,} rows",
        {"rows_in": rows_in, "kept": kept, "rejected": rejected},
    )


def raw_questions_are_whole(at: Partition) -> Finding:
    """Ids are unique, no question is blank, and every row says where it comes from."""
    counts = at.scan(RAW_SOURCES).select(
        rows=pl.len(),
        ids=pl.col("question_id").n_unique(),
        blank=(pl.col("question").str.strip_chars() == "").sum(),
        no_origin=pl.col("origin").str.strip_chars().is_in(["", "{}"]).sum(),
        no_answer=pl.col("reference_answer").null_count(),
    )
    found = counts.collect(engine="streaming").row(0, named=True)  # a source may be larger than memory
    rows, repeated = found["rows"], found["rows"] - found["ids"]
    return Finding(
        rows > 0 and repeated + found["blank"] + found["no_origin"] == 0,
        f"{rows:,} questions; {repeated} repeated ids, {found['blank']} blank, {found['no_origin']} without origin",
        {
            "repeated_ids": repeated,
            "blank": found["blank"],
            "reference_answer_null_rate": found["no_answer"] / max(1, rows),
        },
    )


def raw_few_rejected(at: Partition) -> Finding:
    """At most one row in ten was rejected. A higher share usually means that the recipe names a wrong column."""
    kept, rejected = at.count(RAW_SOURCES), at.count(REJECTED_QUESTIONS, stage="raw_sources")
    share = rejected / max(1, kept + rejected)
    return Finding(share <= _REJECTED_ROWS, f"{share:.1%} of the rows were rejected", {"rejected_share": share})


def scored_are_the_raw_questions(at: Partition) -> Finding:
    """No question was lost or invented while scoring."""
    raw, scored = (at.scan(table).select("question_id") for table in (RAW_SOURCES, SCORED_QUESTIONS))
    missing, unknown = without(raw, scored), without(scored, raw)
    says = f"{missing:,} questions without scores, {unknown:,} that raw_sources does not have"
    return Finding(missing + unknown == 0, says, {"missing": missing, "unknown": unknown})


def scores_are_present(at: Partition) -> Finding:
    """At most one score in twenty is null, which happens when the replies of a judge cannot be read."""
    expected = at.recipe.scores_for(at.recipe.source(at.source).domain)
    present = [pl.col("scores").str.json_path_match(f"$['{score.name}']").is_not_null().sum() for score in expected]
    columns = [count.alias(score.name) for count, score in zip(present, expected, strict=True)]
    found = at.scan(SCORED_QUESTIONS).select(pl.len().alias("rows"), *columns).collect(engine="streaming")
    rows, *counts = found.row(0)
    rates = {score.name: 1 - count / max(1, rows) for score, count in zip(expected, counts, strict=True)}
    says = ", ".join(f"{name}: {rate:.1%} null" for name, rate in rates.items()) or "the recipe asks for no score"
    return Finding(all(rate <= _FAILED_SCORES for rate in rates.values()), says, rates)


def curated_rows_add_up(at: Partition) -> Finding:
    """At every step of curation, the rows that went in were either left or rejected, and the last ones are kept."""
    kept = at.count(DEDUPED_QUESTIONS)
    scored = at.count(SCORED_QUESTIONS)
    reasons = at.scan(REJECTED_QUESTIONS, stage="deduped_questions").group_by("reason").len().collect()
    rejected = dict(reasons.iter_rows())
    left, problems = scored, []
    recorded = list(recorded_steps(at.recorded.get("steps")).values())[1:]
    for number, (step, names) in enumerate(STEPS.items()):
        left -= sum(rejected.pop(reason, 0) for reason in names)
        if number < len(recorded) and left != recorded[number]:
            problems.append(f"{step} left {recorded[number]:,}, and {left:,} by what it rejected")
    left -= sum(rejected.values())
    problems += [f"reasons of no step: {', '.join(rejected)}"] if rejected else []
    problems += [f"{kept:,} are kept"] if kept != left else []
    says = f"{kept:,} kept and {reasons['len'].sum():,} rejected of {scored:,} scored questions"
    return Finding(not problems, "; ".join([says, *problems]), {"rows_in": scored, "kept": kept})


def curated_questions_are_unique(at: Partition) -> Finding:
    """No id occurs twice. When the recipe deduplicates, no text occurs twice either."""
    names = at.scan(DEDUPED_QUESTIONS).select("question_id").collect()["question_id"]
    hashes = [np.unique(Texts.of(part["question"]).hashes()) for part in _kept_texts(at)]
    ids = len(names) - names.n_unique()
    texts = len(names) - (len(np.unique(np.concatenate(hashes))) if hashes else 0)
    deduplicates = at.recipe.domain(at.recipe.source(at.source).domain).dedup.method != "none"
    says = f"{ids} repeated ids, {texts} repeated texts in {len(names):,} questions"
    return Finding(len(names) > 0 and ids == 0 and not (deduplicates and texts), says, {"ids": ids, "texts": texts})


def _kept_texts(at: Partition) -> Iterator[pl.DataFrame]:
    """Read the questions that are kept a part at a time, since a source may be larger than memory."""
    return read_slices(at.scan(DEDUPED_QUESTIONS).select("question"), _PART)


def no_benchmark_questions(at: Partition) -> Finding:
    """No kept question leaks from a benchmark."""
    own, _ = benchmark_questions(at.recipe.evaluation, at.recipe.path)
    benchmarks = compared_questions(own, at.recipe.evaluation, at.recipe.decontamination, at.recipe.path)
    scored = at.scan(SCORED_QUESTIONS)
    source = source_sample(scored, scored.select("question_id").collect()["question_id"])
    found = find_leaks_in_parts(_kept_texts(at), at.recipe.decontamination, benchmarks, source)
    leaks, kept = sum(len(decisions) for _, decisions in found), at.count(DEDUPED_QUESTIONS)
    says = f"{leaks} of {kept:,} kept questions leak from {benchmarks.height:,} benchmark questions"
    return Finding(leaks == 0, says, {"leaks": leaks})


def every_benchmark_was_compared(at: Partition) -> Finding:
    """The questions of every benchmark are known, so that leaks from it can be found."""
    _, unchecked = benchmark_questions(at.recipe.evaluation, at.recipe.path)
    says = f"not compared with {', '.join(unchecked)}: give them `questions` in the recipe"
    return Finding(not unchecked, says if unchecked else "compared with all", {"unchecked_benchmarks": len(unchecked)})
