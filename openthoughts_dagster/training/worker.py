"""One process of a training, as torchrun starts it: python -m openthoughts_dagster.training.worker FOLDER."""

import os
import sys
import traceback
from pathlib import Path

from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.errors import FAILED
from openthoughts_dagster.training.job import Job
from openthoughts_dagster.training.run import FINAL, run_training


def main(folder: str) -> int:
    """Do this process's part of the job in `folder`. The first process logs the progress, a failed one its reason."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def log(line: str) -> None:
        if rank == 0:
            print(line, flush=True)

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
        print(f"{FAILED} {rank}: {type(error).__name__}: {error}", flush=True)
        # sys.exit would wait minutes for the threads of a broken process group
        sys.stderr.flush()
        os._exit(1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
