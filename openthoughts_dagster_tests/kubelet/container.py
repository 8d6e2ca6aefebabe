"""One container of a pod: its process, and its state as Kubernetes words it."""

import signal
import time
from collections.abc import Callable

from openthoughts_dagster_tests.kubelet.api import Json, now
from openthoughts_dagster_tests.kubelet.probes import Probe
from openthoughts_dagster_tests.kubelet.sandbox import Sandbox
from openthoughts_dagster_tests.kubelet.values import quantity


class Container:
    """Started with `launch`, a function that makes a sandbox of a command (None: the container's own)."""

    def __init__(self, spec: Json, launch: Callable[[Json, list[str] | None], Sandbox]) -> None:
        self.spec, self.name = spec, str(spec["name"])
        self._launch = launch
        self._limit = spec.get("resources", {}).get("limits", {}).get("memory")
        self._probes: dict[str, Probe] = {}
        self.sandbox: Sandbox | None = None
        self.state: Json = {"waiting": {"reason": "ContainerCreating"}}
        self._last: Json = {}
        self.restarts = 0
        self.exit_code: int | None = None
        self._killed_for: str | None = None
        self._backoff, self._again_at = 1.0, 0.0

    @property
    def running(self) -> bool:
        return self.sandbox is not None

    @property
    def ready(self) -> bool:
        """Whether it runs and its readiness probe, if it has one, has passed."""
        started = "startupProbe" not in self._probes or self._probes["startupProbe"].passed
        passed = "readinessProbe" not in self._probes or self._probes["readinessProbe"].passed
        return self.running and bool(started and passed)

    def start(self) -> None:
        """Start the process. Raises NotThere for what its environment refers to and does not exist."""
        self.sandbox = self._launch(self.spec, None)
        self.exit_code, self._killed_for = None, None
        self.state = {"running": {"startedAt": now()}}
        self._probes = {
            kind: Probe(self.spec[kind], self.spec, lambda command: self._launch(self.spec, command))
            for kind in ("startupProbe", "readinessProbe", "livenessProbe")
            if kind in self.spec
        }

    def restart_when_due(self) -> None:
        """Start again what has ended, each time after a longer pause."""
        if self._again_at == 0:
            self._again_at = time.monotonic() + self._backoff
            self._last, terminated = self.state, self.state
            if self._backoff > 1:
                self.state = {"waiting": {"reason": "CrashLoopBackOff", "message": str(terminated)}}
        elif time.monotonic() >= self._again_at:
            self._again_at, self._backoff = 0, min(self._backoff * 2, 10)
            self.restarts += 1
            self.start()

    def tick(self) -> None:
        """Look after the process: its end, its memory limit, its probes."""
        if not self.sandbox:
            return
        code = self.sandbox.poll()
        if code is not None:
            self._ended(code)
            return
        if self._limit and self.sandbox.memory() > quantity(self._limit):
            self.kill("OOMKilled")
            return
        startup = self._probes.get("startupProbe")
        if startup and not startup.passed:
            startup.tick()
            if startup.passed is False:
                self.kill("Error")
            return
        for kind in ("readinessProbe", "livenessProbe"):
            if kind in self._probes:
                self._probes[kind].tick()
        if "livenessProbe" in self._probes and self._probes["livenessProbe"].passed is False:
            self.kill("Error")

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.sandbox:
            self.sandbox.signal(signal.SIGTERM)

    def kill(self, reason: str = "Error") -> None:
        """Kill the process; `reason` is what its state will say."""
        if self.sandbox:
            self._killed_for = reason
            self._ended(self.sandbox.kill())

    def fail(self, reason: str, message: str, waiting: bool) -> None:
        """It waits, or ended without ever starting."""
        if waiting:
            self.state = {"waiting": {"reason": reason, "message": message}}
        else:
            self.exit_code = 128
            self.state = {"terminated": {"exitCode": 128, "reason": reason, "message": message}}

    def status(self, image: str) -> Json:
        """Its entry in containerStatuses."""
        return {
            "name": self.name,
            "image": image,
            "imageID": image if self.exit_code is not None or self.running else "",
            "ready": self.ready,
            "started": self.running,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self._last,
        }

    def _ended(self, code: int) -> None:
        for probe in self._probes.values():
            probe.stop()
        began = self.state.get("running", {}).get("startedAt")
        reason = self._killed_for or ("Completed" if code == 0 else "Error")
        self.state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": now()}}
        self.exit_code, self.sandbox = code, None
