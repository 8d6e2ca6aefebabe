"""The deployment that a command works with: the recipe, the lake and the files that the environment names."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import click

from openthoughts_dagster.cluster import ClusterError
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.landing import WatchedSources
from openthoughts_dagster.recipe import Recipe, RecipeError
from openthoughts_dagster.storage import Folders


@dataclass(frozen=True)
class Deployment:
    """The deployment that the environment describes. Its parts are opened when a command needs them."""

    settings: Settings

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @cached_property
    def folders(self) -> Folders:
        return Folders(self.settings.cache)

    @cached_property
    def recipe(self) -> Recipe:
        try:
            recipe = self.settings.load_recipe()
        except (RecipeError, ClusterError) as error:
            raise click.ClickException(f"the recipe cannot be used:\n{error}") from error
        return recipe.with_landed(WatchedSources(self.lake).find)

    def sources(self, chosen: Sequence[str]) -> list[str]:
        """Return the chosen sources, or all sources. Raises ClickException for a name that no source has."""
        landed = [entry.source for entry in WatchedSources(self.lake).read().values() if entry.present]
        known = list(dict.fromkeys([*(source.name for source in self.recipe.sources), *landed]))
        if unknown := [name for name in chosen if name not in known]:
            raise click.ClickException(f"no source {', '.join(unknown)}; there are {', '.join(known)}")
        return list(chosen) or known

    def teachers(self, chosen: Sequence[str]) -> list[str]:
        """Return the chosen teachers, or all teachers. Raises ClickException for a name that no teacher has."""
        known = [teacher.name for teacher in self.recipe.teachers]
        if unknown := [name for name in chosen if name not in known]:
            raise click.ClickException(f"no teacher {', '.join(unknown)}; there are {', '.join(known)}")
        return list(chosen) or known
