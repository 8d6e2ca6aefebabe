"""`openthoughts items` and `openthoughts compare`: every answer to every benchmark item."""

import json
from pathlib import Path
from typing import Any

import click
import polars as pl

from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.files import write_page
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.evaluation import benchmark_items, compare_items
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.inspection.item_pages import (
    OLD_ROWS,
    comparison_page,
    count_solved,
    describe_differences,
    items_page,
)
from openthoughts_dagster.inspection.students import ScoredStudent, StudentNotFound, find_student
from openthoughts_dagster.lake import COMPLETIONS
from openthoughts_dagster.storage import StorageError

_CHARACTERS = 60

_limit = click.option("--limit", default=100, show_default=True, help="Most rows that are shown; 0 shows all.")
_html = click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML page to this file."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with all texts.")
_benchmark = click.option("--benchmark", help="Only this benchmark.")


@click.command()
@click.argument("student")
@_benchmark
@click.option("--wrong", is_flag=True, help="Only answers that are not right.")
@_limit
@_html
@_json
@click.pass_obj
def items(
    here: Deployment, student: str, benchmark: str | None, wrong: bool, limit: int, html: Path | None, as_json: bool
) -> None:
    """Show every answer of STUDENT to every benchmark item.

    STUDENT is a cell SOURCE/TEACHER, the student of an arm STUDY.ARM.SEED, the teacher of a release, a reference such
    as `untrained`, or the fingerprint of a student.
    """
    found = _find(here, student)
    rows = _rows(here, found, benchmark)
    if wrong:
        rows = rows.filter(pl.col("verdict") != "right")
    shown = rows.head(limit) if limit else rows
    if html is not None:
        write_page(html, items_page(found.label, shown, rows.height))
    elif as_json:
        _print_json(shown)
    else:
        click.echo(table([_item_row(row) for row in shown.iter_rows(named=True)]))
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in rows["verdict"].value_counts().iter_rows())
        click.echo(f"{shown.height:,} of {rows.height:,} answers of {found.label}: {counts or 'none'}")
    if old := rows["completion_id"].null_count():
        click.echo(f"{old:,} items: {OLD_ROWS} {_describe_kept(here, found)}", err=True)


@click.command()
@click.argument("first")
@click.argument("second")
@_benchmark
@_limit
@_html
@_json
@click.pass_obj
def compare(
    here: Deployment,
    first: str,
    second: str,
    benchmark: str | None,
    limit: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show what student FIRST solved and SECOND did not, and the other way, with the texts side by side.

    Both are named as for `openthoughts items`. Items that only one of the two solved come first.
    """
    one, other = _find(here, first), _find(here, second)
    rows = compare_items(_rows(here, one, benchmark), _rows(here, other, benchmark))
    if rows.is_empty():
        raise click.ClickException(f"{one.label} and {other.label} share no benchmark item")
    shown = rows.head(limit) if limit else rows
    if html is not None:
        write_page(html, comparison_page(one.label, other.label, rows, limit))
    elif as_json:
        _print_json(shown)
    else:
        names = {"first": one.label, "second": other.label}
        click.echo(table([_comparison_row(row, names) for row in shown.iter_rows(named=True)]))
        counts = count_solved(rows, one.label, other.label)
        click.echo(f"{rows.height:,} items: " + ", ".join(f"{count:,} by {who}" for who, count in counts.items()))
        for line in describe_differences(rows, one.label, other.label):
            click.echo(line)


def _find(here: Deployment, name: str) -> ScoredStudent:
    try:
        return find_student(here.lake, name)
    except StudentNotFound as error:
        raise click.ClickException(str(error)) from error


def _describe_kept(here: Deployment, found: ScoredStudent) -> str:
    """Say how many answers of a student are in the ledger, from which its scores can be made again."""
    if found.students is None:
        return ""
    path = here.lake.scan(found.students, **found.partition).select("path").head(1).collect()
    try:
        trained = here.recipe.student.model_copy(update={"model": path.item(), "revision": None})
        model = locate(trained, here.recipe.folder, here.folders, weights=False)
    except (EngineError, StorageError, ValueError) as error:
        return f"How many of them are kept is not known: {str(error).splitlines()[0]}"
    answered = here.lake.scan(COMPLETIONS, model=model.identity.partition).filter(pl.col("error").is_null())
    return f"The ledger has {answered.select(pl.len()).collect().item():,} answers of this student."


def _rows(here: Deployment, student: ScoredStudent, benchmark: str | None) -> pl.DataFrame:
    rows = benchmark_items(here.lake, student.scores, **student.partition)
    if benchmark is None:
        return rows.collect()
    known = here.lake.scan(student.scores, **student.partition).select(pl.col("benchmark").unique().sort()).collect()
    if benchmark not in known["benchmark"]:
        there = ", ".join(known["benchmark"])
        raise click.ClickException(f"{student.label} has no scores on {benchmark!r}; it has scores on {there}")
    return rows.filter(pl.col("benchmark") == benchmark).collect()


def _print_json(rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        click.echo(json.dumps(row, ensure_ascii=False, default=str))


def _item_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "benchmark": row["benchmark"],
        "item": row["item"][:12],
        "repeat": row["repeat"],
        "verdict": row["verdict"],
        "prompt": _one_line(row["prompt"]),
        "answer": _one_line(row["answer"] if row["error"] is None else row["error"]),
        "read": _one_line(row["extracted"], 20),
        "reference": _one_line(row["reference"], 20),
        "finish": row["finish_reason"],
        "tokens": row["completion_tokens"],
    }


def _comparison_row(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {
        "benchmark": row["benchmark"],
        "item": row["item"][:12],
        "solved by": names.get(row["solved"], row["solved"]),
        "prompt": _one_line(row["prompt"]),
        "reference": _one_line(row["reference"], 20),
        **{name: _one_line(row[f"{side}_error"] or row[f"{side}_answer"]) for side, name in names.items()},
    }


def _one_line(text: str | None, characters: int = _CHARACTERS) -> str | None:
    """Show the end of a text in one line, without characters that would control the terminal."""
    if text is None:
        return None
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= characters else "…" + line[1 - characters :]
