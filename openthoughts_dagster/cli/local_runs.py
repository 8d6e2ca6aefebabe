"""Running Dagster jobs in this process, one after the other. The instance that the UI shows records the runs.

A daemon would start a process for each run, and each process would start its own engines. Here one engine serves all
runs.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from openthoughts_dagster.defs.settings import Settings, dagster_home
from openthoughts_dagster.recipe import Recipe, RecipeError
from openthoughts_dagster.storage import hold_file

_PID = "openthoughts/demo_pid"
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TORCH_LOGS": "-all",  # errors only; it warns on every CPU that there is no Triton
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
_ACTIVE = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def load_for_a_demo() -> tuple[dg.Definitions, Recipe, Settings]:
    """Load the deployment that the environment names, without a network where the recipe is the quickstart.

    Raises:
        SystemExit: The recipe, a variable of the environment or the folder of Dagster's instance cannot be used; the
            message says why.
    """
    silence_libraries()
    try:
        from openthoughts_dagster.definitions import defs, recipe, settings
    except RecipeError as error:
        sys.exit(f"the recipe cannot be used:\n{error}")
    except ValueError as error:  # a variable of the environment, which the message names
        sys.exit(str(error))
    if recipe.tiny_models:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    home = dagster_home(settings).resolve()
    with _explained_if_unwritable(home):
        home.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    return defs, recipe, settings


def silence_libraries() -> None:
    """Keep the progress bars and warnings of other libraries from standing between the lines of a command."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True)
class LocalRun:
    """What a run did.

    Attributes:
        generated: The number of completions that were generated.
        reused: The number of completions that the ledger had already.
        trained: The number of students that were trained.
        problem: The error of the run; empty when it succeeded.
    """

    generated: int
    reused: int
    trained: int
    problem: str


def run_here(defs: dg.Definitions, instance: dg.DagsterInstance, job: str, partition: str | None) -> LocalRun:
    """Run a job's partition in this process.

    Args:
        defs: The definitions, which have the job.
        instance: The instance that records the run.
        job: The name of the job.
        partition: The key of the partition; None for a job without partitions.

    Raises:
        KeyboardInterrupt: A person stopped the run with Ctrl-C. Dagster would only record it as a failed run.
    """
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config={"loggers": {"progress": {"config": {}}}},
        tags={_PID: str(os.getpid())},
        raise_on_error=False,
    )
    if any(_is_interrupt(event) for event in result.all_events):
        raise KeyboardInterrupt
    made = [event.materialization.metadata for event in result.get_asset_materialization_events()]
    return LocalRun(
        generated=sum(_read_number(metadata, "completions_generated") for metadata in made),
        reused=sum(_read_number(metadata, "completions_reused") for metadata in made),
        trained=sum(_read_number(metadata, "students_trained") for metadata in made),
        problem="" if result.success else _innermost_error(result),
    )


def fail_orphans(instance: dg.DagsterInstance) -> None:
    """Mark the runs of killed processes as failed. Otherwise they would look as if they were in progress."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)):
        pid = run.tags.get(_PID)
        if pid is not None and (int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()):
            instance.report_run_failed(run, "the process that ran this was stopped; its finished work is kept")


@contextmanager
def alone_in(data: Path) -> Iterator[None]:
    """Lock a data folder for one demo or study at a time. A second process exits with a message."""
    says = f"another demo or study is running on {data}; wait for it, or use another OPENTHOUGHTS_DATA"
    with ExitStack() as held:
        with _explained_if_unwritable(data):
            held.enter_context(hold_file(data / "demo.lock", lambda: sys.exit(says)))
        yield


@contextmanager
def stopped_by_a_person() -> Iterator[None]:
    """End the process with a sentence, and no traceback, when Ctrl-C interrupts the block."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept: run the same command again, and it continues.", file=sys.stderr)
        sys.exit(130)


@contextmanager
def _explained_if_unwritable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sys.exit(
            f"{folder} cannot be written ({error.strerror}): give yourself the right to write there, or name another "
            "folder with OPENTHOUGHTS_DATA"
        )


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    """Whether an event records that a signal ended the run, which is what Dagster makes of Ctrl-C."""
    if event.event_type is not dg.DagsterEventType.RUN_FAILURE:
        return False
    reason = event.job_failure_data.failure_reason
    return reason is not None and reason.name == "UNEXPECTED_TERMINATION"


def _read_number(metadata: Mapping[str, dg.MetadataValue], name: str) -> int:
    return int(str(metadata[name].value)) if name in metadata else 0


def _innermost_error(result: dg.ExecuteInProcessResult) -> str:
    """Return the innermost error of the run, which is the one that people have to fix."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            return error.message.strip()
    return "see the run in the UI"
