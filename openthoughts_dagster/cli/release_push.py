"""`openthoughts release push` and `card`: show what a push would change on the hub, push, and print the card."""

import tempfile
from pathlib import Path

import click

from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.instance import open_instance
from openthoughts_dagster.cli.local_runs import run_here
from openthoughts_dagster.defs.jobs import RELEASE_PUSH
from openthoughts_dagster.release import ReleaseError, release_of
from openthoughts_dagster.release.gates import find_gate_failures
from openthoughts_dagster.release.hub import HubError, HubRepository
from openthoughts_dagster.release.push_plan import PushPlan
from openthoughts_dagster.release.pushing import prepare_push
from openthoughts_dagster.storage import StorageError


@click.command()
@click.argument("teacher")
@click.option("--dry-run", is_flag=True, help="Only show the gates and what a push would change.")
@click.option("--yes", is_flag=True, help="Do not ask after showing what changes.")
@click.pass_obj
def push(here: Deployment, teacher: str, dry_run: bool, yes: bool) -> None:
    """Push the version of TEACHER that was made last to the hub: one commit with everything, and a tag.

    The token is read from the variable that the recipe's `release.hub.token_variable` names.
    """
    [teacher] = here.teachers([teacher])
    try:
        failed = find_gate_failures(here.lake, here.recipe, teacher)
        for result in failed:
            click.echo(f"STOPPED {result.describe()}", err=True)
        plan = _plan(here, teacher)
    except (ReleaseError, HubError, StorageError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(plan.describe()))
    if failed:
        stop = "1 gate stops" if len(failed) == 1 else f"{len(failed)} gates stop"
        raise click.ClickException(f"{stop} the release: docs/release.md has what each means")
    if dry_run:
        return
    if not yes:
        click.confirm("Push it?", abort=True)
    _push(here, teacher)


@click.command()
@click.argument("teacher")
@click.pass_obj
def card(here: Deployment, teacher: str) -> None:
    """Print the card of TEACHER's version as a push would write it now.

    Scores and studies that came after the version are in it.
    """
    [teacher] = here.teachers([teacher])
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = prepare_push(here.lake, here.recipe, teacher, here.folders, Path(scratch) / "push")
            click.echo(folder.files()["README.md"].read_text(), nl=False)
    except (ReleaseError, StorageError) as error:
        raise click.ClickException(str(error)) from error


def _plan(here: Deployment, teacher: str) -> PushPlan:
    hub = release_of(here.recipe).hub
    if hub is None:
        raise ReleaseError(
            "the recipe has no `release.hub`: add `hub: {repository: ORGANIZATION/NAME}` to its `release`"
        )
    repository = HubRepository(hub)
    with tempfile.TemporaryDirectory() as scratch:
        folder = prepare_push(here.lake, here.recipe, teacher, here.folders, Path(scratch) / "push")
        return repository.plan(folder)


def _push(here: Deployment, teacher: str) -> None:
    """Materialize hub_dataset in this process, so that the UI shows the push as any other run."""
    from openthoughts_dagster.defs.build import build_definitions

    definitions = build_definitions(here.recipe, here.settings)
    with open_instance(here.settings) as instance:
        run = run_here(definitions, instance, RELEASE_PUSH, teacher)
    if run.problem:
        raise click.ClickException(run.problem)
    click.echo(f"pushed {release_of(here.recipe).name} of {teacher}")
