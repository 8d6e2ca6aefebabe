"""The rankings of sources and teachers by the scores of their students."""

from typing import Any, Literal

import dagster as dg

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.cell_seeds import cell_scores
from openthoughts_dagster.defs.leaderboard import leaderboard_rows
from openthoughts_dagster.defs.metadata import draw_bars, sample_rows, table
from openthoughts_dagster.defs.resources import LakeResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.evaluation import (
    Ranked,
    RankingScope,
    doubts_about_best,
    rank_by_domain,
    reference_means,
    reported_scores,
    teacher_facts,
)
from openthoughts_dagster.evaluation.statistics import errors_over
from openthoughts_dagster.lake import Lake, frame_hash
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.reported_scores import NOTE as REPORTED_NOTE

By = Literal["source", "teacher"]


def ranking_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that ranks the recipe's sources or teachers by their students' scores. Its table says which."""
    assert entry.table is not None
    written = entry.table
    by: By = "source" if "source" in written.columns else "teacher"

    @dg.asset(
        **entry.arguments(recipe),
        description=f"Which {by} of the recipe makes the better student, overall and by domain: mean benchmark scores "
        "with standard errors over items and training seeds, and the paired difference to the next with its p-value "
        "after Holm's correction. With one seed they are over items only: another training may reverse them.",
    )
    @resumable
    def ranked(lake: LakeResource) -> dg.MaterializeResult:
        tables = lake.open()
        scores = cell_scores(tables, recipe.student)
        result = rank_by_domain(scores, by, RankingScope.of_recipe(recipe, scores["source"].unique()))
        rows = result.rows.select(list(written.columns))
        tables.replace(written, rows)
        beside = _beside(tables, recipe) | (_teachers if by == "teacher" else _doubts)(tables, recipe)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(rows)), metadata=_metadata(result, by) | beside
        )

    return ranked


def _beside(tables: Lake, recipe: Recipe) -> dict[str, Any]:
    """Make the scores of references, which were measured here, and apart from them what the paper reports."""
    means, reported = reference_means(tables, recipe), reported_scores(recipe)
    shown: dict[str, Any] = {"references": table(means, dict.fromkeys(("score", "standard_error"), "%"))}
    if reported.height:
        shown["reported_not_measured"] = table(reported, dict.fromkeys(reported.columns[1:], "%"))
        shown["reported_note"] = REPORTED_NOTE
    return shown


def _teachers(tables: Lake, recipe: Recipe) -> dict[str, Any]:
    """Make each teacher's own score, the length of its answers, and the loss of its students."""
    facts = teacher_facts(tables, recipe)
    shown: dict[str, Any] = {
        "teachers": table(facts, dict.fromkeys(("own_score", "own_standard_error", "truncated"), "%"))
    }
    if facts["own_score"].null_count():
        return shown | {"teachers_note": "own_score is empty until the job score_references has scored the teacher."}
    return shown


def _doubts(tables: Lake, recipe: Recipe) -> dict[str, Any]:
    """Make the sentences about best sources that the recipe takes although chance may have decided."""
    return {"choices_in_doubt": "\n".join(doubts_about_best(tables, recipe)) or "none"}


def _metadata(result: Ranked, by: By) -> dict[str, Any]:
    """Make the leaderboards, the sizes of the comparison, what was left out, and a plot of the scores with errors."""
    overall = result.overall
    scored = overall.drop_nulls("score")
    return {
        "ranking": table(leaderboard_rows(overall, by)),
        "errors": f"Errors and p are {errors_over(overall['seeds'].max())}.",  # type: ignore[arg-type]
        **{
            f"ranking_{domain}": table(leaderboard_rows(result.rows.filter(domain=domain), by))
            for domain in sorted(set(result.rows["domain"]) - set(overall["domain"]))
        },
        "best": ", ".join(overall.filter("best")[by]) or "none can be told apart",
        "left_out": sample_rows(result.left_out, count=50),
        "items_compared": int(overall["items"].max() or 0),  # type: ignore[arg-type]
        "cells_compared": int(overall["cells"].max() or 0),  # type: ignore[arg-type]
        "with_cells_missing": ", ".join(sorted(overall.filter(~overall["complete"])[by])) or "none",
        "plot": draw_bars(
            scored[by].to_list(),
            scored["score"].to_list(),
            scored["standard_error"].fill_null(0).to_list(),
            title=f"Students by {by} (2 standard errors)",
        ),
        "dagster/row_count": result.rows.height,
    }
