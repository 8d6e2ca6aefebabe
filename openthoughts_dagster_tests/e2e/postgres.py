"""A PostgreSQL server of a test's own, from Debian's package."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openthoughts_dagster_tests.e2e.servers import free_port, listens, wait_for

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
INITDB = shutil.which("initdb") or next((str(path / "initdb") for path in reversed(_BINARIES)), None)


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database on loopback; the server and its files are gone at the end."""
    assert INITDB is not None
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="openthoughts-postgres-", dir="/tmp"))
    data, port = folder / "data", free_port()
    if user:
        shutil.chown(folder, user)
    try:
        subprocess.run(
            [INITDB, "-D", str(data), "-U", "dagster", "-A", "trust", "--no-sync"],
            user=user, cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        server = Path(INITDB).with_name("postgres")
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(folder)]
        process = subprocess.Popen(
            [server, "-D", str(data), "-p", str(port), *options],
            user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(lambda: listens(port), 30, "PostgreSQL")
            yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: connections are closed
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
