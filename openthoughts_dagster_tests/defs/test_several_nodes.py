"""A student that asks for several nodes where there is no cluster."""

from typing import Any

import pytest

from openthoughts_dagster.cluster.job_follower import JobFailed
from openthoughts_dagster.defs.kubernetes import several_nodes
from openthoughts_dagster.defs.kubernetes.several_nodes import nodes_launch
from openthoughts_dagster.recipe import Hardware, Student
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.errors import OutOfMemory


def student(nodes: int) -> Student:
    return Student(name="student", model="models/base", preset="small", hardware=Hardware(nodes=nodes))


def test_it_is_an_error_that_says_where_such_students_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENTHOUGHTS_EXECUTOR", raising=False)
    with pytest.raises(TrainingError, match=r"hardware.nodes is 4.*OPENTHOUGHTS_EXECUTOR=kubernetes.*to 1 here"):
        nodes_launch(student(4), print)


def test_pods_without_memory_for_a_pass_are_an_error_that_the_training_can_answer() -> None:
    class Nodes:
        def train(self, *_: object) -> None:
            failed = JobFailed("exit code 1")
            failed.lines = ["", "training failed on process 3: OutOfMemory: student: it is too small", "Traceback"]
            raise failed

    nodes: Any = Nodes()
    with pytest.raises(OutOfMemory, match=r"^student: it is too small$"):
        several_nodes._launch(nodes, "address", "f00", lambda: "")


def test_a_student_on_one_node_trains_in_its_step() -> None:
    assert nodes_launch(student(1), print) is None
