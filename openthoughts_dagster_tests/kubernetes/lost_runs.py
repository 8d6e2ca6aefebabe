"""Runs of `step_jobs.py` on a control plane: their executors in threads of this process, their steps in pods."""

import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import yaml

from openthoughts_dagster_tests.cluster.helpers import recipe_file, teacher
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE, GPU_IMAGE, H100, PRODUCT

SPACE = "steps"
_SMALL = {"cpus": 1, "memory": "1Gi", "disk": "1Gi"}
_TEACHERS = {"cpus": _SMALL} | {
    name: _SMALL | {"accelerator": "h100", "count": count}
    for name, count in {"one": 1, "eight": 8, "sixteen": 16}.items()
}

_TOLERATED = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
_CLUSTER: dict[str, Any] = {
    "images": {"code": CODE_IMAGE, "gpu": GPU_IMAGE},
    "accelerators": {"h100": {"node_selector": {PRODUCT: H100}, "tolerations": [_TOLERATED]}},
    "work": {"teacher": {"grace_seconds": 5}},
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
        urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}}
        plane.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}},
                urgent | {"value": 1000},
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
        """A run for the partition of a teacher: cpus, one, eight or sixteen (h100)."""
        folder = self.folder / uuid4().hex
        folder.mkdir()
        (folder / "cluster.yaml").write_text(yaml.safe_dump(_CLUSTER | cluster))
        models = {
            "judges": [{"name": "judge", "model": "m/j", "hardware": {}}],
            "student": {"name": "student", "model": "m/s", "preset": "micro", "hardware": {}},
            "teachers": [teacher(name, hardware) for name, hardware in _TEACHERS.items()],
        }
        recipe_file(folder, **models)
        return Run(self, folder, teacher_name)


class Run:
    """One run: its pods, its log, and how it ended."""

    def __init__(self, steps: Steps, folder: Path, teacher_name: str) -> None:
        self._steps, self.success = steps, False
        name = uuid4().hex
        job = dg.build_reconstructable_job(
            "openthoughts_dagster_tests.kubernetes.step_jobs", "lost_job", reconstructable_args=(str(folder),)
        )

        def run() -> None:
            tags = {"dagster/partition/teacher": teacher_name, "test": name}
            with dg.execute_job(job, steps.instance, tags=tags) as result:
                self.success = result.success

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        mine = dg.RunsFilter(tags={"test": name})
        wait_for(lambda: bool(steps.instance.get_run_ids(mine)), 60, "the run")
        (self.id,) = steps.instance.get_run_ids(mine)

    def pods(self) -> list[Any]:
        """Its steps' pods that there are."""
        label = f"dagster/run-id={self.id}"
        return list(self._steps.plane.core.list_namespaced_pod(SPACE, label_selector=label).items)

    def at_work(self) -> str:
        """The name of its pod, once its step is at work there."""
        started = dg.DagsterEventType.STEP_START
        wait_for(
            lambda: bool(self._steps.instance.get_records_for_run(self.id, of_type=started).records), 120, "a step"
        )
        return str(self.pods()[0].metadata.name)

    def says(self, text: str, seconds: float = 60) -> None:
        """Waits until the run's log has a text of Kubernetes: a minute is what is promised."""
        wait_for(lambda: text in self.log(), seconds, f"{text!r} in the log")

    def log(self) -> str:
        """The messages of the run's log."""
        entries = self._steps.instance.all_logs(self.id)
        return "\n".join(f"{e.user_message} {e.message}" for e in entries)

    def ends(self, seconds: float = 120) -> bool:
        """Whether it succeeded, once it has ended."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.log()
        return self.success


def _config_map(name: str, file: str, text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {file: text}}
