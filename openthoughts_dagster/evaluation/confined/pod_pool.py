"""Programs in pods of their own, without token and network, in the sandbox of a runtime class."""

import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.cluster.api import Api
from openthoughts_dagster.cluster.indexed_job import OwnerPod
from openthoughts_dagster.cluster.pod_state import Reason, event_reasons, is_failed, is_started, now, pod_reasons
from openthoughts_dagster.cluster.settings import ProgramPods
from openthoughts_dagster.evaluation.confined.limits import ConfinementError, Limits, Outcome, StdinTask
from openthoughts_dagster.evaluation.confined.pod_manifests import PART_BYTES, config_maps, programs_job
from openthoughts_dagster.evaluation.confined.pod_messages import (
    KEY_BYTES,
    WAY,
    Batch,
    PodTest,
    pack_item,
    read_lines,
    unsigned_lines,
)

_log = logging.getLogger(__name__)
_ATTEMPTS = 2  # pods of its own that an item gets before it counts as lost
_SMALLER = 8  # share of a lost pod's items that come together again, so that the one which ends its pod is found
_TAIL_CHARACTERS = 500
_POLL_SECONDS = 1.0
_MOST_LOG_BYTES = 32_000_000
_MOST_ITEM_BYTES = 20 * PART_BYTES
_TRIAL = PodTest(StdinTask("print(int(input()) * 7)", "6"), Limits(), 1000)


@dataclass
class _Item:
    """The tests of one item, compressed. `together` is how many items may share its pod after it lost one."""

    number: int
    packed: bytes
    lost: int = 0
    together: int | None = None


_Found = dict[int, list[Outcome] | str]


def require_settings(cluster: Cluster) -> ProgramPods:
    """Return the cluster's settings for pods of programs. Raises ConfinementError if it has none."""
    if cluster.programs is None:
        raise ConfinementError(
            "evaluation.confinement is pod, and the cluster's settings have no `programs`: name a runtime class in "
            "`programs.runtime_class` (values: cluster.programs, programPods.enabled; docs/kubernetes.md). "
            "`runtime_class: null`, in so many words, confines programs by Landlock inside the pod alone"
        )
    return cluster.programs


class PodPool:
    """Runs untrusted programs in pods. What a pod says about a program is judged here, outside.

    Each pod gets programs and inputs in ConfigMaps, and answers with signed lines in its log. It belongs to the pod of
    the step, and is deleted when its programs have run.

    Args:
        api: The API server.
        cluster: The cluster, with its settings for these pods.
        owner: The pod of the step.

    Attributes:
        way: The way in which programs are confined, in words, for the record.
        workers: Pods at once.

    Raises:
        ConfinementError: The cluster has no settings for these pods, or a trial pod does not confine a program.
    """

    def __init__(self, api: Api, cluster: Cluster, owner: OwnerPod) -> None:
        self._api, self._cluster, self._owner, self._programs = api, cluster, owner, require_settings(cluster)
        self._stopped = threading.Event()
        self._inside = ""
        self.workers = self._programs.pods
        self._require_trial()
        runtime = self._programs.runtime_class
        self.way = f"pod ({f'runtime class {runtime}' if runtime else 'no runtime class'}) + {self._inside}"

    def run_items(self, items: Sequence[Sequence[PodTest]]) -> list[list[Outcome]]:
        """Run the tests of items, each item's until one does not end well.

        Args:
            items: The tests of each item.

        Returns:
            The outcomes of each item, in order. There are fewer outcomes than tests when the last one is not "ok". An
            item that lost two pods of its own has one outcome, whose status is "lost" and whose detail says why.

        Raises:
            ConfinementError: An item is too large for a pod, or all pods are lost, even that of a trial program.
        """
        self._stopped.clear()
        left = [_Item(number, pack_item(tests)) for number, tests in enumerate(items) if tests]
        for item in left:
            if len(item.packed) > _MOST_ITEM_BYTES:
                raise ConfinementError(
                    f"the tests of item {item.number} of {len(left)} have {len(item.packed) / 1e6:.0f} MB compressed, "
                    f"and a pod gets at most {_MOST_ITEM_BYTES / 1e6:.0f} MB: use another `confinement` for this "
                    "benchmark"
                )
        done: dict[int, list[Outcome]] = {}
        in_a_row = 0  # pods without any outcome
        with ThreadPoolExecutor(self.workers) as threads:
            try:
                while left:
                    any_ended = False
                    for batch, found, reason in threads.map(self._run_batch, _split(left, self.workers)):
                        ended = {number: each for number, each in found.items() if not isinstance(each, str)}
                        done |= ended | _count_losses(batch, found, reason)
                        any_ended |= bool(ended)
                        in_a_row = 0 if ended else in_a_row + 1
                        if in_a_row > self.workers:  # is it the programs, or the cluster?
                            self._require_trial()
                            in_a_row = 0
                    if not any_ended:
                        self._require_trial()
                        in_a_row = 0
                    left = [item for item in left if item.number not in done]
            finally:
                self._stopped.set()  # after an error or an interrupt the other pods are of no use
        return [done.get(number, []) for number in range(len(items))]

    def close(self) -> None:
        """Do nothing: each pod is deleted when its programs have run."""

    def __enter__(self) -> "PodPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_trial(self) -> None:
        """Run a trial program. Raises ConfinementError if its pods are lost, or if it ends wrongly."""
        trial, lost = [_Item(0, pack_item([_TRIAL]))], dict[int, list[Outcome]]()
        while not lost:
            _, found, reason = self._run_batch(trial)
            if isinstance(outcomes := found.get(0), list):
                if outcomes[0].stdout != "42\n":
                    raise ConfinementError(f"a trial program in a pod ended wrongly: {outcomes[0]}")
                return
            lost = _count_losses(trial, found, reason)
        raise ConfinementError(f"a trial program could not be run in a pod: {lost[0][0].detail}")

    def _run_batch(self, batch: Sequence[_Item]) -> tuple[Sequence[_Item], _Found, str]:
        name, key = f"programs-{secrets.token_hex(6)}", secrets.token_bytes(KEY_BYTES)
        sandboxed = self._programs.runtime_class is not None
        packed = [(item.number, item.packed) for item in batch]
        work = Batch(key, sandboxed, self._programs.cpus, 60 * self._programs.deadline_minutes, packed)
        maps = config_maps(name, work.dump(), self._owner)
        parts = [str(each["metadata"]["name"]) for each in maps]
        try:
            for each in maps:
                self._api.create_config_map(each)
            self._api.create_job(programs_job(name, parts, self._cluster, self._programs, self._owner))
            log, reason = self._follow(name)
        finally:
            # When the process is killed, the end of the owner deletes all of them.
            self._api.delete_job(name)
            for part in parts:
                self._api.delete_config_map(part)
        found = dict(read_lines(key, log))
        inside = found.pop(WAY, None)
        if isinstance(inside, str):
            self._inside = inside
        return batch, found, reason

    def _follow(self, name: str) -> tuple[str, str]:
        """Wait for the end of the Job's pod, and return its log and why it failed; empty when it did not fail."""
        waits_since: float | None = None
        while not self._stopped.is_set():
            job, pods = self._api.job(name), self._api.pods_of(name)
            if job is None:
                return "", f"job {name} was deleted by somebody"
            if is_failed(job) or (job.get("status") or {}).get("completionTime"):
                return self._read_end(name, is_failed(job))
            stuck = self._stuck_reason(name, pods)
            waits_since = None if stuck is None else waits_since or time.monotonic()
            patience = 60 * self._cluster.patience_minutes
            if stuck and ("RuntimeClass" in stuck.message or time.monotonic() - (waits_since or 0) > patience):
                raise ConfinementError(f"a pod for programs cannot be started: {stuck}")
            self._stopped.wait(_POLL_SECONDS)
        return "", "it was stopped"

    def _read_end(self, name: str, failed: bool) -> tuple[str, str]:
        logs, reasons = [], []
        for pod in self._api.pods_of(name):
            reasons += [str(each) for each in pod_reasons(pod)]
            log = self._api.whole_log_of(pod["metadata"]["name"], _MOST_LOG_BYTES)
            if log is None:
                reasons.append(f"the log of pod {pod['metadata']['name']} could not be read")
            logs.append(log or "")
            if failed and log and (said := unsigned_lines(log)[-_TAIL_CHARACTERS:].strip()):
                reasons.append(f"the end of its log: {said}")
        if failed and not reasons:
            reasons.append(f"job {name} failed, and its pod is gone")
        return "\n".join(logs), "; ".join(reasons)

    def _stuck_reason(self, name: str, pods: Sequence[dict[str, object]]) -> Reason | None:
        """Return why the pod may never start; None when it runs, or waits for room in the cluster."""
        if any(is_started(pod) for pod in pods):
            return None
        if not pods:
            reasons = event_reasons(self._api.events_of("Job", name), now())
            return next((each for each in reasons if "exceeded quota" not in each.message), None)
        return next((each for pod in pods for each in pod_reasons(pod) if each.stuck), None)


def _split(items: Sequence[_Item], pods: int) -> Iterator[Sequence[_Item]]:
    """Split items among pods, each of which gets at most one ConfigMap, or one item that is larger."""
    share = -(-len(items) // pods)
    batch: list[_Item] = []
    size, most = 0, share
    for item in items:
        most = min(most, item.together or share)
        if batch and (len(batch) >= most or size + len(item.packed) > PART_BYTES - 100 * share):
            yield batch
            batch, size, most = [], 0, min(share, item.together or share)
        batch.append(item)
        size += len(item.packed)
    if batch:
        yield batch


def _count_losses(batch: Sequence[_Item], found: _Found, reason: str) -> dict[int, list[Outcome]]:
    """Count what was lost with its pod, and return the outcomes of items that are given up.

    Items that a pod had no time to begin were not lost. One program may end the pod of many: they come together again
    in smaller pods, and only an item that was alone is given up.
    """
    given_up, whys = dict[int, list[Outcome]](), list[str]()
    for item in batch:
        result = found.get(item.number)
        if isinstance(result, list) or (result is None and not reason and found):
            continue
        item.together = max(1, len(batch) // _SMALLER)
        item.lost += len(batch) == 1
        whys.append(result or reason or "the pod ended without a word about it")
        if item.lost >= _ATTEMPTS:
            given_up[item.number] = [Outcome("lost", detail=f"its pod was lost {_ATTEMPTS} times: {whys[-1]}")]
    if whys:
        _log.warning("programs of %d of the %d items of a pod were lost: %s", len(whys), len(batch), whys[0])
    return given_up
