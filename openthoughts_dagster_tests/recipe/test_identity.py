"""What keys and fingerprints are made of: new settings and cheap ones change none of them.

The hashes were computed by the version before `identity_of`: they name rows that people have paid for.
"""

from typing import Annotated

import polars as pl
import pytest
from pydantic import Field, ValidationError

from openthoughts_dagster.generation.model import Model
from openthoughts_dagster.generation.requests import ModelIdentity, completion_keys
from openthoughts_dagster.recipe import Hardware, Identity, Price, Sampling, Student, TrainingPreset, identity_of
from openthoughts_dagster.recipe.models import RepetitionGuard
from openthoughts_dagster.training.sft import student_fingerprint

HUB = ModelIdentity("Qwen/QwQ-32B", "976055f8c83f394f35dbd3ab09a285a984907bd0")
PROMPT = "<|im_start|>user\nWhat is 1+1?<|im_end|>\n"
ROWS = pl.DataFrame({"question": ["a", "b"], "text": ["<think>x</think>1", "2"]})
SMALL = TrainingPreset(global_batch_size=8, learning_rate=1e-3, epochs=2, bf16=False)


class SamplingOfTomorrow(Sampling):
    min_p: Annotated[float, Identity.UNLESS_DEFAULT] = Field(0.0)
    note: Annotated[str, Identity.NEVER] = Field("")
    nothing: int | None = Field(None)


@pytest.mark.parametrize(
    ("sampling", "key"),
    [
        (Sampling(), "681a1e83d57ac259492b88c14ddef3e8"),
        (Sampling(temperature=0.7, top_p=0.95, max_tokens=32768, seed=3), "ad5b71a0e143b099af904c526a6010db"),
        (Sampling(thinking_budget=100, repetition=RepetitionGuard(times=8)), "dd2ea940317f61ea16e88b1ea8efd04e"),
    ],
)
def test_completions_keep_the_keys_that_they_were_paid_under(sampling: Sampling, key: str) -> None:
    assert completion_keys(HUB, [PROMPT], sampling) == [key]


def test_a_setting_that_was_added_later_changes_no_key_until_it_is_set() -> None:
    later = SamplingOfTomorrow(note="cheap")
    assert completion_keys(HUB, [PROMPT], later) == completion_keys(HUB, [PROMPT], Sampling())
    assert completion_keys(HUB, [PROMPT], SamplingOfTomorrow(min_p=0.1)) != completion_keys(HUB, [PROMPT], Sampling())


def test_students_that_trained_in_float32_keep_their_fingerprint() -> None:
    student = Student(name="student", model="m", training=SMALL.model_copy(update={"per_device_batch_size": 8}))
    assert student_fingerprint(student, Model(student, "m", HUB), ROWS) == "8c7d725b4e6e47d33ce6f2810ca4ce85"


def test_the_number_format_of_weights_is_part_of_a_fingerprint() -> None:
    """bf16 once meant weights in bfloat16 on an accelerator: those students are not the ones of today."""
    settings = [
        SMALL,
        SMALL.model_copy(update={"bf16": True}),
        SMALL.model_copy(update={"bf16": True, "weights": "bfloat16"}),
    ]
    students = [Student(name="student", model="m", training=each) for each in settings]
    found = [student_fingerprint(student, Model(student, "m", HUB), ROWS) for student in students]
    of_earlier_versions = "1747ad5c3011e12099fb8783faba8356"
    assert len({*found, of_earlier_versions}) == 4


@pytest.mark.parametrize("engine", ["auto", "transformers", "vllm", "openai"])
def test_a_model_that_is_written_out_with_every_setting_is_read_again(engine: str) -> None:
    student = Student(name="student", model="m", preset="micro", engine=engine)
    assert Student.model_validate_json(student.model_dump_json()) == student


def test_prices_hardware_and_speed_are_no_part_of_a_students_identity() -> None:
    cheap = Student(name="student", model="m", training=SMALL)
    dear = cheap.model_copy(
        update={"price": Price(accelerator_hour=4), "hardware": Hardware(accelerator="h100", count=1)}
    )
    assert identity_of(cheap) == identity_of(dear)
    assert identity_of(cheap) != identity_of(cheap.model_copy(update={"system_prompt": "Be brief."}))


def test_further_seeds_of_a_cell_leave_its_own_student_what_it_was() -> None:
    student = {"name": "s", "model": "m", "preset": "micro"}
    one, three = (Student.model_validate(student | more) for more in ({}, {"seeds": [2, 0, 1]}))
    assert identity_of(one) == identity_of(three)
    assert (one.other_seeds, three.other_seeds) == ([], [2, 1])
    assert identity_of(three.model_copy(update={"seed": 1})) == identity_of(
        Student.model_validate(student | {"seed": 1})
    )
    for seeds in ([1, 2], [0, 1, 1]):
        with pytest.raises(ValidationError, match=r"must name each seed once, and `seed` \(0\) among them"):
            Student.model_validate(student | {"seeds": seeds})
