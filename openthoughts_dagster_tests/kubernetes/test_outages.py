"""What watches over a run goes away in the middle of it: daemon, webserver, the run's own pod, the API server."""

import time
from typing import Any

import pytest

from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.installing import Installed, ready
from openthoughts_dagster_tests.kubernetes.quickstart_release import LONG
from openthoughts_dagster_tests.kubernetes.release import since_now

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

OUTAGE_SECONDS = 30


def test_a_run_survives_the_loss_of_all_that_watches_over_it(release: Installed) -> None:
    source, teacher = LONG[2], release.teacher
    teacher.seconds = 0.7
    before = teacher.asked.copy()
    run = release.launch("backfill_teacher", source, "slow")
    shard = release.running_pod(run, "answer")
    wait_for(lambda: release.answered(source).height > 4, 90, "first answers")

    # daemon and webserver: their Deployments start them again
    lost = _pods(release, "component in (dagster-daemon, dagster-webserver)")
    for pod in lost:
        release.core.delete_namespaced_pod(pod.metadata.name, release.namespace)
    for pod in lost:
        wait_for(lambda pod=pod: _gone(release, pod), 60, f"the end of {pod.metadata.name}")  # type: ignore[misc]
    wait_for(lambda: ready(release), 120, "daemon and webserver")

    # the run's own pod: a new one takes up the run, and the step that goes on meanwhile
    since = since_now()
    _kill_worker(release, run)
    release.wait_for_reason(run, "resume", since, 90)
    assert not _gone(release, shard)

    # the API server: steps go on without it
    release.plane.stop("kube-apiserver")
    began, answered = time.monotonic(), release.answered(source).height
    wait_for(lambda: time.monotonic() > began + OUTAGE_SECONDS, OUTAGE_SECONDS + 10, "the outage")
    assert release.answered(source).height > answered
    release.plane.start("kube-apiserver")
    for name in ("kube-controller-manager", "kube-scheduler"):  # on a cluster they end when they lose their lease
        release.plane.stop(name)
        release.plane.start(name)

    teacher.seconds = 0
    release.wait(run, 240)
    ledger = release.answered(source)
    assert ledger.height == ledger.unique().height == release.wanted(source)
    asked = teacher.asked - before
    assert asked.total() == release.wanted(source) == len(asked)  # no step was lost, and no question asked twice


def test_a_run_whose_pods_die_again_and_again_fails_with_their_last_words_and_is_tried_once_more(
    release: Installed,
) -> None:
    run = release.launch("backfill_teacher", LONG[2], "slow")  # nothing is left to ask
    since = since_now()
    release.wait_for_reason(run, "Started execution of run", since, 120)
    _kill_worker(release, run)
    release.wait_for_reason(run, "resume", since, 120)
    _kill_worker(release, run)
    release.wait(run, 120, "FAILURE")
    assert "OOMKilled" in release.wait_for_reason(run, "Debug information for pod", since, 240).text
    wait_for(lambda: bool(release.runs(dagster__parent_run_id=run)), 90, "another try")
    [again] = release.runs(dagster__parent_run_id=run)
    release.wait(again, 180)


def _kill_worker(release: Installed, run: str) -> None:
    """Kill the pod of a run, once there is one that runs."""

    found: list[Any] = []

    def one_runs() -> bool:
        pods = _pods(release, f"dagster/run-id={run},!dagster/op")
        found[:] = [pod for pod in pods if pod.status.phase == "Running"]
        return len(found) == 1

    wait_for(one_runs, 90, f"a pod of run {run}")
    release.nodes.oom_kill(release.namespace, found[0].metadata.name)


def _pods(release: Installed, labels: str) -> list[Any]:
    found: list[Any] = release.core.list_namespaced_pod(release.namespace, label_selector=labels).items
    return found


def _gone(release: Installed, pod: Any) -> bool:
    return pod.metadata.uid not in {each.metadata.uid for each in _pods(release, "")}
