"""Why a pod waits or is gone, in Kubernetes' own words.

The reasons are read from Pods, Jobs and Events, which are dictionaries with the names of the API, as the client's
`sanitize_for_serialization` returns them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_STARTING = ("ContainerCreating", "PodInitializing")
# Events of type Normal that say why a pod is lost. Every Event of type Warning is reported as well.
_TOLD = ("Preempted", "TaintManagerEviction", "NodeNotReady")
# Actions that the kubelet repeats while a pod waits for something that may never be there.
_WAITS_FOR_OTHERS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")
_SIGNALS = {137: "killed (SIGKILL)", 143: "stopped (SIGTERM)", 139: "crashed (SIGSEGV)"}
_GONE_AFTER = timedelta(seconds=15)
MOST_TOO_SMALL = 3
"""How many pods in a row may run out of memory or disk: the next one would be as small."""
_REPEATED = timedelta(seconds=150)  # the kubelet tries to mount a volume again after at most two minutes

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Reason:
    """One thing that Kubernetes says about an object.

    Attributes:
        about: The object, such as "pod NAME on node NODE".
        reason: Kubernetes' name of the reason, such as "Unschedulable".
        message: Kubernetes' message.
        stuck: Whether the object waits for something that may never be there.
    """

    about: str
    reason: str
    message: str
    stuck: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the reason: equal for the status of a Pod and for its Events when they say the same."""
        return self.about.partition(" on node ")[0], self.reason

    def __str__(self) -> str:
        return f"{self.reason}: {self.message} ({self.about})" if self.message else f"{self.reason} ({self.about})"


def pod_reasons(pod: Object) -> Iterator[Reason]:
    """Read from a Pod's status why it does not run, or no longer runs."""
    status, about = pod.get("status") or {}, f"pod {pod['metadata']['name']}"
    if node := (pod.get("spec") or {}).get("nodeName"):
        about += f" on node {node}"
    if status.get("reason"):
        yield Reason(about, status["reason"], status.get("message") or "")
    for condition in status.get("conditions") or []:
        said = condition.get("reason") or condition["type"], condition.get("message") or ""
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield Reason(about, *said)
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            yield Reason(about, *said)
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = container.get("state") or {}
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason") and waiting["reason"] not in _STARTING:
            yield Reason(about, waiting["reason"], waiting.get("message") or "", stuck=True)
        if ended and ended.get("exitCode"):
            code = ended["exitCode"]
            says = f"exit code {code}" + (f", {_SIGNALS[code]}" if code in _SIGNALS else "")
            message = "; ".join(part for part in (says, (ended.get("message") or "").strip()) if part)
            yield Reason(about, ended.get("reason") or "Error", message)


def job_reasons(job: Object) -> Iterator[Reason]:
    """Read from a Job's status why it failed, or that a queue holds it back."""
    about = f"job {job['metadata']['name']}"
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Failed", "FailureTarget", "Suspended"):
            yield Reason(about, condition.get("reason") or condition["type"], condition.get("message") or "")


def event_reasons(events: Sequence[Object], at: datetime) -> Iterator[Reason]:
    """Read reasons from Events, the oldest first. An Event that is no longer repeated does not count as stuck."""
    for event in sorted(events, key=_time_of):
        reason = event.get("reason") or ""
        cancelled = reason == "TaintManagerEviction" and "Cancelling" in (event.get("message") or "")
        if (event.get("type") == "Warning" or reason in _TOLD) and not cancelled:
            involved = event.get("involvedObject") or {}
            about = f"{str(involved.get('kind', '')).lower()} {involved.get('name', '')}"
            goes_on = _time_of(event) > (at - _REPEATED).isoformat()
            yield Reason(about, reason, event.get("message") or "", stuck=reason in _WAITS_FOR_OTHERS and goes_on)


def _time_of(event: Object) -> str:
    at = event.get("lastTimestamp") or event.get("eventTime")
    return "" if at is None else datetime.fromisoformat(str(at)).astimezone(UTC).isoformat()


def is_too_small(reasons: Sequence[Reason]) -> bool:
    """Whether a pod was ended because it needs more memory or disk than it has, so that the next one would be too."""
    return any(
        reason.reason == "OOMKilled" or (reason.reason == "Evicted" and "exceed" in reason.message)
        for reason in reasons
    )


def runs_undisturbed(pod: Object) -> bool:
    """Whether a pod runs and is neither deleted nor unready, so that its Events need not be read."""
    status = pod.get("status") or {}
    not_ready = any(c["type"] == "Ready" and c["status"] != "True" for c in status.get("conditions") or [])
    return status.get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp") and not not_ready


def is_started(pod: Object) -> bool:
    """Whether the pod has its images, secrets and volumes and has started."""
    return (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed")


def may_still_write(pod: Object, now: datetime) -> bool:
    """Whether the pod's program may still run. A replacement beside it would pay for the same answers.

    Kubernetes never confirms that a pod on a vanished node is gone, so its grace period decides.
    """
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    # The API server sets deletionTimestamp to the end of the grace period.
    deleted = pod["metadata"].get("deletionTimestamp")
    return deleted is None or now < datetime.fromisoformat(str(deleted)) + _GONE_AFTER


def is_failed(job: Object) -> bool:
    """Whether the Job has failed, or lost a pod and so will fail."""
    status = job.get("status") or {}
    ended = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    return bool(status.get("failed")) or bool(ended & {"Failed", "FailureTarget"})


def ended_for(job: Object, now: datetime) -> timedelta | None:
    """Return how long ago the Job completed, or None when it has not completed."""
    at = (job.get("status") or {}).get("completionTime")
    return None if at is None else now - datetime.fromisoformat(str(at))


def now() -> datetime:
    """Return the present time in UTC, as the API writes it."""
    return datetime.now(UTC)
