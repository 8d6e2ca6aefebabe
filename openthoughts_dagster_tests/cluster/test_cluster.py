"""cluster.yaml: its mistakes come all at once, and so do those of a recipe that does not fit it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openthoughts_dagster.cluster import Cluster, ClusterError, check_fits, load_cluster
from openthoughts_dagster.recipe.docs_tables import models_of
from openthoughts_dagster_tests.cluster.helpers import CLUSTER, cluster, recipe, teacher

_JUDGE = {"name": "judge", "model": "models/judge", "hardware": {"cpus": 2}}
_STUDENT = {"name": "student", "model": "models/student", "preset": "micro", "hardware": "h100x1"}


def _error(folder: Path, document: Any) -> str:
    path = folder / "cluster.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    with pytest.raises(ClusterError) as caught:
        load_cluster(path)
    return str(caught.value)


def _misfit(folder: Path, *teachers: dict[str, Any], **changes: Any) -> str:
    models = {"judges": [_JUDGE], "student": _STUDENT, "teachers": list(teachers)}
    with pytest.raises(ClusterError) as caught:
        check_fits(recipe(folder, **models | changes), cluster())
    return str(caught.value)


def test_a_description_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(CLUSTER | {"shapes": {"big": "h100x8"}}))

    loaded = load_cluster(path)

    assert loaded.settings("teacher").priority_class == "openthoughts-generation"
    assert loaded.settings("student").deadline_hours == 48
    assert loaded.shapes["big"].count == 8


def test_every_mistake_is_reported_with_file_path_and_remedy(tmp_path: Path) -> None:
    error = _error(
        tmp_path,
        {
            "images": {"code": "x"},
            "accelerators": {"h100": {"node_selectors": {}, "per_node": 0}},
            "shapes": {"big": "h100x3"},
            "work": {
                "techer": {},
                "cpu": {"memory": "2GB"},
                "teacher": {"pod": {"pod_spec": {}, "pod_spec_config": {"node_selector": {"a_b": "c"}}}},
            },
            "que": "x",
        },
    )

    assert all(line.startswith(f"{tmp_path / 'cluster.yaml'}: ") for line in error.splitlines())
    for expected in (
        "images.gpu: is missing; add it: Image with vLLM",
        "accelerators.h100.node_selectors: is not a setting here; did you mean 'node_selector'?",
        "accelerators.h100.per_node: must be above 0, got 0",
        "shapes.big: must be a shape's name or a mapping, got 'h100x3'",
        "work.techer: is not a setting here; did you mean 'teacher'?",
        "work.cpu.memory: must be an amount as Kubernetes writes it",
        "work.teacher.pod.pod_spec: is no section of a pod's configuration; there are container_config",
        "work.teacher.pod.pod_spec_config.node_selector: write nodeSelector, as in a manifest",
        "que: is not a setting here; did you mean 'queue'?",
    ):
        assert expected in error
    assert "a_b" not in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "got an empty file"), ("- a", "got a list"), ("a: 1\na: 2", "given twice"), ("{", "not YAML")],
)
def test_a_file_that_is_no_description_is_named(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in _error(tmp_path, text)


def test_a_missing_file_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cluster\.yaml: there is no such file: OPENTHOUGHTS_CLUSTER names"):
        load_cluster(tmp_path / "cluster.yaml")


def test_every_setting_is_described() -> None:
    undescribed = [
        f"{model.__name__}.{name}"
        for model in models_of(Cluster)
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert undescribed == []


def test_an_accelerator_that_the_cluster_lacks_names_the_teacher_and_what_there_is(tmp_path: Path) -> None:
    error = _misfit(tmp_path, teacher("qwq-32b", "a100x2"))

    assert "teachers.qwq-32b.hardware.accelerator: the cluster has no 'a100'; it has h100." in error


def test_more_accelerators_than_a_node_has_are_refused(tmp_path: Path) -> None:
    error = _misfit(tmp_path, teacher("r1", {"accelerator": "h100", "count": 16}))

    assert "teachers.r1.hardware.count: no node has 16 h100, the largest has 8" in error


def test_a_teacher_without_hardware_is_refused(tmp_path: Path) -> None:
    error = _misfit(tmp_path, teacher("qwq-32b"), judges=[{"name": "judge", "model": "models/judge"}])

    assert "teachers.qwq-32b.hardware: is missing: the model runs in a pod of its own" in error
    assert "judges.judge.hardware: is missing" in error


def test_models_on_cpus_and_behind_servers_fit(tmp_path: Path) -> None:
    server = teacher("served", engine="openai", base_url="http://served:8000/v1")
    judges, teachers = [_JUDGE], [teacher("small", {"cpus": 8, "memory": "32Gi"}), server]

    check_fits(recipe(tmp_path, judges=judges, student=_STUDENT, teachers=teachers), cluster())


def test_judges_on_different_accelerators_are_refused(tmp_path: Path) -> None:
    here = cluster(accelerators=CLUSTER["accelerators"] | {"l4": {}})
    judges = [_JUDGE | {"hardware": "h100x1"}, {"name": "small", "model": "m", "hardware": "l4x1"}]
    loaded = recipe(tmp_path, judges=judges, student=_STUDENT, teachers=[teacher("t", "h100x1")])

    with pytest.raises(ClusterError, match="judge on h100, small on l4"):
        check_fits(loaded, here)
