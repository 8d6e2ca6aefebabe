"""Reads the example questions of a score from raw_sources and from files."""

from collections.abc import Callable

from openthoughts_dagster.lake import RAW_SOURCES, Lake, text_hash
from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.lake.unicode import replace_lone_surrogates
from openthoughts_dagster.recipe import Examples
from openthoughts_dagster.sources.columns import text_of
from openthoughts_dagster.sources.contract import SourceError
from openthoughts_dagster.sources.files import read_records


class ExamplesError(ValueError):
    """The examples cannot be read; the message says what to do."""


def read_examples(lake: Lake, resolve: Callable[[str], str], examples: Examples) -> list[str]:
    """Read the distinct questions of `examples`: all of them, or a sample of `examples.count` by their hashes.

    Raises:
        ExamplesError: A source was not read yet, a file is missing or has no column question, or there is no example.
    """
    texts: set[str] = set()
    for source in examples.sources:
        rows = lake.scan(RAW_SOURCES, source=source).select("question").collect()
        if rows.is_empty():
            raise ExamplesError(
                f"the examples name the source {source!r}, which was not read yet: materialize its raw_sources first"
            )
        texts.update(rows["question"])
    for path in examples.paths:
        texts.update(_read(resolve(path)))
    if not texts:
        named = without_credentials(", ".join([*examples.sources, *examples.paths]))
        raise ExamplesError(f"the examples of {named} have no question: a score cannot compare with nothing")
    if len(texts) > examples.count:
        texts = set(sorted(texts, key=text_hash)[: examples.count])
    return sorted(texts)


def _read(path: str) -> list[str]:
    texts, columns = list[str](), dict[str, None]()
    try:
        for row in read_records("examples", path):
            columns |= dict.fromkeys(row)
            texts += [text_of(row["question"])] if row.get("question") is not None else []
    except SourceError as error:
        raise ExamplesError(f"the examples {without_credentials(path)} cannot be read: {error}") from error
    if columns and "question" not in columns:
        shown = without_credentials(path)
        raise ExamplesError(f"the examples {shown} have no column 'question'; they have {', '.join(columns)}")
    return [replace_lone_surrogates(text) for text in texts if text.strip()]
