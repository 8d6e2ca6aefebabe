"""The answers to one question, and the students that learned from them."""

from typing import Any

import polars as pl

from openthoughts_dagster.lake import (
    ARM_ANSWERS,
    ARM_SCORES,
    ARM_STUDENTS,
    BENCHMARK_SCORES,
    COMPLETIONS,
    REJECTED_ANSWERS,
    REJECTED_ARM_ANSWERS,
    RELEASE_SCORES,
    RELEASE_STUDENTS,
    STUDENT_CHECKPOINTS,
    TEACHER_ANSWERS,
    TRAINING_SETS,
    Lake,
    Table,
)

Row = dict[str, Any]
_SHOWN = (
    *("completion_id", "model", "asked_as", "engine", "finish_reason", "completion_tokens", "cost", "currency"),
    *("created_at", "reasoning", "answer"),
)
_FACTS = ("path", "fingerprint", "rows", "steps", "final_loss")


def answers_to(lake: Lake, question_id: str) -> list[Row]:
    """Find every answer to a question, of cells and of arms.

    Args:
        lake: The tables.
        question_id: The question.

    Returns:
        Rows with of (SOURCE/TEACHER or STUDY.ARM), sample_index, decision (`kept`, or why it was rejected), evidence,
        and the ledger's completion: model, asked_as, engine, finish_reason, tokens, cost, date, reasoning and answer.
    """
    own = pl.col("question_id") == question_id
    kept = [
        lake.scan(table).filter(own).select(_owner(table), "sample_index", "completion_id", of_model="model")
        for table in (TEACHER_ANSWERS, ARM_ANSWERS)
    ]
    rows = pl.concat(kept).with_columns(decision=pl.lit("kept"), evidence=pl.lit(None, dtype=pl.String)).collect()
    # The ledger is partitioned by model, so the files of other models are not opened.
    models, ids = rows["of_model"].unique().to_list(), rows["completion_id"].unique().to_list()
    texts = lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models), pl.col("completion_id").is_in(ids))
    found = rows.drop("of_model").join(texts.select(_SHOWN).collect(), on="completion_id", how="left")
    rejected = [
        lake.scan(table).filter(own).select(_owner(table), "sample_index", "key", "evidence", decision="reason")
        for table in (REJECTED_ANSWERS, REJECTED_ARM_ANSWERS)
    ]
    dropped = pl.concat(rejected).collect()
    if dropped.height:
        texts = lake.scan(COMPLETIONS).filter(pl.col("key").is_in(dropped["key"].unique().to_list()))
        latest = texts.sort("created_at").select("key", "sample_index", *_SHOWN).collect()
        latest = latest.unique(["key", "sample_index"], keep="last", maintain_order=True)
        dropped = dropped.join(latest, on=["key", "sample_index"], how="left").drop("key")
        found = pl.concat([found, dropped.select(found.columns)])
    return list(found.sort("of", "sample_index", "decision").iter_rows(named=True))


def students_of(lake: Lake, question_id: str) -> list[Row]:
    """Find the students that learned from answers to a question, with their mean score on each benchmark.

    Args:
        lake: The tables.
        question_id: The question.

    Returns:
        Rows with training_set, samples (how many rows of the set are of this question), path, fingerprint, rows, steps,
        final_loss and scores, a mean by benchmark; null where the student is not trained or not scored yet.
    """
    sets = (
        lake.scan(TRAINING_SETS)
        .filter(pl.col("question_id") == question_id)
        .group_by("training_set")
        .agg(samples=pl.len())
        .sort("training_set")
        .collect()
    )
    return [{"training_set": name, "samples": count, **_student(lake, str(name))} for name, count in sets.iter_rows()]


def mean_scores(lake: Lake, scores: Table, partition: dict[str, str]) -> dict[str, float]:
    """Return the mean score on each benchmark of one student or reference; empty where it has no scores."""
    rows = lake.scan(scores, **partition).group_by("benchmark").agg(pl.col("score").mean()).sort("benchmark")
    return {str(name): float(score) for name, score in rows.collect().iter_rows()}


def _student(lake: Lake, training_set: str) -> Row:
    students, scores, partition = _tables_of(training_set)
    trained = lake.scan(students, **partition).select(_FACTS).collect()
    facts = trained.row(0, named=True) if trained.height else dict.fromkeys(_FACTS)
    return facts | {"scores": mean_scores(lake, scores, partition) or None}


def _tables_of(training_set: str) -> tuple[Table, Table, dict[str, str]]:
    """Return the tables of the student that a training set belongs to, and its partition of them."""
    first, _, last = training_set.partition(".")[0], *training_set.rpartition(".")[1:]
    if first == "release" and not last.isdigit():  # release.NAME.TEACHER; an arm's ends with a seed
        return RELEASE_STUDENTS, RELEASE_SCORES, {"teacher": last}
    if "|" in training_set:
        source, _, teacher = training_set.partition("|")
        return STUDENT_CHECKPOINTS, BENCHMARK_SCORES, {"source": source, "teacher": teacher}
    return ARM_STUDENTS, ARM_SCORES, {"arm_student": training_set}


def _owner(table: Table) -> pl.Expr:
    if "arm" in table.columns:
        return pl.col("arm").alias("of")
    return pl.format("{}/{}", "source", "teacher").alias("of")
