"""The metadata that people see on an asset's page: sample rows, plots and costs."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.generation.estimate import CostEstimate
from openthoughts_dagster.generation.usage import Usage
from openthoughts_dagster.landing.escaping import break_addresses

_CELL_CHARACTERS, _TEXT_CHARACTERS = 160, 1000
_WIDTH, _HEIGHT = 6.0, 2.6
_MOST_COUNTS = 20
_SIGNIFICANT_DIGITS = 4
Unit = str


def sample_rows(rows: pl.DataFrame, count: int = 5) -> dg.MetadataValue:
    """Show the first rows as a Markdown table, with long texts cut."""
    if rows.is_empty():
        return dg.MetadataValue.text("none")
    lines = ["| " + " | ".join(rows.columns) + " |", "|" + " --- |" * len(rows.columns)]
    lines += ["| " + " | ".join(_format_cell(value) for value in row) + " |" for row in rows.head(count).iter_rows()]
    return dg.MetadataValue.md("\n".join(lines))


def table(rows: pl.DataFrame, units: Mapping[str, Unit] | None = None) -> dg.MetadataValue:
    """Show rounded numbers with units, as a table that the UI can sort and copy.

    Args:
        rows: What to show. Full precision stays in the lake.
        units: The unit of each column: "%" for shares from 0 to 1, "s" for seconds, or another text after the number.
    """
    if rows.is_empty():
        return dg.MetadataValue.text("none")
    units = units or {}
    return dg.MetadataValue.table(
        [
            dg.TableRecord({name: _format_value(value, units.get(name)) for name, value in row.items()})
            for row in rows.iter_rows(named=True)
        ]
    )


def show_counts(values: Mapping[str, int] | pl.DataFrame, name: str) -> dg.MetadataValue:
    """Show how often each value occurs, the most frequent first, as a table with the columns `name` and count.

    Args:
        values: Counts by value, or rows whose column `name` is counted.
        name: What the values are, such as reason.
    """
    if isinstance(values, pl.DataFrame):
        values = dict(values[name].value_counts().iter_rows())
    rows = sorted(values.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_COUNTS]
    return table(pl.DataFrame(rows, schema={name: pl.String, "count": pl.Int64}, orient="row"))


def show_steps(counts_by_step: Mapping[str, int]) -> dg.MetadataValue:
    """Show how many rows each step left and removed, in order. `recorded_steps` reads this table."""
    left = list(counts_by_step.values())
    removed = [0, *(before - after for before, after in pairwise(left))]
    return table(pl.DataFrame({"step": list(counts_by_step), "rows": left, "removed": removed}))


def recorded_steps(value: Any) -> dict[str, int]:
    """Return the rows that each step left, from a value that `steps` made or from the pairs of older versions."""
    if isinstance(value, dg.TableMetadataValue):
        return {str(record.data["step"]): int(record.data["rows"] or 0) for record in value.records}
    return {str(step): int(rows) for step, rows in value} if isinstance(value, list) else {}


def side_by_side(rows: pl.DataFrame) -> dg.MetadataValue:
    """Show rows with texts that people compare. Texts are cut at a greater length than in samples."""
    if rows.is_empty():
        return dg.MetadataValue.text("none")
    lines = ["| " + " | ".join(rows.columns) + " |", "|" + " --- |" * len(rows.columns)]
    lines += [
        "| " + " | ".join(_format_cell(value, _TEXT_CHARACTERS) for value in row) + " |" for row in rows.iter_rows()
    ]
    return dg.MetadataValue.md("\n".join(lines))


def show_cost(spent: Usage) -> dict[str, Any]:
    """Show the completions, tokens, time and money of a generation."""
    shown: dict[str, Any] = {
        "completions_generated": spent.generated,
        "completions_reused": spent.reused,
        "completions_failed": spent.failed,
        "retries": spent.retries,
        "prompt_tokens": spent.prompt_tokens,
        "cached_tokens": spent.cached_tokens,
        "completion_tokens": spent.completion_tokens,
        "engine_seconds": round(spent.engine_seconds, 1),
        "tokens_per_second": round(spent.tokens_per_second, 1),
        "truncation_rate": round(spent.truncation_rate, 4),
        "cost": round(sum(spent.costs.values()), 6),
    }
    if len(priced := sorted(currency for currency, amount in spent.costs.items() if amount)) == 1:
        shown["currency"] = priced[0]
    elif priced:
        shown["cost"] = " + ".join(f"{spent.costs[currency]:,.6f} {currency}" for currency in priced)
    if spent.finish_reasons:
        shown["finish_reasons"] = show_counts(spent.finish_reasons, "finish_reason")
    return shown


def show_estimate(estimate: CostEstimate) -> dict[str, Any]:
    """Show the expected completions, tokens, time and money of a generation."""
    shown: dict[str, Any] = {
        "completions_to_generate": estimate.completions,
        "completions_reused": estimate.reused,
        "expected_prompt_tokens": round(estimate.prompt_tokens),
        "expected_completion_tokens": round(estimate.completion_tokens),
        "basis": estimate.basis,
    }
    if estimate.accelerator_hours is not None:
        shown["expected_accelerator_hours"] = round(estimate.accelerator_hours, 2)
    if estimate.cost is not None:
        shown["expected_cost"] = f"{estimate.cost:,.2f} {estimate.currency}"
    return shown


def draw_histogram(values: Iterable[float], title: str, times: Iterable[int] | None = None) -> dg.MetadataValue:
    """Plot the distribution of a score or a length. `times` says how often each value occurs; by default once."""
    figure, axes, values = *_figure(), list(values)
    weights = None if times is None else list(times)
    axes.hist(values, bins=min(30, max(5, len(set(values)))), weights=weights, color="#4f6bed")
    axes.set(title=title, ylabel="count")
    return _embed_picture(figure)


def draw_line(points: Sequence[tuple[float, float]], title: str, x: str, y: str) -> dg.MetadataValue:
    """Plot a curve, such as the loss over steps."""
    figure, axes = _figure()
    marker = "o" if len(points) < 10 else None  # a single point draws no line
    axes.plot([p[0] for p in points], [p[1] for p in points], color="#4f6bed", marker=marker)
    axes.set(title=title, xlabel=x, ylabel=y)
    return _embed_picture(figure)


def draw_bars(names: Sequence[str], values: Sequence[float], errors: Sequence[float], title: str) -> dg.MetadataValue:
    """Plot scores with two standard errors to each side, the best one on top."""
    figure, axes = _figure(0.9 + 0.35 * len(names))
    axes.barh(list(names), list(values), xerr=[2 * error for error in errors], color="#4f6bed", capsize=3)
    axes.invert_yaxis()
    below = [value - 2 * error for value, error in zip(values, errors, strict=True) if value < 0]  # z-scores
    axes.set(title=title, xlim=(min([0.0, *below]), max(1.0, *values)))
    return _embed_picture(figure)


def draw_stacked_bars(x: Sequence[str], parts: Sequence[str], values: Sequence[float], title: str) -> dg.MetadataValue:
    """Plot one bar of stacked parts for each x. The three lists have one entry for each pair of x and part."""
    figure, axes = _figure()
    places = list(dict.fromkeys(x))
    height = dict.fromkeys(places, 0.0)
    for part in sorted(set(parts)):
        own = {place: value for place, name, value in zip(x, parts, values, strict=True) if name == part}
        axes.bar(places, [own.get(p, 0.0) for p in places], bottom=[height[p] for p in places], label=part)
        height = {place: height[place] + own.get(place, 0.0) for place in places}
    axes.set(title=title)
    axes.legend()
    return _embed_picture(figure)


def draw_funnel(steps: Mapping[str, int]) -> dg.MetadataValue:
    """Plot how many rows each step left, with the first step on top."""
    figure, axes = _figure(0.6 + 0.35 * len(steps))
    names, values = list(steps), list(steps.values())
    axes.barh(names, values, color="#4f6bed")
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:,}", va="center")
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.2 * max(1, *values)), xticks=[])
    return _embed_picture(figure)


def _figure(height: float = _HEIGHT) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _embed_picture(figure: Any) -> dg.MetadataValue:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")


def _format_value(value: Any, unit: Unit | None) -> int | float | str:
    """Format a value of a table. Numbers without a unit stay numbers, so that the UI can sort them."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if unit == "%":
        return f"{value:.1%}"
    if unit is not None:
        return f"{value:,.1f} {unit}" if isinstance(value, float) else f"{value:,} {unit}"
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


def _format_cell(value: Any, characters: int = _CELL_CHARACTERS) -> str:
    """Format a value for one line of a Markdown table. Markup is escaped, since the value may be model output."""
    text = f"{value:.{_SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else str(value)
    text = break_addresses(text if len(text) <= characters else text[: characters - 1] + "…")
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;"), ("[", "&#91;")):
        text = text.replace(character, escaped)
    return " ".join(text.split())
