"""The official Dagster chart itself, where it can be fetched: what the other tests' stand-in stands for."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from helm_python import HelmError, package

from openthoughts_dagster_tests.kubernetes.rendering import (
    STAND_IN,
    VALUE_SETS,
    fetched_dagster,
    find,
    instance_settings,
    pod_specs,
    rendered,
)
from openthoughts_dagster_tests.kubernetes.test_chart import OTHERS

pytestmark = pytest.mark.kubernetes


@pytest.fixture(params=["the stand-in", "the official chart"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """As `helm dependency build` leaves it. The stand-in takes the same way, so that the way is tested everywhere."""
    if request.param == "the stand-in":
        package(STAND_IN, destination=tmp_path)
        return next(tmp_path.glob("dagster-*.tgz"))
    try:
        return fetched_dagster(tmp_path)
    except HelmError as error:
        pytest.skip(f"the official chart cannot be fetched here ({type(error).__name__})")


@pytest.mark.parametrize("values", VALUE_SETS)
def test_dagsters_chart_makes_of_our_values_what_the_other_tests_look_at(archive: Path, values: str) -> None:
    manifests = rendered([VALUE_SETS[values]], dagster=archive)
    for manifest in manifests:
        if manifest["kind"] not in OTHERS:
            kubernetes_validate.validate(_without_nulls(manifest), "1.36", strict=True)
    for name, pod in pod_specs(manifests).items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), name
    assert not {"ClusterRole", "Secret"} & {manifest["kind"] for manifest in manifests}
    ours = rendered([VALUE_SETS[values]])
    for kind, name in (("Deployment", "dagster-daemon"), ("Deployment", "openthoughts-dagster-webserver")):
        labels = find(ours, kind, name)["spec"]["template"]["metadata"]["labels"]
        assert labels.items() <= find(manifests, kind, name)["spec"]["template"]["metadata"]["labels"].items()
    settings, expected = instance_settings(manifests), instance_settings(ours)
    for key in ("run_launcher", "compute_logs", "run_storage"):
        assert settings[key]["class"] == expected[key]["class"]
        assert settings[key]["config"] == expected[key]["config"]
    for key in set(expected) - {"scheduler", "run_coordinator"} - {key for key in expected if "class" in expected[key]}:
        assert settings[key] == expected[key], key


def _without_nulls(value: Any) -> Any:
    """What the API server makes of `nodeSelector: null`, which the official chart writes."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
