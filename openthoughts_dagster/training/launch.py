"""Runs several processes of one training on this machine, by torchrun."""

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from openthoughts_dagster.training.errors import FAILED, TrainingError, find_out_of_memory

OF_STEP = "OPENTHOUGHTS_TRAINING_OF_STEP"
"""The variable that tells processes to end when their input does, which is when the step ends that started them."""

_GRACE_SECONDS = 20
_SIGNAL = re.compile(r"exitcode\s*: -(\d+)")  # in torchrun's report of the process that failed first


def torchrun(folder: Path, processes: int, log: Callable[[str], None]) -> None:
    """Train the job in `folder` in `processes` processes of this machine, and wait for them.

    Their progress goes to `log`. They end if this process is interrupted or killed.

    Raises:
        OutOfMemory: The accelerator's memory is too small for a pass.
        TrainingError: A process failed; the message has the reason of the one that failed first.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["-m", "openthoughts_dagster.training.worker", str(folder)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # nothing is written to it: it is closed when this process ends
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1", OF_STEP: "1"},
    )
    reason, failed, tail = "", list[str](), deque[str](maxlen=15)
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("student: "):
                log(line.rstrip())
            elif line.startswith(FAILED):
                failed.append(line.strip())
                reason = reason or line.strip()
            elif line.strip():
                tail.append(line)
                killed = _SIGNAL.search(line)
                if killed and killed[1] != str(signal.SIGTERM.value):  # which is torchrun's own, for the others
                    # the other processes may have reported first that they lost this one
                    reason = f"a process was ended by signal {killed[1]}"
                    reason += ", as the kernel does when memory runs out" if killed[1] == "9" else ""
        code = child.wait()
    finally:
        _terminate(child)
    if code:
        if (out_of_memory := find_out_of_memory(failed)) is not None:
            raise out_of_memory  # whatever the others report, which lost this process
        raise TrainingError(
            f"student: {reason or f'torchrun ended with {code}'}. Its checkpoints are kept: materialize again to go on "
            f"from the last one. The end of its output:\n{''.join(tail)}"
        )


def _terminate(child: subprocess.Popen[str]) -> None:
    """Terminate torchrun, which then ends its workers. They also end when their input is closed."""
    if child.stdin is not None:
        child.stdin.close()
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
