"""Ends the processes of an engine when the process that started them is killed.

vLLM's EngineCore waits for its client for ever, and holds the accelerator's memory meanwhile: the next run could not
load its model. A guard, which is a process of its own, outlives the kill and ends them.
"""

import os
import subprocess
import sys

# Runs without this package and without site-packages, so that it starts in milliseconds and needs little memory.
_GUARD = """
import os, select, signal, sys
parent, *children = map(int, sys.argv[1:])
watched = {}
for process in (parent, *children):
    try:
        watched[os.pidfd_open(process)] = process
    except ProcessLookupError:
        pass
poll = select.poll()
for handle in watched:
    poll.register(handle, select.POLLIN)
while os.getppid() == parent and set(watched.values()) - {parent}:
    for handle, _ in poll.poll():
        poll.unregister(handle)
        del watched[handle]
for wanted, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 0)):
    for handle in [handle for handle, process in watched.items() if process != parent]:
        try:
            signal.pidfd_send_signal(handle, wanted)
        except ProcessLookupError:
            pass
        else:
            if select.select([handle], [], [], seconds)[0]:
                del watched[handle]
"""


def end_with_this_process(processes: set[int]) -> subprocess.Popen[bytes] | None:
    """Let a guard end `processes` when this process has ended, however it ends. The guard ends with the last of them.

    Args:
        processes: The ids of child processes.

    Returns:
        The guard; kill it when `processes` were ended otherwise. None where the system has no pidfd, which
        only Linux has, and nothing is guarded.
    """
    if not processes or not hasattr(os, "pidfd_open"):
        return None
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *map(str, processes)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches the other processes at once, and the guard has to outlive them
    )
