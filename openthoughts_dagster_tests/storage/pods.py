"""Runs as a cluster runs them: every step a process of its own with an empty folder of its own, so that the store is
all that steps share.

python -m openthoughts_dagster_tests.storage.pods SOURCE TEACHER makes one cell, from the source to the scores.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import DagsterEvent
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster._core.executor.step_delegating.step_handler.base import (
    CheckStepHealthResult,
    StepHandler,
    StepHandlerContext,
)
from dagster_shared.record import copy

FOLDERS = "OPENTHOUGHTS_TEST_PODS"
# Imported once and inherited by fork: each is what an image brings, nothing of a deployment.
IMAGE = [
    "dagster._cli",
    "deltalake",
    "polars",
    "torch",
    "transformers",
    "trl",
    "s3fs",
]  # not lighteval, which turns gradients off


def pod(arguments: list[str], step: str) -> None:
    """A step's process: `dagster api execute_step`, with nothing in its folder."""
    os.environ["OPENTHOUGHTS_DATA"] = tempfile.mkdtemp(prefix=f"{step}-", dir=os.environ[FOLDERS])
    from dagster._cli import main

    sys.argv = arguments
    main()


class Pods(StepHandler):
    """Starts a process for each step."""

    def __init__(self) -> None:
        super().__init__()
        self._machines = multiprocessing.get_context("forkserver")
        self._machines.set_forkserver_preload(IMAGE)
        self._running: dict[str, BaseProcess] = {}

    @property
    def name(self) -> str:
        return "Pods"

    def _key(self, context: StepHandlerContext) -> str:
        [key] = context.execute_step_args.step_keys_to_execute or []
        return key

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        key, arguments = self._key(step_handler_context), step_handler_context.execute_step_args.get_command_args()
        entry = arguments.index("api")
        self._running[key] = self._machines.Process(
            target=pod, args=(["dagster", *arguments[entry:]], key.replace("/", "."))
        )
        self._running[key].start()
        yield from ()

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        code = self._running[self._key(step_handler_context)].exitcode
        return CheckStepHealthResult.unhealthy(f"exit code {code}") if code else CheckStepHealthResult.healthy()

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        self._running[self._key(step_handler_context)].terminate()
        yield from ()


@dg.executor(name="pods", requirements=multiple_process_executor_requirements())
def pods(context: dg.InitExecutorContext) -> StepDelegatingExecutor:
    return StepDelegatingExecutor(
        Pods(), retries=RetryMode.ENABLED, check_step_health_interval_seconds=1, should_verify_step=False
    )


def _definitions() -> dg.Definitions:
    from openthoughts_dagster.definitions import defs

    return copy(defs, executor=pods)


if os.environ.get(FOLDERS):
    defs = _definitions()


def main(source: str, teacher: str) -> int:
    """Everything for one cell; exit status 1 when a run failed. The cheap assets share one process, as they may."""
    cell = ("teacher_answers", "student_checkpoint", "benchmark_scores")
    repository = ReconstructableRepository.for_module(
        "openthoughts_dagster_tests.storage.pods", "defs", str(Path.cwd())
    )
    job = repository.get_reconstructable_job("students").get_subset(
        asset_selection={dg.AssetKey(name) for name in cell},
        asset_check_selection=set(),  # a process for each would take most of the test's time
    )
    tags = {"dagster/partition": f"{source}|{teacher}"}
    tags |= {"dagster/partition/source": source, "dagster/partition/teacher": teacher}
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("source", [source])
        questions = defs.resolve_job_def("refresh_questions")
        if not questions.execute_in_process(instance=instance, partition_key=source).success:
            return 1
        with dg.execute_job(job, instance, tags=tags) as result:
            return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
