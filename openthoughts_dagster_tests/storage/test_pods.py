"""The way from questions to scores with everything in the object store and no disk that two steps share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from openthoughts_dagster.defs.check_rules import (
    Partition,
    answers_are_complete,
    checkpoint_is_whole,
    every_item_is_scored,
)
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import BENCHMARK_SCORES, COMPLETIONS, STUDENT_CHECKPOINTS, TEACHER_ANSWERS, Lake
from openthoughts_dagster.recipe import ModelReference, load_recipe
from openthoughts_dagster.recipe.loading import SHIPPED
from openthoughts_dagster.storage import Folders
from openthoughts_dagster_tests.object_store import KEYS, SECRET, ObjectStore


def _recipe(folder: Path) -> Path:
    """One source, one teacher whose answers are noise, and a student: all models in the store."""
    shutil.copytree(SHIPPED / "quickstart", folder)
    quickstart = yaml.safe_load((folder / "recipe.yaml").read_text())
    model = {"model": "${OPENTHOUGHTS_FILES}/models/untrained", "engine": "transformers", "dtype": "float32"}
    quickstart["evaluation"]["benchmarks"] = [quickstart["evaluation"]["benchmarks"][0] | {"items": 4}]
    recipe = {
        "name": "stored",
        "description": "Everything in an object store.",
        "sources": [quickstart["sources"][0] | {"name": "sums", "size": 8}],
        "decontamination": {"ngram": None, "similarity": 100},
        "teachers": [model | {"name": "noise", "sampling": {"max_tokens": 8}}],
        "answers_per_question": 2,
        "answer_filter": {"method": "none"},
        "student": quickstart["student"] | model | {"rows": 16},
        "evaluation": quickstart["evaluation"] | {"sampling": {"temperature": 0, "max_tokens": 8}},
    }
    recipe["student"]["training"] |= {"epochs": 2, "global_batch_size": 8, "per_device_batch_size": 8, "save_steps": 2}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


@pytest.mark.timeout(240)
def test_every_step_in_a_pod_of_its_own_ends_in_scores_and_nothing_is_on_a_disk_that_they_share(
    store: ObjectStore, untrained_model: Path, tmp_path: Path
) -> None:
    Folders(tmp_path / "cache").put(untrained_model, "s3://files/all/models/untrained")
    for folder in ("home", "pods"):
        (tmp_path / folder).mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {
        "OPENTHOUGHTS_RECIPE": str(_recipe(tmp_path / "recipe")),
        "OPENTHOUGHTS_DATA": str(tmp_path / "run-pod"),
        "OPENTHOUGHTS_LAKE": "s3://lake/tables",
        "OPENTHOUGHTS_FILES": "s3://files/all",
        "OPENTHOUGHTS_TEST_PODS": str(tmp_path / "pods"),
        "DAGSTER_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "openthoughts_dagster_tests.storage.pods"]
    done = subprocess.run(
        [*command, "sums", "noise"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]

    lake = Lake("s3://lake/tables")
    assert lake.scan(TEACHER_ANSWERS).collect().height == 16
    assert lake.scan(COMPLETIONS).collect().height == 16 + 4 * 2  # the student's answers before and after training
    assert lake.scan(BENCHMARK_SCORES).collect().height == 4
    address = lake.scan(STUDENT_CHECKPOINTS).select("path").collect().item()
    assert address.startswith("s3://files/all/students/") and address.count("/") == 5
    student = locate(ModelReference(name="s", model=address), Path(), Folders(tmp_path / "elsewhere"))

    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        made = instance.get_latest_materialization_event(dg.AssetKey("student_checkpoint"))
        assert made is not None and made.asset_materialization is not None
        assert (made.asset_materialization.tags or {})["dagster/data_version"] == student.identity.revision
        scores = instance.get_latest_materialization_event(dg.AssetKey("benchmark_scores"))
        assert scores is not None and scores.asset_materialization is not None
        metadata = scores.asset_materialization.metadata
        assert metadata["lighteval_results"].value == "s3://files/all/evaluations/sums/noise"
        for run in instance.get_runs():
            shown = [dg.serialize_value(event) for event in instance.all_logs(run.run_id)] + [dg.serialize_value(run)]
            assert not any(value in text for text in shown for value in (SECRET, KEYS["AWS_ACCESS_KEY_ID"]))
    models = pl.Series(lake.scan(COMPLETIONS).select("model").unique().collect()["model"])
    assert f"local@{student.identity.revision}" in models.to_list()

    stored = {key.split("/")[1] for key in store.keys("files")}
    assert stored == {"models", "students", "evaluations", "step_outputs"}
    assert not [key for key in store.keys("files") if key.endswith((".pkl", ".pickle")) or ".partial" in key]
    kept = [path for path in (tmp_path / "home" / "storage").rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} <= {"compute_logs"}  # Dagster would pickle outputs that nobody placed
    pods = {path.name.rpartition("-")[0] for path in (tmp_path / "pods").iterdir()}
    answering = {"teacher_answers.plan", "teacher_answers.answer[0]", "teacher_answers.publish"}
    assert pods == answering | {"student_checkpoint", "benchmark_scores"}
    # nothing of the weights where no engine starts
    planning = [path for path in (tmp_path / "pods").glob("teacher_answers.p*") if list(path.rglob("*.safetensors"))]
    assert planning == []
    recipe = load_recipe(environment["OPENTHOUGHTS_RECIPE"], environment)
    for rule in (checkpoint_is_whole, every_item_is_scored, answers_are_complete):
        found = rule(Partition(recipe, lake, {"source": "sums", "teacher": "noise"}, {}))
        assert found.passed, found.says
