"""Select, decontaminate, deduplicate, sample: the questions that go on, and why the others do not."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.lake import REJECTED_QUESTIONS, text_hash
from openthoughts_dagster.questions.decisions import STEPS, Decision
from openthoughts_dagster.questions.decontaminate import Leaks, find_leaks, without
from openthoughts_dagster.questions.dedup import accepted_questions, deduplicate
from openthoughts_dagster.questions.matching.instructions import CommonNgram
from openthoughts_dagster.questions.matching.similar import Edges, similar_pairs
from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.questions.select import rank_by_id, select_top
from openthoughts_dagster.recipe import Decontamination, DomainQuestions

_IN_MEMORY = 500_000
_BATCH = 100_000
_SAMPLE = 100_000
_SHOWN = 200


class NothingLeftError(ValueError):
    """Curation dropped every question of a source; the message says why."""


@dataclass(frozen=True)
class Finder:
    """What looks for leaks and for similar pairs: this machine."""

    leaks: Callable[[Texts, Decontamination, pl.DataFrame, Texts], Leaks] = find_leaks
    pairs: Callable[[Texts, float], Edges] = similar_pairs


def distributed_finder(address: str) -> Finder:
    """A Ray cluster that looks for leaks and similar pairs. Raises RayError when it cannot be reached."""
    from openthoughts_dagster.questions import distributed

    distributed.connect(address)
    return Finder(
        lambda texts, *rest: distributed.leaks(distributed.frame(texts), *rest),
        lambda texts, similarity: distributed.similar_pairs(distributed.frame(texts), similarity),
    )


@dataclass(frozen=True)
class Curated:
    """What happens to every scored question: reason and evidence of those that go, and how many each step left."""

    scored: pl.LazyFrame
    ids: pl.Series
    rank: npt.NDArray[np.int64]
    reasons: pl.Series  # null where the question stays
    evidence: dict[int, Decision]
    cut: npt.NDArray[np.float64]  # the score of each question; empty when nothing was selected
    settings: DomainQuestions
    funnel: dict[str, int]
    instructions: list[CommonNgram] = field(default_factory=list)

    @property
    def questions(self) -> pl.DataFrame:
        """The questions that stay, the best first."""
        kept = pl.concat(list(self.kept_batches()) or [self.scored.head(0).collect()])
        ranks = pl.DataFrame({"question_id": self.ids, "rank": self.rank})
        return kept.join(ranks, on="question_id", how="left").sort("rank").drop("rank")

    @property
    def rejected(self) -> pl.DataFrame:
        """Rows of rejected_questions."""
        return pl.concat([REJECTED_QUESTIONS.schema.to_frame(), *self.rejected_batches()])

    def require_questions(self) -> None:
        """Raise NothingLeftError when there were questions and none stays; the message has the best five matches."""
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
        """The beginnings of the questions at some positions."""
        wanted = self.ids.gather(positions)
        texts = self.scored.filter(pl.col("question_id").is_in(wanted.implode())).select("question_id", "question")
        found = dict(texts.collect().iter_rows())
        return [found[id_][:_SHOWN] for id_ in wanted]

    def best(self, count: int) -> pl.DataFrame:
        """The best questions that stay, without the rest."""
        stays = np.nonzero(self.reasons.is_null().to_numpy())[0]
        chosen = stays[np.argsort(self.rank[stays])[:count]]
        rows = self.scored.filter(pl.col("question_id").is_in(self.ids.gather(chosen).implode())).collect()
        return rows.join(
            pl.DataFrame({"question_id": self.ids.gather(chosen)}), on="question_id", maintain_order="right"
        )

    def examples(self, count: int) -> pl.DataFrame:
        """Up to `count` rejected questions for each reason that has a match: reason, question, and the evidence."""
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
        """The questions that stay, in the order of the table, a bounded number at a time."""
        for start, rows in batches(self.scored):
            kept = rows.filter(self.reasons.slice(start, rows.height).is_null())
            if kept.height:
                yield kept

    def rejected_batches(self) -> Iterator[pl.DataFrame]:
        """Rows of rejected_questions, a bounded number at a time."""
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
        assert self.settings.selection is not None
        score, value = self.settings.selection, float(self.cut[position])
        shown = {} if np.isnan(value) else {"value": value}
        return json.dumps({"score": score.by, **shown, "rank": int(self.rank[position]) + 1, "count": score.count})


def curate(
    scored: pl.LazyFrame | pl.DataFrame,
    settings: DomainQuestions,
    decontamination: Decontamination,
    benchmarks: pl.DataFrame,
    against: Sequence[str] = (),
    sample: int | None = None,
    ray: str = "",
) -> Curated:
    """Choose the questions of one source that teachers answer: top by score, decontaminated, deduplicated, sampled.

    Of a group of duplicates the one with the best score stays, ties by question_id. Of more than half a million
    questions the texts are kept in a temporary file, so that memory holds about 150 bytes a question.

    Args:
        scored: Rows of the table scored_questions of one source; they are read in batches, and several times.
        settings: Selection and deduplication of the source's domain.
        decontamination: When a question counts as leaked.
        benchmarks: Questions that may not be trained on: columns benchmark, question and, where it is known, split.
        against: Addresses of tables or files with the questions of older releases, which are not wanted again.
        sample: How many questions of the source are wanted in the end; all when None.
        ray: Address of a Ray cluster that looks for leaks and similar pairs, and finds the same; this machine when "".

    Returns:
        Which questions stay, and for each of the others a reason with its evidence.

    Raises:
        AcceptedError: The questions of an older release cannot be read.
        RayError: The cluster cannot be reached.
        ValueError: The tokenizer of the decontamination cannot be loaded.

    Example:
        >>> curated = curate(lake.scan(SCORED_QUESTIONS, source="mine"), recipe.domain("math"), recipe.decontamination,
        ...                  benchmarks)  # doctest: +SKIP
        >>> curated.questions, curated.rejected  # doctest: +SKIP
    """
    finder = Finder() if not ray else distributed_finder(ray)
    rows = scored.lazy()
    head = rows.select("question_id", *(["scores"] if settings.selection else [])).collect()
    ids = head["question_id"]
    cut, kept = np.empty(0), np.ones(len(ids), np.bool_)
    if settings.selection is None:
        rank = rank_by_id(ids)
    else:
        selection = select_top(head, settings.selection.by, settings.selection.count)
        rank, cut, kept = selection.rank, selection.values, selection.kept
    del head
    decisions: dict[int, Decision] = {}
    funnel = {"scored": len(ids), "selected": int(kept.sum())}
    with tempfile.TemporaryDirectory(prefix="questions-") as name:
        folder = Path(name) if int(kept.sum()) > _IN_MEMORY else None
        texts = _texts(rows, kept, folder)
        positions = np.nonzero(kept)[0]
        leaks = finder.leaks(texts, decontamination, benchmarks, source_sample(rows, ids))
        decisions |= _at(positions, leaks.decisions)
        clean = without(len(texts), leaks.decisions)
        if len(leaks.decisions):
            texts, positions = texts.subset(clean, folder), positions[clean]
        funnel["decontaminated"] = len(texts)
        accepted = accepted_questions(against) if against else None
        repeats = deduplicate(texts, ids.gather(positions), rank[positions], settings.dedup, accepted, finder.pairs)
        decisions |= _at(positions, repeats)
        positions = positions[without(len(texts), repeats)]
        funnel["deduplicated"] = len(positions)
        del texts
    if sample is not None:
        decisions |= _not_sampled(ids, positions, sample)
        funnel["sampled"] = min(sample, len(positions))
    return Curated(
        rows, ids, rank, _reasons(kept, cut, decisions), decisions, cut, settings, funnel, leaks.instructions
    )


def leaks_of(examples: pl.DataFrame) -> pl.DataFrame:
    """Leaked questions beside what they leak: benchmark, split, what is shared, both texts."""
    return _pairs(examples, "decontamination", ["benchmark", "split", "shared", "similarity", "question", "text"])


def duplicates_of(examples: pl.DataFrame) -> pl.DataFrame:
    """Duplicates beside what they repeat: similarity, both texts."""
    return _pairs(examples, "dedup", ["reason", "of", "release", "similarity", "question", "text"])


def _pairs(examples: pl.DataFrame, step: str, columns: list[str]) -> pl.DataFrame:
    if examples.is_empty():
        return examples
    return examples.filter(pl.col("reason").is_in(STEPS[step])).select(c for c in columns if c in examples.columns)


def source_sample(rows: pl.LazyFrame, ids: pl.Series) -> Texts:
    """Texts of up to 100,000 questions of a source, those with the smallest ids: what is common in the source.

    Ids are hashes, so the smallest are a random sample, and the same one for whoever asks again.
    """
    if len(ids) > _SAMPLE:
        rows = rows.filter(pl.col("question_id") <= ids.bottom_k(_SAMPLE).max())
    return Texts.of(rows.select("question").collect()["question"])


def batches(rows: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows in order, a bounded number at a time, each batch with the position of its first row."""
    start = 0
    for batch in rows.collect_batches(chunk_size=_BATCH, maintain_order=True):
        yield start, batch
        start += batch.height


def _texts(rows: pl.LazyFrame, kept: npt.NDArray[np.bool_], folder: Path | None) -> Texts:
    mask = pl.Series(kept)
    wanted = (b["question"].filter(mask.slice(start, b.height)) for start, b in batches(rows.select("question")))
    if folder is None:
        return Texts.of(pl.concat([pl.Series("question", [], dtype=pl.String), *wanted]))
    return Texts.spill(wanted, folder / "selected.texts")


def _at(positions: npt.NDArray[np.int64], decisions: dict[int, Decision]) -> dict[int, Decision]:
    return {int(positions[at]): decision for at, decision in decisions.items()}


def _not_sampled(ids: pl.Series, positions: npt.NDArray[np.int64], count: int) -> dict[int, Decision]:
    """Those that a uniform sample of `count` leaves out: by a hash of the id, so that more rows keep the old ones."""
    drawn = sorted((text_hash("sample", ids[int(position)]), int(position)) for position in positions)
    return {position: Decision("not_sampled", {"count": count}) for _, position in drawn[count:]}


def _reasons(kept: npt.NDArray[np.bool_], cut: npt.NDArray[np.float64], decisions: dict[int, Decision]) -> pl.Series:
    names = [reason for reasons in STEPS.values() for reason in reasons]
    codes = np.full(len(kept), -1, np.int8)
    if len(cut):
        codes[~kept] = names.index("below_cut")
        codes[~kept & np.isnan(cut)] = names.index("no_score")
    for position, decision in decisions.items():
        codes[position] = names.index(decision.reason)
    lookup = pl.Series(names, dtype=pl.String)
    return lookup.gather(pl.Series(codes).replace(-1, None).cast(pl.UInt32))
