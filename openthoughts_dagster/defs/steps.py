"""The work of steps: the tags that the Kubernetes executor reads, and the retries of steps."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, ParamSpec, TypeVar, cast

import dagster as dg
from dagster._utils import interrupts

from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe.recipe import UnknownNameError

WORK_TAG = "openthoughts/work"
P = ParamSpec("P")
R = TypeVar("R")

# For a dead server or engine: the next attempt finds what was committed and continues. The Kubernetes executor counts
# lost pods separately.
MODEL_RETRIES = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def runs_a_model(kind: Literal["judge", "teacher", "student"]) -> dict[str, str]:
    """Return the op tags of a step that asks or trains a model of this kind. A step without them is cheap work."""
    return {WORK_TAG: kind}


def resumable(step: Callable[P, R]) -> Callable[P, R]:
    """Decorate a step so that it is retried after its pod was told to end by preemption, eviction or a drained node.

    When the process of a step gets SIGTERM, Dagster fails the step and the run, unless the step has a retry policy. On
    Kubernetes this is no failure: the step is requested again and finds what this attempt committed. Elsewhere somebody
    canceled the run or pressed Ctrl-C. Then the step ends even when it has a retry policy.

    A damaged table ends the step with an error that names the file and says how to get it back. A source or teacher
    that the recipe lacks ends it at once: another attempt would find the same recipe.
    """

    @contextmanager
    def interrupted() -> Iterator[None]:
        try:
            yield
        except dg.DagsterExecutionInterruptedError as stopped:
            settings = Settings.from_environment()
            cluster = settings.load_cluster()
            if cluster is None:
                # Dagster's retry policies also retry interrupted steps. This makes the next attempt end as well.
                interrupts._received_interrupt["received"] = True
                raise
            raise dg.RetryRequested(max_retries=cluster.lost_pods, seconds_to_wait=5) from stopped
        except UnknownNameError as missing:
            raise dg.Failure(str(missing), allow_retries=False) from missing

    if inspect.isgeneratorfunction(step):

        @functools.wraps(step)
        def steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            with interrupted(), _name_damaged_files(*args, *kwargs.values()):
                yield from step(*args, **kwargs)

        return cast(Callable[P, R], steps)

    @functools.wraps(step)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        with interrupted(), _name_damaged_files(*args, *kwargs.values()):
            return step(*args, **kwargs)

    return attempt


@contextmanager
def _name_damaged_files(*arguments: Any) -> Iterator[None]:
    """Name the damaged file when a step fails because of a table in one of the lakes among its arguments."""
    with ExitStack() as stack:
        for argument in arguments:
            if isinstance(argument, LakeResource):
                stack.enter_context(argument.open().named_damage())
        yield
