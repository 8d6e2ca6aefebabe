"""Dagster's own command line, as people of Dagster 1.13 type it in the repository."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from openthoughts_dagster.lake import LAKE_RECIPES, RAW_SOURCES, Lake

REPOSITORY = Path(__file__).parents[2]


def test_dg_launch_materializes_a_partition_from_the_repository(tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("source", ["two-digit-sums"])
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dg"), "launch", "--assets", "raw_sources", "--partition", "two-digit-sums"],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("OPENTHOUGHTS_")}
        | {"OPENTHOUGHTS_DATA": str(tmp_path), "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lake = Lake(tmp_path / "lake")
    assert lake.scan(RAW_SOURCES, source="two-digit-sums").collect().height > 0
    assert lake.scan(LAKE_RECIPES).collect()["location"].to_list() == ["quickstart"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("raw_sources")) == {"two-digit-sums"}
