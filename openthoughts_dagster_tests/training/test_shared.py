"""A student's training goes on on another machine, and a finished one is the same model everywhere."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.recipe import ModelReference, Student
from openthoughts_dagster.storage import Folders
from openthoughts_dagster.training import Students, Trained, claims, train_student
from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster_tests.object_store import ObjectStore
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(32)
TRAINING = quick_training(global_batch_size=8, per_device_batch_size=8, save_steps=3)
ROOT = "s3://files/students"


def train(pod: Path, base: str, log: list[str], stop_at: int = 0) -> Trained:
    """Train as a pod does: from the base weights' address, with nothing but its own empty folder.

    With `stop_at` the pod is killed while it takes that step, as by a preemption without grace.
    """
    student, folders = Student(name="student", model=base, training=TRAINING, rows=32), Folders(pod / "cache")
    students = Students(ROOT, pod / "students", folders.cache)
    if stop_at:
        _die_at(stop_at)
    return train_student(student, locate(student, Path(), folders), ROWS, students, log.append, 1)


def _die_at(step: int) -> None:
    from trl import SFTTrainer

    takes_a_step = SFTTrainer.training_step

    def dying(trainer: SFTTrainer, *inputs: object, **more: object) -> object:
        if trainer.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return takes_a_step(trainer, *inputs, **more)

    SFTTrainer.training_step = dying


@pytest.fixture
def base(store: ObjectStore, untrained_model: Path, tmp_path: Path) -> str:
    Folders(tmp_path).put(untrained_model, "s3://files/models/base")
    return "s3://files/models/base"


@pytest.mark.faults
def test_a_training_whose_pod_was_killed_goes_on_in_another_pod_to_the_same_student(
    base: str, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_SECONDS", 0.5)  # the killed pod could not give its claim back
    code = f"from {__name__} import *; train(Path(sys.argv[1]), sys.argv[2], [], stop_at=7)"
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "first"), base], timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL

    lines: list[str] = []
    resumed = train(tmp_path / "second", base, lines)
    assert sum("another run trains" in line for line in lines) == 1

    # the upload of the newest checkpoint may have died with the pod
    assert any(line in lines for line in ("student: going on from checkpoint-6", "student: going on from checkpoint-3"))
    assert (resumed.path, resumed.steps, resumed.reused) == (f"{ROOT}/{resumed.fingerprint}", 8, False)
    assert not [key for key in store.keys("files") if ".partial" in key or ".claim" in key]
    whole = train_student(
        Student(name="student", model=base, training=TRAINING, rows=32),
        locate(ModelReference(name="s", model=base), Path(), Folders(tmp_path / "third")),
        ROWS,
        students_in(tmp_path / "whole"),
        print,
        1,
    )
    student = Folders(tmp_path / "third").fetch(resumed.path)
    assert (student / "model.safetensors").read_bytes() == (Path(whole.path) / "model.safetensors").read_bytes()


def test_a_student_trained_in_one_pod_is_the_same_model_in_another_and_not_trained_again(
    base: str, store: ObjectStore, tmp_path: Path
) -> None:
    first, again = (train(tmp_path / pod, base, []) for pod in ("first", "second"))
    assert (first.reused, again.reused) == (False, True)
    assert first.path == again.path and first.losses == again.losses
    here = locate(ModelReference(name="s", model=str(tmp_path / "first" / "students" / first.fingerprint)), Path())
    reference, folders = ModelReference(name="s", model=first.path), Folders(tmp_path / "third")
    planned = locate(reference, Path(), folders, weights=False)
    assert not list(Path(planned.address).glob("*.safetensors")) and planned.tokenizer().chat_template
    served = ModelReference(
        name="s", model="s", engine="openai", base_url="http://127.0.0.1:9/v1", tokenizer=first.path
    )
    assert locate(served, Path(), folders).tokenizer().chat_template == planned.tokenizer().chat_template
    loaded = locate(reference, Path(), folders)
    assert list(Path(loaded.address).glob("*.safetensors"))
    assert here.identity.partition == planned.identity.partition == loaded.identity.partition


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(
    store: ObjectStore, tmp_path: Path, untrained_model: Path
) -> None:
    students, lines = Students(ROOT, tmp_path, tmp_path / "cache"), list[str]()
    stored = StoredTraining(students, "f")
    for step in (8, 9, 10):
        made = tmp_path / f"checkpoint-{step}"
        made.mkdir()
        (made / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
        stored.upload(made)
    assert students.folders.list_folders(f"{ROOT}/f.partial") == ["checkpoint-10", "checkpoint-9"]
    [newest] = [key for key in store.keys("files") if "checkpoint-10/" in key and key.endswith("state.json")]
    store.client().put_object(Bucket="files", Key=newest, Body=b"{}")
    (tmp_path / "f.partial" / "checkpoint-9").mkdir(parents=True)  # it was killed while it fetched or wrote this one
    stored.fetch_last(tmp_path / "f.partial", lines.append)
    assert (tmp_path / "f.partial" / "checkpoint-9" / "trainer_state.json").is_file()
    assert [path.name for path in (tmp_path / "f.partial").iterdir()] == ["checkpoint-9"]
    assert "checkpoint-10 cannot be used" in lines[0] and "checkpoint-9 fetched" in lines[1]

    again = tmp_path / "f.partial" / "checkpoint-10"
    again.mkdir()
    (again / "trainer_state.json").write_text('{"global_step": 10, "seconds": 1}')
    stored.upload(again, first=True)
    stored.fetch_last(tmp_path / "elsewhere" / "f.partial", lines.append)
    assert "checkpoint-10 fetched" in lines[2]
    other = Students(ROOT, tmp_path / "other", tmp_path / "other")  # it can use none of them, and begins anew
    begun = tmp_path / "other" / "checkpoint-3"
    begun.mkdir(parents=True)
    (begun / "trainer_state.json").write_text("{}")
    StoredTraining(other, "f").upload(begun, first=True)
    assert stored.newest() == "checkpoint-3"


def test_a_store_that_takes_no_checkpoints_does_not_stop_the_training(
    base: str, store: ObjectStore, tmp_path: Path
) -> None:
    store.fault = lambda method, path: "403 Forbidden" if method == "PUT" and ".partial" in path else None
    lines: list[str] = []
    assert train(tmp_path, base, lines).steps == 8
    assert any("checkpoint-3 was not uploaded, training goes on: s3://files/" in line for line in lines)


def test_a_model_that_is_not_at_its_address_says_what_to_do(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"s: the model cannot be fetched: s3://files/no: .*Materialize the asset"):
        locate(ModelReference(name="s", model="s3://files/no"), Path(), Folders(tmp_path))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    Folders(tmp_path).put(tmp_path / "half", "s3://files/half")
    with pytest.raises(EngineError, match=r"s3://files/half: the folder lacks tokenizer_config.json"):
        locate(ModelReference(name="s", model="s3://files/half"), Path(), Folders(tmp_path))
