"""The result of a study: arms with their errors, comparisons of pairs, and the decision."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    ARM_QUESTIONS,
    ARM_SCORES,
    ARM_STUDENTS,
    COMPLETIONS,
    STUDY_COMPARISONS,
    STUDY_RESULTS,
    STUDY_VERSIONS,
    Lake,
)
from openthoughts_dagster.recipe import Recipe, identity_of
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies.arms import StudyError, study_version
from openthoughts_dagster.studies.comparison import (
    Comparison,
    Scores,
    chance_among_best,
    compare_arms,
    estimate_mean,
    z_scores,
)

_ALPHA = 0.05


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Args:
        arms: Rows of study_results, the best arm first.
        comparisons: Rows of study_comparisons, the largest difference first.
        decision: The decision, as a sentence.
        winner: The arm to adopt; None if the arms cannot be told apart.
        unclear: The arms that are neither worse than the best one nor equal to it within the margin.
        missing: Students that have no scores yet, as STUDY.ARM.SEED.
    """

    arms: pl.DataFrame
    comparisons: pl.DataFrame
    decision: str
    winner: str | None
    unclear: list[str]
    missing: list[str]


def freeze_study(lake: Lake, recipe: Recipe, study: Study) -> str:
    """Record the definition of a study when its first student starts.

    A version that is recorded already is not changed. A changed study gets the next number, and the students of older
    versions keep theirs.

    Returns:
        The hash of the version.
    """
    version = study_version(recipe, study)
    known = lake.scan(STUDY_VERSIONS, study=study.name).collect()
    if version in known["version"].to_list():
        return version
    row = {
        "study": study.name,
        "version": version,
        "number": max([0, *known["number"]]) + 1,
        "definition": json.dumps(identity_of(study), default=str, ensure_ascii=False),
        "frozen_at": datetime.now(UTC),
    }
    # Not appended: of two runs that start a study at once each would add the version, and it would stand there twice.
    rows = pl.concat([known, pl.DataFrame([row], schema=STUDY_VERSIONS.schema)])
    lake.replace(STUDY_VERSIONS, rows, study=study.name)
    return version


def decision_of(lake: Lake, recipe: Recipe, study: Study) -> str:
    """The decision of a study as it is asked now; empty where there is none, whatever older versions decided."""
    own = lake.scan(STUDY_RESULTS, study=study.name).filter(version=study_version(recipe, study))
    decided = own.select("decision").unique().collect()["decision"]
    return str(decided[0]) if len(decided) else ""


def study_result(lake: Lake, recipe: Recipe, study: Study, version: str | None = None) -> StudyResult:
    """Compare the arms of a study on the items and seeds that all of them have.

    Args:
        lake: The tables, with the students' scores.
        recipe: The recipe with the study.
        study: The study.
        version: Hash of the version; the current one when None.

    Returns:
        The arms, their comparisons and the decision.

    Raises:
        StudyError: Fewer than two arms are scored, or they share no benchmark item.
    """
    version = version or study_version(recipe, study)
    scores = lake.scan(ARM_SCORES).filter(study=study.name, version=version).collect()
    matrices, missing = _read_matrices(scores, recipe, study)
    metric = _metric(matrices, study)
    comparisons = compare_arms(metric, study.margin, _ALPHA)
    arms = _arm_rows(lake, study, version, metric)
    decision, winner = decide(study, metric, comparisons)
    arms = arms.with_columns(decision=pl.lit(decision)).select(list(STUDY_RESULTS.columns))
    unclear = [] if winner is not None else _undecided(metric, comparisons)
    return StudyResult(arms, _comparison_rows(study, version, comparisons), decision, winner, unclear, missing)


def decide(study: Study, metric: dict[str, Scores], comparisons: Sequence[Comparison]) -> tuple[str, str | None]:
    """Decide a study by its rule.

    Args:
        study: The study, for its rule and margin.
        metric: Scores by arm, seeds x items.
        comparisons: Every pair of arms.

    Returns:
        The decision as a sentence, and the winner; None if the rule decides for no arm.
    """
    ranked = sorted(metric, key=lambda name: -float(metric[name].mean()))
    best = ranked[0]
    against_best = {c.second: c for c in comparisons if c.first == best}
    seeds = min(len(scores) for scores in metric.values())
    only_items = " One seed says nothing of other trainings: the error is over items alone." if seeds == 1 else ""
    if study.decision == "simplest_within_margin":
        assert study.margin is not None
        for name in metric:  # the arms are in the order of the study; the first is the simplest
            if name == best:
                return f"{name} is the first arm that no other beats by more than the margin.{only_items}", name
            comparison = against_best[name]
            if comparison.p_equivalent is not None and comparison.p_equivalent < _ALPHA:
                return (
                    f"{name} is no worse than {best} by more than {study.margin:.1%} "
                    f"({_describe_comparison(comparison)}).{only_items}",
                    name,
                )
    runner_up = against_best[ranked[1]]
    unclear = [c for c in against_best.values() if c.p_holm >= _ALPHA]
    if not unclear:
        lead = f"{ranked[1]}, by" if len(ranked) == 2 else f"all other arms, and than the next one, {ranked[1]}, by"
        return f"{best} is better than {lead} {_describe_comparison(runner_up)}.{only_items}", best
    equal = [c for c in unclear if c.p_equivalent is not None and c.p_equivalent < _ALPHA]
    if len(equal) == len(unclear):
        names = ", ".join(c.second for c in equal)
        return f"{best} and {names} differ by less than the margin of {study.margin:.1%}.{only_items}", None
    names = ", ".join(c.second for c in unclear)
    needed = [c.seeds_needed for c in unclear]
    remedy = (
        f"{max(n for n in needed if n)} seeds would tell them apart"
        if all(needed)
        else "100 seeds would not be enough: more benchmark items are needed"
    )
    if seeds == 1:
        remedy = "run at least 3 seeds to learn how much trainings differ"
    return f"{best} cannot be told apart from {names} ({_describe_comparison(unclear[0])}); {remedy}.", None


def _undecided(metric: dict[str, Scores], comparisons: Sequence[Comparison]) -> list[str]:
    """Return the arms that are neither worse than the best one nor equal to it within the margin."""
    best = min(metric, key=lambda name: -float(metric[name].mean()))
    return [
        c.second
        for c in comparisons
        if c.first == best and c.p_holm >= _ALPHA and (c.p_equivalent is None or c.p_equivalent >= _ALPHA)
    ]


def p_value(p: float) -> str:
    """A p-value as people read it: with its sign, and no smaller than one in ten thousand."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def _describe_comparison(comparison: Comparison) -> str:
    difference = comparison.difference
    seeds = "1 seed" if difference.seeds == 1 else f"{difference.seeds} seeds"
    return (
        f"{100 * difference.mean:+.1f} ± {100 * difference.error:.1f} points; {seeds}, "
        f"{difference.items:,} items, p {p_value(comparison.p_holm)}"
    )


def _read_matrices(
    scores: pl.DataFrame, recipe: Recipe, study: Study
) -> tuple[dict[str, dict[str, Scores]], list[str]]:
    """Return each arm's scores on each benchmark, seeds x items, for the items that every student answered.

    Held-out benchmarks are left out, so that they decide nothing.
    """
    held_out = [benchmark.name for benchmark in recipe.evaluation.benchmarks if benchmark.role == "held_out"]
    scores = scores.filter(~pl.col("benchmark").is_in(held_out))
    seeds = [recipe.student.seed + number for number in range(study.seeds)]
    there = set(scores["arm_student"].unique())
    missing = [key for arm in study.variants() for seed in seeds if (key := f"{study.name}.{arm}.{seed}") not in there]
    scored = {arm: own for arm in study.variants() if (own := {s for s in seeds if f"{study.name}.{arm}.{s}" in there})}
    if len(scored) < 2:
        raise StudyError(
            f"study {study.name}: {len(scored)} of its {len(study.variants())} arms are scored, and a comparison needs "
            f"two: materialize arm_scores of {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        )
    # Only seeds that every arm has are compared, so that students differ only by their arm.
    shared = sorted(set.intersection(*scored.values()))
    if not shared:
        raise StudyError(f"study {study.name}: no seed is scored in every arm: materialize arm_scores of {missing[0]}")
    keys_of = {arm: [f"{study.name}.{arm}.{seed}" for seed in shared] for arm in scored}
    students = [key for keys in keys_of.values() for key in keys]
    rows = scores.filter(pl.col("arm_student").is_in(students)).with_columns(item=pl.format("{}/{}", "metric", "item"))
    common = rows.group_by("benchmark", "item").agg(pl.col("arm_student").n_unique()).filter(arm_student=len(students))
    if common.is_empty():
        raise StudyError(
            f"study {study.name}: its students share no benchmark item: materialize arm_scores of all of them again"
        )
    matrices: dict[str, dict[str, Scores]] = {arm: {} for arm in scored}
    for benchmark in common["benchmark"].unique().sort():
        items = common.filter(benchmark=benchmark)["item"].sort()
        asked = rows.filter(pl.col("benchmark") == benchmark, pl.col("item").is_in(items.implode()))
        wide = asked.pivot("arm_student", index="item", values="score", aggregate_function="mean").sort("item")
        for arm, keys in keys_of.items():
            matrices[arm][benchmark] = wide.select(keys).to_numpy().T.astype(np.float64)
    return matrices, missing


def _metric(matrices: dict[str, dict[str, Scores]], study: Study) -> dict[str, Scores]:
    """Return the study's metric as one matrix for each arm, seeds x items; its mean is the arm's score."""
    benchmarks = sorted(next(iter(matrices.values())))
    if study.metric not in ("mean", "z_mean"):
        if study.metric not in benchmarks:
            raise StudyError(
                f"study {study.name}: its metric is {study.metric!r}, and the students share items of "
                f"{', '.join(benchmarks)}: score them on it first"
            )
        return {arm: own[study.metric] for arm, own in matrices.items()}
    parts = {arm: [own[name] for name in benchmarks] for arm, own in matrices.items()}
    if study.metric == "z_mean":
        return z_scores(parts)
    total = sum(part.shape[1] for part in next(iter(parts.values())))
    # Items of a small benchmark get a larger weight, so that all benchmarks have equal weights.
    return {
        arm: np.concatenate([p * total / (len(benchmarks) * p.shape[1]) for p in own], axis=1)
        for arm, own in parts.items()
    }


def _arm_rows(lake: Lake, study: Study, version: str, metric: dict[str, Scores]) -> pl.DataFrame:
    students = lake.scan(ARM_STUDENTS).filter(study=study.name, version=version).collect()
    chances, rows = chance_among_best(metric), []
    for arm, scores in sorted(metric.items(), key=lambda entry: -float(entry[1].mean())):
        estimate, own, key = estimate_mean(scores), students.filter(arm_name=arm), f"{study.name}.{arm}"
        answers = lake.scan(ARM_ANSWERS, arm=key).collect()
        outcomes = lake.scan(COMPLETIONS).join(answers.lazy().select("completion_id"), on="completion_id", how="semi")
        cut = outcomes.select((pl.col("outcome") == "unfinished").mean()).collect().item()
        rows.append(
            {
                "study": study.name,
                "version": version,
                "arm_name": arm,
                "score": estimate.mean,
                "error_items": estimate.error_items,
                "error_seeds": estimate.error_seeds,
                "error": estimate.error,
                "chance_best": chances[arm],
                "seeds": estimate.seeds,
                "items": estimate.items,
                "questions": lake.scan(ARM_QUESTIONS, arm=key).select(pl.len()).collect().item(),
                "answers": answers.height,
                **{name: own[name].cast(pl.Float64).mean() for name in ("rows", "train_tokens", "steps")},
                "truncated": float(cut or 0.0),
                "final_loss": own["final_loss"].mean(),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _comparison_rows(study: Study, version: str, comparisons: Sequence[Comparison]) -> pl.DataFrame:
    rows = [
        {
            "study": study.name,
            "version": version,
            "first": c.first,
            "second": c.second,
            "difference": c.difference.mean,
            "error": c.difference.error,
            "p_holm": c.p_holm,
            "p_equivalent": c.p_equivalent,
            "detectable": c.detectable,
            "seeds_needed": c.seeds_needed,
        }
        for c in comparisons
    ]
    return pl.DataFrame(rows, schema=STUDY_COMPARISONS.schema)
