"""The parts of an HTML page that is one file.

Every function takes plain values and escapes them, and returns `Html`, which the others take as it is. So a text of a
model, a data set or a recipe can never become markup. The page's policy forbids browsers to load anything.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1e21 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem } h3 { font-size: 1rem }
.lead { font-size: 1.15rem; font-weight: 600 } .note { color: #555 }
table { border-collapse: collapse } th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td { white-space: nowrap } th:first-child, td:first-child { text-align: left }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 14rem }
td.long { white-space: normal }
.texts td, .texts th { text-align: left; vertical-align: top }
pre { background: #f4f5f7; padding: .8rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere }
section { border-top: 1px solid #ddd; padding: .4rem 0 } section[hidden] { display: none }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem } .sides > div { min-width: 0 }
.right { color: #1a7f37 } .wrong, .failed { color: #b3261e } .partly, .unknown { color: #8a6d00 }
svg { max-width: 100%; height: auto } nav { margin: 1rem 0 } select { font: inherit; margin-right: 1rem }
"""


class Html(str):
    """Markup that was made by this module, or that a caller vouches for."""

    __slots__ = ()


def page(title: str, *parts: Html, script: str = "") -> str:
    """Return a whole page.

    Args:
        title: The title of the window.
        *parts: Its content, in order; empty parts are left out.
        script: JavaScript of this code base, which runs after the content. It must contain nothing from elsewhere.
    """
    body = "\n".join(part for part in parts if part)
    head = (
        f'<meta charset=utf-8><meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    return f"<!doctype html><html lang=en>{head}{body}" + (f"<script>{script}</script>" if script else "")


def escaped(value: Any) -> Html:
    """Return a value as text for a page: markup stays, None is empty, and everything else is escaped."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else escape(str(value)))


def heading(text: Any, level: int = 2) -> Html:
    """Return a heading."""
    return Html(f"<h{level}>{escaped(text)}</h{level}>")


def paragraph(text: Any, kind: str = "") -> Html:
    """Return a paragraph; `kind` is `lead` for the sentence that matters, or empty. An empty text gives nothing."""
    if not text:
        return Html("")
    return Html(f"<p class={kind}>{escaped(text)}</p>" if kind else f"<p>{escaped(text)}</p>")


def note(text: Any) -> Html:
    """Return a remark in grey. An empty text gives nothing."""
    return paragraph(text, "note")


def preformatted(text: Any) -> Html:
    """Return a text whose lines stay as they are. None gives nothing."""
    return Html("") if text is None else Html(f"<pre>{escaped(text)}</pre>")


def details(summary: Any, *parts: Html) -> Html:
    """Return parts that a click on `summary` shows."""
    return Html(f"<details><summary>{escaped(summary)}</summary>{''.join(parts)}</details>")


def bullets(lines: Iterable[Any]) -> Html:
    """Return a list of lines."""
    return Html("<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in lines) + "</ul>")


def link(text: Any, address: str) -> Html:
    """Return a link. An address that is not of the web is shown as text: its scheme could run code."""
    if not address.startswith(("http://", "https://")):
        return escaped(text)
    return Html(f'<a href="{escape(address)}" rel="noreferrer">{escaped(text)}</a>')


def table(rows: Iterable[Mapping[str, Any]], texts: bool = False) -> Html:
    """Return rows as a table under the names of the first row's columns.

    Args:
        rows: Cells by column; what is not `Html` is escaped.
        texts: Whether the cells are sentences, which are wrapped and begin at the left, and not numbers.
    """
    listed = list(rows)
    if not listed:
        return note("none")
    names, cell = list(listed[0]), "<td class=long>" if texts else "<td>"
    head = "".join(f"<th>{escaped(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"{cell}{escaped(row.get(name))}</td>" for name in names) + "</tr>" for row in listed
    )
    return Html(f"<table{' class=texts' if texts else ''}><tr>{head}</tr>{body}</table>")


def bar_chart(names: Sequence[str], values: Sequence[float], title: str = "") -> Html:
    """Return horizontal bars with their numbers, the first on top."""
    chart, axes = new_figure(0.6 + 0.36 * len(names))
    axes.barh(list(names), list(values), color="#4f6bed")
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:,.6g}", va="center")
    axes.invert_yaxis()
    axes.set(title=title, xlim=(0, 1.2 * max([1e-9, *values])), xticks=[])
    return figure(chart)


def new_figure(height: float, width: float = 8) -> tuple[Any, Any]:
    """Return a matplotlib figure of some inches and its axes, without global state."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return made, axes


def figure(made: Any) -> Html:
    """Return a matplotlib figure as SVG. Its texts are drawn as paths, so they can contain no markup."""
    picture = io.StringIO()
    made.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    return Html(picture.getvalue()[picture.getvalue().index("<svg") :])
