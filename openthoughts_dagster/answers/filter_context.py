"""The data that answer filters read: answers, their texts, references, and models to ask."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import polars as pl

from openthoughts_dagster.answers.agreement import result_of
from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import AskModel
from openthoughts_dagster.lake import COMPLETIONS, RAW_SOURCES
from openthoughts_dagster.lake.reading import LakeReader

ROW = ("source", "question_id", "sample_index")
"""What names an answer in an answer set."""
QUESTION = ["source", "question_id"]
_PAGE = 5_000  # answers whose texts are in memory at the same time


def _nothing_to_ask(*_: object) -> NoReturn:
    raise ValueError(
        "this filter asks a judge or the student, or runs programs, and there is nothing here that does: use another "
        "filter, or pass FilterTools"
    )


@dataclass(frozen=True)
class AnswerToTest:
    """An answer with a program, and where the tests of its question are.

    Args:
        answer: The text of the answer.
        question: The question, as its source has it.
        reference: The reference answer of the question, which may be the tests as JSON.
        metadata: The question's other columns as JSON, which may hold the tests.
    """

    answer: str
    question: str
    reference: str | None
    metadata: str


@dataclass(frozen=True)
class ProgramVerdict:
    """Whether a program passed its tests.

    Args:
        reason: None if it passed every test; not_verified, or no_tests if its question has none that can be run.
        evidence: Which test failed and how, or why there is no test.
    """

    reason: Literal["not_verified", "no_tests"] | None
    evidence: str = ""


RunTests = Callable[[Sequence[AnswerToTest], float], list[ProgramVerdict]]
"""Runs the programs of answers against the tests of their questions; the number is the seconds that a test may take."""


@dataclass(frozen=True)
class FilterTools:
    """What filters use beside the tables.

    Args:
        judge: Opens a judge of the recipe by its name.
        resolve: Makes a path of the recipe absolute.
        student: Finds the student before training, with its weights.
        run_tests: Runs the programs of answers in confinement.
    """

    judge: Callable[[str], AskModel] = _nothing_to_ask
    resolve: Callable[[str], str] = str
    student: Callable[[], Model] = _nothing_to_ask
    run_tests: RunTests = _nothing_to_ask


@dataclass(frozen=True)
class FilterContext:
    """The data that a filter reads.

    Args:
        lake: The tables; the ledger has the texts.
        answers: The existing answers, a row each: source, question_id, sample_index, model, completion_id,
            outcome, finish_reason and completion_tokens.
        questions: Columns source, question_id and question.
        tools: Judges, the student, and the recipe's paths.
    """

    lake: LakeReader
    answers: pl.DataFrame
    questions: pl.LazyFrame
    tools: FilterTools = field(default=FilterTools())

    def texts(self) -> Iterator[pl.DataFrame]:
        """Yield the answers page by page, in their order, with the columns question, reasoning and answer."""
        models = self.answers["model"].unique().implode()
        ledger = self.lake.scan(COMPLETIONS).filter(pl.col("model").is_in(models))
        asked = self.questions.select(*QUESTION, "question")
        for page in self.answers.iter_slices(_PAGE):
            found = ledger.join(page.lazy().select("completion_id").unique(), on="completion_id", how="semi")
            texts = found.select("completion_id", "reasoning", "answer").unique("completion_id").collect()
            named = asked.join(page.lazy().select(QUESTION).unique(), on=QUESTION, how="semi").collect()
            rows = page.join(texts, on="completion_id", how="left", maintain_order="left")
            yield rows.join(named.unique(QUESTION), on=QUESTION, how="left", maintain_order="left")

    def results(self) -> pl.DataFrame:
        """The answers with a column `result`, which is empty for an answer that is cut off."""
        models = self.answers["model"].unique().implode()
        texts = (
            self.lake.scan(COMPLETIONS)
            .filter(pl.col("model").is_in(models))
            .select("completion_id", "answer")
            .join(self.answers.lazy().select("completion_id").unique(), on="completion_id", how="semi")
            .unique("completion_id")
            .collect()
        )
        ends = texts.select("completion_id", result=pl.col("answer").map_elements(result_of, return_dtype=pl.String))
        rows = self.answers.join(ends, on="completion_id", how="left", maintain_order="left")
        finished = pl.col("outcome") != "unfinished"
        return rows.with_columns(result=pl.when(finished).then(pl.col("result")).otherwise(pl.lit("")))

    def references(self) -> pl.DataFrame:
        """The columns source, question_id and reference_answer of the questions; the last may be null."""
        sources = self.answers["source"].unique().implode()
        raw = self.lake.scan(RAW_SOURCES).filter(pl.col("source").is_in(sources))
        return raw.select(*QUESTION, "reference_answer").unique(QUESTION).collect()

    def tests(self) -> pl.DataFrame:
        """The columns source, question_id, raw_question, reference_answer and metadata of the answered questions."""
        asked = self.answers.lazy().select(QUESTION).unique()
        raw = self.lake.scan(RAW_SOURCES).join(asked, on=QUESTION, how="semi")
        shown = raw.select(*QUESTION, "reference_answer", "metadata", raw_question="question")
        return shown.unique(QUESTION).collect()


def select_dropped(rows: pl.DataFrame, reason: str, evidence: pl.Expr) -> pl.DataFrame:
    """Return `rows` as dropped answers: their names, a reason (a slug) and the evidence."""
    return rows.select(*ROW, reason=pl.lit(reason), evidence=evidence)
