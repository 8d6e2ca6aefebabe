"""The questions and answers from which a release is chosen, and a record of every step that takes some away."""

import json
from collections.abc import Mapping

import polars as pl

from openthoughts_dagster.lake import (
    COMPLETIONS,
    DEDUPED_QUESTIONS,
    REJECTED_ANSWERS,
    REJECTED_RELEASE,
    RELEASE_FUNNEL,
    TEACHER_ANSWERS,
)
from openthoughts_dagster.lake.reading import LakeReader
from openthoughts_dagster.release.errors import ReleaseError

QUESTION = ["source", "question_id"]
ROW = [*QUESTION, "sample_index"]
_LEDGER = ["completion_id", "outcome", "finish_reason", "completion_tokens"]
_REJECTED = [name for name in REJECTED_RELEASE.columns if name != "teacher"]


class Pool:
    """What is left of the questions and answers of a teacher, after each step of a release.

    Args:
        teacher: Name of the teacher.
        questions: Columns source, question_id, domain, licence, scores and question.
        answers: Columns source, question_id, sample_index, model, completion_id, content, outcome, finish_reason and
            completion_tokens.
        domains: The domain of each source, in the order of the release.
    """

    def __init__(
        self, teacher: str, questions: pl.DataFrame, answers: pl.DataFrame, domains: Mapping[str, str]
    ) -> None:
        self.teacher, self.questions, self.answers, self.domains = teacher, questions, answers, domains
        self._rejected: list[pl.DataFrame] = []
        self._funnel: list[dict[str, object]] = []
        self._step("asked", {})

    def drop_questions(self, step: str, dropped: pl.DataFrame, notes: Mapping[str, str] | None = None) -> None:
        """Take questions away, with all of their answers.

        Args:
            step: Name of the step.
            dropped: Columns source, question_id, reason and evidence; a row for each question.
            notes: What the step did, by source.
        """
        self.questions = self.questions.join(dropped, on=QUESTION, how="anti", maintain_order="left")
        self.answers = self.answers.join(dropped, on=QUESTION, how="anti", maintain_order="left")
        self._reject(step, dropped.with_columns(sample_index=pl.lit(None, dtype=pl.Int32)))
        self._step(step, notes or {})

    def drop_answers(self, step: str, dropped: pl.DataFrame, notes: Mapping[str, str] | None = None) -> None:
        """Take single answers away, and then the questions that have none left.

        Args:
            step: Name of the step.
            dropped: Columns source, question_id, sample_index, reason and evidence; a row for each answer.
            notes: What the step did, by source.
        """
        self.answers = self.answers.join(dropped, on=ROW, how="anti", maintain_order="left")
        self._reject(step, dropped)
        bare = self.questions.join(self.answers, on=QUESTION, how="anti").select(
            *QUESTION, reason=pl.lit("no_answer_left"), evidence=pl.lit(f"{step} dropped all of its answers")
        )
        self.drop_questions(step, bare, notes)

    @property
    def rejected(self) -> pl.DataFrame:
        """Rows of rejected_release."""
        every = pl.concat(self._rejected) if self._rejected else REJECTED_RELEASE.schema.to_frame().select(_REJECTED)
        return every.select(pl.lit(self.teacher).alias("teacher"), *_REJECTED)

    @property
    def funnel(self) -> pl.DataFrame:
        """Rows of release_funnel."""
        return pl.DataFrame(self._funnel, schema=RELEASE_FUNNEL.schema)

    def _reject(self, step: str, dropped: pl.DataFrame) -> None:
        rows = dropped.with_columns(step=pl.lit(step), sample_index=pl.col("sample_index").cast(pl.Int32))
        self._rejected.append(rows.select(_REJECTED))

    def _step(self, step: str, notes: Mapping[str, str]) -> None:
        order = 1 + max((int(str(row["order"])) for row in self._funnel), default=-1)
        left = (self.questions, self.answers)
        questions, answers = (dict(rows["source"].value_counts().iter_rows()) for rows in left)
        for source, domain in self.domains.items():
            self._funnel.append(
                {
                    "teacher": self.teacher,
                    "order": order,
                    "step": step,
                    "source": source,
                    "domain": domain,
                    "questions": questions.get(source, 0),
                    "answers": answers.get(source, 0),
                    "note": notes.get(source, ""),
                }
            )


def read_pool(lake: LakeReader, teacher: str, domains: Mapping[str, str]) -> Pool:
    """Read the questions of the sources and the teacher's answers to them.

    Questions without an answer, and answers to questions that are gone, are the first step that is taken.

    Args:
        lake: The tables.
        teacher: Name of the teacher.
        domains: The domain of each source, in the order of the release.

    Raises:
        ReleaseError: A source has no question or no answer of the teacher, or the ledger lacks a completion.
    """
    names = list(domains)
    questions = (
        lake.scan(DEDUPED_QUESTIONS)
        .filter(pl.col("source").is_in(names))
        .select(*QUESTION, "licence", "scores", "question")
        .collect()
        .with_columns(domain=pl.col("source").replace_strict(dict(domains), return_dtype=pl.String))
    )
    answers = (
        lake.scan(TEACHER_ANSWERS, teacher=teacher)
        .filter(pl.col("source").is_in(names))
        .select(*ROW, "model", "completion_id", "content")
        .collect()
    )
    _require_cells(lake, teacher, domains, questions, answers)
    models = answers["model"].unique().implode()
    ledger = (
        lake.scan(COMPLETIONS)
        .filter(pl.col("model").is_in(models))
        .select(_LEDGER)
        .join(answers.lazy().select("completion_id").unique(), on="completion_id", how="semi")
        .unique("completion_id", keep="any")
        .collect()
    )
    answers = answers.join(ledger, on="completion_id", how="left", maintain_order="left").sort(ROW)
    if lost := answers["outcome"].null_count():
        raise ReleaseError(
            f"{lost:,} answers of {teacher} name completions that the ledger in {lake.root} does not have: restore the "
            "table completions from a backup, or materialize teacher_answers of "
            f"{', '.join(sorted(answers.filter(pl.col('outcome').is_null())['source'].unique()))}"
        )
    pool = Pool(teacher, questions.sort(QUESTION), answers, domains)
    gone = answers.join(questions, on=QUESTION, how="anti").select(
        *ROW,
        reason=pl.lit("question_is_gone"),
        evidence=pl.lit("deduped_questions no longer has the question: materialize teacher_answers of the source"),
    )
    pool.answers = answers.join(gone, on=ROW, how="anti", maintain_order="left")
    pool._reject("answered", gone)
    pool.drop_questions("answered", _unanswered(lake, pool))
    return pool


def _unanswered(lake: LakeReader, pool: Pool) -> pl.DataFrame:
    bare = pool.questions.join(pool.answers, on=QUESTION, how="anti").select(QUESTION)
    why = (
        lake.scan(REJECTED_ANSWERS, teacher=pool.teacher)
        .filter(pl.col("source").is_in(list(pool.domains)))
        .group_by(*QUESTION, "reason")
        .agg(pl.len().alias("count"), pl.col("evidence").sort().first())
        .sort("reason")
        .group_by(QUESTION)
        .agg(evidence=pl.format("{} {}: {}", "count", "reason", "evidence").str.join("; "))
    )
    not_asked = "it has no answer and no rejected one: materialize teacher_answers of the source"
    return (
        bare.lazy()
        .join(why, on=QUESTION, how="left")
        .select(*QUESTION, reason=pl.lit("no_answer"), evidence=pl.col("evidence").fill_null(not_asked))
        .collect()
    )


def _require_cells(
    lake: LakeReader, teacher: str, domains: Mapping[str, str], questions: pl.DataFrame, answers: pl.DataFrame
) -> None:
    bare = [name for name in domains if name not in set(questions["source"])]
    if bare:
        raise ReleaseError(
            f"release for teacher {teacher}: {', '.join(bare)} has no question in deduped_questions of {lake.root}: "
            "launch the job refresh_questions for it, or take it out of release.sources"
        )
    lacking = [name for name in domains if name not in set(answers["source"])]
    if lacking:
        raise ReleaseError(
            f"release for teacher {teacher}: there is no answer of {teacher} to {', '.join(lacking)} in {lake.root}: "
            f"launch backfill_teacher for {', '.join(f'{name}|{teacher}' for name in lacking)}, or take "
            f"{'it' if len(lacking) == 1 else 'them'} out of release.sources"
        )


def as_evidence(value: Mapping[str, object]) -> str:
    """Return evidence as JSON, as rejected_questions has it."""
    return json.dumps(value, ensure_ascii=False, default=str)
