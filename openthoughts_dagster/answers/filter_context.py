"""The data that answer filters read: answers, their texts, references, and models to ask."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

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
        "this filter asks a judge or the student, and there is none here: use another filter, or pass FilterTools"
    )


@dataclass(frozen=True)
class FilterTools:
    """What filters use beside the tables.

    Args:
        judge: Opens a judge of the recipe by its name.
        resolve: Makes a path of the recipe absolute.
        student: Finds the student before training, with its weights.
    """

    judge: Callable[[str], AskModel] = _nothing_to_ask
    resolve: Callable[[str], str] = str
    student: Callable[[], Model] = _nothing_to_ask


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


def select_dropped(rows: pl.DataFrame, reason: str, evidence: pl.Expr) -> pl.DataFrame:
    """Return `rows` as dropped answers: their names, a reason (a slug) and the evidence."""
    return rows.select(*ROW, reason=pl.lit(reason), evidence=evidence)
