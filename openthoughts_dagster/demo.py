"""`make demo`: every asset for every partition of a recipe, through Dagster, in this process.

The runs go into the same instance that `make ui` shows. A daemon would start a process for each run, and each
process its engines; here one engine serves all cells of a teacher. Everything is resumable: what was generated and
trained before is reused.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import polars as pl

from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.defs.jobs import MODELS, QUESTIONS, RANKINGS, STUDENTS
from openthoughts_dagster.defs.leaderboard import leaderboard_rows
from openthoughts_dagster.defs.partitions import SOURCE, TEACHER, sources
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.evaluation import OVERALL
from openthoughts_dagster.lake import SOURCE_RANKING, TEACHER_RANKING, Lake
from openthoughts_dagster.recipe import Recipe, RecipeError

_PID = "openthoughts/demo_pid"
_ACTIVE = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


@dataclass(frozen=True)
class Piece:
    """One run: a job and its partition, and what it needs to have worked before."""

    job: str
    source: str = ""
    teacher: str = ""

    @property
    def partition_key(self) -> str | None:
        """The run's partition, None for unpartitioned jobs."""
        if self.teacher:
            return dg.MultiPartitionKey({SOURCE: self.source, TEACHER: self.teacher})
        return self.source or None

    def __str__(self) -> str:
        return " ".join(part for part in (self.job, self.source, self.teacher) if part)


@dataclass
class Outcome:
    """What the demo did: totals over all runs, and the runs that failed with their reason."""

    generated: int = 0
    reused: int = 0
    trained: int = 0
    failed: dict[Piece, str] = field(default_factory=dict)


def pieces(recipe: Recipe) -> list[Piece]:
    """The runs that make up a recipe, each after what it reads; teacher by teacher, so that engines start once."""
    return [
        *([Piece(MODELS)] if recipe.tiny_models else []),
        *(Piece(QUESTIONS, source.name) for source in recipe.sources),
        *(Piece(STUDENTS, source.name, teacher.name) for teacher in recipe.teachers for source in recipe.sources),
        Piece(RANKINGS),
    ]


def run_recipe(defs: dg.Definitions, recipe: Recipe, instance: dg.DagsterInstance) -> Outcome:
    """Run every piece; a piece that fails stops only those that read what it should have made."""
    _fail_orphans(instance)
    instance.add_dynamic_partitions(str(sources.name), [source.name for source in recipe.sources])
    outcome, todo = Outcome(), pieces(recipe)
    for number, piece in enumerate(todo, 1):
        broken = next((failed for failed in outcome.failed if _needs(piece, failed)), None)
        if broken is not None:
            outcome.failed[piece] = f"not run: it needs {broken}"
            print(f"[{number}/{len(todo)}] {piece}: {outcome.failed[piece]}", flush=True)
            continue
        print(f"[{number}/{len(todo)}] {piece}", flush=True)
        start = time.monotonic()
        result = defs.resolve_job_def(piece.job).execute_in_process(
            instance=instance,
            partition_key=piece.partition_key,
            run_config={"loggers": {"progress": {"config": {}}}},
            tags={_PID: str(os.getpid())},
            raise_on_error=False,
        )
        for event in result.get_asset_materialization_events():
            metadata = event.materialization.metadata
            outcome.generated += _number(metadata, "completions_generated")
            outcome.reused += _number(metadata, "completions_reused")
            outcome.trained += _number(metadata, "students_trained")
        if not result.success:
            outcome.failed[piece] = _reason(result)
        state = "done" if result.success else f"FAILED: {outcome.failed[piece]}"
        print(f"    {state} in {time.monotonic() - start:.1f} s", flush=True)
    return outcome


def leaderboard(rows: pl.DataFrame, by: str) -> str:
    """A ranking as a table for the terminal."""
    return table(leaderboard_rows(rows, by).to_dicts())


def _needs(piece: Piece, failed: Piece) -> bool:
    if failed.job == MODELS:
        return True
    return piece.job == STUDENTS and failed.job == QUESTIONS and piece.source == failed.source


def _number(metadata: Mapping[str, dg.MetadataValue], name: str) -> int:
    return int(str(metadata[name].value)) if name in metadata else 0


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The innermost error of the run: what a person has to mend."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            return error.message.strip()
    return "see the run in the UI"


def _fail_orphans(instance: dg.DagsterInstance) -> None:
    """Runs of a demo that was killed would look as if they still ran."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)):
        pid = run.tags.get(_PID)
        if pid is not None and (int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()):
            instance.report_run_failed(run, "the demo that ran this was stopped; its finished work is kept")


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One demo at a time for each data folder."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another demo is running on {data}; wait for it, or give this one its own OPENTHOUGHTS_DATA")
        yield


def main() -> int:
    """Run the recipe and print the leaderboards. Exit status 1 when a run failed."""
    # The progress bars and warnings of other libraries would stand between the lines of the demo.
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }.items():
        os.environ.setdefault(name, value)
    start = time.monotonic()
    try:
        from openthoughts_dagster.definitions import defs, recipe, settings
    except RecipeError as error:
        sys.exit(f"the recipe cannot be used:\n{error}")
    except ValueError as error:  # a variable of the environment, which the message names
        sys.exit(str(error))
    if recipe.tiny_models:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with _alone(settings.data), dg.DagsterInstance.get() as instance:
        try:
            outcome = run_recipe(defs, recipe, instance)
        finally:
            # Not when the interpreter goes down: vLLM would see its worker killed first, and say so at length.
            engine_pool().close()
    lake = Lake(settings.lake)
    for by, ranking in ((SOURCE, SOURCE_RANKING), (TEACHER, TEACHER_RANKING)):
        rows = lake.scan(ranking).filter(domain=OVERALL).collect()
        if rows.height:
            print(f"\nWhich {by} makes the better student?\n{leaderboard(rows, by)}")
    print(
        f"\n{outcome.generated:,} completions generated ({outcome.reused:,} reused), {outcome.trained} students "
        f"trained, in {time.monotonic() - start:.0f} s."
    )
    for piece, reason in outcome.failed.items():
        print(f"FAILED {piece}: {reason}")
    print("\nSee it all in the Dagster UI:  make ui")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
