"""Readiness, liveness and startup probes: an HTTP status, an open port, or a command's exit code."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from openthoughts_dagster_tests.kubelet.api import Json
from openthoughts_dagster_tests.kubelet.sandbox import Sandbox


class Probe:
    """One probe of one container. `passed` is None until it has decided for the first time."""

    def __init__(self, spec: Json, container: Json, execute: Callable[[list[str]], Sandbox]) -> None:
        self._spec, self._container, self._execute = spec, container, execute
        self._period = spec.get("periodSeconds", 10)
        self._next = time.monotonic() + spec.get("initialDelaySeconds", 0)
        self._streak: tuple[bool, int] = (False, 0)
        self._running: tuple[Sandbox, float] | None = None
        self.passed: bool | None = None

    def tick(self) -> None:
        """Probe if it is time to; decide once enough results in a row agree."""
        if self._running:
            sandbox, deadline = self._running
            code = sandbox.poll()
            if code is None and time.monotonic() > deadline:
                code = sandbox.kill()
            if code is not None:
                self._running = None
                self._count(code == 0)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._period
            if "exec" in self._spec:
                # an import of dagster takes longer than the usual second on a busy machine
                seconds = max(self._spec.get("timeoutSeconds", 1), 20)
                self._running = self._execute(self._spec["exec"]["command"]), time.monotonic() + seconds
            else:
                self._count(self._answers())

    def stop(self) -> None:
        """End a command that is under way."""
        if self._running:
            self._running[0].kill()
            self._running = None

    def _count(self, good: bool) -> None:
        self._streak = (good, self._streak[1] + 1 if self._streak[0] == good else 1)
        needed = self._spec.get("successThreshold", 1) if good else self._spec.get("failureThreshold", 3)
        if self._streak[1] >= needed:
            self.passed = good

    def _answers(self) -> bool:
        timeout = max(self._spec.get("timeoutSeconds", 1), 5)
        [kind] = self._spec.keys() & {"httpGet", "tcpSocket", "grpc"}
        port = self._port(self._spec[kind]["port"])
        try:
            if kind != "httpGet":
                with socket.create_connection(("127.0.0.1", port), timeout):
                    return True
            address = f"http://127.0.0.1:{port}{self._spec[kind].get('path', '/')}"
            with urllib.request.urlopen(address, timeout=timeout) as reply:
                return bool(reply.status < 400)
        except OSError:
            return False

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        return int(next(p["containerPort"] for p in self._container.get("ports", []) if p.get("name") == port))
