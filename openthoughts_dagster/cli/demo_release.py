"""`make demo-release`: makes the release of the recipe after `make demo`, and loads it back as others would.

A second run finds the same rows in the tables, and makes nothing new.
"""

import sys
import tempfile
import time

import dagster as dg
import polars as pl

from openthoughts_dagster.cli.local_runs import alone_in, fail_orphans, load_for_a_demo, run_here, stopped_by_a_person
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.defs.jobs import RELEASE
from openthoughts_dagster.lake import RELEASE_FUNNEL, Lake
from openthoughts_dagster.release import ReleaseVersion, list_versions
from openthoughts_dagster.release.columns import CONFIGS
from openthoughts_dagster.release.make import latest_version
from openthoughts_dagster.storage import Folders


def main() -> int:
    """Make the release of the first teacher, or of the one named as the argument. Exit status 1 when that failed."""
    start = time.monotonic()
    defs, recipe, settings = load_for_a_demo()
    if recipe.release is None:
        sys.exit(f"recipe {recipe.name!r} has no `release`: docs/release.md shows how to write one")
    teacher = recipe.teacher(sys.argv[1]).name if len(sys.argv) > 1 else recipe.teachers[0].name
    lake = Lake(settings.lake)
    known = {each.path for each in list_versions(lake)}
    with alone_in(settings.data), dg.DagsterInstance.get() as instance:
        fail_orphans(instance)
        run = run_here(defs, instance, RELEASE, teacher)
    if run.problem:
        print(f"FAILED {RELEASE} {teacher}: {run.problem}")
        return 1
    made = _latest(lake, teacher)
    print(f"\n{made.name} of {teacher}, version {made.version}: {'nothing new' if made.path in known else 'new'}")
    funnel = lake.scan(RELEASE_FUNNEL, teacher=teacher).sort("order", "source").collect()
    print(table(funnel.select("step", "source", "questions", "answers", "note").to_dicts()))
    for sentence in made.record["shortfalls"]:
        print(f"short: {sentence}")
    _load_back(made, Folders(settings.cache))
    print(f"\nMade and loaded back in {time.monotonic() - start:.0f} s: {made.path}")
    print("See it in the Dagster UI (make ui), or: openthoughts release list")
    return 0


def _latest(lake: Lake, teacher: str) -> ReleaseVersion:
    now = latest_version(lake, teacher)
    return next(each for each in list_versions(lake) if (each.version, each.path) == now)


def _load_back(made: ReleaseVersion, folders: Folders) -> None:
    """Load every config with `datasets` and with Polars; an error where one of them has other rows than recorded."""
    from datasets import load_dataset

    folder, rows = folders.fetch(made.path), list[dict[str, object]]()
    with tempfile.TemporaryDirectory() as cache:
        for config, size in made.record["configs"].items():
            loaded = load_dataset(str(folder), config, split="train", cache_dir=cache)
            scanned = pl.scan_parquet(folder / CONFIGS[config].folder / "*.parquet")
            count = scanned.select(pl.len()).collect().item()
            if not len(loaded) == count == size["rows"]:
                sys.exit(f"{config}: `datasets` has {len(loaded):,} rows, Polars {count:,}, recorded {size['rows']:,}")
            rows.append({"config": config, "rows": count, "columns": ", ".join(loaded.column_names)})
    print(f"\nLoaded back with `datasets` and Polars:\n{table(rows)}")


if __name__ == "__main__":
    with stopped_by_a_person():
        sys.exit(main())
