"""Finds duplicates within a source, across sources, and of the questions of older releases."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.lake.unicode import replace_lone_surrogates
from openthoughts_dagster.questions.decisions import Decision, shorten_evidence
from openthoughts_dagster.questions.matching.duplicates import Duplicates, find_duplicates
from openthoughts_dagster.questions.matching.similar import Edges, Positions, find_similar_pairs
from openthoughts_dagster.questions.matching.texts import Texts
from openthoughts_dagster.recipe import Dedup
from openthoughts_dagster.sources.columns import text_of
from openthoughts_dagster.sources.files import has_known_format, read_records


class AcceptedError(ValueError):
    """The questions of an older release cannot be read; the message says what to change."""


def deduplicate(
    texts: Texts,
    ids: pl.Series,
    rank: Positions,
    settings: Dedup,
    accepted: pl.DataFrame | None = None,
    pairs: Callable[[Texts, float], Edges] = find_similar_pairs,
) -> dict[int, Decision]:
    """Find the duplicates among texts.

    The question with the smallest `rank` of a connected component of duplicates stays. If a component contains one of
    the `accepted` questions, all of its texts are dropped. With method none, only exact copies of `accepted` are.

    Args:
        texts: The questions.
        ids: Their question_ids.
        rank: Their ranks; 0 is the best.
        settings: How duplicates are found.
        accepted: Questions of older releases: columns release, question_id and question.
        pairs: Finds the similar pairs of texts.

    Returns:
        For each dropped position the question that it repeats, the similarity, and the question that stays.
    """
    known = 0 if accepted is None else accepted.height
    own = settings.method != "none"  # whether the texts are compared with each other
    if len(texts) == 0 or not (own or known):
        return {}
    settings = settings if own else settings.model_copy(update={"method": "exact"})
    every = texts
    if accepted is not None and known:
        every = Texts.concatenated([Texts.of(accepted["question"]), texts], known + len(texts))
    ranks = np.concatenate([np.arange(-known, 0), rank])
    found = find_duplicates(every, ranks, settings, pairs)
    decisions = {}
    for position, of, ratio, kept, exact in zip(
        found.positions.tolist(),
        found.of.tolist(),
        found.ratios.tolist(),
        found.kept.tolist(),
        found.exact,
        strict=True,
    ):
        if position < known or not (own or kept < known):
            continue  # duplicates among the accepted questions do not matter
        evidence = {"of": _id(of, ids, accepted, known), "similarity": ratio, "text": shorten_evidence(every[of])}
        if kept != of:
            evidence["kept"] = _id(kept, ids, accepted, known)
        if kept < known and accepted is not None:
            evidence["release"] = accepted["release"][kept]
        kind = "accepted" if kept < known else "duplicate"
        decisions[position - known] = Decision(f"{kind}_{'exact' if exact else 'fuzzy'}", evidence)
    return decisions


def deduplicate_sources(
    questions: pl.DataFrame, settings: Dedup, order: Sequence[str] = (), within: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Deduplicate the questions of several sources together, before they are mixed into one data set.

    The duplicate of the source that comes first in `order` stays, and within a source the first row.

    Args:
        questions: Columns source, question_id and question.
        settings: How duplicates are found, as in a domain's `dedup`; with method none, all questions stay.
        order: Names of sources, the preferred ones first. Other sources come after them.
        within: Whether a question that its own source has twice is a duplicate as well.

    Returns:
        The rows that stay, in their order, and one row for each dropped question, with the columns source, question_id,
        reason, of_source, of and similarity.

    Example:
        >>> rows = pl.DataFrame({"source": ["b", "a"], "question_id": ["1", "2"], "question": ["same", "same "]})
        >>> kept, dropped = deduplicate_sources(rows, Dedup(method="exact"), order=["a", "b"])
        >>> kept["question_id"].to_list(), dropped["of"].to_list()
        (['2'], ['2'])
    """
    places = {source: place for place, source in enumerate(order)}
    place = np.array([places.get(source, len(places)) for source in questions["source"]], np.int64)
    rank = np.argsort(place, kind="stable")
    ranks = np.empty(questions.height, np.int64)
    ranks[rank] = np.arange(questions.height)
    found = find_duplicates(Texts.of(questions["question"]), ranks, settings) if settings.method != "none" else None
    if found is not None and not within:
        sources = questions["source"]
        across = (sources.gather(found.positions) != sources.gather(found.kept)).to_numpy()
        found = Duplicates(*(getattr(found, field.name)[across] for field in fields(Duplicates)))
    positions = np.zeros(0, np.int64) if found is None else found.positions
    dropped = questions[positions].select("source", "question_id")
    if found is not None:
        of = questions[found.of if within else found.kept]
        dropped = dropped.with_columns(
            pl.Series("reason", np.where(found.exact, "duplicate_exact", "duplicate_fuzzy"), dtype=pl.String),
            of["source"].alias("of_source"),
            of["question_id"].alias("of"),
            pl.Series("similarity", found.ratios),
        )
    return questions[np.setdiff1d(np.arange(questions.height), positions)], dropped


def accepted_questions(paths: Sequence[str]) -> pl.DataFrame:
    """Read the questions of older releases.

    Args:
        paths: Parquet or JSON Lines files, or Delta tables. Without a column question_id it is the row's number.

    Returns:
        Columns release (the path), question_id and question.

    Raises:
        AcceptedError: A path cannot be read or has no column question.
    """
    frames = [pl.DataFrame(schema={"release": pl.String, "question_id": pl.String, "question": pl.String})]
    for path in paths:
        shown = without_credentials(path)
        try:
            rows = _scan(path)
            columns = rows.collect_schema().names()
            if "question" not in columns:
                raise AcceptedError(f"dedup.against: {shown} has no column 'question'; it has {', '.join(columns)}")
            number = pl.int_range(pl.len()).cast(pl.String)
            own = pl.col("question_id").cast(pl.String) if "question_id" in columns else number
            frames.append(
                rows.select(release=pl.lit(shown), question_id=own, question=pl.col("question").cast(pl.String))
                .drop_nulls("question")
                .collect()
            )
        except AcceptedError:
            raise
        except Exception as error:  # whatever fails, a file, an object store or a log, the error names the release
            raise AcceptedError(
                f"dedup.against: {shown} cannot be read: {type(error).__name__}: "
                f"{without_credentials((str(error).splitlines() or [''])[0])}."
                " Name a Parquet or JSON Lines file, or the folder of a Delta table"
            ) from error
    return pl.concat(frames)


def _scan(path: str) -> pl.LazyFrame:
    if has_known_format(path) and not path.endswith(".parquet"):
        return _read_rows(path).lazy()
    if path.endswith(".parquet") or "*" in path:
        return pl.scan_parquet(path)
    if "://" not in path and not Path(path).exists():
        raise AcceptedError(
            f"dedup.against: nothing is at {without_credentials(path)}; relative paths start at the recipe's folder"
        )
    return pl.scan_delta(path)


def _read_rows(path: str) -> pl.DataFrame:
    """Read the columns question and question_id of a file that has no types, such as JSON Lines."""
    texts: dict[str, list[str | None]] = {"question": [], "question_id": []}
    columns = dict[str, None]()
    for row in read_records("questions", path):
        columns |= dict.fromkeys(row)
        for name, values in texts.items():
            value = row.get(name)
            values.append(None if value is None else replace_lone_surrogates(text_of(value)))
    present = {name: values for name, values in texts.items() if name in columns or not columns}
    if "question" not in present:
        shown = without_credentials(path)
        raise AcceptedError(f"dedup.against: {shown} has no column 'question'; it has {', '.join(columns)}")
    return pl.DataFrame(present, schema=dict.fromkeys(present, pl.String))


def _id(position: int, ids: pl.Series, accepted: pl.DataFrame | None, known: int) -> str:
    if position < known and accepted is not None:
        return str(accepted["question_id"][position])
    return str(ids[position - known])
