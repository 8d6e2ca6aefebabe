"""Looks for questions of the deciding benchmarks among what the students of a study learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from openthoughts_dagster.evaluation import BenchmarkError, benchmark_questions
from openthoughts_dagster.lake import SCORED_QUESTIONS, TRAINING_SETS, Lake
from openthoughts_dagster.questions import Texts, find_leaks, source_sample, with_splits
from openthoughts_dagster.recipe import Decontamination, Recipe
from openthoughts_dagster.recipe.studies import Study

_NAMES = ["source", "question_id"]
_SHOWN = 80  # characters of a question


@dataclass(frozen=True)
class ArmLeaks:
    """The training questions of each arm that leak from the benchmarks that decide its study.

    Attributes:
        counts: The number of such questions by arm, of those that any of its students learns from.
        questions: The number of training questions by arm.
        benchmarks: The benchmarks that the questions were compared with.
        unchecked: Benchmarks whose questions are not known, each with the reason.
        rule: What counts as a leak, in words.
        example: A leaked question, with the benchmark; empty if there is none.
    """

    counts: Mapping[str, int]
    questions: Mapping[str, int]
    benchmarks: Sequence[str]
    unchecked: Sequence[str]
    rule: str
    example: str

    @property
    def total(self) -> int | None:
        """The leaks of all arms together; None if no benchmark could be compared."""
        return sum(self.counts.values()) if self.benchmarks else None

    def says(self) -> str:
        """Return the finding as a sentence."""
        unknown = f" Not compared with {'; '.join(self.unchecked)}." if self.unchecked else ""
        if not self.benchmarks:
            return f"It is unknown whether training questions leak.{unknown}"
        where = f"from {', '.join(self.benchmarks)} ({self.rule})"
        found = [f"{self.counts[arm]:,} of {self.questions[arm]:,} in {arm}" for arm in self.counts if self.counts[arm]]
        if not found:
            return f"No training question leaks {where}.{unknown}"
        return f"Training questions that leak {where}: {', '.join(found)}; such as {self.example}.{unknown}"


def find_arm_leaks(lake: Lake, recipe: Recipe, study: Study) -> ArmLeaks:
    """Search the training questions of a study's arms for questions of the benchmarks that decide it.

    What is a leak is the recipe's `decontamination`. A recipe that looks for none is measured by the paper's rule,
    because its arms were never decontaminated.

    Args:
        lake: The tables, with the students' training sets.
        recipe: The recipe with the study.
        study: The study.

    Returns:
        The leaked questions of each arm, with an example. Benchmarks whose questions are not known are in `unchecked`.
    """
    settings, rule = recipe.decontamination, "the recipe's decontamination"
    if settings.ngram is None and settings.similarity is None:
        settings, rule = Decontamination(), "the paper's rule, because the recipe looks for no leaks"
    benchmarks, unchecked = _deciding_questions(recipe, study)
    rows = _training_questions(lake, recipe, study)
    leaked = pl.DataFrame(schema={"source": pl.String, "question_id": pl.String, "example": pl.String})
    if benchmarks.height:
        known = with_splits(benchmarks, recipe.evaluation)
        sources = rows["source"].unique().sort()
        leaked = pl.concat([leaked, *(_leaks_of_source(lake, rows, source, settings, known) for source in sources)])
    found = rows.join(leaked, on=_NAMES)
    counts, questions = (dict(part.group_by("arm").len().iter_rows()) for part in (found, rows))
    return ArmLeaks(
        counts={arm: counts.get(arm, 0) for arm in study.variants()},
        questions={arm: questions.get(arm, 0) for arm in study.variants()},
        benchmarks=benchmarks["benchmark"].unique().sort().to_list(),
        unchecked=unchecked,
        rule=rule,
        example=found.sort(_NAMES)["example"].item(0) if found.height else "",
    )


def _deciding_questions(recipe: Recipe, study: Study) -> tuple[pl.DataFrame, list[str]]:
    """Read the questions of the benchmarks that decide a study, each apart, so that one that fails hides no other."""
    frames, unchecked = [], []
    for benchmark in recipe.evaluation.benchmarks:
        if benchmark.role == "held_out" or study.metric not in ("mean", "z_mean", benchmark.name):
            continue
        only = recipe.evaluation.model_copy(update={"benchmarks": [benchmark]})
        try:
            questions, unknown = benchmark_questions(only, recipe.path)
        except BenchmarkError as error:
            unchecked.append(f"{benchmark.name}, whose questions cannot be read: {error}")
            continue
        frames.append(questions)
        unchecked += [f"{name}, which does not say where its questions are" for name in unknown]
    empty = pl.DataFrame(schema={"benchmark": pl.String, "question": pl.String})
    return pl.concat([empty, *frames]), unchecked


def _training_questions(lake: Lake, recipe: Recipe, study: Study) -> pl.DataFrame:
    """Return arm, source and question_id of every question that a student of the study learns from."""
    seeds = [recipe.student.seed + number for number in range(study.seeds)]
    names = {f"{study.name}.{arm}.{seed}": arm for arm in study.variants() for seed in seeds}
    sets = lake.scan(TRAINING_SETS).filter(pl.col("training_set").is_in(list(names)))
    arm = pl.col("training_set").replace_strict(names, return_dtype=pl.String).alias("arm")
    return sets.select(arm, *_NAMES).unique().collect()


def _leaks_of_source(
    lake: Lake, rows: pl.DataFrame, source: str, settings: Decontamination, benchmarks: pl.DataFrame
) -> pl.DataFrame:
    whole = lake.scan(SCORED_QUESTIONS, source=source)
    own = rows.filter(source=source).select("question_id").unique()
    asked = whole.select("question_id", "question").unique("question_id").join(own.lazy(), on="question_id", how="semi")
    texts = asked.sort("question_id").collect()
    sample = source_sample(whole, whole.select("question_id").collect()["question_id"])
    leaks = find_leaks(Texts.of(texts["question"]), settings, benchmarks, sample).decisions
    found = [
        {
            "source": source,
            "question_id": texts["question_id"][at],
            "example": f"{texts['question'][at][:_SHOWN]!r} ({decision.evidence.get('benchmark', '')})",
        }
        for at, decision in sorted(leaks.items())
    ]
    return pl.DataFrame(found, schema=dict.fromkeys(("source", "question_id", "example"), pl.String))
