"""One small run of a whole recipe for all end-to-end tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from openthoughts_dagster.defs.build import build_definitions
from openthoughts_dagster.defs.demo import Outcome, run_recipe
from openthoughts_dagster.defs.settings import Settings
from openthoughts_dagster.lake import Lake
from openthoughts_dagster.quickstart import tiny_models
from openthoughts_dagster.recipe import Recipe, load_recipe
from openthoughts_dagster_tests.e2e.small_recipe import COURSES_OF_THE_TEST, small_recipe

HOUSE = Path(__file__).parents[2]


@dataclass
class House:
    """A deployment in a temporary folder: its recipe, data, Dagster instance and tables."""

    recipe_file: Path
    data: Path
    instance: dg.DagsterInstance

    @property
    def settings(self) -> Settings:
        return Settings(str(self.recipe_file), self.data, str(self.data / "lake"))

    @property
    def recipe(self) -> Recipe:
        return load_recipe(str(self.recipe_file), self.settings.variables())

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this deployment needs in its environment."""
        return {
            "OPENTHOUGHTS_RECIPE": str(self.recipe_file),
            "OPENTHOUGHTS_DATA": str(self.data),
            "DAGSTER_HOME": str(self.data / "dagster"),
        }

    def run(self) -> Outcome:
        """Run the whole recipe, as `make demo` does."""
        return run_recipe(build_definitions(self.recipe, self.settings), self.recipe, self.instance)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A deployment of the small recipe; its models are trained by its own asset, for a few steps."""
    folder = tmp_path_factory.mktemp("house")
    home = folder / "data" / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text((HOUSE / "dagster.yaml").read_text())
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.from_config(str(home)) as instance:
        patch.setattr(tiny_models.build_tiny_models, "__defaults__", (0, COURSES_OF_THE_TEST, 4))
        yield House(small_recipe(folder / "recipe"), folder / "data", instance)


@pytest.fixture(scope="session")
def first_run(house: House) -> Outcome:
    """What the first run of the whole recipe did."""
    return house.run()
