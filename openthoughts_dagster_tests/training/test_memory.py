"""What a training needs in memory is known before it starts, and a student that could not be scored is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from openthoughts_dagster.cli.doctor_models import check_models
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import RecipeError, Student, find_recipe
from openthoughts_dagster.training import TrainingError
from openthoughts_dagster.training.memory import check_heads, count_weights, describe_memory

# config.json of Qwen/Qwen2.5-7B-Instruct, which has 7,615,616,512 weights
QWEN_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}


def student_on(hardware: Any, **training: Any) -> Student:
    raw = {"name": "student", "model": "m", "engine": "vllm", "preset": "medium", "hardware": hardware}
    return Student.model_validate({**raw, "training": training})


def test_weights_are_counted_from_a_configuration(untrained_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert count_weights(QWEN_7B)[0] == pytest.approx(7_615_616_512, rel=1e-4)
    config = json.loads((untrained_model / "config.json").read_text())
    assert count_weights(config)[0] == pytest.approx(
        AutoModelForCausalLM.from_pretrained(untrained_model).num_parameters(), rel=0.01
    )


@pytest.mark.parametrize(
    ("hardware", "training", "fits"),
    [
        ("h100x1", {}, False),
        ("h100x4", {}, False),
        ("h100x4", {"sharding": "fsdp"}, True),
        ("h200x2", {"sharding": "fsdp"}, True),
        ("h100x1", {"sharding": "fsdp"}, False),
        ("h100x1", {"lora": {"rank": 16}}, True),
        ("l40sx1", {"lora": {"rank": 16}, "weights": "bfloat16"}, True),
        ("h100x4", {"sharding": "fsdp", "gradient_checkpointing": False}, False),
        ({"accelerator": "h100", "count": 4, "memory": "64Gi"}, {"sharding": "fsdp"}, False),
        ("h100x4", {"sharding": "fsdp", "max_length": 131_072, "activation_offloading": True}, True),
        ("h100x4", {"sharding": "fsdp", "max_length": 131_072}, False),
        ("h100x4", {"sharding": "fsdp", "max_length": 131_072, "context_parallel": 4}, True),
        ({"cpus": 2, "memory": "4Gi"}, {}, False),
    ],
)
def test_a_training_fits_its_hardware_or_the_reason_says_what_to_change(
    hardware: Any, training: dict[str, Any], fits: bool
) -> None:
    found, says = describe_memory(QWEN_7B, student_on(hardware, **training))
    assert found is fits and "7.62 billion weights" in says, says
    assert fits or "accelerators" in says or "hardware.memory" in says


def test_training_and_scoring_may_have_different_hardware() -> None:
    student = student_on("h100x8")
    with pytest.raises(TrainingError, match=r"28 attention heads .* 8 accelerators \(hardware.count\).*to 4"):
        check_heads(QWEN_7B, student)
    apart = Student.model_validate({**student.model_dump(exclude_unset=True), "scoring_hardware": "h100x4"})
    check_heads(QWEN_7B, apart)
    assert (apart.hardware.count, apart.for_scoring().hardware.count) == (8, 4)
    nodes = student_on({"accelerator": "h100", "count": 4, "nodes": 2}, sharding="fsdp")
    assert (nodes.hardware.nodes, nodes.for_scoring().hardware.nodes) == (2, 1)


def test_heads_that_cannot_be_split_are_refused_with_the_recipe_and_the_doctor_says_what_is_needed(
    untrained_model: Path, tmp_path: Path
) -> None:
    text = find_recipe("quickstart").read_text()
    shutil.copytree(find_recipe("quickstart").parent, tmp_path, dirs_exist_ok=True)
    model = "model: ${OPENTHOUGHTS_FILES}/tiny_models/student\n  engine: transformers"
    assert model in text
    before, _, after = text.partition(model)
    own = after.replace("hardware: {cpus: 2, memory: 4Gi}", "hardware: h100x4", 1)
    (tmp_path / "recipe.yaml").write_text(f"{before}model: {untrained_model}\n  engine: vllm{own}")
    settings = Settings.from_environment({"OPENTHOUGHTS_RECIPE": str(tmp_path), "OPENTHOUGHTS_DATA": str(tmp_path)})
    with pytest.raises(RecipeError, match=r"its 2 attention heads cannot be split between 4 accelerators"):
        settings.load_recipe()
    (tmp_path / "recipe.yaml").write_text(f"{before}model: {untrained_model}\n  engine: transformers{own}")
    findings = {finding.what: finding for finding in check_models(settings.load_recipe(), settings)}
    assert findings["student's memory"].good and "h100 by formula" in findings["student's memory"].says
