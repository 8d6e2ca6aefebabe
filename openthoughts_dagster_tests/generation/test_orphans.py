"""The processes of an engine end with the process that started them, even when that one is killed."""

import os
import select
import signal
import subprocess
import sys

_STARTS_A_CHILD = """
import subprocess, sys, time
from openthoughts_dagster.generation.engines.orphans import end_with_this_process
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
guard = end_with_this_process({child.pid})
print(child.pid, flush=True)
time.sleep(600)
"""


def test_the_processes_of_an_engine_end_when_its_run_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _STARTS_A_CHILD], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child = os.pidfd_open(int(run.stdout.readline()))
        try:
            assert not select.select([child], [], [], 0)[0]
            run.send_signal(signal.SIGKILL)
            run.wait()
            assert select.select([child], [], [], 60)[0], "the child outlived the run"
        finally:
            os.close(child)
