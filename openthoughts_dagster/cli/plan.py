"""The estimated cost of what is missing: of answers for `backfill`, and of a whole recipe for `plan`."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from openthoughts_dagster.cli.deployment import Deployment
from openthoughts_dagster.cli.tables import table
from openthoughts_dagster.inspection.prices import STAGES, PriceRow, Prices, totals
from openthoughts_dagster.inspection.question_prices import judge_prices, teacher_prices
from openthoughts_dagster.inspection.student_prices import (
    evaluation_prices,
    reference_prices,
    release_prices,
    student_prices,
    study_prices,
)
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.release.foresight import foresee_release_problems
from openthoughts_dagster.storage import Folders
from openthoughts_dagster.studies import StudyError, study_named


@click.command()
@click.option("--teacher", "teachers", multiple=True, help="Only cells of this teacher; may be repeated.")
@click.option("--source", "sources", multiple=True, help="Only cells of this source; may be repeated.")
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Only this stage; may be repeated.")
@click.option("--study", help="Only this study, arm by arm.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def plan(
    here: Deployment,
    teachers: Sequence[str],
    sources: Sequence[str],
    stages: Sequence[str],
    study: str | None,
    as_json: bool,
) -> None:
    """Show what everything that is missing would cost, stage by stage.

    Starts no engine and writes nothing. Before curation the number of questions is an upper bound. What has no price in
    the recipe, or was never measured, is unknown. Notes say what would stop the release, such as a licence.
    """
    wanted = set(stages) or ({"studies"} if study else _stages_of(teachers, sources))
    rows = list(_price_rows(here, here.sources(sources), here.teachers(teachers), wanted, study))
    if as_json:
        for row in rows:
            click.echo(json.dumps(asdict(row)))
        return
    click.echo(table([_format_row(row) for row in rows]))
    for stage in STAGES:
        if own := [row for row in rows if row.stage == stage]:
            click.echo(f"{stage}: {totals(own)}")
    click.echo(f"in all: {totals(rows)}")
    if wanted & {"teachers", "release"}:
        show_release_problems(here.recipe)


def show_release_problems(recipe: Recipe) -> None:
    """Say what would stop or shorten the release, while nothing was paid for it yet."""
    for problem in foresee_release_problems(recipe):
        click.echo(f"note: release: {problem}")


def estimate_missing_answers(
    recipe: Recipe, lake: Lake, sources: Sequence[str], teachers: Sequence[str], folders: Folders
) -> tuple[list[dict[str, Any]], str]:
    """Estimate what the missing answers cost, for people who are about to launch them.

    Args:
        recipe: The recipe.
        lake: The tables.
        sources: The names of the sources.
        teachers: The names of the teachers.
        folders: The folders of models.

    Returns:
        A row for each cell, and a line of totals.
    """
    rows = list(teacher_prices(Prices(recipe, lake, folders), list(sources), list(teachers)))
    return [_format_row(row) for row in rows], totals(rows)


def _stages_of(teachers: Sequence[str], sources: Sequence[str]) -> set[str]:
    """Return the stages that chosen teachers and sources are about: all when none is chosen."""
    if not teachers and not sources:
        return set(STAGES)
    return {"teachers", "students", "evaluation"} | (set() if teachers else {"judges"})


def _price_rows(
    here: Deployment, sources: list[str], teachers: list[str], stages: set[str], study: str | None
) -> Iterator[PriceRow]:
    prices = Prices(here.recipe, here.lake, here.folders)
    try:
        studies = [study_named(here.recipe, study)] if study else here.recipe.studies
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    makers: dict[str, Callable[[], Iterator[PriceRow]]] = {
        "judges": lambda: judge_prices(prices, sources),
        "teachers": lambda: teacher_prices(prices, sources, teachers),
        "students": lambda: student_prices(prices, sources, teachers),
        "evaluation": lambda: evaluation_prices(prices, sources, teachers),
        "references": lambda: reference_prices(prices, here.recipe.references()),
        "studies": lambda: (row for each in studies for row in study_prices(prices, each)),
        "release": lambda: release_prices(prices, teachers),
    }
    for stage in STAGES:
        if stage in stages:
            yield from makers[stage]()


def _format_cost(row: PriceRow) -> str:
    if row.completions == 0 and not row.trainings:
        return "nothing"
    return "unknown" if row.cost is None else f"{row.cost:,.2f} {row.currency}"


def _format_row(row: PriceRow) -> dict[str, Any]:
    return {
        "stage": row.stage,
        "of": row.of,
        "model": row.model,
        "to generate": row.completions,
        "reused": row.reused,
        "trainings": row.trainings or None,
        "tokens": None if row.tokens is None else round(row.tokens),
        "hours": row.hours,
        "cost": _format_cost(row),
        "basis": row.basis,
    }
