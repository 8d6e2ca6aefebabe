"""Opening Dagster's instance for commands."""

from pathlib import Path

import click
import dagster as dg

from openthoughts_dagster.defs.settings import Settings, dagster_home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the instance that DAGSTER_HOME names, or by default the one that `make` keeps in the data folder.

    Raises:
        ClickException: The folder of the instance does not exist.
    """
    home = dagster_home(settings)
    if not home.is_dir():
        raise click.ClickException(
            f"there is no Dagster instance at {home}: start one with `make ui` or `make demo`, or name the folder of "
            "yours with DAGSTER_HOME"
        )
    return dg.DagsterInstance.from_config(str(Path(home).resolve()))
