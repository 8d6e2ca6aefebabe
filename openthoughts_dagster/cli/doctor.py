"""`openthoughts doctor`: it finds problems of a deployment and says what to do about them."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import click

from openthoughts_dagster.cli.doctor_daemon import check_daemon
from openthoughts_dagster.cli.doctor_lake import (
    check_lake,
    check_materializations,
    check_readings,
    check_recipes_of_lake,
    check_space,
    check_writable,
)
from openthoughts_dagster.cli.doctor_models import check_models, check_servers
from openthoughts_dagster.cli.findings import Finding
from openthoughts_dagster.cli.instance import open_instance
from openthoughts_dagster.cluster import ClusterError
from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster.evaluation import benchmark_needs
from openthoughts_dagster.lake import Lake, LakeError
from openthoughts_dagster.lake.damage import is_panic
from openthoughts_dagster.landing import LandingError, WatchedSources, open_landing_zone
from openthoughts_dagster.recipe import Recipe, RecipeError, find_recipe
from openthoughts_dagster.recipe.domains import misspelt_domains, unknown_samples
from openthoughts_dagster.recipe.lock import lock_path, read_lock
from openthoughts_dagster.recipe.lock_references import hub_references
from openthoughts_dagster.release.foresight import foresee_release_problems
from openthoughts_dagster.sources.readers import missing_package
from openthoughts_dagster.storage import Folders, StorageError, local_path


def run_checks(settings: Settings, read_all: bool = False) -> list[Finding]:
    """Run all checks. A check that raises an error does not stop the others.

    Args:
        settings: The deployment.
        read_all: Whether every file of the lake is read, to find damage in rows that nobody has read yet.

    Returns:
        The findings, without repetitions.
    """
    found: list[Finding] = []
    recipe = None
    try:
        recipe = settings.load_recipe()
        counts = f"{len(recipe.sources)} sources, {len(recipe.teachers)} teachers"
        found.append(Finding("recipe", True, f"{recipe.name}: {counts}"))
        found += [Finding("recipe", None, says) for says in (*misspelt_domains(recipe), *unknown_samples(recipe))]
    except (RecipeError, ClusterError) as error:
        found += [Finding("recipe", False, line) for line in str(error).splitlines()]
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: check_lake(settings, read_all),
        lambda: _data(settings),
        lambda: _files(settings),
        lambda: _landing(settings),
        lambda: _dagster(settings),
        _accelerator,
    ]
    if recipe is not None:
        loaded = recipe
        checks += [
            lambda: _benchmarks(loaded),
            lambda: check_recipes_of_lake(loaded, settings),
            lambda: check_materializations(loaded, settings),
            lambda: check_readings(loaded, settings),
            lambda: _lock(settings),
            lambda: _release(loaded),
            lambda: _readers(loaded),
            lambda: check_models(loaded, settings),
            lambda: check_servers(loaded, settings),
            lambda: _cluster(loaded, settings),
        ]
    for check in checks:
        found += _run_check(check)
    return list(dict.fromkeys(found))


def _run_check(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a check. An error of the check becomes a finding too, since people have to know it."""
    try:
        yield from check()
    except (LakeError, click.ClickException) as error:
        yield Finding("doctor", False, str(error))
    except Exception as error:
        yield Finding("doctor", False, f"{type(error).__name__}: {error}")
    except BaseException as error:  # a panic of Polars is not an Exception
        if not is_panic(error):
            raise
        yield Finding("doctor", False, f"Polars failed: {error}")


def _cluster(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    cluster = settings.load_cluster()
    if cluster is None:
        return
    from openthoughts_dagster.defs.kubernetes.pod_config import check_pods  # loads the Kubernetes client

    try:
        check_pods(recipe, cluster)
        has = ", ".join(sorted(cluster.accelerators)) or "no accelerators"
        yield Finding("cluster", True, f"{settings.cluster}: {has}; the recipe's models fit")
    except ClusterError as error:
        yield from (Finding("cluster", False, line) for line in str(error).splitlines())


def _data(settings: Settings) -> Iterator[Finding]:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        check_writable(settings.data)
    except OSError as error:
        yield Finding("data", False, f"{settings.data} cannot be written: {error}; correct OPENTHOUGHTS_DATA")
        return
    yield from check_space("data", settings.data)
    lake = local_path(settings.lake)
    if lake is not None and not lake.is_relative_to(settings.data):
        yield from check_space("disk of the lake", lake)


def _files(settings: Settings) -> Iterator[Finding]:
    """Check the store of models, students and reports by writing, reading and deleting one file, as steps do."""
    if local_path(settings.files) is not None:
        return
    try:
        Folders(settings.cache).try_out(settings.files)
    except StorageError as error:
        yield Finding("files", False, str(error))
        return
    yield Finding("files", True, f"{settings.files}: can be read and written")


def _landing(settings: Settings) -> Iterator[Finding]:
    if settings.landing is None:
        yield Finding("landing zone", None, "OPENTHOUGHTS_LANDING is not set: only the recipe's sources are watched")
        return
    try:
        folders = open_landing_zone(settings.landing).scan()
    except LandingError as error:
        yield Finding("landing zone", False, str(error))
        return
    yield Finding(
        "landing zone", True, f"{settings.landing}: {sum(bool(folder.files) for folder in folders.values())} sources"
    )
    for entry in WatchedSources(Lake(settings.lake)).read().values():
        if entry.problem:
            yield Finding(f"source {entry.source}", False, entry.problem)


def _dagster(settings: Settings) -> Iterator[Finding]:
    home = dagster_home(settings)
    if not home.is_dir():
        says = f"there is no instance at {home}: `make ui` starts one, or name the folder of yours with DAGSTER_HOME"
        yield Finding("dagster", False, says)
        return
    if not (home / "dagster.yaml").is_file():
        yield Finding("dagster", None, f"{home} has no dagster.yaml: copy the repository's, or runs are not watched")
    with open_instance(settings) as instance:
        runs = instance.get_runs_count()
        yield Finding("dagster", True, f"{home}: {runs:,} runs, storage {type(instance.event_log_storage).__name__}")
        yield from check_daemon(instance)


def _accelerator() -> Iterator[Finding]:
    if find_spec("torch") is None:
        yield Finding("accelerator", None, "torch is not installed here: models run elsewhere")
        return
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(sorted({torch.cuda.get_device_name(index) for index in range(count)}))
    yield Finding("accelerator", True if count else None, f"{count} x {names}" if count else "none: models run on CPU")


def _lock(settings: Settings) -> Iterator[Finding]:
    """Say what the lock file beside the recipe lacks. `openthoughts lock --check` asks the hub as well."""
    file = find_recipe(settings.recipe)
    there = read_lock(file)
    if there is None:
        return
    lacking = [each.key for each in hub_references(settings.load_recipe(locked=False)) if there.commit(each) is None]
    says = f"{lock_path(file)} has no commit of {', '.join(lacking)}: runs read the newest; `openthoughts lock` adds it"
    yield Finding("lock file", None if lacking else True, says if lacking else f"{lock_path(file)} names every commit")


def _release(recipe: Recipe) -> Iterator[Finding]:
    """Say what would stop or shorten the release. It is a note: a team may correct it before it publishes."""
    yield from (Finding("release", None, says) for says in foresee_release_problems(recipe))


def _readers(recipe: Recipe) -> Iterator[Finding]:
    """Find packages that readers lack here. They are notes, since another image may read the sources."""
    for says in dict.fromkeys(filter(None, map(missing_package, recipe.sources))):
        yield Finding("readers", None, says)


def _benchmarks(recipe: Recipe) -> Iterator[Finding]:
    """Check the data and the confinement that benchmarks need. When only the hub knows, the finding is a note."""
    for name, good, says in benchmark_needs(recipe.evaluation, recipe.path):
        yield Finding(f"benchmark {name}", good, says)
