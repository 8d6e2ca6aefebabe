"""One confined process: a root of its own, a user that is not root, no capabilities, its own process ids."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from openthoughts_dagster_tests.kubelet.images import Image
from openthoughts_dagster_tests.kubelet.memory import tree_memory

_FROM_HOST = ("ssl", "ca-certificates", "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf")
_OF_HOST = (*_FROM_HOST, "resolv.conf", "localtime", "mime.types", "fonts")
_LINKS = ("bin", "sbin", "lib", "lib64", "lib32")


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host at a place in the sandbox."""

    source: Path
    target: str
    read_only: bool


class Sandbox:
    """A running process under bubblewrap.

    It has process id 1 in its namespace, so a SIGTERM that it does not handle is not delivered, as in a container.
    The user id is one inside a user namespace: outside it is ours, without any capability.
    """

    def __init__(
        self,
        command: Sequence[str],
        image: Image,
        *,
        mounts: Sequence[Mount] = (),
        environment: Mapping[str, str],
        working_dir: str,
        user: int,
        group: int,
        read_only_root: bool,
        hosts: Path,
        hostname: str,
        log: Path,
    ) -> None:
        passwd = log.with_suffix(".passwd")
        passwd.write_text(f"root:x:0:0::/:/bin/sh\napp:x:{user}:{group}::/tmp:/bin/sh\n")
        options = [
            *("--unshare-user", "--uid", str(user), "--gid", str(group), "--cap-drop", "ALL"),
            *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--hostname", hostname[:63]),
            *("--die-with-parent", "--clearenv", "--ro-bind", "/usr", "/usr"),
            *_links(),
            *("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--dir", "/tmp", "--dir", "/etc"),
            *image.binds(),
            *("--ro-bind", str(passwd), "/etc/passwd", "--ro-bind", str(hosts), "/etc/hosts"),
        ]
        for name in _OF_HOST:
            if Path("/etc", name).exists():
                options += ["--ro-bind", str(Path("/etc", name).resolve()), f"/etc/{name}"]
        for mount in sorted(mounts, key=lambda mount: mount.target.count("/")):
            target = mount.target.replace("/var/run/", "/run/", 1)
            options += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), target]
        if any(folder.is_relative_to(mount.target) for folder in image.folders for mount in mounts):
            options += image.binds()  # once more: this checkout is below /tmp, where the pod has a volume
        options += ["--symlink", "/run", "/var/run"]
        for name, value in environment.items():
            options += ["--setenv", name, value]
        if read_only_root:
            options += ["--remount-ro", "/"]
        told, tell = os.pipe()
        self.log = log
        try:
            with log.open("ab") as output:
                self._bwrap = subprocess.Popen(
                    ["bwrap", "--info-fd", str(tell), *options, "--chdir", working_dir, "--", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[tell],
                    start_new_session=True,
                )
        finally:
            os.close(tell)
        with os.fdopen(told) as said:
            text = said.read()
        self.pid: int | None = json.loads(text)["child-pid"] if text else None

    def poll(self) -> int | None:
        """The exit code, 128 and the signal's number for one that was killed; None while it runs."""
        return self._bwrap.poll()

    def signal(self, which: signal.Signals) -> None:
        """Signal the process itself; SIGKILL takes with it all that it started."""
        if self.pid and self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, which)

    def kill(self) -> int:
        """Kill and wait; the exit code."""
        self.signal(signal.SIGKILL)
        try:
            return self._bwrap.wait(10)
        except subprocess.TimeoutExpired:
            self._bwrap.kill()
            return self._bwrap.wait()

    def memory(self) -> int:
        """Bytes that it and all that it started hold."""
        return tree_memory(self.pid) if self.pid and self.poll() is None else 0


def _links() -> list[str]:
    options = []
    for name in _LINKS:
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", f"usr/{name}", f"/{name}"]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    return options
