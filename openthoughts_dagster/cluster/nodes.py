"""A student's training on several nodes: attempts of an Indexed Job until one comes to its end."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.cluster.indexed_job import (
    MASTER_PORT,
    OwnerPod,
    headless_service,
    indexed_job,
    pod_address,
)
from openthoughts_dagster.cluster.job_follower import JobFailed, JobFollower, wait_until_gone
from openthoughts_dagster.cluster.pods import model_pod
from openthoughts_dagster.cluster.settings import Cluster
from openthoughts_dagster.recipe import Hardware

_TOLD = "student: "
# How a process says that the next attempt would only find the same: by the kind of its error.
_PERMANENT = re.compile(
    r"training failed on (process|node) \d+: (TrainingError|EngineError|OutOfMemoryError|"
    r"ValidationError|ValueError|TypeError|KeyError|AttributeError|AssertionError|ImportError|ModuleNotFoundError):"
)
_GONE_SECONDS = 60


@dataclass(frozen=True)
class NodesOfCluster:
    """Trains jobs on `hardware.nodes` nodes of a cluster. Raises JobFailed, and ClusterError for a mute API server."""

    api: Api
    cluster: Cluster
    hardware: Hardware
    parent: OwnerPod
    log: Callable[[str], None]
    port: int = MASTER_PORT

    def train(self, address: str, fingerprint: str, progress: Callable[[], str]) -> None:
        """Train the job at `address`; `progress` names the newest checkpoint, and `final` when there is a student.

        When a pod is lost all pods start again from the last checkpoint, as often as it takes while new ones come; and
        `lost_pods` times in a row without.
        """
        base = f"train-{fingerprint[:12]}"
        self._end_earlier(base)
        attempt = fruitless = 0
        while progress() != "final":
            before, name = progress(), f"{base}-{self.parent.uid[:5]}-{attempt}"
            following = self._attempt(name, address)
            try:
                following.run()
                return
            except JobFailed as failed:
                if any(_PERMANENT.match(line) for line in following.lines()):
                    raise
                fruitless = 0 if progress() != before else fruitless + 1
                if fruitless > self.cluster.lost_pods:
                    raise JobFailed(f"{fruitless} times without a new checkpoint, the last time: {failed}") from failed
                self.log(f"student: lost a pod, all start again from the last checkpoint: {failed}")
            wait_until_gone(self.api, name, self._grace)
            attempt += 1

    def _attempt(self, name: str, address: str) -> JobFollower:
        nodes, processes = self.hardware.nodes, max(1, self.hardware.count)
        command = ["python", "-m", "openthoughts_dagster.training.node", address]
        command += ["--nodes", str(nodes), "--processes", str(processes)]
        command += ["--master", pod_address(name, 0), "--port", str(self.port)]
        config = model_pod(self.cluster, self.hardware, "student", group=name)
        return JobFollower(
            self.api,
            indexed_job(name, nodes, config, command, self.parent, self.port),
            headless_service(name, self.parent, self.port),
            self.log,
            lambda line: line.startswith(_TOLD),
            60 * self.cluster.patience_minutes,
        )

    def _end_earlier(self, base: str) -> None:
        """End what an earlier attempt of this step left behind: its pod may have been lost without a word."""
        run = self.parent.labels.get("dagster/run-id")
        left = [] if run is None else self.api.jobs_of_run(run)
        for name in (job["metadata"]["name"] for job in left):
            if name.startswith(f"{base}-"):
                self.log(f"student: ending {name}, which an earlier attempt of this step left")
                self.api.delete_job(name)
                self.api.delete_service(name)
                wait_until_gone(self.api, name, self._grace)

    @property
    def _grace(self) -> float:
        return self.cluster.settings("student").grace_seconds + _GONE_SECONDS
