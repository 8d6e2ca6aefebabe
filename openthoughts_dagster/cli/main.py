"""The commands of `openthoughts`."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from openthoughts_dagster.cli.backfill import launch
from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.doctor import run_checks
from openthoughts_dagster.cli.doctor_lake import check_readings
from openthoughts_dagster.cli.drop import drop, name_options
from openthoughts_dagster.cli.instance import open_instance
from openthoughts_dagster.cli.items import compare, items
from openthoughts_dagster.cli.leaks import leaks
from openthoughts_dagster.cli.lock import lock
from openthoughts_dagster.cli.maintain import maintain_lake
from openthoughts_dagster.cli.plan import estimate_missing_answers, plan, show_release_problems
from openthoughts_dagster.cli.release import release
from openthoughts_dagster.cli.report import report
from openthoughts_dagster.cli.retry import refused_answers
from openthoughts_dagster.cli.status import count_states, describe_waiting
from openthoughts_dagster.cli.study import study
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.cli.trace import trace_command
from openthoughts_dagster.defs.alerts import ADDRESS
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import LakeError
from openthoughts_dagster.storage import Manifest, StorageError

_UI = "http://127.0.0.1:3000"


class DeploymentGroup(click.Group):
    """Commands for one deployment. When a table cannot be read, a command ends with one line and no traceback."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was chosen."""
        try:
            here = context.obj = Deployment(Settings.from_environment())
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        try:
            with here.lake.named_damage():
                return super().invoke(context)
        except LakeError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=DeploymentGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Work with a reasoning-data recipe from the terminal.

    The variables OPENTHOUGHTS_RECIPE, OPENTHOUGHTS_DATA and others name the recipe and the data; the README lists them.
    """


main.add_command(leaks)
main.add_command(lock)
main.add_command(items)
main.add_command(compare)
main.add_command(trace_command)
main.add_command(plan)
main.add_command(report)


def _with_launch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that launch a teacher's answers."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask after showing the plan."),
        click.option(
            "--ui",
            default=lambda: os.environ.get(ADDRESS) or _UI,
            help=f"Address of the UI. [default: {ADDRESS} or {_UI}]",
        ),
        click.option("--source", "sources", multiple=True, help="Only this source; may be repeated. All when absent."),
        click.option("--teacher", required=True, help="The teacher that answers."),
    ):
        command = option(command)
    return command


@main.command()
@_with_launch_options
@click.pass_obj
def backfill(here: Deployment, teacher: str, sources: Sequence[str], ui: str, yes: bool) -> None:
    """Launch the answers of one teacher to all sources: the same backfill as from the UI's dialog."""
    [teacher], names = here.teachers([teacher]), here.sources(sources)
    rows, total = estimate_missing_answers(here.recipe, here.lake, names, [teacher], here.folders)
    click.echo(table(rows))
    click.echo(total)
    show_release_problems(here.recipe)
    if not yes:
        click.confirm("Launch it?", abort=True)
    click.echo(f"launched: {launch(ui, teacher, names)}")


@main.command()
@_with_launch_options
@click.pass_obj
def retry(here: Deployment, teacher: str, sources: Sequence[str], ui: str, yes: bool) -> None:
    """Ask a teacher again what it refused permanently, such as prompts over a limit or without credit.

    Runs send such requests only once, since the same request would fail again. Use this when the cause is fixed.
    """
    [teacher], names, now = here.teachers([teacher]), here.sources(sources), datetime.now(UTC)
    rows, refused = refused_answers(here.recipe, here.lake, names, teacher, here.folders, now)
    click.echo(table(rows))
    if not refused:
        click.echo(f"no request to {teacher} failed permanently; `openthoughts backfill` asks for missing answers")
        return
    if not yes:
        click.confirm("Launch it?", abort=True)
    click.echo(f"launched: {launch(ui, teacher, refused, now)}")


@main.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Show the partitions of every asset by state, their rows, and what they cost."""
    here: Deployment = context.obj
    with open_instance(here.settings) as instance:
        rows, problems = count_states(here.recipe, here.lake, instance)
        waits = describe_waiting(here.recipe, instance)
    click.echo(table(rows))
    for line in waits:
        click.echo(line)
    for problem in problems:
        click.echo(f"PROBLEM {problem}", err=True)
    for finding in check_readings(here.recipe, here.settings):
        click.echo(f"note {finding.what}: {finding.says}")
    context.exit(1 if problems else 0)


@main.command()
@click.option("--files", default=50, show_default=True, help="Merge the files of partitions that have more than this.")
@click.pass_obj
def maintain(here: Deployment, files: int) -> None:
    """Merge the small files of all tables, and delete old files and leftovers."""
    rows, total = maintain_lake(here.lake, files, here.settings)
    click.echo(table(rows))
    click.echo(total)


@main.group()
def sources() -> None:
    """Add sources to the landing zone, beside those of the recipe."""


@sources.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--domain", required=True, help="Domain that picks scoring and selection, e.g. math.")
@click.option("--name", help="Name of the source; the file's when absent.")
@click.option("--question", default="question", show_default=True, help="Column or template of the question.")
@click.option("--answer", help="Column of the reference answer, when there is one.")
@click.option("--licence", default="unknown", show_default=True, help="SPDX licence identifier.")
@click.option("--replace", is_flag=True, help="Put it in the place of a source that landed under this name before.")
@click.pass_obj
def add(
    here: Deployment,
    file: Path,
    domain: str,
    name: str | None,
    question: str,
    answer: str | None,
    licence: str,
    replace: bool,
) -> None:
    """Check FILE and put it into the landing zone with a manifest, where the landing sensor finds it."""
    columns = {"question": question} | ({"answer": answer} if answer else {})
    manifest = {"reader": "files", "domain": domain, "licence": licence, "path": file.name, "columns": columns}
    try:
        dropped = drop(here.settings.landing, here.recipe, name or file.name.split(".")[0], file, manifest, replace)
    except (ValueError, OSError) as error:
        raise click.ClickException(name_options(str(error))) from error
    click.echo(f"{dropped.address} is complete ({dropped.describe()}); the landing sensor takes it at its next look")


main.add_command(study)
main.add_command(release)


@main.group()
def files() -> None:
    """Put folders into the object store, such as checkpoints of your own."""


@files.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("address")
@click.option("--replace", is_flag=True, help="Put it there even when another folder is complete there.")
@click.pass_obj
def put(here: Deployment, folder: Path, address: str, replace: bool) -> None:
    """Put a checkpoint FOLDER at ADDRESS, such as s3://bucket/models/mine, for a recipe's `model` to name."""
    try:
        wanted, holds = Manifest.of(folder), here.folders.put(folder, address, replace)
    except StorageError as error:
        raise click.ClickException(str(error)) from error
    if holds.content != wanted.content:
        raise click.ClickException(f"{address} has other files, which stay: choose another address, or give --replace")
    click.echo(f"{address} is complete: {len(holds.files)} files, {holds.size:,} bytes")


@main.command()
@click.option("--read-all", is_flag=True, help="Read every file of the lake, to find damage in any row. Slow.")
@click.pass_context
def doctor(context: click.Context, read_all: bool) -> None:
    """Check the recipe, the lake, engines, servers, keys and accelerators, and say what to do."""
    found = run_checks(context.obj.settings, read_all)
    for finding in found:
        mark = {True: "ok     ", False: "PROBLEM", None: "note   "}[finding.good]
        click.echo(f"{mark} {finding.what}: {finding.says}")
    context.exit(1 if any(finding.good is False for finding in found) else 0)
