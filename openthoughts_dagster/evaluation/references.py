"""What students are compared with: models that were not trained here, their teachers, and what a paper reports."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation.reading import MATH_WORKERS
from openthoughts_dagster.evaluation.run import evaluate
from openthoughts_dagster.evaluation.statistics import RankingScope, clustered_mean, mean_over_benchmarks
from openthoughts_dagster.evaluation.students import StudentScores
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import COMPLETIONS, REFERENCE_SCORES, STUDENT_CHECKPOINTS, TEACHER_ANSWERS, Lake
from openthoughts_dagster.recipe import Evaluation, Recipe
from openthoughts_dagster.recipe.reported_scores import REPORTED


def score_reference(
    evaluation: Evaluation, resolve: Callable[[str], str], ask: AskModel, output: Path
) -> StudentScores:
    """Score a model on every benchmark of a recipe, as students are.

    Args:
        evaluation: The recipe's benchmarks, and how they are answered.
        resolve: Makes a relative path of the recipe absolute.
        ask: Asks the model.
        output: Folder for lighteval's files.

    Returns:
        Scores by item, without those of an untrained model, and the files.

    Raises:
        BenchmarkError: A benchmark cannot be run; nothing was asked.
        BenchmarkAnswersMissing: Too many answers are missing because their requests failed.
    """
    with MATH_WORKERS:
        result = evaluate(evaluation, resolve, ask, output, "reference")
    held_out = frozenset(each.name for each in evaluation.benchmarks if each.role == "held_out")
    files = [*result.results_files, *result.details_files]
    return StudentScores(result.items, files, result.confinement, held_out)


def reference_means(lake: Lake, recipe: Recipe) -> pl.DataFrame:
    """Average the scores of references over the recipe's benchmarks of role dev, as rankings average students.

    Args:
        lake: The tables.
        recipe: The recipe, with its references and benchmarks.

    Returns:
        A row for each reference that is scored: reference, benchmark (`all` for the mean over benchmarks), score,
        standard_error (over items) and items.
    """
    scope = RankingScope.of_recipe(recipe, [])
    names = list(recipe.references())
    scores = lake.scan(REFERENCE_SCORES).filter(pl.col("compared_model").is_in(names)).collect()
    rows: list[dict[str, Any]] = []
    for name in names:
        parts = []
        for benchmark, items in scope.benchmarks.items():
            own = scores.filter(compared_model=name, benchmark=benchmark)
            own = own if items is None else own.filter(pl.col("position") < items)
            if len(own):
                parts.append(clustered_mean(own))
                rows.append({"reference": name, "benchmark": benchmark, **_estimate(parts[-1])})
        if parts:
            rows.append({"reference": name, "benchmark": "all", **_estimate(mean_over_benchmarks(parts))})
    schema = {"reference": pl.String, "benchmark": pl.String, "score": pl.Float64, "standard_error": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"items": pl.Int64})


def teacher_facts(lake: Lake, recipe: Recipe) -> pl.DataFrame:
    """Put beside each teacher what else is known of it: the better model is not always the better teacher.

    Args:
        lake: The tables.
        recipe: The recipe, with its teachers.

    Returns:
        A row for each teacher: teacher, own_score and own_standard_error (on the benchmarks, null before
        reference_scores of it), answers, answer_tokens (mean length), truncated (share that was cut off) and
        final_loss (mean over its students).
    """
    own = reference_means(lake, recipe).filter(benchmark="all")
    scores = {row["reference"]: row for row in own.iter_rows(named=True)}
    sources = [source.name for source in recipe.sources]
    rows = []
    for teacher in recipe.teachers:
        answers = lake.scan(TEACHER_ANSWERS, teacher=teacher.name).filter(pl.col("source").is_in(sources))
        models = answers.select(pl.col("model").unique()).collect()["model"].implode()
        ledger = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models))
        lengths = (
            ledger.join(answers.select("completion_id"), on="completion_id", how="semi")
            .select(
                answers=pl.len().cast(pl.Int64),
                answer_tokens=pl.col("completion_tokens").mean(),
                truncated=(pl.col("outcome") == "unfinished").mean(),
            )
            .collect(engine="streaming")
        )
        students = lake.scan(STUDENT_CHECKPOINTS, teacher=teacher.name).filter(pl.col("source").is_in(sources))
        mine: Mapping[str, Any] = scores.get(teacher.name, {})
        rows.append(
            {
                "teacher": teacher.name,
                "own_score": mine.get("score"),
                "own_standard_error": mine.get("standard_error"),
                **lengths.row(0, named=True),
                "final_loss": students.select(pl.col("final_loss").mean()).collect().item(),
            }
        )
    numbers = ("own_score", "own_standard_error", "answer_tokens", "truncated", "final_loss")
    order = ["teacher", "own_score", "own_standard_error", "answers", "answer_tokens", "truncated", "final_loss"]
    schema: dict[str, Any] = {"teacher": pl.String, "answers": pl.Int64} | dict.fromkeys(numbers, pl.Float64)
    return pl.DataFrame(rows, schema=schema).select(order)


def reported_scores(recipe: Recipe) -> pl.DataFrame:
    """Return what the paper reports of models on the recipe's benchmarks; they were not measured here.

    Returns:
        A row for each model: `reported` (its name) and a column for each benchmark of the recipe that is asked and
        scored as in the paper, from 0 to 1 and null where nothing is reported. Empty if the recipe has none.
    """
    tasks = {
        benchmark.name: benchmark.task
        for benchmark in recipe.evaluation.benchmarks
        if benchmark.kind == "paper" and benchmark.prompt == "paper"
    }
    rows = [
        {"reported": model, **{name: scores.get(task) for name, task in tasks.items()}}
        for model, scores in REPORTED.items()
        if any(task in scores for task in tasks.values())
    ]
    return pl.DataFrame(rows, schema={"reported": pl.String} | dict.fromkeys(tasks, pl.Float64))


def _estimate(found: Any) -> dict[str, Any]:
    return {"score": found.mean, "standard_error": found.standard_error, "items": found.items}
