"""Which recipes use a lake. The use is recorded when definitions are loaded, and other recipes are reported."""

import logging
from pathlib import Path

from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake, other_recipes, record_recipe_use
from openthoughts_dagster.lake.recipe_uses import limit_retries
from openthoughts_dagster.recipe import Recipe
from openthoughts_dagster.recipe.domains import misspelt_domains, unknown_samples
from openthoughts_dagster.recipe.loading import SHIPPED, find_recipe
from openthoughts_dagster.recipe.overrides import overridden_settings
from openthoughts_dagster.studies import record_settings_of_studies

_log = logging.getLogger("openthoughts_dagster")


def announce_recipe(recipe: Recipe, settings: Settings) -> None:
    """Record that a recipe uses the lake, and warn when others do, or of what looks like a mistake in the recipe.

    This never fails, even when the lake is away.

    It is for processes that do real work with the definitions. Tests and tools that only build them record nothing.
    """
    for says in [*misspelt_domains(recipe), *unknown_samples(recipe), *overridden_settings(recipe)]:
        _log.warning(says)
    try:
        record_recipe_use(Lake(settings.lake), recipe.name, recipe_location(settings))
        for says in describe_other_recipes(recipe, settings):
            _log.warning(says)
    except Exception as error:  # a start must not fail because of this note
        _log.warning("it is not known which recipes use the lake %s: %s", settings.lake, error)
    try:
        record_settings_of_studies(limit_retries(Lake(settings.lake)), recipe)
    except Exception as error:
        _log.warning("the settings of the studies in %s are not recorded: %s", settings.lake, error)


def describe_other_recipes(recipe: Recipe, settings: Settings) -> list[str]:
    """Write a sentence for each other recipe that used the lake."""
    lake, name = settings.lake, recipe.name
    return [
        f"{lake} is also used by the recipe {use.recipe} ({use.location}), last on {use.last_used_at:%Y-%m-%d}: "
        f"rankings of {name} leave its rows out. Give each recipe an OPENTHOUGHTS_DATA of its own to keep them apart"
        for use in other_recipes(Lake(lake), name, recipe_location(settings))
    ]


def recipe_location(settings: Settings) -> str:
    """Return the name of a recipe that comes with the package, or the absolute path of the recipe's file."""
    path = find_recipe(settings.recipe)
    return path.parent.name if path.is_relative_to(Path(SHIPPED).resolve()) else str(path)
