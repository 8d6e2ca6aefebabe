"""Students on several nodes: two pods train the student that one process trains, and pods may be lost meanwhile."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from openthoughts_dagster.cluster import Cluster, pod_template
from openthoughts_dagster.cluster.pods import cpu_pod
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.storage import Folders
from openthoughts_dagster.training import Trained, train_student
from openthoughts_dagster_tests.e2e.servers import free_port, wait_for
from openthoughts_dagster_tests.kubelet import Kubelets
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE, GPU_IMAGE
from openthoughts_dagster_tests.kubernetes.rendering import rendered
from openthoughts_dagster_tests.object_store import ObjectStore, object_store
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

pytestmark = pytest.mark.kubernetes

SPACE = "several-nodes"
CLUSTER = Cluster.model_validate(
    {"images": {"code": CODE_IMAGE, "gpu": GPU_IMAGE}, "accelerators": {"h100": {"node_selector": {"is": "absent"}}}}
)

# 70 rows in batches of 16: the last batch of an epoch has rows for one process of two
ROWS = sums(70, lengths=7)
TRAINING = quick_training(per_device_batch_size=8, epochs=6)


@pytest.fixture(scope="module")
def store(untrained_model: Path) -> Iterator[ObjectStore]:
    """A store with the base weights in it."""
    with object_store("bucket") as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        Folders().put(untrained_model, "s3://bucket/models/base")
        yield store


@pytest.fixture(scope="module")
def space(plane: ControlPlane, nodes: Kubelets, store: ObjectStore) -> Iterator[str]:
    """A namespace under the restricted standard, with what the chart gives steps: an account and its rights."""
    rights = [
        manifest
        for manifest in rendered(overrides={"severalNodes": {"enabled": True}}, namespace=SPACE, official=False)
        if manifest["kind"] in ("ServiceAccount", "Role", "RoleBinding")
    ]
    environment = store.environment | {
        "OPENTHOUGHTS_EXECUTOR": "kubernetes",
        "OPENTHOUGHTS_CLUSTER": "/etc/openthoughts/cluster.yaml",
    }
    plane.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": SPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            },
            *rights,
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "stringData": environment},
        ],
        SPACE,
    )
    yield SPACE
    plane.core.delete_namespace(SPACE)


class Steps:
    """Steps of one namespace: Pods that start trainings."""

    def __init__(self, plane: ControlPlane, nodes: Kubelets) -> None:
        self._plane, self._nodes = plane, nodes

    def start(self, name: str, student: Student, folder: Path) -> None:
        """Start a step that trains `student` on ROWS."""
        ROWS.write_parquet(folder / "rows.parquet")
        files = {
            "cluster.yaml": yaml.safe_dump(CLUSTER.model_dump(mode="json")).encode(),
            "student.json": student.model_dump_json().encode(),
            "rows.parquet": (folder / "rows.parquet").read_bytes(),
        }
        encoded = {file: base64.b64encode(content).decode() for file, content in files.items()}
        program = [*("python", "-m", "openthoughts_dagster_tests.kubernetes.training_step")]
        program += ["/etc/openthoughts/student.json", "/etc/openthoughts/rows.parquet", str(free_port())]
        template = pod_template(
            cpu_pod(CLUSTER, "student"),
            {
                "name": "step",
                "command": [*program, f"s3://bucket/students/{name}"],
                "envFrom": [{"secretRef": {"name": "store"}}],
                "volumeMounts": [{"name": "files", "mountPath": "/etc/openthoughts"}],
            },
            {"name": name, "labels": {"dagster/run-id": name}},
        )
        template["spec"] |= {"serviceAccountName": "openthoughts-run", "automountServiceAccountToken": True}
        template["spec"]["volumes"].append({"name": "files", "configMap": {"name": name}})
        about: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        self._plane.apply([about | {"binaryData": encoded}, {"apiVersion": "v1", "kind": "Pod"} | template], SPACE)

    def ended(self, name: str) -> bool:
        """Whether a step's Pod has ended, well or not."""
        return self._plane.core.read_namespaced_pod(name, SPACE).status.phase in ("Succeeded", "Failed")

    def log(self, name: str) -> str:
        """What the step said."""
        return self._nodes.log(SPACE, name)

    def left(self, name: str) -> list[str]:
        """Jobs, Services and Pods that belong to a step's training."""
        lists = (
            self._plane.batch.list_namespaced_job,
            self._plane.core.list_namespaced_service,
            self._plane.core.list_namespaced_pod,
        )
        found = [item for each in lists for item in each(SPACE, label_selector=f"dagster/run-id={name}").items]
        return [item.metadata.name for item in found if item.metadata.name != name]


@pytest.fixture(scope="module")
def steps(plane: ControlPlane, nodes: Kubelets, space: str) -> Steps:
    return Steps(plane, nodes)


def student(base: str, **hardware: Any) -> Student:
    small = {"nodes": 2, "cpus": 1, "memory": "3Gi", "disk": "2Gi"}
    return Student.model_validate(
        {"name": "student", "model": base, "training": TRAINING, "hardware": small | hardware}
    )


def test_two_pods_of_which_one_is_killed_train_the_student_that_one_process_trains(
    steps: Steps, nodes: Kubelets, store: ObjectStore, untrained_model: Path, tmp_path: Path
) -> None:
    known, killed = dict[str, None](), threading.Event()

    def hold_the_second(method: str, path: str) -> None:
        """The trainer waits for the upload of a checkpoint before it saves another one."""
        if method == "PUT" and (checkpoint := re.search(r"/checkpoint-\d+/", path)):
            known[checkpoint[0]] = None
            if checkpoint[0] != next(iter(known)):
                killed.wait(240)

    store.fault = hold_the_second
    steps.start("killed", student("s3://bucket/models/base"), tmp_path)

    def checkpoint_or_end() -> bool:
        whole = [key for key in store.keys("bucket") if "/checkpoint-" in key and key.endswith("/manifest.json")]
        return steps.ended("killed") or bool(whole)

    wait_for(checkpoint_or_end, 240, "a checkpoint in the store")
    assert not steps.ended("killed"), steps.log("killed")
    (second,) = [name for name in steps.left("killed") if "-0-1-" in name]
    nodes.oom_kill(SPACE, second)
    killed.set()
    wait_for(lambda: steps.ended("killed"), 240, "the step's end")
    said = steps.log("killed")

    alone_student = student(str(untrained_model))
    alone = train_student(alone_student, locate(alone_student, Path()), ROWS, students_in(tmp_path), print, processes=1)
    assert "trained {" in said, said
    together = Trained(**json.loads(said.partition("trained ")[2].splitlines()[0]))
    assert f"OOMKilled: exit code 137, killed (SIGKILL) (pod {second}" in said
    assert "student: going on from checkpoint-" in said and "student: step 30 of 30" in said
    assert_same(alone, together, Folders(tmp_path / "cache").fetch(together.path))
    assert steps.left("killed") == []
    assert not [key for key in store.keys("bucket") if ".job/" in key or ".partial/" in key or ".claim/" in key]


def test_a_step_that_is_stopped_takes_its_training_with_it(steps: Steps, plane: ControlPlane, tmp_path: Path) -> None:
    # The tiny model's two heads fit no vLLM on eight accelerators, which is refused before a training starts.
    on_what_is_not_there = student("s3://bucket/models/base", accelerator="h100", count=8).model_copy(
        update={"engine": "transformers"}
    )
    for name in ("stopped", "vanished"):
        steps.start(name, on_what_is_not_there, tmp_path)
    for name in ("stopped", "vanished"):
        wait_for(lambda name=name: "waiting: Unschedulable: 0/" in steps.log(name), 60, "pods that wait")  # type: ignore[misc]
        assert "didn't match Pod's node affinity" in steps.log(name)
        assert len(steps.left(name)) == 4
    plane.core.delete_namespaced_pod("stopped", SPACE, grace_period_seconds=30)
    plane.core.delete_namespaced_pod("vanished", SPACE, grace_period_seconds=0)

    for name in ("stopped", "vanished"):
        wait_for(lambda name=name: steps.left(name) == [], 60, f"what {name} left to go")  # type: ignore[misc]


def assert_same(alone: Trained, together: Trained, weights: Path) -> None:
    """The same rows and steps, and weights that differ a hundred times less than training moved them."""
    from safetensors.torch import load_file

    ours, theirs = load_file(weights / "model.safetensors"), load_file(f"{alone.path}/model.safetensors")
    assert ours.keys() == theirs.keys()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 2e-3
    assert (together.fingerprint, together.steps, together.rows) == (alone.fingerprint, alone.steps, alone.rows)
    assert together.losses[-1][1] == pytest.approx(alone.losses[-1][1], abs=2e-3)
