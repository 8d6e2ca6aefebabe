"""A cluster with one GPU pool and one of eight GPUs, and a recipe that asks for them."""

from pathlib import Path
from typing import Any

import yaml

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED

CLUSTER: dict[str, Any] = {
    "images": {"code": "registry/openthoughts-code:1", "gpu": "registry/openthoughts-gpu:1"},
    "accelerators": {
        "h100": {
            "node_selector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "per_node": 8,
        }
    },
    "work": {"teacher": {"priority_class": "openthoughts-generation", "deadline_hours": 12, "grace_seconds": 90}},
}


def cluster(**changes: Any) -> Cluster:
    """The cluster, with top-level settings changed."""
    return Cluster.model_validate(CLUSTER | changes)


def recipe_file(folder: Path, **changes: Any) -> Path:
    """The quickstart's recipe in a folder of its own, with top-level settings changed."""
    document = yaml.safe_load((SHIPPED / "quickstart" / "recipe.yaml").read_text())
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document | {"studies": []} | changes))  # studies are in a file beside it
    return path


def recipe(folder: Path, **changes: Any) -> Recipe:
    """The quickstart's recipe, loaded with changes."""
    return load_recipe(str(recipe_file(folder, **changes)), {"OPENTHOUGHTS_DATA": str(folder)})


def teacher(name: str, hardware: Any = None, **settings: Any) -> dict[str, Any]:
    """One entry of `teachers`."""
    stated = {} if hardware is None else {"hardware": hardware}
    return {"name": name, "model": f"models/{name}", **stated, **settings}
