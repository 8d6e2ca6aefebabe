"""The result of a study: arms with their errors, comparisons of pairs, and the decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from openthoughts_dagster.evaluation.statistics.crossed import Scores
from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    ARM_QUESTIONS,
    ARM_SCORES,
    ARM_STUDENTS,
    COMPLETIONS,
    STUDY_COMPARISONS,
    STUDY_RESULTS,
    Lake,
)
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies.arms import StudyError
from openthoughts_dagster.studies.chances import chance_among_best
from openthoughts_dagster.studies.comparison import (
    Comparison,
    Estimated,
    compare_arms,
    estimate_mean,
    z_scores,
)
from openthoughts_dagster.studies.contamination import ArmLeaks
from openthoughts_dagster.studies.decision import ALPHA, decide, undecided_arms
from openthoughts_dagster.studies.versions import current_version


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

    def with_leaks(self, leaks: ArmLeaks) -> "StudyResult":
        """Return the result with the number of leaked training questions of each arm; null where it is unknown."""
        counts = leaks.counts if leaks.benchmarks else {}
        column = pl.col("arm_name").replace_strict(counts, default=None, return_dtype=pl.Int64)
        return replace(self, arms=self.arms.with_columns(leaked_questions=column))


def decision_of(lake: Lake, recipe: Recipe, study: Study) -> str:
    """The decision of a study as it is asked now; empty where there is none, whatever older versions decided."""
    own = lake.scan(STUDY_RESULTS, study=study.name).filter(version=current_version(lake, recipe, study))
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
    version = version or current_version(lake, recipe, study)
    scores = _read_scores(lake, study, version)
    matrices, missing, left_out = _read_matrices(scores, recipe, study)
    metric, sizes = _metric(matrices, study)
    comparisons = compare_arms(metric, study.margin, ALPHA, sizes)
    estimates = {arm: estimate_mean(own, sizes) for arm, own in metric.items()}
    chances = chance_among_best(metric, min(study.best, len(metric)), sizes=sizes)
    arms = _arm_rows(lake, study, version, estimates, chances)
    decision, winner = decide(study, estimates, comparisons)
    decision += left_out
    unknown = pl.lit(None, dtype=pl.Int64)
    arms = arms.with_columns(decision=pl.lit(decision), leaked_questions=unknown).select(list(STUDY_RESULTS.columns))
    best = max(estimates, key=lambda arm: estimates[arm].mean)
    # An arm that is taken for its simplicity is shown to be as good; the best one may only seem to be the best.
    unclear = undecided_arms(estimates, comparisons) if winner in (None, best) else []
    return StudyResult(arms, _comparison_rows(study, version, comparisons), decision, winner, unclear, missing)


def _read_scores(lake: Lake, study: Study, version: str) -> pl.DataFrame:
    """Read the scores of a version's students, without those of students that were trained anew since."""
    scores = lake.scan(ARM_SCORES).filter(study=study.name, version=version)
    students = lake.scan(ARM_STUDENTS).filter(study=study.name).select("arm_student", present="fingerprint")
    stale = pl.col("fingerprint").ne(pl.col("present")).fill_null(False)  # older rows do not name their student
    return scores.join(students, on="arm_student", how="left").filter(~stale).drop("present").collect()


def _read_matrices(
    scores: pl.DataFrame, recipe: Recipe, study: Study
) -> tuple[dict[str, dict[str, Scores]], list[str], str]:
    """Return each arm's scores on each benchmark, seeds x items, for the items that every student answered.

    Held-out benchmarks are left out, so that they decide nothing. The students without scores come second, and third a
    sentence about items that only some of the students answered; it is empty if there are none.
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
            f"two: materialize arm_student and arm_scores of {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''} (the job study_students), where equal students are not trained again"
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
    _require_equal_references(rows, recipe, study)
    matrices: dict[str, dict[str, Scores]] = {arm: {} for arm in scored}
    for benchmark in common["benchmark"].unique().sort():
        items = common.filter(benchmark=benchmark)["item"].sort()
        asked = rows.filter(pl.col("benchmark") == benchmark, pl.col("item").is_in(items.implode()))
        wide = asked.pivot("arm_student", index="item", values="score", aggregate_function="mean").sort("item")
        for arm, keys in keys_of.items():
            matrices[arm][benchmark] = wide.select(keys).to_numpy().T.astype(np.float64)
    return matrices, missing, _describe_left_out(rows, common)


def _describe_left_out(rows: pl.DataFrame, common: pl.DataFrame) -> str:
    """Say how many items are not compared because a student has no score on them, and which benchmarks that takes."""
    every = rows.select("benchmark", "item").unique()
    if every.height == common.height:
        return ""
    gone = sorted(set(every["benchmark"]) - set(common["benchmark"]))
    whole = f", among them all of {', '.join(gone)}" if gone else ""
    return (
        f" {every.height - common.height:,} of {every.height:,} items are not compared, because some students have no "
        f"score on them{whole}: materialize arm_scores again."
    )


def _require_equal_references(rows: pl.DataFrame, recipe: Recipe, study: Study) -> None:
    """Check that no file of a benchmark has got other answers since some of the students were scored."""
    files = [benchmark.name for benchmark in recipe.evaluation.benchmarks if benchmark.kind == "file"]
    known = rows.filter(pl.col("benchmark").is_in(files)).group_by("benchmark", "item")
    changed = known.agg(pl.col("reference").drop_nulls().n_unique()).filter(pl.col("reference") > 1)
    if changed.height:
        raise StudyError(
            f"study {study.name}: {changed.height:,} items of {changed['benchmark'][0]} have another reference "
            "answer for some of its students, because the file was changed in between: materialize arm_scores of all "
            "of them again; what they answered is there already"
        )


def _metric(matrices: dict[str, dict[str, Scores]], study: Study) -> tuple[dict[str, Scores], list[int]]:
    """Return the scores that decide as one matrix for each arm, seeds x items, and the items of each benchmark."""
    benchmarks = sorted(next(iter(matrices.values())))
    if study.metric not in ("mean", "z_mean"):
        if study.metric not in benchmarks:
            raise StudyError(
                f"study {study.name}: its metric is {study.metric!r}, and the students share items of "
                f"{', '.join(benchmarks)}: score them on it first"
            )
        benchmarks = [study.metric]
    sizes = [next(iter(matrices.values()))[name].shape[1] for name in benchmarks]
    if min(sizes) < 2:
        one = benchmarks[sizes.index(min(sizes))]
        raise StudyError(f"study {study.name}: its students share one item of {one}: score them on more of its items")
    metric = {arm: np.concatenate([own[name] for name in benchmarks], axis=1) for arm, own in matrices.items()}
    return z_scores(metric, sizes) if study.metric == "z_mean" else metric, sizes


def _arm_rows(
    lake: Lake, study: Study, version: str, estimates: Mapping[str, Estimated], chances: Mapping[str, float]
) -> pl.DataFrame:
    students = lake.scan(ARM_STUDENTS).filter(study=study.name, version=version).collect()
    rows = []
    for arm, estimate in sorted(estimates.items(), key=lambda entry: -entry[1].mean):
        own, key = students.filter(arm_name=arm), f"{study.name}.{arm}"
        answers = lake.scan(ARM_ANSWERS, arm=key).collect()
        made = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(answers["model"].unique().implode()))
        outcomes = made.join(answers.lazy().select("completion_id"), on="completion_id", how="semi")
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
            "items_needed": c.items_needed,
        }
        for c in comparisons
    ]
    return pl.DataFrame(rows, schema=STUDY_COMPARISONS.schema)
