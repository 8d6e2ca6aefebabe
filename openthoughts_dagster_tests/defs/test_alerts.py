"""A failed run is told to a real HTTP server, with what a person needs and without secrets."""

import json
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_status_sensor_definition import RunStatusSensorCursor

from openthoughts_dagster.defs.alerts import AlertError, send
from openthoughts_dagster.defs.sensors.failure import failure_sensor
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster_tests.loopback import QuietHandler, serving


class Webhook:
    """A server on loopback that keeps what is posted to it, and answers with `statuses` in turn."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.statuses: list[int] = []
        webhook = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                webhook.posted.append(json.loads(self.read()))
                self.send(webhook.statuses.pop(0) if webhook.statuses else 200)

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/SECRETPATH"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    with serving(webhook.server):
        yield webhook


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["gsm8k"]))
def broken() -> None:
    raise RuntimeError("no GPU at postgresql://me:hunter22@db/x, key sk-abcdef123, Authorization: Bearer abc.def.ghi")


def _fail_a_run(instance: dg.DagsterInstance) -> str:
    """Run an asset that fails; the run's id."""
    job = dg.Definitions([broken], jobs=[dg.define_asset_job("a_job", ["broken"])]).resolve_job_def("a_job")
    selection = [dg.AssetKey("broken")]
    result = job.execute_in_process(
        instance=instance, partition_key="gsm8k", asset_selection=selection, raise_on_error=False
    )
    return result.run_id


class Looks:
    """The sensor's looks, one after the other, each with the cursor that the one before left."""

    def __init__(self, instance: dg.DagsterInstance, cursor: str | None = None) -> None:
        self.instance, self.cursor = instance, cursor
        self._sensor = failure_sensor(Settings("quickstart", Path(), ""), wait=0.01)

    def hurry(self) -> None:
        """Let each look from now on have no time for more than one run."""
        self._sensor = failure_sensor(Settings("quickstart", Path(), ""), wait=0.01, seconds=-1)

    def look(self) -> str:
        """Look once; what the look says."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = self._sensor(context)
        assert isinstance(result, dg.SensorResult) and result.skip_reason is not None
        self.cursor = result.cursor
        return str(result.skip_reason.skip_message)


@pytest.fixture
def looks() -> Iterator[Looks]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Looks(instance)


def test_a_failed_run_is_told_once_with_asset_partition_error_and_link(
    webhook: Webhook, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_ALERT_WEBHOOK", webhook.address)
    monkeypatch.setenv("OPENTHOUGHTS_UI", "https://dagster.example/")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdef123")
    _fail_a_run(looks.instance)
    assert "begin with the next run" in looks.look()  # failures of the past are not told
    run = _fail_a_run(looks.instance)
    assert "1 failed runs" in looks.look() and looks.look() == "no run failed"
    [message] = webhook.posted
    assert (message["run_id"], message["assets"], message["partition"]) == (run, ["broken"], "gsm8k")
    assert message["text"].startswith("broken for gsm8k failed: ") and "no GPU at" in message["error"]
    assert message["link"] == f"https://dagster.example/runs/{run}"
    said = json.dumps(message)
    assert not any(secret in said for secret in ("hunter22", "sk-abcdef123", "abc.def.ghi", "SECRETPATH"))
    assert "[OPENAI_API_KEY]" in message["error"]


def test_runs_that_fail_while_the_webhook_is_away_are_told_later_in_their_order(
    webhook: Webhook, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_ALERT_WEBHOOK", webhook.address)
    looks.look()
    runs = [_fail_a_run(looks.instance) for _ in range(3)]
    webhook.statuses = [200, 503, 503, 503]
    assert "HTTP 503" in (says := looks.look()) and "later look" in says and "SECRETPATH" not in says
    webhook.posted.clear()
    looks.hurry()
    assert ["1 failed runs" in looks.look(), "1 failed runs" in looks.look()] == [True, True]
    assert looks.look() == "no run failed"
    assert [message["run_id"] for message in webhook.posted] == runs[1:]


def test_a_message_that_is_refused_holds_up_no_other(
    webhook: Webhook, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_ALERT_WEBHOOK", webhook.address)
    looks.look()
    runs = [_fail_a_run(looks.instance) for _ in range(2)]
    webhook.statuses = [400]
    assert "1 failed runs" in looks.look()
    assert [message["run_id"] for message in webhook.posted] == runs


def test_the_cursor_of_the_sensor_of_earlier_versions_goes_on(
    webhook: Webhook, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_ALERT_WEBHOOK", webhook.address)
    looks.look()
    record_id = int(looks.cursor or 0)
    looks.cursor = RunStatusSensorCursor(record_id=record_id, update_timestamp=None).to_json()
    _fail_a_run(looks.instance)
    assert "1 failed runs" in looks.look()


def test_without_a_webhook_nothing_is_sent_and_nothing_is_kept(
    webhook: Webhook, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENTHOUGHTS_ALERT_WEBHOOK", raising=False)
    looks.look()
    _fail_a_run(looks.instance)
    assert "not set" in looks.look()
    monkeypatch.setenv("OPENTHOUGHTS_ALERT_WEBHOOK", webhook.address)
    assert looks.look() == "no run failed" and webhook.posted == []


def test_a_webhook_that_is_busy_is_asked_again(webhook: Webhook) -> None:
    webhook.statuses = [503, 429]
    send(webhook.address, {"text": "hello"}, wait=0.01)
    assert len(webhook.posted) == 3


@pytest.mark.parametrize(("statuses", "posts"), [([500] * 9, 3), ([404], 1)])
def test_a_webhook_that_refuses_is_an_error_without_its_address(
    webhook: Webhook, statuses: list[int], posts: int
) -> None:
    webhook.statuses = list(statuses)
    with pytest.raises(AlertError) as error:
        send(webhook.address, {"text": "hello"}, wait=0.01)
    assert f"HTTP {statuses[0]}" in str(error.value) and "SECRETPATH" not in str(error.value)
    assert len(webhook.posted) == posts


def test_an_address_that_is_no_webhook_is_an_error() -> None:
    with pytest.raises(AlertError, match="no http or https address"):
        send("file:///etc/passwd", {})
