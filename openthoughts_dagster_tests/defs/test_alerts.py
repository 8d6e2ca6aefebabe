"""A failed run is told to a real HTTP server, with what a person needs and without secrets."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from openthoughts_dagster.defs.alerts import AlertError, send
from openthoughts_dagster.defs.sensors.failure import failure_sensor
from openthoughts_dagster.defs.settings import Settings


class Webhook:
    """A server on loopback that keeps what is posted to it, and answers with `statuses` in turn."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.statuses: list[int] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(webhook.statuses.pop(0) if webhook.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/SECRETPATH"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["gsm8k"]))
def broken() -> None:
    raise RuntimeError("no GPU at postgresql://me:hunter22@db/x, key sk-abcdef123, Authorization: Bearer abc.def.ghi")


def _failed(instance: dg.DagsterInstance) -> dg.RunFailureSensorContext:
    definitions = dg.Definitions([broken], jobs=[dg.define_asset_job("a_job", ["broken"])])
    job = definitions.resolve_job_def("a_job")
    result = job.execute_in_process(
        instance=instance, partition_key="gsm8k", asset_selection=[dg.AssetKey("broken")], raise_on_error=False
    )
    [event] = [event for event in result.all_events if event.event_type is dg.DagsterEventType.RUN_FAILURE]
    return dg.build_run_status_sensor_context(
        sensor_name="failure_alerts",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=event,
    ).for_run_failure()


def test_a_failed_run_is_told_with_asset_partition_error_and_link(
    webhook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENTHOUGHTS_ALERT_WEBHOOK", webhook.address)
    monkeypatch.setenv("OPENTHOUGHTS_UI", "https://dagster.example/")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdef123")
    with dg.DagsterInstance.ephemeral() as instance:
        context = _failed(instance)
        failure_sensor(Settings("quickstart", tmp_path, str(tmp_path)))(context)
    [message] = webhook.posted
    assert (message["assets"], message["partition"]) == (["broken"], "gsm8k")
    assert message["text"].startswith("broken for gsm8k failed: ") and "no GPU at" in message["error"]
    assert message["link"] == f"https://dagster.example/runs/{message['run_id']}"
    said = json.dumps(message)
    assert not any(secret in said for secret in ("hunter22", "sk-abcdef123", "abc.def.ghi", "SECRETPATH"))
    assert "[OPENAI_API_KEY]" in message["error"]


def test_without_a_webhook_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENTHOUGHTS_ALERT_WEBHOOK", raising=False)
    with dg.DagsterInstance.ephemeral() as instance:
        result = failure_sensor(Settings("quickstart", tmp_path, str(tmp_path)))(_failed(instance))
    assert "not set" in str(result)


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
