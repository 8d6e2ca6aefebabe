"""Running a study from its questions to its decision in this process, for `openthoughts study run` and the demo."""

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
    """What the run of a study did.

    Attributes:
        study: The name of the study.
        generated: The number of completions that were generated.
        trained: The number of students that were trained.
        decision: The decision as a sentence; empty when there is none.
        failed: The problems of failed partitions, by the key of the partition.
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
    """Run the missing parts of a study: the answers of arms, a student and its scores for each seed, the comparison.

    Parts that exist already are reused and cost nothing. An arm that fails does not stop the others.

    Args:
        defs: The definitions of the recipe.
        recipe: The recipe.
        study: The study, which is one of the recipe's.
        instance: The instance that records the runs.
        lake: The tables.
        say: Gets lines of progress.

    Returns:
        What the run did, with the decision.
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
