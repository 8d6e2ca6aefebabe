"""One machine's part of a training on several machines: fetches its inputs, then becomes torchrun.

    python -m openthoughts_dagster.training.node ADDRESS --nodes 2 --processes 8 --master HOST --port 29500

ADDRESS is that of a job as `Job.write` writes it, in a folder that all machines see or in an object store. The variable
JOB_COMPLETION_INDEX, which Kubernetes sets, is the number of this machine.
"""

import argparse
import os
import shutil
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from openthoughts_dagster.storage import Folders, local_path
from openthoughts_dagster.training.checkpoints import StoredTraining
from openthoughts_dagster.training.errors import TrainingError
from openthoughts_dagster.training.job import Job

_PATIENCE_SECONDS = 3600  # for the other machines, which a cluster may have to order first


def prepare(address: str, scratch: Path) -> Path:
    """Fetch the job at `address`, its base weights and its newest checkpoint; return the local folder."""
    if (path := local_path(address)) is not None:
        return path
    fingerprint = address.rpartition("/")[2].removesuffix(".job")
    folder, folders = scratch / "training" / f"{fingerprint}.partial", Folders(scratch / "cache")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(folders.fetch(address), folder)
    job = Job.read(folder)
    students, base = replace(job.students, scratch=scratch / "training", cache=folders.cache), job.base
    if "://" in base.identity.model_id:
        base = replace(base, address=str(folders.fetch(base.identity.model_id)))
    elif base.identity.local and not Path(base.address).is_dir():
        raise TrainingError(
            f"student: the base model {base.address} is a folder that this machine does not have: put it into the "
            "object store (openthoughts files put) and name its address as the student's `model`"
        )
    replace(job, base=base, students=students).write(folder)
    StoredTraining(students, fingerprint).fetch_last(folder, lambda line: print(line, flush=True))
    return folder


def command(folder: Path, nodes: int, index: int, processes: int, master: str, port: int) -> list[str]:
    """Return torchrun's command for this machine; the others wait for machine 0, whose name is `master`."""
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(nodes), "--node-rank", str(index), "--nproc-per-node", str(processes)),
        *("--master-addr", master, "--master-port", str(port), "--max-restarts", "0"),
        *("--rdzv-conf", f"timeout={_PATIENCE_SECONDS}"),
        *("-m", "openthoughts_dagster.training.worker", str(folder)),
    ]


def main() -> None:
    """Prepare, then replace this process by torchrun, which then gets the pod's signals itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--master", required=True)
    parser.add_argument("--port", type=int, required=True)
    told = parser.parse_args()
    index = int(os.environ["JOB_COMPLETION_INDEX"])
    try:
        folder = prepare(told.address, Path(os.environ.get("OPENTHOUGHTS_DATA") or "data").resolve())
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"training failed on node {index}: {type(error).__name__}: {error}")
    os.execv(sys.executable, command(folder, told.nodes, index, told.processes, told.master, told.port))


if __name__ == "__main__":
    main()
