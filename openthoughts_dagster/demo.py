"""`make demo`: every asset for every partition of a recipe, through Dagster, in this process.

The runs go into the same instance that `make ui` shows. A daemon would start a process for each run, and each
process its engines; here one engine serves all cells of a teacher. Everything is resumable: what was generated and
trained before is reused.
"""

import sys
import time
from dataclasses import dataclass, field

import dagster as dg
import polars as pl

from openthoughts_dagster.cli.local_runs import alone_in, fail_orphans, load_for_a_demo, run_here, stopped_by_a_person
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.defs.jobs import MODELS, QUESTIONS, RANKINGS, STUDENTS
from openthoughts_dagster.defs.leaderboard import leaderboard_rows
from openthoughts_dagster.defs.partitions import SOURCE, TEACHER, sources
from openthoughts_dagster.defs.resources import engine_pool
from openthoughts_dagster.evaluation import OVERALL
from openthoughts_dagster.evaluation.statistics import errors_over
from openthoughts_dagster.lake import SOURCE_RANKING, TEACHER_RANKING, Lake
from openthoughts_dagster.recipe import Recipe

_WORK = {
    MODELS: "train the tiny models of the quickstart",
    QUESTIONS: "read the source, score its questions, drop leaks and duplicates",
    STUDENTS: "let the teacher answer, train a student on the answers, score it",
    RANKINGS: "rank sources and teachers, sum the costs",
}


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

    def describe(self) -> str:
        """The run in words: its job, its partition, and what it does."""
        return f"{self}: {_WORK[self.job]}"


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
    fail_orphans(instance)
    instance.add_dynamic_partitions(str(sources.name), [source.name for source in recipe.sources])
    outcome, todo = Outcome(), pieces(recipe)
    for number, piece in enumerate(todo, 1):
        broken = next((failed for failed in outcome.failed if _needs(piece, failed)), None)
        if broken is not None:
            outcome.failed[piece] = f"not run: it needs {broken}"
            print(f"[{number}/{len(todo)}] {piece}: {outcome.failed[piece]}", flush=True)
            continue
        print(f"[{number}/{len(todo)}] {piece.describe()}", flush=True)
        start = time.monotonic()
        run = run_here(defs, instance, piece.job, piece.partition_key)
        outcome.generated += run.generated
        outcome.reused += run.reused
        outcome.trained += run.trained
        if run.problem:
            outcome.failed[piece] = run.problem
        state = f"FAILED: {run.problem}" if run.problem else "done"
        print(f"    {state} in {time.monotonic() - start:.1f} s", flush=True)
    return outcome


def leaderboard(rows: pl.DataFrame, by: str) -> str:
    """A ranking as a table for the terminal."""
    return table(leaderboard_rows(rows, by).to_dicts())


def explain(recipe: Recipe) -> str:
    """What the columns of the leaderboards mean."""
    names = " and ".join(each.name for each in recipe.evaluation.benchmarks if each.role == "dev")
    return (
        f"score: share of right answers to the benchmark items of {names}; ± s.e.: its standard error.\n"
        "untrained: the score of the student before training; next below: the lead over the next row, with p."
    )


def next_steps(recipe: Recipe) -> str:
    """The commands that people want after a demo, with what they show."""
    cell = f"{recipe.sources[0].name}/{recipe.teachers[0].name}"
    steps = {"make ui": "see all of it in the Dagster UI"}
    steps[f".venv/bin/openthoughts items {cell} --wrong"] = "what a student answered wrong"
    if recipe.studies:
        steps["make demo-studies"] = "compare variants of the recipe with several seeds"
    if recipe.release:
        steps["make demo-release"] = "make a data set of the answers, which others can load"
    width = max(map(len, steps))
    return "\n".join(f"  {command:{width}}  {shows}" for command, shows in steps.items())


def _needs(piece: Piece, failed: Piece) -> bool:
    if failed.job == MODELS:
        return True
    return piece.job == STUDENTS and failed.job == QUESTIONS and piece.source == failed.source


def main() -> int:
    """Run the recipe and print the leaderboards. Exit status 1 when a run failed."""
    start = time.monotonic()
    defs, recipe, settings = load_for_a_demo()
    print(
        f"Recipe {recipe.name}: {len(recipe.sources)} sources, {len(recipe.teachers)} teachers, {len(pieces(recipe))} "
        f"runs.\nEverything is kept below {settings.data}; what is there already is not made again.\n",
        flush=True,
    )
    with alone_in(settings.data), dg.DagsterInstance.get() as instance:
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
            print(f"Errors and p are {errors_over(rows['seeds'].max())}.")  # type: ignore[arg-type]
    print(f"\n{explain(recipe)}")
    print(
        f"\n{outcome.generated:,} completions generated ({outcome.reused:,} reused), {outcome.trained} students "
        f"trained, in {time.monotonic() - start:.0f} s."
    )
    for piece, reason in outcome.failed.items():
        print(f"FAILED {piece}: {reason}")
    if outcome.failed:
        print("What succeeded is kept: mend the cause and run it again.")
    print(f"\nWhat to do next:\n{next_steps(recipe)}")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    with stopped_by_a_person():
        sys.exit(main())
