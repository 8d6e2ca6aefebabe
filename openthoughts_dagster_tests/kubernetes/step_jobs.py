"""A job whose steps a cluster cannot start, for a control plane to show what the executor does about it.

    python -m openthoughts_dagster_tests.kubernetes.step_jobs HOME FOLDER TEACHER TEST

runs it in the instance of HOME, on the recipe and the cluster in FOLDER, for the partition of TEACHER; its run has the
tag `test` with the value TEST.
"""

import sys
from pathlib import Path

import dagster as dg

from openthoughts_dagster.cluster import load_cluster
from openthoughts_dagster.defs.steps import WORK_TAG, resumable
from openthoughts_dagster.recipe import load_recipe

# Names of the steps and their kinds of work: each has hardware and settings of its own.
STEPS = {"without_secret": "judge", "without_node": "teacher", "without_image": "student", "without_quota": ""}


def _step(name: str) -> dg.OpDefinition:
    @dg.op(name=name, tags={WORK_TAG: STEPS[name]} if STEPS[name] else {}, out=dg.Out(dg.Nothing))
    @resumable
    def works(context: dg.OpExecutionContext) -> None:
        """Done at once, should it ever start."""

    return works


def stuck_job(folder: str) -> dg.JobDefinition:
    """The job for the recipe and the cluster in `folder`; a pod, which does not see it, runs its step in process."""
    executor = dg.in_process_executor
    if Path(folder).exists():
        from openthoughts_dagster.defs.kubernetes.executor import kubernetes_executor

        recipe = load_recipe(folder, {"OPENTHOUGHTS_DATA": folder})
        executor = kubernetes_executor(recipe, load_cluster(Path(folder) / "cluster.yaml"))

    @dg.graph(name="stuck")
    def stuck() -> None:
        for name in STEPS:
            _step(name)()

    files = dg.FilesystemIOManager(base_dir="/tmp")
    return stuck.to_job(executor_def=executor, resource_defs={"io_manager": files})


def main(home: str, folder: str, teacher: str, test: str) -> None:
    """Run it; the exit status says whether it succeeded."""
    job = dg.build_reconstructable_job(
        "openthoughts_dagster_tests.kubernetes.step_jobs", "stuck_job", reconstructable_args=(folder,)
    )
    tags = {"dagster/partition/teacher": teacher, "test": test}
    with dg.DagsterInstance.from_config(home) as instance, dg.execute_job(job, instance, tags=tags) as result:
        sys.exit(not result.success)


if __name__ == "__main__":
    main(*sys.argv[1:])
