"""Programs in pods of their own on a real control plane, with no more rights than the chart gives steps."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.cluster.indexed_job import OwnerPod
from openthoughts_dagster.evaluation.confined import ConfinementError, Limits, ProgramPool, StdinTask, kernel
from openthoughts_dagster.evaluation.confined.pod_manifests import WORK_LABEL
from openthoughts_dagster.evaluation.confined.pod_messages import Batch, PodTest, unpack_item
from openthoughts_dagster.evaluation.confined.pod_pool import PodPool
from openthoughts_dagster.evaluation.program_tests import check_test, judge_programs, stdin_test
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubelet import Kubelets
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE, GPU_IMAGE
from openthoughts_dagster_tests.kubernetes.rendering import rendered

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.skipif(not kernel.landlock_version(), reason="the kernel has no Landlock"),
]

SPACE = "program-pods"
LIMITS = Limits(seconds=4, cpu_seconds=1, memory_megabytes=256, output_megabytes=1)
_STEP = """
from openthoughts_dagster.evaluation.confined import start_programs
with start_programs("pod") as pool:
    print("confined by", pool.way)
"""
SELECTOR = ",".join(f"{key}={value}" for key, value in WORK_LABEL.items())


def cluster(runtime_class: str | None) -> Cluster:
    programs = {"runtime_class": runtime_class, "pods": 2, "cpus": 1, "memory": "1Gi", "disk": "64Mi"}
    return Cluster.model_validate({"images": {"code": CODE_IMAGE, "gpu": GPU_IMAGE}, "programs": programs})


@pytest.fixture(scope="module")
def step(plane: ControlPlane, nodes: Kubelets) -> Iterator[tuple[Api, OwnerPod]]:
    """A step's API with the rights of the chart, and the step's pod, in a namespace under the restricted standard."""
    values: dict[str, Any] = {"programPods": {"enabled": True}, "cluster": {"programs": {"runtime_class": "gvisor"}}}
    rights = [
        manifest
        for manifest in rendered(overrides=values, namespace=SPACE, official=False)
        if manifest["kind"] in ("ServiceAccount", "Role", "RoleBinding")
    ]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    variables = {"OPENTHOUGHTS_EXECUTOR": "kubernetes", "OPENTHOUGHTS_CLUSTER": "/etc/openthoughts/cluster.yaml"}
    container = {
        "name": "step",
        "image": CODE_IMAGE,
        "command": ["python", "-c", _STEP],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "securityContext": security,
        "volumeMounts": [{"name": "cluster", "mountPath": "/etc/openthoughts"}],
    }
    step = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "step"},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "openthoughts-run",
            "automountServiceAccountToken": True,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "cluster", "configMap": {"name": "cluster"}}],
        },
    }
    settings = {"cluster.yaml": yaml.safe_dump(cluster(None).model_dump(mode="json"))}
    described = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster"}, "data": settings}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}
    plane.apply([space, *rights, described, step], SPACE)
    token = plane.core.create_namespaced_service_account_token("openthoughts-run", SPACE, {"spec": {}}).status.token
    api = Api(plane.client(token), SPACE, 20)
    found = api.pod("step")
    assert found is not None
    yield api, OwnerPod.of(found)
    plane.core.delete_namespace(SPACE)


class _Watched(Api):
    """Keeps the pods that a step saw, and deletes the first ones, and those with a doomed program, as a drain does."""

    def __init__(self, api: Api, plane: ControlPlane, lose: int = 0) -> None:
        super().__init__(api._client, api.namespace, 20)
        self.seen: dict[str, Any] = {}
        self.maps: list[Any] = []
        self.lost: list[str] = []
        self.doomed: set[str] = set()
        self._plane, self._lose = plane, lose

    def pods_of(self, job: str) -> list[dict[str, Any]]:
        found = super().pods_of(job)
        for pod in found:
            self.seen[pod["metadata"]["name"]] = pod
            if (self._lose or job in self.doomed) and pod["metadata"]["name"] not in self.lost:
                self._lose -= bool(self._lose)
                self.lost.append(pod["metadata"]["name"])
                self._plane.core.delete_namespaced_pod(pod["metadata"]["name"], SPACE, grace_period_seconds=0)
        return found

    def create_config_map(self, config_map: Any) -> bool:
        self.maps.append(config_map)
        content = b"".join(base64.b64decode(part) for part in config_map["binaryData"].values())
        items = [unpack_item(packed) for _, packed in Batch.load(content).items]
        if any("doomed" in test.task.program for tests in items for test in tests):
            self.doomed.add(config_map["metadata"]["name"].rpartition("-")[0])
        return super().create_config_map(config_map)


def left(plane: ControlPlane) -> list[str]:
    """Jobs, pods and ConfigMaps of programs that are still there."""
    lists = (
        plane.batch.list_namespaced_job,
        plane.core.list_namespaced_pod,
        plane.core.list_namespaced_config_map,
    )
    return [item.metadata.name for each in lists for item in each(SPACE, label_selector=SELECTOR).items]


def test_verdicts_are_those_of_this_machine_and_nothing_is_left(
    plane: ControlPlane, step: tuple[Api, OwnerPod]
) -> None:
    api = _Watched(step[0], plane)
    check = "def check(candidate):\n    assert candidate(2) == 4\n"
    secret = "expected-output-that-never-goes-in"
    said = {
        "right": "print(sum(map(int, input().split())))",
        "wrong": "print(3)",
        "early": "raise SystemExit(0)",
        "endless": "while True: pass",
        "network": "import socket\nsocket.socket()\nprint(42)",
        "files": "print(open('/programs/part-0000', 'rb').read() and 42)",
        "forging": "import sys\nline = 'outcome ' + 64 * '0' + ' eJw='\nprint(line)\nprint(line, file=sys.stderr)",
        "squares": "def f(a): return a * a",
        "no squares": "def f(a): return a + 1",
        "hidden": "print('something')",
    }

    def tests_of(name: str, program: str) -> list[Any]:
        if "squares" in name:
            return [check_test("def f(a):", "f", check, program, LIMITS)]
        if name == "hidden":
            return [stdin_test(program, "", secret, LIMITS)]
        return [stdin_test(program, "1 2\n", "3", LIMITS), stdin_test(program, "20 22", "42", LIMITS)]

    asked = [(name, f"```python\n{program}\n```") for name, program in said.items()] + [("none", "``` no program")]
    with PodPool(api, cluster(None), step[1]) as pool, ProgramPool("landlock", workers=2) as local:
        in_pods = judge_programs(pool, tests_of)(asked)
        assert in_pods == judge_programs(local, tests_of)(asked)
    assert [name for (name, _), verdict in zip(asked, in_pods, strict=True) if verdict.right] == ["right", "squares"]
    assert pool.way.startswith("pod (no runtime class) + ") and pool.way.endswith("Landlock + seccomp + limits")

    assert len(api.seen) >= 3  # a trial, and two at once
    for pod in api.seen.values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == "default"
        assert [each["name"] for each in spec["volumes"]] == ["programs"]
        assert pod["metadata"]["labels"].items() >= WORK_LABEL.items()
    assert secret not in json.dumps(api.maps)
    wait_for(lambda: left(plane) == [], 30, "everything of the programs to be gone")


def test_a_lost_pod_is_replaced_unless_its_only_item_ends_it_and_one_that_can_never_start_is_refused(
    plane: ControlPlane, step: tuple[Api, OwnerPod]
) -> None:
    api = _Watched(step[0], plane, lose=1)
    pool = PodPool(api, cluster(None), step[1])  # its trial loses a pod
    assert pool.way.startswith("pod") and len(api.lost) == 1
    programs = ("print(1)", "print(2)", "import time; time.sleep(3)  # doomed")
    one, two, doomed = pool.run_items([[PodTest(StdinTask(program), LIMITS, 100)] for program in programs])
    assert (one[0].stdout, two[0].stdout) == ("1\n", "2\n")
    assert doomed[0].status == "lost" and "its pod was lost 2 times" in doomed[0].detail
    with pytest.raises(ConfinementError, match=r'cannot be started: .*RuntimeClass "gvisor" not found'):
        PodPool(step[0], cluster("gvisor"), step[1])
    wait_for(lambda: left(plane) == [], 30, "everything of the programs to be gone")


def test_a_step_starts_them_as_its_own_pod(plane: ControlPlane, nodes: Kubelets, step: tuple[Api, OwnerPod]) -> None:
    """The step of the fixture, which ran beside the other tests."""
    ended = ("Succeeded", "Failed")
    wait_for(lambda: plane.core.read_namespaced_pod("step", SPACE).status.phase in ended, 60, "the step's end")
    assert "confined by pod (no runtime class) + " in nodes.log(SPACE, "step")
