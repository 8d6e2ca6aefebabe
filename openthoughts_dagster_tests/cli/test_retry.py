"""What a model refused for good is asked again when a person wants it, and only then."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aiohttp import web

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.defs.retry_tag import RETRY_TAG
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import TEACHER_ANSWERS, Lake
from openthoughts_dagster_tests.cli.conftest import QUESTIONS, change_teacher, run
from openthoughts_dagster_tests.generation.faulty_server import chat, refusal, serving_in_thread
from openthoughts_dagster_tests.loopback import QuietHandler, serving


class Moderation:
    """A server that refuses some questions for good, until somebody lifts that."""

    def __init__(self) -> None:
        self.refuses, self.address, self.asked = ["3+1?", "7+1?"], "", list[Any]()

    async def reply(self, _: int, request: web.Request) -> web.Response:
        asked = json.loads(await request.read())["messages"][-1]["content"]
        return refusal(400, "flagged", code="content_filter") if asked in self.refuses else chat()


@pytest.fixture
def server(folder: Path) -> Iterator[Moderation]:
    """The teacher's server; the engine that was opened for it is closed at the end."""
    moderation = Moderation()
    with serving_in_thread(moderation.reply, models=[{"id": "slow"}]) as (address, asked):
        moderation.address, moderation.asked = address, asked
        change_teacher(folder, base_url=address)
        engine_pool.cache_clear()
        try:
            yield moderation
        finally:
            engine_pool().close()
            engine_pool.cache_clear()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("source", ["sums"])
        yield instance


def _answer(instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    settings = Settings.from_environment()
    job = build_definitions(settings.load_recipe(), settings).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        partition_key=dg.MultiPartitionKey({"source": "sums", "teacher": "slow"}),
        asset_selection=[dg.AssetKey("teacher_answers")],
        instance=instance,
        tags=tags,
        raise_on_error=False,
    )


def _error(result: dg.ExecuteInProcessResult) -> str:
    [failed] = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None
    return (error.cause or error).message


@pytest.mark.parametrize("value", ["yes", "now"])
def test_a_run_with_the_tag_asks_again_what_was_refused_for_good(
    folder: Path, server: Moderation, instance: dg.DagsterInstance, value: str
) -> None:
    failed = _answer(instance)
    assert not failed.success and len(server.asked) == 2 * QUESTIONS
    assert "all of these failed permanently" in _error(failed) and "openthoughts retry" in _error(failed)
    server.refuses = []
    assert not _answer(instance).success and len(server.asked) == 2 * QUESTIONS

    result = _answer(instance, **{RETRY_TAG: "yes" if value == "yes" else _now()})
    assert result.success and len(server.asked) == 2 * QUESTIONS + 4
    assert Lake(folder / "lake").scan(TEACHER_ANSWERS).collect().height == 2 * QUESTIONS


def test_a_run_that_was_asked_to_retry_before_the_failures_asks_none_of_them_twice(
    server: Moderation, instance: dg.DagsterInstance
) -> None:
    moment = _now()
    assert not _answer(instance, **{RETRY_TAG: moment}).success
    assert not _answer(instance, **{RETRY_TAG: moment}).success
    assert len(server.asked) == 2 * QUESTIONS


def test_a_tag_that_says_neither_yes_nor_a_time_is_refused(server: Moderation, instance: dg.DagsterInstance) -> None:
    result = _answer(instance, **{RETRY_TAG: "perhaps"})
    assert not result.success and "must be yes, or a time such as" in str(result.all_events) + _error(result)
    assert not server.asked


class Webserver(HTTPServer):
    """Takes one launch of a backfill, as Dagster's webserver does, and keeps it."""

    launched: dict[str, Any]


@pytest.fixture
def webserver() -> Iterator[Webserver]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.read())
            listener.launched = body["variables"]["parameters"]
            reply = {"launchPartitionBackfill": {"__typename": "LaunchBackfillSuccess", "backfillId": "abc"}}
            self.send_json(200, {"data": reply})

    with serving(Webserver(("127.0.0.1", 0), Handler)) as listener:
        yield listener


def test_the_command_counts_what_failed_for_good_and_launches_only_these_sources(
    folder: Path, server: Moderation, instance: dg.DagsterInstance, webserver: Webserver
) -> None:
    nothing = run("retry", "--teacher", "slow")
    assert nothing.exit_code == 0 and "no request to slow failed permanently" in nothing.output
    _answer(instance)
    ui = f"http://127.0.0.1:{webserver.server_port}"
    done = run("retry", "--teacher", "slow", "--source", "sums", "--ui", ui, "--yes")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[1].split()[:4] == ["slow", "sums", "4", "4"]
    assert f"launched: {ui}/runs/b/abc" in done.output
    tags = {tag["key"]: tag["value"] for tag in webserver.launched["tags"]}
    assert webserver.launched["partitionNames"] == ["sums|slow"] and tags["openthoughts/teacher"] == "slow"

    server.refuses = []
    assert _answer(instance, **{RETRY_TAG: tags[RETRY_TAG]}).success


def _now() -> str:
    return datetime.now(UTC).isoformat()
