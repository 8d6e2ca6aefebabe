"""What the run's log says of a step's pod, in Kubernetes' own words, and when a step is tried again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.objects import StepRetryData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster._utils.error import SerializableErrorInfo

from openthoughts_dagster_tests.cluster.helpers import cluster, recipe
from openthoughts_dagster_tests.defs.step_world import MODELS, World

NODE = {"spec": {"nodeName": "gpu-1"}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, recipe(tmp_path, **MODELS), cluster())


# What Kubernetes says


def _pod(name: str = "step-x", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"phase": "Pending"} | status} | NODE


def _event(reason: str, message: str, about: str = "step-x", kind: str = "Pod", at: datetime | None = None) -> Any:
    return {
        "reason": reason,
        "message": message,
        "type": "Normal" if reason == "Preempted" else "Warning",
        "involvedObject": {"name": about, "kind": kind},
        "lastTimestamp": (at or datetime.now(UTC)).isoformat(),
    }


def _check(world: World, context: StepHandlerContext) -> CheckStepHealthResult:
    return world.pods.check_step_health(context)


@pytest.fixture
def step(world: World) -> StepHandlerContext:
    context = world.step("scored_questions")
    list(world.pods.launch_step(context))
    return context


_NO_NODE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
_GONE = {"phase": "Failed"}


def _ended(reason: str, code: int) -> dict[str, Any]:
    return _GONE | {"containerStatuses": [{"state": {"terminated": {"reason": reason, "exitCode": code}}}]}


def _waiting(reason: str, message: str) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


def _completed(seconds: float) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    return {"status": {"succeeded": 1, "completionTime": at.isoformat()}}


def _condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "reason": reason, "message": message}]}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (_pod(**_condition("PodScheduled", "False", "Unschedulable", _NO_NODE)), f"Unschedulable: {_NO_NODE}"),
        (
            _pod(
                containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
            ),
            "ImagePullBackOff: no such image",
        ),
        (
            _pod(
                containerStatuses=[
                    {
                        "state": {
                            "waiting": {"reason": "CreateContainerConfigError", "message": 'secret "hub" not found'}
                        }
                    }
                ]
            ),
            'CreateContainerConfigError: secret "hub" not found',
        ),
    ],
    ids=["unschedulable", "image", "secret"],
)
def test_what_a_pod_waits_for_is_told_once_and_the_step_waits(
    world: World, step: StepHandlerContext, pod: dict[str, Any], expected: str
) -> None:
    world.api.pods = [pod]

    assert [_check(world, step).is_healthy for _ in range(3)] == [True, True, True]
    assert [line for line in world.log() if expected in line] == [f"Kubernetes: {expected} (pod step-x on node gpu-1)"]


@pytest.mark.parametrize(
    ("pods", "events", "condition", "expected"),
    [
        ([_pod(**_ended("OOMKilled", 137))], [], None, "OOMKilled: exit code 137, killed (SIGKILL)"),
        (
            [_pod(phase="Failed", reason="Evicted", message="The node was low on memory.")],
            [],
            None,
            "Evicted: The node",
        ),
        (
            [
                _pod(
                    **_ended("Error", 143)
                    | _condition("DisruptionTarget", "True", "PreemptionByScheduler", "made room")
                )
            ],
            [_event("Preempted", "Preempted by pod urgent")],
            None,
            "PreemptionByScheduler: made room",
        ),
        ([], [_event("Preempted", "Preempted by pod urgent")], None, "Preempted: Preempted by pod urgent"),
        ([], [], ("DeadlineExceeded", "Job was active longer than specified deadline"), "DeadlineExceeded: Job was"),
    ],
    ids=["oom", "evicted", "preempted", "preempted and gone", "deadline"],
)
def test_why_a_pod_was_lost_is_told_and_the_step_is_tried_again(
    world: World,
    step: StepHandlerContext,
    pods: list[dict[str, Any]],
    events: list[dict[str, Any]],
    condition: tuple[str, str] | None,
    expected: str,
) -> None:
    world.api.pods = [_pod(phase="Running")]
    assert _check(world, step).is_healthy

    reason, message = condition or ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    failed = {"type": "Failed", "status": "True", "reason": reason, "message": message}
    world.api.pods, world.api.found = pods, events
    world.api.job = {"status": {"failed": 1, "conditions": [failed]}}
    result = _check(world, step)

    assert not result.is_healthy
    assert expected in str(result.unhealthy_reason)
    assert any(expected in line for line in world.log())


def test_a_quota_that_is_reached_is_told_and_waited_for(world: World, step: StepHandlerContext) -> None:
    (name,) = world.pods._watched or [world.pods._get_k8s_step_job_name(step)]
    world.api.found = [_event("FailedCreate", "pods is forbidden: exceeded quota: gpus", name, "Job")]

    assert _check(world, step).is_healthy
    assert f"Kubernetes: FailedCreate: pods is forbidden: exceeded quota: gpus (job {name})" in world.log()


def test_a_queue_that_holds_a_job_back_is_told_and_waited_for(world: World, step: StepHandlerContext) -> None:
    suspended = {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}
    world.api.job = {"status": {"conditions": [suspended]}}

    assert _check(world, step).is_healthy
    assert any("JobSuspended: Job suspended" in line for line in world.log())


def test_a_pod_that_still_ends_is_waited_for_before_another_one_starts(world: World, step: StepHandlerContext) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=60)
    ending = _pod(phase="Running", **_condition("DisruptionTarget", "True", "PreemptionByScheduler", "made room"))
    ending["metadata"] = {"name": "step-x", "deletionTimestamp": ends.isoformat()}
    world.api.pods, world.api.job = [ending], {"status": {"failed": 1}}

    assert _check(world, step).is_healthy
    assert any("PreemptionByScheduler: made room" in line for line in world.log())

    world.api.pods = []
    assert not _check(world, step).is_healthy


def test_a_pod_on_a_node_that_vanished_is_not_waited_for_for_ever(world: World, step: StepHandlerContext) -> None:
    lost = _pod(phase="Running", **_condition("DisruptionTarget", "True", "DeletionByTaintManager", "node is gone"))
    lost["metadata"] = {"name": "step-x", "deletionTimestamp": (datetime.now(UTC) - timedelta(minutes=1)).isoformat()}
    world.api.pods, world.api.job = [lost], {"status": {"failed": 1}}

    assert "DeletionByTaintManager: node is gone" in str(_check(world, step).unhealthy_reason)


def test_an_image_that_stays_away_fails_the_step_after_its_patience_and_its_job_is_gone(
    world: World, step: StepHandlerContext
) -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}
    world.api.pods = [_pod(containerStatuses=[{"state": waiting}])]
    assert _check(world, step).is_healthy
    world.now = 4 * 60
    assert _check(world, step).is_healthy

    world.now = 5 * 60
    result = _check(world, step)

    assert "did not start in 5 minutes. Kubernetes says: ErrImagePull: manifest unknown" in str(result.unhealthy_reason)
    assert world.pods._get_k8s_step_job_name(step) in world.api.deleted


def test_a_volume_that_failed_once_does_not_end_a_long_pull_of_an_image(world: World, step: StepHandlerContext) -> None:
    name = world.pods._get_k8s_step_job_name(step)
    world.api.pods = [_pod(containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}])]
    world.api.found = [_event("FailedMount", "not synced", at=datetime.now(UTC) - timedelta(minutes=4))]

    for world.now in (0.0, 300.0, 3600.0):
        assert _check(world, step).is_healthy
    assert world.api.deleted == []
    assert name in world.pods._watched


def test_a_job_that_was_deleted_by_hand_is_started_again(world: World, step: StepHandlerContext) -> None:
    world.api.job = None

    assert "was deleted" in str(_check(world, step).unhealthy_reason)


def test_a_step_that_said_itself_how_it_ended_is_not_reported_a_second_time(
    world: World, step: StepHandlerContext
) -> None:
    error = SerializableErrorInfo("stopped", [], None)
    DagsterEvent.step_retry_event(step.get_step_context("scored_questions"), StepRetryData(error, 5))
    world.api.job = {"status": {"failed": 1}}

    assert _check(world, step).is_healthy


def test_a_job_that_completes_without_a_word_is_no_hang(world: World, step: StepHandlerContext) -> None:
    world.api.job = {
        "status": {"succeeded": 1, "completionTime": (datetime.now(UTC) - timedelta(seconds=20)).isoformat()}
    }
    assert _check(world, step).is_healthy

    world.api.job = _completed(90)
    assert "did not say how it ended" in str(_check(world, step).unhealthy_reason)


def test_a_step_that_asked_for_another_attempt_itself_is_told_why_it_lost_its_pod(world: World) -> None:
    context = world.step("scored_questions", attempts=1)
    previous = world.pods._get_k8s_step_job_name(context).removesuffix("-1")
    world.api.job = {"status": {"failed": 1}}
    world.api.found = [_event("Preempted", "Preempted by pod urgent", f"{previous}-abcde")]

    list(world.pods.launch_step(context))

    assert f"Kubernetes: Preempted: Preempted by pod urgent (pod {previous}-abcde)" in world.log()


def test_a_pod_that_could_not_be_seen_and_still_runs_is_ended_before_its_replacement(world: World) -> None:
    context = world.step("scored_questions", attempts=1)
    previous = world.pods._get_k8s_step_job_name(context).removesuffix("-1")
    world.api.job, world.api.pods = {"status": {"active": 1}}, [_pod(phase="Running")]

    list(world.pods.launch_step(context))

    assert world.api.deleted == [previous] and len(world.api.created) == 1
    assert f"Kubernetes job {previous} still runs, and is ended before the next attempt" in world.log()


# Tried again


def _retried(world: World, key: str, attempts: int, lost: bool) -> Any:
    context = world.step(key, attempts=attempts)
    if lost:
        world.pods.lost.add(key)
    state = context.execute_step_args.known_state
    assert state is not None
    step_context = context.get_step_context(key)
    return world.executor.log_failure_or_retry_event_after_error(
        step_context, SerializableErrorInfo("gone", [], None), state
    )


def test_a_lost_pod_is_replaced_also_where_exceptions_are_final(world: World) -> None:
    assert _retried(world, "deduped_questions", 0, lost=True).is_step_up_for_retry
    assert _retried(world, "deduped_questions", 9, lost=True).is_step_up_for_retry
    assert _retried(world, "deduped_questions", 10, lost=True).is_step_failure
    assert _retried(world, "deduped_questions", 0, lost=False).is_step_failure


def test_a_pod_that_runs_out_of_memory_is_not_replaced_ten_times(world: World) -> None:
    key = "scored_questions"
    world.api.pods = [_pod(**_ended("OOMKilled", 137))]
    for attempt, again in enumerate((True, True, False)):
        context = world.step(key, attempts=attempt)
        list(world.pods.launch_step(context))
        world.api.job = {"status": {"failed": 1}}
        assert "raise memory or disk" in str(_check(world, context).unhealthy_reason)
        assert _retried(world, key, attempt, lost=True).is_step_up_for_retry == again


def test_a_step_that_used_up_its_time_is_not_started_again(world: World) -> None:
    context = world.step("teacher_answers.answer[0]", "large")
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    world.api.job = {"status": {"failed": 1, "conditions": [failed]}}

    assert not _check(world, context).is_healthy

    state = context.execute_step_args.known_state
    assert state is not None
    event = world.executor.log_failure_or_retry_event_after_error(
        context.get_step_context("teacher_answers.answer[0]"), SerializableErrorInfo("late", [], None), state
    )
    assert event.is_step_failure
