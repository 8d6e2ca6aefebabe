"""Rows as text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as aligned columns under their names. Numbers, and texts such as 12.5%, are aligned to the right."""
    if not rows:
        return "nothing"
    names = list(rows[0])
    right = ["right" if all(_is_number(row[name]) for row in rows) else "left" for name in names]
    cells = [[_format_value(row[name]) for name in names] for row in rows]
    text = tabulate(cells, headers=names, tablefmt="plain", colalign=right, disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.endswith("%") and value[:-1].replace(".", "", 1).lstrip("+-").isdigit()
    return value is None or isinstance(value, int | float)


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
