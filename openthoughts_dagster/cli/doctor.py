"""What is wrong with a deployment, and what to do about it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import polars as pl

from openthoughts_dagster.cli.instance import open_instance
from openthoughts_dagster.cluster import ClusterError
from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster.evaluation import benchmark_needs
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import RAW_SOURCES, TABLES, Lake
from openthoughts_dagster.landing import LandingError, WatchedSources, open_landing_zone
from openthoughts_dagster.recipe import ModelReference, Recipe, RecipeError
from openthoughts_dagster.recipe.engines import engine_entry
from openthoughts_dagster.sources.readers import missing_package
from openthoughts_dagster.storage import Folders, StorageError, local_path


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: good, a problem, or (None) a note."""

    what: str
    good: bool | None
    says: str


def findings(settings: Settings) -> list[Finding]:
    """Everything that was looked at. A check that fails does not stop the others."""
    found: list[Finding] = []
    recipe = None
    try:
        recipe = settings.load_recipe()
        counts = f"{len(recipe.sources)} sources, {len(recipe.teachers)} teachers"
        found.append(Finding("recipe", True, f"{recipe.name}: {counts}"))
    except (RecipeError, ClusterError) as error:
        found += [Finding("recipe", False, line) for line in str(error).splitlines()]
    checks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _lake(settings),
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
            lambda: _readers(loaded),
            lambda: _models(loaded, settings),
            lambda: _cluster(loaded, settings),
        ]
    for check in checks:
        try:
            found += check()
        except Exception as error:  # whatever it is, it is what the person has to know
            found.append(Finding("doctor", False, f"{type(error).__name__}: {error}"))
    return found


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


def _lake(settings: Settings) -> Iterator[Finding]:
    lake = Lake(settings.lake)
    try:
        rows = {name: lake.scan(table).select(pl.len()).collect().item() for name, table in TABLES.items()}
    except Exception as error:
        says = f"{settings.lake} cannot be read: {error}; correct OPENTHOUGHTS_LAKE or its credentials"
        yield Finding("lake", False, says)
        return
    yield Finding(
        "lake", True, f"{settings.lake}: {sum(rows.values()):,} rows in {sum(map(bool, rows.values()))} tables"
    )


def _data(settings: Settings) -> Iterator[Finding]:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data):
            pass
    except OSError as error:
        yield Finding("data", False, f"{settings.data} cannot be written: {error}; correct OPENTHOUGHTS_DATA")
        return
    free = shutil.disk_usage(settings.data).free / 2**30
    says = f"{settings.data}: {free:,.0f} GiB free"
    yield Finding("data", free > 10 or None, says if free > 10 else f"{says}; students and tables need more soon")


def _files(settings: Settings) -> Iterator[Finding]:
    """Models, students and reports in a store: one file is written, read and deleted, as steps do."""
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
    yield Finding("landing zone", True, f"{settings.landing}: {len(folders)} sources")
    for entry in WatchedSources(Lake(settings.lake)).read().values():
        if entry.problem:
            yield Finding(f"source {entry.source}", False, entry.problem)


def _made_and_gone(instance: Any, settings: Settings) -> Iterator[Finding]:
    """Sources that the instance calls made and that this lake does not have, as after a change of OPENTHOUGHTS_LAKE."""
    import dagster as dg

    lake = Lake(settings.lake)
    made = sorted(instance.get_materialized_partitions(dg.AssetKey("raw_sources")))
    gone = [name for name in made if lake.scan(RAW_SOURCES, source=name).head(1).collect().is_empty()]
    if gone:
        says = (
            f"{settings.lake} has no rows of {', '.join(gone[:5])}{' and more' if len(gone) > 5 else ''}, which the "
            "instance has as made: correct OPENTHOUGHTS_LAKE, or materialize raw_sources of them again"
        )
        yield Finding("lake and instance", False, says)


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
        yield from _made_and_gone(instance, settings)
        beats = instance.get_daemon_heartbeats()
        if not beats:
            yield Finding("daemon", None, "no daemon has run on this instance: sensors do nothing (make ui starts one)")


def _accelerator() -> Iterator[Finding]:
    if find_spec("torch") is None:
        yield Finding("accelerator", None, "torch is not installed here: models run elsewhere")
        return
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(sorted({torch.cuda.get_device_name(index) for index in range(count)}))
    yield Finding("accelerator", True if count else None, f"{count} x {names}" if count else "none: models run on CPU")


def _readers(recipe: Recipe) -> Iterator[Finding]:
    """Packages that the recipe's readers need: a note, since sources may be read in another image than this one."""
    for says in dict.fromkeys(filter(None, map(missing_package, recipe.sources))):
        yield Finding("readers", None, says)


def _benchmarks(recipe: Recipe) -> Iterator[Finding]:
    for name, good, says in benchmark_needs(recipe.evaluation, recipe.path):
        yield Finding(f"benchmark {name}", good, says)


def _models(recipe: Recipe, settings: Settings) -> Iterator[Finding]:
    roles: list[tuple[str, ModelReference]] = [
        *(("judge", judge) for judge in recipe.judges),
        *(("teacher", teacher) for teacher in recipe.teachers),
        ("student", recipe.student),
    ]
    for role, reference in roles:
        what = f"{role} {reference.name}"
        entry = engine_entry(reference.engine)
        if not entry.is_installed() and not (settings.executor == "kubernetes" and not entry.is_server):
            says = f"engine {entry.name} needs the package {entry.package}, which is not installed here"
            yield Finding(what, False, f"{says}: {entry.how_to_install()}")
            continue
        if reference.api_key_env and not os.environ.get(reference.api_key_env):
            yield Finding(what, False, f"its key is missing: set the environment variable {reference.api_key_env}")
            continue
        try:
            located = locate(reference, recipe.folder, Folders(settings.cache), weights=False)
        except EngineError as error:
            made = recipe.tiny_models and reference.model.startswith(recipe.tiny_models)
            says = "is made by the asset quickstart_models: materialize it" if made else str(error)
            yield Finding(what, None if made else False, says)
            continue
        where = "" if entry.is_installed() else ", in pods of its own: it is not installed here"
        yield Finding(what, True, f"{located.identity.partition} on {entry.name}{where}")
