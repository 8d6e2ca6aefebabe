"""`openthoughts release`: list, show, rebuild and compare the versions of releases, and push one to the hub."""

import json
from pathlib import Path
from typing import Any

import click
import polars as pl

from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.release_push import card, push
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.lake import RELEASE_FUNNEL, LakeError
from openthoughts_dagster.landing.escaping import escape_control
from openthoughts_dagster.release import ReleaseError, ReleaseVersion, diff, find_version, list_versions, rebuild


@click.group()
def release() -> None:
    """Show the versions of the data sets that were made, make one again, compare two, and push one to the hub."""


release.add_command(push)
release.add_command(card)


@release.command("list")
@click.pass_obj
def list_releases(here: Deployment) -> None:
    """List every version, the newest first."""
    rows = [
        {
            "release": each.name,
            "teacher": each.teacher,
            "version": each.version,
            "made at": f"{each.made_at:%Y-%m-%d %H:%M} UTC",
            "rows": each.rows,
            "questions": each.questions,
            "short": "yes" if each.record["shortfalls"] else "no",
            "folder": each.path,
        }
        for each in reversed(list_versions(here.lake))
    ]
    click.echo(table(rows) if rows else "no release was made yet: materialize reasoning_dataset of a teacher")


@release.command()
@click.argument("version")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@click.pass_obj
def show(here: Deployment, version: str, as_json: bool) -> None:
    """Show what VERSION consists of, and what it was made from."""
    entry = _find(here, version)
    if as_json:
        click.echo(json.dumps(entry.record, indent=1, ensure_ascii=False))
        return
    record = entry.record
    click.echo(f"{entry.name} {entry.version}: {record['title']}, {record['licence']}")
    click.echo(f"{entry.rows:,} rows, {entry.questions:,} questions, answered by {entry.teacher}: {entry.path}")
    for sentence in record["shortfalls"]:
        click.echo(f"short: {sentence}")
    try:
        funnel = here.lake.at(entry.tables).scan(RELEASE_FUNNEL, teacher=entry.teacher).sort("order").collect()
        click.echo(table(funnel.select("step", "source", "questions", "answers", "note").to_dicts()))
    except LakeError:
        click.echo("the funnel of this version is gone from release_funnel; its card has it")
    code, libraries = record["code"], record["libraries"]
    click.echo(f"made by openthoughts-dagster {code['version']} ({code['sources'][:12]})")
    click.echo(f"libraries: {', '.join(f'{name} {number}' for name, number in libraries.items())}")
    click.echo(f"tables: {', '.join(f'{name} {number}' for name, number in entry.tables.items())}")


@release.command("rebuild")
@click.argument("version")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder for its files.")
@click.option("--from-present", is_flag=True, help="Read tables as they are where their old version is gone.")
@click.pass_obj
def rebuild_version(here: Deployment, version: str, folder: Path | None, from_present: bool) -> None:
    """Make the files of VERSION again, from the tables as they were when it was made."""
    entry = _find(here, version)
    target = folder or Path(f"{entry.name}-{entry.teacher}-{entry.version}")
    try:
        made = rebuild(here.lake, entry, target, from_present, here.recipe.folder, here.folders)
    except ReleaseError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{made.folder}: {entry.rows:,} rows, version {entry.version}")
    for name, (then, now) in made.libraries.items():
        click.echo(f"note: {name} was {then} and is {now}")
    if made.differing:
        shown = ", ".join(made.differing[:5]) + (", ..." if len(made.differing) > 5 else "")
        click.echo(f"the rows are the same; the bytes of {len(made.differing):,} files differ: {shown}")
    else:
        click.echo(f"all {len(entry.record['files']):,} Parquet files have the recorded bytes")


@release.command("diff")
@click.argument("before")
@click.argument("after")
@click.option("--limit", default=20, show_default=True, help="How many questions and answers are listed.")
@click.option("--json", "as_json", is_flag=True, help="Print every difference as JSON lines.")
@click.pass_obj
def diff_versions(here: Deployment, before: str, after: str, limit: int, as_json: bool) -> None:
    """Say which questions and answers came, went and changed from version BEFORE to version AFTER, and why."""
    first, second = _find(here, before), _find(here, after)
    try:
        found = diff(here.lake, first, second, here.folders)
    except ReleaseError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        for what, rows in (("question", found.questions), ("answer", found.answers)):
            for row in rows.iter_rows(named=True):
                click.echo(json.dumps({"what": what} | row, ensure_ascii=False))
        for column, count in found.described.items():
            click.echo(json.dumps({"what": "column", "change": "changed", "column": column, "answers": count}))
        if found.reordered:
            click.echo(json.dumps({"what": "order", "change": "changed"}))
        return
    click.echo(f"{found.same:,} answers are in both {first.version} and {second.version}")
    for column, count in found.described.items():
        click.echo(f"{count:,} of these have another {column}")
    if found.reordered:
        click.echo("these stand in another order")
    click.echo(table(found.counts().to_dicts()))
    for rows in (found.questions, found.answers):
        if rows.height:
            click.echo(f"\n{table(_shown(rows.head(limit)))}")
        if rows.height > limit:
            click.echo(f"... and {rows.height - limit:,} more: --json lists all")


def _shown(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return [row | {"reason": escape_control(row["reason"][:120])} for row in rows.to_dicts()]


def _find(here: Deployment, version: str) -> ReleaseVersion:
    try:
        return find_version(here.lake, version)
    except ReleaseError as error:
        raise click.ClickException(str(error)) from error
