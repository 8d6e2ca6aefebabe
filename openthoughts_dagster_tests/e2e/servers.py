"""The real webserver and daemon over a deployment, and the questions a browser would ask them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float, what: str, log: Callable[[], str] = str) -> None:
    """Wait until `condition` holds; fail with `what`, and with what `log` says by then, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s. {log()}"
        time.sleep(0.3)


@contextmanager
def dagster_dev(house: Path, environment: dict[str, str], log: Path) -> Iterator[str]:
    """`make ui`'s command: webserver and daemon on a free port, stopped at the end. Yields the address."""
    port = free_port()
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(house / "workspace.yaml")]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=house,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: process.poll() is not None or _answers(address), 90, f"webserver, see {log}")
            assert process.poll() is None, log.read_text()[-3000:]
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
                wait_for(lambda: not _lives(process.pid), 60, "the end of every process of the deployment, engines too")
            finally:
                if _lives(process.pid):
                    os.killpg(process.pid, signal.SIGKILL)


def _lives(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Deployment:
    """Code server, webserver and daemon, each a process of its own with a log in `logs`, on free ports of loopback."""

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment, self._logs, self._running = environment, logs, dict[str, "subprocess.Popen[bytes]"]()
        logs.mkdir(parents=True, exist_ok=True)
        self._code_port, self._port = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        server = {"host": "127.0.0.1", "port": self._code_port, "location_name": "openthoughts"}
        self._workspace = logs / "workspace.yaml"
        self._workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))

    def __enter__(self) -> "Deployment":
        try:
            self.start("code")
            wait_for(lambda: listens(self._code_port), 90, f"code server, see {self._logs}")
            self.start("webserver")
            self.start("daemon")
            wait_for(lambda: _answers(self.address), 90, f"webserver, see {self._logs}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("daemon", "webserver", "code"):
            if name in self._running:
                self.stop(name)

    def start(self, name: str) -> None:
        """Start one of the three."""
        workspace = ["-w", str(self._workspace)]
        local = ["-h", "127.0.0.1", "-p"]
        module = ["-m", "openthoughts_dagster.definitions"]
        command = {
            "code": [
                "dagster",
                "api",
                "grpc",
                *local,
                str(self._code_port),
                *module,
                "--location-name",
                "openthoughts",
            ],
            "webserver": ["dagster_webserver", *local, str(self._port), *workspace],
            "daemon": ["dagster._daemon", "run", *workspace],
        }[name]
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=os.environ | self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGINT) -> None:
        """Stop one of the three and everything it started."""
        process = self._running.pop(name)
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        with suppress(ProcessLookupError):  # runs are processes that the code server started
            os.killpg(process.pid, signal.SIGKILL)

    def log(self, name: str) -> str:
        """What one of the three wrote."""
        return (self._logs / f"{name}.log").read_text(errors="replace")


def graphql(address: str, query: str, **variables: Any) -> Any:
    """The data of a GraphQL reply."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        answer = json.load(reply)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


def launch_backfill(address: str, assets: list[str], partitions: list[str]) -> str:
    """Launch a backfill as the UI's dialog does; its id."""
    launched = graphql(
        address,
        """mutation ($parameters: LaunchBackfillParams!) {
             launchPartitionBackfill(backfillParams: $parameters) {
               __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        parameters={"assetSelection": [{"path": [name]} for name in assets], "partitionNames": partitions},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def backfill(address: str, assets: list[str], partitions: list[str], seconds: float) -> None:
    """Launch a backfill and wait until it has succeeded."""
    launched = launch_backfill(address, assets, partitions)

    def ended() -> bool:
        found = graphql(
            address,
            """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
                 ... on PartitionBackfill { status error { message } } } }""",
            id=launched,
        )["partitionBackfillOrError"]
        assert found["status"] not in ("FAILED", "COMPLETED_FAILED", "CANCELED"), found
        return str(found["status"]) == "COMPLETED_SUCCESS"

    wait_for(ended, seconds, f"backfill of {assets} for {partitions}")


def listens(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
