"""Runs as Kubernetes Jobs, watched with patience. dagster.yaml names it, as the chart writes it."""

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s import K8sRunLauncher

_NO_JOB = "could not be found"


class PatientRunLauncher(K8sRunLauncher):
    """dagster-k8s's launcher, but for an API server that is out of reach.

    Dagster takes an unknown state for a lost one: run monitoring would start a second pod beside the first, or fail
    the run when it cannot. What the API server does not say is no news of the run: it is asked again.
    """

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's pod goes on; while nobody can say, it is taken to."""
        found = super().check_run_worker_health(run)
        if found.status is WorkerStatus.UNKNOWN and _NO_JOB not in (found.msg or ""):
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"taken to go on: {found.msg}")
        return found
