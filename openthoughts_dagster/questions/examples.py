"""Reads the example questions of a score from raw_sources and from files."""

from collections.abc import Callable

import polars as pl

from openthoughts_dagster.lake import RAW_SOURCES, Lake, text_hash
from openthoughts_dagster.recipe import Examples


class ExamplesError(ValueError):
    """The examples cannot be read; the message says what to do."""


def read_examples(lake: Lake, resolve: Callable[[str], str], examples: Examples) -> list[str]:
    """Read the distinct questions of `examples`: all of them, or a sample of `examples.count` by their hashes.

    Raises:
        ExamplesError: A source was not read yet, or a file is missing or has no column question.
    """
    texts: set[str] = set()
    for source in examples.sources:
        rows = lake.scan(RAW_SOURCES, source=source).select("question").collect()
        if rows.is_empty():
            raise ExamplesError(
                f"the source {source!r} is an example and was not read yet: materialize its raw_sources"
            )
        texts.update(rows["question"])
    for path in examples.paths:
        texts.update(_read(resolve(path)))
    if len(texts) > examples.count:
        texts = set(sorted(texts, key=text_hash)[: examples.count])
    return sorted(texts)


def _read(path: str) -> list[str]:
    try:
        rows = pl.read_parquet(path) if path.endswith(".parquet") else pl.read_ndjson(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ExamplesError(
            f"the examples {path} cannot be read: {(str(error).splitlines() or [''])[0]}; name a JSON Lines or "
            "Parquet file, relative to the recipe's folder"
        ) from error
    if "question" not in rows.columns:
        raise ExamplesError(f"the examples {path} have no column 'question'; they have {', '.join(rows.columns)}")
    return [text for text in rows["question"].cast(pl.String) if text and text.strip()]
