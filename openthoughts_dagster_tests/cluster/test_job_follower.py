"""A step that follows its training's pods: what it tells, what it forgives, and what it does not."""

from collections.abc import Callable
from typing import Any

import pytest

from openthoughts_dagster.cluster import job_follower
from openthoughts_dagster.cluster.indexed_job import OwnerPod
from openthoughts_dagster.cluster.job_follower import JobFailed
from openthoughts_dagster.cluster.nodes import NodesOfCluster
from openthoughts_dagster.recipe import Hardware
from openthoughts_dagster_tests.cluster.helpers import cluster

RUNNING: dict[str, Any] = {"phase": "Running"}


def failed(reason: str, code: int) -> dict[str, Any]:
    """The status of a pod whose container ended."""
    return {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": reason, "exitCode": code}}}]}


def waiting(reason: str) -> dict[str, Any]:
    """The status of a pod whose container cannot start."""
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "no"}}}]}


class Scripted:
    """A cluster on which every attempt goes as told: for each look the Job's status, its pods', and the first's log.

    The last look of an attempt stays.
    """

    def __init__(self, *attempts: list[Any]) -> None:
        self._attempts, self._looks = list(attempts), list[Any]()
        self.there: list[str] = []
        self.left: list[str] = []
        self.steps: dict[str, str] = {}

    def create_service(self, service: dict[str, Any]) -> None:
        self.there.append(f"service {service['metadata']['name']}")

    def create_job(self, job: dict[str, Any]) -> None:
        self.there.append(f"job {job['metadata']['name']}")
        self._made, self._looks = job, self._attempts.pop(0)

    def delete_job(self, name: str) -> None:
        if name in self.left:
            return self.left.remove(name)
        self.there.remove(f"job {name}")
        self._looks = [(None, [], "")]
        return None

    def delete_service(self, name: str) -> None:
        if f"service {name}" in self.there:
            self.there.remove(f"service {name}")

    def job(self, name: str) -> dict[str, Any] | None:
        if len(self._looks) > 1:
            self._looks.pop(0)
        status = self._looks[0][0]
        return None if status is None else self._made | {"status": status}

    def pods_of(self, job: str) -> list[dict[str, Any]]:
        index = "batch.kubernetes.io/job-completion-index"
        return [
            {"metadata": {"name": f"{job}-{n}", "annotations": {index: str(n)}}, "status": status}
            for n, status in enumerate(self._looks[0][1] if self._looks else [])
        ]

    def log_of(self, pod: str, lines: int) -> list[str]:
        return str(self._looks[0][2]).splitlines()[-lines:]

    def events_of(self, kind: str, name: str) -> list[dict[str, Any]]:
        return []

    def jobs_labelled(self, label: str) -> list[dict[str, Any]]:
        assert label == "openthoughts/together"
        own: dict[str, Any] = {"labels": {"dagster/run-id": "run"}}
        others = {name: {"ownerReferences": [{"name": f"step of {name}"}]} for name in self.steps}
        return [{"metadata": {"name": name} | others.get(name, own)} for name in self.left]

    def pod(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "status": {"phase": self.steps[name.removeprefix("step of ")]}}


DONE: tuple[dict[str, Any], list[dict[str, Any]], str] = ({"completionTime": "now"}, [], "")


def train(api: Scripted, progress: Callable[[], str] = lambda: "", **settings: Any) -> list[str]:
    """Train on two nodes of the scripted cluster; returns what the step said."""
    said: list[str] = []
    nodes: Any = NodesOfCluster
    described = cluster(**settings)
    parent = OwnerPod("step", "12345", labels={"dagster/run-id": "run"})
    nodes(api, described, Hardware(nodes=2), parent, said.append).train("address", "f00", progress)
    return said


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_follower, "_POLL_SECONDS", 0.001)


def test_progress_is_told_once_line_for_line_and_nothing_else_of_the_log() -> None:
    first = "a warning\nstudent: step 1\nstudent: step 1\n"
    many = first + "".join(f"noise {n}\nstudent: step {n}\n" for n in range(2, 300))
    api = Scripted([({}, [RUNNING] * 2, first), ({}, [RUNNING] * 2, first), ({}, [RUNNING] * 2, many), DONE])

    said = train(api)

    assert said[:2] == ["student: step 1", "student: step 1"]
    # what was written between two looks beyond the end that is read is lost, and nothing is told twice
    assert said[2:] == [f"student: step {n}" for n in range(200, 300)]
    assert api.there == []


def test_a_lost_pod_is_said_with_its_reason_and_the_pods_start_again() -> None:
    lost = [failed("Error", 1), failed("OOMKilled", 137)]
    api = Scripted([({}, [RUNNING] * 2, ""), ({"failed": 1}, lost, "")], [DONE])

    (said,) = train(api)

    assert "lost a pod, all start again from the last checkpoint: OOMKilled: exit code 137" in said
    assert api.there == []


def test_pods_that_are_lost_again_and_again_without_a_new_checkpoint_end_the_step() -> None:
    for reason, most in (("Evicted", 2), ("OOMKilled", 10)):
        api = Scripted(*[[({"failed": 1}, [failed(reason, 137)], "")] for _ in range(3)])
        with pytest.raises(JobFailed, match=rf"3 times without a new checkpoint.*; the last time: {reason}"):
            train(api, lost_pods=most)
        assert api.there == []


def test_losses_between_which_there_was_progress_are_forgiven() -> None:
    lost = ({"failed": 1}, [failed("Evicted", 137)], "")
    api, checkpoints = Scripted(*[[lost] for _ in range(5)], [DONE]), iter(range(100))

    said = train(api, lambda: f"checkpoint-{next(checkpoints)}", lost_pods=1)

    assert len(said) == 5


def test_a_student_that_was_there_when_a_pod_was_lost_is_not_trained_again() -> None:
    api, progress = Scripted([({"failed": 1}, [failed("Error", 143)], "")]), iter(["", "", "final", "final"])

    assert len(train(api, lambda: next(progress))) == 1


@pytest.mark.parametrize("kind", ["process 0: TrainingError", "node 1: ValidationError", "process 3: OutOfMemory"])
def test_an_error_that_the_next_attempt_would_find_again_ends_the_step_at_once(kind: str) -> None:
    log = f"training failed on {kind}: student: no row to train on"
    api = Scripted([({"failed": 1}, [failed("Error", 1), RUNNING], log)])

    with pytest.raises(JobFailed, match=r"exit code 1 .*\nThe end of its log:\n.*no row to train on") as raised:
        train(api)
    assert log in raised.value.lines


def test_what_steps_left_that_were_lost_without_a_word_is_ended_first() -> None:
    api = Scripted([DONE])
    api.left = ["train-f00-99999-3", "dagster-step-1", "train-f00-88888-0", "train-f00-77777-0"]
    api.steps = {"train-f00-88888-0": "Failed", "train-f00-77777-0": "Running"}  # of other runs

    ended = ["train-f00-99999-3", "train-f00-88888-0"]
    assert train(api) == [f"student: ending {name}, whose step was lost" for name in ended]
    assert api.left == ["dagster-step-1", "train-f00-77777-0"]


def test_a_job_that_somebody_deleted_is_made_again() -> None:
    (said,) = train(Scripted([({}, [RUNNING] * 2, ""), (None, [], "")], [DONE]))

    assert "it was deleted by somebody" in said


def test_pods_that_wait_for_what_is_not_there_are_said_and_given_up() -> None:
    api = Scripted([({}, [waiting("ErrImagePull")] * 2, "")])
    said: list[str] = []

    with pytest.raises(JobFailed, match="its pods cannot start: ErrImagePull"):
        said += train(api, patience_minutes=0.0001, lost_pods=0)
    assert api.there == []
