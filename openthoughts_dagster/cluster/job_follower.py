"""Following an Indexed Job to its end, from the step that started it."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from openthoughts_dagster.cluster.api import Api, Object
from openthoughts_dagster.cluster.loading import ClusterError
from openthoughts_dagster.cluster.pod_state import (
    Reason,
    event_reasons,
    is_failed,
    is_started,
    is_too_small,
    job_reasons,
    may_still_write,
    now,
    pod_reasons,
)

_POLL_SECONDS = 2.0
_TAIL = 200
_LOST_ANOTHER = re.compile(r"exit code 1\b")
_INDEX = "batch.kubernetes.io/job-completion-index"


class JobFailed(ClusterError):
    """A Job did not succeed. The message has the pods, Kubernetes' own reasons, and the last lines of a log."""

    lines: Sequence[str] = ()
    """The last lines of the logs of its pods, if another attempt would fail as well."""


class JobFollower:
    """One attempt: it creates a Job and its Service, follows the Job, and deletes both.

    Args:
        api: The API server.
        job: The manifest of the Job.
        service: The manifest of its Service.
        log: Gets each chosen line of the first pod's log once, and each new reason why a pod waits.
        tells: Chooses the lines of the first pod's log.
        patience: Seconds that a pod may wait for an image, a secret or a volume before the attempt fails.
    """

    def __init__(
        self,
        api: Api,
        job: Mapping[str, Any],
        service: Mapping[str, Any],
        log: Callable[[str], None],
        tells: Callable[[str], bool],
        patience: float,
    ) -> None:
        self._api, self._job, self._service = api, job, service
        self._log, self._tells, self._patience = log, tells, timedelta(seconds=patience)
        self._name = str(job["metadata"]["name"])
        self._lines_logged: list[str] = []
        self._reasons_logged: set[str] = set()
        self._lost: dict[str, list[Reason]] = {}
        self._logs: dict[str, list[str]] = {}

    def run(self) -> None:
        """Create the Job, follow it to its end, and delete it in every case. Raises JobFailed."""
        try:
            self._api.create_service(self._service)
            self._api.create_job(self._job)
            self._follow()
        finally:
            # This runs when the step is stopped too. When the process is killed, the end of the owner deletes both.
            self._api.delete_job(self._name)
            self._api.delete_service(self._name)

    def lines(self) -> list[str]:
        """Return the last log lines of the first pod and of the pods that failed, as far as they could be read."""
        return [line for lines in self._logs.values() for line in lines]

    def is_too_small(self) -> bool:
        """Whether a pod ran out of memory or disk, so that those of the next attempt would too."""
        return any(is_too_small(reasons) for reasons in self._lost.values())

    def _follow(self) -> None:
        stuck_since: float | None = None
        while True:
            job, pods = self._api.job(self._name), self._api.pods_of(self._name)
            self._record_pods(pods)
            if job is None:
                raise JobFailed(
                    self._describe_failure([Reason(f"job {self._name}", "Deleted", "it was deleted by somebody")])
                )
            if is_failed(job):
                # The states of the other pods are known a moment later. Their logs are read before they are deleted.
                time.sleep(_POLL_SECONDS)
                self._record_pods(self._api.pods_of(self._name))
                raise JobFailed(self._describe_failure(list(job_reasons(job))))
            if (job.get("status") or {}).get("completionTime"):
                return
            stuck = self._log_waiting_reasons(job, pods)
            stuck_since = None if stuck is None else stuck_since or time.monotonic()
            if stuck and stuck_since and time.monotonic() - stuck_since > self._patience.total_seconds():
                raise JobFailed(f"its pods cannot start: {stuck}")
            time.sleep(_POLL_SECONDS)

    def _record_pods(self, pods: list[Object]) -> None:
        """Log what is new in the first pod's log, and keep the reasons and logs of failed pods, which are soon gone."""
        for pod in pods:
            name, failed = pod["metadata"]["name"], (pod.get("status") or {}).get("phase") == "Failed"
            first = (pod["metadata"].get("annotations") or {}).get(_INDEX) == "0"
            reasons = list(pod_reasons(pod)) if is_started(pod) else []
            if reasons:
                self._lost[name] = reasons
            if is_started(pod) and (first or (failed and name not in self._logs)):
                self._logs[name] = self._api.log_of(name, _TAIL) or self._logs.get(name, [])
                if first:
                    self._log_new_lines([line for line in self._logs[name] if self._tells(line)])

    def _log_new_lines(self, lines: list[str]) -> None:
        """Log the lines that were not logged before. Only the end of a log is read, so that reading it stays cheap."""
        known = next((n for n in range(len(lines), 0, -1) if lines[:n] == self._lines_logged[-n:]), 0)
        for line in lines[known:]:
            self._log(line)
        self._lines_logged = [*self._lines_logged, *lines[known:]][-2 * _TAIL :]

    def _log_waiting_reasons(self, job: Object, pods: list[Object]) -> Reason | None:
        """Log why pods wait, each reason once. Returns a reason that may never go away, or None."""
        reasons = list(job_reasons(job))
        if len(pods) < job["spec"]["parallelism"]:
            reasons += event_reasons(self._api.events_of("Job", self._name), now())
        for pod in pods:
            if not is_started(pod):
                events = self._api.events_of("Pod", pod["metadata"]["name"])
                reasons += [*pod_reasons(pod), *event_reasons(events, now())]
        for reason in reasons:
            if str(reason) not in self._reasons_logged:
                self._reasons_logged.add(str(reason))
                self._log(f"waiting: {reason}")
        return next((reason for reason in reasons if reason.stuck), None)

    def _describe_failure(self, of_job: list[Reason]) -> str:
        """Describe the failure, its likely cause first: a pod that only lost another pod ends with exit code 1."""
        lost = sorted(self._lost.items(), key=lambda item: all(_LOST_ANOTHER.match(r.message) for r in item[1]))
        said = [str(reason) for _, reasons in lost for reason in reasons] or [str(reason) for reason in of_job]
        lines = [line for name, _ in lost[:1] for line in self._logs.get(name, [])[-15:]]
        return "; ".join(said) + ("\nThe end of its log:\n" + "\n".join(lines) if lines else "")


def wait_until_gone(api: Api, job: str, seconds: float) -> None:
    """Wait until no pod of a deleted Job can write any more, since two trainings would write the same checkpoints.

    Raises:
        JobFailed: A pod is still there after `seconds`.
    """
    until = time.monotonic() + seconds
    while any(may_still_write(pod, now()) for pod in api.pods_of(job)):
        if time.monotonic() > until:
            raise JobFailed(f"job {job} was deleted, and its pods are still there after {seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
