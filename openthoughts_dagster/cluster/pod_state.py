"""Why a pod waits or is gone, in Kubernetes' own words: read from Pods, Jobs and Events as the API gives them.

Objects are dictionaries with the API's own names, as the client's `sanitize_for_serialization` gives them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_STARTING = ("ContainerCreating", "PodInitializing")
# Events of type Normal that say why a pod is lost; every Warning is told as well.
_TOLD = ("Preempted", "TaintManagerEviction", "NodeNotReady")
# What the kubelet goes on trying while a pod waits for something that may never be there.
_WAITS_FOR_OTHERS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")
_SIGNALS = {137: "killed (SIGKILL)", 143: "stopped (SIGTERM)", 139: "crashed (SIGSEGV)"}
_GONE_AFTER = timedelta(seconds=15)
_REPEATED = timedelta(seconds=150)  # the kubelet mounts again after two minutes at most

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Reason:
    """One thing that Kubernetes says of an object. `stuck`: it waits for what may never be there."""

    about: str
    reason: str
    message: str
    stuck: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The same for what a Pod's status and its events say alike."""
        return self.about.partition(" on node ")[0], self.reason

    def __str__(self) -> str:
        return f"{self.reason}: {self.message} ({self.about})" if self.message else f"{self.reason} ({self.about})"


def pod_reasons(pod: Object) -> Iterator[Reason]:
    """What a Pod's status says of why it does not run, or no longer."""
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
    """What a Job's status says: why it failed, or that a queue holds it back."""
    about = f"job {job['metadata']['name']}"
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Failed", "FailureTarget", "Suspended"):
            yield Reason(about, condition.get("reason") or condition["type"], condition.get("message") or "")


def event_reasons(events: Sequence[Object], at: datetime) -> Iterator[Reason]:
    """What the Events of an object warn of, oldest first. One that is not repeated any more holds nothing up."""
    for event in sorted(events, key=_last):
        reason = event.get("reason") or ""
        cancelled = reason == "TaintManagerEviction" and "Cancelling" in (event.get("message") or "")
        if (event.get("type") == "Warning" or reason in _TOLD) and not cancelled:
            involved = event.get("involvedObject") or {}
            about = f"{str(involved.get('kind', '')).lower()} {involved.get('name', '')}"
            goes_on = _last(event) > (at - _REPEATED).isoformat()
            yield Reason(about, reason, event.get("message") or "", stuck=reason in _WAITS_FOR_OTHERS and goes_on)


def _last(event: Object) -> str:
    at = event.get("lastTimestamp") or event.get("eventTime")
    return "" if at is None else datetime.fromisoformat(str(at)).astimezone(UTC).isoformat()


def runs_undisturbed(pod: Object) -> bool:
    """A pod that runs and that nothing is known against: no events need to be read for it."""
    status = pod.get("status") or {}
    not_ready = any(c["type"] == "Ready" and c["status"] != "True" for c in status.get("conditions") or [])
    return status.get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp") and not not_ready


def is_started(pod: Object) -> bool:
    """Whether the pod got past waiting for images, secrets and volumes."""
    return (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed")


def may_still_write(pod: Object, now: datetime) -> bool:
    """Whether the pod's program may still be at work: a replacement beside it would pay for the same answers.

    A pod on a node that vanished is never confirmed as gone: the time that it was given to end is waited for.
    """
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    # The API server sets it to when the grace period ends.
    deleted = pod["metadata"].get("deletionTimestamp")
    return deleted is None or now < datetime.fromisoformat(str(deleted)) + _GONE_AFTER


def is_failed(job: Object) -> bool:
    """Whether the Job will not bring the step to its end."""
    status = job.get("status") or {}
    ended = {c["type"] for c in status.get("conditions") or [] if c["status"] == "True"}
    return bool(status.get("failed")) or bool(ended & {"Failed", "FailureTarget"})


def ended_for(job: Object, now: datetime) -> timedelta | None:
    """How long ago the Job completed; None while it did not."""
    at = (job.get("status") or {}).get("completionTime")
    return None if at is None else now - datetime.fromisoformat(str(at))


def now() -> datetime:
    """The time, as the API writes it."""
    return datetime.now(UTC)
