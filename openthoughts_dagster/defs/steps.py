"""Steps and the work that they do: the tags that the Kubernetes executor reads, and how steps are tried again."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, ParamSpec, TypeVar, cast

import dagster as dg
from dagster._utils import interrupts

from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings

WORK_TAG = "openthoughts/work"
P = ParamSpec("P")
R = TypeVar("R")

# A dead server or engine: the next attempt finds what was committed and goes on. Pods that are lost are counted apart,
# by the Kubernetes executor.
MODEL_RETRIES = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def runs_a_model(kind: Literal["judge", "teacher", "student"]) -> dict[str, str]:
    """Op tags of a step that asks or trains a model of this kind; a step without them is cheap work."""
    return {WORK_TAG: kind}


def resumable(step: Callable[P, R]) -> Callable[P, R]:
    """A step that goes on after its pod was told to end: preempted, evicted, or its node drained.

    Dagster fails a step whose process gets SIGTERM, and with it the run, unless it has a retry policy. On Kubernetes
    that is no failure: the step is asked for again, and finds what this attempt committed. Elsewhere somebody canceled
    the run or pressed Ctrl-C, and it ends also where a policy says otherwise.

    A damaged table ends the step with an error that names the file and says how to get it back.
    """

    @contextmanager
    def interrupted() -> Iterator[None]:
        try:
            yield
        except dg.DagsterExecutionInterruptedError as stopped:
            settings = Settings.from_environment()
            cluster = settings.load_cluster()
            if cluster is None:
                # Dagster lets retry policies take interrupted steps up again: the next attempt ends as well.
                interrupts._received_interrupt["received"] = True
                raise
            raise dg.RetryRequested(max_retries=cluster.lost_pods, seconds_to_wait=5) from stopped

    if inspect.isgeneratorfunction(step):

        @functools.wraps(step)
        def steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            with interrupted(), _damage_named(*args, *kwargs.values()):
                yield from step(*args, **kwargs)

        return cast(Callable[P, R], steps)

    @functools.wraps(step)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        with interrupted(), _damage_named(*args, *kwargs.values()):
            return step(*args, **kwargs)

    return attempt


@contextmanager
def _damage_named(*arguments: Any) -> Iterator[None]:
    """Name the damaged file where a step fails over one of a lake among its arguments."""
    with ExitStack() as stack:
        for argument in arguments:
            if isinstance(argument, LakeResource):
                stack.enter_context(argument.open().named_damage())
        yield
