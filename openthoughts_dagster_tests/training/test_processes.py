"""A student is the same however many processes train it, and whichever of them die."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from openthoughts_dagster.generation.model import Model, locate
from openthoughts_dagster.recipe import Hardware, Student
from openthoughts_dagster.training import Trained, TrainingError, train_student, worker
from openthoughts_dagster.training.errors import FAILED, OutOfMemory
from openthoughts_dagster.training.job import JOB, Job
from openthoughts_dagster.training.launch import torchrun as start_processes
from openthoughts_dagster.training.run import run_training
from openthoughts_dagster_tests.e2e.servers import free_port, wait_for
from openthoughts_dagster_tests.processes import run_beside
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

# 70 rows in batches of 16: the last batch of an epoch has rows for one process of two
ROWS = sums(70, lengths=7)
TRAINING = quick_training(per_device_batch_size=4)


@pytest.fixture(scope="module")
def student(untrained_model: Path) -> Student:
    model = str(untrained_model)
    return Student(name="student", model=model, engine="transformers", training=TRAINING, rows=70)


@pytest.fixture(scope="module")
def base(student: Student) -> Model:
    return locate(student, Path())


@pytest.fixture(scope="module")
def alone(student: Student, base: Model, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_student(student, base, ROWS, students_in(tmp_path_factory.mktemp("alone")), print, processes=1)


def assert_same(one: Trained, other: Trained, tolerance: float = 1e-5) -> None:
    """The same steps, and weights within `tolerance`, where training moves them by a hundred times that and more."""
    from safetensors.torch import load_file

    weights = [load_file(f"{trained.path}/model.safetensors") for trained in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert tensor.dtype == weights[1][name].dtype
        assert float((tensor - weights[1][name]).abs().max()) < tolerance, name
    assert (one.fingerprint, one.steps, one.rows) == (other.fingerprint, other.steps, other.rows)
    assert one.losses[-1][1] == pytest.approx(other.losses[-1][1], abs=tolerance)


def with_settings(student: Student, **settings: Any) -> Student:
    return student.model_copy(update={"training": TRAINING.model_copy(update=settings)})


def torchrun() -> psutil.Process:
    """The child that starts and watches the processes of a training."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # it has ended, and has no command line any more
            if "torch.distributed.run" in child.cmdline():
                found.append(child)
    assert len(found) == 1, f"one torchrun among the children, not {found}"
    return found[0]


@pytest.mark.parametrize(
    ("processes", "settings"),
    [
        pytest.param(2, {}, marks=pytest.mark.faults),
        (2, {"sharding": "fsdp", "bf16": True}),
        pytest.param(2, {"sharding": "fsdp", "bf16": True, "weights": "bfloat16"}, marks=pytest.mark.faults),
        pytest.param(2, {"context_parallel": 2, "gradient_checkpointing": True}, marks=pytest.mark.faults),
        pytest.param(
            4,
            {"context_parallel": 2, "gradient_checkpointing": True, "sharding": "fsdp"},
            marks=pytest.mark.faults,
        ),
    ],
)
def test_several_processes_train_the_student_that_one_trains(
    student: Student, base: Model, alone: Trained, tmp_path: Path, processes: int, settings: dict[str, Any]
) -> None:
    changed = with_settings(student, **settings)
    if settings.get("bf16"):
        alone = train_student(changed, base, ROWS, students_in(tmp_path / "alone"), print, processes=1)
    together = train_student(changed, base, ROWS, students_in(tmp_path), print, processes=processes)

    # bfloat16 magnifies differences of the last bit; under accelerate's FSDP2 policy they were three learning rates
    tolerance = 0.05 if "weights" in settings else 3e-4 if "bf16" in settings else 1e-5
    assert_same(alone, together, tolerance)
    losses = [loss for _, loss in together.losses]
    assert [loss for _, loss in alone.losses] == pytest.approx(losses, abs=10 * tolerance)


@pytest.mark.faults
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_a_process_that_is_killed_costs_the_steps_since_the_last_checkpoint(
    student: Student, base: Model, tmp_path: Path, sharding: str
) -> None:
    longer = with_settings(student, epochs=4, sharding=sharding)
    folder = tmp_path / "two"

    def kill_one(ended: threading.Event) -> None:
        while not ended.wait(0.02):
            # from the middle of the second epoch on; a busy machine may look late
            if any(any(folder.glob(f"*.partial/checkpoint-{step}/trainer_state.json")) for step in (8, 12, 16)):
                os.kill(torchrun().children()[-1].pid, signal.SIGKILL)
                return
        raise AssertionError("the training ended before a process of it was killed")

    with run_beside(kill_one), pytest.raises(TrainingError, match=r"was ended by signal 9.*materialize again"):
        train_student(longer, base, ROWS, students_in(folder), print, processes=2)
    lines: list[str] = []
    resumed = train_student(longer, base, ROWS, students_in(folder), lines.append, processes=2)

    assert any(line.startswith("student: going on from checkpoint-") for line in lines)
    alone = train_student(longer, base, ROWS, students_in(tmp_path / "one"), print, processes=1)
    assert_same(alone, resumed, tolerance=1e-4)


@pytest.mark.faults
def test_two_machines_that_share_a_folder_train_the_student_that_one_process_trains(
    student: Student, base: Model, alone: Trained, tmp_path: Path
) -> None:
    port = free_port()

    def launch(address: str, fingerprint: str, progress: Callable[[], str]) -> None:
        assert progress() == ""
        command = [sys.executable, "-m", "openthoughts_dagster.training.node", address]
        command += ["--nodes", "2", "--processes", "1", "--master", "localhost", "--port", str(port)]
        machines = [subprocess.Popen(command, env=os.environ | {"JOB_COMPLETION_INDEX": str(n)}) for n in range(2)]
        try:
            assert [machine.wait(300) for machine in machines] == [0, 0]
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()
        assert progress() == "final"

    nodes = student.model_copy(update={"hardware": Hardware(nodes=2)})
    together = train_student(nodes, base, ROWS, students_in(tmp_path), print, launch=launch)

    assert_same(alone, together)
    assert [path.name for path in tmp_path.iterdir()] == [alone.fingerprint]


def test_machines_without_memory_for_a_pass_go_on_in_smaller_ones_and_leave_no_half_report(
    student: Student, base: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, write = list[int](), Path.write_text

    def full_disk(path: Path, text: str, *arguments: Any, **more: Any) -> int:
        if path.name.startswith("training.json") and len(tried) == 3:
            write(path, text[:20])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, *arguments, **more)

    def launch(address: str, fingerprint: str, progress: Callable[[], str]) -> None:
        while progress() != "final":
            job = Job.read(Path(address))
            tried.append(job.student.settings().per_device_batch_size)
            if tried[-1] > 1:
                raise OutOfMemory(f"student: the accelerator's memory is too small for passes of {tried[-1]} rows")
            with suppress(OSError):
                run_training(job.student, job.base, Path(address), 1, print)

    monkeypatch.setattr(Path, "write_text", full_disk)
    nodes = with_settings(student, epochs=None, steps=1).model_copy(update={"hardware": Hardware(nodes=2)})
    lines: list[str] = []
    trained = train_student(nodes, base, ROWS, students_in(tmp_path), lines.append, launch=launch)
    assert tried == [4, 2, 1, 1] and trained.steps == 1
    assert [line.rpartition("Trying ")[2] for line in lines if "Trying" in line] == [
        "passes of 2 rows",
        "passes of 1 rows",
    ]

    def never_enough(*_: Any) -> None:
        raise OutOfMemory("student: the accelerator's memory is too small")

    with pytest.raises(TrainingError, match="A pass has one row already"):
        train_student(nodes, base, ROWS.head(5), students_in(tmp_path), print, launch=never_enough)


def test_a_process_without_memory_is_found_between_the_lines_of_others_that_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    worker._print_failure(1, OutOfMemory("student: it is too small"))
    told = capfd.readouterr().out
    (tmp_path / "python").write_text(
        f"#!/bin/sh\necho '{FAILED} 0: RuntimeError: lost a process'\nprintf 'Traceback: File '\ncat <<EOF\n{told}EOF\n"
        "echo '  exitcode  : -6 (pid: 7)'\nexit 1\n"
    )
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(OutOfMemory, match=r"^student: it is too small$"):
        start_processes(tmp_path, 2, print)


@pytest.mark.faults
def test_the_processes_of_a_step_that_is_killed_end_with_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / JOB)  # they wait for somebody who writes the job, as they would for a long step
    code = f"from {start_processes.__module__} import torchrun; from pathlib import Path; import sys; "
    code += "torchrun(Path(sys.argv[1]), 2, print)"
    step = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    found: list[psutil.Process] = []

    def all_begun() -> bool:
        with suppress(psutil.NoSuchProcess):  # one that torchrun asked something, and that has ended
            found[:] = psutil.Process(step.pid).children(recursive=True)
            return sum("openthoughts_dagster.training.worker" in child.cmdline() for child in found) == 3
        return False

    try:
        wait_for(all_begun, 120, "torchrun and two processes")
    finally:
        step.kill()
        step.wait()
    _, left = psutil.wait_procs(found, timeout=60)
    for process in left:
        process.kill()
    assert left == []


def test_what_is_wrong_in_a_process_is_the_error_of_the_step(student: Student, base: Model, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="TrainingError: student: no row to train on"):
        train_student(with_settings(student, max_length=8), base, ROWS, students_in(tmp_path), print, processes=2)
