"""Rules about models, students, scores and rankings."""

import json
from collections.abc import Sequence
from importlib.util import find_spec

import polars as pl

from openthoughts_dagster.defs.check_rules.partition import Finding, Partition
from openthoughts_dagster.evaluation import OVERALL, benchmark_questions, doubts_about_best
from openthoughts_dagster.lake import (
    ARM_SCORES,
    ARM_STUDENTS,
    BENCHMARK_SCORES,
    REFERENCE_SCORES,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    SOURCE_RANKING,
    STUDENT_CHECKPOINTS,
    TEACHER_RANKING,
    Table,
)
from openthoughts_dagster.storage import Folders, join_address, local_path
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.callbacks import check_finite_weights

_ABLE = 0.5


def tiny_models_are_able(at: Partition) -> Finding:
    """The quickstart's models load as checkpoints, and each solves most of the held-out problems of its own task."""
    folder, files = at.recipe.path(at.recipe.tiny_models or ""), Folders()
    names = ["student", "worked", "direct", "judge"]
    missing = [name for name in names if "training.json" not in files.list_files(join_address(folder, name))]
    if missing:
        return Finding(False, f"{folder} lacks {', '.join(missing)}")
    reports = {name: json.loads(files.read(join_address(folder, name), "training.json")) for name in names}
    accuracy = {name: float(report["accuracy"]) for name, report in reports.items()}
    weak = [name for name in ("worked", "judge") if accuracy[name] < _ABLE]
    says = ", ".join(f"{name}: {share:.0%}" for name, share in accuracy.items())
    return Finding(not weak, f"right on held-out problems: {says}", accuracy)


def _students_of(at: Partition) -> Table:
    """Return the table of students: of arms, of cells, or of the release, which has a teacher only."""
    if "arm_student" in at.labels:
        return ARM_STUDENTS
    return STUDENT_CHECKPOINTS if "source" in at.labels else RELEASE_STUDENTS


def _scores_of(at: Partition) -> Table:
    if "compared_model" in at.labels:
        return REFERENCE_SCORES
    if "arm_student" in at.labels:
        return ARM_SCORES
    return BENCHMARK_SCORES if "source" in at.labels else RELEASE_SCORES


def checkpoint_is_whole(at: Partition) -> Finding:
    """The checkpoint folder has weights, a configuration and a tokenizer, and all weights are finite numbers."""
    rows = at.rows(_students_of(at))
    if rows.height != 1:
        return Finding(False, f"there are {rows.height} students for this partition, expected 1")
    folder = str(rows["path"].item())
    there = Folders().list_files(folder)
    missing = [name for name in ("config.json", "tokenizer.json") if name not in there]
    missing += [] if any(name.endswith(".safetensors") for name in there) else ["*.safetensors"]
    if missing:
        return Finding(False, f"{folder} lacks {', '.join(missing)}")
    if (local := local_path(folder)) is not None and find_spec("torch") is not None:
        try:
            check_finite_weights(local)
        except TrainingError as error:
            return Finding(False, str(error))
    return Finding(True, f"{folder} is whole")


def loss_fell(at: Partition) -> Finding:
    """The training loss is lower at the end than at the start."""
    losses = [loss for _, loss in json.loads(at.rows(_students_of(at))["losses"].item())]
    says = f"training loss went from {losses[0]:.3f} to {losses[-1]:.3f}"
    return Finding(losses[-1] < losses[0], says, {"first_loss": losses[0], "final_loss": losses[-1]})


def every_item_is_scored(at: Partition) -> Finding:
    """Every item of every benchmark has one score from 0 to 1 over all its repeats."""
    rows, problems = at.rows(_scores_of(at)), []
    questions, _ = benchmark_questions(at.recipe.evaluation, at.recipe.path)
    for benchmark in at.recipe.evaluation.benchmarks:
        own = rows.filter(benchmark=benchmark.name)
        known = questions.filter(benchmark=benchmark.name).height
        items = min(known, benchmark.items or known) or own.height
        if own.height == 0 or own["item"].n_unique() != items:
            problems.append(f"{benchmark.name}: {own['item'].n_unique()} of {items} items scored")
        if own.filter(~pl.col("score").is_between(0, 1) | (pl.col("repeats") != benchmark.repeats)).height:
            problems.append(f"{benchmark.name}: scores outside 0 to 1, or other repeats than {benchmark.repeats}")
    lost = {name: int(rows[name].sum()) for name in ("failed", "truncated", "no_answer")}
    samples = int(rows["repeats"].sum())
    says = f"{rows.height:,} items scored; of {samples:,} samples " + ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in lost.items()
    )
    return Finding(not problems, "; ".join(problems) or says, {"items": rows.height, **lost})


def beats_untrained(at: Partition) -> Finding:
    """Training on this cell made the student better at the benchmarks.

    A warning is no fault of the run: it says that the answers taught nothing that these benchmarks measure. This is
    expected of a source on another subject than the benchmarks. The rankings use the same scores.
    """
    rows = at.rows(BENCHMARK_SCORES)
    held_out = [entry.name for entry in at.recipe.evaluation.benchmarks if entry.role == "held_out"]
    deciding = rows.filter(~pl.col("benchmark").is_in(held_out))
    rows = rows if deciding.is_empty() else deciding
    score, before = (float(rows[column].to_numpy().mean()) for column in ("score", "untrained_score"))
    says = f"{score:.1%} after training, {before:.1%} before"
    if score <= before:
        benchmarks = ", ".join(sorted(set(rows["benchmark"])))
        says += (
            f": the answers of {at.teacher} to {at.source} taught the student nothing that {benchmarks} measures. That "
            "is expected of a source on another subject than the benchmarks, and is no fault of the run"
        )
    return Finding(score > before, says, {"gain": round(score - before, 4)})


def sources_all_ranked(at: Partition) -> Finding:
    """Every source of the recipe was scored with every teacher."""
    return _all_ranked(at, SOURCE_RANKING, "source", [source.name for source in at.recipe.sources])


def best_sources_are_told_apart(at: Partition) -> Finding:
    """Where the recipe takes the best sources, in its release or an arm, the ranking tells them apart from the next."""
    return _told_apart(doubts_about_best(at.lake, at.recipe))


def release_sources_are_told_apart(at: Partition) -> Finding:
    """Where the release takes the best sources, the ranking tells them apart from the next, over several seeds."""
    return _told_apart(doubts_about_best(at.lake, at.recipe, studies=()))


def _told_apart(doubts: Sequence[str]) -> Finding:
    says = "; ".join(doubts) or "no choice of the best sources rests on chance or on one training seed"
    return Finding(not doubts, says, {"choices_in_doubt": len(doubts)})


def teachers_all_ranked(at: Partition) -> Finding:
    """Every teacher of the recipe was scored on every source."""
    return _all_ranked(at, TEACHER_RANKING, "teacher", [teacher.name for teacher in at.recipe.teachers])


def _all_ranked(at: Partition, table: Table, by: str, names: list[str]) -> Finding:
    rows = at.scan(table).filter(domain=OVERALL).collect()
    missing = sorted(set(names) - set(rows[by]))
    incomplete = sorted(rows.filter(~pl.col("complete"))[by])
    says = f"missing: {', '.join(missing) or 'none'}; with cells missing: {', '.join(incomplete) or 'none'}"
    return Finding(not missing and not incomplete, says, {"ranked": rows.height})
