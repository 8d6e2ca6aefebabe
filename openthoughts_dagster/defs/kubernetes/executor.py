"""The executor that runs each step in a Kubernetes Job, with the pod that its work and its partition's model need.

Dagster's own executor gives a step the same resources for every partition (dagster issue 8062). This executor builds on
it: dagster_k8s makes the Jobs, `cluster/` configures their pods, and `step_pods.py` watches them. It is imported only
when OPENTHOUGHTS_EXECUTOR is kubernetes.
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
from openthoughts_dagster.cluster.pod_state import MOST_TOO_SMALL
from openthoughts_dagster.defs.kubernetes.pod_config import check_pods
from openthoughts_dagster.defs.kubernetes.step_pods import StepPods
from openthoughts_dagster.recipe import Recipe

_CHECK_SECONDS = 5
_LONGEST_WAIT = 120


def kubernetes_executor(recipe: Recipe, cluster: Cluster) -> dg.ExecutorDefinition:
    """Make the executor of a recipe's steps on a cluster. Raises ClusterError for pods that Kubernetes would refuse."""
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
        # When runs are resumed, a new run worker takes over the steps. Otherwise the steps end with their worker.
        resumes = context.instance.run_monitoring_enabled and context.instance.run_monitoring_max_resume_run_attempts
        return StepsInPods(
            StepPods(recipe, cluster, launcher, owned_by_the_run=not resumes),
            lost_pods=cluster.lost_pods,
            max_concurrent=config.get("max_concurrent"),
            tag_concurrency_limits=config.get("tag_concurrency_limits"),
        )

    return kubernetes


class StepsInPods(StepDelegatingExecutor):
    """Starts a step again when its pod was lost. This is independent of the step's own retry policy for exceptions."""

    def __init__(self, pods: StepPods, lost_pods: int, **limits: Any) -> None:
        super().__init__(
            pods,
            retries=RetryMode.ENABLED,
            check_step_health_interval_seconds=_CHECK_SECONDS,
            # With verification a step's pod refuses to start when an earlier pod was lost before it began. Nothing else
            # starts a step twice, since Jobs have a backoff limit of 0.
            should_verify_step=False,
            **limits,
        )
        self._pods, self._lost_pods = pods, lost_pods

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Run the steps, and end all of them when the run was canceled.

        When an instance resumes runs, Dagster does not end the steps of a worker that is told to end. It treats a
        canceled run like one that will be resumed, so that its steps would continue and cost money.
        """
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:  # a worker that is told to end raises an exception
            run = plan_context.instance.get_run_by_id(plan_context.run_id)
            if run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
                self._pods.terminate_all()

    def log_failure_or_retry_event_after_error(
        self, step_context: IStepContext, err_info: SerializableErrorInfo, known_state: KnownExecutionState
    ) -> DagsterEvent:
        """Decide between failure and retry: a lost pod gets up to `lost_pods` retries, a missed deadline gets none.

        A step whose pods run out of memory or disk fails with the third: the next pod would be as small.
        """
        attempts = known_state.get_retry_state().get_attempt_count(step_context.step.key)
        key = step_context.step.key
        lost, overdue = key in self._pods.lost, key in self._pods.overdue
        self._pods.lost.discard(key)
        if overdue or self._pods.too_small[key] >= MOST_TOO_SMALL:
            return DagsterEvent.step_failure_event(step_context, StepFailureData(err_info, user_failure_data=None))
        if not lost or attempts >= self._lost_pods:
            return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)
        wait = min(_CHECK_SECONDS * 2**attempts, _LONGEST_WAIT)
        return DagsterEvent.step_retry_event(step_context, StepRetryData(error=err_info, seconds_to_wait=wait))
