"""Prices of students, their evaluation, references, studies and the release, from what earlier ones took."""

from collections.abc import Iterator

import polars as pl

from openthoughts_dagster.answers import plan_answers
from openthoughts_dagster.evaluation import BenchmarkError, benchmark_questions
from openthoughts_dagster.generation.estimate import Rates, expected_rates
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import ModelIdentity
from openthoughts_dagster.inspection.prices import PriceRow, Prices, generation_row, row_of
from openthoughts_dagster.inspection.question_prices import filter_price
from openthoughts_dagster.lake import (
    ARM_QUESTIONS,
    ARM_SCORES,
    ARM_STUDENTS,
    BENCHMARK_SCORES,
    COMPLETIONS,
    REASONING_DATASET,
    REFERENCE_SCORES,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    SEED_SCORES,
    SEED_STUDENTS,
    STUDENT_CHECKPOINTS,
    Table,
)
from openthoughts_dagster.recipe import Benchmark, ModelReference, Release, Student
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.release.make import latest_version
from openthoughts_dagster.release.student import student_of_release
from openthoughts_dagster.studies import Arm, StudyError, arm_answer_set, arms_of

_SCORES = (BENCHMARK_SCORES, ARM_SCORES, RELEASE_SCORES, REFERENCE_SCORES)
_STUDENTS = (STUDENT_CHECKPOINTS, ARM_STUDENTS, RELEASE_STUDENTS)
_ENOUGH = 20  # the fewest completions from which a mean is taken


def student_prices(prices: Prices, sources: list[str], teachers: list[str]) -> Iterator[PriceRow]:
    """Price the trainings of cells that have no student yet."""
    cells = [(source, teacher) for source in sources for teacher in teachers]
    trained = _partitions(prices, STUDENT_CHECKPOINTS)
    student = prices.recipe.student
    for source, teacher in cells:
        missing = _missing_seeds(prices, SEED_STUDENTS, source, teacher) + ((source, teacher) not in trained)
        if missing:
            yield training_price(prices, "students", f"{source}/{teacher}", student, student.rows, missing)


def evaluation_prices(prices: Prices, sources: list[str], teachers: list[str]) -> Iterator[PriceRow]:
    """Price the benchmarks of cells that have no scores yet, and once those of the untrained student."""
    scored, student = _partitions(prices, BENCHMARK_SCORES), prices.recipe.student
    for source in sources:
        for teacher in teachers:
            missing = _missing_seeds(prices, SEED_SCORES, source, teacher) + ((source, teacher) not in scored)
            if missing:
                yield evaluation_price(prices, "evaluation", f"{source}/{teacher}", student.for_scoring(), missing)
    if not scored:
        yield evaluation_price(prices, "evaluation", "untrained student, once", student.for_scoring())


def _missing_seeds(prices: Prices, table: Table, source: str, teacher: str) -> int:
    """Count the further students of a cell, `student.seeds`, that are not in a table."""
    wanted = prices.recipe.student.other_seeds
    there = prices.lake.scan(table, source=source, teacher=teacher).filter(pl.col("seed").is_in(wanted))
    return len(wanted) - int(there.select(pl.col("seed").n_unique()).collect().item()) if wanted else 0


def study_prices(prices: Prices, study: Study) -> Iterator[PriceRow]:
    """Price the arms of a study: answers, trainings and evaluations that are missing.

    Arms share the answers to questions that they have in common, so the sum over arms is an upper bound.
    """
    try:
        arms = list(arms_of(prices.recipe, prices.lake, study))
    except StudyError as error:
        yield PriceRow("studies", study.name, "", str(error))
        return
    for arm in arms:
        yield _arm_answers(prices, arm)
        own = pl.col("arm_student").str.starts_with(f"{arm.key}.")
        trained, scored = (
            prices.lake.scan(table).filter(own).select(pl.col("arm_student").n_unique()).collect().item()
            for table in (ARM_STUDENTS, ARM_SCORES)
        )
        rows = arm.rows or (arm.questions or 0) * arm.samples or arm.student.rows
        if trained < len(arm.seeds):
            yield training_price(prices, "studies", arm.key, arm.student, rows, len(arm.seeds) - trained)
        if scored < len(arm.seeds):
            yield evaluation_price(prices, "studies", arm.key, arm.student.for_scoring(), len(arm.seeds) - scored)


def release_prices(prices: Prices, teachers: list[str]) -> Iterator[PriceRow]:
    """Price the release: its rows are answers that are there, so it costs a training and an evaluation by teacher.

    An answer filter of its own may ask a judge, too.
    """
    release = prices.recipe.release
    if release is None:
        return
    student = student_of_release(prices.recipe)
    for teacher in teachers:
        of = f"{release.name}/{teacher}"
        made = latest_version(prices.lake, teacher)
        own = pl.lit(True) if made is None else pl.col("version") == made[0]  # a student of an older version is another
        trained, scored = (
            prices.lake.scan(table, teacher=teacher).filter(own).head(1).collect().height
            for table in (RELEASE_STUDENTS, RELEASE_SCORES)
        )
        if made is None:
            yield from filter_price("release", of, release.answer_filter)
        if not trained:
            yield training_price(prices, "release", of, student, _release_rows(prices, release, teacher))
        if not (trained and scored):
            yield evaluation_price(prices, "release", of, student.for_scoring())


def _release_rows(prices: Prices, release: Release, teacher: str) -> int | None:
    """Return how many rows the student of the release learns from, or will at most; None where it is not known."""
    there = prices.lake.scan(REASONING_DATASET, teacher=teacher).select(pl.len()).collect().item()
    planned = sum(release.sizes.values()) * (release.answers_per_question or prices.recipe.answers_per_question)
    known = [count for count in (there or planned, release.student.get("rows")) if count]
    return min(known, default=None)


def reference_prices(prices: Prices, references: dict[str, ModelReference]) -> Iterator[PriceRow]:
    """Price the benchmarks of models that students are compared with, as far as they have no scores yet."""
    scored = {name for (name,) in _partitions(prices, REFERENCE_SCORES)}
    for name, reference in references.items():
        if name not in scored:
            yield evaluation_price(prices, "references", name, reference)


def training_price(prices: Prices, stage: str, of: str, student: Student, rows: int | None, count: int = 1) -> PriceRow:
    """Price trainings by the seconds a row that earlier ones took.

    Args:
        prices: The recipe and the tables.
        stage: The stage of the row.
        of: Whose students are trained.
        student: The settings, with hardware and price.
        rows: Rows of the training set; None where they are not known.
        count: How many students are trained.
    """
    price, hardware = student.price, student.hardware
    each, says = _seconds_per_row(prices)
    row = PriceRow(stage, of, student.name, says, trainings=count, currency=price.currency)
    if each is None or rows is None:
        return PriceRow(**vars(row) | {"basis": says if each is None else "its rows are not chosen yet"})
    accelerators = hardware.count * hardware.nodes
    hours = count * rows * each / 3600 * (accelerators or 1)
    priced = "accelerator_hour" in price.model_fields_set and accelerators
    basis = f"{rows:,} rows; {says}" + ("" if priced else f"; no price an hour for {student.name}")
    cost = hours * price.accelerator_hour if priced else None
    return PriceRow(**vars(row) | {"basis": basis, "hours": hours, "cost": cost})


def evaluation_price(prices: Prices, stage: str, of: str, reference: ModelReference, count: int = 1) -> PriceRow:
    """Price the benchmarks of `count` models by the length of earlier answers to them."""
    asked, unknown = 0, []
    for benchmark in prices.recipe.evaluation.benchmarks:
        items = _items_of(prices, benchmark)
        if items is None:
            unknown.append(benchmark.name)
        else:
            asked += items * benchmark.repeats * count
    model = Model(reference, "", ModelIdentity("", ""))
    says = "items of the benchmarks"
    if unknown:
        says += f", without {', '.join(unknown)}: how many items they have is known once they are read"
        return PriceRow(stage, of, reference.name, says, completions=asked, currency=reference.price.currency)
    return generation_row(stage, of, model, _evaluation_rates(prices, reference), asked, 0, None, says)


def _arm_answers(prices: Prices, arm: Arm) -> PriceRow:
    model, problem = prices.located(arm.teacher)
    chosen = prices.lake.scan(ARM_QUESTIONS, arm=arm.key).select(pl.len()).collect().item()
    if chosen and not problem:
        made = plan_answers(prices.lake, model, arm_answer_set(prices.lake, arm)).estimate
        return row_of("studies", arm.key, arm.teacher, made, made.basis)
    wanted = arm.questions if arm.questions is not None else _all_questions(prices, arm)
    if wanted is None:
        says = "its questions are not chosen yet, and a source was not read yet"
        return PriceRow("studies", arm.key, arm.teacher.name, says, currency=arm.teacher.price.currency)
    says = "at most: its questions are not chosen yet, and what it shares is not counted"
    known = prices.measured(model, problem, arm.teacher.sampling, arm.key)
    lengths = [length for source in arm.sources if (length := prices.characters_of(source)) is not None]
    characters = sum(lengths) / len(lengths) if lengths else None
    return generation_row("studies", arm.key, model, known, wanted * arm.samples, 0, characters, says)


def _all_questions(prices: Prices, arm: Arm) -> int | None:
    counts = [prices.questions_of(source)[0] for source in arm.sources]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _partitions(prices: Prices, table: Table) -> set[tuple[str, ...]]:
    rows = prices.lake.scan(table).select(table.partition_by).unique().collect()
    return {tuple(map(str, row)) for row in rows.iter_rows()}


def _seconds_per_row(prices: Prices) -> tuple[float | None, str]:
    """Return the seconds that a row of a training set takes, over all its epochs."""
    for table in _STUDENTS:
        rows = prices.lake.scan(table).select(pl.len().alias("count"), pl.col("seconds").sum(), pl.col("rows").sum())
        count, seconds, learned = rows.collect().row(0)
        if learned and seconds:
            return seconds / learned, f"by {count:,} trainings in {table.name}: {seconds / learned:.3g} s a row"
    return None, "no student was trained yet, so its time is unknown"


def _evaluation_rates(prices: Prices, reference: ModelReference) -> Rates:
    """Measure answers to benchmarks: of this model under its name, or else what the recipe expects."""
    sampling = prices.recipe.evaluation.sampling
    measured = (
        prices.lake.scan(COMPLETIONS)
        .filter(pl.col("asset").is_in([table.name for table in _SCORES]), pl.col("asked_as") == reference.name)
        .filter(pl.col("error").is_null(), pl.col("sampling") == sampling.model_dump_json(exclude_none=True))
        .select(
            pl.len().alias("count"),
            *(pl.col(name).cast(pl.Float64).sum() for name in ("prompt_tokens", "completion_tokens", "engine_seconds")),
        )
        .collect()
    )
    count, prompts, tokens, seconds = measured.row(0)
    if count < _ENOUGH:
        return expected_rates(reference, sampling)
    speed = tokens / seconds if tokens and seconds else None
    return Rates(tokens / count, prompts / count, speed, f"by {count:,} answers to benchmarks")


def _items_of(prices: Prices, benchmark: Benchmark) -> int | None:
    """Return how many items of a benchmark are asked; None where only its data set knows."""
    if benchmark.kind == "paper":
        known: int | None = benchmark.size or benchmark.data.items
    elif benchmark.kind == "lighteval":
        known = _items_scored(prices, benchmark.name)
    else:
        known = _items_read(prices, benchmark)
    if known is None:
        return benchmark.items
    return min(known, benchmark.items or known)


def _items_scored(prices: Prices, benchmark: str) -> int | None:
    rows = prices.lake.scan(BENCHMARK_SCORES).filter(pl.col("benchmark") == benchmark)
    return rows.select(pl.col("item").n_unique()).collect().item() or None


def _items_read(prices: Prices, benchmark: Benchmark) -> int | None:
    only = prices.recipe.evaluation.model_copy(update={"benchmarks": [benchmark]})
    try:
        return benchmark_questions(only, prices.recipe.path)[0].height or None
    except BenchmarkError:
        return None
