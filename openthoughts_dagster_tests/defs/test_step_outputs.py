"""Steps in different pods hand each other JSON through the store, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.step_outputs import STEP_OUTPUTS, StepOutputs
from openthoughts_dagster.recipe import load_recipe
from openthoughts_dagster_tests.object_store import KEYS, SECRET, ObjectStore

OUT = {"planned": dg.Out(dict, io_manager_key=STEP_OUTPUTS), "shards": dg.DynamicOut(int, io_manager_key=STEP_OUTPUTS)}


@dg.op(out=OUT)
def plan() -> Iterator[Any]:
    yield dg.Output({"questions": 3}, "planned")
    for shard in range(3):
        yield dg.DynamicOutput(shard, mapping_key=str(shard), output_name="shards")


@dg.op(out=dg.Out(int, io_manager_key=STEP_OUTPUTS))
def answer(shard: int) -> int:
    return 10 * shard


@dg.op(out=dg.Out(dict, io_manager_key=STEP_OUTPUTS))
def publish(planned: dict[str, int], generated: list[int]) -> dict[str, int]:
    return planned | {"generated": sum(generated)}


@dg.job
def mapped() -> None:
    planned, shards = plan()
    publish(planned, shards.map(answer).collect())


def _run(job: dg.JobDefinition, address: str, run_id: str = "") -> dg.ExecuteInProcessResult:
    resources = {STEP_OUTPUTS: StepOutputs(address=address)}
    return job.execute_in_process(resources=resources, raise_on_error=False, run_id=run_id or None)


def test_mapped_steps_find_each_others_values_in_the_store(store: ObjectStore) -> None:
    result = _run(mapped, "s3://files/step_outputs")
    assert result.success
    [last] = [key for key in store.keys("files") if "publish" in key]
    assert json.loads(store.client().get_object(Bucket="files", Key=last)["Body"].read()) == {
        "questions": 3,
        "generated": 30,
    }
    assert len(store.keys("files")) == 8
    assert all(
        key.startswith(f"step_outputs/{result.run_id}/") and key.endswith(".json") for key in store.keys("files")
    )


def test_in_a_folder_the_values_are_files(tmp_path: Path) -> None:
    assert _run(mapped, str(tmp_path)).success
    assert len(list(tmp_path.rglob("*.json"))) == 8
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json"]


@pytest.mark.parametrize("value", [{1, 2}, {1: "a"}, (1, 2)])
def test_a_value_that_json_would_change_is_refused(tmp_path: Path, value: Any) -> None:
    @dg.op(out=dg.Out(dg.Any, io_manager_key=STEP_OUTPUTS))
    def wrong() -> Any:
        return value

    @dg.job
    def job() -> None:
        wrong()

    result = _run(job, str(tmp_path))
    [failed] = [event for event in result.all_events if event.is_step_failure]
    assert "wrong.result" in str(failed.step_failure_data.error)
    assert "rows belong in the lake" in str(failed.step_failure_data.error)
    assert not list(tmp_path.rglob("*.json"))


def test_a_value_that_was_deleted_says_to_launch_the_partition_again(tmp_path: Path) -> None:
    @dg.op
    def lose(planned: dict[str, int]) -> None:
        raise AssertionError("not reached")

    @dg.op(out=OUT["planned"])
    def gone() -> dict[str, int]:
        return {"questions": 3}

    @dg.job(hooks=set())
    def job() -> None:
        lose(gone())

    class Forgetful(StepOutputs):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            super().handle_output(context, obj)
            Path(self._place(context)).unlink()

    resources = {STEP_OUTPUTS: Forgetful(address=str(tmp_path))}
    result = job.execute_in_process(resources=resources, raise_on_error=False)
    [failed] = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None and error.cause is not None
    assert "launch the partition again" in error.cause.message


def test_a_key_of_the_store_is_in_no_configuration_that_the_ui_shows(store: ObjectStore, tmp_path: Path) -> None:
    settings = Settings("quickstart", tmp_path, "s3://lake/tables", files="s3://files/all")
    definitions = build_definitions(load_recipe("quickstart", settings.variables()), settings)
    shown = dg.serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))  # all that the webserver gets
    assert "s3://files/all/step_outputs" in shown and "s3://lake/tables" in shown
    assert SECRET not in shown and KEYS["AWS_ACCESS_KEY_ID"] not in shown
