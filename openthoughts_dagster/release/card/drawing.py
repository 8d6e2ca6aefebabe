"""Draws the funnel of a release as an SVG file: what every step left, by domain."""

from collections.abc import Mapping
from html import escape

import polars as pl

FUNNEL_PLOT = "funnel.svg"
"""Name of the plot's file beside README.md."""

_COLOURS = ("#4f6bed", "#2a9d8f", "#e9a23b", "#c8553d", "#7d5ba6", "#5c677d", "#8ab17d", "#b56576")
_WIDTH, _LABEL, _NUMBER, _BAR, _GAP = 920, 170, 270, 22, 10


def draw_funnel(funnel: pl.DataFrame) -> str:
    """Draw a bar for every step: the answers that are left, stacked by domain, with the number of questions.

    Args:
        funnel: Columns order, step, domain, questions and answers of the table release_funnel.

    Returns:
        The SVG document, which needs no network and no script.
    """
    steps = funnel.group_by("order", "step").agg(pl.col("questions").sum(), pl.col("answers").sum()).sort("order")
    parts = funnel.group_by("order", "domain").agg(pl.col("answers").sum()).sort("order", "domain")
    domains = sorted(funnel["domain"].unique())
    more = (f"hsl({137 * at % 360}, 45%, 70%)" for at in range(len(domains)))  # neighbouring hues are far apart
    colours = dict(zip(domains, (*_COLOURS, *more), strict=False))
    most = max(1, int(steps["answers"].max() or 0))  # type: ignore[arg-type]
    scale = (_WIDTH - _LABEL - _NUMBER) / most
    lines, y = [], _GAP
    for row in steps.iter_rows(named=True):
        own = parts.filter(pl.col("order") == row["order"])
        lines += [_text(_LABEL - 8, y, row["step"].replace("_", " "), "end")]
        lines += _draw_bar(dict(own.select("domain", "answers").iter_rows()), colours, scale, y)
        counts = f"{row['questions']:,} questions, {row['answers']:,} answers"
        lines.append(_text(_LABEL + row["answers"] * scale + 6, y, counts, "start"))
        y += _BAR + _GAP
    legend, y = _draw_legend(colours, y)
    lines += legend
    height = y + _BAR + _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#1c1e21">'
    )
    background = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, "<title>Questions and answers after every step</title>", background, *lines, "</svg>", ""])


def _draw_bar(answers: Mapping[str, int], colours: Mapping[str, str], scale: float, y: int) -> list[str]:
    x, drawn = float(_LABEL), []
    for domain, count in answers.items():
        width = count * scale
        drawn.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colours[domain]}">'
            f"<title>{escape(domain)}: {count:,} answers</title></rect>"
        )
        x += width
    return drawn


def _draw_legend(colours: Mapping[str, str], y: int) -> tuple[list[str], int]:
    """Draw the names of the domains, in as many lines as they need, and return where the last line is."""
    x, drawn = float(_LABEL), []
    for domain, colour in colours.items():
        width = 40 + 7 * len(domain)
        if x > _LABEL and x + width > _WIDTH:
            x, y = float(_LABEL), y + _BAR
        drawn += [f'<rect x="{x:.0f}" y="{y + 5}" width="12" height="12" fill="{colour}"/>', _text(x + 18, y, domain)]
        x += width
    return drawn, y


def _text(x: float, y: int, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y + 15}" text-anchor="{anchor}">{escape(text)}</text>'
