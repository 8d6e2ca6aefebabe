"""The settings with which the rows of an asset's partition were made, so that what follows knows when they are others.

Dagster compares contents. A changed setting changes no input, so only the lake can tell that rows are of others.
"""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from openthoughts_dagster.lake.lake import Lake
from openthoughts_dagster.lake.question_tables import MADE_WITH


def begin_rows(lake: Lake, asset: str, partition: str, settings: Mapping[str, Any]) -> None:
    """Say that rows are about to be replaced: a run that ends in the middle then leaves rows of unknown settings."""
    if _recorded(lake, asset, partition) != _as_json(settings):
        _write(lake, asset, partition, "")


def record_settings(lake: Lake, asset: str, partition: str, settings: Mapping[str, Any]) -> None:
    """Record the settings with which the present rows of a partition were made."""
    _write(lake, asset, partition, _as_json(settings))


def other_settings(lake: Lake, asset: str, partition: str, settings: Mapping[str, Any]) -> str:
    """Say which settings of a partition's rows differ from the present ones.

    Args:
        lake: The tables.
        asset: Name of the asset.
        partition: Key of the partition.
        settings: The present settings, as `record_settings` takes them.

    Returns:
        Such as "other settings of decontamination and dedup". Empty if they are the same, and if they are not known
        because an older version of this program made the rows.
    """
    recorded = _recorded(lake, asset, partition)
    if recorded is None or recorded == (present := _as_json(settings)):
        return ""
    before, now = json.loads(recorded or "{}"), json.loads(present)
    if not before:
        return "other settings, by a run that did not end,"
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return f"other settings of {' and '.join(names)}"


def _recorded(lake: Lake, asset: str, partition: str) -> str | None:
    rows = lake.scan(MADE_WITH, asset=asset, partition=partition).select("settings").collect()
    return str(rows.item()) if rows.height else None


def _write(lake: Lake, asset: str, partition: str, settings: str) -> None:
    row = {"asset": asset, "partition": partition, "settings": settings}
    lake.replace(MADE_WITH, pl.DataFrame([row], schema=MADE_WITH.schema), asset=asset, partition=partition)


def _as_json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)
