"""The two partition dimensions: sources come and go, teachers come with the recipe."""

import dagster as dg

from openthoughts_dagster.recipe import Recipe

SOURCE, TEACHER = "source", "teacher"

sources = dg.DynamicPartitionsDefinition(name=SOURCE)


def cells(recipe: Recipe) -> dg.MultiPartitionsDefinition:
    """Every source with every teacher of the recipe. Teachers are static: adding one is a reviewed change."""
    teachers = dg.StaticPartitionsDefinition([teacher.name for teacher in recipe.teachers])
    return dg.MultiPartitionsDefinition({SOURCE: sources, TEACHER: teachers})


def cell(key: str) -> tuple[str, str]:
    """Source and teacher of a cell's partition key; names are slugs, so that '|' is only between them."""
    source, teacher = key.split("|")
    return source, teacher
