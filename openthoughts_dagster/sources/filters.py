"""Filters of rows: the conditions in `where` of a source."""

from collections.abc import Mapping
from typing import Any

from openthoughts_dagster.recipe import RowFilter
from openthoughts_dagster.sources.columns import text_of, value_of
from openthoughts_dagster.sources.patterns import search


def matches_filter(condition: RowFilter, values: Mapping[str, Any]) -> bool:
    """Whether a row fits a filter. Of a list, one entry has to fit. An absent value never fits.

    Raises:
        PatternTimeout: A regular expression takes too long.
    """
    value = value_of(condition.column, values)
    entries = value if isinstance(value, list) else [value]
    return any(_fits(condition, entry) for entry in entries if entry is not None)


def describe_filter(condition: RowFilter) -> str:
    """Describe a filter in a few words, under which the rows that it leaves out are counted."""
    [(name, value)] = condition.model_dump(exclude={"column"}, exclude_none=True).items()
    return f"{condition.column} {name} {value}"


def _fits(condition: RowFilter, value: Any) -> bool:
    if condition.equals is not None:
        return _same(value, condition.equals)
    if condition.one_of is not None:
        return any(_same(value, wanted) for wanted in condition.one_of)
    if condition.matches is not None:
        return search(condition.matches, text_of(value)) is not None
    try:
        number = value if isinstance(value, int) else float(value)  # an integer may be larger than any float
    except (TypeError, ValueError):
        return False
    above = condition.at_least is None or number >= condition.at_least
    return above and (condition.at_most is None or number <= condition.at_most)


def _same(value: Any, wanted: Any) -> bool:
    """Whether a value equals the wanted one. The text "3", such as in a CSV file, equals the number 3."""
    if isinstance(value, str) and not isinstance(wanted, str):
        return value.strip().lower() == text_of(wanted).lower()
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)
