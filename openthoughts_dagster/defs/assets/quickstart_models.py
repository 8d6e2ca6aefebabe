"""The quickstart's own tiny models."""

import shutil
from pathlib import Path

import dagster as dg

from openthoughts_dagster.defs.metadata import line, table
from openthoughts_dagster.defs.resources import ModelsResource
from openthoughts_dagster.defs.work import resumable, runs_a_model
from openthoughts_dagster.lake import folder_hash, text_hash
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import joined, local_path


def quickstart_models_asset(recipe: Recipe) -> dg.AssetsDefinition:
    """The asset that trains the tiny models of `recipe`, which names the folder for them."""
    assert recipe.tiny_models is not None
    address = recipe.path(recipe.tiny_models)

    @dg.asset(
        name="quickstart_models",
        group_name="quickstart",
        kinds={"pytorch"},
        owners=["team:models"],
        op_tags=runs_a_model("student"),
    )
    @resumable
    def quickstart_models(context: dg.AssetExecutionContext, models: ModelsResource) -> dg.MaterializeResult:
        """Two tiny teachers, a judge and an untrained student, trained from procedural problems on the first run.

        They stand in for real models so that the whole recipe runs on a laptop; each is an ordinary Hugging Face
        checkpoint folder, and one that is there already is kept.
        """
        import polars as pl

        from openthoughts_dagster.quickstart.tiny_models import TinyModel, build_tiny_models

        def keep(model: TinyModel) -> None:
            if local_path(address) is None:
                models.folders.put(model.path, joined(address, model.name), replace=True)

        built = build_tiny_models(_workplace(address, models), context.log.info, finished=keep)
        made = pl.DataFrame(
            [
                {
                    "model": model.name,
                    "parameters": model.parameters,
                    "steps": model.steps,
                    "seconds": round(model.seconds, 1),
                    "accuracy on held-out problems": model.accuracy,
                    "folder": joined(address, model.name),
                }
                for model in built.values()
            ]
        )
        revisions = [folder_hash(Path(model.path), ignore=("training.json",)) for model in built.values()]
        pictures = {
            f"loss_{name}": line(model.losses, f"Training loss of {name}", "step", "loss")
            for name, model in built.items()
        }
        return dg.MaterializeResult(
            data_version=dg.DataVersion(text_hash(*revisions)),
            metadata={"models": table(made), **pictures},
        )

    return quickstart_models


def _workplace(address: str, models: ModelsResource) -> Path:
    """The folder of the models; for those in a store one of this machine's, with what is there already."""
    if (path := local_path(address)) is not None:
        return path
    folder = Path(models.data) / "tiny_models"
    for name in models.folders.names(address):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(models.folders.fetch(joined(address, name)), folder / name)
    return folder
