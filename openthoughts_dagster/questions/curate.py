"""Curates the questions of a source: selection, decontamination, deduplication and sampling."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from openthoughts_dagster.lake import text_hash
from openthoughts_dagster.questions.curated import Curated, MissingScoresError, batches
from openthoughts_dagster.questions.decisions import STEPS, Decision
from openthoughts_dagster.questions.decontaminate import Leaks, find_leaks, without
from openthoughts_dagster.questions.dedup import accepted_questions, deduplicate
from openthoughts_dagster.questions.matching.instructions import CommonNgram
from openthoughts_dagster.questions.matching.similar import Edges, find_similar_pairs
from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.questions.select import (
    OutOfRange,
    find_out_of_range,
    inside_first,
    rank_by_id,
    rank_by_score,
    without_copies,
)
from openthoughts_dagster.recipe import Decontamination, DomainQuestions
from openthoughts_dagster.storage import TEMPORARY_PREFIX

_IN_MEMORY = 500_000
_SAMPLE = 100_000


@dataclass(frozen=True)
class Finder:
    """Finds leaks and similar pairs, by default on this machine."""

    leaks: Callable[[Texts, Decontamination, pl.DataFrame, Texts], Leaks] = find_leaks
    pairs: Callable[[Texts, float], Edges] = find_similar_pairs


def distributed_finder(address: str) -> Finder:
    """Return a finder that uses a Ray cluster. Raises RayError if the cluster cannot be reached."""
    from openthoughts_dagster.questions import distributed

    distributed.connect(address)
    return Finder(
        lambda texts, *rest: distributed.leaks(distributed.frame(texts), *rest),
        lambda texts, similarity: distributed.similar_pairs(distributed.frame(texts), similarity),
    )


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

    The question with the best score of a group of duplicates stays; ties go by question_id. If there are more than half
    a million questions their texts are in a temporary file, so that memory holds about 150 bytes for each.

    Args:
        scored: Rows of the table scored_questions of one source. They are read in batches, several times.
        settings: Selection and deduplication of the source's domain.
        decontamination: When a question counts as leaked.
        benchmarks: Questions that may not be trained on: columns benchmark, question and, where it is known, split.
        against: Addresses of tables or files with the questions of older releases, whose duplicates are dropped.
        sample: The number of questions of the source in the end; all when None.
        ray: Address of a Ray cluster that finds leaks and similar pairs, with the same result; "" for this machine.

    Returns:
        The questions that stay, and for each of the others a reason with its evidence.

    Raises:
        AcceptedError: The questions of an older release cannot be read.
        MissingScoresError: No question has the score that the selection ranks by.
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
    ids, wanted = head["question_id"], settings.selection
    cut, number = np.empty(0), np.zeros(len(ids), np.int64)
    out = find_out_of_range(head, wanted.within if wanted else {})
    if wanted is None:
        rank = rank_by_id(ids)
    else:
        rank, cut = rank_by_score(head, wanted.by)
        if len(ids) and np.isnan(cut).all():
            raise MissingScoresError(
                f"none of {len(ids):,} questions has the score {wanted.by!r} that selection.by ranks by: materialize "
                "scored_questions again; if it has been scored, no reply of its judge could be read"
            )
        rank = inside_first(rank, out) if wanted.within else rank
        every = settings.dedup.method == "none" or wanted.copies == "each"
        number = rank if every else without_copies(rank, _hash_texts(rows))
    del head
    limit = wanted.count if wanted else 1
    while True:
        kept = (number < limit) & out.inside
        steps = _after_selection(rows, ids, rank, kept, settings, decontamination, benchmarks, against, finder)
        missing = wanted.count - len(steps.positions) if wanted and wanted.refill else 0
        if missing <= 0 or limit > number[out.inside].max(initial=0):
            break
        limit += max(missing, limit * missing // max(1, len(steps.positions)))
    positions, decisions = steps.positions, steps.decisions
    if wanted and wanted.refill and len(positions) > wanted.count:
        order = np.argsort(rank[positions])
        kept[positions[order[wanted.count :]]] = False
        positions = np.sort(positions[order[: wanted.count]])
    leaked, repeated = (_count(decisions, step) for step in ("decontamination", "dedup"))
    selected = int(kept.sum())
    funnel = {
        "scored": len(ids),
        "selected": selected,
        "decontaminated": selected - leaked,
        "deduplicated": selected - leaked - repeated,
    }
    if sample is not None:
        decisions |= _drop_unsampled(ids, positions, sample)
        funnel["sampled"] = min(sample, len(positions))
    return Curated(
        rows,
        ids,
        rank,
        _collect_reasons(kept, cut, out, decisions),
        decisions,
        cut,
        out,
        settings,
        funnel,
        steps.instructions,
    )


@dataclass(frozen=True)
class _Steps:
    """The result of decontamination and dedup: the questions that are left, and the decisions about the others."""

    positions: npt.NDArray[np.int64]
    decisions: dict[int, Decision]
    instructions: list[CommonNgram]


def _after_selection(
    rows: pl.LazyFrame,
    ids: pl.Series,
    rank: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
    settings: DomainQuestions,
    decontamination: Decontamination,
    benchmarks: pl.DataFrame,
    against: Sequence[str],
    finder: Finder,
) -> _Steps:
    decisions: dict[int, Decision] = {}
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as name:
        folder = Path(name) if int(kept.sum()) > _IN_MEMORY else None
        texts = _texts(rows, kept, folder)
        positions = np.nonzero(kept)[0]
        leaks = finder.leaks(texts, decontamination, benchmarks, source_sample(rows, ids))
        decisions |= _shift_positions(positions, leaks.decisions)
        clean = without(len(texts), leaks.decisions)
        if len(leaks.decisions):
            texts, positions = texts.subset(clean, folder), positions[clean]
        accepted = accepted_questions(against) if against else None
        repeats = deduplicate(texts, ids.gather(positions), rank[positions], settings.dedup, accepted, finder.pairs)
        decisions |= _shift_positions(positions, repeats)
        positions = positions[without(len(texts), repeats)]
        del texts
    return _Steps(positions, decisions, leaks.instructions)


def _hash_texts(rows: pl.LazyFrame) -> npt.NDArray[np.uint64]:
    """Return a hash of each question's text, which is equal for exact duplicates."""
    parts = [Texts.of(batch["question"]).hashes() for _, batch in batches(rows.select("question"))]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _count(decisions: dict[int, Decision], step: str) -> int:
    return sum(decision.reason in STEPS[step] for decision in decisions.values())


def source_sample(rows: pl.LazyFrame, ids: pl.Series) -> Texts:
    """Return the texts of a random sample of a source, which says what is common in it.

    The sample has up to 100,000 questions with the smallest ids. Ids are hashes, so this is a random sample, and it is
    the same in every call.
    """
    if len(ids) > _SAMPLE:
        rows = rows.filter(pl.col("question_id") <= ids.bottom_k(_SAMPLE).max())
    return Texts.of(rows.select("question").collect()["question"])


def _texts(rows: pl.LazyFrame, kept: npt.NDArray[np.bool_], folder: Path | None) -> Texts:
    mask = pl.Series(kept)
    wanted = (b["question"].filter(mask.slice(start, b.height)) for start, b in batches(rows.select("question")))
    if folder is None:
        return Texts.of(pl.concat([pl.Series("question", [], dtype=pl.String), *wanted]))
    return Texts.spill(wanted, folder / "selected.texts")


def _shift_positions(positions: npt.NDArray[np.int64], decisions: dict[int, Decision]) -> dict[int, Decision]:
    return {int(positions[at]): decision for at, decision in decisions.items()}


def _drop_unsampled(ids: pl.Series, positions: npt.NDArray[np.int64], count: int) -> dict[int, Decision]:
    """Drop all but a uniform sample of `count`, by a hash of the id; a larger sample contains a smaller one."""
    drawn = sorted((text_hash("sample", ids[int(position)]), int(position)) for position in positions)
    return {position: Decision("not_sampled", {"count": count}) for _, position in drawn[count:]}


def _collect_reasons(
    kept: npt.NDArray[np.bool_], cut: npt.NDArray[np.float64], out: OutOfRange, decisions: dict[int, Decision]
) -> pl.Series:
    names = [reason for reasons in STEPS.values() for reason in reasons]
    codes = np.full(len(kept), -1, np.int8)
    if len(cut):
        codes[~kept] = names.index("below_cut")
        codes[~kept & np.isnan(cut)] = names.index("no_score")
        codes[~out.inside] = names.index("out_of_range")
        codes[~out.inside & np.isnan(out.values)] = names.index("no_score")
    for position, decision in decisions.items():
        codes[position] = names.index(decision.reason)
    lookup = pl.Series(names, dtype=pl.String)
    return lookup.gather(pl.Series(codes).replace(-1, None).cast(pl.UInt32))
