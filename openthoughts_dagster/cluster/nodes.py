"""A student's training on several nodes: an Indexed Job is started again until one attempt succeeds."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from openthoughts_dagster.cluster.api import Api, Object
from openthoughts_dagster.cluster.indexed_job import (
    JOB_LABEL,
    MASTER_PORT,
    OwnerPod,
    headless_service,
    indexed_job,
    pod_address,
)
from openthoughts_dagster.cluster.job_follower import JobFailed, JobFollower, wait_until_gone
from openthoughts_dagster.cluster.pod_state import MOST_TOO_SMALL, may_still_write, now
from openthoughts_dagster.cluster.pods import model_pod
from openthoughts_dagster.cluster.settings import Cluster
from openthoughts_dagster.recipe import Hardware

_LOGGED_PREFIX = "student: "
# The kinds of errors that the next attempt would meet again.
_PERMANENT = re.compile(
    r"training failed on (process|node) \d+: (TrainingError|EngineError|OutOfMemory|OutOfMemoryError|"
    r"ValidationError|ValueError|TypeError|KeyError|AttributeError|AssertionError|ImportError|ModuleNotFoundError):"
)
_GONE_SECONDS = 60


@dataclass(frozen=True)
class NodesOfCluster:
    """Trains students on several nodes of a cluster.

    Attributes:
        api: The API server.
        cluster: The cluster.
        hardware: The hardware of each node, and how many `nodes` there are.
        parent: The pod of the step, which owns the Jobs.
        log: Gets lines of progress.
        port: The port at which the other pods reach the first one.
        attempts: Numbers the Jobs, so that none has the name of one that is being deleted.
    """

    api: Api
    cluster: Cluster
    hardware: Hardware
    parent: OwnerPod
    log: Callable[[str], None]
    port: int = MASTER_PORT
    attempts: Iterator[int] = field(default_factory=itertools.count)

    def train(self, address: str, fingerprint: str, progress: Callable[[], str]) -> None:
        """Train a student. When a pod is lost, all pods start again from the last checkpoint.

        There is no limit on restarts while there are new checkpoints. Without a new checkpoint, training starts again
        at most `lost_pods` times in a row, and three times if pods run out of memory or disk.

        Args:
            address: Where the rows and settings of the training are.
            fingerprint: The student's fingerprint; the names of Jobs begin with a part of it.
            progress: Returns the name of the newest checkpoint, or `final` when the student is finished.

        Raises:
            JobFailed: The training failed in a way that another attempt would meet again, or too often.
            ClusterError: The API server did not answer for too long.
        """
        base = f"train-{fingerprint[:12]}"
        self._delete_earlier_jobs(base)
        fruitless = 0
        while progress() != "final":
            before, name = progress(), f"{base}-{self.parent.uid[:5]}-{next(self.attempts)}"
            following = self._make_attempt(name, address)
            try:
                following.run()
                return
            except JobFailed as failed:
                failed.lines = following.lines()
                if any(_PERMANENT.match(line) for line in failed.lines):
                    raise
                fruitless = 0 if progress() != before else fruitless + 1
                small = following.is_too_small()
                if fruitless > self.cluster.lost_pods or (small and fruitless >= MOST_TOO_SMALL):
                    hint = "; raise memory or disk of student.hardware" if small else ""
                    raise JobFailed(
                        f"its pods ended {fruitless} times without a new checkpoint{hint}; the last time: {failed}"
                    ) from failed
                self.log(f"student: lost a pod, all start again from the last checkpoint: {failed}")
            wait_until_gone(self.api, name, self._grace)

    def _make_attempt(self, name: str, address: str) -> JobFollower:
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
            lambda line: line.startswith(_LOGGED_PREFIX),
            60 * self.cluster.patience_minutes,
        )

    def _delete_earlier_jobs(self, base: str) -> None:
        """Delete the student's Jobs that were left when the pod of their step was lost without notice.

        Kubernetes keeps them as long as it keeps that pod, also one that has failed, and they would write the same
        checkpoints as those of this step.
        """
        for meta in (job["metadata"] for job in self.api.jobs_labelled(JOB_LABEL)):
            name = meta["name"]
            if name.startswith(f"{base}-") and self._is_left(meta):
                self.log(f"student: ending {name}, whose step was lost")
                self.api.delete_job(name)
                self.api.delete_service(name)
                wait_until_gone(self.api, name, self._grace)

    def _is_left(self, meta: Object) -> bool:
        """Whether a Job is of an earlier attempt of this step, or of a step of another run that has ended."""
        run = self.parent.labels.get("dagster/run-id")
        if run is not None and (meta.get("labels") or {}).get("dagster/run-id") == run:
            return True
        owners = [self.api.pod(owner["name"]) for owner in meta.get("ownerReferences") or []]
        return not any(pod is not None and may_still_write(pod, now()) for pod in owners)

    @property
    def _grace(self) -> float:
        return self.cluster.settings("student").grace_seconds + _GONE_SECONDS
