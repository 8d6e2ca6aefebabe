"""Automation pays for new questions; a cell whose settings moved waits for a person and says what it would cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from aiohttp import web

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import DEDUPED_QUESTIONS, RAW_SOURCES, SCORED_QUESTIONS, TEACHER_ANSWERS, Lake
from openthoughts_dagster_tests.cli.conftest import QUESTIONS, change_teacher, run
from openthoughts_dagster_tests.cli.test_retry import _answer, _error
from openthoughts_dagster_tests.generation.faulty_server import chat, serving_in_thread

pytestmark = pytest.mark.faults
AUTOMATIC = {"dagster/from_automation_condition": "true"}


@pytest.fixture
def asked(folder: Path) -> Iterator[list[Any]]:
    """What a server was asked that answers everything."""

    async def reply(_: int, request: web.Request) -> web.Response:
        return chat()

    with serving_in_thread(reply, models=[{"id": "slow"}]) as (address, asked):
        change_teacher(folder, base_url=address)
        engine_pool.cache_clear()
        try:
            yield asked
        finally:
            engine_pool().close()
            engine_pool.cache_clear()


def _append(folder: Path, question: str) -> None:
    lake = Lake(folder / "lake")
    rows = lake.scan(DEDUPED_QUESTIONS, source="sums").collect()
    row = rows.head(1).with_columns(question=pl.lit(question), question_id=pl.lit(question))
    lake.replace(DEDUPED_QUESTIONS, pl.concat([rows, row]), source="sums")


def test_a_cell_whose_settings_moved_waits_for_a_person(folder: Path, asked: list[Any]) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("source", ["sums"])
        assert _answer(instance).success and len(asked) == 2 * QUESTIONS
        _append(folder, "new?")
        assert _answer(instance, **AUTOMATIC).success
        assert [one["messages"][-1]["content"] for one in asked[2 * QUESTIONS :]] == ["new?"] * 2

        before, count = Lake(folder / "lake").scan(TEACHER_ANSWERS).collect(), len(asked)
        change_teacher(folder, system_prompt="Be brief.")
        _append(folder, "newer?")
        waits = _answer(instance, **AUTOMATIC)
        assert not waits.success and len(asked) == count
        says = f"{2 * (QUESTIONS + 1)} answers to questions that have answers would be generated again"
        assert says in _error(waits) and "USD" in _error(waits)
        assert Lake(folder / "lake").scan(TEACHER_ANSWERS).collect().equals(before)
        status = run("status")
        assert status.exit_code == 0 and "teacher_answers sums|slow waits for a person" in status.output
        assert says in status.output and "USD" in status.output

        again = AUTOMATIC | {"dagster/parent_run_id": waits.run_id}
        assert not _answer(instance, **again, **{"dagster/retry_number": "1"}).success and len(asked) == count
        # a person re-executes the run in the UI
        assert _answer(instance, **again).success and len(asked) == count + 2 * (QUESTIONS + 2)
        assert "waits for a person" not in run("status").output
        _append(folder, "newest?")
        assert _answer(instance, **AUTOMATIC).success and len(asked) == count + 2 * (QUESTIONS + 3)


def test_more_samples_of_answered_questions_wait(folder: Path, asked: list[Any]) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("source", ["sums"])
        assert _answer(instance).success
        recipe = folder / "recipe" / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("answers_per_question: 2", "answers_per_question: 3"))
        assert "answers_per_question: 3" in recipe.read_text()
        waits = _answer(instance, **AUTOMATIC)
        assert not waits.success and f"{QUESTIONS} answers to questions that have answers" in _error(waits)
        assert len(asked) == 2 * QUESTIONS


def test_a_changed_judge_waits_and_new_questions_are_scored(folder: Path, asked: list[Any]) -> None:
    recipe = folder / "recipe" / "recipe.yaml"
    document = yaml.safe_load(recipe.read_text())
    judge = {**document["teachers"][0], "name": "judge", "price": {"completion_million": 2.0}}
    document["judges"] = [judge]
    document["scores"] = [{"name": "length", "method": "response_length", "judge": "judge", "attempts": 1}]
    recipe.write_text(yaml.safe_dump(document))
    lake = Lake(folder / "lake")

    def land(count: int) -> None:
        rows = lake.scan(DEDUPED_QUESTIONS, source="sums").collect().head(count).drop("scores")
        lake.replace(RAW_SOURCES, rows.select(list(RAW_SOURCES.columns)), source="sums")

    def score(**tags: str) -> dg.ExecuteInProcessResult:
        settings = Settings.from_environment()
        job = build_definitions(settings.load_recipe(), settings).resolve_implicit_global_asset_job_def()
        selection = [dg.AssetKey("scored_questions")]
        return job.execute_in_process(
            partition_key="sums", asset_selection=selection, instance=instance, tags=tags, raise_on_error=False
        )

    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("source", ["sums"])
        land(6)
        assert score(**AUTOMATIC).success and len(asked) == 6  # nothing is scored yet
        land(8)
        assert score(**AUTOMATIC).success and len(asked) == 8
        document["judges"][0]["system_prompt"] = "Be strict."
        recipe.write_text(yaml.safe_dump(document))
        land(9)
        waits = score(**AUTOMATIC)
        assert not waits.success and len(asked) == 8 and lake.scan(SCORED_QUESTIONS).collect().height == 8
        assert "9 completions to generate" in _error(waits) and "USD" in _error(waits)
        assert "scored_questions sums waits for a person" in run("status").output
        assert score().success and len(asked) == 17
