"""`openthoughts lock`: it writes the commits of the hub's data sets and models beside the recipe, or compares them."""

from pathlib import Path

import click

from openthoughts_dagster.cluster import ClusterError
from openthoughts_dagster.evaluation import BenchmarkError
from openthoughts_dagster.evaluation.kinds.lighteval import task_data
from openthoughts_dagster.landing.locking import Task, compare_locks, newest_lock
from openthoughts_dagster.recipe import LightevalBenchmark, Recipe, RecipeError, find_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.recipe.lock import HubReference, Lock, LockError, lock_path, read_lock
from openthoughts_dagster.recipe.lock_references import hub_references, task_name


@click.command()
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing: say which commits are no longer the newest on the hub. Exit status 1 if any.",
)
@click.pass_context
def lock(context: click.Context, check: bool) -> None:
    """Write the commits of the hub's data sets and models into a lock file beside the recipe.

    Runs read these commits. The newest ones are taken. Sources that landed are not locked, and a commit that the recipe
    names stays.
    """
    try:
        file = find_recipe(context.obj.settings.recipe)
        recipe, there = context.obj.settings.load_recipe(locked=False), read_lock(file)
        _require_own_recipe(file, there, check)
        tasks = _tasks(recipe)
        newest = newest_lock(hub_references(recipe), tasks)
    except (RecipeError, ClusterError, LockError, BenchmarkError) as error:
        raise click.ClickException(f"{error}; nothing was written" if not check else str(error)) from error
    changes, path = compare_locks(there or Lock(), newest), lock_path(file)
    for change in changes:
        click.echo(change.describe())
    if check:
        click.echo(f"{path}: {len(changes)} differences" if changes else f"{path}: nothing has moved")
        context.exit(1 if changes else 0)
    _write(path, newest)
    count = len(newest.datasets) + len(newest.models) + len(newest.tasks)
    click.echo(f"{path} has {count} commits. Reload the definitions, so that runs read them")


def _require_own_recipe(file: Path, there: Lock | None, check: bool) -> None:
    if check and there is None:
        raise LockError(f"there is no {lock_path(file)}: `openthoughts lock` writes it")
    if not check and file.is_relative_to(Path(SHIPPED).resolve()):
        raise LockError(
            f"{file} comes with the package: copy its folder, set OPENTHOUGHTS_RECIPE to the copy, and lock that"
        )


def _tasks(recipe: Recipe) -> list[Task]:
    """List lighteval's tasks and their data sets. A task that reads several data sets cannot be locked."""
    found: dict[str, HubReference] = {}
    for benchmark in recipe.evaluation.benchmarks:
        if isinstance(benchmark, LightevalBenchmark) and benchmark.revision is None:
            data = task_data(benchmark)
            if len(data) > 1:
                click.echo(f"evaluation.benchmarks.{benchmark.name}: reads several data sets, which are not locked")
            elif data:
                [found[task_name(benchmark)]] = data
    return list(found.items())


def _write(path: Path, newest: Lock) -> None:
    """Write the file whole or not at all."""
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(newest.text(), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
