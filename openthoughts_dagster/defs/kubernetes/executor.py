"""Steps as Kubernetes Jobs, each in the pod that its work and its partition's model ask for.

Dagster's own executor gives a step the same resources whatever its partition is (dagster issue 8062). This one builds
on it: dagster_k8s makes the Jobs, `cluster/` says what is in them, and `step_pods.py` watches them.
Imported only where OPENTHOUGHTS_EXECUTOR is kubernetes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import IStepContext, PlanOrchestrationContext
from dagster._core.execution.plan.objects import StepFailureData, StepRetryData
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.tags import get_tag_concurrency_limits_config
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster._utils.error import SerializableErrorInfo
from dagster_k8s import K8sRunLauncher

from openthoughts_dagster.cluster import Cluster
from openthoughts_dagster.defs.kubernetes.pod_config import check_pods
from openthoughts_dagster.defs.kubernetes.step_pods import StepPods
from openthoughts_dagster.recipe import Recipe

_CHECK_SECONDS = 5
_LONGEST_WAIT = 120


def kubernetes_executor(recipe: Recipe, cluster: Cluster) -> dg.ExecutorDefinition:
    """The executor of a recipe's steps on `cluster`. Raises ClusterError for pods that Kubernetes would not take."""
    check_pods(recipe, cluster)

    @dg.executor(
        name="kubernetes",
        config_schema={
            "max_concurrent": dg.Field(
                dg.Noneable(dg.IntSource),
                is_required=False,
                description="Pods at once within one run; absent: no limit.",
            ),
            "tag_concurrency_limits": get_tag_concurrency_limits_config(),
        },
        requirements=multiple_process_executor_requirements(),
    )
    def kubernetes(context: dg.InitExecutorContext) -> StepsInPods:
        launcher = context.instance.run_launcher
        if not isinstance(launcher, K8sRunLauncher):
            raise dg.DagsterInvariantViolationError(
                "OPENTHOUGHTS_EXECUTOR is kubernetes, and this instance starts runs with "
                f"{type(launcher).__name__}: set run_launcher to dagster_k8s's K8sRunLauncher in dagster.yaml, as the "
                "chart does, or unset the variable to run steps here"
            )
        config: Mapping[str, Any] = context.executor_config
        # A run worker that is started again goes on with the steps of the one before; otherwise they end with it.
        resumes = context.instance.run_monitoring_enabled and context.instance.run_monitoring_max_resume_run_attempts
        return StepsInPods(
            StepPods(recipe, cluster, launcher, owned_by_the_run=not resumes),
            lost_pods=cluster.lost_pods,
            max_concurrent=config.get("max_concurrent"),
            tag_concurrency_limits=config.get("tag_concurrency_limits"),
        )

    return kubernetes


class StepsInPods(StepDelegatingExecutor):
    """Starts a step again when its pod was lost, whatever the step's own retry policy says of exceptions."""

    def __init__(self, pods: StepPods, lost_pods: int, **limits: Any) -> None:
        super().__init__(
            pods,
            retries=RetryMode.ENABLED,
            check_step_health_interval_seconds=_CHECK_SECONDS,
            # A step's pod would refuse to start when an earlier one was lost before it began: nothing else starts a
            # step twice, as Jobs have a backoff limit of 0.
            should_verify_step=False,
            **limits,
        )
        self._pods, self._lost_pods = pods, lost_pods

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Run the steps. Of a run that was canceled none is left behind.

        Dagster leaves the steps of a run whose worker is told to end when its instance resumes runs: it takes a
        canceled run for one that will be resumed, and its steps would go on and pay.
        """
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:  # a worker that is told to end raises
            run = plan_context.instance.get_run_by_id(plan_context.run_id)
            if run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
                self._pods.terminate_all()

    def log_failure_or_retry_event_after_error(
        self, step_context: IStepContext, err_info: SerializableErrorInfo, known_state: KnownExecutionState
    ) -> DagsterEvent:
        """A failure, or another attempt: `lost_pods` of them for a step whose pod is gone, none after its deadline."""
        attempts = known_state.get_retry_state().get_attempt_count(step_context.step.key)
        key = step_context.step.key
        lost, overdue = key in self._pods.lost, key in self._pods.overdue
        self._pods.lost.discard(key)
        if overdue:
            return DagsterEvent.step_failure_event(step_context, StepFailureData(err_info, user_failure_data=None))
        if not lost or attempts >= self._lost_pods:
            return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)
        wait = min(_CHECK_SECONDS * 2**attempts, _LONGEST_WAIT)
        return DagsterEvent.step_retry_event(step_context, StepRetryData(error=err_info, seconds_to_wait=wait))
