"""The Jobs of steps: they get the pod that each step needs, and Kubernetes' own reasons go to the run's log."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler

from openthoughts_dagster.cluster import Cluster, ClusterError, merge_settings
from openthoughts_dagster.cluster import pod_state as k8s
from openthoughts_dagster.cluster.job_follower import wait_until_gone
from openthoughts_dagster.defs.kubernetes.job_client import JobClient
from openthoughts_dagster.defs.kubernetes.pod_config import over_launcher, step_work
from openthoughts_dagster.defs.steps import WORK_TAG
from openthoughts_dagster.recipe import Recipe

_SILENT_SECONDS = 60
_GONE_SECONDS = 60  # how long a pod may be there after its grace period
_OVERDUE = "DeadlineExceeded"
_SAYS_NOTHING = "BackoffLimitExceeded"  # the reason of every Job whose pod failed; the pod has the true reason
_HEALTHY = CheckStepHealthResult.healthy()
_MORE_SPACE = (
    " The pod needs more than it has: raise memory or disk of the model's hardware in the recipe, or of this kind of "
    "work in the cluster's settings"
)
_ENDS = {DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE, DagsterEventType.STEP_UP_FOR_RETRY}


@dataclass
class _Watch:
    """What is known about one Job: the reasons logged, its pods, and since when it is stuck or cannot be read."""

    namespace: str
    told: set[tuple[str, str]] = field(default_factory=set)
    pods: set[str] = field(default_factory=set)
    deleted: bool = False
    stuck_since: float | None = None
    unseen_since: float | None = None


class StepPods(K8sStepHandler):
    """Makes, watches and deletes the Jobs of steps.

    `lost` has the keys of steps whose pods are gone and that were not retried yet. `overdue` has those among them that
    missed their deadline. `too_small` counts for each step the pods that ran out of memory or disk. The class overrides
    private methods of dagster_k8s 0.29.27, which is pinned. A test fails when they change.
    """

    def __init__(self, recipe: Recipe, cluster: Cluster, launcher: K8sRunLauncher, owned_by_the_run: bool) -> None:
        super().__init__(
            image=cluster.images.code,  # dagster_k8s requires an image here; each pod has its own
            container_context=K8sContainerContext(),
            load_incluster_config=launcher.load_incluster_config,
            kubeconfig_file=launcher.kubeconfig_file,
            enable_owner_references=owned_by_the_run,
        )
        self._recipe, self._cluster = recipe, cluster
        self._api_client = self._jobs = JobClient.connected(cluster.api_patience_minutes * 60)
        self._watched: dict[str, _Watch] = {}
        self._launched: dict[str, StepHandlerContext] = {}
        self._clock: Callable[[], float] = time.monotonic
        self.lost: set[str] = set()
        self.overdue: set[str] = set()
        self.too_small: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """The name in the run's log."""
        return "StepPods"

    def _get_container_context(self, step_handler_context: StepHandlerContext) -> K8sContainerContext:
        context = super()._get_container_context(step_handler_context)
        step_key = self._get_step_key(step_handler_context)
        step = step_handler_context.get_step_context(step_key).step
        run_tags = step_handler_context.dagster_run.tags
        work = step_work(self._recipe, step_handler_context.step_tags[step_key].get(WORK_TAG), step.op_name, run_tags)
        pod = work.pod(self._cluster, group=self._get_k8s_step_job_name(step_handler_context))
        if work.kind == "teacher":  # the scaler that starts a served teacher from zero looks for this label
            asked = run_tags.get("dagster/partition") if step.op_name == "reference_scores" else None
            label = {"openthoughts/teacher": asked or run_tags.get("dagster/partition/teacher", "")}
            pod = merge_settings(pod, {"pod_template_spec_metadata": {"labels": label}})
        over = context._replace(run_k8s_config=over_launcher(context.run_k8s_config, pod))
        return cast(K8sContainerContext, over)

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Make the step's Job. Before a retry, log why the previous attempt lost its pod, and end it if it runs on."""
        self._end_previous_attempt(step_handler_context)
        self._launched[self._get_step_key(step_handler_context)] = step_handler_context
        yield from super().launch_step(step_handler_context)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Check whether the step's Job is in progress. Each reason that delays it is logged once."""
        job_name = self._get_k8s_step_job_name(step_handler_context)
        watch, context = self._watch(step_handler_context, job_name), step_handler_context
        self._launched[self._get_step_key(context)] = context
        try:
            api = self._jobs.api(watch.namespace)
            job, pods = api.job(job_name), api.pods_of(job_name)
        except ClusterError as error:
            return self._handle_unreachable_api(context, watch, job_name, error)
        if watch.unseen_since is not None:
            self._log_event(context, f"The Kubernetes API answers again for job {job_name}")
            watch.unseen_since = None
        gone = self._explain_loss(context, watch, job_name, job, pods)
        if gone is None or self._step_has_ended(context):
            return _HEALTHY
        self.lost.add(self._get_step_key(context))
        return CheckStepHealthResult.unhealthy(gone)

    def terminate_all(self) -> None:
        """Delete the Jobs of all steps that were launched or taken over and have not ended."""
        for context in self._launched.values():
            if not self._step_has_ended(context):
                list(self.terminate_step(context))

    def _explain_loss(
        self, context: StepHandlerContext, watch: _Watch, name: str, job: k8s.Object | None, pods: Sequence[k8s.Object]
    ) -> str | None:
        """Return why the step will not end by itself, or None. New reasons are logged on the way."""
        now = k8s.now()
        found = self._report_reasons(context, watch, name, job, pods)
        if any(reason.reason == _OVERDUE for reason in found):
            self.overdue.add(self._get_step_key(context))
        if job is None or k8s.is_failed(job):
            if any(k8s.may_still_write(pod, now) for pod in pods):
                return None  # the pod is committing its work; a replacement beside it would pay for the same answers
            watch.deleted = job is None
            what = f"Kubernetes job {name} " + ("was deleted" if job is None else "failed")
            if small := k8s.is_too_small(found):
                self.too_small[self._get_step_key(context)] += 1
            return f"{what}. {_summary(found)}" + (f".{_MORE_SPACE}" if small else "")
        if (ended := k8s.ended_for(job, now)) is not None and ended > timedelta(seconds=_SILENT_SECONDS):
            return f"Kubernetes job {name} completed, and its step did not say how it ended"
        return self._explain_stuck_start(watch, name, pods, [reason for reason in found if reason.stuck])

    def _report_reasons(
        self, context: StepHandlerContext, watch: _Watch, name: str, job: k8s.Object | None, pods: Sequence[k8s.Object]
    ) -> list[k8s.Reason]:
        """Return the reasons that Kubernetes gives for a Job and its pods, and log the new ones."""
        watch.pods |= {pod["metadata"]["name"] for pod in pods}
        calm = job is not None and not k8s.is_failed(job) and any(k8s.runs_undisturbed(pod) for pod in pods)
        found = [reason for pod in pods for reason in k8s.pod_reasons(pod)]
        found += k8s.job_reasons(job) if job is not None else []
        if not calm:
            found += k8s.event_reasons(self._events(context, watch, name), k8s.now())
        for reason in found:
            if reason.key not in watch.told and reason.reason != _SAYS_NOTHING:
                watch.told.add(reason.key)
                self._log_event(context, f"Kubernetes: {reason}", reason)
        return found

    def _end_previous_attempt(self, context: StepHandlerContext) -> None:
        """Log why the previous attempt ended. A step that was told to end may ask for a retry before it is checked.

        An attempt that only could not be seen, because the API server was away for too long, still runs. Its pod is
        ended first: two pods would pay for the same answers.

        Raises:
            ClusterError: Its pod does not end.
        """
        key, known = self._get_step_key(context), context.execute_step_args.known_state
        attempts = known.get_retry_state().get_attempt_count(key) if known is not None else 0
        if not attempts:
            return
        name = self._get_k8s_step_job_name(context)
        previous = name.removesuffix(f"-{attempts}") + (f"-{attempts - 1}" if attempts > 1 else "")
        watch = self._watch(context, previous)
        try:
            api = self._jobs.api(watch.namespace, 60 * self._cluster.api_patience_minutes)
            job, pods = api.job(previous), api.pods_of(previous)
        except ClusterError:
            return  # the Job of the next attempt cannot be made either
        with suppress(ClusterError):  # reasons are about the past and must not delay the attempt that starts
            if not watch.pods and not pods:
                watch.pods = _pods_with_events(previous, self._jobs.api(watch.namespace).events_of("Pod"))
            self._report_reasons(context, watch, previous, job, pods)
        if job is None and not watch.deleted:
            self._log_event(context, f"Kubernetes job {previous} was deleted")
        if job is not None and any(k8s.may_still_write(pod, k8s.now()) for pod in pods):
            self._log_event(context, f"Kubernetes job {previous} still runs, and is ended before the next attempt")
            self._jobs.delete_job(previous, watch.namespace)
            grace = max((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 30 for pod in pods)
            wait_until_gone(self._jobs.api(watch.namespace, _GONE_SECONDS), previous, grace + _GONE_SECONDS)

    def _watch(self, context: StepHandlerContext, job_name: str) -> _Watch:
        if job_name not in self._watched:
            self._watched[job_name] = _Watch(str(self._get_container_context(context).namespace))
        return self._watched[job_name]

    def _explain_stuck_start(
        self, watch: _Watch, name: str, pods: Sequence[k8s.Object], stuck: Sequence[k8s.Reason]
    ) -> str | None:
        if not stuck or any(k8s.is_started(pod) for pod in pods):
            watch.stuck_since = None
            return None
        if watch.stuck_since is None:
            watch.stuck_since = self._clock()
        minutes = (self._clock() - watch.stuck_since) / 60
        if minutes < self._cluster.patience_minutes:
            return None
        watch.deleted = True
        self._jobs.delete_job(name, watch.namespace)  # otherwise it could start later, beside its replacement
        return f"Kubernetes job {name} did not start in {self._cluster.patience_minutes:g} minutes. {_summary(stuck)}"

    def _handle_unreachable_api(
        self, context: StepHandlerContext, watch: _Watch, name: str, error: ClusterError
    ) -> CheckStepHealthResult:
        """Decide about a step while the API server is out of reach. The step counts as healthy until patience ends."""
        if watch.unseen_since is None:
            watch.unseen_since = self._clock()
            patience = f"{self._cluster.api_patience_minutes:g} minutes"
            self._log_event(context, f"The Kubernetes API cannot say how job {name} is; asking for {patience}: {error}")
        minutes = (self._clock() - watch.unseen_since) / 60
        if minutes < self._cluster.api_patience_minutes or self._step_has_ended(context):
            return _HEALTHY
        self.lost.add(self._get_step_key(context))
        return CheckStepHealthResult.unhealthy(
            f"The Kubernetes API did not say how job {name} is for {minutes:.0f} minutes: {error}"
        )

    def _events(self, context: StepHandlerContext, watch: _Watch, job_name: str) -> list[k8s.Object]:
        api = self._jobs.api(watch.namespace)
        try:
            of_pods = [event for pod in sorted(watch.pods) for event in api.events_of("Pod", pod)]
            return [*api.events_of("Job", job_name), *of_pods]
        except ClusterError as error:
            if ("events", "") not in watch.told:
                watch.told.add(("events", ""))
                self._log_event(context, f"Kubernetes' events on job {job_name} cannot be read: {error}")
            return []

    def _step_has_ended(self, context: StepHandlerContext) -> bool:
        """Whether the step itself has reported how this attempt ended, which the executor may not have read yet."""
        key, args = self._get_step_key(context), context.execute_step_args
        state = args.known_state
        attempts = state.get_retry_state().get_attempt_count(key) if state is not None else 0
        records = context.instance.get_records_for_run(args.run_id, of_type=_ENDS).records
        events = [r.event_log_entry.dagster_event for r in records]
        return len([event for event in events if event is not None and event.step_key == key]) > attempts

    def _log_event(self, context: StepHandlerContext, message: str, reason: k8s.Reason | None = None) -> None:
        metadata = (
            {} if reason is None else {"reason": reason.reason, "message": reason.message, "object": reason.about}
        )
        values = {name: dg.MetadataValue.text(text) for name, text in metadata.items()}
        step_context = context.get_step_context(self._get_step_key(context))
        DagsterEvent.engine_event(step_context, message, EngineEventData(metadata=values))


def _summary(reasons: Sequence[k8s.Reason]) -> str:
    told = {reason.key: str(reason) for reason in reversed(reasons) if reason.reason != _SAYS_NOTHING}.values()
    return "Kubernetes says: " + (
        "; ".join(reversed(told)) if told else "nothing of why; look at the pod's log and its node"
    )


def _pods_with_events(job_name: str, events: Sequence[k8s.Object]) -> set[str]:
    """Find the names of a Job's Pods in Events. The Pods themselves may be gone."""
    names = {(event.get("involvedObject") or {}).get("name", "") for event in events}
    return {name for name in names if re.fullmatch(rf"{re.escape(job_name)}-[a-z0-9]{{5}}", name)}
