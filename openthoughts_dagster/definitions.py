"""The entry point of Dagster: the recipe that OPENTHOUGHTS_RECIPE names, as definitions."""

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.recipe import load_recipe

settings = Settings.from_environment()
recipe = load_recipe(settings.recipe, settings.variables())
defs = build_definitions(recipe, settings)
