"""The chart on a cluster of one's own, where it was installed before: `make test-cluster` (docs/kubernetes.md)."""

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from openthoughts_dagster.lake import Lake
from openthoughts_dagster_tests.e2e.servers import free_port, listens, wait_for
from openthoughts_dagster_tests.kubernetes import quickstart_release as quickstart
from openthoughts_dagster_tests.kubernetes.installing import BUCKET, fill, take_over
from openthoughts_dagster_tests.kubernetes.release import Release


@contextmanager
def existing(namespace: str, folder: Path) -> Iterator[Release]:
    """The release in a namespace of the cluster that KUBECONFIG names; its webserver and store through kubectl."""
    from kubernetes import client, config

    assert os.environ.get("KUBECONFIG"), "set KUBECONFIG to the cluster on which the tests may make and break things"
    config.load_kube_config()
    core = client.CoreV1Api()
    with ExitStack() as open_ports, pytest.MonkeyPatch.context() as patch:
        web = open_ports.enter_context(_forwarded(namespace, "openthoughts-dagster-webserver", 8080))
        store = open_ports.enter_context(_forwarded(namespace, "objects", 9000))
        secret = core.read_namespaced_secret("openthoughts-storage", namespace).data
        environment = {name: base64.b64decode(value).decode() for name, value in secret.items()}
        environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store}", "AWS_ALLOW_HTTP": "true"}
        environment |= {"AWS_REGION": "us-east-1"}
        for name, value in environment.items():
            patch.setenv(name, value)
        fill(folder, quickstart.recipe_files("http://unused.invalid/v1"))
        lake = Lake(f"s3://{BUCKET}/lake", environment)
        release = Release(namespace, f"http://127.0.0.1:{web}", core, client.BatchV1Api(), lake)
        take_over(release)
        yield release


@contextmanager
def _forwarded(namespace: str, service: str, port: int) -> Iterator[int]:
    """A port of loopback that leads to a Service."""
    here = free_port()
    command = ["kubectl", "-n", namespace, "port-forward", f"service/{service}", f"{here}:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or listens(here), 60, f"kubectl port-forward to {service}")
        assert process.poll() is None, f"{' '.join(command)} ended"
        yield here
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":  # values for `helm install`, over values-kind.yaml
    print(yaml.safe_dump(quickstart.values_for_own_cluster()))
