"""What a real API server says of the chart's objects, in a namespace under the restricted standard."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.rendering import VALUE_SETS, Manifest, rendered
from openthoughts_dagster_tests.kubernetes.test_chart import OTHERS

pytestmark = pytest.mark.kubernetes
_numbers = itertools.count()


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """One for each test: claims and other objects cannot be changed into another value set's."""
    name = f"admission-{next(_numbers)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}])
    yield name
    plane.core.delete_namespace(name)


@pytest.mark.parametrize("values", VALUE_SETS)
def test_an_api_server_takes_every_object_of_every_value_set(plane: ControlPlane, namespace: str, values: str) -> None:
    manifests = rendered([VALUE_SETS[values]], namespace=namespace)
    plane.apply([each for each in manifests if each["kind"] not in OTHERS])


@pytest.mark.parametrize("values", VALUE_SETS)
def test_the_restricted_standard_admits_every_pod(plane: ControlPlane, namespace: str, values: str) -> None:
    """A Deployment is taken whatever its pods are, and then makes none: each pod is asked for itself."""
    workloads = [each for each in rendered([VALUE_SETS[values]], namespace=namespace) if each["kind"] == "Deployment"]
    assert workloads
    for workload in workloads:
        spec = workload["spec"]["template"]["spec"] | {"serviceAccountName": "default"}
        spec.pop("priorityClassName", None)
        pod = _pod(workload["metadata"]["name"], namespace, spec, {})
        plane.core.create_namespaced_pod(namespace, pod, dry_run="All")


def test_a_run_is_not_evicted(plane: ControlPlane, namespace: str) -> None:
    from kubernetes.client import ApiException, V1Eviction, V1ObjectMeta

    plane.apply([each for each in rendered(namespace=namespace) if each["kind"] == "PodDisruptionBudget"])
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "run",
        "image": "run:1.0.0",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {"securityContext": security, "containers": [container], "nodeName": "elsewhere"}
    labels = {"app.kubernetes.io/name": "dagster", "app.kubernetes.io/component": "run_worker"}
    plane.core.create_namespaced_pod(namespace, _pod("run", namespace, spec, labels))
    ready = {"type": "Ready", "status": "True"}
    plane.core.patch_namespaced_pod_status("run", namespace, {"status": {"phase": "Running", "conditions": [ready]}})

    def refused() -> bool:
        eviction = V1Eviction(metadata=V1ObjectMeta(name="run", namespace=namespace))
        try:
            plane.core.create_namespaced_pod_eviction("run", namespace, eviction, dry_run="All")
        except ApiException as error:
            return error.status == 429 and "disruption budget" in str(error.body)
        return False

    wait_for(refused, 30, "an eviction that is refused")


def _pod(name: str, namespace: str, spec: dict[str, Any], labels: dict[str, str]) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
