"""Steps whose pods never come, on a real control plane: Kubernetes' own reason is in the run's log within a minute, and
what cannot start is given up. Pods that are lost: `test_losses`."""

from collections.abc import Iterator
from typing import Any

import pytest

from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.e2e.postgres import INITDB, postgres
from openthoughts_dagster_tests.e2e.servers import wait_for
from openthoughts_dagster_tests.kubelet import Kubelets
from openthoughts_dagster_tests.kubernetes.control_plane import ControlPlane
from openthoughts_dagster_tests.kubernetes.stuck_runs import SPACE, Steps

pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="module")
def steps(plane: ControlPlane, nodes: Kubelets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    skip_without("PostgreSQL", INITDB is not None, "apt-get install postgresql")
    with postgres() as database:
        yield Steps(plane, tmp_path_factory.mktemp("steps"), database)
        plane.core.delete_namespace(SPACE)


def test_steps_that_cannot_start_say_why_and_are_given_up(steps: Steps) -> None:
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "nobody-made-it", "key": "k"}}}]
    work = {
        "cpu": {"priority_class": "capped", "deadline_hours": 20 / 3600},
        "judge": {"pod": {"container_config": {"env": env}}},
        "student": {"pod": {"container_config": {"image": "registry.test/nowhere:1"}}},
        "teacher": {"deadline_hours": 20 / 3600},
    }
    steps.plane.apply([_nothing_for("capped")], SPACE)
    with steps.start("sixteen", work=work, patience_minutes=0.2, lost_pods=0) as run:
        run.says("without_node", "Unschedulable: 0/5 nodes are available")
        run.says("without_image", "registry.test/nowhere:1")
        run.says("without_secret", 'CreateContainerConfigError: secret "nobody-made-it" not found')
        run.says("without_quota", "FailedCreate: ")
        run.says("without_quota", "exceeded quota: capped")

        assert not run.succeeds()
        assert "did not start in 0.2 minutes" in run.log("without_image")
        assert "did not start in 0.2 minutes" in run.log("without_secret")
        assert "DeadlineExceeded: " in run.log("without_node")
        assert "DeadlineExceeded: " in run.log("without_quota")
        wait_for(lambda: not run.pods(), 60, "no pod that may start later")


def _nothing_for(priority_class: str) -> dict[str, Any]:
    """A quota that admits no pod of this class."""
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": [priority_class]}
    spec = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": priority_class}, "spec": spec}
