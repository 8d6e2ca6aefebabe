"""The gates about decisions: the ranking that chose the sources, and the card that says what was decided."""

import polars as pl

from openthoughts_dagster.lake import Lake
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.studies import BestSources
from openthoughts_dagster.release.choosing import release_of, release_sources
from openthoughts_dagster.release.errors import ReleaseError
from openthoughts_dagster.release.gates.result import GateResult, present_version, waivers_of
from openthoughts_dagster.release.readme import head_of
from openthoughts_dagster.release.texts import scan_rows
from openthoughts_dagster.storage import Folders, StorageError


def check_card(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """The version of the present rows has a card that names it."""
    version = present_version(lake, recipe, teacher)
    if version is None:
        return GateResult(
            "card", False, "no version has the rows of reasoning_dataset", "materialize reasoning_dataset"
        )
    try:
        text = Folders().read(version["path"], "README.md").decode()
    except (StorageError, OSError, UnicodeDecodeError) as error:
        return GateResult(
            "card", False, f"{version['path']} has no card: {error}", "materialize reasoning_dataset again"
        )
    body = text.removeprefix(head_of(text)).strip()
    problems = ["it is empty"] if not body else []
    problems += [] if version["version"] in text else [f"it does not name the version {version['version']}"]
    says = "; ".join(problems) or f"the card of {version['version']} has {len(body.splitlines()):,} lines"
    remedy = (
        "materialize reasoning_dataset again; a template of one's own needs the field {version}" if problems else ""
    )
    return GateResult("card", not problems, says, remedy)


def check_ranking(lake: Lake, recipe: Recipe, teacher: str) -> GateResult:
    """Where the recipe takes the best sources, their ranks are decided, and the release has exactly those sources."""
    release = release_of(recipe)
    if not isinstance(release.sources, BestSources):
        return GateResult("ranking", True, "the recipe names its sources")
    try:
        best = release_sources(lake, recipe)
    except ReleaseError as error:
        remedy = "score the missing cells and materialize source_ranking again, or name the sources in release.sources"
        return GateResult("ranking", False, str(error), remedy)
    waived = set(waivers_of(release, "ranking"))
    there = set(scan_rows(lake, teacher).select(pl.col("source").unique()).collect()["source"])
    problems = [{"source": name, "problem": "is not among the best any more"} for name in sorted(there - {*best})]
    problems += [{"source": name, "problem": "is among the best, and not in it"} for name in sorted({*best} - there)]
    shown = pl.DataFrame(
        [problem for problem in problems if problem["source"] not in waived],
        schema={"source": pl.String, "problem": pl.String},
    )
    if shown.is_empty():
        return GateResult("ranking", True, f"the best {release.sources.best} of each domain are {', '.join(best)}")
    says = f"source_ranking decides for other sources than the release has: {', '.join(best)}"
    return GateResult("ranking", False, says, "materialize reasoning_dataset again, or name the sources", shown)
