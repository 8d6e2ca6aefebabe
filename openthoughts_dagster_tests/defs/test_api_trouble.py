"""The Kubernetes API in trouble: it says nothing of a step, which goes on without it."""

from pathlib import Path
from typing import Any

import pytest
import urllib3.exceptions
from dagster._core.executor.step_delegating import StepHandlerContext

from openthoughts_dagster_tests.cluster.helpers import cluster, recipe
from openthoughts_dagster_tests.defs.step_world import MODELS, World, api_error


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, recipe(tmp_path, **MODELS), cluster())


@pytest.fixture
def step(world: World) -> StepHandlerContext:
    context = world.step("scored_questions")
    list(world.pods.launch_step(context))
    return context


_TROUBLE = [
    api_error(500, "Internal Server Error"),
    urllib3.exceptions.ProtocolError("Connection broken"),
    ConnectionResetError("reset by peer"),
]


@pytest.mark.parametrize("error", _TROUBLE, ids=["500", "broken", "reset"])
def test_an_api_server_in_trouble_fails_no_step_and_is_told_once(
    world: World, step: StepHandlerContext, error: BaseException
) -> None:
    world.api.error = error
    assert [world.pods.check_step_health(step).is_healthy for _ in range(3)] == [True, True, True]
    assert sum("cannot say how job" in line for line in world.log()) == 1

    world.api.error = None
    assert world.pods.check_step_health(step).is_healthy
    assert any("answers again" in line for line in world.log())


def test_an_api_server_that_stays_away_is_given_up_after_its_patience(world: World, step: StepHandlerContext) -> None:
    world.api.error = _TROUBLE[0]
    assert world.pods.check_step_health(step).is_healthy
    world.now = 30 * 60

    assert "did not say how job" in str(world.pods.check_step_health(step).unhealthy_reason)


def test_a_role_without_events_hides_reasons_and_fails_nothing(world: World, step: StepHandlerContext) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise api_error(403, "Forbidden")

    world.api.list_namespaced_event = forbidden  # type: ignore[method-assign]

    assert [world.pods.check_step_health(step).is_healthy for _ in range(2)] == [True, True]
    assert sum("events on job" in line for line in world.log()) == 1


def test_a_job_is_made_once_the_api_server_is_back(world: World) -> None:
    world.api.refusals = list(_TROUBLE)

    list(world.pods.launch_step(world.step("scored_questions")))

    assert len(world.api.created) == 1


def test_a_job_whose_making_was_not_confirmed_is_not_made_twice(world: World) -> None:
    world.api.refusals = [_TROUBLE[1], api_error(409, "AlreadyExists")]
    world.api.job = {"status": {"active": 1}}

    list(world.pods.launch_step(world.step("scored_questions")))

    assert world.api.created == []
    assert world.api.deleted == []


def test_a_failed_job_of_the_same_name_makes_room(world: World) -> None:
    world.api.refusals = [api_error(409, "AlreadyExists")]
    world.api.job = {"status": {"failed": 1}}

    list(world.pods.launch_step(world.step("scored_questions")))

    assert len(world.api.created) == len(world.api.deleted) == 1


def test_a_job_that_kubernetes_refuses_fails_at_once(world: World) -> None:
    world.api.refusals = [api_error(403, "Forbidden")]

    with pytest.raises(Exception, match="Forbidden"):
        list(world.pods.launch_step(world.step("scored_questions")))
