"""The launcher that starts runs as Kubernetes Jobs. The chart names it in dagster.yaml."""

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

_NO_JOB = "could not be found"


class PatientRunLauncher(K8sRunLauncher):
    """dagster-k8s's launcher, which also tolerates an API server that is out of reach.

    Dagster treats an unknown state of a run like a lost run: run monitoring starts a second pod beside the first, or
    fails the run. This launcher treats an unknown state as running, so that the server is asked again.
    """

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Check whether the run's pod is running. While its state is unknown, it counts as running."""
        found = super().check_run_worker_health(run)
        if found.status is WorkerStatus.UNKNOWN and _NO_JOB not in (found.msg or ""):
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"taken to go on: {found.msg}")
        return found
