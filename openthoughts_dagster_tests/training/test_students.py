"""Students are found by their fingerprint, also where earlier versions left them, and trained by one run at a time."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import Student
from openthoughts_dagster.storage import Folders, hold_file, join_address
from openthoughts_dagster.training import Students, Trained, claims, sft, train_student
from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.claims import hold_claim
from openthoughts_dagster.training.run import run_training
from openthoughts_dagster.training.students import REPORT
from openthoughts_dagster_tests.object_store import ObjectStore
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(16)
TRAINING = quick_training(global_batch_size=8, per_device_batch_size=8, save_steps=1)
STORE = "s3://files/students"


def train(model: str, students: Students, lines: list[str]) -> Trained:
    """Train on ROWS, in one process."""
    student = Student(name="student", model=model, training=TRAINING, rows=16)
    return train_student(student, locate(student, Path()), ROWS, students, lines.append, 1)


@pytest.fixture(params=["folder", "store"])
def students(request: pytest.FixtureRequest, tmp_path: Path) -> Students:
    """An empty place for students, and the same one on another machine is `elsewhere`."""
    if request.param == "folder":
        return students_in(tmp_path / "students")
    request.getfixturevalue("store")
    return Students(STORE, tmp_path / "scratch", tmp_path / "cache")


def elsewhere(students: Students, folder: Path) -> Students:
    return Students(students.root, folder / "scratch", folder / "cache")


def move(store: ObjectStore, old: str, new: str) -> None:
    """Move what is below a key of the bucket `files`."""
    client = store.client()
    for key in [key for key in store.keys("files") if key.startswith(old)]:
        client.copy_object(Bucket="files", Key=new + key.removeprefix(old), CopySource={"Bucket": "files", "Key": key})
        client.delete_object(Bucket="files", Key=key)


def test_a_student_at_the_old_place_is_used_where_it_is(
    students: Students, untrained_model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = train(str(untrained_model), students, [])
    name, old = made.fingerprint, join_address(students.root, "sums", "noise", made.fingerprint)
    if students.in_store:
        move(request.getfixturevalue("store"), f"students/{name}", f"students/sums/noise/{name}")
    else:
        Path(old).parent.mkdir(parents=True)
        Path(made.path).rename(old)

    found = train(str(untrained_model), elsewhere(students, tmp_path / "other"), [])

    assert (found.path, found.reused, found.losses) == (old, True, made.losses)
    assert students.find(name) == old


def test_a_training_that_an_earlier_version_left_unfinished_goes_on(
    students: Students,
    untrained_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    def stopped(*arguments: Any) -> None:
        run_training(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sft, "run_training", stopped)
        train(str(untrained_model), students, [])
    (begun,) = students.workplace.glob("*.partial")
    if students.in_store:
        move(request.getfixturevalue("store"), f"students/{begun.name}", f"students/sums/noise/{begun.name}")
    else:
        (begun.parent / "sums" / "noise").mkdir(parents=True)
        begun.rename(begun.parent / "sums" / "noise" / begun.name)
    lines: list[str] = []
    trained = train(str(untrained_model), elsewhere(students, tmp_path / "other"), lines)

    assert "student: going on from checkpoint-4" in lines
    assert (trained.steps, trained.path) == (4, join_address(students.root, trained.fingerprint))
    assert students.old_addresses(begun.name) == [] if students.in_store else not begun.exists()


def test_a_student_is_looked_for_while_the_training_of_another_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    students, list_folder = students_in(tmp_path / "students"), os.scandir
    old = tmp_path / "students" / "sums" / "noise" / "one"
    old.mkdir(parents=True)
    (old / REPORT).touch()

    def list_and_end_the_other(folder: Any) -> Any:
        found = list(list_folder(folder))
        if str(folder) == str(tmp_path / "students"):
            shutil.rmtree(tmp_path / "students" / "other.partial")
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", list_and_end_the_other)
    other = tmp_path / "students" / "other.partial" / "checkpoint-1"
    other.mkdir(parents=True)
    assert students.find("one") == str(old) and not other.exists()
    other.mkdir(parents=True)
    students.adopt_interrupted("one", print)
    assert not other.exists()


def test_a_second_run_of_one_student_waits_and_takes_what_the_first_made(
    students: Students, untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[subprocess.Popen[str]] = []
    place = elsewhere(students, tmp_path / "other")

    def while_another_waits(*arguments: Any) -> None:
        code = f"from {__name__} import *; second_run({str(untrained_model)!r}, {place!r})"
        code = code.replace("PosixPath", "Path")
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        second.append(process)
        assert process.stdout is not None
        assert "another run trains" in process.stdout.readline()
        run_training(*arguments)

    monkeypatch.setattr(sft, "run_training", while_another_waits)
    first = train(str(untrained_model), students, [])

    said, _ = second[0].communicate(timeout=120)
    assert said == f"{first.path} True\n"


def second_run(model: str, students: Students) -> None:
    """What the other process of the test above does."""
    student = Student(name="student", model=model, training=TRAINING, rows=16)
    trained = train_student(student, locate(student, Path()), ROWS, students, partial(print, flush=True), 1)
    print(trained.path, trained.reused, flush=True)


def test_a_lock_whose_file_is_deleted_each_time_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(number: int) -> None:
        with hold_file(tmp_path / "lock"):
            inside.append(number)
            time.sleep(0.001)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(enter, range(80)))
    assert most == [1] * 80
    assert list(tmp_path.iterdir()) == []


def test_a_claim_whose_owner_was_killed_is_taken_over_and_one_that_is_renewed_is_not(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.2)
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    store.client().put_object(Bucket="files", Key="students/f.claim/3", Body=b"of a pod that is gone")
    waited: list[str] = []
    with hold_claim(f"{STORE}/f.claim", lambda: waited.append("second")):
        assert "students/f.claim/4" in store.keys("files")
        other = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import *; impatient({STORE + '/f.claim'!r})"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout is not None and other.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):  # longer than a claim that nobody renews is worth
            other.wait(2)
    assert other.stdout.read() == "has it\n"
    assert other.wait(30) == 0
    assert waited == ["second"]
    assert store.keys("files") == []


def impatient(address: str) -> None:
    """What the other process of the test above does."""
    claims.STALE_SECONDS = 1.3  # a loaded machine may renew a claim late
    with hold_claim(address, lambda: print("waits", flush=True)):
        print("has it", flush=True)


def test_an_unfinished_training_of_nobody_is_empty(store: ObjectStore, tmp_path: Path) -> None:
    students = Students(STORE, tmp_path / "scratch", tmp_path / "cache")
    assert students.find("0" * 32) is None
    assert StoredTraining(students, "0" * 32).newest() == ""
    assert Folders(tmp_path).list_folders(STORE) == []
