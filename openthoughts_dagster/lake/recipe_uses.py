"""Records which recipes wrote to a lake, because two recipes that share a lake would mix their rows unnoticed.

Both functions read one small table, and neither raises: the code that needs the lake's rows reports an unreadable lake.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from openthoughts_dagster.lake.credentials import without_credentials
from openthoughts_dagster.lake.errors import LakeError
from openthoughts_dagster.lake.hashing import text_hash
from openthoughts_dagster.lake.lake import Lake
from openthoughts_dagster.lake.student_tables import LAKE_RECIPES

_AFRESH = timedelta(days=1)  # without this interval every start would add a version to the table
_ERRORS = (LakeError, pl.exceptions.PolarsError, OSError)
_FEW_SECONDS = {"retry_timeout": "1s", "connect_timeout": "2s", "timeout": "5s"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecipeUse:
    """A recipe that wrote to a lake: its name, where it is, and when it was used, to within a day."""

    recipe: str
    fingerprint: str
    location: str
    first_used_at: datetime
    last_used_at: datetime


def recipe_fingerprint(recipe: str, location: str) -> str:
    """Return the hash of a recipe's name and location."""
    return text_hash(recipe, location)


def record_recipe_use(lake: Lake, recipe: str, location: str, now: datetime | None = None) -> bool:
    """Record that a recipe uses a lake. Nothing is written when a record of the last 24 hours exists.

    Args:
        lake: The lake.
        recipe: Name of the recipe.
        location: Name of a shipped recipe, or the absolute path of the recipe's file.
        now: The time of the use, UTC; by default the present.

    Returns:
        Whether a row was written: False also when the lake cannot be read or written, which is logged as a warning.

    Example:
        >>> record_recipe_use(lake, "quickstart", "quickstart")
    """
    now, location = now or datetime.now(UTC), without_credentials(location)
    fingerprint = recipe_fingerprint(recipe, location)
    try:
        lake = limit_retries(lake)
        uses = lake.scan(LAKE_RECIPES, fingerprint=fingerprint).collect()
        known = uses.to_dicts()
        if known and abs(now - known[0]["last_used_at"]) < _AFRESH:
            return False
        use = RecipeUse(recipe, fingerprint, location, known[0]["first_used_at"] if known else now, now)
        lake.replace(LAKE_RECIPES, pl.DataFrame([vars(use)], schema=LAKE_RECIPES.schema), fingerprint=fingerprint)
    except _ERRORS as error:
        _log.warning("the use of recipe %s could not be written down: %s", recipe, without_credentials(error))
        return False
    return True


def other_recipes(lake: Lake, recipe: str, location: str) -> list[RecipeUse]:
    """List the recipes that wrote to a lake, except for one.

    Args:
        lake: The lake.
        recipe: Name of the recipe that is left out.
        location: Its location, as `record_recipe_use` was given it.

    Returns:
        The others, the one that was used last first. Empty also when the lake cannot be read, which is logged as a
        warning, and for a lake whose rows are all from before recipes were written down.

    Example:
        >>> [use.location for use in other_recipes(lake, "mine", "/recipes/mine/recipe.yaml")]
        ['quickstart']
    """
    fingerprint = recipe_fingerprint(recipe, without_credentials(location))
    try:
        rows = limit_retries(lake).scan(LAKE_RECIPES).filter(pl.col("fingerprint") != fingerprint).collect()
    except _ERRORS as error:
        _log.warning("the recipes of the lake could not be listed: %s", without_credentials(error))
        return []
    return [RecipeUse(**row) for row in rows.sort("last_used_at", "location", descending=True).to_dicts()]


def limit_retries(lake: Lake) -> Lake:
    """Return the same lake with few retries, so that a store that does not answer costs seconds and not minutes."""
    return Lake(lake.root, _FEW_SECONDS | lake.options) if "://" in lake.root else lake
