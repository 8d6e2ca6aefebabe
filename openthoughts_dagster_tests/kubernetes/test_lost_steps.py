"""Steps whose pods are lost or never come, on a real control plane: Kubernetes' own reason is in the run's log within
a minute, and a step that was lost is started again."""

from collections.abc import Iterator

import pytest

from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.postgres import INITDB, postgres
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.lost_runs import SPACE, Steps
from openthoughts_dagster_tests.kubernetes.node_agent import NodeAgents
from openthoughts_dagster_tests.kubernetes.pools import CODE_IMAGE

pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="module")
def steps(plane: ControlPlane, nodes: NodeAgents, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    skip_without("PostgreSQL", INITDB is not None, "apt-get install postgresql")
    with postgres() as database:
        yield Steps(plane, tmp_path_factory.mktemp("steps"), database)
        plane.core.delete_namespace(SPACE)


def test_pods_that_are_evicted_killed_for_memory_or_deleted_are_replaced(steps: Steps, nodes: NodeAgents) -> None:
    evicted, killed, deleted = (steps.start("cpus") for _ in range(3))

    nodes.evict(SPACE, evicted.at_work(), "The node was low on resource: memory.")
    nodes.oom_kill(SPACE, killed.at_work())
    job = deleted.at_work().rpartition("-")[0]
    steps.plane.batch.delete_namespaced_job(job, SPACE, propagation_policy="Background")

    evicted.says("Evicted: The node was low on resource: memory.")
    killed.says("OOMKilled: exit code 137")
    deleted.says(f"Kubernetes job {job} was deleted")
    assert all(run.ends() for run in (evicted, killed, deleted))


def test_a_pod_that_gives_way_to_more_urgent_work_is_replaced_when_that_is_over(steps: Steps) -> None:
    run = steps.start("eight")
    run.at_work()

    urgent = steps.start("eight", work={"teacher": {"grace_seconds": 5, "priority_class": "urgent"}})

    run.says("Preempted: Preempted by pod")
    (name,) = {pod.metadata.labels["job-name"] for pod in urgent.pods()}
    urgent.at_work()
    run.says("Unschedulable: ")  # its replacement waits
    steps.plane.batch.delete_namespaced_job(name, SPACE, propagation_policy="Background")
    assert urgent.ends()
    assert run.ends()


def test_a_pod_on_a_node_that_vanishes_is_replaced_on_another(steps: Steps, nodes: NodeAgents) -> None:
    run = steps.start("one")
    run.at_work()
    node = run.pods()[0].spec.node_name

    nodes.vanish(node)
    try:
        run.says("NodeNotReady")
        run.says("DeletionByTaintManager")
        assert run.ends()
    finally:
        nodes.come_back(node)


def test_what_a_pod_waits_for_is_named_and_given_up_after_its_patience(steps: Steps) -> None:
    images = {"code": CODE_IMAGE, "gpu": "registry.test/nowhere:1"}
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "nobody-made-it", "key": "k"}}}]
    impatient = {"patience_minutes": 0.2, "lost_pods": 0}
    work = {"teacher": {"pod": {"container_config": {"env": env}}}}

    no_image = steps.start("cpus", images=images, **impatient)
    no_secret = steps.start("cpus", work=work, **impatient)

    no_image.says("registry.test/nowhere:1")
    no_secret.says("CreateContainerConfigError: ")
    no_secret.says("nobody-made-it")
    assert not no_image.ends()
    assert not no_secret.ends()
    assert "did not start in 0.2 minutes" in no_image.log()
    wait_for(lambda: not no_image.pods() and not no_secret.pods(), 60, "no pod that may start later")


def test_a_step_that_no_node_fits_says_so_and_waits_until_its_deadline(steps: Steps) -> None:
    run = steps.start("sixteen", work={"teacher": {"deadline_hours": 20 / 3600}}, lost_pods=0)

    run.says("Unschedulable: 0/5 nodes are available")
    run.says("DeadlineExceeded: ")
    assert not run.ends()


def test_a_quota_that_is_used_up_is_named(steps: Steps) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus"}}
    steps.plane.apply([quota | {"spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}], SPACE)
    try:
        run = steps.start("one", work={"teacher": {"deadline_hours": 30 / 3600}}, lost_pods=0)
        run.says("FailedCreate: ")
        run.says("exceeded quota: gpus")
        assert not run.ends()
    finally:
        steps.plane.core.delete_namespaced_resource_quota("gpus", SPACE)


def test_an_api_server_that_is_away_for_a_while_loses_no_step(steps: Steps, nodes: NodeAgents) -> None:
    run = steps.start("cpus")
    pod = run.at_work()

    steps.plane.stop("kube-apiserver")
    try:
        run.says("The Kubernetes API cannot say how job")
    finally:
        steps.plane.start("kube-apiserver")
    run.says("The Kubernetes API answers again")
    assert [p.metadata.name for p in run.pods()] == [pod]
    nodes.oom_kill(SPACE, pod)
    assert run.ends()
