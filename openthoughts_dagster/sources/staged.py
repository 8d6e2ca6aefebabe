"""The staged rows of a source. They can be read in batches, as often as needed, and are written to the lake."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from openthoughts_dagster.lake import RAW_SOURCES, REJECTED_QUESTIONS, text_hash
from openthoughts_dagster.recipe import Columns, StackExchangeSource
from openthoughts_dagster.sources.contract import Shard, SourceError
from openthoughts_dagster.sources.staging import MOST_NAMES, PRIORITY, QUESTIONS, REJECTED, RowCounts, Stage


@dataclass(frozen=True)
class StagedSource:
    """The questions and the rejected rows of a source. Rows that filters left out are neither.

    Attributes:
        stage: The folder of the rows.
        shards: The shards of the source.
        counts: Numbers of rows read and of rows that each filter left out.
        documents: The rows that a judge wrote the questions from, when it did. Their rejected rows count too.
    """

    stage: Stage
    shards: list[Shard]
    counts: RowCounts
    documents: "StagedSource | None" = None

    def questions(self) -> Iterator[pl.DataFrame]:
        """Yield batches of raw_sources. No id occurs twice.

        A text that occurs again gets another id, which depends on how often the text occurred before. So deduplication
        can name what it dropped.
        """
        start = 0
        for batch in self._sampled_batches(QUESTIONS, None):
            times = self._occurrences[start : start + batch.height]
            start += batch.height
            again = [
                text_hash(question, str(time)) if time > 1 else question_id
                for question, question_id, time in zip(batch["question"], batch["question_id"], times, strict=True)
            ]
            yield batch.with_columns(question_id=pl.Series(again, dtype=pl.String)).select(list(RAW_SOURCES.columns))

    def rejected(self) -> Iterator[pl.DataFrame]:
        """Yield batches of rejected_questions."""
        if self.documents is not None:
            yield from self.documents.rejected()
        for batch in self._sampled_batches(REJECTED, None):
            yield batch.select(list(REJECTED_QUESTIONS.columns))

    @cached_property
    def kept(self) -> int:
        """The number of questions."""
        return len(self._occurrences)

    @property
    def rows_in(self) -> int:
        """The number of rows that filters and the sample left: questions and rejected rows."""
        return self.kept + sum(self.reasons.values())

    @cached_property
    def reasons(self) -> Counter[str]:
        """The number of rejected rows by reason."""
        counted = Counter[str]() if self.documents is None else Counter(self.documents.reasons)
        for batch in self._sampled_batches(REJECTED, ["reason"]):
            counted.update(batch["reason"])
        return counted

    @cached_property
    def answered(self) -> int:
        """The number of questions with a reference answer."""
        return sum(
            int(batch["reference_answer"].count()) for batch in self._sampled_batches(QUESTIONS, ["reference_answer"])
        )

    @cached_property
    def _highest_priority(self) -> int | None:
        """The highest priority of a row in the sample; None when all rows are in the sample."""
        limit = self.stage.limit
        if limit is None:
            return None
        lowest = pl.Series(PRIORITY, [], dtype=pl.Int64)
        for table in (QUESTIONS, REJECTED):
            for batch in self.stage.batches(self.shards, table, [PRIORITY]):
                lowest = pl.concat([lowest, batch[PRIORITY]]).bottom_k(limit)
        return None if lowest.len() < limit else int(lowest.max())  # type: ignore[arg-type]

    @cached_property
    def _occurrences(self) -> pl.Series:
        """For each question, how often its text has occurred so far, itself included. Takes 120 bytes a question."""
        short = [
            batch.select(pl.col("question_id").str.head(15).str.to_integer(base=16))["question_id"]
            for batch in self._sampled_batches(QUESTIONS, ["question_id"])
        ]
        keys = pl.concat(short) if short else pl.Series("question_id", [], dtype=pl.Int64)
        return keys.to_frame().select(pl.int_range(1, pl.len() + 1).over("question_id").cast(pl.UInt32)).to_series()

    def _sampled_batches(self, table: str, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        cut = self._highest_priority
        for batch in self.stage.batches(self.shards, table, None if columns is None else [*columns, PRIORITY]):
            yield batch if cut is None else batch.filter(pl.col(PRIORITY) <= cut)


def absent_metadata(staged: StagedSource, columns: Columns) -> list[str]:
    """List the columns of `columns.metadata` that no row of the source had."""
    seen = staged.counts.columns
    if len(seen) >= MOST_NAMES:
        return []  # other names were not noted
    return [name for name in columns.metadata or () if name not in seen and name.partition(".")[0] not in seen]


def check_found(staged: StagedSource, columns: Columns) -> None:
    """Check that a source has questions.

    Raises:
        SourceError: There are no rows, no row has a question, or the recipe names a column of answers and no row has an
            answer.
    """
    where, counts = f"sources.{staged.stage.source.name}", staged.counts
    filtered = sum(counts.filtered.values())
    seen = f"their columns are {', '.join(counts.columns)}" if counts.columns else ""
    if not staged.rows_in:
        if filtered:
            [(name, most)] = counts.filtered.most_common(1)
            raise SourceError(
                f"{where}: its filters leave none of {counts.rows:,} rows; {name!r} leaves out {most:,} of them, and "
                f"{seen}. Correct `where`"
            )
        raise SourceError(f"{where}: it has no rows; give it questions, or take it out of the recipe")
    if not staged.kept:
        first = next(staged.rejected()).row(0, named=True)
        many = ", ".join(f"{reason} {count:,} times" for reason, count in staged.reasons.most_common())
        remedy = "Set columns.question to the column, or a template such as '{title} {body}', that holds it"
        raise SourceError(
            f"{where}: none of its {staged.rows_in:,} rows has a question in {columns.question!r} ({many}); "
            f"{seen or 'no row could be read'}; the first: {first['evidence']}" + (f". {remedy}" if seen else "")
        )
    # All questions of a forum may be without an accepted answer. In a table it means that the column is wrong.
    forum = isinstance(staged.stage.source, StackExchangeSource)
    if columns.answer is not None and not staged.answered and not forum:
        raise SourceError(
            f"{where}: none of its {staged.kept:,} questions has an answer in {columns.answer!r}; {seen}. "
            "Set columns.answer to the column that holds it, or leave it out"
        )
