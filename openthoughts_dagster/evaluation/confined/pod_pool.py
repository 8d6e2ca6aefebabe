"""Programs in pods of their own, without token and network, in the sandbox of a runtime class."""

import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
)

_log = logging.getLogger(__name__)
_ATTEMPTS = 2
_TAIL_CHARACTERS = 500
_POLL_SECONDS = 1.0
_MOST_LOG_BYTES = 32_000_000
_MOST_ITEM_BYTES = 20 * PART_BYTES
_TRIAL = PodTest(StdinTask("print(int(input()) * 7)", "6"), Limits(), 1000)
_Item = tuple[int, bytes]


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
        (outcomes,) = self.run_items([[_TRIAL]])
        if outcomes[0].stdout != "42\n":
            raise ConfinementError(f"a trial program in a pod ended wrongly: {outcomes[0]}")
        runtime = self._programs.runtime_class
        self.way = f"pod ({f'runtime class {runtime}' if runtime else 'no runtime class'}) + {self._inside}"

    def run_items(self, items: Sequence[Sequence[PodTest]]) -> list[list[Outcome]]:
        """Run the tests of items, each item's until one does not end well.

        Args:
            items: The tests of each item.

        Returns:
            The outcomes of each item, in order. There are fewer outcomes than tests when the last one is not "ok".

        Raises:
            ConfinementError: An item is too large for a pod, or its pod was lost twice. Nothing of it is a score.
        """
        self._stopped.clear()
        left = [(number, pack_item(tests)) for number, tests in enumerate(items) if tests]
        for number, packed in left:
            if len(packed) > _MOST_ITEM_BYTES:
                raise ConfinementError(
                    f"the tests of item {number} of {len(left)} have {len(packed) / 1e6:.0f} MB compressed, and a pod "
                    f"gets at most {_MOST_ITEM_BYTES / 1e6:.0f} MB: use another `confinement` for this benchmark"
                )
        done: dict[int, list[Outcome]] = {}
        failures: dict[int, int] = {}
        with ThreadPoolExecutor(self.workers) as threads:
            try:
                while left:
                    for batch, found, reason in threads.map(self._run_batch, _split(left, self.workers)):
                        done |= {number: each for number, each in found.items() if not isinstance(each, str)}
                        self._count_failures(batch, found, reason, failures)
                    left = [item for item in left if item[0] not in done]
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

    def _count_failures(
        self,
        batch: Sequence[_Item],
        found: dict[int, list[Outcome] | str],
        reason: str,
        failures: dict[int, int],
    ) -> None:
        """Count what was lost with its pod. Items that a pod had no time to begin were not lost."""
        for number, _ in batch:
            result = found.get(number)
            if isinstance(result, list) or (result is None and not reason and found):
                continue
            failures[number] = failures.get(number, 0) + 1
            why = result or reason or "the pod ended without a word about it"
            _log.warning("programs of an item were lost: %s", why)
            if failures[number] >= _ATTEMPTS:
                raise ConfinementError(f"programs could not be run in a pod, {_ATTEMPTS} times: {why}")

    def _run_batch(self, batch: Sequence[_Item]) -> tuple[Sequence[_Item], dict[int, list[Outcome] | str], str]:
        name, key = f"programs-{secrets.token_hex(6)}", secrets.token_bytes(KEY_BYTES)
        sandboxed = self._programs.runtime_class is not None
        work = Batch(key, sandboxed, self._programs.cpus, 60 * self._programs.deadline_minutes, batch)
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
            if failed and log:
                reasons.append(f"the end of its log: {log[-_TAIL_CHARACTERS:].strip()}")
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
    most = -(-len(items) // pods)
    batch: list[_Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= most or size + len(item[1]) > PART_BYTES - 100 * most):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item[1])
    if batch:
        yield batch
