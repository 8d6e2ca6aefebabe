"""The entry point of Dagster: the recipe that OPENTHOUGHTS_RECIPE names, as definitions."""

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.recipe_uses import announce_recipe
from openthoughts_dagster.defs.settings import Settings

settings = Settings.from_environment()
recipe = settings.load_recipe()
defs = build_definitions(recipe, settings)
announce_recipe(recipe, settings)
