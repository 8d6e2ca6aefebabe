"""Counting the requests that a teacher refused permanently, for each source."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from openthoughts_dagster.answers import cell_answers, plan_answers
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import Folders


def refused_answers(
    recipe: Recipe, lake: Lake, sources: Sequence[str], teacher: str, folders: Folders, before: datetime
) -> tuple[list[dict[str, Any]], list[str]]:
    """Count the answers that failed permanently, and estimate what asking again costs.

    Args:
        recipe: The recipe.
        lake: The tables.
        sources: The names of the sources.
        teacher: The name of the teacher.
        folders: The folders of models.
        before: Failures from before this moment are counted.

    Returns:
        A row for each source that has such failures, with all answers that its run would generate, and the names of
        these sources.

    Raises:
        ClickException: The teacher's model cannot be found.
    """
    try:
        model = locate(recipe.teacher(teacher), Path(recipe.folder), folders, weights=False)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    rows = []
    for source in sources:
        answers = cell_answers(lake, source, teacher, recipe.answers_per_question)
        score = recipe.length_score(recipe.source(source).domain)
        again = plan_answers(lake, model, answers, score, before).estimate
        refused = again.completions - plan_answers(lake, model, answers, score).estimate.completions
        if refused:
            cost = None if again.cost is None else f"{again.cost:,.2f} {again.currency}"
            rows.append(
                {
                    "teacher": teacher,
                    "source": source,
                    "failed permanently": refused,
                    "to generate": again.completions,
                    "cost": cost,
                }
            )
    return rows, [str(row["source"]) for row in rows]
