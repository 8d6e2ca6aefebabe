"""The estimated cost of missing answers, cell by cell."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openthoughts_dagster.answers import cell_answers, plan_answers
from openthoughts_dagster.generation.engine import EngineError
from openthoughts_dagster.generation.model import locate
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.storage import Folders


def planned(
    recipe: Recipe, lake: Lake, sources: Sequence[str], teachers: Sequence[str], folders: Folders
) -> tuple[list[dict[str, Any]], str]:
    """Estimate what the missing answers cost. A cell cannot be estimated before its questions were curated.

    Args:
        recipe: The recipe.
        lake: The tables.
        sources: The names of the sources.
        teachers: The names of the teachers.
        folders: The folders of models.

    Returns:
        A row for each cell, and a line of totals.
    """
    rows: list[dict[str, Any]] = []
    money: Counter[str] = Counter()
    completions, unknown = 0, 0
    for teacher in teachers:
        try:
            model = locate(recipe.teacher(teacher), Path(recipe.folder), folders, weights=False)
        except EngineError as error:
            rows.append(_row(teacher, "all", None, None, None, None, None, f"{error}".splitlines()[0]))
            unknown += 1
            continue
        for source in sources:
            score = recipe.length_score(recipe.source(source).domain)
            answers = cell_answers(lake, source, teacher, recipe.answers_per_question)
            plan = plan_answers(lake, model, answers, score)
            if plan.rows.is_empty():
                rows.append(_row(teacher, source, None, None, None, None, None, "no curated questions yet"))
                unknown += 1
                continue
            cost = plan.estimate
            says = f"{cost.cost:,.2f} {cost.currency}" if cost.cost is not None else None
            rows.append(
                _row(
                    teacher,
                    source,
                    cost.completions,
                    cost.reused,
                    round(cost.completion_tokens),
                    cost.accelerator_hours,
                    says,
                    cost.basis,
                )
            )
            completions += cost.completions
            unknown += cost.cost is None
            money[cost.currency] += cost.cost or 0.0  # type: ignore[assignment]
    total = ", ".join(f"{amount:,.2f} {currency}" for currency, amount in money.items()) or "nothing"
    gaps = f"; {unknown} cells cannot be estimated" if unknown else ""
    return rows, f"{completions:,} completions to generate, about {total}{gaps}"


def _row(
    teacher: str,
    source: str,
    generate: int | None,
    reused: int | None,
    tokens: int | None,
    hours: float | None,
    cost: str | None,
    basis: str,
) -> dict[str, Any]:
    return {
        "teacher": teacher,
        "source": source,
        "to generate": generate,
        "reused": reused,
        "tokens": tokens,
        "accelerator-h": hours,
        "cost": cost,
        "basis": basis,
    }
