"""A job of one step that is lost at its first attempt, for a control plane to show what the executor does about it."""

import time
from pathlib import Path

import dagster as dg

from openthoughts_dagster.cluster import load_cluster
from openthoughts_dagster.defs.work import resumable, runs_a_model
from openthoughts_dagster.recipe import load_recipe

OUTLASTS = 600
_RESOURCES = {"io_manager": dg.FilesystemIOManager(base_dir="/tmp")}


@dg.op(tags=runs_a_model("teacher"), out=dg.Out(dg.Nothing))
@resumable
def shard(context: dg.OpExecutionContext) -> None:
    """Works until its pod is lost; the second attempt is done at once."""
    print("at work", flush=True)
    if context.retry_number == 0:
        time.sleep(OUTLASTS)


@dg.graph
def lost() -> None:
    """One shard."""
    shard()


def lost_job(folder: str) -> dg.JobDefinition:
    """The job for the recipe and the cluster in `folder`; a pod, which does not see it, runs its step in process."""
    executor = dg.in_process_executor
    if Path(folder).exists():
        from openthoughts_dagster.defs.executors import kubernetes_executor

        recipe = load_recipe(folder, {"OPENTHOUGHTS_DATA": folder})
        executor = kubernetes_executor(recipe, load_cluster(Path(folder) / "cluster.yaml"))
    return lost.to_job(
        name="lost", executor_def=executor, resource_defs={"io_manager": dg.FilesystemIOManager(base_dir="/tmp")}
    )
