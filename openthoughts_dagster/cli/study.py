"""`openthoughts study`: estimate the cost of a study, run it, show its decision, and adopt the best arm."""

from typing import Any

import click
import polars as pl

from openthoughts_dagster.answers import plan_answers
from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.instance import open_instance
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import ARM_QUESTIONS, ARM_SCORES, ARM_STUDENTS, STUDY_COMPARISONS, STUDY_RESULTS
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies import (
    Arm,
    StudyError,
    adopted_settings,
    arm_answer_set,
    arms_of,
    best_text,
    current_version,
    decision_of,
    needed_text,
    p_value,
    score_text,
    study_named,
)


@click.group()
def study() -> None:
    """Compare variants of the recipe: show what they would cost, what they found, and which one to adopt."""


@study.command("list")
@click.pass_obj
def list_studies(here: Deployment) -> None:
    """Show the recipe's studies with their questions and decisions."""
    rows = [
        {
            "study": each.name,
            "arms": len(each.variants()),
            "students": len(each.variants()) * each.seeds,
            "question": each.question,
            "decision": decision_of(here.lake, here.recipe, each) or None,
        }
        for each in here.recipe.studies
    ]
    click.echo(table(rows) if rows else "the recipe has no studies: docs/studies.md shows how to write one")


@study.command()
@click.argument("name")
@click.pass_obj
def plan(here: Deployment, name: str) -> None:
    """Show what each arm of study NAME would cost: completions, tokens, money, trainings. Starts nothing."""
    try:
        asked = study_named(here.recipe, name)
        rows = [_estimate_row(here, arm) for arm in arms_of(here.recipe, here.lake, asked)]
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    click.echo(table(rows))
    unknown = sum(row["cost"] is None for row in rows)
    click.echo(
        f"{sum(row['to generate'] or 0 for row in rows):,} completions at most (arms share what is equal), "
        f"{sum(row['trainings'] for row in rows)} trainings and as many evaluations"
        + (f"; the cost of {unknown} arms is unknown" if unknown else "")
    )


@study.command()
@click.argument("name")
@click.pass_obj
def show(here: Deployment, name: str) -> None:
    """Show the arms, the differences and the decision in the latest results of study NAME."""
    try:
        asked = study_named(here.recipe, name)
        version = current_version(here.lake, here.recipe, asked)
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    arms = here.lake.scan(STUDY_RESULTS, study=name).filter(version=version).collect()
    if arms.is_empty():
        raise click.ClickException(f"study {name} has no results yet: openthoughts study run {name}")
    click.echo(table([_arm_row(asked, row) for row in arms.iter_rows(named=True)]))
    pairs = here.lake.scan(STUDY_COMPARISONS, study=name).filter(version=version).collect()
    click.echo(table([_pair_row(asked, row) for row in pairs.iter_rows(named=True)]))
    click.echo(arms["decision"][0])


@study.command()
@click.argument("name")
@click.option("--arm", help="The arm to take; the one that the study decided for when absent.")
@click.pass_obj
def adopt(here: Deployment, name: str, arm: str | None) -> None:
    """Print the settings of the arm that won study NAME, as YAML for the recipe. Changes no file."""
    from openthoughts_dagster.studies import study_result

    try:
        asked = study_named(here.recipe, name)
        result = None if arm else study_result(here.lake, here.recipe, asked)
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    chosen = result.winner if result else arm
    if chosen is None:
        raise click.ClickException(f"study {name} decided for no arm: name one with --arm")
    if chosen not in asked.variants():
        raise click.ClickException(f"study {name} has no arm {chosen!r}; there are {', '.join(asked.variants())}")
    decided = f": {result.decision}" if result else ""
    click.echo(f"# study {name}, arm {chosen}{decided}\n{adopted_settings(here.recipe, asked, chosen)}", nl=False)


@study.command()
@click.argument("name")
@click.pass_obj
def run(here: Deployment, name: str) -> None:
    """Run study NAME in this process: answers, students, scores, decision. What is there already costs nothing."""
    from openthoughts_dagster.cli.local_runs import alone_in, fail_orphans, stopped_by_a_person
    from openthoughts_dagster.cli.study_runs import run_study
    from openthoughts_dagster.defs.build import build_definitions
    from openthoughts_dagster.defs.resources import engine_pool

    try:
        asked = study_named(here.recipe, name)
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    defs = build_definitions(here.recipe, here.settings)
    with stopped_by_a_person(), alone_in(here.settings.data), open_instance(here.settings) as instance:
        fail_orphans(instance)
        try:
            outcome = run_study(defs, here.recipe, asked, instance, here.lake, click.echo)
        finally:
            engine_pool().close()
    click.echo(f"{outcome.generated:,} completions generated, {outcome.trained} students trained")
    for key, problem in outcome.failed.items():
        click.echo(f"FAILED {key}: {problem}", err=True)
    click.echo(outcome.decision or "no decision")
    if outcome.failed:
        raise SystemExit(1)


def _estimate_row(here: Deployment, arm: Arm) -> dict[str, Any]:
    own = pl.col("arm_student").str.starts_with(f"{arm.key}.")
    trained = here.lake.scan(ARM_STUDENTS).filter(own).select(pl.len()).collect().item()
    scored = here.lake.scan(ARM_SCORES).filter(own).select(pl.col("arm_student").n_unique()).collect().item()
    row: dict[str, Any] = {"arm": arm.name, "teacher": arm.teacher.name, "to generate": None, "cost": None}
    row |= {"trainings": len(arm.seeds) - trained, "evaluations": len(arm.seeds) - scored}
    asked = here.lake.scan(ARM_QUESTIONS, arm=arm.key).select(pl.len()).collect().item()
    if not asked:  # its questions are chosen when its answers are planned
        wanted = None if arm.questions is None else arm.questions * arm.samples
        return row | {"to generate": wanted, "basis": "an upper bound: its questions are not chosen yet"}
    try:
        model = locate(arm.teacher, here.recipe.folder, here.folders, weights=False)
    except EngineError as error:
        return row | {"basis": f"{error}".splitlines()[0]}
    estimate = plan_answers(here.lake, model, arm_answer_set(here.lake, arm)).estimate
    cost = None if estimate.cost is None else f"{estimate.cost:,.2f} {estimate.currency}"
    cost = cost if estimate.completions else "nothing"
    return row | {"to generate": estimate.completions, "cost": cost, "basis": estimate.basis}


def _arm_row(asked: Study, row: dict[str, Any]) -> dict[str, Any]:
    one = row["error_seeds"] is None
    return {
        "arm": row["arm_name"],
        "score": score_text(asked, row["score"]),
        "± both": "unknown" if one else score_text(asked, row["error"]),
        "± items": score_text(asked, row["error_items"]),
        "± seeds": "one seed" if one else score_text(asked, row["error_seeds"]),
        best_text(asked): f"{row['chance_best']:.0%}",
        "seeds": row["seeds"],
    }


def _pair_row(asked: Study, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "arms": f"{row['first']} - {row['second']}",
        "difference": f"{score_text(asked, row['difference'], '+')} ± {score_text(asked, row['error'])}",
        "p": p_value(row["p_holm"]).removeprefix("= "),
        "could see": score_text(asked, row["detectable"]),
        "seeds needed": needed_text(row["seeds_needed"]),
        "items needed": needed_text(row["items_needed"]),
    }
