"""Shards of answers lose their pods in every way that a cluster has: each is told, and the next goes on.

Two runs ask a teacher that takes its time and counts; each shard holds a GPU of the small pool.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from openthoughts_dagster_tests.e2e.servers import graphql, wait_for
from openthoughts_dagster_tests.kubernetes.quickstart_release import LONG, MORE, on_one_gpu
from openthoughts_dagster_tests.kubernetes.release import Release, since_now

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

NOWHERE = "registry.invalid/nowhere:1"
LOST_AT_MOST = 16  # completions under way or not yet committed when a pod dies


@dataclass
class Shard:
    """A run that asks the slow teacher, in one shard."""

    release: Release
    source: str
    run: str

    def pod(self) -> Any:
        """Its pod, which runs."""
        return self.release.running_pod(self.run, "answer")

    def told(self, words: str, since: float) -> None:
        """Within a minute the run's log has it, in Kubernetes' own words."""
        self.release.wait_for_reason(self.run, words, since)

    def goes_on(self, after: Any) -> Any:
        """Wait for another pod, and for answers that it commits; the pod."""
        self.release.running_pod(self.run, "answer")
        wait_for(lambda: self.pod().metadata.uid != after.metadata.uid, 180, f"another pod for {self.source}")
        before = self.release.answered(self.source).height
        wait_for(lambda: self.release.answered(self.source).height > before, 90, f"more answers to {self.source}")
        return self.pod()


@pytest.fixture(scope="module")
def holding_gpus(release: Release) -> Iterator[Release]:
    """A cluster whose platform team gives a GPU to every shard, also to those that ask a server."""
    with _described(release, work={"teacher": {"grace_seconds": 15, "pod": on_one_gpu()}}):
        yield release


@pytest.fixture(scope="module")
def shards(holding_gpus: Release) -> Iterator[list[Shard]]:
    """Two runs in the middle of their answers."""
    release = holding_gpus
    release.teacher.seconds = 2  # longer than all that happens to them
    found = [Shard(release, source, release.launch("backfill_teacher", source, "slow")) for source in LONG[:2]]
    for shard in found:
        shard.pod()
        wait_for(lambda shard=shard: release.answered(shard.source).height > 4, 90, "first answers")  # type: ignore[misc]
    yield found
    release.teacher.seconds = 0


@contextmanager
def _described(release: Release, **changes: dict[str, Any]) -> Iterator[None]:
    """The cluster described otherwise, for runs that start meanwhile."""
    name, where = "openthoughts-cluster", release.namespace
    before = release.core.read_namespaced_config_map(name, where).data
    cluster = yaml.safe_load(before["cluster.yaml"])
    cluster |= {key: cluster.get(key, {}) | values for key, values in changes.items()}
    release.core.patch_namespaced_config_map(name, where, {"data": {"cluster.yaml": yaml.safe_dump(cluster)}})
    yield
    release.core.patch_namespaced_config_map(name, where, {"data": before})


def test_a_node_that_vanishes_is_told_and_an_oom_kill_meanwhile(shards: list[Shard]) -> None:
    one, other = shards
    nodes, lost, killed = one.release.nodes, other.pod(), one.pod()
    since = since_now()
    nodes.vanish(lost.spec.node_name)
    other.told("NodeNotReady", since)

    killed_at = since_now()
    nodes.oom_kill(killed.metadata.namespace, killed.metadata.name)
    one.told("OOMKilled", killed_at)
    one.told("137", killed_at)
    one.goes_on(killed)

    other.told("DeletionByTaintManager", since)
    nodes.come_back(lost.spec.node_name)  # a new machine of that name


def test_the_shard_of_the_vanished_node_goes_on_and_is_preempted_by_a_job_of_higher_priority(
    shards: list[Shard],
) -> None:
    shard = shards[1]
    lost = shard.pod()
    _urgent(shard.release, lost.spec.node_name)
    since = since_now()
    shard.told("Preempt", since)
    shard.goes_on(lost)
    assert shard.release.batch.read_namespaced_job("urgent", shard.release.namespace).status.succeeded == 1


def test_an_evicted_pod_is_told_and_its_replacement_waits_for_a_quota(shards: list[Shard]) -> None:
    shard, release, lost = shards[0], shards[0].release, shards[0].pod()
    since = since_now()
    _allow_gpus(release, "1")  # the other shard has it
    try:
        release.nodes.evict(lost.metadata.namespace, lost.metadata.name, "The node was low on resource: memory.")
        shard.told(release.nodes.evicted, since)
        shard.told("exceeded quota", since)
    finally:
        _allow_gpus(release, "10")
    shard.goes_on(lost)


def test_a_job_that_somebody_deletes_is_told_and_a_secret_that_is_gone(shards: list[Shard]) -> None:
    shard, release, lost = shards[1], shards[1].release, shards[1].pod()
    since = since_now()
    secret = release.core.read_namespaced_secret("openthoughts-storage", release.namespace)
    release.core.delete_namespaced_secret("openthoughts-storage", release.namespace)
    try:
        job = lost.metadata.labels["job-name"]
        release.batch.delete_namespaced_job(job, release.namespace, propagation_policy="Background")
        shard.told("was deleted", since)
        shard.told("CreateContainerConfigError", since)
    finally:
        secret.metadata = {"name": "openthoughts-storage"}
        release.core.create_namespaced_secret(release.namespace, secret)
    shard.goes_on(lost)


def test_nothing_was_generated_twice_also_by_a_second_run_of_the_partition(shards: list[Shard]) -> None:
    release = shards[0].release
    second = release.launch("backfill_teacher", LONG[0], "slow")
    release.teacher.seconds = 0
    assert release.status(second) in ("NOT_STARTED", "QUEUED")
    for shard in shards:
        release.wait(shard.run, 240)
        ledger = release.answered(shard.source)
        assert ledger.height == ledger.unique().height == release.wanted(shard.source)
    again = sum(count - 1 for count in release.teacher.asked.values())
    assert again <= 5 * LOST_AT_MOST
    asked = release.teacher.asked.total()
    release.wait(second, 180)
    assert release.teacher.asked.total() == asked


def test_what_can_never_start_is_told_and_can_be_stopped(holding_gpus: Release) -> None:
    release = holding_gpus
    with _described(release, images={"gpu": NOWHERE}):
        nowhere = release.launch("backfill_teacher", MORE[1], "worked")
        homeless = release.launch("backfill_teacher", MORE[0], "colossal")
        for run in (nowhere, homeless):
            wait_for(lambda run=run: "answer" in release.step_pods(run), 120, "the shard's pod")  # type: ignore[misc]
    since = since_now() - 60
    release.wait_for_reason(homeless, "didn't match Pod's node affinity/selector", since, 120)
    release.wait_for_reason(nowhere, NOWHERE, since, 120)
    for run in (nowhere, homeless):
        stop = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"
        assert graphql(release.address, stop, run=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    for run in (nowhere, homeless):
        release.wait(run, 120, "CANCELED")
        wait_for(lambda run=run: not release.step_pods(run).get("answer"), 60, "the end of the pod")  # type: ignore[misc]


def _allow_gpus(release: Release, count: str) -> None:
    hard = {"requests.nvidia.com/gpu": count, "pods": "100"}
    release.core.patch_namespaced_resource_quota("openthoughts", release.namespace, {"spec": {"hard": hard}})


def _urgent(release: Release, node: str) -> None:
    """A Job that must have the GPU of a node, and goes first."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    gpu = {"nvidia.com/gpu": "1", "cpu": "1", "memory": "1Gi"}
    container = {"name": "main", "image": release.image, "command": ["sleep", "3"], "securityContext": security}
    pod = {
        "restartPolicy": "Never",
        "priorityClassName": "urgent",
        "nodeSelector": {"kubernetes.io/hostname": node},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container | {"resources": {"limits": gpu, "requests": gpu}}],
    }
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "urgent"}}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    release.apply(priority | {"value": 100_000}, job | {"spec": spec})
