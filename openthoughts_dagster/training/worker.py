"""One process of a training, as torchrun starts it: python -m openthoughts_dagster.training.worker FOLDER."""

import os
import sys
import threading
import traceback
from pathlib import Path

from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.errors import FAILED
from openthoughts_dagster.training.job import Job
from openthoughts_dagster.training.launch import OF_STEP
from openthoughts_dagster.training.run import FINAL, run_training


def main(folder: str) -> int:
    """Do this process's part of the job in `folder`. The first process logs the progress, a failed one its reason."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def log(line: str) -> None:
        if rank == 0:
            print(f"{line}\n", end="", flush=True)  # in one write

    if os.environ.get(OF_STEP):
        _end_with_step()
    try:
        job = Job.read(Path(folder))
        partial = Path(folder)
        stored = StoredTraining(job.students, partial.with_suffix("").name) if job.students.in_store else None
        run_training(job.student, job.base, partial, processes, log, stored, job.sources)
        if rank == 0 and stored is not None and int(os.environ["GROUP_WORLD_SIZE"]) > 1:
            # the step that started it is on another machine
            stored.publish(partial / FINAL)
    except Exception as error:
        traceback.print_exc()
        _print_failure(rank, error)
        # sys.exit would wait minutes for the threads of a broken process group
        sys.stderr.flush()
        os._exit(1)
    return 0


def _print_failure(rank: int, error: Exception) -> None:
    """Print why a process failed at the beginning of a line and in one write: all processes write to one pipe."""
    print(f"\n{FAILED} {rank}: {type(error).__name__}: {error}\n", end="", flush=True)


def _end_with_step() -> None:
    """End this process when the step ends, which holds the other end of its input.

    A step that is killed cannot end its processes, and the next one would train in the same folder beside them.
    """

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
