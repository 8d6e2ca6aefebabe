"""Writes tables and numbers in Markdown. Every text is escaped."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from openthoughts_dagster.landing.escaping import escape_markdown

_CELL = 300


def format_cell(value: Any, characters: int = _CELL) -> str:
    """Format a value for one cell: numbers with separators, texts cut, on one line and escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    text = " ".join(str(value).split())
    return escape_markdown(text if len(text) <= characters else text[: characters - 1] + "…")


def format_table(rows: pl.DataFrame | Sequence[dict[str, Any]], titles: Sequence[str] | None = None) -> str:
    """Format rows as a Markdown table.

    Args:
        rows: The rows.
        titles: The heads of the columns; their names by default.

    Returns:
        The table, or `none` in italics when there is no row.
    """
    listed = rows.to_dicts() if isinstance(rows, pl.DataFrame) else list(rows)
    if not listed:
        return "*none*"
    heads = list(titles or [name.replace("_", " ") for name in listed[0]])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(format_cell(value) for value in row.values()) + " |" for row in listed]
    return "\n".join(lines)


def format_share(value: float) -> str:
    """Format a share from 0 to 1 in percent."""
    return f"{value:.1%}"


def format_seconds(seconds: float) -> str:
    """Format a duration in the unit in which it is short."""
    for unit, factor in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:,.1f} {unit}"
    return f"{seconds:.1f} s"
