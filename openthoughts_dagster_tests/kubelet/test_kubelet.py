"""The cluster of the tests is one: what is asked of its nodes here is what the other tests rely on."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from openthoughts_dagster_tests.e2e.servers import free_port, wait_for
from openthoughts_dagster_tests.kubelet import Kubelets
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE

pytestmark = pytest.mark.kubernetes

SAFE = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
    "readOnlyRootFilesystem": True,
}


@pytest.fixture(scope="module")
def space(plane: ControlPlane, nodes: Kubelets) -> Iterator[str]:
    """A namespace under the restricted standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubelet", "labels": labels}}])
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    plane.apply([account], "kubelet")
    yield "kubelet"
    plane.core.delete_namespace("kubelet")


def pod(name: str, *command: str, image: str = CODE_IMAGE, spec: Any = None, **container: Any) -> dict[str, Any]:
    """A pod of one container that runs once."""
    main = {"name": "main", "image": image, "command": list(command), "securityContext": SAFE} | container
    whole = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [main]} | (spec or {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}


def _read(plane: ControlPlane, name: str) -> Any:
    return plane.core.read_namespaced_pod(name, "kubelet")


def over(plane: ControlPlane, name: str) -> Any:
    """The pod once it has ended."""
    wait_for(lambda: _read(plane, name).status.phase in ("Succeeded", "Failed"), 60, f"end of {name}")
    return _read(plane, name)


LOOK = """
import importlib.util, json, os, pathlib, socket, subprocess
from kubernetes import client, config
config.load_incluster_config()
namespace = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
try:
    client.CoreV1Api().list_namespaced_secret(namespace)
    secrets = 200
except client.ApiException as error:
    secrets = error.status
try:
    pathlib.Path("/anything").touch()
    writable = True
except OSError:
    writable = False
pathlib.Path("/scratch/there").write_text("x")
print(json.dumps({
    "uid": os.getuid(), "env": dict(os.environ), "secrets": secrets, "namespace": namespace, "writable": writable,
    "config": pathlib.Path("/etc/app/a/settings.yaml").read_text(), "one": pathlib.Path("/etc/one").read_text(),
    "labels": pathlib.Path("/etc/pod/labels").read_text(), "before": pathlib.Path("/scratch/init").read_text(),
    "torch": importlib.util.find_spec("torch") is not None, "peer": socket.gethostbyname("web.kubelet.svc"),
    "host": pathlib.Path("/etc/shadow").exists(), "processes": [p for p in os.listdir("/proc") if p.isdigit()],
}))
"""


def test_a_pod_has_its_volumes_environment_and_token_and_nothing_else(plane: ControlPlane, space: str) -> None:
    plane.apply(
        [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"s": "x: 1", "LEVEL": "7"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"KEY": "of the house"}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}},
        ],
        space,
    )
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": "app", "items": [{"key": "s", "path": "a/settings.yaml"}]}},
        {"name": "all", "configMap": {"name": "app"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "pod", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "config", "mountPath": "/etc/app", "readOnly": True},
        {"name": "all", "mountPath": "/etc/one", "subPath": "LEVEL", "readOnly": True},
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "pod", "mountPath": "/etc/pod"},
    ]
    init: dict[str, Any] = {"name": "init", "image": CODE_IMAGE, "command": ["sh", "-c", "echo first > /scratch/init"]}
    init |= {"securityContext": SAFE, "volumeMounts": [mounts[2]]}
    made = pod(
        "look",
        "python",
        "-c",
        LOOK,
        spec={"volumes": volumes, "initContainers": [init]},
        volumeMounts=mounts,
        envFrom=[{"configMapRef": {"name": "app"}, "prefix": "APP_"}],
        env=[
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "KEY"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "BOTH", "value": "$(NODE)/$(KEY)/$$(X)"},
            {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
        resources={"limits": {"cpu": "1500m", "memory": "1Gi"}},
    )
    plane.apply([made], space)
    done = over(plane, "look")
    # the client would make Python of text that is JSON
    text = plane.core.read_namespaced_pod_log("look", space, _preload_content=False).data
    assert done.status.phase == "Succeeded", text

    saw = json.loads(text)
    assert saw["uid"] == 10001
    assert saw["secrets"] == 403  # it came with its own token, which may nothing
    assert saw["namespace"] == space
    assert not saw["writable"]
    assert saw["config"] == "x: 1"
    assert saw["one"] == "7" == saw["env"]["APP_LEVEL"]
    assert saw["labels"] == 'app="look"'
    assert saw["before"] == "first\n"
    assert not saw["torch"]  # the slim image has none
    assert saw["peer"] == "127.0.0.1"
    assert not saw["host"]
    assert saw["processes"] == ["1"]
    assert saw["env"]["NODE"].startswith("cpu-")
    assert saw["env"]["BOTH"] == f"{saw['env']['NODE']}/of the house/$(X)"
    assert saw["env"]["CPUS"] == "2"
    assert "HOME" in saw["env"] and "KUBEBUILDER_ASSETS" not in saw["env"]


def test_pods_that_cannot_start_say_why(plane: ControlPlane, space: str) -> None:
    plane.apply([pod("unknown", "true", image="registry.test/nobody:1")], space)
    secret = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "X"}}}
    plane.apply([pod("unset", "true", env=[secret])], space)
    plane.apply([pod("unmounted", "true", spec={"volumes": [{"name": "v", "configMap": {"name": "absent"}}]})], space)
    gpus = {"limits": {"nvidia.com/gpu": 9}, "requests": {"nvidia.com/gpu": 9}}
    plane.apply([pod("too-large", "true", resources=gpus)], space)

    def waits_for(name: str) -> str:
        statuses = _read(plane, name).status.container_statuses or []
        return str(statuses[0].state.waiting.reason) if statuses and statuses[0].state.waiting else ""

    def events(name: str) -> set[str]:
        found = plane.core.list_namespaced_event(space, field_selector=f"involvedObject.name={name}").items
        return {event.reason for event in found}

    wait_for(lambda: waits_for("unknown") == "ImagePullBackOff", 30, "an image that is not there")
    wait_for(lambda: waits_for("unset") == "CreateContainerConfigError", 30, "a secret that is not there")
    wait_for(lambda: "FailedMount" in events("unmounted"), 30, "a config map that is not there")
    wait_for(lambda: "FailedScheduling" in events("too-large"), 30, "more GPUs than any node has")
    for name in ("unknown", "unset", "unmounted", "too-large"):
        plane.core.delete_namespaced_pod(name, space)


def test_pods_end_as_they_do_on_a_cluster(plane: ControlPlane, nodes: Kubelets, space: str) -> None:
    graceful = (
        "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(3)); print('up', flush=True); time.sleep(600)"
    )
    greedy = "x = bytearray(300 << 20); x[::4096] = b'1' * len(x[::4096]); import time; time.sleep(600)"
    plane.apply([pod("graceful", "python", "-c", graceful)], space)
    plane.apply([pod("greedy", "python", "-c", greedy, resources={"limits": {"memory": "100Mi"}})], space)
    plane.apply([pod("evicted", "sleep", "600")], space)
    plane.apply([pod("wrong", "sh", "-c", "exit 7")], space)

    wait_for(lambda: _read(plane, "evicted").status.phase == "Running", 60, "a pod that runs")
    nodes.evict(space, "evicted", "The node was low on resource: ephemeral-storage.")
    gone = over(plane, "evicted").status
    assert (gone.phase, gone.reason) == ("Failed", "Evicted")
    assert "DisruptionTarget" in {condition.type for condition in gone.conditions}
    killed = over(plane, "greedy").status.container_statuses[0].state.terminated
    assert (killed.reason, killed.exit_code) == ("OOMKilled", 137)
    assert over(plane, "wrong").status.container_statuses[0].state.terminated.exit_code == 7

    wait_for(lambda: "up" in nodes.log(space, "graceful"), 60, "a pod that runs")
    began = time.monotonic()
    plane.core.delete_namespaced_pod("graceful", space)
    names = lambda: {p.metadata.name for p in plane.core.list_namespaced_pod(space).items}  # noqa: E731
    wait_for(lambda: "graceful" not in names(), 30, "its deletion")
    assert time.monotonic() - began < 25  # it ended by itself, within its grace period of 30 s


def test_a_deployment_is_ready_when_its_probe_passes_and_restarts_what_ends(
    plane: ControlPlane, nodes: Kubelets, space: str
) -> None:
    port = free_port()
    serve = f"sleep 1; cd /tmp; exec python -m http.server {port} --bind 127.0.0.1"
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    web = pod("web", "sh", "-c", serve, readinessProbe=probe, ports=[{"name": "http", "containerPort": port}])["spec"]
    web |= {"restartPolicy": "Always"}
    labels = {"app": "web"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": web}}
    plane.apply([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}], space)

    def one() -> Any:
        found = plane.core.list_namespaced_pod(space, label_selector="app=web").items
        return found[0].status.container_statuses[0] if found and found[0].status.container_statuses else None

    wait_for(lambda: bool(one() and one().ready), 60, "the Deployment's pod")
    [name] = [p.metadata.name for p in plane.core.list_namespaced_pod(space, label_selector="app=web").items]
    nodes.oom_kill(space, name)
    wait_for(lambda: one().restart_count == 1 and one().ready, 60, "its restart")
    assert one().last_state.terminated.reason == "OOMKilled"
