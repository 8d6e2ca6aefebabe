"""What an operator does with a release: `helm test`, and a migration of Dagster's database."""

from typing import Any

import pytest

from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.installing import Installed
from openthoughts_dagster_tests.kubernetes.rendering import Manifest, find

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]


def _run(release: Installed, name: str, spec: Manifest) -> tuple[str, str]:
    """The phase in which a pod of this specification ends, and its log."""
    metadata = {"name": name, "labels": {"app.kubernetes.io/component": "maintenance"}}
    release.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | {"restartPolicy": "Never"}})

    def phase() -> Any:
        return release.core.read_namespaced_pod(name, release.namespace).status.phase

    try:
        wait_for(lambda: phase() in ("Succeeded", "Failed"), 120, f"the end of {name}")
        log = release.core.read_namespaced_pod_log(name, release.namespace, _preload_content=False)
        return phase(), log.data.decode()
    finally:
        release.core.delete_namespaced_pod(name, release.namespace)


def test_helm_test_says_that_the_release_is_well(here: Installed) -> None:
    [hook] = here.hooks
    phase, log = _run(here, "doctor", hook["spec"])
    assert phase == "Succeeded", log


def test_the_database_is_migrated_from_the_code_location(here: Installed) -> None:
    """As by `kubectl exec deployment/openthoughts-code -- dagster instance migrate`, in a pod of its own."""
    spec = find(here.manifests, "Deployment", "openthoughts-code")["spec"]["template"]["spec"]
    container = {key: value for key, value in spec["containers"][0].items() if not key.endswith("Probe")}
    migrating = spec | {"containers": [container | {"args": ["dagster", "instance", "migrate"], "ports": []}]}
    phase, log = _run(here, "migrate", migrating)
    assert phase == "Succeeded", log
    assert "Updating" in log or "migrat" in log.lower(), log
