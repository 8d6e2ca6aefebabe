"""Steps whose pods are lost or never come, on a real control plane: Kubernetes' own reason is in the run's log within
a minute, and a step that was lost is started again."""

from collections.abc import Iterator
from typing import Any

import pytest

from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.postgres import INITDB, postgres
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.lost_runs import SPACE, Steps
from openthoughts_dagster_tests.kubernetes.node_agent import NodeAgents
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE, H100, PRODUCT

pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="module")
def steps(plane: ControlPlane, nodes: NodeAgents, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    skip_without("PostgreSQL", INITDB is not None, "apt-get install postgresql")
    with postgres() as database:
        yield Steps(plane, tmp_path_factory.mktemp("steps"), database)
        plane.core.delete_namespace(SPACE)


def test_steps_that_lose_their_pods_say_why_and_go_on(steps: Steps, nodes: NodeAgents) -> None:
    with steps.start("one") as run:
        run.at_work("evicted", "killed", "deleted", "moved", "outranked", "plain")
        before = {pod.metadata.name for pod in run.pods()}
        node = run.pods("moved")[0].spec.node_name
        deleted = run.pods("deleted")[0].metadata.labels["job-name"]

        steps.plane.stop("kube-apiserver")
        try:
            run.says("plain", "The Kubernetes API cannot say how job")
        finally:
            steps.plane.start("kube-apiserver")
        run.says("plain", "The Kubernetes API answers again")
        assert {pod.metadata.name for pod in run.pods()} == before

        nodes.vanish(node)
        nodes.evict(SPACE, run.pod("evicted"), "The node was low on resource: memory.")
        for step in ("killed", "plain"):
            nodes.oom_kill(SPACE, run.pod(step))
        steps.plane.batch.delete_namespaced_job(deleted, SPACE, propagation_policy="Background")
        steps.plane.apply([_urgent()], SPACE)
        try:
            run.says("evicted", "Evicted: The node was low on resource: memory.")
            run.says("killed", "OOMKilled: exit code 137")
            run.says("deleted", f"Kubernetes job {deleted} was deleted")
            run.says("outranked", "Preempted: Preempted by pod")
            run.says("moved", "NodeNotReady: ")
            run.says("outranked", "Unschedulable: ")  # until the urgent work is over
            run.says("moved", "DeletionByTaintManager: ")
        finally:
            steps.plane.batch.delete_namespaced_job("urgent", SPACE, propagation_policy="Background")
            nodes.come_back(node)
        assert run.succeeds()


def test_steps_that_cannot_start_say_why_and_are_given_up(steps: Steps) -> None:
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "nobody-made-it", "key": "k"}}}]
    work = {
        "cpu": {"priority_class": "capped", "deadline_hours": 25 / 3600},
        "judge": {"pod": {"container_config": {"env": env}}},
        "student": {"pod": {"container_config": {"image": "registry.test/nowhere:1"}}},
        "teacher": {"deadline_hours": 25 / 3600},
    }
    steps.plane.apply([_nothing_for("capped")], SPACE)
    with steps.start("sixteen", work=work, patience_minutes=0.2, lost_pods=0) as run:
        run.says("moved", "Unschedulable: 0/5 nodes are available")
        run.says("outranked", "registry.test/nowhere:1")
        run.says("killed", 'CreateContainerConfigError: secret "nobody-made-it" not found')
        run.says("plain", "FailedCreate: ")
        run.says("plain", "exceeded quota: capped")

        assert not run.succeeds()
        assert "did not start in 0.2 minutes" in run.log("outranked")
        assert "did not start in 0.2 minutes" in run.log("killed")
        assert "DeadlineExceeded: " in run.log("moved")
        assert "DeadlineExceeded: " in run.log("plain")
        wait_for(lambda: not run.pods(), 60, "no pod that may start later")


def _urgent() -> dict[str, Any]:
    """A Job that outranks what has the node of eight accelerators, and holds it."""
    container = {
        "name": "urgent",
        "image": CODE_IMAGE,
        "command": ["sleep", "600"],
        "resources": {"limits": {"nvidia.com/gpu": "8"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "priorityClassName": "urgent",
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {PRODUCT: H100},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "urgent"},
        "spec": {"template": {"spec": spec}},
    }


def _nothing_for(priority_class: str) -> dict[str, Any]:
    """A quota that admits no pod of this class."""
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": [priority_class]}
    spec = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": priority_class}, "spec": spec}
