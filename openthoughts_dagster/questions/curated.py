"""The result of curation for every question of a source."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.lake import REJECTED_QUESTIONS, read_slices
from openthoughts_dagster.questions.decisions import STEPS, Decision
from openthoughts_dagster.questions.matching.instructions import CommonNgram
from openthoughts_dagster.questions.select import OutOfRange
from openthoughts_dagster.recipe import DomainQuestions

_BATCH = 100_000
_SHOWN = 200


class MissingScoresError(ValueError):
    """No question has the score that they are ranked by, so that any choice among them would be arbitrary."""


class NothingLeftError(ValueError):
    """Curation dropped every question of a source; the message gives the reasons."""


@dataclass(frozen=True)
class Curated:
    """The result of curation: the questions that stay, the reasons of the others, and the counts of each step."""

    scored: pl.LazyFrame
    ids: pl.Series
    rank: npt.NDArray[np.int64]
    reasons: pl.Series  # null if the question stays
    evidence: dict[int, Decision]
    cut: npt.NDArray[np.float64]  # the score of each question; empty if nothing was selected by a score
    out: OutOfRange
    settings: DomainQuestions
    funnel: dict[str, int]
    instructions: list[CommonNgram] = field(default_factory=list)

    @property
    def questions(self) -> pl.DataFrame:
        """The questions that stay; the best one is first."""
        kept = pl.concat(list(self.kept_batches()) or [self.scored.head(0).collect()])
        ranks = pl.DataFrame({"question_id": self.ids, "rank": self.rank})
        return kept.join(ranks, on="question_id", how="left").sort("rank").drop("rank")

    @property
    def rejected(self) -> pl.DataFrame:
        """The rows of the table rejected_questions."""
        return pl.concat([REJECTED_QUESTIONS.schema.to_frame(), *self.rejected_batches()])

    def require_questions(self) -> None:
        """Raise NothingLeftError if there were questions and none stays; the message has the best five matches."""
        if len(self.ids) == 0 or self.reasons.null_count():
            return
        counts = self.reasons.value_counts(sort=True).rows()
        went = ", ".join(f"{count:,} went as {reason}" for reason, count in counts)
        if len(counts) == 1:
            went = f"all {len(self.ids):,} went as {counts[0][0]}"
        matches = sorted(
            (-float(str(why.evidence.get("similarity", 100))), position)
            for position, why in self.evidence.items()
            if "text" in why.evidence
        )[:5]
        texts = self.examples_at([position for _, position in matches])
        lines = [
            f"- {text!r} matches {str(self.evidence[position].evidence['text'])[:_SHOWN]!r} of "
            f"{self.evidence[position].evidence.get('benchmark') or self.evidence[position].evidence.get('of')}"
            + (f", similarity {-ratio:.1f}" if "similarity" in self.evidence[position].evidence else "")
            for (ratio, position), text in zip(matches, texts, strict=True)
        ]
        best = "\nThe best matches:\n" + "\n".join(lines) if lines else ""
        raise NothingLeftError(
            f"no question is left of {len(self.ids):,}: {went}. Correct the recipe's selection, decontamination or "
            f"dedup if that is wrong; `openthoughts leaks` shows dropped questions beside what they matched.{best}"
        )

    def examples_at(self, positions: Sequence[int]) -> list[str]:
        """Return the beginnings of the questions at the positions."""
        wanted = self.ids.gather(list(positions))
        texts = self.scored.filter(pl.col("question_id").is_in(wanted.implode())).select("question_id", "question")
        found = dict(texts.collect().iter_rows())
        return [found[id_][:_SHOWN] for id_ in wanted]

    def best(self, count: int) -> pl.DataFrame:
        """Return the `count` best questions that stay."""
        stays = np.nonzero(self.reasons.is_null().to_numpy())[0]
        chosen = stays[np.argsort(self.rank[stays])[:count]]
        rows = self.scored.filter(pl.col("question_id").is_in(self.ids.gather(chosen).implode())).collect()
        return rows.join(
            pl.DataFrame({"question_id": self.ids.gather(chosen)}), on="question_id", maintain_order="right"
        )

    def examples(self, count: int) -> pl.DataFrame:
        """Return up to `count` rejected questions for each reason that has a match, with their evidence."""
        chosen: dict[str, list[int]] = {}
        for position, decision in self.evidence.items():
            own = chosen.setdefault(decision.reason, [])
            if len(own) < count:
                own.append(position)
        positions = [position for own in chosen.values() for position in own]
        wanted = self.ids.gather(positions)
        texts = self.scored.filter(pl.col("question_id").is_in(wanted.implode())).select("question_id", "question")
        found = dict(texts.collect().iter_rows())
        return pl.DataFrame(
            [
                {"reason": self.evidence[p].reason, "question": found[self.ids[p]], **self.evidence[p].evidence}
                for p in positions
            ],
            infer_schema_length=None,
        )

    def kept_batches(self) -> Iterator[pl.DataFrame]:
        """Yield the questions that stay in batches, in the order of the table."""
        for start, rows in batches(self.scored):
            kept = rows.filter(self.reasons.slice(start, rows.height).is_null())
            if kept.height:
                yield kept

    def rejected_batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of rejected_questions in batches."""
        for start, rows in batches(self.scored.select("source", "question_id", "question", "origin")):
            reasons = self.reasons.slice(start, rows.height)
            gone = np.nonzero(reasons.is_not_null().to_numpy())[0]
            if not len(gone):
                continue
            yield rows[gone].select(
                "source",
                pl.lit("deduped_questions").alias("stage"),
                "question_id",
                "question",
                reasons.gather(gone).alias("reason"),
                pl.Series("evidence", [self._evidence(start + int(at)) for at in gone], dtype=pl.String),
                "origin",
            )

    def _evidence(self, position: int) -> str:
        decision = self.evidence.get(position)
        if decision is not None:
            return json.dumps(decision.evidence, ensure_ascii=False)
        if (outside := self.out.evidence(position)) is not None:
            return json.dumps(outside)
        assert self.settings.selection is not None
        score, value = self.settings.selection, float(self.cut[position])
        shown = {} if np.isnan(value) else {"value": value}
        return json.dumps({"score": score.by, **shown, "rank": int(self.rank[position]) + 1, "count": score.count})


def leaks_of(examples: pl.DataFrame) -> pl.DataFrame:
    """Return leaked questions with benchmark, split, the shared part, and both texts."""
    return _pairs(examples, "decontamination", ["benchmark", "split", "shared", "similarity", "question", "text"])


def duplicates_of(examples: pl.DataFrame) -> pl.DataFrame:
    """Return duplicates with the similarity and both texts."""
    return _pairs(examples, "dedup", ["reason", "of", "release", "similarity", "question", "text"])


def _pairs(examples: pl.DataFrame, step: str, columns: list[str]) -> pl.DataFrame:
    if examples.is_empty():
        return examples
    return examples.filter(pl.col("reason").is_in(STEPS[step])).select(c for c in columns if c in examples.columns)


def batches(rows: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the rows in batches, in order, each with the position of its first row."""
    start = 0
    for batch in read_slices(rows, _BATCH):
        yield start, batch
        start += batch.height
