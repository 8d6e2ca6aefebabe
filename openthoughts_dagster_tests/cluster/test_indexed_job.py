"""The Job and the Service of a training on several nodes, as Kubernetes takes them."""

from typing import Any

import kubernetes_validate
import pytest

from openthoughts_dagster.cluster import model_pod
from openthoughts_dagster.cluster.indexed_job import OwnerPod, headless_service, indexed_job, pod_address
from openthoughts_dagster.recipe.hardware import SHAPES
from openthoughts_dagster_tests.cluster.helpers import cluster

STEP = {
    "metadata": {"name": "dagster-step-1", "uid": "1234", "labels": {"dagster/run-id": "run", "job-name": "step"}},
    "spec": {
        "serviceAccountName": "openthoughts-run",
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {
                "name": "dagster",
                "env": [
                    {"name": "DAGSTER_PG_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    {"name": "AWS_REGION", "value": "eu-1"},
                    {"name": "AWS_ROLE_ARN", "value": "of the step's pod"},
                    {"name": "OPENTHOUGHTS_DATA", "value": "/step"},
                ],
                "envFrom": [{"secretRef": {"name": "store"}}],
            }
        ],
    },
}


@pytest.fixture
def job() -> dict[str, Any]:
    config = model_pod(cluster(queue="research"), SHAPES["h100x8"], "student")
    return indexed_job("train-1", 4, config, ["python"], OwnerPod.of(STEP))


def test_kubernetes_takes_them(job: dict[str, Any]) -> None:
    for manifest in (job, headless_service("train-1", OwnerPod.of(STEP))):
        kubernetes_validate.validate(manifest, "1.36", strict=True)


def test_all_pods_run_at_once_and_one_that_fails_ends_the_job(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (4, 4, "Indexed")
    assert spec["backoffLimit"] == 0 and spec["activeDeadlineSeconds"] > 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"


def test_a_queue_admits_the_job_as_a_whole(job: dict[str, Any]) -> None:
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"


def test_pods_are_found_by_name_before_they_are_ready(job: dict[str, Any]) -> None:
    service = headless_service("train-1", OwnerPod.of(STEP))
    labels, template = service["spec"]["selector"], job["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert labels.items() <= template["metadata"]["labels"].items()
    assert pod_address("train-1", 0) == f"train-1-0.{template['spec']['subdomain']}"


def test_they_end_with_the_pod_that_started_them(job: dict[str, Any]) -> None:
    for manifest in (job, headless_service("train-1", OwnerPod.of(STEP))):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "dagster-step-1", "1234")


def test_its_pods_know_the_store_and_nothing_of_the_database_or_the_api_server(job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    variables = {entry["name"]: entry.get("value") for entry in spec["containers"][0]["env"]}
    assert variables["AWS_REGION"] == "eu-1" and not {"DAGSTER_PG_PASSWORD", "AWS_ROLE_ARN"} & set(variables)
    assert variables["OPENTHOUGHTS_DATA"] == "/scratch"
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert spec["serviceAccountName"] == "openthoughts-run" and spec["automountServiceAccountToken"] is False
