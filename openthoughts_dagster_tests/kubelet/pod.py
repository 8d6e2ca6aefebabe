"""One pod on its node, from the volumes to the last status: a thread that looks after its containers."""

import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from openthoughts_dagster_tests.kubelet.api import Api, ApiError, Json, now
from openthoughts_dagster_tests.kubelet.container import Container
from openthoughts_dagster_tests.kubelet.images import Image
from openthoughts_dagster_tests.kubelet.names import hostname, hosts_of
from openthoughts_dagster_tests.kubelet.sandbox import Sandbox
from openthoughts_dagster_tests.kubelet.values import NotThere, Objects, environment, expand
from openthoughts_dagster_tests.kubelet.volumes import Volumes


class PodHost(Protocol):
    """What a pod's thread needs of its kubelet."""

    api: Api
    images: dict[str, Image]
    claims: Path

    @property
    def environment(self) -> dict[str, str]: ...

    def event(self, pod: Json, kind: str, reason: str, message: str) -> None: ...

    def pod_ended(self, thread: "PodWorker") -> None: ...


class _Stopped(Exception):
    """The pod is to end: it was deleted, evicted, or its node vanished."""


class PodWorker(threading.Thread):
    """Runs a pod, and tells its kubelet when the processes have ended and when the pod is gone."""

    def __init__(self, host: PodHost, pod: Json, folder: Path) -> None:
        meta = pod["metadata"]
        super().__init__(name=f"pod {meta['namespace']}/{meta['name']}", daemon=True)
        self.pod, self.namespace, self.pod_name, self.uid = pod, meta["namespace"], meta["name"], meta["uid"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.pod_name}"
        self.folder = folder
        self._host = host
        folder.mkdir(parents=True, exist_ok=True)
        self._volumes = Volumes(host.api, pod, folder / "volumes", host.claims)
        self.inits = [Container(spec, self._launch) for spec in pod["spec"].get("initContainers", [])]
        self.containers = [Container(spec, self._launch) for spec in pod["spec"]["containers"]]
        self._ending, self._grace, self._deleted, self.vanished = threading.Event(), 0.0, False, False
        self._phase, self._why, self._pushed = "Pending", Json(), Json()
        self._since, self._hosts_at = now(), 0.0
        self._kill_for: str | None = None
        self._pulled: dict[str, Image] = {}
        self._variables: dict[str, dict[str, str]] = {}

    def delete(self, grace: float) -> None:
        """The pod was deleted: end within `grace` seconds, then let the object go."""
        self._grace, self._deleted = grace, True
        self._ending.set()

    def evict(self, reason: str, message: str) -> None:
        """End at once as the kubelet does when it must get rid of a pod: it has failed, and says why."""
        self._why = {"reason": reason, "message": message}
        self._ending.set()

    def vanish(self) -> None:
        """The machine is gone: no process and no word of it."""
        self.vanished = True
        self._ending.set()

    def kill_for(self, reason: str) -> None:
        """Kill its containers in the next tick, for a reason such as OOMKilled."""
        self._kill_for = reason

    def runs(self, container: str) -> bool:
        """Whether a container runs."""
        return any(c.running for c in [*self.inits, *self.containers] if c.name == container)

    def run(self) -> None:
        try:
            self._prepare()
            for container in self.inits:
                self._run_init_container(container)
            self._supervise()
        except _Stopped:
            self._end()
        finally:
            for container in [*self.inits, *self.containers]:
                container.kill()
            if not self.vanished:
                self._push(until_done=True)
                while not (self._deleted or self.vanished):
                    self._ending.wait(5)  # a pod that is over stays until it is deleted
                if self._deleted and not self.vanished:
                    self._delete_object()
            self._volumes.remove()
            shutil.rmtree(self.folder / "volumes", ignore_errors=True)
            self._host.pod_ended(self)

    def _prepare(self) -> None:
        told = None
        while True:
            try:
                self._volumes.make()
                break
            except (NotThere, ApiError) as error:
                if str(error) != told:
                    self._host.event(self.pod, "Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                told = str(error)
                self._pause(1)
        for container in [*self.inits, *self.containers]:
            image, tries = container.spec["image"], 0
            while image not in self._host.images:
                message = f'failed to pull and unpack image "{image}": not found'
                if tries == 0:
                    self._host.event(self.pod, "Warning", "Failed", f'Failed to pull image "{image}": {message}')
                    self._host.event(self.pod, "Warning", "Failed", "Error: ErrImagePull")
                    container.fail("ErrImagePull", message, waiting=True)
                else:
                    message = f'Back-off pulling image "{image}": ErrImagePull: {message}'
                    if tries == 1:
                        self._host.event(self.pod, "Normal", "BackOff", f'Back-off pulling image "{image}"')
                        self._host.event(self.pod, "Warning", "Failed", "Error: ImagePullBackOff")
                    container.fail("ImagePullBackOff", message, waiting=True)
                tries += 1
                self._pause(3)
            self._pulled[container.name] = self._host.images[image]

    def _start(self, container: Container) -> None:
        told = None
        while not container.running:
            try:
                container.start()
                self._host.event(self.pod, "Normal", "Started", f"Container started: {container.name}")
            except (NotThere, ApiError) as error:
                container.fail("CreateContainerConfigError", str(error), waiting=True)
                if str(error) != told:
                    self._host.event(self.pod, "Warning", "Failed", f"Error: {error}")
                told = str(error)
                self._pause(1)

    def _run_init_container(self, container: Container) -> None:
        """Run an init container to its end; as often as needed unless the pod never restarts."""
        self._start(container)
        while container.exit_code != 0:
            self._tick(container)
            if container.exit_code and self.pod["spec"].get("restartPolicy") == "Never":
                self._phase = "Failed"
                self._why = {"message": f"init container {container.name} exited with {container.exit_code}"}
                raise _Stopped
            if container.exit_code:
                container.restart_when_due()
            self._pause(0.2)

    def _supervise(self) -> None:
        for container in self.containers:
            self._start(container)
        self._phase = "Running"
        policy = self.pod["spec"].get("restartPolicy", "Always")
        while True:
            for container in self.containers:
                self._tick(container)
                if not container.running and (policy == "Always" or (policy == "OnFailure" and container.exit_code)):
                    with suppress(NotThere, ApiError):  # it is tried again
                        container.restart_when_due()
            if policy != "Always" and not any(c.running for c in self.containers):
                codes = [container.exit_code for container in self.containers]
                if policy == "Never" or not any(codes):
                    self._phase = "Failed" if any(codes) else "Succeeded"
                    return
            self._pause(0.2)

    def _tick(self, container: Container) -> None:
        if self._kill_for:
            container.kill(self._kill_for)
            self._kill_for = None
        container.tick()

    def _pause(self, seconds: float) -> None:
        """Push what is new, then wait; raises _Stopped when the pod is to end."""
        self._push()
        if time.monotonic() > self._hosts_at + 2 and any(c.running for c in [*self.inits, *self.containers]):
            try:
                self._write_hosts()
            except ApiError:
                self._hosts_at = time.monotonic()
        if self._ending.wait(seconds):
            raise _Stopped

    def _end(self) -> None:
        """End the containers: gracefully when deleted, at once when evicted or vanished."""
        running = [c for c in [*self.inits, *self.containers] if c.running]
        if self._deleted and not self.vanished:
            for container in running:
                container.terminate()
            deadline = time.monotonic() + self._grace
            while any(c.running for c in running) and time.monotonic() < deadline and not self.vanished:
                time.sleep(0.1)
                for container in running:
                    container.tick()
        for container in running:
            container.kill()
        failed = self._why or any(c.exit_code != 0 for c in self.containers)
        self._phase = "Failed" if failed else "Succeeded"
        if not self._deleted:
            self._ending.clear()

    def _delete_object(self) -> None:
        """The last delete: without it the object stays for ever."""
        while True:
            try:
                self._host.api.delete(self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
                return
            except ApiError as error:
                if error.status in (404, 409) or self.vanished:
                    return
                time.sleep(1)

    def _push(self, until_done: bool = False) -> None:
        status = self._status()
        while status != self._pushed and not self.vanished:
            try:
                self._host.api.patch(f"{self.path}/status", {"metadata": {"uid": self.uid}, "status": status})
                self._pushed = status
            except ApiError as error:
                if error.status in (404, 409, 422):  # gone, or another pod of this name
                    return
                if not until_done:
                    return
                time.sleep(1)

    def _status(self) -> Json:
        over = self._phase in ("Failed", "Succeeded")
        ready = not over and all(container.ready for container in self.containers)
        made = not self.inits or all(container.exit_code == 0 for container in self.inits)
        reason = {"reason": "PodCompleted"} if self._phase == "Succeeded" else {}
        conditions = [
            {"type": "Initialized", "status": str(made)},
            {"type": "Ready", "status": str(ready)} | reason,
            {"type": "ContainersReady", "status": str(ready)} | reason,
        ]
        if self._why.get("reason") == "Evicted":
            disruption = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
            conditions.append(disruption | {"message": self._why["message"]})
        return {
            "phase": self._phase,
            "conditions": conditions,
            "startTime": self._since,
            "hostIP": "127.0.0.1",
            "initContainerStatuses": [c.status(c.spec["image"]) for c in self.inits],
            "containerStatuses": [c.status(c.spec["image"]) for c in self.containers],
        } | self._why

    def _write_hosts(self) -> None:
        """Write /etc/hosts in place, so that a sandbox that has it sees new names."""
        path, text = self.folder / "hosts", hosts_of(self._host.api, self.pod)
        if not path.exists() or path.read_text() != text:
            with path.open("r+" if path.exists() else "w") as file:
                file.write(text)
                file.truncate()
        self._hosts_at = time.monotonic()

    def _launch(self, spec: Json, command: list[str] | None) -> Sandbox:
        """The sandbox of a container, or of another command in a container like it."""
        image = self._pulled[spec["name"]]
        security = self.pod["spec"].get("securityContext", {}) | spec.get("securityContext", {})
        user = security.get("runAsUser", image.user)
        if security.get("runAsNonRoot") and user == 0:
            raise NotThere("container has runAsNonRoot and image will run as root")
        if command is None:
            variables = dict(image.environment) | self._host.environment | {"HOSTNAME": hostname(self.pod)}
            variables |= environment(self.pod, spec, Objects(self._host.api, self.namespace))
            self._variables[spec["name"]] = variables
            self._write_hosts()
            command = [expand(part, variables) for part in [*spec.get("command", []), *spec.get("args", [])]]
            log = self.folder / f"{spec['name']}.log"
        else:  # in a container that runs: what it was started with holds, and the API server is not needed
            variables, log = self._variables[spec["name"]], self.folder / f"{spec['name']}.probe"
        return Sandbox(
            command,
            image,
            mounts=self._volumes.mounts(spec),
            environment=variables,
            working_dir=spec.get("workingDir", image.working_dir),
            user=user,
            group=security.get("runAsGroup", user),
            read_only_root=bool(security.get("readOnlyRootFilesystem")),
            hosts=self.folder / "hosts",
            hostname=hostname(self.pod),
            log=log,
        )
