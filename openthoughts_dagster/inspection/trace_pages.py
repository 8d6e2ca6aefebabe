"""Shows a trace as text for a terminal, and as one HTML page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openthoughts_dagster.pages import Html, details, heading, note, page, paragraph, preformatted, table

Row = Mapping[str, Any]
_SECTIONS = {
    "origins": "Where it is from",
    "written_by": "Written by a judge",
    "scores": "Scores",
    "replies": "What judges replied",
    "decisions": "Why it was kept or dropped",
    "duplicates": "Its duplicates",
    "answers": "Answers",
    "students": "Students that learned from it",
    "release": "In the release",
}
_LONG = ("reasoning", "answer", "reply", "prompt", "question")
_HIDDEN = ("model", "path", "sampling", "outcome")


def trace_text(traced: Row) -> str:
    """Return a trace as lines for a terminal."""
    return "\n".join(_lines(traced))


def trace_page(traced: Row) -> str:
    """Return a trace as one HTML page."""
    parts = [heading(f"Trace of {traced['id']}", 1)]
    if traced.get("release_row"):
        parts += [heading("Row of the release"), _downwards(traced["release_row"])]
    if traced["completion"]:
        parts += [heading("Completion"), *_completion_parts(traced["completion"])]
    for item in traced.get("benchmark_items") or []:
        parts += [heading("Answers an item of a benchmark"), _downwards(item)]
    for question in traced["questions"]:
        parts += list(_question_parts(question))
    return page(f"Trace of {traced['id']}", *parts)


def item_text(traced: Row) -> str:
    """Return the training questions that are like a benchmark's item as lines for a terminal."""
    lines = [f"{traced['benchmark']} {traced['item']}: {_one_line(traced['question'])}", "", "most like it:"]
    for row in traced["training_questions"]:
        about = f"{row['question_id']} of {row['source']}: {_one_line(row['question'])}"
        count = len(row["training_sets"])
        lines.append(f"  {row['similarity']:5.1f}  {about}")
        lines.append(f"         shares {_one_line(row['shared'])!r}; {count:,} students learned it")
    lines += ["nothing: no question is curated yet"] if not traced["training_questions"] else []
    leaks = [f"  {r['question_id']} of {r['source']}: {_one_line(r['question'])}" for r in traced["dropped_as_leaks"]]
    lines += ["", "dropped as leaks of it:", *leaks] if leaks else []
    return "\n".join(lines)


def item_page(traced: Row) -> str:
    """Return the training questions that are like a benchmark's item as one HTML page."""
    rows = [
        {**row, "similarity": f"{row['similarity']:.1f}", "training_sets": ", ".join(row["training_sets"])}
        for row in traced["training_questions"]
    ]
    title = f"Item {traced['item']} of {traced['benchmark']}"
    return page(
        title,
        heading(title, 1),
        preformatted(traced["question"]),
        heading("Training questions that are most like it"),
        note("Similarity is from 0 to 100; `shared` is the longest run of words that both have."),
        table(_with_titles(rows), texts=True),
        heading("Questions that were dropped as leaks of it"),
        table(_with_titles(traced["dropped_as_leaks"]), texts=True),
    )


def _question_parts(question: Row) -> Iterator[Html]:
    about = question["question"]
    yield heading(f"Question {about['question_id']}")
    yield preformatted(about["question"])
    yield note(f"domain {about['domain']}; reference answer: {about['reference_answer'] or 'none'}")
    for key, title in _SECTIONS.items():
        rows = question.get(key) or []
        if key in ("written_by", "replies", "release") and not rows:
            continue
        yield heading(title, 3)
        yield table(_without_empty([_flat(row) for row in rows]), texts=True)
        for row in rows:
            for name in ("prompt", "reasoning", "answer", "reply"):
                if row.get(name):
                    yield details(f"{_name_of(row)}: {name}", preformatted(row[name]))


def _completion_parts(row: Row) -> Iterator[Html]:
    yield _downwards(row)
    for name in ("prompt", "reasoning", "answer"):
        yield details(name, preformatted(row[name])) if row[name] else Html("")
    yield paragraph(row["error"])


def _downwards(row: Row) -> Html:
    """Show one row with a line for each of its columns, which are too many to stand side by side."""
    return table([{"": name, "value": value} for name, value in _flat(row).items() if value], texts=True)


def _without_empty(rows: list[dict[str, str | None]]) -> list[dict[str, str | None]]:
    """Leave out the columns that are empty in every row."""
    shown = {name: None for row in rows for name, value in row.items() if value not in (None, "", "{}")}
    return [{name: row.get(name) for name in shown} for row in rows]


def _with_titles(rows: Sequence[Row]) -> list[Row]:
    return [{name.replace("_", " "): value for name, value in row.items()} for row in rows]


def _lines(traced: Row) -> Iterator[str]:
    if traced.get("release_row"):
        yield "row of the release"
        yield from _row_lines(traced["release_row"])
    if traced["completion"]:
        yield f"completion {traced['completion']['completion_id']}"
        yield from _row_lines(traced["completion"])
    for item in traced.get("benchmark_items") or []:
        yield "answers an item of a benchmark"
        yield from _row_lines(item)
    for question in traced["questions"]:
        about = question["question"]
        yield f"question {about['question_id']}"
        yield f"  {_one_line(about['question'], 400)}"
        yield f"  domain {about['domain']}; reference answer: {_one_line(about['reference_answer']) or 'none'}"
        for key, title in _SECTIONS.items():
            rows = question.get(key) or []
            if rows or key in ("decisions", "answers", "students"):
                yield f"{title.lower()}: {'' if rows else 'none'}".rstrip()
            for row in rows:
                yield from _row_lines(row)


def _row_lines(row: Row) -> Iterator[str]:
    flat = {name: value for name, value in _flat(row).items() if value not in (None, "")}
    yield "  - " + "; ".join(f"{name} {_one_line(value)}" for name, value in flat.items())
    for name in _LONG:
        if row.get(name) and name not in flat:
            yield f"      {name}: {_one_line(row[name], 200)}"


def _flat(row: Row) -> dict[str, str | None]:
    """Return the short values of a row as texts; long texts are shown beside it."""
    shown: dict[str, str | None] = {}
    for name, value in row.items():
        if name in _HIDDEN or (name in ("reasoning", "answer", "reply", "prompt")):
            continue
        shown[name.replace("_", " ")] = _as_text(name, value, row)
    return {name: value for name, value in shown.items() if name != "currency"}


def _as_text(name: str, value: Any, row: Row) -> str | None:
    if value is None:
        return None
    if name == "engine":
        return _engine(str(value))
    if name == "cost":
        return f"{value:,.6f} {row.get('currency') or ''}".strip() if value else "no price"
    if name == "created_at":
        return f"{value:%Y-%m-%d %H:%M} UTC"
    if name == "scores" and isinstance(value, Mapping):
        return ", ".join(f"{benchmark} {score:.1%}" for benchmark, score in value.items())
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _engine(text: str) -> str:
    engine = json.loads(text or "{}")
    return " ".join(str(engine[name]) for name in ("name", "version") if name in engine)


def _name_of(row: Row) -> str:
    names = [row.get(name) for name in ("of", "sample_index", "score", "judge", "completion_id")]
    return " ".join(str(name) for name in names if name is not None)


def _one_line(value: Any, characters: int = 160) -> str:
    """Return a text in one line, without characters that would control the terminal."""
    if value is None:
        return ""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())
    return line if len(line) <= characters else line[: characters - 1] + "…"
