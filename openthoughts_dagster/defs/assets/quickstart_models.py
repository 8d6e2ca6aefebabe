"""The tiny models of the quickstart."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_line, table
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.lake import folder_hash, text_hash
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import join_address, local_path

if TYPE_CHECKING:  # loads torch
    from openthoughts_dagster.quickstart.tiny_models import TinyModel


def quickstart_models_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that trains the tiny models of `recipe`, which names their folder."""
    assert recipe.tiny_models is not None
    address = recipe.path(recipe.tiny_models)

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def quickstart_models(context: dg.AssetExecutionContext, models: ModelsResource) -> dg.MaterializeResult:
        """Two tiny teachers, a judge and an untrained student, trained from procedural problems on the first run.

        They take the place of real models, so that the whole recipe runs on a laptop. Each is an ordinary Hugging Face
        checkpoint folder. A model that is there already is kept.
        """
        from openthoughts_dagster.quickstart.tiny_models import TinyModel, build_tiny_models

        def keep(model: TinyModel) -> None:
            if local_path(address) is None:
                models.folders.put(model.path, join_address(address, model.name), replace=True)

        built = build_tiny_models(_workplace(address, models), context.log.info, finished=keep)
        revisions = [folder_hash(Path(model.path), ignore=("training.json",)) for model in built.values()]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(text_hash(*revisions)), metadata=_metadata(built.values(), address)
        )

    return quickstart_models


def _metadata(built: "Collection[TinyModel]", address: str) -> dict[str, Any]:
    """Make the size, the training and the accuracy of each model, and its loss curve."""
    rows = [
        {
            "model": model.name,
            "parameters": model.parameters,
            "steps": model.steps,
            "training time": model.seconds,
            "accuracy on held-out problems": model.accuracy,
        }
        for model in built
    ]
    curves = {f"loss_{m.name}": draw_line(m.losses, f"Training loss of {m.name}", "step", "loss") for m in built}
    units = {"training time": "s", "accuracy on held-out problems": "%"}
    return {"models": table(pl.DataFrame(rows), units), "folder": dg.MetadataValue.path(address), **curves}


def _workplace(address: str, models: ModelsResource) -> Path:
    """Return a local folder for the models. Models that are in the store already are copied into it."""
    if (path := local_path(address)) is not None:
        return path
    folder = Path(models.data) / "tiny_models"
    for name in models.folders.list_folders(address):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(models.folders.fetch(join_address(address, name)), folder / name)
    return folder
