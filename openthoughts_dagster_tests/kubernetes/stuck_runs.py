"""Runs of `step_jobs.py` on a control plane: their executors in processes of this machine, their steps in pods."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import yaml

from openthoughts_dagster_tests.cluster.helpers import recipe_file, teacher
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE, GPU_IMAGE, H100, POOL, PRODUCT

SPACE = "steps"
_SMALL = {"cpus": 1, "memory": "1Gi", "disk": "1Gi"}
_MODELS = {
    "judges": [{"name": "judge", "model": "m/j", "hardware": _SMALL}],
    "student": {
        "name": "student",
        "model": "m/s",
        "preset": "micro",
        "hardware": _SMALL | {"accelerator": "h100", "count": 8},
    },
    "teachers": [
        teacher("one", _SMALL | {"accelerator": "h100", "count": 1}),
        teacher("sixteen", _SMALL | {"accelerator": "h100", "count": 16}),
    ],
}
_TOLERATED = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
_CLUSTER: dict[str, Any] = {
    "images": {"code": CODE_IMAGE, "gpu": GPU_IMAGE},
    "accelerators": {"h100": {"node_selector": {PRODUCT: H100}, "tolerations": [_TOLERATED]}},
    "work": {
        "cpu": {"grace_seconds": 5},
        "judge": {"grace_seconds": 5},
        "teacher": {"grace_seconds": 5, "pod": {"pod_spec_config": {"nodeSelector": {POOL: "gpu-1"}}}},
        "student": {"grace_seconds": 5},
    },
}


class Steps:
    """A namespace for steps, and the instance that their runs are in."""

    def __init__(self, plane: ControlPlane, folder: Path, database: str) -> None:
        self.plane, self.folder = plane, folder
        launcher = {
            "service_account_name": "default",
            "instance_config_map": "instance",
            "dagster_home": "/opt/dagster/dagster_home",
            "job_namespace": SPACE,
            "load_incluster_config": False,
            "kubeconfig_file": str(plane.kubeconfig),
            "env_vars": ["OPENTHOUGHTS_EXECUTOR=kubernetes", "OPENTHOUGHTS_CLUSTER=/etc/openthoughts/cluster.yaml"],
            "volumes": [{"name": "cluster", "configMap": {"name": "cluster"}}],
            "volume_mounts": [{"name": "cluster", "mountPath": "/etc/openthoughts"}],
        }
        logs = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
        configuration = {
            "storage": {"postgres": {"postgres_url": database}},
            "compute_logs": logs,
            "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
            "telemetry": {"enabled": False},
        }
        text = yaml.safe_dump(configuration)
        (folder / "dagster.yaml").write_text(text)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        plane.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}},
                _priority("capped"),
            ]
        )
        plane.apply(
            [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
                _config_map("instance", "dagster.yaml", text),
                _config_map("cluster", "cluster.yaml", yaml.safe_dump(_CLUSTER)),
            ],
            SPACE,
        )
        self.instance = dg.DagsterInstance.from_config(str(folder))

    def start(self, teacher_name: str, **cluster: Any) -> "Run":
        """A run for the partition of the teacher `one` or `sixteen` (h100)."""
        folder = self.folder / uuid4().hex
        folder.mkdir()
        (folder / "cluster.yaml").write_text(yaml.safe_dump(_CLUSTER | cluster))
        recipe_file(folder, **_MODELS)
        return Run(self, folder, teacher_name)


class Run:
    """One run: its pods, its log, and how it ended. Used as a context manager: at the end its process is gone."""

    def __init__(self, steps: Steps, folder: Path, teacher_name: str) -> None:
        self._steps, self._log = steps, folder / "log"
        command = [sys.executable, "-m", "openthoughts_dagster_tests.kubernetes.step_jobs"]
        command += [str(steps.folder), str(folder), teacher_name, folder.name]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        mine = dg.RunsFilter(tags={"test": folder.name})
        wait_for(lambda: self._ended() or bool(steps.instance.get_run_ids(mine)), 90, "the run")
        assert not self._ended(), self._log.read_text()[-3000:]
        (self.id,) = steps.instance.get_run_ids(mine)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def pods(self, step: str | None = None) -> list[Any]:
        """The pods of its steps, or of one, that there are."""
        label = f"dagster/run-id={self.id}" + (f",dagster/op={step}" if step else "")
        return list(self._steps.plane.core.list_namespaced_pod(SPACE, label_selector=label).items)

    def says(self, step: str, text: str, seconds: float = 60) -> None:
        """Waits until the run's log has a text of Kubernetes on a step: a minute is what is promised."""
        wait_for(lambda: self._ended() or text in self.log(step), seconds, f"{text!r} in the log of {step}")
        assert text in self.log(step), self.log(step)

    def log(self, step: str) -> str:
        """The messages of the run's log on a step, and why it failed."""
        events = [e.dagster_event for e in self._steps.instance.all_logs(self.id) if e.step_key == step]
        told = [event for event in events if event is not None]
        errors = [event.step_failure_data.error for event in told if event.is_step_failure]
        return "\n".join([*(event.message or "" for event in told), *(error.message for error in errors if error)])

    def succeeds(self, seconds: float = 300) -> bool:
        """Whether it succeeded, once it has ended."""
        wait_for(self._ended, seconds, "the end of the run")
        return self._process.returncode == 0

    def _ended(self) -> bool:
        return self._process.poll() is not None


def _priority(name: str) -> dict[str, Any]:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 0}


def _config_map(name: str, file: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {file: text}}
