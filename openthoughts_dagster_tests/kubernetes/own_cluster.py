"""The chart on a cluster of one's own, where it was installed before: `make test-cluster` (docs/kubernetes.md).

    python -m openthoughts_dagster_tests.kubernetes.own_cluster

prints the values for `helm install`, over values-kind.yaml.
"""

import base64
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from openthoughts_dagster.lake import Lake
from openthoughts_dagster_tests.e2e import slow_teacher
from openthoughts_dagster_tests.e2e.servers import free_port, listens, wait_for
from openthoughts_dagster_tests.kubelet.nodes import GPU
from openthoughts_dagster_tests.kubernetes import quickstart_release as quickstart
from openthoughts_dagster_tests.kubernetes.installing import BUCKET, fill, take_over
from openthoughts_dagster_tests.kubernetes.release import Release

SLOW, SLOW_PORT = "slow-teacher", 8000
_EATS_MEMORY = "kept = []\nwhile True: kept.append(b'x' * (1 << 24))"


class Kubectl:
    """What kubectl, and the commands that stop and start a machine, do to the cluster that KUBECONFIG names.

    Machines: OPENTHOUGHTS_TEST_VANISH and OPENTHOUGHTS_TEST_COME_BACK, to which a node is added; kind is the
    default.
    """

    evicted = "EvictionByEvictionAPI"

    def __init__(self) -> None:
        self._had: dict[str, dict[str, str]] = {}

    def vanish(self, name: str) -> None:
        """The machine is stopped."""
        from kubernetes import client

        capacity = client.CoreV1Api().read_node(name).status.capacity
        self._had[name] = {key: value for key, value in capacity.items() if key == GPU}
        _run(*shlex.split(os.environ.get("OPENTHOUGHTS_TEST_VANISH", "docker stop --time 0")), name)

    def come_back(self, name: str) -> None:
        """The machine is started, and ready. A node that only claims accelerators has to claim them again."""
        from kubernetes import client

        _run(*shlex.split(os.environ.get("OPENTHOUGHTS_TEST_COME_BACK", "docker start")), name)
        _run("kubectl", "wait", "--for=condition=Ready", f"node/{name}", "--timeout=180s")
        client.CoreV1Api().patch_node_status(name, {"status": {"capacity": self._had[name]}})

    def evict(self, namespace: str, pod: str, message: str) -> None:
        """The pod is evicted as by a drain; nodes that are short of something can't be had at a word."""
        from kubernetes import client

        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        client.CoreV1Api().create_namespaced_pod_eviction(pod, namespace, eviction)

    def oom_kill(self, namespace: str, pod: str) -> None:
        """The container gets beyond its limit: the kernel kills all of its processes."""
        command = ["kubectl", "-n", namespace, "exec", pod, "--", "python", "-c", _EATS_MEMORY]
        subprocess.run(command, check=False, capture_output=True, timeout=120)


@contextmanager
def existing(namespace: str, folder: Path) -> Iterator[Release]:
    """The release in a namespace of the cluster that KUBECONFIG names; its webserver and store through kubectl."""
    from kubernetes import client, config

    assert os.environ.get("KUBECONFIG"), "set KUBECONFIG to the cluster on which the tests may make and break things"
    config.load_kube_config(os.environ["KUBECONFIG"])
    secret = client.CoreV1Api().read_namespaced_secret("openthoughts-storage", namespace).data
    environment = {name: base64.b64decode(value).decode() for name, value in secret.items()}
    environment |= {"AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    with ExitStack() as open_ports, pytest.MonkeyPatch.context() as patch:

        def reached(service: str, port: int) -> str:
            return f"http://127.0.0.1:{open_ports.enter_context(_forwarded(namespace, service, port))}"

        environment["AWS_ENDPOINT_URL"] = reached("objects", 9000)
        for name, value in environment.items():
            patch.setenv(name, value)
        fill(folder, quickstart.recipe_files(f"http://{SLOW}:{SLOW_PORT}/v1"))
        lake = Lake(f"s3://{BUCKET}/lake", environment)
        address = reached("openthoughts-dagster-webserver", 8080)
        not_yet = slow_teacher.RemoteTeacher("")
        release = Release(namespace, address, client.ApiClient(), lake, Kubectl(), not_yet)
        release.apply(*teacher_manifests(release.image))
        _run("kubectl", "-n", namespace, "rollout", "status", f"deployment/{SLOW}", "--timeout=180s")
        release.teacher = slow_teacher.RemoteTeacher(reached(SLOW, SLOW_PORT))
        take_over(release)
        yield release


def teacher_manifests(image: str) -> list[dict[str, Any]]:
    """The slow teacher in the cluster: its program, a Deployment, a Service, and the way to it for steps."""
    labels, ports = {"app": SLOW}, [{"port": SLOW_PORT}]
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "teacher",
        "image": image,
        "command": ["python", "/program/slow_teacher.py", str(SLOW_PORT)],
        "readinessProbe": {"httpGet": {"path": "/seconds", "port": SLOW_PORT}, "periodSeconds": 2},
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "64Mi"}},
        "securityContext": security,
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": SLOW}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    dagster = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "dagster"}}}
    slow = {"podSelector": {"matchLabels": labels}}
    entry = {**slow, "policyTypes": ["Ingress"], "ingress": [{"from": [dagster], "ports": ports}]}
    way = {**dagster, "policyTypes": ["Egress"], "egress": [{"to": [slow], "ports": ports}]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    about, program = {"metadata": {"name": SLOW}}, Path(slow_teacher.__file__).read_text()
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", **about, "data": {"slow_teacher.py": program}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            **about,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {"apiVersion": "v1", "kind": "Service", **about, "spec": {"selector": labels, "ports": ports}},
        {**policy, **about, "spec": entry},
        {**policy, "metadata": {"name": f"to-{SLOW}"}, "spec": way},
    ]


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


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"


if __name__ == "__main__":
    print(yaml.safe_dump(quickstart.values_for_own_cluster(f"http://{SLOW}:{SLOW_PORT}/v1")))
