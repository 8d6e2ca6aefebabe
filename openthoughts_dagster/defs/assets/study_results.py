"""The results of studies: arms, differences, a decision and a report."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from openthoughts_dagster.defs.asset_entry import AssetEntry
from openthoughts_dagster.defs.metadata import draw_bars, table
from openthoughts_dagster.defs.resources import LakeResource, ModelsResource
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.defs.steps import resumable
from openthoughts_dagster.evaluation import doubts_about_best
from openthoughts_dagster.lake import STUDY_COMPARISONS, STUDY_RESULTS, STUDY_VERSIONS, Lake, frame_hash
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.studies import Study
from openthoughts_dagster.studies import (
    StudyResult,
    adopted_settings,
    arm_costs,
    find_arm_leaks,
    format_completion_costs,
    format_training_costs,
    p_value,
    record_study_settings,
    reported_cells,
    study_named,
    study_report,
    study_result,
)

_SCORES = ("score", "error_items", "error_seeds", "error")
_DIFFERENCES = ("difference", "error", "detectable")
_SHARES = {"chance_best": "%"}
_SHOWN = ["arm_name", *_SCORES, "chance_best", "seeds", "rows", "steps", "leaked_questions"]


def study_results_asset(entry: AssetEntry, recipe: Recipe, _: Settings) -> dg.AssetsDefinition:
    """Make the asset that compares the arms of a study."""

    @dg.asset(**entry.arguments(recipe))
    @resumable
    def study_results(
        context: dg.AssetExecutionContext, lake: LakeResource, models: ModelsResource
    ) -> dg.MaterializeResult:
        """Every arm with its errors over items and seeds, every pair of arms, and the decision in a sentence.

        Arms are compared on the same items and seeds. The report is one HTML file that needs no network.
        """
        name, tables = context.partition_key, lake.open()
        study = study_named(recipe, name)
        record_study_settings(tables, recipe, study)
        leaks = find_arm_leaks(tables, recipe, study)
        result = study_result(tables, recipe, study).with_leaks(leaks)
        version = str(result.arms["version"][0])
        costs = arm_costs(tables, recipe, study, version)
        doubts = doubts_about_best(tables, recipe, studies=(name,), release=False)
        versions = tables.scan(STUDY_VERSIONS, study=name).collect()
        older = _older_decisions(tables, name, version, versions)
        page = study_report(recipe, study, result, versions, older, costs, leaks, doubts)
        shown: dict[str, Any] = {
            "decision": result.decision,
            "contamination": leaks.says(),
            "sources_in_doubt": "\n".join(doubts) or "none",
            "report": dg.MetadataValue.path(_put_report(models, name, page)),
        }
        _replace_version(tables, name, result)
        context.log.info(f"{name}: {result.decision}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(frame_hash(result.arms)),
            metadata=shown | _metadata(recipe, study, result, costs),
        )

    return study_results


def _put_report(models: ModelsResource, name: str, page: str) -> str:
    """Write a study's report to its folder, and return its address."""
    folder = models.workplace("studies", name)
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "report.html"
    report.write_text(page)
    [address] = models.folders.put_files(folder, [report], models.address("studies", name))
    return address


def _metadata(recipe: Recipe, study: Study, result: StudyResult, costs: pl.DataFrame) -> dict[str, Any]:
    """Make the tables of arms, differences and costs, what to adopt, and a plot of the scores with their errors."""
    arms = result.arms
    return {
        "arms": table(arms.select(_SHOWN), _percentages(study, _SCORES) | _SHARES),
        "differences": table(_shown_comparisons(result.comparisons), _percentages(study, _DIFFERENCES)),
        **_reported(study),
        "costs": table(pl.DataFrame(format_completion_costs(costs))),
        "costs_of_training": table(pl.DataFrame(format_training_costs(costs))),
        "adopt": _format_adoption(recipe, study, result.winner),
        "arms_not_told_apart": len(result.unclear),
        "students_without_scores": len(result.missing),
        "plot": draw_bars(
            arms["arm_name"].to_list(),
            arms["score"].to_list(),
            arms["error"].to_list(),
            title=f"{study.name} (2 standard errors over items and seeds)",
        ),
    }


def _percentages(study: Study, columns: Sequence[str]) -> dict[str, str]:
    """Return the units of columns of scores; a z-score is no percentage."""
    return {} if study.metric == "z_mean" else dict.fromkeys(columns, "%")


def _shown_comparisons(comparisons: pl.DataFrame) -> pl.DataFrame:
    shown = pl.col("p_holm", "p_equivalent").map_elements(lambda p: p_value(p).removeprefix("= "), pl.String)
    return comparisons.drop("study", "version").with_columns(shown)


def _format_adoption(recipe: Recipe, study: Study, winner: str | None) -> str:
    return f"```yaml\n{adopted_settings(recipe, study, winner)}```" if winner else "nothing"


def _reported(study: Study) -> dict[str, dg.MetadataValue]:
    """Show what others published, apart from what was measured."""
    if study.reported is None:
        return {}
    return {
        "reported_elsewhere": table(pl.DataFrame(reported_cells(study))),
        "reported_by": dg.MetadataValue.text(f"{study.reported.by}: {study.reported.what}"),
    }


def _replace_version(tables: Lake, name: str, result: StudyResult) -> None:
    """Replace the rows of the study's present version. The rows of its other versions stay."""
    version = str(result.arms["version"][0])
    for written, rows in ((STUDY_RESULTS, result.arms), (STUDY_COMPARISONS, result.comparisons)):
        own = pl.DataFrame(rows, schema_overrides=written.schema)
        tables.update(written, partial(_with_rows_of, version, own), study=name)


def _with_rows_of(version: str, own: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([there.filter(pl.col("version") != version), own])


def _older_decisions(tables: Lake, name: str, version: str, versions: pl.DataFrame) -> list[str]:
    old = tables.scan(STUDY_RESULTS, study=name).filter(pl.col("version") != version)
    decided = dict(old.select("version", "decision").unique().collect().iter_rows())
    numbers = dict(versions.sort("number").select("version", "number").iter_rows())
    return [f"Version {number} found: {decided[known]}" for known, number in numbers.items() if known in decided]
