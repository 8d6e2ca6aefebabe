"""Pages of benchmark items: every answer of a student, and two students side by side."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from openthoughts_dagster.evaluation.statistics import holm_adjusted, paired_bootstrap
from openthoughts_dagster.pages import Html, details, heading, note, page, preformatted
from openthoughts_dagster.pages.html import escaped

_FILTER = """
const choices = [...document.querySelectorAll("nav select")];
function show() {
  let shown = 0;
  for (const item of document.querySelectorAll("section")) {
    item.hidden = !choices.every(choice => !choice.value || item.dataset[choice.name] === choice.value);
    shown += !item.hidden;
  }
  document.getElementById("shown").textContent = shown;
}
choices.forEach(choice => choice.addEventListener("change", show));
show();
"""


def items_page(label: str, items: pl.DataFrame, total: int) -> str:
    """Return a page with every answer, which can be filtered by benchmark and by verdict.

    Args:
        label: The name of the student.
        items: Rows of `benchmark_items`.
        total: How many rows there are; the page says when it has fewer.
    """
    return page(
        f"Answers of {label}",
        heading(f"Answers of {label}", 1),
        _describe_part(items.height, total, "answers"),
        _filters({"benchmark": items["benchmark"], "verdict": items["verdict"]}),
        *(_item_section(row) for row in items.iter_rows(named=True)),
        script=_FILTER,
    )


def comparison_page(first: str, second: str, rows: pl.DataFrame, limit: int = 0) -> str:
    """Return a page with the answers of two students side by side.

    Args:
        first: The name of one student.
        second: The name of the other.
        rows: Rows of `compare_items`; all of them are counted.
        limit: How many of them are shown; 0 shows all.
    """
    shown = rows.head(limit) if limit else rows
    names = {"first": first, "second": second}
    return page(
        f"{first} and {second}",
        heading(f"{first} and {second}", 1),
        note("; ".join(f"{count:,} solved by {who}" for who, count in count_solved(rows, first, second).items())),
        *(note(line) for line in describe_differences(rows, first, second)),
        _describe_part(shown.height, rows.height, "items"),
        _filters({"benchmark": shown["benchmark"], "verdict": shown["solved"]}, names),
        *(_comparison_section(row, names) for row in shown.iter_rows(named=True)),
        script=_FILTER,
    )


def count_solved(rows: pl.DataFrame, first: str, second: str) -> dict[str, int]:
    """Count the items by who solved them, under the names of the two students."""
    counts = dict(rows["solved"].value_counts().iter_rows())
    names = {"first": f"{first} alone", "second": f"{second} alone", "both": "both alike", "neither": "neither"}
    return {name: int(counts.get(key, 0)) for key, name in names.items()}


def describe_differences(rows: pl.DataFrame, first: str, second: str) -> list[str]:
    """Say by how much one student is better than the other, and whether chance would explain it.

    Args:
        rows: Rows of `compare_items`.
        first: The name of one student.
        second: The name of the other.

    Returns:
        A line for each benchmark of at least two items. P-values are by paired bootstrap, after Holm's correction.
    """
    scored = rows.with_columns(item=pl.concat_str("metric", "item", separator=" "))
    found = {
        str(name): paired_bootstrap(
            own.select("benchmark", "item", score="first_score"), own.select("benchmark", "item", score="second_score")
        )
        for (name,), own in scored.partition_by("benchmark", as_dict=True, maintain_order=True).items()
        if own.height > 1
    }
    p_values = holm_adjusted({name: each.p_value for name, each in found.items()})
    return [
        f"{name}: {first} minus {second} is {each.difference:+.1%} +- {100 * each.standard_error:.1f} "
        f"on {each.items:,} items, 95% from {each.low:+.1%} to {each.high:+.1%}, p = {p_values[name]:.2g}"
        for name, each in found.items()
    ]


def _describe_part(shown: int, total: int, what: str) -> Html:
    more = f"The page has the first {shown:,} of {total:,} {what}." if shown < total else f"{total:,} {what}."
    return note(more)


def _filters(columns: Mapping[str, Iterable[str]], names: Mapping[str, str] | None = None) -> Html:
    selects = ""
    for name, values in columns.items():
        options = "".join(
            f'<option value="{escaped(value)}">{escaped((names or {}).get(value, value))}</option>'
            for value in sorted(set(values))
        )
        selects += f'<label>{name} <select name="{name}"><option value="">all</option>{options}</select></label>'
    return Html(f'<nav>{selects}<span id="shown"></span> shown</nav>')


def _section(benchmark: str, verdict: str, *parts: Html) -> Html:
    content = "".join(parts)
    return Html(f'<section data-benchmark="{escaped(benchmark)}" data-verdict="{escaped(verdict)}">{content}</section>')


def _item_section(row: Mapping[str, Any]) -> Html:
    repeat = "" if row["repeat"] is None else f", repeat {row['repeat']}"
    title = Html(f"<b class={row['verdict']}>{row['verdict']}</b> {escaped(row['benchmark'])} {escaped(row['item'])}")
    if row["completion_id"] is None:
        return _section(row["benchmark"], row["verdict"], heading(title, 3), note(OLD_ROWS))
    facts = (
        f"{row['finish_reason']}, {row['completion_tokens']:,} tokens, seed {row['seed']}{repeat}, "
        f"completion {row['completion_id']}"
        if row["finish_reason"] is not None
        else f"completion {row['completion_id']} is not in the ledger any more{repeat}"
    )
    return _section(
        row["benchmark"],
        row["verdict"],
        heading(title, 3),
        note(facts),
        preformatted(row["prompt"]),
        details("reasoning", preformatted(row["reasoning"])) if row["reasoning"] else Html(""),
        preformatted(row["answer"] if row["error"] is None else row["error"]),
        note(f"read: {_or_nothing(row['extracted'])}; reference: {_or_nothing(row['reference'])}"),
    )


def _comparison_section(row: Mapping[str, Any], names: Mapping[str, str]) -> Html:
    sides = "".join(f"<div>{_side(row, side, name)}</div>" for side, name in names.items())
    return _section(
        row["benchmark"],
        row["solved"],
        heading(f"{row['benchmark']} {row['item']}", 3),
        preformatted(row["prompt"]),
        note(f"reference: {_or_nothing(row['reference'])}"),
        Html(f"<div class=sides>{sides}</div>"),
    )


def _side(row: Mapping[str, Any], side: str, name: str) -> str:
    score = row[f"{side}_score"]
    kind = "right" if score >= 1 else "partly" if score > 0 else "wrong"
    title = Html(f"<b class={kind}>{score:.0%}</b> {escaped(name)}")
    reasoning = row[f"{side}_reasoning"]
    return (
        heading(title, 3)
        + (details("reasoning", preformatted(reasoning)) if reasoning else "")
        + preformatted(row[f"{side}_answer"] if row[f"{side}_error"] is None else row[f"{side}_error"])
        + note(f"read: {_or_nothing(row[f'{side}_extracted'])}; {row[f'{side}_finish_reason'] or ''}")
    )


def _or_nothing(text: str | None) -> str:
    return "nothing" if text is None else text


OLD_ROWS = (
    "An earlier version wrote this score and did not note which completions it is made of. Materialize the scores "
    "again: the answers are in the ledger, so nothing is asked or paid for."
)
"""What is said about rows that name no completions."""
