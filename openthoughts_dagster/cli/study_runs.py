"""A study from its questions to its decision, in this process: what `openthoughts study run` and the demo do."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg

from openthoughts_dagster.cli.local_runs import run_here
from openthoughts_dagster.defs.jobs import STUDY_ANSWERS, STUDY_DECISION, STUDY_STUDENTS
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies import arm_keys, decision_of, student_keys


@dataclass
class StudyRun:
    """What running a study did.

    Args:
        study: Its name.
        generated: Completions that were generated.
        trained: Students that were trained.
        decision: The decision as a sentence; empty where there is none.
        failed: The partitions that failed, with their problems.
    """

    study: str
    generated: int = 0
    trained: int = 0
    decision: str = ""
    failed: dict[str, str] = field(default_factory=dict)


def run_study(
    defs: dg.Definitions,
    recipe: Recipe,
    study: Study,
    instance: dg.DagsterInstance,
    lake: Lake,
    say: Callable[[str], None],
) -> StudyRun:
    """Run all that a study lacks: answers of each arm, a student and its scores for each seed, and the comparison.

    What is there already is found again and costs nothing. An arm that fails holds up none of the others.

    Args:
        defs: The definitions of the recipe.
        recipe: The recipe.
        study: The study of it.
        instance: Where runs are recorded.
        lake: The tables.
        say: Takes lines of progress.
    """
    own = f"{study.name}."
    arms = [key for key in arm_keys(recipe) if key.startswith(own)]
    students = [key for key in student_keys(recipe) if key.startswith(own)]
    todo = [*((STUDY_ANSWERS, key) for key in arms), *((STUDY_STUDENTS, key) for key in students)]
    todo.append((STUDY_DECISION, study.name))
    outcome = StudyRun(study.name)
    for number, (job, key) in enumerate(todo, 1):
        if job == STUDY_STUDENTS and key.rpartition(".")[0] in outcome.failed:
            continue
        start = time.monotonic()
        run = run_here(defs, instance, job, key)
        outcome.generated, outcome.trained = outcome.generated + run.generated, outcome.trained + run.trained
        if run.problem:
            outcome.failed[key] = run.problem
        state = f"FAILED: {run.problem}" if run.problem else "done"
        say(f"[{number}/{len(todo)}] {job} {key}: {state} in {time.monotonic() - start:.1f} s")
    if study.name not in outcome.failed:
        outcome.decision = decision_of(lake, recipe, study)
    return outcome
