"""Hardware in a recipe: a mapping or a shape's name, and what is said about mistakes."""

from pathlib import Path

import pytest

from openthoughts_dagster.recipe import Hardware, RecipeError, load_recipe
from openthoughts_dagster_tests.cluster.helpers import recipe, recipe_file, teacher


def _error(folder: Path, hardware: object) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(folder, teachers=[teacher("qwq-32b", hardware)])
    return str(caught.value)


def test_a_shape_is_named_or_written_out(tmp_path: Path) -> None:
    written = {"accelerator": "h100", "count": 8, "memory": "1024Gi", "cpus": 128, "disk": "1600Gi"}
    loaded = recipe(tmp_path, teachers=[teacher("named", "h100x8"), teacher("written", written)])

    named, out = (t.hardware for t in loaded.teachers)
    assert named == out
    assert named.nodes == 1


def test_an_unknown_shape_names_the_nearest_and_all(tmp_path: Path) -> None:
    error = _error(tmp_path, "h100x16")

    assert "recipe.yaml: teachers.qwq-32b.hardware: must be a shape's name or a mapping, got 'h100x16'" in error
    assert "did you mean 'h100x1'?" in error
    assert "h200, h100, a100" in error


def test_a_misspelt_resource_is_an_error_at_load(tmp_path: Path) -> None:
    assert "teachers.qwq-32b.hardware.memry: is not a setting here; did you mean 'memory'?" in _error(
        tmp_path, {"memry": "8Gi"}
    )
    assert "teachers.qwq-32b.hardware.memory: must be an amount as Kubernetes writes it, e.g. 64Gi" in _error(
        tmp_path, {"memory": "8GB"}
    )


def test_a_shape_of_the_cluster_is_known_beside_the_built_in_ones(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, teachers=[teacher("t", "half-a-node")])
    own = {"half-a-node": Hardware(accelerator="h100", count=4, memory="900Gi", cpus=90)}

    loaded = load_recipe(str(path), {"OPENTHOUGHTS_DATA": "/data"}, own)

    assert loaded.teachers[0].hardware == own["half-a-node"]
    with pytest.raises(RecipeError, match="and the cluster's other"):
        load_recipe(str(path), {"OPENTHOUGHTS_DATA": "/data"}, {"other": own["half-a-node"]})


def test_only_the_student_runs_on_several_machines(tmp_path: Path) -> None:
    nodes = {"accelerator": "h100", "count": 8, "nodes": 2}

    assert "teachers.qwq-32b.hardware.nodes: only the student is trained on several machines" in _error(tmp_path, nodes)
    student = {"name": "s", "model": "m", "preset": "micro", "hardware": nodes}
    assert recipe(tmp_path, student=student).student.hardware.nodes == 2
